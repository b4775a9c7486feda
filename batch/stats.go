package batch

import (
	"cmp"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"expunge/batch/intake"
	"expunge/store"
)

// allVendors is the name of the rows that count requests as a whole.
const allVendors = "all"

// StatsRow is one line of the statistics: the tasks of a vendor, or the requests as a whole,
// that were received in a period (UTC). The columns from ErasedVerified to Open are disjoint
// and add up to Received. The JSON keys are stable: users parse them.
type StatsRow struct {
	Period           string `json:"period"` // 2026-11, 2026-Q4 or 2026
	Vendor           string `json:"vendor"` // "all": requests, else tasks
	Received         int64  `json:"received"`
	ErasedVerified   int64  `json:"erased_verified"`
	ErasedVendorDone int64  `json:"erased_vendor_done"`
	ErasedConfirmed  int64  `json:"erased_confirmed"`
	NotFound         int64  `json:"not_found"`
	Skipped          int64  `json:"skipped"`
	Failed           int64  `json:"failed"`
	Rejected         int64  `json:"rejected"` // or declined by the vendor's people
	Held             int64  `json:"held"`
	Open             int64  `json:"open"`

	InTimeShare *float64 `json:"in_time_share"` // of those that are settled, without skipped ones; null: none is
	MedianDays  *int64   `json:"median_days"`   // whole days from receipt to the end; null: nothing has ended
	P90Days     *int64   `json:"p90_days"`

	// Of requests: what CCPA regulation 7102 asks for. null for a vendor.
	CompliedInWhole *int64 `json:"complied_in_whole"`
	CompliedInPart  *int64 `json:"complied_in_part"`
	Denied          *int64 `json:"denied"`
}

// statsHeader names the columns of the CSV.
const statsHeader = "period,vendor,received,erased_verified,erased_vendor_done,erased_confirmed,not_found,skipped,failed,rejected,held,open," +
	"in_time_share,median_days,p90_days,complied_in_whole,complied_in_part,denied"

// StatsOptions say what is counted.
type StatsOptions struct {
	By     string    // month, quarter or year
	Vendor string    // only this vendor's rows; "": all, and those of requests as a whole
	Since  time.Time // only what was received in this month or later; zero: all
	Until  time.Time // and in this month or earlier; zero: all
}

// Periods are the widths of statistics.
var Periods = []string{"month", "quarter", "year"}

// periodOf is the period of a month.
func periodOf(month, by string) string {
	switch by {
	case "quarter":
		if m, err := strconv.Atoi(month[5:]); err == nil {
			return fmt.Sprintf("%s-Q%d", month[:4], (m+2)/3)
		}
	case "year":
		return month[:4]
	}
	return month
}

// statsCount is a row while it is counted.
type statsCount struct {
	StatsRow
	days           map[int64]int64
	inTime, judged int64
}

