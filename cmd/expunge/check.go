package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"expunge/batch"
	"expunge/batch/config"
	"expunge/store"
	"expunge/store/seal"
	"expunge/vendors"
)

// skewAllowed is how far a vendor's clock may be from ours before it is worth a word:
// certificates, tokens and due dates depend on clocks.
const skewAllowed = time.Minute

func (a *app) checkCommand() *cobra.Command {
	var reading readingFlags
	var only []string
	c := &cobra.Command{
		Use:   "check [FILE.csv]",
		Short: "Try config, credentials, clocks and store, or read a file; change nothing anywhere",
		Long: "Tries what a run needs and names each problem with its fix: the config and its secrets, the key, the store, the\n" +
			"places of report and metrics, file permissions, open tasks of vendors that the config does not have, each vendor's\n" +
			"credentials and clock, agreements that are missing and versions that end. It changes nothing, here or there. Exit\n" +
			"code 2 says that something must be mended.\n\n" +
			"With a file it reads that file instead, as a run would, and takes nothing in: it tells what each column is, what is\n" +
			"wrong with which cell and what would be right, how many tasks each vendor would get, and how long they take at the\n" +
			"configured rates. No vendor is called and no secret is needed. Exit code 3 says that some rows are invalid, 2 that\n" +
			"the file would be refused. `-` is standard input.",
		Example: "  expunge check\n  expunge check --config /etc/expunge/expunge.yaml\n  expunge check subjects.csv\n  expunge check subjects.csv --encoding windows-1252 --date-format dd.mm.yyyy",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) == 1 {
				return a.checkFile(c.Context(), args[0], reading, only)
			}
			return a.check(c.Context())
		},
	}
	reading.add(c)
	c.Flags().StringArrayVar(&only, "vendor", nil, "only this vendor (`NAME`; repeatable)")
	return c
}

// findings is what a check prints.
type findings struct {
	a        *app
	problems int
}

func (f *findings) ok(format string, args ...any) {
	fmt.Fprintf(f.a.stdout, "ok    "+format+"\n", args...)
}

func (f *findings) warn(hint, format string, args ...any) {
	fmt.Fprintf(f.a.stdout, "warn  "+format+"\n", args...)
	f.hint(hint)
}

func (f *findings) fail(hint, format string, args ...any) {
	f.problems++
	fmt.Fprintf(f.a.stdout, "FAIL  "+format+"\n", args...)
	f.hint(hint)
}

func (f *findings) hint(hint string) {
	if hint != "" {
		fmt.Fprintf(f.a.stdout, "      hint: %s\n", hint)
	}
}

func (a *app) check(ctx context.Context) (err error) {
	log := a.logger()
	cfg, err := a.loadConfig(log)
	if err != nil {
		return err
	}
	for _, path := range []*string{&cfg.Path, &cfg.Store, &cfg.KeyFile, &cfg.Report, &cfg.Metrics} {
		*path = fullPath(*path)
	}
	f := &findings{a: a}
	f.ok("config %s: %d vendors", cfg.Path, len(cfg.Vendors))
	f.private("config", cfg.Path)
	a.checkStore(ctx, cfg, f)
	for _, target := range []struct{ what, key, path string }{{"report", "report", cfg.Report}, {"metrics", "metrics", cfg.Metrics}} {
		switch err := writable(target.path); {
		case target.path == "":
		case err != nil:
			f.fail("name another place with `"+target.key+":` in the config", "%s %s: %v", target.what, target.path, err)
		default:
			f.ok("%s %s: can be written", target.what, target.path)
		}
	}
	s, err := a.open(ctx, cfg, log, nil, true)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.close(ctx)) }()
	for i, v := range cfg.Vendors {
		a.checkVendor(ctx, cfg, s, i, v, f)
	}
	checkExports(s.tasks.Accounts, f)
	if f.problems > 0 {
		return quiet(exitUsage)
	}
	return nil
}

// fullPath is where a file is, whatever the folder that a path is given from.
func fullPath(path string) string {
	if path == "" || path == "-" {
		return path
	}
	full, err := filepath.Abs(path)
	if err != nil {
		return path
	}
	return full
}

