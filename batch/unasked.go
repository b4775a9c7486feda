package batch

import (
	"slices"

	"expunge/vendors"
)

// unasked returns what names those of the vendors that would be asked about nobody of a file
// which has columns for some fields only. only, if not empty, are the vendors that the run is
// for; a file is planned for all.
func unasked(lanes []*Lane, only []string) func(has vendors.FieldSet) []string {
	return func(has vendors.FieldSet) (names []string) {
		// A person of whom everything is known that the file can say. A region is left out:
		// whose it is depends on the person.
		var anybody vendors.Subject
		for _, f := range vendors.Fields() {
			if has.Has(f) && f != vendors.Region {
				anybody = append(anybody, vendors.Value{Field: f, Text: anyText(f)})
			}
		}
		for _, l := range lanes {
			if len(only) > 0 && !slices.Contains(only, l.Name) {
				continue
			}
			if refs, _ := l.Vendor.Identifiers(anybody); len(refs) == 0 {
				names = append(names, l.Name)
			}
		}
		slices.Sort(names)
		return names
	}
}

// anyText is a value that no vendor takes for a mistake.
func anyText(f vendors.Field) string {
	switch f {
	case vendors.Email, vendors.OtherEmail:
		return "name@example.com"
	case vendors.Telephone, vendors.OtherTelephone:
		return "+12025550123"
	case vendors.CustomerKey:
		return "00000000-0000-4000-8000-000000000001"
	}
	return "1"
}
