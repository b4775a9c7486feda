package exports

import (
	"archive/zip"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

type file struct {
	name, text string
	stored     bool // not compressed, with its size in front
	raw        bool // compressed, with its size in front
}

func pack(t testing.TB, files ...file) []byte {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for _, f := range files {
		h := &zip.FileHeader{Name: f.name, Method: zip.Deflate}
		var w io.Writer
		var err error
		text := f.text
		if f.stored || f.raw {
			// What archive/zip makes of it, taken out and put in with the sizes in front.
			h2 := *h
			if f.stored {
				h2.Method = zip.Store
			}
			var one bytes.Buffer
			zz := zip.NewWriter(&one)
			ww, _ := zz.CreateHeader(&h2)
			io.WriteString(ww, f.text)
			zz.Close()
			zr, err := zip.NewReader(bytes.NewReader(one.Bytes()), int64(one.Len()))
			if err != nil {
				t.Fatal(err)
			}
			raw, err := zr.File[0].OpenRaw()
			if err != nil {
				t.Fatal(err)
			}
			body, _ := io.ReadAll(raw)
			h = &zr.File[0].FileHeader
			h.Flags &^= 8
			text = string(body)
			w, err = z.CreateRaw(h)
			if err != nil {
				t.Fatal(err)
			}
		} else if w, err = z.CreateHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, text); err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// inspect is what a stream of these bytes was.
func inspect(b []byte) (Content, error) {
	var e ends
	for len(b) > 0 { // in pieces, as they come
		n := min(len(b), 1000)
		e.Write(b[:n])
		b = b[n:]
	}
	return e.content()
}

// An export of nothing is told from one of something in every form in which zips are
// written: a wrong word would be a wrong answer to a person.
func TestInspect(t *testing.T) {
	two := "{\"a\":1}\n{\"b\":2}\n"
	many := make([]file, 3000) // a directory larger than what is kept of the end
	for i := range many {
		many[i] = file{name: fmt.Sprintf("events/%05d.jsonl", i)}
	}
	for _, test := range []struct {
		name  string
		files []file
		want  Content
	}{
		{"as the vendor's", []file{{name: "views.jsonl", text: two}, {name: "carts.jsonl", text: two + two}}, Content{Files: 2}},
		{"sizes in front", []file{{name: "views.jsonl", text: two, raw: true}, {name: "b", text: two}}, Content{Files: 2}},
		{"not compressed", []file{{name: "views.jsonl", text: two, stored: true}, {name: "b", text: two}}, Content{Files: 2}},
		{"longer than what is kept of it", []file{{name: "a", text: strings.Repeat(two, 50000), stored: true}}, Content{Files: 1}},
		{"an empty file", []file{{name: "views.jsonl"}}, Content{Files: 1}},
		{"many files", many, Content{Files: 3000}},
		{"nothing held", []file{{name: "empty.txt"}}, Content{Files: 1, Empty: true}},
		{"nothing held, in words", []file{{name: "empty.txt", text: "No data was found."}}, Content{Files: 1, Empty: true}},
		{"empty.txt beside data", []file{{name: "empty.txt"}, {name: "a", text: "{}"}}, Content{Files: 2}},
		{"a long text is not nothing", []file{{name: "empty.txt", text: strings.Repeat("{}\n", 5000)}}, Content{Files: 1}},
		{"a longer name is not nothing", []file{{name: "empty.txt.jsonl"}}, Content{Files: 1}},
		{"no file at all", nil, Content{}},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := inspect(pack(t, test.files...))
			if diff := cmp.Diff(test.want, got); err != nil || diff != "" {
				t.Errorf("%v, -want +got:\n%s", err, diff)
			}
		})
	}
	for name, want := range map[string]Content{"export-result.zip": {Files: 2}, "export-empty.zip": {Files: 1, Empty: true}} {
		b, err := os.ReadFile(filepath.Join("../../testdata/wire/voyado", name))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := inspect(b); err != nil || got != want {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}

// More files, or more bytes, than the old form of a zip has room for, and a comment.
func TestInspectLarge(t *testing.T) {
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for i := range 1<<16 + 1 {
		if _, err := z.Create(fmt.Sprint(i)); err != nil {
			t.Fatal(err)
		}
	}
	z.SetComment(strings.Repeat("PK\x05\x06", 100))
	z.Close()
	if got, err := inspect(b.Bytes()); err != nil || got != (Content{Files: 1<<16 + 1}) {
		t.Errorf("%+v, %v", got, err)
	}
	if got, err := inspect(b.Bytes()[:b.Len()-1]); !errors.Is(err, ErrNotExport) {
		t.Errorf("cut: %+v, %v", got, err)
	}
}

// What is no zip, was cut anywhere, or lacks bytes in its middle is never taken for an
// export.
func TestInspectDamaged(t *testing.T) {
	whole := pack(t, file{name: "views.jsonl", text: strings.Repeat("{\"a\":1}\n", 20)}, file{name: "empty.txt", raw: true, text: "{}"})
	for n := range whole {
		if got, err := inspect(whole[:n]); !errors.Is(err, ErrNotExport) {
			t.Fatalf("cut after %d of %d bytes: %+v, %v", n, len(whole), got, err)
		}
		if got, err := inspect(append(bytes.Clone(whole[:n]), whole[n+1:]...)); !errors.Is(err, ErrNotExport) {
			t.Fatalf("without byte %d of %d: %+v, %v", n, len(whole), got, err)
		}
	}
	end := len(whole) - lenEnd
	for name, b := range map[string][]byte{
		"HTML":                []byte("<!doctype html><title>Sign in</title>"),
		"JSON":                []byte(`{"status":404}`),
		"HTML, then the end":  append([]byte("<!doctype html>"), whole[end:]...),
		"a byte behind":       append(bytes.Clone(whole), 'x'),
		"two of them":         append(bytes.Clone(whole), whole...),
		"zeros":               make([]byte, 100),
		"more files than fit": append(append(bytes.Clone(whole[:end+10]), 0xff, 0x7f), whole[end+12:]...),
	} {
		if got, err := inspect(b); !errors.Is(err, ErrNotExport) {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}

// Memory does not grow with the zip.
func TestInspectMemory(t *testing.T) {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	var e ends
	block := make([]byte, 32<<10)
	for range 64 << 5 { // 64 MiB
		e.Write(block)
	}
	runtime.ReadMemStats(&after)
	if n := after.TotalAlloc - before.TotalAlloc; n > 1<<20 || e.n != 64<<20 {
		t.Errorf("allocated %d KiB for %d bytes", n>>10, e.n)
	}
}

// FuzzInspect: no bytes make it panic or see what archive/zip does not see.
func FuzzInspect(f *testing.F) {
	f.Add(pack(f, file{name: "a", text: "{}\n{}"}, file{name: "b", text: "x", stored: true}))
	f.Add(pack(f, file{name: "empty.txt"}))
	f.Add([]byte("PK\x05\x06"))
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := inspect(b)
		if err != nil {
			return
		}
		z, err := zip.NewReader(bytes.NewReader(b), int64(len(b)))
		if err != nil {
			return // archive/zip looks at more of the directory
		}
		if len(z.File) != got.Files || got.Empty && z.File[0].Name != emptyName {
			t.Errorf("%+v, archive/zip sees %d files", got, len(z.File))
		}
	})
}
