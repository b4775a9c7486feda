package batch

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"expunge/store"
)

// TestExtendNamesNobody: why a request takes longer is kept without the name and the key of
// its person, which only their own data can tell from other words (invariant 7).
func TestExtendNamesNobody(t *testing.T) {
	bubble(t, []*fake{remote("cg")}, func(r *rig) {
		r.take("subject_id,email\nA-1,zebulon.moore@example.com\nB-1,bob@example.com\n")
		d := store.Decision{At: time.Now(), Who: "kim", Note: "zebulon MOORE travels; told Zebulon on the 5th"}
		until := time.Now().AddDate(0, 2, 0)
		x, err := r.job.Extend(context.Background(), longer("A-1", until), d)
		if err != nil || x.Open != 1 || !x.Until.Equal(until) {
			t.Fatalf("%+v %v", x, err)
		}
		if got, want := r.onDisk(`SELECT note FROM decisions`), "[…] […] travels; told […] on the 5th"; got != want {
			t.Errorf("recorded %q, want %q", got, want)
		}
		if _, err := r.job.Extend(context.Background(), longer("C-1", until), d); !errors.Is(err, store.ErrUnknown) {
			t.Errorf("nobody's request: %v", err)
		}
	})
}

// longer is an extension where the law allows a year.
func longer(subject string, until time.Time) Extension {
	return Extension{SubjectID: subject, Until: until, Longest: func(t time.Time) time.Time { return t.AddDate(1, 0, 0) }}
}

// TestExtendInTime: a later date is given before the first one is over, and for no longer than
// the law allows, unless a person says that it was agreed all the same. What is finished is
// judged by the date that held then, and the reports keep the first one.
func TestExtendInTime(t *testing.T) {
	bubble(t, []*fake{remote("cg"), tickets("w")}, func(r *rig) {
		r.take("subject_id,email\nA-1,anna@example.com\nB-1,bob@example.com\n")
		received, due := time.Now(), r.tasks()[0].DueAt
		extend := func(subject string, until time.Time, override bool) error {
			x := Extension{SubjectID: subject, Until: until, Override: override, Longest: func(t time.Time) time.Time { return t.AddDate(0, 3, 0) }}
			_, err := r.job.Extend(context.Background(), x, store.Decision{At: time.Now(), Who: "kim", Note: "vendor is slow"})
			return err
		}
		if err := extend("A-1", received.AddDate(0, 3, 1), false); !errors.Is(err, ErrLongExtension) {
			t.Errorf("too long: %v", err)
		}
		time.Sleep(31 * 24 * time.Hour)
		if err := extend("A-1", received.AddDate(0, 2, 0), false); !errors.Is(err, ErrLateExtension) {
			t.Errorf("too late: %v", err)
		}
		r.work(WorkOptions{}) // a day late
		status := func() (all []string) {
			if err := r.reporter().Each(context.Background(), func(row *ReportRow) error {
				all = append(all, row.SubjectID+" "+row.Vendor+" "+row.State+" "+row.DueStatus+" "+row.OriginalDueAt)
				return nil
			}); err != nil {
				t.Fatal(err)
			}
			return all
		}
		if diff := cmp.Diff([]string{"A-1 cg erased missed ", "A-1 w waiting overdue ", "B-1 cg erased missed ", "B-1 w waiting overdue "}, status()); diff != "" {
			t.Error(diff)
		}
		if err := extend("A-1", received.AddDate(0, 4, 0), true); err != nil {
			t.Error(err)
		}
		first := due.UTC().Format(time.RFC3339)
		if diff := cmp.Diff([]string{"A-1 cg erased missed ", "A-1 w waiting open " + first, "B-1 cg erased missed ", "B-1 w waiting overdue "}, status()); diff != "" {
			t.Error(diff)
		}
		if got := r.csv(r.reporter()); strings.Count(got, "extended, was due "+first) != 1 {
			t.Errorf("the CSV report: %s", got)
		}
		if got := r.onDisk(`SELECT note FROM decisions`); got != "override: vendor is slow" {
			t.Errorf("recorded %q", got)
		}
		st, err := r.job.Status(context.Background(), StatusOptions{})
		if err != nil || len(st.Extended) != 1 || st.Extended[0].Original == nil || !st.Extended[0].Original.Equal(due) {
			t.Errorf("%+v %v", st.Extended, err)
		}
	})
}

// TestUnserved: a request that every vendor skips is not answered: of a store from before such
// rows were refused.
func TestUnserved(t *testing.T) {
	w := tickets("w")
	w.skips = "anna@example.com"
	bubble(t, []*fake{remote("cg"), w}, func(r *rig) {
		r.take("subject_id,email\nA-1,anna@example.com\n")
		r.exec(`DELETE FROM tasks WHERE state = 0`)
		var got []string
		if err := r.reporter().Each(context.Background(), func(row *ReportRow) error {
			got = append(got, row.State+" "+row.DueStatus)
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]string{"skipped open"}, got); diff != "" {
			t.Error(diff)
		}
		r.exec(`DELETE FROM shapes WHERE state = 0`)
		for _, tt := range []struct {
			after           time.Duration
			overdue, atRisk int64
		}{{0, 0, 0}, {26 * 24 * time.Hour, 0, 1}, {5 * 24 * time.Hour, 1, 0}} {
			time.Sleep(tt.after)
			st, err := r.job.Status(context.Background(), StatusOptions{AtRisk: 5 * 24 * time.Hour})
			if err != nil {
				t.Fatal(err)
			}
			for _, v := range st.Vendors {
				if v.Vendor == "w" && (v.Overdue != tt.overdue || v.AtRisk != tt.atRisk) {
					t.Errorf("the status counts %d overdue, %d at risk; want %d, %d", v.Overdue, v.AtRisk, tt.overdue, tt.atRisk)
				}
			}
			rep := r.reporter()
			rep.AtRisk = 5 * 24 * time.Hour
			want := "open"
			if tt.overdue > 0 {
				want = "overdue"
			} else if tt.atRisk > 0 {
				want = "at_risk"
			}
			if err := rep.Each(context.Background(), func(row *ReportRow) error {
				if row.DueStatus != want {
					t.Errorf("the report says %s, want %s", row.DueStatus, want)
				}
				return nil
			}); err != nil {
				t.Fatal(err)
			}
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
		if _, err := r.job.Extend(context.Background(), longer("A-1", time.Now().AddDate(0, 3, 0)), store.Decision{At: time.Now(), Who: "kim"}); err != nil {
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
			if _, err := r.job.Extend(context.Background(), longer(tt.subject, due.AddDate(0, 0, tt.days)), store.Decision{At: time.Now(), Who: "kim"}); err != nil {
				t.Fatal(err)
			}
			if got, want := r.tasks()[0].DueAt, due.AddDate(0, 0, tt.leads); !got.Equal(want) {
				t.Errorf("%s extended by %d days: the task that is followed is due %v, want %v", tt.subject, tt.days, got, want)
			}
		}
	})
}
