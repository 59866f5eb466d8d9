package lint

import (
	"encoding/json"
	"io"
	"path"

	"github.com/tideover/tideover/sqlrewrite"
)

const sarifSchema = "https://json.schemastore.org/sarif-2.1.0.json"

// Source: OASIS, "Static Analysis Results Interchange Format (SARIF) Version 2.1.0".
type sarifLog struct {
	Schema  string     `json:"$schema"`
	Version string     `json:"version"`
	Runs    []sarifRun `json:"runs"`
}

type sarifRun struct {
	Tool    sarifTool     `json:"tool"`
	Results []sarifResult `json:"results"`
}

type sarifTool struct {
	Driver sarifDriver `json:"driver"`
}

type sarifDriver struct {
	Name  string      `json:"name"`
	Rules []sarifRule `json:"rules"`
}

type sarifRule struct {
	ID string `json:"id"`
}

type sarifResult struct {
	RuleID    string          `json:"ruleId"`
	Level     string          `json:"level"`
	Message   sarifText       `json:"message"`
	Locations []sarifLocation `json:"locations"`
}

type sarifText struct {
	Text string `json:"text"`
}

type sarifLocation struct {
	Physical sarifPhysical `json:"physicalLocation"`
}

type sarifPhysical struct {
	Artifact sarifArtifact `json:"artifactLocation"`
	Region   sarifRegion   `json:"region"`
}

type sarifArtifact struct {
	URI string `json:"uri"`
}

type sarifRegion struct {
	StartLine   int `json:"startLine"`
	StartColumn int `json:"startColumn"`
}

func (r *Report) sarif(w io.Writer) error {
	run := sarifRun{Tool: sarifTool{sarifDriver{Name: "tideover"}}, Results: []sarifResult{}}
	for _, n := range append(sqlrewrite.HazardNames(), "note") {
		run.Tool.Driver.Rules = append(run.Tool.Driver.Rules, sarifRule{n})
	}
	for _, f := range r.Findings {
		run.Results = append(run.Results, sarifResult{RuleID: f.Rule, Level: r.level(f), Message: sarifText{message(f)},
			Locations: []sarifLocation{{sarifPhysical{sarifArtifact{path.Join(r.Dir, f.File)}, sarifRegion{max(f.Line, 1), max(f.Column, 1)}}}}})
	}
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(sarifLog{Schema: sarifSchema, Version: "2.1.0", Runs: []sarifRun{run}})
}
