package store

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// heldStore has two batches of three subjects each at alpha; all tasks there are held, but
// for the last one of each batch, and the second one of each follows its first.
func heldStore(t *testing.T) (*env, *Store, [2]Batch) {
	t.Helper()
	e := newEnv(t)
	s := e.open(t)
	alpha, beta := twoVendors(t, s)
	var batches [2]Batch
	for i, digest := range []string{"x", "y"} {
		row := func(n int, value string, due time.Duration) *NewSubject {
			r := subject(s, n+2, digest+string(rune('0'+n)), value, "", alpha, beta)
			r.DueAt = start.Add(due)
			return r
		}
		batches[i] = take(t, s, digest, row(0, "a@example.com", time.Duration(9-i)*24*time.Hour), row(1, "a@example.com", 20*24*time.Hour), row(2, "c@example.com", time.Hour))
		w, err := s.TaskByID(ctx, batches[i].First*TasksPerSubject)
		if err != nil || !w.Leads {
			t.Fatalf("%+v %v", w, err)
		}
		task := to(w.Task, Held, start)
		task.Reason = []string{"somebody_else", "unknown_owner"}[i]
		mustApply(t, s, Pending, task)
	}
	return e, s, batches
}

func idsOf(work []Work) []int64 {
	var ids []int64
	for _, w := range work {
		ids = append(ids, w.ID)
	}
	return ids
}

// TestHeld: review sees every held task once, most urgent first or by id, narrowed by what
// is asked, and a follower not at all, since what it follows decides.
func TestHeld(t *testing.T) {
	_, s, b := heldStore(t)
	x, y := b[0].First*TasksPerSubject, b[1].First*TasksPerSubject
	known, _ := s.Vendors(ctx)
	for _, tt := range []struct {
		name   string
		filter HeldFilter
		urgent []int64
	}{
		{"all", HeldFilter{}, []int64{y, x}},
		{"batch", HeldFilter{Batch: b[0].ID}, []int64{x}},
		{"reason", HeldFilter{Reason: "unknown_owner"}, []int64{y}},
		{"vendor", HeldFilter{Vendor: known["beta"].ID}, nil},
		{"both", HeldFilter{Batch: b[0].ID, Reason: "unknown_owner"}, nil},
	} {
		got, err := s.Held(ctx, tt.filter, 10)
		if diff := cmp.Diff(tt.urgent, idsOf(got)); diff != "" || err != nil {
			t.Errorf("%s: %s %v", tt.name, diff, err)
		}
		var paged []int64
		for after := int64(0); ; {
			page, err := s.HeldAfter(ctx, tt.filter, after, 1)
			if err != nil {
				t.Fatal(err)
			}
			if len(page) == 0 {
				break
			}
			after = page[0].ID
			paged = append(paged, after)
		}
		if len(paged) != len(tt.urgent) {
			t.Errorf("%s: by pages %v, want %v", tt.name, paged, tt.urgent)
		}
	}
	if got, _ := s.Held(ctx, HeldFilter{}, 1); len(got) != 1 || got[0].ID != y || got[0].SubjectID != "y0" || len(got[0].Plain) == 0 {
		t.Errorf("the most urgent one: %+v", got)
	}
	if _, err := s.Held(ctx, HeldFilter{Batch: 9}, 1); !errors.Is(err, ErrUnknown) {
		t.Errorf("no such batch: %v", err)
	}
	counts, err := s.CountHeld(ctx, HeldFilter{})
	want := []HeldCount{
		{Vendor: "alpha", Reason: "somebody_else", Tasks: 1, Followers: 1, DueAt: start.Add(9 * 24 * time.Hour)},
		{Vendor: "alpha", Reason: "unknown_owner", Tasks: 1, Followers: 1, DueAt: start.Add(8 * 24 * time.Hour)},
	}
	if diff := cmp.Diff(want, counts); diff != "" || err != nil {
		t.Error(diff, err)
	}
}

