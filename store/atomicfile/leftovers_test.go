package atomicfile

import (
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestLeftovers: the temporary file of a program that was killed goes with the next
// writing, once it is old; what another program is writing, and what only looks like it,
// stays.
func TestLeftovers(t *testing.T) {
	dir := t.TempDir()
	old := time.Now().Add(-2 * leftoverAge)
	for name, age := range map[string]time.Time{
		".rejects.csv.123": old, ".rejects.csv.456": time.Now(), ".rejects.csv.bak": old, ".rejects.csv.": old,
		"rejects.csv.123": old, ".report.csv.123": old, ".rejects.csv.1x": old,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(filepath.Join(dir, name), age, age); err != nil {
			t.Fatal(err)
		}
	}
	if err := WriteFile(filepath.Join(dir, "rejects.csv"), nil, func(w io.Writer) error { _, err := io.WriteString(w, "y"); return err }); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var left []string
	for _, e := range entries {
		left = append(left, e.Name())
	}
	want := []string{".rejects.csv.", ".rejects.csv.1x", ".rejects.csv.456", ".rejects.csv.bak", ".report.csv.123", "rejects.csv", "rejects.csv.123"}
	if d := cmp.Diff(want, left); d != "" {
		t.Errorf("left (-want +got):\n%s", d)
	}
}
