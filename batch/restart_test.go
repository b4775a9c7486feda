package batch

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"expunge/store"
	"expunge/store/ledger"
	"expunge/vendors"
)

func (r *rig) heads() *Publisher {
	return &Publisher{Store: r.st, HeadFile: filepath.Join(r.dir, "heads"), Beside: filepath.Join(r.dir, "report.csv.head")}
}

func (r *rig) publish() *ledger.Head {
	r.t.Helper()
	h, err := r.heads().Publish(context.Background())
	if err != nil {
		r.t.Fatal(err)
	}
	return h
}

// copied is the store's file, as a backup has it.
func (r *rig) copied(vs ...*fake) []byte {
	r.t.Helper()
	r.close()
	b, err := os.ReadFile(r.path())
	if err != nil {
		r.t.Fatal(err)
	}
	r.open()
	r.use(vs...)
	return b
}

// putBack puts a copy in the place of the store.
func (r *rig) putBack(copied []byte, vs ...*fake) {
	r.t.Helper()
	r.close()
	if err := os.WriteFile(r.path(), copied, 0o600); err != nil {
		r.t.Fatal(err)
	}
	r.open()
	r.use(vs...)
}

// TestIntents: before each submission that must not be repeated, and no other, a head is published
// that no copy of the store from before it leads to.
func TestIntents(t *testing.T) {
	v, other := tickets("acqueon"), remote("other")
	var seen []int64
	newest := func() *ledger.Head {
		h, err := v.rig.job.Heads.Newest()
		if err != nil {
			t.Error(err)
		}
		return h
	}
	v.script = func(op string, _ *vendors.Target, _ int) (error, bool) {
		if op == "submit" {
			seen = append(seen, newest().Size)
		}
		return nil, false
	}
	bubble(t, []*fake{v, other}, func(r *rig) {
		r.lanes["acqueon"].Concurrency = 1
		r.job.Heads, r.job.ID = r.heads(), 7
		r.people(3)
		before := r.publish()
		r.work(WorkOptions{})
		if len(seen) != 3 || seen[0] <= before.Size || seen[1] <= seen[0] || seen[2] <= seen[1] {
			t.Errorf("heads of %d, and then at the submissions %v", before.Size, seen)
		}
		b, err := os.ReadFile(r.heads().HeadFile)
		if err != nil {
			t.Fatal(err)
		}
		if all, bad := ledger.SplitHeads(b); len(all) != 4 || bad != 0 {
			t.Errorf("%d heads, %d bad: one before the run, and one for each ticket", len(all), bad)
		}
	})
}

// TestIntentsNotPublished: where no head can be published, nothing is submitted that must not be
// repeated, and nothing of it is uncertain; others go on.
func TestIntentsNotPublished(t *testing.T) {
	v, other := tickets("acqueon"), remote("other")
	bubble(t, []*fake{v, other}, func(r *rig) {
		r.job.Heads = r.heads()
		if err := os.Mkdir(r.heads().Beside, 0o700); err != nil {
			t.Fatal(err)
		}
		r.people(2)
		results := r.work(WorkOptions{})
		if v.count("submit", "") != 0 || other.count("submit", "") != 2 || !errors.Is(results[0].Err, ErrHeads) {
			t.Errorf("%d and %d submissions: %v", v.count("submit", ""), other.count("submit", ""), results[0].Err)
		}
		if got := r.states(); got != "2 erased, 2 pending" {
			t.Error(got)
		}
		for _, task := range r.tasks() {
			if task.Uncertain > 0 {
				t.Errorf("task %d is uncertain", task.ID)
			}
		}
		if err := os.Remove(r.heads().Beside); err != nil {
			t.Fatal(err)
		}
		r.use(v, other)
		r.job.Heads = r.heads()
		r.work(WorkOptions{})
		if v.count("submit", "") != 2 {
			t.Errorf("%d tickets", v.count("submit", ""))
		}
	})
}

// TestIntentsBesideTheReport: the copy beside the report, where no other is wanted, stops nothing.
func TestIntentsBesideTheReport(t *testing.T) {
	v := tickets("acqueon")
	bubble(t, []*fake{v}, func(r *rig) {
		r.job.Heads = &Publisher{Store: r.st, Beside: r.heads().Beside}
		if err := os.Mkdir(r.heads().Beside, 0o700); err != nil {
			t.Fatal(err)
		}
		r.people(2)
		if results := r.work(WorkOptions{}); v.count("submit", "") != 2 || results[0].Err != nil {
			t.Errorf("%d tickets: %v", v.count("submit", ""), results[0].Err)
		}
	})
}

// TestPutBack: a store that is put back from a copy, at any time, is behind what was published; a
// restart holds what may have been submitted where that does harm, and nothing else, and then
// nothing is submitted twice. (CASES.md, M1)
func TestPutBack(t *testing.T) {
	v, other := tickets("acqueon"), remote("other")
	bubble(t, []*fake{v, other}, func(r *rig) {
		r.people(3)
		r.work(WorkOptions{DryRun: true})
		early := r.copied(v, other)
		r.publish()
		r.job.Heads = r.heads()
		r.work(WorkOptions{})
		r.publish()
		late := r.copied(v, other)
		if got := r.states(); got != "3 erased, 3 waiting" || v.count("submit", "") != 3 {
			t.Fatalf("%s, %d tickets", got, v.count("submit", ""))
		}
		if _, err := r.job.Restart(r.t.Context(), r.heads(), "none"); !errors.Is(err, ErrNothingLost) {
			t.Errorf("a restart of a store that has everything: %v", err)
		}

		r.putBack(early, v, other)
		var lost *store.LostError
		if err := r.heads().Compare(r.t.Context()); !errors.As(err, &lost) || lost.Missing == 0 {
			t.Fatalf("put back: %v", err)
		}
		if h, err := r.heads().Publish(r.t.Context()); !errors.As(err, &lost) {
			t.Fatalf("it was published: %v %v", h, err)
		}
		done, err := r.job.Restart(r.t.Context(), r.heads(), "the disk was lost")
		if err != nil || done.Epoch != 2 || done.Held != 3 || done.Lost == nil {
			t.Fatalf("%+v %v", done, err)
		}
		if got := r.states(); got != "3 held (uncertain_submission), 3 previewed" {
			t.Error(got)
		}
		r.publish()
		r.job.Heads = r.heads()
		r.work(WorkOptions{})
		if got := r.states(); v.count("submit", "") != 3 || got != "3 erased, 3 held (uncertain_submission)" {
			t.Errorf("%d tickets: %s", v.count("submit", ""), got)
		}

		// The other copy is of an epoch that is over: what waits there keeps its reference.
		r.putBack(late, v, other)
		if err := r.heads().Compare(r.t.Context()); !errors.As(err, &lost) {
			t.Fatalf("a second copy: %v", err)
		}
		if done, err = r.job.Restart(r.t.Context(), r.heads(), "this one was right"); err != nil || done.Epoch != 3 || done.Held != 3 {
			t.Fatalf("%+v %v", done, err)
		}
		if got := r.states(); got != "3 erased, 3 held (reference_in_doubt)" {
			t.Error(got)
		}
		for _, task := range r.tasks() {
			if task.State == store.Held && task.Reference == "" {
				t.Error("the reference is gone")
			}
		}
		r.publish()
		r.work(WorkOptions{})
		if v.count("submit", "") != 3 {
			t.Errorf("%d tickets", v.count("submit", ""))
		}
	})
}
