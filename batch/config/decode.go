package config

import (
	"encoding"
	"fmt"
	"io/fs"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"go.yaml.in/yaml/v4"

	"expunge/vendors"
)

// decoder reads YAML nodes into Go values and collects what is wrong.
//
// It does by itself what yaml's own decoding does, for three reasons: every problem needs
// its key and its line, texts about secrets must not quote them (yaml's do), and values
// are expanded between reading and decoding.
type decoder struct {
	path     string
	dir      string
	getenv   func(string) (string, bool)
	readFile func(path string) ([]byte, fs.FileMode, error)

	problems []*Error
	failed   map[string]bool       // keys that have a problem
	keys     map[string]*yaml.Node // where each key stands
	hidden   []string              // values that must not be shown
	literals []literal             // secrets that the file holds itself
	warnings []string
}

type literal struct {
	key  string
	node *yaml.Node
}

// fail records a problem of a key that stands at n, or nowhere if n is nil.
func (d *decoder) fail(n *yaml.Node, key string, t *trouble) {
	e := &Error{Path: d.path, Key: key, Problem: t.problem, Hint: t.hint, err: t.err}
	if n != nil {
		e.Line, e.Column = n.Line, n.Column
	}
	d.problems = append(d.problems, e)
	d.failed[key] = true
}

// failKey records a problem of a key that has been read, or that is missing: then it is
// placed at the nearest key above it.
func (d *decoder) failKey(key, problem, hint string) {
	var n *yaml.Node
	for at := key; n == nil && at != ""; at = parent(at) {
		n = d.keys[at]
	}
	d.fail(n, key, &trouble{problem: problem, hint: hint})
}

func (d *decoder) warn(n *yaml.Node, key, text string) {
	d.warnings = append(d.warnings, where(d.path, n.Line, key)+text)
}

func parent(key string) string { return key[:max(0, strings.LastIndexByte(key, '.'))] }

func under(parent, key string) string {
	if parent == "" {
		return key
	}
	return parent + "." + key
}

// plain reports whether n is plain YAML: no alias, anchor or tag.
func (d *decoder) plain(n *yaml.Node, key string) bool {
	if n.Kind == yaml.AliasNode || n.Anchor != "" || n.Style&yaml.TaggedStyle != 0 {
		d.fail(n, key, &trouble{
			problem: "uses an anchor (&), an alias (*) or a tag (!)",
			hint:    "write the value out; put a text that begins with one of these signs in quotes",
		})
		return false
	}
	return true
}

