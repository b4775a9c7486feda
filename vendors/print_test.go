package vendors_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"expunge/vendors"
)

// wrapped keeps a credential where fmt calls no method on it.
type wrapped struct{ secret vendors.Secret }

// TestPrintingHidesPeople: whatever prints, logs or encodes a subject, a target, a failed
// call or a credential shows none of it. One %v in an error would put a person into a log.
func TestPrintingHidesPeople(t *testing.T) {
	const secret = "s3cr3t-value"
	s := vendors.Subject{
		{Field: vendors.Email, Text: "johndoe@example.com"},
		{Field: vendors.Telephone, Text: "+1 202 555 0142"},
		{Field: vendors.CustomerName, Text: "Johanna Doe"},
		{Field: vendors.CustomerKey, Text: "jxxnxxe", Masked: true},
	}
	target := vendors.Target{Ref: vendors.Ref{Field: vendors.Email}, Subject: s}
	failed := &vendors.Error{Vendor: "v", Op: "preview", Kind: vendors.ErrRefused, Message: "no such person: johndoe@example.com"}
	key := vendors.NewSecret(secret)
	for name, v := range map[string]any{
		"value": s[0], "subject": s, "target": target, "pointer": &target, "list": []*vendors.Value{&s[0]},
		"map": map[string]vendors.Value{"a": s[1]}, "error": failed, "copy of an error": *failed, //nolint:govet // the copy is the point
		"joined": errors.Join(failed), "secret": key, "secrets": map[string]vendors.Secret{"a": key},
		"unexported": wrapped{secret: key},
	} {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
				fmt.Fprintf(&out, verb+"\n", v)
			}
			if b, err := json.Marshal(v); err == nil {
				out.Write(b)
			}
			slog.New(slog.NewTextHandler(&out, nil)).Info("x", "v", v)
			slog.New(slog.NewJSONHandler(&out, nil)).Info("x", "v", v)
			for _, clear := range []string{"johndoe", "example.com", "202 555", "2025550142", "Doe", secret, fmt.Sprintf("%x", "johndoe"), fmt.Sprintf("%x", secret)} {
				if strings.Contains(out.String(), clear) {
					t.Errorf("shows %q:\n%s", clear, out.String())
				}
			}
		})
	}
	if got, want := fmt.Sprint(s), "[email=jxxnxxe@xxxmple.com telephone=+1 xx2 xx5 xx4x customer_name=xxx customer_key=jxxnxxe]"; got != want {
		t.Errorf("a subject prints as\n%s, want\n%s", got, want)
	}
}

// TestSecret: credentials still compare, encode as nothing and come out whole.
func TestSecret(t *testing.T) {
	a, b := vendors.NewSecret("x"), vendors.NewSecret("x")
	if a != b || a.IsZero() || a.Reveal() != "x" {
		t.Error("two credentials with one value differ, or the value is lost")
	}
	if z := vendors.NewSecret(""); !z.IsZero() || z.Reveal() != "" || z.String() != "" {
		t.Error("an empty credential is not the zero one")
	}
}
