package batch

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"expunge/store"
	"expunge/vendors"
)

var night = time.Date(2026, 11, 25, 22, 0, 0, 0, time.UTC)

func after(d time.Duration) time.Time { return night.Add(d) }

// told is how a test writes what became of an answer.
func told(by store.Evidence, s standing) string {
	return [...]string{"nothing", "aside", "error"}[s] + " " + by.String()
}

// settled is what is said by now of the answers that were put aside, by the name of the work.
func settled(p *proof[string]) string {
	var all []string
	for _, v := range p.settle() {
		if v.evidence == store.NoEvidence {
			all = append(all, v.work+" error")
		} else {
			all = append(all, v.work+" "+v.evidence.String())
		}
	}
	slices.Sort(all)
	return strings.Join(all, ", ")
}

// TestProofSights: which sight proves a "nothing held", how long before and after it.
func TestProofSights(t *testing.T) {
	never := time.Time{}
	at := after(0)
	for _, tt := range []struct {
		name    string
		control bool
		known   sights
		want    string
	}{
		{"nobody was ever seen", false, sights{}, "aside "},
		{"nobody was ever seen, a control is configured", true, sights{}, "aside "},
		{"the control just now", true, sights{Control: at}, "nothing control"},
		{"the control an hour ago", true, sights{Control: at.Add(-time.Hour)}, "nothing control"},
		{"the control more than an hour ago", true, sights{Control: at.Add(-time.Hour - time.Second)}, "aside "},
		{"the control and others", true, sights{Control: at.Add(-time.Hour), Others: at}, "nothing control"},
		{"others within the hour, the control before", true, sights{Control: at.Add(-2 * time.Hour), Others: at.Add(-time.Hour)}, "nothing others"},
		{"others before the hour, a control is configured", true, sights{Others: at.Add(-2 * time.Hour)}, "aside "},
		{"others this week, no control", false, sights{Others: at.Add(-7 * 24 * time.Hour)}, "nothing others"},
		{"others last week, no control", false, sights{Others: at.Add(-7*24*time.Hour - time.Second)}, "aside "},
		{"a control of before, none is configured now", false, sights{Control: at}, "aside "},
		{"a person's word this week", false, sights{Word: at.Add(-7 * 24 * time.Hour)}, "nothing confirmed"},
		{"a person's word and others", false, sights{Word: at, Others: at.Add(-time.Hour)}, "nothing others"},
		{"a person's word last week", false, sights{Word: at.Add(-8 * 24 * time.Hour)}, "aside "},
		{"a person's word, a control is configured", true, sights{Word: at.Add(-time.Hour)}, "nothing confirmed"},
		{"no time at all", true, sights{never, never, never}, "aside "},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := newProof[string](tt.control, tt.known)
			if got := told(p.weigh("w", vendors.Email, "", at)); got != tt.want {
				t.Errorf("%s, want %s", got, tt.want)
			}
		})
	}
}

// TestProofLater: a sight within the hour after an answer concludes it, and no other.
func TestProofLater(t *testing.T) {
	p := newProof[string](true, sights{})
	for i, m := range []time.Duration{0, 30, 61} {
		p.weigh(fmt.Sprint("w", i), vendors.Email, "", after(m*time.Minute))
	}
	if got := settled(p); got != "" {
		t.Errorf("concluded without a sight: %s", got)
	}
	p.sawOthers(after(80 * time.Minute))
	if got := settled(p); got != "w1 others, w2 others" {
		t.Errorf("concluded by a sight at 80 minutes: %s", got)
	}
	p.controlFound(after(60 * time.Minute))
	if got := settled(p); got != "w0 control" {
		t.Errorf("concluded by the control at 60 minutes: %s", got)
	}
	if got := settled(p); got != "" || len(p.rest()) != 0 {
		t.Errorf("concluded twice: %s", got)
	}
	p.sawOthers(after(0)) // an older sight does not replace a newer one
	if p.seen() != (sights{Control: after(60 * time.Minute), Others: after(80 * time.Minute)}) {
		t.Errorf("%+v", p.seen())
	}
}

