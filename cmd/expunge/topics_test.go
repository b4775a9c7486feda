package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestTopics: every file of topics is in the list that the manual goes by, nothing of a
// template is left in it, and the README, which names each, stays a page.
func TestTopics(t *testing.T) {
	files, err := filepath.Glob("topics/*.md")
	if err != nil || len(files) != len(topicNames) {
		t.Fatalf("%d files and %d names: %v", len(files), len(topicNames), err)
	}
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	if lines, words := strings.Count(string(readme), "\n"), len(strings.Fields(string(readme))); lines > 120 || words > 900 {
		t.Errorf("the README has %d lines and %d words: 120 and 900 are its bounds, the rest is the topics'", lines, words)
	}
	for _, m := range regexp.MustCompile(`\]\(([^)#]+)\)`).FindAllStringSubmatch(string(readme), -1) {
		if st, err := os.Stat(filepath.Join("../..", m[1])); err != nil || st.Size() == 0 {
			t.Errorf("the README links to %s: %v", m[1], err)
		}
	}
	for _, c := range topics() {
		if c.Short == "" || strings.Contains(c.Long, "{{") || len(c.Long) < 500 {
			t.Errorf("topic %s: %q, %d letters, or a place that nothing filled", c.Name(), c.Short, len(c.Long))
		}
		if !strings.Contains(string(readme), "`"+c.Name()+"`") {
			t.Errorf("the README does not name the topic %s", c.Name())
		}
	}
}

// TestDependencies: the topic names each library that go.mod requires itself, once, and no other.
func TestDependencies(t *testing.T) {
	mod, err := os.ReadFile("../../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	_, text := topic("dependencies")
	listed := map[string]int{}
	for line := range strings.Lines(text) {
		if row, ok := strings.CutPrefix(line, "| `"); ok {
			name, _, _ := strings.Cut("`"+row, " | ")
			for _, m := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(name, -1) {
				listed[m[1]]++
			}
		}
	}
	for _, m := range regexp.MustCompile(`(?m)^\t(\S+) v\S+$`).FindAllStringSubmatch(string(mod), -1) {
		if listed[m[1]] != 1 {
			t.Errorf("%s stands in the table %d times", m[1], listed[m[1]])
		}
		delete(listed, m[1])
	}
	for name := range listed {
		t.Errorf("%s is not required", name)
	}
}
