package decide

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"expunge/store"
	"expunge/vendors"
)

var noon = time.Date(2026, 11, 2, 12, 0, 0, 0, time.UTC)

// testPolicy has retries of at most 4s, 8s, ... without jitter: the longest possible wait.
func testPolicy(tr vendors.Traits) *Policy {
	return &Policy{Traits: tr, Retry: vendors.Retry{MaxAttempts: 3, RetryBase: vendors.Duration(4 * time.Second), RetryCap: vendors.Duration(time.Minute)}, rand: func(n int64) int64 { return n - 1 }}
}

func failure(kind error) error { return &vendors.Error{Vendor: "v", Op: "op", Kind: kind} }

// result is what a test compares of a task.
type result struct {
	State    store.State
	Reason   vendors.Reason
	Ready    bool
	In       time.Duration // from noon to NextAt
	Attempts int
}

func resultOf(t store.Task) result {
	o := result{t.State, vendors.Reason(t.Reason), t.Ready, 0, t.Attempts}
	if !t.NextAt.IsZero() {
		o.In = t.NextAt.Sub(noon)
	}
	return o
}

// TestNext: the call that a task needs, for every state, and when a preview still holds.
func TestNext(t *testing.T) {
	seen := func(age time.Duration, n int, approval string) store.Task {
		return store.Task{State: store.Previewed, PreviewedAt: noon.Add(-age), Records: store.Counted(n), RecordRefs: "1;2", Approval: approval}
	}
	manual, dry := testPolicy(byPreview), testPolicy(byPreview)
	manual.Manual, dry.DryRun = true, true
	for _, tt := range []struct {
		name string
		p    *Policy
		task store.Task
		want Step
	}{
		{"pending", testPolicy(byPreview), store.Task{State: store.Pending}, StepPreview},
		{"fresh", testPolicy(byPreview), seen(0, 2, ""), StepIntend},
		{"an hour old", testPolicy(byPreview), seen(time.Hour, 2, ""), StepIntend},
		{"older", testPolicy(byPreview), seen(time.Hour+time.Millisecond, 2, ""), StepPreview},
		{"from the future: the clock was set back", testPolicy(byPreview), seen(-time.Second, 2, ""), StepPreview},
		{"never", testPolicy(byPreview), store.Task{State: store.Previewed}, StepPreview},
		{"nothing was held", testPolicy(byPreview), seen(0, 0, ""), StepPreview},
		{"nothing can be held", testPolicy(byPoll), seen(0, 0, ""), StepIntend},
		{"dry run", dry, seen(0, 2, ""), StepPreview},
		{"manual, not approved", manual, seen(0, 2, ""), StepPreview},
		{"manual, approved", manual, seen(0, 2, "2:1;2"), StepIntend},
		{"manual, approved less", manual, seen(0, 2, "1:1"), StepPreview},
		{"submitting", testPolicy(byPreview), store.Task{State: store.Submitting}, StepResolve},
		{"waiting for a job", testPolicy(byPoll), store.Task{State: store.Waiting}, StepPoll},
		{"waiting for people", testPolicy(byPerson), store.Task{State: store.Waiting}, StepNone},
		{"verifying", testPolicy(byPreview), store.Task{State: store.Verifying}, StepVerify},
		{"held", testPolicy(byPreview), store.Task{State: store.Held}, StepNone},
		{"erased", testPolicy(byPreview), store.Task{State: store.Erased}, StepNone},
		{"not found", testPolicy(byPreview), store.Task{State: store.NotFound}, StepNone},
		{"skipped", testPolicy(byPreview), store.Task{State: store.Skipped}, StepNone},
		{"failed", testPolicy(byPreview), store.Task{State: store.Failed}, StepNone},
	} {
		if got := tt.p.Next(&tt.task, noon); got != tt.want {
			t.Errorf("%s: step %d, want %d", tt.name, got, tt.want)
		}
	}
}

// own is an answer that did not come, for a reason that is the task's own.
func own(err error) Answer { return Answer{Err: err, Message: "m", Blamed: true, Nth: 1} }

// look is the task after a preview, at a place that is proved, and what follows it at once:
// where the preview holds, the intent to submit.
func look(p *Policy, t store.Task, pv vendors.Preview, now time.Time) store.Task {
	n := p.afterPreview(t, pv, store.ControlSeen, now)
	if n.Ready && p.Next(&n, now) == StepIntend {
		return p.Intend(n, nil, now)
	}
	return n
}

