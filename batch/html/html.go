// Package html writes the compliance report for a reader who is not technical: one
// self-contained HTML file without scripts, that loads nothing and prints on A4.
//
// It counts every row of the report but shows only those that need somebody's attention,
// and of these a bounded number: the CSV has them all. What it knows of the vendors
// (what they anonymize, what stays, how an erasure is known) comes from their traits.
package html

import (
	"bufio"
	"cmp"
	"context"
	_ "embed"
	"encoding/hex"
	"fmt"
	"html/template"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"expunge/batch"
	"expunge/store"
	"expunge/vendors"
)

// maxShown bounds each list of rows.
const maxShown = 200

//go:embed report.tmpl
var page string

//go:embed report.css
var style string

var tmpl = template.Must(template.New("report").Funcs(template.FuncMap{
	"date":   func(t time.Time) string { return format(t, "2 January 2006") },
	"moment": func(t time.Time) string { return format(t, "2 January 2006, 15:04 MST") },
	"n":      number,
	"words":  func(s string) string { return strings.ReplaceAll(s, "_", " ") },
	"day":    day,
	"int64":  func(i int) int64 { return int64(i) },
	// The vendors' table has a column for the name, one per outcome, and one for all.
	"colspan": func() int { return len(outcomes) + 2 },
}).Parse(page))

func format(t time.Time, layout string) string {
	if t.IsZero() {
		return "–"
	}
	return t.UTC().Format(layout)
}

// day shortens a report's RFC 3339 time to its day.
func day(text string) string {
	if t, err := time.Parse(time.RFC3339, text); err == nil {
		return t.Format("2 Jan 2006")
	}
	return "–"
}

