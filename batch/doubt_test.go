package batch

import (
	"slices"
	"testing"

	"expunge/store"
	"expunge/vendors"
)

// Whose record a telephone finds is told by the subject's emails, and what a request about
// an account says by its other identifiers: where those differ, nobody follows, or one
// person's request ends by a decision about another.
func TestFollowsWhoIsAlike(t *testing.T) {
	alike := (&planner{besides: map[int64]map[vendors.Field]vendors.FieldSet{1: {
		vendors.Telephone:     vendors.SetOf(vendors.Email, vendors.OtherEmail),
		vendors.AccountNumber: vendors.SetOf(vendors.Email, vendors.OtherEmail, vendors.Telephone, vendors.AgentID),
	}}}).sameIdentifier
	const phone = "+46701740605"
	work := func(f vendors.Field, others ...vendors.Value) store.Work {
		text := map[vendors.Field]string{vendors.Telephone: phone, vendors.AccountNumber: "934|1", vendors.CustomerKey: "key", vendors.Email: "a@example.com"}[f]
		s := append(vendors.Subject{{Field: f, Text: text}}, others...)
		slices.SortStableFunc(s, func(a, b vendors.Value) int { return int(a.Field) - int(b.Field) })
		plain, err := s.AppendBinary(nil)
		if err != nil {
			t.Fatal(err)
		}
		return store.Work{Task: store.Task{Vendor: 1, Field: int(f)}, Plain: plain}
	}
	is := func(f vendors.Field, text string) vendors.Value { return vendors.Value{Field: f, Text: text} }
	anna, bob := is(vendors.OtherEmail, "anna@example.com"), is(vendors.OtherEmail, "bob@example.com")
	for _, tt := range []struct {
		name string
		a, b store.Work
		want bool
	}{
		{"telephone, one email", work(vendors.Telephone, anna), work(vendors.Telephone, is(vendors.Email, "Anna@example.com")), true},
		{"telephone, two people", work(vendors.Telephone, anna), work(vendors.Telephone, bob), false},
		{"telephone, one without email", work(vendors.Telephone, anna), work(vendors.Telephone), false},
		{"telephone, other keys", work(vendors.Telephone, anna, is(vendors.CustomerKey, "1")), work(vendors.Telephone, anna, is(vendors.CustomerKey, "2")), true},
		{"account, alike", work(vendors.AccountNumber, anna, is(vendors.AgentID, "7")), work(vendors.AccountNumber, anna, is(vendors.AgentID, "7")), true},
		{"account, one without agent", work(vendors.AccountNumber, anna), work(vendors.AccountNumber, anna, is(vendors.AgentID, "7")), false},
		{"account, other telephone", work(vendors.AccountNumber, is(vendors.Telephone, phone)), work(vendors.AccountNumber, is(vendors.Telephone, "+12025550123")), false},
		{"email, other telephones", work(vendors.Email, is(vendors.Telephone, phone)), work(vendors.Email, is(vendors.Telephone, "+12025550123")), true},
		{"key, other emails", work(vendors.CustomerKey, anna), work(vendors.CustomerKey, bob), true},
	} {
		if got := alike(tt.a, tt.b); got != tt.want {
			t.Errorf("%s: %v", tt.name, got)
		}
	}
}

// One telephone in two spellings is looked up in two ways, and a vendor may know one and
// not the other: the outcome of the one must not be reported for the other, or a person is
// reported as not found whom nobody looked up.
func TestTelephoneFollowsItsSpellingOnly(t *testing.T) {
	work := func(vendor int64, f vendors.Field, text string) store.Work {
		plain, err := vendors.Subject{{Field: f, Text: text}}.AppendBinary(nil)
		if err != nil {
			t.Fatal(err)
		}
		return store.Work{Task: store.Task{Vendor: vendor, Field: int(f)}, Plain: plain}
	}
	for _, tt := range []struct {
		a, b store.Work
		want bool
	}{
		{work(1, vendors.Telephone, "+46 70 174 06 05"), work(1, vendors.OtherTelephone, "+46 70 174 06 05"), true},
		{work(1, vendors.Telephone, "+46 70 174 06 05"), work(1, vendors.Telephone, "0046701740605"), false},
		{work(1, vendors.Telephone, "46701740605"), work(1, vendors.Telephone, "+46701740605"), false},
		{work(1, vendors.Email, "Anna@example.com"), work(1, vendors.OtherEmail, "anna@example.com"), true},
		{work(1, vendors.Email, "anna@example.com"), work(2, vendors.Email, "anna@example.com"), false},
		{work(1, vendors.Email, "anna@example.com"), work(1, vendors.CustomerKey, "anna@example.com"), false},
	} {
		if got := new(planner).sameIdentifier(tt.a, tt.b); got != tt.want {
			t.Errorf("%v %q and %q: %v", vendors.Field(tt.a.Field), tt.a.Plain, tt.b.Plain, got)
		}
	}
}
