package main

import (
	"bufio"
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	fnote "github.com/transparency-dev/formats/note"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"expunge/store/ledger"
)

// authority is a time stamping authority: openssl, behind HTTP.
type authority struct {
	t    *testing.T
	dir  string
	fake func(w http.ResponseWriter, query []byte) bool // answers instead, if it returns true
	seen int
}

const tsaConfig = `
[tsa]
default_tsa = it
[it]
serial = serial
signer_digest = sha256
default_policy = 1.2.3.4.1
digests = sha256
accuracy = secs:1
ess_cert_id_alg = sha256
ess_cert_id_chain = no
tsa_name = no
[ext]
extendedKeyUsage = critical,timeStamping
keyUsage = critical,digitalSignature
`

func (a *authority) openssl(args ...string) []byte {
	a.t.Helper()
	cmd := exec.Command("openssl", args...)
	cmd.Dir = a.dir
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		a.t.Errorf("openssl %v: %v\n%s", args, err, errs.String())
	}
	return out.Bytes()
}

func newAuthority(t *testing.T) (*authority, string) {
	a := &authority{t: t, dir: t.TempDir()}
	for name, text := range map[string]string{"tsa.cnf": tsaConfig, "serial": "01\n"} {
		if err := os.WriteFile(filepath.Join(a.dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	a.openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", "ca.key", "-out", "ca.pem", "-days", "30", "-subj", "/CN=Example Root")
	a.signer("tsa")
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		query, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		a.seen++
		if a.fake != nil && a.fake(w, query) {
			return
		}
		w.Header().Set("Content-Type", "application/timestamp-reply")
		w.Write(a.reply("tsa", query))
	}))
	t.Cleanup(srv.Close)
	return a, srv.URL
}

