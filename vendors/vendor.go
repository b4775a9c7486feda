package vendors

import (
	"context"
	"errors"
	"io"
	"strings"
	"time"
)

// Vendor is one configured account at a vendor. All methods are safe for concurrent use;
// the caller bounds the concurrency and the transport the rate.
type Vendor interface {
	// Traits says how this vendor works. It never changes.
	Traits() Traits

	// Identifiers lists by which of the subject's values this vendor knows the person:
	// one task each, in report order. None means that the task is skipped, for the reason
	// given. It calls nobody.
	Identifiers(s Subject) ([]Ref, Reason)

	// Preview looks at what the vendor holds for the target and changes nothing, ever.
	// A vendor that cannot be asked (Traits.Remote is false) checks what it is about to
	// send and reports no records. No match is a Preview with Records == 0, not an error.
	// The same call verifies an erasure: then the target must match nothing.
	Preview(ctx context.Context, t *Target) (Preview, error)

	// Submit makes the one call that asks the vendor to anonymize or remove. It cannot be
	// undone and is never repeated by the vendor itself. An error that is Harmless says that
	// the vendor did nothing; after any other the call may or may not have had its effect, and
	// Traits.Uncertain says what to do.
	Submit(ctx context.Context, t *Target) (Receipt, error)
}

// Poller is a vendor whose submission is a job that can be asked about
// (Traits.Completion == ByPoll).
type Poller interface {
	// Poll asks once, by t.Reference. A job that is still open is a value, not an error.
	Poll(ctx context.Context, t *Target) (Progress, error)
}

// Checker is a vendor that can test its place and credentials without changing or looking
// up anything about a person.
type Checker interface {
	// Check makes the cheapest call that shows that credentials are accepted. Warnings are
	// sentences for the operator: agreements that are missing, versions near their end.
	Check(ctx context.Context) (warnings []string, err error)
}

// Exporter is a vendor that hands out what it holds about a target, as a zip. It is asked
// for before the target is removed.
type Exporter interface {
	// Exports says whether and how exports are made. It never changes.
	Exports() Exports

	// CreateExport asks for an export. It makes a job and changes nothing that the vendor
	// holds, so that after an uncertain outcome it is simply made again: a second job does
	// no harm.
	CreateExport(ctx context.Context, t *Target) (Receipt, error)

	// PollExport asks once about the job t.Reference. It needs no identifier.
	PollExport(ctx context.Context, t *Target) (Progress, error)

	// FetchExport writes the result of the job t.Reference, which is done, to w. It needs no
	// identifier. The vendor may forget the result once it was delivered: what w has got and
	// not kept is lost. After an error w may have got a part.
	FetchExport(ctx context.Context, t *Target, w io.Writer) error
}

// Exports is how a vendor's exports are made.
type Exports struct {
	Mode        ExportMode
	Dir         string        // where results are kept, encrypted
	Recipients  []string      // the age public keys that they are encrypted to
	FetchWithin time.Duration // from done: how long a result can be fetched
}

// ExportMode says what an export means for the removal after it. Its text is false, true or
// required.
type ExportMode uint8

const (
	NoExport       ExportMode = iota // none is made
	ExportFirst                      // the removal follows once the export job was accepted
	ExportRequired                   // the removal follows once the export is in our hands, and not without it
)

var exportModes = [...]string{"false", "true", "required"}

func (m ExportMode) String() string {
	if int(m) < len(exportModes) {
		return exportModes[m]
	}
	return ""
}

// UnmarshalText implements encoding.TextUnmarshaler.
func (m *ExportMode) UnmarshalText(text []byte) error {
	for i, word := range exportModes {
		if strings.EqualFold(word, string(text)) {
			*m = ExportMode(i)
			return nil
		}
	}
	return errors.New("must be false, true or required")
}

// Readier is a vendor whose submissions can leave only while something outside is there,
// such as a page that a person keeps open.
//
// A vendor that holds something open besides (connections, a listener) is an io.Closer
// too, and closed once after its last call.
type Readier interface {
	// Ready returns nil when a submission can leave. It is called before the intent to
	// submit is recorded, so that a wait leaves no open outcome behind if the program ends
	// in it. Its errors are of kind ErrNotSent, with ErrStopped or an *AwaitError.
	Ready(ctx context.Context) error
}

// Overhearer is a vendor on a bus that others use too, where a response does not say which
// request it answers.
type Overhearer interface {
	// Unsolicited waits until no response has come for a short while after the last answer,
	// or for the end of ctx, and returns how many responses came that nobody waited for since
	// the vendor was opened. Where the number has grown, the references of all submissions
	// that were answered from the given time on (by Options.Now) may be others'.
	Unsolicited(ctx context.Context) (n uint64, since time.Time)
}

