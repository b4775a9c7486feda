package batch

import (
	"archive/zip"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"filippo.io/age"

	"expunge/batch/decide"
	"expunge/batch/exports"
	"expunge/store"
	"expunge/vendors"
)

// canary stands for a person's data in an export: it must not be on disk in clear.
const canary = "canary-31d7-of-a-person"

// exporting is a fake vendor that also hands out exports. Its jobs are done at the second
// poll, and gone once they were delivered.
type exporting struct {
	fakePoller
	x       vendors.Exports
	content func(ref string) []byte // of a result; nil: two lines
	made    int
	open    map[string]int // polls so far
	gone    map[string]bool
}

// exports gives a rig's fake vendor exports. It returns the vendor, of which a restarted rig
// takes over what it knows.
func (r *rig) exports(f *fake, mode vendors.ExportMode, old *exporting) *exporting {
	r.t.Helper()
	x := &exporting{fakePoller: fakePoller{f}, open: map[string]int{}, gone: map[string]bool{}}
	if old != nil {
		x.content, x.made, x.open, x.gone, x.x = old.content, old.made, old.open, old.gone, old.x
	} else {
		x.x = vendors.Exports{Dir: filepath.Join(r.dir, "exports"), FetchWithin: 7 * 24 * time.Hour, Recipients: []string{officer.Recipient().String()}}
	}
	x.x.Mode = mode
	r.lanes[f.name].Vendor, r.lanes[f.name].Exports = x, x.x
	return x
}

// officer may open the exports.
var officer = func() *age.X25519Identity {
	id, err := age.GenerateX25519Identity()
	if err != nil {
		panic(err)
	}
	return id
}()

func (v *exporting) Exports() vendors.Exports { return v.x }

func (v *exporting) CreateExport(_ context.Context, t *vendors.Target) (vendors.Receipt, error) {
	err, applied := v.enter("create export", t)
	v.mu.Lock()
	defer v.mu.Unlock()
	if err != nil && !applied {
		return vendors.Receipt{}, err
	}
	v.made++
	ref := fmt.Sprintf("x-%d", v.made)
	v.open[ref] = 0
	if err != nil {
		return vendors.Receipt{}, err
	}
	return vendors.Receipt{Reference: ref}, nil
}

// about is a target that tells calls about a job apart by its reference.
func about(t *vendors.Target) *vendors.Target {
	return &vendors.Target{Ref: vendors.Ref{Field: vendors.Email}, Subject: vendors.Subject{{Field: vendors.Email, Text: t.Reference}}}
}

func (v *exporting) PollExport(_ context.Context, t *vendors.Target) (vendors.Progress, error) {
	if err, _ := v.enter("poll export", about(t)); err != nil {
		if errors.Is(err, errJob) {
			return vendors.Progress{Job: vendors.JobFailed, Status: "error"}, nil
		}
		return vendors.Progress{}, err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if _, ok := v.open[t.Reference]; !ok || v.gone[t.Reference] {
		return vendors.Progress{Job: vendors.JobLost, Status: "not_found"}, nil
	}
	if v.open[t.Reference]++; v.open[t.Reference] >= 2 {
		return vendors.Progress{Job: vendors.JobDone, Status: "done"}, nil
	}
	return vendors.Progress{Job: vendors.JobOpen, Status: "running"}, nil
}

// errJob makes a job fail.
var errJob = errors.New("the job failed")

func (v *exporting) FetchExport(_ context.Context, t *vendors.Target, w io.Writer) error {
	err, applied := v.enter("fetch export", about(t))
	v.mu.Lock()
	defer v.mu.Unlock()
	if err != nil && !applied {
		return err
	}
	if v.gone[t.Reference] {
		return &vendors.Error{Vendor: v.name, Op: "fetch export", Kind: vendors.ErrUnreadable, Status: 404}
	}
	v.gone[t.Reference] = true
	content := packed("views.jsonl", `{"who":"`+canary+"\"}\n{}\n")
	if v.content != nil {
		content = v.content(t.Reference)
	}
	if err != nil {
		w.Write(content[:len(content)/2])
		return err
	}
	_, werr := w.Write(content)
	if werr != nil {
		return &vendors.Error{Vendor: v.name, Op: "fetch export", Kind: vendors.ErrUnreadable, Err: werr}
	}
	return nil
}

// packed is a zip with one file, not compressed where that can be read from the front.
func packed(name, text string) []byte {
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	f, err := z.Create(name)
	if err == nil {
		_, err = io.WriteString(f, text)
	}
	if err = errors.Join(err, z.Close()); err != nil {
		panic(err) // a buffer takes everything
	}
	return b.Bytes()
}

// days works through the given number of nights, one a day, and fails the test where data
// of a person is on disk in clear.
func (r *rig) days(n int) {
	r.t.Helper()
	for range n {
		r.work(WorkOptions{})
		time.Sleep(24 * time.Hour)
	}
	r.work(WorkOptions{})
	r.sealed()
}

func (r *rig) sealed() {
	r.t.Helper()
	filepath.WalkDir(r.dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			if b, _ := os.ReadFile(path); bytes.Contains(b, []byte(canary)) {
				r.t.Errorf("%s holds a person's data in clear", path)
			}
		}
		return nil
	})
}

