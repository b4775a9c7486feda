// Package strict reads YAML files that people write and that must not be misread: an unknown
// key, a key given twice, a key without a value and a value that does not fit are all
// errors. Every problem of a file is reported in one go, in the order of its lines, each with
// its line, its column, its key and what to do about it. Anchors, aliases and tags are
// refused: a reader of the file sees each setting where it applies.
//
// It does by itself what yaml's own decoding does, for three reasons: every problem needs its
// key and its line, texts about secrets must not quote them (yaml's do), and values are
// expanded between reading and decoding.
package strict

import (
	"bytes"
	"encoding"
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"go.yaml.in/yaml/v4"

	"expunge/vendors"
)

// Decoder reads YAML nodes into Go values and collects what is wrong.
type Decoder struct {
	Path string // the file, for messages

	// Expand gives the text of a value that is decoded into v, and whether the text must not be
	// shown; ok is false where it has recorded a problem, or has set v. nil: the text as it
	// stands.
	Expand func(n *yaml.Node, key string, v reflect.Value) (text string, hidden, ok bool)
	// Hint says what to do about an unknown key of a group. nil: the known keys are listed.
	Hint func(group, name string, known []string) string

	Keys     map[string]*yaml.Node // where each key stands
	Failed   map[string]bool       // keys that have a problem
	problems []*Error
}

// New returns a decoder for a file.
func New(path string) *Decoder {
	return &Decoder{Path: path, Keys: map[string]*yaml.Node{}, Failed: map[string]bool{}}
}

// Problems is how many problems there are so far.
func (d *Decoder) Problems() int { return len(d.problems) }

// Err is nil, or all problems joined, in line order.
func (d *Decoder) Err() error {
	if len(d.problems) == 0 {
		return nil
	}
	return Join(d.problems)
}

// Fail records a problem of a key that stands at n, or nowhere if n is nil.
func (d *Decoder) Fail(n *yaml.Node, key, problem, hint string) {
	d.Add(n, &Error{Key: key, Problem: problem, Hint: hint})
}

// Add records a problem that stands at n, or nowhere if n is nil.
func (d *Decoder) Add(n *yaml.Node, e *Error) {
	e.Path = d.Path
	if n != nil {
		e.Line, e.Column = n.Line, n.Column
	}
	d.problems = append(d.problems, e)
	d.Failed[e.Key] = true
}

// FailKey records a problem of a key that has been read, or that is missing: then it is
// placed at the nearest key above it, the key "" being above all.
func (d *Decoder) FailKey(key, problem, hint string) {
	var n *yaml.Node
	for at := key; n == nil && at != ""; at = parent(at) {
		n = d.Keys[at]
	}
	if n == nil {
		n = d.Keys[""]
	}
	d.Fail(n, key, problem, hint)
}

func parent(key string) string { return key[:max(0, strings.LastIndexByte(key, '.'))] }

// Under is the key of a name in a group.
func Under(parent, key string) string {
	if parent == "" {
		return key
	}
	return parent + "." + key
}

// Plain reports whether n is plain YAML: no alias, anchor or tag.
func (d *Decoder) Plain(n *yaml.Node, key string) bool {
	if n.Kind == yaml.AliasNode || n.Anchor != "" || n.Style&yaml.TaggedStyle != 0 {
		d.Fail(n, key, "uses an anchor (&), an alias (*) or a tag (!)",
			"write the value out; put a text that begins with one of these signs in quotes")
		return false
	}
	return true
}

// Value decodes n into v, which is settable.
func (d *Decoder) Value(n *yaml.Node, key string, v reflect.Value) {
	if !d.Plain(n, key) {
		return
	}
	if v.Type() == reflect.TypeFor[yaml.Node]() {
		v.Set(reflect.ValueOf(*n))
		return
	}
	if n.ShortTag() == "!!null" {
		d.Fail(n, key, "has no value", "give one, or remove the key to keep the default")
		return
	}
	_, isText := v.Addr().Interface().(encoding.TextUnmarshaler)
	if !isText {
		switch v.Kind() {
		case reflect.Pointer:
			to := reflect.New(v.Type().Elem())
			d.Value(n, key, to.Elem())
			v.Set(to)
			return
		case reflect.Struct:
			d.Structure(n, key, v)
			return
		case reflect.Map:
			d.mapping(n, key, v)
			return
		case reflect.Slice:
			d.list(n, key, v)
			return
		}
	}
	d.scalar(n, key, v)
}

