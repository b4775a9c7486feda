package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
	"unicode"

	"github.com/spf13/cobra"

	"expunge/batch"
	"expunge/batch/config"
	"expunge/store"
	"expunge/store/atomicfile"
	"expunge/vendors"
)

type runFlags struct {
	dryRun, quiet, wait, strict, allowLarge bool
	trustClock, newStore                    bool
	report, rejects, window, metrics        string
	only                                    []string
	reading                                 readingFlags
}

func (a *app) runCommand() *cobra.Command {
	var f runFlags
	c := &cobra.Command{
		Use:   "run [subjects.csv]",
		Short: "Take in the file, if given, and work on everything open",
		Long: "Takes in the file, if one is given, and then works on everything open: previews, submits, polls and verifies.\n" +
			"It ends when nothing is due any more; jobs that take days are followed by later runs. `-` is standard input.",
		Example: "  expunge run subjects.csv\n  expunge run --dry-run subjects.csv\n  expunge run --for 4h --metrics /var/lib/node_exporter/textfile/expunge.prom\n  gunzip -c subjects.csv.gz | expunge run -",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			input := ""
			if len(args) == 1 {
				input = args[0]
			}
			return a.run(c.Context(), input, f)
		},
	}
	fl := c.Flags()
	fl.BoolVar(&f.dryRun, "dry-run", false, "previews only; nothing is changed at any vendor, and a file is not taken in")
	fl.BoolVar(&f.quiet, "quiet", false, "print nothing when all is well (exit 0): what is printed is worth a mail")
	fl.StringVar(&f.report, "report", "", "write the result report to `FILE` (default from the config)")
	fl.StringVar(&f.metrics, "metrics", "", "write Prometheus metrics to `FILE` at the end (default from the config)")
	fl.StringVar(&f.window, "for", "", "stop taking new work after this `long` and finish cleanly, such as 4h")
	fl.StringArrayVar(&f.only, "vendor", nil, "only this vendor (`NAME`; repeatable)")
	fl.BoolVar(&f.wait, "wait", false, "stay until nothing is left but what waits on people")
	fl.BoolVar(&f.strict, "strict", false, "refuse the whole file if any row is invalid")
	fl.StringVar(&f.rejects, "rejects", "", "write the invalid rows to `FILE`, to mend and feed back")
	f.reading.add(c)
	fl.BoolVar(&f.trustClock, "trust-clock", false, "the clock is right now: it was wrong in the last run")
	fl.BoolVar(&f.newStore, "new-store", false, "there has never been a store here, though its key is there already")
	fl.BoolVar(&f.allowLarge, "allow-large", false, "take more people than max_subjects")
	return c
}

