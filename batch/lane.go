package batch

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"expunge/store"
	"expunge/vendors"
)

// Pacer is what a lane wants to know of its vendor's rate limit. The limit itself is
// kept where requests leave.
type Pacer interface {
	PausedUntil() time.Time // nothing leaves before, for whatever reason
	AskedUntil() time.Time  // the part of it that the vendor asked for: it holds for the next run too
	Pause(until time.Time)
}

// nearer is a Pacer that can wait until a request is about to be allowed to leave.
type nearer interface {
	Near(ctx context.Context) error
}

// Lane is one vendor account with its work. Lanes do not wait for each other.
type Lane struct {
	Name        string
	Vendor      vendors.Vendor
	Pacer       Pacer
	Concurrency int
	MaxAttempts int
	RetryBase   time.Duration
	RetryCap    time.Duration
	PerSecond   float64 // configured rate, for estimates and for how much is claimed at once
	PerDay      int64   // configured limit per 24 hours, for estimates; 0: none

	// Counts of what this run did, for progress. Accepted are the tasks that this run has
	// submitted and that wait for the vendor; in a dry run, those that were looked at.
	Done, Held, Failed, Accepted, Calls, Errors atomic.Int64

	id     int64
	policy policy
	r      *runner
	log    *slog.Logger
	kept   time.Time // the pause that is on disk; used by run only

	exports *exporter // nil: the lane has none

	breaker *breaker
	mu      sync.Mutex
	flying  map[int64]struct{}  // claimed, and the last change not yet on disk
	busy    map[int64]struct{}  // subjects that a worker is at
	back    []store.Work        // claimed, and given back by a worker
	wake    chan struct{}       // a task has landed
	await   *vendors.AwaitError // what the vendor waits for, when it said so last
	stopErr error               // why the lane makes no more calls
	stopped chan struct{}
}

// runner is what lanes share.
type runner struct {
	store    *store.Store
	now      func() time.Time
	linger   time.Duration
	wait     bool
	dryRun   bool
	began    time.Time
	deadline time.Time // no new work from then on; zero: none
	fail     func(error)
}

func (l *Lane) start(r *runner, manual bool) {
	l.r = r
	l.policy = policy{Traits: l.Vendor.Traits(), manual: manual, dryRun: r.dryRun,
		maxAttempts: l.MaxAttempts, retryBase: l.RetryBase, retryCap: l.RetryCap}
	l.breaker = newBreaker()
	l.flying, l.busy = map[int64]struct{}{}, map[int64]struct{}{}
	l.wake = make(chan struct{}, 1)
	l.stopped = make(chan struct{})
}

// stop ends the lane for this run: no further call is made.
func (l *Lane) stop(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.stopErr == nil {
		l.stopErr = err
		close(l.stopped)
	}
}

func (l *Lane) isStopped() bool {
	select {
	case <-l.stopped:
		return true
	default:
		return false
	}
}

// upTo is the last state whose tasks this run works on.
func (l *Lane) upTo() store.State {
	if l.r.dryRun {
		return store.Previewed
	}
	return store.Verifying
}

// run works until nothing is due, within linger or, with wait, at all.
func (l *Lane) run(ctx context.Context) (parked time.Time, err error) {
	work := make(chan []store.Work)
	var workers sync.WaitGroup
	for range l.Concurrency {
		workers.Go(func() {
			for group := range work {
				for _, w := range group {
					if w.Export != nil {
						l.processExport(ctx, w)
					} else {
						l.process(ctx, w)
					}
				}
				l.release(group[0].Subject())
			}
		})
	}
	defer workers.Wait()
	defer close(work)

	var cursor store.Cursor
	var buf []store.Work
	exhausted := false // no ready task is left; none becomes ready within a run
	for {
		if l.over(ctx) {
			return time.Time{}, nil
		}
		if until := l.pausedUntil(); !until.IsZero() {
			if err := l.keepPause(ctx); err != nil {
				return time.Time{}, err
			}
			if !l.worthWaiting(until) {
				return until, nil
			}
			l.sleep(ctx, until)
			continue
		}
		// What lands from here on leaves a token in wake, so that a task that becomes due
		// while we look is not missed; without one, the store does not change under us.
		busy := l.inFlight() > 0
		now := l.r.now()
		if len(buf) == 0 {
			if buf, err = l.claim(ctx, now, &cursor, &exhausted); err != nil {
				if ctx.Err() != nil {
					return time.Time{}, nil
				}
				return time.Time{}, err
			}
		}
		if len(buf) > 0 {
			from, n := l.reserve(buf)
			if n == 0 {
				l.sleep(ctx, time.Time{}) // until a worker is done with one of the subjects
				continue
			}
			group := buf[from : from+n : from+n]
			if from > 0 {
				group = slices.Clone(group)
			}
			select {
			case work <- group:
				if from == 0 {
					buf = buf[n:]
				} else {
					buf = slices.Delete(buf, from, from+n)
				}
			case <-l.stopped:
				l.release(group[0].Subject())
			case <-ctx.Done():
				l.release(group[0].Subject())
			}
			continue
		}
		next, ok, err := l.nextAt(ctx, now)
		if err != nil {
			if ctx.Err() != nil {
				return time.Time{}, nil
			}
			return time.Time{}, err
		}
		switch {
		case ok && l.worthWaiting(next):
			l.sleep(ctx, next)
		case busy:
			// A task in the air may need another look soon, or come back.
			l.sleep(ctx, time.Time{})
		default:
			return time.Time{}, nil
		}
	}
}

