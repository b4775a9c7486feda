package vendors

import (
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"
)

func TestControl(t *testing.T) {
	for _, c := range []Control{
		{Email: "control@example.com"}, {Email: "Contrôle@bücher.example"}, {Telephone: "+1 (202) 555-0177"}, {},
	} {
		if err := c.Validate(); err != nil {
			t.Errorf("%+v: %v", c, err)
		}
		if (c.Target() == nil) != c.IsZero() {
			t.Errorf("%+v: target %v", c, c.Target())
		}
	}
	for key, all := range map[string][]Control{
		"control": {{Email: "control@example.com", Telephone: "+12025550177"}},
		"control.email": {
			{Email: "control"}, {Email: "control@"}, {Email: "@example.com"}, {Email: "control@example"}, {Email: "control@.example."},
			{Email: "a b@example.com"}, {Email: "a@b@example.com"}, {Email: "a\u00ad@example.com"},
		},
		"control.telephone": {{Telephone: "1234"}, {Telephone: "control@example.com"}, {Telephone: "+1202555O177"}},
	} {
		for _, c := range all {
			var problem *KeyError
			if err := c.Validate(); !errors.As(err, &problem) || problem.Key != key || problem.Hint == "" {
				t.Errorf("%+v: %v, want a problem of %s with a hint", c, err, key)
			} else if strings.Contains(problem.Error(), "example.com") {
				t.Errorf("%v quotes the value", problem)
			}
		}
	}
}

// A person whose identifiers lead to the control record must not be taken for a person.
func TestControlCovers(t *testing.T) {
	byEmail, byTelephone := Control{Email: "Control@example.com"}, Control{Telephone: "+12025550177"}
	for _, tt := range []struct {
		control Control
		value   Value
		want    bool
	}{
		{byEmail, Value{Field: Email, Text: "control@Example.com"}, true},
		{byEmail, Value{Field: OtherEmail, Text: " control@example.com "}, true},
		{byEmail, Value{Field: Email, Text: "control@example.com", Masked: true}, false},
		{byEmail, Value{Field: Comments, Text: "control@example.com"}, false},
		{byEmail, Value{Field: Email, Text: "controls@example.com"}, false},
		{byTelephone, Value{Field: OtherTelephone, Text: "0012025550177"}, true},
		{byTelephone, Value{Field: Telephone, Text: "+12025550178"}, false},
		{Control{}, Value{Field: Email, Text: ""}, false},
	} {
		if got := tt.control.Covers(Subject{{Field: CustomerName, Text: "Ada"}, tt.value}); got != tt.want {
			t.Errorf("%+v, %v: %v", tt.control, tt.value, got)
		}
	}
}

// Strangers must be strangers to each other: an answer that was kept for one would pass for
// the vendor's way to say that it holds nothing.
func TestStranger(t *testing.T) {
	seen := map[string]bool{}
	for range 100 {
		s := Stranger(OtherEmail)
		if text := s.Identifier(); s.Ref.Field != Email || !strings.HasSuffix(text, "@example.com") || seen[text] || s.Control {
			t.Fatalf("%v", s)
		}
		seen[s.Identifier()] = true
	}
	for range 20 {
		if s := Stranger(OtherTelephone); s.Ref.Field != Telephone || !strings.HasPrefix(s.Identifier(), "+447700900") || len(s.Identifier()) != 13 {
			t.Fatalf("%v", s)
		}
	}
}

// Two spellings of one place are one place; nothing else is.
func TestPlaceOf(t *testing.T) {
	at := func(kind, text, account string) string {
		u, err := url.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		return PlaceOf(kind, u, account)
	}
	first := at("acme", "https://api.example.com", "client-1")
	if first != "acme api.example.com client-1" {
		t.Errorf("%q", first)
	}
	for _, same := range []string{"https://API.example.com", "https://api.example.com:443", "https://api.example.com/"} {
		if got := at("acme", same, "client-1"); got != first {
			t.Errorf("%s: %q, want %q", same, got, first)
		}
	}
	for _, other := range []string{
		at("acne", "https://api.example.com", "client-1"), at("acme", "https://api.example.org", "client-1"), at("acme", "https://api.example.com", "client-2"),
		at("acme", "https://api.example.com", ""), at("acme", "https://api.example.com:8443", "client-1"), at("acme", "https://api.example.com/v2", "client-1"),
		at("acme", "http://api.example.com:443", "client-1"),
	} {
		if other == first {
			t.Errorf("%q is not another place", other)
		}
	}
	if a, b := at("acme", "wss://api.example.com:443/bus", ""), at("acme", "https://api.example.com/bus", ""); a != b {
		t.Errorf("%q and %q", a, b)
	}
}

