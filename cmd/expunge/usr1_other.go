//go:build !unix

package main

// listen does nothing: there is no SIGUSR1 here.
func listen(func()) (stop func()) { return func() {} }
