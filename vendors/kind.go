package vendors

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"time"
)

// Kind is one API that expunge speaks. A program lists the kinds it knows; adding one
// means a new package with a Kind, and naming it in that list.
type Kind struct {
	Name string        // the config's `kind`
	New  func() Config // a config with this kind's defaults, for the YAML to be read into
}

// Config is the part of the configuration file below one vendor: the Common keys and the
// kind's own.
type Config interface {
	// Shared gives access to the keys that every vendor has.
	Shared() *Common
	// Validate checks the kind's own keys; the first problem is returned as a *KeyError.
	Validate() error
	// Open makes the vendor. It calls nobody.
	Open(o Options) (Vendor, error)
}

// Options are what a vendor is made with besides its config.
type Options struct {
	Name          string    // the user's name for this account
	Transport     Transport // the only way out
	Log           *slog.Logger
	Now           func() time.Time
	DefaultRegion string // ISO 3166 code for telephone numbers without a country, or ""

	// Tell shows the operator one line that is needed now, such as what to open. It ends up in
	// logs: nothing secret. nil: nobody is there to be shown anything, so that the vendor
	// waits for no person and listens nowhere.
	Tell func(line string)
}

// Common are the config keys that every vendor has. Zero values are filled in with the
// defaults of DESIGN.md by the kind's New.
type Common struct {
	Kind        string   `yaml:"kind"`
	BaseURL     string   `yaml:"base_url"`    // replaces scheme, host and port
	Rate        Rate     `yaml:"rate"`        // how often requests may leave
	Burst       int      `yaml:"burst"`       // how many may leave at once after a pause; 0: DefaultBurst of the rate
	Concurrency int      `yaml:"concurrency"` // how many may be in flight
	Timeout     Duration `yaml:"timeout"`     // one request, to the last byte of its answer
	Retry       `yaml:",inline"`
	CAFile      string `yaml:"ca_file"` // PEM file of further certificate authorities
}

// Retry is how calls that fail are tried again.
type Retry struct {
	MaxAttempts int      `yaml:"max_attempts"` // tries of one call that keeps failing
	RetryBase   Duration `yaml:"retry_base"`   // exponential, full jitter ...
	RetryCap    Duration `yaml:"retry_cap"`    // ... at most this
}

// Shared implements Config for the kinds that embed Common.
func (c *Common) Shared() *Common { return c }

// DefaultCommon returns the defaults that hold for every kind unless it says otherwise.
func DefaultCommon(kind string) Common {
	return Common{
		Kind: kind, Rate: Rate{PerSecond: 5}, Concurrency: 4,
		Timeout: Duration(30 * time.Second),
		Retry:   Retry{MaxAttempts: 8, RetryBase: Duration(2 * time.Second), RetryCap: Duration(time.Hour)},
	}
}

// DefaultBurst is the burst of a vendor whose config sets none: what its rate sends in
// 20 ms, and at least 1. Without it a high rate would not be reached where the processor is
// wanted by others too, which lets a timer be late by as much. (LIMITS.md proposes 10 ms:
// with twice as much, half of which may leave together, 2000 requests per second take a
// quarter less of a processor.)
func DefaultBurst(r Rate) int { return max(1, int(r.PerSecond/50)) }

// KeyError is a problem with one key of a vendor's config. The loader adds file and line.
type KeyError struct {
	Key     string // relative to the vendor: "region"
	Problem string // "is missing", "must be eu, us or au"
	Hint    string // what to do, may be ""
}

func (e *KeyError) Error() string { return e.Key + " " + e.Problem }

// Transport carries requests to one vendor account. It is the place where requests are
// counted and paced: nothing leaves but through it.
type Transport interface {
	// Do sends one request and returns the complete answer, whatever its status. It waits
	// for the rate limit first; once a request has left it is not cut short by ctx, only by
	// the configured timeout, so that the outcome of what was sent is known wherever
	// possible. Errors are *Error of kind ErrNotSent (it surely never left; with ErrStopped
	// when ctx ended the wait) or ErrUnavailable or ErrUnreadable (ErrTooLarge, ErrRedirect).
	// Nothing is ever sent twice.
	Do(ctx context.Context, op string, req *http.Request) (*Answer, error)

	// Stream is Do for an answer that may be larger than memory: the body of a 2xx answer is
	// written to w as it arrives, at most limit bytes of it, and the Answer has none. Any
	// other answer is returned as by Do. The time limit holds for each wait for more bytes
	// rather than for the whole. After an error w may have received a part; an error of w
	// comes back as ErrUnreadable, wrapped.
	Stream(ctx context.Context, op string, req *http.Request, w io.Writer, limit int64) (*Answer, error)

	// HTTPClient is an http.Client over the same path, for libraries that want one (oauth2).
	HTTPClient(op string) *http.Client

	// Wait takes one slot of the rate limit for a message that is not HTTP. Its only error
	// is of kind ErrNotSent.
	Wait(ctx context.Context, op string) error
}

// Answer is a complete HTTP answer, read to its end within the size limit.
type Answer struct {
	Status int
	Header http.Header
	Body   []byte
}
