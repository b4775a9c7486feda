package config

import (
	"testing"
	"time"
)

// A due date that is a day late breaks the law, one that is early alarms for nothing: the
// ends of months are where the two happen.
func TestDeadlineFrom(t *testing.T) {
	tests := []struct{ deadline, received, want string }{
		{"1 month", "2026-01-15T10:30:00Z", "2026-02-15T10:30:00Z"},
		{"1 month", "2026-01-31T23:59:59Z", "2026-02-28T23:59:59Z"},
		{"1 month", "2028-01-31T00:00:00Z", "2028-02-29T00:00:00Z"},
		{"1 month", "2026-01-29T12:00:00Z", "2026-02-28T12:00:00Z"},
		{"1 month", "2026-02-28T12:00:00Z", "2026-03-28T12:00:00Z"},
		{"1 month", "2026-03-31T12:00:00Z", "2026-04-30T12:00:00Z"},
		{"1 month", "2026-12-31T12:00:00Z", "2027-01-31T12:00:00Z"},
		{"3 months", "2026-11-30T12:00:00Z", "2027-02-28T12:00:00Z"},
		{"12 months", "2028-02-29T12:00:00Z", "2029-02-28T12:00:00Z"},
		{"30 days", "2026-01-31T12:00:00Z", "2026-03-02T12:00:00Z"},
		{"45d", "2026-03-01T12:00:00Z", "2026-04-15T12:00:00Z"},
		// In UTC whatever the zone that the request came in: here it is already February.
		{"1 month", "2026-01-31T23:00:00-05:00", "2026-03-01T04:00:00Z"},
	}
	for _, tt := range tests {
		var d Deadline
		if err := d.UnmarshalText([]byte(tt.deadline)); err != nil {
			t.Fatal(err)
		}
		received, err := time.Parse(time.RFC3339, tt.received)
		if err != nil {
			t.Fatal(err)
		}
		if got := d.From(received).Format(time.RFC3339); got != tt.want {
			t.Errorf("%s from %s is %s, want %s", tt.deadline, tt.received, got, tt.want)
		}
	}
}

// A deadline that is misread is worse than one that is refused.
func TestDeadlineText(t *testing.T) {
	for text, want := range map[string]string{
		"1 month": "1 month", "1month": "1 month", " 2 Months ": "2 months", "12 months": "12 months",
		"30 days": "30 days", "30d": "30 days", "1 day": "1 day", "366d": "366 days",
	} {
		var d Deadline
		if err := d.UnmarshalText([]byte(text)); err != nil || d.String() != want {
			t.Errorf("%q is %v (%v), want %s", text, d, err, want)
		}
	}
	for _, text := range []string{
		"", "1", "month", "0 days", "0 months", "-1 days", "1.5 months", "13 months", "367 days",
		"720h", "1 m", "1 month 2 days", "30 days\n1",
	} {
		d := Deadline{Months: 7}
		if err := d.UnmarshalText([]byte(text)); err == nil || d != (Deadline{Months: 7}) {
			t.Errorf("%q was read as %v", text, d)
		}
	}
}
