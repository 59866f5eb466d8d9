// Lint is the linter of this repository, as a tool for go vet:
//
//	go -C tools build -o ../bin/lint ./lint
//	go vet -vettool=bin/lint -tags container,hydra ./...
//
// That way the go command hands it one package at a time, with its tests, and keeps each verdict in the build cache: what
// did not change is not looked at again. One program of plain analyzers is compiled in seconds where a framework that
// brings a hundred of them takes minutes.
package main

import (
	"encoding/gob"
	"encoding/json"
	"os"
	"slices"
	"strings"

	"golang.org/x/tools/go/analysis"
	"golang.org/x/tools/go/analysis/passes/ctrlflow"
	"golang.org/x/tools/go/analysis/passes/printf"
	"golang.org/x/tools/go/analysis/suite/vet"
	"golang.org/x/tools/go/analysis/unitchecker"
	"honnef.co/go/tools/analysis/facts/deprecated"
)

// module is the repository's own path: its packages are judged.
const module = "github.com/tideover/tideover"

// known is what is asked of the packages of other modules: what is deprecated, what never returns, what formats. To
// follow their functions any further takes more time than all the rest. The standard library is followed.
var known = []*analysis.Analyzer{deprecated.Analyzer, ctrlflow.Analyzer, printf.Analyzer}

func main() {
	suite := slices.Concat(vet.Suite, staticcheckSuite(), ownSuite())
	if unit := os.Args[len(os.Args)-1]; strings.HasSuffix(unit, ".cfg") && foreign(unit) {
		register(suite) // the facts of the standard library are read and passed on
		unitchecker.Run(unit, known)
	}
	unitchecker.Main(suite...)
}

// foreign reports whether the package that the file unit describes belongs to another module.
func foreign(unit string) bool {
	data, err := os.ReadFile(unit)
	if err != nil {
		return false
	}
	var config unitchecker.Config
	if json.Unmarshal(data, &config) != nil {
		return false
	}
	return config.VetxOnly && config.ModulePath != "" && !strings.HasPrefix(config.ModulePath, module)
}

// register makes the facts of analyzers, and of those that they stand on, known to the encoding that facts are kept in.
func register(analyzers []*analysis.Analyzer) {
	for _, a := range analyzers {
		for _, fact := range a.FactTypes {
			gob.Register(fact)
		}
		register(a.Requires)
	}
}
