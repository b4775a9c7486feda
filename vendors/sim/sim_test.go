package sim

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// clock is a time that tests move by hand.
type clock struct {
	mu sync.Mutex
	t  time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(d)
}

// testSeed has two people behind one telephone, a person with two records, and linked keys.
func testSeed() *Seed {
	return &Seed{
		CustomerGauge: []CGAccount{
			{ClientID: "id", ClientSecret: "secret", APIKey: "legacy", Records: []Record{
				{FirstName: "Ada", LastName: "Ek", Email: "Ada@example.com", Telephone: "+12025550100"},
				{FirstName: "Ada", LastName: "Ek", Email: "ada@example.com"},
				{FirstName: "Ben", LastName: "Ek", Email: "ben@example.com", Telephone: "+12025550100"},
			}},
			{Name: "second", ClientID: "id2", ClientSecret: "secret2"},
		},
		Voyado: []VoyadoAccount{
			{APIKey: "key", Keys: []VoyadoKey{
				{Key: "k1", Events: 4, Linked: []string{"k2"}}, {Key: "k2", Events: 1}, {Key: "k3", Events: 1},
			}},
			{Name: "second", APIKey: "key2"},
		},
		Acqueon: []AcqueonAccount{{}, {Name: "second"}},
	}
}

type bench struct {
	*testing.T
	sim   *Sim
	url   string
	clock *clock
	http  *http.Client
}

func start(t *testing.T, o Options) *bench {
	t.Helper()
	c := &clock{t: time.Date(2026, 3, 2, 15, 0, 0, 0, time.UTC)}
	if o.Seed == nil {
		o.Seed = testSeed()
	}
	o.Now = c.now
	s := New(o)
	srv := httptest.NewServer(s)
	// Without keep-alive the client never repeats a request on its own.
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	t.Cleanup(func() { s.Close(); client.CloseIdleConnections(); srv.Close() })
	return &bench{t, s, srv.URL, c, client}
}

type answer struct {
	status int
	header http.Header
	body   string
}

func (b *bench) do(method, path, body string, headers ...string) (answer, error) {
	b.Helper()
	req, err := http.NewRequestWithContext(b.Context(), method, b.url+path, strings.NewReader(body))
	if err != nil {
		b.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := b.http.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	return answer{resp.StatusCode, resp.Header, string(data)}, err
}

func (b *bench) must(method, path, body string, headers ...string) answer {
	b.Helper()
	a, err := b.do(method, path, body, headers...)
	if err != nil {
		b.Fatal(err)
	}
	return a
}

var form = []string{"Content-Type", "application/x-www-form-urlencoded"}

func (b *bench) token(id, secret string) string {
	b.Helper()
	v := url.Values{"grant_type": {"client_credentials"}, "client_id": {id}, "client_secret": {secret}}
	a := b.must("POST", "/oauth2/token", v.Encode(), form...)
	var out struct {
		Token   string `json:"access_token"`
		Type    string `json:"token_type"`
		Expires int    `json:"expires_in"`
	}
	if err := json.Unmarshal([]byte(a.body), &out); err != nil || a.status != 200 || out.Type != "Bearer" {
		b.Fatalf("token: %d %s", a.status, a.body)
	}
	return out.Token
}

// contacts are what a CustomerGauge answer shows: the emails and record numbers, in order.
func contacts(t *testing.T, body string) []string {
	t.Helper()
	var in struct {
		Data []struct {
			First  string `json:"first_name"`
			Email  string `json:"email"`
			Number any    `json:"number_customergauge"`
		}
		Total any
	}
	if err := json.Unmarshal([]byte(body), &in); err != nil {
		t.Fatalf("%v in %s", err, body)
	}
	if fmt.Sprint(in.Total) != fmt.Sprint(len(in.Data)) {
		t.Errorf("total %v with %d records", in.Total, len(in.Data))
	}
	out := []string{}
	for _, d := range in.Data {
		out = append(out, fmt.Sprintf("%v %s %s", d.Number, d.First, d.Email))
	}
	return out
}

const look = "/v4.1/anonymize.json"

// TestCustomerGauge walks the vendor's guide: without this order of effects, nothing that
// expunge verifies would mean anything.
func TestCustomerGauge(t *testing.T) {
	b := start(t, Options{})
	auth := []string{"Authorization", "Bearer " + b.token("id", "secret")}

	got := contacts(t, b.must("GET", look+"?email=ADA@example.com", "", auth...).body)
	want := []string{"10001 Ada Ada@example.com", "10002 Ada ada@example.com"}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("by email, without case (-want +got):\n%s", d)
	}
	byPhone := look + "?telephone=" + url.QueryEscape("+12025550100")
	got = contacts(t, b.must("GET", byPhone, "", auth...).body)
	want = []string{"10001 Ada Ada@example.com", "10003 Ben ben@example.com"}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("a shared telephone shows both people (-want +got):\n%s", d)
	}
	if got := contacts(t, b.must("GET", look+"?telephone=12025550100", "", auth...).body); len(got) != 0 {
		t.Errorf("another spelling of the telephone found %v", got)
	}

	got = contacts(t, b.must("POST", look, "email=ada%40example.com", append(auth, form...)...).body)
	if len(got) != 2 || !strings.HasPrefix(got[0], "10001 *** ") || strings.Contains(got[0], "ada@") {
		t.Errorf("anonymize answered %v", got)
	}
	if got := contacts(t, b.must("GET", look+"?email=ada@example.com", "", auth...).body); len(got) != 0 {
		t.Errorf("still there after anonymize: %v", got)
	}
	got = contacts(t, b.must("GET", byPhone, "", auth...).body)
	if d := cmp.Diff([]string{"10003 Ben ben@example.com"}, got); d != "" {
		t.Errorf("the other person (-want +got):\n%s", d)
	}
	for _, r := range b.sim.Remaining().CustomerGauge["customergauge"] {
		if r.Anonymized != (r.Number != 10003) || r.Anonymized && (r.LastName != "***" || r.Telephone != "***") {
			t.Errorf("record %+v", r)
		}
	}
	ledger := b.sim.Ledger(0)
	last := ledger[4]
	if last.Op != "anonymize" || !last.Changes || !last.Effect || len(last.Records) != 2 || last.Records[0].Email != "Ada@example.com" {
		t.Errorf("ledger entry of the anonymize call: %+v", last)
	}
	if again := b.must("POST", look, "email=ada%40example.com", append(auth, form...)...); again.status != 200 {
		t.Errorf("again: %d", again.status)
	}
	if e := b.sim.Ledger(0); e[len(e)-1].Effect {
		t.Error("a second anonymize call is counted as an effect")
	}
}

