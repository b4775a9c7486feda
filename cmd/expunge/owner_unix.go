//go:build unix

package main

import (
	"io/fs"
	"os"
	"syscall"
)

// keepOwner gives a new file the owner and group of the one that it stands for: root may
// work for the user of the service, who must be able to read it. Tests replace it.
var keepOwner = func(f *os.File, like fs.FileInfo) error {
	st, err := f.Stat()
	if err != nil {
		return err
	}
	have, ok1 := st.Sys().(*syscall.Stat_t)
	want, ok2 := like.Sys().(*syscall.Stat_t)
	if !ok1 || !ok2 || have.Uid == want.Uid && have.Gid == want.Gid {
		return nil // a service that is not allowed to call chown need not
	}
	return f.Chown(int(want.Uid), int(want.Gid))
}
