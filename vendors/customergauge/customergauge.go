// Package customergauge speaks the anonymize API of CustomerGauge, a survey platform.
//
// Facts about the API come from VENDORS.md and the vendor's pages
// (vendor-docs/customergauge-get-anonymize.txt, customergauge-anonymize-guide.txt). One
// email or telephone can have many records and anonymizing takes all of them, for good.
// So the vendor's guide is followed: preview, compare with the person, anonymize by the
// same identifier, and then preview again, when nothing may match any more.
//
// Invariants: a record of somebody else never passes the preview without a doubt; an
// answer that is not understood is never "no match" and never success; names, emails and
// telephones of records leave this package in no value, error or log.
//
// The package does not schedule, retry or keep anything but one access token. The single
// repetition it makes is with a fresh token after a 401, which surely had no effect.
package customergauge

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"expunge/vendors"
	"expunge/vendors/auth"
)

// Vendor is one CustomerGauge account.
type Vendor struct {
	name          string
	config        Config
	transport     vendors.Transport
	place         string
	auth          auth.Credentials
	defaultRegion string
	preview       *url.URL
	anonymize     *url.URL
}

var (
	_ vendors.Vendor  = (*Vendor)(nil)
	_ vendors.Checker = (*Vendor)(nil)
)

// Traits implements vendors.Vendor.
func (v *Vendor) Traits() vendors.Traits {
	t := vendors.Traits{
		Kind: kindName, Place: v.place, SharedPlace: v.config.ClientID == "", Act: vendors.Anonymize,
		Control: v.config.Control.Target(), Remote: true,
		Completion: vendors.ByPreview, Uncertain: vendors.AskAgain,
		Fields: vendors.SetOf(vendors.Email, vendors.OtherEmail, vendors.Telephone, vendors.OtherTelephone, vendors.Region),
		// Whose record a telephone finds is told by the subject's emails: see owner.
		Besides:        map[vendors.Field]vendors.FieldSet{vendors.Telephone: vendors.SetOf(vendors.Email, vendors.OtherEmail)},
		VerifyAfter:    time.Duration(v.config.VerifyAfter),
		VerifyPatience: time.Duration(v.config.VerifyPatience),
		// vendor-docs/customergauge-anonymize-guide.txt
		Anonymizes: []string{
			"email (replaced by a random one)", "first name", "last name", "telephone", "follow-up details",
			"customer number", "job level", "job position", "NPS comment", "comment translation",
			"workflow comment", "direct or automatic reply", "review comment", "additional comment", "input boxes",
		},
		Keeps: []string{
			"email sent date", "survey completed date", "NPS score", "drivers",
			"whether a follow-up was asked for", "additional rating question",
			"drop-down, radio button and check-box answers", "CSAT answer", "CES answer",
		},
		HowKnown: "After the anonymize call the vendor was asked again for the same email or telephone and no longer had a record of it. " +
			"Of a telephone this says less than of an email: it is looked up in the spellings of telephone_forms, and the vendor may hold it in another.",
	}
	if v.config.SegmentsAgreed {
		t.Anonymizes = append(t.Anonymizes, "the segment fields that were agreed with the vendor")
	} else {
		t.Keeps = append(t.Keeps, "segment fields (none are recorded here as agreed with the vendor)")
	}
	return t
}

