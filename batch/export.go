package batch

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"expunge/batch/exports"
	"expunge/store"
	"expunge/vendors"
)

// This file is what a lane does about exports: what a vendor hands out about a person
// before it removes them.
//
// The first job is asked for by the task's own work, right before its submission; from its
// acceptance on the export has a life of its own, with its own row in the store, which the
// lane's workers look after between tasks. A task that must wait for its export is parked,
// and woken by the export's end.
//
// An export job changes nothing, so that an uncertain one is simply made again. What it
// hands out is fetched once: it goes encrypted into the vault (package exports), and is
// looked for there before it is ever fetched again.

// exporter is what a lane with exports has.
type exporter struct {
	vendors.Exporter
	vendors.Exports
	vault *exports.Vault
}

// Limits of a job that has to be made again, and of a result that is no zip: at the second
// one the export has failed.
const (
	maxLost    = 2
	maxDamaged = 2
)

// withoutExport begins the approval of a removal whose export failed.
const withoutExport = "without export;"

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
	l.exports = &exporter{v, x, vault}
	return nil
}

// exportKey is under which an export flies, beside its task's own id.
func exportKey(task int64) int64 { return -task }

// workKey is under which claimed work flies.
func workKey(w *store.Work) int64 {
	if w.Export != nil {
		return exportKey(w.ID)
	}
	return w.ID
}

// claimExports adds the exports that are due. One whose task is claimed or in the air waits
// for its turn: the two decide by each other's state.
func (l *Lane) claimExports(ctx context.Context, now time.Time, all []store.Work, flying map[int64]struct{}, limit int) ([]store.Work, error) {
	if l.exports == nil {
		return all, nil
	}
	due, err := l.r.store.ClaimExports(ctx, l.id, now, limit+len(flying))
	if err != nil {
		return nil, err
	}
	claimed := make(map[int64]bool, len(all))
	for _, w := range all {
		claimed[w.ID] = true
	}
	for _, w := range due {
		_, task := flying[w.ID]
		_, export := flying[exportKey(w.ID)]
		if !task && !export && !claimed[w.ID] {
			all = append(all, w)
		}
	}
	return all, nil
}

// nextAt is when something of the lane is due next.
func (l *Lane) nextAt(ctx context.Context, now time.Time) (next time.Time, ok bool, err error) {
	next, ok, err = l.r.store.NextAt(ctx, l.id, now, l.upTo())
	if err != nil || l.exports == nil {
		return next, ok, err
	}
	export, also, err := l.r.store.NextExportAt(ctx, l.id, now)
	if also && (!ok || export.Before(next)) {
		next, ok = export, true
	}
	return next, ok, err
}

// exportFirst sees to the export that comes before a submission. submit is true where the
// submission may follow now; otherwise n and then say what becomes of the task.
func (l *Lane) exportFirst(ctx context.Context, t *store.Task, intent store.Task, target *vendors.Target) (n store.Task, th then, submit bool) {
	x := l.exports
	if x == nil || x.Mode == vendors.NoExport {
		return n, 0, true
	}
	e, ok, err := l.r.store.ExportOf(ctx, t.ID)
	if err == nil && !ok {
		// The intent is on disk before the vendor is asked.
		e = store.Export{Task: t.ID, Vendor: l.id}
		err = l.r.store.ApplyExport(store.ExportChange{New: true, Export: e})
	}
	if err != nil {
		if ctx.Err() == nil {
			l.r.fail(err)
		}
		return *t, putBack, false
	}
	if e.State == store.ExportCreating && e.NextAt.IsZero() {
		made, done := l.stepExport(ctx, e, t, target)
		if !done {
			return *t, putBack, false
		}
		wait := made.NextAt
		if made.State == store.ExportCreating {
			made.NextAt = time.Time{} // it is this task that comes back
		}
		if err := l.recordExport(e, made, nil); err != nil {
			return *t, putBack, false
		}
		e = made
		e.NextAt = wait
	}
	n, submit = l.policy.afterExport(*t, intent, &e, x.Mode, l.r.now())
	return n, l.whatNext(&n), submit
}

