package plan

import (
	"strings"
	"testing"
)

const contentText = `version: 1
name: x
profile: bundled
blue:
  dsn: ${BLUE}
  public: http://127.0.0.1:1
  admin: http://127.0.0.1:2
green:
  dsn: ${GREEN}
  public: http://127.0.0.1:3
  admin: http://127.0.0.1:4
router:
  admin: [http://127.0.0.1:5]
  token: ${TOKEN}
steps:
  - step: preflight
  - step: capture
  - step: snapshot
  - step: migrate
    target: offline
    source: bundled
    to: 20009
  - step: replay
  - step: cutover
    participants:
      - {name: a, kind: http, url: http://127.0.0.1:6, secret: "${SECRET}"}
`

func contentEnv(name string) (string, bool) {
	switch name {
	case "TOKEN", "SECRET":
		return "a word of more than sixteen", true
	}
	return "postgres://u:p@127.0.0.1/" + strings.ToLower(name), true
}

func TestContentIsWhatTheFileSays(t *testing.T) {
	t.Parallel()
	parse := func(text string, env func(string) (string, bool)) *Runbook {
		t.Helper()
		rb, err := ParseRunbook("x.yaml", []byte(text), env)
		if err != nil {
			t.Fatal(err)
		}
		return rb
	}
	was := parse(contentText, contentEnv)
	for _, tt := range []struct {
		name, old, with string
		same            bool
	}{
		{"a comment", "version: 1\n", "# for tonight\nversion: 1 # the only one\n", true},
		{"white space", "steps:\n", "\n\nsteps:\n", true},
		{"the order of keys", "  public: http://127.0.0.1:1\n  admin: http://127.0.0.1:2\n", "  admin: http://127.0.0.1:2\n  public: http://127.0.0.1:1\n", true},
		{"quotes", "name: x", `name: "x"`, true},
		{"a default that is written out", "  - step: preflight\n", "  - step: preflight\n    id: preflight\n", true},
		{"another variable", "${GREEN}", "${GREEN2}", false},
		{"a gate", "  - step: replay\n", "  - step: replay\n    approve: true\n", false},
		{"a participant", "http://127.0.0.1:6", "http://127.0.0.1:7", false},
		{"a step less", "  - step: preflight\n", "", false},
	} {
		rb := parse(strings.Replace(contentText, tt.old, tt.with, 1), contentEnv)
		if rb.Hash == was.Hash {
			t.Fatalf("%s: the file is the same", tt.name)
		}
		if (rb.Content == was.Content) != tt.same {
			t.Errorf("%s: same content %t", tt.name, !tt.same)
		}
	}
	other := func(name string) (string, bool) {
		v, _ := contentEnv(name)
		return v + "-of-another-machine", true
	}
	if rb := parse(contentText, other); rb.Content != was.Content {
		t.Error("what variables hold counts")
	}
	again := parse(was.Kept.Text, contentEnv)
	if again.Content != was.Content || was.Kept.Blanked || was.Kept.Text != contentText {
		t.Error("the kept text does not say what the file says")
	}
}

// No password that stands in a runbook is in what is kept of it.
func TestKeptTextHasNoPassword(t *testing.T) {
	t.Parallel()
	const word = "hidden-word-of-the-file"
	for _, tt := range []struct {
		name, old, with string
		kept            bool
	}{
		{"a URL", "${BLUE}", "postgres://u:" + word + "@127.0.0.1/blue", true},
		{"keywords", "${BLUE}", "host=127.0.0.1 password=" + word + " dbname=blue", true},
		{"quoted keywords", "${BLUE}", `"host=127.0.0.1 password='` + word + `' dbname=blue"`, true},
		{"an option of a URL", "${BLUE}", "postgres://127.0.0.1/blue?user=u&password=" + word, true},
		{"a token", "${TOKEN}", word, true},
		{"a quoted token", "${TOKEN}", `"` + word + `"`, true},
		{"a secret in braces", `"${SECRET}"`, word, false},
		{"keywords with an ampersand", "${BLUE}", "host=127.0.0.1 password=a&" + word, true},
		{"half from the environment", "${TOKEN}", `"${TOKEN}-` + word + `"`, true},
		{"a token in another line", "token: ${TOKEN}", "token: >-\n    " + word, false},
		{"a comment", "version: 1\n", "version: 1 # postgres://u:" + word + "@127.0.0.1/blue\n", true},
		{"a broken line", "${BLUE}", "\"postgres://u:\\x68" + word[1:] + "@127.0.0.1/blue\"", true},
		{"a secret that is escaped", `"${SECRET}"`, `"\x68` + word[1:] + `"`, true},
		{"a token with a comment", "token: ${TOKEN}", "token: " + word + " # ask ops", true},
	} {
		rb, err := ParseRunbook("x.yaml", []byte(strings.Replace(contentText, tt.old, tt.with, 1)), contentEnv)
		if err != nil {
			t.Fatalf("%s: %v", tt.name, err)
		}
		if strings.Contains(rb.Kept.Text, word) || strings.Contains(rb.Kept.Text, word[1:]) {
			t.Errorf("%s: the password is kept", tt.name)
		}
		if rb.Kept.Blanked == (tt.name == "a comment") || (rb.Kept.Text != "") != tt.kept {
			t.Errorf("%s: blanked %t, kept %t", tt.name, rb.Kept.Blanked, rb.Kept.Text != "")
		}
	}
}

func TestSketchKnowsWhatIsNotSet(t *testing.T) {
	t.Parallel()
	rb, err := SketchRunbook("x.yaml", []byte(contentText), func(name string) (string, bool) {
		if name == "BLUE" {
			return contentEnv(name)
		}
		return "", name == "TOKEN"
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ value, want string }{
		{rb.Blue.DSN, ""}, {rb.Green.DSN, "GREEN is not set"}, {rb.Router.Token, "TOKEN is empty"}, {rb.Blue.Public, ""},
		{rb.Participants()[0].Config.(*HTTPSpec).Secret, "SECRET is not set"},
	} {
		if got := Unset(tt.value); got != tt.want {
			t.Errorf("%q: got %q, want %q", tt.value, got, tt.want)
		}
	}
	if _, err := SketchRunbook("x.yaml", []byte(strings.Replace(contentText, "replay", "repley", 1)), contentEnv); err == nil {
		t.Error("a runbook with a mistake was sketched")
	}
}

func TestProfileContent(t *testing.T) {
	t.Parallel()
	data, err := builtin.ReadFile("profiles/bundled.yaml")
	if err != nil {
		t.Fatal(err)
	}
	parse := func(text string) *Profile {
		t.Helper()
		p, err := ParseProfile("p.yaml", []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	was := parse(string(data))
	if p := parse("# a comment\n" + string(data)); p.Content != was.Content || p.Hash == was.Hash {
		t.Error("a comment counts")
	}
	if p := parse(string(data) + "\nothers: [audit.*]\n"); p.Content == was.Content {
		t.Error("a field more does not count")
	}
}
