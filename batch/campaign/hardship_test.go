package campaign

import (
	"database/sql"
	"fmt"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"expunge/vendors/sim"
	"expunge/vendors/sim/audit"
)

// people writes an input of n people whom the simulator knows, and returns its seed.
func (s *site) people(t *testing.T, n int) {
	t.Helper()
	var b strings.Builder
	if err := sim.WriteSubjects(&b, n, 1, time.Time{}); err != nil {
		t.Fatal(err)
	}
	s.write(t, "subjects.csv", b.String())
}

func peopleSeed(n int) *sim.Seed {
	seed := sim.DefaultSeed()
	seed.Generate(n, 1)
	return seed
}

// agree fails the test where report and ledger disagree.
func (s *site) agree(t *testing.T, sm *sim.Sim, inputs ...string) {
	t.Helper()
	for i := range inputs {
		inputs[i] = s.path(inputs[i])
	}
	files, err := audit.Open(s.path("report.csv"), inputs...)
	if err != nil {
		t.Fatal(err)
	}
	vs, err := audit.ParseVendors(audit.DefaultVendors)
	if err != nil {
		t.Fatal(err)
	}
	verdict := audit.Judge(audit.Facts{Ledger: sm.Ledger(0), Remaining: sm.Remaining()}, files, vs, false)
	for _, p := range verdict.Problems {
		t.Errorf("%s at %s: %s", p.Subject, p.Vendor, p.What)
	}
}

// finishes runs to the end and checks that nothing was lost by what came before.
func (s *site) finishes(t *testing.T, sm *sim.Sim, args ...string) {
	t.Helper()
	s.mustRun(t, []int{0, 4}, append([]string{"run", "--wait"}, args...)...)
	for _, k := range s.look(t).tasks {
		if !k.atRest() {
			t.Errorf("task %d at %s is still %s %s", k.id, k.vendor, k.state, k.reason)
		}
	}
	s.agree(t, sm, "subjects.csv")
}

// changes counts the requests that can change something.
func changes(ledger []sim.Entry, kind string) (n int) {
	for _, e := range ledger {
		if e.Changes && e.Kind == kind {
			n++
		}
	}
	return n
}

func wantText(t *testing.T, r result, words ...string) {
	t.Helper()
	for _, w := range words {
		if !strings.Contains(r.stderr, w) {
			t.Errorf("standard error does not say %q:\n%s", w, r.stderr)
		}
	}
}

var simDays = sim.Options{Day: 40 * time.Millisecond, ArchiveDays: 1}

// simOf is a simulator with n people and days of milliseconds.
func simOf(t *testing.T, n int) (*sim.Sim, string) {
	o := simDays
	o.Seed = peopleSeed(n)
	return serve(t, o, nil)
}

// TestSignals: SIGINT and SIGTERM let no new call leave, keep the outcome of the one in
// flight, and end with their own codes. Without it an operator who stops a run would make
// its submissions uncertain.
func TestSignals(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		signal syscall.Signal
		code   int
	}{{syscall.SIGINT, 130}, {syscall.SIGTERM, 143}} {
		t.Run(tc.signal.String(), func(t *testing.T) {
			t.Parallel()
			sm, url := simOf(t, 6)
			var first atomic.Bool
			inFlight := make(chan struct{})
			sm.Script(func(r sim.RequestInfo) sim.Fault {
				if r.Op == "anonymize" && first.CompareAndSwap(false, true) {
					close(inFlight)
					return sim.Fault{Latency: 700 * time.Millisecond} // time for the signal to be heard
				}
				return sim.Fault{}
			})
			s := newSite(t, url, settings{only: []string{sim.CustomerGauge}, vendors: map[string][]string{
				sim.CustomerGauge: {"rate: 1000/s", "concurrency: 1"}}})
			s.people(t, 6)
			p := s.start(t, "run", "subjects.csv")
			await(t, p, inFlight)
			p.signal(t, tc.signal)
			r := p.wait(t)
			if r.code != tc.code {
				t.Errorf("exit %d, want %d\n%s", r.code, tc.code, r.stderr)
			}
			if r.took > 10*time.Second {
				t.Errorf("it took %v", r.took)
			}
			wantText(t, r, "everything is saved")
			ledger := sm.Ledger(0)
			if last := ledger[len(ledger)-1]; last.Op != "anonymize" || !last.Effect {
				t.Errorf("the last request was %s: it left after the signal", last.Op)
			}
			if got := s.look(t).states; got["verifying"] != 1 || got["submitting"] != 0 {
				t.Errorf("states %v: the outcome of the call in flight is not there", got)
			}
			s.finishes(t, sm)
			if n, want := changes(sm.Ledger(0), sim.CustomerGauge), effects(sm.Ledger(0)); n != want {
				t.Errorf("%d anonymize calls for %d effects: one was repeated", n, want)
			}
		})
	}
}

