package store

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// counts are the totals of a batch.
func (b Batch) counts() [4]int64 { return [4]int64{b.Rows, b.Subjects, b.Invalid, b.Duplicates} }

// TestIntake: rows become subjects and tasks; skipped ones are final from the start; the
// batch adds up and is found by its digest.
func TestIntake(t *testing.T) {
	e := newEnv(t)
	s := e.open(t)
	alpha, beta := twoVendors(t, s)
	in, err := s.BeginIntake(ctx, "people.csv", start)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range []*NewSubject{
		subject(s, 2, "R-1", "a@example.com", "k1", alpha, beta),
		subject(s, 4, "R-2", "b@example.com", "", alpha, beta),
		subject(s, 5, "R-3", "c@example.com", "k3", alpha, beta),
	} {
		if err := in.Subject(n); err != nil {
			t.Fatal(err)
		}
	}
	if err := in.Reject(Reject{Line: 3, SubjectID: "R-x", Reason: "bad_email", Message: "no"}); err != nil {
		t.Fatal(err)
	}
	if _, ok, err := s.FindBatch(ctx, []byte("d")); ok || err != nil {
		t.Errorf("found before it counts: %v %v", ok, err)
	}
	b, _, err := in.Settle(ctx, []byte("d"), rules)
	if err != nil {
		t.Fatal(err)
	}
	if want := [4]int64{4, 3, 1, 0}; b.counts() != want {
		t.Errorf("rows, subjects, invalid, duplicates: %v, want %v", b.counts(), want)
	}
	found, ok, err := s.FindBatch(ctx, []byte("d"))
	if err != nil || !ok {
		t.Fatal(ok, err)
	}
	if diff := cmp.Diff(b, found); diff != "" {
		t.Error(diff)
	}
	c, err := s.Count(ctx, b)
	if err != nil || c.Subjects != 3 || c.Rejects != 1 || c.Expected != 6 {
		t.Errorf("Count: %+v %v", c, err)
	}
	due := start.Add(30 * 24 * time.Hour)
	want := []Task{
		{Vendor: alpha, Field: 1, DueAt: due, Ready: true}, {Vendor: beta, Field: 2, DueAt: due, Ready: true},
		{Vendor: alpha, Field: 1, DueAt: due, Ready: true}, {Vendor: beta, DueAt: due, State: Skipped, Reason: "no_identifier", CompletedAt: start},
		{Vendor: alpha, Field: 1, DueAt: due, Ready: true}, {Vendor: beta, Field: 2, DueAt: due, Ready: true},
	}
	for i := range want {
		want[i].ID = (b.First+int64(i)/2)*TasksPerSubject + int64(i)%2
	}
	var got []Task
	for _, w := range want {
		task, err := s.TaskByID(ctx, w.ID)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, task.Task)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if n := scalar[int](t, raw(t, e.path), `SELECT count(DISTINCT shape) FROM shapes`); n != 2 {
		t.Errorf("%d shapes for two kinds of rows", n)
	}
}

