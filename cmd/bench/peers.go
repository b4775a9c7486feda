package main

import (
	_ "embed"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

//go:embed peer.py
var peerScript []byte

// cost is what a program takes for the persons that it was given.
type cost struct {
	took, cpu time.Duration
	written   int64 // bytes to the file system, as the kernel counts them
	calls     int64
}

func costOf(state *os.ProcessState, took time.Duration, calls int64) cost {
	c := cost{took: took, calls: calls}
	if u, ok := state.SysUsage().(*syscall.Rusage); ok {
		c.cpu, c.written = time.Duration(u.Utime.Nano()+u.Stime.Nano()), u.Oublock*512
	}
	return c
}

// per1000 is a cost as a line of the table has it.
func per1000(all []cost, people int) string {
	of := func(get func(c cost) float64) float64 {
		var s series
		for _, c := range all {
			s = append(s, get(c)*1000/float64(people))
		}
		return s.median()
	}
	return fmt.Sprintf("%.2f s, %.0f kB, %.0f calls", of(func(c cost) float64 { return c.cpu.Seconds() }), of(func(c cost) float64 { return float64(c.written) / 1024 }),
		of(func(c cost) float64 { return float64(c.calls) }))
}

// measurePeers compares the program with the scripts that people write instead: a thread pool of eight
// with requests, which commits each outcome to SQLite, or appends it to a CSV.
func measurePeers(w *world, t *table) error {
	const people = 4000
	const figure = "people/s over Python: requests, 8 threads"
	if why := have("python3"); why != "" {
		t.missing(figure, why)
		return nil
	}
	if out, err := exec.CommandContext(w.ctx, "python3", "-c", "import requests").CombinedOutput(); err != nil {
		t.missing(figure, "python3 has no requests: "+tail(string(out)))
		return nil
	}
	file, err := w.people("people.csv", people)
	if err != nil {
		return err
	}
	script := w.path("peer.py")
	if err := os.WriteFile(script, peerScript, 0o600); err != nil {
		return err
	}
	kinds := []string{"sqlite3, a commit each", "csv alone"}
	var ours []cost
	theirs := make([][]cost, len(kinds))
	speed, own := make([]series, len(kinds)), series{}
	for range w.pairs {
		if err := w.reset(); err != nil {
			return err
		}
		s, err := w.newSite("peers", w.customergauge("1000000/s"))
		if err != nil {
			return err
		}
		began := time.Now()
		p, err := s.run(nil, "run", "--allow-large", file)
		if err != nil {
			return err
		}
		took := time.Since(began)
		seen, err := w.counts()
		if err != nil {
			return err
		}
		ours = append(ours, costOf(p.cmd.ProcessState, took, seen.Calls))
		own = append(own, people/took.Seconds())
		for i, kind := range kinds {
			if err := w.reset(); err != nil {
				return err
			}
			out := w.path("peer.out")
			for _, end := range []string{"", "-wal", "-shm"} {
				if err := removeAny(out + end); err != nil {
					return err
				}
			}
			cmd := exec.CommandContext(w.ctx, "python3", script, strings.TrimSuffix(strings.Fields(kind)[0], "3,"), w.url, file, out)
			cmd.Stdout, cmd.Stderr = io.Discard, os.Stderr
			began := time.Now()
			if err := cmd.Run(); err != nil {
				return fmt.Errorf("%s: %w", filepath.Base(script), err)
			}
			took := time.Since(began)
			seen, err := w.counts()
			if err != nil {
				return err
			}
			theirs[i] = append(theirs[i], costOf(cmd.ProcessState, took, seen.Calls))
			speed[i] = append(speed[i], people/took.Seconds())
		}
	}
	for i, kind := range kinds {
		ratio := own.over(speed[i])
		t.add("people/s over Python: requests, 8 threads, "+kind, fmt.Sprintf("%.0f/s", own.median()), fmt.Sprintf("%.0f/s", speed[i].median()),
			fmt.Sprintf("%.1f", ratio.median()), ">= 1", ratio.median() >= 1, ratio.spread())
		t.add("  processor, written, calls for 1,000 people", per1000(ours, people), per1000(theirs[i], people), "", "", true, "")
	}
	return w.reset()
}
