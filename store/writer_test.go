package store

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"expunge/store/seal"
)

// manyTasks is a store with n subjects, each with one ready task at alpha.
func manyTasks(t *testing.T, n int) (*env, *Store, []Task) {
	t.Helper()
	e := newEnv(t)
	s := e.open(t)
	alpha, beta := twoVendors(t, s)
	var rows []*NewSubject
	for i := range n {
		rows = append(rows, subject(s, i+2, fmt.Sprintf("R-%d", i), fmt.Sprintf("p%d@example.com", i), "", alpha, beta))
	}
	b := take(t, s, "many", rows...)
	var tasks []Task
	for id := b.First; id <= b.Last; id++ {
		w, err := s.TaskByID(ctx, id*TasksPerSubject)
		if err != nil {
			t.Fatal(err)
		}
		tasks = append(tasks, w.Task)
	}
	return e, s, tasks
}

// TestMoveIsACompareAndSwap: a change that starts from a state in which the task is not
// any more changes nothing, though the step itself would be legal; it spoils neither the
// store nor the changes that it shares a commit with.
func TestMoveIsACompareAndSwap(t *testing.T) {
	e, s, tasks := manyTasks(t, 2)
	before := dump(t, e.path)
	stale := to(tasks[0], Submitting, start) // pending to submitting is legal too
	stale.Message = "stale"
	if err := s.Apply(Change{From: Previewed, Task: stale}); !errors.Is(err, ErrConflict) {
		t.Fatalf("Apply: %v", err)
	}
	if diff := cmp.Diff(before, dump(t, e.path)); diff != "" {
		t.Errorf("a conflict has changed: %s", diff)
	}

	// In one group with a good one.
	s.lag = time.Minute
	s.Working(2)
	defer s.Working(-2)
	var group sync.WaitGroup
	var conflict, good error
	group.Go(func() { conflict = s.Apply(Change{From: Previewed, Task: stale}) })
	group.Go(func() { good = s.Apply(Change{From: Pending, Task: to(tasks[1], Previewed, start)}) })
	group.Wait()
	if !errors.Is(conflict, ErrConflict) || good != nil {
		t.Errorf("together: %v, %v", conflict, good)
	}
	if s.Err() != nil {
		t.Errorf("a conflict stops the store: %v", s.Err())
	}
	if w, err := s.TaskByID(ctx, tasks[1].ID); err != nil || w.State != Previewed {
		t.Errorf("the good one: %v %v", w.State, err)
	}
}

// TestApplyIsDurable: when Apply has returned, the change is there after a kill at that
// instant, however many apply at the same time.
func TestApplyIsDurable(t *testing.T) {
	const n = 64
	e, s, tasks := manyTasks(t, n)
	s.lag = time.Hour // a commit that waits for nobody in vain: one of four is enough
	s.Working(4)
	var group sync.WaitGroup
	errs := make([]error, n)
	for i, task := range tasks {
		group.Go(func() { errs[i] = s.Apply(Change{From: Pending, Task: to(task, Submitting, start)}) })
	}
	group.Wait()
	s.Working(-4)
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	killed := copyStore(t, e).open(t)
	for _, task := range tasks {
		if w, err := killed.TaskByID(ctx, task.ID); err != nil || w.State != Submitting {
			t.Fatalf("task %d after a kill: %v %v", task.ID, w.State, err)
		}
	}
}

// TestApplyLaterKeepsOrder: changes are committed in the order in which they are given,
// and every one of them is answered, in that order too.
func TestApplyLaterKeepsOrder(t *testing.T) {
	const n = 2000 // more than the queue and a group hold
	_, s, tasks := manyTasks(t, 1)
	task := tasks[0]
	var answered []int
	for i := range n {
		task.Attempts = i + 1
		s.ApplyLater(Change{From: Pending, Task: to(task, Pending, start)}, func(err error) {
			if err != nil {
				t.Error(err)
			}
			answered = append(answered, i)
		})
	}
	if err := s.Flush(); err != nil {
		t.Fatal(err)
	}
	if len(answered) != n || !slices.IsSorted(answered) {
		t.Errorf("%d of %d answered, in order: %v", len(answered), n, slices.IsSorted(answered))
	}
	if w, err := s.TaskByID(ctx, task.ID); err != nil || w.Attempts != n {
		t.Errorf("the last one is %d: %v", w.Attempts, err)
	}
}

// TestApplyLaterSurvivesClose: what is queued when the store is closed is committed.
func TestApplyLaterSurvivesClose(t *testing.T) {
	e, s, tasks := manyTasks(t, 50)
	for _, task := range tasks {
		s.ApplyLater(Change{From: Pending, Task: to(task, NotFound, start)}, func(err error) {
			if err != nil {
				t.Error(err)
			}
		})
	}
	s.close(t)
	again := e.open(t)
	for _, task := range tasks {
		if w, err := again.TaskByID(ctx, task.ID); err != nil || w.State != NotFound {
			t.Fatalf("task %d: %v %v", task.ID, w.State, err)
		}
	}
}

