package store

import (
	"testing"
	"time"
)

// TestSights: what shows that a vendor is the right one is kept over runs, the newest of
// each, and starts anew where the vendor has moved.
func TestSights(t *testing.T) {
	e := newEnv(t)
	s := e.open(t)
	alpha, beta := twoVendors(t, s)
	known := func() Vendor {
		t.Helper()
		s.close(t)
		s = e.open(t)
		all, err := s.Vendors(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if (all["beta"] != Vendor{ID: beta, Name: "beta", Kind: "y"}) {
			t.Errorf("another vendor: %+v", all["beta"])
		}
		return all["alpha"]
	}
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	check(s.SetPlace(ctx, alpha, "here"))
	check(s.Saw(ctx, alpha, Sights{Others: start}))
	check(s.Saw(ctx, alpha, Sights{Control: start.Add(time.Hour), Others: start.Add(-time.Hour)}))
	check(s.SetTrouble(ctx, alpha, "unproved", start))
	check(s.Prove(ctx, alpha, "here", "unproved", Decision{At: start.Add(2 * time.Hour), Who: "jane", Note: "nobody asked us yet"}))
	check(s.Saw(ctx, alpha, Sights{}))
	if v := known(); v.Place != "here" || v.Trouble != "" || v.Seen != (Sights{start.Add(time.Hour), start, start.Add(2 * time.Hour)}) {
		t.Errorf("%+v", v)
	}
	check(s.SetTrouble(ctx, alpha, "down", start))
	check(s.Moved(ctx, alpha, "there", "moved", Decision{At: start, Who: "jane", Note: "a new region"}))
	if v := known(); v.Place != "there" || v.Trouble != "down" || v.Seen != (Sights{}) {
		t.Errorf("moved: %+v", v)
	}
	check(s.Saw(ctx, alpha, Sights{Others: start}))
	check(s.SetPlace(ctx, alpha, "elsewhere"))
	if v := known(); v.Place != "elsewhere" || v.Seen != (Sights{}) {
		t.Errorf("taken over: %+v", v)
	}
	if got := scalar[string](t, raw(t, e.path), `SELECT group_concat(action || ' ' || vendor || ' ' || who || ' ' || note || ' ' || (subject IS NULL), '; ') FROM decisions`); got !=
		"prove 1 jane nobody asked us yet 1; moved 1 jane a new region 1" {
		t.Errorf("decisions: %s", got)
	}
	check(s.Prove(ctx, alpha, "at last", "unproved", Decision{At: start, Who: "jane"}))
	if v := known(); v.Place != "at last" || v.Seen != (Sights{Proved: start}) {
		t.Errorf("proved at another place: %+v", v)
	}
	check(s.SetTrouble(ctx, alpha, "moved", start))
	check(s.Moved(ctx, alpha, "again", "moved", Decision{At: start, Who: "jane"}))
	if v := known(); v.Trouble != "" {
		t.Errorf("moved: %+v", v)
	}

	// A pause is lifted with who and why on record; a decision of another kind is none about a vendor.
	check(s.PauseVendor(ctx, alpha, start.Add(time.Hour)))
	check(s.Lift(ctx, alpha, Decision{At: start, Who: "jane", Note: "they said so"}))
	if v := known(); !v.PausedUntil.IsZero() {
		t.Errorf("paused until %v", v.PausedUntil)
	}
	db := raw(t, e.path)
	if got := scalar[string](t, db, `SELECT action || ' ' || vendor || ' ' || who || ' ' || note FROM decisions ORDER BY id DESC LIMIT 1`); got != "retry 1 jane they said so" {
		t.Errorf("the pause's decision: %s", got)
	}
	if n := scalar[int](t, db, `SELECT count(*) FROM events WHERE event = 5 AND body ->> 'action' = 'retry' AND body ->> 'vendor' = 1`); n != 1 {
		t.Errorf("%d events of it", n)
	}
	for _, columns := range []string{"'prove', 1, NULL", "'retry', NULL, NULL", "'approve', NULL, 1", "'retry', 1, 1"} {
		if _, err := db.Exec(`INSERT INTO decisions (at, who, action, subject, vendor) VALUES (1, 'x', ` + columns + `)`); err == nil {
			t.Errorf("a decision of %s is taken", columns)
		}
	}
}

// TestTrouble: a trouble that lasts keeps the time of its beginning.
func TestTrouble(t *testing.T) {
	e := newEnv(t)
	s := e.open(t)
	alpha, _ := twoVendors(t, s)
	for _, step := range []struct {
		code  string
		at    time.Time
		since time.Time
	}{
		{"", start, time.Time{}},
		{"down", start, start},
		{"down", start.Add(time.Hour), start},
		{"moved", start.Add(time.Hour), start.Add(time.Hour)},
		{"", start.Add(2 * time.Hour), time.Time{}},
	} {
		if err := s.SetTrouble(ctx, alpha, step.code, step.at); err != nil {
			t.Fatal(err)
		}
		all, err := s.Vendors(ctx)
		if v := all["alpha"]; err != nil || v.Trouble != step.code || !v.TroubleAt.Equal(step.since) {
			t.Errorf("after %q at %v: %q since %v, %v", step.code, step.at, v.Trouble, v.TroubleAt, err)
		}
	}
}

// TestUnderWay: what counts as work under way at a vendor's place.
func TestUnderWay(t *testing.T) {
	e, s, w := oneTask(t)
	submitted := func(state State) Task {
		task := to(w.Task, state, start)
		task.SubmittedAt = start
		return task
	}
	closed := submitted(Failed)
	closed.ClosedAt = start
	for _, tt := range []struct {
		name string
		task Task
		want int64
	}{
		{"pending", to(w.Task, Pending, start), 0},
		{"pending, submitted before", submitted(Pending), 1},
		{"submitting", submitted(Submitting), 1},
		{"waiting", submitted(Waiting), 1},
		{"verifying", submitted(Verifying), 1},
		{"held", to(w.Task, Held, start), 0},
		{"held, submitted", submitted(Held), 1},
		{"failed", to(w.Task, Failed, start), 0},
		{"failed, submitted", submitted(Failed), 1},
		{"closed", closed, 0},
		{"erased", submitted(Erased), 0},
	} {
		place(t, e, tt.task)
		if !tt.task.ClosedAt.IsZero() {
			mustExec(t, raw(t, e.path), `UPDATE tasks SET closed_at = 1 WHERE id = ?`, tt.task.ID)
		}
		if n, err := s.UnderWay(ctx, w.Vendor); n != tt.want || err != nil {
			t.Errorf("%s: %d under way, %v", tt.name, n, err)
		}
	}
}

// TestClampWaits: what was scheduled under a clock that was ahead is due now; what is
// scheduled as it should be, what is ready and what waits for people stay as they are.
func TestClampWaits(t *testing.T) {
	e, s, w, x := newExport(t)
	x = exportAt(x, ExportWaiting, e.now)
	x.NextAt = e.now.AddDate(1, 0, 0)
	if err := s.Apply(ExportChange{From: ExportCreating, Export: x}); err != nil {
		t.Fatal(err)
	}
	other, err := s.TaskByID(ctx, w.ID+1)
	if err != nil {
		t.Fatal(err)
	}
	latest := e.now.Add(25 * time.Hour)
	ahead, fine := w.Task, other.Task
	ahead.Ready, ahead.NextAt = false, latest.Add(time.Millisecond)
	fine.Ready, fine.NextAt = false, latest
	mustApply(t, s, Pending, ahead)
	mustApply(t, s, Pending, fine)
	for _, vendor := range []int64{fine.Vendor, ahead.Vendor, ahead.Vendor} {
		want := int64(2)
		if vendor == fine.Vendor {
			want = 0
		}
		if n, err := s.ClampWaits(ctx, vendor, e.now, latest); n != want || err != nil {
			t.Errorf("vendor %d: %d, %v", vendor, n, err)
		}
		if vendor == ahead.Vendor {
			break
		}
	}
	for _, tt := range []struct {
		task Task
		want time.Time
	}{{ahead, e.now}, {fine, latest}} {
		if w, err := s.TaskByID(ctx, tt.task.ID); err != nil || !w.NextAt.Equal(tt.want) {
			t.Errorf("task %d: next at %v, want %v (%v)", tt.task.ID, w.NextAt, tt.want, err)
		}
	}
	if got, _, err := s.ExportOf(ctx, w.ID); err != nil || !got.NextAt.Equal(e.now) {
		t.Errorf("export: next at %v (%v)", got.NextAt, err)
	}
	if n, err := s.ClampWaits(ctx, ahead.Vendor, e.now, latest); n != 0 || err != nil {
		t.Errorf("again: %d, %v", n, err)
	}
}
