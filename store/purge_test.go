package store

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// purgeStore has two batches. Of the first, R-old and R-old2 are finished long ago, R-failed
// has failed, R-open is open, R-new was finished lately; the second is all finished, and one of its
// rows was refused.
func purgeStore(t *testing.T) (*env, *Store, PurgeFilter) {
	t.Helper()
	e := newEnv(t)
	s := e.open(t)
	alpha, beta := twoVendors(t, s)
	row := func(line int, id, a string) *NewSubject { return subject(s, line, id, a, "", alpha, beta) }
	b := take(t, s, "one", row(2, "R-old", "old@example.com"), row(3, "R-failed", "failed@example.com"),
		row(4, "R-open", "open@example.com"), row(5, "R-new", "new@example.com"), row(6, "R-old2", "old@example.com"))
	finish := func(subject int64, state State, at time.Time) {
		w, err := s.TaskByID(ctx, subject*TasksPerSubject)
		if err != nil {
			t.Fatal(err)
		}
		held := to(w.Task, Held, at)
		held.Reference = "ref"
		mustApply(t, s, Pending, held)
		done := to(held, state, at)
		done.Reference = "ref-2"
		if err := s.Decide(ctx, Change{From: Held, Task: done}, Decision{At: at, Who: "somebody", Action: "confirm"}); err != nil {
			t.Fatal(err)
		}
	}
	finish(b.First, Erased, start) // R-old2 follows it
	finish(b.First+1, Failed, start)
	finish(b.First+3, Erased, start.AddDate(0, 2, 0))

	in, err := s.BeginIntake(ctx, "two.csv", start)
	if err != nil {
		t.Fatal(err)
	}
	if err := in.Reject(Reject{Line: 2, SubjectID: "R-bad", Reason: "bad_email", Message: "m"}); err != nil {
		t.Fatal(err)
	}
	if err := in.Subject(row(3, "R-two", "two@example.com")); err != nil {
		t.Fatal(err)
	}
	two, _, err := in.Settle(ctx, []byte("two"), rules)
	if err != nil {
		t.Fatal(err)
	}
	finish(two.First, Erased, start)
	return e, s, PurgeFilter{Before: start.AddDate(0, 1, 0)}
}

