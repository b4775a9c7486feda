package sim

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v4"

	"expunge/vendors"
	"expunge/vendors/rest"
)

// Rest is the kind of the vendors that recipes describe, each an account of its recipe's name.
const Rest = "rest"

// twin plays a vendor that a recipe describes, below /r/NAME. It answers with the recipe's own
// examples, filled with its people: the records of the first CustomerGauge account, or the
// keys of the first Voyado account, as the recipe knows people by the one or the other. It
// understands the recipe's requests with code of its own and refuses all others.
//
// It is made from the same file as the vendor that it plays: it proves the engine and the
// config, not what the file says of the vendor.
type twin struct {
	s       *Sim
	r       *rest.Recipe
	class   vendors.Field // by which the recipe knows people
	records []*twinRecord
	jobs    map[string]*twinJob
	made    []*twinJob
	tokens  map[string]bool
}

type twinRecord struct {
	Record
	id   string // parts have slashes between; the last ends with Number
	key  string // by which the recipe knows people, unless it is an email or a telephone
	gone bool
}

// shows is what the record says of its owner.
func (r *twinRecord) shows(f vendors.Field) string {
	switch f {
	case vendors.Email:
		return r.Email
	case vendors.Telephone:
		return r.Telephone
	}
	return r.key
}

type twinJob struct {
	id, identifier string
	fault          FaultKind
	created        float64
	finished       bool
}

func newTwin(s *Sim, r *rest.Recipe, seed *Seed) *twin {
	t := &twin{s: s, r: r, jobs: map[string]*twinJob{}, tokens: map[string]bool{}}
	t.class, _ = vendors.Normal(vendors.Field(r.KnownBy[0]), "")
	add := func(rec *twinRecord) {
		if rec.shows(t.class) != "" {
			rec.Number = firstNumber + len(t.records)
			rec.id = t.newID(rec.Number)
			t.records = append(t.records, rec)
		}
	}
	if t.class == vendors.Email || t.class == vendors.Telephone {
		for _, rec := range seed.CustomerGauge[0].Records {
			add(&twinRecord{Record: rec})
		}
	} else {
		for _, k := range seed.Voyado[0].Keys {
			add(&twinRecord{key: k.Key})
		}
	}
	return t
}

// example returns the first example, by name, that gives one of the outcomes.
func (t *twin) example(of string, is func(e *rest.Example) bool) *rest.Example {
	for _, name := range slices.Sorted(maps.Keys(t.r.Examples)) {
		if e := t.r.Examples[name]; e.Of == of && is(&e) {
			return &e
		}
	}
	return nil
}

func giving(outcomes ...string) func(*rest.Example) bool {
	return func(e *rest.Example) bool { return slices.Contains(outcomes, e.Gives) }
}

// newID makes a record's id of the sort that the example has: a number, or text. Of several
// parts the last tells records apart.
func (t *twin) newID(number int) string {
	if t.r.Preview == nil {
		return ""
	}
	var parts []string
	model := t.model()
	for i, path := range t.r.Preview.ID {
		v, _ := find(model, path)
		switch _, isNumber := v.(json.Number); {
		case i < len(t.r.Preview.ID)-1:
			parts = append(parts, fmt.Sprint(v))
		case isNumber:
			parts = append(parts, itoa(number))
		default:
			parts = append(parts, fmt.Sprintf("rec-%d", number))
		}
	}
	return strings.Join(parts, "/")
}

// model is the record of the example that finds one.
func (t *twin) model() any {
	e := t.example("preview", giving("1 record"))
	found, _ := find(document(&e.Answers[0]), t.r.Preview.Records)
	if list, ok := found.([]any); ok && len(list) > 0 {
		return list[0]
	}
	return found
}

// document is an example's answer, decoded anew.
func document(r *rest.Recorded) any {
	a, err := r.Answer()
	if err != nil {
		panic(err) // the recipe was loaded with it
	}
	return decodeJSON(a.Body)
}

// decodeJSON returns nil for what is no JSON.
func decodeJSON(body []byte) any {
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	var doc any
	if d.Decode(&doc) != nil {
		return nil
	}
	return doc
}

func find(doc any, path string) (any, bool) {
	if path == "." {
		return doc, true
	}
	for name := range strings.SplitSeq(path, ".") {
		m, _ := doc.(map[string]any)
		doc = m[name]
	}
	return doc, doc != nil
}

