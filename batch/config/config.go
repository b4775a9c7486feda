package config

import (
	"cmp"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/url"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/nyaruka/phonenumbers"
	"go.yaml.in/yaml/v4"

	"expunge/batch/intake"
	"expunge/store/ledger"
	"expunge/vendors"
	"expunge/vendors/strict"
)

// The two values of `approval`.
const (
	ApprovalAuto   = "auto"   // a previewed task is submitted
	ApprovalManual = "manual" // a previewed task is held until a person approves it
)

// Error is one problem of a config file.
type Error = strict.Error

// Problems returns every *Error in err, in order: what Load and Parse return is one or
// several of them joined.
func Problems(err error) []*Error { return strict.Problems(err) }

// Config is a config file that has been read, checked and completed with the defaults.
type Config struct {
	Path string `yaml:"-"` // the file, as it was named
	Dir  string `yaml:"-"` // its folder: paths in the file are relative to it, paths below include it

	Store            string            `yaml:"store"`             // the database
	KeyFile          string            `yaml:"key_file"`          // holds the key that seals the store; "" if KeyEnv is set
	KeyEnv           string            `yaml:"key_env"`           // name of the environment variable that holds that key
	Report           string            `yaml:"report"`            // where a run writes its report; "-" is standard output
	Deadline         Deadline          `yaml:"deadline"`          // from receipt to due date
	AtRisk           vendors.Duration  `yaml:"at_risk"`           // an open task is at_risk this long before it is due, at the least
	Approval         string            `yaml:"approval"`          // ApprovalAuto or ApprovalManual
	MaxSubjects      int               `yaml:"max_subjects"`      // a larger input file is refused unless told otherwise
	Columns          map[string]string `yaml:"columns"`           // our column name to the header that the input has for it
	IgnoreColumns    []string          `yaml:"ignore_columns"`    // headers of the input that mean nothing here
	Encoding         string            `yaml:"encoding"`          // of input files that do not show theirs
	DateFormat       intake.DateFormat `yaml:"date_format"`       // of dates in the input that are not ISO 8601's
	DefaultRegion    string            `yaml:"default_region"`    // ISO 3166 code for telephone numbers without a country, or ""
	Linger           time.Duration     `yaml:"linger"`            // a run waits for work that is due within this time
	UnconfirmedAfter vendors.Duration  `yaml:"unconfirmed_after"` // a ticket is reported when open for longer
	TrackAnswers     bool              `yaml:"track_answers"`     // a request is met when the person has been told
	Metrics          string            `yaml:"metrics"`           // where a run writes Prometheus metrics; "" is nowhere
	Notify           Notify            `yaml:"notify"`
	Log              Log               `yaml:"log"`
	Organisation     string            `yaml:"organisation"` // who the certificates are of

	Vendors  []Vendor `yaml:"-"` // by name
	Warnings []string `yaml:"-"` // what is allowed but unwise, with file and line
	SHA256   [32]byte `yaml:"-"` // of the file as it was read
}

// Notify holds the URLs that a run calls so that somebody notices when it does not run:
// at its start, and at its end, with the exit code and counts. "" is no call.
type Notify struct {
	Start   string `yaml:"start"`
	Success string `yaml:"success"`
	Failure string `yaml:"failure"`
	Style   string `yaml:"style"` // NotifyHealthchecks, or ""
}

// NotifyHealthchecks is the style of healthchecks.io and its likes: the exit code is a part of
// the URL, so that there is one for every end of a run.
const NotifyHealthchecks = "healthchecks"

// Log says what the store keeps of what was done, so that it can be shown and proved.
type Log struct {
	Marks     bool     `yaml:"marks"`     // a person can be found again by an identifier, until the purge
	Origin    string   `yaml:"origin"`    // the log's name; "": after the store
	HeadFile  string   `yaml:"head_file"` // where heads are appended to, away from this machine; "" is nowhere
	Timestamp string   `yaml:"timestamp"` // URL of an authority that stamps a head a day (RFC 3161); "": none
	Witnesses []string `yaml:"witnesses"` // who cosigns heads: the public key and the URL of each, with a space between
	Ping      bool     `yaml:"ping"`      // the newest head goes with the call of notify.success
}

