package batch

import (
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"expunge/vendors/transport"
)

// What an operator sees at common widths: golden lines, none longer than the terminal,
// which would wrap and tear the bars.
func TestLines(t *testing.T) {
	all := []Snapshot{
		{Vendor: "acqueon", Worked: 273, Total: 273, Waiting: 273, Rate: 0, Limit: 1},
		{Vendor: "customergauge", Worked: 98, Total: 12619, Held: 2, Failed: 1, Rate: 4.93, Limit: 5, ETA: 47*time.Minute + 3*time.Second},
		{Vendor: "voyado-se", Worked: 31, Total: 316, Waiting: 31, Rate: 39.5, Limit: 50, Paused: time.Date(2026, 3, 31, 9, 30, 15, 0, time.UTC), ETA: 30 * time.Hour},
	}
	for width, want := range map[int]string{
		100: `
acqueon       [===================]  273/273 0 of 1/s         waiting 273 held 0 failed 0
customergauge [                   ] 98/12619 4.93 of 5/s      waiting 0   held 2 failed 1 eta 47m03s
voyado-se     [>                  ]   31/316 paused to 09:30Z waiting 31  held 0 failed 0 eta 30h00m`,
		80: `
acqueon       [===========]  273/273 0 of 1/s         held 0 failed 0
customergauge [           ] 98/12619 4.93 of 5/s      held 2 failed 1 eta 47m03s
voyado-se     [>          ]   31/316 paused to 09:30Z held 0 failed 0 eta 30h00m`,
		40: `
acqueon        273/273 0/s    h0 f0
customergauge 98/12619 4.93/s h2 f1
voyado-se       31/316 paused h0 f0`,
	} {
		if d := cmp.Diff(want, "\n"+strings.Join(Lines(all, width), "\n")); d != "" {
			t.Errorf("at %d columns: %s", width, d)
		}
	}
	for width := range 200 {
		lines := Lines(all, width)
		if len(lines) != len(all) {
			t.Fatalf("%d lines at %d columns", len(lines), width)
		}
		for _, l := range lines {
			if n := utf8.RuneCountInString(l); n > width {
				t.Errorf("at %d columns a line of %d: %q", width, n, l)
			}
		}
	}
}

// The figures behind a line: what was worked on of what was open, the rate of the last ten
// seconds (not of the whole run), and the time that the rest takes at it.
func TestSnapshot(t *testing.T) {
	now := reviewed
	sent := int64(0)
	lane := &Lane{Account: &Account{Name: "cg"}}
	l := &laneProgress{lane: lane, total: 1000, ready: 900, perTask: 3,
		requests: func() transport.Stats { return transport.Stats{Sent: sent, Limit: 5, Current: 2.5} }}
	p := &Progress{now: func() time.Time { return now }, lanes: []*laneProgress{l, {lane: &Lane{Account: &Account{}}, requests: l.requests, samples: []sample{{}}}}}
	tick := func(seconds int, perSecond int64) {
		for range seconds {
			now, sent = now.Add(time.Second), sent+perSecond
			p.Observe()
		}
	}
	p.Observe()
	check := func(when string, want Snapshot) {
		t.Helper()
		if d := cmp.Diff([]Snapshot{want}, p.Snapshots()); d != "" {
			t.Errorf("%s: %s", when, d)
		}
	}
	// Nothing has left yet: the limit as it is now, after a refusal, says how long it takes.
	check("at the start", Snapshot{Vendor: "cg", Total: 1000, Limit: 5, ETA: 900 * 3 * 400 * time.Millisecond})
	tick(60, 1)
	tick(20, 4)
	lane.Done.Store(50)
	lane.Failed.Store(5)
	lane.Held.Store(10)
	lane.Accepted.Store(10)
	// 140 requests for 70 tasks: 2 each, for the 830 that are left, at 4 a second.
	check("later", Snapshot{Vendor: "cg", Worked: 70, Total: 1000, Waiting: 10, Held: 10, Failed: 5, Rate: 4, Limit: 5, ETA: 830 * 2 / 4 * time.Second})
	lane.Done.Store(890)
	check("at the end", Snapshot{Vendor: "cg", Worked: 910, Total: 1000, Waiting: 10, Held: 10, Failed: 5, Rate: 4, Limit: 5})
}
