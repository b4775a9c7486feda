package config

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"

	"expunge/store/atomicfile"
	"expunge/vendors"
	"expunge/vendors/strict"
)

// fileMax bounds the config and every file that it names: they are meant to be a few
// kilobytes, and a mistaken path must not fill the memory.
const fileMax = 1 << 20

const filePrefix = "file:"

var envName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// decoder reads a config: strictly, and with values from outside the file.
type decoder struct {
	*strict.Decoder
	dir      string
	offline  bool
	getenv   func(string) (string, bool)
	readFile func(path string) ([]byte, fs.FileMode, error)

	hidden   []string  // values that must not be shown
	literals []literal // secrets that the file holds itself
	warnings []string
}

type literal struct {
	key  string
	node *yaml.Node
}

func newDecoder(path string, o Options) *decoder {
	d := &decoder{Decoder: strict.New(path), dir: filepath.Dir(path), offline: o.Offline, getenv: o.Getenv, readFile: readSmall}
	if d.getenv == nil {
		d.getenv = os.LookupEnv
	}
	d.Expand, d.Hint = d.scalar, keyHint
	return d
}

func (d *decoder) warn(n *yaml.Node, key, text string) {
	d.warnings = append(d.warnings, strict.Where(d.Path, n.Line, key)+text)
}

// keyHint says where a key belongs that stands in a wrong place.
func keyHint(group, name string, _ []string) string {
	_, top := strict.FieldsOf(reflect.TypeFor[file]())
	_, common := strict.FieldsOf(reflect.TypeFor[vendors.Common]())
	switch {
	case group != "" && slices.Contains(top, name):
		return name + " belongs at the top of the file, not indented"
	case group == "" && slices.Contains(common, name):
		return name + " belongs to a vendor: indent it below one"
	}
	return ""
}

// fromFile is a value that is not the content of the file that file: names, but is made of it
// and of its name.
type fromFile interface {
	UnmarshalFile(path string, content []byte) error
}

// document reads the file that a value is made of. Who can change it decides what is sent where.
func (d *decoder) document(n *yaml.Node, key string, v fromFile) {
	path := d.resolve(strings.TrimPrefix(n.Value, filePrefix))
	content, mode, err := d.readFile(path)
	switch {
	case err != nil:
		d.Add(n, &Error{Key: key, Problem: strict.Show(n.Value) + " " + cause(err), Cause: err})
	case mode&0o022 != 0:
		d.Fail(n, key, fmt.Sprintf("%s can be changed by others (mode %04o)", strict.Show(n.Value), mode.Perm()), "chmod go-w "+strict.Show(path))
	default:
		if err := v.UnmarshalFile(path, content); err != nil {
			d.Fail(n, key, err.Error(), "")
		}
	}
}

// scalar expands one value, and takes note of what it must not show.
func (d *decoder) scalar(n *yaml.Node, key string, v reflect.Value) (text string, hidden, ok bool) {
	if of, is := v.Addr().Interface().(fromFile); is && strings.HasPrefix(n.Value, filePrefix) {
		d.document(n, key, of)
		return "", false, false
	}
	text, from, e := d.expand(n.Value)
	if e != nil {
		if !d.absent(n, key, v, e) {
			e.Key = key
			d.Add(n, e)
		}
		return "", true, false
	}
	if from.warning != "" {
		d.warn(n, key, from.warning)
	}
	_, secret := v.Addr().Interface().(*vendors.Secret)
	if secret && !from.outside && text != "" {
		d.literals = append(d.literals, literal{key, n})
	}
	if from.outside || secret {
		d.hidden = append(d.hidden, text)
	}
	return text, from.outside || secret, true
}

// errNotSet: an environment variable is not set, or empty.
var errNotSet = errors.New("not set")

// absent puts something in the place of a vendor's value that is not there, where it is not
// needed. The key counts as failed, so that no check is told of it.
func (d *decoder) absent(n *yaml.Node, key string, v reflect.Value, e *Error) bool {
	missing := errors.Is(e.Cause, errNotSet) || errors.Is(e.Cause, fs.ErrNotExist) || errors.Is(e.Cause, fs.ErrPermission)
	if !d.offline || !missing || !strings.HasPrefix(key, "vendors.") || strings.HasSuffix(key, "_recipients") {
		return false // nothing can stand for a public key: each is checked
	}
	// Different for different values: two accounts are not one for want of their names.
	text := n.Value
	if strings.HasSuffix(key, "url") {
		text = fmt.Sprintf("https://%x.invalid", n.Value)
	}
	switch to := v.Addr().Interface().(type) {
	case *vendors.Secret:
		*to = vendors.NewSecret(text)
	case *string:
		*to = text
	default:
		return false
	}
	d.Failed[key] = true
	return true
}

