package main

import (
	"cmp"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"

	"expunge/batch"
	"expunge/batch/config"
	"expunge/batch/intake"
	"expunge/store"
	"expunge/store/seal"
	"expunge/vendors"
	"expunge/vendors/acqueon"
	"expunge/vendors/customergauge"
	"expunge/vendors/rest"
	"expunge/vendors/transport"
	"expunge/vendors/voyado"
)

// kinds are the vendor APIs that this program speaks. A further one is named here, and
// nowhere else.
var kinds = []vendors.Kind{customergauge.Kind, voyado.Kind, acqueon.Kind, rest.Kind}

// release is set when a package is built: -ldflags '-X main.release=1.2.3'.
var release string

// version is what runs and reports name as the program that made them.
var version, built = programVersion()

// app is what the commands share.
type app struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	getenv         func(string) (string, bool)
	logs           *logWriter
	runID          atomic.Int64           // of the run under way, in the store
	asked          atomic.Pointer[func()] // prints a line of progress

	configPath string
	logFormat  string
	verbose    bool
	noProgress bool
	profiles   profiles
}

func (a *app) rootCommand() *cobra.Command {
	root := group(&cobra.Command{
		Use:   "expunge",
		Short: "Forget people at the company's SaaS vendors",
		Long: "expunge reads a CSV of people who asked to be forgotten, previews and anonymizes each of them at\n" +
			"every configured vendor, follows the vendors' jobs over days, and reports what really happened.\n\n" + exitCodesHelp,
		Example:       "  expunge init\n  expunge check\n  expunge run --dry-run subjects.csv\n  expunge run subjects.csv\n  expunge status",
		SilenceUsage:  true,
		SilenceErrors: true,
		PersistentPreRunE: func(*cobra.Command, []string) error {
			if a.logFormat != "text" && a.logFormat != "json" {
				return usage(fmt.Errorf("--log-format %q: must be text or json", a.logFormat), "write --log-format json")
			}
			return a.profiles.start()
		},
	}, a.initCommand(), a.checkCommand(), a.runCommand(), a.statusCommand(), a.reviewCommand(), a.confirmCommand(), a.answeredCommand(),
		a.extendCommand(), a.reportCommand(), a.historyCommand(), a.recheckCommand(), a.schemaCommand(), a.batchCommand(), a.keyCommand(), a.backupCommand(), a.restoreCommand(), a.certificateCommand(), a.verifyCommand(), a.logCommand(), a.purgeCommand(), a.vendorCommand(), a.versionCommand(), a.manCommand())
	root.AddCommand(topics()...)
	f := root.PersistentFlags()
	f.StringVarP(&a.configPath, "config", "c", "expunge.yaml", "configuration `file`")
	f.StringVar(&a.logFormat, "log-format", "text", "text or json")
	f.BoolVarP(&a.verbose, "verbose", "v", false, "log every step")
	f.BoolVar(&a.noProgress, "no-progress", false, "no progress on standard error")
	a.profiles.flags(root)
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return usage(err, fmt.Sprintf("`%s --help` shows the flags", c.CommandPath()))
	})
	root.Version = built
	root.SetVersionTemplate("expunge {{.Version}}\n")
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	wrapArgs(root)
	a.completions(root)
	return root
}

// group makes a command of its subcommands: alone it shows its help, and any other word
// than one of theirs is a usage error.
func group(c *cobra.Command, subs ...*cobra.Command) *cobra.Command {
	c.AddCommand(subs...)
	c.Args = cobra.ArbitraryArgs
	c.RunE = func(c *cobra.Command, args []string) error {
		if len(args) == 0 {
			return c.Help()
		}
		hint := fmt.Sprintf("`%s --help` lists the commands", c.CommandPath())
		if near := c.SuggestionsFor(args[0]); len(near) > 0 {
			hint = fmt.Sprintf("did you mean `%s %s`?", c.CommandPath(), near[0])
		}
		return usage(fmt.Errorf("there is no command %q", c.CommandPath()+" "+args[0]), hint)
	}
	c.SuggestionsMinimumDistance = 2
	return c
}

// must is for what can only fail by our own mistake, on every start.
func must(err error) {
	if err != nil {
		panic(err)
	}
}

// wrapArgs makes a wrong number of arguments a usage error.
func wrapArgs(c *cobra.Command) {
	if check := c.Args; check != nil {
		c.Args = func(c *cobra.Command, args []string) error {
			if err := check(c, args); err != nil {
				return usage(err, fmt.Sprintf("`%s --help` shows how it is used", c.CommandPath()))
			}
			return nil
		}
	}
	for _, sub := range c.Commands() {
		wrapArgs(sub)
	}
}

func (a *app) loadConfig(log *slog.Logger) (*config.Config, error) {
	return a.readConfig(log, config.Options{})
}

// loadOffline loads the config for a command that calls no vendor: it needs no vendor's secret.
func (a *app) loadOffline(log *slog.Logger) (*config.Config, error) {
	return a.readConfig(log, config.Options{Offline: true})
}