// Stats counts what became of requests, by the period in which they were received, purged ones
// included. Rows are in the order of periods, that of the requests as a whole first.
func (t *Tasks) Stats(ctx context.Context, o StatsOptions) ([]StatsRow, error) {
	known, err := t.Store.Vendors(ctx)
	if err != nil {
		return nil, err
	}
	names := map[int64]string{0: allVendors}
	for name, v := range known {
		names[v.ID] = name
	}
	month := func(at time.Time) string {
		if at.IsZero() {
			return ""
		}
		return at.UTC().Format("2006-01")
	}
	type key struct {
		period string
		vendor int64
	}
	counts := map[key]*statsCount{}
	err = t.Store.Periods(ctx, month(o.Since), month(o.Until), func(p store.Period) error {
		if o.Vendor != "" && names[p.Vendor] != o.Vendor {
			return nil
		}
		k := key{periodOf(p.Month, o.By), p.Vendor}
		c := counts[k]
		if c == nil {
			c = &statsCount{StatsRow: StatsRow{Period: k.period, Vendor: names[p.Vendor]}, days: map[int64]int64{}}
			if p.Vendor == 0 {
				c.CompliedInWhole, c.CompliedInPart, c.Denied = new(int64), new(int64), new(int64)
			}
			counts[k] = c
		}
		return c.add(&p, t.TrackAnswers)
	})
	if err != nil {
		return nil, err
	}
	rows := make([]StatsRow, 0, len(counts))
	for _, c := range slices.SortedFunc(maps.Values(counts), func(a, b *statsCount) int {
		return cmp.Or(cmp.Compare(a.Period, b.Period), cmp.Compare(b2i(b.Denied != nil), b2i(a.Denied != nil)), cmp.Compare(a.Vendor, b.Vendor))
	}) {
		c.finish()
		rows = append(rows, c.StatsRow)
	}
	return rows, nil
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

// add counts tasks, or requests, that are alike. answered: they are judged by when the person
// was told.
func (c *statsCount) add(p *store.Period, answered bool) error {
	c.Received += p.N
	into := &c.Open
	switch {
	case p.State == store.Held:
		into = &c.Held
	case p.State == store.Erased && p.Evidence == store.Verified:
		into = &c.ErasedVerified
	case p.State == store.Erased && p.Evidence == store.VendorDone:
		into = &c.ErasedVendorDone
	case p.State == store.Erased && p.Evidence == store.Confirmed:
		into = &c.ErasedConfirmed
	case p.State == store.Erased:
		return fmt.Errorf("an erasure with evidence %v", p.Evidence)
	case p.State == store.NotFound:
		into = &c.NotFound
	case p.State == store.Skipped:
		into = &c.Skipped
	case p.State == store.Failed && p.Closed == store.Refused:
		into = &c.Rejected
	case p.State == store.Failed:
		into = &c.Failed
	}
	*into += p.N
	if p.Vendor == 0 {
		switch p.Outcome {
		case store.InWhole:
			*c.CompliedInWhole += p.N
		case store.InPart:
			*c.CompliedInPart += p.N
		case store.Denied:
			*c.Denied += p.N
		}
	}
	inTime, days := p.InTime, p.Days
	if answered {
		inTime = p.AnswerInTime
		if p.Vendor == 0 && days.Valid {
			days = p.AnswerDays
		}
	}
	if inTime.Valid {
		c.judged += p.N
		if inTime.Bool {
			c.inTime += p.N
		}
	}
	if days.Valid {
		c.days[days.Int64] += p.N
	}
	return nil
}

func (c *statsCount) finish() {
	if c.judged > 0 {
		share := float64(c.inTime) / float64(c.judged)
		c.InTimeShare = &share
	}
	c.MedianDays, c.P90Days = nearestRank(c.days, 50), nearestRank(c.days, 90)
}

// nearestRank is the smallest number of days within which so many percent had ended; of an
// even number of requests the median is the lower of the two in the middle.
func nearestRank(days map[int64]int64, percent int64) *int64 {
	total := int64(0)
	for _, n := range days {
		total += n
	}
	rank := (total*percent + 99) / 100
	for _, d := range slices.Sorted(maps.Keys(days)) {
		if rank -= days[d]; rank <= 0 {
			return &d
		}
	}
	return nil
}

// StatsCSV writes statistics as CSV.
func StatsCSV(w io.Writer, rows []StatsRow, comma rune, bom bool) error {
	if bom {
		if _, err := io.WriteString(w, "\ufeff"); err != nil {
			return err
		}
	}
	out := csv.NewWriter(w)
	out.Comma = cmp.Or(comma, ',')
	err := out.Write(strings.Split(statsHeader, ","))
	number := func(n *int64) string {
		if n == nil {
			return ""
		}
		return strconv.FormatInt(*n, 10)
	}
	for _, r := range rows {
		share := ""
		if r.InTimeShare != nil {
			share = strconv.FormatFloat(*r.InTimeShare, 'f', 4, 64)
		}
		cells := []string{r.Period, intake.Defuse(r.Vendor)}
		for _, n := range []int64{r.Received, r.ErasedVerified, r.ErasedVendorDone, r.ErasedConfirmed, r.NotFound, r.Skipped, r.Failed, r.Rejected, r.Held, r.Open} {
			cells = append(cells, number(&n))
		}
		cells = append(cells, share, number(r.MedianDays), number(r.P90Days), number(r.CompliedInWhole), number(r.CompliedInPart), number(r.Denied))
		err = errors.Join(err, out.Write(cells))
	}
	out.Flush()
	return errors.Join(err, out.Error())
}

// StatsJSON writes statistics as JSON.
func StatsJSON(w io.Writer, rows []StatsRow) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(rows)
}
