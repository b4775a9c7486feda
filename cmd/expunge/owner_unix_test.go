//go:build unix

package main

import (
	"io/fs"
	"os"
	"syscall"
	"testing"

	"expunge/store/seal"
)

// TestKeyRotateOwner: root changes the key of a service that runs as somebody else, and that
// can read all its key files afterwards. Who is not root keeps what is theirs.
func TestKeyRotateOwner(t *testing.T) {
	p := newPrivateSite(t, 3)
	p.takeIn(p.path("subjects.csv"))
	uid, gid := os.Getuid(), os.Getgid()
	if uid == 0 {
		uid, gid = 12345, 23456
	}
	if err := os.Chown(p.path("expunge.key"), uid, gid); err != nil {
		t.Fatal(err)
	}
	owned := func(name string) {
		t.Helper()
		st, err := os.Stat(p.path(name))
		if err != nil {
			t.Fatal(err)
		}
		if s := st.Sys().(*syscall.Stat_t); int(s.Uid) != uid || int(s.Gid) != gid || st.Mode() != 0o600 {
			t.Errorf("%s: owner %d:%d, mode %v; want %d:%d", name, s.Uid, s.Gid, st.Mode(), uid, gid)
		}
	}
	defer func(was func(*os.File, fs.FileInfo) error) { keepOwner = was }(keepOwner)
	keep, begun := keepOwner, false
	keepOwner = func(f *os.File, like fs.FileInfo) error {
		if p.exists("expunge.key.old") { // the key file is about to be replaced: both are there
			begun = true
			owned("expunge.key.old")
			owned("expunge.key.new")
		}
		return keep(f, like)
	}
	old := p.read("expunge.key")
	p.must("key", "rotate")
	if !begun || p.read("expunge.key") == old {
		t.Error("the key was not changed by way of .old and .new")
	}
	owned("expunge.key")
}

// TestKeyRotateOwnerRefused: where the owner cannot be kept, nothing changes.
func TestKeyRotateOwnerRefused(t *testing.T) {
	p := newPrivateSite(t, 3)
	p.takeIn(p.path("subjects.csv"))
	defer func(was func(*os.File, fs.FileInfo) error) { keepOwner = was }(keepOwner)
	keepOwner = func(f *os.File, _ fs.FileInfo) error {
		return &fs.PathError{Op: "chown", Path: f.Name(), Err: syscall.EPERM}
	}
	// Both files are there: the next step would be the store's.
	p.write("expunge.key.new", seal.NewKey().Text())
	p.write("expunge.key.old", p.read("expunge.key"))
	before := p.snapshot()
	if code, out := p.run("key", "rotate"); code != exitUsage {
		t.Errorf("exit %d %s", code, out)
	}
	after := p.snapshot()
	for name, text := range before {
		if after[name] != text {
			t.Errorf("%s has changed", name)
		}
	}
	if len(after) != len(before) {
		t.Errorf("the folder holds %d files, it held %d", len(after), len(before))
	}
}
