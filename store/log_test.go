package store

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/mod/sumdb/tlog"

	"expunge/store/ledger"
	"expunge/store/seal"
)

var updateLeaves = flag.Bool("update-leaves", false, "write the golden leaves anew: never for kinds of events that have been released")

// TestEventsAreLeaves: an event of every kind is rendered to the bytes that it always was: what has
// been hashed could not be shown any more.
func TestEventsAreLeaves(t *testing.T) {
	e := newEnv(t)
	s := e.open(t)
	byHand.Store(e.path, nil)
	alpha, beta := twoVendors(t, s)
	take(t, s, "one", subject(s, 2, "R-1", "a@example.com", "k1", alpha, beta))
	db := raw(t, e.path)
	write := func(query string, args ...any) {
		t.Helper()
		if _, err := db.Exec(query, args...); err != nil {
			t.Fatal(err)
		}
	}
	write(`DROP TRIGGER events_go`)
	write(`DELETE FROM events`)
	write(`UPDATE subjects SET secret = ?, marks = ?, received_at = 1767225600, due_at = 1769904000, original_due_at = 1767312000, channel = 'form'`,
		[]byte("0123456789abcdef"), append([]byte{1}, "fedcba9876543210"+"\x01"+"0123456789abcdef"...))
	insert := func(task any, kind EventKind, reference any, body string) {
		t.Helper()
		var seq int64
		if err := db.QueryRow(`SELECT coalesce(max(seq), 0) + 1 FROM events`).Scan(&seq); err != nil {
			t.Fatal(err)
		}
		write(`INSERT INTO events (seq, task, prev, at, event, evidence, reason, records, records_after, reference, submitted_at, completed_at, verified_at, body)
 VALUES (?1, ?2, nullif(?1 - 1, 0), 1767225600 + ?1, ?3, 1, 'a "reason"', 2, 0, ?4, 1767225601, 1767225602, 1767225603, nullif(?5, ''))`, seq, task, int64(kind), reference, body)
	}
	var all string // of a body with everything
	if err := db.QueryRow(`SELECT '{"action":"approve","state":"pending","closed":true,"decision":7,"vendor":1,"until":1767225600,"answered_at":1767225600,"channel":"letter",
 "export":"stored","bytes":5,"sha256":"ab","batch":1,"dropped":true,"rows":4,"subjects":1,"invalid":2,"duplicates":1,"tasks":3,"run":9,"version":"v1","config":"cd","intents":2,
 "before":1767225600,"log_key":"k","lost_origin":"o","lost_size":8,"lost_root":"r","note":"why"}'`).Scan(&all); err != nil {
		t.Fatal(err)
	}
	for _, kind := range EventKinds() {
		task, reference := any(1000), any("ref-1")
		switch {
		case kind >= EventBatch:
			task = nil
		case kind == EventReceived || kind == EventAdded || kind == EventExtended || kind == EventAnswered:
			task, reference = 1999, int64(1)
		}
		if kind == EventExtended || kind == EventAnswered {
			reference = nil
		}
		insert(task, kind, reference, "")
		insert(task, kind, reference, all)
	}
	uuid, _ := packUUID("0d9fb3ab-2f6c-4f3c-9d42-3c1f2a9d7e11")
	insert(1001, EventSubmitted, uuid, "")
	insert(1001, EventErased, int64(4711), "")
	insert(1999, EventDecided, int64(1), `{"action":"drop","batch":2}`)
	insert(nil, EventMoved, nil, `{"vendor":2}`)
	insert(nil, EventDecided, nil, `{"vendor":2,"action":"prove"}`)

	var got []byte
	if err := s.leafReader().each(ctx, `e.seq > ?`, func(seq int64, leaf []byte) error {
		if _, err := ledger.ParseLeaf(leaf); err != nil {
			t.Errorf("event %d: %v", seq, err)
		}
		got = append(append(got, leaf...), '\n')
		return nil
	}, int64(0)); err != nil {
		t.Fatal(err)
	}
	write(`UPDATE subjects SET secret = NULL`) // taken in before the log
	if err := s.leafReader().each(ctx, `e.seq <= ?`, func(_ int64, leaf []byte) error { got = append(append(got, leaf...), '\n'); return nil }, int64(1)); err != nil {
		t.Fatal(err)
	}
	const path = "../testdata/store/leaves-v1.jsonl"
	if *updateLeaves {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(string(got), "\n")); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func integrate(t *testing.T, s *Store) *ledger.Head {
	t.Helper()
	h, err := s.Integrate(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// TestIntegrate: what happened is hashed once, each head leads on from the one before, and one that
// was made stays the same; also over more events than one chunk, cut short in the middle.
func TestIntegrate(t *testing.T) {
	e := newEnv(t)
	s := e.open(t)
	if h := integrate(t, s); h != nil {
		t.Fatalf("a head of nothing: %s", h.Note)
	}
	alpha, beta := twoVendors(t, s)
	b := take(t, s, "one", subject(s, 2, "R-1", "a@example.com", "k1", alpha, beta))
	first := integrate(t, s)
	if first.Size != 2 || first.Origin != fmt.Sprintf("expunge/%x/1", s.id) || !first.At.Equal(e.now.UTC().Truncate(time.Second)) {
		t.Errorf("%+v", first)
	}
	if again := integrate(t, s); !cmp.Equal(again, first) {
		t.Errorf("without anything new: %s", again.Note)
	}
	// More than a chunk, of a person from before the log.
	byHand.Store(e.path, nil)
	db := raw(t, e.path)
	if _, err := db.Exec(`INSERT INTO events (seq, at, event, body) WITH RECURSIVE n(i) AS (SELECT 3 UNION ALL SELECT i+1 FROM n WHERE i < 20000)
 SELECT i, 1767225600, 21, '{"run":' || i || '}' FROM n`); err != nil {
		t.Fatal(err)
	}
	s.close(t)
	s = e.open(t)
	second := integrate(t, s)
	if second.Size != 20000 {
		t.Fatal(second.Size)
	}
	p, err := tlog.ProveTree(second.Size, first.Size, ledger.TileReader(s.tile))
	if err != nil {
		t.Fatal(err)
	}
	if err := tlog.CheckTree(p, second.Size, second.Root, first.Size, first.Root); err != nil {
		t.Error(err)
	}
	// Cut short: the tiles of some chunks are there, and the head is not.
	if _, err := db.Exec(`DELETE FROM heads WHERE size > 2; UPDATE log SET size = 8194; DELETE FROM tiles WHERE id BETWEEN 9 AND 99`); err != nil {
		t.Fatal(err)
	}
	if h := integrate(t, s); h.Root != second.Root || !bytes.Equal(h.Note, second.Note) {
		t.Errorf("cut short and gone on with: another head")
	}
	_ = b
	if k, err := s.CheckLog(ctx, []*ledger.Head{first, second}); err != nil || len(k.Problems) > 1 || k.Events != 20000 || k.Outside != 2 {
		t.Errorf("%+v %v", k, err) // one problem: the events that were put in by hand have none before them
	}
}

// logWorld is a store with three heads, a purged person and a few events, of which it returns
// the newest head.
func logWorld(t *testing.T) (e *env, s *Store, heads []*ledger.Head) {
	t.Helper()
	e = newEnv(t)
	s = e.open(t)
	alpha, beta := twoVendors(t, s)
	b := take(t, s, "one", subject(s, 2, "R-1", "a@example.com", "k1", alpha, beta), subject(s, 3, "R-2", "b@example.com", "k2", alpha, beta), subject(s, 4, "R-3", "c@example.com", "k3", alpha, beta))
	heads = append(heads, integrate(t, s))
	for i := range int64(2) {
		for n := range int64(2) {
			w := s.task(t, (b.First+i)*TasksPerSubject+n)
			w = mustApply(t, s, w.State, to(w, Submitting, e.now))
			w.Reference = fmt.Sprintf("ref-%d", w.ID)
			w = mustApply(t, s, w.State, to(w, Waiting, e.now))
			mustApply(t, s, w.State, to(w, Erased, e.now))
		}
		heads = append(heads, integrate(t, s))
	}
	e.now = e.now.Add(24 * time.Hour)
	if p, err := s.Purge(ctx, PurgeFilter{Before: e.now}); err != nil || p.Subjects != 2 {
		t.Fatal(p, err)
	}
	return e, s, append(heads, integrate(t, s))
}

// TestLogNames: a row of an event, a tile or a head that is edited, dropped or put in another's
// place is named by the check; by heads from outside also what was changed in all of them.
func TestLogNames(t *testing.T) {
	e, s, heads := logWorld(t)
	s.close(t)
	pristine, err := os.ReadFile(e.path)
	if err != nil {
		t.Fatal(err)
	}
	numbers := func(query string) (all []int64) {
		db := raw(t, e.path)
		defer db.Close()
		rows, err := db.Query(query)
		if err != nil {
			t.Fatal(err)
		}
		defer rows.Close()
		for rows.Next() {
			var n int64
			if err := rows.Scan(&n); err != nil {
				t.Fatal(err)
			}
			all = append(all, n)
		}
		return all
	}
	events, sizes := numbers(`SELECT seq FROM events`), numbers(`SELECT size FROM heads`)
	tampered := 0
	try := func(name, change string, args ...any) {
		t.Helper()
		path := filepath.Join(t.TempDir(), "expunge.db")
		byHand.Store(path, nil)
		if err := os.WriteFile(path, pristine, 0o600); err != nil {
			t.Fatal(err)
		}
		db := raw(t, path)
		if _, err := db.Exec(`DROP TRIGGER events_go; DROP TRIGGER events_stay`); err != nil {
			t.Fatal(err)
		}
		if _, err := db.Exec(change, args...); err != nil {
			t.Fatal(change, err)
		}
		db.Close()
		o := e.options()
		o.ReadOnly = true
		s, err := Open(ctx, path, o)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		k, err := s.CheckLog(ctx, heads)
		if err != nil {
			k = &LogCheck{Problems: []string{err.Error()}}
		}
		tampered++
		for _, p := range k.Problems {
			if strings.Contains(p, name) {
				return
			}
		}
		t.Errorf("%s (%v): %q does not name %q", change, args, k.Problems, name)
	}
	for i, seq := range events {
		name := fmt.Sprintf("event %d:", seq)
		for _, column := range []string{"at = at + 1", "event = CASE event WHEN 21 THEN 22 ELSE 21 END", "records = coalesce(records, 0) + 1", "reason = 'x'", "body = '{\"note\":\"x\"}'", "prev = coalesce(prev - 1, 1)"} {
			if column[:4] == "prev" && seq == 1 {
				continue
			}
			if strings.HasPrefix(column, "re") && len(numbers(fmt.Sprintf(`SELECT 1 FROM events WHERE seq = %d AND (task IS NULL OR task %% 1000 = 999)`, seq))) > 0 {
				continue // these mean nothing there
			}
			try(name, `PRAGMA ignore_check_constraints = ON; UPDATE events SET `+column+` WHERE seq = `+fmt.Sprint(seq))
		}
		try(name, `DELETE FROM events WHERE seq = ?`, seq)
		if i > 0 {
			try(name, fmt.Sprintf(`PRAGMA ignore_check_constraints = ON; UPDATE events SET seq = -1 WHERE seq = %d; UPDATE events SET seq = %d WHERE seq = %d; UPDATE events SET seq = %d WHERE seq = -1`,
				seq, seq, events[i-1], events[i-1]))
		}
	}
	size := heads[len(heads)-1].Size
	for at := range size * tlog.HashSize {
		if at%7 != 0 {
			continue // every byte of it: make proof
		}
		try("head", `UPDATE tiles SET hashes = CAST(substr(hashes, 1, ?1) || CASE substr(hashes, ?1 + 1, 1) WHEN x'00' THEN x'01' ELSE x'00' END || substr(hashes, ?1 + 2) AS BLOB) WHERE id = 0`, at)
	}
	try("tile 0", `DELETE FROM tiles WHERE id = 0`)
	try("tile 0", `UPDATE tiles SET hashes = substr(hashes, 33)`)
	try("level 0", `INSERT INTO tiles VALUES (1, zeroblob(32))`)
	for i, n := range sizes {
		name := fmt.Sprintf("head %d:", n)
		try(name, `UPDATE heads SET note = CAST(replace(CAST(note AS TEXT), 'time 20', 'time 19') AS BLOB) WHERE size = ?`, n)
		try(name, `DELETE FROM heads WHERE size = ?`, n)
		try(name, fmt.Sprintf(`UPDATE heads SET note = (SELECT note FROM heads WHERE size = %d) WHERE size = %d`, sizes[(i+1)%len(sizes)], n))
	}
	for _, task := range numbers(`SELECT id FROM tasks WHERE state IN (3,6)`) {
		for _, change := range []string{"records = coalesce(records, 0) + 1", "reference = 'another'", "reason = 'x'", "completed_at = completed_at + 1", "evidence = 3", "state = 7, evidence = 4"} {
			try(fmt.Sprintf("task %d:", task), `PRAGMA ignore_check_constraints = ON; DROP TRIGGER tasks_move; UPDATE tasks SET `+change+` WHERE id = `+fmt.Sprint(task))
		}
	}
	// All of the log made anew, by somebody who has the key: only heads from outside tell.
	try("outside: ", `UPDATE events SET at = at + 1 WHERE seq = 1; DELETE FROM tiles; DELETE FROM heads; UPDATE log SET size = 0`)
	t.Logf("%d changes, all named", tampered)
}

// TestLost: a store that is behind a head that was published, or leads to another, says so, until
// it begins a new epoch; heads that were given up then count no more, those of later epochs do.
func TestLost(t *testing.T) {
	e := newEnv(t)
	s := e.open(t)
	alpha, beta := twoVendors(t, s)
	take(t, s, "one", subject(s, 2, "R-1", "a@example.com", "k1", alpha, beta))
	early := integrate(t, s)
	s.close(t)
	backup, err := os.ReadFile(e.path)
	if err != nil {
		t.Fatal(err)
	}
	s = e.open(t)
	take(t, s, "two", subject(s, 2, "R-2", "b@example.com", "k1", alpha, beta))
	late := integrate(t, s)
	if err := s.CompareHeads(ctx, []*ledger.Head{early, late}); err != nil {
		t.Fatal(err)
	}
	s.close(t)
	if err := os.WriteFile(e.path, backup, 0o600); err != nil {
		t.Fatal(err)
	}
	s = e.open(t)
	var lost *LostError
	if err := s.CompareHeads(ctx, []*ledger.Head{early, late}); !errors.As(err, &lost) || lost.Missing != 2 || lost.Head.Size != late.Size || !strings.Contains(err.Error(), "2 events are missing") {
		t.Fatalf("a restored backup: %v", err)
	}
	// It goes on all the same, and is as long as the other: a fork. Not even hashed yet.
	take(t, s, "three", subject(s, 2, "R-3", "c@example.com", "k1", alpha, beta))
	if err := s.CompareHeads(ctx, []*ledger.Head{late}); !errors.As(err, &lost) || lost.Missing != 0 {
		t.Errorf("a fork: %v", err)
	}
	fork := integrate(t, s)
	if err := s.CompareHeads(ctx, []*ledger.Head{late, early, fork}); !errors.As(err, &lost) {
		t.Errorf("a fork with a head: %v", err)
	}
	foreign := *late
	foreign.Note = bytes.Replace(late.Note, []byte("time 20"), []byte("time 19"), 1)
	if err := s.CompareHeads(ctx, []*ledger.Head{&foreign}); !errors.As(err, &lost) {
		t.Errorf("a head of this log that its key has not signed: %v", err)
	}
	other := *late
	other.Origin = "another/1"
	if err := s.CompareHeads(ctx, []*ledger.Head{&other}); err != nil {
		t.Errorf("a head of another log: %v", err)
	}
	epoch, err := s.Restart(ctx, late, "a backup was put back")
	if err != nil || epoch != 2 {
		t.Fatal(epoch, err)
	}
	second := integrate(t, s)
	if _, n := second.Epoch(); n != 2 || second.Size != fork.Size+1 {
		t.Errorf("%s at %d", second.Origin, second.Size)
	}
	if err := s.CompareHeads(ctx, []*ledger.Head{early, late, fork, second}); err != nil {
		t.Errorf("after the restart: %v", err)
	}
	s.close(t)
	if err := os.WriteFile(e.path, backup, 0o600); err != nil {
		t.Fatal(err)
	}
	s = e.open(t)
	if err := s.CompareHeads(ctx, []*ledger.Head{early, second}); !errors.As(err, &lost) || lost.Head != second {
		t.Errorf("a store of an earlier epoch: %v", err)
	}
	if epoch, err := s.Restart(ctx, second, "again"); err != nil || epoch != 3 {
		t.Error(epoch, err)
	}
}

// TestLogKey: the key of the log is kept sealed, survives a change of the store's key at every
// step, and a new one is signed beside the former.
func TestLogKey(t *testing.T) {
	e := newEnv(t)
	s := e.open(t)
	alpha, beta := twoVendors(t, s)
	take(t, s, "one", subject(s, 2, "R-1", "a@example.com", "k1", alpha, beta))
	keys, err := s.LogKeys()
	if err != nil || len(keys) != 1 {
		t.Fatal(keys, err)
	}
	head := integrate(t, s)
	next := seal.NewKey()
	if err := s.BeginRotation(ctx, next); err != nil {
		t.Fatal(err)
	}
	s.close(t)
	s = e.with(next).open(t) // cut short
	if now, err := s.LogKeys(); err != nil || !cmp.Equal(now, keys) {
		t.Errorf("%v %v", now, err)
	}
	if _, err := s.FinishRotation(ctx, nil); err != nil {
		t.Fatal(err)
	}
	files, _ := os.ReadFile(e.path)
	if bytes.Contains(files, s.log.seeds) {
		t.Error("the log's key is in the store in clear")
	}
	if err := s.RotateLogKey(ctx); err != nil {
		t.Fatal(err)
	}
	after := integrate(t, s)
	now, err := s.LogKeys()
	if err != nil || len(now) != 2 || now[1] != keys[0] {
		t.Fatal(now, err)
	}
	for _, key := range now {
		if _, err := ledger.OpenHead(after.Note, key); err != nil {
			t.Errorf("the head after: %v", err)
		}
	}
	if _, err := ledger.OpenHead(head.Note, now[0]); !errors.Is(err, ledger.ErrNotSigned) {
		t.Errorf("the head before, with the new key: %v", err)
	}
	s.close(t)
	s = e.with(next).open(t)
	if again, err := s.LogKeys(); err != nil || !cmp.Equal(again, now) {
		t.Errorf("%v %v", again, err)
	}
}
