package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"expunge/store/seal"
)

// ErrPurged: the subject was dropped by a purge, of which nothing but its subject_id is kept.
var ErrPurged = errors.New("was purged")

// History is what the store knows of one subject.
type History struct {
	Subject
	Tasks     []HistoryTask
	Events    []Event // in their order; those before there were events are missing
	Decisions map[int64]Decided
}

// Subject is a subject without its tasks.
type Subject struct {
	ID            int64
	SubjectID     string
	Batch         int64
	Line          int
	ReceivedAt    time.Time
	DueAt         time.Time
	OriginalDueAt time.Time // before the first extension; zero: never extended
	Channel       string    // how the request came in; "": not known
	AnsweredAt    time.Time
	AnswerChannel string // how the person was told; "": not known
	Logged        bool   // it was taken in since there are events
	Plain         []byte // its fields, opened

	secret, marks []byte
}

// HistoryTask is a task with what belongs to it.
type HistoryTask struct {
	Task
	Export *Export // nil where none was asked for
	Former []FormerReference
}

// FormerReference is a reference that another one replaced.
type FormerReference struct {
	Reference  string
	ReplacedAt time.Time
}

// Decided is a person's decision as it is recorded.
type Decided struct {
	Decision
	Task   int64  // 0: about the subject, or a vendor
	Vendor int64  // 0: about a subject, or a task
	Reason string // the one that the task had
	Until  time.Time
}

// History returns what the store knows of a subject. Errors: ErrUnknown, ErrPurged.
func (s *Store) History(ctx context.Context, subjectID string) (*History, error) {
	tx, err := s.read.BeginTx(ctx, &sql.TxOptions{ReadOnly: true}) // everything is of one moment
	if err != nil {
		return nil, explain(err)
	}
	defer tx.Rollback()
	h := &History{Decisions: map[int64]Decided{}}
	if err := s.historySubject(ctx, tx, h, subjectID); err != nil {
		return nil, err
	}
	for _, read := range []func(context.Context, *sql.Tx, *History) error{s.historyTasks, historyEvents, historyDecisions} {
		if err := read(ctx, tx, h); err != nil {
			return nil, fmt.Errorf("store: subject %d: %w", h.ID, explain(err))
		}
	}
	return h, nil
}

func (s *Store) historySubject(ctx context.Context, tx *sql.Tx, h *History, subjectID string) error {
	var id, batch, line, received, due, original, answered sql.NullInt64
	var channel, how sql.NullString
	var sealed, secret, marks []byte
	err := tx.QueryRowContext(ctx, `SELECT s.id, s.batch, s.line, s.received_at, s.due_at, s.original_due_at, s.channel, s.answered_at, s.answer_channel, s.secret, s.marks, s.sealed
 FROM subject_ids x LEFT JOIN subjects s ON s.id = x.subject LEFT JOIN batches b ON b.id = s.batch
 WHERE x.subject_id = ? AND NOT coalesce(b.loading, 0)`, subjectID).
		Scan(&id, &batch, &line, &received, &due, &original, &channel, &answered, &how, &secret, &marks, &sealed)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return fmt.Errorf("subject %s: %w", subjectID, ErrUnknown)
	case err != nil:
		return explain(err)
	case !id.Valid:
		return fmt.Errorf("subject %s %w", subjectID, ErrPurged)
	}
	h.Subject = Subject{ID: id.Int64, SubjectID: subjectID, Batch: batch.Int64, Line: int(line.Int64), ReceivedAt: fromSecs(received), DueAt: fromSecs(due), OriginalDueAt: fromSecs(original),
		Channel: channel.String, AnsweredAt: fromSecs(answered), AnswerChannel: how.String, Logged: secret != nil,
		secret: secret, marks: marks}
	if h.Plain, err = s.box.Open(nil, sealed, seal.Place{Table: "subjects", Row: h.ID}); err != nil {
		return fmt.Errorf("store: subject %d: %w", h.ID, err)
	}
	return nil
}