// TestAfterPreview: what may be submitted on a preview and what must be held: nobody
// else's data is erased by guess (invariant 8).
func TestAfterPreview(t *testing.T) {
	auto, manual, dry := testPolicy(byPreview), testPolicy(byPreview), testPolicy(byPreview)
	manual.Manual, dry.DryRun = true, true
	job := testPolicy(byPoll)
	jobManual := testPolicy(byPoll)
	jobManual.Manual = true
	before := func(n int, refs string) store.Task {
		return store.Task{PreviewedAt: noon.Add(-time.Minute), Records: store.Counted(n), RecordRefs: refs}
	}
	approved := func(by string, t store.Task) store.Task { t.Approval = by; return t }
	lost := func(t store.Task) store.Task { t.Uncertain, t.SubmittedAt = 1, noon.Add(-time.Minute); return t }
	accepted := func(t store.Task) store.Task { t.SubmittedAt = noon.Add(-time.Minute); return t }
	pv := func(doubt vendors.Reason, refs ...string) vendors.Preview {
		return vendors.Preview{Records: len(refs), Refs: refs, Doubt: doubt, Hint: "h"}
	}
	for _, tt := range []struct {
		name    string
		p       *Policy
		task    store.Task
		pv      vendors.Preview
		state   store.State
		reason  vendors.Reason
		records int
	}{
		{"the subject's records", auto, store.Task{}, pv("", "1", "2"), store.Submitting, "", 2},
		{"nothing", auto, store.Task{}, pv(""), store.NotFound, "", 0},
		{"nothing, and it says so in doubt", auto, store.Task{}, pv(vendors.InconsistentAnswer), store.Held, vendors.InconsistentAnswer, 0},
		{"nothing, in a dry run", dry, store.Task{}, pv(""), store.Previewed, NothingHeld, 0},
		{"records, in a dry run", dry, store.Task{}, pv("", "1"), store.Previewed, "", 1},
		{"doubt, in a dry run", dry, store.Task{}, pv(vendors.SomebodyElse, "1"), store.Held, vendors.SomebodyElse, 1},
		{"somebody else's", auto, store.Task{}, pv(vendors.SomebodyElse, "1"), store.Held, vendors.SomebodyElse, 1},
		{"the same as before", auto, before(2, "1;2"), pv("", "1", "2"), store.Submitting, "", 2},
		{"fewer than before", auto, before(2, "1;2"), pv("", "2"), store.Submitting, "", 1},
		{"more than before", auto, before(1, "1"), pv("", "1", "2"), store.Held, PreviewChanged, 2},
		{"another than before", auto, before(1, "1"), pv("", "9"), store.Held, PreviewChanged, 1},
		{"more without a number", auto, before(1, "1"), vendors.Preview{Records: 2, Refs: []string{"1"}}, store.Held, PreviewChanged, 2},
		{"something where nothing was", auto, before(0, ""), pv("", "1"), store.Held, PreviewChanged, 1},
		{"gone since a dry run", auto, before(2, "1;2"), pv(""), store.NotFound, "", 0},
		{"manual", manual, store.Task{}, pv("", "1"), store.Held, ApprovalRequired, 1},
		{"manual, approved", manual, approved("1:1", before(1, "1")), pv("", "1"), store.Submitting, "", 1},
		{"manual, approved more", manual, approved("2:1;2", before(2, "1;2")), pv("", "2"), store.Submitting, "", 1},
		{"manual, approved other", manual, approved("1:1", before(1, "1")), pv("", "2"), store.Held, PreviewChanged, 1},
		{"manual, approved fewer", manual, approved("1:1", before(1, "1")), pv("", "1", "2"), store.Held, PreviewChanged, 2},
		{"doubt that was approved", auto, approved("somebody_else;1:1", before(1, "1")), pv(vendors.SomebodyElse, "1"), store.Submitting, "", 1},
		{"approved, but other records now", auto, approved("1:1", before(1, "1")), pv(vendors.SomebodyElse, "3"), store.Held, vendors.SomebodyElse, 1},
		{"approved, and gone", auto, approved("1:1", before(1, "1")), pv(""), store.NotFound, "", 0},
		{"an approval that is none", auto, approved("yes", before(1, "1")), pv("", "1"), store.Held, PreviewChanged, 1},
		{"gone after a submission that was accepted", auto, accepted(before(2, "1;2")), pv(""), store.Erased, "", 2},
		{"gone after an uncertain submission", auto, lost(before(2, "1;2")), pv(""), store.Erased, "", 2},
		{"there after an uncertain submission", auto, lost(before(2, "1;2")), pv("", "1", "2"), store.Submitting, "", 2},
		{"fewer after an uncertain submission", auto, lost(before(2, "1;2")), pv("", "2"), store.Submitting, "", 2},
		{"approved, and fewer after an uncertain submission", manual, approved("2:1;2", lost(before(2, "1;2"))), pv("", "2"), store.Submitting, "", 2},
		{"new after an uncertain submission", auto, lost(before(2, "1;2")), pv("", "3"), store.Held, PreviewChanged, 1},
		{"gone, in doubt, after an uncertain submission", auto, lost(before(2, "1;2")), pv(vendors.InconsistentAnswer), store.Held, vendors.InconsistentAnswer, 0},
		{"never seen, and uncertain", auto, lost(store.Task{}), pv(""), store.NotFound, "", 0},
		{"a vendor that cannot be asked", job, store.Task{}, vendors.Preview{}, store.Submitting, "", -1},
		{"a key that cannot be right", job, store.Task{}, vendors.Preview{Doubt: vendors.MalformedKey}, store.Held, vendors.MalformedKey, -1},
		{"a key that was approved", job, approved("0:", store.Task{PreviewedAt: noon}), vendors.Preview{Doubt: vendors.MalformedKey}, store.Submitting, "", -1},
		{"a warning", job, store.Task{}, vendors.Preview{Warning: vendors.KeyLooksLikeEmail}, store.Submitting, vendors.KeyLooksLikeEmail, -1},
		{"a job, manual", jobManual, store.Task{}, vendors.Preview{}, store.Held, ApprovalRequired, -1},
		{"a job, manual, again", jobManual, approved("0:", store.Task{PreviewedAt: noon}), vendors.Preview{}, store.Submitting, "", -1},
	} {
		got := look(tt.p, tt.task, tt.pv, noon)
		want := store.Count{N: tt.records, Known: true}
		if tt.records < 0 {
			want = store.Count{}
		}
		if got.State != tt.state || got.Reason != string(tt.reason) || got.Records != want {
			t.Errorf("%s: %v %q %+v; want %v %q %+v", tt.name, got.State, got.Reason, got.Records, tt.state, tt.reason, want)
		}
		switch got.State {
		case store.Submitting:
			if seen := store.SplitRefs(tt.task.RecordRefs); Submitted(&tt.task) && !slices.Equal(store.SplitRefs(got.RecordRefs), seen) {
				t.Errorf("%s: %s are listed, a submission may have taken any of %v", tt.name, got.RecordRefs, seen)
			}
			if !got.SubmittedAt.Equal(noon) || !got.PreviewedAt.Equal(noon) || got.Hint != tt.pv.Hint {
				t.Errorf("%s: the intent: %+v", tt.name, got)
			}
		case store.Held:
			if got.Approval != "" {
				t.Errorf("%s: held with an approval %q that no longer holds", tt.name, got.Approval)
			}
		case store.Erased:
			if got.Evidence != store.Verified || !got.VerifiedAt.Equal(noon) || got.RecordsAfter != store.Counted(0) {
				t.Errorf("%s: %+v", tt.name, got)
			}
		case store.NotFound:
			if got.Evidence != store.ControlSeen {
				t.Errorf("%s: evidence %v", tt.name, got.Evidence)
			}
			hides := *tt.p
			hides.NotShown = "the look-up may not show archived people"
			if got := hides.afterPreview(tt.task, tt.pv, store.ControlSeen, noon); got.Message != hides.NotShown {
				t.Errorf("%s, at a vendor that does not show all: message %q", tt.name, got.Message)
			}
		}
		// A look that finds nothing says nothing of anybody where nothing shows the place.
		if Nothing(tt.pv) && tt.p.Remote {
			n := tt.task
			n.Reason, n.Ready = string(Unproved), true
			if diff := cmp.Diff(n, tt.p.afterPreview(tt.task, tt.pv, store.NoEvidence, noon)); diff != "" {
				t.Errorf("%s, unproved: %s", tt.name, diff)
			}
		}
	}
}

