package intake

import (
	"crypto/sha256"
	"errors"
	"hash"
	"io"

	"expunge/store/atomicfile"
)

// MaxRow is how many bytes may pass without the end of a row. encoding/csv holds a whole
// row in memory, and a quote that is never closed makes a row of the rest of the file.
const MaxRow = 1 << 20

var errRowTooLong = errors.New("more than 1 MiB without the end of a row, as when a quote is never closed")

// hashing passes bytes through and hashes them.
type hashing struct {
	r io.Reader
	h hash.Hash
}

func (h *hashing) Read(p []byte) (int, error) {
	n, err := h.r.Read(p)
	h.h.Write(p[:n])
	return n, err
}

// window passes bytes on to the CSV reader and keeps those of the row that is being read,
// so that a rejected row can be given back as it came. It fails when a row grows past
// MaxRow. Offsets are those of csv.Reader.InputOffset.
type window struct {
	r    io.Reader
	buf  []byte
	base int64 // offset of buf[0]
	mark int64 // where the row that is being read begins
	err  error // the first error: bufio forgets one after it has reported it

	unended bool // what was read last does not end a line
}

func (w *window) Read(p []byte) (int, error) {
	if w.err != nil {
		return 0, w.err
	}
	n, err := w.r.Read(p)
	w.err = err
	if n > 0 {
		w.unended = p[n-1] != '\n'
	}
	if done := w.mark - w.base; done > 0 {
		w.buf = append(w.buf[:0], w.buf[done:]...)
		w.base = w.mark
	}
	if len(w.buf)+n > MaxRow+len(p) { // len(p): what was read ahead
		w.err = errRowTooLong
		return 0, w.err
	}
	w.buf = append(w.buf, p[:n]...)
	return n, err
}

// take returns the bytes from the mark to end and moves the mark there. They are valid
// until the next Read.
func (w *window) take(end int64) []byte {
	raw := w.buf[w.mark-w.base : end-w.base]
	w.mark = end
	return raw
}

// empty reports whether all that was read has been taken.
func (w *window) empty() bool { return w.mark == w.base+int64(len(w.buf)) }

// failed reports an error of the file itself, as opposed to its end.
func (w *window) failed() error {
	if w.err == io.EOF {
		return nil
	}
	return w.err
}

// Digest returns the SHA-256 of a file's bytes: what File.Digest returns for it at its end.
func Digest(path string) (sum [32]byte, err error) {
	f, _, err := atomicfile.OpenRegular(path)
	if err != nil {
		return sum, err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return sum, err
	}
	h.Sum(sum[:0])
	return sum, nil
}
