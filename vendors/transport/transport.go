package transport

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"expunge/vendors"
)

// ErrReadOnly is the cause of ErrNotSent for a request that could change something, in a
// dry run.
var ErrReadOnly = errors.New("dry run: only requests that change nothing may leave")

// Options are what a Transport is made from. Zero values stand for the defaults.
type Options struct {
	Vendor      string         // configured name, for errors and logs
	Timeout     time.Duration  // one request, from departure to the last byte of its answer; default 30 s
	MaxBody     int64          // the largest answer that is read, in bytes; default 1 MiB
	Concurrency int            // how many requests will be in flight: as many idle connections are kept; default 4
	Limiter     *Limiter       // nil: no limit, for tests
	RootCAs     *x509.CertPool // nil: the system's
	Log         *slog.Logger   // nil: none. One debug line per request
	UserAgent   string         // default "expunge"

	// StreamTime bounds one Stream as a whole, on top of Timeout, which there bounds every
	// wait for the next bytes; default 6 h.
	StreamTime time.Duration

	// ReadOnly is the dry run: every request that is not GET or HEAD is refused, but those
	// with Op "token" and those made under vendors.Reading, and so are messages that are not
	// HTTP.
	ReadOnly bool
}

const (
	defaultTimeout     = 30 * time.Second
	defaultMaxBody     = 1 << 20
	defaultConcurrency = 4
	defaultStreamTime  = 6 * time.Hour

	maxHeader      = 64 << 10
	maxRequestBody = 1 << 20
	connectTimeout = 10 * time.Second // DNS and TCP; the same again for TLS; never more than Timeout
	pingAfter      = 15 * time.Second // HTTP/2: a connection this silent is asked whether it lives

	// idleTimeout is below the 5 s after which the least patient of the common servers
	// (Apache, Node) close an idle connection. A request that meets such a close on its way
	// is lost without anybody knowing whether it arrived.
	idleTimeout = 4 * time.Second

	// redials is how often a request takes another connection because the one it had was
	// closed before anything was written.
	redials = 3
)

// opToken is the Op of a request for an access token: it changes nothing about a person.
const opToken = "token"

// Transport carries the requests of one vendor account. It is safe for concurrent use.
type Transport struct {
	o    Options
	log  *slog.Logger
	base *http.Transport
	sent atomic.Int64           // requests and messages that have left
	date atomic.Pointer[string] // the last Date header
	skew atomic.Pointer[time.Duration]
}

var _ vendors.Transport = (*Transport)(nil)

// New makes a transport. It connects to nobody.
func New(o Options) *Transport {
	if o.Timeout <= 0 {
		o.Timeout = defaultTimeout
	}
	if o.MaxBody <= 0 {
		o.MaxBody = defaultMaxBody
	}
	if o.Concurrency <= 0 {
		o.Concurrency = defaultConcurrency
	}
	if o.StreamTime <= 0 {
		o.StreamTime = defaultStreamTime
	}
	if o.UserAgent == "" {
		o.UserAgent = "expunge"
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	connect := min(connectTimeout, o.Timeout)
	dialer := &net.Dialer{Timeout: connect, KeepAlive: 15 * time.Second}
	dial := func(ctx context.Context, network, address string) (net.Conn, error) {
		c, err := dialer.DialContext(ctx, network, address)
		if err != nil {
			return nil, err
		}
		return &conn{Conn: c}, nil
	}
	return &Transport{
		o:   o,
		log: o.Log.With("vendor", o.Vendor),
		base: &http.Transport{
			Proxy:                  http.ProxyFromEnvironment,
			OnProxyConnectResponse: proxyAnswered,
			DialContext:            dial,
			TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: o.RootCAs},
			TLSHandshakeTimeout:    connect,
			ForceAttemptHTTP2:      true,
			HTTP2:                  &http.HTTP2Config{SendPingTimeout: pingAfter, PingTimeout: connect},
			MaxIdleConnsPerHost:    o.Concurrency,
			IdleConnTimeout:        idleTimeout,
			MaxResponseHeaderBytes: maxHeader,
			DisableCompression:     true, // what is read is what was sent: nothing grows on arrival
		},
	}
}

