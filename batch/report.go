package batch

import (
	"cmp"
	"context"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gocarina/gocsv"

	"expunge/batch/intake"
	"expunge/store"
	"expunge/vendors"
)

// ReportRow is one line of the report. The tags are the report's columns, which users
// parse.
type ReportRow struct {
	Batch          int64  `csv:"batch" json:"batch"`
	Line           int    `csv:"line" json:"line"`
	SubjectID      string `csv:"subject_id" json:"subject_id"`
	Vendor         string `csv:"vendor" json:"vendor"`
	IdentifierKind string `csv:"identifier_kind" json:"identifier_kind"`
	Identifier     string `csv:"identifier" json:"identifier"` // masked
	State          string `csv:"state" json:"state" words:"state,row"`
	Evidence       string `csv:"evidence" json:"evidence" words:"evidence"`
	Reason         string `csv:"reason" json:"reason" words:"none,reason"`
	Message        string `csv:"message" json:"message"`
	Records        Number `csv:"records" json:"records"`
	RecordsAfter   Number `csv:"records_after" json:"records_after"`
	RecordRefs     string `csv:"record_refs" json:"record_refs"`
	Reference      string `csv:"reference" json:"reference"`
	Attempts       Number `csv:"attempts" json:"attempts"`
	ReceivedAt     string `csv:"received_at" json:"received_at"`
	DueAt          string `csv:"due_at" json:"due_at"`
	DueStatus      string `csv:"due_status" json:"due_status" words:"none,due"`
	SubmittedAt    string `csv:"submitted_at" json:"submitted_at"`
	CompletedAt    string `csv:"completed_at" json:"completed_at"`
	VerifiedAt     string `csv:"verified_at" json:"verified_at"`
	ClosedAt       string `csv:"closed_at" json:"closed_at"`
	AnsweredAt     string `csv:"answered_at" json:"answered_at"`
	Act            string `csv:"act" json:"act" words:"none,act"`      // what the vendor does
	Channel        string `csv:"channel" json:"channel"`               // how the request came in
	AnswerChannel  string `csv:"answer_channel" json:"answer_channel"` // how the person was told
	OriginalDueAt  string `csv:"-" json:"original_due_at"`             // "": due_at is the first one; in the CSV the message says it
	From           string `csv:"-" json:"store,omitempty"`             // of a report over several stores: which one
}

// reportHeader is the report's first line. It is written even where no row follows.
const reportHeader = "batch,line,subject_id,vendor,identifier_kind,identifier,state,evidence,reason,message,records," +
	"records_after,record_refs,reference,attempts,received_at,due_at,due_status,submitted_at,completed_at,verified_at," +
	"closed_at,answered_at,act,channel,answer_channel\n"

// Number is a number in digits, or "" where there is none, which in JSON is null.
type Number string

// MarshalJSON writes a number as one.
func (n Number) MarshalJSON() ([]byte, error) {
	if n == "" {
		return []byte("null"), nil
	}
	return []byte(n), nil
}

// Reporter writes reports from the store. It calls no vendor.
type Reporter struct {
	Store    *store.Store
	Now      func() time.Time
	AtRisk   time.Duration // an open task is at risk this long before it is due
	Accounts []*Account    // for how long the work before a task takes, and its erasure
	Filter   store.Filter
	Vendor   string   // only rows of this vendor; "": all
	States   []string // only rows in one of these states, invalid and duplicate among them; empty: all
	Comma    rune     // of the CSV; 0: a comma
	BOM      bool     // the CSV begins with a byte order mark, by which spreadsheets know UTF-8

	// Of a report over several stores: what this one is called, and the others, whose rows come after
	// those of this one.
	Name string
	More []*Reporter

	// TrackAnswers: a request is met when the person has been told, whatever the vendors did.
	TrackAnswers bool

	vendors map[int64]string
	acts    map[int64]string
	outlook *Outlook
	now     time.Time

	// The subject of the row that was filled last.
	subjectRow int64
	subject    vendors.Subject
}

func (r *Reporter) prepare(ctx context.Context) error {
	known, err := r.Store.Vendors(ctx)
	if err != nil {
		return err
	}
	r.vendors, r.subjectRow = map[int64]string{}, 0
	for name, v := range known {
		r.vendors[v.ID] = name
	}
	paces := map[int64]Pace{}
	r.acts = map[int64]string{}
	for _, a := range r.Accounts {
		id := known[a.Name].ID
		paces[id], r.acts[id] = a.pace(), string(a.Act)
	}
	r.now = r.Now()
	var counts []store.Standing
	if len(paces) > 0 {
		if counts, err = r.Store.Standing(ctx, r.now, time.Time{}); err != nil {
			return err
		}
	}
	r.outlook = newOutlook(counts, paces, r.AtRisk)
	r.outlook.pauses(known, r.now)
	return nil
}

