package rest

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"

	"expunge/vendors"
	"expunge/vendors/strict"
)

// Recipe is a vendor that is described by a file: which requests are made and where in the
// answers to look. What an answer means for a request is fixed, in Go. The doc tags are the
// reference of the language: help page and JSON Schema are made from them.
type Recipe struct {
	Format   int                `yaml:"format" doc:"version of this language: 1"`
	Name     string             `yaml:"recipe" doc:"the recipe's name"`
	Version  int                `yaml:"version" doc:"of this recipe; a change of meaning raises it"`
	Docs     []string           `yaml:"docs" doc:"the vendor's pages that say so"`
	Read     string             `yaml:"read" doc:"the day on which the pages were read: 2026-11-25"`
	Tried    string             `yaml:"tried" doc:"never, or the day and by whom: 2026-12-03 by NAME. never: every task is held until a person has seen it work"`
	Config   map[string]Setting `yaml:"config" doc:"what the user gives below with; {config.NAME} is its value"`
	Base     string             `yaml:"base" doc:"https address before every path; absent: the user's base_url. {config.NAME} may stand for one label of the host"`
	Auth     *Auth              `yaml:"auth" doc:"what every request shows"`
	Limits   Limits             `yaml:"limits" doc:"what the config may not exceed without limits_agreed"`
	KnownBy  []knownBy          `yaml:"known_by" doc:"by which of a subject's identifiers the vendor knows a person"`
	Preview  *Preview           `yaml:"preview" doc:"the look-up; absent: the vendor cannot be asked"`
	Erase    Erase              `yaml:"erase" doc:"the call that cannot be undone"`
	Status   *Status            `yaml:"status" doc:"how a job is asked about"`
	Done     Done               `yaml:"done" doc:"what ends an erasure that was accepted"`
	Unsure   string             `yaml:"uncertain" doc:"what follows an erasure without an answer that says what became of it: a time-out, 409, 5xx, an answer that nothing describes"`
	Why      string             `yaml:"why" doc:"why repeat does no harm"`
	Message  string             `yaml:"message" doc:"path of the vendor's own words in an error"`
	Errors   []Rule             `yaml:"errors" doc:"answers that mean something else than their status says"`
	Report   Report             `yaml:"report" doc:"what the report's readers are told"`
	Examples map[string]Example `yaml:"examples" doc:"recorded answers and what must come of them; run at every load"`

	Digest string // of the file, in hex
}

// Setting is one value that the user gives.
type Setting struct {
	Secret bool   `yaml:"secret" doc:"true: a credential; false: names the account and may be shown"`
	Hint   string `yaml:"hint" doc:"what to give, for who has not"`
}

// Auth is what a request shows. Values are of the config, never of a person.
type Auth struct {
	Bearer string            `yaml:"bearer" doc:"Authorization: Bearer VALUE"`
	Basic  *Basic            `yaml:"basic" doc:"user and password"`
	Header map[string]string `yaml:"header" doc:"headers by name"`
	Query  map[string]string `yaml:"query" doc:"query parameters by name"`
	OAuth2 *OAuth2           `yaml:"oauth2" doc:"client credentials"`
	Token  *Token            `yaml:"token" doc:"a call that gives {token}, which is shown as bearer unless another value of auth has it"`
}

// Basic is basic authentication.
type Basic struct {
	User     string `yaml:"user" doc:"the user name"`
	Password string `yaml:"password" doc:"the password; may be absent"`
}

// OAuth2 is the client credentials grant, with id and secret in the form. Any other way of it is
// a Token.
type OAuth2 struct {
	URL    string `yaml:"url" doc:"the token endpoint: an https address, or a path below base"`
	ID     string `yaml:"id" doc:"the client id"`
	Secret string `yaml:"secret" doc:"the client secret"`
	Scope  string `yaml:"scope" doc:"scopes, with blanks between; may be absent"`
}

// Token is one call that gives a token for all others.
type Token struct {
	Request Request `yaml:"request" doc:"the call; how it shows who asks stands in its own auth"`
	At      string  `yaml:"at" doc:"path of the token in its answer; it is renewed after an hour and after a 401"`
}

// Limits bound what a config may ask for.
type Limits struct {
	Rate       vendors.Rate `yaml:"rate" doc:"the most requests: 5/s, 300/m, 10000/d"`
	MaxRecords int          `yaml:"max_records" doc:"more records than this are held; at most 25, the default"`
}

