package seal

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"expunge/store/atomicfile"
)

var storeID = []byte("0123456789abcdef")

func box(t *testing.T, k Key) *Box {
	t.Helper()
	b, err := NewBox(k, storeID)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestSealOpens: what is sealed opens with the key, the store and the place that it was
// sealed with, and with nothing else; no bit of it can be changed.
func TestSealOpens(t *testing.T) {
	k := NewKey()
	b := box(t, k)
	here := Place{Table: "subjects", Row: 7}
	plain := []byte("anna@example.com")
	sealed := b.Seal([]byte("head"), plain, here)
	if string(sealed[:4]) != "head" {
		t.Error("Seal does not append")
	}
	sealed = sealed[4:]
	if len(sealed) != len(plain)+28 {
		t.Errorf("%d bytes more", len(sealed)-len(plain))
	}
	if got, err := b.Open([]byte("head"), sealed, here); err != nil || string(got) != "headanna@example.com" {
		t.Errorf("%q %v", got, err)
	}
	if bytes.Equal(b.Seal(nil, plain, here), sealed) {
		t.Error("equal values can be told from their sealed forms")
	}
	for name, p := range map[string]Place{"row": {"subjects", 8}, "table": {"exports", 7}, "none": {}, "the same text": {"subjects\x00", 7}} {
		if _, err := b.Open(nil, sealed, p); !errors.Is(err, ErrWrongKey) {
			t.Errorf("another %s: %v", name, err)
		}
	}
	if _, err := box(t, NewKey()).Open(nil, sealed, here); !errors.Is(err, ErrWrongKey) {
		t.Errorf("another key: %v", err)
	}
	other, err := NewBox(k, []byte("fedcba9876543210"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := other.Open(nil, sealed, here); !errors.Is(err, ErrWrongKey) {
		t.Errorf("another store under the same key: %v", err)
	}
	for i := range sealed {
		bad := bytes.Clone(sealed)
		bad[i] ^= 1
		if _, err := b.Open(nil, bad, here); !errors.Is(err, ErrWrongKey) {
			t.Fatalf("byte %d changed: %v", i, err)
		}
	}
	for n := range len(sealed) {
		if _, err := b.Open(nil, sealed[:n], here); !errors.Is(err, ErrWrongKey) {
			t.Fatalf("cut to %d bytes: %v", n, err)
		}
	}
}

// TestDigests: equal values have equal digests under one lookup key only, and parts cannot
// be moved from one to the next.
func TestDigests(t *testing.T) {
	k := NewKey()
	lookup, err := DeriveLookupKey(k, storeID)
	if err != nil {
		t.Fatal(err)
	}
	d := NewDigester(lookup)
	a := d.Sum64("email", "anna@example.com")
	if d.Sum64("email", "anna@example.com") != a || NewDigester(lookup).Sum64("email", "anna@example.com") != a {
		t.Error("the digest of equal parts differs")
	}
	for _, parts := range [][]string{{"email", "anna@example.org"}, {"emai", "lanna@example.com"}, {"emailanna@example.com"}, {"email", "anna@example.com", ""}, {}} {
		if d.Sum64(parts...) == a {
			t.Errorf("%q has the same digest", parts)
		}
	}
	again, err := DeriveLookupKey(NewKey(), storeID)
	if err != nil {
		t.Fatal(err)
	}
	if NewDigester(again).Sum64("email", "anna@example.com") == a {
		t.Error("another key, the same digest")
	}
	// Stores that exist recognise their rows by it.
	if got := NewDigester(LookupKey{1, 2, 3}).Sum64("email", "anna@example.com"); got != 3121036604486614197 {
		t.Errorf("the digest of a known key is %d", got)
	}
	elsewhere, err := DeriveLookupKey(k, []byte("another store id"))
	if err != nil {
		t.Fatal(err)
	}
	if NewDigester(elsewhere).Sum64("email", "anna@example.com") == a {
		t.Error("another store, the same digest: stores could be compared")
	}
}

// TestKeyFile: a key file is 0600 whatever the umask, is never replaced, and comes back.
func TestKeyFile(t *testing.T) {
	defer syscall.Umask(syscall.Umask(0))
	path := filepath.Join(t.TempDir(), "expunge.key")
	if _, err := LoadFile(path); !errors.Is(err, ErrNoKey) {
		t.Errorf("no file: %v", err)
	}
	k := NewKey()
	if err := WriteFile(path, k, nil); err != nil {
		t.Fatal(err)
	}
	if st, err := os.Stat(path); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("mode %v %v", st.Mode(), err)
	}
	got, err := LoadFile(path)
	if err != nil || got != k {
		t.Errorf("it comes back as another: %v", err)
	}
	if err := WriteFile(path, NewKey(), nil); !errors.Is(err, os.ErrExist) {
		t.Errorf("written over: %v", err)
	}
	if got, err := LoadFile(path); err != nil || got != k {
		t.Errorf("afterwards: %v", err)
	}
	for _, mode := range []os.FileMode{0o640, 0o604, 0o620, 0o666} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		if _, err := LoadFile(path); !errors.Is(err, ErrBadKey) || !strings.Contains(err.Error(), "chmod 600") {
			t.Errorf("mode %04o: %v", mode, err)
		}
	}
	if err := os.Chmod(path, 0o400); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadFile(path); err != nil {
		t.Errorf("mode 0400, as a secret mount has it: %v", err)
	}
	if err := WriteFile(filepath.Join(t.TempDir(), "none", "k"), k, nil); err == nil {
		t.Error("written to a folder that is not there")
	}
	fifo := filepath.Join(t.TempDir(), "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{t.TempDir(), fifo} {
		if _, err := LoadFile(path); !errors.Is(err, atomicfile.ErrNotRegular) {
			t.Errorf("%s is no key: %v", path, err)
		}
	}
	other := NewKey()
	if err := ReplaceFile(path, other, nil); err != nil {
		t.Fatal(err)
	}
	if got, err := LoadFile(path); err != nil || got != other {
		t.Errorf("replaced: %v", err)
	}
	if err := os.WriteFile(path, []byte("\ufeff"+k.Text()), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := LoadFile(path); err != nil || got != k {
		t.Errorf("with a byte order mark: %v", err)
	}
}

// TestParseKey: only a key is one, and no error repeats what was given as a key.
func TestParseKey(t *testing.T) {
	k := NewKey()
	if got, err := ParseKey("  " + k.Text() + "\r\n"); err != nil || got != k {
		t.Errorf("with spaces around: %v", err)
	}
	body := strings.TrimSpace(strings.TrimPrefix(k.Text(), prefix))
	for name, text := range map[string]string{
		"empty": "", "no prefix": body, "another version": "expunge-key-2:" + body, "short": prefix + body[:40],
		"not base64": prefix + "!" + body[1:], "long": prefix + base64.StdEncoding.EncodeToString(make([]byte, KeySize+1)),
	} {
		_, err := ParseKey(text)
		if !errors.Is(err, ErrBadKey) {
			t.Errorf("%s: %v", name, err)
		}
		if err != nil && strings.Contains(err.Error(), body[1:20]) {
			t.Errorf("%s: the error shows the key: %v", name, err)
		}
	}
}

// TestKeysDoNotPrint: no verb shows a key.
func TestKeysDoNotPrint(t *testing.T) {
	k := NewKey()
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%q", "%d"} {
		for what, v := range map[string]any{"key": k, "key in a struct": struct{ K Key }{k}} {
			out := fmt.Sprintf(verb, v)
			raw := strings.TrimSpace(strings.TrimPrefix(k.Text(), prefix))
			for _, form := range []string{raw, string(k.b[:]), fmt.Sprintf("%x", k.b[:8]), fmt.Sprint(k.b[:8])[1:20]} {
				if strings.Contains(out, form) {
					t.Errorf("%s with %s: %s", what, verb, out)
				}
			}
		}
	}
	if a, b := NewKey(), NewKey(); a == b {
		t.Error("two keys are equal")
	}
}