// What a vendor says of two people of whom it knows nothing is the same but for them.
func TestFormOf(t *testing.T) {
	answer := func(status int, kind, body string) *Answer {
		return &Answer{Status: status, Header: http.Header{"Content-Type": {kind}}, Body: []byte(body)}
	}
	about := func(who string) string { // an answer that quotes in every way
		quoted := strings.ReplaceAll(who, "+", `\u002b`)
		return `{"message":"no ` + who + `","link":"/?email=` + url.QueryEscape(who) + `","q":"` + strings.ToUpper(who) + `","p":"` + url.PathEscape(who) + `"}` + strings.ReplaceAll(quoted, `\u002b`, "+")
	}
	ada := FormOf(answer(404, "application/json", about("ada+x@example.com")), "ada+x@example.com")
	if ada == "" || strings.Contains(ada, "ada") || len(ada) != 16 {
		t.Errorf("%q", ada)
	}
	if bo := FormOf(answer(404, "application/json; charset=utf-8", about("bo@example.org")+"\n"), "bo@example.org"); bo != ada {
		t.Error("two people have two forms")
	}
	for what, a := range map[string]*Answer{
		"status": answer(422, "application/json", about("ada+x@example.com")), "kind": answer(404, "text/html", about("ada+x@example.com")),
		"body": answer(404, "application/json", about("ada+x@example.com")+"."), "another person": answer(404, "application/json", about("bo@example.org")),
	} {
		if FormOf(a, "ada+x@example.com") == ada {
			t.Errorf("another %s has the same form", what)
		}
	}
	// One person in two spellings, of which one holds the other; a telephone also as digits.
	two := FormOf(answer(404, "", "no ada@example.com.example, ada@example.com"), "ada@example.com", "ada@example.com.example")
	if two != FormOf(answer(404, "", "no bo@example.org, bo@example.com"), "bo@example.org", "bo@example.com") {
		t.Error("spellings disturb each other")
	}
	if FormOf(answer(404, "", "12025550123 not found"), "+1 202 555-0123") != FormOf(answer(404, "", "447700900001 not found"), "+447700900001") {
		t.Error("a telephone's digits are part of its form")
	}
	if FormOf(answer(404, "", "/p/+1%20202%20555-0123"), "+1 202 555-0123") != FormOf(answer(404, "", "/p/+447700900001"), "+447700900001") {
		t.Error("a telephone in a path is part of its form")
	}
	if FormOf(answer(404, "", "id 1990"), "ada1990@example.com") == FormOf(answer(404, "", "id 1991"), "ada1991@example.com") {
		t.Error("the digits of an email are taken for it")
	}
}

// A submission that the address did not take had no effect; what may pass may have had one.
func TestHarmless(t *testing.T) {
	for kind, want := range map[error]bool{
		ErrNotSent: true, ErrRateLimited: true, ErrAuth: true, ErrRefused: true, ErrAddress: true, ErrUnavailable: false, ErrUnreadable: false,
	} {
		if got := Harmless(&Error{Kind: kind}); got != want {
			t.Errorf("%v: %v", kind, got)
		}
	}
}

func TestActs(t *testing.T) {
	for act, want := range map[Act]string{Anonymize: "anonymized", Remove: "removed", Pseudonymize: "pseudonymized: masked in part", "delete": ""} {
		if got := act.Done(); got != want {
			t.Errorf("%s: %q, want %q", act, got, want)
		}
	}
}

type teller struct{ Vendor }

func (teller) Traits() Traits         { return Traits{Control: Control{Email: "control@example.com"}.Target()} }
func (teller) IsControl(Subject) bool { return true }

type plain struct{ Vendor }

func (plain) Traits() Traits { return teller{}.Traits() }

// TestControlOf: a vendor's own knowledge of spellings comes before what all have.
func TestControlOf(t *testing.T) {
	somebody, itself := Subject{{Field: Email, Text: "ada@example.com"}}, Subject{{Field: OtherEmail, Text: "Control@example.com"}}
	if is := ControlOf(teller{}); !is(somebody) {
		t.Error("the vendor is not asked")
	}
	if is := ControlOf(plain{}); is(somebody) || !is(itself) {
		t.Errorf("%v %v", is(somebody), is(itself))
	}
}
