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

// What an export holds is counted right in every form in which zips are written, and what
// cannot be counted is said to be so: a wrong count would be a wrong answer to a person.
func TestInspect(t *testing.T) {
	two := "{\"a\":1}\n{\"b\":2}\n"
	for _, test := range []struct {
		name  string
		files []file
		want  Content
	}{
		{"as the vendor's", []file{{name: "views.jsonl", text: two}, {name: "carts.jsonl", text: two + two}}, Content{Files: 2, Lines: 6}},
		{"sizes in front", []file{{name: "views.jsonl", text: two, raw: true}, {name: "b", text: two}}, Content{Files: 2, Lines: 4}},
		{"not compressed", []file{{name: "views.jsonl", text: two, stored: true}, {name: "b", text: two}}, Content{Files: 2, Lines: 4}},
		{"no line end at the end", []file{{name: "a", text: "{}\n{}"}}, Content{Files: 1, Lines: 2}},
		{"blank lines and CRLF", []file{{name: "a", text: "{}\r\n\r\n \n{}\r\n"}}, Content{Files: 1, Lines: 2}},
		{"lines that are not JSON", []file{{name: "a", text: "{}\nname;city\n{\"a\":\n"}}, Content{Files: 1, Lines: 3, NotJSON: 2}},
		{"an empty file", []file{{name: "views.jsonl"}}, Content{Files: 1}},
		{"a folder", []file{{name: "events/"}, {name: "events/a", text: "{}"}}, Content{Files: 2, Lines: 1}},
		{"nothing held", []file{{name: "empty.txt"}}, Content{Files: 1, Empty: true}},
		{"nothing held, in words", []file{{name: "empty.txt", text: "No data was found."}}, Content{Files: 1, Empty: true}},
		{"empty.txt beside data", []file{{name: "empty.txt"}, {name: "a", text: "{}"}}, Content{Files: 2, Lines: 1}},
		{"a long text is not nothing", []file{{name: "empty.txt", text: strings.Repeat("{}\n", 5000)}}, Content{Files: 1, Lines: 5000}},
		{"names that lead elsewhere", []file{{name: "../../etc/passwd", text: "{}"}, {name: "/abs", text: "{}"}, {name: `c\d`, text: "{}"}, {name: "a..b", text: "{}"}},
			Content{Files: 4, Lines: 4, Unsafe: 3}},
		{"a long line", []file{{name: "a", text: `"` + strings.Repeat("x", 3<<20) + "\"\n{}\n"}}, Content{Files: 1, Lines: 2}},
		{"no file at all", nil, Content{}},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := inspect(bytes.NewReader(pack(t, test.files...)))
			if diff := cmp.Diff(test.want, got); err != nil || diff != "" {
				t.Errorf("%v, -want +got:\n%s", err, diff)
			}
		})
	}
	for name, want := range map[string]Content{"export-result.zip": {Files: 2, Lines: 3}, "export-empty.zip": {Files: 1, Empty: true}} {
		b, err := os.ReadFile(filepath.Join("../../testdata/wire/voyado", name))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := inspect(bytes.NewReader(b)); err != nil || got != want {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}

// A zip whose form cannot be read from the front is kept and said to be unchecked, rather
// than thrown away: the vendor does not give it twice.
func TestInspectUnchecked(t *testing.T) {
	streamed := func(h zip.FileHeader) []byte {
		var b bytes.Buffer
		z := zip.NewWriter(&b)
		w, err := z.CreateHeader(&h)
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(w, "{}\n")
		z.Close()
		return b.Bytes()
	}
	locked := pack(t, file{name: "a", text: "{}", stored: true})
	locked[6] |= 1
	odd := pack(t, file{name: "a", text: "{}", stored: true})
	odd[8] = 12 // bzip2
	many := make([]file, maxEntries+1)
	for i := range many {
		many[i] = file{name: fmt.Sprintf("f%d", i)}
	}
	for name, b := range map[string][]byte{
		"stored, size behind": streamed(zip.FileHeader{Name: "a", Method: zip.Store}),
		"with a password":     locked,
		"other compression":   odd,
		"too many files":      pack(t, many...),
	} {
		if got, err := inspect(bytes.NewReader(b)); err != nil || got.Unchecked == "" || got.Empty {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}

// What is no zip, was cut anywhere, or has a wrong byte is never taken for an export.
func TestInspectDamaged(t *testing.T) {
	whole := pack(t, file{name: "views.jsonl", text: strings.Repeat("{\"a\":1}\n", 20)}, file{name: "empty.txt", raw: true, text: "{}"})
	for n := range whole {
		if got, err := inspect(bytes.NewReader(whole[:n])); !errors.Is(err, ErrNotExport) {
			t.Fatalf("cut after %d of %d bytes: %+v, %v", n, len(whole), got, err)
		}
	}
	for name, b := range map[string][]byte{
		"HTML":          []byte("<!doctype html><title>Sign in</title>"),
		"JSON":          []byte(`{"status":404}`),
		"a byte behind": append(bytes.Clone(whole), 'x'),
		"two of them":   append(bytes.Clone(whole), whole...),
		"zeros":         make([]byte, 100),
	} {
		if got, err := inspect(bytes.NewReader(b)); !errors.Is(err, ErrNotExport) {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
	// A wrong byte in the content of a file is found by its checksum or by unpacking.
	content := bytes.Index(whole, []byte("views.jsonl")) + len("views.jsonl")
	for i := content; i < content+10; i++ {
		b := bytes.Clone(whole)
		b[i] ^= 0x10
		if got, err := inspect(bytes.NewReader(b)); err == nil && got.Unchecked == "" {
			t.Errorf("byte %d changed: %+v", i, got)
		}
	}
	broken := errors.New("broken")
	if _, err := inspect(io.MultiReader(bytes.NewReader(whole[:50]), failing{broken})); !errors.Is(err, broken) {
		t.Errorf("a reader's error is lost: %v", err)
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

// Memory does not grow with what is in the zip, however well it was compressed.
func TestInspectMemory(t *testing.T) {
	r, w := io.Pipe()
	go func() {
		z := zip.NewWriter(w)
		f, _ := z.Create("views.jsonl")
		line := `{"a":"` + strings.Repeat("x", 1015) + "\"}\n" // 1 KiB
		block := bytes.Repeat([]byte(line), 1<<10)
		for range 64 {
			f.Write(block)
		}
		z.Close()
		w.Close()
	}()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	got, err := inspect(r)
	runtime.ReadMemStats(&after)
	if err != nil || got.Lines != 64<<10 {
		t.Fatalf("%+v, %v", got, err)
	}
	if n := after.TotalAlloc - before.TotalAlloc; n > 16<<20 { // of 64 MiB
		t.Errorf("allocated %d MiB", n>>20)
	}
}

// FuzzInspect: no bytes make it panic or count what archive/zip does not see.
func FuzzInspect(f *testing.F) {
	f.Add(pack(f, file{name: "a", text: "{}\n{}"}, file{name: "b", text: "x", stored: true}))
	f.Add(pack(f, file{name: "empty.txt"}))
	f.Add([]byte("PK\x05\x06"))
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := inspect(bytes.NewReader(b))
		if err != nil || got.Unchecked != "" {
			return
		}
		z, err := zip.NewReader(bytes.NewReader(b), int64(len(b)))
		if err != nil {
			return // archive/zip looks at more of the directory
		}
		if len(z.File) != got.Files {
			t.Errorf("%d files, archive/zip sees %d", got.Files, len(z.File))
		}
	})
}
