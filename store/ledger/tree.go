package ledger

import (
	"fmt"

	"golang.org/x/mod/sumdb/tlog"
)

// tileHeight is that of the tiles in which hashes are kept: a tile has up to 1,024 hashes, which
// are those of one level of the tree, of every tenth. It is no part of what others see.
// In the store a tile of 256 hashes, as logs on the web have them, would leave half of a page unused.
const tileHeight = 10

// TileWidth is how many hashes a tile has when it is full.
const TileWidth = 1 << tileHeight

// TileReader returns the hashes of a tile, as many as there are: tile n of a level.
type TileReader func(level int, n int64) ([]byte, error)

// ReadHashes implements tlog.HashReader.
func (read TileReader) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	type place struct {
		level int
		n     int64
	}
	tiles := map[place][]byte{}
	hashes := make([]tlog.Hash, len(indexes))
	for i, index := range indexes {
		t := tlog.TileForIndex(tileHeight, index)
		p := place{t.L, t.N}
		data, ok := tiles[p]
		if !ok {
			var err error
			if data, err = read(t.L, t.N); err != nil {
				return nil, err
			}
			tiles[p] = data
		}
		if len(data) < t.W*tlog.HashSize {
			return nil, fmt.Errorf("tile %d of level %d has %d hashes and should have %d", t.N, t.L, len(data)/tlog.HashSize, t.W)
		}
		var err error
		if hashes[i], err = tlog.HashFromTile(t, data[:t.W*tlog.HashSize], index); err != nil {
			return nil, err
		}
	}
	return hashes, nil
}

// Root is the hash of the tree of the first size leaves.
func (read TileReader) Root(size int64) (tlog.Hash, error) { return tlog.TreeHash(size, read) }

// TileID names a tile.
type TileID struct {
	Level int
	N     int64
}

// Appender appends leaves to a tree.
type Appender struct {
	Size    int64
	Changed map[TileID][]byte // the tiles that are to be written, since they were last cleared

	edge [][]byte // of each level the hashes of its last tile, unless that is full
}

// NewAppender goes on with the tree that has size leaves.
func NewAppender(size int64, read TileReader) (*Appender, error) {
	a := &Appender{Size: size, Changed: map[TileID][]byte{}}
	for level, count := 0, size; count > 0; level, count = level+1, count/TileWidth {
		var edge []byte
		if want := int(count%TileWidth) * tlog.HashSize; want > 0 {
			have, err := read(level, count/TileWidth)
			if err != nil {
				return nil, err
			}
			if len(have) < want {
				return nil, fmt.Errorf("tile %d of level %d has %d hashes and should have %d", count/TileWidth, level, len(have)/tlog.HashSize, want/tlog.HashSize)
			}
			edge = append(edge, have[:want]...)
		}
		a.edge = append(a.edge, edge)
	}
	return a, nil
}

// Append adds a leaf by its hash.
func (a *Appender) Append(h tlog.Hash) {
	n := a.Size
	a.Size++
	for level := 0; ; level++ {
		if level == len(a.edge) {
			a.edge = append(a.edge, nil)
		}
		a.edge[level] = append(a.edge[level], h[:]...)
		tile := a.edge[level]
		a.Changed[TileID{level, n / TileWidth}] = tile
		if len(tile) < TileWidth*tlog.HashSize {
			return
		}
		h, a.edge[level] = TileRoot(tile), nil
		n /= TileWidth
	}
}

// TileRoot is the hash above all hashes of a full tile.
func TileRoot(tile []byte) tlog.Hash {
	var hashes [TileWidth]tlog.Hash
	for i := range hashes {
		copy(hashes[i][:], tile[i*tlog.HashSize:])
	}
	for n := TileWidth; n > 1; n /= 2 {
		for i := range n / 2 {
			hashes[i] = tlog.NodeHash(hashes[2*i], hashes[2*i+1])
		}
	}
	return hashes[0]
}
