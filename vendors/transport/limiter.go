package transport

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"expunge/vendors"
)

// ErrPaused says that the vendor (Retry-After) or a quota lets nothing leave for longer
// than anybody should wait for; Limiter.PausedUntil says until when. It is always wrapped
// in a *PausedError.
var ErrPaused = vendors.ErrPaused

// PausedError is ErrPaused with its end.
type PausedError struct{ Until time.Time }

func (e *PausedError) Error() string {
	return "paused until " + e.Until.UTC().Format(time.RFC3339)
}

// Unwrap gives errors.Is the sentinel.
func (e *PausedError) Unwrap() error { return ErrPaused }

// QuotaHold is the longest time between a reservation by Quota.Take and the departure of
// the request that uses it. A quota of N in any 24 hours holds exactly where the store
// counts a reservation for 24 hours plus QuotaHold.
const QuotaHold = time.Minute

// Quota counts requests over a rolling 24 hours, durably, so that the count holds across
// restarts. A Limiter calls it from one goroutine at a time, but for Close.
type Quota interface {
	// Take reserves up to n requests durably. Granted 0 means none until next.
	Take(ctx context.Context, n int64) (granted int64, next time.Time, err error)
	// Return gives back n reservations that were not used.
	Return(ctx context.Context, n int64) error
}

// LimiterOptions are what a Limiter is made from.
type LimiterOptions struct {
	Rate     vendors.Rate  // PerSecond: at most 1e6; 0 or less counts as 1. PerDay works through Quota only
	Burst    int           // requests that may leave at once after a pause; 0: vendors.DefaultBurst
	Quota    Quota         // for Rate.PerDay; may be nil
	Patience time.Duration // the longest pause that is waited for; 0: 5 s; negative: none
}

const (
	defaultPatience = 5 * time.Second
	maxPerSecond    = 1e6

	// headStart is how long before its departure a request may go and get itself a
	// connection. It covers a TLS handshake, and is short enough that no server gives up
	// on a connection that it was not asked anything on.
	headStart = time.Second

	// quotaFresh is the age up to which a reservation is handed out. The rest of QuotaHold
	// is for the way from there to the departure (dialling, headStart).
	quotaFresh = QuotaHold / 4

	slowestShare  = 10               // slowed down at most to 1/10 of the configured rate
	recoverEvery  = 6 * time.Second  // while things go well, one step back up per ...
	recoverShare  = 100              // ... of 1/100 of the configured rate: 10 % a minute
	firstStrike   = time.Second      // pause after a 429 that does not say how long
	longestStrike = 60 * time.Second // doubled with each further one up to this
	oneEvent      = time.Second      // refusals this close together are one event

	// longestWrite is the time after which a departure counts as written even if nobody
	// said so. Handing a request to the system takes microseconds, and tens of milliseconds
	// where all processors are taken; what takes longer hangs (a full socket, an HTTP/2
	// connection without a free stream) and must not hold up the others for good.
	longestWrite = time.Second

	// bunchShare is the part of the burst that may leave together although it could leave
	// one by one: each wake-up costs more than the request that it is for. With the default
	// burst that is 10 ms' worth, and one request at a time below 200 per second. Where
	// wake-ups come late they leave one by one for a while: the room in the bucket is needed
	// for lateness then.
	bunchShare = 2
	bunchAgain = time.Second

	// timerLate is the most that a timer is late on an idle machine: Go's network poller
	// counts in milliseconds.
	timerLate = 1200 * time.Microsecond
)

