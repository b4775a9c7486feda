package main

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"expunge/batch"
	"expunge/batch/html"
	"expunge/batch/intake"
	"expunge/store"
	"expunge/store/atomicfile"
)

func (a *app) historyCommand() *cobra.Command {
	var asJSON bool
	var format, out string
	c := &cobra.Command{
		Use:   "history SUBJECT",
		Short: "What happened to a request, and what comes next",
		Long: "Shows one request (its subject_id): when it was received and is due, where it stands at each vendor, everything that\n" +
			"happened with its evidence and who decided what, and what comes next or what a person can do now. With - it reads\n" +
			"one identifier (an email, a telephone, a key or an account number) from standard input, in any usual spelling, and shows the requests of whoever has\n" +
			"it, finished ones too, until they are purged. --format html is a page for the person's file. No vendor is called.",
		Example: "  expunge history DSR-1002\n  expunge history DSR-1002 --json\n  expunge history - < address.txt\n  expunge history DSR-1002 --format html -o letter.html",
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			ctx := c.Context()
			if asJSON {
				if c.Flags().Changed("format") && format != "json" {
					return usage(errors.New("--json and --format say two things"), "write one of them")
				}
				format = "json"
			}
			if !slices.Contains([]string{"text", "json", "html"}, format) {
				return usage(fmt.Errorf("--format %q: must be text, json or html", format), "write --format html")
			}
			if args[0] != "-" {
				if err := isTicket(args[0]); err != nil {
					return err
				}
			}
			return a.withStore(ctx, true, func(s *session) error {
				if err := guard(s.cfg, "", target{"--output", out}); err != nil {
					return err
				}
				found, err := a.historyOf(ctx, s, args[0])
				if err != nil {
					return err
				}
				return a.writeHistory(s, found, args[0] == "-", format, out)
			})
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "as JSON, with stable keys")
	c.Flags().StringVar(&format, "format", "text", "text, json or html")
	c.Flags().StringVarP(&out, "output", "o", "-", "`FILE` to write")
	return c
}

// isTicket refuses what cannot be the number of a request, without quoting it: it may be a
// person's own, which belongs on no command line.
func isTicket(text string) error {
	if p := intake.SubjectIDProblem(text); p != "" {
		return usage(errors.New("SUBJECT "+p), "`expunge history -` reads an identifier from standard input")
	}
	return nil
}

// historyOf finds the requests that are asked for: one by its subject_id, or those of whoever has the
// identifier on standard input.
func (a *app) historyOf(ctx context.Context, s *session, subject string) ([]*batch.History, error) {
	tickets := []string{subject}
	if subject == "-" {
		identifier, err := a.oneLine(ctx)
		if err != nil {
			return nil, err
		}
		if tickets, err = s.tasks.Find(ctx, identifier, s.cfg.DefaultRegion); err != nil {
			return nil, err
		}
		if len(tickets) == 0 {
			return nil, usage(errors.New("nobody is known by this identifier"),
				"who was purged, or taken in before there were marks or with log.marks: false, is found by the subject_id only")
		}
	}
	var all []*batch.History
	for _, t := range tickets {
		h, err := s.tasks.History(ctx, t, time.Duration(s.cfg.AtRisk))
		switch {
		case errors.Is(err, store.ErrPurged):
			return nil, usage(err, "nothing but its subject_id is kept; `expunge report --format stats` counts it")
		case errors.Is(err, store.ErrUnknown):
			return nil, usage(err, "it is the subject_id of the input file; `expunge report` lists them, and `expunge history -` finds it by an identifier")
		case err != nil:
			return nil, err
		}
		all = append(all, h)
	}
	return all, nil
}

// oneLine reads the one line that is on standard input. No error quotes it.
func (a *app) oneLine(ctx context.Context) (string, error) {
	var lines []string
	sc := bufio.NewScanner(io.LimitReader(a.input(ctx), 64<<10))
	for sc.Scan() {
		if line := strings.TrimSpace(strings.TrimPrefix(sc.Text(), "\ufeff")); line != "" {
			lines = append(lines, line)
		}
	}
	if err := sc.Err(); err != nil {
		return "", err
	}
	if len(lines) != 1 {
		return "", usage(fmt.Errorf("standard input has %d lines", len(lines)), "it must be one identifier, alone on a line")
	}
	return lines[0], nil
}

