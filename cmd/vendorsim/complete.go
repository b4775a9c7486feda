package main

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/spf13/cobra"

	"expunge/vendors"
)

// completeCommand plays Acqueon's admin.
func completeCommand() *cobra.Command {
	var base, vendor string
	c := &cobra.Command{
		Use:   "complete",
		Short: "Let Acqueon's admin act on all requests, and print the confirmations for expunge",
		Long: "Lets the simulated admin act on every request that was raised, and prints the CSV that\n" +
			"`expunge confirm` takes in.",
		Example: "  vendorsim complete --url http://127.0.0.1:8080 --vendor acqueon > confirmations.csv",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			u, err := url.Parse(base)
			if err != nil || u.Scheme != "http" || !vendors.IsLoopback(u.Hostname()) {
				return usagef("--url must be a simulator's, such as http://127.0.0.1:8080")
			}
			client := &http.Client{Timeout: time.Minute}
			defer client.CloseIdleConnections()
			for _, call := range []struct {
				method, path string
				to           io.Writer
			}{
				{http.MethodPost, "/_sim/acqueon/complete", io.Discard},
				{http.MethodGet, "/_sim/acqueon/confirmations.csv?vendor=" + url.QueryEscape(vendor), cmd.OutOrStdout()},
			} {
				req, err := http.NewRequestWithContext(cmd.Context(), call.method, base+call.path, nil)
				if err != nil {
					return err
				}
				resp, err := client.Do(req)
				if err != nil {
					return err
				}
				if resp.StatusCode != http.StatusOK {
					resp.Body.Close()
					return fmt.Errorf("%s: HTTP %d", call.path, resp.StatusCode)
				}
				_, err = io.Copy(call.to, resp.Body)
				if resp.Body.Close(); err != nil {
					return err
				}
			}
			return nil
		},
	}
	c.Flags().StringVar(&base, "url", "", "`URL` of the simulator")
	c.Flags().StringVar(&vendor, "vendor", "acqueon", "`name` that the vendor has in expunge's config")
	return c
}
