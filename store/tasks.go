package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"expunge/store/seal"
)

// TasksPerSubject is the factor between a subject's id and its tasks' ids.
const TasksPerSubject = 1000

// MaxTasks is the number of tasks that one subject may have: the last place is that of the
// subject itself among the events.
const MaxTasks = TasksPerSubject - 1

// Task is one subject at one vendor by one identifier.
type Task struct {
	ID      int64
	Vendor  int64 // id of the vendor in the store
	Field   int   // which of the subject's fields the identifier is
	Nth     int   // which of that field's values
	DueAt   time.Time
	Leads   bool  // other tasks of the batch have the same identifier and follow this one
	Follows int64 // the task that this one follows; 0: none

	State        State
	Reason       string
	Message      string // for people; without personal data
	Evidence     Evidence
	NextAt       time.Time // when it is looked at next; zero: see Ready
	Ready        bool      // to be looked at now
	Attempts     int       // tries of the call it is at, or ended with
	Uncertain    int       // submissions whose outcome is unknown
	Refused      int       // refusals of a vendor that accepted others
	Lost         int       // jobs that the vendor lost or that failed, and that were submitted again
	Records      Count     // what the preview found
	RecordsAfter Count     // what verification found
	RecordRefs   string    // the vendor's numbers of the previewed records, ";"-separated
	Reference    string    // the vendor's id for what was submitted
	Hint         string    // the vendor's, see vendors.Preview
	Approval     string    // what a person approved to see, see batch
	PreviewedAt  time.Time
	SubmittedAt  time.Time
	CompletedAt  time.Time
	VerifiedAt   time.Time
	ClosedAt     time.Time // of a failed task: when a person said that nothing more is to be done
}

// SubjectRow is the id in the store of the task's subject.
func (t *Task) SubjectRow() int64 { return t.ID / TasksPerSubject }

// Count is a number that may be unknown.
type Count struct {
	N     int
	Known bool
}

// Counted is a known number.
func Counted(n int) Count { return Count{N: n, Known: true} }

// Work is a task together with what the store holds, sealed, of its subject.
type Work struct {
	Task
	SubjectID  string // the request's ticket number
	ReceivedAt time.Time
	Plain      []byte // the subject's fields, opened
}

// Change moves a task from a state to what Task says.
type Change struct {
	From State
	Task

	word *word // the person's who made it; nil: nobody's
}

const taskColumns = `t.id, t.vendor, t.identifier, t.due_at, t.follows, t.state, t.reason, t.evidence, t.next_at, t.records, t.records_after,
 t.record_refs, t.reference, t.more, t.previewed_at, t.submitted_at, t.completed_at, t.verified_at, t.closed_at`

// more is the stored form of what few tasks have.
type more struct {
	Leads     bool   `json:"leads,omitempty"`
	Attempts  int    `json:"attempts,omitempty"`
	Uncertain int    `json:"uncertain,omitempty"`
	Refused   int    `json:"refused,omitempty"`
	Lost      int    `json:"lost,omitempty"`
	Message   string `json:"message,omitempty"`
	Hint      string `json:"hint,omitempty"`
	Approval  string `json:"approval,omitempty"`
}

// more is what column more holds of the task: nil for nothing.
func (t *Task) more() (any, error) {
	m := more{t.Leads, t.Attempts, t.Uncertain, t.Refused, t.Lost, t.Message, t.Hint, t.Approval}
	if m == (more{}) {
		return nil, nil
	}
	text, err := json.Marshal(m)
	return string(text), err
}

// setMore is the reverse of more.
func (t *Task) setMore(text []byte) error {
	if len(text) == 0 {
		return nil
	}
	var m more
	if err := json.Unmarshal(text, &m); err != nil {
		return fmt.Errorf("%w: task %d: %w", errForm, t.ID, err)
	}
	t.Leads, t.Attempts, t.Uncertain, t.Refused, t.Lost = m.Leads, m.Attempts, m.Uncertain, m.Refused, m.Lost
	t.Message, t.Hint, t.Approval = m.Message, m.Hint, m.Approval
	return nil
}

// perField is the factor between the number of a value among those of its field and the
// number by which the store knows an identifier: fields are below it.
const perField = 100

func identifier(field, nth int) int64 { return int64(field + perField*nth) }

type taskScan struct {
	due, identifier                                          int64
	follows, next, previewed, submitted, completed, verified sql.NullInt64
	records, after, closed                                   sql.NullInt64
	reason                                                   sql.NullString
	refs, reference                                          reference
	more                                                     sql.RawBytes
}

