package sim

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/google/go-cmp/cmp"
)

// asks are what a program does at each vendor, by operation.
var asks = map[string]func(b *bench) (answer, error){
	"token": func(b *bench) (answer, error) {
		return b.do("POST", "/oauth2/token", "grant_type=client_credentials&client_id=id&client_secret=secret", form...)
	},
	"preview": func(b *bench) (answer, error) { return b.do("GET", look+"?email=ben@example.com", "", legacy...) },
	"anonymize": func(b *bench) (answer, error) {
		return b.do("POST", look, "email=ben@example.com", slices.Concat(legacy, form)...)
	},
	"create-removal": func(b *bench) (answer, error) {
		return b.do("POST", "/api/v2/event-data/create-remove-customer-job?customerKey=k1", "", "Api-Key", "key")
	},
	"job-status": func(b *bench) (answer, error) {
		return b.do("GET", "/api/v2/event-data/job-status?jid=j", "", "Api-Key", "key")
	},
	"request": func(b *bench) (answer, error) {
		return b.do("POST", "/acqueon/lcm", fmt.Sprintf(sample, "message", "true"))
	},
}

var legacy = []string{"Authorization", "api_key legacy"}

// TestCanned: an answer that is not the vendor's comes before the effect, in the form that
// its name says, at those vendors that have it.
func TestCanned(t *testing.T) {
	const html = "text/html; charset=utf-8"
	for _, tt := range []struct {
		fault, op   string
		status      int
		contentType string
		body        string // contained
	}{
		{"404_empty", "preview", 404, "", ""},
		{"404_message", "anonymize", 404, "application/json", `{"message":"Not Found"}`},
		{"404_route", "create-removal", 404, "application/json", "no Route matched"},
		{"404_html", "job-status", 404, html, "nginx"},
		{"404_code", "preview", 404, "application/json", `"Code":300002`},
		{"405_code", "anonymize", 405, "application/json", `"Code":300003`},
		{"401_v6", "anonymize", 401, "application/json", "Unauthenticated."},
		{"404_v6", "anonymize", 404, "application/json", "No query results"},
		{"422_v6", "anonymize", 422, "application/json", `"errors":{"email":[`},
		{"403_html", "token", 403, html, "rejected"},
		{"403_html", "request", 403, html, "rejected"},
		{"maintenance", "anonymize", 200, html, "Maintenance"},
		{"unavailable", "preview", 200, "application/json", `{"Error":{"Message":"Service temporarily unavailable"}}`},
		{"unavailable", "job-status", 200, "application/json", `"message":"Service temporarily unavailable"`},
		{"unavailable_400", "create-removal", 400, "application/json", `"message":"Service temporarily unavailable"`},
		{"unavailable_400", "request", 400, "application/json", `{"error":"Service temporarily unavailable"}`},
		{"405", "anonymize", 405, "text/plain; charset=utf-8", "Method Not Allowed"},
		{"410", "preview", 410, "text/plain; charset=utf-8", "Gone"},
		{"501", "request", 501, "text/plain; charset=utf-8", "Not Implemented"},
		{"409", "create-removal", 409, "text/plain; charset=utf-8", "Conflict"},
	} {
		t.Run(tt.op+":"+tt.fault, func(t *testing.T) {
			b := start(t, Options{Faults: []string{"all." + tt.op + ":" + tt.fault}})
			a, err := asks[tt.op](b)
			if err != nil || a.status != tt.status || a.header.Get("Content-Type") != tt.contentType || !strings.Contains(a.body, tt.body) || tt.body == "" && a.body != "" {
				t.Errorf("%v %d %s %q", err, a.status, a.header.Get("Content-Type"), a.body)
			}
			if json.Valid([]byte(a.body)) != (tt.contentType == "application/json") {
				t.Errorf("JSON or not: %s", a.body)
			}
			if e := b.sim.Ledger(0)[0]; e.Effect || e.Looked || e.Fault != FaultKind(tt.fault) {
				t.Errorf("ledger %+v", e)
			}
		})
	}
	b := start(t, Options{Faults: []string{"voyado:404_code", "acqueon:422_v6"}})
	for _, op := range []string{"job-status", "request"} {
		if a, err := asks[op](b); err != nil || a.status != 200 {
			t.Errorf("%s: %v %d: another vendor's form", op, err, a.status)
		}
	}
}

