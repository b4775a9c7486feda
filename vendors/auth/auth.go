// Package auth keeps the access tokens that calls to a vendor carry: one for all calls,
// fetched when it is needed, renewed before it ends and after a 401.
//
// A call whose token cannot be fetched has not left: the errors are harmless. Nothing of a
// token endpoint's answer is in them but its status and the error codes of RFC 6749.
package auth

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"mime"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"

	"expunge/vendors"
	"expunge/vendors/transport"
)

// Credentials give the value that a call shows.
type Credentials interface {
	// Value returns what to send. Its errors are *vendors.Error that are harmless: the call
	// that wanted the value has not left.
	Value(ctx context.Context) (string, error)
	// Refused hears that the vendor answered 401 to a value; true means that Value will give
	// another one.
	Refused(value string) bool
}

// Fixed is one value for good, such as an API key.
type Fixed struct{ vendors.Secret }

// Value implements Credentials.
func (f Fixed) Value(context.Context) (string, error) { return f.Reveal(), nil }

// Refused implements Credentials.
func (Fixed) Refused(string) bool { return false }

// Do sends one request with credentials. After a 401 it is sent once more with a new value:
// the first one surely had no effect. A second 401 is the caller's to read. build makes the
// request; its error is returned as it is.
func Do(ctx context.Context, t vendors.Transport, op string, c Credentials, build func(ctx context.Context, value string) (*http.Request, error)) (*vendors.Answer, error) {
	for again := false; ; again = true {
		value, err := c.Value(ctx)
		if err != nil {
			return nil, err
		}
		req, err := build(ctx, value)
		if err != nil {
			return nil, err
		}
		a, err := t.Do(ctx, op, req)
		if err != nil {
			return nil, err
		}
		if a.Status != http.StatusUnauthorized || again || !c.Refused(value) {
			return a, nil
		}
	}
}

// Causes of a token error.
var (
	errNoToken     = errors.New("no access token could be fetched")
	errTokenAnswer = errors.New("the token answer cannot be understood")
)

// tokenLife is how long a token is good for when the vendor does not say, and tokenMargin how
// long before its end it is renewed, at most.
const (
	tokenLife   = time.Hour
	tokenMargin = time.Minute
)

// answers is a token endpoint whose answers are brought into the form that the library reads.
// What it cannot read is an error that names the field and the content type.
type answers struct {
	vendor string
	next   http.RoundTripper
}

// RoundTrip implements http.RoundTripper.
func (t answers) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := t.next.RoundTrip(req)
	if err != nil || resp.StatusCode < 200 || resp.StatusCode > 299 {
		return resp, err
	}
	body, err := io.ReadAll(resp.Body)
	resp.Body.Close()
	if err != nil {
		return nil, err
	}
	body = bytes.TrimSpace(bytes.TrimPrefix(body, []byte("\ufeff")))
	if !bytes.Contains(body, []byte("access_token=")) { // else it is a form, as of old
		var problem string
		if body, problem = plainToken(body); problem != "" {
			return nil, &vendors.Error{Vendor: t.vendor, Op: "token", Kind: vendors.ErrNotSent, Status: resp.StatusCode,
				Err: fmt.Errorf("%w: %s (%s)", errTokenAnswer, problem, contentType(resp.Header))}
		}
		resp.Header.Set("Content-Type", "application/json")
	}
	resp.Body, resp.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	return resp, nil
}

// plainToken rewrites the JSON of a token, or says what is wrong with it. The fields' values
// are not quoted.
func plainToken(body []byte) (_ []byte, problem string) {
	var fields map[string]json.RawMessage
	if json.Unmarshal(body, &fields) != nil || fields == nil {
		return nil, "it is no JSON object"
	}
	var code, token, kind string
	var life vendors.Loose
	switch {
	case json.Unmarshal(fields["error"], &code) == nil && code != "": // for the library to read
	case json.Unmarshal(fields["access_token"], &token) != nil || token == "":
		return nil, "access_token is no text"
	case fields["token_type"] != nil && json.Unmarshal(fields["token_type"], &kind) != nil:
		return nil, "token_type is no text"
	case fields["expires_in"] != nil && json.Unmarshal(fields["expires_in"], &life) != nil:
		return nil, "expires_in is no number"
	}
	delete(fields, "expires_in")
	if text := strings.TrimSpace(string(life)); text != "" {
		n, err := strconv.ParseFloat(text, 64)
		if err != nil || math.IsNaN(n) {
			return nil, "expires_in is no number"
		}
		fields["expires_in"] = strconv.AppendInt(nil, int64(min(max(n, 0), math.MaxInt32)), 10)
	}
	body, err := json.Marshal(fields)
	if err != nil {
		return nil, "it is no JSON object" // what was decoded can be encoded
	}
	return body, ""
}

// contentType is an answer's media type, fit to be shown.
func contentType(h http.Header) string {
	kind, _, err := mime.ParseMediaType(h.Get("Content-Type"))
	if err != nil || len(kind) > 60 || strings.Trim(kind, "abcdefghijklmnopqrstuvwxyz0123456789/+.-") != "" {
		return "no content type"
	}
	return kind
}

// Fetch gets a token: the value to send, and for how long it is good (0: the vendor does not
// say). Its errors are harmless *vendors.Error.
type Fetch func(ctx context.Context) (value string, life time.Duration, err error)

// Source fetches and keeps one token for all calls of a vendor. Calls that need it at the
// same time share one fetch, and its failure.
type Source struct {
	vendor string
	fetch  Fetch
	now    func() time.Time

	mu     sync.Mutex
	value  string
	until  time.Time
	flight *flight // the fetch under way, or nil
}

