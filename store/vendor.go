package store

import (
	"context"
	"database/sql"
	"fmt"
	"time"
)

// Vendor is a configured account as the store knows it.
type Vendor struct {
	ID          int64
	Name, Kind  string
	PausedUntil time.Time
	Place       string // where the account was when work was last done there; "": not known
	Seen        Sights
	Trouble     string    // why the last run could not do its work there, a code of package batch; "": it could
	TroubleAt   time.Time // since when
}

// Sights are the newest times at which a vendor account was seen to be the right one.
type Sights struct {
	Control time.Time // the control record was found
	Others  time.Time // a record of anybody else was
	Proved  time.Time // a person vouched for it
}

// VendorSpec is what the configuration says of a vendor.
type VendorSpec struct {
	Name, Kind string
	Fields     uint32 // the subject's fields it needs
}

// SyncVendors makes the configured vendors known to the store and returns all that it
// knows, by name; those that are no longer configured are among them.
func (s *Store) SyncVendors(ctx context.Context, specs []VendorSpec) (map[string]Vendor, error) {
	have, err := s.Vendors(ctx)
	if err != nil {
		return nil, err
	}
	if s.write == nil {
		return have, nil
	}
	err = s.inTx(ctx, func(c *sql.Conn) error {
		for _, v := range specs {
			if old, ok := have[v.Name]; ok && old.Kind != v.Kind {
				return fmt.Errorf("vendor %s was of kind %s when the store met it and is now %s: give the new account another name", v.Name, old.Kind, v.Kind)
			}
			if _, err := c.ExecContext(ctx, `INSERT INTO vendors (name, kind, fields) VALUES (?, ?, ?)
 ON CONFLICT (name) DO UPDATE SET fields = excluded.fields WHERE fields <> excluded.fields`, v.Name, v.Kind, v.Fields); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return s.Vendors(ctx)
}

// Vendors returns the vendors that the store knows, by name.
func (s *Store) Vendors(ctx context.Context) (map[string]Vendor, error) {
	rows, err := s.read.QueryContext(ctx, `SELECT id, name, kind, paused_until, coalesce(place, ''), seen_control_at, seen_others_at, proved_at,
 coalesce(trouble, ''), trouble_at FROM vendors`)
	if err != nil {
		return nil, explain(err)
	}
	defer rows.Close()
	all := map[string]Vendor{}
	for rows.Next() {
		var v Vendor
		var paused, control, others, proved, trouble sql.NullInt64
		if err := rows.Scan(&v.ID, &v.Name, &v.Kind, &paused, &v.Place, &control, &others, &proved, &v.Trouble, &trouble); err != nil {
			return nil, explain(err)
		}
		v.PausedUntil, v.TroubleAt = fromMillis(paused), fromSecs(trouble)
		v.Seen = Sights{Control: fromSecs(control), Others: fromSecs(others), Proved: fromSecs(proved)}
		all[v.Name] = v
	}
	return all, explain(rows.Err())
}

// PauseVendor records until when a vendor asked to be left alone.
func (s *Store) PauseVendor(ctx context.Context, vendor int64, until time.Time) error {
	return s.inTx(context.WithoutCancel(ctx), func(c *sql.Conn) error {
		_, err := c.ExecContext(context.Background(), `UPDATE vendors SET paused_until=? WHERE id=?`, millis(until), vendor)
		return err
	})
}

// SetPlace takes over the place of a vendor. Sights are of a place: they start anew.
func (s *Store) SetPlace(ctx context.Context, vendor int64, place string) error {
	return s.inTx(ctx, func(c *sql.Conn) error { return setPlace(c, vendor, place) })
}

func setPlace(c *sql.Conn, vendor int64, place string) error {
	_, err := c.ExecContext(context.Background(), `UPDATE vendors SET place=?, seen_control_at=NULL, seen_others_at=NULL, proved_at=NULL WHERE id=?`, place, vendor)
	return err
}

// Saw records the newest sights of a run. Those that are older than what is known, and a
// person's word, are left alone.
func (s *Store) Saw(ctx context.Context, vendor int64, seen Sights) error {
	return s.inTx(context.WithoutCancel(ctx), func(c *sql.Conn) error {
		_, err := c.ExecContext(context.Background(), `UPDATE vendors SET seen_control_at = nullif(max(coalesce(seen_control_at, 0), ?1), 0),
 seen_others_at = nullif(max(coalesce(seen_others_at, 0), ?2), 0) WHERE id = ?3`, secs(seen.Control), secs(seen.Others), vendor)
		return err
	})
}

// SetTrouble records why a run could not do its work at a vendor; "": it could. The time of
// a trouble that lasts stays that of its beginning.
func (s *Store) SetTrouble(ctx context.Context, vendor int64, code string, at time.Time) error {
	return s.inTx(context.WithoutCancel(ctx), func(c *sql.Conn) error {
		_, err := c.ExecContext(context.Background(), `UPDATE vendors SET trouble = ?1, trouble_at = CASE WHEN ?1 IS NOT NULL THEN ?2 END
 WHERE id = ?3 AND trouble IS NOT ?1`, nullText(code), secs(at), vendor)
		return err
	})
}

// Prove records a person's word that a vendor account is the right one, at a place, and ends
// the trouble that it has ended.
func (s *Store) Prove(ctx context.Context, vendor int64, place, trouble string, d Decision) error {
	d.Action = "prove"
	return s.decideVendor(ctx, vendor, d, func(c *sql.Conn) error {
		var known sql.NullString
		if err := c.QueryRowContext(context.Background(), `SELECT place FROM vendors WHERE id=?`, vendor).Scan(&known); err != nil {
			return err
		}
		if known.String != place {
			if err := setPlace(c, vendor, place); err != nil {
				return err
			}
		}
		if _, err := c.ExecContext(context.Background(), `UPDATE vendors SET proved_at=? WHERE id=?`, secs(d.At), vendor); err != nil {
			return err
		}
		return mended(c, vendor, trouble)
	})
}

// Moved records a person's word that work under way at a vendor is to go on at another place,
// and ends the trouble that it has ended.
func (s *Store) Moved(ctx context.Context, vendor int64, place, trouble string, d Decision) error {
	d.Action = "moved"
	return s.decideVendor(ctx, vendor, d, func(c *sql.Conn) error {
		if err := setPlace(c, vendor, place); err != nil {
			return err
		}
		return mended(c, vendor, trouble)
	})
}

// Lift records a person's word that a vendor need not be left alone any longer.
func (s *Store) Lift(ctx context.Context, vendor int64, d Decision) error {
	d.Action = "retry"
	return s.decideVendor(ctx, vendor, d, func(c *sql.Conn) error {
		_, err := c.ExecContext(context.Background(), `UPDATE vendors SET paused_until=0 WHERE id=?`, vendor)
		return err
	})
}

// mended ends the trouble of a vendor, if it is this one.
func mended(c *sql.Conn, vendor int64, trouble string) error {
	_, err := c.ExecContext(context.Background(), `UPDATE vendors SET trouble=NULL, trouble_at=NULL WHERE id=? AND trouble=?`, vendor, trouble)
	return err
}

func (s *Store) decideVendor(ctx context.Context, vendor int64, d Decision, change func(*sql.Conn) error) error {
	return s.inTx(ctx, func(c *sql.Conn) error {
		if err := change(c); err != nil {
			return err
		}
		res, err := c.ExecContext(context.Background(), `INSERT INTO decisions (at, who, action, vendor, note) VALUES (?,?,?,?,?)`,
			secs(d.At), d.Who, d.Action, vendor, nullText(d.Note))
		if err != nil {
			return err
		}
		id, err := res.LastInsertId()
		if err != nil {
			return err
		}
		kind, b := EventDecided, &EventBody{Vendor: vendor, Decision: id, Action: d.Action}
		if d.Action == "moved" {
			kind, b.Action = EventMoved, ""
		}
		return s.tell(c, func(w *writer) error { return w.tellAll(kind, b) })
	})
}

// UnderWay counts the unsettled tasks of a vendor that were, or may have been, submitted. It
// goes through all of the vendor's tasks.
func (s *Store) UnderWay(ctx context.Context, vendor int64) (n int64, err error) {
	err = s.read.QueryRowContext(ctx, `SELECT count(*) FROM tasks WHERE vendor = ? AND follows IS NULL AND `+sqlUnsettled+
		` AND submitted_at IS NOT NULL`, vendor).Scan(&n)
	return n, explain(err)
}

// AnyErased reports whether a task of a vendor ever ended as erased. It may go through all of
// the vendor's tasks.
func (s *Store) AnyErased(ctx context.Context, vendor int64) (any bool, err error) {
	err = s.read.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM tasks WHERE vendor = ? AND state = ? AND follows IS NULL)`, vendor, Erased).Scan(&any)
	return any, explain(err)
}

// ClampWaits makes everything of a vendor due now that is scheduled later than latest: a run
// under a clock that was ahead has scheduled it. It returns how much that was.
func (s *Store) ClampWaits(ctx context.Context, vendor int64, now, latest time.Time) (n int64, err error) {
	// Asked first, for it is almost never so, and needs no transaction then.
	var some bool
	if err := s.read.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM tasks WHERE vendor=?1 AND next_at>0 AND next_at>?2)
 OR EXISTS (SELECT 1 FROM exports WHERE vendor=?1 AND next_at>?2)`, vendor, latest.UnixMilli()).Scan(&some); err != nil || !some {
		return 0, explain(err)
	}
	err = s.inTx(ctx, func(c *sql.Conn) error {
		for _, table := range []string{`tasks`, `exports`} {
			res, err := c.ExecContext(context.Background(), `UPDATE `+table+` SET next_at=? WHERE vendor=? AND next_at>0 AND next_at>?`, now.UnixMilli(), vendor, latest.UnixMilli())
			if err != nil {
				return err
			}
			more, err := res.RowsAffected()
			if err != nil {
				return err
			}
			n += more
		}
		return nil
	})
	return n, err
}

// Adopt takes over from another store where a vendor account is, who was seen there, and until
// when it is to be left alone.
func (s *Store) Adopt(ctx context.Context, v Vendor) error {
	return s.inTx(ctx, func(c *sql.Conn) error {
		_, err := c.ExecContext(context.Background(), `UPDATE vendors SET place=?, seen_control_at=?, seen_others_at=?, proved_at=?, paused_until=? WHERE name=?`,
			nullText(v.Place), nullSecs(v.Seen.Control), nullSecs(v.Seen.Others), nullSecs(v.Seen.Proved), millis(v.PausedUntil), v.Name)
		return err
	})
}
