package batch

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"expunge/batch/intake"
	"expunge/store"
	"expunge/store/seal"
	"expunge/vendors"
	"expunge/vendors/acqueon"
	"expunge/vendors/customergauge"
	"expunge/vendors/transport"
	"expunge/vendors/voyado"
)

const benchRows = 100_000

// benchStore opens a new store with a run of the three real vendors on it.
func benchStore(b *testing.B) (*store.Store, *Run) {
	b.Helper()
	key := seal.NewKey()
	st, err := store.Open(b.Context(), filepath.Join(b.TempDir(), "expunge.db"), store.Options{
		Key: func(bool) (seal.Key, error) { return key, nil }, Now: time.Now, Forget: Forget,
	})
	if err != nil {
		b.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	var lanes []*Lane
	for _, k := range []vendors.Kind{customergauge.Kind, voyado.Kind, acqueon.Kind} {
		c := k.New()
		switch c := c.(type) {
		case *customergauge.Config:
			c.BaseURL, c.APIKey = "http://127.0.0.1:1", vendors.NewSecret("bench")
		case *voyado.Config:
			c.BaseURL, c.APIKey = "http://127.0.0.1:1", vendors.NewSecret("bench")
		case *acqueon.Config:
			c.BaseURL, c.AgentID = "http://127.0.0.1:1", "bench"
		}
		limiter := transport.NewLimiter(transport.LimiterOptions{})
		v, err := c.Open(vendors.Options{Name: k.Name, Transport: transport.New(transport.Options{}), Log: log, Now: time.Now})
		if err != nil {
			b.Fatal(err)
		}
		lanes = append(lanes, &Lane{Account: AccountOf(k.Name, v, vendors.Rate{}), Vendor: v, Pacer: limiter})
	}
	j, err := NewRun(b.Context(), &Tasks{Store: st, Now: time.Now, Log: log}, lanes...)
	if err != nil {
		b.Fatal(err)
	}
	return st, j
}

// benchPeople writes a file of subjects with a task at each vendor.
func benchPeople(b *testing.B) string {
	b.Helper()
	path := filepath.Join(b.TempDir(), "people.csv")
	f, err := os.Create(path)
	if err != nil {
		b.Fatal(err)
	}
	w := bufio.NewWriter(f)
	fmt.Fprintln(w, "subject_id,email,other_email,customer_key,account_number,call_id,agent_id,customer_name,comments,received_at")
	for n := range benchRows {
		fmt.Fprintf(w, "DSR-%08d,person-%d@example.com,,3f0c1c9e-1b7a-4f43-9f0e-%012d,934|1|%d|0|0|44|59,%d,agent7,Person Number %d,asked by telephone,2026-11-01\n",
			n, n, n, n, n+7, n)
	}
	if err := w.Flush(); err != nil {
		b.Fatal(err)
	}
	if err := f.Close(); err != nil {
		b.Fatal(err)
	}
	return path
}

func takeIn(b *testing.B, st *store.Store, j *Run, file string) store.Batch {
	b.Helper()
	var names []string
	for _, l := range j.Lanes {
		names = append(names, l.Name)
	}
	now := func() time.Time { return time.Date(2026, 11, 20, 0, 0, 0, 0, time.UTC) }
	got, _, err := TakeIn(b.Context(), st, j.Lanes, Input{
		Path: file, Log: j.Log, Deadline: func(t time.Time) time.Time { return t.AddDate(0, 1, 0) },
		Reading: intake.Options{Vendors: names, Now: now, Log: j.Log},
	})
	if err != nil {
		b.Fatal(err)
	}
	return got
}

// BenchmarkIntake takes a file into a new store: read, checked, sealed, fanned out to
// three tasks a row, on disk.
func BenchmarkIntake(b *testing.B) {
	file := benchPeople(b)
	b.ReportAllocs()
	for b.Loop() {
		b.StopTimer()
		st, j := benchStore(b)
		b.StartTimer()
		takeIn(b, st, j, file)
		b.StopTimer()
		if err := st.Close(); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/benchRows, "ns/row")
}

// BenchmarkPlan reads, checks, plans and seals the file, and writes nothing: what intake
// costs beside the store, in CPU time of all goroutines and of the garbage collector.
func BenchmarkPlan(b *testing.B) {
	file := benchPeople(b)
	st, j := benchStore(b)
	defer st.Close()
	box, err := seal.NewBox(seal.NewKey(), []byte("bench"))
	if err != nil {
		b.Fatal(err)
	}
	cpu := func() int64 {
		var u syscall.Rusage
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
			b.Fatal(err)
		}
		return u.Utime.Nano() + u.Stime.Nano()
	}
	var sealed []byte
	b.ReportAllocs()
	before := cpu()
	for b.Loop() {
		r, err := intake.Open(file, nil, intake.Options{})
		if err != nil {
			b.Fatal(err)
		}
		rows, plan := readAhead(b.Context(), r), newPlanner(st, j.Lanes, &Input{})
		row, rej, err := rows.next()
		for ; rej == nil && err == nil; row, rej, err = rows.next() {
			n, _, _ := plan.subject(row)
			if row.Line%4000 == 0 { // as many as share a transaction
				sealed = make([]byte, 0, len(sealed))
			}
			sealed = box.Seal(slices.Grow(sealed, len(n.Plain)+seal.Overhead), n.Plain, seal.Place{Table: "subjects", Row: int64(row.Line)})
		}
		if rows.stop(); rej != nil || !errors.Is(err, io.EOF) {
			b.Fatal(rej, err)
		}
		r.Close()
	}
	b.ReportMetric(float64(cpu()-before)/float64(b.N)/benchRows, "cpu-ns/row")
}

// BenchmarkReport writes the report of a store with nothing done.
func BenchmarkReport(b *testing.B) {
	st, j := benchStore(b)
	defer st.Close()
	takeIn(b, st, j, benchPeople(b))
	b.ReportAllocs()
	for b.Loop() {
		r := Reporter{Store: st, Now: time.Now}
		if err := r.CSV(b.Context(), io.Discard); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/(3*benchRows), "ns/row")
}
