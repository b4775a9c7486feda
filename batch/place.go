package batch

import (
	"context"
	"errors"
	"fmt"
	"time"

	"expunge/batch/decide"
	"expunge/store"
	"expunge/vendors"
)

// This file has what a lane does to know that its account is the right one, at the right
// place and time, and that answers belong to those who asked.

// Why a lane makes no calls, or no more of them.
var (
	// ErrMoved: the account is at another place than the work that is under way there.
	ErrMoved = errors.New("the account is at another place than the work that is under way")
	// ErrUnproved: the vendor shows nothing of anybody, and nothing shows that the account is
	// the right one.
	ErrUnproved = errors.New("the vendor shows nothing of anybody, and nothing shows that the account is the right one")
	// ErrClock: the clock is not that of the vendors, or goes backwards.
	ErrClock = errors.New("this machine's clock is wrong")
)

// errAside says that an answer waits for proof, with its work.
var errAside = errors.New("waits for proof")

// takePlace finds out whether the account is where the work was that is under way. A place
// is taken over where none is.
func (l *Lane) takePlace(ctx context.Context) error {
	known := &l.known
	defer func() {
		l.proof = newProof[*taskWork](l.Control != nil, sights{Control: known.Seen.Control, Others: known.Seen.Others, Word: known.Seen.Proved})
	}()
	if known.Place == l.Place {
		return nil
	}
	known.Seen = store.Sights{} // they are another place's
	if known.Place != "" {
		n, err := l.r.store.UnderWay(ctx, l.id)
		if err != nil {
			return err
		}
		if n > 0 {
			l.stop(fmt.Errorf("vendor %s: %w: %d tasks were submitted at %q, the config says %q", l.Name, ErrMoved, n, known.Place, l.Place))
			return nil
		}
	}
	if l.r.dryRun {
		return nil
	}
	return l.r.store.SetPlace(ctx, l.id, l.Place)
}

// longestWait is how long something of the lane may have to wait for its next call.
func (l *Lane) longestWait() time.Duration {
	return max(time.Duration(l.RetryCap), l.FirstPoll, l.PollEvery, l.VerifyAfter, l.VerifyPatience, l.Exports.FetchWithin) + time.Hour
}

// look asks the vendor what it holds of the task's person. An answer by which it is nothing,
// or may be, is weighed first.
func (w *taskWork) look(ctx context.Context) decide.Answer {
	if a := w.settled; a != nil {
		w.settled = nil
		return *a
	}
	l := w.lane
	p, err := l.pass(ctx, looks)
	if err != nil {
		return w.answered(decide.Answer{}, called{err: err})
	}
	pv, err := l.Vendor.Preview(ctx, w.target)
	err = cutShort(ctx, err)
	now := l.r.now()
	form := formOf(err)
	if err == nil && !decide.Nothing(pv) || err != nil && form == "" {
		if err == nil && pv.Records > 0 && pv.Doubt != vendors.InconsistentAnswer {
			l.sawOthers(ctx, now)
		}
		return w.answered(decide.Answer{Preview: pv}, called{err, l.ended(p, w.task.ID, err)})
	}
	if decide.Submitted(&w.task) && w.task.Records.N > 0 {
		l.proof.sawOthers(w.task.PreviewedAt) // here: the account cannot have moved since
	}
	class, _ := vendors.Normal(w.target.Ref.Field, w.target.Identifier())
	w.pass = p
	if form == "" {
		l.ended(p, w.task.ID, nil)
	}
	by, s := l.proof.weigh(w, class, form, now)
	switch s {
	case isNothing:
		if form != "" {
			l.ended(p, w.task.ID, nil)
		}
		return decide.Answer{Proof: by}
	case isError:
		return w.answered(decide.Answer{}, called{err, l.ended(p, w.task.ID, err)})
	}
	if form != "" {
		w.odd = err
		l.brake.undecided(p)
	}
	if l.Control == nil && l.proof.unproved() {
		l.stop(l.unproved())
	}
	return decide.Answer{Err: errAside}
}

func (l *Lane) unproved() error {
	return fmt.Errorf("vendor %s: %w: %d people were looked up", l.Name, ErrUnproved, l.proof.waiting())
}

// formOf is the form of an answer that may be the vendor's way to say that it holds nothing.
func formOf(err error) string {
	if e := (*vendors.Error)(nil); errors.As(err, &e) {
		return e.Form
	}
	return ""
}

