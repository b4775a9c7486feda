package rest

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"expunge/vendors"
	"expunge/vendors/strict"
	"expunge/vendors/vendortest"
)

func acmeText(t testing.TB) string {
	t.Helper()
	data, err := os.ReadFile("testdata/acme.yaml")
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// change replaces a text of the made-up recipe that is there.
func change(t testing.TB, old, new string) string {
	t.Helper()
	text := acmeText(t)
	if !strings.Contains(text, old) {
		t.Fatalf("the recipe has no %q", old)
	}
	return strings.Replace(text, old, new, 1)
}

const token = "token-in-a-test"

// acme is the made-up vendor, for a server at base.
func acme(t testing.TB, text, base string, more func(*Config)) *Vendor {
	t.Helper()
	c := newConfig()
	c.Recipe = Source{Name: "acme.yaml", Data: []byte(text)}
	c.BaseURL, c.With = base, map[string]vendors.Secret{"site": vendors.NewSecret("north"), "token": vendors.NewSecret(token)}
	if more != nil {
		more(c)
	}
	v, err := c.Open(vendors.Options{Name: "acme", Transport: vendortest.NewTransport(t, "acme", 0)})
	if err != nil {
		t.Fatal(err)
	}
	if p, ok := v.(*poller); ok {
		return p.Vendor
	}
	return v.(*Vendor)
}

func ada(email string) *vendors.Target {
	return &vendors.Target{Ref: vendors.Ref{Field: vendors.Email}, Subject: vendors.Subject{{Field: vendors.Email, Text: email}}}
}

// TestFill: what a person is known by never becomes part of a request's structure.
func TestFill(t *testing.T) {
	for _, tt := range []struct {
		text, value, want string
		path              bool
	}{
		{"{identifier}", `a",b)@x.y`, `a",b)@x.y`, false},
		{"x {identifier}", "ada@example.com", "x ada@example.com", false},
		{"x {identifier}", "o'neil@example.com", "unfit", false},
		{"x {identifier}", "ada smith", "unfit", false},
		{"equals(email,{identifier:json})", `a",b)@x.y`, `equals(email,"a\",b)@x.y")`, false},
		{"email = {identifier:quoted}", `o'ne\il`, `email = 'o\'ne\\il'`, false},
		{"{config.token} of {identifier}", "ada@example.com", "t of ada@example.com", false},
		{"{identifier}", "", "none", false},
		{"/a/{identifier}/b", "ada@example.com", "/a/ada@example.com/b", true},
		{"/a/{identifier}", "x/y?z#", "/a/x%2Fy%3Fz%23", true},
		{"/a/{identifier}", "..", "unfit", true},
		{"/a/{identifier}", "a/../b", "unfit", true},
		{"/a/{identifier}", "a%2F..%2Fb", "unfit", true},
		{"/a/{identifier}", `a\..\b`, "unfit", true},
		{"/a/{identifier}", ".", "unfit", true},
		{"/a/{identifier}", "a..b", "/a/a..b", true},
	} {
		v := values{"identifier": tt.value, "config.token": "t"}
		fill := func() (string, error) { return parseTemplate(tt.text).fill(v) }
		if tt.path {
			fill = func() (string, error) { return parseTemplate(tt.text).fillPath(v, false) }
		}
		got, err := fill()
		switch {
		case errors.Is(err, errUnfit):
			got = "unfit"
		case errors.Is(err, vendors.ErrNoValue):
			got = "none"
		}
		if got != tt.want {
			t.Errorf("%s of %q: %q, want %q", tt.text, tt.value, got, tt.want)
		}
	}
	for value, fits := range map[string]bool{"a1": true, "a/b": false, `a\b`: false, "a%41": false} {
		if _, err := parseTemplate("/{identifier}").fillPath(values{"identifier": value}, true); (err == nil) != fits {
			t.Errorf("%q where the look-up is exact: %v", value, err)
		}
	}
	if got := parseTemplate("{a} {b:json} {nothing here} { c }").String(); got != "{a} {b:json} {nothing here} { c }" {
		t.Errorf("written back: %q", got)
	}
}

// TestMistakes: what is wrong in a recipe is told with its line and column, and with what was
// probably meant.
func TestMistakes(t *testing.T) {
	for _, tt := range []struct{ old, new, want string }{
		{"records: results", "recrods: results", "acme.yaml:21: preview.recrods: is not a known key\nhint: did you mean records?"},
		{"format: 1", "format: 2", "acme.yaml:3: format: must be 1\nhint: this program knows version 1 of the language"},
		{"{config.token}", "{config.tokn}", "acme.yaml:13: auth.bearer: {config.tokn} is not below config\nhint: did you mean {config.token}?"},
		{"{identifier:quoted}", "{identfier:quoted}", "did you mean {identifier}?"},
		{"{identifier:quoted}", "{identifier:sql}", "{identifier:sql} is spelled in a way that is not known\nhint: known are :json and :quoted"},
		{"https://{config.site}.acme", "https://{config.site}acme", "may take a value of the config only for one whole label of the host"},
		{"https://{config.site}.acme", "http://{config.site}.acme", "base: must be an https address"},
		{"each: record", "each: recrd", "did you mean record?"},
		{"{status: 204}", "{status: 200}", "status 200 needs at"},
		{"{status: 204}", "{status: 404}", "must be a 2xx status"},
		{"{status: 404, at: error.code, is: no_such_contact}", "{status: 404}", "needs at or absent beside the status"},
		{"{status: 404, at: error.code, is: no_such_contact}", "{status: 503, at: error}", "status 503 has a fixed meaning"},
		{"at: error.code, is: no_such_contact", "at: error.code", "preview.none: needs is beside at"},
		{"id: [list, id]\n  absent: []\n  owner: {email: [\"emails[].value\"]}", "absent: []\n  owner: {exact: true, why: by its own key}", "owner.exact: needs an id"},
		{"by: preview", "by: status", "status: is missing"},
		{"accepted: [{status: 204}, {status: 200, at: ok, is: true}]\ndone: {by: preview", "accepted: [{status: 202}, {status: 200, at: ok}]\ndone: {by: answer", "status 202 says that it is not done yet, and done.by is answer"},
		{"accepted: [{status: 204}, {status: 200, at: ok, is: true}]\ndone: {by: preview", "accepted: [{status: 204}, {status: 200, at: ok}]\ndone: {by: answer", "needs is beside at where done.by is answer"},
		{"uncertain: ask", "uncertain: repeat", "why: belongs to uncertain: repeat"},
		{"full: 3", "full: 4", "the request does not ask for 4 records a page"},
		{"pages: 3", "pages: 1", "pages x full must be more than max_records"},
		{"at: paging.next, into", "page: query.n, at: paging.next, into", "has several ways to go on"},
		{"max_records: 5", "max_records: 26", "must be from 1 to 25"},
		{"means: refused}", "means: fine}", "fine is not known"},
		{"at: ok, is: false, means: refused", "at: ok, means: refused", "may not call an answer harmless that leaves the outcome open"},
		{`owner: {email: ["emails[].value"]}`, "owner: {exact: true}", "why: belongs to exact: true"},
		{`owner: {email: ["emails[].value"]}`, "owner: {telephone: [phone]}", "has no path that shows an email"},
		{"  absent: []\n", "", "preview.absent: is missing\nhint: whom does the look-up not show"},
		{"  absent: []\n", "  absent: [archived people, \" \"]\n", "preview.absent: names nobody"},
		{"known_by: [email, other_email]", "known_by: [mail]", `"mail" is not an identifier: email`},
		{"path: /contacts/search", "path: /contacts/search?x=1", "must begin with / and have no ? or #"},
		{"{record.2}", "{record.1}", "must name the record as {record}"},
		{"gives: 2 records", "gives: 1 record", `the recipe makes "2 records" of it, the example says "1 record"`},
		{"DELETE /api/lists/a1", "DELETE /api/lists/a2", `the recipe sends ["DELETE /api/lists/a1/contacts/1"]`},
		{"answers: [{status: 422", "answers: [{status: 500", `makes "unavailable" of it`},
		{"identifier: ada@example.com\n    sends: POST", "sends: POST", "examples.found.identifier: is missing"},
		{"format: 1\n", "format: 1\nformat: 1\n", "is given twice"},
		{"read: 2026-11-25", "read: lately", "must be a day such as 2026-11-25"},
	} {
		_, err := Parse("acme.yaml", []byte(change(t, tt.old, tt.new)))
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s -> %s: %v\nwant %s", tt.old, tt.new, err, tt.want)
			continue
		}
		for _, p := range strict.Problems(err) {
			if p.Line == 0 || p.Column == 0 {
				t.Errorf("%s -> %s: a problem without a place: %v", tt.old, tt.new, p)
			}
		}
	}
	// Each example that is missing is missed.
	for _, name := range []string{"found", "several", "shared", "nobody", "nobody_listed", "deleted", "deleted_ok", "refused"} {
		text := acmeText(t)
		from := strings.Index(text, "\n  "+name+":\n")
		to := strings.Index(text[from+1:], "\n  ") // its first line
		end := from + 1 + to
		for end < len(text) && strings.HasPrefix(text[end:], "\n    ") {
			end += 1 + strings.IndexByte(text[end+1:]+"\n", '\n')
		}
		if _, err := Parse("acme.yaml", []byte(text[:from]+text[end:])); err == nil || !strings.Contains(err.Error(), "examples: has none") {
			t.Errorf("without %s: %v", name, err)
		}
	}
	if _, err := Parse("acme.yaml", []byte(acmeText(t))); err != nil {
		t.Error(err)
	}
}

