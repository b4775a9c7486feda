package batch

import (
	"errors"
	"testing"
	"time"

	"expunge/vendors"
)

var (
	errNoAnswer = &vendors.Error{Kind: vendors.ErrUnavailable}
	errNoRoute  = &vendors.Error{Kind: vendors.ErrNotSent}
	errBad      = &vendors.Error{Kind: vendors.ErrRefused}
	errOdd      = &vendors.Error{Kind: vendors.ErrUnreadable}
	errKey      = &vendors.Error{Kind: vendors.ErrAuth}
	errSlow     = &vendors.Error{Kind: vendors.ErrRateLimited}
	errPause    = &vendors.Error{Kind: vendors.ErrNotSent, Err: vendors.ErrPaused}
	errStop     = &vendors.Error{Kind: vendors.ErrNotSent, Err: vendors.ErrStopped}
)

// braking is a brake with a clock, in which calls take no time.
type braking struct {
	*brake
	t   *testing.T
	now time.Time
}

func newBraking(t *testing.T) *braking {
	return &braking{newBrake(), t, time.Date(2026, 11, 25, 22, 0, 0, 0, time.UTC)}
}

// begin makes a call that the brake must allow.
func (b *braking) begin(kind callKind) pass {
	b.t.Helper()
	p, turn, until := b.may(kind, b.now)
	if turn != nil || !until.IsZero() {
		b.t.Fatalf("a call is not allowed: turn %v, until %v", turn != nil, until)
	}
	return p
}

func (b *braking) call(kind callKind, task int64, err error) finding {
	b.t.Helper()
	return b.end(b.begin(kind), task, err, b.now)
}

// waits reports whether a call would have to wait for another to end.
func (b *braking) waits(kind callKind) bool {
	_, turn, until := b.may(kind, b.now)
	if turn == nil && until.IsZero() {
		b.t.Fatal("a call is allowed")
	}
	return turn != nil
}

// TestBrakeParks: what parks a vendor, and what does not.
func TestBrakeParks(t *testing.T) {
	type c struct {
		kind callKind
		task int64
		err  error
	}
	many := func(n int, kind callKind, err error) (all []c) {
		for i := range n {
			all = append(all, c{kind, int64(i + 1), err})
		}
		return all
	}
	good := []c{{looks, 1, nil}, {submissions, 1, nil}}
	for _, tt := range []struct {
		name   string
		calls  []c
		parked bool
	}{
		{"four calls without an answer", many(4, looks, errNoAnswer), false},
		{"five calls without an answer", many(5, looks, errNoAnswer), true},
		{"five that did not leave", append(good, many(5, submissions, errNoRoute)...), true},
		{"without an answer, three and two of either kind", append(append(good, many(3, looks, errNoAnswer)...), many(2, submissions, errNoRoute)...), true},
		{"a success between", append(append(many(4, looks, errNoAnswer), c{looks, 9, nil}), many(4, looks, errNoAnswer)...), false},
		{"five refusals for five people", append(good, many(5, submissions, errBad)...), true},
		{"odd answers, refusals and 403s for five people", append(good, c{looks, 1, errOdd}, c{looks, 2, errBad}, c{looks, 3, errKey}, c{looks, 4, errOdd}, c{looks, 5, errBad}), true},
		{"nine refusals for one person, others accepted before", append(good, c{looks, 7, errBad}, c{looks, 7, errBad}, c{looks, 7, errBad}, c{looks, 7, errBad},
			c{looks, 7, errBad}, c{looks, 7, errBad}, c{looks, 7, errBad}, c{looks, 7, errBad}, c{looks, 7, errBad}), false},
		{"five refusals for one person, nobody accepted before", []c{{looks, 7, errBad}, {looks, 7, errBad}, {looks, 7, errBad}, {looks, 7, errBad}, {looks, 7, errBad}}, true},
		{"good looks do not excuse refused submissions", []c{{looks, 1, nil}, {submissions, 1, errBad}, {looks, 2, nil}, {submissions, 2, errBad}, {looks, 3, nil},
			{submissions, 3, errBad}, {looks, 4, nil}, {submissions, 4, errBad}, {looks, 5, nil}, {submissions, 5, errBad}}, true},
		{"good looks do not excuse unanswered submissions", []c{{looks, 1, nil}, {submissions, 1, nil}, {submissions, 2, errNoAnswer}, {looks, 3, nil}, {submissions, 3, errNoAnswer},
			{looks, 4, nil}, {submissions, 4, errNoAnswer}, {looks, 5, nil}, {submissions, 5, errNoAnswer}, {looks, 6, nil}, {submissions, 6, errNoAnswer}}, true},
		{"a mix before the first success", []c{{looks, 1, errNoAnswer}, {looks, 2, errBad}, {looks, 3, errNoAnswer}, {looks, 4, errBad}, {looks, 5, errOdd}}, true},
		{"what says nothing of the vendor", append(many(9, looks, errSlow), append(many(9, looks, errPause), append(many(9, looks, errStop), many(9, looks, vendors.ErrNoValue)...)...)...), false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := newBraking(t)
			for i, x := range tt.calls {
				f := b.call(x.kind, x.task, x.err)
				if last := i == len(tt.calls)-1; f.Parked.IsZero() == (last && tt.parked) {
					t.Fatalf("call %d: parked until %v", i+1, f.Parked)
				}
			}
			if until := b.held(b.now); tt.parked == until.IsZero() || tt.parked && until.Sub(b.now) != 5*time.Second {
				t.Errorf("held until %v", until)
			}
			if silent := errors.Is(tt.calls[len(tt.calls)-1].err, vendors.ErrNoValue); (b.trouble() == nil) != silent {
				t.Errorf("trouble: %v", b.trouble())
			}
		})
	}
}

