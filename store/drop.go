package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
)

// sqlAdded is the condition that task t came to its subject by addition a.
const sqlAdded = `NOT EXISTS (SELECT 1 FROM shapes h WHERE h.shape = a.former AND h.n = t.id - a.subject*1000 AND (h.state = 8) = (t.state = 8))`

// Discard drops the batch.
func (in *Intake) Discard(ctx context.Context) error {
	err := in.finishLoading()
	in.same.close()
	in.batch.Last = in.nextID - 1
	return errors.Join(err, in.s.discard(context.WithoutCancel(ctx), in.batch))
}

// discard takes a batch back: what it added to the requests of earlier ones, its tasks and
// subjects. It works in steps that may be cut short and done again: the batch's row, which
// says loading meanwhile, comes last.
func (s *Store) discard(ctx context.Context, b Batch) error {
	if err := s.undoAdditions(ctx, b); err != nil {
		return err
	}
	last := b.Last
	if b.Dropped.At.IsZero() { // it is the last batch: the store may not know yet how many rows it has
		var newest int64
		if err := s.read.QueryRowContext(ctx, `SELECT coalesce(max(id), 0) FROM subjects`).Scan(&newest); err != nil {
			return explain(err)
		}
		last = max(last, newest)
	}
	for first := b.First; first <= last; first += chunk {
		upto := min(first+chunk-1, last)
		err := s.inTx(ctx, func(c *sql.Conn) error {
			var events string
			var err error
			if !b.Dropped.At.IsZero() { // else they are the newest, and go together
				if events, err = eventsBetween(c, first, upto); err != nil {
					return err
				}
			}
			if err := s.removeTasks(c, first*TasksPerSubject, upto*TasksPerSubject+TasksPerSubject-1); err != nil {
				return err
			}
			if _, err := c.ExecContext(context.Background(), `DELETE FROM subject_ids WHERE subject_id IN (SELECT subject_id FROM subjects WHERE id BETWEEN ?1 AND ?2) AND subject BETWEEN ?1 AND ?2`, first, upto); err != nil {
				return err
			}
			if _, err := c.ExecContext(context.Background(), `DELETE FROM subjects WHERE id BETWEEN ? AND ?`, first, upto); err != nil {
				return err
			}
			return dropEvents(c, events)
		})
		if err != nil {
			return err
		}
	}
	if err := s.untell(ctx, b); err != nil {
		return err
	}
	return s.inTx(ctx, func(c *sql.Conn) error {
		bg := context.Background()
		for _, q := range []string{
			`DELETE FROM rejects WHERE batch=?`,
			// What a person took back is remembered; its file may come again.
			`UPDATE batches SET loading=0, digest=NULL, done=1, purged=subjects, purged_rejects=invalid+duplicates WHERE id=? AND dropped_at IS NOT NULL`,
			`DELETE FROM batches WHERE id=? AND dropped_at IS NULL`,
		} {
			if _, err := c.ExecContext(bg, q, b.ID); err != nil {
				return err
			}
		}
		return nil
	})
}

// NotDroppedError says why a batch cannot be taken back.
type NotDroppedError struct {
	Batch int64
	Why   []string // sentences without a capital or a full stop
}

func (e *NotDroppedError) Error() string {
	return fmt.Sprintf("batch %d is not dropped: %s", e.Batch, strings.Join(e.Why, "; "))
}

// ErrDropped: the batch was taken back before.
var ErrDropped = errors.New("was dropped before")

// DropBatch takes a batch back of which nothing has been submitted, and records who did so
// and why. Its subjects, tasks and refused rows are gone; its file can be taken in again.
// Errors: ErrUnknown, ErrDropped, *NotDroppedError.
func (s *Store) DropBatch(ctx context.Context, id int64, d Decision) (Batch, error) {
	all, err := s.batches(ctx, `WHERE id = ? AND NOT loading`, id)
	if err != nil {
		return Batch{}, err
	}
	if len(all) == 0 {
		return Batch{}, fmt.Errorf("batch %d: %w", id, ErrUnknown)
	}
	b := all[0]
	if !b.Dropped.At.IsZero() {
		return Batch{}, fmt.Errorf("batch %d %w", id, ErrDropped)
	}
	if _, err := s.Integrate(ctx); err != nil { // what goes is hashed first
		return Batch{}, err
	}
	err = s.inTx(ctx, func(c *sql.Conn) error {
		why, err := whyNotDropped(c, b)
		if err != nil {
			return err
		}
		if len(why) > 0 {
			return &NotDroppedError{Batch: id, Why: why}
		}
		if _, err = c.ExecContext(context.Background(), `UPDATE batches SET loading=1, first_event=NULL, dropped_at=?, dropped_by=?, dropped_note=? WHERE id=?`,
			secs(d.At), d.Who, nullText(d.Note), id); err != nil {
			return err
		}
		return s.tell(c, func(w *writer) error {
			return w.tellAll(EventBatch, &EventBody{Batch: id, Dropped: true, Rows: b.Rows, Subjects: b.Subjects, Invalid: b.Invalid, Duplicates: b.Duplicates, Tasks: b.Added})
		})
	})
	if err != nil {
		return Batch{}, err
	}
	b.Dropped = d
	return b, s.discard(ctx, b)
}

