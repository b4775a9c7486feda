package batch

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"expunge/batch/decide"
	"expunge/store"
	"expunge/vendors"
	"expunge/vendors/transport"
)

// TestIntentBeforeSubmit: at the moment of the one call that cannot be undone, another
// process sees the intent on disk (invariant 2).
func TestIntentBeforeSubmit(t *testing.T) {
	v := remote("cg")
	v.script = func(op string, _ *vendors.Target, _ int) (error, bool) {
		if op == "submit" {
			if got := v.rig.onDisk(`SELECT state || ' ' || (submitted_at IS NOT NULL) || ' ' || records FROM tasks`); got != "2 1 1" {
				t.Errorf("on disk when the submission leaves: %q, want submitting, with its time and what was seen", got)
			}
		}
		return nil, false
	}
	bubble(t, []*fake{v}, func(r *rig) {
		r.people(1)
		r.work(WorkOptions{})
		r.want("1 erased")
		if v.count("submit", "") != 1 {
			t.Errorf("%d submissions", v.count("submit", ""))
		}
	})
}

// TestReferenceBeforePoll: a reference is on disk before it is used (invariant 3).
func TestReferenceBeforePoll(t *testing.T) {
	v := jobs("vo", 1)
	v.script = func(op string, tg *vendors.Target, _ int) (error, bool) {
		if op == "poll" {
			if got := v.rig.onDisk(`SELECT state || ' ' || reference FROM tasks`); got != "3 "+tg.Reference || tg.Reference == "" {
				t.Errorf("on disk when %q is asked about: %q", tg.Reference, got)
			}
		}
		return nil, false
	}
	bubble(t, []*fake{v}, func(r *rig) {
		r.people(1)
		r.work(WorkOptions{})
		r.want("1 erased")
	})
}

// TestLostReplies: a submission whose reply is lost, applied or not, ends as each vendor's
// rule says, and nothing that a repeat would harm is repeated (invariant 4).
func TestLostReplies(t *testing.T) {
	for _, tt := range []struct {
		name     string
		v        *fake
		applied  bool
		states   string
		submits  int
		evidence store.Evidence
	}{
		{"ask again, applied", remote("v"), true, "1 erased", 1, store.Verified},
		{"ask again, not applied", remote("v"), false, "1 erased", 2, store.Verified},
		{"submit again, applied", jobs("v", 1), true, "1 erased", 2, store.VendorDone},
		{"submit again, not applied", jobs("v", 1), false, "1 erased", 2, store.VendorDone},
		{"a person, applied", tickets("v"), true, "1 held (uncertain_submission)", 1, 0},
		{"a person, not applied", tickets("v"), false, "1 held (uncertain_submission)", 1, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.v.script = func(op string, _ *vendors.Target, nth int) (error, bool) {
				if op == "submit" && nth == 1 {
					return errDown, tt.applied
				}
				return nil, false
			}
			bubble(t, []*fake{tt.v}, func(r *rig) {
				r.people(1)
				r.work(WorkOptions{})
				r.want(tt.states)
				task := r.tasks()[0]
				if tt.v.count("submit", "") != tt.submits || task.Evidence != tt.evidence || task.Uncertain != 1 {
					t.Errorf("%d submissions, evidence %v, uncertain %d", tt.v.count("submit", ""), task.Evidence, task.Uncertain)
				}
			})
		})
	}
}

// TestCrashDuringSubmit: a process that dies between the intent and the outcome, with the
// call made or not, is resumed by the same rules.
func TestCrashDuringSubmit(t *testing.T) {
	for _, tt := range []struct {
		name    string
		v       *fake
		applied bool
		states  string
		submits int // after the crash
	}{
		{"ask again, made", remote("v"), true, "1 erased", 0},
		{"ask again, not made", remote("v"), false, "1 erased", 1},
		{"submit again, made", jobs("v", 1), true, "1 erased", 1},
		{"submit again, not made", jobs("v", 1), false, "1 erased", 1},
		{"a person, made", tickets("v"), true, "1 held (uncertain_submission)", 0},
		{"a person, not made", tickets("v"), false, "1 held (uncertain_submission)", 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, []*fake{tt.v}, func(r *rig) {
				r.people(1)
				task := r.tasks()[0]
				from := task.State
				p := decide.Policy{Traits: tt.v.traits}
				task.PreviewedAt = time.Now()
				if p.Remote {
					task.Records, task.RecordRefs, task.Hint = store.Counted(1), record(person(0)), "hint"
				}
				if err := r.st.Apply(store.Change{From: from, Task: p.Intend(task, nil, time.Now())}); err != nil {
					t.Fatal(err)
				}
				if tt.applied {
					tt.v.gone[person(0)] = true
				}
				time.Sleep(3 * time.Hour)
				r.restart(tt.v)
				r.work(WorkOptions{})
				r.want(tt.states)
				if n := tt.v.count("submit", ""); n != tt.submits {
					t.Errorf("%d submissions after the crash, want %d", n, tt.submits)
				}
			})
		})
	}
}

