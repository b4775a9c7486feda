package batch_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"expunge/batch"
	"expunge/batch/intake"
	"expunge/store"
	"expunge/store/seal"
	"expunge/vendors"
)

// pageVendor raises tickets through a page that a person has to open.
type pageVendor struct {
	patience time.Duration // how long Ready waits itself
	retry    time.Duration // how long the lane is asked to wait after that

	mu      sync.Mutex
	opened  chan struct{}
	asked   int
	tickets int
}

func (v *pageVendor) Traits() vendors.Traits {
	return vendors.Traits{
		Kind: "page", Completion: vendors.ByPerson, Uncertain: vendors.HoldForPerson, Fields: vendors.SetOf(vendors.AccountNumber),
	}
}

func (v *pageVendor) Identifiers(s vendors.Subject) ([]vendors.Ref, vendors.Reason) {
	return []vendors.Ref{{Field: vendors.AccountNumber}}, ""
}

func (v *pageVendor) Preview(context.Context, *vendors.Target) (vendors.Preview, error) {
	return vendors.Preview{}, nil
}

func (v *pageVendor) Ready(ctx context.Context) error {
	v.mu.Lock()
	v.asked++
	v.mu.Unlock()
	timer := time.NewTimer(v.patience)
	defer timer.Stop()
	select {
	case <-v.opened:
		return nil
	case <-ctx.Done():
		return &vendors.Error{Kind: vendors.ErrNotSent, Err: vendors.ErrStopped}
	case <-timer.C:
		return &vendors.Error{Kind: vendors.ErrNotSent, Err: &vendors.AwaitError{
			What: "nobody has opened the page", Until: time.Now().Add(v.retry), Ready: v.opened,
		}}
	}
}

func (v *pageVendor) Submit(context.Context, *vendors.Target) (vendors.Receipt, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.tickets++
	return vendors.Receipt{Reference: fmt.Sprint(10088 + v.tickets)}, nil
}

func (v *pageVendor) open() { close(v.opened) }

type noPause struct{}

func (noPause) PausedUntil() time.Time { return time.Time{} }
func (noPause) AskedUntil() time.Time  { return time.Time{} }
func (noPause) Pause(time.Time)        {}

// awaiting opens a store with three people and one vendor that waits for a page.
func awaiting(t *testing.T, dir string, v *pageVendor) (*store.Store, *batch.Run, store.Batch) {
	t.Helper()
	v.opened = make(chan struct{})
	key := seal.NewKey()
	st, err := store.Open(t.Context(), filepath.Join(dir, "expunge.db"), store.Options{
		Key: func(bool) (seal.Key, error) { return key, nil }, Now: time.Now, Forget: batch.Forget,
	})
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	j, err := batch.NewRun(t.Context(), &batch.Tasks{Store: st, Now: time.Now, Log: log}, &batch.Lane{
		Account: batch.AccountOf("page", v, vendors.Rate{PerSecond: 1}), Vendor: v, Pacer: noPause{}, Concurrency: 1,
		Retry: vendors.Retry{MaxAttempts: 3, RetryBase: vendors.Duration(time.Second), RetryCap: vendors.Duration(time.Minute)},
	})
	if err != nil {
		t.Fatal(err)
	}
	j.Linger = time.Minute
	file := filepath.Join(dir, "people.csv")
	rows := "subject_id,email,account_number\n"
	for n := range 3 {
		rows += fmt.Sprintf("DSR-%d,person-%d@example.com,934|%d\n", n, n, n)
	}
	if err := os.WriteFile(file, []byte(rows), 0o600); err != nil {
		t.Fatal(err)
	}
	b, _, err := batch.TakeIn(t.Context(), st, j.Lanes, batch.Input{
		Path: file, Log: log, Deadline: func(t time.Time) time.Time { return t.AddDate(0, 1, 0) },
		Reading: intake.Options{Vendors: []string{"page"}, Now: time.Now, Log: log},
	})
	if err != nil {
		t.Fatal(err)
	}
	return st, j, b
}

// TestAwait: a page that nobody opens must not burn attempts, leave open outcomes behind,
// keep a run from ending, or make the lane ask without a pause. With --wait the run goes on
// as soon as the page is opened.
func TestAwait(t *testing.T) {
	for _, test := range []struct {
		name    string
		wait    bool
		opens   time.Duration // 0: never
		took    time.Duration
		asked   int
		tickets int
		want    string
	}{
		{"nobody comes", false, 0, 2 * time.Minute, 1, 0, "3 pending"},
		{"somebody comes in time", false, time.Minute, time.Minute, 3, 3, "3 waiting"},
		{"with --wait, while the lane is parked", true, 5 * time.Minute, 5 * time.Minute, 4, 3, "3 waiting"},
		{"with --wait, after the lane has asked again", true, 18 * time.Minute, 18 * time.Minute, 4, 3, "3 waiting"},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			synctest.Test(t, func(t *testing.T) {
				v := &pageVendor{patience: 2 * time.Minute, retry: 15 * time.Minute}
				st, j, b := awaiting(t, dir, v)
				defer st.Close()
				if test.opens > 0 {
					timer := time.AfterFunc(test.opens, v.open)
					defer timer.Stop()
				}
				began := time.Now()
				results, err := j.Work(t.Context(), batch.WorkOptions{Wait: test.wait})
				if err != nil {
					t.Fatal(err)
				}
				if took := time.Since(began).Round(time.Second); took != test.took {
					t.Errorf("took %v, want %v", took, test.took)
				}
				if parked := !results[0].Parked.IsZero(); parked != (test.opens == 0) || results[0].Doubt != nil || results[0].Err != nil {
					t.Errorf("ended as %+v", results[0])
				}
				if v.asked != test.asked || v.tickets != test.tickets {
					t.Errorf("asked %d times, %d tickets: want %d and %d", v.asked, v.tickets, test.asked, test.tickets)
				}
				totals, err := j.ControlTotals(t.Context(), b)
				if err != nil {
					t.Fatal(err)
				}
				var got []string
				for _, s := range store.States() {
					if n := totals.States[s]; n > 0 {
						got = append(got, fmt.Sprintf("%d %s", n, s))
					}
				}
				if strings.Join(got, ", ") != test.want {
					t.Errorf("tasks: %v, want %s", got, test.want)
				}
				var csv strings.Builder
				r := &batch.Reporter{Store: st, Now: time.Now}
				if err := r.CSV(t.Context(), &csv); err != nil {
					t.Fatal(err)
				}
				if strings.Contains(csv.String(), "retrying") || strings.Contains(csv.String(), "uncertain") {
					t.Errorf("waiting for the page has left traces on tasks:\n%s", csv.String())
				}
			})
		})
	}
}
