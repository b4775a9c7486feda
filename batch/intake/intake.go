package intake

import (
	"fmt"
	"io"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"

	"expunge/vendors"
)

// Options say how a file is to be read. The zero value reads a file with our own headers
// and no vendors.
type Options struct {
	// Columns maps our column names to headers of the file: email: "E-mail Address".
	Columns map[string]string
	// IgnoreColumns are headers of columns that mean nothing here.
	IgnoreColumns []string
	// Nobody names the vendors that would be asked about nobody of a file with columns for these
	// fields; nil: none.
	Nobody func(has vendors.FieldSet) []string
	// Encoding is that of a file without a byte order mark (see LookupEncoding); "": UTF-8.
	Encoding string
	// DateFormat is how dates are written that are not in the form of ISO 8601.
	DateFormat DateFormat
	// Vendors are the configured names, which the vendors column may use.
	Vendors []string
	// DefaultRegion is the country of telephone numbers that do not say theirs. Without it
	// the first such number is warned about: a vendor may hold it in another form.
	DefaultRegion string
	// Anyone reads a file of people who need not have made a request: a row without a number
	// of a request gets one from its line.
	Anyone bool
	// Now is the clock against which received_at is in the future; nil: time.Now.
	Now func() time.Time
	// Log takes warnings; nil: none.
	Log *slog.Logger
}

// Meaning lists what a reading depends on besides the file's bytes.
func (o *Options) Meaning() []string {
	parts := append([]string{"region", o.DefaultRegion, "vendors"}, slices.Sorted(slices.Values(o.Vendors))...)
	parts = append(parts, "encoding", o.Encoding, "dates", o.DateFormat.String(), "ignored")
	parts = append(parts, slices.Sorted(slices.Values(o.IgnoreColumns))...)
	parts = append(parts, "columns")
	for _, column := range slices.Sorted(maps.Keys(o.Columns)) {
		parts = append(parts, column, o.Columns[column])
	}
	return parts
}

// Row is one good row: one person's request.
type Row struct {
	Line       int             // where the row begins in the file, 1-based
	SubjectID  string          // the number of the request; a copy, which holds nothing else in memory
	Subject    vendors.Subject // the non-empty fields, in field order; who keeps a text clones it: it holds the whole row
	ReceivedAt time.Time       // UTC; zero: not given
	Vendors    []string        // sorted names from Options.Vendors; nil: all
	Channel    string          // how the request came in; a copy; "": not given
}

// Reject is one row that is not taken in.
type Reject struct {
	Line      int            // where the row begins in the file, 1-based
	SubjectID string         // "" if it is missing or may not be shown
	Reason    vendors.Reason // one of Reasons
	Column    string         // our name of the column at fault, "" for the row
	Message   string         // a sentence without anything from the row
	Record    []string       // the cells as they came, for the file of rejects only
}

// record is a row as gocsv fills it. All cells are strings: a number would lose its zeros.
type record struct {
	SubjectID      string `csv:"subject_id"`
	Email          string `csv:"email"`
	OtherEmail     string `csv:"other_email"`
	Telephone      string `csv:"telephone"`
	OtherTelephone string `csv:"other_telephone"`
	CustomerKey    string `csv:"customer_key"`
	AccountNumber  string `csv:"account_number"`
	CallID         string `csv:"call_id"`
	AgentID        string `csv:"agent_id"`
	CustomerName   string `csv:"customer_name"`
	Comments       string `csv:"comments"`
	Region         string `csv:"region"`
	CustomerID     string `csv:"customer_id"`
	ReceivedAt     string `csv:"received_at"`
	Vendors        string `csv:"vendors"`
	Channel        string `csv:"channel"`
}

// cells gives access to all cells, in the order of the columns above: that of a vendors.Field
// stands at its number.
func (r *record) cells() [16]*string {
	return [...]*string{&r.SubjectID, &r.Email, &r.OtherEmail, &r.Telephone, &r.OtherTelephone,
		&r.CustomerKey, &r.AccountNumber, &r.CallID, &r.AgentID, &r.CustomerName, &r.Comments,
		&r.Region, &r.CustomerID, &r.ReceivedAt, &r.Vendors, &r.Channel}
}

