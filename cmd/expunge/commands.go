package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/user"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"expunge/batch"
	"expunge/store"
	"expunge/vendors"
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

func (a *app) confirmCommand() *cobra.Command {
	var who string
	c := &cobra.Command{
		Use:   "confirm FILE.csv",
		Short: "Take in what people finished by hand",
		Long:  "Takes in a CSV of vendor, reference, completed_at and an optional note: requests that people at the vendor have\nfinished. It is safe to repeat. `-` is standard input.",
		Args:  cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			ctx := c.Context()
			r := a.stdin
			if args[0] != "-" {
				f, err := os.Open(args[0])
				if err != nil {
					return usage(fmt.Errorf("confirmations: %w", err), "")
				}
				defer f.Close()
				r = f
			}
			return a.withStore(ctx, false, func(s *session) error { return a.confirm(ctx, s, r, args[0], who) })
		},
	}
	c.Flags().StringVar(&who, "by", "", "`who` confirms (default: the login name)")
	return c
}

func (a *app) confirm(ctx context.Context, s *session, r io.Reader, name, who string) error {
	results, err := s.job.Confirm(ctx, r, a.who(who))
	if errors.Is(err, batch.ErrConfirmations) {
		return usage(fmt.Errorf("%s: %w", name, err), "the columns are vendor,reference,completed_at and, if you like, note")
	}
	if err != nil {
		return err
	}
	var confirmed, again, refused int
	slices.SortFunc(results, func(x, y batch.ConfirmResult) int { return x.Line - y.Line })
	for _, res := range results {
		switch {
		case res.Problem != "":
			refused++
			fmt.Fprintf(a.stderr, "%s:%d: %s\n", name, res.Line, res.Problem)
		case res.Again:
			again++
		default:
			confirmed++
		}
	}
	fmt.Fprintf(a.stderr, "%d confirmed, %d confirmed before, %d refused\n", confirmed, again, refused)
	if refused > 0 {
		return quiet(exitFailed)
	}
	return nil
}

// who is the person that a decision is recorded under.
func (a *app) who(flag string) string {
	if flag != "" {
		return flag
	}
	if u, err := user.Current(); err == nil && u.Username != "" {
		return u.Username
	}
	return "unknown"
}

func (a *app) checkCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "check",
		Short: "Try config, credentials, clocks and store; change nothing anywhere",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return a.check(c.Context())
		},
	}
}

func (a *app) check(ctx context.Context) error {
	log := a.logger()
	cfg, err := a.loadConfig(log)
	if err != nil {
		return err
	}
	fmt.Fprintf(a.stdout, "ok    config %s: %d vendors\n", cfg.Path, len(cfg.Vendors))
	problems := 0
	problem := func(what string, err error, hint string) {
		problems++
		fmt.Fprintf(a.stdout, "FAIL  %s: %v\n", what, err)
		if hint != "" {
			fmt.Fprintf(a.stdout, "      hint: %s\n", hint)
		}
	}
	switch st, err := a.openStore(ctx, cfg, true); {
	case errors.Is(err, store.ErrNoStore):
		fmt.Fprintf(a.stdout, "ok    store %s: not made yet, the first run makes it\n", cfg.Store)
	case err != nil:
		_, hint := classify(err)
		problem("store "+cfg.Store, err, hint)
	default:
		fmt.Fprintf(a.stdout, "ok    store %s: opens with its key\n", cfg.Store)
		if err := st.Close(); err != nil {
			return err
		}
	}
	if err := writable(cfg.Report); err != nil {
		problem("report "+cfg.Report, err, "name another place with `report:` in the config")
	}
	s, err := a.open(ctx, cfg, log, nil, true)
	if err != nil {
		return err
	}
	defer s.close(ctx)
	for _, v := range cfg.Vendors {
		checker, ok := s.vendors[v.Name].(vendors.Checker)
		if !ok {
			fmt.Fprintf(a.stdout, "ok    vendor %s: configured (this kind cannot be tried without raising a request)\n", v.Name)
			continue
		}
		warnings, err := checker.Check(ctx)
		for _, w := range warnings {
			fmt.Fprintf(a.stdout, "warn  vendor %s: %s\n", v.Name, w)
		}
		if err != nil {
			hint := "the vendor does not answer as documented: is base_url right, and is it up?"
			if errors.Is(err, vendors.ErrAuth) {
				hint = "mend its credentials in " + cfg.Path
			}
			problem("vendor "+v.Name, err, hint)
			continue
		}
		fmt.Fprintf(a.stdout, "ok    vendor %s: answers, and accepts our credentials\n", v.Name)
	}
	if problems > 0 {
		return quiet(exitUsage)
	}
	return nil
}
