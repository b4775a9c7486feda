package vendortest_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/gorillamux"

	"expunge/vendors"
	"expunge/vendors/customergauge"
	"expunge/vendors/sim"
	"expunge/vendors/voyado"
)

// described is a transport to the simulator that holds what passes against a description:
// each request with the very address that the adapter made, and each answer.
type described struct {
	t      *testing.T
	sim    http.Handler
	router routers.Router
	*tally
}

// tally counts what passed.
type tally struct {
	requests, answers int
	deviations        []string
	seen              map[string]bool // "operation status"
}

var _ vendors.Transport = (*described)(nil)

func init() {
	// What the library does not decode by itself, it refuses.
	openapi3filter.RegisterBodyDecoder("application/zip", openapi3filter.FileBodyDecoder)
}

// describe makes a transport that counts in sum, or, where that is nil, in a new tally.
func describe(t *testing.T, file string, simulator http.Handler, sum *tally) *described {
	t.Helper()
	if sum == nil {
		sum = &tally{seen: map[string]bool{}}
	}
	doc, err := openapi3.NewLoader().LoadFromFile(filepath.Join("..", "..", "testdata", "openapi", file))
	if err != nil {
		t.Fatal(err)
	}
	if err := doc.Validate(t.Context(), openapi3.IsOpenAPI31OrLater()); err != nil {
		t.Fatal(err)
	}
	router, err := gorillamux.NewRouter(doc)
	if err != nil {
		t.Fatal(err)
	}
	return &described{t: t, sim: simulator, router: router, tally: sum}
}

func (d *described) deviates(format string, args ...any) {
	d.deviations = append(d.deviations, fmt.Sprintf(format, args...))
}

// exchange is one request and its answer; nil: the simulator cut the connection.
func (d *described) exchange(req *http.Request) *http.Response {
	var body []byte
	if req.Body != nil {
		var err error
		if body, err = io.ReadAll(req.Body); err != nil {
			d.t.Fatal(err)
		}
	}
	again := func() *http.Request {
		r := req.Clone(context.Background())
		r.Body, r.Host = io.NopCloser(bytes.NewReader(body)), req.URL.Host
		r.ContentLength = int64(len(body))
		return r
	}
	d.requests++
	in := &openapi3filter.RequestValidationInput{Request: again(), Options: &openapi3filter.Options{
		AuthenticationFunc: authenticated, IncludeResponseStatus: true, RejectWhenRequestBodyNotSpecified: true, MultiError: true,
	}}
	route, params, err := d.router.FindRoute(in.Request)
	if err != nil {
		d.deviates("request %s %s: %v", req.Method, req.URL.Path, err)
		d.t.Fatalf("no description of %s %s%s: %v", req.Method, req.URL.Host, req.URL.Path, err)
	}
	in.Route, in.PathParams = route, params
	op := route.Operation.OperationID
	if err := openapi3filter.ValidateRequest(d.t.Context(), in); err != nil {
		d.deviates("request %s: %v", op, err)
	}
	// What a description cannot say: nothing but its parameters, and one of these two.
	query := req.URL.Query()
	for name, values := range query {
		if route.Operation.Parameters.GetByInAndName("query", name) == nil || len(values) != 1 {
			d.deviates("request %s: the parameter %s", op, name)
		}
	}
	if op == "preview" && query.Has("email") == query.Has("telephone") {
		d.deviates("request %s: not exactly one of email and telephone", op)
	}

	answer := httptest.NewRecorder()
	cut := func() (cut bool) {
		defer func() { cut = recover() != nil }()
		r := again()
		r.RequestURI = r.URL.RequestURI()
		d.sim.ServeHTTP(answer, r)
		return
	}()
	if cut {
		return nil
	}
	resp := answer.Result()
	got := answer.Body.Bytes()
	d.answers++
	d.seen[fmt.Sprintf("%s %d", op, resp.StatusCode)] = true
	out := &openapi3filter.ResponseValidationInput{RequestValidationInput: in, Status: resp.StatusCode, Header: resp.Header, Options: in.Options}
	if err := openapi3filter.ValidateResponse(d.t.Context(), out.SetBodyBytes(got)); err != nil {
		d.deviates("answer %s %d: %v", op, resp.StatusCode, err)
	}
	resp.Body, resp.Request = io.NopCloser(bytes.NewReader(got)), req
	return resp
}

