package store

import (
	"context"
	"database/sql"
	"errors"
	"time"
)

// Answer says that a person was told what became of a request.
type Answer struct {
	SubjectID string
	At        time.Time
	Slack     time.Duration // how much later than At it may have been
	Channel   string        // how; "": not known
}

// AnswerResult is what became of an answer.
type AnswerResult uint8

const (
	Answered      AnswerResult = iota
	AnsweredAgain              // it was known: nothing has changed
	AnswerChanged              // another one was known, which it replaces
	AnswerUnknown              // there is no such subject
	AnswerPurged               // the subject was dropped by a purge
	AnswerEarly                // before the request was received
)

// RecordAnswers records answers, all or none of them, and returns what became of each.
func (s *Store) RecordAnswers(ctx context.Context, answers []Answer) ([]AnswerResult, error) {
	results := make([]AnswerResult, len(answers))
	err := s.inTx(ctx, func(c *sql.Conn) (err error) {
		for i := range answers {
			if results[i], err = s.recordAnswer(c, &answers[i]); err != nil {
				return err
			}
		}
		return nil
	})
	return results, err
}

func (s *Store) recordAnswer(c *sql.Conn, a *Answer) (AnswerResult, error) {
	bg := context.Background()
	var id, received, answered sql.NullInt64
	var channel sql.NullString
	err := c.QueryRowContext(bg, `SELECT s.id, s.received_at, s.answered_at, s.answer_channel FROM subject_ids x LEFT JOIN subjects s ON s.id = x.subject
 LEFT JOIN batches b ON b.id = s.batch WHERE x.subject_id = ? AND NOT coalesce(b.loading, 0)`, a.SubjectID).Scan(&id, &received, &answered, &channel)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return AnswerUnknown, nil
	case err != nil:
		return 0, err
	case !id.Valid:
		return AnswerPurged, nil
	case a.At.Add(a.Slack).Unix() < received.Int64:
		return AnswerEarly, nil
	}
	at := max(secs(a.At), received.Int64)
	result := Answered
	if answered.Valid {
		if result = AnswerChanged; answered.Int64 == at && channel.String == a.Channel {
			return AnsweredAgain, nil
		}
	}
	if _, err := c.ExecContext(bg, `UPDATE subjects SET answered_at=?, answer_channel=? WHERE id=?`, at, nullText(a.Channel), id.Int64); err != nil {
		return 0, err
	}
	return result, s.tell(c, func(w *writer) error {
		return w.tellSubject(EventAnswered, id.Int64, &EventBody{AnsweredAt: at, Channel: a.Channel})
	})
}

// Unanswered is a request that is finished and that nobody has been told of.
type Unanswered struct {
	SubjectID  string
	ReceivedAt time.Time
	DueAt      time.Time
}

// UnansweredCount counts such requests.
type UnansweredCount struct {
	Requests int64
	Overdue  int64 // of them, due before now
	AtRisk   int64 // of them, due from now to then
}

const sqlUnanswered = ` FROM subjects s WHERE s.answered_at IS NULL AND NOT EXISTS (SELECT 1 FROM batches b WHERE b.id = s.batch AND b.loading)
 AND NOT EXISTS (SELECT 1 FROM tasks t WHERE t.id BETWEEN s.id*1000 AND s.id*1000+999 AND ` + sqlUnsettled + `)`

// CountUnanswered counts the requests of which nothing is open any more and that nobody has
// been told of. It goes through all requests.
func (s *Store) CountUnanswered(ctx context.Context, now, then time.Time) (u UnansweredCount, err error) {
	err = s.read.QueryRowContext(ctx, `SELECT count(*), coalesce(sum(due_at < ?1), 0), coalesce(sum(due_at BETWEEN ?1 AND ?2), 0)`+sqlUnanswered, secs(now), secs(then)).
		Scan(&u.Requests, &u.Overdue, &u.AtRisk)
	return u, explain(err)
}

// Unanswered returns the limit most urgent of the requests that CountUnanswered counts.
func (s *Store) Unanswered(ctx context.Context, limit int) ([]Unanswered, error) {
	rows, err := s.read.QueryContext(ctx, `SELECT s.subject_id, s.received_at, s.due_at`+sqlUnanswered+` ORDER BY s.due_at, s.id LIMIT ?`, limit)
	if err != nil {
		return nil, explain(err)
	}
	defer rows.Close()
	var all []Unanswered
	for rows.Next() {
		var u Unanswered
		var received, due sql.NullInt64
		if err := rows.Scan(&u.SubjectID, &received, &due); err != nil {
			return nil, explain(err)
		}
		u.ReceivedAt, u.DueAt = fromSecs(received), fromSecs(due)
		all = append(all, u)
	}
	return all, explain(rows.Err())
}
