package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"expunge/vendors/sim"
)

// privateSite is a folder with a config for a simulator that knows the people of its input.
type privateSite struct {
	*testing.T
	dir string
	env map[string]string
	sim *sim.Sim
}

func newPrivateSite(t *testing.T, people int) *privateSite {
	t.Helper()
	seed := sim.DefaultSeed()
	seed.Generate(people, 1)
	s := sim.New(sim.Options{Seed: seed})
	srv := httptest.NewServer(s)
	t.Cleanup(func() { srv.Close(); s.Close() })
	p := &privateSite{T: t, dir: t.TempDir(), sim: s, env: map[string]string{}}
	p.write("expunge.yaml", fmt.Sprintf(`
vendors:
  customergauge: {kind: customergauge, region: eu, client_id: %s, client_secret: %s, base_url: %[3]s, token_url: %[3]s/oauth2/token, rate: 1000/s}
`, sim.DefaultClientID, sim.DefaultClientSecret, srv.URL))
	var b bytes.Buffer
	if err := sim.WriteSubjects(&b, people, 1, time.Time{}); err != nil {
		t.Fatal(err)
	}
	p.write("subjects.csv", b.String())
	return p
}

// takeIn takes in a file, of which everybody is looked up and nobody submitted.
func (p *privateSite) takeIn(file string) {
	p.Helper()
	p.must("run", "--for", "1ns", file)
	p.must("run", "--dry-run")
}

func (p *privateSite) path(name string) string { return filepath.Join(p.dir, name) }

func (p *privateSite) write(name, text string) {
	p.Helper()
	if err := os.WriteFile(p.path(name), []byte(text), 0o600); err != nil {
		p.Fatal(err)
	}
}

func (p *privateSite) read(name string) string {
	p.Helper()
	b, err := os.ReadFile(p.path(name))
	if err != nil {
		p.Fatal(err)
	}
	return string(b)
}

func (p *privateSite) exists(name string) bool {
	_, err := os.Lstat(p.path(name))
	return err == nil
}

// run runs a command and returns its exit code and everything it printed.
func (p *privateSite) runIn(stdin io.Reader, args ...string) (int, string) {
	p.Helper()
	var out bytes.Buffer
	getenv := func(name string) (string, bool) { v, ok := p.env[name]; return v, ok }
	code := run(context.Background(), append([]string{"-c", p.path("expunge.yaml")}, args...), stdin, &out, &out, getenv)
	return code, out.String()
}

func (p *privateSite) run(args ...string) (int, string) {
	p.Helper()
	return p.runIn(strings.NewReader(""), args...)
}

// must runs a command that has to succeed.
func (p *privateSite) must(args ...string) string {
	p.Helper()
	code, out := p.run(args...)
	if code != 0 {
		p.Fatalf("%v: exit %d\n%s", args, code, out)
	}
	return out
}
