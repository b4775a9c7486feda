package ledger

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/mod/sumdb/tlog"

	"expunge/store/seal"
)

var update = flag.Bool("update", false, "write the golden files anew: never for leaves that have been released")

func number(n int64) *int64 { return &n }

const (
	jan1 = Seconds(1767225600) // 2026-01-01
	jan2 = jan1 + 86400
)

// goldenLeaves has a leaf of every event, with every value that it can have.
func goldenLeaves() []Leaf {
	salt := []byte("0123456789abcdef")
	task := "customergauge/email/0"
	tasks := []LeafTask{{Task: task, Kind: "customergauge", Act: "anonymize"}, {Task: "acqueon", Kind: "acqueon", Skipped: "no_identifier"}}
	of := func(event string) Leaf { return Leaf{Salt: salt, Event: event, Task: task, At: jan2, Prev: 7} }
	outcome := func(event, evidence, reason string) Leaf {
		l := of(event)
		l.Evidence, l.Reason, l.Reference = evidence, reason, "0d9fb3ab-2f6c-4f3c-9d42-3c1f2a9d7e11"
		l.Records, l.RecordsAfter = number(3), number(0)
		l.SubmittedAt, l.CompletedAt, l.VerifiedAt = jan1, jan2, jan2
		return l
	}
	received := Leaf{Salt: salt, Event: "received", Task: OwnTask, Subject: "REQ-1 \"ä\"\\\u2028<&>\n", At: jan2, ReceivedAt: jan1, DueAt: jan2,
		Identifiers: []LeafIdentifier{{"email", 0, []byte("fedcba9876543210")}, {"customer_key", 1, []byte("0123456789abcdef")}}, Tasks: tasks, Channel: "form"}
	added, drop, decided := of("added"), of("decided"), outcome("decided", "", "inconsistent_answer")
	for _, own := range []*Leaf{&added, &drop} {
		own.Task, own.Tasks, own.Batch = OwnTask, tasks, 2
	}
	drop.Action = "drop"
	decided.Action, decided.State, decided.Closed = "reject", "failed", true
	extended, answered, exported := of("extended"), of("answered"), of("exported")
	extended.Task, extended.Until = OwnTask, jan2
	answered.Task, answered.AnsweredAt, answered.Channel = OwnTask, jan2, "letter"
	exported.Export, exported.Bytes, exported.SHA256 = "stored", 1234, strings.Repeat("ab", 32)
	nobody := func(event string) Leaf { return Leaf{Event: event, At: jan1, Prev: 1} }
	batch, run, purge, key, restart, moved, intents := nobody("batch"), nobody("run"), nobody("purge"), nobody("key"), nobody("restart"), nobody("moved"), nobody("run")
	batch.Batch, batch.Rows, batch.Subjects, batch.Invalid, batch.Duplicates, batch.TaskCount, batch.Dropped = 1, 10, 7, 2, 1, 3, true
	run.Run, run.Version, run.Config = 5, "v1.2.3", strings.Repeat("cd", 32)
	intents.Run, intents.Intents = 5, 3
	purge.Subjects, purge.TaskCount, purge.Before = 3, 9, jan1
	key.LogKey = "example.org/expunge+12345678+AQ=="
	restart.LostOrigin, restart.LostSize, restart.LostRoot, restart.Note = "example.org/expunge/1", 99, "AAAA", "a restored backup"
	moved.Vendor = "voyado"
	return []Leaf{received, added, of("submitted"), outcome("held", "", "somebody_else"), decided, drop, moved, extended, outcome("declined", "", "declined"),
		outcome("erased", "verified", ""), outcome("not_found", "control", ""), outcome("failed", "", "refused"), exported, answered,
		batch, run, intents, purge, key, restart, {Event: "submitted", At: jan1}}
}

