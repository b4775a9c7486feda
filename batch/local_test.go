package batch

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"expunge/batch/decide"
	"expunge/store"
	"expunge/vendors"
)

// A preview that asks nobody says nothing of the vendor's health, also where the task has a
// reference from a job that was lost. It must not count as an answer of a vendor that is
// down: its tasks would use up their attempts.
func TestLocalPreviewSaysNothingOfHealth(t *testing.T) {
	f := jobs("voyado", 1)
	f.vendor()
	l := &Lane{Account: &Account{Name: f.name}, Vendor: fakePoller{f}, brake: newBrake(), log: slog.New(slog.DiscardHandler), r: &runner{now: time.Now}}
	l.policy = decide.Policy{Traits: f.traits, DryRun: true, Retry: vendors.Retry{MaxAttempts: 4}}
	l.brake.kinds[looks].failures = 4
	task := store.Task{State: store.Pending, Ready: true, Reference: "voyado-1", Lost: 1}
	target := &vendors.Target{Ref: vendors.Ref{Field: vendors.Email}, Subject: vendors.Subject{{Field: vendors.Email, Text: person(1)}}, Reference: task.Reference}
	w := &taskWork{lane: l, task: task, stored: task.State, target: target}
	w.after(decide.StepPreview, w.ask(context.Background(), w.next(time.Now())), time.Now())
	if got := w.task; got.State != store.Previewed || f.count("preview", person(1)) != 1 {
		t.Fatalf("%v", got.State)
	}
	if l.brake.kinds[looks].failures != 4 || l.Calls.Load() != 0 {
		t.Errorf("%d failures in a row, %d calls", l.brake.kinds[looks].failures, l.Calls.Load())
	}
}
