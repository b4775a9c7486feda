package store

import (
	"context"
	"crypto/rand"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gofrs/flock"
	"github.com/mattn/go-sqlite3"
	"github.com/pressly/goose/v3"

	"expunge/store/atomicfile"
	_ "expunge/store/needs" // first: says why it cannot be built
	"expunge/store/seal"
)

//go:embed migrations/*.sql
var migrations embed.FS

var (
	// ErrLocked: another run holds this store.
	ErrLocked = errors.New("another run holds this store")
	// ErrNoStore: there is no store at this path.
	ErrNoStore = errors.New("there is no store here yet")
	// ErrNewerSchema: a newer program wrote this store.
	ErrNewerSchema = errors.New("the store was written by a newer version of expunge")
	// ErrOlderSchema: an older program wrote this store, and it was opened to read.
	ErrOlderSchema = errors.New("the store was written by an older version of expunge")
	// ErrConflict: the task is not in the state that the change starts from.
	ErrConflict = errors.New("the task has moved on")
	// ErrGone: the store's file was removed or replaced while we had it open.
	ErrGone = errors.New("the store's file was removed or replaced while in use")
	// ErrTransition: the table has no such transition.
	ErrTransition = errors.New("this transition is not in the table")
)

// Options say how a store is opened.
type Options struct {
	// Key returns the key. create is true for a store that is new, where a missing key
	// may be made.
	Key func(create bool) (seal.Key, error)
	// ReadOnly opens an existing store without the run lock and without writing.
	ReadOnly bool
	// Existing refuses to make a store that is not there.
	Existing bool
	// Now is the clock.
	Now func() time.Time
	// Forget returns the subject's plain bytes without the fields outside keep (a bit
	// set), masked forms left behind. It is how the store drops what is no longer needed
	// without knowing what a field is.
	Forget func(plain []byte, keep uint32) ([]byte, error)
	// Kind names a field of a subject that is an identifier, for proofs.
	Kind func(field int) string
	// LogName is what the log is called from its first head on; "": by the store's id.
	LogName string
}

// Store is an open store. All methods are safe for concurrent use.
type Store struct {
	path     string
	o        Options
	id       []byte
	box      *seal.Box
	lookup   seal.LookupKey
	log      logKeys
	rotating bool     // see rotate.go
	replaced seal.Key // while rotating
	lock     *flock.Flock
	file     os.FileInfo
	write    *sql.DB // one connection, owned by the writer goroutine; nil when read-only
	read     *sql.DB

	w        *writer
	ops      chan *op
	writer   sync.WaitGroup
	workers  atomic.Int64 // see Working
	failed   atomic.Pointer[error]
	exported atomic.Bool   // there may be exports
	lag      time.Duration // longest wait for company before a commit
}

