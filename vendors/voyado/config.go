package voyado

import (
	"io"
	"net/url"
	"regexp"
	"strings"
	"time"

	"filippo.io/age"

	"expunge/vendors"
)

// Kind is what a program lists to speak Voyado Elevate.
var Kind = vendors.Kind{Name: kindName, New: func() vendors.Config { return newConfig() }}

const kindName = "voyado"

// apiV2 is the value of the key api for Elevate 3. Those of Elevate 4 are admin/v3, admin/v4
// and so on: a version lives for 18 months (VENDORS.md, later docs).
const apiV2 = "v2"

var adminAPI = regexp.MustCompile(`^admin/v[1-9][0-9]?$`)

// hosts are the values of the key host: what follows the cluster in a host's name. Both are
// in use for Elevate 4 (VENDORS.md).
var hosts = map[string]string{"apptus": ".api.esales.apptus.cloud", "elevate": ".elevate-api.cloud"}

// Ends of versions (VENDORS.md, later docs).
var (
	endOfV2 = time.Date(2024, 4, 30, 0, 0, 0, 0, time.UTC) // on Elevate 4
	endOfV3 = time.Date(2026, 12, 31, 0, 0, 0, 0, time.UTC)
)

// Config is what stands below a vendor of kind voyado.
type Config struct {
	vendors.Common `yaml:",inline"`

	API     string         `yaml:"api"`     // v2, or admin/v and a number
	Host    string         `yaml:"host"`    // apptus or elevate; "": by the api
	Cluster string         `yaml:"cluster"` // the cluster id, such as w0000000
	APIKey  vendors.Secret `yaml:"api_key"`

	ArchiveAfter vendors.Duration `yaml:"archive_after"` // from acceptance to the first poll
	ArchiveDays  int              `yaml:"archive_days"`  // the vendor's archiving: a job waits this many days
	PollEvery    vendors.Duration `yaml:"poll_every"`
	GiveUpAfter  vendors.Duration `yaml:"give_up_after"` // still not done: held; 0: never

	Export           vendors.ExportMode `yaml:"export"`            // false, true or required
	ExportDir        string             `yaml:"export_dir"`        // where exports are kept, encrypted
	ExportRecipients []string           `yaml:"export_recipients"` // age public keys that they are encrypted to
}

func newConfig() *Config {
	return &Config{
		Common:       vendors.DefaultCommon(kindName),
		API:          apiV2,
		ArchiveAfter: vendors.Duration(24 * time.Hour),
		ArchiveDays:  5,
		PollEvery:    vendors.Duration(6 * time.Hour),
		GiveUpAfter:  vendors.Duration(45 * 24 * time.Hour),
		ExportDir:    "exports",
	}
}

// clusterID is w and eight hexadecimal digits, in either case (VENDORS.md); the examples of
// DESIGN.md and of the template have seven. Nothing in it can lead to another host.
var clusterID = regexp.MustCompile(`^[wW][0-9a-fA-F]{7,8}$`)

// Validate implements vendors.Config.
func (c *Config) Validate() error {
	bad := func(key, problem, hint string) error {
		return &vendors.KeyError{Key: key, Problem: problem, Hint: hint}
	}
	switch {
	case c.API != apiV2 && !adminAPI.MatchString(c.API):
		return bad("api", "must be v2, or admin/v and a number such as admin/v4", "v2 is Elevate 3, admin/v4 is Elevate 4")
	case c.Host != "" && hosts[c.Host] == "":
		return bad("host", "must be apptus or elevate", "without it: apptus for v2, elevate for admin/v4 and the like")
	case c.Cluster == "" && c.BaseURL == "":
		return bad("cluster", "is missing", "give the id of your Elevate cluster, such as w0000000")
	case c.Cluster != "" && !clusterID.MatchString(c.Cluster):
		return bad("cluster", "is not a cluster id: w and eight hexadecimal digits", "give the id alone, without a host name; an address of another form goes into base_url")
	case c.APIKey.IsZero():
		return bad("api_key", "is missing", "give the private API key of the cluster")
	case !vendors.PlainToken(c.APIKey.Reveal(), 4096):
		return bad("api_key", "holds characters that cannot stand in a header", "look for a line end or a space")
	case c.ArchiveAfter <= 0:
		return bad("archive_after", "must be more than 0", "a job waits at least until the next day: 24h")
	case c.PollEvery <= 0:
		return bad("poll_every", "must be more than 0", "a job takes days: 6h")
	case c.GiveUpAfter < 0:
		return bad("give_up_after", "must not be negative", "")
	case c.ArchiveDays < 0 || c.ArchiveDays > 365:
		return bad("archive_days", "must be between 0 and 365", "")
	}
	if err := c.checkExport(); err != nil {
		return err
	}
	_, err := c.place()
	return err
}

// checkExport makes sure that an export could be encrypted: one that cannot be kept must
// not be asked for.
func (c *Config) checkExport() error {
	const key = "export_recipients"
	for _, r := range c.ExportRecipients {
		if strings.HasPrefix(strings.ToUpper(strings.TrimSpace(r)), "AGE-SECRET-KEY-") {
			return &vendors.KeyError{Key: key, Problem: "holds a secret key", Hint: "give the public key, which begins with age1; the secret one belongs to who opens the exports"}
		}
		// The library's own words could quote what was meant to be secret.
		if keys, err := age.ParseRecipients(strings.NewReader(r)); err != nil || len(keys) != 1 {
			return &vendors.KeyError{Key: key, Problem: "holds something that is no age public key", Hint: "`age-keygen` makes a pair of keys; the public one begins with age1"}
		}
	}
	switch {
	case c.Export == vendors.NoExport:
		return nil
	case c.ExportDir == "":
		return &vendors.KeyError{Key: "export_dir", Problem: "must not be empty"}
	case len(c.ExportRecipients) == 0:
		return &vendors.KeyError{Key: key, Problem: "is missing", Hint: "exports are kept encrypted or not at all: give the age public key of who may open them"}
	}
	keys, err := age.ParseRecipients(strings.NewReader(strings.Join(c.ExportRecipients, "\n")))
	if err == nil {
		_, err = age.Encrypt(io.Discard, keys...)
	}
	if err != nil {
		return &vendors.KeyError{Key: key, Problem: "names keys that cannot be used together", Hint: "use keys of one sort"}
	}
	return nil
}

// place is the address below which the calls are.
func (c *Config) place() (*url.URL, error) {
	host := c.Host
	switch {
	case host != "":
	case c.API == apiV2:
		host = "apptus"
	default:
		host = "elevate"
	}
	base := &url.URL{Scheme: "https", Host: c.Cluster + hosts[host]}
	if c.BaseURL != "" {
		var err error
		if base, err = vendors.HTTPBase("base_url", c.BaseURL); err != nil {
			return nil, err
		}
	}
	return base.JoinPath("/api", c.API, "/event-data"), nil
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
	now := o.Now
	if now == nil {
		now = time.Now
	}
	return &Vendor{name: o.Name, config: *c, place: place, transport: o.Transport, now: now}, nil
}
