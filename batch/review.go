package batch

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"expunge/batch/decide"
	"expunge/batch/words"
	"expunge/store"
	"expunge/vendors"
)

// HeldTask is what a person is shown of a task that is held.
type HeldTask struct {
	Task           int64     `json:"task"`
	SubjectID      string    `json:"subject_id"`
	Vendor         string    `json:"vendor"`
	IdentifierKind string    `json:"identifier_kind"`
	Identifier     string    `json:"identifier"` // masked
	Reason         string    `json:"reason" words:"none,reason"`
	Why            string    `json:"why"`     // the reason in words
	Message        string    `json:"message"` // what was said of this task
	Records        *int      `json:"records"` // what the preview found; null where the vendor cannot be asked
	RecordRefs     []string  `json:"record_refs"`
	Submitted      bool      `json:"submitted"` // a submission has, or may have, reached the vendor
	Approve        string    `json:"approve"`   // what an approval leads to
	DueAt          time.Time `json:"due_at"`
}

// Selection names held tasks. IDs alone, or the other fields, each of which narrows.
type Selection struct {
	IDs    []int64
	Batch  int64  // 0: all
	Vendor string // "": all
	Reason string // "": all
}

// filter is the store's filter of a selection. Errors: store.ErrUnknown, of the vendor.
func (t *Tasks) filter(ctx context.Context, s Selection) (store.HeldFilter, error) {
	f := store.HeldFilter{Batch: s.Batch, Reason: s.Reason}
	if s.Vendor == "" {
		return f, nil
	}
	known, err := t.Store.Vendors(ctx)
	if err != nil {
		return f, err
	}
	v, ok := known[s.Vendor]
	if !ok {
		return f, fmt.Errorf("vendor %s: %w", s.Vendor, store.ErrUnknown)
	}
	f.Vendor = v.ID
	return f, nil
}

// Cause is why tasks of a vendor are held, and what decides about all of them.
type Cause struct {
	store.HeldCount
	Why     string // the reason in words
	Command string
}

// Causes lists what is held by cause, the most urgent first.
func (t *Tasks) Causes(ctx context.Context, sel Selection) ([]Cause, error) {
	f, err := t.filter(ctx, sel)
	if err != nil {
		return nil, err
	}
	counts, err := t.Store.CountHeld(ctx, f)
	if err != nil {
		return nil, err
	}
	slices.SortStableFunc(counts, func(a, b store.HeldCount) int { return a.DueAt.Compare(b.DueAt) })
	var all []Cause
	for _, c := range counts {
		command := fmt.Sprintf("expunge review approve --reason %s --vendor %s", c.Reason, c.Vendor)
		if sel.Batch != 0 {
			command += fmt.Sprintf(" --batch %d", sel.Batch)
		}
		all = append(all, Cause{c, strings.TrimPrefix(Reasons()[vendors.Reason(c.Reason)], "held: "), command})
	}
	return all, nil
}

// reviewPage is how many held tasks are read, and decided in one transaction.
const reviewPage = 1000

// Held calls fn for held tasks: the limit most urgent ones, or with 0 all of them, in the
// order of the input. It calls no vendor.
func (t *Tasks) Held(ctx context.Context, sel Selection, limit int, fn func(*HeldTask) error) error {
	f, err := t.filter(ctx, sel)
	if err != nil {
		return err
	}
	known, err := t.Store.Vendors(ctx)
	if err != nil {
		return err
	}
	names := map[int64]string{}
	for name, v := range known {
		names[v.ID] = name
	}
	each := func(page []store.Work) error {
		for i := range page {
			h, err := t.heldTask(&page[i], names)
			if err != nil {
				return err
			}
			if err := fn(h); err != nil {
				return err
			}
		}
		return nil
	}
	if limit > 0 {
		page, err := t.Store.Held(ctx, f, limit)
		if err != nil {
			return err
		}
		return each(page)
	}
	for after := int64(0); ; {
		page, err := t.Store.HeldAfter(ctx, f, after, reviewPage)
		if err != nil || len(page) == 0 {
			return err
		}
		after = page[len(page)-1].ID
		if err := each(page); err != nil {
			return err
		}
	}
}

func (t *Tasks) heldTask(w *store.Work, names map[int64]string) (*HeldTask, error) {
	s, err := vendors.ParseSubject(w.Plain)
	if err != nil {
		return nil, fmt.Errorf("task %d: %w", w.ID, err)
	}
	f := vendors.Field(w.Field)
	h := &HeldTask{
		Task: w.ID, SubjectID: w.SubjectID, Vendor: names[w.Vendor], IdentifierKind: f.String(),
		Identifier: s.MaskedAt(vendors.Ref{Field: f, Nth: w.Nth}), Reason: w.Reason,
		Why:     strings.TrimPrefix(Reasons()[vendors.Reason(w.Reason)], "held: "),
		Message: w.Message, RecordRefs: store.SplitRefs(w.RecordRefs),
		Submitted: decide.Submitted(&w.Task), DueAt: w.DueAt,
	}
	if w.Records.Known {
		h.Records = &w.Records.N
	}
	if h.RecordRefs == nil {
		h.RecordRefs = []string{}
	}
	if a := t.account(w.Vendor); a != nil {
		_, h.Approve = decide.Approve(w.Task, a.Traits, time.Time{})
	} else {
		h.Approve = "not possible: the config has no such vendor"
	}
	return h, nil
}