// Identifiers implements vendors.Vendor: every email and telephone once, however often and
// in whatever spelling the subject has it. Of a telephone's spellings it is one that says
// its country, where there is one: the others may not be looked up in every form.
func (v *Vendor) Identifiers(s vendors.Subject) ([]vendors.Ref, vendors.Reason) {
	if r := strings.TrimSpace(s.Get(vendors.Region)); r != "" && v.config.Region != "" && !strings.EqualFold(r, v.config.Region) {
		return nil, vendors.OtherRegion
	}
	var refs []vendors.Ref
	for i, value := range s {
		if value.Masked || !identifying.Has(value.Field) {
			continue
		}
		class, text := vendors.Normal(value.Field, value.Text)
		if text == "" {
			continue
		}
		ref := vendors.Ref{Field: value.Field}
		for _, before := range s[:i] {
			if before.Field == value.Field {
				ref.Nth++
			}
		}
		again := slices.IndexFunc(refs, func(r vendors.Ref) bool {
			c, t := vendors.Normal(r.Field, s.At(r))
			return c == class && t == text
		})
		switch {
		case again < 0:
			refs = append(refs, ref)
		case class == vendors.Telephone && saysCountry(value.Text) && !saysCountry(s.At(refs[again])):
			refs[again] = ref
		}
	}
	if refs == nil {
		return nil, vendors.NoIdentifier
	}
	return refs, ""
}

// identifying are the fields that the vendor looks people up by.
var identifying = vendors.SetOf(vendors.Email, vendors.OtherEmail, vendors.Telephone, vendors.OtherTelephone)

func saysCountry(telephone string) bool { return strings.HasPrefix(strings.TrimSpace(telephone), "+") }

// Preview implements vendors.Vendor. An identifier takes one request for each of its forms;
// a record that is found by several counts once. The Hint names the forms that are needed
// to reach all of them.
//
// An answer that may be how the vendor says that it holds nothing (Error.Form) is one for
// its form alone: where another form finds records, they are what there is to decide on, and
// the look after the submission asks for every form again.
func (v *Vendor) Preview(ctx context.Context, t *vendors.Target) (vendors.Preview, error) {
	if !t.Control && v.IsControl(t.Subject) {
		return vendors.Preview{Doubt: vendors.ControlRecord}, nil
	}
	forms, err := v.forms("preview", t, v.config.TelephoneForms, emailFormNames)
	if err != nil {
		return vendors.Preview{}, err
	}
	if len(forms) == 0 { // none of the configured forms can be made of it
		forms = []form{{asGiven, t.Identifier()}}
	}
	var p vendors.Preview
	var matched []string
	var unsure *vendors.Error // the first answer with a Form
	more := 0                 // records that the vendor counted and did not list
	for _, f := range forms {
		found, err := v.look(ctx, t.Ref.Field, f.value)
		var failed *vendors.Error
		switch {
		case err == nil:
		case !errors.As(err, &failed) || failed.Form == "":
			return vendors.Preview{}, err
		case unsure == nil:
			unsure = failed
			continue
		default:
			if unsure.Form != failed.Form {
				unsure.Form = ""
			}
			continue
		}
		if len(found.records) == 0 && found.total == 0 {
			continue
		}
		// A form that only finds what an earlier one found needs no anonymize call of its own.
		known := len(p.Refs)
		for _, r := range found.records {
			if !slices.Contains(p.Refs, string(r.Number)) {
				p.Refs = append(p.Refs, string(r.Number))
			}
		}
		if len(p.Refs) > known || !found.consistent {
			matched = append(matched, f.name)
		}
		if !found.consistent {
			p.Doubt = vendors.FirstDoubt(p.Doubt, vendors.InconsistentAnswer)
			more = max(more, found.total-len(found.records))
		}
		for _, r := range found.records {
			p.Doubt = vendors.FirstDoubt(p.Doubt, v.owner(r, t.Ref.Field, forms, t.Subject))
		}
	}
	slices.Sort(p.Refs)
	p.Records = len(p.Refs) + more
	if unsure != nil && p.Records == 0 {
		return vendors.Preview{}, unsure
	}
	if p.Records > v.config.MaxRecords {
		p.Doubt = vendors.FirstDoubt(p.Doubt, vendors.TooManyRecords)
	}
	p.Hint = strings.Join(matched, ",")
	return p, nil
}

// errControl is the cause of a submission that does not leave.
var errControl = errors.New("the identifier is the control record's, which is never erased")

