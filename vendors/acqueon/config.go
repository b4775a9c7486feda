package acqueon

import (
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/textproto"
	"net/url"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"expunge/vendors"
)

// Kind is what a program lists to speak Acqueon LCM.
var Kind = vendors.Kind{Name: kindName, New: func() vendors.Config { return newConfig() }}

const kindName = "acqueon"

// Config is what stands below a vendor of kind acqueon.
type Config struct {
	vendors.Common `yaml:",inline"`

	Transport string                    `yaml:"transport"` // http, websocket or bridge
	URL       string                    `yaml:"url"`       // where request messages go
	Headers   map[string]vendors.Secret `yaml:"headers"`   // further headers for it, such as Authorization or Origin
	AgentID   string                    `yaml:"agent_id"`  // who raises requests, where the row names nobody
	AgentIDs  []string                  `yaml:"agent_ids"` // further agents, who do so in turn
	Source    string                    `yaml:"source"`    // the name of our application in the messages
	Dialect   string                    `yaml:"dialect"`   // where the payload stands: both, sample or table

	// For transport bridge.
	WorkspaceOrigin string           `yaml:"workspace_origin"` // of the agents' workspace, which embeds the page
	BridgeListen    string           `yaml:"bridge_listen"`    // the loopback address of the page; port 0: any that is free
	BridgeDir       string           `yaml:"bridge_dir"`       // where the page's address is kept while a run works
	BridgeWait      vendors.Duration `yaml:"bridge_wait"`      // how long a page is waited for
	BridgeRegister  string           `yaml:"bridge_register"`  // topic/subtopic of the app's registration on the bus; "": none

	// ResubmitUncertain lets a request whose outcome is unknown be raised again. It can
	// make a second ticket for the admins.
	ResubmitUncertain bool `yaml:"resubmit_uncertain"`
}

func newConfig() *Config {
	c := &Config{
		Common:    vendors.DefaultCommon(kindName),
		Transport: transportHTTP,
		Source:    "expunge",
		Dialect:   dialectBoth,

		BridgeListen:   "127.0.0.1:0",
		BridgeDir:      ".",
		BridgeWait:     vendors.Duration(2 * time.Minute),
		BridgeRegister: "App/Register",
	}
	c.Rate = vendors.Rate{PerSecond: 1}
	c.Concurrency = 1
	return c
}

// The values of the key transport.
const (
	transportHTTP      = "http"
	transportWebSocket = "websocket"
	transportBridge    = "bridge"
)

// ownHeaders are set by this package or by net/http and cannot be configured.
var ownHeaders = []string{"Accept", "Connection", "Content-Length", "Content-Type", "Host", "Transfer-Encoding", "Upgrade"}

// Validate implements vendors.Config. It sets the concurrency to 1, whatever was
// configured: the response carries no id that would tell whose it is (VENDORS.md).
func (c *Config) Validate() error {
	bad := func(key, problem, hint string) error {
		return &vendors.KeyError{Key: key, Problem: problem, Hint: hint}
	}
	c.Concurrency = 1
	switch {
	case c.Transport == "":
		return bad("transport", "is missing", "the default is http")
	case c.Transport != transportHTTP && c.Transport != transportWebSocket && c.Transport != transportBridge:
		return bad("transport", "must be http, websocket or bridge", "")
	case c.Transport != transportBridge && c.URL == "" && c.BaseURL == "":
		return bad("url", "is missing", "give the address that takes request messages; the vendor documents none")
	case !slices.Contains(dialects, c.Dialect):
		return bad("dialect", "must be both, sample or table", "")
	case !clean(c.Source) || c.Source == "":
		return bad("source", "must be one line of text", "")
	case !clean(c.AgentID):
		return bad("agent_id", "must be one line of text", "")
	}
	for _, id := range c.AgentIDs {
		if id == "" || !clean(id) {
			return bad("agent_ids", "holds one that is empty or not one line of text", "")
		}
	}
	for _, name := range slices.Sorted(maps.Keys(c.Headers)) {
		value := c.Headers[name].Reveal()
		switch {
		case !isHeaderName(name):
			return bad("headers", "holds a name that is none", "a header's name is letters, digits and hyphens")
		case slices.Contains(ownHeaders, textproto.CanonicalMIMEHeaderKey(name)), strings.HasPrefix(strings.ToLower(name), "sec-websocket-"):
			return bad("headers."+name, "cannot be set", "")
		case value == "" || value != strings.TrimSpace(value) || !isHeaderValue(value):
			return bad("headers."+name, "is empty or holds characters that cannot stand in a header", "look for a line end")
		}
	}
	if c.Transport == transportBridge {
		return c.validateBridge()
	}
	_, err := c.place()
	return err
}

func (c *Config) validateBridge() error {
	bad := func(key, problem, hint string) error {
		return &vendors.KeyError{Key: key, Problem: problem, Hint: hint}
	}
	const elsewhere = "it belongs to the transports http and websocket"
	host, port, err := net.SplitHostPort(c.BridgeListen)
	topic, subtopic, two := strings.Cut(c.BridgeRegister, "/")
	switch {
	case c.URL != "":
		return bad("url", "has no use with transport: bridge", elsewhere)
	case c.BaseURL != "":
		return bad("base_url", "has no use with transport: bridge", elsewhere)
	case len(c.Headers) > 0:
		return bad("headers", "have no use with transport: bridge", elsewhere)
	case c.WorkspaceOrigin == "":
		return bad("workspace_origin", "is missing", "give scheme and host of the agents' workspace, such as https://workspace.example.com")
	case !isOrigin(c.WorkspaceOrigin):
		return bad("workspace_origin", "is not an origin such as https://workspace.example.com",
			"scheme and host in small letters, a port only where it is not the usual one, and nothing behind")
	case err != nil || host == "localhost" || !vendors.IsLoopback(host) || !isPort(port):
		return bad("bridge_listen", "must be a loopback address such as 127.0.0.1:0 or 127.0.0.1:8765", "")
	case c.BridgeDir == "":
		return bad("bridge_dir", "must not be empty", "")
	case c.BridgeWait <= 0:
		return bad("bridge_wait", "must be longer than nothing", "")
	case c.BridgeRegister != "" && (!two || topic == "" || subtopic == "" || !clean(c.BridgeRegister)):
		return bad("bridge_register", "must be a topic and a subtopic such as App/Register", "")
	}
	return nil
}