// TestLanesAreAlone: credentials that are refused stop their own lane, within five calls and
// with nothing spent; the others finish (invariant 11).
func TestLanesAreAlone(t *testing.T) {
	good, bad := remote("good"), remote("bad")
	bad.latent = time.Second
	bad.script = func(string, *vendors.Target, int) (error, bool) { return failure(vendors.ErrAuth), false }
	bubble(t, []*fake{good, bad}, func(r *rig) {
		r.people(30)
		results := r.work(WorkOptions{Wait: true})
		r.want("25 pending, 30 erased, 5 pending (retrying)")
		if n := len(bad.all()); n != 5 {
			t.Errorf("%d calls with credentials that were refused", n)
		}
		for _, task := range r.tasks() {
			if task.State == store.Pending && task.Attempts != 0 {
				t.Fatalf("a task has paid for it: %+v", task)
			}
		}
		for _, res := range results {
			if (res.Name == "bad") != errors.Is(res.Err, vendors.ErrAuth) || !res.Parked.IsZero() {
				t.Errorf("%+v", res)
			}
		}
		// The next run, with credentials that are right, finishes the rest.
		bad.script = nil
		r.restart(good, bad)
		r.work(WorkOptions{})
		r.want("60 erased")
	})
}

// TestCredentialsRefusedAtSubmit: a refusal at the submission itself leaves the task as if
// nothing had been tried, and five of them stop the lane however few people there are.
func TestCredentialsRefusedAtSubmit(t *testing.T) {
	v := tickets("v")
	v.script = func(op string, _ *vendors.Target, _ int) (error, bool) {
		if op == "submit" {
			return failure(vendors.ErrAuth), false
		}
		return nil, false
	}
	bubble(t, []*fake{v}, func(r *rig) {
		r.people(3)
		r.work(WorkOptions{})
		r.want("3 pending (retrying)")
		if n := v.count("submit", ""); n != 5 {
			t.Errorf("%d submissions", n)
		}
		for _, task := range r.tasks() {
			if !task.SubmittedAt.IsZero() || task.Uncertain != 0 || task.Attempts != 0 {
				t.Errorf("%+v", task)
			}
		}
		v.script = nil
		r.restart(v)
		r.work(WorkOptions{})
		r.want("3 waiting")
	})
}

// TestDown: a vendor that is down parks its lane after a few calls, not after all
// attempts of all tasks; the other lane goes on; with --wait the lane finishes when the
// vendor is back.
func TestDown(t *testing.T) {
	for _, wait := range []bool{false, true} {
		t.Run(fmt.Sprintf("wait %v", wait), func(t *testing.T) {
			good, bad := remote("good"), remote("bad")
			bubble(t, []*fake{good, bad}, func(r *rig) {
				r.people(40)
				began := time.Now()
				back := began.Add(2 * time.Hour)
				bad.script = func(string, *vendors.Target, int) (error, bool) {
					if time.Now().Before(back) {
						return errDown, false
					}
					return nil, false
				}
				r.lanes["bad"].MaxAttempts = 8
				results := r.work(WorkOptions{Wait: wait})
				i := slices.IndexFunc(results, func(l LaneResult) bool { return l.Name == "bad" })
				if !wait {
					if results[i].Doubt == nil || results[i].Parked.IsZero() || time.Since(began) > 5*time.Minute {
						t.Errorf("after %v: %+v", time.Since(began), results[i])
					}
					if got := r.states(); !strings.Contains(got, "40 erased") || strings.Contains(got, "failed") {
						t.Errorf("%s", got)
					}
				} else {
					r.want("80 erased")
					if results[i].Doubt != nil {
						t.Errorf("%+v", results[i])
					}
					if late := time.Since(back); late > 30*time.Minute {
						t.Errorf("finished %v after the vendor was back", late)
					}
				}
				down := 0
				for _, c := range bad.all() {
					if c.at.Before(back) {
						down++
					}
				}
				if down > 40 {
					t.Errorf("%d calls to a vendor that is down", down)
				}
				for _, task := range r.tasks() {
					if task.Attempts > 4 {
						t.Errorf("a task has used up %d attempts on it", task.Attempts)
					}
				}
			})
		})
	}
}

