package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"strings"

	"github.com/gofrs/flock"
	"github.com/spf13/cobra"

	"expunge/batch"
	"expunge/batch/config"
	"expunge/store"
	"expunge/store/ledger"
)

func (a *app) backupCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "backup FILE",
		Short: "Copy the store to a file, also while a run goes on",
		Long: "Writes a copy of the store as it stands at one moment, and tries that it is whole and opens with its key. A run need\n" +
			"not be stopped for it. The copy is sealed as the store is: it is worth nothing without the key, which is not in it,\n" +
			"so keep the two apart. Nor are the vault of exports, the config and the reports. It replaces no file. People who are\n" +
			"purged later stay in it: keep backups no longer than you must.",
		Example: "  expunge backup /backup/expunge-2026-11-21.db",
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return a.withStore(c.Context(), true, func(s *session) error { return a.backup(c.Context(), s, args[0]) })
		},
	}
}

func (a *app) backup(ctx context.Context, s *session, file string) error {
	if err := guard(s.cfg, "", target{"backup", file}); err != nil {
		return err
	}
	c, err := store.NewCopy(ctx, s.store.Path(), file, true)
	if err != nil {
		return fmt.Errorf("backup: %w", err)
	}
	defer c.Discard()
	st, err := store.Open(ctx, c.Path(), a.storeOptions(s.cfg, true, true))
	if err != nil {
		return fmt.Errorf("backup: the copy: %w", err)
	}
	what, err := whole(ctx, st)
	if err = errors.Join(err, st.Close()); err != nil {
		return fmt.Errorf("backup: the copy: %w", err)
	}
	if err := c.Link(); err != nil {
		return fmt.Errorf("backup: %w", err)
	}
	a.note(slog.LevelInfo, "", "%s: %s", file, what)
	return nil
}

// whole finds out whether a store is damaged, and says what is in it.
func whole(ctx context.Context, st *store.Store) (string, error) {
	found, err := st.CheckFile(ctx)
	if err != nil {
		return "", err
	}
	if len(found) > 0 {
		return "", &codeError{exitInternal, fmt.Errorf("it is damaged: %s", found[0]), "`expunge check` says more; use a backup that passes it"}
	}
	batches, err := st.Batches(ctx)
	if err != nil {
		return "", err
	}
	var files, subjects int64
	for _, b := range batches {
		if !b.Loading {
			files, subjects = files+1, subjects+b.Subjects
		}
	}
	h, err := st.Head(ctx)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%d files with %d subjects%s", files, subjects, headWords(h)), nil
}

func headWords(h *ledger.Head) string {
	if h == nil {
		return ", no head yet"
	}
	return fmt.Sprintf(", log %s at %d of %s", h.Origin, h.Size, minute(h.At))
}

func (a *app) restoreCommand() *cobra.Command {
	var reason string
	var complete bool
	c := &cobra.Command{
		Use:   "restore FILE --reason TEXT",
		Short: "Put a backup in the place of a store that is lost",
		Long: "Puts a copy of a backup where the store was. Nothing may be there: a damaged store is moved away first, with the files\n" +
			"beside it (-wal, -shm). The backup does not know what was done after it was made: every unfinished task is held at\n" +
			"vendors where a second submission would do harm, for it may have been submitted since, and the log begins a new\n" +
			"epoch. Look there, and decide with `expunge review`. Requests that were taken in since are not in it: give their\n" +
			"files again, with `approval: manual` if some may have been submitted. The key must be the one of the backup.\n\n" +
			"With --complete, for a move to another machine, nothing is held: nothing was done after the backup. That is refused\n" +
			"where heads that were published show otherwise.",
		Example: "  expunge restore /backup/expunge-2026-11-21.db --reason 'disk lost on 22 November'\n  expunge restore /backup/expunge-2026-11-21.db --complete",
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if complete == (strings.TrimSpace(reason) != "") {
				return usage(errors.New("give --reason, or --complete"), "--reason: why, for whoever asks later, with nobody's name in it; --complete: nothing was done after the backup was made")
			}
			return a.restore(c.Context(), args[0], reason)
		},
	}
	c.Flags().StringVar(&reason, "reason", "", "`why`, for the record; no personal data")
	c.Flags().BoolVar(&complete, "complete", false, "nothing was done after the backup was made")
	return c
}