// Pairs calls each for the keys of a mapping, without those that are given twice.
func (d *Decoder) Pairs(n *yaml.Node, key string, each func(name string, k, v *yaml.Node)) {
	if n.Kind != yaml.MappingNode {
		d.Fail(n, key, "must be a group of keys, one a line, indented", "")
		return
	}
	first := map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, v := n.Content[i], n.Content[i+1]
		if k.Kind != yaml.ScalarNode {
			d.Fail(k, key, "holds a key that is not a word", "")
			continue
		}
		at := Under(key, Show(k.Value))
		if line, twice := first[k.Value]; twice {
			d.Fail(k, at, fmt.Sprintf("is given twice, first on line %d", line), "")
			continue
		}
		first[k.Value] = k.Line
		d.Keys[at] = k
		each(k.Value, k, v)
	}
}

// Structure decodes a group of keys that are all known.
func (d *Decoder) Structure(n *yaml.Node, key string, v reflect.Value) {
	known, names := FieldsOf(v.Type())
	d.Pairs(n, key, func(name string, k, value *yaml.Node) {
		at := Under(key, Show(name))
		index, ok := known[name]
		if !ok {
			d.Fail(k, at, "is not a known key", d.keyHint(key, name, names))
			return
		}
		d.Value(value, at, v.FieldByIndex(index))
	})
}

// keyHint says what an unknown key may have been meant to be.
func (d *Decoder) keyHint(group, name string, known []string) string {
	if near := Nearest(name, known); near != "" {
		return fmt.Sprintf("did you mean %s?", near)
	}
	if d.Hint != nil {
		if hint := d.Hint(group, name, known); hint != "" {
			return hint
		}
	}
	return "known here: " + strings.Join(known, ", ")
}

func (d *Decoder) mapping(n *yaml.Node, key string, v reflect.Value) {
	v.Set(reflect.MakeMap(v.Type()))
	d.Pairs(n, key, func(name string, _, value *yaml.Node) {
		element := reflect.New(v.Type().Elem()).Elem()
		d.Value(value, Under(key, Show(name)), element)
		v.SetMapIndex(reflect.ValueOf(name).Convert(v.Type().Key()), element)
	})
}

// list decodes a sequence; a single value stands for a list of one.
func (d *Decoder) list(n *yaml.Node, key string, v reflect.Value) {
	items := []*yaml.Node{n}
	if n.Kind == yaml.SequenceNode {
		items = n.Content
	}
	all := reflect.MakeSlice(v.Type(), len(items), len(items))
	for i, item := range items {
		d.Value(item, key, all.Index(i))
	}
	v.Set(all)
}

// scalar decodes one value.
func (d *Decoder) scalar(n *yaml.Node, key string, v reflect.Value) {
	if n.Kind != yaml.ScalarNode {
		d.Fail(n, key, "must be a single value", "")
		return
	}
	text, hidden := n.Value, false
	if d.Expand != nil {
		var ok bool
		if text, hidden, ok = d.Expand(n, key, v); !ok {
			return
		}
	}
	// Header values, file names and terminals have no use for these; a line break inside a
	// secret is a mistake in the file it came from.
	if strings.ContainsFunc(text, unicode.IsControl) {
		d.Fail(n, key, "holds a line break or another control character", "")
		return
	}
	want, ours := assign(v, text)
	if want == "" {
		return
	}
	problem := want
	switch {
	case hidden:
		// A type's own words may quote the value: only ours are shown.
		if !ours {
			want = "what this key takes"
		}
		problem = fmt.Sprintf("the value of %s is not %s", Show(n.Value), want)
		if _, secret := v.Addr().Interface().(*vendors.Secret); secret {
			problem = "is not " + want
		}
	case ours:
		problem = fmt.Sprintf("%q is not %s", Show(text), want)
	}
	d.Fail(n, key, problem, "")
}

// Wanted is a type that says what its text must be, in words that are safe to show beside a
// hidden value.
type Wanted interface {
	Wants() string // "a deadline such as 1 month or 30 days"
}

// What the types take.
const (
	wantDuration = "a duration such as 30s, 6h or 45d"
	wantRate     = "a rate such as 5/s, 300/m or 10000/d"
	wantBool     = "true or false"
	wantInt      = "a whole number"
	wantFloat    = "a number"
)

