package batch

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"expunge/vendors"
)

var update = flag.Bool("update", false, "write the golden files anew")

// golden compares with a file in testdata/golden.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("..", "testdata", "golden", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s differs (go test ./batch -update writes it anew):\n%s", name, diff)
	}
}

func (r *rig) reporter() *Reporter {
	return &Reporter{Store: r.st, Now: time.Now, AtRisk: 7 * 24 * time.Hour}
}

func (r *rig) csv(rep *Reporter) string {
	r.t.Helper()
	var b strings.Builder
	if err := rep.CSV(context.Background(), &b); err != nil {
		r.t.Fatal(err)
	}
	return b.String()
}

// TestReport: the reports of a small job that meets every state and what there is of
// reasons, to the byte. Users parse these columns.
func TestReport(t *testing.T) {
	cg, vo, ac := remote("customergauge"), jobs("voyado", 2), tickets("acqueon")
	for _, v := range []*fake{cg, vo, ac} {
		v.latent = time.Second
	}
	vo.traits.PollEvery, vo.skips = 6*time.Hour, "nils@example.com"
	cg.gone = map[string]bool{"unknown@example.com": true}
	cg.traits.Control = &vendors.Target{Ref: vendors.Ref{Field: vendors.Email}, Subject: vendors.Subject{{Field: vendors.Email, Text: "control@example.com"}}, Control: true}
	refusal := &vendors.Error{Vendor: "customergauge", Op: "preview", Kind: vendors.ErrRefused, Status: 400, Message: "email is not valid: =refused@example.com"}
	cg.script = func(op string, tg *vendors.Target, _ int) (error, bool) {
		switch tg.Identifier() {
		case "refused@example.com":
			return refusal, false
		case "slow@example.com":
			if op == "preview" {
				return failure(vendors.ErrUnavailable), false
			}
		}
		return nil, false
	}
	ac.script = func(op string, tg *vendors.Target, _ int) (error, bool) {
		if op == "submit" && tg.Identifier() == "lost@example.com" {
			return errDown, true
		}
		return nil, false
	}
	bubble(t, []*fake{cg, vo, ac}, func(r *rig) {
		time.Sleep(60 * 24 * time.Hour)
		for _, l := range r.job.Lanes {
			l.Concurrency, l.RetryBase, l.RetryCap = 1, 0, 0
		}
		var b strings.Builder
		b.WriteString("subject_id,email,telephone,received_at,vendors\n")
		for _, row := range []string{
			"DSR-1,anna@example.com,,2000-02-29,",
			"DSR-2,unknown@example.com,+46 70 174 06 05,2000-02-10,customergauge",
			"DSR-3,lost@example.com,,2000-01-25,acqueon",
			"DSR-4,refused@example.com,,,customergauge",
			"DSR-5,nils@example.com,+46 70 174 06 06,,customergauge;voyado",
			"DSR-6,not an address,,,",
			"DSR-1,anna@example.com,,2000-02-29,",
			"+DSR+7,Anna@Example.com,,2000-02-20,customergauge;voyado",
			"-DSR-8,slow@example.com,,2000-01-03,",
			"DSR-9,slow@example.com,,2000-01-02,customergauge",
		} {
			b.WriteString(row + "\n")
		}
		r.take(b.String())
		r.work(WorkOptions{})
		found := r.take("subject_id,email\nDSR-1,anna@example.com\nDSR-10,kim@example.com\n")
		r.batch = found
		rep := r.reporter()
		golden(t, "report.csv", r.csv(rep))
		var j bytes.Buffer
		if err := rep.JSON(context.Background(), &j); err != nil {
			t.Fatal(err)
		}
		golden(t, "report.json", j.String())

		// The same rows in both, and every cell of the CSV reads as what the JSON says.
		var fromJSON []map[string]any
		if err := json.Unmarshal(j.Bytes(), &fromJSON); err != nil {
			t.Fatal(err)
		}
		rows, err := csv.NewReader(strings.NewReader(r.csv(rep))).ReadAll()
		if err != nil || len(rows) != len(fromJSON)+1 || strings.Join(rows[0], ",")+"\n" != reportHeader {
			t.Fatalf("%d and %d rows, %v", len(rows), len(fromJSON), err)
		}
		// Nobody's identifier is in clear, in no state.
		for _, clear := range []string{"anna@", "unknown@", "lost@", "refused@", "slow@", "kim@", "174 06"} {
			if strings.Contains(strings.ToLower(j.String()), clear) {
				t.Errorf("the report shows %s", clear)
			}
		}
		one := r.reporter()
		one.Filter.Batch = found.ID
		if got := strings.Count(r.csv(one), "\n"); got != 1+1+3 {
			t.Errorf("of the second batch: %d lines", got)
		}
	})
}

