package trial

import (
	"os"
	"strings"
	"testing"

	"expunge/vendors/rest"
	"expunge/vendors/vendortest"
)

// shipped calls f with every shipped recipe, and with the made-up one, which uses what they do
// not.
func shipped(t *testing.T, f func(t *testing.T, file string, data []byte)) {
	t.Run("acme", func(t *testing.T) {
		data, err := os.ReadFile("../testdata/acme.yaml")
		if err != nil {
			t.Fatal(err)
		}
		f(t, "acme.yaml", data)
	})
	for _, ref := range rest.Shipped() {
		t.Run(ref, func(t *testing.T) {
			name, _, _ := strings.Cut(ref, "@")
			data, err := rest.Text(name)
			if err != nil {
				t.Fatal(err)
			}
			f(t, name+".yaml", data)
		})
	}
}

// TestConformance is the suite of every adapter, on every shipped recipe with its twin.
func TestConformance(t *testing.T) {
	shipped(t, func(t *testing.T, file string, data []byte) {
		c, err := Case(file, data)
		if err != nil {
			t.Fatal(err)
		}
		vendortest.Run(t, c)
	})
}
