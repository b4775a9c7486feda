package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"expunge/batch"
	"expunge/batch/html"
	"expunge/store"
	"expunge/store/atomicfile"
)

// reportOptions say which report is written, of what and where.
type reportOptions struct {
	format, out  string
	batch        int64
	since, until string
	vendor       string
	states       []string
	delimiter    string
	bom          bool
	by           string // of stats
	asJSON       bool   // of stats
	stores       []string
}

func (o *reportOptions) flags(c *cobra.Command) {
	f := c.Flags()
	f.StringVar(&o.format, "format", "csv", "csv, json, html or stats")
	f.StringVarP(&o.out, "output", "o", "-", "`FILE` to write")
	f.Int64Var(&o.batch, "batch", 0, "only this batch (its `number`)")
	f.StringVar(&o.since, "since", "", "only requests received since this `date`")
	f.StringVar(&o.until, "until", "", "only requests received until this `date`, which counts")
	f.StringVar(&o.vendor, "vendor", "", "only this vendor (`NAME`)")
	f.StringVar(&o.by, "by", "month", "of stats: month, quarter or year")
	f.BoolVar(&o.asJSON, "json", false, "as JSON, with stable keys")
	f.StringSliceVar(&o.states, "state", nil, "only rows in this `state` (repeatable)")
	f.StringVar(&o.delimiter, "delimiter", ",", "of the CSV: `,` ; or tab")
	f.StringArrayVar(&o.stores, "store", nil, "the store of another `CONFIG`, instead of that of --config (repeatable)")
	f.BoolVar(&o.bom, "bom", false, "begin the CSV with a byte order mark, by which spreadsheets know UTF-8")
}

// reporter checks the options and makes the reporter that they ask for.
func (o *reportOptions) reporter(ctx context.Context, s *session) (*batch.Reporter, error) {
	f := store.Filter{Batch: o.batch}
	var err error
	if f.Since, err = day("--since", o.since); err != nil {
		return nil, err
	}
	if f.Until, err = day("--until", o.until); err != nil {
		return nil, err
	}
	if !f.Until.IsZero() {
		f.Until = f.Until.Add(24 * time.Hour)
	}
	r := s.reporter(f)
	known, err := s.store.Vendors(ctx)
	if err != nil {
		return nil, err
	}
	if _, ok := known[o.vendor]; !ok && o.vendor != "" {
		return nil, usage(fmt.Errorf("--vendor %q: the store knows no such vendor", o.vendor), "they are "+strings.Join(slices.Sorted(maps.Keys(known)), ", "))
	}
	states := []string{"invalid", "duplicate"}
	for _, state := range store.States() {
		states = append(states, state.String())
	}
	for _, state := range o.states {
		if !slices.Contains(states, state) {
			return nil, usage(fmt.Errorf("--state %q is none", state), "they are "+strings.Join(states, ", "))
		}
	}
	r.Vendor, r.States, r.BOM = o.vendor, o.states, o.bom
	switch o.delimiter {
	case ",", ";", "\t":
		r.Comma = rune(o.delimiter[0])
	case "tab":
		r.Comma = '\t'
	default:
		return nil, usage(fmt.Errorf("--delimiter %q: must be , ; or tab", o.delimiter), "write --delimiter tab")
	}
	return r, nil
}

// day reads a date that a flag may have.
func day(flag, text string) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	t, err := time.Parse(time.DateOnly, text)
	if err != nil {
		return t, usage(fmt.Errorf("%s %q: must be a date such as 2026-11-21", flag, text), "it is compared with received_at")
	}
	return t, nil
}

