package batch

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"expunge/store"
	"expunge/vendors"
)

// Requests are the figures of a vendor's rate limit at one moment.
type Requests struct {
	Sent        int64     // requests that have left in this run
	Limit       float64   // configured, per second
	Current     float64   // now, per second: lower than Limit after the vendor asked to slow down
	PausedUntil time.Time // zero: not paused
}

// Progress tells how far a run is. It reads counters; it asks neither store nor vendor
// after its start.
type Progress struct {
	now   func() time.Time
	lanes []*laneProgress
}

type laneProgress struct {
	lane     *Lane
	requests func() Requests
	total    int64 // open at the start
	ready    int64 // of them, to be worked on now
	perTask  float64

	mu      sync.Mutex
	samples []sample // of the last rateWindow, the oldest first
}

type sample struct {
	at   time.Time
	sent int64
}

// rateWindow is what "rate now" is measured over.
const rateWindow = 10 * time.Second

// NewProgress counts what is open at the start of a run, for the vendors named (none: all).
func NewProgress(ctx context.Context, j *Job, only []string, requests map[string]func() Requests) (*Progress, error) {
	p := &Progress{now: j.Now}
	for _, l := range j.Lanes {
		if len(only) > 0 && !slices.Contains(only, l.Name) {
			continue
		}
		ready, scheduled, err := j.Store.OpenTasks(ctx, l.id)
		if err != nil {
			return nil, err
		}
		per := 1.0
		if l.Vendor.Traits().Completion == vendors.ByPreview {
			per = l.pace().calls(store.Pending)
		}
		p.lanes = append(p.lanes, &laneProgress{lane: l, requests: requests[l.Name], total: ready + scheduled, ready: ready, perTask: per})
	}
	p.Observe()
	return p, nil
}

// Observe takes note of how many requests have left; it is called about every second.
func (p *Progress) Observe() {
	now := p.now()
	for _, l := range p.lanes {
		l.observe(now)
	}
}

func (l *laneProgress) observe(now time.Time) {
	s := sample{at: now, sent: l.requests().Sent}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.samples = append(l.samples, s)
	for len(l.samples) > 2 && now.Sub(l.samples[1].at) >= rateWindow {
		l.samples = l.samples[1:]
	}
}

// Snapshot is how far one vendor's lane is.
type Snapshot struct {
	Vendor string
	Done   int64 // finished, held, or accepted by the vendor, in this run
	Total  int64 // open at its start
	Held   int64
	Failed int64
	Rate   float64 // requests per second over the last seconds
	Limit  float64
	Paused time.Time     // zero: not paused
	ETA    time.Duration // until what can be done now is done; 0: not known, or done
}

// Snapshots are the lanes' figures of this moment, without those that have nothing to do.
func (p *Progress) Snapshots() []Snapshot {
	var all []Snapshot
	for _, l := range p.lanes {
		if s := l.snapshot(); s.Total > 0 {
			all = append(all, s)
		}
	}
	return all
}

func (l *laneProgress) snapshot() Snapshot {
	r := l.requests()
	s := Snapshot{Vendor: l.lane.Name, Total: l.total, Held: l.lane.Held.Load(), Failed: l.lane.Failed.Load(), Limit: r.Limit, Paused: r.PausedUntil}
	s.Done = min(l.total, max(0, l.lane.Done.Load()+s.Held+l.lane.Accepted.Load()))
	l.mu.Lock()
	if first, last := l.samples[0], l.samples[len(l.samples)-1]; last.at.After(first.at) {
		s.Rate = float64(last.sent-first.sent) / last.at.Sub(first.at).Seconds()
	}
	l.mu.Unlock()
	if left := l.ready - s.Done; left > 0 {
		per, rate := l.perTask, s.Rate
		if s.Done >= 20 {
			per = float64(r.Sent) / float64(s.Done)
		}
		if rate <= 0 {
			rate = r.Current
		}
		if rate > 0 {
			s.ETA = time.Duration(min(float64(left)*per/rate, 1e9) * float64(time.Second))
		}
	}
	return s
}

// Line fits the snapshot into a line of a terminal of the given width, a bar in it where
// there is room: what matters least is left out first. name is the width of the names.
func (s Snapshot) Line(width, name int) string {
	total := fmt.Sprint(s.Total)
	count := fmt.Sprintf("%*d/%s", len(total), s.Done, total)
	rate := fmt.Sprintf("%.3g of %.3g/s", s.Rate, s.Limit)
	short := fmt.Sprintf("%.3g/s", s.Rate)
	if !s.Paused.IsZero() {
		rate = "paused to " + s.Paused.UTC().Format("15:04:05Z")
		short = "paused"
	}
	head := fmt.Sprintf("%-*s", name, s.Vendor)
	tail := fmt.Sprintf(" %s  %s  held %d  failed %d", count, rate, s.Held, s.Failed)
	if s.ETA > 0 {
		tail += "  eta " + eta(s.ETA)
	}
	if room := width - utf8.RuneCountInString(head) - len(tail) - 1; room >= 10 {
		return head + " " + bar(s.Done, s.Total, min(room, 30)) + tail
	}
	for _, line := range []string{
		head + tail,
		fmt.Sprintf("%s %s %s held %d failed %d", head, count, short, s.Held, s.Failed),
		fmt.Sprintf("%s %s %s h%d f%d", s.Vendor, count, short, s.Held, s.Failed),
		fmt.Sprintf("%s %s h%d f%d", s.Vendor, count, s.Held, s.Failed),
	} {
		if utf8.RuneCountInString(line) <= width {
			return line
		}
	}
	rest := " " + count
	return cut(s.Vendor, max(0, width-len(rest))) + cut(rest, width)
}

func cut(text string, n int) string {
	r := []rune(text)
	return string(r[:min(len(r), n)])
}

func bar(n, total int64, width int) string {
	inner := width - 2
	full := int(float64(inner) * float64(n) / float64(max(total, 1)))
	head := ""
	if full > 0 && full < inner {
		full, head = full-1, ">"
	}
	return "[" + strings.Repeat("=", full) + head + strings.Repeat(" ", inner-full-len(head)) + "]"
}

// eta is a duration in its two greatest units.
func eta(d time.Duration) string {
	switch {
	case d >= 48*time.Hour:
		return fmt.Sprintf("%dd%02dh", d/(24*time.Hour), d%(24*time.Hour)/time.Hour)
	case d >= time.Hour:
		return fmt.Sprintf("%dh%02dm", d/time.Hour, d%time.Hour/time.Minute)
	case d >= time.Minute:
		return fmt.Sprintf("%dm%02ds", d/time.Minute, d%time.Minute/time.Second)
	}
	return fmt.Sprintf("%ds", (d+time.Second-1)/time.Second)
}
