package main

import (
	"path/filepath"
	"testing"
	"time"

	"expunge/store"
	"expunge/store/seal"
	"expunge/vendors/transport"
)

// TestKeepPauses: what a vendor asked for in a dry run of a file holds for the next run, and
// nothing shorter takes its place.
func TestKeepPauses(t *testing.T) {
	key := seal.NewKey()
	st, err := store.Open(t.Context(), filepath.Join(t.TempDir(), "expunge.db"), store.Options{Key: func(bool) (seal.Key, error) { return key, nil }})
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	if _, err := st.SyncVendors(t.Context(), []store.VendorSpec{{Name: "asked", Kind: "x"}, {Name: "silent", Kind: "x"}}); err != nil {
		t.Fatal(err)
	}
	paused := func(name string) time.Time {
		known, err := st.Vendors(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return known[name].PausedUntil
	}
	until := time.Now().Add(2 * time.Hour).Truncate(time.Millisecond)
	for _, wait := range []time.Duration{0, -time.Hour} {
		s := &session{limiters: map[string]*transport.Limiter{"asked": transport.NewLimiter(transport.LimiterOptions{}), "silent": transport.NewLimiter(transport.LimiterOptions{})}}
		s.limiters["asked"].Pause(until.Add(wait))
		if err := s.keepPauses(t.Context(), st); err != nil {
			t.Fatal(err)
		}
		if got := paused("asked"); !got.Equal(until) {
			t.Errorf("paused until %v, want %v", got, until)
		}
		if got := paused("silent"); !got.IsZero() {
			t.Errorf("paused until %v", got)
		}
	}
}
