package config

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"expunge/vendors"
	"expunge/vendors/rest"
)

// fakeConfig stands for any kind: it has a key of each type that a config can have.
type fakeConfig struct {
	vendors.Common `yaml:",inline"`

	Region  string           `yaml:"region"`
	APIKey  vendors.Secret   `yaml:"api_key"`
	Patient vendors.Duration `yaml:"patience"`
	Max     int              `yaml:"max_records"`
	Agreed  bool             `yaml:"agreed"`
	Factor  float64          `yaml:"factor"`
	Agents  []string         `yaml:"agents"`
	OutDir  string           `yaml:"out_dir"`
	Maybe   *bool            `yaml:"maybe"`
	Word    shout            `yaml:"word"`
	Export  struct {
		Mode string `yaml:"mode"`
	} `yaml:"export"`
	Plain string
}

// shout is a type whose own error quotes the value.
type shout string

func (s *shout) UnmarshalText(text []byte) error {
	if strings.ToUpper(string(text)) != string(text) {
		*s = "touched"
		return fmt.Errorf("%q must be shouted", text)
	}
	*s = shout(text)
	return nil
}

func (c *fakeConfig) Validate() error {
	switch {
	case c.Region == "":
		return &vendors.KeyError{Key: "region", Problem: "is missing", Hint: "eu, us or au"}
	case c.Region != "eu" && c.Region != "us":
		// Against the rule: it quotes what it was given.
		return &vendors.KeyError{Key: "region", Problem: c.Region + " must be eu or us", Hint: "not " + c.Region}
	case c.APIKey.IsZero():
		return &vendors.KeyError{Key: "api_key", Problem: "is missing"}
	case c.Export.Mode == "bad":
		return errors.Join(
			&vendors.KeyError{Key: "export.mode", Problem: "must not be bad"},
			&vendors.KeyError{Key: "export.dir", Problem: "is missing"})
	case c.Plain == "odd":
		return errors.New("is odd as a whole")
	}
	return nil
}

func (c *fakeConfig) Open(vendors.Options) (vendors.Vendor, error) {
	return nil, errors.New("not in these tests")
}

var fakeKinds = []vendors.Kind{
	{Name: "voyado", New: newFake}, {Name: "customergauge", New: newFake},
}

func newFake() vendors.Config {
	return &fakeConfig{
		Common: vendors.DefaultCommon("fake"), Patient: vendors.Duration(10 * time.Minute), Max: 25, Word: "DEFAULT",
	}
}

func env(pairs ...string) func(string) (string, bool) {
	m := map[string]string{}
	for i := 0; i < len(pairs); i += 2 {
		m[pairs[i]] = pairs[i+1]
	}
	return func(name string) (string, bool) { v, ok := m[name]; return v, ok }
}

func options(pairs ...string) Options { return Options{Kinds: fakeKinds, Getenv: env(pairs...)} }

const minimal = `vendors:
  shop:
    kind: voyado
    region: eu
    api_key: ${KEY}
`

const theKey = "k3y-from-the-environment"

