package vendors

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/net/idna"
	"golang.org/x/text/unicode/norm"
)

// Field names one piece of what the input says about a subject. The numbers are part of
// the sealed format in the store: never renumber, only append.
type Field uint8

// The fields of a subject, in the order in which a report lists identifiers.
const (
	Email          Field = 1
	OtherEmail     Field = 2
	Telephone      Field = 3
	OtherTelephone Field = 4
	CustomerKey    Field = 5 // may occur several times
	AccountNumber  Field = 6
	CallID         Field = 7
	AgentID        Field = 8
	CustomerName   Field = 9
	Comments       Field = 10
	Region         Field = 11
	CustomerID     Field = 12 // what Acqueon's console can search by
)

// maskedBit marks a value in the sealed format that has been masked for good: the
// clear value is gone (see Subject.Forget).
const maskedBit = 0x80

var fieldNames = [...]string{
	Email: "email", OtherEmail: "other_email", Telephone: "telephone", OtherTelephone: "other_telephone",
	CustomerKey: "customer_key", AccountNumber: "account_number", CallID: "call_id", AgentID: "agent_id",
	CustomerName: "customer_name", Comments: "comments", Region: "region", CustomerID: "customer_id",
}

// String is the field's column name in the input and in the report's identifier_kind.
func (f Field) String() string {
	if int(f) < len(fieldNames) {
		return fieldNames[f]
	}
	return ""
}

// Fields lists all fields, in order.
func Fields() []Field {
	var all []Field
	for f := Email; int(f) < len(fieldNames); f++ {
		all = append(all, f)
	}
	return all
}

// FieldSet is a set of fields.
type FieldSet uint32

// SetOf returns the set of the given fields.
func SetOf(fields ...Field) FieldSet {
	var s FieldSet
	for _, f := range fields {
		s |= 1 << f
	}
	return s
}

// Has reports whether f is in the set.
func (s FieldSet) Has(f Field) bool { return s&(1<<f) != 0 }

// Value is one field of a subject.
type Value struct {
	Field  Field
	Text   string
	Masked bool // Text is only the masked form; the clear one has been dropped
}

// masked is the form in which a value may be shown.
func (v Value) masked() string {
	if v.Masked {
		return v.Text
	}
	return Mask(v.Field, v.Text)
}

// Format prints the field and the masked value whatever the verb, so that a subject in a
// log line or in the text of a panic says nothing of the person.
func (v Value) Format(f fmt.State, _ rune) { io.WriteString(f, v.Field.String()+"="+v.masked()) }

// MarshalText does the same for encoders: JSON logs are one.
func (v Value) MarshalText() ([]byte, error) { return []byte(v.Field.String() + "=" + v.masked()), nil }

// Subject is what the input said about one person: the non-empty fields, in field order.
type Subject []Value

// Get returns the first clear value of f, or "".
func (s Subject) Get(f Field) string { return s.At(Ref{Field: f}) }

// Ref points at one value of a subject: the Nth (from 0) of its Field.
type Ref struct {
	Field Field
	Nth   int
}

// At returns the clear value that r points at, or "" where there is none (any more).
func (s Subject) At(r Ref) string {
	if v, ok := s.value(r); ok && !v.Masked {
		return v.Text
	}
	return ""
}

// MaskedAt returns the masked form of what r points at, whether or not the clear one is
// still there.
func (s Subject) MaskedAt(r Ref) string {
	if v, ok := s.value(r); ok {
		return v.masked()
	}
	return ""
}

func (s Subject) value(r Ref) (Value, bool) {
	n := 0
	for _, v := range s {
		if v.Field != r.Field {
			continue
		}
		if n == r.Nth {
			return v, true
		}
		n++
	}
	return Value{}, false
}

// Identifiers are the fields that a task can be about; what else a subject has (a name,
// comments) only accompanies them.
var Identifiers = SetOf(Email, OtherEmail, Telephone, OtherTelephone, CustomerKey, AccountNumber)

// Forget returns the subject with every field outside keep dropped: identifiers leave
// their masked form behind, which is what reports show; everything else leaves nothing.
func (s Subject) Forget(keep FieldSet) Subject {
	out := make(Subject, 0, len(s))
	for _, v := range s {
		if v, ok := v.forget(keep); ok {
			out = append(out, v)
		}
	}
	return out
}

func (v Value) forget(keep FieldSet) (_ Value, ok bool) {
	switch {
	case v.Masked || keep.Has(v.Field):
		return v, true
	case Identifiers.Has(v.Field):
		return Value{Field: v.Field, Text: Mask(v.Field, v.Text), Masked: true}, true
	}
	return Value{}, false
}