// TestProofUnproved: twenty people looked up with nobody seen.
func TestProofUnproved(t *testing.T) {
	p := newProof[string](false, sights{})
	for i := range 20 {
		if p.unproved() {
			t.Fatalf("unproved after %d", i)
		}
		p.weigh("w", vendors.Email, "", after(0))
	}
	if !p.unproved() {
		t.Error("not unproved after 20")
	}
	if n := len(p.rest()); n != 20 || p.unproved() {
		t.Errorf("%d were given back", n)
	}
}

// asks is what a proof wants to have asked, as a test writes it.
func asks(p *proof[string], now time.Time, idle bool) string {
	q, ok, later := p.ask(now, idle, false)
	switch {
	case !ok && later.IsZero():
		return "nothing"
	case !ok:
		return "later " + later.Sub(night).String()
	case q.control:
		return "control"
	}
	return "stranger " + q.stranger.String()
}

// TestProofAsks: the control record is looked up at the start of a run, before its sight
// gets old, and when an answer waits for it; never more than six times an hour, and not
// again at once after a failure.
func TestProofAsks(t *testing.T) {
	want := func(p *proof[string], m time.Duration, idle bool, want string) {
		t.Helper()
		if got := asks(p, after(m*time.Minute), idle); got != want {
			t.Errorf("at %d minutes: %s, want %s", m, got, want)
		}
	}
	p := newProof[string](false, sights{})
	p.weigh("w", vendors.Email, "", after(0))
	want(p, 0, true, "nothing")

	p = newProof[string](true, sights{Control: after(-time.Minute)})
	want(p, 0, false, "control")
	want(p, 0, false, "nothing") // somebody is at it
	p.controlFailed(after(0), errStop)
	want(p, 0, false, "control") // it was not made
	p.controlFound(after(0))
	want(p, 54, true, "nothing")
	want(p, 55, false, "control")
	p.controlFound(after(55 * time.Minute))

	p = newProof[string](true, sights{})
	want(p, 0, false, "control")
	p.controlFailed(after(0), errNoAnswer)
	p.weigh("w", vendors.Email, "", after(0))
	at := time.Duration(0)
	for _, wait := range []time.Duration{1, 4, 16, 64, 256} {
		if got := asks(p, after(at), true); got != "later "+(at+wait*time.Second).String() {
			t.Errorf("after a failure at %v: %s", at, got)
		}
		at += wait * time.Second
		if got := asks(p, after(at), false); got != "control" {
			t.Errorf("%v after a failure: %s", wait*time.Second, got)
		}
		p.controlFailed(after(at), errNoAnswer)
	}
	want(p, 7, true, "later 1h0m0s")
	want(p, 59, true, "later 1h0m0s")
	want(p, 60, true, "control")
	p.controlFound(after(60 * time.Minute))
	if got := settled(p); got != "w control" {
		t.Errorf("settled: %s", got)
	}
	want(p, 61, true, "nothing")
}

