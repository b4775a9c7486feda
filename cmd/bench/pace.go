package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptrace"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"expunge/vendors"
	"expunge/vendors/transport"
)

// measurePace sends through the transport that every call of expunge takes, at four rates
// at the same time, and looks at the moments at which requests leave: whether the limit is
// used, and whether it is kept in every window. Once with idle processors, once with busy
// ones. It is part of this process, since only the sender knows when a request left.
func measurePace(w *world, t *table) error {
	rates := []float64{5, 50, 500, 2000}
	for _, busy := range []bool{false, true} {
		name := "idle"
		if busy {
			name = "busy"
		}
		achieved := make([]series, len(rates))
		excess := make([]series, len(rates))
		runs := min(w.pairs, 3) // a run is long, and holds thousands of departures
		for range runs {
			w.note("pace, %s", name)
			if err := w.pace(rates, busy, func(i int, got []time.Time) {
				first, last := got[0], got[len(got)-1]
				achieved[i] = append(achieved[i], float64(len(got)-1)/last.Sub(first).Seconds()/rates[i])
				excess[i] = append(excess[i], worst(got, rates[i])-float64(vendors.DefaultBurst(vendors.Rate{PerSecond: rates[i]})))
			}); err != nil {
				return err
			}
		}
		for i, r := range rates {
			over := slices.Max(excess[i])
			t.add(fmt.Sprintf("achieved/limit at %v/s, CPU %s", r, name), fmt.Sprintf("%.4f", achieved[i].median()), "", "", ">= 0.995",
				achieved[i].median() >= 0.995, achieved[i].spread())
			t.add(fmt.Sprintf("most above burst + %v x t, CPU %s", r, name), fmt.Sprintf("%.2f", over), "", "", "<= 1", over <= 1, excess[i].spread())
		}
	}
	return nil
}

// worst is the largest number of requests in any window, less rate x its length.
func worst(at []time.Time, rate float64) float64 {
	low, most := 0.0, 0.0
	for i, x := range at {
		level := float64(i) - rate*x.Sub(at[0]).Seconds()
		low = min(low, level)
		most = max(most, level-low+1)
	}
	return most
}

func (w *world) pace(rates []float64, busy bool, done func(i int, departures []time.Time)) error {
	if busy {
		for range 2 * runtime.NumCPU() {
			c, err := w.self("spin")
			if err != nil {
				return err
			}
			defer c.end()
		}
	}
	ctx, cancel := context.WithTimeout(w.ctx, 8*time.Second)
	defer cancel()
	all := make([][]time.Time, len(rates))
	errs := make(chan error, len(rates))
	var group sync.WaitGroup
	for i, r := range rates {
		group.Go(func() {
			var err error
			if all[i], err = w.departures(ctx, r); err != nil {
				errs <- err
			}
		})
	}
	group.Wait()
	select {
	case err := <-errs:
		return err
	default:
	}
	for i, got := range all {
		slices.SortFunc(got, time.Time.Compare)
		if len(got) < 3 {
			return fmt.Errorf("%d requests at %v per second", len(got), rates[i])
		}
		done(i, got)
	}
	return nil
}

// departures sends until ctx ends.
func (w *world) departures(ctx context.Context, rate float64) ([]time.Time, error) {
	l := transport.NewLimiter(transport.LimiterOptions{Rate: vendors.Rate{PerSecond: rate}})
	tr := transport.New(transport.Options{Vendor: "bench", Concurrency: inFlight, Limiter: l})
	defer tr.Close()
	var mu sync.Mutex
	var at []time.Time
	var failed error
	var group sync.WaitGroup
	for i := range inFlight {
		group.Go(func() {
			for ctx.Err() == nil {
				// Of net/http's hooks this is the last one before a request is written; the
				// transport holds those that may not leave in one that comes before.
				var left atomic.Pointer[time.Time]
				trace := httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{WroteRequest: func(httptrace.WroteRequestInfo) {
					now := time.Now()
					left.Store(&now)
				}})
				req, err := http.NewRequest(http.MethodGet, w.url+"/v4.1/anonymize.json?email="+address(4*i+3), nil)
				if err == nil {
					_, err = tr.Do(trace, "preview", req)
				}
				mu.Lock()
				switch {
				case err == nil:
					at = append(at, *left.Load())
				case !errors.Is(err, vendors.ErrStopped):
					failed = err
				}
				mu.Unlock()
				if err != nil {
					return
				}
			}
		})
	}
	group.Wait()
	return at, failed
}
