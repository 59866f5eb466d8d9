package main

import (
	"golang.org/x/tools/go/analysis"
	"honnef.co/go/tools/config"
	"honnef.co/go/tools/quickfix"
	"honnef.co/go/tools/simple"
	"honnef.co/go/tools/staticcheck"
	"honnef.co/go/tools/stylecheck"
)

// leftOut are checks of staticcheck that ask for more than this repository promises: comments of a set form on every
// exported name, and names of a set form.
var leftOut = map[string]bool{
	"ST1000": true, // every package has a comment
	"ST1003": true, // initialisms
	"ST1016": true, // one name for a type's receivers
	"ST1020": true, // the comment of a function begins with its name
	"ST1021": true, // … of a type
	"ST1022": true, // … of a variable
}

// staticcheckSuite is every check of staticcheck but leftOut.
func staticcheckSuite() []*analysis.Analyzer {
	// Without files of its own (staticcheck.conf) in each folder, the settings are staticcheck's own.
	config.Analyzer.Run = func(*analysis.Pass) (any, error) {
		c := config.DefaultConfig
		c.Checks = []string{"all"}
		return &c, nil
	}
	var suite []*analysis.Analyzer
	for _, a := range staticcheck.Analyzers {
		suite = append(suite, a.Analyzer)
	}
	for _, a := range stylecheck.Analyzers {
		suite = append(suite, a.Analyzer)
	}
	for _, a := range simple.Analyzers {
		suite = append(suite, a.Analyzer)
	}
	for _, a := range quickfix.Analyzers {
		suite = append(suite, a.Analyzer)
	}
	kept := suite[:0]
	for _, a := range suite {
		if !leftOut[a.Name] {
			kept = append(kept, a)
		}
	}
	return kept
}
