package exports

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// ErrNotExport: what arrived is not a zip, or not a whole one.
var ErrNotExport = errors.New("not a complete zip")

// Content is what a zip's own directory says of it. Nothing is unpacked.
type Content struct {
	Files int  `json:"files"`
	Empty bool `json:"empty,omitempty"` // a single empty.txt: nothing was held
}

// emptyName is the one file of an export where nothing was held (VENDORS.md). It may say
// so in a few words: maxEmpty bytes of them.
const (
	emptyName = "empty.txt"
	maxEmpty  = 4 << 10
)

// The parts of a zip that are looked at (APPNOTE.TXT, 4.3): their signatures, and how long
// each is without what has no fixed length.
const (
	sigFile      = 0x04034b50
	sigDirectory = 0x02014b50
	sigEnd64     = 0x06064b50
	sigLocator64 = 0x07064b50
	sigEnd       = 0x06054b50

	lenEntry     = 46
	lenEnd64     = 56
	lenLocator64 = 20
	lenEnd       = 22
	tailSize     = 64<<10 + lenEnd + lenLocator64 + lenEnd64 // a zip's comment has at most 64 KiB
)

// ends keeps a stream's first bytes and its last ones. They tell a whole zip from anything
// else: one that was cut has no end record, and in one that lacks bytes anywhere, or has
// some too many, the directory does not stand where the end record says. What changes a
// byte on the way is left to the connection's own checksums.
type ends struct {
	n    int64
	head []byte
	tail []byte
}

// Write implements io.Writer. It never fails.
func (e *ends) Write(p []byte) (int, error) {
	e.n += int64(len(p))
	if missing := 4 - len(e.head); missing > 0 {
		e.head = append(e.head, p[:min(missing, len(p))]...)
	}
	e.tail = append(e.tail, p[max(0, len(p)-tailSize):]...)
	if more := len(e.tail) - tailSize; more > tailSize {
		e.tail = append(e.tail[:0], e.tail[more:]...)
	}
	return len(p), nil
}

func damaged(what string) error { return fmt.Errorf("%w: %s", ErrNotExport, what) }

// content is what the stream was. The error is ErrNotExport.
func (e *ends) content() (Content, error) {
	if !is(e.head, 0, sigFile) && !is(e.head, 0, sigEnd) {
		return Content{}, damaged("it does not begin like one")
	}
	at := e.end()
	if at < 0 {
		return Content{}, damaged("it ends too early, or something follows its end")
	}
	end := e.tail[at:]
	files, size, begin := uint64(binary.LittleEndian.Uint16(end[10:])), uint64(binary.LittleEndian.Uint32(end[12:])), uint64(binary.LittleEndian.Uint32(end[16:]))
	if at64 := at - lenLocator64 - lenEnd64; is(e.tail, at-lenLocator64, sigLocator64) && is(e.tail, at64, sigEnd64) {
		at, end = at64, e.tail[at64:]
		files, size, begin = binary.LittleEndian.Uint64(end[32:]), binary.LittleEndian.Uint64(end[40:]), binary.LittleEndian.Uint64(end[48:])
	}
	behind := uint64(e.n) - uint64(len(e.tail)-at) // the directory ends here
	if size > behind || begin != behind-size || files > size/lenEntry || (files == 0) != is(e.head, 0, sigEnd) {
		return Content{}, damaged("its directory is not where its end says")
	}
	c := Content{Files: int(files)}
	if size <= uint64(at) {
		directory := e.tail[at-int(size) : at]
		if files > 0 && !is(directory, 0, sigDirectory) {
			return Content{}, damaged("its directory is not where its end says")
		}
		c.Empty = files == 1 && isEmpty(directory)
	}
	return c, nil
}

// end is where in the tail the end record begins, behind which there is nothing but the
// comment that it announces; -1: nowhere.
func (e *ends) end() int {
	for at := len(e.tail) - lenEnd; at >= 0; at-- {
		if is(e.tail, at, sigEnd) && at+lenEnd+int(binary.LittleEndian.Uint16(e.tail[at+20:])) == len(e.tail) {
			return at
		}
	}
	return -1
}

// isEmpty reports whether a directory's only entry is the file that stands for nothing.
func isEmpty(entry []byte) bool {
	name := entry[lenEntry:]
	n := int(binary.LittleEndian.Uint16(entry[28:]))
	return n <= len(name) && string(name[:n]) == emptyName && binary.LittleEndian.Uint32(entry[24:]) <= maxEmpty
}

// is reports whether a part with this signature begins at b[at].
func is(b []byte, at int, signature uint32) bool {
	return at >= 0 && at+4 <= len(b) && binary.LittleEndian.Uint32(b[at:]) == signature
}
