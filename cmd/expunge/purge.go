package main

import (
	"bufio"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"time"

	"filippo.io/age"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"expunge/batch/config"
	"expunge/store"
	"expunge/store/atomicfile"
)

func (a *app) purgeCommand() *cobra.Command {
	var o purgeOptions
	var before string
	c := &cobra.Command{
		Use:   "purge --before DATE",
		Short: "Drop finished subjects from the store",
		Long: "Drops the subjects whose last task was completed before a date (UTC), with their tasks, references and decisions:\n" +
			"the report no longer shows them, so keep a report first. Their subject_ids stay, so that the same request is never\n" +
			"taken in again, and so do the counts of their files. Subjects with a failed task stay, for their requests were\n" +
			"never answered, unless --failed is given. What exports left in the vault is not touched.\n\n" +
			"Nobody can make a certificate of them afterwards. With --certificates they are written before anything is dropped,\n" +
			"one line of JSON each, packed with gzip and encrypted with age to --recipient; certificates that were made before\n" +
			"still verify.",
		Example: "  expunge report --format html -o 2026-q1.html\n  expunge purge --before 2026-04-01 --certificates 2026-q1.jsonl.gz.age --recipient age1…\n  age -d -i archive.key 2026-q1.jsonl.gz.age | gunzip | jq -r 'select(.subject_id == \"REQ-7\").certificate'",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			day, err := time.Parse(time.DateOnly, before)
			if err != nil {
				return usage(fmt.Errorf("--before %q: must be a date such as 2026-11-21", before), "it means the beginning of that day, UTC")
			}
			o.filter = store.PurgeFilter{Before: day, Failed: o.filter.Failed}
			if (o.certificates == "") != (len(o.recipients) == 0) {
				return usage(errors.New("--certificates and --recipient go together"), "certificates are personal data: they are kept encrypted to a public key of age")
			}
			return a.purge(c.Context(), o)
		},
	}
	c.Flags().StringVar(&before, "before", "", "the `date` before which the last task was completed")
	c.Flags().BoolVar(&o.filter.Failed, "failed", false, "also subjects with a failed task")
	c.Flags().BoolVar(&o.yes, "yes", false, "do not ask")
	c.Flags().StringVar(&o.certificates, "certificates", "", "write the certificates of those who go to `FILE` first")
	c.Flags().StringArrayVar(&o.recipients, "recipient", nil, "public `KEY` of age to which they are encrypted (repeatable)")
	return c
}

type purgeOptions struct {
	filter       store.PurgeFilter
	yes          bool
	certificates string
	recipients   []string
}

func (a *app) purge(ctx context.Context, o purgeOptions) (err error) {
	cfg, err := a.loadOffline(a.logger())
	if err != nil {
		return err
	}
	var keys []age.Recipient
	if o.certificates != "" {
		if keys, err = age.ParseRecipients(strings.NewReader(strings.Join(o.recipients, "\n"))); err != nil {
			return usage(errors.New("--recipient: it is no public key of age"), "`age-keygen` makes a pair; the public one begins with age1")
		}
		if err := guard(cfg, "", target{"--certificates", o.certificates}); err != nil {
			return err
		}
		if _, err := os.Lstat(o.certificates); err == nil {
			return usage(fmt.Errorf("--certificates: %s is there already: nothing was dropped", o.certificates), "name another file: certificates are never written over")
		}
	}
	st, err := a.openStore(ctx, cfg, false)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, st.Close()) }()
	p, err := st.Purgeable(ctx, o.filter)
	if err != nil {
		return err
	}
	lose := ""
	if p.Logged > 0 && o.certificates == "" {
		lose = fmt.Sprintf("; no certificate can be made of %d of them afterwards (--certificates)", p.Logged)
	}
	if p.Subjects > 0 && !o.yes {
		if !a.canAsk() {
			return usage(fmt.Errorf("%d subjects with %d tasks would be dropped for good%s", p.Subjects, p.Tasks, lose), "standard input is no terminal to ask on: add --yes")
		}
		if !a.ask(ctx, fmt.Sprintf("Drop %d subjects with %d tasks for good%s?", p.Subjects, p.Tasks, lose)) {
			a.note(slog.LevelInfo, "", "nothing was dropped")
			return nil
		}
	}
	if o.certificates != "" {
		n, err := a.writeCertificates(ctx, cfg, st, o, keys)
		if err != nil {
			return fmt.Errorf("certificates (nothing was dropped): %w", err)
		}
		a.note(slog.LevelInfo, "", "%s: %d certificates", o.certificates, n)
	}
	p, err = st.Purge(ctx, o.filter)
	if err != nil {
		return err
	}
	a.note(slog.LevelInfo, "", "dropped %d subjects with %d tasks, and %d refused rows%s", p.Subjects, p.Tasks, p.Rejects, lose)
	if p.Failed > 0 {
		a.note(slog.LevelWarn, "`expunge report` shows them; --failed drops them too", "%d subjects stay because a task of theirs failed", p.Failed)
	}
	if p.Subjects+p.Rejects == 0 {
		return nil
	}
	if err := a.publish(ctx, cfg, st); err != nil {
		return err
	}
	if err := st.Compact(ctx); err != nil {
		a.note(slog.LevelWarn, "", "the store's file stays as large as it was: %v", err)
	}
	return nil
}

// archived is a line of the certificates that a purge writes. The certificate is a text in it, for
// its bytes are what is signed.
type archived struct {
	SubjectID   string `json:"subject_id"`
	Certificate string `json:"certificate"`
}

// writeCertificates writes the certificates of those whom the purge drops, and returns their number
// when they are on disk. They rest on a head that is published before.
func (a *app) writeCertificates(ctx context.Context, cfg *config.Config, st *store.Store, o purgeOptions, keys []age.Recipient) (n int, err error) {
	if err := a.publish(ctx, cfg, st); err != nil {
		return 0, err
	}
	f, err := atomicfile.Create(o.certificates)
	if err != nil {
		return 0, err
	}
	defer f.Discard()
	file := bufio.NewWriterSize(f, 1<<16)
	sealed, err := age.Encrypt(file, keys...)
	if err != nil {
		return 0, err
	}
	packed := gzip.NewWriter(sealed)
	lines := json.NewEncoder(packed)
	lines.SetEscapeHTML(false)
	err = st.EachPurgeable(ctx, o.filter, func(subject string) error {
		c, _, err := st.Certify(ctx, subject, store.Certified{Organisation: cfg.Organisation, Version: version})
		if err != nil {
			return err
		}
		n++
		return lines.Encode(archived{subject, string(c)})
	})
	if err = errors.Join(err, packed.Close(), sealed.Close(), file.Flush()); err != nil {
		return 0, err
	}
	return n, f.Link()
}

// canAsk reports whether there is somebody to ask.
func (a *app) canAsk() bool {
	f, ok := a.stdin.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// ask asks a question whose answer is no unless it is y or yes.
func (a *app) ask(ctx context.Context, question string) bool {
	fmt.Fprintf(a.stderr, "%s [y/N] ", question)
	line, _ := bufio.NewReader(a.input(ctx)).ReadString('\n') // an end without an answer is a no
	answer := strings.ToLower(strings.TrimSpace(line))
	return answer == "y" || answer == "yes"
}
