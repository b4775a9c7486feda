// Package voyado speaks the customer data jobs of Voyado Elevate, which holds what
// visitors of web shops did.
//
// Facts about the API come from VENDORS.md and vendor-docs/voyado-remove-customer-data.txt.
// A removal is a job. It works on archived data and so takes days; its id is all that
// leads back to it. The vendor cannot be asked what it holds for a key: the preview here
// looks only at what is about to be sent, and an erasure rests on the job's word.
//
// Invariants: a job id is taken over only when it can be kept and asked for; an answer
// about another job is never taken for ours; a status that is not known keeps the job open.
//
// An export is a job too. It changes nothing, but its result may be gone once it was
// delivered: it is streamed to the caller, who keeps it.
//
// Removing a key twice is harmless, so a submission without an answer may be repeated, by
// the caller. The package itself repeats nothing and keeps nothing.
package voyado

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"expunge/vendors"
	"expunge/vendors/transport"
)

// Vendor is one cluster of Voyado Elevate.
type Vendor struct {
	name      string
	config    Config
	place     *url.URL
	transport vendors.Transport
	now       func() time.Time
}

var (
	_ vendors.Vendor  = (*Vendor)(nil)
	_ vendors.Poller  = (*Vendor)(nil)
	_ vendors.Checker = (*Vendor)(nil)

	_ vendors.Exporter = (*Vendor)(nil)
)

// Traits implements vendors.Vendor.
func (v *Vendor) Traits() vendors.Traits {
	first := time.Duration(v.config.ArchiveAfter)
	return vendors.Traits{
		Kind: kindName, Place: vendors.PlaceOf(kindName, &url.URL{Scheme: v.place.Scheme, Host: v.place.Host}, strings.ToLower(v.config.Cluster)),
		Act:        vendors.Remove,
		Completion: vendors.ByPoll, Uncertain: vendors.SubmitAgain,
		Fields:    vendors.SetOf(vendors.CustomerKey),
		FirstPoll: first, PollEvery: time.Duration(v.config.PollEvery),
		GiveUpAfter: time.Duration(v.config.GiveUpAfter),
		LeadTime:    first + time.Duration(v.config.ArchiveDays)*24*time.Hour,
		Anonymizes: []string{
			"all data of the customer key (removed, not masked)",
			"all data of the keys that are linked to it (removed, not masked)",
		},
		// VENDORS.md, later docs
		Keeps: []string{
			"data that arrives after the day of the job, if the shop still sends the key",
			"IP addresses that the vendor keeps in memory",
			"the same key as discoveryKey in Voyado Engage",
			"keys and sessions that the vendor had dropped before (after a year by default): a job about those ends as done",
		},
		HowKnown: "The vendor's removal job said that it was done. The vendor cannot be asked what it still holds.",
	}
}

// Identifiers implements vendors.Vendor: every customer key once. Keys that are linked at
// the vendor are the vendor's business.
func (v *Vendor) Identifiers(s vendors.Subject) ([]vendors.Ref, vendors.Reason) {
	var refs []vendors.Ref
	var first string
	var seen map[string]bool // from the second key on: most subjects have one
	n := 0
	for _, value := range s {
		if value.Field != vendors.CustomerKey {
			continue
		}
		ref := vendors.Ref{Field: vendors.CustomerKey, Nth: n}
		n++
		_, key := vendors.Normal(value.Field, value.Text)
		if value.Masked || key == "" || key == first || seen[key] {
			continue
		}
		if refs == nil {
			first = key
		} else {
			if seen == nil {
				seen = make(map[string]bool)
			}
			seen[key] = true
		}
		refs = append(refs, ref)
	}
	if refs == nil {
		return nil, vendors.NoIdentifier
	}
	return refs, ""
}

// maxKey bounds a customer key, in bytes. The vendor documents no bound; its keys are UUIDs.
const maxKey = 256

// Preview implements vendors.Vendor. It calls nobody.
func (v *Vendor) Preview(_ context.Context, t *vendors.Target) (vendors.Preview, error) {
	key := t.Identifier()
	if key == "" {
		return vendors.Preview{}, vendors.NotSent(v.name, "preview", vendors.ErrNoValue)
	}
	var p vendors.Preview
	if !wellFormed(key) {
		p.Doubt = vendors.MalformedKey
	}
	p.Warning = warning(key)
	return p, nil
}

func wellFormed(key string) bool {
	return len(key) <= maxKey && utf8.ValidString(key) &&
		!strings.ContainsFunc(key, func(r rune) bool { return unicode.IsSpace(r) || !unicode.IsPrint(r) })
}