// messages are the report's, in order.
func (r *rig) messages() (all []string) {
	r.t.Helper()
	rep := &Reporter{Store: r.st, Now: time.Now}
	if err := rep.Each(context.Background(), func(row *ReportRow) error {
		all = append(all, row.Message)
		return nil
	}); err != nil {
		r.t.Fatal(err)
	}
	return all
}

func (r *rig) export(i int) store.Export {
	r.t.Helper()
	e, ok, err := r.st.ExportOf(context.Background(), r.tasks()[i].ID)
	if err != nil || !ok {
		r.t.Fatalf("no export: %v", err)
	}
	return e
}

// Nothing is removed before its export was asked for and its job is on disk; with required,
// not before the export is in the vault and that is on disk. A removal that overtakes the
// export takes what should have been handed out.
func TestExportBeforeRemoval(t *testing.T) {
	for _, mode := range []vendors.ExportMode{vendors.ExportFirst, vendors.ExportRequired} {
		f := jobs("voyado", 3)
		bubble(t, []*fake{f}, func(r *rig) {
			x := r.exports(f, mode, nil)
			f.script = func(op string, target *vendors.Target, nth int) (error, bool) {
				switch op {
				case "create export":
					if got := r.onDisk(`SELECT count(*) FROM exports WHERE state = 0`); got == "0" {
						t.Error("asked for an export before the intent is on disk")
					}
				case "submit":
					sql := `SELECT count(*) FROM exports WHERE state = 1 AND reference IS NOT NULL`
					if mode == vendors.ExportRequired {
						sql = `SELECT count(*) FROM exports WHERE state = 3`
					}
					if got := r.onDisk(sql); got == "0" {
						t.Errorf("%v: submitted without its export", mode)
					}
				}
				return nil, false
			}
			r.people(5)
			r.days(20)
			r.want("5 erased")
			if n, m, k := f.count("create export", ""), f.count("fetch export", ""), f.count("submit", ""); n != 5 || m != 5 || k != 5 {
				t.Errorf("%v: %d exports asked for, %d fetched, %d removals", mode, n, m, k)
			}
			for i, message := range r.messages() {
				e := r.export(i)
				want := fmt.Sprintf("export: voyado.%s.zip.age sha256 %s %d bytes 1 files", e.Reference, e.SHA256, e.Bytes)
				if message != want {
					t.Errorf("message %q, want %q", message, want)
				}
				file, err := os.Open(filepath.Join(x.x.Dir, e.File))
				if err != nil {
					t.Fatal(err)
				}
				plain, err := age.Decrypt(file, officer)
				if err != nil {
					t.Fatal(err)
				}
				if b, err := io.ReadAll(plain); err != nil || !bytes.Equal(b, packed("views.jsonl", `{"who":"`+canary+"\"}\n{}\n")) {
					t.Errorf("not what was handed out: %v", err)
				}
				file.Close()
			}
		})
	}
}

