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

	"expunge/batch/decide"
	"expunge/batch/exports"
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

// turnAwaiter is a Pacer that can wait until a request is about to be allowed to leave.
type turnAwaiter interface {
	AwaitTurn(ctx context.Context) error
}

// LaneResult is how a lane ended.
type LaneResult struct {
	Name   string
	Err    error     // it made no further calls
	Parked time.Time // the vendor is left alone, or asked for a pause until then, or a quota is used up: the rest is left to the next run
	Doubt  error     // the vendor is in doubt: the newest of the failures that are nobody's own
}

// Lane is one vendor account with its work. Lanes do not wait for each other.
type Lane struct {
	*Account
	Vendor      vendors.Vendor
	Pacer       Pacer
	Clock       skewed // nil: not known
	Concurrency int
	vendors.Retry

	// Counts of what this run did, for progress. Accepted are the tasks that this run has
	// submitted and that wait for the vendor; in a dry run, those that were looked at.
	Done, Held, Failed, Accepted, Calls, Errors atomic.Int64

	held   bool // every task, for the vendor is untried
	policy decide.Policy
	r      *runner
	log    *slog.Logger
	kept   time.Time // the pause that is on disk; used by run only

	queues []queue        // where its work comes from
	vault  *exports.Vault // where exports are kept; nil: there are none

	brake    *brake
	proof    *proof[*taskWork]  // what shows that the account is the right one
	known    store.Vendor       // as the store had it when the run began
	sighted  atomic.Int64       // in Unix seconds, the newest sight of others that was stored in this run
	heard    uint64             // responses that nobody waited for, see overhear
	answered []accepted         // submissions of this run, of a vendor on a bus
	doubted  map[int64]struct{} // tasks that were held because their reference is in doubt
	mu       sync.Mutex
	claimed  map[workKey]struct{} // taken up, and the last change not yet on disk
	busy     map[int64]struct{}   // subjects that a worker is at
	back     []work               // claimed, and given back by a worker
	wake     chan struct{}        // something was settled or released
	await    *vendors.AwaitError  // what the vendor waits for, when it said so last
	stopErr  error                // why the lane makes no more calls
	stopped  chan struct{}
}

// work is something that a lane takes as far as it goes, one step after the other: a task,
// or the export of a task.
type work interface {
	key() workKey
	subject() int64 // in the store
	due() time.Time

	// next says what it needs. It is asked again after every step.
	next(now time.Time) decide.Step
	// ask makes the call of a step.
	ask(ctx context.Context, s decide.Step) decide.Answer
	// after takes over what the decision about the answer makes of it.
	after(s decide.Step, a decide.Answer, now time.Time) decide.Then
	// record hands what it has become to the store. onDisk is called once, when it is on
	// disk or could not be put there; the error is the same, where it is known by then.
	record(onDisk func(error)) error
}

// workKey names a piece of work: a task, or its export.
type workKey struct {
	task   int64
	export bool
}

// queue is one kind of a lane's work: what is due and not claimed.
type queue interface {
	// claim returns up to about limit pieces of work that are due or ready, without those
	// that are claimed already.
	claim(ctx context.Context, now time.Time, limit int, claimed map[workKey]struct{}) ([]work, error)
	// nextAt is when something is due next; ok is false when nothing is.
	nextAt(ctx context.Context, now time.Time) (next time.Time, ok bool, err error)
}

// runner is what lanes share.
type runner struct {
	store    *store.Store
	now      func() time.Time
	linger   time.Duration
	wait     bool
	dryRun   bool
	once     bool // of a dry run: what was looked at is not looked at again
	began    time.Time
	deadline time.Time   // no new work from then on; zero: none
	intents  *intents    // nil: no head of the log is published
	fail     func(error) // ends the run with an error of our own
	halt     func(error) // ends all lanes: no call is made any more
}

func (l *Lane) start(r *runner, manual bool) {
	l.r = r
	l.policy = decide.Policy{Traits: l.Vendor.Traits(), Retry: l.Retry, Manual: manual, DryRun: r.dryRun}
	l.brake = newBrake()
	l.heard, l.answered, l.doubted = 0, nil, map[int64]struct{}{}
	l.queues, l.vault = nil, nil
	l.claimed, l.busy, l.back = map[workKey]struct{}{}, map[int64]struct{}{}, nil
	l.wake = make(chan struct{}, 1)
	l.stopped = make(chan struct{})
}

