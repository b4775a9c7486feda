package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"expunge/store/ledger"
)

var (
	// ErrBeforeLog: the subject was taken in before the log began.
	ErrBeforeLog = errors.New("was taken in before the log began")
	// ErrNoHead: no head covers the subject's receipt.
	ErrNoHead = errors.New("is not under a head yet")
)

// Certified says what a certificate is to have besides the proofs.
type Certified struct {
	Organisation, Version string
	Head                  *ledger.Head // that the proofs are to lead to; nil: the newest
	TicketOnly            bool         // nothing by which identifiers could be told
}

// Certify makes the certificate of a subject. later is how many of its events are newer than
// the head. Errors: ErrUnknown, ErrPurged, ErrBeforeLog, ErrNoHead, *LostError.
func (s *Store) Certify(ctx context.Context, subjectID string, o Certified) (file []byte, later int, err error) {
	h, err := s.History(ctx, subjectID)
	if err != nil {
		return nil, 0, err
	}
	if !h.Logged {
		return nil, 0, fmt.Errorf("subject %s %w", subjectID, ErrBeforeLog)
	}
	if o.Head == nil && len(h.Events) > 0 {
		// One with a time stamp is worth more than the newest.
		if o.Head, err = s.StampedHead(ctx, h.Events[len(h.Events)-1].Seq); err != nil {
			return nil, 0, err
		}
	}
	head, signer, err := s.standFor(ctx, o.Head)
	if err != nil {
		return nil, 0, err
	}
	var numbers []int64
	for _, e := range h.Events {
		if head != nil && e.Seq <= head.Size {
			numbers = append(numbers, e.Seq)
		}
	}
	if len(numbers) == 0 {
		return nil, 0, fmt.Errorf("subject %s %w", subjectID, ErrNoHead)
	}
	c := &ledger.Certificate{Format: ledger.Format, Organisation: o.Organisation, Version: o.Version, Key: signer.VKey(), Stamp: head.Stamp}
	if err := s.prove(ctx, c, &h.Subject, head, numbers, o.TicketOnly); err != nil {
		return nil, 0, fmt.Errorf("subject %s: %w", subjectID, err)
	}
	if c.Summary, err = c.Summarize(c.Key); err != nil {
		return nil, 0, s.damaged(fmt.Errorf("subject %s: %w", subjectID, err))
	}
	c.Summary = append(c.Summary, "not proved: "+strings.Join(ledger.NotProved(), "; "))
	if len(c.Nonces) > 0 {
		c.Summary = append(c.Summary, "personal data: whoever has this file can try guesses on the identifiers of the request")
	}
	return c.Render(signer), len(h.Events) - len(numbers), nil
}

// standFor finds the signer of a head, or of the newest, and checks that the store leads to it.
func (s *Store) standFor(ctx context.Context, head *ledger.Head) (*ledger.Head, *ledger.Signer, error) {
	signers, err := s.signers()
	if err != nil {
		return nil, nil, err
	}
	if head == nil {
		head, err = s.Head(ctx)
		return head, signers[0], err
	}
	i := slices.IndexFunc(signers, func(signer *ledger.Signer) bool {
		_, err := ledger.OpenHead(head.Note, signer.VKey())
		return err == nil
	})
	if i < 0 {
		return nil, nil, fmt.Errorf("the head of %s at %d is %w of this log", head.Origin, head.Size, ledger.ErrNotSigned)
	}
	state, err := s.logState(ctx)
	if err != nil {
		return nil, nil, err
	}
	if head.Size > state.size {
		return nil, nil, &LostError{Head: head, Missing: head.Size - state.size}
	}
	if root, err := ledger.TileReader(s.tile).Root(head.Size); err != nil {
		return nil, nil, s.damaged(err)
	} else if root != head.Root {
		return nil, nil, &LostError{Head: head}
	}
	return head, signers[i], nil
}

// ofNumber is a condition for sqlLeaves. Of a list of numbers SQLite would walk the whole table.
const ofNumber = `e.seq = ?`

// prove adds the proofs of events to a certificate, and what opens the marks in them.
func (s *Store) prove(ctx context.Context, c *ledger.Certificate, h *Subject, head *ledger.Head, numbers []int64, ticketOnly bool) error {
	var leaves [][]byte
	r := s.leafReader()
	for _, n := range numbers {
		err := r.each(ctx, ofNumber, func(_ int64, leaf []byte) error {
			leaves = append(leaves, bytes.Clone(leaf))
			return nil
		}, n)
		if err != nil {
			return err
		}
	}
	read := cached(s.tile)
	if len(leaves) != len(numbers) {
		return fmt.Errorf("%w while its certificate was made", ErrUnknown) // purged just now
	}
	for i, leaf := range leaves {
		p, err := ledger.Proof(head, read, numbers[i]-1, leaf)
		if err != nil {
			return s.damaged(err)
		}
		c.Proofs = append(c.Proofs, p)
	}
	if ticketOnly {
		return nil
	}
	received, err := ledger.ParseLeaf(leaves[0])
	if err != nil {
		return err
	}
	d := s.Digester()
	for _, id := range received.Identifiers {
		nonce := d.Nonce(h.secret, id.Kind, id.Nth)
		c.Nonces = append(c.Nonces, ledger.Nonce{Kind: id.Kind, Nth: id.Nth, Nonce: nonce[:]})
	}
	return nil
}