// Each calls fn for every row in report order, store by store. The row is valid during the call.
func (r *Reporter) Each(ctx context.Context, fn func(*ReportRow) error) error {
	err := r.each(ctx, fn)
	for _, other := range r.More {
		if err == nil {
			err = other.each(ctx, fn)
		}
	}
	return err
}

func (r *Reporter) each(ctx context.Context, fn func(*ReportRow) error) error {
	if err := r.prepare(ctx); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	pages, failed := r.readAhead(ctx)
	var out ReportRow
	for page := range pages {
		for i := range page {
			row := &page[i]
			out = ReportRow{From: r.Name, Batch: row.Batch, Line: row.Line, SubjectID: row.SubjectID}
			var err error
			if row.Reject == nil {
				err = r.fill(&out, row)
			} else {
				out.State, out.Reason, out.Message = "invalid", row.Reject.Reason, row.Reject.Message
				if row.Reject.Duplicate {
					out.State = "duplicate"
				}
			}
			if err == nil && r.wanted(&out) {
				err = fn(&out)
			}
			if err != nil {
				cancel()
				<-failed
				return err
			}
		}
	}
	return <-failed
}

// wanted reports whether a row is among those that are asked for.
func (r *Reporter) wanted(row *ReportRow) bool {
	return (r.Vendor == "" || row.Vendor == r.Vendor) && (len(r.States) == 0 || slices.Contains(r.States, row.State))
}

