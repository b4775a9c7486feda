package batch

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"log/slog"
	"path/filepath"
	"slices"
	"time"

	"expunge/batch/intake"
	"expunge/store"
	"expunge/store/seal"
	"expunge/vendors"
)

var (
	// ErrTooMany: the file holds more subjects than max_subjects allows.
	ErrTooMany = errors.New("the file holds more subjects than max_subjects allows")
	// ErrInvalidRows: --strict, and some rows are invalid.
	ErrInvalidRows = errors.New("some rows are invalid, and --strict takes in all or nothing")
)

// Input says what is taken in and how.
type Input struct {
	Path        string // "-" is Stdin
	Stdin       io.Reader
	Rejects     string // where the invalid rows are written; "" nowhere
	Strict      bool   // refuse the whole file if any row is invalid
	MaxSubjects int    // 0: no limit
	Reading     intake.Options
	Deadline    func(received time.Time) time.Time
	Log         *slog.Logger
}

// TakeIn takes the input file into the store as one batch. A file that was taken in before
// changes nothing: its batch is returned, and again is true.
func TakeIn(ctx context.Context, st *store.Store, lanes []*Lane, in Input) (b store.Batch, again bool, err error) {
	if in.Path != "-" {
		if b, again, err = taken(ctx, st, in.Path); err != nil {
			return store.Batch{}, false, err
		}
	}
	if !again {
		if b, again, err = load(ctx, st, lanes, in); err != nil {
			return store.Batch{}, false, err
		}
	}
	if in.Rejects == "" {
		return b, again, nil
	}
	if in.Path == "-" {
		return b, again, nil // written while it was read: there is no second reading
	}
	return b, again, writeRejects(ctx, st, b, in)
}

// taken looks for the file among those that were taken in before. Where there are none, as
// before the first backlog, it need not be read for that.
func taken(ctx context.Context, st *store.Store, path string) (b store.Batch, again bool, err error) {
	all, err := st.Batches(ctx)
	if err != nil {
		return store.Batch{}, false, err
	}
	if len(all) == 0 {
		return store.Batch{}, false, intake.CheckRegular(path)
	}
	digest, err := intake.Digest(path)
	if err != nil {
		return store.Batch{}, false, err
	}
	return st.FindBatch(ctx, digest[:])
}

