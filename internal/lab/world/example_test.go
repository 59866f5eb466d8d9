package world_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tideover/tideover/internal/lab/quick"
	"github.com/tideover/tideover/internal/lab/world"
)

// TestWorkedExample takes the store of docs/profile.md to green and back, with the profile that the page shows.
func TestWorkedExample(t *testing.T) {
	quick.Skip(t)
	t.Parallel()
	dir := "testdata/example"
	page, err := os.ReadFile("../../../docs/profile.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"blue.sql", "migrations/001_clients.sql", "profile.yaml"} {
		text, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(page), string(text)) {
			t.Errorf("docs/profile.md does not show %s as it is", name)
		}
	}
	w := load(t, dir)
	rows, err := os.ReadFile(filepath.Join(dir, "rows.sql"))
	if err != nil {
		t.Fatal(err)
	}
	w.Blue += string(rows)
	w.Writes = []world.Write{
		{When: world.Between, SQL: `UPDATE auth.given SET revoked_at = '2026-01-01 00:00+00' WHERE id = 1;
INSERT INTO auth.denied VALUES ('while it is copied');
INSERT INTO auth.app VALUES ('d', 'four'); INSERT INTO billing.contract VALUES ('d', 'free');
DELETE FROM auth.app WHERE app_key = 'c';
`},
		{When: world.DuringReplay, SQL: `UPDATE billing.contract SET plan = 'paid' WHERE app_key = 'a'; DELETE FROM auth.denied WHERE token = 'old';`},
	}
	got, log, err := pair.ThereAndBack(t.Context(), w, `
INSERT INTO auth.client VALUES ('e', 'five');
INSERT INTO billing.contract (client_id, plan, currency) VALUES ('e', 'free', 'CHF');
UPDATE auth.client SET name = 'one, on green' WHERE client_id = 'a';
DELETE FROM billing.contract WHERE client_id = 'b';
UPDATE auth.given SET revoked_at = now() WHERE id = 2;
INSERT INTO auth.denied VALUES ('on green');
INSERT INTO auth.given (client_id, person) VALUES ('a', 'of green alone');
DELETE FROM auth.client WHERE client_id = 'd';`,
		`SELECT app_key || ' ' || name FROM auth.app ORDER BY 1`,
		`SELECT app_key || ' ' || plan FROM billing.contract ORDER BY 1`,
		`SELECT id || ' ' || person || CASE WHEN revoked_at IS NULL THEN '' ELSE ' revoked' END FROM auth.given ORDER BY id`,
		`SELECT token FROM auth.denied ORDER BY 1`,
	)
	if err != nil {
		t.Fatalf("%v\n%s", err, log)
	}
	if diff := cmp.Diff([]string{
		"[a one, on green b two e five]",
		"[a paid e free]",
		"[1 anna revoked 2 bert revoked 3 anna]",
		"[on green while it is copied]",
	}, got); diff != "" {
		t.Errorf("blue after the way back (-want +got):\n%s", diff)
	}
	if named := `written on green, and not on blue: given: 1 new, 1 changed`; !strings.Contains(log, named) {
		t.Errorf("the rollback does not say %q:\n%s", named, log)
	}
}
