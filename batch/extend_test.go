package batch

import (
	"context"
	"errors"
	"testing"
	"time"

	"expunge/store"
)

// TestExtendNamesNobody: why a request takes longer is kept without the name and the key of
// its person, which only their own data can tell from other words (invariant 7).
func TestExtendNamesNobody(t *testing.T) {
	bubble(t, []*fake{remote("cg")}, func(r *rig) {
		r.take("subject_id,email\nA-1,zebulon.moore@example.com\nB-1,bob@example.com\n")
		d := store.Decision{At: time.Now(), Who: "kim", Note: "zebulon MOORE travels; told Zebulon on the 5th"}
		until := time.Now().AddDate(0, 2, 0)
		x, err := r.job.Extend(context.Background(), "A-1", until, d)
		if err != nil || x.Open != 1 || !x.Until.Equal(until) {
			t.Fatalf("%+v %v", x, err)
		}
		if got, want := r.onDisk(`SELECT note FROM decisions`), "[…] […] travels; told […] on the 5th"; got != want {
			t.Errorf("recorded %q, want %q", got, want)
		}
		if _, err := r.job.Extend(context.Background(), "C-1", until, d); !errors.Is(err, store.ErrUnknown) {
			t.Errorf("nobody's request: %v", err)
		}
	})
}

// TestExtendLead: a request with a later date does not take along those that have the same
// identifier: the call that is made once is made when the first of them needs it, and each
// is due on its own date.
func TestExtendLead(t *testing.T) {
	v := remote("cg")
	bubble(t, []*fake{v}, func(r *rig) {
		r.lanes["cg"].Concurrency = 1
		r.take("subject_id,email\nA-1,anna@example.com\nB-1,anna@example.com\nC-1,carl@example.com\n")
		if _, err := r.job.Extend(context.Background(), "A-1", time.Now().AddDate(0, 3, 0), store.Decision{At: time.Now(), Who: "kim"}); err != nil {
			t.Fatal(err)
		}
		if st, err := r.job.Status(context.Background(), StatusOptions{AtRisk: 31 * 24 * time.Hour}); err != nil || st.Vendors[0].AtRisk != 2 {
			t.Errorf("%+v %v; want 2 at risk", st.Vendors, err)
		}
		time.Sleep(31 * 24 * time.Hour)
		st, err := r.job.Status(context.Background(), StatusOptions{})
		if err != nil || st.Vendors[0].Overdue != 2 || st.Oldest.SubjectID != "B-1" || st.Oldest.DueStatus != "overdue" {
			t.Errorf("%+v, first %+v, %v; want 2 overdue", st.Vendors, st.Oldest, err)
		}
		if totals, err := r.job.ControlTotals(context.Background(), r.batch); err != nil || totals.Overdue != 2 {
			t.Errorf("%+v %v; want 2 overdue", totals, err)
		}
		r.work(WorkOptions{})
		r.want("3 erased")
		if first := v.all()[0].who; first != "anna@example.com" {
			t.Errorf("the first call was for %s", first)
		}
	})
}

// TestExtendFollower: whichever of two requests with the same identifier is extended, and
// however often, the call is due with the one that is due first.
func TestExtendFollower(t *testing.T) {
	bubble(t, []*fake{remote("cg")}, func(r *rig) {
		r.take("subject_id,email\nA-1,anna@example.com\nB-1,anna@example.com\n")
		due := r.tasks()[0].DueAt
		for _, tt := range []struct {
			subject     string
			days, leads int
		}{{"B-1", 10, 0}, {"A-1", 60, 10}, {"B-1", 20, 20}, {"B-1", 90, 60}} {
			if _, err := r.job.Extend(context.Background(), tt.subject, due.AddDate(0, 0, tt.days), store.Decision{At: time.Now(), Who: "kim"}); err != nil {
				t.Fatal(err)
			}
			if got, want := r.tasks()[0].DueAt, due.AddDate(0, 0, tt.leads); !got.Equal(want) {
				t.Errorf("%s extended by %d days: the task that is followed is due %v, want %v", tt.subject, tt.days, got, want)
			}
		}
	})
}
