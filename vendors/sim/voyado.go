package sim

import (
	"archive/zip"
	"bytes"
	"container/heap"
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"slices"
	"strings"
	"time"
)

// voyadoBases are the paths of the API versions, oldest first.
var voyadoBases = [...]string{"/api/v2/event-data/", "/api/admin/v3/event-data/", "/api/admin/v4/event-data/"}

// resultDays is for how long after it is done an export can be fetched.
const resultDays = 7

// voyVendor is Voyado: jobs on archived data, which take days. Its times are simulated days.
// (VENDORS.md; vendor-docs/voyado-remove-customer-data.txt)
type voyVendor struct {
	s        *Sim
	accounts []*voyAccount
	events   eventHeap // what is going to happen to data, soonest first
}

type voyAccount struct {
	name   string
	apiKey string
	keys   map[string]*voyKey
	order  []string
	jobs   map[string]*voyJob
	made   []*voyJob
}

type voyKey struct {
	VoyadoKey
	removed bool
}

type voyJob struct {
	account    *voyAccount
	jid, key   string
	export     bool
	word       string    // the status right after creation
	fault      FaultKind // what is wrong with this job
	created    float64
	begins     float64
	done       float64
	finished   bool // a removal has removed, an export is complete
	downloaded bool
	held       []VoyadoKey // an export: what it found
}

// jobEvent is a job's begin, when an export looks at the data, or its end.
type jobEvent struct {
	at  float64
	seq int // jobs made earlier go first
	job *voyJob
	end bool
}

type eventHeap []jobEvent

func (h eventHeap) Len() int { return len(h) }
func (h eventHeap) Less(i, j int) bool {
	return h[i].at < h[j].at || h[i].at == h[j].at && h[i].seq < h[j].seq
}
func (h eventHeap) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h *eventHeap) Push(x any)   { *h = append(*h, x.(jobEvent)) }
func (h *eventHeap) Pop() any {
	old := *h
	last := old[len(old)-1]
	*h = old[:len(old)-1]
	return last
}

func newVoyado(s *Sim, seeds []VoyadoAccount) *voyVendor {
	v := &voyVendor{s: s}
	for _, seed := range seeds {
		a := &voyAccount{
			name: seed.Name, apiKey: seed.APIKey,
			keys: make(map[string]*voyKey, len(seed.Keys)), jobs: make(map[string]*voyJob),
		}
		for _, k := range seed.Keys {
			a.keys[k.Key] = &voyKey{VoyadoKey: k}
			a.order = append(a.order, k.Key)
		}
		v.accounts = append(v.accounts, a)
	}
	return v
}

// call understands a request below one of the bases; nil: no such call.
func (v *voyVendor) call(r *http.Request, base, name string) *call {
	var account *voyAccount
	for _, a := range v.accounts {
		if r.Header.Get("Api-Key") == a.apiKey {
			account = a
		}
	}
	query := r.URL.Query()
	key, jid := query.Get("customerKey"), query.Get("jid")
	c := &call{Entry: Entry{Kind: Voyado}}
	if account != nil {
		c.Account = account.name
	}
	var do func() reply
	switch r.Method + " " + name {
	case "POST create-remove-customer-job":
		c.Op, c.Changes, c.CustomerKey = opRemoval, true, key
		do = func() reply { return v.create(account, base, key, false, c.fault) }
	case "POST create-export-customer-job":
		c.Op, c.Changes, c.CustomerKey = opExport, true, key
		do = func() reply { return v.create(account, base, key, true, c.fault) }
	case "GET job-status":
		c.Op, c.JID = opStatus, jid
		if account != nil && account.jobs[jid] != nil {
			c.more = []string{account.jobs[jid].key}
		}
		do = func() reply { return v.jobStatus(account, jid, c.fault) }
	case "GET export-customer-job-result":
		c.Op, c.JID = opResult, jid
		do = func() reply { return v.result(account, jid) }
	default:
		return nil
	}
	c.do = func() reply {
		if account == nil {
			return voyError(http.StatusForbidden, "Incorrect cluster credentials")
		}
		v.settle()
		return do()
	}
	return c
}

func voyError(status int, message string) reply {
	return jsonReply(status, map[string]any{"status": status, "message": message})
}

type jobAnswer struct {
	JID    string `json:"jid"`
	Status string `json:"status"`
}

// create makes a job for any key, known or not: the vendor looks at the data only later.
func (v *voyVendor) create(a *voyAccount, base, key string, export bool, fault FaultKind) reply {
	if strings.TrimSpace(key) == "" {
		return voyError(http.StatusBadRequest, "Invalid or missing argument: customerKey")
	}
	now := v.s.days()
	j := &voyJob{account: a, jid: uuid(v.s.rng), key: key, export: export, word: "created", created: now}
	if base == voyadoBases[0] && !export {
		j.word = "started"
	}
	switch fault {
	case JobError, JobLost, JobPaused, JobStuck, JobForgotten:
		j.fault = fault
	}
	// It starts when the day it was created on has been archived, and runs some hours.
	j.begins = math.Floor(now) + float64(v.s.o.ArchiveDays)
	hours := 3 + v.s.rng.IntN(6)
	if export {
		hours = 1 + v.s.rng.IntN(2)
	}
	j.done = j.begins + float64(hours)/24
	if j.fault == JobPaused {
		j.done++
	}
	shown := j.jid
	if fault == RepeatedID {
		if i := slices.IndexFunc(a.made, func(first *voyJob) bool { return first.export == export }); i >= 0 {
			shown = a.made[i].jid
		}
	}
	a.jobs[j.jid] = j
	a.made = append(a.made, j)
	if j.fault == NoFault || j.fault == JobPaused || j.fault == JobForgotten {
		seq := int(v.s.seq)
		heap.Push(&v.events, jobEvent{at: j.begins, seq: seq, job: j})
		heap.Push(&v.events, jobEvent{at: j.done, seq: seq, job: j, end: true})
	}
	rep := jsonReply(http.StatusOK, jobAnswer{shown, j.word})
	rep.effect, rep.reference = true, j.jid
	return rep
}

