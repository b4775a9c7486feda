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
	var declined []string
	c := &cobra.Command{
		Use:   "complete",
		Short: "Let Acqueon's admin act on all requests, and print the confirmations for expunge",
		Long: "Lets the simulated admin act on every request that was raised, but for those that are to be\n" +
			"declined, and prints the CSV that `expunge confirm` takes in.",
		Example: "  vendorsim complete --url http://127.0.0.1:8080 --vendor acqueon > confirmations.csv",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			u, err := url.Parse(base)
			if err != nil || u.Scheme != "http" || !vendors.IsLoopback(u.Hostname()) {
				return usagef("--url must be a simulator's, such as http://127.0.0.1:8080")
			}
			client := &http.Client{Timeout: time.Minute}
			defer client.CloseIdleConnections()
			type step struct {
				method, path string
				to           io.Writer
			}
			var steps []step
			for _, reference := range declined {
				steps = append(steps, step{http.MethodPost, "/_sim/acqueon/decline?reference=" + url.QueryEscape(reference), io.Discard})
			}
			steps = append(steps,
				step{http.MethodPost, "/_sim/acqueon/complete", io.Discard},
				step{http.MethodGet, "/_sim/acqueon/confirmations.csv?vendor=" + url.QueryEscape(vendor), cmd.OutOrStdout()})
			for _, call := range steps {
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
	c.Flags().StringArrayVar(&declined, "decline", nil, "`reference` of a request that the admin declines (repeatable)")
	return c
}
