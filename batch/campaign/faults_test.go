package campaign

import (
	"cmp"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"filippo.io/age"

	"golang.org/x/sync/errgroup"

	"expunge/vendors/rest"
	"expunge/vendors/sim"
)

// The steps at which a call can fail.
const (
	stepToken   = "token"
	stepCheck   = "check" // a status asked for before the first write, to learn the vendor's clock
	stepPreview = "preview"
	stepWrite   = "submit"
	stepVerify  = "verify"
	stepPoll    = "poll"
	stepExport  = "export" // an export job is made
	stepFetch   = "fetch"  // its result is fetched
)

// The faults beyond those that the simulator makes by a name of its own.
const (
	faultWrongType  = "wrong type"          // the right answer under a wrong content type; once
	faultRedirect   = "redirect"            // 302; before the effect
	faultKillBefore = "killed, not applied" // kill -9 while the call is on its way
	faultKillAfter  = "killed, applied"     // kill -9 when the effect is there and the answer is not
)

// faultCase is one fault at one step, and what must come of it.
type faultCase struct {
	vendor, step, fault string

	times  int      // how often it happens; 0: once
	config []string // further lines of the vendor's config
	first  int      // exit code of the first run
	again  bool     // a second run is needed, which ends with 0

	state    string // at the end
	evidence string
	reason   string
	writes   int // requests that could change something
	effects  int // that did
	exports  int // exports in the vault; not 0: exports are required
}

func (c *faultCase) name() string {
	name := fmt.Sprintf("%-13s %-7s %s", c.vendor, c.step, c.fault)
	if c.times > 1 {
		name += fmt.Sprintf(" x%d", c.times)
	}
	if len(c.config) > 0 {
		name += " (" + strings.Join(c.config, ", ") + ")"
	}
	return name
}

// What is not the vendor's answer: a gateway's, that of an address which is not the API's, of
// a vendor that is busy, or nothing. None of them says anything of the person.
var (
	strange = []string{"404", "404_empty", "404_message", "404_route", "404_html", "405", "410", "415", "501", "400", "403", "403_html", "unavailable_400"}
	busy    = []string{"409", "423", "425"}
	pages   = []string{"maintenance", "unavailable"}
	empty   = []string{"empty_200", "empty_202", "empty_204"}
)

