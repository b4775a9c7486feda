package campaign

import (
	"bytes"
	"encoding/csv"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"filippo.io/age"

	"expunge/vendors/sim"
	"expunge/vendors/sim/audit"
)

const (
	shortKills    = 12
	killsPerRound = 25
)

// TestCrash kills the program at random instants, restarts it until it is done, and then
// compares store and report with what really happened at the vendors. It would fail if an
// intent were not on disk before its call, a reference not before its use, if a task could
// be left where no run takes it up, or if a request that harms by its repetition were
// repeated.
func TestCrash(t *testing.T) {
	want, perRound := *flagKills, killsPerRound
	if want <= 0 {
		want, perRound = shortKills, shortKills/3
	}
	c := &campaign{rng: rand.New(rand.NewPCG(*flagSeed, 0xdead)), where: map[string]int{}, told: map[string]int{}}
	build(t)
	for n := 0; c.kills < want && !t.Failed(); n++ {
		c.round(t, n, min(perRound, want-c.kills))
	}
	var where []string
	for _, k := range slices.Sorted(maps.Keys(c.where)) {
		where = append(where, fmt.Sprintf("%d %s", c.where[k], k))
	}
	fmt.Printf("%d rounds, seed %d, %d effects at the vendors, %d removal jobs made again, %d requests held as uncertain; kills found: %s\n",
		c.rounds, *flagSeed, c.effects, c.again, c.uncertain, strings.Join(where, ", "))
	var told []string
	for _, kind := range slices.Sorted(maps.Keys(c.told)) {
		told = append(told, fmt.Sprintf("%d %s", c.told[kind], kind))
	}
	fmt.Printf("%d events replayed, %d differences (%s; %d rows of followers)\n", c.events, c.untold, strings.Join(told, ", "), c.followers)
	for _, kind := range []string{"received", "submitted", "erased", "not_found", "exported", "extended", "answered", "purge"} {
		if c.told[kind] == 0 && !t.Failed() {
			t.Errorf("no event of kind %s was put to the test", kind)
		}
	}
	fmt.Printf("%d kills, %d lost, %d stuck, %d harmful repeats, %d report mismatches\n", c.kills, c.lost, c.stuck, c.harm, c.mismatch)
	if c.lost+c.stuck+c.harm+c.mismatch+c.untold > 0 {
		t.Fail()
	}
}

// campaign is what the rounds add up to.
type campaign struct {
	rng                         *rand.Rand
	rounds, kills               int
	lost, stuck, harm, mismatch int
	effects, again, uncertain   int
	events, untold, followers   int
	told                        map[string]int // events by kind, those of each look
	where                       map[string]int // what state a kill found the program in
}

// round is one store from nothing to a finished report.
type round struct {
	*campaign
	*site
	t         *testing.T
	n         int
	seed      uint64
	big       bool     // an input whose intake and report take long enough to be hit
	recipes   []string // the vendors, where recipes describe them
	sim       *vendorsim
	budget    int
	committed map[string]map[string]bool // references seen in the store after a kill
	inputs    []input
}

// input is one file, and what must become of its rows.
type input struct {
	name                                string
	rows, invalid, duplicates, subjects int
}

