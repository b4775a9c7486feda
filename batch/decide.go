package batch

import (
	"cmp"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"time"

	"expunge/store"
	"expunge/vendors"
)

// previewAge is how old a preview may be when the submission rests on it (DESIGN.md,
// invariant 8).
const previewAge = time.Hour

// policy is what decisions depend on besides the task and the answer.
type policy struct {
	vendors.Traits
	manual      bool // every preview needs an approval
	dryRun      bool
	maxAttempts int
	retryBase   time.Duration
	retryCap    time.Duration
	exports     vendors.Exports     // how exports are made; the zero value: none are
	rand        func(n int64) int64 // uniform in [0, n)
}

// step is what a task, or an export, needs next: mostly one call.
type step uint8

const (
	stepNone    step = iota
	stepPreview      // look, and then perhaps submit
	stepIntend       // a preview that still holds: put the intent to submit on disk, if a submission can leave now
	stepSubmit       // the call for which the intent was just made
	stepResolve      // an intent without an outcome: nobody is asked
	stepPoll
	stepVerify

	stepCreateExport // ask for an export job
	stepPollExport
	stepFetchExport
)

// answer is what came of a step: what the vendor said, or err, why it did not.
type answer struct {
	preview  vendors.Preview
	receipt  vendors.Receipt
	progress vendors.Progress
	export   *store.Export // of stepIntend: the export that comes before the submission, if any
	before   time.Time     // of stepSubmit: when the submission before this one was made, if any
	kept     kept          // of stepFetchExport

	err     error
	message string // what may be kept and shown of err
}

// outcome is what a decision comes to: the task, or the export, as it is to be, and what
// follows.
type outcome[T store.Task | store.Export] struct {
	to   T
	then then
}

// then is what follows a decision.
type then uint8

const (
	finished   then = iota // record it; there is nothing more to do now
	goOn                   // record it; there is more to do at once
	unrecorded             // there is more to do at once, and what comes of that is recorded
	released               // record it; the next call cannot be made now
	putBack                // no call could be made now, nothing has changed
)

// next says which step a task needs.
func (p *policy) next(t *store.Task, now time.Time) step {
	switch t.State {
	case store.Pending:
		return stepPreview
	case store.Previewed:
		age := now.Sub(t.PreviewedAt)
		fresh := age >= 0 && age <= previewAge
		empty := p.Remote && (t.Records.N == 0 && t.Approval == "" || t.Reason == string(NothingHeld))
		if fresh && !empty && !p.dryRun && (!p.manual || p.approves(t, t.Records.N, t.RecordRefs)) {
			return stepIntend
		}
		return stepPreview
	case store.Submitting:
		return stepResolve
	case store.Waiting:
		if p.Completion == vendors.ByPoll {
			return stepPoll
		}
	case store.Verifying:
		return stepVerify
	}
	return stepNone
}

// heldBack reports whether a call did not take place for a reason that is not the task's:
// the run or the lane stops, the vendor asked for a pause, it counts as down, or our
// credentials were refused.
func heldBack(err error) bool {
	return errors.Is(err, vendors.ErrStopped) || errors.Is(err, vendors.ErrPaused) || errors.Is(err, vendors.ErrAuth)
}

// afterStep decides what the answer to a step means for the task.
func (p *policy) afterStep(s step, t store.Task, a answer, now time.Time) outcome[store.Task] {
	if heldBack(a.err) && s != stepSubmit {
		return outcome[store.Task]{t, putBack}
	}
	var n store.Task
	switch s {
	case stepPreview:
		if a.err != nil {
			n = p.afterPreviewError(t, a.err, a.message, now)
		} else {
			n = p.afterPreview(t, a.preview, now)
		}
	case stepIntend:
		n = p.afterExport(t, a.export, now)
	case stepSubmit:
		if vendors.Harmless(a.err) {
			t.SubmittedAt = a.before
		}
		switch {
		case a.err == nil:
			n = p.afterSubmit(t, a.receipt, now)
		case heldBack(a.err) && vendors.Harmless(a.err):
			// It never left: back to where it was, at no cost.
			return outcome[store.Task]{ready(t, store.Pending), released}
		default:
			n = p.afterSubmitError(t, a.err, a.message, now)
		}
	case stepResolve:
		n = p.uncertain(t, nil, "", now)
	case stepPoll:
		if a.err != nil {
			n = p.afterPollError(t, a.err, a.message, now)
		} else {
			n = p.afterPoll(t, a.progress, now)
		}
	case stepVerify:
		if a.err != nil {
			n = p.afterVerifyError(t, a.err, a.message, now)
		} else {
			n = p.afterVerify(t, a.preview, now)
		}
	default:
		return outcome[store.Task]{t, putBack}
	}
	switch {
	case n.State == store.Previewed && p.dryRun || !n.Ready:
		return outcome[store.Task]{n, finished}
	case n.State == store.Previewed:
		return outcome[store.Task]{n, unrecorded} // the intent, or what else follows at once, has all of it
	}
	return outcome[store.Task]{n, goOn}
}

