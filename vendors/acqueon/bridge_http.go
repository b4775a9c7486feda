package acqueon

import (
	"embed"
	"encoding/json"
	"mime"
	"net"
	"net/http"
	"strings"
	"time"
)

// pageFiles is the page: plain HTML, CSS and script, with nothing from elsewhere.
//
//go:embed page
var pageFiles embed.FS

const (
	// pollHold is how long a page's question for news stays open: below the minute after
	// which proxies and browsers lose patience.
	pollHold = 20 * time.Second

	maxPageBody = maxMessage + 4<<10
)

// handler serves the page to anybody on this machine, and everything else to the holder of
// the token only.
func (b *bridge) handler(address string) http.Handler {
	mux := http.NewServeMux()
	for _, f := range []struct{ path, name, kind string }{
		{"/{$}", "page/index.html", "text/html; charset=utf-8"},
		{"/bridge.js", "page/bridge.js", "text/javascript; charset=utf-8"},
		{"/bridge.css", "page/bridge.css", "text/css; charset=utf-8"},
	} {
		body, err := pageFiles.ReadFile(f.name)
		if err != nil {
			panic(err) // of the build, and found by any test
		}
		mux.HandleFunc("GET "+f.path, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", f.kind)
			w.Write(body) // a browser that has gone misses nothing
		})
	}
	mux.Handle("POST /v1/hello", b.api(b.serveHello))
	mux.Handle("POST /v1/poll", b.api(b.servePoll))
	mux.Handle("POST /v1/take", b.api(b.serveTake))
	mux.Handle("POST /v1/answer", b.api(b.serveAnswer))

	_, port, err := net.SplitHostPort(address)
	if err != nil {
		panic(err) // of net.Listener
	}
	policy := "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors " + b.origin
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", policy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cache-Control", "no-store")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		// A name that somebody else made point here (DNS rebinding) is not ours.
		if r.Host != address && r.Host != "localhost:"+port {
			http.Error(w, "this is not the place that you asked for", http.StatusMisdirectedRequest)
			return
		}
		mux.ServeHTTP(w, r)
	})
}

// pageRequest is what a page sends; each call uses some of it.
type pageRequest struct {
	Page    string          `json:"page"`
	Ready   bool            `json:"ready"`
	Since   uint64          `json:"since"`
	Number  uint64          `json:"n"`
	Message json.RawMessage `json:"message"`
	token   string
}

// api lets through what our own page asks with the token: no other site's page can, for
// nothing here allows another origin (CORS), and none knows the token.
func (b *bridge) api(next func(w http.ResponseWriter, r *http.Request, q *pageRequest)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		given, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		if !ok || !b.knows(given) {
			http.Error(w, "the code is not that of this run", http.StatusUnauthorized)
			return
		}
		site := r.Header.Get("Sec-Fetch-Site")
		if r.Header.Get("Origin") != "http://"+r.Host || site != "" && site != "same-origin" {
			http.Error(w, "only the bridge's own page may ask this", http.StatusForbidden)
			return
		}
		if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/json" {
			http.Error(w, "JSON is wanted", http.StatusUnsupportedMediaType)
			return
		}
		var q pageRequest
		if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxPageBody)).Decode(&q); err != nil {
			http.Error(w, "this is not a request of the page", http.StatusBadRequest)
			return
		}
		q.token = given
		next(w, r, &q)
	})
}

func reply(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(v) // a page that has gone misses nothing
}

// withPage answers 410 for a page that is not the one served (any more).
func (b *bridge) withPage(w http.ResponseWriter, q *pageRequest) *page {
	pg := b.current(q.Page)
	if pg == nil {
		http.Error(w, "another page has taken over", http.StatusGone)
	}
	return pg
}

func (b *bridge) serveHello(w http.ResponseWriter, r *http.Request, q *pageRequest) {
	id, err := b.hello(q.token, q.Page)
	switch err {
	case nil:
	case errAnother:
		http.Error(w, err.Error(), http.StatusConflict)
		return
	default:
		http.Error(w, err.Error(), http.StatusUnauthorized)
		return
	}
	topic, subtopic, _ := strings.Cut(b.register, "/")
	reply(w, map[string]any{
		"page": id, "vendor": b.name, "workspace": b.origin,
		"channel": busChannel, "source": b.source, "answer": answerSubtopic,
		"register": map[string]string{"topic": topic, "subtopic": subtopic},
	})
}

func (b *bridge) servePoll(w http.ResponseWriter, r *http.Request, q *pageRequest) {
	if pg := b.withPage(w, q); pg != nil {
		reply(w, b.poll(r.Context(), pg, q.Ready, q.Since, pollHold))
	}
}

func (b *bridge) serveTake(w http.ResponseWriter, r *http.Request, q *pageRequest) {
	pg := b.withPage(w, q)
	if pg == nil {
		return
	}
	message, ok := b.take(r.Context(), pg, q.Number)
	if !ok {
		http.Error(w, "it is not to be taken any more", http.StatusConflict)
		return
	}
	reply(w, map[string]json.RawMessage{"message": message})
}

func (b *bridge) serveAnswer(w http.ResponseWriter, r *http.Request, q *pageRequest) {
	if b.withPage(w, q) != nil {
		reply(w, map[string]bool{"response": b.box.deliver(q.Message)})
	}
}