// TestLeaves: the text of a leaf is what it always was, and says all that it was made of.
func TestLeaves(t *testing.T) {
	var got []byte
	for _, l := range goldenLeaves() {
		text := l.Render()
		got = append(append(got, text...), '\n')
		if !json.Valid(text) {
			t.Errorf("no JSON: %s", text)
		}
		back, err := ParseLeaf(text)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(&l, back); diff != "" {
			t.Errorf("read again (-written +read):\n%s", diff)
		}
	}
	golden(t, "leaves-v1.jsonl", got)
	for _, text := range []string{`{"v":2,"event":"run","at":"2026-01-01T00:00:00Z"}`, `{"v":1,"event":"run","at":"2026-01-01T00:00:00Z","more":1}`,
		`{"v":1, "event":"run","at":"2026-01-01T00:00:00Z"}`, `{"v":1,"event":"run","at":"2026-01-01T00:00:00+00:00"}`, `{"v":1,"event":"run"}`, ``, `[]`} {
		if _, err := ParseLeaf([]byte(text)); err == nil {
			t.Errorf("taken for a leaf: %s", text)
		}
	}
}

// TestEveryValueIsRendered: no value of a leaf is left out of its text.
func TestEveryValueIsRendered(t *testing.T) {
	v := reflect.ValueOf(&Leaf{}).Elem()
	for i := range v.NumField() {
		l := Leaf{}
		f := reflect.ValueOf(&l).Elem().Field(i)
		switch f.Interface().(type) {
		case string:
			f.SetString("x")
		case int64, Seconds:
			f.SetInt(5)
		case bool:
			f.SetBool(true)
		case []byte:
			f.SetBytes([]byte{1})
		case *int64:
			f.Set(reflect.ValueOf(number(0)))
		case []LeafIdentifier:
			l.Identifiers = []LeafIdentifier{{}}
		case []LeafTask:
			l.Tasks = []LeafTask{{}}
		default:
			t.Fatalf("%s is a %T", v.Type().Field(i).Name, f.Interface())
		}
		if empty := (Leaf{}); bytes.Equal(l.Render(), empty.Render()) {
			t.Errorf("%s is not in the text", v.Type().Field(i).Name)
		}
	}
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s (-want +got):\n%s", name, diff)
	}
}

// FuzzLeaf: whatever an event has, its leaf can be written, and says so when it is read again.
func FuzzLeaf(f *testing.F) {
	f.Add("erased", "voyado/email/0", "REQ-1", "a\x00\xff\u2028", int64(5), int64(1<<62), true)
	f.Fuzz(func(t *testing.T, event, task, subject, text string, n, at int64, yes bool) {
		l := Leaf{Salt: []byte(text), Event: event, Task: task, Subject: subject, At: Seconds(at), Prev: n, ReceivedAt: Seconds(n), Reason: text, Records: &n, Reference: subject,
			Identifiers: []LeafIdentifier{{text, int(n), []byte(event)}}, Tasks: []LeafTask{{task, text, subject, event}}, Closed: yes, Note: text, SubmittedAt: Seconds(at)}
		first := l.Render()
		back, err := ParseLeaf(first)
		if err != nil {
			t.Fatalf("%s: %v", first, err)
		}
		if again := back.Render(); !bytes.Equal(first, again) {
			t.Errorf("%s and then %s", first, again)
		}
	})
}

// memory is a tree in memory.
type memory map[TileID][]byte

func (m memory) read(level int, n int64) ([]byte, error) { return m[TileID{level, n}], nil }

func (m memory) grow(t testing.TB, a *Appender, leaves ...[]byte) {
	t.Helper()
	for _, l := range leaves {
		a.Append(Hash(l))
	}
	for id, tile := range a.Changed {
		m[id] = bytes.Clone(tile)
	}
	clear(a.Changed)
}

