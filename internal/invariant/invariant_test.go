package invariant_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tideover/tideover/internal/invariant"
	"github.com/tideover/tideover/internal/lab/pgserver/pgtest"
	"github.com/tideover/tideover/internal/postgres"
	"github.com/tideover/tideover/plan"
)

func TestMain(m *testing.M) { os.Exit(pgtest.RunTests(m)) }

func side(t *testing.T, name, sql string) *postgres.DB {
	t.Helper()
	db, err := postgres.Open(t.Context(), name, pgtest.NewDatabase(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Close)
	if _, err := db.Pool().Exec(t.Context(), sql); err != nil {
		t.Fatal(err)
	}
	return db
}

func TestCheckNamesEveryDifferenceAndNoValue(t *testing.T) {
	t.Parallel()
	blue := side(t, "blue", `CREATE TABLE public.t (k text, v text);
		INSERT INTO public.t VALUES ('same', 's'), ('Ä', '1'), ('a', '1'), ('B', '1'), ('null', NULL), ('gone', 'secret1'), ('other', 'secret2'),
			('twice', 'x'), ('twice', 'y'), ('once', 'x'), ('once', 'x')`)
	green := side(t, "green", `CREATE TABLE public.t (k text, v text);
		INSERT INTO public.t VALUES ('same', 's'), ('Ä', '1'), ('a', '1'), ('B', '1'), ('null', ''), ('new', 'secret3'), ('other', 'secret4'),
			('twice', 'y'), ('twice', 'x'), ('once', 'x')`)
	const query = "SELECT k, v FROM public.t ;\n"
	got, err := invariant.Check(t.Context(), blue, green, "public", []plan.Invariant{
		{Name: "equal", Blue: query, Green: query, RepairTable: "t"},
		{Name: "none", Green: `WITH x AS (SELECT * FROM public.t) SELECT k, v FROM x WHERE k = 'new' -- the end`},
		{Name: "holds", Green: `SELECT k, v FROM public.t WHERE false`},
	})
	if err != nil {
		t.Fatal(err)
	}
	want := []invariant.Difference{
		{Invariant: "equal", Key: "gone", Kind: invariant.Missing, RepairTable: "t"},
		{Invariant: "equal", Key: "new", Kind: invariant.Extra, RepairTable: "t"},
		{Invariant: "equal", Key: "null", Kind: invariant.Differs, RepairTable: "t"},
		{Invariant: "equal", Key: "once", Kind: invariant.Differs, RepairTable: "t"},
		{Invariant: "equal", Key: "other", Kind: invariant.Differs, RepairTable: "t"},
		{Invariant: "none", Key: "new", Kind: invariant.Offender},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if strings.Contains(fmt.Sprint(got), "secret") {
		t.Error("a value is shown")
	}
}

func TestCheckListsTheFirstAndCountsAll(t *testing.T) {
	t.Parallel()
	blue := side(t, "blue", `SELECT 1`)
	many := plan.Invariant{Name: "many", Blue: `SELECT i::text, i::text FROM generate_series(1, 25000) i`, Green: `SELECT i::text, 'x' FROM generate_series(1, 25000) i`}
	r, err := invariant.Ask(t.Context(), blue, blue, "public", []plan.Invariant{many})
	if err != nil || len(r.Differences) != invariant.Limit || r.Count != 25000 || r.Rows != 25000 {
		t.Errorf("%d listed, %d counted of %d, %v", len(r.Differences), r.Count, r.Rows, err)
	}
}

func TestCheckChangesNothingAndNamesTheInvariant(t *testing.T) {
	t.Parallel()
	blue := side(t, "blue", `CREATE TABLE public.t (k text);
		CREATE FUNCTION public.write() RETURNS text LANGUAGE sql AS $$INSERT INTO public.t VALUES ('x') RETURNING k$$`)
	for _, query := range []string{
		`SELECT nextval('public.s'), ''`, `SELECT 1`, `SELECT k, k, k FROM public.t WHERE`, `SELECT 'k', (1 / (random() * 0)::int)::text`,
		`SELECT public.write(), ''`,
	} {
		_, err := invariant.Check(t.Context(), blue, blue, "public", []plan.Invariant{{Name: "the one", Green: query}})
		if err == nil || !strings.Contains(err.Error(), `invariant "the one": blue:`) {
			t.Errorf("%s: error %v; want one that names the invariant and the side", query, err)
		}
	}
}
