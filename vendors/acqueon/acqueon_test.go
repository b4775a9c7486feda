package acqueon

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v4"

	"expunge/vendors"
	"expunge/vendors/vendortest"
)

const (
	secret  = "header-secret-in-a-test"
	account = "934|1|475|0|0|44|59"
)

func full() vendors.Subject {
	return vendors.Subject{
		{Field: vendors.Email, Text: "john.doe@example.com"},
		{Field: vendors.OtherEmail, Text: "jd@example.org"},
		{Field: vendors.Telephone, Text: "+1-202-555-0143"},
		{Field: vendors.OtherTelephone, Text: "+44 7700 900123"},
		{Field: vendors.AccountNumber, Text: account},
		{Field: vendors.CallID, Text: "call-77"},
		{Field: vendors.AgentID, Text: "agent-7"},
		{Field: vendors.CustomerName, Text: "John <Doe> & Søn"},
		{Field: vendors.Comments, Text: "asked by \"phone\"\nat noon"},
		{Field: vendors.CustomerID, Text: "C-4471"},
	}
}

// least is what a request cannot do without.
func least() vendors.Subject {
	return vendors.Subject{
		{Field: vendors.Telephone, Text: "+1-202-555-0143"},
		{Field: vendors.AccountNumber, Text: account},
	}
}

func target(s vendors.Subject) *vendors.Target {
	return &vendors.Target{Ref: vendors.Ref{Field: vendors.AccountNumber}, Subject: s}
}

func testConfig(base string) *Config {
	c := newConfig()
	c.URL, c.AgentID = base+"/lcm/requests", "agent-1"
	c.Headers = map[string]vendors.Secret{"authorization": vendors.NewSecret("Bearer " + secret)}
	return c
}

func open(t testing.TB, c *Config, tr vendors.Transport) *Vendor {
	t.Helper()
	v, err := c.Open(vendors.Options{Name: "acqueon", Transport: tr})
	if err != nil {
		t.Fatal(err)
	}
	return v.(*Vendor)
}

func recorded(t testing.TB, name string) http.HandlerFunc {
	return vendortest.Reply(200, vendortest.Wire(t, "acqueon/"+name))
}

// answered is the vendor's answer to a request in a dialect.
func answered(t testing.TB, dialect string) http.HandlerFunc {
	if dialect == dialectTable {
		return recorded(t, "response-table.json")
	}
	return recorded(t, "response-sample.json")
}

func message(payload string) string {
	return `{"channel":"LCM","topic":"WebService","subtopic":"SetPseudonymizationResponse",` + payload + `}`
}

// notResponses are messages in which no id of our request can be read.
var notResponses = []string{
	`{}`,
	message(`"message":{}`),
	message(`"message":null`),
	message(`"message":"10089"`),
	message(`"message":{"response":null}`),
	message(`"message":{"response":""}`),
	message(`"message":{"response":true}`),
	message(`"message":{"response":"agent not logged in 7"}`),
	message(`"message":{"response":"failure"}`),
	message(`"message":{"response":"0"}`),
	message(`"message":{"response":-1}`),
	message(`"message":{"response":"10089"},"data":{"response":"10090"}`),
	message(`"message":{"response":"` + account + `"}`),
	message(`"message":{"response":"12025550143"}`),
	message(`"message":{"response":"` + strings.Repeat("1", 65) + `"}`),
	`{"channel":"LCM","topic":"WebService","subtopic":"CreatePseudonymizationRequest","message":{"response":"10089"}}`,
	`{"channel":"LCM","topic":"Agent","subtopic":"SetPseudonymizationResponse","message":{"response":"10089"}}`,
	`{"channel":"CRM","topic":"WebService","subtopic":"SetPseudonymizationResponse","message":{"response":"10089"}}`,
	`{"topic":"WebService","subtopic":"SetPseudonymizationResponse","message":{"response":"10089"}}`,
	`{"message":{"response":"10089"}}`,

	// An id beside words that deny it.
	message(`"success":false,"message":{"response":"10089"}`),
	message(`"message":{"response":"10089","success":false}`),
	message(`"data":{"response":"10089","Success":"false"}`),
	message(`"message":{"response":"10089","error":{"code":7}}`),
	message(`"message":{"response":"10089","errors":["no"]}`),
	message(`"error":true,"message":{"response":"10089"}`),
	message(`"message":{"response":"10089","errorType":"INVALID"}`),
	message(`"message":{"response":"10089","errorMessage":"agent is not logged in","msg":"Please log in"}`),
	message(`"message":{"response":"10089"},"data":{"errorMessage":"agent is not logged in"}`),
	`{"channel":"LCM","message":` + message(`"message":{"response":"10089"}`) + `,"errorType":"INVALID"}`,
	`{"message":{"message":` + message(`"message":{"response":"10089"}`) + `}}`, // a packet too many
}

