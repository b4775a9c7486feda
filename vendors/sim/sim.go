package sim

import (
	"bytes"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"time"

	"expunge/vendors/rest"
)

// NoMatch is how CustomerGauge answers when no record matches; its pages do not say.
type NoMatch string

// The forms of "no match".
const (
	NoMatchEmpty   NoMatch = "total0"  // {"Data":[],"total":0}
	NoMatchMissing NoMatch = "missing" // {"total":0}
	NoMatch404     NoMatch = "404"     // status 404
)

// Options are what a Sim is made with. The zero value is a simulator with the default
// accounts, nobody in them, documented times and no faults.
type Options struct {
	Seed     *Seed            // nil: DefaultSeed
	Now      func() time.Time // nil: time.Now
	RandSeed uint64           // of job ids, random emails and faults

	Day         time.Duration // how long a simulated day takes; 0: 24 h
	ArchiveDays int           // until a day is archived and its Voyado jobs begin; 0: 5
	TokenTTL    time.Duration // of CustomerGauge tokens; 0: 1 h

	NoMatch       NoMatch // "": NoMatchEmpty
	CGErrorStatus int     // status that carries CustomerGauge's Error object; 0: 400
	MatchDigits   bool    // CustomerGauge compares telephones by their digits

	Faults   []string // as in the package comment; New panics on what CheckFaults refuses
	NoLedger bool     // keep arrival times only, for long benchmarks

	// Vendors to play besides, each below /r/NAME, and how: Inert accepts every erasure and
	// takes nothing; Strangers shows records that are another person's; PageSize is less than
	// what a recipe calls a full page.
	Recipes   []*rest.Recipe
	Inert     bool
	Strangers bool
	PageSize  int
}

// Sim is the simulator. It is safe for concurrent use.
type Sim struct {
	o     Options
	now   func() time.Time
	start time.Time
	admin *http.ServeMux

	closeOnce sync.Once
	closed    chan struct{} // ends open websockets

	mu       sync.Mutex
	rng      *rand.Rand
	advanced float64 // simulated days added by hand
	seq      int64
	ledger   []*Entry
	arrivals map[string][]arrival // by kind
	rules    []rule
	script   func(RequestInfo) Fault
	turn429  int // which form of Retry-After is next
	turn5xx  int
	turnEcho int // which form of echo is next
	cg       *cgVendor
	voy      *voyVendor
	acq      *acqVendor
	twins    []*twin
}

var _ http.Handler = (*Sim)(nil)

// CheckFaults reports what is wrong with fault texts.
func CheckFaults(texts []string) error {
	_, err := parseAllFaults(texts)
	return err
}

// New makes a simulator. It panics when Options.Faults cannot be read.
func New(o Options) *Sim {
	if o.Seed == nil {
		o.Seed = DefaultSeed()
	} else {
		o.Seed.complete()
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Day <= 0 {
		o.Day = 24 * time.Hour
	}
	if o.ArchiveDays <= 0 {
		o.ArchiveDays = 5
	}
	if o.TokenTTL <= 0 {
		o.TokenTTL = time.Hour
	}
	if o.NoMatch == "" {
		o.NoMatch = NoMatchEmpty
	}
	if o.CGErrorStatus == 0 {
		o.CGErrorStatus = http.StatusBadRequest
	}
	s := &Sim{
		o: o, now: o.Now, start: o.Now(), closed: make(chan struct{}),
		rng:      rand.New(rand.NewPCG(o.RandSeed, 0x5eed)),
		arrivals: make(map[string][]arrival),
	}
	s.cg = newCG(s, o.Seed.CustomerGauge)
	s.voy = newVoyado(s, o.Seed.Voyado)
	s.acq = newAcqueon(s, o.Seed.Acqueon)
	for _, r := range o.Recipes {
		s.twins = append(s.twins, newTwin(s, r, o.Seed))
	}
	s.admin = s.adminMux()
	if err := s.SetFaults(o.Faults...); err != nil {
		panic(err)
	}
	return s
}

// Close ends open websocket connections. The Sim still answers afterwards.
func (s *Sim) Close() { s.closeOnce.Do(func() { close(s.closed) }) }

// SetFaults replaces the faults in force.
func (s *Sim) SetFaults(texts ...string) error {
	rules, err := parseAllFaults(texts)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rules = rules
	return nil
}

// Script makes f decide what happens to every request, in place of the faults in force;
// nil ends that. f is called one request at a time, in order of arrival, and must not call
// the Sim.
func (s *Sim) Script(f func(RequestInfo) Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.script = f
}

// Advance moves the simulated clock, on which Voyado's jobs run.
func (s *Sim) Advance(days float64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.advanced += days
	s.voy.settle()
}

// Ledger returns the requests after seq, in order of arrival.
func (s *Sim) Ledger(seq int64) []Entry {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := []Entry{}
	if seq < 0 {
		seq = 0
	}
	for i := seq; i < int64(len(s.ledger)); i++ { // entry i has seq i+1
		all = append(all, *s.ledger[i])
	}
	return all
}

// Pace reports how the requests to a kind, or to one account of it, were spread, against a
// limit of rate per second and a burst. Token and preview requests count like any other.
func (s *Sim) Pace(kind, account string, rate, burst float64) Pace {
	return pace(s.arrivalTimes(kind, account), rate, burst)
}

func (s *Sim) arrivalTimes(kind, account string) []time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	at := make([]time.Duration, 0, len(s.arrivals[kind]))
	for _, a := range s.arrivals[kind] {
		if account == "" || a.account == account {
			at = append(at, a.at)
		}
	}
	return at
}

