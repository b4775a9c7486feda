package rest

import (
	"encoding/json"
	"maps"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v4"

	"expunge/vendors"
	"expunge/vendors/strict"
)

// TestBudget: the language stays small. A proposal that needs one key more is a kind in Go.
func TestBudget(t *testing.T) {
	keys := Keys()
	t.Logf("%d keys: %s", len(keys), strings.Join(keys, " "))
	if len(keys) > 75 || len(keys) < 50 {
		t.Errorf("%d keys, at most 75 are allowed", len(keys))
	}
}

// TestHelp: the page explains every key, and every word that one takes; so does the schema.
func TestHelp(t *testing.T) {
	page := Help()
	if strings.Contains(page, "{{") {
		t.Error("a part of the page is not filled in")
	}
	data, err := Schema()
	if err != nil {
		t.Fatal(err)
	}
	var schema any
	if err := json.Unmarshal(data, &schema); err != nil {
		t.Fatal(err)
	}
	keys, consts := 0, 0
	explained := func(what, name, indent string, of map[string]any) {
		if of["description"] == "" || of["description"] == nil {
			t.Errorf("the schema does not describe the %s %s", what, name)
		}
		line := regexp.MustCompile(`(?m)^` + indent + regexp.QuoteMeta(name) + ` +\S.{3}`)
		if !line.MatchString(page) {
			t.Errorf("the page does not explain the %s %s", what, name)
		}
	}
	var walk func(node any)
	walk = func(node any) {
		switch n := node.(type) {
		case []any:
			for _, child := range n {
				walk(child)
			}
		case map[string]any:
			if properties, is := n["properties"].(map[string]any); is {
				for name, of := range properties {
					keys++
					explained("key", name, "    ", of.(map[string]any))
				}
			}
			if word, is := n["const"].(string); is {
				consts++
				explained("word", word, "        ", n)
			}
			if n["enum"] != nil {
				t.Errorf("words without descriptions: %v", n["enum"])
			}
			for _, child := range n {
				walk(child)
			}
		}
	}
	walk(schema)
	if keys < len(Keys()) || consts < 40 {
		t.Errorf("%d keys and %d words in the schema", keys, consts)
	}
}

// TestWords: what the load check takes are the words that the page explains.
func TestWords(t *testing.T) {
	if got := slices.Sorted(maps.Keys(means)); !slices.Equal(got, slices.Sorted(slices.Values(wordsOf("means")))) {
		t.Errorf("means: %q", got)
	}
	for _, k := range wordsOf("known_by") {
		if err := new(knownBy).UnmarshalText([]byte(k)); err != nil {
			t.Error(err)
		}
	}
	gives := wordsOf("gives")
	for _, err := range []error{vendors.ErrUnreadable, vendors.ErrAddress, vendors.ErrUnavailable, vendors.ErrAuth, vendors.ErrRateLimited, vendors.ErrRefused} {
		if got := outcome(err, nil); !slices.Contains(gives, got) {
			t.Errorf("an example can give %s, which is not explained", got)
		}
	}
	for _, got := range append(slices.Collect(maps.Values(jobs)), seen(vendors.Preview{}), seen(vendors.Preview{Records: 1}), seen(vendors.Preview{Doubt: "x"})) {
		if !slices.Contains(gives, got) {
			t.Errorf("an example can give %s, which is not explained", got)
		}
	}
}

// TestHelpYAML: what the page shows as a whole recipe is one, and the config that it shows has
// known keys.
func TestHelpYAML(t *testing.T) {
	blocks := regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllStringSubmatch(Help(), -1)
	recipes := 0
	for _, block := range blocks {
		if strings.HasPrefix(block[1], "vendors:") {
			d := strict.New("help")
			root, err := d.Document([]byte(block[1]), "")
			if err != nil {
				t.Fatal(err)
			}
			var c struct {
				Vendors map[string]Config `yaml:"vendors"`
			}
			d.Structure(root, "", reflect.ValueOf(&c).Elem())
			if d.Err() != nil || c.Vendors["acme"].Kind != kindName {
				t.Errorf("%v: %+v", d.Err(), c)
			}
			continue
		}
		recipes++
		if _, err := Parse("help", []byte(block[1])); err != nil {
			t.Errorf("%v", err)
		}
	}
	if recipes == 0 || recipes == len(blocks) || strings.Count(Help(), "```") != 2*len(blocks) {
		t.Errorf("%d blocks, %d recipes", len(blocks), recipes)
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
