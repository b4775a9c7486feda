package batch

import (
	"errors"
	"slices"
	"sync"
	"time"

	"expunge/store"
	"expunge/vendors"
)

// How long a sight proves the place, and what looking at the control record may cost.
const (
	proofWindow   = time.Hour          // before and after an answer
	proofStored   = 7 * 24 * time.Hour // a sight of others where no control is configured, and a person's word
	controlEvery  = 55 * time.Minute   // while a run works: a sight is never older than proofWindow
	controlAgain  = time.Second        // after a look that failed; four times as long after each further one
	controlLooks  = 6                  // in an hour
	controlDoubts = 4                  // of these, looks that are not for an answer that waits
	formsWait     = 10 * time.Minute   // at most, for the look that concludes them
	formsAside    = 1000               // so many answers are worth a look at once
	unprovedMost  = 20                 // answers put aside with nobody seen park the vendor
)

// A proof keeps what shows that a vendor account is the right one, at the right place: the
// times at which it showed a record that it holds. An answer that somebody is not there
// counts only beside such a sight. Until there is one the answer is put aside; the next
// sight concludes it without another call.
//
// An answer that no document explains (vendors.Error.Form) may be this vendor's way to say
// that it holds nothing. It counts as that only where a stranger, whom nobody can be, got
// the same answer, and the control record was found afterwards.
//
// A proof keeps books only: it makes no calls and knows no clock. W is the work whose
// answer is put aside.
type proof[W any] struct {
	control bool // the config names a control record

	mu     sync.Mutex
	sights sights
	found  bool                     // the control record was found, the last time it was looked up in this run
	asking bool                     // a look at the control record or a stranger is under way
	looked []time.Time              // looks at the control record, of the last hour
	last   time.Time                // the newest look in this run
	failed int                      // looks up to that one that ended with an error
	forms  map[vendors.Field]string // what strangers got in this run, by the class of the identifier
	aside  []aside[W]
}

// sights are the newest times at which a vendor account was seen to hold something.
type sights struct {
	Control time.Time // the control record was found
	Others  time.Time // a record of anybody else was
	Word    time.Time // a person vouched for the place
}

// aside is an answer that waits for proof.
type aside[W any] struct {
	work  W
	at    time.Time     // of the answer
	class vendors.Field // of the identifier that was asked for
	form  string        // "": the answer says that nothing is held; else it may
}

// standing is what becomes of an answer.
type standing uint8

const (
	isNothing standing = iota // it means that nothing is held
	isAside                   // it was put aside
	isError                   // it is the error that it looks like
)

// verdict is what became of an answer that was put aside: it means that nothing is held,
// by this evidence, or (NoEvidence) it is the error that it looks like.
type verdict[W any] struct {
	work     W
	evidence store.Evidence
}

func newProof[W any](control bool, known sights) *proof[W] {
	return &proof[W]{control: control, sights: known, forms: map[vendors.Field]string{}}
}

// weigh says what an answer means by which a vendor holds nothing (form ""), or may hold
// nothing, of somebody. An answer that waits is put aside with its work.
func (p *proof[W]) weigh(work W, class vendors.Field, form string, at time.Time) (store.Evidence, standing) {
	p.mu.Lock()
	defer p.mu.Unlock()
	a := aside[W]{work, at, class, form}
	by, s := p.judge(&a)
	if s == isAside {
		p.aside = append(p.aside, a)
	}
	return by, s
}

func (p *proof[W]) judge(a *aside[W]) (store.Evidence, standing) {
	if a.form != "" {
		learned, asked := p.forms[a.class]
		switch {
		case !p.found, asked && learned != a.form:
			return store.NoEvidence, isError
		case asked && !p.sights.Control.Before(a.at):
			return store.ControlSeen, isNothing
		}
		return store.NoEvidence, isAside
	}
	others := proofWindow
	if !p.control {
		others = proofStored
	}
	switch {
	case p.control && near(p.sights.Control, a.at, proofWindow):
		return store.ControlSeen, isNothing
	case near(p.sights.Others, a.at, others):
		return store.OthersSeen, isNothing
	case near(p.sights.Word, a.at, proofStored):
		return store.Confirmed, isNothing
	}
	return store.NoEvidence, isAside
}

func near(sight, at time.Time, window time.Duration) bool {
	return at.Sub(sight).Abs() <= window
}

// sawOthers takes note that a record of a subject was seen.
func (p *proof[W]) sawOthers(at time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if at.After(p.sights.Others) {
		p.sights.Others = at
	}
}

