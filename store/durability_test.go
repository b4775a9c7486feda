package store

import (
	"context"
	"database/sql"
	"os"
	"strings"
	"testing"
)

// TestCommitsReachTheDisk: a commit that is confirmed survives a power loss only if the
// writer's connection waits for the disk (synchronous=FULL, 2; the driver's own choice for
// WAL is NORMAL), and data that is dropped is gone from the file only with secure_delete.
// No kill shows either: what a killed process wrote is the kernel's.
func TestCommitsReachTheDisk(t *testing.T) {
	e := newEnv(t)
	s := e.open(t)
	for _, tt := range []struct{ pragma, want string }{
		{"synchronous", "2"}, {"journal_mode", "wal"}, {"page_size", "16384"}, {"secure_delete", "1"}, {"foreign_keys", "1"},
	} {
		var got string
		err := s.inTx(context.Background(), func(c *sql.Conn) error { // on the writer's own connection
			return c.QueryRowContext(context.Background(), "PRAGMA "+tt.pragma).Scan(&got)
		})
		if err != nil || got != tt.want {
			t.Errorf("%s is %q, want %q (%v)", tt.pragma, got, tt.want, err)
		}
	}
}

// TestHotJournal: a store that a kill left with the rollback journal of the time before WAL
// mode is mended by the next run, though connections that only read may not do that; who
// only reads is told so.
func TestHotJournal(t *testing.T) {
	e := newEnv(t)
	e.open(t).close(t)
	db, err := sql.Open("sqlite3", "file:"+e.path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	db.SetMaxOpenConns(1)
	exec := func(text string) {
		t.Helper()
		if _, err := db.Exec(text); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
	}
	exec(`PRAGMA journal_mode=DELETE`)
	exec(`CREATE TABLE filler (x)`)
	exec(`WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i < 300) INSERT INTO filler SELECT zeroblob(4000) FROM n`)
	exec(`PRAGMA cache_size=5`) // so small that a transaction is on disk, with its journal, before it ends
	exec(`BEGIN`)
	exec(`UPDATE filler SET x = randomblob(4000)`)
	left := newEnv(t)
	left.key = e.key
	for _, end := range []string{"", "-journal"} {
		data, err := os.ReadFile(e.path + end)
		if err == nil {
			err = os.WriteFile(left.path+end, data, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	exec(`ROLLBACK`)

	o := left.options()
	o.ReadOnly = true
	if s, err := Open(ctx, left.path, o); err == nil {
		s.close(t)
		t.Fatal("the journal that was left is not hot: this test does not test")
	} else if !strings.Contains(err.Error(), "the next run mends it") {
		t.Errorf("a reader is told: %v", err)
	}
	s := left.open(t)
	var changed int
	if err := s.read.QueryRow(`SELECT count(*) FROM filler WHERE x <> zeroblob(4000)`).Scan(&changed); err != nil || changed > 0 {
		t.Errorf("%d rows (%v) of a transaction that never ended", changed, err)
	}
}
