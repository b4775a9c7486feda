package store

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"expunge/store/replay"
	"expunge/store/seal"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	ctx   = context.Background()
	start = time.Date(2026, 11, 2, 9, 0, 0, 0, time.UTC)
)

// env is a place for a store, with its key and clock.
type env struct {
	dir, path string
	key       seal.Key
	now       time.Time
}

func newEnv(t *testing.T) *env {
	t.Helper()
	dir := t.TempDir()
	return &env{dir: dir, path: filepath.Join(dir, "expunge.db"), key: seal.NewKey(), now: start}
}

func (e *env) options() Options {
	return Options{
		Key:    func(bool) (seal.Key, error) { return e.key, nil },
		Now:    func() time.Time { return e.now },
		Forget: forgetFields,
	}
}

func (e *env) open(t *testing.T) *Store {
	t.Helper()
	s, err := Open(ctx, e.path, e.options())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.close(t) })
	return s
}

// close closes the store once, and finds what its events do not say.
func (s *Store) close(t *testing.T) {
	t.Helper()
	if s.read == nil {
		return
	}
	provable(t, s)
	if err := s.Close(); err != nil && s.Err() == nil {
		t.Error(err)
	}
	replayed(t, s.path)
}

// provable hashes what happened, and finds what of it could not be shown.
func provable(t *testing.T, s *Store) {
	t.Helper()
	if _, ok := byHand.Load(s.path); ok || s.write == nil || s.Err() != nil {
		return
	}
	if _, err := os.Stat(s.path); err != nil {
		return // a test took it away
	}
	if _, err := s.Integrate(ctx); err != nil {
		t.Errorf("integrate: %v", err)
	}
	k, err := s.CheckLog(ctx, nil)
	if err != nil || len(k.Problems) > 0 {
		t.Errorf("the log: %+v, %v", k, err)
	}
}

// byHand has the paths of the stores in which a test has written rows that count for others
// than the store wrote.
var byHand sync.Map

// replayed compares the events of a store with its tables.
func replayed(t *testing.T, path string) {
	t.Helper()
	if _, err := os.Stat(path); err != nil {
		return // a test took it away
	}
	if _, ok := byHand.Load(path); ok {
		return
	}
	db := raw(t, path)
	defer db.Close()
	if tables := scalar[int](t, db, `SELECT count(*) FROM sqlite_schema`); tables == 0 {
		return // a test put another file there
	}
	differences, _, err := replay.Check(ctx, db)
	if err != nil {
		t.Error(err)
	}
	for _, d := range differences {
		t.Error(d)
	}
}

// forgetFields stands in for the subject's fields: lines of bit=value, of which those
// outside keep leave bit~ behind.
func forgetFields(plain []byte, keep uint32) ([]byte, error) {
	var out []byte
	for line := range bytes.Lines(plain) {
		bit := line[0] - '0'
		if line[1] == '=' && keep&(1<<bit) == 0 {
			line = []byte{line[0], '~', '\n'}
		}
		out = append(out, line...)
	}
	return out, nil
}

// raw opens the store's file beside the store, as a person with sqlite3 would.
func raw(t *testing.T, path string) *sql.DB {
	t.Helper()
	db, err := sql.Open("sqlite3", "file:"+(&url.URL{Path: path}).EscapedPath()+"?_busy_timeout=5000&_foreign_keys=on")
	if err != nil {
		t.Fatal(err)
	}
	db.SetMaxOpenConns(1)
	t.Cleanup(func() { db.Close() })
	return db
}

func mustExec(t *testing.T, db *sql.DB, query string, args ...any) {
	t.Helper()
	if _, err := db.Exec(query, args...); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
}

func scalar[T any](t *testing.T, db *sql.DB, query string, args ...any) T {
	t.Helper()
	var v T
	if err := db.QueryRow(query, args...).Scan(&v); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return v
}

