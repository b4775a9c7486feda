package vendortest

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"expunge/vendors"
	"expunge/vendors/transport"
)

// Transport is the program's own transport without pacing. It counts what passes, so that
// a test can tell a request that went around it.
type Transport struct {
	*transport.Transport
	timeout time.Duration
	passed  atomic.Int64
}

var _ vendors.Transport = (*Transport)(nil)

// NewTransport returns a transport that lasts as long as the test. A timeout of 0 is one
// that no test should reach.
func NewTransport(t testing.TB, vendor string, timeout time.Duration) *Transport {
	tr := &Transport{timeout: timeout, Transport: transport.New(transport.Options{Vendor: vendor, Timeout: timeout, Concurrency: 16})}
	t.Cleanup(tr.Close)
	return tr
}

// Timeout is what NewTransport was given, for vendors that time messages themselves.
func (tr *Transport) Timeout() time.Duration {
	if tr.timeout == 0 {
		return time.Minute
	}
	return tr.timeout
}

// Passed is how many requests went through the transport, and messages for which it gave
// a slot.
func (tr *Transport) Passed() int { return int(tr.passed.Load()) }

// Do implements vendors.Transport.
func (tr *Transport) Do(ctx context.Context, op string, req *http.Request) (*vendors.Answer, error) {
	tr.passed.Add(1)
	return tr.Transport.Do(ctx, op, req)
}

// Stream implements vendors.Transport.
func (tr *Transport) Stream(ctx context.Context, op string, req *http.Request, w io.Writer, limit int64) (*vendors.Answer, error) {
	tr.passed.Add(1)
	return tr.Transport.Stream(ctx, op, req, w, limit)
}

// Wait implements vendors.Transport.
func (tr *Transport) Wait(ctx context.Context, op string) error {
	err := tr.Transport.Wait(ctx, op)
	if err == nil {
		tr.passed.Add(1)
	}
	return err
}

// HTTPClient implements vendors.Transport.
func (tr *Transport) HTTPClient(op string) *http.Client {
	client := tr.Transport.HTTPClient(op)
	next := client.Transport
	client.Transport = roundTrip(func(req *http.Request) (*http.Response, error) {
		tr.passed.Add(1)
		return next.RoundTrip(req)
	})
	return client
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

// Canned is a transport that answers every request with one answer and reaches nobody. It
// serves fuzz targets, which would drown in connections.
type Canned struct {
	Answer vendors.Answer
}

var _ vendors.Transport = Canned{}

// Do implements vendors.Transport.
func (c Canned) Do(context.Context, string, *http.Request) (*vendors.Answer, error) {
	a := c.Answer
	if a.Header == nil {
		a.Header = http.Header{"Content-Type": {"application/json"}}
	}
	return &a, nil
}

// Stream implements vendors.Transport.
func (c Canned) Stream(ctx context.Context, op string, req *http.Request, w io.Writer, limit int64) (*vendors.Answer, error) {
	a, err := c.Do(ctx, op, req)
	if err != nil || a.Status > 299 {
		return a, err
	}
	body := a.Body
	a.Body = nil
	if int64(len(body)) > limit {
		return nil, &vendors.Error{Vendor: "canned", Op: op, Kind: vendors.ErrUnreadable, Err: vendors.ErrTooLarge}
	}
	_, err = w.Write(body)
	return a, err
}

// Wait implements vendors.Transport.
func (c Canned) Wait(context.Context, string) error { return nil }

// HTTPClient implements vendors.Transport.
func (c Canned) HTTPClient(string) *http.Client {
	return &http.Client{Transport: roundTrip(func(req *http.Request) (*http.Response, error) {
		return &http.Response{
			StatusCode: c.Answer.Status, Header: http.Header{}, Request: req,
			Body: io.NopCloser(bytes.NewReader(c.Answer.Body)), ProtoMajor: 1, ProtoMinor: 1,
		}, nil
	})}
}
