package transport

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"expunge/vendors"
)

var retryAfterNow = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// A misread header would hammer a vendor that asks for rest, or stop the work for good.
func TestParseRetryAfter(t *testing.T) {
	for _, tt := range []struct {
		in   string
		want time.Duration
		ok   bool
	}{
		{"", 0, false},
		{"0", 0, true},
		{"120", 2 * time.Minute, true},
		{" 120 ", 2 * time.Minute, true},
		{"-5", 0, true},
		{"99999999999999999999999", maxRetryAfter, true},
		{"-99999999999999999999999", 0, true},
		{"2592001", maxRetryAfter, true},
		{"1772366700", 5 * time.Minute, true}, // Unix times
		{"1772366100", 0, true},
		{"1764064800", 0, true},
		{"1000000000", 0, true},
		{"999999999", maxRetryAfter, true}, // of no use as a time
		{"1774958400", maxRetryAfter, true},
		{"1774958401", maxRetryAfter, true},
		{"9999999999", maxRetryAfter, true},
		{"1772366700000", maxRetryAfter, true},
		{"1.5", 0, false},
		{"1e3", 0, false},
		{"+5", 0, false},
		{"-", 0, false},
		{"soon", 0, false},
		{"Sun, 01 Mar 2026 12:01:00 GMT", time.Minute, true},
		{"Sunday, 01-Mar-26 12:01:00 GMT", time.Minute, true}, // RFC 850
		{"Sun Mar  1 12:01:00 2026", time.Minute, true},       // asctime
		{"Sun, 01 Mar 2026 11:00:00 GMT", 0, true},            // past
		{"Fri, 31 Dec 9999 23:59:59 GMT", maxRetryAfter, true},
	} {
		got, ok := ParseRetryAfter(tt.in, retryAfterNow)
		if got != tt.want || ok != tt.ok {
			t.Errorf("%q: %v %v, want %v %v", tt.in, got, ok, tt.want, tt.ok)
		}
	}
}

func FuzzParseRetryAfter(f *testing.F) {
	for _, s := range []string{"", "0", "120", "-1", "99999999999999999999", "Sun, 01 Mar 2026 12:01:00 GMT", "-", "\x00"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		d, ok := ParseRetryAfter(s, retryAfterNow)
		if d < 0 || d > maxRetryAfter || !ok && d != 0 {
			t.Errorf("%q: %v %v", s, d, ok)
		}
	})
}

// A wrong kind would repeat what does harm, or give up on what would work.
func TestFail(t *testing.T) {
	for status, want := range map[int]error{
		401: vendors.ErrAuth, 403: vendors.ErrAuth, 429: vendors.ErrRateLimited,
		408: vendors.ErrUnavailable, 500: vendors.ErrUnavailable, 503: vendors.ErrUnavailable, 599: vendors.ErrUnavailable,
		409: vendors.ErrUnavailable, 423: vendors.ErrUnavailable, 425: vendors.ErrUnavailable, // a state that passes
		404: vendors.ErrAddress, 405: vendors.ErrAddress, 410: vendors.ErrAddress, 415: vendors.ErrAddress, 501: vendors.ErrAddress,
		400: vendors.ErrRefused, 402: vendors.ErrRefused, 406: vendors.ErrRefused, 422: vendors.ErrRefused,
		200: vendors.ErrUnreadable, 302: vendors.ErrUnreadable,
	} {
		err := Fail("acme", "submit", &vendors.Answer{
			Status: status, Header: http.Header{"Retry-After": {"7"}}, Body: []byte(secretEmail),
		})
		wantError(t, err, want)
		if err.Status != status || err.RetryAfter != 7*time.Second || err.Vendor != "acme" || err.Op != "submit" {
			t.Errorf("%d: %#v", status, err)
		}
	}
}

// What is not exactly one JSON value of the right form must not pass for an answer.
func TestDecodeJSON(t *testing.T) {
	type answer struct {
		Total int               `json:"total"`
		Items []string          `json:"items"`
		At    time.Time         `json:"at"`
		Deep  map[string]answer `json:"deep"`
	}
	for _, tt := range []struct {
		name, body string
		ok         bool
	}{
		{"good", `{"total":3,"items":["a"],"new":{"x":1}}`, true},
		{"byte order mark and spaces", "\ufeff \r\n{\"total\":3}\n", true},
		{"empty", "", false},
		{"spaces", " \n", false},
		{"null", "null", false},
		{"HTML", "<!DOCTYPE html><p>" + secretEmail, false},
		{"cut", `{"total":3,"items":["` + secretEmail, false},
		{"two values", `{"total":3}{"total":4}`, false},
		{"garbage behind", `{"total":3} ` + secretEmail, false},
		{"not UTF-8", "{\"total\":3,\"items\":[\"\xff\"]}", false},
		{"another form", `["` + secretEmail + `"]`, false},
		{"another type", `{"total":"` + secretEmail + `"}`, false},
		{"number too large", `{"total":12025550123120255501231202555}`, false},
		{"bad time", `{"at":"` + secretEmail + `"}`, false},
		{"bad inside a map", `{"deep":{"` + secretEmail + `":{"total":"x"}}}`, false},
		{"deep", strings.Repeat("[", 100_000), false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var got answer
			err := DecodeJSON("acme", "preview", &vendors.Answer{Status: 200, Body: []byte(tt.body)}, &got)
			if tt.ok {
				if err != nil || got.Total != 3 {
					t.Errorf("got %+v, %v", got, err)
				}
				return
			}
			wantError(t, err, vendors.ErrUnreadable)
			if e := (*vendors.Error)(nil); errors.As(err, &e) && e.Status != 200 {
				t.Errorf("status %d", e.Status)
			}
			if err != nil && strings.Contains(err.Error(), "1202555") {
				t.Errorf("%v quotes the value", err)
			}
		})
	}
}