// TestTree: roots and proofs are those of tlog's own stored hashes, in one go or in steps, over
// the ends of tiles.
func TestTree(t *testing.T) {
	var stored []tlog.Hash
	reference := tlog.HashReaderFunc(func(indexes []int64) ([]tlog.Hash, error) {
		var out []tlog.Hash
		for _, i := range indexes {
			out = append(out, stored[i])
		}
		return out, nil
	})
	m := memory{}
	a, err := NewAppender(0, m.read)
	if err != nil {
		t.Fatal(err)
	}
	step := 1
	for n := int64(0); n < 2*TileWidth+40; {
		for range step {
			leaf := fmt.Appendf(nil, "leaf %d", n)
			more, err := tlog.StoredHashes(n, leaf, reference)
			if err != nil {
				t.Fatal(err)
			}
			stored = append(stored, more...)
			a.Append(Hash(leaf))
			n++
		}
		m.grow(t, a)
		if n%3 == 0 {
			if a, err = NewAppender(n, m.read); err != nil {
				t.Fatal(err)
			}
		}
		for _, size := range []int64{n, n / 2, 1} {
			want, err := tlog.TreeHash(size, reference)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := TileReader(m.read).Root(size); err != nil || got != want {
				t.Fatalf("root of %d at %d: %v %v, want %v", size, n, got, err, want)
			}
		}
		step = step%97 + 13
	}
	a.Size = 5 * TileWidth // more than there is
	if _, err := NewAppender(a.Size+1, m.read); err == nil {
		t.Error("a tree was gone on with whose tiles are missing")
	}
	if _, err := TileReader(m.read).Root(a.Size); err == nil {
		t.Error("a root of tiles that are missing")
	}
}

// world is a log with one person's certificate.
type world struct {
	signer *Signer
	tiles  memory
	leaves [][]byte
	mine   []int64
	head   *Head
	cert   Certificate
}

var secret = []byte("the person's own")

func newWorld(t testing.TB, others int, change func(l []Leaf) []Leaf) *world {
	t.Helper()
	seed := sha256.Sum256([]byte("a key"))
	w := &world{tiles: memory{}}
	var err error
	if w.signer, err = NewSigner("privacy.example.com/expunge", seed[:]); err != nil {
		t.Fatal(err)
	}
	nonce := seal.NewDigester(seal.LookupKey{1}).Nonce(secret, "email", 0)
	mark := seal.Mark(nonce, "anna@example.com")
	w.cert = Certificate{Format: Format, Organisation: "Example AB", Version: "v1", Key: w.signer.VKey(), Nonces: []Nonce{{"email", 0, nonce[:]}}}
	mine := []Leaf{
		{Event: "received", Task: OwnTask, Subject: "REQ-1", At: jan1, ReceivedAt: jan1, DueAt: jan2, Identifiers: []LeafIdentifier{{"email", 0, mark[:]}},
			Tasks: []LeafTask{{"customergauge/email/0", "customergauge", "anonymize", ""}, {"voyado/email/0", "voyado", "remove", ""}, {"acqueon", "acqueon", "", "no_identifier"}}},
		{Event: "erased", Task: "customergauge/email/0", At: jan2, Prev: 1, Evidence: "verified", Records: number(3), RecordsAfter: number(0), CompletedAt: jan2},
		{Event: "submitted", Task: "voyado/email/0", At: jan2, Prev: 1, Reference: "77", SubmittedAt: jan2},
		{Event: "erased", Task: "voyado/email/0", At: jan2, Prev: 3, Evidence: "vendor_done", Reference: "77", CompletedAt: jan2},
		{Event: "answered", Task: OwnTask, At: jan2, Prev: 1, AnsweredAt: jan2},
	}
	if change != nil {
		mine = change(mine)
	}
	// The person's events lie among those of others.
	number := map[int64]int64{0: 0}
	for i := range mine {
		for range others {
			w.leaves = append(w.leaves, fmt.Appendf(nil, "somebody else %d", len(w.leaves)))
		}
		l := &mine[i]
		seq := int64(len(w.leaves) + 1)
		number[int64(i+1)] = seq
		l.Prev, l.Salt = number[l.Prev], Salt(secret, seq)
		w.mine = append(w.mine, seq-1)
		w.leaves = append(w.leaves, l.Render())
	}
	w.leaves = append(w.leaves, []byte("the last one"))
	a, err := NewAppender(0, nil)
	if err != nil {
		t.Fatal(err)
	}
	w.tiles.grow(t, a, w.leaves...)
	root, err := TileReader(w.tiles.read).Root(a.Size)
	if err != nil {
		t.Fatal(err)
	}
	if w.head, err = SignHead("privacy.example.com/expunge/1", a.Size, root, jan2.Time(), w.signer); err != nil {
		t.Fatal(err)
	}
	for _, i := range w.mine {
		p, err := Proof(w.head, w.tiles.read, i, w.leaves[i])
		if err != nil {
			t.Fatal(err)
		}
		w.cert.Proofs = append(w.cert.Proofs, p)
	}
	w.cert.Summary = []string{"for people"}
	return w
}

