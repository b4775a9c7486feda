package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"time"

	"expunge/store/seal"
)

// ErrUnknown: the store has nothing by this name.
var ErrUnknown = errors.New("not known to the store")

// Decision is what a person decided.
type Decision struct {
	At     time.Time
	Who    string
	Action string // approve, reject, confirm, decline, extend, retry, close, prove, moved
	Note   string // the person's words
}

// HeldFilter narrows which tasks are meant that wait for a person. The zero value means all
// held ones.
type HeldFilter struct {
	Failed  bool   // those that failed and that nobody has closed, instead of the held ones
	Waiting bool   // those that wait for the vendor, instead of the held ones
	Open    bool   // those that are neither final nor held, instead of the held ones
	Batch   int64  // 0: all
	Vendor  int64  // 0: all
	Reason  string // "": all
}

// heldWhere is the condition on tasks t and its arguments. A follower does not wait by
// itself: what is decided of the task that it follows is decided of it.
func (s *Store) heldWhere(ctx context.Context, f HeldFilter) (string, []any, error) {
	where, args := `t.state = 5 AND t.follows IS NULL`, []any(nil)
	switch {
	case f.Failed:
		where = `t.state = 9 AND t.closed_at IS NULL AND t.follows IS NULL`
	case f.Waiting:
		where = `t.state = 3 AND t.follows IS NULL`
	case f.Open:
		where = `t.state < 5 AND t.follows IS NULL`
	}
	if f.Vendor != 0 {
		where, args = where+` AND t.vendor = ?`, append(args, f.Vendor)
	}
	if f.Reason != "" {
		where, args = where+` AND t.reason = ?`, append(args, f.Reason)
	}
	if f.Batch != 0 {
		all, err := s.batches(ctx, `WHERE id = ?`, f.Batch)
		if err != nil {
			return "", nil, err
		}
		if len(all) == 0 {
			return "", nil, fmt.Errorf("batch %d: %w", f.Batch, ErrUnknown)
		}
		where, args = where+` AND t.id BETWEEN ? AND ?`, append(args, all[0].First*TasksPerSubject, all[0].Last*TasksPerSubject+TasksPerSubject-1)
	}
	return where, args, nil
}

// Held returns the limit most urgent tasks that wait for a person, with their subjects.
func (s *Store) Held(ctx context.Context, f HeldFilter, limit int) ([]Work, error) {
	where, args, err := s.heldWhere(ctx, f)
	if err != nil {
		return nil, err
	}
	// Only ids and dates are sorted, not what is sealed.
	return s.claim(ctx, `SELECT `+taskColumns+`, s.subject_id, s.received_at, s.sealed FROM
 (SELECT t.id FROM tasks t WHERE `+where+` ORDER BY t.due_at, t.id LIMIT ?) h
 CROSS JOIN tasks t ON t.id = h.id JOIN subjects s ON s.id = t.id/1000 ORDER BY t.due_at, t.id`, append(args, limit)...)
}

// HeldAfter returns up to limit tasks that wait for a person, with ids above after, in the
// order of ids: the way to go through all of them, however many there are.
func (s *Store) HeldAfter(ctx context.Context, f HeldFilter, after int64, limit int) ([]Work, error) {
	where, args, err := s.heldWhere(ctx, f)
	if err != nil {
		return nil, err
	}
	return s.claim(ctx, sqlClaim+where+` AND t.id > ? ORDER BY t.id LIMIT ?`, append(args, after, limit)...)
}

// HeldCount is how many tasks of a vendor are held, or failed, for a reason.
type HeldCount struct {
	Vendor    string
	Reason    string
	Tasks     int64
	Followers int64     // how many more have the same identifier as one of them, and go with it
	DueAt     time.Time // the earliest
}

