package audit

import (
	"fmt"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"

	"expunge/vendors"
	"expunge/vendors/sim"
)

// key finds what is about one identifier at one kind of vendor. Telephones are found by
// their last digits, for expunge may look a number up in several forms, and compared
// with sameValue afterwards.
type key struct {
	kind  string
	class vendors.Field
	text  string
}

func keyOf(kind string, f vendors.Field, value string) key {
	class, text := vendors.Normal(f, value)
	if class == vendors.Telephone {
		text = strings.TrimLeft(text, "0")
		text = text[max(0, len(text)-phoneDigits):]
	}
	return key{kind, class, text}
}

// phoneDigits is how many digits two forms of one number have in common at the least.
const phoneDigits = 7

// sameValue says whether two values of a class are one identifier. Of a telephone the
// national form counts as the international one.
func sameValue(class vendors.Field, a, b string) bool {
	_, x := vendors.Normal(class, a)
	_, y := vendors.Normal(class, b)
	if class != vendors.Telephone {
		return x == y
	}
	x, y = strings.TrimLeft(x, "0"), strings.TrimLeft(y, "0")
	if len(x) > len(y) {
		x, y = y, x
	}
	return x == y || len(x) >= phoneDigits && strings.HasSuffix(y, x)
}

// classes are the identifiers by which each kind knows a person.
var classes = map[string][]vendors.Field{
	sim.CustomerGauge: {vendors.Email, vendors.OtherEmail, vendors.Telephone, vendors.OtherTelephone},
	sim.Voyado:        {vendors.CustomerKey},
	sim.Acqueon:       {vendors.AccountNumber},
}

// knownBy are the identifiers by which a vendor knows a person.
func (j *judge) knownBy(v Vendor) []vendors.Field {
	if v.Kind != sim.Rest {
		return classes[v.Kind]
	}
	var fields []vendors.Field
	for f := range inputColumns {
		if slices.Contains(j.facts.Remaining.Rest[v.Account].KnownBy, f.String()) {
			fields = append(fields, f)
		}
	}
	slices.Sort(fields)
	return fields
}

// states are the words that a report may use (DESIGN.md).
var states = []string{
	"pending", "previewed", "submitting", "waiting", "verifying", "erased", "not_found",
	"skipped", "held", "failed", "invalid", "duplicate",
}

type judge struct {
	Result
	facts    Facts
	vendors  map[string]Vendor
	subjects map[string][]*subject // by id
	owners   map[key][]*subject    // kind "": by identifier alone
	rows     map[key][]*row
	effects  map[key][]*sim.Entry
	taken    map[key][]takenRecord
	live     map[key][]heldRecord
	looks    map[key][]*sim.Entry       // previews that were answered with what the vendor holds
	control  map[key]bool               // what finds a control record
	controls map[string][]sight         // by account: when the control record was shown
	sights   map[string][]sight         // and when somebody else's was
	jobs     map[[2]string]*sim.HeldJob // account, jid
	tickets  map[[2]string]*sim.Ticket  // account, reference
}

type takenRecord struct {
	sim.Record
	account string
}

type heldRecord = takenRecord

// sight is a record that an account showed.
type sight struct {
	at time.Time
	of key
}

// How long around a look that finds nothing a sight proves the place (DESIGN.md, What is
// believed): the control record's for an hour before or after, other people's for longer.
const (
	controlHolds = time.Hour
	othersHold   = 7 * 24 * time.Hour
)

// Judge compares. named says that the vendors were named by the caller, so that each of
// them must be in the report.
func Judge(facts Facts, files *Files, vs []Vendor, named bool) *Result {
	j := &judge{
		facts:    facts,
		vendors:  make(map[string]Vendor),
		subjects: make(map[string][]*subject),
		owners:   make(map[key][]*subject),
		rows:     make(map[key][]*row),
		effects:  make(map[key][]*sim.Entry),
		taken:    make(map[key][]takenRecord),
		live:     make(map[key][]heldRecord),
		looks:    make(map[key][]*sim.Entry),
		control:  make(map[key]bool),
		controls: make(map[string][]sight),
		sights:   make(map[string][]sight),
		jobs:     make(map[[2]string]*sim.HeldJob),
		tickets:  make(map[[2]string]*sim.Ticket),
	}
	j.Problems = []Problem{}
	j.Subjects, j.Rows = len(files.subjects), len(files.rows)
	for _, v := range vs {
		j.vendors[v.Name] = v
	}
	j.indexFacts()
	j.indexSubjects(files.subjects)
	j.indexRows(files.rows)
	j.complete(files, named)
	for _, r := range files.rows {
		switch {
		case !slices.Contains(states, r.state):
			j.against(r, "no such state: %q", r.state)
		case r.task():
			j.claim(r)
		}
	}
	j.owned()
	j.ticketsOnce()
	return &j.Result
}