func (w *world) file() []byte { c := w.cert; return c.Render(w.signer) }

func same(_, text string) string { return strings.ToLower(text) }

// TestCertificate: a certificate says what became of each task, in words that claim no more than
// the events; a head alone stands for it too.
func TestCertificate(t *testing.T) {
	w := newWorld(t, 5, nil)
	if summary, err := w.cert.Summarize(w.signer.VKey()); err != nil || len(summary) != 4 {
		t.Fatal(summary, err)
	} else {
		w.cert.Summary = summary
	}
	file := w.file()
	v, err := Verify(file, VerifyOptions{Key: w.signer.VKey() + "\n", Identifiers: []string{"Anna@example.com"}, Normal: same})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"REQ-1, 5 events, log privacy.example.com/expunge/1 at 31, head of 2026-01-02",
		"customergauge  email  anonymized, looked again and gone (3 records, then 0)           2026-01-02",
		"voyado         email  removal job reported done by the vendor; not looked at again  2026-01-02",
		"acqueon               not asked: no_identifier"}
	for i := range want {
		want[i] = strings.Join(strings.Fields(want[i]), " ")
	}
	var got []string
	for _, l := range v.Lines() {
		got = append(got, strings.Join(strings.Fields(l), " "))
	}
	if diff := cmp.Diff(want, got); diff != "" || !v.Done() || !cmp.Equal(v.About, []string{"email"}) {
		t.Errorf("done %v, about %v:\n%s", v.Done(), v.About, diff)
	}
	if strings.Contains(strings.ToLower(string(file)), "delete") {
		t.Error("a vendor's act is called a deletion")
	}
	heads := append([]byte("torn\n\n"), w.head.Note...)
	if _, err := Verify(file, VerifyOptions{Head: append(heads, "\nprivacy.example.com/expunge/1\n9\n"...)}); err != nil {
		t.Errorf("by the head: %v", err)
	}
	other := newWorld(t, 6, nil)
	for name, o := range map[string]VerifyOptions{
		"another key":        {Key: "privacy.example.com/expunge+00000000+AQ=="},
		"another head":       {Head: other.head.Note},
		"no head":            {Head: []byte("nothing")},
		"another identifier": {Key: w.signer.VKey(), Identifiers: []string{"anna@example.org"}, Normal: same},
	} {
		if _, err := Verify(file, o); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	w.cert.Nonces = nil // --ticket-only
	if _, err := Verify(w.file(), VerifyOptions{Key: w.signer.VKey(), Identifiers: []string{"anna@example.com"}, Normal: same}); !errors.Is(err, ErrInvalid) {
		t.Errorf("an identifier against a certificate that names the ticket alone: %v", err)
	}
}

// TestUnfinished: whatever is open, held, failed, declined or ended by a person is not done, and
// reads so.
func TestUnfinished(t *testing.T) {
	for event, want := range map[string]string{"submitted": "open", "held": "open: held for a person: somebody_else", "failed": "NOT DONE: failed", "declined": "NOT DONE: declined",
		"decided": "NOT DONE: ended by a person (close)", "none": "open: nothing"} {
		w := newWorld(t, 1, func(l []Leaf) []Leaf {
			if event == "none" {
				return []Leaf{l[0], l[1]}
			}
			l[3].Event, l[3].Evidence, l[3].CompletedAt = event, "", 0
			if event == "held" {
				l[3].Reason = "somebody_else"
			}
			if event == "decided" {
				l[3].Action, l[3].State, l[3].Closed = "close", "failed", true
			}
			return l
		})
		v, err := Verify(w.file(), VerifyOptions{Key: w.signer.VKey()})
		if err != nil {
			t.Fatal(event, err)
		}
		if v.Done() || !strings.HasPrefix(v.Tasks[1].Text, want) {
			t.Errorf("%s: done %v: %s", event, v.Done(), v.Tasks[1].Text)
		}
	}
}

