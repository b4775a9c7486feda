package main

import (
	"errors"
	"os"
	"strings"
	"testing"

	"expunge/store/seal"
)

// snapshot is the content of the site's files.
func (p *privateSite) snapshot() map[string]string {
	p.Helper()
	all := map[string]string{}
	entries, err := os.ReadDir(p.dir)
	if err != nil {
		p.Fatal(err)
	}
	for _, e := range entries {
		all[e.Name()] = p.read(e.Name())
	}
	return all
}

// restore puts the files of a snapshot back, and nothing else.
func (p *privateSite) restore(all map[string]string) {
	p.Helper()
	for name := range p.snapshot() {
		if err := os.Remove(p.path(name)); err != nil {
			p.Fatal(err)
		}
	}
	for name, text := range all {
		p.write(name, text)
	}
}

func (p *privateSite) rotated(report, oldKey string) {
	p.Helper()
	for _, name := range []string{"expunge.key.new", "expunge.key.old", ".expunge.key.tmp"} {
		if p.exists(name) {
			p.Errorf("%s is left", name)
		}
	}
	if st, err := os.Stat(p.path("expunge.key")); err != nil || st.Mode().Perm() != 0o600 {
		p.Errorf("the key file: %v %v", st.Mode(), err)
	}
	if key := p.read("expunge.key"); key == oldKey {
		p.Error("the key file is the old one")
	}
	if got := p.must("report"); got != report {
		p.Errorf("the report has changed:\n%s\nwas\n%s", got, report)
	}
}

// TestKeyRotate: afterwards the new key opens everything that was there, the old one
// nothing, and neither is left anywhere else.
func TestKeyRotate(t *testing.T) {
	p := newPrivateSite(t, 20)
	p.takeIn(p.path("subjects.csv"))
	report, oldKey := p.must("report"), p.read("expunge.key")
	out := p.must("key", "rotate")
	if !strings.Contains(out, "20 subjects resealed") {
		t.Errorf("prints %s", out)
	}
	p.rotated(report, oldKey)
	newKey := p.read("expunge.key")
	if strings.Contains(out, strings.TrimSpace(newKey)) {
		t.Error("the key is printed")
	}
	p.write("expunge.key", oldKey)
	if code, out := p.run("report"); code != exitUsage || !strings.Contains(out, "does not open") {
		t.Errorf("the old key: exit %d %s", code, out)
	}
	p.write("expunge.key", newKey)
	p.must("key", "rotate") // and once more
	p.rotated(report, newKey)
}

// TestKeyRotateCutShort puts the folder into every state that a crash can leave, one by
// one, and runs the command again.
func TestKeyRotateCutShort(t *testing.T) {
	p := newPrivateSite(t, 5)
	p.takeIn(p.path("subjects.csv"))
	report, oldKey := p.must("report"), p.read("expunge.key")
	newKey := seal.NewKey().Text()
	zeros := strings.Repeat("\x00", len(oldKey))
	before := p.snapshot()

	// The store after the first commit of the rotation, and before the last.
	begun := func() { t.Helper(); rotateStore(t, p, newKey, false) }
	resealed := func() { t.Helper(); rotateStore(t, p, newKey, true) }
	states := []struct {
		name string
		make func()
	}{
		{"the new key is written", func() { p.write("expunge.key.new", newKey) }},
		{"the old key is kept", func() { p.write("expunge.key.new", newKey); p.write("expunge.key.old", oldKey) }},
		{"the store has changed hands", func() {
			begun()
			p.write("expunge.key.new", newKey)
			p.write("expunge.key.old", oldKey)
		}},
		{"the key file is half replaced", func() {
			begun()
			p.write("expunge.key.new", newKey)
			p.write("expunge.key.old", oldKey)
			p.write(".expunge.key.1234", newKey[:20])
		}},
		{"the key file is replaced", func() {
			begun()
			p.write("expunge.key.new", newKey)
			p.write("expunge.key.old", oldKey)
			p.write("expunge.key", newKey)
		}},
		{"all is resealed", func() {
			resealed()
			p.write("expunge.key.new", newKey)
			p.write("expunge.key.old", oldKey)
			p.write("expunge.key", newKey)
		}},
		{"the new key is wiped", func() {
			resealed()
			p.write("expunge.key.new", zeros)
			p.write("expunge.key.old", oldKey)
			p.write("expunge.key", newKey)
		}},
		{"the old key is wiped", func() { resealed(); p.write("expunge.key.old", zeros); p.write("expunge.key", newKey) }},
		{"the old key is wiped, and nothing begun", func() { p.write("expunge.key.new", newKey); p.write("expunge.key.old", zeros) }},
		{"the old key is removed", func() { resealed(); p.write("expunge.key.new", newKey); p.write("expunge.key", newKey) }},
		{"both files are removed", func() { resealed(); p.write("expunge.key", newKey) }},
	}
	for _, st := range states {
		t.Run(st.name, func(t *testing.T) {
			p.restore(before)
			st.make()
			p.must("key", "rotate")
			p.rotated(report, oldKey)
			if got := p.read("expunge.key"); got != newKey {
				t.Error("the store has another key than the one that was begun with")
			}
		})
	}
}

