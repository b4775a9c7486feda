package store

import (
	"context"
	"crypto/rand"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"expunge/store/seal"
)

// chunk is how many rows share an intake transaction. Half as many cost a twentieth of an
// intake's time in commits; more buy nothing (LIMITS.md, section 2).
const chunk = 8000

const (
	// partRows is how many rows go to the writer together. What waits for it is most of an
	// intake's memory, and the less is alive, the less often the collector runs.
	partRows = chunk / 4
	// partsAhead is how many parts may wait for the writer: about as much as is read during
	// a commit.
	partsAhead = 3
)

// perInsert is how many subjects one INSERT statement carries.
const perInsert = 25

// Batch is one input file as the store knows it.
type Batch struct {
	ID         int64
	Name       string
	Digest     []byte
	TakenAt    time.Time
	Loading    bool // cut short: counts for nothing
	Rows       int64
	Subjects   int64
	Invalid    int64
	Duplicates int64
	Added      int64 // tasks that its rows added to requests of earlier batches

	First, Last int64 // ids of its subjects: First <= id <= Last

	Done bool // seen with nothing open: see OpenBatches

	Dropped Decision // by whom it was taken back, and why; its At is zero where it was not
}

// NewSubject is a row of the input that may become a subject.
type NewSubject struct {
	Line       int
	SubjectID  string
	Content    int64 // keyed digest of its identifiers; kept until the subject is finished
	ReceivedAt time.Time
	DueAt      time.Time
	Plain      []byte    // what is to be sealed
	Tasks      []NewTask // in report order
	Same       []int64   // for each of Tasks the keyed digest of vendor and identifier; 0: none
	Channel    string    // how the request came in; "": not known

	Identifiers []Identifier // by which the subject can be found again, to its purge; nil: by none
}

// Identifier is one of a subject's, for its mark (see package seal).
type Identifier struct {
	Field  int
	Kind   string // the name of Field
	Nth    int    // which of that field's values
	Normal string // the form in which two spellings are equal
}

// NewTask is one task that a subject leads to.
type NewTask struct {
	Vendor int64
	Field  int
	Nth    int
	State  State // Pending or Skipped
	Reason string
	Act    string // what the vendor does when the task is submitted
}

// Reject is an input row that did not become a subject.
type Reject struct {
	Line      int
	SubjectID string
	Duplicate bool // else invalid
	Reason    string
	Message   string
}

// Intake takes in one batch. Nothing of it counts until Settle has returned; a batch that
// is not settled is discarded, now by Discard or by the next intake.
type Intake struct {
	s      *Store
	batch  Batch
	now    time.Time
	shapes map[string]int
	tasks  map[int][]NewTask // of each shape
	key    []byte
	nextID int64
	part   *loadPart      // to be written next
	spare  chan *loadPart // those that the writer has done with
	same   *grouper
	digest *seal.Digester // of marks
	event  int64          // the number that the next subject's first event is to have

	lastSubject string // the subject_id of the row before
	unsorted    bool   // the subject_ids did not come in rising order

	parts chan *loadPart
	errs  chan error
	err   error
}

// loadPart is a part of what an intake's transaction writes.
type loadPart struct {
	shapes  []shapeRow // that rows are the first to have
	rows    []subjectRow
	sealed  []byte               // where the sealed data of rows lies, and their secrets and marks
	ready   map[readyBlock]int64 // the blocks of rows, with their numbers of tasks
	rejects []Reject
}

func newLoadPart() *loadPart {
	return &loadPart{rows: make([]subjectRow, 0, partRows), ready: map[readyBlock]int64{}}
}

func (p *loadPart) full() bool { return len(p.rows) >= partRows || len(p.rejects) >= partRows }

func (p *loadPart) empty() {
	clear(p.rows)
	clear(p.rejects)
	clear(p.ready)
	p.shapes, p.rows, p.sealed, p.rejects = p.shapes[:0], p.rows[:0], p.sealed[:0], p.rejects[:0]
}

type subjectRow struct {
	id, line, content, received, due, event int64
	subjectID, channel                      string
	shape                                   int
	sealed, secret, marks                   []byte
}

type shapeRow struct {
	shape, n int
	NewTask
}

// FindBatch returns the settled batch with this digest of its input.
func (s *Store) FindBatch(ctx context.Context, digest []byte) (Batch, bool, error) {
	all, err := s.batches(ctx, `WHERE digest = ? AND NOT loading`, digest)
	if err != nil || len(all) == 0 {
		return Batch{}, false, err
	}
	return all[0], true, nil
}

// Batches returns all batches, the oldest first.
func (s *Store) Batches(ctx context.Context) ([]Batch, error) { return s.batches(ctx, ``) }

