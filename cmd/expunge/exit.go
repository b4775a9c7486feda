package main

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"expunge/batch"
	"expunge/batch/config"
	"expunge/batch/intake"
	"expunge/store"
	"expunge/store/atomicfile"
	"expunge/store/ledger"
	"expunge/store/seal"
)

// Exit codes, as DESIGN.md and the help topic "exit-codes" have them.
const (
	exitOK          = 0   // all tasks are finished, or wait on a vendor as planned
	exitInternal    = 1   // disk, store, our own mistake
	exitUsage       = 2   // usage or configuration; nothing was sent
	exitFailed      = 3   // something needs mending: what failed, invalid rows, what is overdue, a vendor in trouble
	exitHeld        = 4   // nothing failed, but some tasks are held for a person
	exitInvalid     = 65  // of verify: the certificate is not valid
	exitLocked      = 75  // another run holds this store
	exitInterrupted = 130 // SIGINT; everything is saved
	exitTerminated  = 143 // SIGTERM or SIGHUP; everything is saved
)

const exitCodesHelp = `Exit codes: 0 all tasks are finished, or wait on a vendor as planned; 1 internal error (disk, store);
2 usage or configuration error, nothing was sent; 3 something needs mending: failed tasks that nobody
has closed or retried, invalid rows, something overdue, a vendor in trouble; 4 nothing failed, but
some tasks are held for a person; 65 a certificate is not valid; 75 another run holds this store; 130 and 143 interrupted and
terminated, everything is saved.`

// codeError is an error with the exit code it leads to and a hint for the user.
type codeError struct {
	code int
	err  error
	hint string
}

func (e *codeError) Error() string { return e.err.Error() }
func (e *codeError) Unwrap() error { return e.err }

func usage(err error, hint string) error { return &codeError{exitUsage, err, hint} }

// errQuiet carries an exit code whose reason has been told already.
var errQuiet = errors.New("")

func quiet(code int) error {
	if code == exitOK {
		return nil
	}
	return &codeError{code: code, err: errQuiet}
}

// signalError is why the context ended when a signal came.
type signalError struct{ os.Signal }

func (e signalError) Error() string { return e.Signal.String() }

// withSignals returns a context that the first SIGINT, SIGTERM or SIGHUP ends. From then on
// the signals do what they do by default, so that a second one ends the process at once.
// Where SIGHUP is ignored, as under nohup, it stays so.
func withSignals(ctx context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	ch := make(chan os.Signal, 1)
	signal.Notify(ch, os.Interrupt, syscall.SIGTERM)
	if !signal.Ignored(syscall.SIGHUP) {
		signal.Notify(ch, syscall.SIGHUP)
	}
	done := make(chan struct{})
	go func() {
		select {
		case s := <-ch:
			signal.Stop(ch)
			cancel(signalError{s})
		case <-done:
		}
	}()
	return ctx, func() {
		signal.Stop(ch)
		close(done)
		cancel(nil)
	}
}

// interrupted returns the exit code of the signal that ended the context, or 0.
func interrupted(ctx context.Context) int {
	var s signalError
	if !errors.As(context.Cause(ctx), &s) {
		return 0
	}
	if s.Signal == os.Interrupt {
		return exitInterrupted
	}
	return exitTerminated
}

// codeOf is the exit code of a command that ended so.
func codeOf(ctx context.Context, err error) int {
	var ce *codeError
	unsaved := errors.As(err, &ce) && ce.code == exitInternal
	if code := interrupted(ctx); code != 0 && !unsaved {
		return code
	}
	if err == nil {
		return exitOK
	}
	code, _ := classify(err)
	return code
}

// exitCode tells the user what went wrong and what to do, and returns the exit code.
func (a *app) exitCode(ctx context.Context, err error) int {
	code := codeOf(ctx, err)
	switch {
	case code == exitInterrupted || code == exitTerminated:
		a.note(slog.LevelWarn, "the same command goes on where this one stopped", "expunge: %v: everything is saved", context.Cause(ctx))
	case err != nil && !errors.Is(err, errQuiet):
		_, hint := classify(err)
		a.note(slog.LevelError, hint, "expunge: %v", err)
	}
	a.logs.release(code != exitOK)
	return code
}

// classify finds the exit code and the hint of an error.
func classify(err error) (int, string) {
	var ce *codeError
	var conf *config.Error
	var header *intake.HeaderError
	var broken *intake.BrokenFileError
	var lost *store.LostError
	switch {
	case errors.As(err, &ce):
		return ce.code, ce.hint
	case errors.Is(err, store.ErrLocked):
		return exitLocked, "wait until the other run has ended; `expunge status` shows where it stands"
	case errors.As(err, &conf):
		return exitUsage, "" // it has its own
	case errors.As(err, &header):
		return exitUsage, cmp.Or(header.Hint, "`expunge init` writes an example of an input file; `columns:` in the config maps headers that are not ours")
	case errors.As(err, &broken):
		return exitUsage, cmp.Or(broken.Hint, "nothing of this file was taken in: mend it and run again")
	case errors.Is(err, batch.ErrTooMany):
		return exitUsage, "if this file is meant to be so large, run again with --allow-large"
	case errors.Is(err, ledger.ErrInvalid):
		return exitInvalid, ""
	case errors.As(err, &lost):
		return exitUsage, lostHint
	case errors.Is(err, batch.ErrHeads):
		return exitUsage, "mend the place that log.head_file names, or name another: what was published is compared with the store before anything is sent"
	case errors.Is(err, batch.ErrClock):
		return exitUsage, "set this machine's clock (NTP): due dates and waits depend on it; nobody was called any more. If it was wrong in the last run and is right now: --trust-clock"
	case errors.Is(err, batch.ErrExportDir):
		return exitUsage, exportDirHint
	case errors.Is(err, batch.ErrInvalidRows):
		return exitFailed, "--rejects FILE writes the invalid rows, to mend and feed back"
	case errors.Is(err, seal.ErrWrongKey):
		return exitUsage, "key_file (or key_env) must name the key that this store is sealed under; a `key rotate` that was cut short is finished by running it again"
	case errors.Is(err, seal.ErrNoKey):
		return exitUsage, "put back the key file of this store; without it what is sealed cannot be read"
	case errors.Is(err, seal.ErrBadKey):
		return exitUsage, "put back the key of this store, readable by its owner alone"
	case errors.Is(err, atomicfile.ErrNotRegular):
		return exitUsage, "name a file: a folder, a pipe or a device cannot stand for it"
	case errors.Is(err, store.ErrNoStore):
		return exitUsage, "`expunge run subjects.csv` makes it; where there was one, put it back, or `expunge restore` a backup of it"
	case errors.Is(err, store.ErrNotStore):
		return exitUsage, "name a file that `expunge backup` wrote; one that was cut off or damaged on its way cannot be used"
	case errors.Is(err, fs.ErrExist):
		return exitUsage, "nothing is written over: move it away, or name another place"
	case errors.Is(err, store.ErrOlderSchema):
		return exitUsage, "the next run brings it up to date: `expunge run`"
	case errors.Is(err, store.ErrNewerSchema):
		return exitUsage, "use the newer version of expunge"
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, fs.ErrPermission):
		return exitUsage, "check the path, and that this user may use it"
	}
	return exitInternal, "what was done is saved: run again; if it stays, `expunge check` tries what a run needs"
}
