package batch

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"expunge/store"
	"expunge/store/seal"
	"expunge/vendors"
)

// randomRequests makes a store with requests of two years at three vendors in every state, some
// of them answered.
func randomRequests(t *testing.T, requests int, rng *rand.Rand, now time.Time) *store.Store {
	t.Helper()
	ctx, key := context.Background(), seal.NewKey()
	st, err := store.Open(ctx, filepath.Join(t.TempDir(), "expunge.db"), store.Options{
		Key: func(bool) (seal.Key, error) { return key, nil }, Now: func() time.Time { return now }, Forget: Forget})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	})
	known, err := st.SyncVendors(ctx, []store.VendorSpec{{Name: "alpha", Kind: "x"}, {Name: "beta", Kind: "y"}, {Name: "gamma", Kind: "z"}})
	if err != nil {
		t.Fatal(err)
	}
	in, err := st.BeginIntake(ctx, "random.csv", now)
	if err != nil {
		t.Fatal(err)
	}
	for n := range requests {
		received := now.Add(-time.Duration(rng.Int64N(int64(2 * 365 * 24 * time.Hour)))).Truncate(time.Second)
		row := &store.NewSubject{Line: n + 2, SubjectID: fmt.Sprintf("R-%05d", n), Content: 1, ReceivedAt: received, DueAt: received.AddDate(0, 1, 0)}
		for _, name := range []string{"alpha", "beta", "gamma"} {
			for range rng.IntN(3) {
				task := store.NewTask{Vendor: known[name].ID, Field: int(vendors.Email)}
				if rng.IntN(6) == 0 {
					task = store.NewTask{Vendor: known[name].ID, State: store.Skipped, Reason: "no_identifier"}
				}
				row.Tasks, row.Same = append(row.Tasks, task), append(row.Same, 0)
			}
		}
		if len(row.Tasks) == 0 {
			row.Tasks, row.Same = []store.NewTask{{Vendor: known["alpha"].ID, State: store.Skipped, Reason: "no_identifier"}}, []int64{0}
		}
		if err := in.Subject(row); err != nil {
			t.Fatal(err)
		}
	}
	b, _, err := in.Settle(ctx, []byte("digest"), store.IntakeRules{Accept: func(store.Batch) error { return nil },
		Same: func(_, _ store.Work) bool { return false }, Digest: func(*store.Work) (int64, error) { return 0, nil }})
	if err != nil {
		t.Fatal(err)
	}
	var tasks []store.Task
	var answers []store.Answer
	last := ""
	if err := st.Rows(ctx, store.Filter{Batch: b.ID}, func(r *store.Row) error {
		tasks = append(tasks, *r.Task)
		if r.SubjectID != last && rng.IntN(3) > 0 {
			answers = append(answers, store.Answer{SubjectID: r.SubjectID, At: r.ReceivedAt.Add(time.Duration(rng.Int64N(int64(50 * 24 * time.Hour))))})
		}
		last = r.SubjectID
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if _, err := st.RecordAnswers(ctx, answers); err != nil {
		t.Fatal(err)
	}
	for _, task := range tasks {
		if task.State == store.Skipped {
			continue
		}
		settle(t, st, task, rng)
	}
	if err := st.Flush(); err != nil {
		t.Fatal(err)
	}
	return st
}

// settle moves a task to a random state.
func settle(t *testing.T, st *store.Store, task store.Task, rng *rand.Rand) {
	task.Ready = false
	at := task.DueAt.Add(time.Duration(rng.Int64N(int64(40*24*time.Hour))) - 27*24*time.Hour).Truncate(time.Second) // after receipt, which is a month before
	switch rng.IntN(10) {
	case 0:
		return
	case 1:
		task.State, task.Reason = store.Held, "unknown_owner"
	case 2, 3:
		task.State, task.CompletedAt = store.NotFound, at
	case 4:
		task.State, task.CompletedAt, task.Reason = store.Failed, at, "refused"
	case 5:
		task.State, task.CompletedAt, task.Reason = store.Failed, at, "refused"
		task.ClosedAt = at.Add(time.Duration(rng.Int64N(int64(20 * 24 * time.Hour))))
	case 6:
		task.State, task.CompletedAt, task.ClosedAt, task.Reason = store.Failed, at, at, []string{"rejected", "declined"}[rng.IntN(2)]
	default:
		task.State, task.CompletedAt, task.Evidence = store.Erased, at, store.Evidence(1+rng.IntN(3))
		if task.Evidence == store.Verified {
			task.VerifiedAt = at
		}
	}
	st.ApplyLater(store.Change{From: store.Pending, Task: task}, func(err error) {
		if err != nil {
			t.Error(err)
		}
	})
}

// TestStats: the statistics are those that somebody counts who goes through the JSON report, with
// and without answers, by every width, and the same after a purge.
func TestStats(t *testing.T) {
	now := time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)
	rng := rand.New(rand.NewPCG(7, 15))
	requests := 10_000
	if testing.Short() {
		requests = 1000
	}
	st := randomRequests(t, requests, rng, now)
	ctx := context.Background()
	tasks := &Tasks{Store: st, Now: func() time.Time { return now }, Log: slog.New(slog.DiscardHandler)}
	before := map[string][]StatsRow{}
	each := func(fn func(name string, o StatsOptions)) {
		for _, by := range Periods {
			for _, track := range []bool{false, true} {
				tasks.TrackAnswers = track
				fn(fmt.Sprintf("by %s, answers %v", by, track), StatsOptions{By: by})
			}
		}
	}
	each(func(name string, o StatsOptions) {
		got, err := tasks.Stats(ctx, o)
		if err != nil {
			t.Fatal(err)
		}
		before[name] = got
		if diff := gocmp.Diff(bruteForce(t, tasks, o.By), got); diff != "" {
			t.Errorf("%s (-counted +stats):\n%s", name, diff)
		}
	})
	// Some of them go, in three steps.
	for _, f := range []store.PurgeFilter{{Before: now.AddDate(0, 0, -400)}, {Before: now.AddDate(0, 0, -100)}, {Before: now.AddDate(0, 0, -50), Failed: true}} {
		p, err := st.Purge(ctx, f)
		if err != nil || p.Subjects == 0 {
			t.Fatalf("%+v %v", p, err)
		}
		t.Logf("%d of %d are purged", p.Subjects, requests)
		each(func(name string, o StatsOptions) {
			got, err := tasks.Stats(ctx, o)
			if err != nil {
				t.Fatal(err)
			}
			if diff := gocmp.Diff(before[name], got); diff != "" {
				t.Errorf("%s (-before +after a purge):\n%s", name, diff)
			}
		})
	}
	tasks.TrackAnswers = false
	some, err := tasks.Stats(ctx, StatsOptions{By: "month", Vendor: "beta", Since: now.AddDate(0, -3, 0), Until: now.AddDate(0, -1, 0)})
	if err != nil {
		t.Fatal(err)
	}
	var want []StatsRow
	for _, r := range before["by month, answers false"] {
		if r.Vendor == "beta" && r.Period >= "2026-08" && r.Period <= "2026-10" {
			want = append(want, r)
		}
	}
	if diff := gocmp.Diff(want, some); diff != "" || len(some) != 3 {
		t.Errorf("a vendor's of three months (-want +got):\n%s", diff)
	}
}

