package plan

import (
	"go/parser"
	"go/token"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"testing"
)

// TestFields: every field of the format is described, and nothing is described that is not there.
func TestFields(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{"StepSpec.step": true, "StepSpec.id": true, "StepSpec.approve": true}
	var walk func(reflect.Type, map[string]field)
	walk = func(typ reflect.Type, table map[string]field) {
		for typ.Kind() == reflect.Pointer || typ.Kind() == reflect.Slice {
			typ = typ.Elem()
		}
		if typ.Kind() != reflect.Struct {
			return
		}
		for i := range typ.NumField() {
			name := yamlName(typ.Field(i))
			if name == "" {
				continue
			}
			key := typ.Name() + "." + name
			if table[key].Doc == "" {
				t.Errorf("%s is not described", key)
			}
			seen[key] = true
			walk(typ.Field(i).Type, table)
		}
	}
	walk(reflect.TypeFor[Runbook](), runbookFields)
	for _, k := range Kinds() {
		walk(reflect.TypeOf(NewConfig(k)), runbookFields)
	}
	walk(reflect.TypeFor[Profile](), profileFields)
	for _, table := range []map[string]field{runbookFields, profileFields} {
		for key := range table {
			if !seen[key] {
				t.Errorf("%s is described, but there is no such field", key)
			}
		}
	}
}

// TestPure: this package imports the standard library and the YAML parser.
func TestPure(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("*.go")
	if err != nil || len(files) == 0 {
		t.Fatalf("no files: %v", err)
	}
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
		if err != nil {
			t.Fatal(err)
		}
		for _, i := range parsed.Imports {
			path, err := strconv.Unquote(i.Path.Value)
			if err != nil {
				t.Fatal(err)
			}
			if first, _, _ := strings.Cut(path, "/"); strings.Contains(first, ".") && !strings.HasPrefix(path, "github.com/goccy/go-yaml") {
				t.Errorf("%s imports %s", file, path)
			}
		}
	}
}
