package exports

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"filippo.io/age"

	"expunge/store/atomicfile"
)

// ErrOpenDir: others may write to the folder, so that what is in it could be exchanged.
var ErrOpenDir = errors.New("others may write to this folder: chmod 700 it")

// Vault is the folder in which exports are kept. It is safe for concurrent use, for
// different exports.
type Vault struct {
	dir        string
	recipients []age.Recipient
	now        func() time.Time
	step       func(name string) error // tests: what happens after a step; nil: nothing
}

// after tells a test that a step is done. Its error stands for a crash.
func (v *Vault) after(step string) error {
	if v.step == nil {
		return nil
	}
	return v.step(step)
}

// Kept is an export that is on disk, complete, or known to hold nothing.
type Kept struct {
	File      string    `json:"file,omitempty"` // the name in the folder; "" where nothing was held
	Bytes     int64     `json:"bytes,omitempty"`
	SHA256    string    `json:"sha256,omitempty"` // of the file as it is, encrypted
	Vendor    string    `json:"vendor"`
	Reference string    `json:"reference"`
	FetchedAt time.Time `json:"fetched_at"`
	Content
}

// Open opens a vault, making its folder if need be (mode 0700). recipients are age public
// keys.
func Open(dir string, recipients []string, now func() time.Time) (*Vault, error) {
	keys, err := parse(recipients)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	v := &Vault{dir: dir, recipients: keys, now: now}
	return v, v.try()
}

// Check reports whether a vault could be opened. It makes no folder.
func Check(dir string, recipients []string) error {
	if _, err := parse(recipients); err != nil {
		return err
	}
	err := (&Vault{dir: dir}).try()
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	parent := filepath.Dir(dir)
	f, err := os.CreateTemp(parent, ".try-*")
	if errors.Is(err, fs.ErrNotExist) && parent != dir {
		return nil // several levels are to be made
	}
	if err != nil {
		return err
	}
	return errors.Join(f.Close(), os.Remove(f.Name()))
}

func parse(recipients []string) ([]age.Recipient, error) {
	keys, err := age.ParseRecipients(strings.NewReader(strings.Join(recipients, "\n")))
	if err != nil {
		return nil, errors.New("export recipients: not all of them are age public keys")
	}
	return keys, nil
}

// try finds out now whether files can be made, and not when there is one chance to keep
// something.
func (v *Vault) try() error {
	st, err := os.Stat(v.dir)
	switch {
	case err != nil:
		return err
	case !st.IsDir():
		return fmt.Errorf("%s is not a folder", v.dir)
	case st.Mode().Perm()&0o022 != 0:
		return fmt.Errorf("%s: %w", v.dir, ErrOpenDir)
	}
	f, err := os.CreateTemp(v.dir, ".try-*")
	if err != nil {
		return err
	}
	return errors.Join(f.Close(), os.Remove(f.Name()))
}

