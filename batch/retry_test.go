package batch

import (
	"errors"
	"strings"
	"testing"
	"time"

	"expunge/store"
)

// Failed tasks keep what is needed to try them again. Without it a retry would send nothing
// to the vendor, or be refused for every task.
func TestRetryFailed(t *testing.T) {
	bubble(t, []*fake{remote("remote")}, func(r *rig) {
		r.people(3)
		r.exec(`UPDATE tasks SET state = 9, reason = 'refused', next_at = NULL, completed_at = 1 WHERE id/1000 IN (2, 3)`)
		d := store.Decision{At: r.job.Now(), Who: "jane", Note: "the filter is gone"}
		if _, err := r.job.Retry(r.t.Context(), Selection{IDs: []int64{1000}}, d); !errors.Is(err, ErrNotFailed) {
			t.Errorf("a pending task is retried: %v", err)
		}
		if n, err := r.job.Close(r.t.Context(), Selection{IDs: []int64{3000}}, d); n != 1 || err != nil {
			t.Fatalf("close: %d, %v", n, err)
		}
		r.exec(`UPDATE vendors SET paused_until = ?`, r.job.Now().Add(72*time.Hour).UnixMilli())
		got, err := r.job.Retry(r.t.Context(), Selection{Vendor: "remote"}, d)
		if err != nil || got.Ready != 1 || got.Held != 0 || got.Forgotten != 0 || got.Lifted.IsZero() {
			t.Fatalf("retry: %+v, %v", got, err)
		}
		if known, err := r.st.Vendors(r.t.Context()); err != nil || known["remote"].PausedUntil.After(r.job.Now()) {
			t.Errorf("the pause is still there: %v", err)
		}
		if _, err := r.job.Retry(r.t.Context(), Selection{IDs: []int64{3000}}, d); !errors.Is(err, ErrNotFailed) || !strings.Contains(err.Error(), "closed") {
			t.Errorf("a closed task is retried: %v", err)
		}
		if got := r.onDisk(`SELECT group_concat(action || ' ' || who || ' ' || coalesce(task, 'vendor ' || vendor) || ' ' || coalesce(reason, '-') || ' ' || note) FROM decisions`); got !=
			"close jane 3000 refused the filter is gone,retry jane 2000 refused the filter is gone,retry jane vendor 1 - the filter is gone" {
			t.Errorf("recorded: %s", got)
		}
	})
}

// What has no clear identifier any more is left as it is by a retry of many, and told; named
// alone it is refused.
func TestRetryForgotten(t *testing.T) {
	bubble(t, []*fake{remote("remote")}, func(r *rig) {
		r.people(2)
		r.exec(`UPDATE tasks SET state = 9, reason = 'refused', next_at = NULL, completed_at = 1`)
		d := store.Decision{At: r.job.Now(), Who: "jane"}
		if n, err := r.job.Close(r.t.Context(), Selection{IDs: []int64{1000}}, d); n != 1 || err != nil {
			t.Fatalf("close: %d, %v", n, err)
		}
		r.exec(`UPDATE tasks SET closed_at = NULL WHERE id = 1000`) // as a version has left it for which failed was final
		if _, err := r.job.Retry(r.t.Context(), Selection{IDs: []int64{1000}}, d); !errors.Is(err, ErrForgotten) {
			t.Errorf("by number: %v", err)
		}
		if got, err := r.job.Retry(r.t.Context(), Selection{Reason: "refused"}, d); err != nil || got.Ready != 1 || got.Forgotten != 1 {
			t.Errorf("by reason: %+v, %v", got, err)
		}
	})
}
