package batch

import (
	"context"
	"fmt"
	"testing"
	"time"

	"expunge/batch/decide"
	"expunge/store"
)

// Report and status count the same tasks as overdue and as at risk, whatever their state: one
// that failed is neither forgotten by the one nor by the other, and a pause that outlasts a
// due date shows in both.
func TestStatusAndReportAgree(t *testing.T) {
	v, w := remote("one"), jobs("two", 3)
	bubble(t, []*fake{v, w}, func(r *rig) {
		r.people(8)
		r.exec(`UPDATE tasks SET state = 9, reason = 'refused', next_at = NULL, completed_at = 1 WHERE id/1000 IN (1, 2, 3)`)
		r.exec(`UPDATE tasks SET state = 5, reason = 'approval_required', next_at = NULL WHERE id/1000 = 4`)
		for i, days := range []int{-3, 2, 40, -1, 2, 40, -5, 40} { // a closed one is met or missed
			due := r.job.Now().Add(time.Duration(days) * 24 * time.Hour).Unix()
			r.exec(`UPDATE subjects SET due_at = ? WHERE id = ?`, due, i+1)
			r.exec(`UPDATE tasks SET due_at = ? WHERE id/1000 = ?`, due, i+1)
		}
		if _, err := r.job.Close(r.t.Context(), Selection{IDs: []int64{7000}}, store.Decision{}); err == nil {
			t.Error("a pending task is closed")
		}
		for _, pause := range []time.Duration{0, 41 * 24 * time.Hour} {
			if pause > 0 {
				r.exec(`UPDATE vendors SET paused_until = ? WHERE name = 'two'`, r.job.Now().Add(pause).UnixMilli())
			}
			rep := r.reporter()
			rep.Accounts = r.job.Accounts
			want := map[string]string{}
			rows := map[string]map[string]int64{"one": {}, "two": {}}
			if err := rep.Each(context.Background(), func(row *ReportRow) error {
				rows[row.Vendor][row.DueStatus]++
				return nil
			}); err != nil {
				t.Fatal(err)
			}
			st, err := r.job.Status(context.Background(), StatusOptions{AtRisk: 7 * 24 * time.Hour})
			if err != nil {
				t.Fatal(err)
			}
			for _, s := range st.Vendors {
				want[s.Vendor] = fmt.Sprintf("overdue %d, at risk %d", rows[s.Vendor]["overdue"], rows[s.Vendor]["at_risk"])
				if got := fmt.Sprintf("overdue %d, at risk %d", s.Overdue, s.AtRisk); got != want[s.Vendor] {
					t.Errorf("%s: the status says %s, the report %s", s.Vendor, got, want[s.Vendor])
				}
				if s.Unsettled != 3 {
					t.Errorf("%s: %d failed that nobody has closed, want 3", s.Vendor, s.Unsettled)
				}
			}
			if want["one"] != "overdue 3, at risk 2" || pause > 0 && want["two"] != "overdue 3, at risk 5" {
				t.Errorf("the report says %v", want)
			}
		}
	})
}

// What must be mended is in status until it is, with the vendor's name and the command: a
// vendor in trouble, a pause that takes long, a job whose status nobody tells.
func TestNeedsOfTrouble(t *testing.T) {
	bubble(t, []*fake{jobs("two", 3)}, func(r *rig) {
		r.people(2)
		needs := func() string {
			st, err := r.job.Status(context.Background(), StatusOptions{AtRisk: 24 * time.Hour})
			if err != nil {
				t.Fatal(err)
			}
			text := ""
			for _, n := range st.Mends() {
				text += fmt.Sprintf("%s %s %s %d: %s; ", n.What, n.Vendor, n.Reason, n.Tasks, n.Command)
			}
			return text
		}
		for _, tt := range []struct{ change, want string }{
			{`UPDATE vendors SET trouble = 'unproved', trouble_at = 1`, "trouble two unproved 2: expunge review prove two; "},
			{`UPDATE vendors SET trouble = 'credentials', trouble_at = 1`, "trouble two credentials 2: expunge check; "},
			{`UPDATE vendors SET trouble = NULL, trouble_at = NULL`, ""},
			{fmt.Sprintf(`UPDATE vendors SET paused_until = %d`, r.job.Now().Add(23*time.Hour).UnixMilli()), ""},
			{fmt.Sprintf(`UPDATE vendors SET paused_until = %d`, r.job.Now().Add(25*time.Hour).UnixMilli()), "paused two  2: expunge review retry --vendor two; "},
			{`UPDATE vendors SET paused_until = 0`, ""},
			{`UPDATE tasks SET state = 2, submitted_at = 1 WHERE id = 1000`, ""},
			{`UPDATE tasks SET state = 3, reference = 'j1', reason = '` + string(decide.NoStatus) + `' WHERE id = 1000`, "no_status two no_status 1: expunge check; "},
		} {
			r.exec(tt.change)
			if got := needs(); got != tt.want {
				t.Errorf("%s: %q, want %q", tt.change, got, tt.want)
			}
		}
	})
}
