package intake

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"

	"expunge/vendors"
)

var testNow = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)

func testOptions() Options {
	return Options{
		Vendors:       []string{"customergauge", "Voyado-SE", "acqueon"},
		DefaultRegion: "SE",
		Now:           func() time.Time { return testNow },
	}
}

// readAll reads text to its end. Rejects lose their Record, which has tests of its own.
func readAll(t *testing.T, text string, o Options) (rows []*Row, rejects []*Reject, err error) {
	t.Helper()
	r, err := New(strings.NewReader(text), "people.csv", o)
	if err != nil {
		return nil, nil, err
	}
	rows, rejects, err = drain(t, r)
	for _, reject := range rejects {
		reject.Record = nil
	}
	return rows, rejects, err
}

func drain(t testing.TB, r *Reader) (rows []*Row, rejects []*Reject, err error) {
	t.Helper()
	for {
		row, reject, err := r.Next()
		switch {
		case err == io.EOF:
			return rows, rejects, nil
		case err != nil:
			return rows, rejects, err
		case (row == nil) == (reject == nil):
			t.Fatalf("Next gave row %v and reject %v", row, reject)
		case row != nil:
			rows = append(rows, row)
		default:
			rejects = append(rejects, reject)
		}
	}
}

// one reads a file of one data row, given as column=value pairs.
func one(t *testing.T, cells ...string) (*Row, *Reject) {
	t.Helper()
	var header, row []string
	for i := 0; i < len(cells); i += 2 {
		header, row = append(header, cells[i]), append(row, cells[i+1])
	}
	var b strings.Builder
	w := csv.NewWriter(&b)
	if err := w.WriteAll([][]string{header, row}); err != nil {
		t.Fatal(err)
	}
	rows, rejects, err := readAll(t, b.String(), testOptions())
	if err != nil || len(rows)+len(rejects) != 1 {
		t.Fatalf("%d rows, %d rejects, %v", len(rows), len(rejects), err)
	}
	if len(rows) == 1 {
		return rows[0], nil
	}
	return nil, rejects[0]
}

// A full row must arrive with every cell in its field, in field order: a mixed-up column
// asks a vendor to erase by the wrong value.
func TestFullRow(t *testing.T) {
	text := "vendors,customer_id,region,received_at,comments,customer_name,agent_id,call_id,account_number,customer_key,other_telephone,telephone,other_email,email,subject_id\n" +
		`"acqueon;voyado-se; acqueon",C-17,eu,2026-11-02T10:00:00+01:00," two` + "\n" + `lines ",Åsa Öberg,a7,c9,934|1|475,"k2; k1;;k2",08-123 45,+46 70 174 06 05,b@example.com,  a@example.com ,DSR-1` + "\n"
	rows, rejects, err := readAll(t, text, testOptions())
	if err != nil || len(rejects) > 0 {
		t.Fatal(err, rejects)
	}
	want := []*Row{{
		Line: 2, SubjectID: "DSR-1",
		Subject: vendors.Subject{
			{Field: vendors.Email, Text: "a@example.com"},
			{Field: vendors.OtherEmail, Text: "b@example.com"},
			{Field: vendors.Telephone, Text: "+46 70 174 06 05"},
			{Field: vendors.OtherTelephone, Text: "08-123 45"},
			{Field: vendors.CustomerKey, Text: "k2"},
			{Field: vendors.CustomerKey, Text: "k1"},
			{Field: vendors.AccountNumber, Text: "934|1|475"},
			{Field: vendors.CallID, Text: "c9"},
			{Field: vendors.AgentID, Text: "a7"},
			{Field: vendors.CustomerName, Text: "Åsa Öberg"},
			{Field: vendors.Comments, Text: "two\nlines"},
			{Field: vendors.Region, Text: "eu"},
			{Field: vendors.CustomerID, Text: "C-17"},
		},
		ReceivedAt: time.Date(2026, 11, 2, 9, 0, 0, 0, time.UTC),
		Vendors:    []string{"Voyado-SE", "acqueon"},
	}}
	if d := cmp.Diff(want, rows); d != "" {
		t.Error(d)
	}
}

