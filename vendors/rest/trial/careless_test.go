package trial

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"expunge/vendors"
	"expunge/vendors/rest"
	"expunge/vendors/vendortest"
)

// The made-up vendor of the careless recipes. It holds people with ids, addresses and accounts,
// and answers as its pages say, which the recipes' authors have read in a hurry.
type hasty struct {
	people map[int]*hastyPerson
	jobs   map[string]int // days until a job is done; its person goes then
	size   int            // of a page
	fuzzy  bool           // the search finds what begins so
	locked bool           // nobody can be erased, which 200 says
	ending string         // the word of a job that has ended; "": completed
}

type hastyPerson struct {
	email         string
	account       int
	gone, started bool
}

func (h *hasty) holds(email string) bool {
	for _, p := range h.people {
		if p.email == email && !p.gone {
			return true
		}
	}
	return false
}

func (h *hasty) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	reply := func(status int, doc string) { vendortest.Reply(status, doc)(w, r) }
	if r.Header.Get("Authorization") != "Bearer sim-token" {
		reply(401, `{"title":"who asks?"}`)
		return
	}
	var body map[string]any
	json.NewDecoder(r.Body).Decode(&body)
	find := func(id string) *hastyPerson {
		for n, p := range h.people {
			if fmt.Sprint(n) == id && !p.gone {
				return p
			}
		}
		return nil
	}
	switch path := strings.TrimPrefix(r.URL.Path, "/v1"); {
	case path == "/people/search" && r.Method == "POST", path == "/people" && r.Method == "GET":
		asked, _ := body["email"].(string)
		if asked == "" {
			asked = r.URL.Query().Get("email")
		}
		var found []string
		for n := range 100 {
			if p := h.people[n]; p != nil && !p.gone && (p.email == asked || h.fuzzy && strings.HasSuffix(p.email, asked)) && (h.size == 0 || len(found) < h.size) {
				found = append(found, fmt.Sprintf(`{"id":%d,"email":%q,"account":{"id":%d}}`, n, p.email, p.account))
			}
		}
		reply(200, `{"people":[`+strings.Join(found, ",")+`]}`)
	case strings.HasPrefix(path, "/people/") && r.Method == "DELETE":
		p := find(strings.TrimPrefix(path, "/people/"))
		switch {
		case h.locked:
			reply(200, `{"status":"error","message":"legal hold"}`)
		case p == nil:
			reply(404, `{"title":"Not Found"}`)
		default:
			p.gone = true
			reply(200, `{"status":"ok"}`)
		}
	case path == "/erasures" && r.Method == "POST":
		for n, p := range h.people {
			if p.email == body["email"] {
				h.jobs[fmt.Sprint("job-", n)] = n
				reply(202, fmt.Sprintf(`{"job":"job-%d","state":"queued"}`, n))
				return
			}
		}
		reply(422, `{"title":"nobody"}`)
	case strings.HasPrefix(path, "/erasures/"):
		job := strings.TrimPrefix(path, "/erasures/")
		state := "queued"
		if p := h.people[h.jobs[job]]; p.started {
			if state = h.ending; state == "" {
				state, p.gone = "completed", true
			}
		} else {
			p.started = true
		}
		reply(200, fmt.Sprintf(`{"job":%q,"state":%q}`, job, state))
	default:
		reply(404, `{"title":"Not Found"}`)
	}
}

const hastyHead = `format: 1
recipe: hasty
version: 1
docs: https://docs.hasty.example.com/
read: 2026-11-25
tried: 2026-11-25 by somebody in a hurry
config: {token: {secret: true, hint: a token}}
base: https://api.hasty.example.com/v1
auth: {bearer: "{config.token}"}
limits: {rate: 1000/s}
known_by: email
report: {act: remove, erases: [the person], keeps: [nothing], how_known: as the pages say}
`

const hastyLook = `preview:
  request: {method: POST, path: /people/search, json: {email: "{identifier}"}}
  records: people
  id: id
  absent: []
  owner: {email: [email]}
`

const hastyErase = `erase:
  each: record
  request: {method: DELETE, path: "/people/{record}"}
  accepted: {status: 200, at: status, is: ok}
done: {by: preview, patience: 1h}
uncertain: ask
`

const hastyJob = `erase:
  request: {method: POST, path: /erasures, json: {email: "{identifier}"}}
  accepted: {status: 202, at: job}
  job: job
status:
  request: {method: GET, path: "/erasures/{job}"}
  job: job
  at: state
  words: {open: queued, done: completed, failed: failed}
done: {by: status, after: 1h, every: 1h, patience: 1d}
`