// TestPause: while a vendor wants to be left alone nothing is called; what waits costs no
// attempt; a pause that outlasts the run holds for the next one.
func TestPause(t *testing.T) {
	v := remote("v")
	bubble(t, []*fake{v}, func(r *rig) {
		r.people(20)
		began := time.Now()
		var mu sync.Mutex
		var asked, until time.Time
		v.script = func(op string, _ *vendors.Target, _ int) (error, bool) {
			mu.Lock()
			defer mu.Unlock()
			if until.IsZero() && op == "submit" {
				asked = time.Now()
				until = asked.Add(30 * time.Second)
				v.pacer.Pause(until)
				return &vendors.Error{Kind: vendors.ErrRateLimited, RetryAfter: 30 * time.Second}, false
			}
			if time.Now().Before(until) && time.Now().After(asked) { // what left at that instant has left
				t.Errorf("%s %v before the pause ends", op, time.Until(until))
			}
			return nil, false
		}
		r.work(WorkOptions{})
		r.want("20 erased")
		if took := time.Since(began); took < 30*time.Second || took > 40*time.Second {
			t.Errorf("took %v", took)
		}

		// Longer than the run waits.
		long := time.Now().Add(5 * time.Hour)
		v.script = nil
		v.pacer.Pause(long)
		calls := len(v.all())
		results := r.work(WorkOptions{})
		if !results[0].Parked.Equal(long) || results[0].Doubt != nil || len(v.all()) != calls {
			t.Errorf("%+v after %d calls", results[0], len(v.all())-calls)
		}
		v.pacer.Pause(time.Time{}) // a new process knows nothing of it
		r.restart(v)
		if !v.pacer.PausedUntil().Equal(long.Truncate(time.Millisecond)) {
			t.Errorf("the next run: paused until %v, want %v", v.pacer.PausedUntil(), long)
		}
	})
}

// paced is a vendor behind a limiter.
type paced struct {
	*fake
	l *transport.Limiter
}

func (p paced) Preview(ctx context.Context, t *vendors.Target) (vendors.Preview, error) {
	if err := p.l.Wait(ctx); err != nil {
		return vendors.Preview{}, &vendors.Error{Kind: vendors.ErrNotSent, Err: err}
	}
	return p.fake.Preview(ctx, t)
}

// TestQuotaIsNoPause: the quota's end parks a lane, but the vendor asked for nothing: a run
// with a higher limit goes on, and one with the same limit does not.
func TestQuotaIsNoPause(t *testing.T) {
	v := remote("v")
	bubble(t, []*fake{v}, func(r *rig) {
		r.people(5)
		run := func(perDay int64) LaneResult {
			t.Helper()
			known, err := r.st.Vendors(context.Background())
			if err != nil {
				t.Fatal(err)
			}
			l := transport.NewLimiter(transport.LimiterOptions{Rate: vendors.Rate{PerSecond: 50, PerDay: perDay},
				Quota: &store.Quota{S: r.st, Vendor: known[v.name].ID, Limit: perDay}})
			r.lanes[v.name].Vendor, r.lanes[v.name].Pacer = paced{v, l}, l
			if err := r.job.Prepare(context.Background()); err != nil {
				t.Fatal(err)
			}
			result := r.work(WorkOptions{})[0]
			if err := l.Close(context.Background()); err != nil {
				t.Fatal(err)
			}
			r.restart(v)
			return result
		}
		for range 2 {
			if res := run(2); time.Until(res.Parked) < 23*time.Hour || res.Doubt != nil {
				t.Errorf("the quota is used up: %+v", res)
			}
			if n := v.count("preview", ""); n != 2 {
				t.Errorf("%d previews with a quota of 2", n)
			}
			if known, err := r.st.Vendors(context.Background()); err != nil || !known[v.name].PausedUntil.IsZero() {
				t.Errorf("the quota's pause is kept as the vendor's: %v %v", known[v.name].PausedUntil, err)
			}
		}
		if res := run(1000); !res.Parked.IsZero() {
			t.Errorf("with a higher limit: %+v", res)
		}
		r.want("5 erased")
	})
}

// TestHeldBackByUs: a submission that did not leave, since the transport paused it, goes
// back to where it was and is made later.
func TestHeldBackByUs(t *testing.T) {
	v := tickets("v")
	v.script = func(op string, _ *vendors.Target, nth int) (error, bool) {
		if op == "submit" && nth <= 6 {
			v.pacer.Pause(time.Now().Add(5 * time.Second))
			return &vendors.Error{Kind: vendors.ErrNotSent, Err: vendors.ErrPaused}, false
		}
		return nil, false
	}
	bubble(t, []*fake{v}, func(r *rig) {
		r.people(4)
		results := r.work(WorkOptions{})
		r.want("4 waiting")
		for _, task := range r.tasks() {
			if task.Attempts != 0 || task.Uncertain != 0 || task.Reference == "" {
				t.Errorf("%+v", task)
			}
		}
		if results[0].Doubt != nil {
			t.Error("a vendor that is paused counts as down")
		}
	})
}

