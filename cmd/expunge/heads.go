package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"expunge/batch"
	"expunge/batch/config"
	"expunge/store"
	"expunge/store/ledger"
)

// publishEvery is how often a run publishes the head of its log while it goes on.
const publishEvery = 10 * time.Minute

func publisher(cfg *config.Config, st *store.Store) *batch.Publisher {
	p := &batch.Publisher{Store: st, HeadFile: cfg.Log.HeadFile}
	if cfg.Report != "-" {
		p.Beside = cfg.Report + batch.HeadEnd
	}
	return p
}

// publish ends a command that has written: the head of the log goes where others can get at it.
// That it cannot is told, and undoes nothing.
func (a *app) publish(ctx context.Context, cfg *config.Config, st *store.Store) error {
	if _, err := publisher(cfg, st).Publish(context.WithoutCancel(ctx)); err != nil {
		return a.unpublished(err)
	}
	return nil
}

// unpublished tells why a head was not published; it is an error where the store is at fault.
func (a *app) unpublished(err error) error {
	var lost *store.LostError
	if errors.As(err, &lost) || errors.Is(err, batch.ErrHeads) {
		_, hint := classify(err)
		a.note(slog.LevelWarn, hint, "the head of the log was not published: %v", err)
		return nil
	}
	return err
}

// goOnPublishing publishes heads every now and then until what it returns is called.
func (a *app) goOnPublishing(ctx context.Context, p *batch.Publisher, log *slog.Logger) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		t := time.NewTicker(publishEvery)
		defer t.Stop()
		for {
			select {
			case <-t.C:
				if _, err := p.Publish(ctx); err != nil && ctx.Err() == nil {
					log.Warn("the head of the log was not published", "error", err.Error())
				}
			case <-ctx.Done():
				return
			}
		}
	}()
	return func() {
		cancel()
		<-done
	}
}

// outsideTimeout is how long whoever vouches for a head may take to answer.
const outsideTimeout = 15 * time.Second

// outside is who vouches for heads, or nil where nobody does.
func outside(cfg *config.Config, st *store.Store) (*batch.Outside, error) {
	if cfg.Log.Timestamp == "" && len(cfg.Log.Witnesses) == 0 {
		return nil, nil
	}
	o := &batch.Outside{Store: st, Client: &http.Client{Timeout: outsideTimeout}, Timestamp: cfg.Log.Timestamp, Now: time.Now}
	for _, text := range cfg.Log.Witnesses {
		vkey, place, _ := strings.Cut(text, " ")
		w, err := ledger.NewWitness(vkey)
		if err != nil {
			return nil, usage(err, "see log.witnesses in "+cfg.Path)
		}
		o.Witnesses = append(o.Witnesses, batch.WitnessAt{Witness: w, URL: strings.TrimSpace(place)})
	}
	return o, nil
}

// tellHead shows the newest head, which whoever keeps the output keeps too, and has others vouch for
// it first.
func (a *app) tellHead(ctx context.Context, cfg *config.Config, st *store.Store, p *batch.Publisher) error {
	ctx = context.WithoutCancel(ctx)
	h, err := p.Publish(ctx)
	if err != nil {
		return a.unpublished(err)
	}
	o, err := outside(cfg, st)
	if err != nil {
		return err
	}
	if h != nil && o != nil {
		with, problems, err := o.Vouch(ctx, h)
		if err != nil {
			return err
		}
		for _, problem := range problems {
			a.note(slog.LevelWarn, "the next run asks again", "nobody vouches for the head of the log: %v", problem)
		}
		if !bytes.Equal(with.Note, h.Note) { // with signatures of witnesses
			if h, err = p.Publish(ctx); err != nil {
				return a.unpublished(err)
			}
		}
	}
	if h != nil {
		a.note(slog.LevelInfo, "", "log %s at %d: %s", h.Origin, h.Size, h.Root)
	}
	return nil
}

// lostHint is the hint where a store is not the one that was published.
const lostHint = "is another store the right one? If this one is to go on: `expunge log restart --reason TEXT`. Nothing is sent until then"

func headsHint(cfg string) string {
	return fmt.Sprintf("mend the place, or name another with log.head_file in %s", cfg)
}
