package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
)

// Ready tasks are found by the blocks that table ready lists. To list one block of a
// thousand subjects costs nothing next to an index entry for each of their tasks, and tasks
// that are neighbours in the file are worked on together, which is what keeps updates
// cheap (LIMITS.md, section 2). The price is that the tasks of a block are read once for
// each hour in which some of them are due. A block without any is not on the list: what is
// finished costs nothing.

// blockTasks is the number of task ids in a block.
const blockTasks = 1000 * TasksPerSubject

// readyBlock is a block in which a vendor has ready tasks that are due within an hour.
type readyBlock struct{ vendor, hour, block int64 }

func blockOf(vendor, due, subject int64) readyBlock {
	return readyBlock{vendor: vendor, hour: due / 3600, block: subject * TasksPerSubject / blockTasks}
}

const (
	sqlNextBlock = `SELECT hour, block FROM ready WHERE vendor=? AND (hour, block)>(?, ?) ORDER BY hour, block LIMIT 1`
	sqlInBlock   = `t.next_at=0 AND t.vendor=? AND t.id BETWEEN ? AND ? AND t.due_at BETWEEN ? AND ? ORDER BY t.id LIMIT ?`
	sqlList      = `INSERT INTO ready VALUES (?,?,?,?) ON CONFLICT DO UPDATE SET tasks = tasks + excluded.tasks`
)

// Cursor remembers how far the ready tasks of a vendor have been claimed in this run.
// The zero Cursor begins at the most urgent one.
type Cursor struct {
	hour, block int64 // the block that was reached
	inside      bool  // it may have more
	next        int64 // the first task of it that has not been looked at
}

// ClaimReady returns up to limit tasks of the vendor that are ready, the most urgent (by
// the hour in which they are due) first, from where the cursor stands, and moves the
// cursor. Fewer than limit means that there are no more. A claim is not written: the intent
// to submit is the mark.
func (s *Store) ClaimReady(ctx context.Context, vendor int64, c *Cursor, limit int) ([]Work, error) {
	var work []Work
	for len(work) < limit {
		if !c.inside {
			err := s.read.QueryRowContext(ctx, sqlNextBlock, vendor, c.hour, c.block).Scan(&c.hour, &c.block)
			if errors.Is(err, sql.ErrNoRows) {
				break
			}
			if err != nil {
				return nil, explain(err)
			}
			c.inside, c.next = true, c.block*blockTasks
		}
		wanted := limit - len(work)
		more, err := s.claim(ctx, sqlClaim+sqlInBlock, vendor, c.next, (c.block+1)*blockTasks-1, c.hour*3600, c.hour*3600+3599, wanted)
		if err != nil {
			return nil, err
		}
		work = append(work, more...)
		if c.inside = len(more) == wanted; c.inside {
			c.next = more[wanted-1].ID + 1
		}
	}
	return work, nil
}

// listReady lists the blocks of new tasks.
func listReady(c driver.Conn, blocks map[readyBlock]int64) error {
	q, err := prepare(c, sqlList)
	if err != nil {
		return err
	}
	defer q.close()
	for b, tasks := range blocks {
		if _, err := q.each(nil, b.vendor, b.hour, b.block, tasks); err != nil {
			return err
		}
	}
	return nil
}

// OpenTasks counts what is left for the vendor's lane: ready, and scheduled.
func (s *Store) OpenTasks(ctx context.Context, vendor int64) (ready, scheduled int64, err error) {
	err = s.read.QueryRowContext(ctx, `SELECT (SELECT coalesce(sum(tasks), 0) FROM ready WHERE vendor=?1),
 (SELECT count(*) FROM tasks WHERE vendor=?1 AND next_at>0)`, vendor).Scan(&ready, &scheduled)
	return ready, scheduled, explain(err)
}
