package words

import (
	"encoding/base64"
	"encoding/hex"
	"html"
	"net/url"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"expunge/vendors"
)

// TestScrub: a note keeps what its writer meant to say and loses what names a person.
func TestScrub(t *testing.T) {
	who := vendors.Subject{
		{Field: vendors.Email, Text: "Zebulon.Quirk+shop@leak.example.com"},
		{Field: vendors.Telephone, Text: "+46 70 174 06 05"},
		{Field: vendors.CustomerName, Text: "Bo Ek"},
		{Field: vendors.AccountNumber, Text: "anna"},
		{Field: vendors.CustomerKey, Text: "Annabel-7"},
	}
	for text, want := range map[string]string{
		"done by Karin on Tuesday":                "done by Karin on Tuesday",
		"waiting":                                 "waiting",
		"asked zebulon twice":                     "asked […] twice",
		"call 0701740605 or 070-174 06 05 now":    "call […] or […] now",
		"call 070 174 06 05 now":                  "call […] now",
		"call (070) 174.06.05, 3rd floor":         "call ([…], 3rd floor",
		"see ticket 1234, third floor":            "see ticket 1234, third floor",
		"mail x@y.example":                        "mail […]",
		"Bo\u200b\n Ek was here":                  "[…] was here",
		"ｂｏ ｅｋ in wide letters":                   "[…] in wide letters",
		"annabel-7 and Anna":                      "[…] and […]",
		"x=Zebulon.Quirk%2Bshop%40leak":           "[…]",
		"\x1b]0;title\x07 red\u202e":              "]0;title red",
		"a&#64;b":                                 "[…]",
		"":                                        "",
		strings.Repeat("ab", 30) + " is too long": "[…] is too long",
	} {
		if got := scrub(text, who); got != want {
			t.Errorf("%q\n got %q\nwant %q", text, got, want)
		}
	}
	if got := scrub(strings.Repeat("word ", 4000), nil); len(got) > maxMessage+len("…") || !strings.HasPrefix(got, "word word") {
		t.Errorf("a long note: %d bytes", len(got))
	}
	if got := scrub(strings.Repeat("x", 5000), nil); got != "" {
		t.Errorf("one long word: %q", got)
	}
}

// FuzzScrub: no value of three or more characters comes through, however it is cased and
// encoded and whatever stands around it, and nothing comes through that a terminal would
// act on.
func FuzzScrub(f *testing.F) {
	f.Add("anna@example.com", "no such customer: ", " (400)", uint8(0))
	f.Add("Bo Ek", "customer", "x", uint8(1))
	f.Add("İstanbul Åsa", "a", "b", uint8(2))
	f.Add("+46 70 174 06 05", "tel:", "", uint8(3))
	f.Add("åäö", "", "", uint8(7))
	f.Add("ab\u200bc", "", "", uint8(0))
	f.Fuzz(func(t *testing.T, value, before, after string, how uint8) {
		if utf8.RuneCountInString(plain(value)) < 3 || strings.ContainsAny(value+before+after, "[…]") || !utf8.ValidString(value) {
			return
		}
		forms := []func(string) string{
			func(s string) string { return s }, strings.ToUpper, strings.ToLower, url.QueryEscape, url.PathEscape, html.EscapeString,
			func(s string) string { return hex.EncodeToString([]byte(s)) },
			func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) },
			func(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) },
			func(s string) string { return strings.ReplaceAll(s, " ", "\n\u200b") },
		}
		form := forms[int(how)%len(forms)](value)
		out := scrub(before+form+after, vendors.Subject{{Field: vendors.CustomerKey, Text: value}})
		if strings.ContainsFunc(out, func(r rune) bool { return !unicode.IsPrint(r) }) || !utf8.ValidString(out) || len(out) > maxMessage+len("…") {
			t.Fatalf("unfit: %q", out)
		}
		if low := strings.ToLower(out); strings.Contains(low, strings.ToLower(value)) || utf8.RuneCountInString(form) >= 3 && strings.Contains(out, form) {
			t.Fatalf("%q as %q survives in %q", value, form, out)
		}
	})
}
