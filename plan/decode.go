package plan

import (
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"
)

// decoder fills Go structs from a YAML tree and goes on after a mistake, so that a person sees all of them at once.
// It remembers where each field stood, for the checks that come after it.
type decoder struct {
	file   string
	env    func(string) (string, bool)
	errs   Errors
	places map[string][2]int // field path → line, column
	stray  map[string]bool   // field paths of participants whose kind has no such field
	loose  bool              // nobody reads errs: a value without its variable says why it has none
}

func newDecoder(file string, env func(string) (string, bool)) *decoder {
	return &decoder{file: file, env: env, places: map[string][2]int{"": {1, 1}}, stray: map[string]bool{}}
}

// add records a mistake at a field. A field that is not in the file stands where its parent does.
func (d *decoder) add(path, way, format string, args ...any) {
	at, ok := d.places[path]
	for p := path; !ok; at, ok = d.places[p] {
		p = p[:max(0, strings.LastIndexAny(p, ".["))]
		if at, ok = d.places[p]; ok {
			break
		}
	}
	d.errs = append(d.errs, &Error{
		File: d.file, Line: at[0], Column: at[1], Field: path, Msg: fmt.Sprintf(format, args...), Way: way,
	})
}

// addAt records a mistake at a node.
func (d *decoder) addAt(n ast.Node, path, way, format string, args ...any) {
	line, column := place(n)
	d.errs = append(d.errs, &Error{
		File: d.file, Line: line, Column: column, Field: path, Msg: fmt.Sprintf(format, args...), Way: way,
	})
}

// unknown records a field that nobody knows.
func (d *decoder) unknown(key ast.Node, path, name string, known []string) {
	if !wordLike.MatchString(name) {
		d.addAt(key, path, "known here: "+strings.Join(known, ", "), "unknown field %s", quoted(name))
		return
	}
	d.addAt(key, join(path, name), suggest(name, known), "unknown field")
}

// place remembers where a field stands.
func (d *decoder) place(path string, n ast.Node) {
	line, column := place(n)
	if line > 0 {
		d.places[path] = [2]int{line, column}
	}
}

var durationType = reflect.TypeFor[time.Duration]()

// value decodes one node into v. f is what is known of the field.
func (d *decoder) value(n ast.Node, v reflect.Value, path string, f field) {
	d.place(path, n)
	if v.Kind() == reflect.Pointer {
		fresh := reflect.New(v.Type().Elem())
		d.value(n, fresh.Elem(), path, f)
		v.Set(fresh)
		return
	}
	if _, null := n.(*ast.NullNode); null {
		d.add(path, "", "expected %s, found nothing", wanted(v.Type()))
		return
	}
	switch {
	case v.Type() == durationType:
		d.duration(n, v, path, f)
	case v.Type() == reflect.TypeFor[StepSpec]():
		d.step(n, v.Addr().Interface().(*StepSpec), path)
	case v.Type() == reflect.TypeFor[ParticipantSpec]():
		d.participant(n, v.Addr().Interface().(*ParticipantSpec), path)
	case v.Kind() == reflect.Struct:
		d.structure(n, v, path)
	case v.Kind() == reflect.Slice:
		d.list(n, v, path, f)
	case v.Kind() == reflect.Map:
		d.dictionary(n, v, path, f)
	default:
		d.scalar(n, v, path, f)
	}
}

// structure decodes a map into a struct by its yaml tags.
func (d *decoder) structure(n ast.Node, v reflect.Value, path string) {
	prepare(v)
	entries, ok := d.entries(n, path, wanted(v.Type()))
	if !ok {
		return
	}
	d.fields(entries, v, path, nil)
}

// root decodes the document. Without a map there is nothing more to check.
func (d *decoder) root(n ast.Node, v reflect.Value, way string) bool {
	switch n.(type) {
	case *ast.MappingNode, *ast.MappingValueNode:
		d.structure(n, v, "")
		return true
	}
	d.addAt(n, "", way, "expected a map, found %s", found(n))
	return false
}

// fields decodes the entries of a map. others are names that are known but decoded elsewhere.
func (d *decoder) fields(entries []*ast.MappingValueNode, v reflect.Value, path string, others []string) {
	d.properties(entries, propertiesOf(v), path, others)
}

func (d *decoder) properties(entries []*ast.MappingValueNode, all []property, path string, others []string) {
	known := make([]string, len(all))
	for i, p := range all {
		known[i] = p.name
	}
	given := make(map[string]bool)
	for _, entry := range entries {
		name := keyText(entry.Key)
		i := slices.Index(known, name)
		if i < 0 {
			if !slices.Contains(others, name) {
				d.unknown(entry.Key, path, name, append(slices.Clone(known), others...))
			}
			continue
		}
		p, at := all[i], join(path, name)
		if _, null := entry.Value.(*ast.NullNode); null {
			continue // `dsn:` with nothing behind it is a field that is not set
		}
		given[name] = true
		before := len(d.errs)
		d.value(entry.Value, p.value, at, p.field)
		if p.field.Required && empty(p.value) && len(d.errs) == before {
			d.add(at, "", "must not be empty")
		}
	}
	for _, p := range all {
		if p.field.Required && !given[p.name] {
			way := ""
			if len(p.field.Enum) > 0 {
				way = "one of " + strings.Join(p.field.Enum, ", ")
			}
			d.add(join(path, p.name), way, "missing")
		}
	}
}

