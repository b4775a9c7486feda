package batch

import (
	"cmp"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"expunge/batch/intake"
	"expunge/store"
	"expunge/store/atomicfile"
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
	Rejects     string   // where the invalid rows are written; "" nowhere
	Strict      bool     // refuse the whole file if any row is invalid
	MaxSubjects int      // 0: no limit
	Only        []string // the vendors that the run is for; none: all
	Unmarked    bool     // nobody is to be found again by an identifier
	Reading     intake.Options
	Deadline    func(received time.Time) time.Time
	Log         *slog.Logger
}

// TakeIn takes the input file into the store as one batch. A file that was taken in before
// changes nothing: its batch is returned, and again is true.
func TakeIn(ctx context.Context, st *store.Store, lanes []*Lane, in Input) (b store.Batch, again bool, err error) {
	if in.Rejects != "" { // else a mistake in it would show only once the file is taken in
		if err := atomicfile.CheckTarget(in.Rejects, in.Path); err != nil {
			return store.Batch{}, false, err
		}
	}
	if in.Path != "-" {
		if b, again, err = taken(ctx, st, in); err != nil {
			return store.Batch{}, false, err
		}
	}
	in.Reading.Nobody = unasked(lanes, in.Only)
	src := &source{in: in, keep: in.Rejects}
	defer src.close()
	if !again {
		if b, again, err = load(ctx, st, lanes, src); err != nil {
			return store.Batch{}, false, err
		}
	}
	if in.Rejects == "" {
		return b, again, nil
	}
	return b, again, writeRejects(ctx, st, b.ID, src)
}

// Taken reports whether the store has taken in this file, which is not standard input, before.
func Taken(ctx context.Context, st *store.Store, in Input) (b store.Batch, ok bool, err error) {
	if in.Path == "-" {
		return store.Batch{}, false, nil
	}
	return taken(ctx, st, in)
}

// taken looks for the file among those that were taken in before. Where there are none, as
// before the first backlog, it need not be read for that.
func taken(ctx context.Context, st *store.Store, in Input) (b store.Batch, again bool, err error) {
	all, err := st.Batches(ctx)
	if err != nil {
		return store.Batch{}, false, err
	}
	if len(all) == 0 {
		return store.Batch{}, false, nil
	}
	digest, err := intake.Digest(in.Path)
	if err != nil {
		return store.Batch{}, false, err
	}
	return st.FindBatch(ctx, in.key(st, digest))
}

// key is by which a file that comes again is known: a keyed digest of its bytes and of what
// they are read with. With other columns, or for a vendor that has been added, the same file
// leads to other tasks.
func (in Input) key(st *store.Store, digest [32]byte) []byte {
	d := st.Digester()
	parts := append(in.Reading.Meaning(), string(digest[:]))
	key := binary.BigEndian.AppendUint64(nil, uint64(d.Sum64(append(parts, "file")...)))
	return binary.BigEndian.AppendUint64(key, uint64(d.Sum64(append(parts, "again")...)))
}

// load takes in a file that is not known by its digest yet.
func load(ctx context.Context, st *store.Store, lanes []*Lane, src *source) (b store.Batch, again bool, err error) {
	in := src.in
	reader, err := src.open()
	if err != nil {
		return store.Batch{}, false, err
	}
	defer reader.Close()
	name := filepath.Base(in.Path)
	if in.Path == "-" {
		name = "(standard input)"
	}
	now := in.Reading.Now()
	to, err := st.BeginIntake(ctx, name, now)
	if err != nil {
		return store.Batch{}, false, err
	}
	l := loading{in: in, now: now, plan: newPlanner(st, lanes, &in), to: to}
	if err := l.rows(ctx, reader); err != nil {
		return store.Batch{}, false, errors.Join(err, to.Discard(ctx))
	}
	key := in.key(st, reader.Digest())
	if b, again, err = st.FindBatch(ctx, key); err != nil || again {
		// Standard input that was taken in before: known only now.
		return b, again, errors.Join(err, to.Discard(ctx))
	}
	rules := l.plan.rules()
	rules.Accept = func(b store.Batch) error {
		if !in.Strict || b.Invalid == 0 {
			return nil
		}
		err := fmt.Errorf("%w: %d of %d", ErrInvalidRows, b.Invalid, b.Rows)
		if in.Rejects != "" { // now: with the batch the store forgets which rows it refused
			err = errors.Join(err, writeRejects(ctx, st, b.ID, src))
		}
		return err
	}
	b, again, err = to.Settle(ctx, key, rules)
	if err != nil || again {
		return b, again, err
	}
	counts := []any{"batch", b.ID, "rows", b.Rows, "subjects", b.Subjects, "invalid", b.Invalid, "duplicates", b.Duplicates}
	if b.Added > 0 {
		counts = append(counts, "tasks_added", b.Added)
	}
	in.Log.Info("taken in", counts...)
	return b, false, nil
}