// TestEveryByte: a certificate of which any byte was changed in any bit, or that was cut or
// lengthened, is not valid.
func TestEveryByte(t *testing.T) {
	w := newWorld(t, 2, nil)
	file := w.file()
	o := VerifyOptions{Key: w.signer.VKey()}
	if _, err := Verify(file, o); err != nil {
		t.Fatal(err)
	}
	refused := 0
	for i := range file {
		bad := bytes.Clone(file)
		bad[i] ^= 1 << (i % 8)
		if _, err := Verify(bad, o); !errors.Is(err, ErrInvalid) {
			t.Fatalf("byte %d of %d changed from %q to %q: %v", i, len(file), file[i], bad[i], err)
		}
		refused++
	}
	for _, bad := range [][]byte{nil, file[:len(file)-1], append(bytes.Clone(file), '\n'), bytes.ReplaceAll(file, []byte("\n"), []byte("\r\n")), append([]byte(" "), file...)} {
		if _, err := Verify(bad, o); !errors.Is(err, ErrInvalid) {
			t.Errorf("%d bytes: %v", len(bad), err)
		}
	}
	t.Logf("%d bytes changed, %d refused", len(file), refused)
}

// TestMissing: no event can be left out of a certificate by whoever has the log's key but the last
// of a task, and no task.
func TestMissing(t *testing.T) {
	w := newWorld(t, 2, nil)
	o := VerifyOptions{Key: w.signer.VKey()}
	without := func(drop ...int) []byte {
		c := w.cert
		c.Proofs = nil
		for i, p := range w.cert.Proofs {
			if len(drop) == 0 || drop[0] != i {
				c.Proofs = append(c.Proofs, p)
			}
		}
		return c.Render(w.signer)
	}
	for i, wantErr := range []bool{true, false, true, false, false} {
		if _, err := Verify(without(i), o); (err != nil) != wantErr {
			t.Errorf("without event %d: %v", i, err)
		}
	}
	for name, change := range map[string]func([]Leaf) []Leaf{
		"another's task":   func(l []Leaf) []Leaf { l[1].Task = "customergauge/email/1"; return l },
		"a second receipt": func(l []Leaf) []Leaf { l[4] = l[0]; l[4].Prev = 1; return l },
		"nobody's":         func(l []Leaf) []Leaf { l[4] = Leaf{Event: "run", At: jan1}; return l },
		"no tasks":         func(l []Leaf) []Leaf { l[0].Tasks = nil; return l[:1] },
		"no receipt":       func(l []Leaf) []Leaf { l[0].Event = "added"; return l },
	} {
		w := newWorld(t, 2, change)
		if _, err := Verify(w.file(), o); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	c := w.cert
	c.Proofs = append([]string{c.Proofs[1], c.Proofs[0]}, c.Proofs[2:]...)
	if _, err := Verify(c.Render(w.signer), o); !errors.Is(err, ErrInvalid) {
		t.Errorf("out of order: %v", err)
	}
	c = w.cert
	c.Proofs = append([]string{}, c.Proofs...)
	p := strings.SplitN(c.Proofs[0], "\n", 3)
	c.Proofs[0] = p[0] + "\n" + strings.TrimRight(p[1], "=") + "\n" + p[2] // another way to write the same
	if p[1] != strings.TrimRight(p[1], "=") {
		if _, err := Verify(c.Render(w.signer), o); !errors.Is(err, ErrInvalid) {
			t.Errorf("base64 in another way: %v", err)
		}
	}
	c = w.cert
	c.Proofs = append([]string{}, c.Proofs...)
	text := w.leaves[w.mine[1]]
	c.Proofs[1] = strings.Replace(c.Proofs[1], base64.StdEncoding.EncodeToString(text), base64.StdEncoding.EncodeToString(bytes.Replace(text, []byte("verified"), []byte("VERIFIED"), 1)), 1)
	if _, err := Verify(c.Render(w.signer), o); !errors.Is(err, ErrInvalid) {
		t.Errorf("a changed word, sealed by the log's own key: %v", err)
	}
}

// TestHeads: heads are found in a file whatever else is in it, and are of the key, the name and
// the tree that they say.
func TestHeads(t *testing.T) {
	seed := sha256.Sum256([]byte("a key"))
	s, err := NewSigner("privacy.example.com/expunge", seed[:])
	if err != nil {
		t.Fatal(err)
	}
	var file []byte
	for n := range int64(3) {
		h, err := SignHead("privacy.example.com/expunge/1", n+1, tlog.Hash{byte(n)}, time.Unix(1767225600, 5).In(time.FixedZone("", 3600)), s)
		if err != nil {
			t.Fatal(err)
		}
		file = append(append(file, h.Note...), '\n')
		if name, epoch := h.Epoch(); name != "privacy.example.com/expunge" || epoch != 1 {
			t.Error(name, epoch)
		}
		o, err := OpenHead(h.Note, s.VKey())
		if err != nil || !cmp.Equal(o, h) {
			t.Errorf("%v: %v", err, cmp.Diff(o, h))
		}
	}
	if all, bad := SplitHeads(file); len(all) != 3 || bad != 0 || all[2].Size != 3 {
		t.Errorf("%d heads, %d bad", len(all), bad)
	}
	if all, bad := SplitHeads(bytes.ReplaceAll(file, []byte("=\n\n"), []byte("=\n"))); len(all)+bad == 0 {
		t.Error("notes without a line between them are not even counted")
	}
	for cut := range file {
		all, bad := SplitHeads(file[:cut])
		for _, h := range all {
			if _, err := OpenHead(h.Note, s.VKey()); err != nil {
				t.Fatalf("cut at %d: %v", cut, err)
			}
		}
		// What comes behind a note that was cut off is found all the same.
		if more, _ := SplitHeads(append(append(bytes.Clone(file[:cut]), "\n\n"...), file...)); len(more) < len(all)+3-1 {
			t.Fatalf("cut at %d: %d heads, %d bad; then %d", cut, len(all), bad, len(more))
		}
	}
	if _, err := OpenHead(file[:len(file)/3], "no key"); err == nil {
		t.Error("opened without a key")
	}
	for _, name := range []string{"", "a b", "a+b", "a\nb", "{a"} {
		if CheckName(name) == nil {
			t.Errorf("a log may be called %q", name)
		}
	}
	if err := CheckName("privacy.example.com/expunge"); err != nil {
		t.Error(err)
	}
	if got := fmt.Sprintf("%v %+v %#v %s", s, s, s, s); strings.Contains(got, "{") || strings.Contains(got, fmt.Sprint(seed[0])) {
		t.Errorf("a signer shows its key: %s", got)
	}
}

// TestKnowsNoStore: the package can be used where there is no store: neither it nor what it
// imports of this program knows SQLite, batch or vendors.
func TestKnowsNoStore(t *testing.T) {
	for _, dir := range []string{".", "../seal", "../atomicfile"} {
		files, err := filepath.Glob(filepath.Join(dir, "*.go"))
		if err != nil || len(files) == 0 {
			t.Fatal(files, err)
		}
		for _, name := range files {
			f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ImportsOnly)
			if err != nil {
				t.Fatal(err)
			}
			for _, imp := range f.Imports {
				path := strings.Trim(imp.Path.Value, `"`)
				ours := strings.HasPrefix(path, "expunge/") && path != "expunge/store/seal" && path != "expunge/store/atomicfile"
				if ours || strings.Contains(path, "sqlite") || strings.HasPrefix(path, "database/") || strings.HasPrefix(path, "net/http") {
					t.Errorf("%s imports %s", name, path)
				}
			}
		}
	}
}
