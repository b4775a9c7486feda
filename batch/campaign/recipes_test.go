package campaign

import (
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"expunge/vendors/rest"
	"expunge/vendors/rest/trial"
	"expunge/vendors/sim"
)

// recipes are the shipped ones, but for two things: they count as tried, so that not every
// task is held, and they wait for milliseconds instead of days.
func recipes(t *testing.T, names ...string) []*rest.Recipe {
	t.Helper()
	var all []*rest.Recipe
	for _, name := range names {
		r, err := rest.Parse(name+".yaml", []byte(recipeText(t, name)))
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, r)
	}
	return all
}

func recipeText(t *testing.T, name string) string {
	t.Helper()
	_, text, err := rest.Find(name)
	if err != nil {
		t.Fatal(err)
	}
	edited := string(text)
	for _, e := range [][2]string{
		{`(?m)^tried: never$`, "tried: 2026-11-25 by a campaign"},
		{`(?m)^(done: .*)\bafter: \w+`, "${1}after: 60ms"},
		{`(?m)^(done: .*)\bevery: \w+`, "${1}every: 40ms"},
	} {
		edited = regexp.MustCompile(e[0]).ReplaceAllString(edited, e[1])
	}
	if !strings.Contains(edited, "by a campaign") {
		t.Fatalf("recipe %s: nothing to edit", name)
	}
	return edited
}

// shipped are the names of all recipes.
func shipped() []string {
	var names []string
	for _, ref := range rest.Shipped() {
		name, _, _ := strings.Cut(ref, "@")
		names = append(names, name)
	}
	return names
}

func isRecipe(vendor string) bool { return slices.Contains(shipped(), vendor) }

// recipePlace writes a recipe into the site and returns the lines of its vendor at a twin.
func (s *site) recipePlace(t *testing.T, name, url string) []string {
	t.Helper()
	s.write(t, name+".yaml", recipeText(t, name))
	lines := []string{"recipe: file:" + name + ".yaml", "limits_agreed: true", "base_url: " + url + "/r/" + name, "with:"}
	for key := range recipes(t, name)[0].Config {
		lines = append(lines, "  "+key+": "+sim.Setting(key))
	}
	return lines
}

// confirmations are what people write once they have done by hand what the report says waits
// for them.
func (s *site) confirmations(t *testing.T) string {
	t.Helper()
	text := "vendor,reference,completed_at\n"
	for _, row := range s.report(t, "report.csv") {
		if row["state"] == "waiting" {
			text += fmt.Sprintf("%s,%s,%s\n", row["vendor"], row["reference"], time.Now().UTC().Format(time.RFC3339))
		}
	}
	return text
}

// recipeStep says which of a recipe's requests this is.
func recipeStep(r *rest.Recipe, q *http.Request) string {
	switch {
	case r.Preview != nil && trial.IsFor(&r.Preview.Request, q.Method, q.URL.EscapedPath()):
		return stepPreview
	case r.Status != nil && trial.IsFor(&r.Status.Request, q.Method, q.URL.EscapedPath()):
		return stepPoll
	}
	return stepWrite
}

// byPeople are the recipes whose erasures are finished by people, under references of ours.
var byPeople = []string{"amplitude", "zendesk"}

// recipeAccounts says which of the simulator's twins each vendor of a site is, for the judge.
func recipeAccounts(names []string) string {
	var all []string
	for _, name := range names {
		all = append(all, name+"=rest:"+name)
	}
	return strings.Join(all, ",")
}
