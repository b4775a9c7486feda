package transport

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"sync"
	"sync/atomic"
	"time"

	"expunge/vendors"
)

var (
	// errReplay: net/http wanted to repeat a request of which something may have been
	// written.
	errReplay = errors.New("the connection was lost")

	// errNothingWritten: the connection was closed by the other side after we had it and
	// before anything was written.
	errNothingWritten = errors.New("the connection was closed before anything was written")
)

// flight is one request on its way out: the admission, the connection, the departure, the
// answer. The departure stands in httptrace's GotConn, which net/http calls in RoundTrip's
// own goroutine when the connection is there and nothing has been written: that is the
// last point at which a request can be held, and the point where it is counted.
type flight struct {
	t      *Transport
	caller context.Context
	cancel context.CancelFunc
	may    func() error // asked at the departure; nil: nobody is
	sink   *sink        // where the body of a 2xx answer goes; nil: into the answer

	// Used in RoundTrip's goroutine only.
	admitted bool  // the limiter waits to hear of us
	refusal  error // why the request may not be written

	mu       sync.Mutex // between the departure and the end of the caller's context
	departed bool
	stopped  bool
	timer    *time.Timer
	since    time.Time // the departure

	// Set by net/http's goroutines.
	wrote     atomic.Bool  // something may have been written
	answering atomic.Bool  // something was read
	late      atomic.Bool  // the timeout has passed
	out       atomic.Int64 // the limiter's ticket until the request is written; 0: none
	multi     atomic.Bool  // HTTP/2
}

func newFlight(ctx context.Context, t *Transport) *flight {
	return &flight{t: t, caller: ctx}
}

// fly makes the whole way. Its errors are *vendors.Error, but for errHeldBack, and with
// errNothingWritten as the cause of ErrNotSent where another connection may do.
func (f *flight) fly(op string, req *http.Request, body []byte, upgrade bool) (*vendors.Answer, *http.Response, error) {
	if err := f.caller.Err(); err != nil {
		return nil, nil, f.t.notSent(op, stopped(err))
	}
	if l := f.t.o.Limiter; l != nil {
		if err := l.admit(f.caller); err != nil {
			return nil, nil, f.t.notSent(op, err)
		}
		f.admitted = true
		defer func() {
			if f.admitted {
				l.abandon()
			}
		}()
	}
	var ctx context.Context
	ctx, f.cancel = context.WithCancel(context.WithoutCancel(f.caller))
	keep := false
	defer func() {
		if !keep {
			f.end()
		}
	}()
	defer context.AfterFunc(f.caller, f.callerGone)()
	resp, err := f.t.base.RoundTrip(f.t.outgoing(httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotConn:              f.gotConn,
		WroteHeaders:         f.wroteHeaders,
		GotFirstResponseByte: func() { f.answering.Store(true) },
	}), req, body))
	if err != nil {
		return nil, nil, f.failure(op, err)
	}
	if resp.StatusCode == http.StatusSwitchingProtocols && upgrade {
		if conn, ok := resp.Body.(io.ReadWriteCloser); ok && f.release() {
			keep = true
			resp.Body = &upgraded{conn, f.cancel}
			return nil, resp, nil
		}
	}
	defer resp.Body.Close()
	answer, err := f.read(resp)
	if err != nil {
		var e *vendors.Error
		if errors.As(err, &e) {
			e.Vendor, e.Op, e.Status = f.t.o.Vendor, op, resp.StatusCode
		}
		return nil, nil, err
	}
	return answer, nil, nil
}

// read takes in the whole answer, so that the connection can be used again.
func (f *flight) read(resp *http.Response) (*vendors.Answer, error) {
	if resp.StatusCode < 200 {
		return nil, &vendors.Error{Kind: vendors.ErrUnreadable}
	}
	if f.sink != nil && resp.StatusCode <= 299 {
		return f.stream(resp)
	}
	limit := f.t.o.MaxBody
	tooLarge := &vendors.Error{Kind: vendors.ErrUnreadable, Err: vendors.ErrTooLarge}
	if resp.ContentLength > limit && resp.Request.Method != http.MethodHead {
		f.cancel() // not another byte, not even to save the connection
		return nil, tooLarge
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, limit+1))
	switch {
	case int64(len(body)) > limit:
		f.cancel()
		return nil, tooLarge
	case f.late.Load() && err != nil:
		return nil, &vendors.Error{Kind: vendors.ErrUnavailable, Err: vendors.ErrTimeout}
	case err != nil:
		return nil, &vendors.Error{Kind: vendors.ErrUnavailable, Err: cause(err)}
	case resp.StatusCode >= 300 && resp.StatusCode < 400:
		return nil, &vendors.Error{Kind: vendors.ErrUnreadable, Err: vendors.ErrRedirect}
	}
	return &vendors.Answer{Status: resp.StatusCode, Header: resp.Header, Body: body}, nil
}

