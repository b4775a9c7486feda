package acqueon

import (
	"context"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"
)

// TestQuiet: the next request leaves when no response has come for quietTime, however many
// come meanwhile.
func TestQuiet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMailbox(slog.New(slog.DiscardHandler), 30*time.Second, time.Now)
		began := time.Now()
		wait := func(want time.Duration) {
			t.Helper()
			if err := m.wait(t.Context(), nil); err != nil || time.Since(began) != want {
				t.Errorf("waited until %v (%v), want %v", time.Since(began), err, want)
			}
		}
		wait(0) // nothing has been heard yet
		answers := m.expect()
		time.Sleep(time.Second)
		m.deliver([]byte(answerWith("1")))
		if d := <-answers; string(d.response) != answerWith("1") {
			t.Errorf("%q", d.response)
		}
		for i := range 3 { // each begins the quiet time anew
			time.AfterFunc(time.Duration(i+1)*150*time.Millisecond, func() { m.deliver([]byte(answerWith("7"))) })
		}
		time.AfterFunc(600*time.Millisecond, func() { m.deliver([]byte(`{"channel":"LCM"}`)) }) // of others: no response
		wait(time.Second + 450*time.Millisecond + 200*time.Millisecond)
		wait(time.Second + 650*time.Millisecond)

		m.expect()
		m.deliver([]byte(answerWith("2")))
		ctx, stop := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer stop()
		if m.wait(ctx, nil) == nil || time.Since(began) != 1700*time.Millisecond {
			t.Errorf("stopped at %v", time.Since(began))
		}
		gone := make(chan struct{})
		close(gone)
		if err := m.wait(t.Context(), gone); err != nil || time.Since(began) != 1700*time.Millisecond {
			t.Errorf("a connection that is gone has no quiet time: %v, %v", err, time.Since(began))
		}
	})
}

// TestDoubtSince: a response that nobody waited for puts in doubt what was answered since the
// bus was last silent for as long as a response may take, and nothing before that.
func TestDoubtSince(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const settle = 30 * time.Second
		m := newMailbox(slog.New(slog.DiscardHandler), settle, time.Now)
		began := time.Now()
		exchange := func(id string) {
			t.Helper()
			answers := m.expect()
			time.Sleep(time.Second)
			m.deliver([]byte(answerWith(id)))
			<-answers
		}
		want := func(strays uint64, since time.Duration) {
			t.Helper()
			n, at := m.unsolicited(t.Context())
			if n != strays || at.Sub(began) != since {
				t.Errorf("%d strays, in doubt since %v; want %d and %v", n, at.Sub(began), strays, since)
			}
		}
		if n, since := m.unsolicited(t.Context()); n != 0 || !since.IsZero() {
			t.Errorf("nothing was sent: %d, %v", n, since)
		}
		exchange("1")
		exchange("2")
		m.deliver([]byte(answerWith("3"))) // at 2 s
		want(1, 0)
		time.Sleep(settle - time.Second)
		exchange("4")
		want(1, 0) // the bus was not silent for long enough
		time.Sleep(settle)
		second := time.Since(began)
		exchange("5")
		want(1, second)
		m.deliver([]byte(answerWith("6")))
		want(2, second)
		time.Sleep(2 * settle)
		third := time.Since(began)
		m.deliver([]byte(answerWith("7"))) // all that was asked is long answered
		want(3, third)

		// A request without an answer is heard of too: its response may come for as long again.
		m.expect()
		fourth := time.Since(began)
		time.Sleep(settle)
		m.leave()
		time.Sleep(settle - time.Second)
		m.deliver([]byte(answerWith("8"))) // late, and awaited
		exchange("9")
		n, at := m.unsolicited(t.Context())
		if n != 3 || at.Sub(began) < third || at.Sub(began) > fourth+settle {
			t.Errorf("%d strays, in doubt since %v", n, at.Sub(began))
		}
	})
}