// afterExport decides what the state of its export means for a task that is about to be
// submitted.
func (p *policy) afterExport(t, intent store.Task, e *store.Export, mode vendors.ExportMode, now time.Time) (n store.Task, submit bool) {
	wait := false
	switch {
	case submitted(&t):
		// The vendor may have removed already: there is nothing left to wait for.
	case e.State == store.ExportFailed:
		if mode == vendors.ExportRequired && !strings.HasPrefix(intent.Approval, withoutExport) {
			intent.SubmittedAt, intent.Approval = t.SubmittedAt, ""
			return held(intent, ExportFailed, exportFailure(e)), false
		}
	case e.State == store.ExportCreating:
		wait = true
	case !e.State.Final():
		wait = mode == vendors.ExportRequired
	}
	if !wait {
		return intent, true
	}
	intent.SubmittedAt = t.SubmittedAt
	intent.Reason, intent.Message = string(ExportOpen), ""
	// A second more, so that the export is looked at first; its end wakes the task anyway.
	return later(intent, store.Pending, now, max(0, e.NextAt.Sub(now))+time.Second), false
}

// processExport takes an export as far as it goes now.
func (l *Lane) processExport(ctx context.Context, w store.Work) {
	l.r.store.Working(1)
	defer l.r.store.Working(-1)
	subject, err := vendors.ParseSubject(w.Plain)
	if err != nil {
		l.r.fail(fmt.Errorf("task %d: %w", w.ID, err))
		l.landed(workKey(&w))
		return
	}
	target := &vendors.Target{Ref: vendors.Ref{Field: vendors.Field(w.Field), Nth: w.Nth}, Subject: subject}
	e := *w.Export
	for {
		if ctx.Err() != nil || l.isStopped() || l.late() || l.awaits() {
			break
		}
		n, done := l.stepExport(ctx, e, &w.Task, target)
		if !done {
			break
		}
		if n.State.Final() || n.NextAt.After(l.r.now()) {
			l.recordExport(e, n, func() { l.landed(workKey(&w)) })
			return
		}
		if err := l.recordExport(e, n, nil); err != nil {
			l.landed(workKey(&w))
			return
		}
		e = n
	}
	w.Export = &e
	l.giveBack(w)
}

// recordExport hands a change to the store. What cannot be had a second time is on disk
// before it returns: a job's reference, and that a result is ours.
func (l *Lane) recordExport(from, to store.Export, landed func()) error {
	after := func(err error) {
		if err != nil {
			l.r.fail(err)
		}
		if landed != nil {
			landed()
		}
	}
	if to.State == store.ExportFailed {
		l.log.Warn("export failed", "vendor", l.Name, "task", to.Task, "reason", to.Reason, "because", to.Message)
	} else {
		l.log.Debug("export", "task", to.Task, "from", from.State.String(), "state", to.State.String())
	}
	if from.Reference != "" && (to.State == store.ExportFailed || to.State == store.ExportCreating) {
		// Of a job that is given up nothing unfinished stays behind.
		if err := l.exports.vault.Drop(l.Name, from.Reference); err != nil {
			l.log.Warn("what is left of an export cannot be removed", "vendor", l.Name, "task", to.Task, "error", err.Error())
		}
	}
	ch := store.ExportChange{From: from.State, Wake: to.State.Final() || from.State == store.ExportCreating && from.Lost+from.Damaged > 0, Export: to}
	if to.State.Final() || to.Reference != from.Reference {
		err := l.r.store.ApplyExport(ch)
		after(err)
		return err
	}
	l.r.store.ApplyExportLater(ch, after)
	return nil
}

