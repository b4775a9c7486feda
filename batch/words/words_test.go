package words

import (
	"encoding/base64"
	"encoding/hex"
	"errors"
	"html"
	"net/url"
	"slices"
	"strings"
	"testing"
	"unicode"

	"expunge/vendors"
)

var quoted = vendors.Subject{
	{Field: vendors.Email, Text: "Zebulon.Quirk+shop@Leak.example.com"},
	{Field: vendors.OtherEmail, Text: "page.error@other.example.org"},
	{Field: vendors.Telephone, Text: "+46 70 174 06 05"},
	{Field: vendors.CustomerKey, Text: "7d1b9a52-6c0e-4c5e-9d2f-1f5b0c9e77aa"},
	{Field: vendors.AccountNumber, Text: "934|1|475|0|0|44|59"},
	{Field: vendors.CustomerName, Text: "Zebulon Ek"},
	{Field: vendors.Comments, Text: "invalid address, please call"},
}

// spellings are ways in which a program may repeat a value.
func quotedAs(v string) []string {
	r := []rune(v)
	slices.Reverse(r)
	spaced := strings.Join(strings.Split(v, ""), " ")
	all := []string{v, strings.ToUpper(v), strings.ToLower(v), url.QueryEscape(v), url.PathEscape(v), html.EscapeString(v),
		hex.EncodeToString([]byte(v)), strings.ToUpper(hex.EncodeToString([]byte(v))), string(r), spaced, vendors.Digits(v),
		strings.ReplaceAll(v, "@", " at "), strings.ReplaceAll(v, "@", "(at)"), strings.ReplaceAll(v, " ", "-"),
		strings.ReplaceAll(v, ".", "\u200b."), strings.ReplaceAll(v, "e", "\u0435"), "<" + v + ">", "\"" + v + "\",", "x" + v + "x",
		"user=" + v + ";", strings.ReplaceAll(v, "-", " ")}
	for i := range 3 {
		all = append(all, base64.StdEncoding.EncodeToString([]byte(strings.Repeat("x", i)+v)), base64.URLEncoding.EncodeToString([]byte(v+strings.Repeat("x", i))))
	}
	if local, domain, ok := strings.Cut(v, "@"); ok {
		all = append(all, local, domain, local+" @ "+domain, domain+"!"+local)
	}
	return all
}

// TestVendor: a vendor that quotes the subject in its error message, however spelled,
// gets nothing of it into the store and the report.
func TestVendor(t *testing.T) {
	for _, v := range quoted {
		if v.Field == vendors.Comments {
			continue
		}
		for _, form := range quotedAs(v.Text) {
			for _, text := range []string{form, "Invalid value " + form + " for email", "error: '" + form + "' not found (404)"} {
				got := Vendor(text, quoted)
				rest := strings.NewReplacer(elided+" at "+elided, "", elided, "", "Invalid value", "", "for", "", "email", "", "not found (404)", "", "error:", "").Replace(got)
				if strings.ContainsFunc(rest, func(r rune) bool { return unicode.IsLetter(r) || unicode.IsDigit(r) }) {
					t.Errorf("%s: of %q this is left: %q", v.Field, text, got)
				}
			}
		}
	}
}

// TestVendorKeepsSense: what an operator needs of a message survives.
func TestVendorKeepsSense(t *testing.T) {
	for _, tt := range [][2]string{
		{"Please make an API request by email or telephone", "Please make an API request by email or telephone"},
		{"Email is not valid", "Email is not valid"},
		{"Incorrect cluster credentials", "Incorrect cluster credentials"},
		{"Invalid or missing argument: customerKey", "Invalid or missing argument: customerKey"},
		{"The access token is invalid or has expired", "The access token is invalid or has expired"},
		{"rate limit exceeded, retry after 60 seconds (429)", "rate limit exceeded, retry after 60 seconds (429)"},
		{"call 070 174 06 05 now", "call […] now"},
		{"customer 1000234 does not exist", "customer […] does not exist"},
		{"\x1b[31mError\x1b[0m\r\nin line\u202e 3", "[…] in […]"},
		{"born 1985-03-12", "[…]"},
		{"job_paused", "job_paused"}, {"not_found", "not_found"}, {"waiting", "waiting"}, {"created", "created"}, {"tymgzzkrxy", "[…]"},
		{"", ""},
	} {
		if got := Vendor(tt[0], nil); got != tt[1] {
			t.Errorf("%q\n got %q\nwant %q", tt[0], got, tt[1])
		}
	}
	// Somebody's own words are left out even where they are plain ones; those of their
	// comments are no identifiers.
	if got := Vendor("invalid page error", quoted); got != "invalid […]" {
		t.Errorf("own words: %q", got)
	}
}

// TestOfError: our own words stand first, the vendor's after them, scrubbed.
func TestOfError(t *testing.T) {
	err := &vendors.Error{Vendor: "cg", Op: "preview", Kind: vendors.ErrRefused, Status: 400, Message: "No such user: zebulon.quirk+shop@leak.example.com"}
	want := "preview: the vendor refused the request (HTTP 400); the vendor says: No such user: […]"
	if got := OfError(err, quoted); got != want {
		t.Errorf("got %q\nwant %q", got, want)
	}
	if got := OfError(errors.Join(err), nil); !strings.Contains(got, "the vendor says") {
		t.Errorf("wrapped: %q", got)
	}
}

// FuzzVendor: nothing but listed words, short numbers and punctuation ever comes out,
// whatever comes in.
func FuzzVendor(f *testing.F) {
	f.Add("Invalid value x@example.com")
	f.Add("\x1b[2J 12 345")
	f.Fuzz(func(t *testing.T, text string) {
		out := Vendor(text, quoted)
		if len(out) > maxMessage+len("…") {
			t.Fatalf("%d bytes", len(out))
		}
		if strings.ContainsFunc(out, func(r rune) bool { return !unicode.IsPrint(r) }) {
			t.Fatalf("unprintable: %q", out)
		}
		if strings.HasSuffix(out, "…") && !strings.HasSuffix(out, elided) {
			return // cut within a word
		}
		for w := range strings.FieldsSeq(strings.ReplaceAll(out, elided, "")) {
			core := strings.ToLower(strings.Trim(w, `.,:;!?'"()`))
			for part := range strings.FieldsFuncSeq(core, func(r rune) bool { return strings.ContainsRune(`-_/'`, r) }) {
				if !plainWords[part] && !(len(part) <= 3 && strings.Trim(part, "0123456789") == "") {
					t.Fatalf("%q lets %q through", text, w)
				}
			}
		}
	})
}

// TestNote: a note about several tasks names none of their people.
func TestNote(t *testing.T) {
	var about [][]byte
	for _, name := range []string{"Zebulon Quirk", "Xanthe Moore"} {
		b, err := vendors.Subject{{Field: vendors.CustomerName, Text: name}, {Field: vendors.Email, Text: name[:3] + "@example.com"}}.AppendBinary(nil)
		if err != nil {
			t.Fatal(err)
		}
		about = append(about, b)
	}
	got := Note("Zebulon and xanthe moore (Xan@example.com) agreed by telephone", about...)
	for _, name := range []string{"zebulon", "xanthe", "moore", "@"} {
		if strings.Contains(strings.ToLower(got), name) {
			t.Errorf("%q still has %q", got, name)
		}
	}
	if !strings.HasSuffix(got, "agreed by telephone") {
		t.Errorf("too much is gone: %q", got)
	}
}