// authenticated checks that the credentials of a scheme are where the description says.
func authenticated(_ context.Context, in *openapi3filter.AuthenticationInput) error {
	header, missing := in.RequestValidationInput.Request.Header, errors.New("no credentials")
	switch s := in.SecurityScheme; {
	case s.Type == "apiKey" && s.In == "header" && header.Get(s.Name) != "":
		return nil
	case s.Type == "http" && s.Scheme == "bearer" && strings.HasPrefix(header.Get("Authorization"), "Bearer "):
		return nil
	}
	return missing
}

// Do implements vendors.Transport.
func (d *described) Do(_ context.Context, op string, req *http.Request) (*vendors.Answer, error) {
	resp := d.exchange(req)
	if resp == nil {
		return nil, &vendors.Error{Op: op, Kind: vendors.ErrUnavailable}
	}
	body, err := io.ReadAll(resp.Body)
	return &vendors.Answer{Status: resp.StatusCode, Header: resp.Header, Body: body}, err
}

// Stream implements vendors.Transport.
func (d *described) Stream(ctx context.Context, op string, req *http.Request, w io.Writer, limit int64) (*vendors.Answer, error) {
	a, err := d.Do(ctx, op, req)
	if err != nil || a.Status > 299 {
		return a, err
	}
	_, err = w.Write(a.Body)
	a.Body = nil
	return a, err
}

// HTTPClient implements vendors.Transport.
func (d *described) HTTPClient(string) *http.Client { return &http.Client{Transport: d} }

// RoundTrip implements http.RoundTripper.
func (d *described) RoundTrip(req *http.Request) (*http.Response, error) {
	if resp := d.exchange(req); resp != nil {
		return resp, nil
	}
	return nil, io.ErrUnexpectedEOF
}

// Wait implements vendors.Transport.
func (d *described) Wait(context.Context, string) error { return nil }

// finish fails on any deviation, and on answers that never came.
func (s *tally) finish(t *testing.T, statuses ...string) {
	t.Helper()
	for _, text := range s.deviations {
		t.Error(text)
	}
	for _, want := range statuses {
		if !s.seen[want] {
			t.Errorf("never seen: %s", want)
		}
	}
	t.Logf("%d requests and %d answers, %d deviations", s.requests, s.answers, len(s.deviations))
}

func person(values ...string) vendors.Subject {
	s := vendors.Subject{}
	for i, f := range []vendors.Field{vendors.Email, vendors.Telephone, vendors.CustomerKey} {
		if i < len(values) && values[i] != "" {
			s = append(s, vendors.Value{Field: f, Text: values[i]})
		}
	}
	return s
}

func targetOf(s vendors.Subject, f vendors.Field) *vendors.Target {
	return &vendors.Target{Ref: vendors.Ref{Field: f}, Subject: s}
}

// troubles are the faults whose answers are documented, or plain HTTP.
var troubles = []sim.Fault{
	{}, {Kind: sim.RateLimited}, {Kind: sim.RateLimited}, {Kind: sim.ServerError, Status: 500}, {Kind: sim.ServerError, Status: 502}, {Kind: sim.Down},
	{Kind: sim.Cut}, {Kind: sim.Lost},
}

