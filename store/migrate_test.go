package store

import (
	"compress/gzip"
	"errors"
	"io"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"expunge/store/seal"
)

// v1 is a store as the program with schema 1 left it: two batches, one of which was done,
// with tasks that are open, held, waiting, failed and rejected, followers, exports and
// decisions (testdata/store). Its key is that of made-up people.
func v1(t *testing.T) *env {
	t.Helper()
	e := newEnv(t)
	key, err := os.ReadFile("../testdata/store/v1.key")
	if err != nil {
		t.Fatal(err)
	}
	if e.key, err = seal.ParseKey(strings.TrimSpace(string(key))); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open("../testdata/store/v1.db.gz")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	zr, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	all, err := io.ReadAll(zr)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(e.path, all, 0o600); err != nil {
		t.Fatal(err)
	}
	return e
}

// TestMigrate: a store of schema 1 has, after it was opened, the schema of a new one and
// everything that it had, and keeps the rules.
func TestMigrate(t *testing.T) {
	e := v1(t)
	db := raw(t, e.path)
	const columns = `id, vendor, identifier, state, due_at, next_at, evidence, follows, records, records_after, record_refs, reference, reason, more,
 previewed_at, submitted_at, completed_at, verified_at`
	kept := []string{"(SELECT " + columns + " FROM tasks)", "(SELECT id, batch, line, subject_id, received_at, due_at, shape, sealed FROM subjects)", "subject_ids", "(SELECT shape, n, vendor, identifier, state, reason FROM shapes)", "exports", "rejects", "runs", "ready", "former_references",
		"(SELECT id, name, kind, fields, paused_until FROM vendors)", "(SELECT id, name, rows, subjects FROM batches)",
		"(SELECT id, at, who, action, subject, task, reason, note, until FROM decisions)"}
	before := dump(t, e.path, kept...)
	o := e.options()
	o.ReadOnly = true
	if _, err := Open(ctx, e.path, o); !errors.Is(err, ErrOlderSchema) {
		t.Errorf("read before it was brought up to date: %v", err)
	}

	s := e.open(t)
	if diff := cmp.Diff(before, dump(t, e.path, kept...)); diff != "" {
		t.Errorf("what it had (-before +after):\n%s", diff)
	}
	fresh := newEnv(t)
	fresh.open(t)
	if diff := cmp.Diff(schema(t, fresh.path), schema(t, e.path)); diff != "" {
		t.Errorf("the schema (-new +migrated):\n%s", diff)
	}
	for query, want := range map[string]string{
		`PRAGMA integrity_check`:                        "ok",
		`SELECT count(*) FROM pragma_foreign_key_check`: "0",
		// A rejected task is closed, since that was a person's word; no other is.
		`SELECT group_concat(reason || ' ' || n || ' ' || closed) FROM (SELECT reason, count(*) AS n, count(closed_at) AS closed FROM tasks WHERE state = 9 GROUP BY 1 ORDER BY 1)`: "attempts_exhausted 6 0,rejected 1 1",
		// The batch with nothing but a failed task is looked at again by every run.
		`SELECT group_concat(done) FROM batches`: "0,0",
		// Nothing is left that guesses about finished people could be tried on, and a file's digest
		// is not an open one.
		`SELECT (SELECT count(*) FROM batches WHERE digest IS NOT NULL) || ' ' || sum((content = 0) <> NOT EXISTS (SELECT 1 FROM tasks t
 WHERE t.id/1000 = s.id AND (t.state < 6 OR t.state = 9 AND closed_at IS NULL))) || ' ' || (count(DISTINCT content = 0)) FROM subjects s`: "0 0 2",
		`SELECT group_concat(told) FROM batches`: "1,1",
		`SELECT count(*) = (SELECT count(DISTINCT vendor || ' ' || hex(reference)) FROM tasks WHERE reference IS NOT NULL) AND count(*) > 15 FROM given_references`: "1",
		`SELECT count(*) FROM given_references g JOIN tasks t ON t.id = g.task AND t.reference = g.reference AND t.vendor = g.vendor AND t.follows IS NULL`:         scalar[string](t, db, `SELECT count(*) FROM given_references`),
	} {
		if got := scalar[string](t, db, query); got != want {
			t.Errorf("%s: %s, want %s", query, got, want)
		}
	}

	// The rules of the new schema hold for its rows.
	failed, err := s.HeldAfter(ctx, HeldFilter{Failed: true}, 0, 100)
	if err != nil || len(failed) != 6 {
		t.Fatalf("%d failed, %v", len(failed), err)
	}
	w := failed[0].Task
	w.State, w.CompletedAt, w.Ready, w.Reason = Pending, time.Time{}, true, ""
	mustApply(t, s, Failed, w)
	w.State, w.Ready, w.CompletedAt, w.Evidence = NotFound, false, start, ControlSeen
	mustApply(t, s, Pending, w)
	if got, err := s.TaskByID(ctx, w.ID); err != nil || got.Evidence != ControlSeen {
		t.Errorf("%+v, %v", got, err)
	}
	if _, err := db.Exec(`UPDATE tasks SET evidence = 2 WHERE id = ?`, w.ID); err == nil {
		t.Error("a migrated store takes what a new one refuses")
	}
	// What was taken in before there were events has those of what happens from now on.
	h, err := s.History(ctx, failed[0].SubjectID)
	if err != nil || h.Logged || len(h.Events) != 2 || h.Events[0].Prev != 0 || h.Events[1].Kind != EventNotFound || h.Events[1].Prev != h.Events[0].Seq {
		t.Errorf("%+v %v", h, err)
	}
	s.close(t)
	e.open(t)
}

// schema is all that a store's file is made of, by name.
func schema(t *testing.T, path string) string {
	t.Helper()
	db := raw(t, path)
	defer db.Close()
	rows, err := db.Query(`SELECT type || ' ' || name || ' ' || coalesce(sql, '') FROM sqlite_schema`)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	var all []string
	for rows.Next() {
		var text string
		if err := rows.Scan(&text); err != nil {
			t.Fatal(err)
		}
		all = append(all, text)
	}
	slices.Sort(all)
	return strings.Join(all, "\n")
}
