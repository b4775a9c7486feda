package intake

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"

	"expunge/vendors"
)

// A header that cannot be relied on stops the file before its first row, and says where
// and what to do: a column that is silently not read leaves requests undone.
func TestHeaderErrors(t *testing.T) {
	for _, c := range []struct {
		name, text string
		columns    map[string]string
		want       []string // all in the error or its hint
	}{
		{"empty", "", nil, []string{"people.csv:1", "empty"}},
		{"only empty lines", "\n\r\n", nil, []string{"empty"}},
		{"only a BOM", "\ufeff", nil, []string{"empty"}},
		{"no subject_id", "\nemail,name\n", nil, []string{"people.csv:2", "no subject_id"}},
		{"subject_id misspelt", "subjct_id,email\n", nil, []string{"no subject_id", `columns: {subject_id: 'subjct_id'}`}},
		{"no identifier", "subject_id,name,call_id\n", nil, []string{"email, other_email, telephone", "account_number"}},
		{"email misspelt", "subject_id,E-Mail Adress\n", nil, []string{`columns: {email: 'E-Mail Adress'}`}},
		{"email of somebody", "subject_id,Requester e-mail\n", nil, []string{`columns: {email: 'Requester e-mail'}, or, if they mean nothing here, ignore_columns: ['Requester e-mail']`}},
		{"all that stops a file at once", "E-Mail-Adresse;Kundennummer;Name;;Eingang am\na@example.com;K-1;J\xfcrgen;;03.04.2025\nb@example.com;K-2;;;31.12.2025\n", nil, []string{
			"no subject_id", "have to be given some", `column "Kundennummer" (customer_key or account_number?)`, `columns: {customer_key: 'Kundennummer'}`,
			"--encoding windows-1252", "its dates cannot be read as they are: it looks like dd.mm.yyyy: write date_format: dd.mm.yyyy in the config, or --date-format dd.mm.yyyy"}},
		{"dates of which one tells the order", "subject_id,email,Kundennummer,received\nR-1,a@example.com,K-1,3/4/2025\nR-2,a@example.com,K-1,13/4/2025\n", nil, []string{"'Kundennummer'", "it looks like dd/mm/yyyy"}},
		{"dates that can be two", "subject_id,email,Kundennummer,received\nR-1,a@example.com,K-1,3/4/2025\n", nil, []string{"'Kundennummer'", "it may be dd/mm/yyyy or mm/dd/yyyy"}},
		{"other delimiter", "subject_id|email\nDSR-1|a@example.com\n", nil, []string{"no subject_id", "have | between them"}},
		{"same header twice", "subject_id,email,comments,Email\n", nil, []string{"column 4", `"email"`, `"Email"`, "both email"}},
		{"two synonyms", "subject_id,phone,mobile\n", nil, []string{"column 3", "both telephone", `columns: {other_telephone: 'mobile'}`}},
		{"config names no header of the file", "subject_id,telephone\n", map[string]string{"email": "Work mail"}, []string{`"Work mail"`, "as email"}},
		{"config names a header that is there twice", "subject_id,Work mail,work-mail\n", map[string]string{"email": "Work mail"}, []string{"both email"}},
		{"config names no column of ours", "subject_id,email\n", map[string]string{"emial": "email"}, []string{`"emial"`, "other_telephone"}},
		{"config names one header twice", "subject_id,email\n", map[string]string{"email": "x", "comments": "X"}, []string{"both comments and email"}},
		{"config names an empty header", "subject_id,email\n", map[string]string{"email": " - "}, []string{"no header for email"}},
		{"carriage returns", "subject_id,email\rR-1,Jane Doe\r", nil, []string{"carriage returns", "line ends"}},
		{"UTF-16 without BOM", "s\x00u\x00b\x00j\x00", nil, []string{"zero bytes", "encoding: utf-16le"}},
		{"workbook", "PK\x03\x04\x14\x00", nil, []string{"workbook"}},
		{"old workbook", "\xd0\xcf\x11\xe0\xa1\xb1", nil, []string{"old workbook"}},
		{"Latin-1", "subject_id,email,fr\xe5ga\n", nil, []string{"column 3", "not UTF-8", "looks like windows-1252", "--encoding windows-1252"}},
		{"quote not closed", "subject_id,\"email\nDSR-1,a@example.com\n", nil, []string{"people.csv:1", "quote"}},
		{"quote misplaced", "subject_id,e\"mail\n", nil, []string{"quote"}},
		{"endless", "subject_id,email" + strings.Repeat(",x", bufferSize), nil, []string{"64 KiB"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := testOptions()
			o.Columns = c.columns
			_, err := New(strings.NewReader(c.text), "people.csv", o)
			var he *HeaderError
			if !errors.As(err, &he) {
				t.Fatalf("got %v", err)
			}
			for _, w := range c.want {
				if !strings.Contains(he.Error()+" "+he.Hint, w) {
					t.Errorf("%q is not in %q, hint %q", w, he.Error(), he.Hint)
				}
			}
		})
	}
}

