package auth

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"expunge/vendors"
)

// TestTokenLeaderStopped: the call that fetches the token for all may be stopped; the
// others must not be stopped with it.
func TestTokenLeaderStopped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		fetches := 0
		s := stubTokens(func(ctx context.Context) (string, error) {
			fetches++
			if fetches == 1 {
				<-release
				return "", &vendors.Error{Vendor: "acme", Op: "token", Kind: vendors.ErrNotSent, Err: vendors.ErrStopped}
			}
			return "Bearer fresh", nil
		})
		type result struct {
			value string
			err   error
		}
		led, followed := make(chan result, 1), make(chan result, 1)
		go func() { v, err := s.Value(t.Context()); led <- result{v, err} }()
		synctest.Wait() // it fetches
		go func() { v, err := s.Value(t.Context()); followed <- result{v, err} }()
		stopped, stop := context.WithCancel(t.Context())
		alone := make(chan result, 1)
		go func() { v, err := s.Value(stopped); alone <- result{v, err} }()
		synctest.Wait() // they wait for it
		stop()
		if r := <-alone; !errors.Is(r.err, vendors.ErrStopped) || !errors.Is(r.err, vendors.ErrNotSent) {
			t.Errorf("one that is stopped while it waits: %q, %v", r.value, r.err)
		}
		close(release)
		if r := <-led; !errors.Is(r.err, vendors.ErrStopped) || !errors.Is(r.err, vendors.ErrNotSent) {
			t.Errorf("the stopped one: %q, %v", r.value, r.err)
		}
		if r := <-followed; r.err != nil || r.value != "Bearer fresh" {
			t.Errorf("the other one: %q, %v", r.value, r.err)
		}
	})
}

// TestTokenLateRefusal: a 401 to an old token may arrive after another call has renewed it.
// It must not throw the new one away, or many calls would fetch in turn.
func TestTokenLateRefusal(t *testing.T) {
	fetches := 0
	s := stubTokens(func(context.Context) (string, error) { fetches++; return fmt.Sprint("Bearer t", fetches), nil })
	header := func(want string) {
		t.Helper()
		if got, err := s.Value(t.Context()); err != nil || got != want {
			t.Errorf("%q, %v: want %q", got, err, want)
		}
	}
	header("Bearer t1")
	s.Refused("Bearer t1")
	header("Bearer t2")
	s.Refused("Bearer t1")
	header("Bearer t2")
}

// stubTokens is a source whose tokens last an hour.
func stubTokens(fetch func(context.Context) (string, error)) *Source {
	return NewSource("acme", time.Now, func(ctx context.Context) (string, time.Duration, error) {
		value, err := fetch(ctx)
		return value, 0, err
	})
}
