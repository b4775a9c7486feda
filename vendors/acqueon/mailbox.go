package acqueon

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"time"

	"expunge/vendors"
)

const (
	// maxMessage is the largest message of the bus that is read, in bytes.
	maxMessage = 1 << 20

	// maxOthers is how many messages of others may pass on the bus while we wait for our
	// response. An agent's desktop sends a few a second at the most.
	maxOthers = 10_000
)

var errTooManyOthers = errors.New("too many other messages instead of the response")

// response returns the pseudonymization response that a message of the bus is, or that it
// carries: the vendor's general form wraps a message in a packet (docs.acqueon.com, API
// structure). ok is false for everything else, which on a bus is somebody else's and not an
// error.
func response(body []byte) (message []byte, ok bool) {
	var m struct {
		Channel, Topic, Subtopic vendors.Loose
		Message                  json.RawMessage
	}
	for range 2 {
		m.Channel, m.Topic, m.Subtopic, m.Message = "", "", "", nil
		if read(body, &m) != nil {
			return nil, false
		}
		if isAnswer(string(m.Channel), string(m.Topic), string(m.Subtopic)) {
			return body, true
		}
		body = m.Message
	}
	return nil, false
}

func isAnswer(channel, topic, subtopic string) bool {
	return strings.EqualFold(channel, busChannel) && strings.EqualFold(topic, busTopic) && strings.EqualFold(subtopic, answerSubtopic)
}

// mailbox hands a response that arrives on a bus to the request that is under way. A
// response does not say which request it answers. One that arrives late would be taken for
// the answer to the next request; so after a request that ended without its response, the
// next one does not leave until the late response has arrived, or until the time settle is
// over.
type mailbox struct {
	log    *slog.Logger
	settle time.Duration // how long a late response is waited for

	mu     sync.Mutex
	due    chan []byte   // of the request that is under way; nil: none is
	came   chan []byte   // the last due
	others int           // messages of others since the waiting began
	open   time.Time     // until then a late response may come; zero: none is awaited
	late   chan struct{} // holds one: it has come
}

func newMailbox(log *slog.Logger, settle time.Duration) *mailbox {
	return &mailbox{log: log, settle: settle, late: make(chan struct{}, 1)}
}

// expect begins to wait for a response. The channel is closed where too many other
// messages came.
func (m *mailbox) expect() <-chan []byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.due, m.others = make(chan []byte, 1), 0
	m.came = m.due
	return m.due
}

// deliver takes in one message of the bus and reports whether it is a response.
func (m *mailbox) deliver(body []byte) bool {
	message, ok := response(body)
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case ok && m.due != nil:
		m.due <- message
		m.due = nil
	case ok && !m.open.IsZero():
		m.open = time.Time{}
		select {
		case m.late <- struct{}{}:
		default:
		}
		m.log.Warn("the response to a request came too late; its ticket is not known, the task is held")
	case ok:
		// Somebody else raises requests on this bus, or the vendor answered twice. We cannot
		// tell which ticket is whose.
		m.log.Warn("a response came that nobody waited for: compare the newest tickets with the report")
	case m.due != nil:
		if m.others++; m.others > maxOthers {
			close(m.due)
			m.due = nil
		}
	}
	return ok
}

// leave ends the waiting. It returns a response that came at the last moment; without one
// the outcome is open.
func (m *mailbox) leave() (answer []byte, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.due = nil
	select {
	case answer, ok = <-m.came:
		if ok {
			return answer, true
		}
	default:
	}
	m.open = time.Now().Add(m.settle)
	select {
	case <-m.late:
	default:
	}
	return nil, false
}

// wait returns when no late response is to be expected, when gone is closed, or with the
// end of ctx.
func (m *mailbox) wait(ctx context.Context, gone <-chan struct{}) error {
	m.mu.Lock()
	rest := time.Until(m.open)
	m.mu.Unlock()
	if rest > 0 {
		timer := time.NewTimer(rest)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-m.late:
		case <-gone:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.open = time.Time{}
	return ctx.Err()
}
