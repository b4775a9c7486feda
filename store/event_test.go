package store

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"expunge/store/replay"
	"expunge/store/seal"
)

// told is the history of a subject, one line per event.
func told(t *testing.T, s *Store, subjectID string) []string {
	t.Helper()
	h, err := s.History(ctx, subjectID)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, e := range h.Events {
		line := e.Kind.String()
		if e.Task != 0 {
			line = fmt.Sprintf("%d %s", e.Task%TasksPerSubject, line)
		}
		for _, more := range []string{e.Evidence.String(), e.Reason, e.Reference, e.Body.Action, e.Body.State, e.Body.Export} {
			if more != "" {
				line += " " + more
			}
		}
		if e.Records.Known || e.RecordsAfter.Known {
			line += fmt.Sprintf(" %d/%d", e.Records.N, e.RecordsAfter.N)
		}
		if d, ok := h.Decisions[e.Body.Decision]; ok {
			line += fmt.Sprintf(" by %s: %s", d.Who, d.Note)
		}
		all = append(all, line)
	}
	return all
}

func wantTold(t *testing.T, s *Store, subjectID string, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, told(t, s, subjectID)); diff != "" {
		t.Errorf("%s (-want +told):\n%s", subjectID, diff)
	}
}

// TestEvents: what a person would tell of two requests of one person, one of them at two
// vendors, is told once each, and nothing else: not the previews, polls and retries.
func TestEvents(t *testing.T) {
	e := newEnv(t)
	s := e.open(t)
	alpha, beta := twoVendors(t, s)
	b := take(t, s, "one", subject(s, 2, "R-1", "a@example.com", "k1", alpha, beta), subject(s, 3, "R-2", "a@example.com", "", alpha, beta))
	w := s.task(t, b.First*TasksPerSubject)
	if err := s.Apply(ExportChange{New: true, Export: Export{Task: w.ID, Vendor: alpha}}); err != nil {
		t.Fatal(err)
	}
	step := func(state State, change func(*Task)) {
		t.Helper()
		from := w.State
		w = to(w, state, e.now)
		change(&w)
		w = mustApply(t, s, from, w)
	}
	decide := func(action, note string, state State, change func(*Task)) {
		t.Helper()
		from := w.State
		w = to(w, state, e.now)
		change(&w)
		if err := s.Decide(ctx, Change{From: from, Task: w}, Decision{At: e.now, Who: "kim", Action: action, Note: note}); err != nil {
			t.Fatal(err)
		}
	}
	none := func(*Task) {}
	step(Previewed, func(t *Task) { t.Records = Counted(3) })
	step(Pending, none) // a retry
	step(Held, func(t *Task) { t.Reason = "unknown_owner" })
	decide("approve", "it is she", Pending, func(t *Task) { t.Reason = "" })
	step(Submitting, none)
	step(Waiting, func(t *Task) { t.Reference = "ref-1" })
	step(Waiting, none) // a poll
	step(Waiting, func(t *Task) { t.Reference = "ref-2" })
	if _, err := s.Extend(ctx, "R-1", start.Add(60*24*time.Hour), Decision{At: e.now, Who: "lee", Note: "many keys"}, allowed); err != nil {
		t.Fatal(err)
	}
	x, _, _ := s.ExportOf(ctx, w.ID)
	for _, state := range []ExportState{ExportWaiting, ExportReady, ExportStored} {
		from := x.State
		x = exportAt(x, state, e.now)
		if err := s.Apply(ExportChange{From: from, Export: x}); err != nil {
			t.Fatal(err)
		}
	}
	step(Verifying, none)
	step(Failed, func(t *Task) { t.Reason, t.RecordsAfter = "still_present", Counted(1) })
	decide("retry", "", Pending, func(t *Task) { t.Reason, t.CompletedAt, t.Reference = "", time.Time{}, "" })
	step(Submitting, none)
	step(Waiting, func(t *Task) { t.Reference = "ref-3" })
	decide("confirm", "seen to", Erased, func(t *Task) { t.Evidence, t.VerifiedAt, t.RecordsAfter = Confirmed, time.Time{}, Count{} })

	of := func(n string) []string {
		return []string{n + "held unknown_owner 3/0", n + "decided approve pending 3/0 by kim: it is she", n + "submitted ref-1 3/0", n + "submitted ref-2 3/0",
			n + "exported stored", n + "failed still_present ref-2 3/1", n + "decided retry pending 3/1 by kim: ", n + "submitted ref-3 3/1", n + "erased confirmed ref-3 3/0 by kim: seen to"}
	}
	wantTold(t, s, "R-1", slices.Concat([]string{"received 1 2/0"}, of("0 ")[:4], []string{"extended by lee: many keys"}, of("0 ")[4:])...)
	wantTold(t, s, "R-2", append([]string{"received 2 1/0"}, of("0 ")...)...)

	h, err := s.History(ctx, "R-1")
	if err != nil {
		t.Fatal(err)
	}
	if !h.Logged || h.Batch != b.ID || h.Line != 2 || !h.DueAt.Equal(start.Add(60*24*time.Hour)) || len(h.Tasks) != 2 || h.Tasks[0].Export.SHA256 != hexSum {
		t.Errorf("%+v", h)
	}
	if former := h.Tasks[0].Former; len(former) != 2 || former[0].Reference != "ref-1" || former[1].Reference != "ref-2" {
		t.Errorf("former references: %+v", former)
	}
	if d := h.Decisions[h.Events[2].Body.Decision]; d.Reason != "unknown_owner" || d.Task != w.ID {
		t.Errorf("%+v", d)
	}
	if _, err := s.History(ctx, "R-3"); !errors.Is(err, ErrUnknown) {
		t.Errorf("a ticket that nobody knows: %v", err)
	}
}

