package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/gofrs/flock"

	"expunge/batch"
	"expunge/batch/config"
	"expunge/store"
	"expunge/store/seal"
)

// A dry run of a file takes nothing in: it works on a scratch store beside the real one, under
// a key that is nowhere but in memory, and removes it at its end. The real store is held
// meanwhile, for its lock, its daily limits and the pauses that vendors asked for. What a kill
// leaves of a scratch store, the next command removes.

// scratchPath is where the scratch store is.
func scratchPath(cfg *config.Config) string { return cfg.Store + ".scratch" }

// storeEnds are the ends of the names of a store's files.
var storeEnds = []string{"", "-wal", "-shm", "-journal", ".lock"}

// openScratch makes a scratch store, and what closes and removes it.
func openScratch(ctx context.Context, path string) (*store.Store, func() error, error) {
	key := seal.NewKey()
	st, err := store.Open(ctx, path, store.Options{
		Key: func(bool) (seal.Key, error) { return key, nil }, Now: time.Now, Forget: batch.Forget,
	})
	if err != nil {
		return nil, nil, fmt.Errorf("scratch store: %w", err)
	}
	return st, func() error { return errors.Join(st.Close(), removeScratch(path)) }, nil
}

func removeScratch(path string) error {
	var errs []error
	for _, end := range storeEnds {
		if err := os.Remove(path + end); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// sweepScratch removes the scratch store of a dry run that was killed, and that of a recheck
// with which nobody has gone on for too long. Those of one under way are locked.
func sweepScratch(cfg *config.Config) error {
	return errors.Join(sweep(scratchPath(cfg), 0), sweep(recheckPath(cfg), recheckAge))
}

// sweep removes a scratch store that was not written to for so long.
func sweep(path string, age time.Duration) error {
	var written time.Time
	for _, end := range []string{"", "-wal"} {
		if st, err := os.Lstat(path + end); err == nil && st.ModTime().After(written) {
			written = st.ModTime()
		}
	}
	if written.IsZero() || age > 0 && time.Since(written) < age {
		return nil
	}
	lock := flock.New(path+".lock", flock.SetPermissions(0o600))
	if ok, err := lock.TryLock(); err != nil || !ok {
		return err
	}
	return errors.Join(removeScratch(path), lock.Unlock())
}

// workOn makes the session work on the scratch store instead of its own. The limits stay
// with its own, whose pauses hold already.
func (s *session) workOn(ctx context.Context, scratch *store.Store) error {
	s.store, s.tasks.Store = scratch, scratch
	return s.tasks.Prepare(ctx)
}

// keepPauses records in the real store until when the vendors asked to be left alone in a dry
// run of a file: it holds for the next run too.
func (s *session) keepPauses(ctx context.Context, real *store.Store) error {
	known, err := real.Vendors(ctx)
	if err != nil {
		return err
	}
	var errs []error
	for name, l := range s.limiters {
		if until := l.AskedUntil(); until.After(known[name].PausedUntil) && until.After(time.Now()) {
			errs = append(errs, real.PauseVendor(ctx, known[name].ID, until))
		}
	}
	return errors.Join(errs...)
}

// dryReport is where the report of a dry run of a file goes if nobody says: to the report's
// place as long as there is nothing else to report, else beside it.
func dryReport(ctx context.Context, real *store.Store, report string) (string, error) {
	all, err := real.Batches(ctx)
	if err != nil || len(all) == 0 || report == "-" {
		return report, err
	}
	ext := filepath.Ext(report)
	return strings.TrimSuffix(report, ext) + ".dry-run" + ext, nil
}
