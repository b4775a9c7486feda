package store

import (
	"database/sql"
	"database/sql/driver"
	"encoding/json"
	"fmt"
	"time"
)

// EventKind is what an event tells. The numbers are stored.
type EventKind uint8

// The kinds. Those from EventBatch on are about nobody.
const (
	EventReceived  EventKind = 1  // the subject was taken in, with its tasks
	EventAdded     EventKind = 2  // a later file gave it more tasks
	EventSubmitted EventKind = 3  // the vendor accepted and will do it, or gave another reference for it
	EventHeld      EventKind = 4  // a person must decide
	EventDecided   EventKind = 5  // a person did: see EventBody.Action
	EventMoved     EventKind = 6  // a person said that the vendor account is at another place
	EventExtended  EventKind = 7  // a later due date
	EventDeclined  EventKind = 8  // the vendor's people declined
	EventErased    EventKind = 9  // on the evidence named
	EventNotFound  EventKind = 10 // on the evidence named
	EventFailed    EventKind = 11 // needs a person
	EventExported  EventKind = 12 // what the vendor handed out has ended: see EventBody.Export
	EventAnswered  EventKind = 13 // the person was told
	EventBatch     EventKind = 20 // a file was taken in, or taken back
	EventRun       EventKind = 21 // a run began
	EventPurge     EventKind = 22 // subjects were dropped
	EventKey       EventKind = 23 // the store is sealed under a new key
	EventRestart   EventKind = 24 // the log goes on after a store was put back
)

var eventNames = [...]string{EventReceived: "received", EventAdded: "added", EventSubmitted: "submitted", EventHeld: "held",
	EventDecided: "decided", EventMoved: "moved", EventExtended: "extended", EventDeclined: "declined", EventErased: "erased",
	EventNotFound: "not_found", EventFailed: "failed", EventExported: "exported", EventAnswered: "answered", EventBatch: "batch",
	EventRun: "run", EventPurge: "purge", EventKey: "key", EventRestart: "restart"}

func (k EventKind) String() string {
	if int(k) < len(eventNames) && eventNames[k] != "" {
		return eventNames[k]
	}
	return fmt.Sprintf("event(%d)", uint8(k))
}

// EventKinds lists all kinds, in order.
func EventKinds() []EventKind {
	var all []EventKind
	for k, name := range eventNames {
		if name != "" {
			all = append(all, EventKind(k))
		}
	}
	return all
}

// ownTask stands, in the place of a task's number, for the subject itself.
const ownTask = TasksPerSubject - 1

// EventBody is what few events have.
type EventBody struct {
	Action   string `json:"action,omitempty"`   // of decided: approve, reject, retry, close, drop, prove
	State    string `json:"state,omitempty"`    // of decided: where it left the task
	Closed   bool   `json:"closed,omitempty"`   // nothing more is to be done about the task
	Decision int64  `json:"decision,omitempty"` // the row of decisions with who decided, and why
	Vendor   int64  `json:"vendor,omitempty"`   // of what was decided about a vendor
	Until    int64  `json:"until,omitempty"`    // of extended

	AnsweredAt int64  `json:"answered_at,omitempty"`
	Channel    string `json:"channel,omitempty"` // how the person was told

	Export string `json:"export,omitempty"` // the state in which an export ended
	Bytes  int64  `json:"bytes,omitempty"`
	SHA256 string `json:"sha256,omitempty"`

	Batch      int64  `json:"batch,omitempty"`
	Dropped    bool   `json:"dropped,omitempty"` // the batch was taken back
	Rows       int64  `json:"rows,omitempty"`
	Subjects   int64  `json:"subjects,omitempty"`
	Invalid    int64  `json:"invalid,omitempty"`
	Duplicates int64  `json:"duplicates,omitempty"`
	Tasks      int64  `json:"tasks,omitempty"`
	Run        int64  `json:"run,omitempty"`
	Version    string `json:"version,omitempty"`
	Config     string `json:"config,omitempty"`  // SHA-256 of the configuration file
	Intents    int64  `json:"intents,omitempty"` // of a run: submissions that are about to leave and must not be repeated
	Before     int64  `json:"before,omitempty"`  // of a purge

	LogKey     string `json:"log_key,omitempty"` // the log's new public key
	LostOrigin string `json:"lost_origin,omitempty"`
	LostSize   int64  `json:"lost_size,omitempty"`
	LostRoot   string `json:"lost_root,omitempty"`
	Note       string `json:"note,omitempty"` // of restart: why
}

