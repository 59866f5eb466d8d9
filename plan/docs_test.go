package plan_test

import (
	"os"
	"strings"
	"testing"

	"github.com/tideover/tideover/plan"
)

func readFile(t *testing.T, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// examples gives the YAML blocks of a page. A block that is part of a file says so: ```yaml part
func examples(t *testing.T, path string) (whole, parts []string) {
	t.Helper()
	blocks := strings.Split(string(readFile(t, path)), "```")
	for i := 1; i < len(blocks); i += 2 {
		kind, text, _ := strings.Cut(blocks[i], "\n")
		switch kind {
		case "yaml":
			whole = append(whole, text)
		case "yaml part":
			parts = append(parts, text)
		}
	}
	if len(whole) == 0 || len(parts) == 0 {
		t.Fatalf("%s: %d whole examples, %d parts", path, len(whole), len(parts))
	}
	return whole, parts
}

// TestDocs loads every example of the documentation, and validates it with the schema.
func TestDocs(t *testing.T) {
	t.Parallel()
	runbook, profile := schemas(t)
	whole, parts := examples(t, "../docs/runbook.md")
	base := whole[0]
	for _, p := range parts {
		whole = append(whole, withStep(t, base, p))
	}
	for _, text := range whole {
		if _, err := plan.ParseRunbook("docs/runbook.md", []byte(text), environment); err != nil {
			t.Errorf("%v\nin\n%s", err, text)
		}
		if err := runbook.Validate(instance(t, []byte(text))); err != nil {
			t.Errorf("%v\nin\n%s", err, text)
		}
	}
	whole, parts = examples(t, "../docs/profile.md")
	for _, p := range parts {
		whole = append(whole, "name: x\n"+tables(p)+p)
	}
	for _, text := range whole {
		if _, err := plan.ParseProfile("docs/profile.md", []byte(text)); err != nil {
			t.Errorf("%v\nin\n%s", err, text)
		}
		if err := profile.Validate(instance(t, []byte(text))); err != nil {
			t.Errorf("%v\nin\n%s", err, text)
		}
	}
}

// withStep puts a step of the page in the place of the same step in the page's whole example.
func withStep(t *testing.T, base, part string) string {
	t.Helper()
	first, _, _ := strings.Cut(strings.TrimSpace(part), "\n")
	before, rest, ok := strings.Cut(base, "  "+first+"\n")
	if !ok {
		t.Fatalf("the whole example has no %q", first)
	}
	after := ""
	if i := strings.Index(rest, "  - step:"); i >= 0 {
		after = rest[i:]
	}
	var step strings.Builder
	for line := range strings.Lines(part) {
		step.WriteString("  " + line)
	}
	return before + step.String() + after
}

// tables is what a part of a profile refers to.
func tables(part string) string {
	if strings.Contains(part, "tables:\n") {
		return ""
	}
	return "tables: [{name: access}, {name: refresh}]\n"
}
