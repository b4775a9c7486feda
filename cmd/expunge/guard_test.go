package main

import (
	"os"
	"strings"
	"testing"

	"expunge/vendors/sim"
)

// TestLinksAreRefused: a link where a file is to be written would lead its content to
// wherever somebody else wants it. Nothing is written through one, and nothing is sent.
func TestLinksAreRefused(t *testing.T) {
	for _, tt := range []struct {
		name, link string
		args       []string
	}{
		{"store", "expunge.db", nil},
		{"journal", "expunge.db-wal", nil},
		{"index of the journal", "expunge.db-shm", nil},
		{"rollback journal", "expunge.db-journal", nil},
		{"lock", "expunge.db.lock", nil},
		{"key", "expunge.key", nil},
		{"report", "report.csv", nil},
		{"report by flag", "r.csv", []string{"--report", "r.csv"}},
		{"metrics", "m.prom", []string{"--metrics", "m.prom"}},
		{"rejects", "rejects.csv", []string{"--rejects", "rejects.csv"}},
	} {
		for _, dangling := range []bool{false, true} {
			name := tt.name
			if dangling {
				name += ", leading nowhere"
			}
			t.Run(name, func(t *testing.T) {
				p := newPrivateSite(t, 2)
				t.Chdir(p.dir)
				if !dangling {
					p.write("victim", "")
				}
				if err := os.Symlink("victim", p.path(tt.link)); err != nil {
					t.Fatal(err)
				}
				code, out := p.run(append([]string{"run", "subjects.csv"}, tt.args...)...)
				if code == exitOK {
					t.Errorf("exit 0\n%s", out)
				}
				if n := len(p.sim.Ledger(0)); n > 0 {
					t.Errorf("%d requests were sent", n)
				}
				if dangling == p.exists("victim") || !dangling && p.read("victim") != "" {
					t.Error("something was written through the link")
				}
			})
		}
	}
}

// TestGuard: a slip of the hand does not write over the store, its key, the config or the
// input, nor does the input ever change.
func TestGuard(t *testing.T) {
	p := newPrivateSite(t, 3)
	t.Chdir(p.dir)
	p.takeIn("subjects.csv")
	if err := os.Link(p.path("expunge.key"), p.path("other-name")); err != nil {
		t.Fatal(err)
	}
	before := p.snapshot()
	for _, target := range []string{"expunge.db", "expunge.db-wal", "./expunge.db.lock", "expunge.key", p.path("expunge.key"), "other-name",
		"expunge.key.old", "expunge.yaml", "subjects.csv", "../" + p.dir[strings.LastIndexByte(p.dir, '/')+1:] + "/subjects.csv"} {
		for _, args := range [][]string{
			{"run", "subjects.csv", "--report", target}, {"run", "subjects.csv", "--metrics", target},
			{"run", "subjects.csv", "--rejects", target}, {"report", "-o", target},
		} {
			if args[0] == "report" && strings.HasSuffix(target, "subjects.csv") {
				continue // an input of another command
			}
			code, out := p.run(args...)
			if code != exitUsage || !strings.Contains(out, "never written over") {
				t.Errorf("%v: exit %d %s", args, code, out)
			}
		}
	}
	after := p.snapshot()
	for _, name := range []string{"expunge.db", "expunge.key", "expunge.yaml", "subjects.csv"} {
		if before[name] != after[name] {
			t.Errorf("%s has changed", name)
		}
	}
}

// TestGuardTwice: two flags, or a flag and the config, do not name one file.
func TestGuardTwice(t *testing.T) {
	p := newPrivateSite(t, 2)
	t.Chdir(p.dir)
	if err := os.Symlink(".", "here"); err != nil {
		t.Fatal(err)
	}
	for _, there := range []bool{false, true} {
		if there {
			p.write("out.csv", "kept")
			p.write("report.csv", "kept")
		}
		for want, args := range map[string][]string{
			"--rejects: names the same file as report":  {"--rejects", "out.csv", "--report", "out.csv"},
			"--rejects: names the same file as metrics": {"--rejects", p.path("out.csv"), "--metrics", "./out.csv"},
			"metrics: names the same file as report":    {"--metrics", "here/out.csv", "--report", "out.csv"},
			" --rejects: names the same file as report": {"--rejects", "report.csv"}, // the config's
		} {
			code, out := p.run(append([]string{"run", "subjects.csv"}, args...)...)
			if code != exitUsage || !strings.Contains(out, want) {
				t.Errorf("%v: exit %d %s", args, code, out)
			}
			for _, name := range []string{"out.csv", "report.csv"} {
				if p.exists(name) != there || there && p.read(name) != "kept" {
					t.Errorf("%v: %s is written", args, name)
				}
			}
		}
	}
	if n := len(p.sim.Ledger(0)); n > 0 || p.exists("expunge.db") {
		t.Errorf("%d requests were sent, or a store was made", n)
	}
	p.must("run", "--dry-run", "--report", "-", "--rejects", "rejects.csv", "subjects.csv")
}