func (c *campaign) round(t *testing.T, n, budget int) {
	r := &round{campaign: c, t: t, n: n, seed: c.rng.Uint64(), big: n%4 == 1, budget: budget, committed: map[string]map[string]bool{}}
	c.rounds++
	export, manual := n%2 == 0, *flagKills > 0 && n%4 == 2
	people, more, pace := 40+c.rng.IntN(30), 4, 1
	if *flagKills <= 0 {
		people, pace = 10, 4 // less work, done faster
	}
	global, voyado := []string{"linger: 20s"}, []string{fmt.Sprintf("rate: %d/s", 40*pace), "concurrency: 3", "timeout: 5s", "retry_base: 20ms", "retry_cap: 100ms",
		"archive_after: 400ms", "poll_every: 150ms"}
	if export {
		officer, err := age.GenerateX25519Identity()
		if err != nil {
			t.Fatal(err)
		}
		voyado = append(voyado, "export: true", "export_recipients: "+officer.Recipient().String())
	}
	if manual {
		global = append(global, "approval: manual")
	}
	set := settings{global: global, vendors: map[string][]string{
		sim.CustomerGauge: {fmt.Sprintf("rate: %d/s", 80*pace), "burst: 4", "concurrency: 6", "timeout: 5s", "retry_base: 20ms", "retry_cap: 100ms"},
		sim.Voyado:        voyado,
		sim.Acqueon:       {fmt.Sprintf("rate: %d/s", 12*pace), "timeout: 5s", "retry_base: 20ms", "retry_cap: 100ms"},
	}}
	if n%4 == 3 || *flagKills <= 0 && n == 2 {
		r.recipes, people = shipped(), max(people/3, 8)
		set.only, set.vendors = r.recipes, map[string][]string{}
		for _, name := range r.recipes {
			set.vendors[name] = []string{fmt.Sprintf("rate: %d/s", 40*pace), "timeout: 5s", "retry_base: 20ms", "retry_cap: 100ms"}
		}
	}
	// Three rounds of four have a control record at every vendor that can be asked by email.
	controls := n%4 != 1
	if controls {
		for name, lines := range set.vendors {
			if byEmail(name) {
				set.vendors[name] = append(lines, "control: {email: "+sim.ControlEmail+"}")
			}
		}
	}
	r.sim = startSim(t, append(r.simulator(people+more, controls), "--control")...)
	r.site = newSite(t, r.sim.url, set)
	r.inputs = append(r.inputs, r.makeInput(people))
	first := "subjects.csv"

	// Of the round's kills some are aimed: at the intake of a big file, at the writing of
	// the report, at what people decide, at the confirmations, at a second file. The rest is anywhere.
	aimed := max(1, budget/8)
	intake := 0
	if r.big {
		aimed, intake = max(1, budget/5), max(1, budget/4)
	}
	later := 2*aimed + 1
	if *flagKills > 0 {
		later += 4
	}
	if manual {
		later += aimed
	}
	r.killInIntake(intake, "run", first)
	r.killWithin(max(1, r.budget-later-intake), 0, 750*time.Millisecond/time.Duration(pace), "run", first)
	r.finish("run", first)
	if manual {
		r.decide(aimed, first)
	}
	r.killInReport(aimed, "run")
	r.inputs = append(r.inputs, r.makeSecondInput(people, more))
	r.killInIntake(intake, "run", "second.csv")
	r.killWithin(aimed, 0, 400*time.Millisecond/time.Duration(pace), "run", "second.csv")
	r.finish("run", "second.csv")
	if manual {
		r.decide(1, "second.csv")
	}
	r.tell(people)
	r.write(t, "confirmations.csv", r.confirmations())
	r.killWithin(r.budget, 0, 120*time.Millisecond, "confirm", "confirmations.csv")
	// 3: a ticket whose reference was never received cannot be told by it.
	r.mustRun(t, []int{0, 3}, "confirm", "confirmations.csv")
	r.mustRun(t, []int{0, 3, 4}, "run")
	if !t.Failed() {
		r.judge()
	}
	r.budget = 1
	r.killWithin(1, 0, 60*time.Millisecond, "purge", "--before", "2199-01-01", "--yes", "--failed")
	r.mustRun(t, []int{0}, "purge", "--before", "2199-01-01", "--yes", "--failed")
	r.replayed(r.look(t))
}

// decide approves what is held, under kills, and goes on with it.
func (r *round) decide(kills int, input string) {
	r.killWithin(kills, 0, 60*time.Millisecond, "review", "approve", "--vendor", sim.CustomerGauge, "--reason", "approval_required", "--by", "kim", "--note", "seen")
	for range 3 { // a page of decisions at a time
		for _, vendor := range []string{sim.CustomerGauge, sim.Voyado, sim.Acqueon} {
			r.mustRun(r.t, []int{0}, "review", "approve", "--vendor", vendor, "--reason", "approval_required", "--by", "kim", "--note", "seen")
		}
		r.finish("run", input)
	}
}

