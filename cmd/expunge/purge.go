package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"expunge/store"
)

func (a *app) purgeCommand() *cobra.Command {
	var before string
	var failed, yes bool
	c := &cobra.Command{
		Use:   "purge --before DATE",
		Short: "Drop finished subjects from the store",
		Long: "Drops the subjects whose last task was completed before a date (UTC), with their tasks, references and decisions:\n" +
			"the report no longer shows them, so keep a report first. Their subject_ids stay, so that the same request is never\n" +
			"taken in again, and so do the counts of their files. Subjects with a failed task stay, for their requests were\n" +
			"never answered, unless --failed is given. What exports left in the vault is not touched.",
		Example: "  expunge report --format html -o 2026-q1.html\n  expunge purge --before 2026-04-01",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			day, err := time.Parse(time.DateOnly, before)
			if err != nil {
				return usage(fmt.Errorf("--before %q: must be a date such as 2026-11-21", before), "it means the beginning of that day, UTC")
			}
			return a.purge(c.Context(), store.PurgeFilter{Before: day, Failed: failed}, yes)
		},
	}
	c.Flags().StringVar(&before, "before", "", "the `date` before which the last task was completed")
	c.Flags().BoolVar(&failed, "failed", false, "also subjects with a failed task")
	c.Flags().BoolVar(&yes, "yes", false, "do not ask")
	return c
}

func (a *app) purge(ctx context.Context, f store.PurgeFilter, yes bool) (err error) {
	cfg, err := a.loadOffline(a.logger())
	if err != nil {
		return err
	}
	st, err := a.openStore(ctx, cfg, false)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, st.Close()) }()
	p, err := st.Purgeable(ctx, f)
	if err != nil {
		return err
	}
	if p.Subjects > 0 && !yes {
		if !a.canAsk() {
			return usage(fmt.Errorf("%d subjects with %d tasks would be dropped for good", p.Subjects, p.Tasks), "standard input is no terminal to ask on: add --yes")
		}
		if !a.ask(ctx, fmt.Sprintf("Drop %d subjects with %d tasks for good?", p.Subjects, p.Tasks)) {
			a.note(slog.LevelInfo, "", "nothing was dropped")
			return nil
		}
	}
	p, err = st.Purge(ctx, f)
	if err != nil {
		return err
	}
	a.note(slog.LevelInfo, "", "dropped %d subjects with %d tasks, and %d refused rows", p.Subjects, p.Tasks, p.Rejects)
	if p.Failed > 0 {
		a.note(slog.LevelWarn, "`expunge report` shows them; --failed drops them too", "%d subjects stay because a task of theirs failed", p.Failed)
	}
	if p.Subjects+p.Rejects == 0 {
		return nil
	}
	if err := a.publish(ctx, cfg, st); err != nil {
		return err
	}
	if err := st.Compact(ctx); err != nil {
		a.note(slog.LevelWarn, "", "the store's file stays as large as it was: %v", err)
	}
	return nil
}

// canAsk reports whether there is somebody to ask.
func (a *app) canAsk() bool {
	f, ok := a.stdin.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// ask asks a question whose answer is no unless it is y or yes.
func (a *app) ask(ctx context.Context, question string) bool {
	fmt.Fprintf(a.stderr, "%s [y/N] ", question)
	line, _ := bufio.NewReader(a.input(ctx)).ReadString('\n') // an end without an answer is a no
	answer := strings.ToLower(strings.TrimSpace(line))
	return answer == "y" || answer == "yes"
}
