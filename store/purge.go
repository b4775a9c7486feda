package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// PurgeFilter says which finished subjects are meant.
type PurgeFilter struct {
	Before time.Time // the last of the subject's tasks was completed before this
	Failed bool      // also subjects with a failed task that nobody has closed
}

// Purged counts what a purge drops, or would drop.
type Purged struct {
	Subjects int64
	Tasks    int64
	Rejects  int64 // refused rows, of batches without any subject left
	Failed   int64 // subjects that stay because a task of them failed and nobody has closed it
	Logged   int64 // of Subjects: those of which a certificate can be made until then
}

// A subject may go when it is finished: every task settled, none of them too young, and every
// export ended (exports go with their tasks, by foreign key). $failed lets those go too whose
// tasks failed and that nobody has closed. Batches that are being loaded have subjects without tasks.
const purgeable = `NOT EXISTS (SELECT 1 FROM batches b WHERE b.id = s.batch AND b.loading)
 AND NOT EXISTS (SELECT 1 FROM tasks t WHERE t.id BETWEEN s.id*1000 AND s.id*1000+999
  AND (t.state < 6 OR max(t.completed_at, coalesce(t.closed_at, 0)) >= $before OR (t.state = 9 AND t.closed_at IS NULL AND NOT $failed)))
 AND NOT EXISTS (SELECT 1 FROM exports e WHERE e.task BETWEEN s.id*1000 AND s.id*1000+999 AND e.state < 3)`

// Batches whose refused rows may go: all of their subjects are gone, and they are old.
const emptied = `NOT loading AND purged = subjects AND taken_at < $before`

func (f PurgeFilter) args() []any {
	return []any{sql.Named("before", secs(f.Before)), sql.Named("failed", f.Failed)}
}

// Purgeable counts what Purge would drop of subjects and tasks, and changes nothing.
func (s *Store) Purgeable(ctx context.Context, f PurgeFilter) (p Purged, err error) {
	count := func(f PurgeFilter) (p Purged, err error) {
		err = s.read.QueryRowContext(ctx, `SELECT count(*), coalesce(sum((SELECT count(*) FROM tasks t WHERE t.id BETWEEN s.id*1000 AND s.id*1000+999)), 0),
 coalesce(sum(s.secret IS NOT NULL), 0) FROM subjects s WHERE `+purgeable, f.args()...).Scan(&p.Subjects, &p.Tasks, &p.Logged)
		return p, explain(err)
	}
	if p, err = count(f); err != nil || f.Failed {
		return p, err
	}
	f.Failed = true
	all, err := count(f)
	p.Failed = all.Subjects - p.Subjects
	return p, err
}

// EachPurgeable calls fn with the subject ids of those whom Purge would drop and of whom a
// certificate can be made, in their order.
func (s *Store) EachPurgeable(ctx context.Context, f PurgeFilter, fn func(subjectID string) error) error {
	const page = 500
	for last := int64(0); ; {
		args := append(f.args(), sql.Named("after", last), sql.Named("limit", page))
		rows, err := s.read.QueryContext(ctx, `SELECT s.id, s.subject_id FROM subjects s WHERE s.id > $after AND s.secret IS NOT NULL AND `+purgeable+` ORDER BY s.id LIMIT $limit`, args...)
		if err != nil {
			return explain(err)
		}
		var names []string
		for rows.Next() {
			var name string
			if err := rows.Scan(&last, &name); err != nil {
				return errors.Join(err, rows.Close())
			}
			names = append(names, name)
		}
		if err := errors.Join(rows.Err(), rows.Close()); err != nil {
			return explain(err)
		}
		for _, name := range names {
			if err := fn(name); err != nil {
				return err
			}
		}
		if len(names) < page {
			return nil
		}
	}
}

// Purge drops finished subjects with their tasks, former references, exports' rows and
// decisions, and the refused rows of batches that have no subject left. The subject ids stay, so that the same
// ticket is never taken in again, and so do the batches with their counts, so that the
// control totals still balance. What the vault holds is not touched. It works in chunks, each of which is a whole: cut short, it
// is simply done again.
func (s *Store) Purge(ctx context.Context, f PurgeFilter) (p Purged, err error) {
	before, err := s.Purgeable(ctx, f)
	if err != nil {
		return p, err
	}
	p.Failed = before.Failed
	if before.Subjects > 0 {
		if _, err := s.Integrate(ctx); err != nil { // afterwards nobody could hash their events
			return p, err
		}
	}
	for last := int64(0); ; {
		var ids []int64
		err := s.inTx(ctx, func(c *sql.Conn) error {
			if ids, err = purgeChunk(c, f, last); err != nil || len(ids) == 0 {
				return err
			}
			tasks, err := dropSubjects(c, ids)
			if err != nil {
				return err
			}
			p.Tasks += tasks
			p.Subjects += int64(len(ids))
			// It is the newest event from now on, so that the numbers of those that went are not given again.
			return s.tell(c, func(w *writer) error {
				return w.tellAll(EventPurge, &EventBody{Subjects: int64(len(ids)), Tasks: tasks, Before: secs(f.Before)})
			})
		})
		if err != nil {
			return p, fmt.Errorf("store: purge: %w", err)
		}
		if len(ids) == 0 {
			break
		}
		last = ids[len(ids)-1]
	}
	err = s.inTx(ctx, func(c *sql.Conn) error {
		p.Rejects, err = dropRejects(c, f)
		return err
	})
	if err != nil {
		return p, fmt.Errorf("store: purge: %w", err)
	}
	return p, nil
}

