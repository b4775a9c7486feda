package batch

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"expunge/batch/intake"
	"expunge/store"
	"expunge/vendors"
)

// totalsOf shows the totals of a batch.
func totalsOf(b store.Batch) string {
	return fmt.Sprintf("%d rows = %d subjects + %d invalid + %d duplicates", b.Rows, b.Subjects, b.Invalid, b.Duplicates)
}

func (r *rig) file(name string) string {
	b, err := os.ReadFile(filepath.Join(r.dir, name))
	if err != nil {
		return err.Error()
	}
	return string(b)
}

// leftovers lists files in the rig's folder that should not be there.
func (r *rig) leftovers(known ...string) (left []string) {
	r.t.Helper()
	all, err := os.ReadDir(r.dir)
	if err != nil {
		r.t.Fatal(err)
	}
next:
	for _, e := range all {
		for _, k := range append(known, "subjects.csv", "expunge.db", "expunge.db-wal", "expunge.db-shm", "expunge.db.lock") {
			if e.Name() == k {
				continue next
			}
		}
		left = append(left, e.Name())
	}
	return left
}

const somePeople = "subject_id,email,customer_name\nR-1,a@example.com,Anna\nR-2,no address,Bo\nR-3,c@example.com,\nR-1,a@example.com,Anna\nR-3,other@example.com,\n"

const rejectsOfSomePeople = "subject_id,email,customer_name,line,reason\nR-2,no address,Bo,3,bad_email\n" +
	"R-1,a@example.com,Anna,5,repeated_subject_id\nR-3,other@example.com,,6,conflicting_subject_id\n"

// TestSameFileTwice: a file that was taken in before changes nothing, under whatever name,
// from a pipe or packed; a file with rows of one before changes nothing for those
// (invariant 9).
func TestSameFileTwice(t *testing.T) {
	bubble(t, []*fake{remote("v")}, func(r *rig) {
		first := r.take(somePeople)
		if got := totalsOf(first); got != "5 rows = 2 subjects + 3 invalid + 0 duplicates" {
			t.Errorf("%s", got)
		}
		r.work(WorkOptions{})
		r.want("2 erased")
		tasks := r.tasks()
		for name, in := range map[string]Input{
			"again":         r.input(filepath.Join(r.dir, "subjects.csv")),
			"another name":  r.input(r.write("copy.csv", somePeople)),
			"through stdin": {Path: "-", Stdin: strings.NewReader(somePeople)},
		} {
			if in.Stdin != nil {
				stdin := in.Stdin
				in = r.input("-")
				in.Stdin = stdin
			}
			b, again, err := TakeIn(context.Background(), r.st, r.job.Lanes, in)
			if err != nil || !again || b.ID != first.ID {
				t.Errorf("%s: batch %d, again %v, %v", name, b.ID, again, err)
			}
		}
		if all, _ := r.st.Batches(context.Background()); len(all) != 1 {
			t.Errorf("%d batches", len(all))
		}
		second := r.take("subject_id,email\nR-1,a@example.com\nR-4,d@example.com\nR-3,x@example.com\n")
		if got := totalsOf(second); got != "3 rows = 1 subjects + 1 invalid + 1 duplicates" {
			t.Errorf("%s", got)
		}
		if diff := cmp.Diff(tasks, r.tasks()[:len(tasks)]); diff != "" {
			t.Error(diff)
		}
		v := r.lanes["v"].Vendor.(*fake)
		calls := len(v.all())
		r.work(WorkOptions{})
		r.want("3 erased")
		for _, c := range v.all()[calls:] {
			if c.who != "d@example.com" {
				t.Errorf("%s of %s again", c.op, c.who)
			}
		}
	})
}

// TestReadOtherwise: a file that was read with the wrong settings is read again with the right
// ones; what was taken in of it stays as it is.
func TestReadOtherwise(t *testing.T) {
	bubble(t, []*fake{remote("v")}, func(r *rig) {
		in := r.input(r.write("subjects.csv", "subject_id,email,customer_name,received_at\nR-1,a@example.com,Anna,\nR-2,b@example.com,Bj\xf6rn,\nR-3,c@example.com,Cara,31.12.1999\nR-4,d@example.com,Dan,01.01.2000\n"))
		for i, tt := range []struct {
			change func(*intake.Options)
			want   string
			again  bool
		}{
			{func(o *intake.Options) {}, "4 rows = 1 subjects + 3 invalid + 0 duplicates", false},
			{func(o *intake.Options) { o.Encoding = "windows-1252" }, "4 rows = 1 subjects + 2 invalid + 1 duplicates", false},
			{func(o *intake.Options) { o.DateFormat = "dd.mm.yyyy" }, "4 rows = 1 subjects + 1 invalid + 2 duplicates", false},
			{func(o *intake.Options) {}, "4 rows = 1 subjects + 1 invalid + 2 duplicates", true},
		} {
			tt.change(&in.Reading)
			b, again, err := TakeIn(context.Background(), r.st, r.job.Lanes, in)
			if got := totalsOf(b); err != nil || got != tt.want || again != tt.again {
				t.Errorf("%d: %s, again %v, %v", i, got, again, err)
			}
		}
	})
}

