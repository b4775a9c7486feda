// Package replay tells whether the events of a store and its other tables say the same. It
// reads the file with SQL alone and shares no code with the store that writes it, so that a
// mistake there is not made here again. It keeps all of it in memory: it is for tests.
package replay

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
)

// Numbers as the store writes them (store/migrations).
const (
	received, added, submitted, held, decided                 = 1, 2, 3, 4, 5
	extended, declined, erased, notFound, failed              = 7, 8, 9, 10, 11
	exported, answered                                        = 12, 13
	batchEvent, runEvent, purgeEvent                          = 20, 21, 22
	statePending, stateWaiting, stateVerifying, stateHeld     = 0, 3, 4, 5
	stateErased, stateNotFound, stateSkipped, stateFailed int = 6, 7, 8, 9
)

// values are the columns that a task's row and its event share.
type values struct {
	evidence, records, after, submitted, completed, verified sql.NullInt64
	reason                                                   sql.NullString
	reference                                                any
}

func (v values) equal(o values) bool {
	a, aBlob := v.reference.([]byte)
	b, bBlob := o.reference.([]byte)
	same := v.reference == nil && o.reference == nil || aBlob && bBlob && bytes.Equal(a, b)
	if !aBlob && !bBlob {
		same = v.reference == o.reference
	}
	v.reference, o.reference = nil, nil
	v.evidence.Valid, o.evidence.Valid = true, true // none and 0 are the same
	return same && v == o
}

func (v values) String() string {
	n := func(x sql.NullInt64) any {
		if !x.Valid {
			return nil
		}
		return x.Int64
	}
	ref := v.reference
	if b, ok := ref.([]byte); ok {
		ref = hex.EncodeToString(b)
	}
	return fmt.Sprintf("evidence %v, reason %q, records %v, %v, reference %v, submitted %v, completed %v, verified %v",
		n(v.evidence), v.reason.String, n(v.records), n(v.after), ref, n(v.submitted), n(v.completed), n(v.verified))
}

type body struct {
	Action, State, Export, SHA256          string
	Decision, Until, Batch, Rows, Subjects int64
	Invalid, Duplicates, Run, Bytes        int64
	AnsweredAt                             int64 `json:"answered_at"`
	Closed, Dropped                        bool
}

type event struct {
	seq, kind  int64
	task, prev sql.NullInt64
	values
	body
}

type task struct {
	id, vendor, identifier, state int64
	closed, event                 sql.NullInt64
	values
}

type subject struct {
	id, shape, due  int64
	old             bool // taken in before there were events
	busy            bool // a batch that does not count yet has given it tasks
	event, answered sql.NullInt64
	marks           int64
}

// Check compares events and tables and returns every difference in words, and how many events
// there are.
func Check(ctx context.Context, db *sql.DB) (differences []string, events int, err error) {
	c := &check{ctx: ctx, db: db, last: map[int64]*event{}, standing: map[int64]*event{}, exports: map[int64]*event{}, own: map[int64][]*event{},
		decisions: map[int64]bool{}, tasks: map[int64]*task{}, subjects: map[int64]*subject{}, tail: map[int64]int64{}}
	for _, read := range []func() error{c.readSubjects, c.readTasks, c.readEvents, c.checkShapes, c.checkExports, c.checkDecisions, c.checkBatches} {
		if err := read(); err != nil {
			return nil, 0, err
		}
	}
	for _, t := range c.tasks {
		if !c.subjects[t.id/1000].busy {
			c.checkTask(t)
		}
	}
	for _, s := range c.subjects {
		if !s.busy {
			c.checkSubject(s)
		}
	}
	slices.Sort(c.found)
	return c.found, c.events, nil
}

type check struct {
	nobody   int64 // the newest event about nobody
	ctx      context.Context
	db       *sql.DB
	tasks    map[int64]*task
	subjects map[int64]*subject

	events    int
	last      map[int64]*event   // of each task
	standing  map[int64]*event   // of each task, the last that says where it stands
	exports   map[int64]*event   // of each task, the last about its export
	own       map[int64][]*event // of each subject
	tail      map[int64]int64    // of each subject, its own newest event so far
	decisions map[int64]bool     // that events name
	runs      []int64
	batches   []*event
	purged    bool

	found []string
}

func (c *check) differ(format string, args ...any) {
	c.found = append(c.found, fmt.Sprintf(format, args...))
}