// A file with nothing but a vendor must have the documented defaults, or an operator runs
// with limits and deadlines that nobody wrote down.
func TestDefaults(t *testing.T) {
	c, err := Parse([]byte(minimal), "etc/expunge.yaml", options("KEY", theKey))
	if err != nil {
		t.Fatal(err)
	}
	want := &Config{
		Path: "etc/expunge.yaml", Dir: "etc",
		Store: "etc/expunge.db", KeyFile: "etc/expunge.key", Report: "etc/report.csv",
		Deadline: Deadline{Months: 1}, AtRisk: vendors.Duration(7 * 24 * time.Hour),
		Approval: "auto", MaxSubjects: 10000, Linger: time.Minute, Encoding: "utf-8",
		UnconfirmedAfter: vendors.Duration(14 * 24 * time.Hour), Log: Log{Marks: true},
		SHA256: sha256.Sum256([]byte(minimal)),
		Vendors: []Vendor{{Name: "shop", Line: 2, Config: &fakeConfig{
			Common: vendors.Common{
				Kind: "voyado", Rate: vendors.Rate{PerSecond: 5}, Burst: 1, Concurrency: 4,
				Timeout: vendors.Duration(30 * time.Second), Retry: vendors.Retry{MaxAttempts: 8,
					RetryBase: vendors.Duration(2 * time.Second), RetryCap: vendors.Duration(time.Hour)},
			},
			Region: "eu", APIKey: vendors.NewSecret(theKey),
			Patient: vendors.Duration(10 * time.Minute), Max: 25, Word: "DEFAULT",
		}}},
	}
	if diff := cmp.Diff(want, c, compare...); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

var compare = []cmp.Option{
	cmp.Comparer(func(a, b vendors.Secret) bool { return a.Reveal() == b.Reveal() }),
}

// Every key must reach its field, and every type must be read.
func TestEveryKey(t *testing.T) {
	const text = `
store: /var/lib/expunge/store.db
key_env: SEAL_KEY
report: "-"
deadline: 30 days
at_risk: 3d
approval: manual
max_subjects: 500
columns:
  email: E-mail Address
  region: Land
ignore_columns: [Status, Assignee]
encoding: Windows-1252
date_format: DD.MM.YYYY
default_region: se
linger: 90s
unconfirmed_after: 1d12h
track_answers: true
metrics: out/expunge.prom
log: {marks: false, origin: privacy.example.com/expunge, head_file: out/expunge.head, ping: true}
organisation: Example AB
notify:
  start: https://hc.example.com/ping/1?a=b
  success: http://127.0.0.1:8080/ok
  failure: ${FAIL_URL}
vendors:
  zeta: {kind: voyado, region: us, api_key: "${KEY}", rate: 2000/s}
  alpha:
    kind: ${KIND}
    base_url: https://proxy.example.com:8443
    rate: 500/s, 10000/d
    burst: 7
    concurrency: 16
    timeout: 5s
    max_attempts: 3
    retry_base: 1s
    retry_cap: 1m
    region: eu
    api_key: pre-${KEY}-$${post}-${KEY}
    patience: 0s
    max_records: "${MAX}"
    agreed: true
    factor: 1.5
    agents: [anna, "${WHO}"]
    out_dir: exports
    maybe: false
    word: LOUD
    export: {mode: required}
    plain: 0012
`
	getenv := options("KEY", theKey, "SEAL_KEY", "x", "FAIL_URL", "https://hc.example.com/fail",
		"KIND", "customergauge", "MAX", "40", "WHO", "bo: {x: 1}")
	c, err := Parse([]byte(text), "etc/expunge.yaml", getenv)
	if err != nil {
		t.Fatal(err)
	}
	no := false
	alpha := &fakeConfig{
		Common: vendors.Common{
			Kind: "customergauge", BaseURL: "https://proxy.example.com:8443",
			Rate: vendors.Rate{PerSecond: 500, PerDay: 10000}, Burst: 7, Concurrency: 16,
			Timeout: vendors.Duration(5 * time.Second), Retry: vendors.Retry{MaxAttempts: 3,
				RetryBase: vendors.Duration(time.Second), RetryCap: vendors.Duration(time.Minute)},
		},
		Region: "eu", APIKey: vendors.NewSecret("pre-" + theKey + "-${post}-" + theKey),
		Max: 40, Agreed: true, Factor: 1.5, Agents: []string{"anna", "bo: {x: 1}"}, OutDir: "etc/exports",
		Maybe: &no, Word: "LOUD", Plain: "0012",
	}
	alpha.Export.Mode = "required"
	zeta := newFake().(*fakeConfig)
	zeta.Kind, zeta.Region, zeta.APIKey = "voyado", "us", vendors.NewSecret(theKey)
	zeta.Rate, zeta.Burst = vendors.Rate{PerSecond: 2000}, 40 // the burst follows the rate
	want := &Config{
		Path: "etc/expunge.yaml", Dir: "etc",
		Store: "/var/lib/expunge/store.db", KeyEnv: "SEAL_KEY", Report: "-",
		Deadline: Deadline{Days: 30}, AtRisk: vendors.Duration(72 * time.Hour),
		Approval: "manual", MaxSubjects: 500,
		Columns:       map[string]string{"email": "E-mail Address", "region": "Land"},
		IgnoreColumns: []string{"Status", "Assignee"}, Encoding: "Windows-1252", DateFormat: "dd.mm.yyyy",
		DefaultRegion: "SE", Linger: 90 * time.Second, UnconfirmedAfter: vendors.Duration(36 * time.Hour), TrackAnswers: true,
		Metrics: "etc/out/expunge.prom", Organisation: "Example AB",
		Log: Log{Origin: "privacy.example.com/expunge", HeadFile: "etc/out/expunge.head", Ping: true},
		Notify: Notify{
			Start:   "https://hc.example.com/ping/1?a=b",
			Success: "http://127.0.0.1:8080/ok", Failure: "https://hc.example.com/fail",
		},
		Vendors: []Vendor{{Name: "alpha", Line: 28, Config: alpha}, {Name: "zeta", Line: 27, Config: zeta}},
		SHA256:  sha256.Sum256([]byte(text)),
	}
	if diff := cmp.Diff(want, c, compare...); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// An operator finds a mistake only if the message names the line and the key, and says
// what to do. Every mistake that can be made stands here.
func TestProblems(t *testing.T) {
	// vendor gives the file of one vendor with further lines, which begin on line 5.
	vendor := func(lines ...string) string {
		return strings.TrimSuffix(minimal, "    api_key: ${KEY}\n") + "    " + strings.Join(lines, "\n    ") + "\n"
	}
	top := func(lines string) string { return lines + "\n" + minimal }
	tests := []struct {
		name string
		text string
		want []string // messages without the path
	}{
		{"empty", "", []string{": is empty\nhint: `expunge init` writes a config to start from"}},
		{"comments only", "# nothing\n\n", []string{": is empty\nhint: `expunge init` writes a config to start from"}},
		{"null", "---\n~\n", []string{": is empty\nhint: `expunge init` writes a config to start from"}},
		{"not UTF-8", "store: a\nreport: \xff\n", []string{":2: is not UTF-8 text"}},
		{"control character", "store: a\n\nreport: \x00\n", []string{":3: is not UTF-8 text"}},
		{"syntax", "store: a\nreport: b: c\n", []string{":2: is not YAML: mapping values are not allowed in this context\nhint: put a value in quotes if it has one of : # { } [ ] , & * ! | > ' \" % @ ` in it"}},
		{"unclosed quote", "store: a\nreport: 'b\n", []string{":3: is not YAML: found unexpected end of stream while scanning a quoted scalar that begins on line 2\nhint: put a value in quotes if it has one of : # { } [ ] , & * ! | > ' \" % @ ` in it"}},
		{"two documents", minimal + "---\nstore: a\n", []string{":6: a second YAML document begins here\nhint: keep everything above the line ---"}},
		{"a list", "- store\n", []string{":1: must be a group of keys, one a line, indented"}},
		{"a word", "store\n", []string{":1: must be a group of keys, one a line, indented"}},
		{"no vendors", "store: a\n", []string{": vendors: no vendor is configured\nhint: `expunge init` writes a config that shows how"}},
		{"empty vendors", "store: a\nvendors:\n", []string{":2: vendors: no vendor is configured\nhint: `expunge init` writes a config that shows how"}},
		{"no vendor in vendors", "vendors: {}\n", []string{":1: vendors: no vendor is configured\nhint: `expunge init` writes a config that shows how"}},
		{"vendors a list", "vendors: [voyado]\n", []string{":1: vendors: must be a group of keys, one a line, indented"}},
		{"vendor without keys", "vendors:\n  voyado:\n", []string{":2: vendors.voyado.kind: is missing\nhint: known kinds: customergauge, voyado"}},

		{"unknown key", top("stoer: a"), []string{":1: stoer: is not a known key\nhint: did you mean store?"}},
		{"unknown key, other spelling", top("Max-Subjects: 3"), []string{":1: Max-Subjects: is not a known key\nhint: did you mean max_subjects?"}},
		{"unknown key of a vendor", vendor("api_key: ${KEY}", "api_kye: x"), []string{":6: vendors.shop.api_kye: is not a known key\nhint: did you mean api_key?"}},
		{"key of a vendor at the top", top("concurrency: 3"), []string{":1: concurrency: is not a known key\nhint: concurrency belongs to a vendor: indent it below one"}},
		{"key of the top at a vendor", vendor("api_key: ${KEY}", "deadline: 1 month"), []string{":6: vendors.shop.deadline: is not a known key\nhint: deadline belongs at the top of the file, not indented"}},
		{"unknown nested key", vendor("api_key: ${KEY}", "export: {way: x}"), []string{":6: vendors.shop.export.way: is not a known key\nhint: known here: mode"}},
		{"merge key", vendor("api_key: ${KEY}", "<<: {burst: 2}"), []string{":6: vendors.shop.<<: is not a known key\nhint: known here: kind, base_url, rate, burst, concurrency, timeout, max_attempts, retry_base, retry_cap, ca_file, region, api_key, patience, max_records, agreed, factor, agents, out_dir, maybe, word, export, plain"}},
		{"duplicate key", top("store: a\nreport: b\nstore: c"), []string{":3: store: is given twice, first on line 1"}},
		{"duplicate vendor", minimal + "  shop: {kind: voyado}\n", []string{":6: vendors.shop: is given twice, first on line 2"}},
		{"duplicate column", top("columns: {email: a, email: b}"), []string{":1: columns.email: is given twice, first on line 1"}},
		{"key that is no word", top("[a]: b"), []string{":1: holds a key that is not a word"}},
		{"key that plays tricks", top("\"sto\\e[31mre\": b"), []string{`:1: "sto\x1b[31mre": is not a known key` + "\nhint: known here: store, key_file, key_env, report, deadline, at_risk, approval, max_subjects, columns, ignore_columns, encoding, date_format, default_region, linger, unconfirmed_after, track_answers, metrics, notify, log, organisation, vendors"}},
		{"anchor", top("store: &a x"), []string{":1: store: uses an anchor (&), an alias (*) or a tag (!)\nhint: write the value out; put a text that begins with one of these signs in quotes"}},
		{"alias", top("store: &a x\nreport: *a"), []string{
			":1: store: uses an anchor (&), an alias (*) or a tag (!)\nhint: write the value out; put a text that begins with one of these signs in quotes",
			":2: report: uses an anchor (&), an alias (*) or a tag (!)\nhint: write the value out; put a text that begins with one of these signs in quotes",
		}},
		{"alias of nothing", vendor("api_key: *s3cr3t"), []string{":5: uses an alias (*), which is not supported\nhint: put a text that begins with * in quotes"}},
		{"tag", vendor("api_key: !!binary c2VjcmV0"), []string{":5: vendors.shop.api_key: uses an anchor (&), an alias (*) or a tag (!)\nhint: write the value out; put a text that begins with one of these signs in quotes"}},
		{"no value", top("store:"), []string{":1: store: has no value\nhint: give one, or remove the key to keep the default"}},
		{"group for a value", top("store: {a: b}"), []string{":1: store: must be a single value"}},
		{"list for a value", vendor("api_key: [a, b]"), []string{":5: vendors.shop.api_key: must be a single value"}},
		{"value for a group", top("notify: https://hc.example.com"), []string{":1: notify: must be a group of keys, one a line, indented"}},
		{"line break in a value", top("store: \"a\\nb\""), []string{":1: store: holds a line break or another control character"}},

		{"empty store", top(`store: ""`), []string{":1: store: must not be empty"}},
		{"empty report", top(`report: ""`), []string{":1: report: must not be empty"}},
		{"report over store", top("report: ./expunge.db"), []string{":1: report: names the same file as store"}},
		{"store over the config", top("store: expunge.yaml"), []string{":1: store: names the same file as the config"}},
		{"metrics over key", top("metrics: x/../expunge.key"), []string{":1: metrics: names the same file as key_file"}},
		{"key twice", top("key_file: a\nkey_env: KEY"), []string{":2: key_env: is given beside key_file\nhint: keep one of the two"}},
		{"key_env holds a key", top("key_env: c2VjcmV0+a=="), []string{":1: key_env: must be the name of an environment variable\nhint: write the name alone, without $ or braces"}},
		{"key_env not set", top("key_env: SEAL"), []string{":1: key_env: the environment variable that it names is not set\nhint: set it for this process, or use key_file"}},
		{"bad deadline", top("deadline: soon"), []string{`:1: deadline: "soon" is not a deadline such as 1 month or 30 days`}},
		{"bad at_risk", top("at_risk: 7 days"), []string{`:1: at_risk: "7 days" is not a duration such as 30s, 6h or 45d`}},
		{"bad linger", top("linger: -1m"), []string{`:1: linger: "-1m" is not a duration such as 30s, 6h or 45d`}},
		{"bad approval", top("approval: maybe"), []string{":1: approval: must be auto or manual"}},
		{"bad max_subjects", top("max_subjects: many"), []string{`:1: max_subjects: "many" is not a whole number`}},
		{"max_subjects 0", top("max_subjects: 0"), []string{":1: max_subjects: must be at least 1"}},
		{"unknown column", top("columns: {e_mail: x}"), []string{":1: columns.e_mail: is not a column that expunge knows\nhint: did you mean email?"}},
		{"unknown column, far off", top("columns: {shoe_size: x}"), []string{":1: columns.shoe_size: is not a column that expunge knows\nhint: known here: subject_id, email, other_email, telephone, other_telephone, customer_key, account_number, call_id, agent_id, customer_name, comments, region, customer_id, received_at, vendors, channel"}},
		{"empty header", top(`columns: {email: " "}`), []string{":1: columns.email: must be the header of a column in the input"}},
		{"unknown encoding", top("encoding: utf-9"), []string{":1: encoding: is not the name of an encoding\nhint: the usual ones are windows-1252 (Excel in Western Europe), windows-1250 (in Central Europe), macintosh, cp850 and utf-16le"}},
		{"date format to be guessed", top("date_format: auto"), []string{`:1: date_format: "auto" is not a date format: iso, dd.mm.yyyy, mm/dd/yyyy (or another order of the three, with . / or - between them), or excel for a spreadsheet's day numbers`}},
		{"region UK", top("default_region: UK"), []string{":1: default_region: is not a country code\nhint: the code of the United Kingdom is GB"}},
		{"region by name", top("default_region: Sweden"), []string{":1: default_region: is not a country code\nhint: it is the two-letter ISO 3166 code, such as SE, DE or US"}},
		{"plain http ping", top("notify: {success: http://hc.example.com/secret}"), []string{":1: notify.success: must be https (plain http only to a loopback address)"}},
		{"notify of an unknown style", top("notify: {success: https://hc.example.com/uuid, style: loud}"), []string{":1: notify.style: must be healthchecks, or be left out"}},
		{"healthchecks with a failure", top("notify: {success: https://hc.example.com/uuid, failure: https://hc.example.com/uuid/fail, style: healthchecks}"), []string{":1: notify.failure: is not used with style: healthchecks" + "\nhint: leave it out: the exit code is put behind the URL of success, whatever it is"}},
		{"healthchecks without a URL", top("notify: {start: https://hc.example.com/uuid/start, style: healthchecks}"), []string{":1: notify.success: is missing: with style: healthchecks the exit code is put behind it"}},
		{"ping that is no URL", top("notify: {failure: hc.example.com/secret}"), []string{":1: notify.failure: is not a URL such as https://hc.example.com/ping"}},
		{"ping with a password", top("notify: {start: 'https://a:b@hc.example.com/'}"), []string{":1: notify.start: must not hold a user name or password"}},

		{"vendor name", "vendors:\n  Voyado SE: {kind: voyado, region: eu, api_key: \"${KEY}\"}\n", []string{":2: vendors.Voyado SE: is not a name for a vendor\nhint: use small letters, digits and hyphens, at most 41, and begin with a letter or a digit"}},
		{"no kind", "vendors:\n  shop:\n    region: eu\n", []string{":2: vendors.shop.kind: is missing\nhint: known kinds: customergauge, voyado"}},
		{"empty kind", "vendors:\n  shop:\n    kind:\n", []string{":3: vendors.shop.kind: has no value\nhint: give one, or remove the key to keep the default"}},
		{"unknown kind", "vendors:\n  shop:\n    kind: Voyadoo\n", []string{":3: vendors.shop.kind: Voyadoo is not a known kind\nhint: did you mean voyado? known kinds: customergauge, voyado"}},
		{"unknown kind, far off", "vendors:\n  shop:\n    kind: salesforce\n", []string{":3: vendors.shop.kind: salesforce is not a known kind\nhint: known kinds: customergauge, voyado"}},
		{"missing secret", vendor("api_key: ${VOYADO_API_KEY}"), []string{":5: vendors.shop.api_key: environment variable VOYADO_API_KEY is not set\nhint: set VOYADO_API_KEY for this process, or use file:PATH"}},
		{"empty secret", vendor("api_key: ${EMPTY}"), []string{":5: vendors.shop.api_key: environment variable EMPTY is empty\nhint: set EMPTY for this process, or use file:PATH"}},
		{"malformed reference", vendor("api_key: ${KEY"), []string{":5: vendors.shop.api_key: has a ${ that does not begin the name of an environment variable\nhint: write ${NAME}, or $${ for the two characters ${"}},
		{"reference to no name", vendor("api_key: ${s3cr3t-x}"), []string{":5: vendors.shop.api_key: has a ${ that does not begin the name of an environment variable\nhint: write ${NAME}, or $${ for the two characters ${"}},
		{"secret left out", vendor("burst: 1"), []string{":2: vendors.shop.api_key: is missing"}},
		{"key of the kind", vendor("api_key: ${KEY}", "export: {mode: bad}"), []string{
			":6: vendors.shop.export.dir: is missing", ":6: vendors.shop.export.mode: must not be bad",
		}},
		{"the kind as a whole", vendor("api_key: ${KEY}", "plain: odd"), []string{":2: vendors.shop: is odd as a whole"}},
		{"bad rate", vendor("api_key: ${KEY}", "rate: fast"), []string{`:6: vendors.shop.rate: "fast" is not a rate such as 5/s, 300/m or 10000/d`}},
		{"bad burst", vendor("api_key: ${KEY}", "burst: 0"), []string{":6: vendors.shop.burst: must be at least 1"}},
		{"bad concurrency", vendor("api_key: ${KEY}", "concurrency: 0"), []string{":6: vendors.shop.concurrency: must be from 1 to 1024"}},
		{"wild concurrency", vendor("api_key: ${KEY}", "concurrency: 1025"), []string{":6: vendors.shop.concurrency: must be from 1 to 1024"}},
		{"number too large", vendor("api_key: ${KEY}", "concurrency: 99999999999999999999"), []string{`:6: vendors.shop.concurrency: "99999999999999999999" is not a whole number`}},
		{"bad timeout", vendor("api_key: ${KEY}", "timeout: 0s"), []string{":6: vendors.shop.timeout: must be more than 0"}},
		{"timeout without a unit", vendor("api_key: ${KEY}", "timeout: 30"), []string{`:6: vendors.shop.timeout: "30" is not a duration such as 30s, 6h or 45d`}},
		{"bad max_attempts", vendor("api_key: ${KEY}", "max_attempts: 0"), []string{":6: vendors.shop.max_attempts: must be at least 1"}},
		{"bad retry_base", vendor("api_key: ${KEY}", "retry_base: 0s"), []string{":6: vendors.shop.retry_base: must be more than 0"}},
		{"bad retry_cap", vendor("api_key: ${KEY}", "retry_cap: 1s"), []string{":6: vendors.shop.retry_cap: must not be shorter than retry_base (2s)"}},
		{"retry_base above the default cap", vendor("api_key: ${KEY}", "retry_base: 2h"), []string{":6: vendors.shop.retry_base: must not be longer than retry_cap (1h0m0s)"}},
		{"plain http", vendor("api_key: ${KEY}", "base_url: http://api.example.com"), []string{":6: vendors.shop.base_url: must be https (plain http only to a loopback address)"}},
		{"base_url with a password", vendor("api_key: ${KEY}", "base_url: https://u:p@api.example.com"), []string{":6: vendors.shop.base_url: must not hold a user name or password"}},
		{"no certificate file", vendor("api_key: ${KEY}", "ca_file: none.pem"), []string{":6: vendors.shop.ca_file: names a file that does not exist"}},
		{"bad boolean", vendor("api_key: ${KEY}", "agreed: yes"), []string{`:6: vendors.shop.agreed: "yes" is not true or false`}},
		{"bad number", vendor("api_key: ${KEY}", "factor: NaN"), []string{`:6: vendors.shop.factor: "NaN" is not a number`}},
		{"a type's own words", vendor("api_key: ${KEY}", "word: soft"), []string{`:6: vendors.shop.word: "soft" must be shouted`}},
		{"value from outside does not fit", vendor("api_key: ${KEY}", "max_records: ${KEY}"), []string{":6: vendors.shop.max_records: the value of ${KEY} is not a whole number"}},
		{"value from outside, a type's own words", vendor("api_key: ${KEY}", "word: ${KEY}"), []string{":6: vendors.shop.word: the value of ${KEY} is not what this key takes"}},
		{"value from outside that the kind quotes", "vendors:\n  shop:\n    kind: voyado\n    region: ${KEY}\n", []string{":4: vendors.shop.region: is not valid\nhint: is not valid"}},
		{"unknown kind from outside", "vendors:\n  shop:\n    kind: ${KEY}\n", []string{":3: vendors.shop.kind: ${KEY} is not a known kind\nhint: known kinds: customergauge, voyado"}},

		{"file: without a path", vendor("api_key: 'file:'"), []string{":5: vendors.shop.api_key: file: names no file\nhint: write file:PATH"}},
		{"file: that is not there", vendor("api_key: file:secrets/none"), []string{":5: vendors.shop.api_key: file:secrets/none does not exist"}},
		{"file: below a variable that is not set", vendor("api_key: file:${CREDENTIALS_DIRECTORY}/voyado"), []string{":5: vendors.shop.api_key: environment variable CREDENTIALS_DIRECTORY is not set\nhint: set CREDENTIALS_DIRECTORY for this process, or use file:PATH"}},
		{"file: that is a folder", vendor("api_key: file:."), []string{":5: vendors.shop.api_key: file:. is not a regular file"}},

		// All in one go, in line order, though the vendors are checked last.
		{"everything at once", `stoer: a
deadline: soon
max_subjects: 0
vendors:
  b:
    kind: voyado
    region: eu
    api_key: ${NONE}
    rate: fast
  a:
    kind: unknown
linger: x
`, []string{
			":1: stoer: is not a known key\nhint: did you mean store?",
			`:2: deadline: "soon" is not a deadline such as 1 month or 30 days`,
			":3: max_subjects: must be at least 1",
			":8: vendors.b.api_key: environment variable NONE is not set\nhint: set NONE for this process, or use file:PATH",
			`:9: vendors.b.rate: "fast" is not a rate such as 5/s, 300/m or 10000/d`,
			":11: vendors.a.kind: unknown is not a known kind\nhint: known kinds: customergauge, voyado",
			`:12: linger: "x" is not a duration such as 30s, 6h or 45d`,
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c, err := Parse([]byte(tt.text), "expunge.yaml", options("KEY", theKey, "EMPTY", ""))
			if c != nil || err == nil {
				t.Fatalf("Parse gave a config, and error %v", err)
			}
			var got []string
			for _, p := range Problems(err) {
				got = append(got, strings.TrimPrefix(p.Error(), "expunge.yaml"))
				if p.Line > 0 && p.Column < 1 && !strings.Contains(p.Problem, "UTF-8") {
					t.Errorf("no column: %v", p)
				}
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
			for _, secret := range []string{theKey, "s3cr3t"} {
				if strings.Contains(err.Error(), secret) {
					t.Errorf("the error quotes a secret: %v", err)
				}
			}
		})
	}
}

// What is allowed but unwise must be told, or it stays.
func TestWarnings(t *testing.T) {
	c, err := Parse([]byte("at_risk: 30d\n"+minimal), "expunge.yaml", options("KEY", theKey))
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"expunge.yaml:1: at_risk: is no shorter than the deadline, so every open task is at risk from its first day"}
	if diff := cmp.Diff(want, c.Warnings); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// write makes a file with exactly this mode, whatever the umask.
func write(t *testing.T, path, content string, mode fs.FileMode) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
}

// A secret must come out of a file without its last line end, found from the config's
// folder; a file that others can read must be told of, but not one of systemd's.
func TestSecretFiles(t *testing.T) {
	tests := []struct {
		name    string
		content string
		mode    fs.FileMode
		value   string // of api_key; DIR is the test's folder
		want    string
		warning string
		problem string
	}{
		{name: "relative", content: "abc-123\n", mode: 0o600, value: "file:secret", want: "abc-123"},
		{name: "no line end", content: "abc-123", mode: 0o400, value: "file:secret", want: "abc-123"},
		{name: "CRLF", content: "abc-123\r\n", mode: 0o600, value: "file:secret", want: "abc-123"},
		{name: "byte order mark", content: "\ufeffabc-123\r\n", mode: 0o600, value: "file:secret", want: "abc-123"},
		{name: "byte order mark alone", content: "\ufeff\r\n", mode: 0o600, value: "file:secret", problem: "file:secret is empty"},
		{name: "not expanded again", content: "a${KEY}b\n", mode: 0o600, value: "file:secret", want: "a${KEY}b"},
		{name: "below a variable", content: "abc-123\n", mode: 0o600, value: "file:${HERE}/secret", want: "abc-123"},
		{
			name: "readable by others", content: "abc-123\n", mode: 0o644, value: "file:secret", want: "abc-123",
			warning: "expunge.yaml:5: vendors.shop.api_key: file:secret can be read by others (mode 0644): chmod 600 it",
		},
		{name: "systemd credential", content: "abc-123\n", mode: 0o440, value: "file:${CREDENTIALS_DIRECTORY}/secret", want: "abc-123"},
		{name: "environment is not a file", content: "abc-123\n", mode: 0o600, value: "${FILE}", want: "file:secret"},
		{name: "empty", content: "\n", mode: 0o600, value: "file:secret", problem: "file:secret is empty"},
		{name: "two lines", content: "abc\n123\n", mode: 0o600, value: "file:secret", problem: "holds a line break or another control character"},
		{name: "too large", content: strings.Repeat("a", 1<<20+1), mode: 0o600, value: "file:secret", problem: "file:secret is larger than 1048576 bytes"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			write(t, filepath.Join(dir, "secret"), tt.content, tt.mode)
			path := filepath.Join(dir, "expunge.yaml")
			write(t, path, strings.ReplaceAll(minimal, "${KEY}", tt.value), 0o600)
			o := options("HERE", dir, "FILE", "file:secret")
			if tt.name == "systemd credential" {
				o = options("CREDENTIALS_DIRECTORY", dir)
			}
			c, err := Load(path, o)
			if tt.problem != "" {
				if p := Problems(err); len(p) != 1 || p[0].Problem != tt.problem || p[0].Line != 5 {
					t.Errorf("got %v, want line 5: %s", err, tt.problem)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := c.Vendors[0].Config.(*fakeConfig).APIKey.Reveal(); got != tt.want {
				t.Errorf("secret is %q, want %q", got, tt.want)
			}
			var want []string
			if tt.warning != "" {
				want = []string{filepath.Join(dir, tt.warning)}
			}
			if diff := cmp.Diff(want, c.Warnings); diff != "" {
				t.Errorf("warnings: -want +got:\n%s", diff)
			}
		})
	}
}

// A command that calls no vendor needs none of a vendor's secrets; everything else of the file
// is as strict as ever.
func TestOffline(t *testing.T) {
	const text = `vendors:
  shop: {kind: voyado, region: eu, api_key: "${NONE}"}
  other: {kind: voyado, region: eu, api_key: "pre-${EMPTY}", base_url: "${NO_URL}"}
  third: {kind: voyado, region: eu, api_key: "file:none"}
`
	o := options("EMPTY", "")
	if _, err := Parse([]byte(text), "expunge.yaml", o); len(Problems(err)) != 4 {
		t.Errorf("%v", err)
	}
	o.Offline = true
	c, err := Parse([]byte(text), "expunge.yaml", o)
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{"pre-${EMPTY}", "${NONE}", "file:none"} {
		if got := c.Vendors[i].Config.(*fakeConfig).APIKey.Reveal(); got != want {
			t.Errorf("vendor %d: %q", i, got)
		}
	}
	if _, err := vendors.ParseBaseURL(c.Vendors[0].Config.Shared().BaseURL); err != nil {
		t.Error(err)
	}
	for _, bad := range []string{
		"vendors:\n  shop: {kind: voyado, region: eu, api_key: \"${\"}\n",
		"vendors:\n  shop: {kind: voyado, region: eu}\n",
		"vendors:\n  shop: {kind: voyado, region: eu, api_key: \"${NONE}\", max_records: \"${NONE}\"}\n",
		"store: ${NONE}\nvendors:\n  shop: {kind: voyado, region: eu, api_key: \"${NONE}\"}\n",
	} {
		if _, err := Parse([]byte(bad), "expunge.yaml", o); len(Problems(err)) != 1 {
			t.Errorf("%s: %v", bad, err)
		}
	}
}

// The text of an unreadable file must not show the path, which may come from the
// environment.
func TestUnreadableFile(t *testing.T) {
	d := newDecoder("expunge.yaml", options("PLACE", "/run/place-from-outside"))
	d.readFile = func(path string) ([]byte, fs.FileMode, error) {
		return nil, 0, &fs.PathError{Op: "open", Path: path, Err: fs.ErrPermission}
	}
	text := strings.ReplaceAll(minimal, "${KEY}", "file:${PLACE}/key")
	_, err := parse(d, []byte(text), 0, fakeKinds)
	want := "expunge.yaml:5: vendors.shop.api_key: file:${PLACE}/key cannot be read: permission denied"
	if err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
	if !errors.Is(err, fs.ErrPermission) {
		t.Error("the cause is lost")
	}
}

// A secret written into a file that others can read must stop the program, with the way
// out in the message. A secret from elsewhere, or a file that is closed, must not.
func TestLiteralSecrets(t *testing.T) {
	const secret = "literal-s3cr3t"
	literal := strings.ReplaceAll(minimal, "${KEY}", secret)
	tests := []struct {
		name   string
		text   string
		mode   fs.FileMode
		refuse bool
	}{
		{"literal, closed", literal, 0o600, false},
		{"literal, read-only", literal, 0o400, false},
		{"literal, group", literal, 0o640, true},
		{"literal, world", literal, 0o604, true},
		{"environment, world", minimal, 0o644, false},
		{"escape, world", strings.ReplaceAll(minimal, "${KEY}", "$${KEY}"), 0o644, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "expunge.yaml")
			write(t, path, tt.text, tt.mode)
			_, err := Load(path, options("KEY", theKey))
			if !tt.refuse {
				if err != nil {
					t.Errorf("refused: %v", err)
				}
				return
			}
			want := fmt.Sprintf("%s:5: vendors.shop.api_key: is a secret in a file that others can read (mode %04o)\n"+
				"hint: chmod 600 %s, or write ${NAME} to take it from the environment", path, tt.mode, path)
			if err == nil || err.Error() != want {
				t.Errorf("got  %v\nwant %s", err, want)
			}
		})
	}
}

// A config that is missing, a folder, or huge must say so, and not be read into memory.
func TestUnreadableConfig(t *testing.T) {
	dir := t.TempDir()
	huge := filepath.Join(dir, "huge.yaml")
	write(t, huge, strings.Repeat("# padding\n", 110_000), 0o600)
	none := filepath.Join(dir, "none.yaml")
	fifo := filepath.Join(dir, "fifo.yaml") // nobody writes to it: reading would never end
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		none: none + ": does not exist\nhint: write one with `expunge init`, or name another with --config",
		huge: huge + ": is larger than 1048576 bytes",
		dir:  dir + ": is not a regular file",
		fifo: fifo + ": is not a regular file",
	} {
		_, err := Load(path, options())
		if err == nil || err.Error() != want {
			t.Errorf("got  %v\nwant %s", err, want)
		}
	}
	if _, err := Load(none, options()); !errors.Is(err, fs.ErrNotExist) {
		t.Error("a missing config is not fs.ErrNotExist")
	}
}

