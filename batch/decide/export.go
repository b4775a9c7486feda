package decide

import (
	"cmp"
	"errors"
	"strings"
	"time"

	"expunge/store"
	"expunge/vendors"
)

// This file decides about exports: what a vendor hands out about a person before it removes
// them.
//
// The first job is asked for by the task's own work, right before its submission; from its
// acceptance on the export has a life of its own, with its own row in the store. A task that
// must wait for its export is not looked at before the export's end.
//
// An export job changes nothing, so that an uncertain one is simply made again.

// Limits of a job that has to be made again, and of a result that is no zip: at the second
// one the export has failed.
const (
	maxLost    = 2
	maxDamaged = 2
)

// withoutExport begins the approval of a removal whose export failed.
const withoutExport = "without export;"

// Errors of an answer about an export.
var (
	// ErrRemoved: a job has to be made, and nothing is left to make one of.
	ErrRemoved = errors.New("a new job cannot be made: the vendor has removed the person")
	// ErrDamaged: the result is no zip.
	ErrDamaged = errors.New("damaged")
)

// Intend decides what the state of its export means for a task that is about to be
// submitted: the intent, or what else.
func (p *Policy) Intend(t store.Task, e *store.Export, now time.Time) store.Task {
	wait := false
	switch {
	case e == nil, Submitted(&t):
		// Where the vendor may have removed already there is nothing left to wait for.
	case e.State == store.ExportFailed:
		if p.Exports.Mode == vendors.ExportRequired && !strings.HasPrefix(t.Approval, withoutExport) {
			t.Approval = ""
			return held(t, ExportFailed, exportFailure(e))
		}
	case e.State == store.ExportCreating:
		wait = true
	case !e.State.Final():
		wait = p.Exports.Mode == vendors.ExportRequired
	}
	if !wait {
		return p.intent(t, now)
	}
	t.Reason, t.Message = string(ExportOpen), ""
	// A second more, so that the export is looked at first; its end wakes the task anyway.
	return later(t, store.Pending, now, max(0, e.NextAt.Sub(now))+time.Second)
}

// NextExport says which step an export needs.
func NextExport(e *store.Export) Step {
	switch e.State {
	case store.ExportCreating:
		return StepCreateExport
	case store.ExportWaiting:
		return StepPollExport
	case store.ExportReady:
		return StepFetchExport
	}
	return StepNone
}

// AfterExport decides what the answer to a step means for the export of task t.
func (p *Policy) AfterExport(s Step, e store.Export, t *store.Task, a Answer, now time.Time) Outcome[store.Export] {
	if HeldBack(a.Err) || s == StepNone {
		return Outcome[store.Export]{e, PutBack}
	}
	var n store.Export
	switch {
	case errors.Is(a.Err, ErrDamaged):
		n = p.afterExportDamaged(e, a.Message, now)
	case a.Err != nil:
		n = p.afterExportError(e, a, now)
	case s == StepCreateExport:
		n = p.afterExportCreated(e, a.Receipt, now)
	case s == StepPollExport:
		n = p.afterExportPoll(e, a.Progress, now)
	default:
		n = afterExportKept(e, t, a.Kept, now)
	}
	if n.State.Final() || n.NextAt.After(now) {
		return Outcome[store.Export]{n, Finished}
	}
	return Outcome[store.Export]{n, GoOn}
}

func endExport(e store.Export, why vendors.Reason, message string, now time.Time) store.Export {
	e.State, e.Reason, e.Message = store.ExportFailed, string(why), message
	e.NextAt, e.EndedAt = time.Time{}, now
	return e
}

// afterExportCreated is the export after the vendor has made a job.
func (p *Policy) afterExportCreated(e store.Export, rc vendors.Receipt, now time.Time) store.Export {
	e.State, e.Reference, e.CreatedAt, e.DoneAt = store.ExportWaiting, rc.Reference, now, time.Time{}
	e.Attempts, e.Message = 0, ""
	e.NextAt = now.Add(exportPause(p.FirstPoll, p.Exports.FetchWithin))
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
func (p *Policy) afterExportPoll(e store.Export, pg vendors.Progress, now time.Time) store.Export {
	e.Attempts, e.Message = 0, "the vendor says: "+pg.Status
	switch pg.Job {
	case vendors.JobDone:
		if e.DoneAt.IsZero() {
			e.DoneAt = now
		}
		e.State, e.NextAt, e.Message = store.ExportReady, now, ""
		return e
	case vendors.JobFailed, vendors.JobLost:
		if p.expired(&e, now) {
			return endExport(e, ExportExpired, e.Message, now)
		}
		return again(e, now)
	}
	if p.GiveUpAfter > 0 && now.Sub(e.CreatedAt) > p.GiveUpAfter {
		return endExport(e, ExportFailed, "not done after give_up_after; "+e.Message, now)
	}
	e.NextAt = now.Add(exportPause(p.PollEvery, p.Exports.FetchWithin))
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
func (p *Policy) expired(e *store.Export, now time.Time) bool {
	within := p.Exports.FetchWithin
	switch {
	case within <= 0 || e.CreatedAt.IsZero():
		return false
	case e.DoneAt.IsZero():
		return now.Sub(e.CreatedAt) > p.LeadTime+within
	}
	return now.Sub(e.DoneAt) > within
}

// afterExportError decides what a call without a useful answer means. A job that was
// Accepted is asked about until give_up_after, and a result fetched until the vendor drops
// it: no number of failures makes it less worth having.
func (p *Policy) afterExportError(e store.Export, a Answer, now time.Time) store.Export {
	err, message := a.Err, a.Message
	refused := errors.Is(err, vendors.ErrRefused)
	if counts(err) && (a.Blamed || e.State != store.ExportCreating) {
		e.Attempts++
	}
	e.Message = message
	switch {
	case errors.Is(err, ErrRemoved), e.State == store.ExportCreating && a.Blamed && (refused && e.Attempts >= mostRefusals || e.Attempts >= p.MaxAttempts):
		return endExport(e, ExportFailed, message, now)
	case !e.DoneAt.IsZero() && p.expired(&e, now):
		return endExport(e, ExportExpired, message, now)
	case e.State == store.ExportWaiting && p.GiveUpAfter > 0 && now.Sub(e.CreatedAt) > p.GiveUpAfter:
		return endExport(e, ExportFailed, message, now)
	case e.State == store.ExportReady && (refused || errors.Is(err, vendors.ErrUnreadable)):
		e.State = store.ExportWaiting // what has become of it?
	}
	e.NextAt = now.Add(max(p.backoff(max(e.Attempts, a.Nth, 1), err), time.Second))
	return e
}

// afterExportDamaged decides what a result means that is no zip.
func (p *Policy) afterExportDamaged(e store.Export, message string, now time.Time) store.Export {
	e.Message = message
	if e.Damaged++; e.Damaged >= maxDamaged {
		return endExport(e, ExportFailed, "twice: "+e.Message, now)
	}
	e.State, e.NextAt = store.ExportWaiting, now.Add(max(p.backoff(1, nil), time.Second))
	return e
}

// Kept is the result of an export that is on disk, or known to hold nothing.
type Kept struct {
	File   string // its name in the vault
	Bytes  int64  // of that file
	SHA256 string // of that file, in hexadecimal
	Files  int    // in the export
	Empty  bool
}

// afterExportKept is the export when its result is on disk.
func afterExportKept(e store.Export, t *store.Task, k Kept, now time.Time) store.Export {
	// A job that had to be made again after the removal was submitted sees what the removal
	// has left.
	late := e.Lost+e.Damaged > 0 && Submitted(t)
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
