package decide

import (
	"maps"

	"expunge/vendors"
)

// Reasons that a decision gives, besides those of the vendors.
const (
	NothingHeld         vendors.Reason = "nothing_held"
	PreviewChanged      vendors.Reason = "preview_changed"
	ApprovalRequired    vendors.Reason = "approval_required"
	UncertainSubmission vendors.Reason = "uncertain_submission"
	UnknownOutcome      vendors.Reason = "unknown_outcome"
	Refused             vendors.Reason = "refused"
	AttemptsExhausted   vendors.Reason = "attempts_exhausted"
	NotPermitted        vendors.Reason = "not_permitted"
	StillPresent        vendors.Reason = "still_present"
	NotDoneInTime       vendors.Reason = "not_done_in_time"
	JobFailed           vendors.Reason = "job_failed"
	JobLost             vendors.Reason = "job_lost"
	UnknownStatus       vendors.Reason = "unknown_status"
	NoStatus            vendors.Reason = "no_status"
	ReferenceInDoubt    vendors.Reason = "reference_in_doubt"
	Unproved            vendors.Reason = "unproved"
	Retrying            vendors.Reason = "retrying"
	Rejected            vendors.Reason = "rejected"
	Declined            vendors.Reason = "declined"
	Closed              vendors.Reason = "closed"
	ExportOpen          vendors.Reason = "export_open"
	ExportFailed        vendors.Reason = "export_failed"
	ExportExpired       vendors.Reason = "export_expired"
)

var ownReasons = map[vendors.Reason]string{
	NothingHeld:         "the vendor was asked and holds nothing for this identifier",
	PreviewChanged:      "held: the vendor shows more or other records than at the preview before",
	ApprovalRequired:    "held: every preview needs an approval (approval: manual, or a recipe that was never tried)",
	UncertainSubmission: "held: the request may or may not have reached the vendor, and repeating it would do harm",
	UnknownOutcome:      "held: submitted, and all attempts to learn the outcome are used up",
	Refused:             "failed: the vendor refused the request, twice, and accepted others",
	AttemptsExhausted:   "failed: all attempts are used up, nothing was submitted",
	NotPermitted:        "held: the vendor answers 401 or 403 for this person, and accepts others",
	StillPresent:        "held: the vendor accepted, and still shows the records after verify_patience",
	NotDoneInTime:       "held: the vendor's job is not done after give_up_after",
	JobFailed:           "failed: the vendor's job failed, and again where it could be made anew",
	JobLost:             "held: the vendor does not know the job that it gave us, nor one made anew",
	UnknownStatus:       "open: the vendor reports a status that expunge does not know",
	NoStatus:            "open: the vendor has not told the status of its job, max_attempts times in a row; it is asked on",
	ReferenceInDoubt:    "held: the vendor's reference may be another request's",
	Unproved:            "open: the vendor shows nothing, and nothing shows that the account is the right one; the next run looks again",
	Retrying:            "open: the last call did not succeed, another is scheduled",
	Rejected:            "failed: a person rejected the erasure",
	Declined:            "failed: the vendor's people declined the request",
	Closed:              "failed: a person closed it",
	ExportOpen:          "open: waits for the export that comes before it",
	ExportFailed:        "held: the export that must come before it has failed (export: required)",
	ExportExpired:       "of an export: it was not fetched in the time in which the vendor keeps it",
}

var vendorReasons = map[vendors.Reason]string{
	vendors.NoIdentifier:       "skipped: the subject has no identifier that this vendor knows",
	vendors.OtherRegion:        "skipped: the subject's region is another account's",
	vendors.MissingContact:     "skipped: the vendor needs a telephone or an email besides the account number",
	vendors.SomebodyElse:       "held: a record that matches belongs to somebody else",
	vendors.UnknownOwner:       "held: a record that matches does not say whose it is",
	vendors.TooManyRecords:     "held: more records match than max_records allows",
	vendors.KeyLooksLikeEmail:  "a warning: the customer key looks like an email, which the vendor advises against",
	vendors.MalformedKey:       "held: the identifier cannot be one of this vendor's",
	vendors.InconsistentAnswer: "held: the vendor's total and its records disagree",
	vendors.ControlRecord:      "held: the identifier is that of the vendor's control record, which is never erased; a row that comes with it is refused as invalid",
	vendors.NoAgent:            "held: neither the row nor the config names an agent",
}

// Reasons explains the codes of decisions and of vendors.
func Reasons() map[vendors.Reason]string {
	all := maps.Clone(ownReasons)
	maps.Copy(all, vendorReasons)
	return all
}
