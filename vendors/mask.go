package vendors

import (
	"strings"
	"unicode/utf8"
)

// Mask returns the form in which an identifier may be shown in reports, logs and
// terminals. For telephones and emails it is Acqueon's definition of pseudonymization
// (vendor-docs/acqueon-pseudonymization-request.txt): 99999 99999 becomes 9xx9x x9xx9,
// johndoe@zyxwv.com becomes jxxnxxe@xxxwv.com. Other identifiers (customer keys, account
// numbers) are masked like an email's local part. Names and comments are never shown.
func Mask(f Field, text string) string {
	switch f {
	case Email, OtherEmail:
		return maskEmail(text)
	case Telephone, OtherTelephone:
		return keepEveryThird(text, func(r rune) bool { return r >= '0' && r <= '9' })
	case CustomerKey, AccountNumber, CallID, AgentID, CustomerID:
		if strings.Contains(text, "@") {
			return maskEmail(text)
		}
		return keepEveryThird(text, isWordRune)
	case Region:
		return text
	}
	return "xxx"
}

func maskEmail(text string) string {
	at := strings.LastIndexByte(text, '@')
	if at < 0 {
		return keepEveryThird(text, func(rune) bool { return true })
	}
	return keepEveryThird(text[:at], func(rune) bool { return true }) + "@" + maskFirst(text[at+1:], 3)
}

// keepEveryThird keeps the 1st, 4th, 7th, ... of the runes that count, masks the others
// that count, and leaves the rest (punctuation, spaces) as it is.
func keepEveryThird(text string, counts func(rune) bool) string {
	var b strings.Builder
	n := 0
	for _, r := range text {
		if counts(r) {
			if n%3 != 0 {
				r = 'x'
			}
			n++
		}
		b.WriteRune(r)
	}
	return b.String()
}

func maskFirst(text string, n int) string {
	i := 0
	for range n {
		if i >= len(text) {
			break
		}
		_, w := utf8.DecodeRuneInString(text[i:])
		i += w
	}
	return strings.Repeat("x", min(n, utf8.RuneCountInString(text[:i]))) + text[i:]
}

func isWordRune(r rune) bool {
	return r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= utf8.RuneSelf
}
