package vendortest_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"expunge/vendors"
	"expunge/vendors/transport"
	"expunge/vendors/vendortest"
)

// This file is the template that vendors/README.md walks through: a fourth kind, complete,
// for a made-up newsletter service. It would be a package of its own; nothing else in the
// program changes but the list of kinds.

// newsletterKind is what cmd/expunge would list.
var newsletterKind = vendors.Kind{Name: "newsletter", New: func() vendors.Config {
	return &newsletterConfig{Common: vendors.DefaultCommon("newsletter"), VerifyAfter: vendors.Duration(time.Second)}
}}

// newsletterConfig is what stands below a vendor of this kind: the keys of every vendor,
// and its own.
type newsletterConfig struct {
	vendors.Common `yaml:",inline"`

	APIKey      vendors.Secret   `yaml:"api_key"`
	Control     vendors.Control  `yaml:"control"`
	VerifyAfter vendors.Duration `yaml:"verify_after"`
}

// Validate implements vendors.Config.
func (c *newsletterConfig) Validate() error {
	if !vendors.PlainToken(c.APIKey.Reveal(), 200) {
		return &vendors.KeyError{Key: "api_key", Problem: "is missing or holds characters that cannot stand in a header"}
	}
	if err := c.Control.Validate(); err != nil {
		return err
	}
	_, err := c.place()
	return err
}

func (c *newsletterConfig) place() (*url.URL, error) {
	if c.BaseURL == "" {
		return vendors.HTTPBase("base_url", "https://api.newsletter.example.com")
	}
	return vendors.HTTPBase("base_url", c.BaseURL)
}

// Open implements vendors.Config.
func (c *newsletterConfig) Open(o vendors.Options) (vendors.Vendor, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	base, err := c.place()
	if err != nil {
		return nil, err
	}
	return &newsletter{name: o.Name, config: *c, base: base, transport: o.Transport}, nil
}

// newsletter is one account.
type newsletter struct {
	name      string
	config    newsletterConfig
	base      *url.URL
	transport vendors.Transport
}

var _ vendors.Vendor = (*newsletter)(nil)

// Traits implements vendors.Vendor: deletion is done at once and can be looked after, so an
// open outcome is resolved by asking again.
func (v *newsletter) Traits() vendors.Traits {
	return vendors.Traits{
		Kind: "newsletter", Place: vendors.PlaceOf("newsletter", v.base, ""), SharedPlace: true, Act: vendors.Remove,
		Control: v.config.Control.Target(),
		Remote:  true, Completion: vendors.ByPreview, Uncertain: vendors.AskAgain,
		Fields:      vendors.SetOf(vendors.Email),
		VerifyAfter: time.Duration(v.config.VerifyAfter), VerifyPatience: 10 * time.Minute,
		Anonymizes: []string{"the subscription and what was opened and clicked"},
		Keeps:      []string{"counts of all subscribers"},
		HowKnown:   "The service knows nobody with the address any more.",
	}
}

// Identifiers implements vendors.Vendor.
func (v *newsletter) Identifiers(s vendors.Subject) ([]vendors.Ref, vendors.Reason) {
	if s.Get(vendors.Email) == "" {
		return nil, vendors.NoIdentifier
	}
	return []vendors.Ref{{Field: vendors.Email}}, ""
}

// Preview implements vendors.Vendor. Records of somebody else are a doubt, for a person.
func (v *newsletter) Preview(ctx context.Context, t *vendors.Target) (vendors.Preview, error) {
	if !t.Control && v.config.Control.Covers(t.Subject) {
		return vendors.Preview{Doubt: vendors.ControlRecord}, nil
	}
	var found struct {
		Contacts *[]struct {
			ID    vendors.Loose
			Email string
		}
	}
	if err := v.call(ctx, "preview", http.MethodGet, t.Identifier(), &found); err != nil {
		return vendors.Preview{}, err
	}
	if found.Contacts == nil { // never taken for "nobody"
		return vendors.Preview{}, &vendors.Error{Vendor: v.name, Op: "preview", Kind: vendors.ErrUnreadable}
	}
	p := vendors.Preview{Records: len(*found.Contacts)}
	for _, contact := range *found.Contacts {
		p.Refs = append(p.Refs, string(contact.ID))
		if !strings.EqualFold(contact.Email, t.Identifier()) {
			p.Doubt = vendors.SomebodyElse
		}
	}
	return p, nil
}

