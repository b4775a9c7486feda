package store

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"time"

	"expunge/store/seal"
)

// pageSize is how many subjects a reading takes at a time: a cursor that stays open keeps
// the journal from being folded in.
const pageSize = 1000

// Row is one line of a report: a task of a subject, or an input row that was refused.
type Row struct {
	Batch      int64
	Line       int
	SubjectID  string
	ReceivedAt time.Time
	DueAt      time.Time
	Original   time.Time // the due date before the first extension; zero: there was none
	Task       *Task     // nil for a refused row
	Export     *Export   // nil where none was asked for
	Plain      []byte    // the subject's fields, opened
	Reject     *Reject   // nil for a task
	Unserved   bool      // every task of the subject is skipped
	Channel    string    // how the request came in; "": not known
	AnsweredAt time.Time // when the person was told; zero: not recorded

	AnswerChannel string // how
}

// Filter narrows what is read.
type Filter struct {
	Batch int64     // 0: all
	Since time.Time // only requests received, and files taken in, since then
	Until time.Time // only requests received, and files taken in, before then; zero: all
}

// Rows calls fn for every row in report order: batch, line, then the subject's tasks by the
// names of their vendors. An invalid row whose request a later file brought in is not among
// them. What fn is given may be kept.
func (s *Store) Rows(ctx context.Context, f Filter, fn func(*Row) error) error {
	batches, err := s.Batches(ctx)
	if err != nil {
		return err
	}
	known, err := s.Vendors(ctx)
	if err != nil {
		return err
	}
	rank := map[int64]int{} // of vendors, by name
	for i, name := range slices.Sorted(maps.Keys(known)) {
		rank[known[name].ID] = i
	}
	for _, b := range batches {
		if b.Loading || f.Batch != 0 && b.ID != f.Batch {
			continue
		}
		if err := s.batchRows(ctx, b, f, rank, fn); err != nil {
			return err
		}
	}
	return nil
}

func (s *Store) batchRows(ctx context.Context, b Batch, f Filter, rank map[int64]int, fn func(*Row) error) error {
	// Subjects of later batches have ids above those of this one.
	rejects := rejectPager{s: s, batch: b.ID, open: true, last: b.Last}
	if b.TakenAt.Before(f.Since) || !f.Until.IsZero() && !b.TakenAt.Before(f.Until) {
		rejects.done = true
	}
	emitRejects := func(before int) error {
		for {
			r, err := rejects.peek(ctx)
			if err != nil || r == nil || before >= 0 && r.Line >= before {
				return err
			}
			rejects.page = rejects.page[1:]
			if err := fn(&Row{Batch: b.ID, Line: r.Line, SubjectID: r.SubjectID, Reject: r}); err != nil {
				return err
			}
		}
	}
	page := make([]Row, 0, pageSize)
	ids := make([]int64, 0, pageSize)
	for from := b.First; ; {
		var err error
		page, ids, err = s.subjectPage(ctx, page[:0], ids[:0], from, b.Last, f)
		if err != nil {
			return err
		}
		if len(page) == 0 {
			return emitRejects(-1)
		}
		from = ids[len(ids)-1] + 1
		exports, err := s.exportPage(ctx, ids[0], ids[len(ids)-1])
		if err != nil {
			return err
		}
		i := 0
		var tasks []*Task // of one subject
		flush := func() error {
			if len(tasks) == 0 {
				return nil
			}
			defer func() { tasks = tasks[:0] }()
			for i < len(ids) && ids[i] < tasks[0].SubjectRow() {
				i++
			}
			if i == len(ids) || ids[i] != tasks[0].SubjectRow() {
				return nil // left out by since
			}
			if err := emitRejects(page[i].Line); err != nil {
				return err
			}
			// Those that a later file added have the highest ids.
			slices.SortStableFunc(tasks, func(a, b *Task) int { return cmp.Compare(rank[a.Vendor], rank[b.Vendor]) })
			unserved := !slices.ContainsFunc(tasks, func(t *Task) bool { return t.State != Skipped })
			for _, t := range tasks {
				row := page[i]
				row.Task, row.Unserved = t, unserved
				if row.Export, err = exports.of(ctx, t); err != nil {
					return err
				}
				if err := fn(&row); err != nil {
					return err
				}
			}
			return nil
		}
		err = eachTask(ctx, s.read, ids[0], ids[len(ids)-1], func(t *Task) error {
			if len(tasks) > 0 && tasks[0].SubjectRow() != t.SubjectRow() {
				if err := flush(); err != nil {
					return err
				}
			}
			tasks = append(tasks, t)
			return nil
		})
		if err == nil {
			err = flush()
		}
		if err != nil {
			return err
		}
	}
}