// assign sets v from text. If the text does not fit it returns what would, in our words
// or in those of the type's own UnmarshalText.
func assign(v reflect.Value, text string) (want string, ours bool) {
	if v.Type() == reflect.TypeFor[time.Duration]() {
		dur, err := vendors.ParseDuration(text)
		if err != nil {
			return wantDuration, true
		}
		v.SetInt(int64(dur))
		return "", true
	}
	if u, ok := v.Addr().Interface().(encoding.TextUnmarshaler); ok {
		// A type may have touched its value before it fails: keep the default then.
		before := reflect.New(v.Type()).Elem()
		before.Set(v)
		err := u.UnmarshalText([]byte(text))
		if err == nil {
			return "", true
		}
		v.Set(before)
		switch u := u.(type) {
		case *vendors.Duration:
			return wantDuration, true
		case *vendors.Rate:
			return wantRate, true
		case Wanted:
			return u.Wants(), true
		}
		return err.Error(), false
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(text)
	case reflect.Bool:
		switch strings.ToLower(text) {
		case "true":
			v.SetBool(true)
		case "false":
			v.SetBool(false)
		default:
			return wantBool, true
		}
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		i, err := strconv.ParseInt(text, 10, v.Type().Bits())
		if err != nil {
			return wantInt, true
		}
		v.SetInt(i)
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		i, err := strconv.ParseUint(text, 10, v.Type().Bits())
		if err != nil {
			return wantInt, true
		}
		v.SetUint(i)
	case reflect.Float32, reflect.Float64:
		f, err := strconv.ParseFloat(text, v.Type().Bits())
		if err != nil || math.IsNaN(f) || math.IsInf(f, 0) {
			return wantFloat, true
		}
		v.SetFloat(f)
	default:
		return fmt.Sprintf("cannot be read: a file has no %s", v.Type()), false
	}
	return "", true
}

// FieldsOf returns where the keys of a struct are kept, and their names in order. The
// tags are yaml's: `yaml:"name"`, `yaml:",inline"`, `yaml:"-"`.
func FieldsOf(t reflect.Type) (index map[string][]int, names []string) {
	index = map[string][]int{}
	var walk func(t reflect.Type, at []int)
	walk = func(t reflect.Type, at []int) {
		for i := range t.NumField() {
			f := t.Field(i)
			name, options, _ := strings.Cut(f.Tag.Get("yaml"), ",")
			here := append(slices.Clone(at), i)
			switch {
			case name == "-" || !f.IsExported():
			case options == "inline" && f.Type.Kind() == reflect.Struct:
				walk(f.Type, here)
			default:
				if name == "" {
					name = strings.ToLower(f.Name)
				}
				index[name] = here
				names = append(names, name)
			}
		}
	}
	walk(t, nil)
	return index, names
}

// Show makes a text of the file fit for a message: what could play tricks on a terminal
// is quoted, and what is long is cut.
func Show(text string) string {
	if len(text) > 100 {
		text = strings.ToValidUTF8(text[:100], "") + "…"
	}
	if strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return strconv.Quote(text)
	}
	return text
}

// Document reads the YAML, without any meaning yet. Of a file that is empty it says what to do
// in the words of emptyHint.
func (d *Decoder) Document(data []byte, emptyHint string) (*yaml.Node, error) {
	empty := &Error{Path: d.Path, Problem: "is empty", Hint: emptyHint}
	if line := badLine(data); line > 0 {
		return nil, &Error{Path: d.Path, Line: line, Problem: "is not UTF-8 text"}
	}
	if len(bytes.TrimSpace(data)) == 0 {
		return nil, empty
	}
	docs := []yaml.Node{}
	if err := yaml.Load(data, &docs, yaml.WithAllDocuments()); err != nil {
		return nil, d.syntax(err)
	}
	switch {
	case len(docs) > 1:
		return nil, &Error{
			Path: d.Path, Line: docs[1].Line, Column: docs[1].Column,
			Problem: "a second YAML document begins here", Hint: "keep everything above the line ---",
		}
	case len(docs) == 0 || len(docs[0].Content) == 0 || docs[0].Content[0].ShortTag() == "!!null":
		return nil, empty
	}
	return docs[0].Content[0], nil
}

// syntax makes an Error of what yaml says. Its words are kept where they cannot quote the
// file, which may hold secrets.
func (d *Decoder) syntax(err error) error {
	e := &Error{Path: d.Path, Problem: "is not YAML"}
	var le *yaml.LoadError
	if !errors.As(err, &le) {
		return e
	}
	e.Line, e.Column = le.Mark.Line, le.Mark.Column
	switch le.Stage {
	case yaml.ReaderStage, yaml.ScannerStage, yaml.ParserStage:
		e.Problem = "is not YAML: " + le.Message
		if le.ContextMsg != "" {
			e.Problem += " " + le.ContextMsg
			if le.ContextMark.Line != le.Mark.Line {
				e.Problem += fmt.Sprintf(" that begins on line %d", le.ContextMark.Line)
			}
		}
		e.Hint = "put a value in quotes if it has one of : # { } [ ] , & * ! | > ' \" % @ ` in it"
	case yaml.ComposerStage:
		e.Problem = "uses an alias (*), which is not supported"
		e.Hint = "put a text that begins with * in quotes"
	}
	return e
}

// badLine returns the line of the first byte that is not UTF-8 text, or 0.
func badLine(data []byte) int {
	line := 1
	for i := 0; i < len(data); {
		r, size := utf8.DecodeRune(data[i:])
		switch {
		case r == utf8.RuneError && size == 1, r < ' ' && r != '\n' && r != '\r' && r != '\t', r == 0x7f:
			return line
		case r == '\n':
			line++
		}
		i += size
	}
	return 0
}