func (j *judge) problem(subject, vendor, format string, args ...any) {
	j.Problems = append(j.Problems, Problem{Subject: subject, Vendor: vendor, What: fmt.Sprintf(format, args...)})
}

func (j *judge) against(r *row, format string, args ...any) {
	what := fmt.Sprintf(format, args...)
	if r.field != 0 {
		what = r.field.String() + ": " + what
	}
	j.problem(r.subject, r.vendor, "%s", what)
}

// identifierOf is what a change at a vendor was about.
func identifierOf(e *sim.Entry) (vendors.Field, string) {
	switch {
	case e.Email != "":
		return vendors.Email, e.Email
	case e.Telephone != "":
		return vendors.Telephone, e.Telephone
	case e.CustomerKey != "":
		return vendors.CustomerKey, e.CustomerKey
	}
	return vendors.AccountNumber, e.AccountNumber
}

// isEffect says whether an entry changed something that a report must tell of. An export
// changes no data.
func isEffect(e *sim.Entry) bool { return e.Effect && e.Op != "create-export" }

func (j *judge) indexFacts() {
	for account, records := range j.facts.Remaining.CustomerGauge {
		for _, rec := range records {
			switch {
			case !rec.Control:
			case rec.Anonymized:
				j.problem("", sim.CustomerGauge, "harm: the control record of account %s was anonymized", account)
			default:
				for _, kind := range []string{sim.CustomerGauge, sim.Rest} { // a recipe's twin has the same people
					j.control[keyOf(kind, vendors.Email, rec.Email)] = true
					j.control[keyOf(kind, vendors.Telephone, rec.Telephone)] = true
				}
			}
		}
	}
	for i := range j.facts.Ledger {
		e := &j.facts.Ledger[i]
		f, v := identifierOf(e)
		k := keyOf(e.Kind, f, v)
		if e.Looked {
			j.looks[k] = append(j.looks[k], e)
			if e.Found > 0 {
				s := sight{e.At, k}
				if j.control[k] {
					j.controls[e.Account] = append(j.controls[e.Account], s)
				} else {
					j.sights[e.Account] = append(j.sights[e.Account], s)
				}
			}
		}
		if e.Changes && j.control[k] {
			j.problem("", e.Kind, "harm: request %d would change the control record", e.Seq)
		}
		if !isEffect(e) {
			continue
		}
		j.Effects++
		j.effects[k] = append(j.effects[k], e)
		for _, rec := range e.Records {
			addRecord(j.taken, e.Kind, rec, e.Account)
		}
	}
	holds := func(kind, account string, records []sim.HeldRecord) {
		for _, rec := range records {
			if !rec.Anonymized {
				addRecord(j.live, kind, rec.Record, account)
			}
		}
	}
	made := func(account string, jobs []sim.HeldJob) {
		for i, job := range jobs {
			if !job.Export {
				j.jobs[[2]string{account, job.JID}] = &jobs[i]
			}
		}
	}
	for account, records := range j.facts.Remaining.CustomerGauge {
		holds(sim.CustomerGauge, account, records)
	}
	for account, held := range j.facts.Remaining.Voyado {
		made(account, held.Jobs)
	}
	for account, held := range j.facts.Remaining.Rest {
		holds(sim.Rest, account, held.Records)
		made(account, held.Jobs)
	}
	for account, tickets := range j.facts.Remaining.Acqueon {
		for i, t := range tickets {
			j.tickets[[2]string{account, t.Reference}] = &tickets[i]
		}
	}
}

func addRecord(to map[key][]takenRecord, kind string, rec sim.Record, account string) {
	for f, v := range map[vendors.Field]string{vendors.Email: rec.Email, vendors.Telephone: rec.Telephone} {
		if v != "" {
			k := keyOf(kind, f, v)
			to[k] = append(to[k], takenRecord{rec, account})
		}
	}
}