func (s *Store) subjectPage(ctx context.Context, page []Row, ids []int64, from, last int64, f Filter) ([]Row, []int64, error) {
	rows, err := s.read.QueryContext(ctx, `SELECT id, batch, line, subject_id, received_at, due_at, original_due_at, answered_at,
 coalesce(channel, ''), coalesce(answer_channel, ''), sealed FROM subjects
 WHERE id BETWEEN ?1 AND ?2 AND received_at >= ?3 AND (?4 = 0 OR received_at < ?4) ORDER BY id LIMIT ?5`, from, last, secs(f.Since), secs(f.Until), pageSize)
	if err != nil {
		return nil, nil, explain(err)
	}
	defer rows.Close()
	for rows.Next() {
		var r Row
		var id, received, due int64
		var original, answered sql.NullInt64
		var sealed sql.RawBytes
		if err := rows.Scan(&id, &r.Batch, &r.Line, &r.SubjectID, &received, &due, &original, &answered, &r.Channel, &r.AnswerChannel, &sealed); err != nil {
			return nil, nil, explain(err)
		}
		r.Original, r.AnsweredAt = fromSecs(original), fromSecs(answered)
		r.ReceivedAt, r.DueAt = time.Unix(received, 0).UTC(), time.Unix(due, 0).UTC()
		if r.Plain, err = s.box.Open(nil, sealed, seal.Place{Table: "subjects", Row: id}); err != nil {
			return nil, nil, fmt.Errorf("store: subject %d: %w", id, err)
		}
		page, ids = append(page, r), append(ids, id)
	}
	return page, ids, explain(rows.Err())
}

// reader is a connection or a transaction to read with.
type reader interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

func eachTask(ctx context.Context, r reader, first, last int64, fn func(*Task) error) error {
	rows, err := r.QueryContext(ctx, `SELECT `+taskColumns+` FROM tasks t WHERE t.id BETWEEN ? AND ? ORDER BY t.id`,
		first*TasksPerSubject, last*TasksPerSubject+TasksPerSubject-1)
	if err != nil {
		return explain(err)
	}
	defer rows.Close()
	for rows.Next() {
		var t Task
		var v taskScan
		if err := rows.Scan(v.into(&t)...); err != nil {
			return explain(err)
		}
		if err := v.finish(&t); err != nil {
			return err
		}
		if err := fn(&t); err != nil {
			return err
		}
	}
	return explain(rows.Err())
}

type rejectPager struct {
	s     *Store
	batch int64
	// With open set, invalid rows are left out whose request was taken in later, with an id
	// above last.
	open bool
	last int64
	line int
	page []Reject
	done bool
}

func (p *rejectPager) peek(ctx context.Context) (*Reject, error) {
	if len(p.page) == 0 && !p.done {
		rows, err := p.s.read.QueryContext(ctx, `SELECT line, subject_id, state = 'duplicate', reason, message FROM rejects r
 WHERE batch = ?1 AND line > ?2 AND NOT (?3 AND state = 'invalid' AND EXISTS (SELECT 1 FROM subject_ids x WHERE x.subject_id = r.subject_id AND x.subject > ?4))
 ORDER BY line LIMIT ?5`, p.batch, p.line, p.open, p.last, pageSize)
		if err != nil {
			return nil, explain(err)
		}
		defer rows.Close()
		for rows.Next() {
			var r Reject
			if err := rows.Scan(&r.Line, &r.SubjectID, &r.Duplicate, &r.Reason, &r.Message); err != nil {
				return nil, explain(err)
			}
			p.page, p.line = append(p.page, r), r.Line
		}
		if err := rows.Err(); err != nil {
			return nil, explain(err)
		}
		p.done = len(p.page) < pageSize
	}
	if len(p.page) == 0 {
		return nil, nil
	}
	return &p.page[0], nil
}