// restore puts the backup back; without a reason, as one after which nothing was done.
func (a *app) restore(ctx context.Context, file, reason string) (err error) {
	log := a.logger()
	cfg, err := a.loadOffline(log)
	if err != nil {
		return err
	}
	lock := flock.New(cfg.Store+".lock", flock.SetPermissions(0o600))
	switch mine, err := lock.TryLock(); {
	case err != nil:
		return fmt.Errorf("store lock: %w", err)
	case !mine:
		return store.ErrLocked
	}
	defer func() { err = errors.Join(err, lock.Close()) }()
	for _, end := range storeEnds {
		if _, err := os.Lstat(cfg.Store + end); err == nil && end != ".lock" {
			return usage(fmt.Errorf("restore: %s is there: nothing was restored", cfg.Store+end), "a backup replaces no store: move it away, with the files beside it")
		} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("restore: %w", err)
		}
	}
	c, err := store.NewCopy(ctx, file, cfg.Store, false)
	if err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	defer c.Discard()
	what, done, err := a.prepare(ctx, cfg, log, c.Path(), reason)
	if err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	if err := c.Link(); err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	a.note(slog.LevelInfo, "", "%s: %s", cfg.Store, what)
	if done != nil {
		a.tellRestarted(*done)
	}
	if err := lock.Unlock(); err != nil {
		return err
	}
	st, err := a.openStore(ctx, cfg, false)
	if err != nil {
		return err
	}
	return errors.Join(a.publish(ctx, cfg, st), st.Close())
}

// prepare makes of the copy of a backup a store that can go on. All of that is done before it has
// its name: no run ever meets a store that does not know that it was put back.
func (a *app) prepare(ctx context.Context, cfg *config.Config, log *slog.Logger, path, reason string) (what string, done *batch.Restarted, err error) {
	st, err := store.Open(ctx, path, a.storeOptions(cfg, false, true))
	if err != nil {
		return "", nil, err
	}
	defer func() { err = errors.Join(err, st.Close()) }()
	if what, err = whole(ctx, st); err != nil {
		return "", nil, err
	}
	s, _, err := a.offline(ctx, cfg, log, st)
	if err != nil {
		return "", nil, err
	}
	heads := publisher(cfg, st)
	if reason == "" {
		err := heads.Compare(ctx)
		var lost *store.LostError
		if errors.As(err, &lost) {
			err = usage(err, "something was done after this backup was made: use a later one, or give --reason instead of --complete")
		}
		return what, nil, err
	}
	r, err := s.tasks.Restore(ctx, heads, reason)
	return what, &r, err
}

// neverStored refuses a new store where there was one: its key or its heads are there. A store that
// was lost, moved or is not mounted would otherwise be begun anew, and all that it knew forgotten.
func neverStored(cfg *config.Config) error {
	if _, err := os.Lstat(cfg.Store); !errors.Is(err, fs.ErrNotExist) {
		return nil // or it cannot be read, which whoever opens it says
	}
	const hint = "put the store back (is its disk mounted?), or `expunge restore` a backup: `expunge help recovery`. If there has never been one: --new-store"
	if cfg.KeyFile != "" {
		if st, err := os.Stat(cfg.KeyFile); err == nil && st.Mode().IsRegular() {
			return usage(fmt.Errorf("%s: there is no store here, but its key %s is there", cfg.Store, cfg.KeyFile), hint)
		}
	}
	p := publisher(cfg, nil)
	heads, err := p.Published()
	if err != nil {
		return err
	}
	if len(heads) > 0 {
		return usage(fmt.Errorf("%s: there is no store here, but heads of its log were published (%s)", cfg.Store, heads[len(heads)-1].Origin), hint)
	}
	return nil
}