// A file without a header has a person where the header should be: no error and no warning
// may quote that.
func TestHeaderlessFileIsNotQuoted(t *testing.T) {
	var log bytes.Buffer
	o := testOptions()
	o.Log = slog.New(slog.NewTextHandler(&log, nil))
	_, err := New(strings.NewReader("DSR-1,jane@example.com,+46 70 174 06 05\n"), "people.csv", o)
	var he *HeaderError
	if !errors.As(err, &he) {
		t.Fatal(err)
	}
	_, err = New(strings.NewReader("subject_id,email,emailx@example.com,0701740605\nDSR-1,a@example.com,,\n"), "people.csv", o)
	var of *HeaderError
	if !errors.As(err, &of) {
		t.Fatal(err)
	}
	o.IgnoreColumns = []string{"emailx@example.com"}
	if _, err := New(strings.NewReader("subject_id,email,emailx@example.com,0701740605\nDSR-1,a@example.com,,\n"), "people.csv", o); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{he.Error() + he.Hint, of.Error() + of.Hint, log.String()} {
		if strings.Contains(text, "example.com") || strings.Contains(text, "174") {
			t.Error(text)
		}
	}
}

// `columns` goes before the known names, in both directions.
func TestConfiguredColumns(t *testing.T) {
	o := testOptions()
	o.Columns = map[string]string{"email": "Work mail", "customer_key": "E-Mail", "subject_id": "id"}
	var log bytes.Buffer
	o.Log = slog.New(slog.NewTextHandler(&log, nil))
	rows, _, err := readAll(t, "ticket;id;work_mail;email;mail\nx;DSR-1;a@example.com;k-1;b@example.com\n", o)
	if err != nil || len(rows) != 1 {
		t.Fatal(rows, err)
	}
	if s := rows[0].Subject; rows[0].SubjectID != "DSR-1" || len(s) != 2 ||
		s.Get(vendors.Email) != "a@example.com" || s.Get(vendors.CustomerKey) != "k-1" {
		t.Errorf("%+v", rows[0])
	}
	for _, w := range []string{"ticket", "mail"} {
		if !strings.Contains(log.String(), w) {
			t.Errorf("%s is not warned about: %s", w, log.String())
		}
	}
}

// One warning names all columns that are not read, says what they may be, and gives the line
// to paste.
func TestUnknownColumnsWarnOnce(t *testing.T) {
	var log bytes.Buffer
	o := testOptions()
	o.Log = slog.New(slog.NewTextHandler(&log, nil))
	if _, _, err := readAll(t, "subject_id,email,Created,Shoe size,\nDSR-1,a@example.com,,,\n", o); err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(log.String(), "level=WARN"); n != 1 {
		t.Errorf("%d warnings", n)
	}
	for _, w := range []string{`\"Created\" (received_at?)`, "Shoe size", "column 5", `columns: {received_at: 'Created'}`, `ignore_columns: ['Shoe size']`} {
		if !strings.Contains(log.String(), w) {
			t.Errorf("%q is not in %s", w, log.String())
		}
	}
}

// A column that may be what a vendor knows people by is not passed over: its people would
// look answered. All that are not known are named at once, with the lines to paste.
func TestUnknownIdentifiers(t *testing.T) {
	for header, want := range map[string]string{
		"ticket;e-mail;Kundennummer;Status": `people.csv:1: columns that are not known, and one of them may be what a vendor knows people by: ` +
			`column "Kundennummer" (customer_key or account_number?), column "Status"` + "\n" +
			`write into the config what they are, as in columns: {customer_key: 'Kundennummer'}, and which mean nothing here, as in ignore_columns: ['Status']`,
		"subject_id;email;Telehpone":         `columns: {telephone: 'Telehpone'}`,
		"subject_id;email;E-Mail Adress":     `ignore_columns: ['E-Mail Adress']`,
		"subject_id;email;Assignee e-mail":   `write into the config ignore_columns: ['Assignee e-mail']`,
		"subject_id;telephone;Mail verified": `ignore_columns: ['Mail verified']`,
		"subject_id;email;Kd.-Nr.;KontoNr":   `columns: {customer_key: 'Kd.-Nr.', account_number: 'KontoNr'}`,
	} {
		o := testOptions()
		_, err := New(strings.NewReader(header+"\n"), "people.csv", o)
		var he *HeaderError
		if !errors.As(err, &he) || !strings.Contains(he.Error()+"\n"+he.Hint, want) {
			t.Errorf("%s: %v %+v", header, err, he)
			continue
		}
		names := strings.Split(header, ";")
		o.IgnoreColumns = []string{strings.ToUpper(names[2]), names[len(names)-1]}
		var log bytes.Buffer
		o.Log = slog.New(slog.NewTextHandler(&log, nil))
		if _, err := New(strings.NewReader(header+"\n"), "people.csv", o); err != nil || log.Len() > 0 {
			t.Errorf("%s, ignored: %v %s", header, err, log.String())
		}
	}
	for _, header := range []string{"subject_id;email;Hotel;Cancelled;Nickname;Region 2", "subject_id;email;"} {
		if _, err := New(strings.NewReader(header+"\n"), "people.csv", testOptions()); err != nil {
			t.Errorf("%s: %v", header, err)
		}
	}
}

