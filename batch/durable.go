package batch

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// WriteFile replaces the file at path with what fn writes: a reader sees the old content or
// the new one, never half, also after a power loss. The file gets mode 0600. A link or
// anything else that is not a regular file is refused, since it would lead the content
// elsewhere; so is writing over one of the files in never (inputs).
func WriteFile(path string, never []string, fn func(io.Writer) error) (err error) {
	st, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return err
	case !st.Mode().IsRegular():
		return fmt.Errorf("%s is not a regular file (links are not followed)", path)
	default:
		for _, other := range never {
			if o, err := os.Stat(other); err == nil && os.SameFile(st, o) {
				return fmt.Errorf("%s is the input: it is never written to", path)
			}
		}
	}
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, "."+filepath.Base(path)+".*") // mode 0600
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			f.Close()
			os.Remove(f.Name())
		}
	}()
	w := bufio.NewWriterSize(f, 1<<16)
	if err := fn(w); err != nil {
		return err
	}
	if err := errors.Join(w.Flush(), f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	d, err := os.Open(dir)
	if err != nil {
		return nil // renamed; a folder that cannot be opened cannot be synced
	}
	d.Sync()
	return d.Close()
}