// TestWithoutTheKey: a wrong or missing key ends every command at once, before the store is
// touched, a key is made or anything is sent.
func TestWithoutTheKey(t *testing.T) {
	p := newPrivateSite(t, 3)
	t.Chdir(p.dir)
	p.takeIn("subjects.csv")
	stat := func() os.FileInfo {
		st, err := os.Stat("expunge.db")
		if err != nil {
			t.Fatal(err)
		}
		return st
	}
	before, content, sent := stat(), p.read("expunge.db"), len(p.sim.Ledger(0))
	p.write("confirmations.csv", "vendor,reference,completed_at\n")
	for _, key := range []string{"", "wrong", "broken", "open to others"} {
		switch key {
		case "":
			if err := os.Rename("expunge.key", "kept.key"); err != nil {
				t.Fatal(err)
			}
		case "wrong":
			p.write("expunge.key", "expunge-key-1:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n")
		case "broken":
			p.write("expunge.key", "expunge-key-1:AAAA\n")
		case "open to others":
			p.write("expunge.key", p.read("kept.key"))
			if err := os.Chmod("expunge.key", 0o644); err != nil {
				t.Fatal(err)
			}
		}
		for _, args := range [][]string{{"run"}, {"run", "subjects.csv"}, {"report"}, {"status"}, {"confirm", "confirmations.csv"},
			{"review", "list"}, {"extend", "REQ-0000000", "--until", "2030-01-01", "--reason", "x"},
			{"purge", "--before", "2030-01-01", "--yes"}, {"key", "rotate"}} {
			code, out := p.run(args...)
			if code != exitUsage || strings.Contains(out, "AAAA") {
				t.Errorf("key %q, %v: exit %d %s", key, args, code, out)
			}
		}
		if key == "" && p.exists("expunge.key") {
			t.Fatal("a key was made for a store that has one")
		}
	}
	if st := stat(); !st.ModTime().Equal(before.ModTime()) || p.read("expunge.db") != content {
		t.Error("the store was touched")
	}
	if n := len(p.sim.Ledger(0)); n != sent {
		t.Errorf("%d requests were sent", n-sent)
	}
}

// TestSecretsAreNotPrinted: whatever a command prints about config and vendors, credentials
// are not in it, and no flag takes one.
func TestSecretsAreNotPrinted(t *testing.T) {
	p := newPrivateSite(t, 2)
	t.Chdir(p.dir)
	const id, secret = "the-client-id", "the-client-secret-of-nobody"
	p.env["ID"], p.env["SECRET"] = id, secret
	p.write("expunge.yaml", strings.NewReplacer(sim.DefaultClientID, `"${ID}"`, sim.DefaultClientSecret, `"${SECRET}"`).Replace(p.read("expunge.yaml")))
	for _, args := range [][]string{{"check", "-v"}, {"run", "-v", "subjects.csv"}, {"run", "-v", "--log-format", "json"}, {"status"}, {"check", "--log-format", "json"}} {
		_, out := p.run(args...)
		if strings.Contains(out, secret) || strings.Contains(out, id) {
			t.Errorf("%v prints a credential:\n%s", args, out)
		}
		if args[0] == "check" && !strings.Contains(out, "customergauge") {
			t.Errorf("%v says nothing of the vendor: %s", args, out)
		}
	}
	_, help := p.run("run", "--help")
	for _, word := range []string{"secret", "password", "token", "api-key"} {
		if strings.Contains(strings.ToLower(help), "--"+word) {
			t.Errorf("a flag takes a %s", word)
		}
	}
}

// TestTerminal: names from outside do not steer the terminal.
func TestTerminal(t *testing.T) {
	if got, want := clean("a\x1b[2J\r\n\u202eb\u009bc é"), "a?[2J???b?c é"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	p := newPrivateSite(t, 1)
	p.write("evil\x1b[2J\u202e.csv", p.read("subjects.csv"))
	for _, args := range [][]string{{"run", p.path("evil\x1b[2J\u202e.csv")}, {"status"}, {"run", p.path("none\x1b[2J.csv")}, {"confirm", p.path("none\x1b[2J.csv")}} {
		if _, out := p.run(args...); strings.ContainsAny(out, "\x1b\u202e") {
			t.Errorf("%v prints control characters: %q", args, out)
		}
	}
}
