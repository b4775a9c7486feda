package audit

import (
	"bytes"
	"compress/gzip"
	"encoding/csv"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"expunge/vendors"
	"expunge/vendors/rest"
	"expunge/vendors/sim"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// The people of the tests. R1 is known everywhere, with two records at CustomerGauge, and
// shares a telephone with a stranger; R2 is unknown to CustomerGauge; R3 is an invalid row.
const subjectsCSV = `Subject ID;E-Mail;Telephone;Customer Key;Account-Number
R1;ada@example.com;+12025550100;key-1a;1|1
R2;ben@example.com;;key-2a;key-2b
R3;nobody;;;
`

const (
	emailOne   = "ada@example.com"
	phoneOne   = "+12025550100"
	accountOne = "1|1"
)

// world is a simulator to which things have happened.
type world struct {
	t   *testing.T
	sim *sim.Sim
}

func newWorld(t *testing.T, recipes ...*rest.Recipe) *world {
	t.Helper()
	w := &world{t: t, sim: sim.New(sim.Options{Seed: &sim.Seed{
		CustomerGauge: []sim.CGAccount{{APIKey: "legacy", Records: []sim.Record{
			{Email: "Ada@example.com", Telephone: "+12025550111"}, {Email: emailOne},
			{Email: "stranger@example.com", Telephone: phoneOne},
			{Email: sim.ControlEmail, Telephone: sim.ControlTelephone, Control: true},
		}}},
		Voyado: []sim.VoyadoAccount{{APIKey: "key", Keys: []sim.VoyadoKey{{Key: "key-1a", Events: 1}}}},
	}, Recipes: recipes})}
	return w
}

func (w *world) call(method, target, body string, header ...string) string {
	w.t.Helper()
	r := httptest.NewRequestWithContext(w.t.Context(), method, target, strings.NewReader(body))
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	rec := httptest.NewRecorder()
	w.sim.ServeHTTP(rec, r)
	if rec.Code >= 300 {
		w.t.Fatalf("%s: %d %s", method, rec.Code, rec.Body)
	}
	ledger := w.sim.Ledger(0)
	return ledger[len(ledger)-1].Reference
}

func (w *world) anonymize(param, value string) {
	w.call("POST", "/v4.1/anonymize.json", url.Values{param: {value}}.Encode(),
		"Authorization", "api_key legacy", "Content-Type", "application/x-www-form-urlencoded")
}

func (w *world) look(email string) {
	w.call("GET", "/v4.1/anonymize.json?email="+email, "", "Authorization", "api_key legacy")
}

func (w *world) remove(key string) string {
	return w.call("POST", "/api/v2/event-data/create-remove-customer-job?customerKey="+key, "", "Api-Key", "key")
}

func (w *world) ticket(account string) string {
	return w.call("POST", "/acqueon/lcm", fmt.Sprintf(`{"channel":"LCM","topic":"WebService","subtopic":"CreatePseudonymizationRequest",`+
		`"message":{"CustomerName":"","PhoneNumber":"1","OtherPhoneNumber":"","EmailID":"","OtherEmailID":"","AgentComments":"",`+
		`"AccountNumber":%q,"callid":"","AgentID":"","RequestType":"Pseudonymization","IsPseudonymize":true}}`, account))
}

// cells is one report row by column name.
type cells map[string]string

var columns = strings.Split("batch,line,subject_id,vendor,identifier_kind,identifier,state,evidence,reason,message,records,"+
	"records_after,record_refs,reference,attempts,received_at,due_at,due_status,submitted_at,completed_at,verified_at,"+
	"closed_at,answered_at,act,channel,answer_channel", ",")

func task(subject, line, vendor string, f vendors.Field, value, state string, more ...string) cells {
	c := cells{
		"batch": "1", "line": line, "subject_id": subject, "vendor": vendor,
		"identifier_kind": f.String(), "identifier": vendors.Mask(f, value), "state": state,
	}
	if value == "" {
		c["identifier_kind"], c["identifier"] = "", ""
	}
	for i := 0; i < len(more); i += 2 {
		c[more[i]] = more[i+1]
	}
	return c
}

// honest does the whole job by hand and returns the report that tells the truth of it.
func honest(w *world) []cells {
	for _, email := range []string{emailOne, "ben@example.com", sim.ControlEmail} {
		w.look(email)
	}
	w.anonymize("email", emailOne)
	w.look(emailOne)
	jid1, jid2 := w.remove("key-1a"), w.remove("key-2a")
	w.sim.Advance(7)
	t1 := w.ticket(accountOne)
	w.sim.Complete("", t1)
	t2 := w.ticket("key-2b")
	return []cells{
		task("R1", "2", "customergauge", vendors.Email, emailOne, "erased", "evidence", "verified", "record_refs", "10001;10002"),
		task("R1", "2", "customergauge", vendors.Telephone, phoneOne, "held", "reason", "somebody_else"),
		task("R1", "2", "voyado", vendors.CustomerKey, "key-1a", "erased", "evidence", "vendor_done", "reference", jid1),
		task("R1", "2", "acqueon", vendors.AccountNumber, accountOne, "erased", "evidence", "confirmed", "reference", t1),
		task("R2", "3", "customergauge", vendors.Email, "ben@example.com", "not_found", "evidence", "control"),
		task("R2", "3", "voyado", vendors.CustomerKey, "key-2a", "waiting", "reference", jid2),
		task("R2", "3", "acqueon", vendors.AccountNumber, "key-2b", "waiting", "reference", t2),
		task("R3", "4", "", vendors.Email, "", "invalid", "reason", "bad_email"),
	}
}

func verdict(t *testing.T, w *world, rows []cells) *Result {
	t.Helper()
	return verdictOn(t, w, rows, DefaultVendors)
}

func verdictOn(t *testing.T, w *world, rows []cells, configured string) *Result {
	t.Helper()
	dir := t.TempDir()
	report, input := filepath.Join(dir, "report.csv"), filepath.Join(dir, "subjects.csv.gz")
	var b bytes.Buffer
	c := csv.NewWriter(&b)
	_ = c.Write(columns)
	for _, row := range rows {
		var record []string
		for _, name := range columns {
			cell := row[name]
			if strings.HasPrefix(cell, "+") {
				cell = "'" + cell // as every file for spreadsheets is written
			}
			record = append(record, cell)
		}
		_ = c.Write(record)
	}
	c.Flush()
	var z bytes.Buffer
	gz := gzip.NewWriter(&z)
	if _, err := gz.Write([]byte("\xef\xbb\xbf" + subjectsCSV)); err != nil {
		t.Fatal(err)
	}
	if err := gz.Close(); err != nil {
		t.Fatal(err)
	}
	for path, data := range map[string][]byte{report: b.Bytes(), input: z.Bytes()} {
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	files, err := Open(report, input)
	if err != nil {
		t.Fatal(err)
	}
	vs, err := ParseVendors(configured)
	if err != nil {
		t.Fatal(err)
	}
	return Judge(Facts{Ledger: w.sim.Ledger(0), Remaining: w.sim.Remaining()}, files, vs, true)
}

// TestHonest: a report that tells the truth has no problem, or every run would be blamed.
func TestHonest(t *testing.T) {
	w := newWorld(t)
	r := verdict(t, w, honest(w))
	var out strings.Builder
	if err := r.Write(&out); err != nil {
		t.Fatal(err)
	}
	if want := "audit: 3 subjects, 8 rows, 5 effects, 0 harmless repeats: 0 disagreements\n"; out.String() != want {
		t.Errorf("got %s\nwant %s", out.String(), want)
	}
}

// TestEachRule breaks each rule once: a rule that finds nothing here guards nothing.
func TestEachRule(t *testing.T) {
	set := func(i int, pairs ...string) func(*world, []cells) []cells {
		return func(_ *world, rows []cells) []cells {
			for k := 0; k < len(pairs); k += 2 {
				rows[i][pairs[k]] = pairs[k+1]
			}
			return rows
		}
	}
	drop := func(i int) func(*world, []cells) []cells {
		return func(_ *world, rows []cells) []cells { return slices.Delete(rows, i, i+1) }
	}
	tests := []struct {
		name    string
		lie     func(*world, []cells) []cells
		subject string
		want    string // in the first problem; "": there must be none
	}{
		{"erased, never asked", set(4, "state", "erased", "evidence", "verified"), "R2", "nothing was ever anonymized"},
		{"erased, still there", set(1, "state", "erased", "evidence", "verified", "reason", ""), "R1", "1 records still match"},
		{"erased without a look", set(0, "evidence", ""), "R1", "does not give"},
		{"not_found, there", set(1, "state", "not_found", "reason", ""), "R1", "1 records match"},
		{"not_found, taken", set(0, "state", "not_found", "evidence", ""), "R1", "lost"},
		{"held, taken", set(0, "state", "held", "evidence", "", "reason", "too_many_records"), "R1", "lost"},
		{"failed, taken", set(0, "state", "failed", "evidence", "", "reason", "attempts_exhausted"), "R1", "lost"},
		{"pending, taken", set(0, "state", "pending", "evidence", "", "reason", ""), "R1", "lost"},
		{"previewed, taken", set(0, "state", "previewed", "evidence", "", "reason", "retrying"), "R1", "lost"},
		{"held as uncertain", set(0, "state", "held", "evidence", "", "reason", "unknown_outcome"), "", ""},
		{"still present is owned up to", set(0, "state", "failed", "evidence", "", "reason", "still_present"), "", ""},
		{"a retry is scheduled", set(0, "state", "pending", "evidence", "", "reason", "retrying"), "", ""},
		{"not_found on others", set(4, "evidence", "others"), "", ""},
		{"not_found on a person's word", set(4, "evidence", "confirmed"), "", ""},
		{"not_found, verified", set(4, "evidence", "verified"), "R2", "does not give"},
		{"proved and not", set(4, "reason", "unproved"), "R2", "nothing is proved"},
		{"the control record erased", func(w *world, rows []cells) []cells { w.anonymize("email", sim.ControlEmail); return rows }, "", "control record of account"},
		{"the control record to be erased", func(w *world, rows []cells) []cells {
			w.sim.Script(func(sim.RequestInfo) sim.Fault { return sim.Fault{Kind: "unavailable"} })
			w.anonymize("telephone", sim.ControlTelephone)
			return rows
		}, "", "would change the control record"},
		{"answers that may be mixed up", func(_ *world, rows []cells) []cells {
			rows[6]["state"], rows[6]["reason"], rows[6]["reference"] = "held", "reference_in_doubt", rows[3]["reference"]
			return rows
		}, "", ""},
		{"declined", func(w *world, rows []cells) []cells {
			w.sim.Decline("", rows[6]["reference"])
			rows[6]["state"], rows[6]["reason"] = "failed", "declined"
			return rows
		}, "", ""},
		{"declined, and was not", set(6, "state", "failed", "reason", "declined"), "R2", "its ticket is not"},
		{"confirmed, and was declined", func(w *world, rows []cells) []cells {
			w.sim.Decline("", rows[6]["reference"])
			rows[6]["state"], rows[6]["evidence"] = "erased", "confirmed"
			return rows
		}, "R2", "not completed"},
		{"a record more than previewed", set(0, "record_refs", "10001"), "R1", "harm: record 10002"},
		{"job of another key", func(_ *world, rows []cells) []cells {
			rows[2]["reference"] = rows[5]["reference"]
			return rows
		}, "R1", "another key"},
		{"no such job", set(5, "reference", "none"), "R2", "no removal job"},
		{"waiting without a job", set(5, "reference", ""), "R2", "without a reference"},
		{"done, and was not", func(w *world, rows []cells) []cells {
			rows[2]["reference"] = w.remove("key-1a")
			return rows
		}, "R1", "job is not done"},
		{"job that no row tells of", set(5, "state", "failed", "reference", "", "reason", "refused"), "R2", "lost"},
		{"job made again", func(w *world, rows []cells) []cells { w.remove("key-2a"); return rows }, "", ""},
		{"ticket of another account number", func(_ *world, rows []cells) []cells {
			rows[3]["reference"] = rows[6]["reference"]
			return rows
		}, "R1", "another account number"},
		{"no such ticket", set(6, "reference", "1"), "R2", "no ticket"},
		{"confirmed, and was not", set(6, "state", "erased", "evidence", "confirmed"), "R2", "not completed"},
		{"a ticket is no removal", set(3, "evidence", "vendor_done"), "R1", "does not give"},
		{"ticket raised twice", func(w *world, rows []cells) []cells { w.ticket(accountOne); return rows }, "R1", "harmful repeat"},
		{"ticket raised again by a person's word", func(w *world, rows []cells) []cells {
			w.ticket(accountOne)
			rows[3]["message"] = "resubmitted"
			return rows
		}, "", ""},
		{"somebody else's record", func(w *world, rows []cells) []cells {
			w.anonymize("telephone", phoneOne)
			rows[1]["state"], rows[1]["evidence"], rows[1]["reason"] = "erased", "verified", ""
			return rows
		}, "R1", "somebody else's"},
		{"a person who did not ask", func(w *world, rows []cells) []cells { w.anonymize("email", "stranger@example.com"); return rows }, "", "what no subject of the input asked for"},
		{"a key that nobody gave", func(w *world, rows []cells) []cells { w.remove("key-9"); return rows }, "", "what no subject of the input asked for"},
		{"row for an identifier missing", drop(1), "R1", "1 rows, the subject 2 to 2 identifiers"},
		{"vendor missing", drop(6), "R2", "no row for this vendor"},
		{"subject missing", drop(7), "R3", "not in the report"},
		{"unknown subject", set(4, "subject_id", "R9"), "R9", "not in the input"},
		{"unknown vendor", set(4, "vendor", "else"), "R2", "not told of"},
		{"unknown state", set(4, "state", "done"), "R2", "no such state"},
		{"the identifier of another", set(4, "identifier", "axx@xxxmple.com"), "R2", "masked identifier"},
		{"no identifier", set(4, "identifier_kind", ""), "R2", "without an identifier"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			r := verdict(t, w, tt.lie(w, honest(w)))
			if tt.want == "" {
				if len(r.Problems) > 0 {
					t.Errorf("blamed: %+v", r.Problems)
				}
				return
			}
			found := slices.ContainsFunc(r.Problems, func(p Problem) bool {
				return p.Subject == tt.subject && strings.Contains(p.What, tt.want)
			})
			if !found {
				t.Errorf("want a problem of %q with %q, got %+v", tt.subject, tt.want, r.Problems)
			}
			for _, p := range r.Problems {
				for _, private := range []string{emailOne, phoneOne, "stranger@", "key-1a", "ben@"} {
					if strings.Contains(p.What, private) {
						t.Errorf("the verdict shows an identifier: %s", p.What)
					}
				}
			}
		})
	}
}

// TestProof: what an outcome rests on has been seen at the vendor, by the look that shows
// nothing and by the record that proves the place.
func TestProof(t *testing.T) {
	const ben = "ben@example.com"
	for _, tt := range []struct {
		name     string
		do       func(w *world, faults func(...string))
		evidence string
		want     string
	}{
		{"nobody looked", func(*world, func(...string)) {}, "control", "no look was answered with nothing"},
		{"an account that shows nobody", func(w *world, faults func(...string)) {
			w.look(sim.ControlEmail)
			faults("customergauge:nobody")
			w.look(ben)
		}, "control", "no look was answered with nothing"},
		{"the control record was never shown", func(w *world, _ func(...string)) { w.look(ben); w.look(emailOne) }, "control", "control record was not shown"},
		{"only the control record was shown", func(w *world, _ func(...string)) { w.look(ben); w.look(sim.ControlEmail) }, "others", "nobody else's record was shown"},
		{"somebody else was shown", func(w *world, _ func(...string)) { w.look(ben); w.look(emailOne) }, "others", ""},
		{"the control record was shown", func(w *world, _ func(...string)) { w.look(sim.ControlEmail); w.look(ben) }, "control", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			tt.do(w, func(texts ...string) {
				if err := w.sim.SetFaults(texts...); err != nil {
					t.Fatal(err)
				}
			})
			r := verdict(t, w, []cells{task("R2", "3", "customergauge", vendors.Email, ben, "not_found", "evidence", tt.evidence)})
			about := slices.DeleteFunc(r.Problems, func(p Problem) bool { return p.Subject != "R2" || p.Vendor != "customergauge" })
			if tt.want == "" && len(about) > 0 || tt.want != "" && (len(about) != 1 || !strings.Contains(about[0].What, tt.want)) {
				t.Errorf("%+v, want %q", about, tt.want)
			}
		})
	}

	// Gone, and nobody has seen that it is.
	w := newWorld(t)
	w.look(emailOne)
	w.anonymize("email", emailOne)
	if err := w.sim.SetFaults("customergauge.verify:maintenance"); err != nil {
		t.Fatal(err)
	}
	w.look(emailOne)
	r := verdict(t, w, []cells{task("R1", "2", "customergauge", vendors.Email, emailOne, "erased", "evidence", "verified", "record_refs", "10001;10002")})
	if !slices.ContainsFunc(r.Problems, func(p Problem) bool { return strings.Contains(p.What, "no look after the change") }) {
		t.Errorf("%+v", r.Problems)
	}
}