// checkStore tries key and store.
func (a *app) checkStore(ctx context.Context, cfg *config.Config, f *findings) {
	_, keyErr := a.key(cfg)(false)
	where := cfg.KeyFile
	if where == "" {
		where = "in " + cfg.KeyEnv
	}
	st, err := a.openStore(ctx, cfg, true)
	switch {
	case errors.Is(err, store.ErrNoStore):
		if err := neverStored(cfg); err != nil {
			_, hint := classify(err)
			f.warn(hint, "store %v", err)
		} else {
			f.ok("store %s: not made yet, the first run makes it", cfg.Store)
		}
		switch {
		case keyErr == nil:
			f.ok("key %s: can be used", where)
		case errors.Is(keyErr, seal.ErrNoKey) && cfg.KeyFile != "":
			f.ok("key %s: not made yet, the first run makes it", where)
		default:
			_, hint := classify(keyErr)
			f.fail(hint, "key %s: %v", where, keyErr)
		}
		if err := writable(cfg.Store); err != nil {
			f.fail("name another place with `store:` in the config", "store %s: cannot be made: %v", cfg.Store, err)
		}
	case err != nil:
		_, hint := classify(err)
		f.fail(hint, "store %s: %v", cfg.Store, err)
	default:
		f.ok("store %s: opens with its key %s", cfg.Store, where)
		f.private("store", cfg.Store)
		if err := errors.Join(f.damage(ctx, cfg, st), f.orphans(ctx, cfg, st), st.Close()); err != nil {
			f.fail("", "store %s: %v", cfg.Store, err)
		}
	}
}

// damage runs SQLite's own check of the store, and compares it with what was published of it.
func (f *findings) damage(ctx context.Context, cfg *config.Config, st *store.Store) error {
	found, err := st.CheckFile(ctx)
	for _, line := range found {
		f.fail("put back the last backup that passes: see `expunge help recovery`", "store %s: it is damaged: %s", cfg.Store, line)
	}
	if err != nil || len(found) > 0 {
		return err
	}
	f.ok("store %s: not damaged", cfg.Store)
	if err := publisher(cfg, st).Compare(ctx); err != nil {
		_, hint := classify(err)
		f.fail(hint, "store %s: %v", cfg.Store, err)
	}
	return nil
}

// orphans warns of open tasks at vendors that the config no longer has.
func (f *findings) orphans(ctx context.Context, cfg *config.Config, st *store.Store) error {
	needs, err := batch.NotConfigured(ctx, st, vendorNames(cfg), time.Now())
	for _, n := range needs {
		f.warn("", "store %s: %s", cfg.Store, n.Text)
	}
	return err
}

// private warns of a file that others than its owner can read or write.
func (f *findings) private(what, path string) {
	st, err := os.Stat(path)
	if err == nil && st.Mode().Perm()&0o077 != 0 {
		f.warn("chmod 600 "+path, "%s %s: others than its owner can get at it (mode %04o)", what, path, st.Mode().Perm())
	} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
		f.warn("", "%s %s: %v", what, path, err)
	}
}

func (a *app) checkVendor(ctx context.Context, cfg *config.Config, s *session, i int, v config.Vendor, f *findings) {
	checker, ok := s.vendors[v.Name].(vendors.Checker)
	if !ok {
		f.ok("vendor %s: configured; its kind cannot be tried", v.Name)
		return
	}
	warnings, err := checker.Check(ctx)
	skew, dated := s.transports[i].Skew()
	for _, w := range warnings {
		f.warn("", "vendor %s: %s", v.Name, w)
	}
	switch {
	case errors.Is(err, vendors.ErrControl):
		f.fail(fmt.Sprintf("is `control` at %s:%d right, and are region, base_url and credentials those of its account?", cfg.Path, v.Line), "vendor %s: %v", v.Name, err)
	case errors.Is(err, vendors.ErrAuth):
		f.fail(fmt.Sprintf("mend them at %s:%d, or in the environment that it names", cfg.Path, v.Line), "vendor %s: %v", v.Name, err)
	case errors.Is(err, vendors.ErrAuthority):
		f.fail("name the PEM file of your company's certificate authority with `ca_file:`, or is base_url wrong?", "vendor %s: %v", v.Name, err)
	case errors.Is(err, vendors.ErrNotSent):
		f.fail("is base_url right, and can this machine reach it? A proxy is taken from HTTPS_PROXY", "vendor %s: %v", v.Name, err)
	case err != nil:
		f.fail("the vendor does not answer as documented: is base_url right, and is it up?", "vendor %s: %v", v.Name, err)
	case s.transports[i].Sent() == 0:
		f.ok("vendor %s: configured; nothing was sent to it", v.Name)
	default:
		f.ok("vendor %s: answers, and accepts our credentials", v.Name)
	}
	if dated && (skew > skewAllowed || skew < -skewAllowed) {
		which := "ahead of"
		if skew < 0 {
			which, skew = "behind", -skew
		}
		f.warn("set this machine's clock (NTP), or tell the vendor if it is theirs", "vendor %s: its clock is %s %s ours", v.Name, skew.Round(time.Second), which)
	}
}