// origin says where a value's text comes from.
type origin struct {
	outside bool   // from the environment or a file: never shown
	warning string // what to tell about it, may be ""
}

// expand replaces what raw takes from outside the file.
func (d *decoder) expand(raw string) (string, origin, *Error) {
	if rest, ok := strings.CutPrefix(raw, filePrefix); ok {
		text, warning, t := d.fromFile(raw, rest)
		return text, origin{outside: true, warning: warning}, t
	}
	text, outside, t := d.fromEnv(raw)
	return text, origin{outside: outside}, t
}

// fromEnv replaces each ${NAME}; $${ stands for ${ itself.
func (d *decoder) fromEnv(raw string) (text string, outside bool, t *Error) {
	var b strings.Builder
	for rest := raw; ; {
		at := strings.Index(rest, "${")
		if at < 0 {
			b.WriteString(rest)
			return b.String(), outside, nil
		}
		if at > 0 && rest[at-1] == '$' {
			b.WriteString(rest[:at-1] + "${")
			rest = rest[at+2:]
			continue
		}
		b.WriteString(rest[:at])
		name, after, closed := strings.Cut(rest[at+2:], "}")
		if !closed || !envName.MatchString(name) {
			// What stands there may be a piece of a secret: it is not quoted.
			return "", outside, &Error{
				Problem: "has a ${ that does not begin the name of an environment variable",
				Hint:    "write ${NAME}, or $${ for the two characters ${",
			}
		}
		value, set := d.getenv(name)
		switch {
		case !set:
			return "", true, &Error{
				Problem: fmt.Sprintf("environment variable %s is not set", name),
				Hint:    fmt.Sprintf("set %s for this process, or use file:PATH", name),
				Cause:   errNotSet,
			}
		case value == "":
			return "", true, &Error{
				Problem: fmt.Sprintf("environment variable %s is empty", name),
				Hint:    fmt.Sprintf("set %s for this process, or use file:PATH", name),
				Cause:   errNotSet,
			}
		}
		b.WriteString(value)
		outside, rest = true, after
	}
}

// fromFile reads the file that path names, after expanding the environment in it. raw is
// the value as the config has it, for messages.
func (d *decoder) fromFile(raw, path string) (text, warning string, t *Error) {
	path, _, t = d.fromEnv(path)
	if t != nil {
		return "", "", t
	}
	if path == "" {
		return "", "", &Error{Problem: "file: names no file", Hint: "write file:PATH"}
	}
	content, mode, err := d.readFile(d.resolve(path))
	if err != nil {
		return "", "", &Error{Problem: strict.Show(raw) + " " + cause(err), Cause: err}
	}
	text = strings.TrimPrefix(string(content), "\ufeff") // as some editors begin every file
	text = strings.TrimSuffix(strings.TrimSuffix(text, "\n"), "\r")
	if text == "" {
		return "", "", &Error{Problem: strict.Show(raw) + " is empty"}
	}
	if mode&0o077 != 0 && !d.credential(path) {
		warning = fmt.Sprintf("%s can be read by others (mode %04o): chmod 600 it", strict.Show(raw), mode.Perm())
	}
	return text, warning, nil
}

// credential reports whether path is one that systemd handed to this service. Access to
// these is by an access control list, whose mask stands where the group's bits are.
func (d *decoder) credential(path string) bool {
	dir, ok := d.getenv("CREDENTIALS_DIRECTORY")
	if !ok || dir == "" {
		return false
	}
	rel, err := filepath.Rel(dir, path)
	return err == nil && filepath.IsLocal(rel)
}

// resolve makes a path of the file relative to the file's folder.
func (d *decoder) resolve(path string) string {
	if path == "" || filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(d.dir, path)
}

var errTooLarge = fmt.Errorf("is larger than %d bytes", fileMax)

// cause words an error of readFile without the path, which may hold the environment's.
func cause(err error) string {
	var pe *fs.PathError
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "does not exist"
	case errors.Is(err, fs.ErrPermission):
		return "cannot be read: permission denied"
	case errors.Is(err, atomicfile.ErrNotRegular):
		return atomicfile.ErrNotRegular.Error()
	case errors.Is(err, errTooLarge):
		return errTooLarge.Error()
	case errors.As(err, &pe):
		return "cannot be read: " + pe.Err.Error()
	}
	return "cannot be read"
}

// readSmall reads a small regular file.
func readSmall(path string) ([]byte, fs.FileMode, error) {
	f, info, err := atomicfile.OpenRegular(path)
	if err != nil {
		return nil, 0, err
	}
	defer f.Close()
	content, err := io.ReadAll(io.LimitReader(f, fileMax+1))
	if err == nil && len(content) > fileMax {
		err = errTooLarge
	}
	return content, info.Mode(), err
}
