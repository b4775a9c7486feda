//go:build unix

package main

import (
	"os"
	"os/signal"
	"syscall"
)

// listen calls fn for every SIGUSR1 until stop is called. Without it the signal would end
// the process.
func listen(fn func()) (stop func()) {
	ch, done := make(chan os.Signal, 1), make(chan struct{})
	signal.Notify(ch, syscall.SIGUSR1)
	go func() {
		for {
			select {
			case <-ch:
				fn()
			case <-done:
				return
			}
		}
	}()
	return func() {
		signal.Stop(ch)
		close(done)
	}
}
