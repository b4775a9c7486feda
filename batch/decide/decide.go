// Package decide is what becomes of tasks and of their exports. A decision is a function of
// what is known (the task, the vendor's traits, the configuration, the time) and of the
// answer to the step that was asked for; it returns an Outcome.
//
// The package calls nobody, writes nothing and starts nothing. What it imports keeps it so
// (TestCallsNobody): the types of store and vendors, and no package through which anything
// could act.
package decide

import (
	"errors"
	"time"

	"expunge/store"
	"expunge/vendors"
)

// previewAge is how old a preview may be when the submission rests on it (DESIGN.md,
// invariant 8).
const previewAge = time.Hour

// Policy is what decisions depend on besides the task and the answer.
type Policy struct {
	vendors.Traits
	vendors.Retry
	Manual  bool // every preview needs an approval
	DryRun  bool
	Exports vendors.Exports     // how exports are made; the zero value: none are
	rand    func(n int64) int64 // uniform in [0, n)
}

// Step is what a task, or an export, needs next: mostly one call.
type Step uint8

const (
	StepNone    Step = iota
	StepPreview      // look, and then perhaps submit
	StepIntend       // a preview that still holds: put the intent to submit on disk, if a submission can leave now
	StepSubmit       // the call for which the intent was just made
	StepResolve      // an intent without an outcome: nobody is asked
	StepPoll
	StepVerify

	StepCreateExport // ask for an export job
	StepPollExport
	StepFetchExport
)

// Answer is what came of a step: what the vendor said, or Err, why it did not.
type Answer struct {
	Preview  vendors.Preview
	Receipt  vendors.Receipt
	Progress vendors.Progress
	Export   *store.Export // of StepIntend: the export that comes before the submission, if any
	Before   time.Time     // of StepSubmit: when the submission before this one was made, if any
	Kept     Kept          // of StepFetchExport

	// Proof is, of a look by which the vendor holds nothing, what shows that it would have
	// shown what it holds. NoEvidence: nothing does, and the look says nothing.
	Proof store.Evidence

	Err     error
	Message string // what may be kept and shown of Err
	Blamed  bool   // Err is the task's own: the vendor has just done for others what it did not do for this one
	Nth     int    // how many calls of the kind have failed in a row
}

// Outcome is what a decision comes to: the task, or the export, as it is to be, and what
// follows.
type Outcome[T store.Task | store.Export] struct {
	To   T
	Then Then
}

// Then is what follows a decision.
type Then uint8

const (
	Finished   Then = iota // record it; there is nothing more to do now
	GoOn                   // record it; there is more to do at once
	Unrecorded             // there is more to do at once, and what comes of that is recorded
	Released               // record it; the next call cannot be made now
	PutBack                // no call could be made now, nothing has changed
)

// Next says which step a task needs.
func (p *Policy) Next(t *store.Task, now time.Time) Step {
	switch t.State {
	case store.Pending:
		return StepPreview
	case store.Previewed:
		empty := p.Remote && (t.Records.N == 0 && t.Approval == "" || t.Reason == string(NothingHeld))
		if !Stale(t, now) && !empty && !p.DryRun && (!p.Manual || p.approves(t, t.Records.N, t.RecordRefs)) {
			return StepIntend
		}
		return StepPreview
	case store.Submitting:
		return StepResolve
	case store.Waiting:
		if p.Completion == vendors.ByPoll {
			return StepPoll
		}
	case store.Verifying:
		return StepVerify
	}
	return StepNone
}

// ErrStale says that a submission did not leave: when its turn came the preview that it
// rests on was too old.
var ErrStale = errors.New("the preview is too old")

// Stale reports whether a submission of the task rests on a preview that is too old.
func Stale(t *store.Task, now time.Time) bool {
	age := now.Sub(t.PreviewedAt)
	return age < 0 || age > previewAge
}

// HeldBack reports whether a call did not take place for a reason that is not the task's:
// the run or the lane stops, the vendor asked for a pause, or it is parked.
func HeldBack(err error) bool {
	return errors.Is(err, vendors.ErrStopped) || errors.Is(err, vendors.ErrPaused)
}

// After decides what the answer to a step means for the task.
func (p *Policy) After(s Step, t store.Task, a Answer, now time.Time) Outcome[store.Task] {
	if HeldBack(a.Err) && s != StepSubmit {
		return Outcome[store.Task]{t, PutBack}
	}
	var n store.Task
	switch s {
	case StepPreview:
		if a.Err != nil {
			n = p.afterPreviewError(t, a, now)
		} else {
			n = p.afterPreview(t, a.Preview, a.Proof, now)
		}
	case StepIntend:
		n = p.Intend(t, a.Export, now)
	case StepSubmit:
		if vendors.Harmless(a.Err) {
			t.SubmittedAt = a.Before
		}
		switch {
		case a.Err == nil:
			n = p.afterSubmit(t, a.Receipt, now)
		case HeldBack(a.Err) && vendors.Harmless(a.Err):
			// It never left: back to where it was, at no cost.
			return Outcome[store.Task]{ready(t, store.Pending), Released}
		case errors.Is(a.Err, ErrStale):
			n = ready(t, store.Pending)
		default:
			n = p.afterSubmitError(t, a, now)
		}
	case StepResolve:
		n = p.uncertain(t, Answer{}, now)
	case StepPoll:
		if a.Err != nil {
			n = p.afterPollError(t, a, now)
		} else {
			n = p.afterPoll(t, a.Progress, now)
		}
	case StepVerify:
		if a.Err != nil {
			n = p.afterVerifyError(t, a, now)
		} else {
			n = p.afterVerify(t, a.Preview, a.Proof, now)
		}
	default:
		return Outcome[store.Task]{t, PutBack}
	}
	switch {
	case n.State == store.Previewed && p.DryRun || !n.Ready:
		return Outcome[store.Task]{n, Finished}
	case n.State == store.Previewed:
		return Outcome[store.Task]{n, Unrecorded} // the intent, or what else follows at once, has all of it
	}
	return Outcome[store.Task]{n, GoOn}
}
