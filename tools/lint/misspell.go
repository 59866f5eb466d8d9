package main

import (
	"go/token"
	"sync"

	"github.com/golangci/misspell"
	"golang.org/x/tools/go/analysis"
)

var misspelled = &analysis.Analyzer{
	Name: "misspell",
	Doc:  "words that are often misspelled",
	Run:  misspellings,
}

// words is the dictionary, compiled once and only where a package is judged: that costs more than to judge it.
var words = sync.OnceValue(func() *misspell.Replacer {
	r := &misspell.Replacer{Replacements: misspell.DictMain}
	r.Compile()
	return r
})

func misspellings(pass *analysis.Pass) (any, error) {
	for _, file := range pass.Files {
		tf := pass.Fset.File(file.FileStart)
		text, err := pass.ReadFile(tf.Name())
		if err != nil {
			return nil, err
		}
		_, diffs := words().Replace(string(text))
		for _, d := range diffs {
			pass.Reportf(tf.LineStart(d.Line)+token.Pos(d.Column), "%q is a misspelling of %q", d.Original, d.Corrected)
		}
	}
	return nil, nil
}
