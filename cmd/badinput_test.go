package cmd_test

import (
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"github.com/tideover/tideover/internal/lab/pgserver/pgtest"
)

// TestBadInput gives tideover run what can't work. Each gets a clear error with a hint, and changes nothing.
func TestBadInput(t *testing.T) {
	t.Parallel()
	blue, green := migrated(t, "1.1"), pgtest.NewDatabase(t)
	runbook := demoRunbook(t)
	before := pgtest.Schema(t, blue)
	key := pgtest.Query[string](t, blue, `SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conname = 'oauth_jwk_pkey'`)
	tests := []struct {
		name string
		env  map[string]string
		edit func(string) string
		made func(t *testing.T) // makes the trouble
		gone func(t *testing.T) // removes it
		code int
		says []string
	}{
		{name: "wrong DSN", env: map[string]string{"TIDEOVER_GREEN_DSN": "postgres://nobody:hidden-word@127.0.0.1:1/oauth"},
			code: 1, says: []string{"green", "hint:"}},
		{name: "no DSN", env: map[string]string{"TIDEOVER_GREEN_DSN": ""}, code: 2, says: []string{"green.dsn", "TIDEOVER_GREEN_DSN"}},
		{name: "unknown field", edit: func(s string) string { return strings.Replace(s, "jobs: 2", "job: 2", 1) },
			code: 2, says: []string{"demo.yaml:", "job", "jobs"}},
		{name: "green is not empty", made: func(t *testing.T) { pgtest.Exec(t, green, `CREATE TABLE somebody (id int PRIMARY KEY)`) },
			gone: func(t *testing.T) { pgtest.Exec(t, green, `DROP TABLE somebody`) }, code: 4, says: []string{"not empty", "hint:"}},
		{name: "a table without a key", made: func(t *testing.T) { pgtest.Exec(t, blue, `ALTER TABLE oauth_jwk DROP CONSTRAINT oauth_jwk_pkey`) },
			gone: func(t *testing.T) { pgtest.Exec(t, blue, `ALTER TABLE oauth_jwk ADD CONSTRAINT oauth_jwk_pkey `+key) },
			code: 4, says: []string{"oauth_jwk", "key", "hint:"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if tt.made != nil {
				tt.made(t)
				t.Cleanup(func() { tt.gone(t) })
			}
			path := runbook
			if tt.edit != nil {
				path = filepath.Join(t.TempDir(), "demo.yaml")
				data, err := os.ReadFile(runbook)
				if err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(path, []byte(tt.edit(string(data))), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			env := sides(blue, green)
			for k, v := range tt.env {
				env[k] = v
			}
			o := tideover(t.Context(), t, env, "run", path, "--json")
			if o.code != tt.code {
				t.Errorf("exit code %d, want %d", o.code, tt.code)
			}
			for _, want := range tt.says {
				if !strings.Contains(o.stderr, want) {
					t.Errorf("stderr does not say %q:\n%s", want, o.stderr)
				}
			}
			if strings.Contains(o.stderr+string(o.stdout), "hidden-word") {
				t.Error("the password is shown")
			}
			if tt.code == 4 {
				if o := tideover(t.Context(), t, sides(blue, green), "rollback", path, "--json"); o.code != 0 {
					t.Errorf("rollback: exit code %d\n%s", o.code, o.stderr)
				}
			}
		})
	}
	if after := pgtest.Schema(t, blue); after != before {
		t.Errorf("blue has changed:\n%s", cmp.Diff(before, after))
	}
}

// TestMissingPrivilege runs as a role that may not create a schema on blue.
func TestMissingPrivilege(t *testing.T) {
	t.Parallel()
	blue := migrated(t, "1.1")
	cfg, err := pgx.ParseConfig(blue)
	if err != nil {
		t.Fatal(err)
	}
	role := "weak_" + cfg.Database
	pgtest.Exec(t, blue, `CREATE ROLE `+role+` LOGIN PASSWORD 'weak'; REVOKE CREATE ON DATABASE `+cfg.Database+` FROM PUBLIC`)
	t.Cleanup(func() { pgtest.Exec(t, blue, `DROP ROLE `+role) })
	weak, err := url.Parse(blue)
	if err != nil {
		t.Fatal(err)
	}
	weak.User = url.UserPassword(role, "weak")
	o := tideover(t.Context(), t, sides(weak.String(), pgtest.NewDatabase(t)), "run", demoRunbook(t), "--json")
	if o.code == 0 {
		t.Fatal("a role without privileges could run")
	}
	for _, want := range []string{"permission", "hint:"} {
		if !strings.Contains(o.stderr, want) {
			t.Errorf("stderr does not say %q:\n%s", want, o.stderr)
		}
	}
}
