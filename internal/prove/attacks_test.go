package prove_test

import (
	"os"
	"strings"
	"testing"

	"github.com/tideover/tideover/internal/lab/pgserver/pgtest"
	"github.com/tideover/tideover/internal/lab/slice"
	"github.com/tideover/tideover/internal/prove"
)

// TestAttacks: migrations made to end in another way when they are rewritten: on tables with triggers, rules, views, partitions, children,
// deferred and self-referencing keys, keys of unusual types, functions that look like Postgres' own. Each ends where the original does;
// a refusal by the catalog leaves a statement whole, which ends there too. testdata/attacks.txt has them, of each first what is there.
func TestAttacks(t *testing.T) {
	t.Parallel()
	b, err := os.ReadFile("testdata/attacks.txt")
	if err != nil {
		t.Fatal(err)
	}
	for _, attack := range slice.Pick(t, 1, strings.Split(strings.TrimPrefix(string(b), "=== "), "\n=== ")) {
		name, text, _ := strings.Cut(attack, "\n")
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, err := prove.Run(t.Context(), prove.Options{Server: pgtest.Shared(t), Base: 1, Scripts: scripts(t, strings.Split(text, "\n---\n")...)})
			if err != nil {
				t.Fatal(err)
			}
			rows := int64(0)
			for _, table := range r.Tables {
				rows += table.Rows
			}
			if !r.Same() || rows == 0 {
				t.Errorf("of %d rows: %s %+v", rows, r.Schema, r.Tables)
			}
		})
	}
}
