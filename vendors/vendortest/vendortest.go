// Package vendortest is the suite that every adapter passes, with what adapters' own tests
// need besides: a recording server on loopback, a transport without pacing, recorded
// answers and golden requests.
//
// The suite asks what the rest of the program relies on without looking: that a preview
// only reads; that a submission is exactly one changing request; that an answer which
// leaves the outcome open is never reported as harmless, and a refusal always is; that no
// error tells whom it is about; that nothing leaves after the run was stopped or past the
// transport. What is particular to a kind stays in that kind's tests.
//
// It is for tests only and reaches nothing but loopback.
package vendortest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"expunge/vendors"
)

// Case describes one kind, or one configuration of it, to the suite.
type Case struct {
	// Open makes the vendor, for a server at the given base URL.
	Open func(t testing.TB, base string, tr vendors.Transport) vendors.Vendor
	// Serve answers every request as the vendor does where all is well: it holds records of
	// the target's person alone, and accepts what is submitted.
	Serve http.HandlerFunc
	// Target is a task with clear values. Its Reference is one that Serve knows, where the
	// kind has any, and its Hint is what a preview of it gives: some cases submit without one.
	Target vendors.Target
	// IsToken tells a request for credentials, or for a connection, from a call. nil: there
	// are none.
	IsToken func(*http.Request) bool
	// Refuse answers a call that the vendor refuses for good. nil: calls are messages, whose
	// answers have no status; only a request for a connection can be refused.
	Refuse http.HandlerFunc
	// Reads tells a request that reads, in spite of its method, such as a search by POST. nil:
	// GET and HEAD read, all else changes.
	Reads func(Request) bool
	// Secrets are credentials that no error may hold.
	Secrets []string
	// EmptyAccepts: a 2xx without a body accepts a submission. It still is no answer to a read.
	EmptyAccepts bool
	// Unclear are further bodies that, with status 200, leave the outcome of a submission
	// open. The suite knows the ones that no kind can read.
	Unclear []string
}

const name = "vendor-under-test"

// bench is one vendor on one server, with a place to slip in a fault.
type bench struct {
	Case
	server    *Server
	transport *Transport
	vendor    vendors.Vendor

	mu    sync.Mutex
	fault http.HandlerFunc // answers calls (not token requests) instead of Serve
	door  http.HandlerFunc // answers token requests instead of Serve
}

// noAnswer is the transport's timeout where a fault lets requests run into it.
const noAnswer = 400 * time.Millisecond

func (c Case) bench(t T, timeout time.Duration) *bench {
	t.Helper()
	b := &bench{Case: c, transport: NewTransport(t, name, timeout)}
	b.server = NewServer(t, http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		b.mu.Lock()
		fault := b.fault
		if b.isToken(req) {
			fault = b.door
		}
		b.mu.Unlock()
		if fault == nil {
			fault = b.Serve
		}
		fault(w, req)
	}))
	b.vendor = c.open(t, b.server.URL, b.transport)
	return b
}

// open makes a vendor that lasts as long as the test.
func (c Case) open(t T, base string, tr vendors.Transport) vendors.Vendor {
	v := c.Open(t, base, tr)
	if closer, ok := v.(io.Closer); ok {
		t.Cleanup(func() {
			if err := closer.Close(); err != nil {
				t.Errorf("closing the vendor: %v", err)
			}
		})
	}
	return v
}

// changes reports whether a request may change data at the vendor.
func (c Case) changes(r Request) bool { return r.Changes() && (c.Reads == nil || !c.Reads(r)) }

func (c Case) isToken(req *http.Request) bool { return c.IsToken != nil && c.IsToken(req) }

// calls are the requests since the last time that are not for credentials.
func (b *bench) calls(t T) []Request {
	t.Helper()
	return b.withoutTokens(t, b.server.Got())
}

