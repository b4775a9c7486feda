package sim

import (
	"encoding/json"
	"fmt"
	"mime"
	"net/http"
	"net/mail"
	"net/url"
	"slices"
	"strings"
	"time"

	"expunge/vendors"
)

// cgVendor is CustomerGauge: synchronous, and its act cannot be undone.
// (VENDORS.md; vendor-docs/customergauge-*.txt)
type cgVendor struct {
	s        *Sim
	accounts []*cgAccount
	tokens   map[string]cgToken
	sweep    time.Time // when expired tokens are dropped next
	slow     []slowAct // acts that are still to come, of calls that were accepted
}

type slowAct struct {
	at     time.Time
	record *cgRecord
}

type cgToken struct {
	account *cgAccount
	expires time.Time
}

type cgAccount struct {
	CGAccount
	records []cgRecord
	byEmail map[string][]int // lower-cased email to indexes of records
	byPhone map[string][]int // telephone (its digits with MatchDigits) to indexes
	written map[string]bool  // identifiers for which an anonymize call has arrived
}

type cgRecord struct {
	Record
	anonymized bool
}

func newCG(s *Sim, seeds []CGAccount) *cgVendor {
	v := &cgVendor{s: s, tokens: make(map[string]cgToken)}
	for _, seed := range seeds {
		a := &cgAccount{CGAccount: seed, byEmail: make(map[string][]int), byPhone: make(map[string][]int), written: make(map[string]bool)}
		a.CGAccount.Records = nil
		a.records = make([]cgRecord, len(seed.Records))
		for i, r := range seed.Records {
			a.records[i] = cgRecord{Record: r}
			if r.Email != "" {
				k := strings.ToLower(r.Email)
				a.byEmail[k] = append(a.byEmail[k], i)
			}
			if r.Telephone != "" {
				k := v.phoneKey(r.Telephone)
				a.byPhone[k] = append(a.byPhone[k], i)
			}
		}
		v.accounts = append(v.accounts, a)
	}
	return v
}

func (v *cgVendor) phoneKey(telephone string) string {
	if v.s.o.MatchDigits {
		return vendors.Digits(telephone)
	}
	return telephone
}

// matching returns the indexes of the records that an email or a telephone finds now.
func (v *cgVendor) matching(a *cgAccount, email, telephone string) []int {
	v.settle()
	found := a.byEmail[strings.ToLower(email)]
	if telephone != "" {
		found = a.byPhone[v.phoneKey(telephone)]
	}
	var live []int
	for _, i := range found {
		if !a.records[i].anonymized {
			live = append(live, i)
		}
	}
	return live
}

// tokenCall is the client credentials grant, with the credentials in the form.
func (v *cgVendor) tokenCall(r *http.Request, body []byte) *call {
	form, _ := url.ParseQuery(string(body)) // what cannot be read is missing
	c := &call{Entry: Entry{Kind: CustomerGauge, Op: opToken}}
	var account *cgAccount
	for _, a := range v.accounts {
		if a.ClientID != "" && form.Get("client_id") == a.ClientID && form.Get("client_secret") == a.ClientSecret {
			account, c.Account = a, a.Name
		}
	}
	c.do = func() reply {
		switch {
		case !isForm(r) || form.Get("grant_type") != "client_credentials":
			return jsonReply(http.StatusBadRequest, map[string]string{"error": "unsupported_grant_type"})
		case account == nil:
			return jsonReply(http.StatusUnauthorized, map[string]string{"error": "invalid_client"})
		}
		now := v.s.now()
		if !now.Before(v.sweep) {
			for t, held := range v.tokens {
				if !now.Before(held.expires) {
					delete(v.tokens, t)
				}
			}
			v.sweep = now.Add(v.s.o.TokenTTL)
		}
		token := "sim-" + uuid(v.s.rng)
		v.tokens[token] = cgToken{account, now.Add(v.s.o.TokenTTL)}
		return jsonReply(http.StatusOK, map[string]any{
			"access_token": token, "token_type": "Bearer", "expires_in": int(v.s.o.TokenTTL.Seconds()),
		})
	}
	return c
}

// authorize finds the account of a request: by a token that has not expired, or by an API
// key, alone or after a scheme word.
func (v *cgVendor) authorize(r *http.Request) (a *cgAccount, token string) {
	header := r.Header.Get("Authorization")
	word, rest, two := strings.Cut(header, " ")
	if two && strings.EqualFold(word, "Bearer") {
		if t, ok := v.tokens[rest]; ok && v.s.now().Before(t.expires) {
			return t.account, rest
		}
	}
	key := header
	if two {
		key = rest
	}
	for _, a := range v.accounts {
		if a.APIKey != "" && key == a.APIKey {
			return a, ""
		}
	}
	return nil, rest
}

// anonymizeCall is the v4.1 resource: GET looks, POST takes. The parameter may come in the
// query or in a form, which the vendor's example sends even with GET.
func (v *cgVendor) anonymizeCall(r *http.Request, body []byte) *call {
	params := r.URL.Query()
	if isForm(r) {
		if form, err := url.ParseQuery(string(body)); err == nil {
			for k, vs := range form {
				params[k] = append(params[k], vs...)
			}
		}
	}
	return v.contactCall(r, params.Get("email"), params.Get("telephone"), r.Method == http.MethodPost)
}