// waiting is how many answers are put aside.
func (p *proof[W]) waiting() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.aside)
}

// settle returns what can be said by now of the answers that were put aside.
func (p *proof[W]) settle() []verdict[W] {
	p.mu.Lock()
	defer p.mu.Unlock()
	var all []verdict[W]
	p.aside = slices.DeleteFunc(p.aside, func(a aside[W]) bool {
		by, s := p.judge(&a)
		if s == isAside {
			return false
		}
		all = append(all, verdict[W]{a.work, by})
		return true
	})
	return all
}

// rest gives back, without a verdict, the work of all answers that are still put aside.
func (p *proof[W]) rest() []W {
	p.mu.Lock()
	defer p.mu.Unlock()
	var all []W
	for _, a := range p.aside {
		all = append(all, a.work)
	}
	p.aside = nil
	return all
}

// question is what a proof needs to have asked.
type question struct {
	control  bool          // look at the control record; controlFound or controlFailed follows
	stranger vendors.Field // ask about a stranger of this class (vendors.Email, vendors.Telephone); strangerGot follows
}

// ask returns what to ask the vendor now; ok is false where there is nothing to ask. idle
// says that the lane has nothing else to do; doubted, that looks fail, of which the control
// record tells whether that is the vendor's trouble or somebody's own. Where a look would be
// due and the hour's looks are used up, later is when the next one is free.
func (p *proof[W]) ask(now time.Time, idle, doubted bool) (q question, ok bool, later time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.control || p.asking {
		return question{}, false, time.Time{}
	}
	look := p.last.IsZero() || p.failed > 0 || now.Sub(p.last) >= controlEvery
	forms := 0
	for i := range p.aside {
		a := &p.aside[i]
		if a.form == "" {
			look = true
			continue
		}
		if _, asked := p.forms[a.class]; !asked {
			p.asking = true
			return question{stranger: a.class}, true, time.Time{}
		}
		forms++
		look = look || idle || now.Sub(a.at) >= formsWait || forms >= formsAside
	}
	p.looked = slices.DeleteFunc(p.looked, func(t time.Time) bool { return now.Sub(t) >= time.Hour })
	if !look && !(doubted && len(p.looked) < controlDoubts) {
		return question{}, false, time.Time{}
	}
	if len(p.looked) >= controlLooks {
		return question{}, false, p.looked[0].Add(time.Hour)
	}
	if p.failed > 0 {
		if again := p.last.Add(controlAgain << (2 * min(p.failed-1, 5))); now.Before(again) {
			return question{}, false, again
		}
	}
	p.asking = true
	return question{control: true}, true, time.Time{}
}

// controlFound takes note of a look that began at the given time and found the control
// record.
func (p *proof[W]) controlFound(began time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.looks(began)
	p.sights.Control, p.found, p.failed = began, true, 0
}

// controlFailed takes note of a look that ended with an error. Where the error is the
// vendor's answer, nothing can be learned of other such answers.
func (p *proof[W]) controlFailed(began time.Time, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if errors.Is(err, vendors.ErrStopped) || errors.Is(err, vendors.ErrPaused) {
		p.asking = false // it was not made
		return
	}
	p.looks(began)
	p.failed++
	if isAnswer(err) {
		p.found = false
	}
}

func (p *proof[W]) looks(began time.Time) {
	p.asking, p.last, p.looked = false, began, append(p.looked, began)
}

// strangerGot takes note of what was answered about a stranger: the form of an answer that
// is not understood, or "" for one that is; and the call's error, where it failed.
func (p *proof[W]) strangerGot(class vendors.Field, form string, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.asking = false
	if err == nil || isAnswer(err) {
		p.forms[class] = form
	}
}

// isAnswer reports whether a failed call was answered by the vendor.
func isAnswer(err error) bool {
	return !errors.Is(err, vendors.ErrNotSent) && !errors.Is(err, vendors.ErrUnavailable) && !errors.Is(err, vendors.ErrRateLimited)
}

// unproved reports whether so many answers say that nobody is there, and nothing that
// somebody is, that the place cannot be taken for the right one.
func (p *proof[W]) unproved() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := 0
	for i := range p.aside {
		if p.aside[i].form == "" {
			n++
		}
	}
	return n >= unprovedMost
}

// seen returns the sights, to be stored.
func (p *proof[W]) seen() sights {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.sights
}