// The functions below return the task as it is to be after an answer. They change nothing
// else, and know nothing of the store.

// intent is the task at the moment before its submission.
func (p *policy) intent(t store.Task, now time.Time) store.Task {
	t.State, t.SubmittedAt, t.Ready, t.NextAt = store.Submitting, now, true, time.Time{}
	return t
}

// afterPreview decides what a preview means before a submission: to go on (Previewed and
// ready), or what else.
func (p *policy) afterPreview(t store.Task, pv vendors.Preview, now time.Time) store.Task {
	refs := strings.Join(pv.Refs, ";")
	seenBefore := !t.PreviewedAt.IsZero()
	if p.Remote && nothing(pv) {
		if t.Uncertain > 0 && t.Records.N > 0 {
			// It was there, a submission may have reached the vendor, and now it is gone.
			t = erased(t, store.Verified, now)
			t.VerifiedAt, t.RecordsAfter = now, store.Counted(0)
			return t
		}
		t.Records, t.RecordRefs, t.Hint, t.PreviewedAt = store.Counted(0), "", pv.Hint, now
		if p.dryRun {
			// A look ahead finishes nobody's request: the real run looks again.
			t.Reason, t.Message = string(NothingHeld), ""
			return ready(t, store.Previewed)
		}
		t.Reason, t.Message = "", ""
		return final(t, store.NotFound, now)
	}
	changed := seenBefore && p.Remote && (pv.Records > t.Records.N || !subset(pv.Refs, store.SplitRefs(t.RecordRefs)))
	approved := t.Approval != "" && p.approves(&t, pv.Records, refs)
	doubt := pv.Doubt
	switch {
	case approved && p.coversDoubt(&t, pv.Doubt):
		doubt = ""
	case approved:
		t.Approval = "" // of the same records, but for another doubt
	case t.Approval != "" || changed:
		// A doubt about them says more than that they are others.
		doubt, t.Approval = cmp.Or(pv.Doubt, PreviewChanged), ""
	case doubt == "" && p.manual:
		doubt = ApprovalRequired
	}
	if p.Remote {
		t.Records, t.RecordRefs = store.Counted(pv.Records), refs
	}
	t.Hint, t.PreviewedAt = pv.Hint, now
	t.Reason, t.Message = string(pv.Warning), ""
	if doubt != "" {
		return held(t, doubt, "")
	}
	return ready(t, store.Previewed)
}

// nothing reports whether a preview shows that the vendor holds nothing. An answer that
// contradicts itself does not show it.
func nothing(pv vendors.Preview) bool { return pv.Records == 0 && pv.Doubt == "" }

// approval is what an approval is bound to: the records that were seen, and the doubt about
// them, if there was one.
func approval(doubt vendors.Reason, records int, refs string) string {
	if doubt != "" {
		return fmt.Sprintf("%s;%d:%s", doubt, records, refs)
	}
	return fmt.Sprintf("%d:%s", records, refs)
}

// readApproval is the reverse of approval; ok is false for an approval of something else.
func readApproval(text string) (doubt vendors.Reason, records int, refs string, ok bool) {
	head, refs, ok := strings.Cut(strings.TrimPrefix(text, withoutExport), ":")
	count := head
	if before, after, some := strings.Cut(head, ";"); some {
		doubt, count = vendors.Reason(before), after
	}
	records, err := strconv.Atoi(count)
	return doubt, records, refs, ok && err == nil
}

// coversDoubt reports whether the task's approval was given in the knowledge of this doubt.
// What a vendor that cannot be asked doubts is the value itself, which does not change.
func (p *policy) coversDoubt(t *store.Task, doubt vendors.Reason) bool {
	known, _, _, ok := readApproval(t.Approval)
	return ok && (doubt == "" || doubt == known || !p.Remote)
}

// approves reports whether the task's approval covers what a preview shows: the records
// that were seen, or fewer of them.
func (p *policy) approves(t *store.Task, records int, refs string) bool {
	_, n, seen, ok := readApproval(t.Approval)
	return ok && records <= n && subset(store.SplitRefs(refs), store.SplitRefs(seen))
}

