package batch

import (
	"context"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"expunge/batch/intake"
	"expunge/store"
	"expunge/store/seal"
	"expunge/vendors"
)

// TestInspect: an inspection finds the same rows invalid as the intake, with their columns,
// counts the same tasks, and leaves nothing, in the store or beside the scratch store; from
// standard input as from a file.
func TestInspect(t *testing.T) {
	const text = "ticket,E-Mail,Remarks\nR-1,a@example.com,\nR-2,nobody,\n,,\nR-1,b@example.com,\nR-3,a@example.com,\n"
	bubble(t, []*fake{remote("v"), tickets("w")}, func(r *rig) {
		for _, from := range []string{r.write("subjects.csv", text), "-"} {
			dir := t.TempDir()
			key := seal.NewKey()
			scratch, err := store.Open(context.Background(), filepath.Join(dir, "scratch.db"), store.Options{
				Key: func(bool) (seal.Key, error) { return key, nil }, Now: time.Now, Forget: Forget})
			if err != nil {
				t.Fatal(err)
			}
			tasks := &Tasks{Store: scratch, Now: time.Now, Log: r.job.Log}
			var lanes []*Lane
			for _, l := range r.lanes {
				a := AccountOf(l.Name, l.Vendor, vendors.Rate{PerSecond: 2})
				tasks.Accounts = append(tasks.Accounts, a)
				lanes = append(lanes, &Lane{Account: a, Vendor: l.Vendor})
			}
			if err := tasks.Prepare(context.Background()); err != nil {
				t.Fatal(err)
			}
			in := r.input(from)
			in.Stdin = strings.NewReader(text)
			var layout intake.Layout
			var got []string
			found, err := tasks.Inspect(context.Background(), lanes, in, func(l intake.Layout) error { layout = l; return nil }, func(p Problem) error {
				got = append(got, strings.Join([]string{p.Header, p.SubjectID, string(p.Reason), strings.Join(p.Record, "|")}, ";"))
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff([]string{"E-Mail;R-2;bad_email;R-2|nobody|", ";R-1;conflicting_subject_id;R-1|b@example.com|"}, got); d != "" {
				t.Error(d)
			}
			if d := cmp.Diff(intake.Layout{Header: []string{"ticket", "E-Mail", "Remarks"}, Columns: []string{"subject_id", "email", "comments"}, Comma: ',', Encoding: "UTF-8"}, layout); d != "" {
				t.Error(d)
			}
			if found.Rows != 4 || found.Subjects != 2 || found.Invalid != 2 || len(found.Planned) != 2 {
				t.Errorf("%+v", found)
			}
			for i, want := range []Planned{{Tasks: 2, Shared: 1, Calls: 3, Takes: 1500 * time.Millisecond}, {Tasks: 2, Shared: 1, Calls: 1, Takes: 500 * time.Millisecond}} {
				want.Account = found.Planned[i].Account
				if found.Planned[i] != want {
					t.Errorf("%+v, want %+v", found.Planned[i], want)
				}
			}
			if err := scratch.Close(); err != nil {
				t.Fatal(err)
			}
			left, err := filepath.Glob(filepath.Join(dir, "*"))
			for _, name := range left {
				if !strings.HasPrefix(filepath.Base(name), "scratch.db") {
					t.Errorf("left: %s %v", name, err)
				}
			}
		}
		if n := r.onDisk(`SELECT count(*) FROM batches`); n != "0" {
			t.Errorf("%s batches", n)
		}
		b := r.take(text)
		if b.Rows != 4 || b.Subjects != 2 || b.Invalid != 2 {
			t.Errorf("%s", totalsOf(b))
		}
	})
}