// text is what column body holds: nil for nothing.
func (b *EventBody) text() (any, error) {
	if b == nil || *b == (EventBody{}) {
		return nil, nil
	}
	text, err := json.Marshal(b)
	return string(text), err
}

// Event is one row of events.
type Event struct {
	Seq  int64
	Task int64 // 0: of the subject itself, or nobody's
	Prev int64
	At   time.Time
	Kind EventKind

	Evidence     Evidence
	Reason       string
	Records      Count
	RecordsAfter Count
	Reference    string
	SubmittedAt  time.Time
	CompletedAt  time.Time
	VerifiedAt   time.Time
	Body         EventBody
}

const (
	// The event of one task, from the values that the same change gives it, where it is in
	// the state that the change starts from.
	sqlEvent = `INSERT INTO events (seq, task, prev, at, event, evidence, reason, records, records_after, reference, submitted_at, completed_at,
 verified_at, body) SELECT ?1, id, coalesce(event, (SELECT s.event FROM subjects s WHERE s.id = tasks.id / 1000)), ?2, ?3, nullif(?4, 0), ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12
 FROM tasks WHERE id = ?13 AND state = ?14`
	sqlEventIfNew = sqlEvent + ` AND reference IS NOT ?8 RETURNING 1`
	sqlEventOf    = sqlEvent + ` RETURNING 1`

	// The events of the tasks that follow one, once they have become what that one is.
	sqlEventsFollow = sqlEventsAre + `follows = ?5 RETURNING 1`
	sqlEventJoined  = sqlEventsAre + `id = ?5 RETURNING 1`
	sqlEventsAre    = `INSERT INTO events (seq, task, prev, at, event, evidence, reason, records, records_after, reference, submitted_at, completed_at,
 verified_at, body) SELECT ?1 + row_number() OVER (ORDER BY id), id, coalesce(event, (SELECT s.event FROM subjects s WHERE s.id = tasks.id / 1000)), ?2, ?3,
 nullif(evidence, 0), reason, records, records_after, reference, submitted_at, completed_at, verified_at, ?4 FROM tasks WHERE `
	// What is told of a task and of those that follow it and changes none of their values.
	sqlEventsBeside = `INSERT INTO events (seq, task, prev, at, event, body) SELECT ?1 + row_number() OVER (ORDER BY id), id,
 coalesce(event, (SELECT s.event FROM subjects s WHERE s.id = tasks.id / 1000)), ?2, ?3, ?4 FROM tasks WHERE id = ?5 OR follows = ?5 RETURNING 1`
	sqlEventsPoint = `UPDATE tasks SET event = e.seq FROM events e WHERE e.seq > ? AND tasks.id = e.task`

	sqlEventOwn      = `INSERT INTO events (seq, task, prev, at, event, body) SELECT ?1, id * 1000 + 999, event, ?2, ?3, ?4 FROM subjects WHERE id = ?5`
	sqlEventOwnPoint = `UPDATE subjects SET event = ? WHERE id = ?`
	sqlEventNobody   = `INSERT INTO events (seq, prev, at, event, body) VALUES (?1, (SELECT last FROM log), ?2, ?3, ?4)`
	sqlEventLast     = `UPDATE log SET last = ?`
)

// word is a person's decision that is recorded.
type word struct {
	action string // see Decision
	id     int64
}

// told is what an event tells of a change; 0 where nobody would tell anything of it: a
// retry, a poll, a preview.
func (ch *Change) told() EventKind {
	if ch.word != nil {
		switch {
		case ch.word.action == "confirm" && ch.State == Erased:
			return EventErased
		case ch.word.action == "decline":
			return EventDeclined
		}
		return EventDecided
	}
	if ch.From == Held || ch.From == Failed { // nothing but a person's word leads out of them
		return EventDecided
	}
	switch ch.State {
	case Waiting:
		return EventSubmitted
	case Held:
		return EventHeld
	case Erased:
		return EventErased
	case NotFound:
		return EventNotFound
	case Failed:
		return EventFailed
	}
	return 0
}

