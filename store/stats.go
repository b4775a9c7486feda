package store

import (
	"context"
	"database/sql"
)

// Period counts tasks of a vendor, or requests as a whole, that are alike in all that
// statistics tell of them.
type Period struct {
	Month    string // of receipt: YYYY-MM, UTC
	Vendor   int64  // 0: requests as a whole
	State    State  // of the tasks; of requests see Outcome
	Evidence Evidence
	Closed   Closing
	Outcome  Outcome // of requests

	Days         sql.NullInt64 // whole days from receipt to the end, of what was erased or not found
	InTime       sql.NullBool  // settled by the due date; NULL: not settled, or skipped
	AnswerDays   sql.NullInt64 // whole days from receipt until the person was told, of requests
	AnswerInTime sql.NullBool  // told by the due date; NULL: not told, or skipped

	N int64
}

// Closing says how a person closed a failed task. The numbers are stored.
type Closing uint8

const (
	NotClosed Closing = 0
	Refused   Closing = 1 // rejected, or declined by the vendor's people
	GivenUp   Closing = 2 // for any other reason
)

// Outcome is what became of a request as a whole. The numbers are stored.
//
// The State of a request is Pending while any of its tasks is open, else Held while one is
// held, else Failed while one failed that nobody has closed. Of a request whose tasks are all
// settled it is Failed where one was closed, else Erased where something was erased, with the
// weakest evidence of it, else NotFound; Skipped where every task is.
type Outcome uint8

const (
	NoOutcome Outcome = 0 // not settled, or skipped
	InWhole   Outcome = 1 // erased or not found at every vendor
	InPart    Outcome = 2 // at some, and closed at others
	Denied    Outcome = 3 // at none
)

// sqlRefused is the condition that a closed task was refused. The reasons are two of the
// closed list of package batch.
const sqlRefused = `t.reason IN ('rejected','declined')`

// What is counted of tasks and of requests, with a condition on subjects s in between.
const (
	sqlMonth  = `strftime('%Y-%m', s.received_at, 'unixepoch')`
	sqlCounts = ` GROUP BY 1, 2, 3, 4, 5, 6, 7, 8, 9, 10`

	sqlTaskPeriods = `SELECT ` + sqlMonth + `, t.vendor, t.state, t.evidence,
 CASE WHEN t.closed_at IS NULL THEN 0 WHEN ` + sqlRefused + ` THEN 1 ELSE 2 END, 0,
 CASE WHEN t.state IN (6,7) THEN max(0, t.completed_at - s.received_at) / 86400 END,
 CASE WHEN t.state IN (6,7) OR t.closed_at IS NOT NULL THEN coalesce(t.closed_at, t.completed_at) <= t.due_at END,
 NULL, CASE WHEN t.state <> 8 THEN s.answered_at <= s.due_at END, count(*)
 FROM subjects s CROSS JOIN tasks t ON t.id BETWEEN s.id*1000 AND s.id*1000+999 WHERE `

	sqlRequestPeriods = `SELECT month, 0, CASE WHEN open THEN 0 WHEN held THEN 5 WHEN failed OR bad THEN 9 WHEN erased THEN 6 WHEN ok THEN 7 ELSE 8 END,
 CASE WHEN NOT (open OR held OR failed OR bad) THEN coalesce(erased, 0) ELSE 0 END,
 CASE WHEN open OR held OR failed OR NOT bad THEN 0 WHEN refused THEN 1 ELSE 2 END,
 CASE WHEN open OR held OR failed THEN 0 WHEN bad AND ok THEN 2 WHEN bad THEN 3 WHEN ok THEN 1 ELSE 0 END,
 CASE WHEN ok AND NOT (open OR held OR failed) THEN max(0, ended - received_at) / 86400 END,
 CASE WHEN (ok OR bad) AND NOT (open OR held OR failed) THEN in_time END,
 CASE WHEN answered_at IS NOT NULL THEN max(0, answered_at - received_at) / 86400 END,
 CASE WHEN open OR held OR failed OR bad OR ok THEN answered_at <= due_at END, count(*)
 FROM (SELECT ` + sqlMonth + ` AS month, s.received_at, s.due_at, s.answered_at,
  max(t.state < 5) AS open, max(t.state = 5) AS held, max(t.state = 9 AND t.closed_at IS NULL) AS failed, max(t.closed_at IS NOT NULL) AS bad,
  max(t.closed_at IS NOT NULL AND ` + sqlRefused + `) AS refused, max(t.state IN (6,7)) AS ok,
  max(CASE WHEN t.state = 6 THEN t.evidence END) AS erased, max(CASE WHEN t.state IN (6,7) THEN t.completed_at END) AS ended,
  min(CASE WHEN t.state <> 8 THEN coalesce(t.closed_at, t.completed_at) <= t.due_at END) AS in_time
  FROM subjects s CROSS JOIN tasks t ON t.id BETWEEN s.id*1000 AND s.id*1000+999 WHERE `
	sqlRequestCounts = ` GROUP BY s.id)` + sqlCounts

	sqlKeepPeriods = `INSERT INTO periods (month, vendor, state, evidence, closed, outcome, days, in_time, answer_days, answer_in_time, n) `
	sqlMerge       = ` ON CONFLICT (month, vendor, state, evidence, closed, outcome, coalesce(days, -1), coalesce(in_time, -1), coalesce(answer_days, -1), coalesce(answer_in_time, -1))
 DO UPDATE SET n = n + excluded.n`
)

// Periods calls fn for what is counted of the tasks and requests received from the month
// first to the month last ("": no bound), purged ones included. The same may come in several
// parts.
func (s *Store) Periods(ctx context.Context, first, last string, fn func(Period) error) error {
	if last == "" {
		last = "9000-12"
	}
	const live = `s.batch NOT IN (SELECT id FROM batches WHERE loading)
 AND s.received_at >= unixepoch(coalesce(nullif(?1, ''), '0001-01') || '-01') AND s.received_at < unixepoch(?2 || '-01', '+1 month')`
	for _, q := range []string{
		sqlTaskPeriods + live + sqlCounts,
		sqlRequestPeriods + live + sqlRequestCounts,
		`SELECT month, vendor, state, evidence, closed, outcome, days, in_time, answer_days, answer_in_time, n FROM periods WHERE month BETWEEN ?1 AND ?2`,
	} {
		rows, err := s.read.QueryContext(ctx, q, first, last)
		if err != nil {
			return explain(err)
		}
		for rows.Next() {
			var p Period
			if err = rows.Scan(&p.Month, &p.Vendor, &p.State, &p.Evidence, &p.Closed, &p.Outcome, &p.Days, &p.InTime, &p.AnswerDays, &p.AnswerInTime, &p.N); err == nil {
				err = fn(p)
			}
			if err != nil {
				rows.Close()
				return err
			}
		}
		if err := rows.Err(); err != nil {
			return explain(err)
		}
	}
	return nil
}

// keepPeriods counts subjects, given as a list in JSON, before they are dropped.
func keepPeriods(c *sql.Conn, subjects string) error {
	const listed = `s.id IN (SELECT value FROM json_each(?))`
	for _, q := range []string{
		sqlKeepPeriods + sqlTaskPeriods + listed + sqlCounts + sqlMerge,
		sqlKeepPeriods + sqlRequestPeriods + listed + sqlRequestCounts + sqlMerge,
	} {
		if _, err := c.ExecContext(context.Background(), q, subjects); err != nil {
			return err
		}
	}
	return nil
}
