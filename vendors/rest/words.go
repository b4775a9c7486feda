package rest

import "expunge/vendors"

// word is one of the few words that a key takes, and what it means.
type word struct{ is, doc string }

// words are the words by the name of their key. Load check, help page and JSON Schema are made
// from it.
var words = map[string][]word{
	"known_by": {
		{vendors.Email.String(), "an email"},
		{vendors.OtherEmail.String(), "a further email; most recipes that take email take this one too"},
		{vendors.Telephone.String(), "a telephone number, as in +12025550143"},
		{vendors.OtherTelephone.String(), "a further telephone number"},
		{vendors.CustomerKey.String(), "a key of yours, a row may have several"},
		{vendors.AccountNumber.String(), "an account number"},
	},
	"method": {
		{"GET", "asks; has no body"},
		{"POST", "its body is json or form, as of the next three"},
		{"PUT", "replaces something"},
		{"PATCH", "changes something"},
		{"DELETE", "takes something away"},
	},
	"means": {
		{"auth", "the credentials are not accepted; surely nothing was done"},
		{"slow_down", "too many requests; surely nothing was done"},
		{"refused", "the vendor refused this person; surely nothing was done"},
		{"unavailable", "tried again later; an erasure may have happened"},
		{"unreadable", "says nothing; an erasure may have happened"},
	},
	"each": {
		{eachIdentifier, "one call by {identifier}; the default"},
		{eachRecord, "one call for each {record} of the look-up"},
	},
	"by": {
		{byPreview, "looked up again until nobody is found"},
		{byStatus, "the job says so; where there is a preview, the person is looked up after that"},
		{byAnswer, "the accepted answer itself says that it is done"},
		{byPerson, "somebody confirms it: accepted is not done, and nobody can be asked"},
	},
	"uncertain": {
		{ask, "look again, and send again what is still there"},
		{repeat, "send again: twice does no harm, see why"},
		{hold, "a person decides; the default"},
	},
	"act": {
		{"remove", "nothing is left of the records"},
		{"anonymize", "records stay and lead to nobody"},
		{"pseudonymize", "records stay, and who has the key finds the person"},
	},
	"from": {
		{"docs", "copied from the vendor's pages"},
		{"recorded", "as the vendor itself answered"},
		{madeUp, "by you; check tells how many are"},
	},
	"of": {
		{ofPreview, "what preview.request asks"},
		{ofErase, "what erase.request asks"},
		{ofStatus, "what status.request asks"},
	},
	"gives": {
		{"none", "of preview: nobody is found"},
		{"1 record", "of preview; also 2 records, and so on"},
		{"held", "of preview: found, and a person must decide (somebody else's, too many, a total that disagrees)"},
		{"accepted", "of erase: a rule of accepted applies"},
		{"done", "of erase with done.by answer; of status: one of words.done"},
		{"open", "of status: one of words.open"},
		{"unknown", "of status: a word that is not below words; asked again, and a person is told"},
		{"failed", "of status: one of words.failed"},
		{"lost", "of status: a rule of lost applies"},
		{"refused", "see WHAT AN ANSWER MEANS, as for the words below"},
		{"address", "no such address"},
		{"unavailable", "tried again"},
		{"unreadable", "an answer that the recipe does not describe"},
		{"auth", "the credentials are not accepted"},
		{"slow_down", "too many requests"},
	},
}

// wordsOf are the words of a key.
func wordsOf(key string) []string {
	var all []string
	for _, w := range words[key] {
		all = append(all, w.is)
	}
	return all
}
