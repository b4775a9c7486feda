package store

import (
	"cmp"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"database/sql"
	"database/sql/driver"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"

	"expunge/store/ledger"
	"expunge/store/seal"
)

// logPlace is where the keys of the log are sealed to.
var logPlace = seal.Place{Table: "log_keys"}

// logKeys are the keys of the log: their seeds, one behind the other, the newest first.
type logKeys struct {
	mu    sync.Mutex // one at a time hashes and signs
	seeds []byte
	name  string // of the log
}

// openLog opens the keys of the log, or makes the first.
func (s *Store) openLog(ctx context.Context) error {
	var name sql.NullString
	var sealed []byte
	err := s.read.QueryRowContext(ctx, `SELECT (SELECT name FROM log), (SELECT value FROM meta WHERE name = 'log_keys')`).Scan(&name, &sealed)
	if err != nil {
		return fmt.Errorf("store: %w", explain(err))
	}
	s.log.name = cmp.Or(name.String, s.o.LogName, "expunge/"+hex.EncodeToString(s.id))
	switch {
	case sealed != nil:
		s.log.seeds, err = s.box.Open(nil, sealed, logPlace)
		return err
	case s.write == nil:
		return nil // made by the next command that writes
	}
	s.log.seeds = make([]byte, ed25519.SeedSize)
	rand.Read(s.log.seeds)
	_, err = s.write.ExecContext(ctx, `INSERT INTO meta VALUES ('log_keys', ?)`, s.box.Seal(nil, s.log.seeds, logPlace))
	return explain(err)
}

// LogName is what the log is called: from its first head on always the same.
func (s *Store) LogName() string { return s.log.name }

// signers are those of the log's keys, the newest first.
func (s *Store) signers() ([]*ledger.Signer, error) {
	var all []*ledger.Signer
	for seed := range slices.Chunk(s.log.seeds, ed25519.SeedSize) {
		signer, err := ledger.NewSigner(s.log.name, seed)
		if err != nil {
			return nil, err
		}
		all = append(all, signer)
	}
	if len(all) == 0 {
		return nil, errors.New("the log has no key yet: the next run makes it")
	}
	return all, nil
}

// LogKeys returns the log's public keys, the newest first.
func (s *Store) LogKeys() ([]string, error) {
	all, err := s.signers()
	var keys []string
	for _, signer := range all {
		keys = append(keys, signer.VKey())
	}
	return keys, err
}

// RotateLogKey gives the log a new key. Heads are signed by it and by the one before, so that
// whoever has the one before can believe the new one.
func (s *Store) RotateLogKey(ctx context.Context) error {
	s.log.mu.Lock()
	defer s.log.mu.Unlock()
	seed := make([]byte, ed25519.SeedSize)
	rand.Read(seed)
	signer, err := ledger.NewSigner(s.log.name, seed)
	if err != nil {
		return err
	}
	seeds := append(seed, s.log.seeds...)
	err = s.inTx(ctx, func(c *sql.Conn) error {
		if _, err := c.ExecContext(context.Background(), `UPDATE meta SET value = ? WHERE name = 'log_keys'`, s.box.Seal(nil, seeds, logPlace)); err != nil {
			return err
		}
		return s.tell(c, func(w *writer) error { return w.tellAll(EventKey, &EventBody{LogKey: signer.VKey()}) })
	})
	if err == nil {
		s.log.seeds = seeds
	}
	return err
}

// logState is the row of table log.
type logState struct {
	epoch, size int64
	events      int64 // the newest that counts: of a batch that is being loaded, none does
}

func (s *Store) logState(ctx context.Context) (l logState, err error) {
	err = s.read.QueryRowContext(ctx, `SELECT epoch, size, max(size, coalesce((SELECT min(first_event) - 1 FROM batches WHERE loading AND first_event IS NOT NULL),
 (SELECT max(seq) FROM events), 0)) FROM log`).Scan(&l.epoch, &l.size, &l.events)
	return l, explain(err)
}

