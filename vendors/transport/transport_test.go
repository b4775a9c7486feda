package transport

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"expunge/vendors"
)

// secrets must not be found in any error or log line.
const (
	secretEmail = "ada.canary@example.com"
	secretToken = "token-canary-3f1c"
)

func newTransport(t testing.TB, o Options) *Transport {
	t.Helper()
	if o.Vendor == "" {
		o.Vendor = "acme"
	}
	tr := New(o)
	t.Cleanup(tr.Close)
	return tr
}

func serve(t testing.TB, h http.HandlerFunc) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s
}

// request has personal data in path, query, header and body.
func request(t testing.TB, method, base string) *http.Request {
	t.Helper()
	var body io.Reader
	if method == http.MethodPost {
		body = strings.NewReader(`{"email":"` + secretEmail + `"}`)
	}
	req, err := http.NewRequest(method, base+"/people/"+secretEmail+"?email="+secretEmail, body)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+secretToken)
	return req
}

// wantError checks an error's kind and causes, and that it says nothing about anybody.
func wantError(t *testing.T, err error, kinds ...error) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error, want %v", kinds)
	}
	for _, kind := range kinds {
		if !errors.Is(err, kind) {
			t.Errorf("error %q is not %q", err, kind)
		}
	}
	n := 0
	for _, kind := range []error{
		vendors.ErrNotSent, vendors.ErrRateLimited, vendors.ErrAuth,
		vendors.ErrRefused, vendors.ErrAddress, vendors.ErrUnavailable, vendors.ErrUnreadable,
	} {
		if errors.Is(err, kind) {
			n++
		}
	}
	var e *vendors.Error
	if n != 1 || !errors.As(err, &e) || e.Vendor != "acme" || e.Op == "" {
		t.Errorf("error %#v is of %d kinds, want a *vendors.Error of one", err, n)
	}
	private(t, err.Error())
}

func private(t *testing.T, text string) {
	t.Helper()
	for _, s := range []string{secretEmail, secretToken, "ada.canary", "/people", "email="} {
		if strings.Contains(text, s) {
			t.Errorf("%q stands in %q", s, text)
		}
	}
}

// A complete answer comes back as it is, whatever its status: adapters judge.
func TestDoAnswers(t *testing.T) {
	for _, status := range []int{200, 201, 204, 400, 401, 403, 404, 408, 409, 422, 429, 500, 502, 503} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			s := serve(t, func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("X-Here", "yes")
				w.WriteHeader(status)
				if status != 204 {
					io.WriteString(w, "body")
				}
			})
			tr := newTransport(t, Options{})
			got, err := tr.Do(t.Context(), "preview", request(t, "GET", s.URL))
			if err != nil {
				t.Fatal(err)
			}
			want := "body"
			if status == 204 {
				want = ""
			}
			if got.Status != status || string(got.Body) != want || got.Header.Get("X-Here") != "yes" {
				t.Errorf("got %+v", got)
			}
		})
	}
}

// What the vendor receives is the adapter's request plus the user agent, and the adapter's
// own request stays as it was, so that it can be kept or compared.
func TestDoRequest(t *testing.T) {
	type seen struct{ Method, URI, Agent, Auth, Body, Length, Encoding string }
	var got seen
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		got = seen{
			r.Method, r.RequestURI, r.UserAgent(), r.Header.Get("Authorization"), string(b),
			r.Header.Get("Content-Length"), strings.Join(r.TransferEncoding, ","),
		}
	})
	tr := newTransport(t, Options{UserAgent: "expunge/1.2"})
	for _, tt := range []struct{ method, body, length string }{
		{"GET", "", ""},
		{"POST", `{"email":"` + secretEmail + `"}`, "34"},
		{"PUT", "", "0"},
		{"DELETE", "", ""},
	} {
		req := request(t, tt.method, s.URL)
		before := req.Header.Clone()
		if _, err := tr.Do(t.Context(), "submit", req); err != nil {
			t.Fatal(err)
		}
		want := seen{tt.method, "/people/" + secretEmail + "?email=" + secretEmail, "expunge/1.2", "Bearer " + secretToken, tt.body, tt.length, ""}
		if d := cmp.Diff(want, got); d != "" {
			t.Error(d)
		}
		if d := cmp.Diff(before, req.Header); d != "" {
			t.Errorf("the caller's request was changed: %s", d)
		}
	}
}

// Connections are used again, as many as there are workers, whatever the answer: a new one
// per request means a TLS handshake per request.
func TestConnectionsAreReused(t *testing.T) {
	const workers, rounds = 8, 10
	statuses := []int{200, 404, 503, 301}
	var opened, answered atomic.Int64
	together := make(chan struct{}) // all workers are in flight at once, in every round
	var waiting atomic.Int64
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if waiting.Add(1)%workers == 0 {
			for range workers - 1 {
				together <- struct{}{}
			}
		} else {
			<-together
		}
		w.WriteHeader(statuses[int(answered.Add(1))%len(statuses)])
		w.Write(make([]byte, 100_000))
	}))
	s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			opened.Add(1)
		}
	}
	s.Start()
	t.Cleanup(s.Close)
	tr := newTransport(t, Options{Concurrency: workers})
	for range rounds {
		var group sync.WaitGroup
		for range workers {
			group.Go(func() {
				if _, err := tr.Do(context.Background(), "preview", request(t, "GET", s.URL)); err != nil && !errors.Is(err, vendors.ErrRedirect) {
					t.Error(err)
				}
			})
		}
		group.Wait()
	}
	if n := opened.Load(); n != workers {
		t.Errorf("%d connections for %d workers", n, workers)
	}
}

