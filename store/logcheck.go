package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"

	"golang.org/x/mod/sumdb/tlog"

	"expunge/store/ledger"
)

// LogCheck is what a check of the log has found.
type LogCheck struct {
	Events   int64 // whose rows were compared with what was hashed
	Dark     int64 // leaves without a row: of people who were purged, or of what was taken back
	Tiles    int64
	Heads    int64
	Outside  int64    // heads from outside that the store leads to
	Unsigned int64    // events that no head covers yet
	Problems []string // what is not as it was, each named
}

// maxProblems bounds the list: a store with another key, say, has as many as it has events.
const maxProblems = 200

func (k *LogCheck) problem(format string, args ...any) {
	if len(k.Problems) < maxProblems {
		k.Problems = append(k.Problems, fmt.Sprintf(format, args...))
	}
}

// CheckLog compares every event with what was hashed of it, every hash with those above it, and
// every head with the tree; and heads from outside with all of it. It writes nothing.
func (s *Store) CheckLog(ctx context.Context, outside []*ledger.Head) (*LogCheck, error) {
	k := &LogCheck{}
	state, err := s.logState(ctx)
	if err != nil {
		return nil, err
	}
	keys, err := s.LogKeys()
	if err != nil {
		return nil, err
	}
	tiles, err := s.checkTiles(ctx, k, state.size)
	if err != nil {
		return nil, err
	}
	if err := s.checkHeads(ctx, k, state, keys, tiles); err != nil {
		return nil, err
	}
	if err := s.checkLeaves(ctx, k, state.size, tiles); err != nil {
		return nil, err
	}
	if err := s.checkChains(ctx, k); err != nil {
		return nil, err
	}
	if err := s.checkStanding(ctx, k); err != nil {
		return nil, err
	}
	for _, h := range outside {
		name, epoch := h.Epoch()
		switch _, unsigned := ledger.OpenHead(h.Note, keys...); {
		case name != s.log.name:
			k.problem("outside: the head of %s at %d is of another log", h.Origin, h.Size)
		case unsigned != nil:
			k.problem("outside: the head of %s at %d is not signed by this log's key", h.Origin, h.Size)
		default:
			if err := s.CompareHeads(ctx, []*ledger.Head{h}); err != nil {
				k.problem("outside: the head of %s at %d: %v", h.Origin, h.Size, err)
				continue
			}
			if k.Outside++; epoch == state.epoch && h.Size <= state.size {
				s.checkKept(ctx, k, h)
			}
		}
	}
	return k, nil
}

// checkKept finds out whether the store still has a head that was published.
func (s *Store) checkKept(ctx context.Context, k *LogCheck, h *ledger.Head) {
	have, err := s.heads(ctx, `WHERE size = ?`, h.Size)
	if err != nil {
		return // named already
	}
	if !slices.ContainsFunc(have, h.SameTree) {
		k.problem("head %d: it was published, and the store does not have it any more", h.Size)
	}
}

// checkedTiles is what is known of the tiles.
type checkedTiles struct {
	read ledger.TileReader
	bad  map[int64]bool // tiles of level 0 that do not fit what is above them
	top  bool           // the newest head fits
}

func (s *Store) checkTiles(ctx context.Context, k *LogCheck, size int64) (*checkedTiles, error) {
	t := &checkedTiles{read: cached(s.tile), bad: map[int64]bool{}, top: true}
	const width = ledger.TileWidth
	for level, count := 0, size; count > 0; level, count = level+1, count/width {
		for n := int64(0); n*width < count; n++ {
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			tile, err := s.tile(level, n)
			if err != nil {
				return nil, err
			}
			k.Tiles++
			want := int(min(width, count-n*width)) * tlog.HashSize
			if len(tile) < want {
				k.problem("tile %d of level %d: it has %d bytes, not %d", n, level, len(tile), want)
				t.bad[n] = t.bad[n] || level == 0
				continue
			}
			if want < width*tlog.HashSize {
				continue // the heads tell
			}
			above, err := t.read(level+1, n/width)
			if err != nil {
				return nil, err
			}
			if root := ledger.TileRoot(tile); len(above) >= int(n%width+1)*tlog.HashSize && !bytes.Equal(above[n%width*tlog.HashSize:][:tlog.HashSize], root[:]) {
				k.problem("tile %d of level %d: it is not what tile %d of level %d stands for: one of the two was changed", n, level, n/width, level+1)
				t.bad[n] = t.bad[n] || level == 0
			}
		}
		var more int64
		if err := s.read.QueryRowContext(ctx, `SELECT count(*) FROM tiles WHERE id BETWEEN ? AND ?`, int64(level)*tileLevel+(count+width-1)/width, int64(level+1)*tileLevel-1).Scan(&more); err != nil {
			return nil, explain(err)
		}
		if more > 0 {
			k.problem("level %d has %d tiles more than the log has events for", level, more)
		}
	}
	return t, nil
}