// TestCustomerGaugeAnswers are the single answers that an adapter must understand.
func TestCustomerGaugeAnswers(t *testing.T) {
	const askOne = `{"Error":{"Message":"Please make an API request by email or telephone"}}`
	tests := []struct {
		name         string
		o            Options
		method, path string
		body         string
		headers      []string // besides the token
		status       int
		want         string
	}{
		{"neither", Options{}, "GET", look, "", nil, 400, askOne},
		{"both", Options{}, "GET", look + "?email=a@example.com&telephone=1", "", nil, 400, askOne},
		{"errors with status 200", Options{CGErrorStatus: 200}, "GET", look, "", nil, 200, askOne},
		{"bad email", Options{}, "GET", look + "?email=nobody", "", nil, 400, `{"Error":{"Message":"Email is not valid"}}`},
		{"no match", Options{}, "GET", look + "?email=x@example.com", "", nil, 200, `{"Data":[],"total":0}`},
		{"no match without Data", Options{NoMatch: NoMatchMissing}, "GET", look + "?email=x@example.com", "", nil, 200, `{"total":0}`},
		{"no match as 404", Options{NoMatch: NoMatch404}, "GET", look + "?email=x@example.com", "", nil, 404, `{"Data":[],"total":0}`},
		{"POST of nothing", Options{}, "POST", look, "", form, 400, askOne},
		{"GET with a form, as in the vendor's example", Options{}, "GET", look, "email=x@example.com", form, 200, `{"Data":[],"total":0}`},
		{"v6 by phone", Options{}, "POST", "/v6/system-admin/data-admin/contacts/anonymize", `{"phone":"+1"}`, []string{"Content-Type", "application/json"}, 200, `{"Data":[],"total":0}`},
		{"v6 knows no telephone", Options{}, "POST", "/v6/system-admin/data-admin/contacts/anonymize", `{"telephone":"+1"}`, []string{"Content-Type", "application/json"}, 400, askOne},
		{"wrong token", Options{}, "GET", look, "", []string{"Authorization", "Bearer no"}, 401, `{"Error":{"Message":"The access token is invalid or has expired"}}`},
		{"API key", Options{}, "GET", look, "", []string{"Authorization", "api_key legacy"}, 400, askOne},
		{"API key alone", Options{}, "GET", look, "", []string{"Authorization", "legacy"}, 400, askOne},
		{"digits", Options{MatchDigits: true}, "GET", look + "?telephone=1-202-555-0999", "", nil, 200, `{"Data":[],"total":0}`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := start(t, tt.o)
			headers := append([]string{"Authorization", "Bearer " + b.token("id", "secret")}, tt.headers...)
			a := b.must(tt.method, tt.path, tt.body, headers...)
			if a.status != tt.status || a.body != tt.want {
				t.Errorf("got %d %s\nwant %d %s", a.status, a.body, tt.status, tt.want)
			}
		})
	}
}

