package main

import (
	"compress/gzip"
	"encoding/json"
	"errors"
	"filippo.io/age"
	"io"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"expunge/batch"
	"expunge/store"
	"expunge/store/seal"
)

func openRaw(t *testing.T, p *privateSite, key seal.Key) *store.Store {
	t.Helper()
	st, err := store.Open(t.Context(), p.path("expunge.db"), store.Options{Now: time.Now, Forget: batch.Forget,
		Key: func(bool) (seal.Key, error) { return key, nil }})
	if err != nil {
		t.Fatal(err)
	}
	return st
}

// TestPurge: finished subjects leave the store and the report, a request that was purged is
// not taken in again, and the next run's control totals balance.
func TestPurge(t *testing.T) {
	p := newPrivateSite(t, 20)
	code, out := p.run("run", p.path("subjects.csv"))
	if code == exitInternal || code == exitUsage {
		t.Fatalf("exit %d\n%s", code, out)
	}
	rows := strings.Count(p.must("report"), "\n")
	if out := p.must("purge", "--before", "2020-01-01"); !strings.Contains(out, "dropped 0 subjects") {
		t.Errorf("nothing is that old: %s", out)
	}
	tomorrow := time.Now().AddDate(0, 0, 1).Format(time.DateOnly)
	if code, out := p.run("purge", "--before", tomorrow); code != exitUsage || !strings.Contains(out, "--yes") {
		t.Errorf("nobody to ask: exit %d %s", code, out)
	}
	if got := strings.Count(p.must("report"), "\n"); got != rows {
		t.Errorf("%d of %d rows are left although nobody agreed", got, rows)
	}
	size := func() int64 {
		st, err := os.Stat(p.path("expunge.db"))
		if err != nil {
			t.Fatal(err)
		}
		return st.Size()
	}
	before := size()
	if out := p.must("purge", "--before", tomorrow, "--yes"); strings.Contains(out, "dropped 0") {
		t.Errorf("prints %s", out)
	}
	if size() > before {
		t.Errorf("the store has grown from %d to %d bytes", before, size())
	}
	if got := strings.Count(p.must("report"), "\n"); got >= rows {
		t.Errorf("the report still has %d of %d rows", got, rows)
	}
	// The same people in another file: what was purged is a duplicate.
	sent := len(p.sim.Ledger(0))
	p.write("again.csv", p.read("subjects.csv")+"\n")
	code, out = p.run("run", p.path("again.csv"))
	if code == exitInternal || code == exitUsage || !strings.Contains(out, "20 duplicates") || !strings.Contains(out, "the control totals balance") {
		t.Errorf("again: exit %d\n%s", code, out)
	}
	for _, e := range p.sim.Ledger(int64(sent)) {
		if e.Changes {
			t.Errorf("%s was sent for a request that was purged", e.Op)
		}
	}
}

// TestPurgeUsage: a date that is none, and a store that is not there, drop nothing.
func TestPurgeUsage(t *testing.T) {
	p := newPrivateSite(t, 1)
	for _, args := range [][]string{{"purge"}, {"purge", "--before", "soon", "--yes"}, {"purge", "--before", "2026-01-01", "--yes"}} {
		if code, out := p.run(args...); code != exitUsage || p.exists("expunge.db") {
			t.Errorf("%v: exit %d %s", args, code, out)
		}
	}
}

// TestPurgeCertificates: before anybody is dropped, everybody's certificate is on disk, for the
// owner of a key alone; each verifies afterwards, and so do those of who stays. What cannot be
// written stops the purge.
func TestPurgeCertificates(t *testing.T) {
	p := newPrivateSite(t, 20)
	if code, out := p.run("run", p.path("subjects.csv")); code == exitInternal || code == exitUsage {
		t.Fatalf("exit %d\n%s", code, out)
	}
	id, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	to, file := id.Recipient().String(), p.path("gone.jsonl.gz.age")
	tomorrow := time.Now().AddDate(0, 0, 1).Format(time.DateOnly)
	if code, out := p.run("purge", "--before", tomorrow); code != exitUsage || !regexp.MustCompile(`no certificate can be made of [1-9][0-9]* of them afterwards`).MatchString(out) {
		t.Errorf("exit %d, and who loses a certificate is not told: %s", code, out)
	}
	rows := strings.Count(p.must("report"), "\n")
	for _, tc := range [][]string{
		{"--certificates", file}, {"--recipient", to}, {"--certificates", file, "--recipient", id.String()},
		{"--certificates", p.path("expunge.key"), "--recipient", to}, {"--certificates", p.path("subjects.csv"), "--recipient", to},
		{"--certificates", p.path("none/gone.age"), "--recipient", to},
	} {
		code, out := p.run(append([]string{"purge", "--before", tomorrow, "--yes"}, tc...)...)
		if code != exitUsage || strings.Contains(out, id.String()) {
			t.Errorf("%v: exit %d %s", tc, code, out)
		}
	}
	if got := strings.Count(p.must("report"), "\n"); got != rows {
		t.Fatalf("%d of %d rows are left", got, rows)
	}
	key := strings.TrimSpace(p.must("log", "key"))
	const stays = "STAYS-1"
	p.write("more.csv", "subject_id,email\n"+stays+",nobody@example.org\n")
	p.must("run", "--for", "1ns", p.path("more.csv"))
	p.must("certificate", stays, "-o", p.path("stays.json"))
	out := p.must("purge", "--before", tomorrow, "--yes", "--certificates", file, "--recipient", to)
	var dropped, written int
	if m := regexp.MustCompile(`(?s): ([0-9]+) certificates.*dropped ([0-9]+) subjects`).FindStringSubmatch(out); m != nil {
		written, _ = strconv.Atoi(m[1])
		dropped, _ = strconv.Atoi(m[2])
	}
	if dropped == 0 || written != dropped {
		t.Fatalf("%d certificates of %d who were dropped: %s", written, dropped, out)
	}
	if st, err := os.Stat(file); err != nil || st.Mode() != 0o600 {
		t.Errorf("mode %v %v", st.Mode(), err)
	}
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	plain, err := age.Decrypt(f, id)
	if err != nil {
		t.Fatal(err)
	}
	unpacked, err := gzip.NewReader(plain)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for d := json.NewDecoder(unpacked); ; n++ {
		var line archived
		if err := d.Decode(&line); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		p.write("one.json", line.Certificate)
		if code, out := p.run("verify", p.path("one.json"), "--key", key); code != exitOK && code != exitFailed || !strings.Contains(out, line.SubjectID+", ") {
			t.Errorf("%s: exit %d\n%s", line.SubjectID, code, out)
		}
		if code, _ := p.run("certificate", line.SubjectID); code != exitUsage {
			t.Errorf("%s was dropped, and has a certificate: exit %d", line.SubjectID, code)
		}
	}
	if n != written {
		t.Errorf("%d lines, %d certificates", n, written)
	}
	for _, name := range []string{"stays.json", "again.json"} {
		if name == "again.json" {
			p.must("certificate", stays, "-o", p.path(name))
		}
		if code, out := p.run("verify", p.path(name), "--key", key); code != exitFailed {
			t.Errorf("%s, of somebody who stays: exit %d\n%s", name, code, out)
		}
	}
	p.must("log", "check")
}
