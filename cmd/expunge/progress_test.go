package main

import (
	"bytes"
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
	bar := m.MustAdd(0, mpb.BarFillerFunc(func(w io.Writer, _ decor.Statistics) error {
		_, err := io.WriteString(w, "a bar")
		return err
	}))
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
