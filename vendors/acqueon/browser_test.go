package acqueon

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"

	"expunge/vendors"
	"expunge/vendors/sim"
	"expunge/vendors/vendortest"
)

// TestBridgeInBrowser is the bridge as it is used: Chromium, a workspace that embeds the
// page and is its bus, and the simulator behind the bus. Twenty requests keep their
// tickets while a frame of another origin forges responses; a page that is closed before
// it has taken a message loses nothing, and one that is closed after that leaves one open
// outcome, which is not raised again.
func TestBridgeInBrowser(t *testing.T) {
	program := chromium()
	if program == "" {
		if os.Getenv("CI") == "true" {
			t.Fatal("there is no Chromium: .ci/run installs it")
		}
		t.Log("there is no Chromium here: only the tests over HTTP stand for the bridge")
		return
	}
	simulator := sim.New(sim.Options{})
	t.Cleanup(simulator.Close)
	desk := newDesk(t, simulator)
	c := bridgeConfig()
	c.WorkspaceOrigin, c.Timeout, c.BridgeWait = desk.URL, vendors.Duration(5*time.Second), vendors.Duration(30*time.Second)
	var lines told
	v, base, token := openBridge(t, c, vendors.Options{Transport: vendortest.NewTransport(t, "acqueon", 0), Tell: lines.tell})
	v.box.settle = 0

	app := base + "/#" + token
	elsewhere := strings.Replace(desk.URL, "127.0.0.1", "localhost", 1) // another origin for a browser
	b := startBrowser(t, program)
	tab := b.open(t, desk.URL+"/workspace.html?app="+url.QueryEscape(app)+"&evil="+url.QueryEscape(elsewhere+"/evil.html"))

	account := func(n int) string { return fmt.Sprintf("934|1|475|%d", n) }
	submit := func(n int) (vendors.Receipt, error) {
		s := least()
		s[1].Text = account(n)
		if err := v.Ready(t.Context()); err != nil {
			return vendors.Receipt{}, err
		}
		return v.Submit(t.Context(), target(s))
	}
	tickets := map[string]string{} // by account
	keep := func(n int, r vendors.Receipt, err error) {
		t.Helper()
		if err != nil {
			t.Fatalf("request %d: %v", n, err)
		}
		tickets[account(n)] = r.Reference
	}
	for n := range 8 {
		r, err := submit(n)
		keep(n, r, err)
	}
	if told := lines.all(); len(told) != 1 || !strings.Contains(told[0], v.wire.(*bridge).file) {
		t.Errorf("the operator was shown %q", told)
	}
	text := tab.inApp(t, base, "document.body.innerText")
	for _, want := range []string{"Connected", "Raised, with a ticket", "8", vendors.Mask(vendors.AccountNumber, account(7))} {
		if !strings.Contains(text, want) {
			t.Errorf("the page does not show %q:\n%s", want, text)
		}
	}

	// Closed, and opened again while a message waits.
	tab.evaluate(t, "closeApp()", 0)
	type result struct {
		r   vendors.Receipt
		err error
	}
	done := make(chan result, 1)
	go func() {
		r, err := submit(8)
		done <- result{r, err}
	}()
	tab.evaluate(t, "openApp()", 0)
	got := <-done
	keep(8, got.r, got.err)

	// Closed when a message was published and its ticket raised.
	raised, release := desk.hold(account(9))
	go func() {
		r, err := submit(9)
		done <- result{r, err}
	}()
	<-raised
	tab.evaluate(t, "closeApp()", 0)
	close(release)
	if got := <-done; vendors.Harmless(got.err) || !errors.Is(got.err, vendors.ErrTimeout) {
		t.Errorf("published, and closed before its answer: %v", got.err)
	}
	tab.evaluate(t, "openApp()", 0)
	for n := 10; n < 20; n++ {
		r, err := submit(n)
		keep(n, r, err)
	}

	count := map[string]int{}
	for _, e := range simulator.Ledger(0) {
		if !e.Effect {
			continue
		}
		count[e.AccountNumber]++
		if ours, ok := tickets[e.AccountNumber]; ok && ours != e.Reference {
			t.Errorf("ticket %s was taken for %s", e.Reference, ours)
		}
	}
	for n := range 20 {
		if count[account(n)] != 1 {
			t.Errorf("request %d was raised %d times", n, count[account(n)])
		}
	}
	if len(tickets) != 19 {
		t.Errorf("%d tickets are known, want all but the open one", len(tickets))
	}
	text = tab.inApp(t, base, "document.body.innerText")
	for _, private := range []string{"934|1|475", "202-555", token} {
		if strings.Contains(text, private) {
			t.Errorf("the page shows %q:\n%s", private, text)
		}
	}
	if found := tab.evaluate(t, "JSON.stringify(problems)", 0); found != "[]" {
		t.Errorf("the workspace found %s", found)
	}
	if trouble := tab.trouble(base); len(trouble) > 0 {
		t.Errorf("the browser reports %q", trouble)
	}

	// No other site can frame the page, even with its address and token.
	other := b.open(t, elsewhere+"/workspace.html?app="+url.QueryEscape(app))
	other.waitFor(t, "frame-ancestors")

	if err := v.Close(); err != nil {
		t.Error(err)
	}
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		if text = tab.inApp(t, base, "document.body.innerText"); strings.Contains(text, "The run is over") {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("the page does not know that the run is over:\n%s", text)
		}
	}
}

