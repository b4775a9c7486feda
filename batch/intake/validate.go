package intake

import (
	"cmp"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"expunge/vendors"
)

// Limits of one row, in bytes where not said otherwise.
const (
	maxSubjectID  = 128
	maxIdentifier = 256  // a key, a number of an account, call or agent
	maxText       = 4096 // a name or a comment
	maxLocal      = 64   // an address's part before the @ (RFC 5321, 4.5.3.1.1)
	maxDomain     = 255  // and after it (4.5.3.1.2)
	maxKeys       = 100  // customer keys of one row
	minDigits     = 5    // of a telephone number
	maxDigits     = 20   // E.164 has 15; room for a prefix of 00 and an extension
)

var earliest = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

// emailProblem says why text is no email address that could be sent to a vendor and match,
// or "". It is stricter than RFC 5322, which allows comments, quotes and addresses in
// brackets: an address like that in a list of people is a slip.
func emailProblem(text string) string {
	at := strings.IndexByte(text, '@')
	switch {
	case at <= 0 || at == len(text)-1:
		return cmp.Or(noValueProblem(text), markProblem(text), "is not an address such as name@example.com")
	case text[0] == '\'' || text[0] == '=' || text[0] == '`': // RFC 5322 allows them, and no person has them
		return markProblem(text)
	case at > maxLocal || len(text)-at-1 > maxDomain:
		return "is too long for an address"
	}
	if p := dottedProblem(text[:at], &localBytes, isLocal); p != "" {
		return p
	}
	domain := text[at+1:]
	if p := dottedProblem(domain, &domainBytes, isDomain); p != "" {
		return p
	}
	dot := strings.LastIndexByte(domain, '.')
	if dot < 0 {
		return "has no dot in its domain"
	}
	if isDigits(domain[dot+1:]) {
		return "has a number for a domain"
	}
	for from := 0; from < len(domain); {
		label := domain[from:]
		if i := strings.IndexByte(label, '.'); i >= 0 {
			label = label[:i]
		}
		if len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return "has a domain that cannot exist"
		}
		from += len(label) + 1
	}
	return ""
}

// dottedProblem checks words of allowed characters with single dots between them: ASCII by
// the table, the rest by the function.
func dottedProblem(text string, ascii *[utf8.RuneSelf]bool, other func(r rune) bool) string {
	last := byte('.')
	for i := range len(text) {
		c := text[i]
		if c == '.' && last == '.' {
			return "has a dot where none may be"
		}
		if c >= utf8.RuneSelf || c != '.' && !ascii[c] {
			return strangeProblem(text, ascii, other)
		}
		last = c
	}
	if last == '.' {
		return "has a dot where none may be"
	}
	return ""
}

// strangeProblem is dottedProblem for text with characters that are not in its table.
func strangeProblem(text string, ascii *[utf8.RuneSelf]bool, other func(r rune) bool) string {
	if p := lookAlike(text); p != "" {
		return p
	}
	last := '.'
	for _, r := range text {
		switch {
		case r == '.':
			if last == '.' {
				return "has a dot where none may be"
			}
		case r < utf8.RuneSelf && ascii[r], r >= utf8.RuneSelf && other(r):
		case r == '@', r == ';', r == ',':
			return "must be one address only: a second one goes into other_email"
		case r == '<', r == '>':
			return "must be the address alone, without a name or brackets"
		case r == ' ':
			return "holds a space"
		case r == '"':
			return "holds a quote: leave it out"
		default:
			return "holds a character that no address has"
		}
		last = r
	}
	if last == '.' {
		return "has a dot where none may be"
	}
	return ""
}

// localBytes: RFC 5322 atext. domainBytes: letters, digits, hyphens; an underscore has no
// place in a mail domain.
var localBytes, domainBytes = func() (local, domain [utf8.RuneSelf]bool) {
	for c := range byte(utf8.RuneSelf) {
		domain[c] = isAlnum(c) || c == '-'
		local[c] = isAlnum(c) || strings.IndexByte("!#$%&'*+-/=?^_`{|}~", c) >= 0
	}
	return local, domain
}()

// isLocal: what else RFC 6532 adds to atext, but for what cannot be seen.
func isLocal(r rune) bool { return unicode.IsPrint(r) && r != utf8.RuneError }

// isDomain: letters and digits of any script (RFC 5890).
func isDomain(r rune) bool { return unicode.In(r, unicode.Letter, unicode.Mark, unicode.Digit) }

func isAlnum(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
}

func isDigits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return s != ""
}

// telephoneProblem says why text is no telephone number, or "". Whether the number is given
// out by a carrier is not asked: that is the vendor's answer to give.
func telephoneProblem(text string) string {
	if decimals(text) {
		return "has the decimals of a spreadsheet: format the column as text"
	}
	digits, zeros := 0, 0
	for i := range len(text) {
		switch c := text[i]; c {
		case ' ', '-', '(', ')', '.', '/':
		case '+':
			if digits > 0 || strings.IndexByte(text[i+1:], '+') >= 0 {
				return "has a + inside the number"
			}
		case 'e', 'E':
			if digits > 0 && isDigits(strings.TrimLeft(text[i+1:], "+")) {
				return "is in the scientific notation of a spreadsheet: format the column as text"
			}
			return notTelephone(text)
		default:
			if c < '0' || c > '9' {
				return notTelephone(text)
			}
			if digits++; c == '0' {
				zeros++
			}
		}
	}
	if digits == zeros {
		return noValueProblem(text)
	}
	if digits < minDigits || digits > maxDigits {
		return "must have 5 to 20 digits"
	}
	return ""
}

