package customergauge

import (
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"expunge/vendors"
	"expunge/vendors/transport"
)

// Causes of an ErrUnreadable.
var (
	errEnvelope = errors.New("not the answer that is documented")
	errNumber   = errors.New("a record without a usable number_customergauge")
	errNotFound = errors.New("the vendor does not know this address")
)

// record is what we look at of a previewed record. Names are not even decoded; email and
// telephone are compared with the subject and then gone.
type record struct {
	Email     vendors.Loose `json:"email"`
	Telephone vendors.Loose `json:"sms_telephone"`
	Number    vendors.Loose `json:"number_customergauge"`
}

// listing is a preview answer that was understood.
type listing struct {
	records    []record
	total      int
	consistent bool // total and records agree
}

// readPreview reads the answer to a preview. The vendor does not document what "no match"
// looks like: it is a total of 0 without records, or an HTTP 404 that is empty or a JSON
// object which says nothing else. Everything that is not understood is an error.
func readPreview(vendor string, a *vendors.Answer) (listing, error) {
	if a.Status == http.StatusNotFound {
		return readNotFound(vendor, a)
	}
	fields, err := readObject(vendor, "preview", a)
	if err != nil {
		return listing{}, err
	}
	l, ok := readListing(fields)
	if !ok {
		return listing{}, unreadable(vendor, "preview", a, errEnvelope)
	}
	for _, r := range l.records {
		if !isRecordNumber(string(r.Number)) {
			return listing{}, unreadable(vendor, "preview", a, errNumber)
		}
	}
	return l, nil
}

// readNotFound decides whether a 404 comes from the API and means "no match". A page of a
// proxy, or records in spite of the status, do not; and an Error object is an error at any
// status.
func readNotFound(vendor string, a *vendors.Answer) (listing, error) {
	nothing := listing{consistent: true}
	if len(strings.TrimSpace(string(a.Body))) == 0 {
		return nothing, nil
	}
	fields, ok := object(a)
	if !ok {
		return listing{}, unreadable(vendor, "preview", a, errNotFound)
	}
	if message, failed := errorObject(fields); failed {
		return listing{}, &vendors.Error{Vendor: vendor, Op: "preview", Kind: vendors.ErrRefused, Status: a.Status, Message: message}
	}
	_, data := fields["Data"]
	_, total := fields["total"]
	if l, ok := readListing(fields); (data || total) && (!ok || l.total != 0 || len(l.records) != 0) {
		return listing{}, unreadable(vendor, "preview", a, errEnvelope)
	}
	return nothing, nil
}

// readListing reads Data and total. A missing or unreadable total is not taken for 0; with
// records and no total they cannot be known to be all.
func readListing(fields map[string]json.RawMessage) (l listing, ok bool) {
	data, listed := fields["Data"]
	listed = listed && string(data) != "null"
	if listed && json.Unmarshal(data, &l.records) != nil {
		return listing{}, false
	}
	raw, there := fields["total"]
	if !there || string(raw) == "null" {
		l.total = len(l.records)
		return l, len(l.records) > 0
	}
	var text vendors.Loose
	if json.Unmarshal(raw, &text) != nil {
		return listing{}, false
	}
	total, err := strconv.Atoi(string(text))
	if err != nil || total < 0 {
		return listing{}, false
	}
	l.total = total
	l.consistent = total == len(l.records)
	return l, listed || total == 0
}

// readAccepted reads the answer to an anonymize call. Its success is not documented beyond
// being JSON: any JSON object without an Error counts, and so does 204, which by its
// meaning has no body. The erasure itself is shown by the next preview.
func readAccepted(vendor string, a *vendors.Answer) error {
	switch a.Status {
	case http.StatusNoContent:
		return nil
	case http.StatusNotFound:
		// Whether "not found" came from the API or from something in front of it cannot be
		// told, and no effect is not certain: the preview is asked.
		err := unreadable(vendor, "submit", a, errNotFound)
		if fields, ok := object(a); ok {
			err.Message, _ = errorObject(fields)
		}
		return err
	}
	_, err := readObject(vendor, "submit", a)
	return err
}

