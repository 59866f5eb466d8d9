package rehearsal

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/tideover/tideover/internal/lab/traffic"
	"github.com/tideover/tideover/plan"
)

// TestPageOfJudges holds docs/judges.md against what the judges look at: each thing is on the page, and nothing else is.
func TestPageOfJudges(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../../docs/judges.md")
	if err != nil {
		t.Fatal(err)
	}
	code := regexp.MustCompile("`([^`]+)`")
	between := func(from, to string) []string {
		t.Helper()
		_, rest, found := strings.Cut(string(page), from)
		text, _, ends := strings.Cut(rest, to)
		if !found || !ends {
			t.Fatalf("the page has no text between %q and %q", from, to)
		}
		var names []string
		for _, m := range code.FindAllStringSubmatch(text, -1) {
			names = append(names, m[1])
		}
		slices.Sort(names)
		return names
	}
	same := func(what string, page, judge []string) {
		t.Helper()
		judge = slices.Sorted(slices.Values(judge))
		if !slices.Equal(page, judge) {
			t.Errorf("%s: the page says %v, and the judge looks at %v", what, page, judge)
		}
	}
	token, client, headers, kinds := traffic.Looks()
	same("what a token and a client are", between("| checker: answers |", "; ID tokens:"), slices.Concat(token, client))
	same("headers", between("| checker: promises |", "(cookies"), headers)
	same("kinds of requests", between("that the checker judges:", "; past the router"), kinds)
	var kindsRepaired []string
	for kind := range repaired {
		kindsRepaired = append(kindsRepaired, kind)
	}
	same("kinds that a rule repairs", between("on purpose:", "; `\\u0000`"), kindsRepaired)

	p, err := plan.LoadProfile("bundled", ".")
	if err != nil {
		t.Fatal(err)
	}
	unseen := slices.Concat(p.Green.Ignore, p.Bookkeeping)
	for _, c := range slices.Concat(p.Green.Constants, p.Green.Volatile) {
		unseen = append(unseen, c.Table+"."+c.Column)
	}
	same("what the oracle does not see of the bundled server", between("| `bundled` |", "\n"), unseen)
}
