package store

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strconv"
)

// A vendor's references are UUIDs and numbers, which a backlog holds by the million: they
// are kept in the shortest form that gives back the same text (packReference).

// packReference returns what is stored of a reference: nil for none, 16 bytes for a UUID,
// an integer for a number, and for anything else, also another way to write one of these,
// the text itself.
func packReference(text string) any {
	if text == "" {
		return nil
	}
	if n, err := strconv.ParseInt(text, 10, 64); err == nil && strconv.FormatInt(n, 10) == text {
		return n
	}
	if b, ok := packUUID(text); ok {
		return b
	}
	return text
}

func packUUID(text string) ([]byte, bool) {
	if len(text) != 36 || text[8] != '-' || text[13] != '-' || text[18] != '-' || text[23] != '-' {
		return nil, false
	}
	b := make([]byte, 0, 16)
	b, err := hex.AppendDecode(b, []byte(text[:8]+text[9:13]+text[14:18]+text[19:23]+text[24:]))
	if err != nil || unpackUUID(b) != text { // capitals
		return nil, false
	}
	return b, true
}

func unpackUUID(b []byte) string {
	var t [36]byte
	hex.Encode(t[:8], b[:4])
	hex.Encode(t[9:13], b[4:6])
	hex.Encode(t[14:18], b[6:8])
	hex.Encode(t[19:23], b[8:10])
	hex.Encode(t[24:], b[10:16])
	t[8], t[13], t[18], t[23] = '-', '-', '-', '-'
	return string(t[:])
}

// reference reads what packReference made.
type reference string

// Scan implements sql.Scanner.
func (r *reference) Scan(stored any) error {
	switch v := stored.(type) {
	case nil:
		*r = ""
	case int64:
		*r = reference(strconv.FormatInt(v, 10))
	case string:
		*r = reference(v)
	case []byte:
		if len(v) != 16 {
			return errForm
		}
		*r = reference(unpackUUID(v))
	default:
		return fmt.Errorf("%w: a reference is a %T", errForm, stored)
	}
	return nil
}

// packedReferences is the list of references as sqlReferences takes it.
func packedReferences(texts []string) (string, error) {
	list := make([]any, len(texts))
	for i, text := range texts {
		switch v := packReference(text).(type) {
		case []byte:
			list[i] = []any{hex.EncodeToString(v)}
		default:
			list[i] = v
		}
	}
	b, err := json.Marshal(list)
	return string(b), err
}

// sqlReferences are the stored forms of a list of references: JSON has no bytes, so those
// stand in it as hexadecimal text in a list of their own.
const sqlReferences = `(SELECT CASE type WHEN 'array' THEN unhex(value ->> 0) ELSE atom END FROM json_each(?))`