// dump returns every row of the tables that intake fills, as text.
func dump(t *testing.T, path string, tables ...string) string {
	t.Helper()
	if len(tables) == 0 {
		tables = []string{"batches", "subjects", "subject_ids", "tasks", "rejects", "former_references", "decisions"}
	}
	db := raw(t, path)
	defer db.Close()
	var b strings.Builder
	for _, table := range tables {
		rows, err := db.Query(`SELECT * FROM ` + table)
		if err != nil {
			t.Fatal(err)
		}
		cols, _ := rows.Columns()
		vals := make([]any, len(cols))
		for i := range vals {
			vals[i] = new(any)
		}
		for rows.Next() {
			if err := rows.Scan(vals...); err != nil {
				t.Fatal(err)
			}
			fmt.Fprintf(&b, "%s:", table)
			for _, v := range vals {
				fmt.Fprintf(&b, " %v", *v.(*any))
			}
			b.WriteByte('\n')
		}
		rows.Close()
	}
	return b.String()
}

const (
	fieldA uint32 = 1 << 1
	fieldB uint32 = 1 << 2
)

// twoVendors makes vendors alpha (needs field 1) and beta (needs field 2) known.
func twoVendors(t *testing.T, s *Store) (alpha, beta int64) {
	t.Helper()
	known, err := s.SyncVendors(ctx, []VendorSpec{{"alpha", "x", fieldA}, {"beta", "y", fieldB}})
	if err != nil {
		t.Fatal(err)
	}
	return known["alpha"].ID, known["beta"].ID
}

// rules let no task follow one of an earlier batch: see following.
var rules = IntakeRules{Repeated: "repeated", Conflicting: "conflicting", AlreadyTakenIn: "already", TasksAdded: "added", TooManyTasks: "too many",
	Same: sameLine, Digest: func(*Work) (int64, error) { return 0, nil }, Merge: mergeLines, Accept: quiet, Identifiers: identifiersOf}

// identifiersOf are those by which a subject is marked: the lines that are clear.
func identifiersOf(plain []byte) ([]Identifier, error) {
	var all []Identifier
	for l := range strings.Lines(string(plain)) {
		if l[1] == '=' {
			all = append(all, identified(int(l[0]-'0'), strings.TrimSpace(l[2:])))
		}
	}
	return all, nil
}

func identified(field int, value string) Identifier {
	return Identifier{Field: field, Kind: fmt.Sprintf("field%d", field), Normal: value}
}

func (r IntakeRules) accepting(accept func(Batch) error) IntakeRules {
	r.Accept = accept
	return r
}

// following are the rules under which tasks follow those of earlier batches.
func following(s *Store) IntakeRules {
	r, d := rules, s.Digester()
	r.Digest = func(w *Work) (int64, error) {
		for l := range strings.Lines(string(w.Plain)) {
			if value, ok := strings.CutPrefix(l, fmt.Sprintf("%d=", w.Field)); ok {
				return d.Sum64("same", fmt.Sprint(w.Vendor), strings.TrimSpace(value)), nil
			}
		}
		return 0, nil
	}
	return r
}

// mergeLines stands in for the merging of a subject's fields: a line that is clear in either
// is clear.
func mergeLines(stored, fresh []byte) (merged []byte, same bool, err error) {
	lines := map[byte]string{}
	same = true
	for _, text := range [][]byte{stored, fresh} {
		for l := range strings.Lines(string(text)) {
			if had := lines[l[0]]; had == "" || had[1] == '~' {
				lines[l[0]] = l
			} else if l[1] == '=' && l != had {
				same = false
			}
		}
	}
	for _, bit := range slices.Sorted(maps.Keys(lines)) {
		merged = append(merged, lines[bit]...)
	}
	return merged, same, nil
}

// sameLine compares the lines of the two subjects that the tasks are about.
func sameLine(a, b Work) bool {
	line := func(w Work) string {
		for l := range strings.Lines(string(w.Plain)) {
			if int(l[0]-'0') == w.Field {
				return l[2:]
			}
		}
		return ""
	}
	return a.Vendor == b.Vendor && line(a) == line(b) && line(a) != ""
}