// TestConformance is the suite of every adapter, in both dialects.
func TestConformance(t *testing.T) {
	for _, dialect := range dialects {
		t.Run(dialect, func(t *testing.T) {
			vendortest.Run(t, vendortest.Case{
				Open: func(t testing.TB, base string, tr vendors.Transport) vendors.Vendor {
					c := testConfig(base)
					c.Dialect = dialect
					v, err := c.Open(vendors.Options{Name: "vendor-under-test", Transport: tr})
					if err != nil {
						t.Fatal(err)
					}
					return v
				},
				Serve:   answered(t, dialect),
				Target:  *target(full()),
				Refuse:  vendortest.Reply(422, `{"error":"channel must be LCM"}`),
				Secrets: []string{secret},
				Unclear: notResponses,
			})
		})
	}
}

// TestRequests pins the message in all dialects, byte for byte. An admin acts on it.
func TestRequests(t *testing.T) {
	for _, test := range []struct {
		golden, dialect string
		subject         vendors.Subject
	}{
		{"request-both.http", dialectBoth, full()},
		{"request-both-least.http", dialectBoth, least()},
		{"request-sample.http", dialectSample, full()},
		{"request-sample-least.http", dialectSample, least()},
		{"request-table.http", dialectTable, full()},
		{"request-table-least.http", dialectTable, least()},
	} {
		t.Run(test.golden, func(t *testing.T) {
			server := vendortest.NewServer(t, recorded(t, "response-sample.json"))
			c := testConfig(server.URL)
			c.Dialect = test.dialect
			_, err := open(t, c, vendortest.NewTransport(t, "acqueon", 0)).Submit(t.Context(), target(test.subject))
			got := server.Got()
			if err != nil || len(got) != 1 {
				t.Fatalf("%d requests, %v", len(got), err)
			}
			vendortest.Golden(t, "acqueon/"+test.golden, got[0], "Accept", "Authorization", "Content-Type")
		})
	}
}

// TestEveryField: the vendor's page marks every field as mandatory. One that is left out
// because it is empty makes a request that may be refused, or worse, half taken in.
func TestEveryField(t *testing.T) {
	for dialect, want := range map[string][]string{
		dialectBoth: {"AccountNumber", "AgentComments", "AgentID", "CallId", "CustomerID", "CustomerName", "EmailID",
			"IsPseudonymize", "OtherEmailID", "OtherPhoneNumber", "PhoneNumber", "RequestType", "callid"},
		dialectSample: {"AccountNumber", "AgentComments", "AgentID", "CustomerID", "CustomerName", "EmailID",
			"IsPseudonymize", "OtherEmailID", "OtherPhoneNumber", "PhoneNumber", "RequestType", "callid"},
		dialectTable: {"AccountNumber", "AgentComments", "AgentID", "CallId", "CustomerName", "EmailID",
			"IsPseudonymize", "OtherEmailID", "OtherPhoneNumber", "PhoneNumber", "RequestType"},
	} {
		b, err := encode(dialect, "expunge", "agent-1", account, least())
		if err != nil {
			t.Fatal(err)
		}
		var m struct {
			Message, Data map[string]any
		}
		if err := json.Unmarshal(b, &m); err != nil {
			t.Fatal(err)
		}
		payload, other := m.Message, m.Data
		switch dialect {
		case dialectTable:
			payload, other = other, payload
		case dialectBoth:
			if diff := cmp.Diff(payload, other); diff != "" {
				t.Errorf("-message +data:\n%s", diff)
			}
			other = nil
		}
		var names []string
		for name := range payload {
			names = append(names, name)
		}
		slices.Sort(names)
		if diff := cmp.Diff(want, names); diff != "" || other != nil {
			t.Errorf("%s: -want +got:\n%s", dialect, diff)
		}
		if payload["IsPseudonymize"] != true || payload["AccountNumber"] != account || payload["AgentID"] != "agent-1" {
			t.Errorf("%s: %v", dialect, payload)
		}
	}
}