// number writes 1234567 as 1,234,567.
func number(v int64) string {
	s := fmt.Sprint(v)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// Provenance is where the figures come from.
type Provenance struct {
	Version      string
	ConfigSHA256 []byte
	Batches      []store.Batch
	Runs         []store.Run
	Needs        []batch.Need     // what waits for a person, by cause
	Stats        []batch.StatsRow // by the month of receipt, or a longer period
	Head         string           // the newest signed head of the log, or ""
}

// Vendor is one configured vendor, for the explanations.
type Vendor struct {
	Name   string
	Traits vendors.Traits
	Notes  []string // warnings that the reader should know of
}

// outcome groups states in the words of the reader.
type outcome struct {
	Key, Label, Meaning string
	states              []string
}

var outcomes = []outcome{
	{"done", "Erased", "the vendor's act is done, on the evidence named below: what it removes, anonymizes or only masks is said vendor by vendor", []string{"erased"}},
	{"nothing", "Nothing held", "the vendor was asked and holds nothing for this identifier", []string{"not_found"}},
	{"skipped", "Not applicable", "the request names no identifier that this vendor uses", []string{"skipped"}},
	{"open", "In progress", "sent or to be sent; the vendor or its people have yet to finish", []string{"pending", "previewed", "submitting", "waiting", "verifying"}},
	{"held", "Waiting for a decision", "a person must look before anything else happens", []string{"held"}},
	{"failed", "Failed", "the vendor refused, or all attempts are used up; the data is still there", []string{"failed"}},
}

type cell struct {
	outcome
	N int64
}

type vendorPart struct {
	Name     string
	Kind     string
	Total    int64
	Cells    []cell
	Bar      []segment
	Evidence []cell // by evidence, of the erased
	Traits   vendors.Traits
	Notes    []string
	Known    bool
}

// segment is a part of a vendor's bar, in percent of its width.
type segment struct{ Key, X, W string }

func bar(cells []cell, total int64) []segment {
	var all []segment
	x := int64(0)
	for _, c := range cells {
		if c.N > 0 {
			all = append(all, segment{c.Key, percent(x, total), percent(c.N, total)})
		}
		x += c.N
	}
	return all
}

func percent(n, total int64) string { return fmt.Sprintf("%.2f", 100*float64(n)/float64(total)) }

type dayPart struct {
	Day                            string
	Received, Submitted, Completed int64
}

type list struct {
	Title, ID, Explain string
	Total              int64
	Rows               []batch.ReportRow
}

// cause is why tasks of one vendor wait for a person.
type cause struct{ what, vendor, reason string }

type view struct {
	Style      template.CSS
	Now        time.Time
	From, To   time.Time // received
	Subjects   int64
	Answered   int64 // subjects all of whose tasks are finished without failure
	Tasks      int64
	Rows       int64
	Invalid    int64
	Duplicates int64
	Totals     []cell
	Needs      []batch.Need
	People     []people
	Months     []monthPart
	Lists      []list
	Vendors    []vendorPart
	Days       []dayPart
	Due        []cell
	Extended   list // one row per request
	Balanced   bool
	Problem    string
	Prov       Provenance
	Config     string
	Verdict    string
}

// collector sees every row once and keeps only counts and the first rows of each list.
type collector struct {
	v        view
	vendors  map[string]*vendorCount
	days     map[string]*dayPart
	due      map[string]int64
	states   map[string]int64
	lists    map[string]*list
	causes   map[cause]*list // of what is held, and of what has failed
	reasons  map[vendors.Reason]string
	subject  string // batch and line of the subject at hand
	extended string // and of the one that was extended last
	answered bool
	served   bool // by any vendor: skipped everywhere is no answer
	closed   int64
	persons  *persons
}

type vendorCount struct {
	states, evidence map[string]int64
}

// Write writes the report. balance is the error of the control totals, or nil.
func Write(ctx context.Context, w io.Writer, r *batch.Reporter, known []Vendor, prov Provenance, balance error) error {
	c := &collector{vendors: map[string]*vendorCount{}, days: map[string]*dayPart{}, due: map[string]int64{},
		states: map[string]int64{}, reasons: batch.Reasons(), causes: map[cause]*list{}, persons: newPersons(), lists: map[string]*list{
			"overdue": {ID: "overdue", Title: "Overdue", Explain: "The legal time limit has passed and the request is not answered at this vendor."},
			"at_risk": {ID: "at-risk", Title: "At risk of being late", Explain: "Open, and so near to the time limit that an extension should be considered."},
			"invalid": {ID: "invalid", Title: "Rows of the input that were refused", Explain: "Nothing was done for these people: their rows must be mended and handed in again."},
		}}
	if err := r.Each(ctx, c.row); err != nil {
		return err
	}
	c.endSubject()
	v := c.finish(known, prov.Needs)
	v.People, v.Months = c.persons.standings(), months(prov.Stats)
	v.Now, v.Prov, v.Style = r.Now().UTC(), prov, template.CSS(style)
	v.Config = hex.EncodeToString(prov.ConfigSHA256)
	v.Balanced = balance == nil
	if balance != nil {
		v.Problem = balance.Error()
	}
	for _, b := range prov.Batches {
		v.Rows += b.Rows
	}
	out := bufio.NewWriter(w)
	if err := tmpl.Execute(out, v); err != nil {
		return err
	}
	return out.Flush()
}

func (c *collector) row(r *batch.ReportRow) error {
	switch r.State {
	case "invalid":
		c.v.Invalid++
		c.list("invalid", r)
		return nil
	case "duplicate":
		c.v.Duplicates++
		return nil
	}
	if key := fmt.Sprint(r.Batch, ":", r.Line); key != c.subject {
		c.endSubject()
		c.subject, c.answered, c.served = key, true, false
		c.v.Subjects++
		c.day(r.ReceivedAt).Received++
		if t, err := time.Parse(time.RFC3339, r.ReceivedAt); err == nil {
			if c.v.From.IsZero() || t.Before(c.v.From) {
				c.v.From = t
			}
			if t.After(c.v.To) {
				c.v.To = t
			}
		}
	}
	if r.OriginalDueAt != "" && c.extended != c.subject {
		c.extended = c.subject
		c.v.Extended.add(*r)
	}
	c.v.Tasks++
	vc := c.vendors[r.Vendor]
	if vc == nil {
		vc = &vendorCount{states: map[string]int64{}, evidence: map[string]int64{}}
		c.vendors[r.Vendor] = vc
	}
	vc.states[r.State]++
	c.states[r.State]++
	if r.Evidence != "" {
		vc.evidence[r.Evidence]++
	}
	c.due[r.DueStatus]++
	if r.SubmittedAt != "" {
		c.day(r.SubmittedAt).Submitted++
	}
	switch r.State {
	case "erased", "not_found", "skipped":
		if r.State != "skipped" {
			c.served = true
			c.day(r.CompletedAt).Completed++
		}
	case "failed":
		if r.DueStatus == "met" || r.DueStatus == "missed" {
			c.served = true // a person has closed it: it asks for nothing any more
			c.closed++
			break
		}
		c.answered = false
		c.waits("failed", r)
	case "held":
		c.answered = false
		c.waits("held", r)
	default:
		c.answered = false
	}
	if r.State != "failed" && (r.DueStatus == "overdue" || r.DueStatus == "at_risk") {
		c.list(r.DueStatus, r)
	}
	c.persons.row(r, c.why(r.Reason))
	return nil
}

func (c *collector) endSubject() {
	c.persons.end()
	if c.subject != "" && c.answered && c.served {
		c.v.Answered++
	}
	c.subject = ""
}

func (c *collector) day(text string) *dayPart {
	d := ""
	if len(text) >= 10 {
		d = text[:10]
	}
	p := c.days[d]
	if p == nil {
		p = &dayPart{Day: d}
		c.days[d] = p
	}
	return p
}

// why is a reason in words, without the state that it belongs to.
func (c *collector) why(code string) string {
	text := c.reasons[vendors.Reason(code)]
	if _, after, cut := strings.Cut(text, ": "); cut {
		return after
	}
	return cmp.Or(text, code)
}

func (c *collector) list(name string, r *batch.ReportRow) {
	row := *r
	row.Reason = c.why(r.Reason)
	c.lists[name].add(row)
}

// waits lists a task that waits for a person with those that do so for the same cause.
func (c *collector) waits(what string, r *batch.ReportRow) {
	key := cause{what, r.Vendor, r.Reason}
	l := c.causes[key]
	if l == nil {
		l = &list{Title: "Waiting for a decision", Explain: "Nothing more happens to these until a person has decided."}
		if what == "failed" {
			l.Title, l.Explain = "Failed", "These erasures did not happen. Somebody must act on them."
		}
		l.Title += " at " + r.Vendor + ": " + c.why(r.Reason)
		c.causes[key] = l
	}
	row := *r
	row.Reason = c.why(r.Reason)
	l.add(row)
}

func (l *list) add(row batch.ReportRow) {
	if l.Total++; len(l.Rows) < maxShown {
		l.Rows = append(l.Rows, row)
	}
}

func (c *collector) finish(known []Vendor, needs []batch.Need) *view {
	v := &c.v
	v.Totals = cells(c.states)
	v.Needs = needs
	for _, name := range []string{"failed", "overdue", "held", "at_risk", "invalid"} {
		if l := c.lists[name]; l != nil {
			v.Lists = append(v.Lists, *l)
			continue
		}
		for _, key := range slices.SortedFunc(maps.Keys(c.causes), func(a, b cause) int {
			return cmp.Or(cmp.Compare(a.vendor, b.vendor), cmp.Compare(a.reason, b.reason))
		}) {
			if key.what == name {
				l := c.causes[key]
				l.ID = fmt.Sprintf("%s-%d", name, len(v.Lists))
				v.Lists = append(v.Lists, *l)
			}
		}
	}
	byName := map[string]Vendor{}
	for _, k := range known {
		byName[k.Name] = k
		if c.vendors[k.Name] == nil {
			c.vendors[k.Name] = &vendorCount{}
		}
	}
	for name, vc := range c.vendors {
		k, ok := byName[name]
		p := vendorPart{Name: name, Kind: k.Traits.Kind, Traits: k.Traits, Notes: k.Notes, Known: ok}
		for _, n := range vc.states {
			p.Total += n
		}
		p.Cells = cells(vc.states)
		p.Bar = bar(p.Cells, p.Total)
		for _, e := range []struct{ key, label string }{
			{"verified", "verified: looked at again, and gone"},
			{"vendor_done", "the vendor's job reported that it was done"},
			{"confirmed", "confirmed by a person"},
		} {
			if n := vc.evidence[e.key]; n > 0 {
				p.Evidence = append(p.Evidence, cell{outcome: outcome{Key: e.key, Label: e.label}, N: n})
			}
		}
		v.Vendors = append(v.Vendors, p)
	}
	slices.SortFunc(v.Vendors, func(a, b vendorPart) int { return cmp.Compare(a.Name, b.Name) })
	for d, p := range c.days {
		if d != "" {
			v.Days = append(v.Days, *p)
		}
	}
	slices.SortFunc(v.Days, func(a, b dayPart) int { return cmp.Compare(a.Day, b.Day) })
	for _, d := range []struct{ key, label string }{
		{"met", "answered in time"}, {"missed", "answered late"}, {"open", "open, in time"},
		{"at_risk", "open, at risk of being late"}, {"overdue", "open, overdue"},
	} {
		v.Due = append(v.Due, cell{outcome: outcome{Key: d.key, Label: d.label}, N: c.due[d.key]})
	}
	open := -c.closed
	for _, cl := range v.Totals {
		if cl.Key == "open" || cl.Key == "held" || cl.Key == "failed" {
			open += cl.N
		}
	}
	switch {
	case v.Tasks == 0:
		v.Verdict = "There is nothing to report yet."
	case open == 0 && v.Answered == v.Subjects:
		v.Verdict = "All requests are answered at all vendors."
	default:
		v.Verdict = fmt.Sprintf("%s of %s requests are answered at all vendors. Erasures still open, waiting for a decision, or failed: %s.",
			number(v.Answered), number(v.Subjects), number(open))
	}
	return v
}

func cells(states map[string]int64) []cell {
	var all []cell
	for _, o := range outcomes {
		c := cell{outcome: o}
		for _, s := range o.states {
			c.N += states[s]
		}
		all = append(all, c)
	}
	return all
}

// Style is the style of the pages, for others that are to look alike.
func Style() string { return style }