// desk serves the stand-in for the workspace, and raises requests at the simulator.
type desk struct {
	URL string

	mu      sync.Mutex
	account string // whose answer is held back
	raised  chan struct{}
	release chan struct{}
}

func newDesk(t *testing.T, simulator http.Handler) *desk {
	d := &desk{}
	mux := http.NewServeMux()
	mux.Handle("GET /", http.FileServer(http.Dir(filepath.Join("..", "..", "testdata", "bridge"))))
	mux.HandleFunc("POST /raise", func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		answer := httptest.NewRecorder()
		simulator.ServeHTTP(answer, httptest.NewRequest("POST", "/acqueon/lcm", bytes.NewReader(body)))
		d.mu.Lock()
		held := d.account != "" && bytes.Contains(body, []byte(d.account))
		d.mu.Unlock()
		if held {
			close(d.raised)
			<-d.release
		}
		w.WriteHeader(answer.Code)
		w.Write(answer.Body.Bytes())
	})
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	d.URL = server.URL
	return d
}

// hold keeps the answer about an account back; raised is closed when its ticket is there.
func (d *desk) hold(account string) (raised <-chan struct{}, release chan<- struct{}) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.account, d.raised, d.release = account, make(chan struct{}), make(chan struct{})
	return d.raised, d.release
}

func chromium() string {
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	return ""
}

// browser is a headless Chromium with its DevTools on a loopback port.
type browser struct {
	address string
}

func startBrowser(t *testing.T, program string) *browser {
	t.Helper()
	dir, err := os.MkdirTemp("", "bridge-browser-")
	if err != nil {
		t.Fatal(err)
	}
	var said bytes.Buffer
	cmd := exec.Command(program, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-dev-shm-usage",
		"--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-extensions",
		"--user-data-dir="+dir, "--remote-debugging-port=0", "--remote-allow-origins=*", "about:blank")
	cmd.Env = append(os.Environ(), "HOME="+dir)
	cmd.Stderr, cmd.WaitDelay = &said, 10*time.Second
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	b := &browser{}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	t.Cleanup(func() {
		b.quit()
		select {
		case <-ended:
		case <-time.After(10 * time.Second):
			cmd.Process.Kill()
			<-ended
		}
		for range 20 { // its children may still be writing
			if os.RemoveAll(dir) == nil {
				return
			}
			time.Sleep(100 * time.Millisecond)
		}
	})
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		port, err := os.ReadFile(filepath.Join(dir, "DevToolsActivePort"))
		if first, _, ok := strings.Cut(string(port), "\n"); err == nil && ok {
			b.address = "127.0.0.1:" + first
			return b
		}
		select {
		case err := <-ended:
			ended <- err
			t.Fatalf("Chromium ended: %v\n%s", err, said.String())
		default:
		}
	}
	t.Fatal("Chromium does not start")
	return nil
}

// quit asks the browser to end by itself.
func (b *browser) quit() {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	resp, err := http.Get("http://" + b.address + "/json/version")
	if err != nil {
		return
	}
	defer resp.Body.Close()
	var version struct{ WebSocketDebuggerURL string }
	if json.NewDecoder(resp.Body).Decode(&version) != nil {
		return
	}
	conn, _, err := websocket.Dial(ctx, version.WebSocketDebuggerURL, nil)
	if err != nil {
		return
	}
	defer conn.CloseNow()
	conn.Write(ctx, websocket.MessageText, []byte(`{"id":1,"method":"Browser.close"}`))
	conn.Read(ctx)
}

// tab is one page of the browser, over the DevTools protocol.
type tab struct {
	conn *websocket.Conn

	mu      sync.Mutex
	last    int
	replies map[int]chan json.RawMessage
	apps    map[string]int // the newest script context of an origin
	entries []entry
	news    chan struct{} // holds one
}

// entry is what the browser has to say of a page: a violation of its policy, a failed
// request, an error of its script.
type entry struct{ level, text, url string }