// stepExport makes the export's next call and returns what becomes of it. done is false
// where no call could be made now.
func (l *Lane) stepExport(ctx context.Context, e store.Export, t *store.Task, target *vendors.Target) (n store.Export, done bool) {
	p, x := &l.policy, l.exports
	target.Reference = e.Reference
	fail := func(err error) (store.Export, bool) {
		if l.holdsBack(err) {
			return e, false
		}
		n := p.afterExportError(e, err, messageOf(err, target.Subject), x.FetchWithin, l.r.now())
		return n, true
	}
	switch e.State {
	case store.ExportCreating:
		if target.Identifier() == "" || t.State == store.Erased {
			return endExport(e, ExportFailed, "a new job cannot be made: the vendor has removed the person", l.r.now()), true
		}
		rc, err := exportCall(l, func() (vendors.Receipt, error) { return x.CreateExport(ctx, target) })
		if err != nil {
			return fail(err)
		}
		return p.afterExportCreated(e, rc, x.FetchWithin, l.r.now()), true
	case store.ExportWaiting:
		// A process that died with the whole result on disk has often not yet recorded that
		// the job was done, and the vendor has forgotten it.
		if _, ok, err := x.vault.Find(l.Name, e.Reference); ok && err == nil {
			return p.afterExportPoll(e, vendors.Progress{Job: vendors.JobDone}, x.FetchWithin, l.r.now()), true
		}
		pg, err := exportCall(l, func() (vendors.Progress, error) { return x.PollExport(ctx, target) })
		if err != nil {
			return fail(err)
		}
		pg.Status = vendorWords(pg.Status, target.Subject)
		return p.afterExportPoll(e, pg, x.FetchWithin, l.r.now()), true
	case store.ExportReady:
		return l.fetchExport(ctx, e, t, target, fail)
	}
	l.r.fail(fmt.Errorf("the export of task %d is %v and has nothing to do", e.Task, e.State))
	return e, false
}

// fetchExport gets the result into the vault, unless it is there.
func (l *Lane) fetchExport(ctx context.Context, e store.Export, t *store.Task, target *vendors.Target, fail func(error) (store.Export, bool)) (store.Export, bool) {
	p, x := &l.policy, l.exports
	ours := func(err error) (store.Export, bool) {
		// The disk, or somebody who changed what is in the vault: not the vendor's fault.
		l.log.Warn("an export cannot be kept", "vendor", l.Name, "task", e.Task, "error", err.Error())
		n := p.afterExportError(e, err, clip("it cannot be kept: "+err.Error()), x.FetchWithin, l.r.now())
		return n, true
	}
	kept, ok, err := x.vault.Find(l.Name, e.Reference)
	if err != nil {
		return ours(err)
	}
	if ok {
		return afterExportKept(e, t, kept, l.r.now()), true
	}
	if ok, _ := l.breaker.allow(l.r.now()); !ok {
		return e, false
	}
	in, err := x.vault.Receive(l.Name, e.Reference)
	if err != nil {
		l.called(errCut) // the call that the breaker let through was not made
		return ours(err)
	}
	err = x.FetchExport(ctx, target, in)
	if own := in.Err(); own != nil {
		l.called(nil) // the vendor did answer
		in.Discard()
		return ours(own)
	}
	l.called(err)
	if err != nil {
		in.Discard()
		return fail(err)
	}
	kept, err = in.Keep()
	switch {
	case errors.Is(err, exports.ErrNotExport):
		return p.afterExportDamaged(e, err, l.r.now()), true
	case err != nil:
		return ours(err)
	}
	return afterExportKept(e, t, kept, l.r.now()), true
}

// exportCall makes one call that changes nothing at the vendor.
func exportCall[T any](l *Lane, fn func() (T, error)) (T, error) {
	if ok, _ := l.breaker.allow(l.r.now()); !ok {
		var none T
		return none, errParked
	}
	v, err := fn()
	l.called(err)
	return v, err
}

// The functions below return the export as it is to be after an answer. They change nothing
// else.

func endExport(e store.Export, why vendors.Reason, message string, now time.Time) store.Export {
	e.State, e.Reason, e.Message = store.ExportFailed, string(why), message
	e.NextAt, e.EndedAt = time.Time{}, now
	return e
}

// afterExportCreated is the export after the vendor has made a job.
func (p *policy) afterExportCreated(e store.Export, rc vendors.Receipt, within time.Duration, now time.Time) store.Export {
	e.State, e.Reference, e.CreatedAt, e.DoneAt = store.ExportWaiting, rc.Reference, now, time.Time{}
	e.Attempts, e.Message = 0, ""
	e.NextAt = now.Add(exportPause(p.FirstPoll, within))
	return e
}

// exportPause keeps the time between two looks well below the time in which a result can
// be fetched, whatever is configured for removals.
func exportPause(configured, within time.Duration) time.Duration {
	if within > 0 {
		return min(configured, within/4)
	}
	return configured
}