// TestRule: which answers a rule describes. One that something else than the API could give is
// not the one that is meant.
func TestRule(t *testing.T) {
	gone, off := Rule{Status: 200, Absent: "user"}, Rule{Status: 200, Absent: "list", At: "total", Is: "0"}
	said := Rule{Status: 404, At: "error.code", Is: "no_such_user"}
	for _, tt := range []struct {
		rule   Rule
		status int
		body   string
		want   bool
	}{
		{gone, 200, `{}`, true},
		{gone, 202, `{}`, false},
		{gone, 200, `{"user":null}`, true},
		{gone, 200, `{"user":{}}`, false},
		{gone, 200, `{"error":"Service temporarily unavailable"}`, false},
		{gone, 200, `[]`, false},
		{gone, 200, `"none"`, false},
		{off, 200, `{"total":0,"page":1}`, true},
		{off, 200, `{"total":0,"list":[]}`, false},
		{off, 200, `{"total":1}`, false},
		{off, 200, `{"error":"busy"}`, false},
		{said, 404, `{"error":{"code":"no_such_user"}}`, true},
		{said, 404, `{"error":{"code":"no_such_route"}}`, false},
		{said, 404, `{"error":"no_such_user"}`, false},
	} {
		doc, err := decode("acme", "preview", &vendors.Answer{Status: tt.status, Body: []byte(tt.body)})
		if err != nil {
			t.Fatal(err)
		}
		if got := tt.rule.matches(tt.status, doc); got != tt.want {
			t.Errorf("%+v and %d %s: %v", tt.rule, tt.status, tt.body, got)
		}
	}
}

