package intake

import (
	"bytes"
	"cmp"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"expunge/vendors"
	"expunge/vendors/strict"
)

// HeaderError is a problem that makes the whole file unfit before its first row is read.
// It quotes a header only where that does not look like a cell of a data row.
type HeaderError struct {
	File    string
	Line    int    // 1-based; 0 where the problem is not one of a line
	Column  int    // 1-based; 0 where the problem is not one of a column
	Problem string // "column \"tel\" and column \"phone\" are both telephone"
	Hint    string // what to do; may be ""
}

func (e *HeaderError) Error() string {
	at := e.File
	if e.Line > 0 {
		at += fmt.Sprintf(":%d", e.Line)
	}
	if e.Column > 0 {
		at += fmt.Sprintf(": column %d", e.Column)
	}
	return at + ": " + e.Problem
}

// Names of the columns that are not fields of a subject.
const (
	colSubjectID  = "subject_id"
	colReceivedAt = "received_at"
	colVendors    = "vendors"
)

// Columns lists the names of all columns that a file may have, which are also the keys
// that the config's `columns` may use.
func Columns() []string {
	all := []string{colSubjectID}
	for _, f := range vendors.Fields() {
		all = append(all, f.String())
	}
	return append(all, colReceivedAt, colVendors)
}

// synonyms are the other names under which columns are known, in the form of NormalHeader.
// A bare "id" or "reference" is not among them: it says too little to send a request on.
var synonyms = map[string][]string{
	"subject_id": {"ticket", "ticketid", "ticketno", "ticketnumber", "requestid", "requestno",
		"requestnumber", "caseid", "caseno", "casenumber", "dsrid", "dsarid"},
	"email":           {"emailaddress", "mail", "mailaddress", "emailid", "primaryemail"},
	"other_email":     {"otheremailaddress", "otheremailid", "othermail", "email2", "secondemail", "secondaryemail", "alternateemail", "alternativeemail"},
	"telephone":       {"telephonenumber", "tel", "telno", "phone", "phoneno", "phonenumber", "mobile", "mobileno", "mobilenumber", "mobilephone", "cell", "cellphone"},
	"other_telephone": {"othertelephonenumber", "othertel", "otherphone", "otherphonenumber", "telephone2", "phone2", "secondphone", "secondaryphone", "alternatephone", "alternativephone"},
	"customer_key":    {"customerkeys", "visitorid", "visitorids", "visitorkey"},
	"account_number":  {"account", "accountno", "accountnr", "lcmkey"},
	"agent_id":        {"agent"},
	"customer_name":   {"name", "fullname"},
	"comments":        {"comment", "note", "notes", "remark", "remarks", "agentcomments"},
	"received_at":     {"received", "receivedon", "receiveddate", "datereceived", "requestdate", "requestedat", "requestedon"},
	"vendors":         {"vendor"},
}

// identifierColumns are those by which a vendor can know a person.
func identifierColumns() (all []string) {
	for _, f := range vendors.Fields() {
		if vendors.Identifiers.Has(f) {
			all = append(all, f.String())
		}
	}
	return all
}

// headers maps every header that is known, in the form of NormalHeader, to our column.
func (t *Table) headers() map[string]string {
	known := map[string]string{}
	for _, column := range t.Columns {
		known[NormalHeader(column)] = column
		for _, s := range t.Synonyms[column] {
			known[s] = column
		}
	}
	return known
}

// NormalHeader is the form in which two spellings of a header are equal: without case,
// white space, hyphens, dashes and underscores.
func NormalHeader(header string) string {
	return strings.Map(func(r rune) rune {
		if r == '_' || unicode.IsSpace(r) || unicode.Is(unicode.Pd, r) {
			return -1
		}
		return unicode.ToLower(r)
	}, header)
}

// header is what the first record of a file says.
type header struct {
	known   map[string]string // see Table.headers
	line    int               // where it begins
	names   []string          // as in the file
	columns []string          // for each name our column, or "" where it is not one of ours
	unknown []int             // the columns that are ignored, in order
}

