package intake

import (
	"errors"
	"strings"
	"testing"

	"golang.org/x/text/encoding/charmap"
	utf "golang.org/x/text/encoding/unicode"

	"expunge/vendors"
)

// Whatever a spreadsheet writes is read where its encoding is named, or shows itself.
func TestEncodings(t *testing.T) {
	const text = "Ärende;E-post;Kundnamn\nDSR-1;a@example.com;Åsa Öberg\n"
	columns := map[string]string{"subject_id": "Ärende", "email": "E-post", "customer_name": "Kundnamn"}
	encode := func(enc interface{ String(string) (string, error) }) string {
		t.Helper()
		s, err := enc.String(text)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	for _, c := range []struct{ name, encoding, text string }{
		{"UTF-8", "", text},
		{"UTF-8, named", "UTF-8", text},
		{"UTF-8 with a mark, another named", "windows-1252", "\ufeff" + text},
		{"UTF-16 with a mark", "", encode(utf.UTF16(utf.LittleEndian, utf.UseBOM).NewEncoder())},
		{"UTF-16 big with a mark, another named", "cp850", encode(utf.UTF16(utf.BigEndian, utf.UseBOM).NewEncoder())},
		{"UTF-16 without a mark", "utf-16le", encode(utf.UTF16(utf.LittleEndian, utf.IgnoreBOM).NewEncoder())},
		{"Excel", "windows-1252", encode(charmap.Windows1252.NewEncoder())},
		{"Latin-1", "ISO-8859-1", encode(charmap.ISO8859_1.NewEncoder())},
		{"Excel on a Mac", "macintosh", encode(charmap.Macintosh.NewEncoder())},
		{"Excel for MS-DOS", "cp850", encode(charmap.CodePage850.NewEncoder())},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := testOptions()
			o.Columns, o.Encoding = columns, c.encoding
			rows, rejects, err := readAll(t, c.text, o)
			if err != nil || len(rejects) > 0 || len(rows) != 1 || rows[0].Subject.Get(vendors.CustomerName) != "Åsa Öberg" {
				t.Errorf("%+v %+v %v", rows, rejects, err)
			}
		})
	}
	o := testOptions()
	o.Encoding = "klingon"
	var he *HeaderError
	if _, err := New(strings.NewReader(text), "people.csv", o); !errors.As(err, &he) || !strings.Contains(he.Hint, "windows-1252") {
		t.Errorf("%v", err)
	}
	for _, name := range []string{"", "replacement", "utf-7", "x-user-defined-by-me"} {
		if enc, err := LookupEncoding(name); err == nil {
			t.Errorf("%q is %v", name, enc)
		}
	}
}

// What a file in another encoding is said to be, must be what its writer would say.
func TestLooksLike(t *testing.T) {
	for _, text := range []string{
		"René Müller-Lüdenscheidt, Straße des 17. Juni", "Åsa Öberg, Göteborg", "Søren Kjærgård", "Iñaki Muñoz, calle de Málaga",
		"Mäkinen, Jyväskylä", "Françoise Lefèvre, hôtel à la forêt", "Niccolò è già lì", "München, ÖSTERREICH, Übersee",
	} {
		for _, enc := range []string{"windows-1252", "macintosh", "cp850"} {
			if enc == "cp850" && strings.Contains(text, "è") {
				continue // it is macintosh's ä there, and what writes cp850 is rare
			}
			e, err := LookupEncoding(enc)
			if err != nil {
				t.Fatal(err)
			}
			raw, err := e.NewEncoder().String(text)
			if err != nil {
				t.Fatal(err)
			}
			if got := looksLike([]byte(raw)); got != enc {
				t.Errorf("%s in %s looks like %q", text, enc, got)
			}
		}
	}
	raw, err := charmap.Windows1250.NewEncoder().String("Zażółć gęślą jaźń, Łódź, Świętosława")
	if got := looksLike([]byte(raw)); err != nil || got != "windows-1250" {
		t.Errorf("Polish looks like %q %v", got, err)
	}
	if got := looksLike([]byte("\x80\xff\xfe\x00")); got != "" {
		t.Errorf("bytes look like %q", got)
	}
}
