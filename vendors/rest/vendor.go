package rest

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"expunge/vendors"
	"expunge/vendors/auth"
	"expunge/vendors/strict"
)

// Kind is what a program lists to speak to vendors that recipes describe.
var Kind = vendors.Kind{Name: kindName, New: func() vendors.Config { return newConfig() }}

const kindName = "rest"

// Config is what stands below a vendor of kind rest.
type Config struct {
	vendors.Common `yaml:",inline"`

	Recipe       Source                    `yaml:"recipe"`        // NAME@VERSION of this program, or file:PATH
	With         map[string]vendors.Secret `yaml:"with"`          // what the recipe asks for
	MaxRecords   int                       `yaml:"max_records"`   // more matching records than this are held
	LimitsAgreed bool                      `yaml:"limits_agreed"` // more than the recipe's limits is agreed with the vendor
	Control      vendors.Control           `yaml:"control"`       // a record of the company's own, of a vendor that can be asked

	recipe *Recipe // Validate reads it
}

// Source is where a recipe is from.
type Source struct {
	Name string // NAME@VERSION, or the file's path
	Data []byte // of a file

	recipe *Recipe // when it was read
}

// Of is a recipe that has been read.
func Of(r *Recipe) Source { return Source{Name: r.Name, recipe: r} }

// UnmarshalText implements encoding.TextUnmarshaler.
func (s *Source) UnmarshalText(text []byte) error { *s = Source{Name: string(text)}; return nil }

// UnmarshalFile takes the file that the config names.
func (s *Source) UnmarshalFile(path string, content []byte) error {
	*s = Source{Name: path, Data: content}
	return nil
}

// load reads and checks the recipe.
func (s *Source) load() (*Recipe, error) {
	var err error
	switch {
	case s.recipe != nil:
	case s.Data == nil:
		s.recipe, err = Named(s.Name)
	default:
		s.recipe, err = Parse(s.Name, s.Data)
	}
	return s.recipe, err
}

func newConfig() *Config {
	c := &Config{Common: vendors.DefaultCommon(kindName)}
	c.Rate = vendors.Rate{} // the recipe's
	return c
}

// Validate implements vendors.Config. It reads the recipe, and completes the config with the
// recipe's limits.
func (c *Config) Validate() error {
	bad := func(key, problem, hint string) error {
		return &vendors.KeyError{Key: key, Problem: problem, Hint: hint}
	}
	if c.Recipe.Name == "" {
		return bad("recipe", "is missing", "shipped are "+strings.Join(Shipped(), ", ")+"; a file of your own is file:PATH")
	}
	r, err := c.Recipe.load()
	if err != nil {
		return wrong(err)
	}
	c.recipe = r
	return c.complete()
}

// wrong says what is wrong with a recipe at the config's key.
func wrong(err error) error {
	problems := strict.Problems(err)
	if len(problems) == 0 {
		return err
	}
	text, hint, _ := strings.Cut(problems[0].Error(), "\nhint: ")
	if more := len(problems) - 1; more > 0 {
		text += fmt.Sprintf(" (and %d more: `expunge vendor test FILE` lists them)", more)
	}
	return &vendors.KeyError{Key: "recipe", Problem: text, Hint: hint}
}

