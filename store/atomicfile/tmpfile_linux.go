package atomicfile

import (
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// openTmpfile opens a file without a name in the folder of path. Not every file system has
// them, and without /proc they could not be named.
func openTmpfile(path string) (*os.File, error) {
	fd, err := unix.Open(filepath.Dir(path), unix.O_TMPFILE|unix.O_RDWR|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Access(procName(fd), unix.F_OK); err != nil {
		unix.Close(fd)
		return nil, err
	}
	return os.NewFile(uintptr(fd), path), nil
}

// linkTmpfile gives it a name.
func linkTmpfile(f *os.File, path string) error {
	err := unix.Linkat(unix.AT_FDCWD, procName(int(f.Fd())), unix.AT_FDCWD, path, unix.AT_SYMLINK_FOLLOW)
	if err != nil {
		return &os.PathError{Op: "link", Path: path, Err: err}
	}
	return nil
}

func procName(fd int) string { return fmt.Sprintf("/proc/self/fd/%d", fd) }