// TestLookUp: what the pages of a look-up come to.
func TestLookUp(t *testing.T) {
	page := func(total string, next string, ids ...int) string {
		var all []string
		for _, id := range ids {
			all = append(all, fmt.Sprintf(`{"list":"l","id":%d,"emails":[{"value":"ADA@example.com"}]}`, id))
		}
		return fmt.Sprintf(`{"total":%s,"results":[%s],"paging":{"next":%s}}`, total, strings.Join(all, ","), next)
	}
	for _, tt := range []struct {
		name  string
		pages []string
		want  vendors.Preview
		kind  error
	}{
		{"nobody", []string{page("0", "null")}, vendors.Preview{}, nil},
		{"one", []string{page("1", "null", 7)}, vendors.Preview{Records: 1, Refs: []string{"l/7"}, Hint: "|l/7"}, nil},
		{"two pages", []string{page("4", `"c"`, 1, 2, 3), page("4", `""`, 4)},
			vendors.Preview{Records: 4, Refs: []string{"l/1", "l/2", "l/3", "l/4"}, Hint: "|l/1,l/2,l/3,l/4"}, nil},
		{"a full page that leads nowhere", []string{page("3", "null", 1, 2, 3)},
			vendors.Preview{Records: 3, Refs: []string{"l/1", "l/2", "l/3"}, Hint: "|l/1,l/2,l/3", Doubt: vendors.InconsistentAnswer}, nil},
		{"a total that disagrees", []string{page("9", "null", 1)}, vendors.Preview{Records: 9, Refs: []string{"l/1"}, Hint: "|l/1", Doubt: vendors.InconsistentAnswer}, nil},
		{"more than may be", []string{page("6", `"c"`, 1, 2, 3), page("6", `"d"`, 4, 5, 6)},
			vendors.Preview{Records: 6, Refs: []string{"l/1", "l/2", "l/3", "l/4", "l/5", "l/6"}, Hint: "|l/1,l/2,l/3,l/4,l/5,l/6", Doubt: vendors.TooManyRecords}, nil},
		{"pages without end", []string{page("2", `"c"`, 1), page("2", `"d"`, 2), page("2", `"e"`)},
			vendors.Preview{Records: 2, Refs: []string{"l/1", "l/2"}, Hint: "|l/1,l/2", Doubt: vendors.TooManyRecords}, nil},
		{"the same record twice", []string{page("2", "null", 1, 1)}, vendors.Preview{Records: 1, Refs: []string{"l/1"}, Hint: "|l/1"}, nil},
		{"no total", []string{`{"results":[]}`}, vendors.Preview{}, vendors.ErrUnreadable},
		{"no list", []string{`{"total":1}`}, vendors.Preview{}, vendors.ErrUnreadable},
		{"a list of nothing", []string{`{"total":1,"results":[null]}`}, vendors.Preview{}, vendors.ErrUnreadable},
		{"no id", []string{`{"total":1,"results":[{"list":"l","emails":[{"value":"ada@example.com"}]}]}`}, vendors.Preview{}, vendors.ErrUnreadable},
		{"an id that is the address", []string{`{"total":1,"results":[{"list":"l","id":"ada@example.com","emails":[{"value":"ada@example.com"}]}]}`}, vendors.Preview{}, vendors.ErrUnreadable},
		{"an owner of another form", []string{`{"total":1,"results":[{"list":"l","id":1,"emails":[{"value":{"at":"ada@example.com"}}]}]}`}, vendors.Preview{}, vendors.ErrUnreadable},
		{"no owner", []string{`{"total":1,"results":[{"list":"l","id":1}]}`}, vendors.Preview{Records: 1, Refs: []string{"l/1"}, Hint: "|l/1", Doubt: vendors.UnknownOwner}, nil},
		{"a cursor that is none", []string{`{"total":1,"results":[{"list":"l","id":1,"emails":[{"value":"ada@example.com"}]}],"paging":{"next":{}}}`}, vendors.Preview{}, vendors.ErrUnreadable},
		{"a page", []string{"<html>"}, vendors.Preview{}, vendors.ErrUnreadable},
	} {
		t.Run(tt.name, func(t *testing.T) {
			n := 0
			server := vendortest.NewServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				vendortest.Reply(200, tt.pages[n])(w, r)
				n++
			}))
			got, err := acme(t, acmeText(t), server.URL, nil).Preview(t.Context(), ada("ada@example.com"))
			if diff := cmp.Diff(tt.want, got); diff != "" || (err == nil) != (tt.kind == nil) || !errors.Is(err, tt.kind) {
				t.Errorf("%v, -want +got:\n%s", err, diff)
			}
			if tt.kind == nil && n != len(tt.pages) {
				t.Errorf("%d requests, want %d", n, len(tt.pages))
			}
		})
	}
}

