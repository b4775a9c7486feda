package main

import (
	"embed"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"expunge/batch"
	"expunge/batch/config"
	"expunge/store/ledger"
	"expunge/vendors/rest"
)

// topicFiles are the help pages that are about no command. Each begins with its title.
//
//go:embed topics/*.md
var topicFiles embed.FS

// topicNames are the topics in the order in which the manual has them.
var topicNames = []string{"csv", "config", "vendors", "states", "exit-codes", "cron", "evidence", "certificates", "elsewhere", "recovery", "security", "dependencies", "changelog"}

// topics returns the help pages as commands that only have a text: `expunge help NAME`.
func topics() []*cobra.Command {
	var all []*cobra.Command
	for _, name := range topicNames {
		title, text := topic(name)
		all = append(all, &cobra.Command{Use: name, Short: title, Long: text})
	}
	return append(all, &cobra.Command{Use: "recipes", Short: "How to write a recipe: a vendor described by a file", Long: rest.Help()})
}

// topic returns the title of a help page, and its text with what the program itself knows
// filled in, so that no list stands twice.
func topic(name string) (title, text string) {
	raw, err := topicFiles.ReadFile("topics/" + name + ".md")
	must(err)
	text = strings.NewReplacer("{{reasons}}", reasonTable(), "{{template}}", string(config.Template()), "{{ledger}}", ledger.Spec()).Replace(string(raw))
	first, _, _ := strings.Cut(text, "\n")
	return strings.TrimPrefix(first, "# "), text
}

// reasonTable is the closed list of reason codes with what each means.
func reasonTable() string {
	var b strings.Builder
	b.WriteString("| reason | meaning |\n| --- | --- |\n")
	why := batch.Reasons()
	for _, code := range slices.Sorted(maps.Keys(why)) {
		fmt.Fprintf(&b, "| `%s` | %s |\n", code, why[code])
	}
	return strings.TrimSuffix(b.String(), "\n")
}
