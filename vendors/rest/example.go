package rest

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"

	"expunge/vendors"
	"expunge/vendors/auth"
	"expunge/vendors/strict"
)

// Example is what a vendor was asked and answered, and what must come of it. It pins a recipe
// from both sides: what is sent, and what is made of the answer.
type Example struct {
	From       string     `yaml:"from" doc:"where it is from"`
	Of         string     `yaml:"of" doc:"which request it is about"`
	Identifier string     `yaml:"identifier" doc:"the person's; of preview and erase"`
	Records    []string   `yaml:"records" doc:"ids that the look-up saw; of erase with each: record. Ids of parts have / between"`
	Job        string     `yaml:"job" doc:"the job that is asked about; of status"`
	Sends      []string   `yaml:"sends" doc:"the requests as they must leave, without auth: METHOD /path?query BODY, with the path that base may have; settings by their names. One example of each request must have it: write ? there, and compare what the load error then says with the vendor's page"`
	Answers    []Recorded `yaml:"answers" doc:"the answers, in order"`
	Gives      string     `yaml:"gives" doc:"what must come of the answers"`
}

// Recorded is one answer of an example.
type Recorded struct {
	Status  int               `yaml:"status" doc:"the HTTP status"`
	Headers map[string]string `yaml:"headers" doc:"headers by name; only Link is read"`
	JSON    yaml.Node         `yaml:"json" doc:"the body, as a structure"`
	Text    yaml.Node         `yaml:"text" doc:"the body, where it is no JSON"`
}

const madeUp = "made_up"

// exampleTime is when the requests of the examples were received, and exampleID our id of them.
var exampleTime = time.Date(2026, 3, 1, 9, 0, 0, 0, time.UTC)

const exampleID = "00000000-0000-4000-8000-000000000000"

// Answer is the recorded answer as it arrives.
func (r *Recorded) Answer() (*vendors.Answer, error) {
	a := &vendors.Answer{Status: r.Status, Header: http.Header{}}
	for name, value := range r.Headers {
		a.Header.Set(name, value)
	}
	if !r.JSON.IsZero() {
		doc, err := parseJSON(&r.JSON)
		if err != nil {
			return nil, err
		}
		// An answer's text is not a template: what stands in braces is meant.
		a.Body, err = json.Marshal(asWritten(doc))
		a.Header.Set("Content-Type", "application/json")
		return a, err
	}
	a.Body = []byte(r.Text.Value)
	return a, nil
}

// asWritten undoes the reading of texts as templates.
func asWritten(node any) any {
	switch n := node.(type) {
	case map[string]any:
		for k, child := range n {
			n[k] = asWritten(child)
		}
	case []any:
		for i, child := range n {
			n[i] = asWritten(child)
		}
	case template:
		return n.String()
	}
	return node
}

// String is the text as the recipe has it.
func (t template) String() string {
	var b strings.Builder
	for _, p := range t {
		switch {
		case p.name == "":
			b.WriteString(p.text)
		case p.spelling == "":
			b.WriteString("{" + p.name + "}")
		default:
			b.WriteString("{" + p.name + ":" + p.spelling + "}")
		}
	}
	return b.String()
}

// Target is the person, or the job, that an example is about.
func (e *Example) Target(r *Recipe) *vendors.Target {
	field := vendors.Field(r.KnownBy[0])
	t := &vendors.Target{
		Ref: vendors.Ref{Field: field}, Subject: vendors.Subject{{Field: field, Text: e.Identifier}},
		Reference: e.Job, ReceivedAt: exampleTime,
	}
	if e.Of == ofErase {
		t.Hint = exampleID + "|" + strings.Join(e.Records, ",")
	}
	return t
}

const (
	ofPreview = "preview"
	ofErase   = "erase"
	ofStatus  = "status"
)

// canned is a transport that gives recorded answers.
type canned struct {
	answers []Recorded
	sent    []string
}

var errAllGiven = &vendors.Error{Vendor: "example", Op: "example", Kind: vendors.ErrNotSent, Err: errors.New("a further request, for which the example has no answer")}

// Do implements vendors.Transport.
func (c *canned) Do(_ context.Context, _ string, req *http.Request) (*vendors.Answer, error) {
	c.sent = append(c.sent, Sent(req))
	if len(c.sent) > len(c.answers) {
		return nil, errAllGiven
	}
	return c.answers[len(c.sent)-1].Answer()
}

// Stream implements vendors.Transport. No recipe streams.
func (c *canned) Stream(context.Context, string, *http.Request, io.Writer, int64) (*vendors.Answer, error) {
	return nil, errAllGiven
}

// HTTPClient implements vendors.Transport. No example uses one.
func (c *canned) HTTPClient(string) *http.Client { return new(http.Client) }

// Wait implements vendors.Transport.
func (c *canned) Wait(context.Context, string) error { return nil }