func (b *bench) withoutTokens(t T, all []Request) []Request {
	t.Helper()
	var calls []Request
	for _, r := range all {
		req, err := http.NewRequest(r.Method, "http://localhost"+r.Path, nil)
		if err != nil {
			t.Fatal(err)
		}
		if !b.isToken(req) {
			calls = append(calls, r)
		}
	}
	return calls
}

func (b *bench) set(fault http.HandlerFunc) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.fault = fault
}

func (c Case) target() *vendors.Target {
	t := c.Target
	t.Subject = slices.Clone(t.Subject)
	return &t
}

// T is what the suite needs of a *testing.T. It is an interface so that a program can run the
// suite too (Try).
type T interface {
	testing.TB
	Run(name string, f func(t T))
}

// goTest is a T of go test.
type goTest struct{ *testing.T }

func (t goTest) Run(name string, f func(t T)) {
	t.T.Run(name, func(t *testing.T) { f(goTest{t}) })
}

// Run runs the suite.
func Run(t *testing.T, c Case) { c.run(goTest{t}) }

func (c Case) run(t T) {
	t.Run("traits", c.traits)
	t.Run("identifiers", c.identifiers)
	t.Run("preview only reads", c.previewReads)
	t.Run("submit is one changing request", c.submitOnce)
	t.Run("poll only reads", c.pollReads)
	t.Run("open outcomes are not harmless", c.openOutcomes)
	t.Run("refusals are typed", c.refusals)
	t.Run("reads are typed", c.reads)
	t.Run("stopped before", c.stopped)
	t.Run("nobody there", c.nobodyThere)
	t.Run("nothing to send", c.nothingToSend)
	t.Run("at the same time", c.concurrent)
	t.Run("check only reads", c.checkReads)
	t.Run("the control record is never submitted", c.control)
	t.Run("exports", c.exports)
}

func (c Case) traits(t T) {
	b := c.bench(t, 0)
	tr := b.vendor.Traits()
	_, polls := b.vendor.(vendors.Poller)
	switch {
	case tr.Kind == "":
		t.Error("no Kind: the report cannot name the API")
	case len(strings.Fields(tr.Place)) < 2 || strings.Fields(tr.Place)[0] != tr.Kind:
		t.Errorf("Place %q does not name kind and host: a place that has changed would not be noticed", tr.Place)
	case slices.ContainsFunc(c.Secrets, func(s string) bool { return strings.Contains(tr.Place, s) }):
		t.Error("Place holds a secret: it is stored and shown")
	case tr.Act.Done() == "":
		t.Errorf("Act %q is none: the report could not say what the vendor does", tr.Act)
	case tr.Control != nil && (!tr.Remote || !tr.Control.Control || tr.Control.Identifier() == ""):
		t.Error("a Control that cannot be looked up")
	case tr.Completion < vendors.ByPreview || tr.Completion > vendors.ByPerson:
		t.Error("no Completion: nothing would end a submission")
	case tr.Uncertain < vendors.AskAgain || tr.Uncertain > vendors.HoldForPerson:
		t.Error("no Uncertain: a crash could not be resolved")
	case tr.Completion == vendors.ByPreview && !tr.Remote, tr.Uncertain == vendors.AskAgain && !tr.Remote:
		t.Error("relies on a preview that does not ask the vendor")
	case tr.Completion == vendors.ByPerson && tr.Uncertain == vendors.HoldForPerson && tr.LookUp == "":
		t.Error("no LookUp: a person who must resolve an uncertain request is not told where to look")
	case (tr.Completion == vendors.ByPoll) != polls:
		t.Error("Completion ByPoll and the Poller interface must go together")
	case tr.Completion == vendors.ByPoll && (tr.FirstPoll <= 0 || tr.PollEvery <= 0):
		t.Error("polls without a pause")
	case len(tr.Anonymizes) == 0 || len(tr.Keeps) == 0 || tr.HowKnown == "":
		t.Error("the compliance report would have a gap: Anonymizes, Keeps or HowKnown")
	case slices.ContainsFunc(slices.Collect(maps.Values(tr.Besides)), func(s vendors.FieldSet) bool { return s&^tr.Fields != 0 }):
		t.Error("Besides names fields that Fields lacks: they could not be compared")
	case !tr.Fields.Has(c.Target.Ref.Field):
		t.Errorf("Fields lacks %v: the store would drop it before it is sent", c.Target.Ref.Field)
	}
	if got := b.server.Got(); len(got) != 0 {
		t.Errorf("opening the vendor and reading its traits sent %d requests", len(got))
	}
}