// Request is one HTTP request. Its texts may hold placeholders.
type Request struct {
	Method string            `yaml:"method" doc:"the HTTP method"`
	Path   string            `yaml:"path" doc:"below base; each value in it is escaped"`
	Query  map[string]string `yaml:"query" doc:"query parameters"`
	JSON   yaml.Node         `yaml:"json" doc:"the body as a structure; values cannot break out of it"`
	Form   map[string]string `yaml:"form" doc:"the body as a form"`
	Auth   *Auth             `yaml:"auth" doc:"what this request shows instead"`

	compiled compiled
}

// Preview is the look-up.
type Preview struct {
	Request Request  `yaml:"request" doc:"asks by {identifier} and changes nothing"`
	Records string   `yaml:"records" doc:"path of the list of records (or of the one record); . is the whole answer. It must be there: an empty list is nobody, a missing one is unreadable"`
	Total   string   `yaml:"total" doc:"path of the number of records, which must agree"`
	ID      []string `yaml:"id" doc:"path of a record's id, or paths of its parts"`
	Absent  []string `yaml:"absent" doc:"whom it does not show: archived, deleted or suppressed people; [] where the pages say that it shows all. Who is not found may be one of them: every report says so"`
	Owner   *Owner   `yaml:"owner" doc:"whose record it is: paths by identifier (email: [properties.email]; lists as emails[].value), or exact"`
	Next    *Next    `yaml:"next" doc:"how a list goes on"`
	None    []Rule   `yaml:"none" doc:"answers that mean nobody, besides an empty list. Without a rule, what a stranger gets is believed while the control record is found"`
}

// Owner says where a record shows whose it is.
type Owner struct {
	Email     []string `yaml:"email" doc:"paths of emails that a record shows; all must be the subject's"`
	Telephone []string `yaml:"telephone" doc:"paths of telephone numbers that it shows"`
	Key       []string `yaml:"customer_key" doc:"paths of keys of yours that it shows"`
	Account   []string `yaml:"account_number" doc:"paths of account numbers that it shows"`
	Exact     bool     `yaml:"exact" doc:"true: records name nobody, and the look-up finds one exact value only, see why. Never for telephones"`
	Why       string   `yaml:"why" doc:"why the look-up is exact"`
}

// Paths are the paths by the class of what they show.
func (o *Owner) Paths() map[vendors.Field][]string {
	return map[vendors.Field][]string{vendors.Email: o.Email, vendors.Telephone: o.Telephone, vendors.CustomerKey: o.Key, vendors.AccountNumber: o.Account}
}

// Next says how a list of records goes on: by a cursor, a link, or a page number.
type Next struct {
	At    string `yaml:"at" doc:"path of the cursor; absent or empty at the end"`
	Into  string `yaml:"into" doc:"where the cursor goes: query.NAME, form.NAME or json.PATH"`
	Link  string `yaml:"link" doc:"header (rel=next), or the path of the next page's address"`
	Page  string `yaml:"page" doc:"where the page's number goes: query.NAME; the first is 1"`
	Full  int    `yaml:"full" doc:"how many records a full page has; the request says so too. After a full page something must lead on"`
	Pages int    `yaml:"pages" doc:"the most pages that are read; with more the task is held"`
}

// Rule describes an answer.
type Rule struct {
	Status int    `yaml:"status" doc:"the HTTP status"`
	At     string `yaml:"at" doc:"a path that must be there"`
	Is     string `yaml:"is" doc:"and what must stand there"`
	Absent string `yaml:"absent" doc:"a path that must not be there; without at, nothing else may be there either"`
	Means  string `yaml:"means" doc:"of errors: what such an answer means"`
}

// Erase is the call that cannot be undone.
type Erase struct {
	Each     string  `yaml:"each" doc:"what one call erases"`
	Request  Request `yaml:"request" doc:"erases {identifier} or {record}"`
	Accepted []Rule  `yaml:"accepted" doc:"answers that mean accepted; 200 needs at"`
	Job      string  `yaml:"job" doc:"path of the job's id"`
}

// Status is how a job is asked about.
type Status struct {
	Request Request `yaml:"request" doc:"asks about {job} and changes nothing"`
	Job     string  `yaml:"job" doc:"path of the job's id in its answer, which must be ours"`
	At      string  `yaml:"at" doc:"path of the status word"`
	Words   Words   `yaml:"words" doc:"what the words mean; any other keeps the job open and is reported"`
	Lost    []Rule  `yaml:"lost" doc:"answers that mean there is no such job"`
}