// anonymizeCallV6 is the newer resource: the same act, asked for in JSON.
func (v *cgVendor) anonymizeCallV6(r *http.Request, body []byte) *call {
	var in struct{ Email, Phone string }
	if err := json.Unmarshal(body, &in); err != nil || !isType(r, "application/json") {
		in.Email, in.Phone = "", ""
	}
	return v.contactCall(r, in.Email, in.Phone, true)
}

func (v *cgVendor) contactCall(r *http.Request, email, telephone string, change bool) *call {
	c := &call{Entry: Entry{Kind: CustomerGauge, Op: opPreview, Changes: change, Email: email, Telephone: telephone}}
	if change {
		c.Op = opAnonymize
	}
	account, token := v.authorize(r)
	c.token = token
	if account != nil {
		c.Account = account.Name
		who := strings.ToLower(email) + " " + telephone
		if change {
			account.written[who] = true
		}
		c.verify = !change && account.written[who]
	}
	c.do = func() reply {
		// Asked again: a fault may have revoked the token since.
		account, _ := v.authorize(r)
		switch {
		case account == nil:
			return cgError(http.StatusUnauthorized, "The access token is invalid or has expired")
		case (email == "") == (telephone == ""):
			return cgError(v.s.o.CGErrorStatus, "Please make an API request by email or telephone")
		case email != "" && !validEmail(email):
			return cgError(v.s.o.CGErrorStatus, "Email is not valid")
		}
		found := v.matching(account, email, telephone)
		if c.fault == Nobody {
			found = nil
		}
		var taken []Record
		if change {
			for _, i := range found {
				r := &account.records[i]
				taken = append(taken, r.Record)
				if c.slow > 0 {
					v.slow = append(v.slow, slowAct{v.s.now().Add(c.slow), r})
				} else {
					v.anonymize(r)
				}
			}
		}
		rep := v.answer(account, found)
		rep.effect, rep.records = len(taken) > 0, taken
		if !change && c.fault != Nobody {
			rep.looked, rep.found = true, len(found)
		}
		return rep
	}
	return c
}

// settle lets the acts happen that were to come by now.
func (v *cgVendor) settle() {
	now := v.s.now()
	v.slow = slices.DeleteFunc(v.slow, func(a slowAct) bool {
		due := !a.at.After(now)
		if due && !a.record.anonymized {
			v.anonymize(a.record)
		}
		return due
	})
}

// anonymize does what the vendor's guide lists for the fields that a preview shows. The
// record's number stays.
func (v *cgVendor) anonymize(r *cgRecord) {
	r.FirstName, r.LastName, r.Telephone = "***", "***", "***"
	r.Email = fmt.Sprintf("%012x@example.net", v.s.rng.Uint64()>>16)
	r.anonymized = true
}

type cgAnswer struct {
	Data  []cgContact `json:"Data"`
	Total any         `json:"total"`
}

type cgContact struct {
	FirstName string `json:"first_name"`
	LastName  string `json:"last_name"`
	Email     string `json:"email"`
	Telephone string `json:"sms_telephone"`
	Number    any    `json:"number_customergauge"`
}

func (v *cgVendor) answer(a *cgAccount, found []int) reply {
	if len(found) == 0 {
		switch v.s.o.NoMatch {
		case NoMatchMissing:
			return jsonReply(http.StatusOK, map[string]int{"total": 0})
		case NoMatch404:
			return jsonReply(http.StatusNotFound, cgAnswer{Data: []cgContact{}, Total: 0})
		}
		return jsonReply(http.StatusOK, cgAnswer{Data: []cgContact{}, Total: 0})
	}
	ans := cgAnswer{Total: v.numeral(len(found))}
	for _, i := range found {
		r := a.records[i]
		ans.Data = append(ans.Data, cgContact{
			FirstName: r.FirstName, LastName: r.LastName, Email: r.Email, Telephone: r.Telephone, Number: v.numeral(r.Number),
		})
	}
	return jsonReply(http.StatusOK, ans)
}

// numeral writes a number as the vendor does: as a string, as on its page, or as a number.
func (v *cgVendor) numeral(n int) any {
	if v.s.rng.IntN(2) == 0 {
		return itoa(n)
	}
	return n
}

func cgError(status int, message string) reply {
	return jsonReply(status, map[string]any{"Error": map[string]string{"Message": message}})
}

func jsonReply(status int, v any) reply {
	body, err := json.Marshal(v)
	if err != nil {
		panic(err) // our own types: a mistake in this package
	}
	return reply{status: status, header: map[string]string{"Content-Type": "application/json"}, body: body}
}

func validEmail(email string) bool {
	a, err := mail.ParseAddress(email)
	return err == nil && a.Address == email && strings.Contains(email[strings.LastIndexByte(email, '@')+1:], ".")
}

func isForm(r *http.Request) bool { return isType(r, "application/x-www-form-urlencoded") }

func isType(r *http.Request, want string) bool {
	got, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	return err == nil && got == want
}
