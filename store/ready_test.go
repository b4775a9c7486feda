package store

import (
	"database/sql"
	"fmt"
	"slices"
	"testing"
	"time"
)

// mustList checks that the list of blocks says of every vendor, hour and block how many tasks
// are ready: one too few and nobody would ever work on some, one too many and every run
// would look for what is not there.
func mustList(t *testing.T, db *sql.DB) {
	t.Helper()
	const list, tasks = `SELECT vendor, hour, block, tasks FROM ready`, `SELECT vendor, due_at/3600, id/1000000, count(*) FROM tasks WHERE next_at = 0 GROUP BY 1, 2, 3`
	for _, q := range []string{list + ` EXCEPT ` + tasks, tasks + ` EXCEPT ` + list} {
		if n := scalar[int](t, db, `SELECT count(*) FROM (`+q+`)`); n != 0 {
			t.Errorf("%d blocks: %s", n, q)
		}
	}
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

// TestReadyBlocks: every ready task is claimed once, in the order of due dates, over several
// blocks; and the list of blocks is right after everything that can happen to a task, so
// that nothing is missed and a later run does not go through what is finished.
func TestReadyBlocks(t *testing.T) {
	e := newEnv(t)
	s := e.open(t)
	alpha, beta := twoVendors(t, s)
	const people = 2500
	var rows []*NewSubject
	for i := range people {
		n := subject(s, i+2, fmt.Sprintf("R-%d", i), fmt.Sprintf("p%d@example.com", i%(people-10)), "", alpha, beta) // ten follow others
		n.DueAt = start.Add(time.Duration(people-i) % 50 * time.Hour)
		rows = append(rows, n)
	}
	b := take(t, s, "blocks", rows...)
	db := raw(t, e.path)
	mustList(t, db)
	open := func(want int64) {
		t.Helper()
		mustList(t, db)
		if ready, scheduled, err := s.OpenTasks(ctx, alpha); err != nil || ready != want || scheduled != 0 {
			t.Errorf("%d ready, %d scheduled, want %d and 0, %v", ready, scheduled, want, err)
		}
	}
	open(people - 10)
	take(t, s, "once more", rows...) // all of them refused
	open(people - 10)
	in, err := s.BeginIntake(ctx, "cut short", start)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 1500 {
		if err := in.Subject(subject(s, i+2, fmt.Sprintf("S-%d", i), fmt.Sprintf("s%d@example.com", i), "", alpha, beta)); err != nil {
			t.Fatal(err)
		}
	}
	if err := in.Discard(ctx); err != nil {
		t.Fatal(err)
	}
	open(people - 10)

	var c Cursor
	work := claimAll(t, s, alpha, &c, 400)
	ids := idsOf(work)
	if !slices.IsSortedFunc(work, func(a, b Work) int { return a.DueAt.Compare(b.DueAt) }) {
		t.Error("not in the order of due dates")
	}
	slices.Sort(ids)
	if len(slices.Compact(ids)) != people-10 {
		t.Fatalf("%d claims of %d tasks", len(work), people-10)
	}
	// All but the last are done, some by way of a later look.
	last := work[len(work)-1].Task
	for i, w := range work[:len(work)-1] {
		task := w.Task
		if i%3 == 0 {
			task.Ready, task.NextAt = false, start.Add(time.Hour)
			mustApply(t, s, Pending, task)
		}
		if i%6 == 0 {
			task.Ready, task.NextAt = true, time.Time{}
			mustApply(t, s, Pending, task)
		}
		s.ApplyLater(Change{From: Pending, Task: to(task, NotFound, start)}, func(err error) {
			if err != nil {
				t.Error(err)
			}
		})
		if i == 1000 {
			if err := s.Flush(); err != nil {
				t.Fatal(err)
			}
			mustList(t, db)
		}
	}
	if err := s.Flush(); err != nil {
		t.Fatal(err)
	}
	if got := claimAll(t, s, alpha, &c, 400); len(got) != 0 {
		t.Fatalf("claimed again: %d", len(got))
	}
	claim := func(want ...int64) {
		t.Helper()
		open(int64(len(want)))
		var fresh Cursor
		if got := idsOf(claimAll(t, s, alpha, &fresh, 400)); !slices.Equal(got, want) {
			t.Errorf("claimed %v, want %v", got, want)
		}
		if n := scalar[int](t, db, `SELECT count(*) FROM ready WHERE vendor = ?`, alpha); n != len(want) {
			t.Errorf("%d blocks are listed for %d tasks", n, len(want))
		}
	}
	claim(last.ID)
	last = mustApply(t, s, Pending, to(last, Held, start))
	claim()
	again := to(last, Pending, start)
	again.Ready = true
	mustApply(t, s, Held, again)
	claim(last.ID)
	if _, err := s.Extend(ctx, fmt.Sprintf("R-%d", last.SubjectRow()-b.First), start.Add(90*day), Decision{Who: "kim"}, allowed); err != nil {
		t.Fatal(err)
	}
	claim(last.ID)
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
			if len(found[form]) != 1 || found[form][0].ID != tasks[i].ID {
				t.Errorf("%s leads to %v", form, found[form])
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
