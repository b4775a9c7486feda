package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"expunge/batch/config"
	"expunge/batch/intake"
)

var updateSpreadsheets = flag.Bool("update-spreadsheets", false, "write the goldens of testdata/intake/spreadsheets anew")

// spreadsheetConfig is what the goldens begin with. A line of theirs that begins with + is added
// to it: what whoever has the file would write.
const spreadsheetConfig = `vendors:
  customergauge: {kind: customergauge, region: eu, client_id: sim-client, client_secret: "${CG_CLIENT_SECRET}"}
  voyado: {kind: voyado, cluster: w0000000, api_key: "${VOYADO_API_KEY}"}
`

// TestSpreadsheets reads each file of testdata/intake/spreadsheets by the commands of its golden,
// which tell of its rows and its problems; below them stand the rows that would be sent.
func TestSpreadsheets(t *testing.T) {
	folder, err := filepath.Abs("../../testdata/intake/spreadsheets")
	if err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	files := 0
	for _, e := range entries {
		name := e.Name()
		if name == "README.md" || filepath.Ext(name) == ".golden" {
			continue
		}
		files++
		t.Run(name, func(t *testing.T) {
			golden := filepath.Join(folder, name+".golden")
			want, err := os.ReadFile(golden)
			if err != nil && !*updateSpreadsheets {
				t.Fatal(err)
			}
			if len(want) == 0 {
				want = []byte("$ expunge check " + name + "\n")
			}
			content, err := os.ReadFile(filepath.Join(folder, name))
			if err != nil {
				t.Fatal(err)
			}
			got := replaySpreadsheet(t, name, content, string(want))
			if *updateSpreadsheets {
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			} else if d := cmp.Diff(string(want), got); d != "" {
				t.Errorf("-golden +now (-update-spreadsheets writes it anew): %s", d)
			}
		})
	}
	if files < 30 {
		t.Errorf("%d files", files)
	}
}

// replaySpreadsheet runs the commands of a golden and returns it as it is now.
func replaySpreadsheet(t *testing.T, name string, content []byte, golden string) string {
	dir := t.TempDir()
	t.Chdir(dir)
	// Not young, as a fresh clone of the repository would be.
	if err := errors.Join(os.WriteFile(name, content, 0o600), os.Chtimes(name, time.Time{}, time.Now().Add(-time.Hour))); err != nil {
		t.Fatal(err)
	}
	noenv := func(string) (string, bool) { return "", false }
	conf := spreadsheetConfig
	var out bytes.Buffer
	for line := range strings.Lines(golden) {
		more, isConf := strings.CutPrefix(line, "+ ")
		command, isCommand := strings.CutPrefix(line, "$ expunge ")
		switch {
		case isConf:
			conf += more
			out.WriteString(line)
		case isCommand:
			if err := os.WriteFile("expunge.yaml", []byte(conf), 0o600); err != nil {
				t.Fatal(err)
			}
			out.WriteString(line)
			if code := run(context.Background(), strings.Fields(command), strings.NewReader(""), &out, &out, noenv); code != exitOK {
				fmt.Fprintf(&out, "exit %d\n", code)
			}
		}
	}
	out.WriteString("rows:\n")
	cfg, err := config.Load("expunge.yaml", config.Options{Kinds: kinds, Getenv: noenv, Offline: true})
	if err != nil {
		t.Fatal(err)
	}
	r, err := intake.Open(name, nil, (&session{cfg: cfg, log: slog.New(slog.DiscardHandler)}).reading())
	if err != nil {
		return out.String() // the last command has told of it
	}
	defer r.Close()
	for {
		row, _, err := r.Next()
		if err == io.EOF {
			return out.String()
		}
		if err != nil {
			return out.String()
		}
		if row == nil {
			continue
		}
		fmt.Fprintf(&out, "%d %s", row.Line, row.SubjectID)
		for _, v := range row.Subject {
			fmt.Fprintf(&out, " %s=%q", v.Field, v.Text)
		}
		if !row.ReceivedAt.IsZero() {
			fmt.Fprintf(&out, " received_at=%s", row.ReceivedAt.Format(time.RFC3339))
		}
		out.WriteString("\n")
	}
}