// resolve finds our column for each name. configured maps our columns to headers and goes
// before the known names.
func (h *header) resolve(file string, t *Table, configured map[string]string) error {
	fail := func(column int, problem, hint string) error {
		return &HeaderError{File: file, Line: h.line, Column: column, Problem: problem, Hint: hint}
	}
	byHeader, err := byHeader(file, t, configured)
	if err != nil {
		return err
	}
	h.columns = make([]string, len(h.names))
	taken := map[string]int{} // our column -> its index in the file
	take := func(i int, column string) error {
		if j, ok := taken[column]; ok {
			return fail(i+1, fmt.Sprintf("%s and %s are both %s", h.show(j), h.show(i), column),
				"remove one, or say which one it is with columns: in the config")
		}
		taken[column], h.columns[i] = i, column
		return nil
	}
	for i, name := range h.names {
		if column := byHeader[NormalHeader(name)]; column != "" {
			if err := take(i, column); err != nil {
				return err
			}
		}
	}
	fromConfig := maps.Clone(taken)
	for i, name := range h.names {
		if h.columns[i] != "" {
			continue
		}
		column := h.known[NormalHeader(name)]
		if _, ok := fromConfig[column]; ok {
			column = "" // the config says that it is another header
		}
		if column == "" {
			h.unknown = append(h.unknown, i)
		} else if err := take(i, column); err != nil {
			return err
		}
	}
	for _, column := range t.Columns { // in order, for the same error every time
		wanted := configured[column]
		if _, ok := taken[column]; wanted != "" && !ok {
			return fail(0, fmt.Sprintf("there is no column %q, which the config names as %s", wanted, column),
				"mend columns: in the config, or the header")
		}
	}
	for _, need := range t.Needs {
		if !slices.ContainsFunc(need.Columns, func(c string) bool { _, ok := taken[c]; return ok }) {
			return fail(0, need.Problem, cmp.Or(h.nearMiss(need.Columns...), need.Hint))
		}
	}
	return nil
}

// byHeader turns the config's columns round, in the form of NormalHeader.
func byHeader(file string, t *Table, configured map[string]string) (map[string]string, error) {
	byHeader := map[string]string{}
	for column, name := range configured {
		if !slices.Contains(t.Columns, column) {
			return nil, &HeaderError{File: file, Problem: fmt.Sprintf("columns: in the config names %q, which is not a column", column),
				Hint: "the columns are " + strings.Join(t.Columns, ", ")}
		}
		n := NormalHeader(name)
		if n == "" {
			return nil, &HeaderError{File: file, Problem: "columns: in the config names no header for " + column}
		}
		if other := byHeader[n]; other != "" {
			return nil, &HeaderError{File: file, Problem: fmt.Sprintf("columns: in the config names %q for both %s and %s",
				name, min(column, other), max(column, other))}
		}
		byHeader[n] = column
	}
	return byHeader, nil
}

// warning is the one sentence about all columns that are ignored, or "".
func (h *header) warning() string {
	if len(h.unknown) == 0 {
		return ""
	}
	const most = 20
	var names []string
	for _, i := range h.unknown[:min(len(h.unknown), most)] {
		name := h.show(i)
		if column := nearest(h.names[i], h.known); column != "" {
			name += fmt.Sprintf(" (looks like %s: map it with columns: in the config if it is)", column)
		}
		names = append(names, name)
	}
	if more := len(h.unknown) - most; more > 0 {
		names = append(names, fmt.Sprintf("%d more", more))
	}
	return "ignored: " + strings.Join(names, ", ")
}

// nearMiss is a hint that names an ignored header which looks like one of columns, or "".
func (h *header) nearMiss(columns ...string) string {
	for _, i := range h.unknown {
		if column := nearest(h.names[i], h.known); column != "" && slices.Contains(columns, column) {
			return fmt.Sprintf("%s looks like %s; map it with columns: in the config", h.show(i), column)
		}
	}
	return ""
}