// loading gives the rows of one file to the store.
type loading struct {
	in   Input
	now  time.Time
	plan *planner
	to   *store.Intake

	subjects, invalid int
	received, due     time.Time // of the subject before: most rows of a file share a date
}

func (l *loading) rows(ctx context.Context, reader *intake.Reader) error {
	rows := readAhead(ctx, reader)
	defer rows.stop()
	for {
		row, rej, err := rows.next()
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
		case rej != nil:
			err = l.refuse(store.Reject{Line: rej.Line, SubjectID: rej.SubjectID, Reason: string(rej.Reason), Message: rej.Message})
		default:
			err = l.subject(row)
		}
		if err != nil {
			return err
		}
	}
}

// refuse gives a row to the store that is not taken in. Such rows fill the disk as well: a
// bomb, or a file that is something else.
func (l *loading) refuse(r store.Reject) error {
	if l.invalid++; l.in.MaxSubjects > 0 && l.invalid > l.in.MaxSubjects {
		return fmt.Errorf("%w: more than %d rows of it are invalid", ErrTooMany, l.in.MaxSubjects)
	}
	return l.to.Reject(r)
}

// subject gives a good row to the store.
func (l *loading) subject(row *intake.Row) error {
	n, why, message := l.plan.subject(row)
	if why != "" {
		return l.refuse(store.Reject{Line: row.Line, SubjectID: row.SubjectID, Reason: string(why), Message: message})
	}
	if l.subjects++; l.in.MaxSubjects > 0 && l.subjects > l.in.MaxSubjects {
		return fmt.Errorf("%w: more than %d", ErrTooMany, l.in.MaxSubjects)
	}
	n.ReceivedAt = row.ReceivedAt
	if n.ReceivedAt.IsZero() {
		n.ReceivedAt = l.now
	}
	if n.ReceivedAt != l.received || l.due.IsZero() {
		l.received, l.due = n.ReceivedAt, l.in.Deadline(n.ReceivedAt)
	}
	n.DueAt = l.due
	return l.to.Subject(n)
}

// writeRejects reads the input once more and writes the rows that the batch refused: as
// they came, which the store does not know.
func writeRejects(ctx context.Context, st *store.Store, batch int64, src *source) error {
	reader, err := src.again()
	if err != nil {
		return err
	}
	defer reader.Close()
	return atomicfile.WriteFile(src.in.Rejects, []string{src.in.Path}, func(w io.Writer) error {
		out := intake.NewRejectWriter(w, reader.Header(), reader.Comma())
		return errors.Join(eachInvalid(st.Rejects(ctx, batch), reader, out.Write), out.Flush())
	})
}

// eachInvalid finds the rows that a batch refused as invalid in a second reading of its file.
func eachInvalid(next func() (store.Reject, bool, error), reader *intake.Reader, each func(*intake.Reject) error) error {
	want, more, err := next()
	for more && err == nil {
		row, rej, readErr := reader.Next()
		if errors.Is(readErr, io.EOF) {
			break
		}
		if readErr != nil {
			return readErr
		}
		if rej == nil {
			rej = &intake.Reject{Line: row.Line, Record: reader.Record()}
		}
		if rej.Line != want.Line {
			continue
		}
		if !want.Duplicate {
			rej.Reason, rej.SubjectID, rej.Message = vendors.Reason(want.Reason), want.SubjectID, want.Message
			if err := each(rej); err != nil {
				return err
			}
		}
		want, more, err = next()
	}
	return err
}

// source is an input that can be read twice. Which rows repeat an earlier subject_id the
// store knows only at the end, so the rows for the rejects are looked up in a second
// reading. Standard input is kept for it, where rejects are wanted, in a file without a
// name, under a key that is nowhere but in memory: its rows are people's data.
type source struct {
	in   Input
	keep string // beside which file standard input is kept; "": it is not
	kept *atomicfile.File
	key  [32]byte
}

// open begins the first reading.
func (s *source) open() (*intake.Reader, error) {
	if s.in.Path != "-" || s.keep == "" {
		return intake.Open(s.in.Path, s.in.Stdin, s.in.Reading)
	}
	var err error
	if s.kept, err = atomicfile.Create(s.keep); err != nil {
		return nil, err
	}
	rand.Read(s.key[:])
	w := cipher.StreamWriter{S: s.stream(), W: s.kept}
	return intake.Open("-", io.TeeReader(s.in.Stdin, w), s.in.Reading)
}

