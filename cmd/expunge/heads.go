package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"expunge/batch"
	"expunge/batch/config"
	"expunge/store"
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

// tellHead shows the newest head, which whoever keeps the output keeps too.
func (a *app) tellHead(ctx context.Context, p *batch.Publisher) error {
	h, err := p.Publish(context.WithoutCancel(ctx))
	if err != nil {
		return a.unpublished(err)
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