// A redirect is an error, and the place that it names hears nothing: no request, and so no
// credential.
func TestRedirect(t *testing.T) {
	var second atomic.Int64
	other := serve(t, func(http.ResponseWriter, *http.Request) { second.Add(1) })
	for _, status := range []int{300, 301, 302, 303, 304, 307, 308} {
		s := serve(t, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Location", other.URL+r.RequestURI)
			w.WriteHeader(status)
		})
		tr := newTransport(t, Options{})
		_, err := tr.Do(t.Context(), "submit", request(t, "POST", s.URL))
		wantError(t, err, vendors.ErrUnreadable, vendors.ErrRedirect)
		if e := (*vendors.Error)(nil); errors.As(err, &e) && e.Status != status {
			t.Errorf("status %d, want %d", e.Status, status)
		}
		_, err = tr.HTTPClient("token").Do(request(t, "POST", s.URL))
		if !errors.Is(err, vendors.ErrRedirect) {
			t.Errorf("HTTPClient: %v, want ErrRedirect", err)
		}
	}
	if n := second.Load(); n != 0 {
		t.Errorf("the redirect's target got %d requests", n)
	}
}

// Nothing goes out in clear, nor with credentials in its URL; and what is refused is not
// even looked up.
func TestInsecure(t *testing.T) {
	tr := newTransport(t, Options{Timeout: time.Second})
	for _, url := range []string{
		"http://api.example.com/", "http://192.0.2.1/", "http://localhost.example.com/",
		"http://127.0.0.1.example.com/", "http://127.0.0.1@192.0.2.1/", "ftp://127.0.0.1/",
	} {
		req, err := http.NewRequest("GET", url, nil)
		if err != nil {
			t.Fatal(err)
		}
		_, err = tr.Do(t.Context(), "preview", req)
		wantError(t, err, vendors.ErrNotSent)
		if !strings.Contains(url, "@") && !errors.Is(err, vendors.ErrInsecure) {
			t.Errorf("%s: %v, want ErrInsecure", url, err)
		}
	}
	_, err := tr.Do(t.Context(), "preview", &http.Request{})
	wantError(t, err, vendors.ErrNotSent)
}

// A dry run cannot change anything, whatever an adapter tries.
func TestReadOnly(t *testing.T) {
	var got []string
	s := serve(t, func(w http.ResponseWriter, r *http.Request) { got = append(got, r.Method) })
	tr := newTransport(t, Options{ReadOnly: true})
	for _, m := range []string{"POST", "PUT", "PATCH", "DELETE", "OPTIONS"} {
		_, err := tr.Do(t.Context(), "preview", request(t, m, s.URL))
		wantError(t, err, vendors.ErrNotSent, ErrReadOnly)
		_, err = tr.HTTPClient("submit").Do(request(t, m, s.URL))
		if !errors.Is(err, ErrReadOnly) {
			t.Errorf("HTTPClient %s: %v", m, err)
		}
	}
	wantError(t, tr.Wait(t.Context(), "submit"), vendors.ErrNotSent, ErrReadOnly)
	upgrade := request(t, "GET", s.URL)
	upgrade.Header.Set("Upgrade", "websocket")
	if _, err := tr.HTTPClient("submit").Do(upgrade); !errors.Is(err, ErrReadOnly) {
		t.Errorf("upgrade: %v, want ErrReadOnly", err)
	}
	for _, r := range []struct{ op, method string }{{"preview", "GET"}, {"check", "HEAD"}, {"token", "POST"}} {
		if _, err := tr.Do(t.Context(), r.op, request(t, r.method, s.URL)); err != nil {
			t.Errorf("%s %s: %v", r.op, r.method, err)
		}
	}
	if _, err := tr.Do(vendors.Reading(t.Context()), "preview", request(t, "POST", s.URL)); err != nil {
		t.Errorf("a search by POST: %v", err)
	}
	if d := cmp.Diff([]string{"GET", "HEAD", "POST", "POST"}, got); d != "" {
		t.Error(d)
	}
}

// What never reached anybody is ErrNotSent, so a submission may be repeated.
func TestNotSent(t *testing.T) {
	refused := func(t *testing.T) string {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		return l.Addr().String()
	}
	tests := []struct {
		name string
		url  func(t *testing.T) string
		want []error
	}{
		{"nobody listens", func(t *testing.T) string { return "http://" + refused(t) }, nil},
		{"no such host", func(t *testing.T) string { return "https://nobody.invalid" }, nil},
		{"certificate of nobody we know", func(t *testing.T) string {
			s := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("got a request") }))
			s.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, 0)
			s.StartTLS()
			t.Cleanup(s.Close)
			return s.URL
		}, nil},
		{"does not speak TLS", func(t *testing.T) string {
			s := serve(t, func(http.ResponseWriter, *http.Request) { t.Error("got a request") })
			return "https://" + strings.TrimPrefix(s.URL, "http://")
		}, nil},
		{"only old TLS", func(t *testing.T) string {
			s := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("got a request") }))
			s.TLS = &tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}
			s.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, 0)
			s.StartTLS()
			t.Cleanup(s.Close)
			return s.URL
		}, nil},
		{"handshake without end", func(t *testing.T) string {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { l.Close() })
			return "https://" + l.Addr().String()
		}, []error{vendors.ErrTimeout}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tr := newTransport(t, Options{Timeout: 300 * time.Millisecond})
			_, err := tr.Do(t.Context(), "submit", request(t, "POST", tt.url(t)))
			wantError(t, err, append(tt.want, vendors.ErrNotSent)...)
			if !vendors.Harmless(err) {
				t.Errorf("%v is not harmless", err)
			}
			t.Log(err)
		})
	}
}

