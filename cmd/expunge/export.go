package main

import (
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"

	"expunge/batch"
	"expunge/store"
)

// exportWarning is how long before the vendor drops a result a run says that it has to be
// fetched.
const exportWarning = 2 * 24 * time.Hour

const exportDirHint = "name another folder with `export_dir:`, or mend this one"

// tellExports shows where a batch's exports stand, and reports whether any failed.
func (a *app) tellExports(t batch.Totals, now time.Time) (failed bool) {
	for _, vendor := range slices.Sorted(maps.Keys(t.Exports)) {
		x := t.Exports[vendor]
		a.note(slog.LevelInfo, "", "batch %d: exports of %s: %s", t.Batch.ID, vendor, x)
		if n := x.States[store.ExportFailed.String()]; n > 0 {
			failed = true
			a.note(slog.LevelWarn, "the report says which, and why", "batch %d: %d exports of %s failed (%s)", t.Batch.ID, n, vendor,
				strings.Join(slices.Sorted(maps.Keys(x.Failed)), ", "))
		}
		if x.FetchBy != nil && x.FetchBy.Sub(now) < exportWarning {
			a.note(slog.LevelWarn, "run again before then", "batch %d: exports of %s can be fetched until %s only", t.Batch.ID, vendor,
				x.FetchBy.UTC().Format(time.RFC3339))
		}
	}
	return failed
}

// printExports writes a line for each vendor that has exports.
func printExports(b *strings.Builder, st *batch.Status) {
	for _, v := range st.Vendors {
		if v.Exports != nil {
			fmt.Fprintf(b, "%s: exports: %s\n", v.Vendor, v.Exports)
		}
	}
}

// checkExports tries the places where exports are to be kept.
func checkExports(accounts []*batch.Account, f *findings) {
	for _, a := range accounts {
		switch dir, on, err := a.CheckExports(); {
		case !on:
		case err != nil:
			f.fail(exportDirHint, "vendor %s: exports cannot be kept: %v", a.Name, err)
		default:
			f.ok("vendor %s: exports can be kept in %s", a.Name, fullPath(dir))
		}
	}
}