func (s *Store) checkHeads(ctx context.Context, k *LogCheck, state logState, keys []string, t *checkedTiles) error {
	rows, err := s.read.QueryContext(ctx, `SELECT size, note FROM heads ORDER BY size`)
	if err != nil {
		return explain(err)
	}
	defer rows.Close()
	newest, lastEpoch := int64(0), int64(1)
	for rows.Next() {
		var size int64
		var note []byte
		if err := rows.Scan(&size, &note); err != nil {
			return explain(err)
		}
		k.Heads++
		newest = size
		h, err := ledger.OpenHead(note, keys...)
		if err != nil {
			k.problem("head %d: %v", size, err)
			continue
		}
		name, epoch := h.Epoch()
		root, err := t.read.Root(min(h.Size, state.size))
		switch {
		case h.Size != size || name != s.log.name || epoch < lastEpoch || epoch > state.epoch:
			k.problem("head %d: it is the one of %s at %d, which belongs elsewhere", size, h.Origin, h.Size)
		case size > state.size:
			k.problem("head %d: the log has %d leaves", size, state.size)
		case err != nil:
			k.problem("head %d: %v", size, err)
			t.top = false
		case root != h.Root:
			k.problem("head %d: the tree is not the one that was signed", size)
			t.top = false
		}
		lastEpoch = max(lastEpoch, epoch)
	}
	k.Unsigned = state.events - newest
	if k.Heads == 0 && state.size > 0 {
		k.problem("the log has %d leaves and no head", state.size)
	}
	return explain(rows.Err())
}

// checkLeaves compares the rows of events with their hashes.
func (s *Store) checkLeaves(ctx context.Context, k *LogCheck, size int64, t *checkedTiles) error {
	next := int64(1)
	err := s.leafReader().each(ctx, `e.seq <= ?`, func(seq int64, leaf []byte) error {
		k.Dark += seq - next
		next = seq + 1
		k.Events++
		n, at := (seq-1)/ledger.TileWidth, int((seq-1)%ledger.TileWidth)*tlog.HashSize
		tile, err := t.read(0, n)
		if err != nil || len(tile) < at+tlog.HashSize {
			return err // named already
		}
		if hash := ledger.Hash(leaf); !bytes.Equal(tile[at:at+tlog.HashSize], hash[:]) {
			if full := (n+1)*ledger.TileWidth <= size; t.bad[n] || !full && !t.top {
				k.problem("event %d: its hash in tile %d of level 0 is not that of its row: the tile was changed", seq, n)
			} else {
				k.problem("event %d: its row is not what was hashed: it was changed", seq)
			}
		}
		return nil
	}, size)
	if k.Dark += size + 1 - next; err != nil {
		k.problem("%v", err)
	}
	return ctx.Err()
}

