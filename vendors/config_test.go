package vendors

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

func TestParseDuration(t *testing.T) {
	day := 24 * time.Hour
	for text, want := range map[string]time.Duration{
		"30s": 30 * time.Second, "6h": 6 * time.Hour, "45d": 45 * day, "1d12h": 36 * time.Hour, "1.5d": 36 * time.Hour,
		"0s": 0, "0d": 0, " 10m ": 10 * time.Minute, "1d0s": day, "36500d": 36500 * day, "0": 0,
	} {
		if got, err := ParseDuration(text); err != nil || got != want {
			t.Errorf("%q: %v %v, want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "d", "-1s", "-1d", "1d-2h", "5", "5 apples", "NaNd", "Infd", "1e9d", "36501d", "1d2d", "9999999999h", "36500d2562047h"} {
		if got, err := ParseDuration(text); err == nil || got != 0 {
			t.Errorf("%q: %v", text, got)
		} else if !strings.Contains(err.Error(), "45d") {
			t.Errorf("%q: the error shows no example: %v", text, err)
		}
	}
	var d Duration
	if err := d.UnmarshalText([]byte("2d")); err != nil || d.String() != "48h0m0s" {
		t.Errorf("%v %v", d, err)
	}
}

func TestRate(t *testing.T) {
	for text, want := range map[string]Rate{
		"5/s": {5, 0}, "300/m": {5, 0}, "18000/h": {5, 0}, "0.5/s": {0.5, 0}, "10000/d": {2, 10000}, // a quota keeps the default pace
		"5/s, 10000/d": {5, 10000}, "10/s,300/m": {5, 0}, "20000/d,10000/d": {2, 10000}, " 5 / s ": {5, 0},
	} {
		r := Rate{PerSecond: 2, PerDay: 77}
		if err := r.UnmarshalText([]byte(text)); err != nil || r != want {
			t.Errorf("%q: %+v %v, want %+v", text, r, err, want)
		}
	}
	for _, text := range []string{"", "5", "/s", "5/", "0/s", "-1/s", "NaN/s", "Inf/s", "5/w", "1.5/d", "5/s,", "1e10/s", "five/s"} {
		r := Rate{PerSecond: 2}
		if err := r.UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q: %+v", text, r)
		} else if r.PerSecond != 2 {
			t.Errorf("%q changed the rate to %+v", text, r)
		}
	}
	if got := (Rate{5, 10000}).String() + " " + (Rate{PerSecond: 0.5}).String(); got != "5/s, 10000/d 0.5/s" {
		t.Error(got)
	}
	for perSecond, want := range map[float64]int{0.1: 1, 5: 1, 50: 1, 100: 2, 250: 5, 2000: 40} {
		if got := DefaultBurst(Rate{PerSecond: perSecond}); got != want {
			t.Errorf("burst at %v/s: %d, want %d", perSecond, got, want)
		}
	}
}

// TestSecret: a credential shows itself to Reveal only.
func TestSecret(t *testing.T) {
	const value = "s3cr3t-value"
	s := NewSecret(value)
	if s.Reveal() != value || s.IsZero() || !NewSecret("").IsZero() {
		t.Error("Reveal")
	}
	holder := struct{ Key Secret }{s}
	b, err := json.Marshal(holder)
	if err != nil {
		t.Fatal(err)
	}
	out := string(b)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		out += fmt.Sprintf(verb, s) + fmt.Sprintf(verb, holder) + fmt.Sprintf(verb, &holder)
	}
	if strings.Contains(out, value) || strings.Contains(out, fmt.Sprintf("%x", value)) || !strings.Contains(out, "[secret]") {
		t.Error(out)
	}
	var read Secret
	if err := read.UnmarshalText([]byte(value)); err != nil || read != s {
		t.Error("it cannot be read from a file")
	}
}

// TestParseBaseURL: https anywhere, http on this machine, nothing else; and no error shows
// the URL, which may hold a password.
func TestParseBaseURL(t *testing.T) {
	for _, text := range []string{"https://api.example.com", "https://api.example.com:8443/v1/", "wss://bus.example.com", "http://127.0.0.1:8080",
		"http://localhost", "http://[::1]:80", "ws://127.9.9.9/x"} {
		if _, err := ParseBaseURL(text); err != nil {
			t.Errorf("%s: %v", text, err)
		}
	}
	for text, insecure := range map[string]bool{
		"http://api.example.com": true, "ws://api.example.com": true, "http://127.0.0.1.example.com": true, "http://localhost.example.com": true,
		"ftp://api.example.com": true, "http://0.0.0.0": true, "http://10.0.0.1": true,
		"https://user:pass-word@api.example.com": false, "https://api.example.com/?key=pass-word": false, "https://api.example.com/#pass-word": false,
		"https://": false, "https://:443": false, "api.example.com": false, "": false, "https://pass-word\x7f": false, "/path": false,
	} {
		_, err := ParseBaseURL(text)
		if err == nil || errors.Is(err, ErrInsecure) != insecure {
			t.Errorf("%s: %v", text, err)
		}
		if err != nil && (strings.Contains(err.Error(), "pass-word") || strings.Contains(err.Error(), "10.0.0.1")) {
			t.Errorf("%s: the error shows it: %v", text, err)
		}
	}
	var key *KeyError
	if _, err := HTTPBase("base_url", "wss://bus.example.com"); !errors.As(err, &key) || key.Key != "base_url" {
		t.Errorf("a WebSocket where HTTP is spoken: %v", err)
	}
	if _, err := HTTPBase("base_url", "http://api.example.com"); !errors.As(err, &key) {
		t.Errorf("plain http: %v", err)
	}
	if u, err := HTTPBase("base_url", "https://api.example.com/x"); err != nil || u.Path != "/x" {
		t.Errorf("%v %v", u, err)
	}
	for host, want := range map[string]bool{"localhost": true, "127.0.0.1": true, "::1": true, "127.0.0.1:80": true, "[::1]:80": true, "0.0.0.0": false, "": false, "example.com": false} {
		if IsLoopback(host) != want {
			t.Errorf("%q: %v", host, !want)
		}
	}
}

