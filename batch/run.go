package batch

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"expunge/store"
)

// Job is the work on one store with the configured vendors.
type Job struct {
	Store  *store.Store
	Lanes  []*Lane
	Manual bool          // approval: manual
	Linger time.Duration // a run waits for what is due within this time
	Now    func() time.Time
	Log    *slog.Logger
}

// Prepare drops what an earlier run did not take in to its end, makes the lanes' vendors
// known to the store and takes over the pauses that vendors asked for in earlier runs. It
// comes before everything else.
func (j *Job) Prepare(ctx context.Context) error {
	cut, err := j.Store.DiscardUnsettled(ctx)
	if err != nil {
		return err
	}
	for _, b := range cut {
		j.Log.Warn("the intake of a file was cut short and counts for nothing: run again with that file", "file", b.Name)
	}
	var specs []store.VendorSpec
	for _, l := range j.Lanes {
		tr := l.Vendor.Traits()
		specs = append(specs, store.VendorSpec{Name: l.Name, Kind: tr.Kind, Fields: uint32(tr.Fields)})
	}
	known, err := j.Store.SyncVendors(ctx, specs)
	if err != nil {
		return err
	}
	for _, l := range j.Lanes {
		v, ok := known[l.Name]
		if !ok {
			continue // read-only, and new: it has no tasks
		}
		l.id, l.log = v.ID, j.Log
		if v.PausedUntil.After(j.Now()) {
			l.Pacer.Pause(v.PausedUntil)
		}
	}
	return nil
}

// WorkOptions narrow a run.
type WorkOptions struct {
	DryRun bool          // previews only
	Only   []string      // only these vendors; empty: all
	For    time.Duration // no new work after this long; 0: no limit
	Wait   bool          // stay until nothing is left but what waits on people
}

// LaneResult is how a lane ended.
type LaneResult struct {
	Name   string
	Err    error     // credentials refused: it made no further calls
	Parked time.Time // the vendor does not answer, or asked for a pause until then, or a quota is used up: the rest is left to the next run
	Down   bool      // Parked because the vendor does not answer
}

// Work runs all lanes until nothing is due. The error is one of the store or of our own;
// what goes wrong at a vendor is in the results.
func (j *Job) Work(ctx context.Context, o WorkOptions) ([]LaneResult, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	r := &runner{store: j.Store, now: j.Now, linger: j.Linger, wait: o.Wait, dryRun: o.DryRun, began: j.Now()}
	if o.For > 0 {
		r.deadline = j.Now().Add(o.For)
		// Ends what waits for its turn to leave, too: at a low rate that can take minutes.
		var end context.CancelFunc
		ctx, end = context.WithTimeout(ctx, o.For)
		defer end()
	}
	var failure struct {
		sync.Mutex
		err error
	}
	r.fail = func(err error) {
		failure.Lock()
		defer failure.Unlock()
		if failure.err == nil {
			failure.err = err
			cancel(err)
		}
	}
	var lanes []*Lane
	for _, l := range j.Lanes {
		if len(o.Only) == 0 || slices.Contains(o.Only, l.Name) {
			l.start(r, j.Manual)
			if err := l.openExports(ctx); err != nil {
				return nil, err
			}
			lanes = append(lanes, l)
		}
	}
	results := make([]LaneResult, len(lanes))
	var g errgroup.Group
	for i, l := range lanes {
		g.Go(func() error {
			parked, err := l.run(ctx)
			if err != nil {
				r.fail(err)
			}
			results[i] = LaneResult{Name: l.Name, Err: l.stopErr, Parked: parked, Down: l.breaker.isOpen()}
			return nil
		})
	}
	g.Wait()
	// What workers left to ride with the next commit must be there before anybody counts.
	if err := j.Store.Flush(); err != nil {
		r.fail(err)
	}
	var errs []error
	for i, l := range lanes {
		if until := l.Pacer.AskedUntil(); until.After(j.Now()) {
			errs = append(errs, j.Store.PauseVendor(ctx, l.id, until))
		}
		if n := l.Calls.Load(); n > 0 {
			j.Log.Info("calls", "vendor", l.Name, "calls", n, "failed", l.Errors.Load())
		}
		if res := results[i]; !res.Parked.IsZero() {
			j.Log.Warn("left to the next run", "vendor", res.Name, "until", res.Parked.UTC().Format(time.RFC3339), "down", res.Down)
		}
	}
	failure.Lock()
	defer failure.Unlock()
	if failure.err != nil {
		return results, failure.err
	}
	return results, errors.Join(errs...)
}

// Totals are the control totals of a batch.
type Totals struct {
	Batch   store.Batch
	States  map[store.State]int64
	Tasks   int64
	Closed  int64                    // failed tasks that a person has closed
	Overdue int64                    // unsettled tasks that are due before now
	Exports map[string]*ExportStatus // by vendor; only those that have some
}

// Open is how many tasks are not final.
func (t *Totals) Open() int64 {
	var n int64
	for s, c := range t.States {
		if !s.Final() {
			n += c
		}
	}
	return n
}

// ErrUnbalanced says that the control totals do not balance: a row or a task is missing or
// counted twice. It must not happen.
var ErrUnbalanced = errors.New("the control totals do not balance")

// ControlTotals counts what became of a batch, from the rows themselves, and checks that
// every row and every task is accounted for exactly once.
func (j *Job) ControlTotals(ctx context.Context, b store.Batch) (Totals, error) {
	t := Totals{Batch: b, States: map[store.State]int64{}}
	tally, err := j.Store.Tally(ctx, b.ID, j.Now())
	if err != nil {
		return t, err
	}
	for _, row := range tally {
		t.States[row.State] = row.Tasks
		t.Tasks += row.Tasks
		t.Closed += row.Closed
		t.Overdue += row.Overdue
	}
	if t.Exports, err = j.Exports(ctx, b.ID); err != nil {
		return t, err
	}
	counted, err := j.Store.Count(ctx, b)
	if err != nil {
		return t, err
	}
	switch {
	case b.Rows != b.Subjects+b.Invalid+b.Duplicates:
		err = fmt.Errorf("%w: batch %d: %d rows, but %d subjects + %d invalid + %d duplicates", ErrUnbalanced, b.ID, b.Rows, b.Subjects, b.Invalid, b.Duplicates)
	case counted.Subjects+counted.Purged != b.Subjects || counted.Rejects != b.Invalid+b.Duplicates:
		err = fmt.Errorf("%w: batch %d: %d subjects and %d refused rows in the store", ErrUnbalanced, b.ID, counted.Subjects, counted.Rejects)
	case counted.Expected != t.Tasks:
		err = fmt.Errorf("%w: batch %d: %d tasks, where its subjects lead to %d", ErrUnbalanced, b.ID, t.Tasks, counted.Expected)
	}
	return t, err
}