const tileLevel = 1 << 40

const sqlTile = `SELECT hashes FROM tiles WHERE id = ?`

// tile is a ledger.TileReader.
func (s *Store) tile(level int, n int64) (hashes []byte, err error) {
	err = s.read.QueryRow(sqlTile, int64(level)*tileLevel+n).Scan(&hashes)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil // whoever needs them says how many are missing
	}
	return hashes, explain(err)
}

// overlay reads tiles that are not on disk yet before those that are.
func (s *Store) overlay(changed map[ledger.TileID][]byte) ledger.TileReader {
	return func(level int, n int64) ([]byte, error) {
		if tile, ok := changed[ledger.TileID{Level: level, N: n}]; ok {
			return tile, nil
		}
		return s.tile(level, n)
	}
}

// cached reads tiles once: those who ask for many hashes ask for the same few tiles again and again.
func cached(read ledger.TileReader) ledger.TileReader {
	kept := map[ledger.TileID][]byte{}
	return func(level int, n int64) ([]byte, error) {
		id := ledger.TileID{Level: level, N: n}
		if tile, ok := kept[id]; ok {
			return tile, nil
		}
		if len(kept) > 64 {
			clear(kept)
		}
		tile, err := read(level, n)
		if err == nil {
			kept[id] = tile
		}
		return tile, err
	}
}

// hashChunk is how many leaves are hashed before their tiles are written.
const hashChunk = 8192

// Integrate hashes the events that the tree does not have yet, and signs its head. Without new
// events it returns the newest head, which is nil where nothing has ever happened. It can be
// cut short at any point, and be called while changes are made: what it has not seen is
// for the next call.
func (s *Store) Integrate(ctx context.Context) (*ledger.Head, error) {
	s.log.mu.Lock()
	defer s.log.mu.Unlock()
	state, err := s.logState(ctx)
	if err != nil {
		return nil, err
	}
	head, err := s.Head(ctx)
	if err != nil || head != nil && head.Size == state.events || state.events == 0 {
		return head, err
	}
	a, err := ledger.NewAppender(state.size, s.tile)
	if err != nil {
		return nil, s.damaged(err)
	}
	signers, err := s.signers()
	if err != nil {
		return nil, err
	}
	r := s.leafReader()
	for {
		upto := min(a.Size+hashChunk, state.events)
		if err := r.hash(ctx, a, upto); err != nil {
			return nil, err
		}
		if upto == state.events {
			root, err := s.overlay(a.Changed).Root(upto)
			if err != nil {
				return nil, s.damaged(err)
			}
			if head, err = ledger.SignHead(fmt.Sprintf("%s/%d", s.log.name, state.epoch), upto, root, s.Now(), signers[:min(2, len(signers))]...); err != nil {
				return nil, err
			}
		}
		err = s.inTx(ctx, func(c *sql.Conn) error {
			bg := context.Background()
			for id, tile := range a.Changed {
				if _, err := c.ExecContext(bg, `INSERT OR REPLACE INTO tiles VALUES (?, ?)`, int64(id.Level)*tileLevel+id.N, tile); err != nil {
					return err
				}
			}
			if _, err := c.ExecContext(bg, `UPDATE log SET size = ?`, a.Size); err != nil || upto < state.events {
				return err
			}
			if _, err := c.ExecContext(bg, `UPDATE log SET name = ?`, s.log.name); err != nil {
				return err
			}
			_, err := c.ExecContext(bg, `INSERT OR REPLACE INTO heads (size, note) VALUES (?, ?)`, head.Size, head.Note)
			return err
		})
		if err != nil || upto == state.events {
			return head, err
		}
		clear(a.Changed)
	}
}

// damaged says what to do about a tree that cannot be gone on with.
func (s *Store) damaged(err error) error {
	return fmt.Errorf("the log is damaged (`expunge log check` says where): %w", err)
}

