package batch

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/gocarina/gocsv"

	"expunge/batch/intake"
	"expunge/store"
)

// confirmation is one line of the file that `expunge confirm` takes in.
type confirmation struct {
	Vendor      string `csv:"vendor"`
	Reference   string `csv:"reference"`
	CompletedAt string `csv:"completed_at"`
	Note        string `csv:"note"`
}

// ConfirmResult is what became of one line.
type ConfirmResult struct {
	Line    int
	Problem string // "" if all that it names is confirmed
	Again   bool   // all of it was confirmed before: nothing has changed
}

// Confirm takes in what people finished by hand: lines of vendor, reference, completed_at
// and an optional note. It is safe to repeat. A line that names nothing that we submitted
// is refused and the others are taken.
func (j *Job) Confirm(ctx context.Context, r io.Reader, who string) ([]ConfirmResult, error) {
	known, err := j.Store.Vendors(ctx)
	if err != nil {
		return nil, err
	}
	lines, results, err := readConfirmations(r, known, j.Now())
	if err != nil {
		return nil, err
	}
	done := map[int64]bool{} // a task may be named by each of the references that it had
	for name, refs := range byVendor(lines) {
		found, err := j.Store.ByReferences(ctx, known[name].ID, refs)
		if err != nil {
			return nil, err
		}
		for _, c := range lines {
			if c.Vendor != name {
				continue
			}
			// A vendor may give the same reference to several requests: the line is about all of them.
			named := found[c.Reference]
			var changes []store.Change
			var problem string
			again := len(named) > 0
			for _, w := range named {
				if w.State == store.Erased || done[w.ID] {
					continue
				}
				again = false
				t, why := c.confirmed(&w)
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
				problem = "confirmed, but not for all of its tasks: " + problem
			}
			if len(changes) > 0 {
				d := store.Decision{At: j.Now(), Who: who, Action: "confirm", Note: scrubNote(c.Note, named...)}
				if err := j.Store.DecideAll(ctx, changes, d); err != nil {
					return results, fmt.Errorf("line %d: %w", c.line, err)
				}
				for i := range changes {
					done[changes[i].ID] = true
				}
			}
			res := ConfirmResult{Line: c.line, Problem: problem, Again: again}
			results = append(results, res)
		}
	}
	slices.SortFunc(results, func(a, b ConfirmResult) int { return cmp.Compare(a.Line, b.Line) })
	return results, nil
}

type confirmLine struct {
	confirmation
	line  int
	at    time.Time
	slack time.Duration // how much later than at it may have been
}

// confirmed is the task as the line leaves it, or why the line cannot be about it.
func (c *confirmLine) confirmed(w *store.Work) (t store.Task, problem string) {
	switch {
	case w.State != store.Waiting && w.State != store.Held && w.State != store.Failed:
		return t, "the task with this reference is " + w.State.String()
	case c.at.Add(c.slack).Before(w.SubmittedAt.Truncate(time.Second)):
		return t, "completed_at is before the request was submitted, at " + w.SubmittedAt.Format(time.RFC3339)
	}
	at := c.at
	if c.slack > 0 && at.Before(w.SubmittedAt) {
		at = w.SubmittedAt
	}
	return erased(w.Task, store.Confirmed, at), ""
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

// ErrConfirmations: the file as a whole cannot be read.
var ErrConfirmations = errors.New("the confirmations cannot be read")

// confirmColumns are the columns of a confirmation, by intake.NormalHeader.
var confirmColumns = map[string]string{"vendor": "vendor", "reference": "reference", "completedat": "completed_at", "note": "note"}

func readConfirmations(r io.Reader, known map[string]store.Vendor, now time.Time) ([]confirmLine, []ConfirmResult, error) {
	text := bufio.NewReaderSize(io.LimitReader(r, 256<<20), 64<<10)
	if bom, _ := text.Peek(3); string(bom) == "\ufeff" {
		text.Discard(3)
	}
	peeked, _ := text.Peek(text.Size())
	first, _, _ := bytes.Cut(peeked, []byte("\n"))
	cr := csv.NewReader(text)
	cr.TrimLeadingSpace = true
	for _, comma := range ";\t" { // as the spreadsheets of half of Europe write it
		if !bytes.ContainsRune(first, ',') && bytes.ContainsRune(first, comma) {
			cr.Comma, cr.TrimLeadingSpace = comma, comma != '\t'
		}
	}
	un, err := gocsv.NewUnmarshaller(cr, confirmation{})
	if errors.Is(err, io.EOF) {
		err = errors.New("line 1: the file is empty")
	}
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %w", ErrConfirmations, err)
	}
	have := map[string]bool{}
	if err := un.RenormalizeHeaders(func(headers []string) []string {
		names := slices.Clone(headers)
		for i, h := range headers {
			if column := confirmColumns[intake.NormalHeader(h)]; column != "" && !have[column] {
				names[i], have[column] = column, true
			} else {
				names[i] = "-" // none of ours, or there a second time
			}
		}
		return names
	}); err != nil {
		return nil, nil, fmt.Errorf("%w: %w", ErrConfirmations, err)
	}
	for _, need := range []string{"vendor", "reference", "completed_at"} {
		if !have[need] {
			return nil, nil, fmt.Errorf("%w: line 1: there is no column %s", ErrConfirmations, need)
		}
	}
	var lines []confirmLine
	var refused []ConfirmResult
	for {
		rec, err := un.Read()
		if errors.Is(err, io.EOF) {
			return lines, refused, nil
		}
		line := 0
		refuse := func(why string) { refused = append(refused, ConfirmResult{Line: line, Problem: why}) }
		if err != nil {
			var pe *csv.ParseError
			if !errors.As(err, &pe) || !errors.Is(pe.Err, csv.ErrFieldCount) {
				return nil, nil, fmt.Errorf("%w: %w", ErrConfirmations, err)
			}
			line = pe.StartLine
			refuse("more or fewer cells than the header")
			continue
		}
		line, _ = cr.FieldPos(0)
		c := confirmLine{confirmation: rec.(confirmation), line: line}
		for _, cell := range []*string{&c.Vendor, &c.Reference, &c.CompletedAt} {
			*cell = strings.TrimSpace(*cell)
		}
		if _, ok := known[c.Vendor]; !ok {
			refuse("unknown vendor")
			continue
		}
		if c.Reference == "" {
			refuse("no reference")
			continue
		}
		if c.at, err = time.Parse(time.RFC3339, c.CompletedAt); err != nil {
			if c.at, err = time.Parse(time.DateOnly, c.CompletedAt); err != nil {
				refuse("completed_at is neither RFC 3339 nor YYYY-MM-DD")
				continue
			}
			// A day means its end: the request was raised on it at the latest. It is one of
			// the calendar of whoever wrote it, where it may begin and end hours away from UTC.
			begins := c.at
			c.at, c.slack = begins.Add(24*time.Hour-time.Second), farthestWest
			if c.at.After(now) && !begins.After(now.Add(farthestEast)) {
				c.at = now
			}
		}
		if c.at.After(now.Add(time.Minute)) {
			refuse("completed_at is in the future")
			continue
		}
		if lines = append(lines, c); len(lines) > maxConfirmations {
			return nil, nil, fmt.Errorf("%w: more than %d lines", ErrConfirmations, maxConfirmations)
		}
	}
}
