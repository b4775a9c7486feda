package store

import (
	"bufio"
	"cmp"
	"container/heap"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
)

// sortRun is how many pairs are sorted in memory before they go to the temporary file.
const sortRun = 1 << 17

// sorter groups tasks by digest in bounded memory: sorted runs in one temporary file, which
// has no name from the start and so cannot be left behind, then a merge. It holds keyed
// digests and task ids, nothing of a person.
type sorter struct {
	dir  string
	buf  []pair
	file *os.File
	runs []int64 // length of each run in the file, in pairs
}

type pair struct{ digest, task int64 }

func comparePairs(a, b pair) int {
	if a.digest != b.digest {
		return cmp.Compare(a.digest, b.digest)
	}
	return cmp.Compare(a.task, b.task)
}

func newSorter(storePath string) *sorter { return &sorter{dir: filepath.Dir(storePath)} }

func (s *sorter) add(digest, task int64) error {
	if s.buf == nil {
		s.buf = make([]pair, 0, sortRun)
	}
	s.buf = append(s.buf, pair{digest, task})
	if len(s.buf) < sortRun {
		return nil
	}
	return s.spill()
}

func (s *sorter) spill() error {
	if s.file == nil {
		f, err := os.CreateTemp(s.dir, ".expunge-sort-*")
		if err != nil {
			return err
		}
		if err := os.Remove(f.Name()); err != nil {
			f.Close()
			return err
		}
		s.file = f
	}
	slices.SortFunc(s.buf, comparePairs)
	w := bufio.NewWriterSize(s.file, 1<<16)
	var b [16]byte
	for _, p := range s.buf {
		binary.LittleEndian.PutUint64(b[:8], uint64(p.digest))
		binary.LittleEndian.PutUint64(b[8:], uint64(p.task))
		w.Write(b[:])
	}
	s.runs = append(s.runs, int64(len(s.buf)))
	s.buf = s.buf[:0]
	return w.Flush()
}

// groups calls fn with the tasks of every digest that more than one task has, in the
// order of their ids.
func (s *sorter) groups(fn func(tasks []int64) error) error {
	slices.SortFunc(s.buf, comparePairs)
	h := runHeap{}
	if len(s.buf) > 0 {
		rest := s.buf
		h = append(h, &run{next: func() (pair, error) {
			if len(rest) == 0 {
				return pair{}, io.EOF
			}
			p := rest[0]
			rest = rest[1:]
			return p, nil
		}})
	}
	offset := int64(0)
	for _, n := range s.runs {
		r := bufio.NewReaderSize(io.NewSectionReader(s.file, offset, n*16), 1<<14)
		offset += n * 16
		h = append(h, &run{next: func() (pair, error) {
			var b [16]byte
			if _, err := io.ReadFull(r, b[:]); err != nil {
				return pair{}, err
			}
			return pair{int64(binary.LittleEndian.Uint64(b[:8])), int64(binary.LittleEndian.Uint64(b[8:]))}, nil
		}})
	}
	for _, r := range h {
		var err error
		if r.head, err = r.next(); err != nil {
			return err
		}
	}
	heap.Init(&h)
	var digest int64
	var tasks []int64
	emit := func() error {
		if len(tasks) < 2 {
			return nil
		}
		return fn(tasks)
	}
	for len(h) > 0 {
		p := h[0].head
		if len(tasks) == 0 || p.digest != digest {
			if err := emit(); err != nil {
				return err
			}
			digest, tasks = p.digest, tasks[:0]
		}
		tasks = append(tasks, p.task)
		var err error
		switch h[0].head, err = h[0].next(); {
		case errors.Is(err, io.EOF):
			heap.Pop(&h)
		case err != nil:
			return err
		default:
			heap.Fix(&h, 0)
		}
	}
	return emit()
}

func (s *sorter) close() {
	if s.file != nil {
		s.file.Close()
		s.file = nil
	}
	s.buf = nil
}

type run struct {
	head pair
	next func() (pair, error)
}

type runHeap []*run

func (h runHeap) Len() int           { return len(h) }
func (h runHeap) Less(i, j int) bool { return comparePairs(h[i].head, h[j].head) < 0 }
func (h runHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *runHeap) Push(x any)        { *h = append(*h, x.(*run)) }
func (h *runHeap) Pop() any {
	old := *h
	x := old[len(old)-1]
	*h = old[:len(old)-1]
	return x
}