// Merge returns what is to be kept of a subject whose row has come again: each identifier as
// s has it where s has it in clear, else as fresh has it, and everything else as fresh has it,
// if it does. same is false where the two show other identifiers; of one that is masked in
// either, only the masked forms can be compared.
func (s Subject) Merge(fresh Subject) (merged Subject, same bool) {
	merged, same = slices.Clone(fresh), true
	for _, f := range Fields() {
		if !Identifiers.Has(f) {
			if !slices.ContainsFunc(fresh, func(v Value) bool { return v.Field == f }) {
				merged = append(merged, s.values(f)...)
			}
			continue
		}
		old := s.values(f)
		n := 0
		for i := range merged {
			if merged[i].Field != f {
				continue
			}
			if n == len(old) {
				return nil, false
			}
			same = same && alike(old[n], merged[i])
			if !old[n].Masked {
				merged[i] = old[n]
			}
			n++
		}
		if n < len(old) {
			return nil, false
		}
	}
	slices.SortStableFunc(merged, func(a, b Value) int { return cmp.Compare(a.Field, b.Field) })
	return merged, same
}

func (s Subject) values(f Field) []Value {
	var all []Value
	for _, v := range s {
		if v.Field == f {
			all = append(all, v)
		}
	}
	return all
}

// alike reports whether two values of one field can be the same identifier.
func alike(a, b Value) bool {
	if !a.Masked && !b.Masked {
		_, x := Normal(a.Field, a.Text)
		_, y := Normal(b.Field, b.Text)
		return x == y
	}
	// In spelling, a number differs by what stands between its digits, the rest by case.
	plain := func(r rune) rune {
		if isWordRune(r) || r == '@' {
			return unicode.ToLower(r)
		}
		return -1
	}
	return strings.Map(plain, a.masked()) == strings.Map(plain, b.masked())
}

// AppendBinary appends the subject's stored form (which the store seals) to b: for each
// value a tag byte (the field, its high bit set when masked), the length as a uvarint,
// and the text.
func (s Subject) AppendBinary(b []byte) ([]byte, error) {
	for _, v := range s {
		b = v.append(b)
	}
	return b, nil
}

// AppendKept appends the stored form of Forget(keep) to b.
func (s Subject) AppendKept(b []byte, keep FieldSet) []byte {
	for _, v := range s {
		if v, ok := v.forget(keep); ok {
			b = v.append(b)
		}
	}
	return b
}

func (v Value) append(b []byte) []byte {
	tag := byte(v.Field)
	if v.Masked {
		tag |= maskedBit
	}
	b = append(b, tag)
	b = binary.AppendUvarint(b, uint64(len(v.Text)))
	return append(b, v.Text...)
}

var errSubjectForm = errors.New("malformed stored subject")

// ParseSubject reads what AppendBinary wrote.
func ParseSubject(b []byte) (Subject, error) {
	var s Subject
	for len(b) > 0 {
		tag := b[0]
		n, w := binary.Uvarint(b[1:])
		if w <= 0 || n > uint64(len(b)-1-w) {
			return nil, errSubjectForm
		}
		text := b[1+w : 1+w+int(n)]
		s = append(s, Value{Field: Field(tag &^ maskedBit), Masked: tag&maskedBit != 0, Text: string(text)})
		b = b[1+w+int(n):]
	}
	return s, nil
}

// Normal is the form in which two spellings of one identifier are equal, with the class
// of identifier it belongs to: email and other_email are one class, so are the two
// telephones. An email's is in small letters and composed (NFC), its domain as it is looked
// up (A-labels). It serves comparison only; what is sent is what the input said.
func Normal(f Field, text string) (class Field, normal string) {
	switch f {
	case Email, OtherEmail:
		return Email, normalEmail(strings.TrimSpace(text))
	case Telephone, OtherTelephone:
		return Telephone, Digits(text)
	}
	return f, strings.TrimSpace(text)
}

func normalEmail(text string) string {
	text = strings.ToLower(text)
	if !strings.ContainsFunc(text, func(r rune) bool { return r >= utf8.RuneSelf }) {
		return text
	}
	text = norm.NFC.String(text)
	at := strings.LastIndexByte(text, '@')
	if domain, err := idna.Lookup.ToASCII(text[at+1:]); at >= 0 && err == nil {
		text = text[:at+1] + domain
	}
	return text
}

// Plus writes a telephone number that says its country with the prefix 00 with a plus sign
// instead, which is read alike in every country: +46701740605 for 0046701740605. Any other
// number stays as it is.
func Plus(text string) string {
	if rest, ok := strings.CutPrefix(strings.TrimLeft(text, " ("), "00"); ok {
		return "+" + rest
	}
	return text
}

// Digits returns the digits of a telephone number, with a leading 00 (the international
// prefix) dropped, so that +46 8 123 and 0046-8-123 are equal.
func Digits(text string) string {
	d := strings.Map(func(r rune) rune {
		if r >= '0' && r <= '9' {
			return r
		}
		return -1
	}, text)
	return strings.TrimPrefix(d, "00")
}
