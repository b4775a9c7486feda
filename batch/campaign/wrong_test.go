package campaign

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"expunge/vendors/sim"
	"expunge/vendors/sim/audit"
)

// The night's people: CustomerGauge does not know every fifth of them.
const (
	wrongPeople  = 200
	wrongUnknown = wrongPeople / 5
)

// way is one way in which an account, an address, a vendor or a clock is wrong for a night,
// and right the next.
type way struct {
	name   string
	vendor string
	faults []string // in force in the wrong night
	after  string   // Retry-After of a 429 to everything

	// What the config says in the wrong night, and below the vendor instead of its place.
	place     func(w *wrongNight) []string
	config    []string
	noControl bool
	env       string // one variable, NAME=VALUE

	// A night before, in which all is well and nobody is finished, by these faults.
	before []string
	tamper func(w *wrongNight) // with the store, before the wrong night
	mend   func(w *wrongNight) // and after it
	wait   bool                // the wrong night is long enough for jobs to be looked at

	exit    int        // of the wrong night; 0: 3
	calls   int        // at most so many calls in the wrong night; 0: 25
	needs   string     // what `status` then asks for; for exit 2: what the run said
	between [][]string // commands that a person gives the next day
}

// wrongNight is a way under way.
type wrongNight struct {
	*way
	*site
	t     *testing.T
	sim   *sim.Sim
	other *sim.Sim // a vendor at another host, which knows other people
	near  string   // the URL of the right vendor
	far   string   // its URL
	dead  string   // an address where nobody listens
	page  string   // an address that answers everything with a page
	pages atomic.Int64
}

