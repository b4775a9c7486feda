package store

import (
	"context"
	"database/sql"
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
		{"synchronous", "2"}, {"journal_mode", "wal"}, {"secure_delete", "1"}, {"foreign_keys", "1"},
	} {
		var got string
		// In the writer's own goroutine and on its own connection; outside a transaction's
		// reach, since a pragma only tells.
		err := s.inTx(context.Background(), func(c *sql.Conn) error {
			return c.QueryRowContext(context.Background(), "PRAGMA "+tt.pragma).Scan(&got)
		})
		if err != nil || got != tt.want {
			t.Errorf("%s is %q, want %q (%v)", tt.pragma, got, tt.want, err)
		}
	}
}