// TestResponses: only what is surely the answer to our request gives a reference.
func TestResponses(t *testing.T) {
	for name, test := range map[string]struct{ body, want string }{
		"sample":              {vendortest.Wire(t, "acqueon/response-sample.json"), "10089"},
		"table":               {vendortest.Wire(t, "acqueon/response-table.json"), "10089"},
		"letters in any case": {`{"Channel":"lcm","TOPIC":"WEBSERVICE","subTopic":"setpseudonymizationresponse","message":{"Response":"10089"}}`, "10089"},
		"both, and the same":  {message(`"message":{"response":"10089"},"data":{"response":10089}`), "10089"},
		"an empty one beside": {message(`"message":{"response":"PR-7"},"data":null`), "PR-7"},
		"fields we know not":  {message(`"source":"lcm","message":{"response":"10089","state":"new"}`), "10089"},
		"a mark at the begin": {"\ufeff" + message(`"message":{"response":"10089"}`), "10089"},
		"a packet around it":  {`{"channel":"LCM","topic":"","message":` + message(`"data":{"response":"10089"}`) + `}`, "10089"},
		"a packet's data":     {`{"channel":"LCM","subTopic":"","data":` + message(`"message":{"response":"10089"}`) + `}`, "10089"},
		"success": {message(`"success":true,"error":null,"message":{"response":"10089","success":"true","error":"","errors":[],` +
			`"errorType":"","errorMessage":" ","msg":"raised"}`), "10089"},
		"an id with a hyphen":  {message(`"message":{"response":"a-1"}`), "a-1"},
		"an id that is a uuid": {message(`"message":{"response":"ca24b4e2-34ab-406a-a4db-b30b0247837a"}`), "ca24b4e2-34ab-406a-a4db-b30b0247837a"},
	} {
		if got, _, err := decode([]byte(test.body), full()); err != nil || got != test.want {
			t.Errorf("%s: %q, %v: want %q", name, got, err, test.want)
		}
	}
	for _, body := range notResponses {
		if got, _, err := decode([]byte(body), full()); err == nil {
			t.Errorf("%s passed for the response %q", body, got)
		}
	}
}

// TestIdentifiers: a request without an account number or a way to know the person is none.
func TestIdentifiers(t *testing.T) {
	ref := []vendors.Ref{{Field: vendors.AccountNumber}}
	email := vendors.Value{Field: vendors.OtherEmail, Text: "jd@example.org"}
	number := vendors.Value{Field: vendors.AccountNumber, Text: account}
	for _, test := range []struct {
		name    string
		subject vendors.Subject
		want    []vendors.Ref
		reason  vendors.Reason
	}{
		{"everything", full(), ref, ""},
		{"a telephone", least(), ref, ""},
		{"the other email", vendors.Subject{email, number}, ref, ""},
		{"no contact", vendors.Subject{number}, nil, vendors.MissingContact},
		{"a contact that is forgotten", vendors.Subject{{Field: vendors.Email, Text: "jxx", Masked: true}, number}, nil, vendors.MissingContact},
		{"no account number", vendors.Subject{email}, nil, vendors.NoIdentifier},
		{"a blank account number", vendors.Subject{email, {Field: vendors.AccountNumber, Text: " "}}, nil, vendors.NoIdentifier},
	} {
		got, reason := open(t, testConfig("http://127.0.0.1:1"), nil).Identifiers(test.subject)
		if diff := cmp.Diff(test.want, got); diff != "" || reason != test.reason {
			t.Errorf("%s: reason %q, want %q; -want +got:\n%s", test.name, reason, test.reason, diff)
		}
	}
}

