package store

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const hexSum = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

// exportAt returns the export of a task as it is to be in a state.
func exportAt(e Export, state ExportState, now time.Time) Export {
	e.State, e.NextAt = state, time.Time{}
	switch state {
	case ExportWaiting, ExportReady:
		e.Reference, e.CreatedAt, e.NextAt = "job-1", now, now.Add(time.Hour)
		if state == ExportReady {
			e.DoneAt = now
		}
	case ExportStored:
		e.File, e.Bytes, e.SHA256, e.Files, e.EndedAt = "f.zip.age", 1234, hexSum, 2, now
	case ExportEmpty:
		e.EndedAt = now
	case ExportFailed:
		e.Reason, e.EndedAt = "export_failed", now
	}
	return e
}

// newExport makes a task with an export in creating.
func newExport(t *testing.T) (*env, *Store, Work, Export) {
	t.Helper()
	e, s, w := oneTask(t)
	x := Export{Task: w.ID, Vendor: w.Vendor}
	if err := s.Apply(ExportChange{New: true, Export: x}); err != nil {
		t.Fatal(err)
	}
	return e, s, w, x
}

// What is written comes back as it was, and what a crash can interrupt is found where it
// stood.
func TestExportRoundTrip(t *testing.T) {
	e, s, w, x := newExport(t)
	if _, ok, err := s.ExportOf(ctx, w.ID+1); ok || err != nil {
		t.Errorf("an export of another task: %v", err)
	}
	for _, state := range []ExportState{ExportWaiting, ExportReady, ExportStored} {
		from := x.State
		x = exportAt(x, state, e.now.UTC())
		x.Attempts, x.Lost, x.Damaged, x.Message = 3, 1, 1, "the vendor says: done"
		if err := s.Apply(ExportChange{From: from, Export: x}); err != nil {
			t.Fatal(err)
		}
		s.close(t)
		s = e.open(t)
		got, ok, err := s.ExportOf(ctx, w.ID)
		if diff := cmp.Diff(x, got); !ok || err != nil || diff != "" {
			t.Fatalf("%v, %v, -want +got:\n%s", ok, err, diff)
		}
	}
}

// The table of steps holds in Go and, for what is final, in the schema: an export that was
// stored never becomes one that is fetched again.
func TestExportSteps(t *testing.T) {
	for _, from := range ExportStates() {
		for _, state := range ExportStates() {
			e, s, _, x := newExport(t)
			now := e.now.UTC()
			path := map[ExportState][]ExportState{
				ExportWaiting: {ExportWaiting}, ExportReady: {ExportWaiting, ExportReady},
				ExportStored: {ExportWaiting, ExportReady, ExportStored}, ExportEmpty: {ExportWaiting, ExportReady, ExportEmpty},
				ExportFailed: {ExportFailed},
			}
			at := x
			for _, step := range path[from] {
				was := at.State
				at = exportAt(at, step, now)
				if err := s.Apply(ExportChange{From: was, Export: at}); err != nil {
					t.Fatal(err)
				}
			}
			err := s.Apply(ExportChange{From: from, Export: exportAt(x, state, now)})
			if mayExport(from, state) != (err == nil) || err != nil && !errors.Is(err, ErrTransition) {
				t.Errorf("%v to %v: %v", from, state, err)
			}
			if from.Final() {
				db := raw(t, e.path)
				if _, err := db.Exec(`UPDATE exports SET state=1, reason=NULL, ended_at=NULL, next_at=1, file=NULL, reference='x', created_at=1`); err == nil {
					t.Errorf("the schema lets an export leave %v", from)
				}
			}
			if s.Err() != nil {
				t.Errorf("%v to %v broke the store: %v", from, state, s.Err())
			}
		}
	}
}

// An export that has moved on is not overwritten.
func TestExportConflict(t *testing.T) {
	e, s, _, x := newExport(t)
	if err := s.Apply(ExportChange{From: ExportReady, Export: exportAt(x, ExportStored, e.now)}); !errors.Is(err, ErrConflict) {
		t.Errorf("%v", err)
	}
	if got, _, _ := s.ExportOf(ctx, x.Task); got.State != ExportCreating {
		t.Errorf("now %v", got.State)
	}
}

// Claims give what is due, the earliest first, with its task; a replaced job is kept.
func TestClaimExports(t *testing.T) {
	e, s, w, x := newExport(t)
	claim := func(at time.Time) int {
		t.Helper()
		got, err := s.ClaimExports(ctx, w.Vendor, at, 10)
		if err != nil {
			t.Fatal(err)
		}
		for _, g := range got {
			if g.Of.ID != w.ID || g.Task != w.ID || string(g.Of.Plain) != string(w.Plain) {
				t.Errorf("%+v", g)
			}
		}
		return len(got)
	}
	if n := claim(e.now.Add(9999 * time.Hour)); n != 0 {
		t.Errorf("an export that its task's work makes was claimed")
	}
	x = exportAt(x, ExportWaiting, e.now)
	if err := s.Apply(ExportChange{From: ExportCreating, Export: x}); err != nil {
		t.Fatal(err)
	}
	next, ok, err := s.NextExportAt(ctx, w.Vendor, e.now)
	if err != nil || !ok || !next.Equal(x.NextAt) {
		t.Errorf("next at %v, %v, %v", next, ok, err)
	}
	if a, b := claim(x.NextAt.Add(-time.Millisecond)), claim(x.NextAt); a != 0 || b != 1 {
		t.Errorf("%d before its time, %d at it", a, b)
	}
	y := x
	y.Reference = "job-2"
	if err := s.Apply(ExportChange{From: ExportWaiting, Export: y}); err != nil {
		t.Fatal(err)
	}
	if ref := scalar[string](t, raw(t, e.path), `SELECT reference FROM former_exports`); ref != "job-1" {
		t.Errorf("former job %q", ref)
	}
	if found, err := s.ByReferences(ctx, w.Vendor, []string{"job-1", "job-2"}); err != nil || len(found) != 0 {
		t.Errorf("an export's job could be confirmed as a removal: %v, %v", found, err)
	}
}

