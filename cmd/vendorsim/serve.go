package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"expunge/vendors"
	"expunge/vendors/rest"
	"expunge/vendors/sim"
)

type serveFlags struct {
	listen, addrFile, seedFile string
	generate                   int
	seed, faultSeed            uint64
	day, tokenTTL, limit       time.Duration
	archiveDays, errorStatus   int
	noMatch                    string
	digits, noLedger, control  bool
	other                      int
	faults, recipes            []string
}

func serveCommand() *cobra.Command {
	var f serveFlags
	c := &cobra.Command{
		Use:   "serve",
		Short: "Serve the three vendors until SIGTERM (the default command)",
		Long: `Serve the three vendors on one loopback address until SIGTERM or until --for has passed.

A fault is TARGET:NAME=VALUE,... with the target customergauge, voyado, acqueon, rest or all,
one operation of them (voyado.create-removal) or one identifier (voyado[KEY]), and a
probability, a count (2x) or, for latency, slow and clock, a duration.

Before the effect: latency, 429, 5xx, down, cut, echo, token_expiry, nobody; any status from
400 to 599; 404_empty, 404_message, 404_route, 404_html, 404_code, 405_code, 401_v6, 404_v6,
422_v6, 403_html, maintenance, unavailable, unavailable_400.
After it, or to it: lost, garbage, truncated, slow, empty_200, empty_202, empty_204,
job_error, job_lost, job_paused, job_stuck, job_forgotten, repeated_id, wrong_jid.
On Acqueon's bus: foreign, foreign_late, only_data, only_message, success_false, bus_error.
Anywhere: clock. The package documentation of vendors/sim says what each does.`,
		Example: `  vendorsim --generate 1000 --day 1s --addr-file sim.addr
  vendorsim --seed-file people.json --fault customergauge:429=0.05 --fault all:lost=0.03`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return serve(cmd, &f) },
	}
	fs := c.Flags()
	fs.StringVar(&f.listen, "listen", "127.0.0.1:0", "loopback address and port, 0 for any free port")
	fs.StringVar(&f.addrFile, "addr-file", "", "write the URL here once ready")
	fs.StringVar(&f.seedFile, "seed-file", "", "JSON file of accounts and people")
	fs.StringArrayVar(&f.recipes, "recipe", nil, "serve the vendor of this recipe too, a file or a shipped one, below /r/NAME (repeatable)")
	fs.IntVar(&f.generate, "generate", 0, "add this many generated people to the first account of each kind")
	fs.Uint64Var(&f.seed, "seed", 1, "which generated people")
	fs.BoolVar(&f.control, "control", false, "a control record ("+sim.ControlEmail+", "+sim.ControlTelephone+") in each account that can be asked")
	fs.IntVar(&f.other, "other", -1, "a second account of each kind ("+sim.OtherClientID+", "+sim.OtherAPIKey+") with this many other people")
	fs.DurationVar(&f.day, "day", 24*time.Hour, "how long a simulated day takes")
	fs.IntVar(&f.archiveDays, "archive-days", 5, "days until Voyado has archived a day and begins its jobs")
	fs.DurationVar(&f.tokenTTL, "token-ttl", time.Hour, "how long a CustomerGauge token is good for")
	fs.StringVar(&f.noMatch, "cg-no-match", string(sim.NoMatchEmpty), "CustomerGauge's answer to no match: total0, missing or 404")
	fs.IntVar(&f.errorStatus, "cg-error-status", http.StatusBadRequest, "status that carries CustomerGauge's error object")
	fs.BoolVar(&f.digits, "cg-match-digits", false, "CustomerGauge compares telephones by their digits")
	fs.StringArrayVar(&f.faults, "fault", nil, "what goes wrong (repeatable)")
	fs.Uint64Var(&f.faultSeed, "fault-seed", 1, "seed of faults and of ids that are made")
	fs.BoolVar(&f.noLedger, "no-ledger", false, "keep arrival times only")
	fs.DurationVar(&f.limit, "for", 2*time.Hour, "end after this long")
	return c
}