// entries gives the entries of a map without duplicate keys, each of which is a mistake.
func (d *decoder) entries(n ast.Node, path, want string) ([]*ast.MappingValueNode, bool) {
	var all []*ast.MappingValueNode
	switch m := n.(type) {
	case *ast.MappingNode:
		all = m.Values
	case *ast.MappingValueNode:
		all = []*ast.MappingValueNode{m}
	default:
		d.add(path, "", "expected %s, found %s", want, found(n))
		return nil, false
	}
	seen := make(map[string]int)
	var unique []*ast.MappingValueNode
	for _, entry := range all {
		name := keyText(entry.Key)
		if first, ok := seen[name]; ok {
			d.addAt(entry.Key, join(path, shown(name)), "keep one of the two", "given twice, first in line %d", first)
			continue
		}
		seen[name], _ = place(entry.Key)
		unique = append(unique, entry)
	}
	return unique, true
}

// list decodes a sequence.
func (d *decoder) list(n ast.Node, v reflect.Value, path string, f field) {
	seq, ok := n.(*ast.SequenceNode)
	if !ok {
		way := ""
		if v.Type().Elem().Kind() == reflect.String {
			way = "write it as [word, word] or with a - before each"
		}
		d.add(path, way, "expected %s, found %s", wanted(v.Type()), found(n))
		return
	}
	v.Set(reflect.MakeSlice(v.Type(), len(seq.Values), len(seq.Values)))
	f.Required = false
	for i, item := range seq.Values {
		d.value(item, v.Index(i), fmt.Sprintf("%s[%d]", path, i), f)
	}
}

// dictionary decodes a map from text to numbers or text.
func (d *decoder) dictionary(n ast.Node, v reflect.Value, path string, f field) {
	entries, ok := d.entries(n, path, wanted(v.Type()))
	if !ok {
		return
	}
	v.Set(reflect.MakeMap(v.Type()))
	for _, entry := range entries {
		item := reflect.New(v.Type().Elem()).Elem()
		d.value(entry.Value, item, join(path, shown(keyText(entry.Key))), f)
		v.SetMapIndex(reflect.ValueOf(keyText(entry.Key)), item)
	}
}

// scalar decodes text, numbers and booleans. Text that looks like a number must be in quotes, and the other way round.
func (d *decoder) scalar(n ast.Node, v reflect.Value, path string, f field) {
	switch v.Kind() {
	case reflect.String:
		text, ok := textOf(n)
		if !ok && f.Number {
			text, ok = digitsOf(n)
		}
		if !ok {
			d.add(path, quoteIt(n), "expected text, found %s", found(n))
			return
		}
		d.text(text, v, path, f)
	case reflect.Bool:
		b, ok := n.(*ast.BoolNode)
		if !ok {
			d.add(path, "write true or false", "expected true or false, found %s", found(n))
			return
		}
		v.SetBool(b.Value)
	case reflect.Float64:
		x, ok := numberOf(n)
		if !ok {
			d.add(path, "", "expected a number, found %s", found(n))
			return
		}
		if x < 0 || f.Max > 0 && x > float64(f.Max) {
			d.add(path, "", "must be from 0 to %d", f.Max)
			return
		}
		v.SetFloat(x)
	default: // int, int64
		x, ok := wholeOf(n)
		if !ok {
			d.add(path, "", "expected a whole number, found %s", found(n))
			return
		}
		if x < f.Min || f.Max > 0 && x > f.Max {
			d.add(path, "", "must be %s", between(f))
			return
		}
		v.SetInt(x)
	}
}

// text fills in the environment and checks the words of an enumeration.
func (d *decoder) text(text string, v reflect.Value, path string, f field) {
	if f.Env {
		var errs []*Error
		if text, errs = expand(text, d.env); len(errs) > 0 {
			for _, err := range errs {
				d.add(path, err.Way, "%s", err.Msg)
			}
			// The value stays, wrong as it is: a "missing" on top would mislead.
			text = unresolved
			if d.loose {
				reasons := make([]string, len(errs))
				for i, err := range errs {
					reasons[i] = strings.TrimPrefix(err.Msg, "environment variable ")
				}
				text = unresolved + " " + strings.Join(reasons, ", ")
			}
		}
	}
	if len(f.Enum) > 0 && text != "" && !slices.Contains(f.Enum, text) {
		way := ""
		if near := nearest(text, f.Enum); near != "" {
			way = fmt.Sprintf("did you mean %q?", near)
		}
		d.add(path, way, "is %s, which is none of %s", quoted(text), strings.Join(f.Enum, ", "))
		return
	}
	v.SetString(text)
}

// unresolved stands for text with a variable that was not set. Checks of the text's form pass over it.
const unresolved = "\x00unresolved"

// duration decodes "500ms", "5s", "1h30m".
func (d *decoder) duration(n ast.Node, v reflect.Value, path string, f field) {
	const way = `write it with its unit, such as "500ms", "5s", "30m" or "1h30m"`
	text, ok := textOf(n)
	if !ok {
		d.add(path, way, "expected a duration, found %s", found(n))
		return
	}
	x, err := time.ParseDuration(text)
	if err != nil {
		d.add(path, way, "is not a duration")
		return
	}
	if int64(x) < f.Min {
		if f.Min == 1 {
			d.add(path, "", "must be more than 0s")
			return
		}
		d.add(path, "", "must be at least %s", time.Duration(f.Min))
		return
	}
	v.SetInt(int64(x))
}

// wholeOf is a whole number that fits into an int64.
func wholeOf(n ast.Node) (int64, bool) {
	i, ok := n.(*ast.IntegerNode)
	if !ok {
		return 0, false
	}
	switch x := i.Value.(type) {
	case int64:
		return x, true
	case uint64:
		return int64(x), x <= math.MaxInt64
	}
	return 0, false
}

func numberOf(n ast.Node) (float64, bool) {
	if f, ok := n.(*ast.FloatNode); ok {
		return f.Value, true
	}
	i, ok := wholeOf(n)
	return float64(i), ok
}