func (c Case) identifiers(t T) {
	b := c.bench(t, 0)
	subject := c.target().Subject
	refs, reason := b.vendor.Identifiers(subject)
	if !slices.Contains(refs, c.Target.Ref) || reason != "" {
		t.Errorf("Identifiers = %v, %q: want %v among them", refs, reason, c.Target.Ref)
	}
	for _, r := range refs {
		if subject.At(r) == "" {
			t.Errorf("%v points at no value of the subject", r)
		}
		if !vendors.Identifiers.Has(r.Field) {
			t.Errorf("%v cannot be an identifier", r.Field)
		}
	}
	for _, empty := range []vendors.Subject{nil, {{Field: vendors.CustomerName, Text: "Ada Example"}}, subject.Forget(0)} {
		if refs, reason := b.vendor.Identifiers(empty); len(refs) != 0 || reason == "" {
			t.Errorf("Identifiers of a subject without clear identifiers = %v, %q: want none and a reason", refs, reason)
		}
	}
	if got := b.server.Got(); len(got) != 0 {
		t.Errorf("Identifiers sent %d requests", len(got))
	}
}

func (c Case) previewReads(t T) {
	b := c.bench(t, 0)
	p, err := b.vendor.Preview(t.Context(), c.target())
	if err != nil {
		t.Fatal(err)
	}
	if p.Doubt != "" {
		t.Errorf("doubt %q where all is well", p.Doubt)
	}
	calls := b.calls(t)
	for _, r := range calls {
		if c.changes(r) {
			t.Errorf("a preview sent a %s", r.Method)
		}
	}
	if remote := b.vendor.Traits().Remote; remote != (len(calls) > 0) || remote != (p.Records > 0) {
		t.Errorf("Remote is %v, but the preview sent %d requests and found %d records", remote, len(calls), p.Records)
	}
	for _, s := range append(p.Refs, p.Hint) {
		for _, v := range c.Target.Subject {
			if vendors.Identifiers.Has(v.Field) && s != "" && strings.Contains(s, v.Text) {
				t.Errorf("the preview's Refs or Hint hold the subject's %v", v.Field)
			}
		}
	}
}

func (c Case) submitOnce(t T) {
	b := c.bench(t, 0)
	target := c.target()
	p, err := b.vendor.Preview(t.Context(), target)
	if err != nil {
		t.Fatal(err)
	}
	target.Hint = p.Hint
	b.server.Got()
	before := b.transport.Passed()
	receipt, err := b.vendor.Submit(t.Context(), target)
	if err != nil {
		t.Fatal(err)
	}
	if b.vendor.Traits().Completion != vendors.ByPreview && receipt.Reference == "" && !receipt.Done {
		t.Error("no Reference: what was submitted could not be followed")
	}
	all := b.server.Got()
	if sent := b.transport.Passed() - before; sent != len(all) {
		t.Errorf("%d requests arrived, %d went through the transport", len(all), sent)
	}
	changing := 0
	calls := b.withoutTokens(t, all)
	for _, r := range calls {
		if c.changes(r) {
			changing++
		}
	}
	if changing != 1 || len(calls) != 1 {
		t.Errorf("Submit sent %d requests, %d of them changing: want exactly one", len(calls), changing)
	}
}