func (f *serveFlags) check() error {
	host, _, err := net.SplitHostPort(f.listen)
	switch {
	case err != nil || !vendors.IsLoopback(host):
		return usagef("--listen must be a loopback address such as 127.0.0.1:0")
	case f.generate < 0:
		return usagef("--generate must not be negative")
	case f.day < time.Millisecond:
		return usagef("--day must be at least 1ms")
	case f.archiveDays < 1:
		return usagef("--archive-days must be at least 1: every job waits at least until the next day")
	case f.tokenTTL <= 0 || f.limit <= 0:
		return usagef("--token-ttl and --for must be positive")
	case !slices.Contains([]sim.NoMatch{sim.NoMatchEmpty, sim.NoMatchMissing, sim.NoMatch404}, sim.NoMatch(f.noMatch)):
		return usagef("--cg-no-match must be total0, missing or 404")
	case f.errorStatus < 200 || f.errorStatus > 599:
		return usagef("--cg-error-status must be an HTTP status")
	}
	if err := sim.CheckFaults(f.faults); err != nil {
		return usageError{err}
	}
	return nil
}

func serve(cmd *cobra.Command, f *serveFlags) error {
	if err := f.check(); err != nil {
		return err
	}
	seed := sim.DefaultSeed()
	if f.seedFile != "" {
		file, err := os.Open(f.seedFile)
		if err != nil {
			return usageError{err}
		}
		seed, err = sim.ReadSeed(file)
		file.Close()
		if err != nil {
			return usagef("%s: %w", f.seedFile, err)
		}
	}
	seed.Generate(f.generate, f.seed)
	if f.other >= 0 {
		seed.Other(f.other, f.seed)
	}
	if f.control {
		seed.Control()
	}

	var recipes []*rest.Recipe
	for _, name := range f.recipes {
		file, text, err := rest.Find(name)
		if err != nil {
			return usageError{err}
		}
		r, err := rest.Parse(file, text)
		if err != nil {
			return usageError{err}
		}
		recipes = append(recipes, r)
	}

	s := sim.New(sim.Options{
		Recipes: recipes,
		Seed:    seed, RandSeed: f.faultSeed, Day: f.day, ArchiveDays: f.archiveDays, TokenTTL: f.tokenTTL,
		NoMatch: sim.NoMatch(f.noMatch), CGErrorStatus: f.errorStatus, MatchDigits: f.digits,
		Faults: f.faults, NoLedger: f.noLedger,
	})
	defer s.Close()
	ctx, cancel := context.WithTimeout(cmd.Context(), f.limit)
	defer cancel()
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", f.listen)
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	srv := &http.Server{Handler: s, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(l) }()

	url := "http://" + l.Addr().String()
	err = nil
	if f.addrFile != "" {
		err = writeFile(f.addrFile, url+"\n")
	}
	if err == nil {
		fmt.Fprintln(cmd.OutOrStdout(), url)
		select {
		case err = <-served:
		case <-ctx.Done():
		}
	}
	s.Close()
	// Requests in flight may be waiting out a latency: give them a moment only.
	grace, stop := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer stop()
	if srv.Shutdown(grace) != nil {
		_ = srv.Close() // the rest is cut, as when a vendor goes away
	}
	if errors.Is(err, http.ErrServerClosed) {
		err = nil
	}
	return err
}

// writeFile writes by rename, so that who waits for the file never reads half of it.
func writeFile(path, text string) error {
	t, err := os.CreateTemp(filepath.Dir(path), ".vendorsim-*")
	if err != nil {
		return err
	}
	_, err = t.WriteString(text)
	if closeErr := t.Close(); err == nil {
		err = closeErr
	}
	if err == nil {
		err = os.Rename(t.Name(), path)
	}
	if err != nil {
		_ = os.Remove(t.Name()) // the first error is the one to tell
	}
	return err
}