// body is the rest of what the event tells.
func (ch *Change) body() *EventBody {
	b := &EventBody{Closed: !ch.ClosedAt.IsZero()}
	if ch.told() == EventDecided {
		b.State = ch.State.String()
	}
	if ch.word != nil {
		b.Decision = ch.word.id
		if b.State != "" {
			b.Action = ch.word.action
		}
	}
	return b
}

// tell writes the event of a change that is about to be made, and returns its number, which the
// change gives the task; nil where nothing is told, or the task is not in the state that the
// change starts from.
func (w *writer) tell(ch *Change) (seq any, err error) {
	kind, statement := ch.told(), sqlEventOf
	switch {
	case kind == 0:
		return nil, nil
	case kind == EventSubmitted && ch.From == Waiting:
		statement = sqlEventIfNew // a poll leaves the reference as it is
	}
	body, err := ch.body().text()
	if err != nil {
		return nil, err
	}
	t := &ch.Task
	n, err := w.each(statement, nil, w.seq+1, w.now(), int64(kind), int64(t.Evidence), nullText(t.Reason),
		nullCount(t.Records), nullCount(t.RecordsAfter), packReference(t.Reference), nullSecs(t.SubmittedAt), nullSecs(t.CompletedAt),
		nullSecs(t.VerifiedAt), body, t.ID, int64(ch.From))
	if n == 0 || err != nil {
		return nil, err
	}
	w.seq++
	return w.seq, nil
}

// tellFollowers writes the events of the tasks that follow one, after they have become what
// that one is.
func (w *writer) tellFollowers(ch *Change) error {
	return w.tellTasks(sqlEventsFollow, ch.told(), ch.body(), ch.ID)
}

// tellTasks writes the events of several tasks with one statement, which gives each a row.
func (w *writer) tellTasks(statement string, kind EventKind, b *EventBody, task int64) error {
	body, err := b.text()
	if err != nil {
		return err
	}
	n, err := w.each(statement, nil, w.seq, w.now(), int64(kind), body, task)
	if n == 0 || err != nil {
		return err
	}
	_, err = w.each(sqlEventsPoint, nil, w.seq)
	w.seq += int64(n)
	return err
}

// tellSubject writes an event of a subject itself.
func (w *writer) tellSubject(kind EventKind, subject int64, b *EventBody) error {
	body, err := b.text()
	if err != nil {
		return err
	}
	if _, err := w.each(sqlEventOwn, nil, w.seq+1, w.now(), int64(kind), body, subject); err != nil {
		return err
	}
	w.seq++
	_, err = w.each(sqlEventOwnPoint, nil, w.seq, subject)
	return err
}

// tellAll writes an event that is about nobody.
func (w *writer) tellAll(kind EventKind, b *EventBody) error {
	body, err := b.text()
	if err != nil {
		return err
	}
	if _, err := w.each(sqlEventNobody, nil, w.seq+1, w.now(), int64(kind), body); err != nil {
		return err
	}
	w.seq++
	_, err = w.each(sqlEventLast, nil, w.seq)
	return err
}

// now is when an event is written.
func (w *writer) now() int64 { return w.s.o.Now().Unix() }

// findSeq finds the number of the newest event: at the start, and after a transaction was
// rolled back that may have written some.
func (w *writer) findSeq() error {
	_, err := w.each(`SELECT max(coalesce((SELECT max(seq) FROM events), 0), (SELECT size FROM log))`, func(row []driver.Value) error {
		var ok bool
		if w.seq, ok = row[0].(int64); !ok {
			return errForm
		}
		return nil
	})
	return err
}

// tell runs fn, which writes events, inside the transaction of inTx.
func (s *Store) tell(c *sql.Conn, fn func(w *writer) error) error {
	return c.Raw(func(any) error { return fn(s.w) })
}