// settle lets everything happen that is due on the simulated clock.
func (v *voyVendor) settle() {
	now := v.s.days()
	for len(v.events) > 0 && v.events[0].at <= now {
		e := heap.Pop(&v.events).(jobEvent)
		j := e.job
		switch {
		case e.end:
			j.finished = true
			if !j.export {
				for _, k := range j.account.reach(j.key) {
					k.removed = true
				}
			}
		case j.export:
			for _, k := range j.account.reach(j.key) {
				j.held = append(j.held, k.VoyadoKey)
			}
		}
	}
}

// reach returns a key and everything linked to it, as far as they still hold data.
func (a *voyAccount) reach(key string) []*voyKey {
	var found []*voyKey
	seen := map[string]bool{key: true}
	for queue := []string{key}; len(queue) > 0; queue = queue[1:] {
		k := a.keys[queue[0]]
		if k == nil || k.removed {
			continue
		}
		found = append(found, k)
		for _, l := range k.Linked {
			if !seen[l] {
				seen[l] = true
				queue = append(queue, l)
			}
		}
	}
	return found
}

// status is what the vendor says of a job now.
func (v *voyVendor) status(j *voyJob) string {
	now := v.s.days()
	switch {
	case j.fault == JobLost && now >= math.Floor(j.created)+1,
		j.fault == JobForgotten && now >= j.done,
		j.downloaded,
		j.export && now >= j.done+resultDays:
		return "not_found"
	case now < j.created+1.0/24 && now < j.begins:
		return j.word
	case now < j.begins:
		return "waiting"
	case j.fault == JobPaused && now < j.done:
		return "paused"
	case j.fault == JobStuck || now < j.done:
		return "running"
	case j.fault == JobError:
		return "error"
	}
	return "done"
}

func (v *voyVendor) jobStatus(a *voyAccount, jid string, fault FaultKind) reply {
	if jid == "" {
		return voyError(http.StatusBadRequest, "Invalid or missing argument: jid")
	}
	if fault == WrongJID {
		return jsonReply(http.StatusOK, jobAnswer{uuid(v.s.rng), "done"})
	}
	j := a.jobs[jid]
	if j == nil {
		return jsonReply(http.StatusOK, jobAnswer{jid, "not_found"})
	}
	return jsonReply(http.StatusOK, jobAnswer{jid, v.status(j)})
}

// result is an export's zip. What an export that cannot be fetched answers is not
// documented: 404 when there is no such export (any more), 400 when it is not done.
func (v *voyVendor) result(a *voyAccount, jid string) reply {
	j := a.jobs[jid]
	switch {
	case jid == "":
		return voyError(http.StatusBadRequest, "Invalid or missing argument: jid")
	case j == nil || !j.export || v.status(j) == "not_found":
		return voyError(http.StatusNotFound, "No such export job")
	case v.status(j) != "done":
		return voyError(http.StatusBadRequest, "The export job is not done")
	}
	return reply{
		status: http.StatusOK,
		header: map[string]string{
			"Content-Type":        "application/zip",
			"Content-Disposition": `attachment; filename="` + jid + `.zip"`,
		},
		body:      v.zip(j),
		delivered: func() { j.downloaded = true },
	}
}

// zip holds one file of JSON lines per sort of event, or empty.txt.
func (v *voyVendor) zip(j *voyJob) []byte {
	sorts := []string{"recent_views.jsonl", "recent_atc.jsonl", "recent_payments.jsonl"}
	lines := make(map[string]*bytes.Buffer)
	for _, k := range j.held {
		for n := range k.Events {
			file := sorts[n%len(sorts)]
			if lines[file] == nil {
				lines[file] = new(bytes.Buffer)
			}
			at := v.s.simTime(j.created).AddDate(0, 0, -n-1)
			line, err := json.Marshal(map[string]string{
				"time": at.Format(time.RFC3339), "customerKey": k.Key, "productKey": fmt.Sprintf("product-%d", n+1),
			})
			if err != nil {
				panic(err) // strings only: a mistake in this package
			}
			lines[file].Write(append(line, '\n'))
		}
	}
	var out bytes.Buffer
	z := zip.NewWriter(&out)
	add := func(name string, content []byte) {
		f, err := z.Create(name)
		if err == nil {
			_, err = f.Write(content)
		}
		if err != nil {
			panic(err) // a buffer takes everything
		}
	}
	for _, file := range sorts {
		if b := lines[file]; b != nil {
			add(file, b.Bytes())
		}
	}
	if len(lines) == 0 {
		add("empty.txt", nil)
	}
	if err := z.Close(); err != nil {
		panic(err) // a buffer takes everything
	}
	return out.Bytes()
}
