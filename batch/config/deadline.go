package config

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Deadline is how long a request may take: calendar months, or days. GDPR Art. 12(3)
// gives one calendar month from receipt. The zero value is no time at all; the default of
// a config is one month.
type Deadline struct {
	Months int
	Days   int
}

const wantDeadline = "a deadline such as 1 month or 30 days"

// Wants implements strict.Wanted.
func (*Deadline) Wants() string { return wantDeadline }

var deadlineForm = regexp.MustCompile(`^(?i)([0-9]{1,3}) *(months?|days?|d)$`)

// UnmarshalText implements encoding.TextUnmarshaler: "1 month", "2 months", "30 days",
// "30d"; at least a day, at most 12 months or 366 days.
func (d *Deadline) UnmarshalText(text []byte) error {
	bad := fmt.Errorf("%q is not %s", text, wantDeadline)
	m := deadlineForm.FindStringSubmatch(strings.TrimSpace(string(text)))
	if m == nil {
		return bad
	}
	n, err := strconv.Atoi(m[1])
	months := m[2][0] == 'm' || m[2][0] == 'M'
	if err != nil || n < 1 || n > 366 || months && n > 12 {
		return bad
	}
	if months {
		*d = Deadline{Months: n}
	} else {
		*d = Deadline{Days: n}
	}
	return nil
}

// From returns when a request that was received at the given time is due, in UTC. A month
// ends on the same day of the later month, or on its last day where it has no such day:
// from 31 January, one month ends on 28 or 29 February. The time of day is kept, which is
// never later than the end of the day that the law would allow.
func (d Deadline) From(received time.Time) time.Time {
	t := received.UTC()
	if d.Months > 0 {
		later := t.AddDate(0, d.Months, 0)
		if later.Day() != t.Day() {
			// AddDate ran over into the month after: go back to the last day before it.
			later = later.AddDate(0, 0, -later.Day())
		}
		t = later
	}
	return t.AddDate(0, 0, d.Days)
}

func (d Deadline) String() string {
	n, unit := d.Days, "day"
	if d.Months > 0 {
		n, unit = d.Months, "month"
	}
	if n != 1 {
		unit += "s"
	}
	return fmt.Sprintf("%d %s", n, unit)
}
