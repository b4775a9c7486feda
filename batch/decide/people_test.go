package decide

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"expunge/store"
	"expunge/vendors"
)

var (
	byPreview = vendors.Traits{Kind: "p", Remote: true, Completion: vendors.ByPreview, Uncertain: vendors.AskAgain, VerifyPatience: time.Minute}
	byPoll    = vendors.Traits{Kind: "j", Completion: vendors.ByPoll, Uncertain: vendors.SubmitAgain, PollEvery: time.Hour, GiveUpAfter: 24 * time.Hour}
	byPerson  = vendors.Traits{Kind: "t", Completion: vendors.ByPerson, Uncertain: vendors.HoldForPerson}

	reviewed = time.Date(2026, 3, 31, 9, 0, 0, 0, time.UTC)
)

// What an approval leads to, for every reason for which a task can be held. A wrong line
// here means a second ticket, an erasure that nobody asked for again, or a task that no
// approval gets out of review.
func TestApprove(t *testing.T) {
	const given = "patience:2026-03-31T09:00:00Z"
	tests := []struct {
		why      vendors.Reason
		traits   vendors.Traits
		task     store.Task
		state    store.State
		approval string
		message  string // contained
	}{
		{vendors.SomebodyElse, byPreview, store.Task{Records: store.Counted(2), RecordRefs: "1;2"}, store.Pending, "somebody_else;2:1;2", ""},
		{vendors.UnknownOwner, byPreview, store.Task{Records: store.Counted(1), RecordRefs: "7"}, store.Pending, "unknown_owner;1:7", ""},
		{vendors.TooManyRecords, byPreview, store.Task{Records: store.Counted(30), RecordRefs: "1"}, store.Pending, "too_many_records;30:1", ""},
		{vendors.InconsistentAnswer, byPreview, store.Task{Records: store.Counted(3), RecordRefs: "1"}, store.Pending, "inconsistent_answer;3:1", ""},
		{PreviewChanged, byPreview, store.Task{Records: store.Counted(3), RecordRefs: "1;2;3"}, store.Pending, "3:1;2;3", ""},
		{ApprovalRequired, byPreview, store.Task{Records: store.Counted(1), RecordRefs: "1"}, store.Pending, "1:1", ""},
		{ApprovalRequired, byPoll, store.Task{}, store.Pending, "0:", ""},
		{ApprovalRequired, byPerson, store.Task{}, store.Pending, "0:", ""},
		{vendors.MalformedKey, byPoll, store.Task{}, store.Pending, "malformed_key;0:", ""},
		{vendors.NoAgent, byPerson, store.Task{}, store.Pending, "", ""},
		{vendors.ControlRecord, byPreview, store.Task{}, store.Pending, "", ""},
		{UncertainSubmission, byPerson, store.Task{Uncertain: 1, SubmittedAt: reviewed}, store.Pending, "0:", "resubmission"},
		{UnknownOutcome, byPreview, store.Task{SubmittedAt: reviewed, Records: store.Counted(1)}, store.Verifying, "", ""},
		{UnknownOutcome, byPreview, store.Task{SubmittedAt: reviewed, Records: store.Counted(1), RecordRefs: "4", Uncertain: 3}, store.Pending, "1:4", ""},
		{UnknownOutcome, byPoll, store.Task{SubmittedAt: reviewed, Reference: "j1"}, store.Waiting, given, ""},
		{UnknownOutcome, byPoll, store.Task{SubmittedAt: reviewed, Uncertain: 8}, store.Pending, "0:", ""},
		{UnknownOutcome, byPerson, store.Task{SubmittedAt: reviewed, Uncertain: 8}, store.Pending, "0:", "resubmission"},
		{NotDoneInTime, byPoll, store.Task{SubmittedAt: reviewed, Reference: "j1"}, store.Waiting, given, ""},
		{NotDoneInTime, byPoll, store.Task{SubmittedAt: reviewed}, store.Pending, "0:", ""},
		{ExportFailed, byPoll, store.Task{}, store.Pending, withoutExport + "0:", ""},
		{NotPermitted, byPreview, store.Task{}, store.Pending, "0:", ""},
		{StillPresent, byPreview, store.Task{SubmittedAt: reviewed, Records: store.Counted(1), RecordRefs: "4"}, store.Pending, "1:4", ""},
		{ReferenceInDoubt, byPoll, store.Task{SubmittedAt: reviewed, Reference: "j1"}, store.Pending, "0:", ""},
		{ReferenceInDoubt, byPerson, store.Task{SubmittedAt: reviewed, Reference: "10089"}, store.Waiting, "", ""},
		{JobLost, byPoll, store.Task{SubmittedAt: reviewed, Reference: "j2", Lost: 2}, store.Pending, "0:", ""},
	}
	tested := map[vendors.Reason]bool{}
	for _, tt := range tests {
		tested[tt.why] = true
		task := tt.task
		task.State, task.Reason, task.Message, task.Attempts, task.Approval = store.Held, string(tt.why), "said before", 8, "1:9"
		got, words := Approve(task, tt.traits, reviewed)
		want := task
		want.State, want.Ready, want.Approval, want.Reason, want.Attempts = tt.state, true, tt.approval, "", 0
		want.Message = got.Message
		if tt.state == store.Waiting && tt.traits.Completion == vendors.ByPerson {
			want.Ready = false // nobody can be asked
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%s at %s: %s", tt.why, tt.traits.Kind, d)
		}
		if !strings.Contains(got.Message, tt.message) || (tt.message == "" && got.Message != "") {
			t.Errorf("%s: message %q, want it with %q", tt.why, got.Message, tt.message)
		}
		if words == "" {
			t.Errorf("%s: the person is not told what an approval leads to", tt.why)
		}
		if !store.MayFollow(store.Held, got.State) {
			t.Errorf("%s: the store refuses held to %v", tt.why, got.State)
		}
	}
	for reason, text := range Reasons() {
		if strings.HasPrefix(text, "held:") && !tested[reason] {
			t.Errorf("no line for the reason %s", reason)
		}
	}
}

