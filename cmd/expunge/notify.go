package main

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"time"

	"expunge/batch/config"
)

// pingTimeout bounds a call to a dead man's switch: a slow one must not hold the work up.
const pingTimeout = 5 * time.Second

var (
	errPingStatus = errors.New("the answer is not 2xx")
	errPing       = errors.New("no answer")
)

// pinger calls the notify URLs of the config.
type pinger struct {
	urls config.Notify
	log  *slog.Logger
}

// ping calls one of the URLs. Nothing but the call itself tells anything: there is
// no body, and the URL is the configured one. A failure is a warning.
func (p pinger) ping(ctx context.Context, what, place string) {
	if place == "" {
		return
	}
	if err := get(context.WithoutCancel(ctx), place); err != nil {
		// The URL is not shown: whoever knows it can call it.
		p.log.Warn("the notify URL could not be called", "notify", what, "error", err.Error())
	}
}

func get(ctx context.Context, place string) error {
	ctx, cancel := context.WithTimeout(ctx, pingTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, place, nil)
	if err != nil {
		return errPing
	}
	req.Header.Set("User-Agent", "expunge/"+version)
	t := &http.Transport{Proxy: http.ProxyFromEnvironment, DisableKeepAlives: true}
	defer t.CloseIdleConnections()
	c := &http.Client{Transport: t, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := c.Do(req)
	if err != nil {
		var u *url.Error
		if errors.As(err, &u) && u.Timeout() {
			return context.DeadlineExceeded
		}
		return errPing
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 64<<10)) // what it says is of no interest
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		return errPingStatus
	}
	return nil
}

// began tells that a run has begun.
func (p pinger) began(ctx context.Context) { p.ping(ctx, "start", p.urls.Start) }

// ended tells how a run ended. Held tasks are no failure of the run.
func (p pinger) ended(ctx context.Context, code int) {
	if code == exitOK || code == exitHeld {
		p.ping(ctx, "success", p.urls.Success)
	} else {
		p.ping(ctx, "failure", p.urls.Failure)
	}
}
