package batch

import (
	"bytes"
	"context"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"expunge/store"
	"expunge/store/seal"
	"expunge/vendors"
)

const oneDay = 24 * time.Hour

// at_risk is early enough where much work comes first, and no alarm for what is done first.
func TestOutlook(t *testing.T) {
	now := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	day := func(n int) time.Time { return now.Add(time.Duration(n) * oneDay) }
	counts := []store.Standing{
		{Vendor: 1, State: store.Pending, Day: day(10), Own: 1000},
		{Vendor: 1, State: store.Verifying, Day: day(10), Own: 3000},
		{Vendor: 1, State: store.Pending, Day: day(30), Own: 9 * 24 * 3600 / 3}, // nine days of calls at 1/s
		{Vendor: 1, State: store.Erased, Day: day(20), Own: 1e9},
		{Vendor: 1, State: store.Held, Day: day(20), Own: 1e9},
		{Vendor: 2, State: store.Pending, Day: day(30), Own: 1},
	}
	slow := Pace{Traits: vendors.Traits{Completion: vendors.ByPreview}, PerSecond: 1}
	voyado := Pace{Traits: vendors.Traits{Completion: vendors.ByPoll, LeadTime: 6 * oneDay, FirstPoll: oneDay, PollEvery: 6 * time.Hour}, PerSecond: 5}
	for _, tt := range []struct {
		name   string
		least  time.Duration
		vendor int64
		due    time.Time
		want   time.Duration
	}{
		{"the first in the queue wait for their own work alone", 0, 1, day(10).Add(5 * time.Hour), 6000 * time.Second},
		{"the last wait for all of it", 0, 1, day(30), 9*oneDay + 6000*time.Second},
		{"held and finished tasks are no work", 0, 1, day(20), 6000 * time.Second},
		{"the configured time is the least", 7 * oneDay, 1, day(10), 7 * oneDay},
		{"the vendor's lead time comes on top of the queue", 0, 2, day(30), 6*oneDay + 22*time.Second/5},
		{"a vendor that the config does not have", oneDay, 3, day(30), oneDay},
	} {
		o := newOutlook(counts, map[int64]Pace{1: slow, 2: voyado}, tt.least)
		if got := o.risk(tt.vendor, tt.due); got != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
}

// The estimate of calls is by what is left to do, and a daily limit is slower than its pace.
func TestPace(t *testing.T) {
	for _, tt := range []struct {
		by    vendors.Completion
		calls map[store.State]float64
	}{
		{vendors.ByPreview, map[store.State]float64{store.Pending: 3, store.Previewed: 2, store.Submitting: 3, store.Verifying: 1}},
		{vendors.ByPoll, map[store.State]float64{store.Pending: 2, store.Previewed: 2, store.Submitting: 2, store.Waiting: 1, store.Verifying: 2}},
		{vendors.ByPerson, map[store.State]float64{store.Pending: 1, store.Previewed: 1, store.Submitting: 1, store.Verifying: 1}},
	} {
		p := Pace{Traits: vendors.Traits{Completion: tt.by}}
		for _, s := range store.States() {
			if s == store.Waiting && tt.by == vendors.ByPreview {
				continue // cannot be
			}
			if got := p.calls(s); got != tt.calls[s] {
				t.Errorf("completion %d, %v: %v calls, want %v", tt.by, s, got, tt.calls[s])
			}
		}
	}
	a := AccountOf("idle", idle{}, vendors.Rate{PerSecond: 5, PerDay: 24 * 3600})
	if got := a.pace().PerSecond; got != 1 {
		t.Errorf("5/s and 86400/d are %v/s, want 1", got)
	}
}

// idle is a vendor that knows people by their email and is never called.
type idle struct{ vendors.Vendor }

func (idle) Traits() vendors.Traits {
	return vendors.Traits{Kind: "idle", Completion: vendors.ByPoll, LeadTime: 5 * oneDay, PollEvery: 6 * time.Hour, Fields: vendors.SetOf(vendors.Email)}
}

func (idle) Identifiers(s vendors.Subject) ([]vendors.Ref, vendors.Reason) {
	return []vendors.Ref{{Field: vendors.Email}}, ""
}

// unhurried is a Pacer that paces nothing.
type unhurried struct{}

func (unhurried) PausedUntil() time.Time { return time.Time{} }
func (unhurried) AskedUntil() time.Time  { return time.Time{} }
func (unhurried) Pause(time.Time)        {}

// statusJob is a store with a batch of three people at a vendor: one is ready, one is held,
// one is finished.
func statusJob(t *testing.T) (*Run, func(time.Duration)) {
	t.Helper()
	now := reviewed
	key := seal.NewKey()
	dir := t.TempDir()
	st, err := store.Open(t.Context(), filepath.Join(dir, "expunge.db"), store.Options{
		Key: func(bool) (seal.Key, error) { return key, nil }, Now: func() time.Time { return now }, Forget: Forget})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	})
	j, err := NewRun(t.Context(), &Tasks{Store: st, Now: func() time.Time { return now }, Log: slog.New(slog.DiscardHandler)},
		&Lane{Account: AccountOf("idle", idle{}, vendors.Rate{PerSecond: 2}), Vendor: idle{}, Pacer: unhurried{}})
	if err != nil {
		t.Fatal(err)
	}
	input := filepath.Join(dir, "subjects.csv")
	text := "subject_id,email,received_at\nR1,ada@example.com,2026-03-30\nR2,bo@example.com,2026-03-02\nR3,cy@example.com,2026-03-01\n"
	if err := os.WriteFile(input, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	in := Input{Path: input, MaxSubjects: 10, Deadline: func(r time.Time) time.Time { return r.AddDate(0, 1, 0) }, Log: j.Log}
	in.Reading.Now = j.Now
	b, _, err := TakeIn(t.Context(), st, j.Lanes, in)
	if err != nil {
		t.Fatal(err)
	}
	for n, change := range []func(store.Task) store.Task{
		nil,
		func(t store.Task) store.Task {
			t.State, t.Ready, t.Reason = store.Held, false, string(vendors.SomebodyElse)
			return t
		},
		func(t store.Task) store.Task { t.State, t.Ready, t.CompletedAt = store.NotFound, false, now; return t },
	} {
		if change == nil {
			continue
		}
		w, err := st.TaskByID(t.Context(), (b.First+int64(n))*store.TasksPerSubject)
		if err != nil {
			t.Fatal(err)
		}
		if err := st.Apply(store.Change{From: store.Pending, Task: change(w.Task)}); err != nil {
			t.Fatal(err)
		}
	}
	return j, func(d time.Duration) { now = now.Add(d) }
}

