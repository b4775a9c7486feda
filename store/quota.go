package store

import (
	"context"
	"database/sql"
	"time"
)

const (
	quotaWindow = 24 * time.Hour
	quotaSlot   = 10 * time.Minute
)

// Quota keeps how many requests went to a vendor, for a limit per rolling 24 hours that
// holds across restarts. It counts in slots of ten minutes, and a slot counts for one slot
// longer than 24 hours, since what is reserved may leave a little later: never too few. What
// was counted under a clock that was ahead counts from now on, so that it neither gives more
// than the limit nor holds for longer than a day. It implements transport.Quota.
type Quota struct {
	S      *Store
	Vendor int64
	Limit  int64 // requests in any 24 hours
}

// Take reserves up to n requests, durably before it returns; what is reserved by a process
// that dies stays counted. granted 0 means none until next.
func (q Quota) Take(ctx context.Context, n int64) (granted int64, next time.Time, err error) {
	now := q.S.o.Now()
	slot := now.UnixMilli() / quotaSlot.Milliseconds()
	first := slot - int64(quotaWindow/quotaSlot) - 1 // the oldest slot from which something may have left within the window
	err = q.S.inTx(ctx, func(c *sql.Conn) error {
		bg := context.Background()
		if _, err := c.ExecContext(bg, `DELETE FROM quota WHERE vendor=? AND slot<?`, q.Vendor, first); err != nil {
			return err
		}
		if _, err := c.ExecContext(bg, `INSERT INTO quota SELECT vendor, ?2, sum(used) FROM quota WHERE vendor=?1 AND slot>?2 GROUP BY vendor
 ON CONFLICT DO UPDATE SET used = used + excluded.used`, q.Vendor, slot); err != nil {
			return err
		}
		if _, err := c.ExecContext(bg, `DELETE FROM quota WHERE vendor=? AND slot>?`, q.Vendor, slot); err != nil {
			return err
		}
		var used int64
		var oldest sql.NullInt64
		if err := c.QueryRowContext(bg, `SELECT coalesce(sum(used), 0), min(slot) FROM quota WHERE vendor=? AND used>0`, q.Vendor).Scan(&used, &oldest); err != nil {
			return err
		}
		granted = max(0, min(n, q.Limit-used))
		if granted == 0 {
			next = time.UnixMilli((oldest.Int64 + 2) * quotaSlot.Milliseconds()).Add(quotaWindow)
			return nil
		}
		_, err := c.ExecContext(bg, `INSERT INTO quota VALUES (?,?,?) ON CONFLICT DO UPDATE SET used = used + excluded.used`, q.Vendor, slot, granted)
		return err
	})
	return granted, next, err
}

// Return gives back what was reserved and not used, from the newest slots.
func (q Quota) Return(ctx context.Context, n int64) error {
	return q.S.inTx(context.WithoutCancel(ctx), func(c *sql.Conn) error {
		bg := context.Background()
		for n > 0 {
			var slot, used int64
			err := c.QueryRowContext(bg, `SELECT slot, used FROM quota WHERE vendor=? AND used>0 ORDER BY slot DESC LIMIT 1`, q.Vendor).Scan(&slot, &used)
			if err == sql.ErrNoRows {
				return nil
			}
			if err != nil {
				return err
			}
			back := min(n, used)
			if _, err := c.ExecContext(bg, `UPDATE quota SET used = used - ? WHERE vendor=? AND slot=?`, back, q.Vendor, slot); err != nil {
				return err
			}
			n -= back
		}
		return nil
	})
}
