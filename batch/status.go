package batch

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"expunge/batch/decide"
	"expunge/store"
	"expunge/vendors"
)

// Status is where everything stands. The JSON keys are stable: users parse them.
type Status struct {
	At       time.Time      `json:"at"`
	Vendors  []VendorStatus `json:"vendors"`
	Oldest   *OpenRequest   `json:"oldest_open"` // the open request that is due first
	Needs    []Need         `json:"needs"`       // what waits for a person
	Batches  []BatchStatus  `json:"batches"`
	Extended []Extended     `json:"extended"`
	// Unanswered are finished requests that nobody has been told of, at most 100, the most urgent
	// first; null where answers are not tracked.
	Unanswered []OpenRequest `json:"unanswered" null:"where answers are not tracked"`
	LastRun    *RunStatus    `json:"last_run"`
	Log        *LogStatus    `json:"log"` // null before the first head
}

// LogStatus is the newest head of the log.
type LogStatus struct {
	Origin string    `json:"origin"`
	Size   int64     `json:"size"`
	Root   string    `json:"root"`
	At     time.Time `json:"at"`
	Note   string    `json:"note"` // as it was signed
}

// VendorStatus is one vendor's part.
type VendorStatus struct {
	Vendor      string           `json:"vendor"`
	Kind        string           `json:"kind"`
	Configured  bool             `json:"configured"`
	States      map[string]int64 `json:"states"`
	Open        int64            `json:"open"`        // not final
	Unsettled   int64            `json:"failed_open"` // failed, and nobody has retried or closed them
	Overdue     int64            `json:"overdue"`
	AtRisk      int64            `json:"at_risk"`  // not settled, not overdue, and likely to become it
	Late        int64            `json:"too_late"` // of these: cannot be done by their due dates any more
	Unconfirmed int64            `json:"unconfirmed"`
	Due         *time.Time       `json:"earliest_due_at"` // of the open ones
	Next        *time.Time       `json:"next_at"`         // the next poll, retry or look
	Paused      *time.Time       `json:"paused_until"`
	CallsLeft   int64            `json:"calls_left"` // an estimate
	PerSecond   float64          `json:"rate_per_second"`
	Seconds     int64            `json:"eta_seconds"` // for these calls at this rate
	Done        *time.Time       `json:"eta"`         // when all could be done; null where people decide that
	Exports     *ExportStatus    `json:"exports"`     // null where there are none
}

// OpenRequest is a request that is not finished.
type OpenRequest struct {
	SubjectID  string    `json:"subject_id"`
	ReceivedAt time.Time `json:"received_at"`
	DueAt      time.Time `json:"due_at"`
	DueStatus  string    `json:"due_status" words:"due"`
}

// Need is something that waits for a person, with the command for it.
type Need struct {
	What    string `json:"what"` // failed, held, trouble, paused, no_status, too_late, unconfirmed, not_configured, cut_short, unanswered
	Vendor  string `json:"vendor"`
	Reason  string `json:"reason"`
	Tasks   int64  `json:"tasks"`
	Text    string `json:"text"`
	Command string `json:"command"`
}

// BatchStatus is one input file.
type BatchStatus struct {
	ID         int64     `json:"batch"`
	Name       string    `json:"name"`
	TakenAt    time.Time `json:"taken_at"`
	CutShort   bool      `json:"cut_short"` // its intake has not ended: it counts for nothing
	Rows       int64     `json:"rows"`
	Subjects   int64     `json:"subjects"`
	Invalid    int64     `json:"invalid"`
	Duplicates int64     `json:"duplicates"`
	Added      int64     `json:"tasks_added"` // to requests of earlier batches
	Dropped    *Dropped  `json:"dropped,omitempty"`
}

// Dropped says who took a batch back.
type Dropped struct {
	At     time.Time `json:"at"`
	Who    string    `json:"who"`
	Reason string    `json:"reason"`
}

// StatusOf is what is shown of a batch.
func StatusOf(b store.Batch) BatchStatus {
	s := BatchStatus{ID: b.ID, Name: b.Name, TakenAt: b.TakenAt, CutShort: b.Loading, Rows: b.Rows,
		Subjects: b.Subjects, Invalid: b.Invalid, Duplicates: b.Duplicates, Added: b.Added}
	if d := b.Dropped; !d.At.IsZero() {
		s.Dropped = &Dropped{At: d.At, Who: d.Who, Reason: d.Note}
	}
	return s
}