func (s *Store) batches(ctx context.Context, where string, args ...any) ([]Batch, error) {
	rows, err := s.read.QueryContext(ctx, `SELECT id, name, digest, taken_at, loading, rows, subjects, invalid, duplicates,
 first_subject, last_subject, done, (SELECT coalesce(sum(a.tasks), 0) FROM additions a WHERE a.batch = batches.id),
 dropped_at, coalesce(dropped_by, ''), coalesce(dropped_note, '') FROM batches `+where+` ORDER BY id`, args...)
	if err != nil {
		return nil, explain(err)
	}
	defer rows.Close()
	var all []Batch
	for rows.Next() {
		var b Batch
		var at, dropped sql.NullInt64
		if err := rows.Scan(&b.ID, &b.Name, &b.Digest, &at, &b.Loading, &b.Rows, &b.Subjects, &b.Invalid, &b.Duplicates, &b.First, &b.Last, &b.Done,
			&b.Added, &dropped, &b.Dropped.Who, &b.Dropped.Note); err != nil {
			return nil, explain(err)
		}
		b.TakenAt, b.Dropped.At = fromSecs(at), fromSecs(dropped)
		all = append(all, b)
	}
	return all, explain(rows.Err())
}

// DiscardUnsettled drops what was cut short on its way in, and returns the batches that it
// dropped; it also ends what was cut short on its way out (see DropBatch). Their tasks are in the work list of their vendors already: it comes before any
// work is done.
func (s *Store) DiscardUnsettled(ctx context.Context) ([]Batch, error) {
	if s.write == nil {
		return nil, nil
	}
	old, err := s.batches(ctx, `WHERE loading`)
	if err != nil {
		return nil, err
	}
	var cut []Batch
	for _, b := range old {
		if err := s.discard(ctx, b); err != nil {
			return nil, err
		}
		if b.Dropped.At.IsZero() {
			cut = append(cut, b)
		}
	}
	return cut, nil
}

// BeginIntake starts a batch, after discarding any that was cut short.
func (s *Store) BeginIntake(ctx context.Context, name string, now time.Time) (*Intake, error) {
	if _, err := s.DiscardUnsettled(ctx); err != nil {
		return nil, err
	}
	in := &Intake{s: s, now: now, shapes: map[string]int{}, tasks: map[int][]NewTask{}, part: newLoadPart(), same: newGrouper(s.path), digest: s.Digester(),
		parts: make(chan *loadPart, partsAhead), spare: make(chan *loadPart, partsAhead+1), errs: make(chan error, 1)}
	if err := s.read.QueryRowContext(ctx, `SELECT 1 + max(coalesce((SELECT max(last_subject) FROM batches), 0), coalesce((SELECT max(id) FROM subjects), 0))`).Scan(&in.nextID); err != nil {
		return nil, explain(err)
	}
	in.batch = Batch{Name: name, TakenAt: now, First: in.nextID, Loading: true}
	err := s.inTx(ctx, func(c *sql.Conn) error {
		in.event = s.w.seq + 1
		res, err := c.ExecContext(context.Background(), `INSERT INTO batches (name, taken_at, first_subject, first_event) VALUES (?, ?, ?, ?)`, name, secs(now), in.nextID, in.event)
		if err != nil {
			return err
		}
		in.batch.ID, err = res.LastInsertId()
		return err
	})
	if err != nil {
		return nil, err
	}
	if err := in.loadShapes(ctx); err != nil {
		return nil, err
	}
	l := loader{batch: in.batch.ID, now: secs(now), parts: in.parts, spare: in.spare}
	go func() { in.errs <- l.run(context.WithoutCancel(ctx), s) }() // one part is written while the next is read and sealed
	return in, nil
}

// loader writes the parts of an intake.
type loader struct {
	batch, now   int64
	parts, spare chan *loadPart
}

// run writes parts until there are no more, or the first failure; what comes after that
// is only taken.
func (l *loader) run(ctx context.Context, s *Store) (err error) {
	for p := range l.parts {
		if err == nil {
			err = s.inTx(ctx, func(c *sql.Conn) error { return l.transaction(c, p) })
		}
	}
	return err
}

// transaction writes a part and those that come after it, up to a chunk. It waits for them
// where it is, in the writer: nobody else has anything to write during an intake.
func (l *loader) transaction(c *sql.Conn, p *loadPart) error {
	for n := partRows; ; n += partRows {
		if err := l.write(c, p); err != nil {
			return err
		}
		p.empty()
		select {
		case l.spare <- p:
		default:
		}
		if n >= chunk {
			return nil
		}
		var more bool
		if p, more = <-l.parts; !more {
			return nil
		}
	}
}

