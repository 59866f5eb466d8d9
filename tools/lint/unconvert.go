package main

import (
	"github.com/golangci/unconvert"
	"golang.org/x/tools/go/analysis"
)

var unneededConversion = &analysis.Analyzer{
	Name: "unconvert",
	Doc:  "conversions of a value to the type that it has",
	Run: func(pass *analysis.Pass) (any, error) {
		for _, p := range unconvert.Run(pass) {
			pass.Reportf(at(pass, p), "unneeded conversion")
		}
		return nil, nil
	},
}
