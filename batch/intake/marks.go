package intake

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// What programs and people leave in cells that is no identifier, or is one in other
// characters than its vendor has: a vendor that is asked to remove it removes nothing, and
// says that it is done.

// noValues are the words that stand where there is no value, in small letters, without
// brackets. A word that can be a person's own is not among them.
var noValues = map[string]bool{}

func init() {
	for _, w := range strings.Fields(`null nil none nan na n/a n.a n.a. undefined undef unknown missing empty blank void not-set notset n.v n.v. k.a k.a. \n
 unbekannt leer keine kein inconnu inconnue aucun aucune néant onbekend geen leeg okänd saknas ingen inget ukendt mangler ukjent desconocido ninguno ninguna vacío
 sconosciuto nessuno nessuna vuoto nieznany nieznane brak tuntematon puuttuu tyhjä
 #n/a #n/d #nv #nd #null #value #ref #name #num #wert #bezug #zahl #nom #nombre #valeur #valor #getal #waarde #verw`) {
		noValues[w] = true
	}
}

// noValueProblem says that text stands for no value at all, or "". Who has looked at the
// characters knows that text with a digit other than 0 is one.
func noValueProblem(text string) string {
	const what = ": leave the cell empty"
	zero, sign := false, true
	for _, r := range text {
		zero = zero || r == '0'
		sign = sign && (r == '0' || !unicode.IsLetter(r) && !unicode.IsNumber(r))
	}
	switch {
	case sign && zero:
		return "is all zeros, which is no value" + what
	case sign:
		return "holds neither a letter nor a digit, so it is no value" + what
	}
	if len(text) > 40 {
		return "" // longer than any such word
	}
	word := strings.ToLower(strings.Trim(text, "()<>[]{}'\" "))
	if strings.HasPrefix(word, "#") {
		word = strings.TrimRight(word, "!?")
	}
	if noValues[word] {
		return fmt.Sprintf("is %q, which is no value", word) + what
	}
	if strings.HasPrefix(text, "#") && strings.HasSuffix(text, "!") {
		return "is a spreadsheet's error, which is no value" + what
	}
	return ""
}

// markProblem names a mark that surrounds text and is no part of it, or "".
func markProblem(text string) string {
	if text == "" {
		return ""
	}
	last := text[len(text)-1]
	switch text[0] {
	case '=':
		return `is a spreadsheet's formula: write what it shows, without = and quotes`
	case '\'':
		return "begins with an apostrophe, a spreadsheet's mark for text: leave it out"
	case '"', '`':
		return "stands in quotes: leave them out"
	case '{', '[', '<', '(':
		if last == '}' || last == ']' || last == '>' || last == ')' {
			return "stands in brackets: leave them out"
		}
	}
	if last == '"' || last == '\'' || last == '`' {
		return "ends with a quote: leave it out"
	}
	return ""
}

// numberProblem names what a spreadsheet has made of text that it took for a number, or "".
func numberProblem(text string) string {
	switch {
	case zeroDecimals(text):
		return "has the decimals of a spreadsheet: format the column as text"
	case scientific(text):
		return "is in the scientific notation of a spreadsheet: format the column as text"
	}
	return ""
}

// zeroDecimals reports whether text is a whole number with decimals that say nothing.
func zeroDecimals(text string) bool {
	whole, part, ok := strings.Cut(strings.ReplaceAll(text, ",", "."), ".")
	return ok && isDigits(whole) && isDigits(part) && strings.Trim(part, "0") == ""
}

// scientific reports whether a spreadsheet has made a number of text, of which it kept the
// first digits only, as in 1.2E+10 and 1.0E10. What has neither a point nor a sign, such as
// 1E10, may be a key.
func scientific(text string) bool {
	at := strings.IndexAny(text, "eE")
	if at <= 0 {
		return false
	}
	power := strings.TrimLeft(text[at+1:], "+-")
	if !isDigits(power) {
		return false
	}
	whole, part, point := strings.Cut(strings.ReplaceAll(text[:at], ",", "."), ".")
	return isDigits(whole) && (!point || isDigits(part)) && (point || text[at+1] == '+')
}

// look-alike quotes: those of word processors, and accents that stand alone.
const curly = "‘’‚‛“”„‟«»‹›′″´"

