package campaign

import (
	"bytes"
	"encoding/csv"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"filippo.io/age"

	"expunge/vendors/sim"
)

var flagLeaksFull = flag.Bool("leaks-full", false, "TestLeaks with more people and more kills")

// leaksPerson is somebody whose every value is a canary.
type leaksPerson struct {
	row      []string // in the order of leaksHeader
	canaries []string
	records  []sim.Record
	keys     []sim.VoyadoKey
}

var leaksHeader = []string{"subject_id", "email", "other_email", "telephone", "other_telephone", "customer_key",
	"account_number", "call_id", "agent_id", "customer_name", "comments", "favourite_colour"}

// leaksPeople makes people whose values nobody else could have come up with. Ticket numbers
// are shown by design and are no canaries.
func leaksPeople(n int, rng *rand.Rand) []leaksPerson {
	word := func() string { // no hexadecimal: it could stand in a digest by chance
		b := make([]byte, 11)
		for i := range b {
			b[i] = "ghjkmnpqrstvwxyz"[rng.IntN(16)]
		}
		return string(b)
	}
	number := func(i int) string { return fmt.Sprintf("%03d55501%02d", 200+i/100, i%100) } // documentation numbers
	var all []leaksPerson
	for i := range n {
		first, last := "Z"+word(), "Q"+word()
		domain, domain2 := word()+".example.com", word()+".example.org"
		email, other := first+"."+word()+"+"+word()+"@"+domain, word()+"@"+domain2
		d1, d2 := number(2*i), number(2*i+1)
		tel, tel2 := "+1-"+d1[:3]+"-"+d1[3:6]+"-"+d1[6:], "+1 ("+d2[:3]+") "+d2[3:6]+" "+d2[6:]
		key, key2 := "key/"+word()+"~"+word(), word()+word()
		account := "934|1|" + strconv.Itoa(100000000+rng.IntN(900000000)) + "|0|0|44|59"
		call, agent := "call "+word(), "agent-"+word()
		comment, colour := "please forget <"+word()+">", word()
		p := leaksPerson{
			row: []string{fmt.Sprintf("REQ-%05d", i), email, other, tel, tel2, key + ";" + key2, account, call, agent, first + " " + last, comment, colour},
			records: []sim.Record{{FirstName: first, LastName: last, Email: strings.ToUpper(email[:1]) + email[1:], Telephone: tel},
				{FirstName: first, LastName: last, Email: other}},
			keys: []sim.VoyadoKey{{Key: key, Events: 2}, {Key: key2, Events: 1}},
		}
		p.canaries = []string{email, other, tel, tel2, d1, d2, key, key2, account, call, agent, first, last, first + " " + last, comment, colour}
		for _, v := range []string{email, other} {
			local, dom, _ := strings.Cut(v, "@")
			p.canaries = append(p.canaries, local, strings.TrimSuffix(strings.TrimSuffix(dom, ".com"), ".org"))
		}
		if i%10 == 7 { // a row that is refused
			bad := word() + " at " + word()
			p.row[1] = bad
			p.canaries = append(p.canaries, bad)
		}
		all = append(all, p)
	}
	return all
}

// leaksHunt is a site that is searched, and what was found.
type leaksHunt struct {
	*site
	t      *testing.T
	index  *leaksIndex
	tmp    string
	places int
	found  map[string]bool
	own    map[string]bool // files of the user's
	seen   map[string]bool // files as they were when they were searched
}

func (h *leaksHunt) look(place string, data []byte) {
	h.places++
	for _, what := range h.index.find(data) {
		if text := place + ": " + what; !h.found[text] {
			h.found[text] = true
			h.t.Errorf("found in %s", text)
		}
	}
}

