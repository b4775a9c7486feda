// Package seal keeps identifiers unreadable without the key.
//
// A key file holds 32 random bytes. From them a store derives, with HKDF-SHA-256 and its
// own random id as salt, one AES-256-GCM key for sealing. Every sealed value is bound to
// the place it belongs to (its row) as additional data, so that it cannot be moved to
// another row. Equality of identifiers is compared by HMAC-SHA-256 under a lookup key of
// its own, which the store keeps sealed: it survives a rotation of the key, since digests
// of identifiers that have been dropped could not be computed again.
//
// The package reads and writes key files; it knows nothing of the store's tables.
package seal

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"strings"

	"expunge/store/atomicfile"
)

// KeySize is the length of a key in bytes.
const KeySize = 32

// prefix marks a key file and its version, so that a wrong file is told from a wrong key.
const prefix = "expunge-key-1:"

var (
	// ErrWrongKey says that a value was sealed under another key, or for another place.
	ErrWrongKey = errors.New("the key does not open this store")
	// ErrNoKey says that there is no key where one must be.
	ErrNoKey = errors.New("no key")
	// ErrBadKey says that the text is not a key.
	ErrBadKey = errors.New("not an expunge key")
)

// Key is the secret that everything else is derived from.
type Key struct{ b [KeySize]byte }

// NewKey makes a random key.
func NewKey() Key {
	var k Key
	rand.Read(k.b[:])
	return k
}

// Format keeps the key out of whatever prints it.
func (Key) Format(f fmt.State, _ rune) { io.WriteString(f, "[key]") }

// ParseKey reads the text of a key file or of a key_env variable.
func ParseKey(text string) (Key, error) {
	var k Key
	body, ok := strings.CutPrefix(strings.TrimSpace(strings.TrimPrefix(text, "\ufeff")), prefix)
	if !ok {
		return k, fmt.Errorf("%w: it must begin with %q", ErrBadKey, prefix)
	}
	b, err := base64.StdEncoding.DecodeString(body)
	if err != nil || len(b) != KeySize {
		return k, fmt.Errorf("%w: it must hold %d bytes in base64", ErrBadKey, KeySize)
	}
	copy(k.b[:], b)
	return k, nil
}

// Text is the form in which a key is kept in its file.
func (k Key) Text() string { return prefix + base64.StdEncoding.EncodeToString(k.b[:]) + "\n" }

// LoadFile reads the key file. A missing file is ErrNoKey.
func LoadFile(path string) (Key, error) {
	f, st, err := atomicfile.OpenRegular(path)
	if errors.Is(err, os.ErrNotExist) {
		return Key{}, fmt.Errorf("%w: key file %s does not exist", ErrNoKey, path)
	}
	if err != nil {
		return Key{}, fmt.Errorf("key file: %w", err)
	}
	defer f.Close()
	if perm := st.Mode().Perm(); perm&0o077 != 0 {
		return Key{}, fmt.Errorf("%w: key file %s can be read by others (mode %04o): chmod 600 it", ErrBadKey, path, perm)
	}
	text, err := io.ReadAll(io.LimitReader(f, 4096))
	if err != nil {
		return Key{}, fmt.Errorf("key file: %w", err)
	}
	k, err := ParseKey(string(text))
	if err != nil {
		return Key{}, fmt.Errorf("key file %s: %w", path, err)
	}
	return k, nil
}

// WriteFile writes the key to a new file of mode 0600, durably: after a crash the file is
// there whole or not at all. It never replaces a file. own, if not nil, may change the file's
// owner before it gets its name.
func WriteFile(path string, k Key, own func(*os.File) error) error {
	return write(path, k, own, (*atomicfile.File).Link)
}

// ReplaceFile is WriteFile for a key that takes another's place.
func ReplaceFile(path string, k Key, own func(*os.File) error) error {
	return write(path, k, own, (*atomicfile.File).Replace)
}

func write(path string, k Key, own func(*os.File) error, end func(*atomicfile.File) error) error {
	f, err := atomicfile.Create(path) // mode 0600
	if err != nil {
		return fmt.Errorf("key file: %w", err)
	}
	_, err = f.WriteString(k.Text())
	if err == nil && own != nil {
		err = own(f.File)
	}
	if err != nil {
		f.Discard()
		return fmt.Errorf("key file: %w", err)
	}
	if err := end(f); err != nil {
		return fmt.Errorf("key file: %w", err)
	}
	return nil
}

