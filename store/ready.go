package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"time"
)

// Ready tasks are found by the blocks that table ready lists. To list one block of a
// thousand subjects costs nothing next to an index entry for each of their tasks, and tasks
// that are neighbours in the file are worked on together, which is what keeps updates
// cheap (LIMITS.md, section 2). The price is that the tasks of a block are read once for
// each day on which some of them are due.

// blockTasks is the number of task ids in a block.
const blockTasks = 1000 * TasksPerSubject

// readyBlock is a block in which a vendor has ready tasks that are due on a day.
type readyBlock struct{ day, block int64 }

func blockOf(due, subject int64) readyBlock {
	return readyBlock{day: due / int64(day/time.Second), block: subject * TasksPerSubject / blockTasks}
}

// bounds are those of the block's ids and due dates, as sqlInBlock takes them.
func (b readyBlock) bounds() (firstID, lastID, firstDue, lastDue int64) {
	const width = int64(day / time.Second)
	return b.block * blockTasks, (b.block+1)*blockTasks - 1, b.day * width, (b.day+1)*width - 1
}

const (
	sqlInBlock   = `t.next_at=0 AND t.vendor=?1 AND t.id BETWEEN ?2 AND ?3 AND t.due_at BETWEEN ?4 AND ?5`
	sqlNextBlock = `SELECT day, block FROM ready WHERE vendor=? AND (day, block)>(?, ?) ORDER BY day, block LIMIT 1`
	sqlList      = `INSERT INTO ready VALUES (?,?,?,?) ON CONFLICT DO UPDATE SET tasks = tasks + excluded.tasks`
	sqlUnlist    = `DELETE FROM ready WHERE vendor=?1 AND day=?6 AND block=?7 AND NOT EXISTS (SELECT 1 FROM tasks t WHERE ` + sqlInBlock + `)`
)

// Cursor remembers how far the ready tasks of a vendor have been claimed in this run.
// The zero Cursor begins at the most urgent one.
type Cursor struct {
	at     readyBlock
	within bool // at has more
	id     int64
	passed []readyBlock // nothing in them is left to claim
}

// ClaimReady returns up to limit tasks of the vendor that are ready, the most urgent (by
// the day on which they are due) first, from where the cursor stands, and moves the cursor.
// Fewer than limit means that there are no more. A claim is not written: the intent to
// submit is the mark.
func (s *Store) ClaimReady(ctx context.Context, vendor int64, c *Cursor, limit int) ([]Work, error) {
	var work []Work
	for len(work) < limit {
		if !c.within {
			err := s.read.QueryRowContext(ctx, sqlNextBlock, vendor, c.at.day, c.at.block).Scan(&c.at.day, &c.at.block)
			if errors.Is(err, sql.ErrNoRows) {
				break
			}
			if err != nil {
				return nil, explain(err)
			}
			c.within, c.id = true, -1
		}
		first, last, from, to := c.at.bounds()
		wanted := limit - len(work)
		more, err := s.claim(ctx, sqlClaim+sqlInBlock+` ORDER BY t.id LIMIT ?6`, vendor, max(first, c.id+1), last, from, to, wanted)
		if err != nil {
			return nil, err
		}
		work = append(work, more...)
		if len(more) == wanted {
			c.id = more[wanted-1].ID
			continue
		}
		c.within = false
		if len(c.passed) < maxPassed {
			c.passed = append(c.passed, c.at)
		}
	}
	return work, s.unlist(ctx, vendor, c)
}

// maxPassed is how many blocks a cursor remembers to take off the list. What it forgets
// costs a later run one look.
const maxPassed = 1 << 14

// unlist takes blocks off the list that have been gone through, once none of their tasks is
// ready any more, so that no later run goes through what is finished. It looks at a few of
// them in a call.
func (s *Store) unlist(ctx context.Context, vendor int64, c *Cursor) error {
	if s.write == nil {
		return nil
	}
	for range min(4, len(c.passed)) {
		b := c.passed[0]
		c.passed = c.passed[1:]
		first, last, from, to := b.bounds()
		args := []any{vendor, first, last, from, to, b.day, b.block}
		var left bool
		if err := s.read.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM tasks t WHERE `+sqlInBlock+`)`, args[:5]...).Scan(&left); err != nil {
			return explain(err)
		}
		if left {
			c.passed = append(c.passed, b)
			continue
		}
		// Asked again: a task may have become ready since.
		if err := s.inTx(ctx, func(conn *sql.Conn) error {
			_, err := conn.ExecContext(context.Background(), sqlUnlist, args...)
			return err
		}); err != nil {
			return err
		}
	}
	return nil
}

// listReady lists the blocks of new tasks.
func listReady(c driver.Conn, blocks map[vendorBlock]int64) error {
	q, err := prepare(c, sqlList, 0)
	if err != nil {
		return err
	}
	defer q.close()
	for b, tasks := range blocks {
		if _, err := q.each(nil, b.vendor, b.day, b.block, tasks); err != nil {
			return err
		}
	}
	return nil
}

type vendorBlock struct {
	vendor int64
	readyBlock
}

// countedBlocks is how many blocks OpenTasks counts itself: work is done from the front, so
// that those behind are what they were when they were listed.
const countedBlocks = 16

// OpenTasks counts what is left for the vendor's lane: ready, and scheduled. In a backlog of
// more than sixteen thousand subjects the number of ready tasks may be too high by some
// that were never this vendor's to do: those of rows that repeat others.
func (s *Store) OpenTasks(ctx context.Context, vendor int64) (ready, scheduled int64, err error) {
	err = s.read.QueryRowContext(ctx, `SELECT count(*) FROM tasks WHERE vendor=? AND next_at>0`, vendor).Scan(&scheduled)
	if err != nil {
		return 0, 0, explain(err)
	}
	err = s.read.QueryRowContext(ctx, `SELECT (SELECT coalesce(sum(tasks), 0) FROM (SELECT tasks FROM ready WHERE vendor=?1 ORDER BY day, block LIMIT -1 OFFSET ?2)) +
 (SELECT coalesce(sum((SELECT count(*) FROM tasks t WHERE t.next_at=0 AND t.vendor=?1 AND t.id BETWEEN r.block*1000000 AND r.block*1000000+999999
   AND t.due_at/86400=r.day)), 0) FROM (SELECT day, block FROM ready WHERE vendor=?1 ORDER BY day, block LIMIT ?2) r)`,
		vendor, countedBlocks).Scan(&ready)
	return ready, scheduled, explain(err)
}
