package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"
)

// day is the width of what Standing groups due dates into.
const day = 24 * time.Hour

// Standing counts the tasks of a vendor that are in one state and due on one day (UTC).
type Standing struct {
	Vendor      int64
	State       State
	Day         time.Time // when the day begins
	Tasks       int64
	Own         int64     // of them, those that follow no other task: each needs its own calls
	DueAt       time.Time // the earliest, closed ones left out
	NextAt      time.Time // the earliest of those scheduled
	Closed      int64     // of the failed ones, those that a person has closed
	Overdue     int64     // not settled, and due before now
	Unconfirmed int64     // waiting on people, and submitted before the time given
	Unserved    int64     // of the skipped ones, those of requests that every vendor skips; only these count in Overdue
}

// Standing counts all tasks that count (those of a batch that is still being taken in do
// not), in one reading.
func (s *Store) Standing(ctx context.Context, now, submittedBefore time.Time) ([]Standing, error) {
	rows, err := s.read.QueryContext(ctx, `SELECT vendor, state, due_at/?1 AS day, count(*), count(*) - count(follows), min(CASE WHEN closed_at IS NULL THEN due_at END), min(nullif(next_at, 0)), count(closed_at),
 sum(`+sqlUnsettled+` AND due_at < ?2), sum(state = 3 AND next_at IS NULL AND follows IS NULL AND submitted_at <= ?3)
 FROM (SELECT vendor, state, follows, next_at, submitted_at, closed_at, `+sqlDue+` AS due_at FROM tasks WHERE id < coalesce((SELECT min(first_subject)*1000 FROM batches WHERE loading), 9223372036854775807))
 GROUP BY vendor, state, day ORDER BY vendor, state, day`, int64(day/time.Second), now.Unix(), submittedBefore.Unix())
	if err != nil {
		return nil, explain(err)
	}
	defer rows.Close()
	var all []Standing
	for rows.Next() {
		var st Standing
		var days int64
		var due, next sql.NullInt64
		if err := rows.Scan(&st.Vendor, &st.State, &days, &st.Tasks, &st.Own, &due, &next, &st.Closed, &st.Overdue, &st.Unconfirmed); err != nil {
			return nil, explain(err)
		}
		st.Day = time.Unix(days*int64(day/time.Second), 0).UTC()
		st.DueAt, st.NextAt = fromSecs(due), fromMillis(next)
		all = append(all, st)
	}
	if err := rows.Err(); err != nil {
		return nil, explain(err)
	}
	return all, s.unserved(ctx, now, all)
}

// unserved counts the tasks of requests that every vendor skips, into what Standing counts. Such
// requests are not taken in any more: mostly there is no shape of them.
func (s *Store) unserved(ctx context.Context, now time.Time, all []Standing) error {
	var some bool
	if err := s.read.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM shapes GROUP BY shape HAVING min(state) = ?)`, Skipped).Scan(&some); err != nil || !some {
		return explain(err)
	}
	rows, err := s.read.QueryContext(ctx, `SELECT vendor, due_at/?1 AS day, count(*), min(due_at), sum(due_at < ?2) FROM tasks
 WHERE id/1000 IN (SELECT id FROM subjects WHERE shape IN (SELECT shape FROM shapes GROUP BY shape HAVING min(state) = ?3))
 AND id < coalesce((SELECT min(first_subject)*1000 FROM batches WHERE loading), 9223372036854775807) GROUP BY vendor, day`, int64(day/time.Second), now.Unix(), Skipped)
	if err != nil {
		return explain(err)
	}
	defer rows.Close()
	for rows.Next() {
		var vendor, days, tasks, overdue int64
		var due sql.NullInt64
		if err := rows.Scan(&vendor, &days, &tasks, &due, &overdue); err != nil {
			return explain(err)
		}
		for i := range all {
			if st := &all[i]; st.Vendor == vendor && st.State == Skipped && st.Day.Unix() == days*int64(day/time.Second) {
				st.Unserved, st.Overdue, st.DueAt = tasks, overdue, fromSecs(due)
			}
		}
	}
	return explain(rows.Err())
}

// Request is one subject's request.
type Request struct {
	SubjectID  string
	Batch      int64
	ReceivedAt time.Time
	DueAt      time.Time
}

// OpenRequest returns a request with an unsettled task that is due at the given time; ok is
// false when there is none.
func (s *Store) OpenRequest(ctx context.Context, due time.Time) (r Request, ok bool, err error) {
	var received, at int64
	err = s.read.QueryRowContext(ctx, `SELECT s.subject_id, s.batch, s.received_at, s.due_at FROM tasks t JOIN subjects s ON s.id = t.id/1000
 WHERE `+sqlUnsettled+` AND t.due_at = ? AND s.due_at = t.due_at LIMIT 1`, due.Unix()).Scan(&r.SubjectID, &r.Batch, &received, &at)
	if errors.Is(err, sql.ErrNoRows) {
		return Request{}, false, nil
	}
	r.ReceivedAt, r.DueAt = time.Unix(received, 0).UTC(), time.Unix(at, 0).UTC()
	return r, err == nil, explain(err)
}

// LastRun returns the newest run that ended with one of the exit codes, or without any the
// newest run at all; ok is false when there is none.
func (s *Store) LastRun(ctx context.Context, codes ...int) (r Run, ok bool, err error) {
	where, args := "", []any(nil)
	if len(codes) > 0 {
		where = " WHERE exit_code IN (?" + strings.Repeat(",?", len(codes)-1) + ")"
		for _, c := range codes {
			args = append(args, c)
		}
	}
	var start, end sql.NullInt64
	err = s.read.QueryRowContext(ctx, `SELECT id, started_at, ended_at, coalesce(exit_code, -1), version, config FROM runs`+where+` ORDER BY id DESC LIMIT 1`, args...).
		Scan(&r.ID, &start, &end, &r.ExitCode, &r.Version, &r.Config)
	if errors.Is(err, sql.ErrNoRows) {
		return Run{}, false, nil
	}
	if err != nil {
		return Run{}, false, fmt.Errorf("store: %w", explain(err))
	}
	r.StartedAt, r.EndedAt = fromSecs(start), fromSecs(end)
	return r, true, nil
}

// LastSound returns when the newest run ended, or began where it was killed, of those that did
// not end with the exit code refused; ok is false where there is none.
func (s *Store) LastSound(ctx context.Context, refused int) (at time.Time, ok bool, err error) {
	var end sql.NullInt64
	err = s.read.QueryRowContext(ctx, `SELECT coalesce(ended_at, started_at) FROM runs WHERE coalesce(exit_code, -1) <> ? ORDER BY id DESC LIMIT 1`, refused).Scan(&end)
	if errors.Is(err, sql.ErrNoRows) {
		return time.Time{}, false, nil
	}
	return fromSecs(end), end.Valid, explain(err)
}

// CountRuns counts the runs by exit code; -1 stands for those that have not ended, or were
// killed.
func (s *Store) CountRuns(ctx context.Context) (map[int]int64, error) {
	rows, err := s.read.QueryContext(ctx, `SELECT coalesce(exit_code, -1), count(*) FROM runs GROUP BY 1`)
	if err != nil {
		return nil, explain(err)
	}
	defer rows.Close()
	all := map[int]int64{}
	for rows.Next() {
		var code int
		var n int64
		if err := rows.Scan(&code, &n); err != nil {
			return nil, explain(err)
		}
		all[code] = n
	}
	return all, explain(rows.Err())
}