// TestTokens: a token ends after its hour, belongs to one account, and wrong credentials
// get none; else expunge's renewal would never be exercised.
func TestTokens(t *testing.T) {
	b := start(t, Options{})
	one, two := b.token("id", "secret"), b.token("id2", "secret2")
	status := func(token string) int {
		return b.must("GET", look+"?email=ben@example.com", "", "Authorization", "Bearer "+token).status
	}
	if s := status(one); s != 200 {
		t.Errorf("fresh token: %d", s)
	}
	if got := b.must("GET", look+"?email=ben@example.com", "", "Authorization", "Bearer "+two).body; got != `{"Data":[],"total":0}` {
		t.Errorf("the second account sees the first one's people: %s", got)
	}
	b.clock.add(time.Hour)
	if s := status(one); s != 401 {
		t.Errorf("after an hour: %d, want 401", s)
	}
	v := url.Values{"grant_type": {"client_credentials"}, "client_id": {"id"}, "client_secret": {"wrong"}}
	if a := b.must("POST", "/oauth2/token", v.Encode(), form...); a.status != 401 {
		t.Errorf("wrong secret: %d, want 401", a.status)
	}
	if e := b.sim.Ledger(0); e[len(e)-1].Account != "" || e[0].Account != "customergauge" || e[1].Account != "second" {
		t.Errorf("accounts in the ledger: %q %q %q", e[0].Account, e[1].Account, e[len(e)-1].Account)
	}
}

func (b *bench) voyado(method, call string) jobAnswer {
	b.Helper()
	a := b.must(method, "/api/v2/event-data/"+call, "", "Api-Key", "key")
	var j jobAnswer
	if err := json.Unmarshal([]byte(a.body), &j); err != nil || a.status != 200 {
		b.Fatalf("%s: %d %s", call, a.status, a.body)
	}
	return j
}

// TestVoyadoRemoval follows a job over its days: removed is only what done says, and not
// a day earlier.
func TestVoyadoRemoval(t *testing.T) {
	b := start(t, Options{})
	j := b.voyado("POST", "create-remove-customer-job?customerKey=k1")
	if j.Status != "started" {
		t.Errorf("v2 answers %q, want started", j.Status)
	}
	keys := func() int { return len(b.sim.Remaining().Voyado["voyado"].Keys) }
	for _, step := range []struct {
		add    time.Duration
		status string
		keys   int
	}{
		{0, "started", 3},
		{2 * time.Hour, "waiting", 3},
		{4*24*time.Hour + 21*time.Hour, "waiting", 3},
		{time.Hour, "running", 3},
		{24 * time.Hour, "done", 1}, // the linked key is gone as well
	} {
		b.clock.add(step.add)
		if got := b.voyado("GET", "job-status?jid="+j.JID).Status; got != step.status || keys() != step.keys {
			t.Errorf("after another %v: %s with %d keys, want %s with %d", step.add, got, keys(), step.status, step.keys)
		}
	}
	again := b.voyado("POST", "create-remove-customer-job?customerKey=k1")
	if again.JID == j.JID {
		t.Error("a repeated removal has the same job id")
	}
	if got := b.voyado("GET", "job-status?jid=unknown"); got != (jobAnswer{"unknown", "not_found"}) {
		t.Errorf("unknown job: %+v", got)
	}
}

// TestVoyadoAnswers are the single answers, in every version.
func TestVoyadoAnswers(t *testing.T) {
	tests := []struct {
		name, method, path, key string
		status                  int
		contains                string
	}{
		{"v3", "POST", "/api/admin/v3/event-data/create-remove-customer-job?customerKey=x", "key", 200, `"status":"created"`},
		{"v4", "POST", "/api/admin/v4/event-data/create-remove-customer-job?customerKey=x", "key", 200, `"status":"created"`},
		{"v2 export", "POST", "/api/v2/event-data/create-export-customer-job?customerKey=x", "key", 200, `"status":"created"`},
		{"no key", "POST", "/api/v2/event-data/create-remove-customer-job", "key", 400, ""},
		{"wrong Api-Key", "POST", "/api/v2/event-data/create-remove-customer-job?customerKey=x", "no", 403, ""},
		{"no jid", "GET", "/api/v2/event-data/job-status", "key", 400, ""},
		{"no such export", "GET", "/api/v2/event-data/export-customer-job-result?jid=x", "key", 404, ""},
		{"a removal needs POST", "GET", "/api/v2/event-data/create-remove-customer-job?customerKey=x", "key", 404, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := start(t, Options{})
			a := b.must(tt.method, tt.path, "", "Api-Key", tt.key)
			if a.status != tt.status || !strings.Contains(a.body, tt.contains) {
				t.Errorf("got %d %s", a.status, a.body)
			}
			made := len(b.sim.Remaining().Voyado["voyado"].Jobs)
			if e := b.sim.Ledger(0)[0]; e.Effect != (tt.status == 200) || made == 1 != e.Effect {
				t.Errorf("%d jobs, ledger %+v", made, e)
			}
		})
	}
}

func zipFiles(t *testing.T, body string) map[string]string {
	t.Helper()
	z, err := zip.NewReader(bytes.NewReader([]byte(body)), int64(len(body)))
	if err != nil {
		t.Fatal(err)
	}
	files := make(map[string]string)
	for _, f := range z.File {
		r, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		r.Close()
		files[f.Name] = string(data)
	}
	return files
}