// reserve finds the first tasks of one subject that no worker is at, and reserves the
// subject for one. A subject's identifiers go one after the other, also those that were
// claimed apart: the same record, found by email and by telephone, is seen and counted
// once, and not submitted for when it is gone.
func (l *Lane) reserve(all []store.Work) (from, n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for ; from < len(all); from += n {
		subject := all[from].Subject()
		for n = 1; from+n < len(all) && all[from+n].Subject() == subject; n++ {
		}
		if _, busy := l.busy[subject]; !busy {
			l.busy[subject] = struct{}{}
			return from, n
		}
	}
	return 0, 0
}

// release says that no worker is at the subject any more.
func (l *Lane) release(subject int64) {
	l.mu.Lock()
	delete(l.busy, subject)
	l.mu.Unlock()
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// claim takes what is due and what is ready, the most urgent first. As much as a few
// seconds' worth, so that what becomes due meanwhile does not wait behind a long queue.
func (l *Lane) claim(ctx context.Context, now time.Time, c *store.Cursor, exhausted *bool) ([]store.Work, error) {
	limit := max(2*l.Concurrency, min(1000, int(2*l.PerSecond)))
	l.mu.Lock()
	// Whatever flies now may land while we read, and be read as it was before: only what
	// did not fly when the reading began is fresh.
	flying, back := maps.Clone(l.flying), l.back
	l.back = nil
	l.mu.Unlock()
	if len(back) > 0 {
		return back, nil
	}
	notOurs := func(w store.Work) bool {
		_, flies := flying[w.ID]
		return flies || w.State > l.upTo()
	}
	all, err := l.r.store.ClaimDue(ctx, l.id, now, l.upTo(), limit+len(flying))
	if err != nil {
		return nil, err
	}
	all = slices.DeleteFunc(all, func(w store.Work) bool {
		_, export := flying[exportKey(w.ID)]
		return export || notOurs(w)
	})
	for len(all) < limit && !*exhausted {
		ready, err := l.r.store.ClaimReady(ctx, l.id, c, limit)
		if err != nil {
			return nil, err
		}
		*exhausted = len(ready) < limit
		all = append(all, slices.DeleteFunc(ready, notOurs)...)
	}
	if all, err = l.claimExports(ctx, now, all, flying, limit); err != nil {
		return nil, err
	}
	l.mu.Lock()
	for i := range all {
		l.flying[workKey(&all[i])] = struct{}{}
	}
	l.mu.Unlock()
	slices.SortStableFunc(all, func(a, b store.Work) int {
		return cmp.Or(a.DueAt.Compare(b.DueAt), cmp.Compare(a.ID, b.ID))
	})
	return all, nil
}

func (l *Lane) inFlight() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.flying)
}

