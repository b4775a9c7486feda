package html

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"expunge/batch"
	"expunge/batch/decide"
	"expunge/store"
	"expunge/store/seal"
	"expunge/vendors"
)

var update = flag.Bool("update", false, "rewrite the golden file")

var now = time.Date(2026, 11, 21, 9, 0, 0, 0, time.UTC)

// sample is a store with one task in every state, an invalid row and a duplicate one. A name
// and a message hold what must not become markup.
func sample(t *testing.T) (*batch.Reporter, []Vendor, Provenance) {
	t.Helper()
	ctx := t.Context()
	key := seal.Key{}
	st, err := store.Open(ctx, filepath.Join(t.TempDir(), "expunge.db"), store.Options{
		Key: func(bool) (seal.Key, error) { return key, nil }, Now: func() time.Time { return now }, Forget: batch.Forget})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	})
	known, err := st.SyncVendors(ctx, []store.VendorSpec{{Name: "customergauge", Kind: "customergauge"}, {Name: "old", Kind: "voyado"}})
	if err != nil {
		t.Fatal(err)
	}
	in, err := st.BeginIntake(ctx, "subjects <1>.csv", now.Add(-48*time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	cg, old := known["customergauge"].ID, known["old"].ID
	states := []store.State{store.Pending, store.Previewed, store.Submitting, store.Waiting, store.Verifying, store.Held,
		store.Erased, store.NotFound, store.Failed, store.Skipped}
	for i, s := range states {
		plain, err := vendors.Subject{{Field: vendors.Email, Text: fmt.Sprintf("person%d@example.com", i)}}.AppendBinary(nil)
		if err != nil {
			t.Fatal(err)
		}
		task := store.NewTask{Vendor: cg, Field: int(vendors.Email)}
		if s == store.Skipped {
			task = store.NewTask{Vendor: old, State: store.Skipped, Reason: string(vendors.NoIdentifier)}
		}
		received := now.AddDate(0, 0, -i*4)
		if err := in.Subject(&store.NewSubject{Line: i + 2, SubjectID: fmt.Sprintf("DSR-%d<b>", i), Content: int64(i), ReceivedAt: received,
			DueAt: received.AddDate(0, 1, 0), Plain: plain, Tasks: []store.NewTask{task}, Same: []int64{0}}); err != nil {
			t.Fatal(err)
		}
	}
	for _, r := range []store.Reject{
		{Line: 20, SubjectID: "DSR-20", Reason: "bad_email", Message: "email is not an address <script>alert(1)</script>"},
		{Line: 21, SubjectID: "DSR-21", Duplicate: true, Reason: "already_taken_in", Message: "taken in with batch 1"},
	} {
		if err := in.Reject(r); err != nil {
			t.Fatal(err)
		}
	}
	b, _, err := in.Settle(ctx, []byte("digest of the file, thirty-two b"), store.IntakeRules{
		Same: func(_, _ store.Work) bool { return false }, Digest: func(*store.Work) (int64, error) { return 0, nil },
		Accept: func(store.Batch) error { return nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	for i, s := range states {
		if s == store.Pending || s == store.Skipped {
			continue
		}
		w, err := st.TaskByID(ctx, (b.First+int64(i))*store.TasksPerSubject)
		if err != nil {
			t.Fatal(err)
		}
		move(t, st, w.Task, s)
	}
	if _, err := st.Extend(ctx, "DSR-0<b>", now.AddDate(0, 2, 0), store.Decision{At: now, Who: "kim"}, func(store.Extension) error { return nil }); err != nil {
		t.Fatal(err)
	}
	r := &batch.Reporter{Store: st, Now: func() time.Time { return now }, AtRisk: 7 * 24 * time.Hour}
	vs := []Vendor{{Name: "customergauge", Traits: vendors.Traits{Kind: "customergauge", Act: vendors.Anonymize, HowKnown: "Asked again, and gone.",
		Anonymizes: []string{"email", "first name"}, Keeps: []string{"NPS score"}}, Notes: []string{"segment fields are not agreed"}}}
	all, err := st.Batches(ctx)
	if err != nil {
		t.Fatal(err)
	}
	stats, err := (&batch.Tasks{Store: st, Now: r.Now}).Stats(ctx, batch.StatsOptions{By: "month"})
	if err != nil {
		t.Fatal(err)
	}
	return r, vs, Provenance{Head: "privacy.example.com/expunge/1\n31\nAAAA\n\n— privacy.example.com/expunge AAAA\n", Version: "1.0.0", ConfigSHA256: []byte{1, 2, 3}, Batches: all, Stats: stats,
		Needs: []batch.Need{{What: "held", Vendor: "customergauge", Reason: "somebody_else", Tasks: 1, Text: "1 held at customergauge (somebody_else) <b>",
			Command: "expunge review list --reason somebody_else"}},
		Runs: []store.Run{{ID: 1, StartedAt: now.Add(-time.Hour), Version: "1.0.0"}}}
}

// move takes a pending task to a state, on a way that the table allows.
func move(t *testing.T, st *store.Store, task store.Task, s store.State) {
	t.Helper()
	step := func(to store.State, change func(*store.Task)) {
		from := task.State
		task.State, task.Ready, task.NextAt = to, false, time.Time{}
		change(&task)
		if err := st.Apply(store.Change{From: from, Task: task}); err != nil {
			t.Fatal(err)
		}
	}
	submit := func() {
		step(store.Submitting, func(n *store.Task) {
			n.SubmittedAt, n.Records, n.RecordRefs = now.Add(-24*time.Hour), store.Counted(1), "10438"
		})
	}
	switch s {
	case store.Previewed:
		step(s, func(n *store.Task) { n.PreviewedAt, n.Records = now, store.Counted(2) })
	case store.Submitting:
		submit()
	case store.Waiting, store.Verifying:
		submit()
		step(s, func(n *store.Task) { n.NextAt = now })
	case store.Held:
		step(s, func(n *store.Task) { n.Reason = string(vendors.SomebodyElse) })
	case store.Erased:
		submit()
		step(store.Verifying, func(*store.Task) {})
		step(s, func(n *store.Task) { n.Evidence, n.CompletedAt, n.VerifiedAt = store.Verified, now, now })
	case store.NotFound:
		step(s, func(n *store.Task) { n.CompletedAt = now })
	case store.Failed:
		step(s, func(n *store.Task) {
			n.CompletedAt, n.Reason, n.Message = now, string(decide.Refused), `HTTP 422 "<img src=x onerror=y>"`
		})
	}
}

func render(t *testing.T, balance error) string {
	t.Helper()
	r, vs, prov := sample(t)
	var b bytes.Buffer
	if err := Write(t.Context(), &b, r, vs, prov, balance); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// TestGolden: the page changes only when somebody means it to.
func TestGolden(t *testing.T) {
	got := render(t, nil)
	golden := filepath.Join("testdata", "report.html")
	if *update {
		if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// TestSelfContained: a report that is mailed around must not run anything, load anything, or
// show an identifier in clear.
func TestSelfContained(t *testing.T) {
	page := render(t, nil)
	for name, bad := range map[string]string{
		"a script":              `(?i)<script`,
		"an event handler":      `(?i)<[^>]*\son\w+=`,
		"something to load":     `(?i)<[^>]*\s(src|href|action)=|url\(|@import`,
		"markup from the store": `<b>|<img`,
		"an identifier":         `person\d@`,
	} {
		if m := regexp.MustCompile(bad).FindString(page); m != "" {
			t.Errorf("the page holds %s: %q", name, m)
		}
	}
}

// TestUnbalanced: totals that do not balance must be the first thing a reader sees.
func TestUnbalanced(t *testing.T) {
	page := render(t, batch.ErrUnbalanced)
	verdict := page[strings.Index(page, `class="verdict`):]
	if !strings.Contains(verdict[:strings.Index(verdict, "</p>")], "must not be relied on") {
		t.Error("the verdict does not say that the totals do not balance")
	}
	if strings.Contains(page, "every row of every input file is accounted for") {
		t.Error("the page says that the totals balance")
	}
}

// chromium is the browser that the pages are looked at with; "" where there is none. CI has one.
func chromium(t *testing.T) string {
	t.Helper()
	browser, err := exec.LookPath("chromium")
	if err != nil && os.Getenv("CI") == "true" {
		t.Fatalf("in CI the pages are looked at in a browser: %v", err)
	}
	return browser
}

// browse opens an address in the browser and returns what it prints.
func browse(t *testing.T, browser string, args ...string) []byte {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, browser, append([]string{"--headless", "--no-sandbox", "--disable-gpu", "--no-first-run",
		"--disable-background-networking", "--disable-component-update", "--disable-sync", "--user-data-dir=" + t.TempDir(),
		"--virtual-time-budget=30000"}, args...)...).Output()
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestAxe: axe-core, in a real browser, finds no violation, by day and in the dark. It needs the
// files that .ci/run installs: AXE_CORE names axe.min.js, and chromium is on the path. Elsewhere
// the pages' bones are looked at instead.
func TestAxe(t *testing.T) {
	pages := map[string]string{"report": render(t, nil), "letter": letterOf(t), "certificate": string(certificateOf(t, "Example AB"))}
	for name, page := range pages {
		for _, bone := range []string{`<html lang="en">`, "<title>", "<main>", "<h1>", `scope="col"`, "<caption>"} {
			if !strings.Contains(page, bone) {
				t.Errorf("the %s has no %s", name, bone)
			}
		}
	}
	axe, browser := os.Getenv("AXE_CORE"), chromium(t)
	if axe == "" || browser == "" {
		if os.Getenv("CI") == "true" {
			t.Fatal("in CI the pages are checked with axe: AXE_CORE is not set")
		}
		t.Log("axe was not run: set AXE_CORE to axe.min.js and install chromium")
		return
	}
	script, err := os.ReadFile(axe)
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if req.URL.Path == "/axe.js" {
			w.Header().Set("Content-Type", "text/javascript")
			w.Write(script)
			return
		}
		// The pages forbid scripts; this one is the test's.
		page := regexp.MustCompile(`<meta http-equiv="Content-Security-Policy"[^>]*>`).ReplaceAllString(pages[req.URL.Path[1:]], "")
		page = strings.Replace(page, "</body>", "<script src=/axe.js></script><script>axe.run().then(r => { document.title = 'AXE:' + "+
			"JSON.stringify({dark: matchMedia('(prefers-color-scheme: dark)').matches, passes: r.passes.length, "+
			"violations: r.violations.map(v => v.id + ': ' + v.nodes[0].html)}) })</script></body>", 1)
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Write([]byte(page))
	}))
	defer srv.Close()
	for name := range pages {
		for scheme, dark := range []bool{true, false} { // as Blink numbers them
			out := browse(t, browser, fmt.Sprintf("--blink-settings=preferredColorScheme=%d", scheme), "--dump-dom", srv.URL+"/"+name)
			m := regexp.MustCompile(`<title>AXE:(.*?)</title>`).FindSubmatch(out)
			if m == nil {
				t.Fatal("axe did not end")
			}
			var result struct {
				Dark       bool
				Violations []string
				Passes     int
			}
			if err := json.Unmarshal(m[1], &result); err != nil {
				t.Fatal(err)
			}
			t.Logf("axe: %s, dark %v: %d violations, %d rules passed", name, dark, len(result.Violations), result.Passes)
			if len(result.Violations) > 0 || result.Passes == 0 || result.Dark != dark {
				t.Errorf("axe: %s, dark %v: %+v", name, dark, result)
			}
		}
	}
}

// TestPrint: the pages come out of a printer on A4, dark on white, and each request of the
// letter on a sheet of its own.
func TestPrint(t *testing.T) {
	letter := letterOf(t)
	for _, rule := range []string{"@page { size: A4;", "@media print {", "@media screen and (prefers-color-scheme: dark)", ".letter + .letter { break-before: page; }"} {
		if !strings.Contains(letter, rule) {
			t.Errorf("the style has no %s", rule)
		}
	}
	browser := chromium(t)
	if browser == "" {
		t.Log("nothing was printed: install chromium")
		return
	}
	for name, want := range map[string]struct {
		page   string
		sheets int
	}{"report": {render(t, nil), 3}, "letter": {letter, 2}, "certificate": {string(certificateOf(t, "Example AB")), 1}} {
		path, pdf := filepath.Join(t.TempDir(), name+".html"), filepath.Join(t.TempDir(), name+".pdf")
		if err := os.WriteFile(path, []byte(want.page), 0o600); err != nil {
			t.Fatal(err)
		}
		browse(t, browser, "--blink-settings=preferredColorScheme=0", "--no-pdf-header-footer", "--print-to-pdf="+pdf, "file://"+path)
		out, err := os.ReadFile(pdf)
		if err != nil {
			t.Fatal(err)
		}
		sheets := len(regexp.MustCompile(`/Type\s*/Page\b`).FindAll(out, -1))
		if a4 := regexp.MustCompile(`/MediaBox\s*\[0 0 59[456][.\d]* 84[12]`).FindAll(out, -1); sheets < want.sheets || len(a4) != sheets || name == "certificate" && sheets > 1 {
			t.Errorf("the %s is printed on %d sheets, %d of them A4", name, sheets, len(a4))
		}
	}
}

// TestClosed: what a person has closed waits for nobody, and is an answer.
func TestClosed(t *testing.T) {
	r, vs, prov := sample(t)
	w, err := r.Store.HeldAfter(t.Context(), store.HeldFilter{Failed: true}, 0, 10)
	if err != nil || len(w) != 1 {
		t.Fatal(w, err)
	}
	task := w[0].Task
	task.ClosedAt = now
	if err := r.Store.Decide(t.Context(), store.Change{From: store.Failed, Task: task}, store.Decision{At: now, Who: "kim", Action: "close"}); err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := Write(t.Context(), &b, r, vs, prov, nil); err != nil {
		t.Fatal(err)
	}
	page := b.String()
	if strings.Contains(page, "Somebody must act on them") || !strings.Contains(page, "3 of 10 requests are answered at all vendors. Erasures still open, waiting for a decision, or failed: 6.") {
		t.Errorf("%s", page[strings.Index(page, "verdict"):][:300])
	}
}

// TestPeople: the first screen counts persons, each once however many erasures she has, and
// says why.
func TestPeople(t *testing.T) {
	p := newPersons()
	for _, person := range [][]batch.ReportRow{
		{{State: "held", DueStatus: "overdue", Vendor: "a"}, {State: "held", DueStatus: "overdue", Vendor: "a"}, {State: "waiting", DueStatus: "overdue", Vendor: "b"}},
		{{State: "pending", DueStatus: "at_risk", Vendor: "b"}, {State: "erased", DueStatus: "met", Vendor: "a"}},
		{{State: "failed", DueStatus: "met", Vendor: "a", ClosedAt: "2026-11-20T12:00:00Z"}},
		{{State: "failed", DueStatus: "open", Vendor: "a"}},
		{{State: "erased", DueStatus: "overdue", Vendor: "a"}},
	} {
		for i := range person {
			p.row(&person[i], "unclear")
		}
		p.end()
	}
	want := []people{
		{"failed", "late", 2, []reasonCount{{"b has yet to finish", 1}, {"not yet told of the end", 1}, {"waits for a decision at a", 1}}},
		{"open", "at risk of being late", 1, []reasonCount{{"not yet sent to b", 1}}},
		{"held", "waiting for somebody's decision", 2, []reasonCount{{"unclear", 2}}},
	}
	if diff := cmp.Diff(want, p.standings()); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// TestMonths: a period's columns are those of the statistics, erasures by their evidence.
func TestMonths(t *testing.T) {
	share, denied := 0.956, int64(0)
	got := months([]batch.StatsRow{{Period: "2026-10", Vendor: "voyado", Received: 99},
		{Period: "2026-10", Vendor: "all", Received: 55, ErasedVerified: 1, ErasedVendorDone: 2, ErasedConfirmed: 3, NotFound: 4, Skipped: 5, Open: 6, Held: 7, Failed: 8, Rejected: 19,
			InTimeShare: &share, Denied: &denied}})
	if len(got) != 1 || got[0].Share != "95.6 %" {
		t.Fatalf("%+v", got)
	}
	var columns []string
	for _, c := range got[0].Cells {
		columns = append(columns, fmt.Sprint(c.Key, " ", c.N))
	}
	if want := "done 1, reported 2, confirmed 3, nothing 4, skipped 5, open 6, held 7, failed 27"; strings.Join(columns, ", ") != want {
		t.Errorf("%q, want %s", columns, want)
	}
}

// letterOf is a page about a request in every state.
func letterOf(t *testing.T) string {
	t.Helper()
	day := func(n int) time.Time { return now.AddDate(0, 0, n) }
	until := day(60)
	h := &batch.History{SubjectID: "DSR-1<b>", ReceivedAt: now, DueAt: until, OriginalDueAt: &now, Channel: "web <b>form", AnsweredAt: &until}
	for i, k := range [][4]string{{"erased", "verified", "", "met"}, {"erased", "vendor_done", "", "met"}, {"erased", "confirmed", "", "met"}, {"not_found", "control", "", "met"},
		{"skipped", "", "no_identifier", "met"}, {"held", "", "somebody_else", "open"}, {"failed", "", "refused", "open"}, {"failed", "", "rejected", "met"}, {"failed", "", "declined", "met"}, {"waiting", "", "", "open"}, {"pending", "", "", "open"}} {
		vendor := []string{"customergauge", "old"}[i/10]
		h.Tasks = append(h.Tasks, batch.HistoryTask{Task: vendor + "/email/0", Vendor: vendor, IdentifierKind: "email", Identifier: "axxa@xxxmple.com",
			State: k[0], Evidence: k[1], Reason: k[2], DueStatus: k[3]})
	}
	for i, e := range []batch.HistoryEvent{{Event: "received", Task: "-"}, {Event: "added", Task: "-"}, {Event: "submitted", Task: "old/email/0"}, {Event: "held", Task: "old/email/0"},
		{Event: "decided", Action: "approve", Task: "old/email/0", By: "kim", Note: "a secret note"}, {Event: "decided", Action: "reject", Task: "old/email/0"}, {Event: "decided", Action: "close", Task: "old/email/0"},
		{Event: "decided", Action: "prove", Task: "old"}, {Event: "extended", Task: "-", Until: &until}, {Event: "declined", Task: "old/email/0"}, {Event: "failed", Task: "old/email/0"},
		{Event: "exported", Task: "old/email/0", Export: "stored"}, {Event: "exported", Task: "old/email/0", Export: "empty"}, {Event: "erased", Task: "customergauge/email/0"},
		{Event: "not_found", Task: "customergauge/email/0"}, {Event: "answered", Task: "-", Channel: "letter"}} {
		e.At = day(i)
		if e.Event == "erased" {
			done := day(i - 5) // a person recorded it later
			e.CompletedAt = &done
		}
		h.Events = append(h.Events, e, e) // of two keys, say: told once
	}
	var b bytes.Buffer
	if err := WriteLetter(&b, []*batch.History{h, {SubjectID: "DSR-2", ReceivedAt: now, DueAt: until}}, []Vendor{{Name: "customergauge", Traits: vendors.Traits{Kind: "customergauge",
		Act: vendors.Anonymize, Keeps: []string{"NPS score"}}}}, "1.0.0", now); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// TestLetter: the page about one request says what became of it in plain words and what stays,
// and neither who decided nor why.
func TestLetter(t *testing.T) {
	got := letterOf(t)
	golden := filepath.Join("testdata", "letter.html")
	if *update {
		if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	for _, never := range []string{"kim", "secret", "<b>", "<script", "deleted", "src=", "href="} {
		if strings.Contains(got, never) {
			t.Errorf("the letter holds %q", never)
		}
	}
}