// TestVoyadoExport: an export sees what a removal started after it takes, can be fetched
// once and for a week only.
func TestVoyadoExport(t *testing.T) {
	b := start(t, Options{})
	result := func(jid string) answer {
		return b.must("GET", "/api/v2/event-data/export-customer-job-result?jid="+jid, "", "Api-Key", "key")
	}
	full := b.voyado("POST", "create-export-customer-job?customerKey=k1").JID
	late := b.voyado("POST", "create-export-customer-job?customerKey=k3").JID
	none := b.voyado("POST", "create-export-customer-job?customerKey=nobody").JID
	b.voyado("POST", "create-remove-customer-job?customerKey=k1")
	if a := result(full); a.status != 400 {
		t.Errorf("before it is done: %d", a.status)
	}
	b.clock.add(6 * 24 * time.Hour)

	lines := 0
	for name, text := range zipFiles(t, result(full).body) {
		if !strings.HasSuffix(name, ".jsonl") {
			t.Errorf("entry %q", name)
		}
		for line := range strings.Lines(text) {
			var v map[string]string
			if err := json.Unmarshal([]byte(line), &v); err != nil || v["customerKey"] != "k1" && v["customerKey"] != "k2" {
				t.Errorf("line %s: %v", line, err)
			}
			lines++
		}
	}
	if lines != 5 {
		t.Errorf("%d lines, want 4 of the key and 1 of its linked key", lines)
	}
	if d := cmp.Diff(map[string]string{"empty.txt": ""}, zipFiles(t, result(none).body)); d != "" {
		t.Errorf("nothing held (-want +got):\n%s", d)
	}
	if a := result(full); a.status != 404 {
		t.Errorf("fetched a second time: %d", a.status)
	}
	if s := b.voyado("GET", "job-status?jid="+full).Status; s != "not_found" {
		t.Errorf("status once fetched: %s", s)
	}
	b.clock.add(7 * 24 * time.Hour)
	if a := result(late); a.status != 404 {
		t.Errorf("a week late: %d", a.status)
	}
}

const sample = `{"channel":"LCM","topic":"WebService","subtopic":"CreatePseudonymizationRequest","source":"x",%q:` +
	`{"CustomerName":"","PhoneNumber":"+12025550100","OtherPhoneNumber":"","EmailID":"","OtherEmailID":"","CustomerID":"",` +
	`"AgentComments":"","AccountNumber":"934|1","callid":"934|1","AgentID":"a","RequestType":"Pseudonymization","IsPseudonymize":%s}}`

// TestAcqueon: each message makes a ticket, is answered in its own dialect, and a request
// that the documentation does not allow makes none.
func TestAcqueon(t *testing.T) {
	response := func(payload, id string) string {
		return fmt.Sprintf(`{"channel":"LCM",%q:{"response":%q},"subtopic":"SetPseudonymizationResponse","topic":"WebService"}`, payload, id)
	}
	sorted := func(body string) string {
		var v map[string]any
		if json.Unmarshal([]byte(body), &v) != nil {
			return body
		}
		out, _ := json.Marshal(v)
		return string(out)
	}
	b := start(t, Options{})
	tests := []struct {
		name, body string
		headers    []string
		status     int
		want       string // "": not compared
	}{
		{"sample", fmt.Sprintf(sample, "message", "true"), nil, 200, sorted(response("message", "10089"))},
		{"table", strings.Replace(fmt.Sprintf(sample, "data", "true"), "callid", "CallId", 1), nil, 200, sorted(response("data", "10090"))},
		{"topic of the table", strings.Replace(fmt.Sprintf(sample, "message", "true"), "WebService", "Webservice", 1), nil, 200, sorted(response("message", "10091"))},
		{"second account", fmt.Sprintf(sample, "message", "true"), []string{"X-Account", "second"}, 200, sorted(response("message", "10089"))},
		{"no such account", fmt.Sprintf(sample, "message", "true"), []string{"X-Account", "third"}, 403, ""},
		{"true as a string", fmt.Sprintf(sample, "message", `"true"`), nil, 400, ""},
		{"false", fmt.Sprintf(sample, "message", "false"), nil, 400, ""},
		{"a field missing", strings.Replace(fmt.Sprintf(sample, "message", "true"), `"EmailID":"",`, "", 1), nil, 400, ""},
		{"no JSON", "hello", nil, 400, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			before := len(b.sim.Ledger(0))
			a := b.must("POST", "/acqueon/lcm", tt.body, tt.headers...)
			if a.status != tt.status || tt.want != "" && sorted(a.body) != tt.want {
				t.Errorf("got %d %s\nwant %d %s", a.status, a.body, tt.status, tt.want)
			}
			if e := b.sim.Ledger(int64(before)); len(e) != 1 || e[0].Effect != (tt.status == 200) || !e[0].Changes {
				t.Errorf("ledger %+v", e)
			}
		})
	}
	if got := len(b.sim.Remaining().Acqueon["acqueon"]); got != 3 {
		t.Errorf("%d tickets, want 3", got)
	}

	if a := b.must("POST", "/_sim/acqueon/complete?account=acqueon&reference=10090", ""); a.body != "{\"completed\":1}\n" {
		t.Errorf("complete: %s", a.body)
	}
	got := b.must("GET", "/_sim/acqueon/confirmations.csv?vendor=acme", "").body
	if want := "vendor,reference,completed_at\nacme,10090,2026-03-02T15:00:00Z\n"; got != want {
		t.Errorf("confirmations:\n%s\nwant:\n%s", got, want)
	}
}