// complete takes over the recipe's limits and checks what the recipe asks for.
func (c *Config) complete() error {
	r := c.recipe
	bad := func(key, problem, hint string) error {
		return &vendors.KeyError{Key: key, Problem: problem, Hint: hint}
	}
	if c.Rate.PerSecond == 0 {
		c.Rate.PerSecond = r.Limits.Rate.PerSecond
	}
	c.Rate.PerDay = cmp.Or(c.Rate.PerDay, r.Limits.Rate.PerDay)
	c.MaxRecords = cmp.Or(c.MaxRecords, r.Limits.MaxRecords)
	agreed := func(more bool, key string, limit any) error {
		if !more || c.LimitsAgreed {
			return nil
		}
		return bad(key, fmt.Sprintf("is more than the recipe's limit (%v)", limit), "agree on it with the vendor and set limits_agreed: true")
	}
	if err := cmpErr(
		agreed(c.Rate.PerSecond > r.Limits.Rate.PerSecond || r.Limits.Rate.PerDay > 0 && c.Rate.PerDay > r.Limits.Rate.PerDay, "rate", r.Limits.Rate),
		agreed(c.MaxRecords > r.Limits.MaxRecords, "max_records", r.Limits.MaxRecords)); err != nil {
		return err
	}
	if c.MaxRecords < 1 || c.MaxRecords > maxRecords {
		return bad("max_records", fmt.Sprintf("must be from 1 to %d", maxRecords), "")
	}
	for name, s := range r.Config {
		value, given := c.With[name]
		switch {
		case !given || value.IsZero():
			return bad("with."+name, "is missing", s.Hint)
		case !vendors.PlainToken(value.Reveal(), 4096):
			return bad("with."+name, "holds characters that cannot stand in a header", "look for a line end or a space")
		case parseTemplate(r.Base).uses("config."+name) && !hostLabel.MatchString(value.Reveal()):
			return bad("with."+name, "is not one label of a host name", "give it alone, without dots: "+s.Hint)
		}
	}
	for name := range c.With {
		if _, known := r.Config[name]; !known {
			return bad("with."+name, "is not a value that recipe "+r.Ref()+" asks for", "")
		}
	}
	if r.Preview == nil && !c.Control.IsZero() {
		return bad("control", "has no use: this vendor cannot be asked", "")
	}
	if own := c.Control.Target(); own != nil && !r.knows(own.Ref.Field) {
		return bad("control", "does not name what this vendor knows people by", "")
	}
	if _, err := c.base(); err != nil {
		return err
	}
	return c.Control.Validate()
}