// TestStoppedIsNotHarmless: an error that says both that the run stops and that a change
// may have happened is uncertain, not a call that never left.
func TestStoppedIsNotHarmless(t *testing.T) {
	v := tickets("v")
	v.script = func(op string, _ *vendors.Target, _ int) (error, bool) {
		if op == "submit" {
			return &vendors.Error{Kind: vendors.ErrUnavailable, Err: vendors.ErrStopped}, true
		}
		return nil, false
	}
	bubble(t, []*fake{v}, func(r *rig) {
		r.people(1)
		r.work(WorkOptions{})
		r.want("1 held (uncertain_submission)")
	})
}

// TestWindow: with --for no call begins after the time is over, and the run ends then.
func TestWindow(t *testing.T) {
	for _, latent := range []time.Duration{600, 650, 700, 750} {
		v := remote("v")
		v.latent = latent * time.Millisecond
		bubble(t, []*fake{v}, func(r *rig) {
			r.people(100)
			began := time.Now()
			r.work(WorkOptions{For: 10 * time.Second, Wait: true})
			if took := time.Since(began); took < 10*time.Second || took > 10*time.Second+v.latent {
				t.Errorf("took %v", took)
			}
			for _, c := range v.all() {
				if c.at.Sub(began) >= 10*time.Second {
					t.Errorf("%s after %v", c.op, c.at.Sub(began))
				}
			}
			if got := r.onDisk(`SELECT count(*) FROM tasks WHERE state = 2`); got != "0" {
				t.Errorf("%s intents without an outcome", got)
			}
			v.latent = 0
			r.restart(v)
			r.work(WorkOptions{})
			r.want("100 erased")
			for i := range 100 {
				if n := v.count("submit", person(i)); n != 1 {
					t.Errorf("%s submitted %d times", person(i), n)
				}
			}
		})
	}
}

// TestLinger: a run waits for what is due soon and leaves the rest; with --wait it stays.
func TestLinger(t *testing.T) {
	for _, tt := range []struct {
		every  time.Duration
		wait   bool
		states string
		took   time.Duration
	}{
		{6 * time.Hour, false, "3 waiting", 0},
		{6 * time.Hour, true, "3 erased", 12 * time.Hour},
		{40 * time.Second, false, "3 erased", 80 * time.Second},
	} {
		t.Run(fmt.Sprint(tt.every, tt.wait), func(t *testing.T) {
			v := jobs("v", 3)
			v.traits.PollEvery = tt.every
			bubble(t, []*fake{v}, func(r *rig) {
				r.people(3)
				began := time.Now()
				r.work(WorkOptions{Wait: tt.wait})
				r.want(tt.states)
				if took := time.Since(began).Truncate(time.Second); took != tt.took {
					t.Errorf("took %v, want %v", took, tt.took)
				}
			})
		})
	}
}

// TestLaterRuns: jobs are found by their references in later processes, and polled when
// their time has come, not before.
func TestLaterRuns(t *testing.T) {
	v := jobs("v", 2)
	v.traits.FirstPoll, v.traits.PollEvery = 24*time.Hour, 6*time.Hour
	bubble(t, []*fake{v}, func(r *rig) {
		r.people(3)
		r.work(WorkOptions{})
		for _, tt := range []struct {
			after  time.Duration
			polls  int
			states string
		}{{23 * time.Hour, 0, "3 waiting"}, {time.Hour, 3, "3 waiting"}, {time.Hour, 3, "3 waiting"}, {6 * time.Hour, 6, "3 erased"}} {
			time.Sleep(tt.after)
			r.restart(v)
			r.work(WorkOptions{})
			r.want(tt.states)
			if n := v.count("poll", ""); n != tt.polls {
				t.Errorf("%d polls, want %d", n, tt.polls)
			}
		}
		if v.count("submit", "") != 3 {
			t.Errorf("%d submissions of 3", v.count("submit", ""))
		}
		for _, task := range r.tasks() {
			if task.Evidence != store.VendorDone || task.Reference == "" {
				t.Errorf("%+v", task)
			}
		}
	})
}

