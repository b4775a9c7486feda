package intake

import (
	"cmp"
	"fmt"
	"iter"
	"strconv"
	"strings"
	"time"
)

// DateFormat says how a file writes its dates where it does not write them in the form of
// ISO 8601, which is always read: an order such as dd.mm.yyyy, or excel for days since
// 1899-12-30, as spreadsheets count them. "" is ISO 8601 alone. See UnmarshalText.
type DateFormat string

const excel DateFormat = "excel"

const wantDateFormat = "a date format: iso, dd.mm.yyyy, mm/dd/yyyy (or another order of the three, with . / or - between them), or excel for a spreadsheet's day numbers"

// Wants says what a date format is.
func (*DateFormat) Wants() string { return wantDateFormat }

// UnmarshalText implements encoding.TextUnmarshaler: "iso", "excel", or an order such as
// dd.mm.yyyy.
func (f *DateFormat) UnmarshalText(text []byte) error {
	name := strings.ToLower(strings.TrimSpace(string(text)))
	switch name {
	case "iso", "yyyy-mm-dd":
		*f = ""
		return nil
	case string(excel):
		*f = excel
		return nil
	}
	bad := fmt.Errorf("%q is not %s", text, wantDateFormat)
	i := strings.IndexAny(name, "./-")
	if i < 0 {
		return bad
	}
	parts := strings.Split(name, name[i:i+1])
	seen := map[string]bool{}
	for n, part := range parts {
		switch part {
		case "d", "m":
			part += part
			parts[n] = part
		case "dd", "mm", "yyyy", "yy":
		default:
			return bad
		}
		seen[part[:1]] = true
	}
	if len(parts) != 3 || len(seen) != 3 {
		return bad
	}
	*f = DateFormat(strings.Join(parts, name[i:i+1]))
	return nil
}

// String is the name of the format.
func (f DateFormat) String() string { return cmp.Or(string(f), "iso") }

// read reads a date, which is midnight UTC, or a time. A time that does not say its zone is
// taken for UTC. day is true for a date.
func (f DateFormat) read(text string) (t time.Time, day, ok bool) {
	if t, day, ok = isoTime(text); ok {
		return t, day, true
	}
	switch f {
	case "":
		return time.Time{}, false, false
	case excel:
		return serialTime(text)
	}
	date, clock, timed := cutClock(text)
	if t, ok = f.date(date); !ok || !timed {
		return t, true, ok
	}
	for _, layout := range [...]string{"15:04:05", "15:04", "3:04:05 PM", "3:04 PM", "3:04:05PM", "3:04PM"} {
		if c, err := time.Parse(layout, strings.ToUpper(clock)); err == nil {
			return t.Add(time.Duration(c.Hour()*3600+c.Minute()*60+c.Second()) * time.Second), false, true
		}
	}
	return time.Time{}, false, false
}

// cutClock separates a date from the time of day behind it.
func cutClock(text string) (date, clock string, ok bool) {
	i := strings.IndexAny(text, " ,")
	if i < 0 {
		return text, "", false
	}
	return text[:i], strings.TrimLeft(text[i:], " ,"), true
}

// date reads three numbers in the order of the format.
func (f DateFormat) date(text string) (time.Time, bool) {
	sep := string(f[strings.IndexAny(string(f), "./-")])
	order, parts := strings.Split(string(f), sep), strings.Split(text, sep)
	if len(parts) != len(order) {
		return time.Time{}, false
	}
	var d, m, y int
	for i, part := range parts {
		n, err := strconv.Atoi(part)
		if err != nil || !isDigits(part) || order[i][0] == 'y' && len(part) != len(order[i]) || len(part) > len(order[i]) {
			return time.Time{}, false
		}
		switch order[i] {
		case "yyyy":
			y = n
		case "yy":
			y = 2000 + n
		case "mm":
			m = n
		case "dd":
			d = n
		}
	}
	t := time.Date(y, time.Month(m), d, 0, 0, 0, 0, time.UTC)
	return t, t.Day() == d && t.Month() == time.Month(m) // time.Date makes March 2 of February 30
}

var isoLayouts = [...]string{
	"2006-01-02T15:04:05Z07:00", "2006-01-02T15:04:05Z0700", "2006-01-02T15:04:05Z07", "2006-01-02T15:04:05",
	"2006-01-02T15:04Z07:00", "2006-01-02T15:04Z0700", "2006-01-02T15:04Z07", "2006-01-02T15:04",
}

