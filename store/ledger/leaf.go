package ledger

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"
	"unicode/utf8"

	"golang.org/x/mod/sumdb/tlog"
)

// SaltSize is the length in bytes of a leaf's salt.
const SaltSize = 16

// Salt is that of the leaf with this number, of the person with this secret.
func Salt(secret []byte, seq int64) []byte {
	mac := hmac.New(sha256.New, secret)
	var n [8]byte
	binary.BigEndian.PutUint64(n[:], uint64(seq))
	mac.Write(n[:])
	return mac.Sum(nil)[:SaltSize]
}

// OwnTask stands, where a task is named, for the request as a whole.
const OwnTask = "-"

// Seconds is a time in seconds since 1970 UTC, which a leaf has in RFC 3339; 0 and less is none.
type Seconds int64

// lastSecond is that of the year 9999, behind which RFC 3339 has no times.
const lastSecond = 253402300799

func (s Seconds) append(b []byte) []byte {
	return time.Unix(min(max(int64(s), 0), lastSecond), 0).UTC().AppendFormat(b, time.RFC3339)
}

// Time is the same as a time.Time.
func (s Seconds) Time() time.Time { return time.Unix(int64(s), 0).UTC() }

// UnmarshalJSON implements json.Unmarshaler.
func (s *Seconds) UnmarshalJSON(text []byte) error {
	var t time.Time
	if err := json.Unmarshal(text, &t); err != nil {
		return err
	}
	*s = Seconds(t.Unix())
	return nil
}

// Leaf is what one event tells. Which events have which values is in the table of the
// package's documentation; a value that an event does not have is left out.
type Leaf struct {
	Salt    []byte  `json:"salt"` // none in a leaf that is about nobody
	Event   string  `json:"event"`
	Task    string  `json:"task"` // vendor/identifier kind/number; OwnTask: the request as a whole; "": nobody's
	Subject string  `json:"subject"`
	Vendor  string  `json:"vendor"`
	At      Seconds `json:"at"`
	Prev    int64   `json:"prev"`

	ReceivedAt  Seconds          `json:"received_at"`
	DueAt       Seconds          `json:"due_at"`
	Identifiers []LeafIdentifier `json:"identifiers"`
	Tasks       []LeafTask       `json:"tasks"`

	Evidence     string  `json:"evidence"`
	Reason       string  `json:"reason"`
	Records      *int64  `json:"records"`
	RecordsAfter *int64  `json:"records_after"`
	Reference    string  `json:"reference"`
	SubmittedAt  Seconds `json:"submitted_at"`
	CompletedAt  Seconds `json:"completed_at"`
	VerifiedAt   Seconds `json:"verified_at"`

	Action     string  `json:"action"`
	State      string  `json:"state"`
	Closed     bool    `json:"closed"`
	Until      Seconds `json:"until"`
	AnsweredAt Seconds `json:"answered_at"`
	Channel    string  `json:"channel"`
	Export     string  `json:"export"`
	Bytes      int64   `json:"bytes"`
	SHA256     string  `json:"sha256"`

	Batch      int64   `json:"batch"`
	Dropped    bool    `json:"dropped"`
	Rows       int64   `json:"rows"`
	Subjects   int64   `json:"subjects"`
	Invalid    int64   `json:"invalid"`
	Duplicates int64   `json:"duplicates"`
	TaskCount  int64   `json:"task_count"`
	Run        int64   `json:"run"`
	Intents    int64   `json:"intents"`
	Version    string  `json:"version"`
	Config     string  `json:"config"`
	Before     Seconds `json:"before"`
	LogKey     string  `json:"log_key"`
	LostOrigin string  `json:"lost_origin"`
	LostSize   int64   `json:"lost_size"`
	LostRoot   string  `json:"lost_root"`
	Note       string  `json:"note"`
}

// LeafIdentifier is one of the person's identifiers: its mark alone.
type LeafIdentifier struct {
	Kind string `json:"kind"`
	Nth  int    `json:"nth"`
	Mark []byte `json:"mark"`
}

// LeafTask is a task that the request leads to.
type LeafTask struct {
	Task    string `json:"task"`
	Kind    string `json:"kind"` // the vendor's
	Act     string `json:"act"`
	Skipped string `json:"skipped"` // why it was skipped from the beginning; "": it was not
}

// Render is the leaf's text, version 1: the bytes that are hashed. It never changes: what has
// been hashed could not be shown any more.
func (l *Leaf) Render() []byte { return l.Append(nil) }

