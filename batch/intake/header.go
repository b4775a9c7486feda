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

	"golang.org/x/text/unicode/norm"

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
	colChannel    = "channel"
)

// Columns lists the names of all columns that a file may have, which are also the keys
// that the config's `columns` may use.
func Columns() []string {
	all := []string{colSubjectID}
	for _, f := range vendors.Fields() {
		all = append(all, f.String())
	}
	return append(all, colReceivedAt, colVendors, colChannel)
}

// Synonyms are the other names under which one of these columns is known.
func Synonyms(column string) []string { return synonyms[column] }

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

// NormalHeader is the form in which two spellings of a header are equal: without case, white
// space, dots, colons, hyphens, dashes, underscores and what cannot be seen, composed.
func NormalHeader(header string) string {
	return strings.Map(func(r rune) rune {
		if r == '_' || r == '.' || r == ':' || unicode.IsSpace(r) || unicode.In(r, unicode.Pd, unicode.Cf) {
			return -1
		}
		return unicode.ToLower(r)
	}, norm.NFC.String(header))
}

// header is what the first record of a file says.
type header struct {
	file    string
	known   map[string]string // see Table.headers
	line    int               // where it begins
	names   []string          // as in the file
	columns []string          // for each name our column, or "" where it is not one of ours
	taken   map[string]int    // the other way round
	unknown []int             // the columns that nothing is known of, in order
}

func (h *header) fail(column int, problem, hint string) error {
	return &HeaderError{File: h.file, Line: h.line, Column: column, Problem: problem, Hint: hint}
}

// resolve finds our column for each name. The options' columns go before the known names.
func (h *header) resolve(t *Table, o *Options) error {
	byHeader, err := byHeader(h.file, t, o.Columns)
	if err != nil {
		return err
	}
	h.columns, h.taken = make([]string, len(h.names)), map[string]int{}
	for i, name := range h.names {
		if column := byHeader[NormalHeader(name)]; column != "" {
			if err := h.take(i, column); err != nil {
				return err
			}
		}
	}
	ignored := map[string]bool{}
	for _, name := range o.IgnoreColumns {
		ignored[NormalHeader(name)] = true
	}
	fromConfig := maps.Clone(h.taken)
	for i, name := range h.names {
		n := NormalHeader(name)
		if h.columns[i] != "" || ignored[n] {
			continue
		}
		column := h.known[n]
		if _, ok := fromConfig[column]; ok {
			column = "" // the config says that it is another header
		}
		if column == "" {
			h.unknown = append(h.unknown, i)
		} else if err := h.take(i, column); err != nil {
			return err
		}
	}
	for _, column := range t.Columns { // in order, for the same error every time
		wanted := o.Columns[column]
		if !h.has(column) && wanted != "" {
			return h.fail(0, fmt.Sprintf("there is no column %q, which the config names as %s", wanted, column),
				"mend columns: in the config, or the header")
		}
	}
	for _, need := range t.Needs {
		if !slices.ContainsFunc(need.Columns, h.has) {
			hint := cmp.Or(h.otherDelimiter(), need.Hint)
			if slices.ContainsFunc(h.unknown, func(i int) bool { return h.mayBe(i, need.Columns) }) {
				hint = h.paste(t, h.unknown)
			} else if len(h.taken) > 0 && slices.ContainsFunc(h.unknown, h.mayIdentify) {
				hint += "\nit is not known what these are: " + h.list(h.named(h.unknown)) + ": " + h.paste(t, h.named(h.unknown))
			}
			return h.fail(0, need.Problem, hint)
		}
	}
	return nil
}

func (h *header) has(column string) bool { _, ok := h.taken[column]; return ok }

func (h *header) take(i int, column string) error {
	if j, ok := h.taken[column]; ok {
		hint := "remove one, or say with columns: in the config which one it is, and name the other in ignore_columns:"
		if other := NormalHeader(h.names[j]); other == NormalHeader(h.names[i]) && h.quotable(i) {
			hint = fmt.Sprintf("remove all but one, or, if they mean nothing here, write into the config ignore_columns: [%s]", yamlText(h.names[i]))
		} else if other := "other_" + column; slices.Contains(Columns(), other) && !h.has(other) && h.quotable(i) {
			hint = fmt.Sprintf("if both are needed, write into the config columns: {%s: %s}; else name one in ignore_columns:", other, yamlText(h.names[i]))
		}
		return h.fail(i+1, fmt.Sprintf("%s and %s are both %s", h.show(j), h.show(i), column), hint)
	}
	h.taken[column], h.columns[i] = i, column
	return nil
}

// judge says what is to be thought of the columns that nothing is known of: warnings, or an
// error where one may be what a vendor knows people by. A row that is read without it would
// look like a request that is done.
func (h *header) judge(t *Table, o *Options) (warnings []string, err error) {
	unknown := h.named(h.unknown)
	var nobody []string
	if o.Nobody != nil {
		nobody = o.Nobody(h.fields())
	}
	problem := ""
	switch {
	case len(unknown) == 0:
	case t.NoOthers:
		problem = "what these columns say is not known: "
	case slices.ContainsFunc(unknown, h.mayIdentify):
		problem = "columns that are not known, and one of them may be what a vendor knows people by: "
	case len(nobody) > 0:
		problem = fmt.Sprintf("%s would be asked about nobody of this file, in which these columns are not known: ", strings.Join(nobody, ", "))
	}
	if problem != "" {
		return nil, h.fail(0, problem+h.list(unknown), h.paste(t, unknown))
	}
	if len(h.unknown) > 0 {
		w := "columns that are not known are ignored: " + h.list(h.unknown)
		if len(unknown) > 0 {
			w += "; " + h.paste(t, unknown)
		}
		warnings = append(warnings, w)
	}
	for _, name := range nobody {
		warnings = append(warnings, name+" is asked about nobody of this file: it has no column by which this vendor knows people")
	}
	return warnings, nil
}

