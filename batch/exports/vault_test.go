package exports

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"filippo.io/age"
	"github.com/google/go-cmp/cmp"
)

// marker stands for a person's data: it must never be on disk in clear.
const marker = "canary-7c41-of-a-person"

const jid = "ca24b4e2-34ab-406a-a4db-b30b0247837a"

func clock() time.Time { return time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC) }

func identity(t testing.TB) *age.X25519Identity {
	t.Helper()
	id, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// vault opens one in a new folder. TMPDIR is a new folder as well, and both are searched
// for the marker at the end.
func vault(t testing.TB, id *age.X25519Identity) (*Vault, string) {
	t.Helper()
	root := t.TempDir()
	tmp := filepath.Join(root, "tmp")
	if err := os.Mkdir(tmp, 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("TMPDIR", tmp)
	t.Cleanup(func() { clean(t, root) })
	dir := filepath.Join(root, "exports")
	v, err := Open(dir, []string{id.Recipient().String()}, clock)
	if err != nil {
		t.Fatal(err)
	}
	return v, dir
}

func clean(t testing.TB, root string) {
	t.Helper()
	filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			if b, _ := os.ReadFile(path); bytes.Contains(b, []byte(marker)) {
				t.Errorf("%s holds a person's data in clear", path)
			}
		}
		return nil
	})
}

func names(t testing.TB, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	all := []string{}
	for _, e := range entries {
		all = append(all, e.Name())
	}
	return all
}

// data is an export with the marker in it, not compressed, so that it would be found.
func data(t testing.TB) []byte {
	return pack(t, file{name: "views.jsonl", text: `{"who":"` + marker + "\"}\n{}\n", stored: true})
}

func receive(t testing.TB, v *Vault, b []byte) *Receiver {
	t.Helper()
	r, err := v.Receive("voyado-se", jid)
	if err != nil {
		t.Fatal(err)
	}
	for chunk := b; len(chunk) > 0; { // in pieces, with a look at the disk in between
		n := min(len(chunk), 100)
		if _, err := r.Write(chunk[:n]); err != nil {
			t.Fatal(err)
		}
		chunk = chunk[n:]
		clean(t, v.dir)
	}
	return r
}