// show names a column of the file. A file without a header has a person's data where the
// header should be, so what may be an email, a telephone or a key is not quoted.
func (h *header) show(i int) string {
	name := h.names[i]
	digits := strings.Count(strings.Map(func(r rune) rune {
		if unicode.IsDigit(r) {
			return '0'
		}
		return r
	}, name), "0")
	if name == "" || len(name) > 64 || digits > 3 || strings.Contains(name, "@") || !isText(name) {
		return fmt.Sprintf("column %d", i+1)
	}
	return fmt.Sprintf("column %q", name)
}

// nearest returns the column whose name or synonym is a slip of the pen away from name, or "".
func nearest(name string, known map[string]string) string {
	n := NormalHeader(name)
	if len(n) > 64 {
		return ""
	}
	best, column := 3, ""
	for other, c := range known {
		// Short names are near to everything.
		allowed := 2
		if len(other) < 8 {
			allowed = 1
		}
		if len(other) < 4 {
			continue
		}
		// Two columns that are equally near: the first by name, whatever the map's order.
		if d := strict.Distance(n, other); d <= allowed && (d < best || d == best && c < column) {
			best, column = d, c
		}
	}
	return column
}

// sniff finds the delimiter of a file from its first bytes: the one under which the header
// has the most known columns, then the most columns. ok is false where no delimiter gives
// a complete header.
func sniff(peeked []byte, whole bool, t *Table, configured map[string]string) (comma rune, h header, ok bool) {
	known := t.headers()
	wanted := map[string]bool{}
	for _, name := range configured {
		wanted[NormalHeader(name)] = true
	}
	best := -1
	for _, c := range []rune{',', ';', '\t'} {
		cr := csv.NewReader(bytes.NewReader(peeked))
		cr.Comma, cr.FieldsPerRecord = c, -1
		names, err := cr.Read()
		if err != nil || !whole && cr.InputOffset() == int64(len(peeked)) {
			continue
		}
		score := len(names)
		for _, name := range names {
			if n := NormalHeader(name); wanted[n] || known[n] != "" {
				score += 1 << 20
			}
		}
		if score > best {
			line, _ := cr.FieldPos(0)
			best, comma, h, ok = score, c, header{known: known, line: line, names: names}, true
		}
	}
	return comma, h, ok
}

// unreadable says why no header was found in the first bytes of a file.
func unreadable(file string, peeked []byte, whole bool, err error) error {
	cr := csv.NewReader(bytes.NewReader(peeked))
	_, cerr := cr.Read()
	var pe *csv.ParseError
	switch {
	case err != nil && err != io.EOF:
		return &BrokenFileError{File: file, Line: 1, Err: err}
	case !whole:
		return &HeaderError{File: file, Line: 1, Problem: "the header does not end within 64 KiB",
			Hint: "is this a CSV file, and are its quotes closed?"}
	case errors.As(cerr, &pe):
		return &HeaderError{File: file, Line: pe.StartLine, Problem: "a quote in the header is not closed or stands where none may"}
	}
	return &HeaderError{File: file, Line: 1, Problem: "the file is empty", Hint: "the first line must be the header"}
}

// foreign recognises what is no CSV by its first bytes.
func foreign(file string, peeked []byte) error {
	fail := func(problem, hint string) error {
		return &HeaderError{File: file, Line: 1, Problem: problem, Hint: hint}
	}
	line, _, _ := bytes.Cut(peeked, []byte("\n"))
	switch {
	case bytes.HasPrefix(peeked, []byte("PK\x03\x04")):
		return fail("the file is a workbook or a zip archive", "save the sheet as CSV UTF-8")
	case bytes.HasPrefix(peeked, []byte("\xd0\xcf\x11\xe0")):
		return fail("the file is an old workbook", "save the sheet as CSV UTF-8")
	case slices.Contains(line, 0):
		return fail("the file holds zero bytes: it is binary, or UTF-16 without a byte order mark",
			"save it as CSV UTF-8, or write encoding: utf-16le in the config, or --encoding utf-16le")
	case slices.Contains(bytes.TrimSuffix(line, []byte("\r")), '\r'):
		// All rows would be one header, and be named as its unknown columns.
		return fail("its lines end in carriage returns alone", "save it as CSV UTF-8 with the line ends of Windows or Unix")
	}
	return nil
}

// isText reports whether s is UTF-8 that can be shown on one line.
func isText(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) })
}