func (l *loader) write(c *sql.Conn, p *loadPart) error {
	if err := insertShapes(c, p.shapes); err != nil {
		return err
	}
	err := c.Raw(func(dc any) error {
		conn, ok := dc.(driver.Conn)
		if !ok {
			return errForm
		}
		if err := insertSubjects(conn, l.batch, p.rows); err != nil {
			return err
		}
		if err := fanOut(conn, p.rows, l.now); err != nil {
			return err
		}
		return listReady(conn, p.ready)
	})
	if err != nil {
		return err
	}
	return insertRejects(c, l.batch, p.rejects)
}

func (in *Intake) loadShapes(ctx context.Context) error {
	rows, err := in.s.read.QueryContext(ctx, `SELECT shape, vendor, identifier%100, identifier/100, state, coalesce(reason, ''), coalesce(act, '') FROM shapes ORDER BY shape, n`)
	if err != nil {
		return explain(err)
	}
	defer rows.Close()
	var tasks []NewTask
	last := 0
	put := func() {
		if len(tasks) > 0 {
			in.shapes[string(in.shapeKey(tasks))], in.tasks[last] = last, slices.Clone(tasks)
		}
		tasks = tasks[:0]
	}
	for rows.Next() {
		var shape int
		var t NewTask
		if err := rows.Scan(&shape, &t.Vendor, &t.Field, &t.Nth, &t.State, &t.Reason, &t.Act); err != nil {
			return explain(err)
		}
		if shape != last {
			put()
			last = shape
		}
		tasks = append(tasks, t)
	}
	put()
	return explain(rows.Err())
}

func (in *Intake) shapeKey(tasks []NewTask) []byte {
	key := in.key[:0]
	for _, t := range tasks {
		for _, n := range [...]int64{t.Vendor, int64(t.Field), int64(t.Nth), int64(t.State)} {
			key = append(strconv.AppendInt(key, n, 10), ',')
		}
		key = append(append(append(append(key, t.Reason...), ','), t.Act...), ';')
	}
	in.key = key
	return key
}

// shape returns the shape of a list of tasks. One that is new goes into the part that is
// written next.
func (in *Intake) shape(tasks []NewTask) int {
	key := in.shapeKey(tasks)
	if id, ok := in.shapes[string(key)]; ok {
		return id
	}
	id := len(in.tasks) + 1
	in.shapes[string(key)], in.tasks[id] = id, slices.Clone(tasks)
	for n, t := range tasks {
		in.part.shapes = append(in.part.shapes, shapeRow{id, n, t})
	}
	return id
}

// Batch is what is known of the batch so far.
func (in *Intake) Batch() Batch { return in.batch }

// Subject adds a row that may become a subject: whether its subject_id is new is found
// when the batch is settled. n may be used again after the call.
func (in *Intake) Subject(n *NewSubject) error {
	if len(n.Tasks) == 0 || len(n.Tasks) > MaxTasks {
		return fmt.Errorf("store: line %d leads to %d tasks", n.Line, len(n.Tasks))
	}
	id := in.nextID
	in.nextID++
	in.batch.Rows++
	for i, d := range n.Same {
		if d != 0 {
			if err := in.same.add(d, id*TasksPerSubject+int64(i)); err != nil {
				return err
			}
		}
	}
	due := secs(n.DueAt)
	for _, t := range n.Tasks {
		if t.State == Pending {
			in.part.ready[blockOf(t.Vendor, due, id)]++
		}
	}
	if n.SubjectID <= in.lastSubject {
		in.unsorted = true
	}
	in.lastSubject = n.SubjectID
	p := in.part
	from := len(p.sealed)
	p.sealed = in.s.box.Seal(slices.Grow(p.sealed, len(n.Plain)+seal.Overhead), n.Plain, seal.Place{Table: "subjects", Row: id})
	to := len(p.sealed)
	p.sealed = in.mark(p.sealed, n.Identifiers)
	p.rows = append(p.rows, subjectRow{id: id, line: int64(n.Line), content: n.Content, received: secs(n.ReceivedAt),
		due: due, subjectID: n.SubjectID, channel: n.Channel, shape: in.shape(n.Tasks), event: in.event,
		sealed: p.sealed[from:to:to], secret: p.sealed[to : to+seal.SecretSize : to+seal.SecretSize],
		marks: p.sealed[to+seal.SecretSize : len(p.sealed) : len(p.sealed)]})
	in.event++
	return in.passOn()
}

// mark appends a new secret and the marks of the identifiers under it.
func (in *Intake) mark(b []byte, identifiers []Identifier) []byte {
	from := len(b)
	b = append(b, make([]byte, seal.SecretSize)...)
	secret := b[from:]
	rand.Read(secret)
	return appendMarks(b, in.digest, secret, identifiers)
}

