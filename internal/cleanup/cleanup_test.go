package cleanup_test

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"github.com/tideover/tideover/internal/cleanup"
	"github.com/tideover/tideover/internal/lab/pgserver/pgtest"
	"github.com/tideover/tideover/plan"
)

func TestMain(m *testing.M) { os.Exit(pgtest.RunTests(m)) }

const tables = `
CREATE TABLE public.parent (id text, part int, j json, jb jsonb, doubled int GENERATED ALWAYS AS (part * 2) STORED, PRIMARY KEY (id, part));
CREATE TABLE public.child (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, parent text, part int, up bigint REFERENCES public.child ON DELETE CASCADE,
	FOREIGN KEY (parent, part) REFERENCES public.parent ON DELETE CASCADE);
CREATE TABLE public.loose (parent text, v text);
INSERT INTO public.parent (id, part, j, jb) VALUES ('good', 1, '{}', '{}'), ('bad', 2, '{"a":  "\u0000"}', '{"b": [1, null]}'), ('bad', 3, NULL, NULL);
INSERT INTO public.child (parent, part, up) VALUES ('good', 1, NULL), ('bad', 2, NULL), (NULL, NULL, 2), (NULL, NULL, 3), ('good', 1, 1);
INSERT INTO public.loose VALUES ('bad', NULL), ('bad', '');
`

func setup(t *testing.T) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), pgtest.NewDatabase(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	if _, err := conn.Exec(t.Context(), tables); err != nil {
		t.Fatal(err)
	}
	return conn
}