func effects(ledger []sim.Entry) (n int) {
	for _, e := range ledger {
		if e.Effect {
			n++
		}
	}
	return n
}

func await(t *testing.T, p *process, what <-chan struct{}) {
	t.Helper()
	select {
	case <-what:
	case <-p.ended:
		t.Fatalf("it ended too early: exit %d\n%s", p.result.code, p.result.stderr)
	case <-time.After(patience):
		t.Fatal("it never came to this point")
	}
}

// TestSecondSignal: a second signal ends the program at once, whatever is in flight, and
// the next run still sorts it out.
func TestSecondSignal(t *testing.T) {
	t.Parallel()
	sm, url := simOf(t, 3)
	var first atomic.Bool
	inFlight := make(chan struct{})
	sm.Script(func(r sim.RequestInfo) sim.Fault {
		if r.Op == "create-removal" && first.CompareAndSwap(false, true) {
			close(inFlight)
			return sim.Fault{Latency: time.Minute} // cut short when the client leaves; the effect comes
		}
		return sim.Fault{}
	})
	s := newSite(t, url, settings{})
	s.people(t, 3)
	p := s.start(t, "run", "subjects.csv")
	await(t, p, inFlight)
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for running := true; running; {
		p.signal(t, os.Interrupt)
		select {
		case <-tick.C:
		case <-p.ended:
			running = false
		}
	}
	if r := p.result; r.signal != syscall.SIGINT || r.took > 20*time.Second {
		t.Errorf("it ended by %v, exit %d, after %v", r.signal, r.code, r.took)
	}
	s.finishes(t, sm)
}

// TestSignalWithoutStore: when the store has vanished, a signal does not make the program say
// that everything is saved.
func TestSignalWithoutStore(t *testing.T) {
	t.Parallel()
	sm, url := simOf(t, 3)
	inFlight := make(chan struct{})
	var once sync.Once
	sm.Script(func(r sim.RequestInfo) (f sim.Fault) {
		once.Do(func() {
			close(inFlight)
			f.Latency = 700 * time.Millisecond // time for the signal to be heard
		})
		return f
	})
	s := newSite(t, url, settings{only: []string{sim.Acqueon}})
	s.people(t, 3)
	p := s.start(t, "run", "subjects.csv")
	await(t, p, inFlight)
	if err := os.Remove(s.path("expunge.db")); err != nil {
		t.Fatal(err)
	}
	p.signal(t, os.Interrupt)
	r := p.wait(t)
	if r.code != 1 || strings.Contains(r.stderr, "everything is saved") {
		t.Errorf("exit %d, want 1, and no word of being saved\n%s", r.code, r.stderr)
	}
	wantText(t, r, "removed or replaced")
}

// TestFor: a run with a window stops taking new work when it is over, leaves nothing
// half done, and ends well.
func TestFor(t *testing.T) {
	t.Parallel()
	sm, url := simOf(t, 20)
	s := newSite(t, url, settings{vendors: map[string][]string{
		sim.CustomerGauge: {"rate: 10/s"}, sim.Voyado: {"rate: 10/s", "archive_after: 60ms", "poll_every: 40ms", "archive_days: 0"}, sim.Acqueon: {"rate: 10/s"}}})
	s.people(t, 20)
	r := s.mustRun(t, []int{0}, "run", "--for", "600ms", "subjects.csv")
	if r.took > 10*time.Second {
		t.Errorf("it took %v", r.took)
	}
	snap := s.look(t)
	if snap.states["submitting"] > 0 || snap.states["pending"] == 0 {
		t.Errorf("states %v: want open work, and none under way", snap.states)
	}
	if n := len(sm.Ledger(0)); n == 0 || n > 40 {
		t.Errorf("%d requests in 600 ms at 30 per second", n)
	}
	s.configure(t, settings{})
	s.finishes(t, sm)
}

