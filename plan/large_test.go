package plan_test

import (
	"strings"
	"testing"

	"github.com/tideover/tideover/internal/lab/quick"
	"github.com/tideover/tideover/plan"
)

// TestLarge: files at the limit are answered, whatever is repeated in them. One whose time grows with the square of its length
// does not end before the tests must.
func TestLarge(t *testing.T) {
	quick.Skip(t)
	const limit = 128 << 10
	full := func(s string) string { return strings.Repeat(s, (limit-8)/len(s)) }
	var stairs strings.Builder
	for i := range 500 {
		stairs.WriteString(strings.Repeat(" ", i) + "a:\n")
	}
	for name, data := range map[string]string{
		"stairs": stairs.String(), "one key": full("a: b\n"), "one line": "a: " + full("x "),
		"entries": full("- a\n"), "quotes": full("'' "), "colons": full("a: "),
		"flow": "[" + full("a, ") + "]", "flow maps": "[" + full("{a: 1}, ") + "]",
		"block": "a: |\n" + full("  x\n"), "folded": "a: >\n" + full("  x\n\n"),
		"lines": "a:\n" + full("  x\n"), "comments": full("#\n"), "blank": full("\n"),
		"documents": full("---\na: 1\n"), "open": full("["), "tabs": full("\t"),
		"steps": "steps:\n" + full("- step: monitor\n  for: 1s\n"), "carriage": full("a: b\r"),
		"escapes": `a: "` + full(`\u0041`) + `"`, "ids": "steps:\n" + full("- step: validate\n"),
	} {
		t.Run(name, func(t *testing.T) {
			_, err := plan.ParseRunbook("x.yaml", []byte(data), nil)
			if err == nil {
				t.Fatal("no error")
			}
			if strings.Contains(err.Error(), "larger than") {
				t.Error("the file is above the limit: the test has no point")
			}
		})
	}
}