func count(t *testing.T, conn *pgx.Conn, from string) (n int64) {
	t.Helper()
	if err := conn.QueryRow(t.Context(), "SELECT count(*) FROM "+from).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// content is everything that the tables hold, as text.
func content(t *testing.T, conn *pgx.Conn) string {
	t.Helper()
	var s string
	err := conn.QueryRow(t.Context(), `SELECT (SELECT string_agg(p::text, E'\n' ORDER BY p::text) FROM public.parent p) || E'\n--\n' ||
		(SELECT string_agg(c::text, E'\n' ORDER BY c.id) FROM public.child c) || E'\n--\n' ||
		(SELECT string_agg(l::text, E'\n' ORDER BY l::text) FROM public.loose l)`).Scan(&s)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func limit(n int64) *int64 { return &n }

var bad = plan.Rule{Name: "bad", Phase: "before", Table: "parent", Where: "t.id = 'bad' -- a comment", Quarantine: true}

func TestQuarantineKeepsWhatCascadeWouldTake(t *testing.T) {
	t.Parallel()
	conn := setup(t)
	before := content(t, conn)
	runner := cleanup.New([]plan.Rule{bad}, cleanup.Options{})
	results, err := runner.Apply(t.Context(), conn, "before")
	if err != nil {
		t.Fatal(err)
	}
	want := []cleanup.Result{{Rule: "bad", Rows: 2, Quarantined: true, Cascaded: 3}}
	if diff := cmp.Diff(want, results); diff != "" {
		t.Error(diff)
	}
	if p, c, q := count(t, conn, "public.parent"), count(t, conn, "public.child"), count(t, conn, "tideover.quarantine"); p != 1 || c != 2 || q != 5 {
		t.Errorf("parents %d, children %d, quarantined %d; want 1, 2, 5", p, c, q)
	}
	if again, err := runner.Apply(t.Context(), conn, "before"); err != nil || again[0].Rows != 0 {
		t.Errorf("run twice: %+v, %v; want nothing to do", again, err)
	}
	for range 2 { // the second finds nothing
		if _, err := cleanup.Restore(t.Context(), conn, plan.Schemas{"public"}, "bad"); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(before, content(t, conn)); diff != "" {
		t.Errorf("put back, the tables differ:\n%s", diff)
	}
	if q := count(t, conn, "tideover.quarantine"); q != 0 {
		t.Errorf("%d rows are still in quarantine", q)
	}
}

func TestCollectedRowsAreTheSameAsStoredOnes(t *testing.T) {
	t.Parallel()
	rules := []plan.Rule{bad, {Name: "loose", Phase: "before", Table: "loose", Where: "t.parent = 'bad'", Quarantine: true}}
	green, scratch := setup(t), setup(t)
	if _, err := cleanup.New(rules, cleanup.Options{}).Apply(t.Context(), green, "before"); err != nil {
		t.Fatal(err)
	}
	results, err := cleanup.New(rules, cleanup.Options{Collect: true}).Apply(t.Context(), scratch, "before")
	if err != nil {
		t.Fatal(err)
	}
	if err := cleanup.EnsureTable(t.Context(), scratch); err != nil {
		t.Fatal(err)
	}
	for range 2 { // a delta that comes twice
		for _, r := range results {
			if err := cleanup.Store(t.Context(), scratch, r.Moved); err != nil {
				t.Fatal(err)
			}
		}
	}
	all := func(conn *pgx.Conn) (s string) {
		err := conn.QueryRow(t.Context(), `SELECT string_agg((rule, table_name, key, row)::text, E'\n' ORDER BY rule, table_name, key) FROM tideover.quarantine`).Scan(&s)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	if diff := cmp.Diff(all(green), all(scratch)); diff != "" {
		t.Errorf("the quarantines differ:\n%s", diff)
	}
	if n := count(t, green, "tideover.quarantine"); n != 7 {
		t.Errorf("%d rows in quarantine, want 7", n)
	}
	if n, err := cleanup.Forget(t.Context(), green, "parent", []string{`["bad", "2"]`}); err != nil || n != 1 {
		t.Errorf("forgot %d rows (%v), want 1", n, err)
	}
}

func TestTooManyRowsChangeNothing(t *testing.T) {
	t.Parallel()
	for _, rule := range []plan.Rule{
		{Name: "r", Phase: "before", Table: "parent", Where: "t.id = 'bad'", Quarantine: true, ExpectAtMost: limit(1)},
		{Name: "r", Phase: "before", Table: "parent", Where: "t.id = 'bad'", Fix: []string{"UPDATE parent SET jb = '1' WHERE id = 'bad'"}, ExpectAtMost: limit(1)},
		{Name: "r", Phase: "before", Table: "parent", Fix: []string{"UPDATE parent SET jb = '1' WHERE id = 'bad'"}, ExpectAtMost: limit(1)},
	} {
		conn := setup(t)
		before := content(t, conn)
		_, err := cleanup.New([]plan.Rule{rule}, cleanup.Options{}).Apply(t.Context(), conn, "before")
		var many *cleanup.TooMany
		if !errors.As(err, &many) || many.Rows != 2 || !strings.Contains(many.Hint(), "r: 2") {
			t.Fatalf("error %v; want TooMany with 2 rows", err)
		}
		if diff := cmp.Diff(before, content(t, conn)); diff != "" {
			t.Errorf("something changed:\n%s", diff)
		}
		if _, err := cleanup.New([]plan.Rule{rule}, cleanup.Options{Approved: map[string]int64{"r": 2}}).Apply(t.Context(), conn, "before"); err != nil {
			t.Errorf("approved: %v", err)
		}
	}
}

func TestFixIsOneTransactionAndSaysWhatIsLeft(t *testing.T) {
	t.Parallel()
	conn := setup(t)
	before := content(t, conn)
	broken := plan.Rule{Name: "broken", Phase: "after", Table: "parent", Where: "t.id = 'bad'",
		Fix: []string{"UPDATE parent SET id = 'mended' WHERE id = 'bad' AND part = 3", "SELECT 1 / 0"}}
	if _, err := cleanup.New([]plan.Rule{broken}, cleanup.Options{}).Apply(t.Context(), conn, "after"); err == nil {
		t.Fatal("no error")
	}
	if diff := cmp.Diff(before, content(t, conn)); diff != "" {
		t.Errorf("half of a rule is left:\n%s", diff)
	}
	half := broken
	half.Fix, half.Repair = half.Fix[:1], true
	results, err := cleanup.New([]plan.Rule{half}, cleanup.Options{}).Apply(t.Context(), conn, "after")
	if err != nil || results[0].Rows != 2 || results[0].Left != 1 {
		t.Errorf("%+v, %v; want 2 rows and 1 left", results, err)
	}
	counted, err := cleanup.New([]plan.Rule{half}, cleanup.Options{}).Count(t.Context(), conn, "after")
	if err != nil || counted[0].Rows != 1 {
		t.Errorf("count: %+v, %v", counted, err)
	}
}

func TestNoResultShowsRows(t *testing.T) {
	t.Parallel()
	conn := setup(t)
	results, err := cleanup.New([]plan.Rule{bad}, cleanup.Options{Collect: true}).Apply(t.Context(), conn, "before")
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(results)
	if err != nil || len(results[0].Moved) != 5 || strings.Contains(string(text), "null") {
		t.Errorf("%s, %v", text, err)
	}
}