// faultCases is the table of what must happen. It follows VENDORS.md and the decision
// tables of package batch, and is written by hand: a change there must be a change here.
func faultCases() []faultCase {
	var all []faultCase
	add := func(c faultCase, faults ...string) {
		for _, f := range faults {
			c := c
			c.fault = f
			all = append(all, c)
		}
	}
	// What surely or possibly failed before it had an effect, and after.
	notApplied := []string{"cut", "500", "503", "408", faultRedirect}
	applied := []string{"lost", "garbage", "truncated"}
	harmless := []string{"429"}
	kills := []string{faultKillBefore, faultKillAfter}
	looks := slices.Concat(notApplied, applied, harmless, kills, []string{faultWrongType})
	cgStrange := append(slices.Clone(strange), "404_code", "405_code", "404_v6", "422_v6", "401_v6")

	// CustomerGauge: reads are asked again. After a write without an answer the vendor is
	// asked what it holds, and written to again only if that is still there.
	cg := faultCase{vendor: sim.CustomerGauge, state: "erased", evidence: "verified", writes: 1, effects: 1}
	for _, step := range []string{stepToken, stepPreview, stepVerify} {
		c := cg
		c.step = step
		add(c, looks...)
	}
	for _, step := range []string{stepPreview, stepVerify} {
		c := cg
		c.step = step
		add(c, slices.Concat(cgStrange, busy, pages)...)
	}
	c := cg
	c.step = stepWrite
	add(c, slices.Concat(applied, empty, []string{faultWrongType, faultKillAfter})...)
	c.writes = 2
	add(c, slices.Concat(notApplied, harmless, cgStrange, busy, pages, []string{"401"})...)
	add(c, faultKillBefore)
	c = cg
	for _, step := range []string{stepPreview, stepVerify} {
		c.step = step
		add(c, "401") // one fresh token
	}
	// Refused once, about one person: asked again. As long as the vendor accepts nobody else, it
	// may be its trouble as well as theirs, and uses up none of the attempts.
	for _, step := range []string{stepPreview, stepWrite, stepVerify} {
		for _, f := range []struct {
			fault string
			times int
		}{{"401", 2}, {"garbage", 3}, {faultRedirect, 3}} {
			c = cg
			c.step, c.fault, c.times, c.config = step, f.fault, f.times, []string{"max_attempts: 3"}
			if step == stepWrite && f.fault != "garbage" {
				c.writes = 1 + f.times
			}
			all = append(all, c)
		}
	}
	// Credentials refused at the token: the vendor is left alone until the next run.
	refused := cg
	refused.step, refused.first, refused.again = stepToken, 3, true
	add(refused, "400", "401", "403")

	// Voyado: a removal without an answer is asked for again, which is harmless, and makes a
	// second job where the first request had arrived.
	voy := faultCase{vendor: sim.Voyado, state: "erased", evidence: "vendor_done", writes: 1, effects: 1}
	c = voy
	c.step = stepPoll
	add(c, slices.Concat(looks, strange, busy, pages, []string{"wrong_jid"})...)
	c.step = stepWrite
	add(c, faultWrongType, "job_paused", "repeated_id")
	c.writes = 2
	add(c, slices.Concat(notApplied, harmless, strange, busy, pages, []string{faultKillBefore})...)
	c.effects = 2
	add(c, slices.Concat(applied, empty, []string{faultKillAfter, "job_error", "job_lost", "job_forgotten"})...)
	// The call before the first that changes something: nothing leaves without it.
	c = voy
	c.step = stepCheck
	add(c, slices.Concat(looks, busy, pages, []string{"400", "404", "404_html", "405"})...)
	c.first, c.again = 3, true
	add(c, "403", "403_html")
	all = append(all,
		faultCase{vendor: sim.Voyado, step: stepWrite, fault: "job_error", times: 2, first: 3, state: "failed", reason: "job_failed", writes: 2, effects: 2},
		faultCase{vendor: sim.Voyado, step: stepWrite, fault: "job_lost", times: 2, first: 4, state: "held", reason: "job_lost", writes: 2, effects: 2},
		faultCase{vendor: sim.Voyado, step: stepWrite, fault: "job_stuck", config: []string{"give_up_after: 300ms"}, first: 4, state: "held", reason: "not_done_in_time", writes: 1, effects: 1},
		faultCase{vendor: sim.Voyado, step: stepPoll, fault: "wrong_jid", times: 1000, config: []string{"give_up_after: 300ms"}, first: 4, state: "held", reason: "not_done_in_time", writes: 1, effects: 1},
		faultCase{vendor: sim.Voyado, step: stepPoll, fault: "500", times: 4, config: []string{"max_attempts: 3"}, state: "erased", evidence: "vendor_done", writes: 1, effects: 1},
		faultCase{vendor: sim.Voyado, step: stepWrite, fault: "garbage", times: 3, config: []string{"max_attempts: 3"}, state: "erased", evidence: "vendor_done", writes: 4, effects: 4},
	)

	// Exports change nothing: a job is made again, a result fetched again, and no removal is
	// asked for before the export is in the vault.
	c = voy
	c.exports = 1
	for _, step := range []string{stepExport, stepFetch} {
		c.step = step
		add(c, slices.Concat([]string{"cut", "500", "lost", "garbage", "truncated", "429", faultKillBefore, faultKillAfter}, strange, busy, pages)...)
	}

	// Acqueon: a second request makes a second ticket, so that a person decides.
	acq := faultCase{vendor: sim.Acqueon, step: stepWrite, state: "held", reason: "uncertain_submission", writes: 1, first: 4}
	c = acq
	add(c, slices.Concat(notApplied, busy, pages, []string{"bus_error", "success_false", faultKillBefore})...)
	c.effects = 1
	add(c, slices.Concat(applied, empty, []string{faultKillAfter})...)
	c = faultCase{vendor: sim.Acqueon, step: stepWrite, state: "waiting", writes: 2, effects: 1}
	add(c, slices.Concat(harmless, strange)...)
	c.writes = 1
	add(c, faultWrongType, "only_data", "only_message", "repeated_id")
	c.config = []string{"resubmit_uncertain: true"}
	c.writes, c.effects = 2, 2
	add(c, slices.Concat(applied, []string{faultKillAfter})...)
	c.effects = 1
	add(c, slices.Concat(notApplied, []string{faultKillBefore})...)
	return append(all, recipeFaults()...)
}

