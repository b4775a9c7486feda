package customergauge

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"expunge/vendors"
	"expunge/vendors/vendortest"
)

const (
	secret    = "client-secret-in-a-test"
	email     = "john.doe@example.com"
	telephone = "+1-202-555-0143"
)

func john() vendors.Subject {
	return vendors.Subject{
		{Field: vendors.Email, Text: email},
		{Field: vendors.Telephone, Text: telephone},
		{Field: vendors.CustomerName, Text: "John Doe"},
	}
}

func byEmail() *vendors.Target {
	return &vendors.Target{Ref: vendors.Ref{Field: vendors.Email}, Subject: john()}
}

func byTelephone() *vendors.Target {
	return &vendors.Target{Ref: vendors.Ref{Field: vendors.Telephone}, Subject: john()}
}

// testConfig is a complete config for a server at base.
func testConfig(base string) *Config {
	c := newConfig()
	c.Region, c.BaseURL = "eu", base
	c.ClientID, c.ClientSecret = "client-id", vendors.NewSecret(secret)
	return c
}

func isToken(req *http.Request) bool { return req.URL.Path == "/oauth2/token" }

// account is a vendor over a server whose token endpoint works and whose calls the test
// answers.
type account struct {
	*vendortest.Server
	vendor *Vendor
	clock  *clock
}

type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time { c.mu.Lock(); defer c.mu.Unlock(); return c.now }
func (c *clock) Add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

func open(t testing.TB, config *Config, server *vendortest.Server) *account {
	t.Helper()
	a := &account{Server: server, clock: &clock{now: time.Date(2026, 3, 1, 9, 0, 0, 0, time.UTC)}}
	v, err := config.Open(vendors.Options{
		Name: "customergauge", Transport: vendortest.NewTransport(t, "customergauge", 0), Now: a.clock.Now, DefaultRegion: "US",
	})
	if err != nil {
		t.Fatal(err)
	}
	a.vendor = v.(*Vendor)
	return a
}

func newAccount(t testing.TB, change func(*Config), calls http.HandlerFunc) *account {
	t.Helper()
	server := vendortest.NewServer(t, http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if isToken(req) {
			vendortest.Reply(200, vendortest.Wire(t, "customergauge/token.json"))(w, req)
			return
		}
		calls(w, req)
	}))
	config := testConfig(server.URL)
	if change != nil {
		change(config)
	}
	return open(t, config, server)
}

func wire(t testing.TB, name string) http.HandlerFunc {
	return vendortest.Reply(200, vendortest.Wire(t, "customergauge/"+name))
}

// isStranger reports whether a request asks about somebody whom nobody can be.
func isStranger(req *http.Request) bool {
	q := req.URL.Query()
	return strings.HasPrefix(q.Get("email"), "expunge-") || strings.Contains(q.Get("telephone"), "7700900")
}

// TestConformance is the suite of every adapter, for both APIs and both ways to show
// credentials.
func TestConformance(t *testing.T) {
	serve := func(w http.ResponseWriter, req *http.Request) {
		switch {
		case isToken(req):
			wire(t, "token.json")(w, req)
		case req.Method == http.MethodGet && isStranger(req):
			wire(t, "preview-none.json")(w, req)
		case req.Method == http.MethodGet:
			wire(t, "preview-one.json")(w, req)
		default:
			wire(t, "anonymize.json")(w, req)
		}
	}
	for _, variant := range []struct {
		name   string
		change func(*Config)
		target *vendors.Target
	}{
		{"v4.1 by email", func(*Config) {}, byEmail()},
		{"v4.1 by telephone", func(*Config) {}, byTelephone()},
		{"v6", func(c *Config) { c.API = apiV6 }, byEmail()},
		{"control", func(c *Config) { c.Control.Email = "control@example.com" }, byEmail()},
		{"control by telephone", func(c *Config) { c.Control.Telephone = "+12025550177" }, byEmail()},
		{"api key", func(c *Config) {
			c.ClientID, c.ClientSecret, c.APIKey = "", vendors.Secret{}, vendors.NewSecret(secret)
		}, byEmail()},
	} {
		t.Run(variant.name, func(t *testing.T) {
			c := vendortest.Case{
				Open: func(t testing.TB, base string, tr vendors.Transport) vendors.Vendor {
					config := testConfig(base)
					variant.change(config)
					v, err := config.Open(vendors.Options{Name: "vendor-under-test", Transport: tr})
					if err != nil {
						t.Fatal(err)
					}
					return v
				},
				Serve: serve, Target: *variant.target, IsToken: isToken,
				Refuse: wire(t, "error-email.json"), EmptyAccepts: true,
				Secrets: []string{secret, "wire-token-1"},
			}
			if variant.name == "api key" {
				c.IsToken = nil
			}
			vendortest.Run(t, c)
		})
	}
}

// TestRequests pins what leaves: method, address, headers and body.
func TestRequests(t *testing.T) {
	headers := []string{"Accept", "Authorization", "Content-Type"}
	apiKeyOnly := func(scheme string) func(*Config) {
		return func(c *Config) {
			c.ClientID, c.ClientSecret = "", vendors.Secret{}
			c.APIKey, c.AuthScheme = vendors.NewSecret("key-1"), scheme
		}
	}
	v6 := func(c *Config) { c.API = apiV6 }
	for _, test := range []struct {
		golden string
		change func(*Config)
		submit bool
		target *vendors.Target
		which  int // of the requests that arrived
	}{
		{"token.http", nil, false, byEmail(), 0},
		{"preview-email.http", nil, false, byEmail(), 1},
		{"preview-telephone.http", nil, false, byTelephone(), 1},
		{"preview-api-key.http", apiKeyOnly("api_key"), false, byEmail(), 0},
		{"preview-bare-key.http", apiKeyOnly(""), false, byEmail(), 0},
		{"anonymize-email.http", nil, true, byEmail(), 1},
		{"anonymize-telephone.http", nil, true, byTelephone(), 1},
		{"anonymize-v6-email.http", v6, true, byEmail(), 1},
		{"anonymize-v6-telephone.http", v6, true, byTelephone(), 1},
		{"preview-v6.http", v6, false, byEmail(), 1},
	} {
		t.Run(test.golden, func(t *testing.T) {
			a := newAccount(t, test.change, wire(t, "preview-none.json"))
			var err error
			if test.submit {
				_, err = a.vendor.Submit(t.Context(), test.target)
			} else {
				_, err = a.vendor.Preview(t.Context(), test.target)
			}
			if err != nil {
				t.Fatal(err)
			}
			got := a.Got()
			if len(got) <= test.which {
				t.Fatalf("%d requests, want more than %d", len(got), test.which)
			}
			vendortest.Golden(t, "customergauge/"+test.golden, got[test.which], headers...)
		})
	}
}

