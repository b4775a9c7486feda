package batch

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

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
	Reason         string    `json:"reason"`
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
	Reason string // "": all
}

func (s Selection) filter() store.HeldFilter {
	return store.HeldFilter{Batch: s.Batch, Reason: s.Reason}
}

// reviewPage is how many held tasks are read, and decided in one transaction.
const reviewPage = 1000

// Held calls fn for held tasks: the limit most urgent ones, or with 0 all of them, in the
// order of the input. It calls no vendor.
func (j *Job) Held(ctx context.Context, sel Selection, limit int, fn func(*HeldTask) error) error {
	known, err := j.Store.Vendors(ctx)
	if err != nil {
		return err
	}
	names := map[int64]string{}
	for name, v := range known {
		names[v.ID] = name
	}
	traits := j.traits()
	each := func(page []store.Work) error {
		for i := range page {
			h, err := heldTask(&page[i], names, traits)
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
		page, err := j.Store.Held(ctx, sel.filter(), limit)
		if err != nil {
			return err
		}
		return each(page)
	}
	for after := int64(0); ; {
		page, err := j.Store.HeldAfter(ctx, sel.filter(), after, reviewPage)
		if err != nil || len(page) == 0 {
			return err
		}
		after = page[len(page)-1].ID
		if err := each(page); err != nil {
			return err
		}
	}
}

func heldTask(w *store.Work, names map[int64]string, traits map[int64]vendors.Traits) (*HeldTask, error) {
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
		Submitted: submitted(&w.Task), DueAt: w.DueAt,
	}
	if w.Records.Known {
		h.Records = &w.Records.N
	}
	if h.RecordRefs == nil {
		h.RecordRefs = []string{}
	}
	if tr, ok := traits[w.Vendor]; ok {
		_, h.Approve = approve(w.Task, tr, time.Time{})
	} else {
		h.Approve = "not possible: the config has no such vendor"
	}
	return h, nil
}

// submitted reports whether a submission has, or may have, reached the vendor.
func submitted(t *store.Task) bool {
	return t.Uncertain > 0 || t.Reference != "" || !t.SubmittedAt.IsZero()
}

func (j *Job) traits() map[int64]vendors.Traits {
	all := map[int64]vendors.Traits{}
	for _, l := range j.Lanes {
		if l.id != 0 {
			all[l.id] = l.Vendor.Traits()
		}
	}
	return all
}

// approve is the task as it is to be after a person approved it, and what that means in
// words. It is defined for every reason for which a task can be held.
func approve(t store.Task, tr vendors.Traits, now time.Time) (store.Task, string) {
	why := vendors.Reason(t.Reason)
	// A doubt that was approved before stays approved when the outcome gets lost.
	doubt, _, _, _ := readApproval(t.Approval)
	switch why {
	case vendors.SomebodyElse, vendors.UnknownOwner, vendors.TooManyRecords, vendors.InconsistentAnswer:
		doubt = why
	}
	bound := approval(doubt, t.Records.N, t.RecordRefs)
	t.Attempts, t.Reason, t.Message, t.Approval = 0, "", "", ""
	switch why {
	case UncertainSubmission:
		t.Approval = bound
		t.Message = resubmission + " was approved"
		return ready(t, store.Pending), "submit again: if the first one arrived, the vendor has it twice. If it is there, --reference REF says so instead"
	case UnknownOutcome:
		switch {
		case tr.Completion == vendors.ByPreview && t.Uncertain == 0 && !t.SubmittedAt.IsZero():
			return ready(t, store.Verifying), "look again whether the records are gone"
		case tr.Completion == vendors.ByPoll && t.Reference != "":
			t.Approval = patience(now)
			return ready(t, store.Waiting), "ask for the job again, for another give_up_after"
		}
		t.Approval = bound
		if tr.Completion == vendors.ByPerson {
			t.Message = resubmission + " was approved"
		}
		if tr.Remote {
			return ready(t, store.Pending), "look again, and submit again what is still there"
		}
		return ready(t, store.Pending), "submit again"
	case NotDoneInTime:
		if t.Reference != "" {
			t.Approval = patience(now)
			return ready(t, store.Waiting), "ask for the job again, for another give_up_after"
		}
		t.Approval = bound
		return ready(t, store.Pending), "submit again"
	case JobLost:
		t.Approval = bound
		return ready(t, store.Pending), "submit again"
	case ExportFailed:
		t.Approval = withoutExport + bound
		return ready(t, store.Pending), "submit without an export"
	case vendors.NoAgent:
		// Nobody can stand in for the agent: the config, or the row, has to name one.
		return ready(t, store.Pending), "try again, with the agent that the config names by then"
	case vendors.ControlRecord:
		// Nor does an approval make the control record a person's: the config has to name another.
		return ready(t, store.Pending), "look again, with the control record that the config names by then"
	}
	t.Approval = bound
	if !tr.Remote {
		return ready(t, store.Pending), "submit it as it is"
	}
	return ready(t, store.Pending), "submit, if the next preview shows no other and no more records than these"
}

