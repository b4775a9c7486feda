// Package audit is the independent judge: it compares what expunge's report says with what
// really happened at a simulator, subject by subject.
//
// It trusts the simulator's ledger and what the simulator still holds, and it reads the
// input and the report with nothing but encoding/csv, so that a mistake in expunge's own
// reading or writing shows here. What it asks:
//
//   - Every input row is in the report, and every identifier of a subject has its row.
//   - What a row claims is true: erased is gone and was taken, not_found holds nothing, a
//     reference is a job or ticket for that very identifier, done is done.
//   - Every effect at a vendor is told by a row that owns up to it. One that no row tells
//     of is lost.
//   - An outcome rests on an answer: not_found and verified on a look that the simulator
//     answered with what it holds, and evidence control or others on a record that the same
//     account showed around that time.
//   - Nothing was taken from anybody who did not ask, nor by an identifier that somebody
//     else shares: that is harm. So is any call that would change a control record.
//   - No ticket was raised twice. A removal job made twice is harmless and only counted.
//
// It is no part of expunge and never runs against a real vendor. Its output shows subject
// ids, never identifiers.
package audit

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"

	"expunge/vendors/sim"
)

// Vendor says which of the simulator's accounts a vendor of expunge's config is.
type Vendor struct {
	Name    string // as in the config and the report
	Kind    string
	Account string // "": every account of the kind
}

// DefaultVendors are the names that example configs use.
const DefaultVendors = "customergauge=customergauge,voyado=voyado,acqueon=acqueon"

// ParseVendors reads name=kind[:account],... texts. The account of a recipe's vendor is the
// recipe's name.
func ParseVendors(text string) ([]Vendor, error) {
	var all []Vendor
	for part := range strings.SplitSeq(text, ",") {
		name, rest, ok := strings.Cut(strings.TrimSpace(part), "=")
		kind, account, _ := strings.Cut(rest, ":")
		if !ok || name == "" || !slices.Contains([]string{sim.CustomerGauge, sim.Voyado, sim.Acqueon, sim.Rest}, kind) || kind == sim.Rest && account == "" {
			return nil, fmt.Errorf("%q: want name=kind or name=kind:account, with kind customergauge, voyado or acqueon, or name=rest:RECIPE", part)
		}
		if slices.ContainsFunc(all, func(v Vendor) bool { return v.Name == name }) {
			return nil, fmt.Errorf("vendor %q is named twice", name)
		}
		all = append(all, Vendor{Name: name, Kind: kind, Account: account})
	}
	return all, nil
}

// Facts are what really happened.
type Facts struct {
	Ledger    []sim.Entry
	Remaining sim.Remaining
}

// Fetch asks a simulator for the facts.
func Fetch(ctx context.Context, client *http.Client, url string) (Facts, error) {
	var f Facts
	url = strings.TrimRight(url, "/")
	if err := get(ctx, client, url+"/_sim/ledger", &f.Ledger); err != nil {
		return f, fmt.Errorf("ledger: %w", err)
	}
	if err := get(ctx, client, url+"/_sim/records", &f.Remaining); err != nil {
		return f, fmt.Errorf("records: %w", err)
	}
	return f, nil
}

func get(ctx context.Context, client *http.Client, url string, into any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("the simulator answered %s", resp.Status)
	}
	return json.NewDecoder(resp.Body).Decode(into)
}

// Problem is one disagreement.
type Problem struct {
	Subject string `json:"subject_id"` // "" when no subject can be named
	Vendor  string `json:"vendor"`
	What    string `json:"what"`
}

// Result is the verdict.
type Result struct {
	Subjects        int       `json:"subjects"`         // input rows, the invalid ones included
	Rows            int       `json:"rows"`             // of the report
	Effects         int       `json:"effects"`          // changes at the vendors
	HarmlessRepeats int       `json:"harmless_repeats"` // removal jobs made again for a key
	Exports         int       `json:"exports"`          // handed out and kept; see Exports
	Problems        []Problem `json:"disagreements"`
}

// Write prints a line per problem and the summary.
func (r *Result) Write(w io.Writer) error {
	for _, p := range r.Problems {
		if _, err := fmt.Fprintf(w, "%s, %s: %s\n", cmp.Or(p.Subject, "-"), cmp.Or(p.Vendor, "-"), p.What); err != nil {
			return err
		}
	}
	if r.Exports > 0 {
		if _, err := fmt.Fprintf(w, "audit: %d exports handed out and kept\n", r.Exports); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintf(w, "audit: %d subjects, %d rows, %d effects, %d harmless repeats: %d disagreements\n",
		r.Subjects, r.Rows, r.Effects, r.HarmlessRepeats, len(r.Problems))
	return err
}
