package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"encoding/json"
)

// tellReceived writes the events by which the subjects of a batch are received, in their order.
// They are written when it is known which rows were refused, and count with the batch.
func (in *Intake) tellReceived(ctx context.Context) error {
	for first := in.batch.First; first <= in.batch.Last; first += chunk {
		upto := min(first+chunk-1, in.batch.Last)
		err := in.s.inTx(ctx, func(c *sql.Conn) error {
			return in.s.tell(c, func(w *writer) error { return w.tellReceived(first, upto) })
		})
		if err != nil {
			return err
		}
	}
	return nil
}

const (
	sqlReceivedRange = `SELECT count(*), coalesce(min(event), 0), coalesce(max(event), 0) FROM subjects WHERE id BETWEEN ? AND ?`
	sqlReceivedCount = `UPDATE subjects SET event = n.seq FROM (SELECT id, ?1 + row_number() OVER (ORDER BY id) AS seq FROM subjects WHERE id BETWEEN ?2 AND ?3) n
 WHERE subjects.id = n.id`
	// The last of a subject's own events before those of a batch that does not count.
	sqlUntellOwn = `UPDATE subjects SET event = (WITH RECURSIVE chain(seq) AS (SELECT subjects.event UNION SELECT e.prev FROM chain JOIN events e USING (seq))
 SELECT max(seq) FROM chain WHERE seq < (SELECT first_event FROM batches WHERE id = ?2)) WHERE id = ?1`
	sqlUntellLast = `UPDATE log SET last = (SELECT max(seq) FROM events WHERE task IS NULL) WHERE last >= (SELECT first_event FROM batches WHERE id = ? AND loading)`
	sqlTasksOf    = `INSERT INTO events (seq, task, prev, at, event, records, reference, body)
 SELECT ?1, id * 1000 + 999, event, ?2, ?3, length(marks) / 17, shape, ?4 FROM subjects WHERE id = ?5`
	sqlReceived = `INSERT INTO events (seq, task, at, event, records, reference)
 SELECT event, id * 1000 + 999, ?1, 1, length(marks) / 17, shape FROM subjects WHERE id BETWEEN ?2 AND ?3`
)

func (w *writer) tellReceived(first, last int64) error {
	var n, low, high int64
	_, err := w.each(sqlReceivedRange, func(row []driver.Value) error {
		var ok [3]bool
		n, ok[0] = row[0].(int64)
		low, ok[1] = row[1].(int64)
		high, ok[2] = row[2].(int64)
		if ok != [3]bool{true, true, true} {
			return errForm
		}
		return nil
	}, first, last)
	if n == 0 || err != nil {
		return err
	}
	// The subjects were given the numbers that their events have unless rows before them were
	// refused: to write them now would be as much work as the events themselves.
	if low != w.seq+1 || high != w.seq+n {
		if _, err := w.each(sqlReceivedCount, nil, w.seq, first, last); err != nil {
			return err
		}
	}
	if _, err := w.each(sqlReceived, nil, w.now(), first, last); err != nil {
		return err
	}
	w.seq += n
	return nil
}

// tellTasksOf writes that the tasks of a subject are others from now on: those of its shape.
func (w *writer) tellTasksOf(kind EventKind, subject int64, b *EventBody) error {
	body, err := b.text()
	if err != nil {
		return err
	}
	if _, err := w.each(sqlTasksOf, nil, w.seq+1, w.now(), int64(kind), body, subject); err != nil {
		return err
	}
	w.seq++
	_, err = w.each(sqlEventOwnPoint, nil, w.seq, subject)
	return err
}

// tellJoined writes where a task stands that follows one of an earlier batch.
func (w *writer) tellJoined(task int64, state State) error {
	switch state {
	case Waiting:
		return w.tellTasks(sqlEventJoined, EventSubmitted, nil, task)
	case Held:
		return w.tellTasks(sqlEventJoined, EventHeld, nil, task)
	}
	return nil
}

// addMarks appends those marks of the identifiers to a subject's that it does not have.
func (in *Intake) addMarks(marks, secret []byte, identifiers []Identifier) []byte {
	var have [256]int
	for at := 0; at < len(marks); at += markRoom {
		have[marks[at]]++
	}
	for _, i := range identifiers {
		if i.Nth == have[i.Field] {
			have[i.Field]++
			marks = appendMarks(marks, in.digest, secret, []Identifier{i})
		}
	}
	return marks
}

// untell takes back the events of a batch that does not count.
func (s *Store) untell(ctx context.Context, b Batch) error {
	for more := true; more; {
		err := s.inTx(ctx, func(c *sql.Conn) error {
			return s.tell(c, func(w *writer) error {
				n, err := w.each(`DELETE FROM events WHERE seq > ?1 - 50000 AND seq >= (SELECT first_event FROM batches WHERE id = ?2 AND loading) RETURNING 1`, nil, w.seq, b.ID)
				if more = n > 0; err != nil {
					return err
				}
				if _, err := w.each(sqlUntellLast, nil, b.ID); err != nil {
					return err
				}
				return w.findSeq()
			})
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// eventsBetween returns, as a list in JSON, the numbers of all events of the subjects with
// ids from first to last, and of their tasks.
func eventsBetween(c *sql.Conn, first, last int64) (events string, err error) {
	var ids string
	if err := c.QueryRowContext(context.Background(), `SELECT json_group_array(id) FROM subjects WHERE id BETWEEN ? AND ?`, first, last).Scan(&ids); err != nil {
		return "", err
	}
	return eventsOf(c, ids)
}

// eventsAbout returns, as a list in JSON, the numbers of all events of tasks.
func eventsAbout(c *sql.Conn, tasks []int64) (events string, err error) {
	ids, err := json.Marshal(tasks)
	if err != nil {
		return "", err
	}
	err = c.QueryRowContext(context.Background(), `WITH RECURSIVE chain(seq, task) AS (
 SELECT t.event, t.id FROM json_each(?) j CROSS JOIN tasks t ON t.id = j.value WHERE t.event IS NOT NULL
 UNION SELECT p.seq, p.task FROM chain CROSS JOIN events e ON e.seq = chain.seq JOIN events p ON p.seq = e.prev WHERE p.task = chain.task)
 SELECT json_group_array(seq) FROM chain`, string(ids)).Scan(&events)
	return events, err
}
