package batch

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
		{vendors.MalformedKey, byPoll, store.Task{}, store.Pending, "0:", ""},
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
		{JobLost, byPoll, store.Task{SubmittedAt: reviewed, Reference: "j2", Lost: 2}, store.Pending, "0:", ""},
	}
	tested := map[vendors.Reason]bool{}
	for _, tt := range tests {
		tested[tt.why] = true
		task := tt.task
		task.State, task.Reason, task.Message, task.Attempts, task.Approval = store.Held, string(tt.why), "said before", 8, "1:9"
		got, words := approve(task, tt.traits, reviewed)
		want := task
		want.State, want.Ready, want.Approval, want.Reason, want.Attempts = tt.state, true, tt.approval, "", 0
		want.Message = got.Message
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
		p := policy{Traits: byPreview, maxAttempts: 8, manual: true}
		held := store.Task{State: store.Held, Reason: string(vendors.SomebodyElse), Records: store.Counted(2), RecordRefs: "1;2", PreviewedAt: reviewed.Add(-time.Hour)}
		task, _ := approve(held, byPreview, reviewed)
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
	p := policy{Traits: byPoll, maxAttempts: 8}
	task := store.Task{State: store.Held, Reason: string(NotDoneInTime), Reference: "j1", SubmittedAt: reviewed.Add(-48 * time.Hour)}
	task, _ = approve(task, byPoll, reviewed)
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
	p := policy{Traits: byPerson, maxAttempts: 8}
	task := store.Task{State: store.Held, Reason: string(UncertainSubmission), Uncertain: 1, SubmittedAt: reviewed}
	task, _ = approve(task, byPerson, reviewed)
	task = look(&p, task, vendors.Preview{}, reviewed)
	if task.State != store.Submitting {
		t.Fatalf("after the approval: %v", task.State)
	}
	waiting := p.afterSubmit(task, vendors.Receipt{Reference: "10090"}, reviewed)
	again := p.uncertain(task, vendors.ErrUnavailable, "no answer", reviewed)
	for name, got := range map[string]store.Task{
		"waiting": waiting, "confirmed": erased(waiting, store.Confirmed, reviewed),
		"uncertain again": again, "rejected": reject(again, reviewed),
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
		got := reject(task, reviewed)
		if got.State != store.Failed || got.Reason != string(Rejected) || got.Message != want || got.CompletedAt != reviewed || got.Approval != "" {
			t.Errorf("%q: %+v", want, got)
		}
	}
}