// Open opens the store at path, making it first if need be (mode 0600), and takes the run
// lock. Errors: ErrLocked, ErrNoStore (read-only or existing), ErrNewerSchema, ErrOlderSchema (read-only), seal.ErrNoKey,
// seal.ErrWrongKey, or what the file system or SQLite says.
func Open(ctx context.Context, path string, o Options) (_ *Store, err error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	s := &Store{path: path, o: o, ops: make(chan *op, 1024), lag: 10 * time.Millisecond}
	defer func() {
		if err != nil {
			s.release()
		}
	}()
	fresh, err := s.prepareFile()
	if err != nil {
		return nil, err
	}
	// A connection that only reads cannot switch the journal mode; the file says it is WAL.
	if s.read, err = open(path, "mode=ro&_query_only=on&_cache_size=-2000"); err != nil {
		return nil, err
	}
	s.read.SetMaxOpenConns(4)
	if o.ReadOnly {
		if err := s.checkSchema(ctx); err != nil {
			return nil, err
		}
		if err := s.loadKeys(ctx, false); err != nil {
			return nil, err
		}
		return s, s.openLog(ctx)
	}
	if s.write, err = open(path, "mode=rw&_foreign_keys=on&_journal_mode=WAL&_cache_size=-4000&_txlock=immediate&_synchronous=FULL&_secure_delete=on"); err != nil {
		return nil, err
	}
	s.write.SetMaxOpenConns(1)
	// The key comes before the schema is looked at, so that a key that cannot be had leaves
	// a store untouched.
	if !fresh {
		if err := s.mend(ctx); err != nil {
			return nil, err
		}
		if err := s.loadKeys(ctx, false); err != nil && !errors.Is(err, errNoMeta) {
			return nil, err
		}
		fresh = s.box == nil
	}
	if fresh {
		if err := s.setPageSize(ctx); err != nil {
			return nil, err
		}
	}
	if err := s.migrate(ctx); err != nil {
		return nil, err
	}
	if fresh {
		if err := s.initKeys(ctx); err != nil {
			return nil, err
		}
	}
	if err := s.openLog(ctx); err != nil {
		return nil, err
	}
	var exported bool
	if err := s.write.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM exports)`).Scan(&exported); err != nil {
		return nil, fmt.Errorf("store: %w", explain(err))
	}
	s.exported.Store(exported)
	w, err := newWriter(ctx, s)
	if err != nil {
		return nil, err
	}
	s.w = w
	s.writer.Go(w.loop)
	return s, nil
}

// mend lets SQLite undo what a program left half done that was killed while it made the
// store: a rollback journal, from before the file was in WAL mode. The connections that
// only read may not do that, and would refuse the store for ever.
func (s *Store) mend(ctx context.Context) error {
	var tables int
	if err := s.write.QueryRowContext(ctx, `SELECT count(*) FROM sqlite_schema`).Scan(&tables); err != nil {
		return fmt.Errorf("store: %w", explain(err))
	}
	return nil
}

// diskPage is the size of a page in bytes, four times SQLite's: an intake takes a seventh less
// time with fewer pages to write, and updates lose nothing by it, since neighbours are
// worked on together.
const diskPage = 16 << 10

// setPageSize gives a new file its page size, which must be said before anything is in it.
func (s *Store) setPageSize(ctx context.Context) error {
	db, err := open(s.path, "mode=rw")
	if err != nil {
		return err
	}
	defer db.Close()
	if _, err := db.ExecContext(ctx, fmt.Sprintf(`PRAGMA page_size = %d; PRAGMA journal_mode = WAL`, diskPage)); err != nil {
		return fmt.Errorf("store: %w", explain(err))
	}
	return nil
}

func open(path, params string) (*sql.DB, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	return sql.Open("sqlite3", "file:"+(&url.URL{Path: abs}).EscapedPath()+"?_busy_timeout=5000&_mutex=no&"+params)
}

// prepareFile checks or makes the file and takes the lock.
func (s *Store) prepareFile() (fresh bool, err error) {
	for _, end := range []string{"", "-wal", "-shm", "-journal", ".lock"} {
		if err := atomicfile.CheckTarget(s.path + end); err != nil {
			return false, fmt.Errorf("store: %w", err)
		}
	}
	st, err := os.Lstat(s.path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if s.o.ReadOnly || s.o.Existing {
			return false, fmt.Errorf("%w: %s", ErrNoStore, s.path)
		}
		fresh = true
	case err != nil:
		return false, fmt.Errorf("store: %w", err)
	}
	if s.o.ReadOnly {
		if st.Size() == 0 {
			return false, fmt.Errorf("%w: %s", ErrNoStore, s.path)
		}
		return false, nil
	}
	s.lock = flock.New(s.path+".lock", flock.SetPermissions(0o600))
	ok, err := s.lock.TryLock()
	if err != nil {
		return false, fmt.Errorf("store lock: %w", err)
	}
	if !ok {
		return false, ErrLocked
	}
	if fresh {
		f, err := os.OpenFile(s.path, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
		if err != nil {
			return false, fmt.Errorf("store: %w", err)
		}
		if err := f.Close(); err != nil {
			return false, fmt.Errorf("store: %w", err)
		}
	}
	if !fresh {
		// Asked before SQLite does: it would leave side files with the mode of a file that
		// cannot be written, which then cannot be written either.
		f, err := os.OpenFile(s.path, os.O_RDWR, 0)
		if err != nil {
			return false, fmt.Errorf("store: %w", err)
		}
		if err := f.Close(); err != nil {
			return false, fmt.Errorf("store: %w", err)
		}
	}
	if s.file, err = os.Lstat(s.path); err != nil {
		return false, fmt.Errorf("store: %w", err)
	}
	return fresh || s.file.Size() == 0, nil
}

func (s *Store) provider(db *sql.DB) (*goose.Provider, error) {
	dir, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return nil, err
	}
	return goose.NewProvider(goose.DialectSQLite3, db, dir, goose.WithDisableGlobalRegistry(true))
}

func (s *Store) migrate(ctx context.Context) error {
	p, err := s.provider(s.write)
	if err != nil {
		return fmt.Errorf("store: migrations: %w", err)
	}
	have, want, err := p.GetVersions(ctx)
	if err != nil {
		return fmt.Errorf("store: %w", explain(err))
	}
	if have > want {
		return fmt.Errorf("%w (schema %d, this program knows %d)", ErrNewerSchema, have, want)
	}
	if have == want {
		return nil
	}
	if _, err := p.Up(ctx); err != nil {
		return fmt.Errorf("store: migration: %w", explain(err))
	}
	return nil
}

func (s *Store) checkSchema(ctx context.Context) error {
	var have int64
	err := s.read.QueryRowContext(ctx, `SELECT coalesce(max(version_id), 0) FROM goose_db_version WHERE is_applied`).Scan(&have)
	if err != nil {
		return fmt.Errorf("store: %w", explain(err))
	}
	files, err := fs.Glob(migrations, "migrations/*.sql")
	if err != nil {
		return err
	}
	newest, err := goose.NumericComponent(slices.Max(files))
	if err != nil {
		return err
	}
	if have > newest {
		return fmt.Errorf("%w (schema %d, this program knows %d)", ErrNewerSchema, have, newest)
	}
	if have < newest {
		return fmt.Errorf("%w (schema %d, this program knows %d)", ErrOlderSchema, have, newest)
	}
	return nil
}

// lookupPlace is where the lookup key is sealed to.
var lookupPlace = seal.Place{Table: "lookup_key"}

var errNoMeta = errors.New("the store has no key yet")

// loadKeys opens the lookup key that the store keeps sealed, which tells whether the key
// is the right one.
func (s *Store) loadKeys(ctx context.Context, create bool) error {
	var sealed []byte
	var tables int
	if err := s.read.QueryRowContext(ctx, `SELECT count(*) FROM sqlite_schema WHERE name = 'meta'`).Scan(&tables); err != nil {
		return fmt.Errorf("store: %w", explain(err))
	}
	if tables == 0 {
		return errNoMeta
	}
	var wrapped []byte
	err := s.read.QueryRowContext(ctx, `SELECT (SELECT value FROM meta WHERE name = 'store_id'), (SELECT value FROM meta WHERE name = 'lookup_key'),
 (SELECT value FROM meta WHERE name = 'old_key')`).
		Scan(&s.id, &sealed, &wrapped)
	if err != nil {
		return fmt.Errorf("store: %w", explain(err))
	}
	if s.id == nil || sealed == nil {
		return errNoMeta
	}
	key, err := s.o.Key(create)
	if err != nil {
		return err
	}
	box, err := seal.NewBox(key, s.id)
	if err != nil {
		return err
	}
	plain, err := box.Open(nil, sealed, lookupPlace)
	if err != nil {
		return err
	}
	copy(s.lookup[:], plain)
	s.box, err = s.withOldKey(box, wrapped)
	return err
}

// initKeys gives a new store its id and its sealed lookup key.
func (s *Store) initKeys(ctx context.Context) error {
	key, err := s.o.Key(true)
	if err != nil {
		return err
	}
	s.id = make([]byte, 16)
	rand.Read(s.id)
	if s.lookup, err = seal.DeriveLookupKey(key, s.id); err != nil {
		return err
	}
	if s.box, err = seal.NewBox(key, s.id); err != nil {
		return err
	}
	_, err = s.write.ExecContext(ctx, `INSERT INTO meta VALUES ('store_id', ?), ('lookup_key', ?)`,
		s.id, s.box.Seal(nil, s.lookup[:], lookupPlace))
	return explain(err)
}

// Digester returns a new digester under the store's lookup key.
func (s *Store) Digester() *seal.Digester { return seal.NewDigester(s.lookup) }

// Format keeps keys out of whatever prints a store.
func (s *Store) Format(f fmt.State, _ rune) { fmt.Fprintf(f, "store %s", s.path) }

// Path is where the store is.
func (s *Store) Path() string { return s.path }

// Now is the store's clock.
func (s *Store) Now() time.Time { return s.o.Now() }

// Close commits what is queued, folds the journal into the file so that nothing dropped
// survives in it, and releases the lock.
func (s *Store) Close() error {
	var errs []error
	if s.write != nil {
		close(s.ops)
		s.writer.Wait()
		if p := s.failed.Load(); p != nil {
			errs = append(errs, *p)
		}
	}
	if s.read != nil {
		errs = append(errs, s.read.Close())
		s.read = nil
	}
	if s.write != nil && len(errs) > 0 && errs[0] == nil {
		// The readers are gone, so that the checkpoint can truncate.
		if _, err := s.write.Exec(`PRAGMA wal_checkpoint(TRUNCATE)`); err != nil {
			errs = append(errs, fmt.Errorf("store: checkpoint: %w", explain(err)))
		}
	}
	s.release()
	return errors.Join(errs...)
}

func (s *Store) release() {
	if s.read != nil {
		s.read.Close()
	}
	if s.write != nil {
		s.write.Close()
	}
	if s.lock != nil {
		s.lock.Unlock()
	}
}

// checkFile tells whether the path still leads to the file that we write to. Writing on
// into a removed file would lose everything at exit.
func (s *Store) checkFile() error {
	st, err := os.Lstat(s.path)
	if err != nil || !os.SameFile(st, s.file) {
		return ErrGone
	}
	return nil
}

// explain turns SQLite's codes into words that say what to do.
func explain(err error) error {
	var e sqlite3.Error
	if err == nil || !errors.As(err, &e) {
		return err
	}
	if e.ExtendedCode == sqlite3.ErrReadonlyRollback || e.ExtendedCode == sqlite3.ErrReadonlyRecovery {
		return fmt.Errorf("the store was left half made by a run that was killed: the next run mends it: %w", err)
	}
	switch e.Code {
	case sqlite3.ErrFull:
		return fmt.Errorf("the disk is full: free some space and run again, nothing is lost: %w", err)
	case sqlite3.ErrReadonly, sqlite3.ErrPerm, sqlite3.ErrCantOpen:
		return fmt.Errorf("the store cannot be written, nor read without writing beside it: check the permissions of the file and of its folder: %w", err)
	case sqlite3.ErrCorrupt, sqlite3.ErrNotADB:
		return fmt.Errorf("the store is damaged or not a store: put back the last backup: %w", err)
	case sqlite3.ErrIoErr:
		return fmt.Errorf("the disk reports an error: %w", err)
	}
	return err
}

func millis(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

func nullMillis(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return t.UnixMilli()
}

func secs(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.Unix()
}

func nullSecs(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return t.Unix()
}

func fromSecs(n sql.NullInt64) time.Time {
	if !n.Valid || n.Int64 == 0 {
		return time.Time{}
	}
	return time.Unix(n.Int64, 0).UTC()
}

func fromMillis(n sql.NullInt64) time.Time {
	if !n.Valid || n.Int64 == 0 {
		return time.Time{}
	}
	return time.UnixMilli(n.Int64).UTC()
}
