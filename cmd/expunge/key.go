package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"

	"github.com/spf13/cobra"

	"expunge/batch/config"
	"expunge/store"
	"expunge/store/atomicfile"
	"expunge/store/seal"
)

func (a *app) keyCommand() *cobra.Command {
	var file, env string
	rotate := &cobra.Command{
		Use:   "rotate",
		Short: "Seal the store under a new key",
		Long: "Makes a new key, seals the store under it and puts it in the place of key_file. The old key is kept as\n" +
			"key_file.old until the store needs it no more, then overwritten and removed. Cut short, it is finished by running\n" +
			"it again. Backups of the store that were made before still open with the old key.\n\n" +
			"With key_env, name the variable that holds the new key with --new-key-env, or have one made with --new-key-file;\n" +
			"afterwards key_env must give the new one.",
		Example: "  expunge key rotate\n  expunge key rotate --new-key-env EXPUNGE_KEY_2",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			log := a.logger()
			cfg, err := a.loadOffline(log)
			if err != nil {
				return err
			}
			return a.rotate(c.Context(), cfg, file, env)
		},
	}
	rotate.Flags().StringVar(&file, "new-key-file", "", "`FILE` with the new key, made if it is not there (default: key_file with .new behind it)")
	rotate.Flags().StringVar(&env, "new-key-env", "", "environment variable with the new key, for a store with key_env (its `NAME`)")
	return group(&cobra.Command{Use: "key", Short: "The key that seals the store", Example: "  expunge key rotate"}, rotate)
}

func (a *app) rotate(ctx context.Context, cfg *config.Config, file, env string) (err error) {
	if _, err := os.Lstat(cfg.Store); errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: %s", store.ErrNoStore, cfg.Store)
	}
	r := rotation{a: a, cfg: cfg, next: file}
	switch {
	case cfg.KeyEnv == "" && env != "":
		return usage(errors.New("--new-key-env goes with key_env, and the config has key_file"), "run it without, or change the config to key_env first")
	case cfg.KeyEnv == "":
		return r.byFile(ctx)
	case env != "" && file != "":
		return usage(errors.New("--new-key-env and --new-key-file: give one of the two"), "leave one of them out")
	case env == "" && file == "":
		return usage(errors.New("the key comes from key_env, and no new one is named"), "name the variable that holds it with --new-key-env, or have one made with --new-key-file")
	}
	return r.byEnv(ctx, env)
}

// rotation is a change of the key. With a key file, every step can be the last one before
// a crash:
//
//	next is written            the store opens with key_file; next is used the next time
//	old is written             the same
//	store.BeginRotation        the store opens with next only
//	key_file is replaced       the store opens with key_file
//	store.FinishRotation       the same: it reseals, and
//	next and old are removed   the same, before it
//	drops the old key          done
//
// What a file called old is worth only the store can say: it may be of an earlier time, and
// backups may need it.
type rotation struct {
	a    *app
	cfg  *config.Config
	next string // file with the new key
	st   *store.Store
}

// open opens the store with the first of the keys that fits, and returns which one that is.
func (r *rotation) open(ctx context.Context, keys ...seal.Key) (n int, err error) {
	for n, key := range keys {
		o := r.a.storeOptions(r.cfg, false, true)
		o.Key = func(bool) (seal.Key, error) { return key, nil }
		r.st, err = store.Open(ctx, r.cfg.Store, o)
		if !errors.Is(err, seal.ErrWrongKey) {
			return n, err
		}
	}
	return 0, err
}