// TestPlaces: a region decides where personal data and credentials go; a wrong host would
// hand them to somebody else.
func TestPlaces(t *testing.T) {
	for _, test := range []struct {
		name, region, base, token string
		wantAPI, wantToken        string
	}{
		{"eu", "eu", "", "", "https://api.eu.customergauge.com/v4.1/anonymize.json", "https://auth.eu.customergauge.com/oauth2/token"},
		{"us", "us", "", "", "https://api.us.customergauge.com/v4.1/anonymize.json", "https://auth.us.customergauge.com/oauth2/token"},
		{"au", "au", "", "", "https://api.au.customergauge.com/v4.1/anonymize.json", "https://auth.au.customergauge.com/oauth2/token"},
		{"base_url takes the credentials along", "eu", "http://127.0.0.1:8080", "", "http://127.0.0.1:8080/v4.1/anonymize.json", "http://127.0.0.1:8080/oauth2/token"},
		{"token_url stands for itself", "", "https://gw.example.com/cg/", "https://id.example.com/t", "https://gw.example.com/cg/v4.1/anonymize.json", "https://id.example.com/t"},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := testConfig(test.base)
			c.Region, c.TokenURL = test.region, test.token
			a := open(t, c, nil)
			if got := a.vendor.preview.String(); got != test.wantAPI {
				t.Errorf("preview at %s, want %s", got, test.wantAPI)
			}
			if _, token, err := c.places(); err != nil || token.String() != test.wantToken {
				t.Errorf("token at %v (%v), want %s", token, err, test.wantToken)
			}
		})
	}
}