// TestGroupFailsTogether: a change that the schema refuses is our own mistake. Nothing of
// its group is kept, everybody in it hears of it, and the store takes nothing more.
func TestGroupFailsTogether(t *testing.T) {
	e, s, tasks := manyTasks(t, 3)
	before := dump(t, e.path)
	s.lag = time.Minute
	s.Working(3)
	defer s.Working(-3)
	later := make(chan error, 1)
	s.ApplyLater(Change{From: Pending, Task: to(tasks[0], Previewed, start)}, func(err error) { later <- err })
	bad := to(tasks[1], Erased, start)
	bad.Evidence = NoEvidence
	err := s.Apply(Change{From: Pending, Task: bad})
	if err == nil || errors.Is(err, ErrConflict) || !strings.Contains(err.Error(), "CHECK") {
		t.Fatalf("Apply: %v", err)
	}
	if err := <-later; err == nil {
		t.Error("its neighbour in the group was told that all is well")
	}
	for what, err := range map[string]error{
		"Apply": s.Apply(Change{From: Pending, Task: to(tasks[2], Previewed, start)}), "Err": s.Err(), "Flush": s.Flush(),
		"PauseVendor": s.PauseVendor(ctx, tasks[0].Vendor, start),
	} {
		if err == nil {
			t.Errorf("%s goes on", what)
		}
	}
	if diff := cmp.Diff(before, dump(t, e.path)); diff != "" {
		t.Errorf("something of the group was kept: %s", diff)
	}
}

// TestOwnTransactionFailsAlone: a transaction of its own that fails leaves nothing, and
// the store goes on.
func TestOwnTransactionFailsAlone(t *testing.T) {
	e, s, tasks := manyTasks(t, 1)
	before := dump(t, e.path)
	boom := errors.New("boom")
	bad := to(tasks[0], Held, start)
	err := s.DecideAll(ctx, []Change{{From: Pending, Task: bad}, {From: Pending, Task: bad}}, Decision{Who: "w", Action: "reject"})
	if !errors.Is(err, ErrConflict) {
		t.Errorf("the second of two equal moves: %v", err)
	}
	if diff := cmp.Diff(before, dump(t, e.path)); diff != "" {
		t.Errorf("half of it was kept: %s", diff)
	}
	if _, err := s.SyncVendors(ctx, []VendorSpec{{"gamma", "z", 0}, {"alpha", "other kind", 0}}); err == nil || !strings.Contains(err.Error(), "another name") {
		t.Errorf("a vendor changes its kind: %v", err)
	}
	if known, _ := s.Vendors(ctx); len(known) != 2 {
		t.Errorf("half of it was kept: %v", known)
	}
	if s.Err() != nil || errors.Is(s.Err(), boom) {
		t.Error(s.Err())
	}
	mustApply(t, s, Pending, to(tasks[0], Previewed, start))
}

// fullTask has a value in every column.
func fullTask(t Task) Task {
	t.State, t.Reason, t.Message, t.Evidence = Erased, "key_looks_like_email", "a message", VendorDone
	t.Ready, t.NextAt = false, time.Time{}
	t.Attempts, t.Uncertain, t.Lost = 3, 1, 1
	t.Records, t.RecordsAfter, t.RecordRefs = Counted(2), Counted(0), "11;12"
	t.Reference, t.Hint, t.Approval = "job-7", "as_given", "2:11;12"
	t.PreviewedAt, t.SubmittedAt, t.CompletedAt, t.VerifiedAt = start, start.Add(time.Second), start.Add(time.Minute), start.Add(time.Hour)
	return t
}

// TestChangeKeepsEverything: every field of a task comes back as it was given, and so does
// the lack of it.
func TestChangeKeepsEverything(t *testing.T) {
	_, s, tasks := manyTasks(t, 2)
	full := mustApply(t, s, Pending, fullTask(tasks[0]))
	full.PreviewedAt = time.Time{} // of a final task nobody asks any more
	empty := to(tasks[1], Waiting, start)
	empty.Ready, empty.NextAt = false, start.Add(90*time.Minute)
	submitting := mustApply(t, s, Pending, to(tasks[1], Submitting, start))
	empty.SubmittedAt = submitting.SubmittedAt
	mustApply(t, s, Submitting, empty)
	for _, want := range []Task{full, empty} {
		w, err := s.TaskByID(ctx, want.ID)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, w.Task); diff != "" {
			t.Error(diff)
		}
	}
}