// CountHeld counts the tasks that wait for a person, by vendor and reason.
func (s *Store) CountHeld(ctx context.Context, f HeldFilter) ([]HeldCount, error) {
	where, args, err := s.heldWhere(ctx, f)
	if err != nil {
		return nil, err
	}
	rows, err := s.read.QueryContext(ctx, `SELECT v.name, coalesce(t.reason, ''), count(*), sum((SELECT count(*) FROM tasks f WHERE f.follows = t.id)), min(t.due_at) FROM tasks t JOIN vendors v ON v.id = t.vendor
 WHERE `+where+` GROUP BY 1, 2 ORDER BY 1, 2`, args...)
	if err != nil {
		return nil, explain(err)
	}
	defer rows.Close()
	var all []HeldCount
	for rows.Next() {
		var h HeldCount
		var due sql.NullInt64
		if err := rows.Scan(&h.Vendor, &h.Reason, &h.Tasks, &h.Followers, &due); err != nil {
			return nil, explain(err)
		}
		h.DueAt = fromSecs(due)
		all = append(all, h)
	}
	return all, explain(rows.Err())
}

// TaskByID returns one task.
func (s *Store) TaskByID(ctx context.Context, id int64) (Work, error) {
	w, err := s.claim(ctx, sqlClaim+`t.id = ?`, id)
	if err == nil && len(w) == 0 {
		err = fmt.Errorf("task %d: %w", id, ErrUnknown)
	}
	if err != nil {
		return Work{}, err
	}
	return w[0], nil
}

// ByReferences returns the vendor's tasks that have one of these references, now or
// formerly, keyed by the reference asked for: several where the vendor answered more than
// one request with the same. It reads the vendor's tasks once, however
// many references there are: an index would cost every backlog its bytes for a file that
// comes once a week.
func (s *Store) ByReferences(ctx context.Context, vendor int64, references []string) (map[string][]Work, error) {
	list, err := packedReferences(references)
	if err != nil {
		return nil, err
	}
	found := map[string][]Work{}
	now, err := s.claim(ctx, sqlClaim+`t.vendor = ? AND t.follows IS NULL AND t.reference IN `+sqlReferences, vendor, list)
	if err != nil {
		return nil, err
	}
	for _, w := range now {
		found[w.Reference] = append(found[w.Reference], w)
	}
	rows, err := s.read.QueryContext(ctx, `SELECT f.task, f.reference FROM former_references f JOIN tasks t ON t.id = f.task
 WHERE t.vendor = ? AND f.reference IN `+sqlReferences, vendor, list)
	if err != nil {
		return nil, explain(err)
	}
	defer rows.Close()
	for rows.Next() {
		var id int64
		var packed reference
		if err := rows.Scan(&id, &packed); err != nil {
			return nil, explain(err)
		}
		ref := string(packed)
		if slices.ContainsFunc(found[ref], func(w Work) bool { return w.ID == id }) {
			continue // it got the same again
		}
		w, err := s.TaskByID(ctx, id)
		if err != nil {
			return nil, err
		}
		found[ref] = append(found[ref], w)
	}
	return found, explain(rows.Err())
}

// Decide applies a person's decision about a task and records it, together.
func (s *Store) Decide(ctx context.Context, ch Change, d Decision) error {
	return s.DecideAll(ctx, []Change{ch}, d)
}

// DecideAll applies one decision to several tasks and records it for each: all of it or
// nothing. A task that has moved on (ErrConflict) stops it. A decision that ends a task
// without an outcome at the vendor is about that request: what follows it from a later file
// is left as it is, for a decision of its own.
func (s *Store) DecideAll(ctx context.Context, changes []Change, d Decision) error {
	for i := range changes {
		if err := changes[i].check(); err != nil {
			return err
		}
	}
	return s.inTx(ctx, func(c *sql.Conn) error {
		for _, ch := range changes {
			if ch.Leads {
				var err error
				switch d.Action {
				case "reject", "close":
					err = leaveBatch(c, ch.ID)
				case "confirm":
					err = s.startAnew(ctx, c, &ch, d)
				}
				if err != nil {
					return err
				}
			}
			if err := s.decide(c, ch, d); err != nil {
				return err
			}
		}
		return nil
	})
}

// decide applies a decision about one task and records it.
func (s *Store) decide(c *sql.Conn, ch Change, d Decision) error {
	// The reason is the one that the task had, which is what was decided about.
	res, err := c.ExecContext(context.Background(), `INSERT INTO decisions (at, who, action, subject, task, reason, note)
 SELECT ?, ?, ?, ?, id, reason, ? FROM tasks WHERE id = ?`,
		secs(d.At), d.Who, d.Action, ch.SubjectRow(), nullText(d.Note), ch.ID)
	if err != nil {
		return err
	}
	id, err := res.LastInsertId()
	if err != nil {
		return err
	}
	ch.word = &word{d.Action, id}
	return c.Raw(func(any) error { return ch.apply(s.w) })
}

