package html

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"expunge/store/ledger"
)

// certificateOf is the page of a certificate with what there can be at vendors.
func certificateOf(t testing.TB, organisation string) []byte {
	t.Helper()
	page, err := Certificate(certificateFile(t, organisation))
	if err != nil {
		t.Fatal(err)
	}
	return page
}

func certificateFile(t testing.TB, organisation string) []byte {
	t.Helper()
	day := func(n int) ledger.Seconds {
		return ledger.Seconds(time.Date(2026, 11, n, 9, 0, 0, 0, time.UTC).Unix())
	}
	three, none, salt := int64(3), int64(0), make([]byte, ledger.SaltSize)
	var hashes [][]byte
	tiles := map[ledger.TileID][]byte{}
	read := func(level int, n int64) ([]byte, error) { return tiles[ledger.TileID{Level: level, N: n}], nil }
	a, err := ledger.NewAppender(0, read)
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range []ledger.Leaf{
		{Event: "received", Task: ledger.OwnTask, Subject: "REQ-1", ReceivedAt: day(1), DueAt: day(30), Tasks: []ledger.LeafTask{
			{Task: "customergauge/email/0", Kind: "customergauge", Act: "anonymize"}, {Task: "voyado/customer_key/0", Kind: "voyado", Act: "remove"},
			{Task: "acqueon/account_number/0", Kind: "acqueon", Act: "pseudonymize"}, {Task: "crm", Kind: "rest", Act: "remove", Skipped: "no_identifier"}}},
		{Event: "submitted", Task: "voyado/customer_key/0", Prev: 1, Reference: "ca24 <b>", SubmittedAt: day(1)},
		{Event: "submitted", Task: "acqueon/account_number/0", Prev: 1, Reference: "10089", SubmittedAt: day(1)},
		{Event: "erased", Task: "customergauge/email/0", Prev: 1, Evidence: "verified", Records: &three, RecordsAfter: &none, CompletedAt: day(2)},
		{Event: "erased", Task: "voyado/customer_key/0", Prev: 2, Evidence: "vendor_done", CompletedAt: day(3)},
	} {
		l.At, l.Salt = day(2+len(hashes)/3), salt
		leaf := l.Render()
		hashes = append(hashes, leaf)
		a.Append(ledger.Hash(leaf))
	}
	tiles = a.Changed
	signer, err := ledger.NewSigner("privacy.example.com/expunge", make([]byte, 32))
	if err != nil {
		t.Fatal(err)
	}
	root, err := tlog.TreeHash(a.Size, ledger.TileReader(read))
	if err != nil {
		t.Fatal(err)
	}
	head, err := ledger.SignHead("privacy.example.com/expunge/1", a.Size, root, day(4).Time(), signer)
	if err != nil {
		t.Fatal(err)
	}
	c := ledger.Certificate{Format: ledger.Format, Organisation: organisation, Version: "v1", Key: signer.VKey()}
	for i, leaf := range hashes {
		p, err := ledger.Proof(head, read, int64(i), leaf)
		if err != nil {
			t.Fatal(err)
		}
		c.Proofs = append(c.Proofs, p)
	}
	return c.Render(signer)
}

// TestCertificatePage: the page says in words what the certificate says and what it does not
// prove, and the certificate comes out of it as it went in, whatever stands in it; a page of which
// a byte was changed is refused.
func TestCertificatePage(t *testing.T) {
	hostile := `Ex & Co </pre><script>alert(1)</script> "&#43;" ` + certificateBegin
	for _, organisation := range []string{"Example AB", hostile} {
		file, page := certificateFile(t, organisation), certificateOf(t, organisation)
		if got, err := FromPage(page, "v1"); err != nil || !bytes.Equal(got, file) {
			t.Errorf("%s: %v, the same: %v", organisation, err, bytes.Equal(got, file))
		}
		if bytes.Contains(page, []byte("<script")) || bytes.Contains(page, []byte("<b>")) {
			t.Error("what a certificate says becomes HTML")
		}
	}
	page := certificateOf(t, "Example AB")
	for _, want := range []string{"Certificate of erasure request REQ-1", "anonymized, looked again and gone (3 records, then 0)", "removal job reported done by the vendor; not looked at again",
		"open: the vendor was told, and has not reported it done", "The request has not come to its end at every vendor", "<li>what the vendor really did</li>",
		"This page proves nothing by itself", "privacy.example.com/expunge/1 at 5", "Made by Example AB, as it says itself", "the vendor was told, and accepted it, as 10089"} {
		if !strings.Contains(string(page), want) {
			t.Errorf("the page does not say %q", want)
		}
	}
	if strings.Contains(strings.ToLower(string(page)), "deleted") {
		t.Error("nothing is said to be deleted")
	}
	refused := 0
	for at := 0; at < len(page); at += 17 {
		bad := bytes.Clone(page)
		bad[at] ^= 1
		got, err := FromPage(bad, "v1")
		if err == nil { // then it is no page any more, or a certificate that is not valid
			_, err = ledger.Verify(got, ledger.VerifyOptions{Key: certificateKey(t)})
		}
		if refused++; !errors.Is(err, ledger.ErrInvalid) {
			t.Errorf("byte %d from %q to %q: %v", at, page[at], bad[at], err)
		}
	}
	t.Logf("%d bytes changed, all refused", refused)
	// Another version writes other words: they are not compared, and that is said.
	other := bytes.Replace(page, []byte("looked again and gone"), []byte("looked twice and gone"), 1)
	if got, err := FromPage(other, "v2"); !errors.Is(err, ErrOtherPage) || !bytes.Equal(got, certificateFile(t, "Example AB")) {
		t.Errorf("another version: %v", err)
	}
	two := bytes.Replace(page, []byte(certificateBegin), []byte(certificateBegin+"{}"+certificateEnd+certificateBegin), 1)
	if _, err := FromPage(two, "v2"); !errors.Is(err, ledger.ErrInvalid) {
		t.Errorf("two certificates in a page: %v", err)
	}
	if got, err := FromPage([]byte(`{"format":""}`), "v1"); err != nil || string(got) != `{"format":""}` {
		t.Errorf("no page: %s %v", got, err)
	}
}

func certificateKey(t *testing.T) string {
	t.Helper()
	var c ledger.Certificate
	if err := json.Unmarshal(certificateFile(t, ""), &c); err != nil {
		t.Fatal(err)
	}
	return c.Key
}
