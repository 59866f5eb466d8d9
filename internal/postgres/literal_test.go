package postgres_test

import (
	"testing"

	"github.com/tideover/tideover/internal/lab/pgserver/pgtest"
	"github.com/tideover/tideover/internal/postgres"
)

// Postgres reads back what was written, whatever standard_conforming_strings says and whatever stands before it.
func TestLiteral(t *testing.T) {
	t.Parallel()
	db := open(t, pgtest.NewDatabase(t))
	for _, s := range []string{"", "plain", "it's", `back\slash`, `\'; DROP TABLE t; --`, `end\`, "'", "é\n"} {
		for _, conforming := range []string{"on", "off"} {
			conn, err := db.Connect(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			defer postgres.HangUp(t.Context(), conn)
			if _, err := conn.Exec(t.Context(), "SET standard_conforming_strings = "+conforming+"; SET escape_string_warning = off"); err != nil {
				t.Fatal(err)
			}
			results, err := conn.PgConn().Exec(t.Context(), "SELECT"+" "+postgres.Literal(s)).ReadAll()
			if err != nil || string(results[0].Rows[0][0]) != s {
				t.Errorf("%q, standard_conforming_strings %s: %v, %v", s, conforming, results, err)
			}
		}
	}
}
