package main

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"expunge/vendors/sim"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestUsage: mistakes on the command line end with 2 before anything listens. Above all,
// the simulator never listens where others could reach it.
func TestUsage(t *testing.T) {
	bad := filepath.Join(t.TempDir(), "people.json")
	if err := os.WriteFile(bad, []byte(`{"nobody":1}`), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{
		{"--listen", "0.0.0.0:0"}, {"--listen", ":8080"}, {"--listen", "example.com:80"}, {"--listen", "127.0.0.1"},
		{"--fault", "voyado:nonsense"}, {"--cg-no-match", "maybe"}, {"--day", "0s"}, {"--generate", "-1"},
		{"--archive-days", "0"}, {"--token-ttl", "0s"}, {"--cg-error-status", "7"}, {"--no-such-flag"},
		{"--seed-file", bad}, {"--seed-file", bad + ".none"}, {"nonsense"},
		{"subjects", "--received-at", "soon"}, {"subjects", "--generate", "-1"},
		{"audit"}, {"audit", "--url", "https://example.com", "--subjects", "a", "--report", "b"},
		{"audit", "--url", "http://127.0.0.1:1", "--subjects", "a", "--report", "b", "--config-vendors", "x"},
	} {
		var out, errs bytes.Buffer
		if code := run(t.Context(), args, &out, &errs); code != exitUsage || out.Len() > 0 || !strings.HasPrefix(errs.String(), "vendorsim: ") {
			t.Errorf("%v: exit %d, stdout %q, stderr %q", args, code, out.String(), errs.String())
		}
	}
}

// TestServe: the address is there when the simulator answers, an audit of what happened
// tells right from wrong by its exit code, and the end of ctx (SIGTERM) is a clean exit.
func TestServe(t *testing.T) {
	dir := t.TempDir()
	addr, input, report := filepath.Join(dir, "addr"), filepath.Join(dir, "in.csv"), filepath.Join(dir, "report.csv")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan int, 1)
	var out, errs bytes.Buffer
	go func() { done <- run(ctx, []string{"serve", "--generate", "3", "--addr-file", addr}, &out, &errs) }()
	url := await(t, addr, done)

	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Get(url + "/_sim/healthz")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusNoContent {
		t.Errorf("healthz: %s", resp.Status)
	}

	var subjects bytes.Buffer
	if code := run(ctx, []string{"subjects", "--generate", "1", "--received-at", "2026-03-31"}, &subjects, &errs); code != exitOK {
		t.Fatalf("subjects: %d %s", code, errs.String())
	}
	if !strings.Contains(subjects.String(), "2026-03-31T00:00:00Z") {
		t.Errorf("subjects:\n%s", subjects.String())
	}
	audit := func(rows string) (int, string) {
		t.Helper()
		for path, text := range map[string]string{input: subjects.String(), report: "batch,line,subject_id,vendor,state\n" + rows} {
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		var out bytes.Buffer
		code := run(ctx, []string{"audit", "--url", url, "--subjects", input, "--report", report, "--json"}, &out, &errs)
		return code, out.String()
	}
	if code, text := audit("1,2,REQ-0000000,voyado,skipped\n"); code != exitOK || !strings.Contains(text, `"disagreements": []`) {
		t.Errorf("nothing wrong: exit %d\n%s", code, text)
	}
	if code, text := audit(""); code != exitInternal || !strings.Contains(text, "not in the report") {
		t.Errorf("a subject is missing: exit %d\n%s", code, text)
	}

	cancel()
	if code := <-done; code != exitOK || strings.TrimSpace(out.String()) != url {
		t.Errorf("exit %d, stdout %q, stderr %q", code, out.String(), errs.String())
	}
}

// TestControlAndDecline: the flags plant a control record and another account, and the admin
// declines what is named.
func TestControlAndDecline(t *testing.T) {
	addr := filepath.Join(t.TempDir(), "addr")
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan int, 1)
	defer func() { cancel(); <-done }()
	var out, errs bytes.Buffer
	go func() {
		done <- run(ctx, []string{"serve", "--generate", "1", "--control", "--other", "3", "--addr-file", addr}, &out, &errs)
	}()
	base := await(t, addr, done)
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Get(base + "/_sim/records")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var held sim.Remaining
	if err := json.NewDecoder(resp.Body).Decode(&held); err != nil {
		t.Fatal(err)
	}
	for _, account := range []string{"customergauge", "other"} {
		records := held.CustomerGauge[account]
		if n := len(records); n < 2 || !records[n-1].Control || records[n-1].Email != sim.ControlEmail {
			t.Errorf("%s: %+v", account, records)
		}
	}
	for range 2 {
		resp, err := client.Post(base+"/acqueon/lcm", "application/json", strings.NewReader(`{"channel":"LCM","topic":"WebService",`+
			`"subtopic":"CreatePseudonymizationRequest","message":{"CustomerName":"","PhoneNumber":"1","OtherPhoneNumber":"","EmailID":"",`+
			`"OtherEmailID":"","AgentComments":"","AccountNumber":"1|1","callid":"","AgentID":"","RequestType":"Pseudonymization","IsPseudonymize":true}}`))
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
	}
	var csv bytes.Buffer
	if code := run(ctx, []string{"complete", "--url", base, "--decline", "10090"}, &csv, &errs); code != exitOK ||
		!strings.Contains(csv.String(), "10089,") || !strings.Contains(csv.String(), ",declined\n") || strings.Count(csv.String(), ",done\n") != 1 {
		t.Errorf("exit %d %s\n%s", code, errs.String(), csv.String())
	}
}

// TestServeFor: a simulator that nobody ends does so itself.
func TestServeFor(t *testing.T) {
	var out, errs bytes.Buffer
	if code := run(t.Context(), []string{"--for", "1ms"}, &out, &errs); code != exitOK {
		t.Errorf("exit %d: %s", code, errs.String())
	}
}

// await returns the URL once the address file is there.
func await(t *testing.T, path string, done <-chan int) string {
	t.Helper()
	limit := time.After(30 * time.Second)
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case code := <-done:
			t.Fatalf("ended with %d", code)
		case <-limit:
			t.Fatal("no address file")
		case <-tick.C:
			if text, err := os.ReadFile(path); err == nil {
				return strings.TrimSpace(string(text))
			}
		}
	}
}
