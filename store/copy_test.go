package store

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestCopy: a copy is one state of the store, whoever writes meanwhile; it has its name when it is
// whole, replaces nothing, and what a killed program left goes with the next.
func TestCopy(t *testing.T) {
	e := newEnv(t)
	e.open(t)
	dir := t.TempDir()
	to := filepath.Join(dir, "copy.db")
	ls := func(want string) {
		t.Helper()
		entries, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, e := range entries {
			names = append(names, e.Name())
		}
		if got := strings.Join(names, " "); got != want {
			t.Errorf("%q in the folder, want %q", got, want)
		}
	}
	left := filepath.Join(dir, ".copy.db.copy-1")
	if err := os.MkdirAll(left, 0o700); err != nil {
		t.Fatal(err)
	}
	under, err := NewCopy(ctx, e.path, to, true)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(left); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("what a killed program left is still there: %v", err)
	}
	// Another copy to the same name does not take away what is under way; the first has the name.
	second, err := NewCopy(ctx, e.path, to, true)
	if err != nil {
		t.Fatal(err)
	}
	if err := under.Link(); err != nil {
		t.Fatal(err)
	}
	if err := second.Link(); !errors.Is(err, fs.ErrExist) {
		t.Errorf("a copy over another: %v", err)
	}
	ls("copy.db")
	if st, err := os.Stat(to); err != nil || st.Mode() != 0o600 {
		t.Errorf("mode %v %v", st.Mode(), err)
	}
	if _, err := NewCopy(ctx, e.path, to, true); !errors.Is(err, fs.ErrExist) {
		t.Errorf("a copy to a name that is taken: %v", err)
	}

	o := e.options()
	o.ReadOnly = true
	c, err := Open(ctx, to, o)
	if err != nil {
		t.Fatal(err)
	}
	if found, err := c.CheckFile(ctx); err != nil || len(found) > 0 {
		t.Errorf("the copy is damaged: %v %v", found, err)
	}
	var mode string
	if err := c.read.QueryRow(`PRAGMA journal_mode`).Scan(&mode); err != nil || mode != "wal" {
		t.Errorf("journal mode %q %v", mode, err)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}

	// From a folder that cannot be written, as a disk of backups is mounted.
	if err := os.Chmod(dir, 0o500); err != nil {
		t.Fatal(err)
	}
	defer os.Chmod(dir, 0o700)
	dir2 := t.TempDir()
	c2, err := NewCopy(ctx, to, filepath.Join(dir2, "back.db"), false)
	if err != nil {
		t.Fatal(err)
	}
	c2.Discard()

	stopped, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := NewCopy(stopped, e.path, filepath.Join(dir2, "back.db"), true); !errors.Is(err, context.Canceled) {
		t.Errorf("a copy that was stopped: %v", err)
	}
	if entries, err := os.ReadDir(dir2); err != nil || len(entries) > 0 {
		t.Errorf("left: %v %v", entries, err)
	}
}

// TestCopyOfOthers: what is no whole store is not copied.
func TestCopyOfOthers(t *testing.T) {
	e := newEnv(t)
	if err := e.open(t).Close(); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(e.path)
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string][]byte{
		"empty": nil, "a text": []byte("subject_id,email\n"), "half": b[:len(b)/2], "one page": b[:diskPage], "without its first page": b[diskPage:],
	} {
		from := filepath.Join(t.TempDir(), "from.db")
		if err := os.WriteFile(from, content, 0o600); err != nil {
			t.Fatal(err)
		}
		if c, err := NewCopy(ctx, from, filepath.Join(t.TempDir(), "to.db"), false); !errors.Is(err, ErrNotStore) {
			t.Errorf("%s: %v", name, err)
			if err == nil {
				c.Discard()
			}
		}
	}
}