// TestDecideAll: several decisions are one change: if one task has moved on, none is
// decided and none recorded. Otherwise followers go with what they follow.
func TestDecideAll(t *testing.T) {
	e, s, b := heldStore(t)
	var changes []Change
	for i := range b {
		w, err := s.TaskByID(ctx, b[i].First*TasksPerSubject)
		if err != nil {
			t.Fatal(err)
		}
		failed := to(w.Task, Failed, start)
		failed.Reason = "rejected"
		changes = append(changes, Change{From: Held, Task: failed})
	}
	d := Decision{At: start, Who: "kim", Action: "reject"}
	before := dump(t, e.path)
	moved := changes[0]
	moved.ID = b[0].First*TasksPerSubject + 2*TasksPerSubject // pending
	if err := s.DecideAll(ctx, []Change{changes[1], moved}, d); !errors.Is(err, ErrConflict) {
		t.Errorf("one has moved on: %v", err)
	}
	if diff := cmp.Diff(before, dump(t, e.path)); diff != "" {
		t.Errorf("half a decision: %s", diff)
	}
	if err := s.DecideAll(ctx, changes, d); err != nil {
		t.Fatal(err)
	}
	db := raw(t, e.path)
	if got := scalar[string](t, db, `SELECT group_concat(task || ' ' || reason) FROM decisions`); got != "1000 somebody_else,4000 unknown_owner" {
		t.Errorf("recorded: %s", got)
	}
	if n := scalar[int](t, db, `SELECT count(*) FROM tasks WHERE state = 9 AND follows IS NOT NULL`); n != 2 {
		t.Errorf("%d followers failed with what they follow, want 2", n)
	}
}

// TestExtensions: those that still hold are listed; a later one replaces an earlier one, and
// a finished request needs none.
func TestExtensions(t *testing.T) {
	_, s, w := oneTask(t)
	until := w.DueAt
	for _, note := range []string{"first", "second"} {
		until = until.Add(24 * time.Hour)
		if _, err := s.Extend(ctx, "R-1", until, Decision{At: start, Who: "kim", Note: note}, allowed); err != nil {
			t.Fatal(err)
		}
	}
	want := []Extension{{SubjectID: "R-1", ReceivedAt: start, Original: w.DueAt, Until: until, Open: 2, Decision: Decision{At: start, Who: "kim", Action: "extend", Note: "second"}}}
	got, err := s.Extensions(ctx, 10)
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Error(diff, err)
	}
	for _, id := range []int64{w.ID, w.ID + 1} {
		task, err := s.TaskByID(ctx, id)
		if err != nil {
			t.Fatal(err)
		}
		mustApply(t, s, Pending, to(task.Task, NotFound, start))
	}
	if got, err := s.Extensions(ctx, 10); err != nil || len(got) != 0 {
		t.Errorf("of a finished request: %+v %v", got, err)
	}
	if _, err := s.Extend(ctx, "R-1", until.Add(time.Hour), Decision{At: start}, allowed); !errors.Is(err, ErrNothingOpen) {
		t.Errorf("extending a finished request: %v", err)
	}
}

