package batch

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"expunge/store/atomicfile"
)

// WriteFile replaces the file at path with what fn writes: a reader sees the old content or
// the new one, never half, also after a power loss. The file gets mode 0600. A link or
// anything else that is not a regular file is refused, since it would lead the content
// elsewhere; so is writing over one of the files in never (inputs).
func WriteFile(path string, never []string, fn func(io.Writer) error) error {
	f, err := createFile(path, never)
	if err != nil {
		return err
	}
	if err := fn(f); err != nil {
		f.discard()
		return err
	}
	return f.commit()
}

// newFile is the content of a file that is not there yet: it gets its name with commit.
type newFile struct {
	*bufio.Writer
	file *atomicfile.File // nil when it is over
	path string
}

func createFile(path string, never []string) (*newFile, error) {
	if err := checkTarget(path, never); err != nil {
		return nil, err
	}
	removeLeftovers(path)
	f, err := atomicfile.Create(path) // mode 0600
	if err != nil {
		return nil, err
	}
	return &newFile{bufio.NewWriterSize(f, 1<<16), f, path}, nil
}

// checkTarget returns why a file must not be written at path.
func checkTarget(path string, never []string) error {
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
	return nil
}

// leftoverAge is how old a temporary file must be to be nobody's any more.
const leftoverAge = time.Hour

// removeLeftovers removes what killed programs left of this file, where it could not be
// written without a name: rejects are people's rows in clear, and nobody else would ever
// remove them.
func removeLeftovers(path string) {
	prefix := atomicfile.Prefix(path)
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil {
		return // then there is nothing to be written here either
	}
	for _, e := range entries {
		random, ok := strings.CutPrefix(e.Name(), prefix)
		if !ok || random == "" || strings.Trim(random, "0123456789") != "" || !e.Type().IsRegular() {
			continue
		}
		if st, err := e.Info(); err == nil && time.Since(st.ModTime()) > leftoverAge {
			os.Remove(filepath.Join(filepath.Dir(path), e.Name())) // if it fails, the next one tries again
		}
	}
}

// discard leaves nothing of the new content. It does nothing after commit.
func (n *newFile) discard() {
	if n.file != nil {
		n.file.Discard()
		n.file = nil
	}
}

func (n *newFile) commit() error {
	if err := n.Flush(); err != nil {
		n.discard()
		return err
	}
	err := n.file.Replace()
	n.file = nil
	if err != nil {
		return err
	}
	d, err := os.Open(filepath.Dir(n.path))
	if err != nil {
		return nil // renamed; a folder that cannot be opened cannot be synced
	}
	d.Sync()
	return d.Close()
}
