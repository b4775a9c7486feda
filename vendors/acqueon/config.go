package acqueon

import (
	"maps"
	"net/http"
	"net/textproto"
	"net/url"
	"slices"
	"strings"

	"expunge/vendors"
)

// Kind is what a program lists to speak Acqueon LCM.
var Kind = vendors.Kind{Name: kindName, New: func() vendors.Config { return newConfig() }}

const kindName = "acqueon"

// Config is what stands below a vendor of kind acqueon.
type Config struct {
	vendors.Common `yaml:",inline"`

	Transport string                    `yaml:"transport"` // http
	URL       string                    `yaml:"url"`       // where request messages are posted
	Headers   map[string]vendors.Secret `yaml:"headers"`   // further headers for it, such as Authorization
	AgentID   string                    `yaml:"agent_id"`  // who raises requests, where the row names nobody
	Source    string                    `yaml:"source"`    // the name of our application in the messages
	Dialect   string                    `yaml:"dialect"`   // where the payload stands: sample or table

	// ResubmitUncertain lets a request whose outcome is unknown be raised again. It can
	// make a second ticket for the admins.
	ResubmitUncertain bool `yaml:"resubmit_uncertain"`
}

func newConfig() *Config {
	c := &Config{
		Common:    vendors.DefaultCommon(kindName),
		Transport: "http",
		Source:    "expunge",
		Dialect:   dialectSample,
	}
	c.Rate = vendors.Rate{PerSecond: 1}
	c.Concurrency = 1
	return c
}

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
	case c.Transport != "http":
		return bad("transport", "must be http", "")
	case c.URL == "" && c.BaseURL == "":
		return bad("url", "is missing", "give the address that takes request messages; the vendor documents none")
	case c.Dialect != dialectSample && c.Dialect != dialectTable:
		return bad("dialect", "must be sample or table", "")
	case !clean(c.Source) || c.Source == "":
		return bad("source", "must be one line of text", "")
	case !clean(c.AgentID):
		return bad("agent_id", "must be one line of text", "")
	}
	for _, name := range slices.Sorted(maps.Keys(c.Headers)) {
		value := c.Headers[name].Reveal()
		switch {
		case !isHeaderName(name):
			return bad("headers", "holds a name that is none", "a header's name is letters, digits and hyphens")
		case slices.Contains(ownHeaders, textproto.CanonicalMIMEHeaderKey(name)):
			return bad("headers."+name, "cannot be set", "")
		case value == "" || value != strings.TrimSpace(value) || !isHeaderValue(value):
			return bad("headers."+name, "is empty or holds characters that cannot stand in a header", "look for a line end")
		}
	}
	_, err := c.place()
	return err
}

func isHeaderName(name string) bool {
	return name != "" && strings.Trim(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_") == ""
}

func isHeaderValue(value string) bool {
	return !strings.ContainsFunc(value, func(r rune) bool { return r < ' ' || r >= 0x7f })
}

// place is where messages are posted. base_url replaces scheme, host and port of url.
func (c *Config) place() (*url.URL, error) {
	if c.URL == "" {
		return vendors.HTTPBase("base_url", c.BaseURL)
	}
	u, err := vendors.HTTPBase("url", c.URL)
	if err != nil || c.BaseURL == "" {
		return u, err
	}
	base, err := vendors.HTTPBase("base_url", c.BaseURL)
	if err != nil {
		return nil, err
	}
	return base.JoinPath(u.Path), nil
}

// Open implements vendors.Config.
func (c *Config) Open(o vendors.Options) (vendors.Vendor, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	place, err := c.place()
	if err != nil {
		return nil, err
	}
	header := http.Header{"Content-Type": {"application/json"}, "Accept": {"application/json"}}
	for name, value := range c.Headers {
		header.Set(name, value.Reveal())
	}
	wire := &httpWire{name: o.Name, place: place, header: header, transport: o.Transport}
	return &Vendor{name: o.Name, config: *c, wire: wire, turn: make(chan struct{}, 1)}, nil
}