// people is the table of those who asked to be forgotten.
var people = Table{Columns: Columns(), Synonyms: synonyms, Row: &record{}, Needs: []Need{
	{[]string{colSubjectID}, "there is no subject_id column: it holds the number of each request",
		"the first line must be the header; name the column subject_id, or map it with columns: in the config; requests without numbers have to be given some"},
	{identifierColumns(), "there is no column by which a vendor could know a person: " + strings.Join(identifierColumns(), ", "),
		"name one of them so, or map it with columns: in the config"},
}}

// anyone is the table of people who need not have asked.
var anyone = Table{Columns: people.Columns, Synonyms: people.Synonyms, Row: people.Row, Needs: people.Needs[1:]}

func tableOf(o Options) *Table {
	if o.Anyone {
		return &anyone
	}
	return &people
}

// Reader reads the rows of one file of people. It is not safe for concurrent use.
type Reader struct {
	*File
	now     time.Time // when reading began
	vendors map[string]string
	channel string // of the row before
	warned  bool   // about a telephone number without a country
	date    string // the received_at that was read last, and what it means: many rows share one
	dated   time.Time
}

// Open opens a file of people as OpenFile does.
func Open(path string, stdin io.Reader, o Options) (*Reader, error) {
	return newReader(OpenFile(path, stdin, tableOf(o), o))
}

// New reads from r, which messages call name.
func New(r io.Reader, name string, o Options) (*Reader, error) {
	return newReader(newFile(r, name, tableOf(o), o))
}

func newReader(f *File, err error) (*Reader, error) {
	if err != nil {
		return nil, err
	}
	o := f.o
	in := &Reader{File: f, now: o.Now(), vendors: map[string]string{}}
	for _, v := range o.Vendors {
		in.vendors[strings.ToLower(v)] = v
	}
	for _, v := range o.Vendors {
		in.vendors[v] = v // the exact name goes before another in lower case
	}
	return in, nil
}

// Next returns the next row: either a good one or a rejected one. The error is io.EOF at
// the end of the file, and a *BrokenFileError where it cannot be read on; it stays the same
// from then on.
func (in *Reader) Next() (*Row, *Reject, error) {
	row := &Row{}
	reject, err := in.Read(row)
	if reject != nil || err != nil {
		row = nil
	}
	return row, reject, err
}

// Read is Next for who reads many rows: the row is read into one that is used again, its
// Subject's array too. Where a reject or an error is returned, the row says nothing.
func (in *Reader) Read(row *Row) (*Reject, error) {
	out, reject, err := in.File.Next()
	if reject != nil || err != nil {
		return reject, err
	}
	rec, ok := out.(*record)
	if !ok {
		return nil, fmt.Errorf("gocsv gave a %T", out)
	}
	for _, c := range rec.cells() {
		if *c != "" {
			if in.rejects {
				*c = undefuse(*c)
			}
			*c = strings.TrimSpace(*c)
		}
	}
	row.Line, row.Subject, row.ReceivedAt, row.Vendors = in.line, row.Subject[:0], time.Time{}, nil
	reason, column, problem := in.fill(row, rec)
	if reason == "" {
		return nil, nil
	}
	if column != "" {
		problem = column + " " + problem
	}
	reject = &Reject{Line: in.line, Reason: reason, Column: column, Message: problem, Record: in.Record()}
	if id := rec.SubjectID; id != "" && subjectIDProblem(id, rec) == "" {
		reject.SubjectID = strings.Clone(id)
	}
	return reject, nil
}

// fieldChecks are the checks of the cells that hold one value of a subject.
var fieldChecks = [...]struct {
	problem func(text string) string
	reason  vendors.Reason
}{
	vendors.Email:          {emailProblem, BadEmail},
	vendors.OtherEmail:     {emailProblem, BadEmail},
	vendors.Telephone:      {telephoneProblem, BadTelephone},
	vendors.OtherTelephone: {telephoneProblem, BadTelephone},
	vendors.CustomerKey:    {}, // holds several: see fillKeys
	vendors.AccountNumber:  {accountProblem, BadIdentifier},
	vendors.CallID:         {identifierProblem, BadIdentifier},
	vendors.AgentID:        {identifierProblem, BadIdentifier},
	vendors.CustomerName:   {textProblem, BadText},
	vendors.Comments:       {textProblem, BadText},
	vendors.Region:         {identifierProblem, BadIdentifier},
	vendors.CustomerID:     {identifierProblem, BadIdentifier},
}