// Limiter holds the rate limit of one vendor account.
//
// In any window of t seconds at most Burst + PerSecond x t requests leave, and one more
// where the system woke a waiting request late: the next one then leaves at the time that
// it would have had anyway. So a timer that rings late costs nothing of the rate, up to one
// request. Time in which no request waited is not made up for: after it Burst requests may
// leave at once and no more. The bucket is empty at the start, so that a program that is
// restarted often gains nothing by it.
//
// Timers ring up to a millisecond late. The bucket makes up for that as long as it takes
// longer than two such delays to fill: always with the default burst, and with a burst of 1
// up to about 400 per second. Above that a burst of 1 reaches less than its rate.
//
// This holds at the instant of departure: Wait's return, or the moment when a Transport
// writes to its connection. A token is taken there and at that time, by one request at a
// time, and never reserved for later. Between the token and the write the system may take
// the processor away from us; until a request is written its token keeps its place in the
// bucket, so that it cannot leave together with others that came in meanwhile: the tokens
// and the requests between token and write are never more than Burst + 1.
//
// Requests leave in the order of their arrival, roughly. A Limiter is safe for concurrent
// use.
type Limiter struct {
	limit    float64
	burst    int
	patience time.Duration
	quota    Quota
	block    int64 // how many reservations to take at once
	bunch    int   // how many may leave together where so many wait
	sleep    func(ctx context.Context, d time.Duration)

	queue  chan struct{} // holds one: the turn to be admitted
	gate   chan struct{} // holds one: the turn to leave
	moved  chan struct{} // holds one: something changed for the one whose turn it is in the queue
	freed  chan struct{} // holds one: a place in the bucket came free for the one whose turn it is to leave
	atGate atomic.Int64  // how many wait to leave

	mu          sync.Mutex
	bucket      *rate.Limiter // its size is burst + 1 less those leaving
	leaving     []departure   // have their token and are not yet written, oldest first
	full        bool          // freed is waited for
	due         time.Time     // when the one whose turn it is to leave is to wake up; zero: it does not sleep
	lateAt      time.Time     // the last wake-up that was later than a timer may be
	current     float64       // <= limit
	ahead       int           // admitted and not yet left
	pausedUntil time.Time     // as the vendor asks
	quotaUntil  time.Time     // as long as the quota is used up
	strikes     int           // refusals in a row that did not say how long to wait
	slowedAt    time.Time     // the last refusal that counted
	raisedAt    time.Time     // the last change of current
	reserved    int64         // taken from the quota at reservedAt, to be used
	reservedAt  time.Time
	unused      int64 // taken from the quota, to be given back
	closed      bool

	sent atomic.Int64
}

// departure is a request between its token and the moment when it is written.
type departure struct {
	ticket ticket
	at     time.Time // of the token
}

// ticket names a departure; 0: none.
type ticket = int64

// NewLimiter makes a limiter with an empty bucket.
func NewLimiter(o LimiterOptions) *Limiter {
	limit := o.Rate.PerSecond
	if !(limit > 0) {
		limit = 1
	}
	limit = min(limit, maxPerSecond)
	burst := o.Burst
	if burst <= 0 {
		burst = vendors.DefaultBurst(vendors.Rate{PerSecond: limit})
	}
	if o.Patience == 0 {
		o.Patience = defaultPatience
	}
	now := time.Now()
	l := &Limiter{
		limit: limit, burst: burst, patience: o.Patience,
		bunch: max(1, burst/bunchShare), sleep: wait,
		queue: make(chan struct{}, 1), gate: make(chan struct{}, 1), moved: make(chan struct{}, 1), freed: make(chan struct{}, 1),
		bucket: rate.NewLimiter(rate.Limit(limit), burst+1), current: limit,
		raisedAt: now,
	}
	l.bucket.AllowN(now, burst+1) // a new rate.Limiter is full
	if o.Quota != nil && o.Rate.PerDay > 0 {
		// About ten seconds' worth, so that the store is not asked for every request, and
		// not so much of a small quota that a crash would cost a day's work.
		l.quota, l.block = o.Quota, max(1, min(int64(math.Ceil(limit*10)), o.Rate.PerDay/100))
	}
	return l
}

// Wait returns when the caller's request may leave, which it must do at once: it counts as
// written. Its error wraps vendors.ErrStopped when ctx has ended or the limiter is closed,
// ErrPaused when nothing may leave for longer than the limiter's patience, what the Quota
// said, or what the function of vendors.AtDeparture said.
func (l *Limiter) Wait(ctx context.Context) error {
	for {
		if err := l.admit(ctx); err != nil {
			return err
		}
		t, err := l.depart(ctx, vendors.Departure(ctx))
		if !errors.Is(err, errHeldBack) {
			l.written(t)
			return err
		}
	}
}

// errHeldBack is depart's answer when a pause began after the admission: the caller goes
// back into the queue, and gives up its connection rather than let it go stale.
var errHeldBack = errors.New("a pause began")

