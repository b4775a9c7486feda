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

// Selection names tasks that wait for a person. IDs alone, or the other fields, each of
// which narrows.
type Selection struct {
	IDs    []int64
	State  store.State // Failed (and not closed) or Waiting; any other means Held
	Batch  int64       // 0: all
	Vendor string      // "": all
	Reason string      // "": all
}

// filter is the store's filter of a selection. Errors: store.ErrUnknown, of the vendor.
func (t *Tasks) filter(ctx context.Context, s Selection) (store.HeldFilter, error) {
	f := store.HeldFilter{Failed: s.State == store.Failed, Waiting: s.State == store.Waiting, Batch: s.Batch, Reason: s.Reason}
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

// Errors of what people decide, each about a selection.
var (
	ErrNotHeld   = errors.New("is not held")
	ErrNotFailed = errors.New("has not failed")
	ErrNotOpen   = errors.New("has not failed, is not held and does not wait")
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
	if approved {
		d.Action = "approve"
	}
	return t.decideAll(ctx, sel, d, isHeld, func(w *store.Work) (store.Task, error) { return t.decision(w, approved) })
}

// Retried is what became of failed tasks that a person wants to be tried again.
type Retried struct {
	Ready     int       // the next run goes on with them
	Held      int       // a submission may have reached the vendor, where a repeat does harm
	Forgotten int       // left as they are: the store has no clear identifier of them any more
	Lifted    time.Time // the pause of the vendor that was lifted; zero: there was none
}

// Retry lets failed tasks start anew. Those that may have been submitted go the way that
// their vendor has for a lost answer. The retry of a vendor lifts its pause, too.
func (t *Tasks) Retry(ctx context.Context, sel Selection, d store.Decision) (r Retried, err error) {
	d.Action, sel.State = "retry", store.Failed
	_, err = t.decideAll(ctx, sel, d, hasFailed, func(w *store.Work) (store.Task, error) {
		a, err := t.asked(w)
		if errors.Is(err, ErrForgotten) && len(sel.IDs) == 0 {
			r.Forgotten++
			return store.Task{}, errLeave
		}
		if err != nil {
			return store.Task{}, err
		}
		again, _ := decide.Retry(w.Task, a.Traits)
		if again.State == store.Held {
			r.Held++
		} else {
			r.Ready++
		}
		return again, nil
	})
	if err != nil || sel.Vendor == "" {
		return r, err
	}
	known, err := t.Store.Vendors(ctx)
	if err != nil {
		return r, err
	}
	if v := known[sel.Vendor]; v.PausedUntil.After(t.Now()) {
		r.Lifted, d.Note = v.PausedUntil, words.Note(d.Note)
		return r, t.Store.Lift(ctx, v.ID, d)
	}
	return r, nil
}

// Close settles tasks by a person's word: nothing more is to be done for them.
func (t *Tasks) Close(ctx context.Context, sel Selection, d store.Decision) (int, error) {
	d.Action = "close"
	return t.decideAll(ctx, sel, d, isUnfinished, func(w *store.Work) (store.Task, error) { return decide.Close(w.Task, t.Now()), nil })
}

// errLeave leaves a task of a selection as it is.
var errLeave = errors.New("is left as it is")

// isHeld, hasFailed and isUnfinished say what may be decided of a task.
func isHeld(t *store.Task) error {
	if t.State != store.Held {
		return ErrNotHeld
	}
	return nil
}

func hasFailed(t *store.Task) error {
	if t.State != store.Failed || t.Settled() {
		return ErrNotFailed
	}
	return nil
}

func isUnfinished(t *store.Task) error {
	if t.State != store.Waiting && isHeld(t) != nil && hasFailed(t) != nil {
		return ErrNotOpen
	}
	return nil
}

// decideAll records one decision about the tasks of a selection, and returns about how many
// it was: by page, or, with IDs, about all of them or none.
func (t *Tasks) decideAll(ctx context.Context, sel Selection, d store.Decision, fits func(*store.Task) error, made func(*store.Work) (store.Task, error)) (int, error) {
	note := d.Note
	decide := func(page []store.Work) (int, error) {
		changes := make([]store.Change, 0, len(page))
		for i := range page {
			to, err := made(&page[i])
			switch {
			case errors.Is(err, errLeave):
			case err != nil:
				return 0, err
			default:
				changes = append(changes, store.Change{From: page[i].State, Task: to})
			}
		}
		if len(changes) == 0 {
			return 0, nil
		}
		d.Note = words.Note(note, plain(page)...)
		return len(changes), t.Store.DecideAll(ctx, changes, d)
	}
	if len(sel.IDs) > 0 {
		page, err := t.byID(ctx, sel.IDs, fits)
		if err != nil {
			return 0, err
		}
		return decide(page)
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
		some, err := decide(page)
		if err != nil {
			return n, err
		}
		n += some
	}
}

// Accepted records a person's word that the uncertain submission of a held task did arrive,
// and under which reference. Nothing is sent: the task waits for a confirmation. No error
// quotes the reference, which may be anything that somebody typed.
func (t *Tasks) Accepted(ctx context.Context, id int64, reference string, d store.Decision) error {
	page, err := t.byID(ctx, []int64{id}, isHeld)
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
// stands for none, or for one that does not fit.
func (t *Tasks) byID(ctx context.Context, ids []int64, fits func(*store.Task) error) ([]store.Work, error) {
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
			continue
		case err != nil:
			return nil, err
		}
		if err := fits(&w.Task); err != nil {
			is := w.State.String()
			if w.State == store.Failed && w.Settled() {
				is += ", and closed"
			}
			problems = append(problems, fmt.Errorf("task %d %w: it is %s", id, err, is))
		} else if !slices.ContainsFunc(page, func(p store.Work) bool { return p.ID == w.ID }) {
			page = append(page, w)
		}
	}
	return page, errors.Join(problems...)
}