// Extended is a request with a later due date.
type Extended struct {
	SubjectID  string     `json:"subject_id"`
	ReceivedAt time.Time  `json:"received_at"`
	Original   *time.Time `json:"original_due_at"` // null: it is not known any more
	Until      time.Time  `json:"until"`
	At         time.Time  `json:"at"`
	Who        string     `json:"who"`
	Reason     string     `json:"reason"`
}

// RunStatus is the newest run.
type RunStatus struct {
	ID        int64      `json:"run"`
	StartedAt time.Time  `json:"started_at"`
	EndedAt   *time.Time `json:"ended_at"`  // null: it goes on, or was killed
	ExitCode  *int       `json:"exit_code"` // null as above
	Version   string     `json:"version"`
}

// StatusOptions are the times that a status depends on.
type StatusOptions struct {
	AtRisk           time.Duration // the least time before the due date at which a task is at risk
	UnconfirmedAfter time.Duration // a ticket open for longer waits for a person
}

// maxExtended bounds the list of extensions, which are the work of people, and maxUnanswered
// that of requests that wait for them.
const (
	maxExtended   = 100
	maxUnanswered = 100
)

// Status reads where everything stands. It writes nothing and needs no lock, so it can be
// used during a run.
func (t *Tasks) Status(ctx context.Context, o StatusOptions) (*Status, error) {
	now := t.Now().UTC()
	s := &Status{At: now.Truncate(time.Second), Needs: []Need{}, Batches: []BatchStatus{}, Extended: []Extended{}, Vendors: []VendorStatus{}}
	known, err := t.Store.Vendors(ctx)
	if err != nil {
		return nil, err
	}
	counts, err := t.Store.Standing(ctx, now, now.Add(-o.UnconfirmedAfter))
	if err != nil {
		return nil, err
	}
	paces := t.paces()
	outlook := newOutlook(counts, paces, o.AtRisk)
	outlook.pauses(known, now)
	exports, err := t.Exports(ctx, 0)
	if err != nil {
		return nil, err
	}
	for _, v := range known {
		p, configured := paces[v.ID]
		vs := vendorStatus(v, p, counts, outlook, now)
		vs.Exports = exports[v.Name]
		if vs.Configured = configured; configured || vs.Open+vs.Unsettled > 0 {
			s.Vendors = append(s.Vendors, vs)
		}
	}
	slices.SortFunc(s.Vendors, func(a, b VendorStatus) int { return cmp.Compare(a.Vendor, b.Vendor) })
	if err := t.statusOldest(ctx, s, known, outlook); err != nil {
		return nil, err
	}
	if err := t.statusRest(ctx, s); err != nil {
		return nil, err
	}
	if err := t.statusNeeds(ctx, s, known, o.UnconfirmedAfter); err != nil {
		return nil, err
	}
	if t.TrackAnswers {
		return s, t.statusUnanswered(ctx, s, o.AtRisk)
	}
	return s, nil
}

// statusUnanswered tells of finished requests that nobody has been told of.
func (t *Tasks) statusUnanswered(ctx context.Context, s *Status, atRisk time.Duration) error {
	u, err := t.Store.CountUnanswered(ctx, s.At, s.At.Add(atRisk))
	if err != nil {
		return err
	}
	s.Unanswered = []OpenRequest{}
	if u.Requests == 0 {
		return nil
	}
	s.Needs = append(s.Needs, Need{What: "unanswered", Tasks: u.Requests, Command: "expunge answered FILE.csv",
		Text: fmt.Sprintf("%d finished requests that nobody has been told of: %d overdue, %d at risk", u.Requests, u.Overdue, u.AtRisk)})
	all, err := t.Store.Unanswered(ctx, maxUnanswered)
	for _, r := range all {
		s.Unanswered = append(s.Unanswered, OpenRequest{SubjectID: r.SubjectID, ReceivedAt: r.ReceivedAt, DueAt: r.DueAt,
			DueStatus: DueStatus(time.Time{}, r.DueAt, s.At, atRisk)})
	}
	return err
}

