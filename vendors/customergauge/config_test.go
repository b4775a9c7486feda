package customergauge

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v4"

	"expunge/vendors"
)

// TestConfigYAML: the documented keys reach the config, and what is not given has the
// documented default.
func TestConfigYAML(t *testing.T) {
	c := newConfig()
	err := yaml.Unmarshal([]byte(`
kind: customergauge
region: eu
client_id: id
client_secret: s3cret-value
rate: 300/m
timeout: 10s
verify_after: 30s
verify_patience: 1d
max_records: 3
segments_agreed: true
telephone_forms: [as_given, digits]
`), c)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Validate(); err != nil {
		t.Fatal(err)
	}
	v := open(t, c, nil).vendor
	tr := v.Traits()
	if c.Rate.PerSecond != 5 || c.Concurrency != 4 || c.MaxRecords != 3 || len(c.TelephoneForms) != 2 ||
		tr.VerifyAfter != 30*time.Second || tr.VerifyPatience != 24*time.Hour || c.AuthScheme != "api_key" {
		t.Errorf("config was not read as written: %+v", c)
	}
	if got := fmt.Sprintf("%v %+v %#v", c, c, *c); strings.Contains(got, "s3cret-value") {
		t.Error("a printed config shows the client secret")
	}
}

// TestConfigProblems: each mistake names its key, so that the message can point at it, and
// quotes no secret.
func TestConfigProblems(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(*Config)
		key    string
	}{
		{"no region", func(c *Config) { c.Region, c.BaseURL = "", "" }, "region"},
		{"unknown region", func(c *Config) { c.Region = "ap" }, "region"},
		{"unknown api", func(c *Config) { c.API = "v5" }, "api"},
		{"no credentials", func(c *Config) { c.ClientID, c.ClientSecret = "", vendors.Secret{} }, "client_id"},
		{"no client id", func(c *Config) { c.ClientID = "" }, "client_id"},
		{"no client secret", func(c *Config) { c.ClientSecret = vendors.Secret{} }, "client_secret"},
		{"both credentials", func(c *Config) { c.APIKey = vendors.NewSecret("k") }, "api_key"},
		{"an api key with a line end", func(c *Config) { onlyKey(c, secret+"\n") }, "api_key"},
		{"a scheme of two words", func(c *Config) { onlyKey(c, "k"); c.AuthScheme = "api key" }, "auth_scheme"},
		{"a token_url beside an api key", func(c *Config) { onlyKey(c, "k"); c.TokenURL = "https://id.example.com/" }, "token_url"},
		{"plain http", func(c *Config) { c.BaseURL = "http://api.example.com" }, "base_url"},
		{"plain http for the token", func(c *Config) { c.TokenURL = "http://id.example.com/t" }, "token_url"},
		{"a WebSocket", func(c *Config) { c.BaseURL = "wss://api.example.com" }, "base_url"},
		{"no records", func(c *Config) { c.MaxRecords = 0 }, "max_records"},
		{"negative patience", func(c *Config) { c.VerifyPatience = -1 }, "verify_patience"},
		{"negative wait", func(c *Config) { c.VerifyAfter = -1 }, "verify_after"},
		{"no forms", func(c *Config) { c.TelephoneForms = nil }, "telephone_forms"},
		{"unknown form", func(c *Config) { c.TelephoneForms = []string{"e.164"} }, "telephone_forms"},
		{"no word for a telephone alone", func(c *Config) { c.TelephoneAlone = "" }, "telephone_alone"},
		{"another word for a telephone alone", func(c *Config) { c.TelephoneAlone = "yes" }, "telephone_alone"},
		{"a control that is none", func(c *Config) { c.Control.Email = "control" }, "control.email"},
		{"two controls", func(c *Config) { c.Control = vendors.Control{Email: "c@example.com", Telephone: "+12025550177"} }, "control"},
		{"a form twice", func(c *Config) { c.TelephoneForms = []string{e164, e164} }, "telephone_forms"},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := testConfig("http://127.0.0.1:1")
			test.change(c)
			err := c.Validate()
			var e *vendors.KeyError
			if !errors.As(err, &e) || e.Key != test.key {
				t.Fatalf("%v, want a problem with %s", err, test.key)
			}
			if strings.Contains(e.Error()+e.Hint, secret) {
				t.Error("the message quotes a secret")
			}
			if _, err := c.Open(vendors.Options{}); !errors.As(err, &e) {
				t.Error("Open takes a config that is not valid")
			}
		})
	}
}

// TestDefaults: what a config that says nothing more means.
func TestDefaults(t *testing.T) {
	c := newConfig()
	if time.Duration(c.VerifyPatience) != 24*time.Hour || c.TelephoneAlone != "hold" || !c.Control.IsZero() {
		t.Errorf("%v %s %v", c.VerifyPatience, c.TelephoneAlone, c.Control)
	}
}

// TestPlace: an account is told from another by host and client; credentials are no part of
// it, and where they alone tell accounts apart it says so.
func TestPlace(t *testing.T) {
	place := func(change func(*Config)) (string, bool) {
		c := testConfig("")
		c.Region, c.ClientID = "eu", "client-1"
		change(c)
		tr := open(t, c, nil).vendor.Traits()
		return tr.Place, tr.SharedPlace
	}
	for _, test := range []struct {
		change func(*Config)
		want   string
		shared bool
	}{
		{func(*Config) {}, "customergauge api.eu.customergauge.com client-1", false},
		{func(c *Config) { c.Region = "us" }, "customergauge api.us.customergauge.com client-1", false},
		{func(c *Config) { c.ClientID = "client-2" }, "customergauge api.eu.customergauge.com client-2", false},
		{func(c *Config) { c.API = apiV6 }, "customergauge api.eu.customergauge.com client-1", false},
		{func(c *Config) { c.BaseURL = "https://GW.example.com:443/cg/" }, "customergauge gw.example.com/cg client-1", false},
		{func(c *Config) { onlyKey(c, secret) }, "customergauge api.eu.customergauge.com", true},
	} {
		if got, shared := place(test.change); got != test.want || shared != test.shared {
			t.Errorf("%q, %v, want %q, %v", got, shared, test.want, test.shared)
		}
	}
}

// TestWordsOnTelephones: the report's reader learns that a telephone's "nothing held" is the
// weaker one.
func TestWordsOnTelephones(t *testing.T) {
	tr := open(t, testConfig("http://127.0.0.1:1"), nil).vendor.Traits()
	if !strings.Contains(tr.HowKnown, "Of a telephone this says less") || tr.Act != vendors.Anonymize {
		t.Errorf("%q, %s", tr.HowKnown, tr.Act)
	}
}

func onlyKey(c *Config, key string) {
	c.ClientID, c.ClientSecret, c.APIKey = "", vendors.Secret{}, vendors.NewSecret(key)
}

// TestSegments: a reader of the report must learn whether segment fields went or stayed.
func TestSegments(t *testing.T) {
	about := func(texts []string) bool {
		return slices.ContainsFunc(texts, func(s string) bool { return strings.Contains(s, "segment") })
	}
	for _, agreed := range []bool{true, false} {
		c := testConfig("http://127.0.0.1:1")
		c.SegmentsAgreed = agreed
		tr := open(t, c, nil).vendor.Traits()
		if about(tr.Anonymizes) != agreed || about(tr.Keeps) == agreed {
			t.Errorf("agreed %v: anonymizes %q, keeps %q", agreed, tr.Anonymizes, tr.Keeps)
		}
	}
}
