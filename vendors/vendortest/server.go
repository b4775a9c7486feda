package vendortest

import (
	"bytes"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Request is what arrived at a Server.
type Request struct {
	Method, Path, Query string
	Header              http.Header
	Body                string
}

// Changes reports whether the request may change data at a vendor: anything that is not
// a plain read.
func (r Request) Changes() bool { return r.Method != http.MethodGet && r.Method != http.MethodHead }

// Text is the request in the form of the golden files: the request line, those of the
// named headers that it has, and its body.
func (r Request) Text(headers ...string) string {
	var b strings.Builder
	line := r.Method + " " + r.Path
	if r.Query != "" {
		line += "?" + r.Query
	}
	fmt.Fprintln(&b, line)
	for _, h := range slices.Sorted(slices.Values(headers)) {
		for _, v := range r.Header.Values(h) {
			fmt.Fprintf(&b, "%s: %s\n", h, v)
		}
	}
	if r.Body != "" {
		fmt.Fprintf(&b, "\n%s\n", r.Body)
	}
	return b.String()
}

// Server records what arrives on loopback and hands it to a handler.
type Server struct {
	URL string

	mu      sync.Mutex
	got     []Request
	handler http.Handler
}

// NewServer starts a server that ends with the test.
func NewServer(t testing.TB, handler http.Handler) *Server {
	s := &Server{handler: handler}
	srv := httptest.NewServer(http.HandlerFunc(s.serve))
	t.Cleanup(srv.Close)
	s.URL = srv.URL
	return s
}

func (s *Server) serve(w http.ResponseWriter, req *http.Request) {
	body, _ := io.ReadAll(req.Body)
	s.mu.Lock()
	s.got = append(s.got, Request{req.Method, req.URL.Path, req.URL.RawQuery, req.Header, string(body)})
	s.mu.Unlock()
	req.Body = io.NopCloser(bytes.NewReader(body))
	s.handler.ServeHTTP(w, req)
}

// Got returns what arrived so far and forgets it.
func (s *Server) Got() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	got := s.got
	s.got = nil
	return got
}

// Reply is a handler that gives one answer.
func Reply(status int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, req *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		io.WriteString(w, body)
	}
}

var update = flag.Bool("update", false, "write the golden requests anew")

// Wire reads a recorded answer from testdata/wire of this module, for a test of a package
// two folders below its root.
func Wire(t testing.TB, name string) string {
	t.Helper()
	b, err := os.ReadFile(wirePath(name))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// Golden compares a request with the golden file of the given name in testdata/wire.
func Golden(t testing.TB, name string, r Request, headers ...string) {
	t.Helper()
	got := r.Text(headers...)
	if *update {
		if err := os.WriteFile(wirePath(name), []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(Wire(t, name), got); diff != "" {
		t.Errorf("request differs from %s (-golden +sent):\n%s", name, diff)
	}
}

func wirePath(name string) string {
	return filepath.Join("..", "..", "testdata", "wire", filepath.FromSlash(name))
}