func (b *browser) open(t *testing.T, address string) *tab {
	t.Helper()
	req, err := http.NewRequest("PUT", "http://"+b.address+"/json/new?about:blank", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var made struct{ WebSocketDebuggerURL string }
	if err := json.NewDecoder(resp.Body).Decode(&made); err != nil {
		t.Fatal(err)
	}
	conn, _, err := websocket.Dial(t.Context(), made.WebSocketDebuggerURL, nil)
	if err != nil {
		t.Fatal(err)
	}
	conn.SetReadLimit(16 << 20)
	tb := &tab{conn: conn, replies: map[int]chan json.RawMessage{}, apps: map[string]int{}, news: make(chan struct{}, 1)}
	done := make(chan struct{})
	go func() {
		defer close(done)
		tb.read()
	}()
	t.Cleanup(func() { conn.CloseNow(); <-done })
	tb.call(t, "Runtime.enable", nil)
	tb.call(t, "Log.enable", nil)
	tb.call(t, "Page.enable", nil)
	tb.call(t, "Page.navigate", map[string]any{"url": address})
	return tb
}

func (tb *tab) read() {
	for {
		_, body, err := tb.conn.Read(context.Background())
		if err != nil {
			return
		}
		var m struct {
			ID     int
			Result json.RawMessage
			Error  json.RawMessage
			Method string
			Params struct {
				Context struct {
					ID     int
					Origin string
				}
				Entry            struct{ Level, Text, URL string }
				ExceptionDetails struct{ Text, URL string }
			}
		}
		if json.Unmarshal(body, &m) != nil {
			continue
		}
		tb.mu.Lock()
		switch {
		case m.ID != 0:
			if m.Error != nil {
				m.Result = nil
			}
			tb.replies[m.ID] <- m.Result
		case m.Method == "Runtime.executionContextCreated":
			tb.apps[m.Params.Context.Origin] = m.Params.Context.ID
		case m.Method == "Log.entryAdded":
			e := m.Params.Entry
			tb.entries = append(tb.entries, entry{e.Level, e.Text, e.URL})
		case m.Method == "Runtime.exceptionThrown":
			e := m.Params.ExceptionDetails
			tb.entries = append(tb.entries, entry{"exception", e.Text, e.URL})
		}
		tb.mu.Unlock()
		select {
		case tb.news <- struct{}{}:
		default:
		}
	}
}

func (tb *tab) call(t *testing.T, method string, params map[string]any) json.RawMessage {
	t.Helper()
	tb.mu.Lock()
	tb.last++
	id, reply := tb.last, make(chan json.RawMessage, 1)
	tb.replies[id] = reply
	tb.mu.Unlock()
	b, err := json.Marshal(map[string]any{"id": id, "method": method, "params": params})
	if err != nil {
		t.Fatal(err)
	}
	if err := tb.conn.Write(t.Context(), websocket.MessageText, b); err != nil {
		t.Fatal(err)
	}
	select {
	case result := <-reply:
		return result
	case <-time.After(30 * time.Second):
		t.Fatalf("no answer to %s", method)
		return nil
	}
}

// evaluate runs an expression in the page, or in another script context of it.
func (tb *tab) evaluate(t *testing.T, expression string, where int) string {
	t.Helper()
	params := map[string]any{"expression": expression, "returnByValue": true}
	if where != 0 {
		params["contextId"] = where
	}
	var r struct {
		Result           struct{ Value any }
		ExceptionDetails *struct{ Text string }
	}
	if result := tb.call(t, "Runtime.evaluate", params); result != nil {
		if err := json.Unmarshal(result, &r); err != nil {
			t.Fatal(err)
		}
	}
	if r.ExceptionDetails != nil {
		t.Fatalf("%s: %s", expression, r.ExceptionDetails.Text)
	}
	text, _ := r.Result.Value.(string)
	return text
}

// inApp runs an expression in the frame of an origin.
func (tb *tab) inApp(t *testing.T, origin, expression string) string {
	t.Helper()
	tb.mu.Lock()
	where := tb.apps[origin]
	tb.mu.Unlock()
	if where == 0 {
		t.Fatalf("there is no frame of %s", origin)
	}
	return tb.evaluate(t, expression, where)
}

// trouble lists what the browser says of an origin's pages, but for the answers that the
// bridge gives on purpose: a page that comes while another is open is told so.
func (tb *tab) trouble(origin string) []string {
	tb.mu.Lock()
	defer tb.mu.Unlock()
	var all []string
	for _, e := range tb.entries {
		conflict := strings.HasSuffix(e.url, "/v1/hello") && strings.Contains(e.text, "409")
		if (e.level == "error" || e.level == "exception") && !conflict && (strings.HasPrefix(e.url, origin) || strings.Contains(e.text, "Content Security Policy")) {
			all = append(all, e.level+": "+e.text+" ("+e.url+")")
		}
	}
	return all
}

// waitFor waits until the browser says something that holds text.
func (tb *tab) waitFor(t *testing.T, text string) {
	t.Helper()
	late := time.After(30 * time.Second)
	for {
		tb.mu.Lock()
		for _, e := range tb.entries {
			if strings.Contains(e.text, text) {
				tb.mu.Unlock()
				return
			}
		}
		tb.mu.Unlock()
		select {
		case <-tb.news:
		case <-late:
			t.Fatalf("the browser says nothing of %s: %q", text, tb.entries)
		}
	}
}