func load(ctx context.Context, st *store.Store, lanes []*Lane, in Input) (_ store.Batch, again bool, err error) {
	now := in.Reading.Now()
	reader, err := intake.Open(in.Path, in.Stdin, in.Reading)
	if err != nil {
		return store.Batch{}, false, err
	}
	defer reader.Close()
	name := filepath.Base(in.Path)
	if in.Path == "-" {
		name = "(standard input)"
	}
	ink, err := st.BeginIntake(ctx, name, now)
	if err != nil {
		return store.Batch{}, false, err
	}
	give := func(err error) (store.Batch, bool, error) {
		return store.Batch{}, false, errors.Join(err, ink.Discard(ctx))
	}
	var rejects *intake.RejectWriter
	keepRejects := func() error { return nil }
	if in.Rejects != "" && (in.Path == "-" || in.Strict) {
		// Written while it is read: there is no second reading. Rows that turn out to repeat
		// a subject_id only when the batch is settled are not among them; the report has them.
		f, err := createFile(in.Rejects, []string{in.Path})
		if err != nil {
			return give(err)
		}
		defer f.discard()
		rejects = intake.NewRejectWriter(f, reader.Header(), reader.Comma())
		keepRejects = func() error { return errors.Join(rejects.Flush(), f.commit()) }
	}
	plan := newPlanner(st, lanes)
	var received, due time.Time // of the subject before: most rows of a file share a date
	subjects, invalid := 0, 0
	rows := readAhead(ctx, reader)
	defer rows.stop()
	for {
		row, rej, err := rows.next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return give(err)
		}
		if rej != nil {
			// Invalid rows fill the disk as well: a bomb, or a file that is something else.
			if invalid++; in.MaxSubjects > 0 && invalid > in.MaxSubjects {
				return give(fmt.Errorf("%w: more than %d rows of it are invalid", ErrTooMany, in.MaxSubjects))
			}
			if err := ink.Reject(store.Reject{Line: rej.Line, SubjectID: rej.SubjectID, Reason: string(rej.Reason), Message: rej.Message}); err != nil {
				return give(err)
			}
			if rejects != nil {
				if err := rejects.Write(rej); err != nil {
					return give(err)
				}
			}
			continue
		}
		if subjects++; in.MaxSubjects > 0 && subjects > in.MaxSubjects {
			return give(fmt.Errorf("%w: more than %d", ErrTooMany, in.MaxSubjects))
		}
		n := plan.subject(row)
		if len(n.Tasks) > store.TasksPerSubject {
			subjects--
			invalid++
			if err := ink.Reject(store.Reject{Line: row.Line, SubjectID: row.SubjectID, Reason: string(intake.TooManyIdentifiers),
				Message: "too many keys for so many vendors"}); err != nil {
				return give(err)
			}
			continue
		}
		n.ReceivedAt = row.ReceivedAt
		if n.ReceivedAt.IsZero() {
			n.ReceivedAt = now
		}
		if n.ReceivedAt != received || due.IsZero() {
			received, due = n.ReceivedAt, in.Deadline(n.ReceivedAt)
		}
		n.DueAt = due
		if err := ink.Subject(n); err != nil {
			return give(err)
		}
	}
	if invalid > 0 && in.Strict {
		_, _, err := give(fmt.Errorf("%w: %d of %d", ErrInvalidRows, invalid, reader.Rows()))
		return store.Batch{}, false, errors.Join(err, keepRejects())
	}
	digest := reader.Digest()
	if b, ok, err := st.FindBatch(ctx, digest[:]); err != nil || ok {
		// Standard input that was taken in before: known only now.
		_, _, err2 := give(err)
		return b, true, errors.Join(err2, keepRejects())
	}
	b, err := ink.Settle(ctx, digest[:], store.IntakeReasons{
		Repeated:       string(intake.RepeatedSubjectID),
		Conflicting:    string(intake.ConflictingSubjectID),
		AlreadyTakenIn: string(intake.AlreadyTakenIn),
	}, sameIdentifier(plan.besides), func(r store.Reject) error {
		if in.Strict && !r.Duplicate {
			return fmt.Errorf("%w: line %d: %s", ErrInvalidRows, r.Line, r.Reason)
		}
		return nil
	})
	if err != nil {
		return store.Batch{}, false, err
	}
	if err := keepRejects(); err != nil {
		return b, false, err
	}
	in.Log.Info("taken in", "batch", b.ID, "rows", b.Rows, "subjects", b.Subjects, "invalid", b.Invalid, "duplicates", b.Duplicates)
	return b, false, nil
}

// writeRejects reads the file once more and writes the rows that the batch refused.
func writeRejects(ctx context.Context, st *store.Store, b store.Batch, in Input) error {
	in.Reading.Log = slog.New(slog.DiscardHandler) // its warnings have been given
	reader, err := intake.Open(in.Path, in.Stdin, in.Reading)
	if err != nil {
		return err
	}
	defer reader.Close()
	next := st.Rejects(ctx, b.ID)
	return WriteFile(in.Rejects, []string{in.Path}, func(w io.Writer) error {
		out := intake.NewRejectWriter(w, reader.Header(), reader.Comma())
		want, more, err := next()
		for more && err == nil {
			row, rej, readErr := reader.Next()
			if errors.Is(readErr, io.EOF) {
				break
			}
			if readErr != nil {
				return readErr
			}
			line := 0
			if rej != nil {
				line = rej.Line
			} else {
				line = row.Line
			}
			if line != want.Line {
				continue
			}
			if !want.Duplicate {
				if rej == nil {
					rej = &intake.Reject{Line: line, Record: reader.Record()}
				}
				rej.Reason = vendors.Reason(want.Reason)
				if err := out.Write(rej); err != nil {
					return err
				}
			}
			want, more, err = next()
		}
		return errors.Join(err, out.Flush())
	})
}

