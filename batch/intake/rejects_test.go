package intake

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func rejectFile(t *testing.T, text string) string {
	t.Helper()
	r, err := New(strings.NewReader(text), "people.csv", testOptions())
	if err != nil {
		t.Fatal(err)
	}
	_, rejects, err := drain(t, r)
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	w := NewRejectWriter(&b, r.Header(), r.Comma())
	for _, reject := range rejects {
		if err := w.Write(reject); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// The rejects file is opened in a spreadsheet by somebody who mends it: it must run no
// formula, and every cell that is not mended must come back as it was.
func TestRejectsThereAndBack(t *testing.T) {
	const text = "subject_id;telephone;email;-x\n" +
		"DSR-1;+46 70 174 06 05;nobody;\n" +
		"=1+1;'+46;''@x;'a'\n" +
		"DSR-3;\"\n\";a@example.com\n" +
		"DSR-4;5\" x;;\n" +
		"DSR-5;12345;a@example.com;fine\n"
	want := strings.Join([]string{
		"subject_id;telephone;email;'-x;line;reason",
		"DSR-1;'+46 70 174 06 05;nobody;;2;bad_email",
		"'=1+1;''+46;'''@x;'a';3;bad_subject_id",
		"DSR-3;\"'\n\";a@example.com;4;ragged_row",
		"\"DSR-4;5\"\" x;;\";6;bad_quotes",
		"",
	}, "\n")
	got := rejectFile(t, text)
	if d := cmp.Diff(want, got); d != "" {
		t.Fatal(d)
	}

	// Fed back as it is, it is rejected for the same reasons; the one with misplaced quotes
	// is now a row of one cell.
	again := rejectFile(t, got)
	want = strings.NewReplacer(";2;bad_email", ";2;bad_email", ";6;bad_quotes", ";6;ragged_row").Replace(want)
	if d := cmp.Diff(want, again); d != "" {
		t.Error(d)
	}

	// Mended, the telephone is the one that was meant.
	rows, _, err := readAll(t, strings.Replace(got, "nobody", "a@example.com", 1), testOptions())
	if err != nil || len(rows) != 1 || rows[0].Subject[1].Text != "+46 70 174 06 05" {
		t.Errorf("%+v %v", rows, err)
	}
}

// In a file of any other origin an apostrophe is not taken away: whose mark it is, is not known.
func TestApostropheOfOthersIsRefused(t *testing.T) {
	rows, rejects, err := readAll(t, "subject_id,customer_key,reason,line\nDSR-1,'+x,,\n", testOptions())
	if err != nil || len(rows) > 0 || len(rejects) != 1 || rejects[0].Reason != BadIdentifier || !strings.Contains(rejects[0].Message, "apostrophe") {
		t.Errorf("%+v %+v %v", rows, rejects, err)
	}
}

// TestDefuse: no cell that a spreadsheet would run, nothing else changed.
func TestDefuse(t *testing.T) {
	for cell, want := range map[string]string{
		"=1+1": "'=1+1", "+46": "'+46", "-1": "'-1", "@sum": "'@sum", "\tx": "'\tx", "\rx": "'\rx", "\nx": "'\nx", "|x": "'|x",
		"": "", "a=1": "a=1", "'x": "'x", "ä": "ä", "1": "1",
	} {
		if got := Defuse(cell); got != want {
			t.Errorf("%q: %q", cell, got)
		}
	}
}

// Defuse and fuse must be inverse for every cell, or the way there and back changes one.
func FuzzDefuse(f *testing.F) {
	for _, s := range []string{"", "=x", "'=x", "''", "'", "+46", "a", "\t", "'\r"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, cell string) {
		d := Defuse(cell)
		if undefuse(d) != cell {
			t.Errorf("%q became %q became %q", cell, d, undefuse(d))
		}
		if runs(d) {
			t.Errorf("%q is still a formula", d)
		}
	})
}
