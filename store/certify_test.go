package store

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"os"
	"regexp"
	"strings"
	"testing"

	"expunge/store/ledger"
	"expunge/store/seal"
)

// decoded is a certificate with what it has in base64 beside it, in clear.
func decoded(t *testing.T, file []byte) string {
	t.Helper()
	var c ledger.Certificate
	if err := json.Unmarshal(file, &c); err != nil {
		t.Fatal(err)
	}
	all := string(file)
	for _, p := range c.Proofs {
		for _, word := range regexp.MustCompile(`[A-Za-z0-9+/=]{8,}`).FindAllString(p, -1) {
			if b, err := base64.StdEncoding.DecodeString(word); err == nil {
				all += "\n" + string(b)
			}
		}
	}
	return all
}

// TestCertify: a certificate is about one person and nobody else; it can be made after others were
// purged, and those that were made before stay valid; of who was purged the secret is nowhere.
func TestCertify(t *testing.T) {
	e := newEnv(t)
	s := e.open(t)
	alpha, beta := twoVendors(t, s)
	b := take(t, s, "one", subject(s, 2, "TICKET-1111", "a@example.com", "key-of-1111", alpha, beta), subject(s, 3, "TICKET-2111", "b@example.com", "key-of-2111", alpha, beta), subject(s, 4, "TICKET-3111", "c@example.com", "key-of-3111", alpha, beta))
	if _, _, err := s.Certify(ctx, "TICKET-1111", Certified{}); !errors.Is(err, ErrNoHead) {
		t.Errorf("before the first head: %v", err)
	}
	early := integrate(t, s)
	for n := range int64(2) {
		w := s.task(t, b.First*TasksPerSubject+n)
		w = mustApply(t, s, w.State, to(w, Submitting, e.now))
		w.Reference = "ref-of-R-1"
		if n == 1 {
			w.Reference = "other-of-R-1"
		}
		w = mustApply(t, s, w.State, to(w, Waiting, e.now))
		mustApply(t, s, w.State, to(w, Erased, e.now))
	}
	integrate(t, s)
	key, err := s.LogKeys()
	if err != nil {
		t.Fatal(err)
	}
	certify := func(subject string, o Certified) []byte {
		t.Helper()
		file, _, err := s.Certify(ctx, subject, o)
		if err != nil {
			t.Fatal(err)
		}
		return file
	}
	first := certify("TICKET-1111", Certified{Organisation: "Example AB"})
	verify := func(file []byte, done bool) {
		t.Helper()
		if v, err := ledger.Verify(file, ledger.VerifyOptions{Key: key[0]}); err != nil || v.Done() != done {
			t.Errorf("%+v %v", v, err)
		}
	}
	verify(first, true)
	for _, of := range [][]byte{first, certify("TICKET-1111", Certified{TicketOnly: true})} {
		text := decoded(t, of)
		if !strings.Contains(text, "ref-of-R-1") {
			t.Fatal("the leaves are not read")
		}
		for _, canary := range []string{"TICKET-2111", "TICKET-3111", "a@example.com", "b@example.com", "key-of-1111", "key-of-2111", "key-of-3111"} {
			if strings.Contains(text, canary) {
				t.Errorf("it has %s", canary)
			}
		}
	}
	if file, later, err := s.Certify(ctx, "TICKET-1111", Certified{Head: early}); err != nil || later != 4 {
		t.Errorf("as of the first head: %d events later, %v", later, err)
	} else {
		verify(file, false)
	}
	h, err := s.History(ctx, "TICKET-1111")
	if err != nil {
		t.Fatal(err)
	}
	e.now = e.now.AddDate(0, 0, 2)
	if p, err := s.Purge(ctx, PurgeFilter{Before: e.now}); err != nil || p.Subjects != 1 {
		t.Fatal(p, err)
	}
	if _, _, err := s.Certify(ctx, "TICKET-1111", Certified{}); !errors.Is(err, ErrPurged) {
		t.Errorf("of who was purged: %v", err)
	}
	integrate(t, s)
	verify(first, true)
	verify(certify("TICKET-2111", Certified{}), false)
	next := seal.NewKey()
	if err := s.BeginRotation(ctx, next); err != nil {
		t.Fatal(err)
	}
	if _, err := s.FinishRotation(ctx, nil); err != nil {
		t.Fatal(err)
	}
	if again := certify("TICKET-2111", Certified{}); !bytes.Equal(again, certify("TICKET-2111", Certified{})) {
		t.Error("made again it is another")
	}
	verify(certify("TICKET-2111", Certified{}), false)
	s.close(t) // which empties the journal
	for _, end := range []string{"", "-wal"} {
		file, _ := os.ReadFile(e.path + end)
		if bytes.Contains(file, h.secret) || bytes.Contains(file, h.marks) {
			t.Errorf("expunge.db%s still has what opens the leaves of who was purged", end)
		}
	}
	s = e.with(next).open(t)
	byHand.Store(e.path, nil)
	if _, err := raw(t, e.path).Exec(`UPDATE subjects SET secret = NULL`); err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.Certify(ctx, "TICKET-2111", Certified{}); !errors.Is(err, ErrBeforeLog) {
		t.Errorf("from before the log: %v", err)
	}
}