// Each rule must refuse what it is for, name the column and the reason, and pass what is
// merely unusual: too strict a rule leaves a person's request undone.
func TestRules(t *testing.T) {
	keys := func(n int) string {
		var all []string
		for i := range n {
			all = append(all, fmt.Sprintf("key-%d", i))
		}
		return strings.Join(all, ";")
	}
	for _, c := range []struct {
		column, value string
		reason        vendors.Reason // "": good
	}{
		{"subject_id", "", MissingSubjectID},
		{"subject_id", " \t", MissingSubjectID},
		{"subject_id", "DSR-2026-0001", ""},
		{"subject_id", "DSR 17/4 (urgent)", ""},
		{"subject_id", "4821973", ""},
		{"subject_id", "1000482197", ""},
		{"subject_id", "0000482197", ""},
		{"subject_id", "2026-000123", ""},
		{"subject_id", "2026-11-0001", ""},
		{"subject_id", "ärende-5", ""},
		{"subject_id", "3f0c1c9e-1b7a-4f43-9f0e-0a6b7f1f6b11", ""},
		{"subject_id", strings.Repeat("x", 128), ""},
		{"subject_id", strings.Repeat("x", 129), BadSubjectID},
		{"subject_id", "DSR\n1", BadSubjectID},
		{"subject_id", "DSR\x001", BadSubjectID},
		{"subject_id", "DSR\u200b1", BadSubjectID},
		{"subject_id", "jane@example.com", BadSubjectID},
		{"subject_id", "+46 70 174 06 05", BadSubjectID},
		{"subject_id", "+46701740605", BadSubjectID},
		{"subject_id", "0701740605", BadSubjectID},
		{"subject_id", "070-174 06 05", BadSubjectID},
		{"subject_id", "0046701740605", BadSubjectID},
		{"subject_id", "202-555-0123", BadSubjectID},
		{"subject_id", "1-202-555-0123", BadSubjectID},
		{"subject_id", "(202) 555-0123", BadSubjectID},

		{"email", "a@example.com", ""},
		{"email", "Jane.O'Neil+x_y@sub.example.org", ""},
		{"email", "åsa@exämple.example.com", ""},
		{"email", "用户@例子.example.com", ""},
		{"email", "a@xn--exmple-cua.example.com", ""},
		{"email", "\u00a0a@example.com\u00a0", ""},
		{"email", strings.Repeat("l", 64) + "@example.com", ""},
		{"email", strings.Repeat("l", 65) + "@example.com", BadEmail},
		{"email", "a@" + strings.Repeat("d.", 127) + "com", BadEmail},
		{"email", "a@" + strings.Repeat("d", 64) + ".com", BadEmail},
		{"email", "example.com", BadEmail},
		{"email", "@example.com", BadEmail},
		{"email", "a@", BadEmail},
		{"email", "a@example", BadEmail},
		{"email", "a@127.0.0.1", BadEmail},
		{"email", "a@[127.0.0.1]", BadEmail},
		{"email", "a@example..com", BadEmail},
		{"email", "a@.example.com", BadEmail},
		{"email", "a@example.com.", BadEmail},
		{"email", "a@-example.com", BadEmail},
		{"email", "a@example-.com", BadEmail},
		{"email", "a@exam_ple.com", BadEmail},
		{"email", ".a@example.com", BadEmail},
		{"email", "a.@example.com", BadEmail},
		{"email", "a..b@example.com", BadEmail},
		{"email", "a b@example.com", BadEmail},
		{"email", "a@b@example.com", BadEmail},
		{"email", `"a b"@example.com`, BadEmail},
		{"email", "Jane <a@example.com>", BadEmail},
		{"email", "mailto:a@example.com", BadEmail},
		{"email", "a@example.com;b@example.com", BadEmail},
		{"email", "a@example.com,b@example.com", BadEmail},
		{"email", "a\u200b@example.com", BadEmail},
		{"email", "a@exam\u200bple.com", BadEmail},
		{"email", "a\x00@example.com", BadEmail},
		{"email", "a\n@example.com", BadEmail},
		{"email", "a\ufffd@example.com", BadEmail},
		{"other_email", "nobody", BadEmail},

		{"telephone", "+1-202-555-0123", ""},
		{"telephone", "+46 (0)70 174 06 05", ""},
		{"telephone", "(+44) 7700.900/123", ""},
		{"telephone", "0701740605", ""},
		{"telephone", "12345", ""},
		{"telephone", "12345678901234567890", ""},
		{"telephone", "1234", BadTelephone},
		{"telephone", "123456789012345678901", BadTelephone},
		{"telephone", "+-()", BadTelephone},
		{"telephone", "46+701740605", BadTelephone},
		{"telephone", "++46701740605", BadTelephone},
		{"telephone", "070-CALL-ME", BadTelephone},
		{"telephone", "4.67018E+10", BadTelephone},
		{"telephone", "12025550101.0", BadTelephone}, // 120255501010 may be somebody else's
		{"telephone", "+12025550101.00", BadTelephone},
		{"telephone", "12025550101.5", BadTelephone},
		{"telephone", "12025550101.000", BadTelephone},
		{"telephone", "+46.701740605", ""},
		{"telephone", "01.23.45.67.00", ""},
		{"telephone", "070 174.00", ""},
		{"telephone", "070 174 06 05 x12", BadTelephone},
		{"telephone", "0701740605;0701740606", BadTelephone},
		{"telephone", "٠٧٠١٧٤٠٦٠٥", BadTelephone},
		{"telephone", "070\n1740605", BadTelephone},
		{"other_telephone", "n/a", BadTelephone},

		{"customer_key", "3f0c1c9e-1b7a-4f43-9f0e-0a6b7f1f6b11", ""},
		{"customer_key", "jane@example.com", ""}, // Voyado warns of it, and takes it
		{"customer_key", strings.Repeat("k", 256), ""},
		{"customer_key", strings.Repeat("k", 257), BadIdentifier},
		{"customer_key", "a\nb", BadIdentifier},
		{"customer_key", "a;b\x00", BadIdentifier},
		{"customer_key", "a\u200bb", BadIdentifier},
		{"customer_key", "a\ufffdb", BadIdentifier},
		{"customer_key", "nyckel-å", ""},
		{"customer_key", keys(100), ""},
		{"customer_key", keys(101), TooManyIdentifiers},
		{"customer_key", strings.Repeat("same;", 200), ""},
		{"account_number", "934|1|475|0|0|44|59", ""},
		{"account_number", "934\t1", BadIdentifier},
		{"account_number", "9.34E+15", BadIdentifier},
		{"account_number", "9,34E+15", BadIdentifier},
		{"customer_key", "12E+10", BadIdentifier},
		{"customer_key", "4.56e+11;other", BadIdentifier},
		{"customer_key", "12345.0", BadIdentifier},
		{"customer_key", "1e10", ""}, // a spreadsheet writes a point or a sign
		{"customer_key", "1.0E10", BadIdentifier},
		{"customer_key", "1,5e3", BadIdentifier},
		{"customer_key", "12e-3", ""},
		{"customer_key", "12345.00", BadIdentifier},
		{"customer_key", "12345,00", BadIdentifier},
		{"customer_key", "12345.67", ""},
		{"account_number", "12.34.56", ""},
		{"customer_key", "E+5", ""},
		{"customer_key", "v1.0", ""},
		{"customer_key", "key-1.2E+x", ""},
		{"call_id", strings.Repeat("1", 257), BadIdentifier},
		{"agent_id", "a\x7fb", BadIdentifier},
		{"region", "e\x00u", BadIdentifier},
		{"customer_id", "c\x00", BadIdentifier},

		{"customer_name", `=HYPERLINK("http://example.com")`, ""},
		{"customer_name", "Zoë 👩‍🚀", ""},
		{"customer_name", "bell\x07", BadText},
		{"customer_name", "\u0091quoted\u0092", BadText},
		{"comments", "tab\tand\nline\r", ""},
		{"comments", strings.Repeat("x", 4096), ""},
		{"comments", strings.Repeat("x", 4097), BadText},

		{"received_at", "2026-11-01", ""},
		{"received_at", "2026-11-01T23:59:59.5+02:00", ""},
		{"received_at", "2026-11-21T12:00:00Z", ""},
		{"received_at", "2026-11-21T12:00:01Z", BadDate},
		{"received_at", "2026-02-30", BadDate},
		{"received_at", "01/11/2026", BadDate},
		{"received_at", "2026-11-01 10:00:00", ""},
		{"received_at", "45962", BadDate},
		{"received_at", "0001-01-01T00:00:00Z", BadDate},
		{"received_at", "1999-12-31", BadDate},

		{"channel", "Web form (v2)", ""},
		{"channel", "e-mail", ""},
		{"channel", "jane@example.com", BadChannel},
		{"channel", "0170 174", BadChannel},
		{"channel", strings.Repeat("a", 33), BadChannel},
		{"channel", "web\u200bform", BadChannel},

		{"vendors", "customergauge", ""},
		{"vendors", "ACQUEON ; voyado-se;", ""},
		{"vendors", "acqueon;salesforce", UnknownVendor},
		{"vendors", ";", UnknownVendor},
	} {
		t.Run(fmt.Sprintf("%s=%.40q", c.column, c.value), func(t *testing.T) {
			cells := []string{"subject_id", "DSR-1", "account_number", "1|2"}
			for i := 0; ; i += 2 {
				if i == len(cells) {
					cells = append(cells, c.column, c.value)
				}
				if cells[i] == c.column {
					cells[i+1] = c.value
					break
				}
			}
			row, reject := one(t, cells...)
			switch {
			case c.reason == "" && reject != nil:
				t.Fatalf("rejected: %s %s", reject.Reason, reject.Message)
			case c.reason == "":
				return
			case row != nil:
				t.Fatal("taken in")
			}
			if reject.Reason != c.reason || reject.Column != c.column || Reasons[reject.Reason] == "" {
				t.Errorf("rejected as %s, column %q", reject.Reason, reject.Column)
			}
			if id := reject.SubjectID; c.column == "subject_id" && id != "" || c.column != "subject_id" && id != "DSR-1" {
				t.Errorf("SubjectID is %q", id)
			}
			message := strings.ReplaceAll(strings.ReplaceAll(reject.Message, "name@example.com", ""), `"n/a", which is no value`, "")
			if v := strings.TrimSpace(c.value); len(v) > 1 && strings.Contains(message, v) {
				t.Errorf("the message quotes the cell: %s", reject.Message)
			}
		})
	}
}

