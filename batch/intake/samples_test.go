package intake

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"expunge/vendors"
)

// outline reads a file of testdata and gives a line for each row, without the values.
func outline(t *testing.T, path string, o Options) []string {
	t.Helper()
	o.Log = slog.New(slog.DiscardHandler)
	r, err := Open("../../testdata/"+path, nil, o)
	if err != nil {
		return []string{strings.ReplaceAll(err.Error(), "../../testdata/", "")}
	}
	defer r.Close()
	var lines []string
	for {
		row, reject, err := r.Next()
		switch {
		case err == io.EOF:
			return lines
		case err != nil:
			return append(lines, strings.ReplaceAll(err.Error(), "../../testdata/", ""))
		case reject != nil:
			lines = append(lines, fmt.Sprintf("%d %s %s", reject.Line, reject.SubjectID, reject.Reason))
		default:
			var fields []string
			for _, v := range row.Subject {
				fields = append(fields, v.Field.String())
			}
			lines = append(lines, fmt.Sprintf("%d %s %s", row.Line, row.SubjectID, strings.Join(fields, " ")))
		}
	}
}

// Files as other programs write them, each with what must come of it.
func TestSamples(t *testing.T) {
	for name, want := range map[string][]string{
		"excel-semicolon.csv": {"2 DSR-1 email telephone customer_key comments", "4 DSR-2 telephone"},
		"tab.tsv":             {"3 DSR-1 customer_key customer_key", "4 DSR-2 customer_key"},
		"latin1.csv":          {"2 DSR-1 email customer_name", "3  not_utf8", "4 DSR-3 email customer_name"},
		"utf16.csv":           {"2 DSR-1 email"},
		"unclosed-quote.csv": {"2 DSR-1 email comments",
			"intake/unclosed-quote.csv:3: the row that begins here cannot be read: a quote is not closed"},
		"misspelt-header.csv": {"intake/misspelt-header.csv:1: there is no column by which a vendor could know a person: " +
			"email, other_email, telephone, other_telephone, customer_key, account_number"},
		"own-headers.csv":    {"2 2026-17 email telephone"},
		"rejects-mended.csv": {"2 DSR-1 email telephone", "3 DSR-2 bad_email"},
		"packed.csv.gz":      {"2 DSR-1 email", "3 DSR-2 email"},
		"cut.csv.gz":         {"2 DSR-1 email", "intake/cut.csv.gz:3: the row that begins here cannot be read: unexpected EOF"},
	} {
		t.Run(name, func(t *testing.T) {
			o := testOptions()
			if name == "own-headers.csv" {
				o.Columns = map[string]string{"subject_id": "Ärende", "email": "Epost", "telephone": "Mobilnummer"}
			}
			if d := cmp.Diff(want, outline(t, "intake/"+name, o)); d != "" {
				t.Error(d)
			}
		})
	}
}

// The demo stands on this file: every kind of bad row must be in it, at its line.
func TestDemoFile(t *testing.T) {
	o := testOptions()
	o.Vendors = []string{"customergauge", "voyado", "acqueon"}
	var bad []string
	good := 0
	for _, line := range outline(t, "subjects.csv", o) {
		if f := strings.Fields(line); Reasons[vendors.Reason(f[len(f)-1])] != "" {
			bad = append(bad, line)
		} else {
			good++
		}
	}
	want := []string{
		"53 DSR-2026-0048 bad_email",
		"54 DSR-2026-0049 bad_email",
		"55 DSR-2026-0050 bad_telephone",
		"56 DSR-2026-0051 bad_date",
		"57 DSR-2026-0052 bad_date",
		"58  missing_subject_id",
		"59  bad_subject_id",
		"60 DSR-2026-0055 no_identifiers",
		"61 DSR-2026-0056 unknown_vendor",
		"62  ragged_row",
	}
	if d := cmp.Diff(want, bad); d != "" || good != 51 {
		t.Errorf("%d good rows; %s", good, d)
	}
}

// A warning or an error that quotes a row of the demo would quote a person.
func TestDemoFileIsNotLogged(t *testing.T) {
	var log bytes.Buffer
	o := testOptions()
	o.DefaultRegion, o.Log = "", slog.New(slog.NewTextHandler(&log, nil))
	r, err := Open("../../testdata/subjects.csv", nil, o)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	_, rejects, err := drain(t, r)
	if err != nil {
		t.Fatal(err)
	}
	for _, reject := range rejects {
		log.WriteString(reject.SubjectID + " " + reject.Message + "\n")
	}
	for _, part := range []string{"@", "202", "174 06", "Nyman", "Uhr"} {
		if strings.Contains(strings.ReplaceAll(strings.ReplaceAll(log.String(), "name@example.com", ""), "2026", ""), part) {
			t.Errorf("%q is in\n%s", part, log.String())
		}
	}
}
