package batch

import (
	"errors"
	"sync"
	"time"

	"expunge/vendors"
)

// A breaker parks a lane whose vendor does not answer, so that its tasks do not use up
// their attempts on a vendor that is down, and lets one call through at a time to see
// whether it is back.
type breaker struct {
	threshold int           // failures in a row that open it
	first     time.Duration // how long it stays open at first; doubled by every failed probe
	longest   time.Duration

	mu       sync.Mutex
	failures int // in a row
	wait     time.Duration
	until    time.Time // open until then; zero: closed
	probing  bool
}

func newBreaker() *breaker {
	return &breaker{threshold: 5, first: 5 * time.Second, longest: 10 * time.Minute}
}

// allow reports whether a call may be made now. A false answer comes with the time at
// which it is worth asking again.
func (b *breaker) allow(now time.Time) (bool, time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.until.IsZero():
		return true, time.Time{}
	case now.Before(b.until):
		return false, b.until
	case b.probing:
		return false, now.Add(b.first)
	}
	b.probing = true
	return true, time.Time{}
}

// record takes in how a call went. If it opens the breaker, or keeps it open, it returns
// until when.
func (b *breaker) record(err error, now time.Time) (opened time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if errors.Is(err, vendors.ErrStopped) || errors.Is(err, vendors.ErrPaused) || errors.Is(err, vendors.ErrRateLimited) {
		b.probing = false // says nothing about the vendor's health
		return time.Time{}
	}
	down := errors.Is(err, vendors.ErrNotSent) || errors.Is(err, vendors.ErrUnavailable)
	if !down {
		b.failures, b.wait, b.until, b.probing = 0, 0, time.Time{}, false
		return time.Time{}
	}
	b.failures++
	if b.failures < b.threshold {
		return time.Time{}
	}
	if b.probing || b.until.IsZero() {
		b.wait = min(max(2*b.wait, b.first), b.longest)
		b.until = now.Add(b.wait)
		opened = b.until
	}
	b.probing = false
	return opened
}

// parked returns until when no call may be made; the zero time when calls may.
func (b *breaker) parked(now time.Time) time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case now.Before(b.until):
		return b.until
	case b.probing:
		return now.Add(time.Second) // the probe's outcome wakes the lane earlier
	}
	return time.Time{}
}

// isOpen reports whether the vendor counts as down.
func (b *breaker) isOpen() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return !b.until.IsZero()
}