func quiet(Batch) error { return nil }

// subject is a row with a value for each of fields 1 and 2, or "" for none: a task at
// alpha by the first and one at beta by the second.
func subject(s *Store, line int, id, a, b string, alpha, beta int64) *NewSubject {
	d := s.Digester()
	n := &NewSubject{Line: line, SubjectID: id, Content: d.Sum64(a, b), ReceivedAt: start, DueAt: start.Add(30 * 24 * time.Hour)}
	for i, v := range []string{a, b} {
		vendor := []int64{alpha, beta}[i]
		if v == "" {
			n.Tasks = append(n.Tasks, NewTask{Vendor: vendor, State: Skipped, Reason: "no_identifier"})
			n.Same = append(n.Same, 0)
			continue
		}
		n.Plain = fmt.Appendf(n.Plain, "%d=%s\n", i+1, v)
		n.Identifiers = append(n.Identifiers, identified(i+1, v))
		n.Tasks = append(n.Tasks, NewTask{Vendor: vendor, Field: i + 1})
		n.Same = append(n.Same, d.Sum64("same", fmt.Sprint(vendor), v))
	}
	return n
}

// take takes in one batch.
func take(t *testing.T, s *Store, digest string, rows ...*NewSubject) Batch {
	t.Helper()
	in, err := s.BeginIntake(ctx, digest+".csv", s.Now())
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range rows {
		if err := in.Subject(r); err != nil {
			t.Fatal(err)
		}
	}
	b, _, err := in.Settle(ctx, []byte(digest), rules)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// oneTask is a store with a single subject that has one task at alpha and one at beta.
func oneTask(t *testing.T) (e *env, s *Store, w Work) {
	t.Helper()
	e = newEnv(t)
	s = e.open(t)
	alpha, beta := twoVendors(t, s)
	b := take(t, s, "one", subject(s, 2, "R-1", "a@example.com", "b-key", alpha, beta))
	w, err := s.TaskByID(ctx, b.First*TasksPerSubject)
	if err != nil {
		t.Fatal(err)
	}
	return e, s, w
}

// to returns the task in a state, with whatever the schema wants of a task in it.
func to(t Task, state State, now time.Time) Task {
	t.State, t.Ready, t.NextAt = state, false, time.Time{}
	switch {
	case state == Erased:
		t.Evidence, t.VerifiedAt = Verified, now
	case state == Submitting:
		t.SubmittedAt, t.Ready = now, true
	case state < Held:
		t.Ready = true
	}
	if state.Final() {
		t.CompletedAt = now
	}
	return t
}

func mustApply(t *testing.T, s *Store, from State, task Task) Task {
	t.Helper()
	if err := s.Apply(Change{From: from, Task: task}); err != nil {
		t.Fatal(err)
	}
	return task
}

// TestFilesArePrivate: whatever the umask, nobody else can read the store, its journal or
// its lock.
func TestFilesArePrivate(t *testing.T) {
	old := syscall.Umask(0)
	defer syscall.Umask(old)
	e := newEnv(t)
	s := e.open(t)
	twoVendors(t, s)
	files, err := filepath.Glob(e.path + "*")
	if err != nil || len(files) < 4 {
		t.Fatalf("%v %v: want the store, its journal, its index and its lock", files, err)
	}
	for _, f := range files {
		st, err := os.Stat(f)
		if err != nil {
			t.Fatal(err)
		}
		if st.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %04o", filepath.Base(f), st.Mode().Perm())
		}
	}
}

// TestCloseFoldsTheJournal: after Close no journal is left that could still hold what has
// been dropped.
func TestCloseFoldsTheJournal(t *testing.T) {
	e, s, w := oneTask(t)
	mustApply(t, s, Pending, to(w.Task, NotFound, start))
	s.close(t)
	for _, end := range []string{"-wal", "-shm"} {
		if st, err := os.Stat(e.path + end); err == nil && st.Size() > 0 {
			t.Errorf("%s has %d bytes after Close", end, st.Size())
		}
	}
}