// TestLostReplies: an effect whose reply was cut is still an effect that a row must own up to,
// and a repeated job is counted, not blamed.
func TestLostReplies(t *testing.T) {
	w := newWorld(t)
	rows := honest(w)
	w.remove("key-1a")
	if r := verdict(t, w, rows); r.HarmlessRepeats != 1 || len(r.Problems) != 0 {
		t.Errorf("repeated job: %+v", r)
	}
	w.sim.Script(func(sim.RequestInfo) sim.Fault { return sim.Fault{Kind: sim.Lost} })
	func() {
		defer func() {
			if p := recover(); p != http.ErrAbortHandler {
				t.Errorf("recovered %v", p)
			}
		}()
		w.ticket(accountOne)
	}()
	if r := verdict(t, w, rows); len(r.Problems) != 1 || !strings.Contains(r.Problems[0].What, "harmful repeat") {
		t.Errorf("ticket raised twice, one reply lost: %+v", r.Problems)
	}
}

// TestRecipes: what is reported of a vendor that a recipe describes is held to the same: one
// with records, one with jobs of which a second may do harm.
func TestRecipes(t *testing.T) {
	const contacts, search, ben = "/r/hubspot/crm/v3/objects/contacts", "/search", "ben@example.com"
	byRecord := func(w *world, path, body string) {
		w.call("POST", contacts+path, body, "Authorization", "Bearer sim-token", "Content-Type", "application/json")
	}
	look := func(w *world, email string) {
		byRecord(w, search, fmt.Sprintf(`{"limit":100,"properties":["email"],"filterGroups":[{"filters":[{"propertyName":"email","operator":"EQ","value":%q}]}]}`, email))
	}
	take := func(w *world, id string) { byRecord(w, "/gdpr-delete", fmt.Sprintf(`{"objectId":%q}`, id)) }
	regulate := func(w *world, key string) string {
		return w.call("POST", "/r/segment/regulations", fmt.Sprintf(`{"regulationType":"DELETE_ONLY","subjectType":"USER_ID","subjectIds":[%q]}`, key),
			"Authorization", "Bearer sim-token", "Content-Type", "application/json")
	}
	for _, tt := range []struct {
		name string
		lie  func(w *world, rows []cells)
		want string
	}{
		{"the truth", func(*world, []cells) {}, ""},
		{"taken, and not told", func(_ *world, rows []cells) { rows[0]["state"] = "held" }, "lost: "},
		{"a record more than previewed", func(_ *world, rows []cells) { rows[0]["record_refs"] = "rec-10001" }, "harm: record 10002"},
		{"not_found, and there", func(w *world, rows []cells) { rows[0]["state"], rows[0]["evidence"] = "not_found", "" }, "lost: "},
		{"on a record that nobody saw", func(_ *world, rows []cells) { rows[1]["evidence"] = "others" }, ""},
		{"by the answer alone", func(_ *world, rows []cells) { rows[1]["state"], rows[1]["evidence"] = "erased", "vendor_done" }, "nothing was ever taken"},
		{"somebody else's", func(w *world, _ []cells) { take(w, "rec-10003") }, "what no subject of the input asked for"},
		{"the control record", func(w *world, _ []cells) { take(w, "rec-10004") }, "would change the control record"},
		{"done, and is not", func(_ *world, rows []cells) { rows[3]["state"], rows[3]["evidence"] = "erased", "vendor_done" }, "its job is not done"},
		{"the job of another", func(_ *world, rows []cells) { rows[3]["reference"] = rows[2]["reference"] }, "another key"},
		{"asked again, where that may do harm", func(w *world, _ []cells) { regulate(w, "key-2a") }, "harmful repeat: 2 tickets were raised for one customer key"},
		{"a row is missing", func(_ *world, rows []cells) { rows[3]["vendor"] = "hs" }, "no row for this vendor"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var recipes []*rest.Recipe
			for _, name := range []string{"hubspot", "segment"} {
				r, err := rest.Named(name + "@1")
				if err != nil {
					t.Fatal(err)
				}
				recipes = append(recipes, r)
			}
			w := newWorld(t, recipes...)
			for _, email := range []string{emailOne, ben, sim.ControlEmail} {
				look(w, email)
			}
			take(w, "rec-10001")
			take(w, "rec-10002")
			look(w, emailOne)
			first := regulate(w, "key-1a")
			w.sim.Advance(7)
			rows := []cells{
				task("R1", "2", "hs", vendors.Email, emailOne, "erased", "evidence", "verified", "record_refs", "rec-10001;rec-10002"),
				task("R2", "3", "hs", vendors.Email, ben, "not_found", "evidence", "control"),
				task("R1", "2", "seg", vendors.CustomerKey, "key-1a", "erased", "evidence", "vendor_done", "reference", first),
				task("R2", "3", "seg", vendors.CustomerKey, "key-2a", "waiting", "reference", regulate(w, "key-2a")),
				task("R3", "4", "", vendors.Email, "", "invalid", "reason", "bad_email"),
			}
			tt.lie(w, rows)
			r := verdictOn(t, w, rows, "hs=rest:hubspot,seg=rest:segment")
			if tt.want == "" && len(r.Problems) > 0 || tt.want != "" && !slices.ContainsFunc(r.Problems, func(p Problem) bool { return strings.Contains(p.What, tt.want) }) {
				t.Errorf("%+v, want %q", r.Problems, tt.want)
			}
		})
	}
}

