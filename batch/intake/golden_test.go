package intake

import (
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"expunge/vendors"
)

// golden is a second reading of a row that is to be sent, written apart from the first: slow,
// rune by rune, without its tables. It says why the row must not be sent, or "". What it lets
// through may still be refused by the first.
func golden(row *Row, now time.Time) string {
	if row.SubjectID == "" || strings.Contains(row.SubjectID, "@") {
		return "no number of a request"
	}
	identifiers := 0
	for i, v := range row.Subject {
		if i > 0 && v.Field < row.Subject[i-1].Field {
			return "fields out of order"
		}
		if vendors.Identifiers.Has(v.Field) {
			identifiers++
		}
		if why := goldenValue(v.Field, v.Text); why != "" {
			return v.Field.String() + ": " + why
		}
	}
	switch {
	case identifiers == 0:
		return "nothing that a vendor knows people by"
	case !row.ReceivedAt.IsZero() && (row.ReceivedAt.Year() < 2000 || row.ReceivedAt.After(now.Add(24*time.Hour))):
		return "received at another time"
	}
	return ""
}

func goldenValue(f vendors.Field, text string) string {
	if text == "" || !utf8.ValidString(text) || strings.TrimSpace(text) != text {
		return "no text, or not trimmed"
	}
	if f == vendors.CustomerName || f == vendors.Comments {
		return ""
	}
	letters, digits, other := 0, 0, 0 // digits but 0
	for _, r := range text {
		switch {
		case r == utf8.RuneError, unicode.IsControl(r), unicode.Is(unicode.Cf, r), unicode.Is(unicode.Zs, r) && r != ' ':
			return "holds what cannot be seen"
		case r != '-' && unicode.Is(unicode.Pd, r), strings.ContainsRune("‘’“”„«»\u2212", r), r >= 0xff01 && r <= 0xff5e:
			return "holds what only looks like a character of the keyboard"
		case unicode.IsNumber(r) && r > 127 && unicode.IsDigit(r):
			return "holds other digits"
		case unicode.IsLetter(r):
			letters++
		case '1' <= r && r <= '9':
			digits++
		default:
			other++
		}
	}
	if letters+digits == 0 && !strings.ContainsFunc(text, unicode.IsNumber) || letters == 0 && digits == 0 {
		return "holds neither a letter nor a digit other than 0"
	}
	switch strings.ToLower(strings.Trim(text, "()<>[]{}")) {
	case "null", "none", "nil", "nan", "n/a", "na", "#n/a", "#n/a!", "undefined", "unknown", "missing", "#value!", "#ref!", "#name?", "#nv", "#wert!":
		return "is no value"
	}
	if first := text[0]; first == '=' || first == '\'' || first == '"' || first == '`' {
		return "has a mark in front"
	}
	switch f {
	case vendors.Email, vendors.OtherEmail:
		local, domain, ok := strings.Cut(text, "@")
		if !ok || local == "" || strings.Contains(domain, "@") || !strings.Contains(domain, ".") || strings.ContainsAny(text, " ;,<>\"") || strings.Contains(text, "..") {
			return "is no address"
		}
	case vendors.Telephone, vendors.OtherTelephone:
		n := 0
		for _, r := range text {
			switch {
			case '0' <= r && r <= '9':
				n++
			case !strings.ContainsRune(" +-()./", r):
				return "is no telephone"
			}
		}
		if n < 5 || n > 20 || strings.Count(text, "+") > 1 || strings.LastIndex(text, "+") > strings.IndexAny(text, "0123456789") {
			return "is no telephone"
		}
	case vendors.CustomerKey:
		if strings.ContainsAny(text, ",|;\t\n") {
			return "is several keys"
		}
	}
	if whole, part, ok := strings.Cut(strings.ReplaceAll(text, ",", "."), "."); ok && whole != "" && part != "" && strings.Trim(whole, "0123456789") == "" && strings.Trim(part, "0") == "" &&
		f != vendors.Email && f != vendors.OtherEmail {
		return "has the decimals of a spreadsheet"
	}
	return ""
}

// TestGolden: the second reading refuses what it is for, so that the fuzz target can rely on it.
func TestGolden(t *testing.T) {
	row := func(f vendors.Field, text string) *Row {
		return &Row{SubjectID: "DSR-1", Subject: vendors.Subject{{Field: f, Text: text}}}
	}
	for _, bad := range []*Row{
		row(vendors.CustomerKey, "NULL"), row(vendors.CustomerKey, "0"), row(vendors.CustomerKey, "k\u200b"), row(vendors.CustomerKey, "k\u20111"), row(vendors.CustomerKey, "'1"),
		row(vendors.CustomerKey, "1,2"), row(vendors.CustomerKey, "12.00"), row(vendors.AccountNumber, "="), row(vendors.Email, "a@b"), row(vendors.Email, "a@@b.example.com"),
		row(vendors.Telephone, "12"), row(vendors.Telephone, "12+345"), row(vendors.Telephone, "１２３４５"), row(vendors.CustomerName, "Ada"), {SubjectID: "a@example.com"}, {},
	} {
		if golden(bad, testNow) == "" {
			t.Errorf("%+v", bad)
		}
	}
	for _, good := range []*Row{row(vendors.CustomerKey, "00123"), row(vendors.AccountNumber, "934|1|0"), row(vendors.Email, "o'neil@example.com"), row(vendors.Telephone, "+46 (0)70-174 06 05")} {
		if why := golden(good, testNow); why != "" {
			t.Errorf("%+v: %s", good, why)
		}
	}
}