// IsControl reports whether one of a subject's values leads to the control record: whichever
// identifier the task is about, the subject's email would pass its records for the subject's.
func (v *Vendor) IsControl(s vendors.Subject) bool {
	own := v.config.Control.Target()
	if own == nil || v.config.Control.Covers(s) {
		return own != nil
	}
	if own.Ref.Field != vendors.Telephone {
		return false
	}
	ending := lastDigits(own.Identifier())
	forms := telephoneForms(own.Identifier(), v.defaultRegion, formNames)
	for _, value := range s {
		if class, _ := vendors.Normal(value.Field, ""); class != vendors.Telephone || value.Masked || lastDigits(value.Text) != ending {
			continue // all spellings of a number end alike, and an intake asks about millions
		}
		for _, f := range telephoneForms(value.Text, v.defaultRegion, formNames) {
			if slices.ContainsFunc(forms, func(own form) bool { return own.value == f.value }) {
				return true
			}
		}
	}
	return false
}

func lastDigits(telephone string) string {
	d := vendors.Digits(telephone)
	return d[max(0, len(d)-5):]
}

// look makes one preview request.
func (v *Vendor) look(ctx context.Context, field vendors.Field, value string) (listing, error) {
	a, err := v.call(ctx, "preview", func(ctx context.Context) (*http.Request, error) {
		u := *v.preview
		u.RawQuery = url.Values{parameter(field): {value}}.Encode()
		return http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	})
	if err != nil {
		return listing{}, err
	}
	_, plain := vendors.Normal(field, value)
	return readPreview(v.name, a, value, plain)
}

// errPartly is the cause of the error when one form of an identifier was anonymized and a
// later one was not.
var errPartly = errors.New("one spelling of the identifier was accepted, another was not")

// Submit implements vendors.Vendor. It anonymizes by each form of the identifier by which the
// preview found records (Target.Hint). Where one of them was accepted and a later one fails, the
// error is never a harmless one: the vendor must be asked what is left.
func (v *Vendor) Submit(ctx context.Context, t *vendors.Target) (vendors.Receipt, error) {
	if v.IsControl(t.Subject) { // whatever a person has approved
		return vendors.Receipt{}, &vendors.Error{Vendor: v.name, Op: "submit", Kind: vendors.ErrRefused, Err: errControl}
	}
	names, ok := hintForms(t.Hint)
	if !ok {
		return vendors.Receipt{}, vendors.NotSent(v.name, "submit", vendors.ErrNoValue)
	}
	forms, err := v.forms("submit", t, names, names)
	if err == nil && len(forms) == 0 {
		err = vendors.NotSent(v.name, "submit", vendors.ErrNoValue)
	}
	if err != nil {
		return vendors.Receipt{}, err
	}
	for i, f := range forms {
		a, err := v.call(ctx, "submit", func(ctx context.Context) (*http.Request, error) {
			return v.anonymizeRequest(ctx, t.Ref.Field, f.value)
		})
		if err == nil {
			err = readAccepted(v.name, a)
		}
		if err == nil {
			continue
		}
		var failed *vendors.Error
		if i > 0 && vendors.Harmless(err) && errors.As(err, &failed) {
			err = &vendors.Error{
				Vendor: v.name, Op: "submit", Kind: vendors.ErrUnavailable, Err: errPartly,
				Status: failed.Status, RetryAfter: failed.RetryAfter, Message: failed.Message,
			}
		}
		return vendors.Receipt{}, err
	}
	return vendors.Receipt{}, nil
}

