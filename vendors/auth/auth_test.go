package auth

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/oauth2/clientcredentials"

	"expunge/vendors"
	"expunge/vendors/transport"
)

// TestTokenLeaderStopped: the call that fetches the token for all may be stopped; the
// others must not be stopped with it.
func TestTokenLeaderStopped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		fetches := 0
		s := stubTokens(func(ctx context.Context) (string, error) {
			fetches++
			if fetches == 1 {
				<-release
				return "", &vendors.Error{Vendor: "acme", Op: "token", Kind: vendors.ErrNotSent, Err: vendors.ErrStopped}
			}
			return "Bearer fresh", nil
		})
		type result struct {
			value string
			err   error
		}
		led, followed := make(chan result, 1), make(chan result, 1)
		go func() { v, err := s.Value(t.Context()); led <- result{v, err} }()
		synctest.Wait() // it fetches
		go func() { v, err := s.Value(t.Context()); followed <- result{v, err} }()
		stopped, stop := context.WithCancel(t.Context())
		alone := make(chan result, 1)
		go func() { v, err := s.Value(stopped); alone <- result{v, err} }()
		synctest.Wait() // they wait for it
		stop()
		if r := <-alone; !errors.Is(r.err, vendors.ErrStopped) || !errors.Is(r.err, vendors.ErrNotSent) {
			t.Errorf("one that is stopped while it waits: %q, %v", r.value, r.err)
		}
		close(release)
		if r := <-led; !errors.Is(r.err, vendors.ErrStopped) || !errors.Is(r.err, vendors.ErrNotSent) {
			t.Errorf("the stopped one: %q, %v", r.value, r.err)
		}
		if r := <-followed; r.err != nil || r.value != "Bearer fresh" {
			t.Errorf("the other one: %q, %v", r.value, r.err)
		}
	})
}

// TestTokenLateRefusal: a 401 to an old token may arrive after another call has renewed it.
// It must not throw the new one away, or many calls would fetch in turn.
func TestTokenLateRefusal(t *testing.T) {
	fetches := 0
	s := stubTokens(func(context.Context) (string, error) { fetches++; return fmt.Sprint("Bearer t", fetches), nil })
	header := func(want string) {
		t.Helper()
		if got, err := s.Value(t.Context()); err != nil || got != want {
			t.Errorf("%q, %v: want %q", got, err, want)
		}
	}
	header("Bearer t1")
	s.Refused("Bearer t1")
	header("Bearer t2")
	s.Refused("Bearer t1")
	header("Bearer t2")
}

// stubTokens is a source whose tokens last an hour.
func stubTokens(fetch func(context.Context) (string, error)) *Source {
	return NewSource("acme", time.Now, func(ctx context.Context) (string, time.Duration, error) {
		value, err := fetch(ctx)
		return value, 0, err
	})
}

// TestTokenAnswers: endpoints write the answer in more ways than the library reads. What
// cannot be read is named by field and content type, and quotes nothing.
func TestTokenAnswers(t *testing.T) {
	const hour = time.Hour
	for _, tt := range []struct {
		name, kind, body string
		life             time.Duration // of the token that is had
		problem          string        // else
	}{
		{"as documented", "application/json", `{"access_token":"tok","token_type":"Bearer","expires_in":3600}`, hour, ""},
		{"text/plain", "text/plain; charset=utf-8", `{"access_token":"tok","expires_in":3600}`, hour, ""},
		{"no content type", "", `{"access_token":"tok","expires_in":3600}`, hour, ""},
		{"byte order mark", "application/json", "\ufeff" + ` {"access_token":"tok","expires_in":3600}` + "\r\n", hour, ""},
		{"a fraction", "application/json", `{"access_token":"tok","expires_in":3599.5}`, 3599 * time.Second, ""},
		{"a fraction as text", "application/json", `{"access_token":"tok","expires_in":" 3599.5 "}`, 3599 * time.Second, ""},
		{"an exponent", "application/json", `{"access_token":"tok","expires_in":3.6e3}`, hour, ""},
		{"an empty text", "application/json", `{"access_token":"tok","expires_in":""}`, 0, ""},
		{"null", "application/json", `{"access_token":"tok","expires_in":null,"token_type":null}`, 0, ""},
		{"not said", "application/json", `{"access_token":"tok"}`, 0, ""},
		{"before now", "application/json", `{"access_token":"tok","expires_in":-5}`, 0, ""},
		{"a form", "application/x-www-form-urlencoded", "access_token=tok&expires_in=3600", hour, ""},
		{"a page", "text/html; charset=utf-8", "<html>tok</html>", 0, "it is no JSON object (text/html)"},
		{"empty", "application/json", "", 0, "it is no JSON object (application/json)"},
		{"null alone", "application/json", "null", 0, "it is no JSON object (application/json)"},
		{"no token", "application/json", `{"expires_in":3600}`, 0, "access_token is no text (application/json)"},
		{"an empty token", "text/plain", `{"access_token":""}`, 0, "access_token is no text (text/plain)"},
		{"a token that is a number", "application/json", `{"access_token":7}`, 0, "access_token is no text (application/json)"},
		{"a type that is none", "application/json", `{"access_token":"tok","token_type":{}}`, 0, "token_type is no text (application/json)"},
		{"a life that is none", "application/json", `{"access_token":"tok","expires_in":"soon"}`, 0, "expires_in is no number (application/json)"},
		{"a life that is not a number", "application/json", `{"access_token":"tok","expires_in":"NaN"}`, 0, "expires_in is no number (application/json)"},
		{"a life that is a list", "application/json", `{"access_token":"tok","expires_in":[1]}`, 0, "expires_in is no number (application/json)"},
		{"a content type that says tok", "tok (x", "<", 0, "it is no JSON object (no content type)"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header()["Content-Type"] = nil
				if tt.kind != "" {
					w.Header().Set("Content-Type", tt.kind)
				}
				io.WriteString(w, tt.body)
			}))
			defer server.Close()
			tr := transport.New(transport.Options{Vendor: "acme"})
			defer tr.Close()
			fetch := ClientCredentials("acme", clientcredentials.Config{ClientID: "id", ClientSecret: "secret", TokenURL: server.URL}, tr.HTTPClient("token"))
			value, life, err := fetch(t.Context())
			if tt.problem == "" {
				if more := life - tt.life; err != nil || value != "Bearer tok" || more < 0 || more > 10*time.Second {
					t.Errorf("%q for %v, %v: want it for %v", value, life, err, tt.life)
				}
				return
			}
			var e *vendors.Error
			if !errors.As(err, &e) || e.Kind != vendors.ErrNotSent || e.Op != "token" || !strings.HasSuffix(err.Error(), "the token answer cannot be understood: "+tt.problem) {
				t.Fatalf("%v, want it to say %q", err, tt.problem)
			}
			if strings.Contains(err.Error(), "tok<") || strings.Contains(err.Error(), "tok ") || strings.Contains(err.Error(), "secret") {
				t.Errorf("%v quotes the answer", err)
			}
		})
	}
}
