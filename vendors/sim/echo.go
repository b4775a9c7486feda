package sim

import (
	"encoding/base64"
	"encoding/hex"
	"html"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// said returns what the request says of a person or a job.
func (c *call) said() []string {
	var all []string
	for _, v := range append([]string{c.Email, c.Telephone, c.CustomerKey, c.AccountNumber, c.JID}, c.more...) {
		if v != "" && !slices.Contains(all, v) {
			all = append(all, v)
		}
	}
	return all
}

// echo is an error that quotes the request, as careless programs do: as it came, in another
// case, encoded, in parts. Nothing has happened. The forms are given in turn.
func (s *Sim) echo(c *call) reply {
	s.turnEcho++
	said := c.said()
	var message strings.Builder
	for _, v := range said {
		back := []rune(v)
		slices.Reverse(back)
		local, domain, _ := strings.Cut(v, "@")
		for _, form := range []string{v, strings.ToUpper(v), strings.ToLower(v), url.QueryEscape(v), base64.StdEncoding.EncodeToString([]byte(v)),
			hex.EncodeToString([]byte(v)), string(back), html.EscapeString(v), local, domain, strings.Join(strings.Split(v, ""), " ")} {
			message.WriteString("'" + form + "' ")
		}
	}
	short := "Invalid value '" + strings.Join(said, "' for '") + "'"
	var rep reply
	switch {
	case c.Op == opStatus && s.turnEcho%2 == 0:
		word := "stuck"
		for _, v := range said {
			if v != c.JID {
				word = v
			}
		}
		rep = jsonReply(http.StatusOK, jobAnswer{c.JID, word})
	case s.turnEcho%4 == 0:
		rep = jsonReply(http.StatusBadRequest, s.wrap(c, short))
	case s.turnEcho%4 == 1:
		rep = jsonReply(http.StatusInternalServerError, s.wrap(c, message.String()))
	case s.turnEcho%4 == 2:
		rep = jsonReply(http.StatusConflict, s.wrap(c, "error: "+message.String()))
	default:
		page := "<!doctype html><title>" + html.EscapeString(short) + "</title><p>" + html.EscapeString(message.String())
		rep = reply{status: http.StatusBadGateway, header: map[string]string{"Content-Type": "text/html; charset=utf-8"}, body: []byte(page)}
	}
	quoted := url.QueryEscape(strings.Join(said, " "))
	for _, name := range []string{"X-Request", "Retry-After", "Server", "Warning"} {
		rep.header[name] = quoted
	}
	rep.header["Location"] = "https://elsewhere.example.com/?q=" + quoted
	rep.header["Set-Cookie"] = "q=" + quoted
	return rep
}

// wrap puts an error's text where the vendor has its own.
func (s *Sim) wrap(c *call, text string) any {
	switch c.Kind {
	case CustomerGauge:
		return map[string]any{"Error": map[string]string{"Message": text}}
	case Voyado:
		return map[string]any{"status": http.StatusBadRequest, "message": text}
	}
	return map[string]any{"error": text, "message": map[string]string{"response": text}}
}