// Vendor is one configured account.
type Vendor struct {
	Name   string // the user's name for it
	Line   int    // where it stands in the file
	Config vendors.Config
}

// Options are what a config is read with.
type Options struct {
	Kinds  []vendors.Kind                   // the kinds that this program speaks
	Getenv func(name string) (string, bool) // os.LookupEnv if nil

	// Offline is for a command that calls no vendor: what a vendor's entry takes from outside the
	// file (its secrets) may be missing. Something that is no secret stands in its place.
	Offline bool
}

// file is the top level of the YAML. The vendors are read by their kinds.
type file struct {
	Config  `yaml:",inline"`
	Vendors yaml.Node `yaml:"vendors"`
}

const defaultKeyFile = "expunge.key"

func defaults() Config {
	return Config{
		Store:            "expunge.db",
		Report:           "report.csv",
		Deadline:         Deadline{Months: 1},
		AtRisk:           vendors.Duration(7 * 24 * time.Hour),
		Approval:         ApprovalAuto,
		MaxSubjects:      10_000,
		Encoding:         "utf-8",
		Linger:           time.Minute,
		UnconfirmedAfter: vendors.Duration(14 * 24 * time.Hour),
		Log:              Log{Marks: true},
	}
}

// Load reads and checks a config file. Its errors are those of Parse, and that the file
// cannot be read, or that it holds a secret and can be read by others than its owner.
func Load(path string, o Options) (*Config, error) {
	data, mode, err := readSmall(path)
	if err != nil {
		e := &Error{Path: path, Problem: cause(err), Cause: err}
		if errors.Is(err, fs.ErrNotExist) {
			e.Hint = "write one with `expunge init`, or name another with --config"
		}
		return nil, e
	}
	return parse(newDecoder(path, o), data, mode, o.Kinds)
}

// LoadNotify reads nothing but notify of a config that may have problems elsewhere: who waits
// for a run is to be told that it could not begin.
func LoadNotify(path string, o Options) Notify {
	data, mode, err := readSmall(path)
	if err != nil {
		return Notify{}
	}
	d := newDecoder(path, o)
	c, _ := read(d, data, mode, o.Kinds)
	if c == nil {
		return Notify{}
	}
	for key := range d.Failed {
		if key == "notify" || strings.HasPrefix(key, "notify.") {
			return Notify{}
		}
	}
	return c.Notify
}

// Parse checks a config that has been read from path, which serves messages and relative
// paths only. Every error is an *Error, or several joined in line order: see Problems.
func Parse(data []byte, path string, o Options) (*Config, error) {
	return parse(newDecoder(path, o), data, 0, o.Kinds)
}

func parse(d *decoder, data []byte, mode fs.FileMode, kinds []vendors.Kind) (*Config, error) {
	c, err := read(d, data, mode, kinds)
	if err != nil {
		return nil, err
	}
	return c, nil
}

// read returns what could be read of a config also where there are problems: nil where it is
// none at all.
func read(d *decoder, data []byte, mode fs.FileMode, kinds []vendors.Kind) (*Config, error) {
	root, err := d.Document(data, "`expunge init` writes a config to start from")
	if err != nil {
		return nil, err
	}
	f := file{Config: defaults()}
	if d.Plain(root, "") {
		d.Structure(root, "", reflect.ValueOf(&f).Elem())
	}
	if root.Kind != yaml.MappingNode {
		return nil, d.Err()
	}
	c := &f.Config
	c.Path, c.Dir, c.SHA256 = d.Path, d.dir, sha256.Sum256(data)
	c.DefaultRegion = strings.ToUpper(c.DefaultRegion)
	if c.KeyFile == "" && c.KeyEnv == "" {
		c.KeyFile = defaultKeyFile
	}
	for _, path := range []*string{&c.Store, &c.KeyFile, &c.Report, &c.Metrics, &c.Log.HeadFile} {
		if path != &c.Report || *path != "-" {
			*path = d.resolve(*path)
		}
	}
	d.check(c)
	c.Vendors = d.vendors(&f.Vendors, kinds)
	if mode&0o077 != 0 {
		for _, l := range d.literals {
			d.Fail(l.node, l.key, fmt.Sprintf("is a secret in a file that others can read (mode %04o)", mode.Perm()),
				fmt.Sprintf("chmod 600 %s, or write ${NAME} to take it from the environment", strict.Show(d.Path)))
		}
	}
	if d.Problems() > 0 {
		return c, d.Err()
	}
	c.Warnings = d.warnings
	return c, nil
}

