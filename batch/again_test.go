package batch

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"expunge/batch/intake"
	"expunge/store"
	"expunge/vendors"
)

// give takes in a text as a file, by the rig's present vendors.
func (r *rig) give(text string) (b store.Batch, again bool) {
	r.t.Helper()
	b, again, err := TakeIn(context.Background(), r.st, r.job.Lanes, r.input(r.write("subjects.csv", text)))
	if err != nil {
		r.t.Fatal(err)
	}
	r.batch = store.Batch{}
	return b, again
}

// balanced checks the control totals of every batch.
func (r *rig) balanced() {
	r.t.Helper()
	all, err := r.st.Batches(context.Background())
	if err != nil {
		r.t.Fatal(err)
	}
	for _, b := range all {
		if _, err := r.job.ControlTotals(context.Background(), b); err != nil {
			r.t.Error(err)
		}
	}
}

// TestVendorAdded: the same file, given again since a vendor was added to the config, adds
// that vendor's tasks, also to requests that are finished; given once more it changes
// nothing.
func TestVendorAdded(t *testing.T) {
	v, w := remote("v"), tickets("w")
	bubble(t, []*fake{v, w}, func(r *rig) {
		const people = "subject_id,email\nR-1,a@example.com\nR-2,b@example.com\n"
		both := r.job.Lanes
		r.job.Lanes = both[:1]
		r.give(people)
		r.work(WorkOptions{})
		r.want("2 erased")
		if _, again := r.give(people); !again {
			t.Error("the same file, with nothing changed, is new")
		}
		r.job.Lanes = both
		b, again := r.give(people)
		if got := totalsOf(b); again || b.Added != 2 || got != "2 rows = 0 subjects + 0 invalid + 2 duplicates" {
			t.Errorf("again %v, %d added, %s", again, b.Added, got)
		}
		r.balanced()
		r.work(WorkOptions{})
		r.want("2 erased, 2 waiting")
		if _, again := r.give(people); !again {
			t.Error("given once more it is new")
		}
		if w.tickets != 2 {
			t.Errorf("%d tickets at the added vendor", w.tickets)
		}
	})
}

// TestOtherVendorsLater: a ticket that comes back for another vendor is asked there, with
// the identifier that only the new row had in clear.
func TestOtherVendorsLater(t *testing.T) {
	v, w := remote("v"), tickets("w")
	bubble(t, []*fake{v, w}, func(r *rig) {
		r.give("subject_id,email,vendors\nR-1,a@example.com,v\n")
		r.work(WorkOptions{})
		r.give("subject_id,email,vendors\nR-1,a@example.com,w\n")
		r.work(WorkOptions{})
		r.want("1 erased, 1 waiting")
		r.balanced()
		if w.tickets != 1 || w.calls[0].who != "a@example.com" {
			t.Errorf("%v", w.calls)
		}
		// Of a finished request the masked form tells another person.
		b, _ := r.give("subject_id,email,vendors\nR-1,other@example.net,w\n")
		if got := totalsOf(b); got != "1 rows = 0 subjects + 1 invalid + 0 duplicates" {
			t.Errorf("other identifiers: %s", got)
		}
	})
}

