//go:build unix

package main

import "syscall"

// noCore keeps a crash from leaving the memory, with the people that are being worked on,
// in a core file, whatever GOTRACEBACK and the limits of the shell say. It is a matter of
// best effort: where the limit cannot be set, Go makes no core file by itself.
func noCore() {
	_ = syscall.Setrlimit(syscall.RLIMIT_CORE, &syscall.Rlimit{})
}
