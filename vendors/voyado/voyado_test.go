package voyado

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v4"

	"expunge/vendors"
	"expunge/vendors/vendortest"
)

const (
	apiKey = "api-key-in-a-test"
	key    = "d9528030-509c-4e0f-b585-7168f1e9feca"
	jid    = "ca24b4e2-34ab-406a-a4db-b30b0247837a"
)

func target() *vendors.Target {
	return &vendors.Target{
		Ref:       vendors.Ref{Field: vendors.CustomerKey},
		Subject:   vendors.Subject{{Field: vendors.CustomerKey, Text: key}},
		Reference: jid,
	}
}

func testConfig(base string) *Config {
	c := newConfig()
	c.BaseURL, c.Cluster, c.APIKey = base, "w0000000", vendors.NewSecret(apiKey)
	return c
}

func open(t testing.TB, c *Config, tr vendors.Transport) *Vendor {
	t.Helper()
	v, err := c.Open(vendors.Options{
		Name: "voyado-se", Transport: tr,
		Now: func() time.Time { return time.Date(2026, 3, 1, 9, 0, 0, 0, time.UTC) },
	})
	if err != nil {
		t.Fatal(err)
	}
	return v.(*Vendor)
}

func serve(t testing.TB, answer http.HandlerFunc) (*Vendor, *vendortest.Server) {
	t.Helper()
	server := vendortest.NewServer(t, answer)
	return open(t, testConfig(server.URL), vendortest.NewTransport(t, "voyado-se", 0)), server
}

func wire(t testing.TB, name string) http.HandlerFunc {
	return vendortest.Reply(200, vendortest.Wire(t, "voyado/"+name))
}

// TestConformance is the suite of every adapter, for each version of the API.
func TestConformance(t *testing.T) {
	for _, api := range []string{"v2", "admin/v3", "admin/v4", "admin/v12"} {
		t.Run(api, func(t *testing.T) {
			vendortest.Run(t, vendortest.Case{
				Open: func(t testing.TB, base string, tr vendors.Transport) vendors.Vendor {
					c := testConfig(base)
					c.API = api
					v, err := c.Open(vendors.Options{Name: "vendor-under-test", Transport: tr})
					if err != nil {
						t.Fatal(err)
					}
					return v
				},
				Serve: func(w http.ResponseWriter, req *http.Request) {
					switch {
					case req.Method == http.MethodPost:
						wire(t, "remove-started.json")(w, req)
					case strings.HasSuffix(req.URL.Path, "/export-customer-job-result"):
						w.Header().Set("Content-Type", "application/zip")
						io.WriteString(w, vendortest.Wire(t, "voyado/export-result.zip"))
					case req.URL.Query().Get("jid") == jid:
						wire(t, "status-running.json")(w, req)
					default:
						fmt.Fprintf(w, `{"jid":%q,"status":"not_found"}`, req.URL.Query().Get("jid"))
					}
				},
				Target:  *target(),
				Refuse:  vendortest.Reply(400, vendortest.Wire(t, "voyado/error-argument.json")),
				Secrets: []string{apiKey},
				Unclear: []string{
					`{}`, `{"jid":"","status":"started"}`, `{"jid":null}`, `{"jid":{}}`,
					`{"jid":"two words","status":"started"}`, `{"status":"started"}`,
					`{"jid":"` + key + `","status":"started"}`,
					`{"jid":"` + strings.Repeat("j", 129) + `","status":"started"}`,
				},
			})
		})
	}
}

// TestRequests pins what leaves: method, address, headers, and that there is no body.
func TestRequests(t *testing.T) {
	for _, test := range []struct {
		golden, api string
		key         string
		poll        bool
	}{
		{"remove-v2.http", "v2", key, false},
		{"remove-v3.http", "admin/v3", key, false},
		{"remove-v4.http", "admin/v4", key, false},
		{"status-v2.http", "v2", key, true},
		{"status-v4.http", "admin/v4", key, true},
		{"remove-escaped.http", "v2", "a&b=c+d/é?#%", false},
	} {
		t.Run(test.golden, func(t *testing.T) {
			server := vendortest.NewServer(t, wire(t, "remove-created.json"))
			c := testConfig(server.URL)
			c.API = test.api
			v := open(t, c, vendortest.NewTransport(t, "voyado-se", 0))
			task := target()
			task.Subject[0].Text = test.key
			var err error
			if test.poll {
				_, err = v.Poll(t.Context(), task)
			} else {
				_, err = v.Submit(t.Context(), task)
			}
			got := server.Got()
			if err != nil || len(got) != 1 {
				t.Fatalf("%d requests, %v", len(got), err)
			}
			vendortest.Golden(t, "voyado/"+test.golden, got[0], "Accept", "Api-Key", "Content-Type")
		})
	}
}