// TestVendorDown: a vendor that answers 503 for the whole run is left alone, the other two
// finish, and the next run does what is left.
func TestVendorDown(t *testing.T) {
	t.Parallel()
	for _, down := range []string{sim.CustomerGauge, sim.Voyado, sim.Acqueon} {
		t.Run(down, func(t *testing.T) {
			t.Parallel()
			sm, url := simOf(t, 12)
			if err := sm.SetFaults(down + ":down"); err != nil {
				t.Fatal(err)
			}
			s := newSite(t, url, settings{global: []string{"linger: 500ms"}})
			s.people(t, 12)
			r := s.mustRun(t, []int{3}, "run", "subjects.csv")
			wantText(t, r, down)
			for _, k := range s.look(t).tasks {
				if k.vendor != down && !k.atRest() {
					t.Errorf("task %d at %s is %s: a vendor that is down held it up", k.id, k.vendor, k.state)
				}
			}
			n := 0
			for _, e := range sm.Ledger(0) {
				if e.Kind == down {
					n++
				}
			}
			if n == 0 || n > 15 {
				t.Errorf("%d requests to a vendor that is down", n)
			}
			if err := sm.SetFaults(); err != nil {
				t.Fatal(err)
			}
			s.finishes(t, sm)
		})
	}
}

// TestWrongCredentials: refused credentials stop one vendor, after a few calls and not one
// per task; the others finish; nothing is lost by it.
func TestWrongCredentials(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ vendor, env string }{
		{sim.CustomerGauge, "CG_CLIENT_SECRET=wrong"}, {sim.Voyado, "VOYADO_API_KEY=wrong"},
	} {
		t.Run(tc.vendor, func(t *testing.T) {
			t.Parallel()
			sm, url := simOf(t, 30)
			s := newSite(t, url, settings{})
			s.people(t, 30)
			right := s.env
			s.env = append(slices.Clone(right), tc.env)
			r := s.mustRun(t, []int{3}, "run", "subjects.csv")
			wantText(t, r, "vendor "+tc.vendor+" refuses our credentials")
			refused := 0
			for _, e := range sm.Ledger(0) {
				if e.Kind == tc.vendor {
					refused++
				}
			}
			if refused == 0 || refused > 8 {
				t.Errorf("%d requests with credentials that are refused", refused)
			}
			for _, k := range s.look(t).tasks {
				switch {
				case k.vendor != tc.vendor && !k.atRest():
					t.Errorf("task %d at %s is %s: another vendor's credentials held it up", k.id, k.vendor, k.state)
				case k.vendor == tc.vendor && k.state != "pending" && k.state != "previewed":
					t.Errorf("task %d at %s is %s %s by refused credentials", k.id, k.vendor, k.state, k.reason)
				}
			}
			s.env = right
			s.finishes(t, sm)
		})
	}
}

// TestLongRetryAfter: a vendor's wish to be left alone for an hour outlives the run, whether
// that ends well or is killed; the other vendors go on.
func TestLongRetryAfter(t *testing.T) {
	t.Parallel()
	for _, killed := range []bool{false, true} {
		t.Run(fmt.Sprintf("killed=%v", killed), func(t *testing.T) {
			t.Parallel()
			sm, url := simOf(t, 10)
			var asked atomic.Int64
			sm.Script(func(r sim.RequestInfo) sim.Fault {
				if r.Kind == sim.Voyado && asked.Add(1) == 1 {
					return sim.Fault{Kind: sim.RateLimited, RetryAfter: "3600"}
				}
				return sim.Fault{}
			})
			others := settings{vendors: map[string][]string{
				sim.CustomerGauge: quick[sim.CustomerGauge], sim.Acqueon: quick[sim.Acqueon],
				sim.Voyado: {"rate: 1000/s", "concurrency: 1", "archive_after: 60ms", "poll_every: 40ms", "archive_days: 0"}}}
			slow := others
			slow.vendors = maps.Clone(others.vendors)
			slow.vendors[sim.CustomerGauge] = []string{"rate: 2/s"}
			s := newSite(t, url, others)
			s.people(t, 10)
			if killed {
				s.configure(t, slow)
				p := s.start(t, "run", "subjects.csv")
				eventually(t, "the pause in the store", func() bool { return s.paused(t) })
				if !p.kill() {
					t.Fatalf("it ended too early: exit %d", p.result.code)
				}
				if !slices.ContainsFunc(s.look(t).tasks, func(k storedTask) bool { return k.vendor == sim.CustomerGauge && k.state == "pending" }) {
					t.Error("the pause was kept only when the other vendors' work was over")
				}
				s.configure(t, others)
			} else {
				s.mustRun(t, []int{0}, "run", "subjects.csv")
			}
			s.mustRun(t, []int{0, 4}, "run")
			if n := asked.Load(); n != 1 {
				t.Errorf("%d requests to a vendor that asked for an hour's pause with the first", n)
			}
			for _, k := range s.look(t).tasks {
				if k.vendor != sim.Voyado && !k.atRest() {
					t.Errorf("task %d at %s is %s: another vendor's pause held it up", k.id, k.vendor, k.state)
				}
			}
			// An hour later.
			s.alter(t, `UPDATE vendors SET paused_until = 1 WHERE paused_until > 0`, `UPDATE tasks SET next_at = 1 WHERE next_at > 0`)
			s.finishes(t, sm)
		})
	}
}