// tcpServer is a server on loopback of which each connection is handled by handle, with
// the connection's number (from 0).
type tcpServer struct {
	URL   string
	l     net.Listener
	conns sync.WaitGroup
	mu    sync.Mutex
	open  []net.Conn
}

func newTCPServer(t testing.TB, handle func(n int, c net.Conn)) *tcpServer {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &tcpServer{URL: "http://" + l.Addr().String(), l: l}
	s.conns.Go(func() {
		for n := 0; ; n++ {
			c, err := l.Accept()
			if err != nil {
				return
			}
			s.mu.Lock()
			s.open = append(s.open, c)
			s.mu.Unlock()
			s.conns.Go(func() { defer c.Close(); handle(n, c) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		s.mu.Lock()
		for _, c := range s.open {
			c.Close()
		}
		s.mu.Unlock()
		s.conns.Wait()
	})
	return s
}

// settle returns when everything that the client has sent is taken in: what has not
// arrived by then never left. It ends the server.
func (s *tcpServer) settle(t testing.TB, client *Transport) {
	t.Helper()
	client.Close()
	// Connections are accepted in order, so once this one is, all the others are.
	last, err := net.Dial("tcp", s.l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer last.Close()
	for accepted := false; !accepted; time.Sleep(time.Millisecond) {
		s.mu.Lock()
		for _, c := range s.open {
			accepted = accepted || c.RemoteAddr().String() == last.LocalAddr().String()
		}
		s.mu.Unlock()
	}
	last.Close()
	s.l.Close()
	s.conns.Wait()
}

func readRequest(c net.Conn) (*http.Request, error) {
	r, err := http.ReadRequest(bufio.NewReader(c))
	if err == nil {
		_, err = io.Copy(io.Discard, r.Body)
	}
	return r, err
}

// Once something was written, nobody knows what happened: never ErrNotSent.
func TestUncertain(t *testing.T) {
	for _, tt := range []struct {
		name   string
		answer string // after the request was read; then the connection is closed
		hang   bool   // or rather, left open
		want   []error
	}{
		{name: "closed without an answer", want: []error{vendors.ErrUnavailable}},
		{name: "no answer", hang: true, want: []error{vendors.ErrUnavailable, vendors.ErrTimeout}},
		{name: "half a header", answer: "HTTP/1.1 200 OK\r\nX-A: b\r\n", want: []error{vendors.ErrUnavailable}},
		{name: "half a body", answer: "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc", want: []error{vendors.ErrUnavailable}},
		{name: "half a body, then silence", answer: "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc", hang: true, want: []error{vendors.ErrUnavailable, vendors.ErrTimeout}},
		{name: "not HTTP", answer: "220 mail " + secretEmail + "\r\n", want: []error{vendors.ErrUnreadable}},
		{name: "bad length", answer: "HTTP/1.1 200 OK\r\nContent-Length: " + secretEmail + "\r\n\r\n", want: []error{vendors.ErrUnreadable}},
		{name: "switching protocols", answer: "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n", hang: true, want: []error{vendors.ErrUnreadable}},
		{name: "header without end", answer: "HTTP/1.1 200 OK\r\n" + strings.Repeat("X-Long: "+strings.Repeat("x", 1000)+"\r\n", 200), hang: true, want: []error{vendors.ErrUnreadable}},
		{name: "informational answers without end", answer: strings.Repeat("HTTP/1.1 103 Early Hints\r\nLink: "+strings.Repeat("x", 1000)+"\r\n\r\n", 200), hang: true, want: []error{vendors.ErrUnreadable}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, method := range []string{"GET", "POST"} {
				var requests atomic.Int64
				s := newTCPServer(t, func(_ int, c net.Conn) {
					if _, err := readRequest(c); err != nil {
						return
					}
					requests.Add(1)
					io.WriteString(c, tt.answer)
					if tt.hang {
						io.Copy(io.Discard, c)
					}
				})
				tr := newTransport(t, Options{Timeout: 300 * time.Millisecond})
				_, err := tr.Do(t.Context(), "submit", request(t, method, s.URL))
				wantError(t, err, tt.want...)
				if vendors.Harmless(err) {
					t.Errorf("%v counts as harmless", err)
				}
				s.settle(t, tr)
				if n := requests.Load(); n != 1 {
					t.Errorf("%d requests arrived", n)
				}
			}
		})
	}
}

// A server that keeps a connection open and closes it when the second request comes makes
// net/http repeat that request silently. Whatever the method, it must arrive once.
func TestNoSilentReplay(t *testing.T) {
	for _, tt := range []struct{ method, header string }{
		{"GET", ""}, {"HEAD", ""}, {"OPTIONS", ""}, {"POST", ""}, {"PUT", ""}, {"DELETE", ""},
		{"POST", "Idempotency-Key"}, {"PUT", "Idempotency-Key"}, {"DELETE", "X-Idempotency-Key"},
	} {
		t.Run(tt.method+tt.header, func(t *testing.T) {
			var arrived atomic.Int64
			s := newTCPServer(t, func(_ int, c net.Conn) {
				for n := 0; ; n++ {
					r, err := readRequest(c)
					if err != nil {
						return
					}
					if r.URL.Path == "/warm" {
						io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
						continue
					}
					arrived.Add(1)
					return // read, and gone
				}
			})
			l := NewLimiter(LimiterOptions{Rate: vendors.Rate{PerSecond: 1000}, Burst: 100})
			tr := newTransport(t, Options{Limiter: l})
			warm, err := http.NewRequest("GET", s.URL+"/warm", nil)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := tr.Do(t.Context(), "check", warm); err != nil {
				t.Fatal(err)
			}
			req := request(t, tt.method, s.URL)
			if tt.header != "" {
				req.Header.Set(tt.header, "1")
			}
			_, err = tr.Do(t.Context(), "submit", req)
			wantError(t, err, vendors.ErrUnavailable)
			s.settle(t, tr)
			if n := arrived.Load(); n != 1 {
				t.Errorf("arrived %d times", n)
			}
			if n := l.Stats().Sent; n != 2 {
				t.Errorf("%d counted, want the warm-up and the request", n)
			}
		})
	}
}

// The same over HTTP/2, where net/http repeats a refused stream up to seven times, of any
// method that has no body.
func TestNoSilentReplayHTTP2(t *testing.T) {
	var arrived atomic.Int64
	cert := httptest.NewTLSServer(nil)
	cert.Close()
	s := newTCPServer(t, func(_ int, c net.Conn) {
		refuseStreams(tls.Server(c, &tls.Config{Certificates: cert.TLS.Certificates, NextProtos: []string{"h2"}}), &arrived)
	})
	l := NewLimiter(LimiterOptions{Rate: vendors.Rate{PerSecond: 1000}, Burst: 100})
	tr := newTransport(t, Options{RootCAs: pool(cert), Limiter: l})
	tr.base.IdleConnTimeout = 50 * time.Millisecond // for settle: net/http keeps such a connection for a while
	for i, m := range []string{"GET", "POST", "PUT", "DELETE"} {
		_, err := tr.Do(t.Context(), "submit", request(t, m, strings.Replace(s.URL, "http:", "https:", 1)))
		wantError(t, err, vendors.ErrUnavailable)
		if n := l.Stats().Sent; n != int64(i)+1 {
			t.Errorf("%s: %d counted, want %d", m, n, i+1)
		}
	}
	s.settle(t, tr)
	if n := arrived.Load(); n != 4 {
		t.Errorf("%d requests arrived, want 4", n)
	}
}

// refuseStreams is an HTTP/2 server that answers each request with RST_STREAM,
// REFUSED_STREAM (RFC 9113, sections 4.1, 6.4 and 7).
func refuseStreams(c net.Conn, headers *atomic.Int64) {
	const frameHeaders, frameReset, frameSettings, refused = 1, 3, 4, 7
	if _, err := io.CopyN(io.Discard, c, int64(len("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"))); err != nil {
		return
	}
	c.Write([]byte{0, 0, 0, frameSettings, 0, 0, 0, 0, 0})
	for {
		var h [9]byte
		if _, err := io.ReadFull(c, h[:]); err != nil {
			return
		}
		if _, err := io.CopyN(io.Discard, c, int64(h[0])<<16|int64(h[1])<<8|int64(h[2])); err != nil {
			return
		}
		if h[3] == frameHeaders {
			headers.Add(1)
			c.Write(append([]byte{0, 0, 4, frameReset, 0, h[5], h[6], h[7], h[8]}, 0, 0, 0, refused))
		}
	}
}

// A connection that the server closes while the request waits for its turn costs nothing:
// nothing was written, so another one is taken, for every method.
func TestStaleConnection(t *testing.T) {
	for _, method := range []string{"GET", "POST", "PUT"} {
		t.Run(method, func(t *testing.T) {
			var mu sync.Mutex
			var got []string
			s := newTCPServer(t, func(n int, c net.Conn) {
				if n == 0 {
					if _, err := readRequest(c); err != nil {
						return
					}
					io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
					time.Sleep(50 * time.Millisecond)
					return // while the second request waits for its token
				}
				for {
					r, err := readRequest(c)
					if err != nil {
						return
					}
					mu.Lock()
					got = append(got, r.Method)
					mu.Unlock()
					io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
				}
			})
			l := NewLimiter(LimiterOptions{Rate: vendors.Rate{PerSecond: 4}, Burst: 1})
			tr := newTransport(t, Options{Limiter: l})
			for range 2 {
				if _, err := tr.Do(t.Context(), "submit", request(t, method, s.URL)); err != nil {
					t.Fatal(err)
				}
			}
			mu.Lock()
			defer mu.Unlock()
			if d := cmp.Diff([]string{method}, got); d != "" {
				t.Errorf("on the second connection: %s", d)
			}
		})
	}
}

// A server that closes every connection before it was written to ends in ErrNotSent, not
// in a loop.
func TestStaleConnections(t *testing.T) {
	s := newTCPServer(t, func(_ int, c net.Conn) { time.Sleep(10 * time.Millisecond) })
	l := NewLimiter(LimiterOptions{Rate: vendors.Rate{PerSecond: 5}, Burst: 1})
	tr := newTransport(t, Options{Limiter: l})
	_, err := tr.Do(t.Context(), "submit", request(t, "POST", s.URL))
	wantError(t, err, vendors.ErrNotSent, errNothingWritten)
	if n := l.Stats().Sent; n != redials+1 {
		t.Errorf("%d slots taken, want %d", n, redials+1)
	}
}

// A body that comes a byte at a time is cut by the timeout, which counts from departure.
func TestSlowBody(t *testing.T) {
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		for range 100 {
			if _, err := w.Write([]byte("x")); err != nil {
				return
			}
			w.(http.Flusher).Flush()
			select {
			case <-r.Context().Done():
				return
			case <-time.After(50 * time.Millisecond):
			}
		}
	})
	l := NewLimiter(LimiterOptions{Rate: vendors.Rate{PerSecond: 2}, Burst: 1})
	tr := newTransport(t, Options{Timeout: 300 * time.Millisecond, Limiter: l})
	began := time.Now()
	_, err := tr.Do(t.Context(), "preview", request(t, "GET", s.URL))
	wantError(t, err, vendors.ErrUnavailable, vendors.ErrTimeout)
	if d := time.Since(began); d < 750*time.Millisecond || d > 3*time.Second {
		t.Errorf("ended after %v, want 500 ms for the token and 300 ms for the answer", d)
	}
}

// An answer of a gigabyte is given up at the limit, with flat memory, told or not told in
// advance.
func TestHugeBody(t *testing.T) {
	const size = 1 << 30
	for _, announced := range []bool{true, false} {
		var written atomic.Int64
		s := serve(t, func(w http.ResponseWriter, r *http.Request) {
			if announced {
				w.Header().Set("Content-Length", fmt.Sprint(size))
			}
			chunk := make([]byte, 64<<10)
			for n := 0; n < size; n += len(chunk) {
				m, err := w.Write(chunk)
				written.Add(int64(m))
				if err != nil {
					return
				}
			}
		})
		tr := newTransport(t, Options{})
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := tr.Do(t.Context(), "preview", request(t, "GET", s.URL))
		runtime.ReadMemStats(&after)
		wantError(t, err, vendors.ErrUnreadable, vendors.ErrTooLarge)
		if n := after.TotalAlloc - before.TotalAlloc; n > 16<<20 {
			t.Errorf("announced %v: allocated %d MiB", announced, n>>20)
		}
		s.Close() // waits for the handler, so for the end of its connection
		if n := written.Load(); n > size/4 {
			t.Errorf("announced %v: read on to %d MiB", announced, n>>20)
		}
	}
	s := serve(t, func(w http.ResponseWriter, r *http.Request) { w.Write(make([]byte, 1000)) })
	if a, err := newTransport(t, Options{MaxBody: 1000}).Do(t.Context(), "preview", request(t, "GET", s.URL)); err != nil || len(a.Body) != 1000 {
		t.Errorf("an answer of just the limit: %v", err)
	}
	_, err := newTransport(t, Options{MaxBody: 999}).Do(t.Context(), "preview", request(t, "GET", s.URL))
	wantError(t, err, vendors.ErrUnreadable, vendors.ErrTooLarge)
}

// The end of the caller's context keeps a request in the gate from leaving, even when its
// connection is there already, and does not cut one that has left.
func TestCancel(t *testing.T) {
	var arrived atomic.Int64
	inside, finish := make(chan struct{}, 1), make(chan struct{})
	h := func(w http.ResponseWriter, r *http.Request) {
		arrived.Add(1)
		inside <- struct{}{}
		w.WriteHeader(200)
		w.(http.Flusher).Flush()
		<-finish
		io.WriteString(w, "whole")
	}
	plain := serve(t, h)
	h2 := httptest.NewUnstartedServer(http.HandlerFunc(h))
	h2.EnableHTTP2 = true
	h2.StartTLS()
	t.Cleanup(h2.Close)
	for _, s := range []*httptest.Server{plain, h2} {
		arrived.Store(0)
		l := NewLimiter(LimiterOptions{Rate: vendors.Rate{PerSecond: 2}, Burst: 1})
		tr := newTransport(t, Options{Limiter: l, RootCAs: pool(s)})

		ctx, cancel := context.WithCancel(t.Context())
		type result struct {
			a   *vendors.Answer
			err error
		}
		results := make(chan result, 1)
		go func() {
			a, err := tr.Do(ctx, "submit", request(t, "POST", s.URL))
			results <- result{a, err}
		}()
		<-inside
		cancel() // in flight
		time.Sleep(20 * time.Millisecond)
		finish <- struct{}{}
		if r := <-results; r.err != nil || string(r.a.Body) != "whole" {
			t.Fatalf("in flight: %v, want the whole answer", r.err)
		}

		for name, cancelAfter := range map[string]time.Duration{"gate": 100 * time.Millisecond, "before": 0} {
			ctx, cancel := context.WithCancel(t.Context())
			if cancelAfter == 0 {
				cancel()
			} else {
				time.AfterFunc(cancelAfter, cancel)
			}
			_, err := tr.Do(ctx, "submit", request(t, "POST", s.URL))
			wantError(t, err, vendors.ErrNotSent, vendors.ErrStopped, context.Canceled)
			wantError(t, tr.Wait(ctx, "submit"), vendors.ErrNotSent, vendors.ErrStopped)
			if n := arrived.Load(); n != 1 {
				t.Errorf("%s: %d requests arrived, want only the first", name, n)
			}
		}
	}
}

// What is held back at the gate with its connection open is not written to it, however
// hard net/http tries: neither after a stop nor in a long pause.
func TestHeldBackWithConnection(t *testing.T) {
	for _, secure := range []bool{false, true} {
		for _, name := range []string{"stop", "pause"} {
			var arrived atomic.Int64
			ready := make(chan struct{}, 1)
			cert := httptest.NewTLSServer(nil)
			cert.Close()
			s := newTCPServer(t, func(_ int, c net.Conn) {
				if secure {
					tc := tls.Server(c, &tls.Config{Certificates: cert.TLS.Certificates})
					if tc.Handshake() != nil {
						return
					}
					c = tc
				}
				ready <- struct{}{}
				if n, _ := io.Copy(io.Discard, c); n > 0 {
					arrived.Add(n)
				}
			})
			url := s.URL
			if secure {
				url = strings.Replace(url, "http:", "https:", 1)
			}
			l := NewLimiter(LimiterOptions{Rate: vendors.Rate{PerSecond: 1}, Burst: 1})
			tr := newTransport(t, Options{Limiter: l, RootCAs: pool(cert)})
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			go func() {
				<-ready
				if name == "stop" {
					cancel()
				} else {
					l.Pause(time.Now().Add(time.Hour))
				}
			}()
			want := map[string]error{"stop": vendors.ErrStopped, "pause": ErrPaused}[name]
			_, err := tr.Do(ctx, "submit", request(t, "POST", url))
			wantError(t, err, vendors.ErrNotSent, want)
			s.settle(t, tr)
			if n := arrived.Load(); n != 0 {
				t.Errorf("%s, TLS %v: %d bytes arrived", name, secure, n)
			}
		}
	}
}

// Whichever comes first, the departure or the caller's end, decides: never both.
func TestDepartureOrEnd(t *testing.T) {
	tr := newTransport(t, Options{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, first := range []string{"end", "departure"} {
		f := newFlight(ctx, tr)
		cut := false
		f.cancel = func() { cut = true }
		if first == "end" {
			f.callerGone()
			if err := f.depart(); !errors.Is(err, vendors.ErrStopped) || !cut {
				t.Errorf("departure after the end: %v", err)
			}
			continue
		}
		if err := f.depart(); err != nil {
			t.Error(err)
		}
		f.callerGone()
		if cut {
			t.Error("a request in flight was cut")
		}
		f.release()
	}
}

// HTTP/1 writes to a connection without asking whether the request still matters, so one
// that may not leave loses its connection; HTTP/2 asks, and its connection is others' too.
func TestRefusedConnection(t *testing.T) {
	for _, proto := range []string{"plain", "http/1.1", "h2"} {
		near, far := net.Pipe()
		conn := near
		if proto != "plain" {
			cert := httptest.NewTLSServer(nil)
			cert.Close()
			go tls.Server(far, &tls.Config{Certificates: cert.TLS.Certificates, NextProtos: []string{proto}}).Handshake()
			secure := tls.Client(near, &tls.Config{RootCAs: pool(cert), ServerName: "example.com", NextProtos: []string{proto}})
			if err := secure.Handshake(); err != nil {
				t.Fatal(err)
			}
			conn = secure
		}
		ctx, cancel := context.WithCancel(t.Context())
		f := newFlight(ctx, newTransport(t, Options{Limiter: NewLimiter(LimiterOptions{})}))
		f.cancel = cancel
		cancel()
		f.gotConn(httptrace.GotConnInfo{Conn: conn})
		if !errors.Is(f.refusal, vendors.ErrStopped) {
			t.Errorf("%s: %v, want ErrStopped", proto, f.refusal)
		}
		near.SetWriteDeadline(time.Now()) // so that a pipe that is open says so
		_, err := near.Write([]byte("x"))
		if closed := errors.Is(err, io.ErrClosedPipe); closed != (proto != "h2") {
			t.Errorf("%s: closed %v", proto, closed)
		}
		near.Close()
		far.Close()
	}
}

// A stop while connecting is a stop, not a network error, and comes at once.
func TestCancelConnecting(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0") // accepts, and never shakes hands
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	tr := newTransport(t, Options{Timeout: 2 * time.Second})
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	began := time.Now()
	_, err = tr.Do(ctx, "submit", request(t, "POST", "https://"+l.Addr().String()))
	wantError(t, err, vendors.ErrNotSent, vendors.ErrStopped)
	if d := time.Since(began); d > time.Second {
		t.Errorf("took %v", d)
	}
}

// A vendor's 429 or 503 pauses everybody, for as long as it says; further requests are not
// sent and say until when.
func TestRetryAfterPauses(t *testing.T) {
	for _, tt := range []struct {
		name   string
		status int
		header string
		want   time.Duration
		slower bool
	}{
		{"seconds", 429, "120", 2 * time.Minute, true},
		{"date by the vendor's clock", 429, "Mon, 02 Jan 2006 15:04:05 GMT", time.Hour, true},
		{"unavailable", 503, "60", time.Minute, true},
		{"unavailable, not saying", 503, "", 0, false},
		{"not saying", 429, "", time.Second, true},
		{"nonsense", 429, "soon", time.Second, true},
		{"zero", 429, "0", time.Second, true},
		{"another status", 500, "60", 0, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var arrived atomic.Int64
			s := serve(t, func(w http.ResponseWriter, r *http.Request) {
				arrived.Add(1)
				w.Header().Set("Date", "Mon, 02 Jan 2006 14:04:05 GMT")
				if tt.header != "" {
					w.Header().Set("Retry-After", tt.header)
				}
				w.WriteHeader(tt.status)
			})
			l := NewLimiter(LimiterOptions{Rate: vendors.Rate{PerSecond: 1000}, Patience: -1})
			tr := newTransport(t, Options{Limiter: l})
			a, err := tr.Do(t.Context(), "preview", request(t, "GET", s.URL))
			if err != nil || a.Status != tt.status {
				t.Fatalf("%v %v", a, err)
			}
			got := max(0, time.Until(l.PausedUntil()))
			if got > tt.want || got < tt.want-500*time.Millisecond {
				t.Errorf("paused for %v, want %v", got, tt.want)
			}
			if slower := l.Stats().Current < 1000; slower != tt.slower {
				t.Errorf("slower: %v, want %v", slower, tt.slower)
			}
			if tt.want == 0 {
				return
			}
			_, err = tr.Do(t.Context(), "submit", request(t, "POST", s.URL))
			wantError(t, err, vendors.ErrNotSent, ErrPaused)
			if e := (*vendors.Error)(nil); errors.As(err, &e) && (e.RetryAfter <= 0 || e.RetryAfter > tt.want) {
				t.Errorf("RetryAfter %v, want the rest of %v", e.RetryAfter, tt.want)
			}
			if n := arrived.Load(); n != 1 {
				t.Errorf("%d requests arrived in a pause", n)
			}
		})
	}
}

// A pause that begins while a request waits at the gate with its connection holds it back;
// it leaves after the pause, once.
func TestPauseAtTheGate(t *testing.T) {
	var mu sync.Mutex
	var arrived []time.Time
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		arrived = append(arrived, time.Now())
	})
	l := NewLimiter(LimiterOptions{Rate: vendors.Rate{PerSecond: 4}, Burst: 1})
	tr := newTransport(t, Options{Limiter: l})
	until := time.Now().Add(600 * time.Millisecond)
	time.AfterFunc(100*time.Millisecond, func() { l.Pause(until) })
	if _, err := tr.Do(t.Context(), "submit", request(t, "POST", s.URL)); err != nil {
		t.Fatal(err)
	}
	if len(arrived) != 1 || arrived[0].Before(until) {
		t.Errorf("arrived %v, want once, after %v", arrived, until)
	}
}

