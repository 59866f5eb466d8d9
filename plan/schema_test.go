package plan_test

import (
	"bytes"
	"encoding/json"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"golang.org/x/tools/txtar"

	"github.com/tideover/tideover/plan"
	"github.com/tideover/tideover/testdata"
)

func compile(t *testing.T, data []byte, err error) *jsonschema.Schema {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("schema.json", doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("schema.json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func schemas(t *testing.T) (runbook, profile *jsonschema.Schema) {
	t.Helper()
	data, err := plan.RunbookSchema()
	runbook = compile(t, data, err)
	data, err = plan.ProfileSchema()
	return runbook, compile(t, data, err)
}

// instance is a YAML file as an editor's schema checker sees it.
func instance(t *testing.T, data []byte) any {
	t.Helper()
	var v any
	if err := yaml.Unmarshal(data, &v); err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return doc
}

// TestSchemaTakes: every runbook and profile that the loader takes.
func TestSchemaTakes(t *testing.T) {
	t.Parallel()
	runbook, profile := schemas(t)
	files, err := fs.Glob(testdata.Runbooks, "runbooks/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no runbooks: %v", err)
	}
	for _, file := range files {
		data, err := testdata.Runbooks.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if err := runbook.Validate(instance(t, data)); err != nil {
			t.Errorf("%s: %v", file, err)
		}
	}
	if err := runbook.Validate(instance(t, plan.Init(plan.InitOptions{}))); err != nil {
		t.Errorf("init: %v", err)
	}
	builtin, err := filepath.Glob("profiles/*.yaml")
	if err != nil || len(builtin) == 0 {
		t.Fatalf("no profiles: %v", err)
	}
	for _, file := range builtin {
		if err := profile.Validate(instance(t, readFile(t, file))); err != nil {
			t.Errorf("%s: %v", file, err)
		}
	}
}

// TestSchemaRefuses: one mistake at a time in a file that is right otherwise, refused by schema and loader alike.
func TestSchemaRefuses(t *testing.T) {
	t.Parallel()
	runbook, profile := schemas(t)
	for _, tt := range []struct{ name, old, new string }{
		{"unknown field", "name: demo", "nam: demo"},
		{"unknown nested field", "  admin: [", "  admins: ["},
		{"unknown step field", "    jobs: 2", "    job: 2"},
		{"field of another kind", "  - step: capture", "  - step: capture\n    jobs: 2"},
		{"unknown kind", "step: preflight", "step: preflite"},
		{"no kind", "  - step: preflight", "  - id: preflight"},
		{"version", "version: 1", "version: 2"},
		{"no version", "version: 1\n", ""},
		{"no profile", "profile: bundled\n", ""},
		{"empty profile", "profile: bundled", `profile: ""`},
		{"number for text", "name: demo", "name: 7"},
		{"text for a number", "jobs: 2", "jobs: two"},
		{"number too small", "jobs: 2", "jobs: 0"},
		{"number too large", "jobs: 2", "jobs: 65"},
		{"fraction", "jobs: 2", "jobs: 2.5"},
		{"number for a duration", "deadline: 20s", "deadline: 10"},
		{"not a duration", "deadline: 20s", "deadline: soon"},
		{"negative duration", "drain_logins: 2s", "drain_logins: -2s"},
		{"text for true", "repair: true", `repair: "true"`},
		{"unknown word", "phase: after", "phase: during"},
		{"missing in a step", "    for: 3s\n", ""},
		{"text for a list", `admin: ["${TIDEOVER_ROUTER_ADMIN}"]`, "admin: http://x"},
		{"empty list", `admin: ["${TIDEOVER_ROUTER_ADMIN}"]`, "admin: []"},
		{"bad id", "- step: capture", "- step: capture\n    id: Not An Id"},
		{"participant without a name", "jobs: []", "jobs: [{kind: http, url: http://x}]"},
		{"share above 1", "    for: 3s", "    for: 3s\n    max_error_rate: 1.5"},
		{"negative rows", "phase: after", "phase: after\n    approve_rows: {a: -1}"},
	} {
		text := strings.Replace(string(demo(t)), tt.old, tt.new, 1)
		if text == string(demo(t)) {
			t.Errorf("%s: the demo has no %q", tt.name, tt.old)
		}
		if err := runbook.Validate(instance(t, []byte(text))); err == nil {
			t.Errorf("%s: the schema takes it", tt.name)
		}
		if _, err := plan.ParseRunbook("x", []byte(text), environment); err == nil {
			t.Errorf("%s: the loader takes it", tt.name)
		}
	}
	for _, file := range []string{"profile", "profile-env"} {
		archive, err := txtar.ParseFile("testdata/bad/" + file + ".txtar")
		if err != nil {
			t.Fatal(err)
		}
		if err := profile.Validate(instance(t, archive.Files[0].Data)); err == nil {
			t.Errorf("%s: the schema takes it", file)
		}
	}
}