// Words are the status words of jobs.
type Words struct {
	Open   []string `yaml:"open" doc:"not done yet"`
	Done   []string `yaml:"done" doc:"all is gone"`
	Failed []string `yaml:"failed" doc:"ended without being done, or done in part"`
}

// Done says what ends an erasure that was accepted.
type Done struct {
	By       string           `yaml:"by" doc:"what tells that it is done"`
	After    vendors.Duration `yaml:"after" doc:"from the acceptance to the first look or question"`
	Every    vendors.Duration `yaml:"every" doc:"between questions about a job"`
	Patience vendors.Duration `yaml:"patience" doc:"not done after this long: a person must look"`
}

// Report is what the report's readers are told.
type Report struct {
	Act      string   `yaml:"act" doc:"what the vendor does with what it erases"`
	Erases   []string `yaml:"erases" doc:"what goes"`
	Keeps    []string `yaml:"keeps" doc:"what stays"`
	HowKnown string   `yaml:"how_known" doc:"one sentence: what erased rests on"`
}

// knownBy is an identifier by which a vendor knows people.
type knownBy vendors.Field

// UnmarshalText implements encoding.TextUnmarshaler.
func (k *knownBy) UnmarshalText(text []byte) error {
	for _, f := range vendors.Fields() {
		if f.String() == string(text) && slices.Contains(wordsOf("known_by"), f.String()) {
			*k = knownBy(f)
			return nil
		}
	}
	return fmt.Errorf("%q is not %s", text, k.Wants())
}

// Wants implements strict.Wanted.
func (*knownBy) Wants() string { return "an identifier: " + strings.Join(wordsOf("known_by"), ", ") }

func (r *Recipe) knows(class vendors.Field) bool {
	return slices.ContainsFunc(r.KnownBy, func(k knownBy) bool {
		c, _ := vendors.Normal(vendors.Field(k), "")
		return c == class
	})
}

//go:embed recipes/*.yaml
var shipped embed.FS

// Shipped lists the recipes of this program, as NAME@VERSION.
func Shipped() []string {
	var all []string
	files, _ := fs.Glob(shipped, "recipes/*.yaml") // the pattern is good
	for _, f := range files {
		if r, err := load(f); err == nil {
			all = append(all, r.Ref())
		}
	}
	return all
}

// Ref is the recipe's name and version, as a config names it.
func (r *Recipe) Ref() string { return fmt.Sprintf("%s@%d", r.Name, r.Version) }

func load(file string) (*Recipe, error) {
	data, err := shipped.ReadFile(file)
	if err != nil {
		return nil, err
	}
	return Parse(path.Base(file), data)
}

// Named returns the shipped recipe of the given NAME@VERSION.
func Named(ref string) (*Recipe, error) {
	name, _, pinned := strings.Cut(ref, "@")
	r, err := load("recipes/" + name + ".yaml")
	switch known := Shipped(); {
	case err != nil:
		hint := "shipped are " + strings.Join(known, ", ") + "; a file of your own is file:PATH"
		if near := strings.Join(slices.DeleteFunc(known, func(k string) bool { return strict.Nearest(ref, []string{k}) == "" }), " or "); near != "" {
			hint = "did you mean " + near + "?"
		}
		return nil, &vendors.KeyError{Key: "recipe", Problem: "is not a recipe of this program", Hint: hint}
	case !pinned || r.Ref() != ref:
		return nil, &vendors.KeyError{Key: "recipe", Problem: "does not name a version that this program has", Hint: "write " + r.Ref()}
	}
	return r, nil
}

// Find returns the text of a shipped recipe, by its name with or without version, or of a file.
func Find(name string) (file string, text []byte, err error) {
	shippedName, _, _ := strings.Cut(name, "@")
	if text, err := shipped.ReadFile("recipes/" + shippedName + ".yaml"); err == nil {
		return shippedName + ".yaml", text, nil
	}
	text, err = os.ReadFile(name)
	return name, text, err
}

// Knows names what the vendor knows people by.
func (r *Recipe) Knows() string {
	var names []string
	for _, k := range r.KnownBy {
		names = append(names, vendors.Field(k).String())
	}
	return strings.Join(names, ", ")
}

const maxRecords = 25

// Parse reads a recipe, checks it and runs its examples. Its errors are *strict.Error, all
// that there are.
func Parse(file string, data []byte) (*Recipe, error) {
	r, d, err := read(file, data)
	if err == nil {
		err = r.tryExamples(d)
	}
	if err != nil {
		return nil, err
	}
	return r, nil
}