// An approval is bound to what was seen: the same records or fewer are submitted, others
// or more are held again.
func TestApprovalIsBound(t *testing.T) {
	for _, tt := range []struct {
		name   string
		now    vendors.Preview
		state  store.State
		reason vendors.Reason
	}{
		{"the same, doubt and all", vendors.Preview{Records: 2, Refs: []string{"1", "2"}, Doubt: vendors.SomebodyElse}, store.Submitting, ""},
		{"fewer", vendors.Preview{Records: 1, Refs: []string{"2"}}, store.Submitting, ""},
		{"none", vendors.Preview{}, store.NotFound, ""},
		{"more", vendors.Preview{Records: 3, Refs: []string{"1", "2", "3"}}, store.Held, PreviewChanged},
		{"another", vendors.Preview{Records: 2, Refs: []string{"1", "3"}}, store.Held, PreviewChanged},
	} {
		p := Policy{Traits: byPreview, Retry: vendors.Retry{MaxAttempts: 8}, Manual: true}
		held := store.Task{State: store.Held, Reason: string(vendors.SomebodyElse), Records: store.Counted(2), RecordRefs: "1;2", PreviewedAt: reviewed.Add(-time.Hour)}
		task, _ := Approve(held, byPreview, reviewed)
		got := look(&p, task, tt.now, reviewed.Add(time.Minute))
		if got.State != tt.state || got.Reason != string(tt.reason) {
			t.Errorf("%s: %v %s, want %v %s", tt.name, got.State, got.Reason, tt.state, tt.reason)
		}
		if got.State == store.Held && got.Approval != "" {
			t.Errorf("%s: the approval of other records is kept", tt.name)
		}
	}
}