// A subject_id that is the person's own telephone or name would stand in every report.
func TestSubjectIDOfThePerson(t *testing.T) {
	for _, cells := range [][]string{
		{"subject_id", "46701740605", "telephone", "+46 70 174 06 05"},
		{"subject_id", "12345", "email", "a@example.com", "other_telephone", "123-45"},
		{"subject_id", "jane doe", "email", "a@example.com", "customer_name", "Jane Doe"},
	} {
		if _, reject := one(t, cells...); reject == nil || reject.Reason != BadSubjectID || reject.SubjectID != "" {
			t.Errorf("%q: %+v", cells, reject)
		}
	}
}

// A row without anything that a vendor knows a person by is no request that could be done.
func TestNoIdentifiers(t *testing.T) {
	for _, key := range []string{"", ";", " ; "} {
		_, reject := one(t, "subject_id", "DSR-1", "email", " ", "customer_key", key, "customer_name", "Jane", "call_id", "7")
		if reject == nil || reject.Reason != NoIdentifiers || reject.SubjectID != "DSR-1" {
			t.Errorf("key %q: %+v", key, reject)
		}
	}
}

// Real files come in every dialect. Each of these must read as the same two people, and the
// second at the right line.
func TestDialects(t *testing.T) {
	const (
		id1, id2 = "DSR-1", "DSR-2"
		a, b     = "a@example.com", "b@example.com"
	)
	for _, c := range []struct {
		name, text string
		line       int // of the second row
	}{
		{"plain", "subject_id,email\nDSR-1,a@example.com\nDSR-2,b@example.com\n", 3},
		{"no last newline", "subject_id,email\nDSR-1,a@example.com\nDSR-2,b@example.com", 3},
		{"CRLF", "subject_id,email\r\nDSR-1,a@example.com\r\nDSR-2,b@example.com\r\n", 3},
		{"semicolon", "subject_id;email\nDSR-1;a@example.com\nDSR-2;b@example.com\n", 3},
		{"tab", "subject_id\temail\nDSR-1\ta@example.com\nDSR-2\tb@example.com\n", 3},
		{"semicolon, commas in a header", "\"Notes, if any, short, please\";subject_id;email\n;DSR-1;a@example.com\n;DSR-2;b@example.com\n", 3},
		{"BOM", "\ufeffsubject_id,email\nDSR-1,a@example.com\nDSR-2,b@example.com\n", 3},
		{"BOM and quotes", "\ufeff\"subject_id\",\"email\"\nDSR-1,a@example.com\nDSR-2,b@example.com\n", 3},
		{"sep line", "sep=;\r\nsubject_id;email\r\nDSR-1;a@example.com\r\nDSR-2;b@example.com\r\n", 4},
		{"empty lines", "\n\nsubject_id,email\n\nDSR-1,a@example.com\n\r\n\nDSR-2,b@example.com\n\n", 8},
		{"header on two lines", "subject_id,\"e-\nmail\"\nDSR-1,a@example.com\nDSR-2,b@example.com\n", 4},
		{"quoted newlines", "subject_id,email,comments\nDSR-1,a@example.com,\"x\n\r\n\"\"y\"\"\"\nDSR-2,b@example.com,\n", 5},
		{"synonyms", "Ticket,E-Mail Address\nDSR-1,a@example.com\nDSR-2,b@example.com\n", 3},
		{"case, spaces, hyphens", " SUBJECT-id ,E_Mail\nDSR-1,a@example.com\nDSR-2,b@example.com\n", 3},
		{"trailing delimiter", "subject_id,email,\nDSR-1,a@example.com,\nDSR-2,b@example.com,\n", 3},
	} {
		t.Run(c.name, func(t *testing.T) {
			rows, rejects, err := readAll(t, c.text, testOptions())
			if err != nil || len(rejects) > 0 || len(rows) != 2 {
				t.Fatalf("%d rows, %d rejects, %v", len(rows), len(rejects), err)
			}
			if rows[0].SubjectID != id1 || rows[0].Subject.Get(vendors.Email) != a ||
				rows[1].SubjectID != id2 || rows[1].Subject.Get(vendors.Email) != b || rows[1].Line != c.line {
				t.Errorf("%+v, %+v", rows[0], rows[1])
			}
		})
	}
}

