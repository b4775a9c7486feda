package batch

import (
	"context"
	"errors"
	"fmt"

	"expunge/store"
)

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
func (t *Tasks) ControlTotals(ctx context.Context, b store.Batch) (Totals, error) {
	out := Totals{Batch: b, States: map[store.State]int64{}}
	tally, err := t.Store.Tally(ctx, b.ID, t.Now())
	if err != nil {
		return out, err
	}
	for _, row := range tally {
		out.States[row.State] = row.Tasks
		out.Tasks += row.Tasks
		out.Closed += row.Closed
		out.Overdue += row.Overdue
	}
	if out.Exports, err = t.Exports(ctx, b.ID); err != nil {
		return out, err
	}
	counted, err := t.Store.Count(ctx, b)
	if err != nil {
		return out, err
	}
	switch {
	case b.Rows != b.Subjects+b.Invalid+b.Duplicates:
		err = fmt.Errorf("%w: batch %d: %d rows, but %d subjects + %d invalid + %d duplicates", ErrUnbalanced, b.ID, b.Rows, b.Subjects, b.Invalid, b.Duplicates)
	case counted.Subjects+counted.Purged != b.Subjects || counted.Rejects != b.Invalid+b.Duplicates:
		err = fmt.Errorf("%w: batch %d: %d subjects and %d refused rows in the store", ErrUnbalanced, b.ID, counted.Subjects, counted.Rejects)
	case counted.Expected != out.Tasks:
		err = fmt.Errorf("%w: batch %d: %d tasks, where its subjects lead to %d", ErrUnbalanced, b.ID, out.Tasks, counted.Expected)
	}
	return out, err
}
