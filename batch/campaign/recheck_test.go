package campaign

import (
	"encoding/csv"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"expunge/vendors/sim"
)

// TestRecheck: 200 people are erased at two accounts, 7 of them come back at one, one has yet to
// be erased, and a list of them and of 3 others, some without their tickets, is looked up again,
// while one account stumbles and the other is down for a night, and the program is cut short.
// Every verdict is right, and nothing that could change data leaves.
func TestRecheck(t *testing.T) {
	t.Parallel()
	const people, back, others = 200, 7, 3
	email := func(n int) string { return fmt.Sprintf("person%03d@example.com", n) }
	account := func(name, client, secret string, who ...int) sim.CGAccount {
		a := sim.CGAccount{Name: name, ClientID: client, ClientSecret: secret}
		for _, n := range who {
			a.Records = append(a.Records, sim.Record{Number: n + 1, Email: email(n)})
		}
		return a
	}
	seed := func(first, second []int) sim.Options {
		return sim.Options{Seed: &sim.Seed{Voyado: sim.DefaultSeed().Voyado, Acqueon: sim.DefaultSeed().Acqueon, CustomerGauge: []sim.CGAccount{
			account("customergauge", sim.DefaultClientID, sim.DefaultClientSecret, first...), account("surveys", "other-client", "other-secret", second...)}}}
	}
	upTo := func(n int) (all []int) {
		for i := range n {
			all = append(all, i)
		}
		return all
	}
	// The same address serves the accounts of before and, later, those of today.
	before, today := sim.New(seed(upTo(people+1), upTo(people+1))), sim.New(seed(append(upTo(back), people, people+1), nil))
	defer before.Close()
	defer today.Close()
	var now atomic.Pointer[sim.Sim]
	now.Store(before)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { now.Load().ServeHTTP(w, r) }))
	defer srv.Close()

	s := newSite(t, srv.URL, settings{only: []string{sim.CustomerGauge}})
	config := "linger: 1s\nvendors:\n"
	for _, v := range [][3]string{{"customergauge", "${CG_CLIENT_ID}", "${CG_CLIENT_SECRET}"}, {"surveys", "other-client", "other-secret"}} {
		config += fmt.Sprintf("  %s: {kind: customergauge, region: eu, client_id: %q, client_secret: %q, base_url: '%s', token_url: '%s/oauth2/token', "+
			"rate: 400/s, concurrency: 4, timeout: 5s, retry_base: 10ms, retry_cap: 50ms}\n", v[0], v[1], v[2], srv.URL, srv.URL)
	}
	s.write(t, "expunge.yaml", config)
	var first, list strings.Builder
	first.WriteString("subject_id,email\n")
	list.WriteString("email,subject_id\n")
	for n := range people {
		fmt.Fprintf(&first, "R-%03d,%s\n", n, email(n))
		ticket := fmt.Sprintf("R-%03d", n)
		if n%4 == 0 {
			ticket = "" // a suppression list knows no tickets
		}
		fmt.Fprintf(&list, "%s,%s\n", strings.ToUpper(email(n)), ticket)
	}
	for n := people; n <= people+others; n++ { // the first of them is taken in below
		fmt.Fprintf(&list, "%s,\n", email(n))
	}
	s.write(t, "first.csv", first.String())
	s.write(t, "second.csv", "subject_id,email\nS-1,"+email(people)+"\n")
	s.write(t, "list.csv", list.String())
	s.mustRun(t, []int{0}, "run", "first.csv")
	if err := before.SetFaults("customergauge:down"); err != nil {
		t.Fatal(err)
	}
	s.mustRun(t, []int{0, 3}, "run", "second.csv")

	now.Store(today)
	var seen atomic.Int64
	var up atomic.Bool // the second account
	enough := make(chan struct{})
	today.Script(func(r sim.RequestInfo) sim.Fault {
		if r.Account == "surveys" && !up.Load() {
			return sim.Fault{Kind: sim.Down}
		}
		switch n := seen.Add(1); {
		case n == 60:
			close(enough)
		case 20 < n && n < 24:
			return sim.Fault{Kind: sim.Down}
		}
		return sim.Fault{}
	})
	p := s.start(t, "recheck", "list.csv", "-o", "recheck.csv", "--wait")
	await(t, p, enough)
	p.signal(t, syscall.SIGINT)
	if r := p.wait(t); r.code != 130 {
		t.Fatalf("cut short: exit %d\n%s", r.code, r.stderr)
	}
	const all = people + others + 1
	r := s.mustRun(t, []int{4}, "recheck", "list.csv", "-o", "recheck.csv")
	wantText(t, r, "this goes on with the recheck of", "vendor surveys", fmt.Sprintf("%d gone, %d back, %d never asked, 1 still open, %d unknown", people-back, back, others, all),
		fmt.Sprintf("not looked up yet: %d", all))
	judgeRecheck(t, s, func(vendor string, n int) (held, verdict string) {
		if vendor == "surveys" {
			return "unknown", "unknown"
		}
		return recheckTruth(n, people, back)
	}, all, people, email)
	// It is down longer than the pause that its answers led to.
	s.mustRun(t, []int{4}, "recheck", "list.csv", "-o", "recheck.csv")
	up.Store(true)
	s.mustRun(t, []int{0}, "review", "retry", "--vendor", "surveys")
	r = s.mustRun(t, []int{4}, "recheck", "list.csv", "-o", "recheck.csv", "--wait")
	wantText(t, r, fmt.Sprintf("%d gone, %d back, %d never asked, 2 still open, 0 unknown", 2*people-back, back, 2*others))
	// Two spellings at each account, what was refused meanwhile, and what was under way.
	if asked := seen.Load(); asked > 2*2*all+40 {
		t.Errorf("%d requests: what was looked at is looked at again", asked)
	}
	judgeRecheck(t, s, func(vendor string, n int) (held, verdict string) {
		if vendor == "surveys" {
			if held, verdict = recheckTruth(n, people, 0); n >= people {
				held = "no"
			}
			return held, verdict
		}
		return recheckTruth(n, people, back)
	}, all, people, email)
	for _, e := range today.Ledger(0) {
		if e.Changes {
			t.Errorf("a request that changes data: %+v", e)
		}
	}
	left, err := os.ReadDir(s.dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range left {
		if strings.Contains(e.Name(), "recheck.db") || strings.HasSuffix(e.Name(), ".recheck") {
			t.Errorf("%s is left", e.Name())
		}
	}
	if len(s.look(t).tasks) != 2*(people+1) {
		t.Error("a recheck has made tasks")
	}
}

