package campaign

import (
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"expunge/vendors/sim"
	"expunge/vendors/sim/audit"
)

// crowd is a site, and a simulator that knows n people, numbered from 0: at CustomerGauge by
// one record each.
type crowd struct {
	*site
	t    *testing.T
	sim  *sim.Sim
	kind string
	n    int
}

func newCrowd(t *testing.T, kind string, n int, config []string, place ...string) *crowd {
	t.Helper()
	seed := &sim.Seed{CustomerGauge: []sim.CGAccount{{ClientID: sim.DefaultClientID, ClientSecret: sim.DefaultClientSecret}}}
	var input strings.Builder
	input.WriteString("subject_id,email,customer_key,account_number\n")
	for i := range n {
		email := fmt.Sprintf("person-%04d@example.com", i)
		seed.CustomerGauge[0].Records = append(seed.CustomerGauge[0].Records, sim.Record{FirstName: "Ada", LastName: "Ek", Email: email})
		fmt.Fprintf(&input, "REQ-%04d,%s,visitor-%04d-7c1e,934|1|%d|0|0|44|59\n", i, email, i, i)
	}
	seed.Control()
	c := &crowd{t: t, kind: kind, n: n}
	s, url := serve(t, sim.Options{Seed: seed}, nil)
	lines := slices.Concat(quick[kind], config)
	if kind == sim.CustomerGauge {
		lines = append(lines, "control: {email: "+sim.ControlEmail+"}")
	}
	set := settings{only: []string{kind}, global: []string{"linger: 1s"}, vendors: map[string][]string{kind: lines}}
	if place != nil {
		set.places = map[string][]string{kind: place}
		for i := range place {
			place[i] = strings.ReplaceAll(place[i], "HOST", strings.TrimPrefix(url, "http://"))
		}
	}
	c.sim, c.site = s, newSite(t, url, set)
	c.write(t, "subjects.csv", input.String())
	return c
}

func (c *crowd) faults(texts ...string) {
	c.t.Helper()
	if err := c.sim.SetFaults(texts...); err != nil {
		c.t.Fatal(err)
	}
}

// outcomes counts the report's rows by state, and by reason where there is one, after the
// judge has compared the report with what happened.
func (c *crowd) outcomes() map[string]int {
	c.t.Helper()
	all := map[string]int{}
	for _, row := range c.report(c.t, "report.csv") {
		all[strings.TrimSpace(row["state"]+" "+row["reason"])]++
	}
	files, err := audit.Open(c.path("report.csv"), c.path("subjects.csv"))
	if err != nil {
		c.t.Fatal(err)
	}
	verdict := audit.Judge(audit.Facts{Ledger: c.sim.Ledger(0), Remaining: c.sim.Remaining()}, files, []audit.Vendor{{Name: c.kind, Kind: c.kind}}, true)
	for _, p := range verdict.Problems {
		c.t.Errorf("%s: %s", p.Subject, p.What)
	}
	return all
}

// TestOneAmongMany: one person whose calls are refused, the first to be asked about, holds
// up nobody else, and is for a person to look at in the end, also where nobody else is left.
func TestOneAmongMany(t *testing.T) {
	const people = 60
	for _, tt := range []struct{ form, preview, anonymize string }{
		{"403_html", "held not_permitted", "held not_permitted"},
		{"401", "held not_permitted", "held not_permitted"},
		{"400", "failed refused", "failed refused"},
		{"404_route", "failed attempts_exhausted", "failed attempts_exhausted"},
		{"maintenance", "failed attempts_exhausted", "held unknown_outcome"},
		{"503", "failed attempts_exhausted", "held unknown_outcome"},
	} {
		for op, want := range map[string]string{"preview": tt.preview, "anonymize": tt.anonymize} {
			t.Run(op+" "+tt.form, func(t *testing.T) {
				t.Parallel()
				c := newCrowd(t, sim.CustomerGauge, people, nil)
				c.faults("customergauge." + op + "[person-0000@example.com]:" + tt.form)
				first := c.run(t, "run", "subjects.csv")
				got := c.outcomes()
				if got["erased"] != people-1 || first.code != 3 {
					t.Errorf("exit %d, %v: want %d erased the first night, and exit 3", first.code, got, people-1)
				}
				const most = 9 // nights: eight attempts, of which some are made in the first
				nights := 1
				for ; nights < most && c.outcomes()[want] == 0; nights++ {
					c.dayPasses(t)
					if r := c.run(t, "run"); r.code != 3 && c.outcomes()[want] == 0 {
						t.Errorf("night %d: exit %d while the person waits", nights+1, r.code)
					}
				}
				if got := c.outcomes(); got["erased"] != people-1 || got[want] != 1 {
					t.Errorf("after %d nights: %v, want one %s", nights, got, want)
				}
				t.Logf("%s after %d nights", want, nights)
			})
		}
	}
}

// TestHealthyCalls: what an outcome rests on costs a run in which all is well next to
// nothing.
func TestHealthyCalls(t *testing.T) {
	const people = 2000
	c := newCrowd(t, sim.CustomerGauge, people, nil)
	r := c.mustRun(t, []int{0}, "run", "subjects.csv")
	calls := 0
	for _, e := range c.sim.Ledger(0) {
		if e.Op != "token" {
			calls++
		}
	}
	if got := c.outcomes(); got["erased"] != people {
		t.Errorf("%v", got)
	}
	// A look, the change, a look.
	if most := 3 * people * 101 / 100; calls > most {
		t.Errorf("%d calls, want at most %d", calls, most)
	}
	t.Logf("%d calls for %d people in %v", calls, people, r.took)
}

// TestMixedUp: answers that may be another's end nobody's request: who has one is for a
// person to look at.
func TestMixedUp(t *testing.T) {
	socket := []string{"transport: websocket", "url: ws://HOST/acqueon/ws", "agent_id: agent1"}
	for _, tt := range []struct {
		kind, fault string
		place       []string
	}{
		{sim.Voyado, "repeated_id", nil},
		{sim.Acqueon, "repeated_id", nil},
		{sim.Acqueon, "repeated_id", socket},
		{sim.Acqueon, "foreign", socket},
		{sim.Acqueon, "foreign_late", socket},
	} {
		name := tt.kind + " " + tt.fault
		if tt.place != nil {
			name += " on a socket"
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newCrowd(t, tt.kind, 3, nil, slices.Clone(tt.place)...)
			c.faults(tt.kind + ":" + tt.fault)
			r := c.run(t, "run", "--for", "20s", "subjects.csv")
			if got := c.outcomes(); got["held reference_in_doubt"] != 3 || r.code != 4 {
				t.Errorf("exit %d, %v", r.code, got)
			}
		})
	}
}

// TestDeclined: a request that the vendor's admin declines is settled as that, and asks for
// nothing any more.
func TestDeclined(t *testing.T) {
	c := newCrowd(t, sim.Acqueon, 3, nil)
	c.mustRun(t, []int{0}, "run", "subjects.csv")
	c.sim.Decline("", "10090")
	c.sim.Complete("", "")
	resp, err := http.Get(c.url + "/_sim/acqueon/confirmations.csv")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	c.write(t, "confirmations.csv", string(text))
	c.mustRun(t, []int{0}, "confirm", "confirmations.csv")
	c.mustRun(t, []int{0}, "run")
	if got := c.outcomes(); got["erased"] != 2 || got["failed declined"] != 1 {
		t.Errorf("%v", got)
	}
}