// check checks the top-level keys.
func (d *decoder) check(c *Config) {
	fail := func(key, problem, hint string) {
		if !d.Failed[key] {
			d.FailKey(key, problem, hint)
		}
	}
	for _, k := range []struct{ key, value string }{{"store", c.Store}, {"report", c.Report}} {
		if k.value == "" {
			fail(k.key, "must not be empty", "")
		}
	}
	d.checkKey(c, fail)
	d.checkPaths(c, fail)
	if c.Approval != ApprovalAuto && c.Approval != ApprovalManual {
		fail("approval", "must be auto or manual", "")
	}
	if c.MaxSubjects < 1 {
		fail("max_subjects", "must be at least 1", "")
	}
	if r := c.DefaultRegion; r != "" && phonenumbers.GetCountryCodeForRegion(r) == 0 {
		hint := "it is the two-letter ISO 3166 code, such as SE, DE or US"
		if r == "UK" {
			hint = "the code of the United Kingdom is GB"
		}
		fail("default_region", "is not a country code", hint)
	}
	if least := time.Duration(c.Deadline.Days+28*c.Deadline.Months) * 24 * time.Hour; time.Duration(c.AtRisk) >= least {
		if n := d.Keys["at_risk"]; n != nil {
			d.warn(n, "at_risk", "is no shorter than the deadline, so every open task is at risk from its first day")
		}
	}
	d.checkColumns(c.Columns, fail)
	if _, err := intake.LookupEncoding(c.Encoding); err != nil {
		fail("encoding", "is not the name of an encoding", intake.EncodingNames)
	}
	for _, k := range []struct{ key, value string }{
		{"notify.start", c.Notify.Start}, {"notify.success", c.Notify.Success}, {"notify.failure", c.Notify.Failure},
	} {
		if k.value != "" {
			if problem := pingProblem(k.value); problem != "" {
				fail(k.key, problem, "")
			}
		}
	}
	if c.Log.Origin != "" {
		if err := ledger.CheckName(c.Log.Origin); err != nil {
			fail("log.origin", "cannot be the name of a log", err.Error())
		}
	}
	if c.Log.Timestamp != "" {
		if problem := pingProblem(c.Log.Timestamp); problem != "" {
			fail("log.timestamp", problem, "")
		}
	}
	for _, w := range c.Log.Witnesses {
		vkey, place, _ := strings.Cut(w, " ")
		if _, err := ledger.NewWitness(vkey); err != nil {
			fail("log.witnesses", "has an entry without a witness's public key", err.Error())
		} else if problem := pingProblem(strings.TrimSpace(place)); problem != "" {
			fail("log.witnesses", "has an entry whose URL "+problem, "write the key, a space and the URL")
		}
	}
	switch n := c.Notify; {
	case n.Style != "" && n.Style != NotifyHealthchecks:
		fail("notify.style", "must be healthchecks, or be left out", "")
	case n.Style == NotifyHealthchecks && n.Failure != "":
		fail("notify.failure", "is not used with style: healthchecks", "leave it out: the exit code is put behind the URL of success, whatever it is")
	case n.Style == NotifyHealthchecks && n.Success == "":
		fail("notify.success", "is missing: with style: healthchecks the exit code is put behind it", "")
	}
}

func (d *decoder) checkKey(c *Config, fail func(key, problem, hint string)) {
	switch {
	case c.KeyEnv == "":
		return
	case c.KeyFile != "":
		fail("key_env", "is given beside key_file", "keep one of the two")
	case !envName.MatchString(c.KeyEnv):
		// Somebody may have written the key itself: it is not quoted.
		fail("key_env", "must be the name of an environment variable", "write the name alone, without $ or braces")
	default:
		if v, ok := d.getenv(c.KeyEnv); !ok || v == "" {
			fail("key_env", "the environment variable that it names is not set", "set it for this process, or use key_file")
		}
	}
}

