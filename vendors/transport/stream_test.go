package transport

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"runtime"
	"strconv"
	"testing"
	"time"

	"expunge/vendors"
)

// A streamed answer reaches the writer byte for byte, and only there; what is not 2xx is an
// ordinary answer, so that a refusal can be read and is never kept as content.
func TestStream(t *testing.T) {
	for _, status := range []int{200, 206, 400, 403, 404, 500} {
		s := serve(t, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("X-Here", "yes")
			w.WriteHeader(status)
			w.Write(bytes.Repeat([]byte("0123456789"), 20_000))
		})
		var kept bytes.Buffer
		a, err := newTransport(t, Options{}).Stream(t.Context(), "export", request(t, "GET", s.URL), &kept, 200_000)
		if err != nil {
			t.Fatal(err)
		}
		inAnswer, inWriter := len(a.Body), kept.Len()
		if status > 299 {
			inAnswer, inWriter = inWriter, inAnswer
		}
		if inAnswer != 0 || inWriter != 200_000 || a.Status != status || a.Header.Get("X-Here") != "yes" {
			t.Errorf("%d: %d bytes in the answer, %d in the writer: %+v", status, len(a.Body), kept.Len(), a.Header)
		}
	}
}

// A stream larger than its limit, one that ends early, a redirect and a writer that fails
// are errors of the kinds that callers decide by, and hold nothing of the answer.
func TestStreamErrors(t *testing.T) {
	full := errors.New("no space left")
	length := func(n int) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", strconv.Itoa(n))
			w.Write([]byte(secretEmail))
		}
	}
	for _, test := range []struct {
		name  string
		h     http.HandlerFunc
		w     io.Writer
		kinds []error
	}{
		{"announced too large", length(101), io.Discard, []error{vendors.ErrUnreadable, vendors.ErrTooLarge}},
		{"too large", func(w http.ResponseWriter, r *http.Request) {
			w.(http.Flusher).Flush()
			w.Write(make([]byte, 101))
		}, io.Discard, []error{vendors.ErrUnreadable, vendors.ErrTooLarge}},
		{"cut short", length(100), io.Discard, []error{vendors.ErrUnavailable}},
		{"cut short without a length", func(w http.ResponseWriter, r *http.Request) {
			io.WriteString(w, secretEmail)
			w.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		}, io.Discard, []error{vendors.ErrUnavailable}},
		{"redirect", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/", http.StatusFound) }, io.Discard,
			[]error{vendors.ErrUnreadable, vendors.ErrRedirect}},
		{"the disk is full", length(len(secretEmail)), failWriter{full}, []error{vendors.ErrUnreadable, full}},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := serve(t, test.h)
			a, err := newTransport(t, Options{}).Stream(t.Context(), "export", request(t, "GET", s.URL), test.w, 100)
			wantError(t, err, test.kinds...)
			if a != nil {
				t.Errorf("an answer beside the error: %+v", a)
			}
		})
	}
}

type failWriter struct{ err error }

func (w failWriter) Write([]byte) (int, error) { return 0, w.err }

// A stream may last longer than the timeout as long as bytes come; silence ends it, and so
// does its own limit. The time that the writer takes is not the vendor's.
func TestStreamTime(t *testing.T) {
	drip := func(every time.Duration, times int) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			for range times {
				w.Write([]byte("x"))
				w.(http.Flusher).Flush()
				select {
				case <-r.Context().Done():
					return
				case <-time.After(every):
				}
			}
		}
	}
	for _, test := range []struct {
		name string
		h    http.HandlerFunc
		o    Options
		w    io.Writer
		ok   bool
	}{
		// Longer as a whole than the timeout, and each pause far shorter: a machine that is
		// busy elsewhere for seconds does not fail it.
		{"steady", drip(200*time.Millisecond, 20), Options{Timeout: 3 * time.Second}, io.Discard, true},
		{"silent", drip(5*time.Second, 2), Options{Timeout: 300 * time.Millisecond}, io.Discard, false},
		{"without end", drip(50*time.Millisecond, 1000), Options{Timeout: 300 * time.Millisecond, StreamTime: 600 * time.Millisecond}, io.Discard, false},
		{"slow disk", drip(0, 1), Options{Timeout: 2 * time.Second}, slowWriter{3 * time.Second}, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			began := time.Now()
			_, err := newTransport(t, test.o).Stream(t.Context(), "export", request(t, "GET", serve(t, test.h).URL), test.w, 1<<20)
			if test.ok && err != nil {
				t.Fatal(err)
			}
			if !test.ok {
				wantError(t, err, vendors.ErrUnavailable, vendors.ErrTimeout)
			}
			if d := time.Since(began); !test.ok && d > 4*time.Second {
				t.Errorf("took %v", d)
			}
		})
	}
}

type slowWriter struct{ d time.Duration }

func (w slowWriter) Write(p []byte) (int, error) {
	time.Sleep(w.d)
	return len(p), nil
}

// The end of the run does not cut a stream that has begun: what is fetched may be gone at
// the vendor. One that has not left never does.
func TestStreamCancel(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Write([]byte("first"))
		w.(http.Flusher).Flush()
		cancel()
		w.Write([]byte("second"))
	})
	tr := newTransport(t, Options{})
	var kept bytes.Buffer
	if _, err := tr.Stream(ctx, "export", request(t, "GET", s.URL), &kept, 100); err != nil || kept.String() != "firstsecond" {
		t.Errorf("%q, %v", kept.String(), err)
	}
	_, err := tr.Stream(ctx, "export", request(t, "GET", s.URL), &kept, 100)
	wantError(t, err, vendors.ErrNotSent, vendors.ErrStopped)
}

// Memory does not grow with the answer.
func TestStreamMemory(t *testing.T) {
	const size = 256 << 20
	s := serve(t, func(w http.ResponseWriter, r *http.Request) { io.CopyN(w, zeros{}, size) })
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err := newTransport(t, Options{}).Stream(t.Context(), "export", request(t, "GET", s.URL), io.Discard, size)
	runtime.ReadMemStats(&after)
	if n := after.TotalAlloc - before.TotalAlloc; err != nil || n > 16<<20 {
		t.Errorf("allocated %d MiB, %v", n>>20, err)
	}
}