func wrongWays() []*way {
	const (
		down     = `(?m)^  .*VENDOR, which does not answer, since`
		address  = `(?m)^  .*VENDOR, which does not answer as its API does: the address may be wrong`
		doubt    = `(?m)^  .*VENDOR, which refuses everybody, or its answers cannot be understood`
		keys     = `(?m)^  .*VENDOR, which refuses our credentials`
		moved    = `(?m)^  .*VENDOR, which is at another place.*\n.*expunge review moved VENDOR`
		control  = `(?m)^  .*VENDOR, which does not show the control record`
		unproved = `(?m)^  .*VENDOR, which shows nothing of anybody.*\n.*expunge review prove VENDOR`
		paused   = `(?m)^  .*VENDOR, which asked to be left alone until.*\n.*expunge review retry --vendor VENDOR`
		clock    = `this machine's clock is wrong`
	)
	cg := func(w way) *way { w.vendor = sim.CustomerGauge; return &w }
	voy := func(w way) *way { w.vendor = sim.Voyado; return &w }
	acq := func(w way) *way { w.vendor = sim.Acqueon; return &w }
	at := func(key string, url func(w *wrongNight) string, more ...string) func(w *wrongNight) []string {
		return func(w *wrongNight) []string { return append([]string{key + ": " + url(w)}, more...) }
	}
	far := func(w *wrongNight) string { return w.far }
	dead := func(w *wrongNight) string { return w.dead }
	page := func(w *wrongNight) string { return w.page }
	token := []string{"client_id: ${CG_CLIENT_ID}", "client_secret: ${CG_CLIENT_SECRET}"}
	cgAt := func(url func(w *wrongNight) string) func(w *wrongNight) []string {
		return func(w *wrongNight) []string {
			return slices.Concat([]string{"base_url: " + url(w), "token_url: " + w.url + "/oauth2/token"}, token)
		}
	}
	// A person has looked at the vendor's console and found nothing: submit again.
	again := func(reason string) [][]string {
		return [][]string{{"review", "approve", "--reason", reason, "--by", "anna"}}
	}

	var all []*way
	// The address is wrong: a gateway answers in the vendor's place.
	for _, form := range []string{"404_empty", "404_message", "404_route", "404_html", "404_code", "405_code", "405", "410", "415", "501"} {
		all = append(all, cg(way{name: "every call answered " + form, faults: []string{"customergauge.preview:" + form, "customergauge.anonymize:" + form}, needs: address}))
	}
	for _, f := range []struct{ form, needs string }{{"404_route", address}, {"405", address}, {"403_html", keys}, {"400", doubt}, {"404_v6", doubt}, {"422_v6", doubt}} {
		all = append(all, cg(way{name: "every anonymize call answered " + f.form, faults: []string{"customergauge.anonymize:" + f.form}, needs: f.needs, calls: 300}))
	}
	all = append(all,
		cg(way{name: "404 after each anonymize call", faults: []string{"customergauge.verify:404_message"}, needs: address, calls: 700}),
		cg(way{name: "a host where nobody listens", place: cgAt(dead), needs: down}),
		cg(way{name: "a host that shows a page for everything", place: cgAt(page), needs: doubt}),
		cg(way{name: "the token's address is a page", place: func(w *wrongNight) []string {
			return slices.Concat([]string{"base_url: " + w.url, "token_url: " + w.page + "/oauth2/token"}, token)
		}, needs: down}),

		// The account is wrong.
		cg(way{name: "another company's account", env: "CG_CLIENT_ID=" + sim.OtherClientID, needs: control}),
		cg(way{name: "an account that shows nobody", faults: []string{"customergauge:nobody"}, needs: control}),
		cg(way{name: "an account that shows nobody, no control record", faults: []string{"customergauge:nobody"}, noControl: true, needs: unproved}),
		cg(way{name: "a wrong secret", env: "CG_CLIENT_SECRET=wrong", needs: keys, calls: 5}),
		cg(way{name: "every call refused by a filter", faults: []string{"customergauge.preview:403_html", "customergauge.anonymize:403_html"}, needs: keys}),
		cg(way{name: "moved to another account while looks are open", before: []string{"customergauge.anonymize:empty_202,slow=8s"},
			env: "CG_CLIENT_ID=" + sim.OtherClientID, needs: moved, calls: 1}),
		cg(way{name: "moved to another host while looks are open", before: []string{"customergauge.anonymize:empty_202,slow=8s"},
			place: cgAt(far), needs: moved, calls: 1}),

		// The vendor is not well.
		cg(way{name: "a maintenance page with status 200", faults: []string{"customergauge:maintenance"}, needs: down}),
		cg(way{name: "an error object with status 200", faults: []string{"customergauge.preview:unavailable", "customergauge.anonymize:unavailable"}, needs: doubt}),
		cg(way{name: "an error object with status 400", faults: []string{"customergauge.preview:unavailable_400", "customergauge.anonymize:unavailable_400"}, needs: doubt}),
		cg(way{name: "503 to everything", faults: []string{"customergauge:503"}, needs: down}),
		cg(way{name: "423 to every look", faults: []string{"customergauge.preview:423"}, needs: down}),
		cg(way{name: "409 to every anonymize call", faults: []string{"customergauge.anonymize:409"}, needs: down, calls: 700}),
		cg(way{name: "half of each answer", faults: []string{"customergauge.preview:truncated", "customergauge.anonymize:truncated"}, needs: doubt}),
		cg(way{name: "429 for a month", after: "2592000", needs: paused,
			between: [][]string{{"review", "retry", "--vendor", sim.CustomerGauge, "--by", "anna", "--reason", "the vendor says that it was a mistake"}}}),

		// The clock is wrong.
		cg(way{name: "the vendor's clock is two hours ahead of ours", faults: []string{"customergauge:clock=2h"}, exit: 2, needs: clock, calls: 2}),
		cg(way{name: "our clock is a year ahead of the vendor's", faults: []string{"customergauge:clock=-8760h"}, exit: 2, needs: clock, calls: 2}),
		voy(way{name: "our clock is a year behind the vendor's", faults: []string{"voyado:clock=8760h"}, exit: 2, needs: clock, calls: 2}),
		voy(way{name: "the last run ended in the future", before: []string{}, tamper: runsEnd("+1 day"), mend: runsEnd("-2 days"), exit: 2, needs: clock, calls: 1}),

		// The same of Voyado.
		voy(way{name: "a wrong key", env: "VOYADO_API_KEY=wrong", needs: keys, calls: 5}),
		voy(way{name: "every call answered 404_html", faults: []string{"voyado:404_html"}, needs: address}),
		voy(way{name: "every call answered 405", faults: []string{"voyado:405"}, needs: address}),
		voy(way{name: "a maintenance page with status 200", faults: []string{"voyado:maintenance"}, needs: doubt}),
		voy(way{name: "an error object with status 400", faults: []string{"voyado:unavailable_400"}, needs: doubt}),
		voy(way{name: "every job's status is a 404 page", faults: []string{"voyado.job-status:404_html"}, config: []string{"max_attempts: 3"}, wait: true,
			needs: address, calls: 700}),
		voy(way{name: "moved to another cluster while jobs are open", before: []string{}, place: at("base_url", far, "api_key: ${VOYADO_API_KEY}"), needs: moved, calls: 1}),
		voy(way{name: "a host where nobody listens", place: at("base_url", dead, "api_key: ${VOYADO_API_KEY}"), needs: down}),

		// And of Acqueon, where what may have arrived is for a person.
		acq(way{name: "every request answered 403", faults: []string{"acqueon:403"}, needs: keys, calls: 5}),
		acq(way{name: "every request answered 404_route", faults: []string{"acqueon:404_route"}, needs: address}),
		acq(way{name: "an error with status 400", faults: []string{"acqueon:unavailable_400"}, needs: doubt}),
		acq(way{name: "a payload under the wrong name", faults: []string{"acqueon:only_data"}, config: []string{"dialect: sample"}, needs: doubt}),
		acq(way{name: "a maintenance page with status 200", faults: []string{"acqueon:maintenance"}, needs: doubt, between: again("uncertain_submission")}),
		acq(way{name: "a host where nobody listens", place: at("url", dead, "agent_id: agent1"), needs: down}),
	)

	// And of vendors that recipes describe.
	names := shipped()
	if !*flagWhole {
		names = []string{"hubspot", "opendsr"}
	}
	for _, name := range names {
		add := func(w way) { w.vendor = name; all = append(all, &w) }
		is := func(url func(w *wrongNight) string, edits ...string) func(w *wrongNight) []string {
			return func(w *wrongNight) []string {
				lines := strings.Join(w.recipePlace(w.t, name, url(w)), "\n")
				return strings.Split(strings.NewReplacer(edits...).Replace(lines), "\n")
			}
		}
		var unsure, elsewhere [][]string // where nobody can be looked up, some requests may have arrived
		switch name {
		case "segment":
			unsure = again("uncertain_submission")
			fallthrough
		case "opendsr":
			elsewhere = append([][]string{{"review", "moved", name, "--by", "anna", "--reason", "it was never there"}}, unsure...)
		}
		for _, f := range []struct {
			form, needs string
			between     [][]string
		}{{"404_route", address, nil}, {"404_html", address, nil}, {"405", address, nil}, {"maintenance", doubt, unsure}, {"unavailable", doubt, unsure},
			{"unavailable_400", doubt, nil}, {"truncated", doubt, nil}, {"503", down, unsure}} {
			if !*flagWhole && f.form != "unavailable" {
				continue
			}
			if f.form == "truncated" && unsure != nil {
				continue // they have arrived, and who approves finds that out
			}
			add(way{name: "every call answered " + f.form, faults: []string{"rest:" + f.form}, needs: f.needs, between: f.between})
		}
		for _, f := range []struct{ form, needs string }{{"404_route", address}, {"400", doubt}, {"403_html", keys}} {
			if !*flagWhole && f.form != "400" {
				continue
			}
			add(way{name: "every erasure answered " + f.form, faults: []string{"rest.erase:" + f.form}, needs: f.needs, calls: 300})
		}
		add(way{name: "a host where nobody listens", place: is(dead), needs: down})
		add(way{name: "a host that shows a page for everything", place: is(page), needs: doubt, between: elsewhere})
		near := func(w *wrongNight) string { return w.near }
		add(way{name: "a wrong secret", place: is(near, ": sim-", ": wrong-"), needs: keys, calls: 5})
		switch name {
		case "opendsr", "segment":
			add(way{name: "moved to another host while jobs are open", before: []string{}, place: is(far), needs: moved, calls: 1})
			add(way{name: "the recipe is changed while jobs are open", before: []string{}, place: func(w *wrongNight) []string {
				lines := w.recipePlace(w.t, name, w.near)
				w.write(w.t, name+".yaml", recipeText(w.t, name)+"# changed\n")
				return lines
			}, needs: moved, calls: 1})
		case "amplitude": // no control record can be named by a key
			add(way{name: "an account that shows nobody", place: is(far), needs: unproved})
		default:
			add(way{name: "another company's account", place: is(far), needs: control})
			add(way{name: "another company's account, no control record", place: is(far), noControl: true, needs: unproved})
		}
	}
	return all
}