// TestOpenAPICustomerGauge: everything that we send to CustomerGauge, and everything that
// the simulator says for it, is as described: in both APIs, by token and by key, for both
// identifiers, for every form of "no match" and of an error, and through trouble.
func TestOpenAPICustomerGauge(t *testing.T) {
	ada := sim.Record{FirstName: "Ada", LastName: "Ek", Email: "ada@example.com", Telephone: "+12025550143"}
	sum := &tally{seen: map[string]bool{}}
	for _, noMatch := range []sim.NoMatch{sim.NoMatchEmpty, sim.NoMatchMissing, sim.NoMatch404} {
		for _, status := range []int{200, 400, 422} {
			for _, api := range []string{"v4.1", "v6"} {
				for _, byKey := range []bool{false, true} {
					s := sim.New(sim.Options{NoMatch: noMatch, CGErrorStatus: status, Seed: &sim.Seed{CustomerGauge: []sim.CGAccount{{
						ClientID: "client", ClientSecret: "secret", APIKey: "key", Records: []sim.Record{ada, ada},
					}}}})
					d := describe(t, "customergauge.yaml", s, sum)
					c := customergauge.Kind.New().(*customergauge.Config)
					c.Region, c.API = "us", api
					if byKey {
						c.APIKey = vendors.NewSecret("key")
					} else {
						c.ClientID, c.ClientSecret = "client", vendors.NewSecret("secret")
					}
					v, err := c.Open(vendors.Options{Name: "customergauge", Transport: d, Now: time.Now})
					if err != nil {
						t.Fatal(err)
					}
					for _, fault := range troubles {
						s.Script(func(sim.RequestInfo) sim.Fault { return fault })
						for _, target := range []*vendors.Target{
							targetOf(person("nobody@example.com", "+12025550199"), vendors.Email),
							targetOf(person("nobody@example.com", "+12025550199"), vendors.Telephone),
							targetOf(person("not-an-address@nowhere", ""), vendors.Email),
							targetOf(person("ada@example.com", "+12025550143"), vendors.Email),
							targetOf(person("ada@example.com", "+12025550143"), vendors.Telephone),
						} {
							p, err := v.Preview(t.Context(), target)
							if err != nil && fault.Kind == sim.NoFault && target.Subject.Get(vendors.Email) != "not-an-address@nowhere" {
								t.Errorf("preview: %v", err)
							}
							target.Hint = p.Hint
							if _, err := v.Submit(t.Context(), target); err == nil && fault.Kind != sim.NoFault {
								t.Errorf("submit through %v went well", fault)
							}
						}
						fresh, err := c.Open(vendors.Options{Name: "customergauge", Transport: d, Now: time.Now}) // without a token
						if err != nil {
							t.Fatal(err)
						}
						for _, v := range []vendors.Vendor{v, fresh} {
							if _, err := v.(vendors.Checker).Check(t.Context()); (err == nil) != (fault.Kind == sim.NoFault) {
								t.Errorf("check through %v: %v", fault, err)
							}
						}
					}
					s.Script(nil)
					if !byKey { // a token that was revoked early, and a wrong secret
						if err := s.SetFaults("customergauge:token_expiry=1x"); err != nil {
							t.Fatal(err)
						}
						if _, err := v.Preview(t.Context(), targetOf(person("ada@example.com"), vendors.Email)); err != nil {
							t.Errorf("after a revoked token: %v", err)
						}
						c.ClientSecret = vendors.NewSecret("wrong")
						if v, err = c.Open(vendors.Options{Name: "customergauge", Transport: d, Now: time.Now}); err != nil {
							t.Fatal(err)
						}
						if _, err := v.(vendors.Checker).Check(t.Context()); !errors.Is(err, vendors.ErrAuth) {
							t.Errorf("a wrong secret: %v", err)
						}
					}
				}
			}
		}
	}
	sum.finish(t, "token 200", "token 401", "token 429", "token 503",
		"preview 200", "preview 400", "preview 401", "preview 404", "preview 422", "preview 429", "preview 500", "preview 503",
		"anonymize 200", "anonymize 404", "anonymize 429", "anonymize 502", "anonymizeV6 200", "anonymizeV6 404", "anonymizeV6 400", "anonymizeV6 503")
}

