package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var updateREADME = flag.Bool("update-readme", false, "put what the commands print into the README and the topics")

// consoles finds the transcripts of a page.
var consoles = regexp.MustCompile("(?s)```console\n(.*?)```")

// TestREADME replays the README's first run, and then the transcripts of the help topics in
// what it leaves behind: what they show is what a newcomer sees. Times, ids, and counts that
// depend on them are taken out of the comparison.
func TestREADME(t *testing.T) {
	type shown struct {
		path, text string
	}
	pages := []shown{{path: "../../README.md"}}
	for _, name := range topicNames {
		pages = append(pages, shown{path: "topics/" + name + ".md"})
	}
	const cut = "== the next page =="
	var whole strings.Builder
	for i := range pages {
		text, err := os.ReadFile(pages[i].path)
		if err != nil {
			t.Fatal(err)
		}
		pages[i].text = string(text)
		for _, m := range consoles.FindAllStringSubmatch(pages[i].text, -1) {
			whole.WriteString(m[1] + "$ echo '" + cut + "'\n")
		}
	}
	if !consoles.MatchString(pages[0].text) {
		t.Fatal("the README has no first run")
	}
	now := strings.Split(replay(t, whole.String()), "$ echo '"+cut+"'\n"+cut+"\n")
	for _, page := range pages {
		text := consoles.ReplaceAllStringFunc(page.text, func(block string) string {
			want, got := consoles.FindStringSubmatch(block)[1], now[0]
			now = now[1:]
			if diff := cmp.Diff(timeless(want), timeless(got)); diff != "" && !*updateREADME {
				t.Errorf("-%s +now (go test ./cmd/expunge -run TestREADME -update-readme mends it):\n%s", page.path, diff)
			}
			if problem := otherColumns(want, got); problem != "" && *updateREADME {
				t.Fatal(problem)
			}
			return "```console\n" + got + "```"
		})
		if *updateREADME {
			if err := os.WriteFile(page.path, []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// otherColumns says of which command that picks columns by their numbers (cut -f) the new
// transcript shows other columns than the old one, or "". A column that is added before them
// moves them, and the README would show something else than its text says.
func otherColumns(old, now string) string {
	headers := func(transcript string) map[string]string {
		all := map[string]string{}
		lines := strings.Split(transcript, "\n")
		for i, line := range lines[:len(lines)-1] {
			if cutFields.MatchString(line) {
				all[line] = lines[i+1]
			}
		}
		return all
	}
	is := headers(now)
	for command, was := range headers(old) {
		if is[command] != was && !strings.HasPrefix(was, "$ ") && was != "" { // else nothing is shown yet
			return fmt.Sprintf("%s\nshowed the columns %s\nand now shows       %s\nmend the numbers in the README, or write there by hand the columns that you mean", command, was, is[command])
		}
	}
	return ""
}

var cutFields = regexp.MustCompile(`^\$ .*\bcut\b.* -f`)

// TestOtherColumns: what -update-readme must not mend.
func TestOtherColumns(t *testing.T) {
	const command = "$ expunge report | cut -d, -f2-4 | head -2\n"
	old := "$ expunge status\nvendor\n" + command + "line,subject_id\n4,REQ-1\n"
	for name, tt := range map[string]struct {
		now     string
		refused bool
	}{
		"other rows":    {"$ expunge status\nanother\n" + command + "line,subject_id\n5,REQ-2\n", false},
		"moved":         {"$ expunge status\nvendor\n" + command + "act,line\nremove,4\n", true},
		"nothing":       {"$ expunge status\nvendor\n" + command, true},
		"other command": {"$ expunge status\nvendor\n$ expunge report | cut -d, -f3-5\nline,subject_id\n", true},
	} {
		if got := otherColumns(old, tt.now); tt.refused != (got != "") {
			t.Errorf("%s: %q", name, got)
		}
	}
}

// replay runs the commands of a transcript, which begin with "$ ", in one shell and returns
// the transcript as it is now.
func replay(t *testing.T, transcript string) string {
	t.Helper()
	bin := t.TempDir()
	build := exec.Command("go", "build", "-o", bin, ".", "../vendorsim")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	var script strings.Builder
	script.WriteString("exec 2>&1\n")
	heredoc := ""
	for line := range strings.Lines(transcript) {
		switch command, is := strings.CutPrefix(line, "$ "); {
		case heredoc != "":
			script.WriteString(line)
			if strings.TrimSpace(line) == heredoc {
				heredoc = ""
			}
		case is:
			script.WriteString("cat <<'__SHOWN__'\n" + line)
			if _, after, ok := strings.Cut(command, "<<'"); ok {
				heredoc, _, _ = strings.Cut(after, "'")
				rest := transcript[strings.Index(transcript, line)+len(line):]
				script.WriteString(rest[:strings.Index(rest, "\n"+heredoc+"\n")+len(heredoc)+2])
			}
			script.WriteString("__SHOWN__\n" + command)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "bash", "-c", script.String())
	cmd.Dir = t.TempDir()
	cmd.Env = []string{"PATH=" + bin + string(filepath.ListSeparator) + os.Getenv("PATH"), "HOME=" + cmd.Dir, "TZ=UTC", "USER=operator"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 10 * time.Second
	out, err := os.CreateTemp(t.TempDir(), "out")
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	cmd.Stdout, cmd.Stderr = out, out
	err = cmd.Run()
	syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) // the simulator in the background
	text, readErr := os.ReadFile(out.Name())
	if err != nil || readErr != nil {
		t.Fatalf("%v %v\n%s", err, readErr, text)
	}
	return strings.ReplaceAll(string(text), cmd.Dir, "/home/operator")
}

var changing = []struct{ pattern, with string }{
	{`\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d+)?)?(Z| UTC)?`, "TIME"},
	{`\d{4}-\d\d-\d\d`, "DATE"},
	{`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`, "UUID"},
	{`calls=\d+`, "calls=N"},
	{`expunge/[0-9a-f]{32}/1 at \d+(: \S{44})?`, "LOG"},
	{` +`, " "}, // columns are as wide as what was taken out
}

func timeless(s string) string {
	for _, c := range changing {
		s = regexp.MustCompile(c.pattern).ReplaceAllString(s, c.with)
	}
	return s
}