// read reads and checks a recipe without its examples.
func read(file string, data []byte) (*Recipe, *strict.Decoder, error) {
	d := strict.New(file)
	root, err := d.Document(data, "`expunge vendor show opendsr` prints one to start from")
	if err != nil {
		return nil, nil, err
	}
	d.Keys[""] = root // where a key is missed
	sum := sha256.Sum256(data)
	r := &Recipe{Digest: hex.EncodeToString(sum[:]), Limits: Limits{MaxRecords: maxRecords}, Unsure: hold, Erase: Erase{Each: eachIdentifier}}
	if d.Plain(root, "") {
		d.Structure(root, "", reflect.ValueOf(r).Elem())
	}
	if d.Err() == nil {
		(&checker{Decoder: d, r: r}).check()
	}
	return r, d, d.Err()
}

// The words of uncertain, of each, and of done.by.
const (
	ask            = "ask"
	repeat         = "repeat"
	hold           = "hold"
	eachIdentifier = "identifier"
	eachRecord     = "record"
	byPreview      = "preview"
	byStatus       = "status"
	byAnswer       = "answer"
	byPerson       = "person"
)

// checker finds what is wrong in a recipe that can be read.
type checker struct {
	*strict.Decoder
	r *Recipe
}

func (c *checker) fail(key, problem, hint string) { c.FailKey(key, problem, hint) }

// must reports a problem with a key unless ok.
func (c *checker) must(ok bool, key, problem, hint string) {
	if !ok && !c.Failed[key] {
		c.fail(key, problem, hint)
	}
}

// one checks that a word is one of those of the named key.
func (c *checker) one(key, name, word string) {
	of := wordsOf(name)
	hint := "known here: " + strings.Join(of, ", ")
	if near := strict.Nearest(word, of); near != "" {
		hint = "did you mean " + near + "?"
	}
	problem := "is missing"
	if word != "" {
		problem = strict.Show(word) + " is not known"
	}
	c.must(slices.Contains(of, word), key, problem, hint)
}

var (
	recipeName = regexp.MustCompile(`^[a-z][a-z0-9_-]{0,40}$`)
	headerName = regexp.MustCompile(`^[A-Za-z0-9-]+$`)
	tried      = regexp.MustCompile(`^(never|\d{4}-\d\d-\d\d by \S.*)$`)
	dotted     = regexp.MustCompile(`^(\.|[^.\[\]{}\s]+(\.[^.\[\]{}\s]+)*)$`)
	intoPlace  = regexp.MustCompile(`^(query|form|json)\.[^.\[\]{}\s]+(\.[^.\[\]{}\s]+)*$`)
)

func (c *checker) check() {
	r := c.r
	c.must(r.Format == 1, "format", "must be 1", "this program knows version 1 of the language")
	c.must(recipeName.MatchString(r.Name), "recipe", "must be a name of small letters, digits, - and _", "")
	c.must(r.Version > 0, "version", "must be 1 or more", "")
	c.must(len(r.Docs) > 0, "docs", "is missing", "give the addresses of the vendor's pages")
	_, err := time.Parse(time.DateOnly, r.Read)
	c.must(err == nil, "read", "must be a day such as 2026-11-25", "the day on which you read the vendor's pages")
	c.must(tried.MatchString(r.Tried), "tried", "must be never, or a day and who tried it", "write never until it has erased a test person")
	for name := range r.Config {
		c.must(settingName.MatchString(name), strict.Under("config", name), "must be a name of small letters, digits and _", "")
	}
	c.must(r.Limits.Rate.PerSecond > 0 || r.Limits.Rate.PerDay > 0, "limits.rate", "is missing", "give the vendor's limit, or 1/s where it names none")
	c.must(r.Limits.MaxRecords >= 1 && r.Limits.MaxRecords <= maxRecords, "limits.max_records", fmt.Sprintf("must be from 1 to %d", maxRecords), "")
	c.must(len(r.KnownBy) > 0, "known_by", "is missing", "such as [email, other_email]")
	c.base()
	c.auth("auth", r.Auth)
	c.preview()
	c.erase()
	c.status()
	c.done()
	for i := range r.Errors {
		e := &r.Errors[i]
		c.rule("errors", e, false)
		c.one("errors", "means", e.Means)
		sure := e.Status >= 400 && e.Status < 500 && e.Status != 408 || e.Status >= 200 && e.Status < 300 && e.At != "" && e.Is != ""
		c.must(sure || !vendors.Harmless(means[e.Means]), "errors", "may not call an answer harmless that leaves the outcome open",
			"auth, slow_down and refused are for 4xx, and for 2xx with at and is")
	}
	c.path("message", r.Message, false)
	c.one("report.act", "act", r.Report.Act)
	c.must(len(r.Report.Erases) > 0, "report.erases", "is missing", "")
	c.must(len(r.Report.Keeps) > 0, "report.keeps", "is missing", "name what stays; where no page says, write that")
	c.must(r.Report.HowKnown != "", "report.how_known", "is missing", "one sentence")
}

