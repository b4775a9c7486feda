package trial

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"expunge/vendors"
	"expunge/vendors/rest"
	"expunge/vendors/sim"
)

// Fate is what becomes of a changed recipe.
type Fate string

// The fates. The first two are a person's to notice before anything is sent, the next two
// while it runs; Same means that nothing that counts has changed.
const (
	Refused Fate = "refused at load"
	Control Fate = "stopped by the control record"
	Visible Fate = "held, refused or open"
	Same    Fate = "no other outcome"
	Silent  Fate = "SILENT: a false erased, not_found, or somebody else's record" // must not be
)

// Mutant is a recipe with one word changed.
type Mutant struct {
	Line     int
	Old, New string // "" for New: the word was dropped
	Fate     Fate
	Why      string // of a silent one
}

func (m Mutant) String() string {
	return fmt.Sprintf("line %d: %q -> %q: %s (%s)", m.Line, m.Old, m.New, m.Fate, m.Why)
}

// aWord is what an edit changes: a name, a path's part, a number.
var aWord = regexp.MustCompile(`[A-Za-z0-9_]+`)

// Mutants changes every word of a recipe in turn, outside comments: drops it, leaves out a
// letter, counts a number up and down; with all it makes further slips too, and puts each other
// word of the recipe there. (Words of the examples, which the recipe must agree with, are
// dropped, and with all misspelt.) Each changed recipe that still loads meets a twin of the
// original, and a vendor that takes what it does not know for a question about nobody.
func Mutants(file string, data []byte, all bool, each func(Mutant)) error {
	r, err := rest.Parse(file, data)
	if err != nil {
		return err
	}
	text := string(data)
	head := len(text) // where the examples begin: their words are misspelt and dropped only
	if i := strings.Index(text, "\nexamples:"); i >= 0 {
		head = i
	}
	var vocabulary []string
	for _, w := range aWord.FindAllString(uncommented(text[:head]), -1) {
		if !slices.Contains(vocabulary, w) {
			vocabulary = append(vocabulary, w)
		}
	}
	at, line := 0, 0
	for l := range strings.Lines(text) {
		line++
		from := at
		at += len(l)
		if strings.HasPrefix(strings.TrimSpace(l), "#") {
			continue
		}
		for _, m := range aWord.FindAllStringIndex(l, -1) {
			word := l[m[0]:m[1]]
			others := misspelt(word, all)
			switch {
			case from >= head && all:
			case from >= head:
				others = []string{""}
			case all:
				others = append(others, vocabulary...)
			}
			slices.Sort(others)
			for _, other := range slices.Compact(others) {
				if other == word {
					continue
				}
				changed := text[:from+m[0]] + other + text[from+m[1]:]
				mutant := Mutant{Line: line, Old: word, New: other}
				mutant.Fate, mutant.Why = fate(r, file, []byte(changed), from >= head)
				each(mutant)
			}
		}
	}
	return nil
}

func uncommented(text string) string {
	return regexp.MustCompile(`(?m)^\s*#.*$`).ReplaceAllString(text, "")
}

// misspelt are the slips of a pen: nothing, a letter too few, of a number the next ones and ten
// times as much; with all also a letter too many, and two changed over.
func misspelt(word string, all bool) []string {
	n := len(word) / 2
	slips := []string{"", word[:n] + word[n+1:]}
	if i, err := strconv.Atoi(word); err == nil {
		slips = append(slips, strconv.Itoa(i+1), strconv.Itoa(i-1), strconv.Itoa(i*10))
	}
	if all {
		slips = append(slips, word[:n]+word[n:n+1]+word[n:])
		if n > 0 {
			slips = append(slips, word[:n-1]+word[n:n+1]+word[n-1:n]+word[n+1:])
		}
	}
	return slips
}

// fate loads a changed recipe and, unless only an example is changed, lets it work on the
// original's twin.
func fate(original *rest.Recipe, file string, data []byte, example bool) (Fate, string) {
	changed, err := rest.Parse(file, data)
	switch {
	case err != nil:
		return Refused, ""
	case example:
		return Same, ""
	}
	ways := []journey{{}, {fault: sim.JobError}, {fault: sim.JobLost}}
	if p := original.Preview; p != nil && !p.Owner.Exact {
		ways = append(ways, journey{strangers: true})
	}
	for _, j := range ways {
		j.original, j.changed = original, changed
		if f, why := j.run(); f != Same {
			return f, why
		}
	}
	return Same, ""
}

// journey is one way that a task goes, from the first look to its end.
type journey struct {
	original, changed *rest.Recipe
	fault             sim.FaultKind
	strangers         bool // what is found for the person belongs to somebody else
}

