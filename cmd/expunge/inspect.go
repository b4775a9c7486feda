package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"expunge/batch"
	"expunge/batch/intake"
)

// checkFile reads a file as a run would, and shows what would come of it.
func (a *app) checkFile(ctx context.Context, path string, reading readingFlags, only []string) (err error) {
	log := a.logger()
	cfg, err := a.loadOffline(log)
	if err != nil {
		return err
	}
	if err := errors.Join(reading.apply(cfg), haveVendors(cfg, only), isInput(path)); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "expunge-check-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	st, remove, err := openScratch(ctx, filepath.Join(dir, "scratch.db"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, remove()) }()
	s, lanes, err := a.offline(ctx, cfg, log, st)
	if err != nil {
		return err
	}
	name := path
	if path == "-" {
		name = "standard input"
	}
	in := batch.Input{Path: path, Stdin: a.input(ctx), Only: only, Reading: s.reading(), Deadline: cfg.Deadline.From, Log: slog.New(slog.DiscardHandler)}
	in.Reading.Log = slog.New(&warnings{w: a.stdout, file: name})
	layout := func(l intake.Layout) error { return tellLayout(a.stdout, name, l) }
	found, err := s.tasks.Inspect(ctx, lanes, in, layout, func(p batch.Problem) error {
		at := fmt.Sprintf("%s:%d", name, p.Line)
		if p.Column > 0 {
			at += fmt.Sprintf(":%d", p.Column)
		}
		_, err := fmt.Fprintf(a.stdout, "%s: %s [%s]\n", at, clean(p.Message), p.Reason)
		return err
	})
	if err != nil {
		return err
	}
	if err := tellInspection(a.stdout, found); err != nil {
		return err
	}
	if most := int64(cfg.MaxSubjects); found.Subjects > most || found.Invalid > most {
		a.note(slog.LevelWarn, "if this file is meant to be so large, run it with --allow-large", "the file holds more than max_subjects (%d)", most)
	}
	if found.Invalid > 0 {
		return quiet(exitFailed)
	}
	return nil
}

// tellLayout shows how a file is read.
func tellLayout(to io.Writer, name string, l intake.Layout) error {
	w := tabwriter.NewWriter(to, 0, 0, 2, ' ', 0)
	commas := map[rune]string{',': "commas", ';': "semicolons", '\t': "tabs"}
	packed := ""
	if l.Packed {
		packed = ", packed"
	}
	fmt.Fprintf(w, "%s: %s, columns with %s between them%s\n", name, l.Encoding, commas[l.Comma], packed)
	for i, column := range l.Columns {
		if column == "" {
			column = "(not read)"
		}
		fmt.Fprintf(w, "  %d\t%s\t%q\n", i+1, column, clean(l.Header[i]))
	}
	return w.Flush()
}

// tellInspection shows what would be sent to whom.
func tellInspection(to io.Writer, f *batch.Inspection) error {
	w := tabwriter.NewWriter(to, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "%d rows = %d subjects + %d invalid\n", f.Rows, f.Subjects, f.Invalid)
	for _, p := range f.Planned {
		fmt.Fprintf(w, "  %s\t%s\n", p.Account.Name, strings.Join(details(p), "; "))
	}
	return w.Flush()
}

// details says what is to be known of the tasks at one account.
func details(p batch.Planned) []string {
	all := []string{fmt.Sprintf("%d tasks", p.Tasks)}
	if p.Shared > 0 {
		all = append(all, fmt.Sprintf("%d of them share another's calls", p.Shared))
	}
	if p.Skipped > 0 {
		all = append(all, fmt.Sprintf("nothing to ask for %d subjects", p.Skipped))
	}
	if p.Tasks == 0 {
		return all
	}
	text := fmt.Sprintf("about %.0f calls", p.Calls)
	if p.Takes > 0 {
		text += ", " + batch.Span(p.Takes) + " at the configured rate"
	}
	if p.Account.LeadTime >= time.Hour {
		text += fmt.Sprintf(", then up to %s until the vendor is done", batch.Span(p.Account.LeadTime))
	}
	return append(all, text)
}

// warnings writes what an intake warns of as lines about the file.
type warnings struct {
	w    io.Writer
	file string
}

func (h *warnings) Enabled(context.Context, slog.Level) bool { return true }
func (h *warnings) WithAttrs([]slog.Attr) slog.Handler       { return h }
func (h *warnings) WithGroup(string) slog.Handler            { return h }

func (h *warnings) Handle(_ context.Context, r slog.Record) error {
	at, more := h.file, ""
	r.Attrs(func(attr slog.Attr) bool {
		switch attr.Key {
		case "file":
		case "line", "first_line":
			at += ":" + attr.Value.String()
		default:
			more += fmt.Sprintf(" (%s: %s)", attr.Key, attr.Value)
		}
		return true
	})
	what := "warning: "
	if r.Level < slog.LevelWarn {
		what = "note: "
	}
	_, err := fmt.Fprintf(h.w, "%s: %s%s%s\n", at, what, clean(r.Message), more)
	return err
}
