package batch

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"strings"
	"testing"
	"time"
	"unicode/utf16"

	"github.com/google/go-cmp/cmp"

	"expunge/batch/intake"
	"expunge/store"
	"expunge/vendors"
)

// TestConfirm: what people finished is taken line by line; what was never submitted, is
// not waiting, or cannot be, is refused in words; nothing else is changed by it.
func TestConfirm(t *testing.T) {
	v, j, c := tickets("acqueon"), jobs("voyado", 1), remote("cg")
	j.traits.FirstPoll = 24 * time.Hour
	bubble(t, []*fake{v, j, c}, func(r *rig) {
		r.lanes["acqueon"].Concurrency = 1
		time.Sleep(36 * time.Hour) // noon of the 2nd
		r.people(6)
		r.work(WorkOptions{})
		time.Sleep(10*24*time.Hour + 3*time.Hour) // 15:00 of the 12th
		confirm := func(file string) ([]ConfirmResult, error) {
			return r.confirm(file)
		}
		const header = "vendor,reference,completed_at,note\n"
		file := "\ufeff" + header +
			"acqueon,acqueon-1,2000-01-05,all gone\n" +
			"acqueon,acqueon-2,2000-01-02,on the day itself\n" +
			" acqueon , acqueon-3 , 2000-01-12T14:59:00+00:00 ,called anna@example.com on 070 174 06 05\n" +
			"acqueon,acqueon-4,2000-01-12,today\n" +
			"acqueon,acqueon-1,2000-01-06,twice in the file\n" +
			"acqueon,acqueon-99,2000-01-05,\n" +
			"acqueon,voyado-1,2000-01-05,\n" +
			"cg,acqueon-5,2000-01-05,\n" +
			"nobody,acqueon-5,2000-01-05,\n" +
			"acqueon,,2000-01-05,\n" +
			"acqueon,acqueon-5,soon,\n" +
			"acqueon,acqueon-5,2000-01-13T00:00:00Z,\n" +
			"acqueon,acqueon-5,2000-01-14,\n" +
			"acqueon,acqueon-5,2000-01-01,before it was asked for\n" +
			"acqueon,acqueon-5,2000-01-02T11:59:59Z,before it was asked for\n" +
			"acqueon,acqueon-5\n" +
			"acqueon,acqueon-5,2000-01-05,a,b\n" +
			"acqueon,acqueon-5,2000-01-05,a\"b\n"
		got, err := confirm(file)
		if err != nil {
			t.Fatal(err)
		}
		const early = "completed_at is before the request was submitted, at 2000-01-02T12:00:00Z"
		want := []ConfirmResult{
			{Line: 2}, {Line: 3}, {Line: 4}, {Line: 5}, {Line: 6, Again: true},
			{Line: 7, Problem: "this vendor never gave us this reference"}, {Line: 8, Problem: "this vendor never gave us this reference"},
			{Line: 9, Problem: "this vendor never gave us this reference"}, {Line: 10, Problem: "unknown vendor"}, {Line: 11, Problem: "no reference"},
			{Line: 12, Problem: "completed_at is neither a date such as 2026-11-01 nor a time such as 2026-11-01T09:30:00Z"}, {Line: 13, Problem: "completed_at is in the future"},
			{Line: 14, Problem: "completed_at is in the future"}, {Line: 15, Problem: early}, {Line: 16, Problem: early},
			{Line: 17, Problem: "the row has 2 cells, the header 4"}, {Line: 18, Problem: "the row has 5 cells, the header 4"},
			{Line: 19, Problem: "a quote stands inside a cell: put the cell in quotes and double the quotes in it"},
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
		r.want("10 erased, 8 waiting")
		at := func(day, hour, minute, second int) time.Time {
			return time.Date(2000, 1, day, hour, minute, second, 0, time.UTC)
		}
		times := map[string]time.Time{"acqueon-1": at(5, 23, 59, 59), "acqueon-2": at(2, 23, 59, 59), "acqueon-3": at(12, 14, 59, 0), "acqueon-4": time.Now().UTC().Truncate(time.Millisecond)}
		for _, task := range r.tasks() {
			if done, ok := times[task.Reference]; ok && (task.Evidence != store.Confirmed || !task.CompletedAt.Equal(done) || !task.VerifiedAt.IsZero()) {
				t.Errorf("%s: completed %v, want %v; %v", task.Reference, task.CompletedAt, done, task.Evidence)
			}
		}
		if got := r.onDisk(`SELECT group_concat(who || ': ' || note, '|') FROM decisions`); got != "kim: all gone|kim: on the day itself|kim: called […] on […]|kim: today" {
			t.Errorf("recorded: %s", got)
		}

		// The same file again changes nothing.
		before := r.tasks()
		again, err := confirm(file)
		if err != nil {
			t.Fatal(err)
		}
		for i := range 4 {
			want[i].Again = true
		}
		if diff := cmp.Diff(want, again); diff != "" {
			t.Error(diff)
		}
		if diff := cmp.Diff(before, r.tasks()); diff != "" {
			t.Error(diff)
		}
	})
}

// TestConfirmStates: a person's word ends what is held or has failed too, not what is still
// being worked on; and each of a task's tickets stands for it.
func TestConfirmStates(t *testing.T) {
	v := tickets("acqueon")
	v.script = func(op string, tg *vendors.Target, nth int) (error, bool) {
		if op == "submit" && tg.Identifier() == person(1) && nth == 1 {
			return errDown, true
		}
		return nil, false
	}
	bubble(t, []*fake{v}, func(r *rig) {
		r.lanes["acqueon"].Concurrency = 1
		r.people(4)
		r.work(WorkOptions{})
		r.want("1 held (uncertain_submission), 3 waiting")
		set := func(task store.Task, from, state store.State) store.Task {
			t.Helper()
			task.State, task.Ready = state, false
			if state == store.Pending {
				task.Ready = true
			}
			if state.Final() {
				task.CompletedAt = time.Now()
			}
			if err := r.st.Apply(store.Change{From: from, Task: task}); err != nil {
				t.Fatal(err)
			}
			return task
		}
		tasks := r.tasks()
		set(tasks[0], store.Waiting, store.Held)
		set(tasks[2], store.Waiting, store.Failed)
		// The fourth was lost and submitted again, so that two tickets stand for it.
		last := set(tasks[3], store.Waiting, store.Pending)
		last.SubmittedAt = time.Now()
		last = set(last, store.Pending, store.Submitting)
		last.Reference = "acqueon-new"
		set(last, store.Submitting, store.Waiting)
		refs := []string{tasks[0].Reference, tasks[2].Reference, tasks[3].Reference, "acqueon-new"}
		file := "completed_at,reference,vendor\n"
		time.Sleep(time.Hour)
		for _, ref := range refs {
			file += time.Now().Format(time.RFC3339) + "," + ref + ",acqueon\n"
		}
		got, err := r.confirm(file)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]ConfirmResult{{Line: 2}, {Line: 3}, {Line: 4}, {Line: 5, Again: true}}, got); diff != "" {
			t.Error(diff)
		}
		r.want("1 held (uncertain_submission), 3 erased")

		// One whose submission is being repeated is not done.
		pending := set(r.tasks()[1], store.Held, store.Pending)
		pending.Reference = "acqueon-old"
		set(pending, store.Pending, store.Pending)
		got, err = r.confirm("vendor,reference,completed_at\nacqueon,acqueon-old," + time.Now().Format(time.RFC3339) + "\n")
		if diff := cmp.Diff([]ConfirmResult{{Line: 2, Problem: "the task with this reference is pending"}}, got); diff != "" || err != nil {
			t.Error(diff, err)
		}
	})
}

