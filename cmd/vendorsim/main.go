// Command vendorsim simulates CustomerGauge, Voyado and Acqueon on loopback, writes input
// files with people whom the simulator knows, and judges expunge's report against what
// really happened at the simulator. Package vendors/sim says how the vendors behave.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends at once
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// Exit codes.
const (
	exitOK       = 0
	exitInternal = 1 // also: the audit found disagreements
	exitUsage    = 2
)

// errDisagree ends an audit that found something; it has been printed already.
var errDisagree = errors.New("the report and the simulator disagree")

// usageError is a mistake on the command line.
type usageError struct{ err error }

func (e usageError) Error() string { return e.err.Error() }
func (e usageError) Unwrap() error { return e.err }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// run is the program: it returns the exit code and ends when ctx does.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	root := rootCommand()
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	var usage usageError
	switch {
	case err == nil:
		return exitOK
	case errors.Is(err, errDisagree):
		return exitInternal
	}
	fmt.Fprintf(stderr, "vendorsim: %v\n", err)
	if errors.As(err, &usage) {
		fmt.Fprintln(stderr, "hint: vendorsim --help shows the commands and flags")
		return exitUsage
	}
	return exitInternal
}

func rootCommand() *cobra.Command {
	serve := serveCommand()
	root := &cobra.Command{
		Use:   "vendorsim",
		Short: "A simulator of CustomerGauge, Voyado and Acqueon, on loopback",
		Long: "A simulator of CustomerGauge, Voyado and Acqueon, on loopback.\n" +
			"Without a command it serves; vendorsim serve --help explains the faults.",
		Args:          noArgs,
		RunE:          serve.RunE,
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.Flags().AddFlagSet(serve.Flags())
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	root.CompletionOptions.HiddenDefaultCmd = true
	root.AddCommand(serve, configCommand(), subjectsCommand(), completeCommand(), auditCommand())
	return root
}

func noArgs(_ *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usagef("unknown command or argument %q", args[0])
	}
	return nil
}
