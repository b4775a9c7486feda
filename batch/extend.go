package batch

import (
	"context"
	"errors"
	"fmt"
	"time"

	"expunge/batch/words"
	"expunge/store"
)

var (
	// ErrLateExtension: the due date is over, and a later one would not make the request timely.
	ErrLateExtension = errors.New("an extension is made before the due date")
	// ErrLongExtension: the law does not give so much time.
	ErrLongExtension = errors.New("GDPR Art. 12(3) gives three months from receipt at the longest")
)

// Extension is a later due date that a person asks for.
type Extension struct {
	SubjectID string
	Until     time.Time
	Longest   func(received time.Time) time.Time // the latest due date that the law allows
	Override  bool                               // also after the due date, and beyond the longest
}

// Extend gives a request and its unsettled tasks a later due date and records it. Errors:
// those of the store's Extend, ErrLateExtension, ErrLongExtension.
func (t *Tasks) Extend(ctx context.Context, x Extension, d store.Decision) (store.Extension, error) {
	plain, err := t.Store.Plain(ctx, x.SubjectID)
	if err != nil {
		return store.Extension{}, err
	}
	if d.Note = words.Note(d.Note, plain); x.Override {
		d.Note = "override: " + d.Note
	}
	return t.Store.Extend(ctx, x.SubjectID, x.Until, d, func(was store.Extension) error {
		longest := x.Longest(was.ReceivedAt)
		switch {
		case x.Override:
		case d.At.After(was.Former):
			return fmt.Errorf("subject %s was due on %s: %w", x.SubjectID, was.Former.Format(time.DateOnly), ErrLateExtension)
		case x.Until.After(longest):
			return fmt.Errorf("subject %s was received on %s, which is until %s: %w", x.SubjectID, was.ReceivedAt.Format(time.DateOnly),
				longest.Format(time.DateOnly), ErrLongExtension)
		}
		return nil
	})
}
