package main

import (
	"errors"
	"os"
	"runtime"
	"runtime/pprof"

	"github.com/spf13/cobra"
)

// profiles are for whoever wants to see where time and memory go. Their flags are hidden:
// a profile holds no values, but it is nothing that an operator needs.
type profiles struct {
	cpu, mem string
	file     *os.File // of the CPU profile under way
}

func (p *profiles) flags(root *cobra.Command) {
	f := root.PersistentFlags()
	f.StringVar(&p.cpu, "cpuprofile", "", "write a CPU profile to `FILE`")
	f.StringVar(&p.mem, "memprofile", "", "write a heap profile to `FILE` at the end")
	for _, name := range []string{"cpuprofile", "memprofile"} {
		if err := f.MarkHidden(name); err != nil {
			panic(err) // the flag was defined a line above
		}
	}
}

func (p *profiles) start() (err error) {
	if p.cpu == "" {
		return nil
	}
	if p.file, err = os.OpenFile(p.cpu, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600); err != nil {
		return usage(err, "name a file that can be written")
	}
	return pprof.StartCPUProfile(p.file)
}

func (p *profiles) stop() error {
	var errs []error
	if p.file != nil {
		pprof.StopCPUProfile()
		errs = append(errs, p.file.Close())
	}
	if p.mem != "" {
		f, err := os.OpenFile(p.mem, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
		if err != nil {
			return errors.Join(append(errs, err)...)
		}
		runtime.GC() // the profile is of what was alive at the last collection
		errs = append(errs, pprof.WriteHeapProfile(f), f.Close())
	}
	return errors.Join(errs...)
}