// TestPlaces: the API's version, the cluster and the host's ending decide where keys go.
func TestPlaces(t *testing.T) {
	for _, test := range []struct{ api, host, cluster, want, place string }{
		{"v2", "", "w0000000", "https://w0000000.api.esales.apptus.cloud/api/v2/event-data", "voyado w0000000.api.esales.apptus.cloud w0000000"},
		{"admin/v3", "", "w0000000", "https://w0000000.elevate-api.cloud/api/admin/v3/event-data", "voyado w0000000.elevate-api.cloud w0000000"},
		{"admin/v4", "", "WA1B2C3D4", "https://WA1B2C3D4.elevate-api.cloud/api/admin/v4/event-data", "voyado wa1b2c3d4.elevate-api.cloud wa1b2c3d4"},
		{"admin/v5", "", "wa1b2c3d4", "https://wa1b2c3d4.elevate-api.cloud/api/admin/v5/event-data", "voyado wa1b2c3d4.elevate-api.cloud wa1b2c3d4"},
		{"admin/v4", "apptus", "wa1b2c3d4", "https://wa1b2c3d4.api.esales.apptus.cloud/api/admin/v4/event-data", "voyado wa1b2c3d4.api.esales.apptus.cloud wa1b2c3d4"},
		{"v2", "elevate", "wa1b2c3d4", "https://wa1b2c3d4.elevate-api.cloud/api/v2/event-data", "voyado wa1b2c3d4.elevate-api.cloud wa1b2c3d4"},
	} {
		c := testConfig("")
		c.API, c.Host, c.Cluster = test.api, test.host, test.cluster
		v := open(t, c, nil)
		if got := v.place.String(); got != test.want {
			t.Errorf("%s, %s: %s, want %s", test.api, test.host, got, test.want)
		}
		if tr := v.Traits(); tr.Place != test.place || tr.SharedPlace || tr.Act != vendors.Remove {
			t.Errorf("%s, %s: place %q, want %q; act %s", test.api, test.host, tr.Place, test.place, tr.Act)
		}
	}
	v := open(t, testConfig("http://127.0.0.1:9/"), nil)
	if got := v.place.String(); got != "http://127.0.0.1:9/api/v2/event-data" || v.Traits().Place != "voyado 127.0.0.1:9 w0000000" {
		t.Errorf("base_url: %s, %s", got, v.Traits().Place)
	}
}

// TestKeeps: what a removal does not reach is told to the report's readers.
func TestKeeps(t *testing.T) {
	keeps := strings.Join(open(t, testConfig(""), nil).Traits().Keeps, "; ")
	for _, word := range []string{"after the day of the job", "IP addresses", "Voyado Engage", "dropped before"} {
		if !strings.Contains(keeps, word) {
			t.Errorf("%q says nothing of %q", keeps, word)
		}
	}
}