// TestKeyRotateForeignFiles: a key that is not of this rotation is neither taken for the end
// of one nor removed: backups, or another store, may need it.
func TestKeyRotateForeignFiles(t *testing.T) {
	p := newPrivateSite(t, 5)
	p.takeIn(p.path("subjects.csv"))
	report, oldKey := p.must("report"), p.read("expunge.key")
	newKey, foreign := seal.NewKey().Text(), seal.NewKey().Text()
	before := p.snapshot()
	refused := func(t *testing.T, want, file string) {
		t.Helper()
		key := p.read("expunge.key")
		code, out := p.run("key", "rotate")
		if code != exitUsage || !strings.Contains(out, want) {
			t.Errorf("exit %d %s", code, out)
		}
		if p.read("expunge.key") != key || p.read(file) != foreign {
			t.Error("a key file has changed")
		}
	}
	for name, begin := range map[string]func(){
		"before": func() {},
		"amid": func() {
			rotateStore(t, p, newKey, false)
			p.write("expunge.key.new", newKey)
		},
		"at the end": func() { rotateStore(t, p, newKey, true); p.write("expunge.key", newKey) },
	} {
		t.Run("an old key "+name, func(t *testing.T) {
			p.restore(before)
			begin()
			p.write("expunge.key.old", foreign)
			refused(t, "expunge.key.old", "expunge.key.old")
			if err := os.Remove(p.path("expunge.key.old")); err != nil {
				t.Fatal(err)
			}
			p.must("key", "rotate")
			p.rotated(report, oldKey)
		})
	}
	t.Run("a new key that is wiped", func(t *testing.T) {
		p.restore(before)
		p.write("expunge.key.new", strings.Repeat("\x00", len(oldKey)))
		p.must("key", "rotate")
		p.rotated(report, oldKey)
	})
	t.Run("an empty file", func(t *testing.T) {
		p.restore(before)
		p.write("expunge.key.old", "")
		if code, out := p.run("key", "rotate"); code != exitUsage || !p.exists("expunge.key.old") {
			t.Errorf("exit %d %s", code, out)
		}
	})
	t.Run("another store's key", func(t *testing.T) {
		p.restore(before)
		p.write("expunge.key.new", oldKey)
		p.write("expunge.key", foreign)
		refused(t, "another store's key", "expunge.key")
	})
	t.Run("a new key for the next rotation", func(t *testing.T) {
		p.restore(before)
		rotateStore(t, p, newKey, false)
		p.write("expunge.key", newKey)
		p.write("next.key", foreign)
		p.must("key", "rotate", "--new-key-file", p.path("next.key"))
		if p.read("expunge.key") != newKey || p.read("next.key") != foreign {
			t.Error("a key file has changed")
		}
	})
}