func (t *Tasks) decision(w *store.Work, approved bool) (store.Task, error) {
	if !approved {
		return decide.Reject(w.Task, t.Now()), nil
	}
	a, err := t.asked(w)
	if err != nil {
		return store.Task{}, err
	}
	approvedTask, _ := decide.Approve(w.Task, a.Traits, t.Now())
	return approvedTask, nil
}

// asked returns the account of a task about which its vendor can be asked again: the config
// has the vendor, and the store the identifier.
func (t *Tasks) asked(w *store.Work) (*Account, error) {
	a := t.account(w.Vendor)
	if a == nil {
		return nil, fmt.Errorf("task %d %w", w.ID, ErrNoVendor)
	}
	s, err := vendors.ParseSubject(w.Plain)
	if err != nil {
		return nil, fmt.Errorf("task %d: %w", w.ID, err)
	}
	if s.At(vendors.Ref{Field: vendors.Field(w.Field), Nth: w.Nth}) == "" {
		return nil, fmt.Errorf("task %d %w", w.ID, ErrForgotten)
	}
	return a, nil
}

// Errors of what people say of a vendor.
var (
	ErrUnconfigured = errors.New("the config has no such vendor")
	ErrSamePlace    = errors.New("is at the place that the config says")
	ErrUntried      = errors.New("was never tried, and no task has ended as erased there yet")
)

// Prove records a person's word that a vendor's account is the right one, at the place that
// the config says. Errors: ErrUnconfigured; ErrUntried; ErrMoved, where work is under way
// elsewhere.
func (t *Tasks) Prove(ctx context.Context, vendor string, d store.Decision) error {
	a, known, err := t.vendor(ctx, vendor)
	if err != nil {
		return err
	}
	if a.Untried {
		switch erased, err := t.Store.AnyErased(ctx, a.id); {
		case err != nil:
			return err
		case !erased:
			return fmt.Errorf("vendor %s %w", vendor, ErrUntried)
		}
	}
	if known.Place != a.Place {
		n, err := t.Store.UnderWay(ctx, a.id)
		if err != nil {
			return err
		}
		if n > 0 && known.Place != "" {
			return fmt.Errorf("vendor %s: %w: %d tasks were submitted at %q, the config says %q", vendor, ErrMoved, n, known.Place, a.Place)
		}
	}
	d.Note = words.Note(d.Note)
	return t.Store.Prove(ctx, a.id, a.Place, string(NotProved), d)
}

// Moved records a person's word that the work under way at a vendor goes on at the place that
// the config says, and returns both. Errors: ErrUnconfigured, ErrSamePlace.
func (t *Tasks) Moved(ctx context.Context, vendor string, d store.Decision) (from, to string, err error) {
	a, known, err := t.vendor(ctx, vendor)
	if err != nil {
		return "", "", err
	}
	if known.Place == "" || known.Place == a.Place {
		return "", "", fmt.Errorf("vendor %s %w", vendor, ErrSamePlace)
	}
	d.Note = words.Note(d.Note)
	return known.Place, a.Place, t.Store.Moved(ctx, a.id, a.Place, string(MovedAway), d)
}

// vendor returns a configured account, and what the store knows of it.
func (t *Tasks) vendor(ctx context.Context, name string) (*Account, store.Vendor, error) {
	for _, a := range t.Accounts {
		if a.Name == name {
			known, err := t.Store.Vendors(ctx)
			return a, known[name], err
		}
	}
	return nil, store.Vendor{}, fmt.Errorf("vendor %s: %w", name, ErrUnconfigured)
}

// plain is what the store holds of the people whom the tasks are about.
func plain(tasks []store.Work) [][]byte {
	all := make([][]byte, len(tasks))
	for i := range tasks {
		all[i] = tasks[i].Plain
	}
	return all
}
