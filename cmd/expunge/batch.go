package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"expunge/batch"
	"expunge/store"
)

func (a *app) batchCommand() *cobra.Command {
	return group(&cobra.Command{
		Use:   "batch",
		Short: "Files taken in: list, drop",
		Long: "A batch is one file taken in. `batch list` shows them; `batch drop` takes one back, as long as nothing of it was\n" +
			"submitted to a vendor.",
		Example: "  expunge batch list\n  expunge batch drop 3 --by jane --reason 'wrong file'",
	}, a.batchListCommand(), a.batchDropCommand())
}

func (a *app) batchListCommand() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:     "list",
		Short:   "The files taken in, the oldest first",
		Long:    "Lists the files taken in, with their control totals, and those that were taken back, with by whom and why. It reads only.",
		Example: "  expunge batch list\n  expunge batch list --json",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return a.withStore(c.Context(), true, func(s *session) error { return a.batchList(c.Context(), s.store, asJSON) })
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "as JSON, with stable keys")
	return c
}

func (a *app) batchList(ctx context.Context, st *store.Store, asJSON bool) error {
	all, err := st.Batches(ctx)
	if err != nil {
		return err
	}
	if asJSON {
		list := []batch.BatchStatus{}
		for _, b := range all {
			list = append(list, batch.StatusOf(b))
		}
		enc := json.NewEncoder(a.stdout)
		enc.SetIndent("", "  ")
		return enc.Encode(list)
	}
	if len(all) == 0 {
		a.note(slog.LevelInfo, "", "no file has been taken in")
		return nil
	}
	w := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "batch\ttaken in\trows\tsubjects\tinvalid\tduplicates\ttasks added\tfile")
	for _, b := range all {
		if b.Loading {
			fmt.Fprintf(w, "%d\t%s\t\t\t\t\t\t%s (NOT taken in whole)\n", b.ID, minute(b.TakenAt), clean(b.Name))
			continue
		}
		fmt.Fprintf(w, "%d\t%s\t%d\t%d\t%d\t%d\t%d\t%s%s\n", b.ID, minute(b.TakenAt), b.Rows, b.Subjects, b.Invalid, b.Duplicates, b.Added, clean(b.Name), dropped(b.Dropped))
	}
	return w.Flush()
}

// dropped says of a batch that it was taken back.
func dropped(d store.Decision) string {
	if d.At.IsZero() {
		return ""
	}
	text := fmt.Sprintf(" (dropped %s by %s", date(d.At), clean(d.Who))
	if d.Note != "" {
		text += ": " + clean(d.Note)
	}
	return text + ")"
}

func (a *app) batchDropCommand() *cobra.Command {
	var who, reason string
	c := &cobra.Command{
		Use:   "drop N",
		Short: "Take back a file of which nothing was submitted",
		Long: "Takes back the batch with this number: its requests, its tasks and the list of its invalid rows. It is refused once\n" +
			"anything of it was, or may have been, submitted to a vendor, and while a later file counts on it. Who, when and why\n" +
			"are recorded with the batch, and the file can be taken in again. No vendor is called.",
		Example: "  expunge batch list\n  expunge batch drop 3 --by jane --reason 'wrong columns'",
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			id, err := strconv.ParseInt(args[0], 10, 64)
			if err != nil {
				return usage(fmt.Errorf("%q is not the number of a batch", args[0]), "`expunge batch list` shows them")
			}
			return a.withStore(c.Context(), false, func(s *session) error {
				return a.batchDrop(c.Context(), s.store, id, store.Decision{At: time.Now(), Who: a.who(who), Note: reason})
			})
		},
	}
	c.Flags().StringVar(&who, "by", "", "by `whom` it is decided (default: the login name)")
	c.Flags().StringVar(&reason, "reason", "", "`why`, for the record; no personal data")
	return c
}

func (a *app) batchDrop(ctx context.Context, st *store.Store, id int64, d store.Decision) error {
	b, err := st.DropBatch(ctx, id, d)
	var no *store.NotDroppedError
	switch {
	case errors.As(err, &no):
		return usage(err, "`expunge review` decides about single tasks")
	case errors.Is(err, store.ErrUnknown), errors.Is(err, store.ErrDropped):
		return usage(err, "`expunge batch list` shows them")
	case err != nil:
		return err
	}
	a.note(slog.LevelInfo, "", "batch %d (%s) is dropped: %d requests, %d invalid rows, %d duplicates, %d tasks of earlier requests; the file can be taken in again",
		b.ID, clean(b.Name), b.Subjects, b.Invalid, b.Duplicates, b.Added)
	return nil
}