// TestPreview is the contract with the vendor's answers: what they mean, and above all
// whose records they show.
func TestPreview(t *testing.T) {
	noEmails := func() *vendors.Target {
		return &vendors.Target{Ref: vendors.Ref{Field: vendors.Telephone}, Subject: vendors.Subject{{Field: vendors.Telephone, Text: telephone}}}
	}
	jane := func() *vendors.Target {
		s := append(john(), vendors.Value{})
		copy(s[2:], s[1:])
		s[1] = vendors.Value{Field: vendors.OtherEmail, Text: " Jane.Roe@EXAMPLE.org"}
		return &vendors.Target{Ref: vendors.Ref{Field: vendors.Telephone}, Subject: s}
	}
	one := vendors.Preview{Records: 1, Refs: []string{"10438"}}
	onePhone := vendors.Preview{Records: 1, Refs: []string{"10438"}, Hint: "as_given"}
	doubt := func(p vendors.Preview, r vendors.Reason) vendors.Preview { p.Doubt = r; return p }
	two := vendors.Preview{Records: 2, Refs: []string{"10438", "30012"}, Hint: "as_given"}
	for _, test := range []struct {
		name   string
		answer http.HandlerFunc
		target *vendors.Target
		want   vendors.Preview
	}{
		{"one record", wire(t, "preview-one.json"), byEmail(), one},
		{"numbers and strings exchanged, letters in another case", wire(t, "preview-numbers.json"), byEmail(), one},
		{"several records, sorted", wire(t, "preview-several.json"), byEmail(), vendors.Preview{Records: 3, Refs: []string{"10438", "10999", "20771"}}},
		{"by telephone, the email is the subject's", wire(t, "preview-one.json"), byTelephone(), onePhone},
		{"by telephone, the email is unknown to us", wire(t, "preview-one.json"), noEmails(), doubt(onePhone, vendors.SomebodyElse)},
		{"a shared telephone", wire(t, "preview-shared-telephone.json"), byTelephone(), doubt(two, vendors.SomebodyElse)},
		{"a shared telephone, both are the subject's emails", wire(t, "preview-shared-telephone.json"), jane(), two},
		{"by email, a record of somebody else", wire(t, "preview-shared-telephone.json"), byEmail(),
			vendors.Preview{Records: 2, Refs: []string{"10438", "30012"}, Doubt: vendors.SomebodyElse}},
		{"by telephone, no email, the same telephone", wire(t, "preview-no-email.json"), noEmails(), doubt(onePhone, vendors.UnknownOwner)},
		{"by email, no email", wire(t, "preview-no-email.json"), byEmail(), doubt(one, vendors.UnknownOwner)},
		{"by telephone, another telephone and no email", vendortest.Reply(200, `{"Data":[{"sms_telephone":"12025550199","number_customergauge":"10438"}],"total":1}`),
			byTelephone(), doubt(onePhone, vendors.UnknownOwner)},
		{"by telephone, neither telephone nor email", vendortest.Reply(200, `{"Data":[{"number_customergauge":"10438"}],"total":1}`),
			byTelephone(), doubt(onePhone, vendors.UnknownOwner)},
		{"total and records disagree", wire(t, "preview-total-differs.json"), byEmail(),
			vendors.Preview{Records: 4, Refs: []string{"10438"}, Doubt: vendors.InconsistentAnswer}},
		{"records without a total", vendortest.Reply(200, `{"Data":[{"email":"john.doe@example.com","number_customergauge":"10438"}]}`),
			byEmail(), doubt(one, vendors.InconsistentAnswer)},
		{"records and a total of 0", vendortest.Reply(200, `{"Data":[{"email":"john.doe@example.com","number_customergauge":"10438"}],"total":0}`),
			byEmail(), doubt(one, vendors.InconsistentAnswer)},
		{"one number twice", vendortest.Reply(200, `{"Data":[{"email":"john.doe@example.com","number_customergauge":"7"},{"email":"john.doe@example.com","number_customergauge":7}],"total":2}`),
			byEmail(), vendors.Preview{Records: 1, Refs: []string{"7"}}},
		{"no match", wire(t, "preview-none.json"), byEmail(), vendors.Preview{}},
		{"no match, null and a string", wire(t, "preview-none-null.json"), byEmail(), vendors.Preview{}},
		{"no match, no Data", wire(t, "preview-none-missing.json"), byEmail(), vendors.Preview{}},
		{"404, no records", vendortest.Reply(404, `{"Data":[],"total":0}`), byTelephone(), vendors.Preview{}},
		{"404, a total alone", vendortest.Reply(404, `{"total":"0","Error":{"Message":""}}`), byEmail(), vendors.Preview{}},
		{"no match beside an Error that is empty", vendortest.Reply(200, `{"Data":[],"total":0,"Error":{"Message":"","Code":0},"errors":[],"success":true}`), byEmail(), vendors.Preview{}},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := newAccount(t, nil, test.answer).vendor.Preview(t.Context(), test.target)
			if err != nil {
				t.Fatal(err)
			}
			if diff := gocmp.Diff(test.want, got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

// TestPreviewTooMany: an identifier that matches half the database is a mistake.
func TestPreviewTooMany(t *testing.T) {
	var rows []string
	for i := range 26 {
		rows = append(rows, fmt.Sprintf(`{"email":"john.doe@example.com","number_customergauge":%d}`, 100+i))
	}
	body := fmt.Sprintf(`{"Data":[%s],"total":26}`, strings.Join(rows, ","))
	p, err := newAccount(t, nil, vendortest.Reply(200, body)).vendor.Preview(t.Context(), byEmail())
	if err != nil || p.Doubt != vendors.TooManyRecords || p.Records != 26 {
		t.Errorf("26 records with max_records 25: %d, doubt %q, %v", p.Records, p.Doubt, err)
	}
	p, err = newAccount(t, func(c *Config) { c.MaxRecords = 26 }, vendortest.Reply(200, body)).vendor.Preview(t.Context(), byEmail())
	if err != nil || p.Doubt != "" {
		t.Errorf("26 records with max_records 26: doubt %q, %v", p.Doubt, err)
	}
}

// TestPreviewErrors: none of these may pass for "no match", which would end the task and
// leave the person's data where it is. Some may be how an account says "no match", and then
// have a Form; whatever tells of a record, of an outage or of a wrong address has none.
func TestPreviewErrors(t *testing.T) {
	const none = ""
	coded := func(code any) string { return fmt.Sprintf(`{"Error":{"Message":"m","Code":%v}}`, code) }
	for _, test := range []struct {
		name    string
		status  int
		body    string
		kind    error
		message string
		form    bool
	}{
		{"Error with status 200", 200, vendortest.Wire(t, "customergauge/error-no-parameter.json"), vendors.ErrRefused, "Please make an API request by email or telephone", true},
		{"Error with status 400", 400, vendortest.Wire(t, "customergauge/error-email.json"), vendors.ErrRefused, "Email is not valid", true},
		{"Error with status 404", 404, vendortest.Wire(t, "customergauge/error-email.json"), vendors.ErrRefused, "Email is not valid", true},
		{"Error with status 422", 422, vendortest.Wire(t, "customergauge/error-email.json"), vendors.ErrRefused, "Email is not valid", true},
		{"Error with status 403", 403, `{"Error":{"Message":"no access"}}`, vendors.ErrAuth, "no access", false},
		{"Error with status 503", 503, `{"Error":{"Message":"maintenance"}}`, vendors.ErrUnavailable, "maintenance", false},
		{"Error with status 429", 429, `{"Error":{"Message":"slow down"}}`, vendors.ErrRateLimited, "slow down", false},
		{"Error with status 405", 405, `{"Error":{"Message":"m"}}`, vendors.ErrAddress, "m", false},
		{"Error beside records", 200, `{"Error":{"Message":"m"},"Data":[],"total":0}`, vendors.ErrRefused, "m", true},
		{"Error beside no records, 404", 404, `{"Error":{"Message":"m"},"Data":[],"total":0}`, vendors.ErrRefused, "m", true},
		{"Error beside a record", 200, `{"Error":{"Message":"m"},"Data":[{"number_customergauge":1}],"total":1}`, vendors.ErrRefused, "m", false},
		{"Error as text", 200, `{"error":"m"}`, vendors.ErrRefused, "m", true},
		{"Error without text", 200, `{"Error":{"Code":7}}`, vendors.ErrRefused, none, true},
		{"an empty Error alone", 200, `{"Error":{}}`, vendors.ErrUnreadable, none, true},
		{"two Errors", 200, `{"errors":{"email":["x"]},"error":"m"}`, vendors.ErrRefused, "m", true},

		// The vendor's error table for 4.1, at the documented status and at others.
		{"code 200000", 401, coded(200000), vendors.ErrAuth, "m", false},
		{"code 200000 at 200", 200, coded(`"200000"`), vendors.ErrAuth, "m", false},
		{"code 300000", 400, coded(300000), vendors.ErrRefused, "m", true},
		{"code 300001", 400, coded(300001), vendors.ErrRefused, "m", true},
		{"code 300004", 400, coded(300004), vendors.ErrRefused, "m", true},
		{"code 300002", 404, coded(300002), vendors.ErrAddress, "m", false},
		{"code 300002 at 200", 200, coded(`"300002"`), vendors.ErrAddress, "m", false},
		{"code 300002 at 400", 400, coded(300002), vendors.ErrAddress, "m", false},
		{"code 300003", 405, coded(300003), vendors.ErrAddress, "m", false},
		{"code 300003 at 404", 404, coded(300003), vendors.ErrAddress, "m", false},
		{"code 300003 at 429", 429, coded(300003), vendors.ErrRateLimited, "m", false},

		// v6 and what stands in front of it.
		{"v6 401", 401, `{"message":"Unauthenticated."}`, vendors.ErrAuth, "Unauthenticated.", false},
		{"v6 404", 404, `{"message":"No query results for model [Contact]."}`, vendors.ErrRefused, "No query results for model [Contact].", true},
		{"v6 422", 422, `{"message":"The given data was invalid.","errors":{"email":["bad"]}}`, vendors.ErrRefused, "The given data was invalid.", true},
		{"404, empty", 404, " \n", vendors.ErrAddress, none, true},
		{"404 of a gateway", 404, `{"message":"Not Found"}`, vendors.ErrAddress, "Not Found", true},
		{"404 of another gateway", 404, `{"message":"no Route matched with those values"}`, vendors.ErrAddress, "no Route matched with those values", true},
		{"404 of a proxy", 404, "<html>not found</html>", vendors.ErrAddress, none, false},
		{"404 with a list", 404, `[]`, vendors.ErrAddress, none, true},
		{"404 with records", 404, vendortest.Wire(t, "customergauge/preview-one.json"), vendors.ErrUnreadable, none, false},
		{"404 with a total", 404, `{"total":1}`, vendors.ErrUnreadable, none, false},
		{"405", 405, "", vendors.ErrAddress, none, false},
		{"410", 410, "", vendors.ErrAddress, none, true},
		{"501", 501, "", vendors.ErrAddress, none, false},
		{"409", 409, "", vendors.ErrUnavailable, none, false},
		{"423", 423, `{"message":"Locked"}`, vendors.ErrUnavailable, "Locked", false},
		{"425", 425, "", vendors.ErrUnavailable, none, false},

		{"no success", 200, `{"success":false,"Data":[],"total":0}`, vendors.ErrUnreadable, none, true},
		{"no success, with a total of 0 as text", 200, `{"success":false,"Data":[],"total":"0"}`, vendors.ErrUnreadable, none, true},
		{"no success, as text", 200, `{"success":"false","message":"m","total":0}`, vendors.ErrUnreadable, "m", true},
		{"neither Data nor total", 200, `{}`, vendors.ErrUnreadable, none, true},
		{"empty Data without a total", 200, `{"Data":[]}`, vendors.ErrUnreadable, none, true},
		{"a total without Data", 200, `{"total":2}`, vendors.ErrUnreadable, none, false},
		{"a total with Data null", 200, `{"Data":null,"total":2}`, vendors.ErrUnreadable, none, false},
		{"an unreadable total", 200, `{"Data":[],"total":"none"}`, vendors.ErrUnreadable, none, false},
		{"an empty total", 200, `{"Data":[],"total":""}`, vendors.ErrUnreadable, none, true},
		{"a negative total", 200, `{"Data":[],"total":-1}`, vendors.ErrUnreadable, none, false},
		{"Data is no list", 200, `{"Data":{},"total":0}`, vendors.ErrUnreadable, none, true},
		{"a record without a number", 200, `{"Data":[{"email":"john.doe@example.com"}],"total":1}`, vendors.ErrUnreadable, none, false},
		{"a record that is null", 200, `{"Data":[null],"total":1}`, vendors.ErrUnreadable, none, false},
		{"a number that is no number", 200, `{"Data":[{"email":"john.doe@example.com","number_customergauge":"John Doe"}],"total":1}`, vendors.ErrUnreadable, none, false},
		{"no match with another status", 202, `{"Data":[],"total":0}`, vendors.ErrUnreadable, none, true},
		{"200, empty", 200, "", vendors.ErrUnreadable, none, true},
		{"204", 204, "", vendors.ErrUnreadable, none, true},
		{"a page", 200, "<html>maintenance</html>", vendors.ErrUnreadable, none, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			p, err := newAccount(t, nil, vendortest.Reply(test.status, test.body)).vendor.Preview(t.Context(), byEmail())
			if !errors.Is(err, test.kind) {
				t.Fatalf("preview = %+v, %v: want %v", p, err, test.kind)
			}
			var e *vendors.Error
			if !errors.As(err, &e) || e.Message != test.message {
				t.Errorf("message %q, want %q", e.Message, test.message)
			}
			if (e.Form != "") != test.form {
				t.Errorf("form %q, want one: %v", e.Form, test.form)
			}
			vendortest.NoLeak(t, err, john(), secret)
		})
	}
}

// TestForms: a stranger and a person of whom the account holds nothing get the same form,
// whatever of them the answer repeats; a person who is held never has it.
func TestForms(t *testing.T) {
	a := newAccount(t, nil, func(w http.ResponseWriter, req *http.Request) {
		q := req.URL.Query()
		asked := strings.ToUpper(q.Get("email") + q.Get("telephone"))
		if strings.Contains(asked, "555") && !strings.HasPrefix(asked, "+") { // one form of the telephone is held
			io.WriteString(w, `{"Data":[{"email":"john.doe@example.com","number_customergauge":"10438"}],"total":1}`)
			return
		}
		w.WriteHeader(http.StatusNotFound)
		fmt.Fprintf(w, `{"Error":{"Message":"no contact %s (%s)"}}`, asked, strings.TrimPrefix(asked, "+"))
	})
	form := func(target *vendors.Target) string {
		t.Helper()
		_, err := a.vendor.Preview(t.Context(), target)
		var e *vendors.Error
		if !errors.As(err, &e) || e.Form == "" {
			t.Fatalf("%v: no form", err)
		}
		return e.Form
	}
	stranger := form(vendors.Stranger(vendors.Email))
	capitals := &vendors.Target{Ref: vendors.Ref{Field: vendors.Email}, Subject: vendors.Subject{{Field: vendors.Email, Text: "J.Roe@Bücher.example"}}}
	for what, got := range map[string]string{
		"another stranger": form(vendors.Stranger(vendors.Email)), "a person": form(byEmail()), "two spellings": form(capitals),
		"a stranger's telephone": form(vendors.Stranger(vendors.Telephone)),
	} {
		if got != stranger {
			t.Errorf("%s: form %s, want the stranger's %s", what, got, stranger)
		}
	}
	p, err := a.vendor.Preview(t.Context(), byTelephone())
	if err != nil || p.Records != 1 || p.Hint != "digits" {
		t.Errorf("one of two spellings is held: %+v, %v", p, err)
	}

	// Answers that differ are no form.
	n := 0
	a = newAccount(t, nil, func(w http.ResponseWriter, req *http.Request) {
		n++
		vendortest.Reply(404, fmt.Sprintf(`{"message":"%d"}`, n))(w, req)
	})
	_, err = a.vendor.Preview(t.Context(), capitals)
	if e := (*vendors.Error)(nil); n != 2 || !errors.As(err, &e) || e.Form != "" {
		t.Errorf("%d requests, %v: two forms for one person are none", n, err)
	}

	// An outage in the second spelling must not be lost behind the first one's form.
	n = 0
	a = newAccount(t, nil, func(w http.ResponseWriter, req *http.Request) {
		n++
		vendortest.Reply(map[int]int{1: 404, 2: 503}[n], "")(w, req)
	})
	if _, err = a.vendor.Preview(t.Context(), capitals); !errors.Is(err, vendors.ErrUnavailable) {
		t.Errorf("%v, want ErrUnavailable", err)
	}
}

// TestEmailForms: an account that compares letter by letter is asked for what was given and
// for the form in which such systems keep addresses. A record is counted once.
func TestEmailForms(t *testing.T) {
	for _, test := range []struct {
		name, given string
		held        string
		asked       []string
		records     int
		hint        string
		posted      []string
	}{
		{"small letters", "jane@example.com", "jane@example.com", []string{"jane@example.com"}, 1, "", []string{"jane@example.com"}},
		{"capitals, held in small letters", "Jane@Example.com", "jane@example.com", []string{"Jane@Example.com", "jane@example.com"}, 1, "normal", []string{"jane@example.com"}},
		{"capitals, held as given", "Jane@Example.com", "Jane@Example.com", []string{"Jane@Example.com", "jane@example.com"}, 1, "as_given", []string{"Jane@Example.com"}},
		{"capitals, held in both", "Jane@Example.com", "", []string{"Jane@Example.com", "jane@example.com"}, 1, "as_given", []string{"Jane@Example.com"}},
		{"letters in pieces", "rene\u0301@example.com", "ren\u00e9@example.com", []string{"rene\u0301@example.com", "ren\u00e9@example.com"}, 1, "normal", []string{"ren\u00e9@example.com"}},
		{"a domain in letters", "jane@b\u00fccher.example", "jane@xn--bcher-kva.example", []string{"jane@b\u00fccher.example", "jane@xn--bcher-kva.example"}, 1, "normal", []string{"jane@xn--bcher-kva.example"}},
		{"not held", "Jane@Example.com", "jim@example.com", []string{"Jane@Example.com", "jane@example.com"}, 0, "", nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			var posted []string
			a := newAccount(t, nil, func(w http.ResponseWriter, req *http.Request) {
				email := req.FormValue("email")
				switch {
				case req.Method == http.MethodPost:
					posted = append(posted, email)
				case email == test.held || test.held == "":
					fmt.Fprintf(w, `{"Data":[{"email":%q,"number_customergauge":"10438"}],"total":1}`, cmp.Or(test.held, "JANE@example.com"))
				default:
					io.WriteString(w, `{"Data":[],"total":0}`)
				}
			})
			target := &vendors.Target{Ref: vendors.Ref{Field: vendors.Email}, Subject: vendors.Subject{{Field: vendors.Email, Text: test.given}}}
			p, err := a.vendor.Preview(t.Context(), target)
			if err != nil || p.Records != test.records || p.Hint != test.hint || p.Doubt != "" {
				t.Fatalf("%+v, %v", p, err)
			}
			var asked []string
			for _, r := range a.Got() {
				if r.Method == http.MethodGet {
					q, err := url.ParseQuery(r.Query)
					if err != nil {
						t.Fatal(err)
					}
					asked = append(asked, q.Get("email"))
				}
			}
			if diff := gocmp.Diff(test.asked, asked); diff != "" {
				t.Errorf("-want +asked:\n%s", diff)
			}
			if p.Records == 0 {
				return
			}
			target.Hint = p.Hint
			if _, err := a.vendor.Submit(t.Context(), target); err != nil {
				t.Fatal(err)
			}
			if diff := gocmp.Diff(test.posted, posted); diff != "" {
				t.Errorf("-want +posted:\n%s", diff)
			}
		})
	}
}

// TestTelephoneAlone: a telephone is shared in a household. A record that shows it and no
// email is the subject's only where the config says so.
func TestTelephoneAlone(t *testing.T) {
	target := &vendors.Target{Ref: vendors.Ref{Field: vendors.Telephone}, Subject: vendors.Subject{{Field: vendors.Telephone, Text: telephone}}}
	other := vendortest.Reply(200, `{"Data":[{"sms_telephone":"12025550199","number_customergauge":"10438"}],"total":1}`)
	for _, test := range []struct {
		key    string
		answer http.HandlerFunc
		want   vendors.Reason
	}{
		{"", wire(t, "preview-no-email.json"), vendors.UnknownOwner},
		{"hold", wire(t, "preview-no-email.json"), vendors.UnknownOwner},
		{"accept", wire(t, "preview-no-email.json"), ""},
		{"accept", other, vendors.UnknownOwner},
		{"accept", wire(t, "preview-one.json"), vendors.SomebodyElse},
	} {
		a := newAccount(t, func(c *Config) {
			if test.key != "" {
				c.TelephoneAlone = test.key
			}
		}, test.answer)
		if p, err := a.vendor.Preview(t.Context(), target); err != nil || p.Doubt != test.want || p.Records != 1 {
			t.Errorf("telephone_alone %q: %+v, %v, want the doubt %q", test.key, p, err, test.want)
		}
	}
}

// TestSubmitAnswers: what counts as accepted, and what leaves it open.
func TestSubmitAnswers(t *testing.T) {
	for _, test := range []struct {
		name   string
		answer http.HandlerFunc
		kind   error // nil: accepted
	}{
		{"an object", wire(t, "anonymize.json"), nil},
		{"accepted for later", vendortest.Reply(202, `{}`), nil},
		{"no content", vendortest.Reply(204, ""), nil},
		{"an Error", wire(t, "error-email.json"), vendors.ErrRefused},
		{"an Error with status 400", vendortest.Reply(400, vendortest.Wire(t, "customergauge/error-email.json")), vendors.ErrRefused},
		{"empty", vendortest.Reply(200, " \n"), nil},
		{"accepted for later, empty", vendortest.Reply(202, ""), nil},
		{"an empty Error beside success", vendortest.Reply(200, `{"success":true,"errors":[]}`), nil},
		{"no error", vendortest.Reply(200, `{"error":false}`), nil},
		{"errors that are empty in other ways", vendortest.Reply(200, `{"Error":{"Message":"","Code":0},"errors":{},"error":""}`), nil},
		{"nothing held, 404", vendortest.Reply(404, `{"Data":[],"total":0}`), nil},
		{"no success", vendortest.Reply(200, `{"success":false}`), vendors.ErrUnreadable},
		{"no success, as a number", vendortest.Reply(200, `{"success":0,"errors":[]}`), vendors.ErrUnreadable},
		{"an error that is true", vendortest.Reply(200, `{"error":true}`), vendors.ErrRefused},
		{"a list of errors", vendortest.Reply(200, `{"success":true,"errors":["x"]}`), vendors.ErrRefused},
		{"404, empty", vendortest.Reply(404, ""), vendors.ErrAddress},
		{"404 of a gateway", vendortest.Reply(404, `{"message":"Not Found"}`), vendors.ErrAddress},
		{"404 of a proxy", vendortest.Reply(404, `<html>`), vendors.ErrAddress},
		{"404 with an Error", vendortest.Reply(404, vendortest.Wire(t, "customergauge/error-email.json")), vendors.ErrRefused},
		{"v6: nobody by this identifier", vendortest.Reply(404, `{"message":"No query results for model [Contact]."}`), vendors.ErrRefused},
		{"v6: invalid", vendortest.Reply(422, `{"message":"The given data was invalid.","errors":{"email":["bad"]}}`), vendors.ErrRefused},
		{"v6: unauthenticated", vendortest.Reply(401, `{"message":"Unauthenticated."}`), vendors.ErrAuth},
		{"no such module", vendortest.Reply(200, `{"Error":{"Message":"Module does not exist","Code":300002}}`), vendors.ErrAddress},
		{"no such method", vendortest.Reply(405, `{"Error":{"Message":"Method does not exist","Code":300003}}`), vendors.ErrAddress},
		{"405", vendortest.Reply(405, ""), vendors.ErrAddress},
		{"409", vendortest.Reply(409, `{"message":"Conflict"}`), vendors.ErrUnavailable},
		{"423", vendortest.Reply(423, ""), vendors.ErrUnavailable},
		{"null", vendortest.Reply(200, "null"), vendors.ErrUnreadable},
		{"a page", vendortest.Reply(200, "<html>"), vendors.ErrUnreadable},
	} {
		t.Run(test.name, func(t *testing.T) {
			for _, api := range []string{apiV41, apiV6} {
				_, err := newAccount(t, func(c *Config) { c.API = api }, test.answer).vendor.Submit(t.Context(), byEmail())
				if test.kind == nil && err != nil || !errors.Is(err, test.kind) {
					t.Errorf("%s: %v, want %v", api, err, test.kind)
				}
			}
		})
	}
}

// TestIdentifiers: each spelling of one address once, none of another region.
func TestIdentifiers(t *testing.T) {
	ref := func(f vendors.Field) vendors.Ref { return vendors.Ref{Field: f} }
	full := vendors.Subject{
		{Field: vendors.Email, Text: email},
		{Field: vendors.OtherEmail, Text: "John.Doe@Example.com "},
		{Field: vendors.Telephone, Text: "+46 70 174 06 05"},
		{Field: vendors.OtherTelephone, Text: "0046-70-174 06 05"},
		{Field: vendors.CustomerKey, Text: "k"},
	}
	other := vendors.Subject{
		{Field: vendors.OtherEmail, Text: "jd@example.org"},
		{Field: vendors.OtherTelephone, Text: "+44 7700 900123"},
		{Field: vendors.Region, Text: " EU"},
	}
	for _, test := range []struct {
		name    string
		subject vendors.Subject
		region  string
		want    []vendors.Ref
		reason  vendors.Reason
	}{
		{"spellings of one are one", full, "eu", []vendors.Ref{ref(vendors.Email), ref(vendors.Telephone)}, ""},
		{"the spelling that says its country", vendors.Subject{
			{Field: vendors.Email, Text: email}, {Field: vendors.Telephone, Text: "46701740605"}, {Field: vendors.OtherTelephone, Text: "+46 70 174 06 05"},
		}, "eu", []vendors.Ref{ref(vendors.Email), ref(vendors.OtherTelephone)}, ""},
		{"the alternates alone", other, "eu", []vendors.Ref{ref(vendors.OtherEmail), ref(vendors.OtherTelephone)}, ""},
		{"another region", other, "us", nil, vendors.OtherRegion},
		{"no region configured", other, "", []vendors.Ref{ref(vendors.OtherEmail), ref(vendors.OtherTelephone)}, ""},
		{"only a customer key", vendors.Subject{{Field: vendors.CustomerKey, Text: "k"}}, "eu", nil, vendors.NoIdentifier},
		{"places count what is masked and what is other", vendors.Subject{
			{Field: vendors.Email, Text: "jxxnxxe@xxxmple.com", Masked: true}, {Field: vendors.CustomerKey, Text: email},
			{Field: vendors.Email, Text: email}, {Field: vendors.Email, Text: "jd@example.org"}, {Field: vendors.OtherEmail, Text: "JD@example.org"},
		}, "eu", []vendors.Ref{{Field: vendors.Email, Nth: 1}, {Field: vendors.Email, Nth: 2}}, ""},
		{"a telephone without digits", vendors.Subject{{Field: vendors.Telephone, Text: "n/a"}}, "eu", nil, vendors.NoIdentifier},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := testConfig("http://127.0.0.1:1")
			c.Region = test.region
			got, reason := open(t, c, nil).vendor.Identifiers(test.subject)
			if diff := gocmp.Diff(test.want, got); diff != "" || reason != test.reason {
				t.Errorf("reason %q, want %q; -want +got:\n%s", reason, test.reason, diff)
			}
		})
	}
}

