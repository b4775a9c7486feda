package campaign

import (
	"context"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"expunge/batch"
	"expunge/batch/config"
	"expunge/batch/intake"
	"expunge/store"
	"expunge/store/seal"
	"expunge/vendors"
	"expunge/vendors/acqueon"
	"expunge/vendors/customergauge"
	"expunge/vendors/sim"
	"expunge/vendors/transport"
	"expunge/vendors/voyado"
)

// inside is the program without its process, on a clock of the test's own.
type inside struct {
	*site
	key   seal.Key
	shift atomic.Int64 // what the clock is off, in nanoseconds
}

func (i *inside) now() time.Time { return time.Now().Add(time.Duration(i.shift.Load())) }

// run is one run: it takes in the site's subjects, works, and returns when nothing is due.
func (i *inside) run(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	env := map[string]string{"CG_CLIENT_ID": sim.DefaultClientID, "CG_CLIENT_SECRET": sim.DefaultClientSecret, "VOYADO_API_KEY": sim.DefaultAPIKey}
	cfg, err := config.Load(i.path("expunge.yaml"), config.Options{
		Kinds:  []vendors.Kind{customergauge.Kind, voyado.Kind, acqueon.Kind},
		Getenv: func(name string) (string, bool) { v, ok := env[name]; return v, ok },
	})
	if err != nil {
		t.Fatal(err)
	}
	st, err := store.Open(ctx, cfg.Store, store.Options{Key: func(bool) (seal.Key, error) { return i.key, nil }, Now: i.now, Forget: batch.Forget})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	}()
	log := slog.New(slog.DiscardHandler)
	var lanes []*batch.Lane
	for _, vc := range cfg.Vendors {
		c := vc.Config.Shared()
		limiter := transport.NewLimiter(transport.LimiterOptions{Rate: c.Rate, Burst: c.Burst})
		tr := transport.New(transport.Options{Vendor: vc.Name, Timeout: time.Duration(c.Timeout), Concurrency: c.Concurrency, Limiter: limiter})
		defer tr.Close()
		v, err := vc.Config.Open(vendors.Options{Name: vc.Name, Transport: tr, Log: log, Now: i.now})
		if err != nil {
			t.Fatal(err)
		}
		lanes = append(lanes, &batch.Lane{Account: batch.AccountOf(vc.Name, v, c.Rate), Vendor: v, Pacer: limiter, Concurrency: c.Concurrency, Retry: c.Retry})
	}
	run, err := batch.NewRun(ctx, &batch.Tasks{Store: st, Now: i.now, Log: log}, lanes...)
	if err != nil {
		t.Fatal(err)
	}
	run.Linger = cfg.Linger
	in := batch.Input{Path: i.path("subjects.csv"), Reading: intake.Options{Now: i.now, Log: log}, Deadline: cfg.Deadline.From, Log: log}
	for _, v := range cfg.Vendors {
		in.Reading.Vendors = append(in.Reading.Vendors, v.Name)
	}
	if _, _, err := batch.TakeIn(ctx, st, run.Lanes, in); err != nil {
		t.Fatal(err)
	}
	if _, err := run.Work(ctx, batch.WorkOptions{}); err != nil {
		t.Fatal(err)
	}
	batches, err := st.Batches(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range batches {
		if _, err := run.ControlTotals(ctx, b); err != nil {
			t.Error(err)
		}
	}
}

// TestClockSetBack: when the clock is set back by an hour, between runs or while one is at
// work, nothing is lost, submitted again or failed. What was scheduled is done when its time
// has come again, an hour later at the most.
func TestClockSetBack(t *testing.T) {
	t.Parallel()
	for _, during := range []bool{false, true} {
		name := "between runs"
		if during {
			name = "during a run"
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			sm, url := simOf(t, 8)
			i := &inside{site: newSite(t, url, settings{global: []string{"linger: 300ms"}}), key: seal.NewKey()}
			i.people(t, 8)
			var seen atomic.Int64
			sm.Script(func(r sim.RequestInfo) sim.Fault {
				n := seen.Add(1)
				if during && n == 20 {
					i.shift.Store(-int64(time.Hour))
				}
				if n%4 == 0 && r.Kind != sim.Acqueon {
					return sim.Fault{Kind: sim.Lost} // work for later, and submissions of unknown outcome
				}
				return sim.Fault{}
			})
			if during {
				i.run(t)
			} else {
				i.configure(t, settings{global: []string{"linger: 1ms"}}) // leaves much to later
				i.run(t)
				i.shift.Store(-int64(time.Hour))
				i.configure(t, settings{global: []string{"linger: 300ms"}})
			}
			i.run(t)
			if n := i.look(t).states["failed"]; n > 0 {
				t.Errorf("%d tasks failed", n)
			}
			i.shift.Store(int64(time.Minute)) // the clock is right again, and a little later
			sm.Script(nil)
			for range 10 {
				i.run(t)
				sm.Advance(2)
			}
			snap := i.look(t)
			for _, k := range snap.tasks {
				if !k.atRest() {
					t.Errorf("task %d at %s is %s %s", k.id, k.vendor, k.state, k.reason)
				}
			}
			if n := snap.states["failed"] + snap.states["held"]; n > 0 {
				t.Errorf("states %v: none may fail or be held by a wrong clock", snap.states)
			}
			raised := map[string]bool{}
			for _, e := range sm.Ledger(0) {
				if e.Kind == sim.Acqueon && e.Effect {
					if raised[e.AccountNumber] {
						t.Errorf("a second ticket for one account number")
					}
					raised[e.AccountNumber] = true
				}
			}
		})
	}
}
