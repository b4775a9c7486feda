package intake

import (
	"fmt"
	"strings"
	"testing"
)

// What is no value, or has the marks of a spreadsheet, or only looks like what it should be,
// is refused with what to write instead; what is odd but right is sent.
func TestMarks(t *testing.T) {
	const key, other = "3f0c1c9e-1b7a-4f43-9f0e-0a6b7f1f6b11", "7a1b2c3d-4e5f-4a6b-8c7d-9e0f1a2b3c4d"
	for _, c := range []struct {
		column string
		says   string // "": it is taken
		values []string
	}{
		{"customer_key", "no value: leave the cell empty", []string{"NULL", "null", "(null)", "<NULL>", "undefined", "Unknown", "n/a", "N/A", "NA", "None", "nan", "NaN", `\N`,
			"-", "--", "—", "?", "…", "_", "0", "000", "0-0", "00000000-0000-0000-0000-000000000000", "unbekannt", "Inconnu", "onbekend", "okänd", "ukendt", "ukjent", "Desconocido", "sconosciuto", "nieznany", "tuntematon"}},
		{"customer_key", "no value: leave the cell empty", []string{"#N/A", "#VALUE!", "#REF!", "#NAME?", "#DIV/0!", "#NV", "#WERT!", "#BEZUG!", "#N/D", "#VALEUR!", "#¡VALOR!", "#GETAL!"}},
		{"account_number", `is "undefined", which is no value`, []string{"undefined"}},
		{"call_id", "is all zeros", []string{"0", "0000000", strings.Repeat("0", 45)}},
		{"agent_id", `is "#n/a", which is no value`, []string{"#N/A"}},
		{"region", `is "n/a", which is no value`, []string{"n/a"}},
		{"subject_id", "no value", []string{"NULL", "#N/A", "-", "0"}},
		{"email", "no value: leave the cell empty", []string{"n/a", "-", "unknown"}},
		{"telephone", "no value: leave the cell empty", []string{"n/a", "-", "0", "00000000", "0000-0000", "unbekannt"}},

		{"customer_key", "spreadsheet's formula", []string{`="00123"`, "=A2", `="` + key + `"`}},
		{"account_number", "apostrophe, a spreadsheet's mark for text", []string{"'00123", "'934|1"}},
		{"customer_key", "stands in brackets: leave them out", []string{"{" + key + "}", "[k-1]", "<k-1>", "{" + key + "};" + other}},
		{"customer_key", "stands in quotes: leave them out", []string{`"` + key + `"`, "`k-1`"}},
		{"customer_key", "leave it out", []string{"00123'"}},
		{"subject_id", "spreadsheet's formula", []string{`="00123"`}},
		{"subject_id", "apostrophe", []string{"'00123"}},
		{"subject_id", "scientific notation", []string{"2.02601E+11"}},
		{"subject_id", "decimals of a spreadsheet", []string{"4711.0", "4711,00"}},
		{"email", "apostrophe", []string{"'j@example.com"}},
		{"email", "spreadsheet's formula", []string{`="j@example.com"`, "=j@example.com"}},
		{"email", "quote: leave it out", []string{`j@example.com"`}},
		{"telephone", "apostrophe", []string{"'+46701740605", "'0701740605"}},
		{"telephone", "spreadsheet's formula", []string{`="0701740605"`}},

		{"customer_key", "U+2011", []string{strings.ReplaceAll(key, "-", "\u2011")}},
		{"customer_key", "is invisible: write -", []string{strings.Replace(key, "-", "\u2013", 1), strings.Replace(key, "-", "\u2212", 1), "k\u20141"}},
		{"customer_key", "curly quote U+201C", []string{"\u201c" + key + "\u201d"}},
		{"customer_key", "curly quote", []string{"\u2019k-1", "k\u2019s-1", "«k-1»", "„k-1“"}},
		{"customer_key", "full-width", []string{"１２３４５", "ｋ-1", "k－1"}},
		{"customer_key", "digits that are not 0 to 9", []string{"k-١٢٣"}},
		{"customer_key", "invisible character U+00AD", []string{"k\u00ad1"}},
		{"customer_key", "invisible", []string{"k\u200b1", "k\u00a01", "\u202ak-1\u202c", "\ufeffk-1;k-2"}},
		{"customer_key", "mixes Latin letters with Cyrillic", []string{"аb-1", "k-1Α"}},
		{"customer_key", "lost when the file was converted", []string{"k\ufffd1"}},
		{"email", "mixes Latin letters with Cyrillic", []string{"jane@еxample.com", "jаne@example.com", "jane@example.cοm"}},
		{"email", "curly quote", []string{"o\u2019brien@example.com"}},
		{"email", "full-width", []string{"ｊane@example.com"}},
		{"email", "is invisible: write -", []string{"jane\u2011doe@example.com", "jane@my\u2010example.com"}},
		{"email", "invisible", []string{"jane\u00a0@example.com", "jane@exam\u00adple.com"}},
		{"telephone", "invisible", []string{"\u202a+46 70 174 06 05\u202c", "+46\u00a070\u00a01740605", "070\u2011174 06 05", "070\u200b1740605"}},
		{"telephone", "full-width", []string{"０７０１７４０６０５"}},
		{"telephone", "digits that are not 0 to 9", []string{"٠٧٠١٧٤٠٦٠٥"}},

		{"customer_key", "several keys with something else than ; between", []string{key + "," + other, key + " , " + other, key + "|" + other, key + " " + other, key + "\n" + other, key + "/" + other, "k1,k2", "k1|k2", key + ";" + other + " " + key}},
		{"account_number", "must be one number only", []string{"934|1;934|2"}},

		{"customer_key", "", []string{key + ";" + other, key + "; " + other + ";", strings.ToUpper(key), "k 1", "4711-0", "0815", "00123", "NULL-1", "anna", "#4711", "k'1", "k.1", "1e10", "0x1F", "ключ-1", "nyckel-å", "木-1", "K&N/1", "user@example.com", "null0"}},
		{"account_number", "", []string{"934|1|475|0|0|44|59", "0|0|1", "1,234", "A/1", "+1", "12.5"}},
		{"email", "", []string{"o'brien@example.com", "a+b=c@example.com", "почта@пример.example.com", "jane@пример.com", "jose\u0301@example.com", "null@example.com", "{x}@example.com"}},
		{"telephone", "", []string{"0046701740605", "(0)70-174 06 05", "+1 202-555-0123"}},
		{"subject_id", "", []string{"DSR-0", "null-1", "R'1", "2026/17", "#17", "ärende-5"}},
		{"customer_name", "", []string{"Null", "NaN", "O\u2019Brien", "N/A", "\u201cJane\u201d"}},
	} {
		for _, value := range c.values {
			t.Run(fmt.Sprintf("%s=%.40q", c.column, value), func(t *testing.T) {
				cells := []string{"subject_id", "DSR-1", "account_number", "1|2"}
				for i := 0; ; i += 2 {
					if i == len(cells) {
						cells = append(cells, c.column, value)
					}
					if cells[i] == c.column {
						cells[i+1] = value
						break
					}
				}
				row, reject := one(t, cells...)
				switch {
				case c.says == "" && reject != nil:
					t.Errorf("refused: %s", reject.Message)
				case c.says != "" && row != nil:
					t.Errorf("taken: %v", row.Subject)
				case c.says == "":
				case reject.Column != c.column || !strings.Contains(reject.Message, c.says):
					t.Errorf("%s, not %q", reject.Message, c.says)
				}
			})
		}
	}
}

// The checks must not cost what makes an intake slow: a plain identifier is looked at once.
func BenchmarkIdentifier(b *testing.B) {
	for b.Loop() {
		for _, text := range []string{"3f0c1c9e-1b7a-4f43-9f0e-0a6b7f1f6b11", "934|1|475|0|0|44|59", "agent7"} {
			if identifierProblem(text) != "" {
				b.Fatal(text)
			}
		}
	}
}