// afterExportPoll decides what a job's status means.
func (p *policy) afterExportPoll(e store.Export, pg vendors.Progress, within time.Duration, now time.Time) store.Export {
	e.Attempts, e.Message = 0, "the vendor says: "+pg.Status
	switch pg.Job {
	case vendors.JobDone:
		if e.DoneAt.IsZero() {
			e.DoneAt = now
		}
		e.State, e.NextAt, e.Message = store.ExportReady, now, ""
		return e
	case vendors.JobFailed, vendors.JobLost:
		if p.expired(&e, within, now) {
			return endExport(e, ExportExpired, e.Message, now)
		}
		return again(e, now)
	}
	if p.GiveUpAfter > 0 && now.Sub(e.CreatedAt) > p.GiveUpAfter {
		return endExport(e, ExportFailed, "not done after give_up_after; "+e.Message, now)
	}
	e.NextAt = now.Add(exportPause(p.PollEvery, within))
	return e
}

// again asks for a new job in place of one that is lost, once.
func again(e store.Export, now time.Time) store.Export {
	if e.Lost++; e.Lost >= maxLost {
		return endExport(e, ExportFailed, "a second job was lost: "+e.Message, now)
	}
	e.State, e.NextAt, e.DoneAt, e.Attempts = store.ExportCreating, now, time.Time{}, 0
	return e
}

// expired reports whether the time in which a result can be fetched is over: a while after
// the job was first seen done, or after it must have been, if nobody looked for so long.
func (p *policy) expired(e *store.Export, within time.Duration, now time.Time) bool {
	switch {
	case within <= 0 || e.CreatedAt.IsZero():
		return false
	case e.DoneAt.IsZero():
		return now.Sub(e.CreatedAt) > p.LeadTime+within
	}
	return now.Sub(e.DoneAt) > within
}

// afterExportError decides what a call without a useful answer means. A job that was
// accepted is asked about until give_up_after, and a result fetched until the vendor drops
// it: no number of failures makes it less worth having.
func (p *policy) afterExportError(e store.Export, err error, message string, within time.Duration, now time.Time) store.Export {
	refused := errors.Is(err, vendors.ErrRefused)
	if counts(err) {
		e.Attempts++
	}
	e.Message = message
	switch {
	case e.State == store.ExportCreating && (refused || e.Attempts >= p.maxAttempts):
		return endExport(e, ExportFailed, message, now)
	case !e.DoneAt.IsZero() && p.expired(&e, within, now):
		return endExport(e, ExportExpired, message, now)
	case e.State == store.ExportWaiting && p.GiveUpAfter > 0 && now.Sub(e.CreatedAt) > p.GiveUpAfter:
		return endExport(e, ExportFailed, message, now)
	case e.State == store.ExportReady && (refused || errors.Is(err, vendors.ErrUnreadable)):
		e.State = store.ExportWaiting // what has become of it?
	}
	e.NextAt = now.Add(max(p.backoff(max(e.Attempts, 1), err), time.Second))
	return e
}

// afterExportDamaged decides what a result means that is no zip.
func (p *policy) afterExportDamaged(e store.Export, err error, now time.Time) store.Export {
	e.Message = clip(err.Error())
	if e.Damaged++; e.Damaged >= maxDamaged {
		return endExport(e, ExportFailed, "twice: "+e.Message, now)
	}
	e.State, e.NextAt = store.ExportWaiting, now.Add(max(p.backoff(1, nil), time.Second))
	return e
}

// afterExportKept is the export when its result is on disk.
func afterExportKept(e store.Export, t *store.Task, k exports.Kept, now time.Time) store.Export {
	// A job that had to be made again after the removal was submitted sees what the removal
	// has left.
	late := e.Lost+e.Damaged > 0 && submitted(t)
	e.Message = ""
	if late {
		e.Message = "made after the removal was submitted"
	}
	if k.Empty && late {
		return endExport(e, ExportFailed, "empty, and "+e.Message+": that says nothing of what was held before", now)
	}
	e.NextAt, e.EndedAt, e.Attempts = time.Time{}, now, 0
	if k.Empty {
		e.State = store.ExportEmpty
		return e
	}
	e.State = store.ExportStored
	e.File, e.Bytes, e.SHA256, e.Files = k.File, k.Bytes, k.SHA256, k.Files
	return e
}

