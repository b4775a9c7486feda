package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"expunge/batch"
	"expunge/store"
)

func (a *app) reviewCommand() *cobra.Command {
	return group(&cobra.Command{
		Use:   "review",
		Short: "What waits for a person: list, approve, reject, retry, close, prove, moved",
		Long: "Tasks that are held wait for a person's decision: the vendor's records may be somebody else's, a request may\n" +
			"or may not have arrived, a job takes too long. `review list` says why, `approve` and `reject` decide. Tasks that\n" +
			"failed wait for `retry` or `close`, and a vendor whose account is in doubt for `prove` or `moved`.",
		Example: "  expunge review list\n  expunge review approve 1003000 --by jane --note 'both addresses are hers'\n  expunge review retry --vendor voyado --reason 'it is back'",
	}, a.reviewListCommand(), a.reviewDecideCommand(true), a.reviewDecideCommand(false), a.reviewFailedCommand(false), a.reviewFailedCommand(true),
		a.reviewVendorCommand(false), a.reviewVendorCommand(true))
}

type reviewFlags struct {
	batch     int64
	vendor    string
	reason    string
	limit     int
	json      bool
	who, note string
	reference string // approve only
}

func (f *reviewFlags) selection(c *cobra.Command) {
	c.Flags().Int64Var(&f.batch, "batch", 0, "only this batch (its `number`)")
	c.Flags().StringVar(&f.vendor, "vendor", "", "only this vendor (`NAME`)")
	c.Flags().StringVar(&f.reason, "reason", "", "only those held for this reason `CODE`")
}

// heldReasons are the codes for which a task can be held.
func heldReasons() []string { return codesOf("held:") }

func completeReasons(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	return heldReasons(), cobra.ShellCompDirectiveNoFileComp
}

func (f *reviewFlags) check() error {
	if codes := heldReasons(); f.reason != "" && !slices.Contains(codes, f.reason) {
		return usage(fmt.Errorf("--reason %q: no task is ever held for it", f.reason), "the codes are "+strings.Join(codes, ", "))
	}
	if f.limit < 0 {
		return usage(errors.New("--limit must not be negative"), "0 shows all")
	}
	return nil
}

func (a *app) reviewListCommand() *cobra.Command {
	var f reviewFlags
	c := &cobra.Command{
		Use:   "list",
		Short: "The held tasks by cause, the most urgent first",
		Long: "Lists the held tasks by cause, the most urgent first: whose request it is (masked), why it is held, how many\n" +
			"records the preview showed, what an approval would lead to, and the command that approves all of a cause. Then it\n" +
			"says what else needs a person. It changes nothing and can be used during a run.",
		Example: "  expunge review list\n  expunge review list --reason somebody_else --limit 0\n  expunge review list --json",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := f.check(); err != nil {
				return err
			}
			if f.json && !c.Flags().Changed("limit") {
				f.limit = 0
			}
			return a.withStore(c.Context(), true, func(s *session) error {
				if err := a.knownBatch(c.Context(), s, f.batch); err != nil {
					return err
				}
				return a.reviewList(c.Context(), s, f)
			})
		},
	}
	f.selection(c)
	c.Flags().IntVar(&f.limit, "limit", 100, "show at most this `many`; 0: all, as with --json, in the order of the input")
	c.Flags().BoolVar(&f.json, "json", false, "as JSON, with stable keys")
	must(c.RegisterFlagCompletionFunc("reason", completeReasons))
	return c
}

// reviewList lists the held tasks by cause, each cause with the one command that decides about
// all of them, and then what else needs a person.
func (a *app) reviewList(ctx context.Context, s *session, f reviewFlags) error {
	sel := batch.Selection{Batch: f.batch, Vendor: f.vendor, Reason: f.reason}
	if f.json {
		return batch.JSONArray(a.stdout, func(put func(any) error) error {
			return s.tasks.Held(ctx, sel, f.limit, func(h *batch.HeldTask) error { return put(h) })
		})
	}
	causes, err := s.tasks.Causes(ctx, sel)
	if err != nil {
		return reviewError(s, err)
	}
	if len(causes) == 0 {
		a.note(slog.LevelInfo, "", "nothing is held")
	}
	var shown, total int64
	for i, c := range causes {
		if total += c.Tasks; i > 0 {
			fmt.Fprintln(a.stdout)
		}
		n, err := a.listCause(ctx, s, sel, c, f.limit-int(shown), f.limit == 0)
		if err != nil {
			return err
		}
		shown += n
	}
	if shown < total {
		fmt.Fprintf(a.stdout, "\n%d of %d shown; --limit 0 shows all\n", shown, total)
	}
	if sel.Batch != 0 || sel.Vendor != "" || sel.Reason != "" {
		return nil
	}
	st, err := s.tasks.Status(ctx, s.statusOptions())
	if err != nil {
		return err
	}
	heading := "also needs a person:"
	if len(causes) > 0 {
		heading = "\n" + heading
	}
	for _, n := range st.Needs {
		if n.What == "held" {
			continue
		}
		if heading != "" {
			fmt.Fprintln(a.stdout, heading)
			heading = ""
		}
		fmt.Fprintf(a.stdout, "  %s\n    %s\n", clean(n.Text), n.Command)
	}
	return nil
}

