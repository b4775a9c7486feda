package batch

import (
	"cmp"
	"context"
	"errors"
	"path/filepath"
	"slices"
	"time"

	"expunge/batch/intake"
	"expunge/store"
	"expunge/vendors"
)

// Inspection is how a file is read, and what would be sent to whom.
type Inspection struct {
	Rows     int64
	Subjects int64
	Invalid  int64
	Planned  []Planned // for each account, by name
}

// Planned is what a file would lead to at one account.
type Planned struct {
	Account *Account
	Tasks   int64
	Shared  int64         // of them, those that another task's calls answer
	Skipped int64         // subjects with nothing that the vendor knows people by
	Calls   float64       // about how many; looking after a job that is under way is not counted
	Takes   time.Duration // these calls at the configured rate; 0: not known
}

// Problem is a row that would be refused.
type Problem struct {
	intake.Reject
	Column int    // of the file, 1-based; 0: of the row as a whole
	Header string // of that column
}

// Inspect reads a file as TakeIn would, with the same answer for every row, and tells how it is
// made up, then each of its problems. It needs a scratch store: one that is empty and is thrown away. Nothing else is
// written, and no vendor is called.
func (t *Tasks) Inspect(ctx context.Context, lanes []*Lane, in Input, layout func(intake.Layout) error, problem func(Problem) error) (*Inspection, error) {
	in.Reading.Nobody = unasked(lanes, in.Only)
	src := &source{in: in, keep: filepath.Join(filepath.Dir(t.Store.Path()), "input")}
	defer src.close()
	b, again, err := load(ctx, t.Store, lanes, src)
	if err != nil {
		return nil, err
	}
	if again {
		return nil, errors.New("the scratch store is not empty")
	}
	reader, err := src.again()
	if err != nil {
		return nil, err
	}
	defer reader.Close()
	found := reader.Layout()
	if err := layout(found); err != nil {
		return nil, err
	}
	err = eachInvalid(t.Store.Rejects(ctx, b.ID), reader, func(r *intake.Reject) error {
		p := Problem{Reject: *r}
		if i := slices.Index(found.Columns, r.Column); r.Column != "" && i >= 0 {
			p.Column, p.Header = i+1, found.Header[i]
		}
		return problem(p)
	})
	if err != nil {
		return nil, err
	}
	planned, err := t.planned(ctx)
	return &Inspection{Rows: b.Rows, Subjects: b.Subjects, Invalid: b.Invalid, Planned: planned}, err
}

func (t *Tasks) planned(ctx context.Context) ([]Planned, error) {
	counts, err := t.Store.Standing(ctx, t.Now(), t.Now())
	if err != nil {
		return nil, err
	}
	var all []Planned
	for _, a := range t.Accounts {
		p := Planned{Account: a}
		for _, c := range counts {
			switch {
			case c.Vendor != a.id:
			case c.State == store.Skipped:
				p.Skipped += c.Tasks
			default:
				p.Tasks += c.Tasks
				p.Shared += c.Tasks - c.Own
				calls := a.pace().calls(c.State)
				if a.Completion == vendors.ByPoll {
					calls -= a.pace().calls(store.Waiting)
				}
				p.Calls += calls * float64(c.Own)
			}
		}
		p.Takes = a.pace().takes(p.Calls)
		all = append(all, p)
	}
	slices.SortFunc(all, func(a, b Planned) int { return cmp.Compare(a.Account.Name, b.Account.Name) })
	return all, nil
}
