package seal

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"
	"strconv"
)

// SecretSize is the length in bytes of a person's secret, from which everything that the log
// keeps of the person is salted. With the secret it becomes unreadable.
const SecretSize = 16

// MarkSize is the length in bytes of a mark, and of the nonce that opens it.
const MarkSize = 16

// Nonce is what the mark of one identifier of one person is made with: the first 16 bytes of the
// HMAC-SHA-256, under the lookup key, of "mark", the person's secret, the identifier's kind
// and its number among the person's identifiers of that kind in decimal, each preceded by
// its length in two bytes, big-endian. Whoever knows it, and it alone, can try identifiers
// on that one mark.
func (d *Digester) Nonce(secret []byte, kind string, nth int) (nonce [MarkSize]byte) {
	d.mac.Reset()
	d.buf = appendPart(d.buf[:0], "mark")
	d.buf = appendPart(d.buf, string(secret))
	d.buf = appendPart(d.buf, kind)
	var digits [20]byte
	d.buf = appendPart(d.buf, string(strconv.AppendInt(digits[:0], int64(nth), 10)))
	d.mac.Write(d.buf)
	clear(d.buf)
	copy(nonce[:], d.mac.Sum(d.sum[:0]))
	return nonce
}

func appendPart(b []byte, part string) []byte {
	return append(binary.BigEndian.AppendUint16(b, uint16(len(part))), part...)
}

// Mark is the first 16 bytes of the HMAC-SHA-256 of an identifier in its normal form under
// its nonce. Every mark has a key of its own, for which crypto/hmac would make two hashes on the
// heap: that was a third of an intake. So the two rounds of RFC 2104 are spelled out here.
func Mark(nonce [MarkSize]byte, normal string) (mark [MarkSize]byte) {
	var array [sha256.BlockSize + 256]byte
	message := append(pad(array[:0], nonce, &innerPad), normal...)
	inner := sha256.Sum256(message)
	clear(message)
	outer := sha256.Sum256(append(pad(array[:0], nonce, &outerPad), inner[:]...))
	copy(mark[:], outer[:])
	return mark
}

// innerPad and outerPad are ipad and opad of RFC 2104.
var innerPad, outerPad = func() (inner, outer [sha256.BlockSize]byte) {
	for i := range inner {
		inner[i], outer[i] = 0x36, 0x5c
	}
	return inner, outer
}()

// pad appends a block: the key, filled up with zeros, changed by one of the two.
func pad(b []byte, key [MarkSize]byte, with *[sha256.BlockSize]byte) []byte {
	from := len(b)
	b = append(b, with[:]...)
	subtle.XORBytes(b[from:], key[:], with[:MarkSize])
	return b
}