// TestEmptyReport: with nothing to tell, the CSV still has its header and the JSON is a
// list.
func TestEmptyReport(t *testing.T) {
	bubble(t, []*fake{remote("v")}, func(r *rig) {
		rep := r.reporter()
		if got := r.csv(rep); got != reportHeader {
			t.Errorf("%q", got)
		}
		var b strings.Builder
		if err := rep.JSON(context.Background(), &b); err != nil || b.String() != "[]\n" {
			t.Errorf("%q %v", b.String(), err)
		}
	})
}

// TestLargeReport: rows beyond gocsv's page come out once each, in order.
func TestLargeReport(t *testing.T) {
	bubble(t, []*fake{tickets("v")}, func(r *rig) {
		r.people(2*reportPage + 7)
		rows, err := csv.NewReader(strings.NewReader(r.csv(r.reporter()))).ReadAll()
		if err != nil || len(rows) != 2*reportPage+8 {
			t.Fatalf("%d rows, %v", len(rows), err)
		}
		if !slices.IsSortedFunc(rows[1:], func(a, b []string) int { return len(a[1])*10000 - len(b[1])*10000 + strings.Compare(a[1], b[1]) }) {
			t.Error("not in the order of the input")
		}
	})
}

// TestReportFails: a report that cannot be written is an error, not half a report.
func TestReportFails(t *testing.T) {
	bubble(t, []*fake{tickets("v")}, func(r *rig) {
		r.people(300)
		for _, room := range []int{0, 100, 9000} {
			if err := r.reporter().CSV(context.Background(), &fullDisk{room}); err == nil {
				t.Errorf("CSV with %d bytes of room", room)
			}
			if err := r.reporter().JSON(context.Background(), &fullDisk{room}); err == nil {
				t.Errorf("JSON with %d bytes of room", room)
			}
		}
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		if err := r.reporter().CSV(ctx, &fullDisk{1 << 20}); err == nil {
			t.Error("after the end of the run")
		}
	})
}

type fullDisk struct{ room int }

func (d *fullDisk) Write(p []byte) (int, error) {
	if d.room -= len(p); d.room < 0 {
		return 0, os.ErrInvalid
	}
	return len(p), nil
}

// TestDueStatus: how a task stands against its date, at its very moments.
func TestDueStatus(t *testing.T) {
	due := noon
	const risk = 72 * time.Hour
	for _, tt := range []struct {
		settled time.Time
		now     time.Time
		want    string
	}{
		{time.Time{}, due.Add(-risk - time.Second), "open"},
		{time.Time{}, due.Add(-risk), "open"},
		{time.Time{}, due.Add(-risk + time.Second), "at_risk"},
		{time.Time{}, due, "at_risk"},
		{time.Time{}, due.Add(time.Millisecond), "overdue"},
		{time.Time{}, due.Add(time.Hour), "overdue"},
		{due, due.Add(time.Hour), "met"},
		{due.Add(time.Millisecond), due.Add(time.Hour), "missed"},
		{due.Add(-time.Hour), due.Add(90 * 24 * time.Hour), "met"},
	} {
		if got := DueStatus(tt.settled, due, tt.now, risk); got != tt.want {
			t.Errorf("settled %v, at %v: %s, want %s", tt.settled, tt.now, got, tt.want)
		}
	}
}