// landed takes the task out of the air: its last change is on disk.
func (l *Lane) landed(id int64) {
	l.mu.Lock()
	delete(l.flying, id)
	l.mu.Unlock()
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

func (l *Lane) late() bool {
	return !l.r.deadline.IsZero() && !l.r.now().Before(l.r.deadline)
}

// over reports whether no further call may begin in this run.
func (l *Lane) over(ctx context.Context) bool {
	return ctx.Err() != nil || l.isStopped() || l.late()
}

// pausedUntil is when the vendor may be called again: it asked for a pause, a quota is used
// up, it is down, or it waits for something. The zero time means now.
func (l *Lane) pausedUntil() time.Time {
	now := l.r.now()
	until := l.breaker.parked(now)
	if p := l.Pacer.PausedUntil(); p.After(now) && p.After(until) {
		until = p
	}
	if a, _ := l.awaited(); a.After(now) && a.After(until) {
		until = a
	}
	return until
}

// pauseWorthKeeping is the length from which a pause is put on disk when it is met.
const pauseWorthKeeping = 10 * time.Second

// keepPause puts a long pause that the vendor asked for on disk: the run may be killed
// while it waits, or while other lanes go on, and the next one must honour it too.
func (l *Lane) keepPause(ctx context.Context) error {
	until := l.Pacer.AskedUntil()
	if until.Sub(l.r.now()) < pauseWorthKeeping || until.Equal(l.kept) {
		return nil
	}
	l.kept = until
	return l.r.store.PauseVendor(ctx, l.id, until)
}

// awaited is until when the vendor waits for something outside (vendors.AwaitError), and
// what is closed when it is there; zero if it waits for nothing.
func (l *Lane) awaited() (until time.Time, there <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.await == nil {
		return time.Time{}, nil
	}
	select {
	case <-l.await.Ready:
		l.await = nil
		return time.Time{}, nil
	default:
		return l.await.Until, l.await.Ready
	}
}

// awaits reports whether the vendor waits for something: each call would wait for it again.
func (l *Lane) awaits() bool {
	until, _ := l.awaited()
	return until.After(l.r.now())
}

// worthWaiting reports whether the run stays for what happens at t.
func (l *Lane) worthWaiting(t time.Time) bool {
	if !l.r.deadline.IsZero() && t.After(l.r.deadline) {
		return false
	}
	return l.r.wait || t.Sub(l.r.now()) <= l.r.linger
}

// sleep waits until t (the zero time: without end), until a task has landed, or until the
// lane must stop.
func (l *Lane) sleep(ctx context.Context, t time.Time) {
	var timeC <-chan time.Time
	if !t.IsZero() || !l.r.deadline.IsZero() {
		if t.IsZero() || !l.r.deadline.IsZero() && l.r.deadline.Before(t) {
			t = l.r.deadline
		}
		// A millisecond more: the store keeps times in milliseconds.
		timer := time.NewTimer(t.Sub(l.r.now()) + time.Millisecond)
		defer timer.Stop()
		timeC = timer.C
	}
	_, there := l.awaited()
	select {
	case <-timeC:
	case <-l.wake:
	case <-there:
	case <-l.stopped:
	case <-ctx.Done():
	}
}

// process takes a task as far as it goes now, one call after the other.
func (l *Lane) process(ctx context.Context, w store.Work) {
	l.r.store.Working(1)
	defer l.r.store.Working(-1)
	subject, err := vendors.ParseSubject(w.Plain)
	if err != nil {
		l.r.fail(fmt.Errorf("task %d: %w", w.ID, err))
		l.landed(w.ID)
		return
	}
	t := w.Task
	target := &vendors.Target{Ref: vendors.Ref{Field: vendors.Field(t.Field), Nth: t.Nth}, Subject: subject}
	for {
		if l.over(ctx) || l.awaits() {
			w.Task = t
			l.giveBack(w)
			return
		}
		target.Hint, target.Reference = t.Hint, t.Reference
		changed, then := l.step(ctx, &t, target)
		if then == putBack {
			w.Task = t
			l.giveBack(w)
			return
		}
		from := t.State
		t = changed
		switch then {
		case goOn:
			l.record(from, t, nil)
		case released:
			l.record(from, t, nil)
			w.Task = t
			l.giveBack(w)
			return
		case finished:
			l.record(from, t, func() { l.landed(t.ID) })
			return
		}
	}
}

// record hands a change to the store. What carries a reference is on disk before anything
// else happens to the task; the rest rides with the next commit. landed, if not nil, is
// called when the change is on disk.
func (l *Lane) record(from store.State, t store.Task, landed func()) {
	l.count(from, &t)
	after := func(err error) {
		if err != nil {
			l.r.fail(err)
		}
		if landed != nil {
			landed()
		}
	}
	ch := store.Change{From: from, Task: t}
	if from == store.Submitting && t.Reference != "" {
		after(l.r.store.Apply(ch))
		return
	}
	l.r.store.ApplyLater(ch, after)
}

func (l *Lane) count(from store.State, t *store.Task) {
	if from == t.State {
		return
	}
	switch {
	case from == store.Submitting && t.State == store.Waiting, l.r.dryRun && t.State == store.Previewed:
		l.Accepted.Add(1)
	case from == store.Waiting && !t.SubmittedAt.Before(l.r.began.Truncate(time.Second)): // the store keeps whole seconds
		l.Accepted.Add(-1)
	}
	switch {
	case t.State == store.Held:
		l.Held.Add(1)
	case t.State == store.Failed:
		l.Failed.Add(1)
		l.Done.Add(1)
	case t.State.Final():
		l.Done.Add(1)
	}
	if l.log.Enabled(context.Background(), slog.LevelDebug) {
		l.log.Debug("task", "task", t.ID, "from", from.String(), "state", t.State.String(), "reason", t.Reason)
	}
}

// what follows a step
type then uint8

const (
	finished then = iota // record the change; nothing more to do now
	goOn                 // record the change; there is more to do at once
	released             // record the change; the next call could not be made now
	putBack              // no call could be made now, nothing has changed
)

// whatNext tells what follows a change that a call led to.
func (l *Lane) whatNext(t *store.Task) then {
	if t.Ready && !(l.r.dryRun && t.State == store.Previewed) {
		return goOn
	}
	return finished
}

// step makes the task's next call and returns what becomes of the task. Where it commits
// the intent to submit, t becomes the task with that intent.
func (l *Lane) step(ctx context.Context, t *store.Task, target *vendors.Target) (store.Task, then) {
	p := &l.policy
	switch p.next(t, l.r.now()) {
	case stepResolve:
		n := p.uncertain(*t, nil, "", l.r.now())
		return n, l.whatNext(&n)
	case stepSubmit:
		return l.submit(ctx, t, p.intent(*t, l.r.now()), target)
	case stepPreview:
		target.Reference = "" // of a job that is no more
		pv, err := call(ctx, l, target, l.Vendor.Preview)
		if err != nil {
			if l.holdsBack(err) {
				return *t, putBack
			}
			n := p.afterPreviewError(*t, err, messageOf(err, target.Subject), l.r.now())
			return n, l.whatNext(&n)
		}
		n := p.afterPreview(*t, pv, l.r.now())
		if n.State != store.Submitting {
			return n, l.whatNext(&n)
		}
		target.Hint = n.Hint
		return l.submit(ctx, t, n, target)
	case stepPoll:
		poller, ok := l.Vendor.(vendors.Poller)
		if !ok {
			l.r.fail(fmt.Errorf("vendor %s: its kind cannot be polled", l.Name))
			return *t, putBack
		}
		pg, err := call(ctx, l, target, poller.Poll)
		if err != nil {
			if l.holdsBack(err) {
				return *t, putBack
			}
			n := p.afterPollError(*t, err, messageOf(err, target.Subject), l.r.now())
			return n, l.whatNext(&n)
		}
		pg.Status = vendorWords(pg.Status, target.Subject)
		n := p.afterPoll(*t, pg, l.r.now())
		return n, l.whatNext(&n)
	case stepVerify:
		pv, err := call(ctx, l, target, l.Vendor.Preview)
		if err != nil {
			if l.holdsBack(err) {
				return *t, putBack
			}
			n := p.afterVerifyError(*t, err, messageOf(err, target.Subject), l.r.now())
			return n, l.whatNext(&n)
		}
		n := p.afterVerify(*t, pv, l.r.now())
		return n, l.whatNext(&n)
	}
	l.r.fail(fmt.Errorf("task %d in state %v was claimed and has nothing to do", t.ID, t.State))
	return *t, putBack
}

// submit commits the intent, makes the one call, and decides on its outcome. Nothing that
// changes data leaves before the intent is on disk.
func (l *Lane) submit(ctx context.Context, t *store.Task, intent store.Task, target *vendors.Target) (store.Task, then) {
	if n, then, ok := l.exportFirst(ctx, t, intent, target); !ok {
		return n, then
	}
	if p, ok := l.Pacer.(nearer); ok && l.policy.Traits.Uncertain == vendors.HoldForPerson {
		// An intent that stands while the request waits for its turn would make a kill in
		// that time, which at a low rate is nearly all of it, a case for a person.
		if err := p.Near(ctx); err != nil {
			return *t, putBack
		}
	}
	if l.over(ctx) { // since the preview began
		return *t, putBack
	}
	if ok, _ := l.breaker.allow(l.r.now()); !ok {
		return *t, putBack
	}
	if v, ok := l.Vendor.(vendors.Readier); ok {
		if err := v.Ready(ctx); err != nil {
			l.called(err)
			if !l.holdsBack(err) {
				l.stop(err)
			}
			return *t, putBack
		}
		if l.over(ctx) { // while it got ready
			return *t, putBack
		}
	}
	before := *t
	if err := l.r.store.Apply(store.Change{From: t.State, Task: intent}); err != nil {
		l.r.fail(err)
		return *t, putBack
	}
	*t = intent
	rc, err := l.Vendor.Submit(ctx, target)
	l.called(err)
	now := l.r.now()
	p := &l.policy
	switch {
	case err == nil:
		n := p.afterSubmit(intent, rc, now)
		return n, l.whatNext(&n)
	case l.holdsBack(err) && vendors.Harmless(err):
		// It never left: back to where it was, at no cost.
		n := ready(intent, store.Pending)
		n.SubmittedAt = before.SubmittedAt
		return n, released
	}
	n := p.afterSubmitError(intent, err, messageOf(err, target.Subject), now)
	if vendors.Harmless(err) {
		n.SubmittedAt = before.SubmittedAt
	}
	return n, l.whatNext(&n)
}

// call makes one call that changes nothing at the vendor.
func call[T any](ctx context.Context, l *Lane, target *vendors.Target, fn func(context.Context, *vendors.Target) (T, error)) (T, error) {
	if !l.policy.Remote && target.Reference == "" {
		// A local preview: it asks nobody, and so says nothing of the vendor's health.
		return fn(ctx, target)
	}
	if ok, _ := l.breaker.allow(l.r.now()); !ok {
		var none T
		return none, errParked
	}
	v, err := fn(ctx, target)
	if err != nil && ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		err = errCut // the run ends: that is not the task's failure
	}
	l.called(err)
	return v, err
}