// runsEnd moves the end of the newest run in the store.
func runsEnd(by string) func(*wrongNight) {
	return func(w *wrongNight) {
		w.t.Helper()
		w.site.exec(w.t, `UPDATE runs SET ended_at = CAST(strftime('%s', 'now', ?) AS INTEGER) WHERE id = (SELECT max(id) FROM runs)`, by)
	}
}

// TestWrong lets a night go wrong in every way, and sets it right for the next. What the
// first night may not do is end anybody's request by what a wrong account, address or clock
// says; what it must do is say so. What the second night must do is finish everybody.
func TestWrong(t *testing.T) {
	build(t)
	ways := only(wrongWays(), func(w *way) string { return w.vendor + " " + w.name })
	lines := make([]string, len(ways))
	var mu sync.Mutex
	wrong := 0
	var g errgroup.Group
	g.SetLimit(6) // they mostly wait
	for i, way := range ways {
		where := t.TempDir()
		g.Go(func() error {
			got, problems := way.run(t, where)
			lines[i] = fmt.Sprintf("%-13s %-48s %s", way.vendor, way.name, got)
			if len(problems) > 0 {
				mu.Lock()
				defer mu.Unlock()
				wrong++
				lines[i] += "   WRONG: " + strings.Join(problems, "; ")
			}
			return nil
		})
	}
	_ = g.Wait() // none returns an error
	n := 0
	for _, l := range lines {
		if l != "" {
			n++
			fmt.Println(l)
		}
	}
	fmt.Printf("%d ways, %d wrong\n", n, wrong)
	if wrong > 0 {
		t.Fail()
	}
}

