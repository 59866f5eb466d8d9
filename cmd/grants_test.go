package cmd_test

import (
	"crypto/rand"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/tideover/tideover/internal/authserver/schema"
	"github.com/tideover/tideover/internal/lab/pgserver/pgtest"
	"github.com/tideover/tideover/internal/lab/quick"
	"github.com/tideover/tideover/internal/migrate"
)

// The statements that are printed make ordinary roles that can do a run up to the switch: nothing is missing in preflight, its
// databases are made, filled and dropped, and behind the migrations green's server could work.
func TestGrantsAreEnough(t *testing.T) {
	quick.Skip(t)
	t.Parallel()
	blue, green := pgtest.NewDatabase(t), pgtest.NewDatabase(t)
	name := func(what string) string { return what + "_" + strings.ToLower(rand.Text()[:8]) }
	owner, ours, greens, server := name("owner"), name("ours"), name("greens"), name("server")
	pgtest.Exec(t, blue, "CREATE ROLE "+owner+" LOGIN PASSWORD 'x'; GRANT CREATE ON SCHEMA public TO "+owner)
	t.Cleanup(func() {
		for _, scratch := range pgtest.Query[[]string](t, green, `SELECT coalesce(array_agg(datname::text), '{}') FROM pg_database WHERE datdba = to_regrole($1) AND datname LIKE 'tideover%'`, greens) {
			pgtest.Exec(t, green, "DROP DATABASE "+scratch) // kept for a next batch: the run has no retire
		}
		for _, dsn := range []string{blue, green} {
			for _, r := range []string{owner, ours, greens, server} {
				pgtest.Exec(t, dsn, "DO $$ BEGIN IF to_regrole('"+r+"') IS NOT NULL THEN REASSIGN OWNED BY "+r+" TO CURRENT_USER; DROP OWNED BY "+r+"; END IF; END $$")
			}
		}
		for _, r := range []string{owner, ours, greens, server} {
			pgtest.Exec(t, blue, "DROP ROLE IF EXISTS "+r)
		}
	})
	as := func(dsn, user string) string {
		u, err := url.Parse(dsn)
		if err != nil {
			t.Fatal(err)
		}
		u.User = url.UserPassword(user, "x")
		return u.String()
	}
	if err := migrate.NewGoose(schema.Files(), 11004).Migrate(t.Context(), as(blue, owner)); err != nil {
		t.Fatal(err)
	}
	book := filepath.Join(t.TempDir(), "upgrade.yaml")
	text := "version: 1\nname: ordinary\nprofile: bundled\nblue: {dsn: '" + as(blue, ours) + "', role: " + owner + "}\ngreen: {dsn: '" + as(green, greens) + "', role: " + server + "}\n" +
		"steps:\n  - step: preflight\n  - step: capture\n  - step: snapshot\n  - step: cleanup\n    phase: before\n  - {step: migrate, target: offline, source: bundled}\n  - {step: cleanup, id: after, phase: after}\n  - step: replay\n"
	if err := os.WriteFile(book, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	r := tideover(t.Context(), t, nil, "grants", book)
	if r.code != 0 {
		t.Fatalf("%d: %s", r.code, r.stderr)
	}
	if strings.Contains(string(r.stdout), ":x@") {
		t.Error("a password is printed")
	}
	onBlue, onGreen, ok := strings.Cut(string(r.stdout), "\n-- green:")
	if !ok {
		t.Fatalf("no part for green in\n%s", r.stdout)
	}
	for range 2 { // run again they do no harm
		pgtest.Exec(t, blue, onBlue)
		pgtest.Exec(t, green, "--"+onGreen)
	}
	for _, role := range []string{ours, greens, server} {
		pgtest.Exec(t, blue, "ALTER ROLE "+role+" PASSWORD 'x'")
	}
	if super := pgtest.Query[bool](t, blue, `SELECT bool_or(rolsuper OR rolcreaterole OR rolbypassrls OR rolreplication) FROM pg_roles WHERE rolname = ANY ($1)`, []string{ours, greens, server}); super {
		t.Error("a role has more than it needs")
	}
	r = tideover(t.Context(), t, nil, "plan", "--connect", book)
	if r.code != 0 {
		t.Errorf("plan --connect: %d\n%s\n%s", r.code, r.stdout, r.stderr)
	}
	left := pgtest.Query[[]string](t, green, `SELECT coalesce(array_agg(datname::text), '{}') FROM pg_database d JOIN pg_roles r ON r.oid = d.datdba WHERE r.rolname = $1 AND datname LIKE 'tideover%'`, greens)
	if slices.Sort(left); len(left) > 0 {
		t.Errorf("left on green's server: %v", left)
	}
	if r = tideover(t.Context(), t, nil, "run", "--no-tui", book); r.code != 0 {
		t.Fatalf("run: %d\n%s\n%s", r.code, r.stdout, r.stderr)
	}
	// Green's server could work, but for the fence: on what the migrations have made, too.
	const able = `SELECT bool_and(has_table_privilege($1, oid, 'SELECT, INSERT') AND has_table_privilege($1, oid, 'UPDATE') AND has_table_privilege($1, oid, 'DELETE'))
		FROM pg_class WHERE relname IN ('oauth_session', 'oauth_flow', 'oauth_network', 'oauth_access')`
	if !pgtest.Query[bool](t, green, able, server) {
		t.Error("green's server lacks a right")
	}
}