// What an export's trouble means for the removal, and what the report says of it.
func TestExportTrouble(t *testing.T) {
	type script func(op string, _ *vendors.Target, _ int) (error, bool)
	fails := func(at string, kind error, times int) func() script {
		return func() script {
			n := 0
			return func(op string, _ *vendors.Target, _ int) (error, bool) {
				if op != at || n >= times {
					return nil, false
				}
				n++
				if kind == errJob {
					return errJob, false
				}
				return failure(kind), false
			}
		}
	}
	lost := func(at string) func() script { // applied, and no answer
		return func() script {
			done := false
			return func(op string, _ *vendors.Target, _ int) (error, bool) {
				if op != at || done {
					return nil, false
				}
				done = true
				return failure(vendors.ErrUnavailable), true
			}
		}
	}
	html := func(string) []byte { return []byte("<html>" + canary) }
	stored, held := "1 erased", "1 held (export_failed)"
	for _, tt := range []struct {
		name            string
		script          func() script
		content         func(string) []byte
		first, required string // the task's state
		message         string // contained in the report's
		created         int    // export jobs asked for at the least
	}{
		{"all is well", nil, nil, stored, stored, "bytes 1 files", 1},
		{"nothing held", nil, func(string) []byte { return packed("empty.txt", "") }, stored, stored, "export: empty (nothing was held)", 1},
		{"asked for without an answer", lost("create export"), nil, stored, stored, "bytes 1 files", 2},
		{"the vendor is down for a while", fails("create export", vendors.ErrUnavailable, 3), nil, stored, stored, "bytes 1 files", 4},
		{"the job fails once", fails("poll export", errJob, 1), nil, stored, stored, "bytes 1 files", 2},
		{"the job fails twice", fails("poll export", errJob, 2), nil, stored, held, "a second job was lost: the vendor says: error", 2},
		{"polls fail", fails("poll export", vendors.ErrUnavailable, 5), nil, stored, stored, "bytes 1 files", 1},
		{"fetching fails", fails("fetch export", vendors.ErrUnavailable, 5), nil, stored, stored, "bytes 1 files", 1},
		{"cut short, and gone", lost("fetch export"), nil, stored, stored, "bytes 1 files", 2},
		{"no zip, twice", nil, html, stored, held, "not a complete zip", 2},
		{"no zip at first", nil, func(ref string) []byte {
			if ref == "x-1" {
				return html(ref)
			}
			return packed("views.jsonl", "{}\n")
		}, stored, stored, "bytes 1 files", 2},
	} {
		for mode, want := range map[vendors.ExportMode]string{vendors.ExportFirst: tt.first, vendors.ExportRequired: tt.required} {
			t.Run(tt.name+"/"+mode.String(), func(t *testing.T) {
				f := jobs("voyado", 30) // the removal outlasts the export
				if tt.script != nil {
					f.script = tt.script()
				}
				bubble(t, []*fake{f}, func(r *rig) {
					x := r.exports(f, mode, nil)
					x.content = tt.content
					r.people(1)
					r.days(40)
					r.want(want)
					if got := strings.Join(r.messages(), ""); !strings.Contains(got, tt.message) {
						t.Errorf("the report says %q, want it with %q", got, tt.message)
					}
					if n := f.count("create export", ""); n < tt.created {
						t.Errorf("asked for %d times, want %d", n, tt.created)
					}
					if n := f.count("submit", ""); n != strings.Count(want, "erased") {
						t.Errorf("%d removals", n)
					}
					left, _ := filepath.Glob(filepath.Join(x.x.Dir, "*.part"))
					if e := r.export(0); !e.State.Final() || len(left) > 0 {
						t.Errorf("%v, left %v", e.State, left)
					}
				})
			})
		}
	}
}

// neverExports refuses an export to one person, and to no other.
func neverExports(kind error) func(op string, tg *vendors.Target, nth int) (error, bool) {
	return func(op string, tg *vendors.Target, _ int) (error, bool) {
		if op == "create export" && tg.Identifier() == person(0) {
			return failure(kind), false
		}
		return nil, false
	}
}

