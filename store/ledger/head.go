package ledger

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/transparency-dev/formats/log"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// Head is a signed head of the log: its size, and the hash from which nothing of it can be changed.
type Head struct {
	Origin string // the log's name and, behind the last slash, its epoch
	Size   int64
	Root   tlog.Hash
	At     time.Time
	Note   []byte // the signed note
	Stamp  []byte // its time stamp (RFC 3161), if there is one
}

// Epoch splits the origin into the log's name and its epoch.
func (h *Head) Epoch() (name string, epoch int64) { return splitOrigin(h.Origin) }

func splitOrigin(origin string) (name string, epoch int64) {
	at := strings.LastIndexByte(origin, '/')
	if at < 0 {
		return origin, 0
	}
	epoch, err := strconv.ParseInt(origin[at+1:], 10, 64)
	if err != nil || epoch < 1 {
		return origin, 0
	}
	return origin[:at], epoch
}

// CheckName tells whether a log can have this name.
func CheckName(name string) error {
	if _, err := note.NewEd25519VerifierKey(name, make(ed25519.PublicKey, ed25519.PublicKeySize)); err != nil {
		return errors.New("it must be a name such as privacy.example.com/expunge, without spaces and +")
	}
	if _, err := note.NewVerifier(mustVKey(name, make(ed25519.PublicKey, ed25519.PublicKeySize))); err != nil || strings.ContainsAny(name, "\n\r{\"") {
		return errors.New("it must be a name such as privacy.example.com/expunge, without spaces and +")
	}
	return nil
}

func mustVKey(name string, key ed25519.PublicKey) string {
	vkey, err := note.NewEd25519VerifierKey(name, key)
	if err != nil {
		return ""
	}
	return vkey
}

// Signer signs for a log.
type Signer struct {
	key    ed25519.PrivateKey
	vkey   string
	signer note.Signer
}

// Format keeps the key out of whatever prints a signer.
func (*Signer) Format(f fmt.State, _ rune) { f.Write([]byte("[log key]")) }

// NewSigner makes the signer of a log of this name from 32 random bytes.
func NewSigner(name string, seed []byte) (*Signer, error) {
	if len(seed) != ed25519.SeedSize {
		return nil, fmt.Errorf("the key of the log has %d bytes", len(seed))
	}
	s := &Signer{key: ed25519.NewKeyFromSeed(seed)}
	s.vkey = mustVKey(name, s.key.Public().(ed25519.PublicKey))
	v, err := note.NewVerifier(s.vkey)
	if err != nil {
		return nil, fmt.Errorf("the log cannot have the name %q: %w", name, err)
	}
	const ed25519Key = 1
	s.signer, err = note.NewSigner(fmt.Sprintf("PRIVATE+KEY+%s+%08x+%s", name, v.KeyHash(), base64.StdEncoding.EncodeToString(append([]byte{ed25519Key}, seed...))))
	return s, err
}

// VKey is the public key, in the form in which others check signatures with it.
func (s *Signer) VKey() string { return s.vkey }

// timeLine begins the line behind the root's, which says when the head was signed.
const timeLine = "time "

// SignHead makes a head of the tree: a C2SP checkpoint, signed by all of the signers.
func SignHead(origin string, size int64, root tlog.Hash, at time.Time, signers ...*Signer) (*Head, error) {
	at = at.UTC().Truncate(time.Second)
	text := string(log.Checkpoint{Origin: origin, Size: uint64(size), Hash: root[:]}.Marshal()) + timeLine + at.Format(time.RFC3339) + "\n"
	all := make([]note.Signer, len(signers))
	for i, s := range signers {
		all[i] = s.signer
	}
	signed, err := note.Sign(&note.Note{Text: text}, all...)
	if err != nil {
		return nil, fmt.Errorf("the head of the log cannot be signed: %w", err)
	}
	return &Head{Origin: origin, Size: size, Root: root, At: at, Note: signed}, nil
}

// ErrNotSigned says that none of the keys has signed a head.
var ErrNotSigned = errors.New("not signed by the key")

// OpenHead reads a head that at least one of the keys has signed, or ErrNotSigned.
func OpenHead(text []byte, vkeys ...string) (*Head, error) {
	var known []note.Verifier
	for _, vkey := range vkeys {
		v, err := note.NewVerifier(strings.TrimSpace(vkey))
		if err != nil {
			return nil, fmt.Errorf("the key is none: %w", err)
		}
		known = append(known, v)
	}
	n, err := note.Open(text, note.VerifierList(known...))
	if err != nil {
		return nil, fmt.Errorf("the head is %w (%w)", ErrNotSigned, err)
	}
	h, err := readHead(n.Text)
	if err != nil {
		return nil, err
	}
	h.Note = text
	return h, nil
}

// ReadHead reads a head without asking who has signed it.
func ReadHead(text []byte) (*Head, error) {
	body, _, ok := bytes.Cut(text, []byte("\n\n"))
	if !ok {
		return nil, errors.New("no signed head of a log")
	}
	h, err := readHead(string(body) + "\n")
	if err != nil {
		return nil, err
	}
	h.Note = text
	return h, nil
}

func readHead(text string) (*Head, error) {
	var c log.Checkpoint
	rest, err := c.Unmarshal([]byte(text))
	if err != nil {
		return nil, fmt.Errorf("the head is no checkpoint: %w", err)
	}
	if len(c.Hash) != tlog.HashSize || c.Size > math.MaxInt64/4 {
		return nil, errors.New("the head is no checkpoint: its size or its hash cannot be")
	}
	h := &Head{Origin: c.Origin, Size: int64(c.Size), Root: tlog.Hash(c.Hash)}
	for line := range strings.Lines(string(rest)) {
		if at, ok := strings.CutPrefix(line, timeLine); ok {
			if h.At, err = time.Parse(time.RFC3339, strings.TrimSuffix(at, "\n")); err != nil {
				return nil, errors.New("the head's time is none")
			}
		}
	}
	return h, nil
}

// SplitHeads finds the heads in a file that has several, separated by empty lines. What is no
// head, as the last one is where a disk was full, is left out and counted.
func SplitHeads(file []byte) (heads []*Head, bad int) {
	var note []byte
	signed := false
	end := func() {
		if len(bytes.TrimSpace(note)) > 0 {
			if h, err := ReadHead(note); err == nil && signed && note[len(note)-1] == '\n' {
				heads = append(heads, h)
			} else {
				bad++
			}
		}
		note, signed = nil, false
	}
	for line := range bytes.Lines(file) {
		signature := bytes.HasPrefix(line, []byte("— "))
		switch {
		case signature:
			signed = true
		case signed: // the empty line behind a note, or another note without one
			end()
			if len(bytes.TrimSpace(line)) == 0 {
				continue
			}
		case len(note) == 0 && len(bytes.TrimSpace(line)) == 0:
			continue
		case len(line) > 1 && bytes.HasSuffix(note, []byte("\n\n")): // the signatures that should be here are missing
			end()
		}
		note = append(note, line...)
	}
	end()
	return heads, bad
}

// SameTree reports whether two heads are of one tree: same origin, size and root.
func (h *Head) SameTree(o *Head) bool {
	return h.Origin == o.Origin && h.Size == o.Size && h.Root == o.Root
}