var settingName = regexp.MustCompile(`^[a-z][a-z0-9_]*$`)

// hostLabel is one label of a host name: nothing in it can lead to another host.
var hostLabel = regexp.MustCompile(`^[a-zA-Z0-9]([a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?$`)

// stand gives every setting a value that stands for what a user gives.
func (r *Recipe) stand() map[string]vendors.Secret {
	with := map[string]vendors.Secret{}
	for name := range r.Config {
		with[name] = vendors.NewSecret(strings.ReplaceAll(name, "_", "-"))
	}
	return with
}

func (c *checker) base() {
	if c.r.Base == "" {
		return
	}
	t := parseTemplate(c.r.Base)
	c.template("base", t)
	host, https := strings.CutPrefix(c.r.Base, "https://")
	c.must(https, "base", "must be an https address", "a test server stands in the config's base_url")
	host, _, _ = strings.Cut(host, "/")
	for _, p := range t {
		if p.name != "" && (!strings.HasPrefix(host, "{"+p.name+"}.") && !strings.Contains(host, ".{"+p.name+"}.")) {
			c.must(false, "base", "may take a value of the config only for one whole label of the host", "such as https://{config.site}.example.com")
		}
	}
	if text, err := t.fill(configValues(c.r.stand())); err == nil {
		_, err := vendors.ParseBaseURL(text)
		c.must(err == nil, "base", "is not an address", "such as https://api.example.com")
	}
}

// template checks the placeholders of a text; allowed are those of the config and the named.
func (c *checker) template(key string, t template, allowed ...string) {
	for _, p := range t {
		if p.name == "" {
			continue
		}
		name, _, parts := strings.Cut(p.name, ".")
		setting, ofConfig := strings.CutPrefix(p.name, "config.")
		switch {
		case ofConfig:
			known := slices.Sorted(maps.Keys(c.r.Config))
			if !slices.Contains(known, setting) {
				hint := "name it below config, with a hint"
				if near := strict.Nearest(setting, known); near != "" {
					hint = "did you mean {config." + near + "}?"
				}
				c.must(false, key, "{"+p.name+"} is not below config", hint)
			}
		case !slices.Contains(allowed, name) || parts && name != "record":
			known := append(slices.Clone(allowed), "config.NAME")
			hint := "known here: {" + strings.Join(known, "}, {") + "}"
			if near := strict.Nearest(p.name, allowed); near != "" {
				hint = "did you mean {" + near + "}?"
			}
			c.must(false, key, "{"+p.name+"} is not known here", hint)
		}
		c.must(slices.Contains([]string{"", asJSON, asQuoted}, p.spelling), key, "{"+p.name+":"+p.spelling+"} is spelled in a way that is not known", "known are :json and :quoted")
	}
}

// texts checks texts by name.
func (c *checker) texts(key string, texts map[string]string, allowed ...string) {
	for _, name := range slices.Sorted(maps.Keys(texts)) {
		c.template(strict.Under(key, name), parseTemplate(texts[name]), allowed...)
	}
}

