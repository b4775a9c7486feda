package words

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"html"
	"net/url"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"expunge/vendors"
)

// maxMessage bounds what is kept of a text from outside, in bytes.
const maxMessage = 200

// OfError is what a report may say of a failed call: our own words, and those of the
// vendor's that surely say nothing of the subject.
func OfError(err error, s vendors.Subject) string {
	if err == nil {
		return ""
	}
	text := err.Error()
	var e *vendors.Error
	if errors.As(err, &e) {
		text = strings.TrimPrefix(text, e.Vendor+": ") // it stands in a column of its own
		if e.Message != "" {
			text += "; the vendor says: " + Vendor(e.Message, s)
		}
	}
	return Clip(text)
}

// scrub makes a short text from outside, a person's note or a vendor's word for a status,
// fit to be kept and shown. Taken out are the subject's values
// of three or more characters in any spelling we can think of, their longer words, and
// whatever looks like an address, an encoding or a number of five or more digits, whether
// or not it is the subject's. What is left is printable text of at most maxMessage bytes.
func scrub(text string, s vendors.Subject) string {
	if len(text) > maxRead {
		// A word that is cut in two would not be recognized.
		text = text[:maxRead]
		text = text[:max(0, strings.LastIndexAny(text, " \n\t"))]
	}
	runes := []rune(plain(text))
	folded := fold(runes)
	hide := make([]bool, len(runes))
	for _, form := range spellings(s) {
		hideAll(hide, folded, fold([]rune(plain(form))))
	}
	hideWords(hide, runes)
	hideNumbers(hide, runes)
	var b strings.Builder
	for i, r := range runes {
		switch {
		case !hide[i]:
			b.WriteRune(r)
		case i == 0 || !hide[i-1]:
			b.WriteString(elided)
		}
	}
	return Clip(b.String())
}

// spellings lists what the subject's values may look like in a vendor's text. Case does
// not matter where they are looked for, but it does to an encoding.
func spellings(s vendors.Subject) []string {
	var all []string
	for _, v := range s {
		if utf8.RuneCountInString(v.Text) < 3 {
			continue
		}
		for _, text := range []string{v.Text, strings.ToLower(v.Text), strings.ToUpper(v.Text)} {
			quoted, _ := json.Marshal(text)
			all = append(all, text, url.QueryEscape(text), url.PathEscape(text), html.EscapeString(text), strings.Trim(string(quoted), `"`),
				hex.EncodeToString([]byte(text)), base64.RawStdEncoding.EncodeToString([]byte(text)), base64.RawURLEncoding.EncodeToString([]byte(text)))
		}
		all = append(all, vendors.Digits(v.Text))
		for _, word := range strings.FieldsFunc(v.Text, func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) }) {
			if utf8.RuneCountInString(word) >= 4 {
				all = append(all, word)
			}
		}
	}
	return all
}

// plain returns the text in one spelling: composed characters, single spaces, nothing that
// cannot be seen.
func plain(text string) string {
	text = strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r):
			return ' '
		case !unicode.IsPrint(r):
			return -1
		}
		return r
	}, strings.ToValidUTF8(text, " "))
	return strings.Join(strings.Fields(norm.NFKC.String(text)), " ")
}

// fold returns the runes such that those that differ in case only are equal.
func fold(runes []rune) []rune {
	out := make([]rune, len(runes))
	for i, r := range runes {
		least := r
		for f := unicode.SimpleFold(r); f != r; f = unicode.SimpleFold(f) {
			least = min(least, f)
		}
		out[i] = least
	}
	return out
}

// hideAll marks every occurrence of what, overlapping ones too.
func hideAll(hide []bool, text, what []rune) {
	if len(what) < 3 {
		return
	}
	for i := 0; i+len(what) <= len(text); i++ {
		match := true
		for j, r := range what {
			if text[i+j] != r {
				match = false
				break
			}
		}
		if match {
			for j := range what {
				hide[i+j] = true
			}
		}
	}
}

// hideWords marks words that no sentence has: addresses, encodings.
func hideWords(hide []bool, text []rune) {
	for from := 0; from < len(text); {
		to := from
		for to < len(text) && text[to] != ' ' {
			to++
		}
		word := string(text[from:to])
		if to-from > 40 || strings.ContainsAny(word, "@%\\") || strings.Contains(word, "&#") {
			for i := from; i < to; i++ {
				hide[i] = true
			}
		}
		from = to + 1
	}
}

// hideNumbers marks numbers of five or more digits, however they are grouped.
func hideNumbers(hide []bool, text []rune) {
	first, last, digits := -1, -1, 0
	end := func() {
		if digits >= 5 {
			for i := first; i <= last; i++ {
				hide[i] = true
			}
		}
		first, digits = -1, 0
	}
	for i, r := range text {
		switch {
		case unicode.IsDigit(r):
			if first < 0 {
				first = i
			}
			last, digits = i, digits+1
		case !strings.ContainsRune(" -–./()+", r):
			end()
		}
	}
	end()
}

// Clip leaves out what cannot be seen and cuts the rest to maxMessage bytes.
func Clip(text string) string {
	text = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, strings.ToValidUTF8(text, ""))
	if len(text) <= maxMessage {
		return text
	}
	n := maxMessage
	for !utf8.RuneStart(text[n]) {
		n--
	}
	return text[:n] + "…"
}
