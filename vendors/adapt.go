package vendors

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/url"
	"slices"
	"strings"
)

// This file holds what the adapters share besides the transport.

// ErrNoValue is the cause of an ErrNotSent: a call lacks what it is about (the clear
// identifier has been dropped, there is no reference). Such a call never leaves.
var ErrNoValue = errors.New("the task has no clear value left to send")

// Loose is a JSON string or number as its text, for fields that a vendor sends now as the
// one and now as the other. null is the empty text; anything else does not decode.
type Loose string

var errLoose = errors.New("neither a string nor a number")

// UnmarshalJSON implements json.Unmarshaler.
func (l *Loose) UnmarshalJSON(b []byte) error {
	b = bytes.TrimSpace(b)
	switch {
	case len(b) == 0:
		return errLoose
	case b[0] == '"':
		return json.Unmarshal(b, (*string)(l))
	case b[0] == '-' || b[0] >= '0' && b[0] <= '9':
		*l = Loose(b)
		return nil
	case string(b) == "null":
		*l = ""
		return nil
	}
	return errLoose
}

// HTTPBase reads the URL under a config key, to which HTTP requests will go (see
// ParseBaseURL). Its error is a *KeyError that does not quote the URL.
func HTTPBase(key, text string) (*url.URL, error) {
	u, err := ParseBaseURL(text)
	if err != nil {
		return nil, &KeyError{Key: key, Problem: err.Error()}
	}
	if u.Scheme != "https" && u.Scheme != "http" {
		return nil, &KeyError{Key: key, Problem: "must be an https URL", Hint: "WebSocket URLs do not belong here"}
	}
	return u, nil
}

// PlainToken reports whether text is 1 to limit printable ASCII characters without spaces:
// what an id or a credential of a vendor must look like before it is kept or sent.
func PlainToken(text string, limit int) bool {
	if text == "" || len(text) > limit {
		return false
	}
	for i := range len(text) {
		if text[i] <= ' ' || text[i] >= 0x7f {
			return false
		}
	}
	return true
}

// PlainRequestID reports whether id can be kept and shown as what a vendor's people call a
// subject's request, such as 10089. A word without a digit is a message, 0 or a negative
// number is how such systems say that something went wrong, and a value of the subject is
// none.
func PlainRequestID(id string, s Subject) bool {
	if !PlainToken(id, 64) || id[0] == '-' || !strings.ContainsAny(id, "123456789") {
		return false
	}
	for _, v := range s {
		switch class, normal := Normal(v.Field, v.Text); class {
		case Email, Telephone, AccountNumber:
			if v.Text == id || normal == id {
				return false
			}
		}
	}
	return true
}

// SaysNothing reports whether a JSON value says nothing: null, false, 0, an empty text, or a list
// or an object of nothing else.
func SaysNothing(raw json.RawMessage) bool {
	var value any
	if len(raw) == 0 || json.Unmarshal(raw, &value) != nil {
		return len(raw) == 0
	}
	return nothing(value)
}

func nothing(value any) bool {
	switch v := value.(type) {
	case nil:
		return true
	case bool:
		return !v
	case float64:
		return v == 0
	case string:
		return strings.TrimSpace(v) == "" || v == "0"
	case []any:
		return !slices.ContainsFunc(v, func(x any) bool { return !nothing(x) })
	case map[string]any:
		for _, x := range v {
			if !nothing(x) {
				return false
			}
		}
		return true
	}
	return false
}

// SaysNo reports whether a flag is given, and not set.
func SaysNo(raw json.RawMessage) bool {
	return string(raw) != "null" && (SaysNothing(raw) || strings.EqualFold(string(raw), `"false"`) || strings.EqualFold(string(raw), `"no"`))
}