func (c Case) pollReads(t T) {
	b := c.bench(t, 0)
	poller, ok := b.vendor.(vendors.Poller)
	if !ok {
		return
	}
	p, err := poller.Poll(t.Context(), c.target())
	if err != nil {
		t.Fatal(err)
	}
	if p.Job < vendors.JobOpen || p.Job > vendors.JobUnknown {
		t.Errorf("Job %d is none", p.Job)
	}
	calls := b.calls(t)
	if len(calls) != 1 || c.changes(calls[0]) {
		t.Errorf("a poll sent %d requests: want one read", len(calls))
	}
}

// unclear are faults after which a submission may or may not have happened: the usual ones,
// and answers with the given bodies.
func (c Case) unclear(t T, b *bench, bodies ...string) map[string]http.HandlerFunc {
	hang := make(chan struct{})
	t.Cleanup(func() { close(hang) })
	faults := map[string]http.HandlerFunc{
		"connection cut after the effect": func(w http.ResponseWriter, req *http.Request) {
			b.Serve(discard{}, req)
			panic(http.ErrAbortHandler)
		},
		"connection cut in the answer": func(w http.ResponseWriter, req *http.Request) {
			w.Header().Set("Content-Length", "1000")
			io.WriteString(w, "{")
			panic(http.ErrAbortHandler)
		},
		"no answer in time": func(w http.ResponseWriter, req *http.Request) {
			select {
			case <-hang:
			case <-req.Context().Done():
			}
		},
		"redirect": func(w http.ResponseWriter, req *http.Request) {
			w.Header().Set("Location", "/elsewhere")
			w.WriteHeader(http.StatusFound)
		},
	}
	for _, status := range []int{408, 409, 423, 425, 500, 502, 503, 504} {
		faults[fmt.Sprintf("status %d", status)] = Reply(status, quoteBack(c.Target.Subject))
	}
	faults["status 200 without a body"] = Reply(http.StatusOK, "")
	for i, body := range append([]string{
		"<!doctype html><title>Sign in</title>", `{"`, "null", "[]", "true", `"ok"`, "{} {}", "\x00\xff", quoteBack(c.Target.Subject),
	}, bodies...) {
		faults[fmt.Sprintf("status 200 with body %d", i)] = Reply(http.StatusOK, body)
	}
	return faults
}

// quoteBack is an answer in which the vendor repeats what we sent, outside JSON.
func quoteBack(s vendors.Subject) string {
	var b strings.Builder
	b.WriteString("cannot process ")
	for _, v := range s {
		fmt.Fprintf(&b, "%v=%s ", v.Field, v.Text)
	}
	return b.String()
}

// discard takes an answer that will never arrive.
type discard struct{}

func (discard) Header() http.Header         { return http.Header{} }
func (discard) Write(p []byte) (int, error) { return len(p), nil }
func (discard) WriteHeader(int)             {}

func (c Case) openOutcomes(t T) {
	b := c.bench(t, noAnswer)
	if _, err := b.vendor.Submit(t.Context(), c.target()); err != nil { // credentials are there from now on
		t.Fatal(err)
	}
	faults := c.unclear(t, b, c.Unclear...)
	if c.EmptyAccepts {
		delete(faults, "status 200 without a body")
	}
	for what, fault := range faults {
		t.Run(what, func(t T) {
			b.calls(t)
			b.set(fault)
			receipt, err := b.vendor.Submit(t.Context(), c.target())
			c.typed(t, err, vendors.ErrUnavailable, vendors.ErrUnreadable)
			if vendors.Harmless(err) {
				t.Error("reported as harmless: the task would be submitted again without asking")
			}
			if receipt != (vendors.Receipt{}) {
				t.Error("a receipt beside an error")
			}
			changing := 0
			for _, r := range b.calls(t) {
				if c.changes(r) {
					changing++
				}
			}
			if changing != 1 {
				t.Errorf("%d changing requests: want exactly one", changing)
			}
		})
	}
}

