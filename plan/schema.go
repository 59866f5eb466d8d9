package plan

import (
	"encoding/json"
	"reflect"
	"time"
)

// durationPattern is what time.ParseDuration takes, without a sign.
const durationPattern = `^([0-9]+(\.[0-9]*)?|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h)(([0-9]+(\.[0-9]*)?|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h))*$|^0$`

// RunbookSchema is the JSON Schema (draft 2020-12) of a runbook, for editors. It refuses unknown fields, wrong types,
// unknown words and missing fields; what steps mean together only LoadRunbook knows.
func RunbookSchema() ([]byte, error) {
	s := schema{defs: make(map[string]any)}
	root := s.object(reflect.New(reflect.TypeFor[Runbook]()).Elem(), nil)
	return s.document(root, "Tideover runbook")
}

// ProfileSchema is the JSON Schema (draft 2020-12) of a profile.
func ProfileSchema() ([]byte, error) {
	s := schema{defs: make(map[string]any)}
	root := s.object(reflect.New(reflect.TypeFor[Profile]()).Elem(), nil)
	return s.document(root, "Tideover profile")
}

// schema collects the definitions of the struct types that are met on the way.
type schema struct {
	defs map[string]any
}

func (s *schema) document(root map[string]any, title string) ([]byte, error) {
	root["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	root["title"] = title
	root["$defs"] = s.defs
	return json.MarshalIndent(root, "", "  ")
}

// object is the schema of a struct, which has its defaults in it. more are properties besides those of its own fields.
func (s *schema) object(standard reflect.Value, more map[string]any) map[string]any {
	properties, required := map[string]any{}, []string{}
	for name, p := range more {
		properties[name] = p
	}
	prepare(standard)
	for _, p := range propertiesOf(standard) {
		property := s.value(p.value.Type(), p.field)
		property["description"] = p.field.Doc
		if v, ok := plain(p.value); ok {
			property["default"] = v
		}
		if p.field.Required {
			required = append(required, p.name)
		} else {
			orNull(property)
		}
		properties[p.name] = property
	}
	o := map[string]any{"type": "object", "properties": properties, "additionalProperties": false}
	if len(required) > 0 {
		o["required"] = required
	}
	return o
}

// orNull lets a field be there without a value, as the decoder does.
func orNull(property map[string]any) {
	if t, ok := property["type"].(string); ok {
		property["type"] = []string{t, "null"}
		if words, ok := property["enum"].([]any); ok {
			property["enum"] = append(words, nil)
		}
		return
	}
	if ref, ok := property["$ref"]; ok {
		delete(property, "$ref")
		property["anyOf"] = []any{map[string]any{"$ref": ref}, map[string]any{"type": "null"}}
	}
}

// value is the schema of one field's value.
func (s *schema) value(t reflect.Type, f field) map[string]any {
	switch {
	case t == durationType:
		return map[string]any{"type": "string", "pattern": durationPattern}
	case t == reflect.TypeFor[StepSpec]():
		return s.steps()
	}
	switch t.Kind() {
	case reflect.Pointer:
		return s.value(t.Elem(), f)
	case reflect.Struct:
		if _, ok := s.defs[t.Name()]; !ok {
			s.defs[t.Name()] = nil // a type that contains itself would go round for ever
			s.defs[t.Name()] = s.object(reflect.New(t).Elem(), nil)
		}
		return map[string]any{"$ref": "#/$defs/" + t.Name()}
	case reflect.Slice:
		v := map[string]any{"type": "array", "items": s.value(t.Elem(), field{Enum: f.Enum})}
		if f.Required {
			v["minItems"] = 1
		}
		return v
	case reflect.Map:
		return map[string]any{"type": "object", "additionalProperties": s.value(t.Elem(), f)}
	case reflect.Bool:
		return map[string]any{"type": "boolean"}
	case reflect.Float64:
		return map[string]any{"type": "number", "minimum": 0, "maximum": f.Max}
	case reflect.String:
		return text(f)
	}
	v := map[string]any{"type": "integer", "minimum": f.Min}
	if f.Max > 0 {
		v["maximum"] = f.Max
	}
	return v
}

func text(f field) map[string]any {
	v := map[string]any{"type": "string"}
	if f.Number {
		v["type"] = []string{"string", "number"}
	}
	if f.Required {
		v["minLength"] = 1
	}
	if len(f.Enum) > 0 {
		words := make([]any, len(f.Enum))
		for i, w := range f.Enum {
			words[i] = w
		}
		v["enum"] = words
	}
	return v
}

// steps is the schema of one step: the kind chooses the other fields.
func (s *schema) steps() map[string]any {
	var each []any
	of := func(name string) string { return fieldOf(stepType, name).Doc }
	for _, k := range kinds {
		step := map[string]any{"const": string(k.name), "description": of("step")}
		id := map[string]any{"type": []string{"string", "null"}, "pattern": stepID.String(), "description": of("id")}
		approve := map[string]any{"type": []string{"boolean", "null"}, "description": of("approve")}
		t := reflect.TypeOf(k.standard)
		o := s.object(reflect.ValueOf(fresh(k.standard)).Elem(), map[string]any{"step": step, "id": id, "approve": approve})
		required, _ := o["required"].([]string)
		o["required"] = append([]string{"step"}, required...)
		s.defs[t.Name()] = o
		each = append(each, map[string]any{"$ref": "#/$defs/" + t.Name()})
	}
	// The enumeration comes first, so that an editor offers the kinds.
	return map[string]any{
		"type":       "object",
		"required":   []string{"step"},
		"properties": map[string]any{"step": map[string]any{"enum": kindNames()}},
		"oneOf":      each,
	}
}

// plain is a default as it is written in a file.
func plain(v reflect.Value) (any, bool) {
	if v.Kind() == reflect.Pointer || v.Kind() == reflect.Struct || v.IsZero() {
		return nil, false
	}
	if d, ok := v.Interface().(time.Duration); ok {
		return written(d), true
	}
	return v.Interface(), true
}