// Tally counts the tasks in a state.
type Tally struct {
	State   State
	Tasks   int64
	Closed  int64 // of the failed ones, those that a person has closed
	Overdue int64 // not settled, and due before now
}

// Tally counts tasks per state, of all batches or of one. A batch that is being
// taken in, which is the last, does not count.
func (s *Store) Tally(ctx context.Context, batch int64, now time.Time) ([]Tally, error) {
	first, last := int64(0), int64(1)<<62
	if batch != 0 {
		all, err := s.batches(ctx, `WHERE id = ?`, batch)
		if err != nil || len(all) == 0 {
			return nil, err
		}
		first, last = all[0].First*TasksPerSubject, (all[0].Last+1)*TasksPerSubject
	}
	rows, err := s.read.QueryContext(ctx, `SELECT state, count(*), count(closed_at), sum(due_at < ?3 AND `+sqlUnsettled+`)
 FROM (SELECT state, closed_at, `+sqlDue+` AS due_at FROM tasks
  WHERE id >= ?1 AND id < min(?2, (SELECT coalesce(min(first_subject)*1000, ?2) FROM batches WHERE loading)))
 GROUP BY state ORDER BY state`,
		first, last, now.Unix())
	if err != nil {
		return nil, explain(err)
	}
	defer rows.Close()
	var all []Tally
	for rows.Next() {
		var t Tally
		if err := rows.Scan(&t.State, &t.Tasks, &t.Closed, &t.Overdue); err != nil {
			return nil, explain(err)
		}
		all = append(all, t)
	}
	return all, explain(rows.Err())
}

// BatchCount is what the rows of a batch add up to.
type BatchCount struct {
	Subjects int64
	Purged   int64 // subjects dropped by a purge
	Rejects  int64 // those dropped by a purge included
	Expected int64 // the tasks that its subjects must have
}

// Count counts the rows of a batch and the tasks that they must have led to: from the
// subjects and their shapes, not from the tasks.
func (s *Store) Count(ctx context.Context, b Batch) (BatchCount, error) {
	var c BatchCount
	err := s.read.QueryRowContext(ctx, `WITH shapes_used AS (SELECT shape, count(*) AS n FROM subjects WHERE id BETWEEN ?1 AND ?2 GROUP BY shape)
 SELECT coalesce((SELECT sum(n) FROM shapes_used), 0), (SELECT purged FROM batches WHERE id = ?3),
 (SELECT count(*) FROM rejects WHERE batch = ?3) + (SELECT purged_rejects FROM batches WHERE id = ?3),
 coalesce((SELECT sum(u.n * (SELECT count(*) FROM shapes h WHERE h.shape = u.shape)) FROM shapes_used u), 0)`,
		b.First, b.Last, b.ID).Scan(&c.Subjects, &c.Purged, &c.Rejects, &c.Expected)
	return c, explain(err)
}

// OpenBatches returns the settled batches with a task that is not settled or an export that
// has not ended. It notes those without, so that no run looks through ten million finished
// tasks to find nothing: what is settled stays so, until a later file adds to it. The digest of
// their files goes (see sameRows).
func (s *Store) OpenBatches(ctx context.Context) ([]Batch, error) {
	all, err := s.batches(ctx, `WHERE NOT loading AND NOT done`)
	if err != nil {
		return nil, err
	}
	var open []Batch
	for _, b := range all {
		has, err := s.HasOpen(ctx, b)
		if err != nil {
			return nil, err
		}
		if has {
			open = append(open, b)
			continue
		}
		if s.write == nil {
			continue
		}
		if err := s.inTx(ctx, func(c *sql.Conn) error {
			_, err := c.ExecContext(context.Background(), `UPDATE batches SET done=1, digest=NULL WHERE id=?`, b.ID)
			return err
		}); err != nil {
			return nil, err
		}
	}
	return open, nil
}

