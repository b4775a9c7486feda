package batch

import (
	"context"
	"errors"
	"fmt"
	"time"

	"expunge/batch/decide"
	"expunge/batch/exports"
	"expunge/batch/words"
	"expunge/store"
	"expunge/vendors"
)

// This file has the two kinds of a lane's work: tasks, and the exports of tasks.

// taskQueue is a lane's tasks.
type taskQueue struct {
	lane      *Lane
	cursor    store.Cursor
	exhausted bool // no ready task is left; none becomes ready within a run
}

// claim takes the tasks that are due and those that are ready, the most urgent first.
func (k *taskQueue) claim(ctx context.Context, now time.Time, limit int, claimed map[workKey]struct{}) ([]work, error) {
	l := k.lane
	var all []work
	add := func(from []store.Work) error {
		for i := range from {
			w := &from[i]
			_, task := claimed[workKey{task: w.ID}]
			_, export := claimed[workKey{task: w.ID, export: true}]
			if task || export || w.State > l.lastState() {
				continue
			}
			t, err := l.target(w)
			if err != nil {
				return err
			}
			all = append(all, &taskWork{lane: l, task: w.Task, stored: w.State, target: t})
		}
		return nil
	}
	due, err := l.r.store.ClaimDue(ctx, l.id, now, l.lastState(), limit+len(claimed))
	if err != nil {
		return nil, err
	}
	if err := add(due); err != nil {
		return nil, err
	}
	for len(all) < limit && !k.exhausted {
		ready, err := l.r.store.ClaimReady(ctx, l.id, &k.cursor, limit)
		if err != nil {
			return nil, err
		}
		k.exhausted = len(ready) < limit
		if err := add(ready); err != nil {
			return nil, err
		}
	}
	return all, nil
}

func (k *taskQueue) nextAt(ctx context.Context, now time.Time) (time.Time, bool, error) {
	return k.lane.r.store.NextAt(ctx, k.lane.id, now, k.lane.lastState())
}

// target is what a vendor is told of a claimed task.
func (l *Lane) target(w *store.Work) (*vendors.Target, error) {
	subject, err := vendors.ParseSubject(w.Plain)
	if err != nil {
		return nil, fmt.Errorf("task %d: %w", w.ID, err)
	}
	return &vendors.Target{Ref: vendors.Ref{Field: vendors.Field(w.Field), Nth: w.Nth}, Subject: subject, ReceivedAt: w.ReceivedAt}, nil
}

// taskWork is the work on one task.
type taskWork struct {
	lane   *Lane
	task   store.Task
	stored store.State // what the store has: behind task where that is not recorded
	target *vendors.Target

	intended bool      // the intent is on disk, and the call for it has not been made yet
	before   time.Time // when the submission before this one was made
	pass     pass      // of the submission, or of the answer that was put aside

	odd     error          // an answer that was put aside and may be an error
	settled *decide.Answer // what it has come to
}

func (w *taskWork) key() workKey   { return workKey{task: w.task.ID} }
func (w *taskWork) subject() int64 { return w.task.SubjectRow() }
func (w *taskWork) due() time.Time { return w.task.DueAt }

func (w *taskWork) next(now time.Time) decide.Step {
	if w.intended {
		return decide.StepSubmit
	}
	return w.lane.policy.Next(&w.task, now)
}