func (a *app) run(ctx context.Context, input string, f runFlags) (err error) {
	// Whoever read our output may go (head, a dropped connection): a run that dies of it in
	// the middle of a request leaves that request's outcome unknown.
	signal.Ignore(syscall.SIGPIPE)
	if f.quiet {
		a.noProgress = true
		a.logs.holdBack()
	}
	log := a.logger()
	cfg, err := a.loadConfig(log)
	var counts *tally
	if !f.dryRun { // a look ahead is not the run that somebody waits for
		notify := config.LoadNotify(a.configPath, config.Options{Kinds: kinds, Getenv: a.getenv})
		defer func() {
			if !errors.Is(err, store.ErrLocked) {
				pinger{notify, log}.ended(ctx, codeOf(ctx, err), counts)
			}
		}()
	}
	if err != nil {
		return err
	}
	if err := f.reading.apply(cfg); err != nil {
		return err
	}
	if f.report != "" {
		cfg.Report = f.report
	}
	if f.metrics != "" {
		cfg.Metrics = f.metrics
	}
	if f.rejects != "" && input == "" {
		return usage(errors.New("--rejects needs a file to take in"), "name the input file, or leave --rejects out")
	}
	var window time.Duration
	if f.window != "" {
		if window, err = vendors.ParseDuration(f.window); err != nil || window == 0 {
			return usage(fmt.Errorf("--for: %q is not a duration such as 4h", f.window), "write --for 4h, --for 90m or --for 2d")
		}
	}
	if err := haveVendors(cfg, f.only); err != nil {
		return err
	}
	if err := isInput(input); err != nil {
		return err
	}
	if err := guard(cfg, input, target{"report", cfg.Report}, target{"metrics", cfg.Metrics}, target{"--rejects", f.rejects}, target{"log.head_file", cfg.Log.HeadFile}); err != nil {
		return err
	}
	if err := writable(cfg.Report); err != nil {
		return usage(fmt.Errorf("report: %w", err), "name another place with --report or in the config")
	}
	if err := writable(cfg.Metrics); err != nil {
		return usage(fmt.Errorf("metrics: %w", err), "name another place with --metrics or in the config")
	}
	if err := writable(cfg.Log.HeadFile); err != nil {
		return usage(fmt.Errorf("log.head_file: %w", err), headsHint(cfg.Path))
	}
	defer a.answer()()
	if input != "" && !f.newStore {
		if err := neverStored(cfg); err != nil {
			return err
		}
	}
	st, err := store.Open(ctx, cfg.Store, a.storeOptions(cfg, false, input == ""))
	if err != nil {
		return err
	}
	defer func() {
		err = errors.Join(err, st.Close())
		if broken := st.Err(); broken != nil {
			// Also when a signal came meanwhile: not everything is saved.
			_, hint := classify(broken)
			err = &codeError{exitInternal, err, hint}
		}
	}()
	s, err := a.open(ctx, cfg, log, st, f.dryRun)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.close(ctx)) }()
	scratch := f.dryRun && input != ""
	if scratch {
		if f.report == "" {
			if cfg.Report, err = dryReport(ctx, st, cfg.Report); err != nil {
				return err
			}
			if err := guard(cfg, input, target{"report of the dry run", cfg.Report}, target{"--rejects", f.rejects}); err != nil {
				return err
			}
		}
		tmp, remove, err2 := openScratch(ctx, scratchPath(cfg))
		if err2 != nil {
			return err2
		}
		defer func() { err = errors.Join(err, remove()) }()
		if err := s.workOn(ctx, tmp); err != nil {
			return err
		}
	}
	if !f.trustClock {
		if err := batch.CheckClock(ctx, st, time.Now(), exitUsage); err != nil {
			return err
		}
	}
	heads := publisher(cfg, st)
	if !scratch {
		if err := heads.Compare(ctx); err != nil {
			return err
		}
	}
	id, err := st.BeginRun(ctx, store.Run{StartedAt: time.Now(), Version: version, Config: cfg.SHA256[:]})
	if err != nil {
		return err
	}
	a.runID.Store(id)
	if !scratch && (heads.HeadFile != "" || heads.Beside != "") {
		s.run.Heads, s.run.ID = heads, id
	}
	if !f.dryRun {
		pinger{cfg.Notify, log}.began(ctx)
	}
	stop := func() {}
	if !scratch {
		stop = a.goOnPublishing(ctx, heads, log)
	}
	code, err := a.work(ctx, s, input, f, window)
	stop()
	if !scratch {
		err = errors.Join(err, a.tellHead(ctx, cfg, st, heads))
	}
	if err != nil {
		code, _ = classify(err)
	}
	if c := interrupted(ctx); c != 0 {
		code = c
	}
	err = errors.Join(err, st.EndRun(ctx, id, time.Now(), code), quietUnless(err, code))
	if scratch {
		return errors.Join(err, s.keepPauses(context.WithoutCancel(ctx), st))
	}
	if cfg.Metrics != "" {
		if merr := a.writeMetrics(context.WithoutCancel(ctx), s); merr != nil {
			log.Warn("the metrics could not be written", "error", merr.Error())
		}
	}
	if !f.dryRun && cfg.Notify != (config.Notify{}) {
		var terr error
		if counts, terr = a.tallyOf(context.WithoutCancel(ctx), s); terr != nil {
			log.Warn("the counts for the notify URL could not be read", "error", terr.Error())
		}
	}
	return err
}

func vendorNames(cfg *config.Config) []string {
	var names []string
	for _, v := range cfg.Vendors {
		names = append(names, v.Name)
	}
	return names
}

func (a *app) writeMetrics(ctx context.Context, s *session) error {
	sent := map[string]int64{}
	for name, l := range s.limiters {
		sent[name] = l.Stats().Sent
	}
	return s.tasks.WriteMetrics(ctx, s.cfg.Metrics, version, s.statusOptions(), sent)
}