// TestPacked: a packed file is the same file every time it comes.
func TestPacked(t *testing.T) {
	bubble(t, []*fake{remote("v")}, func(r *rig) {
		var b bytes.Buffer
		z := gzip.NewWriter(&b)
		io.WriteString(z, somePeople)
		z.Close()
		path := r.write("subjects.csv.gz", b.String())
		for i := range 2 {
			got, again, err := TakeIn(context.Background(), r.st, r.job.Lanes, r.input(path))
			if err != nil || again != (i == 1) || got.Subjects != 2 {
				t.Errorf("time %d: %s again %v %v", i+1, totalsOf(got), again, err)
			}
		}
	})
}

// TestRefusedFiles: a file that is refused as a whole leaves nothing in the store, and no
// half-written file; taken in afterwards, it is as if it had never been tried.
func TestRefusedFiles(t *testing.T) {
	const good = "subject_id,email\nR-1,a@example.com\nR-2,b@example.com\nR-3,c@example.com\n"
	for _, tt := range []struct {
		name    string
		text    string
		in      func(*Input)
		want    error
		rejects string // what the rejects hold afterwards; "": no such file
	}{
		{"too many", good, func(in *Input) { in.MaxSubjects = 2 }, ErrTooMany, ""},
		{"strict", somePeople, func(in *Input) { in.Strict = true }, ErrInvalidRows, rejectsOfSomePeople},
		{"strict, a subject_id twice", "subject_id,email\nR-1,a@example.com\nR-1,a@example.com\n", func(in *Input) { in.Strict = true }, ErrInvalidRows,
			"subject_id,email,line,reason\nR-1,a@example.com,3,repeated_subject_id\n"},
		{"broken", good + "R-4,\"d@example.com\n", func(*Input) {}, nil, ""},
		{"no subject_id", "email\na@example.com\n", func(*Input) {}, nil, ""},
	} {
		for _, stdin := range []bool{false, true} {
			t.Run(fmt.Sprint(tt.name, " stdin ", stdin), func(t *testing.T) {
				bubble(t, []*fake{remote("v")}, func(r *rig) {
					in := r.input(r.write("subjects.csv", tt.text))
					if stdin {
						in = r.input("-")
						in.Stdin = strings.NewReader(tt.text)
					}
					in.Rejects = filepath.Join(r.dir, "rejects.csv")
					tt.in(&in)
					_, _, err := TakeIn(context.Background(), r.st, r.job.Lanes, in)
					if err == nil || tt.want != nil && !errors.Is(err, tt.want) {
						t.Fatalf("%v", err)
					}
					if n := r.onDisk(`SELECT (SELECT count(*) FROM batches) + (SELECT count(*) FROM subjects) + (SELECT count(*) FROM tasks) + (SELECT count(*) FROM subject_ids) + (SELECT count(*) FROM rejects)`); n != "0" {
						t.Errorf("%s rows left in the store", n)
					}
					if tt.rejects == "" {
						if left := r.leftovers(); len(left) > 0 {
							t.Errorf("left: %v", left)
						}
					} else if got := r.file("rejects.csv"); got != tt.rejects {
						t.Errorf("rejects: %q", got)
					}
					in = r.input("-")
					in.Stdin = strings.NewReader(good)
					if b, again, err := TakeIn(context.Background(), r.st, r.job.Lanes, in); err != nil || again || b.Subjects != 3 {
						t.Errorf("afterwards: %s %v %v", totalsOf(b), again, err)
					}
				})
			})
		}
	}
}

