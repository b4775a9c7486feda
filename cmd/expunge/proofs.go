package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"

	"github.com/spf13/cobra"

	"expunge/store/ledger"
)

func (a *app) logCommand() *cobra.Command {
	head := &cobra.Command{
		Use:   "head",
		Short: "The newest signed head of the log",
		Long: "Prints the newest head of the log, as it was signed: whoever keeps it can tell later whether anything that was\n" +
			"recorded until then has been changed. A run also writes it beside the report, and to log.head_file.",
		Example: "  expunge log head",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return a.withStore(c.Context(), true, func(s *session) error {
				h, err := s.store.Head(c.Context())
				if err != nil {
					return err
				}
				if h == nil {
					return usage(errors.New("the log has no head yet"), "the next run signs one")
				}
				_, err = a.stdout.Write(h.Note)
				return err
			})
		},
	}
	key := &cobra.Command{
		Use:   "key",
		Short: "The public key by which heads and certificates are checked",
		Long: "Prints the log's public key. Give it to whoever is to check certificates by another way than the certificates:\n" +
			"on the company's website, say. `log key rotate` gives the log a new one: heads are signed by both from then on, and\n" +
			"certificates that were made before are checked with the former one.",
		Example: "  expunge log key\n  expunge log key rotate",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return a.withStore(c.Context(), true, a.printLogKey)
		},
	}
	key.AddCommand(&cobra.Command{
		Use:     "rotate",
		Short:   "Give the log a new key",
		Example: "  expunge log key rotate",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return a.withStore(c.Context(), false, func(s *session) error {
				if err := s.store.RotateLogKey(c.Context()); err != nil {
					return err
				}
				return a.printLogKey(s)
			})
		},
	})
	check := &cobra.Command{
		Use:   "check [HEAD-FILE...]",
		Short: "Compare all that was recorded with the hashes and heads that were made of it",
		Long: "Compares every event with what was hashed of it, every hash with those above it, and every head with the tree; and\n" +
			"the heads in log.head_file, beside the report and in the files that are given with all of it. What was changed, left\n" +
			"out or put in is named, and the exit code is 3. A head from another machine, or from a report that was sent away,\n" +
			"is worth more than those beside the store.",
		Example: "  expunge log check\n  expunge log check /archive/2026-11/report.csv.head",
		RunE: func(c *cobra.Command, args []string) error {
			return a.withStore(c.Context(), true, func(s *session) error { return a.checkLog(c.Context(), s, args) })
		},
	}
	return group(&cobra.Command{Use: "log", Short: "The log that proofs rest on", Example: "  expunge log head\n  expunge log check"},
		head, key, check)
}

func (a *app) printLogKey(s *session) error {
	keys, err := s.store.LogKeys()
	if err == nil {
		_, err = fmt.Fprintln(a.stdout, keys[0])
	}
	return err
}

func (a *app) checkLog(ctx context.Context, s *session, files []string) error {
	f := &findings{a: a}
	var outside []*ledger.Head
	p := publisher(s.cfg, s.store)
	for i, path := range append([]string{p.HeadFile, p.Beside}, files...) {
		if path == "" {
			continue
		}
		b, err := os.ReadFile(path)
		if i < 2 && errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return usage(fmt.Errorf("heads: %w", err), "name a file with heads")
		}
		heads, bad := ledger.SplitHeads(b)
		switch {
		case len(heads) == 0:
			f.fail("", "%s: it has no head", path)
		case bad > 0:
			f.warn("", "%s: %d heads are cut off or damaged", path, bad)
		default:
			f.ok("%s: %d heads", path, len(heads))
		}
		outside = append(outside, heads...)
	}
	k, err := s.store.CheckLog(ctx, outside)
	if err != nil {
		return err
	}
	for _, text := range k.Problems {
		f.fail("", "%s", text)
	}
	if len(k.Problems) == 0 {
		f.ok("log %s: %d events are what was hashed of them, %d are gone with their people; %d tiles, %d heads, %d heads from outside",
			s.store.LogName(), k.Events, k.Dark, k.Tiles, k.Heads, k.Outside)
	}
	if k.Unsigned > 0 {
		f.warn("the next command that writes signs one", "%d events are not under a head yet", k.Unsigned)
	}
	if len(outside) == 0 {
		f.warn("give the file with a head that was kept elsewhere", "no head from outside: whoever changed all of the store would not be noticed")
	}
	if f.problems > 0 {
		a.note(slog.LevelError, "put back the last backup that passes, or ask who changed the store", "expunge: the log is not what it was")
		return quiet(exitFailed)
	}
	return nil
}