// The limit holds where requests arrive, with many workers, new connections for each
// request, tokens through HTTPClient and messages through Wait all counted together.
func TestLimitOnTheWire(t *testing.T) {
	const perSecond, burst = 200, 3
	for _, keepAlive := range []bool{true, false} {
		var mu sync.Mutex
		var arrived []time.Time
		note := func() {
			mu.Lock()
			defer mu.Unlock()
			arrived = append(arrived, time.Now())
		}
		s := serve(t, func(w http.ResponseWriter, r *http.Request) {
			note()
			if !keepAlive {
				w.Header().Set("Connection", "close")
			}
		})
		began := time.Now()
		l := NewLimiter(LimiterOptions{Rate: vendors.Rate{PerSecond: perSecond}, Burst: burst})
		tr := newTransport(t, Options{Limiter: l, Concurrency: 16})
		var group sync.WaitGroup
		for i := range 16 {
			group.Go(func() {
				for range 20 {
					var err error
					switch i % 4 {
					case 0:
						if err = tr.Wait(context.Background(), "submit"); err == nil {
							note()
						}
					case 1:
						var resp *http.Response
						if resp, err = tr.HTTPClient("token").Do(request(t, "POST", s.URL)); err == nil {
							resp.Body.Close()
						}
					default:
						_, err = tr.Do(context.Background(), "preview", request(t, "GET", s.URL))
					}
					if err != nil {
						t.Error(err)
					}
				}
			})
		}
		group.Wait()
		took := time.Since(began)
		slices.SortFunc(arrived, time.Time.Compare)
		// Between departure and arrival lies the loopback and the scheduler, which bunch
		// arrivals by a few milliseconds on a busy machine: 20 ms are 4 requests, and one may
		// leave closely behind a late one. Without the gate all 320 would arrive at once.
		if e := excess(arrived, perSecond, burst); e > 1+4 {
			t.Errorf("keep-alive %v: %.2f requests above burst + rate x t", keepAlive, e)
		}
		if want := time.Duration(len(arrived)) * time.Second / perSecond; took < want-time.Millisecond || took > 2*want {
			t.Errorf("keep-alive %v: %d requests took %v, want about %v", keepAlive, len(arrived), took, want)
		}
		if n := l.Stats().Sent; n != int64(len(arrived)) {
			t.Errorf("%d counted, %d arrived", n, len(arrived))
		}
	}
}

