package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"encoding/json"
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

	First, Last int64 // ids of its subjects: First <= id <= Last

	Done bool // seen with nothing open: see OpenBatches
}

// NewSubject is a row of the input that may become a subject.
type NewSubject struct {
	Line       int
	SubjectID  string
	Content    int64 // keyed digest of its identifiers
	ReceivedAt time.Time
	DueAt      time.Time
	Plain      []byte    // what is to be sealed
	Tasks      []NewTask // in report order
	Same       []int64   // for each of Tasks the keyed digest of vendor and identifier; 0: none
}

// NewTask is one task that a subject leads to.
type NewTask struct {
	Vendor int64
	Field  int
	Nth    int
	State  State // Pending or Skipped
	Reason string
}

// Reject is an input row that did not become a subject.
type Reject struct {
	Line      int
	SubjectID string
	Duplicate bool // else invalid
	Reason    string
	Message   string
}

// IntakeReasons are the codes that the store gives to rows whose subject_id it has seen.
type IntakeReasons struct {
	Repeated, Conflicting, AlreadyTakenIn string
}

// Intake takes in one batch. Nothing of it counts until Settle has returned; a batch that
// is not settled is discarded, now by Discard or by the next intake.
type Intake struct {
	s      *Store
	batch  Batch
	now    time.Time
	shapes map[string]int
	key    []byte
	nextID int64
	part   *loadPart      // to be written next
	spare  chan *loadPart // those that the writer has done with
	same   *grouper

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
	sealed  []byte               // where the sealed data of rows lies
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
	id, line, content, received, due int64
	subjectID                        string
	shape                            int
	sealed                           []byte
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
 first_subject, last_subject, done FROM batches `+where+` ORDER BY id`, args...)
	if err != nil {
		return nil, explain(err)
	}
	defer rows.Close()
	var all []Batch
	for rows.Next() {
		var b Batch
		var at sql.NullInt64
		if err := rows.Scan(&b.ID, &b.Name, &b.Digest, &at, &b.Loading, &b.Rows, &b.Subjects, &b.Invalid, &b.Duplicates, &b.First, &b.Last, &b.Done); err != nil {
			return nil, explain(err)
		}
		b.TakenAt = fromSecs(at)
		all = append(all, b)
	}
	return all, explain(rows.Err())
}

// DiscardUnsettled drops what was cut short on its way in, and returns the batches that it
// dropped. Their tasks are in the work list of their vendors already: it comes before any
// work is done.
func (s *Store) DiscardUnsettled(ctx context.Context) ([]Batch, error) {
	if s.write == nil {
		return nil, nil
	}
	old, err := s.batches(ctx, `WHERE loading`)
	if err != nil {
		return nil, err
	}
	for _, b := range old {
		if err := s.discard(ctx, b); err != nil {
			return nil, err
		}
	}
	return old, nil
}

// BeginIntake starts a batch, after discarding any that was cut short.
func (s *Store) BeginIntake(ctx context.Context, name string, now time.Time) (*Intake, error) {
	if _, err := s.DiscardUnsettled(ctx); err != nil {
		return nil, err
	}
	in := &Intake{s: s, now: now, shapes: map[string]int{}, part: newLoadPart(), same: newGrouper(s.path),
		parts: make(chan *loadPart, partsAhead), spare: make(chan *loadPart, partsAhead+1), errs: make(chan error, 1)}
	if err := s.read.QueryRowContext(ctx, `SELECT 1 + max(coalesce((SELECT max(last_subject) FROM batches), 0), coalesce((SELECT max(id) FROM subjects), 0))`).Scan(&in.nextID); err != nil {
		return nil, explain(err)
	}
	in.batch = Batch{Name: name, TakenAt: now, First: in.nextID, Loading: true}
	err := s.inTx(ctx, func(c *sql.Conn) error {
		res, err := c.ExecContext(context.Background(), `INSERT INTO batches (name, taken_at, first_subject) VALUES (?, ?, ?)`, name, secs(now), in.nextID)
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
	rows, err := in.s.read.QueryContext(ctx, `SELECT shape, vendor, identifier%100, identifier/100, state, coalesce(reason, '') FROM shapes ORDER BY shape, n`)
	if err != nil {
		return explain(err)
	}
	defer rows.Close()
	var tasks []NewTask
	last := 0
	put := func() {
		if len(tasks) > 0 {
			in.shapes[string(in.shapeKey(tasks))] = last
		}
		tasks = tasks[:0]
	}
	for rows.Next() {
		var shape int
		var t NewTask
		if err := rows.Scan(&shape, &t.Vendor, &t.Field, &t.Nth, &t.State, &t.Reason); err != nil {
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
		key = append(append(key, t.Reason...), ';')
	}
	in.key = key
	return key
}

func (in *Intake) shape(tasks []NewTask) int {
	key := in.shapeKey(tasks)
	if id, ok := in.shapes[string(key)]; ok {
		return id
	}
	id := len(in.shapes) + 1
	in.shapes[string(key)] = id
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
	if len(n.Tasks) == 0 || len(n.Tasks) > TasksPerSubject {
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
	p.rows = append(p.rows, subjectRow{id: id, line: int64(n.Line), content: n.Content, received: secs(n.ReceivedAt),
		due: due, subjectID: n.SubjectID, shape: in.shape(n.Tasks),
		sealed: p.sealed[from:len(p.sealed):len(p.sealed)]})
	return in.passOn()
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
		in.give()
	}
	return in.err
}

func (in *Intake) give() {
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
	in.give() // the last one, full or not
	close(in.parts)
	in.parts = nil
	in.err = errors.Join(in.err, <-in.errs)
	return in.err
}

func insertShapes(c *sql.Conn, rows []shapeRow) error {
	for _, r := range rows {
		if _, err := c.ExecContext(context.Background(), `INSERT INTO shapes VALUES (?,?,?,?,?,?)`,
			r.shape, r.n, r.Vendor, identifier(r.Field, r.Nth), r.State, nullText(r.Reason)); err != nil {
			return err
		}
	}
	return nil
}

func insertSubjects(c driver.Conn, batch int64, rows []subjectRow) (err error) {
	const one = "(?,?,?,?,?,?,?,?,?)"
	args := make([]driver.Value, 0, 9*perInsert)
	var insert *query
	defer func() { insert.close() }()
	prepared := 0
	for group := range slices.Chunk(rows, perInsert) {
		if len(group) != prepared {
			insert.close()
			if insert, err = prepare(c, `INSERT INTO subjects VALUES `+one+strings.Repeat(","+one, len(group)-1)); err != nil {
				return err
			}
			prepared = len(group)
		}
		args = args[:0]
		for i := range group {
			r := &group[i]
			args = append(args, r.id, batch, r.line, r.subjectID, r.content, r.received, r.due, int64(r.shape), r.sealed)
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

// Settle finds the rows whose subject_id is known already, drops their tasks,
// finds the tasks with the same identifier, and makes the batch count. same tells,
// from the opened data of two subjects, whether two tasks with equal digests really are
// about the same identifier. accept sees the batch with its totals, when all rows are known
// that are refused (see Rejects); its error refuses the batch. Where Settle returns an error,
// nothing of the batch is left.
func (in *Intake) Settle(ctx context.Context, digest []byte, why IntakeReasons, same func(a, b Work) bool, accept func(Batch) error) (Batch, error) {
	b, err := in.settle(ctx, digest, why, same, accept)
	in.same.close()
	if err != nil {
		return Batch{}, errors.Join(err, in.s.discard(context.WithoutCancel(ctx), in.batch))
	}
	return b, nil
}

func (in *Intake) settle(ctx context.Context, digest []byte, why IntakeReasons, same func(a, b Work) bool, accept func(Batch) error) (Batch, error) {
	if err := in.finishLoading(); err != nil {
		return Batch{}, err
	}
	b := &in.batch
	b.Last, b.Digest = in.nextID-1, digest
	if err := in.refuseKnown(ctx, why); err != nil {
		return Batch{}, err
	}
	if err := in.s.read.QueryRowContext(ctx, `SELECT (SELECT count(*) FROM subjects WHERE id BETWEEN ?1 AND ?2),
 (SELECT count(*) FROM rejects WHERE batch=?3 AND state='invalid'), (SELECT count(*) FROM rejects WHERE batch=?3 AND state='duplicate')`,
		b.First, b.Last, b.ID).Scan(&b.Subjects, &b.Invalid, &b.Duplicates); err != nil {
		return Batch{}, explain(err)
	}
	if err := accept(*b); err != nil {
		return Batch{}, err
	}
	if err := in.linkSame(ctx, same); err != nil {
		return Batch{}, err
	}
	err := in.s.inTx(ctx, func(c *sql.Conn) error {
		b.Loading = false
		// The CHECK of the table is the control total: a row that got lost stops here.
		_, err := c.ExecContext(context.Background(), `UPDATE batches SET loading=0, digest=?, rows=?, subjects=?, invalid=?, duplicates=?, last_subject=? WHERE id=?`,
			digest, b.Rows, b.Subjects, b.Invalid, b.Duplicates, b.Last, b.ID)
		return err
	})
	return *b, err
}

// refuseKnown merges the batch's subject ids into those of the store, in sorted order, and
// turns the rows whose id was there into rejects, without tasks.
func (in *Intake) refuseKnown(ctx context.Context, why IntakeReasons) error {
	var added int64
	order := `subject_id, id`
	if !in.unsorted {
		order = `id` // the same, without sorting: tickets have mostly been exported as they were numbered
	}
	err := in.s.inTx(ctx, func(c *sql.Conn) error {
		res, err := c.ExecContext(context.Background(), `INSERT OR IGNORE INTO subject_ids
 SELECT subject_id, id FROM subjects WHERE id BETWEEN ? AND ? ORDER BY `+order, in.batch.First, in.batch.Last)
		if err == nil {
			added, err = res.RowsAffected()
		}
		return err
	})
	if err != nil || added == in.batch.Last-in.batch.First+1 {
		return err
	}
	// A subject that has been purged is known by its id alone; its row is a duplicate.
	rows, err := in.s.read.QueryContext(ctx, `SELECT s.id, s.line, s.subject_id, s.content, coalesce(w.content, s.content), coalesce(w.batch, 0)
 FROM subjects s JOIN subject_ids x ON x.subject_id = s.subject_id LEFT JOIN subjects w ON w.id = x.subject
 WHERE s.id BETWEEN ? AND ? AND x.subject <> s.id ORDER BY s.id`, in.batch.First, in.batch.Last)
	if err != nil {
		return explain(err)
	}
	defer rows.Close()
	var losers []int64
	var rejects []Reject
	flush := func() error {
		defer func() { losers, rejects = losers[:0], rejects[:0] }()
		return in.s.inTx(ctx, func(c *sql.Conn) error {
			for _, id := range losers {
				if _, err := c.ExecContext(context.Background(), `DELETE FROM tasks WHERE id BETWEEN ?1*1000 AND ?1*1000+999`, id); err != nil {
					return err
				}
				if _, err := c.ExecContext(context.Background(), `DELETE FROM subjects WHERE id=?`, id); err != nil {
					return err
				}
			}
			return insertRejects(c, in.batch.ID, rejects)
		})
	}
	for rows.Next() {
		var id, mine, theirs, batch int64
		var r Reject
		if err := rows.Scan(&id, &r.Line, &r.SubjectID, &mine, &theirs, &batch); err != nil {
			return explain(err)
		}
		switch {
		case mine != theirs:
			r.Reason, r.Message = why.Conflicting, "this subject_id was taken in with other identifiers"
		case batch == in.batch.ID:
			r.Reason, r.Message = why.Repeated, "this subject_id stands in the file already"
		default:
			r.Duplicate, r.Reason = true, why.AlreadyTakenIn
			r.Message = "taken in before and purged: whether it was the same row is not known any more"
			if batch != 0 {
				r.Message = fmt.Sprintf("taken in with batch %d", batch)
			}
		}
		losers, rejects = append(losers, id), append(rejects, r)
		if len(losers) == chunk {
			if err := flush(); err != nil {
				return err
			}
		}
	}
	if err := rows.Err(); err != nil {
		return explain(err)
	}
	return flush()
}

// linkSame lets tasks with the same identifier at the same vendor follow the first of
// them, so that the vendor is asked once.
func (in *Intake) linkSame(ctx context.Context, same func(a, b Work) bool) error {
	type link struct{ lead, task int64 }
	var links []link
	flush := func() error {
		defer func() { links = links[:0] }()
		return in.s.inTx(ctx, func(c *sql.Conn) error {
			for _, l := range links {
				if _, err := c.ExecContext(context.Background(), `UPDATE tasks SET follows=?, next_at=NULL WHERE id=?`, l.lead, l.task); err != nil {
					return err
				}
				if _, err := c.ExecContext(context.Background(), `UPDATE tasks SET more=json_set(coalesce(more, '{}'), '$.leads', json('true')) WHERE id=?`, l.lead); err != nil {
					return err
				}
			}
			return nil
		})
	}
	err := in.same.groups(func(tasks []int64) error {
		// The most urgent leads: the call is made when the first of them needs it.
		tasks, err := in.s.byDueDate(ctx, tasks)
		if err != nil {
			return err
		}
		// Equal digests are almost surely equal identifiers; "almost" is not good enough to
		// let one person's erasure stand for another's.
		var leads []Work
		for _, id := range tasks {
			w, err := in.s.claim(ctx, sqlClaim+`t.id = ?`, id)
			if err != nil {
				return err
			}
			if len(w) == 0 {
				return fmt.Errorf("task %d: %w", id, ErrUnknown)
			}
			i := slices.IndexFunc(leads, func(l Work) bool { return same(l, w[0]) })
			if i < 0 {
				leads = append(leads, w[0])
				continue
			}
			if links = append(links, link{leads[i].ID, id}); len(links) >= chunk {
				if err := flush(); err != nil {
					return err
				}
			}
		}
		return nil
	})
	if err != nil || len(links) == 0 {
		return err
	}
	return flush()
}

// byDueDate returns those of the tasks that there are (the rows of others were refused),
// the most urgent first.
func (s *Store) byDueDate(ctx context.Context, tasks []int64) ([]int64, error) {
	list, err := json.Marshal(tasks)
	if err != nil {
		return nil, err
	}
	rows, err := s.read.QueryContext(ctx, `SELECT t.id FROM json_each(?) j CROSS JOIN tasks t ON t.id = j.value ORDER BY t.due_at, t.id`, string(list))
	if err != nil {
		return nil, explain(err)
	}
	defer rows.Close()
	sorted := make([]int64, 0, len(tasks))
	for rows.Next() {
		var id int64
		if err := rows.Scan(&id); err != nil {
			return nil, explain(err)
		}
		sorted = append(sorted, id)
	}
	return sorted, explain(rows.Err())
}

// Discard drops the batch.
func (in *Intake) Discard(ctx context.Context) error {
	err := in.finishLoading()
	in.same.close()
	in.batch.Last = in.nextID - 1
	return errors.Join(err, in.s.discard(context.WithoutCancel(ctx), in.batch))
}

// discard removes a batch that was not settled, in steps that may be cut short and done
// again: the batch's row goes last.
func (s *Store) discard(ctx context.Context, b Batch) error {
	var last int64
	if err := s.read.QueryRowContext(ctx, `SELECT coalesce(max(id), 0) FROM subjects`).Scan(&last); err != nil {
		return explain(err)
	}
	last = max(last, b.Last)
	for first := b.First; first <= last; first += chunk {
		upto := min(first+chunk-1, last)
		err := s.inTx(ctx, func(c *sql.Conn) error {
			if _, err := c.ExecContext(context.Background(), `DELETE FROM tasks WHERE id BETWEEN ?*1000 AND ?*1000+999`, first, upto); err != nil {
				return err
			}
			if _, err := c.ExecContext(context.Background(), `DELETE FROM subject_ids WHERE subject_id IN (SELECT subject_id FROM subjects WHERE id BETWEEN ?1 AND ?2) AND subject BETWEEN ?1 AND ?2`, first, upto); err != nil {
				return err
			}
			_, err := c.ExecContext(context.Background(), `DELETE FROM subjects WHERE id BETWEEN ? AND ?`, first, upto)
			return err
		})
		if err != nil {
			return err
		}
	}
	return s.inTx(ctx, func(c *sql.Conn) error {
		if _, err := c.ExecContext(context.Background(), `DELETE FROM rejects WHERE batch=?`, b.ID); err != nil {
			return err
		}
		_, err := c.ExecContext(context.Background(), `DELETE FROM batches WHERE id=?`, b.ID)
		return err
	})
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
