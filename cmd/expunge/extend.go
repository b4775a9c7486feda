package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"expunge/batch"
	"expunge/batch/config"
	"expunge/store"
)

func (a *app) extendCommand() *cobra.Command {
	var until, reason, who string
	var override bool
	c := &cobra.Command{
		Use:   "extend SUBJECT",
		Short: "Give a request a later due date, recorded",
		Long: "Gives a request (its subject_id) a later due date. GDPR Art. 12(3) lets a complex request take two further\n" +
			"months, if the person is told why within the first: so a date beyond three months from receipt, and any date once\n" +
			"the request is overdue, need --override. Reason, who and when are recorded, and every report shows the first date\n" +
			"beside the later one. What was finished before is judged by the date that held then.",
		Example: "  expunge extend DSR-1002 --until 2026-06-02 --reason 'vendor archives slowly; told on 2026-03-28'",
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if err := isTicket(args[0]); err != nil {
				return err
			}
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
				x := batch.Extension{SubjectID: args[0], Until: day, Override: override,
					Longest: func(received time.Time) time.Time { return endOfDay(longest.From(received)) }}
				return a.extend(c.Context(), s, x, store.Decision{At: time.Now(), Who: a.who(who), Note: reason})
			})
		},
	}
	c.Flags().StringVar(&until, "until", "", "the new due `date`")
	c.Flags().StringVar(&reason, "reason", "", "`why`, for the record; no personal data")
	c.Flags().BoolVar(&override, "override", false, "also when the request is overdue, or for longer than the law allows")
	c.Flags().StringVar(&who, "by", "", "by `whom` it is decided (default: the login name)")
	return c
}

// longest is how long a request may take with the extension that the law allows.
var longest = config.Deadline{Months: 3}

func (a *app) extend(ctx context.Context, s *session, asked batch.Extension, d store.Decision) error {
	x, err := s.tasks.Extend(ctx, asked, d)
	switch {
	case errors.Is(err, store.ErrUnknown):
		return usage(err, "it is the subject_id of the input file; `expunge report` lists them")
	case errors.Is(err, store.ErrNothingOpen):
		return usage(err, "a request that has been answered needs no later date")
	case errors.Is(err, store.ErrNotLater):
		return usage(err, "give a later --until")
	case errors.Is(err, batch.ErrLateExtension), errors.Is(err, batch.ErrLongExtension):
		return usage(err, "where it was agreed all the same, --override records it; the reports show the first date too")
	case err != nil:
		return err
	}
	a.note(slog.LevelInfo, "", "%s: due on %s instead of %s, %d open tasks", clean(x.SubjectID), x.Until.Format(time.DateOnly), x.Former.Format(time.DateOnly), x.Open)
	return nil
}

func endOfDay(t time.Time) time.Time {
	return t.UTC().Truncate(24 * time.Hour).Add(24*time.Hour - time.Second)
}
