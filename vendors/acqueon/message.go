package acqueon

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"expunge/vendors"
	"expunge/vendors/transport"
)

// The values of the key dialect. The vendor's page contradicts itself: its sample has the
// payload under message, its table under data, as the bus's general form
// (vendor-docs/acqueon-pseudonymization-request.txt). The default sends both.
const (
	dialectBoth   = "both"
	dialectSample = "sample"
	dialectTable  = "table"
)

var dialects = []string{dialectBoth, dialectSample, dialectTable}

// What every message carries (VENDORS.md).
const (
	busChannel      = "LCM"
	busTopic        = "WebService"
	requestSubtopic = "CreatePseudonymizationRequest"
	answerSubtopic  = "SetPseudonymizationResponse"
	requestType     = "Pseudonymization"
)

// payload are the fields that both dialects have. Each is always sent: what is unknown is
// an empty text.
type payload struct {
	CustomerName     string
	PhoneNumber      string
	OtherPhoneNumber string
	EmailID          string
	OtherEmailID     string
	AgentComments    string
	AccountNumber    string
	AgentID          string
	RequestType      string
	IsPseudonymize   bool
}

type samplePayload struct {
	payload
	CustomerID string
	CallID     string `json:"callid"`
}

type tablePayload struct {
	payload
	CallID string `json:"CallId"`
}

// bothPayload has the call id in either spelling.
type bothPayload struct {
	samplePayload
	CallID2 string `json:"CallId"`
}

type request struct {
	Channel  string `json:"channel"`
	Topic    string `json:"topic"`
	Subtopic string `json:"subtopic"`
	Source   string `json:"source"`
	Message  any    `json:"message,omitempty"`
	Data     any    `json:"data,omitempty"`
}

// encode makes the request message for a subject. The agent is the row's or else the
// config's; the account number stands in for a missing call id, as in the vendor's sample.
func encode(dialect, source, agent, account string, s vendors.Subject) ([]byte, error) {
	p := payload{
		CustomerName:     s.Get(vendors.CustomerName),
		PhoneNumber:      s.Get(vendors.Telephone),
		OtherPhoneNumber: s.Get(vendors.OtherTelephone),
		EmailID:          s.Get(vendors.Email),
		OtherEmailID:     s.Get(vendors.OtherEmail),
		AgentComments:    s.Get(vendors.Comments),
		AccountNumber:    account,
		AgentID:          agent,
		RequestType:      requestType,
		IsPseudonymize:   true,
	}
	call := s.Get(vendors.CallID)
	if call == "" {
		call = account
	}
	m := request{Channel: busChannel, Topic: busTopic, Subtopic: requestSubtopic, Source: source}
	sample := samplePayload{payload: p, CustomerID: s.Get(vendors.CustomerID), CallID: call}
	switch dialect {
	case dialectSample:
		m.Message = sample
	case dialectTable:
		m.Data = tablePayload{payload: p, CallID: call}
	default:
		m.Message = bothPayload{samplePayload: sample, CallID2: call}
		m.Data = m.Message
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false) // names and comments arrive as they are written
	if err := e.Encode(m); err != nil {
		return nil, err
	}
	return bytes.TrimSpace(b.Bytes()), nil
}

// Why a message is not the response that we wait for. None quotes it.
var (
	errOtherMessage = errors.New("not a pseudonymization response")
	errNoPayload    = errors.New("the response has no payload, or two that differ")
	errNoRequestID  = errors.New("no usable request id in it")
	errFailed       = errors.New("it says that it failed")
)

// packet is a message of the bus, and the vendor's general form around one (docs.acqueon.com,
// API structure).
type packet struct {
	Channel, Topic, Subtopic vendors.Loose
	Message, Data            json.RawMessage
}

// unwrap returns the pseudonymization response that a message is, or that it carries as a
// packet. ok is false for everything else.
func unwrap(body []byte) (message []byte, ok bool) {
	var m packet
	if read(body, &m) != nil {
		return nil, false
	}
	if m.isResponse() {
		return body, true
	}
	for _, inner := range []json.RawMessage{m.Message, m.Data} {
		var m packet
		if read(inner, &m) == nil && m.isResponse() {
			return inner, true
		}
	}
	return nil, false
}

