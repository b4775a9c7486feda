package acqueon

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"

	"expunge/vendors"
	"expunge/vendors/sim"
	"expunge/vendors/transport"
	"expunge/vendors/vendortest"
)

// gateway is a WebSocket in front of an HTTP server at base: a handshake asks GET
// /connect there, a message is posted. What is not answered 200 has no answer on a bus:
// the connection ends.
func gateway(t testing.TB, base string) string {
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	t.Cleanup(client.CloseIdleConnections)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		resp, err := client.Get(base + "/connect")
		if err != nil {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			w.Header().Set("Retry-After", resp.Header.Get("Retry-After"))
			w.WriteHeader(resp.StatusCode)
			io.Copy(w, resp.Body)
			return
		}
		conn, err := websocket.Accept(w, r, nil)
		if err != nil {
			return
		}
		defer conn.CloseNow()
		for {
			_, message, err := conn.Read(r.Context())
			if err != nil {
				return
			}
			answer, ok := post(client, base, message)
			if !ok || conn.Write(r.Context(), websocket.MessageText, answer) != nil {
				return
			}
		}
	}))
	t.Cleanup(s.Close)
	return "ws" + strings.TrimPrefix(s.URL, "http")
}

func post(client *http.Client, base string, message []byte) (answer []byte, ok bool) {
	resp, err := client.Post(base+"/lcm/requests", "application/json", bytes.NewReader(message))
	if err != nil {
		return nil, false
	}
	defer resp.Body.Close()
	answer, err = io.ReadAll(resp.Body)
	return answer, err == nil && resp.StatusCode == http.StatusOK
}

// TestWebSocketConformance is the suite of every adapter, over a WebSocket.
func TestWebSocketConformance(t *testing.T) {
	for _, dialect := range dialects {
		t.Run(dialect, func(t *testing.T) {
			t.Parallel()
			vendortest.Run(t, vendortest.Case{
				Open: func(t testing.TB, base string, tr vendors.Transport) vendors.Vendor {
					c := testConfig(gateway(t, base))
					c.Transport, c.Dialect = transportWebSocket, dialect
					c.Timeout = vendors.Duration(tr.(*vendortest.Transport).Timeout())
					v, err := c.Open(vendors.Options{Name: "vendor-under-test", Transport: tr})
					if err != nil {
						t.Fatal(err)
					}
					box := v.(*Vendor).box
					box.settle, box.quiet = 0, 0 // TestLateResponse and TestQuiet are about that
					return v
				},
				Serve:   answered(t, dialect),
				Target:  *target(full()),
				IsToken: func(r *http.Request) bool { return r.URL.Path == "/connect" },
				Secrets: []string{secret},
				Unclear: notResponses,
			})
		})
	}
}

// bus is a WebSocket server that hands each connection to a script.
func bus(t *testing.T, script func(n int64, conn *websocket.Conn, r *http.Request)) string {
	var n atomic.Int64
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, err := websocket.Accept(w, r, &websocket.AcceptOptions{InsecureSkipVerify: true})
		if err != nil {
			return
		}
		defer conn.CloseNow()
		script(n.Add(1), conn, r)
	}))
	t.Cleanup(s.Close)
	return "ws" + strings.TrimPrefix(s.URL, "http")
}

func openSocket(t *testing.T, place string, timeout, settle time.Duration, tr vendors.Transport) *Vendor {
	t.Helper()
	c := testConfig(place)
	c.Transport, c.Timeout = transportWebSocket, vendors.Duration(timeout)
	v := open(t, c, tr)
	v.box.settle = settle
	t.Cleanup(func() { v.Close() })
	return v
}

func say(conn *websocket.Conn, texts ...string) {
	for _, text := range texts {
		if conn.Write(context.Background(), websocket.MessageText, []byte(text)) != nil {
			return
		}
	}
}

func answerWith(id string) string { return message(`"message":{"response":"` + id + `"}`) }