// paused says whether the store, which the program has open, holds a pause to come.
func (s *site) paused(t *testing.T) bool {
	t.Helper()
	db, err := sql.Open("sqlite3", "file:"+s.path("expunge.db")+"?mode=ro&_busy_timeout=5000")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var n int
	// A store that is not made yet says so by an error.
	return db.QueryRow(`SELECT count(*) FROM vendors WHERE paused_until > ?`, time.Now().UnixMilli()).Scan(&n) == nil && n > 0
}

// alter changes the store behind the program's back.
func (s *site) alter(t *testing.T, statements ...string) {
	t.Helper()
	db, err := sql.Open("sqlite3", "file:"+s.path("expunge.db")+"?_busy_timeout=5000")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for _, text := range statements {
		if _, err := db.Exec(text); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
	}
}

// TestDiskFull: a disk that fills up, in the intake or in the middle of the work, is a clear
// error, and once there is room again everything goes on as if nothing had been.
func TestDiskFull(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name      string
		kilobytes int // beside what is there before the run
		padding   int
	}{{"intake", 1800, 20_000}, {"work", 1600, 0}} {
		prepare := func(t *testing.T) (*sim.Sim, *site) {
			sm, url := simOf(t, 40)
			s := newSite(t, url, settings{})
			s.people(t, 40)
			if tc.padding > 0 {
				s.pad(t, tc.padding)
			}
			return sm, s
		}
		judge := func(t *testing.T, sm *sim.Sim, r result) {
			t.Helper()
			if r.code != 1 {
				t.Fatalf("exit %d, want 1\n%s", r.code, r.stderr)
			}
			wantText(t, r, "disk")
			if n := len(sm.Ledger(0)); tc.name == "intake" && n > 0 {
				t.Errorf("%d requests for a file that was not taken in", n)
			}
			if tc.name == "work" && effects(sm.Ledger(0)) == 0 {
				t.Errorf("the disk was full before any work was done: choose another size")
			}
		}
		// Everywhere: a limit on the size of each file, which SQLite meets like a full disk.
		t.Run(tc.name+", file size limit", func(t *testing.T) {
			t.Parallel()
			sm, s := prepare(t)
			cmd := exec.Command("sh", "-c", fmt.Sprintf(`trap '' XFSZ; ulimit -f %d; exec "$0" run subjects.csv`, 2*tc.kilobytes), programs.expunge)
			cmd.Dir, cmd.Env = s.dir, s.env
			judge(t, sm, launch(t, cmd).wait(t))
			s.finishes(t, sm, "subjects.csv")
		})
		if probe := t.TempDir(); mountTmpfs(probe, 64) != nil {
			continue // not allowed to mount here
		} else if err := syscall.Unmount(probe, 0); err != nil {
			t.Fatal(err)
		}
		t.Run(tc.name+", small file system", func(t *testing.T) {
			t.Parallel()
			sm, s := prepare(t)
			used, restore := s.keepInputs(t)
			if err := mountTmpfs(s.dir, used/1024+tc.kilobytes); err != nil {
				t.Fatal(err)
			}
			defer func() { _ = syscall.Unmount(s.dir, syscall.MNT_DETACH) }()
			restore()
			judge(t, sm, s.run(t, "run", "subjects.csv"))
			if err := syscall.Mount("tmpfs", s.dir, "tmpfs", syscall.MS_REMOUNT, "size=64m"); err != nil {
				t.Fatal(err)
			}
			s.finishes(t, sm, "subjects.csv")
		})
	}
}

