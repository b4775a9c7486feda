package vendors

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"html"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// FormOf is what an answer looks like without the identifier that was asked for, as a
// digest: status, media type and body, from which every spelling of the given values is
// taken out. Answers about two people that differ in nothing but the person have one form.
func FormOf(a *Answer, asked ...string) string {
	kind, _, err := mime.ParseMediaType(a.Header.Get("Content-Type"))
	if err != nil {
		kind = ""
	}
	body := strings.ToLower(string(a.Body))
	for _, text := range spellings(asked) {
		body = strings.ReplaceAll(body, text, "\x00")
	}
	sum := sha256.Sum256(fmt.Appendf(nil, "%d\n%s\n%s", a.Status, kind, strings.TrimSpace(body)))
	return hex.EncodeToString(sum[:8])
}

// MayMeanNothing reports whether an answer to a look-up that is not understood can be how a place
// says that it holds nothing: it must be about the request, and no page.
func MayMeanNothing(a *Answer) bool {
	switch {
	case a.Status >= 200 && a.Status <= 299:
	case a.Status == http.StatusBadRequest, a.Status == http.StatusNotFound, a.Status == http.StatusGone, a.Status == http.StatusUnprocessableEntity:
	default:
		return false
	}
	return !bytes.HasPrefix(bytes.TrimSpace(a.Body), []byte("<"))
}

// spellings lists how an answer may write the given values, in small letters, the longest
// first: none is found inside another one's place.
func spellings(values []string) []string {
	var all []string
	for _, v := range values {
		quoted, err := json.Marshal(v)
		if err != nil {
			quoted = nil // a Go string always marshals
		}
		written := []string{v, url.QueryEscape(v), url.PathEscape(v), strings.Trim(string(quoted), `"`), html.EscapeString(v)}
		if isDialled(v) {
			written = append(written, Digits(v))
		}
		for _, text := range written {
			if text = strings.ToLower(strings.TrimSpace(text)); text != "" && !slices.Contains(all, text) {
				all = append(all, text)
			}
		}
	}
	slices.SortStableFunc(all, func(a, b string) int { return len(b) - len(a) })
	return all
}
