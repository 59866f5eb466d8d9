package migrate_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/tideover/tideover/internal/lab/mutant"
	"github.com/tideover/tideover/internal/lab/pgserver/pgtest"
	"github.com/tideover/tideover/internal/lab/quick"
	"github.com/tideover/tideover/internal/lab/slice"
)

// mistake is a mutant, and what a migration must have to meet it: one of the things, and one of the beginnings of statements.
type mistake struct {
	mutant.Mutant
	near, does []string
}

// mistakes are made in what is looked at before a statement is cut into batches.
var mistakes = []mistake{
	{asked("triggers don't count", "WHERE @kind <> 'fill' AND NOT t.tgisinternal", "WHERE false AND NOT t.tgisinternal"), []string{"a trigger of each statement"}, []string{"UPDATE", "DELETE"}},
	{asked("rules don't count", "FROM pg_catalog.pg_rewrite r WHERE ", "FROM pg_catalog.pg_rewrite r WHERE false AND "), []string{"a rule of updates"}, []string{"UPDATE"}},
	{asked("a key to itself doesn't count", "f.conrelid = @changed AND f.confrelid = @changed\n", "f.conrelid = @changed AND f.confrelid = @changed AND false\n"), []string{"a foreign key to itself", "one that sets NULL"}, []string{"DELETE"}},
	{asked("unique keys don't count", "WHERE @kind = 'update' AND i.indrelid = @changed", "WHERE false AND i.indrelid = @changed"), []string{"a deferrable key"}, []string{"UPDATE t SET a"}},
	{asked("keys of generated columns don't count", "(a.attname = ANY (@assigned) OR a.attgenerated <> '')", "a.attname = ANY (@assigned)"), []string{"a key of a generated column"}, []string{"UPDATE t SET a"}},
	{asked("children don't count", "WHERE EXISTS (SELECT FROM pg_catalog.pg_inherits h", "WHERE false AND EXISTS (SELECT FROM pg_catalog.pg_inherits h"), []string{"a child"}, []string{"UPDATE", "DELETE", "ALTER TABLE t ADD COLUMN"}},
	{asked("a built-in's name is believed", "WHERE p.proname = ANY (@functions)", "WHERE false"), []string{"a function named like a built-in"}, []string{"UPDATE t SET c = left"}},
	{asked("an operator's name is believed", "WHERE o.oprname = ANY (@operators)", "WHERE false"), []string{"an operator named like a built-in"}, []string{"UPDATE t SET c = id + flag"}},
	{asked("a column's name is believed", "OR p.proname = ANY (@columns) AND", "OR false AND"), nil, []string{"UPDATE t SET c = t.z"}},
	{asked("views are taken for tables", "c.relkind NOT IN ('r', 'p', 'm') OR", "c.relkind NOT IN ('r', 'p', 'm', 'v') OR"), nil, []string{"UPDATE t SET c = (SELECT count(*) FROM v)"}},
	{asked("defaults don't count", "WHERE @kind = 'insert' AND a.attrelid = @changed", "WHERE false AND a.attrelid = @changed"), []string{"a default that asks for the time"}, []string{"INSERT INTO log"}},
	{asked("checks that aren't validated don't count", "WHERE @kind = 'fill' AND c.contype = 'c'", "WHERE false AND c.contype = 'c'"), []string{"a check that isn't validated"}, []string{"ALTER TABLE t ADD COLUMN"}},
	{mutant.Mutant{Name: "back-fills fire triggers", Edits: []mutant.Edit{{File: "../../sqlrewrite/backfill.sql", Old: "IF v_kind = 'fill' THEN", New: "IF v_kind = 'never' THEN"}}},
		[]string{"a trigger that counts in the row", "one that fires always"}, []string{"ALTER TABLE t ADD COLUMN"}},
	{mutant.Mutant{Name: "any function is taken for row by row", Edits: []mutant.Edit{{File: "../../sqlrewrite/rowlocal.go", Old: "!localFunctions[name] && !aggregates[name] &&", New: "name == \"\" &&"},
		{File: "../../sqlrewrite/ask.sql", Old: "WHERE p.proname = ANY (@functions)", New: "WHERE false"}}}, nil, []string{"UPDATE t SET c = f(a)"}},
	{mutant.Mutant{Name: "each batch has its own now", Edits: []mutant.Edit{{File: "../../sqlrewrite/rowlocal.go", Old: "	gen_random_uuid random clock_timestamp", New: "	now gen_random_uuid random clock_timestamp"},
		{File: "../../sqlrewrite/backfill.go", Old: "	pinned(n)\n", New: ""}}}, nil, []string{"UPDATE t SET at = now()"}},
}

func asked(name, old, mistaken string) mutant.Mutant {
	return mutant.Mutant{Name: name, Edits: []mutant.Edit{{File: "../../sqlrewrite/ask.sql", Old: old, New: mistaken}}}
}

// meets: the world has what a mistake is about.
func (m mistake) meets(w world) bool {
	near := len(m.near) == 0 || slices.ContainsFunc(w.things, func(n int) bool { return slices.Contains(m.near, things[n].name) })
	return near && slices.ContainsFunc(w.does, func(d [2]int) bool {
		return slices.ContainsFunc(m.does, func(s string) bool { return strings.HasPrefix(statements[d[0]], s) })
	})
}

var variants = mutant.Tests{Environment: func(t testing.TB) []string {
	return []string{"TIDEOVER_TEST_DSN_TEST=" + pgtest.Shared(t).DSN()}
}}

// A change of the source that leaves a mutant behind shows at once, not only where it is played.
func TestMutantsFitTheSource(t *testing.T) {
	t.Parallel()
	for _, m := range mistakes {
		if _, err := m.Files("."); err != nil {
			t.Error(err)
		}
	}
}

// TestMutantsAreCaught: a mistake that no random migration shows would mean that they prove nothing about it.
func TestMutantsAreCaught(t *testing.T) {
	quick.Skip(t)
	t.Parallel()
	played := mistakes
	if !mutant.Inside() {
		played = slice.Pick(t, 1, mistakes)
	}
	for _, m := range played {
		t.Run(m.Name, func(t *testing.T) {
			if variants.In(t, m.Mutant) {
				caught(t, m)
			}
		})
	}
}

// caught plays random migrations that meet the mistake until one goes wrong.
func caught(t *testing.T, m mistake) {
	t.Helper()
	const most = 40
	a, played := newArena(t), 0
	for seed := uint64(0); played < most; seed++ {
		w := randomWorld(seed)
		if !m.meets(w) {
			continue
		}
		played++
		o, detail, err := a.play(t.Context(), w)
		if err != nil {
			t.Fatalf("migration %d (%s): %v", seed, w, err)
		}
		if o.wrong() {
			t.Logf("caught by migration %d (%s), after %d: it %s: %.300s", seed, w, played, o, detail)
			return
		}
	}
	t.Errorf("%d migrations did not notice", played)
}
