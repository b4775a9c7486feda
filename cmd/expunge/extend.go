package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"expunge/batch/config"
	"expunge/store"
)

func (a *app) extendCommand() *cobra.Command {
	var until, reason, who string
	c := &cobra.Command{
		Use:   "extend SUBJECT",
		Short: "Give a request a later due date, recorded",
		Long: "Gives a request (its subject_id) a later due date. GDPR Art. 12(3) lets a complex request take two further\n" +
			"months, if the person is told why within the first. Date, reason, who and when are recorded.",
		Example: "  expunge extend DSR-1002 --until 2026-06-02 --reason 'vendor archives slowly; told on 2026-03-28'",
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			day, err := time.Parse(time.DateOnly, until)
			if err != nil {
				return usage(fmt.Errorf("--until %q: must be a date such as 2026-11-21", until), "it counts to the end of that day, UTC")
			}
			day = day.Add(24*time.Hour - time.Second)
			switch {
			case !day.After(time.Now()):
				return usage(fmt.Errorf("--until %s: that day is over", until), "a due date must lie in the future")
			case strings.TrimSpace(reason) == "":
				return usage(errors.New("--reason is missing"), "say why, for the record; no personal data")
			}
			return a.withStore(c.Context(), false, func(s *session) error {
				return a.extend(c.Context(), s, args[0], day, store.Decision{At: time.Now(), Who: a.who(who), Note: reason})
			})
		},
	}
	c.Flags().StringVar(&until, "until", "", "the new due `date`")
	c.Flags().StringVar(&reason, "reason", "", "`why`, for the record; no personal data")
	c.Flags().StringVar(&who, "by", "", "`who` decides (default: the login name)")
	return c
}

// longest is how long a request may take with the extension that the law allows.
var longest = config.Deadline{Months: 3}

func (a *app) extend(ctx context.Context, s *session, subject string, until time.Time, d store.Decision) error {
	x, err := s.tasks.Extend(ctx, subject, until, d)
	switch {
	case errors.Is(err, store.ErrUnknown):
		return usage(err, "it is the subject_id of the input file; `expunge report` lists them")
	case errors.Is(err, store.ErrNothingOpen):
		return usage(err, "a request that has been answered needs no later date")
	case errors.Is(err, store.ErrNotLater):
		return usage(err, "give a later --until")
	case err != nil:
		return err
	}
	a.note(slog.LevelInfo, "", "%s: due on %s instead of %s, %d open tasks", clean(x.SubjectID), x.Until.Format(time.DateOnly), x.Former.Format(time.DateOnly), x.Open)
	if limit := longest.From(x.ReceivedAt); x.Until.After(endOfDay(limit)) {
		a.note(slog.LevelWarn, "", "warning: the request was received on %s; GDPR Art. 12(3) lets it take until %s at the longest",
			x.ReceivedAt.Format(time.DateOnly), limit.Format(time.DateOnly))
	}
	return nil
}

func endOfDay(t time.Time) time.Time {
	return t.UTC().Truncate(24 * time.Hour).Add(24*time.Hour - time.Second)
}
