package store

import (
	"cmp"
	"database/sql"
	"fmt"
	"slices"
	"testing"
	"time"
)

// unlisted counts the ready tasks that no block on the list holds: nobody would ever work
// on them.
func unlisted(t *testing.T, db *sql.DB) int {
	t.Helper()
	return scalar[int](t, db, `SELECT count(*) FROM tasks t WHERE t.next_at = 0 AND NOT EXISTS
 (SELECT 1 FROM ready r WHERE r.vendor = t.vendor AND r.day = t.due_at/86400 AND r.block = t.id/1000000)`)
}

// claimAll claims to the end of the cursor, in pages.
func claimAll(t *testing.T, s *Store, vendor int64, c *Cursor, page int) (all []Work) {
	t.Helper()
	for {
		work, err := s.ClaimReady(ctx, vendor, c, page)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, work...)
		if len(work) < page {
			return all
		}
		if len(all) > 10_000 {
			t.Fatal("claimed without end")
		}
	}
}

// TestReadyBlocks: every ready task is claimed once, in the order of the days on which they
// are due, over several blocks; what is finished is taken off the list, so that a later run
// does not go through it; and what becomes ready again, or due on another day, is listed.
func TestReadyBlocks(t *testing.T) {
	e := newEnv(t)
	s := e.open(t)
	alpha, beta := twoVendors(t, s)
	const people = 2500
	var rows []*NewSubject
	for i := range people {
		n := subject(s, i+2, fmt.Sprintf("R-%d", i), fmt.Sprintf("p%d@example.com", i), "", alpha, beta)
		n.DueAt = start.Add(time.Duration(i%3) * day)
		rows = append(rows, n)
	}
	b := take(t, s, "blocks", rows...)
	db := raw(t, e.path)
	if n := unlisted(t, db); n != 0 {
		t.Fatalf("%d ready tasks are not listed", n)
	}
	if ready, _, err := s.OpenTasks(ctx, alpha); err != nil || ready != people {
		t.Errorf("%d ready, %v", ready, err)
	}
	var c Cursor
	work := claimAll(t, s, alpha, &c, 400)
	ids := idsOf(work)
	if !slices.IsSortedFunc(work, func(a, b Work) int {
		return cmp.Or(a.DueAt.Compare(b.DueAt), cmp.Compare(a.ID, b.ID))
	}) {
		t.Error("not in the order of due dates")
	}
	slices.Sort(ids)
	if len(slices.Compact(ids)) != people {
		t.Fatalf("%d claims of %d tasks", len(work), people)
	}
	listed := func() int { return scalar[int](t, db, `SELECT count(*) FROM ready WHERE vendor = ?`, alpha) }
	if n := listed(); n < 9 {
		t.Errorf("%d blocks listed while all of their tasks are in the air", n)
	}

	// All but one of the third day are done.
	last := work[people-1].Task
	for _, w := range work[:people-1] {
		ch := Change{From: Pending, Task: to(w.Task, NotFound, start)}
		s.ApplyLater(ch, func(err error) {
			if err != nil {
				t.Error(err)
			}
		})
	}
	if err := s.Flush(); err != nil {
		t.Fatal(err)
	}
	for range 9 {
		if got := claimAll(t, s, alpha, &c, 400); len(got) != 0 {
			t.Fatalf("claimed again: %d", len(got))
		}
	}
	if n := listed(); n != 1 {
		t.Errorf("%d blocks are still listed where one task is left", n)
	}
	claim := func(want ...int64) {
		t.Helper()
		if n := unlisted(t, db); n != 0 {
			t.Fatalf("%d ready tasks are not listed", n)
		}
		var fresh Cursor
		got := idsOf(claimAll(t, s, alpha, &fresh, 400))
		if !slices.Equal(got, want) {
			t.Errorf("claimed %v, want %v", got, want)
		}
	}
	claim(last.ID)
	var fresh Cursor // of a later run, which takes the block off that has nothing left
	last = mustApply(t, s, Pending, to(last, Held, start))
	claimAll(t, s, alpha, &fresh, 400)
	claimAll(t, s, alpha, &fresh, 400)
	if n := listed(); n != 0 {
		t.Errorf("%d blocks are listed where nothing is ready", n)
	}
	claim()

	again := to(last, Pending, start)
	again.Ready = true
	mustApply(t, s, Held, again)
	claim(last.ID)
	if _, err := s.Extend(ctx, fmt.Sprintf("R-%d", last.Subject()-b.First), start.Add(90*day), Decision{Who: "kim"}); err != nil {
		t.Fatal(err)
	}
	claim(last.ID)
	if ready, _, err := s.OpenTasks(ctx, alpha); err != nil || ready != 1 {
		t.Errorf("%d ready, %v", ready, err)
	}
	s.close(t)
}