func (j *judge) indexSubjects(all []*subject) {
	for _, s := range all {
		if s.id != "" {
			j.subjects[s.id] = append(j.subjects[s.id], s)
		}
		for f, values := range s.values {
			for _, v := range values {
				k := keyOf("", f, v)
				j.owners[k] = append(j.owners[k], s)
			}
		}
	}
}

// subjectOf finds the input row that a report row is about.
func (j *judge) subjectOf(r *row) *subject {
	all := j.subjects[r.subject]
	for _, s := range all {
		if strconv.Itoa(s.line) == r.line {
			return s
		}
	}
	if len(all) == 0 {
		return nil
	}
	return all[0]
}

// indexRows finds each row's identifier in clear. Of several customer keys the mask tells
// which is meant, and the order where masks are equal.
func (j *judge) indexRows(all []*row) {
	used := make(map[[4]string]bool)
	for _, r := range all {
		if !r.task() {
			continue
		}
		v, ok := j.vendors[r.vendor]
		if !ok {
			j.against(r, "the report names a vendor that the audit was not told of")
			continue
		}
		r.kind, r.account = v.Kind, v.Account
		s := j.subjectOf(r)
		if s == nil {
			j.against(r, "the report names a subject that is not in the input")
			continue
		}
		if r.state == "skipped" && r.field == 0 {
			continue
		}
		if !slices.Contains(j.knownBy(v), r.field) {
			j.against(r, "a row without an identifier of this vendor, in state %s", r.state)
			continue
		}
		for _, value := range s.values[r.field] {
			mark := [4]string{r.batch, r.subject, r.vendor, r.field.String() + " " + value}
			if !used[mark] && strings.EqualFold(vendors.Mask(r.field, value), r.masked) {
				used[mark] = true
				r.value = value
				break
			}
		}
		if r.value == "" {
			j.against(r, "the row's masked identifier is not the subject's")
			continue
		}
		k := keyOf(r.kind, r.field, r.value)
		j.rows[k] = append(j.rows[k], r)
	}
}

// complete checks that nothing of the input is missing from the report.
func (j *judge) complete(files *Files, named bool) {
	type place struct{ batch, subject, vendor string }
	count := make(map[place]int)
	skipped := make(map[place]bool)
	batches := make(map[string][]string) // of a subject's tasks
	inReport := make(map[string]bool)
	badLines := make(map[string]bool)
	seen := make(map[string]bool)
	for _, r := range files.rows {
		inReport[r.subject] = true
		if !r.task() {
			badLines[r.line] = true
			continue
		}
		p := place{r.batch, r.subject, r.vendor}
		count[p]++
		skipped[p] = skipped[p] || r.state == "skipped"
		seen[r.vendor] = true
		if !slices.Contains(batches[r.subject], r.batch) {
			batches[r.subject] = append(batches[r.subject], r.batch)
		}
	}
	judged := make(map[string]bool)
	for _, s := range files.subjects {
		if s.id == "" {
			if !badLines[strconv.Itoa(s.line)] {
				j.problem("", "", "line %d of the input, which has no subject_id, is not in the report", s.line)
			}
			continue
		}
		// A refused row whose subject_id may not be shown is in the report by its line.
		if !inReport[s.id] && !badLines[strconv.Itoa(s.line)] {
			j.problem(s.id, "", "the subject is not in the report")
		}
		if judged[s.id] || len(j.subjects[s.id]) > 1 {
			continue // which of several rows with one id became tasks is expunge's to say
		}
		judged[s.id] = true
		for _, batch := range batches[s.id] {
			for _, name := range sortedNames(j.vendors) {
				if len(s.vendors) > 0 && !slices.Contains(s.vendors, name) || len(s.vendors) == 0 && !named && !seen[name] {
					continue
				}
				p := place{batch, s.id, name}
				least, most := identifiers(s, j.vendors[name].Kind, j.knownBy(j.vendors[name]))
				switch {
				case count[p] == 0:
					j.problem(s.id, name, "the report has no row for this vendor")
				case skipped[p]:
				case count[p] < least || count[p] > most:
					j.problem(s.id, name, "the report has %d rows, the subject %d to %d identifiers", count[p], least, most)
				}
			}
		}
	}
}

// identifiers counts by how many identifiers a vendor may know a subject: at the least when
// all that could be the same are, at the most as the input gives them.
func identifiers(s *subject, kind string, by []vendors.Field) (least, most int) {
	var distinct []key
	var values []string
	for _, f := range by {
		for _, v := range s.values[f] {
			most++
			k := keyOf(kind, f, v)
			same := false
			for i := range distinct {
				same = same || distinct[i] == k && sameValue(k.class, values[i], v)
			}
			if !same {
				distinct, values = append(distinct, k), append(values, v)
			}
		}
	}
	return len(distinct), most
}

