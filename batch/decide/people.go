package decide

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"expunge/store"
	"expunge/vendors"
)

// This file is what a person's word makes of a task: an approval, a rejection, what they
// found at the vendor.

// Submitted reports whether a submission has, or may have, reached the vendor.
func Submitted(t *store.Task) bool {
	return t.Uncertain > 0 || t.Reference != "" || !t.SubmittedAt.IsZero()
}

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
func (p *Policy) coversDoubt(t *store.Task, doubt vendors.Reason) bool {
	known, _, _, ok := readApproval(t.Approval)
	return ok && (doubt == "" || doubt == known || !p.Remote)
}

// approves reports whether the task's approval covers what a preview shows: the records
// that were seen, or fewer of them.
func (p *Policy) approves(t *store.Task, records int, refs string) bool {
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

// Approve is the task as it is to be after a person approved it, and what that means in
// words. It is defined for every reason for which a task can be held.
func Approve(t store.Task, tr vendors.Traits, now time.Time) (store.Task, string) {
	why := vendors.Reason(t.Reason)
	// A doubt that was approved before stays approved when the outcome gets lost.
	doubt, _, _, _ := readApproval(t.Approval)
	if _, own := ownReasons[why]; !own && why != "" {
		doubt = why // a vendor's: the person was told of it
	}
	bound := approval(doubt, t.Records.N, t.RecordRefs)
	t.Attempts, t.Refused, t.Reason, t.Message, t.Approval = 0, 0, "", "", ""
	switch why {
	case ReferenceInDoubt:
		if tr.Completion == vendors.ByPerson {
			t.State = store.Waiting
			return t, "wait for a confirmation of the reference that it has: it is this request's own. If another is, --reference REF says so instead"
		}
		t.Approval = bound
		return ready(t, store.Pending), "submit again"
	case UncertainSubmission:
		t.Approval = bound
		t.Message = resubmission + " was approved"
		words := "submit again: if the first one arrived, the vendor has it twice. If it is there, --reference REF says so instead"
		if tr.LookUp != "" {
			words += ": " + tr.LookUp
		}
		return ready(t, store.Pending), words
	case UnknownOutcome:
		switch {
		case tr.Completion == vendors.ByPreview && t.Uncertain == 0 && !t.SubmittedAt.IsZero():
			return ready(t, store.Verifying), "look again whether the records are gone"
		case tr.Completion == vendors.ByPoll && t.Reference != "":
			t.Approval = patience(now)
			return ready(t, store.Waiting), "ask for the job again, for another give_up_after"
		}
		t.Approval = bound
		if tr.Completion == vendors.ByPerson {
			t.Message = resubmission + " was approved"
		}
		if tr.Remote {
			return ready(t, store.Pending), "look again, and submit again what is still there"
		}
		return ready(t, store.Pending), "submit again"
	case NotDoneInTime:
		if t.Reference != "" {
			t.Approval = patience(now)
			return ready(t, store.Waiting), "ask for the job again, for another give_up_after"
		}
		t.Approval = bound
		return ready(t, store.Pending), "submit again"
	case JobLost:
		t.Approval = bound
		return ready(t, store.Pending), "submit again"
	case ExportFailed:
		t.Approval = withoutExport + bound
		return ready(t, store.Pending), "submit without an export"
	case vendors.NoAgent:
		// Nobody can stand in for the agent: the config, or the row, has to name one.
		return ready(t, store.Pending), "try again, with the agent that the config names by then"
	case vendors.ControlRecord:
		// Nor does an approval make the control record a person's: the config has to name another.
		return ready(t, store.Pending), "look again, with the control record that the config names by then"
	}
	t.Approval = bound
	if !tr.Remote {
		return ready(t, store.Pending), "submit it as it is"
	}
	return ready(t, store.Pending), "submit, if the next preview shows no other and no more records than these"
}

// Accepted is the task as it is to be after a person found its uncertain submission at the
// vendor: as if the answer had not been lost.
func Accepted(t store.Task, tr vendors.Traits, reference string, now time.Time) store.Task {
	if t.Reason == string(UncertainSubmission) {
		t.Uncertain-- // an earlier one may still be
	}
	p := Policy{Traits: tr}
	return p.afterSubmit(t, vendors.Receipt{Reference: reference}, now)
}

// InDoubt is a task that waits, or is about to, as it is to be when its reference may be
// another request's.
func InDoubt(t store.Task, message string) store.Task { return held(t, ReferenceInDoubt, message) }

// Restored is a task that is not finished as it is to be after its store was put back from a copy, at
// a vendor where a repetition would do harm: it may have been submitted since, whatever the
// copy says.
func Restored(t store.Task) store.Task {
	const message = "the store was put back from a copy"
	if t.State == store.Waiting {
		return InDoubt(t, message)
	}
	t.Uncertain = max(t.Uncertain, 1)
	return held(t, UncertainSubmission, message)
}

// Retry is the failed task as it is to be after a person wants it to be tried again, and
// what that means in words. What may have been submitted goes back the way that the vendor
// has for a lost answer.
func Retry(t store.Task, tr vendors.Traits) (store.Task, string) {
	t.Attempts, t.Refused, t.Reason, t.Message, t.CompletedAt = 0, 0, "", "", time.Time{}
	switch {
	case !Submitted(&t):
		return ready(t, store.Pending), "try again; nothing was submitted"
	case tr.Uncertain == vendors.HoldForPerson:
		t.Uncertain = max(t.Uncertain, 1)
		return held(t, UncertainSubmission, ""), "decide whether to submit again: a submission may have reached the vendor"
	case tr.Remote:
		return ready(t, store.Pending), "look again, and submit again what is still there"
	}
	return ready(t, store.Pending), "submit again"
}

// Close is the task as it is to be after a person said that nothing more is to be done. A
// failed task keeps why it failed.
func Close(t store.Task, now time.Time) store.Task {
	if t.State != store.Failed {
		t = failed(t, Closed, whatWasSubmitted(&t), now)
	}
	t.ClosedAt = now
	return t
}

// Reject is the task as it is to be after a person rejected its erasure.
func Reject(t store.Task, now time.Time) store.Task {
	t = failed(t, Rejected, whatWasSubmitted(&t), now)
	t.ClosedAt = now // it is a person's word
	return t
}

// whatWasSubmitted says in words what has, or may have, reached the vendor.
func whatWasSubmitted(t *store.Task) string {
	message := "nothing was submitted"
	switch {
	case t.Uncertain > 0:
		message = "a submission may have reached the vendor"
		if t.Uncertain > 1 {
			message = "a submission and its " + resubmission + " may have reached the vendor"
		}
	case Submitted(t):
		message = "the vendor had accepted a submission"
	}
	return message
}

// WasDeclined is the task after a person said that the vendor's people declined it, and when.
func WasDeclined(t store.Task, at, now time.Time) store.Task {
	t = failed(t, Declined, "the vendor's people declined it", at)
	t.ClosedAt = now // it is a person's word
	return t
}

// Confirmed is the task after a person said that it was finished, and when.
func Confirmed(t store.Task, at time.Time) store.Task { return erased(t, store.Confirmed, at) }

// resubmission is the word by which a report tells that a request was raised a second time
// on purpose. It stays with the task to its end.
const resubmission = "resubmission"

// patience is the approval of a job that is given more time.
func patience(now time.Time) string { return "patience:" + now.UTC().Format(time.RFC3339) }

// patientSince is when give_up_after began to run: with the submission, or later with an
// approval.
func patientSince(t *store.Task) time.Time {
	text, ok := strings.CutPrefix(t.Approval, "patience:")
	if at, err := time.Parse(time.RFC3339, text); ok && err == nil && at.After(t.SubmittedAt) {
		return at
	}
	return t.SubmittedAt
}