// TestKnownSubjectIDs: a subject_id counts once, in whatever file and order it comes back;
// with other identifiers it is never merged (invariant 9).
func TestKnownSubjectIDs(t *testing.T) {
	e := newEnv(t)
	s := e.open(t)
	alpha, beta := twoVendors(t, s)
	row := func(line int, id, a string) *NewSubject { return subject(s, line, id, a, "", alpha, beta) }
	one := take(t, s, "one",
		row(2, "R-1", "a@example.com"), row(3, "R-2", "b@example.com"),
		row(4, "R-1", "a@example.com"), // repeated
		row(5, "R-2", "other@example.com"), row(6, "R-3", "c@example.com"))
	if want := [4]int64{5, 3, 2, 0}; one.counts() != want {
		t.Errorf("first file: %v, want %v", one.counts(), want)
	}
	in, err := s.BeginIntake(ctx, "two", start)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range []*NewSubject{row(2, "R-3", "c@example.com"), row(3, "R-1", "x@example.com"), row(4, "R-9", "z@example.com"), row(5, "R-9", "z@example.com")} {
		if err := in.Subject(n); err != nil {
			t.Fatal(err)
		}
	}
	var told []Reject
	two, _, err := in.Settle(ctx, []byte("two"), rules.accepting(func(b Batch) error {
		if want := [4]int64{4, 1, 2, 1}; b.counts() != want {
			t.Errorf("to be accepted: %v, want %v", b.counts(), want)
		}
		next := s.Rejects(ctx, b.ID)
		for r, more, err := next(); more || err != nil; r, more, err = next() {
			if err != nil {
				return err
			}
			told = append(told, r)
		}
		return nil
	}))
	if err != nil {
		t.Fatal(err)
	}
	if want := [4]int64{4, 1, 2, 1}; two.counts() != want {
		t.Errorf("second file: %v, want %v", two.counts(), want)
	}
	want := []Reject{
		{Line: 2, SubjectID: "R-3", Duplicate: true, Reason: "already", Message: "taken in with batch 1"},
		{Line: 3, SubjectID: "R-1", Reason: "conflicting", Message: "this subject_id was taken in with other identifiers"},
		{Line: 5, SubjectID: "R-9", Reason: "repeated", Message: "this subject_id stands in the file already"},
	}
	if diff := cmp.Diff(want, told); diff != "" {
		t.Error(diff)
	}
	var stored []Reject
	next := s.Rejects(ctx, two.ID)
	for {
		r, ok, err := next()
		if err != nil {
			t.Fatal(err)
		}
		if !ok {
			break
		}
		stored = append(stored, r)
	}
	if diff := cmp.Diff(want, stored); diff != "" {
		t.Error(diff)
	}
	if n := scalar[int](t, raw(t, e.path), `SELECT count(*) FROM tasks`); n != 8 {
		t.Errorf("%d tasks for 4 subjects", n)
	}
}

// TestIntakeCutShort: a process that dies at any point of an intake leaves a batch that
// counts for nothing, and the next intake of the same file is as if it had never been.
func TestIntakeCutShort(t *testing.T) {
	steps := []struct {
		name string
		do   func(in *Intake) error
	}{
		{"begun", func(*Intake) error { return nil }},
		{"loaded", (*Intake).finishLoading},
		{"known ones refused", func(in *Intake) error { in.batch.Last = in.nextID - 1; return in.refuseKnown(ctx, rules) }},
		{"linked", func(in *Intake) error { return in.linkSame(ctx, rules) }},
	}
	for n := range steps {
		t.Run(steps[n].name, func(t *testing.T) {
			e := newEnv(t)
			s := e.open(t)
			alpha, beta := twoVendors(t, s)
			before := take(t, s, "before", subject(s, 2, "R-0", "a@example.com", "k", alpha, beta))
			clean := dump(t, e.path)
			rows := []*NewSubject{subject(s, 2, "R-0", "a@example.com", "k", alpha, beta), subject(s, 3, "R-1", "b@example.com", "k1", alpha, beta),
				subject(s, 4, "R-2", "b@example.com", "", alpha, beta), subject(s, 5, "R-2", "b@example.com", "", alpha, beta)}
			in, err := s.BeginIntake(ctx, "cut", start)
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range rows {
				if err := in.Subject(r); err != nil {
					t.Fatal(err)
				}
			}
			for _, step := range steps[:n+1] {
				if err := step.do(in); err != nil {
					t.Fatal(err)
				}
			}
			killed := copyStore(t, e) // the process dies here
			if err := in.Discard(ctx); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(clean, dump(t, e.path)); diff != "" {
				t.Errorf("discarded in the same process: %s", diff)
			}

			s2 := killed.open(t)
			all, err := s2.Batches(ctx)
			if err != nil || len(all) != 2 || !all[1].Loading {
				t.Fatalf("after the kill: %+v %v", all, err)
			}
			if err := s2.Rows(ctx, Filter{}, func(r *Row) error {
				if r.Batch != before.ID {
					t.Errorf("line %d of the batch that was cut short is reported", r.Line)
				}
				return nil
			}); err != nil {
				t.Fatal(err)
			}
			b := take(t, s2, "cut", rows...)
			if want := [4]int64{4, 2, 1, 1}; b.counts() != want {
				t.Errorf("taken in again: %v, want %v", b.counts(), want)
			}
			all, _ = s2.Batches(ctx)
			if len(all) != 2 {
				t.Errorf("%d batches", len(all))
			}
			mustBalance(t, s2)
		})
	}
}

