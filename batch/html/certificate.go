package html

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"html/template"
	"time"

	"expunge/store/ledger"
)

//go:embed certificate.tmpl
var certificatePage string

var certificateTmpl = template.Must(template.New("certificate").Funcs(template.FuncMap{
	"date":   func(t time.Time) string { return format(t, "2 January 2006") },
	"moment": func(t time.Time) string { return format(t, "2 January 2006, 15:04 MST") },
	"short":  func(t time.Time) string { return format(t, "2 Jan 2006") },
	"time":   func(t time.Time) string { return format(t, "15:04") },
	"n":      number,
}).Parse(certificatePage))

// What the certificate stands between in its page, escaped as HTML is.
const certificateBegin, certificateEnd = `<pre id="expunge-certificate">`, `</pre>`

type certificateView struct {
	*ledger.Verdict
	Style   template.CSS
	Key     string
	Version string
	File    string
}

// Certificate makes the page of a certificate for people, in which the certificate stands too. It
// says nothing that is not in the certificate, so that whoever has that can make the page again.
// Errors: ledger.ErrInvalid.
func Certificate(file []byte) ([]byte, error) {
	var c ledger.Certificate
	if err := json.Unmarshal(file, &c); err != nil {
		return nil, fmt.Errorf("%w: it is no certificate", ledger.ErrInvalid)
	}
	v, err := ledger.Verify(file, ledger.VerifyOptions{Key: c.Key})
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	err = certificateTmpl.Execute(&b, certificateView{Verdict: v, Style: template.CSS(style), Key: c.Key, Version: c.Version, File: string(file)})
	return b.Bytes(), err
}

// ErrOtherPage: what a page says around its certificate cannot be compared, for another version
// of the program made it.
var ErrOtherPage = errors.New("another version of expunge made the page around the certificate: rely on what stands here alone, not on the page's words")

// FromPage returns the certificate in a page; what is no page comes back as it is. A page whose
// words are not what its certificate says is ledger.ErrInvalid. With ErrOtherPage, the certificate
// is returned too.
func FromPage(page []byte, version string) ([]byte, error) {
	if !bytes.HasPrefix(bytes.TrimSpace(page), []byte("<")) {
		return page, nil
	}
	_, rest, found := bytes.Cut(page, []byte(certificateBegin))
	text, _, ended := bytes.Cut(rest, []byte(certificateEnd))
	if !found || !ended || bytes.Contains(rest, []byte(certificateBegin)) {
		return nil, fmt.Errorf("%w: there is no certificate in the page, or there are several", ledger.ErrInvalid)
	}
	file := []byte(html.UnescapeString(string(text)))
	again, err := Certificate(file)
	if err != nil || bytes.Equal(again, page) {
		return file, err
	}
	var c ledger.Certificate
	if err := json.Unmarshal(file, &c); err == nil && c.Version != version {
		return file, ErrOtherPage
	}
	return nil, fmt.Errorf("%w: the page does not say what its certificate says: it has been changed", ledger.ErrInvalid)
}