// TestAcceptedIsTakenBack: a task that this run submitted counts as accepted until its job
// ends, also if it was submitted in the very second in which the run began, of which the
// store keeps no fractions. Jobs of earlier runs were never counted.
func TestAcceptedIsTakenBack(t *testing.T) {
	v := jobs("v", 1)
	v.traits.FirstPoll = 10 * time.Second
	bubble(t, []*fake{v}, func(r *rig) {
		r.people(3)
		for _, tt := range []struct {
			linger   time.Duration
			states   string
			accepted int64
		}{{time.Second, "3 waiting", 3}, {time.Minute, "3 erased", 0}} {
			time.Sleep(5 * time.Second)
			r.restart(v)
			r.job.Linger = tt.linger
			r.work(WorkOptions{})
			r.want(tt.states)
			if n := r.lanes["v"].Accepted.Load(); n != tt.accepted {
				t.Errorf("%s: %d accepted, want %d", tt.states, n, tt.accepted)
			}
		}
		time.Sleep(time.Second / 2)
		r.take("subject_id,email\nR-new,new@example.com\n")
		r.work(WorkOptions{})
		if n := r.lanes["v"].Accepted.Load(); n != 0 || r.lanes["v"].Done.Load() != 4 {
			t.Errorf("submitted and erased within a run: %d accepted, %d done", n, r.lanes["v"].Done.Load())
		}
	})
}

// several is a vendor that finds a person's one record by each of three identifiers, and
// refuses to anonymize what is not there.
type several struct {
	*fake
	mu   sync.Mutex
	gone map[string]bool
	busy map[string]string // by person, the identifier of the call that is under way
	met  int               // calls about a person while another identifier's was under way
}

func (s *several) Identifiers(p vendors.Subject) (refs []vendors.Ref, why vendors.Reason) {
	for _, f := range []vendors.Field{vendors.Email, vendors.OtherEmail, vendors.Telephone} {
		refs = append(refs, vendors.Ref{Field: f})
	}
	return refs, ""
}

func (s *several) call(op string, t *vendors.Target, fn func(who string)) {
	who := t.Subject.Get(vendors.Email)
	s.mu.Lock()
	if other := s.busy[who]; other != "" && other != t.Identifier() {
		s.met++
	}
	s.busy[who] = t.Identifier()
	s.mu.Unlock()
	s.enter(op, t)
	s.mu.Lock()
	defer s.mu.Unlock()
	fn(who)
	delete(s.busy, who)
}

func (s *several) Preview(_ context.Context, t *vendors.Target) (pv vendors.Preview, err error) {
	s.call("preview", t, func(who string) {
		if !s.gone[who] {
			pv = vendors.Preview{Records: 1, Refs: []string{record(who)}, Hint: "hint"}
		}
	})
	return pv, nil
}

func (s *several) Submit(_ context.Context, t *vendors.Target) (_ vendors.Receipt, err error) {
	s.call("submit", t, func(who string) {
		if s.gone[who] {
			err = &vendors.Error{Vendor: s.name, Op: "submit", Kind: vendors.ErrRefused}
		}
		s.gone[who] = true
	})
	return vendors.Receipt{}, err
}

// TestSubjectsGoWhole: a subject's identifiers go one after the other, also where a claim
// ended between them.
func TestSubjectsGoWhole(t *testing.T) {
	v := remote("cg")
	v.traits.Fields = vendors.SetOf(vendors.Email, vendors.OtherEmail, vendors.Telephone)
	v.latent = 300 * time.Millisecond
	bubble(t, []*fake{v}, func(r *rig) {
		s := &several{fake: v, gone: map[string]bool{}, busy: map[string]string{}}
		r.lanes["cg"].Vendor, r.lanes["cg"].Concurrency = s, 4 // a claim has ten tasks, a subject three
		var b strings.Builder
		b.WriteString("subject_id,email,other_email,telephone\n")
		for i := range 40 {
			fmt.Fprintf(&b, "R-%03d,a%d@example.com,b%d@example.com,+4670174%04d\n", i, i, i, i)
		}
		r.take(b.String())
		r.work(WorkOptions{})
		r.want("40 erased, 80 not_found")
		if s.met > 0 {
			t.Errorf("%d calls about a person while another identifier's was under way", s.met)
		}
		if v.most < 4 {
			t.Errorf("%d subjects at once, want 4", v.most)
		}
	})
}

// TestStatusIsScrubbed: a vendor's word for a job's status may quote the person; what is
// kept of it does not (invariant 7).
func TestStatusIsScrubbed(t *testing.T) {
	v := jobs("v", 2)
	v.word = "running for Person-000@Example.com"
	bubble(t, []*fake{v}, func(r *rig) {
		r.people(1)
		r.work(WorkOptions{})
		if got := r.tasks()[0].Message; got != "the vendor says: running for […]" {
			t.Errorf("%q", got)
		}
	})
}

