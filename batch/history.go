package batch

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"expunge/store"
	"expunge/vendors"
)

// History is one request's whole story. The JSON keys are stable: users parse them.
type History struct {
	SubjectID     string          `json:"subject_id"`
	Batch         int64           `json:"batch"`
	Line          int             `json:"line"`
	ReceivedAt    time.Time       `json:"received_at"`
	DueAt         time.Time       `json:"due_at"`
	OriginalDueAt *time.Time      `json:"original_due_at"` // before the first extension; null: never extended
	Channel       string          `json:"channel"`         // how the request came in; "": not known
	AnsweredAt    *time.Time      `json:"answered_at"`     // when the person was told; null: not yet
	Tasks         []HistoryTask   `json:"tasks"`
	Events        []HistoryEvent  `json:"events"`
	Next          []HistoryAdvice `json:"next"`

	logged bool // it was taken in since there are events
}

// HistoryTask is where a task stands.
type HistoryTask struct {
	ID             int64    `json:"id"`
	Task           string   `json:"task"` // vendor/identifier_kind/number
	Vendor         string   `json:"vendor"`
	IdentifierKind string   `json:"identifier_kind"`
	Identifier     string   `json:"identifier"` // masked
	State          string   `json:"state" words:"state"`
	Evidence       string   `json:"evidence" words:"evidence"`
	Reason         string   `json:"reason" words:"none,reason"`
	Message        string   `json:"message"`
	Reference      string   `json:"reference"`
	Former         []string `json:"former_references"`
	DueStatus      string   `json:"due_status" words:"due"`

	ClosedAt *time.Time `json:"closed_at"` // of a failed task: when a person said that nothing more is to be done

	store *store.Task
}

// HistoryEvent is one thing that happened.
type HistoryEvent struct {
	Seq          int64      `json:"seq"`
	At           time.Time  `json:"at"`
	Event        string     `json:"event" words:"event"`
	Task         string     `json:"task"`   // "-": the request as a whole
	Action       string     `json:"action"` // of decided
	Evidence     string     `json:"evidence" words:"evidence"`
	Reason       string     `json:"reason" words:"none,reason"`
	Records      *int       `json:"records"`
	RecordsAfter *int       `json:"records_after"`
	Reference    string     `json:"reference"`
	By           string     `json:"by"`
	Note         string     `json:"note"`
	SubmittedAt  *time.Time `json:"submitted_at"` // when the vendor was told
	CompletedAt  *time.Time `json:"completed_at"` // when it was done, which may be long before it was recorded
	Until        *time.Time `json:"until"`        // of extended
	Channel      string     `json:"channel"`      // of answered
	Export       string     `json:"export"`       // of exported: how it ended
}

// HistoryAdvice is what comes next, or what a person can do now.
type HistoryAdvice struct {
	Task    string     `json:"task"`
	Text    string     `json:"text"`
	At      *time.Time `json:"at"` // null: nobody knows when
	Command string     `json:"command"`
}

// ownTask stands for the request as a whole where a task is named.
const ownTask = "-"

// History returns the story of a request. Errors: store.ErrUnknown, store.ErrPurged.
func (t *Tasks) History(ctx context.Context, subjectID string, risk time.Duration) (*History, error) {
	raw, err := t.Store.History(ctx, subjectID)
	if err != nil {
		return nil, err
	}
	known, err := t.Store.Vendors(ctx)
	if err != nil {
		return nil, err
	}
	subject, err := vendors.ParseSubject(raw.Plain)
	if err != nil {
		return nil, err
	}
	names := map[int64]string{}
	for name, v := range known {
		names[v.ID] = name
	}
	h := &History{SubjectID: raw.SubjectID, Batch: raw.Batch, Line: raw.Line, ReceivedAt: raw.ReceivedAt, DueAt: raw.DueAt,
		OriginalDueAt: optional(raw.OriginalDueAt), Channel: raw.Channel, AnsweredAt: optional(raw.AnsweredAt), logged: raw.Logged,
		Tasks: []HistoryTask{}, Events: []HistoryEvent{}, Next: []HistoryAdvice{}}
	tasks := map[int64]string{}
	for i := range raw.Tasks {
		s := &raw.Tasks[i]
		k := t.historyTask(s, names[s.Vendor], subject, raw, risk)
		tasks[s.ID] = k.Task
		h.Tasks = append(h.Tasks, k)
	}
	for i := range raw.Events {
		h.Events = append(h.Events, historyEvent(&raw.Events[i], raw, tasks))
	}
	h.addVendorEvents(raw, names)
	for i := range h.Tasks {
		t.advise(h, &h.Tasks[i], raw.Tasks[i].Export)
	}
	if t.TrackAnswers && len(h.Next) == 0 && h.AnsweredAt == nil {
		h.Next = append(h.Next, HistoryAdvice{Task: ownTask, Text: "nobody has been told of the end: tell the person, and record it", Command: "expunge answered FILE.csv"})
	}
	return h, nil
}

func (t *Tasks) historyTask(s *store.HistoryTask, vendor string, subject vendors.Subject, raw *store.History, risk time.Duration) HistoryTask {
	ref := vendors.Ref{Field: vendors.Field(s.Field), Nth: s.Nth}
	k := HistoryTask{ID: s.ID, Task: taskName(vendor, ref), Vendor: vendor, IdentifierKind: ref.Field.String(), Identifier: subject.MaskedAt(ref),
		State: s.State.String(), Evidence: s.Evidence.String(), Reason: s.Reason, Message: withExport(s.Message, s.Export), Reference: s.Reference,
		Former: []string{}, ClosedAt: optional(s.ClosedAt), store: &s.Task}
	unserved := !slices.ContainsFunc(raw.Tasks, func(s store.HistoryTask) bool { return s.State != store.Skipped })
	settled, due := judged(&s.Task, raw.DueAt, unserved)
	if t.TrackAnswers {
		settled, due = raw.AnsweredAt, raw.DueAt
	}
	k.DueStatus = DueStatus(settled, due, t.Now(), risk)
	for _, f := range s.Former {
		if f.Reference != s.Reference {
			k.Former = append(k.Former, f.Reference)
		}
	}
	return k
}

