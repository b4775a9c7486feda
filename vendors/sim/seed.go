package sim

import (
	"encoding/json"
	"fmt"
	"io"
)

// The kinds of vendor that a Sim speaks.
const (
	CustomerGauge = "customergauge"
	Voyado        = "voyado"
	Acqueon       = "acqueon"
)

// Credentials of the accounts that a Sim has when its seed names none.
const (
	DefaultClientID     = "sim-client"
	DefaultClientSecret = "sim-secret"
	DefaultAPIKey       = "sim-api-key"
)

// Seed is what the vendors hold at the start. The package comment shows its JSON form.
type Seed struct {
	CustomerGauge []CGAccount      `json:"customergauge"`
	Voyado        []VoyadoAccount  `json:"voyado"`
	Acqueon       []AcqueonAccount `json:"acqueon"`
}

// CGAccount is one CustomerGauge account. A request belongs to it by client id and secret,
// or by API key where that is not empty.
type CGAccount struct {
	Name         string   `json:"name"`
	ClientID     string   `json:"client_id"`
	ClientSecret string   `json:"client_secret"`
	APIKey       string   `json:"api_key"`
	Records      []Record `json:"records"`
}

// Record is one CustomerGauge record: one survey sent to one person.
type Record struct {
	Number    int    `json:"number"`
	FirstName string `json:"first_name"`
	LastName  string `json:"last_name"`
	Email     string `json:"email"`
	Telephone string `json:"telephone"`
	Control   bool   `json:"control,omitempty"` // the company's own: nobody may ask for its erasure
}

// VoyadoAccount is one Voyado cluster.
type VoyadoAccount struct {
	Name   string      `json:"name"`
	APIKey string      `json:"api_key"`
	Keys   []VoyadoKey `json:"keys"`
}

// VoyadoKey is what Voyado holds of one visitor.
type VoyadoKey struct {
	Key    string   `json:"key"`
	Events int      `json:"events"`
	Linked []string `json:"linked,omitempty"`
}

// AcqueonAccount is one contact centre.
type AcqueonAccount struct {
	Name string `json:"name"`
}

// DefaultSeed has one account of each kind, with the default credentials, and no people.
func DefaultSeed() *Seed {
	s := new(Seed)
	s.complete()
	return s
}

// What finds the control record that Control adds to an account.
const (
	ControlEmail     = "control@example.org"
	ControlTelephone = "+18005550199"
)

// Control adds to each account that can be asked what it holds a record of the company's
// own.
func (s *Seed) Control() {
	s.complete()
	for i := range s.CustomerGauge {
		a := &s.CustomerGauge[i]
		a.Records = append(a.Records, Record{FirstName: "Control", LastName: "Record", Email: ControlEmail, Telephone: ControlTelephone, Control: true})
	}
	s.complete()
}

// Credentials of the accounts that Other adds.
const (
	OtherClientID = "other-client"
	OtherAPIKey   = "other-api-key"
)

// firstOther is the first of the people whom the accounts of Other know. Nobody generates
// so many for the first accounts.
const firstOther = 50_000_000

// Other adds a second account of each kind, which knows n other people and nobody of the
// first: what a program sees whose credentials are another company's.
func (s *Seed) Other(n int, seed uint64) {
	s.complete()
	cg := CGAccount{Name: "other", ClientID: OtherClientID, ClientSecret: DefaultClientSecret}
	voy := VoyadoAccount{Name: "other", APIKey: OtherAPIKey}
	for i := range n {
		p := PersonAt(seed, firstOther+i)
		cg.Records, voy.Keys = append(cg.Records, p.Records...), append(voy.Keys, p.Keys...)
	}
	s.CustomerGauge, s.Voyado = append(s.CustomerGauge, cg), append(s.Voyado, voy)
	s.Acqueon = append(s.Acqueon, AcqueonAccount{Name: "other"})
	s.complete()
}

// ReadSeed reads a seed file and fills in what it leaves out.
func ReadSeed(r io.Reader) (*Seed, error) {
	s := new(Seed)
	d := json.NewDecoder(r)
	d.DisallowUnknownFields()
	if err := d.Decode(s); err != nil {
		return nil, fmt.Errorf("seed: %w", err)
	}
	s.complete()
	if err := s.check(); err != nil {
		return nil, fmt.Errorf("seed: %w", err)
	}
	return s, nil
}

// Complete fills in what a seed that was made by hand leaves out.
func (s *Seed) Complete() { s.complete() }

// complete adds the default accounts of kinds that have none, names and numbers.
func (s *Seed) complete() {
	if len(s.CustomerGauge) == 0 {
		s.CustomerGauge = []CGAccount{{ClientID: DefaultClientID, ClientSecret: DefaultClientSecret}}
	}
	if len(s.Voyado) == 0 {
		s.Voyado = []VoyadoAccount{{APIKey: DefaultAPIKey}}
	}
	if len(s.Acqueon) == 0 {
		s.Acqueon = []AcqueonAccount{{}}
	}
	for i := range s.CustomerGauge {
		a := &s.CustomerGauge[i]
		name(&a.Name, CustomerGauge)
		taken := make(map[int]bool, len(a.Records))
		for _, r := range a.Records {
			taken[r.Number] = true
		}
		next := firstNumber
		for j := range a.Records {
			if a.Records[j].Number != 0 {
				continue
			}
			for taken[next] {
				next++
			}
			a.Records[j].Number = next
			next++
		}
	}
	for i := range s.Voyado {
		name(&s.Voyado[i].Name, Voyado)
	}
	for i := range s.Acqueon {
		name(&s.Acqueon[i].Name, Acqueon)
	}
}

const firstNumber = 10001

func name(n *string, kind string) {
	if *n == "" {
		*n = kind
	}
}

// check refuses seeds in which a request or an answer would be ambiguous.
func (s *Seed) check() error {
	seen := make(map[[2]string]bool)
	once := func(what, value string) error {
		if seen[[2]string{what, value}] {
			return fmt.Errorf("two accounts have the same %s", what)
		}
		seen[[2]string{what, value}] = true
		return nil
	}
	for _, a := range s.CustomerGauge {
		if a.ClientID == "" && a.APIKey == "" {
			return fmt.Errorf("customergauge account %q has neither client_id nor api_key", a.Name)
		}
		if err := once("customergauge name", a.Name); err != nil {
			return err
		}
		if a.ClientID != "" {
			if err := once("client_id", a.ClientID); err != nil {
				return err
			}
		}
		if a.APIKey != "" {
			if err := once("customergauge api_key", a.APIKey); err != nil {
				return err
			}
		}
		numbers := make(map[int]bool, len(a.Records))
		for _, r := range a.Records {
			if numbers[r.Number] {
				return fmt.Errorf("customergauge account %q has record %d twice", a.Name, r.Number)
			}
			numbers[r.Number] = true
		}
	}
	for _, a := range s.Voyado {
		if a.APIKey == "" {
			return fmt.Errorf("voyado account %q has no api_key", a.Name)
		}
		if err := once("voyado name", a.Name); err != nil {
			return err
		}
		if err := once("voyado api_key", a.APIKey); err != nil {
			return err
		}
		keys := make(map[string]bool, len(a.Keys))
		for _, k := range a.Keys {
			if k.Key == "" || keys[k.Key] {
				return fmt.Errorf("voyado account %q has an empty or repeated key", a.Name)
			}
			keys[k.Key] = true
		}
	}
	for _, a := range s.Acqueon {
		if err := once("acqueon name", a.Name); err != nil {
			return err
		}
	}
	return nil
}
