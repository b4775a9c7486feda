package rest_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"expunge/vendors"
	"expunge/vendors/customergauge"
	"expunge/vendors/rest"
	"expunge/vendors/vendortest"
	"expunge/vendors/voyado"
)

// The oracles: two kinds in Go, and recipes for what a recipe can say of them. From the same
// answers both must send the same requests, byte by byte, and come to the same outcomes.

// answer is what the vendor says to every call.
type answer struct {
	name   string
	status int
	body   string
}

// oracle is the vendor in both ways, on one server.
type oracle struct {
	t      *testing.T
	server *vendortest.Server
	now    answer
	kinds  []vendors.Vendor // in Go, and by recipe
	target vendors.Target

	equal int
	less  map[string]int
}

func newOracle(t *testing.T, target vendors.Target, open func(base string) []vendors.Config) *oracle {
	o := &oracle{t: t, target: target, less: map[string]int{}}
	o.server = vendortest.NewServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/oauth2/token" {
			vendortest.Reply(200, `{"access_token":"wire-token-1","token_type":"Bearer","expires_in":3600}`)(w, r)
			return
		}
		vendortest.Reply(o.now.status, o.now.body)(w, r)
	}))
	for _, c := range open(o.server.URL) {
		v, err := c.Open(vendors.Options{Name: "oracle", Transport: vendortest.NewTransport(t, "oracle", 0), Now: time.Now})
		if err != nil {
			t.Fatal(err)
		}
		o.kinds = append(o.kinds, v)
	}
	return o
}

// compare makes a call in both ways. The recipe may be less sure than the Go kind, in ways that
// are stated here, and never more sure.
func (o *oracle) compare(op string, a answer, call func(v vendors.Vendor, t *vendors.Target) (string, error)) {
	o.t.Helper()
	o.now = a
	var outcomes, sent []string
	var errs []*vendors.Error
	for _, v := range o.kinds {
		target := o.target
		outcome, err := call(v, &target)
		var e *vendors.Error
		if errors.As(err, &e) {
			outcome = fmt.Sprintf("%v (%d) %q form %q", e.Kind, e.Status, e.Message, e.Form)
		}
		var all []string
		for _, r := range o.server.Got() {
			all = append(all, r.Text("Accept", "Authorization", "Api-Key", "Content-Type"))
		}
		outcomes, sent, errs = append(outcomes, outcome), append(sent, strings.Join(all, "\n")), append(errs, e)
	}
	if sent[0] == "" || sent[0] != sent[1] {
		o.t.Errorf("%s, %s: other requests (-Go +recipe):\n%s", op, a.name, cmp.Diff(sent[0], sent[1]))
	}
	if outcomes[0] == outcomes[1] {
		o.equal++
		return
	}
	if why := lessSure(op, a, errs[0], errs[1]); why != "" {
		o.less[why]++
		return
	}
	o.t.Errorf("%s, %s: other outcomes:\n Go:     %s\n recipe: %s", op, a.name, outcomes[0], outcomes[1])
}

// lessSure says in which way a recipe is less sure of an answer than the Go kind; "": in none
// that is meant.
func lessSure(op string, a answer, inGo, recipe *vendors.Error) string {
	open := recipe != nil && (recipe.Kind == vendors.ErrUnreadable || recipe.Kind == vendors.ErrAddress)
	switch {
	case op == "submit" && inGo == nil && open:
		return "takes fewer answers for an acceptance"
	case inGo != nil && recipe != nil && inGo.Kind == recipe.Kind && inGo.Form == recipe.Form:
		return "finds the vendor's words at one path only"
	case inGo != nil && inGo.Kind == vendors.ErrRefused && open && inGo.Form == recipe.Form && a.status < 300:
		return "calls a 2xx a refusal by its words only"
	case inGo != nil && inGo.Kind == vendors.ErrRefused && open && inGo.Form == recipe.Form && a.status == 404:
		return "knows no 404 that is about the request"
	case op != "submit" && inGo != nil && inGo.Kind == vendors.ErrRefused && open && a.status == 400:
		return "takes a 4xx that is no JSON for something in front"
	case op == "poll" && a.status == 404 && inGo != nil && inGo.Kind == vendors.ErrAddress && recipe == nil && strings.Contains(a.body, "not_found"):
		return "takes a 404 that says not_found for a lost job, also where it names none"
	case op == "poll" && a.status == 202 && inGo == nil && recipe == nil && strings.Contains(a.body, "not_found"):
		return "keeps a job open that a 202 says is not found"
	}
	return ""
}

// summary prints what the comparison comes to.
func (o *oracle) summary() {
	if o.equal == 0 {
		o.t.Error("nothing was equal")
	}
	o.t.Logf("%d outcomes equal; less sure by recipe: %v", o.equal, o.less)
}

func preview(v vendors.Vendor, t *vendors.Target) (string, error) {
	p, err := v.Preview(testContext, t)
	return fmt.Sprintf("%d records %q, doubt %q", p.Records, p.Refs, p.Doubt), err
}

