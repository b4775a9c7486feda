package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"expunge/store"
	"expunge/store/seal"
)

// measureEvents compares the writer with one that tells nothing of tasks. Both are this
// program, built now: the other one from the same source with one line more (quiet).
func measureEvents(w *world, t *table) error {
	const figure = "writer, changes with their events"
	if why := have("go"); why != "" {
		t.missing(figure, why)
		return nil
	}
	with, without := w.path("bench-with"), w.path("bench-without")
	overlay, err := w.quiet()
	if err != nil {
		return err
	}
	for _, args := range [][]string{{"build", "-o", with, "expunge/cmd/bench"}, {"build", "-overlay", overlay, "-o", without, "expunge/cmd/bench"}} {
		if _, err := w.command(nil, io.Discard, "go", args...); err != nil {
			return err
		}
	}
	people := 10_000
	if w.full {
		people = 100_000
	}
	var ours, theirs, ourCPU, theirCPU series
	for range w.pairs {
		for _, side := range []struct {
			program   string
			took, cpu *series
			told      bool
		}{{with, &ours, &ourCPU, true}, {without, &theirs, &theirCPU, false}} {
			dir := w.path("writer")
			if err := errors.Join(os.RemoveAll(dir), os.Mkdir(dir, 0o700)); err != nil {
				return err
			}
			var out bytes.Buffer
			if _, err := w.command(nil, &out, side.program, "write", dir, strconv.Itoa(people)); err != nil {
				return err
			}
			var did written
			if err := json.Unmarshal(out.Bytes(), &did); err != nil {
				return err
			}
			if told := did.Events > 0; told != side.told {
				return fmt.Errorf("%d events of tasks were written", did.Events)
			}
			*side.took = append(*side.took, did.Seconds*1e6/float64(did.Changes))
			*side.cpu = append(*side.cpu, did.CPU*1e6/float64(did.Changes))
		}
	}
	add := func(figure string, ours, theirs series) {
		ratio := ours.over(theirs)
		t.add(figure, fmt.Sprintf("%.2f us", ours.median()), fmt.Sprintf("without %.2f us", theirs.median()), fmt.Sprintf("%.2f", ratio.median()), "<= 1.25",
			ratio.median() <= 1.25, ratio.spread())
	}
	add(figure, ours, theirs)
	add("the same, processor time", ourCPU, theirCPU)
	return nil
}

// quiet makes an overlay for the go command in which no change of a task is told.
func (w *world) quiet() (overlay string, err error) {
	var dir bytes.Buffer
	if _, err := w.command(nil, &dir, "go", "list", "-f", "{{.Dir}}", "expunge/store"); err != nil {
		return "", err
	}
	path := filepath.Join(strings.TrimSpace(dir.String()), "event.go")
	source, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	const begins = "func (ch *Change) told() EventKind {\n"
	changed := strings.Replace(string(source), begins, begins+"\tif ch != nil {\n\t\treturn 0\n\t}\n", 1)
	if changed == string(source) {
		return "", fmt.Errorf("%s has no %q", path, strings.TrimSpace(begins))
	}
	replaced, err := json.Marshal(map[string]map[string]string{"Replace": {path: w.path("event.go")}})
	if err != nil {
		return "", err
	}
	overlay = w.path("overlay.json")
	return overlay, errors.Join(os.WriteFile(w.path("event.go"), []byte(changed), 0o600), os.WriteFile(overlay, replaced, 0o600))
}

// written is what the child write did.
type written struct {
	Changes, Events int64
	Seconds, CPU    float64
}

// write is the child that takes tasks from claim to end as lanes do, 64 at a time, and calls
// nobody: what takes time is the store's writer. Arguments: a folder, how many persons.
func write(ctx context.Context, args []string, _ io.Reader, stdout io.Writer) error {
	if len(args) != 2 {
		return errors.New("wants a folder and a number of persons")
	}
	people, err := strconv.Atoi(args[1])
	if err != nil {
		return err
	}
	st, vendors, err := writerStore(ctx, args[0], people)
	if err != nil {
		return err
	}
	var work []store.Work
	for _, v := range vendors {
		var c store.Cursor
		of, err := st.ClaimReady(ctx, v, &c, people)
		if err != nil {
			return err
		}
		work = append(work, of...)
	}
	rand.Shuffle(len(work), func(i, j int) { work[i], work[j] = work[j], work[i] }) // lanes do not wait for each other
	next := make(chan store.Work, len(work))
	for _, w := range work {
		next <- w
	}
	close(next)
	var did written
	var mu sync.Mutex
	var failed error
	done := func(err error) {
		mu.Lock()
		defer mu.Unlock()
		did.Changes++
		failed = errors.Join(failed, err)
	}
	began, before := time.Now(), cpu()
	var group sync.WaitGroup
	for range inFlight {
		group.Go(func() {
			for w := range next {
				st.Working(1)
				life(st, w.Task, w.Task.Vendor == vendors[0], done)
				st.Working(-1)
			}
		})
	}
	group.Wait()
	if err := errors.Join(st.Flush(), failed); err != nil {
		return err
	}
	did.Seconds, did.CPU = time.Since(began).Seconds(), (cpu() - before).Seconds()
	if want := int64(people * (3 + 5 + 5)); did.Changes != want {
		return fmt.Errorf("%d changes, want %d", did.Changes, want)
	}
	h, err := st.History(ctx, writerTicket(people/2))
	if err != nil {
		return err
	}
	did.Events = int64(len(h.Events)) - 1 // without the receipt
	return errors.Join(json.NewEncoder(stdout).Encode(did), st.Close())
}