// again begins the second reading.
func (s *source) again() (*intake.Reader, error) {
	o := s.in.Reading
	o.Log = slog.New(slog.DiscardHandler) // its warnings have been given
	if s.kept == nil {
		return intake.Open(s.in.Path, nil, o)
	}
	if _, err := s.kept.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	return intake.Open("-", cipher.StreamReader{S: s.stream(), R: s.kept}, o)
}

// stream is the key stream, from its beginning. The key is used for one text only.
func (s *source) stream() cipher.Stream {
	block, err := aes.NewCipher(s.key[:])
	if err != nil {
		panic(err) // the length of the key is right
	}
	return cipher.NewCTR(block, make([]byte, aes.BlockSize))
}

func (s *source) close() {
	if s.kept != nil {
		s.kept.Discard()
	}
}

// rules say what the store asks of the subjects' data when it settles the batch.
func (p *planner) rules() store.IntakeRules {
	return store.IntakeRules{
		Repeated:       string(intake.RepeatedSubjectID),
		Conflicting:    string(intake.ConflictingSubjectID),
		AlreadyTakenIn: string(intake.AlreadyTakenIn),
		TasksAdded:     string(intake.TasksAdded),
		TooManyTasks:   string(intake.TooManyIdentifiers),
		Same:           p.sameIdentifier,
		Merge:          mergeSubjects,
		Identifiers: func(plain []byte) ([]store.Identifier, error) {
			s, err := vendors.ParseSubject(plain)
			return p.identifiers(nil, s, vendors.Identifiers), err
		},
		Digest: func(w *store.Work) (int64, error) {
			s, err := vendors.ParseSubject(w.Plain)
			if err != nil {
				return 0, err
			}
			r := vendors.Ref{Field: vendors.Field(w.Field), Nth: w.Nth}
			if s.At(r) == "" {
				return 0, nil
			}
			return p.sameDigest(w.Vendor, r, s), nil
		},
	}
}

// mergeSubjects is Subject.Merge for what the store keeps.
func mergeSubjects(stored, fresh []byte) (merged []byte, same bool, err error) {
	s, err := vendors.ParseSubject(stored)
	if err != nil {
		return nil, false, err
	}
	f, err := vendors.ParseSubject(fresh)
	if err != nil {
		return nil, false, err
	}
	m, same := s.Merge(f)
	merged, err = m.AppendBinary(nil)
	return merged, same, err
}

// sameIdentifier reports whether the calls for a answer for b too, since both are about the same
// identifier at one vendor. A telephone must be spelled the same: in which forms it can be
// looked up depends on how it is written. An email must be spelled as a's, or be the normal
// form. And what else of the subjects the
// outcome rests on must be equal: the vendor's Traits.Besides say what that is.
func (p *planner) sameIdentifier(a, b store.Work) bool {
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
	if class == vendors.Email && givenOf(b, sb) != nb && givenOf(b, sb) != givenOf(a, sa) {
		return false // an email is asked for as it is given and in its normal form: this one would not be
	}
	rest := p.besides[a.Vendor][class]
	return class == other && na == nb && na != "" && slices.Equal(spelled(sa, rest), spelled(sb, rest))
}

func givenOf(w store.Work, s vendors.Subject) string {
	return s.At(vendors.Ref{Field: vendors.Field(w.Field), Nth: w.Nth})
}

func normalOf(w store.Work, s vendors.Subject) (class vendors.Field, text string) {
	given := givenOf(w, s)
	class, text = vendors.Normal(vendors.Field(w.Field), given)
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
	kinds  []string
	acts   []string
	fields []vendors.FieldSet
	// besides are the vendors' Traits.Besides, by their ids.
	besides map[int64]map[vendors.Field]vendors.FieldSet
	// controls tell whose identifiers are those of the vendors' control records; nil: it has none.
	controls []func(vendors.Subject) bool
	digest   *seal.Digester
	seed     maphash.Seed // of the digests that live no longer than the intake
	region   string       // of telephone numbers that do not say theirs
	marked   bool         // subjects can be found again by their identifiers
	parts    []string
	same     []byte
	new      store.NewSubject
}