const hastySeen = `  found: {from: docs, of: preview, identifier: a@b.example, sends: [found], answers: {status: 200, json: {people: [{id: 1, email: a@b.example, account: {id: 7}}]}}, gives: 1 record}
  none: {from: docs, of: preview, identifier: a@b.example, answers: {status: 200, json: {people: []}}, gives: none}
  several: {from: docs, of: preview, identifier: a@b.example, answers: {status: 200, json: {people: [{id: 1, email: a@b.example, account: {id: 7}}, {id: 2, email: a@b.example, account: {id: 8}}]}}, gives: 2 records}
  shared: {from: docs, of: preview, identifier: a@b.example, answers: {status: 200, json: {people: [{id: 1, email: c@b.example, account: {id: 7}}]}}, gives: held}
`

const hastyErased = `  erased: {from: docs, of: erase, identifier: a@b.example, records: 1, sends: [erased], answers: {status: 200, json: {status: ok}}, gives: accepted}
  refused: {from: docs, of: erase, identifier: a@b.example, records: 1, answers: {status: 422, json: {title: no}}, gives: refused}
`

const hastyDone = `  erased: {from: docs, of: erase, identifier: a@b.example, sends: [erased], answers: {status: 202, json: {job: j1, state: queued}}, gives: accepted}
  refused: {from: docs, of: erase, identifier: a@b.example, answers: {status: 422, json: {title: no}}, gives: refused}
  queued: {from: docs, of: status, job: j1, sends: [queued], answers: {status: 200, json: {job: j1, state: queued}}, gives: open}
  completed: {from: docs, of: status, job: j1, answers: {status: 200, json: {job: j1, state: completed}}, gives: done}
  failed: {from: docs, of: status, job: j1, answers: {status: 200, json: {job: j1, state: failed}}, gives: failed}
`

// TestCareless: what somebody in a hurry writes leads to a load error, to the control record
// that is not found, to a task that is held or stays open; never to an erased or not_found of
// somebody whom the vendor holds. (The examples go with the recipes: their authors believe them.)
func TestCareless(t *testing.T) {
	looked := hastyHead + hastyLook + hastyErase + "examples:\n" + hastySeen + hastyErased
	job := hastyHead + hastyJob + "examples:\n" + hastyDone
	for _, tt := range []struct {
		name  string
		text  string
		edits []string // old, new, ...
		api   hasty
		email string // "": ada@example.com
		want  string
	}{
		{name: "careful", text: looked, want: "erased"},
		{name: "a careful job", text: job, want: "erased"},
		{name: "another method, another address", text: looked, edits: []string{"{method: POST, path: /people/search, json: {email: \"{identifier}\"}}", "{method: GET, path: /people/search, query: {email: \"{identifier}\"}}",
			"  absent: []", "  absent: []\n  none: {status: 404, at: title, is: Not Found}", "  none: {from", "  nobody: {from: docs, of: preview, identifier: a@b.example, answers: {status: 404, json: {title: Not Found}}, gives: none}\n  none: {from"}, want: "the control record is not found"},
		{name: "another parameter", text: looked, edits: []string{"json: {email: ", "json: {mail: "}, want: "the control record is not found"},
		{name: "200 that says no, without a word", text: looked, edits: []string{"at: status, is: ok}", "at: status}"}, api: hasty{locked: true}, want: "held: still there"},
		{name: "200 that says no, and nothing is looked at", text: looked, edits: []string{"at: status, is: ok}", "at: status}", "by: preview, patience: 1h", "by: answer", "gives: accepted", "gives: done"}, api: hasty{locked: true}, want: "load: erase.accepted: needs is beside at"},
		{name: "pages forgotten", text: looked, api: hasty{size: 1}, email: "twice@example.com", want: "held: still there"},
		{name: "the id of something else", text: looked, edits: []string{"id: id", "id: account.id"}, want: "open: submit"},
		{name: "a status word left out", text: job, api: hasty{ending: "partially_completed"}, want: "open: unknown"},
		{name: "a failure left out", text: strings.Replace(job, ", failed: failed", "", 1), edits: []string{"gives: failed", "gives: unknown"}, api: hasty{ending: "failed"}, want: "open: unknown"},
		{name: "a value inside a text", text: looked, edits: []string{"json: {email: \"{identifier}\"}", "json: {email: \"{identifier}\", where: \"email = '{identifier}'\"}"}, email: "o'neil@example.com", want: "held: malformed_key"},
		{name: "a job that is taken for done", text: hastyHead + strings.ReplaceAll(hastyJob[:strings.Index(hastyJob, "  job: job")], "at: job", "at: job, is: j1") + "done: {by: answer}\nexamples:\n" + hastyDone[:strings.Index(hastyDone, "  queued")],
			edits: []string{"gives: accepted", "gives: done"}, want: "load: erase.accepted: status 202 says that it is not done yet"},
		{name: "a 404 that could be anybody's", text: looked, edits: []string{"  absent: []", "  absent: []\n  none: {status: 404, at: title}"}, want: "load: preview.none: needs is beside at"},
		{name: "the token in the query", text: looked, edits: []string{"auth: {bearer: \"{config.token}\"}", "auth: {query: {token: \"{config.token}\"}}"}, want: "the control record is not found"},
		{name: "a search that is not exact", text: looked, edits: []string{"owner: {email: [email]}", "owner: {exact: true, why: the search is by email}", hastySeen[strings.Index(hastySeen, "  shared"):], ""}, api: hasty{fuzzy: true}, want: "held: somebody_else"},
		{name: "an erasure that is a question", text: looked, edits: []string{"{method: DELETE, path: \"/people/{record}\"}", "{method: GET, path: \"/people/{record}\"}"}, want: "open: submit"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			text := tt.text
			for i := 0; i < len(tt.edits); i += 2 {
				if !strings.Contains(text, tt.edits[i]) {
					t.Fatalf("the recipe has no %q", tt.edits[i])
				}
				text = strings.Replace(text, tt.edits[i], tt.edits[i+1], 1)
			}
			api := tt.api
			api.jobs = map[string]int{}
			api.people = map[int]*hastyPerson{
				1: {email: "ada@example.com", account: 51}, 2: {email: "twice@example.com", account: 2}, 3: {email: "twice@example.com", account: 3},
				4: {email: "control@example.org", account: 4}, 5: {email: "o'neil@example.com", account: 5}, 6: {email: "xada@example.com", account: 6},
			}
			email := tt.email
			if email == "" {
				email = "ada@example.com"
			}
			others := len(api.people) - 1
			if email == "twice@example.com" {
				others--
			}
			got := carelessly(t, text, &api, email)
			if !strings.HasPrefix(got, tt.want) {
				t.Errorf("%s\nwant %s", got, tt.want)
			}
			for _, p := range api.people {
				if p.email != email && !p.gone {
					others--
				}
			}
			if others != 0 {
				t.Errorf("%d others were erased", others)
			}
			if (got == "erased" || got == "not_found") && api.holds(email) {
				t.Errorf("%s, and the vendor holds them", got)
			}
			t.Log(got)
		})
	}
}

