// Command bench prints the figures of speed and memory that expunge promises, in one
// table: figure, baseline, ratio, goal, spread.
//
// Every figure is one of the real program (bin/expunge), with sealing, verification and
// FULL sync on; what it is compared with runs in the same call, in turns (A B A B), because
// absolute figures of a shared machine mean little. Given are medians and the range.
//
// The vendors' side is a small server in a process of its own (server.go), not vendorsim:
// it is to cost as little as a server can. Everything is on loopback and in a temporary
// folder, which is removed.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"runtime"
	"time"
)

func main() { os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) }

// options say how much is measured.
type options struct {
	full    bool
	pairs   int
	expunge string
	temp    string
}

func run(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if len(args) > 0 {
		if part, ok := parts[args[0]]; ok { // a child of ours, see world.self
			if err := part(ctx, args[1:], stdin, stdout); err != nil {
				fmt.Fprintln(stderr, "bench", args[0]+":", err)
				return 1
			}
			return 0
		}
	}
	var o options
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	f.SetOutput(stderr)
	f.BoolVar(&o.full, "full", false, "at the size of the goals: ten million rows; takes about an hour and a half, and 25 GB")
	f.IntVar(&o.pairs, "pairs", 5, "how often each figure and its baseline are measured, in turns")
	f.StringVar(&o.expunge, "expunge", "bin/expunge", "the program")
	f.StringVar(&o.temp, "dir", "", "where the stores are made (default: the system's temporary folder); a RAM disk shows nothing")
	only := f.String("only", "", "only the figures whose group matches this `expression`: "+groupNames())
	if err := f.Parse(args); err != nil {
		return 2
	}
	want, err := regexp.Compile(*only)
	if err == nil && (f.NArg() > 0 || o.pairs < 1) {
		err = errors.New("takes no arguments, and at least one pair")
	}
	if err == nil {
		o.expunge, err = exec.LookPath(o.expunge)
	}
	if err == nil {
		o.expunge, err = filepath.Abs(o.expunge)
	}
	if err != nil {
		fmt.Fprintln(stderr, "bench:", err)
		return 2
	}
	began := time.Now()
	t := &table{}
	for _, g := range groups {
		if !want.MatchString(g.name) {
			continue
		}
		if err := inWorld(ctx, o, stderr, g, t); err != nil {
			fmt.Fprintf(stderr, "bench: %s: %v\n", g.name, err)
			return 1
		}
	}
	fmt.Fprintf(stdout, "%s %s/%s, %d processors, load %s, %d pairs\n\n", runtime.Version(), runtime.GOOS, runtime.GOARCH,
		runtime.NumCPU(), load(), o.pairs)
	t.print(stdout)
	fmt.Fprintf(stdout, "\ntook %s\n", time.Since(began).Round(time.Second))
	return 0
}

// groups are the figures, in the order of the table.
var groups = []group{
	{"calls", measureCalls},
	{"peers", measurePeers},
	{"pace", measurePace},
	{"cpu", measureCPU},
	{"intake", measureIntake},
	{"report", measureReport},
	{"memory", measureMemory},
	{"resume", measureResume},
	{"nightly", measureNightly},
	{"bytes", measureBytes},
	{"events", measureEvents},
	{"history-certificate", measureHistory},
}

type group struct {
	name string
	fn   func(*world, *table) error
}

func groupNames() string {
	s := ""
	for _, g := range groups {
		s += " " + g.name
	}
	return s[1:]
}

// parts are what this program does as a child of itself.
var parts = map[string]func(ctx context.Context, args []string, stdin io.Reader, stdout io.Writer) error{
	"serve": serve,
	"bare":  bare,
	"spin":  spin,
	"write": write,
}

// inWorld runs fn with a folder and a server of its own.
func inWorld(ctx context.Context, o options, stderr io.Writer, g group, t *table) (err error) {
	dir, err := os.MkdirTemp(o.temp, "expunge-bench-*")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	w := &world{ctx: ctx, options: o, dir: dir, log: stderr, began: time.Now()}
	defer w.stop()
	if err := w.startServer(); err != nil {
		return err
	}
	w.note("%s ...", g.name)
	return g.fn(w, t)
}
