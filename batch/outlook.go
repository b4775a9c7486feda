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

// pauses says that what is at a vendor which asked to be left alone is done later by so much.
func (o *Outlook) pauses(known map[string]store.Vendor, now time.Time) {
	for _, v := range known {
		if pause := v.PausedUntil.Sub(now); pause > 0 {
			o.lead[v.ID] += pause
		}
	}
}

// risk is how long before this due date a task of the vendor is at risk.
func (o *Outlook) risk(vendor int64, due time.Time) time.Duration {
	return max(o.least, o.takes(vendor, due))
}

// takes is how long it takes from now until what is due then is done, where nothing of it has
// been submitted yet.
func (o *Outlook) takes(vendor int64, due time.Time) time.Duration {
	day := due.UTC().Truncate(24 * time.Hour).Unix()
	return o.lead[vendor] + o.queues[vendor][day]
}

// DueStatus tells how a task stands against its due date: open, at_risk (open, and due
// within the given time), overdue, met, missed. settled is when it was settled; zero: it is
// not. A failed task is not an answer to the request before a person has closed it, and a
// subject that every vendor skips has no answer at all.
func DueStatus(settled, due, now time.Time, risk time.Duration) string {
	switch {
	case !settled.IsZero() && settled.After(due):
		return "missed"
	case !settled.IsZero():
		return "met"
	case now.After(due):
		return "overdue"
	case now.Add(risk).After(due):
		return "at_risk"
	}
	return "open"
}

// judged returns when a task was settled (zero: it is not), and the due date that it is judged
// by: what is settled by the one that held then, so that a later extension changes nothing
// of it. due is the request's. A request that every vendor skips (unserved) is not settled.
func judged(t *store.Task, due time.Time, unserved bool) (settled, by time.Time) {
	switch {
	case !t.Settled() || unserved:
		return time.Time{}, due
	case t.State == store.Failed:
		return t.ClosedAt, t.DueAt
	}
	return t.CompletedAt, t.DueAt
}