// TestLoose: a number and a string of one value are one; what is neither does not decode.
func TestLoose(t *testing.T) {
	for text, want := range map[string]Loose{`"12"`: "12", `12`: "12", `-1.50`: "-1.50", `null`: "", `""`: "", `"å\u0041"`: "åA", ` 7 `: "7", `12345678901234567890`: "12345678901234567890"} {
		var l Loose
		if err := json.Unmarshal([]byte(text), &l); err != nil || l != want {
			t.Errorf("%s: %q %v", text, l, err)
		}
	}
	for _, text := range []string{`true`, `{}`, `[]`, `[1]`} {
		var l Loose
		if err := json.Unmarshal([]byte(text), &l); err == nil {
			t.Errorf("%s: %q", text, l)
		}
	}
	if err := new(Loose).UnmarshalJSON(nil); err == nil {
		t.Error("nothing is a value")
	}
}

func TestPlainToken(t *testing.T) {
	for text, want := range map[string]bool{"abc-1": true, "": false, "a b": false, "a\n": false, "å": false, "1234567890": true, "12345678901": false, "\x7f": false} {
		if PlainToken(text, 10) != want {
			t.Errorf("%q: %v", text, !want)
		}
	}
}

// An id that is kept and shown must not be a person's, nor the vendor's word for a failure.
func TestPlainRequestID(t *testing.T) {
	s := Subject{{Field: Email, Text: "r2d2@example.com"}, {Field: Telephone, Text: "+46 70 174"}, {Field: AccountNumber, Text: "934|1"}}
	for id, want := range map[string]bool{"10089": true, "REQ-7": true, "": false, "0": false, "-1": false, "accepted": false, "10 089": false,
		strings.Repeat("1", 64): true, strings.Repeat("1", 65): false, "r2d2@example.com": false, "4670174": false, "934|1": false, "934|2": true} {
		if PlainRequestID(id, s) != want {
			t.Errorf("%q: %v", id, !want)
		}
	}
}

// TestErrors: every kind is told apart, its cause too, and the vendor's own words, which
// may quote an identifier, are not in the text.
func TestErrors(t *testing.T) {
	kinds := []error{ErrNotSent, ErrRateLimited, ErrAuth, ErrRefused, ErrUnavailable, ErrUnreadable}
	harmless := map[error]bool{ErrNotSent: true, ErrRateLimited: true, ErrAuth: true, ErrRefused: true}
	for _, kind := range kinds {
		err := fmt.Errorf("more: %w", &Error{Vendor: "cg", Op: "submit", Kind: kind, Status: 503, Err: ErrTimeout, Message: "anna@example.com is unknown"})
		for _, other := range kinds {
			if errors.Is(err, other) != (kind == other) {
				t.Errorf("%v is %v", kind, other)
			}
		}
		if !errors.Is(err, ErrTimeout) || errors.Is(err, ErrStopped) {
			t.Errorf("%v: its cause", kind)
		}
		if Harmless(err) != harmless[kind] {
			t.Errorf("%v: harmless %v", kind, !harmless[kind])
		}
		if strings.Contains(err.Error(), "anna") || !strings.Contains(err.Error(), "cg: submit: "+kind.Error()+" (HTTP 503): timed out") {
			t.Errorf("its text: %v", err)
		}
	}
	if bare := (&Error{Vendor: "cg", Op: "poll", Kind: ErrAuth}); bare.Error() != "cg: poll: the vendor refused our credentials" || errors.Is(bare, ErrTimeout) {
		t.Error(bare)
	}
	if Harmless(errors.New("anything else")) || Harmless(nil) {
		t.Error("what we do not know is not harmless")
	}
	if got := (&KeyError{Key: "region", Problem: "is missing"}).Error(); got != "region is missing" {
		t.Error(got)
	}
	c := DefaultCommon("x")
	if c.Shared() != &c || c.Kind != "x" || c.Rate.PerSecond != 5 || c.MaxAttempts != 8 || c.Concurrency != 4 ||
		time.Duration(c.Timeout) != 30*time.Second || time.Duration(c.RetryBase) != 2*time.Second || time.Duration(c.RetryCap) != time.Hour {
		t.Errorf("the defaults of DESIGN.md: %+v", c)
	}
}

// TestOffline: a vendor that is opened to tell what it is cannot call anybody.
func TestOffline(t *testing.T) {
	req, err := http.NewRequest(http.MethodGet, "http://127.0.0.1:1", nil)
	if err != nil {
		t.Fatal(err)
	}
	var o Offline
	_, do := o.Do(t.Context(), "op", req)
	_, stream := o.Stream(t.Context(), "op", req, io.Discard, 1)
	_, client := o.HTTPClient("op").Do(req)
	for name, err := range map[string]error{"do": do, "stream": stream, "wait": o.Wait(t.Context(), "op"), "client": client} {
		if !errors.Is(err, ErrNotSent) || !errors.Is(err, ErrStopped) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
