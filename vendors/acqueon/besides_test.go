package acqueon

import (
	"bytes"
	"testing"

	"expunge/vendors"
)

// TestBesides: two subjects with one account share a request only where it says the same of
// both, but for the name and the comments, which identify nobody.
func TestBesides(t *testing.T) {
	v := &Vendor{config: Config{}}
	rests := v.Traits().Besides[vendors.AccountNumber]
	says := func(s vendors.Subject) []byte {
		message, err := encode(v.config.Dialect, v.config.Source, v.agent(s), "934|1", s)
		if err != nil {
			t.Fatal(err)
		}
		return message
	}
	plain := says(nil)
	for _, f := range vendors.Fields() {
		if f == vendors.CustomerName || f == vendors.Comments {
			continue
		}
		decides := !bytes.Equal(says(vendors.Subject{{Field: f, Text: "7"}}), plain)
		if rests.Has(f) != decides {
			t.Errorf("%v: in the request %v, Besides has it %v", f, decides, !decides)
		}
	}
}
