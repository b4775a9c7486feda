package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// world is where one group of figures is measured: a folder and a server.
type world struct {
	options
	ctx    context.Context
	dir    string
	log    io.Writer
	began  time.Time
	server *child
	url    string
}

func (w *world) note(format string, args ...any) {
	fmt.Fprintf(w.log, "%6.1fs  %s\n", time.Since(w.began).Seconds(), fmt.Sprintf(format, args...))
}

func (w *world) path(name string) string { return filepath.Join(w.dir, name) }

func (w *world) startServer() error {
	c, err := w.self("serve")
	if err != nil {
		return err
	}
	w.server = c
	line, err := bufio.NewReader(c.stdout).ReadString('\n')
	if err != nil {
		return fmt.Errorf("the server did not start: %w", err)
	}
	w.url = strings.TrimSpace(line)
	return nil
}

func (w *world) stop() {
	if w.server != nil {
		w.server.end()
	}
}

// counts asks the server what it saw.
func (w *world) counts() (c counts, err error) {
	resp, err := http.Get(w.url + "/counts")
	if err != nil {
		return c, err
	}
	defer resp.Body.Close()
	return c, json.NewDecoder(resp.Body).Decode(&c)
}

// reset lets the server forget everything.
func (w *world) reset() error {
	resp, err := http.Post(w.url+"/reset", "", nil)
	if err != nil {
		return err
	}
	return resp.Body.Close()
}

// child is this program again, in one of its parts. It lives until end.
type child struct {
	cmd    *exec.Cmd
	stdin  io.WriteCloser
	stdout io.Reader
}

func (w *world) self(part string, args ...string) (*child, error) {
	exe, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(w.ctx, exe, append([]string{part}, args...)...)
	cmd.Stderr = w.log
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	return &child{cmd, in, out}, cmd.Start()
}

func (c *child) end() {
	c.stdin.Close()
	c.cmd.Wait()
}

// command runs another program to its end and returns how long it took.
func (w *world) command(stdin io.Reader, stdout io.Writer, name string, args ...string) (time.Duration, error) {
	cmd := exec.CommandContext(w.ctx, name, args...)
	var stderr bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = stdin, stdout, &stderr
	began := time.Now()
	err := cmd.Run()
	if err != nil {
		err = fmt.Errorf("%s: %w: %s", filepath.Base(name), err, tail(stderr.String()))
	}
	return time.Since(began), err
}

func tail(s string) string {
	s = strings.TrimSpace(s)
	if i := strings.LastIndexByte(s, '\n'); i >= 0 {
		s = s[i+1:]
	}
	return s
}

// have says which of the programs is missing, or "".
func have(names ...string) string {
	for _, n := range names {
		if _, err := exec.LookPath(n); err != nil {
			return n + " is not installed"
		}
	}
	return ""
}

// site is one installation of expunge: a folder with a config.
type site struct {
	w   *world
	dir string
}

// vendor is how one vendor stands in the config.
type vendor struct{ name, body string }

func (w *world) customergauge(rate string) vendor {
	return vendor{"customergauge", fmt.Sprintf("{kind: customergauge, region: eu, api_key: bench, base_url: '%s', rate: %s, concurrency: 64, segments_agreed: true}", w.url, rate)}
}

func (w *world) voyado(rate string) vendor {
	return vendor{"voyado", fmt.Sprintf("{kind: voyado, cluster: w0000000, api_key: bench, base_url: '%s', rate: %s, concurrency: 64, archive_after: 1ms}", w.url, rate)}
}

func (w *world) acqueon(rate string) vendor {
	return vendor{"acqueon", fmt.Sprintf("{kind: acqueon, url: '%s/bus', agent_id: bench, rate: %s}", w.url, rate)}
}

func (w *world) all() []vendor {
	return []vendor{w.customergauge("1000000/s"), w.voyado("1000000/s"), w.acqueon("1000000/s")}
}

// newSite makes a folder with a config. name says which, also to itself made again.
func (w *world) newSite(name string, vendors ...vendor) (*site, error) {
	dir := w.path(name)
	if err := errors.Join(os.RemoveAll(dir), os.Mkdir(dir, 0o700)); err != nil {
		return nil, err
	}
	text := "store: expunge.db\nkey_file: expunge.key\nreport: report.csv\nvendors:\n"
	for _, v := range vendors {
		text += "  " + v.name + ": " + v.body + "\n"
	}
	return &site{w, dir}, os.WriteFile(filepath.Join(dir, "expunge.yaml"), []byte(text), 0o600)
}

func (s *site) path(name string) string { return filepath.Join(s.dir, name) }
func (s *site) store() string           { return s.path("expunge.db") }

// process is expunge at work.
type process struct {
	cmd   *exec.Cmd
	began time.Time
	done  chan struct{}

	mu    sync.Mutex
	lines []line
	more  chan struct{}
	peak  int64 // VmHWM in KiB
	err   error
}

type line struct {
	at   time.Time
	text string
}

// start starts expunge and collects what it says.
func (s *site) start(args ...string) (*process, error) {
	p := &process{cmd: exec.CommandContext(s.w.ctx, s.w.expunge, args...), done: make(chan struct{}), more: make(chan struct{}, 1)}
	p.cmd.Dir = s.dir
	stderr, err := p.cmd.StderrPipe()
	if err != nil {
		return nil, err
	}
	p.began = time.Now()
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go p.watch()
	go func() {
		in := bufio.NewScanner(stderr)
		for in.Scan() {
			p.mu.Lock()
			p.lines = append(p.lines, line{time.Now(), in.Text()})
			p.mu.Unlock()
			select {
			case p.more <- struct{}{}:
			default:
			}
		}
		p.err = p.cmd.Wait()
		close(p.done)
	}()
	return p, nil
}

