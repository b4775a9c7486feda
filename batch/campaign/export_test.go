package campaign

import (
	"archive/zip"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"filippo.io/age"

	"expunge/vendors/sim"
)

// TestExportKill kills the program around the calls that make and fetch exports: before one
// arrives, in the middle of a result, and at instants after the vendor has sent all of it and
// forgotten the job. It would fail if anything of an export were on disk in clear, if one
// that is complete were lost or fetched again, or if a person were removed whose export is
// not in the vault.
func TestExportKill(t *testing.T) {
	officer, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	const people = 14
	account := sim.VoyadoAccount{Name: "voyado", APIKey: sim.DefaultAPIKey}
	var input strings.Builder
	input.WriteString("subject_id,customer_key\n")
	events := map[string]int{}
	for i := range people {
		key := fmt.Sprintf("visitor-%02d", i)
		events[key] = i % 5 // some hold nothing
		account.Keys = append(account.Keys, sim.VoyadoKey{Key: key, Events: events[key]})
		fmt.Fprintf(&input, "R-%02d,%s\n", i, key)
	}
	k := &killer{keys: map[string]string{}, hit: map[string]bool{}}
	vendor, url := serve(t, sim.Options{Seed: &sim.Seed{Voyado: []sim.VoyadoAccount{account}}, Day: 2 * time.Second, ArchiveDays: 1}, k.wrap)
	s := newSite(t, url, settings{only: []string{sim.Voyado}, vendors: map[string][]string{sim.Voyado: {
		"rate: 1000/s", "concurrency: 4", "timeout: 20s", "retry_base: 10ms", "retry_cap: 50ms", "archive_after: 60ms", "poll_every: 40ms", "archive_days: 0",
		"export: required", "export_recipients: " + officer.Recipient().String()}}})
	s.write(t, "subjects.csv", input.String())
	tmp := s.path("tmp")
	if err := os.Mkdir(tmp, 0o700); err != nil {
		t.Fatal(err)
	}
	s.env = append(s.env, "TMPDIR="+tmp)

	kills := 0
	for _, at := range []point{
		{op: "create-export-customer-job", before: true}, {op: "create-export-customer-job"},
		{op: "export-customer-job-result", before: true}, {op: "export-customer-job-result", half: true},
		{op: "export-customer-job-result"}, {op: "export-customer-job-result", after: time.Millisecond},
		{op: "export-customer-job-result", after: 4 * time.Millisecond}, {op: "export-customer-job-result", after: 15 * time.Millisecond},
	} {
		p := s.start(t, "run", "subjects.csv")
		k.arm(p, at)
		<-p.ended
		if k.disarm() {
			kills++
		}
		s.nothingInClear(t)
	}
	if kills < 6 {
		t.Errorf("only %d kills: the test does not test", kills)
	}
	s.mustRun(t, []int{0}, "run", "subjects.csv")
	s.nothingInClear(t)

	fetched, removed, asked := map[string]int64{}, map[string]int64{}, map[string]int{}
	for _, e := range vendor.Ledger(0) {
		key := k.keys[e.JID]
		switch {
		case e.Op == "export-result":
			asked[e.JID]++
			if e.Status == http.StatusOK {
				fetched[key] = e.Seq
			}
		case e.Op == "create-removal" && e.Effect && removed[e.CustomerKey] == 0:
			removed[e.CustomerKey] = e.Seq
		}
	}
	stored := regexp.MustCompile(`^export: (voyado\.([^ ]+)\.zip\.age) sha256 [0-9a-f]{64} \d+ bytes \d+ files$`)
	for _, row := range s.report(t, "report.csv") {
		key := "visitor-" + strings.TrimPrefix(row["subject_id"], "R-")
		if row["state"] != "erased" || fetched[key] == 0 || removed[key] < fetched[key] {
			t.Errorf("%s is %s; fetched at %d, removed at %d", key, row["state"], fetched[key], removed[key])
		}
		if row["message"] == "export: empty (nothing was held)" && events[key] == 0 {
			continue
		}
		m := stored.FindStringSubmatch(row["message"])
		if m == nil {
			t.Errorf("%s held %d lines; the report says %q", key, events[key], row["message"])
			continue
		}
		if got := s.lines(t, officer, m[1], key); got != events[key] {
			t.Errorf("%s: %d lines in %s, want %d", key, got, m[1], events[key])
		}
		if !k.hit[key] && asked[m[2]] != 1 {
			t.Errorf("%s: fetched %d times", key, asked[m[2]])
		}
	}
	if left, err := filepath.Glob(s.path("exports/*.part")); len(left) > 0 || err != nil {
		t.Errorf("left: %v, %v", left, err)
	}
	t.Logf("%d kills, %d exports, 0 lost", kills, people)
}

