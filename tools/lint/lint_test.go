package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"go/parser"
	"go/token"
	"io"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/tools/go/analysis"
	"golang.org/x/tools/go/analysis/suite/vet"
)

// fixture is a module of this repository's name, since others are not judged. In package bad a comment behind each mistake
// names the analyzers that have to complain of it; package good has nothing to complain of.
const fixture = "testdata/fixture"

func TestEachAnalyzerComplains(t *testing.T) {
	t.Parallel()
	found := lint(t)
	want := mistakes(t, filepath.Join(fixture, "bad", "bad.go"))
	for _, w := range want {
		if !slices.Contains(found, w) {
			t.Errorf("%s: nobody complains", w)
		}
	}
	for _, f := range found {
		if !slices.Contains(want, f) {
			t.Errorf("%s: a complaint of what is no mistake", f)
		}
	}
}

// A fixture that forgets one of our analyzers would let it fall silent; of vet's and staticcheck's there is one for each kind.
func TestFixtureHasEachAnalyzer(t *testing.T) {
	t.Parallel()
	named := make(map[string]bool)
	for _, w := range mistakes(t, filepath.Join(fixture, "bad", "bad.go")) {
		named[w[strings.LastIndex(w, " ")+1:]] = true
	}
	for _, a := range ownSuite() {
		if !named[a.Name] {
			t.Errorf("no mistake for %s", a.Name)
		}
	}
	has := func(suite []*analysis.Analyzer, prefix string) bool {
		return slices.ContainsFunc(suite, func(a *analysis.Analyzer) bool { return named[a.Name] && strings.HasPrefix(a.Name, prefix) })
	}
	if !has(vet.Suite, "") {
		t.Error("no mistake for go vet")
	}
	for _, kind := range []string{"SA", "S1", "ST", "QF"} {
		if !has(staticcheckSuite(), kind) {
			t.Errorf("no mistake for staticcheck's %s", kind)
		}
	}
}

// lint runs the linter over the fixture as make lint does over the repository. A finding is "bad.go:17 bodyclose".
func lint(t *testing.T) (found []string) {
	t.Helper()
	tool := filepath.Join(t.TempDir(), "lint")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", tool, ".").CombinedOutput(); err != nil {
		t.Fatalf("build the linter: %v\n%s", err, out)
	}
	vet := exec.CommandContext(t.Context(), "go", "vet", "-vettool="+tool, "-json", "./...")
	var stderr strings.Builder
	vet.Dir, vet.Stderr = fixture, &stderr
	out, err := vet.Output()
	if err != nil {
		t.Fatalf("go vet: %v\n%s", err, stderr.String())
	}
	for packages := json.NewDecoder(bytes.NewReader(out)); ; {
		var findings map[string]map[string]json.RawMessage // by package and analyzer
		if err := packages.Decode(&findings); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatalf("go vet's answer: %v\n%s", err, out)
		}
		for _, of := range findings {
			for analyzer, raw := range of {
				found = append(found, places(t, analyzer, raw)...)
			}
		}
	}
	if len(found) == 0 {
		t.Fatalf("no finding at all:\n%s", stderr.String())
	}
	return found
}

// places are those that an analyzer complains of. In place of them it can have an error.
func places(t *testing.T, analyzer string, raw json.RawMessage) (places []string) {
	t.Helper()
	var at []struct{ Posn string }
	if err := json.Unmarshal(raw, &at); err != nil {
		t.Fatalf("%s: %v: %s", analyzer, err, raw)
	}
	for _, f := range at {
		file, rest, _ := strings.Cut(filepath.Base(f.Posn), ":")
		line, _, _ := strings.Cut(rest, ":")
		places = append(places, fmt.Sprintf("%s:%s %s", file, line, analyzer))
	}
	return places
}

// mistakes reads the comments behind the lines of a file: "bad.go:17 bodyclose".
func mistakes(t *testing.T, name string) (all []string) {
	t.Helper()
	fset := token.NewFileSet()
	f, err := parser.ParseFile(fset, name, nil, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	for _, group := range f.Comments {
		for _, c := range group.List {
			at := fset.Position(c.Pos())
			_, names, marked := strings.Cut(c.Text, "mistake: ")
			if !marked {
				continue
			}
			for _, n := range strings.Fields(names) {
				all = append(all, fmt.Sprintf("%s:%d %s", filepath.Base(name), at.Line, n))
			}
		}
	}
	return all
}
