package batch

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"expunge/store"
	"expunge/vendors"
	"expunge/vendors/transport"
)

// Progress tells how far a run is. It reads counters; it asks neither store nor vendor
// after its start.
type Progress struct {
	now   func() time.Time
	lanes []*laneProgress
}

type laneProgress struct {
	lane     *Lane
	requests func() transport.Stats // nil: not known
	total    int64                  // open at the start
	ready    int64                  // of them, to be worked on now
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
func NewProgress(ctx context.Context, run *Run, only []string, requests map[string]func() transport.Stats) (*Progress, error) {
	p := &Progress{now: run.Now}
	for _, l := range run.Lanes {
		if len(only) > 0 && !slices.Contains(only, l.Name) {
			continue
		}
		ready, scheduled, err := run.Store.OpenTasks(ctx, l.id)
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
	Vendor  string
	Worked  int64 // finished, held, or accepted by the vendor, in this run
	Total   int64 // open at its start
	Waiting int64 // of Worked: accepted by the vendor, which is not done
	Held    int64
	Failed  int64
	Rate    float64 // requests per second over the last seconds
	Limit   float64
	Paused  time.Time     // zero: not paused
	ETA     time.Duration // until what can be done now is done; 0: not known, or done
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
	s.Waiting = max(0, l.lane.Accepted.Load())
	s.Worked = min(l.total, l.lane.Done.Load()+s.Held+s.Waiting)
	l.mu.Lock()
	if first, last := l.samples[0], l.samples[len(l.samples)-1]; last.at.After(first.at) {
		s.Rate = float64(last.sent-first.sent) / last.at.Sub(first.at).Seconds()
	}
	l.mu.Unlock()
	if left := l.ready - s.Worked; left > 0 {
		per, rate := l.perTask, s.Rate
		if s.Worked >= 20 {
			per = float64(r.Sent) / float64(s.Worked)
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

// String is the snapshot in words.
func (s Snapshot) String() string {
	text := fmt.Sprintf("%d/%d, %s, waiting %d, held %d, failed %d", s.Worked, s.Total, s.rate(), s.Waiting, s.Held, s.Failed)
	if s.ETA > 0 {
		text += ", eta " + Span(s.ETA)
	}
	return text
}

func (s Snapshot) rate() string {
	if !s.Paused.IsZero() {
		return "paused to " + s.Paused.UTC().Format("15:04Z")
	}
	return FormatRate(s.Rate) + " of " + FormatRate(s.Limit) + "/s"
}

func (s Snapshot) shortRate() string {
	if !s.Paused.IsZero() {
		return "paused"
	}
	return FormatRate(s.Rate) + "/s"
}

// FormatRate shows a number per second to three figures.
func FormatRate(v float64) string {
	if v >= 100 {
		return strconv.FormatFloat(v, 'f', 0, 64)
	}
	return strconv.FormatFloat(v, 'g', 3, 64)
}

// layouts are the forms of a line of progress, from the fullest to the barest.
var layouts = [][]func(Snapshot) string{
	{nameCell, countCell, Snapshot.rate, waitingCell, heldCell, failedCell, etaCell},
	{nameCell, countCell, Snapshot.rate, heldCell, failedCell, etaCell},
	{nameCell, countCell, Snapshot.shortRate, heldCell, failedCell},
	{nameCell, countCell, Snapshot.shortRate, func(s Snapshot) string { return fmt.Sprintf("h%d f%d", s.Held, s.Failed) }},
	{nameCell, countCell, func(s Snapshot) string { return fmt.Sprintf("h%d f%d", s.Held, s.Failed) }},
	{nameCell, countCell},
}

func nameCell(s Snapshot) string    { return s.Vendor }
func countCell(s Snapshot) string   { return fmt.Sprintf("%d/%d", s.Worked, s.Total) }
func waitingCell(s Snapshot) string { return fmt.Sprintf("waiting %d", s.Waiting) }
func heldCell(s Snapshot) string    { return fmt.Sprintf("held %d", s.Held) }
func failedCell(s Snapshot) string  { return fmt.Sprintf("failed %d", s.Failed) }

func etaCell(s Snapshot) string {
	if s.ETA <= 0 {
		return ""
	}
	return "eta " + Span(s.ETA)
}

// leastBar and mostBar bound the width of a bar.
const leastBar, mostBar = 10, 30

// Lines fits the snapshots into lines of a terminal of the given width, in columns and with
// a bar where there is room. What matters least is left out first.
func Lines(all []Snapshot, width int) []string {
	var lines []string
	for i, layout := range layouts {
		var longest int
		lines, longest = columns(all, layout, 0)
		room := min(mostBar, width-longest-1)
		if room >= leastBar && i < 2 {
			lines, _ = columns(all, layout, room)
		}
		if longest <= width && (i > 0 || room >= leastBar) {
			return lines
		}
	}
	for i, line := range lines {
		r := []rune(line)
		lines[i] = string(r[:min(len(r), max(width, 0))])
	}
	return lines
}

// columns lines the cells up. With room for it a bar stands behind the name.
func columns(all []Snapshot, layout []func(Snapshot) string, room int) (lines []string, longest int) {
	widths := make([]int, len(layout))
	for c, cell := range layout {
		for _, s := range all {
			widths[c] = max(widths[c], utf8.RuneCountInString(cell(s)))
		}
	}
	for _, s := range all {
		var cells []string
		for c, cell := range layout {
			width := -widths[c]
			if c == 1 {
				width = widths[c] // counts end at the same place
			}
			cells = append(cells, fmt.Sprintf("%*s", width, cell(s)))
			if c == 0 && room > 0 {
				cells[0] += " " + bar(s.Worked, s.Total, room)
			}
		}
		line := strings.TrimRight(strings.Join(cells, " "), " ")
		lines, longest = append(lines, line), max(longest, utf8.RuneCountInString(line))
	}
	return lines, longest
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

// Span is a duration in its two greatest units.
func Span(d time.Duration) string {
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
