package batch

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"expunge/store"
	"expunge/store/atomicfile"
	"expunge/store/ledger"
	"expunge/vendors"
)

// FieldName is the name of a subject's field, as stores are to know it.
func FieldName(field int) string { return vendors.Field(field).String() }

// HeadEnd is behind the name of a report in that of the file with the head beside it.
const HeadEnd = ".head"

// Publisher puts the heads of a store's log where they are out of its keeper's reach, or at
// least out of the store's: only such a copy proves anything.
type Publisher struct {
	Store    *store.Store
	HeadFile string // heads are appended to it; "": nowhere
	Beside   string // the newest head is in it; "": nowhere

	mu   sync.Mutex
	read int64 // how much of HeadFile was compared with the store
}

// ErrHeads: a head cannot be published, or those that were cannot be read.
var ErrHeads = errors.New("the heads of the log")

// Compare finds out whether the store has all that was published of it. Errors:
// *store.LostError, ErrHeads.
func (p *Publisher) Compare(ctx context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.read = 0
	return p.compare(ctx)
}

func (p *Publisher) compare(ctx context.Context) error {
	heads, err := p.seen()
	if err != nil {
		return err
	}
	return p.Store.CompareHeads(ctx, heads)
}

// seen returns the heads that were published and not compared yet.
func (p *Publisher) seen() ([]*ledger.Head, error) {
	var heads []*ledger.Head
	for _, path := range []string{p.HeadFile, p.Beside} {
		if path == "" {
			continue
		}
		f, _, err := atomicfile.OpenRegular(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrHeads, err)
		}
		if path == p.HeadFile {
			_, err = f.Seek(p.read, io.SeekStart)
		}
		var b []byte
		if err == nil {
			b, err = io.ReadAll(f)
		}
		if err = errors.Join(err, f.Close()); err != nil {
			return nil, fmt.Errorf("%w: %s: %w", ErrHeads, path, err)
		}
		if path == p.HeadFile {
			p.read += int64(len(b))
		}
		found, _ := ledger.SplitHeads(b)
		heads = append(heads, found...)
	}
	return heads, nil
}

// Published returns all heads that are where the publisher puts them, of whatever log. Errors: ErrHeads.
func (p *Publisher) Published() ([]*ledger.Head, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.read = 0
	return p.seen()
}

// Newest returns the newest of the published heads of the log, or nil.
func (p *Publisher) Newest() (newest *ledger.Head, err error) {
	heads, err := p.Published()
	for _, h := range heads {
		name, epoch := h.Epoch()
		if name != p.Store.LogName() {
			continue
		}
		if newest != nil {
			if _, before := newest.Epoch(); epoch < before || epoch == before && h.Size < newest.Size {
				continue
			}
		}
		newest = h
	}
	return newest, err
}

// Publish hashes what is new, signs a head over it and publishes it. A store that does not have
// all that was published of it publishes nothing. Errors: *store.LostError, ErrHeads, and
// those of the store.
func (p *Publisher) Publish(ctx context.Context) (*ledger.Head, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.compare(ctx); err != nil {
		return nil, err
	}
	h, err := p.Store.Integrate(ctx)
	if err != nil || h == nil {
		return nil, err
	}
	if p.HeadFile != "" {
		if err := appendHead(p.HeadFile, h); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrHeads, err)
		}
	}
	if p.Beside != "" {
		if err := WriteHead(p.Beside, h); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrHeads, err)
		}
	}
	return h, nil
}

// WriteHead writes a head to a file of its own, durably.
func WriteHead(path string, h *ledger.Head) error {
	return atomicfile.WriteFile(path, nil, func(w io.Writer) error {
		_, err := w.Write(h.Note)
		return err
	})
}

// appendHead appends a head to a file, durably, unless it is the last one there.
func appendHead(path string, h *ledger.Head) error {
	if err := atomicfile.CheckTarget(path); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return err
	}
	note := append(bytes.Clone(h.Note), '\n')
	end := make([]byte, min(st.Size(), int64(len(note))))
	if _, err := f.ReadAt(end, st.Size()-int64(len(end))); err != nil && len(end) > 0 {
		return err
	}
	switch {
	case bytes.Equal(end, note):
		return nil
	case len(end) > 0 && !bytes.HasSuffix(end, []byte("\n\n")): // the last one was cut off
		note = append([]byte("\n\n"), note...)
	}
	if _, err := f.Write(note); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if st.Size() > 0 {
		return nil
	}
	return atomicfile.SyncDir(filepath.Dir(path))
}
