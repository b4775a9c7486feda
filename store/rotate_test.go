package store

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"expunge/store/seal"
)

// cutShort is a context that ends after its error was asked for n times.
type cutShort struct {
	context.Context
	n int
}

func (c *cutShort) Err() error {
	if c.n--; c.n < 0 {
		return context.Canceled
	}
	return nil
}

// many is a store with more subjects than one chunk of a rotation has.
func many(t *testing.T, n int) (*env, *Store) {
	t.Helper()
	e := newEnv(t)
	s := e.open(t)
	alpha, beta := twoVendors(t, s)
	rows := make([]*NewSubject, n)
	for i := range rows {
		rows[i] = subject(s, i+2, fmt.Sprintf("R-%d", i), fmt.Sprintf("a%d@example.com", i), "", alpha, beta)
	}
	take(t, s, "many", rows...)
	return e, s
}

func (e *env) with(key seal.Key) *env {
	other := *e
	other.key = key
	return &other
}

// opens reports whether a store opens with the key, and checks that every subject can then
// be read.
func (e *env) opens(t *testing.T, key seal.Key, subjects int) bool {
	t.Helper()
	o := e.with(key).options()
	o.ReadOnly = true
	s, err := Open(ctx, e.path, o)
	if errors.Is(err, seal.ErrWrongKey) {
		return false
	}
	if err != nil {
		t.Fatal(err)
	}
	defer s.close(t)
	n := 0
	if err := s.Rows(ctx, Filter{}, func(r *Row) error { n++; return nil }); err != nil || n != 2*subjects {
		t.Errorf("%d rows (%v), want %d", n, err, 2*subjects)
	}
	return true
}

// left counts the subjects that the key alone does not open.
func (e *env) left(t *testing.T, key seal.Key) (n int) {
	t.Helper()
	db := raw(t, e.path)
	defer db.Close()
	box, err := seal.NewBox(key, scalar[[]byte](t, db, `SELECT value FROM meta WHERE name = 'store_id'`))
	if err != nil {
		t.Fatal(err)
	}
	rows, err := db.Query(`SELECT id, sealed FROM subjects`)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var id int64
		var sealed []byte
		if err := rows.Scan(&id, &sealed); err != nil {
			t.Fatal(err)
		}
		if _, err := box.Open(nil, sealed, seal.Place{Table: "subjects", Row: id}); err != nil {
			n++
		}
	}
	return n
}

// TestRotation: after a rotation the new key opens everything, the old one nothing, equal
// identifiers are still found equal, and the file holds no way back to the old key.
func TestRotation(t *testing.T) {
	e, s := many(t, 30)
	next, same := seal.NewKey(), s.Digester().Sum64("x")
	if err := s.BeginRotation(ctx, next); err != nil {
		t.Fatal(err)
	}
	if err := s.BeginRotation(ctx, seal.NewKey()); !errors.Is(err, ErrRotating) {
		t.Errorf("a rotation within a rotation: %v", err)
	}
	// While the caller has something left to remove, the rotation is not over.
	busy := errors.New("busy")
	if n, err := s.FinishRotation(ctx, func() error { return busy }); n != 30 || !errors.Is(err, busy) {
		t.Fatalf("resealed %d, %v", n, err)
	}
	s.close(t)
	s = e.with(next).open(t)
	if !s.Rotating() || !s.Replaces(e.key) || s.Replaces(next) || s.Replaces(seal.Key{}) {
		t.Error("the rotation is forgotten before its end")
	}
	if n, err := s.FinishRotation(ctx, nil); n != 0 || err != nil || s.Rotating() || s.Replaces(e.key) || s.Replaces(seal.Key{}) {
		t.Errorf("finished with %d, %v", n, err)
	}
	if n, err := s.FinishRotation(ctx, func() error { return busy }); n != 0 || err != nil {
		t.Errorf("again: %d, %v", n, err)
	}
	s.close(t)
	if e.opens(t, e.key, 30) {
		t.Error("the old key still opens the store")
	}
	if !e.opens(t, next, 30) || e.left(t, next) != 0 {
		t.Error("the new key does not open everything")
	}
	if n := scalar[int](t, raw(t, e.path), `SELECT count(*) FROM meta`); n != 3 { // the store's id, the lookup key, the log's
		t.Errorf("%d entries in meta: the old key has not been dropped", n)
	}
	r := e.with(next).open(t)
	if r.Digester().Sum64("x") != same {
		t.Error("digests have changed: identifiers taken in before would not be recognised")
	}
	if err := r.BeginRotation(ctx, next); err == nil {
		t.Error("the present key is taken for a new one")
	}
}