// readObject reads a JSON object, or the failure that the answer is. An Error object is a
// refusal at any status that does not itself say more (credentials, pace, an outage).
func readObject(vendor, op string, a *vendors.Answer) (map[string]json.RawMessage, error) {
	if a.Status < 200 || a.Status > 299 {
		err := transport.Fail(vendor, op, a)
		if fields, ok := object(a); ok {
			message, failed := errorObject(fields)
			err.Message = message
			if failed && errors.Is(err.Kind, vendors.ErrUnreadable) {
				err.Kind, err.Err = vendors.ErrRefused, nil
			}
		}
		return nil, err
	}
	var fields map[string]json.RawMessage
	if err := transport.DecodeJSON(vendor, op, a, &fields); err != nil {
		return nil, err
	}
	if message, failed := errorObject(fields); failed {
		return nil, &vendors.Error{Vendor: vendor, Op: op, Kind: vendors.ErrRefused, Status: a.Status, Message: message}
	}
	return fields, nil
}

// object reads the body of an answer that is a failure already, where it is JSON.
func object(a *vendors.Answer) (map[string]json.RawMessage, bool) {
	var fields map[string]json.RawMessage
	err := transport.DecodeJSON("", "", a, &fields)
	return fields, err == nil
}

// errorObject reports whether an answer holds an Error, and its text where that is where
// it is documented to be. A null is none; anything else, in any case of letters, is one.
func errorObject(fields map[string]json.RawMessage) (message string, failed bool) {
	for key, raw := range fields {
		if !strings.EqualFold(key, "Error") && !strings.EqualFold(key, "Errors") || string(raw) == "null" {
			continue
		}
		failed = true
		var documented struct{ Message string }
		if json.Unmarshal(raw, &documented) == nil && documented.Message != "" {
			return documented.Message, true
		}
		var text string
		if json.Unmarshal(raw, &text) == nil && text != "" {
			message = text
		}
	}
	return message, failed
}

func unreadable(vendor, op string, a *vendors.Answer, cause error) *vendors.Error {
	return &vendors.Error{Vendor: vendor, Op: op, Kind: vendors.ErrUnreadable, Status: a.Status, Err: cause}
}

// isRecordNumber accepts what may be kept in the store and shown in a report: the record
// numbers are no personal data, and nothing else may slip in with them.
func isRecordNumber(text string) bool {
	if text == "" || len(text) > 40 {
		return false
	}
	for _, c := range []byte(text) {
		if c != '-' && c != '_' && (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') {
			return false
		}
	}
	return true
}

// owner says whether a record that was found by the target's identifier is the subject's
// own: "" when it is, else the doubt that holds the task.
//
// By email, the record's email must equal the identifier. By telephone, which people
// share, the record's email must be one of the subject's; a record without an email must
// at least show the telephone that was asked for.
func owner(r record, field vendors.Field, forms []form, s vendors.Subject) vendors.Reason {
	_, email := vendors.Normal(vendors.Email, string(r.Email))
	if class, _ := vendors.Normal(field, ""); class == vendors.Email {
		_, asked := vendors.Normal(field, forms[0].value)
		switch email {
		case asked:
			return ""
		case "":
			return vendors.UnknownOwner
		}
		return vendors.SomebodyElse
	}
	if email == "" {
		shown := vendors.Digits(string(r.Telephone))
		if shown != "" && slices.ContainsFunc(forms, func(f form) bool { return vendors.Digits(f.value) == shown }) {
			return ""
		}
		return vendors.UnknownOwner
	}
	for _, v := range s {
		if class, own := vendors.Normal(v.Field, v.Text); class == vendors.Email && !v.Masked && own == email {
			return ""
		}
	}
	return vendors.SomebodyElse
}

// graver returns the doubt that a person should hear of first.
func graver(a, b vendors.Reason) vendors.Reason {
	order := []vendors.Reason{vendors.SomebodyElse, vendors.InconsistentAnswer, vendors.TooManyRecords, vendors.UnknownOwner}
	for _, r := range order {
		if a == r || b == r {
			return r
		}
	}
	return ""
}
