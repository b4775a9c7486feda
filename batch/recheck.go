package batch

import (
	"context"
	"encoding/csv"
	"errors"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"expunge/batch/decide"
	"expunge/batch/intake"
	"expunge/store"
	"expunge/vendors"
)

// A recheck looks everyone in a file up at the vendors that can be asked, as a dry run of it
// does, in a store of its own, and compares what they hold with what the real store says was
// done.

// Verdicts of a recheck.
const (
	Gone       = "gone"        // erased or not found before, and not held now
	Back       = "back"        // erased or not found before, and held now
	NeverAsked = "never_asked" // the store knows of no erasure of it
	StillOpen  = "still_open"  // it was asked for, and is not settled yet
	Unknown    = "unknown"     // the vendor has not said whether it holds it
)

// RecheckRow is one line of what a recheck finds: an identifier at a vendor.
type RecheckRow struct {
	Line           int
	SubjectID      string
	Vendor         string
	IdentifierKind string
	Identifier     string // masked
	Held           string // yes, no, unknown
	Records        Number
	DoneAt         time.Time // when the store says that it was erased, or not found; zero: it does not
	Evidence       string    // and on what that rests
	Verdict        string
}

const recheckHeader = "line,subject_id,vendor,identifier_kind,identifier,held,records,done_at,evidence,verdict"

// Rechecked counts what a recheck found, by verdict.
type Rechecked struct {
	Verdicts map[string]int
	Left     int  // to be looked at yet
	ByTicket bool // people were compared by their subject_ids alone: there are too many to compare by identifiers
}

// Recheck compares what the vendors hold of those whom the store of the recheck was given with what the real store
// says.
type Recheck struct {
	Store  *store.Store // the real one
	Looked *store.Store // where everyone has been looked up
	Region string       // of telephone numbers that do not say theirs

	names map[int64]string          // of the vendors, by their ids in Looked
	ids   map[string]int64          // and their ids in the real store
	marks map[string][]string       // by kind of identifier and its canonical form: whose it is, of the tickets of the real store
	known map[string]*store.History // by ticket
}

// maxTried bounds how many identifiers are tried on how many people, of which a second takes a
// million.
const maxTried = 60_000_000

// CSV writes what the recheck found.
func (r *Recheck) CSV(ctx context.Context, w io.Writer) (*Rechecked, error) {
	found := &Rechecked{Verdicts: map[string]int{}}
	if err := r.prepare(ctx, found); err != nil {
		return nil, err
	}
	out := csv.NewWriter(w)
	if err := out.Write(strings.Split(recheckHeader, ",")); err != nil {
		return nil, err
	}
	err := r.each(ctx, func(row *RecheckRow, looked bool) error {
		found.Verdicts[row.Verdict]++
		if !looked {
			found.Left++
		}
		return out.Write([]string{strconv.Itoa(row.Line), intake.Defuse(row.SubjectID), row.Vendor, row.IdentifierKind, intake.Defuse(row.Identifier),
			row.Held, string(row.Records), timeText(row.DoneAt), row.Evidence, row.Verdict})
	})
	out.Flush()
	return found, errors.Join(err, out.Error())
}

func (r *Recheck) prepare(ctx context.Context, found *Rechecked) error {
	r.names, r.ids, r.marks, r.known = map[int64]string{}, map[string]int64{}, map[string][]string{}, map[string]*store.History{}
	looked, err := r.Looked.Vendors(ctx)
	if err != nil {
		return err
	}
	for name, v := range looked {
		r.names[v.ID] = name
	}
	real, err := r.Store.Vendors(ctx)
	if err != nil {
		return err
	}
	for name, v := range real {
		r.ids[name] = v.ID
	}
	return r.findMarks(ctx, found)
}

// findMarks finds whose the identifiers are that the real store does not know by the ticket.
func (r *Recheck) findMarks(ctx context.Context, found *Rechecked) error {
	people, err := r.Store.Marked(ctx)
	if err != nil || people == 0 {
		return err
	}
	var wanted []store.Identifier
	seen := map[string]bool{}
	last := ""
	err = r.Looked.Rows(ctx, store.Filter{}, func(row *store.Row) error {
		if row.Reject != nil || row.SubjectID == last || found.ByTicket {
			return nil
		}
		last = row.SubjectID
		s, err := vendors.ParseSubject(row.Plain)
		if err != nil {
			return err
		}
		if own, err := r.byTicket(ctx, row.SubjectID, s); err != nil || own != nil {
			return err
		}
		for _, v := range s {
			if !vendors.Identifiers.Has(v.Field) || v.Masked {
				continue
			}
			// It may be any of that person's identifiers of the class.
			class, _ := vendors.Normal(v.Field, v.Text)
			normal := vendors.Canonical(v.Field, v.Text, r.Region)
			for _, f := range vendors.Fields() {
				if c, _ := vendors.Normal(f, v.Text); c == class && !seen[f.String()+"="+normal] {
					seen[f.String()+"="+normal] = true
					wanted = append(wanted, store.Identifier{Field: int(f), Kind: f.String(), Normal: normal})
				}
			}
		}
		found.ByTicket = int64(len(wanted))*people > maxTried
		return nil
	})
	if err != nil || found.ByTicket {
		return err
	}
	return r.Store.FindEach(ctx, wanted, func(subjectID string, which int) error {
		key := wanted[which].Normal
		if !slices.Contains(r.marks[key], subjectID) {
			r.marks[key] = append(r.marks[key], subjectID)
		}
		return nil
	})
}

