package batch

import (
	"bytes"
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"expunge/batch/intake"
	"expunge/store"
	"expunge/store/seal"
	"expunge/vendors"
)

var (
	byPreview = vendors.Traits{Kind: "p", Remote: true, Completion: vendors.ByPreview, Uncertain: vendors.AskAgain, VerifyPatience: time.Minute}
	byPoll    = vendors.Traits{Kind: "j", Completion: vendors.ByPoll, Uncertain: vendors.SubmitAgain, PollEvery: time.Hour, GiveUpAfter: 24 * time.Hour}
	byPerson  = vendors.Traits{Kind: "t", Completion: vendors.ByPerson, Uncertain: vendors.HoldForPerson}

	noon     = time.Date(2026, 11, 2, 12, 0, 0, 0, time.UTC)
	reviewed = time.Date(2026, 3, 31, 9, 0, 0, 0, time.UTC)
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// rig is a run on a real store with made-up vendors. It lives in a synctest bubble, whose
// clock it goes by: waits of days take no time.
type rig struct {
	t     *testing.T
	dir   string
	key   seal.Key
	st    *store.Store
	job   *Run
	lanes map[string]*Lane
	batch store.Batch
	log   bytes.Buffer
}

// bubble runs a test in a bubble with a rig for the vendors.
func bubble(t *testing.T, vs []*fake, fn func(*rig)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		r := &rig{t: t, dir: t.TempDir(), key: seal.NewKey()}
		r.open()
		t.Cleanup(r.close)
		r.use(vs...)
		fn(r)
	})
}

func (r *rig) path() string { return filepath.Join(r.dir, "expunge.db") }

func (r *rig) open() {
	r.t.Helper()
	st, err := store.Open(context.Background(), r.path(), store.Options{Key: func(bool) (seal.Key, error) { return r.key, nil }, Now: time.Now, Forget: Forget})
	if err != nil {
		r.t.Fatal(err)
	}
	r.st = st
}

func (r *rig) close() {
	if r.st != nil {
		if err := r.st.Close(); err != nil && r.st.Err() == nil {
			r.t.Error(err)
		}
		r.st = nil
	}
}