// TestDeclined: what the vendor's people will not do ends as failed, closed by the word of
// whoever says so; it waits for nothing any more, and a later word may still say that it was done.
func TestDeclined(t *testing.T) {
	bubble(t, []*fake{tickets("acqueon")}, func(r *rig) {
		r.lanes["acqueon"].Concurrency = 1
		r.people(3)
		r.work(WorkOptions{})
		r.want("3 waiting")
		time.Sleep(time.Hour)
		now := time.Now().UTC().Format(time.RFC3339)
		file := "vendor,reference,completed_at,outcome,note\n" +
			"acqueon,acqueon-1," + now + ",Declined,no such account\n" +
			"acqueon,acqueon-2," + now + ",done,\n" +
			"acqueon,acqueon-3," + now + ",Rejected,\n"
		for _, again := range []bool{false, true} {
			got, err := r.confirm(file)
			if err != nil {
				t.Fatal(err)
			}
			want := []ConfirmResult{{Line: 2, Declined: true, Again: again}, {Line: 3, Again: again}, {Line: 4, Problem: "outcome is neither done nor declined"}}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
			r.want("1 erased, 1 failed (declined), 1 waiting")
		}
		task := r.tasks()[0]
		if !task.Settled() || task.ClosedAt.IsZero() || task.CompletedAt.UTC().Format(time.RFC3339) != now {
			t.Errorf("%+v", task)
		}
		if got := r.onDisk(`SELECT group_concat(action || ': ' || coalesce(note, ''), '|') FROM decisions`); got != "decline: no such account|confirm: " {
			t.Errorf("recorded: %s", got)
		}
		if got, err := r.confirm("vendor,reference,completed_at\nacqueon,acqueon-1," + now + "\nacqueon,acqueon-2," + now + "\n"); err != nil || got[0] != (ConfirmResult{Line: 2}) {
			t.Errorf("%+v %v", got, err)
		}
		if got, err := r.confirm("vendor,reference,completed_at,outcome\nacqueon,acqueon-1," + now + ",declined\n"); err != nil || got[0].Problem != "the task with this reference is erased" {
			t.Errorf("%+v %v", got, err)
		}
		r.want("1 waiting, 2 erased")
	})
}

