// Package planted finds what stands in production code for the sake of a test alone: a field or a variable that
// production reads and that only tests or the laboratory set, and a function that only tests call. A reader of such code
// has to tell mechanism from sabotage. What a test needs is made from outside instead: by a fake at a seam that production
// uses too, by SQL, by a signal, or by a mutant (internal/lab/mutant).
package planted

import (
	"cmp"
	"fmt"
	"go/ast"
	"go/token"
	"go/types"
	"path/filepath"
	"slices"
	"strings"
)

// Finding is something planted.
type Finding struct {
	Package string         // its import path
	At      token.Position // where it is declared
	Name    string         // Type.field, or the variable's or function's name
	What    string         // "a field that only tests set"
	By      token.Position // a place in a test that does
}

func (f Finding) String() string {
	return fmt.Sprintf("%s: %s is %s, such as %s", f.At, f.Name, f.What, f.By)
}

// thing is a declaration of production, and who uses it.
type thing struct {
	pkg, name, kind string
	at              token.Position
	read, set       int // how often production reads or calls it, and sets it
	byTests         int // how often others set or call it
	test            token.Position
}

// place is what a thing is known by in every package: what a compiled package tells of others has lines and no columns,
// and the folder in which it was compiled first.
type place struct {
	pkg, file, name string
	line            int
}

// search is one look at a program.
type search struct {
	production func(path string) bool
	things     map[place]*thing
	asked      map[string]bool // names of methods of interfaces: through those, nobody sees which is called
	pkg        *Package        // at hand
	test       bool            // the file at hand is a test's or the laboratory's
}

// Find lists what is planted in the packages that are production's.
func Find(all []*Package, production func(path string) bool) []Finding {
	s := &search{production: production, things: make(map[place]*thing), asked: make(map[string]bool)}
	for _, s.pkg = range all {
		if production(s.pkg.Path) {
			s.declared()
		}
	}
	for _, s.pkg = range all {
		s.used()
	}
	var found []Finding
	for _, t := range s.things {
		what := ""
		switch {
		case t.byTests == 0:
			continue
		case t.kind == "function" && t.read == 0 && !s.asked[t.name]:
			what = "a function that only tests call"
		case t.kind != "function" && t.read > 0 && t.set == 0:
			what = "a " + t.kind + " that only tests set"
		default:
			continue
		}
		found = append(found, Finding{Package: t.pkg, At: t.at, Name: t.name, What: what, By: t.test})
	}
	slices.SortFunc(found, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(a.At.Filename, b.At.Filename), cmp.Compare(a.At.Offset, b.At.Offset))
	})
	return found
}

func isTest(fset *token.FileSet, f *ast.File) bool {
	return strings.HasSuffix(fset.Position(f.FileStart).Filename, "_test.go")
}

// declared notes the fields, package variables and functions of production's files. An exported function may have users
// that are not here; and what has a tag, or stands beside it, is set by who reads the tags.
func (s *search) declared() {
	for _, f := range s.pkg.Files {
		if isTest(s.pkg.Fset, f) {
			continue
		}
		owner := ""
		ast.Inspect(f, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.InterfaceType:
				for _, m := range n.Methods.List {
					for _, name := range m.Names {
						s.asked[name.Name] = true
					}
				}
			case *ast.TypeSpec:
				owner = n.Name.Name + "."
			case *ast.StructType:
				s.fields(owner, n)
			}
			return true
		})
		for _, d := range f.Decls {
			switch d := d.(type) {
			case *ast.FuncDecl:
				if d.Name.Name != "init" && d.Name.Name != "main" && !d.Name.IsExported() {
					s.note(d.Name, d.Name.Name, "function")
				}
			case *ast.GenDecl:
				for _, spec := range d.Specs {
					if v, ok := spec.(*ast.ValueSpec); ok && d.Tok == token.VAR {
						for _, name := range v.Names {
							s.note(name, name.Name, "variable")
						}
					}
				}
			}
		}
	}
}

func (s *search) fields(owner string, of *ast.StructType) {
	if slices.ContainsFunc(of.Fields.List, func(f *ast.Field) bool { return f.Tag != nil }) {
		return
	}
	for _, field := range of.Fields.List {
		for _, name := range field.Names {
			s.note(name, owner+name.Name, "field")
		}
	}
}

func (s *search) note(name *ast.Ident, called, kind string) {
	if name.Name != "_" {
		at := s.pkg.Fset.Position(name.Pos())
		s.things[place{s.pkg.Path, filepath.Base(at.Filename), name.Name, at.Line}] = &thing{pkg: s.pkg.Path, name: called, kind: kind, at: at}
	}
}