var plainReference = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9-]{0,63}$`)

// stem is the beginning of the names of an export's files. A vendor's name has no dot, and
// neither has what follows it.
func (v *Vault) stem(vendor, reference string) string {
	if !plainReference.MatchString(reference) {
		sum := sha256.Sum256([]byte(reference))
		reference = hex.EncodeToString(sum[:])
	}
	return vendor + "." + reference
}

// The endings of the names.
const (
	endFile     = ".zip.age"
	endPart     = ".zip.age.part"
	endManifest = ".json"
)

func (v *Vault) path(stem, end string) string { return filepath.Join(v.dir, stem+end) }

// Find returns an export that is kept already, after finishing what was cut short. ok is
// false where there is none: it has to be fetched.
func (v *Vault) Find(vendor, reference string) (k Kept, ok bool, err error) {
	stem := v.stem(vendor, reference)
	text, err := os.ReadFile(v.path(stem, endManifest))
	if errors.Is(err, fs.ErrNotExist) {
		return Kept{}, false, nil
	}
	if err != nil {
		return Kept{}, false, err
	}
	if err := json.Unmarshal(text, &k); err != nil || k.Vendor != vendor || k.Reference != reference {
		return Kept{}, false, fmt.Errorf("%s: not the manifest of this export", v.path(stem, endManifest))
	}
	if k.Empty {
		return k, true, nil
	}
	path := v.path(stem, endFile)
	if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
		// Cut short between the manifest and the name.
		part := v.path(stem, endPart)
		if err := v.same(part, k); err != nil {
			return Kept{}, false, err
		}
		if err := v.rename(part, path); err != nil {
			return Kept{}, false, err
		}
		return k, true, nil
	}
	return k, true, v.same(path, k)
}

// same makes sure that a file is the one that its manifest tells of.
func (v *Vault) same(path string, k Kept) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	sum := sha256.New()
	n, err := io.Copy(sum, f)
	if err != nil {
		return err
	}
	if n != k.Bytes || hex.EncodeToString(sum.Sum(nil)) != k.SHA256 {
		return fmt.Errorf("%s differs from its manifest", path)
	}
	return nil
}

func (v *Vault) rename(from, to string) error {
	if err := os.Rename(from, to); err != nil {
		return err
	}
	return atomicfile.SyncDir(v.dir)
}

// Drop removes what an attempt that is given up has left: an unfinished file. It never
// touches a finished one.
func (v *Vault) Drop(vendor, reference string) error {
	stem := v.stem(vendor, reference)
	if _, err := os.Lstat(v.path(stem, endManifest)); err == nil {
		return nil
	}
	if err := os.Remove(v.path(stem, endPart)); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// Receiver takes in one export. Write what the vendor sends, then Keep it or Discard it.
type Receiver struct {
	v                 *Vault
	vendor, reference string
	stem              string

	file *os.File
	out  *bufio.Writer
	sum  hash.Hash
	n    int64
	seal io.WriteCloser // the encryption; what goes in is in clear
	look ends
	err  error // what went wrong on our side
}

// Receive begins to take in an export. Everything that can fail on our side before there
// is any content fails here.
func (v *Vault) Receive(vendor, reference string) (*Receiver, error) {
	r := &Receiver{v: v, vendor: vendor, reference: reference, stem: v.stem(vendor, reference), sum: sha256.New()}
	part := v.path(r.stem, endPart)
	if err := os.Remove(part); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var err error
	if r.file, err = os.OpenFile(part, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600); err != nil {
		return nil, err
	}
	r.out = bufio.NewWriterSize(r.file, 64<<10)
	if r.seal, err = age.Encrypt(cipherWriter{r}, v.recipients...); err == nil {
		err = r.out.Flush()
	}
	if err != nil {
		r.file.Close()
		os.Remove(part)
		return nil, err
	}
	return r, nil
}

// cipherWriter takes what the encryption puts out.
type cipherWriter struct{ r *Receiver }

func (w cipherWriter) Write(p []byte) (int, error) {
	n, err := w.r.out.Write(p)
	w.r.sum.Write(p[:n])
	w.r.n += int64(n)
	return n, err
}

// Write implements io.Writer. Its errors are those of our side, see Err.
func (r *Receiver) Write(p []byte) (int, error) {
	if r.err != nil {
		return 0, r.err
	}
	r.look.Write(p)
	n, err := r.seal.Write(p)
	r.err = err
	return n, err
}

// Err is what went wrong on our side (the disk), or nil.
func (r *Receiver) Err() error { return r.err }

// Discard ends the attempt and leaves nothing of it.
func (r *Receiver) Discard() {
	if r.file == nil {
		return
	}
	r.file.Close()
	r.file = nil
	os.Remove(r.v.path(r.stem, endPart))
}

// Keep ends the attempt and keeps what was received: when it returns without an error, the
// export is on disk and would survive a power loss. ErrNotExport says that it is none, and
// nothing is kept; any other error is one of our side.
func (r *Receiver) Keep() (Kept, error) {
	if r.err != nil {
		r.Discard()
		return Kept{}, r.err
	}
	content, err := r.look.content()
	if err != nil {
		r.Discard()
		return Kept{}, err
	}
	k := Kept{Vendor: r.vendor, Reference: r.reference, FetchedAt: r.v.now().UTC().Truncate(time.Second), Content: content}
	if k.Empty {
		r.Discard()
		return k, r.v.manifest(r.stem, k)
	}
	if err := errors.Join(r.seal.Close(), r.out.Flush(), r.file.Sync()); err != nil {
		r.Discard()
		return Kept{}, err
	}
	part := r.v.path(r.stem, endPart)
	k.File, k.Bytes, k.SHA256 = r.stem+endFile, r.n, hex.EncodeToString(r.sum.Sum(nil))
	err = r.file.Close()
	r.file = nil
	if err == nil {
		err = r.v.after("synced")
	}
	if err == nil {
		err = r.v.manifest(r.stem, k)
	}
	if err == nil {
		err = r.v.after("manifest")
	}
	if err == nil {
		err = r.v.rename(part, r.v.path(r.stem, endFile))
	}
	if err == nil {
		err = r.v.after("named")
	}
	if err != nil {
		return Kept{}, err // the part stays: Find finishes it if its manifest is there
	}
	return k, nil
}

// manifest writes what is known of an export, durably. The file's name, too, is on disk
// before its manifest's.
func (v *Vault) manifest(stem string, k Kept) error {
	text, err := json.MarshalIndent(k, "", "  ")
	if err != nil {
		return err
	}
	if err := atomicfile.SyncDir(v.dir); err != nil {
		return err
	}
	return atomicfile.WriteFile(v.path(stem, endManifest), nil, func(w io.Writer) error {
		_, err := w.Write(append(text, '\n'))
		return err
	})
}