// What is kept can be opened by its recipient, is what was sent, and is found again as it
// was reported.
func TestKeep(t *testing.T) {
	id := identity(t)
	v, dir := vault(t, id)
	if st, err := os.Stat(dir); err != nil || st.Mode().Perm() != 0o700 {
		t.Errorf("%v, %v: the folder is not ours alone", st.Mode(), err)
	}
	b := data(t)
	if _, ok, err := v.Find("voyado-se", jid); ok || err != nil {
		t.Errorf("found before it was received: %v", err)
	}
	k, err := receive(t, v, b).Keep()
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"voyado-se." + jid + ".json", "voyado-se." + jid + ".zip.age"}
	if diff := cmp.Diff(want, names(t, dir)); diff != "" || k.File != want[1] || k.Files != 1 {
		t.Errorf("%+v, -want +got:\n%s", k, diff)
	}
	path := filepath.Join(dir, k.File)
	if st, err := os.Stat(path); err != nil || st.Mode().Perm() != 0o600 || st.Size() != k.Bytes {
		t.Errorf("%v, %v", st, err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	plain, err := age.Decrypt(f, id)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(plain); err != nil || !bytes.Equal(got, b) {
		t.Errorf("what comes out is not what went in: %v", err)
	}
	again, ok, err := v.Find("voyado-se", jid)
	if diff := cmp.Diff(k, again); !ok || err != nil || diff != "" {
		t.Errorf("%v, %v, -kept +found:\n%s", ok, err, diff)
	}
}

// Nothing held leaves the fact, and no file that would have to be explained.
func TestKeepEmpty(t *testing.T) {
	v, dir := vault(t, identity(t))
	k, err := receive(t, v, pack(t, file{name: "empty.txt"})).Keep()
	if err != nil || !k.Empty || k.File != "" {
		t.Errorf("%+v, %v", k, err)
	}
	if diff := cmp.Diff([]string{"voyado-se." + jid + ".json"}, names(t, dir)); diff != "" {
		t.Error(diff)
	}
	if again, ok, err := v.Find("voyado-se", jid); !ok || err != nil || !again.Empty {
		t.Errorf("%+v, %v, %v", again, ok, err)
	}
}

// What is no export leaves nothing, and can be tried again.
func TestKeepDamaged(t *testing.T) {
	v, dir := vault(t, identity(t))
	b := data(t)
	for _, bad := range [][]byte{nil, []byte("<html>" + marker), b[:len(b)-1], b[:len(b)/2]} {
		if k, err := receive(t, v, bad).Keep(); !errors.Is(err, ErrNotExport) || k != (Kept{}) {
			t.Errorf("%+v, %v", k, err)
		}
		if left := names(t, dir); len(left) > 0 {
			t.Errorf("left: %v", left)
		}
	}
	r := receive(t, v, b[:100])
	r.Discard()
	r.Discard()
	if left := names(t, dir); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
	if _, err := receive(t, v, b).Keep(); err != nil {
		t.Error(err)
	}
}

// A crash after any step loses nothing that was complete, finishes it under the same name,
// and leaves nothing that passes for an export where it was not.
func TestCrash(t *testing.T) {
	crash := errors.New("crash")
	for _, test := range []struct {
		after string
		found bool
	}{{"received", false}, {"synced", false}, {"manifest", true}, {"named", true}} {
		t.Run(test.after, func(t *testing.T) {
			id := identity(t)
			v, dir := vault(t, id)
			v.step = func(name string) error {
				if name == test.after {
					return crash
				}
				return nil
			}
			r := receive(t, v, data(t))
			if test.after == "received" {
				r.file.Close() // and nobody is left to clean up
			} else if _, err := r.Keep(); !errors.Is(err, crash) {
				t.Fatal(err)
			}
			next, err := Open(dir, []string{id.Recipient().String()}, clock)
			if err != nil {
				t.Fatal(err)
			}
			k, ok, err := next.Find("voyado-se", jid)
			if err != nil || ok != test.found {
				t.Fatalf("found %v, %v", ok, err)
			}
			if !ok {
				if _, err := os.Stat(filepath.Join(dir, "voyado-se."+jid+".zip.age")); !errors.Is(err, fs.ErrNotExist) {
					t.Error("an unfinished file under the final name")
				}
				if k, err = receive(t, next, data(t)).Keep(); err != nil {
					t.Fatal(err)
				}
			}
			want := []string{"voyado-se." + jid + ".json", "voyado-se." + jid + ".zip.age"}
			if diff := cmp.Diff(want, names(t, dir)); diff != "" {
				t.Error(diff)
			}
			if err := next.same(filepath.Join(dir, k.File), k); err != nil || k.Files != 1 {
				t.Errorf("%+v, %v", k, err)
			}
		})
	}
}

// A full disk is our side's error at every point, and leaves nothing.
func TestDiskFull(t *testing.T) {
	v, dir := vault(t, identity(t))
	r, err := v.Receive("voyado-se", jid)
	if err != nil {
		t.Fatal(err)
	}
	r.file.Close() // every write fails from here on
	big := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
	for range 4 {
		r.Write(big)
	}
	if r.Err() == nil {
		t.Error("the disk's error is lost")
	}
	if _, err := r.Keep(); err == nil || errors.Is(err, ErrNotExport) {
		t.Errorf("%v", err)
	}
	if left := names(t, dir); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

// A file that was exchanged behind our back is not passed off as the export.
func TestFindTampered(t *testing.T) {
	v, dir := vault(t, identity(t))
	k, err := receive(t, v, data(t)).Keep()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, k.File)
	b, _ := os.ReadFile(path)
	b[len(b)-1] ^= 1
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, ok, err := v.Find("voyado-se", jid); ok && err == nil {
		t.Error("found")
	}
	if err := os.WriteFile(filepath.Join(dir, "voyado-se."+jid+".json"), []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, ok, err := v.Find("voyado-se", jid); ok || err == nil {
		t.Errorf("%v, %v", ok, err)
	}
}

// A vendor's reference can lead to no other folder, and two never share a file.
func TestNames(t *testing.T) {
	v := &Vault{}
	seen := map[string]bool{}
	for _, ref := range []string{jid, "7", "../../x", "a/b", "a.b", "a", strings.Repeat("x", 65), "", "-x"} {
		for _, vendor := range []string{"voyado", "voyado-a"} {
			stem := v.stem(vendor, ref)
			if seen[stem] || stem != filepath.Base(stem) || strings.HasPrefix(stem, ".") || strings.Count(stem, ".") != 1 {
				t.Errorf("%q at %s: %s", ref, vendor, stem)
			}
			seen[stem] = true
		}
	}
}

// A folder in which others could exchange files is refused, as is one that cannot be
// written: better now than when there is one chance to keep something.
func TestOpen(t *testing.T) {
	id := identity(t).Recipient().String()
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(dir, []string{id}, clock); !errors.Is(err, ErrOpenDir) {
		t.Errorf("%v", err)
	}
	plain := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(plain, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(plain, []string{id}, clock); err == nil {
		t.Error("a file is no folder")
	}
	if _, err := Open(t.TempDir(), []string{"age1nonsense"}, clock); err == nil {
		t.Error("nobody could open what is kept for nobody")
	}
	if _, err := Open(t.TempDir(), nil, clock); err == nil {
		t.Error("no recipient")
	}
}

// Drop removes unfinished attempts, and nothing else.
func TestDrop(t *testing.T) {
	v, dir := vault(t, identity(t))
	r := receive(t, v, data(t)[:50])
	r.file.Close()
	if err := errors.Join(v.Drop("voyado-se", jid), v.Drop("voyado-se", jid)); err != nil || len(names(t, dir)) > 0 {
		t.Errorf("%v: %v", err, names(t, dir))
	}
	if _, err := receive(t, v, data(t)).Keep(); err != nil {
		t.Fatal(err)
	}
	if err := v.Drop("voyado-se", jid); err != nil || len(names(t, dir)) != 2 {
		t.Errorf("%v: %v", err, names(t, dir))
	}
}