// cpu is the processor time of this process so far.
func cpu() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// life takes a task from claim to end: one that is looked at again, or one whose vendor says
// later that it is done. The intent is waited for, the outcomes ride along.
func life(st *store.Store, t store.Task, asked bool, done func(error)) {
	now := time.Now()
	from := t.State
	t.State, t.SubmittedAt = store.Submitting, now
	if asked {
		t.PreviewedAt, t.Records, t.RecordRefs = now, store.Counted(1), "10438"
	}
	done(st.Apply(store.Change{From: from, Task: t}))
	step := func(to store.State) {
		from := t.State
		t.State = to
		st.ApplyLater(store.Change{From: from, Task: t}, done)
	}
	if asked {
		step(store.Verifying)
		t.Evidence, t.VerifiedAt, t.RecordsAfter = store.Verified, now, store.Counted(0)
	} else {
		t.Reference, t.Ready, t.NextAt = fmt.Sprintf("5f0c1c9e-1b7a-4f43-9f0e-%012x", t.ID), false, now
		step(store.Waiting)
		for range 2 { // polls
			t.NextAt = t.NextAt.Add(time.Hour)
			step(store.Waiting)
		}
		t.Evidence, t.NextAt = store.VendorDone, time.Time{}
	}
	t.Ready, t.CompletedAt = false, now
	step(store.Erased)
}

func writerTicket(n int) string { return fmt.Sprintf("DSR-%08d", n) }

// writerStore makes a store with people, each with a task at three vendors.
func writerStore(ctx context.Context, dir string, people int) (*store.Store, []int64, error) {
	key := seal.NewKey()
	st, err := store.Open(ctx, filepath.Join(dir, "expunge.db"), store.Options{Key: func(bool) (seal.Key, error) { return key, nil }, Now: time.Now,
		Forget: func(plain []byte, _ uint32) ([]byte, error) { return plain[:len(plain)/2], nil }})
	if err != nil {
		return nil, nil, err
	}
	names := []string{"asked", "jobs", "tickets"}
	var specs []store.VendorSpec
	for _, n := range names {
		specs = append(specs, store.VendorSpec{Name: n, Kind: n, Fields: 1 << 1})
	}
	known, err := st.SyncVendors(ctx, specs)
	if err != nil {
		return nil, nil, err
	}
	var ids []int64
	var tasks []store.NewTask
	for _, n := range names {
		ids, tasks = append(ids, known[n].ID), append(tasks, store.NewTask{Vendor: known[n].ID, Field: 1})
	}
	in, err := st.BeginIntake(ctx, "bench.csv", time.Now())
	if err != nil {
		return nil, nil, err
	}
	received := time.Now().Truncate(time.Second)
	for n := range people {
		err := in.Subject(&store.NewSubject{Line: n + 2, SubjectID: writerTicket(n), Content: int64(n), ReceivedAt: received, DueAt: received.AddDate(0, 1, 0),
			Plain: []byte("1=" + address(n) + "\n2=a customer key of some length\n"), Tasks: tasks, Same: []int64{0, 0, 0},
			Identifiers: []store.Identifier{{Field: 1, Kind: "email", Normal: address(n)}}})
		if err != nil {
			return nil, nil, err
		}
	}
	_, _, err = in.Settle(ctx, []byte("digest"), store.IntakeRules{Accept: func(store.Batch) error { return nil },
		Same: func(_, _ store.Work) bool { return false }, Digest: func(*store.Work) (int64, error) { return 0, nil }})
	return st, ids, err
}

// finishTold makes every task erased, as finish does, with the two events of each that a run
// would have written. The tasks of the n-th subject have the numbers n*1000 to n*1000+2.
const finishTold = finish + `
INSERT INTO events (seq, task, prev, at, event, evidence, records, records_after, reference, submitted_at, completed_at, verified_at)
 SELECT m.seq + (t.id/1000 - 1)*6 + t.id%1000*2 + 1 + k, t.id, CASE k WHEN 0 THEN s.event ELSE m.seq + (t.id/1000 - 1)*6 + t.id%1000*2 + 1 END,
 t.completed_at, CASE k WHEN 0 THEN 3 ELSE 9 END, CASE k WHEN 1 THEN t.evidence END, t.records, t.records_after, t.reference, t.submitted_at,
 CASE k WHEN 1 THEN t.completed_at END, CASE k WHEN 1 THEN t.verified_at END
 FROM (SELECT max(seq) AS seq FROM events) m CROSS JOIN tasks t CROSS JOIN (SELECT 0 AS k UNION ALL SELECT 1) CROSS JOIN subjects s ON s.id = t.id/1000;
UPDATE tasks SET event = (SELECT max(seq) FROM events) - ((SELECT max(id)/1000 FROM tasks) - id/1000)*6 - (2 - id%1000)*2;`

