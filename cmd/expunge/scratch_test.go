package main

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/gofrs/flock"

	"expunge/batch/config"
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

// TestSweep: what is left of a recheck goes after a week, and not while it is under way; what is
// left of a dry run goes at once.
func TestSweep(t *testing.T) {
	cfg := &config.Config{Store: filepath.Join(t.TempDir(), "expunge.db")}
	left := func(path string, age time.Duration) bool {
		t.Helper()
		for _, end := range []string{"", "-wal"} {
			if err := os.WriteFile(path+end, nil, 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Chtimes(path+end, time.Time{}, time.Now().Add(-age)); err != nil {
				t.Fatal(err)
			}
		}
		if err := sweepScratch(cfg); err != nil {
			t.Fatal(err)
		}
		_, err := os.Stat(path)
		_, wal := os.Stat(path + "-wal")
		if (err == nil) != (wal == nil) {
			t.Errorf("half of %s is left", path)
		}
		return err == nil
	}
	if left(scratchPath(cfg), 0) {
		t.Error("a dry run's is left")
	}
	if !left(recheckPath(cfg), recheckAge-time.Hour) {
		t.Error("a recheck that may go on is gone")
	}
	lock := flock.New(recheckPath(cfg) + ".lock")
	if ok, err := lock.TryLock(); !ok || err != nil {
		t.Fatal(ok, err)
	}
	if !left(recheckPath(cfg), recheckAge+time.Hour) {
		t.Error("a recheck that is under way is gone")
	}
	if err := lock.Unlock(); err != nil {
		t.Fatal(err)
	}
	if left(recheckPath(cfg), recheckAge+time.Hour) {
		t.Error("a recheck of long ago is left")
	}
}