// TestReferencesAreKept: a reference that a later submission replaces stays known, and
// leads to its task (invariant 3).
func TestReferencesAreKept(t *testing.T) {
	e, s, w := oneTask(t)
	step := func(from, state State, reference string) {
		w.Task = to(w.Task, state, start)
		w.Reference = reference
		mustApply(t, s, from, w.Task)
	}
	step(Pending, Submitting, "")
	step(Submitting, Waiting, "job-1")
	step(Waiting, Pending, "job-1") // the vendor lost it
	step(Pending, Submitting, "job-1")
	step(Submitting, Waiting, "job-2")
	step(Waiting, Waiting, "job-2") // a poll replaces nothing
	if got := scalar[string](t, raw(t, e.path), `SELECT group_concat(reference) FROM former_references`); got != "job-1" {
		t.Errorf("former references: %s", got)
	}
	found, err := s.ByReferences(ctx, w.Vendor, []string{"job-1", "job-2", "job-3"})
	if err != nil {
		t.Fatal(err)
	}
	if len(found) != 2 || len(found["job-1"]) != 1 || len(found["job-2"]) != 1 || found["job-1"][0].ID != w.ID || found["job-2"][0].ID != w.ID || found["job-1"][0].Reference != "job-2" {
		t.Errorf("found %v", found)
	}
	if other, err := s.ByReferences(ctx, w.Vendor+1, []string{"job-1", "job-2"}); err != nil || len(other) != 0 {
		t.Errorf("another vendor's: %v %v", other, err)
	}
}