// each calls fn for every row of a query.
func (c *check) each(query string, fn func(scan func(...any) error) error, args ...any) error {
	rows, err := c.db.QueryContext(c.ctx, query, args...)
	if err != nil {
		return fmt.Errorf("%s: %w", query, err)
	}
	defer rows.Close()
	for rows.Next() {
		if err := fn(rows.Scan); err != nil {
			return fmt.Errorf("%s: %w", query, err)
		}
	}
	return rows.Err()
}

func (c *check) readSubjects() error {
	return c.each(`SELECT s.id, s.shape, s.due_at, s.event, s.answered_at, coalesce(length(s.marks), 0)/17, s.secret IS NULL,
 EXISTS (SELECT 1 FROM additions a JOIN batches b ON b.id = a.batch WHERE a.subject = s.id AND b.loading) FROM subjects s JOIN batches b ON b.id = s.batch WHERE NOT b.loading`, func(scan func(...any) error) error {
		s := &subject{}
		if err := scan(&s.id, &s.shape, &s.due, &s.event, &s.answered, &s.marks, &s.old, &s.busy); err != nil {
			return err
		}
		c.subjects[s.id] = s
		return nil
	})
}

func (c *check) readTasks() error {
	return c.each(`SELECT id, vendor, identifier, state, closed_at, event, evidence, reason, records, records_after, reference, submitted_at, completed_at, verified_at FROM tasks`,
		func(scan func(...any) error) error {
			t := &task{}
			v := &t.values
			if err := scan(&t.id, &t.vendor, &t.identifier, &t.state, &t.closed, &t.event, &v.evidence, &v.reason, &v.records, &v.after, &v.reference,
				&v.submitted, &v.completed, &v.verified); err != nil {
				return err
			}
			if c.subjects[t.id/1000] != nil { // else it is being taken in
				c.tasks[t.id] = t
			}
			return nil
		})
}

func (c *check) readEvents() error {
	var loading sql.NullInt64 // events from there on do not count yet
	if err := c.db.QueryRowContext(c.ctx, `SELECT min(first_event) FROM batches WHERE loading`).Scan(&loading); err != nil {
		return err
	}
	var expected int64 = 1
	err := c.each(`SELECT seq, task, prev, event, evidence, reason, records, records_after, reference, submitted_at, completed_at, verified_at, coalesce(body, '{}') FROM events ORDER BY seq`,
		func(scan func(...any) error) error {
			e := &event{}
			v := &e.values
			var text []byte
			if err := scan(&e.seq, &e.task, &e.prev, &e.kind, &v.evidence, &v.reason, &v.records, &v.after, &v.reference,
				&v.submitted, &v.completed, &v.verified, &text); err != nil {
				return err
			}
			if loading.Valid && e.seq >= loading.Int64 {
				return nil
			}
			if err := json.Unmarshal(text, &e.body); err != nil {
				return err
			}
			c.events++
			if e.seq != expected && !c.purged {
				// Of purged subjects the events are gone, which a purge's own tells later.
				c.differ("event %d: %d should come next", e.seq, expected)
			}
			expected = e.seq + 1
			c.event(e)
			return nil
		})
	if c.purged {
		c.found = slices.DeleteFunc(c.found, func(s string) bool { return bytes.HasSuffix([]byte(s), []byte("should come next")) })
	}
	return err
}

func (c *check) event(e *event) {
	if e.Decision != 0 {
		c.decisions[e.Decision] = true
	}
	if !e.task.Valid {
		switch e.kind {
		case runEvent:
			c.runs = append(c.runs, e.Run)
		case batchEvent:
			c.batches = append(c.batches, e)
			c.purged = c.purged || e.Dropped
		case purgeEvent:
			c.purged = true
		}
		if e.prev.Int64 != c.nobody {
			c.differ("event %d is about nobody and comes after %d, not after the one before, %d", e.seq, e.prev.Int64, c.nobody)
		}
		c.nobody = e.seq
		return
	}
	id := e.task.Int64
	s := id / 1000
	if id%1000 == 999 {
		if c.subjects[s] == nil {
			c.differ("event %d: there is no subject %d", e.seq, s)
		}
		if e.prev.Int64 != c.tail[s] {
			c.differ("event %d of subject %d comes after %d, not after its own before, %d", e.seq, s, e.prev.Int64, c.tail[s])
		}
		c.own[s], c.tail[s] = append(c.own[s], e), e.seq
		return
	}
	if c.tasks[id] == nil {
		c.differ("event %d: there is no task %d", e.seq, id)
	}
	before := c.tail[s]
	if l := c.last[id]; l != nil {
		before = l.seq
	}
	if e.prev.Int64 != before {
		c.differ("event %d of task %d comes after %d, not after the one before, %d", e.seq, id, e.prev.Int64, before)
	}
	c.last[id] = e
	if e.kind == exported {
		c.exports[id] = e
	} else {
		c.standing[id] = e
	}
}