func newPlanner(st *store.Store, lanes []*Lane, in *Input) *planner {
	p := &planner{lanes: slices.Clone(lanes), digest: st.Digester(), seed: maphash.MakeSeed(), region: in.Reading.DefaultRegion, marked: !in.Unmarked, besides: map[int64]map[vendors.Field]vendors.FieldSet{}}
	slices.SortFunc(p.lanes, func(a, b *Lane) int { return cmp.Compare(a.Name, b.Name) })
	for _, l := range p.lanes {
		tr := l.Vendor.Traits()
		p.controls = append(p.controls, vendors.ControlOf(l.Vendor))
		p.kinds, p.acts, p.fields, p.besides[l.id] = append(p.kinds, tr.Kind), append(p.acts, string(tr.Act)), append(p.fields, tr.Fields), tr.Besides
	}
	return p
}

// subject plans a row, which is valid until the next call, or says why it is refused.
func (p *planner) subject(row *intake.Row) (_ *store.NewSubject, why vendors.Reason, message string) {
	n := &p.new
	n.Line, n.SubjectID, n.Channel, n.Tasks, n.Same, n.Plain = row.Line, row.SubjectID, row.Channel, n.Tasks[:0], n.Same[:0], n.Plain[:0]
	p.parts = p.parts[:0]
	for _, v := range row.Subject {
		if vendors.Identifiers.Has(v.Field) {
			_, normal := vendors.Normal(v.Field, v.Text)
			p.parts = append(p.parts, v.Field.String(), normal)
		}
	}
	n.Content = p.digest.Sum64(p.parts...)
	var keep vendors.FieldSet
	served := false
	for i, l := range p.lanes {
		if row.Vendors != nil && !slices.Contains(row.Vendors, l.Name) {
			continue
		}
		refs, why := l.Vendor.Identifiers(row.Subject)
		if len(refs) == 0 {
			if why == vendors.OtherRegion && !p.hasRegion(p.kinds[i], row.Subject) {
				return nil, intake.UnknownRegion, "region is that of no configured account of " + p.kinds[i]
			}
			n.Tasks = append(n.Tasks, store.NewTask{Vendor: l.id, State: store.Skipped, Reason: string(why), Act: p.acts[i]})
			n.Same = append(n.Same, 0)
			continue
		}
		if is := p.controls[i]; is != nil && is(row.Subject) {
			return nil, vendors.ControlRecord, "an identifier is that of vendors." + l.Name + ".control, the control record, which is never erased"
		}
		served = true
		keep |= p.fields[i]
		for _, r := range refs {
			n.Tasks = append(n.Tasks, store.NewTask{Vendor: l.id, Field: int(r.Field), Nth: r.Nth, Act: p.acts[i]})
			n.Same = append(n.Same, p.sameDigest(l.id, r, row.Subject))
		}
	}
	switch {
	case !served:
		return nil, intake.NoIdentifiers, "no vendor that the row is for can use what it has: " + p.skips()
	case len(n.Tasks) > store.MaxTasks:
		return nil, intake.TooManyIdentifiers, "too many keys for so many vendors"
	}
	// What no vendor needs is not stored at all.
	n.Plain = row.Subject.AppendKept(n.Plain, keep)
	n.Identifiers = p.identifiers(n.Identifiers[:0], row.Subject, keep)
	return n, "", ""
}

// identifiers appends those by which a subject can be found again: its clear ones in the
// given fields.
func (p *planner) identifiers(all []store.Identifier, s vendors.Subject, fields vendors.FieldSet) []store.Identifier {
	if !p.marked {
		return nil
	}
	nth, last := 0, vendors.Field(0)
	for _, v := range s {
		if nth++; v.Field != last {
			nth, last = 0, v.Field
		}
		if !v.Masked && vendors.Identifiers.Has(v.Field) && fields.Has(v.Field) {
			all = append(all, store.Identifier{Field: int(v.Field), Kind: v.Field.String(), Nth: nth, Normal: vendors.Canonical(v.Field, v.Text, p.region)})
		}
	}
	return all
}

// hasRegion reports whether any account of the kind is for the subject's region.
func (p *planner) hasRegion(kind string, s vendors.Subject) bool {
	for i, l := range p.lanes {
		if p.kinds[i] != kind {
			continue
		}
		if _, why := l.Vendor.Identifiers(s); why != vendors.OtherRegion {
			return true
		}
	}
	return false
}

// skips names the vendors that the planned row skips, and why.
func (p *planner) skips() string {
	var all []string
	for _, t := range p.new.Tasks {
		i := slices.IndexFunc(p.lanes, func(l *Lane) bool { return l.id == t.Vendor })
		all = append(all, p.lanes[i].Name+" "+t.Reason)
	}
	return strings.Join(all, ", ")
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