// recipeFaults follow what a recipe says of its vendor: by what it is erased (a record that was
// looked up, or a job), and what an answer that got lost leads to.
func recipeFaults() []faultCase {
	var all []faultCase
	add := func(c faultCase, faults ...string) {
		for _, f := range faults {
			c := c
			c.fault = f
			all = append(all, c)
		}
	}
	before := slices.Concat([]string{"cut", "500", "503", "408", faultRedirect}, busy, pages)
	after := slices.Concat([]string{"lost", "garbage", "truncated"}, empty)
	looks := slices.Concat(before, []string{"lost", "garbage", "truncated", "429", faultWrongType, faultKillBefore, faultKillAfter})
	refusals, keys := strange, []string{"403", "403_html"}
	names := shipped()
	if !*flagWhole {
		names = []string{"hubspot", "opendsr", "zendesk"}
		looks, refusals, keys = []string{"garbage"}, []string{"404_route"}, nil
		before, after = []string{"503", "maintenance"}, []string{"lost", "empty_202"}
	}
	for _, name := range names {
		// As at CustomerGauge: looked up again, and taken again only if it is still there.
		c := faultCase{vendor: name, state: "erased", evidence: "verified", writes: 1, effects: 1}
		reads, again := []string{stepPreview, stepVerify}, 1
		switch name {
		case "opendsr":
			// A removal that is asked for again carries the same id, and makes no second job.
			c.evidence, reads, again = "vendor_done", []string{stepPoll}, 2
		case "segment":
			c.evidence, reads = "vendor_done", []string{stepPoll}
		case "amplitude", "zendesk":
			c.state, c.evidence, reads = "waiting", "", []string{stepPreview}
		}
		for _, c.step = range reads {
			add(c, looks...)
			add(c, refusals...)
		}
		if c.step == stepPoll {
			// The call before the first that changes something: nothing leaves without it.
			check := c
			check.step = stepCheck
			add(check, slices.DeleteFunc(slices.Concat(looks, refusals), func(f string) bool { return slices.Contains(keys, f) })...)
			check.first, check.again = 3, true
			add(check, keys...)
		}
		c.step = stepWrite
		sure := c
		sure.writes = 2
		add(sure, append(refusals, "429")...)
		lost := c
		switch name {
		case "amplitude", "segment", "zendesk":
			lost = faultCase{vendor: name, step: stepWrite, state: "held", reason: "uncertain_submission", writes: 1, first: 4}
		}
		never := lost
		if never.effects > 0 {
			never.writes = 2
		}
		add(never, append(before, faultKillBefore)...)
		lost.effects, lost.writes = 1, again
		add(lost, append(after, faultKillAfter)...)
		add(c, faultWrongType)
		if c.evidence != "vendor_done" {
			continue
		}
		// What a vendor says of its job: failed is its last word, a lost one is asked for again
		// where that does no harm, and word of another job is not believed.
		add(c, "job_paused")
		job := c
		job.state, job.evidence, job.reason, job.first = "failed", "", "job_failed", 3
		add(job, "job_error")
		job.state, job.reason, job.first, job.times = "held", "job_lost", 4, 2
		job.writes = again
		add(job, "job_lost")
		c.step = stepPoll
		add(c, "wrong_jid")
	}
	return all
}

