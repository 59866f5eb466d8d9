package lint

import (
	"io"

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
	RuleID       string             `json:"ruleId"`
	Level        string             `json:"level"`
	Message      sarifText          `json:"message"`
	Locations    []sarifLocation    `json:"locations"`
	Prints       map[string]string  `json:"partialFingerprints"`
	Suppressions []sarifSuppression `json:"suppressions,omitempty"`
}

// sarifSuppression says that somebody accepts a result: by a comment in the source, or by --allow.
type sarifSuppression struct {
	Kind          string `json:"kind"`
	Justification string `json:"justification,omitempty"`
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
	for _, n := range sqlrewrite.RuleNames() {
		run.Tool.Driver.Rules = append(run.Tool.Driver.Rules, sarifRule{n})
	}
	for _, f := range r.Findings {
		result := sarifResult{RuleID: f.Rule, Level: level(f), Message: sarifText{message(f)}, Prints: map[string]string{"tideover/v1": f.ID},
			Locations: []sarifLocation{{sarifPhysical{sarifArtifact{f.File}, sarifRegion{max(f.Line, 1), max(f.Column, 1)}}}}}
		switch {
		case f.Silenced:
			result.Suppressions = []sarifSuppression{{"inSource", f.Reason}}
		case f.Allowed:
			result.Suppressions = []sarifSuppression{{"external", "--allow " + f.Rule}}
		}
		run.Results = append(run.Results, result)
	}
	return encode(w, sarifLog{Schema: sarifSchema, Version: "2.1.0", Runs: []sarifRun{run}})
}
