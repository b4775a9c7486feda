package store

import (
	"context"
	"database/sql"
	"fmt"
	"time"
)

// ExportState is where an export stands. The numbers are stored; those from ExportStored on
// are final.
type ExportState uint8

const (
	// ExportCreating: an export is wanted; the vendor may have been asked. After a crash:
	// asked again, which does no harm.
	ExportCreating ExportState = 0
	// ExportWaiting: the vendor has a job. After a crash: polled by its reference.
	ExportWaiting ExportState = 1
	// ExportReady: the vendor says that the job is done. After a crash: what has arrived
	// completely is found in the vault, and only then not fetched again.
	ExportReady ExportState = 2
	// ExportStored: it is in the vault, on disk.
	ExportStored ExportState = 3
	// ExportEmpty: the vendor says that it held nothing.
	ExportEmpty ExportState = 4
	// ExportFailed: there will be none.
	ExportFailed ExportState = 5
)

var exportStates = [...]string{"creating", "waiting", "ready", "stored", "empty", "failed"}

// ExportStates lists all states, in order.
func ExportStates() []ExportState {
	all := make([]ExportState, len(exportStates))
	for i := range all {
		all[i] = ExportState(i)
	}
	return all
}

func (s ExportState) String() string {
	if int(s) < len(exportStates) {
		return exportStates[s]
	}
	return fmt.Sprintf("export state(%d)", uint8(s))
}

// Final reports whether nothing more happens to an export in this state.
func (s ExportState) Final() bool { return s >= ExportStored }

// exportSteps is the table of what may follow what. The schema refuses to leave a final
// state again.
var exportSteps = map[ExportState][]ExportState{
	ExportCreating: {ExportCreating, ExportWaiting, ExportFailed},
	ExportWaiting:  {ExportWaiting, ExportReady, ExportCreating, ExportFailed},
	ExportReady:    {ExportReady, ExportWaiting, ExportCreating, ExportStored, ExportEmpty, ExportFailed},
}

// Export is what a vendor is asked to hand out before it removes the person of a task.
type Export struct {
	Task      int64
	Vendor    int64
	State     ExportState
	NextAt    time.Time // zero: not scheduled
	Attempts  int       // tries of the call it is at
	Lost      int       // jobs that the vendor lost or that failed
	Damaged   int       // results that were no zip
	Reference string    // of the present job
	CreatedAt time.Time // when the vendor accepted it
	DoneAt    time.Time // when it was first seen done: from then on it can be fetched for a while
	EndedAt   time.Time
	File      string // name in the vault
	Bytes     int64  // of that file
	SHA256    string // of that file, in hexadecimal
	Files     int    // in the export
	Reason    string // why it failed
	Message   string // for people; without personal data
}

// ExportChange moves an export from a state to what Export says. With New it is the first
// row of the task; From counts for nothing then.
type ExportChange struct {
	From ExportState
	New  bool
	Wake bool // the task waits for this: have it looked at now
	Export
}

func (ch ExportChange) check() error {
	if !ch.New && !mayExport(ch.From, ch.State) {
		return fmt.Errorf("%w: export of task %d from %v to %v", ErrTransition, ch.Task, ch.From, ch.State)
	}
	return nil
}

func mayExport(from, to ExportState) bool {
	for _, s := range exportSteps[from] {
		if s == to {
			return true
		}
	}
	return false
}

const (
	sqlExportNew  = `INSERT INTO exports (task, vendor, state) VALUES (?, ?, ?)`
	sqlExportMove = `UPDATE exports SET state=?, next_at=?, attempts=?, lost=?, damaged=?, reference=?, created_at=?, done_at=?, ended_at=?,
 file=?, bytes=?, sha256=?, files=?, reason=?, message=? WHERE task=? AND state=? RETURNING 1`
	sqlExportFormer = `INSERT OR IGNORE INTO former_exports SELECT task, reference, ? FROM exports
 WHERE task=? AND state=? AND reference IS NOT NULL AND reference IS NOT ?`
	// Only a task that nothing was sent for waits for its export.
	sqlExportWake = `UPDATE tasks SET next_at=? WHERE id=? AND state<=1 AND next_at>0`
	// An export that its task alone would ask for ends with the task.
	sqlExportEnd = `UPDATE exports SET state=5, ended_at=?, reason='` + exportUnmade + `',
 message='the task ended before the vendor had accepted an export' WHERE task=? AND state=0 AND next_at IS NULL RETURNING 1`
)

