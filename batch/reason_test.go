package batch

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"expunge/vendors"
)

// TestReasonsAreExplained: every reason code in the source is in the closed list, from which
// the help topic "states" is made. A code that is not explained is one that a privacy officer
// cannot act on.
func TestReasonsAreExplained(t *testing.T) {
	inSource := map[string]string{}
	for _, pattern := range []string{"*.go", "decide/*.go", "intake/*.go", "../vendors/*.go", "../vendors/*/*.go", "../store/*.go"} {
		files, err := filepath.Glob(pattern)
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: %v", pattern, err)
		}
		for _, name := range files {
			if strings.HasSuffix(name, "_test.go") {
				continue
			}
			f, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
			if err != nil {
				t.Fatal(err)
			}
			ast.Inspect(f, func(n ast.Node) bool {
				spec, ok := n.(*ast.ValueSpec)
				if !ok || !isReason(spec.Type) {
					return true
				}
				for _, v := range spec.Values {
					if lit, ok := v.(*ast.BasicLit); ok {
						code, err := strconv.Unquote(lit.Value)
						if err != nil {
							t.Fatal(err)
						}
						inSource[code] = name
					}
				}
				return true
			})
		}
	}
	if len(inSource) < 30 {
		t.Fatalf("only %d codes found in the source", len(inSource))
	}
	known := Reasons()
	for code, file := range inSource {
		if known[vendors.Reason(code)] == "" {
			t.Errorf("%s: the code %s is not explained in Reasons", file, code)
		}
	}
	for code := range known {
		if inSource[string(code)] == "" {
			t.Errorf("the code %s is explained and nobody gives it", code)
		}
		if !regexp.MustCompile(`^[a-z]+(_[a-z0-9]+)*$`).MatchString(string(code)) {
			t.Errorf("the code %q is not snake_case", code)
		}
	}
}

func isReason(e ast.Expr) bool {
	switch e := e.(type) {
	case *ast.Ident:
		return e.Name == "Reason"
	case *ast.SelectorExpr:
		return e.Sel.Name == "Reason"
	}
	return false
}