// TestReferenceForms: what a vendor gave comes back letter by letter, whatever it looks like.
func TestReferenceForms(t *testing.T) {
	for text, kind := range map[string]string{
		"5f0c1c9e-1b7a-4f43-9f0e-0123456789ab": "[]uint8",
		"5F0C1C9E-1B7A-4F43-9F0E-0123456789AB": "string",
		"5f0c1c9e1b7a4f439f0e0123456789ab":     "string",
		"5f0c1c9e-1b7a-4f43-9f0e-0123456789ag": "string",
		"{f0c1c9e-1b7a-4f43-9f0e-0123456789a}": "string",
		"0":                                    "int64",
		"1000019":                              "int64",
		"-7":                                   "int64",
		"007":                                  "string",
		"+7":                                   "string",
		"7 ":                                   "string",
		"9223372036854775807":                  "int64",
		"9223372036854775808":                  "string",
		"1e3":                                  "string",
		"11;12":                                "string",
		"":                                     "<nil>",
	} {
		packed := packReference(text)
		if got := fmt.Sprintf("%T", packed); got != kind {
			t.Errorf("%q is stored as %s, want %s", text, got, kind)
		}
		var back reference
		if err := back.Scan(packed); err != nil || string(back) != text {
			t.Errorf("%q came back as %q, %v", text, back, err)
		}
	}
	var r reference
	if err := r.Scan([]byte{1, 2}); err == nil {
		t.Error("two bytes are taken for a UUID")
	}
}

// TestFindsEveryForm: a reference is found by its text in whatever form it is stored, now
// and when it has been replaced, and the view shows it as the vendor wrote it.
func TestFindsEveryForm(t *testing.T) {
	e, s, tasks := manyTasks(t, 4)
	db := raw(t, e.path)
	forms := []string{"5f0c1c9e-1b7a-4f43-9f0e-0123456789ab", "1000019", "007", "JOB-7"}
	for i, form := range forms {
		task := mustApply(t, s, Pending, to(tasks[i], Submitting, start))
		task = to(task, Waiting, start)
		task.Reference = form
		mustApply(t, s, Submitting, task)
		if got := scalar[string](t, db, `SELECT reference FROM task_list WHERE id = ?`, task.ID); got != form {
			t.Errorf("the view shows %q for %q", got, form)
		}
	}
	find := func() {
		t.Helper()
		found, err := s.ByReferences(ctx, tasks[0].Vendor, append([]string{"nobody's", "19"}, forms...))
		if err != nil || len(found) != len(forms) {
			t.Fatalf("%d found of %d: %v", len(found), len(forms), err)
		}
		for i, form := range forms {
			if found[form].ID != tasks[i].ID {
				t.Errorf("%s leads to task %d", form, found[form].ID)
			}
		}
	}
	find()
	for i := range forms {
		w, err := s.TaskByID(ctx, tasks[i].ID)
		if err != nil {
			t.Fatal(err)
		}
		task := w.Task
		task.Reference = fmt.Sprintf("another-%d", i)
		mustApply(t, s, Waiting, task)
	}
	find()
	s.close(t)
}