// set puts a value at a path that may lead through lists (a[].b), of which one element is
// left. A number stays one.
func set(doc any, path string, value any) any {
	if path == "." || path == "" {
		if _, number := doc.(json.Number); number {
			return json.Number(fmt.Sprint(value))
		}
		return value
	}
	name, rest, _ := strings.Cut(path, ".")
	m, _ := doc.(map[string]any)
	if m == nil {
		m = map[string]any{}
	}
	if list, ok := strings.CutSuffix(name, "[]"); ok {
		var first any
		if old, _ := m[list].([]any); len(old) > 0 {
			first = old[0]
		}
		m[list] = []any{set(first, rest, value)}
	} else {
		m[name] = set(m[name], rest, value)
	}
	return m
}

// drop takes away what is at a path.
func drop(doc any, path string) {
	m, ok := doc.(map[string]any)
	if name, rest, deeper := strings.Cut(path, "."); ok && deeper {
		drop(m[name], rest)
	} else if ok {
		delete(m, name)
	}
}

// swap replaces texts of an example with those that are meant.
func swap(doc any, r *strings.Replacer) any {
	switch doc := doc.(type) {
	case map[string]any:
		for k, v := range doc {
			doc[k] = swap(v, r)
		}
	case []any:
		for i, v := range doc {
			doc[i] = swap(v, r)
		}
	case string:
		return r.Replace(doc)
	}
	return doc
}

// asked is a request that was understood.
type asked struct {
	values map[string]string // by placeholder
	page   string            // what leads to a further page
}

var aPlaceholder = regexp.MustCompile(`\{([a-z][a-z0-9_]*(?:\.[A-Za-z0-9_]+)?)(?::([a-z]+))?\}`)

