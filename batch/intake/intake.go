package intake

import (
	"bufio"
	"bytes"
	"cmp"
	"compress/gzip"
	"crypto/sha256"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/gocarina/gocsv"

	"expunge/vendors"
)

// Options say how a file is to be read. The zero value reads a file with our own headers
// and no vendors.
type Options struct {
	// Columns maps our column names to headers of the file: email: "E-mail Address".
	Columns map[string]string
	// Vendors are the configured names, which the vendors column may use.
	Vendors []string
	// DefaultRegion is the country of telephone numbers that do not say theirs. Without it
	// the first such number is warned about: a vendor may hold it in another form.
	DefaultRegion string
	// Now is the clock against which received_at is in the future; nil: time.Now.
	Now func() time.Time
	// Log takes warnings; nil: none.
	Log *slog.Logger
}

// Row is one good row: one person's request.
type Row struct {
	Line       int             // where the row begins in the file, 1-based
	SubjectID  string          // the number of the request; a copy, which holds nothing else in memory
	Subject    vendors.Subject // the non-empty fields, in field order; who keeps a text clones it: it holds the whole row
	ReceivedAt time.Time       // UTC; zero: not given
	Vendors    []string        // sorted names from Options.Vendors; nil: all
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

// BrokenFileError ends a file that cannot be read on: what came before it may be as wrong
// as what comes after, so nothing of the file should be taken in.
type BrokenFileError struct {
	File string
	Line int   // where the row begins that could not be read, 1-based
	Err  error // what happened; holds nothing of the row
}

func (e *BrokenFileError) Error() string {
	return fmt.Sprintf("%s:%d: the row that begins here cannot be read: %v", e.File, e.Line, e.Err)
}

func (e *BrokenFileError) Unwrap() error { return e.Err }

var newline = []byte("\n")

var errQuoteOpen = errors.New("a quote is not closed")

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
	ReceivedAt     string `csv:"received_at"`
	Vendors        string `csv:"vendors"`
}

// ignoredColumn is what gocsv sees instead of a header that is not ours. No field has it.
const ignoredColumn = "(ignored)"

// cells gives access to all cells, in the order of the columns above: that of a vendors.Field
// stands at its number.
func (r *record) cells() [14]*string {
	return [...]*string{&r.SubjectID, &r.Email, &r.OtherEmail, &r.Telephone, &r.OtherTelephone,
		&r.CustomerKey, &r.AccountNumber, &r.CallID, &r.AgentID, &r.CustomerName, &r.Comments,
		&r.Region, &r.ReceivedAt, &r.Vendors}
}

// Reader reads the rows of one file. It is not safe for concurrent use.
type Reader struct {
	file    string
	o       Options
	now     time.Time // when reading began
	closer  []io.Closer
	hash    *hashing
	window  *window
	csv     *csv.Reader
	gocsv   *gocsv.Unmarshaller
	header  []string
	comma   rune
	rejects bool // the file was written by a RejectWriter
	skipped int  // lines before those that the CSV reader counts
	lines   int  // lines of all rows before the one that is being read
	vendors map[string]string
	rows    int
	last    []byte // the row that Next returned last, as it came
	end     error  // what Next returned last, once it returned an error
	digest  [32]byte
	warned  bool   // about a telephone number without a country
	date    string // the received_at that was read last, and what it means: many rows share one
	dated   time.Time
}