// TestAfterSubmit: acceptance is not done: what a task waits for at each kind of vendor.
func TestAfterSubmit(t *testing.T) {
	verify := byPreview
	verify.VerifyAfter = time.Minute
	first := byPoll
	first.FirstPoll = 24 * time.Hour
	intent := store.Task{State: store.Submitting, Ready: true, Attempts: 2, Approval: "1:1", SubmittedAt: noon, Message: "before"}
	for _, tt := range []struct {
		name string
		tr   vendors.Traits
		want result
	}{
		{"looked at at once", byPreview, result{store.Verifying, "", true, 0, 0}},
		{"looked at later", verify, result{store.Verifying, "", false, time.Minute, 0}},
		{"a job, asked at once", byPoll, result{store.Waiting, "", true, 0, 0}},
		{"a job, asked later", first, result{store.Waiting, "", false, 24 * time.Hour, 0}},
		{"people", byPerson, result{store.Waiting, "", false, 0, 0}},
	} {
		got := testPolicy(tt.tr).afterSubmit(intent, vendors.Receipt{Reference: "r-1"}, noon)
		if diff := cmp.Diff(tt.want, resultOf(got)); diff != "" || got.Reference != "r-1" || got.Approval != "" || got.Message != "" {
			t.Errorf("%s: %s %+v", tt.name, diff, got)
		}
	}
	if got := testPolicy(byPoll).afterSubmit(intent, vendors.Receipt{Warning: vendors.KeyLooksLikeEmail}, noon); got.Reason != string(vendors.KeyLooksLikeEmail) {
		t.Errorf("a warning: %q", got.Reason)
	}
	got := testPolicy(byPerson).afterSubmit(intent, vendors.Receipt{Done: true}, noon)
	if diff := cmp.Diff(result{State: store.Erased}, resultOf(got)); diff != "" || got.Evidence != store.VendorDone || !got.CompletedAt.Equal(noon) {
		t.Errorf("an answer that says done: %s %+v", diff, got)
	}
}