// understand finds the values of a text's placeholders in what arrived.
func (a *asked) understand(t *twin, template, arrived string, decode func(string) (string, error)) bool {
	pattern, at := "(?s)^", 0
	var names, spellings []string
	for _, m := range aPlaceholder.FindAllStringSubmatchIndex(template, -1) {
		pattern += regexp.QuoteMeta(template[at:m[0]]) + "(.+?)"
		names = append(names, template[m[2]:m[3]])
		spelling := ""
		if m[4] >= 0 {
			spelling = template[m[4]:m[5]]
		}
		spellings, at = append(spellings, spelling), m[1]
	}
	found := regexp.MustCompile(pattern + regexp.QuoteMeta(template[at:]) + "$").FindStringSubmatch(arrived)
	if found == nil {
		return false
	}
	for i, name := range names {
		value, err := decode(found[i+1])
		switch {
		case err != nil:
			return false
		case spellings[i] == "json":
			if json.Unmarshal([]byte(value), &value) != nil {
				return false
			}
		case spellings[i] == "quoted":
			value = strings.NewReplacer(`\\`, `\`, `\'`, `'`).Replace(strings.TrimSuffix(strings.TrimPrefix(value, "'"), "'"))
		}
		if setting, ok := strings.CutPrefix(name, "config."); ok && value != Setting(setting) {
			return false
		}
		if before, again := a.values[name]; again && before != value {
			return false
		}
		a.values[name] = value
	}
	return true
}

// Setting is what a twin takes for the value of a recipe's setting.
func Setting(name string) string { return "sim-" + strings.ReplaceAll(name, "_", "-") }

func plain(s string) (string, error) { return s, nil }

// form compares parameters with those of the recipe, all but the one of further pages.
func (a *asked) form(t *twin, want map[string]string, got url.Values, page string, ignore map[string]string) bool {
	for name, values := range got {
		if name == page {
			a.page = values[0]
			continue
		}
		if _, shown := ignore[name]; shown {
			continue
		}
		text, known := want[name]
		if !known || len(values) != 1 || !a.understand(t, text, values[0], plain) {
			return false
		}
	}
	for name := range want {
		if !got.Has(name) {
			return false
		}
	}
	return true
}

// same compares a JSON value with that of the recipe.
func (a *asked) same(t *twin, want, got any) bool {
	switch want := want.(type) {
	case map[string]any:
		m, ok := got.(map[string]any)
		if !ok || len(m) != len(want) {
			return false
		}
		for k, v := range want {
			if !a.same(t, v, m[k]) {
				return false
			}
		}
		return true
	case []any:
		list, ok := got.([]any)
		if !ok || len(list) != len(want) {
			return false
		}
		for i, v := range want {
			if !a.same(t, v, list[i]) {
				return false
			}
		}
		return true
	case string:
		s, ok := got.(string)
		return ok && a.understand(t, want, s, plain)
	}
	return fmt.Sprint(want) == fmt.Sprint(got)
}

// understand reports whether a request is the one that the recipe describes.
func (t *twin) understand(q *rest.Request, r *http.Request, body []byte, next *rest.Next) (*asked, bool) {
	a := &asked{values: map[string]string{}}
	place, page := "query", ""
	if next != nil {
		place, page, _ = strings.Cut(next.Into+next.Page, ".")
		if next.Link != "" {
			place, page = "query", "_page"
		}
	}
	in := func(where string) string {
		if where == place {
			return page
		}
		return ""
	}
	path := strings.TrimPrefix(r.URL.EscapedPath(), "/r/"+t.r.Name)
	if base, err := url.Parse(aPlaceholder.ReplaceAllString(t.r.Base, "x")); err == nil {
		path = strings.TrimPrefix(path, base.EscapedPath())
	}
	var shown map[string]string
	if auth := cmpAuth(q.Auth, t.r.Auth); auth != nil {
		shown = auth.Query
	}
	if r.Method != q.Method || !a.understand(t, q.Path, path, url.PathUnescape) || !a.form(t, q.Query, r.URL.Query(), in("query"), shown) {
		return nil, false
	}
	switch {
	case !q.JSON.IsZero():
		doc := decodeJSON(body)
		if p := in("json"); p != "" {
			if v, there := find(doc, p); there {
				a.page = fmt.Sprint(v)
				drop(doc, p)
			}
		}
		return a, isType(r, "application/json") && a.same(t, structure(&q.JSON), doc)
	case q.Form != nil:
		form, err := url.ParseQuery(string(body))
		return a, err == nil && isForm(r) && a.form(t, q.Form, form, in("form"), nil)
	}
	return a, len(body) == 0
}

func cmpAuth(a, b *rest.Auth) *rest.Auth {
	if a != nil {
		return a
	}
	return b
}

// structure is a recipe's json: a mapping, a list, a text, or another value as JSON has it.
func structure(n *yaml.Node) any {
	switch n.Kind {
	case yaml.MappingNode:
		m := map[string]any{}
		for i := 0; i+1 < len(n.Content); i += 2 {
			m[n.Content[i].Value] = structure(n.Content[i+1])
		}
		return m
	case yaml.SequenceNode:
		list := []any{}
		for _, c := range n.Content {
			list = append(list, structure(c))
		}
		return list
	}
	if n.ShortTag() == "!!str" {
		return n.Value
	}
	return decodeJSON([]byte(n.Value))
}

// authorized reports whether a request shows what its auth wants.
func (t *twin) authorized(a *rest.Auth, r *http.Request) bool {
	if a == nil {
		return true
	}
	shows := func(template, arrived string) bool {
		got := &asked{values: map[string]string{}}
		if !got.understand(t, template, arrived, plain) {
			return false
		}
		token, wanted := got.values["token"]
		return !wanted || t.tokens[token]
	}
	header := r.Header.Get("Authorization")
	ok := true
	switch {
	case a.OAuth2 != nil, a.Token != nil && a.Bearer == "" && len(a.Header) == 0 && len(a.Query) == 0:
		token, bearer := strings.CutPrefix(header, "Bearer ")
		ok = bearer && t.tokens[token]
	case a.Basic != nil:
		user, password, basic := r.BasicAuth()
		ok = basic && shows(a.Basic.User, user) && shows(a.Basic.Password, password)
	case a.Bearer != "":
		ok = shows("Bearer "+a.Bearer, header)
	}
	for name, text := range a.Header {
		ok = ok && shows(text, r.Header.Get(name))
	}
	for name, text := range a.Query {
		ok = ok && shows(text, r.URL.Query().Get(name))
	}
	return ok
}

// call understands a request below /r/NAME.
func (t *twin) call(r *http.Request, body []byte) *call {
	c := &call{Entry: Entry{Kind: Rest}}
	try := func(q *rest.Request, op string, changes bool, next *rest.Next, do func(a *asked) reply) bool {
		a, ok := t.understand(q, r, body, next)
		if !ok {
			return false
		}
		c.Op, c.Changes = op, changes
		t.about(&c.Entry, a)
		auth := cmpAuth(q.Auth, t.r.Auth)
		if op == opToken {
			auth = q.Auth
		}
		if t.authorized(auth, r) {
			c.Account = t.r.Name
		}
		c.do = func() reply {
			if !t.authorized(auth, r) {
				return jsonReply(http.StatusUnauthorized, map[string]string{"message": "the credentials are not accepted"})
			}
			t.settle()
			return do(a)
		}
		return true
	}
	for _, a := range t.r.Auths() {
		if a.OAuth2 != nil && t.oauth2(c, a.OAuth2, r, body) ||
			a.Token != nil && try(&a.Token.Request, opToken, false, nil, func(*asked) reply {
				return jsonReply(http.StatusOK, set(nil, a.Token.At, t.token()))
			}) {
			return c
		}
	}
	switch p, s := t.r.Preview, t.r.Status; {
	case p != nil && try(&p.Request, opPreview, false, p.Next, func(a *asked) reply { return t.look(a, r) }):
	case try(&t.r.Erase.Request, opErase, true, nil, func(a *asked) reply { return t.erase(a, c.fault) }):
	case s != nil && try(&s.Request, opStatus, false, nil, func(a *asked) reply { return t.status(a.values["job"], c.fault) }):
	default:
		c.Op, c.Changes = opUnknown, r.Method != http.MethodGet
		c.do = func() reply {
			rep := t.answer(t.example("erase", giving("refused")), nil, nil)
			rep.header[NotUnderstood] = "true"
			return rep
		}
	}
	return c
}

// NotUnderstood is a header of a twin's answer to a request that its recipe does not describe.
const NotUnderstood = "X-Not-Understood"

// Held is how many records a twin holds.
func (s *Sim) Held(recipe string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, t := range s.twins {
		for _, rec := range t.records {
			if t.r.Name == recipe && !rec.gone {
				n++
			}
		}
	}
	return n
}

// Holds reports whether a twin holds a record that an identifier finds.
func (s *Sim) Holds(recipe, identifier string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.ContainsFunc(s.twins, func(t *twin) bool { return t.r.Name == recipe && len(t.held(identifier)) > 0 })
}

// remaining is what the twin holds now.
func (t *twin) remaining() HeldRest {
	t.settle()
	h := HeldRest{Once: t.r.Unsure == "hold", Records: []HeldRecord{}, Jobs: []HeldJob{}}
	for _, k := range t.r.KnownBy {
		h.KnownBy = append(h.KnownBy, vendors.Field(k).String())
	}
	for _, rec := range t.records {
		h.Records = append(h.Records, HeldRecord{rec.Record, rec.gone})
	}
	for _, j := range t.made {
		word, _ := t.word(j)
		h.Jobs = append(h.Jobs, HeldJob{JID: j.id, Key: j.identifier, Status: word, Finished: j.finished, Fault: j.fault, Created: t.s.simTime(j.created)})
	}
	return h
}

func (t *twin) token() string {
	token := "sim-" + uuid(t.s.rng)
	t.tokens[token] = true
	return token
}

// oauth2 is the client credentials grant.
func (t *twin) oauth2(c *call, o *rest.OAuth2, r *http.Request, body []byte) bool {
	u, err := url.Parse(o.URL)
	if err != nil || r.Method != http.MethodPost || r.URL.Path != "/r/"+t.r.Name+u.Path {
		return false
	}
	c.Op = opToken
	form, _ := url.ParseQuery(string(body)) // what cannot be read is missing
	id, secret := form.Get("client_id"), form.Get("client_secret")
	if user, password, basic := r.BasicAuth(); basic {
		id, secret = user, password
	}
	a := &asked{values: map[string]string{}}
	ok := a.understand(t, o.ID, id, plain) && a.understand(t, o.Secret, secret, plain)
	c.do = func() reply {
		if !ok {
			return jsonReply(http.StatusUnauthorized, map[string]string{"error": "invalid_client"})
		}
		return jsonReply(http.StatusOK, map[string]any{"access_token": t.token(), "token_type": "Bearer", "expires_in": 3600})
	}
	return true
}

// about names in the ledger whom a request is about.
func (t *twin) about(e *Entry, a *asked) {
	value := a.values["identifier"]
	if rec := t.byID(a); rec != nil && value == "" {
		value = rec.shows(t.class)
	}
	e.JID = a.values["job"]
	switch t.class {
	case vendors.Email:
		e.Email = value
	case vendors.Telephone:
		e.Telephone = value
	case vendors.CustomerKey:
		e.CustomerKey = value
	default:
		e.AccountNumber = value
	}
}

// byID is the record that a request names.
func (t *twin) byID(a *asked) *twinRecord {
	id := a.values["record"]
	for i := 1; a.values["record."+itoa(i)] != ""; i++ {
		id = strings.TrimPrefix(id+"/"+a.values["record."+itoa(i)], "/")
	}
	for _, rec := range t.records {
		if id != "" && rec.id == id {
			return rec
		}
	}
	return nil
}

// held are the records that an identifier finds now.
func (t *twin) held(identifier string) []*twinRecord {
	var found []*twinRecord
	_, want := vendors.Normal(t.class, identifier)
	for _, rec := range t.records {
		if _, has := vendors.Normal(t.class, rec.shows(t.class)); !rec.gone && has == want {
			found = append(found, rec)
		}
	}
	return found
}

// answer is an example's answer with the values that are meant.
func (t *twin) answer(e *rest.Example, with *strings.Replacer, change func(doc any) any) reply {
	a, err := e.Answers[0].Answer()
	if err != nil {
		panic(err) // the recipe was loaded with it
	}
	rep := reply{status: a.Status, header: map[string]string{}, body: a.Body}
	for name := range a.Header {
		rep.header[name] = a.Header.Get(name)
	}
	doc := decodeJSON(a.Body)
	if doc == nil {
		return rep
	}
	if with != nil {
		doc = swap(doc, with)
	}
	if change != nil {
		doc = change(doc)
	}
	rep.body, err = json.Marshal(doc)
	if err != nil {
		panic(err) // decoded from JSON
	}
	return rep
}

// look answers a look-up with one page of what is held.
func (t *twin) look(a *asked, r *http.Request) reply {
	p := t.r.Preview
	all := t.held(a.values["identifier"])
	if len(all) == 0 {
		rep := jsonReply(http.StatusNotFound, map[string]string{"message": "there is no such person"}) // as the recipe does not say how
		if e := t.example("preview", giving("none")); e != nil {
			rep = t.answer(e, nil, nil)
		}
		rep.looked = true
		return rep
	}
	size, n := len(all), 0
	if x := p.Next; x != nil {
		size = cmp.Or(x.Full, 1)
		if x.At+x.Link != "" { // a page that is not full is the last one where pages have numbers
			size = cmp.Or(t.s.o.PageSize, size)
		}
		n, _ = strconv.Atoi(a.page)
		if x.Page != "" {
			n = max(0, n-1)
		}
	}
	page := all[min(n*size, len(all)):min((n+1)*size, len(all))]
	more := (n+1)*size < len(all)
	e := t.example("preview", giving("1 record"))
	link := ""
	rep := t.answer(e, nil, func(doc any) any {
		found, _ := find(doc, p.Records)
		list := []any{}
		for _, rec := range page {
			list = append(list, t.record(rec))
		}
		if _, isList := found.([]any); isList {
			doc = set(doc, p.Records, list)
		} else {
			doc = set(doc, p.Records, list[0])
		}
		if p.Total != "" {
			doc = set(doc, p.Total, json.Number(itoa(len(all))))
		}
		x := p.Next
		if x == nil {
			return doc
		}
		next := *r.URL
		q := next.Query()
		q.Set("_page", itoa(n+1))
		next.RawQuery = q.Encode()
		next.Scheme, next.Host = "http", r.Host
		for path, value := range map[string]string{x.At: itoa(n + 1), x.Link: next.String()} {
			switch {
			case path == "":
			case path == "header":
				link = fmt.Sprintf("<%s>; rel=\"next\"", value)
			case more:
				doc = set(doc, path, value)
			default:
				drop(doc, path)
			}
		}
		return doc
	})
	delete(rep.header, "Link")
	if link != "" && more {
		rep.header["Link"] = link
	}
	rep.looked, rep.found = true, len(all)
	return rep
}

// other is a value that is not the given one.
func other(f vendors.Field, value string) string {
	if f == vendors.Telephone {
		return value + "7"
	}
	return "other-" + value
}

// record is a record as the example has one, of somebody else.
func (t *twin) record(rec *twinRecord) any {
	p := t.r.Preview
	doc := t.model()
	for i, path := range p.ID {
		doc = set(doc, path, strings.Split(rec.id, "/")[i])
	}
	for field, paths := range p.Owner.Paths() {
		for _, path := range paths {
			if value := rec.shows(field); value != "" {
				if t.s.o.Strangers && !rec.Control {
					value = other(field, value)
				}
				doc = set(doc, path, value)
			} else {
				drop(doc, path)
			}
		}
	}
	return doc
}

// erase takes records, or makes a job that will.
func (t *twin) erase(a *asked, fault FaultKind) reply {
	e := t.example("erase", giving("accepted", "done"))
	about := []*twinRecord{}
	if rec := t.byID(a); rec != nil && !rec.gone {
		about = append(about, rec)
	} else if t.r.Erase.Each == "identifier" {
		about = t.held(a.values["identifier"])
	}
	if t.r.Erase.Job == "" || t.r.Status == nil {
		rep := t.answer(e, strings.NewReplacer(orX(e.Identifier), a.values["identifier"]), nil)
		rep.records = t.take(about)
		rep.effect = len(about) > 0
		return rep
	}
	job := &twinJob{id: uuid(t.s.rng), identifier: a.values["identifier"], fault: fault, created: t.s.days()}
	if id := a.values["request_id"]; id != "" { // the vendor takes our id for the job's
		if job.id = id; t.jobs[id] != nil {
			job = t.jobs[id]
		}
	}
	rep := t.answer(e, nil, func(doc any) any { return set(doc, t.r.Erase.Job, job.id) })
	rep.reference = job.id
	if t.jobs[job.id] == nil {
		t.jobs[job.id] = job
		t.made = append(t.made, job)
		rep.effect = true
	}
	return rep
}

// take erases records and returns them.
func (t *twin) take(records []*twinRecord) (taken []Record) {
	for _, rec := range records {
		rec.gone = !t.s.o.Inert
		taken = append(taken, rec.Record)
	}
	return taken
}

// orX keeps a replacer from replacing nothing.
func orX(s string) string {
	if s == "" {
		return "\x00"
	}
	return s
}

// word is what the vendor says of a job now: a day for each word of those that mean open.
func (t *twin) word(j *twinJob) (word, gives string) {
	w := &t.r.Status.Words
	n := int(math.Floor(t.s.days() - j.created))
	switch {
	case j.fault == JobPaused && n == 1:
		return "paused", ""
	case n < len(w.Open) || j.fault == JobStuck:
		return w.Open[min(n, len(w.Open)-1)], "open"
	case j.fault == JobError && len(w.Failed) > 0:
		return w.Failed[0], "failed"
	}
	return w.Done[0], "done"
}

// settle lets the jobs that are done take effect.
func (t *twin) settle() {
	for _, j := range t.made {
		if _, gives := t.word(j); gives == "done" && !j.finished {
			j.finished = true
			t.take(t.held(j.identifier))
		}
	}
}

func (t *twin) status(id string, fault FaultKind) reply {
	s := t.r.Status
	j := t.jobs[id]
	if lost := t.example("status", giving("lost")); lost != nil && fault != WrongJID && (j == nil || j.fault == JobLost && t.s.days() >= j.created+1) {
		return t.answer(lost, strings.NewReplacer(orX(lost.Job), id), nil)
	}
	if j == nil {
		return t.answer(t.example("erase", giving("refused")), nil, nil)
	}
	word, gives := t.word(j)
	if fault == WrongJID && s.Job != "" {
		id, word, gives = uuid(t.s.rng), s.Words.Done[0], "done"
	}
	e := t.example("status", func(e *rest.Example) bool { return e.Gives == gives })
	if e == nil { // a word that no example has
		e = t.example("status", giving("open"))
	}
	return t.answer(e, strings.NewReplacer(orX(e.Job), id), func(doc any) any {
		if s.Job != "" {
			doc = set(doc, s.Job, id)
		}
		return set(doc, s.At, word)
	})
}