// balance checks every batch as the control totals do.
func balance(t *testing.T, s *Store) {
	t.Helper()
	all, err := s.Batches(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range all {
		c, err := s.Count(ctx, b)
		if err != nil {
			t.Fatal(err)
		}
		tally, err := s.Tally(ctx, b.ID, start)
		if err != nil {
			t.Fatal(err)
		}
		var tasks int64
		for _, row := range tally {
			tasks += row.Tasks
		}
		if c.Subjects+c.Purged != b.Subjects || c.Rejects != b.Invalid+b.Duplicates || c.Expected != tasks {
			t.Errorf("batch %d does not balance: %+v, %+v, %d tasks", b.ID, b, c, tasks)
		}
	}
}

func (s *Store) subjectIDs(t *testing.T) (ids []string) {
	t.Helper()
	if err := s.Rows(ctx, Filter{}, func(r *Row) error {
		if len(ids) == 0 || ids[len(ids)-1] != r.SubjectID {
			ids = append(ids, r.SubjectID)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return ids
}

// TestPurge: exactly what is finished and old goes, with everything about it; the totals
// balance; and a ticket that was purged is never worked on again.
func TestPurge(t *testing.T) {
	e, s, f := purgeStore(t)
	want := Purged{Subjects: 3, Tasks: 6, Failed: 1, Logged: 3}
	var names []string
	if err := s.EachPurgeable(ctx, f, func(name string) error { names = append(names, name); return nil }); err != nil || len(names) != 3 {
		t.Errorf("%v would go: %v", names, err)
	}
	if got, err := s.Purgeable(ctx, f); got != want || err != nil {
		t.Errorf("purgeable %+v (%v), want %+v", got, err, want)
	}
	if n := len(s.subjectIDs(t)); n != 7 {
		t.Errorf("asking has left %d of 7", n)
	}
	want.Rejects, want.Logged = 1, 0
	if got, err := s.Purge(ctx, f); got != want || err != nil {
		t.Errorf("purged %+v (%v), want %+v", got, err, want)
	}
	for _, name := range names {
		if _, _, err := s.Certify(ctx, name, Certified{}); !errors.Is(err, ErrPurged) {
			t.Errorf("%s would have gone, and did not: %v", name, err)
		}
	}
	if d := cmp.Diff([]string{"R-failed", "R-open", "R-new"}, s.subjectIDs(t)); d != "" {
		t.Errorf("left (-want +got):\n%s", d)
	}
	balance(t, s)
	if got, err := s.Purge(ctx, f); got != (Purged{Failed: 1}) || err != nil {
		t.Errorf("again: %+v, %v", got, err)
	}
	if err := s.Compact(ctx); err != nil {
		t.Error(err)
	}
	db := raw(t, e.path)
	for query, want := range map[string]int{
		`SELECT count(*) FROM subject_ids`:       6,
		`SELECT count(*) FROM former_references`: 2, // R-failed and R-new
		`SELECT count(*) FROM given_references`:  0,
		`SELECT count(*) FROM decisions`:         2,
		`SELECT count(*) FROM tasks`:             6,
		`SELECT count(*) FROM batches`:           2,
		`PRAGMA freelist_count`:                  0,
	} {
		if got := scalar[int](t, db, query); got != want {
			t.Errorf("%s: %d, want %d", query, got, want)
		}
	}

	alpha, beta := twoVendors(t, s)
	b := take(t, s, "three", subject(s, 2, "R-old", "other@example.com", "", alpha, beta))
	if b.Subjects != 0 || b.Duplicates != 1 {
		t.Errorf("a purged ticket is taken in again: %+v", b)
	}
	if again, ok, err := s.FindBatch(ctx, []byte("two")); err != nil || !ok || again.Rows != 2 {
		t.Errorf("a purged file is not known any more: %+v %v %v", again, ok, err)
	}
	balance(t, s)
}

// TestPurgeFailed: failed requests go only when that is asked for.
func TestPurgeFailed(t *testing.T) {
	_, s, f := purgeStore(t)
	f.Failed = true
	if got, err := s.Purge(ctx, f); got.Subjects != 4 || got.Failed != 0 || err != nil {
		t.Errorf("%+v, %v", got, err)
	}
	if d := cmp.Diff([]string{"R-open", "R-new"}, s.subjectIDs(t)); d != "" {
		t.Errorf("left (-want +got):\n%s", d)
	}
	balance(t, s)
}

// TestPurgeKeepsFollowers: a task that followed one that is purged stays what it is.
func TestPurgeKeepsFollowers(t *testing.T) {
	e, s, f := purgeStore(t)
	// The second person of the pair has another task that is open still.
	mustExec(t, raw(t, e.path), `DROP TRIGGER tasks_move`)
	mustExec(t, raw(t, e.path), `UPDATE tasks SET state = 0, completed_at = NULL, next_at = 0 WHERE id = 5001`)
	byHand.Store(e.path, true)
	if got, err := s.Purge(ctx, f); got.Subjects != 2 || err != nil {
		t.Errorf("%+v, %v", got, err)
	}
	w, err := s.TaskByID(ctx, 5000)
	if err != nil || w.State != Erased || w.Follows != 0 || w.Reference != "ref-2" {
		t.Errorf("the follower: %+v, %v", w, err)
	}
	balance(t, s)
}

// TestPurgeWhileLoading: the subjects of a file that is being taken in have no tasks yet,
// and are not finished for that.
func TestPurgeWhileLoading(t *testing.T) {
	e, s, f := purgeStore(t)
	mustExec(t, raw(t, e.path), `INSERT INTO batches (name, taken_at, first_subject) VALUES ('x', 0, 100)`)
	mustExec(t, raw(t, e.path), `INSERT INTO subjects (id, batch, line, subject_id, content, received_at, due_at, shape, sealed) SELECT 100, 3, line, 'R-loading', content, received_at, due_at, shape, sealed FROM subjects WHERE id = 1`)
	if got, err := s.Purge(ctx, f); got.Subjects != 3 || err != nil {
		t.Errorf("%+v, %v", got, err)
	}
}

// TestPurgeCutShort: a purge that was stopped leaves totals that balance, and the next one
// does the rest.
func TestPurgeCutShort(t *testing.T) {
	_, s, f := purgeStore(t)
	if _, err := s.Purge(&cutShort{ctx, 1 << 20}, f); err != nil {
		t.Fatal(err)
	}
	_, s, f = purgeStore(t)
	for n := range 3 {
		if _, err := s.Purge(&purgeCut{cutShort{ctx, n}}, f); err != nil && !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		balance(t, s)
	}
	if _, err := s.Purge(ctx, f); err != nil {
		t.Fatal(err)
	}
	if n := len(s.subjectIDs(t)); n != 3 {
		t.Errorf("%d are left, want 3", n)
	}
}

// purgeCut lets database/sql have its own look at a context that has no end for it.
type purgeCut struct{ cutShort }

func (*purgeCut) Done() <-chan struct{} { return nil }
