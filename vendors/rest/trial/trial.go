// Package trial tries a recipe without its vendor: against a twin of it (package sim), by the
// conformance suite of all kinds, and with every word of the file changed in turn.
//
// It proves the engine, the config and that the file agrees with itself and with its recorded
// answers. It does not prove what the file says of the vendor.
package trial

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"expunge/vendors"
	"expunge/vendors/rest"
	"expunge/vendors/sim"
	"expunge/vendors/transport"
	"expunge/vendors/vendortest"
)

// Person is whom a trial is about.
func Person(r *rest.Recipe) vendors.Subject {
	f := vendors.Field(r.KnownBy[0])
	text := "d9528030-509c-4e0f-b585-7168f1e9feca"
	switch class, _ := vendors.Normal(f, ""); class {
	case vendors.Email:
		text = "ada@example.com"
	case vendors.Telephone:
		text = "+12025550143"
	}
	return vendors.Subject{{Field: f, Text: text}}
}

// seed has one record of the person, and the control record.
func seed(s vendors.Subject) *sim.Seed {
	d := sim.DefaultSeed()
	rec := sim.Record{Email: s.Get(vendors.Email) + s.Get(vendors.OtherEmail), Telephone: s.Get(vendors.Telephone) + s.Get(vendors.OtherTelephone)}
	d.CustomerGauge[0].Records = []sim.Record{rec}
	d.Voyado[0].Keys = []sim.VoyadoKey{{Key: s.Get(vendors.CustomerKey) + s.Get(vendors.AccountNumber)}}
	d.Control()
	return d
}

// Config is a complete config of a recipe for its twin at base.
func Config(r *rest.Recipe, base string) *rest.Config {
	c := rest.Kind.New().(*rest.Config)
	c.Recipe = rest.Of(r)
	c.BaseURL = strings.TrimSuffix(base, "/") + "/r/" + r.Name
	c.With = map[string]vendors.Secret{}
	for name := range r.Config {
		c.With[name] = vendors.NewSecret(sim.Setting(name))
	}
	if r.Preview != nil {
		switch class, _ := vendors.Normal(vendors.Field(r.KnownBy[0]), ""); class {
		case vendors.Email:
			c.Control.Email = sim.ControlEmail
		case vendors.Telephone:
			c.Control.Telephone = sim.ControlTelephone
		}
	}
	return c
}

// Case describes a recipe to the suite: its twin, which accepts and takes nothing, so that each
// case finds what the one before found.
func Case(r *rest.Recipe) (vendortest.Case, error) {
	person := Person(r)
	twin := sim.New(sim.Options{Seed: seed(person), Recipes: []*rest.Recipe{r}, Inert: true})
	c := vendortest.Case{
		Open: func(t testing.TB, base string, tr vendors.Transport) vendors.Vendor {
			v, err := Config(r, base).Open(vendors.Options{Name: "vendor-under-test", Transport: tr})
			if err != nil {
				t.Fatal(err)
			}
			return v
		},
		Serve:  twin.ServeHTTP,
		Target: vendors.Target{Ref: vendors.Ref{Field: person[0].Field}, Subject: person, ReceivedAt: time.Date(2026, 3, 1, 9, 0, 0, 0, time.UTC)},
		Reads: func(q vendortest.Request) bool {
			return r.Preview != nil && IsFor(&r.Preview.Request, q.Method, q.Path) || r.Status != nil && IsFor(&r.Status.Request, q.Method, q.Path)
		},
		Unclear: []string{`{}`, `{"data":{}}`, `{"error":"maintenance"}`},
	}
	for _, name := range slices.Sorted(maps.Keys(r.Examples)) {
		if e := r.Examples[name]; e.Of == "erase" && e.Gives == "refused" {
			a, err := e.Answers[0].Answer()
			if err != nil {
				return c, err
			}
			c.Refuse = vendortest.Reply(a.Status, string(a.Body))
		}
	}
	for name, s := range r.Config {
		if s.Secret {
			c.Secrets = append(c.Secrets, sim.Setting(name))
		}
	}
	if slices.ContainsFunc(r.Auths(), func(a *rest.Auth) bool { return a.OAuth2 != nil || a.Token != nil }) {
		c.IsToken = func(req *http.Request) bool { return isToken(r, req) }
	}
	return c, acquaint(&c)
}

var aPlaceholder = regexp.MustCompile(`\\\{[^}]*\\\}`)

// IsFor reports whether method and path are those of a recipe's request, wherever its base is.
func IsFor(q *rest.Request, method, path string) bool {
	pattern := aPlaceholder.ReplaceAllString(regexp.QuoteMeta(q.Path), `[^/]+`)
	return method == q.Method && regexp.MustCompile(pattern+"$").MatchString(path)
}

func isToken(r *rest.Recipe, req *http.Request) bool {
	return slices.ContainsFunc(r.Auths(), func(a *rest.Auth) bool {
		if a.Token != nil {
			return IsFor(&a.Token.Request, req.Method, req.URL.EscapedPath())
		}
		if a.OAuth2 == nil {
			return false
		}
		u, err := url.Parse(a.OAuth2.URL)
		return err == nil && strings.HasSuffix(req.URL.Path, u.Path)
	})
}

// acquaint fills in what a task has after a preview and a submission: some cases of the suite
// begin there.
func acquaint(c *vendortest.Case) error {
	server := httptest.NewServer(c.Serve)
	defer server.Close()
	tr := transport.New(transport.Options{Vendor: "trial"})
	defer tr.Close()
	v := c.Open(noTest{}, server.URL, tr)
	p, err := v.Preview(context.Background(), &c.Target)
	if err != nil {
		return fmt.Errorf("a preview at the twin: %w", err)
	}
	c.Target.Hint = p.Hint
	receipt, err := v.Submit(context.Background(), &c.Target)
	if err != nil {
		return fmt.Errorf("a submission at the twin: %w", err)
	}
	c.Target.Reference = receipt.Reference
	return nil
}

// noTest stands for a test where none runs: what opens a vendor fails only by a mistake of this
// package.
type noTest struct{ testing.TB }

func (noTest) Fatal(args ...any) { panic(fmt.Sprint(args...)) }
