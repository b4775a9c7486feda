package customergauge

import (
	"net/url"
	"slices"
	"strings"
	"time"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"

	"expunge/vendors"
	"expunge/vendors/auth"
)

// Kind is what a program lists to speak CustomerGauge.
var Kind = vendors.Kind{Name: kindName, New: func() vendors.Config { return newConfig() }}

const kindName = "customergauge"

// The values of the key telephone_alone.
const (
	accept = "accept"
	held   = "hold"
)

// The values of the key api.
const (
	apiV41 = "v4.1"
	apiV6  = "v6"
)

var regions = []string{"eu", "us", "au"}

// Config is what stands below a vendor of kind customergauge.
type Config struct {
	vendors.Common `yaml:",inline"`

	Region string `yaml:"region"` // eu, us or au; subjects of another region are skipped
	API    string `yaml:"api"`    // which API anonymizes: v4.1 or v6; the preview is v4.1's in both

	ClientID     string         `yaml:"client_id"` // OAuth2 client credentials ...
	ClientSecret vendors.Secret `yaml:"client_secret"`
	TokenURL     string         `yaml:"token_url"`   // replaces the whole address of the token endpoint
	APIKey       vendors.Secret `yaml:"api_key"`     // ... or the older API key
	AuthScheme   string         `yaml:"auth_scheme"` // the word before the API key; empty: the bare key

	VerifyAfter    vendors.Duration `yaml:"verify_after"`    // from the anonymize call to the first look
	VerifyPatience vendors.Duration `yaml:"verify_patience"` // still there after this long: a person must look
	MaxRecords     int              `yaml:"max_records"`     // more matching records than this are held
	SegmentsAgreed bool             `yaml:"segments_agreed"` // the segment fields are agreed with the vendor

	// Control is a record of the company's own in this account, which shows that "nothing
	// held" is an answer of this account.
	Control vendors.Control `yaml:"control"`

	// TelephoneAlone says what becomes of a record that was found by telephone and has no
	// email: accept it as the subject's, or hold the task. Telephones are shared.
	TelephoneAlone string `yaml:"telephone_alone"`

	// TelephoneForms are the ways of writing in which the vendor may hold a telephone:
	// as_given, e164, national, digits. Each is looked up on its own.
	TelephoneForms []string `yaml:"telephone_forms"`
}

func newConfig() *Config {
	return &Config{
		Common:         vendors.DefaultCommon(kindName),
		API:            apiV41,
		AuthScheme:     "api_key",
		VerifyPatience: vendors.Duration(24 * time.Hour), // nothing says that the call acts at once
		MaxRecords:     25,
		TelephoneAlone: held,
		TelephoneForms: []string{asGiven, e164, digits},
	}
}

// Validate implements vendors.Config.
func (c *Config) Validate() error {
	bad := func(key, problem, hint string) error {
		return &vendors.KeyError{Key: key, Problem: problem, Hint: hint}
	}
	switch {
	case c.Region == "" && c.BaseURL == "":
		return bad("region", "is missing", "give eu, us or au: where your CustomerGauge account lives")
	case c.Region != "" && !slices.Contains(regions, c.Region):
		return bad("region", "must be eu, us or au", "")
	case c.API != apiV41 && c.API != apiV6:
		return bad("api", "must be v4.1 or v6", "")
	}
	if err := c.validateCredentials(bad); err != nil {
		return err
	}
	switch {
	case c.VerifyAfter < 0:
		return bad("verify_after", "must not be negative", "")
	case c.VerifyPatience < 0:
		return bad("verify_patience", "must not be negative", "")
	case c.MaxRecords < 1:
		return bad("max_records", "must be at least 1", "")
	case c.TelephoneAlone != accept && c.TelephoneAlone != held:
		return bad("telephone_alone", "must be accept or hold", "accept takes a record that has the telephone and no email for the subject's")
	case len(c.TelephoneForms) == 0:
		return bad("telephone_forms", "must name at least one form", "the default is [as_given, e164, digits]")
	}
	for i, name := range c.TelephoneForms {
		if !slices.Contains(formNames, name) {
			return bad("telephone_forms", "may hold only "+strings.Join(formNames, ", "), "")
		}
		if slices.Contains(c.TelephoneForms[:i], name) {
			return bad("telephone_forms", "names a form twice", "")
		}
	}
	if _, _, err := c.places(); err != nil {
		return err
	}
	return c.Control.Validate()
}