// carelessly says what comes of a recipe at a vendor.
func carelessly(t *testing.T, text string, api http.Handler, email string) string {
	r, err := rest.Parse("hasty.yaml", []byte(pinned(t, "hasty.yaml", text)))
	if err != nil {
		_, problem, _ := strings.Cut(err.Error(), ": ")
		return "load: " + problem
	}
	server := httptest.NewServer(api)
	defer server.Close()
	c := Config(r, server.URL)
	c.BaseURL = server.URL
	v, err := c.Open(vendors.Options{Name: "hasty", Transport: vendortest.NewTransport(t, "hasty", 0)})
	if err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	if own := v.Traits().Control; own != nil {
		if p, err := v.Preview(ctx, own); err != nil || p.Records == 0 {
			return fmt.Sprintf("the control record is not found: %d records, %v", p.Records, err)
		}
	}
	target := &vendors.Target{Ref: vendors.Ref{Field: vendors.Email}, Subject: vendors.Subject{{Field: vendors.Email, Text: email}}}
	open := func(err error) string {
		var e *vendors.Error
		if !errors.As(err, &e) {
			t.Fatal(err)
		}
		return fmt.Sprintf("open: %s: %v", e.Op, err)
	}
	p, err := v.Preview(ctx, target)
	switch {
	case err != nil:
		return open(err)
	case p.Doubt != "":
		return "held: " + string(p.Doubt)
	case v.Traits().Remote && p.Records == 0:
		return "not_found"
	}
	target.Hint = p.Hint
	receipt, err := v.Submit(ctx, target)
	switch {
	case err != nil:
		return open(err)
	case receipt.Done:
		return "erased"
	}
	target.Reference = receipt.Reference
	if poller, ok := v.(vendors.Poller); ok {
		for range 3 {
			progress, err := poller.Poll(ctx, target)
			switch {
			case err != nil:
				return open(err)
			case progress.Job == vendors.JobDone:
				return "erased"
			case progress.Job != vendors.JobOpen:
				return "open: unknown " + progress.Status
			}
		}
		return "open: the job is"
	}
	switch p, err = v.Preview(ctx, target); {
	case err != nil:
		return open(err)
	case p.Records > 0 || p.Doubt != "":
		return "held: still there"
	}
	return "erased"
}
