package vendors

import (
	"bytes"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

// TestMask: the vendor's own examples (VENDORS.md, Acqueon: what pseudonymization means),
// and what their rule gives for other shapes.
func TestMask(t *testing.T) {
	for _, tt := range []struct {
		f          Field
		text, want string
	}{
		{Telephone, "99999 99999", "9xx9x x9xx9"},
		{Email, "johndoe@zyxwv.com", "jxxnxxe@xxxwv.com"},
		{OtherTelephone, "+46 70 174 06 05", "+4x x0 xx4 xx 0x"},
		{OtherEmail, "a@example.com", "a@xxxmple.com"},
		{Email, "ab@x.se", "ax@xxxe"},
		{Email, "ab@xy", "ax@xx"},
		{Email, "two@at@example.com", "txx@xx@xxxmple.com"},
		{Email, "no address", "nxxaxxrxxs"},
		{Email, "ö.berg@example.com", "öxxexx@xxxmple.com"},
		{Email, "anna@åäö.example", "axxa@xxx.example"},
		{CustomerKey, "7d1b9a52-6c0e", "7xxbxx5x-xcxx"},
		{CustomerKey, "anna@example.com", "axxa@xxxmple.com"},
		{AccountNumber, "A-12 34", "A-xx 3x"},
		{Telephone, "", ""},
		{CustomerName, "Anna Svensson", "xxx"},
		{Comments, "please", "xxx"},
		{Region, "eu", "eu"},
		{Field(99), "anything", "xxx"},
	} {
		if got := Mask(tt.f, tt.text); got != tt.want {
			t.Errorf("%v %q: %q, want %q", tt.f, tt.text, got, tt.want)
		}
	}
}

// FuzzMask: a mask is never longer in characters than the identifier, is UTF-8 where that
// was, and hides at least half of an identifier of four or more letters and digits, its
// domain aside.
func FuzzMask(f *testing.F) {
	for _, s := range []string{"johndoe@zyxwv.com", "+46701740605", "åsa@example.com", "@", "a@b", "7d1b-9a52"} {
		f.Add(uint8(Email), s)
		f.Add(uint8(CustomerKey), s)
	}
	f.Fuzz(func(t *testing.T, field uint8, text string) {
		if !utf8.ValidString(text) {
			return
		}
		fd := Field(field)
		got := Mask(fd, text)
		if !utf8.ValidString(got) {
			t.Fatalf("%q: not UTF-8: %q", text, got)
		}
		if !Identifiers.Has(fd) {
			return
		}
		if utf8.RuneCountInString(got) > utf8.RuneCountInString(text) {
			t.Fatalf("%q became longer: %q", text, got)
		}
		if fd == Telephone || fd == OtherTelephone {
			if n := len(Digits("x" + text)); n >= 4 && len(Digits("x"+got)) > (len(Digits("x"+text))+2)/3+2 {
				t.Fatalf("%q keeps too many digits: %q", text, got)
			}
			return
		}
		if local, _, ok := strings.Cut(text, "@"); ok && utf8.RuneCountInString(local) >= 4 && strings.Count(text, "@") == 1 && strings.HasPrefix(got, local) && strings.Trim(local, "x") != "" && hasWord(local) {
			t.Fatalf("%q shows its local part: %q", text, got)
		}
	})
}

// hasWord reports whether masking the text must change it.
func hasWord(text string) bool {
	n := 0
	for _, r := range text {
		if n%3 != 0 && r != 'x' && isWordRune(r) {
			return true
		}
		n++
	}
	return false
}

var anna = Subject{
	{Field: Email, Text: "Anna@Example.com"},
	{Field: OtherEmail, Text: "old@example.org"},
	{Field: Telephone, Text: "+46 70 174 06 05"},
	{Field: CustomerKey, Text: "key-1"},
	{Field: CustomerKey, Text: "key-2"},
	{Field: CustomerName, Text: "Anna Svensson"},
	{Field: Comments, Text: "please"},
}

// TestSubjectCodec: what the store seals comes back as it was, masked values too; the
// format of stores that exist may not change.
func TestSubjectCodec(t *testing.T) {
	for name, s := range map[string]Subject{"all clear": anna, "all masked": anna.Forget(0), "empty": nil,
		"long": {{Field: Comments, Text: strings.Repeat("å", 5000)}}, "empty text": {{Field: Email}}} {
		b, err := s.AppendBinary([]byte("head"))
		if err != nil || string(b[:4]) != "head" {
			t.Fatalf("%s: %q %v", name, b, err)
		}
		got, err := ParseSubject(b[4:])
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if diff := cmp.Diff([]Value(s), []Value(got)); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
	const stored = "\x01\x03a@b\x83\x02+4\x85\xff\x01" // email a@b; telephone masked; the start of a long key, masked
	got, err := ParseSubject([]byte(stored + strings.Repeat("k", 255)))
	want := []Value{{Field: Email, Text: "a@b"}, {Field: Telephone, Text: "+4", Masked: true}, {Field: CustomerKey, Text: strings.Repeat("k", 255), Masked: true}}
	if diff := cmp.Diff(want, []Value(got)); diff != "" || err != nil {
		t.Error(diff, err)
	}
}

// FuzzParseSubject: bytes that are no subject are an error, never a panic, and what is read
// is written back as it was read.
func FuzzParseSubject(f *testing.F) {
	b, _ := anna.AppendBinary(nil)
	f.Add(b)
	f.Add([]byte{1})
	f.Add([]byte{1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1})
	f.Add([]byte{1, 5, 'a'})
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := ParseSubject(b)
		if err != nil {
			return
		}
		out, err := s.AppendBinary(nil)
		if err != nil {
			t.Fatal(err)
		}
		again, err := ParseSubject(out)
		if err != nil || !cmp.Equal([]Value(s), []Value(again)) {
			t.Fatalf("%v became %v (%v)", []Value(s), []Value(again), err)
		}
		if len(out) > len(b) {
			t.Fatalf("%d bytes became %d", len(b), len(out))
		}
	})
}

