package e2e

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/tideover/tideover/internal/journal"
	"github.com/tideover/tideover/internal/lab/quick"
)

// TestBadInput gives tideover run what can't work. Each gets a clear error with a hint, and changes nothing.
func TestBadInput(t *testing.T) {
	th := newTheatre(t, staysOnBlue)
	before := schemaOf(t, th.BlueDSN)
	key := query[string](t, th.BlueDSN, `SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conname = 'oauth_jwk_pkey'`)
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
		{name: "green is not empty", made: func(t *testing.T) { execute(t, th.GreenDSN, `CREATE TABLE somebody (id int PRIMARY KEY)`) },
			gone: func(t *testing.T) { execute(t, th.GreenDSN, `DROP TABLE somebody`) }, code: 4, says: []string{"not empty", "hint:"}},
		{name: "a table without a key", made: func(t *testing.T) { execute(t, th.BlueDSN, `ALTER TABLE oauth_jwk DROP CONSTRAINT oauth_jwk_pkey`) },
			gone: func(t *testing.T) { execute(t, th.BlueDSN, `ALTER TABLE oauth_jwk ADD CONSTRAINT oauth_jwk_pkey `+key) },
			code: 4, says: []string{"oauth_jwk", "key", "hint:"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if tt.made != nil {
				tt.made(t)
				t.Cleanup(func() { tt.gone(t) })
			}
			path := th.runbook
			if tt.edit != nil {
				path = filepath.Join(t.TempDir(), "demo.yaml")
				data, err := os.ReadFile(th.runbook)
				if err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(path, []byte(tt.edit(string(data))), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			env := th.Environment()
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
				if o := tideover(t.Context(), t, th.Environment(), "rollback", path, "--json"); o.code != 0 {
					t.Errorf("rollback: exit code %d\n%s", o.code, o.stderr)
				}
			}
		})
	}
	if after := schemaOf(t, th.BlueDSN); after != before {
		t.Errorf("blue has changed:\n%s", difference(before, after))
	}
}

// TestMissingPrivilege runs as a role that may not create a schema on blue.
func TestMissingPrivilege(t *testing.T) {
	th := newTheatre(t, staysOnBlue)
	execute(t, th.BlueDSN, `CREATE ROLE weak LOGIN PASSWORD 'weak'; REVOKE CREATE ON DATABASE oauth FROM PUBLIC`)
	cfg, err := pgx.ParseConfig(th.BlueDSN)
	if err != nil {
		t.Fatal(err)
	}
	env := th.Environment()
	env["TIDEOVER_BLUE_DSN"] = strings.Replace(th.BlueDSN, cfg.User+userPassword(cfg), "weak:weak", 1)
	o := tideover(t.Context(), t, env, "run", th.runbook, "--json")
	if o.code == 0 {
		t.Fatal("a role without privileges could run")
	}
	for _, want := range []string{"permission", "hint:"} {
		if !strings.Contains(o.stderr, want) {
			t.Errorf("stderr does not say %q:\n%s", want, o.stderr)
		}
	}
}

func userPassword(cfg *pgx.ConnConfig) string {
	if cfg.Password == "" {
		return ""
	}
	return ":" + cfg.Password
}

// TestSecondProcess starts a second process on a run that is held, and one with a runbook that has changed since.
func TestSecondProcess(t *testing.T) {
	th := newTheatre(t, staysOnBlue)
	second := outcome{}
	code, killed, stderr := th.play(t, func(e journal.Event) bool {
		if e.Kind != journal.StepStarted || e.Step != "replay" {
			return false
		}
		second = tideover(t.Context(), t, th.Environment(), "resume", th.runbook, "--json")
		return true
	}, "run", th.runbook, "--json")
	if !killed {
		t.Fatalf("ended by itself with %d\n%s", code, stderr)
	}
	if second.code != 3 || !strings.Contains(second.stderr, "held by") {
		t.Errorf("the second process: exit code %d, want 3\n%s", second.code, second.stderr)
	}
	data, err := os.ReadFile(th.runbook)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(th.runbook, append(data, "\n# changed\n"...), 0o600); err != nil {
		t.Fatal(err)
	}
	if o := tideover(t.Context(), t, th.Environment(), "resume", th.runbook, "--json"); o.code == 0 || !strings.Contains(o.stderr, "changed") || !strings.Contains(o.stderr, "hint:") {
		t.Errorf("a changed runbook: exit code %d\n%s", o.code, o.stderr)
	}
	if err := os.WriteFile(th.runbook, data, 0o600); err != nil {
		t.Fatal(err)
	}
	if o := tideover(t.Context(), t, th.Environment(), "rollback", th.runbook, "--json"); o.code != 0 {
		t.Errorf("rollback: exit code %d\n%s", o.code, o.stderr)
	}
}

// TestInterrupt sends Ctrl-C in several places. The run stops safely, and a resume completes it.
func TestInterrupt(t *testing.T) {
	quick.Skip(t)
	th := newTheatre(t)
	command := "run"
	for _, step := range []string{"snapshot", "replay", "validate"} {
		code, stderr := th.interrupt(t, step, command, th.runbook, "--json")
		if code != 130 {
			t.Errorf("Ctrl-C in %s: exit code %d, want 130\n%s", step, code, stderr)
		}
		command = "resume"
	}
	if code, _, stderr := th.play(t, nil, "resume", th.runbook, "--json"); code != 0 {
		t.Fatalf("resume: exit code %d\n%s", code, stderr)
	}
	th.judge(t)
}

func execute(t *testing.T, dsn, sql string) {
	t.Helper()
	conn, err := pgx.Connect(context.WithoutCancel(t.Context()), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.WithoutCancel(t.Context()))
	if _, err := conn.Exec(context.WithoutCancel(t.Context()), sql); err != nil {
		t.Fatal(err)
	}
}
