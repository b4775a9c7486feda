package acqueon

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"expunge/vendors"
)

// bridge carries messages through an agent's browser, where the vendor's bus lives. It
// serves a small page on loopback, which the agent opens as an app inside the workspace;
// the page takes one message at a time, publishes it on the bus, and brings the responses
// back (page/bridge.js).
//
// What it keeps: nobody without the token of the page gets a message or can answer one. The
// token stands in the fragment of the address, which no browser sends; the address stands in
// a file that only its owner can read, and in no log. An address serves one page: when that
// has said hello, the file holds another one, for the next page. A message is
// first offered by its number alone and leaves when a page takes it, at the pace of the
// rate limit: one that was not taken surely had no effect, and waits for the next page. One
// that was taken and not answered in time is an open outcome.
type bridge struct {
	name      string
	source    string
	register  string // topic/subtopic of the registration on the bus; "": none
	origin    string // of the workspace
	transport vendors.Transport
	timeout   time.Duration // from the taking of a message to its response
	patience  time.Duration // how long a page is waited for
	box       *mailbox
	log       *slog.Logger
	tell      func(string)

	file string // holds the address

	token    string // of the address, for the next page
	held     string // of the page that is served; "": none has come
	listener net.Listener
	server   *http.Server
	done     chan struct{} // closed by Close

	mu      sync.Mutex
	told    bool
	changed chan struct{} // closed, and made anew, with every change of what follows
	version uint64
	page    *page
	under   *parcel       // the message under way
	rows    []row         // what pages show, the newest last
	arrival chan struct{} // closed when a page is there; nil: nobody waits for that
	rounds  int           // how often nobody came, in a row
	counts  struct{ answered, open int }
}

var (
	_ io.Closer       = (*bridge)(nil)
	_ vendors.Readier = (*bridge)(nil)
)

// page is one opened page. There is one at a time.
type page struct {
	id    string
	polls int       // requests of its that wait for a change: the sign of life
	seen  time.Time // when the last of them ended
	ready bool      // registered on the bus
}

// away is how long a page may be silent before another can take its place.
const away = 3 * time.Second

func (p *page) alive(now time.Time) bool {
	return p != nil && (p.polls > 0 || now.Sub(p.seen) < away)
}

// parcel is a message on its way to a page.
type parcel struct {
	ctx     context.Context // of the submission, until it is taken
	op      string
	number  uint64
	message json.RawMessage

	state   parcelState
	after   error         // why it must not be offered again
	err     error         // once decided: why it did not leave
	decided chan struct{} // closed: it has left, or will not
	answers <-chan delivery
}

type parcelState uint8

const (
	offered parcelState = iota
	leaving             // a page takes it, the rate limit has the word
	taken
	kept // not sent
)

// row is what a page shows of one message: nothing but a masked identifier.
type row struct {
	Number uint64 `json:"n"`
	Shown  string `json:"shown"`
	State  string `json:"state"` // waiting, sent, and then answered, open or kept (not sent)
}

const maxRows = 50

const (
	// comeAgain is after how long a lane that found no page asks again; doubled each time
	// up to longestAbsence, so that a run ends whatever it lingers for.
	comeAgain      = 15 * time.Minute
	longestAbsence = 24 * time.Hour
)

var (
	errNobodyTold = errors.New("the bridge is open only while `expunge run` works")
	errOver       = errors.New("the bridge was closed")
)

// listen opens the loopback address on which the page is served.
func (b *bridge) listen(address string) error {
	var err error
	if b.listener, err = net.Listen("tcp", address); err != nil {
		return &vendors.KeyError{Key: "bridge_listen", Problem: "cannot be listened on: " + err.Error()}
	}
	if err := b.readdress(); err != nil {
		b.listener.Close()
		return &vendors.KeyError{Key: "bridge_dir", Problem: "is no folder to write to: " + err.Error(), Hint: "the address of the bridge's page is kept there while a run works"}
	}
	b.done, b.changed = make(chan struct{}), make(chan struct{})
	b.server = &http.Server{
		Handler:           b.handler(b.listener.Addr().String()),
		ReadHeaderTimeout: 10 * time.Second, IdleTimeout: time.Minute, MaxHeaderBytes: 16 << 10,
		ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelError),
	}
	go b.server.Serve(b.listener)
	return nil
}

// readdress makes a new address for the next page, and writes it to the file: 0600, and whole
// whenever somebody reads it.
func (b *bridge) readdress() error {
	b.token = rand.Text()
	f, err := os.CreateTemp(filepath.Dir(b.file), "."+filepath.Base(b.file)+"-*")
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(f, "http://%s/#%s\n", b.listener.Addr(), b.token)
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), b.file)
	}
	if err != nil {
		os.Remove(f.Name())
	}
	return err
}