// TestOpenAPIVoyado: the same for Voyado, in its three versions, through the life of a
// removal and of an export, with jobs that fail and jobs that are lost.
func TestOpenAPIVoyado(t *testing.T) {
	sum := &tally{seen: map[string]bool{}}
	for _, api := range []string{"v2", "admin/v3", "admin/v4"} {
		now := time.Date(2026, 3, 2, 15, 0, 0, 0, time.UTC)
		s := sim.New(sim.Options{Now: func() time.Time { return now }, Seed: &sim.Seed{Voyado: []sim.VoyadoAccount{{
			APIKey: "key", Keys: []sim.VoyadoKey{{Key: "d9528030-509c-4e0f-b585-7168f1e9feca", Events: 3}},
		}}}})
		d := describe(t, "voyado.yaml", s, sum)
		c := voyado.Kind.New().(*voyado.Config)
		c.API, c.Cluster, c.APIKey = api, "w1234567", vendors.NewSecret("key")
		opened, err := c.Open(vendors.Options{Name: "voyado", Transport: d, Now: time.Now})
		if err != nil {
			t.Fatal(err)
		}
		v := opened.(*voyado.Vendor)
		key := func(k string) *vendors.Target { return targetOf(person("", "", k), vendors.CustomerKey) }
		known, unknown := key("d9528030-509c-4e0f-b585-7168f1e9feca"), key("a key/with signs & an ümlaut")

		words := map[string]bool{}
		poll := func(reference string) {
			p, err := v.Poll(t.Context(), &vendors.Target{Subject: known.Subject, Ref: known.Ref, Reference: reference})
			if err != nil {
				t.Errorf("poll: %v", err)
			}
			words[p.Status] = true
		}
		must := func(r vendors.Receipt, err error) string {
			t.Helper()
			if err != nil {
				t.Fatal(err)
			}
			return r.Reference
		}
		export := must(v.CreateExport(t.Context(), known))
		nothing := must(v.CreateExport(t.Context(), unknown))
		jobs := []string{must(v.Submit(t.Context(), known)), must(v.Submit(t.Context(), unknown))}
		for _, fault := range []sim.FaultKind{sim.JobError, sim.JobLost, sim.JobStuck} {
			s.Script(func(sim.RequestInfo) sim.Fault { return sim.Fault{Kind: fault} })
			jobs = append(jobs, must(v.Submit(t.Context(), known)))
		}
		s.Script(nil)
		fetch := func(reference string) error {
			return v.FetchExport(t.Context(), &vendors.Target{Subject: known.Subject, Ref: known.Ref, Reference: reference}, io.Discard)
		}
		if fetch(export) == nil {
			t.Error("an export was there before it was made")
		}
		for range 60 {
			for _, j := range append(jobs, export) {
				poll(j)
			}
			s.Advance(0.1)
			if words["running"] && words["done"] && words["error"] {
				break
			}
		}
		s.Advance(1)
		if err := errors.Join(fetch(export), fetch(nothing)); err != nil {
			t.Errorf("fetching exports: %v", err)
		}
		if fetch(export) == nil {
			t.Error("an export was there twice")
		}
		if _, err := v.Check(t.Context()); err != nil {
			t.Error(err)
		}
		first := map[string]string{"v2": "started"}[api]
		for _, word := range []string{"created", "waiting", "running", "done", "error", "not_found", first} {
			if word != "" && !words[word] {
				t.Errorf("%s: no job was ever %s", api, word)
			}
		}
		for _, fault := range troubles[1:] {
			s.Script(func(sim.RequestInfo) sim.Fault { return fault })
			for what, err := range map[string]error{"submit": second(v.Submit(t.Context(), known)), "fetch": fetch(nothing), "check": second(v.Check(t.Context()))} {
				if err == nil {
					t.Errorf("%s through %v went well", what, fault)
				}
			}
		}
		s.Script(nil)
		c.APIKey = vendors.NewSecret("wrong")
		wrong, err := c.Open(vendors.Options{Name: "voyado", Transport: d, Now: time.Now})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := wrong.Submit(t.Context(), known); !errors.Is(err, vendors.ErrAuth) {
			t.Errorf("a wrong key: %v", err)
		}
	}
	sum.finish(t, "createRemoval 200", "createRemoval 403", "createRemoval 429", "createRemoval 503", "createExport 200",
		"jobStatus 200", "jobStatus 429", "exportResult 200", "exportResult 400", "exportResult 404", "exportResult 503")
}

func second[T any](_ T, err error) error { return err }