// One bad row must not cost the others, whatever is wrong with it.
func TestBadRowThenGood(t *testing.T) {
	const header, good = "subject_id,email,comments\n", "DSR-2,b@example.com,\n"
	for _, c := range []struct {
		name, row string
		reason    vendors.Reason
		record    []string
	}{
		{"short", "DSR-1,a@example.com\n", RaggedRow, []string{"DSR-1", "a@example.com"}},
		{"long", "DSR-1,a@example.com,x,y\n", RaggedRow, []string{"DSR-1", "a@example.com", "x", "y"}},
		{"only quotes", ",\"\"\"\",\n", MissingSubjectID, []string{"", `"`, ""}},
		{"Latin-1", "DSR-1,a@example.com,\xe5sa\n", NotUTF8, []string{"DSR-1", "a@example.com", "\xe5sa"}},
		{"Latin-1 and short", "DSR-1,\xe5sa\n", NotUTF8, []string{"DSR-1", "\xe5sa"}},
		{"Latin-1 id", "\xe5,a@example.com,\n", NotUTF8, []string{"\xe5", "a@example.com", ""}},
		{"zero byte", "DSR-1,a@example.com,x\x00\n", BadText, []string{"DSR-1", "a@example.com", "x\x00"}},
		{"bare quote", "DSR-1,a@example.com,5\" screen\n", BadQuotes, []string{`DSR-1,a@example.com,5" screen`}},
		{"text after a quote", "DSR-1,\"a\"@example.com,x\r\n", BadQuotes, []string{`DSR-1,"a"@example.com,x`}},
		{"bare quote, then a quoted cell", "DSR-1,a\"@example.com,\"x\"\n", BadQuotes, []string{`DSR-1,a"@example.com,"x"`}},
		{"untrimmed record", " DSR-1 , nobody ,x\n", BadEmail, []string{" DSR-1 ", " nobody ", "x"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, err := New(strings.NewReader(header+c.row+good), "people.csv", testOptions())
			if err != nil {
				t.Fatal(err)
			}
			rows, rejects, err := drain(t, r)
			if err != nil || len(rows) != 1 || len(rejects) != 1 {
				t.Fatalf("%d rows, %d rejects, %v", len(rows), len(rejects), err)
			}
			if r.Rows() != 2 || rows[0].SubjectID != "DSR-2" || rows[0].Line != 3 {
				t.Errorf("good row %+v", rows[0])
			}
			if rejects[0].Reason != c.reason || rejects[0].Line != 2 {
				t.Errorf("rejected as %s at line %d", rejects[0].Reason, rejects[0].Line)
			}
			if d := cmp.Diff(c.record, rejects[0].Record); d != "" {
				t.Error(d)
			}
		})
	}
}