func mountTmpfs(dir string, kilobytes int) error {
	return syscall.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%dk,mode=0700", kilobytes))
}

// keepInputs remembers the site's files and returns their size and what puts them back.
func (s *site) keepInputs(t *testing.T) (size int, restore func()) {
	t.Helper()
	files := map[string][]byte{}
	list, err := os.ReadDir(s.dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range list {
		if files[e.Name()], err = os.ReadFile(s.path(e.Name())); err != nil {
			t.Fatal(err)
		}
		size += len(files[e.Name()])
	}
	return size, func() {
		for name, data := range files {
			s.write(t, name, string(data))
		}
	}
}

// pad appends rows about which no vendor is called: they have the key of the first person.
func (s *site) pad(t *testing.T, n int) {
	t.Helper()
	data, err := os.ReadFile(s.path("subjects.csv"))
	if err != nil {
		t.Fatal(err)
	}
	head, rest, _ := strings.Cut(string(data), "\n")
	var b strings.Builder
	b.WriteString(head + ",vendors\n")
	for line := range strings.Lines(rest) {
		b.WriteString(strings.TrimSuffix(line, "\n") + ",\n")
	}
	columns := strings.Split(head, ",")
	key := slices.Index(columns, "customer_key")
	first, _, _ := strings.Cut(rest, "\n")
	for i := range n {
		row := make([]string, len(columns)+1)
		row[0], row[key] = fmt.Sprintf("PAD-%d", i), strings.Split(first, ",")[key]
		row[len(columns)] = sim.Voyado
		b.WriteString(strings.Join(row, ",") + "\n")
	}
	s.write(t, "subjects.csv", b.String())
}

// TestStoreGone: a store that is removed or replaced under us ends the run before another
// submission: its intent would be nowhere.
func TestStoreGone(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name string
		do   func(path string) error
	}{
		{"removed", os.Remove},
		{"replaced", func(path string) error {
			if err := os.WriteFile(path+".other", nil, 0o600); err != nil {
				return err
			}
			return os.Rename(path+".other", path)
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			sm, url := simOf(t, 40)
			s := newSite(t, url, settings{only: []string{sim.Voyado, sim.Acqueon}, vendors: map[string][]string{
				sim.Voyado: {"rate: 20/s", "concurrency: 1"}, sim.Acqueon: {"rate: 20/s"}}})
			s.people(t, 40)
			reached := make(chan struct{})
			var n atomic.Int64
			sm.Script(func(sim.RequestInfo) sim.Fault {
				if n.Add(1) == 6 {
					close(reached)
				}
				return sim.Fault{}
			})
			p := s.start(t, "run", "subjects.csv")
			await(t, p, reached)
			if err := tc.do(s.path("expunge.db")); err != nil {
				t.Fatal(err)
			}
			at := time.Now()
			r := p.wait(t)
			if r.code != 1 {
				t.Errorf("exit %d, want 1\n%s", r.code, r.stderr)
			}
			wantText(t, r, "removed or replaced")
			late := 0
			for _, e := range sm.Ledger(0) {
				if e.At.After(at) {
					late++
				}
			}
			// One per lane may have had its intent on disk.
			if late > 2 {
				t.Errorf("%d requests left after the store was gone", late)
			}
		})
	}
}

