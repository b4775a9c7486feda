package intake

import (
	"strings"
	"testing"
	"time"
)

// TestDates: what each format reads, and what is said of what it does not read: the name of
// the format that it is in, or of both where day and month cannot be told apart.
func TestDates(t *testing.T) {
	for _, c := range []struct {
		format, text string
		want         string // RFC 3339, or part of the problem
	}{
		{"iso", "2026-11-05", "2026-11-05T00:00:00Z"},
		{"iso", "2026-11-05T10:00:00Z", "2026-11-05T10:00:00Z"},
		{"iso", "2026-11-05t10:00:00z", "2026-11-05T10:00:00Z"},
		{"iso", "2026-11-05 10:00:00Z", "2026-11-05T10:00:00Z"},
		{"iso", "2026-11-05 10:00:00", "2026-11-05T10:00:00Z"},
		{"iso", "2026-11-05 10:00:00 UTC", "2026-11-05T10:00:00Z"},
		{"iso", "2026-11-05 10:00:00 +0100", "2026-11-05T09:00:00Z"},
		{"iso", "2026-11-05T10:00:00+0000", "2026-11-05T10:00:00Z"},
		{"iso", "2026-11-05T10:00:00.123+0200", "2026-11-05T08:00:00.123Z"},
		{"iso", "2026-11-05T10:00:00+02", "2026-11-05T08:00:00Z"},
		{"iso", "2026-11-05T10:00:00-05:30", "2026-11-05T15:30:00Z"},
		{"iso", "2026-11-05 10:00", "2026-11-05T10:00:00Z"},
		{"iso", "2026-02-30", "is not a date such as"},
		{"iso", "2026-11-05x10:00:00", "is not a date such as"},
		{"iso", "2026-11-05 25:00", "is not a date such as"},
		{"iso", "2026-11-05T", "is not a date such as"},
		{"iso", "yesterday", "is not a date such as"},
		{"iso", "31.12.2025", "it looks like dd.mm.yyyy: write date_format: dd.mm.yyyy in the config, or --date-format dd.mm.yyyy"},
		{"iso", "3.2.2026 14:30", "it looks like dd.mm.yyyy"},
		{"iso", "31.12.25", "it looks like dd.mm.yy:"},
		{"iso", "12/31/2025", "it looks like mm/dd/yyyy"},
		{"iso", "31/12/2025, 10:00", "it looks like dd/mm/yyyy"},
		{"iso", "03/04/2026", "it may be dd/mm/yyyy or mm/dd/yyyy, which only its writer knows"},
		{"iso", "03-04-2026", "it may be dd-mm-yyyy or mm-dd-yyyy"},
		{"iso", "2026/11/05", "it looks like yyyy/mm/dd"},
		{"iso", "45996", "it looks like the day number of a spreadsheet: write date_format: excel"},
		{"iso", "45996.5", "it looks like the day number of a spreadsheet: write date_format: excel"},

		{"dd.mm.yyyy", "31.12.2025", "2025-12-31T00:00:00Z"},
		{"dd.mm.yyyy", "3.4.2026", "2026-04-03T00:00:00Z"},
		{"d.m.yyyy", "03.04.2026 14:30", "2026-04-03T14:30:00Z"},
		{"DD.MM.YYYY", "03.04.2026, 14:30:15", "2026-04-03T14:30:15Z"},
		{"dd.mm.yyyy", "2026-04-03", "2026-04-03T00:00:00Z"},
		{"dd.mm.yyyy", "31.02.2026", "is not a date in the format dd.mm.yyyy"},
		{"dd.mm.yyyy", "12.31.2025", "is not a date in the format dd.mm.yyyy"},
		{"dd.mm.yyyy", "03.04.26", "it looks like dd.mm.yy:"},
		{"dd.mm.yyyy", "3.4.2026.", "is not a date"},
		{"dd.mm.yyyy", "+3.4.2026", "is not a date"},
		{"dd.mm.yyyy", "3.4.2026 soon", "is not a date"},
		{"dd.mm.yyyy", "31/12/2025", "it looks like dd/mm/yyyy"},
		{"dd.mm.yy", "03.04.26", "2026-04-03T00:00:00Z"},
		{"mm/dd/yyyy", "03/04/2026", "2026-03-04T00:00:00Z"},
		{"mm/dd/yyyy", "3/4/2026 2:30 pm", "2026-03-04T14:30:00Z"},
		{"mm/dd/yyyy", "3/4/2026 12:05:09 AM", "2026-03-04T00:05:09Z"},
		{"mm/dd/yyyy", "31/12/2025", "it looks like dd/mm/yyyy"},
		{"dd/mm/yyyy", "03/04/2026", "2026-04-03T00:00:00Z"},
		{"yyyy/mm/dd", "2026/04/03", "2026-04-03T00:00:00Z"},
		{"excel", "45996", "2025-12-05T00:00:00Z"},
		{"excel", "45996.75", "2025-12-05T18:00:00Z"},
		{"excel", "45996,75", "2025-12-05T18:00:00Z"},
		{"excel", "2025-12-05", "2025-12-05T00:00:00Z"},
		{"excel", "20251205", "is not a date in the format excel"},
		{"excel", "12345", "is before the year 2000"},
		{"excel", "99999", "is in the future"},
		{"dd.mm.yyyy", "31.12.2099", "is in the future"},
	} {
		var f DateFormat
		if err := f.UnmarshalText([]byte(c.format)); err != nil {
			t.Fatal(err)
		}
		got, problem := receivedAt(c.text, f, time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC))
		if strings.HasPrefix(c.want, "20") {
			if problem != "" || got.Format(time.RFC3339Nano) != c.want {
				t.Errorf("%s %q: %v %s", c.format, c.text, got, problem)
			}
		} else if !strings.Contains(problem, c.want) || strings.Contains(problem, c.text) {
			t.Errorf("%s %q: %v %q", c.format, c.text, got, problem)
		}
	}
}

// TestDateFormats: the names, and what is none.
func TestDateFormats(t *testing.T) {
	for text, want := range map[string]string{"iso": "iso", "ISO": "iso", "yyyy-mm-dd": "iso", "d.m.yyyy": "dd.mm.yyyy", "MM/DD/YYYY": "mm/dd/yyyy",
		"dd-mm-yy": "dd-mm-yy", " Excel ": "excel", "yyyy/mm/dd": "yyyy/mm/dd"} {
		var f DateFormat
		if err := f.UnmarshalText([]byte(text)); err != nil || f.String() != want {
			t.Errorf("%s: %s %v", text, f, err)
		}
	}
	for _, text := range []string{"", "auto", "dd.mm", "dd.mm.mm", "dd.mm/yyyy", "dd.mm.yyyy hh:mm", "dd.mm.yyyy.d", "ddmmyyyy", "dd.mmm.yyyy"} {
		f := excel
		if err := f.UnmarshalText([]byte(text)); err == nil || f != excel {
			t.Errorf("%q: %s %v", text, f, err)
		}
	}
}
