package decide

import (
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// TestCallsNobody: no decision can act. A package that is not on this list may be one
// through which something leaves this process, or waits, or is written.
func TestCallsNobody(t *testing.T) {
	pure := []string{"cmp", "errors", "fmt", "maps", "math/rand/v2", "slices", "strconv", "strings", "time", "expunge/store", "expunge/vendors"}
	for file, paths := range imports(t, ".") {
		for _, path := range paths {
			if !slices.Contains(pure, path) {
				t.Errorf("%s imports %s: a decision is made of what is known, and of nothing that could act", file, path)
			}
		}
	}
}

// TestOneWay: store and vendors know neither each other nor batch (DESIGN.md, layout).
func TestOneWay(t *testing.T) {
	for room, others := range map[string][]string{"store": {"batch", "vendors", "cmd"}, "vendors": {"batch", "store", "cmd"}} {
		for file, paths := range imports(t, filepath.Join("..", "..", room)) {
			for _, path := range paths {
				for _, other := range others {
					if path == "expunge/"+other || strings.HasPrefix(path, "expunge/"+other+"/") {
						t.Errorf("%s imports %s: %s knows nothing of %s", file, path, room, other)
					}
				}
			}
		}
	}
}

// imports lists what the files below a folder import, tests aside.
func imports(t *testing.T, root string) map[string][]string {
	t.Helper()
	all := map[string][]string{}
	err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
			return err
		}
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		for _, imp := range f.Imports {
			path, err := strconv.Unquote(imp.Path.Value)
			if err != nil {
				return err
			}
			all[name] = append(all[name], path)
		}
		return nil
	})
	if err != nil || len(all) < 5 {
		t.Fatalf("%s: %d files, %v", root, len(all), err)
	}
	return all
}
