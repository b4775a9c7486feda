package batch

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"expunge/batch/decide"
	"expunge/batch/intake"
	"expunge/batch/words"
	"expunge/store"
)

// confirmation is one line of the file that `expunge confirm` takes in.
type confirmation struct {
	Vendor      string `csv:"vendor"`
	Reference   string `csv:"reference"`
	CompletedAt string `csv:"completed_at"`
	Outcome     string `csv:"outcome"` // done, which is the default, or declined
	Note        string `csv:"note"`
}

// confirmations is the table of what people finished by hand.
var confirmations = intake.Table{Columns: []string{"vendor", "reference", "completed_at", "outcome", "note"}, Row: &confirmation{}, NoOthers: true, Needs: []intake.Need{
	{Columns: []string{"vendor"}, Problem: "there is no column vendor", Hint: confirmationHint},
	{Columns: []string{"reference"}, Problem: "there is no column reference", Hint: confirmationHint},
	{Columns: []string{"completed_at"}, Problem: "there is no column completed_at", Hint: confirmationHint},
}}

const confirmationHint = "the columns are vendor,reference,completed_at and, if you like, outcome (done or declined) and note"

// OpenConfirmations opens the file for Confirm, or standard input for "-".
func OpenConfirmations(path string, stdin io.Reader, o intake.Options) (*intake.File, error) {
	o.Columns = nil // they are those of people's files
	return intake.OpenFile(path, stdin, &confirmations, o)
}

// ConfirmResult is what became of one line.
type ConfirmResult struct {
	Line     int
	Problem  string // "" if all that it names is settled by it
	Declined bool   // what the line says: the vendor's people declined it
	Again    bool   // all of it was settled so before: nothing has changed
}

// Confirm takes in what people finished by hand: lines of vendor, reference, completed_at
// and optionally an outcome and a note. It is safe to repeat. A line that names nothing that we submitted
// is refused and the others are taken.
func (t *Tasks) Confirm(ctx context.Context, f *intake.File, who string) ([]ConfirmResult, error) {
	known, err := t.Store.Vendors(ctx)
	if err != nil {
		return nil, err
	}
	lines, results, err := readConfirmations(f, known, t.Now())
	if err != nil {
		return nil, err
	}
	done := map[int64]bool{} // a task may be named by each of the references that it had
	for name, refs := range byVendor(lines) {
		found, err := t.Store.ByReferences(ctx, known[name].ID, refs)
		if err != nil {
			return nil, err
		}
		for _, c := range lines {
			if c.Vendor != name {
				continue
			}
			named := notInDoubt(found[c.Reference])
			var changes []store.Change
			var problem string
			again := len(named) > 0
			for _, w := range named {
				if c.settled(&w) || done[w.ID] {
					continue
				}
				again = false
				t, why := c.confirmed(&w, t.Now())
				if why != "" {
					problem = why
					continue
				}
				changes = append(changes, store.Change{From: w.State, Task: t})
			}
			switch {
			case len(named) == 0:
				problem = "this vendor never gave us this reference"
			case problem != "" && len(changes) > 0:
				problem = "taken in, but not for all of its tasks: " + problem
			}
			if len(changes) > 0 {
				action := "confirm"
				if c.declined {
					action = "decline"
				}
				d := store.Decision{At: t.Now(), Who: who, Action: action, Note: words.Note(c.Note, plain(named)...)}
				if err := t.Store.DecideAll(ctx, changes, d); err != nil {
					return results, fmt.Errorf("line %d: %w", c.line, err)
				}
				for i := range changes {
					done[changes[i].ID] = true
				}
			}
			res := ConfirmResult{Line: c.line, Problem: problem, Declined: c.declined, Again: again}
			results = append(results, res)
		}
	}
	slices.SortFunc(results, func(a, b ConfirmResult) int { return cmp.Compare(a.Line, b.Line) })
	return results, nil
}

type confirmLine struct {
	confirmation
	line     int
	at       time.Time
	slack    time.Duration // how much later than at it may have been
	declined bool
}

// settled reports whether the task is what the line says already.
func (c *confirmLine) settled(w *store.Work) bool {
	if c.declined {
		return w.State == store.Failed && w.Reason == string(decide.Declined)
	}
	return w.State == store.Erased
}