// TestVerifyFault: a fault can be for those looks alone that come after an anonymize call.
func TestVerifyFault(t *testing.T) {
	b := start(t, Options{Faults: []string{"customergauge.verify:404_message"}})
	status := func(op string) int {
		a, err := asks[op](b)
		if err != nil {
			t.Fatal(err)
		}
		return a.status
	}
	other := func() int { return b.must("GET", look+"?email=ada@example.com", "", legacy...).status }
	if got := []int{status("preview"), status("anonymize"), status("preview"), other()}; !slices.Equal(got, []int{200, 200, 404, 200}) {
		t.Errorf("%v", got)
	}
}

// TestOneIdentifier: a fault can be for one person, by what the request names or asks about.
func TestOneIdentifier(t *testing.T) {
	b := start(t, Options{Faults: []string{"customergauge[ben@example.com]:403_html", "voyado[k1]:401"}})
	jid := b.voyado("POST", "create-remove-customer-job?customerKey=k3").JID
	for _, tt := range []struct {
		method, path string
		headers      []string
		status       int
	}{
		{"GET", look + "?email=ben@example.com", legacy, 403},
		{"GET", look + "?email=ada@example.com", legacy, 200},
		{"POST", "/api/v2/event-data/create-remove-customer-job?customerKey=k1", []string{"Api-Key", "key"}, 401},
		{"GET", "/api/v2/event-data/job-status?jid=" + jid, []string{"Api-Key", "key"}, 200},
	} {
		if a := b.must(tt.method, tt.path, "", tt.headers...); a.status != tt.status {
			t.Errorf("%s %s: %d", tt.method, tt.path, a.status)
		}
	}
	b = start(t, Options{Faults: []string{"voyado.job-status[k3]:403_html"}})
	jid = b.voyado("POST", "create-remove-customer-job?customerKey=k3").JID
	if a := b.must("GET", "/api/v2/event-data/job-status?jid="+jid, "", "Api-Key", "key"); a.status != 403 {
		t.Errorf("the job of that key: %d", a.status)
	}
}

// TestEmptyAndSlow: a call that is accepted with nothing in the answer has its effect, which
// may come later.
func TestEmptyAndSlow(t *testing.T) {
	for fault, status := range map[string]int{"empty_200": 200, "empty_202": 202, "empty_204": 204} {
		b := start(t, Options{Faults: []string{"customergauge.anonymize:" + fault + ",slow=1h"}})
		a, err := asks["anonymize"](b)
		if err != nil || a.status != status || a.body != "" {
			t.Errorf("%s: %v %d %q", fault, err, a.status, a.body)
		}
		held := func() (n int) {
			for _, r := range b.sim.Remaining().CustomerGauge["customergauge"] {
				if !r.Anonymized {
					n++
				}
			}
			return n
		}
		seen := func() int { return len(contacts(t, b.must("GET", look+"?email=ben@example.com", "", legacy...).body)) }
		if e := b.sim.Ledger(0)[0]; !e.Effect || len(e.Records) != 1 || held() != 3 || seen() != 1 {
			t.Errorf("%s: %+v, %d held, %d seen", fault, e, held(), seen())
		}
		b.clock.add(time.Hour)
		if held() != 2 || seen() != 0 {
			t.Errorf("%s: %d held an hour later, %d seen", fault, held(), seen())
		}
	}
}

