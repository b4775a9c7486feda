package store

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestDecide: a person's decision moves the task and is recorded, together or not at all.
func TestDecide(t *testing.T) {
	e, s, w := oneTask(t)
	held := to(w.Task, Held, start)
	held.Reason = "somebody_else"
	task := mustApply(t, s, Pending, held)
	d := Decision{At: start, Who: "kim", Action: "approve", Note: "seen"}
	task = to(task, Pending, start)
	task.Reason, task.Approval = "", "1:7"
	if err := s.Decide(ctx, Change{From: Held, Task: task}, d); err != nil {
		t.Fatal(err)
	}
	db := raw(t, e.path)
	const all = `SELECT group_concat(who || ' ' || action || ' ' || subject || ' ' || task || ' ' || reason || ' ' || note) FROM decisions`
	want := fmt.Sprintf("kim approve %d %d somebody_else seen", w.SubjectRow(), w.ID)
	if got := scalar[string](t, db, all); got != want {
		t.Errorf("recorded %q, want %q", got, want)
	}
	if err := s.Decide(ctx, Change{From: Held, Task: task}, d); !errors.Is(err, ErrConflict) {
		t.Errorf("again: %v", err)
	}
	if err := s.Decide(ctx, Change{From: Pending, Task: to(task, Waiting, start)}, d); !errors.Is(err, ErrTransition) {
		t.Errorf("a step that is not in the table: %v", err)
	}
	if got := scalar[string](t, db, all); got != want {
		t.Errorf("what did not happen is recorded: %q", got)
	}
}

func allowed(Extension) error { return nil }

