package config

import (
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"go.yaml.in/yaml/v4"

	"expunge/batch/intake"
	"expunge/vendors"
	"expunge/vendors/acqueon"
	"expunge/vendors/customergauge"
	"expunge/vendors/rest"
	"expunge/vendors/strict"
	"expunge/vendors/voyado"
)

var realKinds = []vendors.Kind{customergauge.Kind, voyado.Kind, acqueon.Kind}

// restOf is the template's part about recipes, which is a comment, as a config of its own.
func restOf(t *testing.T) string {
	t.Helper()
	_, after, ok := strings.Cut(string(Template()), "\n  # acme:\n")
	if !ok {
		t.Fatal("the template has no example of a recipe")
	}
	return "vendors:\n  acme:\n" + regexp.MustCompile(`(?m)^  #( |$)`).ReplaceAllString(after, "  ")
}

// What the template says of recipes must be right too, though nobody has it by default.
func TestTemplateRecipe(t *testing.T) {
	kinds := Options{Kinds: []vendors.Kind{rest.Kind}, Getenv: anyEnv}
	text := restOf(t)
	with := commentedKey.ReplaceAllString(text, "$1$2")
	for _, text := range []string{text, with} {
		if _, err := Parse([]byte(text), "expunge.yaml", kinds); err != nil {
			t.Errorf("%v in\n%s", err, text)
		}
	}
	_, common := strict.FieldsOf(reflect.TypeFor[vendors.Common]())
	_, own := strict.FieldsOf(reflect.TypeOf(rest.Kind.New()).Elem())
	for _, key := range own {
		if !slices.Contains(common, key) && !regexp.MustCompile(`(?m)(^ *#?|for example )`+key+`:`).MatchString(text) {
			t.Errorf("the template does not name %s of kind rest", key)
		}
	}
}

// anyEnv gives every environment variable a plain value, but for those that say otherwise.
func anyEnv(name string) (string, bool) {
	return "value-of-" + name, !strings.HasSuffix(name, "_THAT_NOBODY_SET")
}

