package batch

import (
	"context"
	"errors"
	"testing"
	"time"

	"expunge/store"
)

// TestUntried: what was never tried at a vendor is held, until a person says that it works there;
// at another place, which a changed recipe is, that says nothing.
func TestUntried(t *testing.T) {
	f := remote("acme")
	f.traits.Untried, f.traits.Place = true, "rest acme.example.com acme@1"
	bubble(t, []*fake{f}, func(r *rig) {
		r.people(2)
		r.work(WorkOptions{})
		r.want("2 held (approval_required)")
		prove := func() error {
			return r.job.Prove(context.Background(), "acme", store.Decision{At: time.Now(), Who: "kim", Note: "gone at the vendor"})
		}
		if err := prove(); !errors.Is(err, ErrUntried) {
			t.Errorf("vouched for before anything was erased: %v", err)
		}
		if n, err := r.job.Review(context.Background(), Selection{IDs: []int64{r.tasks()[0].ID}}, true, store.Decision{At: time.Now(), Who: "kim"}); n != 1 || err != nil {
			t.Fatal(n, err)
		}
		r.work(WorkOptions{})
		r.want("1 erased, 1 held (approval_required)")

		if err := prove(); err != nil {
			t.Fatal(err)
		}
		r.use(f)
		r.take("subject_id,email\nR-900,later@example.com\n")
		r.work(WorkOptions{})
		r.want("1 held (approval_required), 2 erased")

		f.traits.Place += " changed"
		r.use(f)
		r.take("subject_id,email\nR-901,last@example.com\n")
		r.work(WorkOptions{})
		r.want("2 erased, 2 held (approval_required)")
	})
}