// lookAlike names the first character of text that cannot be seen, or that only looks like
// one of the keyboard's; and letters of two scripts in one word, of which one looks like the
// other's. "" where there is none.
func lookAlike(text string) string {
	latin, other := false, false
	for _, r := range text {
		switch {
		case r < utf8.RuneSelf:
			if r < ' ' || r == 0x7f {
				return "holds a control character"
			}
			latin = latin || 'a' <= r|0x20 && r|0x20 <= 'z'
			if r == '.' || r == '@' { // where a word ends
				latin, other = false, false
			}
		case r == utf8.RuneError:
			return "holds a character that was lost when the file was converted"
		case unicode.IsControl(r):
			return "holds a control character"
		case !unicode.IsPrint(r):
			return fmt.Sprintf("holds the invisible character %U: type it anew", r)
		case '\uff01' <= r && r <= '\uff5e':
			return "holds full-width characters: write them as on an English keyboard"
		case unicode.Is(unicode.Pd, r), r == '\u2212':
			return fmt.Sprintf("holds the dash %U, whose difference to - is invisible: write -", r)
		case strings.ContainsRune(curly, r):
			return fmt.Sprintf("holds the curly quote %U: leave it out, or write '", r)
		case unicode.Is(unicode.Nd, r):
			return "holds digits that are not 0 to 9"
		case unicode.Is(unicode.Latin, r):
			latin = true
		case unicode.In(r, unicode.Cyrillic, unicode.Greek):
			other = true
		}
		if latin && other {
			return "mixes Latin letters with Cyrillic or Greek ones, which look like them"
		}
	}
	return ""
}

// What the characters of an identifier may be the sign of.
const (
	signDigit   = 1 << iota // it is a value
	signMark                // markProblem
	signNumber              // numberProblem
	signStrange             // lookAlike
	signList                // it is several keys
)

var signs = func() (of [256]byte) {
	for c := range of {
		switch {
		case c == '\t', c == '\n':
			of[c] = signStrange | signList
		case c < ' ' || c >= 0x7f:
			of[c] = signStrange
		case c == '|':
			of[c] = signList
		case c == ',':
			of[c] = signNumber | signList
		case '1' <= c && c <= '9':
			of[c] = signDigit
		case strings.IndexByte("='\"`{[<(", byte(c)) >= 0:
			of[c] = signMark
		case c == '.' || c == '+':
			of[c] = signNumber
		}
	}
	return of
}()

// identifierProblem says why text cannot be a key or number that somebody gave out, or "".
func identifierProblem(text string) string {
	if len(text) > maxIdentifier {
		return "is longer than 256 bytes"
	}
	var sign byte
	for i := range len(text) {
		sign |= signs[text[i]]
	}
	p := ""
	if sign&signDigit == 0 {
		p = noValueProblem(text)
	}
	if p == "" && sign&signMark != 0 {
		p = markProblem(text)
	}
	if p == "" && sign&signNumber != 0 {
		p = numberProblem(text)
	}
	if p == "" && sign&signStrange != 0 {
		p = lookAlike(text)
	}
	return p
}

// accountProblem is identifierProblem for what is one number, however it is made up.
func accountProblem(text string) string {
	if strings.IndexByte(text, ';') >= 0 {
		return "must be one number only"
	}
	return identifierProblem(text)
}

// keysProblem says why a cell is no list of keys with ; between them, or "".
func keysProblem(cell string) string {
	const between = "holds several keys with something else than ; between them"
	var sign byte
	for i := range len(cell) {
		sign |= signs[cell[i]]
	}
	if sign&signNumber != 0 {
		if p := numberProblem(cell); p != "" { // 12345,00 is no list
			return p
		}
	}
	if sign&signList != 0 {
		return between
	}
	if len(cell) < 2*36 {
		return ""
	}
	for key := range strings.SplitSeq(cell, ";") {
		parts := strings.FieldsFunc(key, func(r rune) bool { return strings.ContainsRune(" /&+", r) })
		if len(parts) > 1 && isUUID(parts[0]) && isUUID(parts[1]) {
			return between
		}
	}
	return ""
}

func isUUID(text string) bool {
	if len(text) != 36 {
		return false
	}
	for i := range len(text) {
		switch c := text[i] | 0x20; {
		case i == 8 || i == 13 || i == 18 || i == 23:
			if text[i] != '-' {
				return false
			}
		case (c < '0' || c > '9') && (c < 'a' || c > 'f'):
			return false
		}
	}
	return true
}