// listCause lists a cause with up to left of its tasks, or all of them, and returns how many it
// has shown.
func (a *app) listCause(ctx context.Context, s *session, sel batch.Selection, c batch.Cause, left int, all bool) (shown int64, err error) {
	follow := ""
	if c.Followers > 0 {
		follow = fmt.Sprintf(", and %d of the same identifiers with them", c.Followers)
	}
	fmt.Fprintf(a.stdout, "%d held at %s%s, the first due %s\n%s: %s\n", c.Tasks, c.Vendor, follow, date(c.DueAt), c.Reason, c.Why)
	if all {
		left = 0
	} else if left <= 0 {
		fmt.Fprintf(a.stdout, "  %s   (or reject)\n", c.Command)
		return 0, nil
	}
	sel.Vendor, sel.Reason = c.Vendor, c.Reason
	means := map[string]bool{}
	w := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "task\tdue\tsubject\tvendor\tidentifier\trecords\treason")
	err = s.tasks.Held(ctx, sel, left, func(h *batch.HeldTask) error {
		shown++
		means[h.Approve] = true
		records := "-"
		if h.Records != nil {
			records = strconv.Itoa(*h.Records)
		}
		_, err := fmt.Fprintf(w, "%d\t%s\t%s\t%s\t%s\t%s\t%s\n", h.Task, date(h.DueAt), clean(h.SubjectID), h.Vendor,
			clean(h.Identifier), records, h.Reason)
		if err == nil && h.Message != "" {
			_, err = fmt.Fprintf(w, "\t\t%s\n", clean(h.Message))
		}
		return err
	})
	if err := errors.Join(err, w.Flush()); err != nil {
		return shown, err
	}
	for _, m := range slices.Sorted(maps.Keys(means)) {
		fmt.Fprintf(a.stdout, "approve means: %s\n", m)
	}
	_, err = fmt.Fprintf(a.stdout, "  %s   (or reject)\n", c.Command)
	return shown, err
}

func (a *app) reviewDecideCommand(approve bool) *cobra.Command {
	var f reviewFlags
	c := &cobra.Command{
		Use:   "reject [task...]",
		Short: "Give the erasure of held tasks up, for good",
		Long: "Rejects held tasks, by their numbers, by batch, by reason: they are reported as failed (rejected) and nothing\n" +
			"more is sent for them. Who rejected and when is recorded. This cannot be taken back.",
		Example: "  expunge review reject 1003000 --note 'not a customer'\n  expunge review reject --batch 3 --reason malformed_key",
	}
	word := "rejected"
	if approve {
		word = "approved"
		c = &cobra.Command{
			Use:   "approve [task...]",
			Short: "Let held tasks go on",
			Long: "Approves held tasks, by their numbers, by batch, by reason. `review list` says what that leads to for each. An\n" +
				"approval is bound to the preview that was seen: if the vendor shows other or more records by the time of the\n" +
				"submission, the task is held again. Who approved and when is recorded. The next run goes on with the tasks.\n\n" +
				"With --reference nothing is sent: the request of one task held as uncertain_submission did arrive, and this is\n" +
				"the vendor's id for it. The task waits until `confirm` names that id.",
			Example: "  expunge review approve 1003000 1007001 --note 'checked with the customer'\n  expunge review approve --batch 3\n  expunge review approve --reason approval_required --by jane\n  expunge review approve 1003002 --reference 10089 --note 'found in the ticket list'",
		}
	}
	c.RunE = func(c *cobra.Command, args []string) error {
		ctx := c.Context()
		if err := f.check(); err != nil {
			return err
		}
		ids, err := taskIDs(args)
		if err != nil {
			return err
		}
		found := c.Flags().Changed("reference")
		switch hint := "`expunge review list` shows the numbers and reasons"; {
		case found && (len(ids) != 1 || f.batch != 0 || f.vendor != "" || f.reason != ""):
			return usage(errors.New("--reference is the vendor's id for one task's request: give the number of that task, and nothing else"), hint)
		case len(ids) > 0 && (f.batch != 0 || f.vendor != "" || f.reason != ""):
			return usage(errors.New("give task numbers, or --batch, --vendor and --reason, not both"), hint)
		case len(ids) == 0 && f.batch == 0 && f.vendor == "" && f.reason == "":
			return usage(errors.New("which tasks? give task numbers, --batch, --vendor or --reason"), hint)
		}
		return a.withStore(ctx, false, func(s *session) error {
			if err := a.knownBatch(ctx, s, f.batch); err != nil {
				return err
			}
			d := store.Decision{At: time.Now(), Who: a.who(f.who), Note: f.note}
			if found {
				return a.reviewAccepted(ctx, s, ids[0], f.reference, d)
			}
			n, err := s.tasks.Review(ctx, batch.Selection{IDs: ids, Batch: f.batch, Vendor: f.vendor, Reason: f.reason}, approve, d)
			if n > 0 || err == nil {
				a.note(slog.LevelInfo, "", "%d %s", n, word)
			}
			if err == nil && approve && n > 0 {
				a.note(slog.LevelInfo, "", "`expunge run` goes on with them")
			}
			return reviewError(s, err)
		})
	}
	f.selection(c)
	if approve {
		c.Flags().StringVar(&f.reference, "reference", "", "the vendor's id (`REF`) for an uncertain submission that did arrive; nothing is sent")
	}
	c.Flags().StringVar(&f.who, "by", "", "by `whom` it is decided (default: the login name)")
	c.Flags().StringVar(&f.note, "note", "", "`why`, for the record; no personal data")
	must(c.RegisterFlagCompletionFunc("reason", completeReasons))
	return c
}

