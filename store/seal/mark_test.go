package seal

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"testing"
)

// TestMarks: a mark is of one identifier of one person by its kind and number, and what it
// is made of never changes: certificates of before are opened with it.
func TestMarks(t *testing.T) {
	secret := []byte("0123456789abcdef")
	d := NewDigester(LookupKey{1, 2, 3})
	nonce := d.Nonce(secret, "email", 0)
	mark := Mark(nonce, "anna@example.com")
	// Computed with Python's hmac, hashlib and struct.
	if got := hex.EncodeToString(nonce[:]); got != "5175ecc09d9017e9c7e44c8c060d9ce9" {
		t.Errorf("the nonce is %s", got)
	}
	if got := hex.EncodeToString(mark[:]); got != "4a9b7ee207532d864eaba5ef78d91e7d" {
		t.Errorf("the mark is %s", got)
	}
	d.Sum64("something else", "between")
	if d.Nonce(secret, "email", 0) != nonce {
		t.Error("the nonce depends on what was digested before")
	}
	for what, other := range map[string][MarkSize]byte{
		"person": d.Nonce([]byte("another person's"), "email", 0), "kind": d.Nonce(secret, "other_email", 0), "number": d.Nonce(secret, "email", 1),
		"border": d.Nonce(append(secret, 0), "email", 0), "key": NewDigester(LookupKey{3, 2, 1}).Nonce(secret, "email", 0),
	} {
		if other == nonce {
			t.Errorf("another %s, the same nonce", what)
		}
	}
	if Mark(nonce, "anna@example.org") == mark {
		t.Error("another identifier, the same mark")
	}
}

// TestMarkIsHMAC: the rounds that are spelled out are those of the standard library, for
// identifiers of every length.
func TestMarkIsHMAC(t *testing.T) {
	nonce := [MarkSize]byte{0x36, 0x5c, 1, 255}
	for n := range 600 {
		normal := strings.Repeat("é", n/2) + strings.Repeat("x", n%2)
		mac := hmac.New(sha256.New, nonce[:])
		mac.Write([]byte(normal))
		if got, want := Mark(nonce, normal), mac.Sum(nil)[:MarkSize]; !bytes.Equal(got[:], want) {
			t.Fatalf("%d bytes: %x, not %x", n, got, want)
		}
	}
}

func BenchmarkMark(b *testing.B) {
	d, secret := NewDigester(LookupKey{1}), make([]byte, SecretSize)
	b.ReportAllocs()
	for b.Loop() {
		Mark(d.Nonce(secret, "telephone", 0), "anna.andersson@example.com")
	}
}
