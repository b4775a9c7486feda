package rest

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v4"
)

// TestBudget: the language stays small. A proposal that needs one key more is a kind in Go.
func TestBudget(t *testing.T) {
	keys := Keys()
	t.Logf("%d keys: %s", len(keys), strings.Join(keys, " "))
	if len(keys) > 75 || len(keys) < 50 {
		t.Errorf("%d keys, at most 75 are allowed", len(keys))
	}
}

// TestHelp: the page explains every key.
func TestHelp(t *testing.T) {
	page := Help()
	if strings.Contains(page, "{{") {
		t.Error("a part of the page is not filled in")
	}
	for _, key := range Keys() {
		if !strings.Contains(page, "\n    "+key+" ") {
			t.Errorf("the page does not explain %s", key)
		}
	}
}

// TestSchema: what loads is valid, and what has an unknown key is not.
func TestSchema(t *testing.T) {
	data, err := Schema()
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(strings.NewReader(string(data)))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("recipe.json", doc); err != nil {
		t.Fatal(err)
	}
	schema, err := c.Compile("recipe.json")
	if err != nil {
		t.Fatal(err)
	}
	valid := func(text string) error {
		var v any
		if err := yaml.Unmarshal([]byte(text), &v); err != nil {
			t.Fatal(err)
		}
		b, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		v, err = jsonschema.UnmarshalJSON(strings.NewReader(string(b)))
		if err != nil {
			t.Fatal(err)
		}
		return schema.Validate(v)
	}
	files, err := shipped.ReadDir("recipes")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		text, err := shipped.ReadFile("recipes/" + f.Name())
		if err != nil {
			t.Fatal(err)
		}
		if err := valid(string(text)); err != nil {
			t.Errorf("%s: %v", f.Name(), err)
		}
	}
	acme, err := os.ReadFile("testdata/acme.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if err := valid(string(acme)); err != nil {
		t.Errorf("acme: %v", err)
	}
	for _, bad := range []string{strings.Replace(string(acme), "records:", "recrods:", 1), strings.Replace(string(acme), "version: 1\n", "", 1), strings.Replace(string(acme), "known_by: [email, other_email]", "known_by: mail", 1)} {
		if valid(bad) == nil {
			t.Error("a wrong recipe is valid")
		}
	}
}
