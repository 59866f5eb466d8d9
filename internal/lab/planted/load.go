package planted

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Package is a package, together with those of its tests that see what is unexported; or the other tests of one.
type Package struct {
	Path  string // that of the package that is tested, too
	Fset  *token.FileSet
	Files []*ast.File
	Info  types.Info
}

// listed is what go list -json says of a package. Export is the file with its compiled types.
type listed struct {
	ImportPath, ForTest, Dir, Export string
	DepOnly                          bool
	GoFiles                          []string
	ImportMap                        map[string]string
}

// Load reads the packages of the module in dir with their tests, as they are built with tags.
func Load(ctx context.Context, dir, tags string) ([]*Package, error) {
	cmd := exec.CommandContext(ctx, "go", "list", "-export", "-deps", "-test", "-tags", tags, "-json=ImportPath,ForTest,Dir,Export,DepOnly,GoFiles,ImportMap", "./...")
	cmd.Dir = dir
	output, err := cmd.Output()
	if err != nil {
		var failed *exec.ExitError
		if errors.As(err, &failed) {
			err = fmt.Errorf("%w: %s", err, failed.Stderr)
		}
		return nil, fmt.Errorf("go list in %s: %w", dir, err)
	}
	exports := make(map[string]string)
	var ours []listed
	tested := make(map[string]bool)
	for d := json.NewDecoder(bytes.NewReader(output)); ; {
		var l listed
		if err := d.Decode(&l); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return nil, fmt.Errorf("go list in %s: %w", dir, err)
		}
		exports[l.ImportPath] = l.Export
		switch {
		case l.DepOnly && l.ForTest == "", strings.HasSuffix(l.ImportPath, ".test"):
			continue // not of this module, or the program that runs tests
		case l.ForTest != "" && strings.HasPrefix(l.ImportPath, l.ForTest+" "):
			tested[l.ForTest] = true
		case l.ForTest != "" && !strings.HasPrefix(l.ImportPath, l.ForTest+"_test "):
			continue // built anew for the tests of another
		}
		ours = append(ours, l)
	}
	var all []*Package
	for _, l := range ours {
		if tested[l.ImportPath] {
			continue // its variant with tests has all of it
		}
		p, err := check(l, exports)
		if err != nil {
			return nil, err
		}
		all = append(all, p)
	}
	return all, nil
}

// check finds out what each name of a package means. exports are the files with the types of the others.
func check(l listed, exports map[string]string) (*Package, error) {
	p := &Package{Path: cmp.Or(l.ForTest, l.ImportPath), Fset: token.NewFileSet(), Info: types.Info{
		Types: make(map[ast.Expr]types.TypeAndValue), Instances: make(map[*ast.Ident]types.Instance), Uses: make(map[*ast.Ident]types.Object), Selections: make(map[*ast.SelectorExpr]*types.Selection)}}
	for _, name := range l.GoFiles {
		f, err := parser.ParseFile(p.Fset, filepath.Join(l.Dir, name), nil, parser.SkipObjectResolution)
		if err != nil {
			return nil, err
		}
		p.Files = append(p.Files, f)
	}
	open := func(path string) (io.ReadCloser, error) {
		if variant, ok := l.ImportMap[path]; ok {
			path = variant
		}
		return os.Open(exports[path])
	}
	config := types.Config{Importer: importer.ForCompiler(p.Fset, "gc", open)}
	if _, err := config.Check(p.Path, p.Fset, p.Files, &p.Info); err != nil {
		return nil, fmt.Errorf("read %s: %w", l.ImportPath, err)
	}
	return p, nil
}
