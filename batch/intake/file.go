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
	"io/fs"
	"iter"
	"log/slog"
	"os"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/gocarina/gocsv"

	"expunge/store/atomicfile"
	"expunge/vendors"
)

// Table is a kind of CSV file: the columns that it has, and the struct that gocsv makes of a
// row, whose fields are all strings and have the columns' names as tags.
type Table struct {
	Columns  []string
	Synonyms map[string][]string // other names of the columns, in the form of NormalHeader
	Needs    []Need              // what must be there
	NoOthers bool                // an unknown column that the options do not ignore is an error
	Row      any                 // a pointer to the struct
}

// Need is a set of columns of which a file must have one.
type Need struct {
	Columns []string
	Problem string // what is to be said where there is none
	Hint    string
}

// File is a CSV file that is being read, whoever wrote it: packed or not, in any encoding,
// with any delimiter. Every CSV that a command takes goes through here. A File is not safe
// for concurrent use.
type File struct {
	name     string
	o        Options
	table    *Table
	closer   []io.Closer
	source   *os.File // nil for standard input
	opened   fs.FileInfo
	packed   bool
	hash     *hashing
	window   *window
	csv      *csv.Reader
	gocsv    *gocsv.Unmarshaller
	names    []string // the headers, as they stand in the file
	columns  []string // for each header our column, or ""
	comma    rune
	encoding string
	looks    string // the encoding that its beginning looks like, where it is not UTF-8
	rejects  bool   // the file was written by a RejectWriter
	skipped  int    // lines before those that the CSV reader counts
	lines    int    // lines of all rows before the one that is being read
	rows     int
	empty    int    // rows without any cell filled
	last     []byte // the row that was read last, as it came
	line     int    // where it begins
	digest   [32]byte
	end      error // what Next returned last, once it returned one
}

// BrokenFileError ends a file that cannot be read on: what came before it may be as wrong
// as what comes after, so nothing of the file should be taken in.
type BrokenFileError struct {
	File string
	Line int    // where the row begins that could not be read, 1-based
	Hint string // what to do, a line for each thing; may be ""
	Err  error  // what happened; holds nothing of the row
}

func (e *BrokenFileError) Error() string {
	if errors.Is(e.Err, errChanged) || errors.Is(e.Err, errCutOff) {
		return fmt.Sprintf("%s:%d: %v", e.File, e.Line, e.Err)
	}
	return fmt.Sprintf("%s:%d: the row that begins here cannot be read: %v", e.File, e.Line, e.Err)
}

func (e *BrokenFileError) Unwrap() error { return e.Err }

var (
	newline      = []byte("\n")
	errQuoteOpen = errors.New("a quote is not closed")
	errChanged   = errors.New("the file changed while it was read")
	errCutOff    = errors.New("the last row has no line end, and the file is less than a minute old: it may be cut off")
)

// young is the age below which a file without a line end at its end may still be being written.
const young = time.Minute

// ignoredColumn is what gocsv sees instead of a header that is not ours. No field has it.
const ignoredColumn = "(ignored)"

const bufferSize = 64 << 10 // also the longest header

// OpenFile opens the file at path, or standard input for "-", up to its first row. Problems
// with the header are a *HeaderError, a file that breaks off before its header ends is a
// *BrokenFileError.
func OpenFile(path string, stdin io.Reader, t *Table, o Options) (*File, error) {
	if path == "-" {
		return newFile(stdin, "standard input", t, o)
	}
	src, info, err := atomicfile.OpenRegular(path)
	if err != nil {
		return nil, err
	}
	f, err := newFile(src, path, t, o)
	if err != nil {
		src.Close()
		return nil, err
	}
	f.closer = append(f.closer, src)
	f.source, f.opened = src, info
	return f, nil
}

