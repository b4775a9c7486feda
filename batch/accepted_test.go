package batch

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"expunge/batch/decide"
	"expunge/store"
	"expunge/vendors"
)

// lose loses the answer to every request about the first person. It arrives all the same.
func lose(op string, tg *vendors.Target, _ int) (error, bool) {
	if op == "submit" && strings.EqualFold(tg.Identifier(), person(0)) {
		return errDown, true
	}
	return nil, false
}

// TestAccepted: a request that did arrive, as a person found, is recorded under the vendor's
// reference without being sent again, and a confirmation finishes it, for everybody who has
// the identifier. Without that it could only be raised twice or be reported as failed.
func TestAccepted(t *testing.T) {
	v := tickets("acqueon")
	v.script = lose
	bubble(t, []*fake{v}, func(r *rig) {
		r.take("subject_id,email\nR-1," + strings.ToUpper(person(0)) + "\nR-2," + person(0) + "\n")
		r.work(WorkOptions{})
		r.want("2 held (uncertain_submission)")
		lead, follower := r.tasks()[0], r.tasks()[1]
		if !lead.Leads || follower.Follows != lead.ID {
			t.Fatalf("%+v, %+v", lead, follower)
		}
		time.Sleep(time.Hour)
		d := store.Decision{At: time.Now(), Who: "kim", Note: "seen in the list, of " + person(0)}
		if err := r.job.Accepted(context.Background(), follower.ID, "acqueon-1", d); err != nil {
			t.Fatal(err)
		}
		r.want("2 waiting")
		for _, task := range r.tasks() {
			if task.Reference != "acqueon-1" || task.Uncertain != 0 || task.Message != "" || task.Ready || !task.SubmittedAt.Equal(lead.SubmittedAt) {
				t.Errorf("%+v", task)
			}
		}
		if got := r.onDisk(`SELECT group_concat(who || ' ' || action || ' ' || task || ' ' || reason || ': ' || note, '|') FROM decisions`); got != "kim approve 1000 uncertain_submission: seen in the list, of […]" {
			t.Errorf("recorded: %s", got)
		}
		if err := r.job.Accepted(context.Background(), lead.ID, "acqueon-1", d); !errors.Is(err, ErrNotHeld) {
			t.Errorf("once more: %v", err)
		}

		time.Sleep(24 * time.Hour)
		r.work(WorkOptions{})
		r.want("2 waiting")
		got, err := r.confirm("vendor,reference,completed_at\nacqueon,acqueon-1," + time.Now().Format(time.RFC3339) + "\n")
		if diff := cmp.Diff([]ConfirmResult{{Line: 2}}, got); diff != "" || err != nil {
			t.Error(diff, err)
		}
		r.want("2 erased")
		for _, task := range r.tasks() {
			if task.Evidence != store.Confirmed || task.Reference != "acqueon-1" {
				t.Errorf("%+v", task)
			}
		}
		if n := v.count("submit", ""); n != 1 {
			t.Errorf("%d requests, want the one that arrived", n)
		}
	})
}

// TestAcceptedRefused: what a person says is recorded only where it can be true. A reference
// of another task would let one confirmation stand for two people.
func TestAcceptedRefused(t *testing.T) {
	v, other, j := tickets("acqueon"), tickets("second"), jobs("voyado", 1)
	v.script, other.script, j.script = lose, lose, lose
	j.traits.Uncertain = vendors.HoldForPerson // and yet nobody reads its jobs' ids
	bubble(t, []*fake{v, other, j}, func(r *rig) {
		r.lanes["acqueon"].Concurrency = 1
		r.people(3)
		r.work(WorkOptions{})
		at := map[string]store.Task{}
		names := map[int64]string{r.lanes["acqueon"].id: "acqueon", r.lanes["second"].id: "second", r.lanes["voyado"].id: "voyado"}
		for _, task := range r.tasks() {
			if task.State == store.Held {
				at[names[task.Vendor]] = task
			}
		}
		// Of two others one had another reference before, one is held for another reason.
		var had, doubted store.Task
		for _, task := range r.tasks() {
			switch {
			case task.Vendor != r.lanes["acqueon"].id || task.State == store.Held:
			case had.ID == 0:
				had = task
				had.State, had.Ready = store.Pending, true
				r.apply(store.Waiting, had)
				had.State, had.Ready, had.SubmittedAt = store.Submitting, true, time.Now()
				r.apply(store.Pending, had)
				had.State, had.Ready, had.Reference = store.Waiting, false, "acqueon-new-1"
				r.apply(store.Submitting, had)
				had = task // with its former reference
			default:
				doubted = task
				doubted.State, doubted.Reason, doubted.Message, doubted.Ready, doubted.NextAt = store.Held, string(decide.UnknownOutcome), "", false, time.Time{}
				r.apply(store.Waiting, doubted)
			}
		}
		before := r.tasks()
		for _, tt := range []struct {
			name      string
			task      int64
			reference string
			want      error
		}{
			{"none", at["acqueon"].ID, "", ErrNoReference},
			{"too long", at["acqueon"].ID, strings.Repeat("1", 65), ErrNoReference},
			{"odd", at["acqueon"].ID, "10089 or so", ErrNoReference},
			{"the person", at["acqueon"].ID, person(0), ErrNoReference},
			{"another task's", at["acqueon"].ID, "acqueon-new-1", ErrReferenceTaken},
			{"another task's before", at["acqueon"].ID, had.Reference, ErrReferenceTaken},
			{"another reason", doubted.ID, "acqueon-77", ErrNotUncertain},
			{"a vendor of jobs", at["voyado"].ID, "job-77", ErrNotUncertain},
			{"not held", had.ID, "acqueon-77", ErrNotHeld},
			{"no task", 999_000, "acqueon-77", store.ErrUnknown},
		} {
			err := r.job.Accepted(context.Background(), tt.task, tt.reference, store.Decision{At: time.Now(), Who: "kim"})
			if !errors.Is(err, tt.want) {
				t.Errorf("%s: %v, want %v", tt.name, err, tt.want)
			}
			if err != nil && tt.reference != "" && strings.Contains(err.Error(), tt.reference) {
				t.Errorf("%s: the error quotes what was typed: %v", tt.name, err)
			}
		}
		if diff := cmp.Diff(before, r.tasks()); diff != "" {
			t.Error(diff)
		}
		if n := r.onDisk(`SELECT count(*) FROM decisions`); n != "0" {
			t.Errorf("%s decisions recorded", n)
		}

		// References are a vendor's own: another's may be the same.
		if err := r.job.Accepted(context.Background(), at["second"].ID, had.Reference, store.Decision{At: time.Now(), Who: "kim"}); err != nil {
			t.Error(err)
		}
	})
}

// A vendor that is not configured any more says nothing of who reads its references.
func TestAcceptedWithoutVendor(t *testing.T) {
	v := tickets("acqueon")
	v.script = lose
	bubble(t, []*fake{v}, func(r *rig) {
		r.people(1)
		r.work(WorkOptions{})
		r.use(tickets("second"))
		if err := r.job.Accepted(context.Background(), r.tasks()[0].ID, "acqueon-1", store.Decision{At: time.Now(), Who: "kim"}); !errors.Is(err, ErrNoVendor) {
			t.Error(err)
		}
	})
}

func (r *rig) apply(from store.State, task store.Task) {
	r.t.Helper()
	if err := r.st.Apply(store.Change{From: from, Task: task}); err != nil {
		r.t.Fatal(err)
	}
}
