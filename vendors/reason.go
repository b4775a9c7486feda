package vendors

// Reason is a code from the closed list of reasons that a report gives. The ones that a
// vendor can give stand here, all of them with their explanations in package batch.
type Reason string

// Reasons that vendors give.
const (
	NoIdentifier       Reason = "no_identifier"        // skipped: nothing of the subject's is known to this vendor
	OtherRegion        Reason = "other_region"         // skipped: the subject's region is another account's
	MissingContact     Reason = "missing_contact"      // skipped: Acqueon needs a telephone or an email besides the account number
	SomebodyElse       Reason = "somebody_else"        // held: a record that matches belongs to another person
	UnknownOwner       Reason = "unknown_owner"        // held: a record that matches does not say whose it is
	TooManyRecords     Reason = "too_many_records"     // held: more records match than max_records
	KeyLooksLikeEmail  Reason = "key_looks_like_email" // warning: Voyado advises against such keys
	MalformedKey       Reason = "malformed_key"        // held: the identifier cannot be what the vendor knows
	InconsistentAnswer Reason = "inconsistent_answer"  // held: the total and the records of a preview disagree
	ControlRecord      Reason = "control_record"       // invalid, or held: the identifier is the control record's, which is never erased
	NoAgent            Reason = "no_agent"             // held: neither the row nor the config names the agent who raises the request
)

// FirstDoubt returns the one of two doubts about a preview that a person should hear of
// first, "" for two that are none.
func FirstDoubt(a, b Reason) Reason {
	for _, r := range []Reason{SomebodyElse, InconsistentAnswer, TooManyRecords, UnknownOwner} {
		if a == r || b == r {
			return r
		}
	}
	return ""
}