func (c *Config) validateCredentials(bad func(key, problem, hint string) error) error {
	oauth := c.ClientID != "" || !c.ClientSecret.IsZero()
	switch {
	case oauth && !c.APIKey.IsZero():
		return bad("api_key", "cannot stand beside client_id and client_secret", "give the one or the other")
	case !oauth && c.APIKey.IsZero():
		return bad("client_id", "is missing", "create a Connected App in CustomerGauge and give its client_id and client_secret, or give an api_key")
	case oauth && c.ClientID == "":
		return bad("client_id", "is missing", "it belongs to client_secret")
	case oauth && c.ClientSecret.IsZero():
		return bad("client_secret", "is missing", "it belongs to client_id")
	case !c.APIKey.IsZero() && !vendors.PlainToken(c.APIKey.Reveal(), 4096):
		return bad("api_key", "holds characters that cannot stand in a header", "look for a line end or a space")
	case c.AuthScheme != "" && !vendors.PlainToken(c.AuthScheme, 64):
		return bad("auth_scheme", "must be one word", "")
	case !c.APIKey.IsZero() && c.TokenURL != "":
		return bad("token_url", "has no use with an api_key", "")
	}
	return nil
}

// places are the API's base and the token endpoint. base_url replaces scheme, host and
// port of both, so that credentials meant for a test server never travel to the vendor.
func (c *Config) places() (api, token *url.URL, err error) {
	api = &url.URL{Scheme: "https", Host: "api." + c.Region + ".customergauge.com"}
	token = &url.URL{Scheme: "https", Host: "auth." + c.Region + ".customergauge.com"}
	if c.BaseURL != "" {
		if api, err = vendors.HTTPBase("base_url", c.BaseURL); err != nil {
			return nil, nil, err
		}
		token = api
	}
	token = token.JoinPath("/oauth2/token")
	if c.TokenURL != "" {
		if token, err = vendors.HTTPBase("token_url", c.TokenURL); err != nil {
			return nil, nil, err
		}
	}
	return api, token, nil
}

// Open implements vendors.Config.
func (c *Config) Open(o vendors.Options) (vendors.Vendor, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	api, tokenURL, err := c.places()
	if err != nil {
		return nil, err
	}
	now := o.Now
	if now == nil {
		now = time.Now
	}
	v := &Vendor{
		name: o.Name, config: *c, transport: o.Transport, defaultRegion: o.DefaultRegion,
		place:   vendors.PlaceOf(kindName, api, c.ClientID),
		preview: api.JoinPath("/v4.1/anonymize.json"),
	}
	v.anonymize = v.preview
	if c.API == apiV6 {
		v.anonymize = api.JoinPath("/v6/system-admin/data-admin/contacts/anonymize")
	}
	if c.APIKey.IsZero() {
		v.auth = auth.NewSource(o.Name, now, auth.ClientCredentials(o.Name, clientcredentials.Config{
			ClientID: c.ClientID, ClientSecret: c.ClientSecret.Reveal(), TokenURL: tokenURL.String(), AuthStyle: oauth2.AuthStyleInParams,
		}, o.Transport.HTTPClient("token")))
	} else {
		v.auth = auth.Fixed{Secret: vendors.NewSecret(strings.TrimSpace(c.AuthScheme + " " + c.APIKey.Reveal()))}
	}
	return v, nil
}
