package acqueon

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"expunge/vendors"
	"expunge/vendors/transport"
	"expunge/vendors/vendortest"
)

const workspace = "https://workspace.example.com"

func bridgeConfig() *Config {
	c := newConfig()
	c.Transport, c.AgentID, c.WorkspaceOrigin = transportBridge, "agent-1", workspace
	return c
}

// told collects what the operator is shown.
type told struct {
	mu    sync.Mutex
	lines []string
}

func (o *told) tell(line string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.lines = append(o.lines, line)
}

func (o *told) all() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Clone(o.lines)
}

// openBridge returns a vendor that serves its page, and the page's address and token.
func openBridge(t testing.TB, c *Config, o vendors.Options) (v *Vendor, base, token string) {
	t.Helper()
	var lines told
	if o.Tell == nil {
		o.Tell = lines.tell
	}
	if o.Name == "" {
		o.Name = "acqueon"
	}
	c.BridgeDir = t.TempDir()
	opened, err := c.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	v = opened.(*Vendor)
	t.Cleanup(func() { v.Close() })
	base, token = addressOf(t, v)
	return v, base, token
}

// addressOf reads the file that the run names, as the agent does.
func addressOf(t testing.TB, v *Vendor) (base, token string) {
	t.Helper()
	text, err := os.ReadFile(v.wire.(*bridge).file)
	if err != nil {
		t.Fatal(err)
	}
	base, token, _ = strings.Cut(strings.TrimSpace(string(text)), "/#")
	return base, token
}

// script is a page without a browser: what page/bridge.js does, over HTTP.
type script struct {
	t     testing.TB
	base  string
	token string
	bus   func(message []byte) (answer []byte) // nil: no answer

	client *http.Client
	id     string
	since  uint64
}

func newScript(t testing.TB, base, token string, bus func([]byte) []byte) *script {
	s := &script{t: t, base: base, token: token, bus: bus, client: &http.Client{Transport: &http.Transport{}}}
	t.Cleanup(s.client.CloseIdleConnections)
	return s
}

func (s *script) call(ctx context.Context, what string, body map[string]any, into any) int {
	s.t.Helper()
	body["page"] = s.id
	b, err := json.Marshal(body)
	if err != nil {
		s.t.Error(err)
		return 0
	}
	req, err := http.NewRequestWithContext(ctx, "POST", s.base+"/v1/"+what, bytes.NewReader(b))
	if err != nil {
		s.t.Error(err)
		return 0
	}
	req.Header = http.Header{"Authorization": {"Bearer " + s.token}, "Content-Type": {"application/json"}, "Origin": {s.base}}
	resp, err := s.client.Do(req)
	if err != nil {
		return 0
	}
	defer resp.Body.Close()
	if resp.StatusCode == 200 && into != nil {
		if err := json.NewDecoder(resp.Body).Decode(into); err != nil {
			return 0
		}
	}
	return resp.StatusCode
}

func (s *script) hello(ctx context.Context) int {
	var got struct{ Page string }
	status := s.call(ctx, "hello", map[string]any{}, &got)
	if status == 200 {
		s.id, s.since = got.Page, 0
	}
	return status
}

func (s *script) poll(ctx context.Context, ready bool) (view, int) {
	var v view
	status := s.call(ctx, "poll", map[string]any{"ready": ready, "since": s.since}, &v)
	if status == 200 {
		s.since = v.Version
	}
	return v, status
}

func (s *script) take(ctx context.Context, n uint64) ([]byte, int) {
	var got struct{ Message json.RawMessage }
	status := s.call(ctx, "take", map[string]any{"n": n}, &got)
	return got.Message, status
}

func (s *script) answer(ctx context.Context, message []byte) int {
	return s.call(ctx, "answer", map[string]any{"message": json.RawMessage(message)}, nil)
}

// offered polls until a message is there to take.
func (s *script) offered(ctx context.Context) uint64 {
	for ctx.Err() == nil {
		if v, status := s.poll(ctx, true); status == 200 && v.Offer != 0 {
			return v.Offer
		}
	}
	return 0
}

// run is an open page until the end of ctx.
func (s *script) run(ctx context.Context) {
	var answering sync.WaitGroup
	defer answering.Wait()
	for ctx.Err() == nil && s.hello(ctx) != 200 {
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
		}
	}
	for {
		v, status := s.poll(ctx, true)
		if status != 200 || v.Over {
			return
		}
		if v.Offer == 0 {
			continue
		}
		if message, status := s.take(ctx, v.Offer); status == 200 {
			answering.Go(func() { // as a browser does: the page goes on asking
				if answer := s.bus(message); answer != nil {
					s.answer(ctx, answer)
				}
			})
		}
	}
}