// sameIdentifier reports whether two tasks of one vendor are about the same identifier, so
// that one call answers for both. A telephone must be spelled the same too: in which forms
// it can be looked up depends on how it is written. And what else of the subjects the
// outcome rests on must be equal: besides says what that is at each vendor.
func sameIdentifier(besides map[int64]map[vendors.Field]vendors.FieldSet) func(a, b store.Work) bool {
	return func(a, b store.Work) bool {
		if a.Vendor != b.Vendor {
			return false
		}
		sa, err := vendors.ParseSubject(a.Plain)
		if err != nil {
			return false
		}
		sb, err := vendors.ParseSubject(b.Plain)
		if err != nil {
			return false
		}
		class, na := normalOf(a, sa)
		other, nb := normalOf(b, sb)
		rest := besides[a.Vendor][class]
		return class == other && na == nb && na != "" && slices.Equal(spelled(sa, rest), spelled(sb, rest))
	}
}

func normalOf(w store.Work, s vendors.Subject) (class vendors.Field, text string) {
	f := vendors.Field(w.Field)
	given := s.At(vendors.Ref{Field: f, Nth: w.Nth})
	class, text = vendors.Normal(f, given)
	if class == vendors.Telephone && text != "" {
		return class, given
	}
	return class, text
}

// spelled lists the values of the fields in a form in which equal ones are equal.
func spelled(s vendors.Subject, fields vendors.FieldSet) []string {
	var all []string
	for _, v := range s {
		if fields.Has(v.Field) {
			class, text := vendors.Normal(v.Field, v.Text)
			all = append(all, class.String()+"="+text)
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// planner turns rows into subjects with their tasks.
type planner struct {
	lanes  []*Lane // by name
	fields []vendors.FieldSet
	// besides are the vendors' Traits.Besides, by their ids.
	besides map[int64]map[vendors.Field]vendors.FieldSet
	digest  *seal.Digester
	seed    maphash.Seed // of the digests that live no longer than the intake
	parts   []string
	same    []byte
	new     store.NewSubject
}

func newPlanner(st *store.Store, lanes []*Lane) *planner {
	p := &planner{lanes: slices.Clone(lanes), digest: st.Digester(), seed: maphash.MakeSeed(), besides: map[int64]map[vendors.Field]vendors.FieldSet{}}
	slices.SortFunc(p.lanes, func(a, b *Lane) int { return cmp.Compare(a.Name, b.Name) })
	for _, l := range p.lanes {
		tr := l.Vendor.Traits()
		p.fields, p.besides[l.id] = append(p.fields, tr.Fields), tr.Besides
	}
	return p
}

// subject plans a row. The result is valid until the next call.
func (p *planner) subject(row *intake.Row) *store.NewSubject {
	n := &p.new
	n.Line, n.SubjectID, n.Tasks, n.Same, n.Plain = row.Line, row.SubjectID, n.Tasks[:0], n.Same[:0], n.Plain[:0]
	p.parts = p.parts[:0]
	for _, v := range row.Subject {
		if vendors.Identifiers.Has(v.Field) {
			_, normal := vendors.Normal(v.Field, v.Text)
			p.parts = append(p.parts, v.Field.String(), normal)
		}
	}
	n.Content = p.digest.Sum64(p.parts...)
	var keep vendors.FieldSet
	for i, l := range p.lanes {
		if row.Vendors != nil && !slices.Contains(row.Vendors, l.Name) {
			continue
		}
		refs, why := l.Vendor.Identifiers(row.Subject)
		if len(refs) == 0 {
			n.Tasks = append(n.Tasks, store.NewTask{Vendor: l.id, State: store.Skipped, Reason: string(why)})
			n.Same = append(n.Same, 0)
			continue
		}
		keep |= p.fields[i]
		for _, r := range refs {
			n.Tasks = append(n.Tasks, store.NewTask{Vendor: l.id, Field: int(r.Field), Nth: r.Nth})
			n.Same = append(n.Same, p.sameDigest(l.id, r, row.Subject))
		}
	}
	// What no vendor needs is not stored at all.
	n.Plain = row.Subject.AppendKept(n.Plain, keep)
	return n
}

// sameDigest finds the tasks of one batch that may be about the same identifier; whether
// they are, sameIdentifier tells. So it need not be as strong as the digests that the store
// keeps, at a tenth of the cost, and means nothing once the intake's seed is gone.
func (p *planner) sameDigest(vendor int64, r vendors.Ref, s vendors.Subject) int64 {
	class, normal := vendors.Normal(r.Field, s.At(r))
	// Without the rest, a switchboard's number would be one group of all who have it.
	rest := uint64(0)
	if fields := p.besides[vendor][class]; fields != 0 {
		for _, v := range s {
			if fields.Has(v.Field) {
				c, text := vendors.Normal(v.Field, v.Text)
				p.same = append(append(p.same[:0], byte(c)), text...)
				rest += maphash.Bytes(p.seed, p.same) // in any order
			}
		}
	}
	p.same = binary.LittleEndian.AppendUint64(p.same[:0], uint64(vendor))
	p.same = binary.LittleEndian.AppendUint64(p.same, rest)
	p.same = append(append(p.same, byte(class)), normal...)
	return int64(maphash.Bytes(p.seed, p.same))
}

// Forget is the store's Forget for subjects.
func Forget(plain []byte, keep uint32) ([]byte, error) {
	s, err := vendors.ParseSubject(plain)
	if err != nil {
		return nil, err
	}
	return s.Forget(vendors.FieldSet(keep)).AppendBinary(make([]byte, 0, len(plain)))
}

// rowsAhead reads rows in a goroutine of its own, so that parsing costs intake no time. The
// rows' memory goes round between the two.
type rowsAhead struct {
	full, free chan []readRow
	quit       chan struct{}
	chunk      []readRow
	at         int // the row of chunk that comes next
}

type readRow struct {
	row intake.Row
	rej *intake.Reject
	err error
}

const (
	chunkRows = 256
	chunks    = 4
)

func readAhead(ctx context.Context, r *intake.Reader) *rowsAhead {
	a := &rowsAhead{full: make(chan []readRow, chunks), free: make(chan []readRow, chunks), quit: make(chan struct{})}
	for range chunks {
		a.free <- make([]readRow, chunkRows)
	}
	go func() {
		defer close(a.full)
		for {
			var chunk []readRow
			select {
			case chunk = <-a.free:
			case <-a.quit:
				return
			}
			for i := range chunk {
				c := &chunk[i]
				if c.rej, c.err = r.Read(&c.row); c.err == nil {
					c.err = ctx.Err()
				}
				if c.err != nil {
					a.full <- chunk[:i+1]
					return
				}
			}
			a.full <- chunk
		}
	}()
	return a
}

// next returns the next row, which is valid until the next call.
func (a *rowsAhead) next() (*intake.Row, *intake.Reject, error) {
	if a.at == len(a.chunk) {
		if a.chunk != nil {
			a.free <- a.chunk
		}
		a.chunk, a.at = <-a.full, 0
	}
	c := &a.chunk[a.at]
	if c.err == nil {
		a.at++ // an error is the last, and stays
	}
	return &c.row, c.rej, c.err
}

// stop ends the reading; the reader may be used again afterwards.
func (a *rowsAhead) stop() {
	close(a.quit)
	for range a.full {
	}
}
