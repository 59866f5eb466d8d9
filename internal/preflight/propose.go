package preflight

import (
	"fmt"

	"github.com/goccy/go-yaml"

	"github.com/tideover/tideover/plan"
)

// proposal is a rule as it is written down: only what it says.
type proposal struct {
	Name         string   `yaml:"name"`
	Phase        string   `yaml:"phase"`
	Description  string   `yaml:"description"`
	Table        string   `yaml:"table"`
	Where        string   `yaml:"where"`
	Fix          []string `yaml:"fix,omitempty"`
	Quarantine   bool     `yaml:"quarantine,omitempty"`
	ExpectAtMost *int64   `yaml:"expect_at_most,omitempty"`
}

// Proposed are the rules that the findings propose, as YAML to be pasted under "rules:" of a profile; "" for none.
//
// They are meant to be read first. A rule that sets rows aside takes along what hangs on them; often a repair that only a person
// can think of is better.
func Proposed(findings []Finding) (string, error) {
	var list []proposal
	for _, f := range findings {
		if r := f.Rule; r != nil {
			list = append(list, proposal{r.Name, r.Phase, r.Description, r.Table, r.Where, r.Fix, r.Quarantine, r.ExpectAtMost})
		}
	}
	if len(list) == 0 {
		return "", nil
	}
	text, err := yaml.MarshalWithOptions(map[string]any{"rules": list}, yaml.IndentSequence(true))
	if err != nil {
		return "", fmt.Errorf("write the proposed rules: %w", err)
	}
	return string(text), nil
}

// Rules are the rules that the findings propose.
func Rules(findings []Finding) []plan.Rule {
	var rules []plan.Rule
	for _, f := range findings {
		if f.Rule != nil {
			rules = append(rules, *f.Rule)
		}
	}
	return rules
}
