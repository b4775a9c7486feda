package sim

import (
	"encoding/csv"
	"encoding/json"
	"net/http"
	"strconv"
	"time"
)

// Remaining is what the vendors hold now, by account name.
type Remaining struct {
	SimDay        float64                 `json:"sim_day"`      // simulated days since the start
	MatchDigits   bool                    `json:"match_digits"` // how CustomerGauge compares telephones
	CustomerGauge map[string][]HeldRecord `json:"customergauge"`
	Voyado        map[string]HeldVoyado   `json:"voyado"`
	Acqueon       map[string][]Ticket     `json:"acqueon"`
	Rest          map[string]HeldRest     `json:"rest"`     // by recipe
	Names         map[string][]string     `json:"accounts"` // by kind, in the seed's order
}

// HeldRecord is one CustomerGauge record, anonymized or not.
type HeldRecord struct {
	Record
	Anonymized bool `json:"anonymized"`
}

// HeldRest is one vendor that a recipe describes.
type HeldRest struct {
	KnownBy []string     `json:"known_by"`
	Once    bool         `json:"once"` // a request made twice may do harm
	Records []HeldRecord `json:"records"`
	Jobs    []HeldJob    `json:"jobs"` // all that were ever made
}

// HeldVoyado is one Voyado account.
type HeldVoyado struct {
	Keys []VoyadoKey `json:"keys"` // that still hold data
	Jobs []HeldJob   `json:"jobs"` // all that were ever made
}

// HeldJob is one Voyado job.
type HeldJob struct {
	JID      string    `json:"jid"`
	Key      string    `json:"key"`
	Export   bool      `json:"export"`
	Status   string    `json:"status"`   // what the vendor answers now
	Finished bool      `json:"finished"` // what is true: the data is removed, or the export complete
	Fault    FaultKind `json:"fault,omitempty"`
	Created  time.Time `json:"created"` // simulated times
	Begins   time.Time `json:"begins"`
	Done     time.Time `json:"done"`
}

// Remaining returns what the vendors hold now.
func (s *Sim) Remaining() Remaining {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.voy.settle()
	s.cg.settle()
	r := Remaining{
		SimDay: s.days(), MatchDigits: s.o.MatchDigits,
		CustomerGauge: make(map[string][]HeldRecord), Voyado: make(map[string]HeldVoyado),
		Acqueon: make(map[string][]Ticket), Rest: make(map[string]HeldRest), Names: make(map[string][]string),
	}
	for _, a := range s.cg.accounts {
		r.Names[CustomerGauge] = append(r.Names[CustomerGauge], a.Name)
		held := []HeldRecord{}
		for _, rec := range a.records {
			held = append(held, HeldRecord{rec.Record, rec.anonymized})
		}
		r.CustomerGauge[a.Name] = held
	}
	for _, a := range s.voy.accounts {
		r.Names[Voyado] = append(r.Names[Voyado], a.name)
		h := HeldVoyado{Keys: []VoyadoKey{}, Jobs: []HeldJob{}}
		for _, k := range a.order {
			if !a.keys[k].removed {
				h.Keys = append(h.Keys, a.keys[k].VoyadoKey)
			}
		}
		for _, j := range a.made {
			h.Jobs = append(h.Jobs, HeldJob{
				JID: j.jid, Key: j.key, Export: j.export, Status: s.voy.status(j), Finished: j.finished, Fault: j.fault,
				Created: s.simTime(j.created), Begins: s.simTime(j.begins), Done: s.simTime(j.done),
			})
		}
		r.Voyado[a.name] = h
	}
	for _, a := range s.acq.accounts {
		r.Names[Acqueon] = append(r.Names[Acqueon], a.name)
		tickets := []Ticket{}
		for _, t := range a.tickets {
			tickets = append(tickets, *t)
		}
		r.Acqueon[a.name] = tickets
	}
	for _, t := range s.twins {
		r.Names[Rest] = append(r.Names[Rest], t.r.Name)
		r.Rest[t.r.Name] = t.remaining()
	}
	return r
}

