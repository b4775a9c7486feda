package customergauge

import (
	"slices"
	"strings"

	"github.com/nyaruka/phonenumbers"

	"expunge/vendors"
)

// The forms in which a telephone can be looked up. The vendor documents none; its example
// is bare digits.
const (
	asGiven  = "as_given" // as the input has it
	e164     = "e164"     // +46701740605
	national = "national" // 0701740605: digits as dialled at home
	digits   = "digits"   // 46701740605: e164 without the plus sign
)

// The forms in which an email is looked up: as_given, and where it differs its normal form
// (vendors.Normal). Whether the vendor compares letter by letter is not documented.
const normal = "normal"

var emailFormNames = []string{asGiven, normal}

var formNames = []string{asGiven, e164, national, digits}

// form is one identifier as it is sent: under the name of a form, with the API's parameter.
type form struct {
	name  string // "" for an email that has one form
	value string
}

// emailForms writes an email in each of the named forms, without repeating a spelling.
func emailForms(text string, names []string) []form {
	_, other := vendors.Normal(vendors.Email, text)
	if other == text {
		return []form{{value: text}}
	}
	var forms []form
	for _, name := range names {
		switch name {
		case asGiven:
			forms = append(forms, form{name, text})
		case normal:
			forms = append(forms, form{name, other})
		}
	}
	return forms
}

// telephoneForms writes a telephone in each of the named forms, without repeating a
// spelling. A telephone that is no number in any country (or without a country, where no
// default region is configured) or that has an extension, which the other forms would lose
// and so reach another line, can be written as given only.
func telephoneForms(text, defaultRegion string, names []string) []form {
	number, err := phonenumbers.Parse(vendors.Plus(text), defaultRegion)
	fixed := err != nil || number.GetExtension() != ""
	var forms []form
	for _, name := range names {
		value := text
		switch {
		case name == asGiven:
		case fixed:
			continue
		case name == e164:
			value = phonenumbers.Format(number, phonenumbers.E164)
		case name == national:
			value = vendors.Digits(phonenumbers.Format(number, phonenumbers.NATIONAL))
		case name == digits:
			value = vendors.Digits(phonenumbers.Format(number, phonenumbers.E164))
		}
		if !slices.ContainsFunc(forms, func(f form) bool { return f.value == value }) {
			forms = append(forms, form{name, value})
		}
	}
	return forms
}

// hintForms reads a Hint back; ok is false where it is not one of ours.
func hintForms(hint string) (names []string, ok bool) {
	if hint == "" {
		return []string{asGiven}, true
	}
	names = strings.Split(hint, ",")
	for _, n := range names {
		if n != normal && !slices.Contains(formNames, n) {
			return nil, false
		}
	}
	return names, true
}
