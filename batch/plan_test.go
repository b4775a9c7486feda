package batch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"expunge/batch/intake"
	"expunge/vendors"
)

// TestPlanDigests: a row's content digest is the one by which stores that exist recognise the
// row; tasks are suspected of the same identifier if it is the same at the same vendor,
// however it is spelled, and what one intake suspects by means nothing to the next.
func TestPlanDigests(t *testing.T) {
	bubble(t, []*fake{remote("v"), tickets("w")}, func(r *rig) {
		p := newPlanner(r.st, r.job.Lanes, &Input{})
		plan := func(s vendors.Subject) (content int64, same []int64) {
			n, why, message := p.subject(&intake.Row{Line: 2, SubjectID: "R-1", Subject: s})
			if why != "" {
				t.Fatal(why, message)
			}
			if len(n.Same) != len(n.Tasks) {
				t.Fatalf("%d digests for %d tasks", len(n.Same), len(n.Tasks))
			}
			return n.Content, append(same, n.Same...)
		}
		content, same := plan(vendors.Subject{
			{Field: vendors.Email, Text: "Anna@Example.com"}, {Field: vendors.Telephone, Text: "+46 70 174 06 05"},
			{Field: vendors.CustomerKey, Text: "K1"}, {Field: vendors.Comments, Text: "please"},
		})
		want := r.st.Digester().Sum64("email", "anna@example.com", "telephone", "46701740605", "customer_key", "K1")
		if content != want {
			t.Errorf("content %d, want %d", content, want)
		}
		if len(same) != 2 || same[0] == 0 || same[0] == same[1] {
			t.Errorf("one identifier at two vendors: %d", same)
		}
		if _, again := plan(vendors.Subject{{Field: vendors.Email, Text: "anna@example.COM"}}); !cmp.Equal(again, same) {
			t.Errorf("another spelling: %d, then %d", same, again)
		}
		if _, other := plan(vendors.Subject{{Field: vendors.Email, Text: "anna@example.org"}}); other[0] == same[0] || other[1] == same[1] {
			t.Errorf("another identifier: %d, then %d", same, other)
		}
		// Where a vendor's outcome rests on more, that counts, in whatever order it is given.
		p.besides[7] = map[vendors.Field]vendors.FieldSet{vendors.Telephone: vendors.SetOf(vendors.Email, vendors.OtherEmail)}
		phone := func(vendor int64, email, other, key string) int64 {
			return p.sameDigest(vendor, vendors.Ref{Field: vendors.Telephone}, vendors.Subject{{Field: vendors.Email, Text: email},
				{Field: vendors.OtherEmail, Text: other}, {Field: vendors.Telephone, Text: "+46 70 174 06 05"}, {Field: vendors.CustomerKey, Text: key}})
		}
		one := phone(7, "a@example.com", "b@example.com", "K1")
		if one != phone(7, "B@example.com", "a@example.com", "K2") || one == phone(7, "a@example.com", "c@example.com", "K1") ||
			phone(8, "a@example.com", "b@example.com", "K1") != phone(8, "c@example.com", "d@example.com", "K1") {
			t.Error("the emails beside a telephone count where they should not, or do not where they should")
		}
		p = newPlanner(r.st, r.job.Lanes, &Input{})
		if _, later := plan(vendors.Subject{{Field: vendors.Email, Text: "anna@example.com"}}); later[0] == same[0] {
			t.Errorf("another intake: %d, then %d", same, later)
		}
	})
}

// TestReadAhead: rows come in the order of the file, each as it is read alone, though their
// memory goes round; the end stays the end; who stops early leaves a reader that goes on.
func TestReadAhead(t *testing.T) {
	const rows = chunkRows*(chunks+2) + 7
	var text strings.Builder
	text.WriteString("subject_id,email,customer_key\n")
	for i := range rows {
		if i%5 == 3 {
			fmt.Fprintf(&text, "R-%d,nobody,\n", i)
			continue
		}
		fmt.Fprintf(&text, "R-%d,p%d@example.com,%s\n", i, i, strings.Repeat("k;", i%2))
	}
	open := func() *intake.Reader {
		r, err := intake.New(strings.NewReader(text.String()), "people.csv", intake.Options{})
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	ahead := readAhead(context.Background(), open())
	defer ahead.stop()
	for i := range rows {
		row, rej, err := ahead.next()
		if err != nil || (rej != nil) != (i%5 == 3) {
			t.Fatalf("row %d: %v, %v", i, rej, err)
		}
		if rej != nil {
			if rej.Line != i+2 {
				t.Fatalf("row %d is in line %d", i, rej.Line)
			}
			continue
		}
		want := vendors.Subject{{Field: vendors.Email, Text: fmt.Sprintf("p%d@example.com", i)}, {Field: vendors.CustomerKey, Text: "k"}}[:1+i%2]
		if d := cmp.Diff([]vendors.Value(want), []vendors.Value(row.Subject)); d != "" || row.Line != i+2 || row.SubjectID != fmt.Sprintf("R-%d", i) {
			t.Fatalf("row %d is in line %d: %s", i, row.Line, d)
		}
	}
	for range 3 {
		if _, _, err := ahead.next(); !errors.Is(err, io.EOF) {
			t.Fatal(err)
		}
	}

	reader := open()
	early := readAhead(context.Background(), reader)
	for range chunkRows + 1 {
		early.next()
	}
	early.stop()
	before := reader.Rows()
	if _, _, err := reader.Next(); err != nil && err != io.EOF || before < chunkRows {
		t.Errorf("after stopping at row %d: %v", before, err)
	}

	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	stopped := readAhead(ctx, open())
	defer stopped.stop()
	if _, _, err := stopped.next(); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
