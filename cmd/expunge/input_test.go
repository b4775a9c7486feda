package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestSilentInput: a run whose standard input says nothing more, as a terminal does at
// which nobody types, ends at the first signal, and nothing of the input counts.
func TestSilentInput(t *testing.T) {
	for _, tt := range []struct {
		name, text string
		args       []string
	}{
		{"run, nothing yet", "", []string{"run", "-"}},
		{"run, in the header", "subject_id,em", []string{"run", "-"}},
		{"run, in the rows", "subject_id,email\nR-1,one@example.com\nR-2,two@exa", []string{"run", "-"}},
		{"confirm", "vendor,reference,completed_at\n", []string{"confirm", "-"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := newPrivateSite(t, 1)
			t.Chdir(p.dir)
			p.takeIn("subjects.csv")
			stands := func() string { // but for the runs that there were
				text, _, _ := strings.Cut(p.must("status"), "last run:")
				return text
			}
			before := stands()
			r, w := io.Pipe()
			defer w.Close()
			go func() {
				// A pipe's write returns when all of it was read: the program is at it then.
				if _, err := w.Write([]byte(tt.text)); err == nil {
					syscall.Kill(os.Getpid(), syscall.SIGTERM)
				}
			}()
			code := make(chan string, 1)
			go func() {
				n, out := p.runIn(r, tt.args...)
				code <- fmt.Sprint(n, " ", out)
			}()
			select {
			case got := <-code:
				var n int
				fmt.Sscan(got, &n)
				if n != exitTerminated {
					t.Errorf("exit %s", got)
				}
			case <-time.After(time.Minute):
				t.Fatal("it still waits for its input")
			}
			if after := stands(); after != before {
				t.Errorf("before: %s\nafter: %s", before, after)
			}
		})
	}
}
