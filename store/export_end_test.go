package store

import (
	"testing"
	"time"
)

// An export that only its task would still ask for ends with the task: exports were switched
// off, or the removal was rejected. Nobody would ever look at it again, and the batch would
// count as open, and could not be purged, for all time.
func TestExportEndsWithItsTask(t *testing.T) {
	e, s, w, _ := newExport(t)
	if err := s.Apply(Change{From: Pending, Task: to(w.Task, Held, e.now)}); err != nil {
		t.Fatal(err)
	}
	if x, _, _ := s.ExportOf(ctx, w.ID); x.State != ExportCreating {
		t.Errorf("ended with a task that is only held: %+v", x)
	}
	s.close(t)
	s = e.open(t) // the next run knows of the export too
	failed := to(w.Task, Failed, e.now)
	mustApply(t, s, Held, failed)
	if x, _, _ := s.ExportOf(ctx, w.ID); x.State != ExportCreating {
		t.Errorf("ended with a task that may be retried: %+v", x)
	}
	failed.ClosedAt = e.now
	mustApply(t, s, Failed, failed)
	x, ok, err := s.ExportOf(ctx, w.ID)
	if err != nil || !ok || x.State != ExportFailed || x.Reason != exportUnmade || x.Message == "" || !x.EndedAt.Equal(e.now) {
		t.Errorf("%+v %v %v", x, ok, err)
	}
	if n, err := s.OpenExports(ctx, w.Vendor); n != 0 || err != nil {
		t.Errorf("%d open exports, %v", n, err)
	}
}

// An export that the vendor has accepted outlives its task, and so does one that is being
// made again by itself.
func TestExportOfItsOwnStays(t *testing.T) {
	for _, again := range []bool{false, true} {
		e, s, w, x := newExport(t)
		x = exportAt(x, ExportWaiting, e.now)
		if err := s.Apply(ExportChange{From: ExportCreating, Export: x}); err != nil {
			t.Fatal(err)
		}
		if again {
			x.State, x.Lost, x.NextAt = ExportCreating, 1, e.now.Add(time.Minute)
			if err := s.Apply(ExportChange{From: ExportWaiting, Export: x}); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.Apply(Change{From: Pending, Task: to(w.Task, Failed, e.now)}); err != nil {
			t.Fatal(err)
		}
		if got, _, err := s.ExportOf(ctx, w.ID); err != nil || got.State != x.State {
			t.Errorf("%v is now %v, %v", x.State, got.State, err)
		}
	}
}