// TestFaults lets every call to every vendor fail in every way, once each, and compares
// what comes of it with the table. A wrong decision (a write repeated that must not be, an
// accepted one taken for a failure, a refusal that is tried for ever) shows here.
func TestFaults(t *testing.T) {
	build(t)
	cases := only(faultCases(), func(c faultCase) string { return c.name() })
	lines := make([]string, len(cases))
	var mu sync.Mutex
	unexpected := 0
	var g errgroup.Group
	g.SetLimit(8) // they mostly wait
	for i := range cases {
		c := &cases[i]
		where := t.TempDir()
		g.Go(func() error {
			got, problem := c.run(t, where)
			lines[i] = fmt.Sprintf("%-72s %s", c.name(), got)
			if problem != "" {
				mu.Lock()
				defer mu.Unlock()
				unexpected++
				lines[i] += "   UNEXPECTED, want " + problem
			}
			return nil
		})
	}
	_ = g.Wait() // none returns an error
	for _, l := range lines {
		fmt.Println(l)
	}
	fmt.Printf("%d faults, %d unexpected\n", len(cases), unexpected)
	if unexpected > 0 {
		t.Fail()
	}
}

// recipient is a privacy officer's public key, to which exports are encrypted.
var recipient = func() string {
	id, err := age.GenerateX25519Identity()
	if err != nil {
		panic(err)
	}
	return id.Recipient().String()
}()

// run makes the one fault happen and says what came of it; problem is what should have,
// where that is something else.
func (c *faultCase) run(t *testing.T, where string) (got, problem string) {
	in := &injector{c: c, left: max(1, c.times), now: make(chan struct{}), release: make(chan struct{})}
	seed := sim.DefaultSeed()
	seed.CustomerGauge[0].Records = []sim.Record{{Number: 10438, FirstName: "Ada", LastName: "Ek", Email: "ada@example.com"}}
	seed.Voyado[0].Keys = []sim.VoyadoKey{{Key: "d9528030-509c-4e0f-b585-7168f1e9feca", Events: 2}}
	o := sim.Options{Seed: seed, Day: 40 * time.Millisecond, ArchiveDays: 1}
	config := slices.Concat(quick[c.vendor], c.config)
	if isRecipe(c.vendor) {
		o.Recipes = recipes(t, c.vendor)
		config = slices.Concat(quick[sim.Rest], c.config)
		in.recipe = o.Recipes[0]
	}
	if c.exports != 0 {
		o.Day = 500 * time.Millisecond // a result can be fetched for a week
		config = append(config, "export: required", "export_recipients: "+recipient)
	}
	s, url := serve(t, o, in.wrap)
	defer close(in.release)
	s.Script(in.script)

	site := siteIn(t, where, url, settings{only: []string{c.vendor},
		vendors: map[string][]string{c.vendor: config}})
	site.write(t, "subjects.csv", "subject_id,email,customer_key,account_number,customer_name\n"+
		"REQ-1,ada@example.com,d9528030-509c-4e0f-b585-7168f1e9feca,934|1|475|0|0|44|59,Ada Ek\n")

	var exits []int
	if c.fault == faultKillBefore || c.fault == faultKillAfter {
		p := site.start(t, "run", "--wait", "subjects.csv")
		select {
		case <-in.now:
			p.kill()
		case <-p.ended:
		}
		exits = append(exits, p.result.code)
	}
	exits = append(exits, site.run(t, "run", "--wait", "subjects.csv").code)
	wantExit := c.first
	if c.again {
		if exits[len(exits)-1] != c.first {
			problem = fmt.Sprintf("exit %d, then 0; ", c.first)
		}
		wantExit = 0
		exits = append(exits, site.run(t, "run", "--wait").code)
	}
	came := outcome{exit: exits[len(exits)-1]}
	if rows := site.report(t, "report.csv"); len(rows) == 1 {
		came.state, came.evidence, came.reason = rows[0]["state"], rows[0]["evidence"], rows[0]["reason"]
	}
	came.writes = in.writes()
	for _, e := range s.Ledger(0) {
		if e.Effect && e.Op != "create-export" {
			came.effects++
		}
	}
	refs := site.look(t).refs[c.vendor]
	for _, e := range s.Ledger(0) {
		if e.Op == "create-export" {
			continue // in another table; what it leads to is looked at
		}
		answered := e.Fault == sim.NoFault || strings.HasPrefix(string(e.Fault), "job_")
		if e.Reference != "" && answered && c.fault != faultKillAfter && !refs[e.Reference] {
			problem += "every reference that was received in the store; "
		}
	}
	if files, err := filepath.Glob(site.path("exports/*.age")); err != nil || len(files) != c.exports {
		problem += fmt.Sprintf("%d exports in the vault instead of %d; ", c.exports, len(files))
	}
	want := outcome{wantExit, c.state, c.evidence, c.reason, c.writes, c.effects}
	switch {
	case in.left > 0 && c.times <= 1:
		problem += "the fault never happened"
	case came != want:
		problem += want.String()
	}
	return came.String(), problem
}

