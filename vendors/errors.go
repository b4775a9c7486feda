package vendors

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
)

// Kinds of failure of a call: every error that a Vendor returns matches exactly one of
// them with errors.Is, or a context's error.
var (
	ErrNotSent     = errors.New("the request was not sent")                        // it surely had no effect: not connected, or stopped before it left
	ErrRateLimited = errors.New("the vendor asks us to slow down")                 // 429: surely no effect
	ErrAuth        = errors.New("the vendor refused our credentials")              // 401, 403: surely no effect; Op "token" is about the account, any other may be about one person
	ErrRefused     = errors.New("the vendor refused the request")                  // surely no effect
	ErrAddress     = errors.New("the address does not answer as the vendor's API") // 404, 405, 410, 415, 501: surely no effect; says nothing of a person
	ErrUnavailable = errors.New("the vendor did not answer")                       // network, time-out, 408, 409, 423, 425, 5xx: a change may have happened
	ErrUnreadable  = errors.New("the answer cannot be understood")                 // a change may have happened
)

// Finer causes, matched beside a kind.
var (
	ErrControl   = errors.New("the control record is not there")
	ErrAuthority = errors.New("the certificate is of an authority that is not known here (ca_file names a further one)")
	ErrTooLarge  = errors.New("the answer is too large")
	ErrTimeout   = errors.New("timed out")
	ErrRedirect  = errors.New("the vendor answered with a redirect, which is not followed")
	ErrInsecure  = errors.New("not https")
	ErrPaused    = errors.New("paused, as the vendor or a daily limit asks") // no call may leave for a while
	ErrStopped   = errors.New("stopping")                                    // the run ends: no new call leaves
)

// AwaitError is an ErrPaused of a vendor that waits for something outside of it, such as a
// person who opens a page.
type AwaitError struct {
	What  string          // is not there yet: "nobody has opened the page"
	Until time.Time       // when it is worth asking again, if nothing happens before
	Ready <-chan struct{} // closed when it is there; nil: nobody will say so
}

func (e *AwaitError) Error() string { return e.What }

// Unwrap gives errors.Is the sentinel.
func (e *AwaitError) Unwrap() error { return ErrPaused }

// Error is a failed call. Its text holds no identifier, no URL and nothing of the
// answer's body.
type Error struct {
	Vendor     string        // the configured name
	Op         string        // preview, submit, poll, token, ...
	Kind       error         // one of the kinds above
	Status     int           // HTTP status, 0 without an answer
	RetryAfter time.Duration // what the vendor asked for, 0 if nothing
	Err        error         // finer cause, free of personal data; may be nil

	// Form is, on the error of a preview whose answer may be the vendor's way to say "nothing
	// held", what the answer looks like without the identifier that was asked for (FormOf).
	// Two people of whom the vendor knows nothing get the same. "": it cannot be that. Never
	// shown.
	Form string `json:"-"`

	// Message is the vendor's own text. It may quote an identifier, so it is not part of
	// Error(): scrub it of the subject before it is kept or shown.
	Message string `json:"-"`
}

// NotSent is the error of a call that cause kept from leaving.
func NotSent(vendor, op string, cause error) *Error {
	return &Error{Vendor: vendor, Op: op, Kind: ErrNotSent, Err: cause}
}

func (e *Error) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s: %v", e.Vendor, e.Op, e.Kind)
	if e.Status != 0 {
		fmt.Fprintf(&b, " (HTTP %d)", e.Status)
	}
	if e.Err != nil {
		fmt.Fprintf(&b, ": %v", e.Err)
	}
	return b.String()
}

// Format is Error() for every verb, also of a copy: Message is never printed.
func (e Error) Format(f fmt.State, _ rune) { io.WriteString(f, (&e).Error()) }

// Unwrap gives errors.Is both the kind and the cause.
func (e *Error) Unwrap() []error {
	if e.Err == nil {
		return []error{e.Kind}
	}
	return []error{e.Kind, e.Err}
}

// Harmless reports whether a submission that failed with err surely had no effect at the
// vendor.
func Harmless(err error) bool {
	return errors.Is(err, ErrNotSent) || errors.Is(err, ErrRateLimited) ||
		errors.Is(err, ErrAuth) || errors.Is(err, ErrRefused) || errors.Is(err, ErrAddress)
}
