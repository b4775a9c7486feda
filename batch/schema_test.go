package batch

import (
	"bytes"
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// TestSchema: the schema of the report takes the golden one, and nothing that is not as the program writes it.
// The scripts of cmd/expunge hold real outputs of every command against theirs.
func TestSchema(t *testing.T) {
	text, err := json.Marshal(Schema("report"))
	if err != nil {
		t.Fatal(err)
	}
	s, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	if err := c.AddResource("report.json", s); err != nil {
		t.Fatal(err)
	}
	schema, err := c.Compile("report.json")
	if err != nil {
		t.Fatal(err)
	}
	golden, err := os.ReadFile("../testdata/golden/report.json")
	if err != nil {
		t.Fatal(err)
	}
	valid := func(text string) error {
		v, err := jsonschema.UnmarshalJSON(strings.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		return schema.Validate(v)
	}
	if err := valid(string(golden)); err != nil {
		t.Error(err)
	}
	for old, mistaken := range map[string]string{
		`"attempts":0`: `"attempts":"0"`, `"state":"erased"`: `"state":"deleted"`, `"due_status":"met"`: `"due_status":"fine"`, `"reason":"refused"`: `"reason":"why not"`,
		`"line":2,`: ``, `"evidence":"verified"`: `"evidence":null`, `"batch":1,`: `"batch":1,"more":1,`,
	} {
		wrong := strings.Replace(string(golden), old, mistaken, 1)
		if wrong == string(golden) {
			t.Fatalf("the golden report has no %s", old)
		}
		if valid(wrong) == nil {
			t.Errorf("%s for %s is taken", mistaken, old)
		}
	}
	if Schema("nothing") != nil {
		t.Error("there is a schema of nothing")
	}
}
