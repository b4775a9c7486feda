package transport

import (
	"fmt"
	"os/exec"
	"runtime"
	"syscall"
	"testing"
	"time"

	"expunge/vendors"
)

// BenchmarkLimiter measures how much of the allowed rate is used in steady state
// (achieved/limit), the most requests above burst + rate x t in any window, as the callers
// of Wait see them leave (excess), and the processor time, in cores. One iteration takes a
// few seconds:
//
//	go test -run '^$' -bench Limiter -benchtime 1x ./vendors/transport/
//
// busy: twice as many other processes as processors do nothing but count.
func BenchmarkLimiter(b *testing.B) {
	for _, tt := range []struct {
		perSecond float64
		burst     int
		d         time.Duration
	}{
		{5, 1, 6 * time.Second},
		{50, 1, 4 * time.Second},
		{500, 1, 3 * time.Second},
		{500, 0, 3 * time.Second},
		{2000, 1, 3 * time.Second},
		{2000, 0, 3 * time.Second},
	} {
		for _, busy := range []bool{false, true} {
			burst := "default"
			if tt.burst > 0 {
				burst = fmt.Sprint(tt.burst)
			}
			b.Run(fmt.Sprintf("rate=%v/burst=%s/busy=%v", tt.perSecond, burst, busy), func(b *testing.B) {
				if busy {
					defer keepBusy(b)()
				}
				var achieved, worst, cores float64
				for range b.N {
					l := NewLimiter(LimiterOptions{Rate: vendors.Rate{PerSecond: tt.perSecond}, Burst: tt.burst})
					began, used := time.Now(), processorTime()
					got := collect(b, l, 16, tt.d)
					cores += (processorTime() - used).Seconds() / time.Since(began).Seconds()
					first, last := got[0], got[len(got)-1]
					achieved += float64(len(got)-1) / last.Sub(first).Seconds() / tt.perSecond
					worst = max(worst, excess(got, tt.perSecond, l.burst))
				}
				b.ReportMetric(achieved/float64(b.N), "achieved/limit")
				b.ReportMetric(worst, "excess")
				b.ReportMetric(cores/float64(b.N), "cores")
				b.ReportMetric(0, "ns/op")
			})
		}
	}
}

// keepBusy keeps the machine's processors busy with other processes.
func keepBusy(b *testing.B) (stop func()) {
	b.Helper()
	var all []*exec.Cmd
	stop = func() {
		for _, c := range all {
			_ = c.Process.Kill()
			_ = c.Wait()
		}
	}
	for range 2 * runtime.NumCPU() {
		c := exec.Command("sh", "-c", "while :; do :; done")
		if err := c.Start(); err != nil {
			stop()
			b.Fatal(err)
		}
		all = append(all, c)
	}
	return stop
}

func processorTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