// TestTelephoneForms: a vendor that holds 12025550143 is not found by +1-202-555-0143, and
// a person who is not found is not erased. Found by two forms, a record counts once.
func TestTelephoneForms(t *testing.T) {
	var mu sync.Mutex
	held := map[string]string{"12025550143": "10438", "+12025550143": "10438", "2025550143": "20771"}
	posted := []string{}
	fail := ""
	a := newAccount(t, func(c *Config) { c.TelephoneForms = formNames }, func(w http.ResponseWriter, req *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		if req.Method == http.MethodGet {
			if n, ok := held[req.URL.Query().Get("telephone")]; ok {
				fmt.Fprintf(w, `{"Data":[{"email":"john.doe@example.com","number_customergauge":%q}],"total":1}`, n)
				return
			}
			io.WriteString(w, `{"Data":[],"total":0}`)
			return
		}
		number := req.PostFormValue("telephone")
		if number == fail {
			w.WriteHeader(http.StatusTooManyRequests)
			return
		}
		posted = append(posted, number)
		io.WriteString(w, `{}`)
	})
	target := byTelephone()
	p, err := a.vendor.Preview(t.Context(), target)
	if err != nil {
		t.Fatal(err)
	}
	want := vendors.Preview{Records: 2, Refs: []string{"10438", "20771"}, Hint: "e164,national"}
	if diff := gocmp.Diff(want, p); diff != "" {
		t.Fatalf("-want +got:\n%s", diff)
	}
	target.Hint = p.Hint
	if _, err := a.vendor.Submit(t.Context(), target); err != nil {
		t.Fatal(err)
	}
	if diff := gocmp.Diff([]string{"+12025550143", "2025550143"}, posted); diff != "" {
		t.Errorf("each record that the preview found is anonymized, once, -want +posted:\n%s", diff)
	}

	// The second of two is refused harmlessly: but the first was accepted, so the whole
	// must not look as if nothing had happened.
	fail, posted = "2025550143", nil
	_, err = a.vendor.Submit(t.Context(), target)
	if !errors.Is(err, vendors.ErrUnavailable) || vendors.Harmless(err) || len(posted) != 1 {
		t.Errorf("after %d of 3 forms: %v", len(posted), err)
	}
	fail = "+12025550143"
	if _, err = a.vendor.Submit(t.Context(), target); !errors.Is(err, vendors.ErrRateLimited) {
		t.Errorf("the first form was refused, nothing happened: %v", err)
	}
	target.Hint = "made up"
	a.Got()
	if _, err = a.vendor.Submit(t.Context(), target); !errors.Is(err, vendors.ErrNotSent) || len(a.Got()) != 0 {
		t.Errorf("a hint that is not ours: %v", err)
	}
}

