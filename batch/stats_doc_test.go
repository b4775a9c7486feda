package batch

import (
	"bytes"
	"context"
	"encoding/csv"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"expunge/store"
	"expunge/store/seal"
	"expunge/vendors"
)

// docTables are the tables of the package's documentation, row by row; columns are at least
// two spaces apart.
func docTables(t *testing.T, section string) [][][]string {
	t.Helper()
	doc, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	_, text, ok := strings.Cut(string(doc), "// # "+section+"\n")
	if !ok {
		t.Fatalf("doc.go has no section %q", section)
	}
	text, _, _ = strings.Cut(text, "// # ")
	var tables [][][]string
	inside := false
	for line := range strings.Lines(text) {
		row, is := strings.CutPrefix(strings.TrimRight(line, "\n"), "//\t")
		if !is {
			inside = false
			continue
		}
		if !inside {
			tables, inside = append(tables, nil), true
		}
		var cells []string
		for cell := range strings.SplitSeq(row, "  ") {
			if cell = strings.TrimSpace(cell); cell != "" {
				cells = append(cells, cell)
			}
		}
		tables[len(tables)-1] = append(tables[len(tables)-1], cells)
	}
	return tables
}

// TestStatsOfDocumentation replays the worked examples of the documentation, before and after
// a purge of all that is finished.
func TestStatsOfDocumentation(t *testing.T) {
	tables := docTables(t, "Figures for authorities")
	if len(tables) != 3 {
		t.Fatalf("%d tables", len(tables))
	}
	ctx, key := context.Background(), seal.NewKey()
	day := func(text string) time.Time {
		at, err := time.Parse(time.DateOnly, text)
		if err != nil {
			t.Fatal(err)
		}
		return at
	}
	now := day("2026-05-01")
	st, err := store.Open(ctx, filepath.Join(t.TempDir(), "expunge.db"), store.Options{
		Key: func(bool) (seal.Key, error) { return key, nil }, Now: func() time.Time { return now }, Forget: Forget})
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	names := tables[0][0][2:4]
	known, err := st.SyncVendors(ctx, []store.VendorSpec{{Name: names[0], Kind: "x"}, {Name: names[1], Kind: "y"}})
	if err != nil {
		t.Fatal(err)
	}
	in, err := st.BeginIntake(ctx, "requests.csv", now)
	if err != nil {
		t.Fatal(err)
	}
	var outcomes []string
	var answers []store.Answer
	for n, row := range tables[0][1:] {
		s := &store.NewSubject{Line: n + 2, SubjectID: row[0], Content: 1, ReceivedAt: day(row[1]), DueAt: day(row[1]).AddDate(0, 1, 0)}
		for i, outcome := range row[2:4] {
			task := store.NewTask{Vendor: known[names[i]].ID, Field: int(vendors.Email)}
			if outcome == "skipped" {
				task = store.NewTask{Vendor: known[names[i]].ID, State: store.Skipped, Reason: string(vendors.NoIdentifier)}
			}
			s.Tasks, s.Same = append(s.Tasks, task), append(s.Same, 0)
			outcomes = append(outcomes, outcome)
		}
		if row[4] != "-" {
			answers = append(answers, store.Answer{SubjectID: row[0], At: day(row[4]), Channel: "email"})
		}
		if err := in.Subject(s); err != nil {
			t.Fatal(err)
		}
	}
	if _, _, err := in.Settle(ctx, []byte("digest"), store.IntakeRules{Accept: func(store.Batch) error { return nil },
		Same: func(_, _ store.Work) bool { return false }, Digest: func(*store.Work) (int64, error) { return 0, nil }}); err != nil {
		t.Fatal(err)
	}
	if _, err := st.RecordAnswers(ctx, answers); err != nil {
		t.Fatal(err)
	}
	var tasks []store.Task
	if err := st.Rows(ctx, store.Filter{}, func(r *store.Row) error { tasks = append(tasks, *r.Task); return nil }); err != nil {
		t.Fatal(err)
	}
	for i, task := range tasks {
		outcome, when, ended := strings.Cut(outcomes[i], " ")
		if !ended {
			continue
		}
		task.Ready, task.CompletedAt = false, day(when)
		switch outcome {
		case "erased":
			task.State, task.Evidence, task.VerifiedAt = store.Erased, store.Verified, task.CompletedAt
		case "not_found":
			task.State, task.Evidence = store.NotFound, store.ControlSeen
		case "rejected", "declined":
			task.State, task.Reason, task.ClosedAt = store.Failed, outcome, task.CompletedAt
		default:
			t.Fatalf("what is %q?", outcome)
		}
		if err := st.Apply(store.Change{From: store.Pending, Task: task}); err != nil {
			t.Fatal(err)
		}
	}
	check := func(when string) {
		t.Helper()
		for i, o := range []struct {
			by    string
			track bool
		}{{"year", false}, {"month", true}} {
			want := tables[i+1]
			rows, err := (&Tasks{Store: st, Now: func() time.Time { return now }, TrackAnswers: o.track}).Stats(ctx, StatsOptions{By: o.by})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, statsTable(t, rows, want[0])); diff != "" {
				t.Errorf("by %s, %s (-documentation +now):\n%s", o.by, when, diff)
			}
		}
	}
	check("before a purge")
	if p, err := st.Purge(ctx, store.PurgeFilter{Before: now.Add(time.Hour)}); err != nil || p.Subjects != 6 {
		t.Fatalf("%+v %v", p, err)
	}
	check("after a purge")
}

// statsTable is what the CSV says of requests as a whole, in some of its columns.
func statsTable(t *testing.T, rows []StatsRow, columns []string) [][]string {
	t.Helper()
	var b bytes.Buffer
	if err := StatsCSV(&b, rows, ',', false); err != nil {
		t.Fatal(err)
	}
	lines, err := csv.NewReader(&b).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	at := map[string]int{}
	for i, name := range lines[0] {
		at[name] = i
	}
	table := [][]string{columns}
	for _, line := range lines[1:] {
		if line[at["vendor"]] != allVendors {
			continue
		}
		var cells []string
		for _, name := range columns {
			cells = append(cells, line[at[name]])
		}
		table = append(table, cells)
	}
	return table
}
