package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"expunge/store/seal"
)

// IntakeRules say what the store cannot tell by itself when it settles a batch: the reason
// codes of the rows whose subject_id it has seen, and what the sealed data of subjects means.
type IntakeRules struct {
	Repeated       string // invalid: an earlier row of the file has this subject_id
	Conflicting    string // invalid: taken in with other identifiers
	AlreadyTakenIn string // duplicate: nothing of the row is new
	TasksAdded     string // duplicate: the request of an earlier batch got the tasks that it lacked
	TooManyTasks   string // invalid: with them it would have more tasks than a subject can have

	// Same tells, from the opened data of two subjects, whether two tasks with equal digests
	// really are about the same identifier.
	Same func(a, b Work) bool
	// Digest is what NewSubject.Same would hold for an open task of an earlier batch.
	Digest func(w *Work) (int64, error)
	// Merge returns what is kept of a subject whose row has come again: of each identifier
	// the clear form that is still stored, else that of the fresh row. same is false where the
	// two show other identifiers, masked ones included; merged is empty where they cannot be merged.
	Merge func(stored, fresh []byte) (merged []byte, same bool, err error)
	// Identifiers lists those of a subject, from its opened data, by which it is marked; nil: by none.
	Identifiers func(plain []byte) ([]Identifier, error)
	// Accept may refuse the batch, with its totals, before it counts.
	Accept func(Batch) error
}

// Settle finds the rows whose subject_id is known already, drops their tasks, adds to the
// requests of earlier batches the tasks that they lack, finds the tasks with the same
// identifier, and makes the batch count. Where all rows were in one earlier batch, at the same lines, and
// nothing is new, that batch is returned, and again is true. Where Settle returns an error,
// and where nothing is new, nothing of the batch is left.
func (in *Intake) Settle(ctx context.Context, digest []byte, rules IntakeRules) (b Batch, again bool, err error) {
	b, again, err = in.settle(ctx, digest, rules)
	in.same.close()
	if err != nil || again {
		err = errors.Join(err, in.s.discard(context.WithoutCancel(ctx), in.batch))
	}
	if err != nil {
		return Batch{}, false, err
	}
	return b, again, nil
}

func (in *Intake) settle(ctx context.Context, digest []byte, rules IntakeRules) (_ Batch, again bool, err error) {
	if err := in.finishLoading(); err != nil {
		return Batch{}, false, err
	}
	b := &in.batch
	b.Last, b.Digest = in.nextID-1, digest
	if err := in.refuseKnown(ctx, rules); err != nil {
		return Batch{}, false, err
	}
	if err := in.s.read.QueryRowContext(ctx, `SELECT (SELECT count(*) FROM subjects WHERE id BETWEEN ?1 AND ?2),
 (SELECT count(*) FROM rejects WHERE batch=?3 AND state='invalid'), (SELECT count(*) FROM rejects WHERE batch=?3 AND state='duplicate'),
 (SELECT coalesce(sum(tasks), 0) FROM additions WHERE batch=?3)`,
		b.First, b.Last, b.ID).Scan(&b.Subjects, &b.Invalid, &b.Duplicates, &b.Added); err != nil {
		return Batch{}, false, explain(err)
	}
	if b.Subjects == 0 && b.Added == 0 && b.Rows > 0 {
		if was, ok, err := in.s.sameRows(ctx, *b, rules.Repeated); err != nil || ok {
			return was, ok, err
		}
	}
	if err := rules.Accept(*b); err != nil {
		return Batch{}, false, err
	}
	if b.Subjects > 0 || b.Added > 0 {
		if err := in.tellReceived(ctx); err != nil {
			return Batch{}, false, err
		}
		if err := in.linkSame(ctx, rules); err != nil {
			return Batch{}, false, err
		}
	}
	err = in.s.inTx(ctx, func(c *sql.Conn) error {
		b.Loading = false
		// The CHECK of the table is the control total: a row that got lost stops here.
		_, err := c.ExecContext(context.Background(), `UPDATE batches SET loading=0, digest=?, rows=?, subjects=?, invalid=?, duplicates=?, last_subject=? WHERE id=?`,
			digest, b.Rows, b.Subjects, b.Invalid, b.Duplicates, b.Last, b.ID)
		if err != nil {
			return err
		}
		return in.s.tell(c, func(w *writer) error {
			return w.tellAll(EventBatch, &EventBody{Batch: b.ID, Rows: b.Rows, Subjects: b.Subjects, Invalid: b.Invalid, Duplicates: b.Duplicates, Tasks: b.Added})
		})
	})
	return *b, false, err
}