func (c *checker) auth(key string, a *Auth) {
	if a == nil {
		return
	}
	allowed := []string(nil)
	if a.Token != nil {
		allowed = []string{"token"}
		c.request(key+".token.request", &a.Token.Request)
		c.path(key+".token.at", a.Token.At, true)
		c.must(a.OAuth2 == nil, key+".token", "cannot stand beside oauth2", "")
	}
	c.template(key+".bearer", parseTemplate(a.Bearer), allowed...)
	c.must(a.Bearer == "" || a.Basic == nil && a.OAuth2 == nil, key+".bearer", "cannot stand beside basic or oauth2", "")
	if a.Basic != nil {
		c.must(a.Basic.User != "", key+".basic.user", "is missing", "")
		c.template(key+".basic.user", parseTemplate(a.Basic.User), allowed...)
		c.template(key+".basic.password", parseTemplate(a.Basic.Password), allowed...)
	}
	c.texts(key+".header", a.Header, allowed...)
	for name := range a.Header {
		c.must(headerName.MatchString(name), strict.Under(key+".header", name), "is not the name of a header", "")
	}
	c.texts(key+".query", a.Query, allowed...)
	if o := a.OAuth2; o != nil {
		c.template(key+".oauth2.url", parseTemplate(o.URL))
		c.must(strings.HasPrefix(o.URL, "https://") || strings.HasPrefix(o.URL, "/"), key+".oauth2.url", "must be an https address, or a path below base", "")
		for name, text := range map[string]string{"id": o.ID, "secret": o.Secret} {
			c.must(text != "", key+".oauth2."+name, "is missing", "")
		}
		for name, text := range map[string]string{"id": o.ID, "secret": o.Secret, "scope": o.Scope} {
			c.template(key+".oauth2."+name, parseTemplate(text))
		}
	}
}

// request checks a request and compiles it.
func (c *checker) request(key string, r *Request, allowed ...string) {
	c.one(key+".method", "method", r.Method)
	c.must(strings.HasPrefix(r.Path, "/") && !strings.ContainsAny(r.Path, "?#"), key+".path", "must begin with / and have no ? or #", "parameters stand below query")
	r.compiled = compiled{path: parseTemplate(r.Path), query: parseTexts(r.Query)}
	c.template(key+".path", r.compiled.path, allowed...)
	c.texts(key+".query", r.Query, allowed...)
	if r.Form != nil {
		r.compiled.form = parseTexts(r.Form)
		c.texts(key+".form", r.Form, allowed...)
	}
	if !r.JSON.IsZero() {
		node, err := parseJSON(&r.JSON)
		if err != nil {
			c.fail(key+".json", err.Error(), "")
		}
		r.compiled.json = node
		eachText(node, func(t template, _ string) { c.template(key+".json", t, allowed...) })
		c.must(r.Form == nil, key+".form", "cannot stand beside json", "")
	}
	c.must(r.Method != "GET" || r.Form == nil && r.JSON.IsZero(), key+".method", "GET has no body", "")
	c.auth(key+".auth", r.Auth)
}

// uses reports whether a placeholder stands in a request.
func (r *Request) uses(name string) bool {
	found := r.compiled.path.uses(name)
	for _, texts := range []map[string]template{r.compiled.query, r.compiled.form} {
		for _, t := range texts {
			found = found || t.uses(name)
		}
	}
	eachText(r.compiled.json, func(t template, _ string) { found = found || t.uses(name) })
	return found
}

// says reports whether a request has a number among its literal values.
func (r *Request) says(n int) bool {
	want, found := strconv.Itoa(n), false
	for _, texts := range []map[string]string{r.Query, r.Form} {
		found = found || slices.Contains(slices.Collect(maps.Values(texts)), want)
	}
	eachText(r.compiled.json, func(t template, literal string) {
		found = found || literal == want || len(t) == 1 && t[0].text == want
	})
	return found
}

// path checks a dotted path.
func (c *checker) path(key, path string, required bool) {
	if path == "" {
		c.must(!required, key, "is missing", "a path such as data.id")
		return
	}
	c.must(dotted.MatchString(path), key, strict.Show(path)+" is not a path such as data.id", "names with dots between; . is the whole answer")
}

// rule checks a description of an answer.
func (c *checker) rule(key string, r *Rule, reads bool) {
	c.must(r.Status >= 200 && r.Status <= 599, key, "needs a status", "such as {status: 204}")
	c.path(key, r.At, false)
	c.path(key, r.Absent, false)
	c.must(r.Is == "" || r.At != "", key, "is needs at", "")
	if !reads {
		return
	}
	fixed := r.Status == 401 || r.Status == 403 || r.Status == 408 || r.Status == 429 || r.Status >= 500
	c.must(!fixed, key, fmt.Sprintf("status %d has a fixed meaning", r.Status), "")
	c.must(r.At != "" || r.Absent != "", key, "needs at or absent beside the status", "a wrong address and a proxy answer with such a status too")
	c.must(r.Means == "", key, "means is for errors", "")
}