func (a *app) reviewAccepted(ctx context.Context, s *session, id int64, reference string, d store.Decision) error {
	if err := s.tasks.Accepted(ctx, id, reference, d); err != nil {
		return reviewError(s, err)
	}
	a.note(slog.LevelInfo, "", "1 recorded as accepted by the vendor; nothing was sent")
	a.note(slog.LevelInfo, "", "`expunge confirm` takes in when it is finished")
	return nil
}

// reviewError gives the errors about a selection their exit code and hint.
func reviewError(s *session, err error) error {
	switch {
	case errors.Is(err, batch.ErrNotFailed), errors.Is(err, batch.ErrNotOpen):
		return usage(err, "nothing was changed; `expunge status` says what has failed, and `expunge history SUBJECT` the numbers of tasks")
	case errors.Is(err, batch.ErrUnconfigured):
		return usage(err, "it has "+strings.Join(vendorNames(s.cfg), ", "))
	case errors.Is(err, batch.ErrMoved):
		return usage(err, "put the place back in "+s.cfg.Path+", or say `expunge review moved VENDOR` first, if the account has really moved")
	case errors.Is(err, batch.ErrSamePlace):
		return usage(err, "nothing was changed: there is no move to vouch for")
	case errors.Is(err, batch.ErrUntried):
		return usage(err, "approve one task, see that the person is gone at the vendor, then vouch; `expunge help recipes` says more")
	case errors.Is(err, store.ErrUnknown), errors.Is(err, batch.ErrNotHeld):
		return usage(err, "nothing was changed; `expunge review list` shows what is held")
	case errors.Is(err, batch.ErrNoVendor):
		return usage(err, "put the vendor back into "+s.cfg.Path+", or reject the task")
	case errors.Is(err, batch.ErrForgotten):
		return usage(err, "reject or close the task, and take the request in again under another subject_id")
	case errors.Is(err, batch.ErrNotUncertain):
		return usage(err, "nothing was changed; --reference is for tasks held as uncertain_submission, `expunge review list` says what approves others")
	case errors.Is(err, batch.ErrNoReference):
		return usage(fmt.Errorf("--reference: %w", err), "nothing was changed; give the id as the vendor shows it: at most 64 plain characters, a digit among them, no value of the person's")
	case errors.Is(err, batch.ErrReferenceTaken):
		return usage(err, "nothing was changed; look for the request at the vendor that no task of the report has")
	}
	return err
}

func taskIDs(args []string) ([]int64, error) {
	var ids []int64
	for _, arg := range args {
		id, err := strconv.ParseInt(arg, 10, 64)
		if err != nil || id <= 0 {
			return nil, usage(fmt.Errorf("%q is not the number of a task", arg), "`expunge review list` shows the numbers")
		}
		ids = append(ids, id)
	}
	return ids, nil
}