// An export that is never made, to one person where others get theirs, has failed: the
// removal goes on without it, or a person decides.
func TestExportOfOneRefused(t *testing.T) {
	for _, kind := range []error{vendors.ErrUnavailable, vendors.ErrRefused, vendors.ErrAuth} {
		for mode, want := range map[vendors.ExportMode]string{vendors.ExportFirst: "2 erased", vendors.ExportRequired: "1 erased, 1 held (export_failed)"} {
			t.Run(kind.Error()+"/"+mode.String(), func(t *testing.T) {
				f := jobs("voyado", 30)
				f.script = neverExports(kind)
				bubble(t, []*fake{f}, func(r *rig) {
					r.exports(f, mode, nil)
					r.people(2)
					r.days(40)
					r.want(want)
					if e := r.export(0); e.State != store.ExportFailed || e.Reason != string(decide.ExportFailed) {
						t.Errorf("%v %s", e.State, e.Reason)
					}
					if e := r.export(1); e.State != store.ExportStored {
						t.Errorf("the other person's: %v %s", e.State, e.Message)
					}
				})
			})
		}
	}
}

// A person may decide that the removal goes on without the export; an approval that was
// given before the export failed is not that decision.
func TestExportApprove(t *testing.T) {
	f := jobs("voyado", 1)
	f.script = neverExports(vendors.ErrRefused)
	bubble(t, []*fake{f}, func(r *rig) {
		r.exports(f, vendors.ExportRequired, nil)
		r.job.Manual = true
		r.people(2)
		r.days(1)
		r.want("2 held (approval_required)")
		approve := func(people int) {
			t.Helper()
			for _, task := range r.tasks()[:people] {
				if n, err := r.job.Review(r.t.Context(), Selection{IDs: []int64{task.ID}}, true, store.Decision{At: time.Now(), Who: "a person"}); n != 1 || err != nil {
					t.Fatal(n, err)
				}
			}
		}
		approve(2)
		r.days(4)
		r.want("1 erased, 1 held (export_failed)")
		if n := f.count("submit", person(0)); n != 0 {
			t.Fatalf("removed %d times without the export", n)
		}
		approve(1)
		r.days(3)
		r.want("2 erased")
	})
}

// A result that nobody came to fetch in time has a deadline of its own, and a name.
func TestExportExpires(t *testing.T) {
	f := jobs("voyado", 100)
	f.script = func(op string, _ *vendors.Target, _ int) (error, bool) {
		if op == "fetch export" {
			return failure(vendors.ErrUnavailable), false
		}
		return nil, false
	}
	bubble(t, []*fake{f}, func(r *rig) {
		r.exports(f, vendors.ExportFirst, nil)
		r.people(1)
		r.days(4)
		e := r.export(0)
		all, err := r.job.Exports(r.t.Context(), r.batch.ID)
		if x := all["voyado"]; err != nil || x == nil || x.Open != 1 || x.FetchBy == nil || !x.FetchBy.Equal(e.DoneAt.Add(7*24*time.Hour)) {
			t.Fatalf("%+v, %v", all["voyado"], err)
		}
		r.days(8)
		if e := r.export(0); e.State != store.ExportFailed || e.Reason != string(decide.ExportExpired) {
			t.Errorf("%v %s %s", e.State, e.Reason, e.Message)
		}
		if got := strings.Join(r.messages(), ""); !strings.Contains(got, "export: failed (export_expired)") {
			t.Errorf("the report says %q", got)
		}
		if n := f.count("fetch export", ""); n < 7 {
			t.Errorf("given up after %d tries", n)
		}
	})
	// Nobody looked for so long that the job came and went.
	f = jobs("voyado", 100)
	bubble(t, []*fake{f}, func(r *rig) {
		x := r.exports(f, vendors.ExportFirst, nil)
		r.people(1)
		r.work(WorkOptions{})
		time.Sleep(30 * 24 * time.Hour)
		x.gone["x-1"] = true
		r.work(WorkOptions{})
		if e := r.export(0); e.Reason != string(decide.ExportExpired) || f.count("create export", "") != 1 {
			t.Errorf("%v %s", e.State, e.Reason)
		}
	})
}

