package ledger

import (
	_ "embed"
	"strings"
)

//go:embed doc.go
var doc string

// Spec is the documentation of this package as a text: the specification from which a stranger
// can write another verifier.
func Spec() string {
	var b strings.Builder
	for line := range strings.Lines(doc) {
		if text, ok := strings.CutPrefix(line, "//"); ok {
			b.WriteString(strings.Replace(strings.TrimPrefix(text, " "), "\t", "    ", 1))
		}
	}
	return b.String()
}