// Open reads the file at path, or standard input for "-". Problems with the header are a
// *HeaderError, a file that breaks off before its header ends is a *BrokenFileError.
func Open(path string, stdin io.Reader, o Options) (*Reader, error) {
	if path == "-" {
		return New(stdin, "standard input", o)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	if info, err := f.Stat(); err == nil && info.IsDir() {
		f.Close()
		return nil, fmt.Errorf("%s is a directory, not a CSV file", path)
	}
	r, err := New(f, path, o)
	if err != nil {
		f.Close()
		return nil, err
	}
	r.closer = append(r.closer, f)
	return r, nil
}

// New reads from r, which messages call name. Compressed input (gzip) is recognised by its
// first bytes.
func New(r io.Reader, name string, o Options) (*Reader, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	in := &Reader{file: name, o: o, now: o.Now(), hash: &hashing{r: r, h: sha256.New()}, vendors: map[string]string{}}
	for _, v := range o.Vendors {
		in.vendors[strings.ToLower(v)] = v
	}
	for _, v := range o.Vendors {
		in.vendors[v] = v // the exact name goes before another in lower case
	}
	text, err := in.unpack()
	if err != nil {
		return nil, err
	}
	if err := in.start(text); err != nil {
		in.Close()
		return nil, err
	}
	return in, nil
}

const bufferSize = 64 << 10 // also the longest header

// unpack returns the file's text, gunzipped where it is compressed.
func (in *Reader) unpack() (*bufio.Reader, error) {
	plain := bufio.NewReaderSize(in.hash, bufferSize)
	if magic, _ := plain.Peek(2); !bytes.HasPrefix(magic, []byte("\x1f\x8b")) {
		return plain, nil
	}
	zr, err := gzip.NewReader(plain)
	if err != nil {
		return nil, &BrokenFileError{File: in.file, Line: 1, Err: fmt.Errorf("gzip: %w", noEOF(err))}
	}
	in.closer = append(in.closer, zr)
	return bufio.NewReaderSize(zr, bufferSize), nil
}

// start finds the delimiter, reads the header and sets gocsv up behind it.
func (in *Reader) start(text *bufio.Reader) error {
	if bom, _ := text.Peek(3); bytes.HasPrefix(bom, []byte("\xef\xbb\xbf")) {
		text.Discard(3)
	}
	peeked, peekErr := text.Peek(bufferSize)
	if err := foreign(in.file, peeked); err != nil {
		return err
	}
	if n := separatorLine(peeked); n > 0 {
		text.Discard(n)
		in.skipped = 1
		peeked, peekErr = text.Peek(bufferSize)
	}
	whole := peekErr != nil
	comma, h, ok := sniff(peeked, whole, in.o.Columns)
	if !ok {
		return unreadable(in.file, peeked, whole, peekErr)
	}
	h.line += in.skipped
	if i := slices.IndexFunc(h.names, func(s string) bool { return !utf8.ValidString(s) }); i >= 0 {
		return &HeaderError{File: in.file, Line: h.line, Column: i + 1, Problem: "the header is not UTF-8", Hint: "save the file as CSV UTF-8"}
	}
	if in.rejects = isRejects(h.names); in.rejects {
		for i, name := range h.names {
			h.names[i] = fuse(name)
		}
	}
	if err := h.resolve(in.file, in.o.Columns); err != nil {
		return err
	}
	if in.rejects { // our own two columns are nobody's mistake
		h.unknown = slices.DeleteFunc(h.unknown, func(i int) bool { return i >= len(h.names)-2 })
	}
	if w := h.warning(); w != "" {
		in.o.Log.Warn("columns of the input are not known", "file", in.file, "columns", w)
	}
	in.header, in.comma = h.names, comma

	in.window = &window{r: text}
	in.csv = csv.NewReader(bufio.NewReaderSize(in.window, bufferSize))
	in.csv.Comma = comma
	in.csv.ReuseRecord = true // a row is copied before the next one is read
	var err error
	if in.gocsv, err = gocsv.NewUnmarshaller(in.csv, &record{}); err != nil {
		return in.broken(err)
	}
	in.lines = bytes.Count(in.window.take(in.csv.InputOffset()), newline)
	// gocsv matches headers letter by letter and lets the last of two win, so it gets our
	// own names, which resolve has made sure are there once.
	return in.gocsv.RenormalizeHeaders(func([]string) []string {
		names := slices.Clone(h.columns)
		for i := range names {
			names[i] = cmp.Or(names[i], ignoredColumn)
		}
		return names
	})
}

// separatorLine returns the length of a first line like sep=; by which a spreadsheet is
// told the delimiter, or 0.
func separatorLine(peeked []byte) int {
	line, _, ok := bytes.Cut(peeked, []byte("\n"))
	if !ok {
		return 0
	}
	text := strings.ToLower(strings.Trim(strings.TrimSuffix(string(line[:min(len(line), 16)]), "\r"), `"`))
	switch text {
	case "sep=,", "sep=;", "sep=\t":
		return len(line) + 1
	}
	return 0
}

// Header returns the headers, as they stand in the file.
func (in *Reader) Header() []string { return slices.Clone(in.header) }

// Comma returns the delimiter that was found.
func (in *Reader) Comma() rune { return in.comma }

// Rows returns how many data rows have been read so far, good and rejected.
func (in *Reader) Rows() int { return in.rows }

// Digest returns the SHA-256 of the bytes of the file, as they came (compressed ones
// too). It is known once Next has returned io.EOF, and zero before.
func (in *Reader) Digest() [32]byte { return in.digest }

// Record returns the cells of the row that Next returned last, as they came: for a row that
// is good in itself and that the caller rejects.
func (in *Reader) Record() []string { return in.cells(in.last) }

// Close closes what Open opened. It does not close standard input.
func (in *Reader) Close() error {
	var errs []error
	for _, c := range in.closer {
		errs = append(errs, c.Close())
	}
	in.closer = nil
	return errors.Join(errs...)
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
	if in.end != nil {
		return nil, in.end
	}
	reject, err := in.read(row)
	if err != nil {
		if in.end = err; err == io.EOF {
			in.hash.h.Sum(in.digest[:0])
		}
		return nil, err
	}
	in.rows++
	return reject, nil
}

func (in *Reader) read(row *Row) (*Reject, error) {
	out, err := in.gocsv.Read()
	// The CSV reader skips empty lines, so those before a row are in raw.
	raw := in.window.take(in.csv.InputOffset())
	in.last = raw
	if err != nil {
		reject, err := in.unread(raw, err)
		in.lines += bytes.Count(raw, newline)
		return reject, err
	}
	in.lines += bytes.Count(raw, newline)
	pos, _ := in.csv.FieldPos(0)
	line := pos + in.skipped
	rec, ok := out.(*record)
	if !ok {
		return nil, in.broken(fmt.Errorf("gocsv gave a %T", out))
	}
	reason, column, problem := NotUTF8, "", "the row is not UTF-8: save the file as CSV UTF-8"
	if utf8.Valid(raw) {
		for _, c := range rec.cells() {
			if *c != "" {
				if in.rejects {
					*c = fuse(*c)
				}
				*c = strings.TrimSpace(*c)
			}
		}
		row.Line, row.Subject, row.ReceivedAt, row.Vendors = line, row.Subject[:0], time.Time{}, nil
		if reason, column, problem = in.fill(row, rec); reason == "" {
			return nil, nil
		}
	}
	if column != "" {
		problem = column + " " + problem
	}
	reject := &Reject{Line: line, Reason: reason, Column: column, Message: problem, Record: in.cells(raw)}
	if id := rec.SubjectID; reason != NotUTF8 && id != "" && subjectIDProblem(id, rec) == "" {
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
	vendors.AccountNumber:  {identifierProblem, BadIdentifier},
	vendors.CallID:         {identifierProblem, BadIdentifier},
	vendors.AgentID:        {identifierProblem, BadIdentifier},
	vendors.CustomerName:   {textProblem, BadText},
	vendors.Comments:       {textProblem, BadText},
	vendors.Region:         {identifierProblem, BadIdentifier},
}

// fill makes a Row of what gocsv read. The first problem that is found is returned.
func (in *Reader) fill(row *Row, rec *record) (reason vendors.Reason, column, problem string) {
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
			if in.dated, problem = receivedAt(rec.ReceivedAt, in.now); problem != "" {
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
	in.warnNational(row.Line, rec)
	row.SubjectID = strings.Clone(rec.SubjectID) // alone: it outlives the personal data
	return "", "", ""
}

// fillKeys keeps the customer keys of one cell. A key that is named twice counts once.
func (row *Row) fillKeys(cell string) (vendors.Reason, string) {
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
				"file", in.file, "first_line", line)
			return
		}
	}
}

