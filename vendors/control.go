package vendors

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"math/big"
	"net/url"
	"strings"
	"unicode"
)

// This file holds what shows that an answer of a vendor comes from the right place: the
// control record, which is always there, the stranger, who never is, and the place itself.

// Control names a record of the company's own at a vendor that can be asked, by an email or
// a telephone: it is always there and is never erased.
type Control struct {
	Email     string `yaml:"email"`
	Telephone string `yaml:"telephone"`
}

// IsZero reports whether none is named.
func (c Control) IsZero() bool { return c == Control{} }

// Validate reports what is wrong with the value of the key control, as a *KeyError.
func (c Control) Validate() error {
	local, domain, at := strings.Cut(c.Email, "@")
	bad := func(key, problem string) error {
		return &KeyError{Key: key, Problem: problem, Hint: "name a record of your own that is always there and never erased, such as control: {email: control@example.com}"}
	}
	switch {
	case c.IsZero():
		return nil
	case c.Email != "" && c.Telephone != "":
		return bad("control", "names two records")
	case c.Telephone != "" && !isDialled(c.Telephone):
		return bad("control.telephone", "is not a telephone number")
	case c.Telephone != "":
		return nil
	case !at || local == "" || !strings.Contains(strings.Trim(domain, "."), ".") || strings.Contains(domain, "@") ||
		strings.ContainsFunc(c.Email, func(r rune) bool { return unicode.IsSpace(r) || !unicode.IsPrint(r) }):
		return bad("control.email", "is not an email address")
	}
	return nil
}

// isDialled reports whether text is a telephone number as people write them: at least five
// digits, and nothing but the signs that go with them.
func isDialled(text string) bool {
	return len(Digits(text)) >= 5 && strings.Trim(text, "0123456789 ()+-./") == ""
}

// Target is the control record as a call needs it; nil: none is named.
func (c Control) Target() *Target {
	field, text := Email, c.Email
	switch {
	case c.IsZero():
		return nil
	case c.Telephone != "":
		field, text = Telephone, c.Telephone
	}
	return &Target{Ref: Ref{Field: field}, Subject: Subject{{Field: field, Text: text}}, Control: true}
}

// Covers reports whether one of the subject's values is the control record's own.
func (c Control) Covers(s Subject) bool { return covers(c.Target(), s) }

// controlTeller is a vendor that knows more spellings of its control record than Covers.
type controlTeller interface {
	IsControl(s Subject) bool
}

// ControlOf returns what tells whether one of a subject's values leads to the vendor's control
// record; nil: it has none.
func ControlOf(v Vendor) func(Subject) bool {
	own := v.Traits().Control
	if own == nil {
		return nil
	}
	if t, ok := v.(controlTeller); ok {
		return t.IsControl
	}
	return func(s Subject) bool { return covers(own, s) }
}

func covers(own *Target, s Subject) bool {
	if own == nil {
		return false
	}
	class, normal := Normal(own.Ref.Field, own.Identifier())
	for _, v := range s {
		if at, text := Normal(v.Field, v.Text); !v.Masked && at == class && text == normal {
			return true
		}
	}
	return false
}

// Stranger is somebody whom nobody can be, another one each time: an email at a domain that
// nobody can have (RFC 2606), or, for the class Telephone, a number of those that are kept
// free for stories (Ofcom, 07700 900000 to 900999). What a vendor answers about a stranger is
// how it says that it holds nothing.
func Stranger(class Field) *Target {
	field, text := Email, ""
	if at, _ := Normal(class, ""); at == Telephone {
		n, err := rand.Int(rand.Reader, big.NewInt(1000))
		if err != nil {
			panic(err) // crypto/rand never fails
		}
		field, text = Telephone, fmt.Sprintf("+447700900%03d", n)
	} else {
		var b [12]byte
		rand.Read(b[:]) // never fails (crypto/rand)
		text = "expunge-" + hex.EncodeToString(b[:]) + "@example.com"
	}
	return &Target{Ref: Ref{Field: field}, Subject: Subject{{Field: field, Text: text}}}
}

// PlaceOf writes a place (Traits.Place): equal places have equal texts, however their URLs
// are spelled. account is what of the account is no secret and not in the host; may be "".
func PlaceOf(kind string, at *url.URL, account string) string {
	host := strings.ToLower(at.Host)
	for _, usual := range []string{"https:443", "wss:443", "http:80", "ws:80"} {
		scheme, port, _ := strings.Cut(usual, ":")
		if at.Scheme == scheme {
			host = strings.TrimSuffix(host, ":"+port)
		}
	}
	place := kind + " " + host + strings.TrimRight(at.Path, "/")
	if account != "" {
		place += " " + account
	}
	return place
}