// gotConn holds the request until it may leave, or makes sure that it cannot.
func (f *flight) gotConn(info httptrace.GotConnInfo) {
	f.refusal = f.depart()
	secure, ok := info.Conn.(*tls.Conn)
	multi := ok && secure.ConnectionState().NegotiatedProtocol == "h2"
	if f.refusal == nil {
		f.multi.Store(multi)
		if c := underlying(info.Conn); c != nil && !multi {
			c.next.Store(f)
		}
		return
	}
	// HTTP/2 asks the context before it writes; its connection is others' too. HTTP/1 does
	// not ask, but has the connection for itself.
	f.cancel()
	switch {
	case !ok:
		info.Conn.Close()
	case !multi:
		secure.NetConn().Close()
	}
}

// wroteHeaders is called when an HTTP/2 header was written to the connection, or that
// failed, and when an HTTP/1 header is in the buffer before it.
func (f *flight) wroteHeaders() {
	f.wrote.Store(true)
	if f.multi.Load() {
		f.written()
	}
}

// written tells the limiter that the request is on its way, or will never be.
func (f *flight) written() {
	if t := f.out.Swap(0); t != 0 {
		f.t.o.Limiter.written(t)
	}
}

// conn is a connection that says when an HTTP/1 request is written to it. net/http has no
// hook for that: its last one is called when the request is in a buffer, and a header that
// is larger than the buffer is written in part before any.
type conn struct {
	net.Conn
	next atomic.Pointer[flight] // its first bytes are to come
}

// tlsAlert is the first byte of a TLS alert (RFC 8446, 5.1). No HTTP request begins with it.
const tlsAlert = 21

func (c *conn) Write(p []byte) (int, error) {
	if len(p) > 0 && p[0] == tlsAlert {
		return c.Conn.Write(p) // TLS says goodbye: that is nothing of the request
	}
	f := c.next.Swap(nil)
	if f == nil {
		return c.Conn.Write(p)
	}
	f.wrote.Store(true)
	defer f.written()
	return c.Conn.Write(p)
}

// underlying finds the conn under TLS, which is there twice with a proxy that speaks it.
func underlying(c net.Conn) *conn {
	for {
		switch x := c.(type) {
		case *conn:
			return x
		case *tls.Conn:
			c = x.NetConn()
		default:
			return nil
		}
	}
}

func (f *flight) depart() error {
	if f.wrote.Load() {
		return errReplay
	}
	if l := f.t.o.Limiter; l != nil {
		// A second time here means that net/http has changed a dead connection for another:
		// what was counted has not left, but counts.
		if !f.admitted {
			if err := l.admit(f.caller); err != nil {
				return err
			}
		}
		f.admitted = false // depart ends the admission either way
		f.written()        // the one before
		out, err := l.depart(f.caller, f.may)
		if err != nil {
			return err
		}
		f.out.Store(out)
	} else if f.may != nil {
		if err := f.may(); err != nil {
			return err
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.stopped {
		return stopped(context.Cause(f.caller))
	}
	f.departed, f.since = true, time.Now()
	f.t.sent.Add(1)
	if f.timer != nil {
		f.timer.Stop()
	}
	f.timer = time.AfterFunc(f.t.o.Timeout, func() {
		f.late.Store(true)
		f.cancel()
	})
	return nil
}

// callerGone stops a request that has not left: connecting is not worth while any more.
func (f *flight) callerGone() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.departed {
		f.stopped = true
		f.cancel()
	}
}

// end frees what the flight holds.
func (f *flight) end() {
	f.release()
	f.cancel()
	f.written()
}

// release stops the clock, and reports whether it had not run out.
func (f *flight) release() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.timer == nil || f.timer.Stop()
}

// failure says what an error of RoundTrip means.
func (f *flight) failure(op string, err error) error {
	f.mu.Lock()
	departed, stop := f.departed, f.stopped
	f.mu.Unlock()
	unavailable := &vendors.Error{Vendor: f.t.o.Vendor, Op: op, Kind: vendors.ErrUnavailable}
	switch {
	case errors.Is(f.refusal, errReplay):
		unavailable.Err = errReplay
		return unavailable
	case errors.Is(f.refusal, errHeldBack):
		return errHeldBack
	case f.refusal != nil:
		return f.t.notSent(op, f.refusal)
	case stop:
		return f.t.notSent(op, stopped(context.Cause(f.caller)))
	case !departed:
		return f.t.notSent(op, cause(err))
	case f.late.Load():
		unavailable.Err = vendors.ErrTimeout
		return unavailable
	case !f.wrote.Load():
		// net/http waits for the goroutine that writes before it returns an error, so this
		// cannot change any more.
		return f.t.notSent(op, errNothingWritten)
	case f.answering.Load() && !fromNetwork(err):
		return &vendors.Error{Vendor: f.t.o.Vendor, Op: op, Kind: vendors.ErrUnreadable, Err: errors.New("not an HTTP answer, or its header is too large")}
	}
	unavailable.Err = cause(err)
	return unavailable
}

// fromNetwork reports whether err came from the connection rather than from what was read.
func fromNetwork(err error) bool {
	var n net.Error
	return errors.As(err, &n) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
}

// upgraded is the connection of an answer 101.
type upgraded struct {
	io.ReadWriteCloser
	cancel context.CancelFunc
}

func (u *upgraded) Close() error {
	defer u.cancel()
	return u.ReadWriteCloser.Close()
}
