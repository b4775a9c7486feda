package transport

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"expunge/vendors"
)

// excess returns by how much departures exceed burst + rate x t in their worst window: 0
// or less means that the limit was kept.
func excess(departures []time.Time, perSecond float64, burst int) float64 {
	worst := math.Inf(-1)
	// The window from departure i to departure j holds j-i+1 requests. For the sum
	// (j+1 - rate x t_j) - (i - rate x t_i), the smallest second part so far is kept.
	low := math.Inf(1)
	for j, at := range departures {
		t := at.Sub(departures[0]).Seconds() * perSecond
		low = min(low, float64(j)-t)
		worst = max(worst, float64(j+1)-t-low-float64(burst))
	}
	return worst
}

// rounding is what floating point may add to a window, in requests.
const rounding = 1e-6

// collect sends through l with so many workers until the time is over.
func collect(t testing.TB, l *Limiter, workers int, d time.Duration) []time.Time {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), d)
	defer cancel()
	var mu sync.Mutex
	var all []time.Time
	var group sync.WaitGroup
	for range workers {
		group.Go(func() {
			for {
				if err := l.Wait(ctx); err != nil {
					if !errors.Is(err, vendors.ErrStopped) {
						t.Errorf("Wait: %v", err)
					}
					return
				}
				mu.Lock()
				all = append(all, time.Now())
				mu.Unlock()
			}
		})
	}
	group.Wait()
	slices.SortFunc(all, time.Time.Compare)
	return all
}

// If the bucket were full at the start, or tokens could be taken in advance, a window would
// hold more than burst + rate x t; if time were lost between requests, fewer would leave.
func TestLimiterPace(t *testing.T) {
	for _, tt := range []struct {
		name      string
		perSecond float64
		burst     int
		wantBurst int
		workers   int
		d         time.Duration
	}{
		{"slow", 1.0 / 12, 1, 1, 3, 10 * time.Minute},
		{"default of a vendor", 5, 1, 1, 4, time.Minute},
		{"one worker", 5, 0, 1, 1, time.Minute},
		{"fractions", 7.3, 2, 2, 8, time.Minute},
		{"fast", 500, 0, 5, 16, 10 * time.Second},
		{"faster", 2000, 0, 20, 64, 5 * time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				started := time.Now()
				l := NewLimiter(LimiterOptions{Rate: vendors.Rate{PerSecond: tt.perSecond}, Burst: tt.burst})
				got := collect(t, l, tt.workers, tt.d)
				if e := excess(got, tt.perSecond, tt.wantBurst); e > rounding {
					t.Errorf("%.4f requests above burst + rate x t", e)
				}
				allowed := tt.perSecond * tt.d.Seconds()
				if n := float64(len(got)); n > allowed+rounding || n < 0.995*allowed-1 {
					t.Errorf("%v requests from an empty bucket in %v, want %.1f", n, tt.d, allowed)
				}
				if first, want := got[0].Sub(started), time.Duration(float64(time.Second)/tt.perSecond); first < want-time.Microsecond {
					t.Errorf("first departure after %v, want the bucket to be empty for %v", first, want)
				}
				if s := l.Stats(); s.Sent != int64(len(got)) || s.Limit != tt.perSecond || s.Current != tt.perSecond {
					t.Errorf("Stats %+v, want %d sent at %v", s, len(got), tt.perSecond)
				}
			})
		})
	}
}

// A request that is woken late costs nothing of the rate, as long as its lateness is not
// longer than the next one would have waited; with a bucket of exactly the burst each would
// cost its lateness, since the token that grew meanwhile has no place. In return a window
// holds one request more than burst + rate x t, and never two.
func TestLimiterLateness(t *testing.T) {
	for _, tt := range []struct {
		perSecond float64
		burst     int
	}{{5, 1}, {50, 1}, {500, 5}, {2000, 20}} {
		t.Run(fmt.Sprint(tt.perSecond), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const d = 20 * time.Second
				l := NewLimiter(LimiterOptions{Rate: vendors.Rate{PerSecond: tt.perSecond}, Burst: tt.burst})
				interval := time.Duration(float64(time.Second) / tt.perSecond)
				n := 0
				l.sleep = func(ctx context.Context, d time.Duration) {
					n++
					wait(ctx, d+time.Duration(n*7%10)*interval/10)
				}
				got := collect(t, l, 32, d)
				if e := excess(got, tt.perSecond, tt.burst); e > 1+rounding {
					t.Errorf("%.4f requests above burst + rate x t, want at most one", e)
				}
				if allowed := tt.perSecond * d.Seconds(); float64(len(got)) < 0.995*allowed-1 {
					t.Errorf("%d requests in %v, want %.0f: lateness is lost", len(got), d, allowed)
				}
			})
		})
	}
}