// TestInterruptedIntake: an intake that the end of the run cuts short leaves nothing.
func TestInterruptedIntake(t *testing.T) {
	bubble(t, []*fake{remote("v")}, func(r *rig) {
		ctx, cancel := context.WithCancel(context.Background())
		in := r.input("-")
		rows := 0
		in.Stdin = readerFunc(func(p []byte) (int, error) {
			if rows++; rows > 50 {
				cancel()
			}
			if rows == 1 {
				return copy(p, "subject_id,email\n"), nil
			}
			return copy(p, fmt.Sprintf("R-%d,p%d@example.com\n", rows, rows)), nil // without end
		})
		in.Rejects = filepath.Join(r.dir, "rejects.csv")
		if _, _, err := TakeIn(ctx, r.st, r.job.Lanes, in); !errors.Is(err, context.Canceled) {
			t.Fatalf("%v", err)
		}
		if n := r.onDisk(`SELECT (SELECT count(*) FROM batches) + (SELECT count(*) FROM subjects)`); n != "0" {
			t.Errorf("%s rows left", n)
		}
		if left := r.leftovers(); len(left) > 0 {
			t.Errorf("left: %v", left)
		}
	})
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// TestRejects: refused rows come out as they came, with line and reason; mended and fed
// back they are taken in; the input itself is never written to.
func TestRejects(t *testing.T) {
	bubble(t, []*fake{remote("v")}, func(r *rig) {
		in := r.input(r.write("subjects.csv", somePeople))
		in.Rejects = filepath.Join(r.dir, "rejects.csv")
		for range 2 { // the second time nothing is taken in, and the rejects are the same
			if _, _, err := TakeIn(context.Background(), r.st, r.job.Lanes, in); err != nil {
				t.Fatal(err)
			}
			if got := r.file("rejects.csv"); got != rejectsOfSomePeople {
				t.Errorf("%q", got)
			}
		}
		if st, err := os.Stat(in.Rejects); err != nil || st.Mode().Perm() != 0o600 {
			t.Errorf("%v %v", st.Mode(), err)
		}
		mended := r.input(r.write("mended.csv", strings.Replace(r.file("rejects.csv"), "no address", "b@example.com", 1)))
		b, _, err := TakeIn(context.Background(), r.st, r.job.Lanes, mended)
		if err != nil || totalsOf(b) != "3 rows = 1 subjects + 1 invalid + 1 duplicates" {
			t.Errorf("mended: %s %v", totalsOf(b), err)
		}
		in.Rejects = in.Path
		if _, _, err := TakeIn(context.Background(), r.st, r.job.Lanes, in); err == nil || !strings.Contains(err.Error(), "is the input") {
			t.Errorf("over the input: %v", err)
		}
		if r.file("subjects.csv") != somePeople {
			t.Error("the input was written to")
		}
	})
}

// TestRejectsAreTheSame: from a file, from a pipe, which cannot be read again, and with
// --strict, which takes nothing in, the same rows come out, those among them whose
// subject_id is found to be another row's only when all are read.
func TestRejectsAreTheSame(t *testing.T) {
	bubble(t, []*fake{remote("v")}, func(r *rig) {
		var text, want strings.Builder
		text.WriteString("subject_id,email\n")
		want.WriteString("subject_id,email,line,reason\n")
		for i := range 600 { // more than are read ahead at a time
			switch i % 3 {
			case 0:
				fmt.Fprintf(&text, "R-%d,nowhere-%d\n", i, i)
				fmt.Fprintf(&want, "R-%d,nowhere-%d,%d,bad_email\n", i, i, i+2)
			case 1:
				fmt.Fprintf(&text, "R-%d,p%d@example.com\n", i, i)
			case 2:
				fmt.Fprintf(&text, "R-%d,q%d@example.com\n", i-1, i)
				fmt.Fprintf(&want, "R-%d,q%d@example.com,%d,conflicting_subject_id\n", i-1, i, i+2)
			}
		}
		path := r.write("subjects.csv", text.String())
		for _, strict := range []bool{true, false} { // first what takes nothing in
			for _, from := range []string{"-", path, "-", path} { // also a file that was taken in before
				in := r.input(from)
				in.Strict = strict
				if from == "-" {
					in.Stdin = strings.NewReader(text.String())
				}
				in.Rejects = filepath.Join(r.dir, "rejects.csv")
				if err := os.WriteFile(in.Rejects, []byte("of an earlier run"), 0o600); err != nil {
					t.Fatal(err)
				}
				if _, _, err := TakeIn(context.Background(), r.st, r.job.Lanes, in); strict != errors.Is(err, ErrInvalidRows) || !strict && err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(want.String(), r.file("rejects.csv")); diff != "" {
					t.Errorf("%s strict %v: %s", filepath.Base(from), strict, diff)
				}
			}
		}
	})
}

// TestKeptInput: what is kept of standard input for its second reading cannot be read on
// the disk, and is gone with the intake.
func TestKeptInput(t *testing.T) {
	bubble(t, []*fake{remote("v")}, func(r *rig) {
		in := r.input("-")
		in.Stdin = strings.NewReader(somePeople)
		in.Rejects = filepath.Join(r.dir, "rejects.csv")
		s := &source{in: in, keep: in.Rejects}
		reader, err := s.open()
		if err != nil {
			t.Fatal(err)
		}
		for err == nil {
			_, _, err = reader.Next()
		}
		kept := make([]byte, 2*len(somePeople))
		n, err := s.kept.ReadAt(kept, 0)
		if n != len(somePeople) || err != io.EOF || bytes.Contains(kept, []byte("example")) || bytes.Contains(kept, []byte("subject_id")) {
			t.Errorf("%d bytes, %v: %q", n, err, kept[:n])
		}
		s.close()
		if left := r.leftovers(); len(left) > 0 {
			t.Errorf("left: %v", left)
		}
	})
}

// TestOnlyWhatIsNeeded: what no vendor needs of a person is not in the store at all, sealed
// or not; identifiers leave their masked form for the report.
func TestOnlyWhatIsNeeded(t *testing.T) {
	v := remote("v")
	bubble(t, []*fake{v}, func(r *rig) {
		b := r.take("subject_id,email,telephone,customer_name,comments,vendors\n" +
			"R-1,a@example.com,+46 70 174 06 05,Anna,please,\n")
		for n, want := range []vendors.Subject{
			{{Field: vendors.Email, Text: "a@example.com"}, {Field: vendors.Telephone, Text: "+4x x0 xx4 xx 0x", Masked: true}},
		} {
			w, err := r.st.TaskByID(context.Background(), (b.First+int64(n))*store.TasksPerSubject)
			if err != nil {
				t.Fatal(err)
			}
			got, err := vendors.ParseSubject(w.Plain)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff([]vendors.Value(want), []vendors.Value(got)); diff != "" {
				t.Error(diff)
			}
		}
		r.work(WorkOptions{})
		r.want("1 erased")
		w, err := r.st.TaskByID(context.Background(), b.First*store.TasksPerSubject)
		if err != nil || bytes.Contains(w.Plain, []byte("a@example.com")) {
			t.Errorf("after the end: %q %v", w.Plain, err)
		}
	})
}

// TestRowsNameVendors: a row that names vendors leads to tasks at those alone.
func TestRowsNameVendors(t *testing.T) {
	bubble(t, []*fake{remote("v"), tickets("w")}, func(r *rig) {
		r.take("subject_id,email,vendors\nR-1,a@example.com,w\nR-2,b@example.com,\nR-3,c@example.com,nobody\n")
		r.work(WorkOptions{})
		r.want("1 erased, 2 waiting")
	})
}

// TestTooManyTasksOfARow: a row that leads to more tasks than a subject can have is refused;
// the file goes on.
func TestTooManyTasksOfARow(t *testing.T) {
	var vs []*fake
	for i := range 11 {
		v := tickets(fmt.Sprintf("v%02d", i))
		v.traits.Fields = vendors.SetOf(vendors.CustomerKey)
		vs = append(vs, v)
	}
	bubble(t, vs, func(r *rig) {
		for _, l := range r.job.Lanes {
			l.Vendor = byKey{l.Vendor.(*fake)}
		}
		keys := make([]string, 100)
		for i := range keys {
			keys[i] = fmt.Sprintf("k-%d", i)
		}
		b := r.take("subject_id,customer_key\nR-1," + strings.Join(keys, ";") + "\nR-2,k-1\n")
		if got := totalsOf(b); got != "2 rows = 1 subjects + 1 invalid + 0 duplicates" {
			t.Errorf("%s", got)
		}
		if got := r.onDisk(`SELECT reason FROM rejects`); got != string(intake.TooManyIdentifiers) {
			t.Errorf("%s", got)
		}
	})
}

// byKey knows people by their customer keys.
type byKey struct{ *fake }

func (byKey) Identifiers(s vendors.Subject) (refs []vendors.Ref, _ vendors.Reason) {
	for n := 0; s.At(vendors.Ref{Field: vendors.CustomerKey, Nth: n}) != ""; n++ {
		refs = append(refs, vendors.Ref{Field: vendors.CustomerKey, Nth: n})
	}
	return refs, vendors.NoIdentifier
}

// TestReceived: due dates run from the date in the row, or from the intake.
func TestReceived(t *testing.T) {
	bubble(t, []*fake{remote("v")}, func(r *rig) {
		time.Sleep(90 * 24 * time.Hour)
		r.take("subject_id,email,received_at\nR-1,a@example.com,2000-03-01\nR-2,b@example.com,\n")
		var got []time.Time
		for _, task := range r.tasks() {
			got = append(got, task.DueAt)
		}
		want := []time.Time{time.Date(2000, 3, 31, 0, 0, 0, 0, time.UTC), time.Now().UTC().Add(30 * 24 * time.Hour).Truncate(time.Millisecond)}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	})
}