// TestEventsOfNobody: files, runs, purges, decisions about vendors and changes of the key
// are told too.
func TestEventsOfNobody(t *testing.T) {
	e := newEnv(t)
	s := e.open(t)
	alpha, beta := twoVendors(t, s)
	b := take(t, s, "one", subject(s, 2, "R-1", "a@example.com", "", alpha, beta))
	if _, err := s.BeginRun(ctx, Run{StartedAt: start, Version: "1.2", Config: []byte{0xab}}); err != nil {
		t.Fatal(err)
	}
	if err := s.Prove(ctx, alpha, "", "", Decision{At: start, Who: "kim"}); err != nil {
		t.Fatal(err)
	}
	if err := s.Moved(ctx, beta, "elsewhere", "", Decision{At: start, Who: "kim"}); err != nil {
		t.Fatal(err)
	}
	mustApply(t, s, Pending, to(s.task(t, b.First*TasksPerSubject), NotFound, start))
	if p, err := s.Purge(ctx, PurgeFilter{Before: start.Add(time.Hour)}); err != nil || p.Subjects != 1 {
		t.Fatalf("%+v %v", p, err)
	}
	rotate(t, e, s)
	want := []string{`2 20 {"batch":1,"rows":1,"subjects":1}`, `3 21 {"run":1,"version":"1.2","config":"ab"}`, `4 5 {"action":"prove","decision":1,"vendor":1}`,
		`5 6 {"decision":2,"vendor":2}`, fmt.Sprintf(`7 22 {"subjects":1,"tasks":2,"before":%d}`, start.Add(time.Hour).Unix()), `8 23 `}
	got := strings.Split(scalar[string](t, raw(t, e.path), `SELECT group_concat(seq || ' ' || event || ' ' || coalesce(body, ''), char(10)) FROM (SELECT * FROM events WHERE task IS NULL ORDER BY seq)`), "\n")
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if _, err := s.History(ctx, "R-1"); !errors.Is(err, ErrPurged) {
		t.Errorf("a ticket that was purged: %v", err)
	}
}