// The end of an export wakes the task that waits for it, and no other: one that was
// submitted has its own times.
func TestExportWakes(t *testing.T) {
	for _, state := range []State{Pending, Waiting} {
		e, s, w, x := newExport(t)
		task := w.Task
		path := []State{Pending}
		if state == Waiting {
			path = []State{Submitting, Waiting}
		}
		for _, st := range path {
			from := task.State
			task.State, task.Ready, task.NextAt = st, st == Submitting, e.now.Add(100*time.Hour)
			if st == Submitting {
				task.SubmittedAt, task.NextAt = e.now, time.Time{}
			}
			if err := s.Apply(Change{From: from, Task: task}); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.Apply(ExportChange{From: ExportCreating, Wake: true, Export: exportAt(x, ExportFailed, e.now)}); err != nil {
			t.Fatal(err)
		}
		due, err := s.ClaimDue(ctx, w.Vendor, e.now, Verifying, 10)
		if err != nil || (len(due) == 1) != (state == Pending) {
			t.Errorf("%v: %d due, %v", state, len(due), err)
		}
	}
}

// A batch with an export to come is open, though its tasks are final and their data is
// dropped; so it is not purged. Afterwards it goes with all that belongs to it.
func TestExportOutlivesItsTask(t *testing.T) {
	e, s, w, x := newExport(t)
	x = exportAt(x, ExportWaiting, e.now)
	if err := s.Apply(ExportChange{From: ExportCreating, Export: x}); err != nil {
		t.Fatal(err)
	}
	other, err := s.TaskByID(ctx, w.ID+1)
	if err != nil {
		t.Fatal(err)
	}
	for _, task := range []Task{w.Task, other.Task} {
		failed := to(task, Failed, e.now)
		failed.ClosedAt = e.now
		mustApply(t, s, Pending, failed)
	}
	batches, err := s.Batches(ctx)
	if err != nil {
		t.Fatal(err)
	}
	open := func() bool {
		t.Helper()
		has, err := s.HasOpen(ctx, batches[0])
		if err != nil {
			t.Fatal(err)
		}
		return has
	}
	everything := PurgeFilter{Before: e.now.Add(time.Hour), Failed: true}
	if p, err := s.Purge(ctx, everything); err != nil || p.Subjects != 0 || !open() {
		t.Errorf("purged %+v, %v, open %v", p, err, open())
	}
	got, err := s.ClaimExports(ctx, w.Vendor, x.NextAt, 10)
	if err != nil || len(got) != 1 || strings.Contains(string(got[0].Of.Plain), "=") {
		t.Errorf("%+v, %v", got, err)
	}
	tally, err := s.ExportTally(ctx, batches[0].ID)
	if err != nil || len(tally) != 1 || tally[0].State != ExportWaiting || tally[0].Exports != 1 || !tally[0].NextAt.Equal(x.NextAt) {
		t.Errorf("%+v, %v", tally, err)
	}
	if n, err := s.OpenExports(ctx, w.Vendor); n != 1 || err != nil {
		t.Errorf("%d open, %v", n, err)
	}
	x.Reference = "job-2"
	for _, state := range []ExportState{ExportWaiting, ExportReady, ExportStored} {
		from := x.State
		ref := x.Reference
		x = exportAt(x, state, e.now)
		x.Reference = ref
		if err := s.Apply(ExportChange{From: from, Export: x}); err != nil {
			t.Fatal(err)
		}
	}
	var rows int
	if err := s.Rows(ctx, Filter{}, func(r *Row) error {
		if r.Task.ID == w.ID && (r.Export == nil || r.Export.File != "f.zip.age") || r.Task.ID != w.ID && r.Export != nil {
			t.Errorf("task %d with export %+v", r.Task.ID, r.Export)
		}
		rows++
		return nil
	}); err != nil || rows == 0 {
		t.Errorf("%d rows, %v", rows, err)
	}
	if open() {
		t.Error("still open")
	}
	if p, err := s.Purge(ctx, everything); err != nil || p.Subjects != 1 {
		t.Errorf("purged %+v, %v", p, err)
	}
	db := raw(t, e.path)
	if n := scalar[int](t, db, `SELECT (SELECT count(*) FROM exports) + (SELECT count(*) FROM former_exports)`); n != 0 {
		t.Errorf("%d rows of purged exports", n)
	}
}