func (r *rotation) byFile(ctx context.Context) (err error) {
	path, old := r.cfg.KeyFile, r.cfg.KeyFile+".old"
	if r.next == "" {
		r.next = path + ".new"
	}
	for _, p := range []string{path, r.next, old} {
		if err := atomicfile.CheckTarget(p); err != nil {
			return usage(err, "name the file itself in key_file: it is going to be replaced")
		}
	}
	present, err := seal.LoadFile(path)
	if err != nil {
		return err
	}
	keys := []seal.Key{present}
	own, err := ownerOf(path)
	if err != nil {
		return err
	}
	next, haveNext, err := loadUnlessWiped(r.next)
	if err != nil {
		return err
	}
	if haveNext {
		keys = append(keys, next)
	}
	former, haveOld, err := loadUnlessWiped(old)
	if err != nil {
		return err
	}
	n, err := r.open(ctx, keys...)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.st.Close()) }()
	for _, p := range []string{r.next, old} {
		if wiped(p) {
			if err := os.Remove(p); err != nil {
				return err
			}
		}
	}
	if ours := r.st.Replaces(former) || !r.st.Rotating() && former == present; haveOld && !ours {
		return usage(fmt.Errorf("%s holds a key that this rotation does not replace", old), "move it away (backups made earlier may need it), then run it again")
	}
	switch {
	case n == 1 && !r.st.Replaces(present):
		return usage(fmt.Errorf("%s holds another store's key, and %s this one's", path, r.next), "move the one away and put the other in its place")
	case n == 1: // cut short before key_file was replaced
		present = next
	case r.st.Rotating():
	default:
		if !haveNext {
			next = seal.NewKey()
			if err := seal.WriteFile(r.next, next, own); err != nil {
				return err
			}
		}
		if next == present {
			return usage(fmt.Errorf("%s holds the present key", r.next), "remove it, or name another with --new-key-file")
		}
		if !haveOld {
			if err := seal.WriteFile(old, present, own); err != nil {
				return err
			}
		}
		if err := r.st.BeginRotation(ctx, next); err != nil {
			return err
		}
		present = next
	}
	if err := replaceKey(path, present, own); err != nil {
		return err
	}
	spare := []string{old}
	if next == present { // else it is for another rotation
		spare = append(spare, r.next)
	}
	resealed, err := r.st.FinishRotation(ctx, func() error {
		for _, p := range spare {
			if err := wipe(p); err != nil {
				return fmt.Errorf("the store is sealed under the new key, but a key file is left: %w", err)
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("%w (run it again to go on)", err)
	}
	if err := r.a.publish(ctx, r.cfg, r.st); err != nil {
		return err
	}
	r.a.note(slog.LevelInfo, "", "the store is sealed under the key that is now in %s (%d subjects resealed); backups made before open with the old key only", path, resealed)
	return nil
}

func (r *rotation) byEnv(ctx context.Context, env string) (err error) {
	present, err := r.a.key(r.cfg)(false)
	if err != nil {
		return err
	}
	var next seal.Key
	if env != "" {
		text, ok := r.a.getenv(env)
		if !ok || text == "" {
			return usage(fmt.Errorf("the environment variable %s (--new-key-env) is not set", env), "set it to the new key for this command")
		}
		if next, err = seal.ParseKey(text); err != nil {
			return usage(fmt.Errorf("%s: %w", env, err), "`expunge key rotate --new-key-file FILE` makes one")
		}
	} else {
		var there bool
		if next, there, err = loadIfThere(r.next); err == nil && !there {
			next = seal.NewKey()
			err = seal.WriteFile(r.next, next, nil)
		}
		if err != nil {
			return err
		}
		env = r.next
	}
	if next == present {
		return usage(fmt.Errorf("%s holds the present key", env), "give another one")
	}
	n, err := r.open(ctx, present, next)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.st.Close()) }()
	if n == 0 && !r.st.Rotating() {
		if err := r.st.BeginRotation(ctx, next); err != nil {
			return err
		}
	}
	resealed, err := r.st.FinishRotation(ctx, nil)
	if err != nil {
		return fmt.Errorf("%w (run it again to go on)", err)
	}
	if err := r.a.publish(ctx, r.cfg, r.st); err != nil {
		return err
	}
	r.a.note(slog.LevelInfo, fmt.Sprintf("give %s the key in %s before the next run", r.cfg.KeyEnv, env),
		"the store is sealed under the new key (%d subjects resealed); backups made before open with the old key only", resealed)
	return nil
}

// loadIfThere reads a key file that need not be there.
func loadIfThere(path string) (seal.Key, bool, error) {
	k, err := seal.LoadFile(path)
	if errors.Is(err, seal.ErrNoKey) {
		return k, false, nil
	}
	return k, err == nil, err
}

// ownerOf returns what gives a new file the owner and group of the key file. Whether that is
// allowed is tried first, before anything changes.
func ownerOf(path string) (func(*os.File) error, error) {
	st, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	own := func(f *os.File) error { return keepOwner(f, st) }
	f, err := atomicfile.Create(path)
	if err != nil {
		return nil, err
	}
	defer f.Discard()
	if err := own(f.File); err != nil {
		return nil, usage(fmt.Errorf("%s: the new key file could not have its owner and group: %w", path, err), "run it as the user that the key file belongs to")
	}
	return own, nil
}

// loadUnlessWiped is loadIfThere, to which a file that is wiped is not there.
func loadUnlessWiped(path string) (seal.Key, bool, error) {
	k, there, err := loadIfThere(path)
	if errors.Is(err, seal.ErrBadKey) && wiped(path) {
		return k, false, nil
	}
	return k, there, err
}

// replaceKey puts the key into the file at path, whole and durably, if it is not there yet.
func replaceKey(path string, k seal.Key, own func(*os.File) error) error {
	if have, err := seal.LoadFile(path); err == nil && have == k {
		return nil
	}
	for _, left := range atomicfile.Leftovers(path) { // of a rotation that was cut short
		if err := wipe(left); err != nil {
			return err
		}
	}
	return seal.ReplaceFile(path, k, own)
}

// wipe overwrites a key file and removes it. What the file system or the disk keeps of the
// old content is beyond us.
func wipe(path string) error {
	if err := atomicfile.CheckTarget(path); err != nil {
		return err
	}
	st, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if f, err := os.OpenFile(path, os.O_WRONLY, 0); err == nil {
		_, err = f.Write(make([]byte, st.Size()))
		if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
			return err
		}
	}
	return os.Remove(path)
}

// wiped reports whether the file is one that wipe overwrote and, cut short, did not remove.
func wiped(path string) bool {
	st, err := os.Lstat(path)
	if err != nil || !st.Mode().IsRegular() || st.Size() == 0 || st.Size() > 4096 { // longer than any key file
		return false
	}
	b, err := os.ReadFile(path)
	return err == nil && len(bytes.Trim(b, "\x00")) == 0
}
