package main

import (
	"os"
	"strings"
	"testing"
	"time"

	"expunge/batch"
	"expunge/store"
	"expunge/store/seal"
)

func openRaw(t *testing.T, p *privateSite, key seal.Key) *store.Store {
	t.Helper()
	st, err := store.Open(t.Context(), p.path("expunge.db"), store.Options{Now: time.Now, Forget: batch.Forget,
		Key: func(bool) (seal.Key, error) { return key, nil }})
	if err != nil {
		t.Fatal(err)
	}
	return st
}

// TestPurge: finished subjects leave the store and the report, a request that was purged is
// not taken in again, and the next run's control totals balance.
func TestPurge(t *testing.T) {
	p := newPrivateSite(t, 20)
	code, out := p.run("run", p.path("subjects.csv"))
	if code == exitInternal || code == exitUsage {
		t.Fatalf("exit %d\n%s", code, out)
	}
	rows := strings.Count(p.must("report"), "\n")
	if out := p.must("purge", "--before", "2020-01-01"); !strings.Contains(out, "dropped 0 subjects") {
		t.Errorf("nothing is that old: %s", out)
	}
	tomorrow := time.Now().AddDate(0, 0, 1).Format(time.DateOnly)
	if code, out := p.run("purge", "--before", tomorrow); code != exitUsage || !strings.Contains(out, "--yes") {
		t.Errorf("nobody to ask: exit %d %s", code, out)
	}
	if got := strings.Count(p.must("report"), "\n"); got != rows {
		t.Errorf("%d of %d rows are left although nobody agreed", got, rows)
	}
	size := func() int64 {
		st, err := os.Stat(p.path("expunge.db"))
		if err != nil {
			t.Fatal(err)
		}
		return st.Size()
	}
	before := size()
	if out := p.must("purge", "--before", tomorrow, "--yes"); strings.Contains(out, "dropped 0") {
		t.Errorf("prints %s", out)
	}
	if size() > before {
		t.Errorf("the store has grown from %d to %d bytes", before, size())
	}
	if got := strings.Count(p.must("report"), "\n"); got >= rows {
		t.Errorf("the report still has %d of %d rows", got, rows)
	}
	// The same people in another file: what was purged is a duplicate.
	sent := len(p.sim.Ledger(0))
	p.write("again.csv", p.read("subjects.csv")+"\n")
	code, out = p.run("run", p.path("again.csv"))
	if code == exitInternal || code == exitUsage || !strings.Contains(out, "20 duplicates") || !strings.Contains(out, "the control totals balance") {
		t.Errorf("again: exit %d\n%s", code, out)
	}
	for _, e := range p.sim.Ledger(int64(sent)) {
		if e.Changes {
			t.Errorf("%s was sent for a request that was purged", e.Op)
		}
	}
}

// TestPurgeUsage: a date that is none, and a store that is not there, drop nothing.
func TestPurgeUsage(t *testing.T) {
	p := newPrivateSite(t, 1)
	for _, args := range [][]string{{"purge"}, {"purge", "--before", "soon", "--yes"}, {"purge", "--before", "2026-01-01", "--yes"}} {
		if code, out := p.run(args...); code != exitUsage || p.exists("expunge.db") {
			t.Errorf("%v: exit %d %s", args, code, out)
		}
	}
}
