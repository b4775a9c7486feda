package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
)

// Bars need a terminal that can move its cursor; anywhere else they would be rubbish in a
// file or on a screen, so that lines are written instead.
func TestBars(t *testing.T) {
	notATerminal, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer notATerminal.Close()
	for _, tt := range []struct {
		name   string
		stderr io.Writer
		term   string
		set    bool
	}{
		{"a file", notATerminal, "xterm", true},
		{"a pipe in a program", &bytes.Buffer{}, "xterm", true},
		{"TERM=dumb", os.Stderr, "dumb", true},
		{"TERM is empty", os.Stderr, "", true},
		{"no TERM, as under cron", os.Stderr, "", false},
	} {
		a := &app{stderr: tt.stderr, getenv: func(string) (string, bool) { return tt.term, tt.set }}
		if a.bars() {
			t.Errorf("%s: bars", tt.name)
		}
	}
}

// Logs written while bars are drawn, and after they ended, arrive whole and once.
func TestLogsAndBars(t *testing.T) {
	var out bytes.Buffer
	w := &logWriter{stderr: &out}
	m := mpb.New(mpb.WithOutput(&out), mpb.WithAutoRefresh())
	bar, err := m.Add(0, mpb.BarFillerFunc(func(w io.Writer, _ decor.Statistics) error {
		_, err := io.WriteString(w, "a bar")
		return err
	}))
	if err != nil {
		t.Fatal(err)
	}
	w.bars.Store(m)
	say := func(text string) {
		if n, err := w.Write([]byte(text + "\n")); err != nil || n != len(text)+1 {
			t.Errorf("%s: %d %v", text, n, err)
		}
	}
	say("while it is drawn")
	bar.SetTotal(-1, true)
	m.Wait()
	say("before anybody knows that it ended")
	w.bars.Store(nil)
	say("after it")
	for _, text := range []string{"while it is drawn\n", "before anybody knows that it ended\n", "after it\n"} {
		if n := strings.Count(out.String(), text); n != 1 {
			t.Errorf("%q stands there %d times:\n%s", text, n, out.String())
		}
	}
}

// TestHeldBack: what a quiet run has to say is printed at its end or not at all, and of very
// much the end.
func TestHeldBack(t *testing.T) {
	var out bytes.Buffer
	w := &logWriter{stderr: &out}
	say := func(format string, args ...any) {
		t.Helper()
		text := fmt.Sprintf(format, args...)
		if n, err := io.WriteString(w, text); n != len(text) || err != nil {
			t.Fatal(n, err)
		}
	}
	w.holdBack()
	say("all is well\n")
	w.release(false)
	if out.Len() > 0 {
		t.Errorf("printed %q", out.String())
	}
	say("now\n")
	w.holdBack()
	say("later\n")
	if out.String() != "now\n" {
		t.Errorf("printed %q", out.String())
	}
	w.release(true)
	if out.String() != "now\nlater\n" {
		t.Errorf("printed %q", out.String())
	}
	out.Reset()
	w.holdBack()
	for i := range 10_000 {
		say("line %d\n", i)
	}
	w.release(true)
	lines := strings.Split(out.String(), "\n")
	if !strings.HasSuffix(lines[0], "earlier lines are left out: `expunge status` has the whole)") || lines[len(lines)-2] != "line 9999" || out.Len() > heldMost+100 {
		t.Errorf("%q … %q, %d bytes", lines[0], lines[len(lines)-2], out.Len())
	}
	var lost int
	if _, err := fmt.Sscanf(lines[0], "(%d", &lost); err != nil || lines[1] != fmt.Sprintf("line %d", lost) {
		t.Errorf("%d lines are said to be lost, and then comes %q, %v", lost, lines[1], err)
	}
}