// prepare finds out whether the lane can work, before anybody is called.
func (l *Lane) prepare(ctx context.Context) error {
	ctx = context.WithoutCancel(ctx)
	if err := l.takePlace(ctx); err != nil {
		return err
	}
	if !l.r.dryRun {
		n, err := l.r.store.ClampWaits(ctx, l.id, l.r.now(), l.r.now().Add(l.longestWait()))
		if err != nil {
			return err
		}
		if n > 0 {
			l.log.Warn("due now: what a run under a clock that was ahead has put off", "vendor", l.Name, "waits", n)
		}
	}
	return l.openExports(ctx)
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

// lastState is the last state whose tasks this run works on.
func (l *Lane) lastState() store.State {
	switch {
	case l.r.once:
		return store.Pending
	case l.r.dryRun:
		return store.Previewed
	}
	return store.Verifying
}

// run works until nothing is due, within linger or, with wait, at all.
func (l *Lane) run(ctx context.Context) (parked time.Time, err error) {
	hand := make(chan []work)
	var workers sync.WaitGroup
	for range l.workers() {
		workers.Go(func() {
			for group := range hand {
				for _, w := range group {
					l.process(ctx, w)
				}
				l.release(group[0].subject())
			}
		})
	}
	defer func() {
		close(hand)
		workers.Wait()
		l.overhear(ctx)
		l.leaveUnproved(ctx)
	}()

	var buf []work
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
		// What is settled from here on leaves a token in wake, so that a task that becomes due
		// while we look is not missed; without one, the store does not change under us.
		busy := l.claims() > l.proof.waiting()
		now := l.r.now()
		if len(buf) == 0 {
			if buf, err = l.claim(ctx, now); err != nil {
				if ctx.Err() != nil {
					return time.Time{}, nil
				}
				return time.Time{}, err
			}
		}
		if len(buf) > 0 || l.proof.waiting() > 0 {
			if asked, _ := l.askPlace(ctx, false); asked || l.over(ctx) {
				continue
			}
		}
		if len(buf) > 0 {
			rest, ok := l.handOut(ctx, hand, buf)
			if buf = rest; !ok {
				l.sleep(ctx, time.Time{}) // until a worker is done with one of the subjects
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
		if !busy && (l.proof.waiting() > 0 || l.brake.doubted()) {
			// Nothing else is left to do: the looks that answers wait for are made now.
			asked, later := l.askPlace(ctx, true)
			if asked || l.over(ctx) {
				continue
			}
			if !later.IsZero() && (!ok || later.Before(next)) {
				next, ok = later, true
			}
		}
		switch {
		case ok && l.worthWaiting(next):
			l.sleep(ctx, next)
		case busy:
			// What is claimed may need another look soon, or be given back.
			l.sleep(ctx, time.Time{})
		default:
			return time.Time{}, nil
		}
	}
}

// handOut hands the first tasks of one subject to a worker and returns the rest; ok is false
// when workers are at all the subjects.
func (l *Lane) handOut(ctx context.Context, hand chan<- []work, all []work) (rest []work, ok bool) {
	from, n := l.reserve(all)
	if n == 0 {
		return all, false
	}
	group := all[from : from+n : from+n]
	if from > 0 {
		group = slices.Clone(group)
	}
	select {
	case hand <- group:
		if from == 0 {
			return all[n:], true
		}
		return slices.Delete(all, from, from+n), true
	case <-l.stopped:
	case <-ctx.Done():
	}
	l.release(group[0].subject())
	return all, true
}

// reserve finds the first tasks of one subject that no worker is at, and reserves the
// subject for one. A subject's identifiers go one after the other, also those that were
// claimed apart: the same record, found by email and by telephone, is seen and counted
// once, and not submitted for when it is gone.
func (l *Lane) reserve(all []work) (from, n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for ; from < len(all); from += n {
		subject := all[from].subject()
		for n = 1; from+n < len(all) && all[from+n].subject() == subject; n++ {
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
	l.nudge()
}

// claim takes work from the queues, the most urgent first. As much as a few seconds' worth,
// so that what becomes due meanwhile does not wait behind a long queue.
func (l *Lane) claim(ctx context.Context, now time.Time) ([]work, error) {
	limit := max(2*l.Concurrency, min(1000, int(2*l.PerSecond)))
	l.mu.Lock()
	// What is claimed now may be settled while we read, and be read as it was before: only
	// what was not claimed when the reading began is fresh.
	claimed, back := maps.Clone(l.claimed), l.back
	l.back = nil
	l.mu.Unlock()
	if len(back) > 0 {
		return back, nil
	}
	var all []work
	for _, s := range l.queues {
		more, err := s.claim(ctx, now, limit, claimed)
		if err != nil {
			return nil, err
		}
		for _, w := range more {
			claimed[w.key()] = struct{}{}
		}
		all = append(all, more...)
	}
	l.mu.Lock()
	for _, w := range all {
		l.claimed[w.key()] = struct{}{}
	}
	l.mu.Unlock()
	slices.SortStableFunc(all, func(a, b work) int {
		return cmp.Or(a.due().Compare(b.due()), cmp.Compare(a.key().task, b.key().task))
	})
	return all, nil
}

// nextAt is when something of the lane is due next.
func (l *Lane) nextAt(ctx context.Context, now time.Time) (next time.Time, ok bool, err error) {
	for _, s := range l.queues {
		at, some, err := s.nextAt(ctx, now)
		if err != nil {
			return time.Time{}, false, err
		}
		if some && (!ok || at.Before(next)) {
			next, ok = at, true
		}
	}
	return next, ok, nil
}

// claims is how much is claimed.
func (l *Lane) claims() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.claimed)
}

// settled ends a claim: the last change is on disk.
func (l *Lane) settled(k workKey) {
	l.mu.Lock()
	delete(l.claimed, k)
	l.mu.Unlock()
	l.nudge()
}

// nudge wakes the lane, or keeps it from the next sleep.
func (l *Lane) nudge() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// failed ends the run if a change could not be put on disk.
func (l *Lane) failed(err error) {
	if err != nil {
		l.r.fail(err)
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
	until := l.brake.held(now)
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

// sleep waits until t (the zero time: without end), until something was settled or given back, or until the
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

// process takes a task, or an export, as far as it goes now, one step after the other.
func (l *Lane) process(ctx context.Context, w work) {
	l.r.store.Working(1)
	defer l.r.store.Working(-1)
	for {
		s := w.next(l.r.now())
		// An intent that was put on disk is followed by its call, which tells at least that it
		// did not leave.
		if s != decide.StepSubmit && (l.over(ctx) || l.awaits()) {
			l.giveBack(w)
			return
		}
		a := w.ask(ctx, s)
		if errors.Is(a.Err, errAside) {
			l.nudge() // it stays claimed until the proof settles it
			return
		}
		switch w.after(s, a, l.r.now()) {
		case decide.GoOn:
			if err := w.record(l.failed); err != nil || w.next(l.r.now()) == decide.StepNone {
				l.settled(w.key()) // the store, or another task, has more to say
				return
			}
		case decide.Unrecorded:
		case decide.Released:
			w.record(l.failed)
			l.giveBack(w)
			return
		case decide.PutBack:
			l.giveBack(w)
			return
		case decide.Finished:
			k := w.key()
			w.record(func(err error) {
				l.failed(err)
				l.settled(k)
			})
			return
		}
	}
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
		l.log.Warn("failed: a person must retry or close it", "vendor", l.Name, "task", t.ID, "reason", t.Reason, "message", t.Message)
	case t.State.Final():
		l.Done.Add(1)
	}
	if l.log.Enabled(context.Background(), slog.LevelDebug) {
		l.log.Debug("task", "task", t.ID, "from", from.String(), "state", t.State.String(), "reason", t.Reason)
	}
}

// canSubmit waits until a submission can leave, and returns the permission for it. Its
// errors are HeldBack.
func (l *Lane) canSubmit(ctx context.Context) (pass, error) {
	l.overhear(ctx)
	if err := l.knowClock(ctx); err != nil {
		return pass{}, err
	}
	p, err := l.pass(ctx, submissions)
	if err != nil {
		return pass{}, err
	}
	if n, ok := l.Pacer.(turnAwaiter); ok && l.policy.Traits.Uncertain == vendors.HoldForPerson {
		// An intent that stands while the request waits for its turn would make a kill in
		// that time, which at a low rate is nearly all of it, a case for a person.
		if err := n.AwaitTurn(ctx); err != nil {
			l.ended(p, 0, errCut)
			return pass{}, errCut
		}
	}
	if v, ok := l.Vendor.(vendors.Readier); ok {
		if err := v.Ready(ctx); err != nil {
			l.ended(p, 0, err)
			if !decide.HeldBack(err) {
				l.stop(err)
			}
			return pass{}, errCut
		}
	}
	if l.over(ctx) { // while it waited for its turn, or got ready
		l.ended(p, 0, errCut)
		return pass{}, errCut
	}
	return p, nil
}

// workers is how many work on the lane's tasks. Where the rate is so low that a submission
// would wait for its turn until the preview that it rests on is too old, they are fewer.
func (l *Lane) workers() int {
	if !l.Remote || l.PerSecond <= 0 {
		return l.Concurrency
	}
	return min(l.Concurrency, max(1, int(l.PerSecond*1800)))
}

// pass waits for the permission to make a call. Its errors are HeldBack.
func (l *Lane) pass(ctx context.Context, kind callKind) (pass, error) {
	for {
		p, turn, until := l.brake.may(kind, l.r.now())
		switch {
		case !until.IsZero():
			return pass{}, errParked
		case turn == nil:
			return p, nil
		}
		select {
		case <-turn:
		case <-l.stopped:
		case <-ctx.Done():
		}
		if l.over(ctx) {
			return pass{}, errCut
		}
	}
}

// call makes one call about a task that changes nothing at the vendor.
func call[T any](ctx context.Context, l *Lane, task int64, target *vendors.Target, fn func(context.Context, *vendors.Target) (T, error)) (T, called) {
	p, err := l.pass(ctx, looks)
	if err != nil {
		var none T
		return none, called{err: err}
	}
	v, err := fn(ctx, target)
	err = cutShort(ctx, err)
	return v, called{err, l.ended(p, task, err)}
}

// called is how a call went.
type called struct {
	err error
	finding
}

// cutShort is the error of a call that changes nothing: where the end of the run cut it
// short, that is not the task's failure.
func cutShort(ctx context.Context, err error) error {
	if err != nil && ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		return errCut
	}
	return err
}

// errParked says that the brake let no call through.
var errParked = &vendors.Error{Kind: vendors.ErrNotSent, Err: vendors.ErrPaused}

// errCut says that the end of the run cut a call short that changes nothing.
var errCut = &vendors.Error{Kind: vendors.ErrNotSent, Err: vendors.ErrStopped}

// ended takes note of how a call went, about a task or (0) about nobody's.
func (l *Lane) ended(p pass, task int64, err error) finding {
	f := l.brake.end(p, task, err, l.r.now())
	l.note(task, err, f)
	return f
}

// note counts a call, and stops or parks the lane where that is due.
func (l *Lane) note(task int64, err error, f finding) {
	if a := (*vendors.AwaitError)(nil); errors.As(err, &a) {
		l.mu.Lock()
		l.await = a
		l.mu.Unlock()
		l.log.Warn("waiting", "vendor", l.Name, "because", a.What, "until", a.Until.UTC().Format(time.RFC3339))
	}
	if !f.Parked.IsZero() {
		l.log.Warn("the vendor is left alone for a while: it "+TroubleOf(err).Words(), "vendor", l.Name, "again_at", f.Parked.UTC().Format(time.RFC3339), "error", err.Error())
	}
	var e *vendors.Error
	if errors.Is(err, vendors.ErrAuth) && (f.Refused || errors.As(err, &e) && e.Op == opToken) {
		l.stop(err)
	}
	l.watchClock()
	if task == 0 || decide.HeldBack(err) || errors.Is(err, decide.ErrStale) {
		return
	}
	l.Calls.Add(1)
	if err != nil {
		l.Errors.Add(1)
		l.log.Debug("call failed", "vendor", l.Name, "error", err.Error())
	}
}

// opToken is the Op of a call that gets a token: what it is refused for is the account.
const opToken = "token"

// giveBack returns work to the lane, which takes it up again when calls can be made.
func (l *Lane) giveBack(w work) {
	l.mu.Lock()
	l.back = append(l.back, w)
	l.mu.Unlock()
	l.nudge()
}

// announce publishes a head of the log before a submission that must not be repeated. Where
// that cannot be done, nothing is submitted.
func (l *Lane) announce(ctx context.Context) error {
	if l.r.intents == nil || l.policy.Traits.Uncertain != vendors.HoldForPerson {
		return nil
	}
	err := l.r.intents.cover(ctx)
	if err != nil {
		err = fmt.Errorf("nothing is submitted to %s, for no head of the log can be published before: %w", l.Name, err)
		l.stop(err)
	}
	return err
}