// Errors of Review, each about a selection.
var (
	ErrNotHeld   = errors.New("is not held")
	ErrNoVendor  = errors.New("is at a vendor that the config does not have")
	ErrForgotten = errors.New("has no clear identifier any more")

	ErrNotUncertain   = errors.New("is not held for a submission that people at the vendor can look up")
	ErrNoReference    = errors.New("this cannot be a reference of the vendor's")
	ErrReferenceTaken = errors.New("has or had this reference")
)

// Review records a person's decision about held tasks, and returns how many it was. With
// IDs, nothing is decided if one of them cannot be; a task that follows another stands for
// that one.
func (t *Tasks) Review(ctx context.Context, sel Selection, approved bool, d store.Decision) (int, error) {
	d.Action = "reject"
	note := d.Note
	if approved {
		d.Action = "approve"
	}
	decide := func(page []store.Work) error {
		changes := make([]store.Change, 0, len(page))
		for i := range page {
			t, err := t.decision(&page[i], approved)
			if err != nil {
				return err
			}
			changes = append(changes, store.Change{From: store.Held, Task: t})
		}
		d.Note = words.Note(note, plain(page)...)
		return t.Store.DecideAll(ctx, changes, d)
	}
	if len(sel.IDs) > 0 {
		page, err := t.byID(ctx, sel.IDs)
		if err != nil {
			return 0, err
		}
		return len(page), decide(page)
	}
	f, err := t.filter(ctx, sel)
	if err != nil {
		return 0, err
	}
	n := 0
	for after := int64(0); ; {
		page, err := t.Store.HeldAfter(ctx, f, after, reviewPage)
		if err != nil || len(page) == 0 {
			return n, err
		}
		after = page[len(page)-1].ID
		if err := decide(page); err != nil {
			return n, err
		}
		n += len(page)
	}
}

// Accepted records a person's word that the uncertain submission of a held task did arrive,
// and under which reference. Nothing is sent: the task waits for a confirmation. No error
// quotes the reference, which may be anything that somebody typed.
func (t *Tasks) Accepted(ctx context.Context, id int64, reference string, d store.Decision) error {
	page, err := t.byID(ctx, []int64{id})
	if err != nil {
		return err
	}
	w := &page[0]
	a := t.account(w.Vendor)
	switch {
	case a == nil:
		return fmt.Errorf("task %d %w", w.ID, ErrNoVendor)
	case vendors.Reason(w.Reason) != decide.UncertainSubmission || a.Completion != vendors.ByPerson:
		return fmt.Errorf("task %d %w", w.ID, ErrNotUncertain)
	}
	s, err := vendors.ParseSubject(w.Plain)
	if err != nil {
		return fmt.Errorf("task %d: %w", w.ID, err)
	}
	if !vendors.PlainRequestID(reference, s) {
		return ErrNoReference
	}
	// One confirmation would stand for two people. A vendor may answer so; a person who says
	// it has more likely mistaken another's request for this one.
	taken, err := t.Store.ByReferences(ctx, w.Vendor, []string{reference})
	if err != nil {
		return err
	}
	for _, other := range taken[reference] {
		if other.ID != w.ID {
			return fmt.Errorf("task %d %w", other.ID, ErrReferenceTaken)
		}
	}
	d.Action, d.Note = "approve", words.Note(d.Note, w.Plain)
	return t.Store.Decide(ctx, store.Change{From: store.Held, Task: decide.Accepted(w.Task, a.Traits, reference, t.Now())}, d)
}

// byID returns the tasks that the ids stand for, each once. The error names every id that
// stands for none.
func (t *Tasks) byID(ctx context.Context, ids []int64) ([]store.Work, error) {
	var page []store.Work
	var problems []error
	for _, id := range ids {
		w, err := t.Store.TaskByID(ctx, id)
		if err == nil && w.Follows != 0 {
			w, err = t.Store.TaskByID(ctx, w.Follows)
		}
		switch {
		case errors.Is(err, store.ErrUnknown):
			problems = append(problems, err)
		case err != nil:
			return nil, err
		case w.State != store.Held:
			problems = append(problems, fmt.Errorf("task %d %w: it is %v", id, ErrNotHeld, w.State))
		case !slices.ContainsFunc(page, func(p store.Work) bool { return p.ID == w.ID }):
			page = append(page, w)
		}
	}
	return page, errors.Join(problems...)
}

func (t *Tasks) decision(w *store.Work, approved bool) (store.Task, error) {
	if !approved {
		return decide.Reject(w.Task, t.Now()), nil
	}
	a := t.account(w.Vendor)
	if a == nil {
		return store.Task{}, fmt.Errorf("task %d %w", w.ID, ErrNoVendor)
	}
	s, err := vendors.ParseSubject(w.Plain)
	if err != nil {
		return store.Task{}, fmt.Errorf("task %d: %w", w.ID, err)
	}
	if s.At(vendors.Ref{Field: vendors.Field(w.Field), Nth: w.Nth}) == "" {
		return store.Task{}, fmt.Errorf("task %d %w", w.ID, ErrForgotten)
	}
	approvedTask, _ := decide.Approve(w.Task, a.Traits, t.Now())
	return approvedTask, nil
}

// plain is what the store holds of the people whom the tasks are about.
func plain(tasks []store.Work) [][]byte {
	all := make([][]byte, len(tasks))
	for i := range tasks {
		all[i] = tasks[i].Plain
	}
	return all
}