// TestAcqueonWebsocket: the same bus over a websocket, faults included: a lost reply still
// leaves a ticket, or expunge's rule for uncertain submissions would never be tried.
func TestAcqueonWebsocket(t *testing.T) {
	b := start(t, Options{})
	dial := func() *websocket.Conn {
		c, _, err := websocket.Dial(t.Context(), "ws"+strings.TrimPrefix(b.url, "http")+"/acqueon/ws", nil)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	send := func(c *websocket.Conn) (string, error) {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		if err := c.Write(ctx, websocket.MessageText, []byte(fmt.Sprintf(sample, "data", "true"))); err != nil {
			return "", err
		}
		_, data, err := c.Read(ctx)
		return string(data), err
	}
	c := dial()
	for _, want := range []string{"10089", "10090"} {
		if got, err := send(c); err != nil || !strings.Contains(got, want) {
			t.Errorf("got %s %v, want ticket %s", got, err, want)
		}
	}
	if err := b.sim.SetFaults("acqueon.request:lost=1x"); err != nil {
		t.Fatal(err)
	}
	if got, err := send(c); err == nil {
		t.Errorf("a lost reply arrived: %s", got)
	}
	c.CloseNow()
	if err := b.sim.SetFaults("acqueon.request:429=1x"); err != nil {
		t.Fatal(err)
	}
	c = dial()
	if _, err := send(c); websocket.CloseStatus(err) != websocket.StatusTryAgainLater {
		t.Errorf("429: %v", err)
	}
	c.CloseNow()
	var effects []string
	for _, e := range b.sim.Ledger(0) {
		effects = append(effects, fmt.Sprintf("%s %v %s", e.Op, e.Effect, e.Fault))
	}
	want := []string{"connect false ", "request true ", "request true ", "request true lost", "connect false ", "request false 429"}
	if d := cmp.Diff(want, effects); d != "" {
		t.Errorf("ledger (-want +got):\n%s", d)
	}
}

// TestFaults: each fault happens on the right side of the effect. The whole fault campaign
// rests on this.
func TestFaults(t *testing.T) {
	const create = "/api/v2/event-data/create-remove-customer-job?customerKey=k1"
	tests := []struct {
		fault  string
		status int // 0: the connection is cut
		effect bool
		check  func(t *testing.T, a answer)
	}{
		{"voyado:429", 429, false, func(t *testing.T, a answer) {
			if a.header.Get("Retry-After") != "1" {
				t.Errorf("Retry-After %q", a.header.Get("Retry-After"))
			}
		}},
		{"all:5xx", 500, false, nil},
		{"voyado:down", 503, false, nil},
		{"voyado.create-removal:cut", 0, false, nil},
		{"all:lost", 0, true, nil},
		{"voyado:garbage", 200, true, func(t *testing.T, a answer) {
			if !strings.HasPrefix(a.body, "<!doctype html>") || !strings.HasPrefix(a.header.Get("Content-Type"), "text/html") {
				t.Errorf("garbage: %s", a.body)
			}
		}},
		{"voyado:truncated", 200, true, func(t *testing.T, a answer) {
			if json.Valid([]byte(a.body)) || a.body == "" {
				t.Errorf("truncated: %s", a.body)
			}
		}},
		{"customergauge:down", 200, true, nil},
		{"voyado.job-status:down", 200, true, nil},
		{"voyado:429=0", 200, true, nil},
		{"voyado:latency=1ms", 200, true, nil},
	}
	for _, tt := range tests {
		t.Run(tt.fault, func(t *testing.T) {
			b := start(t, Options{Faults: []string{tt.fault}})
			a, err := b.do("POST", create, "", "Api-Key", "key")
			if (err != nil) != (tt.status == 0) || a.status != tt.status {
				t.Fatalf("got %d %v", a.status, err)
			}
			if tt.check != nil {
				tt.check(t, a)
			}
			e := b.sim.Ledger(0)[0]
			if e.Effect != tt.effect || e.Status != tt.status || len(b.sim.Remaining().Voyado["voyado"].Jobs) == 1 != tt.effect {
				t.Errorf("ledger %+v", e)
			}
		})
	}
}

// TestRetryAfterForms: both forms come in turn, and the date is not already past.
func TestRetryAfterForms(t *testing.T) {
	b := start(t, Options{Faults: []string{"all:429"}})
	b.must("GET", look, "")
	after := b.must("GET", look, "").header.Get("Retry-After")
	at, err := http.ParseTime(after)
	if err != nil || !at.After(b.clock.now()) {
		t.Errorf("second Retry-After %q: %v", after, err)
	}
}

// TestTokenExpiryFault: the token that is used is revoked, a new one works.
func TestTokenExpiryFault(t *testing.T) {
	b := start(t, Options{Faults: []string{"all:token_expiry=1x"}})
	old := b.token("id", "secret")
	get := func(token string) int {
		return b.must("GET", look+"?email=x@example.com", "", "Authorization", "Bearer "+token).status
	}
	if s := get(old); s != 401 {
		t.Errorf("revoked token: %d", s)
	}
	if s := get(old); s != 401 {
		t.Errorf("the revoked token works again: %d", s)
	}
	if s := get(b.token("id", "secret")); s != 200 {
		t.Errorf("a new token: %d", s)
	}
}

// TestJobFaults: what goes wrong with a job stays with that job, and nothing is removed
// that the vendor does not call done.
func TestJobFaults(t *testing.T) {
	tests := []struct {
		fault    string
		statuses []string // on day 0, 1, 5.5 and 7
		finished bool
	}{
		{"job_error", []string{"started", "waiting", "error", "error"}, false},
		{"job_lost", []string{"started", "not_found", "not_found", "not_found"}, false},
		{"job_paused", []string{"started", "waiting", "paused", "done"}, true},
		{"job_stuck", []string{"started", "waiting", "running", "running"}, false},
		{"job_forgotten", []string{"started", "waiting", "not_found", "not_found"}, true},
		{"wrong_jid", []string{"done", "done", "done", "done"}, true},
	}
	for _, tt := range tests {
		t.Run(tt.fault, func(t *testing.T) {
			b := start(t, Options{Faults: []string{"voyado:" + tt.fault}})
			j := b.voyado("POST", "create-remove-customer-job?customerKey=k1")
			var got []string
			for _, days := range []float64{0, 1, 4.5, 1.5} {
				b.sim.Advance(days)
				s := b.voyado("GET", "job-status?jid="+j.JID)
				got = append(got, s.Status)
				if (s.JID != j.JID) != (tt.fault == "wrong_jid") {
					t.Errorf("the answer speaks of job %s", s.JID)
				}
			}
			if d := cmp.Diff(tt.statuses, got); d != "" {
				t.Errorf("(-want +got):\n%s", d)
			}
			if h := b.sim.Remaining().Voyado["voyado"]; h.Jobs[0].Finished != tt.finished || len(h.Keys) == 1 != tt.finished {
				t.Errorf("finished %v with %d keys left", h.Jobs[0].Finished, len(h.Keys))
			}
		})
	}
}

// TestScript: a script sees each request and replaces the faults in force.
func TestScript(t *testing.T) {
	b := start(t, Options{Faults: []string{"all:down"}})
	var seen []RequestInfo
	b.sim.Script(func(r RequestInfo) Fault {
		seen = append(seen, r)
		if r.Op == "create-removal" {
			return Fault{Kind: Lost}
		}
		return Fault{}
	})
	if _, err := b.do("POST", "/api/v2/event-data/create-remove-customer-job?customerKey=k9", "", "Api-Key", "key"); err == nil {
		t.Error("a lost reply arrived")
	}
	if a := b.must("GET", "/api/v2/event-data/job-status?jid=j", "", "Api-Key", "key"); a.status != 200 {
		t.Errorf("got %d", a.status)
	}
	want := []RequestInfo{
		{Seq: 1, Kind: "voyado", Account: "voyado", Op: "create-removal", Changes: true, Identifier: "k9"},
		{Seq: 2, Kind: "voyado", Account: "voyado", Op: "job-status", Identifier: "j"},
	}
	if d := cmp.Diff(want, seen); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	b.sim.Script(nil)
	if a := b.must("GET", "/api/v2/event-data/job-status?jid=j", "", "Api-Key", "key"); a.status != 503 {
		t.Errorf("the faults are not back: %d", a.status)
	}
}

// TestFaultsOverHTTP: a vendor is taken down and brought back while it runs.
func TestFaultsOverHTTP(t *testing.T) {
	b := start(t, Options{})
	status := func() int {
		return b.must("GET", "/api/v2/event-data/job-status?jid=j", "", "Api-Key", "key").status
	}
	if a := b.must("POST", "/_sim/faults", `{"faults":["voyado:down","all:latency=1ms,lost=0.5"]}`); a.status != 204 {
		t.Fatalf("%d %s", a.status, a.body)
	}
	if got, want := b.must("GET", "/_sim/faults", "").body, `{"faults":["voyado:down","all:latency=1ms","all:lost=0.5"]}`+"\n"; got != want {
		t.Errorf("faults in force: %s", got)
	}
	if s := status(); s != 503 {
		t.Errorf("down: %d", s)
	}
	if a := b.must("POST", "/_sim/faults", `{"faults":["voyado:nonsense"]}`); a.status != 400 {
		t.Errorf("nonsense: %d", a.status)
	}
	if s := status(); s != 503 {
		t.Errorf("a refused change was taken over: %d", s)
	}
	b.must("POST", "/_sim/faults", `{"faults":[]}`)
	if s := status(); s != 200 {
		t.Errorf("back: %d", s)
	}
}

// TestCheckFaults: mistakes in a fault are refused, for a fault that silently does nothing
// makes a campaign worthless.
func TestCheckFaults(t *testing.T) {
	for _, bad := range []string{
		"lost=0.1", "nobody:lost", "all:lots", "all:lost=2", "all:lost=-1", "all:lost=x", "all:latency=5", "all:latency",
		"voyado.nothing:lost", "all:lost=NaN", "all:", "all:lost=-2x",
		"all:200", "all:399", "all:600", "all:40", "all:clock", "all:clock=5", "all:latency=-1s", "customergauge:slow=-1s",
		"customergauge[:403", "customergauge[]:403", "customergauge.preview[a@example.com:403",
	} {
		if err := CheckFaults([]string{bad}); err == nil {
			t.Errorf("%q is accepted", bad)
		}
	}
	if err := CheckFaults([]string{"all:lost", "voyado:5xx=0.1,latency=20ms", "customergauge.token:429=2x", "all:409", "all:clock=-90m", "customergauge.verify[a@example.com]:404_route=2x"}); err != nil {
		t.Error(err)
	}
}

// TestFaultShare: a probability comes out as a share, and one seed gives one sequence.
func TestFaultShare(t *testing.T) {
	roll := func() (lost int, seq []FaultKind) {
		s := New(Options{Faults: []string{"all:lost=0.1"}, RandSeed: 7})
		for range 2000 {
			f := decide(s.rules, s.rng, &call{Entry: Entry{Kind: Voyado, Op: opRemoval}})
			seq = append(seq, f.Kind)
			if f.Kind == Lost {
				lost++
			}
		}
		return lost, seq
	}
	n, first := roll()
	_, second := roll()
	if n < 150 || n > 250 || !slices.Equal(first, second) {
		t.Errorf("%d of 2000 lost, equal sequences: %v", n, slices.Equal(first, second))
	}
}

// TestPace: the worst window is found wherever it is, and a steady pace within the limit
// has none.
func TestPace(t *testing.T) {
	at := func(ms ...int) []time.Duration {
		var all []time.Duration
		for _, m := range ms {
			all = append(all, time.Duration(m)*time.Millisecond)
		}
		return all
	}
	tests := []struct {
		name string
		at   []time.Duration
		want Pace
	}{
		{"none", nil, Pace{}},
		{"one", at(5), Pace{Requests: 1}},
		{"steady", at(0, 100, 200, 300), Pace{Requests: 4, Achieved: 10}},
		{"two at once", at(0, 100, 100, 200), Pace{Requests: 4, WorstExcess: 1, Achieved: 15}},
		{"a clump in the middle", at(0, 1000, 1050, 1100, 3000), Pace{Requests: 5, WorstExcess: 1, Achieved: 4.0 / 3}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := pace(tt.at, 10, 1)
			got.WorstExcess = float64(int(got.WorstExcess*1e6+0.5)) / 1e6
			if d := cmp.Diff(tt.want, got); d != "" {
				t.Errorf("(-want +got):\n%s", d)
			}
		})
	}
	b := start(t, Options{NoLedger: true})
	for range 3 {
		b.must("GET", look, "")
		b.clock.add(100 * time.Millisecond)
	}
	var p Pace
	if err := json.Unmarshal([]byte(b.must("GET", "/_sim/pace?kind=customergauge&rate=5&burst=1", "").body), &p); err != nil {
		t.Fatal(err)
	}
	if p.Requests != 3 || p.WorstExcess < 0.99 || p.WorstExcess > 1.01 {
		t.Errorf("pace without a ledger: %+v", p)
	}
	if a := b.must("GET", "/_sim/ledger", ""); a.status != 404 {
		t.Errorf("ledger that is switched off: %d", a.status)
	}
}