// Sent writes a request as examples do, without what it shows for credentials.
func Sent(req *http.Request) string {
	line := req.Method + " " + req.URL.EscapedPath()
	if req.URL.RawQuery != "" {
		line += "?" + req.URL.RawQuery
	}
	if req.Body != nil {
		if body, err := io.ReadAll(req.Body); err == nil && len(body) > 0 {
			req.Body = io.NopCloser(bytes.NewReader(body))
			line += " " + string(body)
		}
	}
	return line
}

// sameRequest compares two requests as Sent writes them: the order of parameters and of keys
// does not count.
func sameRequest(a, b string) bool {
	if a == b {
		return true
	}
	method, targetA, bodyA := cutRequest(a)
	methodB, targetB, bodyB := cutRequest(b)
	pathA, queryA, _ := strings.Cut(targetA, "?")
	pathB, queryB, _ := strings.Cut(targetB, "?")
	return method == methodB && pathA == pathB && sameForm(queryA, queryB) && (sameForm(bodyA, bodyB) || sameJSON(bodyA, bodyB))
}

func cutRequest(line string) (method, target, body string) {
	method, rest, _ := strings.Cut(line, " ")
	target, body, _ = strings.Cut(rest, " ")
	return method, target, body
}

func sameForm(a, b string) bool {
	x, err := url.ParseQuery(a)
	y, err2 := url.ParseQuery(b)
	return err == nil && err2 == nil && reflect.DeepEqual(x, y)
}

func sameJSON(a, b string) bool {
	var x, y any
	return json.Unmarshal([]byte(a), &x) == nil && json.Unmarshal([]byte(b), &y) == nil && reflect.DeepEqual(x, y)
}

// vendor makes a vendor of the recipe for examples and tests: with values that stand for what a
// user gives.
func (r *Recipe) vendor(t vendors.Transport) (*Vendor, error) {
	c := newConfig()
	c.Recipe, c.With = Of(r), r.stand()
	c.recipe = r
	if r.Base == "" {
		c.BaseURL = "https://vendor.example.com"
	}
	if err := c.complete(); err != nil {
		return nil, err
	}
	v, err := c.open(vendors.Options{Name: r.Name, Transport: t, Now: func() time.Time { return exampleTime }})
	if err == nil {
		for a := range v.auths { // examples are about calls, not about credentials
			v.auths[a] = auth.Fixed{Secret: vendors.NewSecret("token")}
		}
	}
	return v, err
}

// tryExamples runs the examples, and sees to it that those which apply are there.
func (r *Recipe) tryExamples(d *strict.Decoder) error {
	for _, name := range slices.Sorted(maps.Keys(r.Examples)) {
		e := r.Examples[name]
		key := "examples." + name
		c, before := &checker{d, r}, d.Problems()
		c.one(key+".from", "from", e.From)
		c.one(key+".of", "of", e.Of)
		c.must(e.Of != ofPreview || r.Preview != nil, key+".of", "there is no preview", "")
		c.must(e.Of != ofStatus || r.Status != nil, key+".of", "there is no status", "")
		c.must(e.Of == ofStatus || e.Identifier != "", key+".identifier", "is missing", "who is asked about?")
		if d.Problems() > before {
			continue
		}
		got, sent, err := e.run(r)
		switch {
		case err != nil:
			d.FailKey(key, "cannot be run: "+err.Error(), "")
		case got != e.Gives:
			d.FailKey(key+".gives", fmt.Sprintf("the recipe makes %q of it, the example says %q", got, e.Gives), "one of the two is wrong: look at what the vendor's page says")
		case e.Sends != nil && !slices.EqualFunc(sent, e.Sends, sameRequest):
			d.FailKey(key+".sends", fmt.Sprintf("the recipe sends %q", sent), "one of the two is wrong: look at what the vendor's page says")
		}
	}
	if d.Err() == nil {
		r.cover(d)
	}
	return d.Err()
}

// run tells what comes of an example, and what was sent.
func (e *Example) run(r *Recipe) (gives string, sent []string, err error) {
	tr := &canned{answers: e.Answers}
	v, err := r.vendor(tr)
	if err != nil {
		return "", nil, err
	}
	t := e.Target(r)
	switch e.Of {
	case ofPreview:
		p, err := v.Preview(context.Background(), t)
		gives = outcome(err, func() string { return seen(p) })
	case ofErase:
		rc, err := v.Submit(context.Background(), t)
		gives = outcome(err, func() string {
			if rc.Done {
				return "done"
			}
			return "accepted"
		})
	case ofStatus:
		p, err := (&poller{v}).Poll(context.Background(), t)
		gives = outcome(err, func() string { return jobs[p.Job] })
	}
	if len(tr.sent) != len(e.Answers) {
		return "", nil, fmt.Errorf("it has %d answers, and the recipe makes %d requests", len(e.Answers), len(tr.sent))
	}
	return gives, tr.sent, nil
}

