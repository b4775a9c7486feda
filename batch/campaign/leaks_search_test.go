package campaign

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"html"
	"net/url"
	"slices"
	"strings"
)

// leaksShortest is how long a text must be to be searched for: the beginning of this length
// finds the places that are worth a look.
const leaksShortest = 8

// leaksNeedle is one spelling of a canary.
type leaksNeedle struct {
	text   []byte
	form   string // raw, lower, hex, ...
	canary string
}

// leaksIndex finds many texts in one pass.
type leaksIndex struct {
	needles  int
	exact    map[uint64][]leaksNeedle // by their first eight bytes
	folded   map[uint64][]leaksNeedle // in lower case, for any mixture of cases
	likely   [1 << 16]bool            // by the first two bytes: most places are none
	likelyLo [1 << 16]bool
}

func newLeaksIndex(canaries []string) *leaksIndex {
	x := &leaksIndex{exact: map[uint64][]leaksNeedle{}, folded: map[uint64][]leaksNeedle{}}
	for _, c := range canaries {
		if len(c) < leaksShortest {
			panic("a canary that is too short to be searched for: " + c)
		}
		for form, texts := range leaksForms(c) {
			for _, text := range texts {
				x.add(leaksNeedle{[]byte(text), form, c})
			}
		}
	}
	return x
}

func (x *leaksIndex) add(n leaksNeedle) {
	x.needles++
	x.exact[leaksKey(n.text)] = append(x.exact[leaksKey(n.text)], n)
	x.likely[binary.LittleEndian.Uint16(n.text)] = true
	if n.form == "base64" {
		return
	}
	n.text = bytes.ToLower(n.text)
	x.folded[leaksKey(n.text)] = append(x.folded[leaksKey(n.text)], n)
	x.likelyLo[binary.LittleEndian.Uint16(n.text)] = true
}

func leaksKey(b []byte) uint64 { return binary.LittleEndian.Uint64(b) }

// leaksForms are the spellings of a canary, by name.
func leaksForms(c string) map[string][]string {
	back := []rune(c)
	slices.Reverse(back)
	forms := map[string][]string{
		"raw": {c}, "lower": {strings.ToLower(c)}, "upper": {strings.ToUpper(c)}, "reversed": {string(back)},
		"url":  {url.QueryEscape(c), url.PathEscape(c)},
		"hex":  {hex.EncodeToString([]byte(c)), strings.ToUpper(hex.EncodeToString([]byte(c))), hex.EncodeToString([]byte(strings.ToLower(c)))},
		"html": {html.EscapeString(c)},
		"json": {strings.Trim(fmt.Sprintf("%q", c), `"`)},
	}
	for _, text := range []string{c, strings.ToLower(c), strings.ToUpper(c)} {
		for _, enc := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
			for k := range 3 {
				forms["base64"] = append(forms["base64"], leaksBase64(enc, text, k))
			}
		}
	}
	return forms
}

// leaksBase64 is the part of an encoding of a text that does not depend on what stands
// around the text, when k bytes (modulo 3) stand before it.
func leaksBase64(enc *base64.Encoding, text string, k int) string {
	all := enc.EncodeToString([]byte(strings.Repeat("\x00", k) + text))
	return all[[]int{0, 2, 3}[k] : (k+len(text))*8/6]
}

// find returns what of the canaries is in the data, each at most once.
func (x *leaksIndex) find(data []byte) []string {
	var found []string
	hit := func(list []leaksNeedle, at []byte) {
		for _, n := range list {
			if bytes.HasPrefix(at, n.text) {
				if what := fmt.Sprintf("%s (%s)", n.canary, n.form); !slices.Contains(found, what) {
					found = append(found, what)
				}
			}
		}
	}
	pass := func(data []byte, index map[uint64][]leaksNeedle, likely *[1 << 16]bool) {
		for i := 0; i+leaksShortest <= len(data); i++ {
			if likely[binary.LittleEndian.Uint16(data[i:])] {
				if list := index[leaksKey(data[i:])]; list != nil {
					hit(list, data[i:])
				}
			}
		}
	}
	pass(data, x.exact, &x.likely)
	lower := bytes.Clone(data)
	for i, c := range lower {
		if 'A' <= c && c <= 'Z' {
			lower[i] = c + 'a' - 'A'
		}
	}
	pass(lower, x.folded, &x.likelyLo)
	return found
}