// TestSubmit: a job id is all that leads back to a removal. None may be lost, none made up.
func TestSubmit(t *testing.T) {
	for _, test := range []struct {
		name   string
		answer http.HandlerFunc
		want   string
		kind   error
	}{
		{"started", wire(t, "remove-started.json"), jid, nil},
		{"created", wire(t, "remove-created.json"), jid, nil},
		{"a status word that we do not know", vendortest.Reply(200, `{"jid":"j-1","status":"queued"}`), "j-1", nil},
		{"no status", vendortest.Reply(200, `{"jid":"j-1"}`), "j-1", nil},
		{"a status that is a number", vendortest.Reply(200, `{"jid":"j-1","status":3}`), "j-1", nil},
		{"an id that is a number", vendortest.Reply(200, `{"jid":7,"status":"started"}`), "7", nil},
		{"202", vendortest.Reply(202, `{"jid":"j-1","status":"created"}`), "j-1", nil},
		{"204", vendortest.Reply(204, ""), "", vendors.ErrUnreadable},
		{"wrong key", vendortest.Reply(403, vendortest.Wire(t, "voyado/error-key.json")), "", vendors.ErrAuth},
		{"bad argument", vendortest.Reply(400, vendortest.Wire(t, "voyado/error-argument.json")), "", vendors.ErrRefused},
		{"404", vendortest.Reply(404, `{"status":"not_found"}`), "", vendors.ErrAddress},
		{"404 with a job that is not found", vendortest.Reply(404, vendortest.Wire(t, "voyado/status-not_found.json")), "", vendors.ErrAddress},
		{"405", vendortest.Reply(405, ""), "", vendors.ErrAddress},
		{"409", vendortest.Reply(409, ""), "", vendors.ErrUnavailable},
		{"500", vendortest.Reply(500, "oops"), "", vendors.ErrUnavailable},
	} {
		t.Run(test.name, func(t *testing.T) {
			v, _ := serve(t, test.answer)
			r, err := v.Submit(t.Context(), target())
			if test.kind == nil && err != nil || !errors.Is(err, test.kind) || r.Reference != test.want {
				t.Errorf("%q, %v: want %q, %v", r.Reference, err, test.want, test.kind)
			}
		})
	}
	v, _ := serve(t, vendortest.Reply(400, vendortest.Wire(t, "voyado/error-argument.json")))
	_, err := v.Submit(t.Context(), target())
	var e *vendors.Error
	if !errors.As(err, &e) || e.Message != "Invalid or missing argument: customerKey" {
		t.Errorf("the vendor's reason is lost: %+v", e)
	}
}

