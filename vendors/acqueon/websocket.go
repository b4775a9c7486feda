package acqueon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/coder/websocket"

	"expunge/vendors"
	"expunge/vendors/transport"
)

// socketWire publishes messages on a WebSocket and waits for the response on the same
// connection. Other messages of the bus are passed over. Whatever fails ends the
// connection; the next exchange makes a new one.
//
// A handshake and a message take one slot of the rate limit each.
type socketWire struct {
	name      string
	place     *url.URL
	header    http.Header
	transport vendors.Transport
	timeout   time.Duration // a handshake; a message, from its departure to its response
	box       *mailbox

	// Used by one exchange at a time, and by Close after the last.
	conn *socket
}

var _ io.Closer = (*socketWire)(nil)

var (
	errHandshake = errors.New("the WebSocket handshake was refused")
	errNoSocket  = errors.New("not a WebSocket on the other side")
	errUnsteady  = errors.New("the connection was closed before the message left, again and again")
	errLost      = errors.New("the connection was lost")
)

// reconnects is how often one exchange finds its connection closed before it gives up.
const reconnects = 3

func (w *socketWire) exchange(ctx context.Context, op string, message []byte, _ string) ([]byte, error) {
	if err := w.prepare(ctx, op); err != nil {
		return nil, err
	}
	// From here on the message may arrive, and only the timeout ends the waiting.
	answers := w.box.expect()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), w.timeout)
	defer cancel()
	open := &vendors.Error{Vendor: w.name, Op: op, Kind: vendors.ErrUnavailable}
	lost := true // the connection, or our trust in it
	if err := w.conn.Write(ctx, websocket.MessageText, message); err != nil {
		open.Err = errLost
	} else {
		select {
		case d, ok := <-answers:
			if d.response != nil {
				return d.response, nil
			}
			noResponse(open, d, ok)
			lost = !ok
		case <-w.conn.gone:
			open.Err = w.conn.why
		case <-ctx.Done():
		}
	}
	if ctx.Err() != nil {
		open.Err = vendors.ErrTimeout
	}
	answer, ok := w.box.leave()
	if lost {
		w.drop()
	}
	if ok {
		return answer, nil
	}
	return nil, open
}

// noResponse says in an open outcome what came instead of the response: an error message, or
// too many others.
func noResponse(open *vendors.Error, d delivery, ok bool) {
	open.Kind, open.Err = vendors.ErrUnreadable, errTooManyOthers
	if ok {
		open.Err, open.Message = errComplaint, d.said
	}
}

// prepare returns with a connection and a slot to send on it at once. Its errors say that
// nothing was sent.
func (w *socketWire) prepare(ctx context.Context, op string) error {
	for range reconnects {
		if w.conn == nil || w.conn.isGone() {
			w.drop()
			if err := w.connect(ctx, op); err != nil {
				return err
			}
		}
		if w.box.wait(ctx, w.conn.gone) != nil {
			return &vendors.Error{Vendor: w.name, Op: op, Kind: vendors.ErrNotSent, Err: vendors.ErrStopped}
		}
		if err := w.transport.Wait(ctx, op); err != nil {
			return err
		}
		// The slot may have been long in coming.
		if !w.conn.isGone() {
			return nil
		}
	}
	return &vendors.Error{Vendor: w.name, Op: op, Kind: vendors.ErrNotSent, Err: errUnsteady}
}

// connect makes a handshake. Whatever comes of it, no message has left.
func (w *socketWire) connect(ctx context.Context, op string) error {
	conn, resp, err := websocket.Dial(ctx, w.place.String(), &websocket.DialOptions{
		HTTPClient: w.transport.HTTPClient(op), HTTPHeader: w.header.Clone(), CompressionMode: websocket.CompressionDisabled,
	})
	if err == nil {
		conn.SetReadLimit(maxMessage)
		w.conn = newSocket(conn, w.box)
		return nil
	}
	failed := &vendors.Error{Vendor: w.name, Op: op, Kind: vendors.ErrNotSent, Err: errNoSocket}
	if e := (*vendors.Error)(nil); errors.As(err, &e) { // of the transport
		*failed = *e
		failed.Kind = vendors.ErrNotSent
		return failed
	}
	if resp == nil || resp.StatusCode == http.StatusSwitchingProtocols {
		return failed
	}
	answer := transport.Fail(w.name, op, &vendors.Answer{Status: resp.StatusCode, Header: resp.Header})
	if answer.Kind != vendors.ErrAuth && answer.Kind != vendors.ErrRateLimited {
		// The place is wrong or out of order: no judgement of any request.
		answer.Kind = vendors.ErrNotSent
	}
	answer.Err = errHandshake
	return answer
}

func (w *socketWire) drop() {
	if w.conn != nil {
		w.conn.close()
		w.conn = nil
	}
}

// Close ends the connection.
func (w *socketWire) Close() error {
	w.drop()
	return nil
}

// socket is one connection. It is read all the time, for the other side's pings are
// answered, and its close is noticed, only while somebody reads.
type socket struct {
	*websocket.Conn
	stop context.CancelFunc
	gone chan struct{} // closed at the end of the connection
	why  error         // from then on
}

func newSocket(conn *websocket.Conn, box *mailbox) *socket {
	ctx, stop := context.WithCancel(context.Background())
	s := &socket{Conn: conn, stop: stop, gone: make(chan struct{})}
	go func() {
		defer close(s.gone)
		for {
			_, body, err := conn.Read(ctx)
			if err != nil {
				// What the other side gives as its reason may quote a value.
				s.why = errLost
				if status := websocket.CloseStatus(err); status != -1 {
					s.why = fmt.Errorf("the connection was closed (WebSocket status %d)", status)
				}
				return
			}
			box.deliver(body)
		}
	}()
	return s
}

func (s *socket) isGone() bool {
	select {
	case <-s.gone:
		return true
	default:
		return false
	}
}

func (s *socket) close() {
	s.stop()
	s.CloseNow()
	<-s.gone
}
