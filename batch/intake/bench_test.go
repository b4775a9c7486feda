package intake

import (
	"encoding/csv"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/gocarina/gocsv"
)

// BenchmarkRead reads rows of ten columns, and gocsv and encoding/csv alone beside it: what
// the checks and copies cost is the ratio.
func BenchmarkRead(b *testing.B) {
	const rows = 20000
	var text strings.Builder
	text.WriteString("subject_id,email,other_email,telephone,customer_key,account_number,call_id,agent_id,customer_name,received_at\n")
	for i := range rows {
		fmt.Fprintf(&text, "DSR-%07d,person-%d@example.com,,+1202555%04d,3f0c1c9e-1b7a-4f43-9f0e-%012d,934|1|%d|0|0|44|59,77,agent7,Person Number %d,2026-11-01T10:00:00Z\n",
			i, i, i%10000, i, i, i)
	}
	plain := func() error {
		cr := csv.NewReader(strings.NewReader(text.String()))
		cr.ReuseRecord = true
		var err error
		for err == nil {
			_, err = cr.Read()
		}
		return err
	}
	alone := func() error {
		cr := csv.NewReader(strings.NewReader(text.String()))
		cr.ReuseRecord = true
		u, err := gocsv.NewUnmarshaller(cr, &record{})
		for err == nil {
			_, err = u.Read()
		}
		return err
	}
	ours := func() error {
		r, err := New(strings.NewReader(text.String()), "people.csv", testOptions())
		for err == nil {
			var reject *Reject
			if _, reject, err = r.Next(); reject != nil {
				return fmt.Errorf("rejected: %s", reject.Message)
			}
		}
		return err
	}
	var took [3]time.Duration
	for b.Loop() {
		for i, read := range []func() error{plain, alone, ours} {
			start := time.Now()
			if err := read(); err != io.EOF {
				b.Fatal(err)
			}
			took[i] += time.Since(start)
		}
	}
	b.ReportMetric(float64(took[2].Nanoseconds())/float64(b.N)/rows, "ns/row")
	b.ReportMetric(float64(took[2])/float64(took[1]), "x-gocsv")
	b.ReportMetric(float64(took[2])/float64(took[0]), "x-encoding/csv")
}
