package campaign

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	_ "github.com/mattn/go-sqlite3" // the store is read with plain SQL

	"expunge/store"
	"expunge/store/replay"
	"expunge/vendors/sim"
)

// site is a folder in which expunge works: config, input, store, report.
type site struct {
	dir string
	url string // of the simulator
	env []string
}

// settings are what a site's config says besides places and credentials.
type settings struct {
	global  []string            // lines of the top level
	only    []string            // vendors, or names of recipes; nil: all three that have a kind of their own
	vendors map[string][]string // lines below a vendor
	places  map[string][]string // instead of those for the simulator, below a vendor
}

// quick makes retries and jobs a matter of milliseconds, as the simulator's days are.
var quick = map[string][]string{
	sim.CustomerGauge: {"rate: 1000/s", "concurrency: 4", "timeout: 20s", "retry_base: 10ms", "retry_cap: 50ms"},
	sim.Voyado: {"rate: 1000/s", "concurrency: 4", "timeout: 20s", "retry_base: 10ms", "retry_cap: 50ms",
		"archive_after: 60ms", "poll_every: 40ms", "archive_days: 0"},
	sim.Acqueon: {"rate: 1000/s", "timeout: 20s", "retry_base: 10ms", "retry_cap: 50ms"},
	sim.Rest:    {"rate: 1000/s", "timeout: 20s", "retry_base: 10ms", "retry_cap: 50ms"},
}

func newSite(t *testing.T, url string, set settings) *site {
	t.Helper()
	build(t)
	return siteIn(t, t.TempDir(), url, set)
}

func siteIn(t *testing.T, dir, url string, set settings) *site {
	t.Helper()
	s := &site{dir: dir, url: url, env: append(os.Environ(),
		"CG_CLIENT_ID="+sim.DefaultClientID, "CG_CLIENT_SECRET="+sim.DefaultClientSecret, "VOYADO_API_KEY="+sim.DefaultAPIKey)}
	s.configure(t, set)
	return s
}

// configure writes the site's config.
func (s *site) configure(t *testing.T, set settings) {
	t.Helper()
	places := map[string][]string{
		sim.CustomerGauge: {"base_url: " + s.url, "token_url: " + s.url + "/oauth2/token",
			"client_id: ${CG_CLIENT_ID}", "client_secret: ${CG_CLIENT_SECRET}"},
		sim.Voyado:  {"base_url: " + s.url, "api_key: ${VOYADO_API_KEY}"},
		sim.Acqueon: {"url: " + s.url + "/acqueon/lcm", "agent_id: agent1"},
	}
	names := set.only
	if names == nil {
		names = []string{sim.CustomerGauge, sim.Voyado, sim.Acqueon}
	}
	global := set.global
	if !slices.ContainsFunc(global, func(l string) bool { return strings.HasPrefix(l, "linger:") }) {
		global = append(slices.Clone(global), "linger: 5s")
	}
	var b strings.Builder
	for _, l := range append(slices.Clone(global), "max_subjects: 100000", "vendors:") {
		fmt.Fprintln(&b, l)
	}
	for _, name := range names {
		own, ok := set.vendors[name]
		kind := name
		if isRecipe(name) {
			kind = sim.Rest
		}
		if !ok {
			own = quick[kind]
		}
		fmt.Fprintf(&b, "  %s:\n    kind: %s\n", name, kind)
		place, elsewhere := set.places[name]
		switch {
		case elsewhere:
		case kind == sim.Rest:
			place = s.recipePlace(t, name, s.url)
		default:
			place = places[name]
		}
		for _, l := range append(slices.Clone(place), own...) {
			fmt.Fprintln(&b, "    "+l)
		}
	}
	s.write(t, "expunge.yaml", b.String())
}

func (s *site) path(name string) string { return filepath.Join(s.dir, name) }

func (s *site) write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(s.path(name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// process is a running expunge.
type process struct {
	cmd    *exec.Cmd
	stdout bytes.Buffer
	stderr bytes.Buffer
	began  time.Time
	ended  chan struct{}
	result result
}

// result is how a process ended.
type result struct {
	code   int            // -1 when a signal ended it
	signal syscall.Signal // that ended it
	took   time.Duration
	stdout string
	stderr string
}

func (s *site) command(args ...string) *exec.Cmd {
	cmd := exec.Command(programs.expunge, args...)
	cmd.Dir, cmd.Env = s.dir, s.env
	return cmd
}

func (s *site) start(t *testing.T, args ...string) *process {
	t.Helper()
	return launch(t, s.command(args...))
}

func launch(t *testing.T, cmd *exec.Cmd) *process {
	t.Helper()
	p := &process{cmd: cmd, ended: make(chan struct{}), began: time.Now()}
	cmd.Stdout, cmd.Stderr = &p.stdout, &p.stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.ended)
		_ = cmd.Wait() // what it says is in ProcessState
		p.result = result{took: time.Since(p.began), code: cmd.ProcessState.ExitCode(),
			stdout: p.stdout.String(), stderr: p.stderr.String()}
		if st, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); ok && st.Signaled() {
			p.result.signal = st.Signal()
		}
	}()
	return p
}