// An export that had to be made again after the removal was submitted, and that comes back
// empty, says nothing of what was held before: it is not passed off as "nothing was held".
func TestExportMadeTooLate(t *testing.T) {
	f := jobs("voyado", 100)
	n := 0
	f.script = func(op string, _ *vendors.Target, _ int) (error, bool) {
		if op == "poll export" && n == 0 {
			n++
			return errJob, false
		}
		return nil, false
	}
	bubble(t, []*fake{f}, func(r *rig) {
		x := r.exports(f, vendors.ExportFirst, nil)
		x.content = func(string) []byte { return packed("empty.txt", "") }
		r.people(1)
		r.days(10)
		if e := r.export(0); e.State != store.ExportFailed || !strings.Contains(e.Message, "says nothing of what was held before") {
			t.Errorf("%v: %s", e.State, e.Message)
		}
	})
}

// A crash at any point between the vendor's last byte and our mark: what is complete on disk
// is marked and never fetched again, what is not is made again.
func TestExportCrash(t *testing.T) {
	for _, complete := range []bool{true, false} {
		f := jobs("voyado", 100)
		dying := true
		f.script = func(op string, _ *vendors.Target, _ int) (error, bool) {
			if op == "fetch export" && dying {
				return failure(vendors.ErrUnavailable), false
			}
			return nil, false
		}
		bubble(t, []*fake{f}, func(r *rig) {
			x := r.exports(f, vendors.ExportRequired, nil)
			r.people(1)
			r.days(4)
			if e := r.export(0); e.State != store.ExportReady {
				t.Fatalf("%v", e.State)
			}
			// What the dead process has left.
			vault, err := exports.Open(x.x.Dir, x.x.Recipients, time.Now)
			if err != nil {
				t.Fatal(err)
			}
			in, err := vault.Receive("voyado", "x-1")
			if err != nil {
				t.Fatal(err)
			}
			content := packed("views.jsonl", `{"who":"`+canary+"\"}\n{}\n")
			if !complete {
				content = content[:len(content)-5]
			}
			in.Write(content)
			if complete {
				if _, err := in.Keep(); err != nil {
					t.Fatal(err)
				}
			} else {
				defer in.Discard() // frees what the dead process had in memory
			}
			x.gone["x-1"] = true
			dying = false
			before := f.count("fetch export", "x-1")
			r.restart(f)
			r.exports(f, vendors.ExportRequired, x)
			r.days(10)
			if e := r.export(0); e.State != store.ExportStored || e.Files != 1 || (e.Reference == "x-1") != complete {
				t.Errorf("complete %v: %v %s %d files: %s", complete, e.State, e.Reference, e.Files, e.Message)
			}
			if n := f.count("fetch export", "x-1") - before; complete && n != 0 {
				t.Errorf("fetched %d times more", n)
			}
			if n := f.count("submit", ""); n != 1 {
				t.Errorf("%d removals", n)
			}
		})
	}
}

// A process that dies with the whole result on disk has often not yet recorded that the job
// was done: the store still waits for it, and the vendor has forgotten it. What is in the
// vault, under its final name or still under the unfinished one, is the export all the same,
// and no second one is asked for: it might be empty by then.
func TestExportCrashWhileWaiting(t *testing.T) {
	for _, named := range []bool{true, false} {
		f := jobs("voyado", 100)
		bubble(t, []*fake{f}, func(r *rig) {
			x := r.exports(f, vendors.ExportRequired, nil)
			r.people(1)
			r.work(WorkOptions{})
			if e := r.export(0); e.State != store.ExportWaiting || e.Reference != "x-1" {
				t.Fatalf("%v %s", e.State, e.Reference)
			}
			vault, err := exports.Open(x.x.Dir, x.x.Recipients, time.Now)
			if err != nil {
				t.Fatal(err)
			}
			in, err := vault.Receive("voyado", "x-1")
			if err != nil {
				t.Fatal(err)
			}
			in.Write(packed("views.jsonl", "{}\n"))
			kept, err := in.Keep()
			if err != nil {
				t.Fatal(err)
			}
			if path := filepath.Join(x.x.Dir, kept.File); !named {
				if err := os.Rename(path, path+".part"); err != nil {
					t.Fatal(err)
				}
			}
			x.gone["x-1"] = true
			r.restart(f)
			r.exports(f, vendors.ExportRequired, x)
			r.days(10)
			e := r.export(0)
			if n := f.count("create export", ""); e.State != store.ExportStored || e.Reference != "x-1" || n != 1 {
				t.Errorf("named %v: %v %s, %d jobs: %s", named, e.State, e.Reference, n, e.Message)
			}
			if left, _ := filepath.Glob(filepath.Join(x.x.Dir, "*.part")); len(left) > 0 {
				t.Errorf("named %v: left %v", named, left)
			}
		})
	}
}

