package rest

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"

	"expunge/vendors"
	"expunge/vendors/auth"
)

// authOf is what a request shows: its own, or the recipe's. nil: nothing.
func (r *Recipe) authOf(q *Request) *Auth {
	if q.Auth != nil {
		return q.Auth
	}
	return r.Auth
}

// Auths are all that the recipe has.
func (r *Recipe) Auths() []*Auth {
	all := []*Auth{r.Auth, r.Erase.Request.Auth}
	if r.Preview != nil {
		all = append(all, r.Preview.Request.Auth)
	}
	if r.Status != nil {
		all = append(all, r.Status.Request.Auth)
	}
	for _, a := range slices.Clone(all) {
		if a != nil && a.Token != nil {
			all = append(all, a.Token.Request.Auth)
		}
	}
	return slices.DeleteFunc(all, func(a *Auth) bool { return a == nil })
}

// credentials makes what an auth needs besides values of the config.
func (v *Vendor) credentials(a *Auth, now func() time.Time) auth.Credentials {
	switch {
	case a.OAuth2 != nil:
		return auth.NewSource(v.name, now, v.oauth2(a.OAuth2))
	case a.Token != nil:
		return auth.NewSource(v.name, now, v.token(a.Token))
	}
	return auth.Fixed{}
}

func (v *Vendor) oauth2(o *OAuth2) auth.Fetch {
	say := func(text string) string { s, _ := parseTemplate(text).fill(v.settings); return s }
	config := clientcredentials.Config{
		ClientID: say(o.ID), ClientSecret: say(o.Secret), TokenURL: v.address(say(o.URL)).String(),
		Scopes: strings.Fields(say(o.Scope)), AuthStyle: oauth2.AuthStyleInParams,
	}
	return auth.ClientCredentials(v.name, config, v.transport.HTTPClient("token"))
}

// address is an address of the recipe's: below base, or, where the config has a base_url, at
// that host, so that credentials meant for a test server never travel to the vendor.
func (v *Vendor) address(text string) *url.URL {
	u, err := url.Parse(text)
	if err == nil && u.Host != "" && !v.moved {
		return u
	}
	if err != nil {
		u = &url.URL{}
	}
	return v.base.JoinPath(u.Path)
}

var errNoToken = errors.New("no token where the recipe says")

// token is a call that gives a token.
func (v *Vendor) token(t *Token) auth.Fetch {
	return func(ctx context.Context) (string, time.Duration, error) {
		a, err := v.call(ctx, opToken, &t.Request, v.settings, extra{}, nil)
		if failed := (*vendors.Error)(nil); errors.As(err, &failed) {
			return "", 0, auth.Unsent(v.name, failed)
		}
		if a.Status < 200 || a.Status > 299 {
			return "", 0, auth.Refusal(v.name, a)
		}
		doc, _ := decode(v.name, opToken, a) // nothing is at any path of nothing
		value, _ := text(doc, t.At)
		if !vendors.PlainToken(value, 16<<10) {
			return "", 0, auth.Unsent(v.name, &vendors.Error{Status: a.Status, Err: errNoToken})
		}
		return value, 0, nil
	}
}

// show puts the auth's values on a request. token is what its credentials gave.
func (a *Auth) show(req *http.Request, settings values, token string) error {
	if a == nil {
		return nil
	}
	v := settings.with("token", token)
	var failed error
	say := func(text string) string {
		if text == "" {
			return ""
		}
		s, err := parseTemplate(text).fill(v)
		if err != nil {
			failed = err
		}
		return s
	}
	switch {
	case a.OAuth2 != nil:
		req.Header.Set("Authorization", token)
	case a.Basic != nil:
		req.SetBasicAuth(say(a.Basic.User), say(a.Basic.Password))
	case a.Bearer != "":
		req.Header.Set("Authorization", "Bearer "+say(a.Bearer))
	case a.Token != nil && !a.carries():
		req.Header.Set("Authorization", "Bearer "+token)
	}
	for name, text := range a.Header {
		req.Header.Set(name, say(text))
	}
	if len(a.Query) > 0 {
		q := req.URL.Query()
		for name, text := range a.Query {
			q.Set(name, say(text))
		}
		req.URL.RawQuery = q.Encode()
	}
	return failed
}

// carries reports whether a header or a parameter has the token.
func (a *Auth) carries() bool {
	for _, texts := range []map[string]string{a.Header, a.Query} {
		for _, text := range texts {
			if parseTemplate(text).uses("token") {
				return true
			}
		}
	}
	return false
}