// signer makes the key and certificate of one who stamps.
func (a *authority) signer(name string) {
	a.openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", name+".key", "-out", name+".csr", "-subj", "/CN=Example Time "+name)
	a.openssl("x509", "-req", "-in", name+".csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "30", "-extfile", "tsa.cnf", "-extensions", "ext", "-out", name+".pem")
}

func (a *authority) reply(signer string, query []byte) []byte {
	if err := os.WriteFile(filepath.Join(a.dir, "q.tsq"), query, 0o600); err != nil {
		a.t.Error(err)
	}
	a.openssl("ts", "-reply", "-config", "tsa.cnf", "-queryfile", "q.tsq", "-signer", signer+".pem", "-inkey", signer+".key", "-out", "r.tsr")
	b, err := os.ReadFile(filepath.Join(a.dir, "r.tsr"))
	if err != nil {
		a.t.Error(err)
	}
	return b
}

// witness is one of c2sp.org/tlog-witness, for one log.
type witness struct {
	t    *testing.T
	vkey string
	sign note.Signer
	log  string // the log's public key
	size int64
	root tlog.Hash
	fake func(w http.ResponseWriter, old int64) bool
	seen []int64 // the sizes that were said to be known
}

func newWitness(t *testing.T, name string) (*witness, string) {
	pub, priv, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	plain, err := note.NewEd25519VerifierKey(name, pub)
	if err != nil {
		t.Fatal(err)
	}
	w := &witness{t: t}
	if w.vkey, err = fnote.VKeyToCosignatureV1(plain); err != nil {
		t.Fatal(err)
	}
	v, err := note.NewVerifier(plain)
	if err != nil {
		t.Fatal(err)
	}
	if w.sign, err = fnote.NewSignerForCosignatureV1(fmt.Sprintf("PRIVATE+KEY+%s+%08x+%s", name, v.KeyHash(), base64.StdEncoding.EncodeToString(append([]byte{1}, priv.Seed()...)))); err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(w)
	t.Cleanup(srv.Close)
	return w, srv.URL
}

func (w *witness) ServeHTTP(out http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost || r.URL.Path != "/add-checkpoint" {
		w.t.Errorf("%s %s", r.Method, r.URL.Path)
	}
	in := bufio.NewReader(r.Body)
	line, err := in.ReadString('\n')
	old, err2 := strconv.ParseInt(strings.TrimSuffix(strings.TrimPrefix(line, "old "), "\n"), 10, 64)
	if err != nil || err2 != nil {
		w.t.Errorf("%q: %v %v", line, err, err2)
	}
	w.seen = append(w.seen, old)
	var proof tlog.TreeProof
	for {
		line, err := in.ReadString('\n')
		if line = strings.TrimSuffix(line, "\n"); err != nil || line == "" {
			break
		}
		h, err := tlog.ParseHash(line)
		if err != nil {
			w.t.Error(err)
		}
		proof = append(proof, h)
	}
	signed, err := io.ReadAll(in)
	if err != nil {
		w.t.Error(err)
	}
	if w.fake != nil && w.fake(out, old) {
		return
	}
	h, err := ledger.OpenHead(signed, w.log)
	if err != nil {
		w.t.Error(err)
		out.WriteHeader(http.StatusForbidden)
		return
	}
	switch {
	case old != w.size:
		out.Header().Set("Content-Type", "text/x.tlog.size")
		out.WriteHeader(http.StatusConflict)
		fmt.Fprintln(out, w.size)
		return
	case old > 0 && old != h.Size && tlog.CheckTree(proof, h.Size, h.Root, old, w.root) != nil, old == h.Size && old > 0 && h.Root != w.root:
		out.WriteHeader(http.StatusUnprocessableEntity)
		return
	}
	w.size, w.root = h.Size, h.Root
	out.Write(w.line(h))
}

func (w *witness) line(h *ledger.Head) []byte {
	n, err := note.Sign(&note.Note{Text: string(h.Text())}, w.sign)
	if err != nil {
		w.t.Error(err)
	}
	return n[bytes.Index(n, []byte("\n\n"))+2:]
}

func (p *privateSite) more(lines string) {
	p.write("expunge.yaml", p.read("expunge.yaml")+lines)
}

// TestOutside: a head is stamped by an authority and cosigned by a witness, the certificate rests on
// both, and openssl agrees about the stamp.
func TestOutside(t *testing.T) {
	p := newPrivateSite(t, 4)
	a, tsa := newAuthority(t)
	w, place := newWitness(t, "witness.example.com")
	p.takeIn(p.path("subjects.csv"))
	w.log = strings.TrimSpace(p.must("log", "key"))
	p.more(fmt.Sprintf("log: {timestamp: %s, witnesses: ['%s %s']}\n", tsa, w.vkey, place))
	if code, out := p.run("run"); code != exitOK && code != exitHeld || strings.Contains(out, "vouches") {
		t.Fatalf("exit %d\n%s", code, out)
	}
	if a.seen != 1 || w.size == 0 {
		t.Fatalf("%d stamps; the witness has seen %d", a.seen, w.size)
	}
	first := w.size
	// A head a day is stamped; each is cosigned, from the one before on.
	p.write("more.csv", "subject_id,email\nMORE-1,more@example.org\n")
	p.must("run", p.path("more.csv"))
	if a.seen != 1 || w.size <= first || !slices.Equal(w.seen, []int64{0, first}) {
		t.Errorf("%d stamps; the witness has seen %d after %d, from %v", a.seen, w.size, first, w.seen)
	}
	if head := p.must("log", "head"); !strings.Contains(head, "\n— witness.example.com ") || !strings.Contains(p.read("report.csv.head"), "\n— witness.example.com ") {
		t.Errorf("not cosigned:\n%s", head)
	}
	p.must("log", "check")
	roots := filepath.Join(a.dir, "ca.pem")
	p.must("certificate", "REQ-0000001", "-o", p.path("one.json"))
	code, out := p.run("verify", p.path("one.json"), "--key", w.log, "--tsa-roots", roots, "--witness", w.vkey)
	if code != exitOK && code != exitFailed || !strings.Contains(out, "a time stamp of "+time.Now().UTC().Format("2006-01-")) || !strings.Contains(out, " by Example Time tsa; the witness witness.example.com, who saw the head on ") {
		t.Fatalf("exit %d\n%s", code, out)
	}
	if _, out := p.run("verify", p.path("one.json"), "--key", w.log); !strings.Contains(out, "no time stamp (it has one, which --tsa-roots checks); no witness") {
		t.Error(out)
	}
	if cmd := exec.Command("python3", "../../testdata/verify.py", p.path("one.json"), w.log); cmd.Run() != nil && cmd.ProcessState.ExitCode() != 3 {
		t.Errorf("verify.py: %v", cmd.ProcessState)
	}
	// Roots and witnesses that are others; a certificate without.
	other, _ := newAuthority(t)
	stranger, _ := newWitness(t, "witness.example.com")
	for _, args := range [][]string{{"--tsa-roots", filepath.Join(other.dir, "ca.pem")}, {"--witness", stranger.vkey}} {
		if code, out := p.run(append([]string{"verify", p.path("one.json"), "--key", w.log}, args...)...); code != exitInvalid {
			t.Errorf("%v: exit %d\n%s", args, code, out)
		}
	}
	p.must("certificate", "MORE-1", "-o", p.path("more.json"))
	if code, out := p.run("verify", p.path("more.json"), "--key", w.log, "--tsa-roots", roots); code != exitInvalid || !strings.Contains(out, "it has no time stamp") {
		t.Errorf("exit %d\n%s", code, out)
	}
	// The stamp in the certificate, by the authority's own tool.
	var c ledger.Certificate
	if err := json.Unmarshal([]byte(p.read("one.json")), &c); err != nil || len(c.Stamp) == 0 {
		t.Fatalf("%d bytes of stamp: %v", len(c.Stamp), err)
	}
	_, head, _ := strings.Cut(c.Proofs[0], "\n\n")
	head, _, _ = strings.Cut(head, "\n\n")
	for name, b := range map[string][]byte{"stamp.der": c.Stamp, "head.txt": []byte(head + "\n")} {
		if err := os.WriteFile(filepath.Join(a.dir, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if out := a.openssl("ts", "-verify", "-token_in", "-in", "stamp.der", "-data", "head.txt", "-CAfile", "ca.pem"); !strings.Contains(string(out), "OK") {
		t.Errorf("openssl ts -verify: %s", out)
	}
	// A witness that has seen more than there is says that this store is an old one.
	w.size = 1 << 20
	p.write("still.csv", "subject_id,email\nMORE-2,still@example.org\n")
	if code, out := p.run("run", p.path("still.csv")); code != exitOK || !strings.Contains(out, "the witness witness.example.com has seen the log at 1048576, and here it is at ") {
		t.Errorf("exit %d\n%s", code, out)
	}
}

// TestOutsideHostile: whatever an authority or a witness answers, a run goes on, and nothing that is
// not good is kept.
func TestOutsideHostile(t *testing.T) {
	p := newPrivateSite(t, 2)
	a, tsa := newAuthority(t)
	w, place := newWitness(t, "witness.example.com")
	other, _ := newWitness(t, "witness.example.com")
	p.takeIn(p.path("subjects.csv"))
	w.log = strings.TrimSpace(p.must("log", "key"))
	p.more(fmt.Sprintf("log: {timestamp: %s, witnesses: ['%s %s']}\n", tsa, w.vkey, place))
	reply := func(out http.ResponseWriter, b []byte) bool {
		out.Header().Set("Content-Type", "application/timestamp-reply")
		out.Write(b)
		return true
	}
	var stale []byte
	stamps := []func(out http.ResponseWriter, query []byte) bool{
		func(out http.ResponseWriter, _ []byte) bool {
			out.Write([]byte("<html>maintenance</html>"))
			return true
		},
		func(out http.ResponseWriter, _ []byte) bool { return reply(out, []byte("no DER")) },
		func(out http.ResponseWriter, _ []byte) bool { return reply(out, make([]byte, 3<<20)) },
		func(out http.ResponseWriter, _ []byte) bool {
			out.WriteHeader(http.StatusServiceUnavailable)
			return true
		},
		func(out http.ResponseWriter, q []byte) bool { // of another text
			return reply(out, a.reply("tsa", bytes.Replace(q, q[len(q)-40:len(q)-20], make([]byte, 20), 1)))
		},
		func(out http.ResponseWriter, q []byte) bool { // an earlier answer
			b := stale
			if stale = a.reply("tsa", q); b == nil {
				out.WriteHeader(http.StatusServiceUnavailable)
				return true
			}
			return reply(out, b)
		},
		func(out http.ResponseWriter, q []byte) bool {
			return reply(out, []byte{0x30, 0x05, 0x30, 0x03, 0x02, 0x01, 0x02})
		}, // refused
		func(out http.ResponseWriter, q []byte) bool { // its signature is broken
			b := a.reply("tsa", q)
			b[len(b)-5] ^= 1
			return reply(out, b)
		},
		func(out http.ResponseWriter, q []byte) bool { // whoever signs is not allowed to stamp
			b := a.reply("tsa", q)
			return reply(out, bytes.Replace(b, []byte{0x2b, 6, 1, 5, 5, 7, 3, 8}, []byte{0x2b, 6, 1, 5, 5, 7, 3, 1}, 1))
		},
	}
	var head *ledger.Head
	witnesses := []func(out http.ResponseWriter, old int64) bool{
		func(out http.ResponseWriter, _ int64) bool {
			out.Write([]byte("<html>maintenance</html>"))
			return true
		},
		func(out http.ResponseWriter, _ int64) bool { out.Write(nil); return true },
		func(out http.ResponseWriter, _ int64) bool {
			out.Write(bytes.Repeat([]byte("— witness.example.com AAAA\n"), 4000))
			return true
		},
		func(out http.ResponseWriter, _ int64) bool {
			out.Write([]byte("— witness.example.com AAAAAAAA\n"))
			return true
		},
		func(out http.ResponseWriter, _ int64) bool {
			out.Write([]byte("— log.example.com AAAAAAAA\n"))
			return true
		},
		func(out http.ResponseWriter, _ int64) bool {
			out.WriteHeader(http.StatusConflict)
			out.Write([]byte("9 9\n"))
			return true
		},
		func(out http.ResponseWriter, old int64) bool {
			out.WriteHeader(http.StatusConflict)
			fmt.Fprintln(out, old+1)
			return true
		}, // again and again
		func(out http.ResponseWriter, _ int64) bool {
			out.WriteHeader(http.StatusUnprocessableEntity)
			return true
		},
		func(out http.ResponseWriter, _ int64) bool { out.Write(other.line(head)); return true }, // another key, the same name
		func(out http.ResponseWriter, _ int64) bool { // of an earlier head
			out.Write(w.line(head))
			return true
		},
	}
	for n := range max(len(stamps), len(witnesses)) {
		a.fake, w.fake = stamps[n%len(stamps)], witnesses[n%len(witnesses)]
		h, err := ledger.ReadHead([]byte(p.must("log", "head")))
		if err != nil {
			t.Fatal(err)
		}
		head = h
		p.write("more.csv", fmt.Sprintf("subject_id,email\nMORE-%d,more%d@example.org\n", n, n))
		code, out := p.run("run", p.path("more.csv"))
		if code != exitOK && code != exitHeld || strings.Count(out, "nobody vouches for the head of the log: the witness") != 1 || strings.Count(out, "nobody vouches for the head of the log: the time stamp") != 1 {
			t.Errorf("case %d: exit %d\n%s", n, code, out)
		}
		if strings.Contains(p.must("log", "head"), "witness.example.com") {
			t.Errorf("case %d: kept", n)
		}
		p.must("certificate", fmt.Sprintf("MORE-%d", n), "-o", p.path("one.json"))
		if strings.Contains(p.read("one.json"), `"stamp"`) {
			t.Errorf("case %d: a stamp is kept", n)
		}
	}
	a.fake, w.fake, w.size = nil, nil, 0
	p.write("more.csv", "subject_id,email\nMORE-LAST,last@example.org\n")
	if code, out := p.run("run", p.path("more.csv")); code != exitOK && code != exitHeld || strings.Contains(out, "vouches") {
		t.Errorf("in the end: exit %d\n%s", code, out)
	}
}