// TestOpenAPIFindsDeviations: the two tests above are worth something only if the check
// sees a request or an answer that is not as described.
func TestOpenAPIFindsDeviations(t *testing.T) {
	s := sim.New(sim.Options{Seed: &sim.Seed{
		CustomerGauge: []sim.CGAccount{{APIKey: "key", Records: []sim.Record{{Email: "ada@example.com"}}}},
		Voyado:        []sim.VoyadoAccount{{APIKey: "key"}},
	}})
	const job = "jid=ca24b4e2-34ab-406a-a4db-b30b0247837a"
	form, asJSON := "application/x-www-form-urlencoded", "application/json"
	for _, test := range []struct {
		name, file, method, address, kind, body string
		fault                                   sim.FaultKind
		want                                    bool // a deviation
	}{
		{"as described", "customergauge.yaml", "GET", "https://api.eu.customergauge.com/v4.1/anonymize.json?email=ada@example.com", "", "", "", false},
		{"both identifiers", "customergauge.yaml", "GET", "https://api.eu.customergauge.com/v4.1/anonymize.json?email=ada@example.com&telephone=1", "", "", "", true},
		{"no identifier", "customergauge.yaml", "GET", "https://api.eu.customergauge.com/v4.1/anonymize.json", "", "", "", true},
		{"another parameter", "customergauge.yaml", "GET", "https://api.eu.customergauge.com/v4.1/anonymize.json?email=ada@example.com&all=1", "", "", "", true},
		{"a body where none is", "customergauge.yaml", "GET", "https://api.eu.customergauge.com/v4.1/anonymize.json?email=ada@example.com", form, "email=ada@example.com", "", true},
		{"no body", "customergauge.yaml", "POST", "https://api.eu.customergauge.com/v4.1/anonymize.json", form, "", "", true},
		{"a wrong name", "customergauge.yaml", "POST", "https://api.eu.customergauge.com/v4.1/anonymize.json", form, "phone=1", "", true},
		{"the wrong form", "customergauge.yaml", "POST", "https://api.eu.customergauge.com/v4.1/anonymize.json", asJSON, `{"email":"ada@example.com"}`, "", true},
		{"the other API's name", "customergauge.yaml", "POST", "https://api.eu.customergauge.com/v6/system-admin/data-admin/contacts/anonymize", asJSON, `{"telephone":"1"}`, "", true},
		{"half an answer", "customergauge.yaml", "GET", "https://api.eu.customergauge.com/v4.1/anonymize.json?email=ada@example.com", "", "", sim.Truncated, true},
		{"HTML", "customergauge.yaml", "GET", "https://api.eu.customergauge.com/v4.1/anonymize.json?email=ada@example.com", "", "", sim.Garbage, true},
		{"as described", "voyado.yaml", "GET", "https://w1.elevate-api.cloud/api/admin/v4/event-data/job-status?" + job, "", "", "", false},
		{"no job", "voyado.yaml", "GET", "https://w1.elevate-api.cloud/api/admin/v4/event-data/job-status", "", "", "", true},
		{"a job id that is none", "voyado.yaml", "GET", "https://w1.elevate-api.cloud/api/admin/v4/event-data/job-status?jid=7", "", "", "", true},
		{"an empty key", "voyado.yaml", "POST", "https://w1.elevate-api.cloud/api/admin/v4/event-data/create-remove-customer-job?customerKey=", "", "", "", true},
		{"half an answer", "voyado.yaml", "GET", "https://w1.elevate-api.cloud/api/admin/v4/event-data/job-status?" + job, "", "", sim.Truncated, true},
	} {
		d := describe(t, test.file, s, nil)
		s.Script(func(sim.RequestInfo) sim.Fault { return sim.Fault{Kind: test.fault} })
		req, err := http.NewRequest(test.method, test.address, strings.NewReader(test.body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header = http.Header{"Authorization": {"key"}, "Api-Key": {"key"}}
		if test.kind != "" {
			req.Header.Set("Content-Type", test.kind)
		}
		d.exchange(req)
		if (len(d.deviations) > 0) != test.want {
			t.Errorf("%s, %s: %q", test.file, test.name, d.deviations)
		}
	}
	bare := describe(t, "voyado.yaml", s, nil)
	req, err := http.NewRequest("GET", "https://w1.elevate-api.cloud/api/admin/v4/event-data/job-status?"+job, nil)
	if err != nil {
		t.Fatal(err)
	}
	bare.exchange(req)
	if !slices.ContainsFunc(bare.deviations, func(text string) bool { return strings.HasPrefix(text, "request") }) {
		t.Errorf("a request without a key: %q", bare.deviations)
	}
	for _, address := range []string{
		"https://api.eu.customergauge.com/oauth2/token", "https://auth.eu.customergauge.com/v4.1/anonymize.json",
	} {
		u, err := url.Parse(address)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := describe(t, "customergauge.yaml", s, nil).router.FindRoute(&http.Request{Method: "POST", URL: u, Host: u.Host}); err == nil {
			t.Errorf("%s is a place that is described", address)
		}
	}
}
