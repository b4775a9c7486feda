package vendors

import (
	"fmt"
	"io"
	"math"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unique"
)

// Duration is a time.Duration that reads Go's notation plus days: 30s, 6h, 45d, 1d12h.
type Duration time.Duration

// UnmarshalText implements encoding.TextUnmarshaler.
func (d *Duration) UnmarshalText(text []byte) error {
	v, err := ParseDuration(string(text))
	*d = Duration(v)
	return err
}

func (d Duration) String() string { return time.Duration(d).String() }

// ParseDuration reads a non-negative duration in Go's notation, in which a leading number
// of days (45d, 1d12h) may stand too.
func ParseDuration(text string) (time.Duration, error) {
	bad := fmt.Errorf("%q is not a duration such as 30s, 6h or 45d", text)
	var total time.Duration
	rest := strings.TrimSpace(text)
	if days, after, ok := strings.Cut(rest, "d"); ok {
		n, err := strconv.ParseFloat(days, 64)
		if err != nil || math.IsNaN(n) || n < 0 || n > 36500 {
			return 0, bad
		}
		total, rest = time.Duration(n*24*float64(time.Hour)), after
		if rest == "" {
			return total, nil
		}
	}
	v, err := time.ParseDuration(rest)
	if err != nil || v < 0 || total+v < total {
		return 0, bad
	}
	return total + v, nil
}

// Rate is how often requests may leave: a steady pace, a quota in any 24 hours, or both.
// It is written 5/s, 300/m, 18000/h, 10000/d or several with commas: "5/s, 10000/d".
type Rate struct {
	PerSecond float64 // 0: the kind's default pace
	PerDay    int64   // at most this many in any 24 hours; 0: no such limit
}

// UnmarshalText implements encoding.TextUnmarshaler. A pace that the text does not name
// keeps its former (default) value.
func (r *Rate) UnmarshalText(text []byte) error {
	bad := func(part string) error {
		return fmt.Errorf("%q is not a rate such as 5/s, 300/m or 10000/d", part)
	}
	var quota int64
	pace := math.Inf(1)
	for part := range strings.SplitSeq(string(text), ",") {
		part = strings.TrimSpace(part)
		count, unit, ok := strings.Cut(part, "/")
		n, err := strconv.ParseFloat(strings.TrimSpace(count), 64)
		if !ok || err != nil || !(n > 0) || n > 1e9 {
			return bad(part)
		}
		switch strings.TrimSpace(unit) {
		case "s":
			pace = min(pace, n)
		case "m":
			pace = min(pace, n/60)
		case "h":
			pace = min(pace, n/3600)
		case "d":
			if n != math.Trunc(n) {
				return bad(part)
			}
			if quota == 0 || int64(n) < quota {
				quota = int64(n)
			}
		default:
			return bad(part)
		}
	}
	if !math.IsInf(pace, 1) {
		r.PerSecond = pace
	}
	r.PerDay = quota
	return nil
}

func (r Rate) String() string {
	s := strconv.FormatFloat(r.PerSecond, 'g', 6, 64) + "/s"
	if r.PerDay > 0 {
		s += fmt.Sprintf(", %d/d", r.PerDay)
	}
	return s
}

// Secret is a credential. It prints as [secret] wherever it goes; Reveal gives its value.
//
// The value is behind a handle, for fmt calls no method on what it finds in an unexported
// field: a plain string there would be printed as it is.
type Secret struct{ value unique.Handle[string] }

// NewSecret wraps a value.
func NewSecret(value string) Secret {
	if value == "" {
		return Secret{}
	}
	return Secret{unique.Make(value)}
}

// Reveal returns the credential, for the one header or form that needs it.
func (s Secret) Reveal() string {
	if s.IsZero() {
		return ""
	}
	return s.value.Value()
}

// IsZero reports whether there is none.
func (s Secret) IsZero() bool { return s == Secret{} }

// UnmarshalText implements encoding.TextUnmarshaler.
func (s *Secret) UnmarshalText(text []byte) error { *s = NewSecret(string(text)); return nil }

// MarshalText keeps the value out of anything that is encoded.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

func (s Secret) String() string {
	if s.IsZero() {
		return ""
	}
	return "[secret]"
}

// Format keeps the value out of every verb.
func (s Secret) Format(f fmt.State, _ rune) { io.WriteString(f, s.String()) }

// ParseBaseURL reads a URL that a request may go to: https, or http where the host is a
// loopback address. Credentials, queries and fragments are refused. The returned error
// says what is wrong without quoting the URL.
func ParseBaseURL(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Host == "" || u.Hostname() == "":
		return nil, fmt.Errorf("is not a URL such as https://api.example.com")
	case u.User != nil:
		return nil, fmt.Errorf("must not hold a user name or password")
	case u.RawQuery != "" || u.Fragment != "":
		return nil, fmt.Errorf("must not have a query or a fragment")
	case u.Scheme == "https" || u.Scheme == "wss":
		return u, nil
	case (u.Scheme == "http" || u.Scheme == "ws") && IsLoopback(u.Hostname()):
		return u, nil
	}
	return nil, fmt.Errorf("must be https (plain http only to a loopback address): %w", ErrInsecure)
}

// IsLoopback reports whether host names this machine: localhost or a loopback address.
func IsLoopback(host string) bool {
	if host == "localhost" {
		return true
	}
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	a, err := netip.ParseAddr(host)
	return err == nil && a.IsLoopback()
}