// Box seals and opens values for one store. It is safe for concurrent use.
type Box struct {
	aead cipher.AEAD
	old  cipher.AEAD // opens what has not been resealed yet; nil: nothing is left
}

// Format keeps the derived keys out of whatever prints a box.
func (*Box) Format(f fmt.State, _ rune) { io.WriteString(f, "[box]") }

// NewBox derives the sealing key of the store with the given id.
func NewBox(k Key, storeID []byte) (*Box, error) {
	derived, err := hkdf.Key(sha256.New, k.b[:], storeID, "expunge seal v1", KeySize)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(derived)
	if err != nil {
		return nil, err
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return nil, err
	}
	return &Box{aead: aead}, nil
}

// AlsoOpening returns a box that seals as b does and also opens what old sealed: that of a
// store whose key is being changed.
func (b *Box) AlsoOpening(old *Box) *Box { return &Box{aead: b.aead, old: old.aead} }

// Reseal returns the value sealed by this box's own key. changed is false where it was that
// already.
func (b *Box) Reseal(sealed []byte, p Place) (out []byte, changed bool, err error) {
	own := Box{aead: b.aead}
	if _, err := own.Open(nil, sealed, p); err == nil {
		return sealed, false, nil
	}
	plain, err := b.Open(nil, sealed, p)
	if err != nil {
		return nil, false, err
	}
	return b.Seal(nil, plain, p), true, nil
}

// Place is where a sealed value belongs: a table and a row of it.
type Place struct {
	Table string
	Row   int64
}

func (p Place) bytes(b []byte) []byte {
	b = append(b, p.Table...)
	b = append(b, 0)
	return binary.BigEndian.AppendUint64(b, uint64(p.Row))
}

// Overhead is how many bytes longer a value is when it is sealed.
const Overhead = 28

// Seal appends the sealed form of plain to dst.
func (b *Box) Seal(dst, plain []byte, p Place) []byte {
	var ad [64]byte
	return b.aead.Seal(dst, nil, plain, p.bytes(ad[:0]))
}

// Open appends to dst what was sealed for this place, or returns ErrWrongKey.
func (b *Box) Open(dst, sealed []byte, p Place) ([]byte, error) {
	var ad [64]byte
	plain, err := b.aead.Open(dst, nil, sealed, p.bytes(ad[:0]))
	if err != nil && b.old != nil {
		plain, err = b.old.Open(dst, nil, sealed, p.bytes(ad[:0]))
	}
	if err != nil {
		return nil, ErrWrongKey
	}
	return plain, nil
}

// LookupKey is the key of the digests by which identifiers are compared.
type LookupKey [KeySize]byte

// Format keeps the key out of whatever prints it.
func (LookupKey) Format(f fmt.State, _ rune) { io.WriteString(f, "[key]") }

// DeriveLookupKey makes the lookup key of a new store.
func DeriveLookupKey(k Key, storeID []byte) (LookupKey, error) {
	var l LookupKey
	b, err := hkdf.Key(sha256.New, k.b[:], storeID, "expunge lookup v1", KeySize)
	copy(l[:], b)
	return l, err
}

// Digester computes keyed digests. It is not safe for concurrent use.
type Digester struct {
	mac hash.Hash
	buf []byte
	sum [sha256.Size]byte
}

// NewDigester returns a digester under the lookup key.
func NewDigester(l LookupKey) *Digester { return &Digester{mac: hmac.New(sha256.New, l[:])} }

// Sum64 returns the first 64 bits of the HMAC-SHA-256 of the parts, each preceded by its
// length. Equal digests of different values are possible, if improbable: who acts on
// equality compares the values too.
func (d *Digester) Sum64(parts ...string) int64 {
	d.mac.Reset()
	d.buf = d.buf[:0]
	for _, p := range parts {
		d.buf = append(binary.BigEndian.AppendUint64(d.buf, uint64(len(p))), p...)
	}
	d.mac.Write(d.buf)
	clear(d.buf)
	d.mac.Sum(d.sum[:0])
	return int64(binary.BigEndian.Uint64(d.sum[:8]))
}