func notTelephone(text string) string {
	return cmp.Or(noValueProblem(text), markProblem(text), lookAlike(text), "may hold only digits, spaces and + - ( ) . /")
}

// decimals reports whether a program that took text for a number gave it decimals, as in
// 12025550100.0: a digit more, and the number may be somebody else's. Dots between groups
// of digits are more than one, or stand before a longer group.
func decimals(text string) bool {
	whole, part, ok := strings.Cut(strings.TrimPrefix(text, "+"), ".")
	return ok && isDigits(whole) && isDigits(part) && (len(part) <= 2 || strings.Trim(part, "0") == "")
}

// international reports whether a telephone number says its country.
func international(text string) bool {
	text = strings.TrimLeft(text, " (")
	return strings.HasPrefix(text, "+") || strings.HasPrefix(text, "00")
}

// textProblem says why text is no name or comment, or "".
func textProblem(text string) string {
	if len(text) > maxText {
		return "is longer than 4096 bytes"
	}
	for i, r := range text {
		if (r < ' ' || r >= 0x7f) && unicode.IsControl(r) && strings.IndexByte("\n\r\t", text[i]) < 0 {
			return "holds a control character"
		}
	}
	return ""
}

// subjectIDProblem says why id cannot stand in reports and logs as the number of a request,
// or "". rec is the rest of its row, trimmed.
func subjectIDProblem(id string, rec *record) string {
	if len(id) > maxSubjectID {
		return "is longer than 128 bytes"
	}
	if p := identifierProblem(id); p != "" {
		return p
	}
	const personal = "must be the number of the request, not the person's own "
	switch {
	case strings.IndexByte(id, '@') >= 0:
		return personal + "email"
	case isTelephone(id) && (looksLikeTelephone(id) || sameDigits(id, rec.Telephone) || sameDigits(id, rec.OtherTelephone)):
		return personal + "telephone"
	case rec.CustomerName != "" && strings.EqualFold(id, rec.CustomerName):
		return personal + "name"
	}
	return ""
}

// SubjectIDProblem says why text cannot be the number of a request, or "". It quotes nothing of it.
func SubjectIDProblem(text string) string { return subjectIDProblem(text, &record{}) }

// isTelephone is asked of every subject_id, most of which have a letter.
func isTelephone(text string) bool {
	for i := range len(text) {
		if c := text[i]; (c < '0' || c > '9') && strings.IndexByte(" -()./+", c) < 0 {
			return false
		}
	}
	return telephoneProblem(text) == ""
}

// looksLikeTelephone tells a telephone number from the number of a request. Plain digits
// and years with hyphens are what ticket systems count in, so only what those do not have
// counts: a leading +, 00 or 0 before a long number, brackets, or the groups of an American number.
func looksLikeTelephone(id string) bool {
	var digits int
	for i := range len(id) {
		if '0' <= id[i] && id[i] <= '9' {
			digits++
		}
	}
	if digits < 7 {
		return false
	}
	groups := strings.FieldsFunc(strings.TrimPrefix(id, "1-"), func(r rune) bool { return r < '0' || r > '9' })
	american := len(groups) == 3 && len(groups[0]) == 3 && len(groups[1]) == 3 && len(groups[2]) == 4
	zeros := len(id) - len(strings.TrimLeft(id, "0")) // more than two are the padding of a counter
	return american || strings.ContainsAny(id, "+(") || strings.IndexByte(id, ' ') > 0 ||
		(zeros == 1 || zeros == 2) && digits >= 9
}

func sameDigits(id, telephone string) bool {
	return telephone != "" && vendors.Digits(id) == vendors.Digits(telephone)
}

// vendorNames reads the vendors column. known maps each name, and each name in lower case,
// to the configured one.
func vendorNames(text string, known map[string]string) ([]string, bool) {
	var names []string
	for name := range strings.SplitSeq(text, ";") {
		name = strings.TrimSpace(name)
		if name == "" {
			continue
		}
		configured, ok := known[name]
		if !ok {
			configured, ok = known[strings.ToLower(name)]
		}
		if !ok {
			return nil, false
		}
		names = append(names, configured)
	}
	slices.Sort(names)
	return slices.Compact(names), len(names) > 0
}

// Limits of a channel's name, in characters. A telephone has more digits.
const (
	maxChannel       = 32
	maxChannelDigits = 3
)

// ChannelProblem says why text is no name of a channel such as "web form", or "". It is kept in clear, so it
// must be neither an address nor a telephone.
func ChannelProblem(text string) string {
	length, digits := 0, 0
	for _, r := range text {
		length++
		switch {
		case unicode.IsDigit(r):
			digits++
		case !unicode.In(r, unicode.Letter, unicode.Mark) && !strings.ContainsRune(" -_/.,:&+()'", r):
			return "holds a sign that no name of a channel has"
		}
	}
	switch {
	case length > maxChannel:
		return "is longer than 32 letters"
	case digits > maxChannelDigits:
		return "has more than three digits"
	}
	return ""
}