// TestBrakeBlame: a failure is a task's own only if it is the first after a success of the
// same kind.
func TestBrakeBlame(t *testing.T) {
	b := newBraking(t)
	check := func(f finding, blamed bool, nth int) {
		t.Helper()
		if f.Blamed != blamed || f.Nth != nth {
			t.Errorf("blamed %v, failure %d in a row; want %v, %d", f.Blamed, f.Nth, blamed, nth)
		}
	}
	check(b.call(looks, 1, errBad), false, 1) // nobody was accepted yet
	check(b.call(looks, 2, nil), false, 0)
	check(b.call(submissions, 2, errBad), false, 1) // a look is no submission
	check(b.call(looks, 1, errBad), true, 1)
	check(b.call(looks, 3, errOdd), false, 2) // the second in a row: the vendor is in doubt
	check(b.call(looks, 1, errBad), false, 3)
	check(b.call(looks, 3, nil), false, 0)
	check(b.call(looks, 1, errSlow), false, 0)
	check(b.call(looks, 1, errKey), true, 1)
	check(b.call(looks, 4, vendors.ErrNoValue), true, 1)
	check(b.call(looks, 4, nil), false, 0)
	check(b.call(looks, 5, errNoAnswer), true, 1)
	if b.trouble() == nil { // of the submissions, none of which was accepted
		t.Error("no trouble")
	}
	b.call(submissions, 2, nil)
	if err := b.trouble(); err != nil {
		t.Errorf("one failure that is a task's own is no trouble of the vendor's: %v", err)
	}
	b.call(looks, 6, errNoAnswer)
	if !errors.Is(b.trouble(), vendors.ErrUnavailable) {
		t.Errorf("trouble: %v", b.trouble())
	}
}

// TestBrakeAlone: where nobody but one is called for, the second failure in a row is marked,
// once.
func TestBrakeAlone(t *testing.T) {
	for _, tt := range []struct {
		name  string
		tasks []int64 // whose submissions fail, one after the other
		want  int     // which of them is marked, from 1; 0: none
	}{
		{"one alone", []int64{7, 7, 7, 7}, 2},
		{"another between", []int64{7, 8, 7, 7}, 0},
		{"another first", []int64{8, 7, 7, 7}, 0},
	} {
		for _, err := range []error{errBad, errNoAnswer} {
			b := newBraking(t)
			b.call(looks, 7, nil) // a look is no submission
			for i, task := range tt.tasks {
				if f := b.call(submissions, task, err); f.Alone != (i+1 == tt.want) || f.Blamed {
					t.Errorf("%s, call %d: alone %v, blamed %v", tt.name, i+1, f.Alone, f.Blamed)
				}
			}
		}
	}
	b := newBraking(t)
	b.call(submissions, 1, nil)
	for range 3 {
		if f := b.call(submissions, 7, errBad); f.Alone {
			t.Error("others were accepted in this run: the first failure was the task's own")
		}
	}
}

// TestBrakeCareful: calls of a kind go one at a time until the first success, and again
// after an answer that raises doubt.
func TestBrakeCareful(t *testing.T) {
	b := newBraking(t)
	first := b.begin(looks)
	if !b.waits(looks) {
		t.Error("a second look before the first has succeeded")
	}
	_, turn, _ := b.may(looks, b.now)
	submit := b.begin(submissions) // counted apart
	if !b.waits(submissions) {
		t.Error("a second submission before the first has succeeded")
	}
	b.end(first, 1, nil, b.now)
	select {
	case <-turn:
	default:
		t.Error("nobody was told that the first look has ended")
	}
	x, y := b.begin(looks), b.begin(looks)
	b.end(submit, 1, errNoAnswer, b.now)
	again := b.begin(submissions)
	if !b.waits(submissions) {
		t.Error("a failure is no first success")
	}
	b.end(again, 1, nil, b.now)
	b.end(x, 2, errNoAnswer, b.now)
	z := b.begin(looks) // no answer at all raises no doubt about the account
	b.end(y, 3, errBad, b.now)
	if !b.waits(looks) { // z is under way
		t.Error("a second look after an answer that raised doubt")
	}
	b.end(z, 4, errStop, b.now)
	z = b.begin(looks)
	if !b.waits(looks) {
		t.Error("what was not made ended the care")
	}
	b.end(z, 5, nil, b.now)
	b.begin(looks)
	b.begin(looks)
}

