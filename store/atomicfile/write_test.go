package atomicfile

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func put(text string) func(io.Writer) error {
	return func(w io.Writer) error {
		_, err := io.WriteString(w, text)
		return err
	}
}

func onlyFiles(t *testing.T, dir string, want ...string) {
	t.Helper()
	all, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range all {
		got = append(got, e.Name())
	}
	if strings.Join(got, " ") != strings.Join(want, " ") {
		t.Errorf("the folder holds %v, want %v", got, want)
	}
}

// TestWriteFile: a reader sees the old report until the new one is whole; it is private;
// whatever fails leaves the old one and nothing beside it.
func TestWriteFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "report.csv")
	content := func() string { b, _ := os.ReadFile(path); return string(b) }
	if err := WriteFile(path, nil, put("first")); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := WriteFile(path, nil, func(w io.Writer) error {
		for range 100_000 {
			io.WriteString(w, "second ")
		}
		if content() != "first" {
			t.Errorf("half of it can be seen: %.20q", content())
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(content(), "second ") {
		t.Errorf("%.20q", content())
	}
	if st, _ := os.Stat(path); st.Mode().Perm() != 0o600 {
		t.Errorf("mode %v", st.Mode())
	}
	boom := errors.New("boom")
	if err := WriteFile(path, nil, func(w io.Writer) error { io.WriteString(w, "third"); return boom }); !errors.Is(err, boom) {
		t.Error(err)
	}
	if !strings.HasPrefix(content(), "second ") {
		t.Errorf("a failure left %.20q", content())
	}
	onlyFiles(t, dir, "report.csv")
}

// TestWriteFileRefuses: nothing that is not a plain file is written to, nor through, nor is
// an input, under whatever name it goes.
func TestWriteFileRefuses(t *testing.T) {
	dir := t.TempDir()
	in := func(name string) string { return filepath.Join(dir, name) }
	if err := os.WriteFile(in("input.csv"), []byte("people"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.Symlink(in("input.csv"), in("link")), os.Symlink(in("nothing"), in("dangling")), os.Mkdir(in("folder"), 0o700), os.Link(in("input.csv"), in("hard"))); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"link", "dangling", "folder", "input.csv", "hard", "none/report.csv"} {
		err := WriteFile(in(name), []string{in("input.csv"), in("none")}, func(w io.Writer) error {
			t.Errorf("%s is written to", name)
			return nil
		})
		if err == nil {
			t.Errorf("%s: taken", name)
		}
	}
	if b, err := os.ReadFile(in("input.csv")); err != nil || string(b) != "people" {
		t.Errorf("the input: %q %v", b, err)
	}
	onlyFiles(t, dir, "dangling", "folder", "hard", "input.csv", "link")
}

// TestOpenRegular: what could block for ever is not opened; a link to a file is one.
func TestOpenRegular(t *testing.T) {
	dir := t.TempDir()
	in := func(name string) string { return filepath.Join(dir, name) }
	if err := errors.Join(os.WriteFile(in("file"), []byte("text"), 0o640), os.Symlink("file", in("link")), syscall.Mkfifo(in("pipe"), 0o600),
		os.Symlink("pipe", in("link-to-pipe"))); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]error{"file": nil, "link": nil, "pipe": ErrNotRegular, "link-to-pipe": ErrNotRegular, ".": ErrNotRegular, "none": fs.ErrNotExist} {
		f, st, err := OpenRegular(in(name))
		if !errors.Is(err, want) || want == nil && err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if want == nil {
			if text, err := io.ReadAll(f); string(text) != "text" || err != nil || st.Mode() != 0o640 {
				t.Errorf("%s: %q %v %v", name, text, err, st.Mode())
			}
			f.Close()
		}
	}
}
