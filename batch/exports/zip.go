package exports

import (
	"bufio"
	"bytes"
	"compress/flate"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"strings"
	"unicode/utf8"
)

// ErrNotExport: what arrived is not a zip, or a damaged one.
var ErrNotExport = errors.New("not a complete zip")

// Content is what is in an export.
type Content struct {
	Files     int    `json:"files"`
	Lines     int64  `json:"lines"`              // those that are not blank, of all files
	NotJSON   int64  `json:"not_json,omitempty"` // lines that are not JSON
	Empty     bool   `json:"empty,omitempty"`    // a single empty.txt: nothing was held
	Unsafe    int    `json:"unsafe_names,omitempty"`
	Unchecked string `json:"unchecked,omitempty"` // why not all of it could be checked; "" if it was
}

// Bounds of what is looked at. A zip beyond them is kept all the same, and reported as not
// checked: it may be the only copy there is.
const (
	maxEntries  = 10_000
	maxUnpacked = 64 << 30 // bytes
	maxLine     = 1 << 20  // longer lines are counted, and not checked to be JSON
	maxName     = 1 << 10
	maxEmpty    = 4 << 10 // empty.txt may say something
)

// emptyName is the one file of an export where nothing was held (VENDORS.md).
const emptyName = "empty.txt"

// errUnchecked ends the reading of a zip whose form does not allow it to be read from the
// front. It is no fault of the zip.
type errUnchecked struct{ why string }

func (e *errUnchecked) Error() string { return e.why }

// The signatures of a zip's parts (APPNOTE.TXT, 4.3).
const (
	sigFile       = 0x04034b50
	sigDescriptor = 0x08074b50
	sigDirectory  = 0x02014b50
	sigEnd64      = 0x06064b50
	sigLocator64  = 0x07064b50
	sigEnd        = 0x06054b50
)

// inspect reads a zip from the front, to its end. archive/zip wants to begin at the end,
// which a stream does not have; here every entry is unpacked as it comes, counted, and
// compared with its checksum, and the directory behind the entries must name as many. The
// error is ErrNotExport, or what r says.
func inspect(r io.Reader) (Content, error) {
	z := &zipReader{src: &counting{r: bufio.NewReaderSize(r, 64<<10)}}
	err := z.entries()
	var u *errUnchecked
	if errors.As(err, &u) {
		z.Unchecked, err = u.why, nil
	}
	if err == nil {
		_, err = io.Copy(io.Discard, z.src)
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = fmt.Errorf("%w: it ends too early", ErrNotExport)
	}
	if err != nil {
		return Content{}, err
	}
	if z.Unchecked == "" && z.Files == 1 && z.single == emptyName && z.unpacked <= maxEmpty {
		return Content{Files: 1, Empty: true}, nil
	}
	return z.Content, nil
}

type zipReader struct {
	Content
	src      *counting
	single   string // the name of the first entry
	unpacked int64
}

// counting is a reader that knows how much was read. It is an io.ByteReader, so that flate
// reads nothing beyond the end of an entry.
type counting struct {
	r *bufio.Reader
	n int64
}

func (c *counting) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}

func (c *counting) ReadByte() (byte, error) {
	b, err := c.r.ReadByte()
	if err == nil {
		c.n++
	}
	return b, err
}

func damaged(what string) error { return fmt.Errorf("%w: %s", ErrNotExport, what) }

// take reads n bytes.
func (z *zipReader) take(n int) ([]byte, error) {
	b := make([]byte, n)
	_, err := io.ReadFull(z.src, b)
	return b, err
}

func (z *zipReader) signature() (uint32, error) {
	b, err := z.take(4)
	return binary.LittleEndian.Uint32(b), err
}

// entries reads all parts, in order.
func (z *zipReader) entries() error {
	listed := 0
	for first := true; ; first = false {
		sig, err := z.signature()
		if err != nil {
			if first {
				return damaged("it is empty or too short")
			}
			return err
		}
		switch {
		case sig == sigFile && listed == 0:
			err = z.entry()
		case sig == sigDirectory && !first:
			listed++
			err = z.directory()
		case sig == sigEnd64 && listed > 0:
			err = z.end64()
		case sig == sigLocator64 && listed > 0:
			_, err = z.take(16)
		case sig == sigEnd:
			if listed != z.Files {
				return damaged("its directory and its files differ")
			}
			return z.end()
		case first:
			return damaged("it does not begin like one")
		default:
			return damaged("an unknown part")
		}
		if err != nil {
			return err
		}
	}
}

// entry reads a local header and what follows it.
func (z *zipReader) entry() error {
	h, err := z.take(26)
	if err != nil {
		return err
	}
	var (
		flags    = binary.LittleEndian.Uint16(h[2:])
		method   = binary.LittleEndian.Uint16(h[4:])
		sum      = binary.LittleEndian.Uint32(h[10:])
		packed   = uint64(binary.LittleEndian.Uint32(h[14:]))
		unpacked = uint64(binary.LittleEndian.Uint32(h[18:]))
		nameLen  = int(binary.LittleEndian.Uint16(h[22:]))
		extraLen = int(binary.LittleEndian.Uint16(h[24:]))
	)
	name, err := z.take(nameLen)
	if err != nil {
		return err
	}
	extra, err := z.take(extraLen)
	if err != nil {
		return err
	}
	large := zip64(extra, &unpacked, &packed)
	if z.Files++; z.Files == 1 {
		z.single = string(name)
	}
	if !safe(string(name)) {
		z.Unsafe++
	}
	follows := flags&8 != 0 // sums and sizes stand behind the content
	switch {
	case z.Files > maxEntries:
		return &errUnchecked{fmt.Sprintf("more than %d files", maxEntries)}
	case flags&1 != 0:
		return &errUnchecked{"it is encrypted with a password"}
	case method != 0 && method != 8:
		return &errUnchecked{"its compression is not known here"}
	case method == 0 && follows && !strings.HasSuffix(string(name), "/"):
		return &errUnchecked{"it does not say where its files end"}
	}
	content := &lines{z: z}
	begin := z.src.n
	var from io.Reader = io.LimitReader(z.src, int64(min(packed, 1<<62)))
	if method == 8 {
		from = flate.NewReader(z.src)
	} else if follows {
		from = bytes.NewReader(nil) // a folder
	}
	n, err := io.Copy(content, from)
	if err != nil {
		if f := flate.CorruptInputError(0); errors.As(err, &f) {
			return damaged("a file cannot be unpacked")
		}
		return err
	}
	content.end()
	if follows {
		return z.descriptor(content.sum, uint64(z.src.n-begin), uint64(n), large)
	}
	if content.sum != sum || uint64(n) != unpacked || uint64(z.src.n-begin) != packed {
		return damaged("a file differs from its checksum or size")
	}
	return nil
}