// tell extends two requests and records that they were answered, under kills.
func (r *round) tell(people int) {
	told := "subject_id,answered_at,channel\n"
	until := time.Now().AddDate(0, 2, 0).Format(time.DateOnly)
	for i := range 2 {
		id := sim.PersonAt(r.seed, people+i).SubjectID // of the second file
		args := []string{"extend", id, "--until", until, "--reason", "many requests", "--by", "kim"}
		r.killWithin(1, 0, 40*time.Millisecond, args...)
		r.mustRun(r.t, []int{0, 2}, args...) // 2: it was recorded before the kill
		told += id + "," + time.Now().UTC().Format(time.DateOnly) + ",letter\n"
	}
	r.write(r.t, "told.csv", told)
	r.killWithin(1, 0, 40*time.Millisecond, "answered", "told.csv")
	r.mustRun(r.t, []int{0}, "answered", "told.csv")
}

// replayed counts what a look says of the events.
func (r *round) replayed(snap snapshot) {
	r.events += snap.events
	r.untold += len(snap.untold)
	for kind, n := range snap.told {
		r.told[kind] += n
	}
	for _, k := range snap.tasks {
		if k.follow {
			r.followers++
		}
	}
}

// confirmations are what people write once they have done by hand what they were asked to.
func (r *round) confirmations() string {
	if r.recipes == nil {
		r.sim.post(r.t, "/_sim/acqueon/complete", "")
		return r.sim.get(r.t, "/_sim/acqueon/confirmations.csv?vendor=acqueon")
	}
	return r.site.confirmations(r.t)
}

// simulator chooses how the vendors behave in this round.
func (r *round) simulator(people int, controls bool) []string {
	one := func(of ...string) string { return of[r.rng.IntN(len(of))] }
	none := []string{"total0", "missing"}
	if controls { // where there is none, nobody knows what a 404 means
		none = append(none, "404")
	}
	args := []string{"--generate", fmt.Sprint(people), "--seed", fmt.Sprint(r.seed), "--fault-seed", fmt.Sprint(r.rng.Uint64()),
		"--day", "300ms", "--archive-days", "1", "--token-ttl", one("2s", "1h"),
		"--cg-no-match", one(none...), "--cg-error-status", one("400", "200")}
	lost := "0.05"
	if *flagKills <= 0 {
		lost = "0.15" // few people: more of the answers that matter most
	}
	for _, f := range []string{
		"acqueon:lost=" + lost,
		"all:latency=" + one("1ms", "5ms", "20ms"),
		"all:lost=0.02", "all:cut=0.02", "all:garbage=0.01", "all:truncated=0.01", "all:5xx=0.02", "all:429=0.002",
		"customergauge:token_expiry=0.02", "voyado.job-status:wrong_jid=0.01",
		"voyado.create-removal:job_error=0.03,job_lost=0.03,job_paused=0.03",
		"rest.erase:job_error=0.03,job_lost=0.03,job_paused=0.03", "rest.job-status:wrong_jid=0.03",
	} {
		args = append(args, "--fault", f)
	}
	dir := r.t.TempDir()
	for _, name := range r.recipes {
		file := filepath.Join(dir, name+".yaml")
		if err := os.WriteFile(file, []byte(recipeText(r.t, name)), 0o600); err != nil {
			r.t.Fatal(err)
		}
		args = append(args, "--recipe", file)
	}
	return args
}

var inputHeader = []string{"subject_id", "email", "other_email", "telephone", "customer_key", "account_number",
	"call_id", "agent_id", "customer_name", "vendors"}

func personRow(p sim.Person) []string {
	return []string{p.SubjectID, p.Email, p.OtherEmail, p.Telephone, strings.Join(p.CustomerKeys, ";"), p.AccountNumber,
		p.CallID, p.AgentID, p.Name, ""}
}

