package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
	"golang.org/x/term"

	"expunge/batch"
	"expunge/vendors/transport"
)

const (
	observeEvery = time.Second
	lineEvery    = 30 * time.Second
	drawEvery    = 200 * time.Millisecond
)

// logWriter is where logs go: standard error, or above the bars while there are some.
// A record is one Write. With --quiet they are held back until it is known how the run ends.
type logWriter struct {
	stderr io.Writer
	bars   atomic.Pointer[mpb.Progress]

	mu      sync.Mutex
	holding bool
	held    []byte
	lost    int // records that were given up for lack of room, from the oldest on
}

// heldMost is how much is held back, in bytes: a mail that says more is not read.
const heldMost = 64 << 10

func (w *logWriter) Write(b []byte) (int, error) {
	if w.hold(b) {
		return len(b), nil
	}
	if p := w.bars.Load(); p != nil {
		var done mpb.ErrDone[*mpb.Progress]
		if n, err := p.Write(b); !errors.As(err, &done) {
			return n, err
		}
	}
	return w.stderr.Write(b)
}

func (w *logWriter) holdBack() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.holding = true
}

func (w *logWriter) hold(b []byte) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.holding {
		return false
	}
	w.held = append(w.held, b...)
	for len(w.held) > heldMost {
		end := bytes.IndexByte(w.held, '\n') + 1
		if end == 0 {
			end = len(w.held)
		}
		w.held, w.lost = w.held[end:], w.lost+1
	}
	return true
}

// release prints what was held back, or forgets it.
func (w *logWriter) release(print bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.holding && print {
		if w.lost > 0 {
			fmt.Fprintf(w.stderr, "(%d earlier lines are left out: `expunge status` has the whole)\n", w.lost)
		}
		w.stderr.Write(w.held)
	}
	w.holding, w.held, w.lost = false, nil, 0
}

// bars reports whether progress can be shown as bars: standard error must be a terminal on
// which the cursor can be moved.
func (a *app) bars() bool {
	f, ok := a.stderr.(*os.File)
	if kind, set := a.getenv("TERM"); !set || kind == "dumb" || kind == "" {
		return false
	}
	return ok && !a.noProgress && term.IsTerminal(int(f.Fd()))
}

// answer lets SIGUSR1 ask for a line of progress until the returned function is called.
func (a *app) answer() (stop func()) {
	return listen(func() {
		if line := a.asked.Load(); line != nil {
			(*line)()
			return
		}
		a.note(slog.LevelInfo, "", "the run is taking in its file, or writing its report")
	})
}

// follow shows the run's progress until stop is called: bars on a terminal, else a line
// every half a minute, and a line whenever SIGUSR1 asks for one.
func (a *app) follow(ctx context.Context, s *session, only []string) (stop func(), err error) {
	requests := map[string]func() transport.Stats{}
	for name, l := range s.limiters {
		requests[name] = l.Stats
	}
	p, err := batch.NewProgress(ctx, s.run, only, requests)
	if err != nil {
		return nil, err
	}
	line := func() { s.log.LogAttrs(ctx, slog.LevelInfo, "progress", a.attrs(p.Snapshots())...) }
	a.asked.Store(&line)
	finish := func() {}
	var lines <-chan time.Time
	switch {
	case a.bars():
		finish = a.draw(p)
	case !a.noProgress:
		t := time.NewTicker(lineEvery)
		lines, finish = t.C, t.Stop
	}
	quit := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		t := time.NewTicker(observeEvery)
		defer t.Stop()
		for {
			select {
			case <-t.C:
				p.Observe()
			case <-lines:
				line()
			case <-quit:
				return
			}
		}
	})
	return func() {
		a.asked.Store(nil)
		close(quit)
		wg.Wait()
		finish()
	}, nil
}

// attrs are a progress line's: words per vendor, or in JSON a group of stable keys.
func (a *app) attrs(all []batch.Snapshot) []slog.Attr {
	var out []slog.Attr
	for _, s := range all {
		if a.logFormat != "json" {
			out = append(out, slog.String(s.Vendor, s.String()))
			continue
		}
		group := []any{
			slog.Int64("worked", s.Worked), slog.Int64("total", s.Total), slog.Int64("waiting", s.Waiting), slog.Int64("held", s.Held), slog.Int64("failed", s.Failed),
			slog.Float64("rate", float64(int(s.Rate*10))/10), slog.Float64("limit", s.Limit), slog.Int64("eta_seconds", int64(s.ETA.Seconds())),
		}
		if !s.Paused.IsZero() {
			group = append(group, slog.Time("paused_until", s.Paused.UTC()))
		}
		out = append(out, slog.Group(s.Vendor, group...))
	}
	return out
}

// draw shows a bar per vendor until the returned function is called. The bars use no
// colour; each is one line, whatever the terminal's width.
func (a *app) draw(p *batch.Progress) (finish func()) {
	m := mpb.New(mpb.WithOutput(a.stderr), mpb.WithRefreshRate(drawEvery))
	var all []*mpb.Bar
	for i := range p.Snapshots() {
		filler := mpb.BarFillerFunc(func(w io.Writer, st decor.Statistics) error {
			_, err := io.WriteString(w, batch.Lines(p.Snapshots(), st.AvailableWidth-1)[i])
			return err
		})
		bar, err := m.Add(0, filler, mpb.BarFillerTrim())
		must(err) // only after Wait
		all = append(all, bar)
	}
	a.logs.bars.Store(m)
	return func() {
		for _, b := range all {
			b.SetTotal(-1, true)
		}
		m.Wait()
		a.logs.bars.Store(nil)
	}
}