// TestPoll: what each status means. done alone ends a task well.
func TestPoll(t *testing.T) {
	for _, test := range []struct {
		name   string
		answer http.HandlerFunc
		want   vendors.Progress
		kind   error
	}{
		{"started", wire(t, "remove-started.json"), vendors.Progress{Job: vendors.JobOpen, Status: "started"}, nil},
		{"created", wire(t, "remove-created.json"), vendors.Progress{Job: vendors.JobOpen, Status: "created"}, nil},
		{"waiting", wire(t, "status-waiting.json"), vendors.Progress{Job: vendors.JobOpen, Status: "waiting"}, nil},
		{"running", wire(t, "status-running.json"), vendors.Progress{Job: vendors.JobOpen, Status: "running"}, nil},
		{"done", wire(t, "status-done.json"), vendors.Progress{Job: vendors.JobDone, Status: "done"}, nil},
		{"error", wire(t, "status-error.json"), vendors.Progress{Job: vendors.JobFailed, Status: "error"}, nil},
		{"not found", wire(t, "status-not_found.json"), vendors.Progress{Job: vendors.JobLost, Status: "not_found"}, nil},
		{"not found with 404", vendortest.Reply(404, vendortest.Wire(t, "voyado/status-not_found.json")), vendors.Progress{Job: vendors.JobLost, Status: "not_found"}, nil},
		{"not found, no id", vendortest.Reply(200, `{"status":"not_found"}`), vendors.Progress{Job: vendors.JobLost, Status: "not_found"}, nil},
		{"in capitals", vendortest.Reply(200, `{"jid":"CA24B4E2-34AB-406A-A4DB-B30B0247837A","status":"DONE"}`), vendors.Progress{Job: vendors.JobDone, Status: "done"}, nil},
		{"a word that we do not know", vendortest.Reply(200, `{"jid":"`+jid+`","status":"Archiving-2"}`), vendors.Progress{Job: vendors.JobUnknown, Status: "archiving-2"}, nil},
		{"an escape sequence", vendortest.Reply(200, `{"jid":"`+jid+`","status":"\u001b[2Jdone"}`), vendors.Progress{Job: vendors.JobUnknown, Status: "(unprintable)"}, nil},
		{"the customer key as a status", vendortest.Reply(200, `{"jid":"`+jid+`","status":"x-`+key+`"}`), vendors.Progress{Job: vendors.JobUnknown, Status: "(unprintable)"}, nil},
		{"another job is done", vendortest.Reply(200, `{"jid":"11111111-34ab-406a-a4db-b30b0247837a","status":"done"}`), vendors.Progress{}, ErrOtherJob},
		{"another job is not found", vendortest.Reply(404, `{"jid":"other","status":"not_found"}`), vendors.Progress{}, ErrOtherJob},
		{"done, no id", vendortest.Reply(200, `{"status":"done"}`), vendors.Progress{}, vendors.ErrUnreadable},
		{"error of something in front", vendortest.Reply(200, `{"status":"error"}`), vendors.Progress{}, vendors.ErrUnreadable},
		{"no status", vendortest.Reply(200, `{"jid":"`+jid+`"}`), vendors.Progress{}, vendors.ErrUnreadable},
		{"404 of something else", vendortest.Reply(404, `{"status":404,"message":"no route"}`), vendors.Progress{}, vendors.ErrAddress},
		{"404 of a gateway in our words", vendortest.Reply(404, `{"status":"not_found"}`), vendors.Progress{}, vendors.ErrAddress},
		{"404, a page", vendortest.Reply(404, "<html>Not Found</html>"), vendors.Progress{}, vendors.ErrAddress},
		{"404, empty", vendortest.Reply(404, ""), vendors.Progress{}, vendors.ErrAddress},
		{"410", vendortest.Reply(410, ""), vendors.Progress{}, vendors.ErrAddress},
		{"a page", vendortest.Reply(200, "<html>"), vendors.Progress{}, vendors.ErrUnreadable},
		{"wrong key", vendortest.Reply(403, vendortest.Wire(t, "voyado/error-key.json")), vendors.Progress{}, vendors.ErrAuth},
	} {
		t.Run(test.name, func(t *testing.T) {
			v, _ := serve(t, test.answer)
			got, err := v.Poll(t.Context(), target())
			if test.kind == nil && err != nil || !errors.Is(err, test.kind) {
				t.Fatalf("%v, want %v", err, test.kind)
			}
			if errors.Is(test.kind, ErrOtherJob) && !errors.Is(err, vendors.ErrUnreadable) {
				t.Errorf("%v is of no kind", err)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

// TestPreview: what can be seen without asking.
func TestPreview(t *testing.T) {
	v := open(t, testConfig(""), nil) // no transport: a call would panic
	for _, test := range []struct {
		key  string
		want vendors.Preview
	}{
		{key, vendors.Preview{}},
		{"user-42", vendors.Preview{}},
		{"åäö", vendors.Preview{}},
		{"john.doe@example.com", vendors.Preview{Warning: vendors.KeyLooksLikeEmail}},
		{"@handle", vendors.Preview{}},
		{"two words", vendors.Preview{Doubt: vendors.MalformedKey}},
		{"line\nend", vendors.Preview{Doubt: vendors.MalformedKey}},
		{"bell\a", vendors.Preview{Doubt: vendors.MalformedKey}},
		{"zero\u200bwidth", vendors.Preview{Doubt: vendors.MalformedKey}},
		{"\xff", vendors.Preview{Doubt: vendors.MalformedKey}},
		{strings.Repeat("k", 256), vendors.Preview{}},
		{strings.Repeat("k", 257), vendors.Preview{Doubt: vendors.MalformedKey}},
	} {
		task := target()
		task.Subject[0].Text = test.key
		got, err := v.Preview(context.Background(), task)
		if diff := cmp.Diff(test.want, got); err != nil || diff != "" {
			t.Errorf("%q: %v, -want +got:\n%s", test.key, err, diff)
		}
	}
}

// TestIdentifiers: every key is a task, the same key twice is one.
func TestIdentifiers(t *testing.T) {
	v := open(t, testConfig(""), nil)
	s := vendors.Subject{
		{Field: vendors.Email, Text: "john.doe@example.com"},
		{Field: vendors.CustomerKey, Text: "gone", Masked: true},
		{Field: vendors.CustomerKey, Text: "k1"},
		{Field: vendors.CustomerKey, Text: " k1"},
		{Field: vendors.CustomerKey, Text: "K1"},
		{Field: vendors.CustomerKey, Text: "k2"},
		{Field: vendors.CustomerKey, Text: "K1 "},
		{Field: vendors.CustomerKey, Text: "k1 "},
		{Field: vendors.CustomerKey, Text: " "},
		{Field: vendors.CustomerKey, Text: "k2"},
	}
	want := []vendors.Ref{{Field: vendors.CustomerKey, Nth: 1}, {Field: vendors.CustomerKey, Nth: 3}, {Field: vendors.CustomerKey, Nth: 4}}
	got, reason := v.Identifiers(s)
	if diff := cmp.Diff(want, got); diff != "" || reason != "" {
		t.Errorf("reason %q, -want +got:\n%s", reason, diff)
	}
}

// TestCheck: the preflight tells a wrong key from a right one and names the ends of versions.
func TestCheck(t *testing.T) {
	now := time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC)
	unknown := func(status int) http.HandlerFunc {
		return func(w http.ResponseWriter, req *http.Request) {
			vendortest.Reply(status, fmt.Sprintf(`{"jid":%q,"status":"not_found"}`, req.URL.Query().Get("jid")))(w, req)
		}
	}
	for _, test := range []struct {
		name, api, host string
		at              time.Time
		answer          http.HandlerFunc
		warning         string
		kind            error
	}{
		{"accepted", "admin/v4", "", now, unknown(200), "", nil},
		{"accepted, no id", "admin/v4", "", now, vendortest.Reply(200, `{"status":"not_found"}`), "", nil},
		{"accepted, 404", "admin/v4", "", now, unknown(404), "", nil},
		{"a later version", "admin/v5", "", now, unknown(200), "", nil},
		{"v2", "v2", "", now, unknown(200), "Elevate 3 only: on Elevate 4 it ended on 2024-04-30", nil},
		{"v2 on Elevate 4", "v2", "elevate", now, unknown(200), "ended on Elevate 4, which host: elevate is, on 2024-04-30", nil},
		{"v3 near its end", "admin/v3", "", now, unknown(200), "in 30 days", nil},
		{"v3 at its end", "admin/v3", "", now.AddDate(0, 1, 0), unknown(200), "reached its end", nil},
		{"wrong key", "admin/v3", "", now, vendortest.Reply(403, ""), "2026-12-31", vendors.ErrAuth},
		{"wrong place", "admin/v4", "", now, vendortest.Reply(404, "<html>"), "", vendors.ErrAddress},
		{"a bare 404", "admin/v4", "", now, vendortest.Reply(404, ""), "", vendors.ErrAddress},
		{"a gateway's 404", "admin/v4", "", now, vendortest.Reply(404, `{"status":"not_found"}`), "", vendors.ErrAddress},
		{"no status", "admin/v4", "", now, vendortest.Reply(200, "{}"), "", vendors.ErrUnreadable},
	} {
		t.Run(test.name, func(t *testing.T) {
			server := vendortest.NewServer(t, test.answer)
			c := testConfig(server.URL)
			c.API, c.Host = test.api, test.host
			v := open(t, c, vendortest.NewTransport(t, "voyado-se", 0))
			v.now = func() time.Time { return test.at }
			warnings, err := v.Check(t.Context())
			if test.kind == nil && err != nil || !errors.Is(err, test.kind) {
				t.Errorf("%v, want %v", err, test.kind)
			}
			if all := strings.Join(warnings, ""); (all == "") != (test.warning == "") || !strings.Contains(all, test.warning) {
				t.Errorf("warnings %q, want %q", warnings, test.warning)
			}
		})
	}
}

// TestConfig: the documented keys and defaults, and a key's name in each problem.
func TestConfig(t *testing.T) {
	c := newConfig()
	err := yaml.Unmarshal([]byte("kind: voyado\napi: admin/v4\ncluster: w1234567\napi_key: "+apiKey+"\narchive_after: 1d\npoll_every: 90m\ngive_up_after: 30d\narchive_days: 3\n"), c)
	if err != nil {
		t.Fatal(err)
	}
	day := 24 * time.Hour
	tr := open(t, c, nil).Traits()
	if tr.FirstPoll != day || tr.PollEvery != 90*time.Minute || tr.GiveUpAfter != 30*day || tr.LeadTime != 4*day || c.Timeout != vendors.Duration(30*time.Second) {
		t.Errorf("not as configured: %+v", tr)
	}
	if tr := open(t, testConfig(""), nil).Traits(); tr.FirstPoll != day || tr.PollEvery != 6*time.Hour || tr.GiveUpAfter != 45*day || tr.LeadTime != 6*day {
		t.Errorf("not the documented defaults: %+v", tr)
	}
	if strings.Contains(fmt.Sprintf("%+v %#v", c, *c), apiKey) {
		t.Error("a printed config shows the API key")
	}
	for _, test := range []struct {
		key    string
		change func(*Config)
	}{
		{"api", func(c *Config) { c.API = "v3" }},
		{"api", func(c *Config) { c.API = "admin/v4/../v2" }},
		{"api", func(c *Config) { c.API = "admin/v0" }},
		{"api", func(c *Config) { c.API = "admin/v" }},
		{"host", func(c *Config) { c.Host = "evil.example" }},
		{"cluster", func(c *Config) { c.Cluster = "acme" }},
		{"cluster", func(c *Config) { c.Cluster = "wa1b2c3g4" }},
		{"cluster", func(c *Config) { c.Cluster = "wa1b2c3d4e" }},
		{"cluster", func(c *Config) { c.Cluster, c.BaseURL = "", "" }},
		{"cluster", func(c *Config) { c.Cluster = "w1.evil.example/" }},
		{"api_key", func(c *Config) { c.APIKey = vendors.Secret{} }},
		{"api_key", func(c *Config) { c.APIKey = vendors.NewSecret(apiKey + "\n") }},
		{"archive_after", func(c *Config) { c.ArchiveAfter = 0 }},
		{"poll_every", func(c *Config) { c.PollEvery = 0 }},
		{"give_up_after", func(c *Config) { c.GiveUpAfter = -1 }},
		{"archive_days", func(c *Config) { c.ArchiveDays = -1 }},
		{"base_url", func(c *Config) { c.BaseURL = "http://api.example.com" }},
		{"base_url", func(c *Config) { c.BaseURL = "wss://api.example.com" }},
	} {
		c := testConfig("")
		test.change(c)
		_, err := c.Open(vendors.Options{})
		var e *vendors.KeyError
		if !errors.As(err, &e) || e.Key != test.key || strings.Contains(e.Error()+e.Hint, apiKey) {
			t.Errorf("%v, want a problem with %s that quotes no secret", err, test.key)
		}
	}
}

func seed(f *testing.F) {
	files, err := filepath.Glob(filepath.Join("..", "..", "testdata", "wire", "voyado", "*.json"))
	if err != nil || len(files) == 0 {
		f.Fatal("no recorded answers", err)
	}
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		for _, status := range []int{200, 403, 404} {
			f.Add(status, b)
		}
	}
}

// FuzzJobAnswer: no answer makes the adapter panic, end a job that was not asked about, or
// keep an id or a word that could not be shown.
func FuzzJobAnswer(f *testing.F) {
	seed(f)
	f.Fuzz(func(t *testing.T, status int, body []byte) {
		if status < 200 || status > 599 || status >= 300 && status < 400 {
			return // the transport lets no other through
		}
		v := open(t, testConfig(""), vendortest.Canned{Answer: vendors.Answer{Status: status, Body: body}})
		r, err := v.Submit(t.Context(), target())
		if err != nil {
			vendortest.NoLeak(t, err, target().Subject, apiKey)
		}
		if (err == nil) != vendors.PlainToken(r.Reference, 128) || strings.Contains(r.Reference, key) && r.Reference == key {
			t.Errorf("reference %q, %v", r.Reference, err)
		}
		p, err := v.Poll(t.Context(), target())
		if err != nil {
			vendortest.NoLeak(t, err, target().Subject, apiKey)
			return
		}
		if p.Status == "" || len(p.Status) > 40 || strings.ContainsFunc(p.Status, func(r rune) bool { return r < ' ' || r > '~' }) {
			t.Errorf("status %q cannot be shown", p.Status)
		}
		if p.Job == vendors.JobDone && status > 299 {
			t.Errorf("done with HTTP %d", status)
		}
	})
}
