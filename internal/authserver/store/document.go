package store

import (
	"encoding/json"
	"strings"
)

// Document is a JSON value as text. Generation 1.1 keeps it in text columns, where anything may lie: old rows hold
// empty strings and broken JSON, and a server must go on serving them.
type Document string

// NewDocument encodes v. Values come from decoded JSON or plain structs, which always encode.
func NewDocument(v any) Document {
	b, err := json.Marshal(v)
	if err != nil {
		panic("document of a value that JSON cannot hold: " + err.Error())
	}
	return Document(b)
}

// Decode reads the document into v, and leaves v alone where the text is no JSON.
func (d Document) Decode(v any) {
	if d != "" && json.Valid([]byte(d)) {
		_ = json.Unmarshal([]byte(d), v)
	}
}

// MarshalJSON passes the document through; a broken one is null.
func (d Document) MarshalJSON() ([]byte, error) {
	if !json.Valid([]byte(d)) {
		return []byte("null"), nil
	}
	return []byte(d), nil
}

// UnmarshalJSON keeps the text as it comes.
func (d *Document) UnmarshalJSON(b []byte) error {
	*d = Document(b)
	return nil
}

// or is the document, or the given text where it is empty or null.
func (d Document) or(text string) string {
	if d == "" || d == "null" {
		return text
	}
	return string(d)
}

// List decodes a JSON list of strings; anything else is an empty list.
func (d Document) List() []string {
	list := []string{}
	d.Decode(&list)
	return list
}

// Covers tells whether every scope of wanted is in granted. Scopes are separated by spaces (RFC 6749, section 3.3).
func Covers(granted, wanted string) bool {
	have := map[string]bool{}
	for _, s := range strings.Fields(granted) {
		have[s] = true
	}
	for _, s := range strings.Fields(wanted) {
		if !have[s] {
			return false
		}
	}
	return true
}