// sameRows finds the earlier batch that had exactly the rows of this one, of which nothing is
// new: the same ticket numbers at the same lines, and the same rows invalid for the same
// reasons; what repeated a row of that batch then is a duplicate now. Such a file has come again. The batch's digest tells that sooner, but only as long
// as something of it is open: a digest of a finished person's row would be something that
// guesses could be tried on.
func (s *Store) sameRows(ctx context.Context, b Batch, repeated string) (Batch, bool, error) {
	all, err := s.batches(ctx, `WHERE NOT loading AND dropped_at IS NULL AND rows = ?`, b.Rows)
	if err != nil {
		return Batch{}, false, err
	}
	for _, was := range slices.Backward(all) {
		var differ bool
		err := s.read.QueryRowContext(ctx, `SELECT EXISTS (SELECT line, subject_id FROM rejects WHERE batch=?1 AND state='duplicate'
  EXCEPT SELECT * FROM (SELECT line, subject_id FROM subjects WHERE id BETWEEN ?3 AND ?4 UNION ALL SELECT line, subject_id FROM rejects WHERE batch=?2 AND (state='duplicate' OR reason=?5)))
 OR EXISTS (SELECT line, subject_id, reason FROM rejects WHERE batch=?1 AND state='invalid'
  EXCEPT SELECT line, subject_id, reason FROM rejects WHERE batch=?2 AND state='invalid')`,
			b.ID, was.ID, was.First, was.Last, repeated).Scan(&differ)
		if err != nil {
			return Batch{}, false, explain(err)
		}
		if !differ {
			return was, true, nil
		}
	}
	return Batch{}, false, nil
}

// knownRow is a row of the batch whose subject_id stands for another subject already.
type knownRow struct {
	id    int64 // of the subject that the row would have become
	shape int
	plain []byte // its opened data

	known, batch int64 // the subject that has the subject_id, and its batch; 0: purged
	reject       Reject
	unsure       bool // whether the identifiers are the same is to be found from both subjects' data
}

// refuseKnown merges the batch's subject ids into those of the store, in sorted order, and
// turns the rows whose id was there into rejects, without tasks of their own.
func (in *Intake) refuseKnown(ctx context.Context, rules IntakeRules) error {
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
	rows, err := in.s.read.QueryContext(ctx, `SELECT s.id, s.line, s.subject_id, s.shape, s.sealed, s.content, coalesce(w.id, 0), coalesce(w.batch, 0), coalesce(w.shape, 0), coalesce(w.content, 0)
 FROM subjects s JOIN subject_ids x ON x.subject_id = s.subject_id LEFT JOIN subjects w ON w.id = x.subject
 WHERE s.id BETWEEN ? AND ? AND x.subject <> s.id ORDER BY s.id`, in.batch.First, in.batch.Last)
	if err != nil {
		return explain(err)
	}
	defer rows.Close()
	var page []knownRow
	for rows.Next() {
		var k knownRow
		var mine, theirs int64
		var shape int
		var sealed sql.RawBytes
		if err := rows.Scan(&k.id, &k.reject.Line, &k.reject.SubjectID, &k.shape, &sealed, &mine, &k.known, &k.batch, &shape, &theirs); err != nil {
			return explain(err)
		}
		r := &k.reject
		switch {
		case k.known == 0:
			r.Duplicate, r.Reason = true, rules.AlreadyTakenIn
			r.Message = "taken in before and purged: whether it was the same row is not known any more"
		case theirs != 0 && mine != theirs:
			r.Reason, r.Message = rules.Conflicting, "this subject_id was taken in with other identifiers"
		case k.batch == in.batch.ID:
			r.Reason, r.Message = rules.Repeated, "this subject_id stands in the file already"
		default:
			r.Duplicate, r.Reason, r.Message = true, rules.AlreadyTakenIn, fmt.Sprintf("taken in with batch %d", k.batch)
			k.unsure = theirs == 0
			if k.unsure || len(missing(in.tasks[shape], in.tasks[k.shape])) > 0 {
				if k.plain, err = in.s.box.Open(nil, sealed, seal.Place{Table: "subjects", Row: k.id}); err != nil {
					return fmt.Errorf("store: subject %d: %w", k.id, err)
				}
			}
		}
		if page = append(page, k); len(page) == chunk {
			if err := in.refusePage(ctx, page, rules); err != nil {
				return err
			}
			page = page[:0]
		}
	}
	if err := rows.Err(); err != nil {
		return explain(err)
	}
	return in.refusePage(ctx, page, rules)
}