// TestDryRun: nothing is submitted, polled or verified, nobody's request is finished, and
// the real run looks again.
func TestDryRun(t *testing.T) {
	v, j := remote("v"), jobs("j", 1)
	bubble(t, []*fake{v, j}, func(r *rig) {
		r.people(20)
		// What earlier runs have left must not be touched either, nor hide what comes after it.
		for i, task := range r.tasks() {
			if i%2 == 1 && i < 28 { // at v
				n := task
				n.State, n.SubmittedAt, n.Ready = store.Submitting, time.Now(), true
				if err := r.st.Apply(store.Change{From: store.Pending, Task: n}); err != nil {
					t.Fatal(err)
				}
			}
		}
		v.gone[person(19)] = true
		time.Sleep(time.Hour)
		r.lanes["v"].PerSecond = 1
		for range 2 {
			r.work(WorkOptions{DryRun: true})
			r.want("1 previewed (nothing_held), 14 submitting, 25 previewed")
		}
		for _, f := range []*fake{v, j} {
			for _, c := range f.all() {
				if c.op != "preview" {
					t.Errorf("%s: %s in a dry run", f.name, c.op)
				}
			}
		}
		if n := v.count("preview", ""); n != 12 {
			t.Errorf("%d previews at v, want two of 6", n)
		}
		r.restart(v, j)
		r.work(WorkOptions{})
		r.want("1 not_found, 39 erased")
	})
}

// TestUrgentFirst: open work is done in the order of due dates, retries among it.
func TestUrgentFirst(t *testing.T) {
	v := remote("v")
	bubble(t, []*fake{v}, func(r *rig) {
		time.Sleep(60 * 24 * time.Hour) // there are dates before today
		var b strings.Builder
		b.WriteString("subject_id,email,received_at\n")
		days := rand.New(rand.NewPCG(3, 4)).Perm(40)
		for i, d := range days {
			fmt.Fprintf(&b, "R-%d,%s,%s\n", i, person(d), time.Now().AddDate(0, 0, d-50).Format(time.DateOnly))
		}
		r.take(b.String())
		r.lanes["v"].Concurrency = 1
		r.work(WorkOptions{})
		var order []string
		for _, c := range v.all() {
			if c.op == "submit" {
				order = append(order, c.who)
			}
		}
		if len(order) != 40 || !slices.IsSorted(order) {
			t.Errorf("%v", order)
		}
	})
}

// TestConcurrency: never more calls in flight than configured, and as many as that.
func TestConcurrency(t *testing.T) {
	v := remote("v")
	v.latent = time.Second
	bubble(t, []*fake{v}, func(r *rig) {
		r.people(50)
		r.lanes["v"].Concurrency = 5
		began := time.Now()
		r.work(WorkOptions{})
		r.want("50 erased")
		if v.most != 5 {
			t.Errorf("%d calls in flight, want 5", v.most)
		}
		// 150 calls of a second each, five at a time.
		if took := time.Since(began); took > 32*time.Second {
			t.Errorf("took %v: workers stood idle", took)
		}
	})
}

// TestCancel: after the run is cancelled no call begins; outcomes of calls in flight are
// saved; nothing is lost or done twice by the next run.
func TestCancel(t *testing.T) {
	for _, after := range []time.Duration{0, 500 * time.Millisecond, 1500 * time.Millisecond, 2500 * time.Millisecond} {
		t.Run(after.String(), func(t *testing.T) {
			v := tickets("v")
			v.latent = time.Second
			bubble(t, []*fake{v}, func(r *rig) {
				r.people(30)
				r.lanes["v"].Concurrency = 4
				ctx, cancel := context.WithCancel(r.t.Context())
				var cancelled time.Time
				stop := time.AfterFunc(after, func() { cancelled = time.Now(); cancel() })
				defer stop.Stop()
				if _, err := r.job.Work(ctx, WorkOptions{}); err != nil {
					t.Fatal(err)
				}
				for _, c := range v.all() {
					if c.at.After(cancelled) {
						t.Errorf("%s %v after the end", c.op, c.at.Sub(cancelled))
					}
				}
				if n, m := r.onDisk(`SELECT count(*) FROM tasks WHERE state = 3 AND reference IS NOT NULL`), v.count("submit", ""); n != fmt.Sprint(m) {
					t.Errorf("%s of %d outcomes saved", n, m)
				}
				v.latent = 0
				r.restart(v)
				r.work(WorkOptions{})
				r.want("30 waiting")
				if v.count("submit", "") != 30 {
					t.Errorf("%d submissions of 30", v.count("submit", ""))
				}
			})
		})
	}
}

