package batch

import (
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"

	"expunge/store"
	"expunge/vendors"
)

// outputs are what the program writes as JSON, by the name of the command.
var outputs = map[string]reflect.Type{
	"batch":   reflect.TypeFor[[]BatchStatus](),
	"history": reflect.TypeFor[History](),
	"report":  reflect.TypeFor[[]ReportRow](),
	"review":  reflect.TypeFor[[]HeldTask](),
	"stats":   reflect.TypeFor[[]StatsRow](),
	"status":  reflect.TypeFor[Status](),
}

// SchemaNames lists the outputs that have a schema.
func SchemaNames() []string { return slices.Sorted(maps.Keys(outputs)) }

// Schema is the JSON Schema of an output, made from the type that is written; nil for a name
// that is none.
func Schema(name string) map[string]any {
	t := outputs[name]
	if t == nil {
		return nil
	}
	s := schemaOf(t)
	s["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	s["title"] = "expunge " + name
	return s
}

// schemaWords are the closed lists that a field's tag `words` names.
func schemaWords(list string) []string {
	var all []string
	add := func(more ...string) { all = append(all, more...) }
	for name := range strings.SplitSeq(list, ",") {
		switch name {
		case "none":
			add("")
		case "state":
			for _, s := range store.States() {
				add(s.String())
			}
		case "row": // a row that never became a task
			add("invalid", "duplicate")
		case "evidence":
			for e := store.NoEvidence; e <= store.OthersSeen; e++ {
				add(e.String())
			}
		case "due":
			add("open", "at_risk", "overdue", "met", "missed")
		case "reason":
			for _, r := range slices.Sorted(maps.Keys(Reasons())) {
				add(string(r))
			}
		case "act":
			add(string(vendors.Anonymize), string(vendors.Remove), string(vendors.Pseudonymize))
		case "event":
			for _, k := range store.EventKinds() {
				add(k.String())
			}
		}
	}
	return all
}

var (
	timeType   = reflect.TypeFor[time.Time]()
	numberType = reflect.TypeFor[Number]()
)

// schemaOf describes how a type is written.
func schemaOf(t reflect.Type) map[string]any {
	switch {
	case t == timeType:
		return map[string]any{"type": "string", "format": "date-time"}
	case t == numberType:
		return map[string]any{"type": []string{"integer", "null"}}
	}
	switch t.Kind() {
	case reflect.Pointer:
		return map[string]any{"anyOf": []any{schemaOf(t.Elem()), map[string]any{"type": "null"}}}
	case reflect.Slice:
		return map[string]any{"type": "array", "items": schemaOf(t.Elem())}
	case reflect.Map:
		return map[string]any{"type": "object", "additionalProperties": schemaOf(t.Elem())}
	case reflect.Struct:
		return schemaOfStruct(t)
	case reflect.Bool:
		return map[string]any{"type": "boolean"}
	case reflect.Float64:
		return map[string]any{"type": "number"}
	case reflect.Int, reflect.Int64:
		return map[string]any{"type": "integer"}
	}
	return map[string]any{"type": "string"}
}

func schemaOfStruct(t reflect.Type) map[string]any {
	properties, required := map[string]any{}, []string{}
	for i := range t.NumField() {
		f := t.Field(i)
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name == "" || name == "-" {
			continue
		}
		s := schemaOf(f.Type)
		if list := f.Tag.Get("words"); list != "" {
			s["enum"] = schemaWords(list)
		}
		if f.Tag.Get("null") != "" {
			s = map[string]any{"anyOf": []any{s, map[string]any{"type": "null"}}}
		}
		properties[name] = s
		if options != "omitempty" {
			required = append(required, name)
		}
	}
	return map[string]any{"type": "object", "properties": properties, "required": required, "additionalProperties": false}
}