func (in *Intake) refusePage(ctx context.Context, page []knownRow, rules IntakeRules) error {
	return in.s.inTx(ctx, func(c *sql.Conn) error {
		rejects := make([]Reject, 0, len(page))
		for i := range page {
			k := &page[i]
			if k.plain != nil {
				if err := in.addMissing(c, k, rules); err != nil {
					return err
				}
			}
			if _, err := c.ExecContext(context.Background(), `DELETE FROM tasks WHERE id BETWEEN ?1*1000 AND ?1*1000+999`, k.id); err != nil {
				return err
			}
			if _, err := c.ExecContext(context.Background(), `DELETE FROM subjects WHERE id=?`, k.id); err != nil {
				return err
			}
			rejects = append(rejects, k.reject)
		}
		return insertRejects(c, in.batch.ID, rejects)
	})
}

// addMissing gives the known subject the tasks that the row leads to and it does not have. The
// row itself becomes a duplicate, or is refused.
func (in *Intake) addMissing(c *sql.Conn, k *knownRow, rules IntakeRules) error {
	bg := context.Background()
	var former int
	var due int64
	var sealed, secret, marks []byte
	// Read here: an earlier row of this file may have added to it.
	if err := c.QueryRowContext(bg, `SELECT shape, due_at, sealed, secret, marks FROM subjects WHERE id = ?`, k.known).Scan(&former, &due, &sealed, &secret, &marks); err != nil {
		return err
	}
	place := seal.Place{Table: "subjects", Row: k.known}
	stored, err := in.s.box.Open(nil, sealed, place)
	if err != nil {
		return fmt.Errorf("store: subject %d: %w", k.known, err)
	}
	merged, same, err := rules.Merge(stored, k.plain)
	if err != nil {
		return fmt.Errorf("store: subject %d: %w", k.known, err)
	}
	if k.unsure && !same || len(merged) == 0 {
		k.reject.Duplicate, k.reject.Reason, k.reject.Message = false, rules.Conflicting, "this subject_id was taken in with other identifiers"
		return nil
	}
	has := in.tasks[former]
	lacks := missing(has, in.tasks[k.shape])
	if len(lacks) == 0 {
		return nil
	}
	union, at := extend(has, lacks)
	if len(union) > MaxTasks {
		k.reject.Duplicate, k.reject.Reason, k.reject.Message = false, rules.TooManyTasks, "too many keys for so many vendors"
		return nil
	}
	shape, err := in.unionShape(c, union)
	if err != nil {
		return err
	}
	for i, t := range lacks {
		id := k.known*TasksPerSubject + int64(at[i])
		// The only task that can stand there is the one that says that the vendor was skipped.
		if _, err := c.ExecContext(bg, `DELETE FROM tasks WHERE id = ? AND state = ?`, id, Skipped); err != nil {
			return err
		}
		var next, completed any
		if t.State == Pending {
			next = int64(0)
			b := blockOf(t.Vendor, due, k.known)
			if _, err := c.ExecContext(bg, sqlList, b.vendor, b.hour, b.block, 1); err != nil {
				return err
			}
		} else {
			completed = secs(in.now)
		}
		if _, err := c.ExecContext(bg, `INSERT INTO tasks (id, vendor, identifier, state, due_at, next_at, reason, completed_at) VALUES (?,?,?,?,?,?,?,?)`,
			id, t.Vendor, identifier(t.Field, t.Nth), t.State, due, next, nullText(t.Reason), completed); err != nil {
			return err
		}
	}
	marked := len(marks) / markRoom
	if secret != nil && rules.Identifiers != nil {
		all, err := rules.Identifiers(merged)
		if err != nil {
			return fmt.Errorf("store: subject %d: %w", k.known, err)
		}
		marks = in.addMarks(marks, secret, all)
	}
	for _, q := range []struct {
		text string
		args []any
	}{
		{`UPDATE subjects SET shape=?, sealed=?, marks=?, content=(SELECT content FROM subjects WHERE id=?) WHERE id=?`,
			[]any{shape, in.s.box.Seal(nil, merged, place), nullBytes(marks), k.id, k.known}},
		{`INSERT INTO additions (batch, subject, former, tasks, marks) VALUES (?,?,?,?,?) ON CONFLICT DO UPDATE SET tasks = tasks + excluded.tasks`, []any{in.batch.ID, k.known, former, len(lacks), marked}},
		{`UPDATE batches SET done=0 WHERE id=? AND done`, []any{k.batch}},
	} {
		if _, err := c.ExecContext(bg, q.text, q.args...); err != nil {
			return err
		}
	}
	if err := in.s.tell(c, func(w *writer) error {
		return w.tellTasksOf(EventAdded, k.known, &EventBody{Batch: in.batch.ID, Tasks: int64(len(lacks))})
	}); err != nil {
		return err
	}
	// The fresh row has clear values that only finished tasks needed.
	if err := c.Raw(func(any) error { return in.s.w.forget(k.known) }); err != nil {
		return err
	}
	k.reject.Reason = rules.TasksAdded
	k.reject.Message = fmt.Sprintf("%d more tasks for the request that was taken in with batch %d", len(lacks), k.batch)
	if len(lacks) == 1 {
		k.reject.Message = fmt.Sprintf("one more task for the request that was taken in with batch %d", k.batch)
	}
	return nil
}