func (c Case) refusals(t T) {
	if c.Refuse == nil {
		c.messageRefusals(t)
		return
	}
	b := c.bench(t, 0)
	for _, test := range []struct {
		name  string
		fault http.HandlerFunc
		kind  error
	}{
		{"401", Reply(401, quoteBack(c.Target.Subject)), vendors.ErrAuth},
		{"403", Reply(403, quoteBack(c.Target.Subject)), vendors.ErrAuth},
		{"429", c.slowDown, vendors.ErrRateLimited},
		{"400", Reply(400, quoteBack(c.Target.Subject)), vendors.ErrRefused},
		{"404 of something in front", Reply(404, quoteBack(c.Target.Subject)), vendors.ErrAddress},
		{"405", Reply(405, quoteBack(c.Target.Subject)), vendors.ErrAddress},
		{"410", Reply(410, quoteBack(c.Target.Subject)), vendors.ErrAddress},
		{"415", Reply(415, quoteBack(c.Target.Subject)), vendors.ErrAddress},
		{"501", Reply(501, quoteBack(c.Target.Subject)), vendors.ErrAddress},
		{"the vendor's own refusal", c.Refuse, vendors.ErrRefused},
	} {
		t.Run(test.name, func(t T) {
			b.set(test.fault)
			c.refused(t, b, test.kind)
		})
	}
}

// slowDown asks for a pause of 17 seconds.
func (c Case) slowDown(w http.ResponseWriter, req *http.Request) {
	w.Header().Set("Retry-After", "17")
	Reply(http.StatusTooManyRequests, quoteBack(c.Target.Subject))(w, req)
}

// refused submits, and wants a refusal of the given kind.
func (c Case) refused(t T, b *bench, kind error) {
	t.Helper()
	_, err := b.vendor.Submit(t.Context(), c.target())
	c.typed(t, err, kind)
	if !vendors.Harmless(err) {
		t.Error("not reported as harmless")
	}
	var e *vendors.Error
	if errors.As(err, &e) && kind == vendors.ErrRateLimited && e.RetryAfter != 17*time.Second {
		t.Errorf("RetryAfter = %v, the vendor asked for 17s", e.RetryAfter)
	}
}

// messageRefusals: where calls are messages, the request for a connection is what can be
// refused, and then no message leaves. A message that was sent is never known to be
// refused.
func (c Case) messageRefusals(t T) {
	if c.IsToken != nil {
		for _, test := range []struct {
			name string
			door http.HandlerFunc
			kind error
		}{
			{"401", Reply(401, quoteBack(c.Target.Subject)), vendors.ErrAuth},
			{"403", Reply(403, quoteBack(c.Target.Subject)), vendors.ErrAuth},
			{"429", c.slowDown, vendors.ErrRateLimited},
			{"404", Reply(404, quoteBack(c.Target.Subject)), vendors.ErrNotSent},
			{"503", Reply(503, quoteBack(c.Target.Subject)), vendors.ErrNotSent},
		} {
			t.Run("connection: "+test.name, func(t T) {
				b := c.bench(t, 0)
				b.door = test.door
				c.refused(t, b, test.kind)
				if calls := b.calls(t); len(calls) != 0 {
					t.Errorf("%d messages left without a connection", len(calls))
				}
			})
		}
	}
	b := c.bench(t, noAnswer)
	for _, status := range []int{400, 401, 403, 422, 429} {
		t.Run(fmt.Sprintf("message: %d", status), func(t T) {
			b.set(Reply(status, quoteBack(c.Target.Subject)))
			_, err := b.vendor.Submit(t.Context(), c.target())
			c.typed(t, err, vendors.ErrUnavailable, vendors.ErrUnreadable)
		})
	}
}