func (v *taskScan) into(t *Task) []any {
	return []any{&t.ID, &t.Vendor, &v.identifier, &v.due, &v.follows, &t.State, &v.reason, &t.Evidence, &v.next, &v.records, &v.after,
		&v.refs, &v.reference, &v.more, &v.previewed, &v.submitted, &v.completed, &v.verified, &v.closed}
}

func (v *taskScan) finish(t *Task) error {
	t.Field, t.Nth = int(v.identifier%perField), int(v.identifier/perField)
	t.DueAt = time.Unix(v.due, 0).UTC()
	t.Follows = v.follows.Int64
	t.NextAt, t.Ready = fromMillis(v.next), v.next.Valid && v.next.Int64 == 0
	t.Reason = v.reason.String
	t.Records = Count{int(v.records.Int64), v.records.Valid}
	t.RecordsAfter = Count{int(v.after.Int64), v.after.Valid}
	t.RecordRefs, t.Reference = string(v.refs), string(v.reference)
	t.PreviewedAt, t.SubmittedAt = fromSecs(v.previewed), fromSecs(v.submitted)
	t.CompletedAt, t.VerifiedAt, t.ClosedAt = fromSecs(v.completed), fromSecs(v.verified), fromSecs(v.closed)
	if t.State > Failed || t.Evidence > OthersSeen {
		return fmt.Errorf("%w: task %d: there is no %v or no %v (`expunge check` looks for what is damaged)", errForm, t.ID, t.State, t.Evidence)
	}
	return t.setMore(v.more)
}

const (
	sqlSet = `UPDATE tasks SET state=?1, reason=?2, evidence=?3, records=?4, records_after=?5, record_refs=?6, reference=?7, more=?8,
 previewed_at=?9, submitted_at=?10, completed_at=?11, verified_at=?12, closed_at=?13, event=coalesce(?14, event)`
	sqlCompare      = ` WHERE id=?15 AND state=?16`
	sqlSameRef      = ` AND (reference IS NULL OR reference=?7)`
	sqlMoveReady    = sqlSet + sqlCompare + sqlSameRef + ` AND next_at=0 RETURNING 1`
	sqlMove         = sqlSet + `, next_at=?17` + sqlCompare + sqlSameRef + ` RETURNING 1`
	sqlMoveReplaced = sqlSet + `, next_at=?17` + sqlCompare + ` RETURNING 1`
	// The reference that is about to be replaced is kept.
	sqlFormer = `INSERT OR IGNORE INTO former_references SELECT id, reference, ? FROM tasks
 WHERE id=? AND state=? AND reference IS NOT NULL AND reference IS NOT ?`
	// Tasks with the same identifier report what happens to the one that they follow.
	sqlFollow = `UPDATE tasks SET (state, reason, evidence, records, records_after, record_refs, reference, more, previewed_at, submitted_at,
 completed_at, verified_at, closed_at) =
 (SELECT state, reason, evidence, records, records_after, record_refs, reference, nullif(json_remove(more, '$.leads', '$.approval'), '{}'),
 previewed_at, submitted_at, completed_at, verified_at, closed_at FROM tasks l WHERE l.id = tasks.follows)
 WHERE follows = ?`
	// What is finished is judged by the due date of its own request.
	sqlOwnDue    = `UPDATE tasks SET due_at = (SELECT s.due_at FROM subjects s WHERE s.id = tasks.id/1000) WHERE id = ?`
	sqlGive      = `INSERT INTO given_references VALUES (?,?,?) ON CONFLICT DO NOTHING RETURNING 1`
	sqlGiven     = `SELECT task FROM given_references WHERE vendor=? AND reference=?`
	sqlUngive    = `DELETE FROM given_references WHERE vendor=? AND reference=?`
	sqlFollowers = `SELECT id FROM tasks WHERE follows = ?`
	sqlSubject   = `SELECT sealed FROM subjects WHERE id = ?`
	// The fields that the subject's tasks still need: one row per task that is not settled.
	sqlOpen   = `SELECT v.fields FROM tasks t JOIN vendors v ON v.id = t.vendor WHERE t.id BETWEEN ? AND ? AND ` + sqlUnsettled
	sqlReseal = `UPDATE subjects SET sealed = ? WHERE id = ?`
	// Of a subject with no unsettled task nothing is kept that guesses could be tried on.
	sqlForget = `UPDATE subjects SET sealed = ?1, content = CASE WHEN ?2 THEN content ELSE 0 END WHERE id = ?3`
)

func (ch Change) check() error {
	if !MayFollow(ch.From, ch.State) {
		return fmt.Errorf("%w: task %d from %v to %v", ErrTransition, ch.ID, ch.From, ch.State)
	}
	return nil
}