// oneTicket answers every request with the ticket that is open already.
type oneTicket struct{ *fake }

func (v oneTicket) Submit(ctx context.Context, t *vendors.Target) (vendors.Receipt, error) {
	_, err := v.fake.Submit(ctx, t)
	return vendors.Receipt{Reference: "10089"}, err
}

// TestConfirmSharedReference: one request id for three people is in doubt for all of them, and
// no confirmation ends any of them before a person has said whose it is; then it ends that
// one (CASES.md, V13).
func TestConfirmSharedReference(t *testing.T) {
	v := tickets("acqueon")
	bubble(t, []*fake{v}, func(r *rig) {
		r.lanes["acqueon"].Vendor = oneTicket{v}
		for _, file := range []string{"A-1,anna@example.com\n", "B-1,bob@example.com\nC-1,carl@example.com\n"} {
			time.Sleep(36 * time.Hour)
			r.take("subject_id,email\n" + file)
			r.work(WorkOptions{})
		}
		r.batch = store.Batch{}
		r.want("3 held (reference_in_doubt)")
		for _, task := range r.tasks() {
			if task.Reference != "10089" || !strings.HasPrefix(task.Message, "the vendor gave the same reference for task ") {
				t.Errorf("%+v", task)
			}
		}
		time.Sleep(36 * time.Hour)
		confirm := func(day string, want ConfirmResult, states string) {
			t.Helper()
			got, err := r.confirm("vendor,reference,completed_at,note\nacqueon,10089," + day + ",done for Anna and CARL at example\n")
			if diff := cmp.Diff([]ConfirmResult{want}, got); diff != "" || err != nil {
				t.Error(day, diff, err)
			}
			r.want(states)
		}
		confirm("2000-01-05", ConfirmResult{Line: 2, Problem: "whose request this reference is must be decided first: `expunge review list --reason reference_in_doubt`"},
			"3 held (reference_in_doubt)")
		approve := func(i int) error {
			_, err := r.job.Review(context.Background(), Selection{IDs: []int64{r.tasks()[i].ID}}, true, store.Decision{At: time.Now(), Who: "a person"})
			return err
		}
		if err := approve(1); !errors.Is(err, store.ErrConflict) {
			t.Errorf("the second one was let wait for the first one's: %v", err)
		}
		if err := approve(0); err != nil {
			t.Fatal(err)
		}
		r.want("1 waiting, 2 held (reference_in_doubt)")
		confirm("2000-01-05", ConfirmResult{Line: 2}, "1 erased, 2 held (reference_in_doubt)")
		confirm("2000-01-05", ConfirmResult{Line: 2, Again: true}, "1 erased, 2 held (reference_in_doubt)")
		if got := r.onDisk(`SELECT count(*) FROM decisions WHERE action = 'confirm'`); got != "1" {
			t.Errorf("recorded for %s", got)
		}
		if got := r.onDisk(`SELECT count(*) FROM decisions WHERE note LIKE '%anna%'`); got != "0" {
			t.Errorf("a person is named in %s notes", got)
		}
	})
}

