package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/gofrs/flock"
	"github.com/mattn/go-sqlite3"

	"expunge/store/atomicfile"
)

// ErrNotStore: a file is no store of this program, or not a whole one.
var ErrNotStore = errors.New("it is no store of expunge, or not a whole one")

// Copy is a copy of a store that has no name yet. It is made, opened and changed in a folder of its
// own, whose name is hidden, and gets its name when it is whole: a program that is killed before
// leaves the folder, which the next copy to that name removes.
type Copy struct {
	to   string
	dir  string
	lock *flock.Flock
}

// copyPages is how many pages are copied between two looks at the context: 16 MiB.
const copyPages = 1024

// NewCopy copies the store in the file at from, as it stands at one moment, also while a run writes
// to it. It is to be found at to, where nothing is yet (fs.ErrExist). live says that somebody may
// write to it; what is not live can be on a disk that cannot be written. The copy ends with Link or
// Discard. Errors: ErrNotStore, and what the file system or SQLite says.
func NewCopy(ctx context.Context, from, to string, live bool) (_ *Copy, err error) {
	f, _, err := atomicfile.OpenRegular(from)
	if err != nil {
		return nil, err
	}
	f.Close()
	if _, err := os.Lstat(to); err == nil {
		return nil, fmt.Errorf("%s: %w", to, fs.ErrExist)
	}
	c, err := newCopy(to)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			c.Discard()
		}
	}()
	params := "mode=ro&_query_only=on"
	if st, err := os.Stat(from + "-wal"); !live && (err != nil || st.Size() == 0) {
		params = "immutable=1&" + params
	}
	if err := c.fill(ctx, from, params); err != nil {
		return nil, fmt.Errorf("%s: %w", from, asNotStore(err))
	}
	return c, nil
}

// newCopy makes the folder, and removes those that killed programs left.
func newCopy(to string) (*Copy, error) {
	prefix := "." + filepath.Base(to) + ".copy-"
	entries, err := os.ReadDir(filepath.Dir(to))
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		if left := filepath.Join(filepath.Dir(to), e.Name()); strings.HasPrefix(e.Name(), prefix) && e.IsDir() {
			lock := flock.New(filepath.Join(left, "lock"), flock.SetPermissions(0o600))
			if mine, err := lock.TryLock(); err == nil && mine { // nobody works on it
				err := os.RemoveAll(left)
				if err = errors.Join(err, lock.Unlock()); err != nil {
					return nil, err
				}
			}
		}
	}
	dir, err := os.MkdirTemp(filepath.Dir(to), prefix) // mode 0700
	if err != nil {
		return nil, err
	}
	c := &Copy{to: to, dir: dir, lock: flock.New(filepath.Join(dir, "lock"), flock.SetPermissions(0o600))}
	switch mine, err := c.lock.TryLock(); {
	case err != nil:
		return nil, errors.Join(err, os.RemoveAll(dir))
	case !mine: // by a copy that took it for one that was left
		return nil, ErrLocked
	}
	return c, nil
}

// asNotStore is ErrNotStore where SQLite says that a file is none of its own, or is damaged.
func asNotStore(err error) error {
	var e sqlite3.Error
	if errors.As(err, &e) && (e.Code == sqlite3.ErrNotADB || e.Code == sqlite3.ErrCorrupt) {
		return fmt.Errorf("%w: %w", ErrNotStore, e)
	}
	return explain(err)
}

// fill copies page by page what is one state of the store: a transaction that reads keeps it.
func (c *Copy) fill(ctx context.Context, from, params string) error {
	f, err := os.OpenFile(c.Path(), os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	// The copy is worth nothing before it is whole, so that nothing is kept for undoing it.
	dst, err := open(c.Path(), "mode=rw&_journal_mode=OFF&_synchronous=OFF")
	if err != nil {
		return err
	}
	defer dst.Close()
	src, err := open(from, params)
	if err != nil {
		return err
	}
	defer src.Close()
	reading, err := src.Conn(ctx)
	if err != nil {
		return err
	}
	defer reading.Close()
	if _, err := reading.ExecContext(ctx, `BEGIN`); err != nil {
		return err
	}
	var id []byte
	var tables int
	if err := reading.QueryRowContext(ctx, `SELECT count(*) FROM sqlite_schema WHERE name IN ('meta', 'goose_db_version')`).Scan(&tables); err != nil {
		return err
	}
	if tables < 2 {
		return ErrNotStore
	}
	if err := reading.QueryRowContext(ctx, `SELECT value FROM meta WHERE name = 'store_id'`).Scan(&id); errors.Is(err, sql.ErrNoRows) {
		return ErrNotStore
	} else if err != nil {
		return err
	}
	writing, err := dst.Conn(ctx)
	if err != nil {
		return err
	}
	defer writing.Close()
	return writing.Raw(func(w any) error {
		return reading.Raw(func(r any) error {
			to, ok := w.(*sqlite3.SQLiteConn)
			from, ok2 := r.(*sqlite3.SQLiteConn)
			if !ok || !ok2 {
				return errForm
			}
			b, err := to.Backup("main", from, "main")
			if err != nil {
				return err
			}
			for done := false; !done && err == nil; {
				if err = ctx.Err(); err == nil {
					done, err = b.Step(copyPages)
				}
			}
			return errors.Join(err, b.Finish())
		})
	})
}

// Path is where the copy is as long as it has no name.
func (c *Copy) Path() string { return filepath.Join(c.dir, "store.db") }

// Link makes the copy durable and gives it its name, which must be free (fs.ErrExist). It must not
// be open.
func (c *Copy) Link() error {
	defer c.Discard()
	f, err := os.OpenFile(c.Path(), os.O_RDWR, 0)
	if err != nil {
		return err
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return err
	}
	if st, err := os.Stat(c.Path() + "-wal"); err == nil && st.Size() > 0 {
		return fmt.Errorf("%s: not all of the copy is in one file", c.to)
	}
	if err := os.Link(c.Path(), c.to); err != nil {
		return err
	}
	return atomicfile.SyncDir(filepath.Dir(c.to))
}

// Discard leaves nothing of the copy but what Link has given a name.
func (c *Copy) Discard() {
	os.RemoveAll(c.dir) // if it fails, the next copy tries again
	c.lock.Unlock()
}
