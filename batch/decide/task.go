package decide

import (
	"cmp"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"expunge/store"
	"expunge/vendors"
)

// The functions below return the task as it is to be after an answer. They change nothing
// else, and know nothing of the store.

// intent is the task at the moment before its submission.
func (p *Policy) intent(t store.Task, now time.Time) store.Task {
	t.State, t.SubmittedAt, t.Ready, t.NextAt = store.Submitting, now, true, time.Time{}
	return t
}

// afterPreview decides what a preview means before a submission: to go on (Previewed and
// ready), or what else.
func (p *Policy) afterPreview(t store.Task, pv vendors.Preview, proof store.Evidence, now time.Time) store.Task {
	refs := strings.Join(pv.Refs, ";")
	seenBefore := !t.PreviewedAt.IsZero()
	if p.Remote && Nothing(pv) {
		if proof == store.NoEvidence {
			return unproved(t)
		}
		if Submitted(&t) && t.Records.N > 0 {
			// It was there, a submission may have reached the vendor, and now it is gone.
			t = erased(t, store.Verified, now)
			t.VerifiedAt, t.RecordsAfter = now, store.Counted(0)
			return t
		}
		t.Records, t.RecordRefs, t.Hint, t.PreviewedAt = store.Counted(0), "", pv.Hint, now
		if p.DryRun {
			// A look ahead finishes nobody's request: the real run looks again.
			t.Reason, t.Message = string(NothingHeld), ""
			return ready(t, store.Previewed)
		}
		t.Reason, t.Message, t.Evidence = "", p.NotShown, proof
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
	case doubt == "" && p.Manual:
		doubt = ApprovalRequired
	}
	// What is gone after a submission that may have arrived was seen, and went by it: it stays listed.
	if p.Remote && (doubt != "" || !seenBefore || !Submitted(&t)) {
		t.Records, t.RecordRefs = store.Counted(pv.Records), refs
	}
	t.Hint, t.PreviewedAt = pv.Hint, now
	t.Reason, t.Message = string(pv.Warning), ""
	if doubt != "" {
		return held(t, doubt, "")
	}
	return ready(t, store.Previewed)
}

// Nothing reports whether a preview says that the vendor holds nothing. An answer that
// contradicts itself does not say it.
func Nothing(pv vendors.Preview) bool { return pv.Records == 0 && pv.Doubt == "" }

// unproved is the task after a look that found nothing where nothing shows that the account
// is the right one.
func unproved(t store.Task) store.Task {
	t = ready(t, t.State)
	t.Reason, t.Message = string(Unproved), ""
	return t
}

// afterPreviewError decides what a preview without an answer means, before a submission.
func (p *Policy) afterPreviewError(t store.Task, a Answer, now time.Time) store.Task {
	return p.retry(t, t.State, a, now)
}