// zip64 reads the sizes from the extra field that large entries have.
func zip64(extra []byte, unpacked, packed *uint64) bool {
	for len(extra) >= 4 {
		id, size := binary.LittleEndian.Uint16(extra), int(binary.LittleEndian.Uint16(extra[2:]))
		extra = extra[4:]
		if size > len(extra) {
			return false
		}
		if id == 1 {
			field := extra[:size]
			for _, v := range []*uint64{unpacked, packed} {
				if *v == 1<<32-1 && len(field) >= 8 {
					*v, field = binary.LittleEndian.Uint64(field), field[8:]
				}
			}
			return true
		}
		extra = extra[size:]
	}
	return false
}

// descriptor reads the sums and sizes behind an entry. Their signature is optional, and
// whether the sizes have four or eight bytes is told by the entry's extra field, or by
// what comes out right: writers differ.
func (z *zipReader) descriptor(sum uint32, packed, unpacked uint64, large bool) error {
	got, err := z.signature()
	if err == nil && got == sigDescriptor {
		got, err = z.signature()
	}
	if err != nil {
		return err
	}
	sizes, err := z.src.r.Peek(16)
	if err != nil && len(sizes) < 8 {
		return err
	}
	take := 8
	fits := uint64(binary.LittleEndian.Uint32(sizes)) == packed && uint64(binary.LittleEndian.Uint32(sizes[4:])) == unpacked
	if (large || !fits) && len(sizes) == 16 &&
		binary.LittleEndian.Uint64(sizes) == packed && binary.LittleEndian.Uint64(sizes[8:]) == unpacked {
		take, fits = 16, true
	}
	if !fits || got != sum {
		return damaged("a file differs from its checksum or size")
	}
	_, err = z.take(take)
	return err
}

// directory reads one entry of the list at the end.
func (z *zipReader) directory() error {
	h, err := z.take(42)
	if err != nil {
		return err
	}
	_, err = z.take(int(binary.LittleEndian.Uint16(h[24:])) + int(binary.LittleEndian.Uint16(h[26:])) + int(binary.LittleEndian.Uint16(h[28:])))
	return err
}

func (z *zipReader) end64() error {
	h, err := z.take(8)
	if err != nil {
		return err
	}
	_, err = io.CopyN(io.Discard, z.src, int64(min(binary.LittleEndian.Uint64(h), 1<<20)))
	return err
}

// end reads the last part. Nothing may follow it.
func (z *zipReader) end() error {
	h, err := z.take(18)
	if err != nil {
		return err
	}
	if n := int(binary.LittleEndian.Uint16(h[6:])); n != z.Files && n != 1<<16-1 {
		return damaged("its directory and its files differ")
	}
	if _, err := z.take(int(binary.LittleEndian.Uint16(h[16:]))); err != nil {
		return err
	}
	if _, err := z.src.ReadByte(); err != io.EOF {
		if err == nil {
			err = damaged("something follows its end")
		}
		return err
	}
	return nil
}

// safe reports whether a file of this name stays in the folder where it is unpacked, and
// can be shown.
func safe(name string) bool {
	if name == "" || len(name) > maxName || !utf8.ValidString(name) || strings.Contains(name, `\`) || name[0] == '/' {
		return false
	}
	for part := range strings.SplitSeq(name, "/") {
		if part == ".." {
			return false
		}
	}
	return !strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r == 0x7f })
}

// lines counts the lines of one file and looks whether each is JSON. It holds one line, up
// to maxLine.
type lines struct {
	z    *zipReader
	sum  uint32
	line []byte
	long bool // the line is longer than what is held of it
}

func (l *lines) Write(p []byte) (int, error) {
	if l.z.unpacked += int64(len(p)); l.z.unpacked > maxUnpacked {
		return 0, &errUnchecked{fmt.Sprintf("more than %d GiB when unpacked", maxUnpacked>>30)}
	}
	l.sum = crc32.Update(l.sum, crc32.IEEETable, p)
	for rest := p; len(rest) > 0; {
		part, after, found := bytes.Cut(rest, []byte("\n"))
		if len(l.line)+len(part) > maxLine {
			l.long = true
		} else {
			l.line = append(l.line, part...)
		}
		if found {
			l.end()
		}
		rest = after
	}
	return len(p), nil
}

// end ends the line.
func (l *lines) end() {
	line := bytes.TrimSpace(l.line)
	if l.long || len(line) > 0 {
		l.z.Lines++
		if !l.long && !json.Valid(line) {
			l.z.NotJSON++
		}
	}
	l.line, l.long = l.line[:0], false
}
