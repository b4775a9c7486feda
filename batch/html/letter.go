package html

import (
	"bufio"
	"cmp"
	_ "embed"
	"html/template"
	"io"
	"slices"
	"strings"
	"time"

	"expunge/batch"
	"expunge/vendors"
)

//go:embed letter.tmpl
var letterPage string

var letterTmpl = template.Must(template.New("letter").Funcs(template.FuncMap{
	"date":  func(t time.Time) string { return format(t, "2 January 2006") },
	"words": func(s string) string { return strings.ReplaceAll(s, "_", " ") },
}).Parse(letterPage))

// letter is the page about one or more requests of one person.
type letter struct {
	Style    template.CSS
	Now      time.Time
	Version  string
	Requests []letterRequest
}

type letterRequest struct {
	*batch.History
	Vendors []letterVendor
	Story   []letterEvent
	Verdict string
}

// letterVendor is what became of the request at one vendor.
type letterVendor struct {
	Name, Kind string
	Outcomes   []letterOutcome
	Keeps      []string // what stays there
}

type letterOutcome struct {
	What, Identifier string // masked
	Says             string
}

type letterEvent struct {
	Day  time.Time
	Says string
}

// WriteLetter writes a page about requests for the file of the person that they are about:
// in plain words, identifiers masked, with what stays at each vendor.
func WriteLetter(w io.Writer, requests []*batch.History, known []Vendor, version string, now time.Time) error {
	l := letter{Style: template.CSS(style), Now: now.UTC(), Version: version}
	byName := map[string]Vendor{}
	for _, v := range known {
		byName[v.Name] = v
	}
	for _, h := range requests {
		l.Requests = append(l.Requests, request(h, byName))
	}
	out := bufio.NewWriter(w)
	if err := letterTmpl.Execute(out, l); err != nil {
		return err
	}
	return out.Flush()
}

func request(h *batch.History, known map[string]Vendor) letterRequest {
	r := letterRequest{History: h}
	open := 0
	for _, k := range h.Tasks {
		n := len(r.Vendors)
		if n == 0 || r.Vendors[n-1].Name != k.Vendor {
			v := known[k.Vendor]
			r.Vendors = append(r.Vendors, letterVendor{Name: k.Vendor, Kind: v.Traits.Kind, Keeps: v.Traits.Keeps})
			n++
		}
		v := &r.Vendors[n-1]
		v.Outcomes = append(v.Outcomes, letterOutcome{What: k.IdentifierKind, Identifier: k.Identifier, Says: outcomeText(&k, known[k.Vendor].Traits.Act)})
		switch k.State {
		case "erased", "not_found", "skipped":
		default:
			if k.ClosedAt == nil {
				open++
			}
		}
	}
	r.Verdict = "The request has come to its end at every company named below."
	if open > 0 {
		r.Verdict = "The request has not come to its end everywhere: what is open is said below."
	}
	for _, e := range h.Events {
		vendor, _, _ := strings.Cut(e.Task, "/")
		at := e.At
		if e.CompletedAt != nil && (e.Event == "erased" || e.Event == "not_found") {
			at = *e.CompletedAt // it may have been recorded later
		}
		line := letterEvent{at.UTC().Truncate(24 * time.Hour), eventText(&e, vendor, known[vendor].Traits.Act)}
		if line.Says != "" && !slices.Contains(r.Story, line) {
			r.Story = append(r.Story, line)
		}
	}
	slices.SortStableFunc(r.Story, func(a, b letterEvent) int { return a.Day.Compare(b.Day) })
	return r
}

// outcomeText says where a task stands in plain words.
func outcomeText(k *batch.HistoryTask, act vendors.Act) string {
	done := doneText(act)
	switch k.State {
	case "erased":
		switch k.Evidence {
		case "verified":
			return "found and " + done + "; we looked again and it is not found any more"
		case "vendor_done":
			return done + ", as the company's system reports; we cannot look there ourselves"
		}
		return done + ", as the company's staff have confirmed; we cannot look there ourselves"
	case "not_found":
		return "nothing is held under this"
	case "skipped":
		return "the request names nothing by which this company knows a person"
	case "held":
		return "waits for a decision of ours"
	case "failed":
		switch k.Reason {
		case "rejected":
			return "not erased: the request was rejected here"
		case "declined":
			return "not erased: the company declined"
		}
		return "not erased: it did not succeed"
	case "waiting", "verifying":
		return "asked for, and not yet reported as done"
	}
	return "not yet asked for"
}

// doneText says what became of the data where a vendor's act is done. That of a vendor that is
// no longer configured is not known.
func doneText(act vendors.Act) string {
	return cmp.Or(act.Done(), "done")
}

// eventText tells an event of a request at a vendor in plain words; "" where it says nothing to the person.
func eventText(e *batch.HistoryEvent, vendor string, act vendors.Act) string {
	switch e.Event {
	case "received":
		return "The request was taken in."
	case "added":
		return "More companies were asked for the same request."
	case "submitted":
		return vendor + " was told and accepted the request."
	case "extended":
		if e.Until != nil {
			return "The time limit was extended to " + format(*e.Until, "2 January 2006") + "."
		}
	case "declined":
		return vendor + " declined."
	case "erased":
		return vendor + ": " + doneText(act) + "."
	case "not_found":
		return vendor + ": looked up, and nothing is held."
	case "failed":
		return vendor + ": an attempt failed."
	case "exported":
		if e.Export == "stored" {
			return vendor + " handed out a copy of what it held."
		}
	case "answered":
		if e.Channel != "" {
			return "The person was told, by " + e.Channel + "."
		}
		return "The person was told."
	case "held":
		return vendor + ": put aside for a decision."
	case "decided":
		switch e.Action {
		case "approve", "retry":
			return vendor + ": decided to go on."
		case "reject":
			return vendor + ": decided against it."
		case "close":
			return vendor + ": decided that nothing more is to be done."
		}
	}
	return ""
}
