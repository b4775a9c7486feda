package main

import (
	"fmt"
	"os"
	"path/filepath"

	"expunge/batch/config"
)

// target is a file to be written: what names it, and its path.
type target struct{ name, path string }

// guard refuses to write over what the program lives from: its config, store and key, and
// the input. A slip of the hand in --report would otherwise replace the key of the store.
// Nor do two targets name one file: the last one written would be all that is left.
func guard(cfg *config.Config, input string, targets ...target) error {
	keep := map[string]string{cfg.Path: "the config", input: "the input", cfg.KeyFile: "the key", cfg.KeyFile + ".old": "a key", cfg.KeyFile + ".new": "a key"}
	for _, end := range storeEnds {
		keep[cfg.Store+end], keep[scratchPath(cfg)+end], keep[recheckPath(cfg)+end] = "the store", "the store of a dry run", "the store of a recheck"
	}
	if cfg.KeyFile == "" {
		delete(keep, ".old")
		delete(keep, ".new")
	}
	for i, t := range targets {
		if t.path == "" || t.path == "-" {
			continue
		}
		for path, what := range keep {
			if path != "" && path != "-" && sameFile(t.path, path) {
				return usage(fmt.Errorf("%s: %s is %s: it is never written over", t.name, t.path, what), "name another file")
			}
		}
		for _, other := range targets[:i] {
			if other.path != "" && other.path != "-" && sameFile(t.path, other.path) {
				return usage(fmt.Errorf("%s: names the same file as %s", t.name, other.name), "name another file")
			}
		}
	}
	return nil
}

// sameFile reports whether two paths lead to one file, or would.
func sameFile(a, b string) bool {
	x, errX := os.Stat(a)
	y, errY := os.Stat(b)
	if errX == nil && errY == nil {
		return os.SameFile(x, y)
	}
	p, errP := filepath.Abs(a)
	q, errQ := filepath.Abs(b)
	switch {
	case errP != nil || errQ != nil:
		return false
	case p == q:
		return true
	case filepath.Base(p) != filepath.Base(q):
		return false
	}
	x, errX = os.Stat(filepath.Dir(p)) // the folder may go by two names
	y, errY = os.Stat(filepath.Dir(q))
	return errX == nil && errY == nil && os.SameFile(x, y)
}