// reads makes sure that no failure of a read passes for an answer: least of all for "no
// match", which would end a task, or verify an erasure that never was.
func (c Case) reads(t T) {
	b := c.bench(t, noAnswer)
	faults := c.unclear(t, b)
	faults["401"] = Reply(401, "")
	faults["404 of something in front"] = Reply(404, "<html><body>404 page not found</body></html>")
	for what, fault := range faults {
		t.Run(what, func(t T) {
			b.set(fault)
			kinds := []error{vendors.ErrUnavailable, vendors.ErrUnreadable}
			switch what {
			case "401":
				kinds = []error{vendors.ErrAuth}
			case "404 of something in front":
				kinds = []error{vendors.ErrAddress}
			}
			if b.vendor.Traits().Remote {
				p, err := b.vendor.Preview(t.Context(), c.target())
				c.typed(t, err, kinds...)
				if p.Records != 0 || p.Refs != nil || p.Doubt != "" {
					t.Error("a preview beside an error")
				}
			}
			if poller, ok := b.vendor.(vendors.Poller); ok {
				p, err := poller.Poll(t.Context(), c.target())
				c.typed(t, err, kinds...)
				if p != (vendors.Progress{}) {
					t.Error("progress beside an error")
				}
			}
		})
	}
}

// each calls every method that may reach the vendor.
func (b *bench) each(ctx context.Context, target func() *vendors.Target, f func(op string, err error)) {
	_, err := b.vendor.Submit(ctx, target())
	f("submit", err)
	if b.vendor.Traits().Remote {
		_, err := b.vendor.Preview(ctx, target())
		f("preview", err)
	}
	if poller, ok := b.vendor.(vendors.Poller); ok {
		_, err := poller.Poll(ctx, target())
		f("poll", err)
	}
	if exporter, ok := b.vendor.(vendors.Exporter); ok {
		_, err := exporter.CreateExport(ctx, target())
		f("create export", err)
		_, err = exporter.PollExport(ctx, target())
		f("poll export", err)
		var got strings.Builder
		f("fetch export", exporter.FetchExport(ctx, target(), &got))
		if got.Len() > 0 {
			f("fetch export", errors.New("content beside an error"))
		}
	}
}

// exports: asking for an export is one request and leaves a reference; to follow and to
// fetch it only reads, and works when the identifier is dropped; no failure passes for
// content.
func (c Case) exports(t T) {
	b := c.bench(t, noAnswer)
	exporter, ok := b.vendor.(vendors.Exporter)
	if !ok {
		return
	}
	requests := func(what string, changing int) {
		t.Helper()
		calls := b.calls(t)
		if len(calls) != 1 || c.changes(calls[0]) != (changing == 1) {
			t.Errorf("%s sent %d requests: want one", what, len(calls))
		}
	}
	receipt, err := exporter.CreateExport(t.Context(), c.target())
	if err != nil || receipt.Reference == "" {
		t.Fatalf("reference %q, %v", receipt.Reference, err)
	}
	requests("CreateExport", 1)
	target := c.target()
	target.Subject = target.Subject.Forget(0)
	if p, err := exporter.PollExport(t.Context(), target); err != nil || p.Job < vendors.JobOpen || p.Job > vendors.JobUnknown {
		t.Errorf("%+v, %v", p, err)
	}
	requests("PollExport", 0)
	var got strings.Builder
	if err := exporter.FetchExport(t.Context(), target, &got); err != nil || got.Len() == 0 {
		t.Errorf("%d bytes, %v", got.Len(), err)
	}
	requests("FetchExport", 0)

	for what, fault := range c.unclear(t, b, c.Unclear...) {
		b.set(fault)
		receipt, err := exporter.CreateExport(t.Context(), c.target())
		c.typed(t, err, vendors.ErrUnavailable, vendors.ErrUnreadable)
		if receipt != (vendors.Receipt{}) {
			t.Errorf("%s: a receipt beside an error", what)
		}
		if !strings.HasPrefix(what, "status 200") { // what is in a 200 is for the caller to see
			c.typed(t, exporter.FetchExport(t.Context(), target, io.Discard), vendors.ErrUnavailable, vendors.ErrUnreadable)
		}
	}
	for status, kind := range map[int]error{401: vendors.ErrAuth, 403: vendors.ErrAuth, 429: vendors.ErrRateLimited, 400: vendors.ErrRefused, 404: vendors.ErrUnreadable} {
		b.set(Reply(status, quoteBack(c.Target.Subject)))
		c.typed(t, exporter.FetchExport(t.Context(), target, io.Discard), kind)
	}
}