// value decodes n into v, which is settable.
func (d *decoder) value(n *yaml.Node, key string, v reflect.Value) {
	if !d.plain(n, key) {
		return
	}
	if v.Type() == reflect.TypeFor[yaml.Node]() {
		v.Set(reflect.ValueOf(*n))
		return
	}
	if n.ShortTag() == "!!null" {
		d.fail(n, key, &trouble{problem: "has no value", hint: "give one, or remove the key to keep the default"})
		return
	}
	_, isText := v.Addr().Interface().(encoding.TextUnmarshaler)
	if !isText {
		switch v.Kind() {
		case reflect.Pointer:
			to := reflect.New(v.Type().Elem())
			d.value(n, key, to.Elem())
			v.Set(to)
			return
		case reflect.Struct:
			d.structure(n, key, v)
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

// pairs calls each for the keys of a mapping, without those that are given twice.
func (d *decoder) pairs(n *yaml.Node, key string, each func(name string, k, v *yaml.Node)) {
	if n.Kind != yaml.MappingNode {
		d.fail(n, key, &trouble{problem: "must be a group of keys, one a line, indented"})
		return
	}
	first := map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, v := n.Content[i], n.Content[i+1]
		if k.Kind != yaml.ScalarNode {
			d.fail(k, key, &trouble{problem: "holds a key that is not a word"})
			continue
		}
		at := under(key, show(k.Value))
		if line, twice := first[k.Value]; twice {
			d.fail(k, at, &trouble{problem: fmt.Sprintf("is given twice, first on line %d", line)})
			continue
		}
		first[k.Value] = k.Line
		d.keys[at] = k
		each(k.Value, k, v)
	}
}

// structure decodes a group of keys that are all known.
func (d *decoder) structure(n *yaml.Node, key string, v reflect.Value) {
	known, names := fieldsOf(v.Type())
	d.pairs(n, key, func(name string, k, value *yaml.Node) {
		at := under(key, show(name))
		index, ok := known[name]
		if !ok {
			d.fail(k, at, &trouble{problem: "is not a known key", hint: keyHint(key, name, names)})
			return
		}
		d.value(value, at, v.FieldByIndex(index))
	})
}

// keyHint says what an unknown key may have been meant to be.
func keyHint(group, name string, known []string) string {
	if near := nearest(name, known); near != "" {
		return fmt.Sprintf("did you mean %s?", near)
	}
	_, top := fieldsOf(reflect.TypeFor[file]())
	_, common := fieldsOf(reflect.TypeFor[vendors.Common]())
	switch {
	case group != "" && slices.Contains(top, name):
		return name + " belongs at the top of the file, not indented"
	case group == "" && slices.Contains(common, name):
		return name + " belongs to a vendor: indent it below one"
	}
	return "known here: " + strings.Join(known, ", ")
}

func (d *decoder) mapping(n *yaml.Node, key string, v reflect.Value) {
	v.Set(reflect.MakeMap(v.Type()))
	d.pairs(n, key, func(name string, _, value *yaml.Node) {
		element := reflect.New(v.Type().Elem()).Elem()
		d.value(value, under(key, show(name)), element)
		v.SetMapIndex(reflect.ValueOf(name).Convert(v.Type().Key()), element)
	})
}

// list decodes a sequence; a single value stands for a list of one.
func (d *decoder) list(n *yaml.Node, key string, v reflect.Value) {
	items := []*yaml.Node{n}
	if n.Kind == yaml.SequenceNode {
		items = n.Content
	}
	all := reflect.MakeSlice(v.Type(), len(items), len(items))
	for i, item := range items {
		d.value(item, key, all.Index(i))
	}
	v.Set(all)
}

// scalar decodes one value.
func (d *decoder) scalar(n *yaml.Node, key string, v reflect.Value) {
	if n.Kind != yaml.ScalarNode {
		d.fail(n, key, &trouble{problem: "must be a single value"})
		return
	}
	text, from, t := d.expand(n.Value)
	if t != nil {
		d.fail(n, key, t)
		return
	}
	if from.warning != "" {
		d.warn(n, key, from.warning)
	}
	_, secret := v.Addr().Interface().(*vendors.Secret)
	if secret && !from.outside && text != "" {
		d.literals = append(d.literals, literal{key, n})
	}
	if from.outside || secret {
		d.hidden = append(d.hidden, text)
	}
	// Header values, file names and terminals have no use for these; a line break inside a
	// secret is a mistake in the file it came from.
	if strings.ContainsFunc(text, unicode.IsControl) {
		d.fail(n, key, &trouble{problem: "holds a line break or another control character"})
		return
	}
	want := assign(v, text)
	if want == "" {
		return
	}
	problem := want
	switch ours := slices.Contains(wants, want); {
	case from.outside || secret:
		// A type's own words may quote the value: only ours are shown.
		if !ours {
			want = "what this key takes"
		}
		problem = fmt.Sprintf("the value of %s is not %s", show(n.Value), want)
		if secret {
			problem = "is not " + want
		}
	case ours:
		problem = fmt.Sprintf("%q is not %s", show(text), want)
	}
	d.fail(n, key, &trouble{problem: problem})
}

// What the types take. The words are ours, so that they are safe to show beside a hidden
// value.
const (
	wantDuration = "a duration such as 30s, 6h or 45d"
	wantRate     = "a rate such as 5/s, 300/m or 10000/d"
	wantBool     = "true or false"
	wantInt      = "a whole number"
	wantFloat    = "a number"
)

var wants = []string{wantDuration, wantRate, wantDeadline, wantBool, wantInt, wantFloat}

// assign sets v from text. If the text does not fit it returns what would: one of wants,
// or the words of the type's own UnmarshalText.
func assign(v reflect.Value, text string) (want string) {
	if v.Type() == reflect.TypeFor[time.Duration]() {
		dur, err := vendors.ParseDuration(text)
		if err != nil {
			return wantDuration
		}
		v.SetInt(int64(dur))
		return ""
	}
	if u, ok := v.Addr().Interface().(encoding.TextUnmarshaler); ok {
		// A type may have touched its value before it fails: keep the default then.
		before := reflect.New(v.Type()).Elem()
		before.Set(v)
		err := u.UnmarshalText([]byte(text))
		if err == nil {
			return ""
		}
		v.Set(before)
		switch u.(type) {
		case *vendors.Duration:
			return wantDuration
		case *vendors.Rate:
			return wantRate
		case *Deadline:
			return wantDeadline
		}
		return err.Error()
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
			return wantBool
		}
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		i, err := strconv.ParseInt(text, 10, v.Type().Bits())
		if err != nil {
			return wantInt
		}
		v.SetInt(i)
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		i, err := strconv.ParseUint(text, 10, v.Type().Bits())
		if err != nil {
			return wantInt
		}
		v.SetUint(i)
	case reflect.Float32, reflect.Float64:
		f, err := strconv.ParseFloat(text, v.Type().Bits())
		if err != nil || math.IsNaN(f) || math.IsInf(f, 0) {
			return wantFloat
		}
		v.SetFloat(f)
	default:
		return fmt.Sprintf("cannot be read: a config has no %s", v.Type())
	}
	return ""
}

// fieldsOf returns where the keys of a struct are kept, and their names in order. The
// tags are yaml's: `yaml:"name"`, `yaml:",inline"`, `yaml:"-"`.
func fieldsOf(t reflect.Type) (index map[string][]int, names []string) {
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

// show makes a text of the file fit for a message: what could play tricks on a terminal
// is quoted, and what is long is cut.
func show(text string) string {
	if len(text) > 100 {
		text = strings.ToValidUTF8(text[:100], "") + "…"
	}
	if strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return strconv.Quote(text)
	}
	return text
}