func (j *journey) run() (Fate, string) {
	person := Person(j.original)
	s := seed(person)
	rec := s.CustomerGauge[0].Records[0]
	several := slices.ContainsFunc(slices.Collect(maps.Values(j.original.Examples)), func(e rest.Example) bool { return strings.HasSuffix(e.Gives, " records") })
	if several || j.original.Erase.Each == "identifier" {
		s.CustomerGauge[0].Records = append(s.CustomerGauge[0].Records, rec) // two of them
	}
	s.Complete()
	o := sim.Options{Seed: s, Recipes: []*rest.Recipe{j.original}, NoLedger: true, Strangers: j.strangers, PageSize: 1}
	if j.fault != sim.NoFault {
		o.Faults = []string{"rest:" + string(j.fault)}
	}
	twin := sim.New(o)
	config := Config(j.changed, "http://127.0.0.1:9")
	config.BaseURL = "http://127.0.0.1:9/r/" + j.original.Name
	v, err := config.Open(vendors.Options{Name: "mutant", Transport: &loopback{twin: twin, r: j.original}})
	if err != nil {
		return Refused, ""
	}
	ctx := context.Background()
	if own := v.Traits().Control; own != nil {
		if p, err := v.Preview(ctx, own); err != nil || p.Records == 0 || p.Doubt != "" {
			return Control, ""
		}
	}
	refs, _ := v.Identifiers(person)
	if len(refs) == 0 {
		return Visible, "" // skipped: the report says so
	}
	t := &vendors.Target{Ref: refs[0], Subject: person, ReceivedAt: time.Date(2026, 3, 1, 9, 0, 0, 0, time.UTC)}
	p, err := v.Preview(ctx, t)
	switch {
	case err != nil || p.Doubt != "":
		return j.ended(Visible)
	case v.Traits().Remote && p.Records == 0:
		return Silent, "not_found, and the vendor holds records"
	}
	t.Hint = p.Hint
	before := twin.Held(j.original.Name)
	receipt, err := v.Submit(ctx, t)
	if j.strangers && twin.Held(j.original.Name) < before {
		return Silent, "somebody else's record was erased"
	}
	if err != nil {
		return Visible, ""
	}
	erased := receipt.Done
	if poller, ok := v.(vendors.Poller); ok {
		for day := 0; day < 10 && !erased; day++ {
			t.Reference = receipt.Reference
			progress, err := poller.Poll(ctx, t)
			if err != nil || progress.Job == vendors.JobFailed || progress.Job == vendors.JobLost {
				return j.ended(Visible)
			}
			erased = progress.Job == vendors.JobDone
			if !erased {
				twin.Advance(1)
			}
		}
	}
	if v.Traits().Remote && v.Traits().Completion != vendors.ByPerson {
		p, err := v.Preview(ctx, t)
		if form := (*vendors.Error)(nil); errors.As(err, &form) && form.Form != "" {
			err = nil // as a stranger would get it
		}
		if erased = err == nil && p.Doubt == "" && p.Records == 0; !erased {
			return j.ended(Visible)
		}
	}
	if erased && twin.Holds(j.original.Name, t.Identifier()) {
		return Silent, "erased, and the vendor still holds a record"
	}
	return Same, ""
}

// ended is the fate of a journey that stops where a person looks. Where something is wrong at
// the vendor, or the records are a stranger's, it has to stop.
func (j *journey) ended(f Fate) (Fate, string) {
	if j.fault != sim.NoFault || j.strangers {
		return Same, ""
	}
	return f, ""
}

// loopback carries requests to the twin without a network. What the twin does not understand is
// answered in the way that misleads most: a question finds nobody, an erasure is accepted and
// nothing is erased.
type loopback struct {
	twin *sim.Sim
	r    *rest.Recipe
}

var errNoTwin = errors.New("no twin is there")

func (l *loopback) Do(_ context.Context, op string, req *http.Request) (*vendors.Answer, error) {
	if req.URL.Host != "127.0.0.1:9" {
		return nil, &vendors.Error{Vendor: "mutant", Op: op, Kind: vendors.ErrNotSent, Err: errNoTwin}
	}
	// A twin below another path is no twin.
	w := httptest.NewRecorder()
	l.twin.ServeHTTP(w, req)
	a := &vendors.Answer{Status: w.Code, Header: w.Header(), Body: w.Body.Bytes()}
	if w.Header().Get(sim.NotUnderstood) != "" && op != "token" {
		a = l.mislead(op)
	}
	return a, nil
}

// mislead is the answer to what the twin does not understand.
func (l *loopback) mislead(op string) *vendors.Answer {
	of, gives := "preview", []string{"none"}
	if op == "submit" && l.r.Preview != nil {
		of, gives = "erase", []string{"accepted", "done"}
	}
	for _, e := range l.r.Examples {
		if e.Of == of && slices.Contains(gives, e.Gives) {
			if a, err := e.Answers[0].Answer(); err == nil {
				return a
			}
		}
	}
	return &vendors.Answer{Status: http.StatusBadRequest, Header: http.Header{}, Body: []byte(`{"error":"bad request"}`)}
}

func (l *loopback) Stream(context.Context, string, *http.Request, io.Writer, int64) (*vendors.Answer, error) {
	return nil, errNoTwin
}

func (l *loopback) Wait(context.Context, string) error { return nil }

func (l *loopback) HTTPClient(op string) *http.Client {
	return &http.Client{Transport: roundTrip(func(req *http.Request) (*http.Response, error) {
		w := httptest.NewRecorder()
		l.twin.ServeHTTP(w, req)
		return w.Result(), nil
	})}
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }
