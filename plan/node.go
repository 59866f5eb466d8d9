package plan

import (
	"fmt"
	"reflect"
	"strings"

	"github.com/goccy/go-yaml/ast"
)

// textOf is the text of a string node, quoted, plain or in a block.
func textOf(n ast.Node) (string, bool) {
	switch s := n.(type) {
	case *ast.StringNode:
		return s.Value, true
	case *ast.LiteralNode:
		return s.Value.Value, true
	}
	return "", false
}

// digitsOf is a number as it is written, its zeros included.
func digitsOf(n ast.Node) (string, bool) {
	switch n.(type) {
	case *ast.IntegerNode, *ast.FloatNode:
		return n.GetToken().Value, true
	}
	return "", false
}

// keyText is a map's key as it stands in the file.
func keyText(key ast.MapKeyNode) string {
	if s, ok := key.(*ast.StringNode); ok {
		return s.Value
	}
	if tk := key.GetToken(); tk != nil {
		return tk.Value
	}
	return ""
}

// found names a node in plain words, without its value.
func found(n ast.Node) string {
	switch n.(type) {
	case *ast.MappingNode, *ast.MappingValueNode:
		return "a map"
	case *ast.SequenceNode:
		return "a list"
	case *ast.StringNode, *ast.LiteralNode:
		return "text"
	case *ast.BoolNode:
		return "true or false"
	case *ast.IntegerNode:
		return "a whole number"
	case *ast.FloatNode, *ast.InfinityNode, *ast.NanNode:
		return "a number"
	case *ast.NullNode:
		return "nothing"
	}
	return "something else"
}

// quoteIt is the hint where a plain scalar was read as something other than text.
func quoteIt(n ast.Node) string {
	switch n.(type) {
	case *ast.BoolNode, *ast.IntegerNode, *ast.FloatNode, *ast.InfinityNode, *ast.NanNode:
		return "put it in quotes"
	}
	return ""
}

// wanted names a Go type in the words of the file.
func wanted(t reflect.Type) string {
	if t == durationType {
		return "a duration"
	}
	switch t.Kind() {
	case reflect.Pointer:
		return wanted(t.Elem())
	case reflect.Struct:
		return "a map"
	case reflect.Map:
		if t.Elem().Kind() == reflect.String {
			return "a map of texts"
		}
		return "a map of numbers"
	case reflect.Slice:
		switch t.Elem().Kind() {
		case reflect.String:
			return "a list of words"
		default:
			return "a list of maps"
		}
	case reflect.String:
		return "text"
	case reflect.Bool:
		return "true or false"
	case reflect.Float64:
		return "a number"
	}
	return "a whole number"
}

func between(f field) string {
	if f.Max > 0 && f.Max == f.Min {
		return fmt.Sprint(f.Max)
	}
	if f.Max > 0 {
		return fmt.Sprintf("from %d to %d", f.Min, f.Max)
	}
	return fmt.Sprintf("at least %d", f.Min)
}

// yamlName is the name of a struct field in the file; empty for one that is not in it.
func yamlName(f reflect.StructField) string {
	if name := f.Tag.Get("yaml"); name != "-" {
		return name
	}
	return ""
}

// empty says that a required field has nothing in it. A number has always something in it.
func empty(v reflect.Value) bool {
	switch v.Kind() {
	case reflect.String:
		return strings.TrimSpace(v.String()) == ""
	case reflect.Slice:
		return v.Len() == 0
	}
	return false
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

// shown is a key as part of a field path.
func shown(name string) string {
	if wordLike.MatchString(name) {
		return name
	}
	return "?"
}
