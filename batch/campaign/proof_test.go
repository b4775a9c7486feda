package campaign

import (
	"bytes"
	"crypto/sha256"
	"database/sql"
	"encoding/base64"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	fmtlog "github.com/transparency-dev/formats/log"
	"github.com/transparency-dev/formats/proof"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/sync/errgroup"

	"expunge/store/ledger"
	"expunge/vendors/sim"
)

// proven is a site with a log: people whose every value is a canary, taken to their ends over
// some days, with heads that are kept in another folder.
type proven struct {
	*site
	t      *testing.T
	sim    *sim.Sim
	people []leaksPerson
	heads  string // the file with the heads that somebody else keeps
	key    string // the log's public key as it was at first
	certs  map[string][]byte
}

func (p *proven) ticket(i int) string { return p.people[i].row[0] }

// newProven takes n people in, does what comes in a store's life, and makes everybody's certificate.
func newProven(t *testing.T, n int) *proven {
	t.Helper()
	p := &proven{t: t, certs: map[string][]byte{}}
	seed := sim.DefaultSeed()
	rows := [][]string{leaksHeader}
	for _, one := range leaksPeople(n+n/8, rand.New(rand.NewPCG(*flagSeed, 0x9f00f))) {
		if len(rows) <= n && strings.Contains(one.row[1], "@") { // all can be taken in
			p.people, rows = append(p.people, one), append(rows, one.row)
			seed.CustomerGauge[0].Records = append(seed.CustomerGauge[0].Records, one.records...)
			seed.Voyado[0].Keys = append(seed.Voyado[0].Keys, one.keys...)
		}
	}
	var url string
	p.sim, url = serve(t, sim.Options{Seed: seed, RandSeed: *flagSeed, Day: 100 * time.Millisecond}, nil)
	p.heads = filepath.Join(t.TempDir(), "expunge.head")
	p.site = newSite(t, url, settings{global: []string{"linger: 1s", "organisation: Example AB", "ignore_columns: [favourite_colour]",
		"log: {origin: privacy.example.com/expunge, head_file: " + p.heads + "}"}})
	// The last two come later, and are still open.
	p.csv("subjects.csv", rows[:n-1])
	p.csv("later.csv", append([][]string{leaksHeader}, rows[n-1:]...))
	usual := []int{0, 3, 4}
	p.mustRun(t, usual, "run", "--for", "2s", "subjects.csv")
	p.key = strings.TrimSpace(p.mustRun(t, []int{0}, "log", "key").stdout)
	p.mustRun(t, usual, "run", "--wait", "--for", "5s")
	p.sim.Complete("", "")
	p.write(t, "confirmations.csv", leaksConfirmations(p.sim))
	p.mustRun(t, usual, "confirm", "confirmations.csv", "--by", "mo")
	p.write(t, "told.csv", "subject_id,answered_at,channel\n"+p.ticket(0)+","+time.Now().UTC().Format(time.DateOnly)+",letter\n")
	p.mustRun(t, []int{0}, "answered", "told.csv")
	p.mustRun(t, usual, "run", "--for", "2s", "later.csv")
	p.mustRun(t, []int{0}, "extend", p.ticket(n-1), "--until", time.Now().AddDate(0, 2, 0).Format(time.DateOnly), "--reason", "slow")
	for i := range p.people {
		p.certs[p.ticket(i)] = p.certificate(p.ticket(i))
	}
	return p
}

func (p *proven) csv(name string, rows [][]string) {
	p.t.Helper()
	var b bytes.Buffer
	if err := csv.NewWriter(&b).WriteAll(rows); err != nil {
		p.t.Fatal(err)
	}
	p.write(p.t, name, b.String())
}

func (p *proven) certificate(args ...string) []byte {
	p.t.Helper()
	return []byte(p.mustRun(p.t, []int{0}, append([]string{"certificate"}, args...)...).stdout)
}

// verified checks a certificate with the program, and returns its exit code.
func (p *proven) verified(file []byte, key string) int {
	p.t.Helper()
	path := filepath.Join(p.t.TempDir(), "certificate.json")
	if err := os.WriteFile(path, file, 0o600); err != nil {
		p.t.Fatal(err)
	}
	return p.run(p.t, "verify", path, "--key", key).code
}

