package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os/user"
	"slices"

	"github.com/spf13/cobra"

	"expunge/batch"
	"expunge/store/atomicfile"
)

func (a *app) confirmCommand() *cobra.Command {
	var who string
	var reading readingFlags
	c := &cobra.Command{
		Use:     "confirm FILE.csv",
		Short:   "Take in what people finished by hand",
		Long:    "Takes in a CSV of vendor, reference, completed_at and, if you like, outcome (done or declined) and note: requests that\npeople at the vendor have finished. It is safe to repeat. `-` is standard input.",
		Example: "  expunge confirm finished.csv --by jane\n  expunge confirm - < finished.csv",
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			ctx := c.Context()
			if args[0] != "-" {
				f, _, err := atomicfile.OpenRegular(args[0]) // before the store is opened, which takes its lock
				if err != nil {
					return usage(fmt.Errorf("confirmations: %w", err), "name the CSV file, or - for standard input")
				}
				f.Close()
			}
			return a.withStore(ctx, false, func(s *session) error {
				if err := reading.apply(s.cfg); err != nil {
					return err
				}
				return a.confirm(ctx, s, args[0], who)
			})
		},
	}
	c.Flags().StringVar(&who, "by", "", "by `whom` it is decided (default: the login name)")
	reading.add(c)
	return c
}

func (a *app) confirm(ctx context.Context, s *session, path, who string) error {
	f, err := batch.OpenConfirmations(path, a.input(ctx), s.reading())
	if err != nil {
		return err
	}
	defer f.Close()
	results, err := s.tasks.Confirm(ctx, f, a.who(who))
	if errors.Is(err, batch.ErrManyConfirmations) {
		return usage(fmt.Errorf("%s: %w", path, err), "hand them in in several files")
	}
	if err != nil {
		return err
	}
	var confirmed, declined, again, refused int
	slices.SortFunc(results, func(x, y batch.ConfirmResult) int { return x.Line - y.Line })
	for _, res := range results {
		switch {
		case res.Problem != "":
			refused++
			a.note(slog.LevelWarn, "", "%s:%d: %s", path, res.Line, res.Problem)
		case res.Again:
			again++
		case res.Declined:
			declined++
		default:
			confirmed++
		}
	}
	text := fmt.Sprintf("%d confirmed, %d confirmed before, %d refused", confirmed, again, refused)
	if declined > 0 {
		text += fmt.Sprintf(", %d declined", declined)
	}
	a.note(slog.LevelInfo, "", "%s", text)
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
