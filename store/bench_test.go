package store

import (
	"fmt"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"expunge/store/seal"
)

const benchTasks = 20_000

// benchStore makes a store with one vendor and a batch of subjects with one ready task each.
func benchStore(b *testing.B) (s *Store, vendor int64) {
	b.Helper()
	key := seal.NewKey()
	s, err := Open(b.Context(), filepath.Join(b.TempDir(), "expunge.db"), Options{
		Key: func(bool) (seal.Key, error) { return key, nil }, Forget: forgetFields,
	})
	if err != nil {
		b.Fatal(err)
	}
	known, err := s.SyncVendors(b.Context(), []VendorSpec{{Name: "acme", Kind: "acme", Fields: 1 << 1}})
	if err != nil {
		b.Fatal(err)
	}
	vendor = known["acme"].ID
	in, err := s.BeginIntake(b.Context(), "bench.csv", time.Now())
	if err != nil {
		b.Fatal(err)
	}
	for n := range benchTasks {
		due := time.Date(2026, 12, 1, 0, 0, n/1000, 0, time.UTC)
		err := in.Subject(&NewSubject{Line: n + 2, SubjectID: fmt.Sprintf("DSR-%08d", n), Content: int64(n), ReceivedAt: due, DueAt: due,
			Plain: []byte("1=person@example.com\n2=a customer key of some length\n"), Tasks: []NewTask{{Vendor: vendor, Field: 1}}, Same: []int64{0}})
		if err != nil {
			b.Fatal(err)
		}
	}
	if _, _, err := in.Settle(b.Context(), []byte("digest"), rules); err != nil {
		b.Fatal(err)
	}
	return s, vendor
}

// BenchmarkCommit takes tasks from claim to end as a lane does, 64 at a time: the intent
// waited for, two outcomes that ride along, the sealed data reduced at the end.
func BenchmarkCommit(b *testing.B) {
	const workers = 64
	b.ReportAllocs()
	for b.Loop() {
		b.StopTimer()
		s, vendor := benchStore(b)
		var c Cursor
		work, err := s.ClaimReady(b.Context(), vendor, &c, benchTasks)
		if err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
		next := make(chan Work, len(work))
		for _, w := range work {
			next <- w
		}
		close(next)
		later := func(err error) {
			if err != nil {
				b.Error(err)
			}
		}
		var group sync.WaitGroup
		for range workers {
			group.Go(func() {
				for w := range next {
					s.Working(1)
					t := w.Task
					now := time.Now()
					from := t.State
					t.State, t.SubmittedAt, t.PreviewedAt, t.Records, t.RecordRefs = Submitting, now, now, Counted(1), "10438"
					later(s.Apply(Change{From: from, Task: t}))
					t.State = Verifying
					s.ApplyLater(Change{From: Submitting, Task: t}, later)
					t.State, t.Evidence, t.Ready, t.CompletedAt, t.VerifiedAt, t.RecordsAfter = Erased, Verified, false, now, now, Counted(0)
					s.ApplyLater(Change{From: Verifying, Task: t}, later)
					s.Working(-1)
				}
			})
		}
		group.Wait()
		if err := s.Close(); err != nil { // what rode along is part of it
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/(3*benchTasks), "ns/change")
}

// BenchmarkClaim walks all ready tasks of a vendor, a page at a time, and opens them.
func BenchmarkClaim(b *testing.B) {
	s, vendor := benchStore(b)
	defer s.Close()
	b.ReportAllocs()
	for b.Loop() {
		var c Cursor
		for n := 0; ; {
			work, err := s.ClaimReady(b.Context(), vendor, &c, 1000)
			if err != nil {
				b.Fatal(err)
			}
			if n += len(work); len(work) == 0 {
				if n != benchTasks {
					b.Fatalf("%d tasks", n)
				}
				break
			}
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/benchTasks, "ns/task")
}

// BenchmarkSeal seals and opens what a subject has, and digests an identifier.
func BenchmarkSeal(b *testing.B) {
	box, err := seal.NewBox(seal.NewKey(), []byte("store"))
	if err != nil {
		b.Fatal(err)
	}
	plain := make([]byte, 200)
	place := seal.Place{Table: "subjects", Row: 1}
	var sealed, opened []byte
	b.Run("seal", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			sealed = box.Seal(sealed[:0], plain, place)
		}
	})
	b.Run("open", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if opened, err = box.Open(opened[:0], sealed, place); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("digest", func(b *testing.B) {
		b.ReportAllocs()
		d := seal.NewDigester(seal.LookupKey{1})
		for b.Loop() {
			d.Sum64("same", "1", "email", "person@example.com")
		}
	})
}