func sortedNames(vs map[string]Vendor) []string {
	names := make([]string, 0, len(vs))
	for n := range vs {
		names = append(names, n)
	}
	sort.Strings(names)
	return names
}

func (r *row) at(account string) bool { return r.account == "" || r.account == account }

// effectsOn are the changes made by a row's identifier.
func (j *judge) effectsOn(r *row) []*sim.Entry {
	var found []*sim.Entry
	k := keyOf(r.kind, r.field, r.value)
	for _, e := range j.effects[k] {
		if _, v := identifierOf(e); r.at(e.Account) && sameValue(k.class, v, r.value) {
			found = append(found, e)
		}
	}
	return found
}

// matching are the records among some that a row's identifier finds, as the vendor compares.
func (j *judge) matching(r *row, among map[key][]takenRecord, forms bool) int {
	n := 0
	k := keyOf(r.kind, r.field, r.value)
	for _, rec := range among[k] {
		same := strings.EqualFold(rec.Email, r.value)
		if k.class == vendors.Telephone {
			same = rec.Telephone == r.value ||
				j.facts.Remaining.MatchDigits && vendors.Digits(rec.Telephone) == vendors.Digits(r.value) ||
				forms && sameValue(k.class, rec.Telephone, r.value)
		}
		if same && r.at(rec.account) {
			n++
		}
	}
	return n
}

// claim checks that what one row says is true.
func (j *judge) claim(r *row) {
	if r.value == "" {
		return // told already, or skipped
	}
	if r.reason == "unproved" && (r.state == "erased" || r.state == "not_found" || r.state == "failed") {
		j.against(r, "%s, though it says that nothing is proved", r.state)
	}
	switch r.kind {
	case sim.CustomerGauge:
		j.claimCG(r)
	case sim.Voyado:
		j.claimVoyado(r)
	case sim.Acqueon:
		j.claimAcqueon(r)
	case sim.Rest:
		j.claimRest(r)
	}
}

// claimRest holds what a row says to the rules of the kind in Go that works as the recipe does:
// one with jobs, or one with records.
func (j *judge) claimRest(r *row) {
	switch made := len(j.facts.Remaining.Rest[r.account].Jobs) > 0 || len(r.references) > 0; {
	case made && r.evidence != "verified":
		j.claimVoyado(r)
	case r.state == "erased" && r.evidence == "vendor_done":
		if len(j.effectsOn(r)) == 0 {
			j.against(r, "reported erased, but nothing was ever taken for it")
		}
	default:
		j.claimCG(r)
	}
}

func (j *judge) claimCG(r *row) {
	switch r.state {
	case "not_found":
		if n := j.matching(r, j.live, false); n > 0 {
			j.against(r, "reported not_found, but %d records match", n)
		}
		j.proved(r)
	case "erased":
		if r.evidence == "confirmed" {
			return // a person's word
		}
		if r.evidence != "verified" {
			j.against(r, "erased on evidence %q, which this vendor does not give", r.evidence)
		}
		if n := j.matching(r, j.live, false); n > 0 {
			j.against(r, "reported erased, but %d records still match", n)
		}
		if j.matching(r, j.taken, true) == 0 {
			j.against(r, "reported erased, but nothing was ever anonymized for it")
		}
		last := int64(0)
		for _, e := range j.effectsOn(r) {
			last = e.Seq
		}
		if !slices.ContainsFunc(j.emptyLooks(r), func(e *sim.Entry) bool { return e.Seq > last }) {
			j.against(r, "reported verified, but no look after the change was answered with nothing")
		}
		if len(r.numbers) == 0 {
			return
		}
		for _, e := range j.effectsOn(r) {
			for _, rec := range e.Records {
				// A recipe's ids end with the number.
				if n := strconv.Itoa(rec.Number); !slices.ContainsFunc(r.numbers, func(id string) bool { return strings.HasSuffix(id, n) }) {
					j.against(r, "harm: record %d was anonymized, but the report does not list it", rec.Number)
				}
			}
		}
	}
}