func quietUnless(err error, code int) error {
	if err != nil {
		return nil
	}
	return quiet(code)
}

// work takes in the input, runs the lanes and writes the report.
func (a *app) work(ctx context.Context, s *session, input string, f runFlags, window time.Duration) (int, error) {
	var taken []store.Batch
	if input != "" {
		in := batch.Input{Path: input, Stdin: a.input(ctx), Rejects: f.rejects, Strict: f.strict, MaxSubjects: s.cfg.MaxSubjects, Unmarked: !s.cfg.Log.Marks,
			Reading: s.reading(), Only: f.only, Deadline: s.cfg.Deadline.From, Log: s.log}
		if f.allowLarge {
			in.MaxSubjects = 0
		}
		b, again, err := batch.TakeIn(ctx, s.store, s.run.Lanes, in)
		if err != nil {
			return 0, err
		}
		if again {
			s.log.Info("taken in before: nothing new in this file", "batch", b.ID)
		}
		taken = append(taken, b)
	}
	open, err := s.store.OpenBatches(ctx) // also those that the file added tasks to
	if err != nil {
		return 0, err
	}
	for _, b := range taken {
		if !slices.ContainsFunc(open, func(o store.Batch) bool { return o.ID == b.ID }) {
			open = append(open, b)
		}
	}
	stop, err := a.follow(ctx, s, f.only)
	if err != nil {
		return 0, err
	}
	results, err := s.run.Work(ctx, batch.WorkOptions{DryRun: f.dryRun, Only: f.only, For: window, Wait: f.wait})
	stop()
	if err != nil {
		return 0, err
	}
	if ctx.Err() != nil {
		return 0, nil
	}
	verdict, err := a.verdict(ctx, s, open, results)
	if err != nil {
		return 0, err
	}
	if err := a.writeReport(ctx, s, s.reporter(store.Filter{}), "csv", s.cfg.Report, input); err != nil {
		// Not the code of a wrong path, which says that nothing was sent.
		return 0, &codeError{exitInternal, err, "what was done is saved: mend the place of the report, and `expunge report -o FILE` writes it"}
	}
	if f.dryRun && input != "" {
		where := ""
		if s.cfg.Report != "-" {
			where = "; its report is " + s.cfg.Report
		}
		a.note(slog.LevelInfo, "", "a dry run: nothing was taken in%s", where)
	}
	return verdict, nil
}

// verdict checks and tells the control totals of the batches of this run (those with open
// work at its start, and the one taken in) and finds the exit code.
func (a *app) verdict(ctx context.Context, s *session, batches []store.Batch, results []batch.LaneResult) (int, error) {
	var failed, held, trouble bool
	for _, b := range batches {
		t, err := s.tasks.ControlTotals(ctx, b)
		if err != nil {
			return 0, err
		}
		a.tellTotals(s, t)
		failed = a.tellExports(t, time.Now()) || failed || t.States[store.Failed] > t.Closed || t.Overdue > 0
		held = held || t.States[store.Held] > 0
		if t.Overdue > 0 {
			a.note(slog.LevelWarn, "`expunge status` shows which vendor they wait for", "batch %d: %d open tasks are overdue", b.ID, t.Overdue)
		}
	}
	if len(batches) > 0 {
		a.note(slog.LevelInfo, "", "the control totals balance")
	}
	for _, r := range results {
		if err := cmp.Or(r.Err, r.Doubt); err != nil {
			trouble = true
			t := batch.TroubleOf(err)
			a.note(slog.LevelError, t.Hint(r.Name, s.cfg.Path), "expunge: vendor %s %s; what is left there waits for the next run: %v", r.Name, t.Words(), err)
		}
	}
	invalid, err := s.store.TellInvalid(ctx)
	if err != nil {
		return 0, err
	}
	if invalid > 0 {
		failed = true
		a.note(slog.LevelWarn, "the report names each with its reason; --rejects FILE writes them, to mend and feed back", "invalid rows, not taken in: %d", invalid)
	}
	mends, err := a.tellMends(ctx, s, results)
	if err != nil {
		return 0, err
	}
	late, err := a.tellUnanswered(ctx, s)
	if err != nil {
		return 0, err
	}
	switch {
	case failed || trouble || late || mends:
		return exitFailed, nil
	case held:
		a.note(slog.LevelWarn, "`expunge review list` shows them", "some tasks are held for a person")
		return exitHeld, nil
	}
	return exitOK, nil
}