// confirmed is the task as the line leaves it, or why the line cannot be about it.
func (c *confirmLine) confirmed(w *store.Work, now time.Time) (t store.Task, problem string) {
	switch {
	case isInDoubt(w):
		return t, "whose request this reference is must be decided first: `expunge review list --reason " + string(decide.ReferenceInDoubt) + "`"
	case w.State != store.Waiting && w.State != store.Held && w.State != store.Failed:
		return t, "the task with this reference is " + w.State.String()
	case c.at.Add(c.slack).Before(w.SubmittedAt.Truncate(time.Second)):
		return t, "completed_at is before the request was submitted, at " + w.SubmittedAt.Format(time.RFC3339)
	}
	at := c.at
	if c.slack > 0 && at.Before(w.SubmittedAt) {
		at = w.SubmittedAt
	}
	if c.declined {
		return decide.WasDeclined(w.Task, at, now), ""
	}
	return decide.Confirmed(w.Task, at), ""
}

func isInDoubt(w *store.Work) bool {
	return w.State == store.Held && w.Reason == string(decide.ReferenceInDoubt)
}

// notInDoubt are those of the tasks with a reference whose own it is. Where that is in doubt
// of all of them, they are all.
func notInDoubt(all []store.Work) []store.Work {
	sure := slices.DeleteFunc(slices.Clone(all), func(w store.Work) bool { return isInDoubt(&w) })
	if len(sure) == 0 {
		return all
	}
	return sure
}

// How far the clocks of people are from UTC.
const (
	farthestEast = 14 * time.Hour
	farthestWest = 12 * time.Hour
)

func byVendor(lines []confirmLine) map[string][]string {
	all := map[string][]string{}
	for _, c := range lines {
		all[c.Vendor] = append(all[c.Vendor], c.Reference)
	}
	return all
}

// maxConfirmations bounds one file: it is the work of people.
const maxConfirmations = 1_000_000

// ErrManyConfirmations: the file has more lines than people finish by hand.
var ErrManyConfirmations = fmt.Errorf("the file has more than %d lines", maxConfirmations)

func readConfirmations(f *intake.File, known map[string]store.Vendor, now time.Time) ([]confirmLine, []ConfirmResult, error) {
	var lines []confirmLine
	var refused []ConfirmResult
	for {
		row, reject, err := f.Next()
		if errors.Is(err, io.EOF) {
			return lines, refused, nil
		}
		if err != nil {
			return nil, nil, err
		}
		if reject != nil {
			refused = append(refused, ConfirmResult{Line: reject.Line, Problem: reject.Message})
			continue
		}
		rec, ok := row.(*confirmation)
		if !ok {
			return nil, nil, fmt.Errorf("gocsv gave a %T", row)
		}
		c := confirmLine{confirmation: *rec, line: f.Line()}
		if problem := c.check(f, known, now); problem != "" {
			refused = append(refused, ConfirmResult{Line: c.line, Problem: problem})
			continue
		}
		if lines = append(lines, c); len(lines) > maxConfirmations {
			return nil, nil, ErrManyConfirmations
		}
	}
}

// check finds out what a line says, or returns why it says nothing.
func (c *confirmLine) check(f *intake.File, known map[string]store.Vendor, now time.Time) (problem string) {
	for _, cell := range []*string{&c.Vendor, &c.Reference, &c.CompletedAt, &c.Outcome} {
		*cell = strings.TrimSpace(*cell)
	}
	if _, ok := known[c.Vendor]; !ok {
		c.Vendor = strings.ToLower(c.Vendor)
	}
	if _, ok := known[c.Vendor]; !ok {
		return "unknown vendor"
	}
	if c.Reference == "" {
		return "no reference"
	}
	switch strings.ToLower(c.Outcome) {
	case "", "done":
	case "declined":
		c.declined = true
	default:
		return "outcome is neither done nor declined"
	}
	if c.at, c.slack, problem = moment(f, c.CompletedAt, now); problem != "" {
		return "completed_at " + problem
	}
	return ""
}

// moment reads when people have done something, and how much later it may have been.
func moment(f *intake.File, text string, now time.Time) (at time.Time, slack time.Duration, problem string) {
	at, day, problem := f.Time(text)
	if problem != "" {
		return at, 0, problem
	}
	if day {
		// A day means its end: it was done on it at the latest. It is one of the calendar of
		// whoever wrote it, where it may begin and end hours away from UTC.
		begins := at
		at, slack = begins.Add(24*time.Hour-time.Second), farthestWest
		if at.After(now) && !begins.After(now.Add(farthestEast)) {
			at = now
		}
	}
	if at.After(now.Add(time.Minute)) {
		return at, 0, "is in the future"
	}
	return at, slack, ""
}