// Target is one subject at one vendor by one identifier, as a call needs it.
type Target struct {
	Ref       Ref     // which of the subject's values the task is about
	Subject   Subject // everything the vendor needs (Traits.Fields), in clear
	Hint      string  // what the last Preview returned as Hint
	Reference string  // what Submit returned, for Poll
	Control   bool    // this is Traits.Control itself: it is looked at and never submitted

	ReceivedAt time.Time // when the request was received; zero for the control record
}

// Identifier returns the clear value that the task is about.
func (t *Target) Identifier() string { return t.Subject.At(t.Ref) }

// Traits are the fixed properties of a vendor.
type Traits struct {
	Kind string // customergauge, voyado, acqueon

	// Place is where the account is: the kind, the host, and what of the account is no secret
	// (PlaceOf). Vendors with equal places are one account, unless SharedPlace: then nothing
	// that is no secret tells accounts at this place apart.
	Place       string
	SharedPlace bool

	Act Act // what a submission asks the vendor to do

	// Control is the control record that the config names, to be looked up with Preview; nil:
	// none, or the vendor cannot be asked.
	Control *Target

	Remote     bool       // Preview asks the vendor: the erasure can be verified
	Completion Completion // what ends a submission that was accepted
	Uncertain  Uncertain  // what a submission without an answer leads to
	FailedEnds bool       // ByPoll: a job that failed is not made anew, though a lost one may be (Uncertain)
	Fields     FieldSet   // what of the subject the vendor needs: kept until the task is final

	// Untried says that what is known of the vendor was never tried at the vendor itself: every
	// task is held, until a person has seen one work at this place and says so.
	Untried bool

	// Besides lists the fields of a subject that a call's outcome depends on besides the
	// identifier, by the identifier's class (see Normal). Two subjects with the same
	// identifier share one call only if these fields are equal too: otherwise one of them
	// would be held, refused or called erased because of what is known of the other.
	Besides map[Field]FieldSet

	VerifyAfter    time.Duration // ByPreview: from acceptance to the first look
	VerifyPatience time.Duration // ByPreview: still there after this long is a failure
	FirstPoll      time.Duration // ByPoll: from acceptance to the first poll
	PollEvery      time.Duration // ByPoll
	GiveUpAfter    time.Duration // ByPoll: still open after this long is held; 0: never
	LeadTime       time.Duration // how long an erasure takes at the vendor at the least: makes a task at_risk

	// What stays and what goes, for the report's readers.
	Anonymizes []string
	Keeps      []string
	NotShown   string // whom the look-up does not show, in words; "": it shows all
	HowKnown   string // one sentence: what "erased" rests on at this vendor
	LookUp     string // ByPerson: how people find a request at the vendor whose id is not known
}

// Act is what a vendor does with what it holds of a person. It is a report's column, and
// never says more than the vendor does.
type Act string

// The acts.
const (
	Anonymize    Act = "anonymize"    // values are replaced, the record stays
	Remove       Act = "remove"       // the record goes
	Pseudonymize Act = "pseudonymize" // values are masked in part: some of them stays
)

// Done says in words what became of a person's data when the act is done.
func (a Act) Done() string {
	switch a {
	case Anonymize:
		return "anonymized"
	case Remove:
		return "removed"
	case Pseudonymize:
		return "pseudonymized: masked in part"
	}
	return ""
}

// Completion says what ends a submission that the vendor accepted.
type Completion uint8

const (
	ByPreview Completion = iota + 1 // done at once; look again and see nothing: evidence verified
	ByPoll                          // a job that says when it is done: evidence vendor_done
	ByPerson                        // a person at the vendor acts; a confirmation says so: evidence confirmed
)

// Uncertain says what follows a submission whose outcome is unknown (a crash, a lost
// reply).
type Uncertain uint8

const (
	AskAgain      Uncertain = iota + 1 // preview tells whether it happened
	SubmitAgain                        // a repeated submission is harmless
	HoldForPerson                      // a repetition would do harm: a person decides
)

// Preview is what the vendor holds for a target.
type Preview struct {
	Records int      // how many records match
	Refs    []string // the vendor's numbers of these records, sorted; never personal data
	Doubt   Reason   // not "": these may not be the subject's records, a person must look
	Warning Reason   // not "": worth telling, stops nothing
	Hint    string   // opaque, without personal data: given back to Submit and to later Previews
}

// Receipt is the vendor's acceptance of a submission.
type Receipt struct {
	Reference string // the vendor's id for what was submitted; "" where it gives none
	Done      bool   // the acceptance is the vendor's word that all is gone: nothing follows
	Warning   Reason
}

// Progress is what a vendor says of a job.
type Progress struct {
	Job    Job
	Status string // the vendor's own word, cleaned for display
}

// Job is the state of a vendor's job.
type Job uint8

const (
	JobOpen    Job = iota + 1 // accepted, waiting or running
	JobDone                   // all is gone
	JobFailed                 // the vendor says that the job failed
	JobLost                   // the vendor knows no such job
	JobUnknown                // a status that we do not know: the job stays open, the word is reported
)