// Append appends the leaf's text to b.
func (l *Leaf) Append(b []byte) []byte {
	w := writer{append(b, `{"v":1`...)}
	w.bytes("salt", l.Salt)
	w.text("event", l.Event)
	w.text("task", l.Task)
	w.text("subject", l.Subject)
	w.text("vendor", l.Vendor)
	w.key("at")
	w.time(l.At)
	w.number("prev", l.Prev)
	w.seconds("received_at", l.ReceivedAt)
	w.seconds("due_at", l.DueAt)
	w.list("identifiers", len(l.Identifiers), func(i int) {
		id := &l.Identifiers[i]
		w.b = append(w.b, `{"kind":`...)
		w.string(id.Kind)
		w.b = append(w.b, `,"nth":`...)
		w.b = strconv.AppendInt(w.b, int64(id.Nth), 10)
		w.bytes("mark", id.Mark)
		w.b = append(w.b, '}')
	})
	w.list("tasks", len(l.Tasks), func(i int) {
		t := &l.Tasks[i]
		w.b = append(w.b, `{"task":`...)
		w.string(t.Task)
		w.text("kind", t.Kind)
		w.text("act", t.Act)
		w.text("skipped", t.Skipped)
		w.b = append(w.b, '}')
	})
	w.text("evidence", l.Evidence)
	w.text("reason", l.Reason)
	w.count("records", l.Records)
	w.count("records_after", l.RecordsAfter)
	w.text("reference", l.Reference)
	w.seconds("submitted_at", l.SubmittedAt)
	w.seconds("completed_at", l.CompletedAt)
	w.seconds("verified_at", l.VerifiedAt)
	w.text("action", l.Action)
	w.text("state", l.State)
	w.yes("closed", l.Closed)
	w.seconds("until", l.Until)
	w.seconds("answered_at", l.AnsweredAt)
	w.text("channel", l.Channel)
	w.text("export", l.Export)
	w.number("bytes", l.Bytes)
	w.text("sha256", l.SHA256)
	w.number("batch", l.Batch)
	w.yes("dropped", l.Dropped)
	w.number("rows", l.Rows)
	w.number("subjects", l.Subjects)
	w.number("invalid", l.Invalid)
	w.number("duplicates", l.Duplicates)
	w.number("task_count", l.TaskCount)
	w.number("run", l.Run)
	w.number("intents", l.Intents)
	w.text("version", l.Version)
	w.text("config", l.Config)
	w.seconds("before", l.Before)
	w.text("log_key", l.LogKey)
	w.text("lost_origin", l.LostOrigin)
	w.number("lost_size", l.LostSize)
	w.text("lost_root", l.LostRoot)
	w.text("note", l.Note)
	return append(w.b, '}')
}

// ParseLeaf reads a leaf's text. A text that is not the very one of its values is refused.
func ParseLeaf(text []byte) (*Leaf, error) {
	var l struct {
		V int `json:"v"`
		Leaf
	}
	if err := json.Unmarshal(text, &l); err != nil {
		return nil, fmt.Errorf("a leaf is no JSON of its kind: %w", err)
	}
	if l.V != 1 {
		return nil, fmt.Errorf("a leaf is of version %d, which this program does not know", l.V)
	}
	if !bytes.Equal(l.Render(), text) {
		return nil, errors.New("a leaf is not written as leaves are")
	}
	return &l.Leaf, nil
}

// Hash is the leaf hash of RFC 6962.
func Hash(leaf []byte) tlog.Hash { return tlog.RecordHash(leaf) }

// writer writes JSON. It is not encoding/json, whose ways of writing a text may change.
type writer struct{ b []byte }

func (w *writer) key(name string) {
	w.b = append(append(append(w.b, `,"`...), name...), `":`...)
}

func (w *writer) text(name, value string) {
	if value != "" {
		w.key(name)
		w.string(value)
	}
}

func (w *writer) number(name string, n int64) {
	if n != 0 {
		w.key(name)
		w.b = strconv.AppendInt(w.b, n, 10)
	}
}

func (w *writer) count(name string, n *int64) {
	if n != nil {
		w.key(name)
		w.b = strconv.AppendInt(w.b, *n, 10)
	}
}

func (w *writer) yes(name string, yes bool) {
	if yes {
		w.key(name)
		w.b = append(w.b, "true"...)
	}
}

func (w *writer) bytes(name string, value []byte) {
	if len(value) > 0 {
		w.key(name)
		w.b = append(w.b, '"')
		w.b = base64.StdEncoding.AppendEncode(w.b, value)
		w.b = append(w.b, '"')
	}
}

func (w *writer) seconds(name string, s Seconds) {
	if s > 0 {
		w.key(name)
		w.time(s)
	}
}

func (w *writer) time(s Seconds) {
	w.b = append(w.b, '"')
	w.b = append(s.append(w.b), '"')
}

func (w *writer) list(name string, n int, each func(i int)) {
	if n == 0 {
		return
	}
	w.key(name)
	w.b = append(w.b, '[')
	for i := range n {
		if i > 0 {
			w.b = append(w.b, ',')
		}
		each(i)
	}
	w.b = append(w.b, ']')
}

// string writes a string: quotes, backslashes and control characters are escaped, what is not
// UTF-8 is U+FFFD, and everything else stands for itself.
func (w *writer) string(s string) {
	const hex = "0123456789abcdef"
	w.b = append(w.b, '"')
	for _, r := range s { // what is not UTF-8 is utf8.RuneError here
		switch {
		case r == '"' || r == '\\':
			w.b = append(w.b, '\\', byte(r))
		case r < ' ':
			w.b = append(w.b, '\\', 'u', '0', '0', hex[r>>4], hex[r&15])
		default:
			w.b = utf8.AppendRune(w.b, r)
		}
	}
	w.b = append(w.b, '"')
}