// warning tells of a key that the vendor advises its customers against.
func warning(key string) vendors.Reason {
	if at := strings.LastIndexByte(key, '@'); at > 0 && at < len(key)-1 {
		return vendors.KeyLooksLikeEmail
	}
	return ""
}

// ErrOtherJob is the cause of an ErrUnreadable: the vendor answered about another job than
// the one it was asked about.
var ErrOtherJob = errors.New("the answer is about another job")

// Causes of an ErrUnreadable.
var (
	errNoJob    = errors.New("no usable job id in it")
	errNoStatus = errors.New("no job status in it")
)

// The calls that make jobs.
const (
	opSubmit = "submit"
	opExport = "create export"
)

// creates reports whether a call makes a job: then no answer can be about one that is not
// found.
func creates(op string) bool { return op == opSubmit || op == opExport }

// job is the answer to every call but one.
type job struct {
	ID     vendors.Loose `json:"jid"`
	Status vendors.Loose `json:"status"`
}

// Submit implements vendors.Vendor: it creates the removal job. Whatever status word comes
// with a job id, the id is kept: the job exists, and polls tell of it.
func (v *Vendor) Submit(ctx context.Context, t *vendors.Target) (vendors.Receipt, error) {
	return v.create(ctx, opSubmit, "create-remove-customer-job", t)
}

// create makes a job about the target's key.
func (v *Vendor) create(ctx context.Context, op, name string, t *vendors.Target) (vendors.Receipt, error) {
	key := t.Identifier()
	if key == "" {
		return vendors.Receipt{}, vendors.NotSent(v.name, op, vendors.ErrNoValue)
	}
	a, err := v.call(ctx, op, http.MethodPost, name, url.Values{"customerKey": {key}})
	if err != nil {
		return vendors.Receipt{}, err
	}
	j, err := v.read(op, a)
	if err != nil {
		return vendors.Receipt{}, err
	}
	id := string(j.ID)
	// A job id is shown in reports. One that repeats the key would show the key.
	if !vendors.PlainToken(id, 128) || strings.EqualFold(id, key) {
		return vendors.Receipt{}, v.unreadable(op, a, errNoJob)
	}
	return vendors.Receipt{Reference: id, Warning: warning(key)}, nil
}

// Poll implements vendors.Poller.
func (v *Vendor) Poll(ctx context.Context, t *vendors.Target) (vendors.Progress, error) {
	return v.poll(ctx, "poll", t)
}

func (v *Vendor) poll(ctx context.Context, op string, t *vendors.Target) (vendors.Progress, error) {
	if t.Reference == "" {
		return vendors.Progress{}, vendors.NotSent(v.name, op, vendors.ErrNoValue)
	}
	a, err := v.call(ctx, op, http.MethodGet, "job-status", url.Values{"jid": {t.Reference}})
	if err != nil {
		return vendors.Progress{}, err
	}
	j, err := v.read(op, a)
	if err != nil {
		return vendors.Progress{}, err
	}
	if j.ID != "" && !strings.EqualFold(string(j.ID), t.Reference) {
		return vendors.Progress{}, v.unreadable(op, a, ErrOtherJob)
	}
	if j.Status == "" {
		return vendors.Progress{}, v.unreadable(op, a, errNoStatus)
	}
	word := strings.ToLower(strings.TrimSpace(string(j.Status)))
	state, known := states[word]
	if j.ID == "" && (state == vendors.JobDone || state == vendors.JobFailed) {
		// What ends a task must be about our job: something in front of the vendor has
		// statuses too.
		return vendors.Progress{}, v.unreadable(op, a, errNoJob)
	}
	if !known {
		return vendors.Progress{Job: vendors.JobUnknown, Status: shown(word, t.Subject)}, nil
	}
	return vendors.Progress{Job: state, Status: word}, nil
}

const statusNotFound = "not_found"

// states are the status words of VENDORS.md.
var states = map[string]vendors.Job{
	"started":      vendors.JobOpen,
	"created":      vendors.JobOpen,
	"waiting":      vendors.JobOpen,
	"running":      vendors.JobOpen,
	"done":         vendors.JobDone,
	"error":        vendors.JobFailed,
	statusNotFound: vendors.JobLost,
}

