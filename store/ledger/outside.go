package ledger

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/notaryproject/tspclient-go"
	fnote "github.com/transparency-dev/formats/note"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// Text is what of a head is signed, stamped and cosigned: all that stands before the empty line.
func (h *Head) Text() []byte {
	body, _, _ := bytes.Cut(h.Note, []byte("\n\n"))
	return append(bytes.Clone(body), '\n')
}

// Stamped checks a time stamp (RFC 3161) of the head and returns its time and who gave it. Without
// roots whoever signed it is believed to be who its own certificate says: that is for the one who has
// asked for it, and proves nothing to others.
func (h *Head) Stamped(token []byte, roots *x509.CertPool) (at time.Time, by string, err error) {
	t, err := tspclient.ParseSignedToken(token)
	if err != nil {
		return at, "", fmt.Errorf("the time stamp is none: %w", err)
	}
	info, err := t.Info()
	if err != nil {
		return at, "", fmt.Errorf("the time stamp is none: %w", err)
	}
	stamp, err := info.Validate(h.Text())
	if err != nil {
		return at, "", fmt.Errorf("the time stamp is not of this head: %w", err)
	}
	if roots == nil {
		roots = x509.NewCertPool()
		for _, c := range t.Certificates {
			roots.AddCert(c)
		}
	}
	// By certificates that were good when it was given: what expired since changes nothing.
	chain, err := t.Verify(context.Background(), x509.VerifyOptions{Roots: roots, CurrentTime: info.GenTime})
	if err != nil {
		return at, "", fmt.Errorf("the time stamp is not signed by an authority that is believed: %w", err)
	}
	return stamp.Value.UTC(), chain[0].Subject.CommonName, nil
}

// Witness is somebody who cosigns heads, by c2sp.org/tlog-cosignature: that whoever asks was shown
// no other log.
type Witness struct {
	Name     string
	VKey     string
	verifier note.Verifier
}

// NewWitness reads a witness's public key: of the cosignatures' own kind, or of Ed25519.
func NewWitness(vkey string) (*Witness, error) {
	vkey = strings.TrimSpace(vkey)
	v, err := fnote.NewVerifierForCosignatureV1(vkey)
	if err != nil {
		return nil, errors.New("it is no public key of a witness, such as witness.example.com+1a2b3c4d+BAbc…")
	}
	return &Witness{v.Name(), vkey, v}, nil
}

// Cosigned finds the witness's signature under a head, and when it was made.
func (w *Witness) Cosigned(h *Head) (at time.Time, ok bool) {
	n, err := note.Open(h.Note, note.VerifierList(w.verifier))
	if err != nil || len(n.Sigs) == 0 {
		return at, false
	}
	at, err = fnote.CoSigV1Timestamp(n.Sigs[0])
	return at.UTC(), err == nil
}

// Cosign puts under a head what a witness answered, which may only be signatures of its own.
func (w *Witness) Cosign(h *Head, answer []byte) (*Head, error) {
	if len(answer) == 0 || len(answer) > 4096 || answer[len(answer)-1] != '\n' {
		return nil, errors.New("the witness's answer is no signature")
	}
	for line := range strings.Lines(string(answer)) {
		if !strings.HasPrefix(line, "— "+w.Name+" ") {
			return nil, errors.New("the witness's answer is not a signature of its own")
		}
	}
	with := *h
	with.Note = append(bytes.Clone(h.Note), answer...)
	if _, ok := w.Cosigned(&with); !ok {
		return nil, errors.New("the witness's signature is not good")
	}
	return &with, nil
}

// Consistency is the proof that the head's tree goes on from one of a smaller size: base64, a hash
// a line.
func (h *Head) Consistency(size int64, read TileReader) (string, error) {
	if size == 0 || size == h.Size {
		return "", nil
	}
	path, err := tlog.ProveTree(h.Size, size, read)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	for _, hash := range path {
		fmt.Fprintln(&b, hash.String())
	}
	return b.String(), nil
}
