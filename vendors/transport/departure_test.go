package transport

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"expunge/vendors"
)

var errTooOld = errors.New("what it rests on is too old")

// olderThan is a departure's condition: the time since the context was made.
func olderThan(ctx context.Context, most time.Duration) context.Context {
	began := time.Now()
	return vendors.AtDeparture(ctx, func() error {
		if time.Since(began) > most {
			return errTooOld
		}
		return nil
	})
}

// At three requests an hour the turn of the fourth comes 80 minutes after it was asked for.
// What is too old by then does not leave, and costs those behind it nothing.
func TestDepartureTooOld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := NewLimiter(LimiterOptions{Rate: vendors.Rate{PerSecond: 3.0 / 3600}, Burst: 1})
		began := time.Now()
		type outcome struct {
			at  time.Duration
			err error
		}
		asked := make([]chan outcome, 5)
		for i := range asked {
			asked[i] = make(chan outcome, 1)
			ctx := context.Background()
			if i == 3 {
				ctx = olderThan(ctx, time.Hour)
			}
			go func() {
				err := l.Wait(ctx)
				asked[i] <- outcome{time.Since(began).Round(time.Second), err}
			}()
			synctest.Wait() // they wait in this order
		}
		for i, want := range []time.Duration{20 * time.Minute, 40 * time.Minute, time.Hour, 80 * time.Minute, 80 * time.Minute} {
			got := <-asked[i]
			if got.at.Round(2*time.Second) != want || (got.err != nil) != (i == 3) {
				t.Errorf("request %d: after %v, %v; want it after %v", i, got.at, got.err, want)
			}
			if i == 3 && !errors.Is(got.err, errTooOld) {
				t.Errorf("%v does not say why", got.err)
			}
		}
		if n := l.Stats().Sent; n != 4 {
			t.Errorf("%d have left, want 4", n)
		}
	})
}

// A request whose condition does not hold at its departure never reaches anybody, with a
// limit or without, over HTTP or not; the token for it may still be fetched.
func TestAtDeparture(t *testing.T) {
	for _, limit := range []*Limiter{nil, NewLimiter(LimiterOptions{Rate: vendors.Rate{PerSecond: 1000}})} {
		var arrived atomic.Int64
		s := serve(t, func(http.ResponseWriter, *http.Request) { arrived.Add(1) })
		tr := newTransport(t, Options{Limiter: limit})
		never := vendors.AtDeparture(t.Context(), func() error { return errTooOld })
		_, err := tr.Do(never, "submit", request(t, "POST", s.URL))
		wantError(t, err, vendors.ErrNotSent, errTooOld)
		wantError(t, tr.Wait(never, "submit"), vendors.ErrNotSent, errTooOld)
		if n := arrived.Load(); n != 0 || tr.Sent() != 0 {
			t.Errorf("%d requests arrived, %d are counted as sent", n, tr.Sent())
		}
		if _, err := tr.Do(never, "token", request(t, "POST", s.URL)); err != nil {
			t.Errorf("the token: %v", err)
		}
		now := vendors.AtDeparture(t.Context(), func() error { return nil })
		if _, err := tr.Do(now, "submit", request(t, "POST", s.URL)); err != nil || tr.Wait(now, "submit") != nil {
			t.Errorf("what may leave: %v", err)
		}
		if n := arrived.Load(); n != 2 || tr.Sent() != 3 {
			t.Errorf("%d requests arrived, %d are counted as sent, want 2 and 3", n, tr.Sent())
		}
	}
}

// The vendor's clock is that of its last answer, whatever the answer is.
func TestSkew(t *testing.T) {
	date, status := "", 200
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header()["Date"] = nil
		if date != "" {
			w.Header().Set("Date", date)
		}
		w.WriteHeader(status)
	})
	tr := newTransport(t, Options{})
	for _, tt := range []struct {
		ahead  time.Duration
		status int
	}{{0, 200}, {2 * time.Hour, 200}, {-90 * time.Minute, 503}, {365 * 24 * time.Hour, 401}} {
		if tt.ahead != 0 {
			date = time.Now().Add(tt.ahead).UTC().Format(http.TimeFormat)
		}
		status = tt.status
		if _, err := tr.Do(t.Context(), "preview", request(t, "GET", s.URL)); err != nil {
			t.Fatal(err)
		}
		got, ok := tr.Skew()
		if ok != (tt.ahead != 0) || got < tt.ahead-2*time.Second || got > tt.ahead+2*time.Second {
			t.Errorf("skew %v, %v, want %v", got, ok, tt.ahead)
		}
	}
	date = "yesterday" // no time: what was known stays
	if _, err := tr.Do(t.Context(), "preview", request(t, "GET", s.URL)); err != nil {
		t.Fatal(err)
	}
	if _, ok := tr.Skew(); !ok {
		t.Error("a Date that cannot be read has taken the skew away")
	}
}

// A proxy that refuses is named with its status: the vendor is not what must be mended.
func TestProxyRefuses(t *testing.T) {
	for _, status := range []string{"407 Proxy Authentication Required", "403 " + secretEmail, "502 Bad Gateway", "302 Found"} {
		s := newTCPServer(t, func(_ int, c net.Conn) {
			if r, err := readRequest(c); err == nil && r.Method == http.MethodConnect {
				io.WriteString(c, "HTTP/1.1 "+status+"\r\nContent-Length: 0\r\n\r\n")
			}
		})
		proxy, err := url.Parse(s.URL)
		if err != nil {
			t.Fatal(err)
		}
		proxy.User = url.UserPassword("user", secretToken)
		tr := newTransport(t, Options{})
		tr.base.Proxy = http.ProxyURL(proxy)
		_, err = tr.Do(t.Context(), "submit", request(t, "POST", "https://api.example.com"))
		wantError(t, err, vendors.ErrNotSent)
		for _, word := range []string{"the proxy " + proxy.Host, "CONNECT", "HTTP " + status[:3]} {
			if !strings.Contains(err.Error(), word) {
				t.Errorf("%s: %v does not say %q", status, err, word)
			}
		}
		if strings.Contains(err.Error(), "HTTPS_PROXY") != (status[:3] == "407") {
			t.Errorf("%s: %v", status, err)
		}
	}
}

// A certificate that cannot be trusted is told apart by what mends it.
func TestCertificates(t *testing.T) {
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("got a request") }))
	s.Config.ErrorLog = nil
	s.StartTLS()
	t.Cleanup(s.Close)
	_, err := newTransport(t, Options{}).Do(t.Context(), "submit", request(t, "POST", s.URL))
	wantError(t, err, vendors.ErrNotSent, vendors.ErrAuthority)
	if !strings.Contains(err.Error(), "ca_file") {
		t.Errorf("%v does not say how to name the authority", err)
	}

	tr := newTransport(t, Options{RootCAs: pool(s)})
	tr.base.DialContext = func(ctx context.Context, network, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, s.Listener.Addr().String())
	}
	_, err = tr.Do(t.Context(), "submit", request(t, "POST", "https://api.example.org"))
	wantError(t, err, vendors.ErrNotSent)
	if errors.Is(err, vendors.ErrAuthority) || !strings.Contains(err.Error(), "the certificate is of another name than api.example.org") {
		t.Errorf("%v does not name the host", err)
	}
}