// sawOthers takes note that the vendor has shown a record of somebody. The first sight of an
// hour is on disk before the answer is: who was seen may be erased by the time that a run
// which was killed is made again, and then nobody is left who proves the place.
func (l *Lane) sawOthers(ctx context.Context, at time.Time) {
	l.proof.sawOthers(at)
	if last := l.sighted.Load(); at.Unix()-last >= int64(proofWindow/time.Second) && l.sighted.CompareAndSwap(last, at.Unix()) {
		l.failed(l.saveSights(ctx))
	}
	l.conclude()
}

// conclude gives back the work whose answers have come to something.
func (l *Lane) conclude() {
	for _, v := range l.proof.settle() {
		w := v.work
		a := decide.Answer{Proof: v.evidence}
		if w.odd != nil {
			err := w.odd
			if v.evidence != store.NoEvidence {
				err = nil
			}
			f := l.brake.judged(w.pass, w.task.ID, err, l.r.now())
			l.note(w.task.ID, err, f)
			a = w.answered(a, called{err, f})
			w.odd = nil
		}
		w.settled = &a
		l.giveBack(w)
	}
}

// askPlace asks the vendor what the proof needs, and reports whether it did. idle says that
// the lane has nothing else to do; later is as for proof.ask.
func (l *Lane) askPlace(ctx context.Context, idle bool) (asked bool, later time.Time) {
	q, ok, later := l.proof.ask(l.r.now(), idle, idle && l.brake.doubted())
	if !ok {
		if l.proof.unproved() {
			l.stop(l.unproved())
		}
		return false, later
	}
	began := l.r.now()
	p, err := l.pass(ctx, looks)
	if err != nil {
		l.answeredPlace(q, began, vendors.Preview{}, err)
		return false, time.Time{}
	}
	target := l.Control
	if !q.control {
		target = vendors.Stranger(q.stranger)
	}
	pv, err := l.Vendor.Preview(ctx, target)
	err = cutShort(ctx, err)
	if !q.control && formOf(err) != "" {
		l.brake.undecided(p) // what nobody gets is no failure
	} else {
		l.ended(p, 0, err)
	}
	l.answeredPlace(q, began, pv, err)
	return true, time.Time{}
}

// answeredPlace takes note of what the proof wanted to have asked.
func (l *Lane) answeredPlace(q question, began time.Time, pv vendors.Preview, err error) {
	switch {
	case !q.control:
		l.proof.strangerGot(q.stranger, formOf(err), err)
	case err != nil:
		l.proof.controlFailed(began, err)
	case decide.Nothing(pv):
		l.proof.controlFailed(began, vendors.ErrControl)
		l.stop(&vendors.Error{Vendor: l.Name, Op: "control", Kind: vendors.ErrAddress, Err: vendors.ErrControl})
	default:
		l.proof.controlFound(began)
		l.log.Debug("the control record was found", "vendor", l.Name)
	}
	l.conclude()
}

// leaveUnproved records, at the end of the lane's run, what was asked in vain: the next run
// asks again.
func (l *Lane) leaveUnproved(ctx context.Context) {
	for _, w := range l.proof.rest() {
		if ctx.Err() == nil {
			now := l.r.now()
			w.task = l.policy.After(w.next(now), w.task, decide.Answer{}, now).To
			w.record(l.failed)
		}
		l.settled(w.key())
	}
}

// saveSights puts on disk what this run has seen of the account.
func (l *Lane) saveSights(ctx context.Context) error {
	s := l.proof.seen()
	if l.r.dryRun || l.isMoved() || s.Control.Equal(l.known.Seen.Control) && s.Others.Equal(l.known.Seen.Others) {
		return nil
	}
	return l.r.store.Saw(ctx, l.id, store.Sights{Control: s.Control, Others: s.Others})
}

func (l *Lane) isMoved() bool { return errors.Is(l.stopErr, ErrMoved) }

// skewed is a vendor's transport, which knows how far the vendor's clock is ahead of ours.
type skewed interface {
	Skew() (ahead time.Duration, ok bool)
}

// maxSkew is how far the vendors' clocks may be from ours.
const maxSkew = time.Hour