// TestNothingInClear: not one identifier can be read in the files of a store, while it is
// in use and after, before the task is final and after; the ticket number can.
func TestNothingInClear(t *testing.T) {
	e, s, w := oneTask(t)
	look := func(when string) {
		t.Helper()
		ticket := false
		files, _ := filepath.Glob(e.path + "*")
		for _, f := range files {
			b, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			for _, canary := range []string{"a@example.com", "b-key"} {
				if bytes.Contains(b, []byte(canary)) {
					t.Errorf("%s: %s holds %s", when, filepath.Base(f), canary)
				}
			}
			ticket = ticket || bytes.Contains(b, []byte("R-1"))
		}
		if !ticket {
			t.Errorf("%s: not even the ticket number is found: the search does not work", when)
		}
	}
	look("open")
	mustApply(t, s, Pending, to(w.Task, NotFound, start))
	look("final")
	s.close(t)
	look("closed")
}

// TestKeys: a store opens with its key only, and says which of the ways it failed.
func TestKeys(t *testing.T) {
	e, s, _ := oneTask(t)
	s.close(t)
	before, _ := os.ReadFile(e.path)

	o := e.options()
	o.Key = func(bool) (seal.Key, error) { return seal.NewKey(), nil }
	if _, err := Open(ctx, e.path, o); !errors.Is(err, seal.ErrWrongKey) {
		t.Errorf("another key: %v", err)
	}
	o.Key = func(create bool) (seal.Key, error) {
		if create {
			t.Error("a key is to be made for a store that has one")
		}
		return seal.Key{}, seal.ErrNoKey
	}
	if _, err := Open(ctx, e.path, o); !errors.Is(err, seal.ErrNoKey) {
		t.Errorf("no key: %v", err)
	}
	o.ReadOnly = true
	if _, err := Open(ctx, e.path, o); !errors.Is(err, seal.ErrNoKey) {
		t.Errorf("no key, read-only: %v", err)
	}
	if after, _ := os.ReadFile(e.path); !bytes.Equal(before, after) {
		t.Error("the store was touched without its key")
	}
	if s, err := Open(ctx, e.path, e.options()); err != nil {
		t.Errorf("the right key, afterwards: %v", err)
	} else {
		s.close(t)
	}
}

// TestNewStoreWithoutAKey: a key that cannot be had leaves an empty file, which the next
// run with a key can use.
func TestNewStoreWithoutAKey(t *testing.T) {
	e := newEnv(t)
	o := e.options()
	o.Key = func(create bool) (seal.Key, error) {
		if !create {
			t.Error("a new store may make its key")
		}
		return seal.Key{}, seal.ErrNoKey
	}
	if _, err := Open(ctx, e.path, o); !errors.Is(err, seal.ErrNoKey) {
		t.Fatalf("no key: %v", err)
	}
	s := e.open(t)
	twoVendors(t, s)
}

// TestSecondRunLeaves: while a run holds the store, a second one gets ErrLocked, a reader
// gets in, and afterwards the store can be had again (invariant 10).
func TestSecondRunLeaves(t *testing.T) {
	e, s, w := oneTask(t)
	if _, err := Open(ctx, e.path, e.options()); !errors.Is(err, ErrLocked) {
		t.Fatalf("second run: %v", err)
	}
	o := e.options()
	o.ReadOnly = true
	r, err := Open(ctx, e.path, o)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := r.TaskByID(ctx, w.ID); err != nil || got.State != Pending {
		t.Errorf("reader: %v %v", got.State, err)
	}
	mustApply(t, s, Pending, to(w.Task, Previewed, start))
	if got, err := r.TaskByID(ctx, w.ID); err != nil || got.State != Previewed {
		t.Errorf("reader, after a change: %v %v", got.State, err)
	}
	r.close(t)
	s.close(t)
	e.open(t)
}