// files searches every file that there is now, and looks at modes.
func (h *leaksHunt) files(when string) {
	h.t.Helper()
	for _, root := range []string{h.dir, h.tmp} {
		err := filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
			if err != nil {
				if errors.Is(err, fs.ErrNotExist) { // it has just been removed
					return nil
				}
				return err
			}
			name, _ := filepath.Rel(root, path)
			if h.own[name] || e.IsDir() {
				return nil
			}
			st, err := e.Info()
			if err != nil {
				return nil // it has just been removed
			}
			open := fs.FileMode(0o077)
			if name == "metrics.prom" { // node_exporter reads it: counts only
				open = 0o033
			}
			if st.Mode().Perm()&open != 0 {
				h.t.Errorf("%s: %s has mode %04o", when, name, st.Mode().Perm())
			}
			if strings.Contains(name, "rejects.csv") { // the user's own rows
				return nil
			}
			state := fmt.Sprint(path, st.Size(), st.ModTime().UnixNano())
			if h.seen[state] { // as it was the last time
				return nil
			}
			data, err := os.ReadFile(path)
			if err != nil {
				return nil // it has just been removed
			}
			h.seen[state] = true
			h.look(name+" "+when, data)
			return nil
		})
		if err != nil {
			h.t.Fatal(err)
		}
	}
}

func (h *leaksHunt) streams(what string, r result) {
	h.look("standard output of "+what, []byte(r.stdout))
	h.look("standard error of "+what, []byte(r.stderr))
}

// process searches what everybody on the machine can see of a process.
func (h *leaksHunt) process(p *process) {
	for _, name := range []string{"environ", "cmdline"} {
		data, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", p.cmd.Process.Pid, name))
		if err != nil || len(data) == 0 {
			continue // it has ended, or this is no Linux
		}
		h.look("/proc/PID/"+name, data)
	}
}

// do runs a command to its end and searches what it leaves.
func (h *leaksHunt) do(codes []int, args ...string) result {
	h.t.Helper()
	r := h.mustRun(h.t, codes, args...)
	h.streams(strings.Join(args, " "), r)
	h.files("after " + args[0])
	return r
}

// fed runs a command with something on its standard input and searches what it leaves.
func (h *leaksHunt) fed(input string, args ...string) result {
	h.t.Helper()
	cmd := h.command(args...)
	var out, err bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(input), &out, &err
	_ = cmd.Run() // its exit code is not the point
	r := result{stdout: out.String(), stderr: err.String()}
	h.streams(strings.Join(args, " "), r)
	h.files("after " + args[0])
	return r
}

// kill runs a command, kills it after a while and searches what is left.
func (h *leaksHunt) kill(after time.Duration, args ...string) {
	h.t.Helper()
	p := h.start(h.t, args...)
	timer := time.NewTimer(after)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-p.ended:
	}
	h.process(p)
	p.kill()
	h.streams("a killed "+args[0], p.result)
	h.files("after a kill")
}