// appendMarks appends the stored form of marks.
func appendMarks(b []byte, d *seal.Digester, secret []byte, identifiers []Identifier) []byte {
	for _, i := range identifiers {
		mark := seal.Mark(d.Nonce(secret, i.Kind, i.Nth), i.Normal)
		b = append(append(b, byte(i.Field)), mark[:]...)
	}
	return b
}

// Reject adds a row that is not taken in.
func (in *Intake) Reject(r Reject) error {
	in.batch.Rows++
	in.part.rejects = append(in.part.rejects, r)
	return in.passOn()
}

// passOn gives a full part to the writer.
func (in *Intake) passOn() error {
	if in.part.full() {
		in.handOver()
	}
	return in.err
}

func (in *Intake) handOver() {
	if in.err == nil {
		in.err = in.s.Err()
	}
	in.parts <- in.part
	select {
	case in.part = <-in.spare:
	default:
		in.part = newLoadPart()
	}
}

// finishLoading waits until all rows are on disk.
func (in *Intake) finishLoading() error {
	if in.parts == nil {
		return in.err
	}
	in.handOver() // the last one, full or not
	close(in.parts)
	in.parts = nil
	in.err = errors.Join(in.err, <-in.errs)
	return in.err
}

func insertShapes(c *sql.Conn, rows []shapeRow) error {
	for _, r := range rows {
		if _, err := c.ExecContext(context.Background(), `INSERT INTO shapes VALUES (?,?,?,?,?,?,?)`,
			r.shape, r.n, r.Vendor, identifier(r.Field, r.Nth), r.State, nullText(r.Reason), nullText(r.Act)); err != nil {
			return err
		}
	}
	return nil
}

func insertSubjects(c driver.Conn, batch int64, rows []subjectRow) (err error) {
	const one = "(?,?,?,?,?,?,?,?,?,?,?,?,?)"
	args := make([]driver.Value, 0, 13*perInsert)
	var insert *query
	defer func() { insert.close() }()
	prepared := 0
	for group := range slices.Chunk(rows, perInsert) {
		if len(group) != prepared {
			insert.close()
			if insert, err = prepare(c, `INSERT INTO subjects (id, batch, line, subject_id, content, received_at, due_at, shape, sealed, event, secret, marks, channel) VALUES `+one+strings.Repeat(","+one, len(group)-1)); err != nil {
				return err
			}
			prepared = len(group)
		}
		args = args[:0]
		for i := range group {
			r := &group[i]
			args = append(args, r.id, batch, r.line, r.subjectID, r.content, r.received, r.due, int64(r.shape), r.sealed,
				r.event, r.secret, nullBytes(r.marks), nullText(r.channel))
		}
		if _, err := insert.each(nil, args...); err != nil {
			return err
		}
	}
	return nil
}

// fanOut makes the tasks of subjects that have just been inserted, inside SQLite: three to
// four times as fast as inserting them one by one (LIMITS.md, section 2).
func fanOut(c driver.Conn, subjects []subjectRow, now int64) error {
	if len(subjects) == 0 {
		return nil
	}
	q, err := prepare(c, `INSERT INTO tasks (id, vendor, identifier, state, due_at, next_at, reason, completed_at)
 SELECT s.id*1000 + h.n, h.vendor, h.identifier, h.state, s.due_at, CASE WHEN h.state = 0 THEN 0 END, h.reason,
 CASE WHEN h.state >= 6 THEN ? END
 FROM subjects s CROSS JOIN shapes h ON h.shape = s.shape WHERE s.id BETWEEN ? AND ?`)
	if err != nil {
		return err
	}
	defer q.close()
	_, err = q.each(nil, now, subjects[0].id, subjects[len(subjects)-1].id)
	return err
}

func insertRejects(c *sql.Conn, batch int64, rows []Reject) error {
	if len(rows) == 0 {
		return nil
	}
	ctx := context.Background()
	st, err := c.PrepareContext(ctx, `INSERT INTO rejects VALUES (?,?,?,?,?,?)`)
	if err != nil {
		return err
	}
	defer st.Close()
	for _, r := range rows {
		state := "invalid"
		if r.Duplicate {
			state = "duplicate"
		}
		if _, err := st.ExecContext(ctx, batch, r.Line, r.SubjectID, state, r.Reason, r.Message); err != nil {
			return err
		}
	}
	return nil
}

// Rejects returns a function that gives the rows that a batch refused, in order, one a
// call; false after the last.
func (s *Store) Rejects(ctx context.Context, batch int64) func() (Reject, bool, error) {
	p := &rejectPager{s: s, batch: batch}
	return func() (Reject, bool, error) {
		r, err := p.peek(ctx)
		if r == nil || err != nil {
			return Reject{}, false, err
		}
		p.page = p.page[1:]
		return *r, true, nil
	}
}