// A job that got more time is asked for another give_up_after, and held again after it.
// Without that, an approval would be undone by the next poll.
func TestApproveGivesTime(t *testing.T) {
	p := Policy{Traits: byPoll, Retry: vendors.Retry{MaxAttempts: 8}}
	task := store.Task{State: store.Held, Reason: string(NotDoneInTime), Reference: "j1", SubmittedAt: reviewed.Add(-48 * time.Hour)}
	task, _ = Approve(task, byPoll, reviewed)
	for at, want := range map[time.Duration]store.State{time.Minute: store.Waiting, 23 * time.Hour: store.Waiting, 25 * time.Hour: store.Held} {
		if got := p.afterPoll(task, vendors.Progress{Job: vendors.JobOpen, Status: "running"}, reviewed.Add(at)); got.State != want {
			t.Errorf("poll after %v: %v, want %v", at, got.State, want)
		}
	}
	// And if the vendor then loses the job, it is submitted again and not held as changed.
	lost := p.afterPoll(task, vendors.Progress{Job: vendors.JobLost}, reviewed.Add(time.Minute))
	if got := look(&p, lost, vendors.Preview{}, reviewed.Add(time.Minute)); got.State != store.Submitting {
		t.Errorf("after a lost job: %v %s, want the submission", got.State, got.Reason)
	}
}

// Whoever reads the report must learn that a ticket may exist twice, while the task waits,
// when it is confirmed, when its outcome is unknown again, and when it is rejected.
func TestResubmissionIsTold(t *testing.T) {
	p := Policy{Traits: byPerson, Retry: vendors.Retry{MaxAttempts: 8}}
	task := store.Task{State: store.Held, Reason: string(UncertainSubmission), Uncertain: 1, SubmittedAt: reviewed}
	task, _ = Approve(task, byPerson, reviewed)
	task = look(&p, task, vendors.Preview{}, reviewed)
	if task.State != store.Submitting {
		t.Fatalf("after the approval: %v", task.State)
	}
	waiting := p.afterSubmit(task, vendors.Receipt{Reference: "10090"}, reviewed)
	again := p.uncertain(task, Answer{Err: vendors.ErrUnavailable, Message: "no answer"}, reviewed)
	for name, got := range map[string]store.Task{
		"waiting": waiting, "confirmed": erased(waiting, store.Confirmed, reviewed),
		"uncertain again": again, "rejected": Reject(again, reviewed),
	} {
		if !strings.Contains(got.Message, resubmission) {
			t.Errorf("%s: message %q", name, got.Message)
		}
	}
}

// A rejection must not claim that nothing happened where something may have.
func TestReject(t *testing.T) {
	for want, task := range map[string]store.Task{
		"nothing was submitted":                                         {},
		"a submission may have reached the vendor":                      {Uncertain: 1, SubmittedAt: reviewed},
		"a submission and its resubmission may have reached the vendor": {Uncertain: 2, SubmittedAt: reviewed},
		"the vendor had accepted a submission":                          {Reference: "j1", SubmittedAt: reviewed},
	} {
		task.State, task.Approval = store.Held, "1:2"
		got := Reject(task, reviewed)
		if got.State != store.Failed || got.Reason != string(Rejected) || got.Message != want || got.CompletedAt != reviewed || got.ClosedAt != reviewed || got.Approval != "" {
			t.Errorf("%q: %+v", want, got)
		}
		if got := Close(task, reviewed); got.State != store.Failed || got.Reason != string(Closed) || got.Message != want || got.ClosedAt != reviewed || got.Approval != "" {
			t.Errorf("closed, %q: %+v", want, got)
		}
	}
}

