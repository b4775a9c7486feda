package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"expunge/batch/config"
	"expunge/vendors"
	"expunge/vendors/rest"
	"expunge/vendors/rest/trial"
	"expunge/vendors/vendortest"
)

func (a *app) vendorCommand() *cobra.Command {
	var live bool
	test := &cobra.Command{
		Use:   "test FILE|NAME",
		Short: "Try a recipe without its vendor",
		Long: "Loads a recipe, runs its examples, prints the requests that they make, plays a vendor made from the recipe and runs\n" +
			"the tests of all kinds of vendors on it, and changes each word of the file in turn: no mistake may go unnoticed.\n" +
			"Nothing leaves this machine. This proves the file, not what it says of the vendor.\n\n" +
			"With --live the argument is a vendor of the config, and standard input has one line with what one person is known\n" +
			"by: that person is looked up at the vendor itself. Nothing is changed there.",
		Example: "  expunge vendor test acme.yaml\n  echo ada@example.com | expunge vendor test --live acme",
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if live {
				return a.testLive(c.Context(), args[0])
			}
			return a.testRecipe(c.Context(), args[0])
		},
	}
	test.Flags().BoolVar(&live, "live", false, "look up one person at the vendor; changes nothing")
	return group(&cobra.Command{
		Use: "vendor", Short: "Recipes: vendors described by a file",
		Long:    "A recipe describes a vendor by a file: kind rest with recipe: NAME@VERSION, or file:PATH.\n`expunge help recipes` says how one is written.",
		Example: "  expunge vendor list\n  expunge vendor show hubspot\n  expunge vendor test acme.yaml",
	},
		&cobra.Command{
			Use: "list", Short: "List the recipes that this program has", Args: cobra.NoArgs,
			Example: "  expunge vendor list",
			RunE:    func(*cobra.Command, []string) error { return a.listRecipes() },
		},
		&cobra.Command{
			Use: "show NAME", Short: "Print a recipe of this program, to read or to start from", Args: cobra.ExactArgs(1),
			Example: "  expunge vendor show hubspot > acme.yaml",
			RunE: func(_ *cobra.Command, args []string) error {
				_, text, err := recipeText(args[0])
				if err != nil {
					return err
				}
				_, err = a.stdout.Write(text)
				return err
			},
		},
		test,
		&cobra.Command{
			Use: "schema", Short: "Print the JSON Schema of recipes, for editors", Args: cobra.NoArgs,
			Example: "  expunge vendor schema > recipe.schema.json",
			RunE: func(*cobra.Command, []string) error {
				s, err := rest.Schema()
				if err == nil {
					_, err = fmt.Fprintf(a.stdout, "%s\n", s)
				}
				return err
			},
		})
}

// recipeText is the text of a shipped recipe, or of a file.
func recipeText(name string) (file string, text []byte, err error) {
	file, text, err = rest.Find(name)
	if err != nil {
		return "", nil, usage(err, "`expunge vendor list` shows the names; a file of your own is named by its path")
	}
	return file, text, nil
}

func (a *app) listRecipes() error {
	w := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "RECIPE\tKNOWN BY\tLOOKED UP BEFORE\tERASED RESTS ON\tTRIED\tREAD")
	for _, ref := range rest.Shipped() {
		r, err := rest.Named(ref)
		if err != nil {
			return err
		}
		before := "no"
		if r.Preview != nil {
			before = "yes"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", ref, r.Knows(), before, r.Done.By, r.Tried, r.Read)
	}
	return w.Flush()
}

