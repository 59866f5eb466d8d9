package main

import (
	"regexp"

	kisielk "github.com/kisielk/errcheck/errcheck"
	"golang.org/x/tools/go/analysis"
)

var errcheck = &analysis.Analyzer{
	Name:     "unread",
	Doc:      "an error that a call returns is looked at",
	Requires: []*analysis.Analyzer{kisielk.Analyzer},
	Run:      unreadErrors,
}

// unread are the functions whose error says nothing that the program could act on: printing for a person, closing and
// rolling back what is given up anyway, removing temporary files.
var unread = regexp.MustCompile(`(?i)(\.|^)([a-z]*print(f|ln)?|[a-z]*close|[a-z]*flush|rollback|remove(all)?|(un)?setenv)(\(|$)`)

func unreadErrors(pass *analysis.Pass) (any, error) {
	for _, e := range pass.ResultOf[kisielk.Analyzer].(kisielk.Result).UncheckedErrors {
		if name := e.FuncName; !unread.MatchString(name) {
			pass.Reportf(at(pass, e.Pos), "the error of %s is not looked at", name)
		}
	}
	return nil, nil
}
