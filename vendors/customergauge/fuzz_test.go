package customergauge

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"expunge/vendors"
	"expunge/vendors/vendortest"
)

func seed(f *testing.F) {
	files, err := filepath.Glob(filepath.Join("..", "..", "testdata", "wire", "customergauge", "*.json"))
	if err != nil || len(files) == 0 {
		f.Fatal("no recorded answers", err)
	}
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		for _, status := range []int{200, 400, 404, 503} {
			f.Add(status, b)
		}
	}
	f.Add(200, []byte(`{"Data":[{"email":"","number_customergauge":"-"}],"total":1e9}`))
	f.Add(404, []byte(`{"total":"0","Data":{}}`))
}

func canned(t *testing.T, status int, body []byte) *Vendor {
	c := testConfig("http://127.0.0.1:1")
	onlyKey(c, "k")
	v, err := c.Open(vendors.Options{
		Name: "customergauge", Transport: vendortest.Canned{Answer: vendors.Answer{Status: status, Body: body}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return v.(*Vendor)
}

// FuzzPreviewAnswer: no answer makes the adapter panic, count records it has no numbers
// for, or keep anything that could be personal data.
func FuzzPreviewAnswer(f *testing.F) {
	seed(f)
	f.Fuzz(func(t *testing.T, status int, body []byte) {
		if status < 200 || status > 599 || status >= 300 && status < 400 {
			return // the transport lets no other through
		}
		for _, target := range []*vendors.Target{byEmail(), byTelephone()} {
			p, err := canned(t, status, body).Preview(t.Context(), target)
			if err != nil {
				vendortest.NoLeak(t, err, john())
				if e := (*vendors.Error)(nil); errors.As(err, &e) && e.Form != "" && (status == 401 || status == 403 || status == 429 || status >= 500) {
					t.Errorf("status %d may be \"nothing held\"", status)
				}
				if p.Records != 0 || p.Refs != nil {
					t.Error("a preview beside an error")
				}
				continue
			}
			if p.Records == 0 && (status != 200 && status != 404 || !strings.Contains(string(body), "total") || p.Doubt != "" || p.Hint != "") {
				t.Errorf("status %d: no match without a total of 0: %+v", status, p)
			}
			if p.Records != len(p.Refs) && p.Doubt == "" {
				t.Errorf("records that are not listed, and no doubt: %+v", p)
			}
			if !slices.IsSorted(p.Refs) || slices.ContainsFunc(p.Refs, func(r string) bool { return !isRecordNumber(r) }) {
				t.Errorf("Refs %q", p.Refs)
			}
		}
	})
}

// FuzzSubmitAnswer: no answer with anything but an object passes for acceptance.
func FuzzSubmitAnswer(f *testing.F) {
	seed(f)
	f.Fuzz(func(t *testing.T, status int, body []byte) {
		if status < 200 || status > 599 || status >= 300 && status < 400 {
			return
		}
		_, err := canned(t, status, body).Submit(t.Context(), byEmail())
		if err != nil {
			vendortest.NoLeak(t, err, john())
			return
		}
		text := strings.TrimSpace(strings.TrimPrefix(string(body), "\ufeff"))
		if status > 299 && (status != 404 || !strings.Contains(text, "total")) || text != "" && !strings.HasPrefix(text, "{") {
			t.Errorf("status %d with %d bytes passed for acceptance", status, len(body))
		}
	})
}