// TestFailures: the decision table of failed calls: what a failure of each kind leads to,
// at each kind of call, for each vendor's rule.
func TestFailures(t *testing.T) {
	const first = 4 * time.Second // the first retry, without luck
	retry := func(s store.State, in time.Duration, n int) result { return result{s, Retrying, false, in, n} }
	heldFor := func(why vendors.Reason, n int) result { return result{store.Held, why, false, 0, n} }
	failedFor := func(why vendors.Reason, n int) result { return result{store.Failed, why, false, 0, n} }
	slow := &vendors.Error{Kind: vendors.ErrRateLimited, RetryAfter: 30 * time.Second}
	cut := &vendors.Error{Kind: vendors.ErrNotSent}
	empty := &vendors.Error{Kind: vendors.ErrNotSent, Err: vendors.ErrNoValue}
	loud := func(in time.Duration, n int) result { return result{store.Waiting, NoStatus, false, in, n} }
	down, garbled, refused := failure(vendors.ErrUnavailable), failure(vendors.ErrUnreadable), failure(vendors.ErrRefused)
	other := errors.New("what nobody thought of")
	at := func(s store.State, attempts, uncertain, lost int) store.Task {
		return store.Task{State: s, Attempts: attempts, Uncertain: uncertain, Lost: lost, SubmittedAt: noon.Add(-time.Minute)}
	}
	key := failure(vendors.ErrAuth)
	address := failure(vendors.ErrAddress)
	refusedBefore := func(t store.Task) store.Task { t.Refused = 1; return t }
	type decision func(p *Policy, t store.Task, a Answer, now time.Time) store.Task
	preview, submit, poll, verify := decision((*Policy).afterPreviewError), decision((*Policy).afterSubmitError), decision((*Policy).afterPollError), decision((*Policy).afterVerifyError)
	for _, tt := range []struct {
		name string
		do   decision
		tr   vendors.Traits
		task store.Task
		err  error
		want result
	}{
		{"preview: down", preview, byPreview, at(store.Pending, 0, 0, 0), down, retry(store.Pending, first, 1)},
		{"preview: down again", preview, byPreview, at(store.Pending, 1, 0, 0), down, retry(store.Pending, 2*first, 2)},
		{"preview: down for good", preview, byPreview, at(store.Pending, 2, 0, 0), down, failedFor(AttemptsExhausted, 3)},
		{"preview: down for good, submitted before", preview, byPreview, at(store.Pending, 2, 1, 0), down, heldFor(UnknownOutcome, 3)},
		{"preview: down for good, a job was lost", preview, byPoll, at(store.Pending, 2, 0, 1), down, heldFor(UnknownOutcome, 3)},
		{"preview: garbled", preview, byPreview, at(store.Previewed, 0, 0, 0), garbled, retry(store.Previewed, first, 1)},
		{"preview: refused", preview, byPreview, at(store.Pending, 0, 0, 0), refused, retry(store.Pending, first, 1)},
		{"preview: refused twice", preview, byPreview, refusedBefore(at(store.Pending, 1, 0, 0)), refused, failedFor(Refused, 2)},
		{"preview: refused after another failure", preview, byPreview, at(store.Pending, 1, 0, 0), refused, retry(store.Pending, 2*first, 2)},
		{"preview: refused twice, submitted before", preview, byPreview, refusedBefore(at(store.Pending, 1, 1, 0)), refused, heldFor(UnknownOutcome, 2)},
		{"preview: slow down", preview, byPreview, at(store.Pending, 2, 0, 0), slow, retry(store.Pending, 30*time.Second, 2)},
		{"preview: not sent", preview, byPreview, at(store.Pending, 2, 0, 0), cut, retry(store.Pending, 2*first, 2)},
		{"preview: nothing to send", preview, byPreview, at(store.Pending, 2, 0, 0), empty, failedFor(AttemptsExhausted, 3)},
		{"preview: not permitted", preview, byPreview, at(store.Pending, 0, 0, 0), key, retry(store.Pending, first, 1)},
		{"preview: not permitted for good", preview, byPreview, at(store.Pending, 2, 0, 0), key, heldFor(NotPermitted, 3)},
		{"preview: not permitted for good, submitted before", preview, byPreview, at(store.Pending, 2, 1, 0), key, heldFor(UnknownOutcome, 3)},
		{"preview: the address", preview, byPreview, at(store.Pending, 0, 0, 0), address, retry(store.Pending, first, 1)},

		{"submit: not sent", submit, byPreview, at(store.Submitting, 2, 0, 0), cut, retry(store.Pending, 2*first, 2)},
		{"submit: not sent, where a repeat does harm", submit, byPerson, at(store.Submitting, 2, 0, 0), cut, retry(store.Pending, 2*first, 2)},
		{"submit: slow down", submit, byPerson, at(store.Submitting, 0, 0, 0), slow, retry(store.Pending, 30*time.Second, 0)},
		{"submit: nothing to send", submit, byPerson, at(store.Submitting, 2, 0, 0), empty, failedFor(AttemptsExhausted, 3)},
		{"submit: refused", submit, byPreview, at(store.Submitting, 0, 0, 0), refused, retry(store.Pending, first, 1)},
		{"submit: refused twice", submit, byPerson, refusedBefore(at(store.Submitting, 0, 0, 0)), refused, failedFor(Refused, 1)},
		{"submit: refused twice after an uncertain one", submit, byPreview, refusedBefore(at(store.Submitting, 0, 1, 0)), refused, heldFor(UnknownOutcome, 1)},
		{"submit: not permitted", submit, byPerson, at(store.Submitting, 0, 0, 0), key, retry(store.Pending, first, 1)},
		{"submit: not permitted for good", submit, byPerson, at(store.Submitting, 2, 0, 0), key, heldFor(NotPermitted, 3)},
		{"submit: the address", submit, byPerson, at(store.Submitting, 0, 0, 0), address, retry(store.Pending, first, 1)},
		{"submit: no answer: ask again", submit, byPreview, at(store.Submitting, 0, 0, 0), down, retry(store.Pending, first, 1)},
		{"submit: no answer: submit again", submit, byPoll, at(store.Submitting, 0, 0, 0), down, retry(store.Pending, first, 1)},
		{"submit: no answer: a person", submit, byPerson, at(store.Submitting, 0, 0, 0), down, heldFor(UncertainSubmission, 0)},
		{"submit: garbled: ask again", submit, byPreview, at(store.Submitting, 0, 0, 0), garbled, retry(store.Pending, first, 1)},
		{"submit: garbled: a person", submit, byPerson, at(store.Submitting, 0, 0, 0), garbled, heldFor(UncertainSubmission, 0)},
		{"submit: anything else is uncertain", submit, byPerson, at(store.Submitting, 0, 0, 0), other, heldFor(UncertainSubmission, 0)},
		{"submit: no answer for good", submit, byPoll, at(store.Submitting, 2, 2, 0), down, heldFor(UnknownOutcome, 3)},

		{"poll: down", poll, byPoll, at(store.Waiting, 0, 0, 0), down, retry(store.Waiting, first, 1)},
		{"poll: down many times", poll, byPoll, at(store.Waiting, 500, 0, 0), down, loud(time.Minute, 501)},
		{"poll: down as often as there are tries", poll, byPoll, at(store.Waiting, 2, 0, 0), down, loud(4*first, 3)},
		{"poll: not sent", poll, byPoll, at(store.Waiting, 1, 0, 0), cut, retry(store.Waiting, first, 1)},
		{"poll: the address", poll, byPoll, at(store.Waiting, 0, 0, 0), address, retry(store.Waiting, first, 1)},
		{"poll: refused", poll, byPoll, at(store.Waiting, 0, 0, 0), refused, retry(store.Waiting, first, 1)},
		{"poll: refused twice", poll, byPoll, refusedBefore(at(store.Waiting, 1, 0, 0)), refused, heldFor(UnknownOutcome, 1)},
		{"poll: slow down", poll, byPoll, at(store.Waiting, 4, 0, 0), slow, loud(32*time.Second, 4)},

		{"verify: down", verify, byPreview, at(store.Verifying, 0, 0, 0), down, retry(store.Verifying, first, 1)},
		{"verify: down for good", verify, byPreview, at(store.Verifying, 2, 0, 0), down, heldFor(UnknownOutcome, 3)},
		{"verify: refused", verify, byPreview, at(store.Verifying, 0, 0, 0), refused, retry(store.Verifying, first, 1)},
		{"verify: refused twice", verify, byPreview, refusedBefore(at(store.Verifying, 1, 0, 0)), refused, heldFor(UnknownOutcome, 2)},
		{"verify: not permitted for good", verify, byPreview, at(store.Verifying, 2, 0, 0), key, heldFor(UnknownOutcome, 3)},
	} {
		got := tt.do(testPolicy(tt.tr), tt.task, own(tt.err), noon)
		if diff := cmp.Diff(tt.want, resultOf(got)); diff != "" {
			t.Errorf("%s: %s", tt.name, diff)
		}
		if got.Message != "m" {
			t.Errorf("%s: message %q", tt.name, got.Message)
		}
		if !store.MayFollow(tt.task.State, got.State) {
			t.Errorf("%s: the store refuses %v to %v", tt.name, tt.task.State, got.State)
		}
	}
}

