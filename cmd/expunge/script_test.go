package main

import (
	"bufio"
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"expunge/batch"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"expunge": main})
}

// The scripts show what users see: every command, every exit code, every error with its
// hint. Besides testscript's own commands they have:
//
//	code N command...   runs the command, which must end with exit code N
//	sim [flags...]      starts vendorsim; its address is $SIM
//	simpost PATH        posts to one of the simulator's own paths
//	simget PATH FILE    saves what one of them answers
//	calls N             waits until the simulator has seen N more requests
//	signal NAME         sends INT, TERM or USR1 to the newest background command
//	exited N            after wait: the command that was signalled ended with exit code N
//	hook                starts a server for notify; its address is $HOOK
//	hooked PATH...      exactly these paths were called on it, in this order, and no more
//	told PATTERN        what the hook was told last, as one line of JSON
//	jsonlines FILE      every line is a JSON object with time, level, msg and run
//	conforms NAME FILE  what FILE holds, or each element of a list of them, is as `expunge schema NAME` says
//	skewed DURATION     starts a vendor whose clock is ahead by that, or which tells no time (none), or
//	                    which has a certificate of an unknown authority (tls); its address is $SKEWED
//	sql FILE STATEMENT  changes a store's rows, as another time or another program would have left them
//	help COMMAND        the command and all below it have help with examples
func TestScripts(t *testing.T) {
	vendorsim := buildSim(t)
	if signal.Ignored(syscall.SIGHUP) {
		// Under nohup. What is ignored here is ignored by what we start, what is handled is not.
		signal.Notify(make(chan os.Signal, 1), syscall.SIGHUP)
		t.Cleanup(func() { signal.Ignore(syscall.SIGHUP) })
	}
	testscript.Run(t, testscript.Params{
		Dir:                 filepath.Join("testdata", "script"),
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(e *testscript.Env) error {
			e.Values["state"] = &scriptState{}
			independent, err := filepath.Abs("../../testdata/verify.py")
			if err != nil {
				return err
			}
			e.Setenv("VERIFY", independent)
			for k, v := range map[string]string{
				"CG_CLIENT_ID": "sim-client", "CG_CLIENT_SECRET": "sim-secret", "VOYADO_API_KEY": "sim-api-key", "ACQUEON_AGENT_ID": "agent-7",
				"PATH": e.Getenv("PATH") + string(os.PathListSeparator) + vendorsim, "TZ": "UTC",
			} {
				e.Setenv(k, v)
			}
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"code": cmdCode, "sim": cmdSim(filepath.Join(vendorsim, "vendorsim")), "simpost": cmdSimPost, "simget": cmdSimGet, "calls": cmdCalls, "signal": cmdSignal,
			"exited": cmdExited, "hook": cmdHook, "hooked": cmdHooked, "told": cmdTold, "jsonlines": cmdJSONLines, "conforms": cmdConforms, "skewed": cmdSkewed, "sql": cmdSQL, "help": cmdHelp,
		},
	})
}

type scriptState struct {
	signalled *exec.Cmd

	mu   sync.Mutex
	hits []string
	told string // the body of the last POST
}

func stateOf(ts *testscript.TestScript) *scriptState { return ts.Value("state").(*scriptState) }

// buildSim builds the simulator, whose main is another program, and returns its folder.
func buildSim(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	out, err := exec.Command("go", "build", "-o", dir, "expunge/cmd/vendorsim").CombinedOutput()
	if err != nil {
		t.Fatalf("vendorsim: %v\n%s", err, out)
	}
	return dir
}

func cmdCode(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) < 2 || neg {
		ts.Fatalf("usage: code N command...")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	var exit *exec.ExitError
	if err := ts.Exec(args[1], args[2:]...); errors.As(err, &exit) {
		got = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}

func cmdSim(bin string) func(*testscript.TestScript, bool, []string) {
	return func(ts *testscript.TestScript, _ bool, args []string) {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
		cmd := exec.CommandContext(ctx, bin, append(args, "--for", "5m")...)
		cmd.Dir = ts.MkAbs(".")
		var problem strings.Builder
		cmd.Stderr = &problem
		out, err := cmd.StdoutPipe()
		ts.Check(err)
		ts.Check(cmd.Start())
		ts.Defer(func() {
			cancel()
			_ = cmd.Wait() // killed
		})
		line, err := bufio.NewReader(out).ReadString('\n')
		if err != nil {
			_ = cmd.Wait() // it has ended: its words are complete now
			ts.Fatalf("vendorsim: %s", problem.String())
		}
		ts.Setenv("SIM", strings.TrimSpace(line))
	}
}

func fetch(method, place string) ([]byte, error) {
	req, err := http.NewRequest(method, place, nil)
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode > 299 {
		err = fmt.Errorf("HTTP %d", resp.StatusCode)
	}
	return b, err
}

func cmdSimPost(ts *testscript.TestScript, _ bool, args []string) {
	_, err := fetch(http.MethodPost, ts.Getenv("SIM")+args[0])
	ts.Check(err)
}

func cmdSimGet(ts *testscript.TestScript, _ bool, args []string) {
	b, err := fetch(http.MethodGet, ts.Getenv("SIM")+args[0])
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), b, 0o600))
}

func cmdCalls(ts *testscript.TestScript, _ bool, args []string) {
	more, err := strconv.Atoi(args[0])
	ts.Check(err)
	first := -1
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		b, err := fetch(http.MethodGet, ts.Getenv("SIM")+"/_sim/ledger?since=0")
		ts.Check(err)
		var entries []json.RawMessage
		ts.Check(json.Unmarshal(b, &entries))
		if first < 0 {
			first = len(entries)
		}
		if len(entries) >= first+more {
			return
		}
	}
	ts.Fatalf("the simulator never saw %d requests more", more)
}