func (a *app) readConfig(log *slog.Logger, o config.Options) (*config.Config, error) {
	o.Kinds, o.Getenv = kinds, a.getenv
	cfg, err := config.Load(a.configPath, o)
	if err != nil {
		return nil, usage(err, "") // its text has the hints
	}
	for _, w := range cfg.Warnings {
		log.Warn(w)
	}
	if err := sweepScratch(cfg); err != nil {
		log.Warn("what is left of a dry run that was killed could not be removed", "error", err.Error())
	}
	return cfg, nil
}

// key returns the source of the store's key.
func (a *app) key(cfg *config.Config) func(create bool) (seal.Key, error) {
	return func(create bool) (seal.Key, error) {
		if cfg.KeyEnv != "" {
			text, ok := a.getenv(cfg.KeyEnv)
			if !ok || text == "" {
				return seal.Key{}, fmt.Errorf("%w: the environment variable %s (key_env) is not set", seal.ErrNoKey, cfg.KeyEnv)
			}
			return seal.ParseKey(text)
		}
		k, err := seal.LoadFile(cfg.KeyFile)
		if create && errors.Is(err, seal.ErrNoKey) {
			k = seal.NewKey()
			return k, seal.WriteFile(cfg.KeyFile, k, nil)
		}
		return k, err
	}
}

// openStore opens the store that is there. Only a run that takes in a file makes one: where
// a store was moved, or its volume is not mounted, an empty one in its place would have
// nothing to do, report so, and look like success every night.
func (a *app) openStore(ctx context.Context, cfg *config.Config, readOnly bool) (*store.Store, error) {
	return store.Open(ctx, cfg.Store, a.storeOptions(cfg, readOnly, true))
}

func (a *app) storeOptions(cfg *config.Config, readOnly, existing bool) store.Options {
	return store.Options{Key: a.key(cfg), ReadOnly: readOnly, Existing: existing, Now: time.Now, Forget: batch.Forget,
		Kind: batch.FieldName, LogName: cfg.Log.Origin}
}

// session is an open store with what is known of the configured vendors.
type session struct {
	cfg   *config.Config
	log   *slog.Logger
	store *store.Store
	tasks *batch.Tasks

	// Where vendors are called.
	run        *batch.Run
	vendors    map[string]vendors.Vendor
	limiters   map[string]*transport.Limiter
	transports []*transport.Transport
}

// withStore runs fn on the open store. No vendor can be called.
func (a *app) withStore(ctx context.Context, readOnly bool, fn func(*session) error) (err error) {
	log := a.logger()
	cfg, err := a.loadOffline(log)
	if err != nil {
		return err
	}
	st, err := a.openStore(ctx, cfg, readOnly)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, st.Close()) }()
	s, _, err := a.offline(ctx, cfg, log, st)
	if err != nil {
		return err
	}
	if err := fn(s); err != nil || readOnly {
		return err
	}
	return a.publish(ctx, cfg, st)
}

// offline makes a session in which no vendor can be called, and the lanes for who plans tasks.
func (a *app) offline(ctx context.Context, cfg *config.Config, log *slog.Logger, st *store.Store) (*session, []*batch.Lane, error) {
	s := &session{cfg: cfg, log: log, store: st, tasks: &batch.Tasks{Store: st, Now: time.Now, Log: log, TrackAnswers: cfg.TrackAnswers}}
	var lanes []*batch.Lane
	for _, vc := range cfg.Vendors {
		v, err := a.openVendor(cfg, vc, vendors.Options{Transport: vendors.Offline{}, Log: log})
		if err != nil {
			return nil, nil, err
		}
		account := batch.AccountOf(vc.Name, v, vc.Config.Shared().Rate)
		s.tasks.Accounts = append(s.tasks.Accounts, account)
		lanes = append(lanes, &batch.Lane{Account: account, Vendor: v})
	}
	if err := oneEach(cfg, s.tasks.Accounts); err != nil {
		return nil, nil, err
	}
	return s, lanes, s.tasks.Prepare(ctx)
}

func (a *app) openVendor(cfg *config.Config, vc config.Vendor, o vendors.Options) (vendors.Vendor, error) {
	o.Name, o.Now, o.DefaultRegion = vc.Name, time.Now, cfg.DefaultRegion
	v, err := vc.Config.Open(o)
	if err != nil {
		return nil, usage(fmt.Errorf("%s:%d: vendors.%s: %w", cfg.Path, vc.Line, vc.Name, err), "`expunge check` tries the config")
	}
	return v, nil
}