// Rows without any cell filled, as spreadsheets leave them below the last one, are no rows.
func TestEmptyRows(t *testing.T) {
	var log bytes.Buffer
	o := testOptions()
	o.Log = slog.New(slog.NewTextHandler(&log, nil))
	r, err := New(strings.NewReader("subject_id;email;comments\r\n;;\r\nDSR-1;a@example.com;\r\n   \r\n;\r\n\"\"; ;\u00a0\r\n;;;;\r\n\t\r\nDSR-2;b@example.com;\r\n;;\r\n"), "people.csv", o)
	if err != nil {
		t.Fatal(err)
	}
	rows, rejects, err := drain(t, r)
	if err != nil || len(rejects) > 0 || len(rows) != 2 || r.Rows() != 2 || rows[1].Line != 9 {
		t.Errorf("%+v %+v %v", rows, rejects, err)
	}
	if !strings.Contains(log.String(), "passed over") || !strings.Contains(log.String(), "rows=7") {
		t.Errorf("%s", log.String())
	}
}

// A header without rows is worth a word: the export may have found nobody, or been cut off.
func TestNoRows(t *testing.T) {
	var log bytes.Buffer
	o := testOptions()
	o.Log = slog.New(slog.NewTextHandler(&log, nil))
	for _, text := range []string{"subject_id,email", "subject_id,email\n", "subject_id,email\n,\n"} {
		log.Reset()
		if rows, rejects, err := readAll(t, text, o); len(rows)+len(rejects) > 0 || err != nil {
			t.Errorf("%q: %v %v %v", text, rows, rejects, err)
		}
		if n := strings.Count(log.String(), "has a header and no rows"); n != 1 {
			t.Errorf("%q: %s", text, log.String())
		}
	}
}