// Close ends the bridge: pages are told, and what is under way gets no answer any more.
func (b *bridge) Close() error {
	if b.server == nil {
		return nil
	}
	b.mu.Lock()
	select {
	case <-b.done:
		b.mu.Unlock()
		return nil
	default:
	}
	close(b.done)
	b.changeLocked()
	b.mu.Unlock()
	os.Remove(b.file) // nobody listens there any more
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	if b.server.Shutdown(ctx) != nil {
		return b.server.Close()
	}
	return nil
}

// announce shows the operator where the page's address is, once.
func (b *bridge) announce() {
	b.mu.Lock()
	told := b.told
	b.told = true
	b.mu.Unlock()
	if !told {
		b.tell(fmt.Sprintf("%s: open the page whose address is in %s as an app in the agent's workspace, and leave it open", b.name, b.file))
	}
}

// changeLocked wakes everybody who waits for a change.
func (b *bridge) changeLocked() {
	b.version++
	close(b.changed)
	b.changed = make(chan struct{})
	if b.arrival != nil && b.readyLocked() {
		close(b.arrival)
		b.arrival = nil
	}
}

func (b *bridge) readyLocked() bool { return b.page.alive(time.Now()) && b.page.ready }

// nobody says that no page is there.
func (b *bridge) nobody(op string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.arrival == nil {
		b.arrival = make(chan struct{})
	}
	pause := min(comeAgain<<min(b.rounds, 10), longestAbsence)
	b.rounds++
	return vendors.NotSent(b.name, op, &vendors.AwaitError{
		What: "no agent has the bridge's page open in the workspace", Until: time.Now().Add(pause), Ready: b.arrival,
	})
}

// Ready implements vendors.Readier: it waits until a page is there and registered.
func (b *bridge) Ready(ctx context.Context) error {
	if b.server == nil {
		return vendors.NotSent(b.name, "submit", errNobodyTold)
	}
	b.announce()
	timer := time.NewTimer(b.patience)
	defer timer.Stop()
	for {
		b.mu.Lock()
		ready, changed := b.readyLocked(), b.changed
		if ready {
			b.rounds = 0
		}
		b.mu.Unlock()
		if ready {
			return nil
		}
		select {
		case <-changed:
		case <-timer.C:
			return b.nobody("submit")
		case <-ctx.Done():
			return vendors.NotSent(b.name, "submit", vendors.ErrStopped)
		case <-b.done:
			return vendors.NotSent(b.name, "submit", vendors.ErrStopped)
		}
	}
}

func (b *bridge) exchange(ctx context.Context, op string, message []byte, shown string) ([]byte, error) {
	if b.server == nil {
		return nil, vendors.NotSent(b.name, op, errNobodyTold)
	}
	b.announce()
	if b.box.wait(ctx, b.done) != nil {
		return nil, vendors.NotSent(b.name, op, vendors.ErrStopped)
	}
	p := b.offer(ctx, op, message, shown)
	timer := time.NewTimer(b.patience)
	defer timer.Stop()
	select {
	case <-p.decided:
	case <-timer.C:
		b.giveUp(p, func() error { return b.nobody(op) })
	case <-ctx.Done():
		b.giveUp(p, func() error { return vendors.NotSent(b.name, op, vendors.ErrStopped) })
	case <-b.done:
		b.giveUp(p, func() error { return vendors.NotSent(b.name, op, vendors.ErrStopped) })
	}
	<-p.decided
	if p.err != nil {
		b.settle("kept")
		return nil, p.err
	}

	// From here on the message may arrive, and only the timeout ends the waiting.
	open := &vendors.Error{Vendor: b.name, Op: op, Kind: vendors.ErrUnavailable}
	timer.Reset(b.timeout)
	select {
	case d, ok := <-p.answers:
		if d.response != nil {
			b.settle("answered")
			return d.response, nil
		}
		noResponse(open, d, ok)
	case <-timer.C:
		open.Err = vendors.ErrTimeout
	case <-b.done:
		open.Err = errOver
	}
	if answer, ok := b.box.leave(); ok {
		b.settle("answered")
		return answer, nil
	}
	b.settle("open")
	return nil, open
}

// offer puts a message where the next page finds it.
func (b *bridge) offer(ctx context.Context, op string, message []byte, shown string) *parcel {
	b.mu.Lock()
	defer b.mu.Unlock()
	number := uint64(1)
	if n := len(b.rows); n > 0 {
		number = b.rows[n-1].Number + 1
	}
	if len(b.rows) == maxRows {
		b.rows = b.rows[1:]
	}
	b.rows = append(b.rows, row{Number: number, Shown: shown, State: "waiting"})
	b.under = &parcel{ctx: ctx, op: op, number: number, message: message, decided: make(chan struct{})}
	b.changeLocked()
	return b.under
}