// shown is a status word that we do not know, in a form that can go into reports and onto
// terminals: one word of letters, digits, hyphens and underscores that has nothing of the
// subject in it.
func shown(word string, s vendors.Subject) string {
	const strange = "(unprintable)"
	if len(word) > 40 {
		return strange
	}
	for _, c := range []byte(word) {
		if c != '-' && c != '_' && (c < '0' || c > '9') && (c < 'a' || c > 'z') {
			return strange
		}
	}
	for _, value := range s {
		if value.Text != "" && strings.Contains(word, strings.ToLower(value.Text)) {
			return strange
		}
	}
	return word
}

// call makes one request. No call has a body.
func (v *Vendor) call(ctx context.Context, op, method, name string, query url.Values) (*vendors.Answer, error) {
	req, err := v.request(ctx, op, method, name, query)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "application/json")
	return v.transport.Do(ctx, op, req)
}

func (v *Vendor) request(ctx context.Context, op, method, name string, query url.Values) (*http.Request, error) {
	u := v.place.JoinPath(name)
	u.RawQuery = query.Encode()
	req, err := http.NewRequestWithContext(ctx, method, u.String(), nil)
	if err != nil {
		return nil, vendors.NotSent(v.name, op, errRequest) // err would quote the URL
	}
	req.Header.Set("Api-Key", v.config.APIKey.Reveal())
	return req, nil
}

var errRequest = errors.New("the request cannot be built")

// read reads an answer as a job, or as the failure that it is. A job that is not found may
// come with HTTP 200 or 404; a 404 that names no job comes from something else.
func (v *Vendor) read(op string, a *vendors.Answer) (job, error) {
	var j job
	switch {
	case a.Status >= 200 && a.Status <= 299: // 200 is documented; a job in another must not be lost
		err := transport.DecodeJSON(v.name, op, a, &j)
		return j, err
	case a.Status == http.StatusNotFound:
		if transport.DecodeJSON(v.name, op, a, &j) == nil && j.Status == statusNotFound && j.ID != "" && !creates(op) {
			return j, nil
		}
	}
	return job{}, v.failure(op, a)
}

// failure is the usual meaning of an answer that is not 2xx, with the vendor's own words.
func (v *Vendor) failure(op string, a *vendors.Answer) error {
	failed := transport.Fail(v.name, op, a)
	var said struct{ Message vendors.Loose }
	if transport.DecodeJSON(v.name, op, a, &said) == nil {
		failed.Message = string(said.Message)
	}
	return failed
}

func (v *Vendor) unreadable(op string, a *vendors.Answer, cause error) error {
	return &vendors.Error{Vendor: v.name, Op: op, Kind: vendors.ErrUnreadable, Status: a.Status, Err: cause}
}

// Check implements vendors.Checker: it asks for a job that cannot exist. To be told so, the
// key must have been accepted.
func (v *Vendor) Check(ctx context.Context) ([]string, error) {
	var warnings []string
	if w := v.lifeOfAPI(); w != "" {
		warnings = append(warnings, w)
	}
	a, err := v.call(ctx, "check", http.MethodGet, "job-status", url.Values{"jid": {randomUUID()}})
	if err != nil {
		return warnings, err
	}
	j, err := v.read("check", a)
	if err == nil && j.Status == "" {
		err = v.unreadable("check", a, errNoStatus)
	}
	return warnings, err
}

// lifeOfAPI warns of an API version that ends.
func (v *Vendor) lifeOfAPI() string {
	switch {
	case v.config.API == apiV2 && v.config.Host == "elevate":
		return "api v2 ended on Elevate 4, which host: elevate is, on " + endOfV2.Format(time.DateOnly) + ": set api to admin/v4"
	case v.config.API == apiV2:
		return "api v2 is for Elevate 3 only: on Elevate 4 it ended on " + endOfV2.Format(time.DateOnly) + ", set api to admin/v4 there"
	case v.config.API != "admin/v3":
		return ""
	}
	left := endOfV3.Sub(v.now())
	if left <= 0 {
		return "api admin/v3 reached its end of life on " + endOfV3.Format(time.DateOnly) + ": set api to admin/v4"
	}
	return fmt.Sprintf("api admin/v3 reaches its end of life on %s, in %d days: set api to admin/v4",
		endOfV3.Format(time.DateOnly), int(left.Hours()/24))
}

// randomUUID is a UUID of version 4.
func randomUUID() string {
	var b [16]byte
	rand.Read(b[:]) // never fails (crypto/rand)
	b[6] = b[6]&0x0f | 0x40
	b[8] = b[8]&0x3f | 0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[0:4], b[4:6], b[6:8], b[8:10], b[10:])
}