// tellMends tells what status says must be mended, whichever run has left it, but for what
// was told of the lanes of this one.
func (a *app) tellMends(ctx context.Context, s *session, results []batch.LaneResult) (some bool, err error) {
	st, err := s.tasks.Status(ctx, s.statusOptions())
	if err != nil {
		return false, err
	}
	for _, n := range st.Mends() {
		some = true
		switch told := slices.ContainsFunc(results, func(r batch.LaneResult) bool { return r.Name == n.Vendor && cmp.Or(r.Err, r.Doubt) != nil }); {
		case n.What == "not_configured":
			a.note(slog.LevelError, "its requests stay unanswered until then", "expunge: %s", n.Text)
		case n.What != "trouble" || !told:
			a.note(slog.LevelWarn, "`"+n.Command+"`", "%s", n.Text)
		}
	}
	return some, nil
}

func haveVendors(cfg *config.Config, names []string) error {
	for _, name := range names {
		if !slices.ContainsFunc(cfg.Vendors, func(v config.Vendor) bool { return v.Name == name }) {
			return usage(fmt.Errorf("--vendor %s: the config has no such vendor", name), "it has "+strings.Join(vendorNames(cfg), ", "))
		}
	}
	return nil
}

// isInput tells before anything else whether path is a file that can be taken in.
func isInput(path string) error {
	if path == "" || path == "-" {
		return nil
	}
	f, _, err := atomicfile.OpenRegular(path)
	switch {
	case errors.Is(err, atomicfile.ErrNotRegular):
		return usage(fmt.Errorf("input: %w", err), "`-` reads standard input")
	case err != nil:
		return usage(fmt.Errorf("input: %w", err), "name the CSV file, or - for standard input")
	}
	return f.Close()
}

// tellUnanswered tells whether finished requests are overdue that nobody has been told of.
func (a *app) tellUnanswered(ctx context.Context, s *session) (late bool, err error) {
	if !s.cfg.TrackAnswers {
		return false, nil
	}
	now := time.Now()
	u, err := s.store.CountUnanswered(ctx, now, now.Add(time.Duration(s.cfg.AtRisk)))
	if u.Overdue > 0 {
		a.note(slog.LevelWarn, "`expunge status` lists them; tell the people, and `expunge answered FILE.csv` takes in when", "overdue, and nobody was told of the end: %d finished requests", u.Overdue)
	}
	return u.Overdue > 0, err
}

// tellTotals shows a batch's control totals.
func (a *app) tellTotals(s *session, t batch.Totals) {
	b := t.Batch
	if a.logFormat != "json" {
		a.note(slog.LevelInfo, "", "batch %d (%s): %d rows = %d subjects + %d invalid + %d duplicates; %d tasks%s",
			b.ID, clean(b.Name), b.Rows, b.Subjects, b.Invalid, b.Duplicates, t.Tasks, stateCounts(t.States))
		return
	}
	var states []any
	for _, st := range store.States() {
		states = append(states, slog.Int64(st.String(), t.States[st]))
	}
	s.log.Info("batch", "batch", b.ID, "file", b.Name, "rows", b.Rows, "subjects", b.Subjects, "invalid", b.Invalid, "duplicates", b.Duplicates,
		"tasks", t.Tasks, slog.Group("states", states...), "overdue", t.Overdue)
}

func stateCounts(states map[store.State]int64) string {
	var parts []string
	for _, st := range store.States() {
		if n := states[st]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, st))
		}
	}
	if len(parts) == 0 {
		return ""
	}
	return ": " + strings.Join(parts, ", ")
}

// clean makes a text from outside fit for a terminal.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) { // also what turns the direction of writing
			return '?'
		}
		return r
	}, s)
}

// cleanLines is clean for a text of several lines.
func cleanLines(s string) string {
	lines := strings.Split(s, "\n")
	for i := range lines {
		lines[i] = clean(lines[i])
	}
	return strings.Join(lines, "\n")
}

// writable tells before anything is sent whether a file can be written at path.
func writable(path string) error {
	if path == "-" || path == "" {
		return nil
	}
	if err := atomicfile.CheckTarget(path); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".expunge-*")
	if err != nil {
		return err
	}
	return errors.Join(f.Close(), os.Remove(f.Name()))
}
