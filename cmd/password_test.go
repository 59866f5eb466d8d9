package cmd_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/tideover/tideover/internal/lab/pgserver/pgtest"
)

// TestBadDSNKeepsItsPassword gives DSNs that can't be read or that nobody answers, and a wrong password.
func TestBadDSNKeepsItsPassword(t *testing.T) {
	t.Parallel()
	cfg, err := pgx.ParseConfig(pgtest.Shared(t).DSN())
	if err != nil {
		t.Fatal(err)
	}
	runbook := demoRunbook(t)
	for name, dsn := range map[string]string{
		"nobody answers":      "postgres://nobody:hidden-word@127.0.0.1:1/oauth",
		"no port":             "postgres://nobody:hidden-word@127.0.0.1:notaport/oauth",
		"unescaped":           "postgres://nobody:hidden-word%zz@127.0.0.1/oauth",
		"a space in it":       "postgres://nobody:hidden-word @127.0.0.1/oauth",
		"keywords":            "host=127.0.0.1 port=1 user=nobody password=hidden-word",
		"quoted, and unended": "host=127.0.0.1 port=1 password='hidden-word",
		"unknown option":      "postgres://nobody:hidden-word@127.0.0.1/oauth?sslmode=hidden-word",
		"as an option":        "postgres://127.0.0.1:1/oauth?user=nobody&password=hidden-word",
		"wrong password":      fmt.Sprintf("postgres://%s:hidden-word@%s:%d/postgres", cfg.User, cfg.Host, cfg.Port),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			env := sides(dsn, "postgres://nobody:hidden-word@127.0.0.1:2/successor") // two that are one database are refused unread
			env["TIDEOVER_ROUTER_TOKEN"] = "hidden-word"
			for _, args := range [][]string{{"run"}, {"run", "--json"}, {"plan"}, {"plan", "--connect"}, {"status"}, {"resume"}, {"rollback"}} {
				o := tideover(t.Context(), t, env, append(args, runbook)...)
				if args[len(args)-1] != "plan" && o.code == 0 {
					t.Errorf("%v: exit code 0", args)
				}
				if strings.Contains(o.stderr+string(o.stdout), "hidden-word") {
					t.Errorf("%v shows the password:\n%s%s", args, o.stdout, o.stderr)
				}
			}
		})
	}
}