// leaves are those of a certificate, in clear.
func (p *proven) leaves(file []byte) (all [][]byte) {
	p.t.Helper()
	var c ledger.Certificate
	if err := json.Unmarshal(file, &c); err != nil {
		p.t.Fatal(err)
	}
	for _, text := range c.Proofs {
		extra, _, _ := strings.Cut(strings.SplitN(text, "\n", 3)[1], "\n")
		leaf, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(extra, "extra "))
		if err != nil {
			p.t.Fatal(err)
		}
		all = append(all, leaf)
	}
	return all
}

// TestProof tries to forge what the log and its certificates prove, and prints what was tried
// (EVIDENCE.md, what must be shown). `make proof` tries all of it, `go test` some.
func TestProof(t *testing.T) {
	n := 10
	if *flagWhole {
		n = 60
	}
	p := newProven(t, n)
	p.oneOnly()
	p.notRecomputable()
	p.everyByte()
	p.agree()
	p.tampered()
	p.putBack()
	p.outlives() // the last: keys change and people go
}

// oneOnly searches each certificate for everybody's canaries, and for what others alone have.
func (p *proven) oneOnly() {
	var canaries []string
	for _, one := range p.people {
		canaries = append(canaries, one.canaries...)
	}
	x := newLeaksIndex(canaries)
	refs := map[string]string{} // references, by the ticket of whose they are
	for ticket, file := range p.certs {
		for _, leaf := range p.leaves(file) {
			l, err := ledger.ParseLeaf(leaf)
			if err != nil {
				p.t.Fatal(err)
			}
			if l.Reference != "" {
				refs[l.Reference] = ticket
			}
		}
	}
	if len(refs) < len(p.people) {
		p.t.Errorf("%d references of %d people: nothing was put to the test", len(refs), len(p.people))
	}
	looked, found := 0, 0
	for i := range p.people {
		own := p.ticket(i)
		for _, file := range [][]byte{p.certs[own], p.certificate(own, "--ticket-only")} {
			looked++
			text := append(bytes.Clone(file), bytes.Join(p.leaves(file), []byte("\n"))...)
			if !bytes.Contains(text, []byte(`"subject":"`+own+`"`)) {
				p.t.Errorf("the certificate of %s is not about it", own)
			}
			for _, what := range x.find(text) {
				found++
				p.t.Errorf("the certificate of %s has %s", own, what)
			}
			for j := range p.people {
				if other := p.ticket(j); j != i && bytes.Contains(text, []byte(other)) {
					found++
					p.t.Errorf("the certificate of %s names %s", own, other)
				}
			}
			for ref, of := range refs {
				if of != own && bytes.Contains(text, []byte(`"`+ref+`"`)) {
					found++
					p.t.Errorf("the certificate of %s has reference %s of %s", own, ref, of)
				}
			}
		}
	}
	fmt.Printf("one person only: %d certificates searched for %d spellings of all canaries, all tickets and %d references: %d found\n", looked, x.needles, len(refs), found)
}

// notRecomputable tries to make the hashes of others that a certificate has from all that is known
// of these others but their secrets. With the right salt they are made.
func (p *proven) notRecomputable() {
	byIndex := map[int64][]byte{}
	var salts [][]byte
	for _, file := range p.certs {
		var c ledger.Certificate
		if err := json.Unmarshal(file, &c); err != nil {
			p.t.Fatal(err)
		}
		for i, leaf := range p.leaves(file) {
			var index int64
			if _, err := fmt.Sscanf(strings.SplitN(c.Proofs[i], "\n", 4)[2], "index %d", &index); err != nil {
				p.t.Fatal(err)
			}
			byIndex[index] = leaf
			l, _ := ledger.ParseLeaf(leaf)
			if slices.ContainsFunc(salts, func(s []byte) bool { return bytes.Equal(s, l.Salt) }) {
				p.t.Errorf("two leaves have the same salt")
			}
			salts = append(salts, l.Salt)
		}
	}
	siblings, tries := 0, 0
	for ticket, file := range p.certs {
		var c ledger.Certificate
		if err := json.Unmarshal(file, &c); err != nil {
			p.t.Fatal(err)
		}
		for i := range p.leaves(file) {
			lines := strings.SplitN(c.Proofs[i], "\n", 5)
			var index int64
			if _, err := fmt.Sscanf(lines[2], "index %d", &index); err != nil {
				p.t.Fatal(err)
			}
			other, known := byIndex[index^1]
			hash := lines[3] // the lowest of the path
			if !known || bytes.Contains(p.certs[ticket], []byte(base64.StdEncoding.EncodeToString(other))) {
				continue // nobody's, or the person's own
			}
			siblings++
			if h := ledger.Hash(other); base64.StdEncoding.EncodeToString(h[:]) != hash {
				p.t.Fatalf("the neighbour of leaf %d is another", index)
			}
			l, _ := ledger.ParseLeaf(other)
			right := l.Salt
			guesses := [][]byte{nil, make([]byte, ledger.SaltSize)}
			for _, s := range salts {
				if !bytes.Equal(s, right) {
					guesses = append(guesses, s)
				}
			}
			for _, secret := range [][]byte{make([]byte, 16), []byte(l.Subject), []byte(ticket), right, []byte(p.key)} {
				guesses = append(guesses, ledger.Salt(secret, index^1+1))
			}
			for _, n := range c.Nonces {
				guesses = append(guesses, n.Nonce, ledger.Salt(n.Nonce, index^1+1))
			}
			for _, l.Salt = range guesses {
				tries++
				if h := ledger.Hash(l.Render()); base64.StdEncoding.EncodeToString(h[:]) == hash {
					p.t.Errorf("the hash of leaf %d was made without its secret", index^1+1)
				}
			}
		}
	}
	if siblings == 0 {
		p.t.Error("no hash of somebody else is in any certificate: nothing was put to the test")
	}
	fmt.Printf("not recomputable: %d hashes of others in certificates, %d guesses with everything known but the secret: 0 made\n", siblings, tries)
}