// outcome is what came of a fault.
type outcome struct {
	exit                    int
	state, evidence, reason string
	writes, effects         int
}

func (o outcome) String() string {
	return fmt.Sprintf("%s, %d sent, %d applied, exit %d",
		strings.TrimSpace(o.state+" "+cmp.Or(o.evidence, o.reason)), o.writes, o.effects, o.exit)
}

// injector makes one fault happen at one step.
type injector struct {
	c       *faultCase
	recipe  *rest.Recipe  // of the vendor, if it has one
	now     chan struct{} // closed when the program is to be killed
	release chan struct{} // closed when the case is over

	mu      sync.Mutex
	left    int // how often the fault is still to happen
	written int // writes that have arrived: reads after one verify
}

func (in *injector) writes() int {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.written
}

// steps names the calls as the simulator does.
var steps = map[string]string{
	"token": stepToken, "anonymize": stepWrite, "create-removal": stepWrite, "request": stepWrite, "job-status": stepPoll, "erase": stepWrite,
	"create-export": stepExport, "export-result": stepFetch,
}

// hit says whether the fault is to happen to a call of this step.
func (in *injector) hit(step string) bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	switch {
	case step == stepPreview && in.written > 0:
		step = stepVerify
	case step == stepPoll && in.written == 0:
		step = stepCheck
	}
	if step != in.c.step || in.left == 0 {
		return false
	}
	in.left--
	return true
}

// script is for the faults that the simulator knows.
func (in *injector) script(r sim.RequestInfo) sim.Fault {
	if in.own() {
		return sim.Fault{}
	}
	step := steps[r.Op]
	if r.Op == "preview" {
		step = stepPreview
	}
	if !in.hit(step) {
		return sim.Fault{}
	}
	return sim.Fault{Kind: sim.FaultKind(in.c.fault)}
}

// own says whether the fault is made here and not by the simulator.
func (in *injector) own() bool {
	return slices.Contains([]string{faultWrongType, faultRedirect, faultKillBefore, faultKillAfter}, in.c.fault)
}

// wrap is for the faults that the simulator does not know.
func (in *injector) wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		step := stepOf(r)
		if in.recipe != nil {
			step = recipeStep(in.recipe, r)
		}
		if step == stepWrite {
			in.mu.Lock()
			in.written++
			in.mu.Unlock()
		}
		if !in.own() || !in.hit(step) {
			next.ServeHTTP(w, r)
			return
		}
		if in.c.fault == faultRedirect {
			w.Header().Set("Location", "/elsewhere")
			w.WriteHeader(http.StatusFound)
			return
		}
		answer := httptest.NewRecorder()
		if in.c.fault != faultKillBefore {
			next.ServeHTTP(answer, r)
		}
		if in.c.fault != faultWrongType {
			close(in.now)
			<-in.release
			return
		}
		w.Header().Set("Content-Type", "application/octet-stream")
		w.WriteHeader(answer.Code)
		_, _ = w.Write(answer.Body.Bytes()) // a client that has left misses nothing
	})
}

func stepOf(r *http.Request) string {
	switch p := r.URL.Path; {
	case strings.HasSuffix(p, "/token"):
		return stepToken
	case strings.HasSuffix(p, "/create-export-customer-job"):
		return stepExport
	case strings.HasSuffix(p, "/export-customer-job-result"):
		return stepFetch
	case strings.HasSuffix(p, "/job-status"):
		return stepPoll
	case r.Method == http.MethodGet:
		return stepPreview
	}
	return stepWrite
}