// TestReadOnly: a reader changes nothing, whatever it is asked to do.
func TestReadOnly(t *testing.T) {
	e, s, w := oneTask(t)
	s.close(t)
	before := dump(t, e.path)
	o := e.options()
	o.ReadOnly = true
	r, err := Open(ctx, e.path, o)
	if err != nil {
		t.Fatal(err)
	}
	defer r.close(t)
	ch := Change{From: Pending, Task: to(w.Task, Previewed, start)}
	if err := r.Apply(ch); err == nil {
		t.Error("Apply")
	}
	r.ApplyLater(ch, func(err error) {
		if err == nil {
			t.Error("ApplyLater")
		}
	})
	if _, err := r.BeginIntake(ctx, "x", start); err == nil {
		t.Error("BeginIntake")
	}
	if _, err := r.BeginRun(ctx, Run{}); err == nil {
		t.Error("BeginRun")
	}
	if known, err := r.SyncVendors(ctx, []VendorSpec{{"new", "x", 0}}); err != nil || len(known) != 2 {
		t.Errorf("SyncVendors only tells what there is: %v %v", known, err)
	}
	if _, err := r.read.Exec(`DELETE FROM tasks`); err == nil {
		t.Error("a statement that writes, on the reading connections")
	}
	if after := dump(t, e.path); after != before {
		t.Error(cmp.Diff(before, after))
	}
}

