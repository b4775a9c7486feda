package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"expunge/batch"
	"expunge/batch/html"
	"expunge/store"
	"expunge/store/atomicfile"
)

func (a *app) reportCommand() *cobra.Command {
	var format, out, since string
	var batchID int64
	c := &cobra.Command{
		Use:   "report",
		Short: "Write the report again from the store, without any network",
		Long: "Writes the report from the store: csv and json have a row for every task and every refused row; html is the\n" +
			"compliance report for readers who are not technical, one file to keep, print or send.",
		Example: "  expunge report -o report.csv\n  expunge report --format html -o report.html\n  expunge report --format json --batch 3",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) (err error) {
			ctx := c.Context()
			if !slices.Contains([]string{"csv", "json", "html"}, format) {
				return usage(fmt.Errorf("--format %q: must be csv, json or html", format), "write --format html")
			}
			f := store.Filter{Batch: batchID}
			if since != "" {
				if f.Since, err = time.Parse(time.DateOnly, since); err != nil {
					return usage(fmt.Errorf("--since %q: must be a date such as 2026-11-21", since), "it is compared with received_at")
				}
			}
			return a.withStore(ctx, true, func(s *session) error {
				if err := guard(s.cfg, "", target{"--output", out}); err != nil {
					return err
				}
				if err := a.knownBatch(ctx, s, batchID); err != nil {
					return err
				}
				return a.writeReport(ctx, s, f, format, out)
			})
		},
	}
	c.Flags().StringVar(&format, "format", "csv", "csv, json or html")
	c.Flags().StringVarP(&out, "output", "o", "-", "`FILE` to write")
	c.Flags().Int64Var(&batchID, "batch", 0, "only this batch (its `number`)")
	c.Flags().StringVar(&since, "since", "", "only requests received since this `date`")
	return c
}

func (a *app) knownBatch(ctx context.Context, s *session, id int64) error {
	if id == 0 {
		return nil
	}
	all, err := s.store.Batches(ctx)
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(all, func(b store.Batch) bool { return b.ID == id }) {
		return usage(fmt.Errorf("--batch %d: there is no such batch", id), "`expunge status` lists the batches")
	}
	return nil
}

// writeReport writes a report to path, "-" being standard output.
func (a *app) writeReport(ctx context.Context, s *session, f store.Filter, format, path string, never ...string) error {
	r := s.reporter(f)
	write := func(w io.Writer) error {
		switch format {
		case "json":
			return r.JSON(ctx, w)
		case "html":
			return a.writeHTML(ctx, s, r, f, w)
		}
		return r.CSV(ctx, w)
	}
	if path == "-" {
		return write(a.stdout)
	}
	if err := atomicfile.WriteFile(path, never, write); err != nil {
		return fmt.Errorf("report: %w", err)
	}
	return nil
}

func (a *app) writeHTML(ctx context.Context, s *session, r *batch.Reporter, f store.Filter, w io.Writer) error {
	all, err := s.store.Batches(ctx)
	if err != nil {
		return err
	}
	prov := html.Provenance{Version: version, ConfigSHA256: s.cfg.SHA256[:]}
	var unbalanced error
	for _, b := range all {
		if b.Loading || f.Batch != 0 && b.ID != f.Batch || b.TakenAt.Before(f.Since) {
			continue
		}
		prov.Batches = append(prov.Batches, b)
		if _, err := s.tasks.ControlTotals(ctx, b); errors.Is(err, batch.ErrUnbalanced) {
			unbalanced = err
		} else if err != nil {
			return err
		}
	}
	if prov.Runs, err = s.store.Runs(ctx, f.Since); err != nil {
		return err
	}
	return html.Write(ctx, w, r, s.htmlVendors(), prov, unbalanced)
}