// TestOthersOnTheBus: an agent's bus is full of other messages. One of them taken for the
// response would tie a task to a ticket that is not its own; one that ends the waiting
// would hold the task for nothing.
func TestOthersOnTheBus(t *testing.T) {
	place := bus(t, func(_ int64, conn *websocket.Conn, r *http.Request) {
		for {
			_, request, err := conn.Read(r.Context())
			if err != nil {
				return
			}
			say(conn, `{"channel":"Amazon","topic":"Agent","subtopic":"LoginSuccess","message":{"response":"7"}}`,
				`{"channel":"LCM","topic":"WebService","subtopic":"SetCallResponse","message":{"response":"8"}}`,
				string(request), "ping", `{"channel":7}`, "[]",
				// The packet around a message, as in the bus's general form.
				`{"channel":"LCM","topic":"","subTopic":"","message":`+answerWith("10089")+`,"subscriberID":"66517761"}`)
		}
	})
	tr := vendortest.NewTransport(t, "acqueon", 0)
	v := openSocket(t, place, time.Minute, time.Minute, tr)
	for range 3 {
		if r, err := v.Submit(t.Context(), target(full())); err != nil || r.Reference != "10089" {
			t.Fatalf("%+v, %v", r, err)
		}
	}
	if n := tr.Passed(); n != 4 {
		t.Errorf("%d slots taken, want one for the handshake and three for the messages", n)
	}
}

// busErrors are error messages as the vendor's pages show them: on other channels, at several
// depths, and with a name that has a blank.
var busErrors = []string{
	`{"channel":"Amazon","topic":"Error","subtopic":"ApiError","data":{"errorType":"T","errorMessage":"m","msg":"words"}}`,
	`{"channel":"Cisco","topic":"Error","subtopic":"SetAPIError","data":{"packet":"apierror","data ":{"errorType":"T","errorMessage":"words"}}}`,
	`{"channel":"LCM","topic":"","subTopic":"","message":{"channel":"LCM","topic":"WebService","message":{"ErrorMessage":"words"}}}`,
}

// TestErrorOnTheBus: an error message ends the waiting at once. Whether it is about our
// request is not known, so the outcome is open, and its response may still come.
func TestErrorOnTheBus(t *testing.T) {
	for _, text := range busErrors {
		n := 0
		place := bus(t, func(_ int64, conn *websocket.Conn, r *http.Request) {
			for {
				if _, _, err := conn.Read(r.Context()); err != nil {
					return
				}
				if n++; n == 1 {
					say(conn, text, answerWith("10088"))
				} else {
					say(conn, `{"channel":"Amazon","errorType":"","errorMessage":" ","msg":"all is well"}`, answerWith("10089"))
				}
			}
		})
		tr := vendortest.NewTransport(t, "acqueon", 0)
		v := openSocket(t, place, time.Minute, time.Minute, tr)
		_, err := v.Submit(t.Context(), target(full()))
		var e *vendors.Error
		if !errors.As(err, &e) || !errors.Is(err, vendors.ErrUnreadable) || !errors.Is(err, errComplaint) || vendors.Harmless(err) || e.Message != "words" {
			t.Fatalf("%s: %v", text, err)
		}
		vendortest.NoLeak(t, err, full(), "words")
		if r, err := v.Submit(t.Context(), target(full())); err != nil || r.Reference != "10089" {
			t.Errorf("%s: the next request: %+v, %v", text, r, err)
		}
		if n := tr.Passed(); n != 3 {
			t.Errorf("%d slots taken, want one for the handshake and two for the messages", n)
		}
		if strays, _ := v.Unsolicited(t.Context()); strays != 0 {
			t.Errorf("%d responses that nobody waited for: the late one was awaited", strays)
		}
	}
}