// TestDigest: an id that is a digest of what a person is known by is kept nowhere, and still
// sent.
func TestDigest(t *testing.T) {
	const md5OfAda, sha1OfBob = "3e3417d7ef77d5932a6734b916515ed5", "16a6a5e7eedf5f2e6d0c1cf0ff9c3a9ffb8a7c44"
	bob := digests["sha1"]("bob@example.com")
	for _, tt := range []struct {
		id, owner string
		want      string // the record's reference; "": unreadable
		sends     string
	}{
		{md5OfAda, "ada@example.com", "l/~md5", md5OfAda},
		{digests["sha256"]("ada@example.com"), "ada@example.com", "l/~sha256", digests["sha256"]("ada@example.com")},
		{strings.ToUpper(md5OfAda), "ada@example.com", "", ""},
		{bob, "bob@example.com", "", ""},
		{sha1OfBob, "ada@example.com", "l/" + sha1OfBob, sha1OfBob}, // of nobody who is known
		{"~md5", "ada@example.com", "", ""},
	} {
		path := ""
		server := vendortest.NewServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodDelete {
				path = r.URL.Path
				w.WriteHeader(http.StatusNoContent)
				return
			}
			vendortest.Reply(200, fmt.Sprintf(`{"total":1,"results":[{"list":"l","id":%q,"emails":[{"value":%q}]}]}`, tt.id, tt.owner))(w, r)
		}))
		v, target := acme(t, acmeText(t), server.URL, nil), ada("Ada@Example.com")
		p, err := v.Preview(t.Context(), target)
		if got := strings.Join(p.Refs, " "); got != tt.want || (err == nil) != (tt.want != "") {
			t.Errorf("%s of %s: %s %v, want %s", tt.id, tt.owner, got, err, tt.want)
		}
		if tt.want == "" {
			continue
		}
		target.Hint = p.Hint
		if _, err := v.Submit(t.Context(), target); err != nil || path != "/api/lists/l/contacts/"+tt.sends {
			t.Errorf("%s: %v, sent to %s", tt.id, err, path)
		}
	}
	if usableID(digests["md5"]("ada@example.com"), ada("Ada@Example.com").Subject) {
		t.Error("a job whose id is the digest of an address would be kept")
	}
}

// TestNext: links and page numbers.
func TestNext(t *testing.T) {
	base, _ := url.Parse("https://api.example.com/v1")
	header := func(link string) http.Header { return http.Header{"Link": {link}} }
	for _, tt := range []struct {
		name       string
		next       Next
		doc        string
		header     http.Header
		n, records int
		want       string
	}{
		{"a header", Next{Link: "header", Pages: 9}, "{}", header(`<https://api.example.com/v1/c?a=1,2>; rel="next", </x>; rel=prev`), 1, 5, "https://api.example.com/v1/c?a=1,2"},
		{"no next in it", Next{Link: "header", Pages: 9}, "{}", header(`</x>; rel="prev"`), 1, 5, "over"},
		{"no header", Next{Link: "header", Pages: 9}, "{}", nil, 1, 5, "over"},
		{"another host", Next{Link: "header", Pages: 9}, "{}", header(`<https://evil.example.org/>; rel=next`), 1, 5, "refused"},
		{"without TLS", Next{Link: "links.next", Pages: 9}, `{"links":{"next":"http://api.example.com/v1/c"}}`, nil, 1, 5, "refused"},
		{"a path", Next{Link: "links.next", Pages: 9}, `{"links":{"next":"/v1/c?p=2"}}`, nil, 1, 5, "https://api.example.com/v1/c?p=2"},
		{"the last page", Next{Link: "links.next", Pages: 9}, `{"links":{"next":null}}`, nil, 1, 5, "over"},
		{"pages used up", Next{Link: "links.next", Pages: 2}, `{"links":{"next":"/v1/c"}}`, nil, 2, 5, "over too_many_records"},
		{"a full page by number", Next{Page: "query.page", Full: 5, Pages: 9}, "{}", nil, 1, 5, "query.page=2"},
		{"the last by number", Next{Page: "query.page", Full: 5, Pages: 9}, "{}", nil, 2, 4, "over"},
		{"a list of one page that is full", Next{Full: 5}, "{}", nil, 1, 5, "over too_many_records"},
		{"a list of one page", Next{Full: 5}, "{}", nil, 1, 4, "over"},
	} {
		a := &vendors.Answer{Status: 200, Body: []byte(tt.doc)}
		doc, err := decode("acme", "preview", a)
		if err != nil {
			t.Fatal(err)
		}
		s, ok := tt.next.after(doc, tt.header, base, tt.n, tt.records)
		got := "refused"
		switch {
		case !ok:
		case s.over:
			got = strings.TrimSpace("over " + string(s.doubt))
		case s.link != nil:
			got = s.link.String()
		default:
			got = s.more.into + "=" + s.more.value
		}
		if got != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
		}
	}
}