// bruteForce counts the rows of the JSON report, in another way than the program.
func bruteForce(t *testing.T, tasks *Tasks, by string) []StatsRow {
	t.Helper()
	r := &Reporter{Store: tasks.Store, Now: tasks.Now, TrackAnswers: tasks.TrackAnswers}
	var b bytes.Buffer
	if err := r.JSON(context.Background(), &b); err != nil {
		t.Fatal(err)
	}
	var rows []struct {
		SubjectID   string `json:"subject_id"`
		Vendor      string `json:"vendor"`
		State       string `json:"state"`
		Evidence    string `json:"evidence"`
		Reason      string `json:"reason"`
		DueStatus   string `json:"due_status"`
		ReceivedAt  string `json:"received_at"`
		DueAt       string `json:"due_at"`
		CompletedAt string `json:"completed_at"`
		ClosedAt    string `json:"closed_at"`
		AnsweredAt  string `json:"answered_at"`
	}
	if err := json.NewDecoder(&b).Decode(&rows); err != nil {
		t.Fatal(err)
	}
	at := func(text string) time.Time {
		when, err := time.Parse(time.RFC3339, text)
		if err != nil {
			t.Fatal(err)
		}
		return when
	}
	type bucket struct {
		row         StatsRow
		days        []int64
		met, missed int64
	}
	buckets := map[[2]string]*bucket{}
	get := func(received, vendor string) *bucket {
		when := at(received)
		period := when.Format("2006-01")
		switch by {
		case "quarter":
			period = fmt.Sprintf("%d-Q%d", when.Year(), (int(when.Month())-1)/3+1)
		case "year":
			period = fmt.Sprint(when.Year())
		}
		k := [2]string{period, vendor}
		if buckets[k] == nil {
			buckets[k] = &bucket{row: StatsRow{Period: period, Vendor: vendor}}
			if vendor == "all" {
				buckets[k].row.CompliedInWhole, buckets[k].row.CompliedInPart, buckets[k].row.Denied = new(int64), new(int64), new(int64)
			}
		}
		return buckets[k]
	}
	column := func(r *StatsRow, state, evidence, reason string, closed bool) *int64 {
		switch {
		case state == "erased":
			return map[string]*int64{"verified": &r.ErasedVerified, "vendor_done": &r.ErasedVendorDone, "confirmed": &r.ErasedConfirmed}[evidence]
		case state == "failed" && closed && (reason == "rejected" || reason == "declined"):
			return &r.Rejected
		}
		return map[string]*int64{"not_found": &r.NotFound, "skipped": &r.Skipped, "failed": &r.Failed, "held": &r.Held, "pending": &r.Open}[state]
	}
	judge := func(b *bucket, status string) {
		switch status {
		case "met":
			b.met++
		case "missed":
			b.missed++
		}
	}
	for i := 0; i < len(rows); {
		from := i
		for ; i < len(rows) && rows[i].SubjectID == rows[from].SubjectID; i++ {
			r := &rows[i]
			v := get(r.ReceivedAt, r.Vendor)
			v.row.Received++
			*column(&v.row, r.State, r.Evidence, r.Reason, r.ClosedAt != "")++
			if r.State != "skipped" {
				judge(v, r.DueStatus)
			}
			if r.State == "erased" || r.State == "not_found" {
				v.days = append(v.days, int64(at(r.CompletedAt).Sub(at(r.ReceivedAt))/(24*time.Hour)))
			}
		}
		of := rows[from:i]
		all := get(of[0].ReceivedAt, "all")
		all.row.Received++
		has := func(is func(k int) bool) bool {
			for k := range of {
				if is(k) {
					return true
				}
			}
			return false
		}
		state := func(want string) bool { return has(func(k int) bool { return of[k].State == want }) }
		ok := state("erased") || state("not_found")
		closed := has(func(k int) bool { return of[k].ClosedAt != "" })
		openFailed := has(func(k int) bool { return of[k].State == "failed" && of[k].ClosedAt == "" })
		ended := int64(-1)
		for _, r := range of {
			if r.State == "erased" || r.State == "not_found" {
				ended = max(ended, int64(at(r.CompletedAt).Sub(at(r.ReceivedAt))/(24*time.Hour)))
			}
		}
		settled := true
		switch {
		case state("pending"):
			settled = false
			all.row.Open++
		case state("held"):
			settled = false
			all.row.Held++
		case openFailed:
			settled = false
			all.row.Failed++
		case closed:
			if has(func(k int) bool {
				return of[k].ClosedAt != "" && (of[k].Reason == "rejected" || of[k].Reason == "declined")
			}) {
				all.row.Rejected++
			} else {
				all.row.Failed++
			}
			if ok {
				*all.row.CompliedInPart++
			} else {
				*all.row.Denied++
			}
		case ok:
			*all.row.CompliedInWhole++
			weakest := ""
			for _, e := range []string{"verified", "vendor_done", "confirmed"} {
				if has(func(k int) bool { return of[k].State == "erased" && of[k].Evidence == e }) {
					weakest = e
				}
			}
			if weakest == "" {
				all.row.NotFound++
			} else {
				*column(&all.row, "erased", weakest, "", false)++
			}
		default:
			all.row.Skipped++
		}
		if tasks.TrackAnswers {
			if has(func(k int) bool { return of[k].State != "skipped" }) {
				judge(all, of[0].DueStatus)
			}
			if settled && ended >= 0 && of[0].AnsweredAt != "" {
				all.days = append(all.days, int64(at(of[0].AnsweredAt).Sub(at(of[0].ReceivedAt))/(24*time.Hour)))
			}
			continue
		}
		if settled && ended >= 0 {
			all.days = append(all.days, ended)
		}
		if settled && (ok || closed) {
			if has(func(k int) bool { return of[k].State != "skipped" && of[k].DueStatus == "missed" }) {
				all.missed++
			} else {
				all.met++
			}
		}
	}
	var out []StatsRow
	for _, b := range buckets {
		if b.met+b.missed > 0 {
			share := float64(b.met) / float64(b.met+b.missed)
			b.row.InTimeShare = &share
		}
		if n := len(b.days); n > 0 {
			slices.Sort(b.days)
			b.row.MedianDays, b.row.P90Days = &b.days[(n-1)/2], &b.days[(n*9+9)/10-1]
		}
		out = append(out, b.row)
	}
	slices.SortFunc(out, func(a, b StatsRow) int {
		return cmp.Or(cmp.Compare(a.Period, b.Period), cmp.Compare(a.Vendor, b.Vendor))
	})
	return out
}

