package vendors

import "testing"

// TestCanonical: the usual spellings of one identifier are one, and others are others. The
// results are what marks in stores were made of: they must stay as they are.
func TestCanonical(t *testing.T) {
	for _, tt := range []struct {
		field              Field
		text, region, want string
	}{
		{Email, "Jane.Doe@Example.COM ", "", "jane.doe@example.com"},
		{OtherEmail, "jürgen@bücher.example", "", "jürgen@xn--bcher-kva.example"},
		{OtherEmail, "jürgen@xn--bcher-kva.example", "", "jürgen@xn--bcher-kva.example"},
		{Telephone, "+46 70 174 06 05", "", "+46701740605"},
		{Telephone, "0046-70-1740605", "", "+46701740605"},
		{OtherTelephone, "+46 (0)70-174 06 05", "", "+46701740605"},
		{OtherTelephone, "0046 (0)70-174 06 05", "", "+46701740605"},
		{Telephone, "070-174 06 05", "SE", "+46701740605"},
		{Telephone, "(202) 555-0123", "US", "+12025550123"},
		{Telephone, "+1 (202) 555-0123", "SE", "+12025550123"},
		{Telephone, "070-174 06 05", "", "0701740605"},
		{Telephone, "12345", "SE", "+4612345"},
		{Telephone, "1", "SE", "1"},
		{CustomerKey, " AB-12 ", "", "ab-12"},
		{AccountNumber, "e\u0301A", "", "\u00e9a"},
	} {
		if got := Canonical(tt.field, tt.text, tt.region); got != tt.want {
			t.Errorf("%v %q in %q: %q, want %q", tt.field, tt.text, tt.region, got, tt.want)
		}
	}
}