// TestStanding: every task is counted once, by vendor, state and due day, followers apart
// from those that need calls, tickets that wait for long, and nothing of a batch that is
// still being taken in.
func TestStanding(t *testing.T) {
	_, s, b := heldStore(t)
	known, _ := s.Vendors(ctx)
	last, err := s.TaskByID(ctx, (b[0].First+2)*TasksPerSubject)
	if err != nil {
		t.Fatal(err)
	}
	mustApply(t, s, Pending, to(last.Task, Submitting, start.Add(-time.Hour)))
	waiting := to(last.Task, Waiting, start)
	waiting.Ready, waiting.SubmittedAt = false, start.Add(-time.Hour)
	mustApply(t, s, Submitting, waiting)

	half, err := s.BeginIntake(ctx, "half", start)
	if err != nil {
		t.Fatal(err)
	}
	if err := half.Subject(subject(s, 2, "h", "h@example.com", "", known["alpha"].ID, known["beta"].ID)); err != nil {
		t.Fatal(err)
	}
	if err := half.finishLoading(); err != nil {
		t.Fatal(err)
	}

	got, err := s.Standing(ctx, start.Add(2*time.Hour), start)
	if err != nil {
		t.Fatal(err)
	}
	midnight := func(days int) time.Time {
		return start.Truncate(24 * time.Hour).Add(time.Duration(days) * 24 * time.Hour)
	}
	due := func(h int) time.Time { return start.Add(time.Duration(h) * time.Hour) }
	alpha, beta := known["alpha"].ID, known["beta"].ID
	want := []Standing{
		{Vendor: alpha, State: Pending, Day: midnight(0), Tasks: 1, Own: 1, DueAt: due(1), Overdue: 1},
		{Vendor: alpha, State: Waiting, Day: midnight(0), Tasks: 1, Own: 1, DueAt: due(1), Overdue: 1, Unconfirmed: 1},
		{Vendor: alpha, State: Held, Day: midnight(8), Tasks: 1, Own: 1, DueAt: due(8 * 24)},
		{Vendor: alpha, State: Held, Day: midnight(9), Tasks: 1, Own: 1, DueAt: due(9 * 24)},
		{Vendor: alpha, State: Held, Day: midnight(20), Tasks: 2, Own: 0, DueAt: due(20 * 24)},
		{Vendor: beta, State: Skipped, Day: midnight(0), Tasks: 2, Own: 2, DueAt: due(1)},
		{Vendor: beta, State: Skipped, Day: midnight(8), Tasks: 1, Own: 1, DueAt: due(8 * 24)},
		{Vendor: beta, State: Skipped, Day: midnight(9), Tasks: 1, Own: 1, DueAt: due(9 * 24)},
		{Vendor: beta, State: Skipped, Day: midnight(20), Tasks: 2, Own: 2, DueAt: due(20 * 24)},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	r, ok, err := s.OpenRequest(ctx, due(1))
	if err != nil || !ok || r.SubjectID != "x2" || !r.DueAt.Equal(due(1)) {
		t.Errorf("the open request: %+v %v %v", r, ok, err)
	}
	if _, ok, err := s.OpenRequest(ctx, due(77)); ok || err != nil {
		t.Errorf("nothing is due then: %v %v", ok, err)
	}
}

// TestLastRun: the newest run, the newest good one, and counts by exit code.
func TestLastRun(t *testing.T) {
	s := newEnv(t).open(t)
	if _, ok, err := s.LastRun(ctx); ok || err != nil {
		t.Fatalf("before the first: %v %v", ok, err)
	}
	for i, code := range []int{0, 3, 4, 0, 3} {
		id, err := s.BeginRun(ctx, Run{StartedAt: start.Add(time.Duration(i) * time.Hour), Version: "1", Config: []byte("c")})
		if err == nil {
			err = s.EndRun(ctx, id, start.Add(time.Duration(i)*time.Hour+time.Minute), code)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.BeginRun(ctx, Run{StartedAt: start.Add(9 * time.Hour), Version: "1", Config: []byte("c")}); err != nil {
		t.Fatal(err)
	}
	if r, ok, err := s.LastRun(ctx); err != nil || !ok || r.ID != 6 || r.ExitCode != -1 || !r.EndedAt.IsZero() {
		t.Errorf("the newest: %+v %v %v", r, ok, err)
	}
	if r, ok, err := s.LastRun(ctx, 0, 4); err != nil || !ok || r.ID != 4 || !r.EndedAt.Equal(start.Add(3*time.Hour+time.Minute)) {
		t.Errorf("the newest good one: %+v %v %v", r, ok, err)
	}
	if at, ok, err := s.LastSound(ctx, 2); err != nil || !ok || !at.Equal(start.Add(9*time.Hour)) {
		t.Errorf("a run that was killed is known by its beginning: %v %v %v", at, ok, err)
	}
	counts, err := s.CountRuns(ctx)
	if diff := cmp.Diff(map[int]int64{0: 2, 3: 2, 4: 1, -1: 1}, counts); diff != "" || err != nil {
		t.Error(diff, err)
	}
}
