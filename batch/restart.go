package batch

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"expunge/batch/decide"
	"expunge/store"
	"expunge/store/ledger"
	"expunge/vendors"
)

// ErrNothingLost: the store has all that was published of it.
var ErrNothingLost = errors.New("the store has all that was published of it")

// Restarted is what a restart of the log has done.
type Restarted struct {
	Epoch int64
	Held  int64        // tasks that a person decides about now
	Lost  *ledger.Head // the head that was given up; nil: none is known
}

// Restart lets a store go on that does not have all that was published of it: a copy of it was put
// back. What it does not know may have been submitted since, so that everything unfinished is held
// at vendors where a repetition would do harm, and the log begins a new epoch. Cut short, it is
// done again. Errors: ErrNothingLost, ErrHeads, and those of the store.
func (t *Tasks) Restart(ctx context.Context, heads *Publisher, note string) (Restarted, error) {
	switch lost, err := heads.lost(ctx); {
	case err != nil:
		return Restarted{}, err
	case lost == nil:
		return Restarted{}, ErrNothingLost
	default:
		return t.restart(ctx, lost, note)
	}
}

// Restore is Restart for a copy of which it is known that it was put back: also where nothing was
// published since, or what was published is lost.
func (t *Tasks) Restore(ctx context.Context, heads *Publisher, note string) (Restarted, error) {
	lost, err := heads.lost(ctx)
	if err != nil {
		return Restarted{}, err
	}
	return t.restart(ctx, lost, note)
}

// lost returns the newest head that was published of the store and that it does not have, or nil.
func (p *Publisher) lost(ctx context.Context) (*ledger.Head, error) {
	var lost *store.LostError
	err := p.Compare(ctx)
	if errors.As(err, &lost) {
		return lost.Head, nil
	}
	return nil, err
}

func (t *Tasks) restart(ctx context.Context, lost *ledger.Head, note string) (r Restarted, err error) {
	r.Lost = lost
	known, err := t.Store.Vendors(ctx)
	if err != nil {
		return r, err
	}
	for name, v := range known {
		i := slices.IndexFunc(t.Accounts, func(a *Account) bool { return a.Name == name })
		if i >= 0 && t.Accounts[i].Uncertain != vendors.HoldForPerson {
			continue // its own rule does no harm; of one that is not configured no rule is known
		}
		n, err := t.holdOpen(ctx, v.ID)
		if r.Held += n; err != nil {
			return r, fmt.Errorf("vendor %s: %w", name, err)
		}
	}
	r.Epoch, err = t.Store.Restart(ctx, r.Lost, note)
	return r, err
}

// holdOpen holds the unfinished tasks of a vendor.
func (t *Tasks) holdOpen(ctx context.Context, vendor int64) (n int64, err error) {
	const page = 500
	for after := int64(0); ; {
		work, err := t.Store.HeldAfter(ctx, store.HeldFilter{Open: true, Vendor: vendor}, after, page)
		if err != nil || len(work) == 0 {
			return n, err
		}
		failure := first{do: func(error) {}}
		for i := range work {
			w := &work[i]
			after = w.ID
			t.Store.ApplyLater(store.Change{From: w.State, Task: decide.Restored(w.Task)}, func(err error) {
				if err != nil {
					failure.set(err)
				}
			})
		}
		if err := errors.Join(t.Store.Flush(), failure.get()); err != nil {
			return n, err
		}
		n += int64(len(work))
	}
}