// The certificate file must be looked at when the config is read, not when the first
// request fails in the night.
func TestCertificateFile(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "ca.pem"), "not a certificate\n", 0o644)
	path := filepath.Join(dir, "expunge.yaml")
	_, err := Parse([]byte(minimal+"    ca_file: ca.pem\n"), path, options("KEY", theKey))
	if p := Problems(err); len(p) != 1 || p[0].Line != 6 || p[0].Problem != "names a file that holds no PEM certificate" {
		t.Errorf("got %v", err)
	}
}

// Without Getenv the process's environment counts, or the program would find no secret.
func TestProcessEnvironment(t *testing.T) {
	t.Setenv("KEY", theKey)
	c, err := Parse([]byte(minimal), "expunge.yaml", Options{Kinds: fakeKinds})
	if err != nil {
		t.Fatal(err)
	}
	if got := c.Vendors[0].Config.(*fakeConfig).APIKey.Reveal(); got != theKey {
		t.Errorf("secret is %q", got)
	}
}

// Problems must find every problem however the error was wrapped on its way up.
func TestProblemsOfWrapped(t *testing.T) {
	_, err := Parse([]byte("stoer: a\nlinger: x\n"), "expunge.yaml", options())
	if got := len(Problems(fmt.Errorf("loading: %w", err))); got != 3 {
		t.Errorf("%d problems, want 3", got)
	}
	if got := Problems(errors.New("other")); got != nil {
		t.Errorf("problems of another error: %v", got)
	}
}

