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

// TestRecheck: 200 people are erased, 7 of them come back, one has yet to be erased, and a list
// of them and of 3 others, some without their tickets, is looked up again, while the vendor
// is down for a moment and the program is cut short. Every verdict is right, and nothing that
// could change data leaves.
func TestRecheck(t *testing.T) {
	t.Parallel()
	const people, back, others = 200, 7, 3
	email := func(n int) string { return fmt.Sprintf("person%03d@example.com", n) }
	account := func(who ...int) *sim.Seed {
		a := sim.CGAccount{Name: "customergauge", ClientID: sim.DefaultClientID, ClientSecret: sim.DefaultClientSecret}
		for _, n := range who {
			a.Records = append(a.Records, sim.Record{Number: n + 1, Email: email(n)})
		}
		return &sim.Seed{CustomerGauge: []sim.CGAccount{a}, Voyado: sim.DefaultSeed().Voyado, Acqueon: sim.DefaultSeed().Acqueon}
	}
	upTo := func(n int) (all []int) {
		for i := range n {
			all = append(all, i)
		}
		return all
	}
	// The same address serves the account of before and, later, that of today.
	before, today := sim.New(sim.Options{Seed: account(upTo(people + 1)...)}), sim.New(sim.Options{Seed: account(append(upTo(back), people, people+1)...)})
	defer before.Close()
	defer today.Close()
	var now atomic.Pointer[sim.Sim]
	now.Store(before)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { now.Load().ServeHTTP(w, r) }))
	defer srv.Close()

	s := newSite(t, srv.URL, settings{only: []string{sim.CustomerGauge}, global: []string{"linger: 1s"}, vendors: map[string][]string{
		sim.CustomerGauge: {"rate: 400/s", "concurrency: 4", "timeout: 5s", "retry_base: 10ms", "retry_cap: 50ms"}}})
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
	enough := make(chan struct{})
	today.Script(func(r sim.RequestInfo) sim.Fault {
		switch n := seen.Add(1); {
		case n == 60:
			close(enough)
		case 20 < n && n < 40:
			return sim.Fault{Status: 503}
		}
		return sim.Fault{}
	})
	p := s.start(t, "recheck", "list.csv", "-o", "recheck.csv", "--wait")
	await(t, p, enough)
	p.signal(t, syscall.SIGINT)
	if r := p.wait(t); r.code != 130 {
		t.Fatalf("cut short: exit %d\n%s", r.code, r.stderr)
	}
	r := s.mustRun(t, []int{4}, "recheck", "list.csv", "-o", "recheck.csv", "--wait")
	wantText(t, r, "this goes on with the recheck of", fmt.Sprintf("%d gone, %d back, %d never asked, 1 still open, 0 unknown", people-back, back, others))
	// Two spellings each, what was refused meanwhile, and what was under way.
	if asked := seen.Load(); asked > 2*(people+others+1)+40 {
		t.Errorf("%d requests: what was looked at is looked at again", asked)
	}
	f, err := os.Open(s.path("recheck.csv"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	rows, err := csv.NewReader(f).ReadAll()
	if err != nil || len(rows) != people+others+2 {
		t.Fatalf("%d rows, %v", len(rows), err)
	}
	for i, row := range rows[1:] {
		held, done, verdict := "no", true, "gone"
		switch {
		case i < back:
			held, verdict = "yes", "back"
		case i == people:
			held, done, verdict = "yes", false, "still_open"
		case i == people+1:
			held, done, verdict = "yes", false, "never_asked"
		case i > people:
			done, verdict = false, "never_asked"
		}
		if row[0] != fmt.Sprint(i+2) || row[5] != held || (row[7] != "") != done || done && row[8] != "verified" || row[9] != verdict || strings.Contains(strings.ToLower(strings.Join(row, ",")), email(i)) {
			t.Errorf("%q, want held %s, done %v, %s", row, held, done, verdict)
		}
	}
	for _, e := range today.Ledger(0) {
		if e.Changes {
			t.Errorf("a request that changes data: %+v", e)
		}
	}
	list2, err := os.ReadDir(s.dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range list2 {
		if strings.Contains(e.Name(), "recheck.db") || strings.HasSuffix(e.Name(), ".recheck") {
			t.Errorf("%s is left", e.Name())
		}
	}
	if len(s.look(t).tasks) != people+1 {
		t.Error("a recheck has made tasks")
	}
}