// TestInDoubt: where the vendor is in doubt, a failed call uses up nothing of a task's, not
// even as often as it happens, and the waits grow with the failures in a row. What may have
// reached the vendor is noted all the same.
func TestInDoubt(t *testing.T) {
	kinds := []error{vendors.ErrNotSent, vendors.ErrRateLimited, vendors.ErrAuth, vendors.ErrRefused, vendors.ErrAddress, vendors.ErrUnavailable, vendors.ErrUnreadable}
	for _, kind := range kinds {
		for _, from := range []store.State{store.Pending, store.Previewed, store.Submitting, store.Verifying} {
			task := store.Task{State: from, Attempts: 2, Refused: 1, SubmittedAt: noon}
			p := testPolicy(byPreview)
			a := Answer{Err: failure(kind), Message: "m", Nth: 4}
			want := task
			want.State, want.Reason, want.Message, want.NextAt = from, string(Retrying), "m", noon.Add(32*time.Second)
			if from == store.Submitting {
				want.State = store.Pending
				if !vendors.Harmless(a.Err) {
					want.Uncertain = 1
				}
			}
			do := map[store.State]func(store.Task, Answer, time.Time) store.Task{store.Submitting: p.afterSubmitError, store.Verifying: p.afterVerifyError}[from]
			if do == nil {
				do = p.afterPreviewError
			}
			if diff := cmp.Diff(want, do(task, a, noon)); diff != "" {
				t.Errorf("%v, %v: %s", from, kind, diff)
			}
		}
	}
}

// TestStale: a submission that did not leave because its preview was too old is looked at
// again at once, at no cost.
func TestStale(t *testing.T) {
	task := store.Task{State: store.Submitting, SubmittedAt: noon, Attempts: 2, Ready: true}
	out := testPolicy(byPreview).After(StepSubmit, task, own(&vendors.Error{Kind: vendors.ErrNotSent, Err: ErrStale}), noon)
	want := task
	want.State, want.SubmittedAt = store.Pending, time.Time{}
	if diff := cmp.Diff(want, out.To); diff != "" || out.Then != GoOn {
		t.Errorf("%s, then %v", diff, out.Then)
	}
}

// TestUncertainAfterACrash: a task found with an intent and no result goes the way of a
// lost reply, at once (invariant 4).
func TestUncertainAfterACrash(t *testing.T) {
	found := store.Task{State: store.Submitting, Ready: true, SubmittedAt: noon}
	for _, tt := range []struct {
		tr   vendors.Traits
		task store.Task
		want result
	}{
		{byPreview, found, result{store.Pending, "", true, 0, 1}},
		{byPoll, found, result{store.Pending, "", true, 0, 1}},
		{byPerson, found, result{store.Held, UncertainSubmission, false, 0, 0}},
		{byPoll, store.Task{State: store.Submitting, Attempts: 2}, result{store.Held, UnknownOutcome, false, 0, 3}}, // it crashes every time
	} {
		got := testPolicy(tt.tr).uncertain(tt.task, Answer{}, noon)
		if diff := cmp.Diff(tt.want, resultOf(got)); diff != "" || got.Uncertain != 1 {
			t.Errorf("%s: %s (uncertain %d)", tt.tr.Kind, diff, got.Uncertain)
		}
	}
}

// TestUnknownStatusLasts: a status that is not known is told like no status at all once it has
// lasted for a day, or for as many looks as a failing call gets. One that is known ends it.
func TestUnknownStatusLasts(t *testing.T) {
	for _, tt := range []struct {
		every       time.Duration
		maxAttempts int
		looks       int // until a person is told
	}{{6 * time.Hour, 8, 5}, {time.Minute, 8, 8}, {48 * time.Hour, 8, 2}, {time.Hour, 3, 3}} {
		p := testPolicy(byPoll)
		p.PollEvery, p.MaxAttempts, p.GiveUpAfter = tt.every, tt.maxAttempts, 0
		task := store.Task{State: store.Waiting, Reference: "job", SubmittedAt: noon}
		for n := 1; n <= tt.looks+1; n++ {
			task = p.afterPoll(task, vendors.Progress{Job: vendors.JobUnknown, Status: "word"}, noon)
			want := UnknownStatus
			if n >= tt.looks {
				want = NoStatus
			}
			if task.State != store.Waiting || task.Reason != string(want) {
				t.Errorf("every %v, look %d: %v %s, want %s", tt.every, n, task.State, task.Reason, want)
			}
		}
		if task = p.afterPoll(task, vendors.Progress{Job: vendors.JobOpen, Status: "running"}, noon); task.Reason != "" || task.Attempts != 0 {
			t.Errorf("after a status that is known: %s, %d", task.Reason, task.Attempts)
		}
	}
}