func (m *packet) isResponse() bool {
	return strings.EqualFold(string(m.Channel), busChannel) && strings.EqualFold(string(m.Topic), busTopic) &&
		strings.EqualFold(string(m.Subtopic), answerSubtopic)
}

// complaint returns the text of an error message of the bus: one with a filled errorType or
// errorMessage at any place, on whatever channel. The vendor's pages show them on several
// channels and at several depths.
func complaint(body []byte) (text string, ok bool) {
	var value any
	if read(body, &value) != nil {
		return "", false
	}
	return complaintIn(value, maxDepth)
}

// maxDepth is how deep an error message may stand in its packets.
const maxDepth = 5

func complaintIn(value any, depth int) (text string, ok bool) {
	fields, isObject := value.(map[string]any)
	if !isObject || depth == 0 {
		return "", false
	}
	found := map[string]string{}
	for _, key := range slices.Sorted(maps.Keys(fields)) {
		name := strings.ToLower(strings.TrimSpace(key)) // a page of the vendor's has "data "
		switch v := fields[key].(type) {
		case string:
			if v = strings.TrimSpace(v); v != "" {
				found[name] = v
			}
		case map[string]any:
			if text, ok := complaintIn(v, depth-1); ok {
				return text, true
			}
		}
	}
	kind, internal := found["errortype"], found["errormessage"]
	return cmp.Or(found["msg"], internal, kind), kind != "" || internal != ""
}

// decode reads the id of the raised request out of a response message, whichever dialect
// it is in, with a packet around it or not. The id is kept and shown: what could not be one,
// or repeats a value of the subject, is none. An error has the vendor's own words beside it,
// where there are any.
func decode(body []byte, s vendors.Subject) (id, said string, err error) {
	message, ok := unwrap(body)
	if said, failed := complaint(body); failed {
		return "", said, errFailed
	}
	if !ok {
		if err := read(body, new(packet)); err != nil {
			return "", "", err
		}
		return "", "", errOtherMessage
	}
	var fields map[string]json.RawMessage
	var m packet
	if err := errors.Join(read(message, &m), read(message, &fields)); err != nil {
		return "", "", err
	}
	if saysFailed(fields) {
		return "", "", errFailed
	}
	found := ""
	for _, raw := range []json.RawMessage{m.Message, m.Data} {
		if len(raw) == 0 || string(raw) == "null" {
			continue
		}
		var p struct{ Response vendors.Loose }
		if err := errors.Join(read(raw, &p), read(raw, &fields)); err != nil {
			return "", "", err
		}
		if saysFailed(fields) {
			return "", "", errFailed
		}
		if found != "" && found != string(p.Response) {
			return "", "", errNoPayload
		}
		found = string(p.Response)
	}
	if found == "" {
		return "", "", errNoPayload
	}
	if !vendors.PlainRequestID(found, s) {
		return "", "", errNoRequestID
	}
	return found, "", nil
}

// saysFailed reports whether a response denies its own success.
func saysFailed(fields map[string]json.RawMessage) bool {
	for key, raw := range fields {
		switch strings.ToLower(strings.TrimSpace(key)) {
		case "success":
			if vendors.SaysNo(raw) {
				return true
			}
		case "error", "errors":
			if !vendors.SaysNothing(raw) {
				return true
			}
		}
	}
	return false
}

// read decodes JSON with the transport's strictness, and gives only the cause of its error.
func read(body []byte, into any) error {
	err := transport.DecodeJSON("", "", &vendors.Answer{Body: body}, into)
	var e *vendors.Error
	if errors.As(err, &e) {
		return e.Err
	}
	return err
}

// clean reports whether text is one line without control characters.
func clean(text string) bool {
	return utf8.ValidString(text) && !strings.ContainsFunc(text, unicode.IsControl)
}
