package intake

import (
	"encoding/csv"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
)

// FuzzReader: whatever the bytes, reading does not panic, ends, gives each data row once and
// in order, sends none that the golden reading would refuse, gives the same when the bytes trickle in, and a file of its rejects rejects again.
func FuzzReader(f *testing.F) {
	for _, s := range []string{
		"subject_id,email\nDSR-1,a@example.com\n",
		"\ufeffsubject_id;telephone;comments\r\nDSR-1;+46701740605;\"a\r\nb\"\r\nDSR-1;\r\n",
		"sep=;\nsubject_id;customer_key\nDSR-1;\"k1;k2\"\n",
		"subject_id,email\nDSR-1,a\"b\nDSR-2,\"a\"b\nDSR-3,\"c\n\n",
		"subject_id,email,x\nDSR-1,a\",\"b\nDSR-2,\"a\"b\n",
		"subject_id,email,line,reason\nDSR-1,'+x,7,bad_email\nDSR-2,7,ragged_row\n",
		"subject_id\temail\n\xff\ta@example.com\n\n\t\n\x00\t\r\n",
		"subject_id,customer_key,account_number,telephone,email\nDSR-1,NULL,0,'1,a@b.example\nDSR-2,\"=\"\"1\"\"\",12.00,1.2E+10,'a@b.example\nDSR-3,k\u2011,#N/A,12345,a@\u0435x.example\n",
		"Vorgangsnr.;Kundenschl\xfcssel;Telefon;Eingang am\n1;k-1;12345;31.12.2025\n",
		"\xff\xfes\x00u\x00b\x00j\x00e\x00c\x00t\x00_\x00i\x00d\x00,\x00m\x00a\x00i\x00l\x00\n\x00",
		"\x1f\x8b",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		r, err := New(strings.NewReader(text), "people.csv", testOptions())
		if err != nil {
			var he *HeaderError
			var be *BrokenFileError
			if !errors.As(err, &he) && !errors.As(err, &be) {
				t.Fatalf("New: %v", err)
			}
			return
		}
		rows, rejects, err := drain(t, r)
		trickle, terr := New(iotest.OneByteReader(strings.NewReader(text)), "people.csv", testOptions())
		if terr != nil {
			t.Fatal(terr)
		}
		rows2, rejects2, err2 := drain(t, trickle)
		if d := cmp.Diff(rows, rows2) + cmp.Diff(rejects, rejects2); d != "" || (err == nil) != (err2 == nil) {
			t.Fatalf("%v, then %v: %s", err, err2, d)
		}
		lines := map[int]bool{}
		for _, row := range rows {
			if lines[row.Line] {
				t.Fatalf("row %+v", row)
			}
			if why := golden(row, testNow); why != "" {
				t.Fatalf("the golden reading refuses %q: %s", row.Subject, why)
			}
			lines[row.Line] = true
		}
		for _, reject := range rejects {
			if Reasons[reject.Reason] == "" || lines[reject.Line] || len(reject.Record) == 0 {
				t.Fatalf("reject %+v", reject)
			}
			lines[reject.Line] = true
		}
		if strings.HasPrefix(text, "\x1f\x8b") || strings.HasPrefix(text, "\xff\xfe") || strings.HasPrefix(text, "\xfe\xff") {
			return
		}
		want, broken := countRecords(text, r.comma, r.skipped)
		if err == nil && (broken || len(lines) != want) {
			t.Fatalf("%d rows of %d, broken %v", len(lines), want, broken)
		}
		if err != nil || len(rejects) == 0 {
			return
		}
		var b strings.Builder
		w := NewRejectWriter(&b, r.Header(), r.Comma())
		for _, reject := range rejects {
			if err := w.Write(reject); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Flush(); err != nil {
			t.Fatal(err)
		}
		again, err := New(strings.NewReader(b.String()), "rejects.csv", testOptions())
		if err != nil {
			t.Fatalf("the file of rejects: %v in %q", err, b.String())
		}
		rows, rejects2, err = drain(t, again)
		if err != nil || len(rows) > 0 || len(rejects2) != len(rejects) {
			t.Fatalf("the file of rejects: %d rows, %d of %d rejects, %v in %q", len(rows), len(rejects2), len(rejects), err, b.String())
		}
		for i, reject := range rejects2 {
			before := rejects[i].Record
			for j := range before { // the CSV reader takes \r\n in a cell for \n
				before[j] = strings.ReplaceAll(before[j], "\r\n", "\n")
			}
			if d := cmp.Diff(before, reject.Record); d != "" {
				t.Fatalf("record %d: %s", i, d)
			}
		}
	})
}

// FuzzCells: of whatever cells, no row is sent that the golden reading would refuse, and no
// message says what is in them.
func FuzzCells(f *testing.F) {
	for _, s := range [][5]string{
		{"DSR-1", "a@example.com", "+46701740605", "k-1;k-2", "934|1|0"}, {"1", "'a@b.example", "0046 (0)70-1", "{3f0c1c9e-1b7a-4f43-9f0e-0a6b7f1f6b11}", "12.00"},
		{"=1", "a@\u0435x.example", "\u202a12345", "3f0c1c9e\u20111b7a", "1.0E+5"}, {"#N/A", "n/a", "0000000", "NULL", "-"}, {"DSR-2", "\uff41@b.example", "1,2", "a,b", "\u201c1\u201d"},
	} {
		f.Add(s[0], s[1], s[2], s[3], s[4])
	}
	f.Fuzz(func(t *testing.T, id, email, telephone, key, account string) {
		var b strings.Builder
		w := csv.NewWriter(&b)
		if err := w.WriteAll([][]string{{"subject_id", "email", "telephone", "customer_key", "account_number"}, {id, email, telephone, key, account}}); err != nil {
			t.Fatal(err)
		}
		r, err := New(strings.NewReader(b.String()), "people.csv", testOptions())
		if err != nil {
			t.Fatalf("New: %v", err)
		}
		rows, rejects, err := drain(t, r)
		if err != nil {
			var be *BrokenFileError
			if !errors.As(err, &be) {
				t.Fatal(err)
			}
		}
		for _, row := range rows {
			if why := golden(row, testNow); why != "" {
				t.Fatalf("the golden reading refuses %q: %s", row.Subject, why)
			}
		}
		for _, reject := range rejects {
			for _, cell := range reject.Record {
				// A cell of a few characters is in any sentence by chance.
				if cell = strings.TrimSpace(cell); len(cell) > 12 && strings.Contains(reject.Message, cell) {
					t.Fatalf("the message quotes %q: %s", cell, reject.Message)
				}
			}
		}
	})
}

// countRecords counts the data rows of text with the CSV reader alone.
func countRecords(text string, comma rune, skip int) (n int, broken bool) {
	text = strings.TrimPrefix(text, "\ufeff")
	if skip > 0 {
		_, text, _ = strings.Cut(text, "\n")
	}
	cr := csv.NewReader(strings.NewReader(text))
	cr.Comma, cr.FieldsPerRecord = comma, -1
	for n = -1; ; n++ {
		cells, err := cr.Read()
		if err == nil && n >= 0 && !slices.ContainsFunc(cells, func(c string) bool { return strings.TrimSpace(c) != "" }) {
			n-- // no row
		}
		var pe *csv.ParseError
		if err == io.EOF {
			return n, false
		}
		if err != nil && !errors.As(err, &pe) {
			return n, true
		}
	}
}
