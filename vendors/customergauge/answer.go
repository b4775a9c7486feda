package customergauge

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"expunge/vendors"
	"expunge/vendors/transport"
)

// Causes of an ErrUnreadable.
var (
	errEnvelope  = errors.New("not the answer that is documented")
	errNumber    = errors.New("a record without a usable number_customergauge")
	errNoSuccess = errors.New("it says that there was no success")
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

// readPreview reads the answer to a preview by the asked value, given in its spellings. The
// vendor documents no "nothing held": a total of 0 without records is one, at status 200 or
// 404. A 404 by itself says that the address is wrong. What is not understood is an error,
// with its Form where it may be how this account says "nothing held".
func readPreview(vendor string, a *vendors.Answer, asked ...string) (listing, error) {
	fields, _ := object(a)
	l, listed := readListing(fields)
	nothing := listed && l.total == 0 && len(l.records) == 0
	if a.Status == http.StatusNotFound && nothing && !errorIn(fields).there {
		return l, nil
	}
	told := !vendors.SaysNothing(fields["Data"]) || !vendors.SaysNothing(fields["total"]) // of a record
	_, err := readObject(vendor, "preview", a)
	switch {
	case a.Status == http.StatusNotFound && told:
		err = unreadable(vendor, "preview", a, errEnvelope)
	case err != nil:
	case !listed, nothing && a.Status != http.StatusOK:
		err = unreadable(vendor, "preview", a, errEnvelope)
	default:
		for _, r := range l.records {
			if !isRecordNumber(string(r.Number)) {
				return listing{}, unreadable(vendor, "preview", a, errNumber)
			}
		}
		return l, nil
	}
	var failed *vendors.Error
	ofAddress := slices.Contains(codesOfAddress, errorIn(fields).code)
	if errors.As(err, &failed) && !told && !ofAddress && failed.Kind != vendors.ErrAuth && vendors.MayMeanNothing(a) {
		failed.Form = vendors.FormOf(a, asked...)
	}
	return listing{}, err
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
// being JSON: any 2xx counts that is empty or a JSON object without an Error, and so does
// "nothing held". The erasure itself is shown by the next preview.
func readAccepted(vendor string, a *vendors.Answer) error {
	switch {
	case a.Status >= 200 && a.Status <= 299 && len(bytes.TrimSpace(a.Body)) == 0:
		return nil
	case a.Status == http.StatusNotFound:
		if _, err := readPreview(vendor, a); err == nil {
			return nil
		}
	}
	_, err := readObject(vendor, "submit", a)
	return err
}

// The codes of the vendor's error table for 4.1 that say more than that the request is
// refused (VENDORS.md).
const codeUnauthorized = "200000"

var codesOfAddress = []string{"300002", "300003"} // no such module, no such method

// noResults is how v6 says that it knows nobody by an identifier: the address is right.
const noResults = "No query results"

// readObject reads a JSON object, or the failure that the answer is. An Error object is one
// at any status. Its code says what it is, else the status, and where that says nothing
// (200), or denies the address that has just answered (404), it is a refusal.
func readObject(vendor, op string, a *vendors.Answer) (map[string]json.RawMessage, error) {
	fields, isObject := object(a)
	e := errorIn(fields)
	if a.Status >= 200 && a.Status <= 299 && !e.there {
		if !isObject {
			return nil, transport.DecodeJSON(vendor, op, a, &fields)
		}
		if raw, ok := fields["success"]; ok && vendors.SaysNo(raw) {
			err := unreadable(vendor, op, a, errNoSuccess)
			err.Message = e.message
			return nil, err
		}
		return fields, nil
	}
	err := transport.Fail(vendor, op, a)
	err.Message = e.message
	known := e.there || strings.HasPrefix(e.message, noResults)
	switch {
	case err.Kind == vendors.ErrRateLimited:
	case e.code == codeUnauthorized:
		err.Kind = vendors.ErrAuth
	case slices.Contains(codesOfAddress, e.code):
		err.Kind = vendors.ErrAddress
	case err.Kind == vendors.ErrUnreadable, known && a.Status == http.StatusNotFound:
		err.Kind = vendors.ErrRefused
	}
	return nil, err
}

// object reads the body of an answer that is a failure already, where it is JSON.
func object(a *vendors.Answer) (map[string]json.RawMessage, bool) {
	var fields map[string]json.RawMessage
	err := transport.DecodeJSON("", "", a, &fields)
	return fields, err == nil
}

// apiError is what an answer says of a failure.
type apiError struct {
	there   bool   // an Error that is not empty
	message string // its text, or else the answer's message
	code    string
}

// errorIn finds the Error of an answer. One that is empty in any way (null, false, [], "")
// stands beside success; anything else, in any case of letters, is an error.
func errorIn(fields map[string]json.RawMessage) (e apiError) {
	for _, key := range slices.Sorted(maps.Keys(fields)) { // the same text each time
		raw := fields[key]
		if !strings.EqualFold(key, "Error") && !strings.EqualFold(key, "Errors") || vendors.SaysNothing(raw) {
			continue
		}
		e.there = true
		var documented struct{ Message, Code vendors.Loose }
		var text string
		switch {
		case json.Unmarshal(raw, &documented) == nil:
			e.message, e.code = cmp.Or(string(documented.Message), e.message), cmp.Or(string(documented.Code), e.code)
		case json.Unmarshal(raw, &text) == nil:
			e.message = cmp.Or(e.message, text)
		}
	}
	var text string
	if e.message == "" && json.Unmarshal(fields["message"], &text) == nil {
		e.message = text
	}
	return e
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
// share, the record's email must be one of the subject's; a record without an email is taken
// for the subject's only where the config accepts it (telephone_alone) and it shows the
// telephone that was asked for.
func (v *Vendor) owner(r record, field vendors.Field, forms []form, s vendors.Subject) vendors.Reason {
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
		if shown != "" && v.config.TelephoneAlone == accept && slices.ContainsFunc(forms, func(f form) bool { return vendors.Digits(f.value) == shown }) {
			return ""
		}
		return vendors.UnknownOwner
	}
	for _, value := range s {
		if class, own := vendors.Normal(value.Field, value.Text); class == vendors.Email && !value.Masked && own == email {
			return ""
		}
	}
	return vendors.SomebodyElse
}
