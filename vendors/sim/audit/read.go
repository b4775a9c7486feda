package audit

import (
	"bufio"
	"compress/gzip"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"expunge/vendors"
)

// subject is one row of an input file.
type subject struct {
	id      string
	line    int
	values  map[vendors.Field][]string
	vendors []string // empty: all
}

// row is one row of the report.
type row struct {
	batch, subject, vendor string
	line                   string
	field                  vendors.Field // 0: the row is about no identifier
	masked                 string
	state, evidence        string
	reason, message        string
	attempts               string
	numbers                []string // record_refs
	references             []string

	// Found out from the input:
	kind, account string
	value         string // the identifier in clear, "" if there is none
}

// task says whether the row is about a task, and not about an input row that never became one.
func (r *row) task() bool { return r.state != "invalid" && r.state != "duplicate" }

// table reads a CSV with a header; each gets a row's cells by normal column name.
func table(r io.Reader, each func(line int, cell func(column string) string)) error {
	in := bufio.NewReader(r)
	if bom, err := in.Peek(3); err == nil && string(bom) == "\xef\xbb\xbf" {
		_, _ = in.Discard(3) // just peeked
	}
	first, err := in.Peek(4096)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, bufio.ErrBufferFull) {
		return err
	}
	c := csv.NewReader(in)
	c.Comma = separator(string(first))
	c.FieldsPerRecord = -1
	header, err := c.Read()
	if err != nil {
		return fmt.Errorf("header: %w", err)
	}
	at := make(map[string]int, len(header))
	for i, h := range header {
		at[column(h)] = i
	}
	for {
		record, err := c.Read()
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case errors.Is(err, csv.ErrQuote), errors.Is(err, csv.ErrBareQuote):
			continue // not readable as a row; expunge's own report says so
		case err != nil:
			return err
		}
		line, _ := c.FieldPos(0)
		each(line, func(name string) string {
			i, ok := at[name]
			if !ok || i >= len(record) {
				return ""
			}
			return strings.TrimSpace(record[i])
		})
	}
}

func separator(text string) rune {
	header, _, _ := strings.Cut(text, "\n")
	best := ','
	for _, c := range ";\t" {
		if strings.Count(header, string(c)) > strings.Count(header, string(best)) {
			best = c
		}
	}
	return best
}

// column is a header in the form in which spellings are equal, with the commonest synonyms
// made ours.
func column(h string) string {
	n := strings.ToLower(strings.NewReplacer(" ", "", "-", "", "_", "").Replace(h))
	if ours, ok := synonyms[n]; ok {
		return ours
	}
	return n
}

var synonyms = map[string]string{
	"phone": "telephone", "mobile": "telephone", "emailaddress": "email", "mail": "email",
	"visitorid": "customerkey", "customerkeys": "customerkey",
}

// inputColumns are the identifiers of a subject, by normal column name.
var inputColumns = map[vendors.Field]string{
	vendors.Email: "email", vendors.OtherEmail: "otheremail",
	vendors.Telephone: "telephone", vendors.OtherTelephone: "othertelephone",
	vendors.CustomerKey: "customerkey", vendors.AccountNumber: "accountnumber",
}

func readSubjects(r io.Reader) ([]*subject, error) {
	var all []*subject
	err := table(r, func(line int, cell func(string) string) {
		s := &subject{id: cell("subjectid"), line: line, values: make(map[vendors.Field][]string)}
		for f, name := range inputColumns {
			values := []string{cell(name)}
			if f == vendors.CustomerKey {
				values = list(values[0])
			}
			if values = nonEmpty(values); len(values) > 0 {
				s.values[f] = values
			}
		}
		s.vendors = list(cell("vendors"))
		all = append(all, s)
	})
	return all, err
}

func readReport(r io.Reader) ([]*row, error) {
	var all []*row
	err := table(r, func(_ int, raw func(string) string) {
		cell := func(name string) string { return armed(raw(name)) }
		r := &row{
			batch: cell("batch"), line: cell("line"), subject: cell("subjectid"), vendor: cell("vendor"),
			masked: cell("identifier"), state: cell("state"), evidence: cell("evidence"),
			reason: cell("reason"), message: cell("message"), attempts: cell("attempts"),
			numbers: list(cell("recordrefs")), references: list(cell("reference")),
		}
		for f, name := range inputColumns {
			if column(cell("identifierkind")) == name {
				r.field = f
			}
		}
		all = append(all, r)
	})
	return all, err
}

// armed undoes the defusing of a cell that a spreadsheet would run as a formula.
func armed(cell string) string {
	if rest, ok := strings.CutPrefix(cell, "'"); ok && rest != "" && strings.IndexByte("=+-@\t\r\n|", rest[0]) >= 0 {
		return rest
	}
	return cell
}

// list splits a cell that may hold several values.
func list(cell string) []string {
	return strings.FieldsFunc(cell, func(r rune) bool { return r == ';' || r == ',' || r == ' ' })
}

func nonEmpty(values []string) []string {
	var out []string
	for _, v := range values {
		if v != "" {
			out = append(out, v)
		}
	}
	return out
}

// Files are what was given to expunge and what it wrote.
type Files struct {
	subjects []*subject
	rows     []*row
}

// Open reads the input files (.gz too) and the report.
func Open(report string, subjects ...string) (*Files, error) {
	var f Files
	for _, path := range subjects {
		err := open(path, func(r io.Reader) error {
			more, err := readSubjects(r)
			f.subjects = append(f.subjects, more...)
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	err := open(report, func(r io.Reader) (err error) {
		f.rows, err = readReport(r)
		return err
	})
	return &f, err
}

func open(path string, read func(io.Reader) error) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	var r io.Reader = file
	if strings.HasSuffix(path, ".gz") {
		z, err := gzip.NewReader(file)
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		defer z.Close()
		r = z
	}
	if err := read(r); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}