func TestTelephoneSpellings(t *testing.T) {
	for _, test := range []struct {
		text, region string
		want         []string
	}{
		{"+46 70 174 06 05", "", []string{"as_given +46 70 174 06 05", "e164 +46701740605", "national 0701740605", "digits 46701740605"}},
		{"070-174 06 05", "SE", []string{"as_given 070-174 06 05", "e164 +46701740605", "national 0701740605", "digits 46701740605"}},
		{"070-174 06 05", "", []string{"as_given 070-174 06 05"}},
		{"+46701740605", "GB", []string{"as_given +46701740605", "national 0701740605", "digits 46701740605"}},
		{"+1 202 555 0143 ext. 7", "US", []string{"as_given +1 202 555 0143 ext. 7"}},
		{"0046701740605", "", []string{"as_given 0046701740605", "e164 +46701740605", "national 0701740605", "digits 46701740605"}},
		{"0046 70-174 06 05", "US", []string{"as_given 0046 70-174 06 05", "e164 +46701740605", "national 0701740605", "digits 46701740605"}},
		{"(0046) 70 174 06 05", "SE", []string{"as_given (0046) 70 174 06 05", "e164 +46701740605", "national 0701740605", "digits 46701740605"}},
		{"no number", "US", []string{"as_given no number"}},
	} {
		var got []string
		for _, f := range telephoneForms(test.text, test.region, formNames) {
			got = append(got, f.name+" "+f.value)
		}
		if diff := gocmp.Diff(test.want, got); diff != "" {
			t.Errorf("%q in %q: -want +got:\n%s", test.text, test.region, diff)
		}
	}
	if got := telephoneForms("no number", "US", []string{e164}); got != nil {
		t.Errorf("e164 of what is no number: %v", got)
	}
}

