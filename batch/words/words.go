// Package words is what may be kept and shown of a text from outside: of a vendor's answer,
// of an error, of a note that somebody wrote. Such a text may quote the person it is about,
// in any spelling, cut or encoded; what is kept must not.
package words

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"expunge/vendors"
)

const (
	maxRead = 4 << 10 // bytes of a vendor's text that are looked at
	elided  = "[…]"   // stands where something was left out
)

// Vendor returns what of a vendor's text is fit to be kept and shown: words that error
// messages are made of (a closed list), and numbers of up to three digits between them.
//
// The list says what is kept, because no list of what is left out can be complete: a vendor
// may quote the identifier cut, reversed, encoded or in another script. A quotation made of
// listed words alone would be kept; where such a word is among the subject's own values
// (somebody called Page), that word is left out too.
func Vendor(text string, s vendors.Subject) string {
	if len(text) > maxRead {
		text = text[:maxRead]
	}
	own := ownWords(s)
	words := strings.FieldsFunc(strings.ToValidUTF8(text, " "), func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) })
	var out []string
	for i, w := range words {
		switch {
		case isPlainWord(w, own), isLone(words, i, own):
			out = append(out, w)
		case len(out) == 0 || out[len(out)-1] != elided:
			out = append(out, elided)
		}
	}
	return Clip(strings.Join(out, " "))
}

// Note is what is kept of a note that a person of ours wrote about subjects, given in
// their stored form: they were asked to name nobody, and may have done so.
func Note(note string, about ...[]byte) string {
	var all vendors.Subject
	for _, plain := range about {
		if s, err := vendors.ParseSubject(plain); err == nil {
			all = append(all, s...)
		}
	}
	return scrub(note, all)
}

func isPlainWord(word string, own map[string]bool) bool {
	word = bare(word)
	if len(word) < 2 || own[word] {
		return false
	}
	for part := range strings.FieldsFuncSeq(word, func(r rune) bool { return strings.ContainsRune("-_/'", r) }) {
		if !plainWords[part] || own[part] {
			return false
		}
	}
	return true
}

// isLone reports whether the ith word is a short number or a single letter between plain
// words. Numbers in a row may be a telephone number in groups, letters in a row a name.
func isLone(words []string, i int, own map[string]bool) bool {
	word := bare(words[i])
	short := word == "a" || word != "" && len(word) <= 3 && strings.Trim(word, "0123456789") == ""
	return short && !own[word] && len(words) > 1 &&
		(i == 0 || isPlainWord(words[i-1], own)) && (i == len(words)-1 || isPlainWord(words[i+1], own))
}

// bare is a word without the punctuation around it, in lower case.
func bare(word string) string { return strings.ToLower(strings.Trim(word, `.,:;!?'"()`)) }

// ownWords are the words and numbers that the subject's values are made of, in lower case.
// Comments are prose, and would take every common word with them.
func ownWords(s vendors.Subject) map[string]bool {
	own := map[string]bool{}
	for _, v := range s {
		if v.Field == vendors.Comments || v.Field == vendors.Region || v.Masked {
			continue
		}
		for w := range strings.FieldsFuncSeq(strings.ToLower(v.Text), func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) }) {
			if utf8.RuneCountInString(w) >= 2 {
				own[w] = true
			}
		}
	}
	return own
}

// plainWords are the words of error messages that are kept. No name of a person or a place
// is among them, nor a month.
var plainWords = func() map[string]bool {
	all := map[string]bool{}
	for w := range strings.FieldsSeq(`
a about above accept accepted access account accounts action active address after again agent all allowed already also
an and anonymization anonymize anonymized another answer any api application apply archive archived are argument
arguments as asked at attempt attempts auth authentication authorization authorized available
back bad be because been before being below between blocked body both but by
call called calls can cancelled cannot canceled cause certificate change changed channel characters check client closed
cluster code column completed condition configuration configured conflict connect connection contact contacts contain
contains content could create created credentials customer customers customerkey
daily data database date day days deactivated deadline dead debug deleted denied detail details did different disabled
do does documentation done down due duplicate during
each either email emails empty enable enabled encountered end endpoint error errors event exceeded exception exceptions
exist existing exists expected expired expires export external
fail failed failure failures fault field fields file filter finished first for forbidden format found from full
gateway generic given got granted
had handle has have header held here host hour hours http https
id identifier identifiers if ignored illegal in inactive incoming incomplete incorrect information input insufficient
internal into invalid is issue it its
jid job jobs json
key keys known
large last later least left length less limit limited limits line lines list locked log logged login long lookup lost
made maintenance make malformed many match matched matches matching maximum message messages method minimum minute
minutes mismatch missing mode modified moment more most moved much multiple must
name need needed network never new next no none not nothing now null number numbers
object of off offline ok older on once one only open operation or order other our out outage over own
page parameter parameters parse parsed password pattern paused payload pending per permission permissions permitted phone
please policy possible post present previous problem proceed process processed processing provide provided proxy
query queue queued quota
range rate reached read ready reason received record records redirect reference refused region reject rejected
released remove removal removed repeat request requested requests require required reset resource resources response
restricted result results resumed retry return returned role row running
same schema scope secret second seconds security see sent server servers service session set several shall should since
size slow some something source specified started state status still stop stopped storage string subject submitted
subtopic succeeded success successful such suitable support supported suspended syntax system
table target telephone temporarily temporary terminated than that the their them then there these they this those
throttled through time timed timeout times to token tokens too topic total transaction try type
unable unauthorized unavailable under unexpected unfinished unique unknown unprocessable unreachable unsupported until
unusable up update updated upstream url us use used user username users using
valid validation value values version via violation
wait waiting was we web webservice were what when where which while with within without write wrong
you your xml yet zero zone
aborted aborting archiving assigned canceling cancelling delayed delivered deleting deferred expiring exported exporting
finishing frozen hold initialized partial partially postponed prepared preparing queuing removing retrying scheduled
starting stopping stuck submitting succeeding verified verifying`) {
		all[w] = true
	}
	return all
}()