// Close closes idle connections. Requests in flight are not touched.
func (t *Transport) Close() { t.base.CloseIdleConnections() }

// LoadRootCAs returns the system's certificate authorities and those of a PEM file.
func LoadRootCAs(pemFile string) (*x509.CertPool, error) {
	pem, err := os.ReadFile(pemFile)
	if err != nil {
		return nil, err
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		return nil, fmt.Errorf("the system's certificate authorities: %w", err)
	}
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s: no certificate in PEM form", pemFile)
	}
	return pool, nil
}

// Wait implements vendors.Transport.
func (t *Transport) Wait(ctx context.Context, op string) error {
	if t.o.ReadOnly {
		return t.notSent(op, ErrReadOnly)
	}
	if err := ctx.Err(); err != nil {
		return t.notSent(op, stopped(err))
	}
	var err error
	if may := vendors.Departure(ctx); t.o.Limiter != nil {
		err = t.o.Limiter.Wait(ctx)
	} else if may != nil {
		err = may()
	}
	if err != nil {
		return t.notSent(op, err)
	}
	t.sent.Add(1)
	return nil
}

// Do implements vendors.Transport. The request is not changed; its body is read and
// closed. An answer 429, or 503 with Retry-After, pauses the limiter before it is
// returned.
func (t *Transport) Do(ctx context.Context, op string, req *http.Request) (*vendors.Answer, error) {
	answer, raw, err := t.do(ctx, op, req, nil, false)
	if raw != nil { // cannot be: only an upgrade has one
		raw.Body.Close()
	}
	return answer, err
}

// do sends one request. With a sink, the body of a 2xx answer goes there. With upgrade, an
// answer 101 is returned raw, its body being the connection.
func (t *Transport) do(ctx context.Context, op string, req *http.Request, to *sink, upgrade bool) (*vendors.Answer, *http.Response, error) {
	body, err := takeBody(req)
	if err != nil {
		return nil, nil, t.notSent(op, err)
	}
	if err := t.permit(ctx, op, req, upgrade); err != nil {
		return nil, nil, t.notSent(op, err)
	}
	var answer *vendors.Answer
	var raw *http.Response
	started := time.Now()
	for n := 0; ; n++ {
		f := newFlight(ctx, t)
		if op != opToken {
			f.may = vendors.Departure(ctx)
		}
		f.sink = to
		answer, raw, err = f.fly(op, req, body, upgrade)
		if !errors.Is(err, errHeldBack) && (!errors.Is(err, errNothingWritten) || n == redials) {
			break
		}
	}
	debug := t.log.Enabled(ctx, slog.LevelDebug)
	switch {
	case err != nil && debug:
		t.log.LogAttrs(ctx, slog.LevelDebug, "request failed", slog.String("op", op), slog.String("method", method(req)),
			slog.String("host", req.URL.Host), slog.Duration("duration", time.Since(started)), slog.Any("err", err))
	case err == nil && answer != nil:
		t.heed(answer)
		if !debug {
			break
		}
		t.log.LogAttrs(ctx, slog.LevelDebug, "request", slog.String("op", op), slog.String("method", method(req)),
			slog.String("host", req.URL.Host), slog.Int("status", answer.Status), slog.Int64("bytes", int64(len(answer.Body))+to.written()),
			slog.Duration("duration", time.Since(started)))
	}
	return answer, raw, err
}

// heed adapts the pace to what the vendor said.
func (t *Transport) heed(a *vendors.Answer) {
	t.readClock(a.Header.Get("Date"))
	if t.o.Limiter == nil {
		return
	}
	switch a.Status {
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		asked, given := retryAfter(a.Header, time.Now())
		if given || a.Status == http.StatusTooManyRequests {
			t.o.Limiter.refused(asked, given)
		}
	default:
		if a.Status < 500 {
			t.o.Limiter.Steady()
		}
	}
}