// unread says what follows from a row that the CSV reader refused: a Reject where the
// next line surely begins a new row, the end of the file otherwise.
func (in *Reader) unread(raw []byte, err error) (*Reject, error) {
	if err == io.EOF {
		return nil, io.EOF
	}
	var pe *csv.ParseError
	if failed := in.window.failed(); failed != nil && in.window.empty() {
		return nil, in.brokenAt(raw, failed) // the row is cut off, whatever else is wrong with it
	}
	if !errors.As(err, &pe) {
		return nil, in.brokenAt(raw, err)
	}
	reject := &Reject{Line: pe.StartLine + in.skipped}
	switch {
	case errors.Is(pe.Err, csv.ErrFieldCount):
		cells := in.split(raw)
		reject.Reason, reject.Record = RaggedRow, in.asTheyCame(cells)
		reject.Message = fmt.Sprintf("the row has %d cells, the header %d", len(cells), len(in.header))
		if !utf8.Valid(raw) {
			reject.Reason, reject.Message = NotUTF8, "the row is not UTF-8: save the file as CSV UTF-8"
		}
		return reject, nil
	case (errors.Is(pe.Err, csv.ErrQuote) || errors.Is(pe.Err, csv.ErrBareQuote)) && !opensQuote(raw, pe, in.comma):
		reject.Reason, reject.Message = BadQuotes, `a quote stands inside a cell: put the cell in quotes and double the quotes in it`
		if last := pe.Line + in.skipped; last != reject.Line {
			reject.Message = fmt.Sprintf("a quote that opens here is not closed well before line %d: none of these lines was read", last)
		}
		reject.Record = []string{string(bytes.Trim(raw, "\r\n"))} // its cells are anybody's guess
		return reject, nil
	case errors.Is(pe.Err, csv.ErrQuote), errors.Is(pe.Err, csv.ErrBareQuote):
		return nil, &BrokenFileError{File: in.file, Line: reject.Line, Err: errQuoteOpen}
	}
	return nil, &BrokenFileError{File: in.file, Line: reject.Line, Err: pe.Err}
}

