package sim

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"time"
)

// FaultKind names what goes wrong with a request; the package comment lists them all.
type FaultKind string

// The faults.
const (
	NoFault     FaultKind = ""
	RateLimited FaultKind = "429"
	ServerError FaultKind = "5xx"
	Down        FaultKind = "down"
	Cut         FaultKind = "cut"
	Lost        FaultKind = "lost"
	Garbage     FaultKind = "garbage"
	Truncated   FaultKind = "truncated"
	TokenExpiry FaultKind = "token_expiry"
	JobError    FaultKind = "job_error"
	JobLost     FaultKind = "job_lost"
	JobPaused   FaultKind = "job_paused"
	JobStuck    FaultKind = "job_stuck"
	WrongJID    FaultKind = "wrong_jid"
	Echo        FaultKind = "echo"

	Nobody       FaultKind = "nobody"
	JobForgotten FaultKind = "job_forgotten"
	RepeatedID   FaultKind = "repeated_id"
	Foreign      FaultKind = "foreign"
	ForeignLate  FaultKind = "foreign_late"
	OnlyData     FaultKind = "only_data"
	OnlyMessage  FaultKind = "only_message"
	NoSuccess    FaultKind = "success_false"
	BusError     FaultKind = "bus_error"
)

// The faults that come beside others and have a duration instead of a probability.
const (
	latency  FaultKind = "latency"
	slowness FaultKind = "slow"
	skew     FaultKind = "clock"
)

var faultKinds = []FaultKind{
	latency, slowness, skew, RateLimited, ServerError, Down, Cut, Lost, Garbage, Truncated,
	TokenExpiry, JobError, JobLost, JobPaused, JobStuck, JobForgotten, WrongJID, Echo,
	Nobody, RepeatedID, Foreign, ForeignLate, OnlyData, OnlyMessage, NoSuccess, BusError,
}

// known reports whether there is such a fault.
func (k FaultKind) known() bool {
	_, fixed := canned[k]
	_, empty := k.empty()
	_, status := k.status()
	return fixed || empty || status || slices.Contains(faultKinds, k)
}

// status is the HTTP status that a fault named by one answers with.
func (k FaultKind) status() (status int, ok bool) {
	status, err := strconv.Atoi(string(k))
	return status, err == nil && status >= 400 && status <= 599 && k != RateLimited
}

// Fault is what happens to one request. The zero value is none.
type Fault struct {
	Kind       FaultKind
	Latency    time.Duration // waited before anything else, whatever the kind
	Slow       time.Duration // an anonymize call takes this long to act, whatever the kind
	Clock      time.Duration // the answer's Date is off by this much, whatever the kind
	RetryAfter string        // with RateLimited, ServerError and Down: the header, "" for the default
	Status     int           // with ServerError: 0 for 500, 502, 503 in turn
}

// RequestInfo is what a script knows of a request before it is answered.
type RequestInfo struct {
	Seq        int64
	Kind       string
	Account    string // "" when the credentials are wrong
	Op         string
	Changes    bool
	Verify     bool   // a preview, about somebody for whom an anonymize call has arrived
	Identifier string // the email, telephone, key, account number or job id that it names
}

// rule makes a fault happen to some requests.
type rule struct {
	text   string // as it was written
	kind   string // a vendor kind, or "all"
	op     string // or "" for all
	who    string // the one identifier that it is for, or "" for all
	fault  FaultKind
	prob   float64
	budget int // with times: how many are left
	times  bool
	delay  time.Duration
}

