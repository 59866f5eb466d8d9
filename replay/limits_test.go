package replay

import (
	"os"
	"strings"
	"testing"

	"github.com/tideover/tideover/plan"
)

// docs/limits.md says in the code's words what is refused while a run is under way.
func TestLaterLimitsAreDocumented(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../docs/limits.md")
	if err != nil {
		t.Fatal(err)
	}
	p, err := plan.ParseProfile("x.yaml", []byte("name: x\ntables: [{name: token}]"))
	if err != nil {
		t.Fatal(err)
	}
	r := &Replayer{Config: Config{Profile: p}, keys: map[string][]string{"token": {"id"}}}
	for _, err := range []error{&WrittenError{Side: "blue", Tables: []string{"t"}}, &DriftError{Objects: []string{"o"}}, r.homeless()} {
		var said string
		for _, row := range strings.Split(string(page), "\n") {
			message, way, found := strings.Cut(strings.Trim(row, "| "), " | ")
			if message = strings.Trim(message, "… "); !found || message == "" || !strings.Contains(err.Error(), message) {
				continue
			}
			hint := err.Error()
			if h, ok := err.(interface{ Hint() string }); ok {
				hint += h.Hint()
			}
			if !strings.Contains(hint, way) {
				t.Errorf("%v: the page says %q, the code %q", err, way, hint)
			}
			said = message
		}
		if said == "" {
			t.Errorf("docs/limits.md does not have: %v", err)
		}
	}
}
