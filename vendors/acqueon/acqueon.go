// Package acqueon raises pseudonymization requests in Acqueon LCM, a contact centre.
//
// Facts about the messages come from VENDORS.md and
// vendor-docs/acqueon-pseudonymization-request.txt. A request is a message on the bus of
// the agents' desktop. Its answer is the id of a ticket on which an admin acts later, so
// an id means "raised", not "done", and only a person can say that it is done. The vendor
// documents no address: it is configured, or the message goes through an agent's browser,
// where the bus is (transport: bridge).
//
// Invariants: a submission sends one message; at most one is under way at a time, because
// a response does not say whose it is; a response that is not surely ours is an open
// outcome, which by default a person must resolve: a second message is a second ticket.
//
// The package asks nobody what the vendor holds, and confirms nothing.
package acqueon

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"sync/atomic"
	"time"

	"expunge/vendors"
	"expunge/vendors/transport"
)

// Vendor is one contact centre.
type Vendor struct {
	name   string
	config Config
	place  string
	wire   wire
	box    *mailbox // of the wire's bus; nil: it has none
	agents agents
	turn   chan struct{} // holds a token while a message is under way
}

var (
	_ vendors.Vendor  = (*Vendor)(nil)
	_ vendors.Checker = (*Vendor)(nil)
	_ vendors.Readier = (*Vendor)(nil)
	_ io.Closer       = (*Vendor)(nil)

	_ vendors.Overhearer = (*Vendor)(nil)
)

// wire carries one message to the vendor and returns the message that answers it. Errors
// are those of vendors.Transport and of transport.Fail. One exchange at a time is made.
// shown is the masked identifier that the message is about, for people who look on.
type wire interface {
	exchange(ctx context.Context, op string, message []byte, shown string) ([]byte, error)
}

// agents are who raises requests where the row names nobody: all of them in turn.
type agents struct {
	ids  []string
	next atomic.Uint64
}

func (a *agents) any() bool { return len(a.ids) > 0 }

func (a *agents) pick() string {
	if len(a.ids) == 0 {
		return ""
	}
	return a.ids[(a.next.Add(1)-1)%uint64(len(a.ids))]
}

// Traits implements vendors.Vendor.
func (v *Vendor) Traits() vendors.Traits {
	t := vendors.Traits{
		Kind: kindName, Place: v.place, Act: vendors.Pseudonymize,
		Completion: vendors.ByPerson, Uncertain: vendors.HoldForPerson,
		Fields: vendors.SetOf(vendors.Email, vendors.OtherEmail, vendors.Telephone, vendors.OtherTelephone,
			vendors.AccountNumber, vendors.CallID, vendors.AgentID, vendors.CustomerID, vendors.CustomerName, vendors.Comments),
		Besides: map[vendors.Field]vendors.FieldSet{ // what the request says
			vendors.AccountNumber: vendors.SetOf(vendors.Email, vendors.OtherEmail, vendors.Telephone, vendors.OtherTelephone,
				vendors.CallID, vendors.AgentID, vendors.CustomerID),
		},
		Anonymizes: []string{
			"the customer's personal information in the contact centre, masked in part by an admin",
		},
		Keeps: []string{
			"the part that masking leaves: 99999 99999 becomes 9xx9x x9xx9, johndoe@zyxwv.com becomes jxxnxxe@xxxwv.com",
			"up to half of a telephone's digits: the vendor's console shows another mask on its own pages (12XX33XX44)",
		},
		LookUp:   "the vendor's console, under Privacy Compliance, Export or Pseudonymize, is searched by telephone, email or Customer ID and shows the Request ID",
		HowKnown: "A person confirmed that the vendor's admin had finished the request. The vendor cannot be asked.",
	}
	if v.config.ResubmitUncertain {
		t.Uncertain = vendors.SubmitAgain
	}
	return t
}

// Identifiers implements vendors.Vendor: the account number, beside which the vendor wants
// a telephone or an email.
func (v *Vendor) Identifiers(s vendors.Subject) ([]vendors.Ref, vendors.Reason) {
	account := vendors.Ref{Field: vendors.AccountNumber}
	if _, number := vendors.Normal(vendors.AccountNumber, s.At(account)); number == "" {
		return nil, vendors.NoIdentifier
	}
	if !contactable(s) {
		return nil, vendors.MissingContact
	}
	return []vendors.Ref{account}, ""
}

func contactable(s vendors.Subject) bool {
	for _, f := range []vendors.Field{vendors.Telephone, vendors.OtherTelephone, vendors.Email, vendors.OtherEmail} {
		if s.Get(f) != "" {
			return true
		}
	}
	return false
}

// maxAccount bounds an account number, in bytes. The vendor's example has 21.
const maxAccount = 256

