package main

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
)

// runHandler puts the number of the run into every record, 0 before there is one, so that
// the lines of one run can be told from another's.
type runHandler struct {
	slog.Handler
	run *atomic.Int64
}

func (h runHandler) Handle(ctx context.Context, r slog.Record) error {
	r = r.Clone()
	r.AddAttrs(slog.Int64("run", h.run.Load()))
	return h.Handler.Handle(ctx, r)
}

func (h runHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return runHandler{h.Handler.WithAttrs(attrs), h.run}
}

func (h runHandler) WithGroup(name string) slog.Handler {
	return runHandler{h.Handler.WithGroup(name), h.run}
}

// logger logs to standard error. With --log-format json every line is an object with the
// keys time, level, msg and run, and what the message adds.
func (a *app) logger() *slog.Logger {
	o := &slog.HandlerOptions{Level: slog.LevelInfo, ReplaceAttr: func(_ []string, at slog.Attr) slog.Attr {
		if at.Value.Kind() == slog.KindTime {
			at.Value = slog.TimeValue(at.Value.Time().UTC())
		}
		return at
	}}
	if a.verbose {
		o.Level = slog.LevelDebug
	}
	if a.logFormat == "json" {
		return slog.New(runHandler{slog.NewJSONHandler(a.logs, o), &a.runID})
	}
	return slog.New(slog.NewTextHandler(a.logs, o))
}

// note tells the user something on standard error, with a hint if there is one: as plain
// lines, or with --log-format json as a record, so that every line is one.
func (a *app) note(level slog.Level, hint, format string, args ...any) {
	text := cleanLines(fmt.Sprintf(format, args...))
	if a.logFormat == "json" {
		var more []slog.Attr
		if hint != "" {
			more = append(more, slog.String("hint", hint))
		}
		a.logger().LogAttrs(context.Background(), level, text, more...)
		return
	}
	fmt.Fprintln(a.logs, text)
	if hint != "" {
		fmt.Fprintln(a.logs, "hint: "+strings.ReplaceAll(hint, "\n", "\nhint: "))
	}
}
