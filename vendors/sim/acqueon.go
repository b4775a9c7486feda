package sim

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/coder/websocket"
)

// firstTicket is the first request id, that of the vendor's sample.
const firstTicket = 10089

// acqVendor is Acqueon: each request makes a ticket, which a person works on.
// (VENDORS.md; vendor-docs/acqueon-pseudonymization-request.txt)
type acqVendor struct {
	s        *Sim
	accounts []*acqAccount
}

type acqAccount struct {
	name    string
	tickets []*Ticket
}

// Ticket is one request that an agent raised.
type Ticket struct {
	Reference     string     `json:"reference"`
	AccountNumber string     `json:"account_number"`
	CustomerName  string     `json:"customer_name"`
	Email         string     `json:"email"`
	Telephone     string     `json:"telephone"`
	AgentID       string     `json:"agent_id"`
	CreatedAt     time.Time  `json:"created_at"`
	CompletedAt   *time.Time `json:"completed_at,omitempty"`
	DeclinedAt    *time.Time `json:"declined_at,omitempty"`
	Foreign       bool       `json:"foreign,omitempty"` // raised by somebody else
}

func newAcqueon(s *Sim, seeds []AcqueonAccount) *acqVendor {
	v := &acqVendor{s: s}
	for _, seed := range seeds {
		v.accounts = append(v.accounts, &acqAccount{name: seed.Name})
	}
	return v
}

func (v *acqVendor) account(r *http.Request) *acqAccount {
	want := r.Header.Get("X-Account")
	if want == "" {
		want = r.URL.Query().Get("account")
	}
	if want == "" {
		return v.accounts[0]
	}
	for _, a := range v.accounts {
		if a.name == want {
			return a
		}
	}
	return nil
}

// message is the bus's packet. encoding/json matches names without case, which serves the
// documents' two spellings of subtopic and of the call id.
type message struct {
	Channel  string          `json:"channel"`
	Topic    string          `json:"topic"`
	Subtopic string          `json:"subtopic"`
	Message  json.RawMessage `json:"message"`
	Data     json.RawMessage `json:"data"`
}

type pseudonymization struct {
	CustomerName, PhoneNumber, OtherPhoneNumber, EmailID, OtherEmailID *string
	AgentComments, AccountNumber, CallID, AgentID, RequestType         *string
	IsPseudonymize                                                     *bool
}

// read understands a request message in either dialect, or where only is not "" in that one
// alone. The answer is given in the same one.
func read(body []byte, only string) (p pseudonymization, payload string, problem string) {
	var m message
	if err := json.Unmarshal(body, &m); err != nil {
		return p, "", "not a JSON message"
	}
	payload = "message"
	raw := m.Message
	if only == "data" || only == "" && raw == nil {
		payload, raw = "data", m.Data
	}
	switch {
	case !strings.EqualFold(m.Channel, "LCM"):
		return p, payload, "channel must be LCM"
	case !strings.EqualFold(m.Topic, "WebService"):
		return p, payload, "topic must be WebService"
	case m.Subtopic != "CreatePseudonymizationRequest":
		return p, payload, "subtopic must be CreatePseudonymizationRequest"
	case raw == nil:
		return p, payload, "no payload under " + cmp.Or(only, "message or data")
	}
	if err := json.Unmarshal(raw, &p); err != nil {
		return p, payload, "the payload has a field of the wrong type"
	}
	for _, f := range []struct {
		name  string
		value *string
	}{
		{"CustomerName", p.CustomerName}, {"PhoneNumber", p.PhoneNumber}, {"OtherPhoneNumber", p.OtherPhoneNumber},
		{"EmailID", p.EmailID}, {"OtherEmailID", p.OtherEmailID}, {"AgentComments", p.AgentComments},
		{"AccountNumber", p.AccountNumber}, {"CallId", p.CallID}, {"AgentID", p.AgentID}, {"RequestType", p.RequestType},
	} {
		if f.value == nil {
			return p, payload, f.name + " is missing"
		}
	}
	switch {
	case p.IsPseudonymize == nil:
		return p, payload, "IsPseudonymize is missing"
	case !*p.IsPseudonymize:
		return p, payload, "IsPseudonymize is false"
	case *p.RequestType != "Pseudonymization":
		return p, payload, "RequestType must be Pseudonymization"
	case *p.AccountNumber == "":
		return p, payload, "AccountNumber is empty"
	}
	return p, payload, ""
}