// checkTask compares a task with the last event that says where it stands.
func (c *check) checkTask(t *task) {
	if l := c.last[t.id]; l == nil && t.event.Valid || l != nil && t.event.Int64 != l.seq {
		c.differ("task %d points to event %v, not to its last", t.id, t.event)
	}
	e := c.standing[t.id]
	if e == nil {
		if c.subjects[t.id/1000].old {
			return
		}
		switch int(t.state) {
		case statePending, 1, 2, stateVerifying, stateSkipped:
		default:
			c.differ("task %d is in state %d, and no event says so", t.id, t.state)
		}
		return
	}
	open := t.state < stateWaiting || t.state == stateVerifying
	ok := false
	switch state := int(t.state); e.kind {
	case submitted:
		ok = open || state == stateWaiting && c.sameReference(t, e)
	case held:
		ok = state == stateHeld && t.values.equal(e.values)
	case erased:
		ok = state == stateErased && t.values.equal(e.values)
	case notFound:
		ok = state == stateNotFound && t.values.equal(e.values)
	case failed, declined:
		ok = state == stateFailed && t.closed.Valid == e.Closed && t.values.equal(e.values)
	case decided:
		switch e.State {
		case "failed":
			ok = state == stateFailed && t.closed.Valid == e.Closed && t.values.equal(e.values)
		case "held":
			ok = state == stateHeld && t.values.equal(e.values)
		case "erased":
			ok = state == stateErased && t.values.equal(e.values)
		case "waiting":
			ok = open || state == stateWaiting && c.sameReference(t, e)
		default:
			ok = open
		}
	}
	if !ok {
		c.differ("task %d is in state %d with %v; its event %d is of kind %d %s %s with %v", t.id, t.state, t.values, e.seq, e.kind, e.Action, e.State, e.values)
	}
}

func (c *check) sameReference(t *task, e *event) bool {
	return values{reference: t.reference, submitted: t.submitted}.equal(values{reference: e.reference, submitted: e.submitted})
}

// checkSubject compares a subject with its own events.
func (c *check) checkSubject(s *subject) {
	own := c.own[s.id]
	if !s.old && (len(own) == 0 || own[0].kind != received) {
		c.differ("subject %d was never received", s.id)
		return
	}
	if len(own) == 0 {
		if s.event.Valid {
			c.differ("subject %d points to event %d and has none", s.id, s.event.Int64)
		}
		return
	}
	if last := own[len(own)-1].seq; s.event.Int64 != last {
		c.differ("subject %d points to event %d, not to its last own, %d", s.id, s.event.Int64, last)
	}
	shape, marks := s.shape, s.marks // of the old, unless an event tells
	for i, e := range own {
		switch e.kind {
		case received, added, decided: // decided: its tasks of a file that was taken back are gone
			shape, _ = e.reference.(int64)
			marks = e.records.Int64
			if e.kind == received && i > 0 {
				c.differ("subject %d was received twice", s.id)
			}
		case extended:
			if !slices.ContainsFunc(own[i+1:], func(e *event) bool { return e.kind == extended }) && e.Until != s.due {
				c.differ("subject %d is due at %d, not at %d, as event %d says", s.id, s.due, e.Until, e.seq)
			}
		case answered:
			if !slices.ContainsFunc(own[i+1:], func(e *event) bool { return e.kind == answered }) && e.AnsweredAt != s.answered.Int64 {
				c.differ("subject %d was answered at %v, not at %d, as event %d says", s.id, s.answered, e.AnsweredAt, e.seq)
			}
		}
	}
	if s.answered.Valid && !s.old && !slices.ContainsFunc(own, func(e *event) bool { return e.kind == answered }) {
		c.differ("subject %d was answered, and no event says so", s.id)
	}
	if shape != s.shape || marks != s.marks {
		c.differ("subject %d has shape %d and %d marks; its events say %d and %d", s.id, s.shape, s.marks, shape, marks)
	}
}