// TestVerdict: whose a record is.
func TestVerdict(t *testing.T) {
	email, phone, key := "ada@example.com", "+12025550143", "k-1"
	s := vendors.Subject{
		{Field: vendors.Email, Text: email}, {Field: vendors.OtherEmail, Text: "ada@example.org"},
		{Field: vendors.Telephone, Text: phone}, {Field: vendors.CustomerKey, Text: key},
	}
	all := Owner{Email: []string{"email", "more[]"}, Telephone: []string{"phone"}, Key: []string{"key"}}
	for _, tt := range []struct {
		by     vendors.Field
		record string
		want   string
	}{
		{vendors.Email, `{"email":"ADA@example.com"}`, ""},
		{vendors.Email, `{"email":"ada@example.com","more":["ada@example.org"]}`, ""},
		{vendors.Email, `{"email":"ada@example.org"}`, "somebody_else"},
		{vendors.Email, `{"email":"bob@example.com"}`, "somebody_else"},
		{vendors.Email, `{"email":"ada@example.com","more":["bob@example.com"]}`, "somebody_else"},
		{vendors.Email, `{"email":null}`, "unknown_owner"},
		{vendors.Email, `{"phone":"+1 202 555 0143"}`, "unknown_owner"},
		{vendors.Email, `{"email":["ada@example.com"]}`, "unreadable"},
		{vendors.Telephone, `{"phone":"12025550143","email":""}`, ""},
		{vendors.Telephone, `{"email":"ada@example.org"}`, ""},
		{vendors.Telephone, `{"phone":"+12025550143","email":"bob@example.com"}`, "somebody_else"},
		{vendors.Telephone, `{"phone":"+12025550144"}`, "unknown_owner"},
		{vendors.CustomerKey, `{"key":"k-1"}`, ""},
		{vendors.CustomerKey, `{"key":"k-2"}`, "unknown_owner"},
		{vendors.CustomerKey, `{"key":"k-1","email":"bob@example.com"}`, "somebody_else"},
	} {
		doc, err := decode("acme", "preview", &vendors.Answer{Status: 200, Body: []byte(tt.record)})
		if err != nil {
			t.Fatal(err)
		}
		doubt, ok := all.verdict(doc, &vendors.Target{Ref: vendors.Ref{Field: tt.by}, Subject: s})
		got := string(doubt)
		if !ok {
			got = "unreadable"
		}
		if got != tt.want {
			t.Errorf("by %v, %s: %q, want %q", tt.by, tt.record, got, tt.want)
		}
	}
	for _, tt := range []struct {
		by     vendors.Field
		record string
		want   vendors.Reason
	}{
		{vendors.Email, `{"id":1}`, ""},
		{vendors.Email, `{"id":1,"more":[{"mail":"ADA@example.com"},"ada@example.org"]}`, ""},
		{vendors.Email, `{"id":1,"more":[{"mail":"bob@example.com"}]}`, vendors.SomebodyElse},
		{vendors.Email, `{"name":"xada@example.com"}`, vendors.SomebodyElse},
		{vendors.Email, `{"self":"https://x@example.com/a"}`, ""},
		{vendors.CustomerKey, `{"uid":"k-1","agent":"bob@example.com"}`, ""},
		{vendors.CustomerKey, `{"uid":"k-1","name":"k-12"}`, ""},
		{vendors.CustomerKey, `{"uid":"k-12"}`, vendors.SomebodyElse},
	} {
		doc, err := decode("acme", "preview", &vendors.Answer{Status: 200, Body: []byte(tt.record)})
		if err != nil {
			t.Fatal(err)
		}
		if doubt, ok := (&Owner{Exact: true}).verdict(doc, &vendors.Target{Ref: vendors.Ref{Field: tt.by}, Subject: s}); doubt != tt.want || !ok {
			t.Errorf("exact, by %v, %s: %q, %v, want %q", tt.by, tt.record, doubt, ok, tt.want)
		}
	}
}

// TestNotShown: whom a look-up does not show, whoever reads a report is told.
func TestNotShown(t *testing.T) {
	v := acme(t, change(t, "absent: []", "absent: [archived people, drafts]"), "", nil)
	const said = "the look-up may not show archived people, drafts"
	tr := v.Traits()
	if tr.NotShown != said || !strings.Contains(tr.HowKnown, said) || !slices.ContainsFunc(tr.Keeps, func(k string) bool { return strings.Contains(k, "archived people, drafts") }) {
		t.Errorf("%+v", tr)
	}
	if all := strings.Join(v.recipe.Weaknesses(), "\n"); !strings.Contains(all, "who is only archived people or drafts is not found") {
		t.Errorf("check says %s", all)
	}
	tr = acme(t, acmeText(t), "", nil).Traits()
	if tr.NotShown != "" || strings.Contains(tr.HowKnown, "look-up") || len(tr.Keeps) != 1 {
		t.Errorf("where it shows all: %+v", tr)
	}
}

// TestPlaces: where values and credentials go.
func TestPlaces(t *testing.T) {
	for base, want := range map[string]string{
		"":                             "https://north.acme.example.com/api",
		"http://127.0.0.1:9/gw/":       "http://127.0.0.1:9/gw/api",
		"https://gateway.example.com/": "https://gateway.example.com/api",
	} {
		v := acme(t, acmeText(t), base, nil)
		if got := v.base.String(); got != want {
			t.Errorf("base_url %q: %s, want %s", base, got, want)
		}
		tr := v.Traits()
		if !strings.Contains(tr.Place, "acme@1 ") || !strings.HasSuffix(tr.Place, " site=north") || strings.Contains(tr.Place, token) || tr.SharedPlace {
			t.Errorf("place %q (shared %v)", tr.Place, tr.SharedPlace)
		}
	}
	other := acme(t, change(t, "rate: 4/s", "rate: 3/s"), "", nil)
	if acme(t, acmeText(t), "", nil).Traits().Place == other.Traits().Place {
		t.Error("a changed recipe is at the same place: what it has begun would go on under other rules")
	}
}

