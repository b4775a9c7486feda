package batch

import (
	"errors"
	"net/url"
	"strings"
	"unicode"

	"expunge/vendors"
)

// maxMessage bounds what is kept of a vendor's text.
const maxMessage = 200

// messageOf is what a report may say of a failed call: our own words, and those of the
// vendor's that surely say nothing of the subject.
func messageOf(err error, s vendors.Subject) string {
	if err == nil {
		return ""
	}
	text := err.Error()
	var e *vendors.Error
	if errors.As(err, &e) {
		_, text, _ = strings.Cut(text, ": ") // the vendor's name stands in a column of its own
		if e.Message != "" {
			text += "; the vendor says: " + vendorWords(e.Message, s)
		}
	}
	return clip(text)
}

// Scrub makes a vendor's text fit to be kept and shown: the subject's values are taken out
// in any spelling we can think of, then whatever looks like an address or a number of five
// or more digits, then control characters.
func Scrub(text string, s vendors.Subject) string {
	for _, v := range s {
		if len(v.Text) < 3 {
			continue
		}
		for _, form := range []string{v.Text, url.QueryEscape(v.Text), url.PathEscape(v.Text), vendors.Digits(v.Text)} {
			text = replaceFold(text, form)
		}
		for _, word := range strings.FieldsFunc(v.Text, func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) }) {
			if len(word) >= 4 {
				text = replaceFold(text, word)
			}
		}
	}
	words := strings.FieldsFunc(text, func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) })
	for i, w := range words {
		digits := 0
		for _, r := range w {
			if unicode.IsDigit(r) {
				digits++
			}
		}
		if strings.ContainsAny(w, "@%") || strings.Contains(strings.ToLower(w), "%40") || digits >= 5 {
			words[i] = "[…]"
		}
	}
	return clip(strings.Join(words, " "))
}

// replaceFold replaces every occurrence of old, whatever its case.
func replaceFold(text, old string) string {
	if len(old) < 3 {
		return text
	}
	low, needle := strings.ToLower(text), strings.ToLower(old)
	if len(low) != len(text) {
		// Some runes change their length with their case: the indexes would not fit.
		text = low
	}
	var b strings.Builder
	for {
		i := strings.Index(low, needle)
		if i < 0 {
			b.WriteString(text)
			return b.String()
		}
		b.WriteString(text[:i])
		b.WriteString("[…]")
		text, low = text[i+len(needle):], low[i+len(needle):]
	}
}

func clip(text string) string {
	text = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || !unicode.IsPrint(r) && r != ' ' {
			return -1
		}
		return r
	}, strings.ToValidUTF8(text, ""))
	if len(text) <= maxMessage {
		return text
	}
	n := 0
	for i := range text {
		if i > maxMessage {
			break
		}
		n = i
	}
	return text[:n] + "…"
}