// everyByte changes every byte of certificates: each is refused, by the library in every bit, by
// the program with exit 65.
func (p *proven) everyByte() {
	whose, step := 1, 999
	if *flagWhole {
		whose, step = 5, 1
	}
	bits, refused, exits := 0, 0, 0
	for i := range whose {
		file := p.certs[p.ticket(i)]
		o := ledger.VerifyOptions{Key: p.key}
		if _, err := ledger.Verify(file, o); err != nil {
			p.t.Fatal(err)
		}
		for at := range file {
			for bit := range 8 {
				if !*flagWhole && (bit != at%8 || at%13 != 0) {
					continue
				}
				bad := bytes.Clone(file)
				bad[at] ^= 1 << bit
				bits++
				if _, err := ledger.Verify(bad, o); errors.Is(err, ledger.ErrInvalid) {
					refused++
				} else {
					p.t.Errorf("byte %d from %q to %q: %v", at, file[at], bad[at], err)
				}
			}
		}
		if i > 0 {
			continue
		}
		dir := p.t.TempDir()
		var g errgroup.Group
		g.SetLimit(4)
		for at := 0; at < len(file); at += step {
			exits++
			g.Go(func() error {
				bad := bytes.Clone(file)
				bad[at] ^= 1 << (at % 8)
				path := filepath.Join(dir, fmt.Sprint(at))
				if err := os.WriteFile(path, bad, 0o600); err != nil {
					return err
				}
				if r := p.run(p.t, "verify", path, "--key", p.key); r.code != 65 || r.stdout != "" {
					return fmt.Errorf("byte %d changed: verify ends with %d: %s%s", at, r.code, r.stdout, r.stderr)
				}
				return os.Remove(path)
			})
		}
		if err := g.Wait(); err != nil {
			p.t.Error(err)
		}
	}
	fmt.Printf("every byte: %d certificates, %d bits flipped, %d refused; %d bytes flipped for the program, all ended with 65\n", whose, bits, refused, exits)
}

// tampering is a change of a store by hand, and what `log check` has to name.
type tampering struct{ what, sql, named string }