// TestEventsStay: nobody changes an event, and none goes without what it is about.
func TestEventsStay(t *testing.T) {
	e, s, w := oneTask(t)
	mustApply(t, s, Pending, to(w.Task, NotFound, start))
	if _, err := s.BeginRun(ctx, Run{StartedAt: start, Config: []byte{1}}); err != nil {
		t.Fatal(err)
	}
	db := raw(t, e.path)
	n := scalar[int](t, db, `SELECT count(*) FROM events`)
	for _, q := range []string{`UPDATE events SET reason = 'x'`, `UPDATE events SET at = at`, `DELETE FROM events WHERE event = 1`, `DELETE FROM events WHERE event = 10`,
		`DELETE FROM events WHERE task IS NULL`, `DELETE FROM events`} {
		if _, err := db.Exec(q); err == nil || !strings.Contains(err.Error(), "an event ") {
			t.Errorf("%s: %v", q, err)
		}
	}
	if now := scalar[int](t, db, `SELECT count(*) FROM events`); n != 4 || now != n {
		t.Errorf("%d events, %d afterwards", n, now)
	}
}

// TestEventNumbers: numbers have no gap after a transaction that was rolled back, and those of
// purged people are not given again.
func TestEventNumbers(t *testing.T) {
	e := newEnv(t)
	s := e.open(t)
	alpha, beta := twoVendors(t, s)
	b := take(t, s, "one", subject(s, 2, "R-1", "a@example.com", "k1", alpha, beta), subject(s, 3, "R-2", "b@example.com", "k2", alpha, beta))
	id := b.First * TasksPerSubject
	first, second := s.task(t, id), s.task(t, id+1)
	err := s.DecideAll(ctx, []Change{{From: Pending, Task: to(first, Held, start)}, {From: Held, Task: to(second, Pending, start)}}, Decision{At: start, Who: "kim", Action: "approve"})
	if !errors.Is(err, ErrConflict) {
		t.Fatal(err)
	}
	mustApply(t, s, Pending, to(first, NotFound, start))
	mustApply(t, s, Pending, to(second, NotFound, start))
	if n := scalar[int](t, raw(t, e.path), `SELECT max(seq) FROM events`); n != 5 {
		t.Errorf("the newest event is %d", n)
	}
	if _, err := s.Purge(ctx, PurgeFilter{Before: start.Add(time.Hour)}); err != nil {
		t.Fatal(err)
	}
	s.close(t)
	s = e.open(t)
	mustApply(t, s, Pending, to(s.task(t, id+TasksPerSubject), NotFound, start))
	if seqs := scalar[string](t, raw(t, e.path), `SELECT group_concat(seq) FROM events`); seqs != "2,3,6,7" {
		t.Errorf("events %s", seqs)
	}
}

// TestEventsOfIntake: subjects are received in their order, whether or not rows before them
// were refused, and an intake that does not count leaves nothing.
func TestEventsOfIntake(t *testing.T) {
	e := newEnv(t)
	s := e.open(t)
	alpha, beta := twoVendors(t, s)
	row := func(line int, id string) *NewSubject { return subject(s, line, id, id+"@example.com", "", alpha, beta) }
	var many []*NewSubject
	for n := range chunk + 10 {
		many = append(many, row(n+2, fmt.Sprintf("M-%05d", n)))
	}
	take(t, s, "many", many...)
	db := raw(t, e.path)
	if n := scalar[int](t, db, `SELECT count(*) FROM events e JOIN subjects s ON e.task = s.id*1000+999 AND e.seq = s.event AND e.seq = s.id`); n != chunk+10 {
		t.Errorf("%d are received in their order", n)
	}
	newest := scalar[int](t, db, `SELECT max(seq) FROM events`)
	refused := rules
	refused.Accept = func(Batch) error { return errors.New("no") }
	in, err := s.BeginIntake(ctx, "refused", start)
	if err != nil {
		t.Fatal(err)
	}
	if err := in.Subject(row(2, "X-1")); err != nil {
		t.Fatal(err)
	}
	if _, _, err := in.Settle(ctx, []byte("refused"), refused); err == nil {
		t.Fatal("taken in")
	}
	if n := scalar[int](t, db, `SELECT max(seq) FROM events`); n != newest {
		t.Errorf("%d after an intake that was refused, %d before", n, newest)
	}
	two := take(t, s, "two", row(2, "M-00003"), row(3, "N-1"), row(4, "M-00004"), row(5, "N-2"))
	if got := scalar[string](t, db, `SELECT group_concat(e.seq || ' ' || s.subject_id) FROM events e JOIN subjects s ON e.task = s.id*1000+999 WHERE s.batch = ?`, two.ID); got !=
		fmt.Sprintf("%d N-1,%d N-2", newest+1, newest+2) {
		t.Error(got)
	}
}

