package config

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// FuzzParse holds for any file: Parse does not panic, gives a config or an error and
// never both, every error is a *Error whose line is in the file and which prints on a
// terminal, and no text shows what came from outside.
func FuzzParse(f *testing.F) {
	samples, err := filepath.Glob("../../testdata/config/*.yaml")
	if err != nil || len(samples) == 0 {
		f.Fatalf("no samples: %v", err)
	}
	for _, sample := range samples {
		data, err := os.ReadFile(sample)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	for _, text := range []string{
		minimal, "", "a: &a [*a, *a]\n", "vendors: {a: {kind: voyado, api_key: 'file:x', rate: '${OUT}'}}",
		"{", "? [a]\n: b", "store: |\n  a\n  b\n", "vendors:\n  - a\n---\n", "\ufeffstore: a", "<<: {store: a}",
	} {
		f.Add([]byte(text))
	}
	const outside = "zq9-outside-zq9"
	f.Fuzz(func(t *testing.T, data []byte) {
		if strings.Contains(string(data), "zq9") {
			return // it would be found in messages because the file itself says it
		}
		d := newDecoder("expunge.yaml", Options{Getenv: func(name string) (string, bool) { return outside, name != "NONE" }})
		d.readFile = func(string) ([]byte, fs.FileMode, error) { return []byte(outside + "\n"), 0o644, nil }
		c, err := parse(d, data, 0o644, fakeKinds)
		if (c == nil) == (err == nil) {
			t.Fatalf("config %v and error %v", c, err)
		}
		if err != nil {
			problems := Problems(err)
			if len(problems) == 0 {
				t.Fatalf("not an *Error: %v", err)
			}
			// What YAML takes for a line end is more than what most editors do.
			lines := 2
			for _, end := range []string{"\n", "\r", "\u0085", "\u2028", "\u2029"} {
				lines += strings.Count(string(data), end)
			}
			last := 0
			for _, p := range problems {
				if p.Line < last || p.Line > lines {
					t.Errorf("line %d after line %d, in a file of %d", p.Line, last, lines)
				}
				last = p.Line
			}
			if strings.ContainsAny(err.Error(), "\x00\x07\x1b\r") {
				t.Errorf("control characters in %q", err)
			}
			if strings.Contains(err.Error(), "zq9") {
				t.Errorf("the error shows a value from outside: %v", err)
			}
			return
		}
		if len(c.Vendors) == 0 || c.Store == "" || c.KeyFile == "" && c.KeyEnv == "" {
			t.Errorf("incomplete: %+v", c)
		}
		if strings.Contains(strings.Join(c.Warnings, "\n"), "zq9") {
			t.Error("a warning shows a value from outside")
		}
	})
}
