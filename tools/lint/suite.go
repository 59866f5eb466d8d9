package main

import (
	"go/token"
	"strings"

	"codeberg.org/polyfloyd/go-errorlint/errorlint"
	"github.com/gordonklaus/ineffassign/pkg/ineffassign"
	"github.com/sonatard/noctx"
	"github.com/timakin/bodyclose/passes/bodyclose"
	"golang.org/x/tools/go/analysis"
)

// ownSuite is what this repository asks beyond go vet and staticcheck.
func ownSuite() []*analysis.Analyzer {
	return []*analysis.Analyzer{
		production(bodyclose.Analyzer), // an open body leaks a connection of the load generator or the router
		production(errcheck),           // an error is looked at
		errorlint.NewAnalyzer(),        // errors are wrapped, so they are asked with errors.Is and errors.As
		ineffassign.Analyzer,           // a value that nobody reads
		misspelled,                     // words
		production(noctx.Analyzer),     // every request and query has a context, or nothing can be given up
		unneededConversion,             // int(i) of an int
		unused,                         // names that nobody uses
	}
}

// production is a with no eye on tests: what they leave open or unread ends with them.
func production(a *analysis.Analyzer) *analysis.Analyzer {
	b := *a
	b.Run = func(pass *analysis.Pass) (any, error) {
		p := *pass
		p.Report = func(d analysis.Diagnostic) {
			if !inTest(pass.Fset, d.Pos) {
				pass.Report(d)
			}
		}
		return a.Run(&p)
	}
	return &b
}

func inTest(fset *token.FileSet, pos token.Pos) bool {
	return strings.HasSuffix(fset.Position(pos).Filename, "_test.go")
}

// at is the place of p in the files of pass: what comes from an analyzer that speaks in lines and columns.
func at(pass *analysis.Pass, p token.Position) token.Pos {
	for _, f := range pass.Files {
		tf := pass.Fset.File(f.FileStart)
		if tf.Name() == p.Filename {
			return tf.LineStart(p.Line) + token.Pos(p.Column-1)
		}
	}
	return token.NoPos
}