// TestAddedAndDropped: tasks that a later file adds are told with it, where they follow one
// that is under way with where it stands, and when the file is taken back with that.
func TestAddedAndDropped(t *testing.T) {
	e := newEnv(t)
	s := e.open(t)
	alpha, beta := twoVendors(t, s)
	first := at(subject(s, 2, "R-1", "a@example.com", "k1", alpha, beta), beta)
	first.Identifiers = first.Identifiers[1:] // no vendor needs the other
	one, _ := takeWith(t, s, following(s), "one", first, subject(s, 3, "R-2", "a@example.com", "", alpha, beta))
	held := to(s.task(t, (one.First+1)*TasksPerSubject), Held, start)
	held.Reason = "unknown_owner"
	mustApply(t, s, Pending, held)
	before := dump(t, e.path, "(SELECT id, shape, marks FROM subjects)")
	two, _ := takeWith(t, s, following(s), "two", subject(s, 2, "R-1", "a@example.com", "k1", alpha, beta), subject(s, 3, "R-3", "c@example.com", "", alpha, beta))
	wantTold(t, s, "R-1", "received 1 1/0", "added 4 2/0", "1 held unknown_owner")
	if found, err := s.Find(ctx, []Identifier{identified(1, "a@example.com")}); err != nil || !slices.Equal(found, []string{"R-1", "R-2"}) {
		t.Errorf("found by what a later file said: %q %v", found, err)
	}
	if _, err := s.DropBatch(ctx, two.ID, Decision{At: start, Who: "kim"}); err != nil {
		t.Fatal(err)
	}
	wantTold(t, s, "R-1", "received 1 1/0", "added 4 2/0", "decided 1 drop 1/0")
	if diff := cmp.Diff(before, dump(t, e.path, "(SELECT id, shape, marks FROM subjects)")); diff != "" {
		t.Errorf("(-before +dropped):\n%s", diff)
	}
	if n := scalar[int](t, raw(t, e.path), `SELECT count(*) FROM events WHERE task/1000 = ?`, two.First); n != 0 {
		t.Errorf("%d events are left of a subject that was taken back", n)
	}
}