// A vendor that would be asked about nobody of a file is an error where a column of the file
// may be the one by which it knows people, and a warning where none is left.
func TestNobody(t *testing.T) {
	var log bytes.Buffer
	o := testOptions()
	o.Log = slog.New(slog.NewTextHandler(&log, nil))
	o.Nobody = func(has vendors.FieldSet) (names []string) {
		if !has.Has(vendors.CustomerKey) {
			names = append(names, "voyado")
		}
		return names
	}
	_, err := New(strings.NewReader("subject_id,email,Referens hos oss\n"), "people.csv", o)
	var he *HeaderError
	if !errors.As(err, &he) || !strings.Contains(he.Error(), "voyado would be asked about nobody of this file") || !strings.Contains(he.Hint, "Referens hos oss") {
		t.Errorf("%v", err)
	}
	o.IgnoreColumns = []string{"Referens hos oss"}
	if _, err := New(strings.NewReader("subject_id,email,Referens hos oss\n"), "people.csv", o); err != nil || !strings.Contains(log.String(), "voyado is asked about nobody of this file") {
		t.Errorf("%v %s", err, log.String())
	}
	log.Reset()
	if _, err := New(strings.NewReader("subject_id,customer_key,Referens\n"), "people.csv", o); err != nil || strings.Contains(log.String(), "nobody") {
		t.Errorf("%v %s", err, log.String())
	}
}

// Every synonym must mean one column only, and stand in the form in which it is looked up.
func TestSynonyms(t *testing.T) {
	seen := map[string]string{}
	for column, names := range synonyms {
		if people.headers()[NormalHeader(column)] != column {
			t.Errorf("%s is not a column", column)
		}
		for _, name := range append(names, NormalHeader(column)) {
			if other := seen[name]; other != "" {
				t.Errorf("%s means %s and %s", name, column, other)
			}
			if seen[name] = column; NormalHeader(name) != name {
				t.Errorf("%s is not normal", name)
			}
		}
	}
	for header, columns := range unclear {
		if seen[header] != "" || NormalHeader(header) != header || len(columns) == 0 {
			t.Errorf("%s is unclear, and means %s", header, seen[header])
		}
	}
	for header, want := range map[string]string{
		"E-Mail-Adresse": "email", "Tel.-Nr.": "telephone", "Eingang am": "received_at", "Sähköposti": "email", "Adresse e\u0301lectronique": "email",
		"Correo electrónico": "email", "Teléfono móvil": "telephone", "Numer zgłoszenia": "subject_id", "N° de ticket": "subject_id", "Kundennummer": "",
		"\u200bÄrende-nr": "subject_id", "Tlf.": "telephone", "Imię i nazwisko": "customer_name",
		"Subject ID": "subject_id", "E‑Mail": "email", "Visitor-ID": "customer_key", "PHONE\u00a0NUMBER": "telephone",
		"Request ID": "subject_id", "Name": "customer_name", "Region": "region", "call id": "call_id", "Customer-ID": "customer_id", "id": "", "reference": "",
	} {
		if got := people.headers()[NormalHeader(header)]; got != want {
			t.Errorf("%s is %q", header, got)
		}
	}
}

// A hint must help: near names are found, others are left alone.
func TestNearest(t *testing.T) {
	for name, want := range map[string]string{
		"E-Mail Adress": "email", "emial": "email", "subjectid#": "subject_id", "telehpone": "telephone",
		"custmer_key": "customer_key", "acount number": "account_number", "recieved_at": "received_at",
		"shoe size": "", "x": "", "te": "", "gender": "", "status": "", "priority": "",
	} {
		if got := nearest(name, people.headers()); got != want {
			t.Errorf("%s looks like %q, not %q", name, got, want)
		}
	}
}