// TestOpenRefuses: what is no store, or is not ours to write, is refused in words.
func TestOpenRefuses(t *testing.T) {
	for _, tt := range []struct {
		name     string
		prepare  func(t *testing.T, e *env)
		readOnly bool
		want     error
		text     string
	}{
		{"nothing to read", func(*testing.T, *env) {}, true, ErrNoStore, ""},
		{"an empty file to read", func(t *testing.T, e *env) { write(t, e.path, "") }, true, ErrNoStore, ""},
		{"a newer store", func(t *testing.T, e *env) { newer(t, e) }, false, ErrNewerSchema, ""},
		{"a newer store to read", func(t *testing.T, e *env) { newer(t, e) }, true, ErrNewerSchema, ""},
		{"a text", func(t *testing.T, e *env) { write(t, e.path, strings.Repeat("not a store\n", 400)) }, false, nil, "damaged or not a store"},
		{"a text to read", func(t *testing.T, e *env) { write(t, e.path, strings.Repeat("not a store\n", 400)) }, true, nil, "damaged or not a store"},
		{"a link", func(t *testing.T, e *env) {
			write(t, e.path+".real", "")
			if err := os.Symlink(e.path+".real", e.path); err != nil {
				t.Fatal(err)
			}
		}, false, nil, "links are not followed"},
		{"a lock that is a link", func(t *testing.T, e *env) {
			if err := os.Symlink("/dev/null", e.path+".lock"); err != nil {
				t.Fatal(err)
			}
		}, false, nil, "links are not followed"},
		{"a folder", func(t *testing.T, e *env) {
			if err := os.Mkdir(e.path, 0o700); err != nil {
				t.Fatal(err)
			}
		}, false, nil, "not a regular file"},
		{"no folder", func(t *testing.T, e *env) { e.path = filepath.Join(e.dir, "none", "x.db") }, false, nil, "no such file"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e := newEnv(t)
			tt.prepare(t, e)
			o := e.options()
			o.ReadOnly = tt.readOnly
			s, err := Open(ctx, e.path, o)
			if err == nil {
				s.close(t)
				t.Fatal("it was opened")
			}
			if tt.want != nil && !errors.Is(err, tt.want) || !strings.Contains(err.Error(), tt.text) {
				t.Errorf("%v; want %v %q", err, tt.want, tt.text)
			}
		})
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func newer(t *testing.T, e *env) {
	t.Helper()
	s := e.open(t)
	s.close(t)
	db := raw(t, e.path)
	mustExec(t, db, `INSERT INTO goose_db_version (version_id, is_applied) VALUES (999, 1)`)
	db.Close()
}

// TestPathsWithOddNames: a store's path may hold what a URL would read as its own.
func TestPathsWithOddNames(t *testing.T) {
	e := newEnv(t)
	e.path = filepath.Join(e.dir, "50% of? a#store.db")
	s := e.open(t)
	twoVendors(t, s)
	s.close(t)
	if _, err := os.Stat(e.path); err != nil {
		t.Error(err)
	}
	if n := len(must(os.ReadDir(e.dir))); n != 2 { // the store and its lock
		t.Errorf("%d files in the folder", n)
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// TestStoreIsGone: a store whose file is removed or replaced while in use must not go on
// as if what it writes were kept.
func TestStoreIsGone(t *testing.T) {
	for name, harm := range map[string]func(e *env) error{
		"removed": func(e *env) error { return os.Remove(e.path) },
		"replaced": func(e *env) error {
			return errors.Join(os.Rename(e.path, e.path+".old"), os.WriteFile(e.path, nil, 0o600))
		},
	} {
		t.Run(name, func(t *testing.T) {
			e, s, w := oneTask(t)
			if err := harm(e); err != nil {
				t.Fatal(err)
			}
			if err := s.Apply(Change{From: Pending, Task: to(w.Task, Previewed, start)}); !errors.Is(err, ErrGone) {
				t.Errorf("Apply: %v", err)
			}
			if !errors.Is(s.Err(), ErrGone) {
				t.Errorf("Err: %v", s.Err())
			}
			if err := s.Close(); !errors.Is(err, ErrGone) {
				t.Errorf("Close: %v", err)
			}
		})
	}
}

// TestDiskFull: a full disk is an error that says so, the store takes nothing more, and
// what was confirmed before is there when there is space again.
func TestDiskFull(t *testing.T) {
	e, s, w := oneTask(t)
	w.Task = mustApply(t, s, Pending, to(w.Task, Previewed, start))
	// The most pages that the file may have: those that it has.
	if err := s.inTx(ctx, func(c *sql.Conn) error {
		_, err := c.ExecContext(ctx, `PRAGMA max_page_count = 1`)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	big := to(w.Task, Held, start)
	big.Message = strings.Repeat("x", 1<<20)
	err := s.Apply(Change{From: Previewed, Task: big})
	if err == nil || !strings.Contains(err.Error(), "disk is full") {
		t.Fatalf("Apply: %v", err)
	}
	if err := s.Apply(Change{From: Previewed, Task: to(w.Task, Held, start)}); err == nil {
		t.Error("the store goes on after a failed commit")
	}
	if err := s.Flush(); err == nil {
		t.Error("Flush says that all is well")
	}
	if err := s.Close(); err == nil {
		t.Error("Close says that all is well")
	}
	again := e.open(t)
	if got, err := again.TaskByID(ctx, w.ID); err != nil || got.State != Previewed {
		t.Errorf("afterwards: %v %v", got.State, err)
	}
}

// TestCrashAtFirstOpen: a store whose making was cut short at any point is made whole by
// the next open.
func TestCrashAtFirstOpen(t *testing.T) {
	e := newEnv(t)
	s := e.open(t)
	s.close(t)
	db := raw(t, e.path)
	mustExec(t, db, `DELETE FROM meta`) // the schema is there, the key is not
	db.Close()
	s = e.open(t)
	twoVendors(t, s)
	s.close(t)
	e.open(t)
}

// copyStore copies the files of a store in use, which is what is left of it when the
// process is killed at this instant.
func copyStore(t *testing.T, e *env) *env {
	t.Helper()
	other := *e
	other.dir = t.TempDir()
	other.path = filepath.Join(other.dir, filepath.Base(e.path))
	for _, end := range []string{"", "-wal"} {
		from, err := os.Open(e.path + end)
		if err != nil {
			t.Fatal(err)
		}
		to, err := os.OpenFile(other.path+end, os.O_CREATE|os.O_WRONLY, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(to, from); err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(from.Close(), to.Close()); err != nil {
			t.Fatal(err)
		}
	}
	return &other
}