// TestUnusableStore: a store that is damaged, newer than the program, or not writable is
// refused with a clear word before anything is sent.
func TestUnusableStore(t *testing.T) {
	t.Parallel()
	overwrite := func(at int64, text string) func(t *testing.T, s *site) {
		return func(t *testing.T, s *site) {
			f, err := os.OpenFile(s.path("expunge.db"), os.O_WRONLY, 0)
			if err == nil {
				_, err = f.WriteAt([]byte(text), at)
			}
			if err == nil {
				err = f.Close()
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, tc := range []struct {
		name string
		harm func(t *testing.T, s *site)
		code int
		says string
	}{
		{"damaged header", overwrite(0, strings.Repeat("damaged ", 20)), 1, "damaged or not a store"},
		{"damaged pages", overwrite(4096, strings.Repeat("damaged ", 20_000)), 1, "damaged"},
		{"newer schema", func(t *testing.T, s *site) {
			s.alter(t, `INSERT INTO goose_db_version (version_id, is_applied) VALUES (99, 1)`)
		}, 2, "newer version"},
		{"other key", func(t *testing.T, s *site) {
			if err := os.Remove(s.path("expunge.key")); err != nil {
				t.Fatal(err)
			}
		}, 2, "key"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			sm, url := simOf(t, 5)
			s := newSite(t, url, settings{})
			s.people(t, 5)
			s.mustRun(t, []int{0}, "run", "--dry-run", "subjects.csv")
			before := len(sm.Ledger(0))
			tc.harm(t, s)
			r := s.run(t, "run", "subjects.csv")
			if r.code != tc.code {
				t.Errorf("exit %d, want %d", r.code, tc.code)
			}
			wantText(t, r, tc.says)
			if n := len(sm.Ledger(0)) - before; n > 0 {
				t.Errorf("%d requests with an unusable store", n)
			}
		})
	}
}

// TestReadOnly: a store or a folder that cannot be written is refused before anything is
// sent, and the run goes on once it can. Root may write everywhere, so that root runs the
// program as nobody.
func TestReadOnly(t *testing.T) {
	t.Parallel()
	for _, what := range []string{"folder", "store"} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			sm, url := simOf(t, 5)
			build(t)
			dir, err := os.MkdirTemp("", "campaign-readonly-")
			if err != nil {
				t.Fatal(err)
			}
			defer os.RemoveAll(dir)
			s := siteIn(t, dir, url, settings{global: []string{"report: out/report.csv"}})
			s.people(t, 5)
			out := s.path("out")
			nobody := 65534
			each := func(do func(path string) error) {
				t.Helper()
				err := filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
					if err != nil {
						return err
					}
					return do(path)
				})
				if err != nil {
					t.Fatal(err)
				}
			}
			if err := os.Mkdir(out, 0o700); err != nil {
				t.Fatal(err)
			}
			run := s.run
			if os.Geteuid() == 0 {
				if err := os.Chmod(programs.dir, 0o755); err != nil {
					t.Fatal(err)
				}
				each(func(path string) error { return os.Chown(path, nobody, nobody) })
				run = func(t *testing.T, args ...string) result {
					cmd := s.command(args...)
					cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(nobody), Gid: uint32(nobody)}}
					return launch(t, cmd).wait(t)
				}
			}
			if r := run(t, "run", "--dry-run", "subjects.csv"); r.code != 0 {
				t.Fatalf("exit %d\n%s", r.code, r.stderr)
			}
			before := len(sm.Ledger(0))
			target, mode, back := dir, os.FileMode(0o500), os.FileMode(0o700)
			if what == "store" {
				target, mode, back = s.path("expunge.db"), 0o400, 0o600
			}
			if err := os.Chmod(target, mode); err != nil {
				t.Fatal(err)
			}
			r := run(t, "run", "subjects.csv")
			if r.code != 1 && r.code != 2 {
				t.Errorf("exit %d, want 1 or 2", r.code)
			}
			wantText(t, r, "permission")
			if n := len(sm.Ledger(0)) - before; n > 0 {
				t.Errorf("%d requests with a store that cannot be written", n)
			}
			if err := os.Chmod(target, back); err != nil {
				t.Fatal(err)
			}
			if r := run(t, "run", "--wait", "subjects.csv"); r.code != 0 && r.code != 4 {
				t.Errorf("afterwards: exit %d\n%s", r.code, r.stderr)
			}
		})
	}
}

// TestTwoRuns: a second run on a store leaves at once with 75 and makes no call; the first
// is not disturbed.
func TestTwoRuns(t *testing.T) {
	t.Parallel()
	reached, release := make(chan struct{}), make(chan struct{})
	var n atomic.Int64
	gate := func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if n.Add(1) == 1 {
				close(reached)
				<-release
			}
			next.ServeHTTP(w, r)
		})
	}
	o := simDays
	o.Seed = peopleSeed(5)
	sm, url := serve(t, o, gate)
	s := newSite(t, url, settings{only: []string{sim.Voyado}, vendors: map[string][]string{
		sim.Voyado: {"rate: 1000/s", "concurrency: 1", "archive_after: 60ms", "poll_every: 40ms", "archive_days: 0"}}})
	s.people(t, 5)
	p := s.start(t, "run", "subjects.csv")
	await(t, p, reached)
	r := s.run(t, "run", "subjects.csv")
	if r.code != 75 || r.took > 5*time.Second {
		t.Errorf("exit %d after %v, want 75 at once\n%s", r.code, r.took, r.stderr)
	}
	wantText(t, r, "another run")
	if got := n.Load(); got != 1 {
		t.Errorf("%d requests, want the first run's one", got)
	}
	close(release)
	if r := p.wait(t); r.code != 0 {
		t.Errorf("the first run: exit %d\n%s", r.code, r.stderr)
	}
	s.finishes(t, sm)
}