// TestLeaks runs the program with people whose every value is a canary, kills it, feeds it
// vendors that quote these values in their errors, and searches all that it wrote and
// printed for each of them, in clear and encoded (invariant 7).
func TestLeaks(t *testing.T) {
	people, kills := 10, 6
	if *flagLeaksFull {
		people, kills = 60, 48
	}
	old := syscall.Umask(0) // modes are what the program asks for
	defer syscall.Umask(old)
	rng := rand.New(rand.NewPCG(*flagSeed, 0x1ea4))
	seed := sim.DefaultSeed()
	var canaries []string
	var input bytes.Buffer
	w := csv.NewWriter(&input)
	rows := [][]string{leaksHeader}
	for _, p := range leaksPeople(people, rng) {
		rows = append(rows, p.row)
		canaries = append(canaries, p.canaries...)
		seed.CustomerGauge[0].Records = append(seed.CustomerGauge[0].Records, p.records...)
		seed.Voyado[0].Keys = append(seed.Voyado[0].Keys, p.keys...)
	}
	if err := w.WriteAll(rows); err != nil {
		t.Fatal(err)
	}
	s, url := serve(t, sim.Options{Seed: seed, RandSeed: *flagSeed, Day: 150 * time.Millisecond}, nil)
	who, err := age.GenerateX25519Identity() // opens the exports
	if err != nil {
		t.Fatal(err)
	}
	h := &leaksHunt{t: t, index: newLeaksIndex(canaries), tmp: t.TempDir(), found: map[string]bool{}, seen: map[string]bool{},
		own: map[string]bool{"subjects.csv": true, "expunge.yaml": true, "confirmations.csv": true, "told.csv": true}}
	h.site = newSite(t, url, settings{global: []string{"metrics: metrics.prom", "linger: 1s"}, vendors: map[string][]string{
		sim.CustomerGauge: append([]string{"telephone_forms: [as_given, e164, national, digits]"}, leaksPace(60)...),
		sim.Voyado:        append([]string{"archive_after: 50ms", "poll_every: 30ms", "export: true", "export_recipients: [" + who.Recipient().String() + "]"}, leaksPace(40)...),
		sim.Acqueon:       leaksPace(30),
	}})
	h.env = append(h.env, "TMPDIR="+h.tmp)
	h.write(t, "subjects.csv", input.String())
	h.selfCheck(canaries, input.Bytes())

	// Vendors that say too much, and a program that dies.
	if err := s.SetFaults("all:echo=0.25", "all:lost=0.02", "all:5xx=0.02", "all:garbage=0.02"); err != nil {
		t.Fatal(err)
	}
	h.do([]int{0, 3, 4}, "run", "--dry-run", "-v", "subjects.csv")
	for n := range kills {
		args := []string{"run", "-v", "--rejects", "rejects.csv", "subjects.csv"}
		if n%2 == 1 {
			args = append(args, "--log-format", "json")
		}
		h.kill(time.Duration(rng.IntN(700))*time.Millisecond, args...)
	}
	h.do([]int{0, 3, 4}, "run", "-v", "--rejects", "rejects.csv", "subjects.csv")
	h.terminal("run", "-v")
	h.do([]int{0, 3, 4}, "run", "-v", "--log-format", "json")
	if kept, _ := filepath.Glob(h.path("exports/*/*")); len(kept) == 0 {
		if kept, _ = filepath.Glob(h.path("exports/*")); len(kept) == 0 {
			t.Error("no export was kept: they were not put to the test")
		}
	}
	said := 0
	for _, row := range h.report(t, "report.csv") {
		if strings.Contains(row["message"], "the vendor says") {
			said++
		}
	}
	echoes, asked := 0, 0
	for _, e := range s.Ledger(0) {
		if e.Fault == sim.Echo {
			echoes++
		}
		if slices.Contains(canaries, e.Identifier()) {
			asked++
		}
	}
	if said == 0 || echoes == 0 || asked == 0 {
		t.Errorf("%d reported messages of vendors, %d quoting answers, %d requests about canaries: nothing was put to the test", said, echoes, asked)
	}

	// The rest of the life of a store.
	if err := s.SetFaults(); err != nil {
		t.Fatal(err)
	}
	usual := []int{0, 2, 3, 4}
	for _, args := range [][]string{
		{"status"}, {"status", "--json"}, {"check", "-v"}, {"review", "list"}, {"review", "list", "--json"},
		{"report"}, {"report", "--format", "json"}, {"report", "--format", "html"},
		{"report", "-o", "copy.csv"}, {"report", "--format", "json", "-o", "copy.json"}, {"report", "--format", "html", "-o", "copy.html"},
		{"extend", "REQ-00001", "--until", time.Now().AddDate(0, 2, 0).Format(time.DateOnly), "--reason", "slow, " + rows[2][1] + " was told"},
		{"run", "-v", "missing.csv"}, {"run", "--strict", "subjects.csv"}, {"run", "--metrics", "expunge.key"},
	} {
		h.do(usual, args...)
	}
	// What is told of people later, by ticket and by an identifier.
	ticket, email := rows[1][0], rows[1][1]
	h.write(t, "told.csv", fmt.Sprintf("subject_id,answered_at,channel\n%s,%s,letter\n%s,%s,%s\n%s,%s,letter\n", ticket, time.Now().Format(time.DateOnly),
		ticket, time.Now().Format(time.DateOnly), email, email, time.Now().Format(time.DateOnly)))
	for _, args := range [][]string{
		{"answered", "told.csv"}, {"history", ticket}, {"history", ticket, "--json"}, {"history", ticket, "--format", "html", "-o", "letter.html"}, {"history", email},
		{"report", "--format", "stats"}, {"report", "--format", "stats", "--by", "year", "--json", "-o", "stats.json"}, {"schema", "history"},
	} {
		h.do(usual, args...)
	}
	if !strings.Contains(h.fed(email+"\n", "history", "-").stdout, ticket) {
		t.Errorf("history does not find %s", ticket)
	}
	h.fed(email+"\n"+email+"\n", "history", "-")
	h.kill(150*time.Millisecond, "recheck", "-v", "subjects.csv", "-o", "recheck.csv")
	h.do(usual, "recheck", "-v", "subjects.csv", "-o", "recheck.csv", "--for", "5s")
	s.Complete("", "")
	h.write(t, "confirmations.csv", leaksConfirmations(s))
	h.do(usual, "confirm", "confirmations.csv")
	h.do(usual, "run", "-v")
	told := h.site.look(t).told // what the files were searched with
	for _, kind := range []string{"received", "submitted", "erased", "not_found", "exported", "extended", "answered", "batch", "run"} {
		if told[kind] == 0 {
			t.Errorf("no event of kind %s was put to the test: %v", kind, told)
		}
	}
	h.do([]int{0}, "key", "rotate")
	h.do([]int{0}, "purge", "--before", time.Now().AddDate(0, 0, 1).Format(time.DateOnly), "--yes", "--failed")
	h.do(usual, "run", "-v")
	if left, err := os.ReadDir(h.tmp); err != nil || len(left) > 0 {
		t.Errorf("left in TMPDIR: %v %v", left, err)
	}
	fmt.Printf("events: %v\n", told)
	fmt.Printf("%d kills, %d answers that quote a person, %d spellings\n", kills, echoes, h.index.needles)
	fmt.Printf("%d canaries x %d places: %d found\n", len(canaries), h.places, len(h.found))
}