// A file whose last row may be half written, or which is not any more what it was, is
// refused as a whole: half of an address can be somebody else's.
func TestCutOffFiles(t *testing.T) {
	const text = "subject_id,email\nDSR-1,a@example.com\nDSR-2,b@example.co"
	for _, c := range []struct {
		name, text string
		age        time.Duration
		during     func(path string) error // while it is read
		want       error
	}{
		{"no line end, old", text, time.Hour, nil, nil},
		{"no line end, young", text, 30 * time.Second, nil, errCutOff},
		{"no line end, from the future", text, -30 * time.Second, nil, errCutOff},
		{"line end, young", text + "\n", 0, nil, nil},
		{"header only, young", "subject_id,email", 0, nil, errCutOff},
		{"grows", text + "\n", time.Hour, func(path string) error {
			f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
			if err == nil {
				_, err = f.WriteString("DSR-3,c@example.com\n")
				f.Close()
			}
			return err
		}, errChanged},
		{"shrinks", text + "\n", time.Hour, func(path string) error { return os.Truncate(path, 30) }, errChanged},
		{"is written over", text + "\n", time.Hour, func(path string) error { return os.Chtimes(path, testNow, testNow) }, errChanged},
		{"is replaced", text + "\n", time.Hour, os.Remove, nil}, // what was opened is whole
	} {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "people.csv")
			if err := os.WriteFile(path, []byte(c.text), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Chtimes(path, testNow.Add(-c.age), testNow.Add(-c.age)); err != nil {
				t.Fatal(err)
			}
			r, err := Open(path, nil, testOptions())
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			if c.during != nil {
				if err := c.during(path); err != nil {
					t.Fatal(err)
				}
			}
			_, _, err = drain(t, r)
			var broken *BrokenFileError
			if !errors.Is(err, c.want) || err != nil && (!errors.As(err, &broken) || broken.Hint == "" || r.Digest() != [32]byte{}) {
				t.Errorf("got %v, want %v", err, c.want)
			}
		})
	}
	// A pipe has no age, and a packed file says itself where it ends.
	var log bytes.Buffer
	o := testOptions()
	o.Log = slog.New(slog.NewTextHandler(&log, nil))
	if _, _, err := readAll(t, text, o); err != nil || !strings.Contains(log.String(), "no line end") {
		t.Errorf("pipe: %v %s", err, log.String())
	}
	path := filepath.Join(t.TempDir(), "people.csv.gz")
	if err := errors.Join(os.WriteFile(path, pack(t, text), 0o600), os.Chtimes(path, testNow, testNow)); err != nil {
		t.Fatal(err)
	}
	r, err := Open(path, nil, testOptions())
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if rows, _, err := drain(t, r); err != nil || len(rows) != 2 {
		t.Errorf("packed: %d rows, %v", len(rows), err)
	}
}

// A quote that swallows lines and then is misplaced rejects all of them, and says which.
func TestSwallowedLinesAreNamed(t *testing.T) {
	_, rejects, err := readAll(t, "subject_id,email\nDSR-1,\"a@example.com\nDSR-2,\"b@example.com\"\nDSR-3,c@example.com\n", testOptions())
	if err != nil || len(rejects) != 1 || rejects[0].Reason != BadQuotes || !strings.Contains(rejects[0].Message, "line 3") {
		t.Errorf("%+v %v", rejects, err)
	}
}