func stopped(cause error) error {
	if cause == nil {
		return vendors.ErrStopped
	}
	return fmt.Errorf("%w: %w", vendors.ErrStopped, cause)
}

// admit waits until the caller's departure is at most headStart away. Each nil is followed
// by exactly one depart or abandon.
func (l *Limiter) admit(ctx context.Context) error {
	select {
	case l.queue <- struct{}{}:
	case <-ctx.Done():
		return stopped(ctx.Err())
	}
	defer func() { <-l.queue }()
	for {
		if err := ctx.Err(); err != nil {
			return stopped(err)
		}
		wait, err := l.tryAdmit(ctx)
		if err != nil {
			return err
		}
		if wait <= 0 {
			return nil
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-l.moved:
		case <-ctx.Done():
		}
		timer.Stop()
	}
}

// tryAdmit admits the caller, who holds the turn in the queue, or says how long to wait
// before trying again.
func (l *Limiter) tryAdmit(ctx context.Context) (wait time.Duration, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return 0, stopped(nil)
	}
	now := time.Now()
	if until := l.pausedLocked(now); !until.IsZero() {
		if until.Sub(now) > l.patience {
			return 0, &PausedError{Until: until}
		}
		return until.Sub(now), nil
	}
	missing := float64(l.ahead+1) - min(l.bucket.TokensAt(now), float64(l.burst))
	if wait := seconds(missing/l.current) - headStart; wait > 0 {
		return max(wait, time.Millisecond), nil
	}
	if l.quota != nil && (l.reserved == 0 || now.Sub(l.reservedAt) > quotaFresh) {
		return time.Nanosecond, l.reserve(ctx)
	}
	l.ahead++
	if l.quota != nil {
		l.reserved--
	}
	return 0, nil
}

// reserve takes a new block from the quota, and gives back what is left of an old one.
// It is called with l.mu held and lets go of it meanwhile.
func (l *Limiter) reserve(ctx context.Context) error {
	old := l.reserved + l.unused
	l.reserved, l.unused = 0, 0
	l.mu.Unlock()
	asked := time.Now()
	granted, next, err := l.exchange(ctx, old)
	l.mu.Lock()
	switch {
	case err != nil && ctx.Err() != nil:
		return stopped(ctx.Err())
	case err != nil:
		return fmt.Errorf("daily quota: %w", err)
	case granted > 0:
		l.reserved, l.reservedAt = granted, asked
	default:
		// A quota that is used up and names no later time is asked again in a second.
		l.quotaUntil = later(next, time.Now().Add(time.Second))
	}
	return nil
}

func (l *Limiter) exchange(ctx context.Context, old int64) (granted int64, next time.Time, err error) {
	if old > 0 {
		if err := l.quota.Return(ctx, old); err != nil {
			return 0, time.Time{}, err
		}
	}
	return l.quota.Take(ctx, l.block)
}

// depart waits for the caller's turn and token, and takes it. The ticket is for written. On
// an error the admission is void. may is asked before the token is taken (nil: nobody is).
func (l *Limiter) depart(ctx context.Context, may func() error) (ticket, error) {
	l.atGate.Add(1)
	defer l.atGate.Add(-1)
	waited := false
	select {
	case l.gate <- struct{}{}:
	default:
		waited = true
		select {
		case l.gate <- struct{}{}:
		case <-ctx.Done():
			l.abandon()
			return 0, stopped(ctx.Err())
		}
	}
	defer func() { <-l.gate }()
	for {
		if err := ctx.Err(); err != nil {
			l.abandon()
			return 0, stopped(err)
		}
		if may != nil {
			if err := may(); err != nil {
				l.abandon()
				return 0, err
			}
		}
		t, err := l.tryDepart(waited)
		switch {
		case err != nil:
			l.abandon()
			return 0, err
		case t.ticket != 0:
			return t.ticket, nil
		case t.full:
			l.waitFreed(ctx, t.wait)
		default:
			l.sleep(ctx, t.wait)
		}
		waited = true
	}
}

// turn is what came of an attempt to leave: a ticket, or how long to wait before the next
// one.
type turn struct {
	ticket ticket
	wait   time.Duration
	full   bool // until others are written, at most
}