func (c *checker) preview() {
	p := c.r.Preview
	if p == nil {
		return
	}
	c.request("preview.request", &p.Request, "identifier")
	c.must(p.Request.uses("identifier"), "preview.request", "does not ask by {identifier}", "")
	c.path("preview.records", p.Records, true)
	c.path("preview.total", p.Total, false)
	for _, path := range p.ID {
		c.path("preview.id", path, true)
	}
	for i := range p.None {
		n := &p.None[i]
		c.rule("preview.none", n, true)
		c.must(n.At == "" || n.Is != "", "preview.none", "needs is beside at", "which word says nobody? A gateway has such a path too. Where no page tells the word, leave the rule away: while the control record is found, what a stranger gets is believed")
	}
	c.must(p.Absent != nil, "preview.absent", "is missing", "whom does the look-up not show: archived, deleted, suppressed people? [] where the pages say that it shows all; where no page says: [what no page says]")
	c.must(!slices.ContainsFunc(p.Absent, func(whom string) bool { return strings.TrimSpace(whom) == "" }), "preview.absent", "names nobody in one of its places", "[] where the pages say that the look-up shows all")
	c.owner(p.Owner)
	x := p.Next
	if x == nil {
		return
	}
	ways := 0
	for _, way := range []string{x.At, x.Link, x.Page} {
		if way != "" {
			ways++
		}
	}
	c.must(ways <= 1, "preview.next", "has several ways to go on", "at with into, link, or page")
	c.path("preview.next.at", x.At, false)
	if x.Link != "header" {
		c.path("preview.next.link", x.Link, false)
	}
	c.must((x.At == "") == (x.Into == ""), "preview.next.into", "belongs to at", "where the cursor goes, such as query.after")
	c.must(x.Into == "" || intoPlace.MatchString(x.Into), "preview.next.into", "must be query.NAME, form.NAME or json.PATH", "")
	c.must(!strings.HasPrefix(x.Into, "json.") || p.Request.compiled.json != nil, "preview.next.into", "names a json that the request does not have", "")
	c.must(x.Page == "" || intoPlace.MatchString(x.Page) && !strings.HasPrefix(x.Page, "json."), "preview.next.page", "must be query.NAME or form.NAME", "")
	c.must(x.Link == "" || p.Request.Method == "GET", "preview.next.link", "needs a GET", "")
	c.must(x.Full >= 0 && (x.Full > 0 || ways == 1 && x.Page == ""), "preview.next.full", "is missing", "how many records a full page has")
	c.must(x.Full == 0 || p.Request.says(x.Full), "preview.next.full", fmt.Sprintf("the request does not ask for %d records a page", x.Full), "put the number into query, form or json")
	c.must(ways == 0 || x.Pages > 0, "preview.next.pages", "is missing", "the most pages that are read")
	c.must(ways == 0 || x.Full == 0 || x.Pages*x.Full > c.r.Limits.MaxRecords, "preview.next.pages", "pages x full must be more than max_records", "")
}

func (c *checker) owner(o *Owner) {
	const key = "preview.owner"
	if o == nil {
		c.fail(key, "is missing", "where does a record say whose it is? Where none does and the look-up is exact: {exact: true, why: …}")
		return
	}
	some := false
	for _, paths := range o.Paths() {
		for _, path := range paths {
			some = true
			c.must(dotted.MatchString(strings.ReplaceAll(strings.ReplaceAll(path, "[].", "."), "[]", "")), key, strict.Show(path)+" is not a path such as emails[].value", "")
		}
	}
	c.must(some != o.Exact, key, "needs paths, or exact: true alone", "")
	c.must(!o.Exact || len(c.r.Preview.ID) > 0, key+".exact", "needs an id", "what has neither owner nor id may be no record")
	c.must(o.Exact == (o.Why != ""), key+".why", "belongs to exact: true", "say why the look-up finds one exact value only")
	c.must(!o.Exact || !c.r.knows(vendors.Telephone), key+".exact", "is never for telephones", "people share them")
	for _, k := range c.r.KnownBy {
		class, _ := vendors.Normal(vendors.Field(k), "")
		shown := len(o.Paths()[class]) > 0 || len(o.Email) > 0
		c.must(o.Exact || shown, key, "has no path that shows an email or the "+class.String(), "")
	}
}

