package rest

import (
	"bytes"
	"cmp"
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"expunge/vendors"
	"expunge/vendors/transport"
)

// This file reads answers. A path that leads nowhere is never "nothing".

// decode reads an answer's body. Numbers stay text: an id must not be rounded.
func decode(vendor, op string, a *vendors.Answer) (any, error) {
	var raw json.RawMessage
	if err := transport.DecodeJSON(vendor, op, a, &raw); err != nil {
		return nil, err
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	var doc any
	err := d.Decode(&doc)
	return doc, err
}

// at finds what is at a dotted path; "." is the whole. null is not there.
func at(doc any, path string) (any, bool) {
	if path != "." {
		for name := range strings.SplitSeq(path, ".") {
			m, _ := doc.(map[string]any)
			doc = m[name]
		}
	}
	return doc, doc != nil
}

// text is the text, number or truth value at a path.
func text(doc any, path string) (string, bool) {
	v, _ := at(doc, path)
	return scalar(v)
}

func scalar(v any) (string, bool) {
	switch v := v.(type) {
	case string:
		return v, true
	case json.Number:
		return v.String(), true
	case bool:
		return strconv.FormatBool(v), true
	}
	return "", false
}

// texts collects what is at a path of a record that may lead through lists (a[].b): every
// text that is not empty. ok is false where something else is there.
func texts(doc any, path string) (all []string, ok bool) {
	if before, rest, list := strings.Cut(path, "[]"); list {
		v, there := at(doc, before)
		items, isList := v.([]any)
		if !isList {
			return nil, !there
		}
		for _, item := range items {
			more, fine := texts(item, cmp.Or(strings.TrimPrefix(rest, "."), "."))
			if !fine {
				return nil, false
			}
			all = append(all, more...)
		}
		return all, true
	}
	v, there := at(doc, path)
	s, isText := scalar(v)
	if s != "" {
		all = []string{s}
	}
	return all, isText || !there
}

// matches reports whether an answer is the one that the rule describes.
func (r *Rule) matches(status int, doc any) bool {
	if status != r.Status {
		return false
	}
	if r.Absent != "" {
		all, object := doc.(map[string]any)
		if !object || r.At == "" && slices.ContainsFunc(slices.Collect(maps.Values(all)), func(v any) bool { return v != nil }) {
			return false // beside something else, such as an error, it could be anything
		}
		if _, there := at(doc, r.Absent); there {
			return false
		}
	}
	if r.At != "" {
		v, there := at(doc, r.At)
		if !there {
			return false
		}
		if r.Is != "" {
			s, ok := scalar(v)
			return ok && s == r.Is
		}
	}
	return true
}

func anyMatches(rules []Rule, status int, doc any) bool {
	return slices.ContainsFunc(rules, func(r Rule) bool { return r.matches(status, doc) })
}

// means are the kinds of failure that an errors rule can name.
var means = map[string]error{
	"auth": vendors.ErrAuth, "slow_down": vendors.ErrRateLimited, "unavailable": vendors.ErrUnavailable,
	"refused": vendors.ErrRefused, "unreadable": vendors.ErrUnreadable,
}

// read decodes an answer, or tells the failure that it is. doc is what could be decoded, also
// beside an error.
func (v *Vendor) read(op string, a *vendors.Answer) (doc any, err error) {
	doc, notJSON := decode(v.name, op, a)
	for _, r := range v.recipe.Errors {
		if r.matches(a.Status, doc) {
			return doc, v.failure(op, a, means[r.Means], doc)
		}
	}
	if a.Status >= 200 && a.Status <= 299 {
		return doc, notJSON
	}
	failed := transport.Fail(v.name, op, a)
	failed.Message = v.message(doc)
	if errors.Is(failed.Kind, vendors.ErrRefused) && notJSON != nil && op != opSubmit {
		failed.Kind = vendors.ErrUnreadable // a page of something in front says nothing of a person
	}
	return doc, failed
}

func (v *Vendor) message(doc any) string {
	if v.recipe.Message == "" {
		return ""
	}
	s, _ := text(doc, v.recipe.Message)
	return s
}

func (v *Vendor) failure(op string, a *vendors.Answer, kind error, doc any) *vendors.Error {
	return &vendors.Error{Vendor: v.name, Op: op, Kind: kind, Status: a.Status, Message: v.message(doc)}
}

func (v *Vendor) unreadable(op string, a *vendors.Answer, doc any, cause error) *vendors.Error {
	e := v.failure(op, a, vendors.ErrUnreadable, doc)
	e.Err = cause
	return e
}

// Causes of an ErrUnreadable.
var (
	errNoRecords = errors.New("no list of records where the recipe says")
	errNoID      = errors.New("a record without a usable id")
	errOwner     = errors.New("a record's owner cannot be read where the recipe says")
	errNoTotal   = errors.New("no total where the recipe says")
	errNoNext    = errors.New("what leads to the next page cannot be used")
	errNoJob     = errors.New("no usable job id in it")
	errOtherJob  = errors.New("the answer is about another job")
	errNoStatus  = errors.New("no job status in it")
	errNoAccept  = errors.New("not the answer that the recipe takes for an acceptance")
)

var (
	plainID   = regexp.MustCompile(`^[A-Za-z0-9._:-]{1,128}$`)
	plainWord = regexp.MustCompile(`^[A-Za-z0-9._:-]+( [A-Za-z0-9._:-]+)*$`)
)

// usableID reports whether a vendor's id can be kept, shown and sent back: plain, and neither a
// value of the subject nor a digest of one, by which who guesses the value finds it.
func usableID(id string, s vendors.Subject) bool {
	return plainID.MatchString(id) && id != "." && id != ".." && !slices.ContainsFunc(s, func(v vendors.Value) bool {
		_, normal := vendors.Normal(v.Field, v.Text)
		return v.Text != "" && slices.ContainsFunc([]string{v.Text, normal, strings.ToLower(v.Text)}, func(form string) bool {
			return strings.EqualFold(id, form) || slices.ContainsFunc(slices.Collect(maps.Values(digests)), func(of func(string) string) bool {
				return strings.EqualFold(id, of(form))
			})
		})
	})
}

// digests are those of which vendors make ids of people.
var digests = map[string]func(text string) string{
	"md5":    func(s string) string { sum := md5.Sum([]byte(s)); return hex.EncodeToString(sum[:]) },
	"sha1":   func(s string) string { sum := sha1.Sum([]byte(s)); return hex.EncodeToString(sum[:]) },
	"sha256": func(s string) string { sum := sha256.Sum256([]byte(s)); return hex.EncodeToString(sum[:]) },
}

// aDigest marks the name of a digest that stands for an id: the digest of the identifier in
// small letters. No vendor's id has this sign.
const aDigest = "~"

// kept is a record's id, or a part of it, as it is kept and shown; "": it cannot be. shown are the
// values that the record shows, whosever they are.
func kept(id string, t *vendors.Target, shown vendors.Subject) string {
	for name, of := range digests {
		if id == of(strings.ToLower(t.Identifier())) {
			return aDigest + name
		}
	}
	if usableID(id, t.Subject) && usableID(id, shown) {
		return id
	}
	return ""
}

// sent is the id that kept has kept.
func sent(id string, t *vendors.Target) string {
	name, is := strings.CutPrefix(id, aDigest)
	if of := digests[name]; is && of != nil {
		return of(strings.ToLower(t.Identifier()))
	}
	return id
}

// shownWord is a status word in a form that can go into reports and onto terminals: nothing
// of the subject in it.
func shownWord(word string, s vendors.Subject) string {
	const strange = "(unprintable)"
	if len(word) > 128 || !plainWord.MatchString(word) {
		return strange
	}
	for _, v := range s {
		if v.Text != "" && strings.Contains(word, strings.ToLower(v.Text)) {
			return strange
		}
	}
	return word
}

// records finds the records of a look-up. One object stands for a list of one.
func (p *Preview) records(doc any) ([]any, bool) {
	found, there := at(doc, p.Records)
	if !there {
		return nil, false
	}
	switch found := found.(type) {
	case []any:
		return found, true
	case map[string]any:
		return []any{found}, true
	}
	return nil, false
}

// tells reports whether an answer, whatever its status, speaks of records.
func (p *Preview) tells(doc any) bool {
	found, _ := p.records(doc)
	total := ""
	if p.Total != "" {
		total, _ = text(doc, p.Total)
	}
	return len(found) > 0 && p.Records != "." || total != "" && total != "0"
}

// id is a record's id; one that consists of several parts has a slash between them. "" means
// that there is none that can be used.
func (p *Preview) id(record any, t *vendors.Target) string {
	var parts []string
	var shown vendors.Subject
	for field, paths := range p.Owner.Paths() {
		for _, path := range paths {
			values, _ := texts(record, path) // what cannot be read was found before
			for _, value := range values {
				shown = append(shown, vendors.Value{Field: field, Text: value})
			}
		}
	}
	for _, path := range p.ID {
		part, _ := text(record, path)
		if part = kept(part, t, shown); part == "" {
			return ""
		}
		parts = append(parts, part)
	}
	return strings.Join(parts, "/")
}

// verdict says whether a record that was found by the target's identifier is the subject's
// own: "" when it is, else the doubt that holds the task; ok is false where that cannot be
// read.
//
// An email that a record shows must be one of the subject's, and by email the one that was
// asked for must be among them. A record without an email must at least show the value that
// was asked for.
func (o *Owner) verdict(record any, t *vendors.Target) (doubt vendors.Reason, ok bool) {
	class, asked := vendors.Normal(t.Ref.Field, t.Identifier())
	if o.Exact {
		if contradicts(textsIn(record), class, asked, t.Subject) {
			return vendors.SomebodyElse, true
		}
		return "", true
	}
	shown := map[vendors.Field][]string{}
	for field, paths := range o.Paths() {
		for _, path := range paths {
			values, fine := texts(record, path)
			if !fine {
				return "", false
			}
			for _, value := range values {
				c, normal := vendors.Normal(field, value)
				shown[c] = append(shown[c], normal)
			}
		}
	}
	for _, email := range shown[vendors.Email] {
		if !owns(t.Subject, email) {
			return vendors.SomebodyElse, true
		}
	}
	switch {
	case slices.Contains(shown[class], asked):
		return "", true
	case class == vendors.Email && len(shown[class]) > 0:
		return vendors.SomebodyElse, true
	case class != vendors.Email && len(shown[vendors.Email]) > 0:
		return "", true
	}
	return vendors.UnknownOwner, true
}

// owns reports whether an email, in its normal form, is the subject's.
func owns(s vendors.Subject, email string) bool {
	return slices.ContainsFunc(s, func(v vendors.Value) bool {
		c, own := vendors.Normal(v.Field, v.Text)
		return c == vendors.Email && !v.Masked && own == email
	})
}

// anEmail is a text that can be nothing but an email.
var anEmail = regexp.MustCompile(`^[^\s@:/]+@[^\s@:/]+\.[^\s@:/]+$`)

// contradicts reports whether the texts of a record deny what the recipe says of all of them,
// that they name nobody and are found by one exact value: an email of somebody else, or a value
// that has the one that was asked for in it and is another.
func contradicts(texts []string, class vendors.Field, asked string, s vendors.Subject) bool {
	equal, near := false, false
	for _, text := range texts {
		_, normal := vendors.Normal(class, text)
		if class == vendors.Email && anEmail.MatchString(text) && !owns(s, normal) {
			return true
		}
		equal = equal || normal == asked
		near = near || strings.Contains(normal, asked)
	}
	return near && !equal
}

// textsIn are the texts that stand anywhere in a record.
func textsIn(record any) (all []string) {
	switch r := record.(type) {
	case map[string]any:
		for _, v := range r {
			all = append(all, textsIn(v)...)
		}
	case []any:
		for _, v := range r {
			all = append(all, textsIn(v)...)
		}
	}
	if text, ok := scalar(record); ok {
		all = append(all, text)
	}
	return all
}

// step is how a look-up goes on after a page.
type step struct {
	more  extra    // the same request with a value more
	link  *url.URL // or this address
	over  bool     // or not at all
	doubt vendors.Reason
}

// after says how a look-up goes on after page n (from 1), which had so many records.
func (x *Next) after(doc any, h http.Header, base *url.URL, n, records int) (s step, ok bool) {
	full := x != nil && x.Full > 0 && records >= x.Full
	switch {
	case x == nil:
		s.over = true
	case x.Link != "":
		ref := linkNext(h)
		if x.Link != "header" {
			ref, _ = text(doc, x.Link)
		}
		if s.over = ref == ""; s.over {
			break
		}
		u, err := base.Parse(ref)
		if err != nil || u.Host != base.Host || u.Scheme != base.Scheme {
			return step{}, false
		}
		s.link = u
	case x.Page != "":
		s.over = !full
		s.more = extra{x.Page, strconv.Itoa(n + 1)}
		full = false
	case x.At != "":
		cursor, there := at(doc, x.At)
		value, isText := scalar(cursor)
		if there && (!isText || len(value) > 4096) {
			return step{}, false
		}
		s.over = value == ""
		s.more = extra{x.Into, value}
	default: // the vendor's list has an end that is not told
		if s.over = true; full {
			return step{over: true, doubt: vendors.TooManyRecords}, true
		}
	}
	if s.over && full {
		s.doubt = vendors.InconsistentAnswer // a full page, and nothing leads on
	}
	if !s.over && n >= x.Pages {
		s = step{over: true, doubt: vendors.TooManyRecords}
	}
	return s, true
}

// aLink is one value of a Link header (RFC 8288): an address and its parameters.
var aLink = regexp.MustCompile(`<([^>]*)>((?:\s*;\s*[\w*-]+\s*=\s*(?:"[^"]*"|[^",;\s]*))*)`)

var relNext = regexp.MustCompile(`(?i);\s*rel\s*=\s*"?([^";]*\s)?next[\s";]?`)

// linkNext is the address of the next page in Link headers, or "".
func linkNext(h http.Header) string {
	for _, line := range h.Values("Link") {
		for _, m := range aLink.FindAllStringSubmatch(line, -1) {
			if relNext.MatchString(m[2] + ";") {
				return m[1]
			}
		}
	}
	return ""
}