// checkPaths refuses two keys that name one file: the report would replace the store.
func (d *decoder) checkPaths(c *Config, fail func(key, problem, hint string)) {
	taken := map[string]string{filepath.Clean(c.Path): "the config"}
	for _, k := range []struct{ key, path string }{
		{"store", c.Store}, {"key_file", c.KeyFile}, {"report", c.Report}, {"metrics", c.Metrics}, {"log.head_file", c.Log.HeadFile},
	} {
		if k.path == "" || k.path == "-" {
			continue
		}
		path := filepath.Clean(k.path)
		if other, ok := taken[path]; ok {
			fail(k.key, "names the same file as "+other, "")
		}
		taken[path] = k.key
	}
}

func (d *decoder) checkColumns(columns map[string]string, fail func(key, problem, hint string)) {
	known := intake.Columns()
	for _, name := range slices.Sorted(maps.Keys(columns)) {
		key := strict.Under("columns", strict.Show(name))
		switch {
		case !slices.Contains(known, name):
			hint := "known here: " + strings.Join(known, ", ")
			if near := strict.Nearest(name, known); near != "" {
				hint = fmt.Sprintf("did you mean %s?", near)
			}
			fail(key, "is not a column that expunge knows", hint)
		case strings.TrimSpace(columns[name]) == "":
			fail(key, "must be the header of a column in the input", "")
		}
	}
}

// pingProblem says what is wrong with a URL to be called; unlike a vendor's base URL it
// may have a query.
func pingProblem(text string) string {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" {
		return "is not a URL such as https://hc.example.com/ping"
	}
	u.RawQuery = ""
	if _, err := vendors.ParseBaseURL(u.String()); err != nil {
		return errorText(err)
	}
	return ""
}

// errorText is an error of ParseBaseURL without its sentinel's text.
func errorText(err error) string {
	return strings.TrimSuffix(err.Error(), ": "+vendors.ErrInsecure.Error())
}