// watchClock ends the run where the vendor's clock is another than ours: every due date and
// every wait would be wrong.
func (l *Lane) watchClock() {
	if l.Clock == nil {
		return
	}
	if ahead, ok := l.Clock.Skew(); ok && ahead.Abs() > maxSkew {
		l.r.halt(fmt.Errorf("%w: %s is at %s", ErrClock, l.Name, l.r.now().Add(ahead).UTC().Format(time.RFC3339)))
	}
}

// setBack is how far a clock may have been set back between two runs: that is NTP at work.
const setBack = time.Minute

// CheckClock finds out, before anybody is called, whether time has gone backwards since the
// last run: its end, or its beginning where it was killed, lies in the future. A run that
// ended with the exit code refused called nobody, perhaps since its own clock was wrong, and
// says nothing.
func CheckClock(ctx context.Context, st *store.Store, now time.Time, refused int) error {
	at, ok, err := st.LastSound(ctx, refused)
	if err != nil || !ok || !at.After(now.Add(setBack)) {
		return err
	}
	return fmt.Errorf("%w, or was in the last run: that run was at %s, and it is %s now", ErrClock,
		at.UTC().Format(time.RFC3339), now.UTC().Format(time.RFC3339))
}

// knowClock makes the cheapest call that asks something, before the first one that changes
// something, where nothing was heard of the vendor's clock yet.
func (l *Lane) knowClock(ctx context.Context) error {
	v, ok := l.Vendor.(vendors.Checker)
	if l.Clock == nil || !ok {
		return nil
	}
	if _, known := l.Clock.Skew(); known {
		return nil
	}
	p, err := l.pass(ctx, looks)
	if err != nil {
		return err
	}
	if _, known := l.Clock.Skew(); known { // somebody else has asked meanwhile
		l.ended(p, 0, errCut)
		return nil
	}
	_, err = v.Check(ctx)
	err = cutShort(ctx, err)
	l.ended(p, 0, err)
	if errors.Is(err, vendors.ErrAuth) {
		l.stop(err) // it is about nobody
	}
	if l.isStopped() {
		return errCut
	}
	if _, known := l.Clock.Skew(); !known && err != nil {
		return errParked
	}
	return nil
}

// accepted is a submission that was answered.
type accepted struct {
	task int64
	at   time.Time
}

// remember notes that a submission was answered, where answers may be mixed up.
func (l *Lane) remember(task int64) {
	if _, ok := l.Vendor.(vendors.Overhearer); !ok {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.answered = append(l.answered, accepted{task, l.r.now()})
}

// overhear finds out whether responses came that nobody waited for: then the references of
// what was answered since the last moment without doubt may be others'.
func (l *Lane) overhear(ctx context.Context) {
	v, ok := l.Vendor.(vendors.Overhearer)
	if !ok {
		return
	}
	l.mu.Lock()
	all := l.answered
	l.mu.Unlock()
	if len(all) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), overhearFor)
	defer cancel()
	n, since := v.Unsolicited(ctx)
	l.mu.Lock()
	grown := n > l.heard
	l.heard = n
	l.mu.Unlock()
	if !grown {
		return
	}
	for _, a := range all {
		if !a.at.Before(since) {
			l.failed(l.doubt(a.task, "a response came that nobody waited for: this reference may be another request's"))
		}
	}
}

// overhearFor bounds the wait for quiet.
const overhearFor = 5 * time.Second

// doubt holds a task whose reference may be another request's, if it waits by it.
func (l *Lane) doubt(task int64, message string) error {
	l.mu.Lock()
	l.doubted[task] = struct{}{}
	l.mu.Unlock()
	w, err := l.r.store.TaskByID(context.Background(), task)
	if err != nil || w.State != store.Waiting {
		return err
	}
	t := decide.InDoubt(w.Task, message)
	if err := l.r.store.Apply(store.Change{From: store.Waiting, Task: t}); err != nil {
		if errors.Is(err, store.ErrConflict) {
			return nil // it has moved on
		}
		return err
	}
	l.count(store.Waiting, &t)
	l.log.Warn("held: its reference may be another request's", "vendor", l.Name, "task", task)
	return nil
}

// doubted holds a task that was given a reference of another's, and the other one if it
// still waits.
func (w *taskWork) doubted(ch store.Change, g *store.GivenError) error {
	l := w.lane
	w.task = decide.InDoubt(w.task, fmt.Sprintf("the vendor gave the same reference for task %d", g.Other))
	l.count(w.stored, &w.task)
	ch.Task, w.stored = w.task, w.task.State
	if err := l.r.store.Apply(ch); err != nil {
		return err
	}
	return l.doubt(g.Other, fmt.Sprintf("the vendor gave the same reference for task %d", g.Task))
}

