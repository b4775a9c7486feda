package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"strings"
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
	notify config.Notify
	log    *slog.Logger
}

// tally is what a run says of its end: counts, and nothing of a person.
type tally struct {
	ExitCode int    `json:"exit_code"`
	Version  string `json:"version"`

	// As `expunge status` has them; none where the store could not be read.
	Run     int64                       `json:"run,omitempty"`
	Open    int64                       `json:"open"`
	Overdue int64                       `json:"overdue"`
	AtRisk  int64                       `json:"at_risk"`
	Needs   int                         `json:"needs"` // how many lines `status` has under "needs a person"
	Vendors map[string]map[string]int64 `json:"vendors,omitempty"`
	LogHead string                      `json:"log_head,omitempty"` // the newest head, where log.ping asks for it
}

// tallyOf counts what the store holds.
func (a *app) tallyOf(ctx context.Context, s *session) (*tally, error) {
	st, err := s.tasks.Status(ctx, s.statusOptions())
	if err != nil {
		return nil, err
	}
	t := &tally{Run: a.runID.Load(), Needs: len(st.Needs), Vendors: map[string]map[string]int64{}}
	for _, v := range st.Vendors {
		t.Open, t.Overdue, t.AtRisk = t.Open+v.Open, t.Overdue+v.Overdue, t.AtRisk+v.AtRisk
		t.Vendors[v.Vendor] = v.States
	}
	if s.cfg.Log.Ping {
		h, err := s.store.Head(ctx)
		if err != nil {
			return nil, err
		}
		if h != nil {
			t.LogHead = string(h.Note)
		}
	}
	return t, nil
}

// began tells that a run has begun.
func (p pinger) began(ctx context.Context) { p.ping(ctx, "start", p.notify.Start, nil) }

// ended tells how a run ended; t may be nil. Held tasks are no failure of the run, but of a
// check that takes the exit code as it is.
func (p pinger) ended(ctx context.Context, code int, t *tally) {
	if t == nil {
		t = &tally{}
	}
	t.ExitCode, t.Version = code, version
	body, err := json.Marshal(t)
	if err != nil {
		p.log.Warn("the counts for the notify URL could not be written", "error", err.Error())
	}
	switch {
	case p.notify.Style == config.NotifyHealthchecks:
		p.ping(ctx, "success", withExitCode(p.notify.Success, code), body)
	case code == exitOK || code == exitHeld:
		p.ping(ctx, "success", p.notify.Success, body)
	default:
		p.ping(ctx, "failure", p.notify.Failure, body)
	}
}

// withExitCode is a check's URL with the exit code behind its path.
func withExitCode(place string, code int) string {
	u, err := url.Parse(place)
	if err != nil || place == "" {
		return place // the config has been checked
	}
	u.Path = strings.TrimSuffix(u.Path, "/") + "/" + strconv.Itoa(code)
	u.RawPath = ""
	return u.String()
}

// ping calls one of the URLs. A failure is a warning.
func (p pinger) ping(ctx context.Context, what, place string, body []byte) {
	if place == "" {
		return
	}
	ctx = context.WithoutCancel(ctx)
	method := http.MethodGet
	if body != nil {
		method = http.MethodPost
	}
	err := call(ctx, method, place, body)
	if errors.Is(err, errPingMethod) { // it takes nothing but the call itself
		err = call(ctx, http.MethodGet, place, nil)
	}
	if err != nil {
		// The URL is not shown: whoever knows it can call it.
		p.log.Warn("the notify URL could not be called", "notify", what, "error", err.Error())
	}
}

// errPingMethod says that the URL does not take a body.
var errPingMethod = errors.New("the URL takes no POST")

func call(ctx context.Context, method, place string, body []byte) error {
	ctx, cancel := context.WithTimeout(ctx, pingTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, place, bytes.NewReader(body))
	if err != nil {
		return errPing
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
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
	switch {
	case method == http.MethodPost && (resp.StatusCode == http.StatusMethodNotAllowed || resp.StatusCode == http.StatusNotImplemented):
		return errPingMethod
	case resp.StatusCode < 200 || resp.StatusCode > 299:
		return errPingStatus
	}
	return nil
}