var vendorName = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,40}$`)

// vendors reads the accounts.
func (d *decoder) vendors(n *yaml.Node, kinds []vendors.Kind) []Vendor {
	if d.Failed["vendors"] {
		return nil
	}
	if n.IsZero() || n.ShortTag() == "!!null" || n.Kind == yaml.MappingNode && len(n.Content) == 0 {
		d.FailKey("vendors", "no vendor is configured", "`expunge init` writes a config that shows how")
		return nil
	}
	var all []Vendor
	d.Pairs(n, "vendors", func(name string, k, v *yaml.Node) {
		key := strict.Under("vendors", strict.Show(name))
		if !vendorName.MatchString(name) {
			d.Fail(k, key, "is not a name for a vendor",
				"use small letters, digits and hyphens, at most 41, and begin with a letter or a digit")
		}
		if c := d.vendor(key, k, v, kinds); c != nil {
			all = append(all, Vendor{Name: name, Line: k.Line, Config: c})
		}
	})
	slices.SortFunc(all, func(a, b Vendor) int { return cmp.Compare(a.Name, b.Name) })
	return all
}

// vendor reads one account, or returns nil after recording why it cannot be read.
func (d *decoder) vendor(key string, k, n *yaml.Node, kinds []vendors.Kind) vendors.Config {
	if !d.Plain(n, key) {
		return nil
	}
	var names []string
	for _, kind := range kinds {
		names = append(names, kind.Name)
	}
	slices.Sort(names)
	list := "known kinds: " + strings.Join(names, ", ")

	at := strict.Under(key, "kind")
	kn := lookup(n, "kind")
	if n.Kind != yaml.MappingNode || kn == nil {
		d.Fail(k, at, "is missing", list)
		return nil
	}
	// The vendor's own values must not show in what its kind says about them.
	d.hidden = nil
	var name string
	d.Value(kn, at, reflect.ValueOf(&name).Elem())
	if d.Failed[at] {
		return nil
	}
	i := slices.IndexFunc(kinds, func(kind vendors.Kind) bool { return kind.Name == name })
	if i < 0 {
		if near := strict.Nearest(name, names); near != "" {
			list = fmt.Sprintf("did you mean %s? %s", near, list)
		}
		d.Fail(kn, at, strict.Show(kn.Value)+" is not a known kind", list)
		return nil
	}
	c := kinds[i].New()
	v := reflect.ValueOf(c).Elem()
	before := d.Problems()
	d.Structure(n, key, v)
	complete := d.Problems() == before
	d.paths(v)
	d.checkCommon(key, c.Shared())
	if complete { // or the kind would miss what could only not be read
		d.validate(key, c)
	}
	return c
}

// lookup returns the value of a key of a mapping, or nil.
func lookup(n *yaml.Node, key string) *yaml.Node {
	for i := 0; i+1 < len(n.Content); i += 2 {
		if k := n.Content[i]; k.Kind == yaml.ScalarNode && k.Value == key {
			return n.Content[i+1]
		}
	}
	return nil
}

// paths makes the paths of a vendor's config relative to the file's folder: by convention
// the keys that end in _file or _dir.
func (d *decoder) paths(v reflect.Value) {
	index, names := strict.FieldsOf(v.Type())
	for _, name := range names {
		f := v.FieldByIndex(index[name])
		if f.Kind() == reflect.String && (strings.HasSuffix(name, "_file") || strings.HasSuffix(name, "_dir")) {
			f.SetString(d.resolve(f.String()))
		}
	}
}

// maxConcurrency bounds the calls in flight to one vendor. The rate is the limit that
// counts; this one only keeps a slip of the finger from opening a million connections.
const maxConcurrency = 1024

// checkCommon checks the keys that every vendor has, and fills in the burst.
func (d *decoder) checkCommon(key string, c *vendors.Common) {
	fail := func(name, problem string) {
		if at := strict.Under(key, name); !d.Failed[at] {
			d.FailKey(at, problem, "")
		}
	}
	if c.BaseURL != "" {
		if _, err := vendors.ParseBaseURL(c.BaseURL); err != nil {
			fail("base_url", errorText(err))
		}
	}
	if d.Keys[strict.Under(key, "burst")] == nil && c.Burst == 0 {
		c.Burst = vendors.DefaultBurst(c.Rate)
	}
	if c.Burst < 1 {
		fail("burst", "must be at least 1")
	}
	if c.Concurrency < 1 || c.Concurrency > maxConcurrency {
		fail("concurrency", fmt.Sprintf("must be from 1 to %d", maxConcurrency))
	}
	if c.Timeout <= 0 {
		fail("timeout", "must be more than 0")
	}
	if c.MaxAttempts < 1 {
		fail("max_attempts", "must be at least 1")
	}
	if c.RetryBase <= 0 {
		fail("retry_base", "must be more than 0")
	}
	switch {
	case c.RetryCap >= c.RetryBase || d.Failed[strict.Under(key, "retry_base")]:
	case d.Keys[strict.Under(key, "retry_cap")] != nil:
		fail("retry_cap", fmt.Sprintf("must not be shorter than retry_base (%v)", c.RetryBase))
	default:
		fail("retry_base", fmt.Sprintf("must not be longer than retry_cap (%v)", c.RetryCap))
	}
	if c.CAFile != "" {
		if pem, _, err := d.readFile(c.CAFile); err != nil {
			fail("ca_file", "names a file that "+cause(err))
		} else if !x509.NewCertPool().AppendCertsFromPEM(pem) {
			fail("ca_file", "names a file that holds no PEM certificate")
		}
	}
}

// validate asks the kind, and gives its problem a place. A key that checkCommon has found
// wrong is not reported again.
func (d *decoder) validate(key string, c vendors.Config) {
	for _, err := range flatten(c.Validate()) {
		var ke *vendors.KeyError
		if !errors.As(err, &ke) {
			d.FailKey(key, d.scrub(err.Error()), "")
			continue
		}
		if at := strict.Under(key, ke.Key); !d.Failed[at] {
			d.FailKey(at, d.scrub(ke.Problem), d.scrub(ke.Hint))
		}
	}
}

func flatten(err error) []error {
	switch e := err.(type) {
	case nil:
		return nil
	case interface{ Unwrap() []error }:
		var all []error
		for _, one := range e.Unwrap() {
			all = append(all, flatten(one)...)
		}
		return all
	}
	return []error{err}
}

// scrub is the net under the rule that a kind's text quotes no value that came from
// outside the file: such a text is replaced as a whole. Values of three letters and less
// are no secrets, and stand in texts such as "must be eu, us or au" by chance.
func (d *decoder) scrub(text string) string {
	for _, value := range d.hidden {
		if len(value) > 3 && strings.Contains(text, value) {
			return "is not valid"
		}
	}
	return text
}
