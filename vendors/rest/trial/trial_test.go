package trial

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"expunge/vendors/rest"
	"expunge/vendors/vendortest"
)

// shipped calls f with every shipped recipe, and with the made-up one, which uses what they do
// not.
func shipped(t *testing.T, f func(t *testing.T, file string, data []byte)) {
	t.Run("acme", func(t *testing.T) {
		data, err := os.ReadFile("../testdata/acme.yaml")
		if err != nil {
			t.Fatal(err)
		}
		f(t, "acme.yaml", data)
	})
	for _, ref := range rest.Shipped() {
		t.Run(ref, func(t *testing.T) {
			file, data, err := rest.Find(ref)
			if err != nil {
				t.Fatal(err)
			}
			f(t, file, data)
		})
	}
}

// TestConformance is the suite of every adapter, on every shipped recipe with its twin.
func TestConformance(t *testing.T) {
	shipped(t, func(t *testing.T, file string, data []byte) {
		r, err := rest.Parse(file, data)
		if err != nil {
			t.Fatal(err)
		}
		c, err := Case(r)
		if err != nil {
			t.Fatal(err)
		}
		vendortest.Run(t, c)
	})
}

var flagMutants = flag.Bool("mutants", false, "TestMutants makes more slips, and puts every word of a recipe in the place of every other")

// TestMutants: no one-word mistake in a recipe leads silently to a false outcome.
func TestMutants(t *testing.T) {
	total := map[Fate]int{}
	shipped(t, func(t *testing.T, file string, data []byte) {
		count := map[Fate]int{}
		err := Mutants(file, data, *flagMutants, func(m Mutant) {
			count[m.Fate]++
			total[m.Fate]++
			if m.Fate == Silent {
				t.Error(m)
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%s: %v", file, count)
	})
	n := 0
	for _, c := range total {
		n += c
	}
	fmt.Printf("%d one-word edits: %d refused at load, %d stopped by the control record, %d held, refused or open, %d without another outcome, %d silent\n",
		n, total[Refused], total[Control], total[Visible], total[Same], total[Silent])
}

// TestFates: the judge of the mutants sees what would be silent, and what stops it. Here the
// examples are changed together with the recipe, as somebody would who believes a mistake.
func TestFates(t *testing.T) {
	for _, tt := range []struct {
		recipe string
		edits  []string // old, new, ...
		want   Fate
	}{
		{"opendsr", []string{"open: [pending, in_progress], done: [completed]", "open: [in_progress], done: [completed, pending]",
			"request_status: pending\n          results_url: \"\"\n    gives: open", "request_status: pending\n    gives: done"}, Silent},
		{"opendsr", []string{"done: [completed], failed: [cancelled]", "done: [completed, cancelled]", "request_status: cancelled}}]\n    gives: failed", "request_status: cancelled}}]\n    gives: done"}, Silent},
		{"hubspot", []string{"propertyName: email", "propertyName: mail", `"propertyName":"email"`, `"propertyName":"mail"`}, Control},
		{"braze", []string{"owner: {email: [email]}", "owner: {exact: true, why: a mistake}"}, Same}, // a record that names somebody else is held in spite of it
		{"intercom", []string{"path: /user_delete_requests", "path: /user_archive_requests", "POST /user_delete_requests", "POST /user_archive_requests"}, Visible},
		{"iterable", []string{"errors: [{status: 200", "errors: [{status: 201", "status: 200, json: {msg: \"Bad", "status: 201, json: {msg: \"Bad"}, Same},
	} {
		_, data, err := rest.Find(tt.recipe)
		if err != nil {
			t.Fatal(err)
		}
		r, err := rest.Parse(tt.recipe, data)
		if err != nil {
			t.Fatal(err)
		}
		text := string(data)
		for i := 0; i < len(tt.edits); i += 2 {
			if !strings.Contains(text, tt.edits[i]) {
				t.Fatalf("%s has no %q", tt.recipe, tt.edits[i])
			}
			text = strings.ReplaceAll(text, tt.edits[i], tt.edits[i+1])
		}
		if tt.recipe == "braze" { // nobody is anybody else any more
			text = text[:strings.Index(text, "  shared:")] + text[strings.Index(text, "  deleted:"):]
		}
		if _, err := rest.Parse(tt.recipe, []byte(text)); err != nil {
			t.Errorf("%s %q: does not load: %v", tt.recipe, tt.edits, err)
			continue
		}
		if got, why := fate(r, tt.recipe, []byte(text), false); got != tt.want {
			t.Errorf("%s %q: %s (%s), want %s", tt.recipe, tt.edits, got, why, tt.want)
		}
	}
}