func cmpErr(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// base is the address below which the calls are.
func (c *Config) base() (*url.URL, error) {
	if c.BaseURL == "" && c.recipe.Base == "" {
		return nil, &vendors.KeyError{Key: "base_url", Problem: "is missing", Hint: "recipe " + c.recipe.Ref() + " is spoken by many: where is yours?"}
	}
	own := &url.URL{}
	if c.recipe.Base != "" {
		text, err := parseTemplate(c.recipe.Base).fill(configValues(c.With))
		if err != nil {
			return nil, &vendors.KeyError{Key: "with", Problem: "lacks what the recipe's base needs"}
		}
		if own, err = vendors.HTTPBase("recipe", text); err != nil || c.BaseURL == "" {
			return own, err
		}
	}
	base, err := vendors.HTTPBase("base_url", c.BaseURL)
	if err != nil {
		return nil, err
	}
	return base.JoinPath(own.Path), nil
}

// configValues are the settings as placeholders name them.
func configValues(with map[string]vendors.Secret) values {
	v := values{}
	for name, s := range with {
		v["config."+name] = s.Reveal()
	}
	return v
}

// Open implements vendors.Config.
func (c *Config) Open(o vendors.Options) (vendors.Vendor, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	v, err := c.open(o)
	if err == nil && c.recipe.Done.By == byStatus {
		return &poller{v}, nil
	}
	return v, err
}

func (c *Config) open(o vendors.Options) (*Vendor, error) {
	base, err := c.base()
	if err != nil {
		return nil, err
	}
	now := o.Now
	if now == nil {
		now = time.Now
	}
	v := &Vendor{
		name: o.Name, recipe: c.recipe, transport: o.Transport, base: base, moved: c.BaseURL != "", control: c.Control,
		settings: configValues(c.With), max: c.MaxRecords, auths: map[*Auth]auth.Credentials{},
	}
	for _, a := range c.recipe.Auths() {
		v.auths[a] = v.credentials(a, now)
	}
	// A changed recipe is another place: what is under way was begun by the former one.
	account := c.recipe.Ref() + " " + c.recipe.Digest[:16]
	for _, name := range slices.Sorted(maps.Keys(c.recipe.Config)) {
		if !c.recipe.Config[name].Secret {
			account += " " + name + "=" + c.With[name].Reveal()
		}
	}
	v.place = vendors.PlaceOf(kindName, base, account)
	return v, nil
}

// Vendor is one account at a vendor that a recipe describes.
type Vendor struct {
	name      string
	recipe    *Recipe
	transport vendors.Transport
	base      *url.URL
	moved     bool // the config has a base_url
	settings  values
	place     string
	control   vendors.Control
	max       int
	auths     map[*Auth]auth.Credentials
}

// poller is a Vendor whose erasures are jobs.
type poller struct{ *Vendor }

var (
	_ vendors.Vendor  = (*Vendor)(nil)
	_ vendors.Checker = (*Vendor)(nil)
	_ vendors.Poller  = (*poller)(nil)
)

// emails are the fields that say whose a record is.
var emails = vendors.SetOf(vendors.Email, vendors.OtherEmail)

// Traits implements vendors.Vendor.
func (v *Vendor) Traits() vendors.Traits {
	r := v.recipe
	t := vendors.Traits{
		Kind: kindName, Place: v.place, SharedPlace: !slices.ContainsFunc(slices.Collect(maps.Values(r.Config)), func(s Setting) bool { return !s.Secret }),
		Act: vendors.Act(r.Report.Act), Control: v.control.Target(),
		Remote: r.Preview != nil, Untried: r.Tried == never, Besides: map[vendors.Field]vendors.FieldSet{},
		Completion: map[string]vendors.Completion{byPreview: vendors.ByPreview, byStatus: vendors.ByPoll, byAnswer: vendors.ByPerson, byPerson: vendors.ByPerson}[r.Done.By],
		Uncertain:  map[string]vendors.Uncertain{ask: vendors.AskAgain, repeat: vendors.SubmitAgain, hold: vendors.HoldForPerson}[r.Unsure],
		Anonymizes: r.Report.Erases, Keeps: r.Report.Keeps, HowKnown: r.Report.HowKnown,
		VerifyAfter: time.Duration(r.Done.After), VerifyPatience: time.Duration(r.Done.Patience),
	}
	if r.Done.By == byStatus {
		t.VerifyAfter, t.FailedEnds = 0, true
		t.FirstPoll, t.PollEvery, t.GiveUpAfter = time.Duration(r.Done.After), time.Duration(r.Done.Every), time.Duration(r.Done.Patience)
		t.LeadTime = t.FirstPoll
	}
	if t.Completion == vendors.ByPerson {
		t.LookUp = "look the person up in the vendor's own console; where its pages say how, is in " + strings.Join(r.Docs, ", ")
	}
	for _, k := range r.KnownBy {
		t.Fields |= vendors.SetOf(vendors.Field(k))
		class, _ := vendors.Normal(vendors.Field(k), "")
		if r.Preview != nil && (len(r.Preview.Owner.Email) > 0 || r.Preview.Owner.Exact && class == vendors.Email) {
			// Whose record it is, the subject's emails tell: see Owner.verdict.
			t.Fields |= emails
			t.Besides[class] = emails
		}
	}
	if r.Preview != nil && r.Preview.Owner.Exact {
		t.HowKnown += " The records do not say whose they are: " + r.Preview.Owner.Why
	}
	if r.Preview != nil && len(r.Preview.Absent) > 0 {
		t.NotShown = "the look-up may not show " + strings.Join(r.Preview.Absent, ", ")
		t.HowKnown += " What was not found may still be held: " + t.NotShown + "."
		t.Keeps = append(slices.Clone(t.Keeps), "whom the look-up may not show: "+strings.Join(r.Preview.Absent, ", "))
	}
	if r.Tried == never {
		t.HowKnown += " The description of this vendor was never tried at the vendor itself."
	}
	return t
}

const never = "never"

// Identifiers implements vendors.Vendor: each value by which the vendor knows people, once in
// whatever spelling.
func (v *Vendor) Identifiers(s vendors.Subject) ([]vendors.Ref, vendors.Reason) {
	var refs []vendors.Ref
	nth := map[vendors.Field]int{}
	for _, value := range s {
		ref := vendors.Ref{Field: value.Field, Nth: nth[value.Field]}
		nth[value.Field]++
		class, normal := vendors.Normal(value.Field, value.Text)
		if value.Masked || normal == "" || !slices.Contains(v.recipe.KnownBy, knownBy(value.Field)) {
			continue
		}
		if !slices.ContainsFunc(refs, func(r vendors.Ref) bool {
			c, n := vendors.Normal(r.Field, s.At(r))
			return c == class && n == normal
		}) {
			refs = append(refs, ref)
		}
	}
	if refs == nil {
		return nil, vendors.NoIdentifier
	}
	return refs, ""
}

// A hint is our own id of the request, and the ids of the records that were seen:
// "REQUEST|51,52". Either may be absent.
func readHint(hint string) (request string, records []string) {
	request, list, _ := strings.Cut(hint, "|")
	if list != "" {
		records = strings.Split(list, ",")
	}
	return request, records
}

func (v *Vendor) hint(t *vendors.Target, records []string) string {
	request, _ := readHint(t.Hint)
	if request == "" && v.names() {
		request = randomUUID()
	}
	if v.recipe.Erase.Each != eachRecord {
		records = nil
	}
	if request == "" && len(records) == 0 {
		return ""
	}
	return request + "|" + strings.Join(records, ",")
}

// names reports whether requests carry an id that we make: the vendor wants one, or a person's
// confirmation will name it.
func (v *Vendor) names() bool {
	return v.recipe.Erase.Request.uses("request_id") || v.recipe.Done.By == byPerson && v.recipe.Erase.Job == ""
}

// values are what the placeholders of a call about the target stand for.
func (v *Vendor) values(t *vendors.Target) values {
	all := v.settings.with("identifier", t.Identifier())
	all["request_id"], _ = readHint(t.Hint)
	all["job"] = t.Reference
	if !t.ReceivedAt.IsZero() {
		all["received_at"] = t.ReceivedAt.UTC().Format(time.RFC3339)
	}
	return all
}

// maxIdentifier bounds what is sent, in bytes.
const maxIdentifier = 256

// fits reports whether the identifier can be what the vendor knows, and can be sent.
func (v *Vendor) fits(t *vendors.Target) bool {
	id := t.Identifier()
	own := t.Ref.Field == vendors.CustomerKey || t.Ref.Field == vendors.AccountNumber
	if len(id) > maxIdentifier || !utf8.ValidString(id) || strings.ContainsFunc(id, func(r rune) bool { return !unicode.IsPrint(r) || own && unicode.IsSpace(r) }) {
		return false
	}
	all := v.values(t).with("record", "1")
	for _, name := range []string{"request_id", "job", "received_at", "record.1", "record.2", "record.3"} {
		all[name] = "1"
	}
	requests := []*Request{&v.recipe.Erase.Request}
	if v.recipe.Preview != nil {
		requests = append(requests, &v.recipe.Preview.Request)
	}
	for _, r := range requests {
		if _, err := r.build(context.Background(), v.base, all, v.exact(), extra{}); errors.Is(err, errUnfit) {
			return false
		}
	}
	return true
}

func (v *Vendor) exact() bool { return v.recipe.Preview != nil && v.recipe.Preview.Owner.Exact }

const (
	opToken   = "token"
	opPreview = "preview"
	opSubmit  = "submit"
)

// Preview implements vendors.Vendor. Where the vendor cannot be asked it calls nobody.
func (v *Vendor) Preview(ctx context.Context, t *vendors.Target) (vendors.Preview, error) {
	if _, normal := vendors.Normal(t.Ref.Field, t.Identifier()); normal == "" {
		return vendors.Preview{}, vendors.NotSent(v.name, opPreview, vendors.ErrNoValue)
	}
	if !t.Control && v.control.Covers(t.Subject) {
		return vendors.Preview{Doubt: vendors.ControlRecord}, nil
	}
	p := vendors.Preview{Hint: v.hint(t, nil)}
	if !v.fits(t) {
		p.Doubt = vendors.MalformedKey
		return p, nil
	}
	if v.recipe.Preview == nil {
		return p, nil
	}
	return v.look(ctx, opPreview, t)
}

// look makes the look-up, page by page.
func (v *Vendor) look(ctx context.Context, op string, t *vendors.Target) (vendors.Preview, error) {
	how, all := v.recipe.Preview, v.values(t)
	var p vendors.Preview
	listed, total := 0, ""
	for n, at := 1, (step{}); !at.over; n++ {
		a, err := v.call(vendors.Reading(ctx), op, &how.Request, all, at.more, at.link)
		if err != nil {
			return vendors.Preview{}, err
		}
		doc, err := v.read(op, a)
		if n == 1 && anyMatches(how.None, a.Status, doc) {
			return vendors.Preview{Hint: v.hint(t, nil)}, nil
		}
		found, ok := how.records(doc)
		switch {
		case err == nil && (!ok || len(found) == 0 && a.Status != http.StatusOK && a.Status != http.StatusCreated):
			err = v.unreadable(op, a, doc, errNoRecords)
		case a.Status == http.StatusNotFound && how.tells(doc):
			err = v.unreadable(op, a, doc, errNoRecords) // records in spite of a 404
		}
		if failed := (*vendors.Error)(nil); errors.As(err, &failed) {
			if n == 1 && !how.tells(doc) && failed.Kind != vendors.ErrAuth && vendors.MayMeanNothing(a) {
				failed.Form = vendors.FormOf(a, t.Identifier())
			}
			return vendors.Preview{}, failed
		}
		for _, record := range found {
			doubt, ok := how.Owner.verdict(record, t)
			if !ok {
				return vendors.Preview{}, v.unreadable(op, a, doc, errOwner)
			}
			p.Doubt = vendors.FirstDoubt(p.Doubt, doubt)
			if len(how.ID) == 0 {
				p.Records++
				continue
			}
			id := how.id(record, t)
			if id == "" {
				return vendors.Preview{}, v.unreadable(op, a, doc, errNoID)
			}
			if !slices.Contains(p.Refs, id) {
				p.Refs = append(p.Refs, id)
			}
		}
		listed += len(found)
		if how.Total != "" {
			if total, ok = text(doc, how.Total); !ok && listed == 0 {
				return vendors.Preview{}, v.unreadable(op, a, doc, errNoTotal)
			}
		}
		if listed > v.max {
			p.Doubt = vendors.FirstDoubt(p.Doubt, vendors.TooManyRecords)
			total = fmt.Sprint(listed) // what is beyond is not read
			break
		}
		if at, ok = how.Next.after(doc, a.Header, v.base, n, len(found)); !ok {
			return vendors.Preview{}, v.unreadable(op, a, doc, errNoNext)
		}
		p.Doubt = vendors.FirstDoubt(p.Doubt, at.doubt)
	}
	slices.Sort(p.Refs)
	p.Records += len(p.Refs)
	if how.Total != "" && total != fmt.Sprint(listed) {
		p.Doubt = vendors.FirstDoubt(p.Doubt, vendors.InconsistentAnswer)
		if all, err := strconv.Atoi(total); err == nil && all > listed {
			p.Records += all - listed // counted and not listed
		}
	}
	p.Hint = v.hint(t, p.Refs)
	return p, nil
}

// errControl is the cause of a submission that does not leave.
var errControl = errors.New("the identifier is the control record's, which is never erased")

// errPartly is the cause of the error when one record was accepted and a later one was not.
var errPartly = errors.New("one record was accepted, another was not")

// Submit implements vendors.Vendor: one call, or one for each record that the preview saw.
// Where one of them was accepted and a later one fails, the error is never a harmless one.
func (v *Vendor) Submit(ctx context.Context, t *vendors.Target) (vendors.Receipt, error) {
	if v.control.Covers(t.Subject) { // whatever a person has approved
		return vendors.Receipt{}, &vendors.Error{Vendor: v.name, Op: opSubmit, Kind: vendors.ErrRefused, Err: errControl}
	}
	_, normal := vendors.Normal(t.Ref.Field, t.Identifier())
	request, records := readHint(t.Hint)
	if v.recipe.Erase.Each == eachIdentifier {
		records = []string{""}
	}
	if normal == "" || len(records) == 0 || v.names() && request == "" {
		return vendors.Receipt{}, vendors.NotSent(v.name, opSubmit, vendors.ErrNoValue)
	}
	var receipt vendors.Receipt
	for i, record := range records {
		var err error
		receipt, err = v.erase(ctx, t, record)
		if failed := (*vendors.Error)(nil); i > 0 && err != nil && vendors.Harmless(err) && errors.As(err, &failed) {
			err = &vendors.Error{
				Vendor: v.name, Op: opSubmit, Kind: vendors.ErrUnavailable, Err: errPartly,
				Status: failed.Status, RetryAfter: failed.RetryAfter, Message: failed.Message,
			}
		}
		if err != nil {
			return vendors.Receipt{}, err
		}
	}
	return receipt, nil
}

// erase makes one call that cannot be undone.
func (v *Vendor) erase(ctx context.Context, t *vendors.Target, record string) (vendors.Receipt, error) {
	how, all := &v.recipe.Erase, v.values(t)
	parts := strings.Split(record, "/")
	for i, part := range parts {
		parts[i] = sent(part, t)
		all[fmt.Sprintf("record.%d", i+1)] = parts[i]
	}
	all["record"] = strings.Join(parts, "/")
	a, err := v.call(ctx, opSubmit, &how.Request, all, extra{}, nil)
	if err != nil {
		return vendors.Receipt{}, err
	}
	doc, err := v.read(opSubmit, a)
	if a.Status >= 200 && a.Status <= 299 && len(bytes.TrimSpace(a.Body)) == 0 {
		err = nil // for a rule that wants nothing of the body
	}
	switch {
	case err != nil:
		return vendors.Receipt{}, err
	case !anyMatches(how.Accepted, a.Status, doc):
		return vendors.Receipt{}, v.unreadable(opSubmit, a, doc, errNoAccept)
	}
	receipt := vendors.Receipt{Done: v.recipe.Done.By == byAnswer}
	if how.Job != "" {
		if receipt.Reference, _ = text(doc, how.Job); !usableID(receipt.Reference, t.Subject) {
			return vendors.Receipt{}, v.unreadable(opSubmit, a, doc, errNoJob)
		}
	} else if v.names() {
		receipt.Reference, _ = readHint(t.Hint)
	}
	return receipt, nil
}

// Poll implements vendors.Poller.
func (v *poller) Poll(ctx context.Context, t *vendors.Target) (vendors.Progress, error) {
	const op = "poll"
	how := v.recipe.Status
	if t.Reference == "" {
		return vendors.Progress{}, vendors.NotSent(v.name, op, vendors.ErrNoValue)
	}
	a, err := v.call(vendors.Reading(ctx), op, &how.Request, v.values(t), extra{}, nil)
	if err != nil {
		return vendors.Progress{}, err
	}
	doc, err := v.read(op, a)
	lost := anyMatches(how.Lost, a.Status, doc)
	if err != nil && !lost {
		return vendors.Progress{}, err
	}
	named := how.Job == ""
	if id, there := at(doc, how.Job); !named && there && id != "" {
		job, isText := scalar(id)
		if !isText {
			return vendors.Progress{}, v.unreadable(op, a, doc, errNoJob)
		}
		if named = strings.EqualFold(job, t.Reference); !named {
			return vendors.Progress{}, v.unreadable(op, a, doc, errOtherJob)
		}
	}
	said, _ := text(doc, how.At)
	word := strings.ToLower(strings.TrimSpace(said))
	if lost {
		return vendors.Progress{Job: vendors.JobLost, Status: shownWord(cmp.Or(word, "not_found"), t.Subject)}, nil
	}
	if word == "" {
		return vendors.Progress{}, v.unreadable(op, a, doc, errNoStatus)
	}
	state := how.Words.means(word)
	if !named && (state == vendors.JobDone || state == vendors.JobFailed) {
		// What ends a task must be about our job: something in front of the vendor has statuses
		// too.
		return vendors.Progress{}, v.unreadable(op, a, doc, errNoJob)
	}
	return vendors.Progress{Job: state, Status: shownWord(word, t.Subject)}, nil
}

func (w *Words) means(word string) vendors.Job {
	is := func(s string) bool { return strings.EqualFold(s, word) }
	switch {
	case slices.ContainsFunc(w.Open, is):
		return vendors.JobOpen
	case slices.ContainsFunc(w.Done, is):
		return vendors.JobDone
	case slices.ContainsFunc(w.Failed, is):
		return vendors.JobFailed
	}
	return vendors.JobUnknown
}

// call makes one request with what the recipe shows.
func (v *Vendor) call(ctx context.Context, op string, r *Request, all values, more extra, link *url.URL) (*vendors.Answer, error) {
	shows := v.recipe.authOf(r)
	if op == opToken {
		shows = r.Auth
	}
	credentials := v.auths[shows]
	if credentials == nil {
		credentials = auth.Fixed{}
	}
	return auth.Do(ctx, v.transport, op, credentials, func(ctx context.Context, token string) (*http.Request, error) {
		req, err := r.build(ctx, v.base, all, v.exact(), more)
		if err == nil && link != nil {
			req.URL = link
		}
		if err == nil {
			err = shows.show(req, v.settings, token)
		}
		if err != nil {
			return nil, vendors.NotSent(v.name, op, err)
		}
		return req, nil
	})
}

// Check implements vendors.Checker: it looks up somebody who cannot exist, or asks for a job
// that cannot, or fetches a token. Where the recipe has none of these, nothing can be asked
// harmlessly.
func (v *Vendor) Check(ctx context.Context) ([]string, error) {
	const op = "check"
	r := v.recipe
	warnings := r.Weaknesses()
	var err error
	switch t := vendors.Stranger(vendors.Field(r.KnownBy[0])); {
	case r.Preview != nil && v.fits(t):
		_, err = v.look(ctx, op, t)
	case r.Status != nil:
		t.Reference = randomUUID()
		_, err = (&poller{v}).Poll(ctx, t)
	default:
		for _, c := range v.auths {
			if err == nil {
				_, err = c.Value(ctx)
			}
		}
	}
	if failed := (*vendors.Error)(nil); errors.As(err, &failed) && errors.Is(err, vendors.ErrRefused) && failed.Message != "" {
		return warnings, nil // the API understood who asks and disliked the value
	}
	return warnings, err
}

// Weaknesses are sentences about what a recipe does not show or was not shown, for `check`.
func (r *Recipe) Weaknesses() []string {
	var all []string
	say := func(is bool, format string, args ...any) {
		if is {
			all = append(all, "recipe "+r.Ref()+": "+fmt.Sprintf(format, args...))
		}
	}
	say(r.Tried == never, "never tried at the vendor: every task is held until one was erased and you have said `expunge review prove`")
	say(r.Preview == nil, "the vendor cannot be asked whom it holds: nothing is seen before the erasure, and nothing is verified")
	if p := r.Preview; p != nil {
		say(p.Owner.Exact, "records do not say whose they are: %s", p.Owner.Why)
		say(len(p.Absent) > 0, "who is only %s is not found, and after an erasure nobody sees whether they are left: the look-up may not show them", strings.Join(p.Absent, " or "))
		say(p.Total == "" && (p.Next == nil || p.Next.Full == 0), "a list that was cut off could not be told from a whole one (no total, no full)")
	}
	say(r.Done.By == byPerson, "nobody can ask whether it is done: `expunge confirm` takes in what the vendor's people say")
	say(r.Status != nil && r.Status.Job == "", "status answers do not say which job they are about")
	say(r.Unsure == repeat, "an erasure without an answer is sent again: %s", r.Why)
	invented := 0
	for _, e := range r.Examples {
		if e.From == madeUp {
			invented++
		}
	}
	say(invented > 0, "%d of %d examples are made up", invented, len(r.Examples))
	return all
}

// randomUUID is a UUID of version 4.
func randomUUID() string {
	var b [16]byte
	rand.Read(b[:]) // never fails (crypto/rand)
	b[6] = b[6]&0x0f | 0x40
	b[8] = b[8]&0x3f | 0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[0:4], b[4:6], b[6:8], b[8:10], b[10:])
}