func (c *checker) erase() {
	r, e := c.r, &c.r.Erase
	c.one("erase.each", "each", e.Each)
	allowed := []string{"identifier", "request_id", "received_at"}
	if e.Each == eachRecord {
		allowed = append(allowed, "record")
		c.must(r.Preview != nil && len(r.Preview.ID) > 0, "erase.each", "record needs a preview with an id", "")
	}
	c.request("erase.request", &e.Request, allowed...)
	about := "identifier"
	if e.Each == eachRecord {
		about = "record"
	}
	c.must(e.Request.uses(about), "erase.request", "does not name {"+about+"}", "")
	if r.Preview != nil {
		for i := range r.Preview.ID {
			named := e.Request.uses("record." + strconv.Itoa(i+1))
			c.must(e.Each != eachRecord || len(r.Preview.ID) == 1 && !named || len(r.Preview.ID) > 1 && named, "erase.request",
				"must name the record as {record}, and one whose id has parts as {record.1}, {record.2}", "")
		}
		p := &r.Preview.Request
		c.must(p.Method != e.Request.Method || p.Path != e.Request.Path || p.Method == "POST" && !reflect.DeepEqual(p.compiled.json, e.Request.compiled.json),
			"preview.request", "is the erasure's own request", "a look-up must change nothing")
	}
	c.must(len(e.Accepted) > 0, "erase.accepted", "is missing", "such as [{status: 204}]")
	for i := range e.Accepted {
		a := &e.Accepted[i]
		c.rule("erase.accepted", a, false)
		c.must(a.Status >= 200 && a.Status < 300 && a.Means == "", "erase.accepted", "must be a 2xx status", "")
		c.must(a.Status != 200 || a.At != "", "erase.accepted", "status 200 needs at", "something in front of the vendor answers 200 too")
		if r.Done.By == byAnswer { // nothing is looked at afterwards
			c.must(a.Status != 202, "erase.accepted", "status 202 says that it is not done yet, and done.by is answer", "what tells the end? done.by: status, preview or person")
			c.must(a.At == "" || a.Is != "", "erase.accepted", "needs is beside at where done.by is answer", "which word says that it is done? An answer that says no has such a path too")
		}
	}
	c.path("erase.job", e.Job, r.Done.By == byStatus)
	c.must(e.Job == "" || e.Each == eachIdentifier, "erase.job", "needs each: identifier", "one erasure has one job")
}

func (c *checker) status() {
	s := c.r.Status
	if s == nil {
		c.must(c.r.Done.By != byStatus, "status", "is missing", "how is the job asked about?")
		return
	}
	c.must(c.r.Done.By == byStatus, "status", "is not used", "done.by is not status")
	c.request("status.request", &s.Request, "job")
	c.must(s.Request.uses("job"), "status.request", "does not ask about {job}", "")
	c.path("status.job", s.Job, false)
	c.path("status.at", s.At, true)
	seen := map[string]string{}
	for state, words := range s.Words.states() {
		c.must(len(words) > 0 || state == "failed", "status.words."+state, "is missing", "")
		for _, w := range words {
			low := strings.ToLower(w)
			c.must(plainWord.MatchString(w), "status.words."+state, strict.Show(w)+" cannot be a status word", "letters, digits, . _ : - and single blanks")
			c.must(seen[low] == "", "status.words."+state, strict.Show(w)+" stands below "+seen[low]+" too", "")
			seen[low] = state
		}
	}
	for i := range s.Lost {
		c.rule("status.lost", &s.Lost[i], true)
	}
}

func (w *Words) states() map[string][]string {
	return map[string][]string{"open": w.Open, "done": w.Done, "failed": w.Failed}
}

func (c *checker) done() {
	r := c.r
	c.one("done.by", "by", r.Done.By)
	c.must(r.Done.By != byPreview || r.Preview != nil, "done.by", "preview needs a preview", "")
	c.must(r.Done.By != byStatus || r.Done.After > 0, "done.after", "is missing", "from the acceptance to the first question, such as 1h")
	c.must(r.Done.By != byStatus || r.Done.Every > 0, "done.every", "is missing", "between questions, such as 6h")
	timed := r.Done.By == byStatus || r.Done.By == byPreview
	c.must(!timed || r.Done.Patience > r.Done.After, "done.patience", "must be longer than after", "")
	c.one("uncertain", "uncertain", r.Unsure)
	c.must(r.Unsure != ask || r.Preview != nil && r.Done.By != byPerson, "uncertain", "ask needs a preview, and a look that tells the end", "repeat or hold")
	c.must((r.Unsure == repeat) == (r.Why != ""), "why", "belongs to uncertain: repeat", "say why sending twice does no harm")
}
