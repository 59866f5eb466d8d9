package authserver_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

var testName = regexp.MustCompile("`(Test[^`]*)`")

// TestChecklist: docs/oauth-checklist.md names tests that are there, and gives a reason where it names none.
func TestChecklist(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../docs/oauth-checklist.md")
	if err != nil {
		t.Fatal(err)
	}
	known := knownTests(t)
	for _, name := range []string{"TestChecklist", "TestConformance/audience", "TestConformance/log-out"} {
		if !known[name] {
			t.Errorf("%s is not found in this folder", name)
		}
	}
	wanted := map[string]bool{}
	for _, s := range []string{"RFC 6749", "RFC 6750", "RFC 7009", "RFC 7523", "RFC 7591", "RFC 7636", "RFC 7662", "RFC 8252", "RFC 8414", "RFC 8628", "RFC 9101", "RFC 9126",
		"RFC 9207", "RFC 9700", "OpenID Connect Core", "RP-Initiated Logout"} {
		wanted[s] = false
	}
	rows := 0
	for n, line := range strings.Split(string(page), "\n") {
		if !strings.HasPrefix(line, "|") || strings.HasPrefix(line, "|---") || strings.HasPrefix(line, "| standard |") || strings.HasPrefix(line, "| generation |") {
			continue
		}
		cells := strings.Split(strings.Trim(line, "|"), " | ")
		if len(cells) != 3 {
			t.Errorf("line %d has %d cells", n+1, len(cells))
			continue
		}
		for i, c := range cells {
			if cells[i] = strings.TrimSpace(c); cells[i] == "" {
				t.Errorf("line %d: cell %d is empty", n+1, i+1)
			}
		}
		if strings.HasPrefix(cells[0], "1.") {
			continue // what the older generations keep
		}
		rows++
		for s := range wanted {
			wanted[s] = wanted[s] || strings.HasPrefix(cells[0], s)
		}
		named := testName.FindAllStringSubmatch(cells[2], -1)
		for _, m := range named {
			if !known[m[1]] {
				t.Errorf("line %d: there is no %s", n+1, m[1])
			}
		}
		reason := regexp.MustCompile(`^(Not offered|Not held|The app's): .{20}`).MatchString(cells[2])
		if rest := strings.TrimSpace(testName.ReplaceAllString(cells[2], "")); !reason && (len(named) == 0 || rest != "") {
			t.Errorf("line %d: %q is neither tests alone nor a reason", n+1, cells[2])
		}
	}
	if rows < 60 {
		t.Errorf("the page has %d rows", rows)
	}
	for s, there := range wanted {
		if !there {
			t.Errorf("the page has nothing of %s", s)
		}
	}
}

// knownTests are the tests of this folder, and the cases of TestConformance.
func knownTests(t *testing.T) map[string]bool {
	t.Helper()
	files, err := filepath.Glob("*_test.go")
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{}
	for _, file := range files {
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range f.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if !ok || fn.Recv != nil || !strings.HasPrefix(fn.Name.Name, "Test") || fn.Name.Name == "TestMain" {
				continue
			}
			known[fn.Name.Name] = true
			if fn.Name.Name != "TestConformance" {
				continue
			}
			ast.Inspect(fn.Body, func(n ast.Node) bool {
				if pair, ok := n.(*ast.KeyValueExpr); ok {
					if key, ok := pair.Key.(*ast.BasicLit); ok && key.Kind == token.STRING {
						if name, err := strconv.Unquote(key.Value); err == nil {
							known["TestConformance/"+name] = true
						}
					}
				}
				return true
			})
		}
	}
	return known
}