// point is an instant at which the program is killed.
type point struct {
	op           string
	before, half bool          // before the call is answered; in the middle of the answer
	after        time.Duration // after the answer
}

// killer stands between program and simulator.
type killer struct {
	mu   sync.Mutex
	p    *process
	at   point
	done bool
	keys map[string]string // customer keys by job
	hit  map[string]bool   // keys for whose result the program was killed: once each
}

func (k *killer) arm(p *process, at point) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.p, k.at, k.done = p, at, false
}

func (k *killer) disarm() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.p = nil
	return k.done
}

// victim returns the process to be killed at this request, if it is the one.
func (k *killer) victim(r *http.Request) (*process, point) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.p == nil || k.done || !strings.HasSuffix(r.URL.Path, k.at.op) {
		return nil, point{}
	}
	if key := k.keys[r.URL.Query().Get("jid")]; key != "" {
		if k.hit[key] {
			return nil, point{} // a second loss would rightly fail the export
		}
		k.hit[key] = true
	}
	k.done = true
	return k.p, k.at
}

func (k *killer) wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p, at := k.victim(r)
		if p != nil && at.before {
			p.kill()
			return
		}
		answer := httptest.NewRecorder()
		next.ServeHTTP(answer, r)
		body := answer.Body.Bytes()
		if key := r.URL.Query().Get("customerKey"); strings.HasSuffix(r.URL.Path, "create-export-customer-job") {
			var job struct{ JID string }
			json.Unmarshal(body, &job)
			k.mu.Lock()
			k.keys[job.JID] = key
			k.mu.Unlock()
		}
		for name, v := range answer.Header() {
			w.Header()[name] = v
		}
		w.Header().Set("Content-Length", fmt.Sprint(len(body)))
		w.WriteHeader(answer.Code)
		if p != nil && at.half {
			w.Write(body[:len(body)/2])
			w.(http.Flusher).Flush()
			p.kill()
			return
		}
		w.Write(body)
		w.(http.Flusher).Flush()
		if p != nil {
			time.Sleep(at.after)
			p.kill()
		}
	})
}

// nothingInClear searches all that the program has written for what only exports hold: the
// names of their files, which no zip hides, and their content.
func (s *site) nothingInClear(t *testing.T) {
	t.Helper()
	filepath.WalkDir(s.dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			b, _ := os.ReadFile(path)
			for _, clear := range []string{"recent_", "empty.txt", "product-", "PK\x03\x04"} {
				if bytes.Contains(b, []byte(clear)) {
					t.Errorf("%s holds an export in clear", path)
				}
			}
		}
		return nil
	})
}

// lines opens an export as its recipient does and counts the lines about a key.
func (s *site) lines(t *testing.T, id age.Identity, name, key string) (n int) {
	t.Helper()
	f, err := os.Open(s.path("exports/" + name))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r, err := age.Decrypt(f, id)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	z, err := zip.NewReader(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	for _, e := range z.File {
		c, err := e.Open()
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(c)
		if err != nil {
			t.Fatal(err)
		}
		n += strings.Count(string(text), `"customerKey":"`+key+`"`)
	}
	return n
}
