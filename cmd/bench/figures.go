package main

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"
)

const inFlight = 64

// measureCalls compares durable calls with calls that nobody keeps.
func measureCalls(w *world, t *table) error {
	people := 16_000
	if w.full {
		people = 100_000
	}
	file, err := w.people("people.csv", people)
	if err != nil {
		return err
	}
	want := int64(0)
	for n := range people {
		if want += 3; unknown(n) {
			want -= 2
		}
	}
	var durable, plain, curl series
	for range w.pairs {
		if err := w.reset(); err != nil {
			return err
		}
		s, err := w.newSite("calls", w.customergauge("1000000/s"))
		if err != nil {
			return err
		}
		if _, err := s.run(nil, "run", "--allow-large", file); err != nil {
			return err
		}
		ours, err := w.seen(want)
		if err != nil {
			return err
		}
		durable = append(durable, ours.perSecond())

		c, err := w.self("bare", w.url, strconv.Itoa(people), strconv.Itoa(inFlight))
		if err != nil {
			return err
		}
		if err := c.cmd.Wait(); err != nil {
			return err
		}
		theirs, err := w.seen(want)
		if err != nil {
			return err
		}
		plain = append(plain, theirs.perSecond())
	}
	ratio := durable.over(plain)
	t.add("durable calls/s, 64 in flight, FULL", fmt.Sprintf("%.0f/s", durable.median()), fmt.Sprintf("bare loop %.0f/s", plain.median()),
		fmt.Sprintf("%.2f", ratio.median()), ">= 0.80", ratio.median() >= 0.80, ratio.spread())

	const figure = "calls/s over xargs -P8 -n1 curl"
	if why := have("xargs", "curl"); why != "" {
		t.missing(figure, why)
		return nil
	}
	const curls = 500
	for range w.pairs {
		if err := w.reset(); err != nil {
			return err
		}
		var urls strings.Builder
		for n := range curls {
			fmt.Fprintf(&urls, "%s/v4.1/anonymize.json?email=%s\n", w.url, address(n))
		}
		if _, err := w.command(strings.NewReader(urls.String()), io.Discard, "xargs", "-P8", "-n1", "curl", "-sS"); err != nil {
			return err
		}
		c, err := w.seen(curls)
		if err != nil {
			return err
		}
		curl = append(curl, c.perSecond())
	}
	ratio = durable.over(curl)
	t.add(figure, fmt.Sprintf("%.0f/s", durable.median()), fmt.Sprintf("%.0f/s", curl.median()),
		fmt.Sprintf("%.0f", ratio.median()), ">= 60", ratio.median() >= 60, ratio.spread())
	return nil
}

// seen checks that the server saw all calls, and lets it forget them.
func (w *world) seen(calls int64) (counts, error) {
	c, err := w.counts()
	if err == nil && c.Calls != calls {
		err = fmt.Errorf("the server saw %d calls, expected %d", c.Calls, calls)
	}
	return c, errors.Join(err, w.reset())
}

// measureCPU is what the whole program takes of a processor at a fixed rate.
func measureCPU(w *world, t *table) error {
	const people = 8000 // 20,000 calls, ten seconds
	file, err := w.people("people.csv", people)
	if err != nil {
		return err
	}
	var cores, achieved series
	for range w.pairs {
		s, err := w.newSite("cpu", w.customergauge("2000/s"))
		if err != nil {
			return err
		}
		p, err := s.run(nil, "run", file)
		if err != nil {
			return err
		}
		c, err := w.seen(people * 10 / 4)
		if err != nil {
			return err
		}
		cores = append(cores, p.cpu().Seconds()/time.Duration(c.Last-c.First).Seconds())
		achieved = append(achieved, c.perSecond()/2000)
	}
	t.add("whole process at 2000 calls/s", fmt.Sprintf("%.2f core", cores.median()), fmt.Sprintf("achieved %.3f", achieved.median()), "",
		"<= 0.35 core", cores.median() <= 0.35, cores.spread())
	return nil
}