// TestLedgerOverHTTP: the JSON that campaigns read has these names, arrival times in full,
// and since works.
func TestLedgerOverHTTP(t *testing.T) {
	b := start(t, Options{})
	b.must("POST", "/api/v2/event-data/create-remove-customer-job?customerKey=k1", "", "Api-Key", "key")
	b.clock.add(time.Nanosecond)
	b.must("DELETE", "/nowhere", "")
	var all []map[string]any
	if err := json.Unmarshal([]byte(b.must("GET", "/_sim/ledger?since=1", "").body), &all); err != nil {
		t.Fatal(err)
	}
	want := []map[string]any{{
		"seq": 2.0, "at": "2026-03-02T15:00:00.000000001Z", "kind": "", "account": "", "op": "unknown", "method": "DELETE",
		"changes": true, "status": 404.0, "effect": false,
	}}
	if d := cmp.Diff(want, all); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	for _, path := range []string{"/_sim/ledger?since=x", "/_sim/pace?kind=voyado", "/_sim/pace?rate=-1"} {
		if a := b.must("GET", path, ""); a.status != 400 {
			t.Errorf("%s: %d", path, a.status)
		}
	}
	if a := b.must("GET", "/_sim/healthz", ""); a.status != 204 {
		t.Errorf("healthz: %d", a.status)
	}
	if a := b.must("POST", "/_sim/advance?days=2", ""); a.status != 204 || b.sim.Remaining().SimDay < 2 {
		t.Errorf("advance: %d, day %v", a.status, b.sim.Remaining().SimDay)
	}
}