func vendorStatus(v store.Vendor, p Pace, counts []store.Standing, outlook *Outlook, now time.Time) VendorStatus {
	vs := VendorStatus{Vendor: v.Name, Kind: v.Kind, States: map[string]int64{}, PerSecond: p.PerSecond}
	for _, st := range store.States() {
		vs.States[st.String()] = 0
	}
	var due, next time.Time
	calls, lead := 0.0, false
	for _, c := range counts {
		if c.Vendor != v.ID {
			continue
		}
		vs.States[c.State.String()] += c.Tasks
		if c.State == store.Skipped && c.Unserved > 0 {
			vs.Overdue += c.Overdue
			if c.DueAt.Before(now.Add(outlook.risk(v.ID, c.DueAt))) {
				vs.AtRisk += c.Unserved - c.Overdue
			}
		}
		if c.State.Final() && c.State != store.Failed {
			continue
		}
		vs.Overdue += c.Overdue
		if c.DueAt.Before(now.Add(outlook.risk(v.ID, c.DueAt))) {
			vs.AtRisk += c.Tasks - c.Closed - c.Overdue
		}
		if c.State == store.Failed {
			vs.Unsettled += c.Tasks - c.Closed
			due = earliest(due, c.DueAt)
			continue
		}
		vs.Open += c.Tasks
		if c.State < store.Waiting && c.DueAt.Before(now.Add(outlook.takes(v.ID, c.DueAt))) {
			vs.Late += c.Tasks - c.Overdue
		}
		if p.Traits.Completion == vendors.ByPerson {
			vs.Unconfirmed += c.Unconfirmed
		}
		due, next = earliest(due, c.DueAt), earliest(next, c.NextAt)
		calls += p.calls(c.State) * float64(c.Own)
		lead = lead || c.State <= store.Waiting
	}
	vs.Due, vs.Next = optional(due), optional(next)
	vs.CallsLeft = int64(math.Ceil(calls))
	takes := p.takes(calls)
	vs.Seconds = int64(math.Ceil(takes.Seconds()))
	from := now
	if v.PausedUntil.After(now) {
		vs.Paused, from = optional(v.PausedUntil), v.PausedUntil
	}
	if calls > 0 && p.PerSecond > 0 && p.Traits.Completion != vendors.ByPerson {
		done := from.Add(takes)
		if lead {
			done = done.Add(p.Traits.LeadTime)
		}
		done = done.Truncate(time.Second)
		vs.Done = &done
	}
	return vs
}

