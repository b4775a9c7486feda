package transport

import (
	"context"
	"runtime"
	"sync/atomic"
	"time"
)

// pacer sleeps until a token is due.
//
// On an idle machine Go's timers come up to a millisecond late, as its network poller
// counts in milliseconds. A Limiter makes up for a lateness of as long as its bucket takes
// to fill. Where the bucket is too small for that (a burst of 1 at 1000 per second), the
// last stretch is left to the operating system, which is late by a tenth of that, and the
// very end to yielding the processor in a loop. Everywhere else a timer is all it takes.
type pacer struct {
	exact bool
	spin  time.Duration // this long before the time, the loop begins
	timer atomic.Bool   // time does not pass in a system's sleep (testing/synctest): timers are exact there
}

const (
	timerLate  = 1200 * time.Microsecond // the most that a timer is late on an idle machine
	systemLate = 200 * time.Microsecond  // the same for the system's sleep
	spinShare  = 10                      // at most a tenth of the interval between two requests is spent in the loop
)

func newPacer(limit float64, burst int) *pacer {
	return &pacer{
		// A bucket that fills for longer than two late timers loses nothing by one.
		exact: seconds(float64(burst)/limit) < 2*timerLate,
		spin:  min(systemLate, seconds(1/limit)/spinShare),
	}
}

// sleep returns about d from now, rather too early than too late, or when ctx ends.
func (p *pacer) sleep(ctx context.Context, d time.Duration) {
	switch {
	case !p.exact || p.timer.Load():
		wait(ctx, d)
	case d > timerLate+p.spin:
		wait(ctx, d-timerLate-p.spin)
	case d > p.spin:
		before := time.Now()
		systemSleep(d - p.spin)
		if time.Now().Equal(before) {
			p.timer.Store(true)
		}
	default:
		start := time.Now()
		for rounds := 1; time.Since(start) < d && ctx.Err() == nil; rounds++ {
			if rounds == 1000 && time.Now().Equal(start) {
				p.timer.Store(true)
				return
			}
			runtime.Gosched()
		}
	}
}

func wait(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