// TestFind: who has an identifier is found by it after the end of the request and after a
// change of the key, until a purge, by no other identifier, kind or spelling.
func TestFind(t *testing.T) {
	e := newEnv(t)
	s := e.open(t)
	alpha, beta := twoVendors(t, s)
	none := subject(s, 5, "R-4", "a@example.com", "", alpha, beta)
	none.Identifiers = nil
	keys := subject(s, 6, "R-5", "d@example.com", "key 0", alpha, beta)
	keys.Identifiers = append(keys.Identifiers, Identifier{Field: 2, Kind: "field2", Nth: 1, Normal: "key 1"})
	b := take(t, s, "one", subject(s, 2, "R-1", "a@example.com", "k1", alpha, beta), subject(s, 3, "R-2", "b@example.com", "a@example.com", alpha, beta),
		subject(s, 4, "R-3", "a@example.com", "", alpha, beta), none, keys)
	find := func(want string, field int, value string) {
		t.Helper()
		found, err := s.Find(ctx, []Identifier{identified(field, value)})
		if err != nil || strings.Join(found, ",") != want {
			t.Errorf("%q is found as %q, want %s; %v", value, found, want, err)
		}
	}
	find("R-1,R-3", 1, "a@example.com")
	find("R-2", 2, "a@example.com")
	find("", 1, "A@example.com")
	find("R-5", 2, "key 1")
	for n := range int64(2) {
		mustApply(t, s, Pending, to(s.task(t, b.First*TasksPerSubject+n), NotFound, start))
	}
	rotate(t, e, s)
	find("R-1,R-3", 1, "a@example.com")
	secret := scalar[[]byte](t, raw(t, e.path), `SELECT secret FROM subjects WHERE subject_id = 'R-1'`)
	if other := scalar[[]byte](t, raw(t, e.path), `SELECT secret FROM subjects WHERE subject_id = 'R-3'`); len(secret) != 16 || slices.Equal(secret, other) {
		t.Errorf("secrets %x and %x", secret, other)
	}
	if _, err := s.Purge(ctx, PurgeFilter{Before: start.Add(time.Hour)}); err != nil {
		t.Fatal(err)
	}
	find("", 1, "a@example.com")
	find("R-5", 2, "key 1")
}

// rotate seals the store under a new key, in place.
func rotate(t *testing.T, e *env, s *Store) {
	t.Helper()
	next := seal.NewKey()
	if err := s.BeginRotation(ctx, next); err != nil {
		t.Fatal(err)
	}
	if _, err := s.FinishRotation(ctx, nil); err != nil {
		t.Fatal(err)
	}
	e.key = next
}

