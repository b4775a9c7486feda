package store

import "fmt"

// State is where a task stands. The numbers are stored (table states names them); states
// from Erased on are final.
type State uint8

const (
	// Pending: nothing sent yet, or a retry is scheduled. In: intake, a retry, an approval,
	// an uncertain submission that is asked or made again. Out: a preview's outcome.
	// After a crash: simply done again, since previews change nothing.
	Pending State = 0
	// Previewed: the vendor was asked and the answer is what we expect. In: a dry run, or a
	// preview that outlived its hour. Out: a newer preview, or the intent to submit.
	Previewed State = 1
	// Submitting: the intent to submit is on disk; the call may or may not have left. In:
	// the intent's commit. Out: the call's outcome. After a crash: the outcome is unknown,
	// and the vendor's rule says what follows.
	Submitting State = 2
	// Waiting: the vendor accepted; its job or its people do the rest. Out: a poll's answer,
	// a confirmation. After a crash: polled by its reference, which is on disk.
	Waiting State = 3
	// Verifying: the vendor says done; we have yet to see it. After a crash: looked at again.
	Verifying State = 4
	// Held: a person must decide. Out: review, confirm.
	Held State = 5
	// Erased: done, and verified where the vendor can be asked.
	Erased State = 6
	// NotFound: the vendor holds nothing for this identifier.
	NotFound State = 7
	// Skipped: the subject has no identifier for this vendor.
	Skipped State = 8
	// Failed: the vendor refused for good, or all attempts are used up. Out: a person retries
	// it, closes it (see Task.Settled), or says that it was finished by hand.
	Failed State = 9
)

var stateNames = [...]string{"pending", "previewed", "submitting", "waiting", "verifying", "held",
	"erased", "not_found", "skipped", "failed"}

// States lists all states, in the order in which status and totals show them.
func States() []State {
	all := make([]State, len(stateNames))
	for i := range all {
		all[i] = State(i)
	}
	return all
}

func (s State) String() string {
	if int(s) < len(stateNames) {
		return stateNames[s]
	}
	return fmt.Sprintf("state(%d)", uint8(s))
}

// Final reports whether nothing more happens to a task in this state by itself.
func (s State) Final() bool { return s >= Erased }

// Settled reports whether nothing is to be done about the task any more: it is final, and,
// if it failed, a person has closed it.
func (t *Task) Settled() bool { return t.State.Final() && (t.State != Failed || !t.ClosedAt.IsZero()) }

// sqlUnsettled is the condition that a row of tasks is not settled.
const sqlUnsettled = `(state < 6 OR state = 9 AND closed_at IS NULL)`

// transitions is the one table of what may follow what. A pair with equal ends is a step
// that leaves the state as it is (a retry scheduled, a poll that found the job open).
// The store's trigger holds the same table (migrations, tested to be equal).
//
// Skipped is entered only at intake. A failed task is left only by a person's word: retried,
// closed, or finished by hand. No other final state is left.
var transitions = map[State][]State{
	Pending:    {Pending, Previewed, Submitting, Erased, NotFound, Held, Failed},
	Previewed:  {Previewed, Pending, Submitting, Erased, NotFound, Held, Failed},
	Submitting: {Pending, Waiting, Verifying, Held, Erased, Failed},
	Waiting:    {Waiting, Pending, Verifying, Held, Erased, Failed},
	Verifying:  {Verifying, Pending, Held, Erased, Failed},
	Held:       {Pending, Waiting, Verifying, Erased, Failed},
	Failed:     {Failed, Pending, Held, Erased},
}

// MayFollow reports whether a task may go from one state to the other.
func MayFollow(from, to State) bool {
	for _, s := range transitions[from] {
		if s == to {
			return true
		}
	}
	return false
}

// Evidence is what an outcome rests on: an erasure, or that nothing was found.
type Evidence uint8

const (
	NoEvidence  Evidence = 0
	Verified    Evidence = 1 // erased: we looked again and it is gone, having seen it before
	VendorDone  Evidence = 2 // erased: the vendor's job says so
	Confirmed   Evidence = 3 // a person says so: that it is erased, or that the place is the right one
	ControlSeen Evidence = 4 // not found: the control record was seen around that time
	OthersSeen  Evidence = 5 // not found: only other people's records were
)

var evidenceNames = [...]string{"", "verified", "vendor_done", "confirmed", "control", "others"}

func (e Evidence) String() string {
	if int(e) < len(evidenceNames) {
		return evidenceNames[e]
	}
	return fmt.Sprintf("evidence(%d)", uint8(e))
}