func (a *app) reportCommand() *cobra.Command {
	var o reportOptions
	c := &cobra.Command{
		Use:   "report",
		Short: "Write the report again from the store, without any network",
		Long: "Writes the report from the store: csv and json have a row for every task and every refused row; html is the\n" +
			"compliance report for readers who are not technical, one file to keep, print or send; stats are counts by the month of\n" +
			"receipt (UTC), per vendor and, in the rows all, per request: how many, what became of them, how long it took. They\n" +
			"are exact after a purge; --since and --until mean whole months there.\n\n" +
			"With --store, csv and json are about the stores of several configs, one behind the other, as where each account or\n" +
			"region has a store of its own; a last column says which config a row is of.",
		Example: "  expunge report -o report.csv\n  expunge report --format html -o report.html\n  expunge report --format json --batch 3\n" +
			"  expunge report --vendor voyado --state waiting --state held --since 2026-10-01 --until 2026-12-31\n  expunge report --delimiter ';' --bom -o for-excel.csv\n" +
			"  expunge report --format stats --by year --since 2026-01-01\n  expunge report --format stats --vendor voyado --json\n" +
			"  expunge report --store eu.yaml --store us.yaml -o all.csv",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) (err error) {
			ctx := c.Context()
			switch {
			case !slices.Contains([]string{"csv", "json", "html", "stats"}, o.format):
				return usage(fmt.Errorf("--format %q: must be csv, json, html or stats", o.format), "write --format html")
			case !slices.Contains(batch.Periods, o.by):
				return usage(fmt.Errorf("--by %q: must be %s", o.by, strings.Join(batch.Periods, ", ")), "write --by year")
			case o.format == "stats" && (o.batch != 0 || len(o.states) > 0):
				return usage(errors.New("--batch and --state are of lists: statistics are about all that was received"), "write --format csv")
			case o.format != "stats" && (o.asJSON || c.Flags().Changed("by")):
				return usage(errors.New("--by and --json are of --format stats"), "write --format stats, or --format json for the list")
			case o.format == "html" && (o.vendor != "" || len(o.states) > 0):
				return usage(errors.New("--vendor and --state are of lists: the html report is about all that was asked"), "write --format csv")
			}
			if len(o.stores) > 0 {
				return a.reportStores(ctx, &o)
			}
			return a.withStore(ctx, true, func(s *session) error {
				if err := guard(s.cfg, "", target{"--output", o.out}); err != nil {
					return err
				}
				if err := a.knownBatch(ctx, s, o.batch); err != nil {
					return err
				}
				r, err := o.reporter(ctx, s)
				if err != nil {
					return err
				}
				if o.format == "stats" {
					return a.writeStats(ctx, s, r, &o)
				}
				return a.writeReport(ctx, s, r, o.format, o.out)
			})
		},
	}
	o.flags(c)
	return c
}

func (a *app) knownBatch(ctx context.Context, s *session, id int64) error {
	if id == 0 {
		return nil
	}
	all, err := s.store.Batches(ctx)
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(all, func(b store.Batch) bool { return b.ID == id }) {
		return usage(fmt.Errorf("--batch %d: there is no such batch", id), "`expunge status` lists the batches")
	}
	return nil
}

// writeReport writes a report to path, "-" being standard output.
func (a *app) writeReport(ctx context.Context, s *session, r *batch.Reporter, format, path string, never ...string) error {
	write := func(w io.Writer) error {
		switch format {
		case "json":
			return r.JSON(ctx, w)
		case "html":
			return a.writeHTML(ctx, s, r, w)
		}
		return r.CSV(ctx, w)
	}
	return a.toFile("report", path, never, write)
}

// monthsOf are the statistics that belong to a report: of the last two years by month, where it does
// not say otherwise.
func monthsOf(f store.Filter, now time.Time) batch.StatsOptions {
	o := batch.StatsOptions{By: "month", Since: f.Since}
	if o.Since.IsZero() {
		o.Since = now.AddDate(-2, 0, 0)
	}
	if !f.Until.IsZero() {
		o.Until = f.Until.Add(-time.Second) // within its last day
	}
	return o
}