// What status says of a small store: the counts, what is at risk and overdue, when it could
// be done, and what needs a person.
func TestStatus(t *testing.T) {
	j, pass := statusJob(t)
	st, err := j.Status(t.Context(), StatusOptions{AtRisk: 7 * oneDay, UnconfirmedAfter: 14 * oneDay})
	if err != nil {
		t.Fatal(err)
	}
	due := time.Date(2026, 4, 2, 0, 0, 0, 0, time.UTC)
	// One task to submit and to poll 21 times, at two a second; then the vendor's lead time.
	done := reviewed.Add(11 * time.Second).Add(5 * oneDay)
	v := st.Vendors[0]
	if d := cmp.Diff(map[string]int64{"pending": 1, "held": 1, "not_found": 1}, nonzero(v.States)); d != "" {
		t.Error(d)
	}
	v.States = nil
	want := VendorStatus{Vendor: "idle", Kind: "idle", Configured: true, Open: 2, AtRisk: 1, Due: &due, CallsLeft: 22, PerSecond: 2, Seconds: 11, Done: &done}
	if d := cmp.Diff(want, v); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff(&OpenRequest{SubjectID: "R2", ReceivedAt: due.AddDate(0, -1, 0), DueAt: due, DueStatus: "at_risk"}, st.Oldest); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff([]Need{{What: "held", Vendor: "idle", Reason: "somebody_else", Tasks: 1, Text: "1 held at idle (somebody_else)",
		Command: "expunge review list --reason somebody_else"}}, st.Needs); d != "" {
		t.Error(d)
	}
	pass(3 * oneDay)
	if st, err = j.Status(t.Context(), StatusOptions{}); err != nil || st.Vendors[0].Overdue != 1 || st.Vendors[0].AtRisk != 0 || st.Oldest.DueStatus != "overdue" {
		t.Errorf("three days later: %+v %+v %v", st.Vendors[0], st.Oldest, err)
	}
	pass(24 * oneDay)
	if st, err = j.Status(t.Context(), StatusOptions{}); err != nil || st.Vendors[0].Overdue != 1 || st.Vendors[0].AtRisk != 1 {
		t.Errorf("27 days later, with the vendor's 5 days left: %+v %v", st.Vendors[0], err)
	}
}

func nonzero(all map[string]int64) map[string]int64 {
	some := map[string]int64{}
	for k, v := range all {
		if v != 0 {
			some[k] = v
		}
	}
	return some
}

// The metrics are in Prometheus' format with names that promtool accepts, hold nothing of a
// subject, and replace the old file for all to read.
func TestMetrics(t *testing.T) {
	j, _ := statusJob(t)
	for _, code := range []int{0, 4} {
		id, err := j.Store.BeginRun(t.Context(), store.Run{StartedAt: reviewed, Version: "1", Config: []byte("c")})
		if err == nil {
			err = j.Store.EndRun(context.Background(), id, reviewed.Add(90*time.Second), code)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(t.TempDir(), "expunge.prom")
	if err := os.WriteFile(path, []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := j.WriteMetrics(t.Context(), path, "1.2.3", StatusOptions{AtRisk: oneDay}, map[string]int64{"idle": 17}); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if st, err := os.Stat(path); err != nil || st.Mode().Perm() != fs.FileMode(0o644) {
		t.Errorf("%v %v", st.Mode(), err)
	}
	problems, err := promlint.New(bytes.NewReader(text)).Lint()
	if err != nil || len(problems) > 0 {
		t.Errorf("promlint: %v %v", problems, err)
	}
	for _, line := range []string{
		`expunge_build_info{version="1.2.3"} 1`,
		`expunge_runs_total{exit_code="0"} 1`,
		`expunge_runs_total{exit_code="4"} 1`,
		`expunge_last_run_duration_seconds 90`,
		`expunge_last_run_exit_code 4`,
		`expunge_last_run_requests{vendor="idle"} 17`,
		`expunge_tasks{state="held",vendor="idle"} 1`,
		`expunge_tasks{state="erased",vendor="idle"} 0`,
		`expunge_tasks_held{reason="somebody_else",vendor="idle"} 1`,
		`expunge_calls_left{vendor="idle"} 22`,
	} {
		if !strings.Contains(string(text), line+"\n") {
			t.Errorf("no line %s in\n%s", line, text)
		}
	}
	for _, clear := range []string{"R1", "ada", "example.com"} {
		if strings.Contains(string(text), clear) {
			t.Errorf("%q is in the metrics", clear)
		}
	}
	if err := j.WriteMetrics(t.Context(), t.TempDir(), "1", StatusOptions{}, nil); err == nil {
		t.Error("a folder was replaced by a file")
	}
}