// A recipe's file is read with the config, and its problems are the config's: who can change
// it decides where people's data goes.
func TestRecipeFile(t *testing.T) {
	dir := t.TempDir()
	_, recipe, err := rest.Find("opendsr")
	if err != nil {
		t.Fatal(err)
	}
	load := func(text string, mode os.FileMode) error {
		path := filepath.Join(dir, "acme.yaml")
		write(t, path, text, 0o600)
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		config := filepath.Join(dir, "expunge.yaml")
		write(t, config, "vendors:\n  acme:\n    kind: rest\n    recipe: file:acme.yaml\n    base_url: https://acme.example.com\n    with: {token: \"${TOKEN}\"}\n", 0o600)
		c, err := Load(config, Options{Kinds: []vendors.Kind{rest.Kind}, Getenv: func(string) (string, bool) { return "s3cr3t-token", true }})
		if err == nil && len(c.Vendors) != 1 {
			t.Errorf("%+v", c.Vendors)
		}
		return err
	}
	if err := load(string(recipe), 0o644); err != nil {
		t.Error(err)
	}
	for text, want := range map[string]string{
		"format: 1\nrecipe: acme\nwiht: x\n": "expunge.yaml:4: vendors.acme.recipe: " + filepath.Join(dir, "acme.yaml") + ":3: wiht: is not a known key",
		"":                                   "is empty",
	} {
		if err := load(text, 0o600); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
	if err := load(string(recipe), 0o666); err == nil || !strings.Contains(err.Error(), "can be changed by others (mode 0666)") {
		t.Errorf("a file that all can change: %v", err)
	}
	if err := os.Remove(filepath.Join(dir, "acme.yaml")); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(filepath.Join(dir, "expunge.yaml"), Options{Kinds: []vendors.Kind{rest.Kind}, Getenv: anyEnv}); err == nil || !strings.Contains(err.Error(), "file:acme.yaml does not exist") {
		t.Errorf("no file: %v", err)
	}
}

// TestLoadNotify: who is to be told that a run could not begin is read of a config that has
// problems elsewhere, and of no other.
func TestLoadNotify(t *testing.T) {
	const notify = "notify: {success: https://hc.example.com/uuid, style: healthchecks}\n"
	for text, want := range map[string]string{
		notify + "linger: soon\nvendors: {a: {kind: nobody}}\n":                 "https://hc.example.com/uuid",
		notify + "vendors: {a: {kind: customergauge, api_key: '${NOT_SET}'}}\n": "https://hc.example.com/uuid",
		"notify: {success: ftp://hc.example.com/uuid}\n":                        "",
		"notify: {success: https://hc.example.com/uuid, style: loud}\n":         "",
		"notify: soon\n": "",
		"[1, 2":          "",
		"":               "",
	} {
		path := filepath.Join(t.TempDir(), "expunge.yaml")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := LoadNotify(path, Options{Kinds: fakeKinds, Getenv: func(string) (string, bool) { return "", false }}); got.Success != want {
			t.Errorf("%q: %+v", text, got)
		}
	}
	if got := LoadNotify(filepath.Join(t.TempDir(), "none.yaml"), Options{}); got != (Notify{}) {
		t.Errorf("of no file: %+v", got)
	}
}