// seen says what a preview shows.
func seen(p vendors.Preview) string {
	switch {
	case p.Doubt != "":
		return "held"
	case p.Records == 0:
		return "none"
	case p.Records == 1:
		return "1 record"
	}
	return fmt.Sprintf("%d records", p.Records)
}

var jobs = map[vendors.Job]string{vendors.JobOpen: "open", vendors.JobUnknown: "unknown", vendors.JobDone: "done", vendors.JobFailed: "failed", vendors.JobLost: "lost"}

func outcome(err error, fine func() string) string {
	switch {
	case err == nil:
		return fine()
	case errors.Is(err, vendors.ErrUnreadable):
		return "unreadable"
	case errors.Is(err, vendors.ErrAddress):
		return "address"
	case errors.Is(err, vendors.ErrUnavailable):
		return "unavailable"
	case errors.Is(err, vendors.ErrAuth):
		return "auth"
	case errors.Is(err, vendors.ErrRateLimited):
		return "slow_down"
	case errors.Is(err, vendors.ErrRefused):
		return "refused"
	}
	return err.Error()
}

// cover reports examples that are missing: every outcome that the recipe can reach, every rule
// and every word must stand in one, and every request must be pinned.
func (r *Recipe) cover(d *strict.Decoder) {
	missing := func(what string) {
		d.FailKey("examples", "has none "+what, "record one, or take it from the vendor's page; what you make up is from: made_up")
	}
	has := func(of string, is func(e *Example) bool) bool {
		for _, e := range r.Examples {
			if e.Of == of && is(&e) {
				return true
			}
		}
		return false
	}
	gives := func(of, what string) bool { return has(of, func(e *Example) bool { return e.Gives == what }) }
	pinned := func(of string) {
		if !has(of, func(e *Example) bool { return e.Sends != nil }) {
			missing("of " + of + " that says what it sends")
		}
	}
	rules := func(of, what string, all []Rule) {
		for _, rule := range all {
			if !has(of, func(e *Example) bool { return e.shows(rule) }) {
				missing(fmt.Sprintf("in which the rule of %s for status %d applies", what, rule.Status))
			}
		}
	}
	if p := r.Preview; p != nil {
		pinned(ofPreview)
		if !gives(ofPreview, "1 record") {
			missing("of preview that gives 1 record")
		}
		list := has(ofPreview, func(e *Example) bool {
			found, _ := at(e.document(), p.Records)
			_, is := found.([]any)
			return is
		})
		if (list || p.None != nil) && !gives(ofPreview, "none") {
			missing("of preview that gives none")
		}
		if list && len(p.ID) > 0 && !has(ofPreview, func(e *Example) bool { return strings.HasSuffix(e.Gives, " records") }) {
			missing("of preview that gives several records")
		}
		if !gives(ofPreview, "held") && !p.Owner.Exact {
			missing("of preview that is held, for it shows somebody else")
		}
		if x := p.Next; x != nil && cmp.Or(x.At, x.Link, x.Page) != "" && !has(ofPreview, func(e *Example) bool { return len(e.Answers) > 1 && strings.HasSuffix(e.Gives, " records") }) {
			missing("of preview with two pages")
		}
		rules(ofPreview, "none", p.None)
	}
	pinned(ofErase)
	rules(ofErase, "accepted", r.Erase.Accepted)
	if !gives(ofErase, "refused") {
		missing("of erase that is refused")
	}
	if s := r.Status; s != nil {
		pinned(ofStatus)
		for state, words := range s.Words.states() {
			for _, w := range words {
				if !has(ofStatus, func(e *Example) bool { return e.Gives == state && e.says(s.At, w) }) {
					missing("of status that says " + w + " and gives " + state)
				}
			}
		}
		rules(ofStatus, "lost", s.Lost)
	}
}

// document is what the first answer holds; nil: no JSON.
func (e *Example) document() any {
	if len(e.Answers) == 0 {
		return nil
	}
	a, err := e.Answers[0].Answer()
	if err != nil {
		return nil
	}
	doc, _ := decode("", "", a) // what is no JSON has nothing at any path
	return doc
}

// shows reports whether one of the answers is as a rule says.
func (e *Example) shows(rule Rule) bool {
	return slices.ContainsFunc(e.Answers, func(r Recorded) bool {
		a, err := r.Answer()
		doc, _ := decode("", "", a) // what is no JSON has nothing at any path
		return err == nil && rule.matches(a.Status, doc)
	})
}

func (e *Example) says(path, word string) bool {
	return slices.ContainsFunc(e.Answers, func(r Recorded) bool {
		a, err := r.Answer()
		doc, _ := decode("", "", a) // what is no JSON has nothing at any path
		said, _ := text(doc, path)
		return err == nil && strings.EqualFold(said, word)
	})
}