func leaksPace(rate int) []string {
	return []string{fmt.Sprintf("rate: %d/s", rate), "concurrency: 4", "timeout: 20s", "retry_base: 10ms", "retry_cap: 50ms"}
}

// selfCheck plants every canary in every spelling, among noise, and wants it found; and it
// wants the input to hold what is searched for.
func (h *leaksHunt) selfCheck(canaries []string, input []byte) {
	h.t.Helper()
	x := &leaksHunt{t: h.t, index: h.index}
	missing := x.index.find(input)
	for _, c := range canaries {
		if digits := strings.Trim(c, "0123456789"); digits != "" && !slices.Contains(missing, c+" (raw)") && bytes.Contains(input, []byte(c)) {
			h.t.Errorf("%s stands in the input and is not found there", c)
		}
	}
	rng := rand.New(rand.NewPCG(1, 2))
	planted := 0
	for _, c := range canaries[:20] {
		for form, texts := range leaksForms(c) {
			for _, text := range texts {
				noise := make([]byte, 4096)
				for i := range noise {
					noise[i] = byte(rng.Uint32())
				}
				copy(noise[rng.IntN(len(noise)-len(text)):], text)
				planted++
				if found := x.index.find(noise); !slices.ContainsFunc(found, func(f string) bool { return strings.HasPrefix(f, c+" (") }) {
					h.t.Errorf("%s as %s is not found", c, form)
				}
			}
		}
	}
	path := filepath.Join(h.tmp, "planted")
	if err := os.WriteFile(path, []byte("x"+strings.ToUpper(canaries[0])+"x"), 0o600); err != nil {
		h.t.Fatal(err)
	}
	plant := &leaksHunt{site: h.site, t: new(testing.T), index: h.index, tmp: h.tmp, found: map[string]bool{}, seen: map[string]bool{}, own: h.own}
	plant.files("planted")
	if len(plant.found) == 0 {
		h.t.Error("a planted file is not found")
	}
	if err := os.Remove(path); err != nil {
		h.t.Fatal(err)
	}
	fmt.Printf("self-check: %d planted leaks found\n", planted+1)
}

// terminal runs a command whose standard error is a terminal, for what is drawn only there.
func (h *leaksHunt) terminal(args ...string) {
	h.t.Helper()
	master, slave, err := leaksTerminal()
	if err != nil {
		h.t.Logf("no terminal to be had: %v", err)
		return
	}
	defer master.Close()
	cmd := h.command(args...)
	cmd.Stdout, cmd.Stderr = slave, slave
	if err := cmd.Start(); err != nil {
		slave.Close()
		h.t.Fatal(err)
	}
	slave.Close()
	drawn := make(chan []byte)
	go func() {
		var b bytes.Buffer
		_, _ = b.ReadFrom(master) // ends with an error when the last of the other side is closed
		drawn <- b.Bytes()
	}()
	_ = cmd.Wait() // its exit code is not the point
	h.look("a terminal", <-drawn)
	h.files("after a run on a terminal")
}