// tampered changes, drops and swaps rows of the store; `log check` with the heads that somebody
// else keeps names each.
func (p *proven) tampered() {
	s := p.copied("tampered")
	// Three people ended long ago, and are purged.
	s.exec(p.t, `UPDATE tasks SET completed_at = completed_at - 8640000 WHERE id/1000 IN (SELECT id FROM subjects ORDER BY id LIMIT 3)`)
	p.at(s, []int{0}, "purge", "--before", time.Now().AddDate(0, 0, -30).Format(time.DateOnly), "--yes", "--failed")
	// So many events of nobody that a tile is full, and there is a level above it.
	s.exec(p.t, `INSERT INTO events (seq, prev, at, event, body) WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i < 1200)
 SELECT m.seq + i, CASE i WHEN 1 THEN l.last ELSE m.seq + i - 1 END, 1767225600, 21, '{"run":1}' FROM n, (SELECT max(seq) AS seq FROM events) m, log l;
UPDATE log SET last = (SELECT max(seq) FROM events);`)
	p.at(s, []int{0, 3, 4}, "run")
	outside, err := os.ReadFile(s.path("kept.head"))
	if err != nil {
		p.t.Fatal(err)
	}
	if r := p.at(s, []int{0}, "log", "check", s.path("kept.head")); !regexp.MustCompile(` [1-9]\d* are gone with their people`).MatchString(r.stdout) {
		p.t.Fatal(r.stdout)
	}
	cases := s.tamperings(p.t)
	if !*flagWhole {
		kept := map[string]int{}
		cases = slices.DeleteFunc(cases, func(c tampering) bool { kept[c.what]++; return kept[c.what]%199 != 1 })
	}
	if cases = slices.DeleteFunc(cases, func(c tampering) bool {
		return *flagOnly != "" && !regexp.MustCompile(*flagOnly).MatchString(c.what)
	}); len(cases) == 0 {
		return
	}
	store, err := os.ReadFile(s.path("expunge.db"))
	if err != nil {
		p.t.Fatal(err)
	}
	done := map[string]int{}
	for _, c := range cases {
		done[c.what]++
	}
	var g errgroup.Group
	work := make(chan tampering)
	for n := range 4 {
		g.Go(func() error {
			own := s.as(p.t, fmt.Sprintf("%s-%d", s.dir, n))
			for c := range work {
				own.write(p.t, "expunge.db", string(store))
				own.write(p.t, "outside", string(outside))
				own.exec(p.t, `PRAGMA ignore_check_constraints = ON; DROP TRIGGER events_stay; DROP TRIGGER events_go; DROP TRIGGER tasks_move; `+c.sql)
				if r := own.run(p.t, "log", "check", "outside"); r.code != 3 || !strings.Contains(r.stdout, "FAIL  "+c.named) {
					p.t.Errorf("%s (%s): exit %d, and %q is not named:\n%.600s%.300s", c.what, c.sql, r.code, c.named, r.stdout, r.stderr)
				}
			}
			return nil
		})
	}
	for _, c := range cases {
		work <- c
	}
	close(work)
	_ = g.Wait()
	fmt.Printf("tampered: %d changes of the store, all named by log check against the heads outside:", len(cases))
	for _, what := range slices.Sorted(maps.Keys(done)) {
		fmt.Printf(" %s %d;", what, done[what])
	}
	fmt.Println()
}

// copied makes a second site from the files of this one.
func (p *proven) copied(name string) *site {
	p.t.Helper()
	s := p.as(p.t, filepath.Join(p.t.TempDir(), name))
	for _, end := range []string{"", "-wal"} {
		b, err := os.ReadFile(p.path("expunge.db" + end))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			p.t.Fatal(err)
		}
		s.write(p.t, "expunge.db"+end, string(b))
	}
	s.write(p.t, "kept.head", p.published())
	return s
}

// published is what is in the file with the heads.
func (p *proven) published() string {
	p.t.Helper()
	b, err := os.ReadFile(p.heads)
	if err != nil {
		p.t.Fatal(err)
	}
	return string(b)
}

// as makes a site in another folder, with the config and the key of this one, and with a file
// of heads of its own.
func (s *site) as(t *testing.T, dir string) *site {
	t.Helper()
	o := *s
	o.dir = dir
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"expunge.yaml", "expunge.key"} {
		b, err := os.ReadFile(s.path(name))
		if err != nil {
			t.Fatal(err)
		}
		o.write(t, name, regexp.MustCompile(`head_file: [^}]*`).ReplaceAllString(string(b), "head_file: kept.head"))
	}
	return &o
}

// at runs the program at a site.
func (p *proven) at(s *site, codes []int, args ...string) result {
	p.t.Helper()
	return s.mustRun(p.t, codes, args...)
}

