package plan

import (
	"fmt"
	"strings"
)

func item(list string, i int) string { return fmt.Sprintf("%s[%d]", list, i) }

// checkSteps looks at what the fields of one step mean together.
func (d *decoder) checkSteps(rb *Runbook) {
	for i, s := range rb.Steps {
		if k := kindOf(s.Kind); k != nil && k.check != nil {
			k.check(d, rb, item("steps", i), s.Config)
		}
	}
}

// checkWords finds a command without a program.
func (d *decoder) checkWords(path string, words []string) {
	if len(words) > 0 && strings.TrimSpace(words[0]) == "" {
		d.add(item(path, 0), "the first word is the program", "must not be empty")
	}
}