// startAnew takes from the followers of a task that a person confirms those whose requests were
// received on a later day than the one on which it was completed: nothing has been done for
// them yet. The most urgent of them begins from the start, and the others follow it.
func (s *Store) startAnew(ctx context.Context, c *sql.Conn, ch *Change, d Decision) error {
	const daySeconds = 24 * 60 * 60
	later, err := columnOf(c, `SELECT f.id FROM tasks f JOIN subjects s ON s.id = f.id/1000 WHERE f.follows = ?1 AND s.received_at/?3 > ?2/?3 ORDER BY f.due_at, f.id`,
		ch.ID, secs(ch.CompletedAt), daySeconds)
	if err != nil || len(later) == 0 {
		return err
	}
	heir, err := s.TaskByID(ctx, later[0])
	if err != nil {
		return err
	}
	bg := context.Background()
	if _, err := c.ExecContext(bg, `UPDATE tasks SET follows=NULL, reference=NULL WHERE id=?`, heir.ID); err != nil {
		return err
	}
	for _, id := range later[1:] {
		if _, err := c.ExecContext(bg, `UPDATE tasks SET follows=? WHERE id=?`, heir.ID, id); err != nil {
			return err
		}
	}
	fresh := Task{ID: heir.ID, Vendor: heir.Vendor, Field: heir.Field, Nth: heir.Nth, DueAt: heir.DueAt, Leads: len(later) > 1, Ready: true}
	d.Action, d.Note = "retry", "what was confirmed had been done before this request was received"
	if err := s.decide(c, Change{From: heir.State, Task: fresh}, d); err != nil {
		return err
	}
	for _, id := range []int64{ch.ID, heir.ID} {
		if err := redateLead(c, id); err != nil {
			return err
		}
	}
	return nil
}

// Extension is a later due date that was given to a subject.
type Extension struct {
	SubjectID  string
	ReceivedAt time.Time
	Original   time.Time // the due date before the first extension; zero where it is not known any more
	Former     time.Time // the due date before this one; zero where it is not known any more
	Until      time.Time
	Open       int64 // tasks that are not settled
	Decision
}

var (
	// ErrNothingOpen: all tasks of the subject are settled.
	ErrNothingOpen = errors.New("nothing is open")
	// ErrNotLater: the new due date is no later than the one before.
	ErrNotLater = errors.New("an extension must be later")
)

// Plain returns what the store holds, sealed, of a subject: its fields, opened. Errors:
// ErrUnknown.
func (s *Store) Plain(ctx context.Context, subjectID string) ([]byte, error) {
	var id int64
	var sealed []byte
	err := s.read.QueryRowContext(ctx, `SELECT s.id, s.sealed FROM subjects s JOIN subject_ids x ON x.subject = s.id
 JOIN batches b ON b.id = s.batch WHERE x.subject_id = ? AND NOT b.loading`, subjectID).Scan(&id, &sealed)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, fmt.Errorf("subject %s: %w", subjectID, ErrUnknown)
	}
	if err != nil {
		return nil, explain(err)
	}
	plain, err := s.box.Open(nil, sealed, seal.Place{Table: "subjects", Row: id})
	if err != nil {
		return nil, fmt.Errorf("store: subject %d: %w", id, err)
	}
	return plain, nil
}

// sqlRedate sets the due dates of unsettled tasks, by which they are worked on, from those of
// their subjects and of the subjects whose tasks follow them.
const sqlRedate = `UPDATE tasks SET due_at = (SELECT min(s.due_at) FROM subjects s WHERE s.id IN
 (SELECT tasks.id/1000 UNION ALL SELECT f.id/1000 FROM tasks f WHERE f.follows = tasks.id)) WHERE ` + sqlUnsettled + ` AND `

// sqlDue is when a task's own request is due: see sqlRedate.
const sqlDue = `CASE WHEN ` + sqlUnsettled + ` AND more IS NOT NULL AND more ->> 'leads' THEN (SELECT s.due_at FROM subjects s WHERE s.id = tasks.id/1000) ELSE due_at END`

