package html

import (
	"cmp"
	"fmt"
	"slices"

	"expunge/batch"
)

// people counts persons, not erasures, that stand in one way.
type people struct {
	Key, Label string
	N          int64
	Why        []reasonCount // the most frequent first; one person may have several
}

type reasonCount struct {
	Why string
	N   int64
}

// persons finds how the people of a report stand, row by row.
type persons struct {
	here map[string]map[string]bool // of the person at hand: by standing, then by reason
	all  map[string]*people
}

func newPersons() *persons {
	return &persons{here: map[string]map[string]bool{}, all: map[string]*people{}}
}

// row notes what a row means for the person that it is about. why is its reason in words.
func (p *persons) row(r *batch.ReportRow, why string) {
	note := func(standing, why string) {
		if p.here[standing] == nil {
			p.here[standing] = map[string]bool{}
		}
		p.here[standing][why] = true
	}
	if r.State == "held" || r.State == "failed" && r.ClosedAt == "" {
		note("decision", why)
	}
	if r.DueStatus != "overdue" && r.DueStatus != "at_risk" {
		return
	}
	switch {
	case r.State == "held":
		note(r.DueStatus, "waits for a decision at "+r.Vendor)
	case r.State == "failed" && r.ClosedAt == "":
		note(r.DueStatus, "failed at "+r.Vendor)
	case r.State == "waiting", r.State == "verifying", r.State == "submitting":
		note(r.DueStatus, r.Vendor+" has yet to finish")
	case r.State == "pending", r.State == "previewed":
		note(r.DueStatus, "not yet sent to "+r.Vendor)
	default:
		note(r.DueStatus, "not yet told of the end")
	}
}

// end counts the person at hand.
func (p *persons) end() {
	for standing, why := range p.here {
		all := p.all[standing]
		if all == nil {
			all = &people{}
			p.all[standing] = all
		}
		all.N++
		for text := range why {
			i := slices.IndexFunc(all.Why, func(r reasonCount) bool { return r.Why == text })
			if i < 0 {
				i = len(all.Why)
				all.Why = append(all.Why, reasonCount{Why: text})
			}
			all.Why[i].N++
		}
	}
	clear(p.here)
}

// standings are what the first screen says of people.
func (p *persons) standings() []people {
	all := []people{{Key: "failed", Label: "late"}, {Key: "open", Label: "at risk of being late"}, {Key: "held", Label: "waiting for somebody's decision"}}
	for i, standing := range []string{"overdue", "at_risk", "decision"} {
		if counted := p.all[standing]; counted != nil {
			all[i].N, all[i].Why = counted.N, counted.Why
			slices.SortFunc(all[i].Why, func(a, b reasonCount) int { return cmp.Or(cmp.Compare(b.N, a.N), cmp.Compare(a.Why, b.Why)) })
		}
	}
	return all
}

// monthPart is what was received in a period, by requests.
type monthPart struct {
	batch.StatsRow
	Cells []cell
	Bar   []segment
	Share string // in time
}

// months makes the parts of statistics that are of requests.
func months(stats []batch.StatsRow) []monthPart {
	var all []monthPart
	for _, s := range stats {
		if s.Denied == nil {
			continue
		}
		m := monthPart{StatsRow: s, Share: "–"}
		if s.InTimeShare != nil {
			m.Share = fmt.Sprintf("%.1f %%", 100**s.InTimeShare)
		}
		m.Cells = []cell{
			{outcome{Key: "done", Label: "Erased, verified"}, s.ErasedVerified},
			{outcome{Key: "reported", Label: "Erased, the vendor says"}, s.ErasedVendorDone},
			{outcome{Key: "confirmed", Label: "Erased, a person says"}, s.ErasedConfirmed},
		}
		for i, n := range []int64{s.NotFound, s.Skipped, s.Open, s.Held, s.Failed + s.Rejected} {
			m.Cells = append(m.Cells, cell{outcomes[i+1], n}) // the first is that of all erasures
		}
		m.Bar = bar(m.Cells, s.Received)
		all = append(all, m)
	}
	return all
}
