package ledger

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// script runs the verifier that is written in Python from the specification, and returns its
// exit code.
func script(t testing.TB, file []byte, vkey string) (code int, says string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "certificate.json")
	if err := os.WriteFile(path, file, 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, "python3", "../../testdata/verify.py", path, vkey).CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	if exit != nil {
		code = exit.ExitCode()
	}
	return code, string(out)
}

// TestIndependent: a verifier that shares no code with this package, at most 60 lines long,
// agrees with it: on certificates of logs of many sizes, done and open, and on changed ones.
func TestIndependent(t *testing.T) {
	source, err := os.ReadFile("../../testdata/verify.py")
	if err != nil {
		t.Fatal(err)
	}
	if n := bytes.Count(source, []byte("\n")); n > 60 {
		t.Errorf("it has %d lines", n)
	}
	r := rand.New(rand.NewPCG(1, 2))
	agree := func(what string, w *world, file []byte) {
		t.Helper()
		v, err := Verify(file, VerifyOptions{Key: w.signer.VKey()})
		want := 65
		if err == nil && v.Done() {
			want = 0
		} else if err == nil {
			want = 3
		}
		if code, says := script(t, file, w.signer.VKey()); code != want {
			t.Errorf("%s: exit %d (%s), and Verify says %d: %v", what, code, strings.TrimSpace(says), want, err)
		}
	}
	for range 6 {
		others := r.IntN(300)
		w := newWorld(t, others, nil)
		agree("done", w, w.file())
		open := newWorld(t, others, func(l []Leaf) []Leaf { return l[:3] })
		agree("open", open, open.file())
		file := w.file()
		file[r.IntN(len(file)-3)] ^= 2
		agree("changed", w, file)
		c := w.cert
		c.Proofs = append(c.Proofs[:2:2], c.Proofs[3:]...)
		agree("an event left out", w, c.Render(w.signer))
	}
	w := newWorld(t, 3, nil)
	if code, _ := script(t, w.file(), newOtherKey(t)); code != 65 {
		t.Errorf("another key: exit %d", code)
	}
}

func newOtherKey(t testing.TB) string {
	t.Helper()
	s, err := NewSigner("privacy.example.com/expunge", bytes.Repeat([]byte{7}, 32))
	if err != nil {
		t.Fatal(err)
	}
	return s.VKey()
}