// TestTokenRenewal: tokens end, and are taken back early. Each means one new token and,
// for the call that was refused, one repetition; never a storm of either.
func TestTokenRenewal(t *testing.T) {
	var mu sync.Mutex
	issued, good := 0, ""
	server := vendortest.NewServer(t, http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		switch {
		case isToken(req):
			issued++
			good = fmt.Sprintf("token-%d", issued)
			w.Header().Set("Content-Type", "application/json")
			fmt.Fprintf(w, `{"access_token":%q,"expires_in":3600}`, good)
		case req.Header.Get("Authorization") != "Bearer "+good:
			w.WriteHeader(http.StatusUnauthorized)
		case req.Method == http.MethodGet:
			io.WriteString(w, `{"Data":[],"total":0}`)
		default:
			io.WriteString(w, `{}`)
		}
	}))
	revoke := func() { mu.Lock(); good = "none"; mu.Unlock() }
	a := open(t, testConfig(server.URL), server)
	step := func(what string, tokens, calls int, do func() error) {
		t.Helper()
		if err := do(); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		gotTokens, gotCalls := 0, 0
		for _, r := range a.Got() {
			if r.Path == "/oauth2/token" {
				gotTokens++
			} else {
				gotCalls++
			}
		}
		if gotTokens != tokens || gotCalls != calls {
			t.Errorf("%s: %d tokens and %d calls, want %d and %d", what, gotTokens, gotCalls, tokens, calls)
		}
	}
	preview := func() error { _, err := a.vendor.Preview(t.Context(), byEmail()); return err }
	submit := func() error { _, err := a.vendor.Submit(t.Context(), byEmail()); return err }
	step("first", 1, 1, preview)
	step("kept", 0, 1, preview)
	a.clock.Add(58 * time.Minute)
	step("still good", 0, 1, preview)
	a.clock.Add(90 * time.Second)
	step("renewed before its end", 1, 1, preview)
	revoke()
	step("taken back, a read", 1, 2, preview)
	revoke()
	step("taken back, a change: the 401 had no effect", 1, 2, submit)

	// Many hold the token that was taken back: one fetch serves them all, and each that was
	// refused repeats its call once.
	revoke()
	const workers = 16
	var group sync.WaitGroup
	for range workers {
		group.Go(func() {
			if err := preview(); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	tokens, calls, refused := 0, 0, 0
	for _, r := range a.Got() {
		switch r.Header.Get("Authorization") {
		case "":
			tokens++
		case "Bearer " + good:
			calls++
		default:
			refused++
		}
	}
	if tokens != 1 || calls != workers || refused < 1 || refused > workers {
		t.Errorf("%d tokens, %d calls, %d refused: want 1, %d and at most as many", tokens, calls, refused, workers)
	}
}

// TestSecondUnauthorized: a fresh token that is refused too is a configuration error, not
// a reason to go on fetching.
func TestSecondUnauthorized(t *testing.T) {
	a := newAccount(t, nil, vendortest.Reply(401, `{"Error":{"Message":"unauthorized"}}`))
	_, err := a.vendor.Submit(t.Context(), byEmail())
	if !errors.Is(err, vendors.ErrAuth) {
		t.Errorf("%v, want ErrAuth", err)
	}
	if got := len(a.Got()); got != 4 {
		t.Errorf("%d requests, want a token and a call, twice", got)
	}
}

// TestTokenErrors: whatever goes wrong with the token, the call itself has not left.
func TestTokenErrors(t *testing.T) {
	for _, test := range []struct {
		name   string
		answer http.HandlerFunc
		kind   error
		retry  time.Duration
	}{
		{"invalid client", vendortest.Reply(401, vendortest.Wire(t, "customergauge/token-refused.json")), vendors.ErrAuth, 0},
		{"invalid client, 400", vendortest.Reply(400, vendortest.Wire(t, "customergauge/token-refused.json")), vendors.ErrAuth, 0},
		{"forbidden", vendortest.Reply(403, "<html>"), vendors.ErrAuth, 0},
		{"no such address", vendortest.Reply(404, ""), vendors.ErrAuth, 0},
		{"an error with status 200", vendortest.Reply(200, vendortest.Wire(t, "customergauge/token-refused.json")), vendors.ErrAuth, 0},
		{"an outage that says so", vendortest.Reply(400, `{"error":"temporarily_unavailable"}`), vendors.ErrNotSent, 0},
		{"an outage", func(w http.ResponseWriter, req *http.Request) {
			w.Header().Set("Retry-After", "5")
			w.WriteHeader(503)
		}, vendors.ErrNotSent, 5 * time.Second},
		{"slow down", func(w http.ResponseWriter, req *http.Request) {
			w.Header().Set("Retry-After", "7")
			w.WriteHeader(429)
		}, vendors.ErrRateLimited, 7 * time.Second},
		{"cut", func(w http.ResponseWriter, req *http.Request) { panic(http.ErrAbortHandler) }, vendors.ErrNotSent, 0},
		{"a page", vendortest.Reply(200, "<html>"+secret+"</html>"), vendors.ErrNotSent, 0},
		{"no token", vendortest.Reply(200, "{}"), vendors.ErrNotSent, 0},
		{"a token that cannot stand in a header", vendortest.Reply(200, `{"access_token":"a\r\nb"}`), vendors.ErrNotSent, 0},
		{"a redirect", func(w http.ResponseWriter, req *http.Request) {
			http.Redirect(w, req, "/elsewhere", http.StatusTemporaryRedirect)
		}, vendors.ErrNotSent, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			server := vendortest.NewServer(t, test.answer)
			a := open(t, testConfig(server.URL), server)
			_, err := a.vendor.Submit(t.Context(), byEmail())
			var e *vendors.Error
			if !errors.As(err, &e) || !errors.Is(err, test.kind) || !vendors.Harmless(err) || e.RetryAfter != test.retry || e.Op != "token" {
				t.Errorf("%v (%+v), want %v", err, e, test.kind)
			}
			for _, k := range []error{vendors.ErrUnavailable, vendors.ErrUnreadable} {
				if errors.Is(err, k) {
					t.Errorf("also of kind %v: the call would count as uncertain", k)
				}
			}
			vendortest.NoLeak(t, err, john(), secret, "elsewhere")
			if got := server.Got(); len(got) != 1 {
				t.Errorf("%d requests, want the one for the token", len(got))
			}
		})
	}
}

// TestCheck: the preflight asks about the control record and about a stranger, and only both
// together pass.
func TestCheck(t *testing.T) {
	none, page := wire(t, "preview-none.json"), vendortest.Reply(200, "<html>")
	one := vendortest.Reply(200, `{"Data":[{"email":"control@example.com","number_customergauge":"1"}],"total":1}`)
	bare, refusal := vendortest.Reply(404, ""), wire(t, "error-email.json")
	for _, test := range []struct {
		name     string
		control  http.HandlerFunc // nil: no control is configured
		stranger http.HandlerFunc
		warnings []string // a word of each
		kind     error
		cause    error
	}{
		{"well", one, none, nil, nil, nil},
		{"no control", nil, none, []string{"control"}, nil, nil},
		{"the control is not there", none, none, nil, vendors.ErrAddress, vendors.ErrControl},
		{"everybody is there", one, one, nil, vendors.ErrAddress, errEverybody},
		{"everybody is there, no control", nil, one, []string{"control"}, vendors.ErrAddress, errEverybody},
		{"404 to everybody", bare, bare, nil, vendors.ErrAddress, nil},
		{"404, no control", nil, bare, []string{"control"}, vendors.ErrAddress, nil},
		{"404 of a gateway, no control", nil, vendortest.Reply(404, `{"message":"Not Found"}`), []string{"control"}, vendors.ErrAddress, nil},
		{"404 to the stranger alone", one, bare, []string{"HTTP 404"}, nil, nil},
		{"the stranger is refused", one, refusal, []string{"HTTP 200"}, nil, nil},
		{"the stranger is refused, no control", nil, refusal, []string{"control", "stay open"}, nil, nil},
		{"credentials refused", nil, vendortest.Reply(403, ""), []string{"control"}, vendors.ErrAuth, nil},
		{"credentials refused to the control", vendortest.Reply(403, ""), none, nil, vendors.ErrAuth, nil},
		{"a page", one, page, nil, vendors.ErrUnreadable, nil},
		{"a page for the control", page, none, nil, vendors.ErrUnreadable, nil},
		{"down", nil, vendortest.Reply(503, ""), []string{"control"}, vendors.ErrUnavailable, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			a := newAccount(t, func(c *Config) {
				if c.SegmentsAgreed = true; test.control != nil {
					c.Control.Email = "Control@example.com"
				}
			}, func(w http.ResponseWriter, req *http.Request) {
				if isStranger(req) {
					test.stranger(w, req)
				} else {
					test.control(w, req)
				}
			})
			warnings, err := a.vendor.Check(t.Context())
			if test.kind == nil && err != nil || !errors.Is(err, test.kind) || test.cause != nil && !errors.Is(err, test.cause) {
				t.Errorf("%v, want %v, %v", err, test.kind, test.cause)
			}
			if e := (*vendors.Error)(nil); errors.As(err, &e) && e.Op != "check" {
				t.Errorf("%v does not name the check", err)
			}
			if len(warnings) != len(test.warnings) {
				t.Fatalf("warnings %q, want %d", warnings, len(test.warnings))
			}
			for i, word := range test.warnings {
				if !strings.Contains(warnings[i], word) {
					t.Errorf("warning %q does not name %s", warnings[i], word)
				}
			}
		})
	}
	a := newAccount(t, func(c *Config) { c.Control.Email = "control@example.com" }, func(w http.ResponseWriter, req *http.Request) {
		if isStranger(req) {
			none(w, req)
		} else {
			one(w, req)
		}
	})
	if warnings, err := a.vendor.Check(t.Context()); err != nil || len(warnings) != 1 || !strings.Contains(warnings[0], "segments_agreed") {
		t.Errorf("warnings %q (%v), want one of the segments", warnings, err)
	}
}

