package batch

import (
	"context"
	"errors"
	"testing"
	"time"

	"expunge/store"
)

// TestCheckClock: a run that begins before the last one ended is refused, but for a minute,
// by which a clock may be set back, and for runs that were refused themselves.
func TestCheckClock(t *testing.T) {
	const refused = 2
	end := noon.Add(time.Hour)
	for _, tt := range []struct {
		name string
		now  time.Time
		code int // of a second run, an hour after the first; 0: there is none, -1: it was killed
		want error
	}{
		{"before the end", end.Add(-61 * time.Second), 0, ErrClock},
		{"a minute before it", end.Add(-time.Minute), 0, nil},
		{"after it", end.Add(time.Second), 0, nil},
		{"after it, and before the end of one that was refused", end.Add(time.Second), refused, nil},
		{"before the end of both", noon, refused, ErrClock},
		{"before the second of two", end.Add(time.Second), 3, ErrClock},
		{"before the beginning of one that was killed", end.Add(time.Second), -1, ErrClock},
	} {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, nil, func(r *rig) {
				ctx := context.Background()
				run := func(began time.Time, code int) {
					id, err := r.st.BeginRun(ctx, store.Run{StartedAt: began, Version: "1", Config: []byte("c")})
					if err == nil && code >= 0 {
						err = r.st.EndRun(ctx, id, began.Add(time.Hour), code)
					}
					if err != nil {
						t.Fatal(err)
					}
				}
				if err := CheckClock(ctx, r.st, noon, refused); err != nil {
					t.Errorf("before the first run: %v", err)
				}
				run(noon, 0)
				if tt.code != 0 {
					run(noon.Add(2*time.Hour), tt.code)
				}
				if err := CheckClock(ctx, r.st, tt.now, refused); !errors.Is(err, tt.want) {
					t.Errorf("%v, want %v", err, tt.want)
				}
			})
		})
	}
}