// patience bounds every wait for something that must come.
const patience = 90 * time.Second

// wait returns how the process ended. One that does not end is a failure of its own.
func (p *process) wait(t *testing.T) result {
	t.Helper()
	select {
	case <-p.ended:
	case <-time.After(patience):
		_ = p.cmd.Process.Signal(syscall.SIGQUIT) // it says where it is
		select {
		case <-p.ended:
		case <-time.After(5 * time.Second):
			_ = p.cmd.Process.Kill()
			<-p.ended
		}
		t.Fatalf("%v did not end within %v\n%s", p.cmd.Args[1:], patience, p.result.stderr)
	}
	return p.result
}

// kill is kill -9. It reports whether the process was still there.
func (p *process) kill() bool {
	_ = p.cmd.Process.Kill()
	<-p.ended
	return p.result.signal == syscall.SIGKILL
}

func (p *process) signal(t *testing.T, sig os.Signal) {
	t.Helper()
	if err := p.cmd.Process.Signal(sig); err != nil {
		t.Errorf("signal %v: %v", sig, err)
	}
}

// run runs expunge to its end.
func (s *site) run(t *testing.T, args ...string) result {
	t.Helper()
	return s.start(t, args...).wait(t)
}

// mustRun runs expunge and fails the test unless it ends with one of the codes.
func (s *site) mustRun(t *testing.T, codes []int, args ...string) result {
	t.Helper()
	r := s.run(t, args...)
	if !slices.Contains(codes, r.code) {
		t.Fatalf("expunge %v: exit %d, want one of %v\n%s%s", args, r.code, codes, r.stdout, r.stderr)
	}
	return r
}

// report reads a report as an independent reader would.
func (s *site) report(t *testing.T, name string) []map[string]string {
	t.Helper()
	f, err := os.Open(s.path(name))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	c := csv.NewReader(f)
	header, err := c.Read()
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	var rows []map[string]string
	for {
		rec, err := c.Read()
		if errors.Is(err, io.EOF) {
			return rows
		}
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		row := make(map[string]string, len(header))
		for i, h := range header {
			row[h] = rec[i]
		}
		rows = append(rows, row)
	}
}

// snapshot is the store as plain SQL sees it.
type snapshot struct {
	tasks   []storedTask               // but those that were skipped at intake
	refs    map[string]map[string]bool // by vendor: every reference, present or former
	states  map[string]int
	batches []storedBatch
	loading int
	events  int
	told    map[string]int // events by kind
	untold  []string       // what the events say otherwise than the rest
}

type storedTask struct {
	id                int64
	vendor, kind      string
	state, reason     string
	reference         string
	scheduled, follow bool
	uncertain         int
	next              string // when it is next worked on, until when the vendor is left alone, and how often it was tried, for the error of a campaign
}

type storedBatch struct{ rows, subjects, invalid, duplicates int }