// measureHistory is how long the story of one takes among many, by the ticket and by an address,
// which is tried on everybody.
func measureHistory(w *world, t *table) error {
	rows := 500_000
	if w.full {
		rows = 10_000_000
	}
	figure := fmt.Sprintf("history of one among %s", thousands(rows))
	if why := have("sqlite3"); why != "" {
		t.missing(figure, why)
		return nil
	}
	sites := map[int]*site{}
	for _, n := range []int{1000, rows} {
		s, err := w.loaded(fmt.Sprintf("history-%d", n), n, w.all()...)
		if err != nil {
			return err
		}
		w.note("history: %s are made finished", thousands(n))
		if err := s.sql(finishTold); err != nil {
			return err
		}
		sites[n] = s
	}
	times := map[int]series{}
	for range 4 * w.pairs {
		for n, s := range sites {
			ticket := writerTicket(rand.IntN(n))
			p, took, err := s.told(nil, "history", ticket)
			if err != nil {
				return err
			}
			if !strings.Contains(p, "erased, verified") || strings.Count(p, "submitted, reference") != 3 {
				return fmt.Errorf("history %s says\n%s", ticket, p)
			}
			times[n] = append(times[n], took.Seconds()*1000)
		}
	}
	one, few := times[rows], times[1000]
	t.add(figure, fmt.Sprintf("%.0f ms", one.median()), fmt.Sprintf("among 1,000 %.0f ms", few.median()), fmt.Sprintf("%.2f", one.over(few).median()), "<= 50 ms",
		one.median() <= 50, one.spread())
	p, took, err := sites[rows].told(strings.NewReader(address(rows/2)+"\n"), "history", "-")
	if err != nil {
		return err
	}
	if !strings.HasPrefix(p, writerTicket(rows/2)) {
		return fmt.Errorf("by an address is found\n%s", p)
	}
	perMillion := took.Seconds() * 1e6 / float64(rows)
	t.add("the same, by an address", fmt.Sprintf("%.2f s", took.Seconds()), "", "", "<= 3 s a million", perMillion <= 3, "1 run")
	return measureCertificate(w, t, sites, rows)
}

// measureCertificate is how long the log takes to hash what has happened, and the certificate of
// one among many.
func measureCertificate(w *world, t *table, sites map[int]*site, rows int) error {
	for n, s := range sites {
		if err := os.WriteFile(s.path("told.csv"), []byte("subject_id,answered_at\n"+writerTicket(0)+","+time.Now().UTC().Format(time.DateOnly)+"\n"), 0o600); err != nil {
			return err
		}
		_, took, err := s.told(nil, "answered", s.path("told.csv"))
		if err != nil {
			return err
		}
		if n == rows {
			events := float64(n) * 6 // the receipts were hashed when they were taken in
			perMillion := took.Seconds() * 1e6 / events
			t.add(fmt.Sprintf("the log hashes %s events", thousands(int(events))), fmt.Sprintf("%.1f s", took.Seconds()), "", fmt.Sprintf("%.1f s a million", perMillion),
				"<= 5 s a million", perMillion <= 5, "1 run")
		}
	}
	times := map[int]series{}
	for range 4 * w.pairs {
		for n, s := range sites {
			p, took, err := s.told(nil, "certificate", writerTicket(rand.IntN(n)))
			if err != nil {
				return err
			}
			if strings.Count(p, "c2sp.org/tlog-proof@v1") < 7 || !strings.Contains(p, "looked again and gone") {
				return fmt.Errorf("a certificate says\n%s", p)
			}
			times[n] = append(times[n], took.Seconds()*1000)
		}
	}
	one, few := times[rows], times[1000]
	t.add(fmt.Sprintf("certificate of one among %s", thousands(rows)), fmt.Sprintf("%.0f ms", one.median()), fmt.Sprintf("among 1,000 %.0f ms", few.median()),
		fmt.Sprintf("%.2f", one.over(few).median()), "<= 50 ms", one.median() <= 50, one.spread())
	return nil
}

// told runs expunge to its end and returns what it wrote to standard output, and how long that took.
func (s *site) told(stdin io.Reader, args ...string) (string, time.Duration, error) {
	var out bytes.Buffer
	took, err := s.w.command(stdin, &out, s.w.expunge, append([]string{"-c", s.path("expunge.yaml")}, args...)...)
	return out.String(), took, err
}