// mustBalance checks every batch as the control totals do.
func mustBalance(t *testing.T, s *Store) {
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

// TestSettleRefused: a batch that is refused while it is settled leaves nothing.
func TestSettleRefused(t *testing.T) {
	stop := errors.New("strict")
	for name, settle := range map[string]func(in *Intake) error{
		"by its reader": func(in *Intake) error {
			_, _, err := in.Settle(ctx, []byte("d"), rules.accepting(func(Batch) error { return stop }))
			if !errors.Is(err, stop) {
				t.Errorf("%v", err)
			}
			return err
		},
		"by the end of the run": func(in *Intake) error {
			gone, cancel := context.WithCancel(ctx)
			cancel()
			_, _, err := in.Settle(gone, []byte("d"), rules)
			return err
		},
		"by a line that is there twice": func(in *Intake) error {
			in.Reject(Reject{Line: 2, Reason: "r", Message: "m"})
			in.Reject(Reject{Line: 2, Reason: "r", Message: "m"})
			_, _, err := in.Settle(ctx, []byte("d"), rules)
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			e := newEnv(t)
			s := e.open(t)
			alpha, beta := twoVendors(t, s)
			clean := dump(t, e.path)
			in, err := s.BeginIntake(ctx, "x", start)
			if err != nil {
				t.Fatal(err)
			}
			for line := range 3 {
				if err := in.Subject(subject(s, line+2, "R-1", "a@example.com", "k", alpha, beta)); err != nil {
					t.Fatal(err)
				}
			}
			if settle(in) == nil {
				t.Fatal("settled")
			}
			if diff := cmp.Diff(clean, dump(t, e.path)); diff != "" {
				t.Errorf("left behind: %s", diff)
			}
			take(t, s, "d", subject(s, 2, "R-1", "a@example.com", "k", alpha, beta))
		})
	}
}

// TestShortIntake: an intake whose rows are all given before its loader has run is settled
// too. (With one processor the loader surely runs last; it must not hang.)
func TestShortIntake(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	s := newEnv(t).open(t)
	twoVendors(t, s)
	if b := take(t, s, "empty"); b.Rows != 0 || b.Loading {
		t.Errorf("%+v", b)
	}
}

// TestDiscardUnsettled: the tasks of a batch that a kill cut short stand in the work list,
// without having been compared with anybody's. They must be gone before work begins.
func TestDiscardUnsettled(t *testing.T) {
	e := newEnv(t)
	s := e.open(t)
	alpha, beta := twoVendors(t, s)
	take(t, s, "before", subject(s, 2, "R-0", "a@example.com", "", alpha, beta))
	in, err := s.BeginIntake(ctx, "cut", start)
	if err != nil {
		t.Fatal(err)
	}
	if err := in.Subject(subject(s, 2, "R-1", "a@example.com", "", alpha, beta)); err != nil {
		t.Fatal(err)
	}
	if err := in.finishLoading(); err != nil {
		t.Fatal(err)
	}
	s = copyStore(t, e).open(t) // the process dies here
	tasks := func() (counted int64, claimed int) {
		t.Helper()
		tally, err := s.Tally(ctx, 0, start)
		if err != nil {
			t.Fatal(err)
		}
		for _, row := range tally {
			counted += row.Tasks
		}
		var c Cursor
		work, err := s.ClaimReady(ctx, alpha, &c, 10)
		if err != nil {
			t.Fatal(err)
		}
		return counted, len(work)
	}
	if counted, claimed := tasks(); counted != 2 || claimed != 2 {
		t.Errorf("before: %d counted, %d claimed; want 2 of the settled batch, and both ready ones", counted, claimed)
	}
	cut, err := s.DiscardUnsettled(ctx)
	if err != nil || len(cut) != 1 || cut[0].Name != "cut" {
		t.Errorf("discarded %+v, %v", cut, err)
	}
	if counted, claimed := tasks(); counted != 2 || claimed != 1 {
		t.Errorf("after: %d counted, %d claimed; want those of the settled batch only", counted, claimed)
	}
}