func pool(s *httptest.Server) *x509.CertPool {
	p := x509.NewCertPool()
	if c := s.Certificate(); c != nil {
		p.AddCert(c)
	}
	return p
}

// A private certificate authority works from a file, over HTTP/1.1 and HTTP/2.
func TestPrivateCA(t *testing.T) {
	for _, h2 := range []bool{false, true} {
		s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, r.Proto) }))
		s.EnableHTTP2 = h2
		s.StartTLS()
		t.Cleanup(s.Close)
		file := filepath.Join(t.TempDir(), "ca.pem")
		if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}), 0o600); err != nil {
			t.Fatal(err)
		}
		roots, err := LoadRootCAs(file)
		if err != nil {
			t.Fatal(err)
		}
		tr := newTransport(t, Options{RootCAs: roots})
		a, err := tr.Do(t.Context(), "check", request(t, "GET", s.URL))
		if err != nil {
			t.Fatal(err)
		}
		if want := map[bool]string{false: "HTTP/1.1", true: "HTTP/2.0"}[h2]; string(a.Body) != want {
			t.Errorf("spoke %s, want %s", a.Body, want)
		}
	}
	empty := filepath.Join(t.TempDir(), "empty.pem")
	if err := os.WriteFile(empty, []byte("no certificate"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{empty, empty + ".missing"} {
		if _, err := LoadRootCAs(file); err == nil || !strings.Contains(err.Error(), file) {
			t.Errorf("%s: %v, want an error that names the file", file, err)
		}
	}
}

// A departure ends when the request is written, and not with its answer, which may be a
// minute away: until then it takes a place in the bucket.
func TestDepartureEndsWithTheWrite(t *testing.T) {
	for _, tt := range []struct {
		name       string
		tls, multi bool
	}{{"HTTP/1.1", false, false}, {"HTTP/1.1 over TLS", true, false}, {"HTTP/2.0", true, true}} {
		t.Run(tt.name, func(t *testing.T) {
			answer := make(chan struct{})
			s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				<-answer
				io.WriteString(w, r.Proto)
			}))
			if s.EnableHTTP2 = tt.multi; tt.tls {
				s.StartTLS()
			} else {
				s.Start()
			}
			t.Cleanup(s.Close)
			l := NewLimiter(LimiterOptions{Rate: vendors.Rate{PerSecond: 1000}, Burst: 5})
			tr := newTransport(t, Options{RootCAs: pool(s), Limiter: l})
			var group sync.WaitGroup
			for _, method := range []string{"GET", "POST", "GET", "POST"} {
				group.Go(func() {
					a, err := tr.Do(t.Context(), "check", request(t, method, s.URL))
					if err != nil || !strings.HasPrefix(tt.name, string(a.Body)) {
						t.Errorf("%s: %v, %v", method, a, err)
					}
				})
			}
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			for settled := false; !settled; runtime.Gosched() {
				l.mu.Lock()
				settled = l.sent.Load() == 4 && len(l.leaving) == 0
				l.mu.Unlock()
				if ctx.Err() != nil {
					t.Error("requests that are written still count as leaving")
					break
				}
			}
			close(answer)
			group.Wait()
		})
	}
}

