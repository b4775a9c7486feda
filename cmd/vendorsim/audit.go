package main

import (
	"encoding/json"
	"net/http"
	"net/url"
	"time"

	"github.com/spf13/cobra"

	"expunge/vendors"
	"expunge/vendors/sim/audit"
)

func auditCommand() *cobra.Command {
	var (
		base, report, configured string
		exports                  string
		subjects                 []string
		asJSON                   bool
	)
	c := &cobra.Command{
		Use:   "audit",
		Short: "Compare a report of expunge with what really happened here, subject by subject",
		Long: `Compare a report of expunge with what really happened at a running simulator.

Prints a line per disagreement (subject, vendor, what) and a summary. Exit code 1 when
there is any disagreement.`,
		Example: "  vendorsim audit --url http://127.0.0.1:8080 --subjects subjects.csv --report report.csv",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if base == "" || report == "" || len(subjects) == 0 {
				return usagef("audit needs --url, --subjects and --report")
			}
			u, err := url.Parse(base)
			if err != nil || u.Scheme != "http" || !vendors.IsLoopback(u.Hostname()) {
				return usagef("--url must be a simulator's, such as http://127.0.0.1:8080")
			}
			vs, err := audit.ParseVendors(configured)
			if err != nil {
				return usagef("--config-vendors: %w", err)
			}
			files, err := audit.Open(report, subjects...)
			if err != nil {
				return err
			}
			client := &http.Client{Timeout: 5 * time.Minute}
			defer client.CloseIdleConnections()
			facts, err := audit.Fetch(cmd.Context(), client, base)
			if err != nil {
				return err
			}
			result := audit.Judge(facts, files, vs, cmd.Flags().Changed("config-vendors"))
			if exports != "" {
				found, problems, err := audit.Exports(facts, vs, exports)
				if err != nil {
					return err
				}
				result.Exports, result.Problems = found, append(result.Problems, problems...)
			}
			if asJSON {
				e := json.NewEncoder(cmd.OutOrStdout())
				e.SetIndent("", "  ")
				err = e.Encode(result)
			} else {
				err = result.Write(cmd.OutOrStdout())
			}
			if err == nil && len(result.Problems) > 0 {
				err = errDisagree
			}
			return err
		},
	}
	f := c.Flags()
	f.StringVar(&base, "url", "", "the simulator's address")
	f.StringArrayVar(&subjects, "subjects", nil, "an input file (repeatable)")
	f.StringVar(&report, "report", "", "the report CSV")
	f.StringVar(&configured, "config-vendors", audit.DefaultVendors,
		"expunge's vendors as name=kind, name=kind:account or name=rest:RECIPE; each that is named must be in the report")
	f.StringVar(&exports, "exports", "", "expunge's export_dir: every export that was handed out must be there")
	f.BoolVar(&asJSON, "json", false, "print the result as JSON")
	return c
}
