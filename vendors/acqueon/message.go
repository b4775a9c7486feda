package acqueon

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"unicode"
	"unicode/utf8"

	"expunge/vendors"
	"expunge/vendors/transport"
)

// The values of the key dialect. The vendor's page contradicts itself: its sample has the
// payload under message, its table under data (vendor-docs/acqueon-pseudonymization-request.txt).
const (
	dialectSample = "sample"
	dialectTable  = "table"
)

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

type request struct {
	Channel  string         `json:"channel"`
	Topic    string         `json:"topic"`
	Subtopic string         `json:"subtopic"`
	Source   string         `json:"source"`
	Message  *samplePayload `json:"message,omitempty"`
	Data     *tablePayload  `json:"data,omitempty"`
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
	if dialect == dialectTable {
		m.Data = &tablePayload{payload: p, CallID: call}
	} else {
		m.Message = &samplePayload{payload: p, CallID: call}
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
)

// decode reads the id of the raised request out of a response message, whichever dialect
// it is in. The id is kept and shown: what could not be one, or repeats a value of the
// subject, is none.
func decode(body []byte, s vendors.Subject) (id string, err error) {
	var m struct {
		Channel, Topic, Subtopic vendors.Loose
		Message, Data            json.RawMessage
	}
	if err := read(body, &m); err != nil {
		return "", err
	}
	if !strings.EqualFold(string(m.Channel), busChannel) || !strings.EqualFold(string(m.Topic), busTopic) ||
		!strings.EqualFold(string(m.Subtopic), answerSubtopic) {
		return "", errOtherMessage
	}
	found := ""
	for _, raw := range []json.RawMessage{m.Message, m.Data} {
		if len(raw) == 0 || string(raw) == "null" {
			continue
		}
		var p struct{ Response vendors.Loose }
		if err := read(raw, &p); err != nil {
			return "", err
		}
		if found != "" && found != string(p.Response) {
			return "", errNoPayload
		}
		found = string(p.Response)
	}
	if found == "" {
		return "", errNoPayload
	}
	if !vendors.PlainRequestID(found, s) {
		return "", errNoRequestID
	}
	return found, nil
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
