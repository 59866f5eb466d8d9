package profilecheck_test

import (
	"context"
	"os"
	"strings"
	"testing"

	"github.com/tideover/tideover/internal/authserver"
	"github.com/tideover/tideover/internal/lab/await"
	"github.com/tideover/tideover/internal/lab/pgserver/pgtest"
	"github.com/tideover/tideover/internal/postgres"
	"github.com/tideover/tideover/internal/profilecheck"
	"github.com/tideover/tideover/plan"
)

func TestMain(m *testing.M) { os.Exit(pgtest.RunTests(m)) }

func database(t *testing.T, name, generation string) *postgres.DB {
	t.Helper()
	dsn := pgtest.NewDatabase(t)
	if err := authserver.Migrate(t.Context(), dsn, generation); err != nil {
		t.Fatal(err)
	}
	db, err := postgres.Open(t.Context(), name, dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Close)
	return db
}

func bundled(t *testing.T) []byte {
	t.Helper()
	data, err := os.ReadFile("../../plan/profiles/bundled.yaml")
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestBundledProfileFits(t *testing.T) {
	t.Parallel()
	p, err := plan.LoadProfile("bundled", ".")
	if err != nil {
		t.Fatal(err)
	}
	blue, green := database(t, "blue", "1.1"), database(t, "green", "2.0")
	for name, sides := range map[string][2]*postgres.DB{"both": {blue, green}, "blue": {blue, nil}, "green": {nil, green}} {
		r, err := profilecheck.Check(t.Context(), sides[0], sides[1], p)
		if err != nil {
			t.Fatal(err)
		}
		if len(r.Problems) > 0 || r.Tried < 15 {
			t.Errorf("%s: %d tried\n%v", name, r.Tried, r.Problems)
		}
	}
	t.Run("the sides are swapped", func(t *testing.T) {
		r, err := profilecheck.Check(t.Context(), green, blue, p)
		if err != nil {
			t.Fatal(err)
		}
		if len(r.Problems) < 5 {
			t.Errorf("only %d problems", len(r.Problems))
		}
	})
}

// Each mistake is found at its place, and nothing else is.
func TestMistakesAreNamed(t *testing.T) {
	t.Parallel()
	blue, green := database(t, "blue", "1.1"), database(t, "green", "2.0")
	tests := []struct {
		name, old, new string
		field, says    string
	}{
		{"kept column", "keep: [request_id, ", "keep: [request_idd, ", ".keep[0]", `no column "request_idd"`},
		{"key column", "key: [challenge]\n\n", "key: [no_such]\n\n", ".key[0]", `no column "no_such"`},
		{"judge", "judge: CASE WHEN :op = 'D' THEN 'revoked' ELSE 'written' END\n    on_delete", "judge: CASE WHEN :op = 'D' THEN 'revoked' ELSE missing END\n    on_delete", ".judge", `"missing"`},
		{"statement for green", "on_delete: DELETE FROM oauth_flow WHERE consent", "on_delete: DELETE FROM oauth_flows WHERE consent", ".on_delete", `"oauth_flows"`},
		{"parameter", "WHERE consent_challenge = :challenge\n\n", "WHERE consent_challenge = :chall\n\n", ".on_delete", "chall"},
	}
	source := string(bundled(t))
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if !strings.Contains(source, tt.old) {
				t.Fatalf("the profile does not say %q", tt.old)
			}
			broken := strings.Replace(source, tt.old, tt.new, 1)
			p, err := plan.ParseProfile("mine.yaml", []byte(broken))
			if err != nil {
				t.Fatal(err)
			}
			r, err := profilecheck.Check(t.Context(), blue, green, p)
			if err != nil {
				t.Fatal(err)
			}
			line := 1 + strings.Count(broken[:strings.Index(broken, tt.new)], "\n")
			found := false
			for _, e := range r.Problems {
				if e.File == "mine.yaml" && e.Line == line && strings.Contains(e.Field, tt.field) && strings.Contains(e.Msg, tt.says) && e.Way != "" {
					found = true
				}
			}
			if !found {
				t.Errorf("want line %d, field %s, %s; got\n%v", line, tt.field, tt.says, r.Problems)
			}
		})
	}
}

func TestNothingIsWritten(t *testing.T) {
	t.Parallel()
	blue := database(t, "blue", "1.1")
	p, err := plan.LoadProfile("bundled", ".")
	if err != nil {
		t.Fatal(err)
	}
	state := func() (s string) {
		const sql = `SELECT (SELECT count(*) FROM pg_proc)::text || ' ' || (SELECT count(*) FROM pg_class)::text || ' '`
		if err := blue.Pool().QueryRow(context.WithoutCancel(t.Context()), sql).Scan(&s); err != nil {
			t.Fatal(err)
		}
		return s
	}
	before := state()
	if _, err := profilecheck.Check(t.Context(), blue, nil, p); err != nil {
		t.Fatal(err)
	}
	// The session's own functions go with it, when the server has seen its end.
	await.That(t, "the catalog is as before, "+before, func() bool { return state() == before })
}