// The place for lateness is for those who waited. A limiter that nobody wanted anything of
// must not save it up.
func TestLimiterLatenessIsNotIdleness(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := NewLimiter(LimiterOptions{Rate: vendors.Rate{PerSecond: 1}, Burst: 1})
		time.Sleep(time.Hour)
		began := time.Now()
		for n, want := range []time.Duration{0, time.Second, 2 * time.Second} {
			if err := l.Wait(t.Context()); err != nil {
				t.Fatal(err)
			}
			if at := time.Since(began); at < want || at > want+time.Microsecond {
				t.Errorf("request %d left after %v, want %v", n, at, want)
			}
		}
	})
}

// A request that has its token and is kept from writing leaves later, together with those
// whose time it is then. If its token did not keep its place in the bucket until then, they
// would be two bursts.
func TestLimiterLateWrites(t *testing.T) {
	for _, tt := range []struct {
		perSecond float64
		burst     int
	}{{50, 1}, {500, 5}, {2000, 20}} {
		t.Run(fmt.Sprint(tt.perSecond), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := NewLimiter(LimiterOptions{Rate: vendors.Rate{PerSecond: tt.perSecond}, Burst: tt.burst})
				ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
				defer cancel()
				var mu sync.Mutex
				var got []time.Time
				var group sync.WaitGroup
				for range 128 {
					group.Go(func() {
						for {
							if l.admit(ctx) != nil {
								return
							}
							ticket, err := l.depart(ctx, nil)
							if err != nil {
								return
							}
							// The machine stands still for 20 ms of each 200 between token and write.
							if since := time.Duration(time.Now().UnixNano()) % (200 * time.Millisecond); since < 20*time.Millisecond {
								time.Sleep(20*time.Millisecond - since)
							}
							mu.Lock()
							got = append(got, time.Now())
							mu.Unlock()
							l.written(ticket)
							l.written(ticket) // the end of the flight says so again
						}
					})
				}
				group.Wait()
				slices.SortFunc(got, time.Time.Compare)
				if e := excess(got, tt.perSecond, tt.burst); e > 1+rounding {
					t.Errorf("%.4f requests above burst + rate x t, want at most one", e)
				}
				if n, allowed := float64(len(got)), 10*tt.perSecond; n < 0.9*allowed {
					t.Errorf("%v requests, want nearly %v", n, allowed)
				}
			})
		})
	}
}

// Writes that hang hold up the others only for a while, and an end that comes after that
// frees nothing twice.
func TestLimiterHangingWrites(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := NewLimiter(LimiterOptions{Rate: vendors.Rate{PerSecond: 1000}, Burst: 1})
		leave := func() (ticket, time.Duration) {
			began := time.Now()
			if err := l.admit(t.Context()); err != nil {
				t.Fatal(err)
			}
			ticket, err := l.depart(t.Context(), nil)
			if err != nil {
				t.Fatal(err)
			}
			return ticket, time.Since(began).Round(time.Millisecond)
		}
		first, _ := leave()
		leave()
		if _, d := leave(); d < longestWrite-2*time.Millisecond || d > longestWrite+time.Millisecond {
			t.Errorf("the third left after %v, want when the first has hung for %v", d, longestWrite)
		}
		before := len(l.leaving)
		l.written(first)
		if n := len(l.leaving); n != before {
			t.Errorf("%d are leaving where %d were: the first had been given up", n, before)
		}
		last, _ := leave()
		go func() {
			time.Sleep(500 * time.Microsecond)
			l.written(last)
		}()
		if _, d := leave(); d > 3*time.Millisecond {
			t.Errorf("waited %v after a write had ended", d)
		}
	})
}