// Sent is how many requests and messages have left, or may have.
func (t *Transport) Sent() int64 { return t.sent.Load() }

// Skew is how far the vendor's clock is ahead of ours (negative: behind), by the Date of its
// last answer, which is exact to a second and as old as the answer's way; ok is false
// before the first one.
func (t *Transport) Skew() (ahead time.Duration, ok bool) {
	p := t.skew.Load()
	if p == nil {
		return 0, false
	}
	return *p, true
}

// readClock compares the vendor's clock with ours. It ticks in seconds, so most answers
// say nothing new.
func (t *Transport) readClock(date string) {
	if last := t.date.Load(); last != nil && *last == date {
		return
	}
	t.date.Store(&date)
	if theirs, err := http.ParseTime(date); err == nil {
		skew := time.Until(theirs)
		t.skew.Store(&skew)
	}
}

// permit refuses what must not leave.
func (t *Transport) permit(ctx context.Context, op string, req *http.Request, upgrade bool) error {
	u := req.URL
	switch {
	case u == nil || u.Hostname() == "":
		return errors.New("the request has no host")
	case u.User != nil:
		return errors.New("the request's URL holds a user name or password")
	case u.Scheme != "https" && !(u.Scheme == "http" && vendors.IsLoopback(u.Hostname())):
		return vendors.ErrInsecure
	case t.o.ReadOnly && op != opToken && (upgrade || !harmless(req) && !vendors.OnlyReads(ctx)):
		return ErrReadOnly
	}
	return nil
}

func harmless(req *http.Request) bool {
	m := method(req)
	return m == http.MethodGet || m == http.MethodHead
}

func method(req *http.Request) string {
	if req.Method == "" {
		return http.MethodGet
	}
	return req.Method
}

// takeBody reads the request's body, so that it can be given to more than one connection.
func takeBody(req *http.Request) ([]byte, error) {
	if req.Body == nil || req.Body == http.NoBody {
		return nil, nil
	}
	defer req.Body.Close()
	body, err := io.ReadAll(io.LimitReader(req.Body, maxRequestBody+1))
	switch {
	case err != nil:
		return nil, errors.New("the request's body cannot be read")
	case len(body) > maxRequestBody:
		return nil, errors.New("the request's body is too large")
	}
	return body, nil
}

// outgoing is the request as it leaves: a copy with our user agent. It has no GetBody, so
// net/http cannot repeat it if it has a body.
func (t *Transport) outgoing(ctx context.Context, req *http.Request, body []byte) *http.Request {
	out := req.WithContext(ctx)
	out.Header = req.Header.Clone()
	//lint:ignore SA1019 it is taken out because it would cut a request that has left
	out.GetBody, out.Cancel = nil, nil
	out.Body, out.ContentLength = nil, 0
	if len(body) > 0 {
		out.Body, out.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	}
	if out.Header == nil {
		out.Header = make(http.Header)
	}
	if out.Header.Get("User-Agent") == "" {
		out.Header.Set("User-Agent", t.o.UserAgent)
	}
	return out
}

func (t *Transport) notSent(op string, cause error) error {
	e := &vendors.Error{Vendor: t.o.Vendor, Op: op, Kind: vendors.ErrNotSent, Err: cause}
	if p := (*PausedError)(nil); errors.As(cause, &p) {
		e.RetryAfter = max(0, time.Until(p.Until))
	}
	return e
}

