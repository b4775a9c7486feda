package strict

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Error is one problem of a YAML file.
type Error struct {
	Path    string // the file, as it was named
	Line    int    // from 1; 0 where the problem belongs to no line
	Column  int    // from 1; 0 as above
	Key     string // "vendors.voyado.api_key"; "" where the problem belongs to no key
	Problem string // "environment variable VOYADO_API_KEY is not set"
	Hint    string // what to do about it; may be ""

	Cause error // such as fs.ErrNotExist; may be nil
}

// Error gives the problem on one line, and the hint, where there is one, on a second.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(Where(e.Path, e.Line, e.Key))
	b.WriteString(e.Problem)
	if e.Hint != "" {
		b.WriteString("\nhint: ")
		b.WriteString(e.Hint)
	}
	return b.String()
}

// Unwrap gives the cause, such as fs.ErrNotExist, if there is one.
func (e *Error) Unwrap() error { return e.Cause }

// Problems returns every *Error in err, in order: what Decoder.Err returns is one or
// several of them joined.
func Problems(err error) []*Error {
	switch e := err.(type) {
	case nil:
		return nil
	case *Error:
		return []*Error{e}
	case interface{ Unwrap() []error }:
		var all []*Error
		for _, one := range e.Unwrap() {
			all = append(all, Problems(one)...)
		}
		return all
	}
	return Problems(errors.Unwrap(err))
}

// Where is the beginning of a message about one place of the file.
func Where(path string, line int, key string) string {
	var b strings.Builder
	b.WriteString(path)
	if line > 0 {
		fmt.Fprintf(&b, ":%d", line)
	}
	b.WriteString(": ")
	if key != "" {
		b.WriteString(key + ": ")
	}
	return b.String()
}

// Join makes one error of the problems, in line order.
func Join(problems []*Error) error {
	slices.SortStableFunc(problems, func(a, b *Error) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	var all []error
	for _, p := range problems {
		all = append(all, p)
	}
	return errors.Join(all...)
}

// Nearest returns the known name that word was probably meant to be, or "".
func Nearest(word string, known []string) string {
	fold := func(s string) string {
		return strings.NewReplacer("-", "_", " ", "_").Replace(strings.ToLower(s))
	}
	if len(word) > 64 {
		return ""
	}
	best, least := "", 1+max(1, len(word)/3)
	for _, k := range known {
		if d := Distance(fold(word), fold(k)); d < least {
			best, least = k, d
		}
	}
	return best
}

// Distance is how many letters must be added, dropped, changed or swapped with their
// neighbour to make b of a (optimal string alignment).
func Distance(a, b string) int {
	s, t := []rune(a), []rune(b)
	before, last, row := make([]int, len(t)+1), make([]int, len(t)+1), make([]int, len(t)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(s); i++ {
		row[0] = i
		for j := 1; j <= len(t); j++ {
			change := 1
			if s[i-1] == t[j-1] {
				change = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+change)
			if i > 1 && j > 1 && s[i-1] == t[j-2] && s[i-2] == t[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(t)]
}
