package sim

import (
	"encoding/json"
	"net/http"
)

// cannedAnswer is an answer that is not the vendor's to the request, before any effect: that of a
// gateway in front of it, of an address that is not the API's, of a vendor that is busy.
type cannedAnswer struct {
	kind   string // the one vendor that has it; "": any
	status int
	json   string
	html   string
	busy   bool // the vendor's own error object, which says that it is busy
}

const (
	gatewayPage = "<html><head><title>404 Not Found</title></head><body><center><h1>404 Not Found</h1></center><hr><center>nginx</center></body></html>\n"
	filterPage  = "<!doctype html><title>Request blocked</title><p>The requested URL was rejected. Please consult with your administrator.\n"
	busyPage    = "<!doctype html><title>Maintenance</title><p>We will be back soon.\n"
	busyText    = "Service temporarily unavailable"
)

// canned are the answers by the names of their faults. The codes of CustomerGauge are from
// its error table; the v6 forms from pages beside the one that expunge calls (VENDORS.md).
var canned = map[FaultKind]cannedAnswer{
	"404_empty":       {status: http.StatusNotFound},
	"404_message":     {status: http.StatusNotFound, json: `{"message":"Not Found"}`},
	"404_route":       {status: http.StatusNotFound, json: `{"message":"no Route matched with those values"}`},
	"404_html":        {status: http.StatusNotFound, html: gatewayPage},
	"404_code":        {kind: CustomerGauge, status: http.StatusNotFound, json: `{"Error":{"Message":"Module does not exist","Code":300002}}`},
	"405_code":        {kind: CustomerGauge, status: http.StatusMethodNotAllowed, json: `{"Error":{"Message":"Method does not exist","Code":300003}}`},
	"401_v6":          {kind: CustomerGauge, status: http.StatusUnauthorized, json: `{"message":"Unauthenticated."}`},
	"404_v6":          {kind: CustomerGauge, status: http.StatusNotFound, json: `{"message":"No query results for model [App\\Models\\Contact]."}`},
	"422_v6":          {kind: CustomerGauge, status: http.StatusUnprocessableEntity, json: `{"message":"The given data was invalid.","errors":{"email":["The email field is invalid."]}}`},
	"403_html":        {status: http.StatusForbidden, html: filterPage},
	"maintenance":     {status: http.StatusOK, html: busyPage},
	"unavailable":     {status: http.StatusOK, busy: true},
	"unavailable_400": {status: http.StatusBadRequest, busy: true},
}

func (f cannedAnswer) reply(c *call) reply {
	switch {
	case f.json != "":
		return reply{status: f.status, header: map[string]string{"Content-Type": "application/json"}, body: []byte(f.json)}
	case f.html != "":
		return reply{status: f.status, header: map[string]string{"Content-Type": "text/html; charset=utf-8"}, body: []byte(f.html)}
	case f.busy && c.Kind == CustomerGauge:
		return cgError(f.status, busyText)
	case f.busy && c.Kind == Voyado:
		rep := voyError(http.StatusServiceUnavailable, busyText)
		rep.status = f.status
		return rep
	case f.busy:
		return jsonReply(f.status, map[string]string{"error": busyText})
	}
	return reply{status: f.status}
}

// empty is the status of a fault that takes away what stands in the answer to a call that
// had its effect.
func (k FaultKind) empty() (status int, ok bool) {
	switch k {
	case "empty_200":
		return http.StatusOK, true
	case "empty_202":
		return http.StatusAccepted, true
	case "empty_204":
		return http.StatusNoContent, true
	}
	return 0, false
}

// busError is what a bus says that cannot do what was asked (VENDORS.md, Acqueon).
func busError() []byte {
	b, err := json.Marshal(map[string]any{
		"channel": "LCM", "topic": "WebService", "subtopic": "SetPseudonymizationResponse",
		"message": map[string]any{"errorType": "Error", "errorMessage": "The agent is not logged in", "msg": "The agent is not logged in"},
	})
	if err != nil {
		panic(err) // strings only: a mistake in this package
	}
	return b
}