func (w *taskWork) ask(ctx context.Context, s decide.Step) decide.Answer {
	l := w.lane
	w.target.Hint, w.target.Reference = w.task.Hint, w.task.Reference
	switch s {
	case decide.StepResolve:
		return decide.Answer{}
	case decide.StepPreview:
		w.target.Reference = "" // of a job that is no more
		if !l.policy.Remote {
			// It asks nobody, and so says nothing of the vendor's health.
			pv, err := l.Vendor.Preview(ctx, w.target)
			return w.answered(decide.Answer{Preview: pv}, called{err, finding{Blamed: true}})
		}
		return w.look(ctx)
	case decide.StepVerify:
		return w.look(ctx)
	case decide.StepPoll:
		poller, ok := l.Vendor.(vendors.Poller)
		if !ok {
			l.r.fail(fmt.Errorf("vendor %s: its kind cannot be polled", l.Name))
			return decide.Answer{Err: errCut}
		}
		pg, c := call(ctx, l, w.task.ID, w.target, poller.Poll)
		pg.Status = words.Vendor(pg.Status, w.target.Subject)
		return w.answered(decide.Answer{Progress: pg}, c)
	case decide.StepIntend:
		export, err := w.exportFirst(ctx)
		if err == nil && l.policy.Intend(w.task, export, l.r.now()).State == store.Submitting {
			w.pass, err = l.canSubmit(ctx)
		}
		return decide.Answer{Export: export, Err: err}
	case decide.StepSubmit:
		w.intended = false
		if err := l.announce(ctx); err != nil {
			l.ended(w.pass, 0, errCut)
			return decide.Answer{Err: errCut}
		}
		rc, err := l.Vendor.Submit(vendors.AtDeparture(ctx, w.mayDepart), w.target)
		c := called{err, l.ended(w.pass, w.task.ID, err)}
		if err == nil {
			l.remember(w.task.ID)
		}
		return w.answered(decide.Answer{Receipt: rc, Before: w.before}, c)
	}
	l.r.fail(fmt.Errorf("task %d in state %v was claimed and has nothing to do", w.task.ID, w.task.State))
	return decide.Answer{Err: errCut}
}

// answered adds to an answer how the call for it went. Where one task alone is left, its
// failures are its own if some were before: others were accepted then.
func (w *taskWork) answered(a decide.Answer, c called) decide.Answer {
	c.Blamed = c.Blamed || c.Alone && w.task.Attempts > 0 && w.task.State != store.Waiting // a job is asked for until it is given up
	return withCall(a, c, w.target.Subject)
}

func withCall(a decide.Answer, c called, s vendors.Subject) decide.Answer {
	a.Err, a.Message, a.Blamed, a.Nth = c.err, words.OfError(c.err, s), c.Blamed, c.Nth
	return a
}

// mayDepart is asked at the moment when the submission is about to leave.
func (w *taskWork) mayDepart() error {
	l := w.lane
	switch {
	case l.isStopped():
		return vendors.ErrStopped
	case l.Remote && decide.Stale(&w.task, l.r.now()):
		return decide.ErrStale
	}
	return nil
}

func (w *taskWork) after(s decide.Step, a decide.Answer, now time.Time) decide.Then {
	out := w.lane.policy.After(s, w.task, a, now)
	w.intended = s == decide.StepIntend && out.To.State == store.Submitting
	if w.intended {
		w.before = w.task.SubmittedAt
	}
	w.task = out.To
	return out.Then
}

// record hands a change to the store. An intent is on disk before its call leaves, and what
// carries a reference before anything else happens to the task; the rest is in the
// next commit.
func (w *taskWork) record(onDisk func(error)) error {
	w.lane.count(w.stored, &w.task)
	ch := store.Change{From: w.stored, Task: w.task}
	w.stored = w.task.State
	if ch.State == store.Submitting || ch.From == store.Submitting && ch.Reference != "" {
		err := w.lane.r.store.Apply(ch)
		if g := (*store.GivenError)(nil); errors.As(err, &g) {
			err = w.doubted(ch, g)
		}
		onDisk(err)
		return err
	}
	if ch.From == store.Waiting {
		// Somebody else may have been given its reference since it was claimed.
		w.lane.r.store.ApplyLater(ch, func(err error) { onDisk(w.lane.unlessDoubted(ch.ID, err)) })
		return nil
	}
	w.lane.r.store.ApplyLater(ch, onDisk)
	return nil
}

// exportFirst sees to the export that comes before a submission, and returns it; nil where
// there is to be none.
func (w *taskWork) exportFirst(ctx context.Context) (*store.Export, error) {
	l := w.lane
	if l.vault == nil || l.policy.Exports.Mode == vendors.NoExport {
		return nil, nil
	}
	e, ok, err := l.r.store.ExportOf(ctx, w.task.ID)
	if err == nil && !ok {
		// The intent is on disk before the vendor is asked.
		e = store.Export{Task: w.task.ID, Vendor: l.id}
		err = l.r.store.Apply(store.ExportChange{New: true, Export: e})
	}
	if err != nil {
		if ctx.Err() == nil {
			l.r.fail(err)
		}
		return nil, errCut
	}
	if e.State != store.ExportCreating || !e.NextAt.IsZero() {
		return &e, nil
	}
	x := &exportWork{lane: l, export: e, stored: e, task: w.task, target: w.target}
	a := x.ask(ctx, decide.StepCreateExport)
	if x.after(decide.StepCreateExport, a, l.r.now()) == decide.PutBack {
		return nil, a.Err
	}
	e = x.export
	if e.State == store.ExportCreating {
		x.export.NextAt = time.Time{} // it is this task that comes back
	}
	if err := x.record(l.failed); err != nil {
		return nil, errCut
	}
	return &e, nil
}