// Head returns the newest head, or nil.
func (s *Store) Head(ctx context.Context) (*ledger.Head, error) {
	all, err := s.heads(ctx, `ORDER BY size DESC LIMIT 1`)
	if err != nil || len(all) == 0 {
		return nil, err
	}
	return all[0], nil
}

// StampedHead returns the newest head that has a time stamp and stands for an event, or nil.
func (s *Store) StampedHead(ctx context.Context, event int64) (*ledger.Head, error) {
	all, err := s.heads(ctx, `WHERE stamp IS NOT NULL AND size >= ? ORDER BY size DESC LIMIT 1`, event)
	if err != nil || len(all) == 0 {
		return nil, err
	}
	return all[0], nil
}

// CosignedHead returns the newest head that a witness has cosigned, of the last hundred, or nil.
func (s *Store) CosignedHead(ctx context.Context, w *ledger.Witness) (*ledger.Head, error) {
	all, err := s.heads(ctx, `ORDER BY size DESC LIMIT 100`)
	for _, h := range all {
		if _, ok := w.Cosigned(h); ok {
			return h, err
		}
	}
	return nil, err
}

// Consistency is the proof for others that a head goes on from one of a smaller size.
func (s *Store) Consistency(h *ledger.Head, size int64) (string, error) {
	return h.Consistency(size, cached(s.tile))
}

// KeepHead keeps what others have added to a head: signatures, and a time stamp.
func (s *Store) KeepHead(ctx context.Context, h *ledger.Head) error {
	return s.inTx(ctx, func(c *sql.Conn) error {
		_, err := c.ExecContext(context.Background(), `UPDATE heads SET note = ?, stamp = ? WHERE size = ?`, h.Note, h.Stamp, h.Size)
		return err
	})
}

func (s *Store) heads(ctx context.Context, which string, args ...any) ([]*ledger.Head, error) {
	rows, err := s.read.QueryContext(ctx, `SELECT note, stamp FROM heads `+which, args...)
	if err != nil {
		return nil, explain(err)
	}
	defer rows.Close()
	var all []*ledger.Head
	for rows.Next() {
		var note, stamp []byte
		if err := rows.Scan(&note, &stamp); err != nil {
			return nil, explain(err)
		}
		h, err := ledger.ReadHead(note)
		if err != nil {
			return nil, s.damaged(err)
		}
		h.Stamp = stamp
		all = append(all, h)
	}
	return all, explain(rows.Err())
}

// leafReader makes leaves of events.
type leafReader struct {
	s       *Store
	shapes  map[int64][]ledger.LeafTask
	vendors map[int64]vendorName
	buf     []byte
}

type vendorName struct{ name, kind string }

func (s *Store) leafReader() *leafReader {
	return &leafReader{s: s, shapes: map[int64][]ledger.LeafTask{}}
}

// sqlLeaves has what a leaf is made of. Nothing of it ever changes but with the event itself.
const sqlLeaves = `SELECT e.seq, e.task, e.prev, e.at, e.event, e.evidence, e.reason, e.records, e.records_after, e.reference, e.submitted_at,
 e.completed_at, e.verified_at, e.body, t.vendor, t.identifier, s.secret,
 CASE e.event WHEN 1 THEN s.subject_id END, CASE e.event WHEN 1 THEN s.received_at END, CASE e.event WHEN 1 THEN coalesce(s.original_due_at, s.due_at) END,
 CASE e.event WHEN 1 THEN s.marks END, CASE e.event WHEN 1 THEN s.channel END
 FROM events e LEFT JOIN tasks t ON t.id = e.task LEFT JOIN subjects s ON s.id = e.task/1000 WHERE `