func (l *Limiter) tryDepart(waited bool) (turn, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	switch {
	case l.closed:
		return turn{}, stopped(nil)
	case l.pausedUntil.After(now): // the quota has counted what is admitted
		return turn{}, errHeldBack
	}
	for len(l.leaving) > 0 && now.Sub(l.leaving[0].at) >= longestWrite {
		l.forgetLocked(now, 0)
	}
	if !l.due.IsZero() && now.Sub(l.due) > 2*timerLate {
		l.lateAt = now
	}
	l.due = time.Time{}
	tokens, leaving := l.bucket.TokensAt(now), float64(len(l.leaving))
	if !waited && tokens >= 1 && tokens+leaving > float64(l.burst) {
		// Nobody waited: what is more than the burst has come in by idleness, not lateness.
		l.bucket.SetBurstAt(now, max(0, l.burst-len(l.leaving)))
	}
	ok := l.bucket.AllowN(now, 1)
	if ok {
		l.ahead--
		l.leaving = append(l.leaving, departure{l.sent.Add(1), now})
		l.wake()
	}
	room := l.resizeLocked(now)
	switch {
	case ok:
		return turn{ticket: l.sent.Load()}, nil
	case room == 0:
		l.full = true
		return turn{wait: longestWrite - now.Sub(l.leaving[0].at), full: true}, nil
	}
	want := 1
	if now.Sub(l.lateAt) >= bunchAgain {
		want = min(l.bunch, room, max(1, int(l.atGate.Load())))
	}
	wait := max(1, seconds((float64(want)-l.bucket.TokensAt(now))/l.current))
	l.due = now.Add(wait)
	return turn{wait: wait}, nil
}

// resizeLocked gives the bucket the size that those leaving let it have.
func (l *Limiter) resizeLocked(now time.Time) int {
	room := max(0, l.burst+1-len(l.leaving))
	l.bucket.SetBurstAt(now, room)
	return room
}

// forgetLocked ends departure i: it is written.
func (l *Limiter) forgetLocked(now time.Time, i int) {
	l.leaving = slices.Delete(l.leaving, i, i+1)
	l.resizeLocked(now)
	if !l.full {
		return
	}
	l.full = false
	select {
	case l.freed <- struct{}{}:
	default:
	}
}

// written says that a departure is over: the request is with the system, or will never be.
// The second time, and for no ticket, it does nothing.
func (l *Limiter) written(t ticket) {
	if t == 0 {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if i := slices.IndexFunc(l.leaving, func(d departure) bool { return d.ticket == t }); i >= 0 {
		l.forgetLocked(time.Now(), i)
	}
}

// waitFreed waits for a place in the bucket.
func (l *Limiter) waitFreed(ctx context.Context, most time.Duration) {
	timer := time.NewTimer(most)
	defer timer.Stop()
	select {
	case <-l.freed:
	case <-timer.C:
	case <-ctx.Done():
	}
}

// abandon takes back an admission that led to no departure.
func (l *Limiter) abandon() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ahead--
	if l.quota != nil {
		l.unused++ // not used again itself: it may be nearly as old as QuotaHold
	}
	l.wake()
}

// wake lets the one at the head of the queue look again.
func (l *Limiter) wake() {
	select {
	case l.moved <- struct{}{}:
	default:
	}
}

// ahead is how long before its departure AwaitTurn returns: about what it takes to commit an
// intent.
const ahead = 5 * time.Millisecond

// AwaitTurn returns when a request could leave within a few milliseconds, and takes nothing:
// another may leave first, and the daily quota is not asked. It is for callers that record
// an intent first and do not want it to stand open while the request waits for its turn.
// Its errors are those of Wait.
func (l *Limiter) AwaitTurn(ctx context.Context) error {
	for {
		if err := ctx.Err(); err != nil {
			return stopped(err)
		}
		wait, err := l.untilTurn()
		if err != nil || wait <= 0 {
			return err
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-ctx.Done():
		}
		timer.Stop()
	}
}

func (l *Limiter) untilTurn() (time.Duration, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	until := l.pausedLocked(now)
	switch pause := until.Sub(now); {
	case l.closed:
		return 0, stopped(nil)
	case pause > l.patience:
		return 0, &PausedError{Until: until}
	case pause > 0:
		return pause, nil
	}
	missing := float64(l.ahead+1) - min(l.bucket.TokensAt(now), float64(l.burst))
	return seconds(missing/l.current) - ahead, nil
}