// TestSameIdentifier: tasks with the same identifier at the same vendor follow one of
// them, the most urgent, and report what becomes of it. A digest that is equal by chance
// links nobody: another person's erasure must not stand for one's own.
func TestSameIdentifier(t *testing.T) {
	e := newEnv(t)
	s := e.open(t)
	alpha, beta := twoVendors(t, s)
	row := func(line int, id, a, b string, due time.Duration) *NewSubject {
		n := subject(s, line, id, a, b, alpha, beta)
		n.DueAt = start.Add(due)
		return n
	}
	collide := row(7, "R-6", "other@example.com", "", 5*time.Hour)
	collide.Same[0] = row(9, "x", "a@example.com", "", 0).Same[0]
	b := take(t, s, "same",
		row(2, "R-1", "a@example.com", "a@example.com", 3*time.Hour), // equal text at another vendor is no match
		row(3, "R-2", "a@example.com", "", 1*time.Hour),              // the most urgent
		row(4, "R-3", "a@example.com", "", 2*time.Hour),
		row(5, "R-4", "lone@example.com", "", 4*time.Hour),
		row(6, "R-2", "a@example.com", "", 0), // refused: it leads nobody
		collide)
	id := func(subject int64) int64 { return (b.First + subject) * TasksPerSubject }
	lead := id(1)
	get := func(task int64) Work {
		t.Helper()
		w, err := s.TaskByID(ctx, task)
		if err != nil {
			t.Fatal(err)
		}
		return w
	}
	for _, tt := range []struct {
		task, follows int64
		leads, ready  bool
	}{
		{id(0), lead, false, false}, {id(0) + 1, 0, false, true}, {lead, 0, true, true}, {id(2), lead, false, false},
		{id(3), 0, false, true}, {id(5), 0, false, true},
	} {
		w := get(tt.task)
		if w.Follows != tt.follows || w.Leads != tt.leads || w.Ready != tt.ready {
			t.Errorf("task %d: follows %d, leads %v, ready %v; want %+v", tt.task, w.Follows, w.Leads, w.Ready, tt)
		}
	}
	var c Cursor
	work, err := s.ClaimReady(ctx, alpha, &c, 100)
	if err != nil {
		t.Fatal(err)
	}
	var ids []int64
	for _, w := range work {
		ids = append(ids, w.ID)
	}
	if want := []int64{lead, id(3), id(5)}; !slices.Equal(ids, want) {
		t.Errorf("claimed %v, want %v: a follower is never called about", ids, want)
	}

	// What happens to the lead happens to its followers, their data included.
	task := get(lead).Task
	task = mustApply(t, s, Pending, to(task, Submitting, start))
	task.Reference = "job-1"
	task = mustApply(t, s, Submitting, to(task, Waiting, start))
	if w := get(id(2)); w.State != Waiting || w.Reference != "job-1" || w.Ready || w.DueAt != start.Add(2*time.Hour) {
		t.Errorf("a follower of a waiting task: %+v", w.Task)
	}
	done := to(task, Erased, start.Add(time.Hour))
	done.Records, done.RecordsAfter = Counted(1), Counted(0)
	mustApply(t, s, Waiting, done)
	for _, f := range []int64{id(0), id(2)} {
		w := get(f)
		want := done
		want.ID, want.Follows, want.Leads, want.DueAt = f, lead, false, w.DueAt
		if diff := cmp.Diff(want, w.Task); diff != "" {
			t.Errorf("follower %d: %s", f, diff)
		}
	}
	if got := string(get(id(2)).Plain); got != "1~\n" {
		t.Errorf("the follower's subject keeps %q", got)
	}
	if got := string(get(id(0)).Plain); got != "1~\n2=a@example.com\n" {
		t.Errorf("a follower's subject with an open task keeps %q", got)
	}
	// Its reference leads to the lead alone.
	found, err := s.ByReferences(ctx, alpha, []string{"job-1"})
	if err != nil || len(found["job-1"]) != 1 || found["job-1"][0].ID != lead {
		t.Errorf("%v %v", found["job-1"], err)
	}
}