// byTicket returns what the real store knows of the ticket, if it is of this person; nil: not so.
func (r *Recheck) byTicket(ctx context.Context, ticket string, s vendors.Subject) (*store.History, error) {
	h, err := r.history(ctx, ticket)
	if h == nil || err != nil {
		return nil, err
	}
	for i := range h.Tasks {
		for _, v := range s {
			if same, err := r.same(h, &h.Tasks[i].Task, v); same || err != nil {
				return h, err
			}
		}
	}
	return nil, nil
}

// history reads a ticket once for all of a person's identifiers; nil: it is not known.
func (r *Recheck) history(ctx context.Context, ticket string) (*store.History, error) {
	if h, ok := r.known[ticket]; ok {
		return h, nil
	}
	h, err := r.Store.History(ctx, ticket)
	if errors.Is(err, store.ErrUnknown) || errors.Is(err, store.ErrPurged) {
		h, err = nil, nil
	}
	if err != nil {
		return nil, err
	}
	if len(r.known) >= reportPage {
		clear(r.known)
	}
	r.known[ticket] = h
	return h, nil
}

// same reports whether a task of the real store is about this value of a person.
func (r *Recheck) same(h *store.History, t *store.Task, v vendors.Value) (bool, error) {
	ref := vendors.Ref{Field: vendors.Field(t.Field), Nth: t.Nth}
	class, _ := vendors.Normal(v.Field, v.Text)
	if other, _ := vendors.Normal(ref.Field, v.Text); other != class || ref.Field == 0 || v.Masked {
		return false, nil
	}
	if same, known := r.Store.Has(&h.Subject, store.Identifier{Field: t.Field, Kind: ref.Field.String(), Nth: t.Nth, Normal: vendors.Canonical(v.Field, v.Text, r.Region)}); known {
		return same, nil
	}
	// Without a mark there is only what the reports show.
	s, err := vendors.ParseSubject(h.Plain)
	return strings.EqualFold(s.MaskedAt(ref), vendors.Mask(ref.Field, v.Text)), err
}

// each calls fn for every identifier that was to be looked at, in the order of the file. looked
// says that it was.
func (r *Recheck) each(ctx context.Context, fn func(row *RecheckRow, looked bool) error) error {
	return r.Looked.Rows(ctx, store.Filter{}, func(row *store.Row) error {
		t := row.Task
		if row.Reject != nil || t.State == store.Skipped {
			return nil
		}
		s, err := vendors.ParseSubject(row.Plain)
		if err != nil {
			return err
		}
		ref := vendors.Ref{Field: vendors.Field(t.Field), Nth: t.Nth}
		out := &RecheckRow{Line: row.Line, SubjectID: row.SubjectID, Vendor: r.names[t.Vendor], IdentifierKind: ref.Field.String(), Identifier: s.MaskedAt(ref)}
		out.Held, out.Records = heldNow(t)
		if err := r.compare(ctx, out, row.SubjectID, vendors.Value{Field: ref.Field, Text: s.At(ref)}); err != nil {
			return err
		}
		return fn(out, t.State != store.Pending)
	})
}

// heldNow is what a look said.
func heldNow(t *store.Task) (held string, records Number) {
	switch {
	case t.State == store.NotFound:
		return "no", "0"
	case t.State == store.Previewed && vendors.Reason(t.Reason) == decide.NothingHeld:
		return "no", "0"
	case (t.State == store.Previewed || t.State == store.Held) && t.Records.Known && t.Records.N > 0 && vendors.Reason(t.Reason) != vendors.InconsistentAnswer:
		return "yes", countText(t.Records)
	}
	return "unknown", ""
}

// compare finds what the real store says of the same identifier at the same vendor.
func (r *Recheck) compare(ctx context.Context, out *RecheckRow, ticket string, v vendors.Value) error {
	tickets := append([]string{ticket}, r.marks[vendors.Canonical(v.Field, v.Text, r.Region)]...)
	open, done := false, (*store.Task)(nil)
	for _, ticket := range tickets {
		h, err := r.history(ctx, ticket)
		if err != nil {
			return err
		}
		if h == nil {
			continue
		}
		for i := range h.Tasks {
			t := &h.Tasks[i].Task
			if t.Vendor != r.ids[out.Vendor] || t.State == store.Skipped {
				continue
			}
			if same, err := r.same(h, t, v); err != nil {
				return err
			} else if !same {
				continue
			}
			switch {
			case !t.Settled():
				open = true
			case t.State != store.Failed && (done == nil || t.CompletedAt.After(done.CompletedAt)):
				done = t
			}
		}
	}
	if done != nil {
		out.DoneAt, out.Evidence = done.CompletedAt, done.Evidence.String()
	}
	out.Verdict = recheckVerdict(out.Held, open, done != nil)
	return nil
}

func recheckVerdict(held string, open, done bool) string {
	switch {
	case held == "unknown":
		return Unknown
	case open:
		return StillOpen
	case !done:
		return NeverAsked
	case held == "yes":
		return Back
	}
	return Gone
}

// Keep is the store's Forget for a recheck: what was looked up is compared at the end.
func Keep(plain []byte, _ uint32) ([]byte, error) { return plain, nil }