// makeInput writes a file of people whom the simulator knows, some of them behind one
// telephone, with rows among them that are wrong in every way.
func (r *round) makeInput(people int) input {
	in := input{name: "subjects.csv"}
	var rows [][]string
	good := func(row []string) { rows = append(rows, row); in.subjects++ }
	bad := func(row []string) { rows = append(rows, row); in.invalid++ }
	for i := range people {
		row := personRow(sim.PersonAt(r.seed, i))
		good(row)
		switch r.rng.IntN(12) {
		case 0: // the same request once more
			bad(row)
		case 1: // the same number for somebody else
			other := slices.Clone(row)
			other[1] = fmt.Sprintf("somebody-%d@example.org", i)
			bad(other)
		case 2:
			other := slices.Clone(row)
			other[0], other[1] = fmt.Sprintf("BAD-%d", i), "no address"
			bad(other)
		case 3:
			other := slices.Clone(row)
			other[0] = ""
			bad(other)
		case 4:
			bad(row[:4])
		case 5: // the same person asks twice: asked of the vendors once
			other := slices.Clone(row)
			other[0] = fmt.Sprintf("AGAIN-%d", i)
			good(other)
		}
	}
	for i := range r.padding() {
		good(r.paddingRow("PAD", i))
	}
	in.rows = len(rows)
	r.writeRows(in.name, rows)
	return in
}

// padding is how many rows a big input has besides: enough for its intake and its report to
// take a few tenths of a second. No vendor is called about them, or hardly: they have the
// email of one person.
func (r *round) padding() int {
	if r.big {
		return 25_000
	}
	return 0
}

func (r *round) paddingRow(prefix string, i int) []string {
	return []string{fmt.Sprintf("%s-%d", prefix, i), personRow(sim.PersonAt(r.seed, 0))[1], "", "", "", "", "", "", "", sim.CustomerGauge}
}

// makeSecondInput writes a later file: rows of the first one, one of them changed, and new
// ones.
func (r *round) makeSecondInput(people, more int) input {
	in := input{name: "second.csv", subjects: more + r.padding(), duplicates: 6, invalid: 1}
	var rows [][]string
	for i := range in.duplicates {
		rows = append(rows, personRow(sim.PersonAt(r.seed, i)))
	}
	changed := personRow(sim.PersonAt(r.seed, in.duplicates))
	changed[1] = "changed@example.net"
	rows = append(rows, changed)
	for i := range more {
		rows = append(rows, personRow(sim.PersonAt(r.seed, people+i)))
	}
	for i := range r.padding() {
		rows = append(rows, r.paddingRow("MORE", i))
	}
	in.rows = len(rows)
	r.writeRows(in.name, rows)
	return in
}

func (r *round) writeRows(name string, rows [][]string) {
	var b bytes.Buffer
	w := csv.NewWriter(&b)
	_ = w.Write(inputHeader) // a buffer takes everything
	_ = w.WriteAll(rows)
	r.write(r.t, name, b.String())
}

// killWithin starts the program n times and kills it at an instant between least and most.
// Three lives that ended by themselves mean that there is nothing left to interrupt.
func (r *round) killWithin(n int, least, most time.Duration, args ...string) {
	for missed := 0; n > 0 && r.budget > 0 && missed < 3 && !r.t.Failed(); {
		p := r.start(r.t, args...)
		timer := time.NewTimer(least + time.Duration(r.rng.Int64N(int64(most-least))))
		select {
		case <-timer.C:
		case <-p.ended:
			timer.Stop()
		}
		if !r.killed(p, args[0]) {
			missed++
			continue
		}
		n--
	}
}

// killInIntake kills the program while it takes in a file, as long as it has not. Every other
// time a run without the file follows: it must not work on what was never taken in.
func (r *round) killInIntake(n int, args ...string) {
	for ; n > 0 && !r.t.Failed() && len(r.look(r.t).batches) < len(r.inputs); n-- {
		r.killWithin(1, 25*time.Millisecond, 150*time.Millisecond, args...)
		before := r.look(r.t)
		if before.loading == 0 || n%2 == 0 || len(before.batches) > 0 {
			continue
		}
		r.mustRun(r.t, []int{0}, "run")
		if after := r.look(r.t); len(after.tasks) > 0 || r.sim.get(r.t, "/_sim/ledger") != "[]\n" {
			r.mismatch++
			r.t.Errorf("round %d: a run worked on a file that was not taken in", r.n)
		}
	}
}

