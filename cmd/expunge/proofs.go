package main

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"expunge/batch"
	"expunge/batch/html"
	"expunge/store"
	"expunge/store/ledger"
	"expunge/vendors"
)

func (a *app) certificateCommand() *cobra.Command {
	var out, head, format string
	var ticketOnly bool
	c := &cobra.Command{
		Use:   "certificate SUBJECT",
		Short: "The proof of one request, in one file",
		Long: "Writes what was recorded of one request, with the proof that it is in the log and a summary for people. Whoever has\n" +
			"the log's public key, or one of its heads, checks it with `expunge verify`, without store, config or network: `expunge\n" +
			"help certificates` says how. The file is personal data: with it, guesses can be tried on the request's identifiers,\n" +
			"unless --ticket-only leaves out what that needs.",
		Example: "  expunge certificate REQ-0075000 -o certificate.json\n  expunge certificate REQ-0075000 --head auditor.head --ticket-only\n  expunge certificate REQ-0075000 --format html -o certificate.html",
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if err := isTicket(args[0]); err != nil {
				return err
			}
			if format != "json" && format != "html" {
				return usage(fmt.Errorf("--format %q: must be json or html", format), "html is a page for people, with the certificate in it")
			}
			return a.withStore(c.Context(), true, func(s *session) error {
				if err := guard(s.cfg, head, target{"--output", out}); err != nil {
					return err
				}
				o := store.Certified{Organisation: s.cfg.Organisation, Version: version, TicketOnly: ticketOnly}
				if head != "" {
					b, err := os.ReadFile(head)
					if err != nil {
						return usage(fmt.Errorf("--head: %w", err), "name the file with the head that somebody holds")
					}
					heads, _ := ledger.SplitHeads(b)
					if len(heads) == 0 {
						return usage(fmt.Errorf("--head %s: it has no head", head), "`expunge log head` shows what one looks like")
					}
					o.Head = heads[len(heads)-1]
				}
				return a.certificate(c.Context(), s, args[0], o, format, out)
			})
		},
	}
	c.Flags().StringVarP(&out, "output", "o", "-", "`FILE` to write")
	c.Flags().StringVar(&head, "head", "", "`FILE` with heads that somebody holds")
	c.Flags().StringVar(&format, "format", "json", "json, or `html`: a page for people, which `expunge verify` reads too")
	c.Flags().BoolVar(&ticketOnly, "ticket-only", false, "leave out what opens the marks of the identifiers")
	return c
}

func (a *app) certificate(ctx context.Context, s *session, subject string, o store.Certified, format, out string) error {
	file, later, err := s.store.Certify(ctx, subject, o)
	switch {
	case errors.Is(err, store.ErrUnknown):
		return usage(err, "`expunge history -` finds a request by an identifier")
	case errors.Is(err, store.ErrPurged):
		return usage(err, "its records cannot be opened any more; certificates that were made before still verify")
	case errors.Is(err, store.ErrBeforeLog):
		return usage(err, "`expunge history` shows what is known of it; it cannot be proved")
	case errors.Is(err, store.ErrNoHead):
		return usage(err, "the next run signs a head; with --head, give a later one")
	case errors.Is(err, ledger.ErrNotSigned):
		return usage(err, "`expunge log head` prints one of this log")
	case err != nil:
		return err
	}
	if later > 0 {
		a.note(slog.LevelWarn, "", "%d events of this request are newer than the head, and not in the certificate", later)
	}
	if format == "html" {
		if file, err = html.Certificate(file); err != nil {
			return err
		}
	}
	return a.toFile("certificate", out, nil, func(w io.Writer) error {
		_, err := w.Write(file)
		return err
	})
}