func earliest(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

func optional(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}

func (t *Tasks) statusOldest(ctx context.Context, s *Status, known map[string]store.Vendor, outlook *Outlook) error {
	var first *VendorStatus
	for i := range s.Vendors {
		if v := &s.Vendors[i]; v.Due != nil && (first == nil || v.Due.Before(*first.Due)) {
			first = v
		}
	}
	if first == nil {
		return nil
	}
	r, ok, err := t.Store.OpenRequest(ctx, *first.Due)
	if err != nil || !ok {
		return err
	}
	s.Oldest = &OpenRequest{SubjectID: r.SubjectID, ReceivedAt: r.ReceivedAt, DueAt: r.DueAt,
		DueStatus: DueStatus(time.Time{}, r.DueAt, s.At, outlook.risk(known[first.Vendor].ID, r.DueAt))}
	return nil
}

func (t *Tasks) statusRest(ctx context.Context, s *Status) error {
	batches, err := t.Store.Batches(ctx)
	if err != nil {
		return err
	}
	for _, b := range batches {
		s.Batches = append(s.Batches, StatusOf(b))
	}
	extended, err := t.Store.Extensions(ctx, maxExtended)
	if err != nil {
		return err
	}
	for _, x := range extended {
		s.Extended = append(s.Extended, Extended{SubjectID: x.SubjectID, ReceivedAt: x.ReceivedAt, Original: optional(x.Original), Until: x.Until, At: x.At, Who: x.Who, Reason: x.Note})
	}
	if h, err := t.Store.Head(ctx); err != nil {
		return err
	} else if h != nil {
		s.Log = &LogStatus{Origin: h.Origin, Size: h.Size, Root: h.Root.String(), At: h.At, Note: string(h.Note)}
	}
	r, ok, err := t.Store.LastRun(ctx)
	if err != nil || !ok {
		return err
	}
	s.LastRun = &RunStatus{ID: r.ID, StartedAt: r.StartedAt, EndedAt: optional(r.EndedAt), Version: r.Version}
	if !r.EndedAt.IsZero() {
		s.LastRun.ExitCode = &r.ExitCode
	}
	return nil
}

// longTrouble is the time after which what keeps a vendor from its work is told.
const longTrouble = 24 * time.Hour

// statusTroubles lists what must be mended: tasks that failed, and vendors at which work
// cannot go on.
func (t *Tasks) statusTroubles(ctx context.Context, s *Status, known map[string]store.Vendor) error {
	failed, err := t.Store.CountHeld(ctx, store.HeldFilter{Failed: true})
	if err != nil {
		return err
	}
	for _, f := range failed {
		text := fmt.Sprintf("%d failed at %s (%s)", f.Tasks, f.Vendor, f.Reason)
		if f.Followers > 0 {
			text += fmt.Sprintf(", and %d of the same identifiers with them", f.Followers)
		}
		s.Needs = append(s.Needs, Need{What: "failed", Vendor: f.Vendor, Reason: f.Reason, Tasks: f.Tasks, Text: text + ": retry or close them",
			Command: fmt.Sprintf("expunge review retry --vendor %s --reason %s", f.Vendor, f.Reason)})
	}
	silent, err := t.Store.CountHeld(ctx, store.HeldFilter{Waiting: true, Reason: string(decide.NoStatus)})
	if err != nil {
		return err
	}
	for _, f := range silent {
		s.Needs = append(s.Needs, Need{What: "no_status", Vendor: f.Vendor, Reason: f.Reason, Tasks: f.Tasks, Command: "expunge check",
			Text: fmt.Sprintf("%d wait at %s, which does not tell the status of their jobs", f.Tasks, f.Vendor)})
	}
	for i := range s.Vendors {
		v := &s.Vendors[i]
		if v.Open == 0 || !v.Configured {
			continue
		}
		if v.Late > 0 && v.Paused == nil {
			s.Needs = append(s.Needs, Need{What: "too_late", Vendor: v.Vendor, Tasks: v.Late, Command: "expunge extend SUBJECT --until DATE --reason TEXT",
				Text: fmt.Sprintf("%d not submitted at %s yet, and it takes longer than until they are due", v.Late, v.Vendor)})
		}
		if trouble := Trouble(known[v.Vendor].Trouble); trouble != NoTrouble {
			s.Needs = append(s.Needs, Need{What: "trouble", Vendor: v.Vendor, Reason: string(trouble), Tasks: v.Open, Command: trouble.Command(v.Vendor),
				Text: fmt.Sprintf("%d open at %s, which %s, since %s", v.Open, v.Vendor, trouble.Words(), timeText(known[v.Vendor].TroubleAt))})
		}
		if v.Paused != nil && (v.Paused.After(s.At.Add(longTrouble)) || v.Due != nil && v.Paused.After(*v.Due)) {
			s.Needs = append(s.Needs, Need{What: "paused", Vendor: v.Vendor, Tasks: v.Open, Command: "expunge review retry --vendor " + v.Vendor,
				Text: fmt.Sprintf("%d open at %s, which asked to be left alone until %s", v.Open, v.Vendor, timeText(*v.Paused))})
		}
	}
	return nil
}

// Mends are the needs that every run ends with exit code 3 for until they are gone.
func (s *Status) Mends() []Need {
	return slices.DeleteFunc(slices.Clone(s.Needs), func(n Need) bool {
		return !slices.Contains([]string{"failed", "no_status", "trouble", "paused", "too_late", "not_configured"}, n.What)
	})
}

// statusNeeds lists what waits for a person.
func (t *Tasks) statusNeeds(ctx context.Context, s *Status, known map[string]store.Vendor, unconfirmedAfter time.Duration) error {
	if err := t.statusTroubles(ctx, s, known); err != nil {
		return err
	}
	held, err := t.Store.CountHeld(ctx, store.HeldFilter{})
	if err != nil {
		return err
	}
	for _, h := range held {
		text := fmt.Sprintf("%d held at %s (%s)", h.Tasks, h.Vendor, h.Reason)
		if h.Followers > 0 {
			text += fmt.Sprintf(", and %d of the same identifiers with them", h.Followers)
		}
		s.Needs = append(s.Needs, Need{What: "held", Vendor: h.Vendor, Reason: h.Reason, Tasks: h.Tasks,
			Text: text, Command: "expunge review list --reason " + h.Reason})
	}
	for _, v := range s.Vendors {
		if v.Unconfirmed > 0 {
			s.Needs = append(s.Needs, Need{What: "unconfirmed", Vendor: v.Vendor, Tasks: v.Unconfirmed,
				Text: fmt.Sprintf("%d requests at %s are unconfirmed for more than %s", v.Unconfirmed, v.Vendor, days(unconfirmedAfter)), Command: "expunge confirm FILE.csv"})
		}
		if !v.Configured && v.Open > 0 {
			s.Needs = append(s.Needs, notConfigured(v.Vendor, v.Open))
		}
	}
	for _, b := range s.Batches {
		if b.CutShort {
			s.Needs = append(s.Needs, Need{What: "cut_short",
				Text:    fmt.Sprintf("the intake of %s has not ended: it goes on, or was cut short and counts for nothing", b.Name),
				Command: "expunge run FILE.csv"})
		}
	}
	return nil
}

// ExportStatus is where a vendor's exports stand.
type ExportStatus struct {
	States  map[string]int64 `json:"states"`
	Open    int64            `json:"open"`
	Failed  map[string]int64 `json:"failed"`   // by reason
	Next    *time.Time       `json:"next_at"`  // the next look
	FetchBy *time.Time       `json:"fetch_by"` // until then the first of those that are done can be fetched
}

// exportStatus makes one of the tallies of a vendor; nil where it has no exports.
func exportStatus(tallies []store.ExportTally, vendor string, within time.Duration) *ExportStatus {
	var s *ExportStatus
	var next, by time.Time
	for _, t := range tallies {
		if t.Vendor != vendor {
			continue
		}
		if s == nil {
			s = &ExportStatus{States: map[string]int64{}, Failed: map[string]int64{}}
			for _, state := range store.ExportStates() {
				s.States[state.String()] = 0
			}
		}
		s.States[t.State.String()] += t.Exports
		if t.Reason != "" {
			s.Failed[t.Reason] += t.Exports
		}
		if t.State.Final() {
			continue
		}
		s.Open += t.Exports
		next = earliest(next, t.NextAt)
		if !t.DoneAt.IsZero() && within > 0 {
			by = earliest(by, t.DoneAt.Add(within))
		}
	}
	if s != nil {
		s.Next, s.FetchBy = optional(next), optional(by)
	}
	return s
}

// String is the status in words.
func (s *ExportStatus) String() string {
	var parts []string
	for _, state := range store.ExportStates() {
		if n := s.States[state.String()]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, state))
		}
	}
	text := strings.Join(parts, ", ")
	if s.FetchBy != nil {
		text += "; to be fetched by " + timeText(*s.FetchBy)
	}
	return text
}