// A failed task that is closed keeps why it failed and when; one that the vendor's people
// declined ended when they did.
func TestCloseKeepsWhy(t *testing.T) {
	task := store.Task{State: store.Failed, Reason: string(JobFailed), Message: "the vendor says: error", CompletedAt: reviewed, Reference: "j1"}
	want := task
	want.ClosedAt = reviewed.Add(time.Hour)
	if diff := cmp.Diff(want, Close(task, reviewed.Add(time.Hour))); diff != "" {
		t.Error(diff)
	}
	waiting := store.Task{State: store.Waiting, SubmittedAt: reviewed, Reference: "10089"}
	got := WasDeclined(waiting, reviewed.Add(time.Hour), reviewed.Add(2*time.Hour))
	want = store.Task{State: store.Failed, Reason: string(Declined), Message: "the vendor's people declined it", SubmittedAt: reviewed, Reference: "10089",
		CompletedAt: reviewed.Add(time.Hour), ClosedAt: reviewed.Add(2 * time.Hour)}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// A failed task that is retried starts anew, and what may have been submitted goes the way
// that its vendor has for a lost answer: nothing is submitted again where that does harm.
func TestRetry(t *testing.T) {
	sent := store.Task{SubmittedAt: reviewed, Reference: "j1", Records: store.Counted(1), RecordRefs: "4"}
	lost := store.Task{SubmittedAt: reviewed, Uncertain: 2, Records: store.Counted(1), RecordRefs: "4"}
	for _, tt := range []struct {
		name      string
		traits    vendors.Traits
		task      store.Task
		state     store.State
		reason    vendors.Reason
		uncertain int
	}{
		{"nothing was submitted", byPreview, store.Task{}, store.Pending, "", 0},
		{"nothing was submitted to people", byPerson, store.Task{}, store.Pending, "", 0},
		{"accepted, can be asked", byPreview, sent, store.Pending, "", 0},
		{"uncertain, can be asked", byPreview, lost, store.Pending, "", 2},
		{"accepted, a repeat is harmless", byPoll, sent, store.Pending, "", 0},
		{"accepted, a repeat does harm", byPerson, sent, store.Held, UncertainSubmission, 1},
		{"uncertain, a repeat does harm", byPerson, lost, store.Held, UncertainSubmission, 2},
	} {
		task := tt.task
		task.State, task.Reason, task.Message, task.Attempts, task.Refused, task.CompletedAt = store.Failed, string(Refused), "before", 8, 2, reviewed
		got, words := Retry(task, tt.traits)
		want := tt.task
		want.State, want.Reason, want.Uncertain, want.Ready = tt.state, string(tt.reason), tt.uncertain, tt.state == store.Pending
		if diff := cmp.Diff(want, got); diff != "" || words == "" {
			t.Errorf("%s: %q %s", tt.name, words, diff)
		}
		if !store.MayFollow(store.Failed, got.State) {
			t.Errorf("%s: the store refuses failed to %v", tt.name, got.State)
		}
	}
}

// An approval covers the doubt that the person was told of. If a record that was the
// subject's when they approved is somebody else's by now, under the same number, submitting
// would erase a person whom nobody decided about (invariant 8).
func TestApprovalCoversItsDoubtOnly(t *testing.T) {
	for _, tt := range []struct {
		name   string
		why    vendors.Reason // for which it was held and approved
		before string         // the approval that it had then
		doubt  vendors.Reason // of the next preview, of the same records
		state  store.State
		reason vendors.Reason
	}{
		{"none, and none now", ApprovalRequired, "", "", store.Submitting, ""},
		{"none, and somebody else now", ApprovalRequired, "", vendors.SomebodyElse, store.Held, vendors.SomebodyElse},
		{"none, and an answer that contradicts itself now", ApprovalRequired, "", vendors.InconsistentAnswer, store.Held, vendors.InconsistentAnswer},
		{"that doubt", vendors.UnknownOwner, "", vendors.UnknownOwner, store.Submitting, ""},
		{"that doubt, which is over", vendors.UnknownOwner, "", "", store.Submitting, ""},
		{"a smaller doubt", vendors.UnknownOwner, "", vendors.SomebodyElse, store.Held, vendors.SomebodyElse},
		{"the change, and not whose it is", PreviewChanged, "", vendors.SomebodyElse, store.Held, vendors.SomebodyElse},
		{"a lost outcome, after the doubt", UnknownOutcome, approval(vendors.SomebodyElse, 1, "1"), vendors.SomebodyElse, store.Submitting, ""},
	} {
		p := Policy{Traits: byPreview, Retry: vendors.Retry{MaxAttempts: 8}, Manual: true}
		task := store.Task{State: store.Held, Reason: string(tt.why), Approval: tt.before, Records: store.Counted(1), RecordRefs: "1",
			PreviewedAt: reviewed.Add(-time.Hour), Uncertain: 1}
		task, _ = Approve(task, byPreview, reviewed)
		got := look(&p, task, vendors.Preview{Records: 1, Refs: []string{"1"}, Doubt: tt.doubt}, reviewed.Add(time.Minute))
		if got.State != tt.state || got.Reason != string(tt.reason) {
			t.Errorf("%s: %v %q, want %v %q", tt.name, got.State, got.Reason, tt.state, tt.reason)
		}
	}
}

// A person who decides about records that have changed must be told at once when one of
// them is somebody else's, and not only that they have changed.
func TestChangeDoesNotHideADoubt(t *testing.T) {
	p := Policy{Traits: byPreview, Retry: vendors.Retry{MaxAttempts: 8}}
	task := store.Task{PreviewedAt: reviewed.Add(-time.Hour), Records: store.Counted(1), RecordRefs: "1"}
	got := look(&p, task, vendors.Preview{Records: 2, Refs: []string{"1", "2"}, Doubt: vendors.SomebodyElse}, reviewed)
	if got.State != store.Held || got.Reason != string(vendors.SomebodyElse) {
		t.Errorf("%v %q", got.State, got.Reason)
	}
}

// Where a request was raised twice and one of them is found, the other may have arrived too,
// which the report goes on telling.
func TestAcceptedAfterResubmission(t *testing.T) {
	task := store.Task{State: store.Held, Reason: string(UncertainSubmission), Uncertain: 2, SubmittedAt: reviewed, Approval: "0:", Message: "after a resubmission: no answer"}
	got := Accepted(task, byPerson, "10090", reviewed.Add(time.Hour))
	want := store.Task{State: store.Waiting, Uncertain: 1, SubmittedAt: reviewed, Reference: "10090", Message: "a resubmission: an earlier request may have arrived too"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// A vendor's own doubt, which nobody here has heard of, is covered by the approval of a
// person who was told of it: they would be asked for ever.
func TestApprovalCoversAnyDoubt(t *testing.T) {
	for why := range vendorReasons {
		testCovered(t, why)
	}
	testCovered(t, "closed_account")
}

func testCovered(t *testing.T, doubt vendors.Reason) {
	p := Policy{Traits: byPreview, Retry: vendors.Retry{MaxAttempts: 8}}
	seen := vendors.Preview{Records: 1, Refs: []string{"7"}, Doubt: doubt}
	task := look(&p, store.Task{State: store.Pending}, seen, reviewed.Add(-time.Hour))
	if task.State != store.Held || task.Reason != string(doubt) {
		t.Fatalf("%s: %v %q", doubt, task.State, task.Reason)
	}
	task, _ = Approve(task, byPreview, reviewed)
	got := look(&p, task, seen, reviewed.Add(time.Minute))
	switch doubt {
	case vendors.NoAgent, vendors.ControlRecord: // the config has to name another
		if got.State != store.Held {
			t.Errorf("%s: approved, and %v", doubt, got.State)
		}
	default:
		if got.State != store.Submitting {
			t.Errorf("%s: approved, and the next preview of the same is %v %q", doubt, got.State, got.Reason)
		}
	}
}

// Records that a preview counts and does not list are bound too: an approval of five is none
// of fifty.
func TestApprovalCountsTheUnlisted(t *testing.T) {
	for records, want := range map[int]store.State{4: store.Submitting, 5: store.Submitting, 6: store.Held, 50: store.Held} {
		p := Policy{Traits: byPreview, Retry: vendors.Retry{MaxAttempts: 8}}
		task := store.Task{State: store.Held, Reason: string(vendors.InconsistentAnswer), Records: store.Counted(5), RecordRefs: "1;2", PreviewedAt: reviewed.Add(-time.Hour)}
		task, _ = Approve(task, byPreview, reviewed)
		got := look(&p, task, vendors.Preview{Records: records, Refs: []string{"1", "2"}, Doubt: vendors.InconsistentAnswer}, reviewed.Add(time.Minute))
		if got.State != want {
			t.Errorf("five were approved, and %d are %v %q", records, got.State, got.Reason)
		}
	}
}
