package batch

import (
	"testing"
	"time"
)

// People write the day on their own calendar. Somewhere it is tomorrow already, and
// elsewhere still yesterday: their confirmations must not be refused as of the future, or
// as earlier than the request.
func TestConfirmDayOfAnyZone(t *testing.T) {
	for _, tt := range []struct {
		name   string
		hour   int // of the submission, on January 2nd, UTC
		day    string
		ok     bool
		before bool // completed when it was submitted at the earliest, and not before
	}{
		{"tomorrow, in the east", 12, "2000-01-03", true, false},
		{"tomorrow, where it is not tomorrow anywhere", 8, "2000-01-03", false, false},
		{"yesterday, in the west", 3, "2000-01-01", true, true},
		{"yesterday, where it is over everywhere", 13, "2000-01-01", false, false},
		{"today", 12, "2000-01-02", true, false},
	} {
		v := tickets("acqueon")
		bubble(t, []*fake{v}, func(r *rig) {
			time.Sleep(time.Duration(24+tt.hour) * time.Hour)
			r.people(1)
			r.work(WorkOptions{})
			submitted := r.tasks()[0].SubmittedAt
			time.Sleep(time.Minute)
			got, err := r.confirm("vendor,reference,completed_at\nacqueon,acqueon-1," + tt.day + "\n")
			if err != nil || len(got) != 1 || (got[0].Problem == "") != tt.ok {
				t.Fatalf("%s: %+v %v", tt.name, got, err)
			}
			if !tt.ok {
				return
			}
			done := r.tasks()[0].CompletedAt
			if done.Before(submitted) || done.After(time.Now()) || tt.before && !done.Equal(submitted) {
				t.Errorf("%s: submitted %v, completed %v", tt.name, submitted, done)
			}
		})
	}
}
