package sim

import (
	"net/url"
	"strings"
	"testing"
)

// TestEcho: the fault quotes the person somewhere in every answer, has no effect, and comes
// in forms that an adapter meets as different failures; else `make leaks` would search for
// what nobody ever said.
func TestEcho(t *testing.T) {
	b := start(t, Options{})
	auth := []string{"Authorization", "Bearer " + b.token("id", "secret")}
	j := b.voyado("POST", "create-remove-customer-job?customerKey=k3-of-somebody")
	if err := b.sim.SetFaults("all:echo"); err != nil {
		t.Fatal(err)
	}
	statuses := map[int]bool{}
	for n := range 8 {
		a := b.must("POST", look, "email=Ada%40example.com", append(auth, form...)...)
		statuses[a.status] = true
		if !strings.Contains(a.body, "Ada") || !strings.Contains(a.header.Get("X-Request"), url.QueryEscape("Ada@example.com")) {
			t.Errorf("%d: %d %v %s", n, a.status, a.header, a.body)
		}
		if s := b.must("GET", "/api/v2/event-data/job-status?jid="+j.JID, "", "Api-Key", "key"); !strings.Contains(s.body, "k3-of-somebody") {
			t.Errorf("status %d: %s", n, s.body)
		}
		message := `{"channel":"LCM","topic":"WebService","subtopic":"CreatePseudonymizationRequest","message":{"AccountNumber":"934|1","CustomerName":"Zebulon"}}`
		if s := b.must("POST", "/acqueon/lcm", message); !strings.Contains(s.body, "Zebulon") {
			t.Errorf("message %d: %s", n, s.body)
		}
	}
	if len(statuses) < 4 {
		t.Errorf("only %v", statuses)
	}
	for _, e := range b.sim.Ledger(2) {
		if e.Effect || e.Fault != Echo {
			t.Errorf("%s had an effect or no fault: %+v", e.Op, e)
		}
	}
	r := b.sim.Remaining()
	if r.CustomerGauge["customergauge"][0].Anonymized || len(r.Acqueon["acqueon"]) > 0 {
		t.Error("something was done")
	}
}