func (a *app) verifyCommand() *cobra.Command {
	var key, head, identifiers, region, roots string
	var witnesses []string
	c := &cobra.Command{
		Use:   "verify FILE",
		Short: "Check a certificate, without store, config or network",
		Long: "Checks a certificate, or the page of one, against the log's public key (--key, from the organisation's website, say)\n" +
			"or against a head that you hold (--head), and says what became of the request at each vendor, what this rests on and\n" +
			"what it does not prove. " +
			"With --tsa-roots and --witness it asks for a time stamp and for\nsignatures of others under the head. With --identifiers - it reads identifiers from standard input, one a line, and says whether\n" +
			"the certificate is about them.\n\n" +
			"Exit code 0: valid, and every task ended erased, not found or skipped; 3: valid, but something is open, held or not\n" +
			"done; 65: not valid; 2: neither key nor head was given.",
		Example: "  expunge verify certificate.json --key privacy.example.com/expunge+1a2b3c4d+AbCd…\n  expunge verify certificate.json --head 2026-11.head --identifiers - < address.txt",
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if key == "" && head == "" {
				return usage(errors.New("neither --key nor --head is given: the key that a certificate names proves nothing by itself"),
					"get the key from the organisation, or name a file with a head that you hold")
			}
			if identifiers != "" && identifiers != "-" {
				return usage(errors.New("--identifiers: must be -, for standard input"), "identifiers are never given on the command line")
			}
			file, err := os.ReadFile(args[0])
			if err != nil {
				return usage(fmt.Errorf("certificate: %w", err), "name the file with the certificate")
			}
			if path, ok := strings.CutPrefix(key, "file:"); ok {
				b, err := os.ReadFile(path)
				if err != nil {
					return usage(fmt.Errorf("--key: %w", err), "name the file with the key, or write the key itself")
				}
				key = string(b)
			}
			o := ledger.VerifyOptions{Key: key, Normal: func(kind, text string) string { return canonical(kind, text, region) }}
			if head != "" {
				if o.Head, err = os.ReadFile(head); err != nil {
					return usage(fmt.Errorf("--head: %w", err), "name the file with the head that you hold")
				}
			}
			if roots != "" {
				b, err := os.ReadFile(roots)
				if o.TSARoots = x509.NewCertPool(); err == nil && !o.TSARoots.AppendCertsFromPEM(b) {
					err = fmt.Errorf("%s: no certificate in PEM form", roots)
				}
				if err != nil {
					return usage(fmt.Errorf("--tsa-roots: %w", err), "name a PEM file with the certificates of the authorities that you believe")
				}
			}
			for _, text := range witnesses {
				w, err := ledger.NewWitness(text)
				if err != nil {
					return usage(fmt.Errorf("--witness: %w", err), "get the key from the witness")
				}
				o.Witnesses = append(o.Witnesses, w)
			}
			if identifiers == "-" {
				b, err := io.ReadAll(io.LimitReader(a.input(c.Context()), 1<<20))
				if err != nil {
					return err
				}
				for line := range strings.Lines(string(b)) {
					if line = strings.TrimSpace(line); line != "" {
						o.Identifiers = append(o.Identifiers, line)
					}
				}
			}
			return a.verify(file, o)
		},
	}
	c.Flags().StringVar(&key, "key", "", "the log's public `key`, or file:PATH")
	c.Flags().StringVar(&head, "head", "", "`FILE` with heads that somebody holds")
	c.Flags().StringVar(&roots, "tsa-roots", "", "PEM `FILE` with the authorities whose time stamp of the head is to be there")
	c.Flags().StringArrayVar(&witnesses, "witness", nil, "public `key` of a witness whose signature under the head is to be there (repeatable)")
	c.Flags().StringVar(&identifiers, "identifiers", "", "`-`: read identifiers from standard input")
	c.Flags().StringVar(&region, "region", "", "the `country` of telephone numbers that do not say theirs, such as SE")
	return c
}

// canonical is the form in which an identifier of a kind is marked.
func canonical(kind, text, region string) string {
	for _, f := range vendors.Fields() {
		if f.String() == kind {
			return vendors.Canonical(f, text, strings.ToUpper(region))
		}
	}
	return ""
}

func (a *app) verify(file []byte, o ledger.VerifyOptions) error {
	file, err := html.FromPage(file, version)
	switch {
	case errors.Is(err, html.ErrOtherPage):
		a.note(slog.LevelWarn, "", "%v", err)
	case err != nil:
		return err
	}
	v, err := ledger.Verify(file, o)
	if err != nil {
		return err
	}
	var b strings.Builder
	for _, line := range v.Lines() {
		fmt.Fprintln(&b, clean(line))
	}
	if len(v.About) > 0 {
		fmt.Fprintf(&b, "about: the identifiers that you gave (%s)\n", strings.Join(v.About, ", "))
	}
	if v.Organisation != "" {
		fmt.Fprintf(&b, "made by: %s, as it says itself\n", clean(v.Organisation))
	}
	fmt.Fprintf(&b, "rests on: %s\nnot proved: %s\n", strings.Join(v.RestsOn, "; "), strings.Join(v.NotProved, "; "))
	if _, err := io.WriteString(a.stdout, b.String()); err != nil {
		return err
	}
	if !v.Done() {
		return quiet(exitFailed)
	}
	return nil
}

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
	var reason string
	restart := &cobra.Command{
		Use:   "restart --reason TEXT",
		Short: "Let a store go on that is older than what was published of it",
		Long: "A store that was put back from a copy does not know what has been done since. This lets it go on: the log begins a\n" +
			"new epoch with a record that names the head that was lost, and every unfinished task is held at vendors where a\n" +
			"second submission would do harm, for it may have been submitted since. Look there, and decide with `expunge review`.\n" +
			"Where another store is the right one, put that one in the place of this instead.",
		Example: "  expunge log restart --reason 'disk lost on 21 November, backup of the night before'",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if strings.TrimSpace(reason) == "" {
				return usage(errors.New("--reason is missing"), "say why, for whoever asks later; name nobody in it")
			}
			return a.withStore(c.Context(), false, func(s *session) error { return a.restart(c.Context(), s, reason) })
		},
	}
	restart.Flags().StringVar(&reason, "reason", "", "`why`, for the record; no personal data")
	return group(&cobra.Command{Use: "log", Short: "The log that proofs rest on", Example: "  expunge log head\n  expunge log check"},
		head, key, check, restart)
}

func (a *app) restart(ctx context.Context, s *session, reason string) error {
	r, err := s.tasks.Restart(ctx, publisher(s.cfg, s.store), reason)
	if errors.Is(err, batch.ErrNothingLost) {
		return usage(err, "there is nothing to restart: `expunge run` goes on")
	}
	if err != nil {
		return err
	}
	a.tellRestarted(r)
	return nil
}

func (a *app) tellRestarted(r batch.Restarted) {
	lost := ""
	if r.Lost != nil {
		lost = fmt.Sprintf("; given up: %s at %d", r.Lost.Origin, r.Lost.Size)
	}
	a.note(slog.LevelInfo, "", "the log goes on in epoch %d%s", r.Epoch, lost)
	if r.Held > 0 {
		a.note(slog.LevelWarn, "`expunge review list` shows them: look at the vendor first", "%d tasks are held, for they may have been submitted since", r.Held)
	}
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