// opensQuote reports whether raw, in which the CSV reader met a misplaced quote, ends inside
// a quoted cell. The reader goes on with the next line, which then is the middle of that cell:
// a comment would be read as a row.
func opensQuote(raw []byte, pe *csv.ParseError, comma rune) bool {
	body := bytes.TrimSuffix(raw, []byte("\n"))
	rest := raw[bytes.LastIndexByte(body, '\n')+1:] // the line with the quote is the last that was read
	for {
		if pe.Column > len(rest) || rest[pe.Column-1] != '"' {
			return true // it was the end of the file that was met
		}
		rest = rest[pe.Column:]
		i := bytes.IndexRune(rest, comma)
		if i < 0 {
			return false
		}
		rest = rest[i+1:]
		cr := csv.NewReader(bytes.NewReader(rest))
		cr.Comma, cr.FieldsPerRecord = comma, -1
		if _, err := cr.Read(); !errors.As(err, &pe) {
			return false
		}
	}
}

// split splits a row that has been read before.
func (in *Reader) split(raw []byte) []string {
	cr := csv.NewReader(bytes.NewReader(raw))
	cr.Comma, cr.FieldsPerRecord = in.comma, -1
	cells, err := cr.Read()
	if err != nil { // not possible: the same reader has read it before
		return []string{string(bytes.Trim(raw, "\r\n"))}
	}
	return cells
}

// cells are those of a row, as they came.
func (in *Reader) cells(raw []byte) []string { return in.asTheyCame(in.split(raw)) }

// asTheyCame undoes what a RejectWriter did to a row's cells.
func (in *Reader) asTheyCame(cells []string) []string {
	if !in.rejects {
		return cells
	}
	if n := len(cells); n > 2 && isDigits(cells[n-2]) && Reasons[vendors.Reason(cells[n-1])] != "" {
		cells = cells[:n-2]
	}
	for i := range cells {
		cells[i] = fuse(cells[i])
	}
	return cells
}

// brokenAt is the end of a file that fails within the row that begins raw.
func (in *Reader) brokenAt(raw []byte, err error) error {
	empty := raw[:len(raw)-len(bytes.TrimLeft(raw, "\r\n"))]
	return &BrokenFileError{File: in.file, Line: 1 + in.skipped + in.lines + bytes.Count(empty, newline), Err: noEOF(err)}
}

func (in *Reader) broken(err error) error {
	return &BrokenFileError{File: in.file, Line: 1 + in.skipped, Err: noEOF(err)}
}

// noEOF keeps a file that breaks off from looking like one that ends.
func noEOF(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