// TestExtend: a later date holds for the subject and its open tasks, in the order of work
// too, and is recorded; nothing else is an extension.
func TestExtend(t *testing.T) {
	e, s, w := oneTask(t)
	mustApply(t, s, Pending, to(w.Task, NotFound, start))
	former := w.DueAt
	later := former.Add(24 * time.Hour)
	x, err := s.Extend(ctx, "R-1", later, Decision{At: start, Who: "kim", Note: "complex"}, allowed)
	if err != nil || !x.Former.Equal(former) || x.Open != 1 {
		t.Fatalf("%+v %v", x, err)
	}
	if done, _ := s.TaskByID(ctx, w.ID); !done.DueAt.Equal(former) {
		t.Error("a finished task got another due date")
	}
	if open, _ := s.TaskByID(ctx, w.ID+1); !open.DueAt.Equal(later) {
		t.Errorf("the open task is due %v", open.DueAt)
	}
	var original []time.Time
	if err := s.Rows(ctx, Filter{}, func(r *Row) error { original = append(original, r.Original); return nil }); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]time.Time{former, former}, original); diff != "" {
		t.Errorf("the first date in the report: %s", diff)
	}
	no := errors.New("no")
	before := dump(t, e.path)
	if _, err := s.Extend(ctx, "R-1", later.Add(time.Hour), Decision{Who: "kim"}, func(x Extension) error {
		if !x.Former.Equal(later) || !x.Original.Equal(former) || !x.ReceivedAt.Equal(start) {
			t.Errorf("asked about %+v", x)
		}
		return no
	}); !errors.Is(err, no) {
		t.Errorf("not allowed: %v", err)
	}
	for name, tt := range map[string]struct {
		subject string
		until   time.Time
		want    error
	}{
		"nobody": {"R-9", later.Add(time.Hour), ErrUnknown}, "no later": {"R-1", later, nil}, "earlier": {"R-1", former, nil},
	} {
		_, err := s.Extend(ctx, tt.subject, tt.until, Decision{Who: "kim"}, allowed)
		if err == nil || tt.want != nil && !errors.Is(err, tt.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if diff := cmp.Diff(before, dump(t, e.path)); diff != "" {
		t.Errorf("a refused extension changed: %s", diff)
	}
}

// TestClaims: ready tasks come most urgent first, each once per cursor, in pages; due ones
// when their time has come; neither of another vendor, nor finished, nor beyond upTo.
func TestClaims(t *testing.T) {
	e := newEnv(t)
	s := e.open(t)
	alpha, beta := twoVendors(t, s)
	var rows []*NewSubject
	for i := range 7 {
		n := subject(s, i+2, fmt.Sprintf("R-%d", i), fmt.Sprintf("p%d@example.com", i), "", alpha, beta)
		n.DueAt = start.Add(time.Duration([]int{5, 3, 3, 9, 1, 3, 3}[i]) * day)
		rows = append(rows, n)
	}
	b := take(t, s, "claims", rows...)
	id := func(n int) int64 { return (b.First + int64(n)) * TasksPerSubject }
	var c Cursor
	var order []int64
	for {
		work, err := s.ClaimReady(ctx, alpha, &c, 2)
		if err != nil {
			t.Fatal(err)
		}
		if len(work) == 0 {
			break
		}
		for _, w := range work {
			order = append(order, w.ID)
		}
		if len(order) > 20 {
			t.Fatal("claimed without end")
		}
	}
	if diff := cmp.Diff([]int64{id(4), id(1), id(2), id(5), id(6), id(0), id(3)}, order); diff != "" {
		t.Error(diff)
	}
	var fresh Cursor
	if work, err := s.ClaimReady(ctx, beta, &fresh, 10); err != nil || len(work) != 0 {
		t.Errorf("of beta, which has skipped tasks only: %v %v", work, err)
	}

	later := func(n int, state State, at time.Duration) {
		w, err := s.TaskByID(ctx, id(n))
		if err != nil {
			t.Fatal(err)
		}
		task := w.Task
		if state == Verifying {
			task = mustApply(t, s, Pending, to(task, Submitting, start))
		}
		from := task.State
		task = to(task, state, start)
		task.Ready, task.NextAt = false, start.Add(at)
		mustApply(t, s, from, task)
	}
	later(0, Pending, time.Hour)
	later(1, Verifying, 30*time.Minute)
	later(2, Pending, 2*time.Hour)
	due := func(at time.Duration, upTo State, limit int) (ids []int64) {
		t.Helper()
		work, err := s.ClaimDue(ctx, alpha, start.Add(at), upTo, limit)
		if err != nil {
			t.Fatal(err)
		}
		for _, w := range work {
			ids = append(ids, w.ID)
		}
		return ids
	}
	next := func(after time.Duration, upTo State) time.Duration {
		t.Helper()
		at, ok, err := s.NextAt(ctx, alpha, start.Add(after), upTo)
		if err != nil {
			t.Fatal(err)
		}
		if !ok {
			return -1
		}
		return at.Sub(start)
	}
	for _, tt := range []struct {
		at    time.Duration
		upTo  State
		limit int
		want  []int64
		next  time.Duration
	}{
		{0, Verifying, 9, nil, 30 * time.Minute},
		{0, Previewed, 9, nil, time.Hour}, // a dry run neither verifies nor waits for it
		{30 * time.Minute, Verifying, 9, []int64{id(1)}, time.Hour},
		{time.Hour, Verifying, 9, []int64{id(1), id(0)}, 2 * time.Hour},
		{time.Hour, Previewed, 9, []int64{id(0)}, 2 * time.Hour},
		{3 * time.Hour, Verifying, 2, []int64{id(1), id(0)}, -1},
	} {
		if diff := cmp.Diff(tt.want, due(tt.at, tt.upTo, tt.limit)); diff != "" {
			t.Errorf("%+v: %s", tt, diff)
		}
		if got := next(tt.at, tt.upTo); got != tt.next {
			t.Errorf("%+v: next at %v", tt, got)
		}
	}
	ready, scheduled, err := s.OpenTasks(ctx, alpha)
	if err != nil || ready != 4 || scheduled != 3 {
		t.Errorf("%d ready, %d scheduled, %v", ready, scheduled, err)
	}
}

// TestClaimsUseTheirIndexes: claims must cost the same however many tasks are finished, and a
// certificate however many people there are, so none may walk a table.
func TestClaimsUseTheirIndexes(t *testing.T) {
	e, s, _ := manyTasks(t, 3)
	db := raw(t, e.path)
	mustExec(t, db, `ANALYZE`)
	for name, query := range map[string]string{
		"block":  sqlNextBlock,
		"ready":  sqlClaim + sqlInBlock,
		"due":    sqlClaim + `t.vendor=? AND t.next_at>0 AND t.next_at<=? AND t.state<=? ORDER BY t.next_at, t.id LIMIT ?`,
		"next":   `SELECT min(next_at) FROM tasks WHERE vendor=? AND next_at>0 AND next_at>? AND state<=?`,
		"by id":  sqlClaim + `t.id = ?`,
		"forget": sqlSubject,
		"follow": sqlFollow,
		"chain":  sqlChain,
		"leaves": sqlLeaves + ofNumber + ` ORDER BY e.seq`,
		"tile":   sqlTile,
		"head":   `SELECT note FROM heads ORDER BY size DESC LIMIT 1`,
	} {
		few := name == "chain" // the events of one person: they may be sorted
		args := make([]any, parameters(query))
		for i := range args {
			args[i] = 1
		}
		rows, err := db.Query(`EXPLAIN QUERY PLAN `+query, args...)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for rows.Next() {
			var a, b, c int
			var step string
			if err := rows.Scan(&a, &b, &c, &step); err != nil {
				t.Fatal(err)
			}
			if few && (strings.Contains(step, "TEMP B-TREE") || step == "SCAN chain") ||
				name == "head" && step == "SCAN heads" { // from its end, and one
				continue
			}
			if strings.HasPrefix(step, "SCAN ") || strings.Contains(step, "TEMP B-TREE") {
				t.Errorf("%s: %s", name, step)
			}
		}
		rows.Close()
	}
	s.close(t)
}

// parameters is how many arguments a statement wants: numbered ones, or one for each mark.
func parameters(query string) int {
	most := 0
	for _, m := range regexp.MustCompile(`\?(\d+)`).FindAllStringSubmatch(query, -1) {
		n, _ := strconv.Atoi(m[1])
		most = max(most, n)
	}
	return max(most, strings.Count(strings.Join(regexp.MustCompile(`\?\d+`).Split(query, -1), ""), "?"))
}

// TestQuota: in any 24 hours no more than the limit, over restarts, whoever counts.
func TestQuota(t *testing.T) {
	e := newEnv(t)
	e.now = time.Date(2026, 11, 2, 9, 5, 0, 0, time.UTC) // within a slot
	s := e.open(t)
	alpha, beta := twoVendors(t, s)
	q := Quota{S: s, Vendor: alpha, Limit: 100}
	grab := func(n, want int64) time.Time {
		t.Helper()
		got, next, err := q.Take(ctx, n)
		if err != nil || got != want {
			t.Fatalf("at %v: %d granted of %d (%v), want %d", e.now, got, n, err, want)
		}
		return next
	}
	grab(60, 60)
	if err := q.Return(ctx, 10); err != nil {
		t.Fatal(err)
	}
	e.now = e.now.Add(3 * time.Hour)
	grab(80, 50)
	s.close(t)
	s = e.open(t)
	q.S = s
	next := grab(1, 0) // a restart gives nothing back
	if want := time.Date(2026, 11, 3, 9, 20, 0, 0, time.UTC); !next.Equal(want) {
		t.Errorf("again from %v, want %v: when what was reserved last in the first slot, and left a slot later, is a day old", next, want)
	}
	if other, _, err := (Quota{S: s, Vendor: beta, Limit: 5}).Take(ctx, 9); err != nil || other != 5 {
		t.Errorf("another vendor: %d %v", other, err)
	}
	e.now = next.Add(-time.Millisecond)
	grab(1, 0)
	e.now = next
	grab(100, 50)
	e.now = next.Add(-25 * time.Hour) // a clock that is set back makes nothing free
	grab(1, 0)
	if err := q.Return(ctx, 10); err != nil {
		t.Fatal(err)
	}
	grab(100, 10)
	e.now = next.Add(-25*time.Hour).AddDate(-1, 0, 0) // nor does it hold for longer than a day
	grab(1, 0)
	e.now = e.now.Add(24*time.Hour + 2*quotaSlot)
	grab(1000, 100)
	e.now = next.Add(100 * time.Hour)
	grab(1000, 100)
	if err := q.Return(ctx, 1000); err != nil { // more than there is
		t.Fatal(err)
	}
	grab(1000, 100)
}

// TestQuotaWindow: however requests are spread, no window of 24 hours sees more than the
// limit, even if each leaves a slot after it was reserved; and what is not used up is not
// lost for longer than two slots.
func TestQuotaWindow(t *testing.T) {
	e := newEnv(t)
	s := e.open(t)
	alpha, _ := twoVendors(t, s)
	q := Quota{S: s, Vendor: alpha, Limit: 40}
	type use struct {
		at time.Time
		n  int64
	}
	var used []use
	for step := range 600 { // 12 days in steps that do not divide a slot
		e.now = start.Add(time.Duration(step) * 29 * time.Minute)
		n, next, err := q.Take(ctx, int64(step%7))
		if err != nil {
			t.Fatal(err)
		}
		if n == 0 && step%7 > 0 && !next.After(e.now) {
			t.Fatalf("refused at %v until %v", e.now, next)
		}
		used = append(used, use{e.now, n})
		var sum int64
		for _, u := range used {
			if e.now.Sub(u.at) < 24*time.Hour+quotaSlot {
				sum += u.n
			}
		}
		if sum > q.Limit {
			t.Fatalf("%d in the 24 hours to %v", sum, e.now)
		}
		if n < int64(step%7) {
			// Refused: then a day and two slots hold the whole limit.
			var wide int64
			for _, u := range used {
				if e.now.Sub(u.at) < 24*time.Hour+2*quotaSlot {
					wide += u.n
				}
			}
			if wide < q.Limit {
				t.Fatalf("refused at %v with %d used", e.now, wide)
			}
		}
	}
}

// TestVendors: a vendor keeps its id and its pause over runs; what it needs may change.
func TestVendors(t *testing.T) {
	e := newEnv(t)
	s := e.open(t)
	alpha, beta := twoVendors(t, s)
	until := start.Add(time.Hour)
	if err := s.PauseVendor(ctx, alpha, until); err != nil {
		t.Fatal(err)
	}
	s.close(t)
	s = e.open(t)
	known, err := s.SyncVendors(ctx, []VendorSpec{{"beta", "y", fieldA | fieldB}, {"gamma", "z", 0}})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]Vendor{"alpha": {ID: alpha, Name: "alpha", Kind: "x", PausedUntil: until},
		"beta": {ID: beta, Name: "beta", Kind: "y"}, "gamma": {ID: beta + 1, Name: "gamma", Kind: "z"}}
	if diff := cmp.Diff(want, known); diff != "" {
		t.Error(diff)
	}
	if f := scalar[uint32](t, raw(t, e.path), `SELECT fields FROM vendors WHERE name = 'beta'`); f != fieldA|fieldB {
		t.Errorf("beta needs %b", f)
	}
}

