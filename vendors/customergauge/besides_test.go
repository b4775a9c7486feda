package customergauge

import (
	"testing"

	"expunge/vendors"
)

// TestBesides: what makes a telephone's record the subject's own is what has to be equal for
// two subjects to share the call.
func TestBesides(t *testing.T) {
	const phone, email = "+12025550123", "bob@example.com"
	rests := (&Vendor{}).Traits().Besides
	for _, f := range vendors.Fields() {
		if f == vendors.Telephone {
			continue
		}
		s := vendors.Subject{{Field: f, Text: email}, {Field: vendors.Telephone, Text: phone}}
		decides := (&Vendor{}).owner(record{Email: email}, vendors.Telephone, []form{{value: phone}}, s) == ""
		if rests[vendors.Telephone].Has(f) != decides {
			t.Errorf("telephone, %v: decides %v, Besides has it %v", f, decides, !decides)
		}
	}
	if rests[vendors.Email] != 0 {
		t.Error("an email is compared with its record alone")
	}
}