// anonymizeRequest builds the one request that cannot be undone.
func (v *Vendor) anonymizeRequest(ctx context.Context, field vendors.Field, value string) (*http.Request, error) {
	name, kind := parameter(field), "application/x-www-form-urlencoded"
	var body string
	if v.config.API == apiV6 {
		if name == "telephone" {
			name = "phone"
		}
		b, err := json.Marshal(map[string]string{name: value})
		if err != nil {
			return nil, err
		}
		body, kind = string(b), "application/json"
	} else {
		body = url.Values{name: {value}}.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, v.anonymize.String(), strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", kind)
	return req, nil
}

// parameter is the API's name for an identifier.
func parameter(field vendors.Field) string {
	if class, _ := vendors.Normal(field, ""); class == vendors.Telephone {
		return "telephone"
	}
	return "email"
}

// forms lists the spellings of the target's identifier to send: of a telephone and of an email
// those with the given names.
func (v *Vendor) forms(op string, t *vendors.Target, telephone, email []string) ([]form, error) {
	text := t.Identifier()
	class, plain := vendors.Normal(t.Ref.Field, text)
	switch {
	case plain == "":
		return nil, vendors.NotSent(v.name, op, vendors.ErrNoValue)
	case class == vendors.Email:
		return emailForms(text, email), nil
	case class == vendors.Telephone:
		return telephoneForms(text, v.defaultRegion, telephone), nil
	}
	return nil, vendors.NotSent(v.name, op, vendors.ErrNoValue)
}

// call sends one request with credentials: see auth.Do.
func (v *Vendor) call(ctx context.Context, op string, build func(context.Context) (*http.Request, error)) (*vendors.Answer, error) {
	return auth.Do(ctx, v.transport, op, v.auth, func(ctx context.Context, value string) (*http.Request, error) {
		req, err := build(ctx)
		if err != nil {
			return nil, vendors.NotSent(v.name, op, errRequest)
		}
		req.Header.Set("Authorization", value)
		req.Header.Set("Accept", "application/json")
		return req, nil
	})
}

// errRequest stands for an error of net/http that would quote the URL.
var errRequest = errors.New("the request cannot be built")

// Check implements vendors.Checker: it looks up the control record, which must be there, and
// a stranger, whom nobody can be. Only both together show that this is the account.
func (v *Vendor) Check(ctx context.Context) ([]string, error) {
	var warnings []string
	if !v.config.SegmentsAgreed {
		warnings = append(warnings, "segments_agreed is not true: segment fields are anonymized only after you agree on them once with your CustomerGauge customer success manager")
	}
	class := vendors.Email
	own := v.config.Control.Target()
	if own == nil {
		warnings = append(warnings, "no control is set: an account that shows nobody cannot be told from a wrong one; name a record of your own that is always there, such as control: {email: control@example.com}")
	} else {
		class = own.Ref.Field
		p, err := v.Preview(ctx, own)
		switch {
		case err != nil:
			return warnings, checked(err)
		case p.Records == 0:
			return warnings, &vendors.Error{Vendor: v.name, Op: "check", Kind: vendors.ErrAddress, Err: vendors.ErrControl}
		}
	}
	p, err := v.Preview(ctx, vendors.Stranger(class))
	var failed *vendors.Error
	switch {
	case err == nil && p.Records > 0:
		return warnings, &vendors.Error{Vendor: v.name, Op: "check", Kind: vendors.ErrAddress, Err: errEverybody}
	case err == nil:
		return warnings, nil
	case !errors.As(err, &failed) || failed.Form == "":
	case own != nil:
		return append(warnings, said(failed)+"; a run takes it for \"nothing held\" while the control record is found"), nil
	case errors.Is(err, vendors.ErrRefused) && failed.Message != "":
		// The API understood who asks, and disliked the address.
		return append(warnings, said(failed)+", which does not say \"nothing held\": people of whom the vendor holds nothing stay open until a control record is set"), nil
	}
	return warnings, checked(err)
}

// errEverybody is the cause of a check that fails.
var errEverybody = errors.New("it shows records of somebody whom nobody can be")

func said(e *vendors.Error) string {
	return fmt.Sprintf("to an address that nobody can have the vendor answers in its own way (HTTP %d)", e.Status)
}

// checked gives an error of a look the name of the check. That of the token keeps its own.
func checked(err error) error {
	var failed *vendors.Error
	if errors.As(err, &failed) && failed.Op == "preview" {
		failed.Op = "check"
	}
	return err
}
