package postgres_test

import (
	"context"
	"crypto/rand"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/tideover/tideover/internal/lab/pgserver/pgtest"
	"github.com/tideover/tideover/internal/lab/quick"
	"github.com/tideover/tideover/internal/postgres"
)

// TestLikeness: what is migrated in a database's place has its locale and settings, also where it is made of a template.
func TestLikeness(t *testing.T) {
	quick.Skip(t)
	t.Parallel()
	admin := open(t, pgtest.NewDatabase(t))
	made := func(name string) string {
		t.Cleanup(func() {
			if _, err := admin.Pool().Exec(context.WithoutCancel(t.Context()), "DROP DATABASE IF EXISTS "+name+" WITH (FORCE)"); err != nil {
				t.Error(err)
			}
		})
		dsn, err := postgres.WithDatabase(admin.DSN(), name)
		if err != nil {
			t.Fatal(err)
		}
		return dsn
	}
	for name, tt := range map[string]struct{ options, first, what, want string }{
		"locale":           {"LC_COLLATE 'C' LC_CTYPE 'C'", "", "lower('Ä') || octet_length('Ä')", "Ä2"},
		"encoding":         {"ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C'", "", "pg_catalog.getdatabaseencoding()::text", "LATIN1"},
		"a locale of ICU":  {"LOCALE_PROVIDER icu ICU_LOCALE 'tr-TR'", "", "lower('I')", "ı"},
		"settings":         {"", "ALTER DATABASE @ SET TimeZone = 'Asia/Kathmandu'; ALTER DATABASE @ SET datestyle = 'SQL, DMY'", "'2026-01-02 00:00'::timestamptz::text", "02/01/2026 00:00:00 +0545"},
		"one of their own": {"", `ALTER DATABASE @ SET app.tenant = 'it''s = \ x'`, "current_setting('app.tenant')", `it's = \ x`},
		"a list of names":  {"", `ALTER DATABASE @ SET search_path = "A b", public, "$user"`, "current_setting('search_path')", `"A b", public, "$user"`},
		"no path":          {"", "ALTER DATABASE @ SET search_path = ''", "current_setting('search_path')", `""`},
		"of our role":      {"", "ALTER ROLE CURRENT_USER IN DATABASE @ SET intervalstyle = iso_8601; ALTER DATABASE @ SET intervalstyle = sql_standard", "interval '1 day'::text", "P1D"},
	} {
		t.Run(name, func(t *testing.T) {
			of := "likeness_" + strings.ToLower(rand.Text()[:12])
			dsn := made(of)
			if _, err := admin.Pool().Exec(t.Context(), "CREATE DATABASE "+of+" TEMPLATE template0 "+tt.options); err != nil {
				t.Fatal(err)
			}
			if _, err := admin.Pool().Exec(t.Context(), strings.ReplaceAll(tt.first, "@", of), pgx.QueryExecModeSimpleProtocol); err != nil {
				t.Fatal(err)
			}
			db := open(t, dsn)
			like, err := postgres.LikenessOf(t.Context(), db.Pool())
			if err != nil {
				t.Fatal(err)
			}
			db.Close()
			first, second := made(of+"_1"), made(of+"_2")
			if err := like.Create(t.Context(), admin.Pool(), of+"_1", ""); err != nil {
				t.Fatal(err)
			}
			if err := like.Create(t.Context(), admin.Pool(), of+"_2", of+"_1"); err != nil {
				t.Fatal(err)
			}
			for _, dsn := range []string{dsn, first, second} {
				conn, err := pgx.Connect(t.Context(), dsn) // as anybody's
				if err != nil {
					t.Fatal(err)
				}
				var got string
				if err := conn.QueryRow(t.Context(), "SELECT "+tt.what).Scan(&got); err != nil {
					t.Fatal(err)
				}
				postgres.HangUp(t.Context(), conn)
				if got != tt.want {
					t.Errorf("%s: %q, want %q", tt.what, got, tt.want)
				}
			}
		})
	}
}