// A folder that cannot be written is our trouble: nothing is fetched that could not be
// kept, and nothing is lost.
func TestExportDirGone(t *testing.T) {
	f := jobs("voyado", 100)
	bubble(t, []*fake{f}, func(r *rig) {
		x := r.exports(f, vendors.ExportRequired, nil)
		r.people(1)
		f.script = func(op string, _ *vendors.Target, _ int) (error, bool) {
			if op == "poll export" {
				os.RemoveAll(x.x.Dir)
			}
			return nil, false
		}
		ctx, cancel := context.WithTimeout(r.t.Context(), 70*time.Minute)
		defer cancel()
		if _, err := r.job.Work(ctx, WorkOptions{Wait: true}); err != nil {
			t.Fatal(err)
		}
		if n := f.count("fetch export", ""); n != 0 {
			t.Fatalf("fetched %d times with no place to keep it", n)
		}
		f.script = nil
		r.days(3)
		if e := r.export(0); e.State != store.ExportStored {
			t.Errorf("%v: %s", e.State, e.Message)
		}
	})
}

// A run with --wait stays for exports too, and a batch is open until the last has ended,
// though its tasks are final and their data is dropped.
func TestExportOutlivesRemoval(t *testing.T) {
	f := jobs("voyado", 1)
	bubble(t, []*fake{f}, func(r *rig) {
		x := r.exports(f, vendors.ExportFirst, nil)
		r.people(3)
		f.script = func(op string, _ *vendors.Target, nth int) (error, bool) {
			if op == "poll export" && nth < 20 {
				return failure(vendors.ErrUnavailable), false
			}
			return nil, false
		}
		r.days(2)
		r.want("3 erased")
		if has, err := r.st.HasOpen(r.t.Context(), r.batch); !has || err != nil {
			t.Errorf("no open work though no export is here: %v", err)
		}
		// Exports are switched off meanwhile: what was asked for is fetched all the same.
		r.restart(f)
		r.exports(f, vendors.NoExport, x)
		r.work(WorkOptions{Wait: true})
		for i := range 3 {
			if e := r.export(i); e.State != store.ExportStored {
				t.Errorf("%v: %s", e.State, e.Message)
			}
		}
		if has, err := r.st.HasOpen(r.t.Context(), r.batch); has || err != nil {
			t.Errorf("still open: %v", err)
		}
	})
}

// A dry run asks for no export, and a lane without exports never touches the vault.
func TestExportDryRun(t *testing.T) {
	f := jobs("voyado", 1)
	bubble(t, []*fake{f}, func(r *rig) {
		x := r.exports(f, vendors.ExportRequired, nil)
		r.people(2)
		r.work(WorkOptions{DryRun: true})
		if n := f.count("create export", ""); n != 0 {
			t.Errorf("%d exports", n)
		}
		r.exports(f, vendors.NoExport, x)
		r.days(2)
		r.want("2 erased")
		if _, err := os.Stat(x.x.Dir); !errors.Is(err, fs.ErrNotExist) {
			t.Error("a vault without exports")
		}
	})
}

// Two subjects with one identifier have one export, and both rows tell of it.
func TestExportOfFollowers(t *testing.T) {
	f := jobs("voyado", 1)
	bubble(t, []*fake{f}, func(r *rig) {
		r.exports(f, vendors.ExportRequired, nil)
		r.take("subject_id,email\nR-1," + person(1) + "\nR-2," + person(1) + "\n")
		r.days(5)
		r.want("2 erased")
		m := r.messages()
		if n := f.count("create export", ""); n != 1 || len(m) != 2 || m[0] != m[1] || !strings.Contains(m[0], "sha256") {
			t.Errorf("%d exports: %q", n, m)
		}
	})
}