// TestPreview: what a person must look at before an admin is asked.
func TestPreview(t *testing.T) {
	c := testConfig("http://127.0.0.1:1")
	with := open(t, c, nil) // no transport: a call would panic
	c.AgentID = ""
	without := open(t, c, nil)
	strange := least()
	strange[1].Text = "934\x00|1"
	long := least()
	long[1].Text = strings.Repeat("9", 257)
	for _, test := range []struct {
		name    string
		vendor  *Vendor
		subject vendors.Subject
		want    vendors.Preview
	}{
		{"the config's agent", with, least(), vendors.Preview{}},
		{"the row's agent", without, full(), vendors.Preview{}},
		{"no agent", without, least(), vendors.Preview{Doubt: vendors.NoAgent}},
		{"a control character", with, strange, vendors.Preview{Doubt: vendors.MalformedKey}},
		{"too long", with, long, vendors.Preview{Doubt: vendors.MalformedKey}},
	} {
		got, err := test.vendor.Preview(context.Background(), target(test.subject))
		if diff := cmp.Diff(test.want, got); err != nil || diff != "" {
			t.Errorf("%s: %v, -want +got:\n%s", test.name, err, diff)
		}
	}
	if _, err := without.Submit(t.Context(), target(least())); !errors.Is(err, vendors.ErrNotSent) {
		t.Errorf("a request without an agent: %v", err)
	}
}

// TestOneAtATime: the response does not say whose it is. Two at once could be exchanged.
func TestOneAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := open(t, testConfig("http://127.0.0.1:1"), nil)
		slow := &slowWire{release: make(chan struct{}), answer: []byte(vendortest.Wire(t, "acqueon/response-sample.json"))}
		v.wire = slow
		var group sync.WaitGroup
		for range 4 {
			group.Go(func() {
				if _, err := v.Submit(t.Context(), target(full())); err != nil {
					t.Error(err)
				}
			})
		}
		synctest.Wait() // one is under way, three wait for their turn
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		group.Go(func() {
			if _, err := v.Submit(ctx, target(full())); !errors.Is(err, vendors.ErrStopped) || !errors.Is(err, vendors.ErrNotSent) {
				t.Errorf("stopped while it waits for its turn: %v", err)
			}
		})
		synctest.Wait()
		stop()
		for sent := 1; sent <= 4; sent++ {
			synctest.Wait()
			if got := slow.sent.Load(); int(got) != sent {
				t.Errorf("%d messages have left, %d were answered", got, sent-1)
			}
			slow.release <- struct{}{}
		}
		group.Wait()
	})
}

// slowWire answers when it is told to.
type slowWire struct {
	sent    atomic.Int64
	release chan struct{}
	answer  []byte
}

func (w *slowWire) exchange(context.Context, string, []byte, string) ([]byte, error) {
	w.sent.Add(1)
	<-w.release
	return w.answer, nil
}