// TestPreviewCutShort: a look that the end of the run cuts short costs the task nothing.
func TestPreviewCutShort(t *testing.T) {
	v := remote("v")
	bubble(t, []*fake{v}, func(r *rig) {
		r.people(1)
		ctx, cancel := context.WithCancel(r.t.Context())
		v.script = func(string, *vendors.Target, int) (error, bool) {
			cancel()
			return fmt.Errorf("look: %w", ctx.Err()), false
		}
		r.lanes["v"].MaxAttempts = 1
		if _, err := r.job.Work(ctx, WorkOptions{}); err != nil {
			t.Fatal(err)
		}
		r.want("1 pending")
		if task := r.tasks()[0]; task.Attempts != 0 || !task.Ready {
			t.Errorf("%+v", task)
		}
	})
}

// TestFollowers: people with one identifier are asked about once, and all rows report it.
func TestFollowers(t *testing.T) {
	v := remote("v")
	bubble(t, []*fake{v}, func(r *rig) {
		r.take("subject_id,email\nR-1,SAME@example.com\nR-2,other@example.com\nR-3,same@example.com\nR-4,SAME@example.com\n")
		r.work(WorkOptions{})
		r.want("4 erased")
		if n := v.count("submit", ""); n != 2 {
			t.Errorf("%d submissions for two identifiers", n)
		}
	})
}

// TestSpelledOtherwise: a vendor is asked for an email as it is given and in its normal form. Who
// is given in a third spelling is asked for too, and not taken for answered.
func TestSpelledOtherwise(t *testing.T) {
	bubble(t, []*fake{remote("v")}, func(r *rig) {
		r.take("subject_id,email\nR-1,jane@example.com\nR-2,Jane@Example.com\nR-3,jane@example.com\nR-4,JANE@example.com\nR-5,Jane@Example.com\n")
		var follows []int64
		for _, task := range r.tasks() {
			follows = append(follows, task.Follows/store.TasksPerSubject)
		}
		if d := cmp.Diff([]int64{0, 0, 1, 0, 2}, follows); d != "" {
			t.Error(d)
		}
	})
}

// TestClaimsAreBounded: however long the queue, a lane holds a few seconds' worth of it
// (invariant 12).
func TestClaimsAreBounded(t *testing.T) {
	v := remote("v")
	most := 0
	v.script = func(string, *vendors.Target, int) (error, bool) {
		most = max(most, v.rig.lanes["v"].claims())
		return nil, false
	}
	bubble(t, []*fake{v}, func(r *rig) {
		r.people(400)
		r.lanes["v"].Concurrency = 1
		r.work(WorkOptions{})
		r.want("400 erased")
		if most > 20 { // 2 seconds' worth, and those whose outcome is about to land
			t.Errorf("%d tasks in memory at 5 per second", most)
		}
	})
}

// TestRetriesLandOnce: tasks that fail and come back at once, again and again, while others
// are claimed, are each taken up from where they are, never from where they were: a claim
// from the past ends the run with a conflict.
func TestRetriesLandOnce(t *testing.T) {
	v := remote("v")
	v.script = func(op string, tg *vendors.Target, nth int) (error, bool) {
		if op == "preview" && nth < 20 { // what says nothing of the vendor's health
			return failure(vendors.ErrRateLimited), false
		}
		return nil, false
	}
	bubble(t, []*fake{v}, func(r *rig) {
		r.people(40)
		l := r.lanes["v"]
		l.Retry = vendors.Retry{MaxAttempts: 1000, RetryBase: vendors.Duration(time.Millisecond), RetryCap: vendors.Duration(2 * time.Millisecond)}
		l.Concurrency = 4
		r.work(WorkOptions{})
		r.want("40 erased")
	})
}

// TestWalks: whatever vendors answer, through whole lives of tasks with restarts in
// between, the store takes every change: no decision breaks its table or its schema.
func TestWalks(t *testing.T) {
	for seed := range uint64(12) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			rnd := rand.New(rand.NewPCG(seed, 7))
			var mu sync.Mutex
			chance := func(n int) int { mu.Lock(); defer mu.Unlock(); return rnd.IntN(n) }
			vs := []*fake{remote("ask"), jobs("job", 3), tickets("people")}
			kinds := []error{vendors.ErrNotSent, vendors.ErrRateLimited, vendors.ErrRefused, vendors.ErrUnavailable, vendors.ErrUnreadable}
			for _, v := range vs {
				v.script = func(op string, _ *vendors.Target, _ int) (error, bool) {
					if chance(3) > 0 {
						return nil, false
					}
					err := kinds[chance(len(kinds))]
					// Only what may have had an effect may have had one.
					return failure(err), !vendors.Harmless(err) && chance(2) == 0
				}
			}
			bubble(t, vs, func(r *rig) {
				r.people(12)
				for range 6 {
					r.job.Manual = chance(4) == 0
					r.work(WorkOptions{DryRun: chance(5) == 0, For: []time.Duration{0, 3 * time.Second}[chance(2)]})
					time.Sleep(time.Duration(chance(40)) * time.Hour)
					if chance(2) == 0 {
						if _, err := r.job.Review(r.t.Context(), Selection{}, true, store.Decision{At: time.Now(), Who: "kim"}); err != nil {
							t.Fatal(err)
						}
					}
					r.restart(vs...)
				}
				if _, err := r.job.ControlTotals(r.t.Context(), r.batch); err != nil {
					t.Error(err)
				}
				for _, task := range r.tasks() {
					if task.State == store.Submitting {
						t.Errorf("an intent without an outcome between runs: %+v", task)
					}
				}
			})
		})
	}
}

