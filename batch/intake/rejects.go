package intake

import (
	"encoding/csv"
	"io"
	"slices"
	"strconv"
	"strings"
)

// The columns that a RejectWriter adds. A file whose last two columns are these is one that
// it wrote.
const (
	rejectLine   = "line"
	rejectReason = "reason"
)

// RejectWriter writes rejected rows to a file that a person mends and feeds back: the cells
// as they came, then the line of the original file and the reason.
//
// A cell that a spreadsheet would run as a formula (it begins with = + - @ |, a tab or a line
// break) gets an apostrophe in front. So that no cell is changed by the way there and back,
// a cell that begins with apostrophes before such a character gets one more, and a Reader
// takes one away again from each such cell, in files with our two columns at their end
// only. A telephone like +46 70 174 06 05 comes through unharmed.
//
// A ragged row stays ragged: no cell is added or dropped but our two. A row with misplaced
// quotes stands in one cell, as it came, for nobody knows its cells.
type RejectWriter struct {
	csv    *csv.Writer
	header []string
	cells  []string
}

// NewRejectWriter writes to w rows of a file with the given header and delimiter (see
// Reader.Header and Reader.Comma). Nothing is written before the first row; the caller
// flushes.
func NewRejectWriter(w io.Writer, header []string, comma rune) *RejectWriter {
	cw := csv.NewWriter(w)
	cw.Comma = comma
	if isRejects(header) {
		header = header[:len(header)-2]
	}
	return &RejectWriter{csv: cw, header: slices.Clone(header)}
}

// Write adds a row, after the header if it is the first.
func (w *RejectWriter) Write(r *Reject) error {
	if w.header != nil {
		if err := w.write(w.header, rejectLine, rejectReason); err != nil {
			return err
		}
		w.header = nil
	}
	return w.write(r.Record, strconv.Itoa(r.Line), string(r.Reason))
}

// Flush writes what is buffered and returns the first error of all writing.
func (w *RejectWriter) Flush() error {
	w.csv.Flush()
	return w.csv.Error()
}

func (w *RejectWriter) write(record []string, line, reason string) error {
	w.cells = w.cells[:0]
	for _, c := range record {
		w.cells = append(w.cells, Defuse(c))
	}
	w.cells = append(w.cells, line, reason)
	return w.csv.Write(w.cells)
}

func isRejects(header []string) bool {
	n := len(header)
	return n >= 2 && header[n-2] == rejectLine && header[n-1] == rejectReason
}

// Defuse returns the cell with an apostrophe in front if a spreadsheet would run it as a
// formula, or if it looks like one that was given an apostrophe before: undefuse is its inverse.
func Defuse(cell string) string {
	if runs(strings.TrimLeft(cell, "'")) {
		return "'" + cell
	}
	return cell
}

func undefuse(cell string) string {
	if bare, ok := strings.CutPrefix(cell, "'"); ok && runs(strings.TrimLeft(bare, "'")) {
		return bare
	}
	return cell
}

// runs reports whether a spreadsheet may take cell for a formula.
func runs(cell string) bool {
	return cell != "" && strings.IndexByte("=+-@|\t\r\n", cell[0]) >= 0
}