func nullText(s string) any {
	if s == "" {
		return nil
	}
	return s
}

func nullBytes(b []byte) any {
	if len(b) == 0 {
		return nil
	}
	return b
}

func nullCount(c Count) any {
	if !c.Known {
		return nil
	}
	return int64(c.N)
}

func (t *Task) nextAt() any {
	switch {
	case t.Ready:
		return int64(0)
	case t.NextAt.IsZero():
		return nil
	}
	return t.NextAt.UnixMilli()
}

// apply makes the change inside the open transaction.
func (ch Change) apply(w *writer) error {
	t := &ch.Task
	fresh, err := w.giveReference(&ch)
	if err != nil {
		return err
	}
	seq, err := w.tell(&ch)
	if err != nil {
		return err
	}
	n, err := w.move(&ch, seq)
	if err != nil {
		return err
	}
	if n != 1 {
		if fresh {
			if _, err := w.each(sqlUngive, nil, t.Vendor, packReference(t.Reference)); err != nil {
				return err
			}
		}
		return fmt.Errorf("%w: task %d is not %v", ErrConflict, t.ID, ch.From)
	}
	subjects := []int64{t.SubjectRow()}
	if t.Leads {
		more, err := w.follow(t.ID)
		if err != nil {
			return err
		}
		subjects = append(subjects, more...)
		if seq != nil {
			if err := w.tellFollowers(&ch); err != nil {
				return err
			}
		}
	}
	if !t.Settled() {
		return nil
	}
	if t.Leads {
		if _, err := w.each(sqlOwnDue, nil, t.ID); err != nil {
			return err
		}
	}
	if w.s.exported.Load() {
		n, err := w.each(sqlExportEnd, nil, w.now(), t.ID)
		if err == nil && n > 0 {
			err = w.tellExport(&Export{Task: t.ID, State: ExportFailed})
		}
		if err != nil {
			return err
		}
	}
	for _, id := range subjects {
		if err := w.forget(id); err != nil {
			return err
		}
	}
	return nil
}

// GivenError says that a task cannot wait for a reference, which the vendor has given for
// another task before: it is an ErrConflict, and nothing has changed.
type GivenError struct {
	Task  int64 // that cannot wait for it
	Other int64 // for which it was given first
}

func (e *GivenError) Error() string {
	return fmt.Sprintf("task %d: the vendor has given the same reference for task %d", e.Task, e.Other)
}

// Unwrap gives errors.Is the sentinel.
func (e *GivenError) Unwrap() error { return ErrConflict }

// giveReference notes for which task a vendor gave a reference: the first. fresh says that it was
// not known before.
func (w *writer) giveReference(ch *Change) (fresh bool, err error) {
	t := &ch.Task
	if t.Reference == "" || t.State == ch.From || t.State.Final() {
		return false, nil
	}
	packed := packReference(t.Reference)
	n, err := w.each(sqlGive, nil, t.Vendor, packed, t.ID)
	if n != 0 || err != nil || t.State != Waiting {
		return n != 0, err
	}
	_, err = w.each(sqlGiven, func(row []driver.Value) error {
		other, ok := row[0].(int64)
		if !ok {
			return errForm
		}
		if other != t.ID {
			return &GivenError{Task: t.ID, Other: other}
		}
		return nil
	}, t.Vendor, packed)
	return false, err
}

// move is the compare-and-swap. seq is the number of the change's event, or nil. It returns
// how many tasks it changed.
func (w *writer) move(ch *Change, seq any) (n int, err error) {
	t := &ch.Task
	var previewed any // what a settled task was seen with before is in its counts
	if !t.Settled() {
		previewed = nullSecs(t.PreviewedAt)
	}
	more, err := t.more()
	if err != nil {
		return 0, err
	}
	args := []driver.Value{int64(t.State), nullText(t.Reason), int64(t.Evidence), nullCount(t.Records), nullCount(t.RecordsAfter),
		packReference(t.RecordRefs), packReference(t.Reference), more, previewed, nullSecs(t.SubmittedAt), nullSecs(t.CompletedAt),
		nullSecs(t.VerifiedAt), nullSecs(t.ClosedAt), seq, t.ID, int64(ch.From), t.nextAt()}
	// Most changes are from ready to ready. A statement that does not name next_at leaves
	// the indexes alone: a quarter of the time of a change.
	if t.Ready {
		if n, err = w.each(sqlMoveReady, nil, args[:16]...); n != 0 || err != nil {
			return n, err
		}
	}
	if n, err = w.each(sqlMove, nil, args...); n != 0 || err != nil {
		return n, err
	}
	// It has moved on, or has a reference that another one is about to replace.
	if _, err := w.each(sqlFormer, nil, w.now(), t.ID, int64(ch.From), packReference(t.Reference)); err != nil {
		return 0, err
	}
	return w.each(sqlMoveReplaced, nil, args...)
}