// At high rates several leave at a time, since waking up is what costs; but not where
// wake-ups come late, since the room in the bucket is needed for that, and not where only
// one waits.
func TestLimiterBunch(t *testing.T) {
	for _, tt := range []struct {
		name    string
		workers int
		late    time.Duration // of every tenth wake-up
		want    float64       // requests at a time
	}{{"many", 64, 0, 10}, {"few", 3, 0, 3}, {"one", 1, 0, 1}, {"late", 64, 3 * time.Millisecond, 1.6}} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := NewLimiter(LimiterOptions{Rate: vendors.Rate{PerSecond: 2000}, Burst: 20})
				n := 0
				l.sleep = func(ctx context.Context, d time.Duration) {
					if n++; n%10 == 0 {
						d += tt.late
					}
					wait(ctx, d)
				}
				got := collect(t, l, tt.workers, 5*time.Second)
				instants := slices.CompactFunc(slices.Clone(got), time.Time.Equal)
				if r := float64(len(got)) / float64(len(instants)); math.Abs(r-tt.want) > 0.1 {
					t.Errorf("%.2f requests leave at a time, want %v", r, tt.want)
				}
				if len(got) < 9950 {
					t.Errorf("%d left in 5 s, want 10,000", len(got))
				}
			})
		})
	}
}

// After idle time a burst may leave, and no more: an unbounded bucket would let an hour's
// worth out at once.
func TestLimiterBurstAfterIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := NewLimiter(LimiterOptions{Rate: vendors.Rate{PerSecond: 10}, Burst: 3})
		time.Sleep(time.Hour)
		got := collect(t, l, 8, 1050*time.Millisecond)
		if want := 3 + 10; len(got) != want {
			t.Errorf("%d requests in the second after an idle hour, want burst + rate = %d", len(got), want)
		}
	})
}

// Waiters leave in the order in which they came; otherwise an urgent request could starve.
func TestLimiterOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := NewLimiter(LimiterOptions{Rate: vendors.Rate{PerSecond: 2}, Burst: 1})
		var mu sync.Mutex
		var got, want []int
		for i := range 20 {
			want = append(want, i)
			go func() {
				if err := l.Wait(t.Context()); err != nil {
					t.Error(err)
				}
				mu.Lock()
				got = append(got, i)
				mu.Unlock()
			}()
			time.Sleep(10 * time.Millisecond)
		}
		time.Sleep(30 * time.Second)
		mu.Lock()
		defer mu.Unlock()
		if d := cmp.Diff(want, got); d != "" {
			t.Error(d)
		}
	})
}

// Whoever waits must hear at once that the run ends, and take no token with them.
func TestLimiterCancel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := NewLimiter(LimiterOptions{Rate: vendors.Rate{PerSecond: 0.01}, Burst: 1})
		ctx, cancel := context.WithCancel(context.Background())
		errs := make(chan error)
		for range 5 {
			go func() { errs <- l.Wait(ctx) }()
		}
		time.Sleep(10 * time.Second)
		cancel()
		began := time.Now()
		for range 5 {
			if err := <-errs; !errors.Is(err, vendors.ErrStopped) || !errors.Is(err, context.Canceled) {
				t.Errorf("Wait: %v, want ErrStopped and context.Canceled", err)
			}
		}
		if d := time.Since(began); d != 0 {
			t.Errorf("heard of it after %v", d)
		}
		if err := l.Wait(context.Background()); err != nil || time.Since(began) != 90*time.Second {
			t.Errorf("next: %v after %v, want the first token after 100 s", err, time.Since(began)+10*time.Second)
		}
		if err := l.Wait(ctx); !errors.Is(err, vendors.ErrStopped) {
			t.Errorf("Wait after the end: %v, want ErrStopped", err)
		}
	})
}

// A pause within the patience is waited for, a longer one is an error at once, for those
// who wait already too; nothing leaves in a pause.
func TestLimiterPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := NewLimiter(LimiterOptions{Rate: vendors.Rate{PerSecond: 1}, Burst: 1})
		until := time.Now().Add(4 * time.Second)
		l.Pause(until)
		l.Pause(until.Add(-3 * time.Second)) // shorter: changes nothing
		if !l.PausedUntil().Equal(until) || !l.Stats().PausedUntil.Equal(until) {
			t.Errorf("PausedUntil %v, want %v", l.PausedUntil(), until)
		}
		if err := l.Wait(t.Context()); err != nil || !time.Now().Equal(until) {
			t.Errorf("Wait: %v at %v, want to leave at %v", err, time.Now(), until)
		}
		if !l.PausedUntil().IsZero() {
			t.Errorf("PausedUntil %v after its end", l.PausedUntil())
		}

		errs := make(chan error)
		for range 3 { // waiting in the gate and in the queue
			go func() { errs <- l.Wait(t.Context()) }()
		}
		time.Sleep(500 * time.Millisecond)
		until = time.Now().Add(time.Hour)
		began := time.Now()
		l.Pause(until)
		for range 3 {
			err := <-errs
			var p *PausedError
			if !errors.Is(err, ErrPaused) || !errors.As(err, &p) || !p.Until.Equal(until) {
				t.Errorf("Wait: %v, want ErrPaused until %v", err, until)
			}
		}
		if d := time.Since(began); d > time.Second {
			t.Errorf("heard of the pause after %v", d)
		}
		if s := l.Stats(); s.Sent != 1 {
			t.Errorf("%d sent, want 1", s.Sent)
		}
		time.Sleep(time.Hour)
		if err := l.Wait(t.Context()); err != nil {
			t.Errorf("after the pause: %v", err)
		}
	})
}