// TestForeignResponse: somebody else's response is taken for ours, and ours comes when nobody
// waits for it. That must be known before the next request leaves, or all that follow have
// the ticket of the one before.
func TestForeignResponse(t *testing.T) {
	sent := 0
	place := bus(t, func(_ int64, conn *websocket.Conn, r *http.Request) {
		for {
			if _, _, err := conn.Read(r.Context()); err != nil {
				return
			}
			switch sent++; sent {
			case 2:
				say(conn, answerWith("666"))
				time.Sleep(50 * time.Millisecond)
				say(conn, answerWith("2"))
			default:
				say(conn, answerWith(string('0'+rune(sent))))
			}
		}
	})
	began := time.Now()
	v := openSocket(t, place, time.Minute, time.Minute, vendortest.NewTransport(t, "acqueon", 0))
	for i, want := range []struct {
		reference string
		strays    uint64
	}{{"1", 0}, {"666", 1}, {"3", 1}} {
		r, err := v.Submit(t.Context(), target(full()))
		strays, since := v.Unsolicited(t.Context())
		if err != nil || r.Reference != want.reference || strays != want.strays {
			t.Fatalf("request %d: %+v, %v, %d strays, want %+v", i, r, err, strays, want)
		}
		if since.Before(began) || since.After(began.Add(time.Second)) {
			t.Errorf("in doubt since %v after the beginning: the bus was not quiet since", since.Sub(began))
		}
	}
	if err := v.Ready(t.Context()); err != nil {
		t.Error(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	stop()
	v.box.heard = time.Now().Add(time.Hour)
	if err := v.Ready(ctx); !errors.Is(err, vendors.ErrNotSent) || !errors.Is(err, vendors.ErrStopped) {
		t.Errorf("stopped while the bus is not quiet: %v", err)
	}
	if n, _ := open(t, testConfig("http://127.0.0.1:1"), nil).Unsolicited(t.Context()); n != 0 {
		t.Errorf("over HTTP: %d", n)
	}
}

// TestTooManyOthers: a bus that never falls silent and never answers must not hold a lane.
func TestTooManyOthers(t *testing.T) {
	place := bus(t, func(_ int64, conn *websocket.Conn, r *http.Request) {
		if _, _, err := conn.Read(r.Context()); err != nil {
			return
		}
		for r.Context().Err() == nil && conn.Write(r.Context(), websocket.MessageText, []byte("{}")) == nil {
		}
	})
	v := openSocket(t, place, time.Minute, 0, vendortest.NewTransport(t, "acqueon", 0))
	_, err := v.Submit(t.Context(), target(full()))
	if !errors.Is(err, vendors.ErrUnreadable) || !errors.Is(err, errTooManyOthers) || vendors.Harmless(err) {
		t.Error(err)
	}
}

// TestTooLarge: a message beyond the limit ends the connection, not the memory.
func TestTooLarge(t *testing.T) {
	place := bus(t, func(_ int64, conn *websocket.Conn, r *http.Request) {
		if _, _, err := conn.Read(r.Context()); err == nil {
			say(conn, `{"channel":"`+strings.Repeat("x", maxMessage)+`"}`)
			conn.Read(r.Context())
		}
	})
	v := openSocket(t, place, time.Minute, 0, vendortest.NewTransport(t, "acqueon", 0))
	if _, err := v.Submit(t.Context(), target(full())); !errors.Is(err, vendors.ErrUnavailable) {
		t.Error(err)
	}
}

// TestReconnect: a connection that ended while nothing was under way costs nothing, and one
// that ends with a message under way leaves that one open and no other.
func TestReconnect(t *testing.T) {
	place := bus(t, func(n int64, conn *websocket.Conn, r *http.Request) {
		if _, _, err := conn.Read(r.Context()); err != nil {
			return
		}
		if n == 2 {
			conn.Close(websocket.StatusPolicyViolation, "john.doe@example.com is unknown")
			return
		}
		say(conn, answerWith("1008"+string('0'+rune(n))))
		conn.Close(websocket.StatusGoingAway, "")
	})
	v := openSocket(t, place, time.Minute, 0, vendortest.NewTransport(t, "acqueon", 0))
	w := v.wire.(*socketWire)
	if r, err := v.Submit(t.Context(), target(full())); err != nil || r.Reference != "10081" {
		t.Fatalf("%+v, %v", r, err)
	}
	<-w.conn.gone
	_, err := v.Submit(t.Context(), target(full()))
	if !errors.Is(err, vendors.ErrUnavailable) || !strings.Contains(err.Error(), "1008") {
		t.Errorf("closed with a message under way: %v", err)
	}
	vendortest.NoLeak(t, err, full())
	if r, err := v.Submit(t.Context(), target(full())); err != nil || r.Reference != "10083" {
		t.Errorf("%+v, %v", r, err)
	}
}

// TestLateResponse: the response to a request that was given up must not be taken for that
// of the next request, or every ticket from there on belongs to the wrong person.
func TestLateResponse(t *testing.T) {
	requests := make(chan *websocket.Conn, 4)
	place := bus(t, func(_ int64, conn *websocket.Conn, r *http.Request) {
		for {
			if _, _, err := conn.Read(r.Context()); err != nil {
				return
			}
			requests <- conn
		}
	})
	v := openSocket(t, place, 100*time.Millisecond, time.Hour, vendortest.NewTransport(t, "acqueon", 0))
	w := v.wire.(*socketWire)
	if _, err := v.Submit(t.Context(), target(full())); !errors.Is(err, vendors.ErrTimeout) || vendors.Harmless(err) {
		t.Fatalf("no answer: %v", err)
	}
	<-requests
	ctx, stop := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer stop()
	if _, err := v.Submit(ctx, target(full())); !errors.Is(err, vendors.ErrNotSent) || !errors.Is(err, vendors.ErrStopped) {
		t.Errorf("while a late response may come: %v", err)
	}
	if len(requests) != 0 {
		t.Fatal("a message left while a response was open")
	}
	// The bus speaks to whoever is connected now.
	w.timeout = time.Minute
	w.box.deliver([]byte(answerWith("10089")))
	done := make(chan error, 1)
	var got vendors.Receipt
	go func() {
		var err error
		got, err = v.Submit(t.Context(), target(full()))
		done <- err
	}()
	say(<-requests, answerWith("10090"))
	if err := <-done; err != nil || got.Reference != "10090" {
		t.Errorf("%+v, %v", got, err)
	}
}

// TestHandshake: what is configured goes with the handshake, and a dry run makes none.
func TestHandshake(t *testing.T) {
	seen := make(chan http.Header, 1)
	place := bus(t, func(_ int64, conn *websocket.Conn, r *http.Request) {
		seen <- r.Header
		conn.Read(r.Context())
	})
	c := testConfig(place)
	c.Transport, c.Timeout = transportWebSocket, vendors.Duration(50*time.Millisecond)
	c.Headers["Origin"] = vendors.NewSecret("https://desk.example.com")
	dry := transport.New(transport.Options{Vendor: "acqueon", ReadOnly: true})
	defer dry.Close()
	if _, err := open(t, c, dry).Submit(t.Context(), target(full())); !errors.Is(err, transport.ErrReadOnly) || !vendors.Harmless(err) {
		t.Errorf("dry run: %v", err)
	}
	v := open(t, c, vendortest.NewTransport(t, "acqueon", 0))
	defer v.Close()
	v.Submit(t.Context(), target(full()))
	h := <-seen
	if h.Get("Authorization") != "Bearer "+secret || h.Get("Origin") != "https://desk.example.com" || len(seen) != 0 {
		t.Errorf("handshake with %v, and %d more", h, len(seen))
	}
}

// TestWebSocketSimulator: the simulator's bus, with its faults: what it says has happened
// and what we say never contradict each other.
func TestWebSocketSimulator(t *testing.T) {
	s := sim.New(sim.Options{})
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	t.Cleanup(s.Close)
	c := testConfig(server.URL)
	c.Transport, c.URL, c.BaseURL = transportWebSocket, "wss://lcm.example.com/acqueon/ws", server.URL
	c.Timeout = vendors.Duration(300 * time.Millisecond)
	v := open(t, c, vendortest.NewTransport(t, "acqueon", 0))
	t.Cleanup(func() { v.Close() })
	v.box.settle = 0
	for _, fault := range []sim.FaultKind{
		sim.NoFault, sim.Cut, sim.NoFault, sim.Lost, sim.Garbage, sim.Truncated, sim.ServerError, sim.RateLimited, sim.Down, sim.NoFault,
	} {
		s.Script(func(r sim.RequestInfo) sim.Fault {
			if r.Changes {
				return sim.Fault{Kind: fault}
			}
			return sim.Fault{}
		})
		before := len(s.Ledger(0))
		r, err := v.Submit(t.Context(), target(full()))
		var effect string
		for _, e := range s.Ledger(int64(before)) {
			if e.Effect {
				effect = e.Reference
			}
		}
		switch {
		case err == nil && r.Reference != effect, fault == sim.NoFault && err != nil:
			t.Errorf("%q: reference %q, the ticket is %q (%v)", fault, r.Reference, effect, err)
		case err != nil && (vendors.Harmless(err) || fault == sim.NoFault):
			t.Errorf("%q: %v", fault, err)
		}
	}
}

// TestAgentPool: rows that name nobody are raised by the configured agents in turn.
func TestAgentPool(t *testing.T) {
	c := testConfig("http://127.0.0.1:1")
	c.AgentIDs = []string{"agent-2", "agent-1", "agent-3"}
	v := open(t, c, nil)
	var got []string
	for range 4 {
		got = append(got, v.agent(least()))
	}
	if strings.Join(got, " ") != "agent-1 agent-2 agent-3 agent-1" {
		t.Errorf("in turn: %v", got)
	}
	if id := v.agent(full()); id != "agent-7" {
		t.Errorf("the row's own agent is passed over for %s", id)
	}
	c.AgentID = ""
	if p, err := open(t, c, nil).Preview(t.Context(), target(least())); err != nil || p.Doubt != "" {
		t.Errorf("a pool without agent_id: %+v, %v", p, err)
	}
}
