package acqueon

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"
)

const (
	// maxMessage is the largest message of the bus that is read, in bytes.
	maxMessage = 1 << 20

	// maxOthers is how many messages of others may pass on the bus while we wait for our
	// response. An agent's desktop sends a few a second at the most.
	maxOthers = 10_000
)

var (
	errTooManyOthers = errors.New("too many other messages instead of the response")
	errComplaint     = errors.New("an error message came instead of the response")
)

// quietTime is how long no response may come before the next request leaves. A foreign
// response that was taken for ours shows by ours, which comes soon after it.
const quietTime = 200 * time.Millisecond

// mailbox hands responses of a bus to the one who waits. A response does not say which
// request it answers:
//   - One that comes too late would be taken for the next request's: after an outcome that
//     stays open, settle keeps the next request back until the late response has come, or
//     until it is not to be expected any more.
//   - Somebody else's may be taken for ours. Then ours comes when nobody waits, or is taken
//     for the next request's, and so on: a response that nobody waited for puts all answers
//     in doubt since the bus was last quiet for as long as a response may take.
type mailbox struct {
	log    *slog.Logger
	settle time.Duration // how long a response may take
	quiet  time.Duration
	now    func() time.Time // for since

	mu     sync.Mutex
	due    chan delivery // who waits; nil: nobody
	came   chan delivery // the last due
	others int           // messages of others since the waiting began
	open   time.Time     // until then a late response may come; zero: none is awaited
	late   chan struct{} // holds one: it has come

	heard  time.Time // when the last response came, or the waiting for one ended; zero: never
	strays uint64    // responses that nobody waited for
	since  time.Time // by now: when the bus was last quiet
}

// delivery is what ends the waiting: a response, or an error message of the bus.
type delivery struct {
	response []byte // with the packet around it
	said     string // the error message's text, where there is no response
}

func newMailbox(log *slog.Logger, settle time.Duration, now func() time.Time) *mailbox {
	return &mailbox{log: log, settle: settle, quiet: quietTime, now: now, late: make(chan struct{}, 1)}
}

// hearLocked notes that the bus was not quiet until now.
func (m *mailbox) hearLocked() {
	if m.heard.IsZero() || time.Since(m.heard) >= m.settle {
		m.since = m.now()
	}
	m.heard = time.Now()
}

// expect begins to wait for a response. The channel is closed where too many other
// messages came.
func (m *mailbox) expect() <-chan delivery {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.due, m.others = make(chan delivery, 1), 0
	m.came = m.due
	m.hearLocked()
	return m.due
}

// deliver takes in one message of the bus and reports whether it is a response.
func (m *mailbox) deliver(body []byte) bool {
	_, ok := unwrap(body)
	m.mu.Lock()
	defer m.mu.Unlock()
	if !ok {
		m.otherLocked(body)
		return false
	}
	m.hearLocked()
	switch {
	case m.due != nil:
		m.due <- delivery{response: body}
		m.due = nil
	case !m.open.IsZero():
		m.open = time.Time{}
		select {
		case m.late <- struct{}{}:
		default:
		}
		m.log.Warn("the response to a request came too late; its ticket is not known, the task is held")
	default:
		m.strays++
		m.log.Warn("a response came that nobody waited for: somebody else raises requests on this bus, or the vendor answered twice; compare the newest tickets with the report")
	}
	return true
}

// otherLocked takes in a message that is no response. One that says that something failed
// ends the waiting: whether it was our request is not said.
func (m *mailbox) otherLocked(body []byte) {
	if m.due == nil {
		return
	}
	if said, ok := complaint(body); ok {
		m.due <- delivery{said: said}
		m.awaitLocked()
		return
	}
	if m.others++; m.others > maxOthers {
		close(m.due)
		m.awaitLocked()
	}
}

// awaitLocked ends the waiting without a response, which may come late.
func (m *mailbox) awaitLocked() {
	m.due = nil
	m.hearLocked()
	m.open = time.Now().Add(m.settle)
	select {
	case <-m.late:
	default:
	}
}

// leave ends the waiting. It returns a response that came at the last moment; without one
// the outcome is open.
func (m *mailbox) leave() (answer []byte, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.due != nil {
		m.awaitLocked()
		return nil, false
	}
	select {
	case d := <-m.came:
		return d.response, d.response != nil
	default:
		return nil, false
	}
}

// wait returns when no late response is to be expected and the bus is quiet, when gone is
// closed, or with the end of ctx.
func (m *mailbox) wait(ctx context.Context, gone <-chan struct{}) error {
	m.mu.Lock()
	rest := time.Until(m.open)
	m.mu.Unlock()
	if rest > 0 {
		timer := time.NewTimer(rest)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-m.late:
		case <-gone:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	m.mu.Lock()
	m.open = time.Time{}
	m.mu.Unlock()
	return m.settled(ctx, gone)
}

// settled returns when no response has come for quietTime, when gone is closed, or with the
// end of ctx.
func (m *mailbox) settled(ctx context.Context, gone <-chan struct{}) error {
	for ctx.Err() == nil {
		m.mu.Lock()
		rest := time.Until(m.heard.Add(m.quiet))
		m.mu.Unlock()
		if rest <= 0 {
			return nil
		}
		timer := time.NewTimer(rest)
		select {
		case <-timer.C:
		case <-gone:
			timer.Stop()
			return nil
		case <-ctx.Done():
			timer.Stop()
		}
	}
	return ctx.Err()
}

// unsolicited is Vendor.Unsolicited.
func (m *mailbox) unsolicited(ctx context.Context) (n uint64, since time.Time) {
	_ = m.settled(ctx, nil) // at the end of ctx: what is known by then
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.strays, m.since
}