// of is what a name means, where it is a thing; else nil.
func (s *search) of(object types.Object) *thing {
	if object.Pkg() == nil {
		return nil
	}
	at := s.pkg.Fset.Position(object.Pos())
	return s.things[place{object.Pkg().Path(), filepath.Base(at.Filename), object.Name(), at.Line}]
}

// used counts who reads, sets and calls.
func (s *search) used() {
	for _, f := range s.pkg.Files {
		s.test = isTest(s.pkg.Fset, f) || !s.production(s.pkg.Path)
		set := make(map[*ast.Ident]bool)
		ast.Inspect(f, func(n ast.Node) bool {
			s.sets(n, set)
			return true
		})
		ast.Inspect(f, func(n ast.Node) bool {
			name, ok := n.(*ast.Ident)
			if !ok {
				return true
			}
			if object := s.pkg.Info.Uses[name]; object != nil {
				s.count(origin(object), name, set[name])
			}
			if instance, ok := s.pkg.Info.Instances[name]; ok && strings.HasPrefix(name.Name, "RowToStruct") {
				s.all(instance.TypeArgs.At(0), name) // a row of a query sets all of them
			}
			return true
		})
	}
}

// origin is the declaration behind an instance of a generic type or function.
func origin(object types.Object) types.Object {
	switch o := object.(type) {
	case *types.Var:
		return o.Origin()
	case *types.Func:
		return o.Origin()
	}
	return object
}

func (s *search) count(object types.Object, name *ast.Ident, set bool) {
	t := s.of(object)
	switch {
	case t == nil:
	case set || s.test && t.kind == "function":
		s.sees(t, name.Pos())
	case !s.test:
		t.read++
	}
}

// sees counts one more that sets a thing.
func (s *search) sees(t *thing, by token.Pos) {
	if !s.test {
		t.set++
		return
	}
	t.byTests++
	t.test = s.pkg.Fset.Position(by)
}

// all counts every field of a struct as set.
func (s *search) all(typ types.Type, by *ast.Ident) {
	of, ok := typ.Underlying().(*types.Struct)
	if !ok {
		return
	}
	for field := range of.Fields() {
		if t := s.of(field.Origin()); t != nil {
			s.sees(t, by.Pos())
		}
	}
}

// sets collects the names that a statement or expression sets: by assignment, in a composite literal, or where their
// address is taken, for who has it may set them.
func (s *search) sets(n ast.Node, set map[*ast.Ident]bool) {
	switch n := n.(type) {
	case *ast.AssignStmt:
		for _, e := range n.Lhs {
			target(e, set)
		}
	case *ast.IncDecStmt:
		target(n.X, set)
	case *ast.RangeStmt:
		target(n.Key, set)
		target(n.Value, set)
	case *ast.UnaryExpr:
		if n.Op == token.AND {
			target(n.X, set)
		}
	case *ast.CompositeLit:
		s.literal(n, set)
	case *ast.SelectorExpr: // a method with a pointer receiver takes its operand's address
		m, ok := s.pkg.Info.Selections[n]
		if !ok || m.Kind() != types.MethodVal {
			return
		}
		_, pointer := m.Obj().(*types.Func).Signature().Recv().Type().(*types.Pointer)
		if _, already := types.Unalias(m.Recv()).(*types.Pointer); pointer && !already {
			target(n.X, set)
		}
	}
}

// target marks the names of what is assigned to: of x.a.b[i] both a and b, since either has changed then.
func target(e ast.Expr, set map[*ast.Ident]bool) {
	for e != nil {
		switch x := e.(type) {
		case *ast.Ident:
			set[x] = true
			return
		case *ast.SelectorExpr:
			set[x.Sel] = true
			e = x.X
		case *ast.IndexExpr:
			e = x.X
		case *ast.SliceExpr:
			e = x.X
		case *ast.StarExpr:
			e = x.X
		case *ast.ParenExpr:
			e = x.X
		default:
			return
		}
	}
}

func (s *search) literal(n *ast.CompositeLit, set map[*ast.Ident]bool) {
	typ := s.pkg.Info.TypeOf(n)
	if typ == nil {
		return
	}
	if p, ok := typ.Underlying().(*types.Pointer); ok { // of an element of []*T
		typ = p.Elem()
	}
	of, ok := typ.Underlying().(*types.Struct)
	if !ok {
		return
	}
	for i, e := range n.Elts {
		if kv, ok := e.(*ast.KeyValueExpr); ok {
			if name, ok := kv.Key.(*ast.Ident); ok {
				set[name] = true
			}
			continue
		}
		if t := s.of(of.Field(i).Origin()); t != nil { // without names
			s.sees(t, e.Pos())
		}
	}
}