// exportUnmade is the reason of an export that ended with its task. It is one of the closed
// list of package batch.
const exportUnmade = "export_failed"

// apply makes the change inside the open transaction.
func (ch ExportChange) apply(w *writer) error {
	e, now := &ch.Export, w.now()
	if ch.New {
		w.s.exported.Store(true)
		_, err := w.each(sqlExportNew, nil, e.Task, e.Vendor, int64(e.State))
		return err
	}
	if _, err := w.each(sqlExportFormer, nil, now, e.Task, int64(ch.From), nullText(e.Reference)); err != nil {
		return err
	}
	var bytes, files any
	if e.State == ExportStored {
		bytes, files = e.Bytes, int64(e.Files)
	}
	n, err := w.each(sqlExportMove, nil, int64(e.State), nullMillis(e.NextAt), int64(e.Attempts), int64(e.Lost), int64(e.Damaged),
		nullText(e.Reference), nullSecs(e.CreatedAt), nullSecs(e.DoneAt), nullSecs(e.EndedAt), nullText(e.File), bytes,
		nullText(e.SHA256), files, nullText(e.Reason), nullText(e.Message), e.Task, int64(ch.From))
	if err != nil {
		return err
	}
	if n != 1 {
		return fmt.Errorf("%w: the export of task %d is not %v", ErrConflict, e.Task, ch.From)
	}
	if ch.Wake {
		if _, err := w.each(sqlExportWake, nil, w.s.o.Now().UnixMilli(), e.Task); err != nil {
			return err
		}
	}
	if !e.State.Final() {
		return nil
	}
	return w.tellExport(e)
}

// tellExport writes the event of an export that has ended, for its task and those that follow it.
func (w *writer) tellExport(e *Export) error {
	b := &EventBody{Export: e.State.String()}
	if e.State == ExportStored {
		b.Bytes, b.SHA256 = e.Bytes, e.SHA256
	}
	return w.tellTasks(sqlEventsBeside, EventExported, b, e.Task)
}

const sqlExports = `SELECT task, vendor, state, next_at, attempts, lost, damaged, reference, created_at, done_at, ended_at, file, bytes, sha256,
 files, reason, message FROM exports WHERE `

func (s *Store) exports(ctx context.Context, where string, args ...any) ([]Export, error) {
	rows, err := s.read.QueryContext(ctx, sqlExports+where, args...)
	if err != nil {
		return nil, explain(err)
	}
	defer rows.Close()
	var all []Export
	for rows.Next() {
		var e Export
		var next, created, done, ended, bytes, files sql.NullInt64
		var reference, file, sum, reason, message sql.NullString
		if err := rows.Scan(&e.Task, &e.Vendor, &e.State, &next, &e.Attempts, &e.Lost, &e.Damaged, &reference, &created, &done, &ended,
			&file, &bytes, &sum, &files, &reason, &message); err != nil {
			return nil, explain(err)
		}
		e.NextAt, e.CreatedAt, e.DoneAt, e.EndedAt = fromMillis(next), fromSecs(created), fromSecs(done), fromSecs(ended)
		e.Reference, e.File, e.SHA256, e.Reason, e.Message = reference.String, file.String, sum.String, reason.String, message.String
		e.Bytes, e.Files = bytes.Int64, int(files.Int64)
		all = append(all, e)
	}
	return all, explain(rows.Err())
}

// ExportOf returns the export of a task; ok is false where none was asked for.
func (s *Store) ExportOf(ctx context.Context, task int64) (e Export, ok bool, err error) {
	all, err := s.exports(ctx, `task = ?`, task)
	if err != nil || len(all) == 0 {
		return Export{}, false, err
	}
	return all[0], true, nil
}

// ExportWork is an export that is due, with its task.
type ExportWork struct {
	Export
	Of Work
}