// TestAfterPoll: what a job's word leads to; a job that never ends is a person's.
func TestAfterPoll(t *testing.T) {
	at := func(lost int, age time.Duration) store.Task {
		return store.Task{State: store.Waiting, Attempts: 2, Lost: lost, Reference: "job", SubmittedAt: noon.Add(-age), Reason: string(Retrying), Message: "before"}
	}
	const day = 24 * time.Hour
	for _, tt := range []struct {
		name string
		task store.Task
		job  vendors.Job
		want result
	}{
		{"open", at(0, time.Hour), vendors.JobOpen, result{store.Waiting, "", false, time.Hour, 0}},
		{"done", at(0, time.Hour), vendors.JobDone, result{store.Erased, "", false, 0, 0}},
		{"done, late", at(0, 90*day), vendors.JobDone, result{store.Erased, "", false, 0, 0}},
		{"failed", at(0, time.Hour), vendors.JobFailed, result{store.Pending, "", true, 0, 0}},
		{"failed again", at(1, time.Hour), vendors.JobFailed, result{store.Failed, JobFailed, false, 0, 0}},
		{"lost", at(0, time.Hour), vendors.JobLost, result{store.Pending, "", true, 0, 0}},
		{"lost again", at(1, time.Hour), vendors.JobLost, result{store.Held, JobLost, false, 0, 0}},
		{"unknown", at(0, time.Hour), vendors.JobUnknown, result{store.Waiting, NoStatus, false, time.Hour, 3}},
		{"open for too long", at(0, day+time.Millisecond), vendors.JobOpen, result{store.Held, NotDoneInTime, false, 0, 0}},
		{"just not too long", at(0, day), vendors.JobOpen, result{store.Waiting, "", false, time.Hour, 0}},
		{"unknown for too long", at(0, 2*day), vendors.JobUnknown, result{store.Held, NotDoneInTime, false, 0, 3}},
	} {
		got := testPolicy(byPoll).afterPoll(tt.task, vendors.Progress{Job: tt.job, Status: "word"}, noon)
		if diff := cmp.Diff(tt.want, resultOf(got)); diff != "" {
			t.Errorf("%s: %s", tt.name, diff)
		}
		if got.Reference != "job" {
			t.Errorf("%s: the reference is lost", tt.name)
		}
		if got.State == store.Erased && got.Evidence != store.VendorDone {
			t.Errorf("%s: evidence %v", tt.name, got.Evidence)
		}
		if tt.job != vendors.JobDone && got.Message != "the vendor says: word" {
			t.Errorf("%s: message %q", tt.name, got.Message)
		}
	}
	// A vendor that can be looked at is looked at, and patience begins with its word.
	looked := byPoll
	looked.Remote, looked.VerifyAfter, looked.VerifyPatience = true, time.Minute, time.Hour
	task := testPolicy(looked).afterPoll(at(0, 90*day), vendors.Progress{Job: vendors.JobDone}, noon)
	if diff := cmp.Diff(result{store.Verifying, "", false, time.Minute, 0}, resultOf(task)); diff != "" {
		t.Errorf("done, and it can be looked at: %s", diff)
	}
	there := vendors.Preview{Records: 1}
	if got := testPolicy(looked).afterVerify(task, there, store.NoEvidence, noon.Add(time.Minute)); got.State != store.Verifying {
		t.Errorf("still there a minute after it was done: %v", got.State)
	}
	if got := testPolicy(looked).afterVerify(task, there, store.NoEvidence, noon.Add(time.Hour)); got.State != store.Held || got.Reason != string(StillPresent) {
		t.Errorf("still there an hour after it was done: %v %s", got.State, got.Reason)
	}
	// A job that is no more is made again only as a submission without an answer is.
	for _, tt := range []struct {
		rule vendors.Uncertain
		job  vendors.Job
		want result
		ends bool
	}{
		{vendors.SubmitAgain, vendors.JobFailed, result{store.Failed, JobFailed, false, 0, 0}, true},
		{vendors.SubmitAgain, vendors.JobLost, result{store.Pending, "", true, 0, 0}, true},
		{vendors.AskAgain, vendors.JobFailed, result{store.Pending, "", true, 0, 0}, false},
		{vendors.AskAgain, vendors.JobLost, result{store.Pending, "", true, 0, 0}, false},
		{vendors.HoldForPerson, vendors.JobFailed, result{store.Failed, JobFailed, false, 0, 0}, false},
		{vendors.HoldForPerson, vendors.JobLost, result{store.Held, JobLost, false, 0, 0}, false},
	} {
		tr := byPoll
		tr.Uncertain, tr.FailedEnds = tt.rule, tt.ends
		got := testPolicy(tr).afterPoll(at(0, time.Hour), vendors.Progress{Job: tt.job, Status: "word"}, noon)
		if diff := cmp.Diff(tt.want, resultOf(got)); diff != "" {
			t.Errorf("rule %d, job %d: %s", tt.rule, tt.job, diff)
		}
	}
	p := testPolicy(byPoll)
	p.GiveUpAfter = 0
	if got := p.afterPoll(at(0, 9999*day), vendors.Progress{Job: vendors.JobOpen}, noon); got.State != store.Waiting {
		t.Errorf("give_up_after 0 means never: %v", got.State)
	}
	if got := p.afterPollError(at(0, 9999*day), own(failure(vendors.ErrUnavailable)), noon); got.State != store.Waiting {
		t.Errorf("give_up_after 0 means never: %v", got.State)
	}
	if got := testPolicy(byPoll).afterPollError(at(0, 2*day), own(failure(vendors.ErrUnavailable)), noon); got.State != store.Held || got.Reason != string(NotDoneInTime) {
		t.Errorf("no answer for too long: %v %s", got.State, got.Reason)
	}
}