// TestReplayFinds: whatever is lost, changed or made up of events or of what they tell is
// found when they are replayed.
func TestReplayFinds(t *testing.T) {
	e := newEnv(t)
	s := e.open(t)
	alpha, beta := twoVendors(t, s)
	b := take(t, s, "one", subject(s, 2, "R-1", "a@example.com", "k1", alpha, beta), subject(s, 3, "R-2", "a@example.com", "k2", alpha, beta))
	if _, err := s.BeginRun(ctx, Run{StartedAt: start, Config: []byte{1}}); err != nil {
		t.Fatal(err)
	}
	id := b.First * TasksPerSubject
	w, other := s.task(t, id), s.task(t, id+1)
	x := Export{Task: w.ID, Vendor: alpha}
	if err := s.Apply(ExportChange{New: true, Export: x}); err != nil {
		t.Fatal(err)
	}
	if err := s.Apply(ExportChange{From: ExportCreating, Export: exportAt(x, ExportFailed, start)}); err != nil {
		t.Fatal(err)
	}
	w.Records = Counted(2)
	held := mustApply(t, s, Pending, to(w, Held, start))
	if err := s.Decide(ctx, Change{From: Held, Task: to(held, Pending, start)}, Decision{At: start, Who: "kim", Action: "approve"}); err != nil {
		t.Fatal(err)
	}
	mustApply(t, s, Pending, to(held, Submitting, start))
	held.Reference = "ref-1"
	mustApply(t, s, Submitting, to(held, Waiting, start))
	mustApply(t, s, Pending, to(other, NotFound, start))
	if _, err := s.Extend(ctx, "R-2", start.Add(60*24*time.Hour), Decision{At: start, Who: "kim"}, allowed); err != nil {
		t.Fatal(err)
	}
	s.close(t)
	whole, err := os.ReadFile(e.path)
	if err != nil {
		t.Fatal(err)
	}
	for n, query := range []string{
		`DELETE FROM events WHERE event = 1 AND task = 1999`, `DELETE FROM events WHERE event = 3`, `DELETE FROM events WHERE event = 4 AND task = 1000`,
		`DELETE FROM events WHERE event = 5`, `DELETE FROM events WHERE event = 7`, `DELETE FROM events WHERE event = 10`, `DELETE FROM events WHERE event = 12`,
		`DELETE FROM events WHERE event = 20`, `DELETE FROM events WHERE event = 21`, `DELETE FROM events WHERE seq = (SELECT max(seq) FROM events)`,
		`UPDATE events SET prev = 1 WHERE event = 3`, `UPDATE events SET reference = 'ref-2' WHERE event = 3`, `UPDATE events SET completed_at = 1 WHERE event = 10`,
		`UPDATE events SET task = 1001 WHERE event = 3 AND task = 1000`, `UPDATE events SET task = 5000 WHERE event = 10`, `UPDATE events SET task = 5999 WHERE event = 7`,
		`UPDATE events SET body = json_set(body, '$.until', 1) WHERE event = 7`, `UPDATE events SET body = json_set(body, '$.rows', 3) WHERE event = 20`,
		`UPDATE events SET body = json_set(body, '$.export', 'stored') WHERE event = 12`, `UPDATE events SET records = 1 WHERE event = 1`,
		`UPDATE events SET event = 9 WHERE event = 10`, `UPDATE events SET event = 4 WHERE event = 3`, `UPDATE events SET reference = 2 WHERE event = 1 AND task = 1999`,
		`UPDATE tasks SET state = 6, evidence = 1, verified_at = 1 WHERE id = 1001`, `UPDATE tasks SET state = 0, completed_at = NULL WHERE id = 1001`,
		`UPDATE tasks SET reason = 'x' WHERE id = 1001`, `UPDATE tasks SET reference = 'ref-2' WHERE id = 1000`, `UPDATE tasks SET submitted_at = 1 WHERE id = 2000`,
		`UPDATE tasks SET event = event - 1 WHERE id = 1001`, `UPDATE tasks SET event = NULL WHERE id = 1001`, `DELETE FROM tasks WHERE id = 2001`,
		`UPDATE tasks SET identifier = 1 WHERE id = 2001`, `UPDATE tasks SET state = 5, next_at = NULL WHERE id = 2001`,
		`INSERT INTO tasks (id, vendor, identifier, state, due_at) VALUES (1002, 1, 1, 0, 0)`,
		`UPDATE subjects SET due_at = 1 WHERE id = 2`, `UPDATE subjects SET event = NULL WHERE id = 1`, `UPDATE subjects SET answered_at = 1 WHERE id = 1`,
		`UPDATE subjects SET marks = NULL WHERE id = 1`, `UPDATE subjects SET shape = 9 WHERE id = 1`,
		`UPDATE exports SET state = 4, reason = NULL`, `INSERT INTO decisions (at, who, action, subject) VALUES (1, 'kim', 'close', 1)`,
		`INSERT INTO runs (started_at, version, config) VALUES (1, '', x'')`, `INSERT INTO events (seq, at, event) SELECT max(seq) + 2, 1, 21 FROM events`,
		`INSERT INTO events (seq, task, at, event) SELECT max(seq) + 1, 1000, 1, 4 FROM events`,
	} {
		path := filepath.Join(e.dir, fmt.Sprintf("%d.db", n))
		if err := os.WriteFile(path, whole, 0o600); err != nil {
			t.Fatal(err)
		}
		db := raw(t, path)
		for _, name := range strings.Split(scalar[string](t, db, `SELECT group_concat(name) FROM sqlite_schema WHERE type = 'trigger'`), ",") {
			mustExec(t, db, `DROP TRIGGER `+name)
		}
		mustExec(t, db, query)
		differences, _, err := replay.Check(ctx, db)
		if len(differences) == 0 || err != nil {
			t.Errorf("%s: nothing is found; %v", query, err)
		}
		db.Close()
	}
}