// purgeChunk returns the ids of the next subjects that may go.
func purgeChunk(c *sql.Conn, f PurgeFilter, after int64) ([]int64, error) {
	args := append(f.args(), sql.Named("after", after), sql.Named("limit", chunk/4))
	rows, err := c.QueryContext(context.Background(), `SELECT s.id FROM subjects s WHERE s.id > $after AND `+purgeable+` ORDER BY s.id LIMIT $limit`, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var ids []int64
	for rows.Next() {
		var id int64
		if err := rows.Scan(&id); err != nil {
			return nil, err
		}
		ids = append(ids, id)
	}
	return ids, rows.Err()
}

func dropSubjects(c *sql.Conn, ids []int64) (tasks int64, err error) {
	list, err := json.Marshal(ids)
	if err != nil {
		return 0, err
	}
	events, err := eventsOf(c, string(list))
	if err != nil {
		return 0, err
	}
	if err := keepPeriods(c, string(list)); err != nil {
		return 0, err
	}
	const each = ` FROM json_each(?) j CROSS JOIN `
	for _, q := range []string{
		// A task of another subject that followed one of these is final too, and stands on
		// its own from now on.
		`UPDATE tasks SET follows = NULL WHERE id IN (SELECT t.id` + each + `tasks t ON t.follows BETWEEN j.value*1000 AND j.value*1000+999)`,
		`DELETE FROM given_references WHERE task/1000 IN (SELECT value FROM json_each(?1)) AND (vendor, reference) IN
 (SELECT t.vendor, t.reference FROM json_each(?1) j CROSS JOIN tasks t ON t.id BETWEEN j.value*1000 AND j.value*1000+999 WHERE t.reference IS NOT NULL
 UNION ALL SELECT t.vendor, f.reference FROM json_each(?1) j CROSS JOIN tasks t ON t.id BETWEEN j.value*1000 AND j.value*1000+999 JOIN former_references f ON f.task = t.id)`,
		`DELETE FROM former_references WHERE task IN (SELECT t.id` + each + `tasks t ON t.id BETWEEN j.value*1000 AND j.value*1000+999)`,
		`DELETE FROM decisions WHERE subject IN (SELECT value FROM json_each(?))`,
		`DELETE FROM additions WHERE subject IN (SELECT value FROM json_each(?))`,
		`UPDATE batches SET purged = purged + g.n FROM (SELECT s.batch, count(*) AS n` + each + `subjects s ON s.id = j.value GROUP BY s.batch) g WHERE g.batch = batches.id`,
		`DELETE FROM subjects WHERE id IN (SELECT value FROM json_each(?))`,
		`DELETE FROM tasks WHERE id IN (SELECT t.id` + each + `tasks t ON t.id BETWEEN j.value*1000 AND j.value*1000+999)`, // last: its count is returned
	} {
		res, err := c.ExecContext(context.Background(), q, string(list))
		if err != nil {
			return 0, err
		}
		if tasks, err = res.RowsAffected(); err != nil {
			return 0, err
		}
	}
	return tasks, dropEvents(c, events)
}

// dropEvents deletes events, given as a list in JSON or "" for none.
func dropEvents(c *sql.Conn, events string) error {
	if events == "" {
		return nil
	}
	_, err := c.ExecContext(context.Background(), `DELETE FROM events WHERE seq IN (SELECT value FROM json_each(?))`, events)
	return err
}

// eventsOf returns the numbers of all events of subjects and their tasks. Both are lists in JSON.
func eventsOf(c *sql.Conn, subjects string) (events string, err error) {
	err = c.QueryRowContext(context.Background(), `WITH RECURSIVE chain(seq) AS (
 SELECT s.event FROM json_each(?1) j CROSS JOIN subjects s ON s.id = j.value WHERE s.event IS NOT NULL
 UNION SELECT t.event FROM json_each(?1) j CROSS JOIN tasks t ON t.id BETWEEN j.value*1000 AND j.value*1000+999 WHERE t.event IS NOT NULL
 UNION SELECT e.prev FROM chain CROSS JOIN events e ON e.seq = chain.seq WHERE e.prev IS NOT NULL)
 SELECT json_group_array(seq) FROM chain`, subjects).Scan(&events)
	return events, err
}

func dropRejects(c *sql.Conn, f PurgeFilter) (int64, error) {
	bg, before := context.Background(), sql.Named("before", secs(f.Before))
	if _, err := c.ExecContext(bg, `UPDATE batches SET purged_rejects = purged_rejects + (SELECT count(*) FROM rejects r WHERE r.batch = batches.id) WHERE `+emptied, before); err != nil {
		return 0, err
	}
	res, err := c.ExecContext(bg, `DELETE FROM rejects WHERE batch IN (SELECT id FROM batches WHERE `+emptied+`)`, before)
	if err != nil {
		return 0, err
	}
	return res.RowsAffected()
}

// Compact rewrites the store's file without the room that deleted rows left, which it holds
// back from the file system otherwise (their content is zeroed on deletion). It needs as
// much free space as the store is large.
func (s *Store) Compact(ctx context.Context) error {
	if s.write == nil {
		return errors.New("store: opened read-only")
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	done := make(chan error, 1)
	s.ops <- &op{wait: true, done: func(err error) { done <- err }, bare: func(c *sql.Conn) error {
		_, err := c.ExecContext(context.Background(), `VACUUM`)
		return err
	}}
	if err := <-done; err != nil {
		return fmt.Errorf("store: compact: %w", err)
	}
	return nil
}