// TestForget: what is not kept leaves its masked form if it is an identifier and nothing
// otherwise; what was masked before stays so, whatever is kept; and places hold.
func TestForget(t *testing.T) {
	got := anna.Forget(SetOf(CustomerKey, Comments))
	want := []Value{
		{Field: Email, Text: "Axxa@xxxmple.com", Masked: true}, {Field: OtherEmail, Text: "oxx@xxxmple.org", Masked: true},
		{Field: Telephone, Text: "+4x x0 xx4 xx 0x", Masked: true},
		{Field: CustomerKey, Text: "key-1"}, {Field: CustomerKey, Text: "key-2"}, {Field: Comments, Text: "please"},
	}
	if diff := cmp.Diff(want, []Value(got)); diff != "" {
		t.Error(diff)
	}
	last := got.Forget(SetOf(Email, Comments))
	if last.Get(Email) != "" {
		t.Error("a clear email out of nothing")
	}
	for _, r := range []Ref{{Email, 0}, {Telephone, 0}, {CustomerKey, 1}} {
		if before, after := anna.MaskedAt(r), last.MaskedAt(r); before != after || after == "" {
			t.Errorf("%v is shown as %q and then as %q", r, before, after)
		}
		if last.At(r) != "" {
			t.Errorf("%v is still clear", r)
		}
	}
	if diff := cmp.Diff([]Value(last), []Value(last.Forget(SetOf(Email, Comments)))); diff != "" {
		t.Errorf("again: %s", diff)
	}
	for _, keep := range []FieldSet{0, SetOf(Email, Comments), ^FieldSet(0)} {
		for _, s := range []Subject{anna, got} {
			want, _ := s.Forget(keep).AppendBinary(nil)
			if b := s.AppendKept(nil, keep); !bytes.Equal(b, want) {
				t.Errorf("%q is stored, not %q", b, want)
			}
		}
	}
	b, _ := anna.Forget(0).AppendBinary(nil)
	for _, v := range anna {
		if bytes.Contains(b, []byte(v.Text)) {
			t.Errorf("%v survives", v.Field)
		}
	}
}

// TestSubjectLooks: what a task is about is found by its place, clear while it is there.
func TestSubjectLooks(t *testing.T) {
	if got := anna.At(Ref{CustomerKey, 1}); got != "key-2" {
		t.Errorf("At: %q", got)
	}
	if anna.At(Ref{CustomerKey, 2}) != "" || anna.MaskedAt(Ref{AccountNumber, 0}) != "" || anna.Get(AccountNumber) != "" {
		t.Error("something out of nothing")
	}
	masked := anna.Forget(SetOf(Email))
	if (&Target{Ref: Ref{CustomerKey, 1}, Subject: masked}).Identifier() != "" {
		t.Error("a target's identifier is a masked one: it would be sent")
	}
	names := map[string]bool{}
	for _, f := range Fields() {
		if f.String() == "" || names[f.String()] {
			t.Errorf("field %d: %q", f, f)
		}
		names[f.String()] = true
	}
	if len(names) != 12 || Field(0).String() != "" || Field(200).String() != "" {
		t.Error(names)
	}
	if s := SetOf(Email, Region); !s.Has(Email) || !s.Has(Region) || s.Has(OtherEmail) || s != 1<<1|1<<11 {
		t.Errorf("%b: the numbers of fields are part of the store", s)
	}
}

// TestNormal: spellings of one identifier are equal, of two are not.
func TestNormal(t *testing.T) {
	type id struct {
		f    Field
		text string
	}
	same := func(a, b id) bool {
		ca, na := Normal(a.f, a.text)
		cb, nb := Normal(b.f, b.text)
		return ca == cb && na == nb
	}
	for _, tt := range []struct {
		a, b id
		want bool
	}{
		{id{Email, "Anna@Example.com "}, id{OtherEmail, "anna@example.com"}, true},
		{id{Email, "Rene\u0301@Example.com"}, id{Email, "ren\u00e9@example.com"}, true},        // composed or not
		{id{Email, "jane@B\u00fccher.example"}, id{Email, "jane@xn--bcher-kva.example"}, true}, // U-label, A-label
		{id{Email, "j\u00fc@example.com"}, id{Email, "ju@example.com"}, false},
		{id{Email, "jane@b\u00fccher..example"}, id{Email, "jane@b\u00fccher.example"}, false}, // no domain: as it is
		{id{Email, "b\u00fccher.example"}, id{Email, "xn--bcher-kva.example"}, false},          // no address
		{id{Telephone, "+46 70 174-06-05"}, id{OtherTelephone, "0046701740605"}, true},
		{id{Telephone, "070 174 06 05"}, id{Telephone, "+46701740605"}, false},
		{id{CustomerKey, " k1"}, id{CustomerKey, "k1"}, true},
		{id{CustomerKey, "K1"}, id{CustomerKey, "k1"}, false},
		{id{CustomerKey, "1"}, id{AccountNumber, "1"}, false},
		{id{Email, "1"}, id{Telephone, "1"}, false},
	} {
		if same(tt.a, tt.b) != tt.want {
			t.Errorf("%v and %v: %v", tt.a, tt.b, !tt.want)
		}
	}
}