// unlessDoubted is the error of a change of a task, unless the task was held meanwhile
// because its reference is in doubt.
func (l *Lane) unlessDoubted(task int64, err error) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, ok := l.doubted[task]; ok && errors.Is(err, store.ErrConflict) {
		return nil
	}
	return err
}

// Trouble is why a run could not do its work at a vendor: a code that is kept with the
// vendor until a run can.
type Trouble string

// The troubles.
const (
	NoTrouble   Trouble = ""
	Down        Trouble = "down"        // calls are not answered
	WrongPlace  Trouble = "address"     // the address does not answer as the vendor's API
	Doubtful    Trouble = "doubt"       // answers cannot be understood, or refuse everybody
	Credentials Trouble = "credentials" // our credentials are refused
	MovedAway   Trouble = "moved"       // see ErrMoved
	NotProved   Trouble = "unproved"    // see ErrUnproved
	NoControl   Trouble = "control"     // the control record is not there
	NotReady    Trouble = "not_ready"   // what the vendor needs on our side is not there
)

// TroubleOf is the trouble that an error shows.
func TroubleOf(err error) Trouble {
	switch {
	case err == nil:
		return NoTrouble
	case errors.Is(err, ErrMoved):
		return MovedAway
	case errors.Is(err, ErrUnproved):
		return NotProved
	case errors.Is(err, vendors.ErrControl):
		return NoControl
	case errors.Is(err, vendors.ErrAuth):
		return Credentials
	case errors.Is(err, vendors.ErrNotSent), errors.Is(err, vendors.ErrUnavailable):
		return Down
	case errors.Is(err, vendors.ErrAddress):
		return WrongPlace
	case errors.Is(err, vendors.ErrRefused), errors.Is(err, vendors.ErrUnreadable):
		return Doubtful
	}
	return NotReady
}

// Words say what the trouble is, of a vendor.
func (t Trouble) Words() string {
	switch t {
	case Down:
		return "does not answer"
	case WrongPlace:
		return "does not answer as its API does: the address may be wrong"
	case Doubtful:
		return "refuses everybody, or its answers cannot be understood"
	case Credentials:
		return "refuses our credentials"
	case MovedAway:
		return "is at another place than the work that is under way"
	case NotProved:
		return "shows nothing of anybody, and nothing shows that the account is the right one"
	case NoControl:
		return "does not show the control record"
	case NotReady:
		return "cannot be used"
	}
	return ""
}

// Command is the command that a person mends it with, or learns more by.
func (t Trouble) Command(vendor string) string {
	switch t {
	case MovedAway:
		return "expunge review moved " + vendor
	case NotProved:
		return "expunge review prove " + vendor
	}
	return "expunge check"
}

// Hint says what a person can do about it.
func (t Trouble) Hint(vendor, config string) string {
	switch t {
	case Down, Doubtful:
		return "run again later; `expunge check` tells whether it is back"
	case WrongPlace:
		return "are region, base_url and the version of the API right in " + config + "? `expunge check` tries them"
	case Credentials:
		return "mend its credentials in " + config + "; `expunge check` tries them"
	case MovedAway:
		return "put its place back in " + config + ", or, if the account has really moved, run `expunge review moved " + vendor + "`"
	case NotProved:
		return "name a record of your own as `control:` in " + config + ", or, if nobody is there indeed, run `expunge review prove " + vendor + "`"
	case NoControl:
		return "is it the right account, and is vendors." + vendor + ".control in " + config + " a record that it has? `expunge check` looks for it"
	}
	return "`expunge check` tries what it needs"
}

// saveTrouble keeps with the vendor how the run went there. A run that called nobody there
// says nothing new.
func (l *Lane) saveTrouble(ctx context.Context, r LaneResult) error {
	err := r.Err
	if err == nil {
		err = r.Doubt
	}
	// That it has moved shows without a call, and so does that it is back.
	silent := err == nil && l.Calls.Load() == 0 && Trouble(l.known.Trouble) != MovedAway
	if l.r.dryRun || errors.Is(err, ErrClock) || silent {
		return nil
	}
	return l.r.store.SetTrouble(ctx, l.id, string(TroubleOf(err)), l.r.now())
}
