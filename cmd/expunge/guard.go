package main

import (
	"fmt"
	"os"
	"path/filepath"

	"expunge/batch/config"
)

// guard refuses to write over what the program lives from: its config, store and key, and
// the input. A slip of the hand in --report would otherwise replace the key of the store.
func guard(cfg *config.Config, input string, targets map[string]string) error {
	keep := map[string]string{cfg.Path: "the config", input: "the input", cfg.KeyFile: "the key", cfg.KeyFile + ".old": "a key", cfg.KeyFile + ".new": "a key"}
	for _, end := range []string{"", "-wal", "-shm", "-journal", ".lock"} {
		keep[cfg.Store+end] = "the store"
	}
	if cfg.KeyFile == "" {
		delete(keep, ".old")
		delete(keep, ".new")
	}
	for flag, target := range targets {
		if target == "" || target == "-" {
			continue
		}
		for path, what := range keep {
			if path != "" && path != "-" && sameFile(target, path) {
				return usage(fmt.Errorf("%s: %s is %s: it is never written over", flag, target, what), "name another file")
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
	return errP == nil && errQ == nil && p == q
}