func utf16le(text string) string {
	var b []byte
	for _, u := range utf16.Encode([]rune(text)) {
		b = binary.LittleEndian.AppendUint16(b, u)
	}
	return string(b)
}

func gzipped(text string) string {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	io.WriteString(z, text)
	z.Close()
	return b.String()
}

// TestConfirmSpellings: what spreadsheets make of the header is understood, as in the input.
func TestConfirmSpellings(t *testing.T) {
	for name, file := range map[string]string{
		"plain":        "vendor,reference,completed_at,note\nacqueon,10089,2026-11-01,by hand\n",
		"semicolons":   "vendor;reference;completed_at;note\r\nacqueon;10089;2026-11-01;by hand\r\n",
		"tabs":         "vendor\treference\tcompleted_at\tnote\nacqueon\t10089\t2026-11-01\tby hand\n",
		"BOM, letters": "\ufeffVendor,Reference,Completed At,NOTE\nacqueon,10089,2026-11-01,by hand\n",
		"other order":  "Reference;vendor;Completed-At;Note\n10089;acqueon;2026-11-01;by hand\n",
		"no end":       "vendor;reference;completed_at;note\nacqueon;10089;2026-11-01;by hand",
		"sep=":         "sep=;\r\nvendor;reference;completed_at;note\r\nacqueon;10089;2026-11-01;by hand\r\n",
		"empty rows":   "vendor;reference;completed_at;note\r\nacqueon;10089;2026-11-01;by hand\r\n;;;\r\n;\r\n\"\"; ;;\u00a0\r\n   \r\n",
		"UTF-16":       utf16le("\ufeffvendor\treference\tcompleted_at\tnote\r\nacqueon\t10089\t2026-11-01\tby hand\r\n"),
		"packed":       gzipped("vendor,reference,completed_at,note\nacqueon,10089,2026-11-01,by hand\n"),
		"capitals":     "vendor,reference,completed_at,note\nAcqueon,10089,2026-11-01,by hand\n",
	} {
		f, err := OpenConfirmations("-", strings.NewReader(file), intake.Options{})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		lines, refused, err := readConfirmations(f, map[string]store.Vendor{"acqueon": {}}, time.Date(2026, 11, 2, 12, 0, 0, 0, time.UTC))
		if err != nil || len(refused) > 0 || len(lines) != 1 {
			t.Errorf("%s: %+v %+v %v", name, lines, refused, err)
			continue
		}
		if c := lines[0].confirmation; c != (confirmation{"acqueon", "10089", "2026-11-01", "", "by hand"}) || name != "sep=" && lines[0].line != 2 {
			t.Errorf("%s: %+v", name, lines[0])
		}
	}
}

// TestConfirmBadFiles: a file that is not what it should be is refused as a whole, without
// a panic, whatever it holds.
func TestConfirmBadFiles(t *testing.T) {
	bubble(t, []*fake{tickets("acqueon")}, func(r *rig) {
		for name, file := range map[string]string{
			"empty":            "",
			"no vendor":        "reference,completed_at\nx,2000-01-01\n",
			"no reference":     "vendor,completed_at\nx,2000-01-01\n",
			"no date":          "vendor,reference\nx,y\n",
			"other delimiter":  "vendor|reference|completed_at\nx|y|2000-01-01\n",
			"quote not closed": "vendor,reference,completed_at\n\"acqueon,y,2000-01-01\n",
		} {
			if got, err := r.confirm(file); !errors.As(err, new(*intake.HeaderError)) && !errors.As(err, new(*intake.BrokenFileError)) {
				t.Errorf("%s: %v %v", name, got, err)
			}
		}
		if _, err := r.confirmFrom(readerFunc(func([]byte) (int, error) { return 0, errDown })); !errors.Is(err, errDown) {
			t.Errorf("a file that cannot be read: %v", err)
		}
		if got, err := r.confirm("vendor,reference,completed_at\n"); err != nil || len(got) != 0 {
			t.Errorf("no lines: %v %v", got, err)
		}
	})
}
