package atomicfile

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
)

func names(t *testing.T, dir string) string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, e := range entries {
		all = append(all, e.Name())
	}
	return strings.Join(all, " ")
}

// TestFile: content that is not complete has no name where the file system can do that, and
// a hidden one elsewhere; all else is the same.
func TestFile(t *testing.T) {
	defer syscall.Umask(syscall.Umask(0))
	for name, open := range map[string]func(string) (*os.File, error){
		"unnamed":  openTmpfile,
		"fallback": func(string) (*os.File, error) { return nil, errors.ErrUnsupported },
	} {
		t.Run(name, func(t *testing.T) {
			defer func(was func(string) (*os.File, error)) { openUnnamed = was }(openUnnamed)
			openUnnamed = open
			dir := t.TempDir()
			path := filepath.Join(dir, "f.csv")
			want := regexp.MustCompile(`^\.f\.csv\.[0-9]+$`) // before there is f.csv
			if probe, err := open(path); err == nil {
				probe.Close()
				want = regexp.MustCompile(`^$`)
			} else if name == "unnamed" {
				t.Logf("not on this file system: %v", err)
			}
			begin := func(text string) *File {
				t.Helper()
				f, err := Create(path)
				if err != nil {
					t.Fatal(err)
				}
				if _, err := f.WriteString(text); err != nil {
					t.Fatal(err)
				}
				return f
			}
			holds := func(text string) {
				t.Helper()
				b, err := os.ReadFile(path)
				if err != nil || string(b) != text {
					t.Errorf("%q %v, want %q", b, err, text)
				}
				if st, err := os.Stat(path); err != nil || st.Mode() != 0o600 {
					t.Errorf("mode %v %v", st.Mode(), err)
				}
				if got := names(t, dir); got != "f.csv" {
					t.Errorf("the folder holds %s", got)
				}
			}
			f := begin("anna@example.com")
			if got := names(t, dir); !want.MatchString(got) {
				t.Errorf("while it is written the folder holds %q", got)
			}
			f.Discard()
			if got := names(t, dir); got != "" {
				t.Errorf("discarded, and the folder holds %q", got)
			}
			if err := begin("1").Link(); err != nil {
				t.Fatal(err)
			}
			holds("1")
			if err := begin("2").Link(); !errors.Is(err, fs.ErrExist) {
				t.Errorf("a link over a file: %v", err)
			}
			holds("1")
			if err := begin("3").Replace(); err != nil {
				t.Fatal(err)
			}
			holds("3")
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
			if err := os.MkdirAll(filepath.Join(path, "x"), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := begin("4").Replace(); err == nil {
				t.Error("a folder was replaced")
			}
			if got := names(t, dir); got != "f.csv" {
				t.Errorf("a failure leaves %q", got)
			}
			if _, err := Create(filepath.Join(dir, "none", "f")); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("no folder: %v", err)
			}
		})
	}
}