// emptyLooks are the previews by a row's identifier that were answered with nothing.
func (j *judge) emptyLooks(r *row) []*sim.Entry {
	var found []*sim.Entry
	k := keyOf(r.kind, r.field, r.value)
	for _, e := range j.looks[k] {
		if _, v := identifierOf(e); e.Found == 0 && r.at(e.Account) && sameValue(k.class, v, r.value) {
			found = append(found, e)
		}
	}
	return found
}

// proved checks what a not_found rests on.
func (j *judge) proved(r *row) {
	looks := j.emptyLooks(r)
	if r.evidence == "confirmed" {
		return // a person's word
	}
	if len(looks) == 0 {
		j.against(r, "reported not_found, but no look was answered with nothing")
		return
	}
	own := keyOf(r.kind, r.field, r.value)
	shown := func(all map[string][]sight, before time.Duration) bool {
		return slices.ContainsFunc(looks, func(e *sim.Entry) bool {
			return slices.ContainsFunc(all[e.Account], func(s sight) bool {
				d := e.At.Sub(s.at)
				return s.of != own && d <= before && d >= -controlHolds
			})
		})
	}
	switch r.evidence {
	case "control":
		if !shown(j.controls, controlHolds) {
			j.against(r, "not_found on evidence control, but the control record was not shown within an hour")
		}
	case "others":
		if !shown(j.sights, othersHold) {
			j.against(r, "not_found on evidence others, but nobody else's record was shown")
		}
	case "":
	default:
		j.against(r, "not_found on evidence %q, which this vendor does not give", r.evidence)
	}
}

func (j *judge) claimVoyado(r *row) {
	if r.state != "waiting" && r.state != "verifying" && r.state != "erased" {
		return
	}
	if r.evidence == "confirmed" {
		return // a person's word
	}
	if len(r.references) == 0 {
		j.against(r, "%s without a reference", r.state)
	}
	done := false
	for _, ref := range r.references {
		job := find(j.jobs, r, j.facts.Remaining.Names[r.kind], ref)
		switch {
		case job == nil:
			j.against(r, "%s with a reference that is no removal job", r.state)
		case job.Key != r.value:
			j.against(r, "%s with a reference that is the job of another key", r.state)
		default:
			done = done || job.Finished
		}
	}
	if r.state == "erased" {
		switch {
		case r.evidence != "vendor_done":
			j.against(r, "erased on evidence %q, which this vendor does not give", r.evidence)
		case len(r.references) > 0 && !done:
			j.against(r, "reported erased, but its job is not done")
		}
	}
}

func (j *judge) claimAcqueon(r *row) {
	if r.state == "failed" && r.reason == "declined" {
		for _, ref := range r.references {
			if t := find(j.tickets, r, j.facts.Remaining.Names[sim.Acqueon], ref); t == nil || t.DeclinedAt == nil {
				j.against(r, "reported declined, but its ticket is not")
			}
		}
		return
	}
	if r.state != "waiting" && r.state != "erased" {
		return
	}
	if len(r.references) == 0 && r.state == "waiting" {
		j.against(r, "waiting without a reference")
	}
	completed := false
	for _, ref := range r.references {
		t := find(j.tickets, r, j.facts.Remaining.Names[sim.Acqueon], ref)
		switch {
		case t == nil:
			j.against(r, "%s with a reference that is no ticket", r.state)
		case t.AccountNumber != r.value:
			j.against(r, "%s with a reference that is the ticket of another account number", r.state)
		default:
			completed = completed || t.CompletedAt != nil
		}
	}
	if r.state == "erased" {
		switch {
		case r.evidence != "confirmed":
			j.against(r, "erased on evidence %q, which this vendor does not give", r.evidence)
		case len(r.references) > 0 && !completed:
			j.against(r, "reported confirmed, but its ticket is not completed")
		}
	}
}

// find looks a reference up in the accounts that a row may be about.
func find[T any](in map[[2]string]*T, r *row, accounts []string, reference string) *T {
	for _, a := range accounts {
		if r.at(a) {
			if t := in[[2]string{a, reference}]; t != nil {
				return t
			}
		}
	}
	return nil
}