// testRecipe tries a recipe offline and says what it found, the worst last.
func (a *app) testRecipe(ctx context.Context, name string) error {
	file, text, err := recipeText(name)
	if err != nil {
		return err
	}
	r, err := rest.Parse(file, text)
	if err != nil {
		return usage(err, "")
	}
	f := &findings{a: a}
	from := map[string]int{}
	for _, e := range r.Examples {
		from[e.From]++
	}
	f.ok("recipe %s (sha256 %s…): loads; %d examples agree with it (%d from docs, %d recorded, %d made up)",
		r.Ref(), r.Digest[:16], len(r.Examples), from["docs"], from["recorded"], from["made_up"])
	for _, name := range slices.Sorted(maps.Keys(r.Examples)) {
		for _, line := range r.Examples[name].Sends {
			fmt.Fprintf(a.stdout, "sends %-12s %s\n", name, line)
		}
	}
	c, err := trial.Case(r)
	if err != nil {
		f.fail("does the example of what is found agree with the paths?", "a vendor made from the recipe: %v", err)
		return quiet(exitUsage)
	}
	failures := vendortest.Try(ctx, c)
	for _, line := range failures {
		f.fail("", "conformance: %s", line)
	}
	if len(failures) == 0 {
		f.ok("a vendor made from the recipe passes the tests of all kinds")
	}
	count := map[trial.Fate]int{}
	err = trial.Mutants(file, text, false, func(m trial.Mutant) {
		if count[m.Fate]++; m.Fate == trial.Silent {
			f.fail("an example that shows the difference would catch it", "a mistake that nobody would notice: %v", m)
		}
	})
	if err != nil {
		return err
	}
	total := 0
	for _, n := range count {
		total += n
	}
	f.ok("%d one-word mistakes: %d refused at load, %d stopped by the control record, %d held or open, %d without another outcome, %d silent",
		total, count[trial.Refused], count[trial.Control], count[trial.Visible], count[trial.Same], count[trial.Silent])
	for _, w := range r.Weaknesses() {
		f.warn("", "%s", w)
	}
	if f.problems > 0 {
		return quiet(exitUsage)
	}
	return nil
}

// testLive looks one person up at a configured vendor.
func (a *app) testLive(ctx context.Context, name string) (err error) {
	log := a.logger()
	cfg, err := a.loadConfig(log)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(cfg.Vendors, func(v config.Vendor) bool { return v.Name == name })
	if i < 0 {
		return usage(fmt.Errorf("%s has no vendor %s", cfg.Path, name), "it has "+strings.Join(vendorNames(cfg), ", "))
	}
	cfg.Vendors = cfg.Vendors[i : i+1]
	s, err := a.open(ctx, cfg, log, nil, true)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.close(ctx)) }()
	v := s.vendors[name]
	if !v.Traits().Remote {
		return usage(fmt.Errorf("vendor %s cannot be asked whom it holds", name), "`expunge vendor test FILE` tries what can be tried without it")
	}
	line, err := bufio.NewReader(a.input(ctx)).ReadString('\n')
	if line = strings.TrimSpace(line); line == "" {
		return usage(errors.New("standard input has no line"), "echo ada@example.com | expunge vendor test --live "+name)
	}
	t := personOf(v, line)
	if t == nil {
		return usage(fmt.Errorf("vendor %s does not know people by such a value", name), "")
	}
	p, err := v.Preview(ctx, t)
	if err != nil {
		return err
	}
	masked := t.Subject.MaskedAt(t.Ref)
	switch {
	case p.Doubt != "":
		_, err = fmt.Fprintf(a.stdout, "%s %s: %d records %s; a task would be held: %s\n", t.Ref.Field, masked, p.Records, strings.Join(p.Refs, " "), p.Doubt)
	case p.Records == 0:
		_, err = fmt.Fprintf(a.stdout, "%s %s: nothing is found\n", t.Ref.Field, masked)
	default:
		_, err = fmt.Fprintf(a.stdout, "%s %s: %d records %s, all of them the person's\n", t.Ref.Field, masked, p.Records, strings.Join(p.Refs, " "))
	}
	return err
}

// personOf is a target with a value, as the first kind of identifier that the vendor knows
// people by and that the value can be.
func personOf(v vendors.Vendor, value string) *vendors.Target {
	for _, f := range vendors.Fields() {
		class, _ := vendors.Normal(f, "")
		if class == vendors.Email != strings.Contains(value, "@") && class != vendors.CustomerKey && class != vendors.AccountNumber {
			continue
		}
		s := vendors.Subject{{Field: f, Text: value}}
		if refs, _ := v.Identifiers(s); len(refs) == 1 {
			return &vendors.Target{Ref: refs[0], Subject: s}
		}
	}
	return nil
}