// measureIntake compares the intake of a file with sqlite3's import of it into one table.
func measureIntake(w *world, t *table) error {
	const rows = 1_000_000
	figure := fmt.Sprintf("intake, %s rows x 3 vendors", thousands(rows))
	if why := have("sqlite3"); why != "" {
		t.missing(figure, why)
		return nil
	}
	file, err := w.people("people.csv", rows)
	if err != nil {
		return err
	}
	var ours, theirs series
	for range w.pairs {
		s, err := w.newSite("intake", w.all()...)
		if err != nil {
			return err
		}
		took, _, err := s.takeIn(file)
		if err != nil {
			return err
		}
		ours = append(ours, took.Seconds())
		plain := w.path("plain.db")
		if err := removeAny(plain); err != nil {
			return err
		}
		if took, err = w.command(nil, io.Discard, "sqlite3", plain, `.import --csv "`+file+`" people`); err != nil {
			return err
		}
		theirs = append(theirs, took.Seconds())
	}
	ratio := ours.over(theirs)
	t.add(figure, seconds(ours), "sqlite3 .import "+seconds(theirs), fmt.Sprintf("%.2f", ratio.median()), "<= 2.0", ratio.median() <= 2.0, ratio.spread())
	if !w.full {
		return nil
	}
	if file, err = w.people("people.csv", 10*rows); err != nil {
		return err
	}
	s, err := w.newSite("intake", w.all()...)
	if err != nil {
		return err
	}
	took, p, err := s.takeIn(file)
	if err != nil {
		return err
	}
	t.add("intake, 10,000,000 rows x 3 vendors", fmt.Sprintf("%.0f s, %.0f MiB", took.Seconds(), p.peakMiB()), "", "", "<= 180 s", took <= 3*time.Minute, "1 run")
	return nil
}

func removeAny(path string) error {
	if err := os.Remove(path); err != nil && !os.IsNotExist(err) {
		return err
	}
	return nil
}

func seconds(s series) string { return fmt.Sprintf("%.2f s", s.median()) }

func thousands(n int) string {
	text := strconv.Itoa(n)
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}

// finish makes every task erased, with all that a report shows of it.
const finish = `
UPDATE tasks SET state = 6, evidence = 1, next_at = NULL, records = 1, records_after = 0,
 record_refs = 100000 + id/1000, reference = printf('5f0c1c9e-1b7a-4f43-9f0e-%012x', id),
 submitted_at = due_at - 1727999, completed_at = due_at - 1727998, verified_at = due_at - 1727998;`

// sameColumns gives the report's columns in plain SQL. What is sealed in the store cannot
// be had so: another text of about the same length stands for it.
const sameColumns = `SELECT s.batch, s.line, s.subject_id, v.name AS vendor,
 CASE t.identifier WHEN 1 THEN 'email' WHEN 5 THEN 'customer_key' WHEN 6 THEN 'account_number' END AS identifier_kind,
 'masked-' || s.subject_id AS identifier, st.name AS state, CASE t.evidence WHEN 1 THEN 'verified' ELSE '' END AS evidence,
 t.reason, t.more ->> 'message' AS message, t.records, t.records_after, t.record_refs, t.reference, coalesce(t.more ->> 'attempts', 0) AS attempts,
 strftime('%Y-%m-%dT%H:%M:%SZ', s.received_at, 'unixepoch') AS received_at,
 strftime('%Y-%m-%dT%H:%M:%SZ', s.due_at, 'unixepoch') AS due_at,
 CASE WHEN t.completed_at > s.due_at THEN 'missed' ELSE 'met' END AS due_status,
 strftime('%Y-%m-%dT%H:%M:%SZ', t.submitted_at, 'unixepoch') AS submitted_at,
 strftime('%Y-%m-%dT%H:%M:%SZ', t.completed_at, 'unixepoch') AS completed_at,
 strftime('%Y-%m-%dT%H:%M:%SZ', t.verified_at, 'unixepoch') AS verified_at,
 t.closed_at, s.answered_at, h.act, s.channel, s.answer_channel
FROM tasks t JOIN subjects s ON s.id = t.id/1000 JOIN vendors v ON v.id = t.vendor JOIN states st ON st.code = t.state
 JOIN shapes h ON h.shape = s.shape AND h.n = t.id%1000 ORDER BY t.id;`

// measureReport compares the report with sqlite3 writing the same columns.
func measureReport(w *world, t *table) error {
	rows := 100_000
	if w.full {
		rows = 1_000_000
	}
	figure := fmt.Sprintf("report, %s rows", thousands(3*rows))
	if why := have("sqlite3"); why != "" {
		t.missing(figure, why)
		return nil
	}
	s, err := w.finished(rows)
	if err != nil {
		return err
	}
	var ours, theirs series
	for range w.pairs {
		p, err := s.start("report", "-o", "report.csv")
		if err != nil {
			return err
		}
		if err := p.wait(); err != nil {
			return err
		}
		ours = append(ours, time.Since(p.began).Seconds())
		out, err := os.Create(s.path("plain.csv"))
		if err != nil {
			return err
		}
		took, err := w.command(nil, out, "sqlite3", "-csv", "-header", s.store(), sameColumns)
		if err := errors.Join(err, out.Close()); err != nil {
			return err
		}
		theirs = append(theirs, took.Seconds())
	}
	ratio := ours.over(theirs)
	t.add(figure, seconds(ours), "sqlite3 -csv "+seconds(theirs), fmt.Sprintf("%.2f", ratio.median()), "<= 1.4", ratio.median() <= 1.4, ratio.spread())
	return nil
}