// TestConfig: each mistake names its key, and quotes no secret.
func TestConfig(t *testing.T) {
	for _, tt := range []struct {
		key    string
		change func(*Config)
	}{
		{"recipe", func(c *Config) { c.Recipe = Source{} }},
		{"recipe", func(c *Config) { c.Recipe = Source{Name: "hubspott@1"} }},
		{"recipe", func(c *Config) { c.Recipe = Source{Name: "opendsr@9"} }},
		{"recipe", func(c *Config) { c.Recipe = Source{Name: "opendsr"} }},
		{"recipe", func(c *Config) { c.Recipe.Data = []byte("format: 1\nrecrods: x") }},
		{"with.token", func(c *Config) { delete(c.With, "token") }},
		{"with.token", func(c *Config) { c.With["token"] = vendors.NewSecret(token + "\n") }},
		{"with.site", func(c *Config) { c.With["site"] = vendors.NewSecret("evil.example/") }},
		{"with.tokn", func(c *Config) { c.With["tokn"] = vendors.NewSecret("x") }},
		{"rate", func(c *Config) { c.Rate = vendors.Rate{PerSecond: 5} }},
		{"max_records", func(c *Config) { c.MaxRecords = 6 }},
		{"max_records", func(c *Config) { c.MaxRecords, c.LimitsAgreed = 26, true }},
		{"base_url", func(c *Config) { c.BaseURL = "http://acme.example.com" }},
		{"control.email", func(c *Config) { c.Control.Email = "nobody" }},
		{"control", func(c *Config) { c.Control.Telephone = "+12025550143" }},
	} {
		c := newConfig()
		c.Recipe = Source{Name: "acme.yaml", Data: []byte(acmeText(t))}
		c.With = map[string]vendors.Secret{"site": vendors.NewSecret("north"), "token": vendors.NewSecret(token)}
		tt.change(c)
		_, err := c.Open(vendors.Options{})
		var e *vendors.KeyError
		if !errors.As(err, &e) || e.Key != tt.key || strings.Contains(e.Error()+e.Hint, token) {
			t.Errorf("%v, want a problem with %s that quotes no secret", err, tt.key)
		}
	}
	v := acme(t, acmeText(t), "", func(c *Config) { c.Rate, c.MaxRecords, c.LimitsAgreed = vendors.Rate{PerSecond: 9}, 9, true })
	if v.max != 9 {
		t.Errorf("max_records %d where it is agreed", v.max)
	}
	if _, err := Named("opendsr@1"); err != nil {
		t.Error(err)
	}
}

// TestErase: what becomes of answers to erasures, and of several records.
func TestErase(t *testing.T) {
	for _, tt := range []struct {
		name    string
		answers []func(http.ResponseWriter, *http.Request)
		kind    error
		message string
	}{
		{"both", []func(http.ResponseWriter, *http.Request){vendortest.Reply(204, ""), vendortest.Reply(200, `{"ok":true}`)}, nil, ""},
		{"200 that says no", []func(http.ResponseWriter, *http.Request){vendortest.Reply(200, `{"ok":false,"error":{"message":"no"}}`)}, vendors.ErrRefused, "no"},
		{"busy", []func(http.ResponseWriter, *http.Request){vendortest.Reply(400, `{"error":{"code":"busy"}}`)}, vendors.ErrUnavailable, ""},
		{"one of two", []func(http.ResponseWriter, *http.Request){vendortest.Reply(204, ""), vendortest.Reply(422, `{"error":{"message":"held"}}`)}, vendors.ErrUnavailable, "held"},
		{"200 of something in front", []func(http.ResponseWriter, *http.Request){vendortest.Reply(200, `{"status":"up"}`)}, vendors.ErrUnreadable, ""},
		{"204 with a page", []func(http.ResponseWriter, *http.Request){vendortest.Reply(200, "<html>")}, vendors.ErrUnreadable, ""},
		{"no such address", []func(http.ResponseWriter, *http.Request){vendortest.Reply(404, "<html>")}, vendors.ErrAddress, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			n := 0
			server := vendortest.NewServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				tt.answers[min(n, len(tt.answers)-1)](w, r)
				n++
			}))
			target := ada("ada@example.com")
			target.Hint = "|a/1,a/2"
			_, err := acme(t, acmeText(t), server.URL, nil).Submit(t.Context(), target)
			var e *vendors.Error
			if !errors.Is(err, tt.kind) || (err == nil) != (tt.kind == nil) || errors.As(err, &e) && e.Message != tt.message {
				t.Errorf("%v (%+v), want %v", err, e, tt.kind)
			}
			if n != len(tt.answers) {
				t.Errorf("%d requests, want %d", n, len(tt.answers))
			}
		})
	}
}

