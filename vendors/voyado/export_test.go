package voyado

import (
	"bytes"
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"expunge/vendors"
	"expunge/vendors/vendortest"
)

// recipient is a public key made for these tests; nobody has kept the other one.
const recipient = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p"

// TestExportRequests pins what leaves for an export.
func TestExportRequests(t *testing.T) {
	for _, test := range []struct {
		golden, api string
		fetch       bool
	}{
		{"export-v2.http", "v2", false},
		{"export-v3.http", "admin/v3", false},
		{"export-v4.http", "admin/v4", false},
		{"result-v2.http", "v2", true},
		{"result-v4.http", "admin/v4", true},
	} {
		t.Run(test.golden, func(t *testing.T) {
			server := vendortest.NewServer(t, wire(t, "export-created.json"))
			c := testConfig(server.URL)
			c.API = test.api
			v := open(t, c, vendortest.NewTransport(t, "voyado-se", 0))
			var err error
			if test.fetch {
				err = v.FetchExport(t.Context(), target(), &bytes.Buffer{})
			} else {
				_, err = v.CreateExport(t.Context(), target())
			}
			got := server.Got()
			if err != nil || len(got) != 1 {
				t.Fatalf("%d requests, %v", len(got), err)
			}
			vendortest.Golden(t, "voyado/"+test.golden, got[0], "Accept", "Api-Key", "Content-Type")
		})
	}
}

// TestFetchExport: a result arrives as it is, and what is none is an error: a page of an
// error kept as somebody's data would end the only chance to fetch it.
func TestFetchExport(t *testing.T) {
	zip := vendortest.Wire(t, "voyado/export-result.zip")
	for _, test := range []struct {
		name   string
		answer http.HandlerFunc
		want   string
		kind   error
	}{
		{"a result", func(w http.ResponseWriter, r *http.Request) { w.Write([]byte(zip)) }, zip, nil},
		{"gone", vendortest.Reply(404, `{"status":404,"message":"No such export job"}`), "", errNoResult},
		{"not done", vendortest.Reply(400, `{"status":400,"message":"The export job is not done"}`), "", vendors.ErrRefused},
		{"wrong key", wireStatus(t, 403, "error-key.json"), "", vendors.ErrAuth},
		{"down", vendortest.Reply(503, ""), "", vendors.ErrUnavailable},
	} {
		t.Run(test.name, func(t *testing.T) {
			v, _ := serve(t, test.answer)
			var got strings.Builder
			err := v.FetchExport(t.Context(), target(), &got)
			if test.kind == nil && err != nil || !errors.Is(err, test.kind) {
				t.Errorf("%v, want %v", err, test.kind)
			}
			if diff := cmp.Diff(test.want, got.String()); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

func wireStatus(t *testing.T, status int, name string) http.HandlerFunc {
	return vendortest.Reply(status, vendortest.Wire(t, "voyado/"+name))
}

// TestExportConfig: an export is never asked for that could not be kept, and a secret key
// in the wrong place is not repeated.
func TestExportConfig(t *testing.T) {
	c := testConfig("")
	if x := open(t, c, nil).Exports(); x.Mode != vendors.NoExport || x.Dir != "exports" {
		t.Errorf("defaults: %+v", x)
	}
	for word, want := range map[string]vendors.ExportMode{"false": vendors.NoExport, "true": vendors.ExportFirst, "Required": vendors.ExportRequired} {
		c := testConfig("")
		c.ExportRecipients = []string{recipient}
		if err := c.Export.UnmarshalText([]byte(word)); err != nil {
			t.Fatal(err)
		}
		if x := open(t, c, nil).Exports(); x.Mode != want || x.Mode.String() != strings.ToLower(word) || x.FetchWithin.Hours() != 7*24 {
			t.Errorf("%s: %+v", word, x)
		}
	}
	const secret = "AGE-SECRET-KEY-1QQQSYQCYQ5RQWZQFPG9SCRGWPUGPZYSNZS23V9CCRYDPK8QARC0SSLP8DC"
	for _, test := range []struct {
		key    string
		change func(*Config)
	}{
		{"export_recipients", func(c *Config) { c.ExportRecipients = nil }},
		{"export_recipients", func(c *Config) { c.ExportRecipients = []string{""} }},
		{"export_recipients", func(c *Config) { c.ExportRecipients = []string{recipient[:40]} }},
		{"export_recipients", func(c *Config) { c.ExportRecipients = []string{recipient, secret} }},
		{"export_recipients", func(c *Config) { c.ExportRecipients = []string{recipient + "\n" + recipient} }},
		{"export_dir", func(c *Config) { c.ExportDir = "" }},
	} {
		c := testConfig("")
		c.Export, c.ExportRecipients = vendors.ExportRequired, []string{recipient}
		test.change(c)
		var e *vendors.KeyError
		if err := c.Validate(); !errors.As(err, &e) || e.Key != test.key || strings.Contains(e.Error()+e.Hint, secret) {
			t.Errorf("%v, want a problem with %s that quotes no secret", err, test.key)
		}
	}
	var m vendors.ExportMode
	if err := m.UnmarshalText([]byte("perhaps")); err == nil {
		t.Error("export: perhaps is accepted")
	}
}
