package vendors

import (
	"context"
	"io"
	"net/http"
)

// Offline is a Transport through which nothing leaves. A vendor that is opened with it says
// what it is (Traits, Identifiers, Exports); each of its calls is an ErrNotSent.
type Offline struct{}

func (Offline) sent(op string) error { return &Error{Op: op, Kind: ErrNotSent, Err: ErrStopped} }

// Do implements Transport.
func (o Offline) Do(_ context.Context, op string, _ *http.Request) (*Answer, error) {
	return nil, o.sent(op)
}

// Stream implements Transport.
func (o Offline) Stream(_ context.Context, op string, _ *http.Request, _ io.Writer, _ int64) (*Answer, error) {
	return nil, o.sent(op)
}

// Wait implements Transport.
func (o Offline) Wait(_ context.Context, op string) error { return o.sent(op) }

// HTTPClient implements Transport.
func (o Offline) HTTPClient(op string) *http.Client { return &http.Client{Transport: offline(op)} }

type offline string

func (op offline) RoundTrip(*http.Request) (*http.Response, error) {
	return nil, Offline{}.sent(string(op))
}

var _ Transport = Offline{}