func subset(a, b []string) bool {
	for _, x := range a {
		if !slices.Contains(b, x) {
			return false
		}
	}
	return true
}

// afterPreviewError decides what a preview without an answer means, before a submission.
func (p *policy) afterPreviewError(t store.Task, err error, message string, now time.Time) store.Task {
	switch {
	case errors.Is(err, vendors.ErrRefused) && t.Uncertain > 0:
		return held(t, UnknownOutcome, message)
	case errors.Is(err, vendors.ErrRefused):
		t.Attempts++
		return failed(t, Refused, message, now)
	}
	return p.retry(t, t.State, err, message, now)
}

// afterSubmit is the task after the vendor accepted.
func (p *policy) afterSubmit(t store.Task, rc vendors.Receipt, now time.Time) store.Task {
	t.Attempts, t.Reference, t.Message = 0, rc.Reference, ""
	t.Reason = string(rc.Warning)
	t.Approval = ""
	if p.Completion == vendors.ByPerson && t.Uncertain > 0 {
		t.Message = "a " + resubmission + ": an earlier request may have arrived too"
	}
	switch p.Completion {
	case vendors.ByPreview:
		return later(t, store.Verifying, now, p.VerifyAfter)
	case vendors.ByPoll:
		return later(t, store.Waiting, now, p.FirstPoll)
	}
	t.State, t.Ready, t.NextAt = store.Waiting, false, time.Time{}
	return t
}

// afterSubmitError decides what a submission without an acceptance means.
func (p *policy) afterSubmitError(t store.Task, err error, message string, now time.Time) store.Task {
	switch {
	case errors.Is(err, vendors.ErrRefused) && t.Uncertain > 0:
		return held(t, UnknownOutcome, message)
	case errors.Is(err, vendors.ErrRefused):
		t.Attempts++
		return failed(t, Refused, message, now)
	case vendors.Harmless(err):
		return p.retry(t, store.Pending, err, message, now)
	}
	return p.uncertain(t, err, message, now)
}

// uncertain decides what follows a submission whose outcome is unknown: the reply was lost
// (err), or the program died before it could be recorded (err nil).
func (p *policy) uncertain(t store.Task, err error, message string, now time.Time) store.Task {
	t.Uncertain++
	if p.Completion == vendors.ByPerson && t.Uncertain > 1 {
		message = strings.TrimSuffix("after a "+resubmission+": "+message, ": ")
	}
	if p.Traits.Uncertain == vendors.HoldForPerson {
		return held(t, UncertainSubmission, message)
	}
	if err == nil {
		t.Attempts++
		if t.Attempts >= p.maxAttempts {
			return held(t, UnknownOutcome, message)
		}
		return ready(t, store.Pending)
	}
	return p.retry(t, store.Pending, err, message, now)
}

// afterPoll decides what a job's status means.
func (p *policy) afterPoll(t store.Task, pg vendors.Progress, now time.Time) store.Task {
	t = calm(t)
	switch pg.Job {
	case vendors.JobDone:
		return erased(t, store.VendorDone, now)
	case vendors.JobFailed, vendors.JobLost:
		t.Lost++
		t.Approval = "" // of more time for a job that is no more
		t.Message = "the vendor says: " + pg.Status
		switch {
		case t.Lost == 1:
			// Once more: a repeated removal is harmless. The reference stays known as a
			// former one.
			return ready(t, store.Pending)
		case pg.Job == vendors.JobLost:
			return held(t, JobLost, t.Message)
		}
		return failed(t, JobFailed, t.Message, now)
	case vendors.JobUnknown:
		t.Reason, t.Message = string(UnknownStatus), "the vendor says: "+pg.Status
	case vendors.JobOpen:
		t.Message = "the vendor says: " + pg.Status
	}
	if p.givenUp(&t, now) {
		return held(t, NotDoneInTime, t.Message)
	}
	return later(t, store.Waiting, now, p.PollEvery)
}

// afterPollError decides what a poll without an answer means: it is asked again, until
// give_up_after. The vendor has accepted, so that no number of failed polls is a failure
// of the erasure.
func (p *policy) afterPollError(t store.Task, err error, message string, now time.Time) store.Task {
	if errors.Is(err, vendors.ErrRefused) {
		return held(t, UnknownOutcome, message)
	}
	if counts(err) {
		t.Attempts++
	}
	t.Reason, t.Message = string(Retrying), message
	if p.givenUp(&t, now) {
		return held(t, NotDoneInTime, message)
	}
	return later(t, store.Waiting, now, p.backoff(t.Attempts, err))
}

