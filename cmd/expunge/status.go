package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"expunge/batch"
	"expunge/store"
)

func (a *app) statusCommand() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "status",
		Short: "Where everything stands, and what needs a person",
		Long: "Shows the tasks per vendor and state, what is overdue or at risk of it, when vendors are asked next, how long the\n" +
			"open work takes at the configured rates, and what waits for a person with the command for it. It reads only: it can\n" +
			"be used during a run, and calls no vendor.",
		Example: "  expunge status\n  expunge status --json",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			ctx := c.Context()
			return a.withStore(ctx, true, func(s *session) error { return a.status(ctx, s, asJSON) })
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "as JSON, with stable keys")
	return c
}

func (s *session) statusOptions() batch.StatusOptions {
	return batch.StatusOptions{AtRisk: time.Duration(s.cfg.AtRisk), UnconfirmedAfter: time.Duration(s.cfg.UnconfirmedAfter)}
}

func (a *app) status(ctx context.Context, s *session, asJSON bool) error {
	st, err := s.tasks.Status(ctx, s.statusOptions())
	if err != nil {
		return err
	}
	if asJSON {
		enc := json.NewEncoder(a.stdout)
		enc.SetIndent("", "  ")
		return enc.Encode(st)
	}
	var b strings.Builder
	printStatus(&b, st)
	if st.Log != nil {
		fmt.Fprintf(&b, "\nlog: %s at %d, head of %s\n", clean(st.Log.Origin), st.Log.Size, minute(st.Log.At))
		if s.cfg.Log.HeadFile == "" {
			b.WriteString("  its heads are beside the report alone, where whoever changes the store can change them: see log.head_file\n")
		}
	}
	_, err = io.WriteString(a.stdout, b.String())
	return err
}

// recentBatches is how many batches the text shows; the JSON has all.
const recentBatches = 10

func printStatus(b *strings.Builder, st *batch.Status) {
	printVendors(b, st)
	var open, failed, overdue, atRisk int64
	for _, v := range st.Vendors {
		open, failed, overdue, atRisk = open+v.Open, failed+v.Unsettled, overdue+v.Overdue, atRisk+v.AtRisk
	}
	fmt.Fprintf(b, "\n%d open tasks", open)
	if failed > 0 {
		fmt.Fprintf(b, " and %d failed", failed)
	}
	fmt.Fprintf(b, ": %d overdue, %d at risk\n", overdue, atRisk)
	if o := st.Oldest; o != nil {
		fmt.Fprintf(b, "due first: %s, received %s, due %s (%s)\n", clean(o.SubjectID), date(o.ReceivedAt), date(o.DueAt), o.DueStatus)
	}
	for _, v := range st.Vendors {
		if line := vendorLine(&v, st.At); line != "" {
			fmt.Fprintf(b, "%s: %s\n", v.Vendor, line)
		}
	}
	printExports(b, st)
	if len(st.Needs) > 0 {
		b.WriteString("\nneeds a person:\n")
		for _, n := range st.Needs {
			fmt.Fprintf(b, "  %s\n    %s\n", clean(n.Text), n.Command)
		}
	}
	if len(st.Extended) > 0 {
		b.WriteString("\nlater due dates:\n")
		for _, x := range st.Extended {
			was := ""
			if x.Original != nil {
				was = " instead of " + date(*x.Original)
			}
			fmt.Fprintf(b, "  %s until %s%s: %s (%s, %s)\n", clean(x.SubjectID), date(x.Until), was, clean(x.Reason), clean(x.Who), date(x.At))
		}
	}
	printBatches(b, st)
	if r := st.LastRun; r != nil {
		fmt.Fprintf(b, "\nlast run: %d, began %s, ", r.ID, minute(r.StartedAt))
		if r.EndedAt == nil {
			b.WriteString("goes on, or was killed\n")
		} else {
			fmt.Fprintf(b, "ended %s with exit code %d\n", minute(*r.EndedAt), *r.ExitCode)
		}
	}
}

// printVendors writes the table of tasks, without the states that nothing is in.
func printVendors(b *strings.Builder, st *batch.Status) {
	var states []string
	for _, s := range store.States() {
		for _, v := range st.Vendors {
			if v.States[s.String()] > 0 {
				states = append(states, s.String())
				break
			}
		}
	}
	w := tabwriter.NewWriter(b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, strings.Join(append([]string{"vendor"}, states...), "\t"))
	for _, v := range st.Vendors {
		cells := []string{v.Vendor}
		for _, s := range states {
			cells = append(cells, fmt.Sprint(v.States[s]))
		}
		fmt.Fprintln(w, strings.Join(cells, "\t"))
	}
	w.Flush() // a strings.Builder does not fail
}

func vendorLine(v *batch.VendorStatus, now time.Time) string {
	var parts []string
	if v.Paused != nil {
		parts = append(parts, "paused until "+minute(*v.Paused))
	}
	switch {
	case v.Next != nil && v.Next.After(now):
		parts = append(parts, "next look "+minute(*v.Next))
	case v.Next != nil:
		parts = append(parts, "a look is due now")
	}
	if v.CallsLeft > 0 && v.PerSecond > 0 {
		parts = append(parts, fmt.Sprintf("about %d calls, %s at %s/s", v.CallsLeft, batch.Span(time.Duration(v.Seconds)*time.Second), batch.FormatRate(v.PerSecond)))
	}
	if v.Done != nil {
		parts = append(parts, "done about "+minute(*v.Done))
	}
	return strings.Join(parts, "; ")
}

func printBatches(b *strings.Builder, st *batch.Status) {
	if len(st.Batches) == 0 {
		return
	}
	b.WriteString("\nbatches:\n")
	shown := st.Batches[max(0, len(st.Batches)-recentBatches):]
	if n := len(st.Batches) - len(shown); n > 0 {
		fmt.Fprintf(b, "  (%d earlier ones: --json)\n", n)
	}
	for _, x := range shown {
		if x.CutShort {
			fmt.Fprintf(b, "  %d  %s  NOT taken in whole\n", x.ID, clean(x.Name))
			continue
		}
		if d := x.Dropped; d != nil {
			fmt.Fprintf(b, "  %d  %s%s\n", x.ID, clean(x.Name), dropped(store.Decision{At: d.At, Who: d.Who, Note: d.Reason}))
			continue
		}
		fmt.Fprintf(b, "  %d  %s  taken in %s: %d rows = %d subjects + %d invalid + %d duplicates\n",
			x.ID, clean(x.Name), minute(x.TakenAt), x.Rows, x.Subjects, x.Invalid, x.Duplicates)
	}
}

func date(t time.Time) string   { return t.UTC().Format(time.DateOnly) }
func minute(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 UTC") }
