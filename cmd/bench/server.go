package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// The vendors' side: answers in the shape of the three vendors' and knows only what it
// must to be believed. A person's address holds a number; every fourth is unknown to
// CustomerGauge, the others have one record until they are anonymized.

type server struct {
	gone        []atomic.Uint64 // one bit per person
	calls       atomic.Int64
	first, last atomic.Int64 // when, in ns since 1970
	ids         atomic.Int64
}

// counts is what the server saw since the last reset.
type counts struct {
	Calls       int64
	First, Last int64 // ns since 1970; 0: none
}

func (c counts) perSecond() float64 {
	return float64(c.Calls-1) / time.Duration(c.Last-c.First).Seconds()
}

const maxPeople = 10_000_000

// serve is the child: it prints its address and ends with its standard input.
func serve(ctx context.Context, _ []string, stdin io.Reader, stdout io.Writer) error {
	s := &server{gone: make([]atomic.Uint64, maxPeople/64+1)}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v4.1/anonymize.json", s.count(s.preview))
	mux.HandleFunc("POST /v4.1/anonymize.json", s.count(s.anonymize))
	mux.HandleFunc("POST /api/v2/event-data/create-remove-customer-job", s.count(s.createJob))
	mux.HandleFunc("GET /api/v2/event-data/job-status", s.count(s.jobStatus))
	mux.HandleFunc("POST /bus", s.count(s.bus))
	mux.HandleFunc("POST /reset", s.reset)
	mux.HandleFunc("GET /counts", func(w http.ResponseWriter, _ *http.Request) {
		json.NewEncoder(w).Encode(counts{s.calls.Load(), s.first.Load(), s.last.Load()})
	})
	hs := &http.Server{Handler: mux}
	fmt.Fprintln(stdout, "http://"+l.Addr().String())
	go func() {
		io.Copy(io.Discard, stdin)
		hs.Close()
	}()
	defer context.AfterFunc(ctx, func() { hs.Close() })()
	if err := hs.Serve(l); err != http.ErrServerClosed {
		return err
	}
	return nil
}

func (s *server) reset(http.ResponseWriter, *http.Request) {
	for i := range s.gone {
		s.gone[i].Store(0)
	}
	s.calls.Store(0)
	s.first.Store(0)
	s.last.Store(0)
}

func (s *server) count(h http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		now := time.Now().UnixNano()
		if s.calls.Add(1) == 1 {
			s.first.Store(now)
		}
		s.last.Store(now)
		h(w, r)
	}
}

// person reads the number out of an address.
func person(email string) (n int, ok bool) {
	text, ok := strings.CutPrefix(email, "person-")
	if !ok {
		return 0, false
	}
	text, _, _ = strings.Cut(text, "@")
	n, err := strconv.Atoi(text)
	return n, err == nil && n >= 0 && n < maxPeople
}

// unknown reports whether CustomerGauge never heard of a person.
func unknown(n int) bool { return n%4 == 3 }

func (s *server) preview(w http.ResponseWriter, r *http.Request) {
	email := r.URL.Query().Get("email")
	n, ok := person(email)
	if !ok || unknown(n) || s.gone[n/64].Load()&(1<<(n%64)) != 0 {
		answer(w, `{"Data":[],"total":0}`)
		return
	}
	answer(w, `{"Data":[{"email":"`+email+`","sms_telephone":"","number_customergauge":"`+strconv.Itoa(100000+n)+`"}],"total":1}`)
}

func (s *server) anonymize(w http.ResponseWriter, r *http.Request) {
	n, ok := person(r.FormValue("email"))
	if !ok {
		http.Error(w, `{"Error":{"Message":"whom?"}}`, http.StatusBadRequest)
		return
	}
	s.gone[n/64].Or(1 << (n % 64))
	answer(w, `{"Status":"ok"}`)
}

func (s *server) createJob(w http.ResponseWriter, r *http.Request) {
	answer(w, fmt.Sprintf(`{"jid":"5f0c1c9e-1b7a-4f43-9f0e-%012x","status":"created"}`, s.ids.Add(1)))
}

func (s *server) jobStatus(w http.ResponseWriter, r *http.Request) {
	answer(w, `{"jid":"`+r.URL.Query().Get("jid")+`","status":"done"}`)
}

func (s *server) bus(w http.ResponseWriter, r *http.Request) {
	answer(w, fmt.Sprintf(`{"channel":"LCM","topic":"WebService","subtopic":"SetPseudonymizationResponse","message":{"response":"%d"}}`, 1_000_000+s.ids.Add(1)))
}

func answer(w http.ResponseWriter, body string) {
	w.Header().Set("Content-Type", "application/json")
	io.WriteString(w, body)
}