// TestAfterVerify: gone is erased; still there is looked at again until patience ends.
func TestAfterVerify(t *testing.T) {
	at := func(age time.Duration) store.Task {
		return store.Task{State: store.Verifying, Attempts: 1, SubmittedAt: noon.Add(-age), Records: store.Counted(2), Reason: string(Retrying), Message: "before"}
	}
	there := vendors.Preview{Records: 1, Refs: []string{"1"}}
	for _, tt := range []struct {
		name string
		task store.Task
		pv   vendors.Preview
		want result
	}{
		{"gone", at(time.Second), vendors.Preview{}, result{store.Erased, "", false, 0, 0}},
		{"gone, late", at(time.Hour), vendors.Preview{}, result{store.Erased, "", false, 0, 0}},
		{"gone, in doubt", at(10 * time.Second), vendors.Preview{Doubt: vendors.InconsistentAnswer}, result{store.Verifying, "", false, 10 * time.Second, 0}},
		{"there, at once", at(0), there, result{store.Verifying, "", false, time.Second, 0}},
		{"there, after 10s", at(10 * time.Second), there, result{store.Verifying, "", false, 10 * time.Second, 0}},
		{"there, after 40s of 60s", at(40 * time.Second), there, result{store.Verifying, "", false, 20 * time.Second, 0}},
		{"there, when patience ends", at(time.Minute), there, result{store.Held, StillPresent, false, 0, 0}},
		{"there, submitted in the future", at(-time.Hour), there, result{store.Verifying, "", false, time.Second, 0}},
	} {
		got := testPolicy(byPreview).afterVerify(tt.task, tt.pv, store.ControlSeen, noon)
		if diff := cmp.Diff(tt.want, resultOf(got)); diff != "" {
			t.Errorf("%s: %s", tt.name, diff)
		}
		if got.RecordsAfter != store.Counted(tt.pv.Records) || got.Records != store.Counted(2) {
			t.Errorf("%s: records %+v, after %+v", tt.name, got.Records, got.RecordsAfter)
		}
		if got.State == store.Erased && (got.Evidence != store.Verified || !got.VerifiedAt.Equal(noon) || !got.CompletedAt.Equal(noon)) {
			t.Errorf("%s: %+v", tt.name, got)
		}
	}
	unproved := at(0)
	unproved.Reason, unproved.Message, unproved.Ready = string(Unproved), "", true
	if diff := cmp.Diff(unproved, testPolicy(byPreview).afterVerify(at(0), vendors.Preview{}, store.NoEvidence, noon)); diff != "" {
		t.Errorf("gone, and nothing shows the place: %s", diff)
	}
	others := vendors.Preview{Records: 1, Refs: []string{"9"}, Doubt: vendors.SomebodyElse}
	if got := testPolicy(byPreview).afterVerify(at(time.Minute), others, store.ControlSeen, noon); got.State != store.Held || got.Reason != string(StillPresent) || got.Message != "of what is found now: somebody_else" {
		t.Errorf("what is found now is somebody else's: %v %s %q", got.State, got.Reason, got.Message)
	}
	warned := at(0)
	warned.Reason = string(vendors.KeyLooksLikeEmail)
	if got := testPolicy(byPreview).afterVerify(warned, vendors.Preview{}, store.OthersSeen, noon); got.Reason != string(vendors.KeyLooksLikeEmail) {
		t.Errorf("a warning is true of a finished task too: %q", got.Reason)
	}
}

// TestBackoff: each wait is between nothing and what the attempt allows, never above the
// cap, never less than what the vendor asked for, whatever the configuration.
func TestBackoff(t *testing.T) {
	for _, tt := range []struct {
		n         int
		base, cap time.Duration
		want      time.Duration // the longest
	}{
		{0, 2 * time.Second, time.Hour, 2 * time.Second},
		{1, 2 * time.Second, time.Hour, 2 * time.Second},
		{2, 2 * time.Second, time.Hour, 4 * time.Second},
		{11, 2 * time.Second, time.Hour, 2048 * time.Second},
		{12, 2 * time.Second, time.Hour, time.Hour},
		{1000, 2 * time.Second, time.Hour, time.Hour},
		{29, time.Minute, time.Hour, time.Hour}, // 1m << 28 does not fit
		{60, 24 * time.Hour, 48 * time.Hour, 48 * time.Hour},
		{5, time.Hour, time.Minute, time.Minute},
		{5, 0, time.Minute, 0},
		{5, time.Minute, 0, 0},
		{1 << 30, time.Nanosecond, 100 * 365 * 24 * time.Hour, 100 * 365 * 24 * time.Hour},
	} {
		p := &Policy{Retry: vendors.Retry{RetryBase: vendors.Duration(tt.base), RetryCap: vendors.Duration(tt.cap)}, rand: func(n int64) int64 { return n - 1 }}
		if got := p.backoff(tt.n, errors.New("x")); got != tt.want {
			t.Errorf("attempt %d from %v to %v: at most %v, want %v", tt.n, tt.base, tt.cap, got, tt.want)
		}
		p.rand = func(int64) int64 { return 0 }
		if got := p.backoff(tt.n, errors.New("x")); got != 0 {
			t.Errorf("attempt %d: at least %v", tt.n, got)
		}
		if got := p.backoff(tt.n, fmt.Errorf("x: %w", &vendors.Error{Kind: vendors.ErrUnavailable, RetryAfter: 7 * time.Hour})); got != 7*time.Hour {
			t.Errorf("attempt %d: the vendor asked for 7h and gets %v", tt.n, got)
		}
		p.rand = nil
		for range 20 {
			if got := p.backoff(tt.n, errors.New("x")); got < 0 || got > tt.want {
				t.Fatalf("attempt %d: %v is not within 0 and %v", tt.n, got, tt.want)
			}
		}
	}
}