// TestNobody: an account that shows nobody changes nobody, and the ledger tells what it
// really holds from what it shows.
func TestNobody(t *testing.T) {
	b := start(t, Options{})
	b.must("GET", look+"?email=ada@example.com", "", legacy...)
	b.must("GET", look+"?email=nobody@example.com", "", legacy...)
	if err := b.sim.SetFaults("customergauge:nobody"); err != nil {
		t.Fatal(err)
	}
	for _, op := range []string{"preview", "anonymize"} {
		if a, err := asks[op](b); err != nil || a.body != `{"Data":[],"total":0}` {
			t.Errorf("%s: %v %s", op, err, a.body)
		}
	}
	var got []string
	for _, e := range b.sim.Ledger(0) {
		got = append(got, fmt.Sprint(e.Op, " ", e.Looked, " ", e.Found, " ", e.Effect))
	}
	want := []string{"preview true 2 false", "preview true 0 false", "preview false 0 false", "anonymize false 0 false"}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("ledger (-want +got):\n%s", d)
	}
}

// TestRepeatedIDs: each answer names the first job or ticket, and the ledger the real one.
func TestRepeatedIDs(t *testing.T) {
	b := start(t, Options{Faults: []string{"all:repeated_id"}})
	first, second, third := b.voyado("POST", "create-remove-customer-job?customerKey=k1"), b.voyado("POST", "create-remove-customer-job?customerKey=k3"), b.voyado("POST", "create-remove-customer-job?customerKey=k3")
	if e := b.sim.Ledger(0); first.JID != second.JID || first.JID != third.JID || e[0].Reference != first.JID || e[1].Reference == second.JID || !e[1].Effect {
		t.Errorf("%s %s: %+v", first.JID, second.JID, e)
	}
	b.sim.Advance(7)
	if h := b.sim.Remaining().Voyado["voyado"]; len(h.Keys) != 0 {
		t.Errorf("%v are left", h.Keys)
	}
	for range 3 {
		if a, err := asks["request"](b); err != nil || !strings.Contains(a.body, `"10089"`) {
			t.Errorf("%v %s", err, a.body)
		}
	}
	if n := len(b.sim.Remaining().Acqueon["acqueon"]); n != 3 {
		t.Errorf("%d tickets", n)
	}
}

// TestBus: what else happens on a bus, over a websocket.
func TestBus(t *testing.T) {
	for _, tt := range []struct {
		fault   string
		sent    string   // payload under message, data or both
		want    []string // contained in each message that arrives
		tickets int
	}{
		{"foreign", "message", []string{`"10089"`, `"10090"`}, 2},
		{"foreign_late", "message", []string{`"10090"`, `"10089"`}, 2},
		{"success_false", "message", []string{`{"response":"10089","success":false}`}, 0},
		{"bus_error", "message", []string{`"errorMessage":"The agent is not logged in"`}, 0},
		{"only_data", "data", []string{`"data":{"response":"10089"}`}, 1},
		{"only_data", "both", []string{`"data":{"response":"10089"}`}, 1},
		{"only_data", "message", nil, 0},
		{"only_message", "message", []string{`"message":{"response":"10089"}`}, 1},
		{"only_message", "both", []string{`"message":{"response":"10089"}`}, 1},
		{"only_message", "data", nil, 0},
	} {
		t.Run(tt.fault+" "+tt.sent, func(t *testing.T) {
			b := start(t, Options{Faults: []string{"acqueon:" + tt.fault}})
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			c, _, err := websocket.Dial(ctx, "ws"+strings.TrimPrefix(b.url, "http")+"/acqueon/ws", nil)
			if err != nil {
				t.Fatal(err)
			}
			defer c.CloseNow()
			body := fmt.Sprintf(sample, "message", "true")
			switch tt.sent {
			case "data":
				body = fmt.Sprintf(sample, "data", "true")
			case "both":
				var m map[string]any
				if err := json.Unmarshal([]byte(body), &m); err != nil {
					t.Fatal(err)
				}
				m["data"] = m["message"]
				both, err := json.Marshal(m)
				if err != nil {
					t.Fatal(err)
				}
				body = string(both)
			}
			if err := c.Write(ctx, websocket.MessageText, []byte(body)); err != nil {
				t.Fatal(err)
			}
			for _, want := range tt.want {
				if _, got, err := c.Read(ctx); err != nil || !strings.Contains(string(got), want) {
					t.Errorf("%v %s, want %s", err, got, want)
				}
			}
			if tt.want == nil {
				if _, got, err := c.Read(ctx); err == nil {
					t.Errorf("answered: %s", got)
				}
			}
			if n := len(b.sim.Remaining().Acqueon["acqueon"]); n != tt.tickets {
				t.Errorf("%d tickets", n)
			}
			if done := b.sim.Complete("", ""); done != min(1, tt.tickets) {
				t.Errorf("the admin finished %d tickets of ours", done)
			}
		})
	}
}

