package batch

import (
	"bufio"
	"context"
	"errors"
	"io"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/expfmt"

	"expunge/store"
	"expunge/store/atomicfile"
)

// Metrics writes the state of the store in Prometheus' text format, for the textfile
// collector of node_exporter. It holds counts, times and the configured names of vendors,
// and nothing of any subject. sent are the requests that left in this run, by vendor.
func (t *Tasks) Metrics(ctx context.Context, w io.Writer, version string, o StatusOptions, sent map[string]int64) error {
	st, err := t.Status(ctx, o)
	if err != nil {
		return err
	}
	runs, err := t.Store.CountRuns(ctx)
	if err != nil {
		return err
	}
	good, _, err := t.Store.LastRun(ctx, 0)
	if err != nil {
		return err
	}
	held, err := t.Store.CountHeld(ctx, store.HeldFilter{})
	if err != nil {
		return err
	}
	reg := prometheus.NewRegistry()
	gauge := func(name, help string, labels ...string) func(v float64, values ...string) {
		g := prometheus.NewGaugeVec(prometheus.GaugeOpts{Namespace: "expunge", Name: name, Help: help}, labels)
		reg.MustRegister(g)
		return func(v float64, values ...string) { g.WithLabelValues(values...).Set(v) }
	}
	when := func(t *time.Time) float64 {
		if t == nil || t.IsZero() {
			return 0
		}
		return float64(t.UnixMilli()) / 1000
	}

	gauge("build_info", "Version of the program that wrote these metrics.", "version")(1, version)
	gauge("metrics_timestamp_seconds", "When these metrics were written.")(float64(t.Now().UnixMilli()) / 1000)

	ended := prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "expunge", Name: "runs_total",
		Help: "Runs on this store by exit code; none: still running, or killed."}, []string{"exit_code"})
	reg.MustRegister(ended)
	for code, n := range runs {
		label := strconv.Itoa(code)
		if code < 0 {
			label = "none"
		}
		ended.WithLabelValues(label).Add(float64(n))
	}
	if r := st.LastRun; r != nil {
		gauge("last_run_start_timestamp_seconds", "When the newest run began.")(when(&r.StartedAt))
		if r.EndedAt != nil {
			gauge("last_run_end_timestamp_seconds", "When the newest run ended.")(when(r.EndedAt))
			gauge("last_run_duration_seconds", "How long the newest run took.")(r.EndedAt.Sub(r.StartedAt).Seconds())
			gauge("last_run_exit_code", "Exit code of the newest run; the program's help explains it.")(float64(*r.ExitCode))
		}
	}
	gauge("last_success_timestamp_seconds", "When the newest run with exit code 0 ended; 0: never.")(when(&good.EndedAt))

	tasks := gauge("tasks", "Tasks by vendor and state.", "vendor", "state")
	overdue := gauge("tasks_overdue", "Open tasks whose due date has passed.", "vendor")
	atRisk := gauge("tasks_at_risk", "Open tasks that are likely to miss their due date.", "vendor")
	unconfirmed := gauge("tasks_unconfirmed", "Requests that nobody has confirmed for longer than unconfirmed_after.", "vendor")
	heldBy := gauge("tasks_held", "Tasks that are held for a person, by reason; those with the same identifier count once.", "vendor", "reason")
	due := gauge("earliest_due_timestamp_seconds", "The earliest due date of an open task; 0: nothing is open.", "vendor")
	next := gauge("next_look_timestamp_seconds", "When a task is looked at next; 0: nothing is scheduled.", "vendor")
	paused := gauge("paused_until_timestamp_seconds", "Until when the vendor wants to be left alone; 0: it does not.", "vendor")
	left := gauge("calls_left", "Calls that the open tasks are likely to need.", "vendor")
	backlog := gauge("backlog_duration_seconds", "How long these calls take at the configured rate.", "vendor")
	requests := gauge("last_run_requests", "Requests that left in the newest run.", "vendor")
	for _, v := range st.Vendors {
		for state, n := range v.States {
			tasks(float64(n), v.Vendor, state)
		}
		overdue(float64(v.Overdue), v.Vendor)
		atRisk(float64(v.AtRisk), v.Vendor)
		unconfirmed(float64(v.Unconfirmed), v.Vendor)
		due(when(v.Due), v.Vendor)
		next(when(v.Next), v.Vendor)
		paused(when(v.Paused), v.Vendor)
		left(float64(v.CallsLeft), v.Vendor)
		backlog(float64(v.Seconds), v.Vendor)
		if n, ok := sent[v.Vendor]; ok {
			requests(float64(n), v.Vendor)
		}
	}
	for _, h := range held {
		heldBy(float64(h.Tasks), h.Vendor, h.Reason)
	}

	families, err := reg.Gather()
	if err != nil {
		return err
	}
	for _, f := range families {
		if _, err := expfmt.MetricFamilyToText(w, f); err != nil {
			return err
		}
	}
	return nil
}

// WriteMetrics replaces the file at path with Metrics, for all to read: the collector runs
// as another user.
func (t *Tasks) WriteMetrics(ctx context.Context, path, version string, o StatusOptions, sent map[string]int64) error {
	f, err := atomicfile.Begin(path, nil)
	if err != nil {
		return err
	}
	w := bufio.NewWriter(f)
	if err := errors.Join(t.Metrics(ctx, w, version, o, sent), w.Flush(), f.Chmod(0o644)); err != nil {
		f.Discard()
		return err
	}
	return f.Replace()
}