// each calls fn with the leaves of events that a condition names, in their order.
func (r *leafReader) each(ctx context.Context, where string, fn func(seq int64, leaf []byte) error, args ...driver.Value) error {
	conn, err := r.s.read.Conn(ctx)
	if err != nil {
		return explain(err)
	}
	defer conn.Close()
	err = conn.Raw(func(dc any) error {
		c, ok := dc.(driver.Conn)
		if !ok {
			return errForm
		}
		q, err := prepare(c, sqlLeaves+where+` ORDER BY e.seq`)
		if err != nil {
			return err
		}
		defer q.close()
		_, err = q.each(func(row []driver.Value) error {
			if err := ctx.Err(); err != nil {
				return err
			}
			seq, l, err := r.leaf(ctx, row)
			if err != nil {
				return fmt.Errorf("event %d: %w", seq, err)
			}
			r.buf = l.Append(r.buf[:0])
			return fn(seq, r.buf)
		}, args...)
		return err
	})
	return explain(err)
}

// gone is the leaf of an event whose person was purged before it was hashed.
var gone = (&ledger.Leaf{Event: "gone"}).Render()

// hash appends the leaves up to a number.
func (r *leafReader) hash(ctx context.Context, a *ledger.Appender, upto int64) error {
	fill := func(until int64) {
		for a.Size < until {
			a.Append(ledger.Hash(gone))
		}
	}
	err := r.each(ctx, `e.seq > ? AND e.seq <= ?`, func(seq int64, leaf []byte) error {
		fill(seq - 1)
		a.Append(ledger.Hash(leaf))
		return nil
	}, a.Size, upto)
	fill(upto)
	return err
}

// leaf makes the leaf of a row of sqlLeaves.
func (r *leafReader) leaf(ctx context.Context, row []driver.Value) (seq int64, l *ledger.Leaf, err error) {
	number := func(i int) int64 { n, _ := row[i].(int64); return n }
	text := func(i int) string {
		switch v := row[i].(type) {
		case string:
			return v
		case []byte:
			return string(v)
		}
		return ""
	}
	count := func(i int) *int64 {
		if n, ok := row[i].(int64); ok {
			return &n
		}
		return nil
	}
	seq = number(0)
	kind, task := EventKind(number(4)), number(1)
	l = &ledger.Leaf{Event: kind.String(), At: ledger.Seconds(number(3))}
	if row[1] != nil {
		secret, _ := row[16].([]byte)
		if secret == nil {
			return seq, l, nil // of somebody from before the log
		}
		l.Salt = ledger.Salt(secret, seq)
	}
	l.Prev = number(2)
	if err := r.addBody(ctx, l, text(13)); err != nil {
		return seq, nil, err
	}
	switch own := task%TasksPerSubject == ownTask; {
	case row[1] == nil:
	case own:
		l.Task = ledger.OwnTask
		if kind == EventReceived || row[9] != nil { // reference is the shape
			if l.Tasks, err = r.shape(ctx, number(9)); err != nil {
				return seq, nil, err
			}
		}
		if kind == EventReceived {
			l.Subject, l.ReceivedAt, l.DueAt, l.Channel = text(17), ledger.Seconds(number(18)), ledger.Seconds(number(19)), text(21)
			marks, _ := row[20].([]byte)
			if n := int(number(7)) * markRoom; n < len(marks) {
				marks = marks[:n] // those that it had then
			}
			err = eachMark(marks, func(field byte, nth int, mark []byte) error {
				l.Identifiers = append(l.Identifiers, ledger.LeafIdentifier{Kind: r.s.kind(int(field)), Nth: nth, Mark: slices.Clone(mark)})
				return nil
			})
		}
	default:
		if l.Task, err = r.taskName(ctx, number(14), number(15)); err != nil {
			return seq, nil, err
		}
		l.Evidence, l.Reason = Evidence(number(5)).String(), text(6)
		l.Records, l.RecordsAfter = count(7), count(8)
		var ref reference
		if err := ref.Scan(row[9]); err != nil {
			return seq, nil, err
		}
		l.Reference = string(ref)
		l.SubmittedAt, l.CompletedAt, l.VerifiedAt = ledger.Seconds(number(10)), ledger.Seconds(number(11)), ledger.Seconds(number(12))
	}
	return seq, l, err
}

