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
		if d := distance(fold(word), fold(k)); d < least {
			best, least = k, d
		}
	}
	return best
}

// distance is the number of letters to insert, drop, replace or swap with their neighbour
// to make b of a.
func distance(a, b string) int {
	rows := make([][]int, len(a)+1) // rows[i][j]: from a[:i] to b[:j]
	for i := range rows {
		rows[i] = make([]int, len(b)+1)
		rows[i][0] = i
	}
	for j := range rows[0] {
		rows[0][j] = j
	}
	for i := 1; i <= len(a); i++ {
		for j := 1; j <= len(b); j++ {
			d := rows[i-1][j-1]
			if a[i-1] != b[j-1] {
				d = 1 + min(d, rows[i-1][j], rows[i][j-1])
				if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
					d = min(d, 1+rows[i-2][j-2])
				}
			}
			rows[i][j] = d
		}
	}
	return rows[len(a)][len(b)]
}