func newFile(r io.Reader, name string, t *Table, o Options) (*File, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	f := &File{name: name, o: o, table: t, hash: &hashing{r: r, h: sha256.New()}}
	text, err := f.unpack()
	if err == nil {
		text, err = f.decode(text)
	}
	if err == nil {
		err = f.start(text)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// unpack returns the file's bytes, gunzipped where it is compressed.
func (f *File) unpack() (*bufio.Reader, error) {
	plain := bufio.NewReaderSize(f.hash, bufferSize)
	if magic, _ := plain.Peek(2); !bytes.HasPrefix(magic, []byte("\x1f\x8b")) {
		return plain, nil
	}
	zr, err := gzip.NewReader(plain)
	if err != nil {
		return nil, &BrokenFileError{File: f.name, Line: 1, Err: fmt.Errorf("gzip: %w", noEOF(err))}
	}
	f.packed = true
	f.closer = append(f.closer, zr)
	return bufio.NewReaderSize(zr, bufferSize), nil
}

// start finds the delimiter, reads the header and sets gocsv up behind it.
func (f *File) start(text *bufio.Reader) error {
	peeked, peekErr := text.Peek(bufferSize)
	if err := foreign(f.name, peeked); err != nil {
		return err
	}
	if n := separatorLine(peeked); n > 0 {
		text.Discard(n)
		f.skipped = 1
		peeked, peekErr = text.Peek(bufferSize)
	}
	if !utf8.Valid(peeked) {
		f.looks = looksLike(peeked)
	}
	whole := peekErr != nil
	comma, h, ok := sniff(peeked, whole, f.table, f.o.Columns)
	if !ok {
		return unreadable(f.name, peeked, whole, peekErr)
	}
	h.file, h.line = f.name, h.line+f.skipped
	if i := slices.IndexFunc(h.names, func(s string) bool { return !utf8.ValidString(s) }); i >= 0 {
		return &HeaderError{File: f.name, Line: h.line, Column: i + 1, Problem: "the header is not UTF-8", Hint: encodingHint(f.looks)}
	}
	if f.rejects = isRejects(h.names); f.rejects {
		for i, name := range h.names {
			h.names[i] = undefuse(name)
		}
	}
	if err := h.resolve(f.table, &f.o); err != nil {
		return f.alsoRows(err, &h, peeked, comma)
	}
	if f.rejects { // our own two columns are nobody's mistake
		h.unknown = slices.DeleteFunc(h.unknown, func(i int) bool { return i >= len(h.names)-2 })
	}
	warnings, err := h.judge(f.table, &f.o)
	if err != nil {
		return f.alsoRows(err, &h, peeked, comma)
	}
	for _, w := range warnings {
		f.o.Log.Warn(w, "file", f.name)
	}
	f.names, f.columns, f.comma = h.names, h.columns, comma

	f.window = &window{r: text}
	f.csv = csv.NewReader(bufio.NewReaderSize(f.window, bufferSize))
	f.csv.Comma = comma
	f.csv.ReuseRecord = true // a row is copied before the next one is read
	if f.gocsv, err = gocsv.NewUnmarshaller(f.csv, f.table.Row); err != nil {
		return &BrokenFileError{File: f.name, Line: 1 + f.skipped, Err: noEOF(err)}
	}
	f.lines = bytes.Count(f.window.take(f.csv.InputOffset()), newline)
	// gocsv matches headers letter by letter and lets the last of two win, so it gets our
	// own names, which resolve has made sure are there once.
	return f.gocsv.RenormalizeHeaders(func([]string) []string {
		names := slices.Clone(h.columns)
		for i := range names {
			names[i] = cmp.Or(names[i], ignoredColumn)
		}
		return names
	})
}

// alsoRows adds to the hint of a header's problem what every row would be refused for, the
// encoding and the way of writing dates: all can be mended at once.
func (f *File) alsoRows(err error, h *header, peeked []byte, comma rune) error {
	var he *HeaderError
	if !errors.As(err, &he) || he.Hint == "" {
		return err
	}
	if f.looks != "" {
		he.Hint += "\nits rows are not UTF-8: " + encodingHint(f.looks)
	}
	if i := h.dates(); i >= 0 {
		if hint := f.o.DateFormat.otherThan(firstCells(peeked, comma, i)); hint != "" {
			he.Hint += "\nits dates cannot be read as they are: " + strings.TrimPrefix(hint, "; ")
		}
	}
	return err
}

// firstCells yields the filled cells of a column in the rows that are wholly in peeked, but for
// the header's.
func firstCells(peeked []byte, comma rune, column int) iter.Seq[string] {
	return func(yield func(string) bool) {
		cr := csv.NewReader(bytes.NewReader(peeked))
		cr.Comma, cr.FieldsPerRecord, cr.ReuseRecord = comma, -1, true
		for n := 0; ; n++ {
			cells, err := cr.Read()
			if err != nil || cr.InputOffset() == int64(len(peeked)) && len(peeked) == bufferSize {
				return
			}
			if n > 0 && column < len(cells) && strings.TrimSpace(cells[column]) != "" && !yield(cells[column]) {
				return
			}
		}
	}
}

// separatorLine returns the length of a first line like sep=; by which a spreadsheet is
// told the delimiter, or 0.
func separatorLine(peeked []byte) int {
	line, _, ok := bytes.Cut(peeked, newline)
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
func (f *File) Header() []string { return slices.Clone(f.names) }

// Layout is how a file is made up.
type Layout struct {
	Header   []string // as it stands in the file
	Columns  []string // for each header our column, or "" where it is not read
	Comma    rune
	Encoding string
	Packed   bool
}

// Layout returns how the file is made up, as far as it has been found.
func (f *File) Layout() Layout {
	return Layout{Header: f.Header(), Columns: slices.Clone(f.columns), Comma: f.comma, Encoding: f.encoding, Packed: f.packed}
}

// Comma returns the delimiter that was found.
func (f *File) Comma() rune { return f.comma }

// Line returns where the row begins that was read last, 1-based.
func (f *File) Line() int { return f.line }

// Time reads a cell that holds a date or a time, in the file's format. day is true for a date.
func (f *File) Time(cell string) (t time.Time, day bool, problem string) {
	t, day, ok := f.o.DateFormat.read(cell)
	if !ok {
		problem = "is neither a date such as 2026-11-01 nor a time such as 2026-11-01T09:30:00Z" + dateHint(cell)
	}
	return t, day, problem
}

// Rows returns how many data rows have been read so far, good and rejected. Rows without
// any cell filled do not count.
func (f *File) Rows() int { return f.rows }

// Digest returns the SHA-256 of the bytes of the file, as they came (compressed ones
// too). It is known once the file has ended with io.EOF, and zero before.
func (f *File) Digest() [32]byte { return f.digest }

// Record returns the cells of the row that was read last, as they came: for a row that
// is good in itself and that the caller rejects.
func (f *File) Record() []string { return f.cells(f.last) }

// Close closes what OpenFile opened. It does not close standard input.
func (f *File) Close() error {
	var errs []error
	for _, c := range f.closer {
		errs = append(errs, c.Close())
	}
	f.closer = nil
	return errors.Join(errs...)
}

// Next returns what gocsv makes of the next row, or why the row cannot be read, or an error:
// io.EOF at the end of the file, a *BrokenFileError where it cannot be read on. The error
// stays the same from then on.
func (f *File) Next() (row any, reject *Reject, err error) {
	if f.end != nil {
		return nil, nil, f.end
	}
	if row, reject, f.end = f.next(); f.end == nil {
		f.rows++
	}
	return row, reject, f.end
}

func (f *File) next() (any, *Reject, error) {
	for {
		row, err := f.gocsv.Read()
		// The CSV reader skips empty lines, so those before a row are in raw.
		raw := f.window.take(f.csv.InputOffset())
		f.last = raw
		switch {
		case err == io.EOF:
			return nil, nil, f.atEnd()
		case (err == nil || ragged(err)) && f.blank(raw):
			f.lines += bytes.Count(raw, newline)
			f.empty++
			continue
		case err != nil:
			reject, err := f.unread(raw, err)
			f.lines += bytes.Count(raw, newline)
			return nil, reject, err
		}
		f.lines += bytes.Count(raw, newline)
		line, _ := f.csv.FieldPos(0)
		f.line = line + f.skipped
		if !utf8.Valid(raw) {
			return nil, f.notUTF8(raw), nil
		}
		return row, nil, nil
	}
}

func (f *File) notUTF8(raw []byte) *Reject {
	return &Reject{Line: f.line, Reason: NotUTF8, Message: "the row is not UTF-8: " + encodingHint(cmp.Or(f.looks, looksLike(raw))), Record: f.cells(raw)}
}

func ragged(err error) bool { return errors.Is(err, csv.ErrFieldCount) }

// blank reports whether no cell of a row is filled.
func (f *File) blank(raw []byte) bool {
	for i := range raw {
		if c := raw[i]; c != byte(f.comma) && c != ' ' && c != '"' && (c < '\t' || c > '\r') && c < utf8.RuneSelf {
			return false
		}
	}
	if bytes.ContainsFunc(raw, func(r rune) bool { return r != f.comma && r != '"' && !unicode.IsSpace(r) }) {
		return false
	}
	return !slices.ContainsFunc(f.split(raw), func(cell string) bool { return strings.TrimSpace(cell) != "" })
}

// atEnd is io.EOF, unless the end of the file may not be the end of what its writer meant to
// be in it: the last row could then be another person's.
func (f *File) atEnd() error {
	line := 1 + f.skipped + f.lines
	switch changed, err := f.changed(); {
	case err != nil:
		return &BrokenFileError{File: f.name, Line: line, Err: err}
	case changed:
		return &BrokenFileError{File: f.name, Line: line, Err: errChanged, Hint: "nothing of it was taken in: run again when it is complete"}
	}
	if f.window.unended && !f.packed {
		if f.opened != nil {
			if age := f.o.Now().Sub(f.opened.ModTime()); age < young && age > -young {
				return &BrokenFileError{File: f.name, Line: f.line, Err: errCutOff,
					Hint: "nothing of it was taken in: look at its last row, and end it with a line break, or run again in a minute"}
			}
		}
		f.o.Log.Warn("the last row has no line end: if the input was cut off, so is its last cell", "file", f.name, "line", f.line)
	}
	if f.empty > 0 {
		f.o.Log.Info("rows without any cell filled were passed over", "file", f.name, "rows", f.empty)
	}
	if f.rows == 0 {
		f.o.Log.Warn("the file has a header and no rows", "file", f.name)
	}
	f.hash.h.Sum(f.digest[:0])
	return io.EOF
}

// changed reports whether the file is not any more what it was when it was opened.
func (f *File) changed() (bool, error) {
	if f.source == nil {
		return false, nil
	}
	now, err := f.source.Stat()
	if err != nil {
		return false, err
	}
	return now.Size() != f.opened.Size() || !now.ModTime().Equal(f.opened.ModTime()), nil
}

// unread says what follows from a row that the CSV reader refused: a Reject where the
// next line surely begins a new row, the end of the file otherwise.
func (f *File) unread(raw []byte, err error) (*Reject, error) {
	var pe *csv.ParseError
	if failed := f.window.failed(); failed != nil && f.window.empty() {
		return nil, f.brokenAt(raw, failed) // the row is cut off, whatever else is wrong with it
	}
	if !errors.As(err, &pe) {
		return nil, f.brokenAt(raw, err)
	}
	reject := &Reject{Line: pe.StartLine + f.skipped}
	f.line = reject.Line
	switch {
	case ragged(err) && !utf8.Valid(raw):
		return f.notUTF8(raw), nil
	case ragged(err):
		cells := f.split(raw)
		reject.Reason, reject.Record = RaggedRow, f.asTheyCame(cells)
		reject.Message = fmt.Sprintf("the row has %d cells, the header %d", len(cells), len(f.names))
		return reject, nil
	case (errors.Is(pe.Err, csv.ErrQuote) || errors.Is(pe.Err, csv.ErrBareQuote)) && !opensQuote(raw, pe, f.comma):
		reject.Reason, reject.Message = BadQuotes, `a quote stands inside a cell: put the cell in quotes and double the quotes in it`
		if last := pe.Line + f.skipped; last != reject.Line {
			reject.Message = fmt.Sprintf("a quote that opens here is not closed well before line %d: none of these lines was read", last)
		}
		reject.Record = []string{string(bytes.Trim(raw, "\r\n"))} // its cells are anybody's guess
		return reject, nil
	case errors.Is(pe.Err, csv.ErrQuote), errors.Is(pe.Err, csv.ErrBareQuote):
		return nil, &BrokenFileError{File: f.name, Line: reject.Line, Err: errQuoteOpen}
	}
	return nil, &BrokenFileError{File: f.name, Line: reject.Line, Err: pe.Err}
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
func (f *File) split(raw []byte) []string {
	cr := csv.NewReader(bytes.NewReader(raw))
	cr.Comma, cr.FieldsPerRecord = f.comma, -1
	cells, err := cr.Read()
	if err != nil { // not possible: the same reader has read it before
		return []string{string(bytes.Trim(raw, "\r\n"))}
	}
	return cells
}

// cells are those of a row, as they came.
func (f *File) cells(raw []byte) []string { return f.asTheyCame(f.split(raw)) }

// asTheyCame undoes what a RejectWriter did to a row's cells.
func (f *File) asTheyCame(cells []string) []string {
	if !f.rejects {
		return cells
	}
	if n := len(cells); n > 2 && isDigits(cells[n-2]) && Reasons[vendors.Reason(cells[n-1])] != "" {
		cells = cells[:n-2]
	}
	for i := range cells {
		cells[i] = undefuse(cells[i])
	}
	return cells
}

// brokenAt is the end of a file that fails within the row that begins raw.
func (f *File) brokenAt(raw []byte, err error) error {
	empty := raw[:len(raw)-len(bytes.TrimLeft(raw, "\r\n"))]
	return &BrokenFileError{File: f.name, Line: 1 + f.skipped + f.lines + bytes.Count(empty, newline), Err: noEOF(err)}
}

// noEOF keeps a file that breaks off from looking like one that ends.
func noEOF(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