// A limiter without patience says so instead of waiting.
func TestLimiterImpatient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := NewLimiter(LimiterOptions{Rate: vendors.Rate{PerSecond: 1}, Patience: -1})
		l.Pause(time.Now().Add(time.Millisecond))
		if err := l.Wait(t.Context()); !errors.Is(err, ErrPaused) {
			t.Errorf("Wait: %v, want ErrPaused", err)
		}
	})
}

// Refusals halve the rate, once per event, not below a tenth; success brings it back
// slowly; no window of the whole exceeds the configured limit.
func TestLimiterAdapts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := NewLimiter(LimiterOptions{Rate: vendors.Rate{PerSecond: 100}, Burst: 1})
		var got []float64
		slower := func(times int) {
			for range times {
				l.mu.Lock()
				l.slowerLocked(time.Now())
				l.mu.Unlock()
			}
			got = append(got, l.Stats().Current)
			time.Sleep(2 * time.Second)
		}
		slower(4) // four answers to one overload
		slower(1)
		slower(1)
		slower(1)
		slower(1)
		if d := cmp.Diff([]float64{50, 25, 12.5, 10, 10}, got); d != "" {
			t.Errorf("rate after each event: %s", d)
		}
		if n := len(collect(t, l, 4, 10*time.Second)); n < 98 || n > 101 {
			t.Errorf("%d requests in 10 s at a rate of 10", n)
		}
		minutes := func(n int) float64 {
			for range n * 60 {
				time.Sleep(time.Second)
				l.Steady()
			}
			return l.Stats().Current
		}
		if c := minutes(1); c < 19 || c > 21 {
			t.Errorf("%v after a good minute, want about 20: a tenth of the limit more", c)
		}
		if c := minutes(10); c != 100 {
			t.Errorf("%v after ten more, want the limit", c)
		}
	})
}

// A vendor that refuses without saying for how long is left alone for longer each time, up
// to a minute; answers that were under way count as one refusal.
func TestLimiterStrikes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := NewLimiter(LimiterOptions{Rate: vendors.Rate{PerSecond: 100}})
		var got []time.Duration
		strike := func() {
			for range 3 {
				l.refused(0, false)
			}
			d := time.Until(l.PausedUntil())
			got = append(got, d)
			l.Steady() // the answer to a request that had left before
			time.Sleep(d + time.Second)
		}
		for range 8 {
			strike()
		}
		l.Steady()
		strike()
		s := time.Second
		if d := cmp.Diff([]time.Duration{s, 2 * s, 4 * s, 8 * s, 16 * s, 32 * s, 60 * s, 60 * s, s}, got); d != "" {
			t.Error(d)
		}
		l.refused(time.Hour, true)
		if d := time.Until(l.PausedUntil()); d != time.Hour {
			t.Errorf("paused for %v where the vendor asked for an hour", d)
		}
	})
}

// quota is a rolling count in memory, as the store is to keep it.
type quota struct {
	limit int64
	err   error

	mu    sync.Mutex
	taken []time.Time // one entry per reservation
	calls int
}

func (q *quota) Take(_ context.Context, n int64) (int64, time.Time, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.calls++
	if q.err != nil {
		return 0, time.Time{}, q.err
	}
	now := time.Now()
	for len(q.taken) > 0 && now.Sub(q.taken[0]) >= 24*time.Hour+QuotaHold {
		q.taken = q.taken[1:]
	}
	n = min(n, q.limit-int64(len(q.taken)))
	if n <= 0 {
		return 0, q.taken[0].Add(24*time.Hour + QuotaHold), nil
	}
	for range n {
		q.taken = append(q.taken, now)
	}
	return n, time.Time{}, nil
}

func (q *quota) Return(_ context.Context, n int64) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.taken = q.taken[:len(q.taken)-int(n)]
	return nil
}

func (q *quota) held() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.taken)
}