// background runs an open page until the test's end or stop.
func (s *script) background() (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.run(ctx)
	}()
	stop = func() { cancel(); <-done }
	s.t.Cleanup(stop)
	return stop
}

// TestBridgeConformance is the suite of every adapter, through a page.
func TestBridgeConformance(t *testing.T) {
	for _, dialect := range dialects {
		t.Run(dialect, func(t *testing.T) {
			t.Parallel()
			vendortest.Run(t, vendortest.Case{
				Open: func(t testing.TB, base string, tr vendors.Transport) vendors.Vendor {
					c := bridgeConfig()
					c.Dialect = dialect
					// Most faults have no answer here: each of them runs into the timeout.
					c.Timeout = vendors.Duration(tr.(*vendortest.Transport).Timeout()) / 2
					client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
					t.Cleanup(client.CloseIdleConnections)
					var page *script
					if base == "http://127.0.0.1:1" { // nobody is there: no page either
						c.BridgeWait = vendors.Duration(50 * time.Millisecond)
					}
					v, address, token := openBridge(t, c, vendors.Options{Name: "vendor-under-test", Transport: tr})
					v.box.settle, v.box.quiet = 0, 0 // TestLateResponse and TestQuiet are about that
					if base != "http://127.0.0.1:1" {
						page = newScript(t, address, token, func(message []byte) []byte {
							answer, ok := post(client, base, message)
							if !ok || !json.Valid(answer) {
								return nil // a bus carries nothing else
							}
							return answer
						})
						page.background()
					}
					return v
				},
				Serve:   answered(t, dialect),
				Target:  *target(full()),
				Secrets: []string{secret},
				Unclear: notResponses,
			})
		})
	}
}

// TestBridgeRequests: twenty requests through the page keep their tickets, and the page is
// shown who they are about in masked form only.
func TestBridgeRequests(t *testing.T) {
	v, base, token := openBridge(t, bridgeConfig(), vendors.Options{Transport: vendortest.NewTransport(t, "acqueon", 0)})
	var raised atomic.Int64
	page := newScript(t, base, token, func(message []byte) []byte {
		var m struct {
			Message struct{ AccountNumber string }
		}
		if err := json.Unmarshal(message, &m); err != nil {
			t.Error(err)
		}
		raised.Add(1)
		return []byte(answerWith("T-" + strings.ReplaceAll(m.Message.AccountNumber, "|", "-")))
	})
	page.background()
	for n := range 20 {
		s := least()
		s[1].Text = fmt.Sprintf("934|%d", n)
		if err := v.Ready(t.Context()); err != nil {
			t.Fatal(err)
		}
		r, err := v.Submit(t.Context(), target(s))
		if want := fmt.Sprintf("T-934-%d", n); err != nil || r.Reference != want {
			t.Errorf("%q, %v, want %s", r.Reference, err, want)
		}
	}
	b := v.wire.(*bridge)
	b.mu.Lock()
	shown, err := json.Marshal(b.viewLocked())
	b.mu.Unlock()
	if err != nil || raised.Load() != 20 || strings.Contains(string(shown), "934|") || !strings.Contains(string(shown), `"answered":20`) {
		t.Errorf("%d raised; the page is shown %s", raised.Load(), shown)
	}
}

// TestBridgeError: the page brings error messages too, and one ends the waiting.
func TestBridgeError(t *testing.T) {
	v, base, token := openBridge(t, bridgeConfig(), vendors.Options{Transport: vendortest.NewTransport(t, "acqueon", 0)})
	newScript(t, base, token, func([]byte) []byte { return []byte(busErrors[0]) }).background()
	_, err := v.Submit(t.Context(), target(full()))
	var e *vendors.Error
	if !errors.As(err, &e) || !errors.Is(err, errComplaint) || vendors.Harmless(err) || e.Message != "words" {
		t.Errorf("%v", err)
	}
	b := v.wire.(*bridge)
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.counts.open != 1 || b.counts.answered != 0 {
		t.Errorf("the page counts %+v", b.counts)
	}
}

