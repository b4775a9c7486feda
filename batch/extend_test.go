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