// At most N leave in any 24 hours, over several limiters (restarts); then Wait says until
// when, and what a limiter reserved and did not use is not lost to the next one.
func TestLimiterQuota(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const perDay = 1000
		q := &quota{limit: perDay}
		var all []time.Time
		for range 40 { // runs, for three days
			l := NewLimiter(LimiterOptions{Rate: vendors.Rate{PerSecond: 5, PerDay: perDay}, Burst: 1, Quota: q})
			end := time.Now().Add(30 * time.Second)
			for time.Now().Before(end) {
				if err := l.Wait(t.Context()); err != nil {
					var p *PausedError
					if !errors.As(err, &p) || p.Until.Before(time.Now()) || p.Until.After(time.Now().Add(24*time.Hour+QuotaHold)) {
						t.Fatalf("Wait: %v, want ErrPaused until within the next 24 hours", err)
					}
					break
				}
				all = append(all, time.Now())
				time.Sleep(time.Duration(len(all)%7) * 100 * time.Millisecond)
			}
			if err := l.Close(t.Context()); err != nil {
				t.Fatal(err)
			}
			if err := l.Wait(t.Context()); !errors.Is(err, vendors.ErrStopped) {
				t.Errorf("Wait after Close: %v, want ErrStopped", err)
			}
			time.Sleep(110 * time.Minute)
		}
		for i := perDay; i < len(all); i++ {
			if w := all[i].Sub(all[i-perDay]); w <= 24*time.Hour {
				t.Fatalf("departure %d is %v after the one %d before it", i, w, perDay)
			}
		}
		if len(all) < 2*perDay {
			t.Errorf("%d left in three days of %d each: reservations get lost", len(all), perDay)
		}
		if q.calls > len(all)/5 {
			t.Errorf("the store was asked %d times for %d requests", q.calls, len(all))
		}
	})
}

// The quota's pause and the vendor's both hold, each for its own time; only the vendor's
// counts as asked for.
func TestLimiterQuotaPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := NewLimiter(LimiterOptions{Rate: vendors.Rate{PerSecond: 1, PerDay: 1}, Quota: &quota{limit: 1}})
		began := time.Now()
		if err := l.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
		until := func(want time.Time) {
			t.Helper()
			var p *PausedError
			if err := l.Wait(t.Context()); !errors.As(err, &p) || !p.Until.Equal(want) {
				t.Errorf("Wait: %v, want ErrPaused until %v", err, want)
			}
			if err := l.AwaitTurn(t.Context()); !errors.As(err, &p) || !p.Until.Equal(want) {
				t.Errorf("AwaitTurn: %v, want ErrPaused until %v", err, want)
			}
			if !l.PausedUntil().Equal(want) || !l.Stats().PausedUntil.Equal(want) {
				t.Errorf("PausedUntil %v, want %v", l.PausedUntil(), want)
			}
		}
		if err := l.Wait(t.Context()); !errors.Is(err, ErrPaused) {
			t.Fatalf("the quota is used up: %v", err)
		}
		full := l.PausedUntil()
		if full.Sub(began) < 24*time.Hour {
			t.Errorf("the quota's pause ends after %v", full.Sub(began))
		}
		until(full)
		if !l.AskedUntil().IsZero() {
			t.Errorf("asked for a pause until %v", l.AskedUntil())
		}
		short, long := time.Now().Add(time.Hour), full.Add(time.Hour)
		l.Pause(short)
		until(full)
		if !l.AskedUntil().Equal(short) {
			t.Errorf("asked for a pause until %v, want %v", l.AskedUntil(), short)
		}
		l.Pause(long)
		until(long)
		time.Sleep(time.Until(long))
		if !l.PausedUntil().IsZero() || !l.AskedUntil().IsZero() {
			t.Errorf("paused until %v, %v after the end", l.PausedUntil(), l.AskedUntil())
		}
		if err := l.Wait(t.Context()); err != nil {
			t.Errorf("after both: %v", err)
		}
	})
}

// A reservation that gets old is given back rather than used: the store would stop
// counting it before its request is a day old.
func TestLimiterQuotaStale(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := &quota{limit: 10000}
		l := NewLimiter(LimiterOptions{Rate: vendors.Rate{PerSecond: 1, PerDay: 10000}, Quota: q})
		for range 5 {
			time.Sleep(time.Hour)
			if err := l.Wait(t.Context()); err != nil {
				t.Fatal(err)
			}
			if age := time.Since(q.taken[len(q.taken)-1]); age > time.Second {
				t.Errorf("used a reservation that is %v old", age)
			}
		}
		// A request that is admitted and never leaves is given back too.
		if err := l.admit(t.Context()); err != nil {
			t.Fatal(err)
		}
		l.abandon()
		if err := l.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		if q.held() != 5 {
			t.Errorf("%d counted after 5 requests", q.held())
		}
	})
}