// TestBrakeProbes: a parked vendor is asked one call at a time, after waits that double up
// to a bound, and goes on with a success of the kind that had failed.
func TestBrakeProbes(t *testing.T) {
	for _, tt := range []struct {
		name    string
		err     error
		longest time.Duration
	}{{"down", errNoAnswer, 10 * time.Minute}, {"doubt", errOdd, time.Hour}} {
		t.Run(tt.name, func(t *testing.T) {
			b := newBraking(t)
			b.call(looks, 1, nil)
			b.call(submissions, 1, nil)
			for i := range 5 {
				b.call(submissions, int64(i+1), tt.err)
			}
			for wait := 5 * time.Second; ; {
				if got := b.held(b.now).Sub(b.now); got != wait {
					t.Fatalf("parked for %v, want %v", got, wait)
				}
				if b.waits(looks) {
					t.Fatal("parked, and a look waits for its turn")
				}
				b.now = b.now.Add(wait)
				p := b.begin(looks)
				if !b.waits(submissions) {
					t.Fatal("two calls to a parked vendor")
				}
				b.end(p, 1, nil, b.now)
				if !b.parked {
					t.Fatal("a good look excuses what submissions got")
				}
				if wait == tt.longest {
					break
				}
				if f := b.call(submissions, 1, tt.err); f.Blamed || f.Parked.IsZero() {
					t.Fatalf("a probe that failed: %+v", f)
				}
				wait = min(2*wait, tt.longest)
			}
			b.call(submissions, 1, nil)
			if b.parked || b.trouble() != nil {
				t.Error("still parked after a success")
			}
			for i := range 5 {
				b.call(submissions, int64(i+1), tt.err)
			}
			if got := b.held(b.now).Sub(b.now); got != 5*time.Second {
				t.Errorf("parked anew for %v", got)
			}
		})
	}
}

// TestBrakeInFlight: the failures of calls that left before the vendor was parked do not
// make the pause longer.
func TestBrakeInFlight(t *testing.T) {
	b := newBraking(t)
	b.call(looks, 1, nil)
	var all []pass
	for range 8 {
		all = append(all, b.begin(looks))
	}
	for i, p := range all {
		b.end(p, int64(i), errNoAnswer, b.now)
	}
	if got := b.held(b.now).Sub(b.now); got != 5*time.Second {
		t.Errorf("parked for %v", got)
	}
}

// TestBrakeRefused: credentials that are refused from the first call on are found out within
// five calls, for one person as for many; where anything was accepted it is not the
// credentials.
func TestBrakeRefused(t *testing.T) {
	for _, people := range []int64{1, 9} {
		b := newBraking(t)
		for i := range int64(5) {
			f := b.call(submissions, i%people, errKey)
			if f.Refused != (i == 4) || f.Blamed {
				t.Errorf("%d people, call %d: %+v", people, i+1, f)
			}
		}
	}
	for _, before := range []error{nil, errOdd} {
		b := newBraking(t)
		b.call(looks, 9, before)
		for i := range int64(5) {
			if before != nil && i == 4 {
				break // four refusals and an odd answer park too
			}
			f := b.call(looks, i, errKey)
			if f.Refused {
				t.Errorf("after %v, refusal %d: %+v", before, i+1, f)
			}
		}
		if b.held(b.now).IsZero() {
			t.Errorf("after %v: not parked", before)
		}
	}
}

// TestBrakeNight: a parked vendor costs at most 25 calls a night.
func TestBrakeNight(t *testing.T) {
	b := newBraking(t)
	calls := 0
	for end := b.now.Add(10 * time.Hour); b.now.Before(end); calls++ {
		b.call(looks, int64(calls), errBad)
		if until := b.held(b.now); !until.IsZero() {
			b.now = until
		}
	}
	if calls > 25 {
		t.Errorf("%d calls in ten hours", calls)
	}
}

// TestBrakeUndecided: an answer whose meaning is not known yet counts when it is.
func TestBrakeUndecided(t *testing.T) {
	b := newBraking(t)
	b.call(looks, 1, nil)
	var open []pass
	for range 6 {
		p := b.begin(looks)
		b.undecided(p)
		open = append(open, p)
	}
	if b.trouble() != nil || !b.held(b.now).IsZero() {
		t.Error("an answer was counted before it was judged")
	}
	for i, p := range open[:5] {
		b.judged(p, int64(i), errOdd, b.now)
	}
	if b.held(b.now).IsZero() {
		t.Error("five odd answers, judged later, do not park")
	}
	b.judged(open[5], 5, nil, b.now)
	if b.parked {
		t.Error("a good answer, judged later, does not end it")
	}
}