// Submit implements vendors.Vendor: the one call that deletes.
func (v *newsletter) Submit(ctx context.Context, t *vendors.Target) (vendors.Receipt, error) {
	if v.config.Control.Covers(t.Subject) { // whatever a person has approved
		return vendors.Receipt{}, &vendors.Error{Vendor: v.name, Op: "submit", Kind: vendors.ErrRefused}
	}
	var done struct{ Deleted *int }
	if err := v.call(ctx, "submit", http.MethodDelete, t.Identifier(), &done); err != nil {
		return vendors.Receipt{}, err
	}
	if done.Deleted == nil {
		return vendors.Receipt{}, &vendors.Error{Vendor: v.name, Op: "submit", Kind: vendors.ErrUnreadable}
	}
	return vendors.Receipt{}, nil
}

// call makes one request. The transport has the rate limit, the timeout and the size limit;
// its errors, and those of Fail and DecodeJSON, are typed and name nobody.
func (v *newsletter) call(ctx context.Context, op, method, email string, into any) error {
	if email == "" {
		return &vendors.Error{Vendor: v.name, Op: op, Kind: vendors.ErrNotSent, Err: vendors.ErrNoValue}
	}
	u := v.base.JoinPath("/v1/contacts")
	u.RawQuery = url.Values{"email": {email}}.Encode()
	req, err := http.NewRequestWithContext(ctx, method, u.String(), nil)
	if err != nil {
		return &vendors.Error{Vendor: v.name, Op: op, Kind: vendors.ErrNotSent}
	}
	req.Header.Set("Api-Key", v.config.APIKey.Reveal())
	answer, err := v.transport.Do(ctx, op, req)
	if err != nil {
		return err
	}
	if answer.Status != http.StatusOK {
		failed := transport.Fail(v.name, op, answer)
		if method == http.MethodGet && failed.Kind == vendors.ErrRefused && !json.Valid(answer.Body) {
			failed.Kind = vendors.ErrUnreadable // a proxy's page, say: no word of the vendor
		}
		return failed
	}
	return transport.DecodeJSON(v.name, op, answer, into)
}

// TestNewsletter runs the suite on the fourth kind: what package batch relies on holds for
// it, though neither batch nor the store knows it.
func TestNewsletter(t *testing.T) {
	const email, key = "ada@example.com", "newsletter-key-in-a-test"
	vendortest.Run(t, vendortest.Case{
		Open: func(t testing.TB, base string, tr vendors.Transport) vendors.Vendor {
			c := newsletterKind.New().(*newsletterConfig)
			c.BaseURL, c.APIKey, c.Control.Email = base, vendors.NewSecret(key), "control@example.com"
			v, err := c.Open(vendors.Options{Name: "vendor-under-test", Transport: tr})
			if err != nil {
				t.Fatal(err)
			}
			return v
		},
		Serve: func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodDelete {
				vendortest.Reply(200, `{"deleted":1}`)(w, r)
				return
			}
			vendortest.Reply(200, `{"contacts":[{"id":7,"email":"Ada@example.com"}]}`)(w, r)
		},
		Target: vendors.Target{
			Ref:     vendors.Ref{Field: vendors.Email},
			Subject: vendors.Subject{{Field: vendors.Email, Text: email}},
		},
		Refuse:  vendortest.Reply(422, `{"error":"no such list"}`),
		Secrets: []string{key},
		Unclear: []string{`{}`, `{"deleted":"yes"}`, `{"error":"maintenance"}`},
	})
}

// TestNewsletterErases: the whole way on a server with a memory, as a run goes it: seen,
// deleted, and looked after.
func TestNewsletterErases(t *testing.T) {
	var mu sync.Mutex
	held := map[string]bool{"ada@example.com": true}
	server := vendortest.NewServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		email := r.URL.Query().Get("email")
		switch {
		case r.Method == http.MethodDelete:
			delete(held, email)
			vendortest.Reply(200, `{"deleted":1}`)(w, r)
		case held[email]:
			vendortest.Reply(200, `{"contacts":[{"id":"7","email":"`+email+`"}]}`)(w, r)
		default:
			vendortest.Reply(200, `{"contacts":[]}`)(w, r)
		}
	}))
	c := newsletterKind.New().(*newsletterConfig)
	c.BaseURL, c.APIKey = server.URL, vendors.NewSecret("key")
	v, err := c.Open(vendors.Options{Name: "newsletter", Transport: vendortest.NewTransport(t, "newsletter", 0)})
	if err != nil {
		t.Fatal(err)
	}
	target := &vendors.Target{Ref: vendors.Ref{Field: vendors.Email}, Subject: vendors.Subject{{Field: vendors.Email, Text: "ada@example.com"}}}
	for _, want := range []int{1, 0} {
		p, err := v.Preview(t.Context(), target)
		if err != nil || p.Records != want || p.Doubt != "" {
			t.Fatalf("preview: %+v, %v, want %d records", p, err, want)
		}
		if want == 1 {
			if _, err := v.Submit(t.Context(), target); err != nil {
				t.Fatal(err)
			}
		}
	}
}