// follow copies the task's outcome to the tasks that follow it and returns their subjects.
func (w *writer) follow(lead int64) ([]int64, error) {
	if _, err := w.each(sqlFollow, nil, lead); err != nil {
		return nil, err
	}
	var subjects []int64
	_, err := w.each(sqlFollowers, func(row []driver.Value) error {
		id, ok := row[0].(int64)
		if !ok {
			return errForm
		}
		subjects = append(subjects, id/TasksPerSubject)
		return nil
	}, lead)
	return subjects, err
}

// errForm says that a column holds what the schema does not allow.
var errForm = errors.New("a column of the store has another type than it was written with")

// forget drops from the subject's sealed data what no unsettled task of it needs, and without
// any the digest of its identifiers.
func (w *writer) forget(subject int64) error {
	var keep uint32
	open, err := w.each(sqlOpen, func(row []driver.Value) error {
		fields, ok := row[0].(int64)
		if !ok {
			return errForm
		}
		keep |= uint32(fields)
		return nil
	}, subject*TasksPerSubject, subject*TasksPerSubject+TasksPerSubject-1)
	if err != nil {
		return err
	}
	var plain []byte
	place := seal.Place{Table: "subjects", Row: subject}
	if _, err := w.each(sqlSubject, func(row []driver.Value) (err error) {
		sealed, ok := row[0].([]byte)
		if !ok {
			return errForm
		}
		plain, err = w.s.box.Open(nil, sealed, place)
		return err
	}, subject); err != nil {
		return err
	}
	less, err := w.s.o.Forget(plain, keep)
	if err != nil || open > 0 && string(less) == string(plain) {
		return err
	}
	_, err = w.each(sqlForget, nil, w.s.box.Seal(nil, less, place), int64(open), subject)
	return err
}

const sqlClaim = `SELECT ` + taskColumns + `, s.subject_id, s.received_at, s.sealed FROM tasks t CROSS JOIN subjects s ON s.id = t.id/1000 WHERE `

// ClaimDue returns up to limit tasks of the vendor whose time has come, the earliest
// first, in states up to upTo (Previewed: only those with nothing sent yet).
func (s *Store) ClaimDue(ctx context.Context, vendor int64, now time.Time, upTo State, limit int) ([]Work, error) {
	return s.claim(ctx, sqlClaim+`t.vendor=? AND t.next_at>0 AND t.next_at<=? AND t.state<=? ORDER BY t.next_at, t.id LIMIT ?`,
		vendor, now.UnixMilli(), upTo, limit)
}

func (s *Store) claim(ctx context.Context, query string, args ...any) ([]Work, error) {
	rows, err := s.read.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, fmt.Errorf("store: claim: %w", explain(err))
	}
	defer rows.Close()
	var work []Work
	var w Work
	var v taskScan
	var received int64
	var sealed sql.RawBytes
	into := append(v.into(&w.Task), &w.SubjectID, &received, &sealed)
	for rows.Next() {
		w, v = Work{}, taskScan{}
		if err := rows.Scan(into...); err != nil {
			return nil, fmt.Errorf("store: claim: %w", explain(err))
		}
		if err := v.finish(&w.Task); err != nil {
			return nil, err
		}
		w.ReceivedAt = time.Unix(received, 0).UTC()
		if w.Plain, err = s.box.Open(nil, sealed, seal.Place{Table: "subjects", Row: w.SubjectRow()}); err != nil {
			return nil, fmt.Errorf("store: subject %d: %w", w.SubjectRow(), err)
		}
		work = append(work, w)
	}
	return work, explain(rows.Err())
}

// NextAt returns the first time after the given one at which a task of the vendor is due;
// ok is false when none is. upTo is as for ClaimDue.
func (s *Store) NextAt(ctx context.Context, vendor int64, after time.Time, upTo State) (next time.Time, ok bool, err error) {
	var n sql.NullInt64
	err = s.read.QueryRowContext(ctx, `SELECT min(next_at) FROM tasks WHERE vendor=? AND next_at>0 AND next_at>? AND state<=?`,
		vendor, max(0, after.UnixMilli()), upTo).Scan(&n)
	return fromMillis(n), n.Valid, explain(err)
}

// SplitRefs is the list form of Task.RecordRefs.
func SplitRefs(refs string) []string {
	if refs == "" {
		return nil
	}
	return strings.Split(refs, ";")
}
