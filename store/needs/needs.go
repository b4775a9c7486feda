//go:build cgo && unix

// Package needs is what the store cannot be built without. Where something of it is missing, its
// other file says what, in the one sentence with which the build then ends.
package needs