func (c Case) stopped(t T) {
	for _, warm := range []bool{false, true} { // without and with credentials at hand
		b := c.bench(t, 0)
		if warm {
			if _, err := b.vendor.Submit(t.Context(), c.target()); err != nil {
				t.Fatal(err)
			}
			b.server.Got()
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		b.each(ctx, c.target, func(op string, err error) {
			c.typed(t, err, vendors.ErrNotSent)
			if !errors.Is(err, vendors.ErrStopped) {
				t.Errorf("%s after the run was stopped: not ErrStopped: %v", op, err)
			}
		})
		if got := b.server.Got(); len(got) != 0 {
			t.Errorf("%d requests left after the run was stopped", len(got))
		}
	}
}

func (c Case) nobodyThere(t T) {
	b := c.bench(t, 0)
	b.vendor = c.open(t, "http://127.0.0.1:1", b.transport) // where nothing listens
	b.each(t.Context(), c.target, func(op string, err error) {
		c.typed(t, err, vendors.ErrNotSent)
		if errors.Is(err, vendors.ErrStopped) {
			t.Errorf("%s: a refused connection reported as a stop", op)
		}
	})
}

// nothingToSend: a task whose clear values are gone must not turn into a call about
// nobody, which a vendor might take for everybody.
func (c Case) nothingToSend(t T) {
	b := c.bench(t, 0)
	b.each(t.Context(), func() *vendors.Target {
		target := c.target()
		target.Subject = target.Subject.Forget(0)
		target.Reference = ""
		return target
	}, func(op string, err error) {
		c.typed(t, err, vendors.ErrNotSent)
	})
	if got := b.server.Got(); len(got) != 0 {
		t.Errorf("%d requests left without an identifier", len(got))
	}
}

func (c Case) concurrent(t T) {
	b := c.bench(t, 0)
	const workers = 8
	var group sync.WaitGroup
	errs := make([]error, workers)
	for i := range workers {
		group.Go(func() {
			target := c.target()
			p, err := b.vendor.Preview(t.Context(), target)
			target.Hint = p.Hint
			if err == nil {
				_, err = b.vendor.Submit(t.Context(), target)
			}
			errs[i] = err
		})
	}
	group.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Error(err)
	}
	tokens, changing := 0, 0
	all := b.server.Got()
	for _, r := range all {
		req, _ := http.NewRequest(r.Method, "http://localhost"+r.Path, nil)
		switch {
		case b.isToken(req):
			tokens++
		case c.changes(r):
			changing++
		}
	}
	if changing != workers {
		t.Errorf("%d workers made %d changing requests", workers, changing)
	}
	if c.IsToken != nil && tokens != 1 {
		t.Errorf("%d workers fetched %d tokens: want one for all", workers, tokens)
	}
	if len(all) != b.transport.Passed() {
		t.Errorf("%d requests arrived, %d went through the transport", len(all), b.transport.Passed())
	}
}

func (c Case) checkReads(t T) {
	b := c.bench(t, 0)
	checker, ok := b.vendor.(vendors.Checker)
	if !ok {
		return
	}
	if _, err := checker.Check(t.Context()); err != nil {
		t.Fatal(err)
	}
	calls := b.calls(t)
	for _, r := range calls {
		if c.changes(r) {
			t.Errorf("a check sent a %s", r.Method)
		}
		for _, v := range c.Target.Subject {
			if vendors.Identifiers.Has(v.Field) && strings.Contains(r.Query, v.Text) {
				t.Error("a check asked about a person")
			}
		}
	}
	if len(calls) == 0 {
		return // nothing can be asked harmlessly
	}
	b.set(Reply(403, ""))
	_, err := checker.Check(t.Context())
	c.typed(t, err, vendors.ErrAuth)
}