// TestReportOrder: every row of the input is in the report exactly once per task, in the
// order of the input, refused ones in their places, across pages (invariant 1).
func TestReportOrder(t *testing.T) {
	const n = 2*pageSize + 300
	e := newEnv(t)
	s := e.open(t)
	alpha, beta := twoVendors(t, s)
	// Three runs of lines: subjects alone, refused rows alone, and both by turns.
	kind := func(line int) bool { return line < n/3 || line > 2*n/3 && line%2 == 0 }
	in, err := s.BeginIntake(ctx, "x", start)
	if err != nil {
		t.Fatal(err)
	}
	for line := 2; line < n+2; line++ {
		if kind(line) {
			err = in.Subject(subject(s, line, fmt.Sprintf("R-%d", line), fmt.Sprintf("p%d@example.com", line), "", alpha, beta))
		} else {
			err = in.Reject(Reject{Line: line, Reason: "r", Message: "m"})
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if _, _, err := in.Settle(ctx, []byte("x"), rules); err != nil {
		t.Fatal(err)
	}
	take(t, s, "second", subject(s, 2, "S-2", "s@example.com", "k", alpha, beta))
	var want, got []string
	for line := 2; line < n+2; line++ {
		if kind(line) {
			want = append(want, fmt.Sprintf("1/%d/R-%d task 0 %d", line, line, len("1=p@example.com\n")+len(fmt.Sprint(line))), fmt.Sprintf("1/%d/R-%d task 1 %d", line, line, len("1=p@example.com\n")+len(fmt.Sprint(line))))
		} else {
			want = append(want, fmt.Sprintf("1/%d/ refused", line))
		}
	}
	want = append(want, "2/2/S-2 task 0 20", "2/2/S-2 task 1 20")
	if err := s.Rows(ctx, Filter{}, func(r *Row) error {
		text := fmt.Sprintf("%d/%d/%s", r.Batch, r.Line, r.SubjectID)
		if r.Reject != nil {
			text += " refused"
		} else {
			text += fmt.Sprintf(" task %d %d", r.Task.ID%TasksPerSubject, len(r.Plain))
		}
		got = append(got, text)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}

	count := func(f Filter) (rows int) {
		t.Helper()
		if err := s.Rows(ctx, f, func(*Row) error { rows++; return nil }); err != nil {
			t.Fatal(err)
		}
		return rows
	}
	if got := count(Filter{Batch: 2}); got != 2 {
		t.Errorf("of batch 2: %d rows", got)
	}
	if got := count(Filter{Since: start.Add(time.Second)}); got != 0 {
		t.Errorf("since later: %d rows", got)
	}
	if got := count(Filter{Since: start}); got != len(want) {
		t.Errorf("since then: %d rows of %d", got, len(want))
	}
	stop := errors.New("enough")
	if err := s.Rows(ctx, Filter{}, func(*Row) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("a reader that stops: %v", err)
	}
}

// TestTooManyTasks: a subject's tasks must fit between its id and the next one's.
func TestTooManyTasks(t *testing.T) {
	s := newEnv(t).open(t)
	alpha, _ := twoVendors(t, s)
	in, err := s.BeginIntake(ctx, "x", start)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Discard(ctx)
	for _, n := range []int{0, MaxTasks + 1} {
		many := &NewSubject{Line: 2, SubjectID: "R"}
		for range n {
			many.Tasks = append(many.Tasks, NewTask{Vendor: alpha, Field: 1})
		}
		if err := in.Subject(many); err == nil || !strings.Contains(err.Error(), "line 2") {
			t.Errorf("%d tasks: %v", n, err)
		}
	}
}

// TestGrouper: pairs beyond what is kept in memory come together again by digest, in the
// order of ids, and no temporary file has a name while they do.
func TestGrouper(t *testing.T) {
	dir := t.TempDir()
	s := newGrouper(filepath.Join(dir, "store.db"))
	defer s.close()
	const n = 300_000
	want := map[int64][]int64{}
	for i := range int64(n) {
		// Each digest but a few once; the few are spread over all of them. Negative ones too.
		digest := i * -0x61c8864680b583eb
		if i%100_003 == 0 {
			digest = -7
		}
		if i%200_003 == 5 {
			digest = 1 << 62
		}
		if err := s.add(digest, n-i); err != nil {
			t.Fatal(err)
		}
		want[digest] = append(want[digest], n-i)
	}
	if s.end < n*pairSize/2 {
		t.Fatalf("%d bytes: the test does not spill", s.end)
	}
	if left, _ := os.ReadDir(dir); len(left) != 0 {
		t.Errorf("a file with a name: %v", left)
	}
	got := map[int64][]int64{}
	if err := s.groups(func(tasks []int64) error {
		got[tasks[0]] = slices.Clone(tasks)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	groups := 0
	for digest, tasks := range want {
		slices.Sort(tasks)
		if len(tasks) < 2 {
			continue
		}
		groups++
		if !slices.Equal(got[tasks[0]], tasks) {
			t.Errorf("digest %d: %v, want %v", digest, got[tasks[0]], tasks)
		}
	}
	if groups != 2 || len(got) != groups {
		t.Errorf("%d groups, want %d", len(got), groups)
	}
	stop := errors.New("enough")
	s2 := newGrouper(filepath.Join(dir, "store.db"))
	for i := range int64(4) {
		if err := s2.add(i/2, i); err != nil {
			t.Fatal(err)
		}
	}
	if err := s2.groups(func([]int64) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("a reader that stops: %v", err)
	}
	nowhere := newGrouper(filepath.Join(dir, "none", "store.db"))
	if err := nowhere.spill(&nowhere.buckets[0]); err == nil {
		t.Error("a bucket went to a folder that is not there")
	}
}

// TestIntakeOfManyParts: the memory of a part is used again while those before are being
// written; every row arrives as it was given, over several of them.
func TestIntakeOfManyParts(t *testing.T) {
	e := newEnv(t)
	s := e.open(t)
	alpha, beta := twoVendors(t, s)
	const n = 5*chunk + 3
	in, err := s.BeginIntake(ctx, "many", start)
	if err != nil {
		t.Fatal(err)
	}
	for i := range n {
		if err := in.Subject(subject(s, i+2, fmt.Sprintf("R-%d", i), fmt.Sprintf("p%d@example.com", i), "", alpha, beta)); err != nil {
			t.Fatal(err)
		}
	}
	b, _, err := in.Settle(ctx, []byte("many"), rules)
	if err != nil || b.Subjects != n || b.Rows != n {
		t.Fatalf("%+v, %v", b, err)
	}
	seen := 0
	if err := s.Rows(ctx, Filter{}, func(r *Row) error {
		if r.Task.Vendor != alpha {
			return nil
		}
		id, text := fmt.Sprintf("R-%d", seen), fmt.Sprintf("p%d@example.com", seen)
		if r.SubjectID != id || r.Line != seen+2 || !strings.Contains(string(r.Plain), text) {
			t.Fatalf("line %d: %s %q, want %s with %s", r.Line, r.SubjectID, r.Plain, id, text)
		}
		seen++
		return nil
	}); err != nil || seen != n {
		t.Fatalf("%d rows of %d, %v", seen, n, err)
	}
	mustList(t, raw(t, e.path))
	s.close(t)
}