// TestCheckByTelephone: where the control is a telephone, the stranger is one too, and the
// record may have anybody's email.
func TestCheckByTelephone(t *testing.T) {
	strangers := 0
	a := newAccount(t, func(c *Config) { c.SegmentsAgreed, c.Control.Telephone = true, "+12025550177" }, func(w http.ResponseWriter, req *http.Request) {
		switch {
		case isStranger(req) && req.URL.Query().Has("telephone"):
			strangers++
			wire(t, "preview-none.json")(w, req)
		case strings.Contains(req.URL.Query().Get("telephone"), "5550177"):
			vendortest.Reply(200, `{"Data":[{"email":"desk@example.com","number_customergauge":"1"}],"total":1}`)(w, req)
		default:
			t.Errorf("asked for %s", req.URL.RawQuery)
		}
	})
	if warnings, err := a.vendor.Check(t.Context()); err != nil || len(warnings) != 0 || strangers == 0 {
		t.Errorf("%q, %v after %d requests about a stranger", warnings, err, strangers)
	}
}

// TestControlByTelephone: a person's telephone is the control's in whatever spelling.
func TestControlByTelephone(t *testing.T) {
	a := newAccount(t, func(c *Config) { c.Control.Telephone = "+12025550177" }, wire(t, "preview-one.json"))
	for text, want := range map[string]vendors.Reason{
		"(202) 555-0177": vendors.ControlRecord, "0012025550177": vendors.ControlRecord, "+1 202 555 0178": vendors.UnknownOwner,
	} {
		s := vendors.Subject{{Field: vendors.Email, Text: email}, {Field: vendors.OtherTelephone, Text: text}}
		p, err := a.vendor.Preview(t.Context(), &vendors.Target{Ref: vendors.Ref{Field: vendors.Email}, Subject: s})
		if held := p.Doubt == vendors.ControlRecord; err != nil || held != (want == vendors.ControlRecord) {
			t.Errorf("%s: %+v, %v", text, p, err)
		}
	}
}