// TestBridgePageCloses: what a closed page leads to, at each point of a message's way. A
// message that was not taken must be kept, and one that was must never be sent again by
// itself.
func TestBridgePageCloses(t *testing.T) {
	submit := func(v *Vendor) chan error {
		done := make(chan error, 1)
		go func() {
			_, err := v.Submit(context.Background(), target(full()))
			done <- err
		}()
		return done
	}
	t.Run("before it is taken", func(t *testing.T) {
		v, base, token := openBridge(t, bridgeConfig(), vendors.Options{Transport: vendortest.NewTransport(t, "acqueon", 0)})
		done := submit(v)
		first := newScript(t, base, token, nil)
		ctx, closePage := context.WithCancel(t.Context())
		if first.hello(ctx) != 200 || first.offered(ctx) == 0 {
			t.Fatal("nothing offered")
		}
		closePage()
		first.client.CloseIdleConnections()
		v.wire.(*bridge).forgetPage()
		base, token = addressOf(t, v)
		second := newScript(t, base, token, func([]byte) []byte { return []byte(answerWith("10089")) })
		second.background()
		if err := <-done; err != nil {
			t.Errorf("the next page should have taken it: %v", err)
		}
	})
	t.Run("while the rate limit holds it", func(t *testing.T) {
		gate := &gateTransport{Transport: vendortest.NewTransport(t, "acqueon", 0), waiting: make(chan struct{}, 1)}
		v, base, token := openBridge(t, bridgeConfig(), vendors.Options{Transport: gate})
		done := submit(v)
		first := newScript(t, base, token, nil)
		ctx, closePage := context.WithCancel(t.Context())
		first.hello(ctx)
		n := first.offered(ctx)
		gone := make(chan struct{})
		go func() { defer close(gone); first.take(ctx, n) }()
		<-gate.waiting
		closePage()
		<-gone
		gate.free.Store(true)
		v.wire.(*bridge).forgetPage()
		sent := 0
		base, token = addressOf(t, v)
		newScript(t, base, token, func([]byte) []byte { sent++; return []byte(answerWith("10089")) }).background()
		if err := <-done; err != nil || sent != 1 {
			t.Errorf("%v, sent %d times", err, sent)
		}
	})
	t.Run("after it was taken", func(t *testing.T) {
		c := bridgeConfig()
		c.Timeout = vendors.Duration(100 * time.Millisecond)
		v, base, token := openBridge(t, c, vendors.Options{Transport: vendortest.NewTransport(t, "acqueon", 0)})
		b := v.wire.(*bridge)
		b.box.settle = 0
		done := submit(v)
		first := newScript(t, base, token, nil)
		ctx, closePage := context.WithCancel(t.Context())
		first.hello(ctx)
		if _, status := first.take(ctx, first.offered(ctx)); status != 200 {
			t.Fatalf("take: %d", status)
		}
		closePage()
		b.forgetPage()
		sent := 0
		base, token = addressOf(t, v)
		newScript(t, base, token, func([]byte) []byte { sent++; return []byte(answerWith("10090")) }).background()
		err := <-done
		if !errors.Is(err, vendors.ErrUnavailable) || !errors.Is(err, vendors.ErrTimeout) || vendors.Harmless(err) {
			t.Errorf("the outcome is open: %v", err)
		}
		vendortest.NoLeak(t, err, full(), token)
		if r, err := v.Submit(t.Context(), target(least())); err != nil || r.Reference != "10090" || sent != 1 {
			t.Errorf("the next request: %+v, %v, sent %d times", r, err, sent)
		}
	})
	t.Run("and the next one brings the response", func(t *testing.T) {
		v, base, token := openBridge(t, bridgeConfig(), vendors.Options{Transport: vendortest.NewTransport(t, "acqueon", 0)})
		done := submit(v)
		first := newScript(t, base, token, nil)
		first.hello(t.Context())
		first.take(t.Context(), first.offered(t.Context()))
		v.wire.(*bridge).forgetPage()
		base, token = addressOf(t, v)
		second := newScript(t, base, token, nil)
		if status := second.hello(t.Context()); status != 200 {
			t.Fatal(status)
		}
		if status := first.answer(t.Context(), []byte(answerWith("666"))); status != http.StatusUnauthorized {
			t.Errorf("a page that was replaced is still heard: %d", status)
		}
		second.answer(t.Context(), []byte(answerWith("10089")))
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// forgetPage makes the page count as gone, as it does by itself after a few seconds.
func (b *bridge) forgetPage() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.page.polls, b.page.seen = 0, time.Now().Add(-2*away)
}

// gateTransport holds every message until it is free.
type gateTransport struct {
	*vendortest.Transport
	waiting chan struct{}
	free    atomic.Bool
}

func (g *gateTransport) Wait(ctx context.Context, op string) error {
	if g.free.Load() {
		return g.Transport.Wait(ctx, op)
	}
	g.waiting <- struct{}{}
	<-ctx.Done()
	return &vendors.Error{Vendor: "acqueon", Op: op, Kind: vendors.ErrNotSent, Err: vendors.ErrStopped}
}

// TestBridgeNobody: without a page a run gets its work back unburnt, is told when to ask
// again, later each time, and is woken when a page comes.
func TestBridgeNobody(t *testing.T) {
	c := bridgeConfig()
	c.BridgeWait = vendors.Duration(30 * time.Millisecond)
	var lines told
	v, base, token := openBridge(t, c, vendors.Options{Transport: vendortest.NewTransport(t, "acqueon", 0), Tell: lines.tell})
	var await *vendors.AwaitError
	for n, call := range []func() error{
		func() error { return v.Ready(t.Context()) },
		func() error { _, err := v.Submit(t.Context(), target(full())); return err },
	} {
		err := call()
		if !errors.Is(err, vendors.ErrNotSent) || !errors.Is(err, vendors.ErrPaused) || !vendors.Harmless(err) || !errors.As(err, &await) {
			t.Fatalf("%v", err)
		}
		if in := time.Until(await.Until).Round(time.Minute); in != comeAgain<<n {
			t.Errorf("asked to come again in %v", in)
		}
	}
	select {
	case <-await.Ready:
		t.Fatal("there is no page yet")
	default:
	}
	newScript(t, base, token, nil).background()
	<-await.Ready
	if err := v.Ready(t.Context()); err != nil {
		t.Error(err)
	}
	want := []string{"acqueon: open the page whose address is in " + v.wire.(*bridge).file + " as an app in the agent's workspace, and leave it open"}
	if diff := cmp.Diff(want, lines.all()); diff != "" {
		t.Errorf("-want +told:\n%s", diff)
	}
	ctx, stop := context.WithCancel(t.Context())
	stop()
	other, _, _ := openBridge(t, bridgeConfig(), vendors.Options{Transport: vendortest.NewTransport(t, "acqueon", 0)})
	if err := other.Ready(ctx); !errors.Is(err, vendors.ErrStopped) {
		t.Errorf("stopped while it waits: %v", err)
	}
}

// TestBridgeServes: only a run that may send serves the page; with nobody to be told, or in
// a dry run, nothing leaves.
func TestBridgeServes(t *testing.T) {
	closed, err := bridgeConfig().Open(vendors.Options{Name: "acqueon"})
	if err != nil {
		t.Fatal(err)
	}
	if b := closed.(*Vendor).wire.(*bridge); b.listener != nil {
		t.Error("`check`, `status` and `report` would open a port")
	}
	if _, err := closed.Submit(t.Context(), target(full())); !errors.Is(err, vendors.ErrNotSent) {
		t.Error(err)
	}
	if err := closed.(io.Closer).Close(); err != nil {
		t.Error(err)
	}
	dry := transport.New(transport.Options{Vendor: "acqueon", ReadOnly: true})
	defer dry.Close()
	v, base, token := openBridge(t, bridgeConfig(), vendors.Options{Transport: dry})
	newScript(t, base, token, func([]byte) []byte { t.Error("a message left in a dry run"); return nil }).background()
	if _, err := v.Submit(t.Context(), target(full())); !errors.Is(err, transport.ErrReadOnly) {
		t.Error(err)
	}
	first, _, _ := openBridge(t, bridgeConfig(), vendors.Options{})
	c := bridgeConfig()
	c.BridgeListen = first.wire.(*bridge).listener.Addr().String()
	var key *vendors.KeyError
	if _, err := c.Open(vendors.Options{Tell: func(string) {}}); !errors.As(err, &key) || key.Key != "bridge_listen" {
		t.Errorf("a port that is taken: %v", err)
	}
}

// TestBridgeClose: the end of a run ends the page's questions and what is under way, and
// leaves no outcome closed that is open.
func TestBridgeClose(t *testing.T) {
	v, base, token := openBridge(t, bridgeConfig(), vendors.Options{Transport: vendortest.NewTransport(t, "acqueon", 0)})
	done := make(chan error, 1)
	go func() {
		_, err := v.Submit(context.Background(), target(full()))
		done <- err
	}()
	page := newScript(t, base, token, nil)
	page.hello(t.Context())
	page.take(t.Context(), page.offered(t.Context()))
	page.poll(t.Context(), true)
	over := make(chan view, 1)
	go func() {
		v, _ := page.poll(context.Background(), true)
		over <- v
	}()
	for b := v.wire.(*bridge); ; time.Sleep(time.Millisecond) {
		b.mu.Lock()
		polls := b.page.polls
		b.mu.Unlock()
		if polls > 0 {
			break
		}
	}
	if err := v.Close(); err != nil {
		t.Error(err)
	}
	if err := <-done; vendors.Harmless(err) || !errors.Is(err, vendors.ErrUnavailable) {
		t.Errorf("taken, and not answered: %v", err)
	}
	if v := <-over; !v.Over {
		t.Error("the page is not told")
	}
	if err := v.Close(); err != nil {
		t.Error(err)
	}
	if page.hello(t.Context()) != 0 {
		t.Error("still served after the run")
	}
}

// TestBridgeGuards: who may ask what. Each line is a way in for somebody on another site,
// or for another program on this machine.
func TestBridgeGuards(t *testing.T) {
	v, base, token := openBridge(t, bridgeConfig(), vendors.Options{Transport: vendortest.NewTransport(t, "acqueon", 0)})
	host := strings.TrimPrefix(base, "http://")
	_, port, _ := strings.Cut(host, ":")
	client := &http.Client{}
	t.Cleanup(client.CloseIdleConnections)
	good := map[string]string{"Authorization": "Bearer " + token, "Content-Type": "application/json", "Origin": base}
	for _, test := range []struct {
		name, method, path, host string
		set                      map[string]string
		body                     string
		want                     int
	}{
		{"the page", "GET", "/", "", nil, "", 200},
		{"its script", "GET", "/bridge.js", "", nil, "", 200},
		{"its style", "GET", "/bridge.css", "", nil, "", 200},
		{"nothing else", "GET", "/page/index.html", "", nil, "", 404},
		{"a call that is none", "GET", "/v1/hello", "", nil, "", 405},
		{"another name of this machine", "GET", "/", "localhost:" + port, nil, "", 200},
		{"a name that was made to point here", "GET", "/", "evil.example.com:" + port, nil, "", 421},
		{"the same, with the token", "POST", "/v1/hello", "evil.example.com:" + port, map[string]string{"Origin": "http://evil.example.com:" + port}, "{}", 421},
		{"no token", "POST", "/v1/hello", "", map[string]string{"Authorization": ""}, "{}", 401},
		{"another token", "POST", "/v1/hello", "", map[string]string{"Authorization": "Bearer " + token[1:]}, "{}", 401},
		{"the token in another scheme", "POST", "/v1/hello", "", map[string]string{"Authorization": token}, "{}", 401},
		{"another site", "POST", "/v1/hello", "", map[string]string{"Origin": "https://evil.example.com"}, "{}", 403},
		{"the workspace itself", "POST", "/v1/hello", "", map[string]string{"Origin": workspace}, "{}", 403},
		{"a program that names no site", "POST", "/v1/hello", "", map[string]string{"Origin": ""}, "{}", 403},
		{"a frame of another site", "POST", "/v1/hello", "", map[string]string{"Sec-Fetch-Site": "cross-site"}, "{}", 403},
		{"a form", "POST", "/v1/hello", "", map[string]string{"Content-Type": "text/plain"}, "{}", 415},
		{"not JSON", "POST", "/v1/hello", "", nil, "x", 400},
		{"too much", "POST", "/v1/hello", "", nil, `"` + strings.Repeat("x", maxPageBody) + `"`, 400},
		{"asking leave for another site", "OPTIONS", "/v1/hello", "", map[string]string{"Access-Control-Request-Method": "POST"}, "", 405},
		{"a page that never said hello", "POST", "/v1/poll", "", nil, "{}", 410},
		{"the same takes", "POST", "/v1/take", "", nil, `{"n":1}`, 410},
		{"the same answers", "POST", "/v1/answer", "", nil, `{"message":{}}`, 410},
		{"our page", "POST", "/v1/hello", "", nil, "{}", 200},
		{"a second one by the same code", "POST", "/v1/hello", "", nil, "{}", 401},
		{"and with a place that is not its own", "POST", "/v1/hello", "", nil, `{"page":"x"}`, 401},
		{"a second one by the next code", "POST", "/v1/hello", "", map[string]string{"Authorization": "next"}, "{}", 409},
	} {
		req, err := http.NewRequest(test.method, base+test.path, strings.NewReader(test.body))
		if err != nil {
			t.Fatal(err)
		}
		if test.method != "GET" {
			for k, v := range good {
				req.Header.Set(k, v)
			}
		}
		for k, text := range test.set {
			if text == "next" {
				_, next := addressOf(t, v)
				text = "Bearer " + next
			}
			req.Header.Del(k)
			if text != "" {
				req.Header.Set(k, text)
			}
		}
		if test.host != "" {
			req.Host = test.host
		}
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || resp.StatusCode != test.want {
			t.Errorf("%s: %d, %v, want %d", test.name, resp.StatusCode, err, test.want)
		}
		if strings.Contains(string(body), token) {
			t.Errorf("%s: the answer holds the token", test.name)
		}
		h := resp.Header
		policy := h.Get("Content-Security-Policy")
		if !strings.Contains(policy, "frame-ancestors "+workspace) || strings.Contains(policy, "unsafe") || strings.Contains(policy, "*") ||
			h.Get("Access-Control-Allow-Origin") != "" || h.Get("Cache-Control") != "no-store" || h.Get("Referrer-Policy") != "no-referrer" {
			t.Errorf("%s: headers %v", test.name, h)
		}
	}
	// The page has nothing inline, which the policy would stop, and no way to post to everybody.
	for _, name := range []string{"page/index.html", "page/bridge.js"} {
		b, err := pageFiles.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, never := range []string{"innerHTML", `"*"`, "'*'", "onclick=", "style=", "eval("} {
			if bytes.Contains(b, []byte(never)) {
				t.Errorf("%s has %s", name, never)
			}
		}
	}
	if v.wire.(*bridge).held != token || len(token) < 26 {
		t.Errorf("a token of %d characters", len(token))
	}
}

// TestBridgeAddress: what leads to the page is read by its owner only, is in no line that is
// logged, serves one page, and goes with the run.
func TestBridgeAddress(t *testing.T) {
	var lines told
	var log bytes.Buffer
	c := bridgeConfig()
	c.BridgeWait = vendors.Duration(time.Millisecond)
	v, base, token := openBridge(t, c, vendors.Options{Transport: vendortest.NewTransport(t, "acqueon", 0), Tell: lines.tell,
		Log: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))})
	b := v.wire.(*bridge)
	v.Ready(t.Context()) // nobody is there
	first := newScript(t, base, token, nil)
	if first.hello(t.Context()) != 200 {
		t.Fatal("the page is not served")
	}
	info, err := os.Stat(b.file)
	if err != nil || info.Mode() != 0o600 || filepath.Base(b.file) != "acqueon-bridge.url" {
		t.Errorf("%s: %v, %v", b.file, info.Mode(), err)
	}
	_, next := addressOf(t, v)
	if next == token || len(next) < 26 {
		t.Error("the address that was used is still in the file")
	}
	for _, secret := range []string{token, next, first.id, "/#"} {
		if strings.Contains(log.String()+strings.Join(lines.all(), " "), secret) {
			t.Error("an address is in the log")
		}
	}
	if len(lines.all()) != 1 || !strings.Contains(lines.all()[0], b.file) || !strings.Contains(log.String(), b.file) {
		t.Errorf("told %q, logged %s", lines.all(), log.String())
	}

	// Loaded again, the page goes on in its place; what it was before is heard no more.
	old := *first
	if status := first.hello(t.Context()); status != 200 || first.id == old.id {
		t.Errorf("loaded again: %d", status)
	}
	if status := old.answer(t.Context(), []byte("{}")); status != http.StatusGone {
		t.Errorf("the page before it was loaded again: %d", status)
	}
	if status := old.hello(t.Context()); status != http.StatusUnauthorized {
		t.Errorf("a copy of the page: %d", status)
	}
	// Another page comes by the next address alone, when the first is gone.
	second := newScript(t, base, next, nil)
	if status := second.hello(t.Context()); status != http.StatusConflict {
		t.Errorf("a second page beside the first: %d", status)
	}
	b.forgetPage()
	if status := newScript(t, base, token, nil).hello(t.Context()); status != http.StatusUnauthorized {
		t.Errorf("a second page by the first one's address: %d", status)
	}
	if status := second.hello(t.Context()); status != 200 {
		t.Errorf("a second page after the first: %d", status)
	}
	if status := first.hello(t.Context()); status != http.StatusUnauthorized {
		t.Errorf("the first page after the second: %d", status)
	}
	if err := v.Close(); err != nil {
		t.Error(err)
	}
	if rest, err := os.ReadDir(filepath.Dir(b.file)); err != nil || len(rest) != 0 {
		t.Errorf("left behind: %v, %v", rest, err)
	}
	c = bridgeConfig()
	c.BridgeDir = filepath.Join(t.TempDir(), "missing")
	var key *vendors.KeyError
	if _, err := c.Open(vendors.Options{Name: "acqueon", Tell: lines.tell}); !errors.As(err, &key) || key.Key != "bridge_dir" {
		t.Errorf("a folder that is not there: %v", err)
	}
}

