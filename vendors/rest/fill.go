package rest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"

	"expunge/vendors"
)

// This file puts values into requests. What a person is known by never becomes part of a
// request's structure: it is escaped, or it is not sent.

// placeholder is a {name} or {name:spelling} in a recipe's text.
var placeholder = regexp.MustCompile(`\{([a-z][a-z0-9_]*(?:\.[A-Za-z0-9_]+)?)(?::([a-z]+))?\}`)

// template is a text with placeholders.
type template []piece

// piece is a text as it stands, or the name of a value and how it is spelled.
type piece struct{ text, name, spelling string }

// The spellings of a value inside a query language.
const (
	asJSON   = "json"   // a JSON string: "it's \"so\""
	asQuoted = "quoted" // single quotes, with \ before quotes and backslashes: 'it\'s'
)

func parseTemplate(text string) template {
	var t template
	at := 0
	for _, m := range placeholder.FindAllStringSubmatchIndex(text, -1) {
		if m[0] > at {
			t = append(t, piece{text: text[at:m[0]]})
		}
		p := piece{name: text[m[2]:m[3]]}
		if m[4] >= 0 {
			p.spelling = text[m[4]:m[5]]
		}
		t, at = append(t, p), m[1]
	}
	if at < len(text) || len(t) == 0 {
		t = append(t, piece{text: text[at:]})
	}
	return t
}

func (t template) uses(name string) bool {
	return slices.ContainsFunc(t, func(p piece) bool { return p.name == name || strings.HasPrefix(p.name, name+".") })
}

// values are what placeholders stand for, by name.
type values map[string]string

func (v values) with(name, value string) values {
	v = maps.Clone(v)
	v[name] = value
	return v
}

// errUnfit says that the identifier cannot be put where the recipe wants it without bending
// the request.
var errUnfit = errors.New("the identifier cannot be sent")

// plainText is what may stand inside a longer text without being spelled.
var plainText = regexp.MustCompile(`^[A-Za-z0-9@._+-]+$`)

