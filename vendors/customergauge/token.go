package customergauge

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"time"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"

	"expunge/vendors"
	"expunge/vendors/transport"
)

// credentials give the value of the Authorization header.
type credentials interface {
	// header returns the value to send. Its errors are *vendors.Error that are harmless:
	// the call that wanted the header has not left.
	header(ctx context.Context) (string, error)
	// refused hears that the vendor answered 401 to a value; true means that header will
	// give another one.
	refused(value string) bool
}

// apiKey is the older way: one fixed value.
type apiKey struct{ value vendors.Secret }

func (k apiKey) header(context.Context) (string, error) { return k.value.Reveal(), nil }
func (k apiKey) refused(string) bool                    { return false }

// Causes of a token error.
var (
	errNoToken     = errors.New("no access token could be fetched")
	errTokenAnswer = errors.New("the token answer cannot be understood")
)

// tokenLife is how long a token is good for when the vendor does not say (VENDORS.md: up
// to one hour), and tokenMargin how long before its end it is renewed, at most.
const (
	tokenLife   = time.Hour
	tokenMargin = time.Minute
)

// tokenSource fetches and keeps one OAuth2 access token for all calls of a vendor. Calls
// that need a token at the same time share one fetch, and its failure.
type tokenSource struct {
	vendor string
	config clientcredentials.Config
	client *http.Client
	now    func() time.Time

	mu     sync.Mutex
	value  string // "Bearer ..." or ""
	until  time.Time
	flight *tokenFlight // the fetch under way, or nil
}

type tokenFlight struct {
	done  chan struct{} // closed when value and err are set
	value string
	err   error
}

func newTokenSource(vendor string, place *url.URL, id string, secret vendors.Secret, client *http.Client, now func() time.Time) *tokenSource {
	return &tokenSource{
		vendor: vendor, client: client, now: now,
		config: clientcredentials.Config{
			ClientID: id, ClientSecret: secret.Reveal(), TokenURL: place.String(),
			AuthStyle: oauth2.AuthStyleInParams,
		},
	}
}

func (s *tokenSource) header(ctx context.Context) (string, error) {
	for {
		s.mu.Lock()
		if s.value != "" && s.now().Before(s.until) {
			value := s.value
			s.mu.Unlock()
			return value, nil
		}
		flight := s.flight
		lead := flight == nil
		if lead {
			flight = &tokenFlight{done: make(chan struct{})}
			s.flight = flight
		}
		s.mu.Unlock()

		if lead {
			s.fetch(ctx, flight)
			return flight.value, flight.err
		}
		select {
		case <-flight.done:
		case <-ctx.Done():
			return "", &vendors.Error{Vendor: s.vendor, Op: "token", Kind: vendors.ErrNotSent, Err: vendors.ErrStopped}
		}
		if errors.Is(flight.err, vendors.ErrStopped) && ctx.Err() == nil {
			continue // the call that fetched was stopped, this one was not
		}
		return flight.value, flight.err
	}
}

func (s *tokenSource) refused(value string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.value == value { // else another call has renewed it already
		s.value = ""
	}
	return true
}

func (s *tokenSource) fetch(ctx context.Context, flight *tokenFlight) {
	var until time.Time
	defer func() {
		s.mu.Lock()
		s.value, s.until, s.flight = flight.value, until, nil
		s.mu.Unlock()
		close(flight.done)
	}()
	asked := s.now()
	clock := time.Now() // the library reckons the expiry by the machine's clock
	token, err := s.config.Token(context.WithValue(ctx, oauth2.HTTPClient, s.client))
	if err != nil {
		flight.err = s.failure(ctx, err)
		return
	}
	value := token.Type() + " " + token.AccessToken
	if !vendors.PlainToken(token.AccessToken, 16<<10) || !vendors.PlainToken(token.Type(), 64) {
		flight.err = s.failure(ctx, errTokenAnswer)
		return
	}
	life := tokenLife
	if !token.Expiry.IsZero() {
		life = token.Expiry.Sub(clock)
	}
	until = asked.Add(life - min(life/10, tokenMargin))
	flight.value = value
}

// failure turns an error of the library into ours. The call that wanted the token has not
// left, so everything but refused credentials and a request to slow down is ErrNotSent.
// The library's own text holds the answer's body and is not passed on.
func (s *tokenSource) failure(ctx context.Context, err error) *vendors.Error {
	out := &vendors.Error{Vendor: s.vendor, Op: "token", Kind: vendors.ErrNotSent, Err: errNoToken}
	var answered *oauth2.RetrieveError
	var sent *vendors.Error
	switch {
	case errors.As(err, &answered):
		status := answered.Response.StatusCode
		out.Status = status
		if status < 200 || status > 299 {
			out.RetryAfter = transport.Fail(s.vendor, "token", &vendors.Answer{Status: status, Header: answered.Response.Header}).RetryAfter
		}
		switch {
		case status == http.StatusTooManyRequests:
			out.Kind = vendors.ErrRateLimited
		case status == http.StatusRequestTimeout, status >= 500,
			answered.ErrorCode == "server_error", answered.ErrorCode == "temporarily_unavailable":
		default:
			// Wrong credentials, a wrong address, a client that may not: nothing that
			// trying again would mend.
			out.Kind = vendors.ErrAuth
			if slices.Contains(oauthCodes, answered.ErrorCode) {
				out.Err = fmt.Errorf("%w: %s", errNoToken, answered.ErrorCode)
			}
		}
	case errors.As(err, &sent):
		out.Status, out.RetryAfter = sent.Status, sent.RetryAfter
		if sent.Err != nil {
			out.Err = fmt.Errorf("%w: %w", errNoToken, sent.Err)
		}
	case ctx.Err() != nil:
		out.Err = fmt.Errorf("%w: %w", errNoToken, vendors.ErrStopped)
	default:
		out.Err = fmt.Errorf("%w: %w", errNoToken, errTokenAnswer)
	}
	return out
}

// oauthCodes are the error codes of RFC 6749 section 5.2, safe to show.
var oauthCodes = []string{
	"invalid_request", "invalid_client", "invalid_grant", "unauthorized_client",
	"unsupported_grant_type", "invalid_scope",
}