// missing lists the tasks of want that a subject with the tasks has does not have. That a
// vendor is skipped is missing only where the subject has no task there at all.
func missing(has, want []NewTask) []NewTask {
	var lacks []NewTask
	for _, t := range want {
		if !slices.ContainsFunc(has, func(h NewTask) bool {
			return h.Vendor == t.Vendor && (t.State == Skipped || h.State == t.State && h.Field == t.Field && h.Nth == t.Nth)
		}) {
			lacks = append(lacks, t)
		}
	}
	return lacks
}

// extend returns the tasks has with those of lacks, and the place of each of lacks: behind
// the others, so that no task changes its id, but for the first one at a vendor that was
// skipped, whose place it takes.
func extend(has, lacks []NewTask) (union []NewTask, at []int) {
	union = slices.Clone(has)
	for _, t := range lacks {
		n := slices.IndexFunc(union, func(h NewTask) bool { return h.Vendor == t.Vendor && h.State == Skipped })
		if n < 0 {
			n, union = len(union), append(union, t)
		}
		union[n], at = t, append(at, n)
	}
	return union, at
}

// unionShape returns the shape of a list of tasks, for a subject that is there already.
func (in *Intake) unionShape(c *sql.Conn, tasks []NewTask) (int, error) {
	in.part.shapes = in.part.shapes[:0] // all of them are written
	id := in.shape(tasks)
	return id, insertShapes(c, in.part.shapes)
}

// offerEarlier lets the open tasks of earlier batches be found by the tasks of this one that
// may have the same identifier, those that this one added among them. What their digests are computed with lives no longer than
// the intake, so they are computed anew: nothing is kept by which an identifier could be
// looked for.
func (in *Intake) offerEarlier(ctx context.Context, rules IntakeRules) error {
	all, err := in.s.batches(ctx, `WHERE NOT loading AND NOT done`)
	if err != nil {
		return err
	}
	for _, b := range all {
		for first := b.First * TasksPerSubject; ; {
			n, err := 0, error(nil)
			err = in.s.eachOpen(ctx, first, b.Last*TasksPerSubject+TasksPerSubject-1, func(w *Work) error {
				n, first = n+1, w.ID+1
				d, err := rules.Digest(w)
				if err != nil || d == 0 || !in.same.maybe(d) {
					return err
				}
				return in.same.add(d, w.ID)
			})
			if err != nil {
				return err
			}
			if n < pageSize {
				break
			}
		}
	}
	return nil
}

// eachOpen calls fn for a page of tasks that are open and follow no other, with what tells
// their identifiers. What fn is given is valid during the call.
func (s *Store) eachOpen(ctx context.Context, first, last int64, fn func(*Work) error) error {
	rows, err := s.read.QueryContext(ctx, `SELECT t.id, t.vendor, t.identifier, s.sealed FROM tasks t CROSS JOIN subjects s ON s.id = t.id/1000
 WHERE t.id BETWEEN ? AND ? AND t.state < 6 AND t.follows IS NULL ORDER BY t.id LIMIT ?`, first, last, pageSize)
	if err != nil {
		return explain(err)
	}
	defer rows.Close()
	var w Work
	var ref, opened int64
	var sealed sql.RawBytes
	for rows.Next() {
		if err := rows.Scan(&w.ID, &w.Vendor, &ref, &sealed); err != nil {
			return explain(err)
		}
		w.Field, w.Nth = int(ref%perField), int(ref/perField)
		if id := w.SubjectRow(); id != opened { // the tasks of a subject follow one another
			if w.Plain, err = s.box.Open(w.Plain[:0], sealed, seal.Place{Table: "subjects", Row: id}); err != nil {
				return fmt.Errorf("store: subject %d: %w", id, err)
			}
			opened = id
		}
		if err := fn(&w); err != nil {
			return err
		}
	}
	return explain(rows.Err())
}

// lead is a task that others with the same identifier can follow.
type lead struct {
	Work
	earlier bool // it was there before this intake, and may be under way
}

