package main

import (
	"bytes"
	_ "embed"
	"errors"
	"fmt"
	"html/template"
	"os"
	"path/filepath"
	"strings"

	"github.com/cpuguy83/go-md2man/v2/md2man"
	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/ast"
	"github.com/yuin/goldmark/extension"
	"github.com/yuin/goldmark/text"

	"expunge/batch/html"
)

// manCommand is for packagers: `make man` and `make manual` call it.
func (a *app) manCommand() *cobra.Command {
	var asHTML bool
	c := &cobra.Command{
		Use:    "man DIR",
		Short:  "Write the man pages into a folder, or the manual as one HTML page",
		Hidden: true,
		Args:   cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if st, err := os.Stat(args[0]); err != nil || !st.IsDir() {
				return usage(fmt.Errorf("%s is not a folder", args[0]), "make it first")
			}
			root := c.Root()
			root.DisableAutoGenTag = true // a date would make every build another
			if asHTML {
				return writeManual(root, filepath.Join(args[0], "manual.html"))
			}
			return writeMan(root, args[0])
		},
	}
	c.Flags().BoolVar(&asHTML, "html", false, "write DIR/manual.html: every command and every topic on one page")
	return c
}

// writeMan writes a page of section 1 for each command, and one of section 7 for each topic.
func writeMan(root *cobra.Command, dir string) error {
	header := doc.GenManHeader{Section: "1", Source: "expunge " + version, Manual: "expunge"}
	if err := doc.GenManTree(root, &header, dir); err != nil {
		return err
	}
	for _, t := range topics() {
		page := fmt.Sprintf("%% \"EXPUNGE-%s\" \"7\" \"\" \"expunge %s\" \"expunge\"\n\n# NAME\n\nexpunge-%s - %s\n\n%s", strings.ToUpper(t.Name()), version, t.Name(), t.Short, t.Long)
		if err := os.WriteFile(filepath.Join(dir, "expunge-"+t.Name()+".7"), md2man.Render([]byte(page)), 0o644); err != nil {
			return err
		}
	}
	return nil
}

//go:embed manual.tmpl
var manualPage string

// part is one command or topic of the manual.
type part struct {
	ID, Title string
	Text      template.HTML
}

// writeManual writes all that `expunge help` knows as one page.
func writeManual(root *cobra.Command, path string) error {
	var v struct {
		Version          string
		Style            template.CSS
		Commands, Topics []part
	}
	v.Version, v.Style = version, template.CSS(html.Style())
	var walk func(c *cobra.Command) error
	walk = func(c *cobra.Command) error {
		if c.IsAdditionalHelpTopicCommand() || c.Hidden || c.Name() == "help" || c.Name() == "completion" {
			return nil
		}
		p, err := commandPart(c)
		if err != nil {
			return err
		}
		v.Commands = append(v.Commands, p)
		for _, sub := range c.Commands() {
			if err := walk(sub); err != nil {
				return err
			}
		}
		return nil
	}
	if err := walk(root); err != nil {
		return err
	}
	for _, t := range topics() {
		_, body, _ := strings.Cut(t.Long, "\n")
		p, err := asPart("topic-"+t.Name(), t.Short, []byte(body))
		if err != nil {
			return err
		}
		v.Topics = append(v.Topics, p)
	}
	t, err := template.New("manual").Parse(manualPage)
	if err != nil {
		return err
	}
	var b bytes.Buffer
	if err := t.Execute(&b, v); err != nil {
		return err
	}
	return os.WriteFile(path, b.Bytes(), 0o644)
}

var markdown = goldmark.New(goldmark.WithExtensions(extension.Table))

// asPart renders a text of ours, whose headings stand below the one that the page gives it.
func asPart(id, title string, source []byte) (part, error) {
	tree := markdown.Parser().Parse(text.NewReader(source))
	err := ast.Walk(tree, func(n ast.Node, entering bool) (ast.WalkStatus, error) {
		if h, ok := n.(*ast.Heading); ok && entering {
			h.Level += 2
		}
		return ast.WalkContinue, nil
	})
	var b bytes.Buffer
	err = errors.Join(err, markdown.Renderer().Render(&b, source, tree))
	// Wide examples scroll, also by the keyboard.
	page := strings.ReplaceAll(b.String(), "<pre>", `<pre tabindex="0">`)
	return part{id, title, template.HTML(page)}, err
}

// commandPart is the help of a command.
func commandPart(c *cobra.Command) (part, error) {
	var b bytes.Buffer
	if c.Long != "" {
		fmt.Fprintf(&b, "\n%s\n", c.Long)
	} else {
		fmt.Fprintf(&b, "\n%s.\n", c.Short)
	}
	if c.Runnable() {
		fmt.Fprintf(&b, "\n```\n%s\n```\n", c.UseLine())
	}
	if c.Example != "" {
		fmt.Fprintf(&b, "\n```\n%s\n```\n", strings.ReplaceAll(strings.TrimPrefix(c.Example, "  "), "\n  ", "\n"))
	}
	if f := c.NonInheritedFlags(); f.HasAvailableFlags() {
		fmt.Fprintf(&b, "\n```\n%s```\n", f.FlagUsages())
	}
	return asPart(strings.ReplaceAll(c.CommandPath(), " ", "-"), c.CommandPath(), b.Bytes())
}
