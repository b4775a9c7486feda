package intake

import (
	"bufio"
	"bytes"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/htmlindex"
	"golang.org/x/text/encoding/ianaindex"
	utf "golang.org/x/text/encoding/unicode"
	"golang.org/x/text/transform"
)

// LookupEncoding finds an encoding by one of its usual names, whatever its case. nil is
// UTF-8, which needs no decoding.
func LookupEncoding(name string) (encoding.Encoding, error) {
	enc, err := htmlindex.Get(name) // the names of the web, which are those of spreadsheets
	if err != nil {
		enc, err = ianaindex.IANA.Encoding(name) // also what MS-DOS had
	}
	if err != nil || enc == nil || enc == encoding.Replacement {
		return nil, fmt.Errorf("%q is not an encoding that expunge knows", name)
	}
	if enc == utf.UTF8 {
		return nil, nil
	}
	return enc, nil
}

// decode returns the file's text in UTF-8. A byte order mark says the encoding, whatever the
// options say; without one it is Options.Encoding.
func (f *File) decode(raw *bufio.Reader) (*bufio.Reader, error) {
	var enc encoding.Encoding
	if f.o.Encoding != "" {
		var err error
		if enc, err = LookupEncoding(f.o.Encoding); err != nil {
			return nil, &HeaderError{File: f.name, Problem: "encoding: " + err.Error(), Hint: EncodingNames}
		}
	}
	f.encoding = "UTF-8"
	mark, _ := raw.Peek(3)
	switch {
	case bytes.HasPrefix(mark, []byte("\xef\xbb\xbf")):
		raw.Discard(3)
		return raw, nil
	case bytes.HasPrefix(mark, []byte("\xff\xfe")), bytes.HasPrefix(mark, []byte("\xfe\xff")):
		enc, f.encoding = utf.UTF16(utf.LittleEndian, utf.ExpectBOM), "UTF-16"
	case enc == nil:
		return raw, nil
	default:
		f.encoding = strings.ToLower(f.o.Encoding)
	}
	return bufio.NewReaderSize(transform.NewReader(raw, enc.NewDecoder()), bufferSize), nil
}

// EncodingNames is a hint for who does not know the name of an encoding.
const EncodingNames = "the usual ones are windows-1252 (Excel in Western Europe), windows-1250 (in Central Europe), macintosh, cp850 and utf-16le"

// guesses are the encodings that spreadsheets in the languages of usualLetters write where
// they do not write UTF-8, the most frequent first.
var guesses = []struct {
	name string
	*charmap.Charmap
}{
	{"windows-1252", charmap.Windows1252},
	{"windows-1250", charmap.Windows1250},
	{"macintosh", charmap.Macintosh},
	{"cp850", charmap.CodePage850},
}

// usualLetters are those which German, French, Dutch, Swedish, Danish, Norwegian, Spanish,
// Italian, Polish and Finnish have besides ASCII's: the rarest, the rarer, the frequent.
var usualLetters = [...]string{"êëâîïôûùœìòćńźż", "ßèàçíóúñáąęłś", "äöüåæøé"}

// looksLike guesses in which encoding text was written that is not UTF-8: the one in which
// its letters are most like those of words. "" where there is no guess.
func looksLike(text []byte) string {
	best, least := "", 0
	for _, g := range guesses {
		score := 0
		before := rune(0)
		for i := 0; i < len(text); i++ {
			r := rune(text[i])
			if r >= utf8.RuneSelf {
				r = g.DecodeByte(text[i])
				of := func(letters string) bool { return strings.ContainsRune(letters, unicode.ToLower(r)) }
				switch frequency := slices.IndexFunc(usualLetters[:], of); {
				case frequency < 0:
					score -= 2
				case unicode.IsUpper(r) && unicode.IsLower(before): // no word is written so
				default:
					score += 1 + frequency
				}
			}
			before = r
		}
		if score > least {
			best, least = g.name, score
		}
	}
	return best
}

// encodingHint says what to do about text that is not UTF-8 and looks like this encoding.
func encodingHint(name string) string {
	if name != "" {
		return fmt.Sprintf("it looks like %s: write encoding: %s in the config, or --encoding %s", name, name, name)
	}
	return "save the file as CSV UTF-8, or name its encoding with encoding: in the config or with --encoding"
}