// Exports is where the exports of a batch stand, by vendor; 0 is all batches.
func (t *Tasks) Exports(ctx context.Context, batch int64) (map[string]*ExportStatus, error) {
	tallies, err := t.Store.ExportTally(ctx, batch)
	if err != nil {
		return nil, err
	}
	within := map[string]time.Duration{}
	for _, a := range t.Accounts {
		within[a.Name] = a.Exports.FetchWithin
	}
	all := map[string]*ExportStatus{}
	for _, tally := range tallies {
		if all[tally.Vendor] == nil {
			all[tally.Vendor] = exportStatus(tallies, tally.Vendor, within[tally.Vendor])
		}
	}
	return all, nil
}

// NotConfigured returns a Need for each vendor that has open tasks and is not among the
// configured ones.
func NotConfigured(ctx context.Context, st *store.Store, configured []string, now time.Time) ([]Need, error) {
	known, err := st.Vendors(ctx)
	if err != nil {
		return nil, err
	}
	counts, err := st.Standing(ctx, now, now)
	if err != nil {
		return nil, err
	}
	open := map[int64]int64{}
	for _, c := range counts {
		if !c.State.Final() {
			open[c.Vendor] += c.Tasks
		}
	}
	var all []Need
	for _, name := range slices.Sorted(maps.Keys(known)) {
		if n := open[known[name].ID]; n > 0 && !slices.Contains(configured, name) {
			all = append(all, notConfigured(name, n))
		}
	}
	return all, nil
}

func notConfigured(vendor string, open int64) Need {
	return Need{What: "not_configured", Vendor: vendor, Tasks: open, Command: "expunge check",
		Text: fmt.Sprintf("%d open at %s, which the config does not have: put it back", open, vendor)}
}

func days(d time.Duration) string {
	if d >= 24*time.Hour && d%(24*time.Hour) == 0 {
		return fmt.Sprintf("%d days", d/(24*time.Hour))
	}
	return d.String()
}