// A store that cannot count stops the requests, not the count.
func TestLimiterQuotaError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		full := errors.New("disk full")
		l := NewLimiter(LimiterOptions{Rate: vendors.Rate{PerSecond: 1, PerDay: 5}, Quota: &quota{limit: 5, err: full}})
		if err := l.Wait(t.Context()); !errors.Is(err, full) {
			t.Errorf("Wait: %v, want the store's error", err)
		}
		if s := l.Stats(); s.Sent != 0 {
			t.Errorf("%d sent without being counted", s.Sent)
		}
	})
}

// Requests go ahead to connect only shortly before their time, and a hanging one does not
// stop those behind it for longer than it takes to give up.
func TestLimiterHeadStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := NewLimiter(LimiterOptions{Rate: vendors.Rate{PerSecond: 0.1}, Burst: 1})
		began := time.Now()
		if err := l.admit(t.Context()); err != nil {
			t.Fatal(err)
		}
		if d := time.Since(began); d < 8*time.Second || d > 9*time.Second+time.Millisecond {
			t.Errorf("admitted after %v, want a second before the token at 10 s", d)
		}
		admitted := make(chan time.Time)
		go func() {
			if err := l.admit(t.Context()); err != nil {
				t.Error(err)
			}
			admitted <- time.Now()
		}()
		time.Sleep(time.Minute) // the first one dials and dials
		gaveUp := time.Now()
		l.abandon()
		if at := <-admitted; !at.Equal(gaveUp) {
			t.Errorf("second admitted at %v, want at once when the first gave up at %v", at, gaveUp)
		}
		if _, err := l.depart(t.Context(), nil); err != nil {
			t.Error(err)
		}
	})
}

// Odd options must not make an unlimited limiter.
func TestLimiterOptions(t *testing.T) {
	for _, tt := range []struct {
		in   LimiterOptions
		want float64
	}{
		{LimiterOptions{}, 1},
		{LimiterOptions{Rate: vendors.Rate{PerSecond: -5}}, 1},
		{LimiterOptions{Rate: vendors.Rate{PerSecond: math.NaN()}}, 1},
		{LimiterOptions{Rate: vendors.Rate{PerSecond: math.Inf(1)}}, maxPerSecond},
	} {
		if got := NewLimiter(tt.in).Stats().Limit; got != tt.want {
			t.Errorf("limit of %+v is %v, want %v", tt.in, got, tt.want)
		}
	}
}

// If AwaitTurn took a token, or came long before one, an intent to submit would be on disk for a
// request that is not about to leave.
func TestLimiterAwaitTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		l := NewLimiter(LimiterOptions{Rate: vendors.Rate{PerSecond: 1}, Burst: 1})
		for n := 1; n <= 3; n++ {
			if err := l.AwaitTurn(t.Context()); err != nil {
				t.Fatal(err)
			}
			due := time.Duration(n) * time.Second
			if at := time.Since(began); at < due-ahead-time.Millisecond || at > due {
				t.Errorf("left after %v, the token is due after %v", at, due)
			}
			if err := l.Wait(t.Context()); err != nil {
				t.Fatal(err)
			}
			if at := time.Since(began); at < due-time.Microsecond || at > due+time.Millisecond {
				t.Errorf("left after %v, want %v: AwaitTurn must take nothing", at, due)
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		if err := l.AwaitTurn(ctx); !errors.Is(err, vendors.ErrStopped) {
			t.Errorf("with a context that ends: %v", err)
		}
		l.Pause(time.Now().Add(2 * time.Second))
		paused := time.Now()
		if err := l.AwaitTurn(t.Context()); err != nil || time.Since(paused) < 2*time.Second {
			t.Errorf("in a short pause: %v after %v", err, time.Since(paused))
		}
		l.Pause(time.Now().Add(time.Hour))
		if err := l.AwaitTurn(t.Context()); !errors.Is(err, vendors.ErrPaused) {
			t.Errorf("in a long pause: %v", err)
		}
		if err := l.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := l.AwaitTurn(t.Context()); !errors.Is(err, vendors.ErrStopped) && !errors.Is(err, vendors.ErrPaused) {
			t.Errorf("closed: %v", err)
		}
	})
}