// checkChains finds events that are missing though their people are there.
func (s *Store) checkChains(ctx context.Context, k *LogCheck) error {
	for _, q := range []struct{ query, says string }{
		{`SELECT e.prev, e.seq FROM events e WHERE e.prev IS NOT NULL AND NOT EXISTS (SELECT 1 FROM events p WHERE p.seq = e.prev)`, "event %d: it is missing, and event %d came after it"},
		{`SELECT t.event, t.id FROM tasks t WHERE t.event IS NOT NULL AND NOT EXISTS (SELECT 1 FROM events e WHERE e.seq = t.event)`, "event %d: it is missing, the last of task %d"},
		{`SELECT x.event, x.id FROM subjects x WHERE x.event IS NOT NULL AND NOT EXISTS (SELECT 1 FROM events e WHERE e.seq = x.event)
 AND NOT EXISTS (SELECT 1 FROM batches b WHERE b.id = x.batch AND b.loading)`, "event %d: it is missing, the last of subject %d itself"},
		{`SELECT last, one FROM log WHERE last IS NOT NULL AND NOT EXISTS (SELECT 1 FROM events e WHERE e.seq = last)`, "event %d: it is missing, the last of those about nobody (%d)"},
		{`SELECT e.seq, e.task/1000 FROM events e WHERE e.task IS NOT NULL AND NOT EXISTS (SELECT 1 FROM subjects x WHERE x.id = e.task/1000)`, "event %d: it is of subject %d, who is not there"},
	} {
		rows, err := s.read.QueryContext(ctx, q.query+` LIMIT ?`, maxProblems)
		if err != nil {
			return explain(err)
		}
		for rows.Next() {
			var a, b int64
			if err = rows.Scan(&a, &b); err != nil {
				break
			}
			k.problem(q.says, a, b)
		}
		if err := errors.Join(err, rows.Err(), rows.Close()); err != nil {
			return explain(err)
		}
	}
	return nil
}

// sqlStanding finds tasks that stand elsewhere than their newest event left them. Of those that
// are neither final, held nor waiting, what changes is not told, nor why one still waits.
const sqlStanding = `SELECT t.id, e.seq FROM tasks t JOIN events n ON n.seq = t.event
 JOIN events e ON e.seq = CASE n.event WHEN 12 THEN n.prev ELSE n.seq END JOIN states st ON st.code = t.state
 WHERE t.state IN (3,5,6,7,9) AND e.task = t.id AND e.event <> 12 AND (st.name <> CASE e.event WHEN 3 THEN 'waiting' WHEN 4 THEN 'held' WHEN 5 THEN e.body ->> 'state'
  WHEN 8 THEN 'failed' WHEN 9 THEN 'erased' WHEN 10 THEN 'not_found' WHEN 11 THEN 'failed' ELSE '' END
 OR t.reference IS NOT e.reference OR t.submitted_at IS NOT e.submitted_at
 OR nullif(t.evidence, 0) IS NOT e.evidence OR t.records IS NOT e.records OR t.records_after IS NOT e.records_after
 OR t.state > 3 AND t.reason IS NOT e.reason
 OR t.state > 5 AND (t.completed_at IS NOT e.completed_at OR t.verified_at IS NOT e.verified_at)
 OR (t.closed_at IS NOT NULL) <> coalesce(e.body ->> 'closed', 0)) LIMIT ?`

func (s *Store) checkStanding(ctx context.Context, k *LogCheck) error {
	rows, err := s.read.QueryContext(ctx, sqlStanding, maxProblems)
	if err != nil {
		return explain(err)
	}
	defer rows.Close()
	for rows.Next() {
		var task, seq int64
		if err := rows.Scan(&task, &seq); err != nil {
			return explain(err)
		}
		k.problem("task %d: it is not where event %d, its newest, left it: it was changed", task, seq)
	}
	return explain(rows.Err())
}

// CheckFile runs SQLite's own check of the whole file, and returns what it finds; nil where all
// is well.
func (s *Store) CheckFile(ctx context.Context) ([]string, error) {
	// SQLite does not look at CHECK constraints through a connection that can only read.
	db, err := open(s.path, "mode=rw&_query_only=on")
	if err != nil {
		return nil, err
	}
	defer db.Close()
	rows, err := db.QueryContext(ctx, `PRAGMA integrity_check(20)`)
	if err != nil {
		return nil, explain(err)
	}
	defer rows.Close()
	var all []string
	for rows.Next() {
		var line string
		if err := rows.Scan(&line); err != nil {
			return nil, explain(err)
		}
		if line != "ok" {
			all = append(all, line)
		}
	}
	return all, explain(rows.Err())
}