// Preview implements vendors.Vendor. It calls nobody and looks at what would be sent.
func (v *Vendor) Preview(_ context.Context, t *vendors.Target) (vendors.Preview, error) {
	number := t.Identifier()
	switch {
	case number == "" || !contactable(t.Subject):
		return vendors.Preview{}, vendors.NotSent(v.name, "preview", vendors.ErrNoValue)
	case len(number) > maxAccount || !clean(number):
		return vendors.Preview{Doubt: vendors.MalformedKey}, nil
	case t.Subject.Get(vendors.AgentID) == "" && !v.agents.any():
		return vendors.Preview{Doubt: vendors.NoAgent}, nil
	}
	return vendors.Preview{}, nil
}

// agent is who raises the request: the row's agent, or else the next of the configured ones.
func (v *Vendor) agent(s vendors.Subject) string {
	if id := s.Get(vendors.AgentID); id != "" {
		return id
	}
	return v.agents.pick()
}

// Submit implements vendors.Vendor: it sends one message and reads the id of the request
// that it raised.
func (v *Vendor) Submit(ctx context.Context, t *vendors.Target) (vendors.Receipt, error) {
	number := t.Identifier()
	if number == "" || !contactable(t.Subject) {
		return vendors.Receipt{}, vendors.NotSent(v.name, "submit", vendors.ErrNoValue)
	}
	agent := v.agent(t.Subject)
	if agent == "" {
		return vendors.Receipt{}, vendors.NotSent(v.name, "submit", vendors.ErrNoValue)
	}
	message, err := encode(v.config.Dialect, v.config.Source, agent, number, t.Subject)
	if err != nil {
		return vendors.Receipt{}, vendors.NotSent(v.name, "submit", errMessage)
	}
	select {
	case v.turn <- struct{}{}:
		defer func() { <-v.turn }()
	case <-ctx.Done():
		return vendors.Receipt{}, vendors.NotSent(v.name, "submit", vendors.ErrStopped)
	}
	answer, err := v.wire.exchange(ctx, "submit", message, t.Subject.MaskedAt(t.Ref))
	if err != nil {
		return vendors.Receipt{}, err
	}
	id, said, err := decode(answer, t.Subject)
	if err != nil {
		return vendors.Receipt{}, &vendors.Error{Vendor: v.name, Op: "submit", Kind: vendors.ErrUnreadable, Err: err, Message: said}
	}
	return vendors.Receipt{Reference: id}, nil
}

// errMessage stands for an error of the encoder, which could quote a value.
var errMessage = errors.New("the message cannot be built")

// Check implements vendors.Checker. Every message raises a ticket, so none is sent: the
// warnings say what a person must look at instead.
func (v *Vendor) Check(context.Context) ([]string, error) {
	warnings := []string{
		"the connection cannot be tested without raising a request: make sure that the address takes messages and that the agent is logged in",
	}
	if v.config.Transport == transportBridge {
		warnings[0] = "the connection cannot be tested without raising a request: a run shows the address of the page that an agent opens in " + v.config.WorkspaceOrigin
	}
	if !v.agents.any() {
		warnings = append(warnings, "neither agent_id nor agent_ids is set: rows that name no agent will be held")
	}
	return warnings, nil
}

// Ready implements vendors.Readier: a bridge waits for its page, and a bus until it is quiet.
func (v *Vendor) Ready(ctx context.Context) error {
	if r, ok := v.wire.(vendors.Readier); ok {
		if err := r.Ready(ctx); err != nil {
			return err
		}
	}
	if v.box != nil && v.box.wait(ctx, nil) != nil {
		return vendors.NotSent(v.name, "submit", vendors.ErrStopped)
	}
	return nil
}

// Unsolicited implements vendors.Overhearer. Where messages do not go over a bus, each has
// its own answer.
func (v *Vendor) Unsolicited(ctx context.Context) (n uint64, since time.Time) {
	if v.box == nil {
		return 0, time.Time{}
	}
	return v.box.unsolicited(ctx)
}

// Close ends what the wire holds open.
func (v *Vendor) Close() error {
	if c, ok := v.wire.(io.Closer); ok {
		return c.Close()
	}
	return nil
}

// httpWire posts a message; the response message is the answer's body.
type httpWire struct {
	name      string
	place     *url.URL
	header    http.Header
	transport vendors.Transport
}

func (w *httpWire) exchange(ctx context.Context, op string, message []byte, _ string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, w.place.String(), bytes.NewReader(message))
	if err != nil {
		return nil, &vendors.Error{Vendor: w.name, Op: op, Kind: vendors.ErrNotSent, Err: errMessage}
	}
	req.Header = w.header.Clone()
	a, err := w.transport.Do(ctx, op, req)
	if err != nil {
		return nil, err
	}
	if a.Status < 200 || a.Status > 299 {
		return nil, transport.Fail(w.name, op, a)
	}
	return a.Body, nil
}