// ClaimExports returns up to limit exports of the vendor whose time has come, the earliest
// first.
func (s *Store) ClaimExports(ctx context.Context, vendor int64, now time.Time, limit int) ([]ExportWork, error) {
	due, err := s.exports(ctx, `vendor = ? AND next_at <= ? ORDER BY next_at, task LIMIT ?`, vendor, now.UnixMilli(), limit)
	if err != nil {
		return nil, fmt.Errorf("store: claim: %w", err)
	}
	work := make([]ExportWork, 0, len(due))
	for _, e := range due {
		w, err := s.TaskByID(ctx, e.Task)
		if err != nil {
			return nil, err
		}
		work = append(work, ExportWork{e, w})
	}
	return work, nil
}

// NextExportAt returns the first time after the given one at which an export of the vendor
// is due; ok is false when none is.
func (s *Store) NextExportAt(ctx context.Context, vendor int64, after time.Time) (next time.Time, ok bool, err error) {
	var n sql.NullInt64
	err = s.read.QueryRowContext(ctx, `SELECT min(next_at) FROM exports WHERE vendor=? AND next_at>?`, vendor, after.UnixMilli()).Scan(&n)
	return fromMillis(n), n.Valid, explain(err)
}

// OpenExports counts the vendor's exports that have not ended.
func (s *Store) OpenExports(ctx context.Context, vendor int64) (n int64, err error) {
	err = s.read.QueryRowContext(ctx, `SELECT count(*) FROM exports WHERE vendor=? AND state<3`, vendor).Scan(&n)
	return n, explain(err)
}

// ExportTally counts the exports of a vendor in a state.
type ExportTally struct {
	Vendor  string
	State   ExportState
	Reason  string // of the failed ones
	Exports int64
	NextAt  time.Time // the earliest of those scheduled
	DoneAt  time.Time // the earliest of those that are done and not fetched: their time runs
}

// ExportTally counts exports per vendor, state and reason, of all batches or of one.
func (s *Store) ExportTally(ctx context.Context, batch int64) ([]ExportTally, error) {
	first, last := int64(0), int64(1)<<62
	if batch != 0 {
		all, err := s.batches(ctx, `WHERE id = ?`, batch)
		if err != nil || len(all) == 0 {
			return nil, err
		}
		first, last = all[0].First*TasksPerSubject, all[0].Last*TasksPerSubject+TasksPerSubject-1
	}
	rows, err := s.read.QueryContext(ctx, `SELECT v.name, e.state, coalesce(e.reason, ''), count(*), min(e.next_at),
 min(CASE WHEN e.state < 3 THEN e.done_at END)
 FROM exports e JOIN vendors v ON v.id = e.vendor WHERE e.task BETWEEN ? AND ? GROUP BY v.name, e.state, e.reason ORDER BY v.name, e.state, e.reason`,
		first, last)
	if err != nil {
		return nil, explain(err)
	}
	defer rows.Close()
	var all []ExportTally
	for rows.Next() {
		var t ExportTally
		var next, done sql.NullInt64
		if err := rows.Scan(&t.Vendor, &t.State, &t.Reason, &t.Exports, &next, &done); err != nil {
			return nil, explain(err)
		}
		t.NextAt, t.DoneAt = fromMillis(next), fromSecs(done)
		all = append(all, t)
	}
	return all, explain(rows.Err())
}

// exportPage holds the exports of a page of subjects, for a report.
type exportPage struct {
	s    *Store
	own  map[int64]*Export
	none bool // the store has no export at all
}

func (s *Store) exportPage(ctx context.Context, first, last int64) (*exportPage, error) {
	p := &exportPage{s: s}
	var some bool
	if err := s.read.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM exports)`).Scan(&some); err != nil || !some {
		p.none = true
		return p, explain(err)
	}
	all, err := s.exports(ctx, `task BETWEEN ? AND ?`, first*TasksPerSubject, last*TasksPerSubject+TasksPerSubject-1)
	if err != nil {
		return nil, err
	}
	p.own = make(map[int64]*Export, len(all))
	for i := range all {
		p.own[all[i].Task] = &all[i]
	}
	return p, nil
}

// of returns the export of a task, or of the task that it follows, or nil.
func (p *exportPage) of(ctx context.Context, t *Task) (*Export, error) {
	if p.none || t.Follows == 0 {
		return p.own[t.ID], nil
	}
	if e := p.own[t.Follows]; e != nil {
		return e, nil
	}
	e, ok, err := p.s.ExportOf(ctx, t.Follows)
	if !ok {
		return nil, err
	}
	return &e, nil
}