// TestConfig: the documented keys and defaults, and a key's name in each problem.
func TestConfig(t *testing.T) {
	c := newConfig()
	err := yaml.Unmarshal([]byte(`
kind: acqueon
transport: http
url: https://lcm.example.com/requests
agent_id: agent-1
source: our-app
dialect: table
resubmit_uncertain: true
concurrency: 8
headers:
  X-Account: north
  Authorization: Bearer `+secret), c)
	if err != nil {
		t.Fatal(err)
	}
	v := open(t, c, nil)
	if newConfig().Dialect != "both" {
		t.Error("the default dialect is not both: one of the vendor's two descriptions is not followed")
	}
	if c.Shared().Concurrency != 1 || c.Rate.PerSecond != 1 || c.Source != "our-app" || v.Traits().Uncertain != vendors.SubmitAgain {
		t.Errorf("not as configured: %+v", c)
	}
	if got := open(t, testConfig("http://127.0.0.1:1"), nil).Traits().Uncertain; got != vendors.HoldForPerson {
		t.Errorf("an uncertain request would be raised again without being asked for: %v", got)
	}
	if strings.Contains(fmt.Sprintf("%+v %#v", c, *c), secret) {
		t.Error("a printed config shows a header's value")
	}
	header := func(name, value string) func(*Config) {
		return func(c *Config) { c.Headers = map[string]vendors.Secret{name: vendors.NewSecret(value)} }
	}
	for _, test := range []struct {
		key    string
		change func(*Config)
	}{
		{"transport", func(c *Config) { c.Transport = "" }},
		{"transport", func(c *Config) { c.Transport = "carrier pigeon" }},
		{"url", func(c *Config) { c.URL = "" }},
		{"url", func(c *Config) { c.URL = "http://lcm.example.com/" }},
		{"url", func(c *Config) { c.URL = "wss://lcm.example.com/" }},
		{"base_url", func(c *Config) { c.BaseURL = "http://lcm.example.com/" }},
		{"dialect", func(c *Config) { c.Dialect = "neither" }},
		{"dialect", func(c *Config) { c.Dialect = "" }},
		{"source", func(c *Config) { c.Source = "" }},
		{"source", func(c *Config) { c.Source = "two\nlines" }},
		{"agent_id", func(c *Config) { c.AgentID = "two\nlines" }},
		{"agent_ids", func(c *Config) { c.AgentIDs = []string{"agent-2", ""} }},
		{"url", func(c *Config) { c.Transport = "websocket" }},
		{"url", func(c *Config) { c.Transport, c.URL = "websocket", "ws://lcm.example.com/" }},
		{"headers.Sec-WebSocket-Protocol", func(c *Config) {
			c.Transport, c.URL = "websocket", "wss://lcm.example.com/"
			header("Sec-WebSocket-Protocol", "v")(c)
		}},
		{"headers", header("X Account", "v")},
		{"headers.Host", header("Host", "v")},
		{"headers.content-type", header("content-type", "text/plain")},
		{"headers.X-Key", header("X-Key", secret+"\n")},
		{"headers.X-Key", header("X-Key", "")},
	} {
		c := testConfig("https://lcm.example.com")
		test.change(c)
		_, err := c.Open(vendors.Options{})
		var e *vendors.KeyError
		if !errors.As(err, &e) || e.Key != test.key || strings.Contains(e.Error()+e.Hint, secret) {
			t.Errorf("%v, want a problem with %s that quotes no secret", err, test.key)
		}
	}
	for _, test := range []struct{ transport, url, base, want string }{
		{"http", "https://lcm.example.com/requests", "", "https://lcm.example.com/requests"},
		{"http", "https://lcm.example.com/requests", "http://127.0.0.1:8080", "http://127.0.0.1:8080/requests"},
		{"http", "", "http://127.0.0.1:8080/x", "http://127.0.0.1:8080/x"},
		{"websocket", "wss://lcm.example.com/bus", "", "wss://lcm.example.com/bus"},
		{"websocket", "wss://lcm.example.com/bus", "http://127.0.0.1:8080", "ws://127.0.0.1:8080/bus"},
		{"websocket", "ws://localhost:8080/bus", "", "ws://localhost:8080/bus"},
	} {
		c := testConfig("")
		c.Transport, c.URL, c.BaseURL = test.transport, test.url, test.base
		if got, err := c.place(); err != nil || got.String() != test.want {
			t.Errorf("url %q, base_url %q: %v, %v, want %s", test.url, test.base, got, err, test.want)
		}
	}
}

