package world_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tideover/tideover/internal/lab/quick"
	"github.com/tideover/tideover/internal/lab/world"
)

// cases are small upgrades that once went wrong. Each ends equal, or is refused before the hold with its object named,
// where there is one.
var cases = []struct {
	name   string
	object string         // what a refusal must name; "": there is no reason to refuse
	during bool           // what is wrong is done while the run is under way: it can be refused only then
	leave  []world.Column // filled at random by the migration
}{
	{name: "all-kinds-of-writers"},
	{name: "column-added-on-blue", object: "late", during: true},
	{name: "column-name-reused", leave: []world.Column{{Schema: "public", Table: "identity", Name: "id"}}},
	{name: "datestyle"},
	{name: "deferrable-key", object: "token"},
	{name: "equal-not-identical"},
	{name: "foreign-key-cycle"},
	{name: "generated-key", object: "gen"},
	{name: "hstore-elsewhere"},
	{name: "identity-not-key"},
	{name: "inheritance", object: "token_child"},
	{name: "large-object-made-meanwhile", object: "large objects", during: true},
	{name: "insert-rule", object: "token"},
	{name: "mistake-in-greens-half", object: "ended"},
	{name: "owner-unknown-on-green"},
	{name: "renamed-without-on-delete", object: "orders"},
	{name: "revocation-by-insert"},
	{name: "revocation-without-key", object: "revocations[0]"},
	{name: "two-schemas", object: "billing.invoice", during: true},
	{name: "two-schemas-named"},
	{name: "unqualified-functions"},
	{name: "user-triggers"},
}

// TestCases plays them.
func TestCases(t *testing.T) {
	quick.Skip(t)
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := load(t, filepath.Join("testdata/cases", c.name))
			w.Leave = c.leave
			o, err := pair.Play(t.Context(), w)
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("%s in %.1fs %s\n%s", o.Verdict, o.Took.Seconds(), o.Reason, strings.Join(o.Findings, "\n"))
			named := o.Verdict == world.Refused && c.object != "" && strings.Contains(o.Reason, c.object)
			right := o.Verdict == world.Equal || named && (o.Early || c.during)
			if !right {
				t.Errorf("want green equal to blue's last state, or a refusal that names %q, before the copy where it can be", c.object)
			}
		})
	}
}

func load(t *testing.T, dir string) *world.World {
	t.Helper()
	read := func(name string) string {
		text, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
		return string(text)
	}
	w := &world.World{
		Name: "case_" + strings.ReplaceAll(filepath.Base(dir), "-", "_"),
		Blue: read("blue.sql"), Green: read("green.sql"), Profile: read("profile.yaml"), Migrations: map[string]string{},
		Writes: []world.Write{{When: world.Between, SQL: read("changes.sql")}},
	}
	files, err := filepath.Glob(filepath.Join(dir, "migrations", "*.sql"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		w.Migrations[filepath.Base(f)] = read(filepath.Join("migrations", filepath.Base(f)))
	}
	if len(files) == 0 {
		w.Migrations["001_new.sql"] = "CREATE TABLE public.green_new (id bigint PRIMARY KEY);"
	}
	return w
}