// TestStoreFailure: when the store takes nothing more, the run ends with its error, and no
// lane goes on calling.
func TestStoreFailure(t *testing.T) {
	v := remote("v")
	v.script = func(op string, _ *vendors.Target, _ int) (error, bool) {
		if op == "preview" && len(v.calls) == 1 {
			// The task moves on behind the run's back: its intent finds another state.
			v.rig.exec(`UPDATE tasks SET state = 5, next_at = NULL`)
		}
		return nil, false
	}
	bubble(t, []*fake{v}, func(r *rig) {
		r.people(50)
		r.lanes["v"].Concurrency = 1
		_, err := r.job.Work(r.t.Context(), WorkOptions{Wait: true})
		if !errors.Is(err, store.ErrConflict) {
			t.Fatalf("%v", err)
		}
		if n := len(v.all()); n != 1 {
			t.Errorf("%d calls", n)
		}
	})
}

// TestControlTotals: a row or a task that is missing or there twice fails the run
// (invariant 1).
func TestControlTotals(t *testing.T) {
	for name, harm := range map[string]string{
		"a task is gone":        `DELETE FROM tasks WHERE id = (SELECT max(id) FROM tasks)`,
		"a task too many":       `INSERT INTO tasks (id, vendor, identifier, state, due_at, next_at) SELECT max(id)+1, vendor, identifier, 0, due_at, 0 FROM tasks`,
		"a subject is gone":     `DELETE FROM subjects WHERE id = (SELECT max(id) FROM subjects)`,
		"a refused row is gone": `DELETE FROM rejects`,
		"a refused row more":    `INSERT INTO rejects SELECT batch, line+100, '', state, reason, message FROM rejects`,
		"nothing":               `SELECT 1`,
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, []*fake{remote("v"), tickets("w")}, func(r *rig) {
				b := r.take("subject_id,email\nR-1,a@example.com\nR-2,no address\nR-3,c@example.com\n")
				r.exec(harm)
				totals, err := r.job.ControlTotals(r.t.Context(), b)
				if name == "nothing" {
					if err != nil || totals.Tasks != 4 || totals.Open() != 4 || totals.Overdue != 0 {
						t.Errorf("%+v %v", totals, err)
					}
					time.Sleep(40 * 24 * time.Hour)
					if totals, err = r.job.ControlTotals(r.t.Context(), b); err != nil || totals.Overdue != 4 {
						t.Errorf("40 days later: %+v %v", totals, err)
					}
					return
				}
				if !errors.Is(err, ErrUnbalanced) {
					t.Errorf("not noticed: %v", err)
				}
			})
		})
	}
}

// TestOnly: a run narrowed to a vendor leaves the others alone.
func TestOnly(t *testing.T) {
	a, b := remote("a"), remote("b")
	bubble(t, []*fake{a, b}, func(r *rig) {
		r.people(5)
		r.work(WorkOptions{Only: []string{"b"}})
		r.want("5 erased, 5 pending")
		if len(a.all()) != 0 {
			t.Errorf("%d calls at the other", len(a.all()))
		}
	})
}

// That the account has shown somebody is on disk before anybody is erased there: after kill -9
// it is what proves the place for the last of them, whom the vendor does not hold.
func TestSightBeforeErasure(t *testing.T) {
	v := remote("one")
	v.script = func(op string, _ *vendors.Target, _ int) (error, bool) {
		if got := v.rig.onDisk(`SELECT seen_others_at IS NOT NULL FROM vendors WHERE name = 'one'`); op == "submit" && got != "1" {
			v.rig.t.Errorf("a submission leaves with the sight of others stored: %q", got)
		}
		return nil, false
	}
	bubble(t, []*fake{v}, func(r *rig) {
		r.people(3)
		r.work(WorkOptions{})
		if v.count("submit", "") == 0 && v.count("submit", person(1)) == 0 {
			t.Error("nothing was submitted")
		}
	})
}