const (
	// The tasks of a batch (?1 and ?2 are its first and last subject, ?3 is its id): those of its
	// subjects, and those that it added to others.
	sqlBatchTasks = `(SELECT t.* FROM tasks t WHERE t.id BETWEEN ?1*1000 AND ?2*1000+999
 UNION ALL SELECT t.* FROM additions a JOIN tasks t ON t.id BETWEEN a.subject*1000 AND a.subject*1000+999 WHERE a.batch = ?3 AND ` + sqlAdded + `) t`
	// What a task that follows another shows was submitted for that one.
	sqlSubmitted = `SELECT count(*), 0 FROM ` + sqlBatchTasks + ` WHERE t.state = 6 OR t.follows IS NULL AND (t.state IN (2,3,4)
 OR t.submitted_at IS NOT NULL OR t.reference IS NOT NULL OR t.more ->> 'uncertain' > 0 OR EXISTS (SELECT 1 FROM former_references f WHERE f.task = t.id))`
	sqlExported = `SELECT count(*), 0 FROM ` + sqlBatchTasks + ` JOIN exports e ON e.task = t.id`
	sqlPurged   = `SELECT purged, 0 FROM batches WHERE id = ?3`
	sqlAddedTo  = `SELECT count(*), a.batch FROM additions a WHERE a.batch > ?3
 AND (a.subject BETWEEN ?1 AND ?2 OR EXISTS (SELECT 1 FROM additions o WHERE o.batch = ?3 AND o.subject = a.subject)) GROUP BY a.batch`
	sqlRepeated = `SELECT count(*), r.batch FROM rejects r JOIN subject_ids x ON x.subject_id = r.subject_id
 WHERE r.batch > ?3 AND r.state = 'duplicate' AND x.subject BETWEEN ?1 AND ?2
 AND NOT EXISTS (SELECT 1 FROM additions a WHERE a.batch = r.batch AND a.subject = x.subject) GROUP BY r.batch`
)

// whyNotDropped lists what forbids to take a batch back.
func whyNotDropped(c *sql.Conn, b Batch) (why []string, err error) {
	for _, q := range []struct {
		text string
		says func(n, batch int64) string
	}{
		{sqlSubmitted, func(n, _ int64) string { return fmt.Sprintf("of its tasks, %d were submitted, or may have been", n) }},
		{sqlExported, func(n, _ int64) string { return fmt.Sprintf("of its tasks, %d have an export", n) }},
		{sqlPurged, func(n, _ int64) string { return fmt.Sprintf("of its requests, %d have been purged", n) }},
		{sqlAddedTo, func(n, batch int64) string {
			return fmt.Sprintf("batch %d added tasks to %d of its requests: drop that one first", batch, n)
		}},
		{sqlRepeated, func(n, batch int64) string {
			return fmt.Sprintf("%d rows of batch %d were the same and count for this one: drop that one first", n, batch)
		}},
	} {
		rows, err := c.QueryContext(context.Background(), q.text, b.First, b.Last, b.ID)
		if err != nil {
			return nil, err
		}
		for rows.Next() {
			var n, batch int64
			if err = rows.Scan(&n, &batch); err != nil {
				break
			}
			if n > 0 {
				why = append(why, q.says(n, batch))
			}
		}
		if err := errors.Join(err, rows.Err(), rows.Close()); err != nil {
			return nil, err
		}
	}
	return why, nil
}

