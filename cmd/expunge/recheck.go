package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"expunge/batch"
	"expunge/batch/config"
	"expunge/store"
	"expunge/vendors"
)

type recheckFlags struct {
	reading    readingFlags
	out        string
	only       []string
	window     string
	wait       bool
	allowLarge bool
}

func (a *app) recheckCommand() *cobra.Command {
	var f recheckFlags
	c := &cobra.Command{
		Use:   "recheck FILE.csv",
		Short: "Look everyone in a file up again, and change nothing",
		Long: "Looks everyone in the file up at each vendor that can be asked, with the limits, control records and quotas of a\n" +
			"run, and compares what is held now with what the store says was done. Nothing is changed anywhere and nothing becomes a\n" +
			"task: the file may be of anyone, with or without a subject_id, such as a suppression list. A CSV says of each identifier\n" +
			"whether it is held and the verdict: gone; back (erased or not found before, and held now); never_asked; still_open;\n" +
			"unknown. Cut short, the same command goes on with what was not looked at; until then the file's people are kept, sealed,\n" +
			"beside the store, for a week at most. Whom a purge has dropped is not known any more: never_asked.\n\n" +
			"Exit codes besides the usual: 4 somebody is back; 3 something is unknown, or a row is invalid.",
		Example: "  expunge recheck erased-last-year.csv -o recheck.csv\n  expunge recheck suppression.csv --vendor customergauge --for 4h -o recheck.csv",
		Args:    cobra.ExactArgs(1),
		RunE:    func(c *cobra.Command, args []string) error { return a.recheck(c.Context(), args[0], f) },
	}
	fl := c.Flags()
	fl.StringVarP(&f.out, "output", "o", "-", "`FILE` to write")
	fl.StringArrayVar(&f.only, "vendor", nil, "only this vendor (`NAME`; repeatable)")
	fl.StringVar(&f.window, "for", "", "stop taking new work after this `long` and finish cleanly, such as 4h")
	fl.BoolVar(&f.wait, "wait", false, "stay until nothing is left but what waits on people")
	fl.BoolVar(&f.allowLarge, "allow-large", false, "take more people than max_subjects")
	f.reading.add(c)
	return c
}

// recheckPath is where the store of a recheck is, until everyone has been looked up.
func recheckPath(cfg *config.Config) string { return cfg.Store + ".recheck" }

// recheckAge is for how long what was looked up counts, when a recheck goes on, and for how long it is kept.
const recheckAge = 7 * 24 * time.Hour

func (a *app) recheck(ctx context.Context, input string, f recheckFlags) (err error) {
	log := a.logger()
	cfg, err := a.loadConfig(log)
	if err != nil {
		return err
	}
	if err := f.reading.apply(cfg); err != nil {
		return err
	}
	var window time.Duration
	if f.window != "" {
		if window, err = vendors.ParseDuration(f.window); err != nil || window == 0 {
			return usage(fmt.Errorf("--for: %q is not a duration such as 4h", f.window), "write --for 4h, --for 90m or --for 2d")
		}
	}
	for _, check := range []func() error{
		func() error { return haveVendors(cfg, f.only) }, func() error { return isInput(input) },
		func() error { return guard(cfg, input, target{"--output", f.out}) }, func() error { return writable(f.out) },
	} {
		if err := check(); err != nil {
			return err
		}
	}
	// The real store is held meanwhile, for its lock, its daily limits and the pauses that vendors asked for.
	// Where there is none yet, nobody was asked before.
	st, err := store.Open(ctx, cfg.Store, a.storeOptions(cfg, false, false))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, st.Close()) }()
	s, err := a.open(ctx, cfg, log, st, true)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.close(ctx)) }()
	s.run.Manual = false
	s.run.Lanes = slices.DeleteFunc(s.run.Lanes, func(l *batch.Lane) bool {
		return !l.Remote || len(f.only) > 0 && !slices.Contains(f.only, l.Name)
	})
	if len(s.run.Lanes) == 0 {
		return usage(errors.New("no vendor that this is for can be asked"), "what such a vendor holds, only its people can say")
	}
	id, err := st.BeginRun(ctx, store.Run{StartedAt: time.Now(), Version: version, Config: cfg.SHA256[:]})
	if err != nil {
		return err
	}
	a.runID.Store(id)
	code, err := a.recheckFile(ctx, s, st, input, f, window)
	if err != nil {
		code, _ = classify(err)
	}
	if c := interrupted(ctx); c != 0 {
		code = c
	}
	return errors.Join(err, st.EndRun(ctx, id, time.Now(), code), quietUnless(err, code))
}

