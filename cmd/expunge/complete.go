package main

import (
	"context"
	"io"
	"log/slog"
	"strconv"

	"github.com/spf13/cobra"

	"expunge/batch"
	"expunge/batch/config"
	"expunge/store"
	"expunge/vendors/rest"
)

// fixed are the values of flags that are the same wherever they stand.
var fixed = map[string][]string{
	"log-format": {"text", "json"},
	"delimiter":  {",", ";", "tab"},
}

// completions gives the shell the values of flags and arguments: what the program knows, what the
// config names, and numbers from the store. No identifier and no ticket is ever offered.
func (a *app) completions(c *cobra.Command) {
	values := map[string]cobra.CompletionFunc{"vendor": a.completeVendors, "batch": a.completeBatches}
	for name, list := range fixed {
		values[name] = cobra.FixedCompletions(list, cobra.ShellCompDirectiveNoFileComp)
	}
	switch c.CommandPath() {
	case "expunge report":
		values["format"] = cobra.FixedCompletions([]string{"csv", "json", "html", "stats"}, cobra.ShellCompDirectiveNoFileComp)
		values["by"] = cobra.FixedCompletions(batch.Periods, cobra.ShellCompDirectiveNoFileComp)
		states := []string{"invalid", "duplicate"}
		for _, s := range store.States() {
			states = append(states, s.String())
		}
		values["state"] = cobra.FixedCompletions(states, cobra.ShellCompDirectiveNoFileComp)
	case "expunge certificate":
		values["format"] = cobra.FixedCompletions([]string{"json", "html"}, cobra.ShellCompDirectiveNoFileComp)
	case "expunge history":
		values["format"] = cobra.FixedCompletions([]string{"text", "json", "html"}, cobra.ShellCompDirectiveNoFileComp)
	case "expunge review approve", "expunge review reject":
		c.ValidArgsFunction = a.completeTasks(store.HeldFilter{})
	case "expunge review retry", "expunge review close":
		c.ValidArgsFunction = a.completeTasks(store.HeldFilter{Failed: true})
	case "expunge review prove", "expunge review moved":
		c.ValidArgsFunction = a.completeVendors
	case "expunge batch drop":
		c.ValidArgsFunction = a.completeBatches
	case "expunge vendor show":
		c.ValidArgsFunction = cobra.FixedCompletions(rest.Shipped(), cobra.ShellCompDirectiveNoFileComp)
	}
	for name, fn := range values {
		if c.LocalFlags().Lookup(name) != nil {
			must(c.RegisterFlagCompletionFunc(name, fn))
		}
	}
	for _, sub := range c.Commands() {
		a.completions(sub)
	}
}

// quietly calls fn with the config; what is wrong is told by the command itself, not by its completion.
func (a *app) quietly(fn func(cfg *config.Config)) {
	if cfg, err := a.loadOffline(slog.New(slog.NewTextHandler(io.Discard, nil))); err == nil {
		fn(cfg)
	}
}

func (a *app) completeVendors(*cobra.Command, []string, string) (names []string, _ cobra.ShellCompDirective) {
	a.quietly(func(cfg *config.Config) { names = vendorNames(cfg) })
	return names, cobra.ShellCompDirectiveNoFileComp
}

// fromStore calls fn with the store, if it can be read.
func (a *app) fromStore(ctx context.Context, fn func(st *store.Store)) {
	a.quietly(func(cfg *config.Config) {
		if st, err := a.openStore(ctx, cfg, true); err == nil {
			defer st.Close()
			fn(st)
		}
	})
}

func (a *app) completeBatches(c *cobra.Command, _ []string, _ string) (numbers []string, _ cobra.ShellCompDirective) {
	a.fromStore(context.Background(), func(st *store.Store) {
		all, err := st.Batches(context.Background())
		for i := len(all) - 1; err == nil && i >= 0 && len(numbers) < maxCompleted; i-- { // the newest first
			numbers = append(numbers, strconv.FormatInt(all[i].ID, 10))
		}
	})
	return numbers, cobra.ShellCompDirectiveNoFileComp
}

// maxCompleted is how many numbers are offered.
const maxCompleted = 50

func (a *app) completeTasks(f store.HeldFilter) cobra.CompletionFunc {
	return func(*cobra.Command, []string, string) (numbers []string, _ cobra.ShellCompDirective) {
		a.fromStore(context.Background(), func(st *store.Store) {
			all, err := st.HeldAfter(context.Background(), f, 0, maxCompleted)
			for i := 0; err == nil && i < len(all); i++ {
				numbers = append(numbers, strconv.FormatInt(all[i].ID, 10))
			}
		})
		return numbers, cobra.ShellCompDirectiveNoFileComp
	}
}