// TestBridgeConfig: a key that is wrong would let the page talk to the wrong site, or serve
// it to others than this machine.
func TestBridgeConfig(t *testing.T) {
	for _, test := range []struct {
		key    string
		change func(*Config)
	}{
		{"workspace_origin", func(c *Config) { c.WorkspaceOrigin = "" }},
		{"workspace_origin", func(c *Config) { c.WorkspaceOrigin = "*" }},
		{"workspace_origin", func(c *Config) { c.WorkspaceOrigin = "http://workspace.example.com" }},
		{"workspace_origin", func(c *Config) { c.WorkspaceOrigin = "https://workspace.example.com/" }},
		{"workspace_origin", func(c *Config) { c.WorkspaceOrigin = "https://workspace.example.com/app" }},
		{"workspace_origin", func(c *Config) { c.WorkspaceOrigin = "https://Workspace.example.com" }},
		{"workspace_origin", func(c *Config) { c.WorkspaceOrigin = "https://workspace.example.com:443" }},
		{"workspace_origin", func(c *Config) { c.WorkspaceOrigin = "https://*.example.com" }},
		{"workspace_origin", func(c *Config) { c.WorkspaceOrigin = "https://workspace.example.com; script-src *" }},
		{"workspace_origin", func(c *Config) { c.WorkspaceOrigin = "wss://workspace.example.com" }},
		{"bridge_listen", func(c *Config) { c.BridgeListen = "" }},
		{"bridge_listen", func(c *Config) { c.BridgeListen = ":8765" }},
		{"bridge_listen", func(c *Config) { c.BridgeListen = "0.0.0.0:8765" }},
		{"bridge_listen", func(c *Config) { c.BridgeListen = "127.0.0.1" }},
		{"bridge_listen", func(c *Config) { c.BridgeListen = "127.0.0.1:http" }},
		{"bridge_dir", func(c *Config) { c.BridgeDir = "" }},
		{"bridge_wait", func(c *Config) { c.BridgeWait = 0 }},
		{"bridge_register", func(c *Config) { c.BridgeRegister = "Register" }},
		{"url", func(c *Config) { c.URL = "https://lcm.example.com/" }},
		{"base_url", func(c *Config) { c.BaseURL = "https://lcm.example.com/" }},
		{"headers", func(c *Config) { c.Headers = map[string]vendors.Secret{"X-Key": vendors.NewSecret("v")} }},
	} {
		c := bridgeConfig()
		test.change(c)
		var e *vendors.KeyError
		if err := c.Validate(); !errors.As(err, &e) || e.Key != test.key {
			t.Errorf("%v, want a problem with %s", err, test.key)
		}
	}
	for _, origin := range []string{"https://workspace.example.com", "https://workspace.example.com:8443", "http://127.0.0.1:8080", "http://[::1]:8080"} {
		c := bridgeConfig()
		c.WorkspaceOrigin, c.BridgeRegister, c.BridgeListen = origin, "", "[::1]:8765"
		if err := c.Validate(); err != nil {
			t.Errorf("%s: %v", origin, err)
		}
	}
	warnings, err := open(t, bridgeConfig(), nil).Check(t.Context())
	if err != nil || len(warnings) != 1 || !strings.Contains(warnings[0], workspace) {
		t.Errorf("%q, %v", warnings, err)
	}
}