func (s *Sim) adminMux() *http.ServeMux {
	m := http.NewServeMux()
	m.HandleFunc("GET /_sim/healthz", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	m.HandleFunc("GET /_sim/ledger", func(w http.ResponseWriter, r *http.Request) {
		since, ok := number(w, r, "since", "0")
		if !ok {
			return
		}
		if s.o.NoLedger {
			http.Error(w, "this simulator keeps no ledger", http.StatusNotFound)
			return
		}
		writeJSON(w, s.Ledger(int64(since)))
	})
	m.HandleFunc("GET /_sim/records", func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, s.Remaining()) })
	m.HandleFunc("GET /_sim/pace", func(w http.ResponseWriter, r *http.Request) {
		rate, ok := number(w, r, "rate", "")
		if !ok {
			return
		}
		burst, ok := number(w, r, "burst", "1")
		if !ok {
			return
		}
		writeJSON(w, s.Pace(r.FormValue("kind"), r.FormValue("account"), rate, burst))
	})
	m.HandleFunc("GET /_sim/arrivals", func(w http.ResponseWriter, r *http.Request) {
		at := s.arrivalTimes(r.FormValue("kind"), r.FormValue("account"))
		seconds := make([]float64, len(at))
		for i, t := range at {
			seconds[i] = (t - at[0]).Seconds()
		}
		writeJSON(w, seconds)
	})
	m.HandleFunc("GET /_sim/faults", func(w http.ResponseWriter, _ *http.Request) {
		s.mu.Lock()
		f := faultList{Faults: []string{}}
		for _, r := range s.rules {
			f.Faults = append(f.Faults, r.text)
		}
		s.mu.Unlock()
		writeJSON(w, f)
	})
	m.HandleFunc("POST /_sim/faults", func(w http.ResponseWriter, r *http.Request) {
		var f faultList
		d := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody))
		d.DisallowUnknownFields()
		err := d.Decode(&f)
		if err == nil {
			err = s.SetFaults(f.Faults...)
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		w.WriteHeader(http.StatusNoContent)
	})
	m.HandleFunc("POST /_sim/advance", func(w http.ResponseWriter, r *http.Request) {
		days, ok := number(w, r, "days", "")
		if !ok {
			return
		}
		s.Advance(days)
		w.WriteHeader(http.StatusNoContent)
	})
	m.HandleFunc("POST /_sim/acqueon/complete", func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		writeJSON(w, map[string]int{"completed": s.Complete(q.Get("account"), q.Get("reference"))})
	})
	m.HandleFunc("POST /_sim/acqueon/decline", func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		writeJSON(w, map[string]int{"declined": s.Decline(q.Get("account"), q.Get("reference"))})
	})
	m.HandleFunc("GET /_sim/acqueon/confirmations.csv", s.confirmations)
	return m
}

type faultList struct {
	Faults []string `json:"faults"`
}

// confirmations is the file that `expunge confirm` takes in: every finished ticket. There is
// a column of outcomes where some were declined.
func (s *Sim) confirmations(w http.ResponseWriter, r *http.Request) {
	vendor := r.FormValue("vendor")
	if vendor == "" {
		vendor = Acqueon
	}
	account := r.FormValue("account")
	w.Header().Set("Content-Type", "text/csv; charset=utf-8")
	c := csv.NewWriter(w)
	defer c.Flush() // a client that has left misses nothing
	rows, declined := [][]string{{"vendor", "reference", "completed_at", "outcome"}}, false
	s.mu.Lock()
	for _, a := range s.acq.accounts {
		if account != "" && a.name != account {
			continue
		}
		for _, t := range a.tickets {
			switch {
			case t.CompletedAt != nil:
				rows = append(rows, []string{vendor, t.Reference, t.CompletedAt.Format(time.RFC3339), "done"})
			case t.DeclinedAt != nil:
				rows, declined = append(rows, []string{vendor, t.Reference, t.DeclinedAt.Format(time.RFC3339), "declined"}), true
			}
		}
	}
	s.mu.Unlock()
	for _, row := range rows {
		if !declined {
			row = row[:3]
		}
		_ = c.Write(row)
	}
}

// number reads a parameter that must be a finite number of at least zero.
func number(w http.ResponseWriter, r *http.Request, name, otherwise string) (float64, bool) {
	text := r.FormValue(name)
	if text == "" {
		text = otherwise
	}
	n, err := strconv.ParseFloat(text, 64)
	if err != nil || !(n >= 0 && n < 1e15) {
		http.Error(w, name+" must be a number", http.StatusBadRequest)
		return 0, false
	}
	return n, true
}

func writeJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v) // a client that has left misses nothing
}
