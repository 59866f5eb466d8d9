package plan

import (
	"fmt"
	"reflect"
	"regexp"
	"slices"

	"github.com/goccy/go-yaml/ast"
)

var stepType = reflect.TypeFor[StepSpec]()

// stepFields are the fields that every step has.
var stepFields = []string{"step", "id", "approve"}

var stepID = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,62}$`)

// step decodes one entry of "steps:": the fields of every step, and the kind's own beside them.
func (d *decoder) step(n ast.Node, s *StepSpec, path string) {
	s.Line, s.Column = place(n)
	entries, ok := d.entries(n, path, "a map that begins with `step:`")
	if !ok {
		return
	}
	given := false
	for _, entry := range entries {
		name := keyText(entry.Key)
		if !slices.Contains(stepFields, name) {
			continue
		}
		if _, null := entry.Value.(*ast.NullNode); null {
			continue
		}
		f, at := fieldOf(stepType, name), join(path, name)
		switch name {
		case "step":
			given = true
			d.value(entry.Value, reflect.ValueOf(&s.Kind).Elem(), at, f)
			if s.Config = NewConfig(s.Kind); s.Config == nil && s.Kind != "" {
				d.add(at, suggest(string(s.Kind), kindNames()), "there is no step kind %s", quoted(string(s.Kind)))
			}
		case "id":
			d.value(entry.Value, reflect.ValueOf(&s.ID).Elem(), at, f)
			if s.ID != "" && !stepID.MatchString(s.ID) {
				d.add(at, "use a-z, 0-9 and -, beginning with a letter or digit, 63 at most", "is not an id")
			}
		case "approve":
			d.value(entry.Value, reflect.ValueOf(&s.Approve).Elem(), at, f)
		}
	}
	if !given {
		d.add(join(path, "step"), "begin the entry with `- step: ` and one of the kinds", "missing")
	}
	if s.Config == nil {
		return // without the kind nothing is known of the other fields
	}
	d.fields(entries, reflect.ValueOf(s.Config).Elem(), path, stepFields)
}

// name finds ids that are there twice, and gives every step without an id its kind, with a number if that is taken.
func (d *decoder) name(steps []StepSpec) {
	taken := make(map[string]int)
	for i, s := range steps {
		if s.ID == "" {
			continue
		}
		if first, ok := taken[s.ID]; ok && stepID.MatchString(s.ID) {
			d.add(fmt.Sprintf("steps[%d].id", i), "every step needs an id of its own", "%q is the id of steps[%d] too", s.ID, first)
			continue
		}
		taken[s.ID] = i
	}
	for i := range steps {
		s := &steps[i]
		if s.ID != "" || s.Kind == "" {
			continue
		}
		id := string(s.Kind)
		for n := 2; has(taken, id); n++ {
			id = fmt.Sprintf("%s-%d", s.Kind, n)
		}
		s.ID, taken[id] = id, i
	}
}

func has(m map[string]int, key string) bool {
	_, ok := m[key]
	return ok
}