// linkSame lets tasks with the same identifier at the same vendor follow one of them, so
// that the vendor is asked once: one of an earlier batch that is still open, else the most
// urgent.
func (in *Intake) linkSame(ctx context.Context, rules IntakeRules) error {
	if err := in.offerEarlier(ctx, rules); err != nil {
		return err
	}
	type link struct {
		lead    int64
		earlier bool
		state   State // of the lead
		task    *Task
	}
	var links []link
	flush := func() error {
		defer func() { links = links[:0] }()
		return in.s.inTx(ctx, func(c *sql.Conn) error {
			bg := context.Background()
			urgent := map[int64]struct{}{}
			for _, l := range links {
				if l.earlier {
					// It begins where the one that it follows has got to, which is no transition.
					if _, err := c.ExecContext(bg, `DELETE FROM tasks WHERE id=?`, l.task.ID); err != nil {
						return err
					}
					if _, err := c.ExecContext(bg, sqlJoin, l.task.ID, identifier(l.task.Field, l.task.Nth), secs(l.task.DueAt), l.lead); err != nil {
						return err
					}
					if err := in.s.tell(c, func(w *writer) error { return w.tellJoined(l.task.ID, l.state) }); err != nil {
						return err
					}
					urgent[l.lead] = struct{}{}
				} else if _, err := c.ExecContext(bg, `UPDATE tasks SET follows=?, next_at=NULL WHERE id=?`, l.lead, l.task.ID); err != nil {
					return err
				}
				if _, err := c.ExecContext(bg, sqlLeads, l.lead); err != nil {
					return err
				}
			}
			for id := range urgent {
				if _, err := c.ExecContext(bg, sqlRedate+`id = ?`, id); err != nil {
					return err
				}
			}
			return nil
		})
	}
	err := in.same.groups(func(tasks []int64) error {
		found, err := in.byUrgency(ctx, tasks)
		if err != nil {
			return err
		}
		// Equal digests are almost surely equal identifiers; "almost" is not good enough to
		// let one person's erasure stand for another's.
		var leads []lead
		for _, f := range found {
			w, err := in.s.TaskByID(ctx, f.id)
			if err != nil {
				return err
			}
			i := slices.IndexFunc(leads, func(l lead) bool { return rules.Same(l.Work, w) })
			switch {
			case i < 0:
				leads = append(leads, lead{w, f.earlier})
				continue
			case f.earlier:
				continue // each of them is under way by itself
			}
			if links = append(links, link{leads[i].ID, leads[i].earlier, leads[i].State, &w.Task}); len(links) >= chunk {
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

const (
	// A task that follows one of an earlier batch: what the one that it follows has, under its
	// own id and due date.
	sqlJoin = `INSERT INTO tasks (id, vendor, identifier, due_at, follows, state, reason, evidence, records, records_after, record_refs, reference,
 more, previewed_at, submitted_at, completed_at, verified_at)
 SELECT ?1, vendor, ?2, ?3, id, state, reason, evidence, records, records_after, record_refs, reference,
 nullif(json_remove(more, '$.leads', '$.approval'), '{}'), previewed_at, submitted_at, completed_at, verified_at FROM tasks WHERE id = ?4`
	sqlLeads = `UPDATE tasks SET more=json_set(coalesce(more, '{}'), '$.leads', json('true')) WHERE id=?`
)

// foundTask is a task of a group with equal digests.
type foundTask struct {
	id      int64
	earlier bool // it was there before this intake
}

// byUrgency returns those of the tasks that there are (the rows of others were refused): first
// those of earlier batches, then the most urgent, for the call is made when the first of
// them needs it.
func (in *Intake) byUrgency(ctx context.Context, tasks []int64) ([]foundTask, error) {
	list, err := json.Marshal(tasks)
	if err != nil {
		return nil, err
	}
	rows, err := in.s.read.QueryContext(ctx, `SELECT t.id, t.id < ?2 AND NOT EXISTS (SELECT 1 FROM additions a WHERE a.batch=?3 AND a.subject=t.id/1000 AND `+sqlAdded+`) AS earlier
 FROM (SELECT DISTINCT value FROM json_each(?1)) j CROSS JOIN tasks t ON t.id = j.value ORDER BY earlier DESC, t.due_at, t.id`,
		string(list), in.batch.First*TasksPerSubject, in.batch.ID)
	if err != nil {
		return nil, explain(err)
	}
	defer rows.Close()
	sorted := make([]foundTask, 0, len(tasks))
	for rows.Next() {
		var f foundTask
		if err := rows.Scan(&f.id, &f.earlier); err != nil {
			return nil, explain(err)
		}
		sorted = append(sorted, f)
	}
	return sorted, explain(rows.Err())
}