// exportFailure is what a held task says of its export.
func exportFailure(e *store.Export) string {
	return strings.TrimSuffix(cmp.Or(e.Reason, string(ExportFailed))+": "+e.Message, ": ")
}

// exportText is what the report's message says of an export.
func exportText(e *store.Export) string {
	if e == nil {
		return ""
	}
	text := "export: "
	switch e.State {
	case store.ExportCreating:
		text += "not accepted yet"
	case store.ExportWaiting:
		text += "waiting, job " + e.Reference
	case store.ExportReady:
		text += "done since " + timeText(e.DoneAt) + " and to be fetched, job " + e.Reference
	case store.ExportStored:
		text += fmt.Sprintf("%s sha256 %s %d bytes %d files", e.File, e.SHA256, e.Bytes, e.Files)
	case store.ExportEmpty:
		text += "empty (nothing was held)"
	case store.ExportFailed:
		text += "failed (" + e.Reason + ")"
	}
	if e.Message != "" {
		text += "; " + e.Message
	}
	return text
}

// withExport is a task's message with that of its export.
func withExport(message string, e *store.Export) string {
	export := exportText(e)
	if message == "" || export == "" {
		return message + export
	}
	return message + "; " + export
}

// ExportStatus is where a vendor's exports stand.
type ExportStatus struct {
	States  map[string]int64 `json:"states"`
	Open    int64            `json:"open"`
	Failed  map[string]int64 `json:"failed"`   // by reason
	Next    *time.Time       `json:"next_at"`  // the next look
	FetchBy *time.Time       `json:"fetch_by"` // until then the first of those that are done can be fetched
}

// exportStatus makes one of the tallies of a vendor; nil where it has no exports.
func exportStatus(tallies []store.ExportTally, vendor string, within time.Duration) *ExportStatus {
	var s *ExportStatus
	var next, by time.Time
	for _, t := range tallies {
		if t.Vendor != vendor {
			continue
		}
		if s == nil {
			s = &ExportStatus{States: map[string]int64{}, Failed: map[string]int64{}}
			for _, state := range store.ExportStates() {
				s.States[state.String()] = 0
			}
		}
		s.States[t.State.String()] += t.Exports
		if t.Reason != "" {
			s.Failed[t.Reason] += t.Exports
		}
		if t.State.Final() {
			continue
		}
		s.Open += t.Exports
		next = earliest(next, t.NextAt)
		if !t.DoneAt.IsZero() && within > 0 {
			by = earliest(by, t.DoneAt.Add(within))
		}
	}
	if s != nil {
		s.Next, s.FetchBy = optional(next), optional(by)
	}
	return s
}

// String is the status in words.
func (s *ExportStatus) String() string {
	var parts []string
	for _, state := range store.ExportStates() {
		if n := s.States[state.String()]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, state))
		}
	}
	text := strings.Join(parts, ", ")
	if s.FetchBy != nil {
		text += "; to be fetched by " + timeText(*s.FetchBy)
	}
	return text
}

// fetchWithin is for how long the results of a configured vendor can be fetched.
func (j *Job) fetchWithin(vendor string) time.Duration {
	for _, l := range j.Lanes {
		if x, ok := l.Vendor.(vendors.Exporter); ok && l.Name == vendor {
			return x.Exports().FetchWithin
		}
	}
	return 0
}

// Exports is where the exports of a batch stand, by vendor; 0 is all batches.
func (j *Job) Exports(ctx context.Context, batch int64) (map[string]*ExportStatus, error) {
	tallies, err := j.Store.ExportTally(ctx, batch)
	if err != nil {
		return nil, err
	}
	all := map[string]*ExportStatus{}
	for _, t := range tallies {
		if all[t.Vendor] == nil {
			all[t.Vendor] = exportStatus(tallies, t.Vendor, j.fetchWithin(t.Vendor))
		}
	}
	return all, nil
}

// CheckExports finds out, without asking anybody, whether the lane's exports could be
// kept; on is false where it is to make none.
func (l *Lane) CheckExports() (dir string, on bool, err error) {
	v, ok := l.Vendor.(vendors.Exporter)
	if !ok || v.Exports().Mode == vendors.NoExport {
		return "", false, nil
	}
	x := v.Exports()
	return x.Dir, true, exports.Check(x.Dir, x.Recipients)
}
