package batch

import (
	"errors"
	"sync"
	"time"

	"expunge/vendors"
)

// A brake keeps the trouble of a vendor from becoming the trouble of the people whose calls
// meet it. It decides when a call may be made, and whose a failed call is.
//
// Calls that look and calls that submit are counted apart: good answers to the one kind say
// nothing about the other. Before the first success of a kind in a run, and after an answer
// that raises doubt, calls of that kind go one at a time, so that wrong credentials or a wrong
// address cost a handful of calls. Failures in a row park the vendor: no call is made
// for a while, and then one at a time, until one of the kind that failed has succeeded.
//
// A brake keeps books only: it makes no calls, waits for nothing and knows no clock.
type brake struct {
	threshold    int           // failures in a row that park the vendor
	first        time.Duration // how long the vendor is parked at first; doubled by every call that fails then
	longestDown  time.Duration // at most, where calls are not answered
	longestDoubt time.Duration // at most, where the answers raise doubt

	mu     sync.Mutex
	kinds  [2]streak // by callKind
	parked bool
	until  time.Time // no call is made before then; counts while parked
	wait   time.Duration
	round  int           // how often the vendor was parked: tells the calls that were made before
	ended  chan struct{} // closed when a call ends, and then replaced
}

// callKind tells the calls that look from those that submit.
type callKind uint8

const (
	looks       callKind = iota // previews, polls, the control record, exports
	submissions                 // what changes something at the vendor
)

// streak is what is known of the calls of one kind.
type streak struct {
	underway int                // calls that are being made
	good     bool               // one has succeeded in this run
	careful  bool               // one call at a time
	failures int                // in a row
	down     int                // of these: not answered
	refused  int                // of these: our credentials
	tasks    map[int64]struct{} // whose answers raised doubt, in a row
	first    int64              // the task whose call was the first of these failures
	others   bool               // calls about others failed after it
	last     error              // the newest failure
}

// pass is the permission to make one call. It is given back with end, or with undecided.
type pass struct {
	kind  callKind
	round int
}

// finding is what a call that has ended tells.
type finding struct {
	Blamed  bool      // the failure is the task's own: others of the kind succeeded just before
	Alone   bool      // in this run nobody else was called for by the kind, and it failed twice: at most once in a run
	Nth     int       // failures in a row, this one included: how long the next try waits
	Parked  time.Time // not zero: the call has parked the vendor until then
	Refused bool      // our credentials were refused each time, and nothing was accepted in this run
}

func newBrake() *brake {
	return &brake{threshold: 5, first: 5 * time.Second, longestDown: 10 * time.Minute, longestDoubt: time.Hour,
		kinds: [2]streak{{careful: true}, {careful: true}}, ended: make(chan struct{})}
}

// may says whether a call can be made now. If not, turn is what to wait for, or, where the
// vendor is parked, until is when to ask again.
func (b *brake) may(kind callKind, now time.Time) (p pass, turn <-chan struct{}, until time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	k := &b.kinds[kind]
	switch {
	case b.parked && now.Before(b.until):
		return pass{}, nil, b.until
	case b.parked && b.kinds[looks].underway+b.kinds[submissions].underway > 0, k.careful && k.underway > 0:
		return pass{}, b.ended, time.Time{}
	}
	k.underway++
	return pass{kind, b.round}, nil, time.Time{}
}

// end takes in how a call about a task went (0: about nobody's).
func (b *brake) end(p pass, task int64, err error, now time.Time) finding {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.over(p)
	return b.note(p, task, err, now)
}

// undecided gives the pass back for an answer whose meaning is not known yet: judged
// follows, if it ever is.
func (b *brake) undecided(p pass) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.over(p)
}

// judged takes in what an answer meant that was undecided.
func (b *brake) judged(p pass, task int64, err error, now time.Time) finding {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.note(p, task, err, now)
}

func (b *brake) over(p pass) {
	b.kinds[p.kind].underway--
	close(b.ended)
	b.ended = make(chan struct{})
}

// note counts a call that has ended.
func (b *brake) note(p pass, task int64, err error, now time.Time) (f finding) {
	k := &b.kinds[p.kind]
	switch {
	case err == nil:
		*k = streak{underway: k.underway, good: true}
		if b.parked && !b.troubled() {
			b.parked, b.wait, b.until = false, 0, time.Time{}
		}
		return finding{}
	case errors.Is(err, vendors.ErrNoValue):
		return finding{Blamed: true, Nth: 1} // it says nothing of the vendor
	case errors.Is(err, vendors.ErrStopped), errors.Is(err, vendors.ErrPaused), errors.Is(err, vendors.ErrRateLimited):
		return finding{} // nor do these, nor of the task
	}
	f.Blamed = k.good && k.failures == 0
	if k.failures == 0 {
		k.first = task
	}
	k.others = k.others || task != k.first
	k.failures++
	f.Alone = !k.good && !k.others && k.failures == 2
	k.last = err
	f.Nth = k.failures
	longest := b.longestDown
	if errors.Is(err, vendors.ErrNotSent) || errors.Is(err, vendors.ErrUnavailable) {
		k.down++
	} else {
		longest = b.longestDoubt
		k.careful = true
		if k.tasks == nil {
			k.tasks = map[int64]struct{}{}
		}
		k.tasks[task] = struct{}{}
	}
	if errors.Is(err, vendors.ErrAuth) {
		k.refused++
	}
	if !b.troubled() {
		return f
	}
	f.Refused = k.refused == k.failures && !b.kinds[looks].good && !b.kinds[submissions].good
	if !b.parked || p.round == b.round {
		b.wait = min(max(2*b.wait, b.first), longest)
		b.until = now.Add(b.wait)
		b.parked = true
		b.round++
		f.Parked = b.until
	}
	return f
}

// troubled reports whether the failures in a row are enough to park the vendor: calls that
// were not answered, of either kind; answers that raised doubt, for as many different
// tasks, since one person's request may be refused as often as it is made; and whatever
// failed before the first success, when nothing speaks for the vendor yet.
func (b *brake) troubled() bool {
	down := 0
	for i := range b.kinds {
		k := &b.kinds[i]
		down += k.down
		if len(k.tasks) >= b.threshold || !k.good && k.failures >= b.threshold {
			return true
		}
	}
	return down >= b.threshold
}

// held returns until when no call may be made; the zero time when calls may.
func (b *brake) held(now time.Time) time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.parked && now.Before(b.until) {
		return b.until
	}
	return time.Time{}
}

// doubted reports whether looks have failed since the last that succeeded, and may be made.
func (b *brake) doubted() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.kinds[looks].failures > 0 && !b.parked
}

// trouble is the newest failure of a vendor that is in doubt: parked, or with failures that
// are nobody's own. nil: there is none.
func (b *brake) trouble() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	for i := len(b.kinds) - 1; i >= 0; i-- {
		// The first failure after a success is the task's own.
		if k := &b.kinds[i]; k.failures > 1 || k.failures == 1 && !k.good {
			return k.last
		}
	}
	return nil
}
