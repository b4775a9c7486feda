package sim

import (
	"math"
	"time"
)

// The operations that a ledger entry can be about.
const (
	opToken     = "token"
	opPreview   = "preview"
	opAnonymize = "anonymize"
	opErase     = "erase"
	opRemoval   = "create-removal"
	opExport    = "create-export"
	opStatus    = "job-status"
	opResult    = "export-result"
	opRequest   = "request"
	opConnect   = "connect" // a websocket was opened; no message yet
	opUnknown   = "unknown" // a path or method that no vendor has

	// A fault may also be for opVerify: those previews that are about somebody for whom an
	// anonymize call has arrived before, whatever came of it.
	opVerify = "verify"
)

var ops = []string{opToken, opPreview, opVerify, opAnonymize, opErase, opRemoval, opExport, opStatus, opResult, opRequest, opConnect}

// Entry is one request in the ledger.
type Entry struct {
	Seq     int64     `json:"seq"` // from 1, in order of arrival
	At      time.Time `json:"at"`  // of arrival
	Kind    string    `json:"kind"`
	Account string    `json:"account"` // "" when the credentials were wrong
	Op      string    `json:"op"`
	Method  string    `json:"method"`
	Changes bool      `json:"changes"` // a call that can change data or make a job

	Email         string `json:"email,omitempty"`
	Telephone     string `json:"telephone,omitempty"`
	CustomerKey   string `json:"customer_key,omitempty"`
	AccountNumber string `json:"account_number,omitempty"`
	JID           string `json:"jid,omitempty"` // the job that was asked about

	Status    int       `json:"status"` // of the answer; 0: none was given (yet)
	Fault     FaultKind `json:"fault,omitempty"`
	Effect    bool      `json:"effect"`              // data really changed, or a job or ticket was made
	Reference string    `json:"reference,omitempty"` // of that job or ticket
	Records   []Record  `json:"records,omitempty"`   // what a call that erases took, as it was before

	// Of a preview that was answered, whole, with what the vendor holds:
	Looked bool `json:"looked,omitempty"`
	Found  int  `json:"found,omitempty"` // records
}

// Identifier returns what the request names the person or job by.
func (e *Entry) Identifier() string {
	for _, v := range []string{e.Email, e.Telephone, e.CustomerKey, e.AccountNumber, e.JID} {
		if v != "" {
			return v
		}
	}
	return ""
}

// arrival is what is kept of a request when there is no ledger.
type arrival struct {
	at      time.Duration // since the simulator started
	account string
}

// Pace is how requests of one kind were spread over time.
type Pace struct {
	Requests    int     `json:"requests"`
	WorstExcess float64 `json:"worst_excess"` // over all windows of t seconds: requests - (burst + rate x t); at most 0 is within the limit
	Achieved    float64 `json:"achieved_per_s"`
}

// pace finds the worst window. A window from arrival i to arrival j holds j-i+1 requests, so
// its excess splits into a term of j and a term of i, and one pass suffices.
func pace(at []time.Duration, rate, burst float64) Pace {
	p := Pace{Requests: len(at)}
	if len(at) == 0 {
		return p
	}
	worst, lowest := math.Inf(-1), math.Inf(1)
	for i, t := range at {
		v := float64(i) - rate*t.Seconds()
		lowest = min(lowest, v)
		worst = max(worst, v+1-lowest)
	}
	p.WorstExcess = worst - burst
	if span := (at[len(at)-1] - at[0]).Seconds(); span > 0 {
		p.Achieved = float64(len(at)-1) / span
	}
	return p
}