// days is the simulated time in days since the start. A float holds it, for a day of a
// second makes a long run overflow a time.Duration.
func (s *Sim) days() float64 {
	return s.now().Sub(s.start).Seconds()/s.o.Day.Seconds() + s.advanced
}

// simTime shows a simulated time as a date: the simulation starts at midnight.
func (s *Sim) simTime(days float64) time.Time {
	return s.start.UTC().Truncate(24 * time.Hour).Add(time.Duration(days * float64(24*time.Hour)))
}

// call is one request to a vendor, understood but not yet done.
type call struct {
	Entry
	more   []string      // what else of a person it names, for faults
	token  string        // the CustomerGauge token that it carries
	verify bool          // a preview, about somebody for whom an anonymize call has arrived
	do     func() reply  // has its effect and makes the answer; under the lock
	fault  FaultKind     // for do: what goes wrong with the effect itself
	slow   time.Duration // for do: how much later the effect comes
}

// reply is an answer.
type reply struct {
	status    int
	header    map[string]string
	body      []byte
	effect    bool
	reference string
	records   []Record
	looked    bool   // the answer says what the vendor holds
	found     int    // records, then
	before    []byte // on a bus: another message that arrives before the answer, and after it
	after     []byte
	delivered func() // called, under the lock, once the whole answer has been handed over
	abort     bool   // no answer: the connection is cut
}

const maxBody = 1 << 20

// ServeHTTP implements http.Handler. Where a fault cuts the connection it panics with
// http.ErrAbortHandler, which net/http's server understands.
func (s *Sim) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch {
	case strings.HasPrefix(r.URL.Path, "/_sim/"):
		s.admin.ServeHTTP(w, r)
		return
	case r.URL.Path == "/acqueon/ws":
		s.serveWS(w, r)
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		http.Error(w, "the request could not be read", http.StatusBadRequest)
		return
	}
	rep := s.serve(r, func() *call { return s.route(r, body) })
	if rep.abort {
		panic(http.ErrAbortHandler)
	}
	for k, v := range rep.header {
		w.Header().Set(k, v)
	}
	w.WriteHeader(rep.status)
	if _, err := w.Write(rep.body); err == nil && rep.delivered != nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		rep.delivered()
	}
}

// route understands a request. It runs under the lock.
func (s *Sim) route(r *http.Request, body []byte) *call {
	switch p := r.URL.Path; {
	case p == "/oauth2/token" && r.Method == http.MethodPost:
		return s.cg.tokenCall(r, body)
	case p == "/v4.1/anonymize.json" && (r.Method == http.MethodGet || r.Method == http.MethodPost):
		return s.cg.anonymizeCall(r, body)
	case p == "/v6/system-admin/data-admin/contacts/anonymize" && r.Method == http.MethodPost:
		return s.cg.anonymizeCallV6(r, body)
	case p == "/acqueon/lcm" && r.Method == http.MethodPost:
		return s.acq.messageCall(r, body)
	}
	for _, t := range s.twins {
		if strings.HasPrefix(r.URL.Path, "/r/"+t.r.Name+"/") {
			return t.call(r, body)
		}
	}
	for _, base := range voyadoBases {
		if name, ok := strings.CutPrefix(r.URL.Path, base); ok {
			if c := s.voy.call(r, base, name); c != nil {
				return c
			}
		}
	}
	return &call{
		Entry: Entry{Op: opUnknown, Changes: r.Method != http.MethodGet},
		do:    func() reply { return textReply(http.StatusNotFound, "no vendor has this path and method") },
	}
}

