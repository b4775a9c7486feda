package store

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// takeWith takes in one batch under the rules.
func takeWith(t *testing.T, s *Store, rules IntakeRules, digest string, rows ...*NewSubject) (Batch, bool) {
	t.Helper()
	in, err := s.BeginIntake(ctx, digest+".csv", s.Now())
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range rows {
		if err := in.Subject(r); err != nil {
			t.Fatal(err)
		}
	}
	b, again, err := in.Settle(ctx, []byte(digest), rules)
	if err != nil {
		t.Fatal(err)
	}
	return b, again
}

// at keeps the tasks of a row that are at one of the vendors.
func at(n *NewSubject, vendors ...int64) *NewSubject {
	var tasks []NewTask
	var same []int64
	for i, task := range n.Tasks {
		for _, v := range vendors {
			if task.Vendor == v {
				tasks, same = append(tasks, task), append(same, n.Same[i])
			}
		}
	}
	n.Tasks, n.Same = tasks, same
	return n
}

// reported lists the report's rows.
func reported(t *testing.T, s *Store) []string {
	t.Helper()
	known, err := s.Vendors(ctx)
	if err != nil {
		t.Fatal(err)
	}
	names := map[int64]string{}
	for name, v := range known {
		names[v.ID] = name
	}
	var all []string
	if err := s.Rows(ctx, Filter{}, func(r *Row) error {
		text := fmt.Sprintf("%d/%d %s ", r.Batch, r.Line, r.SubjectID)
		if r.Reject != nil {
			text += r.Reject.Reason
		} else {
			text += fmt.Sprintf("%s %d %v", names[r.Task.Vendor], r.Task.Field, r.Task.State)
		}
		all = append(all, text)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return all
}

func (s *Store) task(t *testing.T, id int64) Task {
	t.Helper()
	w, err := s.TaskByID(ctx, id)
	if err != nil {
		t.Fatal(err)
	}
	return w.Task
}

// TestTasksAdded: a request that comes again for other vendors gets the tasks that it lacks,
// whether it is open or finished; the file's totals and those of its batch balance, and the
// report keeps its order.
func TestTasksAdded(t *testing.T) {
	for _, finished := range []bool{false, true} {
		t.Run(fmt.Sprintf("finished %v", finished), func(t *testing.T) {
			e := newEnv(t)
			s := e.open(t)
			alpha, beta := twoVendors(t, s)
			row := func(line int, id, a, b string) *NewSubject { return subject(s, line, id, a, b, alpha, beta) }
			one := take(t, s, "one", at(row(2, "R-1", "a@example.com", "k1"), beta), row(3, "R-2", "b@example.com", "k2"), at(row(4, "R-3", "c@example.com", ""), alpha))
			first := one.First * TasksPerSubject
			if finished {
				mustApply(t, s, Pending, to(s.task(t, first), NotFound, start))
				if got := string(plainOf(t, s, first)); got != "1~\n2~\n" && got != "2~\n" {
					t.Fatalf("%q is left of a finished subject", got)
				}
			}
			if open, err := s.OpenBatches(ctx); err != nil || len(open) != 1 {
				t.Fatal(open, err)
			}
			two, again := takeWith(t, s, following(s), "two", at(row(2, "R-1", "a@example.com", "k1"), alpha),
				row(3, "R-2", "b@example.com", "k2"), at(row(4, "R-3", "c@example.com", ""), beta), row(5, "R-4", "d@example.com", "k4"))
			if want := [4]int64{4, 1, 0, 3}; again || two.counts() != want || two.Added != 2 {
				t.Errorf("%v %v, %d added", again, two.counts(), two.Added)
			}
			mustBalance(t, s)
			mustList(t, raw(t, e.path))
			state := "pending"
			if finished {
				state = "not_found"
			}
			want := []string{
				"1/2 R-1 alpha 1 pending", "1/2 R-1 beta 2 " + state, "1/3 R-2 alpha 1 pending", "1/3 R-2 beta 2 pending",
				"1/4 R-3 alpha 1 pending", "1/4 R-3 beta 0 skipped",
				"2/2 R-1 added", "2/3 R-2 already", "2/4 R-3 added", "2/5 R-4 alpha 1 pending", "2/5 R-4 beta 2 pending",
			}
			if diff := cmp.Diff(want, reported(t, s)); diff != "" {
				t.Error(diff)
			}
			task := s.task(t, first+1)
			if task.Vendor != alpha || !task.Ready || !task.DueAt.Equal(start.Add(30*24*time.Hour)) {
				t.Errorf("the added task: %+v", task)
			}
			kept := "1=a@example.com\n2=k1\n"
			if finished {
				kept = "1=a@example.com\n2~\n" // what the finished task needed is not back
			}
			if got := string(plainOf(t, s, first)); got != kept {
				t.Errorf("kept: %q, want %q", got, kept)
			}

			// The same file once more changes nothing.
			before := dump(t, e.path)
			three, again := takeWith(t, s, following(s), "two, with another digest", at(row(2, "R-1", "a@example.com", "k1"), alpha),
				row(3, "R-2", "b@example.com", "k2"), at(row(4, "R-3", "c@example.com", ""), beta), row(5, "R-4", "d@example.com", "k4"))
			if !again || three.ID != two.ID {
				t.Errorf("again %v, batch %d", again, three.ID)
			}
			if diff := cmp.Diff(before, dump(t, e.path)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func plainOf(t *testing.T, s *Store, task int64) []byte {
	t.Helper()
	w, err := s.TaskByID(ctx, task)
	if err != nil {
		t.Fatal(err)
	}
	return w.Plain
}

// TestAddedToFinishedBatch: a batch that is finished is open again when a later file adds to
// it, or no run would work on what was added.
func TestAddedToFinishedBatch(t *testing.T) {
	e := newEnv(t)
	s := e.open(t)
	alpha, beta := twoVendors(t, s)
	one := take(t, s, "one", at(subject(s, 2, "R-1", "a@example.com", "k1", alpha, beta), alpha))
	mustApply(t, s, Pending, to(s.task(t, one.First*TasksPerSubject), NotFound, start))
	if open, err := s.OpenBatches(ctx); err != nil || len(open) != 0 {
		t.Fatal(open, err)
	}
	takeWith(t, s, following(s), "two", subject(s, 2, "R-1", "a@example.com", "k1", alpha, beta))
	if open, err := s.OpenBatches(ctx); err != nil || len(open) != 1 || open[0].ID != one.ID {
		t.Errorf("%+v %v", open, err)
	}
}

// TestTasksAddedInPlace: where a vendor was skipped, and now knows the subject, the new task
// takes the place of the one that said so.
func TestTasksAddedInPlace(t *testing.T) {
	e := newEnv(t)
	s := e.open(t)
	alpha, beta := twoVendors(t, s)
	other := subject(s, 2, "R-1", "a@example.com", "k1", alpha, beta)
	other.Tasks[0] = NewTask{Vendor: alpha, State: Skipped, Reason: "other_region"}
	other.Same[0] = 0
	one := take(t, s, "one", other)
	two, _ := takeWith(t, s, following(s), "two", subject(s, 2, "R-1", "a@example.com", "k1", alpha, beta))
	if two.Added != 1 {
		t.Errorf("%d added", two.Added)
	}
	if diff := cmp.Diff([]string{"1/2 R-1 alpha 1 pending", "1/2 R-1 beta 2 pending", "2/2 R-1 added"}, reported(t, s)); diff != "" {
		t.Error(diff)
	}
	mustBalance(t, s)
	mustList(t, raw(t, e.path))
	if _, err := s.DropBatch(ctx, two.ID, Decision{At: start, Who: "kim", Note: "wrong file"}); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"1/2 R-1 alpha 0 skipped", "1/2 R-1 beta 2 pending"}, reported(t, s)); diff != "" {
		t.Error(diff)
	}
	if task := s.task(t, one.First*TasksPerSubject); task.Reason != "other_region" || !task.CompletedAt.Equal(start) {
		t.Errorf("put back: %+v", task)
	}
	mustBalance(t, s)
	mustList(t, raw(t, e.path))
}

// TestConflictingOfFinished: of a finished subject no digest is kept, and the masked forms
// still tell most other identifiers.
func TestConflictingOfFinished(t *testing.T) {
	e := newEnv(t)
	s := e.open(t)
	alpha, beta := twoVendors(t, s)
	one := take(t, s, "one", at(subject(s, 2, "R-1", "a@example.com", "", alpha, beta), alpha), subject(s, 3, "R-2", "b@example.com", "", alpha, beta))
	db := raw(t, e.path)
	if n := scalar[int](t, db, `SELECT count(*) FROM subjects WHERE content <> 0`); n != 2 {
		t.Fatalf("%d digests of open subjects", n)
	}
	mustApply(t, s, Pending, to(s.task(t, one.First*TasksPerSubject), NotFound, start))
	if n := scalar[int](t, db, `SELECT count(*) FROM subjects WHERE content <> 0`); n != 1 {
		t.Errorf("%d digests after one has finished", n)
	}
	r := rules
	r.Merge = func(stored, fresh []byte) ([]byte, bool, error) {
		return stored, !strings.Contains(string(fresh), "x@"), nil
	}
	two, _ := takeWith(t, s, r, "two", at(subject(s, 2, "R-1", "x@example.com", "", alpha, beta), alpha))
	if want := [4]int64{1, 0, 1, 0}; two.counts() != want {
		t.Errorf("other identifiers as far as can be seen: %v", two.counts())
	}
	three, _ := takeWith(t, s, r, "three", at(subject(s, 2, "R-1", "y@example.com", "", alpha, beta), alpha))
	if want := [4]int64{1, 0, 0, 1}; three.counts() != want {
		t.Errorf("none that could be told: %v", three.counts())
	}
}

// TestDigestOfFinishedFile: the digest of a file of which everything is finished is not kept
// either, and the file is still known by its rows.
func TestDigestOfFinishedFile(t *testing.T) {
	e := newEnv(t)
	s := e.open(t)
	alpha, beta := twoVendors(t, s)
	give := func(digest, refused string) (Batch, bool) {
		in, err := s.BeginIntake(ctx, "x.csv", start)
		if err != nil {
			t.Fatal(err)
		}
		if err := in.Subject(at(subject(s, 2, "R-1", "a@example.com", "", alpha, beta), alpha)); err != nil {
			t.Fatal(err)
		}
		if err := in.Reject(Reject{Line: 3, SubjectID: "R-2", Reason: refused, Message: "m"}); err != nil {
			t.Fatal(err)
		}
		b, again, err := in.Settle(ctx, []byte(digest), rules)
		if err != nil {
			t.Fatal(err)
		}
		return b, again
	}
	one, _ := give("one", "bad_email")
	if _, ok, err := s.FindBatch(ctx, []byte("one")); !ok || err != nil {
		t.Fatal(ok, err)
	}
	mustApply(t, s, Pending, to(s.task(t, one.First*TasksPerSubject), NotFound, start))
	if open, err := s.OpenBatches(ctx); err != nil || len(open) != 0 {
		t.Fatal(open, err)
	}
	if n := scalar[int](t, raw(t, e.path), `SELECT count(*) FROM batches WHERE digest IS NOT NULL`); n != 0 {
		t.Errorf("%d digests of files are left", n)
	}
	if b, again := give("one", "bad_email"); !again || b.ID != one.ID {
		t.Errorf("the same rows: again %v, batch %d", again, b.ID)
	}
	if b, again := give("one", "bad_date"); again || b.Invalid != 1 || b.Duplicates != 1 {
		t.Errorf("refused for another reason: again %v, %+v", again, b)
	}
	if b, again := give("one", "bad_date"); !again || b.ID != 2 {
		t.Errorf("and that again: again %v, batch %d", again, b.ID)
	}
}

// TestFollowEarlier: the task of a later file for the same identifier at the same vendor
// follows the one that is still open, from where that one has got to; the earlier due date
// drives both, and when the one ends the other does, each judged by its own date.
func TestFollowEarlier(t *testing.T) {
	e := newEnv(t)
	s := e.open(t)
	alpha, beta := twoVendors(t, s)
	row := func(line int, id, a string, due time.Duration) *NewSubject {
		n := at(subject(s, line, id, a, "", alpha, beta), alpha)
		n.DueAt = start.Add(due)
		return n
	}
	one, _ := takeWith(t, s, following(s), "one", row(2, "R-1", "a@example.com", 48*time.Hour), row(3, "R-2", "b@example.com", 24*time.Hour))
	lead := one.First * TasksPerSubject
	waiting := mustApply(t, s, Pending, to(s.task(t, lead), Submitting, start))
	waiting.Reference = "ticket-1"
	waiting = mustApply(t, s, Submitting, to(waiting, Waiting, start))
	mustApply(t, s, Pending, to(s.task(t, lead+TasksPerSubject), NotFound, start)) // nobody follows what has ended

	two, _ := takeWith(t, s, following(s), "two", row(2, "R-3", "a@example.com", time.Hour), row(3, "R-4", "b@example.com", time.Hour),
		row(4, "R-5", "a@example.com", 72*time.Hour))
	id := func(n int64) int64 { return (two.First + n) * TasksPerSubject }
	for _, n := range []int64{0, 2} {
		task := s.task(t, id(n))
		if task.State != Waiting || task.Follows != lead || task.Reference != "ticket-1" || task.Ready || !task.NextAt.IsZero() {
			t.Errorf("a follower of a waiting task: %+v", task)
		}
	}
	if task := s.task(t, id(1)); task.Follows != 0 || !task.Ready {
		t.Errorf("beside one that has ended: %+v", task)
	}
	if task := s.task(t, lead); !task.Leads || !task.DueAt.Equal(start.Add(time.Hour)) {
		t.Errorf("leads %v, due %v", task.Leads, task.DueAt)
	}
	mustBalance(t, s)
	mustList(t, raw(t, e.path))
	waiting.Leads = true // as it is claimed from now on
	mustApply(t, s, Waiting, to(waiting, Erased, start.Add(2*time.Hour)))
	for _, tt := range []struct {
		task int64
		due  time.Duration
	}{{lead, 48 * time.Hour}, {id(0), time.Hour}, {id(2), 72 * time.Hour}} {
		if task := s.task(t, tt.task); task.State != Erased || !task.DueAt.Equal(start.Add(tt.due)) {
			t.Errorf("task %d: %v, due %v", tt.task, task.State, task.DueAt)
		}
	}
}

// TestEarlierOnesStay: tasks of earlier files that do not follow each other, because they are
// from before this was done, go on by themselves.
func TestEarlierOnesStay(t *testing.T) {
	e := newEnv(t)
	s := e.open(t)
	alpha, beta := twoVendors(t, s)
	row := func(id string) *NewSubject {
		return at(subject(s, 2, id, "a@example.com", "", alpha, beta), alpha)
	}
	one, two := take(t, s, "one", row("R-1")), take(t, s, "two", row("R-2"))
	three, _ := takeWith(t, s, following(s), "three", row("R-3"))
	if a, b, c := s.task(t, one.First*TasksPerSubject), s.task(t, two.First*TasksPerSubject), s.task(t, three.First*TasksPerSubject); !a.Ready || !b.Ready || b.Follows != 0 || c.Follows != a.ID {
		t.Errorf("%+v\n%+v\n%+v", a, b, c)
	}
	mustList(t, raw(t, e.path))
}

// TestFollowerIsNotLost: a person's word that ends a task without an outcome is about that
// request. Those of later files are held on their own, and are worked on again by the next
// word.
func TestFollowerIsNotLost(t *testing.T) {
	e := newEnv(t)
	s := e.open(t)
	alpha, beta := twoVendors(t, s)
	row := func(line int, id string, due time.Duration) *NewSubject {
		n := at(subject(s, line, id, "a@example.com", "", alpha, beta), alpha)
		n.DueAt = start.Add(due)
		return n
	}
	one, _ := takeWith(t, s, following(s), "one", row(2, "R-1", 48*time.Hour), row(3, "R-2", 72*time.Hour))
	lead := one.First * TasksPerSubject
	held := to(s.task(t, lead), Held, start)
	held.Reason = "somebody_else"
	mustApply(t, s, Pending, held)
	two, _ := takeWith(t, s, following(s), "two", row(2, "R-3", 24*time.Hour), row(3, "R-4", 12*time.Hour))
	r3, r4 := two.First*TasksPerSubject, (two.First+1)*TasksPerSubject

	rejected := to(s.task(t, lead), Failed, start)
	rejected.Reason = "rejected"
	if err := s.Decide(ctx, Change{From: Held, Task: rejected}, Decision{At: start, Who: "kim", Action: "reject"}); err != nil {
		t.Fatal(err)
	}
	if task := s.task(t, lead+TasksPerSubject); task.State != Failed {
		t.Errorf("of the same file: %+v", task)
	}
	if task := s.task(t, r4); task.State != Held || task.Follows != 0 || !task.Leads || task.Reason != "somebody_else" || !task.DueAt.Equal(start.Add(12*time.Hour)) {
		t.Errorf("the most urgent of a later file: %+v", task)
	}
	if task := s.task(t, r3); task.State != Held || task.Follows != r4 {
		t.Errorf("the other one: %+v", task)
	}
	pending := to(s.task(t, r4), Pending, start)
	pending.Ready = true
	if err := s.Decide(ctx, Change{From: Held, Task: pending}, Decision{At: start, Who: "kim", Action: "approve"}); err != nil {
		t.Fatal(err)
	}
	mustList(t, raw(t, e.path))
	mustApply(t, s, Pending, to(pending, NotFound, start))
	if task := s.task(t, r3); task.State != NotFound {
		t.Errorf("after the end of the most urgent: %+v", task)
	}
}

// TestFollowerStartsAnew: a confirmation ends the followers whose requests were there when the
// work was done; the others go on from the start, and keep nothing of what was not theirs.
func TestFollowerStartsAnew(t *testing.T) {
	e := newEnv(t)
	s := e.open(t)
	alpha, beta := twoVendors(t, s)
	row := func(line int, id string, received time.Duration) *NewSubject {
		n := at(subject(s, line, id, "a@example.com", "", alpha, beta), alpha)
		n.ReceivedAt = start.Add(received)
		n.DueAt = n.ReceivedAt.Add(30 * 24 * time.Hour)
		return n
	}
	one, _ := takeWith(t, s, following(s), "one", row(2, "R-1", 0))
	lead := one.First * TasksPerSubject
	task := mustApply(t, s, Pending, to(s.task(t, lead), Submitting, start))
	task.Reference, task.Uncertain = "ticket-1", 1
	mustApply(t, s, Submitting, to(task, Waiting, start))
	two, _ := takeWith(t, s, following(s), "two", row(2, "R-2", 12*time.Hour), row(3, "R-3", 48*time.Hour), row(4, "R-4", 36*time.Hour))
	id := func(n int64) int64 { return (two.First + n) * TasksPerSubject }

	done := to(s.task(t, lead), Erased, start.Add(6*time.Hour))
	done.Evidence = Confirmed
	done.VerifiedAt = time.Time{}
	if err := s.Decide(ctx, Change{From: Waiting, Task: done}, Decision{At: start.Add(96 * time.Hour), Who: "kim", Action: "confirm"}); err != nil {
		t.Fatal(err)
	}
	if got := s.task(t, id(0)); got.State != Erased || got.Follows != lead {
		t.Errorf("received on the day of the work: %+v", got)
	}
	if got, want := s.task(t, id(2)), (Task{ID: id(2), Vendor: alpha, Field: 1, DueAt: start.Add(36*time.Hour + 30*24*time.Hour), Leads: true, Ready: true, SubmittedAt: time.Time{}}); !cmp.Equal(want, got) {
		t.Errorf("the most urgent of those received later: %s", cmp.Diff(want, got))
	}
	if got := s.task(t, id(1)); got.State != Pending || got.Follows != id(2) || got.Ready || got.Reference != "" {
		t.Errorf("the other one: %+v", got)
	}
	found, err := s.ByReferences(ctx, alpha, []string{"ticket-1"})
	if err != nil || len(found["ticket-1"]) != 1 || found["ticket-1"][0].ID != lead {
		t.Errorf("the reference leads to %v, %v", found["ticket-1"], err)
	}
	mustList(t, raw(t, e.path))
	mustBalance(t, s)
}

// TestAddedTasksFollow: tasks that a file adds to two requests of one person are one call,
// and follow what is open.
func TestAddedTasksFollow(t *testing.T) {
	e := newEnv(t)
	s := e.open(t)
	alpha, beta := twoVendors(t, s)
	row := func(line int, id string) *NewSubject {
		return subject(s, line, id, "a@example.com", "k"+id, alpha, beta)
	}
	takeWith(t, s, following(s), "one", at(row(2, "R-1"), beta), at(row(3, "R-2"), beta), at(row(4, "R-3"), beta))
	takeWith(t, s, following(s), "two", row(2, "R-1"), row(3, "R-2"))
	takeWith(t, s, following(s), "three", row(2, "R-3"), row(3, "R-4"))
	var leads, follow int
	if err := s.Rows(ctx, Filter{}, func(r *Row) error {
		if r.Task != nil && r.Task.Vendor == alpha {
			if r.Task.Follows != 0 {
				follow++
			} else if r.Task.Leads {
				leads++
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if leads != 1 || follow != 3 {
		t.Errorf("%d lead, %d follow", leads, follow)
	}
	mustBalance(t, s)
	mustList(t, raw(t, e.path))
}

// TestLaterIntakeCutShort: an intake that is cut short at any point takes back what it did
// to the requests of earlier batches.
func TestLaterIntakeCutShort(t *testing.T) {
	steps := []func(in *Intake, r IntakeRules) error{
		func(in *Intake, _ IntakeRules) error { return in.finishLoading() },
		func(in *Intake, r IntakeRules) error { in.batch.Last = in.nextID - 1; return in.refuseKnown(ctx, r) },
		func(in *Intake, _ IntakeRules) error { return in.tellReceived(ctx) },
		func(in *Intake, r IntakeRules) error { return in.linkSame(ctx, r) },
	}
	for n := range steps {
		e := newEnv(t)
		s := e.open(t)
		alpha, beta := twoVendors(t, s)
		urgent := func(line int, id, a string) *NewSubject {
			r := subject(s, line, id, a, "", alpha, beta)
			r.DueAt = start.Add(time.Hour)
			return r
		}
		one, _ := takeWith(t, s, following(s), "one", at(subject(s, 2, "R-1", "a@example.com", "k1", alpha, beta), beta), urgent(3, "R-2", "b@example.com"),
			subject(s, 4, "R-3", "c@example.com", "", alpha, beta))
		mustApply(t, s, Pending, to(s.task(t, one.First*TasksPerSubject), NotFound, start))
		held := to(s.task(t, (one.First+2)*TasksPerSubject), Held, start)
		held.Message = "see above"
		mustApply(t, s, Pending, held)
		// What is sealed is sealed anew when it is put back; what is in it is compared apart.
		tables := func() string {
			return dump(t, e.path, "batches", "tasks", "rejects", "subject_ids", "additions", "events") + dump(t, e.path, "(SELECT id, batch, line, subject_id, content, due_at, shape, event, secret, marks FROM subjects)") +
				string(plainOf(t, s, one.First*TasksPerSubject))
		}
		clean := tables()
		in, err := s.BeginIntake(ctx, "cut", start)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range []*NewSubject{subject(s, 2, "R-1", "a@example.com", "k1", alpha, beta), urgent(3, "R-4", "c@example.com"), urgent(4, "R-5", "b@example.com")} {
			if err := in.Subject(r); err != nil {
				t.Fatal(err)
			}
		}
		for _, step := range steps[:n+1] {
			if err := step(in, following(s)); err != nil {
				t.Fatal(err)
			}
		}
		killed := copyStore(t, e)
		if err := in.Discard(ctx); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(clean, tables()); diff != "" {
			t.Errorf("after step %d: %s", n, diff)
		}
		mustList(t, raw(t, e.path))
		s.close(t)
		s, e = killed.open(t), killed
		if _, err := s.DiscardUnsettled(ctx); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(clean, tables()); diff != "" {
			t.Errorf("after a kill at step %d: %s", n, diff)
		}
		mustList(t, raw(t, e.path))
	}
}

// TestMendedRows: an invalid row whose request came in later is no longer reported; one that
// repeats a request that was there before still is.
func TestMendedRows(t *testing.T) {
	e := newEnv(t)
	s := e.open(t)
	alpha, beta := twoVendors(t, s)
	in, err := s.BeginIntake(ctx, "one.csv", start)
	if err != nil {
		t.Fatal(err)
	}
	for line, id := range []string{"R-1", "R-2", ""} {
		if err := in.Reject(Reject{Line: line + 2, SubjectID: id, Reason: "bad_email", Message: "m"}); err != nil {
			t.Fatal(err)
		}
	}
	if _, _, err := in.Settle(ctx, []byte("one"), rules); err != nil {
		t.Fatal(err)
	}
	take(t, s, "two", subject(s, 2, "R-1", "a@example.com", "", alpha, beta), subject(s, 3, "R-1", "a@example.com", "", alpha, beta))
	take(t, s, "three", subject(s, 2, "R-1", "other@example.com", "", alpha, beta))
	want := []string{"1/3 R-2 bad_email", "1/4  bad_email", "2/2 R-1 alpha 1 pending", "2/2 R-1 beta 0 skipped", "2/3 R-1 repeated", "3/2 R-1 conflicting"}
	if diff := cmp.Diff(want, reported(t, s)); diff != "" {
		t.Error(diff)
	}
	mustBalance(t, s)
}

// TestDropBatch: a batch of which nothing was submitted can be taken back: its file comes in
// again as if it were new, later followers go on, and the store remembers who took it back.
func TestDropBatch(t *testing.T) {
	e := newEnv(t)
	s := e.open(t)
	alpha, beta := twoVendors(t, s)
	d := Decision{At: start, Who: "kim", Note: "wrong columns"}
	row := func(line int, id, a string) *NewSubject { return subject(s, line, id, a, "", alpha, beta) }
	one, _ := takeWith(t, s, following(s), "one", row(2, "R-1", "a@example.com"), row(3, "R-2", "b@example.com"), row(4, "R-2", "b@example.com"))
	mustApply(t, s, Pending, to(s.task(t, one.First*TasksPerSubject), Held, start))
	mustApply(t, s, Pending, to(s.task(t, (one.First+1)*TasksPerSubject), NotFound, start))
	two, _ := takeWith(t, s, following(s), "two", row(2, "R-3", "a@example.com"))
	if _, err := s.DropBatch(ctx, one.ID, d); err != nil {
		t.Fatal(err)
	}
	if task := s.task(t, two.First*TasksPerSubject); task.State != Held || task.Follows != 0 {
		t.Errorf("the follower of a later file: %+v", task)
	}
	all, err := s.Batches(ctx)
	if err != nil || len(all) != 2 || all[0].Dropped.Who != "kim" || all[0].Dropped.Note != "wrong columns" || !all[0].Dropped.At.Equal(start) || all[0].Loading {
		t.Errorf("%+v %v", all, err)
	}
	mustBalance(t, s)
	mustList(t, raw(t, e.path))
	if _, err := s.DropBatch(ctx, one.ID, d); !errors.Is(err, ErrDropped) {
		t.Errorf("a second time: %v", err)
	}
	if _, err := s.DropBatch(ctx, 9, d); !errors.Is(err, ErrUnknown) {
		t.Errorf("an unknown one: %v", err)
	}
	three, again := takeWith(t, s, following(s), "one", row(2, "R-1", "a@example.com"), row(3, "R-2", "b@example.com"), row(4, "R-2", "b@example.com"))
	if want := [4]int64{3, 2, 1, 0}; again || three.counts() != want {
		t.Errorf("the file once more: %v %v", again, three.counts())
	}
	if task := s.task(t, three.First*TasksPerSubject); task.Follows != two.First*TasksPerSubject {
		t.Errorf("follows %d", task.Follows)
	}
}

// TestNotDropped: what was, or may have been, submitted is not taken back, nor what later
// files count on; the refusal says each of it.
func TestNotDropped(t *testing.T) {
	e := newEnv(t)
	s := e.open(t)
	alpha, beta := twoVendors(t, s)
	d := Decision{At: start, Who: "kim"}
	row := func(line int, id, a, b string) *NewSubject { return subject(s, line, id, a, b, alpha, beta) }
	one, _ := takeWith(t, s, following(s), "one", at(row(2, "R-1", "a@example.com", "k1"), alpha), row(3, "R-2", "b@example.com", ""))
	two, _ := takeWith(t, s, following(s), "two", row(2, "R-1", "a@example.com", "k1"), row(3, "R-2", "b@example.com", ""), row(4, "R-3", "c@example.com", ""))
	task := mustApply(t, s, Pending, to(s.task(t, one.First*TasksPerSubject), Submitting, start))
	task.Ready, task.Uncertain, task.SubmittedAt = true, 1, time.Time{}
	mustApply(t, s, Submitting, to(task, Pending, start))
	before := dump(t, e.path)
	_, err := s.DropBatch(ctx, one.ID, d)
	var no *NotDroppedError
	if !errors.As(err, &no) {
		t.Fatal(err)
	}
	want := []string{
		"of its tasks, 1 were submitted, or may have been",
		"batch 2 added tasks to 1 of its requests: drop that one first",
		"1 rows of batch 2 were the same and count for this one: drop that one first",
	}
	if diff := cmp.Diff(want, no.Why); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(before, dump(t, e.path)); diff != "" {
		t.Error(diff)
	}
	// Of the second nothing was sent: what it added to the first goes with it.
	if _, err := s.DropBatch(ctx, two.ID, d); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"1/2 R-1 alpha 1 pending", "1/3 R-2 alpha 1 pending", "1/3 R-2 beta 0 skipped"}, reported(t, s)); diff != "" {
		t.Error(diff)
	}
	mustBalance(t, s)
	mustList(t, raw(t, e.path))
}

// TestDropCutShort: a drop that is killed is finished by the next command.
func TestDropCutShort(t *testing.T) {
	e := newEnv(t)
	s := e.open(t)
	alpha, beta := twoVendors(t, s)
	one := take(t, s, "one", subject(s, 2, "R-1", "a@example.com", "", alpha, beta))
	mustExec(t, raw(t, e.path), `UPDATE batches SET loading=1, first_event=NULL, dropped_at=1, dropped_by='kim'`)
	byHand.Store(e.path, true) // the drop's own event is missing
	cut, err := s.DiscardUnsettled(ctx)
	if err != nil || len(cut) != 0 {
		t.Errorf("%+v %v", cut, err)
	}
	all, err := s.Batches(ctx)
	if err != nil || len(all) != 1 || all[0].Loading || all[0].Dropped.Who != "kim" {
		t.Errorf("%+v %v", all, err)
	}
	if n := scalar[int](t, raw(t, e.path), `SELECT count(*) FROM subjects`); n != 0 {
		t.Errorf("%d subjects of batch %d are left", n, one.ID)
	}
	mustBalance(t, s)
}
