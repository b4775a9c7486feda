package rest

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"

	"expunge/vendors"
)

// This file makes what describes the language from the types that read it: the reference on the
// help page, and the JSON Schema for editors.

//go:embed help.md
var help string

// Help is the page that says how a recipe is written.
func Help() string { return strings.Replace(help, "{{keys}}", reference(), 1) }

// eachKey calls f for every key of the language, in order, with the group that it stands in.
func eachKey(t reflect.Type, group string, f func(group, key, doc string)) {
	for i := range t.NumField() {
		field := t.Field(i)
		key, doc := field.Tag.Get("yaml"), field.Tag.Get("doc")
		if key == "" {
			continue
		}
		f(group, key, doc)
		of := element(field.Type)
		if of.Kind() == reflect.Struct && inner(of) {
			under := strings.TrimPrefix(group+"."+key, ".")
			if of != reflect.TypeFor[Request]() && of != reflect.TypeFor[Auth]() && of != reflect.TypeFor[Rule]() || first(of, under) {
				eachKey(of, under, f)
			}
		}
	}
}

// first reports whether a group that stands in several places is explained at this one.
func first(of reflect.Type, under string) bool {
	return map[reflect.Type]string{
		reflect.TypeFor[Auth](): "auth", reflect.TypeFor[Request](): "preview.request", reflect.TypeFor[Rule](): "preview.none",
	}[of] == under
}

// inner reports whether a type is a group of keys of the language.
func inner(t reflect.Type) bool {
	return t.PkgPath() == reflect.TypeFor[Recipe]().PkgPath()
}

// element is what lists, maps and pointers are made of.
func element(t reflect.Type) reflect.Type {
	for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice || t.Kind() == reflect.Map {
		t = t.Elem()
	}
	return t
}

// Keys are the names of the language's keys, each once, without those of the examples.
func Keys() []string {
	names := map[string]bool{}
	eachKey(reflect.TypeFor[Recipe](), "", func(group, key, _ string) {
		if !strings.HasPrefix(group, "examples") {
			names[key] = true
		}
	})
	return slices.Sorted(maps.Keys(names))
}

// reference is the table of keys, and of the words that they take.
func reference() string {
	var b strings.Builder
	last := "\x00"
	eachKey(reflect.TypeFor[Recipe](), "", func(group, key, doc string) {
		if group != last {
			fmt.Fprintf(&b, "\n  %s\n", strings.TrimSuffix(group+":", ":")+map[bool]string{true: "(top of the file)", false: ":"}[group == ""])
			last = group
		}
		fmt.Fprintf(&b, "    %-14s %s\n", key, doc)
		if strings.HasSuffix(group, ".owner") { // there such a key is a path's
			return
		}
		for _, w := range words[key] {
			fmt.Fprintf(&b, "        %-15s %s\n", w.is, w.doc)
		}
	})
	return b.String()
}

// Schema is a JSON Schema of recipes, for editors.
func Schema() ([]byte, error) {
	groups := map[string]any{}
	schemaOf(reflect.TypeFor[Recipe](), groups)
	s := groups["Recipe"].(map[string]any)
	delete(groups, "Recipe")
	s["$defs"], s["$schema"], s["title"] = groups, "https://json-schema.org/draft/2020-12/schema", "expunge recipe"
	s["required"] = []string{"format", "recipe", "version", "docs", "read", "tried", "limits", "known_by", "erase", "done", "report", "examples"}
	return json.MarshalIndent(s, "", "  ")
}

// oneOf describes the words of a key.
func oneOf(key string) map[string]any {
	var all []any
	for _, w := range words[key] {
		all = append(all, map[string]any{"const": w.is, "description": w.doc})
	}
	if key == "gives" {
		all = append(all, map[string]any{"pattern": "^([2-9]|[1-9][0-9]+) records$", "description": "of preview: so many are found"})
	}
	return map[string]any{"oneOf": all}
}

// schemaOf describes a type. Groups of keys are named and stand in groups, for some hold each
// other.
func schemaOf(t reflect.Type, groups map[string]any) map[string]any {
	switch t {
	case reflect.TypeFor[yaml.Node]():
		return map[string]any{}
	case reflect.TypeFor[vendors.Duration](), reflect.TypeFor[vendors.Rate]():
		return map[string]any{"type": "string"}
	case reflect.TypeFor[knownBy]():
		return oneOf("known_by")
	}
	switch t.Kind() {
	case reflect.Pointer:
		return schemaOf(t.Elem(), groups)
	case reflect.Slice: // one value stands for a list of one
		one := schemaOf(t.Elem(), groups)
		return map[string]any{"anyOf": []any{one, map[string]any{"type": "array", "items": one}}}
	case reflect.Map:
		return map[string]any{"type": "object", "additionalProperties": schemaOf(t.Elem(), groups)}
	case reflect.Bool:
		return map[string]any{"type": "boolean"}
	case reflect.Int:
		return map[string]any{"type": "integer"}
	case reflect.Struct:
		if _, known := groups[t.Name()]; known {
			return map[string]any{"$ref": "#/$defs/" + t.Name()}
		}
		properties := map[string]any{}
		groups[t.Name()] = map[string]any{"type": "object", "properties": properties, "additionalProperties": false}
		for i := range t.NumField() {
			if key := t.Field(i).Tag.Get("yaml"); key != "" {
				p := schemaOf(t.Field(i).Type, groups)
				if words[key] != nil && t.Field(i).Type.Kind() == reflect.String {
					p = oneOf(key)
				}
				if doc := t.Field(i).Tag.Get("doc"); doc != "" {
					p["description"] = doc
				}
				properties[key] = p
			}
		}
		return map[string]any{"$ref": "#/$defs/" + t.Name()}
	}
	return map[string]any{"type": []string{"string", "number", "boolean"}} // YAML reads 201 and true as such
}
