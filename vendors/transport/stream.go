package transport

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"time"

	"expunge/vendors"
)

// sink takes the body of an answer that is too large to be held in memory.
type sink struct {
	w     io.Writer
	limit int64
	n     int64
}

func (s *sink) written() int64 {
	if s == nil {
		return 0
	}
	return s.n
}

// streamBuffer is how much of a streamed answer is in memory at a time.
const streamBuffer = 64 << 10

// Stream implements vendors.Transport. Up to the answer's header it does what Do does. After
// that, each wait for more of the body may take Options.Timeout, and the whole body
// Options.StreamTime; the time that w takes to write does not count. As with every request
// that has left, the end of ctx does not cut the answer short: a result that can be fetched
// once may not be there a second time.
func (t *Transport) Stream(ctx context.Context, op string, req *http.Request, w io.Writer, limit int64) (*vendors.Answer, error) {
	answer, _, err := t.do(ctx, op, req, &sink{w: w, limit: limit}, false)
	return answer, err
}

// stream hands the body over as it comes. The answer that it returns has none.
func (f *flight) stream(resp *http.Response) (*vendors.Answer, error) {
	tooLarge := &vendors.Error{Kind: vendors.ErrUnreadable, Err: vendors.ErrTooLarge}
	timedOut := &vendors.Error{Kind: vendors.ErrUnavailable, Err: vendors.ErrTimeout}
	if resp.ContentLength > f.sink.limit {
		f.cancel()
		return nil, tooLarge
	}
	buf := make([]byte, streamBuffer)
	for {
		if !f.keepWaiting() {
			return nil, timedOut
		}
		n, err := resp.Body.Read(buf)
		// The clock stands still while our side writes. Bytes that are here are not given
		// away because it ran out just now: they may not be there a second time.
		if !f.release() && err != io.EOF {
			return nil, timedOut
		}
		if f.sink.n += int64(n); f.sink.n > f.sink.limit {
			f.cancel()
			return nil, tooLarge
		}
		if n > 0 {
			if _, err := f.sink.w.Write(buf[:n]); err != nil {
				f.cancel()
				return nil, &vendors.Error{Kind: vendors.ErrUnreadable, Err: fmt.Errorf("keeping the answer: %w", err)}
			}
		}
		switch {
		case err == io.EOF:
			return &vendors.Answer{Status: resp.StatusCode, Header: resp.Header}, nil
		case err != nil:
			return nil, &vendors.Error{Kind: vendors.ErrUnavailable, Err: cause(err)}
		}
	}
}

// keepWaiting gives the next bytes their time. It reports whether any is left.
func (f *flight) keepWaiting() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	left := f.t.o.StreamTime - time.Since(f.since)
	if left <= 0 || f.late.Load() {
		f.cancel()
		return false
	}
	f.timer.Reset(min(left, f.t.o.Timeout))
	return true
}
