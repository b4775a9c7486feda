package trial

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"go.yaml.in/yaml/v4"

	"expunge/vendors"
	"expunge/vendors/rest"
	"expunge/vendors/strict"
)

// row is what testdata/coverage.yaml says of one vendor.
type row struct {
	Fits, Why string
	One       bool // the look-up answers with one record, not with a list
	Recipe    yaml.Node
}

// TestCoverage: which of 82 erasure APIs the language can say. Each that is whole or part loads
// as a recipe and goes its way with a twin to the end; each other has its reason.
func TestCoverage(t *testing.T) {
	data, err := os.ReadFile("testdata/coverage.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var rows map[string]row
	if err := yaml.Unmarshal(data, &rows); err != nil {
		t.Fatal(err)
	}
	count := map[string]int{}
	for _, name := range slices.Sorted(maps.Keys(rows)) {
		r := rows[name]
		count[r.Fits]++
		switch {
		case (r.Fits == "whole") != (r.Why == "" || strings.HasPrefix(r.Why, "shipped")):
			t.Errorf("%s: what is left out, and why?", name)
		case r.Fits == "no":
		case r.Recipe.IsZero():
			if _, err := rest.Named(regexp.MustCompile(`_[0-9.]+$`).ReplaceAllString(name, "") + "@1"); err != nil {
				t.Errorf("%s: said to be shipped: %v", name, err)
			}
		default:
			t.Run(name, func(t *testing.T) { covered(t, name, &r) })
		}
	}
	fmt.Printf("%d vendors: %d as recipes whole, %d in part, %d not\n", len(rows), count["whole"], count["part"], count["no"])
	if len(rows) != 82 || count["whole"] < 45 {
		t.Errorf("%d rows, %d whole: want 82, and at least 45", len(rows), count["whole"])
	}
}

func covered(t *testing.T, name string, row *row) {
	text := pinned(t, name, complete(t, name, row))
	r, err := rest.Parse(name, []byte(text))
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	if f, why := fate(r, name, []byte(text), false); f != Same {
		t.Errorf("on its twin: %s %s", f, why)
	}
}

// pinned puts what leaves, as the load check tells it, where an example says sends: [ITS NAME].
func pinned(t *testing.T, file, text string) string {
	_, err := rest.Parse(file, []byte(text))
	for _, p := range strict.Problems(err) {
		if m := regexp.MustCompile(`^the recipe sends \[(.*)\]$`).FindStringSubmatch(p.Problem); m != nil {
			line, err := strconv.Unquote(m[1])
			if err != nil {
				t.Fatal(err)
			}
			example := strings.Split(p.Key, ".")[1]
			text = strings.Replace(text, "sends: ["+example+"]", "sends: ["+quote(line)+"]", 1)
		}
	}
	return text
}

func quote(text string) string {
	b, err := json.Marshal(text)
	if err != nil {
		panic(err) // text is text
	}
	return string(b)
}

// complete makes a recipe of what a row says: with made-up settings, limits, words for the
// report, and examples that go with its paths.
func complete(t *testing.T, name string, row *row) string {
	head := &row.Recipe
	for i := 0; i+1 < len(head.Content); i += 2 {
		if p := head.Content[i+1]; head.Content[i].Value == "preview" {
			p.Content = append(p.Content, &yaml.Node{Kind: yaml.ScalarNode, Value: "absent"}, &yaml.Node{Kind: yaml.SequenceNode, Style: yaml.FlowStyle})
		}
	}
	body, err := yaml.Marshal(head)
	if err != nil {
		t.Fatal(err)
	}
	r := rest.Recipe{Erase: rest.Erase{Each: "identifier"}}
	d := strict.New(name)
	d.Structure(head, "", reflect.ValueOf(&r).Elem())
	if err := d.Err(); err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "format: 1\nrecipe: %s\nversion: 1\ndocs: https://docs.example.com/\nread: 2026-11-25\ntried: never\nbase: https://api.example.com\nlimits: {rate: 1/s}\n%s",
		strings.NewReplacer(".", "-", " ", "-").Replace(name), body)
	b.WriteString("report: {act: remove, erases: [x], keeps: [x], how_known: x}\nconfig:\n  none: {hint: x}\n")
	settings := map[string]bool{}
	for _, m := range regexp.MustCompile(`\{config\.([a-z_]+)\}`).FindAllStringSubmatch(string(body), -1) {
		settings[m[1]] = true
	}
	for s := range settings {
		fmt.Fprintf(&b, "  %s: {secret: true, hint: x}\n", s)
	}
	b.WriteString("examples:\n")
	person := "ada@example.com"
	switch class, _ := vendors.Normal(vendors.Field(r.KnownBy[0]), ""); class {
	case vendors.Telephone:
		person = "+12025550143"
	case vendors.CustomerKey:
		person = "key-42"
	}
	say := func(example, of, gives, more string, pin bool, status int, doc any) {
		fmt.Fprintf(&b, "  %s: {from: made_up, of: %s, gives: %s, ", example, of, quote(gives))
		if of == "status" {
			b.WriteString("job: j-1, ")
		} else {
			fmt.Fprintf(&b, "identifier: %s, ", quote(person))
		}
		if pin {
			fmt.Fprintf(&b, "sends: [%s], ", example)
		}
		answer := ""
		if doc != nil {
			text, err := json.Marshal(doc)
			if err != nil {
				t.Fatal(err)
			}
			answer = ", json: " + string(text)
		}
		fmt.Fprintf(&b, "%sanswers: [{status: %d%s}]}\n", more, status, answer)
	}
	refs := ""
	if p := r.Preview; p != nil {
		record := func(n int, shows string) any {
			rec := any(map[string]any{})
			for i, path := range p.ID {
				rec = put(rec, path, fmt.Sprintf("r%d-%d", n, i))
			}
			owner := p.Owner.Paths()
			class, _ := vendors.Normal(vendors.Field(r.KnownBy[0]), "")
			own := owner[class]
			if len(own) == 0 {
				own = owner[vendors.Email]
			}
			for _, path := range own {
				rec = put(rec, path, shows)
			}
			return rec
		}
		list := !row.One && (len(p.ID) > 0 && r.Erase.Each == "record" || len(p.None) == 0)
		page := func(records ...any) any {
			if !list {
				return put(map[string]any{}, p.Records, records[0])
			}
			doc := put(map[string]any{}, p.Records, append([]any{}, records...))
			if p.Total != "" {
				doc = put(doc, p.Total, len(records))
			}
			return doc
		}
		say("found", "preview", "1 record", "", true, 200, page(record(1, person)))
		if list {
			none := page()
			if len(p.None) == 0 {
				say("none", "preview", "none", "", false, 200, none)
			}
			if len(p.ID) > 0 {
				say("several", "preview", "2 records", "", false, 200, page(record(1, person), record(2, person)))
			}
		}
		for i, rule := range p.None {
			say(fmt.Sprintf("none_%d", i), "preview", "none", "", false, rule.Status, ruled(rule))
		}
		if !p.Owner.Exact {
			say("shared", "preview", "held", "", false, 200, page(record(1, "+12025550199 bob@example.com")))
		}
		if x := p.Next; x != nil && x.At+x.Link+x.Page != "" {
			pages(t, &b, &r, person, record)
		}
		if r.Erase.Each == "record" {
			id := "r1-0"
			if len(p.ID) > 1 {
				id += "/r1-1"
			}
			refs = "records: " + id + ", "
		}
	}
	gives := "accepted"
	if r.Done.By == "answer" {
		gives = "done"
	}
	for i, rule := range r.Erase.Accepted {
		doc := ruled(rule)
		if r.Erase.Job != "" {
			doc = put(doc, r.Erase.Job, "j-1")
		}
		say(fmt.Sprintf("accepted_%d", i), "erase", gives, refs, true, rule.Status, doc)
	}
	say("refused", "erase", "refused", refs, false, 400, map[string]any{"error": "no"})
	if s := r.Status; s != nil {
		for state, words := range map[string][]string{"open": s.Words.Open, "done": s.Words.Done, "failed": s.Words.Failed} {
			for i, w := range words {
				doc := put(map[string]any{}, s.At, w)
				if s.Job != "" {
					doc = put(doc, s.Job, "j-1")
				}
				say(fmt.Sprintf("%s_%d", state, i), "status", state, "", true, 200, doc)
			}
		}
	}
	return b.String()
}

