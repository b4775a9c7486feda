package campaign

import (
	"bytes"
	"compress/gzip"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"expunge/vendors/sim"
)

// leaksMemory is what the program may use at its peak, whatever is thrown at it.
const leaksMemory = 100 << 20

// leaksPeak waits for the end of a process and returns how it ended and the most memory
// that it was seen to have had, in bytes. (What the system tells at the end counts the
// memory of the test, of which the process is a fork.)
func leaksPeak(t *testing.T, p *process) (result, int64) {
	t.Helper()
	peak, seen := int64(0), false
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for {
		status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid)) // gone at the end
		for line := range strings.Lines(string(status)) {
			var kb int64
			if n, _ := fmt.Sscanf(line, "VmHWM: %d kB", &kb); n == 1 && strings.Contains(string(status), "Name:\texpunge\n") {
				peak, seen = max(peak, kb<<10), true
			}
		}
		select {
		case <-p.ended:
			if _, err := os.Stat("/proc/self/status"); err == nil && !seen {
				t.Log("the process ended before its memory could be read")
			}
			return p.wait(t), peak
		case <-tick.C:
		}
		if time.Since(p.began) > patience {
			return p.wait(t), peak
		}
	}
}

// leaksFlood gives n bytes and then what follows.
func leaksFlood(head string, b byte, n int64) io.Reader {
	return io.MultiReader(strings.NewReader(head), io.LimitReader(leaksSame(b), n))
}

type leaksSame byte

func (s leaksSame) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = byte(s)
	}
	return len(p), nil
}

// leaksLines repeats a line without end.
type leaksLines struct {
	line string
	at   int
}

func (l *leaksLines) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = l.line[l.at]
		l.at = (l.at + 1) % len(l.line)
	}
	return len(p), nil
}