func submit(v vendors.Vendor, t *vendors.Target) (string, error) {
	r, err := v.Submit(testContext, t)
	return fmt.Sprintf("accepted, reference %q", r.Reference), err
}

func poll(v vendors.Vendor, t *vendors.Target) (string, error) {
	p, err := v.(vendors.Poller).Poll(testContext, t)
	return fmt.Sprintf("job %d, %q", p.Job, p.Status), err
}

// recorded are the answers of testdata/wire at the usual statuses, and what stands in front of
// vendors.
func recorded(t *testing.T, kind string) []answer {
	files, err := filepath.Glob("../../testdata/wire/" + kind + "/*.json")
	if err != nil || len(files) == 0 {
		t.Fatal("no recorded answers", err)
	}
	var all []answer
	for _, f := range files {
		body, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		for _, status := range []int{200, 202, 400, 401, 403, 404, 405, 409, 422, 429, 500, 503} {
			all = append(all, answer{fmt.Sprintf("%s with %d", filepath.Base(f), status), status, string(body)})
		}
	}
	for _, body := range []string{"", "<html>", "{", "null", "[]", `"ok"`, "{}"} {
		for _, status := range []int{200, 400, 404, 502} {
			all = append(all, answer{fmt.Sprintf("%q with %d", body, status), status, body})
		}
	}
	return all
}

func recipe(t *testing.T, name, base string, with map[string]string) *rest.Config {
	t.Helper()
	data, err := os.ReadFile("testdata/" + name + ".yaml")
	if err != nil {
		t.Fatal(err)
	}
	r, err := rest.Parse(name, data)
	if err != nil {
		t.Fatal(err)
	}
	c := rest.Kind.New().(*rest.Config)
	c.Recipe, c.BaseURL, c.With = rest.Of(r), base, map[string]vendors.Secret{}
	for key, value := range with {
		c.With[key] = vendors.NewSecret(value)
	}
	return c
}

// TestOracleCustomerGauge: looked up and anonymized by email.
func TestOracleCustomerGauge(t *testing.T) {
	o := newOracle(t, vendors.Target{
		Ref:     vendors.Ref{Field: vendors.Email},
		Subject: vendors.Subject{{Field: vendors.Email, Text: "john.doe@example.com"}, {Field: vendors.CustomerName, Text: "John Doe"}},
	}, func(base string) []vendors.Config {
		c := customergauge.Kind.New().(*customergauge.Config)
		c.Region, c.BaseURL, c.ClientID, c.ClientSecret = "eu", base, "client-id", vendors.NewSecret("client-secret")
		return []vendors.Config{c, recipe(t, "customergauge", base, map[string]string{"client_id": "client-id", "client_secret": "client-secret"})}
	})
	for _, a := range recorded(t, "customergauge") {
		o.compare("preview", a, preview)
		o.compare("submit", a, submit)
	}
	o.summary()
}

// TestOracleVoyado: a removal, and the status of its job.
func TestOracleVoyado(t *testing.T) {
	const jid = "ca24b4e2-34ab-406a-a4db-b30b0247837a"
	o := newOracle(t, vendors.Target{
		Ref:       vendors.Ref{Field: vendors.CustomerKey},
		Subject:   vendors.Subject{{Field: vendors.CustomerKey, Text: "d9528030-509c-4e0f-b585-7168f1e9feca"}},
		Reference: jid,
	}, func(base string) []vendors.Config {
		c := voyado.Kind.New().(*voyado.Config)
		c.BaseURL, c.Cluster, c.APIKey = base, "w0000000", vendors.NewSecret("api-key")
		return []vendors.Config{c, recipe(t, "voyado", base, map[string]string{"cluster": "w0000000", "api_key": "api-key"})}
	})
	all := recorded(t, "voyado")
	for _, body := range []string{
		`{"jid":"other","status":"done"}`, `{"status":"done"}`, `{"status":"error"}`, `{"status":"running"}`, `{"jid":"` + jid + `"}`,
		`{"jid":"` + strings.ToUpper(jid) + `","status":"DONE"}`, `{"jid":"` + jid + `","status":"Archiving-2"}`, `{"jid":"` + jid + `","status":"\u001b[2J"}`,
		`{"jid":7,"status":"started"}`, `{"jid":{},"status":"started"}`, `{"jid":"two words","status":"started"}`, `{"status":"not_found"}`,
		`{"jid":"d9528030-509c-4e0f-b585-7168f1e9feca","status":"started"}`, `{"jid":"","status":"started"}`, `{"jid":null}`,
	} {
		for _, status := range []int{200, 404} {
			all = append(all, answer{fmt.Sprintf("%s with %d", body, status), status, body})
		}
	}
	for _, a := range all {
		o.compare("submit", a, submit)
		o.compare("poll", a, poll)
	}
	o.summary()
}

var testContext = context.Background()