// Extend gives a subject and its unsettled tasks a later due date and records it; the first
// due date is kept beside it. allow may refuse it. Errors: ErrUnknown, ErrNothingOpen,
// ErrNotLater, and those of allow.
func (s *Store) Extend(ctx context.Context, subjectID string, until time.Time, d Decision, allow func(Extension) error) (Extension, error) {
	d.Action = "extend"
	x := Extension{SubjectID: subjectID, Until: until, Decision: d}
	err := s.inTx(ctx, func(c *sql.Conn) error {
		bg := context.Background()
		var id, received, due, original int64
		err := c.QueryRowContext(bg, `SELECT s.id, s.received_at, s.due_at, coalesce(s.original_due_at, s.due_at) FROM subjects s JOIN subject_ids x ON x.subject = s.id
 JOIN batches b ON b.id = s.batch WHERE x.subject_id = ? AND NOT b.loading`, subjectID).Scan(&id, &received, &due, &original)
		if errors.Is(err, sql.ErrNoRows) {
			return fmt.Errorf("subject %s: %w", subjectID, ErrUnknown)
		}
		if err != nil {
			return err
		}
		x.ReceivedAt, x.Former, x.Original = time.Unix(received, 0).UTC(), time.Unix(due, 0).UTC(), time.Unix(original, 0).UTC()
		if !until.After(x.Former) {
			return fmt.Errorf("subject %s is due on %s already: %w", subjectID, x.Former.Format(time.DateOnly), ErrNotLater)
		}
		if _, err := c.ExecContext(bg, `UPDATE subjects SET original_due_at=?, due_at=? WHERE id=?`, original, secs(until), id); err != nil {
			return err
		}
		// A task that others follow stays where the most urgent of their requests needs it.
		res, err := c.ExecContext(bg, sqlRedate+`id BETWEEN ?1*1000 AND ?1*1000+999`, id)
		if err != nil {
			return err
		}
		if x.Open, err = res.RowsAffected(); err != nil {
			return err
		}
		if x.Open == 0 {
			return fmt.Errorf("subject %s: %w", subjectID, ErrNothingOpen)
		}
		if err := allow(x); err != nil {
			return err
		}
		if _, err := c.ExecContext(bg, sqlRedate+`id IN (SELECT f.follows FROM tasks f WHERE f.id BETWEEN ?1*1000 AND ?1*1000+999)`, id); err != nil {
			return err
		}
		res, err = c.ExecContext(bg, `INSERT INTO decisions (at, who, action, subject, note, until) VALUES (?,?,?,?,?,?)`,
			secs(d.At), d.Who, d.Action, id, nullText(d.Note), secs(until))
		if err != nil {
			return err
		}
		decision, err := res.LastInsertId()
		if err != nil {
			return err
		}
		return s.tell(c, func(w *writer) error {
			return w.tellSubject(EventExtended, id, &EventBody{Until: secs(until), Decision: decision})
		})
	})
	return x, err
}

// Extensions returns the extensions of subjects that are still open, the latest first, at
// most limit.
func (s *Store) Extensions(ctx context.Context, limit int) ([]Extension, error) {
	rows, err := s.read.QueryContext(ctx, `SELECT s.subject_id, s.received_at, coalesce(s.original_due_at, 0), d.until, d.at, d.who, coalesce(d.note, ''),
 (SELECT count(*) FROM tasks t WHERE t.id BETWEEN s.id*1000 AND s.id*1000+999 AND `+sqlUnsettled+`) AS open
 FROM decisions d JOIN subjects s ON s.id = d.subject WHERE d.action = 'extend' AND d.until = s.due_at AND open > 0
 ORDER BY d.id DESC LIMIT ?`, limit)
	if err != nil {
		return nil, explain(err)
	}
	defer rows.Close()
	var all []Extension
	for rows.Next() {
		x := Extension{Decision: Decision{Action: "extend"}}
		var received, until, at int64
		var original sql.NullInt64
		if err := rows.Scan(&x.SubjectID, &received, &original, &until, &at, &x.Who, &x.Note, &x.Open); err != nil {
			return nil, explain(err)
		}
		x.Original = fromSecs(original)
		x.ReceivedAt, x.Until, x.At = time.Unix(received, 0).UTC(), time.Unix(until, 0).UTC(), time.Unix(at, 0).UTC()
		all = append(all, x)
	}
	return all, explain(rows.Err())
}
