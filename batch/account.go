package batch

import (
	"math"
	"time"

	"expunge/batch/exports"
	"expunge/store"
	"expunge/vendors"
)

// Account is what is known of a configured vendor without calling it.
type Account struct {
	Name string // the user's
	vendors.Traits
	Exports   vendors.Exports // how it hands out what it holds; the zero value: not at all
	PerSecond float64         // configured rate, for estimates and for how much is claimed at once
	PerDay    int64           // configured limit per 24 hours, for estimates; 0: none

	id int64 // in the store; 0: it is not there
}

// AccountOf asks the vendor what it is, which calls nobody.
func AccountOf(name string, v vendors.Vendor, rate vendors.Rate) *Account {
	a := &Account{Name: name, Traits: v.Traits(), PerSecond: rate.PerSecond, PerDay: rate.PerDay}
	if x, ok := v.(vendors.Exporter); ok {
		a.Exports = x.Exports()
	}
	return a
}

// CheckExports finds out whether the account's exports could be kept; on is false where it
// is to make none.
func (a *Account) CheckExports() (dir string, on bool, err error) {
	if a.Exports.Mode == vendors.NoExport {
		return "", false, nil
	}
	return a.Exports.Dir, true, exports.Check(a.Exports.Dir, a.Exports.Recipients)
}

func (a *Account) pace() Pace {
	p := Pace{Traits: a.Traits, PerSecond: a.PerSecond}
	if daily := float64(a.PerDay) / (24 * 3600); a.PerDay > 0 && daily < p.PerSecond {
		p.PerSecond = daily
	}
	return p
}

// Pace is how fast a vendor's work goes, for estimates.
type Pace struct {
	Traits    vendors.Traits
	PerSecond float64 // calls, a daily limit included; 0: not known
}

// calls is how many calls a task in this state is likely to need to its end. What waits on
// people needs none.
func (p Pace) calls(s store.State) float64 {
	if s.Final() || s == store.Held {
		return 0
	}
	switch p.Traits.Completion {
	case vendors.ByPreview: // preview, submit, verify
		switch s {
		case store.Verifying:
			return 1
		case store.Previewed:
			return 2
		}
		return 3
	case vendors.ByPoll:
		polls := 1.0
		if p.Traits.PollEvery > 0 {
			polls += math.Floor(max(0, p.Traits.LeadTime-p.Traits.FirstPoll).Hours() / p.Traits.PollEvery.Hours())
		}
		if s == store.Waiting {
			return polls
		}
		return 1 + polls
	case vendors.ByPerson:
		if s == store.Waiting {
			return 0
		}
		return 1
	}
	return 1
}

// takes is how long calls take at this pace.
func (p Pace) takes(calls float64) time.Duration {
	if p.PerSecond <= 0 {
		return 0
	}
	return time.Duration(min(calls/p.PerSecond, 100*365*24*3600) * float64(time.Second))
}
