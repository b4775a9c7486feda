package atomicfile

import (
	"io"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// TestWriteFileUnnamed: a program that is killed while it writes leaves nothing, since there
// is nothing yet that has a name.
func TestWriteFileUnnamed(t *testing.T) {
	dir := t.TempDir()
	if f, err := os.OpenFile(dir, os.O_WRONLY|unix.O_TMPFILE, 0o600); err != nil {
		t.Logf("this file system has none without a name, what it leaves is removed later (TestLeftovers): %v", err)
		return
	} else {
		f.Close()
	}
	var before []string
	for range 2 { // a new file, and one in the place of another
		if err := WriteFile(filepath.Join(dir, "rejects.csv"), nil, func(w io.Writer) error {
			for range 100_000 {
				if _, err := io.WriteString(w, "anna@example.com,"); err != nil {
					return err
				}
			}
			onlyFiles(t, dir, before...)
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		before = []string{"rejects.csv"}
		onlyFiles(t, dir, before...)
	}
}