// readAhead reads and opens the store's rows in a goroutine of its own, so that writing
// the report costs no time of theirs. The pages end when failed has the error, or nil.
func (r *Reporter) readAhead(ctx context.Context) (pages <-chan []store.Row, failed <-chan error) {
	out, end := make(chan []store.Row, 2), make(chan error, 1)
	go func() {
		defer close(out)
		page := make([]store.Row, 0, reportPage)
		send := func() error {
			select {
			case out <- page:
				page = make([]store.Row, 0, reportPage)
				return nil
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
		err := r.Store.Rows(ctx, r.Filter, func(row *store.Row) error {
			if page = append(page, *row); len(page) < cap(page) {
				return nil
			}
			return send()
		})
		if err == nil && len(page) > 0 {
			err = send()
		}
		end <- err
	}()
	return out, end
}

func (r *Reporter) fill(out *ReportRow, row *store.Row) (err error) {
	t := row.Task
	s := r.subject
	if id := t.SubjectRow(); id != r.subjectRow { // the tasks of a subject follow one another
		if s, err = vendors.ParseSubject(row.Plain); err != nil {
			return err
		}
		r.subject, r.subjectRow = s, id
	}
	f := vendors.Field(t.Field)
	out.Vendor, out.IdentifierKind = r.vendors[t.Vendor], f.String()
	out.Identifier = s.MaskedAt(vendors.Ref{Field: f, Nth: t.Nth})
	out.State, out.Evidence = t.State.String(), t.Evidence.String()
	out.Reason, out.Message = t.Reason, withExport(t.Message, row.Export)
	out.Records, out.RecordsAfter, out.RecordRefs = countText(t.Records), countText(t.RecordsAfter), t.RecordRefs
	out.Reference = t.Reference
	out.Attempts = Number(strconv.Itoa(t.Attempts))
	settled, due := judged(t, row.DueAt, row.Unserved)
	if r.TrackAnswers {
		settled, due = row.AnsweredAt, row.DueAt
	}
	out.ReceivedAt, out.DueAt = timeText(row.ReceivedAt), timeText(due)
	out.DueStatus = DueStatus(settled, due, r.now, r.outlook.risk(t.Vendor, due))
	if !row.Original.IsZero() && due.After(row.Original) {
		out.OriginalDueAt = timeText(row.Original)
	}
	out.SubmittedAt, out.CompletedAt, out.VerifiedAt = timeText(t.SubmittedAt), timeText(t.CompletedAt), timeText(t.VerifiedAt)
	out.ClosedAt, out.AnsweredAt = timeText(t.ClosedAt), timeText(row.AnsweredAt)
	out.Act, out.Channel, out.AnswerChannel = r.acts[t.Vendor], row.Channel, row.AnswerChannel
	return nil
}

// joined is a message with one more part.
func joined(message, part string) string {
	if message == "" {
		return part
	}
	return message + "; " + part
}

func countText(c store.Count) Number {
	if !c.Known {
		return ""
	}
	return Number(strconv.Itoa(c.N))
}

func timeText(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}

// exportText is what the report's message says of an export.
func exportText(e *store.Export) string {
	if e == nil {
		return ""
	}
	text := "export: "
	switch e.State {
	case store.ExportCreating:
		text += "not accepted yet"
	case store.ExportWaiting:
		text += "waiting, job " + e.Reference
	case store.ExportReady:
		text += "done since " + timeText(e.DoneAt) + " and to be fetched, job " + e.Reference
	case store.ExportStored:
		text += fmt.Sprintf("%s sha256 %s %d bytes %d files", e.File, e.SHA256, e.Bytes, e.Files)
	case store.ExportEmpty:
		text += "empty (nothing was held)"
	case store.ExportFailed:
		text += "failed (" + e.Reason + ")"
	}
	if e.Message != "" {
		text += "; " + e.Message
	}
	return text
}

// withExport is a task's message with that of its export.
func withExport(message string, e *store.Export) string {
	export := exportText(e)
	if message == "" || export == "" {
		return message + export
	}
	return message + "; " + export
}

// reportPage is how many rows are read ahead, and given to gocsv, at a time: all at once
// would hold the whole report in memory.
const reportPage = 1000

// namedRow is a row of a report over several stores.
type namedRow struct {
	ReportRow
	Store string `csv:"store"`
}

// CSV writes the report as CSV, cells that a spreadsheet would run defused.
func (r *Reporter) CSV(ctx context.Context, w io.Writer) error {
	if r.BOM {
		if _, err := io.WriteString(w, "\ufeff"); err != nil {
			return err
		}
	}
	cells := csv.NewWriter(w)
	cells.Comma = cmp.Or(r.Comma, ',')
	header := strings.Split(strings.TrimSpace(reportHeader), ",")
	if r.Name != "" {
		header = append(header, "store")
	}
	if err := cells.Write(header); err != nil {
		return err
	}
	out := gocsv.NewSafeCSVWriter(cells)
	page := make([]ReportRow, 0, reportPage)
	flush := func() error {
		if len(page) == 0 {
			return nil
		}
		var rows any = page
		if r.Name != "" {
			named := make([]namedRow, len(page))
			for i := range page {
				named[i] = namedRow{page[i], page[i].From}
			}
			rows = named
		}
		err := gocsv.MarshalCSVWithoutHeaders(rows, out)
		page = page[:0]
		return err
	}
	err := r.Each(ctx, func(row *ReportRow) error {
		if row.OriginalDueAt != "" {
			row.Message = joined(row.Message, "extended, was due "+row.OriginalDueAt)
		}
		row.defuse()
		if page = append(page, *row); len(page) == cap(page) {
			return flush()
		}
		return nil
	})
	if err != nil {
		return err
	}
	if err := flush(); err != nil {
		return err
	}
	out.Flush()
	return out.Error()
}

// defuse changes the cells that hold text from elsewhere.
func (row *ReportRow) defuse() {
	for _, c := range []*string{&row.SubjectID, &row.Identifier, &row.Message, &row.RecordRefs, &row.Reference, &row.Channel, &row.AnswerChannel} {
		*c = intake.Defuse(*c)
	}
}

// JSON writes the report as a JSON array, one object a line.
func (r *Reporter) JSON(ctx context.Context, w io.Writer) error {
	return JSONArray(w, func(put func(any) error) error {
		return r.Each(ctx, func(row *ReportRow) error { return put(row) })
	})
}

// JSONArray writes a JSON array, one element a line, as each puts them.
func JSONArray(w io.Writer, each func(put func(any) error) error) error {
	sep := "[\n"
	err := each(func(v any) error {
		b, err := json.Marshal(v)
		if err == nil {
			_, err = io.WriteString(w, sep+string(b))
		}
		sep = ",\n"
		return err
	})
	if err != nil {
		return err
	}
	end := "\n]\n"
	if sep == "[\n" {
		end = "[]\n"
	}
	_, err = io.WriteString(w, end)
	return err
}