// TestTraits: what the report says of an Acqueon erasure is never more than what a masking
// does, and the place is where messages go.
func TestTraits(t *testing.T) {
	tr := open(t, testConfig("https://LCM.example.com"), nil).Traits()
	if tr.Act != vendors.Pseudonymize || !strings.Contains(strings.Join(tr.Anonymizes, " "), "masked in part") || !strings.Contains(strings.Join(tr.Keeps, " "), "12XX33XX44") {
		t.Errorf("%+v", tr)
	}
	if strings.Contains(fmt.Sprint(tr), "deleted") {
		t.Error("a masking is not a deletion")
	}
	if tr.Place != "acqueon lcm.example.com/lcm/requests" || tr.SharedPlace {
		t.Errorf("place %q", tr.Place)
	}
	c := bridgeConfig()
	if got := open(t, c, nil).Traits().Place; got != "acqueon workspace.example.com" {
		t.Errorf("place of a bridge %q", got)
	}
}

// TestErrorAnswer: what the vendor says of a failure is passed on, to be shown without the
// person.
func TestErrorAnswer(t *testing.T) {
	for body, want := range map[string]string{
		`{"channel":"LCM","topic":"Error","subtopic":"ApiError","data":{"errorType":"T","errorMessage":"internal words","msg":"words for people"}}`: "words for people",
		message(`"message":{"response":"10089","errorMessage":"internal words"}`):                                                                   "internal words",
		message(`"message":{"response":"10089","errorType":"INVALID"}`):                                                                             "INVALID",
	} {
		v := open(t, testConfig("http://127.0.0.1:1"), vendortest.Canned{Answer: vendors.Answer{Status: 200, Body: []byte(body)}})
		_, err := v.Submit(t.Context(), target(full()))
		var e *vendors.Error
		if !errors.As(err, &e) || !errors.Is(err, vendors.ErrUnreadable) || !errors.Is(err, errFailed) || e.Message != want {
			t.Errorf("%s: %v, said %q, want %q", body, err, e.Message, want)
		}
	}
}

// TestCheck: the preflight cannot try, and must say so instead of looking as if it had.
func TestCheck(t *testing.T) {
	c := testConfig("http://127.0.0.1:1")
	for agent, want := range map[string]int{"agent-1": 1, "": 2} {
		c.AgentID = agent
		warnings, err := open(t, c, nil).Check(t.Context())
		if err != nil || len(warnings) != want || !strings.Contains(warnings[0], "cannot be tested") {
			t.Errorf("agent %q: %q, %v", agent, warnings, err)
		}
	}
}

// TestTimeout: a request that is not answered in time may have been raised.
func TestTimeout(t *testing.T) {
	server := vendortest.NewServer(t, http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) { <-req.Context().Done() }))
	v := open(t, testConfig(server.URL), vendortest.NewTransport(t, "acqueon", 100*time.Millisecond))
	_, err := v.Submit(t.Context(), target(full()))
	if !errors.Is(err, vendors.ErrUnavailable) || !errors.Is(err, vendors.ErrTimeout) || vendors.Harmless(err) {
		t.Errorf("no answer in time: %v", err)
	}
	vendortest.NoLeak(t, err, full(), secret)
}

// FuzzResponse: no message makes the adapter panic, or gives an id that could not be shown.
func FuzzResponse(f *testing.F) {
	files, err := filepath.Glob(filepath.Join("..", "..", "testdata", "wire", "acqueon", "*.json"))
	if err != nil || len(files) == 0 {
		f.Fatal("no recorded answers", err)
	}
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	for _, body := range notResponses {
		f.Add([]byte(body))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		v := open(t, testConfig("http://127.0.0.1:1"), vendortest.Canned{Answer: vendors.Answer{Status: 200, Body: body}})
		r, err := v.Submit(t.Context(), target(full()))
		if err != nil {
			if !errors.Is(err, vendors.ErrUnreadable) {
				t.Errorf("%v is not ErrUnreadable", err)
			}
			vendortest.NoLeak(t, err, full(), secret)
			return
		}
		lower := strings.ToLower(string(body))
		if !vendors.PlainToken(r.Reference, 64) || r.Reference == account || !strings.Contains(lower, "response") {
			t.Errorf("reference %q", r.Reference)
		}
	})
}