// watch follows the largest resident size. That of the kernel's own accounting at exit
// counts in what the process was before it became expunge.
func (p *process) watch() {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-p.done:
			return
		case <-tick.C:
		}
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
		if err != nil {
			return
		}
		if _, rest, ok := bytes.Cut(text, []byte("VmHWM:")); ok {
			kib, _, _ := strings.Cut(strings.TrimSpace(string(rest[:min(len(rest), 40)])), " ")
			if n, err := strconv.ParseInt(kib, 10, 64); err == nil {
				p.mu.Lock()
				p.peak = max(p.peak, n)
				p.mu.Unlock()
			}
		}
	}
}

// said returns when a line with this text came, waiting for it.
func (p *process) said(text string) (time.Time, error) {
	for {
		if at, ok := p.saying(text); ok {
			return at, nil
		}
		select {
		case <-p.more:
		case <-p.done:
			if at, ok := p.saying(text); ok {
				return at, nil
			}
			return time.Time{}, fmt.Errorf("expunge ended without saying %q: %s", text, p.last())
		}
	}
}

func (p *process) saying(text string) (time.Time, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, l := range p.lines {
		if strings.Contains(l.text, text) {
			return l.at, true
		}
	}
	return time.Time{}, false
}

func (p *process) last() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.lines) == 0 {
		return "(it said nothing)"
	}
	return p.lines[len(p.lines)-1].text
}

// kill ends the process as a power cut would, and waits for its end.
func (p *process) kill() {
	p.cmd.Process.Kill()
	<-p.done
}

// wait waits for the end. Codes other than 0 must be among those allowed.
func (p *process) wait(allowed ...int) error {
	<-p.done
	if p.err == nil {
		return nil
	}
	var e *exec.ExitError
	if errors.As(p.err, &e) {
		for _, code := range allowed {
			if e.ExitCode() == code {
				return nil
			}
		}
	}
	return fmt.Errorf("expunge: %w: %s", p.err, p.last())
}

// cpu is the processor time that the process used, once it has ended.
func (p *process) cpu() time.Duration {
	u, ok := p.cmd.ProcessState.SysUsage().(*syscall.Rusage)
	if !ok {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// peakMiB is the largest resident size that was seen.
func (p *process) peakMiB() float64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return float64(p.peak) / 1024
}

// run runs expunge to its end.
func (s *site) run(allowed []int, args ...string) (*process, error) {
	p, err := s.start(args...)
	if err != nil {
		return nil, err
	}
	return p, p.wait(allowed...)
}

// takeIn runs the intake of a file and ends the process as soon as it is done. The result
// is the time from the program's start to the batch being on disk.
func (s *site) takeIn(csv string) (time.Duration, *process, error) {
	p, err := s.start("run", "--allow-large", "--for", "1ms", csv)
	if err != nil {
		return 0, nil, err
	}
	at, err := p.said("taken in")
	p.kill()
	return at.Sub(p.began), p, err
}

// sql changes the store behind expunge's back, with the sqlite3 command.
func (s *site) sql(text string) error {
	_, err := s.w.command(strings.NewReader(text), io.Discard, "sqlite3", "-bail", s.store())
	return err
}

// copyOf makes a site with a copy of this one's files.
func (s *site) copyOf(name string) (*site, error) {
	dir := s.w.path(name)
	if err := errors.Join(os.RemoveAll(dir), os.CopyFS(dir, os.DirFS(s.dir))); err != nil {
		return nil, err
	}
	for _, secret := range []string{"expunge.yaml", "expunge.key"} {
		if err := os.Chmod(filepath.Join(dir, secret), 0o600); err != nil {
			return nil, err
		}
	}
	return &site{s.w, dir}, nil
}

func load() string {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	f := strings.Fields(string(text))
	return f[0]
}

// address is a person's email; the server reads the number in it.
func address(n int) string { return "person-" + strconv.Itoa(n) + "@example.com" }

// people writes a file of subjects: ten columns, about 170 bytes a row, in the order in
// which the requests came. Each row leads to one task at each of the three vendors.
func (w *world) people(name string, rows int) (string, error) {
	path := w.path(name)
	f, err := os.Create(path)
	if err != nil {
		return "", err
	}
	out := bufio.NewWriterSize(f, 1<<20)
	first := time.Now().AddDate(0, 0, -20)
	fmt.Fprintln(out, "subject_id,email,other_email,customer_key,account_number,call_id,agent_id,customer_name,comments,received_at")
	for n := range rows {
		h := uint64(n+1) * 0x9e3779b97f4a7c15 // spreads the keys as real ones are
		fmt.Fprintf(out, "DSR-%08d,%s,,%08x-%04x-4%03x-8%03x-%012x,934|1|%d|0|0|44|59,%d,agent%d,Person Number %d,asked by telephone,%s\n",
			n, address(n), uint32(h>>32), uint16(h>>16), h&0xfff, h>>52, h&0xffffffffffff, n, n+7, n%40, n,
			first.Add(time.Duration(float64(20*24*time.Hour)*float64(n)/float64(rows))).Format(time.DateOnly))
	}
	return path, errors.Join(out.Flush(), f.Close())
}