// run makes the two nights and says what came of them.
func (y *way) run(t *testing.T, where string) (got string, problems []string) {
	w := &wrongNight{way: y, t: t}
	bad := func(format string, args ...any) { problems = append(problems, fmt.Sprintf(format, args...)) }
	input := w.world()
	w.site = siteIn(t, where, w.near, settings{})
	w.write(t, "subjects.csv", input)
	sound, file := w.site.env, []string{"subjects.csv"}

	if y.before != nil {
		w.set(false, y.before)
		if r := w.run("run", "--for", "1500ms", "subjects.csv"); r.code != 0 {
			bad("the night before: exit %d, want 0: %s", r.code, lastLine(r.stderr))
		}
		file = nil
	}
	w.set(true, y.faults)
	if y.env != "" {
		w.site.env = append(slices.Clone(sound), y.env)
	}
	if y.tamper != nil {
		y.tamper(w)
	}
	since := int64(len(w.sim.Ledger(0)))
	args := []string{"run"}
	if y.wait {
		args = append(args, "--wait", "--for", "8s")
	}
	first := w.run(append(args, file...)...)
	calls := len(w.sim.Ledger(since)) + len(w.other.Ledger(0)) + int(w.pages.Load())
	wantExit := cmp.Or(y.exit, 3)
	if first.code != wantExit {
		bad("exit %d, want %d: %s", first.code, wantExit, lastLine(first.stderr))
	}
	if most := cmp.Or(y.calls, 25); calls > most {
		bad("%d calls, want at most %d", calls, most)
	}
	for _, e := range w.other.Ledger(0) {
		if e.Changes {
			bad("request %d would change somebody at another place", e.Seq)
		}
	}
	said := first.stderr
	if y.exit != 2 {
		_, said, _ = strings.Cut(w.run("status").stdout, "needs a person:")
	}
	if !regexp.MustCompile(strings.ReplaceAll(y.needs, "VENDOR", y.vendor)).MatchString(said) {
		bad("what needs a person does not name %q: %q", y.needs, said)
	}
	states := w.judged(bad, "the wrong night")
	for state, n := range states {
		if state == "failed" && n > 0 {
			bad("%d failed", n)
		}
	}
	open := wrongPeople - states["erased"] - states["not_found"] - states["failed"]
	got = fmt.Sprintf("exit %d, %d open, %d calls", first.code, open, calls)

	w.site.env = sound
	w.set(false, nil)
	if y.mend != nil {
		y.mend(w)
	}
	for _, command := range y.between {
		if r := w.run(command...); r.code != 0 {
			bad("%v: exit %d: %s", command, r.code, lastLine(r.stderr))
		}
	}
	second := w.run(append([]string{"run", "--wait"}, file...)...)
	if slices.Contains(byPeople, y.vendor) {
		w.write(t, "confirmations.csv", w.confirmations(t))
		if r := w.run("confirm", "confirmations.csv"); r.code != 0 {
			bad("confirm: exit %d: %s", r.code, lastLine(r.stderr))
		}
		second = w.run("run")
	}
	if y.vendor == sim.Acqueon {
		w.sim.Complete("", "")
		resp, err := http.Get(w.url + "/_sim/acqueon/confirmations.csv")
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		w.write(t, "confirmations.csv", string(text))
		if r := w.run("confirm", "confirmations.csv"); r.code != 0 {
			bad("confirm: exit %d: %s", r.code, lastLine(r.stderr))
		}
		second = w.run("run")
	}
	got += fmt.Sprintf("; then exit %d", second.code)
	if second.code != 0 {
		bad("the next night: exit %d, want 0: %s", second.code, lastLine(second.stderr))
	}
	states = w.judged(bad, "the next night")
	want := map[string]int{"erased": wrongPeople}
	if byEmail(w.vendor) {
		want = map[string]int{"erased": wrongPeople - wrongUnknown, "not_found": wrongUnknown}
	}
	if !maps.Equal(states, want) {
		bad("the next night: %v, want %v", states, want)
	}
	return got, problems
}

