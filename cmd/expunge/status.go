package main

import (
	"context"
	"encoding/json"
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"expunge/store"
)

// vendorStatus is one vendor's part of `expunge status`.
type vendorStatus struct {
	Vendor string           `json:"vendor"`
	States map[string]int64 `json:"states"`
	Next   string           `json:"next_at,omitempty"`
	Due    string           `json:"earliest_due_at,omitempty"`
	Over   int64            `json:"overdue"`
	Pause  string           `json:"paused_until,omitempty"`
}

func (a *app) statusCommand() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "status",
		Short: "Where everything stands",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			ctx := c.Context()
			return a.withStore(ctx, true, func(s *session) error { return a.status(ctx, s, asJSON) })
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "as JSON")
	return c
}

func (a *app) status(ctx context.Context, s *session, asJSON bool) error {
	now := time.Now()
	tally, err := s.store.Tally(ctx, 0, now)
	if err != nil {
		return err
	}
	known, err := s.store.Vendors(ctx)
	if err != nil {
		return err
	}
	var all []*vendorStatus
	for _, t := range tally {
		if len(all) == 0 || all[len(all)-1].Vendor != t.Vendor {
			all = append(all, &vendorStatus{Vendor: t.Vendor, States: map[string]int64{}})
			if p := known[t.Vendor].PausedUntil; p.After(now) {
				all[len(all)-1].Pause = p.Format(time.RFC3339)
			}
		}
		v := all[len(all)-1]
		v.States[t.State.String()] += t.Tasks
		v.Over += t.Overdue
		if !t.State.Final() {
			v.Due = earlier(v.Due, t.DueAt)
			v.Next = earlier(v.Next, t.NextAt)
		}
	}
	if asJSON {
		enc := json.NewEncoder(a.stdout)
		enc.SetIndent("", "  ")
		return enc.Encode(map[string]any{"vendors": all})
	}
	w := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprint(w, "vendor")
	for _, st := range store.States() {
		fmt.Fprintf(w, "\t%s", st)
	}
	fmt.Fprintln(w, "\toverdue\tnext at\tearliest due")
	for _, v := range all {
		fmt.Fprint(w, v.Vendor)
		for _, st := range store.States() {
			fmt.Fprintf(w, "\t%d", v.States[st.String()])
		}
		fmt.Fprintf(w, "\t%d\t%s\t%s\n", v.Over, dash(v.Next), dash(v.Due))
	}
	return w.Flush()
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func earlier(have string, t time.Time) string {
	if t.IsZero() {
		return have
	}
	if text := t.Format(time.RFC3339); have == "" || text < have {
		return text
	}
	return have
}