// isOrigin reports whether text is an origin as browsers write it. It stands in a header
// and is compared with what a browser says, so it must be exact.
func isOrigin(text string) bool {
	u, err := vendors.ParseBaseURL(text)
	if err != nil || strings.Trim(text, "abcdefghijklmnopqrstuvwxyz0123456789.-:/[]") != "" {
		return false
	}
	usual := map[string]string{"https": "443", "http": "80"}[u.Scheme]
	return usual != "" && text == u.Scheme+"://"+u.Host && u.Port() != usual && (u.Port() == "" || isPort(u.Port()))
}

func isPort(text string) bool {
	_, err := strconv.ParseUint(text, 10, 16)
	return err == nil
}

func isHeaderName(name string) bool {
	return name != "" && strings.Trim(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_") == ""
}

func isHeaderValue(value string) bool {
	return !strings.ContainsFunc(value, func(r rune) bool { return r < ' ' || r >= 0x7f })
}

// place is where messages go. base_url replaces scheme, host and port of url.
func (c *Config) place() (*url.URL, error) {
	read := vendors.HTTPBase
	if c.Transport == transportWebSocket {
		read = socketBase
	}
	if c.URL == "" {
		return read("base_url", c.BaseURL)
	}
	u, err := read("url", c.URL)
	if err != nil || c.BaseURL == "" {
		return u, err
	}
	base, err := read("base_url", c.BaseURL)
	if err != nil {
		return nil, err
	}
	return base.JoinPath(u.Path), nil
}

// socketBase reads a WebSocket URL. A handshake is an HTTP request, and base_url may be
// written as for HTTP.
func socketBase(key, text string) (*url.URL, error) {
	u, err := vendors.ParseBaseURL(text)
	if err != nil {
		return nil, &vendors.KeyError{Key: key, Problem: strings.Replace(err.Error(), "must be https (plain http", "must be wss (plain ws", 1)}
	}
	switch {
	case u.Scheme == "wss" || u.Scheme == "ws":
	case key == "base_url":
		u.Scheme = map[string]string{"https": "wss", "http": "ws"}[u.Scheme]
	default:
		return nil, &vendors.KeyError{Key: key, Problem: "must be a wss URL", Hint: "https URLs belong to transport: http"}
	}
	return u, nil
}

// pool lists the configured agents, each once.
func (c *Config) pool() []string {
	var ids []string
	for _, id := range append([]string{c.AgentID}, c.AgentIDs...) {
		if id != "" && !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	return ids
}

// Open implements vendors.Config.
func (c *Config) Open(o vendors.Options) (vendors.Vendor, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	v := &Vendor{name: o.Name, config: *c, agents: agents{ids: c.pool()}, turn: make(chan struct{}, 1)}
	log := o.Log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	log = log.With("vendor", o.Name)
	timeout := time.Duration(c.Timeout)
	now := o.Now
	if now == nil {
		now = time.Now
	}
	if c.Transport != transportHTTP {
		v.box = newMailbox(log, timeout, now)
	}
	if c.Transport == transportBridge {
		origin, err := url.Parse(c.WorkspaceOrigin)
		if err != nil {
			return nil, &vendors.KeyError{Key: "workspace_origin", Problem: "is not an origin"} // Validate has found it
		}
		b := &bridge{
			name: o.Name, source: c.Source, register: c.BridgeRegister, origin: c.WorkspaceOrigin, transport: o.Transport,
			timeout: timeout, patience: time.Duration(c.BridgeWait), box: v.box, log: log, tell: o.Tell,
		}
		v.wire = b
		v.place = vendors.PlaceOf(kindName, origin, "")
		if o.Tell == nil {
			return v, nil // it serves nobody
		}
		dir, err := filepath.Abs(c.BridgeDir) // a log is read elsewhere
		if err != nil {
			return nil, &vendors.KeyError{Key: "bridge_dir", Problem: "is no folder: " + err.Error()}
		}
		b.file = filepath.Join(dir, o.Name+"-bridge.url")
		if err := b.listen(c.BridgeListen); err != nil {
			return nil, err
		}
		return v, nil
	}
	place, err := c.place()
	if err != nil {
		return nil, err
	}
	v.place = vendors.PlaceOf(kindName, place, "")
	header := http.Header{}
	for name, value := range c.Headers {
		header.Set(name, value.Reveal())
	}
	if c.Transport == transportWebSocket {
		v.wire = &socketWire{name: o.Name, place: place, header: header, transport: o.Transport,
			timeout: timeout, box: v.box}
		return v, nil
	}
	header.Set("Content-Type", "application/json")
	header.Set("Accept", "application/json")
	v.wire = &httpWire{name: o.Name, place: place, header: header, transport: o.Transport}
	return v, nil
}
