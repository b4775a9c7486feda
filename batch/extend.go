package batch

import (
	"context"
	"time"

	"expunge/batch/words"
	"expunge/store"
)

// Extend gives a request and its open tasks a later due date and records it. The errors are
// those of the store's Extend.
func (t *Tasks) Extend(ctx context.Context, subjectID string, until time.Time, d store.Decision) (store.Extension, error) {
	plain, err := t.Store.Plain(ctx, subjectID)
	if err != nil {
		return store.Extension{}, err
	}
	d.Note = words.Note(d.Note, plain)
	return t.Store.Extend(ctx, subjectID, until, d)
}