// HTTPClient's answers are ordinary ones, for oauth2.
func TestHTTPClient(t *testing.T) {
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(201)
		io.Copy(w, r.Body)
	})
	tr := newTransport(t, Options{})
	resp, err := tr.HTTPClient("token").Post(s.URL, "text/plain", strings.NewReader("hello"))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || string(body) != "hello" || resp.StatusCode != 201 || resp.Status != "201 Created" ||
		resp.Header.Get("Content-Type") != "application/json" || resp.ContentLength != 5 || resp.Request == nil {
		t.Errorf("got %+v with body %q, %v", resp, body, err)
	}
	_, err = tr.HTTPClient("token").Get("http://192.0.2.1/")
	var e *vendors.Error
	if !errors.As(err, &e) || e.Op != "token" || !errors.Is(err, vendors.ErrInsecure) {
		t.Errorf("error %v, want the *vendors.Error inside", err)
	}
}

// A WebSocket handshake gets its connection, which outlives the timeout, the caller's
// context, and counts as one request.
func TestUpgrade(t *testing.T) {
	s := newTCPServer(t, func(_ int, c net.Conn) {
		r := bufio.NewReader(c)
		if _, err := http.ReadRequest(r); err != nil {
			return
		}
		io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: echo\r\nConnection: Upgrade\r\n\r\n")
		io.Copy(c, r)
	})
	l := NewLimiter(LimiterOptions{Rate: vendors.Rate{PerSecond: 100}})
	tr := newTransport(t, Options{Timeout: 200 * time.Millisecond, Limiter: l})
	ctx, cancel := context.WithCancel(t.Context())
	req := request(t, "GET", s.URL).WithContext(ctx)
	req.Header.Set("Connection", "Upgrade")
	req.Header.Set("Upgrade", "echo")
	resp, err := tr.HTTPClient("submit").Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	cancel()
	time.Sleep(300 * time.Millisecond)
	conn := resp.Body.(io.ReadWriter)
	if _, err := io.WriteString(conn, "ping"); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 4)
	if _, err := io.ReadFull(conn, got); err != nil || string(got) != "ping" {
		t.Errorf("echo %q, %v", got, err)
	}
	if n := l.Stats().Sent; n != 1 {
		t.Errorf("%d counted", n)
	}
}

