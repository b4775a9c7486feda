package batch

import (
	"strings"
	"testing"

	"expunge/store"
)

// TestRunAfterAKilledIntake: a run without a file after an intake that was killed works on
// none of what that intake had brought: the file counts for nothing, and who is in it was
// never told to anybody (CASES.md M6).
func TestRunAfterAKilledIntake(t *testing.T) {
	v := remote("v")
	bubble(t, []*fake{v}, func(r *rig) {
		r.people(3)
		r.exec(`UPDATE batches SET loading = 1`) // as a kill before the end leaves it
		r.batch = store.Batch{}
		r.restart(v)
		r.work(WorkOptions{})
		if n := len(v.all()); n != 0 {
			t.Errorf("%d calls about people of a file that was not taken in", n)
		}
		r.want("")
		if !strings.Contains(r.log.String(), "cut short") {
			t.Error("nobody is told to run again with the file")
		}
	})
}
