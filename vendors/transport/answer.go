package transport

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"expunge/vendors"
)

// maxRetryAfter bounds what a vendor can make us wait: beyond it, a person should look.
const maxRetryAfter = 30 * 24 * time.Hour

// unixTimes is where numbers of seconds begin that are rather a time since 1970 than a time
// from now, which would be 30 years.
const unixTimes = 1e9

// ParseRetryAfter reads a Retry-After header (RFC 9110, section 10.2.3): seconds, or an
// HTTP date, which is compared with now. A number that is plausible as a Unix time, one that
// is not further ahead than the bound, is a time too. The result is between 0 and 30 days; ok
// is false where the header is absent or none of these.
func ParseRetryAfter(h string, now time.Time) (d time.Duration, ok bool) {
	h = strings.TrimSpace(h)
	if digits(strings.TrimPrefix(h, "-")) {
		n, err := strconv.ParseInt(h, 10, 64)
		switch {
		case h[0] == '-':
			return 0, true
		case err == nil && n >= unixTimes && n <= now.Add(maxRetryAfter).Unix():
			return max(0, time.Unix(n, 0).Sub(now)), true
		case err != nil || n > int64(maxRetryAfter/time.Second):
			return maxRetryAfter, true
		}
		return time.Duration(n) * time.Second, true
	}
	at, err := http.ParseTime(h)
	if err != nil {
		return 0, false
	}
	return min(max(0, at.Sub(now)), maxRetryAfter), true
}

func digits(s string) bool {
	return s != "" && strings.Trim(s, "0123456789") == ""
}

// retryAfter reads the Retry-After of an answer. A date is compared with the vendor's own
// clock where the answer tells it: ours may be wrong.
func retryAfter(h http.Header, now time.Time) (time.Duration, bool) {
	if theirs, err := http.ParseTime(h.Get("Date")); err == nil {
		now = theirs
	}
	return ParseRetryAfter(h.Get("Retry-After"), now)
}

// Fail is the usual meaning of an answer that is not 2xx: 401 and 403 ErrAuth, 429
// ErrRateLimited; 404, 405, 410, 415 and 501, which speak of the address, ErrAddress; 408,
// 409, 423, 425 and the other 5xx ErrUnavailable; the other 4xx ErrRefused. Anything else is
// ErrUnreadable. The vendor's own text is not taken over: the adapter knows where it
// stands.
func Fail(vendor, op string, a *vendors.Answer) *vendors.Error {
	e := &vendors.Error{Vendor: vendor, Op: op, Status: a.Status}
	switch {
	case a.Status == http.StatusUnauthorized, a.Status == http.StatusForbidden:
		e.Kind = vendors.ErrAuth
	case a.Status == http.StatusTooManyRequests:
		e.Kind = vendors.ErrRateLimited
	case slices.Contains(ofTheAddress, a.Status):
		e.Kind = vendors.ErrAddress
	case a.Status >= 500, slices.Contains(passing, a.Status):
		e.Kind = vendors.ErrUnavailable
	case a.Status >= 400:
		e.Kind = vendors.ErrRefused
	default:
		e.Kind = vendors.ErrUnreadable
	}
	e.RetryAfter, _ = retryAfter(a.Header, time.Now())
	return e
}

var (
	// ofTheAddress are the statuses that say that the API is not here, whoever is asked about.
	ofTheAddress = []int{
		http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusGone, http.StatusUnsupportedMediaType, http.StatusNotImplemented,
	}

	// passing are the 4xx statuses of a state that passes: nothing is wrong with the request.
	passing = []int{http.StatusRequestTimeout, http.StatusConflict, http.StatusLocked, http.StatusTooEarly}
)

// DecodeJSON reads an answer's body into a value. The body must be one complete JSON value
// in UTF-8, and not null; anything else (a page of HTML, a part of an answer, something
// behind it) is ErrUnreadable. Fields that are not known are ignored.
func DecodeJSON(vendor, op string, a *vendors.Answer, into any) error {
	problem := func(text string) error {
		return &vendors.Error{Vendor: vendor, Op: op, Kind: vendors.ErrUnreadable, Status: a.Status, Err: errors.New(text)}
	}
	body := bytes.TrimSpace(bytes.TrimPrefix(a.Body, []byte("\ufeff")))
	switch {
	case len(body) == 0:
		return problem("it is empty")
	case body[0] == '<':
		return problem("HTML or XML where JSON is due")
	case !utf8.Valid(body):
		return problem("not JSON")
	case string(body) == "null":
		return problem("null")
	}
	// What the decoder says of a value may quote it.
	if err := json.Unmarshal(body, into); err != nil {
		if syntax := (*json.SyntaxError)(nil); errors.As(err, &syntax) {
			return problem("not JSON")
		}
		if t := (*json.UnmarshalTypeError)(nil); errors.As(err, &t) && t.Field != "" {
			return problem("not the documented form at " + t.Field)
		}
		return problem("not the documented form")
	}
	return nil
}