// HTTPClient implements vendors.Transport. It does not follow redirects. Note that
// http.Client puts the whole URL in front of its errors: take the *vendors.Error out with
// errors.As before showing one.
//
// A request with an Upgrade header (a WebSocket handshake) is answered 101 with the
// connection as its body, over which the limits of this package do not reach: messages
// on it take their slots from Wait.
func (t *Transport) HTTPClient(op string) *http.Client {
	return &http.Client{
		Transport:     roundTripper{t, op},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

type roundTripper struct {
	t  *Transport
	op string
}

func (r roundTripper) RoundTrip(req *http.Request) (*http.Response, error) {
	answer, raw, err := r.t.do(req.Context(), r.op, req, nil, req.Header.Get("Upgrade") != "")
	if err != nil {
		return nil, err
	}
	if raw != nil {
		raw.Request = req
		return raw, nil
	}
	return &http.Response{
		Status:     fmt.Sprintf("%d %s", answer.Status, http.StatusText(answer.Status)),
		StatusCode: answer.Status,
		Proto:      "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header:        answer.Header,
		Body:          io.NopCloser(bytes.NewReader(answer.Body)),
		ContentLength: int64(len(answer.Body)),
		Request:       req,
	}, nil
}

// cause returns what of a network error may be shown: host names and addresses, but no
// URL and nothing that the other side sent. The original is not kept in the chain.
func cause(err error) error {
	var (
		dns  *net.DNSError
		op   *net.OpError
		cert *tls.CertificateVerificationError
		rec  tls.RecordHeaderError
		host x509.HostnameError
		ca   x509.UnknownAuthorityError

		proxy *proxyError
		uerr  *url.Error
	)
	timeout := func() error {
		if n := net.Error(nil); errors.As(err, &n) && n.Timeout() || errors.Is(err, context.DeadlineExceeded) {
			return vendors.ErrTimeout
		}
		return nil
	}
	switch {
	case err == nil:
		return nil
	case errors.As(err, &uerr):
		return cause(uerr.Err)
	case errors.As(err, &proxy):
		return proxy
	case errors.As(err, &dns):
		return also(fmt.Errorf("looking up the host: %s", dns.Err), timeout())
	case errors.As(err, &op):
		text := op.Op
		if op.Addr != nil {
			text += " " + op.Addr.String()
		}
		if t := timeout(); t != nil {
			return fmt.Errorf("%s: %w", text, t)
		}
		if op.Op == "remote error" || op.Op == "local error" { // a TLS alert, its text from a fixed list
			return op
		}
		return fmt.Errorf("%s: %w", text, cause(op.Err))
	case errors.As(err, &ca):
		return fmt.Errorf("TLS: %w", vendors.ErrAuthority)
	case errors.As(err, &host):
		return fmt.Errorf("TLS: the certificate is of another name than %s", host.Host)
	case errors.As(err, &cert):
		return fmt.Errorf("TLS: %w", cert.Err)
	case errors.As(err, &rec):
		return errors.New("TLS: the other side does not speak it")
	case timeout() != nil:
		return vendors.ErrTimeout
	}
	if no, ok := errors.AsType[syscall.Errno](err); ok {
		return no
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errors.New("the connection was closed")
	}
	return errors.New("connection error")
}

// proxyError says that the proxy, and not the vendor, refused: nothing of the request has left.
type proxyError struct {
	host   string
	status int
}

func (e *proxyError) Error() string {
	text := fmt.Sprintf("the proxy %s answers CONNECT with HTTP %d", e.host, e.status)
	if e.status == http.StatusProxyAuthRequired {
		text += ": HTTPS_PROXY must hold its user and password"
	}
	return text
}

// proxyAnswered keeps the status of a refusal, of which net/http has only the text, which is
// the proxy's own.
func proxyAnswered(_ context.Context, proxy *url.URL, _ *http.Request, resp *http.Response) error {
	if resp.StatusCode == http.StatusOK {
		return nil
	}
	return &proxyError{proxy.Host, resp.StatusCode}
}

func also(err, more error) error {
	if more == nil {
		return err
	}
	return fmt.Errorf("%w: %w", err, more)
}
