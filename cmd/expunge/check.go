package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"expunge/store"
	"expunge/vendors"
)

func (a *app) checkCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "check",
		Short: "Try config, credentials, clocks and store; change nothing anywhere",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return a.check(c.Context())
		},
	}
}

func (a *app) check(ctx context.Context) error {
	log := a.logger()
	cfg, err := a.loadConfig(log)
	if err != nil {
		return err
	}
	fmt.Fprintf(a.stdout, "ok    config %s: %d vendors\n", cfg.Path, len(cfg.Vendors))
	problems := 0
	problem := func(what string, err error, hint string) {
		problems++
		fmt.Fprintf(a.stdout, "FAIL  %s: %v\n", what, err)
		if hint != "" {
			fmt.Fprintf(a.stdout, "      hint: %s\n", hint)
		}
	}
	switch st, err := a.openStore(ctx, cfg, true); {
	case errors.Is(err, store.ErrNoStore):
		fmt.Fprintf(a.stdout, "ok    store %s: not made yet, the first run makes it\n", cfg.Store)
	case err != nil:
		_, hint := classify(err)
		problem("store "+cfg.Store, err, hint)
	default:
		fmt.Fprintf(a.stdout, "ok    store %s: opens with its key\n", cfg.Store)
		if err := st.Close(); err != nil {
			return err
		}
	}
	if err := writable(cfg.Report); err != nil {
		problem("report "+cfg.Report, err, "name another place with `report:` in the config")
	}
	s, err := a.open(ctx, cfg, log, nil, true)
	if err != nil {
		return err
	}
	defer s.close(ctx)
	for _, v := range cfg.Vendors {
		checker, ok := s.vendors[v.Name].(vendors.Checker)
		if !ok {
			fmt.Fprintf(a.stdout, "ok    vendor %s: configured (this kind cannot be tried without raising a request)\n", v.Name)
			continue
		}
		warnings, err := checker.Check(ctx)
		for _, w := range warnings {
			fmt.Fprintf(a.stdout, "warn  vendor %s: %s\n", v.Name, w)
		}
		if err != nil {
			hint := "the vendor does not answer as documented: is base_url right, and is it up?"
			if errors.Is(err, vendors.ErrAuth) {
				hint = "mend its credentials in " + cfg.Path
			}
			problem("vendor "+v.Name, err, hint)
			continue
		}
		fmt.Fprintf(a.stdout, "ok    vendor %s: answers, and accepts our credentials\n", v.Name)
	}
	if problems > 0 {
		return quiet(exitUsage)
	}
	return nil
}