// fill puts the values in. In a longer text an identifier is plain or spelled; alone it is
// taken as it is, for who encodes the whole (JSON, a query, a form) keeps it in its place.
func (t template) fill(v values) (string, error) {
	var b strings.Builder
	for _, p := range t {
		if p.name == "" {
			b.WriteString(p.text)
			continue
		}
		value := v[p.name]
		if value == "" {
			return "", vendors.ErrNoValue
		}
		switch {
		case p.spelling == asJSON:
			quoted, err := json.Marshal(value)
			if err != nil {
				return "", errUnfit
			}
			b.Write(quoted)
		case p.spelling == asQuoted:
			b.WriteString("'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(value) + "'")
		case len(t) > 1 && p.name == "identifier" && !plainText.MatchString(value):
			return "", errUnfit
		default:
			b.WriteString(value)
		}
	}
	return b.String(), nil
}

// fillPath escapes each value. One that could climb to another path is unfit, as it stands or
// decoded once, for some servers decode before they look.
func (t template) fillPath(v values, strict bool) (string, error) {
	var b strings.Builder
	for _, p := range t {
		if p.name == "" {
			b.WriteString(p.text)
			continue
		}
		value := v[p.name]
		if value == "" {
			return "", vendors.ErrNoValue
		}
		if strict && strings.ContainsAny(value, `/\%`) {
			return "", errUnfit
		}
		for _, form := range []string{value, decoded(value)} {
			segments := strings.FieldsFunc(form, func(r rune) bool { return r == '/' || r == '\\' })
			if slices.Contains(segments, ".") || slices.Contains(segments, "..") {
				return "", errUnfit
			}
		}
		b.WriteString(url.PathEscape(value))
	}
	return b.String(), nil
}

func decoded(value string) string {
	if d, err := url.PathUnescape(value); err == nil {
		return d
	}
	return value
}

// parseJSON compiles the json of a request: texts become templates, all else stays.
func parseJSON(n *yaml.Node) (any, error) {
	switch n.Kind {
	case yaml.MappingNode:
		m := map[string]any{}
		for i := 0; i+1 < len(n.Content); i += 2 {
			v, err := parseJSON(n.Content[i+1])
			if err != nil {
				return nil, err
			}
			m[n.Content[i].Value] = v
		}
		return m, nil
	case yaml.SequenceNode:
		list := []any{}
		for _, item := range n.Content {
			v, err := parseJSON(item)
			if err != nil {
				return nil, err
			}
			list = append(list, v)
		}
		return list, nil
	case yaml.ScalarNode:
		switch tag := n.ShortTag(); {
		case tag == "!!str":
			return parseTemplate(n.Value), nil
		case n.Style&yaml.TaggedStyle == 0 && json.Valid([]byte(n.Value)): // a number, true, false, null
			return json.RawMessage(n.Value), nil
		}
	}
	return nil, fmt.Errorf("line %d: %s is neither text nor JSON: put it in quotes", n.Line, n.Value)
}

// fillJSON puts the values into what parseJSON made.
func fillJSON(node any, v values) (any, error) {
	var err error
	switch n := node.(type) {
	case map[string]any:
		m := make(map[string]any, len(n))
		for k, child := range n {
			if m[k], err = fillJSON(child, v); err != nil {
				return nil, err
			}
		}
		return m, nil
	case []any:
		list := make([]any, len(n))
		for i, child := range n {
			if list[i], err = fillJSON(child, v); err != nil {
				return nil, err
			}
		}
		return list, nil
	case template:
		return n.fill(v)
	}
	return node, nil
}

// eachText calls f for every text of a compiled json, and for every literal.
func eachText(node any, f func(t template, literal string)) {
	switch n := node.(type) {
	case map[string]any:
		for _, k := range slices.Sorted(maps.Keys(n)) {
			eachText(n[k], f)
		}
	case []any:
		for _, child := range n {
			eachText(child, f)
		}
	case template:
		f(n, "")
	case json.RawMessage:
		f(nil, string(n))
	}
}

// compiled is a request that is ready to be filled.
type compiled struct {
	path        template
	query, form map[string]template
	json        any // nil: none
}

func parseTexts(texts map[string]string) map[string]template {
	m := make(map[string]template, len(texts))
	for name, text := range texts {
		m[name] = parseTemplate(text)
	}
	return m
}

// extra is what a further page adds to a request: a value at a place such as query.after or
// json.paging.cursor.
type extra struct{ into, value string }

// build makes the request. Its errors are errUnfit and vendors.ErrNoValue; others would quote
// what is in the URL.
func (r *Request) build(ctx context.Context, base *url.URL, v values, strict bool, more extra) (*http.Request, error) {
	path, err := r.compiled.path.fillPath(v, strict)
	if err != nil {
		return nil, err
	}
	query, err := fillForm(r.compiled.query, v, "query.", more)
	if err != nil {
		return nil, err
	}
	form, err := fillForm(r.compiled.form, v, "form.", more)
	if err != nil {
		return nil, err
	}
	var body []byte
	kind := ""
	switch {
	case r.compiled.json != nil:
		filled, err := fillJSON(r.compiled.json, v)
		if err != nil {
			return nil, err
		}
		if rest, ok := strings.CutPrefix(more.into, "json."); ok {
			put(filled, rest, more.value)
		}
		if body, err = json.Marshal(filled); err != nil {
			return nil, errUnfit
		}
		kind = "application/json"
	case r.compiled.form != nil:
		body, kind = []byte(form.Encode()), "application/x-www-form-urlencoded"
	}
	u, err := url.Parse(strings.TrimSuffix(base.String(), "/") + path)
	if err != nil || u.Host != base.Host {
		return nil, errUnfit
	}
	u.RawQuery = query.Encode()
	req, err := http.NewRequestWithContext(ctx, r.Method, u.String(), bytes.NewReader(body))
	if err != nil {
		return nil, errUnfit
	}
	req.Header.Set("Accept", "application/json")
	if kind != "" {
		req.Header.Set("Content-Type", kind)
	}
	return req, nil
}

func fillForm(texts map[string]template, v values, prefix string, more extra) (url.Values, error) {
	form := make(url.Values, len(texts)+1)
	for name, t := range texts {
		value, err := t.fill(v)
		if err != nil {
			return nil, err
		}
		form.Set(name, value)
	}
	if name, ok := strings.CutPrefix(more.into, prefix); ok {
		form.Set(name, more.value)
	}
	return form, nil
}

// put sets a value of a JSON object at a path, making the objects on the way.
func put(doc any, path, value string) {
	name, rest, deeper := strings.Cut(path, ".")
	m, ok := doc.(map[string]any)
	switch {
	case !ok:
	case !deeper:
		m[name] = value
	default:
		if _, ok := m[name].(map[string]any); !ok {
			m[name] = map[string]any{}
		}
		put(m[name], rest, value)
	}
}
