package postgres_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/tideover/tideover/internal/lab/pgserver/pgtest"
	"github.com/tideover/tideover/internal/postgres"
)

func TestNamed(t *testing.T) {
	t.Parallel()
	args := map[string]any{"id": "x", "op": "D", "n": 1}
	for _, tt := range []struct {
		name, sql, want string
		values          []any
	}{
		{"none", "SELECT 1", "SELECT 1", []any{}},
		{"one", "DELETE FROM t WHERE id = :id", "DELETE FROM t WHERE id = $1", []any{"x"}},
		{"twice is one", ":id = a OR :op = b OR :id = c", "$1 = a OR $2 = b OR $1 = c", []any{"x", "D"}},
		{"cast", ":id::uuid, a::text", "$1::uuid, a::text", []any{"x"}},
		{"cast of a cast", "a::text::uuid", "a::text::uuid", []any{}},
		{"string", "':id' || :id || 'it'':id'", "':id' || $1 || 'it'':id'", []any{"x"}},
		{"escape string", `E'\':id' || :id`, `E'\':id' || $1`, []any{"x"}},
		{"not an escape string", `'\' || :id`, `'\' || $1`, []any{"x"}},
		{"name ending in e", `type'\' || :id`, `type'\' || $1`, []any{"x"}},
		{"quoted name", `":id" = :id`, `":id" = $1`, []any{"x"}},
		{"dollar quotes", "$$:id$$ || $a$ $$ :id $a$ || :id", "$$:id$$ || $a$ $$ :id $a$ || $1", []any{"x"}},
		{"comments", "-- :id\n/* :id /* :id */ :id */ :id", "-- :id\n/* :id /* :id */ :id */ $1", []any{"x"}},
		{"comment at the end", ":id -- :op", "$1 -- :op", []any{"x"}},
		{"slice", "a[1:n] = :id", "a[1:n] = $1", []any{"x"}},
		{"unterminated string", "':id", "':id", []any{}},
		{"unterminated comment", "/* :id", "/* :id", []any{}},
		{"assignment", "f(a := :id)", "f(a := $1)", []any{"x"}},
		{"in a list", "(:id,:op,:n)", "($1,$2,$3)", []any{"x", "D", 1}},
		{"empty", "", "", []any{}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			sql, values, err := postgres.Named(tt.sql, args)
			if err != nil {
				t.Fatal(err)
			}
			if sql != tt.want {
				t.Errorf("got %q, want %q", sql, tt.want)
			}
			if diff := cmp.Diff(tt.values, values); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestNamedUnknownParameter(t *testing.T) {
	t.Parallel()
	_, _, err := postgres.Named("SELECT :subject", map[string]any{"id": 1, "client": 2})
	if want := "parameter :subject is unknown; there are :client, :id"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

// What Named leaves alone must be what Postgres leaves alone.
func TestNamedAgreesWithPostgres(t *testing.T) {
	t.Parallel()
	db := open(t, pgtest.NewDatabase(t))
	sql, values, err := postgres.Named(
		`SELECT E'a\':id' || ':id' || $q$:id$q$ || :id::text /* :id /* x */ */ || (ARRAY['p','q'])[1:2]::text -- :id`,
		map[string]any{"id": "V"})
	if err != nil {
		t.Fatal(err)
	}
	var got string
	if err := db.Pool().QueryRow(t.Context(), sql, values...).Scan(&got); err != nil {
		t.Fatal(err)
	}
	if want := "a':id:id:idV{p,q}"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func FuzzNamed(f *testing.F) {
	f.Add("SELECT :id, ':x', $a$ :b $a$, E'\\'', \"q\", a[1:2] -- :c\n/* */ ::text")
	f.Fuzz(func(t *testing.T, sql string) {
		out, values, err := postgres.Named(sql, map[string]any{"id": 1})
		if err == nil && len(values) == 0 && out != sql {
			t.Errorf("%q became %q without a parameter", sql, out)
		}
	})
}
