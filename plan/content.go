package plan

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"reflect"
	"regexp"
	"slices"
	"strings"
)

// Kept is the text of a runbook or profile as the journal keeps it, so that a run can be taken over where the file is not.
type Kept struct {
	Text string
	// Blanked says that passwords stood in the file, and are not in Text: what it says can be looked at, and not be done.
	Blanked bool
}

// contentOf is the SHA-256 in hex of what a text says: of the decoded values, defaults included, before ${NAME} is filled in.
// Comments, white space and the order of keys don't count.
func contentOf(v any) string {
	text, err := json.Marshal(v)
	if err != nil {
		panic(err) // plain structs always encode
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

// asWritten looks up variables and finds their names.
func asWritten(name string) (string, bool) { return "${" + name + "}", true }

// keep fills in what a runbook keeps of its text, and the hash of what that says.
func (rb *Runbook) keep(name string, data []byte) {
	rb.Kept = blank(name, data)
	said := sketch(name, []byte(rb.Kept.Text), asWritten)
	if said == nil {
		said = sketch(name, data, asWritten)
	}
	if said != nil {
		rb.Content = rb.contentAs(said)
	}
}

func (rb *Runbook) contentAs(said *Runbook) string {
	own := *said
	own.Name, own.Path, own.Hash, own.Content, own.Kept = rb.Name, "", "", "", Kept{}
	own.Steps, own.Notify = slices.Clone(own.Steps), nil // who is told is no part of what is done
	for i := range own.Steps {
		own.Steps[i].Line, own.Steps[i].Column = 0, 0
	}
	return contentOf(own)
}

// sketch decodes a runbook without checking it; nil where it is no runbook at all.
func sketch(name string, data []byte, env func(string) (string, bool)) *Runbook {
	root, err := document(name, data)
	if err != nil {
		return nil
	}
	rb, d := &Runbook{}, newDecoder(name, env)
	d.loose = true
	if !d.root(root, reflect.ValueOf(rb).Elem(), "") {
		return nil
	}
	rb.settle(d, name)
	return rb
}

// SketchRunbook is ParseRunbook for who only looks: variables that are not set are no mistake. A field with one has a value
// that [Unset] knows. The error is that of ParseRunbook where the text is no runbook in other ways.
func SketchRunbook(name string, data []byte, env func(string) (string, bool)) (*Runbook, error) {
	if _, err := ParseRunbook(name, data, func(variable string) (string, bool) {
		if value, ok := env(variable); ok && value != "" {
			return value, true
		}
		return unresolved + " " + variable + ", and long enough", true
	}); err != nil {
		return nil, err
	}
	rb := sketch(name, data, env)
	sum := sha256.Sum256(data)
	rb.Hash = hex.EncodeToString(sum[:])
	rb.keep(name, data)
	return rb, nil
}

// Unset says which environment variables a value of a sketched runbook wants, such as "GREEN_DSN is not set"; "" where it has them.
func Unset(value string) string {
	_, reason, _ := strings.Cut(value, unresolved+" ")
	return reason
}

// Where passwords stand in a text: more is taken than may belong to one, and never less.
var (
	urlPassword   = regexp.MustCompile(`(://[^/@\s:"']*:)([^@\s"']+)(@)`)
	queryPassword = regexp.MustCompile(`(?i)([?&](?:password|sslpassword)=)([^\s'"&]+)()`)
	wordPassword  = regexp.MustCompile(`(?i)((?:^|[^?&\w])(?:password|passwd|pwd|sslpassword)\s*=\s*)('[^'\n]*'|[^\s'"]+)()`)
	quotedField   = regexp.MustCompile(`(?i)(\b(?:token|secret|password)["']?[ \t]*:[ \t]+)("[^"\n]*"|'[^'\n]*')()`)
	plainField    = regexp.MustCompile(`(?i)(\b(?:token|secret|password)["']?[ \t]*:[ \t]+)([^\s"'|>#{][^\n]*?)([ \t]+#[^\n]*|[ \t]*(?:\n|$))`)
	variable      = regexp.MustCompile(`\$\{[A-Za-z_][A-Za-z0-9_]*\}`)
)

// literal says that something is left of a password without what comes from the environment.
func literal(password string) bool {
	return strings.Trim(variable.ReplaceAllString(password, ""), `"' `) != ""
}

// blank takes what looks like a password out of a runbook's text, comments included. What comes from the environment stays.
// Where that can't be done for certain, nothing is kept at all.
func blank(name string, data []byte) Kept {
	text := string(bytes.TrimPrefix(data, []byte("\uFEFF")))
	blanked := false
	for _, re := range []*regexp.Regexp{urlPassword, queryPassword, wordPassword, quotedField, plainField} {
		text = re.ReplaceAllStringFunc(text, func(found string) string {
			m := re.FindStringSubmatch(found)
			if !literal(m[2]) {
				return found
			}
			blanked = true
			quote := m[2][:1]
			if quote != `"` && quote != `'` {
				quote = ""
			}
			return m[1] + quote + blankedWord + quote + m[3]
		})
	}
	rb, said := sketch(name, data, asWritten), sketch(name, []byte(text), asWritten)
	if rb == nil || said == nil {
		return Kept{Blanked: true}
	}
	blanked = blanked && (rb.contentAs(rb) != rb.contentAs(said) || contentOf(rb.Notify) != contentOf(said.Notify)) // else it stood in a comment
	for _, secret := range rb.secrets() {
		if strings.Contains(text, secret) {
			return Kept{Blanked: true}
		}
	}
	return Kept{Text: text, Blanked: blanked}
}

// blankedWord stands where a password stood.
const blankedWord = "blanked-by-tideover"

// secrets are the passwords that a runbook has in its own text.
func (rb *Runbook) secrets() []string {
	var found []string
	dsn := func(values ...string) {
		for _, value := range values {
			for _, re := range []*regexp.Regexp{urlPassword, queryPassword, wordPassword} {
				for _, m := range re.FindAllStringSubmatch(value, -1) {
					found = append(found, strings.Trim(m[2], `'`))
				}
			}
		}
	}
	dsn(rb.Blue.DSN, rb.Green.DSN, rb.Control.DSN)
	if rb.Router != nil {
		found = append(found, rb.Router.Token)
	}
	for _, n := range rb.Notify {
		found = append(found, n.Secret)
	}
	all := rb.Participants()
	for _, s := range rb.Steps {
		if c, ok := s.Config.(*PauseJobsSpec); ok {
			all = append(all, c.Jobs...)
		}
	}
	for _, p := range all {
		switch c := p.Config.(type) {
		case *HTTPSpec:
			found = append(found, c.Secret)
		case *SQLSpec:
			dsn(c.DSN)
		case *PgbouncerSpec:
			dsn(c.DSN, c.Blue, c.Green)
		case *FileSpec:
			dsn(c.Blue, c.Green)
		}
	}
	return slices.DeleteFunc(found, func(s string) bool { return !literal(s) })
}

// Participants are those of the runbook's cutover.
func (rb *Runbook) Participants() []ParticipantSpec {
	for _, s := range rb.Steps {
		if c, ok := s.Config.(*CutoverSpec); ok {
			return slices.Clone(c.Participants)
		}
	}
	return nil
}

// LoadSketch is [SketchRunbook] for a file.
func LoadSketch(path string, env func(string) (string, bool)) (*Runbook, error) {
	data, err := read(path, "`tideover init` writes a runbook to start from")
	if err != nil {
		return nil, err
	}
	rb, err := SketchRunbook(path, data, env)
	if err != nil {
		return nil, err
	}
	rb.Path = path
	return rb, nil
}

// Unset says which environment variables a participant of a sketched runbook wants; "" where it has them.
func (p ParticipantSpec) Unset() string {
	if p.Config == nil {
		return ""
	}
	for _, x := range structProperties(reflect.ValueOf(p.Config).Elem()) {
		if x.value.Kind() == reflect.String {
			if reason := Unset(x.value.String()); reason != "" {
				return reason
			}
		}
	}
	return ""
}
