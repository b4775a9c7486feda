package batch

import (
	"slices"
	"time"

	"expunge/store"
)

// Outlook says how long before its due date a task is at risk: at_risk, or longer where
// the vendor needs longer, that is its lead time and the work that comes first. Work is
// done in the order of due dates, so what is due later does not count.
type Outlook struct {
	least  time.Duration
	lead   map[int64]time.Duration
	queues map[int64]map[int64]time.Duration // by vendor and due day (Unix seconds)
}

// newOutlook is made from counts in the order of Standing, and the paces of the vendors, by
// their ids.
func newOutlook(counts []store.Standing, paces map[int64]Pace, least time.Duration) *Outlook {
	o := &Outlook{least: least, lead: map[int64]time.Duration{}, queues: map[int64]map[int64]time.Duration{}}
	for id, p := range paces {
		o.lead[id] = p.Traits.LeadTime
		calls := map[int64]float64{}
		for _, c := range counts {
			if c.Vendor == id {
				calls[c.Day.Unix()] += p.calls(c.State) * float64(c.Own)
			}
		}
		days := make([]int64, 0, len(calls))
		for d := range calls {
			days = append(days, d)
		}
		slices.Sort(days)
		queue, sum := map[int64]time.Duration{}, 0.0
		for _, d := range days {
			sum += calls[d]
			queue[d] = p.takes(sum)
		}
		o.queues[id] = queue
	}
	return o
}

// risk is how long before this due date a task of the vendor is at risk.
func (o *Outlook) risk(vendor int64, due time.Time) time.Duration {
	day := due.UTC().Truncate(24 * time.Hour).Unix()
	return max(o.least, o.lead[vendor]+o.queues[vendor][day])
}

// DueStatus tells how a task stands against its due date: open, at_risk (open, and due
// within the given time), overdue, met, missed. A failed task is not an answer to the
// request: it stays open until its due date passes.
func DueStatus(s store.State, due, completed, now time.Time, risk time.Duration) string {
	if s.Final() && s != store.Failed {
		if completed.After(due) {
			return "missed"
		}
		return "met"
	}
	switch {
	case now.After(due):
		return "overdue"
	case now.Add(risk).After(due):
		return "at_risk"
	}
	return "open"
}