// finished makes a store with all work done.
func (w *world) finished(rows int) (*site, error) {
	s, err := w.loaded("finished", rows, w.all()...)
	if err != nil {
		return nil, err
	}
	return s, s.sql(finish)
}

// loaded makes a store with a batch in it and nothing done.
func (w *world) loaded(name string, rows int, vendors ...vendor) (*site, error) {
	file, err := w.people("people.csv", rows)
	if err != nil {
		return nil, err
	}
	s, err := w.newSite(name, vendors...)
	if err != nil {
		return nil, err
	}
	_, _, err = s.takeIn(file)
	return s, err
}

// measureMemory compares the peak of a large run with that of a small one: intake, calls,
// totals and report.
func measureMemory(w *world, t *table) error {
	rows := 300_000
	if w.full {
		rows = 10_000_000
	}
	peak := func(rows int) (float64, error) {
		w.note("whole run, %s rows", thousands(rows))
		file, err := w.people("people.csv", rows)
		if err != nil {
			return 0, err
		}
		s, err := w.newSite("memory", w.customergauge("1000000/s"))
		if err != nil {
			return 0, err
		}
		if err := w.reset(); err != nil {
			return 0, err
		}
		p, err := s.run(nil, "run", "--allow-large", file)
		if err != nil {
			return 0, err
		}
		if p.peakMiB() == 0 {
			return 0, errors.New("no /proc/PID/status to read the memory from")
		}
		return p.peakMiB(), nil
	}
	small, err := peak(10_000)
	if err != nil {
		return err
	}
	large, err := peak(rows)
	if err != nil {
		return err
	}
	figure := fmt.Sprintf("peak RSS of a whole run, %s rows", thousands(rows))
	t.add(figure, fmt.Sprintf("%.0f MiB", large), "", "", "<= 64 MiB", large <= 64, "1 run")
	t.add("the same / 10,000 rows", fmt.Sprintf("%.0f MiB", large), fmt.Sprintf("%.0f MiB", small), fmt.Sprintf("%.2f", large/small), "<= 1.5", large/small <= 1.5, "1 run")
	return nil
}

// measureResume is how long a run that was killed needs to its first call when it is
// started again, with most of the work done.
func measureResume(w *world, t *table) error {
	rows := 500_000
	if w.full {
		rows = 10_000_000
	}
	figure := fmt.Sprintf("kill -9 to first call, %s subjects", thousands(rows))
	if why := have("sqlite3"); why != "" {
		t.missing(figure, why)
		return nil
	}
	s, err := w.loaded("resume", rows, w.all()...)
	if err != nil {
		return err
	}
	w.note("two thirds are made finished")
	if err := s.sql(strings.TrimSuffix(finish, ";") + fmt.Sprintf(" WHERE id/1000 <= %d;", rows*2/3)); err != nil {
		return err
	}
	var took series
	for n := range w.pairs + 1 {
		if err := w.reset(); err != nil {
			return err
		}
		p, err := s.start("run")
		if err != nil {
			return err
		}
		first, err := w.firstCall(p)
		if err != nil {
			return err
		}
		if n > 0 { // before the first start nothing was killed
			took = append(took, first.Sub(p.began).Seconds())
		}
		time.Sleep(300 * time.Millisecond) // some thousand calls, a log to recover
		p.kill()
	}
	t.add(figure, fmt.Sprintf("%.3f s", took.median()), "", "", "<= 0.5 s", took.median() <= 0.5, took.spread())
	return nil
}

