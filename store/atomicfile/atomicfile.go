// Package atomicfile makes files that appear under their name whole, or not at all, and are
// on disk when they do. It opens files that are files, and nothing that could block.
//
// Where the system can (Linux, on most file systems), the content has no name at all until
// it is complete, so that a program that is killed leaves nothing of it. Elsewhere it is
// kept under a hidden name beside the target, which a killed program leaves behind.
package atomicfile

import (
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
)

// File is a file that is being written, of mode 0600. It ends with Replace, Link or Discard.
type File struct {
	*os.File
	path string
	temp string // its name until it has its own; "" while it has none
}

// openUnnamed is replaced by tests.
var openUnnamed = openTmpfile

// Create begins a file that is to be found at path.
func Create(path string) (*File, error) {
	if f, err := openUnnamed(path); err == nil {
		return &File{File: f, path: path}, nil
	}
	// Also where that failed for want of a folder or of space: this says so in the usual words.
	f, err := os.CreateTemp(filepath.Dir(path), prefix(path)+"*") // mode 0600
	if err != nil {
		return nil, err
	}
	return &File{f, path, f.Name()}, nil
}

// prefix is how the hidden names of a target begin; digits follow.
func prefix(path string) string { return "." + filepath.Base(path) + "." }

// Replace makes the content durable and puts it in the place of what is at the path.
func (f *File) Replace() error {
	err := f.Sync()
	for err == nil && f.temp == "" {
		// A link does not replace, but a rename does: it goes by a hidden name.
		temp := filepath.Join(filepath.Dir(f.path), prefix(f.path)+strconv.FormatUint(uint64(rand.Uint32()), 10))
		if err = linkTmpfile(f.File, temp); err == nil {
			f.temp = temp
		} else if errors.Is(err, fs.ErrExist) {
			err = nil // another number
		}
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.temp, f.path)
	}
	if err != nil {
		if f.temp != "" {
			os.Remove(f.temp)
		}
		return err
	}
	return SyncDir(filepath.Dir(f.path))
}

// Link makes the content durable and gives it its name, which must be free (fs.ErrExist).
func (f *File) Link() error {
	err := f.Sync()
	if err == nil && f.temp == "" {
		err = linkTmpfile(f.File, f.path)
	} else if err == nil {
		err = os.Link(f.temp, f.path)
	}
	f.Discard()
	if err != nil {
		return err
	}
	return SyncDir(filepath.Dir(f.path))
}

// Discard leaves nothing of what has not got its name.
func (f *File) Discard() {
	f.Close()
	if f.temp != "" {
		os.Remove(f.temp)
	}
}