// exportQueue is the exports of a lane's tasks.
type exportQueue struct{ lane *Lane }

// claim takes the exports that are due. One whose task is claimed waits for its turn: the
// two decide by each other's state.
func (k exportQueue) claim(ctx context.Context, now time.Time, limit int, claimed map[workKey]struct{}) ([]work, error) {
	l := k.lane
	due, err := l.r.store.ClaimExports(ctx, l.id, now, limit+len(claimed))
	if err != nil {
		return nil, err
	}
	var all []work
	for i := range due {
		d := &due[i]
		_, task := claimed[workKey{task: d.Task}]
		_, export := claimed[workKey{task: d.Task, export: true}]
		if task || export {
			continue
		}
		t, err := l.target(&d.Of)
		if err != nil {
			return nil, err
		}
		all = append(all, &exportWork{lane: l, export: d.Export, stored: d.Export, task: d.Of.Task, target: t})
	}
	return all, nil
}

func (k exportQueue) nextAt(ctx context.Context, now time.Time) (time.Time, bool, error) {
	return k.lane.r.store.NextExportAt(ctx, k.lane.id, now)
}

// exportWork is the work on the export of one task. What a vendor hands out is fetched
// once: it goes encrypted into the vault (package exports), and is looked for there before
// it is ever fetched again.
type exportWork struct {
	lane   *Lane
	export store.Export
	stored store.Export // as the store has it
	task   store.Task   // as it was when the export was claimed
	target *vendors.Target
}

func (w *exportWork) key() workKey                   { return workKey{task: w.task.ID, export: true} }
func (w *exportWork) subject() int64                 { return w.task.SubjectRow() }
func (w *exportWork) due() time.Time                 { return w.task.DueAt }
func (w *exportWork) next(now time.Time) decide.Step { return decide.NextExport(&w.export) }

func (w *exportWork) ask(ctx context.Context, s decide.Step) decide.Answer {
	l := w.lane
	x := l.Vendor.(vendors.Exporter) // openExports has looked
	w.target.Hint, w.target.Reference = w.task.Hint, w.export.Reference
	switch s {
	case decide.StepCreateExport:
		if w.target.Identifier() == "" || w.task.State == store.Erased {
			return decide.Answer{Err: decide.ErrRemoved, Message: decide.ErrRemoved.Error()}
		}
		rc, c := call(ctx, l, w.task.ID, w.target, x.CreateExport)
		return w.answered(decide.Answer{Receipt: rc}, c)
	case decide.StepPollExport:
		// A process that died with the whole result on disk has often not yet recorded that
		// the job was done, and the vendor has forgotten it.
		if _, ok, err := l.vault.Find(l.Name, w.export.Reference); ok && err == nil {
			return decide.Answer{Progress: vendors.Progress{Job: vendors.JobDone}}
		}
		pg, c := call(ctx, l, w.task.ID, w.target, x.PollExport)
		pg.Status = words.Vendor(pg.Status, w.target.Subject)
		return w.answered(decide.Answer{Progress: pg}, c)
	case decide.StepFetchExport:
		return w.fetch(ctx, x)
	}
	l.r.fail(fmt.Errorf("the export of task %d is %v and has nothing to do", w.export.Task, w.export.State))
	return decide.Answer{Err: errCut}
}

func (w *exportWork) answered(a decide.Answer, c called) decide.Answer {
	return withCall(a, c, w.target.Subject)
}