// giveUp keeps a message that no page has taken. One that is being taken is decided by the
// page's side at once.
func (b *bridge) giveUp(p *parcel, why func() error) {
	err := why()
	b.mu.Lock()
	defer b.mu.Unlock()
	if p.state == leaving {
		p.after = err
		return
	}
	b.decideLocked(p, err)
}

// decideLocked ends the offer of a message: it has left (nil), or will not.
func (b *bridge) decideLocked(p *parcel, err error) {
	if p.state == taken || p.state == kept {
		return
	}
	p.state, p.err = taken, err
	if err != nil {
		p.state = kept
	}
	close(p.decided)
}

// settle records in the page's last row, which is that of the message under way, how the
// message ended.
func (b *bridge) settle(state string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.under = nil
	b.rows[len(b.rows)-1].State = state
	switch state {
	case "answered":
		b.counts.answered++
	case "open":
		b.counts.open++
	}
	b.changeLocked()
}

// Why a page is not served.
var (
	errUsed    = errors.New("this code is used up: the file that the run names has the next one")
	errAnother = errors.New("another page is open")
)

// hello makes a page the one that is served: a new one by the token of the address, unless
// another is alive, or the one that was served, by its own token and id, after it was loaded
// again.
func (b *bridge) hello(token, id string) (string, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	switch {
	case token == b.token && b.page.alive(now):
		return "", errAnother
	case token == b.token:
		b.held = token
		if err := b.readdress(); err != nil {
			b.log.Warn("the address for another page cannot be written", "err", err)
		}
		b.log.Info("an agent has opened the bridge's page; the address for another one is in the file", "file", b.file)
	case b.page == nil || id != b.page.id:
		return "", errUsed
	}
	b.page = &page{id: rand.Text(), seen: now}
	b.changeLocked()
	return b.page.id, nil
}

// knows reports whether a token is one of ours.
func (b *bridge) knows(token string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	next := subtle.ConstantTimeCompare([]byte(token), []byte(b.token))
	return next|subtle.ConstantTimeCompare([]byte(token), []byte(b.held)) == 1 && token != ""
}

// view is what a page is shown.
type view struct {
	Version  uint64 `json:"version"`
	Offer    uint64 `json:"offer"` // the number of the message to take; 0: none
	Rows     []row  `json:"rows"`
	Answered int    `json:"answered"`
	Open     int    `json:"open"`
	Over     bool   `json:"over"` // the run has ended
}

func (b *bridge) viewLocked() view {
	v := view{Version: b.version, Rows: append([]row{}, b.rows...), Answered: b.counts.answered, Open: b.counts.open}
	if b.under != nil && b.under.state == offered {
		v.Offer = b.under.number
	}
	select {
	case <-b.done:
		v.Over = true
	default:
	}
	return v
}

// poll returns what has changed since a version, as soon as something has, or after hold.
func (b *bridge) poll(ctx context.Context, pg *page, ready bool, since uint64, hold time.Duration) view {
	timer := time.NewTimer(hold)
	defer timer.Stop()
	b.mu.Lock()
	defer b.mu.Unlock()
	pg.polls++
	if pg.ready != ready {
		pg.ready = ready
		b.changeLocked()
	}
	defer func() {
		pg.polls--
		pg.seen = time.Now()
	}()
	for {
		v, changed := b.viewLocked(), b.changed
		if v.Version != since || v.Over {
			return v
		}
		b.mu.Unlock()
		waiting := true
		select {
		case <-changed:
		case <-timer.C:
			waiting = false
		case <-ctx.Done():
			waiting = false
		}
		b.mu.Lock()
		if !waiting {
			return v
		}
	}
}

// take hands a message to a page. It leaves here: the rate limit is asked here, and a page
// that has gone by then has not taken it.
func (b *bridge) take(ctx context.Context, pg *page, number uint64) (json.RawMessage, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	p := b.under
	if p == nil || p.number != number || p.state != offered || b.page != pg {
		return nil, false
	}
	p.state = leaving
	b.mu.Unlock()
	both, cancel := context.WithCancel(p.ctx)
	unhook := context.AfterFunc(ctx, cancel)
	err := b.transport.Wait(both, p.op)
	unhook()
	cancel()
	b.mu.Lock()
	switch {
	case p.ctx.Err() == nil && (ctx.Err() != nil || b.page != pg):
		p.state = offered
		if p.after != nil {
			b.decideLocked(p, p.after)
		}
		b.changeLocked()
		return nil, false
	case err != nil:
		b.decideLocked(p, err)
		return nil, false
	}
	p.answers = b.box.expect()
	b.decideLocked(p, nil)
	b.rows[len(b.rows)-1].State = "sent"
	b.changeLocked()
	return p.message, true
}

// current returns the page with an id, if it is the one that is served.
func (b *bridge) current(id string) *page {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.page == nil || b.page.id != id {
		return nil
	}
	return b.page
}