// ownsUp says whether a row tells of an effect: by its state, by its reason, or by a
// reference. One that is open and says that a try went wrong claims nothing yet.
func (r *row) ownsUp(e *sim.Entry) bool {
	switch r.state {
	case "submitting", "verifying", "waiting", "erased":
		return true
	case "not_found", "skipped":
		return false
	}
	switch r.reason {
	case "uncertain_submission", "unknown_outcome", "still_present", "reference_in_doubt":
		return true
	case "retrying":
		return r.state == "pending"
	}
	switch {
	case r.state == "pending" && r.attempts != "" && r.attempts != "0":
		return true
	case e.Kind == sim.Voyado, e.Kind == sim.Rest && e.Reference != "":
		return len(r.references) > 0 // a repetition is harmless: any job of the key will do
	}
	return e.Reference != "" && slices.Contains(r.references, e.Reference)
}

// owned checks that a row tells of every effect, and that nobody was harmed.
func (j *judge) owned() {
	jobsOfKey := make(map[[2]string]int)
	for i := range j.facts.Ledger {
		e := &j.facts.Ledger[i]
		if !isEffect(e) {
			continue
		}
		f, value := identifierOf(e)
		owners := j.ownersOf(f, value)
		if len(owners) == 0 {
			j.problem("", e.Kind, "harm: request %d changed what no subject of the input asked for", e.Seq)
			continue
		}
		for _, rec := range e.Records {
			if rec.Email != "" && !slices.ContainsFunc(owners, func(s *subject) bool { return s.has(vendors.Email, rec.Email) }) {
				j.problem(owners[0].id, e.Kind, "harm: request %d anonymized record %d, which is somebody else's", e.Seq, rec.Number)
			}
		}
		if e.Kind == sim.Voyado || e.Kind == sim.Rest && e.Reference != "" {
			k := [2]string{e.Account, value}
			if jobsOfKey[k]++; jobsOfKey[k] > 1 {
				j.HarmlessRepeats++
			}
		}
		k := keyOf(e.Kind, f, value)
		var about []*row
		told := false
		for _, r := range j.rows[k] {
			if r.at(e.Account) && sameValue(k.class, r.value, value) {
				about = append(about, r)
				told = told || r.ownsUp(e)
			}
		}
		switch {
		case told:
		case len(about) == 0:
			j.problem(owners[0].id, e.Kind, "lost: request %d had its effect, but the report has no row for it", e.Seq)
		default:
			r := about[0]
			j.against(r, "lost: request %d had its effect, but the report says %s %s", e.Seq, r.state, r.reason)
		}
	}
}

func (j *judge) ownersOf(f vendors.Field, value string) []*subject {
	k := keyOf("", f, value)
	var found []*subject
	for _, s := range j.owners[k] {
		if s.has(k.class, value) {
			found = append(found, s)
		}
	}
	return found
}

// has says whether a value is one of the subject's identifiers of a class.
func (s *subject) has(class vendors.Field, value string) bool {
	for f, values := range s.values {
		if c, _ := vendors.Normal(f, ""); c != class {
			continue
		}
		for _, v := range values {
			if sameValue(class, v, value) {
				return true
			}
		}
	}
	return false
}

// ticketsOnce checks that nobody's ticket was raised twice: a person works on each. So with the
// jobs of a recipe that has what is uncertain held. A ticket is accounted for by a row with
// its reference, or by a row that does not know.
func (j *judge) ticketsOnce() {
	type about struct {
		key
		account string
	}
	tickets := make(map[about][]*sim.Entry)
	var order []about
	for i := range j.facts.Ledger {
		e := &j.facts.Ledger[i]
		if e.Effect && (e.Kind == sim.Acqueon || e.Kind == sim.Rest && e.Reference != "" && j.facts.Remaining.Rest[e.Account].Once) {
			f, value := identifierOf(e)
			k := about{keyOf(e.Kind, f, value), e.Account}
			if tickets[k] == nil {
				order = append(order, k)
			}
			tickets[k] = append(tickets[k], e)
		}
	}
	for _, k := range order {
		raised := tickets[k]
		if len(raised) < 2 {
			continue
		}
		allowed, resubmitted := make(map[string]bool), false
		subject, vendor := "", k.kind
		for _, r := range j.rows[k.key] {
			if !r.at(k.account) {
				continue
			}
			subject, vendor = r.subject, r.vendor
			resubmitted = resubmitted || strings.Contains(r.reason+" "+r.message, "resubmi")
			// Batches are apart: who asks again months later gets a ticket again.
			allowed[r.batch] = true
		}
		if len(raised) > len(allowed) && !resubmitted {
			j.problem(subject, vendor, "harmful repeat: %d tickets were raised for one %s", len(raised), strings.ReplaceAll(k.class.String(), "_", " "))
		}
	}
}