// TestStatsAddUp: the columns add up, in the CSV too.
func TestStatsAddUp(t *testing.T) {
	now := time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)
	st := randomRequests(t, 300, rand.New(rand.NewPCG(1, 2)), now)
	tasks := &Tasks{Store: st, Now: func() time.Time { return now }}
	rows, err := tasks.Stats(context.Background(), StatsOptions{By: "year"})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range rows {
		if sum := r.ErasedVerified + r.ErasedVendorDone + r.ErasedConfirmed + r.NotFound + r.Skipped + r.Failed + r.Rejected + r.Held + r.Open; sum != r.Received {
			t.Errorf("%s %s: %d received, %d in the columns", r.Period, r.Vendor, r.Received, sum)
		}
	}
	var b bytes.Buffer
	if err := StatsCSV(&b, rows, ';', true); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(b.String()), "\n")
	if lines[0] != "\ufeff"+strings.ReplaceAll(statsHeader, ",", ";") || len(lines) != len(rows)+1 || strings.Count(lines[1], ";") != strings.Count(lines[0], ";") {
		t.Errorf("%q", lines[:2])
	}
	if err := StatsCSV(&fullDisk{10}, rows, ',', false); err == nil {
		t.Error("written to a full disk")
	}
	if err := StatsJSON(io.Discard, rows); err != nil {
		t.Error(err)
	}
}