// TestUnknownRegion: a region that no account has is a slip, and not a reason to pass over
// a person; the corrected row is new. One that another account has is skipped here.
func TestUnknownRegion(t *testing.T) {
	eu, us := remote("eu"), remote("us")
	eu.region, us.region = "eu", "us"
	bubble(t, []*fake{eu, us, tickets("w")}, func(r *rig) {
		b, _ := r.give("subject_id,email,region\nR-1,a@example.com,EMEA\nR-2,b@example.com,us\n")
		if got := totalsOf(b); got != "2 rows = 1 subjects + 1 invalid + 0 duplicates" {
			t.Errorf("%s", got)
		}
		if got := r.onDisk(`SELECT reason || ': ' || message FROM rejects`); got != "unknown_region: region is that of no configured account of p" {
			t.Errorf("%s", got)
		}
		b, _ = r.give("subject_id,email,region\nR-1,a@example.com,eu\n")
		if got := totalsOf(b); got != "1 rows = 1 subjects + 0 invalid + 0 duplicates" {
			t.Errorf("corrected: %s", got)
		}
		// A row that is for other vendors only has no account to be at.
		b, _ = r.give("subject_id,email,region,vendors\nR-3,c@example.com,EMEA,w\n")
		if got := totalsOf(b); got != "1 rows = 1 subjects + 0 invalid + 0 duplicates" {
			t.Errorf("where no region counts: %s", got)
		}
		r.work(WorkOptions{})
		r.want("2 erased, 2 skipped (other_region), 3 waiting")
		// The region is corrected once the request is there.
		b, _ = r.give("subject_id,email,region\nR-2,b@example.com,eu\n")
		if b.Added != 1 {
			t.Errorf("another region: %d added, %s", b.Added, totalsOf(b))
		}
		r.balanced()
		r.work(WorkOptions{})
		r.want("1 skipped (other_region), 3 erased, 3 waiting")
	})
}

// TestNobodyCanServe: a row that no vendor which it is for can use is refused, with what
// each of them says: skipped everywhere is no answer to a request.
func TestNobodyCanServe(t *testing.T) {
	w := tickets("w")
	w.skips = "c@example.com"
	bubble(t, []*fake{remote("v"), w}, func(r *rig) {
		b, _ := r.give("subject_id,email,customer_key,vendors\nR-1,,K-1,\nR-2,b@example.com,,\nR-3,c@example.com,,w\nR-4,c@example.com,,\n")
		if got := totalsOf(b); got != "4 rows = 2 subjects + 2 invalid + 0 duplicates" {
			t.Errorf("%s", got)
		}
		var got []string
		next := r.st.Rejects(context.Background(), b.ID)
		for {
			rej, ok, err := next()
			if err != nil {
				t.Fatal(err)
			}
			if !ok {
				break
			}
			if rej.Reason != string(intake.NoIdentifiers) {
				t.Errorf("%+v", rej)
			}
			got = append(got, rej.Message)
		}
		want := "no vendor that the row is for can use what it has: v no_identifier, w no_identifier\n" +
			"no vendor that the row is for can use what it has: w missing_contact"
		if text := strings.Join(got, "\n"); text != want {
			t.Errorf("%s", text)
		}
	})
}

// TestOneTicketForTwoNights: one person in two nightly files under two tickets leads to one
// request at a vendor whose requests must not be repeated, and both end with it.
func TestOneTicketForTwoNights(t *testing.T) {
	w := tickets("w")
	bubble(t, []*fake{w}, func(r *rig) {
		for n := range 3 {
			r.give(fmt.Sprintf("subject_id,email\nR-%d,Jane@example.com\nS-%d,p%d@example.com\n", n, n, n))
			r.work(WorkOptions{})
			time.Sleep(24 * time.Hour)
		}
		r.want("6 waiting")
		if w.tickets != 4 {
			t.Errorf("%d tickets for 4 people", w.tickets)
		}
		jane := r.onDisk(`SELECT reference FROM reference_list WHERE task = 1000`)
		file := "vendor,reference,completed_at\nw," + jane + ",2000-01-04\n"
		if got, err := r.confirm(file); err != nil || len(got) != 1 || got[0].Problem != "" {
			t.Errorf("%+v %v", got, err)
		}
		r.want("3 erased, 3 waiting")
		// From now on nobody follows her: what is finished answers for no later request.
		r.give("subject_id,email\nR-9,jane@example.com\n")
		r.work(WorkOptions{})
		if w.tickets != 5 {
			t.Errorf("%d tickets after the end", w.tickets)
		}
	})
}

