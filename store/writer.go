package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"
)

// maxGroup bounds how many changes share a commit.
const maxGroup = 512

// op is one unit of work for the writer: changes of a task that share a commit with others
// (change), a transaction of its own (own), or a statement that must not be in one (bare).
type op struct {
	change *Change
	own    func(c *sql.Conn) error
	bare   func(c *sql.Conn) error
	wait   bool        // somebody waits for it, so that the commit should not
	done   func(error) // called once, after the commit, from the writer goroutine
	err    error
}

type writer struct {
	s    *Store
	conn *sql.Conn
	st   statements
	next *op // taken from the queue, not yet done
}

func newWriter(ctx context.Context, s *Store) (*writer, error) {
	conn, err := s.write.Conn(ctx)
	if err != nil {
		return nil, fmt.Errorf("store: %w", explain(err))
	}
	w := &writer{s: s, conn: conn}
	if err := w.st.prepare(conn); err != nil {
		w.st.close()
		conn.Close()
		return nil, fmt.Errorf("store: %w", explain(err))
	}
	return w, nil
}

func (w *writer) loop() {
	defer w.conn.Close()
	defer w.st.close()
	for {
		first := w.next
		w.next = nil
		if first == nil {
			var open bool
			if first, open = <-w.s.ops; !open {
				return
			}
		}
		if p := w.s.failed.Load(); p != nil {
			first.done(*p)
			continue
		}
		switch {
		case first.own != nil:
			w.alone(first)
		case first.bare != nil:
			first.done(explain(first.bare(w.conn)))
		default:
			// Raw lends us the connection that the prepared statements belong to.
			w.conn.Raw(func(any) error { w.group(first); return nil })
		}
	}
}

// alone runs a transaction of its own. Its failure is its caller's, not the store's.
func (w *writer) alone(o *op) {
	err := w.conn.Raw(func(any) error { return w.begin() })
	if err == nil {
		err = o.own(w.conn)
		w.conn.Raw(func(any) error {
			if err != nil {
				w.rollback()
			} else {
				err = w.commit()
			}
			return nil
		})
	}
	o.done(explain(err))
}

// group applies the first change and those that arrive soon after it, and commits them
// together. The writer waits for further changes a moment at most, and no longer than until
// a quarter of the goroutines that work on tasks have handed one in: they idle meanwhile,
// and the later ones are not worth that. Where few work, a commit holds one change
// (LIMITS.md, group commit).
func (w *writer) group(first *op) {
	err := w.begin()
	group := make([]*op, 0, maxGroup)
	waiting := int64(0)
	var timer *time.Timer
	add := func(o *op) {
		group = append(group, o)
		if o.wait {
			waiting++
		}
		if err == nil {
			o.err = w.apply(o.change)
			if o.err != nil && !errors.Is(o.err, ErrConflict) {
				err = o.err
			}
		}
	}
	add(first)
collect:
	for len(group) < maxGroup && err == nil {
		select {
		case o, open := <-w.s.ops:
			if !open {
				break collect
			}
			if o.change == nil {
				w.next = o
				break collect
			}
			add(o)
			continue
		default:
		}
		if 4*waiting >= w.s.workers.Load() {
			break
		}
		if timer == nil {
			timer = time.NewTimer(w.s.lag)
			defer timer.Stop()
		}
		select {
		case o, open := <-w.s.ops:
			if !open {
				break collect
			}
			if o.change == nil {
				w.next = o
				break collect
			}
			add(o)
		case <-timer.C:
			break collect
		}
	}
	if err == nil {
		err = w.commit()
	} else {
		w.rollback()
	}
	if err != nil {
		// A group that cannot be committed means that nothing can: the disk, or our own
		// mistake. Everything after it would rest on what is not there.
		err = fmt.Errorf("store: %w", explain(err))
		w.s.failed.Store(&err)
	}
	for _, o := range group {
		if err != nil {
			o.done(err)
		} else {
			o.done(o.err)
		}
	}
}

func (w *writer) begin() error {
	_, err := w.st.begin.each(nil)
	return err
}

func (w *writer) rollback() { w.st.rollback.each(nil) }

// commit makes the transaction durable. The file is looked at before anybody is told.
func (w *writer) commit() error {
	if _, err := w.st.commit.each(nil); err != nil {
		w.rollback()
		return err
	}
	return w.s.checkFile()
}

// Working tells the writer that n more (or, negative, fewer) goroutines are at work on
// tasks, each of which may wait for a commit: that is how it knows whether company is to
// be expected.
func (s *Store) Working(n int) { s.workers.Add(int64(n)) }

// inTx runs fn in a transaction of its own and returns when it is on disk. It is the only
// way to write besides Apply. No network call belongs into fn.
func (s *Store) inTx(ctx context.Context, fn func(c *sql.Conn) error) error {
	if s.write == nil {
		return errors.New("store: opened read-only")
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	done := make(chan error, 1)
	s.ops <- &op{own: fn, wait: true, done: func(err error) { done <- err }}
	return <-done
}

// Flush returns when every change that was given before it is on disk, or the error for
// which the store takes no more changes.
func (s *Store) Flush() error {
	return s.inTx(context.Background(), func(*sql.Conn) error { return nil })
}

// Err returns the failure after which the store takes no more changes, or nil.
func (s *Store) Err() error {
	if p := s.failed.Load(); p != nil {
		return *p
	}
	return nil
}