// use makes a run of the vendors, as a new process would.
func (r *rig) use(vs ...*fake) {
	r.t.Helper()
	log := slog.New(slog.NewTextHandler(&r.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	r.lanes = map[string]*Lane{}
	var all []*Lane
	for _, v := range vs {
		v.rig = r
		l := &Lane{Account: AccountOf(v.name, v.vendor(), vendors.Rate{PerSecond: 5}), Vendor: v.vendor(), Pacer: &v.pacer, Concurrency: 2,
			Retry: vendors.Retry{MaxAttempts: 4, RetryBase: vendors.Duration(time.Second), RetryCap: vendors.Duration(10 * time.Second)}}
		r.lanes[v.name] = l
		all = append(all, l)
	}
	var err error
	if r.job, err = NewRun(context.Background(), &Tasks{Store: r.st, Now: time.Now, Log: log}, all...); err != nil {
		r.t.Fatal(err)
	}
	r.job.Linger = time.Minute
}

// restart closes the store and opens it again, with the vendors that there were.
func (r *rig) restart(vs ...*fake) {
	r.t.Helper()
	r.close()
	r.open()
	r.use(vs...)
}

func (r *rig) write(name, text string) string {
	r.t.Helper()
	path := filepath.Join(r.dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		r.t.Fatal(err)
	}
	return path
}

func (r *rig) input(path string) Input {
	var names []string
	for _, l := range r.job.Lanes {
		names = append(names, l.Name)
	}
	return Input{Path: path, Reading: intake.Options{Vendors: names, Now: time.Now, Log: slog.New(slog.DiscardHandler)}, Log: r.job.Log,
		Deadline: func(t time.Time) time.Time { return t.Add(30 * 24 * time.Hour) }}
}

// take takes in a file with the given text.
func (r *rig) take(text string) store.Batch {
	r.t.Helper()
	b, _, err := TakeIn(context.Background(), r.st, r.job.Lanes, r.input(r.write("subjects.csv", text)))
	if err != nil {
		r.t.Fatal(err)
	}
	r.batch = b
	return b
}

// confirm takes in confirmations.
func (r *rig) confirm(text string) ([]ConfirmResult, error) {
	return r.confirmFrom(strings.NewReader(text))
}

func (r *rig) confirmFrom(from io.Reader) ([]ConfirmResult, error) {
	f, err := OpenConfirmations("-", from, intake.Options{Now: time.Now})
	if err != nil {
		return nil, err
	}
	return r.job.Confirm(context.Background(), f, "kim")
}

// people takes in n people with an email each.
func (r *rig) people(n int) {
	r.t.Helper()
	var b strings.Builder
	b.WriteString("subject_id,email\n")
	for i := range n {
		fmt.Fprintf(&b, "R-%03d,%s\n", i, person(i))
	}
	r.take(b.String())
}

func person(i int) string { return fmt.Sprintf("person-%03d@example.com", i) }

// work runs the job and fails the test on an error of our own.
func (r *rig) work(o WorkOptions) []LaneResult {
	r.t.Helper()
	results, err := r.job.Work(r.t.Context(), o)
	if err != nil {
		r.t.Fatal(err)
	}
	return results
}

// states counts the tasks by state and reason: "3 erased, 1 held (somebody_else)".
func (r *rig) states() string {
	r.t.Helper()
	counts := map[string]int{}
	for _, t := range r.tasks() {
		name := t.State.String()
		if t.Reason != "" {
			name += " (" + t.Reason + ")"
		}
		counts[name]++
	}
	var all []string
	for name, n := range counts {
		all = append(all, fmt.Sprintf("%d %s", n, name))
	}
	slices.Sort(all)
	return strings.Join(all, ", ")
}

func (r *rig) tasks() []store.Task {
	r.t.Helper()
	var all []store.Task
	if err := r.st.Rows(context.Background(), store.Filter{}, func(row *store.Row) error {
		if row.Task != nil {
			all = append(all, *row.Task)
		}
		return nil
	}); err != nil {
		r.t.Fatal(err)
	}
	return all
}

func (r *rig) want(states string) {
	r.t.Helper()
	if got := r.states(); got != states {
		r.t.Errorf("%s; want %s", got, states)
	}
	if r.batch.ID != 0 {
		if _, err := r.job.ControlTotals(context.Background(), r.batch); err != nil {
			r.t.Error(err)
		}
	}
}

// onDisk asks the store's file, beside the store, as another process would.
func (r *rig) onDisk(query string, args ...any) string {
	db, err := sql.Open("sqlite3", "file:"+r.path()+"?mode=ro&_busy_timeout=5000")
	if err != nil {
		return err.Error()
	}
	defer db.Close()
	var v sql.NullString
	if err := db.QueryRow(query, args...).Scan(&v); err != nil {
		return err.Error()
	}
	return v.String
}

// exec changes the store's file, beside the store.
func (r *rig) exec(query string, args ...any) {
	r.t.Helper()
	db, err := sql.Open("sqlite3", "file:"+r.path()+"?_busy_timeout=5000")
	if err != nil {
		r.t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec(query, args...); err != nil {
		r.t.Fatal(err)
	}
}

// fakePacer is a vendor's pause, as a transport keeps it.
type fakePacer struct {
	mu    sync.Mutex
	until time.Time
}

func (p *fakePacer) PausedUntil() time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.until
}

func (p *fakePacer) AskedUntil() time.Time { return p.PausedUntil() }

func (p *fakePacer) Pause(until time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.until = until
}

// asked is one call that a fake vendor received.
type asked struct {
	op, who string
	at      time.Time
}

// fake is a vendor that keeps records and jobs. A script, where there is one, comes before
// each call and may fail it; applied says that the call has its effect all the same.
type fake struct {
	name   string
	traits vendors.Traits
	region string        // subjects of another one are skipped; "": anybody's
	skips  string        // an email that this vendor has no use for
	latent time.Duration // how long each call takes
	script func(op string, t *vendors.Target, nth int) (err error, applied bool)

	rig   *rig
	pacer fakePacer

	mu      sync.Mutex
	gone    map[string]bool // identifiers without records
	jobs    map[string]int  // polls so far
	calls   []asked
	flying  int
	most    int // calls in flight at once
	tickets int
	polls   int    // a job is done at this poll
	word    string // what the vendor says of a job that is not
}

func remote(name string) *fake {
	tr := byPreview
	tr.Fields = vendors.SetOf(vendors.Email)
	return &fake{name: name, traits: tr}
}

func jobs(name string, polls int) *fake {
	tr := byPoll
	tr.Fields = vendors.SetOf(vendors.Email)
	tr.GiveUpAfter = 45 * 24 * time.Hour
	return &fake{name: name, traits: tr, polls: polls}
}

func tickets(name string) *fake {
	tr := byPerson
	tr.Fields = vendors.SetOf(vendors.Email)
	return &fake{name: name, traits: tr}
}

// vendor gives the fake the methods of its kind and no others.
func (f *fake) vendor() vendors.Vendor {
	f.gone, f.jobs = orNew(f.gone), orNew(f.jobs)
	if f.traits.Completion == vendors.ByPoll {
		return fakePoller{f}
	}
	return f
}

func orNew[M ~map[K]V, K comparable, V any](m M) M {
	if m == nil {
		m = M{}
	}
	return m
}

type fakePoller struct{ *fake }

func (f *fake) Traits() vendors.Traits { return f.traits }

func (f *fake) Identifiers(s vendors.Subject) (refs []vendors.Ref, why vendors.Reason) {
	if r := s.Get(vendors.Region); r != "" && f.region != "" && r != f.region {
		return nil, vendors.OtherRegion
	}
	if f.skips != "" && s.Get(vendors.Email) == f.skips {
		return nil, vendors.MissingContact
	}
	for n := 0; s.At(vendors.Ref{Field: vendors.Email, Nth: n}) != ""; n++ {
		refs = append(refs, vendors.Ref{Field: vendors.Email, Nth: n})
	}
	if len(refs) == 0 {
		return nil, vendors.NoIdentifier
	}
	return refs, ""
}

// enter notes a call, lets its time pass and asks the script.
func (f *fake) enter(op string, t *vendors.Target) (err error, applied bool) {
	who := t.Identifier()
	f.mu.Lock()
	f.calls = append(f.calls, asked{op, who, time.Now()})
	nth := 0
	for _, c := range f.calls {
		if c.op == op && c.who == who {
			nth++
		}
	}
	f.flying++
	f.most = max(f.most, f.flying)
	f.mu.Unlock()
	if f.latent > 0 {
		time.Sleep(f.latent)
	}
	f.mu.Lock()
	f.flying--
	f.mu.Unlock()
	if who == "" && op != "poll" {
		f.rig.t.Errorf("%s: %s without an identifier", f.name, op)
	}
	if f.script == nil {
		return nil, false
	}
	return f.script(op, t, nth)
}

func (f *fake) Preview(_ context.Context, t *vendors.Target) (vendors.Preview, error) {
	if err, _ := f.enter("preview", t); err != nil {
		return vendors.Preview{}, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.traits.Remote || f.gone[t.Identifier()] {
		return vendors.Preview{}, nil
	}
	return vendors.Preview{Records: 1, Refs: []string{record(t.Identifier())}, Hint: "hint"}, nil
}

// record is the number of the one record that a fake vendor holds of somebody.
func record(who string) string {
	h := fnv.New32()
	h.Write([]byte(strings.ToLower(who)))
	return fmt.Sprint(h.Sum32())
}

func (f *fake) Submit(_ context.Context, t *vendors.Target) (vendors.Receipt, error) {
	if f.traits.Remote && t.Hint != "hint" {
		f.rig.t.Errorf("%s: submit without the preview's hint: %q", f.name, t.Hint)
	}
	err, applied := f.enter("submit", t)
	f.mu.Lock()
	defer f.mu.Unlock()
	if err != nil && !applied {
		return vendors.Receipt{}, err
	}
	f.tickets++
	ref := ""
	switch f.traits.Completion {
	case vendors.ByPreview:
		f.gone[t.Identifier()] = true
	default:
		ref = fmt.Sprintf("%s-%d", f.name, f.tickets)
		f.jobs[ref] = 0
	}
	if err != nil {
		return vendors.Receipt{}, err
	}
	return vendors.Receipt{Reference: ref}, nil
}

func (f fakePoller) Poll(_ context.Context, t *vendors.Target) (vendors.Progress, error) {
	if err, _ := f.enter("poll", t); err != nil {
		return vendors.Progress{}, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, ok := f.jobs[t.Reference]; !ok {
		return vendors.Progress{Job: vendors.JobLost, Status: "unknown"}, nil
	}
	if f.jobs[t.Reference]++; f.jobs[t.Reference] >= f.polls {
		return vendors.Progress{Job: vendors.JobDone, Status: "done"}, nil
	}
	return vendors.Progress{Job: vendors.JobOpen, Status: cmp.Or(f.word, "running")}, nil
}

// count is how many calls of a kind there were, about one person or with "" about all.
func (f *fake) count(op, who string) (n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, c := range f.calls {
		if c.op == op && (who == "" || c.who == who) {
			n++
		}
	}
	return n
}

func (f *fake) all() []asked {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.calls)
}

func failure(kind error) error { return &vendors.Error{Vendor: "v", Op: "op", Kind: kind} }

var errDown = &vendors.Error{Vendor: "fake", Op: "op", Kind: vendors.ErrUnavailable, Err: errors.New("connection reset")}