func (p *policy) givenUp(t *store.Task, now time.Time) bool {
	return p.GiveUpAfter > 0 && now.Sub(patientSince(t)) > p.GiveUpAfter
}

// afterVerify decides what a look after the submission means.
func (p *policy) afterVerify(t store.Task, pv vendors.Preview, now time.Time) store.Task {
	t = calm(t)
	t.RecordsAfter = store.Counted(pv.Records)
	if nothing(pv) {
		t.VerifiedAt = now
		return erased(t, store.Verified, now)
	}
	since := now.Sub(t.SubmittedAt)
	if since >= p.VerifyPatience {
		return failed(t, StillPresent, "", now)
	}
	// Look again after as long as it took so far, and once more when patience ends.
	return later(t, store.Verifying, now, min(max(since, time.Second), p.VerifyPatience-since))
}

// afterVerifyError decides what a look without an answer means. The vendor has accepted:
// when attempts are used up, a person must look.
func (p *policy) afterVerifyError(t store.Task, err error, message string, now time.Time) store.Task {
	if errors.Is(err, vendors.ErrRefused) {
		return held(t, UnknownOutcome, message)
	}
	return p.retry(t, store.Verifying, err, message, now)
}

// retry schedules the next try, or ends the task when all are used up: failed if surely
// nothing was submitted, else held.
func (p *policy) retry(t store.Task, state store.State, err error, message string, now time.Time) store.Task {
	if counts(err) {
		t.Attempts++
	}
	t.Reason, t.Message = string(Retrying), message
	if t.Attempts >= p.maxAttempts {
		if t.Uncertain > 0 || t.Lost > 0 || state == store.Verifying {
			return held(t, UnknownOutcome, message)
		}
		return failed(t, AttemptsExhausted, message, now)
	}
	return later(t, state, now, p.backoff(t.Attempts, err))
}

// counts reports whether a failed call uses up an attempt. A request to slow down, and one
// that was held back on our side, say nothing about the task.
func counts(err error) bool {
	return !errors.Is(err, vendors.ErrRateLimited) && !errors.Is(err, vendors.ErrStopped) && !errors.Is(err, vendors.ErrAuth)
}

// backoff is how long to wait after the nth failure: exponential with full jitter, at most
// the cap, never less than what the vendor asked for.
func (p *policy) backoff(n int, err error) time.Duration {
	ceiling := min(p.retryBase, p.retryCap)
	for ; n > 1 && ceiling < p.retryCap; n-- {
		ceiling = min(2*ceiling, p.retryCap)
	}
	random := p.rand
	if random == nil {
		random = rand.Int64N
	}
	wait := time.Duration(random(int64(ceiling) + 1))
	var e *vendors.Error
	if errors.As(err, &e) {
		wait = max(wait, e.RetryAfter)
	}
	return wait
}

// calm clears what was said of trouble that is over. A warning about the identifier stays:
// it is true of a finished task too, and so does word of a second submission.
func calm(t store.Task) store.Task {
	t.Attempts = 0
	if !strings.Contains(t.Message, resubmission) {
		t.Message = ""
	}
	if t.Reason != string(vendors.KeyLooksLikeEmail) {
		t.Reason = ""
	}
	return t
}

// later schedules the task; with no wait it is ready at once, which spares the store an
// index entry.
func later(t store.Task, state store.State, now time.Time, wait time.Duration) store.Task {
	if wait <= 0 {
		return ready(t, state)
	}
	t.State, t.Ready, t.NextAt = state, false, now.Add(wait)
	return t
}

func ready(t store.Task, state store.State) store.Task {
	t.State, t.Ready, t.NextAt = state, true, time.Time{}
	return t
}

func held(t store.Task, why vendors.Reason, message string) store.Task {
	t.State, t.Reason, t.Message = store.Held, string(why), message
	t.Ready, t.NextAt = false, time.Time{}
	return t
}

func failed(t store.Task, why vendors.Reason, message string, now time.Time) store.Task {
	t.Reason, t.Message = string(why), message
	return final(t, store.Failed, now)
}

func erased(t store.Task, by store.Evidence, now time.Time) store.Task {
	t = calm(t)
	t.Evidence = by
	return final(t, store.Erased, now)
}

func final(t store.Task, state store.State, now time.Time) store.Task {
	t.State, t.Ready, t.NextAt, t.CompletedAt, t.ClosedAt = state, false, time.Time{}, now, time.Time{}
	t.Hint, t.Approval = "", ""
	return t
}