// serve is the way of every request: into the ledger, through the faults, to its effect.
func (s *Sim) serve(r *http.Request, understand func() *call) reply {
	s.mu.Lock()
	at := s.now()
	c := understand()
	s.seq++
	c.Seq, c.At, c.Method = s.seq, at, r.Method
	entry := &c.Entry
	if !s.o.NoLedger {
		s.ledger = append(s.ledger, entry)
	}
	if c.Op != opConnect { // a message is what limits are about
		s.arrivals[c.Kind] = append(s.arrivals[c.Kind], arrival{at.Sub(s.start), c.Account})
	}
	f := s.faultFor(c)
	entry.Fault = f.Kind
	s.mu.Unlock()

	if f.Latency > 0 {
		// A client that has left does not take its request back: the effect still comes.
		t := time.NewTimer(f.Latency)
		select {
		case <-t.C:
		case <-r.Context().Done():
			t.Stop()
		}
	}

	s.mu.Lock()
	defer s.mu.Unlock()
	rep := s.suffer(c, f)
	if f.Clock != 0 {
		rep.header = maps.Clone(rep.header)
		if rep.header == nil {
			rep.header = map[string]string{}
		}
		rep.header["Date"] = s.now().Add(f.Clock).UTC().Format(http.TimeFormat)
	}
	entry.Effect, entry.Reference, entry.Records = rep.effect, rep.reference, rep.records
	entry.Looked, entry.Found = rep.looked, rep.found
	if !rep.abort {
		entry.Status = rep.status
	}
	return rep
}

func (s *Sim) faultFor(c *call) Fault {
	if c.Kind == "" {
		return Fault{}
	}
	if s.script != nil {
		return s.script(RequestInfo{
			Seq: c.Seq, Kind: c.Kind, Account: c.Account, Op: c.Op,
			Changes: c.Changes, Verify: c.verify, Identifier: c.Identifier(),
		})
	}
	return decide(s.rules, s.rng, c)
}

// suffer does the call under a fault.
func (s *Sim) suffer(c *call, f Fault) reply {
	c.fault, c.slow = f.Kind, f.Slow
	if answer, ok := canned[f.Kind]; ok {
		return answer.reply(c)
	}
	if status, ok := f.Kind.status(); ok {
		return failure(status, f, "")
	}
	switch f.Kind {
	case RateLimited:
		s.turn429++
		after := "1"
		if s.turn429%2 == 0 {
			// An HTTP date has whole seconds: round up, so that it is not already past.
			after = s.now().Add(f.Clock + 1999*time.Millisecond).UTC().Format(http.TimeFormat)
		}
		return failure(http.StatusTooManyRequests, f, after)
	case ServerError:
		status := f.Status
		if status == 0 {
			status = []int{http.StatusInternalServerError, http.StatusBadGateway, http.StatusServiceUnavailable}[s.turn5xx%3]
			s.turn5xx++
		}
		return failure(status, f, "")
	case Down:
		return failure(http.StatusServiceUnavailable, f, "")
	case Cut:
		return reply{abort: true}
	case Echo:
		return s.echo(c)
	case TokenExpiry:
		delete(s.cg.tokens, c.token)
		return c.do()
	}
	rep := c.do()
	if status, ok := f.Kind.empty(); ok {
		rep.status, rep.header, rep.body = status, nil, nil
		return rep
	}
	switch f.Kind {
	case Lost:
		rep.abort = true
	case Garbage:
		rep.status, rep.header = http.StatusOK, map[string]string{"Content-Type": "text/html; charset=utf-8"}
		rep.body = []byte("<!doctype html><title>Maintenance</title><p>We will be back soon.</p>")
	case Truncated:
		rep.body = bytes.Clone(rep.body[:len(rep.body)/2])
	default:
		return rep
	}
	rep.delivered, rep.looked, rep.found = nil, false, 0
	return rep
}

func failure(status int, f Fault, after string) reply {
	rep := textReply(status, http.StatusText(status))
	if f.RetryAfter != "" {
		after = f.RetryAfter
	}
	if after != "" {
		rep.header["Retry-After"] = after
	}
	return rep
}

func textReply(status int, text string) reply {
	return reply{
		status: status, header: map[string]string{"Content-Type": "text/plain; charset=utf-8"},
		body: []byte(text + "\n"),
	}
}