func (w *world) firstCall(p *process) (time.Time, error) {
	for {
		c, err := w.counts()
		if err != nil {
			return time.Time{}, err
		}
		if c.Calls > 0 {
			return time.Unix(0, c.First), nil
		}
		select {
		case <-p.done:
			return time.Time{}, fmt.Errorf("no call was made: %s", p.last())
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// measureNightly is a run that finds many jobs waiting and a thousand due.
func measureNightly(w *world, t *table) error {
	rows, due := 200_000, 1000
	if w.full {
		rows = 1_000_000
	}
	figure := fmt.Sprintf("nightly run, %s jobs wait, 1,000 due", thousands(rows))
	if why := have("sqlite3"); why != "" {
		t.missing(figure, why)
		return nil
	}
	s, err := w.loaded("nightly", rows, w.voyado("1000000/s"))
	if err != nil {
		return err
	}
	waiting := `UPDATE tasks SET state = 2, submitted_at = due_at - 1728000, next_at = 0;
 UPDATE tasks SET state = 3, reference = printf('5f0c1c9e-1b7a-4f43-9f0e-%012x', id), next_at = (SELECT unixepoch()*1000 + 86400000) + id % 1000;
 UPDATE tasks SET next_at = 1 + id % 1000 WHERE id % ` + strconv.Itoa(1000*rows/due) + ` = 1000;`
	if err := s.sql(waiting); err != nil {
		return err
	}
	var store, whole series
	for range w.pairs {
		night, err := s.copyOf("night")
		if err != nil {
			return err
		}
		if err := w.reset(); err != nil {
			return err
		}
		p, err := night.run(nil, "run")
		if err != nil {
			return err
		}
		whole = append(whole, time.Since(p.began).Seconds())
		c, err := w.seen(int64(due))
		if err != nil {
			return err
		}
		balanced, err := p.said("the control totals balance")
		if err != nil {
			return err
		}
		before := time.Unix(0, c.First).Sub(p.began)
		after := balanced.Sub(time.Unix(0, c.Last))
		store = append(store, (before + after).Seconds())
		var touched strings.Builder
		if _, err := w.command(nil, &touched, "sqlite3", night.store(),
			`SELECT count(*) FROM tasks WHERE NOT (state = 3 AND next_at >= unixepoch()*1000 + 80000000);`); err != nil {
			return err
		}
		if got := strings.TrimSpace(touched.String()); got != strconv.Itoa(due) {
			return fmt.Errorf("%s tasks were touched, %d were due", got, due)
		}
	}
	t.add(figure, fmt.Sprintf("store %.2f s", store.median()), fmt.Sprintf("whole run with its report %.2f s", whole.median()), "",
		"1,000 polls, <= 1 s", store.median() <= 1, store.spread())
	return nil
}

// measureBytes is what a subject takes on disk: with everything open, and when all is done
// and its identifiers are dropped.
func measureBytes(w *world, t *table) error {
	rows := 20_000
	s, err := w.loaded("bytes", rows, w.all()...)
	if err != nil {
		return err
	}
	// A run that does nothing folds the journal in.
	if _, err := s.run([]int{0, 3}, "run", "--for", "1ms"); err != nil {
		return err
	}
	open, err := size(s.store(), rows)
	if err != nil {
		return err
	}
	t.add("bytes per subject, 3 vendors, open", fmt.Sprintf("%.0f", open), "", "", "<= 520", open <= 520, "1 run")
	if err := w.reset(); err != nil {
		return err
	}
	if _, err := s.run(nil, "run", "--wait"); err != nil {
		return err
	}
	if err := s.confirmations(); err != nil {
		return err
	}
	if _, err := s.run(nil, "confirm", "done.csv"); err != nil {
		return err
	}
	closed, err := size(s.store(), rows)
	if err != nil {
		return err
	}
	t.add("the same, all final, identifiers dropped", fmt.Sprintf("%.0f", closed), "", "", "<= 1,100", closed <= 1100, "1 run")
	return nil
}

func size(path string, rows int) (float64, error) {
	total := int64(0)
	for _, p := range []string{path, path + "-wal"} {
		st, err := os.Stat(p)
		if err != nil && !os.IsNotExist(err) {
			return 0, err
		}
		if err == nil {
			total += st.Size()
		}
	}
	return float64(total) / float64(rows), nil
}

// confirmations writes what a person would: that all of Acqueon's requests are done.
func (s *site) confirmations() error {
	in, err := os.Open(s.path("report.csv"))
	if err != nil {
		return err
	}
	defer in.Close()
	r := csv.NewReader(in)
	header, err := r.Read()
	if err != nil {
		return err
	}
	column := map[string]int{}
	for i, name := range header {
		column[name] = i
	}
	out, err := os.Create(s.path("done.csv"))
	if err != nil {
		return err
	}
	w := csv.NewWriter(out)
	w.Write([]string{"vendor", "reference", "completed_at"})
	for {
		rec, err := r.Read()
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
		if rec[column["vendor"]] == "acqueon" && rec[column["state"]] == "waiting" {
			w.Write([]string{"acqueon", rec[column["reference"]], time.Now().UTC().Format(time.RFC3339)})
		}
	}
	w.Flush()
	return errors.Join(w.Error(), out.Close())
}