// TestSharedReference: a reference that the vendor gave to several tasks, now or formerly,
// leads to each of them once.
func TestSharedReference(t *testing.T) {
	_, s, tasks := manyTasks(t, 3)
	submit := func(task Task, references ...string) {
		for _, ref := range references {
			task = mustApply(t, s, task.State, to(task, Submitting, start))
			task = to(task, Held, start) // to wait, it must have a reference of its own
			task.Reference = ref
			mustApply(t, s, Submitting, task)
			task = mustApply(t, s, Held, to(task, Pending, start))
		}
	}
	submit(tasks[0], "10089")
	submit(tasks[1], "10089", "10090")
	submit(tasks[2], "10089", "10090", "10089")
	found, err := s.ByReferences(ctx, tasks[0].Vendor, []string{"10089", "10090"})
	if err != nil {
		t.Fatal(err)
	}
	got := map[string][]int64{}
	for ref, works := range found {
		for _, w := range works {
			got[ref] = append(got[ref], w.ID)
		}
		slices.Sort(got[ref])
	}
	want := map[string][]int64{"10089": {tasks[0].ID, tasks[1].ID, tasks[2].ID}, "10090": {tasks[1].ID, tasks[2].ID}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// TestGivenReference: no task waits for a reference that the vendor has given for another
// one, however long ago and whatever became of it; nothing has changed then, and the next
// one in the same commit is not touched. It can be held with it.
func TestGivenReference(t *testing.T) {
	e, s, tasks := manyTasks(t, 4)
	accept := func(task Task, ref string) error {
		mustApply(t, s, Pending, to(task, Submitting, start))
		task = to(task, Waiting, start)
		task.Reference = ref
		return s.Apply(Change{From: Submitting, Task: task})
	}
	refused := func(err error, other Task) {
		t.Helper()
		var g *GivenError
		if !errors.As(err, &g) || g.Other != other.ID || !errors.Is(err, ErrConflict) {
			t.Errorf("%v, want that it was given for task %d", err, other.ID)
		}
	}
	first := tasks[0]
	if err := accept(first, "10089"); err != nil {
		t.Fatal(err)
	}
	before := dump(t, e.path, "given_references")
	mustApply(t, s, Pending, to(tasks[1], Submitting, start))
	before = before + dump(t, e.path, "tasks")
	waiting := to(tasks[1], Waiting, start)
	waiting.Reference = "10089"
	errs := make(chan error, 1)
	s.ApplyLater(Change{From: Submitting, Task: waiting}, func(err error) { errs <- err })
	refused(<-errs, first)
	if diff := cmp.Diff(before, dump(t, e.path, "given_references")+dump(t, e.path, "tasks")); diff != "" {
		t.Errorf("refused and changed:\n%s", diff)
	}
	held := to(tasks[1], Held, start)
	held.Reference = "10089"
	mustApply(t, s, Submitting, held)
	refused(s.Decide(ctx, Change{From: Held, Task: waiting}, Decision{At: start, Who: "w", Action: "approve"}), first)

	// The first one may go on with it, lose it and get it again.
	first = to(first, Waiting, start)
	first.Reference = "10089"
	mustApply(t, s, Waiting, first)
	again := mustApply(t, s, Waiting, to(first, Pending, start))
	if err := accept(again, "10089"); err != nil {
		t.Error(err)
	}
	again = mustApply(t, s, Waiting, to(again, Pending, start))
	if err := accept(again, "10090"); err != nil {
		t.Error(err)
	}
	refused(accept(tasks[2], "10089"), first) // a former one
	again.Reference = "10090"
	mustApply(t, s, Waiting, to(again, Erased, start))
	mustApply(t, s, Submitting, to(tasks[2], Pending, start))
	refused(accept(tasks[2], "10090"), first) // of a task that is finished

	// A change that finds another state gives nothing to anybody.
	third := to(tasks[3], Waiting, start)
	third.Reference = "10091"
	if err := s.Apply(Change{From: Submitting, Task: third}); !errors.Is(err, ErrConflict) {
		t.Error(err)
	}
	if err := accept(tasks[3], "10091"); err != nil {
		t.Error(err)
	}
	mustApply(t, s, Submitting, to(tasks[2], Pending, start))
	refused(accept(tasks[2], "10091"), third)
}

// TestForget: when a task is settled, what no other unsettled task of its subject needs is
// gone in the same commit; what is still needed stays (invariant 7), also for a failed task,
// which may be retried until somebody closes it.
func TestForget(t *testing.T) {
	_, s, w := oneTask(t)
	plain := func() string {
		t.Helper()
		got, err := s.TaskByID(ctx, w.ID)
		if err != nil {
			t.Fatal(err)
		}
		return string(got.Plain)
	}
	b, err := s.TaskByID(ctx, w.ID+1)
	if err != nil {
		t.Fatal(err)
	}
	mustApply(t, s, Pending, to(w.Task, Held, start))
	if got := plain(); got != "1=a@example.com\n2=b-key\n" {
		t.Errorf("a held task needs what it has: %q", got)
	}
	mustApply(t, s, Held, to(w.Task, Failed, start))
	if got := plain(); got != "1=a@example.com\n2=b-key\n" {
		t.Errorf("a failed task needs what it has: %q", got)
	}
	closed := to(w.Task, Failed, start)
	closed.ClosedAt = start
	mustApply(t, s, Failed, closed)
	if got := plain(); got != "1~\n2=b-key\n" {
		t.Errorf("beta is open and needs field 2: %q", got)
	}
	mustApply(t, s, Pending, to(b.Task, NotFound, start))
	if got := plain(); got != "1~\n2~\n" {
		t.Errorf("nothing is open: %q", got)
	}
	// A failure that a person mends later has nothing left to drop.
	done := to(w.Task, Erased, start)
	done.Evidence = Confirmed
	mustApply(t, s, Failed, done)
	if got := plain(); got != "1~\n2~\n" {
		t.Errorf("after a confirmation: %q", got)
	}
}

// TestForgetFailureKeepsTheTask: a task does not become final without its data being
// dropped: both or none.
func TestForgetFailureKeepsTheTask(t *testing.T) {
	e, s, w := oneTask(t)
	s.o.Forget = func([]byte, uint32) ([]byte, error) { return nil, errors.New("boom") }
	if err := s.Apply(Change{From: Pending, Task: to(w.Task, NotFound, start)}); err == nil {
		t.Fatal("the task became final with its data in place")
	}
	s.close(t)
	if got, err := e.open(t).TaskByID(ctx, w.ID); err != nil || got.State != Pending || len(got.Plain) == 0 {
		t.Errorf("%v %q %v", got.State, got.Plain, err)
	}
}

// TestSealedToItsRow: sealed data that somebody moves to another row does not open there,
// so that nobody is erased in another's place.
func TestSealedToItsRow(t *testing.T) {
	e, s, tasks := manyTasks(t, 2)
	a, b := tasks[0].SubjectRow(), tasks[1].SubjectRow()
	db := raw(t, e.path)
	mustExec(t, db, `UPDATE subjects SET sealed = (SELECT sealed FROM subjects WHERE id=?) WHERE id=?`, a, b)
	if _, err := s.TaskByID(ctx, tasks[1].ID); !errors.Is(err, seal.ErrWrongKey) {
		t.Errorf("moved: %v", err)
	}
	if _, err := s.TaskByID(ctx, tasks[0].ID); err != nil {
		t.Errorf("in its place: %v", err)
	}
	var c Cursor
	if _, err := s.ClaimReady(ctx, tasks[0].Vendor, &c, 10); !errors.Is(err, seal.ErrWrongKey) {
		t.Errorf("ClaimReady: %v", err)
	}
	if err := s.Rows(ctx, Filter{}, func(*Row) error { return nil }); !errors.Is(err, seal.ErrWrongKey) {
		t.Errorf("Rows: %v", err)
	}
}