func (s *Store) historyTasks(ctx context.Context, tx *sql.Tx, h *History) error {
	exports, err := s.exportPage(ctx, h.ID, h.ID)
	if err != nil {
		return err
	}
	err = eachTask(ctx, tx, h.ID, h.ID, func(t *Task) error {
		e, err := exports.of(ctx, t)
		h.Tasks = append(h.Tasks, HistoryTask{Task: *t, Export: e})
		return err
	})
	if err != nil {
		return err
	}
	for i := range h.Tasks {
		t := &h.Tasks[i]
		of := t.ID
		if t.Follows != 0 {
			of = t.Follows // references are kept with the task that was submitted
		}
		rows, err := tx.QueryContext(ctx, `SELECT reference, replaced_at FROM former_references WHERE task = ? ORDER BY replaced_at`, of)
		if err != nil {
			return err
		}
		for rows.Next() {
			var r reference
			var at sql.NullInt64
			if err = rows.Scan(&r, &at); err != nil {
				break
			}
			t.Former = append(t.Former, FormerReference{string(r), fromSecs(at)})
		}
		if err := errors.Join(err, rows.Err(), rows.Close()); err != nil {
			return err
		}
	}
	return nil
}

const eventColumns = `e.seq, e.task, e.prev, e.at, e.event, e.evidence, e.reason, e.records, e.records_after, e.reference, e.submitted_at,
 e.completed_at, e.verified_at, e.body`

// sqlChain has the events of a subject and its tasks, from the newest back.
const sqlChain = `WITH RECURSIVE chain(seq) AS (
 SELECT event FROM subjects WHERE id = ?1 AND event IS NOT NULL
 UNION SELECT event FROM tasks WHERE id BETWEEN ?1*1000 AND ?1*1000+999 AND event IS NOT NULL
 UNION SELECT e.prev FROM chain CROSS JOIN events e ON e.seq = chain.seq WHERE e.prev IS NOT NULL)
 SELECT ` + eventColumns + ` FROM chain CROSS JOIN events e ON e.seq = chain.seq ORDER BY e.seq`

func historyEvents(ctx context.Context, tx *sql.Tx, h *History) error {
	rows, err := tx.QueryContext(ctx, sqlChain, h.ID)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		e, err := scanEvent(rows)
		if err != nil {
			return err
		}
		h.Events = append(h.Events, e)
	}
	return rows.Err()
}

func scanEvent(rows *sql.Rows) (e Event, err error) {
	var task, prev, at, evidence, records, after, submitted, completed, verified sql.NullInt64
	var reason, body sql.NullString
	var ref reference
	if err := rows.Scan(&e.Seq, &task, &prev, &at, &e.Kind, &evidence, &reason, &records, &after, &ref, &submitted, &completed, &verified, &body); err != nil {
		return e, err
	}
	if eventNames[min(int(e.Kind), len(eventNames)-1)] == "" || int(e.Kind) >= len(eventNames) || evidence.Int64 > int64(OthersSeen) {
		return e, fmt.Errorf("%w: event %d: there is no %v or no such evidence (`expunge check` looks for what is damaged)", errForm, e.Seq, e.Kind)
	}
	if task.Int64%TasksPerSubject != ownTask {
		e.Task = task.Int64
	}
	e.Prev, e.At, e.Evidence, e.Reason = prev.Int64, fromSecs(at), Evidence(evidence.Int64), reason.String
	e.Records, e.RecordsAfter = Count{int(records.Int64), records.Valid}, Count{int(after.Int64), after.Valid}
	e.Reference = string(ref)
	e.SubmittedAt, e.CompletedAt, e.VerifiedAt = fromSecs(submitted), fromSecs(completed), fromSecs(verified)
	if body.Valid {
		if err := json.Unmarshal([]byte(body.String), &e.Body); err != nil {
			return e, fmt.Errorf("%w: event %d: %w", errForm, e.Seq, err)
		}
	}
	return e, nil
}