func (a *app) writeHistory(s *session, all []*batch.History, list bool, format, path string) error {
	write := func(w io.Writer) error {
		switch format {
		case "json":
			enc := json.NewEncoder(w)
			enc.SetIndent("", "  ")
			if list {
				return enc.Encode(all)
			}
			return enc.Encode(all[0])
		case "html":
			return html.WriteLetter(w, all, s.htmlVendors(), version, time.Now())
		}
		var b strings.Builder
		for i, h := range all {
			if i > 0 {
				b.WriteByte('\n')
			}
			printHistory(&b, h)
		}
		_, err := io.WriteString(w, b.String())
		return err
	}
	if path == "-" {
		return write(a.stdout)
	}
	if err := atomicfile.WriteFile(path, nil, write); err != nil {
		return fmt.Errorf("history: %w", err)
	}
	return nil
}

func (s *session) htmlVendors() []html.Vendor {
	var known []html.Vendor
	for _, a := range s.tasks.Accounts {
		known = append(known, html.Vendor{Name: a.Name, Traits: a.Traits})
	}
	return known
}

func printHistory(b *strings.Builder, h *batch.History) {
	from := ""
	if h.Channel != "" {
		from = " by " + h.Channel
	}
	fmt.Fprintf(b, "%s (batch %d, line %d)\n", clean(h.SubjectID), h.Batch, h.Line)
	fmt.Fprintf(b, "received  %s%s\n", minute(h.ReceivedAt), clean(from))
	fmt.Fprintf(b, "due       %s", minute(h.DueAt))
	if h.OriginalDueAt != nil {
		fmt.Fprintf(b, ", extended from %s", minute(*h.OriginalDueAt))
	}
	b.WriteString("\nanswered  ")
	if h.AnsweredAt == nil {
		b.WriteString("not recorded\n\n")
	} else {
		fmt.Fprintf(b, "%s\n\n", minute(*h.AnsweredAt))
	}
	w := tabwriter.NewWriter(b, 0, 0, 2, ' ', 0)
	for _, k := range h.Tasks {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", clean(k.Task), clean(k.Identifier), words(k.State, k.Evidence, k.Reason), k.DueStatus)
	}
	w.Flush()
	for _, k := range h.Tasks {
		if k.Message != "" {
			fmt.Fprintf(b, "%s: %s\n", clean(k.Task), clean(k.Message))
		}
		if len(k.Former) > 0 {
			fmt.Fprintf(b, "%s: former references %s\n", clean(k.Task), clean(strings.Join(k.Former, ", ")))
		}
	}
	b.WriteByte('\n')
	if len(h.Events) == 0 {
		b.WriteString("no event is recorded: it was taken in before there were events\n")
	}
	w = tabwriter.NewWriter(b, 0, 0, 2, ' ', 0)
	for _, e := range h.Events {
		task := e.Task
		if task == "-" {
			task = ""
		}
		fmt.Fprintf(w, "%s\t%s\t%s\n", minute(e.At), clean(task), clean(eventLine(&e)))
	}
	w.Flush()
	if len(h.Next) == 0 {
		return
	}
	b.WriteString("\nnext:\n")
	for _, n := range h.Next {
		at := ""
		if n.At != nil {
			at = " (" + minute(*n.At) + ")"
		}
		fmt.Fprintf(b, "  %s: %s%s\n    %s\n", clean(n.Task), n.Text, at, n.Command)
	}
}

// words is a state with what it rests on.
func words(state, evidence, reason string) string {
	return strings.Join(slices.DeleteFunc([]string{state, evidence, reason}, func(s string) bool { return s == "" }), ", ")
}

// eventLine tells an event in a line.
func eventLine(e *batch.HistoryEvent) string {
	what := strings.ReplaceAll(e.Event, "_", " ")
	if e.Event == "decided" {
		what = cmp.Or(e.Action, "released")
	}
	text := words(what, e.Evidence, e.Reason)
	if e.Reference != "" {
		text += ", reference " + e.Reference
	}
	if e.Records != nil {
		text += fmt.Sprintf(", %d record", *e.Records)
		if *e.Records != 1 {
			text += "s"
		}
		if e.RecordsAfter != nil {
			text += fmt.Sprintf(", then %d", *e.RecordsAfter)
		}
	}
	// A vendor that acts at once has no other event that says when it was told; what staff have done is
	// recorded later.
	other := func(t *time.Time) bool { return t != nil && minute(*t) != minute(e.At) }
	if (e.Event == "erased" || e.Event == "failed") && e.Reference == "" && other(e.SubmittedAt) {
		text += ", submitted " + minute(*e.SubmittedAt)
	}
	if (e.Event == "erased" || e.Event == "not_found") && other(e.CompletedAt) {
		text += ", done " + minute(*e.CompletedAt)
	}
	if e.Until != nil {
		text += " until " + minute(*e.Until)
	}
	if e.Channel != "" {
		text += " by " + e.Channel
	}
	if e.Export != "" {
		text += ": " + e.Export
	}
	if e.By != "" {
		text += " (" + e.By
		if e.Note != "" {
			text += ": " + e.Note
		}
		text += ")"
	}
	return text
}