// look reads a copy of the store, so that a store left by a kill stays as the kill left it.
// A store that is not there yet, or has no tables, is an empty snapshot.
func (s *site) look(t *testing.T) snapshot {
	t.Helper()
	snap := snapshot{refs: map[string]map[string]bool{}, states: map[string]int{}, told: map[string]int{}}
	dir, err := os.MkdirTemp("", "campaign-look-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	for _, suffix := range []string{"", "-wal"} {
		data, err := os.ReadFile(s.path("expunge.db" + suffix))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, "copy.db"+suffix), data, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	db, err := sql.Open("sqlite3", "file:"+filepath.Join(dir, "copy.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var sound string
	if err := db.QueryRow(`PRAGMA quick_check`).Scan(&sound); err != nil || sound != "ok" {
		t.Fatalf("the store is damaged: %v %s", err, sound)
	}
	var tables int
	if err := db.QueryRow(`SELECT count(*) FROM sqlite_schema WHERE name = 'events'`).Scan(&tables); err != nil {
		t.Fatal(err)
	}
	if tables == 0 {
		return snap
	}
	query(t, db, `SELECT t.id, v.name, v.kind, s.name, coalesce(t.reason,''), coalesce((SELECT reference FROM reference_list l WHERE l.task = t.id AND l.replaced_at IS NULL), ''), t.next_at IS NOT NULL,
 t.follows IS NOT NULL, coalesce(t.more ->> 'uncertain', 0),
 format('next at %s, vendor paused until %s, more %s', datetime(t.next_at / 1000, 'unixepoch'), datetime(v.paused_until / 1000, 'unixepoch'), t.more) FROM tasks t JOIN vendors v ON v.id = t.vendor JOIN states s ON s.code = t.state
 WHERE s.name <> 'skipped' ORDER BY t.id`, func(scan func(...any) error) error {
		var k storedTask
		if err := scan(&k.id, &k.vendor, &k.kind, &k.state, &k.reason, &k.reference, &k.scheduled, &k.follow, &k.uncertain, &k.next); err != nil {
			return err
		}
		snap.tasks = append(snap.tasks, k)
		return nil
	})
	query(t, db, `SELECT s.name, count(*) FROM tasks t JOIN states s ON s.code = t.state GROUP BY 1`, func(scan func(...any) error) error {
		var name string
		var n int
		err := scan(&name, &n)
		snap.states[name] = n
		return err
	})
	query(t, db, `SELECT DISTINCT vendor, reference FROM reference_list`,
		func(scan func(...any) error) error {
			var vendor, ref string
			err := scan(&vendor, &ref)
			if snap.refs[vendor] == nil {
				snap.refs[vendor] = map[string]bool{}
			}
			snap.refs[vendor][ref] = true
			return err
		})
	query(t, db, `SELECT rows, subjects, invalid, duplicates, loading FROM batches ORDER BY id`, func(scan func(...any) error) error {
		var b storedBatch
		var loading bool
		err := scan(&b.rows, &b.subjects, &b.invalid, &b.duplicates, &loading)
		if loading {
			snap.loading++
		} else {
			snap.batches = append(snap.batches, b)
		}
		return err
	})
	query(t, db, `SELECT event, count(*) FROM events GROUP BY 1`, func(scan func(...any) error) error {
		var kind, n int
		err := scan(&kind, &n)
		snap.told[store.EventKind(kind).String()] = n
		return err
	})
	if snap.untold, snap.events, err = replay.Check(t.Context(), db); err != nil {
		t.Fatal(err)
	}
	for _, u := range snap.untold {
		t.Error(u)
	}
	return snap
}

func query(t *testing.T, db *sql.DB, text string, each func(scan func(...any) error) error) {
	t.Helper()
	rows, err := db.Query(text)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		if err := each(rows.Scan); err != nil {
			t.Fatal(err)
		}
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
}

// serve puts a simulator in this process behind a handler of the test's own.
func serve(t *testing.T, o sim.Options, wrap func(http.Handler) http.Handler) (*sim.Sim, string) {
	t.Helper()
	s := sim.New(o)
	var h http.Handler = s
	if wrap != nil {
		h = wrap(s)
	}
	srv := httptest.NewServer(h)
	t.Cleanup(func() {
		s.Close()
		srv.CloseClientConnections()
		srv.Close()
	})
	return s, srv.URL
}

// vendorsim is the simulator as a program of its own.
type vendorsim struct {
	url    string
	cmd    *exec.Cmd
	client *http.Client
}

func startSim(t *testing.T, args ...string) *vendorsim {
	t.Helper()
	build(t)
	dir := t.TempDir()
	addr := filepath.Join(dir, "addr")
	v := &vendorsim{client: &http.Client{Timeout: time.Minute}}
	v.cmd = exec.Command(programs.sim, append([]string{"serve", "--addr-file", addr, "--for", "20m"}, args...)...)
	var errs bytes.Buffer
	v.cmd.Stderr = &errs
	if err := v.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		_ = v.cmd.Wait() // it is ended by us
		close(ended)
	}()
	t.Cleanup(func() {
		v.client.CloseIdleConnections()
		_ = v.cmd.Process.Kill()
		<-ended
	})
	eventually(t, "the simulator's address", func() bool {
		text, err := os.ReadFile(addr)
		v.url = strings.TrimSpace(string(text))
		return err == nil
	})
	return v
}

// post is for the simulator's own paths.
func (v *vendorsim) post(t *testing.T, path, body string) {
	t.Helper()
	resp, err := v.client.Post(v.url+path, "application/json", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if text, _ := io.ReadAll(resp.Body); resp.StatusCode >= 300 {
		t.Fatalf("%s: %s %s", path, resp.Status, text)
	}
}

func (v *vendorsim) get(t *testing.T, path string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, v.url+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := v.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s %v", path, resp.Status, err)
	}
	return string(text)
}

// eventually waits until something is true.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	limit := time.After(patience)
	for !is() {
		select {
		case <-tick.C:
		case <-limit:
			t.Fatalf("%s did not come within %v", what, patience)
		}
	}
}

// exec changes the store's rows with plain SQL.
func (s *site) exec(t *testing.T, query string, args ...any) {
	t.Helper()
	db, err := sql.Open("sqlite3", "file:"+s.path("expunge.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec(query, args...); err != nil {
		t.Fatal(err)
	}
}

// dayPasses makes due what was to wait for up to a day.
func (s *site) dayPasses(t *testing.T) {
	t.Helper()
	s.exec(t, `UPDATE tasks SET next_at = max(1, next_at - 86400000) WHERE next_at > 0`)
}
