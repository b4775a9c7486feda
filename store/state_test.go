package store

import (
	"database/sql"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestTransitionTables: the table in Go, the one in SQL, and what the trigger and Apply
// really let through are the same, for every pair of states (invariant 5).
func TestTransitionTables(t *testing.T) {
	e, s, w := oneTask(t)
	db := raw(t, e.path)
	if names := scalar[string](t, db, `SELECT group_concat(name) FROM (SELECT name FROM states ORDER BY code)`); names != strings.Join(stateNames[:], ",") {
		t.Errorf("states in SQL: %s", names)
	}
	for _, from := range States() {
		for _, next := range States() {
			legal := slices.Contains(transitions[from], next)
			if got := MayFollow(from, next); got != legal {
				t.Errorf("MayFollow(%v, %v) = %v", from, next, got)
			}
			inSQL := scalar[bool](t, db, `SELECT EXISTS (SELECT 1 FROM transitions WHERE old=? AND new=?)`, from, next)
			if inSQL != legal {
				t.Errorf("table transitions has %v to %v: %v, Go: %v", from, next, inSQL, legal)
			}
			place(t, e, to(w.Task, from, start))
			before := dump(t, e.path, "tasks")

			err := s.Apply(Change{From: from, Task: to(w.Task, next, start)})
			if legal && err != nil || !legal && !errors.Is(err, ErrTransition) {
				t.Errorf("Apply %v to %v: %v", from, next, err)
			}
			if !legal && dump(t, e.path, "tasks") != before {
				t.Errorf("Apply %v to %v was refused and changed something", from, next)
			}

			// Whoever goes around the code meets the trigger.
			place(t, e, to(w.Task, from, start))
			n := to(w.Task, next, start)
			_, err = db.Exec(`UPDATE tasks SET state=?, evidence=?, next_at=?, submitted_at=?, completed_at=?, verified_at=? WHERE id=?`,
				n.State, n.Evidence, n.nextAt(), nullSecs(n.SubmittedAt), nullSecs(n.CompletedAt), nullSecs(n.VerifiedAt), w.ID)
			if legal != (err == nil) || err != nil && !strings.Contains(err.Error(), "this transition is not in the table") {
				t.Errorf("UPDATE %v to %v: %v", from, next, err)
			}
		}
	}
	for from := range transitions {
		if from.Final() && from != Failed {
			t.Errorf("%v is final and has a way out", from)
		}
	}
}

// place puts the task into a state, around the rules.
func place(t *testing.T, e *env, task Task) {
	t.Helper()
	byHand.Store(e.path, true)
	db := raw(t, e.path)
	defer db.Close()
	mustExec(t, db, `INSERT OR REPLACE INTO tasks (id, vendor, identifier, state, due_at, next_at, evidence, submitted_at, completed_at, verified_at)
 VALUES (?,?,?,?,?,?,?,?,?,?)`, task.ID, task.Vendor, identifier(task.Field, task.Nth), task.State, task.DueAt.Unix(), task.nextAt(), task.Evidence,
		nullSecs(task.SubmittedAt), nullSecs(task.CompletedAt), nullSecs(task.VerifiedAt))
}

// TestSchemaRefuses: what the code must never write, the file does not take either.
func TestSchemaRefuses(t *testing.T) {
	e, _, w := oneTask(t)
	db := raw(t, e.path)
	update := func(set string) string { return `UPDATE tasks SET ` + set + ` WHERE id = ?` }
	for _, tt := range []struct{ name, query string }{
		{"a state beyond the list", update(`state = 10`)},
		{"final without a time", update(`state = 7, next_at = NULL`)},
		{"a time without final", update(`completed_at = 1`)},
		{"final and scheduled", update(`state = 7, completed_at = 1`)},
		{"held and scheduled", update(`state = 5`)},
		{"erased without evidence", update(`state = 6, next_at = NULL, completed_at = 1`)},
		{"evidence without erased", update(`evidence = 2`)},
		{"evidence beyond the list", update(`state = 7, next_at = NULL, completed_at = 1, evidence = 6`)},
		{"erased because others were seen", update(`state = 6, next_at = NULL, completed_at = 1, evidence = 5`)},
		{"not found because a job is done", update(`state = 7, next_at = NULL, completed_at = 1, evidence = 2`)},
		{"failed with evidence", update(`state = 9, next_at = NULL, completed_at = 1, evidence = 3`)},
		{"closed and not failed", update(`closed_at = 1`)},
		{"verified without a look", update(`state = 6, next_at = NULL, completed_at = 1, evidence = 1`)},
		{"following and scheduled", update(`follows = 1`)},
		{"submitting without a time", update(`state = 2`)},
		{"a text where a time belongs", update(`due_at = 'soon'`)},
		{"more that is no JSON", update(`more = 'leads'`)},
		{"a batch that does not add up", `UPDATE batches SET invalid = invalid + 1 WHERE ? IS NOT NULL`},
		{"a subject without a ticket number", `UPDATE subjects SET subject_id = '' WHERE ? IS NOT NULL`},
		{"a subject without a batch", `UPDATE subjects SET batch = 99 WHERE ? IS NOT NULL`},
		{"a reject of an unknown kind", `INSERT INTO rejects SELECT id, ?, '', 'other', 'r', 'm' FROM batches`},
		{"a decision of an unknown kind", `INSERT INTO decisions (at, who, action, subject) VALUES (1, 'w', 'guess', ?)`},
		{"a decision about nobody", `INSERT INTO decisions (at, who, action) SELECT 1, 'w', 'close' WHERE ? IS NOT NULL`},
		{"a decision about a vendor that names none", `INSERT INTO decisions (at, who, action) SELECT 1, 'w', 'prove' WHERE ? IS NOT NULL`},
		{"a decision about a subject that names a vendor", `INSERT INTO decisions (at, who, action, subject, vendor) VALUES (1, 'w', 'close', ?, 1)`},
		{"a second task with the same id", `INSERT INTO tasks SELECT * FROM tasks WHERE id = ?`},
	} {
		before := dump(t, e.path)
		if _, err := db.Exec(tt.query, w.ID); err == nil {
			t.Errorf("%s: taken", tt.name)
		}
		if diff := cmp.Diff(before, dump(t, e.path)); diff != "" {
			t.Errorf("%s: %s", tt.name, diff)
		}
	}
}

// TestStateNames: the names that reports show.
func TestStateNames(t *testing.T) {
	for _, s := range States() {
		if want := s == Erased || s == NotFound || s == Skipped || s == Failed; s.Final() != want {
			t.Errorf("%v: final %v", s, s.Final())
		}
	}
	if State(77).String() != "state(77)" || Evidence(9).String() != "evidence(9)" {
		t.Error("a number beyond the list has no name")
	}
	for e, want := range map[Evidence]string{NoEvidence: "", Verified: "verified", VendorDone: "vendor_done", Confirmed: "confirmed", ControlSeen: "control", OthersSeen: "others"} {
		if e.String() != want {
			t.Errorf("%d: %s", e, e)
		}
	}
	if fromMillis(sql.NullInt64{Valid: true}) != (time.Time{}) {
		t.Error("0 is no time")
	}
}
