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
	var walk func(reflect.Type)
	walk = func(typ reflect.Type) {
		for typ.Kind() == reflect.Pointer || typ.Kind() == reflect.Slice {
			typ = typ.Elem()
		}
		if typ.Kind() != reflect.Struct {
			return
		}
		for _, p := range propertiesOf(reflect.New(typ).Elem()) {
			key := typ.Name() + "." + p.name
			if p.field.Doc == "" {
				t.Errorf("%s is not described", key)
			}
			seen[key] = true
			walk(p.value.Type())
		}
	}
	walk(reflect.TypeFor[Runbook]())
	walk(reflect.TypeFor[Profile]())
	for _, table := range []map[string]field{runbookFields, profileFields} {
		for key := range table {
			if !seen[key] {
				t.Errorf("%s is described, but there is no such field", key)
			}
		}
	}
	own := func(kind string, standard any, described fields) {
		walk(reflect.TypeOf(standard))
		for name := range described {
			if !seen[reflect.TypeOf(standard).Name()+"."+name] {
				t.Errorf("%s: %s is described, but there is no such field", kind, name)
			}
		}
	}
	for _, k := range kinds {
		own(string(k.name), k.standard, k.fields)
	}
	for _, k := range participantKinds {
		for _, p := range structProperties(reflect.ValueOf(k.config)) {
			seen[reflect.TypeOf(k.config).Name()+"."+p.name] = true
			if k.fields[p.name].Doc == "" {
				t.Errorf("participant of kind %s: %s is not described", k.name, p.name)
			}
		}
		for name := range k.fields {
			if !seen[reflect.TypeOf(k.config).Name()+"."+name] {
				t.Errorf("participant of kind %s: %s is described, but there is no such field", k.name, name)
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