// TestInputChanged: between two runs the file has lost a row, gained one, and says something
// else of a third. What was taken in stays as it was taken in.
func TestInputChanged(t *testing.T) {
	t.Parallel()
	sm, url := simOf(t, 8)
	s := newSite(t, url, settings{only: []string{sim.Voyado}, vendors: map[string][]string{sim.Voyado: {"rate: 5/s", "archive_after: 60ms", "poll_every: 40ms", "archive_days: 0"}}})
	s.people(t, 7)
	s.mustRun(t, []int{0}, "run", "--for", "300ms", "subjects.csv")
	lines := strings.SplitAfter(func() string {
		var b strings.Builder
		if err := sim.WriteSubjects(&b, 8, 1, time.Time{}); err != nil {
			t.Fatal(err)
		}
		return b.String()
	}(), "\n")
	first := s.path("first.csv")
	if err := os.Rename(s.path("subjects.csv"), first); err != nil {
		t.Fatal(err)
	}
	lines = slices.Delete(lines, 1, 2) // the first person's row
	lines[1] = strings.Replace(lines[1], "person-1@example.com", "changed@example.net", 1)
	s.write(t, "subjects.csv", strings.Join(lines, ""))
	s.configure(t, settings{only: []string{sim.Voyado}})
	s.mustRun(t, []int{3}, "run", "--wait", "subjects.csv")
	got := map[string]int{}
	for _, row := range s.report(t, "report.csv") {
		got[row["batch"]+" "+row["state"]+" "+row["reason"]]++
	}
	if got["2 invalid conflicting_subject_id"] != 1 || got["2 duplicate already_taken_in"] != 5 {
		t.Errorf("rows %v, want one conflict and five duplicates", got)
	}
	open := 0
	for _, k := range s.look(t).tasks {
		if !k.atRest() {
			open++
		}
	}
	if open > 0 {
		t.Errorf("%d tasks are open", open)
	}
	s.agree(t, sm, "first.csv", "subjects.csv")
}

// TestReportFolderGone: when the report's folder vanishes during the run, its work is saved,
// and the exit code does not say that nothing was sent.
func TestReportFolderGone(t *testing.T) {
	t.Parallel()
	sm, url := simOf(t, 3)
	s := newSite(t, url, settings{global: []string{"report: out/report.csv"}})
	s.people(t, 3)
	if err := os.Mkdir(s.path("out"), 0o700); err != nil {
		t.Fatal(err)
	}
	var once sync.Once
	sm.Script(func(sim.RequestInfo) sim.Fault {
		once.Do(func() { _ = os.Remove(s.path("out")) })
		return sim.Fault{}
	})
	r := s.mustRun(t, []int{1}, "run", "--wait", "subjects.csv")
	wantText(t, r, "report")
	for _, k := range s.look(t).tasks {
		if !k.atRest() {
			t.Errorf("task %d at %s is %s", k.id, k.vendor, k.state)
		}
	}
}

// TestReportTarget: a report that cannot be written is told before anything is sent, not
// after.
func TestReportTarget(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, target string
		make         func(s *site) error
	}{
		{"no folder", "nowhere/report.csv", nil},
		{"a folder", "out", func(s *site) error { return os.Mkdir(s.path("out"), 0o700) }},
		{"a link", "link.csv", func(s *site) error { return os.Symlink("elsewhere.csv", s.path("link.csv")) }},
		{"the input", "subjects.csv", nil},
		{"the store", "expunge.db", func(s *site) error { return os.WriteFile(s.path("expunge.db"), nil, 0o600) }},
		{"the config", "expunge.yaml", nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			sm, url := simOf(t, 3)
			s := newSite(t, url, settings{})
			s.people(t, 3)
			if tc.make != nil {
				if err := tc.make(s); err != nil {
					t.Fatal(err)
				}
			}
			r := s.run(t, "run", "--report", tc.target, "subjects.csv")
			if r.code != 2 || !strings.Contains(r.stderr, "report") {
				t.Errorf("exit %d, want 2 and a word about the report\n%s", r.code, r.stderr)
			}
			if n := len(sm.Ledger(0)); n > 0 {
				t.Errorf("%d requests were sent", n)
			}
		})
	}
}