// afterSubmit is the task after the vendor accepted.
func (p *Policy) afterSubmit(t store.Task, rc vendors.Receipt, now time.Time) store.Task {
	t.Attempts, t.Refused, t.Reference, t.Message = 0, 0, rc.Reference, ""
	t.Reason = string(rc.Warning)
	t.Approval = ""
	if rc.Done {
		return erased(t, store.VendorDone, now)
	}
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
func (p *Policy) afterSubmitError(t store.Task, a Answer, now time.Time) store.Task {
	if vendors.Harmless(a.Err) {
		return p.retry(t, store.Pending, a, now)
	}
	return p.uncertain(t, a, now)
}

// uncertain decides what follows a submission whose outcome is unknown: the reply was lost
// (Err), or the program died before it could be recorded (no Err).
func (p *Policy) uncertain(t store.Task, a Answer, now time.Time) store.Task {
	t.Uncertain++
	if p.Completion == vendors.ByPerson && t.Uncertain > 1 {
		a.Message = strings.TrimSuffix("after a "+resubmission+": "+a.Message, ": ")
	}
	if p.Traits.Uncertain == vendors.HoldForPerson {
		return held(t, UncertainSubmission, a.Message)
	}
	if a.Err == nil {
		t.Attempts++
		if t.Attempts >= p.MaxAttempts {
			return held(t, UnknownOutcome, a.Message)
		}
		return ready(t, store.Pending)
	}
	return p.retry(t, store.Pending, a, now)
}

// afterPoll decides what a job's status means.
func (p *Policy) afterPoll(t store.Task, pg vendors.Progress, now time.Time) store.Task {
	unknown := t.Attempts
	t = untroubled(t)
	switch pg.Job {
	case vendors.JobDone:
		if p.Remote {
			t.Approval = patience(now) // verify_patience begins here
			return later(t, store.Verifying, now, p.VerifyAfter)
		}
		return erased(t, store.VendorDone, now)
	case vendors.JobFailed, vendors.JobLost:
		t.Lost++
		t.Approval = "" // of more time for a job that is no more
		t.Message = "the vendor says: " + pg.Status
		again := p.Traits.Uncertain != vendors.HoldForPerson && (pg.Job == vendors.JobLost || !p.FailedEnds)
		switch {
		case t.Lost == 1 && again:
			// Once more, as after a lost answer. The reference stays known as a former one.
			return ready(t, store.Pending)
		case pg.Job == vendors.JobLost:
			return held(t, JobLost, t.Message)
		}
		return failed(t, JobFailed, t.Message, now)
	case vendors.JobUnknown:
		t.Attempts = unknown + 1
		t.Reason, t.Message = string(UnknownStatus), "the vendor says: "+pg.Status
		if t.Attempts >= p.MaxAttempts || time.Duration(unknown)*p.PollEvery >= lastingUnknown {
			t.Reason = string(NoStatus)
		}
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
func (p *Policy) afterPollError(t store.Task, a Answer, now time.Time) store.Task {
	if p.refused(&t, a) {
		return held(t, UnknownOutcome, a.Message)
	}
	if counts(a.Err) {
		t.Attempts++
	}
	t.Reason, t.Message = string(Retrying), a.Message
	if t.Attempts >= p.MaxAttempts {
		t.Reason = string(NoStatus)
	}
	if p.givenUp(&t, now) {
		return held(t, NotDoneInTime, a.Message)
	}
	return later(t, store.Waiting, now, p.backoff(max(t.Attempts, a.Nth), a.Err))
}

// lastingUnknown is for how long a job may have a status that says nothing before a person is told.
const lastingUnknown = 24 * time.Hour

func (p *Policy) givenUp(t *store.Task, now time.Time) bool {
	return p.GiveUpAfter > 0 && now.Sub(patientSince(t)) > p.GiveUpAfter
}

// afterVerify decides what a look after the submission means.
func (p *Policy) afterVerify(t store.Task, pv vendors.Preview, proof store.Evidence, now time.Time) store.Task {
	if Nothing(pv) && proof == store.NoEvidence {
		return unproved(t)
	}
	t = untroubled(t)
	t.RecordsAfter = store.Counted(pv.Records)
	if Nothing(pv) {
		t.VerifiedAt = now
		return erased(t, store.Verified, now)
	}
	since := now.Sub(patientSince(&t))
	if since >= p.VerifyPatience {
		if pv.Doubt != "" { // others may have come under the same telephone or key
			return held(t, StillPresent, fmt.Sprintf("of what is found now: %s", pv.Doubt))
		}
		return held(t, StillPresent, "")
	}
	// Look again after as long as it took so far, and once more when patience ends.
	return later(t, store.Verifying, now, min(max(since, time.Second), p.VerifyPatience-since))
}

// afterVerifyError decides what a look without an answer means. The vendor has accepted:
// when attempts are used up, a person must look.
func (p *Policy) afterVerifyError(t store.Task, a Answer, now time.Time) store.Task {
	return p.retry(t, store.Verifying, a, now)
}

// retry schedules the next try, or ends the task when the vendor has refused it for good or
// all tries are used up: failed if surely nothing was submitted, else held. Only a failure
// that is the task's own uses up a try.
func (p *Policy) retry(t store.Task, state store.State, a Answer, now time.Time) store.Task {
	if a.Blamed && counts(a.Err) {
		t.Attempts++
	}
	why := AttemptsExhausted
	if p.refused(&t, a) {
		why = Refused
	} else if t.Attempts < p.MaxAttempts {
		t.Reason, t.Message = string(Retrying), a.Message
		wait := p.backoff(max(t.Attempts, a.Nth), a.Err)
		if !a.Blamed {
			wait = max(wait, inDoubt(a.Nth))
		}
		return later(t, state, now, wait)
	}
	switch {
	case t.Uncertain > 0 || t.Lost > 0 || state == store.Verifying:
		return held(t, UnknownOutcome, a.Message)
	case errors.Is(a.Err, vendors.ErrAuth):
		return held(t, NotPermitted, a.Message)
	}
	return failed(t, why, a.Message, now)
}

// inDoubt is how long a task waits at the least after the nth failure in a row that is nobody's
// own: it uses up no attempt, and whatever the configuration a run must come to its end.
func inDoubt(n int) time.Duration {
	return min(100*time.Millisecond<<min(max(n, 1)-1, 20), 10*time.Minute)
}

// mostRefusals is how often a vendor that accepts others may refuse a task: one odd answer
// among good ones is tried again.
const mostRefusals = 2

// refused counts a refusal that is the task's own, and reports whether it was the last.
func (p *Policy) refused(t *store.Task, a Answer) bool {
	if a.Blamed && errors.Is(a.Err, vendors.ErrRefused) {
		t.Refused++
		return t.Refused >= mostRefusals
	}
	return false
}

// counts reports whether a failed call can use up an attempt. A request to slow down, and
// one that never left, say nothing about the task, unless the task has nothing to send.
func counts(err error) bool {
	return !errors.Is(err, vendors.ErrRateLimited) && (!errors.Is(err, vendors.ErrNotSent) || errors.Is(err, vendors.ErrNoValue))
}

// backoff is how long to wait after the nth failure: exponential with full jitter, at most
// the cap, never less than what the vendor asked for.
func (p *Policy) backoff(n int, err error) time.Duration {
	base, longest := time.Duration(p.RetryBase), time.Duration(p.RetryCap)
	ceiling := min(base, longest)
	for ; n > 1 && ceiling < longest; n-- {
		ceiling = min(2*ceiling, longest)
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

// untroubled clears what was said of trouble that is over. A warning about the identifier stays:
// it is true of a finished task too, and so does word of a second submission.
func untroubled(t store.Task) store.Task {
	t.Attempts, t.Refused = 0, 0
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
	t = untroubled(t)
	t.Evidence = by
	return final(t, store.Erased, now)
}

func final(t store.Task, state store.State, now time.Time) store.Task {
	t.State, t.Ready, t.NextAt, t.CompletedAt, t.ClosedAt = state, false, time.Time{}, now, time.Time{}
	t.Hint, t.Approval = "", ""
	return t
}
