package vendors

import (
	"strings"

	"github.com/nyaruka/phonenumbers"
	"golang.org/x/text/unicode/norm"
)

// Canonical is the one spelling of an identifier under which it is marked in the log: whoever
// knows the identifier in any usual spelling gets the same. An email is as Normal has it; a
// telephone is E.164 (+46701740605) where its country is known, else its digits; anything
// else is in small letters and composed (NFC). region is the country of telephone numbers
// that do not say theirs, or "". It never changes: marks of before would not be found.
func Canonical(f Field, text, region string) string {
	class, normal := Normal(f, text)
	switch class {
	case Email:
		return normal
	case Telephone:
		return canonicalTelephone(text, region)
	}
	return norm.NFC.String(strings.ToLower(normal))
}

func canonicalTelephone(text, region string) string {
	digits := Digits(text)
	trimmed := strings.TrimLeft(text, " (")
	international := strings.HasPrefix(trimmed, "+") || strings.HasPrefix(trimmed, "00")
	if international && !strings.Contains(text, "(") { // reading it would say the same, and take long
		return "+" + digits
	}
	if international {
		text = "+" + strings.TrimLeft(trimmed, "+0")
	} else if region == "" {
		return digits
	}
	number, err := phonenumbers.Parse(text, region)
	switch {
	case err != nil && international:
		return "+" + digits
	case err != nil:
		return digits
	}
	return phonenumbers.Format(number, phonenumbers.E164)
}
