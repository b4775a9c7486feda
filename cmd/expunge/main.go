// Command expunge forgets people at a company's SaaS vendors. See README.md and its help topics.
package main

import (
	"context"
	"errors"
	"io"
	"log"
	"os"
	"runtime/debug"
)

func main() {
	noCore()
	tuneMemory()
	os.Exit(run(context.Background(), os.Args[1:], os.Stdin, os.Stdout, os.Stderr, os.LookupEnv))
}

// tuneMemory lets the heap grow to five times of what is alive before it is collected.
// What is alive is a few megabytes, whatever the size of the backlog, so the collector
// would run forty times a second at full speed and take a tenth of the processor. The limit
// keeps a larger heap, should there be one, from growing with it. GOGC and GOMEMLIMIT of the
// environment go before.
func tuneMemory() {
	if _, ok := os.LookupEnv("GOGC"); !ok {
		debug.SetGCPercent(400)
	}
	if _, ok := os.LookupEnv("GOMEMLIMIT"); !ok {
		debug.SetMemoryLimit(28 << 20)
	}
}

// run is the program without the process: everything that it needs from outside comes as
// an argument, and what it returns is the exit code.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer, getenv func(string) (string, bool)) int {
	// net/http writes what a server sends out of turn through the standard logger; it could
	// quote an identifier.
	log.SetOutput(io.Discard)
	ctx, stop := withSignals(ctx)
	defer stop()
	a := &app{stdin: stdin, stdout: stdout, stderr: stderr, getenv: getenv, logs: &logWriter{stderr: stderr}}
	root := a.rootCommand()
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	return a.exitCode(ctx, errors.Join(err, a.profiles.stop()))
}
