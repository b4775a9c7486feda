package atomicfile

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// WriteFile replaces the file at path with what fn writes: a reader sees the old content or
// the new one, never half, also after a power loss. The file gets mode 0600. What
// CheckTarget refuses is not written to.
func WriteFile(path string, never []string, fn func(io.Writer) error) error {
	f, err := Begin(path, never)
	if err != nil {
		return err
	}
	w := bufio.NewWriterSize(f, 1<<16)
	if err := errors.Join(fn(w), w.Flush()); err != nil {
		f.Discard()
		return err
	}
	return f.Replace()
}

// Begin is Create for a file that replaces another: it refuses what CheckTarget refuses, and
// removes what killed programs left beside the path.
func Begin(path string, never []string) (*File, error) {
	if err := CheckTarget(path, never...); err != nil {
		return nil, err
	}
	for _, left := range Leftovers(path) {
		if st, err := os.Lstat(left); err == nil && time.Since(st.ModTime()) > leftoverAge {
			os.Remove(left) // if it fails, the next one tries again
		}
	}
	return Create(path)
}

// ErrNotRegular: at the path is something else than a file, such as a folder or a pipe.
var ErrNotRegular = errors.New("is not a regular file")

// CheckTarget returns why nothing may be written at path: a link or a device is there, which
// would lead the content elsewhere, or one of the files in never (the inputs).
func CheckTarget(path string, never ...string) error {
	st, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case !st.Mode().IsRegular():
		return fmt.Errorf("%s %w (links are not followed)", path, ErrNotRegular)
	}
	for _, other := range never {
		if o, err := os.Stat(other); err == nil && os.SameFile(st, o) {
			return fmt.Errorf("%s is the input: it is never written to", path)
		}
	}
	return nil
}

// OpenRegular opens a file for reading. Anything else at the path, a pipe or a device, is
// ErrNotRegular: it could block for ever. Links are followed: secrets are often behind one.
func OpenRegular(path string) (*os.File, fs.FileInfo, error) {
	st, err := os.Stat(path) // before it is opened: to open a pipe waits for who writes to it
	if err != nil {
		return nil, nil, err
	}
	if !st.Mode().IsRegular() {
		return nil, nil, fmt.Errorf("%s %w", path, ErrNotRegular)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, nil, err
	}
	if st, err = f.Stat(); err != nil {
		f.Close()
		return nil, nil, err
	}
	return f, st, nil
}

// SyncDir makes the names in a folder durable, as far as its file system can.
func SyncDir(dir string) error {
	d, err := os.Open(dir)
	if errors.Is(err, fs.ErrPermission) {
		return nil // files may be made in it, but it cannot be opened, so it cannot be synced
	}
	if err != nil {
		return err
	}
	err = d.Sync()
	if errors.Is(err, syscall.EINVAL) || errors.Is(err, errors.ErrUnsupported) {
		err = nil // a file system without it
	}
	return errors.Join(err, d.Close())
}

// leftoverAge is how old a temporary file must be to be nobody's any more.
const leftoverAge = time.Hour

// Leftovers lists the hidden files that programs which were killed have left of the file at
// path, where it could not be written without a name, and those that are being written.
// They may hold people's rows in clear, and nobody else would ever remove them.
func Leftovers(path string) (left []string) {
	prefix := prefix(path)
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil {
		return nil // then there is nothing to be written here either
	}
	for _, e := range entries {
		random, ok := strings.CutPrefix(e.Name(), prefix)
		if ok && random != "" && strings.Trim(random, "0123456789") == "" && e.Type().IsRegular() {
			left = append(left, filepath.Join(filepath.Dir(path), e.Name()))
		}
	}
	return left
}
