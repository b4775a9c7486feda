package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"time"
)

// maxGroup bounds how many changes share a commit.
const maxGroup = 512

// Applier is a change that Apply can make: a Change of a task or an ExportChange.
type Applier interface {
	check() error          // whether the table of states has such a step
	apply(w *writer) error // inside the open transaction
}

// Apply makes the change and returns when it is on disk. ErrConflict says that the task, or
// the export, was not in state From; nothing has changed then. ErrTransition says that the
// table of states has no such step. Apply is not cut short by a context: what it records
// has happened.
func (s *Store) Apply(ch Applier) error {
	done := make(chan error, 1)
	s.queue(ch, true, func(err error) { done <- err })
	return <-done
}

// ApplyLater queues the change to share the next commit. done is called after that commit,
// from the writer's goroutine, and must not block.
func (s *Store) ApplyLater(ch Applier, done func(error)) { s.queue(ch, false, done) }

func (s *Store) queue(ch Applier, wait bool, done func(error)) {
	if s.write == nil {
		done(errors.New("store: opened read-only"))
	} else if err := ch.check(); err != nil {
		done(err)
	} else {
		s.ops <- &op{change: ch, wait: wait, done: done}
	}
}

// op is one unit of work for the writer: a change that shares a commit with others
// (change), a transaction of its own (own), or a statement that must not be in one (bare).
type op struct {
	change Applier
	own    func(c *sql.Conn) error
	bare   func(c *sql.Conn) error
	wait   bool        // somebody waits for it, so that the commit should not
	done   func(error) // called once, after the commit, from the writer goroutine
	err    error
}

type writer struct {
	s    *Store
	conn *sql.Conn
	raw  driver.Conn       // what conn is of the driver
	made map[string]*query // the statements that were prepared, by their text
	next *op               // taken from the queue, not yet done
	seq  int64             // of the newest event
}

func newWriter(ctx context.Context, s *Store) (*writer, error) {
	conn, err := s.write.Conn(ctx)
	if err != nil {
		return nil, fmt.Errorf("store: %w", explain(err))
	}
	w := &writer{s: s, conn: conn, made: map[string]*query{}}
	if err := conn.Raw(func(dc any) (err error) {
		var ok bool
		if w.raw, ok = dc.(driver.Conn); !ok {
			return fmt.Errorf("the driver's connection is a %T", dc)
		}
		return w.findSeq()
	}); err != nil {
		conn.Close()
		return nil, fmt.Errorf("store: %w", explain(err))
	}
	return w, nil
}

func (w *writer) loop() {
	defer w.conn.Close()
	defer func() {
		for _, q := range w.made {
			q.close()
		}
	}()
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
			if err != nil { // the events that it wrote are gone
				if again := w.findSeq(); again != nil {
					err = errors.Join(err, again)
				}
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
			o.err = o.change.apply(w)
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

// each runs a statement on the writer's connection, see query.each. It is prepared when it
// is run first, and kept.
func (w *writer) each(text string, fn func(row []driver.Value) error, args ...driver.Value) (int, error) {
	q := w.made[text]
	if q == nil {
		var err error
		if q, err = prepare(w.raw, text); err != nil {
			return 0, err
		}
		w.made[text] = q
	}
	return q.each(fn, args...)
}

func (w *writer) begin() error {
	_, err := w.each("BEGIN IMMEDIATE", nil)
	return err
}

func (w *writer) rollback() { w.each("ROLLBACK", nil) }

// commit makes the transaction durable. The file is looked at before anybody is told.
func (w *writer) commit() error {
	if _, err := w.each("COMMIT", nil); err != nil {
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