// messageCall is one request message, over either transport.
func (v *acqVendor) messageCall(r *http.Request, body []byte) *call {
	c := &call{Entry: Entry{Kind: Acqueon, Op: opRequest, Changes: true}}
	p, payload, problem := read(body, "")
	if p.AccountNumber != nil {
		c.AccountNumber = *p.AccountNumber
	}
	for _, f := range []*string{p.CustomerName, p.PhoneNumber, p.OtherPhoneNumber, p.EmailID, p.OtherEmailID, p.AgentComments, p.CallID} {
		if f != nil {
			c.more = append(c.more, *f)
		}
	}
	account := v.account(r)
	if account != nil {
		c.Account = account.name
	}
	c.do = func() reply {
		switch c.fault {
		case OnlyData:
			p, payload, problem = read(body, "data")
		case OnlyMessage:
			p, payload, problem = read(body, "message")
		}
		switch {
		case account == nil:
			return jsonReply(http.StatusForbidden, map[string]string{"error": "no such account"})
		case c.fault == BusError:
			return reply{status: http.StatusOK, header: map[string]string{"Content-Type": "application/json"}, body: busError()}
		case problem != "":
			return jsonReply(http.StatusBadRequest, map[string]string{"error": problem})
		}
		if c.fault == NoSuccess {
			return v.answer(payload, map[string]any{"response": itoa(firstTicket + len(account.tickets)), "success": false})
		}
		var foreign reply
		if c.fault == Foreign || c.fault == ForeignLate {
			t := &Ticket{Reference: itoa(firstTicket + len(account.tickets)), CreatedAt: v.s.now().UTC(), Foreign: true}
			account.tickets = append(account.tickets, t)
			foreign = v.answer(payload, map[string]any{"response": t.Reference})
		}
		shown := ""
		if c.fault == RepeatedID && len(account.tickets) > 0 {
			shown = account.tickets[0].Reference
		}
		t := &Ticket{
			Reference:     itoa(firstTicket + len(account.tickets)),
			AccountNumber: *p.AccountNumber, CustomerName: *p.CustomerName,
			Email: *p.EmailID, Telephone: *p.PhoneNumber, AgentID: *p.AgentID,
			CreatedAt: v.s.now().UTC(),
		}
		account.tickets = append(account.tickets, t)
		rep := v.answer(payload, map[string]any{"response": cmp.Or(shown, t.Reference)})
		rep.effect, rep.reference = true, t.Reference
		if c.fault == Foreign {
			rep.before = foreign.body
		} else {
			rep.after = foreign.body
		}
		return rep
	}
	return c
}

func (v *acqVendor) answer(payload string, content map[string]any) reply {
	return jsonReply(http.StatusOK, map[string]any{
		"channel": "LCM", "topic": "WebService", "subtopic": "SetPseudonymizationResponse", payload: content,
	})
}

// serveWS is the bus over a websocket: one message in, one message out, in order.
func (s *Sim) serveWS(w http.ResponseWriter, r *http.Request) {
	rep := s.serve(r, func() *call {
		c := &call{Entry: Entry{Kind: Acqueon, Op: opConnect}}
		account := s.acq.account(r)
		if account != nil {
			c.Account = account.name
		}
		c.do = func() reply {
			if account == nil {
				return jsonReply(http.StatusForbidden, map[string]string{"error": "no such account"})
			}
			return reply{status: http.StatusSwitchingProtocols}
		}
		return c
	})
	switch {
	case rep.abort:
		panic(http.ErrAbortHandler)
	case rep.status != http.StatusSwitchingProtocols:
		for k, v := range rep.header {
			w.Header().Set(k, v)
		}
		w.WriteHeader(rep.status)
		_, _ = w.Write(rep.body) // a client that has left misses nothing
		return
	}
	if date := rep.header["Date"]; date != "" {
		w.Header().Set("Date", date)
	}
	conn, err := websocket.Accept(w, r, nil)
	if err != nil {
		return // Accept has answered
	}
	defer conn.CloseNow()
	conn.SetReadLimit(maxBody)
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	go func() {
		select {
		case <-s.closed:
			cancel()
		case <-ctx.Done():
		}
	}()
	for {
		kind, body, err := conn.Read(ctx)
		if err != nil {
			return
		}
		rep := s.serve(r, func() *call { return s.acq.messageCall(r, body) })
		switch {
		case rep.abort:
			return
		case rep.status == http.StatusBadRequest:
			// A bus has no error answers: say why and hang up.
			_ = conn.Close(websocket.StatusInvalidFramePayloadData, string(bytes.TrimSpace(rep.body)))
			return
		case rep.status != http.StatusOK:
			_ = conn.Close(websocket.StatusTryAgainLater, fmt.Sprintf("status %d", rep.status))
			return
		}
		for _, message := range [][]byte{rep.before, rep.body, rep.after} {
			if message == nil {
				continue
			}
			if err := conn.Write(ctx, kind, message); err != nil {
				return
			}
		}
	}
}

// Complete makes the simulated admin finish open tickets: all of them, or those of one
// account, or one by its reference. It returns how many.
func (s *Sim) Complete(account, reference string) int {
	return s.settle(account, reference, func(t *Ticket, now *time.Time) { t.CompletedAt = now })
}

// Decline makes the admin decline open tickets, chosen as with Complete.
func (s *Sim) Decline(account, reference string) int {
	return s.settle(account, reference, func(t *Ticket, now *time.Time) { t.DeclinedAt = now })
}

func (s *Sim) settle(account, reference string, act func(*Ticket, *time.Time)) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now().UTC()
	n := 0
	for _, a := range s.acq.accounts {
		if account != "" && a.name != account {
			continue
		}
		for _, t := range a.tickets {
			if t.CompletedAt == nil && t.DeclinedAt == nil && !t.Foreign && (reference == "" || t.Reference == reference) {
				act(t, &now)
				n++
			}
		}
	}
	return n
}