// recheckFile works on a file and tells what was found.
func (a *app) recheckFile(ctx context.Context, s *session, real *store.Store, input string, f recheckFlags, window time.Duration) (code int, err error) {
	in := batch.Input{Path: input, Stdin: a.input(ctx), MaxSubjects: s.cfg.MaxSubjects, Unmarked: true, Reading: s.reading(), Only: f.only,
		Deadline: s.cfg.Deadline.From, Log: s.log}
	in.Reading.Anyone = true
	if f.allowLarge {
		in.MaxSubjects = 0
	}
	looked, err := a.openRecheck(ctx, s.cfg, real, in)
	if err != nil {
		return 0, err
	}
	done := false
	defer func() {
		err = errors.Join(err, looked.Close())
		if done {
			err = errors.Join(err, removeScratch(recheckPath(s.cfg)))
		}
	}()
	if err := s.workOn(ctx, looked); err != nil {
		return 0, err
	}
	if err := adoptPlaces(ctx, looked, real, s.run.Lanes); err != nil {
		return 0, err
	}
	b, again, err := batch.TakeIn(ctx, looked, s.run.Lanes, in)
	if err != nil {
		return 0, err
	}
	if again {
		a.note(slog.LevelInfo, "", "this goes on with the recheck of %s", minute(b.TakenAt))
	}
	stop, err := a.follow(ctx, s, f.only)
	if err != nil {
		return 0, err
	}
	results, err := s.run.Work(ctx, batch.WorkOptions{DryRun: true, Once: true, For: window, Wait: f.wait})
	stop()
	if err != nil {
		return 0, err
	}
	if err := errors.Join(s.keepPauses(context.WithoutCancel(ctx), real), keepSights(context.WithoutCancel(ctx), looked, real)); err != nil {
		return 0, err
	}
	if ctx.Err() != nil {
		return 0, nil
	}
	r := &batch.Recheck{Store: real, Looked: looked, Region: s.cfg.DefaultRegion}
	var found *batch.Rechecked
	err = a.toFile("verdicts", f.out, []string{input}, func(w io.Writer) error {
		found, err = r.CSV(ctx, w)
		return err
	})
	if err != nil {
		return 0, err
	}
	done = found.Left == 0
	return a.tellRecheck(ctx, s, b, results, found)
}

// openRecheck opens the store of the recheck of this file that was cut short, or makes a new
// one. It is sealed under the key of the real store.
func (a *app) openRecheck(ctx context.Context, cfg *config.Config, real *store.Store, in batch.Input) (*store.Store, error) {
	path := recheckPath(cfg)
	open := func() (*store.Store, error) {
		return store.Open(ctx, path, store.Options{Key: a.key(cfg), Now: time.Now, Forget: batch.Keep})
	}
	if _, err := os.Lstat(path); err == nil {
		st, err := open()
		if err == nil {
			b, taken, err := batch.Taken(ctx, st, in)
			if err != nil {
				return nil, errors.Join(err, st.Close())
			}
			if taken && time.Since(b.TakenAt) < recheckAge {
				return st, nil
			}
			if err := st.Close(); err != nil {
				return nil, err
			}
			a.note(slog.LevelWarn, "", "the recheck of another file, or of more than a week ago, was not finished: this one begins anew")
		}
		if errors.Is(err, store.ErrLocked) {
			return nil, err
		}
		if err := removeScratch(path); err != nil {
			return nil, err
		}
	}
	return open()
}

// adoptPlaces takes over from the real store where its accounts are and who was seen there. What
// was erased at another place says nothing about this one.
func adoptPlaces(ctx context.Context, looked, real *store.Store, lanes []*batch.Lane) error {
	known, err := real.Vendors(ctx)
	if err != nil {
		return err
	}
	for _, l := range lanes {
		v := known[l.Name]
		if v.Place != "" && v.Place != l.Place {
			return usage(fmt.Errorf("vendor %s: what the store knows of it was done at %q, and the config says %q", l.Name, v.Place, l.Place),
				"put the place back, or let `expunge run` take over the new one first")
		}
		if err := looked.Adopt(ctx, v); err != nil {
			return err
		}
	}
	return nil
}

// keepSights records in the real store who was seen at its vendors.
func keepSights(ctx context.Context, looked, real *store.Store) error {
	seen, err := looked.Vendors(ctx)
	if err != nil {
		return err
	}
	known, err := real.Vendors(ctx)
	if err != nil {
		return err
	}
	for name, v := range seen {
		if k, ok := known[name]; ok && (v.Seen.Control.After(k.Seen.Control) || v.Seen.Others.After(k.Seen.Others)) && k.Place == v.Place {
			if err := real.Saw(ctx, k.ID, v.Seen); err != nil {
				return err
			}
		}
	}
	return nil
}

// tellRecheck tells what was found, and finds the exit code.
func (a *app) tellRecheck(ctx context.Context, s *session, b store.Batch, results []batch.LaneResult, found *batch.Rechecked) (int, error) {
	for _, r := range results {
		if err := cmp.Or(r.Err, r.Doubt); err != nil {
			t := batch.TroubleOf(err)
			a.note(slog.LevelError, t.Hint(r.Name, s.cfg.Path), "expunge: vendor %s %s: %v", r.Name, t.Words(), err)
		}
	}
	invalid := 0
	for next := s.store.Rejects(ctx, b.ID); ; {
		r, more, err := next()
		if err != nil {
			return 0, err
		}
		if !more {
			break
		}
		invalid++
		a.note(slog.LevelWarn, "", "line %d: %s: %s", r.Line, r.Reason, r.Message)
	}
	if found.ByTicket {
		a.note(slog.LevelWarn, "", "the file is too long to find everyone by identifiers: people were compared by their subject_ids alone")
	}
	v := found.Verdicts
	a.note(slog.LevelInfo, "", "%d gone, %d back, %d never asked, %d still open, %d unknown", v[batch.Gone], v[batch.Back], v[batch.NeverAsked], v[batch.StillOpen], v[batch.Unknown])
	if found.Left > 0 {
		a.note(slog.LevelWarn, "the same command goes on with them", "not looked up yet: %d", found.Left)
	}
	switch {
	case v[batch.Back] > 0:
		return exitHeld, nil
	case v[batch.Unknown] > 0, invalid > 0:
		return exitFailed, nil
	}
	return exitOK, nil
}
