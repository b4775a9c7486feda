package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"expunge/store"
)

func (a *app) reportCommand() *cobra.Command {
	var format, out, since string
	var batchID int64
	c := &cobra.Command{
		Use:   "report",
		Short: "Write the report again from the store, without any network",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) (err error) {
			ctx := c.Context()
			if format != "csv" && format != "json" {
				return usage(fmt.Errorf("--format %q: must be csv or json", format), "")
			}
			f := store.Filter{Batch: batchID}
			if since != "" {
				if f.Since, err = time.Parse(time.DateOnly, since); err != nil {
					return usage(fmt.Errorf("--since %q: must be a date such as 2026-11-21", since), "")
				}
			}
			return a.withStore(ctx, true, func(s *session) error {
				if err := a.knownBatch(ctx, s, batchID); err != nil {
					return err
				}
				return a.writeReport(ctx, s.reporter(f), format, out)
			})
		},
	}
	c.Flags().StringVar(&format, "format", "csv", "csv or json")
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

// withStore runs fn with the configured vendors on an open store.
func (a *app) withStore(ctx context.Context, readOnly bool, fn func(*session) error) (err error) {
	log := a.logger()
	cfg, err := a.loadConfig(log)
	if err != nil {
		return err
	}
	st, err := a.openStore(ctx, cfg, readOnly)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, st.Close()) }()
	s, err := a.open(ctx, cfg, log, st, true)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.close(ctx)) }()
	return fn(s)
}