// TestTelephoneForms: expunge may look a number up in several forms; a change by any of
// them belongs to the row of that number, and none to a number that only ends alike.
func TestTelephoneForms(t *testing.T) {
	tests := []struct {
		a, b string
		want bool
	}{
		{"+46701740605", "0701740605", true},
		{"0046 70-174 06 05", "+46701740605", true},
		{"701740605", "+46701740605", true},
		{"+12025550100", "+12035550100", false},
		{"555", "+12025550555", false},
		{"", "+12025550555", false},
	}
	for _, tt := range tests {
		if got := sameValue(vendors.Telephone, tt.a, tt.b); got != tt.want {
			t.Errorf("%q and %q: %v", tt.a, tt.b, got)
		}
	}
}

// TestParseVendors: a mistake in the mapping is refused, for an audit of the wrong account
// would find everything right.
func TestParseVendors(t *testing.T) {
	got, err := ParseVendors("cg-eu=customergauge:second, v=voyado")
	if err != nil || len(got) != 2 || got[0] != (Vendor{"cg-eu", "customergauge", "second"}) {
		t.Errorf("%+v %v", got, err)
	}
	for _, bad := range []string{"", "voyado", "v=else", "=voyado", "v=voyado,v=acqueon", "v=rest"} {
		if _, err := ParseVendors(bad); err == nil {
			t.Errorf("%q is accepted", bad)
		}
	}
}

// TestFetch: the facts come whole over HTTP, and a simulator without a ledger is refused
// instead of judged as one to which nothing happened.
func TestFetch(t *testing.T) {
	w := newWorld(t)
	honest(w)
	srv := httptest.NewServer(w.sim)
	t.Cleanup(srv.Close)
	f, err := Fetch(t.Context(), srv.Client(), srv.URL+"/")
	if err != nil || len(f.Ledger) != 9 || len(f.Remaining.CustomerGauge["customergauge"]) != 4 ||
		len(f.Remaining.Voyado["voyado"].Jobs) != 2 || len(f.Remaining.Acqueon["acqueon"]) != 2 {
		t.Errorf("%+v %v", f, err)
	}
	blind := httptest.NewServer(sim.New(sim.Options{NoLedger: true}))
	t.Cleanup(blind.Close)
	if _, err := Fetch(t.Context(), blind.Client(), blind.URL); err == nil {
		t.Error("a simulator without a ledger is judged")
	}
}