var _ Credentials = (*Source)(nil)

type flight struct {
	done  chan struct{} // closed when value and err are set
	value string
	err   error
}

// NewSource returns a source that has no token yet.
func NewSource(vendor string, now func() time.Time, fetch Fetch) *Source {
	return &Source{vendor: vendor, now: now, fetch: fetch}
}

// Value implements Credentials.
func (s *Source) Value(ctx context.Context) (string, error) {
	for {
		s.mu.Lock()
		if s.value != "" && s.now().Before(s.until) {
			value := s.value
			s.mu.Unlock()
			return value, nil
		}
		f := s.flight
		lead := f == nil
		if lead {
			f = &flight{done: make(chan struct{})}
			s.flight = f
		}
		s.mu.Unlock()

		if lead {
			s.fetchFor(ctx, f)
			return f.value, f.err
		}
		select {
		case <-f.done:
		case <-ctx.Done():
			return "", &vendors.Error{Vendor: s.vendor, Op: "token", Kind: vendors.ErrNotSent, Err: vendors.ErrStopped}
		}
		if errors.Is(f.err, vendors.ErrStopped) && ctx.Err() == nil {
			continue // the call that fetched was stopped, this one was not
		}
		return f.value, f.err
	}
}

// Refused implements Credentials.
func (s *Source) Refused(value string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.value == value { // else another call has renewed it already
		s.value = ""
	}
	return true
}

func (s *Source) fetchFor(ctx context.Context, f *flight) {
	var until time.Time
	defer func() {
		s.mu.Lock()
		s.value, s.until, s.flight = f.value, until, nil
		s.mu.Unlock()
		close(f.done)
	}()
	asked := s.now()
	value, life, err := s.fetch(ctx)
	if err != nil {
		f.err = err
		return
	}
	if life <= 0 {
		life = tokenLife
	}
	until = asked.Add(life - min(life/10, tokenMargin))
	f.value = value
}

// ClientCredentials fetches tokens by the OAuth2 grant of that name. The value is that of an
// Authorization header.
func ClientCredentials(vendor string, config clientcredentials.Config, client *http.Client) Fetch {
	tolerant := *client
	tolerant.Transport = answers{vendor, client.Transport}
	client = &tolerant
	return func(ctx context.Context) (string, time.Duration, error) {
		clock := time.Now() // the library reckons the expiry by the machine's clock
		token, err := config.Token(context.WithValue(ctx, oauth2.HTTPClient, client))
		if err != nil {
			return "", 0, failure(ctx, vendor, err)
		}
		if !vendors.PlainToken(token.AccessToken, 16<<10) || !vendors.PlainToken(token.Type(), 64) {
			return "", 0, failure(ctx, vendor, errTokenAnswer)
		}
		var life time.Duration
		if !token.Expiry.IsZero() {
			life = token.Expiry.Sub(clock)
		}
		return token.Type() + " " + token.AccessToken, life, nil
	}
}

// failure turns an error of the library into ours. Its own text holds the answer's body and is
// not passed on.
func failure(ctx context.Context, vendor string, err error) *vendors.Error {
	var answered *oauth2.RetrieveError
	var sent *vendors.Error
	switch {
	case errors.As(err, &answered):
		out := Refusal(vendor, &vendors.Answer{Status: answered.Response.StatusCode, Header: answered.Response.Header})
		if code := answered.ErrorCode; code == "server_error" || code == "temporarily_unavailable" {
			out.Kind = vendors.ErrNotSent
		} else if slices.Contains(oauthCodes, code) && errors.Is(out, vendors.ErrAuth) {
			out.Err = fmt.Errorf("%w: %s", errNoToken, code)
		}
		return out
	case errors.As(err, &sent):
		return Unsent(vendor, sent)
	case ctx.Err() != nil:
		return Unsent(vendor, &vendors.Error{Err: vendors.ErrStopped})
	}
	return Unsent(vendor, &vendors.Error{Err: errTokenAnswer})
}

// Refusal is what the answer of a token endpoint means that is no token. The call that wanted
// it has not left, so everything but refused credentials and a request to slow down is
// ErrNotSent.
func Refusal(vendor string, a *vendors.Answer) *vendors.Error {
	out := &vendors.Error{Vendor: vendor, Op: "token", Kind: vendors.ErrNotSent, Status: a.Status, Err: errNoToken}
	if a.Status < 200 || a.Status > 299 {
		out.RetryAfter = transport.Fail(vendor, "token", a).RetryAfter
	}
	switch {
	case a.Status == http.StatusTooManyRequests:
		out.Kind = vendors.ErrRateLimited
	case a.Status != http.StatusRequestTimeout && a.Status < 500:
		// Wrong credentials, a wrong address, a client that may not: nothing that trying again
		// would mend.
		out.Kind = vendors.ErrAuth
	}
	return out
}

// Unsent is what becomes of a call when the request for its token failed with err.
func Unsent(vendor string, err *vendors.Error) *vendors.Error {
	out := &vendors.Error{Vendor: vendor, Op: "token", Kind: vendors.ErrNotSent, Status: err.Status, RetryAfter: err.RetryAfter, Err: errNoToken}
	if err.Err != nil {
		out.Err = fmt.Errorf("%w: %w", errNoToken, err.Err)
	}
	return out
}

// oauthCodes are the error codes of RFC 6749 section 5.2, safe to show.
var oauthCodes = []string{
	"invalid_request", "invalid_client", "invalid_grant", "unauthorized_client",
	"unsupported_grant_type", "invalid_scope",
}
