package main

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

func everyCommand(t *testing.T) (all []*cobra.Command) {
	t.Helper()
	a := &app{stdin: strings.NewReader(""), stdout: os.Stdout, stderr: os.Stderr, getenv: os.LookupEnv}
	var walk func(c *cobra.Command)
	walk = func(c *cobra.Command) {
		all = append(all, c)
		for _, sub := range c.Commands() {
			walk(sub)
		}
	}
	walk(a.rootCommand())
	return all
}

// twoMeanings are the flags that mean something else in another command, and why.
var twoMeanings = map[string]string{
	"format": "each command names the formats that it has",
	"by":     "of statistics the period, elsewhere the person; both are words of the contract",
	"reason": "a code where tasks are chosen, a text where something is decided",
	"until":  "of a list the last day, of an extension the new due date",
}

// TestFlags: the same flag means the same everywhere, in the same words, one or repeatable.
func TestFlags(t *testing.T) {
	texts := map[string]map[string][]string{}
	for _, c := range everyCommand(t) {
		c.LocalNonPersistentFlags().VisitAll(func(f *pflag.Flag) {
			if f.Hidden || f.Name == "help" {
				return
			}
			if texts[f.Name] == nil {
				texts[f.Name] = map[string][]string{}
			}
			text := strings.Replace(f.Usage, "; repeatable)", ")", 1)
			texts[f.Name][text] = append(texts[f.Name][text], c.CommandPath())
		})
	}
	for name, of := range texts {
		if len(of) > 1 && twoMeanings[name] == "" {
			t.Errorf("--%s means:", name)
			for text, commands := range of {
				t.Errorf("   %q: %s", text, strings.Join(commands, ", "))
			}
		}
	}
}

// TestHelp: every command has one sentence, an example of itself, and names no command or flag that
// there is not.
func TestHelp(t *testing.T) {
	commands := map[string]*cobra.Command{}
	for _, c := range everyCommand(t) {
		commands[c.CommandPath()] = c
	}
	named := regexp.MustCompile("`(expunge(?: [a-z-]+)+)")
	for path, c := range commands {
		if strings.HasPrefix(path, "expunge completion") || c.Name() == "help" || slices.Contains(append(slices.Clone(topicNames), "recipes"), c.Name()) && c.Parent() == c.Root() {
			continue
		}
		if c.Short == "" || strings.HasSuffix(c.Short, ".") || strings.Contains(c.Short, ". ") {
			t.Errorf("%s: %q is not one sentence without its stop", path, c.Short)
		}
		if path != "expunge version" && path != "expunge man" && !strings.Contains(c.Example, path) {
			t.Errorf("%s: no example of it: %q", path, c.Example)
		}
		for line := range strings.Lines(c.Example) {
			for _, flag := range regexp.MustCompile(`--[a-z-]+`).FindAllString(line, -1) {
				words := strings.Fields(line)
				if words[0] != "expunge" {
					continue
				}
				if of, _, err := c.Root().Find(words[1:]); err != nil || of.Flag(flag[2:]) == nil {
					t.Errorf("%s: its example has %s, which %v does not", path, flag, of.CommandPath())
				}
			}
		}
		for _, m := range named.FindAllStringSubmatch(c.Long, -1) {
			words := strings.Fields(m[1])
			if of, _, err := c.Root().Find(words[1:]); err != nil || of == c.Root() {
				t.Errorf("%s: its help names `%s`, which there is not: %v", path, m[1], err)
			}
		}
	}
}
