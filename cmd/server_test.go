package cmd_test

import (
	"bytes"
	"context"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tideover/tideover/cmd"
	"github.com/tideover/tideover/internal/authserver"
)

// operate runs tideover server with some arguments, on a database.
func operate(t *testing.T, dsn string, env map[string]string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	root := cmd.NewRootCmd(&cmd.IO{In: strings.NewReader(""), Out: &out, Err: &errs, Env: func(name string) (string, bool) {
		if name == "TIDEOVER_SERVER_DSN" {
			return dsn, true
		}
		v, ok := env[name]
		return v, ok
	}})
	root.SetArgs(append([]string{"server"}, args...))
	code = cmd.Report(&errs, root.ExecuteContext(t.Context()))
	return code, out.String(), errs.String()
}

// started migrates a database and lets a server make its first key.
func started(t *testing.T, generation, secret string) string {
	t.Helper()
	dsn := migrated(t, generation)
	s, err := authserver.New(t.Context(), authserver.Config{Generation: generation, DSN: dsn, Issuer: "http://127.0.0.1:1", SystemSecret: secret,
		LoginURL: "http://127.0.0.1:2/", ConsentURL: "http://127.0.0.1:2/"})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	ctx, stop := context.WithTimeout(t.Context(), 30*time.Second)
	defer stop()
	if err := s.Run(ctx, stop); err != nil {
		t.Fatal(err)
	}
	return dsn
}

// TestServerKeys: an operator rotates and reseals the keys, and is told what is wrong.
func TestServerKeys(t *testing.T) {
	t.Parallel()
	const secret, next = "a secret of the tests", "another secret of the tests"
	dsn, old := started(t, "2.0", secret), map[string]string{"TIDEOVER_SYSTEM_SECRET": secret}
	both := map[string]string{"TIDEOVER_SYSTEM_SECRET": next, "TIDEOVER_SYSTEM_SECRET_OTHER": secret}
	for _, tt := range []struct {
		name string
		env  map[string]string
		args []string
		code int
		says string
	}{
		{"list", nil, []string{"keys", "list"}, 0, "RS256  signing"},
		{"no secret", nil, []string{"keys", "rotate"}, 2, "no system secret"},
		{"a short one", map[string]string{"TIDEOVER_SYSTEM_SECRET": "short"}, []string{"keys", "rotate"}, 1, "fewer than 16"},
		{"another one", map[string]string{"TIDEOVER_SYSTEM_SECRET": next}, []string{"keys", "rotate"}, 1, "cannot be opened"},
		{"another generation", old, []string{"keys", "list", "--generation", "1.1"}, 1, "generation 1.1 wants"},
		{"before now", old, []string{"keys", "rotate", "--after", "-1s"}, 2, "--after"},
		{"rotate", old, []string{"keys", "rotate"}, 0, "RS256  published"},
		{"twice", old, []string{"keys", "rotate"}, 1, "published already"},
		{"under the other secret", both, []string{"keys", "list"}, 0, "sealed with the other secret"},
		{"reseal", both, []string{"keys", "reseal"}, 0, "resealed keys: 2"},
		{"again", both, []string{"keys", "reseal"}, 0, "resealed keys: 0"},
		{"with the new one", map[string]string{"TIDEOVER_SYSTEM_SECRET": next}, []string{"keys", "list", "--json"}, 0, `"state":"signing"`},
	} {
		if code, stdout, stderr := operate(t, dsn, tt.env, tt.args...); code != tt.code || !strings.Contains(stdout+stderr, tt.says) {
			t.Errorf("%s: exit code %d\n%s%s", tt.name, code, stdout, stderr)
		}
	}
}

// TestServerClient: an operator finds a client and gives it another secret, which is printed and nothing else.
func TestServerClient(t *testing.T) {
	t.Parallel()
	dsn := started(t, "1.1", "a secret of the tests")
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	if _, err := conn.Exec(t.Context(), `INSERT INTO oauth_client (id, name, owner, secret_hash, token_endpoint_auth_method)
		VALUES ('web', E'\x1b[2Jweb', 'ann', 'x', 'client_secret_basic'), ('app', 'app', 'bob', '', 'none')`); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		args []string
		code int
		says string
	}{
		{"list", []string{"list"}, 0, "app  none                 bob  app"},
		{"list of one", []string{"list", "--owner", "ann", "--json"}, 0, `{"client_id":"web"`},
		{"rotate", []string{"rotate-secret", "web", "--keep", "1h"}, 0, ""},
		{"listed", []string{"list"}, 0, "?[2Jweb  old secret until "},
		{"end", []string{"end-old-secret", "web"}, 0, ""},
		{"a public one", []string{"rotate-secret", "app"}, 1, "has no secret"},
		{"nobody", []string{"rotate-secret", "nobody"}, 1, `client "nobody": there is none`},
		{"for ever", []string{"rotate-secret", "web", "--keep", "99999h"}, 1, "90 days"},
		{"no id", []string{"rotate-secret"}, 2, "one client id"},
	} {
		code, stdout, stderr := operate(t, dsn, nil, append(append([]string{"client"}, tt.args...), "--generation", "1.1")...)
		if code != tt.code || !strings.Contains(stdout+stderr, tt.says) {
			t.Errorf("%s: exit code %d\n%s%s", tt.name, code, stdout, stderr)
		}
		if tt.name == "rotate" && (len(strings.TrimSpace(stdout)) != 43 || stderr != "") {
			t.Errorf("%q %q", stdout, stderr)
		}
	}
}

// TestServerJanitor: what it did is a line a kind, and limits that cannot be meant are refused.
func TestServerJanitor(t *testing.T) {
	t.Parallel()
	dsn := started(t, "2.0", "a secret of the tests")
	for _, tt := range []struct {
		args []string
		code int
		says string
	}{
		{nil, 0, "refresh tokens: 0\n"},
		{[]string{"--dry-run", "--json"}, 0, `{"kind":"signing keys","rows":0}`},
		{[]string{"--batch", "0"}, 2, "--batch"},
		{[]string{"--most", "0"}, 2, "--most"},
		{[]string{"--expired", "-1s"}, 2, "--expired"},
		{[]string{"--unfinished", "1m"}, 2, "people may be at it"},
		{[]string{"--retired-keys", "0"}, 2, "--retired-keys"},
		{[]string{"--generation", "1.0"}, 1, "generation 1.0 wants"},
	} {
		if code, stdout, stderr := operate(t, dsn, nil, append([]string{"janitor"}, tt.args...)...); code != tt.code || !strings.Contains(stdout+stderr, tt.says) {
			t.Errorf("%q: exit code %d\n%s%s", tt.args, code, stdout, stderr)
		}
	}
}