// parseFaults reads one TARGET:NAME=VALUE,... text.
func parseFaults(text string) ([]rule, error) {
	target, list, ok := strings.Cut(text, ":")
	if !ok {
		return nil, fmt.Errorf("fault %q: want TARGET:NAME=VALUE, such as all:lost=0.03", text)
	}
	place, who, one := strings.Cut(target, "[")
	if who, ok = strings.CutSuffix(who, "]"); one && (!ok || who == "") {
		return nil, fmt.Errorf("fault %q: an identifier stands in brackets, such as voyado.create-removal[KEY]:403", text)
	}
	kind, op, _ := strings.Cut(place, ".")
	if !slices.Contains([]string{"all", CustomerGauge, Voyado, Acqueon, Rest}, kind) {
		return nil, fmt.Errorf("fault %q: the target must be customergauge, voyado, acqueon, rest or all", text)
	}
	if op != "" && !slices.Contains(ops, op) {
		return nil, fmt.Errorf("fault %q: no such operation, know %s", text, strings.Join(ops, ", "))
	}
	var rules []rule
	for part := range strings.SplitSeq(list, ",") {
		name, value, given := strings.Cut(strings.TrimSpace(part), "=")
		r := rule{text: target + ":" + strings.TrimSpace(part), kind: kind, op: op, who: who, fault: FaultKind(name), prob: 1}
		if !r.fault.known() {
			return nil, fmt.Errorf("fault %q: no fault is named %q", text, name)
		}
		count, isCount := strings.CutSuffix(value, "x")
		var err error
		switch {
		case r.fault == latency || r.fault == slowness || r.fault == skew:
			r.delay, err = time.ParseDuration(value)
		case !given:
		case isCount:
			r.times = true
			r.budget, err = strconv.Atoi(count)
		default:
			r.prob, err = strconv.ParseFloat(value, 64)
		}
		if err != nil || r.delay < 0 && r.fault != skew || r.budget < 0 || !(r.prob >= 0 && r.prob <= 1) {
			return nil, fmt.Errorf("fault %q: %q is no probability, count (2x) or duration", text, value)
		}
		rules = append(rules, r)
	}
	return rules, nil
}

func parseAllFaults(texts []string) ([]rule, error) {
	var all []rule
	for _, t := range texts {
		rules, err := parseFaults(t)
		if err != nil {
			return nil, err
		}
		all = append(all, rules...)
	}
	return all, nil
}

// possible says whether a fault makes sense for an operation.
func (k FaultKind) possible(kind, op string) bool {
	switch k {
	case TokenExpiry:
		return kind == CustomerGauge && op != opToken
	case JobError, JobLost, JobPaused, JobStuck:
		return op == opRemoval || op == opExport || op == opErase
	case WrongJID:
		return op == opStatus
	case Echo:
		return op != opToken && op != opConnect
	case Nobody, slowness:
		return kind == CustomerGauge && op != opToken
	case JobForgotten:
		return op == opRemoval
	case RepeatedID:
		return op == opRemoval || op == opExport || op == opRequest
	case Foreign, ForeignLate, OnlyData, OnlyMessage, NoSuccess, BusError:
		return op == opRequest
	}
	if _, ok := k.empty(); ok {
		return op == opAnonymize || op == opRemoval || op == opExport || op == opRequest || op == opErase
	}
	return canned[k].kind == "" || canned[k].kind == kind && op != opToken
}

// decide rolls the rules for one request: latencies add up, of the others the first that
// hits wins.
func decide(rules []rule, rng *rand.Rand, c *call) Fault {
	var f Fault
	for i := range rules {
		r := &rules[i]
		if r.kind != "all" && r.kind != c.Kind || !r.fault.possible(c.Kind, c.Op) {
			continue
		}
		if r.op != "" && r.op != c.Op && (r.op != opVerify || !c.verify) || r.who != "" && !slices.Contains(c.said(), r.who) {
			continue
		}
		switch r.fault {
		case latency:
			f.Latency += r.delay
			continue
		case slowness:
			f.Slow += r.delay
			continue
		case skew:
			f.Clock += r.delay
			continue
		}
		if f.Kind != NoFault {
			continue
		}
		if r.times {
			if r.budget == 0 {
				continue
			}
			r.budget--
		} else if rng.Float64() >= r.prob {
			continue
		}
		f.Kind = r.fault
	}
	return f
}