// fill makes a Row of what gocsv read. The first problem that is found is returned.
func (in *Reader) fill(row *Row, rec *record) (reason vendors.Reason, column, problem string) {
	if rec.SubjectID == "" && in.o.Anyone {
		rec.SubjectID = fmt.Sprintf("line %d", row.Line)
	}
	if rec.SubjectID == "" {
		return MissingSubjectID, colSubjectID, "is empty"
	}
	if p := subjectIDProblem(rec.SubjectID, rec); p != "" {
		return BadSubjectID, colSubjectID, p
	}
	cells := rec.cells()
	for f := vendors.Email; int(f) < len(fieldChecks); f++ {
		switch text := *cells[f]; {
		case text == "":
		case f == vendors.CustomerKey:
			if reason, problem := row.fillKeys(text); reason != "" {
				return reason, f.String(), problem
			}
		default:
			if p := fieldChecks[f].problem(text); p != "" {
				return fieldChecks[f].reason, f.String(), p
			}
			row.Subject = append(row.Subject, vendors.Value{Field: f, Text: text})
		}
	}
	if len(row.Subject) == 0 || !vendors.Identifiers.Has(row.Subject[0].Field) { // identifiers are the first fields
		return NoIdentifiers, "", "the row has no email, telephone, customer key or account number"
	}
	if rec.ReceivedAt != "" {
		if rec.ReceivedAt != in.date {
			if in.dated, problem = receivedAt(rec.ReceivedAt, in.o.DateFormat, in.now); problem != "" {
				in.date = ""
				return BadDate, colReceivedAt, problem
			}
			in.date = strings.Clone(rec.ReceivedAt)
		}
		row.ReceivedAt = in.dated
	}
	if rec.Vendors != "" {
		var ok bool
		if row.Vendors, ok = vendorNames(rec.Vendors, in.vendors); !ok {
			return UnknownVendor, colVendors, "must name configured vendors, with ; between them: " + strings.Join(in.o.Vendors, ", ")
		}
	}
	if rec.Channel != in.channel { // most rows have that of the row before
		if p := ChannelProblem(rec.Channel); p != "" {
			return BadChannel, colChannel, p
		}
		in.channel = strings.Clone(rec.Channel)
	}
	row.Channel = in.channel
	in.warnNational(row.Line, rec)
	row.SubjectID = strings.Clone(rec.SubjectID) // alone: it outlives the personal data
	return "", "", ""
}

// fillKeys keeps the customer keys of one cell. A key that is named twice counts once.
func (row *Row) fillKeys(cell string) (vendors.Reason, string) {
	if p := keysProblem(cell); p != "" {
		return BadIdentifier, p
	}
	first := len(row.Subject)
	for more := true; more; {
		var key string
		key, cell, more = strings.Cut(cell, ";")
		if key = strings.TrimSpace(key); key == "" {
			continue
		}
		if p := identifierProblem(key); p != "" {
			return BadIdentifier, p
		}
		value := vendors.Value{Field: vendors.CustomerKey, Text: key}
		if slices.Contains(row.Subject[first:], value) {
			continue
		}
		if len(row.Subject)-first == maxKeys {
			return TooManyIdentifiers, "has more than 100 keys"
		}
		row.Subject = append(row.Subject, value)
	}
	return "", ""
}

func (in *Reader) warnNational(line int, rec *record) {
	if in.warned || in.o.DefaultRegion != "" {
		return
	}
	for _, t := range [...]string{rec.Telephone, rec.OtherTelephone} {
		if t != "" && !international(t) {
			in.warned = true
			in.o.Log.Warn("a telephone number does not say its country and no default region is configured: it is looked up only as it is written",
				"file", in.name, "first_line", line)
			return
		}
	}
}