func leaksGzip(t *testing.T, r io.Reader) []byte {
	t.Helper()
	var b bytes.Buffer
	z, err := gzip.NewWriterLevel(&b, gzip.BestSpeed)
	if err == nil {
		_, err = io.Copy(z, r)
	}
	if err == nil {
		err = z.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// TestInputLimits: an input that is an attack or an accident ends at once with exit 2 and a
// line that says why, in the memory of a small one, and leaves nothing in the store.
func TestInputLimits(t *testing.T) {
	const gib = 1 << 30
	header := "subject_id,email\n"
	s := newSite(t, "http://127.0.0.1:1", settings{only: []string{sim.CustomerGauge}, global: []string{"linger: 1ms"}})
	most := int64(0)
	for _, tt := range []struct {
		name  string
		stdin io.Reader
		gz    io.Reader
		want  string
	}{
		{"a field of 1 GiB in quotes", leaksFlood(header+`REQ-1,"`, 'a', gib), nil, "without the end of a row"},
		{"a field of 1 GiB", leaksFlood(header+"REQ-1,", 'a', gib), nil, "without the end of a row"},
		{"a header of 1 GiB", leaksFlood("subject_id,", 'a', gib), nil, "the header does not end"},
		{"a million columns in the header", leaksFlood("subject_id", ',', 1_000_000), nil, "the header does not end"},
		{"a million columns in a row", leaksFlood(header+"REQ-1", ',', 2_000_000), nil, "without the end of a row"},
		{"a gzip bomb: one row", nil, leaksFlood(header+"REQ-1,", 'a', gib/4), "without the end of a row"},
		{"a gzip bomb: rows", nil, io.MultiReader(strings.NewReader(header), io.LimitReader(&leaksLines{line: "x\n"}, gib/16)), "more"},
		{"a gzip bomb in a gzip", nil, bytes.NewReader(leaksGzip(t, leaksFlood(header, 'a', 1<<20))), "binary"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cmd := s.command("run", "-")
			if tt.gz != nil {
				s.write(t, "bomb.csv.gz", string(leaksGzip(t, tt.gz)))
				cmd = s.command("run", "bomb.csv.gz")
			}
			if tt.stdin != nil {
				r, w, err := os.Pipe()
				if err != nil {
					t.Fatal(err)
				}
				cmd.Stdin = r
				fed := make(chan struct{})
				go func() {
					defer close(fed)
					_, _ = io.Copy(w, tt.stdin) // ends when nobody reads any more
					w.Close()
				}()
				defer func() { <-fed }()
				defer r.Close()
			}
			p := launch(t, cmd)
			got, peak := leaksPeak(t, p)
			if got.code != 2 || !strings.Contains(got.stderr, tt.want) || strings.Contains(got.stderr, "aaaa") {
				t.Errorf("exit %d: %.600s", got.code, got.stderr)
			}
			if most = max(most, peak); peak > leaksMemory {
				t.Errorf("%d MiB were used", peak>>20)
			}
			if snap := s.look(t); len(snap.batches)+snap.loading+len(snap.tasks) > 0 {
				t.Errorf("left in the store: %+v", snap)
			}
		})
	}
	t.Logf("at most %d MiB were used", most>>20)
}

// TestHostileVendor: a vendor, or something in its place, that answers with redirects,
// floods or one byte at a time, to the request for a token and to a preview. Each is an
// error of its own, memory stays flat, and no credential goes anywhere else.
func TestHostileVendor(t *testing.T) {
	const clientID, secret, token = "hostile-client-id", "hostile-client-secret", "hostile-access-token"
	var elsewhere atomic.Int64
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { elsewhere.Add(1) }))
	defer other.Close()
	redirect := func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, other.URL+r.URL.Path, http.StatusTemporaryRedirect)
	}
	flood := func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.Copy(w, leaksFlood(`{"access_token":"`, 'a', 1<<30)) // the client hangs up
	}
	drip := func(w http.ResponseWriter, r *http.Request) {
		tick := time.NewTicker(300 * time.Millisecond)
		defer tick.Stop()
		for range 100 {
			if _, err := io.WriteString(w, " "); err != nil {
				return
			}
			_ = http.NewResponseController(w).Flush()
			select {
			case <-tick.C:
			case <-r.Context().Done():
				return
			}
		}
	}
	bomb := leaksGzip(t, leaksFlood(`{"Data":[],"total":"`, '0', 256<<20))
	zipped := func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(bomb) // the client may hang up
	}
	giveToken := func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"access_token":%q,"token_type":"Bearer","expires_in":3600}`, token)
	}
	for _, tt := range []struct {
		name       string
		token, api http.HandlerFunc
		want       string
	}{
		{"token: redirect", redirect, nil, "redirect"},
		{"token: 1 GiB", flood, nil, "too large"},
		{"token: a byte at a time", drip, nil, "timed out"},
		{"token: gzip bomb", zipped, nil, "token"},
		{"preview: redirect", giveToken, redirect, "redirect"},
		{"preview: 1 GiB", giveToken, flood, "too large"},
		{"preview: a byte at a time", giveToken, drip, "timed out"},
		{"preview: gzip bomb", giveToken, zipped, "not JSON"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			mux := http.NewServeMux()
			mux.HandleFunc("/oauth2/token", tt.token)
			if tt.api != nil {
				mux.HandleFunc("/", tt.api)
			}
			srv := httptest.NewServer(mux)
			defer srv.Close()
			defer srv.CloseClientConnections()
			s := newSite(t, srv.URL, settings{only: []string{sim.CustomerGauge}, global: []string{"linger: 1s"}, vendors: map[string][]string{
				sim.CustomerGauge: {"rate: 1000/s", "timeout: 1s", "max_attempts: 2", "retry_base: 1ms", "retry_cap: 2ms"}}})
			s.env = append(s.env, "CG_CLIENT_ID="+clientID, "CG_CLIENT_SECRET="+secret)
			s.write(t, "in.csv", "subject_id,email\nREQ-1,somebody@example.com\n")
			for _, args := range [][]string{{"check", "-v"}, {"run", "-v", "in.csv"}, {"report"}} {
				p := s.start(t, args...)
				got, peak := leaksPeak(t, p)
				all := got.stdout + got.stderr
				if args[0] != "report" && (got.code == 0 || !strings.Contains(all, tt.want)) {
					t.Errorf("%v: exit %d, want %q in: %s", args, got.code, tt.want, all)
				}
				for _, hidden := range []string{clientID, secret, token, "somebody", "aaaa"} {
					if strings.Contains(all, hidden) {
						t.Errorf("%v prints %s: %s", args, hidden, all)
					}
				}
				if peak > leaksMemory {
					t.Errorf("%v: %d MiB were used", args, peak>>20)
				}
			}
			if n := s.look(t).states["erased"] + s.look(t).states["not_found"]; n > 0 {
				t.Error("something was taken for an answer")
			}
		})
	}
	if n := elsewhere.Load(); n > 0 {
		t.Errorf("the second host got %d requests", n)
	}
}

// TestPlainHTTP: a vendor that would be called without TLS is refused before anything is sent.
func TestPlainHTTP(t *testing.T) {
	s := newSite(t, "http://vendor.example.com", settings{})
	s.write(t, "in.csv", "subject_id,email\nREQ-1,somebody@example.com\n")
	for _, args := range [][]string{{"check"}, {"run", "in.csv"}} {
		if r := s.run(t, args...); r.code != 2 || !strings.Contains(r.stderr, "must be https") {
			t.Errorf("%v: exit %d %s", args, r.code, r.stderr)
		}
	}
}

// TestProxy: a proxy of the environment is used for vendors, through which TLS goes end to
// end: the proxy learns the host's name and no credential.
func TestProxy(t *testing.T) {
	asked := make(chan string, 100)
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked <- fmt.Sprintf("%s %s %v", r.Method, r.Host, r.Header)
		http.Error(w, "no", http.StatusBadGateway)
	}))
	defer proxy.Close()
	s := newSite(t, "https://vendor.example.com", settings{only: []string{sim.CustomerGauge}, vendors: map[string][]string{
		sim.CustomerGauge: {"timeout: 5s", "max_attempts: 1"}}})
	s.env = append(s.env, "HTTPS_PROXY="+proxy.URL, "https_proxy="+proxy.URL, "NO_PROXY=", "no_proxy=")
	if r := s.run(t, "check"); r.code != 2 {
		t.Errorf("exit %d %s%s", r.code, r.stdout, r.stderr)
	}
	select {
	case got := <-asked:
		if !strings.HasPrefix(got, "CONNECT vendor.example.com:443 ") || strings.Contains(got, sim.DefaultClientSecret) {
			t.Errorf("the proxy was asked: %s", got)
		}
	default:
		t.Error("the proxy was not asked")
	}
}

// TestPrivateCA: a vendor behind a certificate of one's own is trusted with ca_file, and
// not without.
func TestPrivateCA(t *testing.T) {
	vendor := sim.New(sim.Options{})
	srv := httptest.NewUnstartedServer(vendor)
	srv.Config.ErrorLog = leaksQuiet()
	srv.StartTLS()
	defer srv.Close()
	defer vendor.Close()
	certificate := leaksPEM(srv.Certificate().Raw)
	for _, trusted := range []bool{false, true} {
		set := settings{only: []string{sim.CustomerGauge}, vendors: map[string][]string{sim.CustomerGauge: {"timeout: 5s", "max_attempts: 1"}}}
		if trusted {
			set.vendors[sim.CustomerGauge] = append(set.vendors[sim.CustomerGauge], "ca_file: ca.pem")
		}
		s := newSite(t, "https://"+net.JoinHostPort("127.0.0.1", srv.URL[strings.LastIndexByte(srv.URL, ':')+1:]), set)
		s.write(t, "ca.pem", certificate)
		r := s.run(t, "check")
		if trusted != (r.code == 0) {
			t.Errorf("trusted %v: exit %d %s%s", trusted, r.code, r.stdout, r.stderr)
		}
	}
}

// TestSystemdCredentials: a secret that systemd hands over as a file (LoadCredential) is
// read without a complaint about its mode.
func TestSystemdCredentials(t *testing.T) {
	_, url := serve(t, sim.Options{}, nil)
	s := newSite(t, url, settings{only: []string{sim.CustomerGauge}})
	dir := filepath.Join(s.dir, "credentials")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "cg"), []byte(sim.DefaultClientSecret+"\n"), 0o440); err != nil {
		t.Fatal(err)
	}
	config, err := os.ReadFile(s.path("expunge.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	s.write(t, "expunge.yaml", strings.ReplaceAll(string(config), "${CG_CLIENT_SECRET}", "file:${CREDENTIALS_DIRECTORY}/cg"))
	s.env = append(s.env, "CREDENTIALS_DIRECTORY="+dir)
	r := s.run(t, "check")
	if r.code != 0 || strings.Contains(r.stdout+r.stderr, "read by others") || strings.Contains(r.stdout+r.stderr, sim.DefaultClientSecret) {
		t.Errorf("exit %d %s%s", r.code, r.stdout, r.stderr)
	}
}

func leaksQuiet() *log.Logger { return log.New(io.Discard, "", 0) }

func leaksPEM(der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}