// writeStats writes statistics where the options say.
func (a *app) writeStats(ctx context.Context, s *session, r *batch.Reporter, o *reportOptions) error {
	so := batch.StatsOptions{By: o.by, Vendor: o.vendor, Since: r.Filter.Since}
	if !r.Filter.Until.IsZero() {
		so.Until = r.Filter.Until.Add(-time.Second) // within its last day
	}
	rows, err := s.tasks.Stats(ctx, so)
	if err != nil {
		return err
	}
	return a.toFile("statistics", o.out, nil, func(w io.Writer) error {
		if o.asJSON {
			return batch.StatsJSON(w, rows)
		}
		return batch.StatsCSV(w, rows, r.Comma, r.BOM)
	})
}

// reportStores writes one report over the stores of several configs.
func (a *app) reportStores(ctx context.Context, o *reportOptions) error {
	switch {
	case o.format != "csv" && o.format != "json":
		return usage(fmt.Errorf("--store is of lists: the %s report is about one store", o.format), "write --format csv, or the other once for each config, with -c")
	case o.batch != 0:
		return usage(errors.New("--batch and --store: each store counts its own batches"), "leave one of them out")
	}
	var first *batch.Reporter
	seen := map[string]string{}
	var open func(left []string) error // the stores are all open while the report is written
	open = func(left []string) error {
		if len(left) == 0 {
			return a.toFile("report", o.out, nil, func(w io.Writer) error {
				if o.format == "json" {
					return first.JSON(ctx, w)
				}
				return first.CSV(ctx, w)
			})
		}
		defer func(was string) { a.configPath = was }(a.configPath)
		a.configPath = left[0]
		return a.withStore(ctx, true, func(s *session) error {
			if err := guard(s.cfg, "", target{"--output", o.out}); err != nil {
				return err
			}
			for path, name := range seen {
				if sameFile(path, s.cfg.Store) {
					return usage(fmt.Errorf("--store %s: it has the store of %s", left[0], name), "name each store once")
				}
			}
			seen[s.cfg.Store] = left[0]
			r, err := o.reporter(ctx, s)
			if err != nil {
				return fmt.Errorf("%s: %w", left[0], err)
			}
			if r.Name = left[0]; first == nil {
				first = r
			} else {
				first.More = append(first.More, r)
			}
			return open(left[1:])
		})
	}
	return open(o.stores)
}

// toFile writes a report to path, "-" being standard output.
func (a *app) toFile(what, path string, never []string, write func(w io.Writer) error) error {
	if path == "-" {
		return write(a.stdout)
	}
	if err := atomicfile.WriteFile(path, never, write); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}

func (a *app) writeHTML(ctx context.Context, s *session, r *batch.Reporter, w io.Writer) error {
	f := r.Filter
	all, err := s.store.Batches(ctx)
	if err != nil {
		return err
	}
	st, err := s.tasks.Status(ctx, s.statusOptions())
	if err != nil {
		return err
	}
	prov := html.Provenance{Version: version, ConfigSHA256: s.cfg.SHA256[:], Needs: st.Needs}
	if st.Log != nil {
		prov.Head = st.Log.Note
	}
	var unbalanced error
	for _, b := range all {
		if b.Loading || f.Batch != 0 && b.ID != f.Batch || b.TakenAt.Before(f.Since) || !f.Until.IsZero() && !b.TakenAt.Before(f.Until) {
			continue
		}
		prov.Batches = append(prov.Batches, b)
		if _, err := s.tasks.ControlTotals(ctx, b); errors.Is(err, batch.ErrUnbalanced) {
			unbalanced = err
		} else if err != nil {
			return err
		}
	}
	if prov.Runs, err = s.store.Runs(ctx, f.Since); err != nil {
		return err
	}
	if f.Batch == 0 {
		if prov.Stats, err = s.tasks.Stats(ctx, monthsOf(f, time.Now())); err != nil {
			return err
		}
	}
	return html.Write(ctx, w, r, s.htmlVendors(), prov, unbalanced)
}