// TellInvalid counts the invalid rows of the files of which no run has told yet, and notes that
// one has: they are said once, and not every night.
func (s *Store) TellInvalid(ctx context.Context) (n int64, err error) {
	if err := s.read.QueryRowContext(ctx, `SELECT coalesce(sum(invalid), 0) FROM batches WHERE NOT loading AND NOT told AND dropped_at IS NULL`).Scan(&n); err != nil || n == 0 {
		return n, explain(err)
	}
	return n, s.inTx(ctx, func(c *sql.Conn) error {
		_, err := c.ExecContext(context.Background(), `UPDATE batches SET told=1 WHERE NOT loading AND NOT told`)
		return err
	})
}

// HasOpen reports whether any task of the batch is not settled, or any export not ended. Work
// is done from the front, so that what is open is soon found from the back.
func (s *Store) HasOpen(ctx context.Context, b Batch) (bool, error) {
	var open bool
	err := s.read.QueryRowContext(ctx, `SELECT (SELECT 1 FROM tasks WHERE id BETWEEN ?1 AND ?2 AND `+sqlUnsettled+` ORDER BY id DESC LIMIT 1) IS NOT NULL
 OR EXISTS (SELECT 1 FROM exports WHERE task BETWEEN ?1 AND ?2 AND state < 3)`,
		b.First*TasksPerSubject, b.Last*TasksPerSubject+TasksPerSubject-1).Scan(&open)
	return open, explain(err)
}

// Run is one execution of the program, for the reports' provenance.
type Run struct {
	ID        int64
	StartedAt time.Time
	EndedAt   time.Time
	ExitCode  int
	Version   string
	Config    []byte // SHA-256 of the configuration file
}

// BeginRun records that a run has started.
func (s *Store) BeginRun(ctx context.Context, r Run) (int64, error) {
	err := s.inTx(ctx, func(c *sql.Conn) error {
		res, err := c.ExecContext(context.Background(), `INSERT INTO runs (started_at, version, config) VALUES (?, ?, ?)`, secs(r.StartedAt), r.Version, r.Config)
		if err != nil {
			return err
		}
		if r.ID, err = res.LastInsertId(); err != nil {
			return err
		}
		return s.tell(c, func(w *writer) error {
			return w.tellAll(EventRun, &EventBody{Run: r.ID, Version: r.Version, Config: hex.EncodeToString(r.Config)})
		})
	})
	return r.ID, err
}

// EndRun records how a run ended.
func (s *Store) EndRun(ctx context.Context, id int64, at time.Time, exit int) error {
	return s.inTx(context.WithoutCancel(ctx), func(c *sql.Conn) error {
		_, err := c.ExecContext(context.Background(), `UPDATE runs SET ended_at=?, exit_code=? WHERE id=?`, secs(at), exit, id)
		return err
	})
}

// Runs returns the runs since a time, the oldest first.
func (s *Store) Runs(ctx context.Context, since time.Time) ([]Run, error) {
	rows, err := s.read.QueryContext(ctx, `SELECT id, started_at, ended_at, coalesce(exit_code, -1), version, config FROM runs WHERE started_at >= ? ORDER BY id`, secs(since))
	if err != nil {
		return nil, explain(err)
	}
	defer rows.Close()
	var all []Run
	for rows.Next() {
		var r Run
		var start, end sql.NullInt64
		if err := rows.Scan(&r.ID, &start, &end, &r.ExitCode, &r.Version, &r.Config); err != nil {
			return nil, explain(err)
		}
		r.StartedAt, r.EndedAt = fromSecs(start), fromSecs(end)
		all = append(all, r)
	}
	return all, explain(rows.Err())
}