// byEmail reports whether the vendor is asked by email whom it holds, and does not know
// everybody.
func byEmail(vendor string) bool {
	return vendor == sim.CustomerGauge || isRecipe(vendor) && !slices.Contains([]string{"amplitude", "opendsr", "segment"}, vendor)
}

// world makes the places and returns the input.
func (w *wrongNight) world() string {
	account := func() *sim.Seed {
		return &sim.Seed{Voyado: []sim.VoyadoAccount{{APIKey: sim.DefaultAPIKey}},
			CustomerGauge: []sim.CGAccount{{ClientID: sim.DefaultClientID, ClientSecret: sim.DefaultClientSecret}}}
	}
	seed := account()
	var input strings.Builder
	input.WriteString("subject_id,email,customer_key,account_number,customer_name\n")
	for i := range wrongPeople {
		email, key := fmt.Sprintf("person-%03d@example.com", i), fmt.Sprintf("visitor-%03d-7c1e", i)
		if i%5 > 0 {
			seed.CustomerGauge[0].Records = append(seed.CustomerGauge[0].Records, sim.Record{FirstName: "Ada", LastName: "Ek", Email: email})
		}
		seed.Voyado[0].Keys = append(seed.Voyado[0].Keys, sim.VoyadoKey{Key: key, Events: 1})
		fmt.Fprintf(&input, "REQ-%03d,%s,%s,934|1|%d|0|0|44|59,Ada Ek\n", i, email, key, i)
	}
	seed.Control() // the other account and the other host have none
	seed.Other(wrongPeople, 1)
	elsewhere := account()
	elsewhere.CustomerGauge[0].Records = seed.CustomerGauge[1].Records
	o := sim.Options{Seed: seed, Day: 2 * time.Second, ArchiveDays: 1}
	if isRecipe(w.vendor) {
		o.Recipes = recipes(w.t, w.vendor)
	}
	w.sim, w.near = serve(w.t, o, nil)
	o.Seed = elsewhere
	w.other, w.far = serve(w.t, o, nil)

	pages := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
		w.pages.Add(1)
		rw.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = io.WriteString(rw, "<!doctype html><title>Welcome</title>") // a client that has left misses nothing
	}))
	w.t.Cleanup(pages.Close)
	w.page = pages.URL
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		w.t.Fatal(err)
	}
	w.dead = "http://" + l.Addr().String()
	if err := l.Close(); err != nil {
		w.t.Fatal(err)
	}
	return input.String()
}