func cmdSQL(ts *testscript.TestScript, _ bool, args []string) {
	db, err := sql.Open("sqlite3", "file:"+ts.MkAbs(args[0]))
	ts.Check(err)
	defer db.Close()
	_, err = db.Exec(args[1])
	ts.Check(err)
}

func cmdSignal(ts *testscript.TestScript, _ bool, args []string) {
	all := ts.BackgroundCmds()
	if len(all) == 0 {
		ts.Fatalf("nothing runs in the background")
	}
	cmd := all[len(all)-1]
	stateOf(ts).signalled = cmd
	ts.Check(cmd.Process.Signal(map[string]os.Signal{"INT": os.Interrupt, "TERM": syscall.SIGTERM, "HUP": syscall.SIGHUP, "USR1": syscall.SIGUSR1, "KILL": syscall.SIGKILL}[args[0]]))
}

func cmdExited(ts *testscript.TestScript, _ bool, args []string) {
	if got := fmt.Sprint(stateOf(ts).signalled.ProcessState.ExitCode()); got != args[0] {
		ts.Fatalf("exit code %s, want %s", got, args[0])
	}
}

func cmdHook(ts *testscript.TestScript, _ bool, _ []string) {
	st := stateOf(ts)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		st.mu.Lock()
		defer st.mu.Unlock()
		switch {
		case strings.HasPrefix(r.URL.Path, "/get") && r.Method != http.MethodGet:
			w.WriteHeader(http.StatusMethodNotAllowed)
			return
		case r.Method == http.MethodPost && json.Valid(body) && r.Header.Get("Content-Type") == "application/json":
			st.told = string(body)
		case r.Method != http.MethodGet || len(body) > 0:
			st.hits = append(st.hits, "neither a plain GET nor counts")
		}
		st.hits = append(st.hits, r.URL.Path)
		if strings.HasPrefix(r.URL.Path, "/broken") {
			w.WriteHeader(http.StatusInternalServerError)
		}
	}))
	ts.Defer(srv.Close)
	ts.Setenv("HOOK", srv.URL)
}

func cmdTold(ts *testscript.TestScript, not bool, args []string) {
	st := stateOf(ts)
	st.mu.Lock()
	defer st.mu.Unlock()
	if regexp.MustCompile(args[0]).MatchString(st.told) == not {
		ts.Fatalf("told %s", st.told)
	}
}

func cmdHooked(ts *testscript.TestScript, _ bool, args []string) {
	st := stateOf(ts)
	st.mu.Lock()
	defer st.mu.Unlock()
	if !slices.Equal(st.hits, args) {
		ts.Fatalf("called: %q, want %q", st.hits, args)
	}
	st.hits = nil
}

func cmdJSONLines(ts *testscript.TestScript, _ bool, args []string) {
	text := strings.TrimSpace(ts.ReadFile(args[0]))
	for line := range strings.Lines(text) {
		var m map[string]any
		if err := json.Unmarshal([]byte(line), &m); err != nil {
			ts.Fatalf("not JSON: %s", line)
		}
		for _, key := range []string{"time", "level", "msg", "run"} {
			if m[key] == nil {
				ts.Fatalf("no %s: %s", key, line)
			}
		}
	}
	if text == "" {
		ts.Fatalf("there is no line")
	}
}

func cmdConforms(ts *testscript.TestScript, _ bool, args []string) {
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	s := roundTrip(ts, batch.Schema(args[0]))
	ts.Check(c.AddResource("output.json", s))
	schema, err := c.Compile("output.json")
	ts.Check(err)
	v, err := jsonschema.UnmarshalJSON(strings.NewReader(ts.ReadFile(args[1])))
	ts.Check(err)
	one := []any{v}
	if list, ok := v.([]any); ok && s["type"] == "object" {
		one = list
	}
	for _, v := range one {
		ts.Check(schema.Validate(v))
	}
}

// roundTrip is a schema as it is printed.
func roundTrip(ts *testscript.TestScript, s map[string]any) map[string]any {
	text, err := json.Marshal(s)
	ts.Check(err)
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	ts.Check(err)
	m, ok := v.(map[string]any)
	if !ok {
		ts.Fatalf("the schema is a %T", v)
	}
	return m
}

func cmdSkewed(ts *testscript.TestScript, _ bool, args []string) {
	var ahead time.Duration
	if args[0] != "none" && args[0] != "tls" {
		var err error
		ahead, err = time.ParseDuration(args[0])
		ts.Check(err)
	}
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Date", time.Now().Add(ahead).UTC().Format(http.TimeFormat))
		if args[0] == "none" {
			w.Header()["Date"] = nil
		}
		fmt.Fprint(w, `{"status":"not_found"}`)
	}))
	if args[0] == "tls" {
		srv.StartTLS()
	} else {
		srv.Start()
	}
	ts.Defer(srv.Close)
	ts.Setenv("SKEWED", srv.URL)
}

// cmdHelp goes down the tree of commands as help shows it.
func cmdHelp(ts *testscript.TestScript, _ bool, args []string) {
	ts.Check(ts.Exec(args[0], append(args[1:], "--help")...))
	text := ts.ReadFile("stdout")
	own := !slices.Contains(args, "completion") && args[len(args)-1] != "help" && args[len(args)-1] != "version"
	if own && !strings.Contains(text, "Examples:\n  expunge ") {
		ts.Fatalf("%q: no examples", args)
	}
	_, subs, _ := strings.Cut(text, "Available Commands:\n")
	subs, _, _ = strings.Cut(subs, "\n\n")
	for line := range strings.Lines(subs) {
		if name, _, ok := strings.Cut(strings.TrimSpace(line), " "); ok {
			cmdHelp(ts, false, append(slices.Clone(args), name))
		}
	}
}