// What cannot be read on ends the file with the line at fault; no later row may come out.
func TestBrokenFiles(t *testing.T) {
	const start = "subject_id,email,comments\nDSR-1,a@example.com,\"two\nlines\"\n\n"
	packed := pack(t, start+strings.Repeat("DSR-2,b@example.com,x\n", 1000))
	for _, c := range []struct {
		name string
		in   io.Reader
		line int
		want error
	}{
		{"quote open to the end", strings.NewReader(start + "DSR-2,b@example.com,\"x\nDSR-3,c@example.com,\n"), 5, errQuoteOpen},
		{"quote open, no newline", strings.NewReader(start + "DSR-2,\"b@example.com"), 5, errQuoteOpen},
		{"quote open, doubled quote", strings.NewReader(start + "DSR-2,\"b\"\""), 5, errQuoteOpen},
		{"quote open, empty lines", strings.NewReader(start + "DSR-2,\"b\n\n\n"), 5, errQuoteOpen},
		{"bare quote before an open one", strings.NewReader(start + "DSR-2,b\",\"x\nDSR-3,c@example.com,\"\n"), 5, errQuoteOpen},
		{"row over the limit", strings.NewReader(start + "DSR-2,b@example.com," + strings.Repeat("x", 2*MaxRow) + "\n"), 5, errRowTooLong},
		{"quoted row over the limit", strings.NewReader(start + "DSR-2,b@example.com,\"" + strings.Repeat("x\n", MaxRow) + "\"\n"), 5, errRowTooLong},
		{"bare quote in a row over the limit", strings.NewReader(start + "DSR-2,b\"," + strings.Repeat("x", 2*MaxRow) + "\n"), 5, errRowTooLong},
		{"disk error", io.MultiReader(strings.NewReader(start+"DSR-2,b\"@exam"), iotest.ErrReader(os.ErrDeadlineExceeded)), 5, os.ErrDeadlineExceeded},
		{"cut gzip", bytes.NewReader(packed[:len(packed)-9]), 0, io.ErrUnexpectedEOF},
		{"gzip with a wrong sum", bytes.NewReader(append(bytes.Clone(packed[:len(packed)-8]), make([]byte, 8)...)), 0, gzip.ErrChecksum},
		{"gzip with a tail", bytes.NewReader(append(bytes.Clone(packed), "garbage, garbage"...)), 0, gzip.ErrHeader},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, err := New(c.in, "people.csv", testOptions())
			if err != nil {
				t.Fatal(err)
			}
			_, rejects, err := drain(t, r)
			var broken *BrokenFileError
			if !errors.As(err, &broken) || !errors.Is(err, c.want) || c.line != 0 && broken.Line != c.line {
				t.Fatalf("got %v", err)
			}
			if len(rejects) > 0 {
				t.Errorf("rejects %+v", rejects[0])
			}
			if _, _, again := r.Next(); again != err {
				t.Errorf("then %v", again)
			}
			if strings.Contains(err.Error(), "example.com") {
				t.Errorf("the error quotes the row: %v", err)
			}
			if r.Digest() != [32]byte{} {
				t.Error("a digest of half a file")
			}
		})
	}
}

// countingReader makes text without end and counts what is taken.
type countingReader struct {
	pattern string
	n       int
}

func (c *countingReader) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = c.pattern[(c.n+i)%len(c.pattern)]
	}
	c.n += len(p)
	return len(p), nil
}