// set makes the simulator and the config those of a night.
func (w *wrongNight) set(wrong bool, faults []string) {
	w.t.Helper()
	w.sim.Script(nil)
	if err := w.sim.SetFaults(faults...); err != nil {
		w.t.Fatal(err)
	}
	lines := slices.Clone(quick[w.vendor])
	if isRecipe(w.vendor) {
		lines = slices.Clone(quick[sim.Rest])
	}
	if byEmail(w.vendor) && !(wrong && w.noControl) {
		lines = append(lines, "control: {email: "+sim.ControlEmail+"}")
	}
	set := settings{only: []string{w.vendor}, global: []string{"linger: 1s"}}
	if wrong {
		lines = append(lines, w.config...)
		if w.way.place != nil {
			set.places = map[string][]string{w.vendor: w.way.place(w)}
		}
		if w.after != "" {
			w.sim.Script(func(r sim.RequestInfo) sim.Fault {
				if r.Op == "token" {
					return sim.Fault{}
				}
				return sim.Fault{Kind: sim.RateLimited, RetryAfter: w.after}
			})
		}
	}
	set.vendors = map[string][]string{w.vendor: lines}
	w.configure(w.t, set)
}

func (w *wrongNight) run(args ...string) result { return w.site.run(w.t, args...) }

// judged counts the report's states, after the judge has compared it with what happened.
func (w *wrongNight) judged(bad func(string, ...any), when string) map[string]int {
	w.t.Helper()
	states := map[string]int{}
	if _, err := os.Stat(w.path("report.csv")); err != nil {
		return states // a run that called nobody may have written none
	}
	for _, row := range w.report(w.t, "report.csv") {
		states[row["state"]]++
	}
	files, err := audit.Open(w.path("report.csv"), w.path("subjects.csv"))
	if err != nil {
		w.t.Fatal(err)
	}
	account := audit.Vendor{Name: w.vendor, Kind: w.vendor}
	if isRecipe(w.vendor) {
		account.Kind, account.Account = sim.Rest, w.vendor
	}
	verdict := audit.Judge(audit.Facts{Ledger: w.sim.Ledger(0), Remaining: w.sim.Remaining()}, files,
		[]audit.Vendor{account}, true)
	if n := len(verdict.Problems); n > 0 {
		bad("%s: %d disagreements, the first: %s: %s", when, n, verdict.Problems[0].Subject, verdict.Problems[0].What)
	}
	return states
}

func lastLine(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return lines[len(lines)-1]
}