// TestConfirmedBeforeReceived: what people had finished before a later request came in is no
// answer to it: that request is raised by itself.
func TestConfirmedBeforeReceived(t *testing.T) {
	w := tickets("w")
	bubble(t, []*fake{w}, func(r *rig) {
		for n := range 4 {
			r.give(fmt.Sprintf("subject_id,email\nR-%d,jane@example.com\n", n))
			r.work(WorkOptions{})
			time.Sleep(24 * time.Hour)
		}
		r.want("4 waiting")
		file := "vendor,reference,completed_at\nw," + r.onDisk(`SELECT reference FROM reference_list WHERE task = 1000`) + ",2000-01-02\n"
		if got, err := r.confirm(file); err != nil || len(got) != 1 || got[0].Problem != "" {
			t.Errorf("%+v %v", got, err)
		}
		r.want("2 erased, 2 pending")
		r.work(WorkOptions{})
		r.want("2 erased, 2 waiting")
		if w.tickets != 2 {
			t.Errorf("%d tickets", w.tickets)
		}
		if got := r.onDisk(`SELECT action || ' ' || task || ' ' || note FROM decisions WHERE action <> 'confirm'`); got != "retry 3000 what was confirmed had been done before this request was received" {
			t.Errorf("recorded: %s", got)
		}
		// The line once more is about the first two alone.
		if got, err := r.confirm(file); err != nil || len(got) != 1 || !got[0].Again {
			t.Errorf("%+v %v", got, err)
		}
		r.want("2 erased, 2 waiting")
		r.balanced()
	})
}

// TestOtherPersonDoesNotFollow: what an outcome rests on besides the identifier decides over
// files too.
func TestOtherPersonDoesNotFollow(t *testing.T) {
	w := tickets("w")
	w.traits.Fields = vendors.SetOf(vendors.Email, vendors.AgentID)
	w.traits.Besides = map[vendors.Field]vendors.FieldSet{vendors.Email: vendors.SetOf(vendors.AgentID)}
	bubble(t, []*fake{w}, func(r *rig) {
		r.give("subject_id,email,agent_id\nR-1,a@example.com,7\n")
		r.give("subject_id,email,agent_id\nR-2,a@example.com,8\n")
		r.give("subject_id,email,agent_id\nR-3,a@example.com,7\n")
		r.work(WorkOptions{})
		if w.tickets != 2 {
			t.Errorf("%d tickets", w.tickets)
		}
	})
}

// TestColumnsMended: a file that was read with a wrong mapping is read again when the mapping
// has changed.
func TestColumnsMended(t *testing.T) {
	bubble(t, []*fake{remote("v")}, func(r *rig) {
		const people = "subject_id,mail,old\nR-1,a@example.com,nobody\n"
		in := r.input(r.write("subjects.csv", people))
		in.Reading.Columns = map[string]string{"email": "old"}
		b, _, err := TakeIn(context.Background(), r.st, r.job.Lanes, in)
		if err != nil || b.Invalid != 1 {
			t.Fatal(b, err)
		}
		in.Reading.Columns = map[string]string{"email": "mail"}
		b, again, err := TakeIn(context.Background(), r.st, r.job.Lanes, in)
		if err != nil || again || b.Subjects != 1 {
			t.Errorf("again %v, %+v, %v", again, b, err)
		}
	})
}

// TestFailedIsLogged: a task that fails has a line in the log that is there by default, and
// says nothing of the person.
func TestFailedIsLogged(t *testing.T) {
	v := remote("v")
	v.script = func(_ string, tg *vendors.Target, _ int) (error, bool) {
		if tg.Identifier() == "b@example.com" {
			return failure(vendors.ErrRefused), false
		}
		return nil, false
	}
	bubble(t, []*fake{v}, func(r *rig) {
		r.lanes["v"].Concurrency = 1
		r.give("subject_id,email\nR-1,a@example.com\nR-2,b@example.com\nR-3,c@example.com\n")
		r.work(WorkOptions{Wait: true})
		r.want("1 failed (refused), 2 erased")
		log := r.log.String()
		if want := `level=WARN msg="failed: a person must retry or close it" vendor=v task=2000 reason=refused`; strings.Count(log, want) != 1 || strings.Contains(log, "b@example") {
			t.Errorf("%s", log)
		}
	})
}
