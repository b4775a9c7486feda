package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
)

// bare is the child that a durable run is compared with: a loop in Go that makes the same
// calls, reads the same answers, and keeps nothing. Arguments: the server, how many
// persons, how many at a time.
func bare(ctx context.Context, args []string, _ io.Reader, _ io.Writer) error {
	if len(args) != 3 {
		return fmt.Errorf("wants a server, a number of persons and one of workers")
	}
	people, err1 := strconv.Atoi(args[1])
	workers, err2 := strconv.Atoi(args[2])
	if err1 != nil || err2 != nil {
		return fmt.Errorf("not a number")
	}
	place := args[0] + "/v4.1/anonymize.json"
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: workers}}
	next := make(chan int)
	errs := make(chan error, workers)
	var group sync.WaitGroup
	for range workers {
		group.Go(func() {
			for n := range next {
				if err := forget(ctx, client, place, address(n)); err != nil {
					errs <- err
					return
				}
			}
		})
	}
	var err error
send:
	for n := range people {
		select {
		case next <- n:
		case err = <-errs:
			break send
		}
	}
	close(next)
	group.Wait()
	return err
}

// forget makes the calls that expunge makes about one person.
func forget(ctx context.Context, client *http.Client, place, email string) error {
	values := url.Values{"email": {email}}.Encode()
	total, err := exchange(ctx, client, http.MethodGet, place+"?"+values, "")
	if err != nil || total == 0 {
		return err
	}
	if _, err := exchange(ctx, client, http.MethodPost, place, values); err != nil {
		return err
	}
	if total, err = exchange(ctx, client, http.MethodGet, place+"?"+values, ""); err == nil && total != 0 {
		err = fmt.Errorf("%d records are still there", total)
	}
	return err
}

func exchange(ctx context.Context, client *http.Client, method, place, body string) (total int, err error) {
	var r io.Reader
	if body != "" {
		r = strings.NewReader(body)
	}
	req, err := http.NewRequestWithContext(ctx, method, place, r)
	if err != nil {
		return 0, err
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	req.Header.Set("Authorization", "api_key bench")
	resp, err := client.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, err
	}
	if resp.StatusCode != http.StatusOK {
		return 0, fmt.Errorf("status %d", resp.StatusCode)
	}
	var a struct {
		Data []struct {
			Email  string `json:"email"`
			Number string `json:"number_customergauge"`
		}
		Total int `json:"total"`
	}
	err = json.Unmarshal(text, &a)
	return a.Total, err
}

// spin is the child that keeps a processor busy.
func spin(ctx context.Context, _ []string, stdin io.Reader, _ io.Writer) error {
	done := make(chan struct{})
	go func() {
		io.Copy(io.Discard, stdin)
		close(done)
	}()
	for {
		for range 1_000_000 {
		}
		select {
		case <-done:
			return nil
		case <-ctx.Done():
			return nil
		default:
		}
	}
}