// TestKeyRotateRefuses: what is not a plain key file is never replaced, and a command line
// that makes no sense changes nothing.
func TestKeyRotateRefuses(t *testing.T) {
	p := newPrivateSite(t, 2)
	if code, out := p.run("key", "rotate"); code != exitUsage || p.exists("expunge.db") || p.exists("expunge.key") {
		t.Errorf("no store: exit %d %s", code, out)
	}
	p.takeIn(p.path("subjects.csv"))
	key := p.read("expunge.key")
	p.write("same.key", key)
	p.write("foreign.key", "no key\n")
	for name, args := range map[string][]string{
		"environment beside a file": {"--new-key-env", "X"},
		"the present key":           {"--new-key-file", p.path("same.key")},
		"not a key":                 {"--new-key-file", p.path("foreign.key")},
		"an argument":               {"x"},
	} {
		if code, out := p.run(append([]string{"key", "rotate"}, args...)...); code != exitUsage || p.read("expunge.key") != key {
			t.Errorf("%s: exit %d %s", name, code, out)
		}
	}
	if err := os.Rename(p.path("expunge.key"), p.path("real.key")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("real.key", p.path("expunge.key")); err != nil {
		t.Fatal(err)
	}
	if code, out := p.run("key", "rotate"); code != exitUsage || p.read("real.key") != key {
		t.Errorf("a link: exit %d %s", code, out)
	}
}

// TestKeyRotateEnv: a key that comes from the environment can be changed too, and running
// the command again does no harm.
func TestKeyRotateEnv(t *testing.T) {
	p := newPrivateSite(t, 5)
	p.write("expunge.yaml", "key_env: STORE_KEY\n"+p.read("expunge.yaml"))
	old, next := seal.NewKey().Text(), seal.NewKey().Text()
	p.env["STORE_KEY"], p.env["BAD"] = old, "nonsense"
	p.takeIn(p.path("subjects.csv"))
	report := p.must("report")
	for name, args := range map[string][]string{
		"no new key": nil, "not set": {"--new-key-env", "NEW_KEY"}, "not a key": {"--new-key-env", "BAD"},
		"the present one": {"--new-key-env", "STORE_KEY"}, "both": {"--new-key-env", "BAD", "--new-key-file", "x"},
	} {
		if code, out := p.run(append([]string{"key", "rotate"}, args...)...); code != exitUsage || strings.Contains(out, "nonsense") {
			t.Errorf("%s: exit %d %s", name, code, out)
		}
	}
	p.env["NEW_KEY"] = next
	p.must("key", "rotate", "--new-key-env", "NEW_KEY")
	p.must("key", "rotate", "--new-key-env", "NEW_KEY") // the environment is as before: nothing is left to do
	if code, _ := p.run("report"); code != exitUsage {
		t.Errorf("the old key: exit %d", code)
	}
	p.env["STORE_KEY"] = next
	if got := p.must("report"); got != report {
		t.Error("the report has changed")
	}
	p.must("key", "rotate", "--new-key-file", p.path("made.key"))
	p.env["STORE_KEY"] = p.read("made.key")
	if got := p.must("report"); got != report {
		t.Error("the report has changed")
	}
}

// rotateStore makes the store's first commit of a rotation, or all but the last.
func rotateStore(t *testing.T, p *privateSite, newKey string, reseal bool) {
	t.Helper()
	present, err := seal.ParseKey(p.read("expunge.key"))
	if err != nil {
		t.Fatal(err)
	}
	next, err := seal.ParseKey(newKey)
	if err != nil {
		t.Fatal(err)
	}
	st := openRaw(t, p, present)
	if err := st.BeginRotation(t.Context(), next); err != nil {
		t.Fatal(err)
	}
	if reseal {
		dead := errors.New("dead")
		if _, err := st.FinishRotation(t.Context(), func() error { return dead }); !errors.Is(err, dead) {
			t.Fatal(err)
		}
	}
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
}
