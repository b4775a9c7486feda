package intake

import "expunge/vendors"

// Reasons for which a row of the input is not taken in. The list is closed: Reasons
// explains every one of them.
const (
	RaggedRow          vendors.Reason = "ragged_row"
	BadQuotes          vendors.Reason = "bad_quotes"
	NotUTF8            vendors.Reason = "not_utf8"
	MissingSubjectID   vendors.Reason = "missing_subject_id"
	BadSubjectID       vendors.Reason = "bad_subject_id"
	NoIdentifiers      vendors.Reason = "no_identifiers"
	BadEmail           vendors.Reason = "bad_email"
	BadTelephone       vendors.Reason = "bad_telephone"
	BadIdentifier      vendors.Reason = "bad_identifier"
	BadText            vendors.Reason = "bad_text"
	BadDate            vendors.Reason = "bad_date"
	BadChannel         vendors.Reason = "bad_channel"
	UnknownVendor      vendors.Reason = "unknown_vendor"
	UnknownRegion      vendors.Reason = "unknown_region"
	TooManyIdentifiers vendors.Reason = "too_many_identifiers"

	// Found by the store, which knows the rows before this one.
	RepeatedSubjectID    vendors.Reason = "repeated_subject_id"
	ConflictingSubjectID vendors.Reason = "conflicting_subject_id"
	AlreadyTakenIn       vendors.Reason = "already_taken_in"
	TasksAdded           vendors.Reason = "tasks_added"
)

// Reasons explains each reason code of this package in a sentence, for the documentation
// and for report readers.
var Reasons = map[vendors.Reason]string{
	RaggedRow:            "the row has more or fewer cells than the header",
	BadQuotes:            "a double quote stands where CSV does not allow one",
	NotUTF8:              "the row is not UTF-8 text: the message says which encoding it looks like",
	MissingSubjectID:     "the row has no subject_id",
	BadSubjectID:         "the subject_id is no value, has a mark of a spreadsheet, is too long, holds control characters, or is itself an email address, a telephone number or the person's name",
	NoIdentifiers:        "the row has no email, telephone, customer key or account number, or none that a vendor which it is for can use",
	BadEmail:             "an email is not an address such as name@example.com",
	BadTelephone:         "a telephone is not a number of 5 to 20 digits",
	BadIdentifier:        "a key or number is no value (NULL, n/a, 0), has a mark of a spreadsheet, or is too long or holds characters that cannot be part of it",
	BadText:              "a name or comment is longer than 4096 bytes or holds control characters",
	BadDate:              "received_at is not a date such as 2026-11-01 or 2026-11-01T09:30:00Z (or in date_format), or lies in the future or before 2000",
	BadChannel:           "channel is no name such as web form: it is longer than 32 letters, has more than three digits, or other signs",
	UnknownVendor:        "vendors names one that is not configured",
	UnknownRegion:        "region is that of no configured account",
	TooManyIdentifiers:   "the row has more than 100 customer keys",
	RepeatedSubjectID:    "an earlier row of this file has the same subject_id and the same content",
	ConflictingSubjectID: "an earlier row has the same subject_id with other content",
	AlreadyTakenIn:       "an earlier file had the same row, or a row with this subject_id that has been purged",
	TasksAdded:           "an earlier file had the same request, without some of the vendors: their tasks have been added to it",
}
