package main

import (
	"golang.org/x/tools/go/analysis"
	u1000 "honnef.co/go/tools/unused"
)

// unused reports what staticcheck's U1000 finds. That one hands its findings to staticcheck's own program, which asks
// whether any variant of a package uses a name; go vet looks at each package once, together with its tests, so that the
// question is answered here. Exported names count as used: another package may use them.
var unused = &analysis.Analyzer{
	Name:     "unused",
	Doc:      "constants, variables, functions, fields and types that nobody uses",
	Requires: []*analysis.Analyzer{u1000.Analyzer.Analyzer},
	Run: func(pass *analysis.Pass) (any, error) {
		for _, o := range pass.ResultOf[u1000.Analyzer.Analyzer].(u1000.Result).Unused {
			if o.Kind != "type param" {
				pass.Reportf(at(pass, o.Position), "%s %s is unused", o.Kind, o.Name)
			}
		}
		return nil, nil
	},
}