// open makes the vendors such that they can be called and, with a store, the run on it.
func (a *app) open(ctx context.Context, cfg *config.Config, log *slog.Logger, st *store.Store, dryRun bool) (*session, error) {
	s := &session{cfg: cfg, log: log, store: st, vendors: map[string]vendors.Vendor{}, limiters: map[string]*transport.Limiter{}}
	s.tasks = &batch.Tasks{Store: st, Now: time.Now, Log: log, TrackAnswers: cfg.TrackAnswers}
	var lanes []*batch.Lane
	quotas := map[string]*store.Quota{}
	for _, vc := range cfg.Vendors {
		c := vc.Config.Shared()
		lo := transport.LimiterOptions{Rate: c.Rate, Burst: c.Burst}
		if c.Rate.PerDay > 0 && st != nil {
			q := &store.Quota{S: st, Limit: c.Rate.PerDay}
			quotas[vc.Name], lo.Quota = q, q
		}
		var roots *x509.CertPool
		if c.CAFile != "" {
			var err error
			if roots, err = transport.LoadRootCAs(c.CAFile); err != nil {
				return nil, usage(fmt.Errorf("%s:%d: vendors.%s.ca_file: %w", cfg.Path, vc.Line, vc.Name, err), "it must be a PEM file of certificates")
			}
		}
		limiter := transport.NewLimiter(lo)
		t := transport.New(transport.Options{Vendor: vc.Name, Timeout: time.Duration(c.Timeout), Concurrency: c.Concurrency,
			Limiter: limiter, RootCAs: roots, Log: log, UserAgent: "expunge/" + version, ReadOnly: dryRun})
		vo := vendors.Options{Transport: t, Log: log}
		if st != nil && !dryRun {
			vo.Tell = func(line string) { fmt.Fprintln(a.logs, line) } // in any log format: it is no record
		}
		v, err := a.openVendor(cfg, vc, vo)
		if err != nil {
			return nil, err
		}
		s.transports = append(s.transports, t)
		s.vendors[vc.Name], s.limiters[vc.Name] = v, limiter
		account := batch.AccountOf(vc.Name, v, c.Rate)
		s.tasks.Accounts = append(s.tasks.Accounts, account)
		lanes = append(lanes, &batch.Lane{Account: account, Vendor: v, Pacer: limiter, Clock: t, Concurrency: c.Concurrency, Retry: c.Retry})
	}
	if err := oneEach(cfg, s.tasks.Accounts); err != nil {
		return nil, err
	}
	if st == nil {
		return s, nil
	}
	var err error
	if s.run, err = batch.NewRun(ctx, s.tasks, lanes...); err != nil {
		return nil, err
	}
	s.run.Manual, s.run.Linger = cfg.Approval == config.ApprovalManual, cfg.Linger
	known, err := st.Vendors(ctx)
	if err != nil {
		return nil, err
	}
	for name, q := range quotas {
		q.Vendor = known[name].ID
	}
	return s, nil
}

// oneEach refuses entries of the config that are one account: everybody would be submitted
// there twice, at twice the limit.
func oneEach(cfg *config.Config, accounts []*batch.Account) error {
	first := map[string]config.Vendor{}
	for i, vc := range cfg.Vendors {
		tr := accounts[i].Traits
		other, twice := first[tr.Place]
		if twice && !tr.SharedPlace {
			return usage(fmt.Errorf("%s:%d: vendors.%s is the same account as vendors.%s on line %d: %s", cfg.Path, vc.Line, vc.Name, other.Name, other.Line, tr.Place),
				"keep one of them; the store knows the name under which it has worked")
		}
		first[tr.Place] = vc
	}
	return nil
}

// close closes what vendors hold open, gives back what limiters reserved and closes the
// connections. The store is closed by who opened it.
func (s *session) close(ctx context.Context) error {
	var errs []error
	for _, v := range s.vendors {
		if c, ok := v.(io.Closer); ok {
			errs = append(errs, c.Close())
		}
	}
	for _, l := range s.limiters {
		errs = append(errs, l.Close(context.WithoutCancel(ctx)))
	}
	for _, t := range s.transports {
		t.Close()
	}
	return errors.Join(errs...)
}

func (s *session) reporter(f store.Filter) *batch.Reporter {
	return &batch.Reporter{Store: s.store, Now: time.Now, AtRisk: time.Duration(s.cfg.AtRisk), Accounts: s.tasks.Accounts, Filter: f, TrackAnswers: s.cfg.TrackAnswers}
}

func (s *session) reading() intake.Options {
	var names []string
	for _, v := range s.cfg.Vendors {
		names = append(names, v.Name)
	}
	return intake.Options{Columns: s.cfg.Columns, IgnoreColumns: s.cfg.IgnoreColumns, Encoding: s.cfg.Encoding, DateFormat: s.cfg.DateFormat, Vendors: names, DefaultRegion: s.cfg.DefaultRegion, Now: time.Now, Log: s.log}
}

func (a *app) versionCommand() *cobra.Command {
	return &cobra.Command{Use: "version", Short: "Print the version", Args: cobra.NoArgs, RunE: func(*cobra.Command, []string) error {
		_, err := fmt.Fprintf(a.stdout, "expunge %s\n", built)
		return err
	}}
}

// programVersion returns the release, or what the toolchain knows of the source instead, and
// the same with the commit and its date.
func programVersion() (version, built string) {
	version = cmp.Or(release, "dev")
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return version, version
	}
	if v := info.Main.Version; release == "" && v != "" && v != "(devel)" {
		version = v
	}
	of := map[string]string{}
	for _, s := range info.Settings {
		of[s.Key] = s.Value
	}
	built = version
	if commit := of["vcs.revision"]; commit != "" {
		built += fmt.Sprintf(" (commit %.12s, %s)", commit, of["vcs.time"])
	}
	return version, built
}