// isoTime reads a date or a time in the form of ISO 8601, also in small letters, with a
// blank for the T, and without colon or zone.
func isoTime(text string) (t time.Time, day, ok bool) {
	if len(text) == len(time.DateOnly) {
		t, err := time.Parse(time.DateOnly, text)
		return t, true, err == nil
	}
	if t, err := time.Parse(time.RFC3339, text); err == nil {
		return t, false, true
	}
	if len(text) < len(time.DateOnly)+1 || !strings.ContainsRune("Tt ", rune(text[len(time.DateOnly)])) {
		return time.Time{}, false, false
	}
	clock := strings.ToUpper(strings.TrimSpace(text[len(time.DateOnly)+1:]))
	for _, utc := range [...]string{" UTC", " GMT", " Z"} {
		if at, is := strings.CutSuffix(clock, utc); is {
			clock = at + "Z"
		}
	}
	clock = strings.Replace(clock, " ", "", 1) // as in 10:00:00 +0000
	for _, layout := range isoLayouts {
		if t, err := time.Parse(layout, text[:len(time.DateOnly)]+"T"+clock); err == nil {
			return t, false, true
		}
	}
	return time.Time{}, false, false
}

// serialTime reads a spreadsheet's day number, with the time of day behind its point.
func serialTime(text string) (t time.Time, day, ok bool) {
	whole, part, timed := strings.Cut(strings.Replace(text, ",", ".", 1), ".")
	if len(whole) != 5 || !isDigits(whole) || timed && !isDigits(part) {
		return time.Time{}, false, false
	}
	days, err := strconv.ParseFloat(strings.Replace(text, ",", ".", 1), 64)
	if err != nil {
		return time.Time{}, false, false
	}
	t = time.Date(1899, 12, 30, 0, 0, 0, 0, time.UTC).Add(time.Duration(days * float64(24*time.Hour)))
	return t.Round(time.Second), !timed, true
}

// dateHint names the formats that text may be in and that were not asked for, or "".
func dateHint(text string) string {
	var names []string
	if _, _, ok := serialTime(text); ok {
		names = append(names, "excel")
	}
	date, _, _ := cutClock(text)
	if i := strings.IndexAny(date, "./-"); i >= 0 {
		sep := date[i : i+1]
		orders := []string{"dd-mm-yyyy", "mm-dd-yyyy", "yyyy-mm-dd", "dd-mm-yy", "mm-dd-yy"}
		if sep == "." { // nobody writes the month first with dots
			orders = []string{"dd-mm-yyyy", "yyyy-mm-dd", "dd-mm-yy"}
		}
		for _, name := range orders {
			name = strings.ReplaceAll(name, "-", sep)
			var f DateFormat
			if err := f.UnmarshalText([]byte(name)); err == nil && f != "" {
				if _, _, ok := f.read(text); ok {
					names = append(names, name)
				}
			}
		}
	}
	switch len(names) {
	case 0:
		return ""
	case 1:
		if names[0] == string(excel) {
			return "; it looks like the day number of a spreadsheet: write date_format: excel in the config, or --date-format excel"
		}
		return fmt.Sprintf("; it looks like %s: write date_format: %s in the config, or --date-format %s", names[0], names[0], names[0])
	}
	return fmt.Sprintf("; it may be %s, which only its writer knows: write which in the config, as in date_format: %s, or with --date-format",
		strings.Join(names, " or "), names[0])
}

// otherThan is the hint of the first cell that is a date in another format, or "". One that
// leaves a single format counts more than one that leaves several.
func (f DateFormat) otherThan(cells iter.Seq[string]) string {
	unclear := ""
	for cell := range cells {
		if _, _, ok := f.read(cell); ok {
			continue
		}
		switch hint := dateHint(cell); {
		case strings.HasPrefix(hint, "; it looks like"):
			return hint
		case unclear == "":
			unclear = hint
		}
	}
	return unclear
}

// receivedAt reads a date (midnight UTC: the earliest moment it can mean) or a time.
func receivedAt(text string, format DateFormat, now time.Time) (time.Time, string) {
	t, _, ok := format.read(text)
	switch {
	case !ok && format == "":
		return time.Time{}, "is not a date such as 2026-11-01 or 2026-11-01T09:30:00Z" + dateHint(text)
	case !ok:
		return time.Time{}, fmt.Sprintf("is not a date in the format %s", format) + dateHint(text)
	case t.Before(earliest):
		return time.Time{}, "is before the year 2000"
	case t.After(now.Add(24 * time.Hour)):
		return time.Time{}, "is in the future"
	}
	return t.UTC(), ""
}
