package main

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/spf13/cobra"

	"expunge/batch"
	"expunge/store/atomicfile"
)

func (a *app) answeredCommand() *cobra.Command {
	var reading readingFlags
	c := &cobra.Command{
		Use:   "answered FILE.csv",
		Short: "Take in when people were told what became of their requests",
		Long: "Takes in a CSV of subject_id, answered_at and, if you like, channel (email, letter, …): when each person was told.\n" +
			"With track_answers in the config, requests are judged by that. It is safe to repeat; another date for the same request\n" +
			"replaces the former, and both stay in its history. `-` is standard input.",
		Example: "  expunge answered told.csv\n  expunge answered - < told.csv",
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			ctx := c.Context()
			if args[0] != "-" {
				f, _, err := atomicfile.OpenRegular(args[0]) // before the store is opened, which takes its lock
				if err != nil {
					return usage(fmt.Errorf("answers: %w", err), "name the CSV file, or - for standard input")
				}
				f.Close()
			}
			return a.withStore(ctx, false, func(s *session) error {
				if err := reading.apply(s.cfg); err != nil {
					return err
				}
				return a.answered(ctx, s, args[0])
			})
		},
	}
	reading.add(c)
	return c
}

func (a *app) answered(ctx context.Context, s *session, path string) error {
	f, err := batch.OpenAnswers(path, a.input(ctx), s.reading())
	if err != nil {
		return err
	}
	defer f.Close()
	var recorded, changed, again, refused int
	err = s.tasks.Answered(ctx, f, func(r batch.AnsweredResult) {
		switch {
		case r.Problem != "":
			refused++
			a.note(slog.LevelWarn, "", "%s:%d: %s", path, r.Line, r.Problem)
		case r.Again:
			again++
		case r.Changed:
			changed++
		default:
			recorded++
		}
	})
	if err != nil {
		return err
	}
	text := fmt.Sprintf("%d recorded, %d recorded before, %d refused", recorded, again, refused)
	if changed > 0 {
		text += fmt.Sprintf(", %d changed", changed)
	}
	a.note(slog.LevelInfo, "", "%s", text)
	if refused > 0 {
		return quiet(exitFailed)
	}
	return nil
}