// TestUnfit: an identifier that cannot be sent is held before anything leaves.
func TestUnfit(t *testing.T) {
	text := change(t, "filter: \"email = {identifier:quoted}\"", "filter: \"email:{identifier}\"")
	text = strings.ReplaceAll(text, "email = 'ada@example.com'", "email:ada@example.com")
	v := acme(t, text, "http://127.0.0.1:1", nil) // nobody is there
	for _, id := range []string{"o'neil@example.com", "ada@example.com\u200b", strings.Repeat("a", 250) + "@example.com"} {
		p, err := v.Preview(t.Context(), ada(id))
		if err != nil || p.Doubt != vendors.MalformedKey {
			t.Errorf("%q: %+v, %v", id, p, err)
		}
	}
	if _, err := v.Preview(t.Context(), ada("ada@example.com")); !errors.Is(err, vendors.ErrNotSent) {
		t.Errorf("one that fits: %v", err)
	}
}

// TestForm: an answer to a look-up that may mean nobody says so, without the address.
func TestForm(t *testing.T) {
	form := func(status int, body, email string) string {
		server := vendortest.NewServer(t, vendortest.Reply(status, strings.ReplaceAll(body, "ADDRESS", email)))
		_, err := acme(t, acmeText(t), server.URL, nil).Preview(t.Context(), ada(email))
		var e *vendors.Error
		if !errors.As(err, &e) {
			t.Fatalf("%d %s: %v", status, body, err)
		}
		return e.Form
	}
	for _, tt := range []struct {
		status int
		body   string
		may    bool
	}{
		{404, `{"detail":"ADDRESS not found"}`, true}, {404, "<html>ADDRESS", false}, {404, `{"detail":"ADDRESS not found","results":[{}]}`, false}, {422, `{"detail":"unknown"}`, true},
		{200, `{"found":false}`, true}, {200, "<html>", false}, {500, `{}`, false}, {401, `{}`, false},
	} {
		a, b := form(tt.status, tt.body, "ada@example.com"), form(tt.status, tt.body, "bob@example.com")
		if (a != "") != tt.may || a != b {
			t.Errorf("%d %s: %q and %q", tt.status, tt.body, a, b)
		}
	}
}

// TestOwnID: a vendor that wants an id of ours gets one that stays the same while the task
// lasts, and another after it has ended.
func TestOwnID(t *testing.T) {
	server := vendortest.NewServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		vendortest.Reply(201, `{"subject_request_id":"job-1"}`)(w, r)
	}))
	c := newConfig()
	c.Recipe, c.BaseURL, c.With = Source{Name: "opendsr@1"}, server.URL, map[string]vendors.Secret{"token": vendors.NewSecret(token)}
	v, err := c.Open(vendors.Options{Name: "acme", Transport: vendortest.NewTransport(t, "acme", 0)})
	if err != nil {
		t.Fatal(err)
	}
	target := ada("ada@example.com")
	target.ReceivedAt = time.Date(2026, 3, 1, 9, 0, 0, 0, time.UTC)
	look := func() string {
		t.Helper()
		p, err := v.Preview(t.Context(), target)
		if err != nil || p.Hint == "" {
			t.Fatalf("%+v, %v", p, err)
		}
		return p.Hint
	}
	target.Hint = look()
	if again := look(); again != target.Hint {
		t.Errorf("another id for the same task: %s and %s", target.Hint, again)
	}
	for range 2 {
		if _, err := v.Submit(t.Context(), target); err != nil {
			t.Fatal(err)
		}
	}
	got := server.Got()
	id, _, _ := strings.Cut(target.Hint, "|")
	if len(got) != 2 || got[0].Body != got[1].Body || !strings.Contains(got[0].Body, `"subject_request_id":"`+id+`"`) || !strings.Contains(got[0].Body, `"submitted_time":"2026-03-01T09:00:00Z"`) {
		t.Errorf("sent %+v", got)
	}
	before := target.Hint
	if target.Hint = ""; look() == before {
		t.Error("a new task has the id of the one before")
	}
	target.Hint = ""
	if _, err := v.Submit(t.Context(), target); !errors.Is(err, vendors.ErrNotSent) {
		t.Errorf("without an id: %v", err)
	}
}