// An unclosed quote, a cell or a line of cells without end must stop after about MaxRow
// bytes, not fill the memory.
func TestEndlessRow(t *testing.T) {
	for _, pattern := range []string{"\"x\n", "x", ",", "\n", "\r"} {
		start := "subject_id,email\nDSR-1,"
		if pattern[0] == '"' {
			start, pattern = start+`"`, pattern[1:]
		}
		endless := &countingReader{pattern: pattern}
		r, err := New(io.MultiReader(strings.NewReader(start), endless), "people.csv", testOptions())
		if err != nil {
			t.Fatal(err)
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		for err == nil {
			_, _, err = r.Next()
		}
		runtime.ReadMemStats(&after)
		if !errors.Is(err, errRowTooLong) || endless.n > MaxRow+4*bufferSize {
			t.Errorf("%q: %v after %d bytes", pattern, err, endless.n)
		}
		if used := after.TotalAlloc - before.TotalAlloc; used > 256*MaxRow {
			t.Errorf("%q: allocated %d MiB", pattern, used>>20)
		}
	}
}

func pack(t testing.TB, text string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := io.WriteString(w, text); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// The digest knows a file again whether it is read or only summed, packed or not.
func TestOpenGzipStdinAndDigest(t *testing.T) {
	text := "subject_id,email\n" + strings.Repeat("DSR-1,a@example.com\n", 10000)
	dir := t.TempDir()
	for name, content := range map[string][]byte{
		"plain.csv": []byte(text), "packed.csv.gz": pack(t, text),
		"two.gz": append(pack(t, text[:99]), pack(t, text[99:])...), // what `cat a.gz b.gz` makes
	} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		for _, p := range []string{path, "-"} {
			r, err := Open(p, bytes.NewReader(content), testOptions())
			if err != nil {
				t.Fatal(err)
			}
			rows, _, err := drain(t, r)
			if err != nil || len(rows) != 10000 || r.Rows() != 10000 {
				t.Errorf("%s as %s: %d rows, %v", name, p, len(rows), err)
			}
			sum, err := Digest(path)
			if err != nil || sum != r.Digest() || sum != sha256.Sum256(content) {
				t.Errorf("%s as %s: digests differ, %v", name, p, err)
			}
			if err := r.Close(); err != nil {
				t.Error(err)
			}
		}
	}
	if _, err := Open(filepath.Join(dir, "none.csv"), nil, Options{}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a file that is not there: %v", err)
	}
	if _, err := Open(dir, nil, Options{}); err == nil {
		t.Error("a directory was opened")
	}
	if _, err := Digest(dir); err == nil {
		t.Error("a directory has a digest")
	}
}

// A row that is kept must not change when later rows are read into the same record.
func TestRowsMayBeKept(t *testing.T) {
	var b strings.Builder
	b.WriteString("subject_id,email,customer_key\n")
	for i := range 500 {
		fmt.Fprintf(&b, "DSR-%d,p%d@example.com,k%d;l%d\n", i, i, i, i)
	}
	rows, _, err := readAll(t, b.String(), testOptions())
	if err != nil || len(rows) != 500 {
		t.Fatal(len(rows), err)
	}
	for i, row := range rows {
		want := vendors.Subject{
			{Field: vendors.Email, Text: fmt.Sprintf("p%d@example.com", i)},
			{Field: vendors.CustomerKey, Text: fmt.Sprintf("k%d", i)},
			{Field: vendors.CustomerKey, Text: fmt.Sprintf("l%d", i)},
		}
		if d := cmp.Diff(want, row.Subject); d != "" || row.SubjectID != fmt.Sprintf("DSR-%d", i) {
			t.Fatal(i, d)
		}
	}
}

// What is read into a row that has been used before is what it is alone: a vendor, a date or
// an identifier of the row before would be a request that nobody made.
func TestRowUsedAgain(t *testing.T) {
	const header = "subject_id,email,telephone,customer_key,comments,received_at,vendors\n"
	lines := []string{
		"DSR-1,a@example.com,+46701740605,k1;k2;k3,please,2026-11-01,acqueon",
		"DSR-2,b@example.com,,,,,",
		"DSR-3,c@example.com,,k4,,2026-11-01,",
		"DSR-4,d@example.com,,k5,,2026-11-31,acqueon",
		"DSR-5,e@example.com,,k5,,2026-11-31,acqueon",
		"DSR-6,f@example.com,,k5,,2026-11-01,",
		"DSR-7,g@example.com,,k5,,2026-12-24,",
		"DSR-8,,,k6;k7;k6,x,2026-11-02T10:00:00+01:00,customergauge;acqueon",
		"DSR-9,,,,only a comment,2026-11-02T10:00:00+01:00,",
		"DSR-10,h",
		"DSR-11,i@example.com,,k8,,2026-11-02T10:00:00+01:00,",
		"DSR-12,,0701740605,,,,",
	}
	r, err := New(strings.NewReader(header+strings.Join(lines, "\n")+"\n"), "people.csv", testOptions())
	if err != nil {
		t.Fatal(err)
	}
	var row Row
	for i, line := range lines {
		rows, rejects, err := readAll(t, header+strings.Repeat("\n", i)+line+"\n", testOptions())
		if err != nil {
			t.Fatal(err)
		}
		got, err := r.Read(&row)
		switch {
		case err != nil || (got == nil) != (len(rejects) == 0):
			t.Errorf("%s: %v, %v", line, got, err)
		case got != nil:
			got.Record = nil
			if d := cmp.Diff(rejects[0], got); d != "" {
				t.Error(d)
			}
		default:
			if d := cmp.Diff(rows[0], &row); d != "" {
				t.Error(d)
			}
		}
	}
	if _, err := r.Read(&row); err != io.EOF {
		t.Error(err)
	}
}

// An operator must hear once that numbers without a country are asked for as written.
func TestNationalNumbersWarnOnce(t *testing.T) {
	const text = "subject_id,telephone\nDSR-1,+46701740605\nDSR-2,0701740605\nDSR-3,0701740606\n"
	for region, want := range map[string]int{"": 1, "SE": 0} {
		var log bytes.Buffer
		o := testOptions()
		o.DefaultRegion, o.Log = region, slog.New(slog.NewTextHandler(&log, nil))
		if _, _, err := readAll(t, text, o); err != nil {
			t.Fatal(err)
		}
		if n := strings.Count(log.String(), "first_line=3"); n != want || strings.Contains(log.String(), "0701740") {
			t.Errorf("region %q: %d warnings: %s", region, n, log.String())
		}
	}
}