func leaksConfirmations(s *sim.Sim) string {
	var b strings.Builder
	b.WriteString("vendor,reference,completed_at,note\n")
	for _, tickets := range s.Remaining().Acqueon {
		for _, k := range tickets {
			if k.CompletedAt != nil {
				fmt.Fprintf(&b, "acqueon,%s,%s,done by hand for %s\n", k.Reference, k.CompletedAt.Format(time.RFC3339), k.CustomerName)
			}
		}
	}
	return b.String()
}

// TestNothingReadable is the demo's input and a kill: not one identifier of
// testdata/subjects.csv can be read in what is left on disk, or in what was printed.
func TestNothingReadable(t *testing.T) {
	file, err := os.ReadFile("../../testdata/subjects.csv")
	if err != nil {
		t.Fatal(err)
	}
	people, err := os.Open("../../testdata/people.json")
	if err != nil {
		t.Fatal(err)
	}
	defer people.Close()
	seed, err := sim.ReadSeed(people)
	if err != nil {
		t.Fatal(err)
	}
	values := leaksValues(t, file)
	if len(values) < 100 {
		t.Fatalf("only %d identifiers in the input", len(values))
	}
	_, url := serve(t, sim.Options{Seed: seed, Day: 30 * time.Millisecond, Faults: []string{"all:echo=0.2"}}, nil)
	s := newSite(t, url, settings{global: []string{"metrics: metrics.prom", "linger: 1s"}, vendors: map[string][]string{
		sim.CustomerGauge: leaksPace(100), sim.Voyado: append([]string{"archive_after: 50ms", "poll_every: 30ms"}, leaksPace(60)...), sim.Acqueon: leaksPace(40)}})
	s.write(t, "subjects.csv", string(file))
	p := s.start(t, "run", "-v", "subjects.csv")
	eventually(t, "work", func() bool { return len(s.look(t).tasks) > 0 })
	time.Sleep(200 * time.Millisecond) // let it get into the middle of things
	p.kill()
	search := func(when string, printed ...string) {
		t.Helper()
		for i, text := range printed {
			leaksPlain(t, fmt.Sprintf("%s: stream %d", when, i+1), []byte(text), values)
		}
		entries, err := os.ReadDir(s.dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			if e.Name() == "subjects.csv" || e.Name() == "expunge.yaml" {
				continue
			}
			data, err := os.ReadFile(s.path(e.Name()))
			if err != nil {
				t.Fatal(err)
			}
			leaksPlain(t, when+": "+e.Name(), data, values)
		}
	}
	search("killed", p.result.stdout, p.result.stderr)
	r := s.mustRun(t, []int{0, 3, 4}, "run", "-v", "subjects.csv")
	search("finished", r.stdout, r.stderr)
	if len(s.report(t, "report.csv")) == 0 {
		t.Error("the report is empty")
	}
}

// leaksValues are the identifiers, names and comments of an input file.
func leaksValues(t *testing.T, file []byte) []string {
	t.Helper()
	c := csv.NewReader(bytes.NewReader(file))
	c.FieldsPerRecord = -1
	rows, err := c.ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	var values []string
	for _, row := range rows[1:] {
		for i, cell := range row {
			if name := rows[0][min(i, len(rows[0])-1)]; name == "subject_id" || name == "received_at" || name == "vendors" {
				continue
			}
			for v := range strings.SplitSeq(cell, ";") {
				if v = strings.TrimSpace(v); len(v) >= 6 {
					values = append(values, v)
				}
			}
		}
	}
	return values
}

func leaksPlain(t *testing.T, place string, data []byte, values []string) {
	t.Helper()
	for _, v := range values {
		if bytes.Contains(data, []byte(v)) {
			t.Errorf("%s holds %s", place, v)
		}
	}
}