// TestRuns: every run is on record, with how it ended.
func TestRuns(t *testing.T) {
	s := newEnv(t).open(t)
	id, err := s.BeginRun(ctx, Run{StartedAt: start, Version: "v1", Config: []byte{1}})
	if err != nil {
		t.Fatal(err)
	}
	cut, err := s.BeginRun(ctx, Run{StartedAt: start.Add(time.Hour), Version: "v1", Config: []byte{1}})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.EndRun(ctx, id, start.Add(time.Minute), 3); err != nil {
		t.Fatal(err)
	}
	runs, err := s.Runs(ctx, start)
	want := []Run{
		{ID: id, StartedAt: start, EndedAt: start.Add(time.Minute), ExitCode: 3, Version: "v1", Config: []byte{1}},
		{ID: cut, StartedAt: start.Add(time.Hour), ExitCode: -1, Version: "v1", Config: []byte{1}},
	}
	if diff := cmp.Diff(want, runs); diff != "" || err != nil {
		t.Error(diff, err)
	}
}

// TestTally: every task is counted once, under its state, for one batch or all.
func TestTally(t *testing.T) {
	_, s, w := oneTask(t)
	alpha, beta := twoVendors(t, s)
	second := take(t, s, "second", subject(s, 2, "R-2", "c@example.com", "", alpha, beta))
	mustApply(t, s, Pending, to(w.Task, NotFound, start))
	due := start.Add(30 * 24 * time.Hour)
	got, err := s.Tally(ctx, 0, due.Add(time.Second))
	want := []Tally{
		{State: Pending, Tasks: 2, Overdue: 2},
		{State: NotFound, Tasks: 1},
		{State: Skipped, Tasks: 1},
	}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Error(diff, err)
	}
	one, err := s.Tally(ctx, second.ID, start)
	if err != nil || len(one) != 2 || one[0].Tasks != 1 || one[0].Overdue != 0 {
		t.Errorf("%+v %v", one, err)
	}
	if none, err := s.Tally(ctx, 99, start); err != nil || len(none) != 0 {
		t.Errorf("%+v %v", none, err)
	}
	open, err := s.HasOpen(ctx, second)
	if err != nil || !open {
		t.Errorf("HasOpen: %v %v", open, err)
	}
}

// TestOpenBatches: a batch is open until its last task is final, and is then not looked
// through again.
func TestOpenBatches(t *testing.T) {
	s := newEnv(t).open(t)
	alpha, beta := twoVendors(t, s)
	first := take(t, s, "first", subject(s, 2, "R-1", "a@example.com", "", alpha, beta))
	second := take(t, s, "second", subject(s, 2, "R-2", "b@example.com", "", alpha, beta))
	ids := func() (ids []int64) {
		t.Helper()
		open, err := s.OpenBatches(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for _, b := range open {
			ids = append(ids, b.ID)
		}
		return ids
	}
	if diff := cmp.Diff([]int64{first.ID, second.ID}, ids()); diff != "" {
		t.Error(diff)
	}
	w, err := s.TaskByID(ctx, first.First*TasksPerSubject)
	if err != nil {
		t.Fatal(err)
	}
	mustApply(t, s, Pending, to(w.Task, NotFound, start))
	for range 2 {
		if diff := cmp.Diff([]int64{second.ID}, ids()); diff != "" {
			t.Error(diff)
		}
	}
	all, err := s.Batches(ctx)
	if err != nil || len(all) != 2 || !all[0].Done || all[1].Done {
		t.Errorf("%+v %v", all, err)
	}
}