// control: the control record can be looked at, and no task about it leads to a call.
func (c Case) control(t T) {
	b := c.bench(t, 0)
	own := b.vendor.Traits().Control
	if own == nil {
		return
	}
	if _, err := b.vendor.Preview(t.Context(), own); err != nil {
		t.Errorf("the control record cannot be looked up: %v", err)
	}
	calls := b.calls(t)
	if len(calls) == 0 || slices.ContainsFunc(calls, c.changes) {
		t.Errorf("looking up the control record sent %d requests: want some, and only reads", len(calls))
	}
	target := c.target()
	target.Subject = append(target.Subject, own.Subject...) // a person with the record's identifier among others
	for what, target := range map[string]*vendors.Target{"the record": own, "a person": target} {
		if _, err := b.vendor.Submit(t.Context(), target); !errors.Is(err, vendors.ErrRefused) {
			t.Errorf("%s was submitted: %v", what, err)
		}
	}
	if p, err := b.vendor.Preview(t.Context(), target); err != nil || p.Doubt != vendors.ControlRecord || p.Records != 0 {
		t.Errorf("Preview = %+v, %v: want it held as the control record", p, err)
	}
	if calls := b.calls(t); len(calls) != 0 {
		t.Errorf("%d requests left about the control record as if it were a person", len(calls))
	}
}

// typed checks an error: it matches exactly one kind, one of those wanted, and names
// neither the person nor a secret.
func (c Case) typed(t T, err error, want ...error) {
	t.Helper()
	if err == nil {
		t.Errorf("no error: want %v", want)
		return
	}
	var kinds []error
	for _, k := range []error{
		vendors.ErrNotSent, vendors.ErrRateLimited, vendors.ErrAuth,
		vendors.ErrRefused, vendors.ErrAddress, vendors.ErrUnavailable, vendors.ErrUnreadable,
	} {
		if errors.Is(err, k) {
			kinds = append(kinds, k)
		}
	}
	if len(kinds) != 1 || !slices.Contains(want, kinds[0]) {
		t.Errorf("error of kinds %v: want exactly one of %v (%v)", kinds, want, err)
	}
	var e *vendors.Error
	if !errors.As(err, &e) || e.Vendor != name || e.Op == "" {
		t.Errorf("error does not name vendor and call: %v", err)
	}
	NoLeak(t, err, c.Target.Subject, c.Secrets...)
}

// NoLeak fails where an error's text, or that of anything it wraps, holds a value of the
// subject or a secret.
func NoLeak(t testing.TB, err error, s vendors.Subject, secrets ...string) {
	t.Helper()
	values := slices.Clone(secrets)
	for _, v := range s {
		if v.Field == vendors.Region { // eu is in many words
			continue
		}
		values = append(values, v.Text)
		if class, normal := vendors.Normal(v.Field, v.Text); class == vendors.Telephone {
			values = append(values, normal)
		}
	}
	for _, text := range texts(err) {
		for _, v := range values {
			for _, spelled := range []string{v, url.QueryEscape(v), url.PathEscape(v)} {
				if spelled != "" && strings.Contains(strings.ToLower(text), strings.ToLower(spelled)) {
					t.Error("an error's text holds a value of the subject or a secret")
					return
				}
			}
		}
	}
}

// texts collects the texts of an error and of all that it wraps.
func texts(err error) []string {
	if err == nil {
		return nil
	}
	all := []string{err.Error(), fmt.Sprintf("%+v", err)}
	switch w := err.(type) {
	case interface{ Unwrap() error }:
		all = append(all, texts(w.Unwrap())...)
	case interface{ Unwrap() []error }:
		for _, e := range w.Unwrap() {
			all = append(all, texts(e)...)
		}
	}
	return all
}