// TestPoll: what a status answer comes to.
func TestPoll(t *testing.T) {
	const job = "a7551968-d5d6-44b2-9831-815ac9017798"
	for _, tt := range []struct {
		status int
		body   string
		want   vendors.Progress
		kind   error
	}{
		{200, `{"subject_request_id":"` + job + `","request_status":"in_progress"}`, vendors.Progress{Job: vendors.JobOpen, Status: "in_progress"}, nil},
		{200, `{"request_status":"pending"}`, vendors.Progress{Job: vendors.JobOpen, Status: "pending"}, nil},
		{200, `{"subject_request_id":"` + strings.ToUpper(job) + `","request_status":" COMPLETED "}`, vendors.Progress{Job: vendors.JobDone, Status: "completed"}, nil},
		{200, `{"request_status":"completed"}`, vendors.Progress{}, vendors.ErrUnreadable},
		{200, `{"subject_request_id":"other","request_status":"pending"}`, vendors.Progress{}, vendors.ErrUnreadable},
		{200, `{"subject_request_id":"` + job + `","request_status":"cancelled"}`, vendors.Progress{Job: vendors.JobFailed, Status: "cancelled"}, nil},
		{200, `{"subject_request_id":"` + job + `","request_status":"Waiting For Legal"}`, vendors.Progress{Job: vendors.JobUnknown, Status: "waiting for legal"}, nil},
		{200, `{"subject_request_id":"` + job + `","request_status":"\u001b[2J"}`, vendors.Progress{Job: vendors.JobUnknown, Status: "(unprintable)"}, nil},
		{200, `{"subject_request_id":"` + job + `","request_status":"x-ada@example.com"}`, vendors.Progress{Job: vendors.JobUnknown, Status: "(unprintable)"}, nil},
		{200, `{"subject_request_id":"` + job + `"}`, vendors.Progress{}, vendors.ErrUnreadable},
		{404, `{"error":{"code":404}}`, vendors.Progress{Job: vendors.JobLost, Status: "not_found"}, nil},
		{404, `{"detail":"no route"}`, vendors.Progress{}, vendors.ErrAddress},
		{404, `{"error":{},"subject_request_id":"other"}`, vendors.Progress{}, vendors.ErrUnreadable},
		{400, `{"error":{}}`, vendors.Progress{}, vendors.ErrRefused},
		{400, `no`, vendors.Progress{}, vendors.ErrUnreadable},
	} {
		r, err := Named("opendsr@1")
		if err != nil {
			t.Fatal(err)
		}
		v, err := r.vendor(vendortest.Canned{Answer: vendors.Answer{Status: tt.status, Body: []byte(tt.body)}})
		if err != nil {
			t.Fatal(err)
		}
		target := ada("ada@example.com")
		target.Reference = job
		got, err := (&poller{v}).Poll(context.Background(), target)
		if diff := cmp.Diff(tt.want, got); diff != "" || (err == nil) != (tt.kind == nil) || !errors.Is(err, tt.kind) {
			t.Errorf("%d %s: %v, -want +got:\n%s", tt.status, tt.body, err, diff)
		}
	}
}

// TestShipped: each shipped recipe loads, under its own name.
func TestShipped(t *testing.T) {
	files, err := shipped.ReadDir("recipes")
	if err != nil || len(files) < 10 {
		t.Fatalf("%d recipes, %v", len(files), err)
	}
	for _, f := range files {
		r, err := load("recipes/" + f.Name())
		if err != nil {
			t.Errorf("%v", err)
		} else if r.Name+".yaml" != f.Name() {
			t.Errorf("%s is recipe %s", f.Name(), r.Name)
		}
	}
}

// FuzzAnswers: no answer makes the engine panic, keep what could not be shown, or find nobody
// in what is no list.
func FuzzAnswers(f *testing.F) {
	for _, body := range []string{
		`{"total":1,"results":[{"list":"l","id":1,"emails":[{"value":"ada@example.com"}]}],"paging":{"next":"c"}}`, `{"total":0,"results":[]}`, `{"total":0}`,
		`{"ok":true}`, `{"error":{"code":"no_such_contact"}}`, `{"subject_request_id":"job-1","request_status":"completed"}`, "<html>", "null", `{"results":{"a":1}}`,
	} {
		for _, status := range []int{200, 201, 204, 404, 500} {
			f.Add(status, []byte(body))
		}
	}
	text := acmeText(f)
	acme, err := Parse("acme.yaml", []byte(text))
	if err != nil {
		f.Fatal(err)
	}
	opendsr, err := Named("opendsr@1")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, status int, body []byte) {
		if status < 200 || status > 599 || status >= 300 && status < 400 {
			return // the transport lets no other through
		}
		canned := vendortest.Canned{Answer: vendors.Answer{Status: status, Body: body}}
		target := ada("ada@example.com")
		target.Hint, target.Reference, target.ReceivedAt = "id-1|l/1", "job-1", exampleTime
		for _, r := range []*Recipe{acme, opendsr} {
			v, err := r.vendor(canned)
			if err != nil {
				t.Fatal(err)
			}
			p, err := v.Preview(t.Context(), target)
			switch {
			case err != nil:
				vendortest.NoLeak(t, err, target.Subject)
			case r == acme && p.Records == 0 && p.Doubt == "" && !strings.Contains(string(body), "[") && !strings.Contains(string(body), "0") && !strings.Contains(string(body), "no_such_contact"):
				t.Errorf("nobody in %q", body)
			}
			for _, ref := range p.Refs {
				if !plainID.MatchString(strings.ReplaceAll(ref, "/", "")) || strings.Contains(ref, "ada@") {
					t.Errorf("record %q", ref)
				}
			}
			if rc, err := v.Submit(t.Context(), target); err != nil {
				vendortest.NoLeak(t, err, target.Subject)
			} else if status > 299 || r == opendsr && !plainID.MatchString(rc.Reference) {
				t.Errorf("accepted with %d, reference %q", status, rc.Reference)
			}
			if r.Status == nil {
				continue
			}
			pg, err := (&poller{v}).Poll(t.Context(), target)
			if err != nil {
				vendortest.NoLeak(t, err, target.Subject)
			} else if pg.Job == vendors.JobDone && status > 299 || strings.ContainsFunc(pg.Status, func(r rune) bool { return r < ' ' || r > '~' }) {
				t.Errorf("%+v with %d", pg, status)
			}
		}
	})
}