// historyDecisions reads the decisions that the events name, and those about the vendors of
// the subject's tasks.
func historyDecisions(ctx context.Context, tx *sql.Tx, h *History) error {
	var named []int64
	for _, e := range h.Events {
		if e.Body.Decision != 0 {
			named = append(named, e.Body.Decision)
		}
	}
	var vendors []int64
	for _, t := range h.Tasks {
		vendors = append(vendors, t.Vendor)
	}
	ids, err := json.Marshal(named)
	if err != nil {
		return err
	}
	at, err := json.Marshal(vendors)
	if err != nil {
		return err
	}
	rows, err := tx.QueryContext(ctx, `SELECT id, at, who, action, coalesce(task, 0), coalesce(vendor, 0), coalesce(reason, ''), coalesce(note, ''), until
 FROM decisions WHERE id IN (SELECT value FROM json_each(?1))
 UNION SELECT id, at, who, action, 0, vendor, '', coalesce(note, ''), until FROM decisions WHERE vendor IS NOT NULL AND vendor IN (SELECT value FROM json_each(?2)) AND at >= ?3`,
		string(ids), string(at), secs(h.ReceivedAt))
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var id int64
		var d Decided
		var when, until sql.NullInt64
		if err := rows.Scan(&id, &when, &d.Who, &d.Action, &d.Task, &d.Vendor, &d.Reason, &d.Note, &until); err != nil {
			return err
		}
		d.At, d.Until = fromSecs(when), fromSecs(until)
		h.Decisions[id] = d
	}
	return rows.Err()
}

// Find returns the subject_ids of those who have a mark of one of these identifiers, in any
// place among theirs.
func (s *Store) Find(ctx context.Context, wanted []Identifier) ([]string, error) {
	var found []string
	err := s.FindEach(ctx, wanted, func(subjectID string, _ int) error {
		if len(found) == 0 || found[len(found)-1] != subjectID {
			found = append(found, subjectID)
		}
		return nil
	})
	return found, err
}

// FindEach calls fn for everyone who has a mark of one of these identifiers, in any place among
// theirs, with the number of the identifier. It tries each identifier on everybody: there is
// nothing by which one could be looked up.
func (s *Store) FindEach(ctx context.Context, wanted []Identifier, fn func(subjectID string, which int) error) error {
	byField := map[byte][]int{}
	for i, w := range wanted {
		byField[byte(w.Field)] = append(byField[byte(w.Field)], i)
	}
	rows, err := s.read.QueryContext(ctx, `SELECT s.subject_id, s.secret, s.marks FROM subjects s WHERE s.marks IS NOT NULL
 AND s.batch NOT IN (SELECT id FROM batches WHERE loading) ORDER BY s.id`)
	if err != nil {
		return explain(err)
	}
	defer rows.Close()
	d := s.Digester()
	var id, secret, marks sql.RawBytes
	for rows.Next() {
		if err := rows.Scan(&id, &secret, &marks); err != nil {
			return explain(err)
		}
		err := eachMark(marks, func(field byte, nth int, mark []byte) error {
			of := byField[field]
			if len(of) == 0 {
				return nil
			}
			nonce := d.Nonce(secret, wanted[of[0]].Kind, nth)
			for _, i := range of {
				if seal.Mark(nonce, wanted[i].Normal) == [seal.MarkSize]byte(mark) {
					if err := fn(string(id), i); err != nil {
						return err
					}
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return explain(rows.Err())
}

// Marked counts the subjects that have marks.
func (s *Store) Marked(ctx context.Context) (n int64, err error) {
	err = s.read.QueryRowContext(ctx, `SELECT count(*) FROM subjects WHERE marks IS NOT NULL`).Scan(&n)
	return n, explain(err)
}

// Has reports whether the subject's identifier at this place is this one; known is false
// where the subject has no mark of it.
func (s *Store) Has(h *Subject, i Identifier) (same, known bool) {
	_ = eachMark(h.marks, func(field byte, nth int, mark []byte) error {
		if field == byte(i.Field) && nth == i.Nth {
			known = true
			same = seal.Mark(s.Digester().Nonce(h.secret, i.Kind, nth), i.Normal) == [seal.MarkSize]byte(mark)
		}
		return nil
	})
	return same, known
}

// markRoom is how many bytes one mark takes, with its field.
const markRoom = 1 + seal.MarkSize

// eachMark calls fn for each of a subject's marks.
func eachMark(marks []byte, fn func(field byte, nth int, mark []byte) error) error {
	var seen [256]int
	for ; len(marks) >= markRoom; marks = marks[markRoom:] {
		field := marks[0]
		if err := fn(field, seen[field], marks[1:markRoom]); err != nil {
			return err
		}
		seen[field]++
	}
	return nil
}
