package campaign

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"expunge/vendors"
	"expunge/vendors/sim"
)

// arrivalJitter is how much closer together two requests may arrive than they left: what
// lies between the departure (where the limit is kept, and tested to the microsecond in
// package transport) and the simulator's clock is two schedulers and a socket. A departure
// that is woken as late may be followed closely by the next one, up to one request. There
// is no other allowance, and it holds on a machine that does nothing else: the windows are
// checked only with -rate-for.
const arrivalJitter = 25 * time.Millisecond

// TestRate: killed and restarted as often as one likes, the program never sends more than
// the limit, and left alone it uses the limit up. A bucket that starts full shows here.
func TestRate(t *testing.T) {
	steady, lives := *flagRate, 8
	if steady <= 0 {
		steady, lives = 1200*time.Millisecond, 5
	}
	build(t)
	for _, limit := range []float64{5, 50, 500} {
		t.Run(fmt.Sprintf("%v per second", limit), func(t *testing.T) {
			v := startSim(t, "--no-ledger")
			s := newSite(t, v.url, settings{only: []string{sim.Voyado}, vendors: map[string][]string{
				sim.Voyado: {fmt.Sprintf("rate: %v/s", limit), "concurrency: 8"}}})
			var b strings.Builder
			b.WriteString("subject_id,customer_key\n")
			for i := range int(limit*(steady.Seconds()+6)) + 50 {
				fmt.Fprintf(&b, "REQ-%d,key-%08d\n", i, i)
			}
			s.write(t, "subjects.csv", b.String())
			for i := range lives { // lives of which many are shorter than it takes to send one request
				sent, born := len(v.arrivals(t)), time.Now()
				p := s.start(t, "run", "subjects.csv")
				timer := time.NewTimer(time.Duration(100+i*120) * time.Millisecond)
				select {
				case <-timer.C:
				case <-p.ended:
					t.Fatalf("it ended too early: exit %d\n%s", p.result.code, p.result.stderr)
				}
				p.kill()
				// Exact, whatever else the machine does: a life that begins with an empty bucket
				// cannot send more than the rate allows in its time, not even the burst.
				if n, most := len(v.arrivals(t))-sent, limit*time.Since(born).Seconds(); float64(n) > most {
					t.Errorf("a life sent %d requests, where the limit allows %.2f in its time", n, most)
				}
			}
			before := len(v.arrivals(t))
			// A task that every one of the kills met with its intent on disk has used up its
			// attempts and is held (4); that is another test's business.
			s.mustRun(t, []int{0, 4}, "run", "--for", steady.String())
			at := v.arrivals(t)
			if len(at)-before < 3 {
				t.Fatalf("%d requests in %v", len(at)-before, steady)
			}
			last := at[before:]
			achieved := float64(len(last)-1) / (last[len(last)-1] - last[0]) / limit
			burst := float64(vendors.DefaultBurst(vendors.Rate{PerSecond: limit}))
			var pace sim.Pace
			if err := json.Unmarshal([]byte(v.get(t, fmt.Sprintf("/_sim/pace?kind=voyado&rate=%v&burst=%v", limit, burst))), &pace); err != nil {
				t.Fatal(err)
			}
			fmt.Printf("limit %v/s, burst %v: %d requests over %d lives, worst window %+.2f beyond burst + rate x t; steady state %.4f of the limit\n",
				limit, burst, pace.Requests, lives+1, pace.WorstExcess, achieved)
			if *flagRate <= 0 {
				return
			}
			jitter := limit * arrivalJitter.Seconds()
			if allowed := jitter + min(1, jitter); pace.WorstExcess > allowed {
				t.Errorf("a window held %.2f requests too many, of which lateness explains %.2f", pace.WorstExcess, allowed)
			}
			if achieved < 0.9 { // what is printed is the figure; this bound is for machines that do a little else
				t.Errorf("%.3f of the limit in steady state", achieved)
			}
		})
	}
}

// arrivals are the times of all requests to Voyado, in seconds.
func (v *vendorsim) arrivals(t *testing.T) []float64 {
	t.Helper()
	var at []float64
	if err := json.Unmarshal([]byte(v.get(t, "/_sim/arrivals?kind=voyado")), &at); err != nil {
		t.Fatal(err)
	}
	return at
}

// TestDailyLimit: a limit per day holds over all runs of the day, killed ones included, and
// is no failure: the run ends as planned and says until when the rest waits.
func TestDailyLimit(t *testing.T) {
	t.Parallel()
	const perDay = 20
	sm, url := simOf(t, 40)
	s := newSite(t, url, settings{only: []string{sim.Voyado}, vendors: map[string][]string{
		sim.Voyado: {fmt.Sprintf("rate: 100/s, %d/d", perDay), "concurrency: 2", "archive_days: 0"}}})
	s.people(t, 40)
	for range 3 {
		before := len(sm.Ledger(0))
		p := s.start(t, "run", "subjects.csv")
		eventually(t, "a few requests", func() bool { return len(sm.Ledger(0)) >= before+3 })
		p.kill()
	}
	for range 2 {
		s.mustRun(t, []int{0}, "run")
	}
	// A request that was reserved and had not left when the kill came stays counted.
	if n := len(sm.Ledger(0)); n > perDay || n < perDay-3*3 {
		t.Errorf("%d requests with a limit of %d per day", n, perDay)
	}
	if got := s.look(t).states; got["failed"] > 0 || got["pending"] == 0 {
		t.Errorf("states %v", got)
	}
}