// named are those of the columns that have a name.
func (h *header) named(columns []int) []int {
	return slices.DeleteFunc(slices.Clone(columns), func(i int) bool { return h.names[i] == "" })
}

// fields are those of the columns that the file has.
func (h *header) fields() (set vendors.FieldSet) {
	for _, f := range vendors.Fields() {
		if h.has(f.String()) {
			set |= vendors.SetOf(f)
		}
	}
	return set
}

// list names columns, at most twenty, each with what it may be.
func (h *header) list(columns []int) string {
	const most = 20
	var names []string
	for _, i := range columns[:min(len(columns), most)] {
		name := h.show(i)
		if may := maybe(h.names[i], h.known); len(may) > 0 {
			name += fmt.Sprintf(" (%s?)", strings.Join(may, " or "))
		}
		names = append(names, name)
	}
	if more := len(columns) - most; more > 0 {
		names = append(names, fmt.Sprintf("%d more", more))
	}
	return strings.Join(names, ", ")
}

// paste gives the lines of a config that say what the columns are, to be mended and pasted.
func (h *header) paste(t *Table, columns []int) string {
	var mapped, of, others []string
	taken := maps.Clone(h.taken)
	for _, i := range columns {
		if !h.quotable(i) {
			continue
		}
		may := slices.DeleteFunc(slices.Clone(maybe(h.names[i], h.known)), func(c string) bool { _, ok := taken[c]; return ok || t.NoOthers })
		if len(may) == 0 {
			others = append(others, yamlText(h.names[i]))
			continue
		}
		taken[may[0]] = i
		mapped, of = append(mapped, may[0]+": "+yamlText(h.names[i])), append(of, yamlText(h.names[i]))
	}
	list := func(names []string) string { return "ignore_columns: [" + strings.Join(names, ", ") + "]" }
	switch {
	case len(mapped)+len(others) == 0:
		return "give the columns names, or remove them"
	case len(mapped) == 0:
		return "if they mean nothing here, write into the config " + list(others)
	case len(others) == 0:
		return "write into the config what they are, as in columns: {" + strings.Join(mapped, ", ") + "}, or, if they mean nothing here, " + list(of)
	}
	return "write into the config what they are, as in columns: {" + strings.Join(mapped, ", ") + "}, and which mean nothing here, as in " + list(others)
}

// yamlText writes a header as a YAML value, with quotes that a log need not escape.
func yamlText(header string) string { return "'" + strings.ReplaceAll(header, "'", "''") + "'" }

// otherDelimiter is a hint about a header that is one column for want of a delimiter, or "".
func (h *header) otherDelimiter() string {
	if len(h.names) > 1 {
		return ""
	}
	for _, c := range "|:~^" {
		for name := range strings.SplitSeq(h.names[0], string(c)) {
			if n := NormalHeader(name); h.known[n] != "" && n != NormalHeader(h.names[0]) {
				return fmt.Sprintf("its columns seem to have %c between them: save it with commas, semicolons or tabs", c)
			}
		}
	}
	return ""
}

// mayBe reports whether a header may be one of columns.
func (h *header) mayBe(i int, columns []string) bool {
	return h.quotable(i) && slices.ContainsFunc(maybe(h.names[i], h.known), func(c string) bool { return slices.Contains(columns, c) })
}

// maybe lists the columns that a header may mean which is not known.
func maybe(name string, known map[string]string) []string {
	n := NormalHeader(name)
	if known[n] != "" { // by the config it is not this one
		return nil
	}
	if columns := unclear[n]; columns != nil {
		return columns
	}
	column := nearest(name, known)
	for header, c := range known { // as in "Requester email"
		if len(n) <= 64 && telling(header, c) && strings.Contains(n, header) && (column == "" || c < column) {
			column = c
		}
	}
	if column == "" {
		return nil
	}
	return []string{column}
}

// telling reports whether a header that holds this one may hold what a vendor knows people by.
// Short ones are part of many words.
func telling(header, column string) bool {
	return (len(header) > 4 || header == "mail") && header != "account" && slices.Contains(identifierColumns(), column)
}

// mayIdentify reports whether an unknown column may hold what a vendor knows people by.
func (h *header) mayIdentify(i int) bool {
	return slices.ContainsFunc(maybe(h.names[i], h.known), func(column string) bool { return slices.Contains(identifierColumns(), column) })
}

// dates returns the first column that holds dates, or may, or -1.
func (h *header) dates() int {
	dated := func(column string) bool { return strings.HasSuffix(column, "_at") }
	if i := slices.IndexFunc(h.columns, dated); i >= 0 {
		return i
	}
	for _, i := range h.unknown {
		if slices.ContainsFunc(maybe(h.names[i], h.known), dated) {
			return i
		}
	}
	return -1
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

// show names a column of the file. A file without a header has a person's data where the
// header should be, so what may be an email, a telephone or a key is not quoted.
func (h *header) show(i int) string {
	if !h.quotable(i) {
		return fmt.Sprintf("column %d", i+1)
	}
	return fmt.Sprintf("column %q", h.names[i])
}

func (h *header) quotable(i int) bool {
	name := h.names[i]
	digits := 0
	for _, r := range name {
		if unicode.IsDigit(r) {
			digits++
		}
	}
	return name != "" && len(name) <= 64 && digits <= 3 && !strings.Contains(name, "@") && isText(name)
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
		if len(other) < 12 {
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