// errParked says that the breaker let no call through.
var errParked = &vendors.Error{Kind: vendors.ErrNotSent, Err: vendors.ErrPaused}

// errCut says that the end of the run cut a call short that changes nothing.
var errCut = &vendors.Error{Kind: vendors.ErrNotSent, Err: vendors.ErrStopped}

// called takes note of how a call went.
func (l *Lane) called(err error) {
	if until := l.breaker.record(err, l.r.now()); !until.IsZero() {
		l.log.Warn("the vendor does not answer", "vendor", l.Name, "again_at", until.UTC().Format(time.RFC3339), "error", err.Error())
	}
	if a := (*vendors.AwaitError)(nil); errors.As(err, &a) {
		l.mu.Lock()
		l.await = a
		l.mu.Unlock()
		l.log.Warn("waiting", "vendor", l.Name, "because", a.What, "until", a.Until.UTC().Format(time.RFC3339))
	}
	switch {
	case err == nil:
		l.Calls.Add(1)
	case errors.Is(err, vendors.ErrAuth):
		l.stop(err)
	case !errors.Is(err, vendors.ErrStopped) && !errors.Is(err, vendors.ErrPaused):
		l.Calls.Add(1)
		l.Errors.Add(1)
		l.log.Debug("call failed", "vendor", l.Name, "error", err.Error())
	}
}

// holdsBack reports whether a call did not take place for a reason that is not the task's:
// the run or the lane stops, the vendor asked for a pause, it counts as down, or our
// credentials were refused.
func (l *Lane) holdsBack(err error) bool {
	return errors.Is(err, vendors.ErrStopped) || errors.Is(err, vendors.ErrPaused) || errors.Is(err, vendors.ErrAuth)
}

// giveBack returns a task to the lane, which takes it up again when calls can be made.
func (l *Lane) giveBack(w store.Work) {
	l.mu.Lock()
	l.back = append(l.back, w)
	l.mu.Unlock()
	select {
	case l.wake <- struct{}{}:
	default:
	}
}