// TestNoDecisionIsIllegal: whatever a vendor answers, in whatever state a task may be, what
// is decided is a step of the transition table. (TestWalks holds it against the schema.)
func TestNoDecisionIsIllegal(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 50_000 {
		p := testPolicy([]vendors.Traits{byPreview, byPoll, byPerson}[r.IntN(3)])
		p.Manual, p.DryRun = r.IntN(3) == 0, r.IntN(5) == 0
		task := store.Task{
			Attempts: r.IntN(4), Uncertain: r.IntN(3), Lost: r.IntN(3), Reference: []string{"", "job"}[r.IntN(2)],
			Approval: []string{"", "1:1", "0:", "somebody_else;1:1", "patience:2026-11-02T11:00:00Z", "nonsense"}[r.IntN(6)], SubmittedAt: noon.Add(-time.Duration(r.Int64N(int64(48 * time.Hour)))),
		}
		if r.IntN(2) == 0 {
			task.PreviewedAt, task.Records, task.RecordRefs = noon.Add(-time.Hour), store.Counted(r.IntN(3)), []string{"", "1", "1;2"}[r.IntN(3)]
		}
		task.State = []store.State{store.Pending, store.Previewed, store.Submitting, store.Waiting, store.Verifying}[r.IntN(5)]
		what := p.Next(&task, noon)
		got, from := decide(r, p, what, task)
		if what == StepNone {
			continue
		}
		if !store.MayFollow(from, got.State) {
			t.Fatalf("%v of %+v leads from %v to %v", what, task, from, got.State)
		}
		if got.State.Final() && (got.Ready || !got.NextAt.IsZero() || got.CompletedAt.IsZero() || got.Hint != "" || got.Approval != "") {
			t.Fatalf("final, and not at rest: %+v", got)
		}
		if got.State == store.Held && (got.Ready || !got.NextAt.IsZero() || got.Reason == "") {
			t.Fatalf("held, and not at rest or without a reason: %+v", got)
		}
		if _, known := Reasons()[vendors.Reason(got.Reason)]; got.Reason != "" && !known {
			t.Fatalf("a reason that nobody explains: %q", got.Reason)
		}
		if got.State == store.NotFound && got.Evidence == store.NoEvidence {
			t.Fatalf("nothing was found, and nothing shows the place: %+v", got)
		}
		if p.DryRun && from != store.Submitting && got.State == store.Submitting {
			t.Fatalf("a dry run submits: %+v", got)
		}
	}
}

// decide makes up an answer to the step that a task needs and returns what is decided, and
// the state that it is decided from.
func decide(r *rand.Rand, p *Policy, what Step, task store.Task) (store.Task, store.State) {
	kinds := []error{vendors.ErrNotSent, vendors.ErrRateLimited, vendors.ErrAuth, vendors.ErrRefused, vendors.ErrAddress, vendors.ErrUnavailable, vendors.ErrUnreadable}
	failed := Answer{Err: failure(kinds[r.IntN(len(kinds))]), Message: "m", Blamed: r.IntN(2) == 0, Nth: r.IntN(9)}
	proof := []store.Evidence{store.NoEvidence, store.ControlSeen, store.OthersSeen, store.Confirmed}[r.IntN(4)]
	bad := r.IntN(3) == 0
	doubts := []vendors.Reason{"", "", "", vendors.SomebodyElse, vendors.InconsistentAnswer, vendors.MalformedKey}
	pv := vendors.Preview{Doubt: doubts[r.IntN(len(doubts))], Hint: "h"}
	if p.Remote {
		pv.Refs = strings.Fields([]string{"", "1", "1 2", "9"}[r.IntN(4)])
		pv.Records = len(pv.Refs)
	}
	submit := func(intent store.Task) (store.Task, store.State) {
		if bad {
			return p.afterSubmitError(intent, failed, noon), store.Submitting
		}
		return p.afterSubmit(intent, vendors.Receipt{Reference: fmt.Sprint("job-", r.IntN(9))}, noon), store.Submitting
	}
	switch what {
	case StepPreview:
		if bad {
			return p.afterPreviewError(task, failed, noon), task.State
		}
		return look(p, task, pv, noon), task.State
	case StepIntend:
		return submit(p.intent(task, noon))
	case StepResolve:
		if r.IntN(2) == 0 {
			return submit(task)
		}
		return p.uncertain(task, Answer{}, noon), task.State
	case StepPoll:
		if bad {
			return p.afterPollError(task, failed, noon), task.State
		}
		return p.afterPoll(task, vendors.Progress{Job: vendors.Job(1 + r.IntN(5)), Status: "word"}, noon), task.State
	case StepVerify:
		if bad {
			return p.afterVerifyError(task, failed, noon), task.State
		}
		return p.afterVerify(task, pv, proof, noon), task.State
	}
	return task, task.State
}