// undoAdditions takes from the requests of earlier batches the tasks that this one added.
func (s *Store) undoAdditions(ctx context.Context, b Batch) error {
	for {
		done := false
		err := s.inTx(ctx, func(c *sql.Conn) error {
			bg := context.Background()
			subjects, err := columnOf(c, `SELECT subject FROM additions WHERE batch=? LIMIT ?`, b.ID, chunk/8)
			if err != nil {
				return err
			}
			done = len(subjects) == 0
			for _, id := range subjects {
				added, err := columnOf(c, `SELECT t.id FROM additions a JOIN tasks t ON t.id BETWEEN a.subject*1000 AND a.subject*1000+999 WHERE a.batch=? AND a.subject=? AND `+sqlAdded, b.ID, id)
				if err != nil {
					return err
				}
				events, err := eventsAbout(c, added)
				if err != nil {
					return err
				}
				for _, task := range added {
					if err := s.removeTasks(c, task, task); err != nil {
						return err
					}
				}
				if err := dropEvents(c, events); err != nil {
					return err
				}
				for _, q := range []string{
					// That a vendor was skipped was known since the subject was taken in.
					`INSERT OR IGNORE INTO tasks (id, vendor, identifier, state, due_at, reason, completed_at)
 SELECT s.id*1000 + h.n, h.vendor, h.identifier, h.state, s.due_at, h.reason, b.taken_at FROM additions a JOIN subjects s ON s.id = a.subject
 JOIN batches b ON b.id = s.batch JOIN shapes h ON h.shape = a.former WHERE a.batch=? AND a.subject=? AND h.state = 8`,
					`UPDATE subjects SET shape = a.former, marks = nullif(substr(subjects.marks, 1, 17*a.marks), x'') FROM additions a WHERE a.batch=? AND a.subject=? AND subjects.id = a.subject`,
					`DELETE FROM additions WHERE batch=? AND subject=?`,
				} {
					if _, err := c.ExecContext(bg, q, b.ID, id); err != nil {
						return err
					}
				}
				err = s.tell(c, func(w *writer) error {
					if err := w.forget(id); err != nil {
						return err
					}
					if b.Dropped.At.IsZero() {
						_, err := w.each(sqlUntellOwn, nil, id, b.ID)
						return err
					}
					return w.tellTasksOf(EventDecided, id, &EventBody{Action: "drop", Batch: b.ID})
				})
				if err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil || done {
			return err
		}
	}
}

// removeTasks deletes the tasks with ids from first to last. Tasks elsewhere that follow one
// of them go on without it; those that one of them followed are no more urgent than their
// own requests and the other followers are.
func (s *Store) removeTasks(c *sql.Conn, first, last int64) error {
	leads, err := columnOf(c, `SELECT DISTINCT follows FROM tasks WHERE id BETWEEN ?1 AND ?2 AND follows NOT BETWEEN ?1 AND ?2`, first, last)
	if err != nil {
		return err
	}
	left, err := columnOf(c, `SELECT DISTINCT follows FROM tasks WHERE follows BETWEEN ?1 AND ?2 AND id NOT BETWEEN ?1 AND ?2`, first, last)
	if err != nil {
		return err
	}
	for _, id := range left {
		if err := leave(c, id, first, last); err != nil {
			return err
		}
	}
	if _, err := c.ExecContext(context.Background(), `DELETE FROM tasks WHERE id BETWEEN ? AND ?`, first, last); err != nil {
		return err
	}
	for _, id := range leads {
		if err := redateLead(c, id); err != nil {
			return err
		}
	}
	return nil
}

// leave lets the followers of a task, but for those with ids from first to last, go on
// without it, from where it has got to: the most urgent of them is worked on from now on,
// and the others follow that one.
func leave(c *sql.Conn, lead, first, last int64) error {
	bg := context.Background()
	followers, err := columnOf(c, `SELECT id FROM tasks WHERE follows=? AND id NOT BETWEEN ? AND ? ORDER BY due_at, id`, lead, first, last)
	if err != nil || len(followers) == 0 {
		return err
	}
	heir := followers[0]
	if _, err := c.ExecContext(bg, `UPDATE tasks SET follows=NULL, next_at=(SELECT next_at FROM tasks WHERE id=?) WHERE id=?`, lead, heir); err != nil {
		return err
	}
	// The vendor's reference is now for the request that goes on.
	if _, err := c.ExecContext(bg, `UPDATE given_references SET task=?1 WHERE task=?2
 AND (vendor, reference) IN (SELECT vendor, reference FROM tasks WHERE id=?2 AND reference IS NOT NULL)`, heir, lead); err != nil {
		return err
	}
	if len(followers) > 1 {
		if _, err := c.ExecContext(bg, `UPDATE tasks SET follows=? WHERE follows=? AND id NOT BETWEEN ? AND ?`, heir, lead, first, last); err != nil {
			return err
		}
		if _, err := c.ExecContext(bg, sqlLeads, heir); err != nil {
			return err
		}
	}
	return redateLead(c, lead)
}

// leaveBatch lets the followers of a task that are of other batches go on without it.
func leaveBatch(c *sql.Conn, lead int64) error {
	var first, last int64
	if err := c.QueryRowContext(context.Background(), `SELECT b.first_subject, b.last_subject FROM subjects s JOIN batches b ON b.id = s.batch WHERE s.id = ?`,
		lead/TasksPerSubject).Scan(&first, &last); err != nil {
		return err
	}
	return leave(c, lead, first*TasksPerSubject, last*TasksPerSubject+TasksPerSubject-1)
}

// redateLead sets the due date of a task from which followers have been taken, and whether
// it still has some.
func redateLead(c *sql.Conn, lead int64) error {
	if _, err := c.ExecContext(context.Background(), `UPDATE tasks SET more = nullif(json_remove(more, '$.leads'), '{}')
 WHERE id=? AND more ->> 'leads' AND NOT EXISTS (SELECT 1 FROM tasks f WHERE f.follows = tasks.id)`, lead); err != nil {
		return err
	}
	_, err := c.ExecContext(context.Background(), sqlRedate+`id=?`, lead)
	return err
}

// columnOf returns the numbers that a query with one column finds.
func columnOf(c *sql.Conn, query string, args ...any) ([]int64, error) {
	rows, err := c.QueryContext(context.Background(), query, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var all []int64
	for rows.Next() {
		var n int64
		if err := rows.Scan(&n); err != nil {
			return nil, err
		}
		all = append(all, n)
	}
	return all, rows.Err()
}
