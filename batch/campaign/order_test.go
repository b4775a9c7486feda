package campaign

import (
	"net/http"
	"sync"
	"testing"

	"expunge/vendors/sim"
)

// TestOrder looks into the store at the very moment at which each request arrives: the
// intent of a submission is there before the submission, and a reference before it is asked
// about. A kill -9 meets the time between the two too seldom to be relied on.
func TestOrder(t *testing.T) {
	t.Parallel()
	var s *site
	var mu sync.Mutex                // one look at a time
	writes, polls, before := 0, 0, 0 // before: writes when this vendor was begun with
	o := simDays
	o.Seed = peopleSeed(12)
	watch := func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			step := stepOf(r)
			if step != stepWrite && step != stepPoll {
				next.ServeHTTP(w, r)
				return
			}
			mu.Lock()
			snap := s.look(t)
			switch {
			case step == stepPoll && writes == before:
				// Asked for the vendor's clock, about no job of ours, before the first write.
			case step == stepPoll:
				polls++
				if jid := r.URL.Query().Get("jid"); !snap.refs[sim.Voyado][jid] {
					t.Errorf("a job is asked about whose reference is not in the store")
				}
			default:
				writes++
				if snap.states["submitting"] == 0 {
					t.Errorf("a submission arrives, and no intent is in the store: %v", snap.states)
				}
			}
			mu.Unlock()
			next.ServeHTTP(w, r)
		})
	}
	sm, url := serve(t, o, watch)
	for _, vendor := range []string{sim.CustomerGauge, sim.Voyado, sim.Acqueon} {
		// One vendor at a time and one request at a time, so that an intent that is found is
		// the one of the request that arrives.
		s = newSite(t, url, settings{only: []string{vendor}, vendors: map[string][]string{vendor: append([]string{"concurrency: 1"}, quickBut(vendor)...)}})
		s.people(t, 12)
		before = writes
		s.mustRun(t, []int{0, 4}, "run", "--wait", "subjects.csv")
		if writes == before {
			t.Errorf("%s: no submission was seen", vendor)
		}
	}
	if polls == 0 {
		t.Error("no poll was seen")
	}
	if n := effects(sm.Ledger(0)); n == 0 {
		t.Error("nothing was done")
	}
}

// quickBut is quick's settings of a vendor without its concurrency.
func quickBut(vendor string) (lines []string) {
	for _, l := range quick[vendor] {
		if l != "concurrency: 4" {
			lines = append(lines, l)
		}
	}
	return lines
}