// Pause lets nothing leave before until, as the vendor asks. An earlier time than that of a
// pause under way changes nothing.
func (l *Limiter) Pause(until time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.pauseLocked(until)
}

func (l *Limiter) pauseLocked(until time.Time) {
	l.pausedUntil = later(l.pausedUntil, until)
	l.wake()
}

// PausedUntil is the end of the pause under way, of the vendor or of the quota, or the zero
// time.
func (l *Limiter) PausedUntil() time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.pausedLocked(time.Now())
}

// AskedUntil is the end of the pause under way that the vendor asked for, or the zero time.
// It is to be kept over restarts; the quota keeps its own account, and its limit may change.
func (l *Limiter) AskedUntil() time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	return ifAfter(l.pausedUntil, time.Now())
}

func (l *Limiter) pausedLocked(now time.Time) time.Time {
	return ifAfter(later(l.pausedUntil, l.quotaUntil), now)
}

// slowerLocked halves the rate, down to a tenth of the configured one. It is called for each
// refusal (429); those within a second, or during a pause, count as one.
func (l *Limiter) slowerLocked(now time.Time) (counts bool) {
	if l.pausedUntil.After(now) || !l.slowedAt.IsZero() && now.Sub(l.slowedAt) < oneEvent {
		return false
	}
	l.slowedAt = now
	l.setLocked(now, max(l.current/2, l.limit/slowestShare))
	return true
}

// Steady says that a request went well: the rate rises again, by at most a tenth of the
// configured one per minute.
func (l *Limiter) Steady() {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	if l.pausedUntil.After(now) {
		return // the answer to a request that left before the refusal
	}
	l.strikes = 0
	if l.current < l.limit && now.Sub(l.raisedAt) >= recoverEvery {
		l.setLocked(now, min(l.limit, l.current+l.limit/recoverShare))
	}
}

func (l *Limiter) setLocked(now time.Time, current float64) {
	l.current, l.raisedAt = current, now
	l.bucket.SetLimitAt(now, rate.Limit(current))
	l.wake()
}

// refused takes in a vendor's request to slow down: a pause as long as it asks for, or
// one that grows with each refusal in a row.
func (l *Limiter) refused(asked time.Duration, given bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	counts := l.slowerLocked(now)
	switch {
	case given && asked > 0:
		l.pauseLocked(now.Add(asked))
	case counts:
		l.pauseLocked(now.Add(min(longestStrike, firstStrike<<min(l.strikes, 10))))
		l.strikes++
	}
}

// Stats are a limiter's figures.
type Stats struct {
	Sent        int64     // requests that have left
	Limit       float64   // configured, per second
	Current     float64   // now, per second: lower than Limit after refusals
	PausedUntil time.Time // zero: not paused
}

// Stats returns the figures of this moment.
func (l *Limiter) Stats() Stats {
	l.mu.Lock()
	defer l.mu.Unlock()
	return Stats{
		Sent: l.sent.Load(), Limit: l.limit, Current: l.current,
		PausedUntil: l.pausedLocked(time.Now()),
	}
}

// Close lets nothing leave any more and returns the reservations that were not used to
// the quota. A second Close returns those that came free since.
func (l *Limiter) Close(ctx context.Context) error {
	l.mu.Lock()
	unused := l.reserved + l.unused
	l.reserved, l.unused, l.closed = 0, 0, true
	l.wake()
	l.mu.Unlock()
	if l.quota == nil || unused == 0 {
		return nil
	}
	if err := l.quota.Return(ctx, unused); err != nil {
		return fmt.Errorf("daily quota: %w", err)
	}
	return nil
}

// seconds is time.Duration(s seconds), capped.
func seconds(s float64) time.Duration {
	if s >= math.MaxInt64/float64(time.Second) {
		return math.MaxInt64
	}
	return time.Duration(s * float64(time.Second))
}

// wait returns after d, or when ctx ends.
func wait(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// ifAfter is t, or the zero time if it is past.
func ifAfter(t, now time.Time) time.Time {
	if t.After(now) {
		return t
	}
	return time.Time{}
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
