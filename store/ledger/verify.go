package ledger

import (
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// ErrInvalid says that a certificate proves nothing: it has been changed, or is no certificate,
// or not one that the given key or head stands for.
var ErrInvalid = errors.New("NOT VALID")

// VerifyOptions are what a certificate is checked against.
type VerifyOptions struct {
	Key  string // the log's public key, from a place other than the certificate; or
	Head []byte // a file with one or several heads that somebody else keeps

	// Identifiers are what the certificate is said to be about; Normal returns the form in
	// which an identifier of a kind is marked, or "".
	Identifiers []string
	Normal      func(kind, identifier string) string

	TSARoots  *x509.CertPool // the authorities whose time stamps are believed; nil: none is checked
	Witnesses []*Witness     // whose signatures are looked for
}

// Verdict is what a valid certificate says.
type Verdict struct {
	Subject      string
	Organisation string
	ReceivedAt   time.Time
	Events       int
	Head         *Head
	Tasks        []TaskVerdict
	Story        []Step
	About        []string // for each of the identifiers given, the identifier's kind
	RestsOn      []string
	NotProved    []string
}

// TaskVerdict is what became of one task.
type TaskVerdict struct {
	Vendor, Identifier string
	Text               string
	At                 time.Time // zero: nothing has happened
	Done               bool      // erased, not found, or skipped
}

// Step is one event of the request, in plain words.
type Step struct {
	At   time.Time
	Task string // "": the request as a whole
	What string
}

// steps are the events in plain words.
var steps = map[string]string{"received": "the request was taken in", "added": "more was asked for", "submitted": "the vendor was told, and accepted it",
	"held": "put aside for a person", "decided": "a person decided", "extended": "the time limit was extended", "declined": "the vendor's people declined",
	"erased": "recorded as done", "not_found": "recorded: the vendor showed nothing held", "failed": "an attempt failed", "exported": "a copy of the data was asked for",
	"answered": "the person was told"}

// Done reports whether every task ended erased, not found or skipped.
func (v *Verdict) Done() bool {
	return !slices.ContainsFunc(v.Tasks, func(t TaskVerdict) bool { return !t.Done })
}

// Verify checks a certificate. It needs no store and no network. Errors: ErrInvalid.
func Verify(file []byte, o VerifyOptions) (*Verdict, error) {
	v, err := verify(file, o)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	return v, nil
}

func verify(file []byte, o VerifyOptions) (*Verdict, error) {
	c, err := readCertificate(file)
	if err != nil {
		return nil, err
	}
	var rests []string
	if o.Key != "" {
		if strings.TrimSpace(o.Key) != c.Key {
			return nil, errors.New("it is sealed by another key than the one that you gave")
		}
		rests = append(rests, "the key you gave")
	}
	head, leaves, err := c.prove(c.Key)
	if err != nil {
		return nil, err
	}
	if name, epoch := head.Epoch(); epoch == 0 || !strings.HasPrefix(c.Key, name+"+") {
		return nil, errors.New("its key is not that of its log")
	}
	if o.Head != nil {
		held, _ := SplitHeads(o.Head)
		if !slices.ContainsFunc(held, head.SameTree) {
			return nil, fmt.Errorf("its head (%s at %d) is not among those that you hold", head.Origin, head.Size)
		}
		rests = append(rests, "the head you hold")
	}
	v := &Verdict{Organisation: c.Organisation, Head: head, Events: len(leaves)}
	if err := v.read(leaves); err != nil {
		return nil, err
	}
	received := leaves[0]
	for _, text := range o.Identifiers {
		kind := ""
		for _, l := range leaves {
			for i := range l.Identifiers {
				id := &l.Identifiers[i]
				if opens(id, c.Nonces, o.Normal(id.Kind, text)) {
					kind = id.Kind
				}
			}
		}
		switch {
		case kind != "":
			v.About = append(v.About, kind)
		case len(c.Nonces) == 0:
			return nil, errors.New("it has nothing by which an identifier could be told: it names the request alone")
		case len(received.Identifiers) == 0:
			return nil, errors.New("no marks of identifiers were kept for this request")
		default:
			return nil, fmt.Errorf("identifier %d of those given is none of this request's", len(v.About)+1)
		}
	}
	if v.RestsOn, err = c.outside(head, rests, o); err != nil {
		return nil, err
	}
	v.NotProved = NotProved()
	return v, nil
}

// outside adds what others have to say of the head. A stamp or a signature that is asked for and is
// not good is a certificate that is not: nobody puts those there by mistake.
func (c *Certificate) outside(head *Head, rests []string, o VerifyOptions) ([]string, error) {
	switch {
	case len(c.Stamp) == 0 && o.TSARoots != nil:
		return nil, errors.New("it has no time stamp")
	case len(c.Stamp) == 0:
		rests = append(rests, "no time stamp")
	case o.TSARoots == nil:
		rests = append(rests, "no time stamp (it has one, which --tsa-roots checks)")
	default:
		at, by, err := head.Stamped(c.Stamp, o.TSARoots)
		if err != nil {
			return nil, err
		}
		rests = append(rests, fmt.Sprintf("a time stamp of %s by %s", at.Format(time.DateOnly), by))
	}
	if len(o.Witnesses) == 0 {
		return append(rests, "no witness"), nil
	}
	for _, w := range o.Witnesses {
		at, ok := w.Cosigned(head)
		if !ok {
			return nil, fmt.Errorf("its head has no signature of the witness %s", w.Name)
		}
		rests = append(rests, fmt.Sprintf("the witness %s, who saw the head on %s", w.Name, at.Format(time.DateOnly)))
	}
	return rests, nil
}

// NotProved lists what no certificate proves.
func NotProved() []string {
	return []string{"what the vendor really did", "its backups", "systems that expunge does not know",
		"that no later event of this request stands before this head (only the keeper of the log can tell)", "events after this head"}
}

// read follows the chains of the events and finds what became of each task.
func (v *Verdict) read(leaves []provenLeaf) error {
	first := leaves[0]
	if first.Event != "received" || first.Task != OwnTask || first.Prev != 0 || first.Subject == "" {
		return errors.New("it does not begin with the receipt of a request")
	}
	v.Subject, v.ReceivedAt = first.Subject, first.ReceivedAt.Time()
	own := map[int64]bool{first.seq: true}
	newest := map[string]provenLeaf{OwnTask: first}
	state := map[string]provenLeaf{} // the newest event that tells where the task stands
	tasks := first.Tasks
	for _, l := range leaves {
		what, task := steps[l.Event], strings.TrimSuffix(strings.TrimSuffix(l.Task, "/0"), OwnTask)
		switch {
		case l.Action != "":
			what += " (" + l.Action + ")"
		case l.Reference != "" && l.Event == "submitted":
			what += ", as " + l.Reference
		case l.Until != 0:
			what += " to " + l.Until.Time().Format(time.DateOnly)
		}
		v.Story = append(v.Story, Step{l.At.Time(), task, what})
	}
	for _, l := range leaves[1:] {
		before, known := newest[l.Task]
		switch {
		case l.Task == "" || len(l.Salt) != SaltSize:
			return fmt.Errorf("event %d is not one of a request", l.seq)
		case l.Event == "received":
			return errors.New("it has the receipts of two requests")
		case known && l.Prev != before.seq, !known && !own[l.Prev]:
			return fmt.Errorf("the event before event %d is missing", l.seq)
		}
		newest[l.Task] = l
		switch {
		case l.Task == OwnTask:
			own[l.seq] = true
			if len(l.Tasks) > 0 {
				tasks = l.Tasks
			}
		case l.Event != "exported":
			state[l.Task] = l
		}
	}
	if len(tasks) == 0 {
		return errors.New("the request has no tasks")
	}
	named := map[string]bool{OwnTask: true}
	for _, t := range tasks {
		named[t.Task] = true
		l, some := state[t.Task]
		v.Tasks = append(v.Tasks, judge(t, l.Leaf, some))
	}
	for task := range newest {
		if !named[task] {
			return errors.New("it has events of a task that is not the request's")
		}
	}
	return nil
}

// judge says what became of a task, in words that claim no more than its events do.
func judge(t LeafTask, l *Leaf, some bool) TaskVerdict {
	vendor, id, _ := strings.Cut(t.Task, "/")
	v := TaskVerdict{Vendor: vendor, Identifier: strings.TrimSuffix(id, "/0")}
	if !some {
		v.Text, v.Done = "open: nothing has been done yet", t.Skipped != ""
		if v.Done {
			v.Text = "not asked: " + t.Skipped
		}
		return v
	}
	v.At = l.At.Time()
	if l.CompletedAt != 0 {
		v.At = l.CompletedAt.Time()
	}
	done, job := acts(t.Act)
	because := ""
	if l.Reason != "" {
		because = ": " + l.Reason
	}
	switch l.Event {
	case "erased":
		v.Done = true
		switch l.Evidence {
		case "verified":
			v.Text = done + ", looked again and gone"
			if l.Records != nil && l.RecordsAfter != nil {
				v.Text += fmt.Sprintf(" (%d records, then %d)", *l.Records, *l.RecordsAfter)
			}
		case "vendor_done":
			v.Text = job + " reported done by the vendor; not looked at again"
		default:
			v.Text = done + ", says a person; not looked at again"
		}
	case "not_found":
		v.Done = true
		v.Text = "the vendor showed nothing held; " + map[string]string{"control": "a control record was seen around that time",
			"others": "only other people's records were seen around that time", "confirmed": "a person vouched for the account"}[l.Evidence]
		v.Text = strings.TrimSuffix(v.Text, "; ")
	case "submitted":
		v.Text = "open: the vendor was told, and has not reported it done"
	case "held":
		v.Text = "open: held for a person" + because
	case "declined":
		v.Text = "NOT DONE: declined by the vendor's people"
	case "failed":
		v.Text = "NOT DONE: failed" + because
	default:
		v.Text = "open: a person decided (" + strings.TrimSpace(l.Action+" "+l.State) + ")"
		if l.State == "failed" || l.Closed {
			v.Text = "NOT DONE: ended by a person (" + l.Action + ")" + because
		}
	}
	return v
}

// acts says a vendor's act in words: what became of the data, and what the job is called.
func acts(act string) (done, job string) {
	switch act {
	case "anonymize":
		return "anonymized", "anonymization job"
	case "remove":
		return "removed", "removal job"
	case "pseudonymize":
		return "pseudonymized (masked in part)", "pseudonymization request"
	}
	return "done", "job"
}

// Lines are the verdict on the request and its tasks, for people.
func (v *Verdict) Lines() []string {
	lines := []string{fmt.Sprintf("%s, %d events, log %s at %s, head of %s", v.Subject, v.Events, v.Head.Origin, grouped(v.Head.Size), v.Head.At.Format(time.DateOnly))}
	var wide [3]int
	for _, t := range v.Tasks {
		for i, s := range [...]string{t.Vendor, t.Identifier, t.Text} {
			wide[i] = max(wide[i], len([]rune(s)))
		}
	}
	for _, t := range v.Tasks {
		at := ""
		if !t.At.IsZero() {
			at = t.At.Format(time.DateOnly)
		}
		lines = append(lines, strings.TrimRight(fmt.Sprintf("%-*s  %-*s  %-*s  %s", wide[0], t.Vendor, wide[1], t.Identifier, wide[2], t.Text, at), " "))
	}
	return lines
}

// grouped writes a number with commas between the thousands.
func grouped(n int64) string {
	s := fmt.Sprint(n)
	for at := len(s) - 3; at > 0; at -= 3 {
		s = s[:at] + "," + s[at:]
	}
	return s
}

// Summarize returns the lines that stand in a certificate with these proofs.
func (c *Certificate) Summarize(vkeys ...string) ([]string, error) {
	head, leaves, err := c.prove(vkeys...)
	if err != nil {
		return nil, err
	}
	v := &Verdict{Head: head, Events: len(leaves)}
	if err := v.read(leaves); err != nil {
		return nil, err
	}
	return v.Lines(), nil
}