// killInReport kills the program while it writes the report: when its file is begun, or a
// moment later.
func (r *round) killInReport(n int, args ...string) {
	for missed := 0; n > 0 && r.budget > 0 && missed < 10 && !r.t.Failed(); {
		p := r.start(r.t, args...)
		for seen := false; !seen; {
			select {
			case <-p.ended:
				seen = true
			default:
				seen = r.writesReport(p)
			}
		}
		if r.big {
			time.Sleep(time.Duration(r.rng.Int64N(int64(40 * time.Millisecond)))) // an instant within the writing
		}
		if !r.killed(p, args[0]) {
			missed++
			continue
		}
		n--
	}
}

// writesReport tells whether the program has a file open that has no name yet, or, where
// there are none such, has begun one under a hidden name.
func (r *round) writesReport(p *process) bool {
	fds := fmt.Sprintf("/proc/%d/fd", p.cmd.Process.Pid)
	list, _ := os.ReadDir(fds) // none when it has ended
	for _, e := range list {
		if to, err := os.Readlink(filepath.Join(fds, e.Name())); err == nil && strings.HasPrefix(to, r.path("#")) {
			return true
		}
	}
	list, err := os.ReadDir(r.dir)
	return err == nil && slices.ContainsFunc(list, func(e os.DirEntry) bool { return strings.HasPrefix(e.Name(), ".report.csv.") })
}

// killed kills, and looks at what is left. It reports whether there was something to kill.
func (r *round) killed(p *process, command string) bool {
	half := r.writesReport(p)
	if !p.kill() {
		// An extension that was recorded before is refused when it is asked for again, and one
		// of a request that is finished is refused at once.
		again := command == "extend" && p.result.code == 2 && (strings.Contains(p.result.stderr, "already") || strings.Contains(p.result.stderr, "nothing is open"))
		if !again && !slices.Contains([]int{0, 3, 4}, p.result.code) {
			r.t.Errorf("round %d: %s: exit %d\n%s", r.n, command, p.result.code, p.result.stderr)
		}
		return false
	}
	r.kills++
	r.budget--
	list, err := os.ReadDir(r.dir)
	if err != nil {
		r.t.Fatal(err)
	}
	for _, e := range list {
		// A report that was not finished is nobody's: what is judged later must be whole.
		if strings.HasPrefix(e.Name(), ".report.csv.") {
			if err := os.Remove(r.path(e.Name())); err != nil {
				r.t.Fatal(err)
			}
		}
	}
	snap := r.look(r.t)
	r.replayed(snap)
	switch {
	case half:
		r.where["while the report was written"]++
	case snap.loading > 0:
		r.where["in an intake"]++
	case command != "run":
		r.where["in "+command]++
	case len(snap.batches) == 0:
		r.where["before anything was taken in"]++
	case snap.states["submitting"] > 0:
		r.where["with a submission under way"]++
	default:
		r.where["with none"]++
	}
	for vendor, refs := range snap.refs {
		if r.committed[vendor] == nil {
			r.committed[vendor] = map[string]bool{}
		}
		maps.Copy(r.committed[vendor], refs)
	}
	return true
}

// finish runs the program until nothing is left but what waits for people.
func (r *round) finish(args ...string) {
	for range 10 {
		if r.t.Failed() {
			return
		}
		r.mustRun(r.t, []int{0, 3, 4}, args...)
		snap := r.look(r.t)
		if !slices.ContainsFunc(snap.tasks, func(k storedTask) bool { return !k.atRest() }) {
			return
		}
	}
}

// atRest says whether no run has anything to do for the task.
func (k *storedTask) atRest() bool {
	switch k.state {
	case "erased", "not_found", "failed", "held":
		return !k.scheduled
	case "waiting":
		return (k.kind == sim.Acqueon || slices.Contains(byPeople, k.vendor)) && !k.scheduled && k.reference != ""
	}
	return false
}

// judge compares the store and the report with the ledger.
func (r *round) judge() {
	t := r.t
	name := func() string { return fmt.Sprintf("round %d (people of seed %d)", r.n, r.seed) }
	facts, err := audit.Fetch(t.Context(), r.sim.client, r.sim.url)
	if err != nil {
		t.Fatal(err)
	}
	files, err := audit.Open(r.path("report.csv"), r.path("subjects.csv"), r.path("second.csv"))
	if err != nil {
		t.Fatal(err)
	}
	accounts := audit.DefaultVendors
	if r.recipes != nil {
		accounts = recipeAccounts(r.recipes)
	}
	vs, err := audit.ParseVendors(accounts)
	if err != nil {
		t.Fatal(err)
	}
	verdict := audit.Judge(facts, files, vs, false)
	r.effects += verdict.Effects
	r.again += verdict.HarmlessRepeats
	for _, p := range verdict.Problems {
		t.Errorf("%s: %s at %s: %s", name(), p.Subject, p.Vendor, p.What)
		switch {
		case strings.Contains(p.What, "lost: "):
			r.lost++
		case strings.Contains(p.What, "harm"):
			r.harm++
		default:
			r.mismatch++
		}
	}
	snap := r.look(t)
	r.replayed(snap)
	r.judgeReferences(snap, facts.Ledger, name())
	for _, k := range snap.tasks {
		if k.reason == "uncertain_submission" {
			r.uncertain++
		}
		if !k.atRest() {
			r.stuck++
			t.Errorf("%s: task %d at %s is %s %s (scheduled %v, follows another %v; %s, now %s)", name(), k.id, k.vendor, k.state, k.reason, k.scheduled, k.follow, k.next,
				time.Now().UTC().Format(time.DateTime))
		}
	}
	raised := map[string]int{}
	for _, e := range facts.Ledger {
		if e.Kind == sim.Acqueon && e.Effect {
			raised[e.AccountNumber]++
		}
	}
	for _, n := range raised {
		if n > 1 {
			r.harm++
			t.Errorf("%s: %d tickets for one account number", name(), n)
		}
	}
	r.judgeTotals(snap, name())
}

// judgeReferences: what was in the store once is in it now, and nothing else than what the
// vendors gave.
func (r *round) judgeReferences(snap snapshot, ledger []sim.Entry, name string) {
	given := map[string]map[string]bool{}
	for _, e := range ledger {
		vendor := e.Kind
		if vendor == sim.Rest {
			vendor = e.Account
		}
		if e.Reference != "" {
			if given[vendor] == nil {
				given[vendor] = map[string]bool{}
			}
			given[vendor][e.Reference] = true
		}
	}
	for vendor, refs := range r.committed {
		for ref := range refs {
			if !snap.refs[vendor][ref] {
				r.lost++
				r.t.Errorf("%s: reference %s of %s was in the store and is gone", name, ref, vendor)
			}
		}
	}
	for vendor, refs := range snap.refs {
		for ref := range refs {
			if !given[vendor][ref] && !slices.Contains(byPeople, vendor) {
				r.mismatch++
				r.t.Errorf("%s: reference %s in the store was never given by %s", name, ref, vendor)
			}
		}
	}
}

// judgeTotals: every row of the input is accounted for, in the batches and in the report.
func (r *round) judgeTotals(snap snapshot, name string) {
	wrong := func(format string, args ...any) {
		r.mismatch++
		r.t.Errorf(name+": "+format, args...)
	}
	if len(snap.batches) != len(r.inputs) || snap.loading != 0 {
		wrong("%d batches and %d unfinished ones, want %d", len(snap.batches), snap.loading, len(r.inputs))
		return
	}
	type total struct {
		subjects            map[string]bool
		invalid, duplicates int
	}
	totals := make([]total, len(r.inputs))
	states := map[string]int{}
	for _, row := range r.report(r.t, "report.csv") {
		var b int
		if _, err := fmt.Sscan(row["batch"], &b); err != nil || b < 1 || b > len(totals) {
			wrong("the report names batch %q", row["batch"])
			return
		}
		tot := &totals[b-1]
		switch row["state"] {
		case "invalid":
			tot.invalid++
		case "duplicate":
			tot.duplicates++
		default:
			if tot.subjects == nil {
				tot.subjects = map[string]bool{}
			}
			tot.subjects[row["line"]+" "+row["subject_id"]] = true
			states[row["state"]]++
		}
	}
	for i, in := range r.inputs {
		want := storedBatch{in.rows, in.subjects, in.invalid, in.duplicates}
		if snap.batches[i] != want {
			wrong("%s: the batch has %+v, the file %+v", in.name, snap.batches[i], want)
		}
		tot := totals[i]
		if got := (storedBatch{len(tot.subjects) + tot.invalid + tot.duplicates, len(tot.subjects), tot.invalid, tot.duplicates}); got != want {
			wrong("%s: the report has %+v, the file %+v", in.name, got, want)
		}
	}
	if !maps.Equal(states, snap.states) {
		wrong("the report's states are %v, the store's %v", states, snap.states)
	}
}

// TestKillAtBirth kills the program while it makes its store: the key, the file, the schema.
// Whatever is left, the next run goes on from there.
func TestKillAtBirth(t *testing.T) {
	t.Parallel()
	sm, url := simOf(t, 1)
	shared := newSite(t, url, settings{only: []string{sim.Acqueon}})
	shared.people(t, 1)
	began := time.Now()
	shared.mustRun(t, []int{0}, "run", "--dry-run", "subjects.csv")
	life := time.Since(began)
	killed := 0
	const lives = 50
	for i := range lives {
		s := newSite(t, url, settings{only: []string{sim.Acqueon}})
		s.people(t, 1)
		p := s.start(t, "run", "--dry-run", "subjects.csv")
		timer := time.NewTimer(life * time.Duration(i) / lives)
		select {
		case <-timer.C:
		case <-p.ended:
			timer.Stop()
		}
		if p.kill() {
			killed++
		}
		s.mustRun(t, []int{0}, "run", "--dry-run", "subjects.csv")
	}
	if killed < lives/10 {
		t.Errorf("only %d of %d were killed", killed, lives)
	}
	if n := len(sm.Ledger(0)); n > 0 {
		t.Errorf("%d requests in dry runs", n)
	}
}

// TestKillWhileWaitingItsTurn: a request that only waits for the rate limit has no intent on
// disk yet at a vendor where an uncertain one is a case for a person. Otherwise every kill
// would make one, for at a low rate a run mostly waits.
func TestKillWhileWaitingItsTurn(t *testing.T) {
	t.Parallel()
	sm, url := simOf(t, 3)
	s := newSite(t, url, settings{only: []string{sim.Acqueon}, vendors: map[string][]string{sim.Acqueon: {"rate: 1/m"}}})
	s.people(t, 3)
	for i := range 3 {
		p := s.start(t, "run", "subjects.csv")
		timer := time.NewTimer(time.Duration(200+100*i) * time.Millisecond) // any instant will do
		<-timer.C
		if !p.kill() {
			t.Fatalf("it ended too early: exit %d\n%s", p.result.code, p.result.stderr)
		}
		if got := s.look(t).states; got["submitting"] > 0 || got["held"] > 0 {
			t.Errorf("states %v after a kill in which nothing can have left", got)
		}
	}
	if got := s.look(t).states; got["pending"] == 0 {
		t.Errorf("states %v: it was killed before it had anything to do", got)
	}
	s.configure(t, settings{only: []string{sim.Acqueon}})
	s.mustRun(t, []int{0}, "run", "subjects.csv")
	s.agree(t, sm, "subjects.csv")
}