// TestRotationCutShort kills a rotation before its first commit and after each of them:
// the store opens with exactly one of the two keys, everything in it can be read and
// worked on, and the rotation can be finished.
func TestRotationCutShort(t *testing.T) {
	const n = 2*resealChunk + 7 // three chunks
	e, s := many(t, n)
	next := seal.NewKey()
	before := copyStore(t, e)
	if err := s.BeginRotation(&cutShort{ctx, 0}, next); !errors.Is(err, context.Canceled) || s.Rotating() {
		t.Fatalf("stopped before the first commit: %v", err)
	}
	if !before.opens(t, e.key, n) || before.opens(t, next, n) {
		t.Error("before the first commit, the store must open with the old key only")
	}
	if err := s.BeginRotation(ctx, next); err != nil {
		t.Fatal(err)
	}
	want := []int{n, n - resealChunk, n - 2*resealChunk, 0}
	for commits, left := range want {
		if commits > 0 { // one chunk at a time
			if _, err := s.FinishRotation(&cutShort{ctx, commits}, nil); !errors.Is(err, context.Canceled) {
				t.Fatalf("stopped after %d commits: %v", commits, err)
			}
		}
		dead := copyStore(t, e).with(next)
		if dead.opens(t, e.key, n) {
			t.Errorf("%d commits: the old key opens the store", commits)
		}
		if !dead.opens(t, next, n) || dead.left(t, next) != left {
			t.Errorf("%d commits: %d subjects are left to reseal, want %d", commits, dead.left(t, next), left)
		}
		r := dead.open(t)
		if !r.Rotating() {
			t.Errorf("%d commits: the rotation is forgotten", commits)
		}
		// Work goes on meanwhile: a task becomes final, and its subject is resealed.
		w, err := r.TaskByID(ctx, n*TasksPerSubject)
		if err != nil {
			t.Fatal(err)
		}
		mustApply(t, r, Pending, to(w.Task, NotFound, start))
		if got, err := r.FinishRotation(ctx, nil); err != nil || got != int64(max(0, left-1)) {
			t.Errorf("%d commits: finished with %d, %v", commits, got, err)
		}
		r.close(t)
		if !dead.opens(t, next, n) || dead.left(t, next) != 0 {
			t.Errorf("%d commits: not all is resealed at the end", commits)
		}
	}
}

// TestRotationOfSomethingElse: a subject that neither key opens stops the rotation, and the
// old key is not forgotten.
func TestRotationOfSomethingElse(t *testing.T) {
	e, s := many(t, 3)
	mustExec(t, raw(t, e.path), `UPDATE subjects SET sealed = zeroblob(60) WHERE id = 2`)
	if err := s.BeginRotation(ctx, seal.NewKey()); err != nil {
		t.Fatal(err)
	}
	if _, err := s.FinishRotation(ctx, nil); !errors.Is(err, seal.ErrWrongKey) || !s.Rotating() {
		t.Errorf("a damaged subject: %v", err)
	}
}

// TestStorePrintsNoKeys: a store in a log line or a panic shows neither key.
func TestStorePrintsNoKeys(t *testing.T) {
	e, s := many(t, 1)
	if got, want := fmt.Sprintf("%+v %#v", s, s), "store "+e.path+" store "+e.path; got != want {
		t.Errorf("prints %s", got)
	}
	if got := fmt.Sprintf("%v %+v %#v %x %v %+v", e.key, e.key, e.key, e.key, s.lookup, s.box); got != "[key] [key] [key] [key] [key] [box]" {
		t.Errorf("prints %s", got)
	}
}
