package audit

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"expunge/vendors/sim"
)

// Each way in which a folder of exports can disagree with what was handed out is found.
func TestExports(t *testing.T) {
	const cipher = ageHeader + "-> X25519 and so on"
	vs := []Vendor{{Name: "voyado-se", Kind: sim.Voyado}}
	handed := func(jid string) sim.Entry {
		return sim.Entry{Kind: sim.Voyado, Account: "voyado", Op: "export-result", Status: 200, JID: jid}
	}
	lost := handed("lost-on-the-way")
	lost.Fault = sim.Truncated
	sum := func(text string) string {
		s := sha256.Sum256([]byte(text))
		return hex.EncodeToString(s[:])
	}
	good := func(dir, jid string) {
		put(t, dir, "voyado-se."+jid+".zip.age", cipher)
		put(t, dir, "voyado-se."+jid+".json", fmt.Sprintf(`{"file":"voyado-se.%s.zip.age","bytes":%d,"sha256":%q,"vendor":"voyado-se","reference":%q}`, jid, len(cipher), sum(cipher), jid))
	}
	for _, test := range []struct {
		name    string
		change  func(dir string)
		found   int
		problem string // "": none
	}{
		{"as it should be", func(string) {}, 2, ""},
		{"not kept", func(dir string) { os.Remove(filepath.Join(dir, "voyado-se.a.json")) }, 1, "was handed out and is not"},
		{"file gone", func(dir string) { os.Remove(filepath.Join(dir, "voyado-se.a.zip.age")) }, 2, "its file is missing"},
		{"file changed", func(dir string) { put(t, dir, "voyado-se.a.zip.age", cipher+"x") }, 2, "differs from its manifest"},
		{"in clear", func(dir string) { put(t, dir, "voyado-se.a.zip.age", "PK\x03\x04"+strings.Repeat("x", 40)) }, 2, "not encrypted"},
		{"made up", func(dir string) { good(dir, "c") }, 2, "never handed out"},
		{"of another vendor", func(dir string) {
			put(t, dir, "voyado-se.b.json", `{"empty":true,"vendor":"voyado-no","reference":"b"}`)
		}, 1, "kept as one of voyado-no"},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			good(dir, "a")
			put(t, dir, "voyado-se.b.json", `{"empty":true,"vendor":"voyado-se","reference":"b"}`)
			test.change(dir)
			found, problems, err := Exports(Facts{Ledger: []sim.Entry{handed("a"), handed("b"), lost}}, vs, dir)
			if err != nil || found != test.found {
				t.Errorf("found %d, %v", found, err)
			}
			if (test.problem == "") != (len(problems) == 0) || test.problem != "" && !strings.Contains(problems[0].What, test.problem) {
				t.Errorf("%+v, want %q", problems, test.problem)
			}
		})
	}
}

func put(t *testing.T, dir, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