// TestGenerate: the input file and the simulator know the same people, the same way each
// time, and the kinds of people that the job has to cope with are all there.
func TestGenerate(t *testing.T) {
	const n = 1000
	var a, b bytes.Buffer
	if err := errors.Join(WriteSubjects(&a, n, 3, time.Time{}), WriteSubjects(&b, n, 3, time.Time{})); err != nil {
		t.Fatal(err)
	}
	if a.String() != b.String() {
		t.Error("two files of one seed differ")
	}
	rows, err := csv.NewReader(&a).ReadAll()
	if err != nil || len(rows) != n+1 {
		t.Fatalf("%d rows, %v", len(rows), err)
	}
	seed := new(Seed)
	seed.Generate(n, 3)
	if err := seed.check(); err != nil {
		t.Fatal(err)
	}
	records, phones := make(map[string]int), make(map[string]map[string]bool)
	for _, r := range seed.CustomerGauge[0].Records {
		email := strings.ToLower(r.Email)
		records[email]++
		if r.Telephone != "" {
			if phones[r.Telephone] == nil {
				phones[r.Telephone] = make(map[string]bool)
			}
			phones[r.Telephone][email] = true
		}
	}
	keys := make(map[string]bool)
	for _, k := range seed.Voyado[0].Keys {
		keys[k.Key] = true
	}
	unknown, several, noKey, twoKeys, noAccount := 0, 0, 0, 0, 0
	for _, r := range rows[1:] {
		switch {
		case records[r[1]] == 0:
			unknown++
		case records[r[1]] > 1:
			several++
		}
		first, _, two := strings.Cut(r[4], ";")
		if two {
			twoKeys++
		}
		if !keys[first] {
			noKey++
		}
		if r[5] == "" {
			noAccount++
		}
	}
	shared := 0
	for _, emails := range phones {
		if len(emails) > 1 {
			shared++
		}
	}
	for what, c := range map[string]int{
		"unknown to CustomerGauge": unknown, "several records": several, "unknown to Voyado": noKey,
		"two keys": twoKeys, "no account number": noAccount, "shared telephones": shared,
	} {
		if c < n/50 || c > n/3 {
			t.Errorf("%s: %d of %d", what, c, n)
		}
	}
}