// TestDecline: a ticket is finished or declined, once, and the list says which.
func TestDecline(t *testing.T) {
	b := start(t, Options{})
	for range 2 {
		if _, err := asks["request"](b); err != nil {
			t.Fatal(err)
		}
	}
	if a := b.must("POST", "/_sim/acqueon/decline?reference=10089", ""); a.body != "{\"declined\":1}\n" {
		t.Errorf("%s", a.body)
	}
	if a := b.must("POST", "/_sim/acqueon/complete", ""); a.body != "{\"completed\":1}\n" {
		t.Errorf("%s", a.body)
	}
	want := "vendor,reference,completed_at,outcome\nacqueon,10089,2026-03-02T15:00:00Z,declined\nacqueon,10090,2026-03-02T15:00:00Z,done\n"
	if got := b.must("GET", "/_sim/acqueon/confirmations.csv", "").body; got != want {
		t.Errorf("%s", got)
	}
}

// TestClock: an answer's Date is off by what the fault says, whatever else happens.
func TestClock(t *testing.T) {
	for fault, off := range map[string]time.Duration{"clock=2h": 2 * time.Hour, "clock=-90m": -90 * time.Minute, "clock=2h,429=1x": 2 * time.Hour} {
		b := start(t, Options{Faults: []string{"all:" + fault}})
		for _, op := range []string{"preview", "create-removal", "request"} {
			a, err := asks[op](b)
			at, dateErr := http.ParseTime(a.header.Get("Date"))
			if err != nil || dateErr != nil || !at.Equal(b.clock.now().Add(off)) {
				t.Errorf("%s at %s: %v, %v", fault, op, at, err)
			}
		}
	}
}

// TestControlAndOther: each account has its control record, and the other account knows
// nobody of the first.
func TestControlAndOther(t *testing.T) {
	s := new(Seed)
	s.Generate(20, 1)
	s.Other(20, 1)
	s.Control()
	if err := s.check(); err != nil {
		t.Fatal(err)
	}
	known := map[string]string{}
	for _, a := range s.CustomerGauge {
		controls := 0
		for _, r := range a.Records {
			if r.Control {
				controls++
				if r.Email != ControlEmail || r.Telephone != ControlTelephone {
					t.Errorf("%+v", r)
				}
				continue
			}
			if other, ok := known[r.Email]; ok && other != a.Name {
				t.Errorf("%s is known at both", r.Email)
			}
			known[r.Email] = a.Name
		}
		if controls != 1 || len(a.Records) < 15 {
			t.Errorf("%s: %d controls, %d records", a.Name, controls, len(a.Records))
		}
	}
	if len(s.CustomerGauge) != 2 || s.CustomerGauge[1].ClientID != OtherClientID || s.Voyado[1].APIKey != OtherAPIKey || len(s.Voyado[1].Keys) < 15 || len(s.Acqueon) != 2 {
		t.Errorf("%+v", s)
	}
}
