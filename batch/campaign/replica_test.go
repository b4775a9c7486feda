package campaign

import (
	"database/sql"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"expunge/vendors/sim"
)

// replica keeps copies of a site's store in a folder elsewhere.
type replica struct {
	s    *site
	dir  string
	stop func() // kill -9
}

func (s *site) replicate(t *testing.T) *replica {
	t.Helper()
	r := &replica{s: s, dir: t.TempDir()}
	if *flagLitestream != "" {
		r.config(t)
		p := launch(t, exec.Command(*flagLitestream, "replicate", "-config", r.path("litestream.yml")))
		r.stop = func() { p.kill() }
		return r
	}
	end, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for n := 0; ; n++ {
			cmd := s.command("backup", r.path("next.db"))
			if cmd.Run() == nil {
				_ = os.Rename(r.path("next.db"), r.path("last.db")) // it stays where it is on failure, and so does the last one
			}
			select {
			case <-end:
				return
			default:
			}
		}
	}()
	r.stop = func() { close(end); <-ended }
	return r
}

func (r *replica) path(name string) string { return filepath.Join(r.dir, name) }

func (r *replica) config(t *testing.T) {
	t.Helper()
	text := fmt.Sprintf("snapshot: {interval: 1h, retention: 24h}\ndbs:\n  - path: %s\n    monitor-interval: 50ms\n    replica: {type: file, path: %s, sync-interval: 50ms}\n", r.s.path("expunge.db"), r.path("replica"))
	if err := os.WriteFile(r.path("litestream.yml"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// restore puts the replica to a path; as it was at a time, if there is one.
func (r *replica) restore(t *testing.T, to string, at time.Time) {
	t.Helper()
	var cmd *exec.Cmd
	switch {
	case *flagLitestream == "":
		cmd = exec.Command("cp", r.path("last.db"), to)
	case at.IsZero():
		cmd = exec.Command(*flagLitestream, "restore", "-config", r.path("litestream.yml"), "-o", to, r.s.path("expunge.db"))
	default:
		cmd = exec.Command(*flagLitestream, "restore", "-config", r.path("litestream.yml"), "-timestamp", at.UTC().Format(time.RFC3339Nano), "-o", to, r.s.path("expunge.db"))
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", cmd.Args, err, out)
	}
}

// has waits until the replica, put to a path, satisfies a query with a count above zero.
func (r *replica) has(t *testing.T, query string) {
	t.Helper()
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		to := filepath.Join(t.TempDir(), "probe.db")
		if *flagLitestream == "" {
			if _, err := os.Stat(r.path("last.db")); err != nil {
				continue
			}
		} else if out, err := exec.Command(*flagLitestream, "restore", "-config", r.path("litestream.yml"), "-o", to, r.s.path("expunge.db")).CombinedOutput(); err != nil {
			if !strings.Contains(string(out), "no matching backup") && !strings.Contains(string(out), "cannot") {
				t.Logf("%s", out)
			}
			continue
		}
		if *flagLitestream == "" {
			r.restore(t, to, time.Time{})
		}
		if count(t, to, query) > 0 {
			return
		}
	}
	t.Fatalf("the replica never had what it was to have: %s", query)
}

// TestReplica: the disk is lost in the middle of a run, and what a replica has of it goes on: nothing
// that must not be repeated is sent twice, everybody else ends as if nothing had been, and where
// the replica was behind what was published, nothing is sent before a person has said so.
func TestReplica(t *testing.T) {
	t.Parallel()
	const people = 40
	_, other := simOf(t, people)
	undisturbed := newSite(t, other, settings{})
	undisturbed.people(t, people)
	undisturbed.mustRun(t, []int{0, 4}, "run", "--wait", "subjects.csv")

	sm, url := simOf(t, people)
	outside := t.TempDir()
	slow := maps.Clone(quick)
	slow[sim.Acqueon] = []string{"rate: 10/s", "timeout: 20s", "retry_base: 10ms", "retry_cap: 50ms"}
	s := newSite(t, url, settings{global: []string{"log: {head_file: " + filepath.Join(outside, "heads") + "}"}, vendors: slow})
	s.people(t, people)
	s.mustRun(t, []int{0, 4}, "run", "--vendor", sim.CustomerGauge, "subjects.csv")
	r := s.replicate(t)
	r.has(t, `SELECT count(*) FROM subjects`)
	p := s.start(t, "run")
	until := func(tickets int) {
		for changes(sm.Ledger(0), sim.Acqueon) < tickets {
			select {
			case <-p.ended:
				t.Fatalf("the run ended before it was killed\n%s", p.result.stderr)
			case <-time.After(time.Millisecond):
			}
		}
	}
	until(5)
	r.stop() // a moment before the disk
	until(changes(sm.Ledger(0), sim.Acqueon) + 3)
	p.kill()
	tickets := changes(sm.Ledger(0), sim.Acqueon)
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries { // but what was never on that disk alone
		if strings.Contains(e.Name(), "expunge.db") || strings.HasSuffix(e.Name(), ".head") {
			if err := os.RemoveAll(s.path(e.Name())); err != nil {
				t.Fatal(err)
			}
		}
	}
	s.mustRun(t, []int{2}, "run", "subjects.csv")
	r.restore(t, s.path("expunge.db"), time.Time{})
	seen := len(sm.Ledger(0))
	behind := s.run(t, "run")
	if behind.code != 2 || len(sm.Ledger(0)) != seen {
		t.Fatalf("a replica that is behind: exit %d, %d requests\n%s", behind.code, len(sm.Ledger(0))-seen, behind.stderr)
	}
	wantText(t, behind, "older than what was published")
	s.mustRun(t, []int{0}, "log", "restart", "--reason", "the disk was lost, the replica goes on")
	s.mustRun(t, []int{4}, "run", "--wait")
	if got := changes(sm.Ledger(0), sim.Acqueon); got != tickets {
		t.Errorf("%d tickets, %d before the disk was lost", got, tickets)
	}
	s.agree(t, sm, "subjects.csv")
	a, b := undisturbed.look(t), s.look(t)
	if len(a.tasks) != len(b.tasks) {
		t.Errorf("%d tasks, %d where nothing was lost", len(b.tasks), len(a.tasks))
	}
	same := 0
	for i := range min(len(a.tasks), len(b.tasks)) {
		x, y := a.tasks[i], b.tasks[i]
		switch {
		case x.id != y.id || x.vendor != y.vendor:
			t.Fatalf("task %d at %s is task %d at %s", x.id, x.vendor, y.id, y.vendor)
		case x.vendor == sim.Acqueon && y.state == "held" && (y.reason == "uncertain_submission" || y.reason == "reference_in_doubt"):
		case x.reason == "somebody_else" || y.reason == "somebody_else": // or nobody, where that somebody was erased before
		case x.state != y.state:
			t.Errorf("task %d at %s: %s %s, and %s where nothing was lost", y.id, y.vendor, y.state, y.reason, x.state)
		default:
			same++
		}
	}
	t.Logf("%d tickets before the disk was lost and after; %d of %d tasks as where nothing was lost, the others held", tickets, same, len(b.tasks))

	// Whom a purge has dropped, the replica goes on to hold, until its retention is over.
	r = s.replicate(t)
	r.has(t, `SELECT count(*) FROM subjects`)
	tomorrow := time.Now().AddDate(0, 0, 1).Format(time.DateOnly)
	before := time.Now()
	time.Sleep(200 * time.Millisecond) // another moment to the replica
	began := time.Now()
	out := s.mustRun(t, []int{0}, "purge", "--before", tomorrow, "--yes").stderr
	t.Logf("purge beside the replication took %.1f s: %s", time.Since(began).Seconds(), strings.Split(strings.TrimSpace(out), "\n")[0])
	left := count(t, s.path("expunge.db"), `SELECT count(*) FROM subjects`)
	if left >= people {
		t.Fatal("nobody was dropped")
	}
	r.has(t, fmt.Sprintf(`SELECT count(*) <= %d FROM subjects`, left))
	r.stop()
	if *flagLitestream != "" {
		to := filepath.Join(outside, "past.db")
		r.restore(t, to, before)
		if got := count(t, to, `SELECT count(*) FROM subjects`); got != people {
			t.Errorf("a moment before the purge the replica had %d people", got)
		}
		var size int64
		_ = filepath.WalkDir(r.path("replica"), func(_ string, e fs.DirEntry, err error) error {
			if err == nil && !e.IsDir() {
				if st, err := e.Info(); err == nil {
					size += st.Size()
				}
			}
			return nil
		})
		t.Logf("after the purge of %d people the replica still leads to them, in %d kB, until its retention is over", people-left, size>>10)
	}
}

func count(t *testing.T, path, query string) (n int) {
	t.Helper()
	db, err := sql.Open("sqlite3", "file:"+path+"?_busy_timeout=5000&mode=ro")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if err := db.QueryRow(query).Scan(&n); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return n
}