// TestReadSeed: a seed with which answers would be ambiguous is refused, and what is left
// out is filled in.
func TestReadSeed(t *testing.T) {
	s, err := ReadSeed(strings.NewReader(`{"customergauge":[{"client_id":"a","client_secret":"b","records":[{"number":10001},{"email":"x@example.com"}]}]}`))
	if err != nil {
		t.Fatal(err)
	}
	if s.CustomerGauge[0].Records[1].Number != 10002 || s.CustomerGauge[0].Name != CustomerGauge || s.Voyado[0].APIKey != DefaultAPIKey {
		t.Errorf("%+v", s)
	}
	for _, bad := range []string{
		`{`, `{"voyadoo":[]}`, `{"voyado":[{}]}`, `{"customergauge":[{"name":"a"}]}`,
		`{"customergauge":[{"client_id":"a"},{"client_id":"b"}]}`,
		`{"voyado":[{"api_key":"a"},{"name":"b","api_key":"a"}]}`,
		`{"voyado":[{"api_key":"a","keys":[{"key":"k"},{"key":"k"}]}]}`,
		`{"customergauge":[{"client_id":"a","records":[{"number":1},{"number":1}]}]}`,
		`{"acqueon":[{},{}]}`,
	} {
		if _, err := ReadSeed(strings.NewReader(bad)); err == nil {
			t.Errorf("%s is accepted", bad)
		}
	}
}

// TestConcurrent: many at once lose nothing. Run with -race it also finds unguarded state.
func TestConcurrent(t *testing.T) {
	b := start(t, Options{Faults: []string{"all:5xx=0.2"}})
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 20 {
				r := httptest.NewRequestWithContext(t.Context(), "POST", fmt.Sprintf("/api/v2/event-data/create-remove-customer-job?customerKey=%d-%d", g, i), nil)
				r.Header.Set("Api-Key", "key")
				b.sim.ServeHTTP(httptest.NewRecorder(), r)
				b.sim.Remaining()
			}
		})
	}
	wg.Wait()
	effects := 0
	for i, e := range b.sim.Ledger(0) {
		if e.Seq != int64(i+1) {
			t.Fatalf("entry %d has seq %d", i, e.Seq)
		}
		if e.Effect {
			effects++
		}
	}
	if made := len(b.sim.Remaining().Voyado["voyado"].Jobs); len(b.sim.Ledger(0)) != 160 || made != effects || made < 100 {
		t.Errorf("%d entries, %d effects, %d jobs", len(b.sim.Ledger(0)), effects, made)
	}
}