// taskName is how a task is called where it is told of: vendor/identifier_kind/number.
func taskName(vendor string, r vendors.Ref) string {
	if r.Field == 0 { // skipped
		return vendor
	}
	return fmt.Sprintf("%s/%s/%d", vendor, r.Field, r.Nth)
}

func historyEvent(e *store.Event, raw *store.History, tasks map[int64]string) HistoryEvent {
	out := HistoryEvent{Seq: e.Seq, At: e.At, Event: e.Kind.String(), Task: ownTask, Action: e.Body.Action, Export: e.Body.Export, Channel: e.Body.Channel}
	if e.Task != 0 { // the columns mean something else in the events of the request as a whole
		out.Task = tasks[e.Task]
		out.Evidence, out.Reason, out.Reference = e.Evidence.String(), e.Reason, e.Reference
		out.Records, out.RecordsAfter = optionalCount(e.Records), optionalCount(e.RecordsAfter)
		out.SubmittedAt, out.CompletedAt = optional(e.SubmittedAt), optional(e.CompletedAt)
	}
	if e.Body.Until != 0 {
		out.Until = optional(time.Unix(e.Body.Until, 0))
	}
	if d, ok := raw.Decisions[e.Body.Decision]; ok {
		out.By, out.Note = d.Who, d.Note
	}
	if e.Kind == store.EventAnswered {
		out.At = time.Unix(e.Body.AnsweredAt, 0).UTC()
	}
	return out
}

func optionalCount(c store.Count) *int {
	if !c.Known {
		return nil
	}
	return &c.N
}

// addVendorEvents adds what people decided about the vendors while the request was open there.
func (h *History) addVendorEvents(raw *store.History, names map[int64]string) {
	for _, d := range raw.Decisions {
		if d.Vendor == 0 || !slices.ContainsFunc(raw.Tasks, func(k store.HistoryTask) bool {
			return k.Vendor == d.Vendor && k.State != store.Skipped && (!k.Settled() || !settledAt(&k.Task).Before(d.At))
		}) {
			continue
		}
		e := HistoryEvent{At: d.At, Event: store.EventDecided.String(), Task: names[d.Vendor], Action: d.Action, By: d.Who, Note: d.Note}
		if d.Action == "moved" {
			e.Event, e.Action = store.EventMoved.String(), ""
		}
		h.Events = append(h.Events, e)
	}
	slices.SortStableFunc(h.Events, func(a, b HistoryEvent) int { return a.At.Compare(b.At) })
}

// settledAt is when nothing more was to be done about a task that is settled.
func settledAt(k *store.Task) time.Time {
	if k.ClosedAt.After(k.CompletedAt) {
		return k.ClosedAt
	}
	return k.CompletedAt
}

// advise says what comes next of a task, or what a person can do now.
func (t *Tasks) advise(h *History, k *HistoryTask, e *store.Export) {
	s := k.store
	say := func(text string, at time.Time, command string) {
		h.Next = append(h.Next, HistoryAdvice{Task: k.Task, Text: text, At: optional(at), Command: command})
	}
	account := t.account(s.Vendor)
	switch {
	case s.Settled():
	case account == nil:
		say("the config does not have this vendor: put it back, and the next run goes on", time.Time{}, "expunge check")
	case s.State == store.Held:
		say("a person must decide: this lets it go on", time.Time{}, fmt.Sprintf("expunge review approve %d", taskOf(s)))
		say("or this ends it, and nothing is erased here", time.Time{}, fmt.Sprintf("expunge review reject %d", taskOf(s)))
	case s.State == store.Failed:
		say("it failed: this tries again", time.Time{}, fmt.Sprintf("expunge review retry %d", taskOf(s)))
		say("or this settles it as it is", time.Time{}, fmt.Sprintf("expunge review close %d --reason TEXT", taskOf(s)))
	case s.State == store.Waiting && account.Completion == vendors.ByPerson:
		say("the vendor's people have yet to confirm it", time.Time{}, "expunge confirm FILE.csv")
	case s.NextAt.IsZero():
		say("the next run goes on with it", time.Time{}, "expunge run")
	default:
		say("a run from then on goes on with it", s.NextAt, "expunge run")
	}
	if e != nil && !e.State.Final() && s.Settled() {
		say("its export is not here yet", e.NextAt, "expunge run")
	}
}

// taskOf is the task that a decision is about: the one that is followed, if any.
func taskOf(s *store.Task) int64 {
	if s.Follows != 0 {
		return s.Follows
	}
	return s.ID
}

// Find returns the requests of whoever has this identifier, in any usual spelling.
func (t *Tasks) Find(ctx context.Context, identifier, region string) ([]string, error) {
	identifier = strings.TrimSpace(identifier)
	var wanted []store.Identifier
	for _, f := range vendors.Fields() {
		email := f == vendors.Email || f == vendors.OtherEmail
		if !vendors.Identifiers.Has(f) || email != strings.Contains(identifier, "@") {
			continue
		}
		if normal := vendors.Canonical(f, identifier, region); normal != "" {
			wanted = append(wanted, store.Identifier{Field: int(f), Kind: f.String(), Normal: normal})
		}
	}
	return t.Store.Find(ctx, wanted)
}
