package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"expunge/store/seal"
)

// A rotation seals the store under a new key. It may be cut short at any point:
//
//  1. BeginRotation seals the lookup key and the log's key under the new key and keeps the old key, sealed
//     under the new one, in one commit. Before that commit the store opens with the old
//     key only, after it with the new key only. The new key is never sealed under the old
//     one: a copy of the store together with a stolen old key must not give it away.
//  2. FinishRotation reseals every subject, in chunks. Meanwhile everything works: what the
//     new key does not open, the old one does.
//  3. What the caller kept for the rotation, such as files with the keys, is removed.
//  4. The last commit drops the old key. So while anything is left of a rotation, the store
//     says so, and which key it replaces: files alone would not tell.
//
// What else gets sealed one day has to be resealed here too.

// ErrRotating: a rotation was begun and is not finished.
var ErrRotating = errors.New("a change of the key is not finished")

// resealChunk is how many subjects share a commit.
const resealChunk = 2000

// oldKeyPlace is where the old key is sealed to while a rotation is under way.
var oldKeyPlace = seal.Place{Table: "old_key"}

// withOldKey completes the box of a store whose key is being changed. wrapped is nil where
// it is not.
func (s *Store) withOldKey(box *seal.Box, wrapped []byte) (*seal.Box, error) {
	s.rotating, s.replaced = wrapped != nil, seal.Key{}
	if wrapped == nil {
		return box, nil
	}
	text, err := box.Open(nil, wrapped, oldKeyPlace)
	if err != nil {
		return nil, err
	}
	old, err := seal.ParseKey(string(text))
	if err != nil {
		return nil, err
	}
	oldBox, err := seal.NewBox(old, s.id)
	if err != nil {
		return nil, err
	}
	s.replaced = old
	return box.AlsoOpening(oldBox), nil
}

// Rotating reports whether a rotation was begun and is not finished.
func (s *Store) Rotating() bool { return s.rotating }

// Replaces reports whether a rotation is not finished that puts another key in the place
// of k.
func (s *Store) Replaces(k seal.Key) bool { return s.rotating && s.replaced == k }

// BeginRotation makes the store open with the key next instead of its present one. Both
// must be safe on disk (or wherever they are kept) before. It must not be called while
// others use the store. ErrRotating: another rotation has to be finished first.
func (s *Store) BeginRotation(ctx context.Context, next seal.Key) error {
	if s.rotating {
		return ErrRotating
	}
	old, err := s.o.Key(false)
	if err != nil {
		return err
	}
	if old == next {
		return errors.New("the new key is the present one")
	}
	box, err := seal.NewBox(next, s.id)
	if err != nil {
		return err
	}
	wrapped := box.Seal(nil, []byte(old.Text()), oldKeyPlace)
	both, err := s.withOldKey(box, wrapped)
	if err != nil {
		return err
	}
	err = s.inTx(ctx, func(c *sql.Conn) error {
		bg := context.Background()
		if _, err := c.ExecContext(bg, `INSERT INTO meta VALUES ('old_key', ?)`, wrapped); err != nil {
			return err
		}
		if _, err := c.ExecContext(bg, `UPDATE meta SET value = ? WHERE name = 'lookup_key'`,
			box.Seal(nil, s.lookup[:], lookupPlace)); err != nil {
			return err
		}
		if _, err := c.ExecContext(bg, `UPDATE meta SET value = ? WHERE name = 'log_keys'`, box.Seal(nil, s.log.seeds, logPlace)); err != nil {
			return err
		}
		return s.tell(c, func(w *writer) error { return w.tellAll(EventKey, nil) })
	})
	if err != nil {
		s.rotating, s.replaced = false, seal.Key{}
		return fmt.Errorf("store: change of the key: %w", err)
	}
	s.box = both
	return nil
}

// FinishRotation reseals what is left under the old key, calls tidy (which may be nil) and
// forgets that key. It returns how many subjects it resealed. Cut short, it is called again
// after the next Open; without a rotation it does nothing.
func (s *Store) FinishRotation(ctx context.Context, tidy func() error) (resealed int64, err error) {
	if !s.rotating {
		return 0, nil
	}
	for last := int64(0); ; {
		n := 0
		err := s.inTx(ctx, func(c *sql.Conn) error {
			rows, err := readSealed(c, last)
			if err != nil {
				return err
			}
			n = len(rows)
			st, err := c.PrepareContext(context.Background(), sqlReseal)
			if err != nil {
				return err
			}
			defer st.Close()
			for _, r := range rows {
				sealed, changed, err := s.box.Reseal(r.sealed, seal.Place{Table: "subjects", Row: r.id})
				if err != nil {
					return fmt.Errorf("subject %d: %w", r.id, err)
				}
				last = r.id
				if !changed {
					continue
				}
				if _, err := st.ExecContext(context.Background(), sealed, r.id); err != nil {
					return err
				}
				resealed++
			}
			return nil
		})
		if err != nil {
			return resealed, fmt.Errorf("store: change of the key: %w", err)
		}
		if n == 0 {
			break
		}
	}
	if tidy != nil {
		if err := tidy(); err != nil {
			return resealed, err
		}
	}
	err = s.inTx(ctx, func(c *sql.Conn) error {
		_, err := c.ExecContext(context.Background(), `DELETE FROM meta WHERE name = 'old_key'`)
		return err
	})
	if err != nil {
		return resealed, fmt.Errorf("store: change of the key: %w", err)
	}
	s.rotating, s.replaced = false, seal.Key{}
	return resealed, nil
}

type sealedRow struct {
	id     int64
	sealed []byte
}

// readSealed returns the subjects after the one with the given id, a chunk of them.
func readSealed(c *sql.Conn, after int64) ([]sealedRow, error) {
	rows, err := c.QueryContext(context.Background(), `SELECT id, sealed FROM subjects WHERE id > ? ORDER BY id LIMIT ?`, after, resealChunk)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	all := make([]sealedRow, 0, resealChunk)
	for rows.Next() {
		var r sealedRow
		if err := rows.Scan(&r.id, &r.sealed); err != nil {
			return nil, err
		}
		all = append(all, r)
	}
	return all, rows.Err()
}
