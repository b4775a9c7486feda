package transport

import (
	"io"
	"net"
	"testing"
)

// TestAlertIsNoRequest: what TLS writes as it closes a connection, between a departure and
// the request's own first bytes, does not count as the request: that one has not left, and
// may go on another connection.
func TestAlertIsNoRequest(t *testing.T) {
	here, there := net.Pipe()
	defer here.Close()
	defer there.Close()
	go io.Copy(io.Discard, there)
	c := &conn{Conn: here}
	f := newFlight(t.Context(), New(Options{Vendor: "v"}))
	c.next.Store(f)
	for _, tt := range []struct {
		bytes string
		wrote bool
	}{{"\x15\x03\x03\x00\x02\x01\x00", false}, {"\x17\x03\x03", true}} {
		if _, err := c.Write([]byte(tt.bytes)); err != nil {
			t.Fatal(err)
		}
		if f.wrote.Load() != tt.wrote {
			t.Errorf("after %q: counts as written: %v", tt.bytes, !tt.wrote)
		}
	}
}