// fetch gets the result into the vault, unless it is there.
func (w *exportWork) fetch(ctx context.Context, x vendors.Exporter) decide.Answer {
	l, reference := w.lane, w.export.Reference
	ours := func(err error) decide.Answer {
		// The disk, or somebody who changed what is in the vault: not the vendor's fault.
		l.log.Warn("an export cannot be kept", "vendor", l.Name, "task", w.export.Task, "error", err.Error())
		return decide.Answer{Err: err, Message: words.Clip("it cannot be kept: " + err.Error())}
	}
	k, ok, err := l.vault.Find(l.Name, reference)
	if err != nil {
		return ours(err)
	}
	if ok {
		return decide.Answer{Kept: keptOf(k)}
	}
	p, err := l.pass(ctx, looks)
	if err != nil {
		return decide.Answer{Err: err}
	}
	in, err := l.vault.Receive(l.Name, reference)
	if err != nil {
		l.ended(p, 0, errCut) // the call was not made
		return ours(err)
	}
	err = x.FetchExport(ctx, w.target, in)
	if own := in.Err(); own != nil {
		l.ended(p, w.task.ID, nil) // the vendor did answer
		in.Discard()
		return ours(own)
	}
	c := called{err, l.ended(p, w.task.ID, err)}
	if err != nil {
		in.Discard()
		return w.answered(decide.Answer{}, c)
	}
	k, err = in.Keep()
	switch {
	case errors.Is(err, exports.ErrNotExport):
		return decide.Answer{Err: fmt.Errorf("%w: %w", decide.ErrDamaged, err), Message: words.Clip(err.Error())}
	case err != nil:
		return ours(err)
	}
	return decide.Answer{Kept: keptOf(k)}
}

func keptOf(k exports.Kept) decide.Kept {
	return decide.Kept{File: k.File, Bytes: k.Bytes, SHA256: k.SHA256, Files: k.Files, Empty: k.Empty}
}

func (w *exportWork) after(s decide.Step, a decide.Answer, now time.Time) decide.Then {
	out := w.lane.policy.AfterExport(s, w.export, &w.task, a, now)
	w.export = out.To
	return out.Then
}

// record hands a change to the store. What cannot be had a second time is on disk before it
// returns: a job's reference, and that a result is ours.
func (w *exportWork) record(onDisk func(error)) error {
	l, from, to := w.lane, w.stored, w.export
	w.stored = to
	if to.State == store.ExportFailed {
		l.log.Warn("export failed", "vendor", l.Name, "task", to.Task, "reason", to.Reason, "because", to.Message)
	} else {
		l.log.Debug("export", "task", to.Task, "from", from.State.String(), "state", to.State.String())
	}
	if from.Reference != "" && (to.State == store.ExportFailed || to.State == store.ExportCreating) {
		// Of a job that is given up nothing unfinished stays behind.
		if err := l.vault.Drop(l.Name, from.Reference); err != nil {
			l.log.Warn("what is left of an export cannot be removed", "vendor", l.Name, "task", to.Task, "error", err.Error())
		}
	}
	ch := store.ExportChange{From: from.State, Wake: to.State.Final() || from.State == store.ExportCreating && from.Lost+from.Damaged > 0, Export: to}
	if to.State.Final() || to.Reference != from.Reference {
		err := l.r.store.Apply(ch)
		onDisk(err)
		return err
	}
	l.r.store.ApplyLater(ch, onDisk)
	return nil
}

// ErrExportDir: exports are wanted and could not be kept. Nothing has been sent.
var ErrExportDir = errors.New("exports cannot be kept")

// openExports makes the lane ready for exports, if the configuration wants them or some
// are open from a time when it did.
func (l *Lane) openExports(ctx context.Context) error {
	v, ok := l.Vendor.(vendors.Exporter)
	if !ok || l.r.dryRun {
		return nil
	}
	x := v.Exports()
	if x.Mode == vendors.NoExport {
		open, err := l.r.store.OpenExports(ctx, l.id)
		if err != nil || open == 0 {
			return err
		}
		if len(x.Recipients) == 0 {
			l.log.Warn("exports are open and cannot be kept: the config has no export_recipients", "vendor", l.Name, "exports", open)
			return nil
		}
	}
	vault, err := exports.Open(x.Dir, x.Recipients, l.r.now)
	if err != nil {
		return fmt.Errorf("vendor %s: %w: %w", l.Name, ErrExportDir, err)
	}
	l.vault, l.policy.Exports = vault, x
	l.queues = append(l.queues, exportQueue{l})
	return nil
}
