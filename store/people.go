package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// ErrUnknown: the store has nothing by this name.
var ErrUnknown = errors.New("not known to the store")

// Decision is what a person decided.
type Decision struct {
	At     time.Time
	Who    string
	Action string // approve, reject, confirm, extend
	Note   string // the person's words
}

// Held returns the held tasks, the most urgent first, with their subjects.
func (s *Store) Held(ctx context.Context, batch int64) ([]Work, error) {
	q := sqlClaim + `t.state = 5 AND t.follows IS NULL`
	if batch != 0 {
		return s.claim(ctx, q+` AND s.batch = ? ORDER BY t.due_at, t.id`, batch)
	}
	return s.claim(ctx, q+` ORDER BY t.due_at, t.id`)
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
// formerly, keyed by the reference asked for. It reads the vendor's tasks once, however
// many references there are: an index would cost every backlog its bytes for a file that
// comes once a week.
func (s *Store) ByReferences(ctx context.Context, vendor int64, references []string) (map[string]Work, error) {
	list, err := json.Marshal(references)
	if err != nil {
		return nil, err
	}
	found := map[string]Work{}
	now, err := s.claim(ctx, sqlClaim+`t.vendor = ? AND t.follows IS NULL AND t.reference IN (SELECT value FROM json_each(?))`, vendor, string(list))
	if err != nil {
		return nil, err
	}
	for _, w := range now {
		found[w.Reference] = w
	}
	rows, err := s.read.QueryContext(ctx, `SELECT f.task, f.reference FROM former_references f JOIN tasks t ON t.id = f.task
 WHERE t.vendor = ? AND f.reference IN (SELECT value FROM json_each(?))`, vendor, string(list))
	if err != nil {
		return nil, explain(err)
	}
	defer rows.Close()
	for rows.Next() {
		var id int64
		var ref string
		if err := rows.Scan(&id, &ref); err != nil {
			return nil, explain(err)
		}
		if _, ok := found[ref]; ok {
			continue
		}
		if found[ref], err = s.TaskByID(ctx, id); err != nil {
			return nil, err
		}
	}
	return found, explain(rows.Err())
}

// Decide applies a person's decision about a task and records it, together.
func (s *Store) Decide(ctx context.Context, ch Change, d Decision) error {
	if err := s.checkChange(&ch); err != nil {
		return err
	}
	return s.inTx(ctx, func(c *sql.Conn) error {
		var st statements
		if err := st.prepare(c); err != nil {
			return err
		}
		defer st.close()
		w := writer{s: s, conn: c, st: st}
		if err := w.apply(&ch); err != nil {
			return err
		}
		_, err := c.ExecContext(context.Background(), `INSERT INTO decisions (at, who, action, subject, task, reason, note) VALUES (?,?,?,?,?,?,?)`,
			millis(d.At), d.Who, d.Action, ch.Subject(), ch.ID, nullText(ch.Reason), nullText(d.Note))
		return err
	})
}

// Extend gives a subject's open tasks a later due date and records it. It returns the
// former one. ErrUnknown: there is no such subject.
func (s *Store) Extend(ctx context.Context, subjectID string, until time.Time, d Decision) (former time.Time, err error) {
	err = s.inTx(ctx, func(c *sql.Conn) error {
		bg := context.Background()
		var id, due int64
		err := c.QueryRowContext(bg, `SELECT s.id, s.due_at FROM subjects s JOIN subject_ids x ON x.subject = s.id WHERE x.subject_id = ?`, subjectID).Scan(&id, &due)
		if errors.Is(err, sql.ErrNoRows) {
			return fmt.Errorf("subject %s: %w", subjectID, ErrUnknown)
		}
		if err != nil {
			return err
		}
		former = time.UnixMilli(due).UTC()
		if !until.After(former) {
			return fmt.Errorf("subject %s is due on %s already: an extension must be later", subjectID, former.Format(time.DateOnly))
		}
		if _, err := c.ExecContext(bg, `UPDATE subjects SET due_at=? WHERE id=?`, millis(until), id); err != nil {
			return err
		}
		if _, err := c.ExecContext(bg, `UPDATE tasks SET due_at=? WHERE id BETWEEN ?*1000 AND ?*1000+999 AND state < 6`, millis(until), id, id); err != nil {
			return err
		}
		_, err = c.ExecContext(bg, `INSERT INTO decisions (at, who, action, subject, note, until) VALUES (?,?,'extend',?,?,?)`,
			millis(d.At), d.Who, id, nullText(d.Note), millis(until))
		return err
	})
	return former, err
}
