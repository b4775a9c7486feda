package vendortest

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
)

// Try runs the suite outside go test and returns what failed, a line each.
func Try(ctx context.Context, c Case) []string {
	t := &trial{ctx: ctx, failures: new([]string), mu: new(sync.Mutex)}
	t.within(func() { c.run(t) })
	return *t.failures
}

// trial is a T of no go test. What it does not have of testing.TB the suite does not use.
type trial struct {
	testing.TB
	ctx      context.Context
	name     string
	mu       *sync.Mutex
	failures *[]string
	cleanups []func()
}

// within runs f, which may end itself by Fatal, and then the cleanups, the last one first.
func (t *trial) within(f func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() {
			for i := len(t.cleanups) - 1; i >= 0; i-- {
				t.cleanups[i]()
			}
		}()
		f()
	}()
	<-done
}

func (t *trial) Run(name string, f func(t T)) {
	ctx, cancel := context.WithCancel(t.ctx)
	defer cancel()
	sub := &trial{ctx: ctx, name: strings.TrimPrefix(t.name+": "+name, ": "), mu: t.mu, failures: t.failures}
	sub.within(func() { f(sub) })
}

func (t *trial) Helper()                  {}
func (t *trial) Name() string             { return t.name }
func (t *trial) Context() context.Context { return t.ctx }
func (t *trial) Cleanup(f func())         { t.cleanups = append(t.cleanups, f) }

func (t *trial) Error(args ...any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	*t.failures = append(*t.failures, t.name+": "+strings.TrimSuffix(fmt.Sprintln(args...), "\n"))
}

func (t *trial) Errorf(format string, args ...any) { t.Error(fmt.Sprintf(format, args...)) }

func (t *trial) Fatal(args ...any) {
	t.Error(args...)
	runtime.Goexit()
}

func (t *trial) Fatalf(format string, args ...any) { t.Fatal(fmt.Sprintf(format, args...)) }