func parseReal(t *testing.T, text string) *Config {
	t.Helper()
	c, err := Parse([]byte(text), "expunge.yaml", Options{Kinds: realKinds, Getenv: anyEnv})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// commentedKey is a line of the template that shows a default.
var commentedKey = regexp.MustCompile(`(?m)^( *)#([a-z_]+:)`)

// The template is what an operator believes the defaults to be: with each of them written
// out it must mean the same as it does without.
func TestTemplateShowsDefaults(t *testing.T) {
	text := string(Template())
	if n := len(commentedKey.FindAllString(text, -1)); n < 25 {
		t.Fatalf("%d defaults found: is the form still the same?", n)
	}
	without := parseReal(t, text)
	with := parseReal(t, commentedKey.ReplaceAllString(text, "$1$2"))
	opts := append(slices.Clone(compare),
		cmpopts.IgnoreFields(Config{}, "SHA256"),
		cmp.Exporter(func(reflect.Type) bool { return true }))
	if diff := cmp.Diff(without, with, opts...); diff != "" {
		t.Errorf("-default +template:\n%s", diff)
	}
	if len(without.Vendors) != len(realKinds) {
		t.Errorf("%d vendors, want one of each kind", len(without.Vendors))
	}
	if len(without.Warnings) > 0 {
		t.Errorf("the template warns: %q", without.Warnings)
	}
}

// What the template offers to copy must be accepted as it stands.
func TestTemplateExamples(t *testing.T) {
	top, _, _ := strings.Cut(string(Template()), "\nvendors:\n")
	examples := regexp.MustCompile(`(?m)^# .*[Ff]or example ([a-z_]+: .+)$`).FindAllStringSubmatch(top, -1)
	if len(examples) < 5 {
		t.Fatalf("%d examples found: is the form still the same?", len(examples))
	}
	for _, example := range examples {
		parseReal(t, example[1]+"\n"+string(Template()))
	}
}

// section returns the part of the template that is about a vendor.
func section(t *testing.T, name string) string {
	t.Helper()
	_, after, ok := strings.Cut(string(Template()), "\n  "+name+":\n")
	if !ok {
		t.Fatalf("the template has no vendor %s", name)
	}
	if next := regexp.MustCompile(`(?m)^  [a-z]`).FindStringIndex(after); next != nil {
		after = after[:next[0]]
	}
	return after
}

// A key that the template does not name is a key that nobody finds.
func TestTemplateNamesEveryKey(t *testing.T) {
	names := func(text, key string) bool {
		return regexp.MustCompile(`(?m)(^ *#?|[Ff]or example )` + key + `:`).MatchString(text)
	}
	_, top := strict.FieldsOf(reflect.TypeFor[file]())
	for _, key := range top {
		if !names(string(Template()), key) {
			t.Errorf("the template does not name %s", key)
		}
	}
	_, common := strict.FieldsOf(reflect.TypeFor[vendors.Common]())
	for _, key := range common {
		if !names(section(t, "customergauge"), key) {
			t.Errorf("the template does not name %s, which every vendor has", key)
		}
	}
	for _, kind := range realKinds {
		_, own := strict.FieldsOf(reflect.TypeOf(kind.New()).Elem())
		for _, key := range own {
			if !slices.Contains(common, key) && !names(section(t, kind.Name), key) {
				t.Errorf("the template does not name %s of kind %s", key, kind.Name)
			}
		}
	}
}

// The keys of the design are a promise: none may be renamed or dropped.
func TestDocumentedKeys(t *testing.T) {
	promised := map[string][]string{
		"": {"store", "key_file", "key_env", "report", "deadline", "approval", "max_subjects", "columns", "linger", "notify", "vendors"},
		"customergauge": {
			"kind", "region", "client_id", "client_secret", "rate", "burst", "concurrency", "timeout", "max_attempts",
			"retry_base", "retry_cap", "verify_after", "verify_patience", "max_records", "segments_agreed", "base_url", "token_url",
		},
		"voyado":  {"kind", "api", "cluster", "api_key", "archive_after", "poll_every", "give_up_after"},
		"acqueon": {"kind", "transport", "url", "agent_id", "dialect", "source", "resubmit_uncertain"},
	}
	known, _ := strict.FieldsOf(reflect.TypeFor[file]())
	for _, key := range promised[""] {
		if _, ok := known[key]; !ok {
			t.Errorf("%s is no key any more", key)
		}
	}
	for _, kind := range realKinds {
		known, _ := strict.FieldsOf(reflect.TypeOf(kind.New()).Elem())
		for _, key := range promised[kind.Name] {
			if _, ok := known[key]; !ok {
				t.Errorf("%s of kind %s is no key any more", key, kind.Name)
			}
		}
	}
}

// Every type in a kind's config must be one that this package can read, or the key that
// has it can never be set.
func TestKindsHaveReadableTypes(t *testing.T) {
	for _, kind := range realKinds {
		v := reflect.ValueOf(kind.New()).Elem()
		index, names := strict.FieldsOf(v.Type())
		for _, name := range names {
			f := v.FieldByIndex(index[name])
			switch f.Kind() {
			case reflect.Struct, reflect.Map, reflect.Slice, reflect.Pointer:
				continue // read by their parts
			}
			d := strict.New("expunge.yaml")
			d.Value(&yaml.Node{Kind: yaml.ScalarNode, Value: "1"}, name, f)
			if err := d.Err(); err != nil && strings.Contains(err.Error(), "cannot be read") {
				t.Errorf("kind %s: %v", kind.Name, err)
			}
		}
	}
}

// The samples are shown in the documentation and used by other tests: they must be good.
func TestSamples(t *testing.T) {
	for name, want := range map[string][]string{
		"minimal.yaml":          {"acqueon", "customergauge", "voyado"},
		"several-accounts.yaml": {"acqueon-stockholm", "customergauge-eu", "customergauge-us", "voyado-no", "voyado-se"},
	} {
		t.Run(name, func(t *testing.T) {
			text, err := os.ReadFile(filepath.Join("../../testdata/config", name))
			if err != nil {
				t.Fatal(err)
			}
			credentials := t.TempDir()
			write(t, filepath.Join(credentials, "cg-eu"), "secret-eu\n", 0o440)
			write(t, filepath.Join(credentials, "cg-us"), "secret-us\n", 0o440)
			getenv := func(name string) (string, bool) {
				if name == "CREDENTIALS_DIRECTORY" {
					return credentials, true
				}
				return anyEnv(name)
			}
			c, err := Parse(text, name, Options{Kinds: realKinds, Getenv: getenv})
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, v := range c.Vendors {
				got = append(got, v.Name)
			}
			if diff := cmp.Diff(want, got); diff != "" || len(c.Warnings) > 0 {
				t.Errorf("vendors: -want +got:\n%s\nwarnings: %q", diff, c.Warnings)
			}
		})
	}
}

// A secret must be found in the open wherever a kind keeps it, in a map too.
func TestLiteralHeader(t *testing.T) {
	path := filepath.Join(t.TempDir(), "expunge.yaml")
	write(t, path, `vendors:
  acqueon:
    kind: acqueon
    url: https://lcm.example.com/requests
    headers:
      X-From: ${OUTSIDE}
      Authorization: Bearer literal-s3cr3t
`, 0o644)
	_, err := Load(path, Options{Kinds: realKinds, Getenv: anyEnv})
	p := Problems(err)
	if len(p) != 1 || p[0].Line != 7 || p[0].Key != "vendors.acqueon.headers.Authorization" || strings.Contains(err.Error(), "s3cr3t") {
		t.Errorf("got %v", err)
	}
}

// What an operator reads after the usual mistakes, with the kinds as they are: compared
// with a file, so that a change of words is seen.
func TestMistakes(t *testing.T) {
	dir := "../../testdata/config"
	text, err := os.ReadFile(filepath.Join(dir, "mistakes.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile(filepath.Join(dir, "mistakes.txt"))
	if err != nil {
		t.Fatal(err)
	}
	_, err = Parse(text, "mistakes.yaml", Options{Kinds: realKinds, Getenv: anyEnv})
	if err == nil {
		t.Fatal("no mistake found")
	}
	if diff := cmp.Diff(string(want), err.Error()+"\n"); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// The example input must be taken in whole with the template's vendors, or the first thing
// that a new operator sees is an error.
func TestExampleCSV(t *testing.T) {
	c := parseReal(t, string(Template()))
	var names []string
	for _, v := range c.Vendors {
		names = append(names, v.Name)
	}
	var log strings.Builder
	in, err := intake.New(strings.NewReader(string(ExampleCSV())), "example.csv", intake.Options{
		Columns: c.Columns, Vendors: names, DefaultRegion: c.DefaultRegion, Log: slog.New(slog.NewTextHandler(&log, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	rows := 0
	for {
		row, reject, err := in.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil || reject != nil {
			t.Fatalf("row %d: %v, %v", rows+1, reject, err)
		}
		if row != nil {
			rows++
		}
	}
	if rows != 3 || log.Len() > 0 {
		t.Errorf("%d rows, want 3; warnings %q", rows, log.String())
	}
}

// A public key that is not there is named as what is not set, and not as one that is no key.
func TestOfflineRecipients(t *testing.T) {
	const text = "vendors:\n  voyado: {kind: voyado, cluster: w0000000, api_key: \"${NONE}\", export: true, export_dir: exports, export_recipients: [\"${NO_RECIPIENT}\"]}\n"
	_, err := Parse([]byte(text), "expunge.yaml", Options{Kinds: realKinds, Getenv: func(string) (string, bool) { return "", false }, Offline: true})
	if all := Problems(err); len(all) != 1 || !strings.Contains(err.Error(), "environment variable NO_RECIPIENT is not set") {
		t.Errorf("%v", err)
	}
}
