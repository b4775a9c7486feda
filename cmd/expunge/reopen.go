package main

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"expunge/batch"
	"expunge/store"
	"expunge/vendors"
)

// This file has what a person says of tasks that failed, and of vendors.

// reviewFailedCommand is `review retry`, or `review close`.
func (a *app) reviewFailedCommand(closing bool) *cobra.Command {
	var f reviewFlags
	var reasons []string
	c := &cobra.Command{
		Use:   "retry [task...]",
		Short: "Let failed tasks go back to work",
		Long: "Lets failed tasks start anew, by their numbers, by vendor, by batch, by the reason for which they failed. Where\n" +
			"nothing was submitted they are simply tried again. What may have been submitted goes the way that its vendor has for\n" +
			"a lost answer: it is looked up, or submitted again where that does no harm, or held for a person. With --vendor a\n" +
			"pause that the vendor asked for is lifted, too.\n\n" +
			"--reason takes a code (which tasks) and words (why, for the record), and can be given twice.",
		Example: "  expunge review retry 1003000 --by jane --reason 'the filter is gone'\n  expunge review retry --vendor voyado\n  expunge review retry --reason attempts_exhausted --reason 'it was down all night'",
	}
	if closing {
		c = &cobra.Command{
			Use:   "close [task...]",
			Short: "Settle failed, waiting or held tasks by a person's word",
			Long: "Closes tasks: nothing more is done for them, and they ask for nothing any more. By number a task may have failed,\n" +
				"be held or wait for the vendor; by vendor, by batch or by reason those are meant that failed, or are held for that\n" +
				"reason. Who closed them, when and why is recorded, and they are reported as failed with closed_at. This cannot be\n" +
				"taken back.\n\n" +
				"--reason takes a code (which tasks) and words (why, for the record), and can be given twice.",
			Example: "  expunge review close 1003000 --by jane --reason 'removed by hand, ticket 881'\n  expunge review close --vendor voyado --reason job_failed --reason 'the account is gone'",
		}
	}
	c.RunE = func(c *cobra.Command, args []string) error {
		ctx := c.Context()
		ids, err := taskIDs(args)
		if err != nil {
			return err
		}
		why, err := f.sort(reasons, len(ids) > 0)
		if err != nil {
			return err
		}
		switch hint := "`expunge status` says what failed at which vendor and why"; {
		case len(ids) > 0 && (f.batch != 0 || f.vendor != ""):
			return usage(errors.New("give task numbers, or --batch, --vendor and --reason CODE, not both"), hint)
		case len(ids) == 0 && f.batch == 0 && f.vendor == "" && f.reason == "":
			return usage(errors.New("which tasks? give task numbers, --batch, --vendor or --reason CODE"), hint)
		case closing && strings.TrimSpace(why) == "":
			return usage(errors.New("--reason is missing"), "say why, for the record; no personal data")
		}
		return a.withStore(ctx, false, func(s *session) error {
			if err := a.knownBatch(ctx, s, f.batch); err != nil {
				return err
			}
			sel := batch.Selection{IDs: ids, State: stateOfReason(f.reason), Batch: f.batch, Vendor: f.vendor, Reason: f.reason}
			d := store.Decision{At: time.Now(), Who: a.who(f.who), Note: why}
			if closing {
				n, err := s.tasks.Close(ctx, sel, d)
				if n > 0 || err == nil {
					a.note(slog.LevelInfo, "", "%d closed", n)
				}
				return reviewError(s, err)
			}
			r, err := s.tasks.Retry(ctx, sel, d)
			a.tellRetried(r, err)
			return reviewError(s, err)
		})
	}
	c.Flags().Int64Var(&f.batch, "batch", 0, "only this batch (its `number`)")
	c.Flags().StringVar(&f.vendor, "vendor", "", "only this vendor (`NAME`)")
	c.Flags().StringArrayVar(&reasons, "reason", nil, "only those with this reason code; or, in other words, `why`, for the record; no personal data")
	c.Flags().StringVar(&f.who, "by", "", "by `whom` it is decided (default: the login name)")
	must(c.RegisterFlagCompletionFunc("reason", func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		return codesOf("failed:"), cobra.ShellCompDirectiveNoFileComp
	}))
	return c
}