// pages writes an example of two pages.
func pages(t *testing.T, b *strings.Builder, r *rest.Recipe, person string, record func(int, string) any) {
	p, x := r.Preview, r.Preview.Next
	n := 1
	if x.Page != "" {
		n = x.Full
	}
	var records []any
	for i := range n {
		records = append(records, record(i, person))
	}
	first := put(map[string]any{}, p.Records, records)
	second := put(map[string]any{}, p.Records, []any{record(n, person)})
	if p.Total != "" {
		first, second = put(first, p.Total, n+1), put(second, p.Total, n+1)
	}
	headers, gives := "", fmt.Sprintf("%d records", n+1)
	switch {
	case x.Link == "header":
		headers = `, headers: {Link: "<https://api.example.com/next>; rel=next"}`
	case x.Link != "":
		first = put(first, x.Link, "/next")
	case x.At != "":
		first = put(first, x.At, "c2")
	}
	if n+1 > 25 {
		gives = "held"
		n = 0 // more than may be: the second page is not asked for
	}
	fmt.Fprintf(b, "  pages: {from: made_up, of: preview, gives: %s, identifier: %s, answers: [{status: 200%s, json: %s}", gives, quote(person), headers, encode(t, first))
	if n > 0 {
		fmt.Fprintf(b, ", {status: 200, json: %s}", encode(t, second))
	}
	b.WriteString("]}\n")
}

func encode(t *testing.T, doc any) string {
	text, err := json.Marshal(doc)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// ruled is an answer that a rule describes.
func ruled(rule rest.Rule) any {
	doc := any(map[string]any{})
	switch {
	case rule.At == "" && rule.Absent == "":
		return nil
	case rule.Is != "":
		doc = put(doc, rule.At, rule.Is)
	case rule.At != "":
		doc = put(doc, rule.At, "x-1")
	}
	return doc
}

// put sets a value at a path that may lead through lists.
func put(doc any, path string, value any) any {
	if path == "." || path == "" {
		return value
	}
	name, rest, _ := strings.Cut(path, ".")
	m, _ := doc.(map[string]any)
	if m == nil {
		m = map[string]any{}
	}
	if list, ok := strings.CutSuffix(name, "[]"); ok {
		m[list] = []any{put(map[string]any{}, rest, value)}
	} else {
		m[name] = put(m[name], rest, value)
	}
	return m
}