// The debug log has what an operator needs, and nobody's data.
func TestLog(t *testing.T) {
	s := serve(t, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, secretEmail) })
	var buf bytes.Buffer
	log := slog.New(slog.NewJSONHandler(&buf, &slog.HandlerOptions{Level: slog.LevelDebug}))
	tr := newTransport(t, Options{Log: log})
	if _, err := tr.Do(t.Context(), "preview", request(t, "GET", s.URL)); err != nil {
		t.Fatal(err)
	}
	s.Close()
	tr.Close()
	_, err := tr.Do(t.Context(), "submit", request(t, "POST", s.URL))
	wantError(t, err, vendors.ErrNotSent)
	private(t, buf.String())
	for _, want := range []string{`"vendor":"acme"`, `"op":"preview"`, `"method":"GET"`, `"status":200`, `"bytes":22`, `"op":"submit"`, "connection refused"} {
		if !strings.Contains(buf.String(), want) {
			t.Errorf("log lacks %s:\n%s", want, buf.String())
		}
	}
}

// A request body that cannot be read, or is too large to be meant, does not leave in part.
func TestRequestBody(t *testing.T) {
	s := serve(t, func(http.ResponseWriter, *http.Request) { t.Error("got a request") })
	for _, body := range []io.Reader{
		io.MultiReader(strings.NewReader("x"), failing{}),
		io.LimitReader(zeros{}, maxRequestBody+1),
	} {
		req, err := http.NewRequest("POST", s.URL, body)
		if err != nil {
			t.Fatal(err)
		}
		_, err = newTransport(t, Options{}).Do(t.Context(), "submit", req)
		wantError(t, err, vendors.ErrNotSent)
	}
}

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, errors.New("reading " + secretEmail) }

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }
