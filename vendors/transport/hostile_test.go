package transport

import (
	"bytes"
	"compress/gzip"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"

	"expunge/vendors"
)

// Where the certificate is trusted, the version decides: below TLS 1.2 nothing is sent.
func TestTLSVersions(t *testing.T) {
	for version, ok := range map[uint16]bool{tls.VersionTLS10: false, tls.VersionTLS11: false, tls.VersionTLS12: true, tls.VersionTLS13: true} {
		t.Run(tls.VersionName(version), func(t *testing.T) {
			s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				if !ok {
					t.Error("got a request")
				}
			}))
			s.TLS = &tls.Config{MinVersion: version, MaxVersion: version}
			s.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, 0)
			s.StartTLS()
			defer s.Close()
			roots := x509.NewCertPool()
			roots.AddCert(s.Certificate())
			tr := newTransport(t, Options{RootCAs: roots})
			_, err := tr.Do(t.Context(), "preview", request(t, "GET", s.URL))
			if ok && err != nil {
				t.Fatal(err)
			}
			if !ok {
				wantError(t, err, vendors.ErrNotSent)
			}
		})
	}
}

// An answer that grows when it is unpacked is not unpacked: what counts against the limit
// is what is held.
func TestCompressedAnswer(t *testing.T) {
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	if _, err := io.Copy(z, io.LimitReader(zeros{}, 64<<20)); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if got := r.Header.Get("Accept-Encoding"); got != "" {
			t.Errorf("asked for %s", got)
		}
		w.Header().Set("Content-Encoding", "gzip")
		w.Write(packed.Bytes())
	})
	tr := newTransport(t, Options{})
	a, err := tr.Do(t.Context(), "preview", request(t, "GET", s.URL))
	if err != nil || !bytes.Equal(a.Body, packed.Bytes()) {
		t.Fatalf("%v: the answer is not what was sent", err)
	}
	if err := DecodeJSON("v", "preview", a, &struct{}{}); !errors.Is(err, vendors.ErrUnreadable) {
		t.Errorf("%v, want ErrUnreadable", err)
	}
}