// addBody adds what few events have.
func (r *leafReader) addBody(ctx context.Context, l *ledger.Leaf, body string) error {
	if body == "" {
		return nil
	}
	var b EventBody
	if err := json.Unmarshal([]byte(body), &b); err != nil {
		return fmt.Errorf("%w: %w", errForm, err)
	}
	l.Action, l.State, l.Closed, l.Until = b.Action, b.State, b.Closed, ledger.Seconds(b.Until)
	l.AnsweredAt, l.Channel = ledger.Seconds(b.AnsweredAt), b.Channel
	l.Export, l.Bytes, l.SHA256 = b.Export, b.Bytes, b.SHA256
	l.Batch, l.Dropped, l.Rows, l.Subjects, l.Invalid, l.Duplicates, l.TaskCount = b.Batch, b.Dropped, b.Rows, b.Subjects, b.Invalid, b.Duplicates, b.Tasks
	l.Run, l.Intents, l.Version, l.Config, l.Before = b.Run, b.Intents, b.Version, b.Config, ledger.Seconds(b.Before)
	l.LogKey, l.LostOrigin, l.LostSize, l.LostRoot, l.Note = b.LogKey, b.LostOrigin, b.LostSize, b.LostRoot, b.Note
	if b.Vendor != 0 {
		v, err := r.vendor(ctx, b.Vendor)
		if err != nil {
			return err
		}
		l.Vendor = v.name
	}
	return nil
}

// vendor finds a vendor's name and kind, which never change.
func (r *leafReader) vendor(ctx context.Context, id int64) (vendorName, error) {
	v, ok := r.vendors[id]
	if ok {
		return v, nil
	}
	all, err := r.s.Vendors(ctx)
	if err != nil {
		return v, err
	}
	r.vendors = map[int64]vendorName{}
	for name, v := range all {
		r.vendors[v.ID] = vendorName{name, v.Kind}
	}
	if v, ok = r.vendors[id]; !ok {
		return v, fmt.Errorf("vendor %d: %w", id, ErrUnknown)
	}
	return v, nil
}

func (r *leafReader) taskName(ctx context.Context, vendor, identifier int64) (string, error) {
	v, err := r.vendor(ctx, vendor)
	if err != nil {
		return "", err
	}
	if field := int(identifier % perField); field != 0 {
		return fmt.Sprintf("%s/%s/%d", v.name, r.s.kind(field), identifier/perField), nil
	}
	return v.name, nil // skipped
}

// shape lists the tasks of a shape, which never change.
func (r *leafReader) shape(ctx context.Context, shape int64) ([]ledger.LeafTask, error) {
	tasks, ok := r.shapes[shape]
	if ok {
		return tasks, nil
	}
	rows, err := r.s.read.QueryContext(ctx, `SELECT vendor, identifier, state, coalesce(reason, ''), coalesce(act, '') FROM shapes WHERE shape = ? ORDER BY n`, shape)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var vendor, identifier int64
		var state State
		var t ledger.LeafTask
		if err := rows.Scan(&vendor, &identifier, &state, &t.Skipped, &t.Act); err != nil {
			return nil, err
		}
		if state != Skipped {
			t.Skipped = ""
		}
		if t.Task, err = r.taskName(ctx, vendor, identifier); err != nil {
			return nil, err
		}
		t.Kind = r.vendors[vendor].kind
		tasks = append(tasks, t)
	}
	r.shapes[shape] = tasks
	return tasks, rows.Err()
}

// kind names a field.
func (s *Store) kind(field int) string {
	if s.o.Kind == nil {
		return fmt.Sprintf("field%d", field)
	}
	return s.o.Kind(field)
}

