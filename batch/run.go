package batch

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

// Run is one execution's work on the tasks.
type Run struct {
	*Tasks
	Lanes  []*Lane
	Manual bool          // approval: manual
	Linger time.Duration // it waits for what is due within this time

	// Heads publishes the head of the log before a submission leaves that must not be repeated;
	// nil: none is published.
	Heads *Publisher
	ID    int64 // of the run, in the store
}

// NewRun makes a run of lanes. Their accounts become those of the tasks, and the lanes take
// over the pauses that their vendors asked for in earlier runs.
func NewRun(ctx context.Context, t *Tasks, lanes ...*Lane) (*Run, error) {
	t.Accounts = nil
	for _, l := range lanes {
		t.Accounts = append(t.Accounts, l.Account)
	}
	known, err := t.prepare(ctx)
	if err != nil {
		return nil, err
	}
	for _, l := range lanes {
		l.log, l.known = t.Log, known[l.Name]
		l.held = l.Untried && (l.known.Place != l.Place || l.known.Seen.Proved.IsZero())
		switch until := l.known.PausedUntil; {
		case until.After(t.Now().Add(longestPause)):
			// No vendor asks for so long: a clock that was ahead did.
			if err := t.Store.PauseVendor(ctx, l.id, time.Time{}); err != nil {
				return nil, err
			}
		case until.After(t.Now()):
			l.Pacer.Pause(until)
		}
	}
	return &Run{Tasks: t, Lanes: lanes}, nil
}

// longestPause is longer than a vendor can ask for.
const longestPause = 31 * 24 * time.Hour

// WorkOptions narrow a run.
type WorkOptions struct {
	DryRun bool          // previews only
	Once   bool          // of a dry run: what was looked at in an earlier one is not looked at again
	Only   []string      // only these vendors; empty: all
	For    time.Duration // no new work after this long; 0: no limit
	Wait   bool          // stay until nothing is left but what waits on people
}

// first keeps the first error that it is given, and does something about it once.
type first struct {
	sync.Mutex
	err error
	do  func(error)
}

func (f *first) set(err error) {
	f.Lock()
	defer f.Unlock()
	if f.err == nil {
		f.err = err
		f.do(err)
	}
}

func (f *first) get() error {
	f.Lock()
	defer f.Unlock()
	return f.err
}

// Work runs all lanes until nothing is due. The error is one of the store or of our own;
// what goes wrong at a vendor is in the results.
func (run *Run) Work(ctx context.Context, o WorkOptions) ([]LaneResult, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	r := &runner{store: run.Store, now: run.Now, linger: run.Linger, wait: o.Wait, dryRun: o.DryRun, once: o.Once, began: run.Now()}
	if run.Heads != nil {
		r.intents = &intents{heads: run.Heads, run: run.ID}
	}
	window := ctx
	if o.For > 0 {
		r.deadline = run.Now().Add(o.For)
		// Ends what waits for its turn to leave, too: at a low rate that can take minutes.
		var end context.CancelFunc
		window, end = context.WithTimeout(ctx, o.For)
		defer end()
	}
	var lanes []*Lane
	failure := first{do: cancel}
	halted := first{do: func(err error) {
		for _, l := range lanes {
			l.stop(err)
		}
	}}
	r.fail, r.halt = failure.set, halted.set
	for _, l := range run.Lanes {
		if len(o.Only) == 0 || slices.Contains(o.Only, l.Name) {
			l.start(r, run.Manual || l.held)
			l.queues = append(l.queues, &taskQueue{lane: l})
			if err := l.prepare(ctx); err != nil {
				return nil, err
			}
			lanes = append(lanes, l)
		}
	}
	results := make([]LaneResult, len(lanes))
	var g errgroup.Group
	for i, l := range lanes {
		g.Go(func() error {
			parked, err := l.run(window)
			if err != nil {
				r.fail(err)
			}
			results[i] = LaneResult{Name: l.Name, Err: l.stopErr, Parked: parked, Doubt: l.brake.trouble()}
			return nil
		})
	}
	g.Wait()
	// What workers left for the next commit must be there before anybody counts.
	if err := run.Store.Flush(); err != nil {
		r.fail(err)
	}
	var errs []error
	for i, l := range lanes {
		errs = append(errs, run.conclude(ctx, l, &results[i]))
	}
	return results, cmp.Or(failure.get(), halted.get(), errors.Join(errs...))
}

// conclude stores and logs what a lane leaves to the next run besides its tasks.
func (run *Run) conclude(ctx context.Context, l *Lane, r *LaneResult) error {
	var errs []error
	if r.Doubt != nil && r.Parked.IsZero() {
		// It is the vendor's trouble where work is left to the next run, and else nobody's.
		ready, scheduled, err := run.Store.OpenTasks(context.WithoutCancel(ctx), l.id)
		if err != nil {
			errs = append(errs, err)
		} else if ready+scheduled == 0 {
			r.Doubt = nil
		}
	}
	if until := l.Pacer.AskedUntil(); until.After(run.Now()) {
		errs = append(errs, run.Store.PauseVendor(ctx, l.id, until))
	}
	errs = append(errs, l.saveSights(ctx), l.saveTrouble(ctx, *r))
	if n := l.Calls.Load(); n > 0 {
		run.Log.Info("calls", "vendor", l.Name, "calls", n, "failed", l.Errors.Load())
	}
	if !r.Parked.IsZero() {
		run.Log.Warn("left to the next run", "vendor", r.Name, "until", r.Parked.UTC().Format(time.RFC3339))
	}
	return errors.Join(errs...)
}