// tamperings are all changes of the store that are tried.
func (s *site) tamperings(t *testing.T) (all []tampering) {
	t.Helper()
	db, err := sql.Open("sqlite3", "file:"+s.path("expunge.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	list := func(q string) (ns []int64) {
		query(t, db, q, func(scan func(...any) error) error {
			var n int64
			err := scan(&n)
			ns = append(ns, n)
			return err
		})
		return ns
	}
	try := func(what, named, sql string, args ...any) {
		all = append(all, tampering{what, fmt.Sprintf(sql, args...), named})
	}
	of := map[int64]bool{} // events of a task, in which more columns mean something
	for _, seq := range list(`SELECT seq FROM events WHERE task % 1000 <> 999`) {
		of[seq] = true
	}
	before := int64(0)
	for _, seq := range list(`SELECT seq FROM events ORDER BY seq`) {
		name := fmt.Sprintf("event %d:", seq)
		changes := []string{"at = at + 1", "event = CASE event WHEN 21 THEN 22 ELSE 21 END", `body = '{"note":"x"}'`}
		if seq > 1 {
			changes = append(changes, "prev = coalesce(prev - 1, 1)")
		}
		if of[seq] {
			changes = append(changes, "records = coalesce(records, 0) + 1", "records_after = coalesce(records_after, 0) + 1", "reason = coalesce(reason, '') || 'x'",
				"reference = 'another'", "evidence = coalesce(evidence, 0) % 3 + 1", "completed_at = coalesce(completed_at, 0) + 1")
		}
		for _, change := range changes {
			try("events edited", name, `UPDATE events SET %s WHERE seq = %d`, change, seq)
		}
		try("events dropped", name, `DELETE FROM events WHERE seq = %d`, seq)
		if before > 0 {
			try("events swapped", name, `UPDATE events SET seq = -1 WHERE seq = %[1]d; UPDATE events SET seq = %[1]d WHERE seq = %[2]d; UPDATE events SET seq = %[2]d WHERE seq = -1`, seq, before)
		}
		before = seq
	}
	size := list(`SELECT size FROM log`)[0]
	const full = 1024
	flip := func(id, at int64) string {
		return fmt.Sprintf(`UPDATE tiles SET hashes = CAST(substr(hashes, 1, %[2]d) || CASE substr(hashes, %[2]d + 1, 1) WHEN x'00' THEN x'01' ELSE x'00' END || substr(hashes, %[2]d + 2) AS BLOB) WHERE id = %[1]d`, id, at)
	}
	for i := range size {
		name := "head " // of a tile that is not full only heads tell
		if i < size/full*full {
			name = fmt.Sprintf("tile %d of level 0:", i/full)
		}
		try("hashes edited", name, "%s", flip(i/full, i%full*32+i%32))
	}
	for i := range size / full {
		try("hashes edited", fmt.Sprintf("tile %d of level 0: it is not what", i), "%s", flip(1<<40, i*32+i%32))
	}
	for _, id := range list(`SELECT id FROM tiles`) {
		name := fmt.Sprintf("tile %d of level %d: it has", id%(1<<40), id>>40)
		try("tiles dropped", name, `DELETE FROM tiles WHERE id = %d`, id)
		try("tiles cut", name, `UPDATE tiles SET hashes = substr(hashes, 33) WHERE id = %d`, id)
		try("tiles put in", fmt.Sprintf("level %d has 1 tiles more", id>>40), `INSERT INTO tiles VALUES (%d, zeroblob(32))`, id|0xfffff)
		if id > 0 {
			try("tiles swapped", "tile ", `UPDATE tiles SET id = -1 WHERE id = 0; UPDATE tiles SET id = 0 WHERE id = %[1]d; UPDATE tiles SET id = %[1]d WHERE id = -1`, id)
		}
	}
	outside, err := os.ReadFile(s.path("kept.head"))
	if err != nil {
		t.Fatal(err)
	}
	kept, _ := ledger.SplitHeads(outside)
	for _, h := range kept {
		name := fmt.Sprintf("head %d:", h.Size)
		try("heads edited", name, `UPDATE heads SET note = CAST(replace(CAST(note AS TEXT), 'time 20', 'time 19') AS BLOB) WHERE size = %d`, h.Size)
		try("heads dropped", name, `DELETE FROM heads WHERE size = %d`, h.Size)
		if h != kept[0] {
			try("heads swapped", name, `UPDATE heads SET size = -1 WHERE size = %[1]d; UPDATE heads SET size = %[1]d WHERE size = %[2]d; UPDATE heads SET size = %[2]d WHERE size = -1`, h.Size, kept[0].Size)
		}
	}
	waiting := list(`SELECT id FROM tasks WHERE state = 3`)
	for _, task := range list(`SELECT id FROM tasks WHERE state IN (3, 6)`) {
		for _, change := range []string{"records = coalesce(records, 0) + 1", "reference = 'another'", "reason = 'x'", "evidence = coalesce(evidence, 0) % 3 + 1", "state = 7"} {
			if change == "reason = 'x'" && slices.Contains(waiting, task) {
				continue // why one still waits is not told
			}
			if strings.HasPrefix(change, "re") || !slices.Contains(waiting, task) || change == "state = 7" {
				try("tasks edited", fmt.Sprintf("task %d:", task), `UPDATE tasks SET %s WHERE id = %d`, change, task)
			}
		}
	}
	try("all made anew with the key", "outside: ", `UPDATE events SET at = at + 1 WHERE seq = 1; DELETE FROM tiles; DELETE FROM heads; UPDATE log SET size = 0`)
	return all
}

// agree makes certificates of random people as of random heads, and compares what three
// verifiers say of each and of one that was changed: the program, the script, and the
// libraries of transparency-dev with the path computed here.
func (p *proven) agree() {
	want := 8
	if *flagWhole {
		want = 1000
	}
	r := rand.New(rand.NewPCG(*flagSeed, 0xa9ee))
	kept, _ := ledger.SplitHeads([]byte(p.published()))
	dir := p.t.TempDir()
	var headFiles []string
	for i, h := range kept {
		headFiles = append(headFiles, filepath.Join(dir, fmt.Sprint(i, ".head")))
		if err := os.WriteFile(headFiles[i], h.Note, 0o600); err != nil {
			p.t.Fatal(err)
		}
	}
	var mu sync.Mutex
	var files [][]byte
	seen := map[string]bool{}
	codes := map[int]int{}
	changed := 0
	judge := func(file []byte, path string) (codes [3]int, err error) {
		if err := os.WriteFile(path, file, 0o600); err != nil {
			return codes, err
		}
		codes[0] = p.run(p.t, "verify", path, "--key", p.key).code
		cmd := exec.Command("python3", "../../testdata/verify.py", path, p.key)
		if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
			return codes, err
		}
		codes[1] = cmd.ProcessState.ExitCode()
		if codes[2] = codes[0]; !p.libraries(file) {
			codes[2] = 65
		}
		return codes, os.Remove(path)
	}
	var g errgroup.Group
	g.SetLimit(3)
	for n, tries := 0, 0; n < want && tries < 50*want; tries++ {
		ticket, head, only := p.ticket(r.IntN(len(p.people))), r.IntN(len(kept)), r.IntN(2) == 0
		args := []string{"certificate", ticket, "--head", headFiles[head]}
		if only {
			args = append(args, "--ticket-only")
		}
		if seen[fmt.Sprint(args)] {
			continue
		}
		seen[fmt.Sprint(args)] = true
		n++
		at, how := r.Float64(), r.IntN(4)
		g.Go(func() error {
			made := p.run(p.t, args...)
			if made.code != 0 {
				if strings.Contains(made.stderr, "not under a head yet") {
					return nil // came later
				}
				return fmt.Errorf("%v: %s", args, made.stderr)
			}
			file := []byte(made.stdout)
			path := filepath.Join(dir, fmt.Sprint(n))
			got, err := judge(file, path)
			if err != nil {
				return err
			}
			if got[0] != got[1] || got[0] != got[2] || got[0] != 0 && got[0] != 3 {
				return fmt.Errorf("%v: verify %d, verify.py %d, formats/proof %d", args, got[0], got[1], got[2])
			}
			mu.Lock()
			files = append(files, file)
			other := files[int(at*float64(len(files)))]
			codes[got[0]]++
			mu.Unlock()
			bad := forge(file, other, at, how)
			if bytes.Equal(bad, file) {
				return nil
			}
			if got, err = judge(bad, path); err != nil {
				return err
			}
			// That the events of one person are complete, the libraries cannot know.
			if got[0] != 65 || got[1] != 65 {
				return fmt.Errorf("%v, changed (%d, %f): verify %d, verify.py %d", args, how, at, got[0], got[1])
			}
			mu.Lock()
			changed++
			mu.Unlock()
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		p.t.Error(err)
	}
	if codes[0] == 0 || codes[3] == 0 {
		p.t.Errorf("%v: not all kinds of certificates were put to the test", codes)
	}
	fmt.Printf("agreement: %d random certificates (%d done, %d open) as of %d heads: verify, verify.py and formats/proof agree on all; %d changed ones, refused by verify and verify.py\n",
		codes[0]+codes[3], codes[0], codes[3], len(kept), changed)
}

// forge changes a certificate, with the help of another.
func forge(file, other []byte, at float64, how int) []byte {
	bad := bytes.Clone(file)
	var c, o ledger.Certificate
	if json.Unmarshal(file, &c) != nil || json.Unmarshal(other, &o) != nil {
		return bad
	}
	one := int(at * float64(len(c.Proofs)))
	switch how {
	case 0: // one bit
		bad[int(at*float64(bytes.LastIndexByte(bad, '"')))] ^= 4
	case 1: // an event is left out
		c.Proofs = slices.Delete(c.Proofs, one, one+1)
		bad = c.Render(nil)
	case 2: // somebody else's event is put in
		c.Proofs[one] = o.Proofs[int(at*float64(len(o.Proofs)))]
		bad = c.Render(nil)
	case 3: // another's seal
		c.Seal = o.Seal
		bad = c.Render(nil)
	}
	return bad
}

// libraries reports whether the proofs of a certificate are good to the libraries of
// transparency-dev and to the path's computation of RFC 9162, 2.1.3.2, which is written here.
func (p *proven) libraries(file []byte) bool {
	var c ledger.Certificate
	if json.Unmarshal(file, &c) != nil {
		return false
	}
	v, err := note.NewVerifier(p.key)
	if err != nil {
		return false
	}
	for _, text := range c.Proofs {
		var one proof.TLogProof
		if one.Unmarshal([]byte(text)) != nil {
			return false
		}
		origin, _, _ := strings.Cut(string(one.Checkpoint), "\n")
		head, _, _, err := fmtlog.ParseCheckpoint(one.Checkpoint, origin, v)
		if err != nil {
			return false
		}
		sum := sha256.Sum256(append([]byte{0}, one.ExtraData...))
		fn, sn := one.Index, head.Size-1
		for _, h := range one.Hashes {
			if sn == 0 {
				return false
			}
			if fn&1 == 1 || fn == sn {
				sum = sha256.Sum256(slices.Concat([]byte{1}, h[:], sum[:]))
				for fn&1 == 0 && fn != 0 {
					fn, sn = fn>>1, sn>>1
				}
			} else {
				sum = sha256.Sum256(slices.Concat([]byte{1}, sum[:], h[:]))
			}
			fn, sn = fn>>1, sn>>1
		}
		if sn != 0 || one.Index >= head.Size || !bytes.Equal(sum[:], head.Hash) {
			return false
		}
	}
	return true
}

// putBack puts stores in the place of others: each that does not have all that was published
// sends nothing, to nobody. The simulator's ledger tells.
func (p *proven) putBack() {
	steps := 2
	if *flagWhole {
		steps = 8
	}
	s := p.copied("company")
	fork := p.copied("fork")
	type kept struct {
		what  string
		files map[string]string
	}
	take := func(what string, of *site) kept {
		k := kept{what: what, files: map[string]string{}}
		for _, end := range []string{"", "-wal"} {
			if b, err := os.ReadFile(of.path("expunge.db" + end)); err == nil {
				k.files[end] = string(b)
			}
		}
		return k
	}
	work := func(of *site, name string, i int) {
		of.write(p.t, "more.csv", fmt.Sprintf("subject_id,account_number,email\nREQ-%s-%d,934|9|%d|0,new%d@example.net\n", name, i, i, i))
		p.at(of, []int{0, 3, 4}, "run", "more.csv")
	}
	var stores []kept
	for i := range steps {
		stores = append(stores, take("rollback", s))
		if i%2 == 1 { // a replica that is behind, taken while a run writes
			run := s.start(p.t, "run", "--for", "1s")
			stores = append(stores, take("replica", s))
			run.wait(p.t)
		}
		work(s, "more", i)
		work(fork, "fork", i)
		stores = append(stores, take("fork", fork))
	}
	good := take("good", s)
	put := func(of *site, k kept) {
		for _, end := range []string{"", "-wal", "-shm"} {
			if err := os.Remove(of.path("expunge.db" + end)); err != nil && !errors.Is(err, fs.ErrNotExist) {
				p.t.Fatal(err)
			}
			if text, ok := k.files[end]; ok {
				of.write(p.t, "expunge.db"+end, text)
			}
		}
	}
	// A second copy works beside the first, with the same file of heads.
	second := s.as(p.t, s.dir+"-second")
	put(second, good)
	config, err := os.ReadFile(s.path("expunge.yaml"))
	if err != nil {
		p.t.Fatal(err)
	}
	second.write(p.t, "expunge.yaml", strings.ReplaceAll(string(config), "head_file: kept.head", "head_file: "+s.path("kept.head")))
	work(second, "second", 0)
	stores = append(stores, kept{what: "second copy", files: good.files})
	published, err := os.ReadFile(s.path("kept.head"))
	if err != nil {
		p.t.Fatal(err)
	}
	refused, before := map[string]int{}, int64(len(p.sim.Ledger(0)))
	for i, k := range stores {
		for _, args := range [][]string{{"run"}, {"run", "more.csv"}, {"run", "--dry-run"}} {
			put(s, k)
			s.write(p.t, "more.csv", fmt.Sprintf("subject_id,account_number,email\nREQ-lost-%d,934|7|%d|0,lost%d@example.net\n", i, i, i))
			r := s.run(p.t, args...)
			if r.code != 2 || !strings.Contains(r.stderr, "this store is ") {
				p.t.Errorf("%s %d, %v: exit %d: %s", k.what, i, args, r.code, r.stderr)
			}
			refused[k.what]++
			if now, err := os.ReadFile(s.path("kept.head")); err != nil || !bytes.Equal(now, published) {
				p.t.Errorf("%s %d, %v: a head was published: %v", k.what, i, args, err)
			}
		}
	}
	sent := p.sim.Ledger(before)
	for _, e := range sent {
		p.t.Errorf("sent: %s %s", e.Kind, e.Op)
	}
	// One that is restarted goes on, and its log is sound.
	put(s, stores[0])
	p.at(s, []int{0}, "log", "restart", "--reason", "put back")
	work(s, "again", 0)
	if len(p.sim.Ledger(before)) == 0 {
		p.t.Error("after the restart nothing is sent either: nothing was put to the test")
	}
	p.at(s, []int{0}, "log", "check")
	fmt.Printf("put back: %v commands refused, %d requests sent\n", refused, len(sent))
}

// outlives changes keys and purges: certificates that were made before stay valid, others of
// those who are left can be made.
func (p *proven) outlives() {
	early := p.published()
	held := filepath.Join(p.t.TempDir(), "held.head")
	if err := os.WriteFile(held, []byte(early), 0o600); err != nil {
		p.t.Fatal(err)
	}
	was := map[string]int{}
	path := filepath.Join(p.t.TempDir(), "certificate.json")
	check := func(when string) {
		for ticket, file := range p.certs {
			if err := os.WriteFile(path, file, 0o600); err != nil {
				p.t.Fatal(err)
			}
			for _, by := range [][]string{{"--key", p.key}, {"--head", held}} {
				code := p.run(p.t, append([]string{"verify", path}, by...)...).code
				if when == "before" {
					was[ticket+by[0]] = code
				}
				if code != was[ticket+by[0]] || code != 0 && code != 3 {
					p.t.Errorf("%s, the certificate of %s by %s: exit %d, before %d", when, ticket, by[0], code, was[ticket+by[0]])
				}
			}
		}
	}
	check("before")
	checked := 0
	for _, then := range []struct {
		when string
		args []string
	}{
		{"after key rotate", []string{"key", "rotate"}},
		{"after log key rotate", []string{"log", "key", "rotate"}},
		{"after a purge", []string{"purge", "--before", "2199-01-01", "--yes", "--failed"}},
	} {
		p.mustRun(p.t, []int{0}, then.args...)
		check(then.when)
		checked += len(was)
	}
	key := strings.TrimSpace(p.mustRun(p.t, []int{0}, "log", "key").stdout)
	if key == p.key {
		p.t.Error("the log's key is still the same")
	}
	gone, neighbours := 0, 0
	for i := range p.people {
		r := p.run(p.t, "certificate", p.ticket(i))
		switch {
		case r.code == 2 && strings.Contains(r.stderr, "was purged"):
			gone++
		case r.code != 0:
			p.t.Errorf("%s after the purge: %s", p.ticket(i), r.stderr)
		default:
			neighbours++
			if code := p.verified([]byte(r.stdout), key); code != 3 {
				p.t.Errorf("%s after the purge, verified: exit %d", p.ticket(i), code)
			}
		}
	}
	if gone == 0 || neighbours == 0 {
		p.t.Errorf("%d purged, %d left: nothing was put to the test", gone, neighbours)
	}
	p.mustRun(p.t, []int{0}, "log", "check", held)
	fmt.Printf("outlived: %d certificates from before, each by key and by head, after two changes of keys and a purge: %d checks, all as before; %d people purged, %d certificates of others made afterwards\n",
		len(p.certs), checked, gone, neighbours)
}
