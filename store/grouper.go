package store

import (
	"cmp"
	"encoding/binary"
	"io"
	"os"
	"path/filepath"
	"slices"
)

const (
	bucketBits = 8
	// seenBits is the size of the filter of digests: a mebibyte.
	seenBits = 23
	// bucketRoom is how many pairs of a bucket are kept in memory before they go to the
	// temporary file together.
	bucketRoom = 512
	pairSize   = 16
)

// grouper finds the tasks that share a digest in bounded memory: pairs go into buckets by
// the first bits of their digest, the buckets into one temporary file, which has no name
// from the start and so cannot be left behind, and each bucket is looked through by itself
// in the end. It holds digests and task ids, nothing of a person.
type grouper struct {
	dir     string
	buckets [1 << bucketBits]bucket
	seen    []uint64 // a bit for some bits of every digest that was added: see maybe
	file    *os.File
	end     int64 // where the file ends
	buf     []byte
}

type bucket struct {
	pairs []pair  // not yet in the file
	parts []int64 // where its full parts begin in the file
}

type pair struct{ digest, task int64 }

func newGrouper(storePath string) *grouper {
	return &grouper{dir: filepath.Dir(storePath), seen: make([]uint64, 1<<seenBits/64)}
}

// maybe reports whether a task with this digest may have been added. It is surely right when
// it says no: of the tasks of a large backlog hardly any need be added beside those of a small
// file.
func (g *grouper) maybe(digest int64) bool {
	bit := uint64(digest) & (1<<seenBits - 1)
	return g.seen[bit/64]&(1<<(bit%64)) != 0
}

func (g *grouper) add(digest, task int64) error {
	bit := uint64(digest) & (1<<seenBits - 1)
	g.seen[bit/64] |= 1 << (bit % 64)
	b := &g.buckets[uint64(digest)>>(64-bucketBits)]
	if b.pairs == nil {
		b.pairs = make([]pair, 0, bucketRoom)
	}
	b.pairs = append(b.pairs, pair{digest, task})
	if len(b.pairs) < bucketRoom {
		return nil
	}
	return g.spill(b)
}

func (g *grouper) spill(b *bucket) error {
	if g.file == nil {
		f, err := os.CreateTemp(g.dir, ".expunge-group-*")
		if err != nil {
			return err
		}
		if err := os.Remove(f.Name()); err != nil {
			f.Close()
			return err
		}
		g.file = f
	}
	g.buf = g.buf[:0]
	for _, p := range b.pairs {
		g.buf = binary.LittleEndian.AppendUint64(g.buf, uint64(p.digest))
		g.buf = binary.LittleEndian.AppendUint64(g.buf, uint64(p.task))
	}
	if _, err := g.file.WriteAt(g.buf, g.end); err != nil {
		return err
	}
	b.parts, b.pairs = append(b.parts, g.end), b.pairs[:0]
	g.end += int64(len(g.buf))
	return nil
}

// groups calls fn with the tasks of every digest that more than one task has, in the order
// of their ids.
func (g *grouper) groups(fn func(tasks []int64) error) error {
	var pairs, shared []pair
	var slots []int32
	var tasks []int64
	for i := range g.buckets {
		b := &g.buckets[i]
		pairs = append(pairs[:0], b.pairs...)
		for _, from := range b.parts {
			g.buf = slices.Grow(g.buf[:0], bucketRoom*pairSize)[:bucketRoom*pairSize]
			if _, err := g.file.ReadAt(g.buf, from); err != nil {
				if err == io.EOF {
					err = io.ErrUnexpectedEOF
				}
				return err
			}
			for p := g.buf; len(p) > 0; p = p[pairSize:] {
				pairs = append(pairs, pair{int64(binary.LittleEndian.Uint64(p)), int64(binary.LittleEndian.Uint64(p[8:]))})
			}
		}
		shared, slots = sharing(pairs, shared[:0], slots)
		slices.SortFunc(shared, func(a, b pair) int {
			return cmp.Or(cmp.Compare(a.digest, b.digest), cmp.Compare(a.task, b.task))
		})
		for len(shared) > 0 {
			tasks = tasks[:0]
			digest := shared[0].digest
			for len(shared) > 0 && shared[0].digest == digest {
				tasks, shared = append(tasks, shared[0].task), shared[1:]
			}
			if err := fn(tasks); err != nil {
				return err
			}
		}
	}
	return nil
}

// sharing appends to shared the pairs whose digest another one has too. slots is room from
// an earlier call: a hash table of places in pairs, counted from 1, negative where the pair
// is in shared already.
func sharing(pairs, shared []pair, slots []int32) ([]pair, []int32) {
	size := 1
	for size < 2*len(pairs) {
		size *= 2
	}
	slots = slices.Grow(slots[:0], size)[:size]
	clear(slots)
	for i, p := range pairs {
		at := int(uint64(p.digest)) & (size - 1)
		for {
			first := slots[at]
			if first == 0 {
				slots[at] = int32(i + 1)
				break
			}
			if q := pairs[max(first, -first)-1]; q.digest == p.digest {
				if first > 0 {
					shared = append(shared, q)
					slots[at] = -first
				}
				shared = append(shared, p)
				break
			}
			at = (at + 1) & (size - 1)
		}
	}
	return shared, slots
}

func (g *grouper) close() {
	if g.file != nil {
		g.file.Close()
		g.file = nil
	}
	g.buckets = [1 << bucketBits]bucket{}
}