// roots reads the tree of the first events also where they are not hashed yet.
func (s *Store) roots(ctx context.Context, upto int64) (ledger.TileReader, error) {
	state, err := s.logState(ctx)
	if err != nil || upto <= state.size {
		return cached(s.tile), err
	}
	a, err := ledger.NewAppender(state.size, s.tile)
	if err != nil {
		return nil, s.damaged(err)
	}
	return cached(s.overlay(a.Changed)), s.leafReader().hash(ctx, a, min(upto, state.events))
}

// LostError says that a head was published that this store does not lead to.
type LostError struct {
	Head    *ledger.Head
	Missing int64 // events that the head covers and the store does not have; 0: it has others
}

func (e *LostError) Error() string {
	if e.Missing > 0 {
		return fmt.Sprintf("this store is older than what was published of it: %d events are missing (a restored backup, or a second copy?)", e.Missing)
	}
	return fmt.Sprintf("this store is not the one whose log was published at %d events as %s (a restored backup, or a second copy, that was worked on?)", e.Head.Size, e.Head.Origin)
}

// CompareHeads finds out whether the store has all that heads outside of it stand for, which
// are those of its log. Heads of earlier epochs that it does not lead to are passed over: they
// were given up. Errors: *LostError, with the newest head that is not reached.
func (s *Store) CompareHeads(ctx context.Context, outside []*ledger.Head) error {
	state, err := s.logState(ctx)
	if err != nil {
		return err
	}
	keys, err := s.LogKeys()
	if err != nil {
		return err
	}
	upto := int64(0)
	for _, h := range outside {
		if h.Size <= state.events {
			upto = max(upto, h.Size)
		}
	}
	tiles, err := s.roots(ctx, upto)
	if err != nil {
		return err
	}
	var lost *LostError
	for _, h := range outside {
		name, epoch := h.Epoch()
		if name != s.log.name || epoch < state.epoch {
			continue
		}
		if _, err := ledger.OpenHead(h.Note, keys...); err == nil && epoch == state.epoch && h.Size <= state.events {
			root, err := tiles.Root(h.Size)
			if err != nil {
				return s.damaged(err)
			}
			if root == h.Root {
				continue
			}
		}
		if lost != nil {
			if _, before := lost.Head.Epoch(); cmp.Or(cmp.Compare(epoch, before), cmp.Compare(h.Size, lost.Head.Size)) <= 0 {
				continue
			}
		}
		lost = &LostError{Head: h, Missing: max(0, h.Size-state.events)}
	}
	if lost != nil {
		return lost
	}
	return nil
}

// TellIntents records that submissions are about to leave that must not be repeated: the head
// behind it tells any copy of the store from before.
func (s *Store) TellIntents(ctx context.Context, run, n int64) error {
	return s.inTx(ctx, func(c *sql.Conn) error {
		return s.tell(c, func(w *writer) error { return w.tellAll(EventRun, &EventBody{Run: run, Intents: n}) })
	})
}

// Restart begins a new epoch of the log, which goes on from what the store has: another store
// was published as this one, and is given up with the head of it that was seen last (nil: none).
func (s *Store) Restart(ctx context.Context, lost *ledger.Head, note string) (epoch int64, err error) {
	state, err := s.logState(ctx)
	if err != nil {
		return 0, err
	}
	epoch = state.epoch + 1
	b := &EventBody{Note: note}
	if lost != nil {
		_, seen := lost.Epoch()
		epoch = max(epoch, seen+1)
		b.LostOrigin, b.LostSize, b.LostRoot = lost.Origin, lost.Size, lost.Root.String()
	}
	return epoch, s.inTx(ctx, func(c *sql.Conn) error {
		if _, err := c.ExecContext(context.Background(), `UPDATE log SET epoch = ?`, epoch); err != nil {
			return err
		}
		return s.tell(c, func(w *writer) error { return w.tellAll(EventRestart, b) })
	})
}