// sort tells codes, which select tasks, from words, which say why. Beside task numbers there
// are only words.
func (f *reviewFlags) sort(given []string, ids bool) (why string, err error) {
	for _, text := range given {
		_, code := batch.Reasons()[vendors.Reason(text)]
		switch {
		case code && !ids && f.reason == "":
			f.reason = text
		case strings.Contains(text, "_") && !strings.Contains(text, " ") && !code:
			// Taken for words, a code with a slip in it would select more than was meant.
			return "", usage(fmt.Errorf("--reason %q is no reason code", text), "the codes are "+strings.Join(codesOf("failed:"), ", ")+"; say why in words")
		case why != "":
			return "", usage(errors.New("--reason says twice why"), "give a code, and why once")
		default:
			why = text
		}
	}
	return why, nil
}

// stateOfReason is the state of tasks that have this reason code.
func stateOfReason(code string) store.State {
	switch text := batch.Reasons()[vendors.Reason(code)]; {
	case strings.HasPrefix(text, "held:"):
		return store.Held
	case strings.HasPrefix(text, "open:"):
		return store.Waiting
	}
	return store.Failed
}

// codesOf are the reason codes whose explanation begins so.
func codesOf(prefix string) []string {
	var codes []string
	for code, text := range batch.Reasons() {
		if strings.HasPrefix(text, prefix) {
			codes = append(codes, string(code))
		}
	}
	slices.Sort(codes)
	return codes
}

func (a *app) tellRetried(r batch.Retried, err error) {
	if r.Ready > 0 || err == nil {
		a.note(slog.LevelInfo, "", "%d go back to work", r.Ready)
	}
	if r.Held > 0 {
		a.note(slog.LevelWarn, "`expunge review list` says what an approval leads to", "%d are held: a submission may have reached the vendor, and repeating it would do harm", r.Held)
	}
	if r.Forgotten > 0 {
		a.note(slog.LevelWarn, "`expunge review close` settles them; take their requests in again under another subject_id", "%d cannot be retried: their identifiers are not stored any more", r.Forgotten)
	}
	if !r.Lifted.IsZero() {
		a.note(slog.LevelInfo, "", "the pause until %s is lifted", minute(r.Lifted))
	}
	if err == nil && r.Ready > 0 {
		a.note(slog.LevelInfo, "", "`expunge run` goes on with them")
	}
}

// reviewVendorCommand is `review prove`, or `review moved`.
func (a *app) reviewVendorCommand(moved bool) *cobra.Command {
	var who, why string
	c := &cobra.Command{
		Use:   "prove VENDOR",
		Short: "Vouch for a vendor that shows nobody",
		Long: "Records a person's word that a vendor's account is the right one although it has shown no record of anybody: that\n" +
			"it holds nothing is then believed for seven days, and reports say evidence `confirmed`. A control record in the\n" +
			"config (`control:`) is better: it is looked up, and needs nobody's word. It also lets a vendor of a recipe that was\n" +
			"never tried submit without an approval for each.",
		Example: "  expunge review prove customergauge --by jane --reason 'checked in the console: a new, empty account'",
	}
	if moved {
		c = &cobra.Command{
			Use:   "moved VENDOR",
			Short: "Vouch for a vendor's account that has moved",
			Long: "Records a person's word that the work under way at a vendor goes on at the place that the config says now: its\n" +
				"jobs and references are there. Without it a vendor whose place has changed while work is under way is not called.\n" +
				"What showed that the account is the right one counts for the old place only, and starts anew.",
			Example: "  expunge review moved voyado --by jane --reason 'moved to cluster w0000007 on 3 May, says their support'",
		}
	}
	c.Args = cobra.ExactArgs(1)
	c.RunE = func(c *cobra.Command, args []string) error {
		if strings.TrimSpace(why) == "" {
			return usage(errors.New("--reason is missing"), "say why, for the record; no personal data")
		}
		ctx, vendor := c.Context(), args[0]
		return a.withStore(ctx, false, func(s *session) error {
			d := store.Decision{At: time.Now(), Who: a.who(who), Note: why}
			if !moved {
				err := s.tasks.Prove(ctx, vendor, d)
				if err == nil {
					a.note(slog.LevelInfo, "", "recorded: %s is the right account; it is believed for 7 days", vendor)
				}
				return reviewError(s, err)
			}
			from, to, err := s.tasks.Moved(ctx, vendor, d)
			if err == nil {
				a.note(slog.LevelInfo, "", "recorded: %s has moved from %q to %q; `expunge run` goes on there", vendor, from, to)
			}
			return reviewError(s, err)
		})
	}
	c.Flags().StringVar(&who, "by", "", "by `whom` it is decided (default: the login name)")
	c.Flags().StringVar(&why, "reason", "", "`why`, for the record; no personal data")
	return c
}