// accepted is the task as it is to be after a person found its uncertain submission at the
// vendor: as if the answer had not been lost.
func accepted(t store.Task, tr vendors.Traits, reference string, now time.Time) store.Task {
	t.Uncertain-- // an earlier one may still be
	p := policy{Traits: tr}
	return p.afterSubmit(t, vendors.Receipt{Reference: reference}, now)
}

// reject is the task as it is to be after a person rejected its erasure.
func reject(t store.Task, now time.Time) store.Task {
	message := "nothing was submitted"
	switch {
	case t.Uncertain > 0:
		message = "a submission may have reached the vendor"
		if t.Uncertain > 1 {
			message = "a submission and its " + resubmission + " may have reached the vendor"
		}
	case submitted(&t):
		message = "the vendor had accepted a submission"
	}
	t = failed(t, Rejected, message, now)
	t.ClosedAt = now // it is a person's word
	return t
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
func (j *Job) Review(ctx context.Context, sel Selection, approved bool, d store.Decision) (int, error) {
	d.Action = "reject"
	note := d.Note
	if approved {
		d.Action = "approve"
	}
	traits := j.traits()
	decide := func(page []store.Work) error {
		changes := make([]store.Change, 0, len(page))
		for i := range page {
			t, err := j.decision(&page[i], traits, approved)
			if err != nil {
				return err
			}
			changes = append(changes, store.Change{From: store.Held, Task: t})
		}
		d.Note = scrubNote(note, page...)
		return j.Store.DecideAll(ctx, changes, d)
	}
	if len(sel.IDs) > 0 {
		page, err := j.byID(ctx, sel.IDs)
		if err != nil {
			return 0, err
		}
		return len(page), decide(page)
	}
	n := 0
	for after := int64(0); ; {
		page, err := j.Store.HeldAfter(ctx, sel.filter(), after, reviewPage)
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
func (j *Job) Accepted(ctx context.Context, id int64, reference string, d store.Decision) error {
	page, err := j.byID(ctx, []int64{id})
	if err != nil {
		return err
	}
	w := &page[0]
	tr, ok := j.traits()[w.Vendor]
	switch {
	case !ok:
		return fmt.Errorf("task %d %w", w.ID, ErrNoVendor)
	case vendors.Reason(w.Reason) != UncertainSubmission || tr.Completion != vendors.ByPerson:
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
	taken, err := j.Store.ByReferences(ctx, w.Vendor, []string{reference})
	if err != nil {
		return err
	}
	for _, other := range taken[reference] {
		if other.ID != w.ID {
			return fmt.Errorf("task %d %w", other.ID, ErrReferenceTaken)
		}
	}
	d.Action, d.Note = "approve", scrubNote(d.Note, *w)
	return j.Store.Decide(ctx, store.Change{From: store.Held, Task: accepted(w.Task, tr, reference, j.Now())}, d)
}

// byID returns the tasks that the ids stand for, each once. The error names every id that
// stands for none.
func (j *Job) byID(ctx context.Context, ids []int64) ([]store.Work, error) {
	var page []store.Work
	var problems []error
	for _, id := range ids {
		w, err := j.Store.TaskByID(ctx, id)
		if err == nil && w.Follow != 0 {
			w, err = j.Store.TaskByID(ctx, w.Follow)
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

func (j *Job) decision(w *store.Work, traits map[int64]vendors.Traits, approved bool) (store.Task, error) {
	if !approved {
		return reject(w.Task, j.Now()), nil
	}
	tr, ok := traits[w.Vendor]
	if !ok {
		return store.Task{}, fmt.Errorf("task %d %w", w.ID, ErrNoVendor)
	}
	s, err := vendors.ParseSubject(w.Plain)
	if err != nil {
		return store.Task{}, fmt.Errorf("task %d: %w", w.ID, err)
	}
	if s.At(vendors.Ref{Field: vendors.Field(w.Field), Nth: w.Nth}) == "" {
		return store.Task{}, fmt.Errorf("task %d %w", w.ID, ErrForgotten)
	}
	t, _ := approve(w.Task, tr, j.Now())
	return t, nil
}

// resubmission is the word by which a report tells that a request was raised a second time
// on purpose. It stays with the task to its end.
const resubmission = "resubmission"

// patience is the approval of a job that is given more time.
func patience(now time.Time) string { return "patience:" + now.UTC().Format(time.RFC3339) }

// patientSince is when give_up_after began to run: with the submission, or later with an
// approval.
func patientSince(t *store.Task) time.Time {
	text, ok := strings.CutPrefix(t.Approval, "patience:")
	if at, err := time.Parse(time.RFC3339, text); ok && err == nil && at.After(t.SubmittedAt) {
		return at
	}
	return t.SubmittedAt
}