// checkShapes finds tasks that their subject's shape, which its events name, does not have.
func (c *check) checkShapes() error {
	type key struct{ shape, n int64 }
	type want struct{ vendor, identifier, state int64 }
	shapes, sizes := map[key]want{}, map[int64]int{}
	err := c.each(`SELECT shape, n, vendor, identifier, state FROM shapes`, func(scan func(...any) error) error {
		var k key
		var w want
		err := scan(&k.shape, &k.n, &w.vendor, &w.identifier, &w.state)
		shapes[k] = w
		sizes[k.shape]++
		return err
	})
	if err != nil {
		return err
	}
	count := map[int64]int{}
	for _, t := range c.tasks {
		s := c.subjects[t.id/1000]
		count[s.id]++
		w, ok := shapes[key{s.shape, t.id % 1000}]
		if !ok || w.vendor != t.vendor || w.identifier != t.identifier || (w.state == int64(stateSkipped)) != (t.state == int64(stateSkipped)) {
			c.differ("task %d is not one that its subject's shape %d leads to", t.id, s.shape)
		}
	}
	for _, s := range c.subjects {
		if count[s.id] != sizes[s.shape] {
			c.differ("subject %d has %d tasks, its shape %d", s.id, count[s.id], sizes[s.shape])
		}
	}
	return nil
}

// checkExports compares exports that have ended with their events.
func (c *check) checkExports() error {
	ended := map[int64]bool{}
	err := c.each(`SELECT e.task, CASE e.state WHEN 3 THEN 'stored' WHEN 4 THEN 'empty' ELSE 'failed' END, coalesce(e.sha256, ''), coalesce(e.bytes, 0), s.secret IS NULL
 FROM exports e JOIN tasks t ON t.id = e.task JOIN subjects s ON s.id = t.id/1000 WHERE e.state >= 3`, func(scan func(...any) error) error {
		var id, bytes int64
		var state, sum string
		var old bool
		if err := scan(&id, &state, &sum, &bytes, &old); err != nil {
			return err
		}
		ended[id] = true
		if e := c.exports[id]; !old && (e == nil || e.Export != state || e.SHA256 != sum || e.Bytes != bytes) {
			c.differ("the export of task %d is %s, which its event does not say", id, state)
		}
		return nil
	})
	for id, e := range c.exports {
		if t := c.tasks[id]; t != nil && !ended[id] && !c.follows(id) {
			c.differ("event %d says that the export of task %d has ended", e.seq, id)
		}
	}
	return err
}

// follows reports whether a task has, or had, another one's export.
func (c *check) follows(id int64) bool {
	var n int
	err := c.db.QueryRowContext(c.ctx, `SELECT count(*) FROM tasks WHERE id = ? AND NOT EXISTS (SELECT 1 FROM exports e WHERE e.task = tasks.id)`, id).Scan(&n)
	return err == nil && n == 1
}

// checkDecisions finds decisions without an event. Those of before are named by none.
func (c *check) checkDecisions() error {
	first := int64(0)
	for id := range c.decisions {
		if first == 0 || id < first {
			first = id
		}
	}
	return c.each(`SELECT id FROM decisions WHERE id >= ? AND (subject IS NULL OR subject IN (SELECT id FROM subjects WHERE secret IS NOT NULL))`, func(scan func(...any) error) error {
		var id int64
		if err := scan(&id); err != nil {
			return err
		}
		if !c.decisions[id] {
			c.differ("decision %d has no event", id)
		}
		return nil
	}, first)
}

// checkBatches compares batches and runs with their events.
func (c *check) checkBatches() error {
	err := c.each(`SELECT id, rows, subjects, invalid, duplicates FROM batches WHERE NOT loading AND first_event IS NOT NULL`, func(scan func(...any) error) error {
		var b body
		if err := scan(&b.Batch, &b.Rows, &b.Subjects, &b.Invalid, &b.Duplicates); err != nil {
			return err
		}
		if !slices.ContainsFunc(c.batches, func(e *event) bool {
			return !e.Dropped && e.Batch == b.Batch && e.Rows == b.Rows && e.Subjects == b.Subjects && e.Invalid == b.Invalid && e.Duplicates == b.Duplicates
		}) {
			c.differ("batch %d has no event with its totals", b.Batch)
		}
		return nil
	})
	if err != nil {
		return err
	}
	return c.each(`SELECT id FROM runs`, func(scan func(...any) error) error {
		var id int64
		if err := scan(&id); err != nil {
			return err
		}
		if len(c.runs) > 0 && id >= c.runs[0] && !slices.Contains(c.runs, id) {
			c.differ("run %d has no event", id)
		}
		return nil
	})
}