// recheckTruth is what a recheck must say of a person at an account that holds those below back
// and the first two that were not erased.
func recheckTruth(n, people, back int) (held, verdict string) {
	switch {
	case n < back:
		return "yes", "back"
	case n < people:
		return "no", "gone"
	case n == people:
		return "yes", "still_open"
	case n == people+1:
		return "yes", "never_asked"
	}
	return "no", "never_asked"
}

// judgeRecheck compares what a recheck wrote with the truth.
func judgeRecheck(t *testing.T, s *site, truth func(vendor string, n int) (held, verdict string), all, people int, email func(int) string) {
	t.Helper()
	f, err := os.Open(s.path("recheck.csv"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	rows, err := csv.NewReader(f).ReadAll()
	if err != nil || len(rows) != 2*all+1 {
		t.Fatalf("%d rows, %v", len(rows), err)
	}
	for i, row := range rows[1:] {
		n, vendor := i/2, []string{"customergauge", "surveys"}[i%2]
		held, verdict := truth(vendor, n)
		done := n < people
		if row[0] != fmt.Sprint(n+2) || row[2] != vendor || row[5] != held || (row[7] != "") != done || done && row[8] != "verified" || row[9] != verdict || strings.Contains(strings.ToLower(strings.Join(row, ",")), email(n)) {
			t.Errorf("%q, want held %s, done %v, %s", row, held, done, verdict)
		}
	}
}