// TestProofForms: an answer that no document explains is "nothing held" only where the
// control record is found, a stranger got the same, and the control record was found after
// it.
func TestProofForms(t *testing.T) {
	type step = func(p *proof[string])
	found := func(m time.Duration) step {
		return func(p *proof[string]) { p.controlFound(after(m * time.Minute)) }
	}
	failed := func(err error) step {
		return func(p *proof[string]) { p.controlFailed(after(2*time.Minute), err) }
	}
	stranger := func(class vendors.Field, form string, err error) step {
		return func(p *proof[string]) { p.strangerGot(class, form, err) }
	}
	for _, tt := range []struct {
		name          string
		before, after []step
		want          string // of an answer with form F at 1 minute
		settled       string
	}{
		{"no control was found", nil, nil, "error ", ""},
		{"the control of the run before", []step{func(p *proof[string]) { p.sights.Control = after(0) }}, nil, "error ", ""},
		{"others were seen", []step{func(p *proof[string]) { p.sawOthers(after(0)) }}, nil, "error ", ""},
		{"a stranger got the same, the control was found after", []step{found(0)}, []step{stranger(vendors.Email, "F", errOdd), found(1)}, "aside ", "w control"},
		{"a stranger was asked before", []step{found(0), stranger(vendors.Email, "F", errOdd)}, []step{found(2)}, "aside ", "w control"},
		{"the control was found before only", []step{found(0)}, []step{stranger(vendors.Email, "F", errOdd)}, "aside ", ""},
		{"the control was found, no stranger was asked", []step{found(0)}, []step{found(2)}, "aside ", ""},
		{"a stranger got another form", []step{found(0)}, []step{stranger(vendors.Email, "G", errOdd)}, "aside ", "w error"},
		{"a stranger got what is documented", []step{found(0)}, []step{stranger(vendors.Email, "", nil)}, "aside ", "w error"},
		{"a stranger got what is documented, before", []step{found(0), stranger(vendors.Email, "", nil)}, nil, "error ", ""},
		{"a stranger by telephone got the same", []step{found(0)}, []step{stranger(vendors.Telephone, "F", errOdd), found(2)}, "aside ", ""},
		{"a stranger got no answer", []step{found(0)}, []step{stranger(vendors.Email, "", errNoAnswer), found(2)}, "aside ", ""},
		{"the control is gone afterwards", []step{found(0)}, []step{stranger(vendors.Email, "F", errOdd), failed(errOdd)}, "aside ", "w error"},
		{"the control is not answered afterwards", []step{found(0)}, []step{stranger(vendors.Email, "F", errOdd), failed(errNoAnswer)}, "aside ", ""},
		{"the control cannot be asked afterwards", []step{found(0)}, []step{stranger(vendors.Email, "F", errOdd), failed(errStop)}, "aside ", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := newProof[string](true, sights{})
			for _, s := range tt.before {
				s(p)
			}
			if got := told(p.weigh("w", vendors.Email, "F", after(time.Minute))); got != tt.want {
				t.Errorf("%s, want %s", got, tt.want)
			}
			for _, s := range tt.after {
				s(p)
			}
			if got := settled(p); got != tt.settled {
				t.Errorf("settled: %q, want %q", got, tt.settled)
			}
		})
	}
	p := newProof[string](false, sights{Others: after(0)})
	p.strangerGot(vendors.Email, "F", errOdd)
	if got := told(p.weigh("w", vendors.Email, "F", after(0))); got != "error " {
		t.Errorf("without a control: %s", got)
	}
}

// TestProofFormAsks: a stranger of the class is asked about once; then the control record,
// when the lane is idle, an answer has waited for ten minutes, or very many wait.
func TestProofFormAsks(t *testing.T) {
	want := func(p *proof[string], at time.Duration, idle bool, want string) {
		t.Helper()
		if got := asks(p, after(at), idle); got != want {
			t.Errorf("at %v: %s, want %s", at, got, want)
		}
	}
	p := newProof[string](true, sights{})
	p.controlFound(after(0))
	p.weigh("w", vendors.Email, "F", after(time.Second))
	p.strangerGot(vendors.Email, "F", errOdd)
	want(p, time.Second, true, "control") // only a look that failed is waited after
	p.controlFound(after(time.Second))
	p.settle()
	p.forms = map[vendors.Field]string{}
	p.weigh("w", vendors.Email, "F", after(time.Minute))
	want(p, time.Minute, false, "stranger email")
	want(p, time.Minute, true, "nothing") // somebody is at it
	p.strangerGot(vendors.Email, "", errNoAnswer)
	want(p, time.Minute, false, "stranger email")
	p.strangerGot(vendors.Email, "F", errOdd)
	want(p, 10*time.Minute, false, "nothing")
	want(p, 11*time.Minute, false, "control")
	p.controlFound(after(11 * time.Minute))
	if got := settled(p); got != "w control" {
		t.Errorf("settled: %s", got)
	}
	want(p, 30*time.Minute, true, "nothing")
	p.weigh("w", vendors.Telephone, "F", after(30*time.Minute))
	want(p, 30*time.Minute, false, "stranger telephone")
	p.strangerGot(vendors.Telephone, "F", errOdd)
	want(p, 30*time.Minute, false, "nothing")
	want(p, 30*time.Minute, true, "control")
	p.controlFound(after(30 * time.Minute))
	p.settle()
	for range formsAside {
		want(p, 31*time.Minute, false, "nothing")
		p.weigh("w", vendors.Email, "F", after(31*time.Minute))
	}
	want(p, 31*time.Minute, false, "control")
	if p.unproved() {
		t.Error("answers of a learned form make a vendor unproved")
	}
}
