package ledger

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/transparency-dev/formats/proof"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"expunge/store/seal"
)

// Format is the first value of a certificate.
const Format = "expunge-certificate/1"

// Certificate is one person's leaves with their proofs, as a file: see the package's documentation.
type Certificate struct {
	Format       string   `json:"format"`
	Organisation string   `json:"organisation"`
	Version      string   `json:"version"` // of the program that made it
	Summary      []string `json:"summary"`
	Key          string   `json:"key"`
	Nonces       []Nonce  `json:"nonces"`
	Proofs       []string `json:"proofs"` // c2sp.org/tlog-proof@v1, in the order of the leaves; extra is the leaf
	Stamp        []byte   `json:"stamp"`  // of the head, if it has one
	Seal         []byte   `json:"seal"`
}

// Nonce opens the mark of one identifier: see seal.Mark.
type Nonce struct {
	Kind  string `json:"kind"`
	Nth   int    `json:"nth"`
	Nonce []byte `json:"nonce"`
}

// sealKey is the key of the last value, which everything before it is sealed by.
const sealKey = `"seal":`

// Render writes the file, sealed by the signer; nil writes the seal that it has.
func (c *Certificate) Render(s *Signer) []byte {
	w := writer{[]byte("{\n")}
	line := func(name string) { w.b = append(w.b, ` "`+name+`": `...) }
	text := func(name, value string) {
		line(name)
		w.string(value)
		w.b = append(w.b, ",\n"...)
	}
	list := func(name string, n int, each func(i int)) {
		line(name)
		w.b = append(w.b, '[')
		for i := range n {
			if i > 0 {
				w.b = append(w.b, ',')
			}
			w.b = append(w.b, "\n  "...)
			each(i)
		}
		w.b = append(w.b, "\n ],\n"...)
	}
	text("format", c.Format)
	text("organisation", c.Organisation)
	text("version", c.Version)
	list("summary", len(c.Summary), func(i int) { w.string(c.Summary[i]) })
	text("key", c.Key)
	if len(c.Nonces) > 0 {
		list("nonces", len(c.Nonces), func(i int) {
			n := &c.Nonces[i]
			w.b = append(w.b, `{"kind":`...)
			w.string(n.Kind)
			w.b = fmt.Appendf(w.b, `,"nth":%d`, n.Nth)
			w.bytes("nonce", n.Nonce)
			w.b = append(w.b, '}')
		})
	}
	list("proofs", len(c.Proofs), func(i int) { w.string(c.Proofs[i]) })
	if len(c.Stamp) > 0 {
		text("stamp", base64.StdEncoding.EncodeToString(c.Stamp))
	}
	w.b = append(w.b, ' ')
	if s != nil {
		c.Seal = ed25519.Sign(s.key, w.b)
	}
	w.b = append(w.b, sealKey+` "`...)
	w.b = base64.StdEncoding.AppendEncode(w.b, c.Seal)
	return append(w.b, "\"\n}\n"...)
}

// Proof is the proof that a leaf is in the tree of a head.
func Proof(h *Head, read TileReader, index int64, leaf []byte) (string, error) {
	path, err := tlog.ProveRecord(h.Size, index, read)
	if err != nil {
		return "", err
	}
	p := proof.TLogProof{Index: uint64(index), Checkpoint: h.Note, ExtraData: leaf}
	for _, hash := range path {
		p.Hashes = append(p.Hashes, hash)
	}
	return string(p.Marshal()), nil
}

// maxFile bounds the file that is read.
const maxFile = 16 << 20

// readCertificate reads a file and checks that it is written as certificates are, and sealed by
// the key that it names.
func readCertificate(file []byte) (*Certificate, error) {
	if len(file) > maxFile {
		return nil, fmt.Errorf("it has more than %d MiB", maxFile>>20)
	}
	var c Certificate
	if err := json.Unmarshal(file, &c); err != nil {
		return nil, errors.New("it is no certificate: it is no JSON of that kind")
	}
	if c.Format != Format {
		return nil, fmt.Errorf("it is no certificate of the format %s", Format)
	}
	if !bytes.Equal(c.Render(nil), file) {
		return nil, errors.New("it is not written as certificates are: it has been changed")
	}
	key, err := publicKey(c.Key)
	if err != nil {
		return nil, err
	}
	if !ed25519.Verify(key, file[:bytes.LastIndex(file, []byte(sealKey))], c.Seal) {
		return nil, errors.New("its seal is not that of the key that it names: it has been changed")
	}
	return &c, nil
}

func publicKey(vkey string) (ed25519.PublicKey, error) {
	if _, err := note.NewVerifier(vkey); err != nil {
		return nil, errors.New("the key that it names is none")
	}
	raw, err := base64.StdEncoding.DecodeString(strings.SplitN(vkey, "+", 3)[2]) // base64 has a + too
	if err != nil || len(raw) != 1+ed25519.PublicKeySize {
		return nil, errors.New("the key that it names is no Ed25519 key")
	}
	return raw[1:], nil
}

// provenLeaf is a leaf whose proof was found good.
type provenLeaf struct {
	*Leaf
	seq int64
}

// prove checks the proofs of a certificate against its head, which is opened with the keys.
func (c *Certificate) prove(vkeys ...string) (*Head, []provenLeaf, error) {
	if len(c.Proofs) == 0 {
		return nil, nil, errors.New("it has no proofs")
	}
	var head *Head
	var leaves []provenLeaf
	last := int64(-1)
	for i, text := range c.Proofs {
		fail := func(format string, args ...any) (*Head, []provenLeaf, error) {
			return nil, nil, fmt.Errorf("proof %d: "+format, append([]any{i + 1}, args...)...)
		}
		var p proof.TLogProof
		if err := p.Unmarshal([]byte(text)); err != nil {
			return fail("%w", err)
		}
		if string(p.Marshal()) != text {
			return fail("it is not written as proofs are")
		}
		if head == nil {
			var err error
			if head, err = OpenHead(p.Checkpoint, vkeys...); err != nil {
				return fail("%w", err)
			}
		} else if !bytes.Equal(head.Note, p.Checkpoint) {
			return fail("it has another head than the ones before")
		}
		index := int64(p.Index)
		if index <= last || index >= head.Size {
			return fail("its number is out of order")
		}
		last = index
		path := make(tlog.RecordProof, len(p.Hashes))
		for i, h := range p.Hashes {
			path[i] = h
		}
		if err := tlog.CheckRecord(path, head.Size, head.Root, index, Hash(p.ExtraData)); err != nil {
			return fail("the leaf is not in the log, or has been changed")
		}
		leaf, err := ParseLeaf(p.ExtraData)
		if err != nil {
			return fail("%w", err)
		}
		leaves = append(leaves, provenLeaf{leaf, index + 1})
	}
	return head, leaves, nil
}

// opens reports whether an identifier in its normal form is the one that the mark is of.
func opens(id *LeafIdentifier, nonces []Nonce, normal string) bool {
	for _, n := range nonces {
		if n.Kind == id.Kind && n.Nth == id.Nth && len(n.Nonce) == seal.MarkSize && normal != "" {
			mark := seal.Mark([seal.MarkSize]byte(n.Nonce), normal)
			return bytes.Equal(mark[:], id.Mark)
		}
	}
	return false
}
