package cmd_test

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/tideover/tideover/internal/authserver/seed"
	"github.com/tideover/tideover/internal/journal"
)

// TestNoSecretLeaves takes a run through, in both forms of output, and searches all that it leaves behind for what must
// not be there: passwords of the databases, the router's token, client secrets, tokens that are older than the run and
// tokens that were issued during it, and what a session holds.
func TestNoSecretLeaves(t *testing.T) {
	th := newTheatre(t)
	secrets := map[string]string{"router token": th.RouterToken, "session body": "confidential-session-body-7731"}
	for name, dsn := range map[string]string{"blue's password": th.BlueDSN, "green's password": th.GreenDSN} {
		cfg, err := pgx.ParseConfig(dsn)
		if err != nil {
			t.Fatal(err)
		}
		if len(cfg.Password) < 8 {
			t.Fatalf("%s proves nothing: the server takes no password", name)
		}
		secrets[name] = cfg.Password
	}
	var plain []seed.Credential
	for _, c := range th.Seeded.Sample {
		secrets["client secret"] = c.Secret
		secrets["access token of a "+c.Kind+" session"] = c.Access
		secrets["refresh token of a "+c.Kind+" session"] = c.Refresh
		secrets["used refresh token of a "+c.Kind+" session"] = c.Spent
		if c.Kind == "plain" {
			plain = append(plain, c)
		}
	}
	if len(plain) == 0 {
		t.Fatal("no plain session was seeded")
	}
	execute(t, th.BlueDSN, `UPDATE public.oauth_consent_handled SET session_access_token = '{"note":"confidential-session-body-7731"}'
		WHERE challenge IN (SELECT request_id FROM public.oauth_refresh WHERE active AND expires_at > now() LIMIT 50)`)

	search := func(where string, text []byte) {
		t.Helper()
		for name, secret := range secrets {
			if bytes.Contains(text, []byte(secret)) || bytes.Contains(text, []byte(url.QueryEscape(secret))) {
				t.Errorf("%s shows a secret: the %s", where, name)
			}
		}
	}
	processes := func() {
		found, err := filepath.Glob("/proc/[0-9]*/cmdline")
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range found {
			line, err := os.ReadFile(path)
			if err == nil { // it may have ended
				search("the command line of a process", line)
			}
		}
	}
	databases := func() (tables int) {
		for _, side := range []struct{ name, dsn string }{{"blue", th.BlueDSN}, {"green", th.GreenDSN}} {
			for _, table := range ours(t, side.dsn) {
				tables++
				search(side.name+"'s table "+table, []byte(query[string](t, side.dsn, `SELECT coalesce(string_agg(x::text, E'\n'), '') FROM `+table+` x`)))
			}
		}
		return tables
	}

	looked := tideover(t.Context(), t, th.Environment(), "plan", "--connect", th.runbook)
	if looked.code != 0 {
		t.Errorf("plan --connect: exit code %d\n%s", looked.code, looked.stderr)
	}
	search("plan --connect", append(looked.stdout, looked.stderr...))

	// Tokens issued while changes are captured go through the queue.
	issued := false
	_, _, stderr := th.signal(t, os.Interrupt, func(e journal.Event) bool {
		if e.Kind == journal.StepStarted && e.Step == "cleanup" && !issued {
			issued = true
			for name, token := range renew(t, th, plain[0]) {
				secrets[name] = token
			}
		}
		if e.Kind == journal.StepStarted {
			processes()
		}
		return e.Kind == journal.StepStarted && e.Step == "validate"
	}, "run", th.runbook, "--json")
	if !issued {
		t.Fatal("the run never came to cleanup")
	}
	search("stdout of run --json", th.said.Bytes())
	search("stderr of run --json", []byte(stderr))
	if n := databases(); n < 5 {
		t.Errorf("only %d tables of ours were searched", n)
	}
	for _, args := range [][]string{{"status", th.runbook}, {"status", th.runbook, "--json"}, {"resume", th.runbook}} {
		o := tideover(t.Context(), t, th.Environment(), args...)
		if o.code != 0 {
			t.Errorf("%v: exit code %d\n%s", args, o.code, o.stderr)
		}
		search(strings.Join(args[:1], " "), append(o.stdout, o.stderr...))
	}
	databases()
}

// ours lists the tables of our schema.
func ours(t *testing.T, dsn string) []string {
	t.Helper()
	return query[[]string](t, dsn, `SELECT coalesce(array_agg(format('%I.%I', schemaname, tablename)), '{}') FROM pg_tables WHERE schemaname = 'tideover'`)
}

// renew refreshes a session through the router and returns its new tokens.
func renew(t *testing.T, th *theatre, c seed.Credential) map[string]string {
	t.Helper()
	form := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {c.Refresh}}
	req, err := http.NewRequestWithContext(context.WithoutCancel(t.Context()), http.MethodPost, th.Router.Public+"/oauth2/token", strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.SetBasicAuth(c.Client, c.Secret)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	var tokens struct {
		Access  string `json:"access_token"`
		Refresh string `json:"refresh_token"`
	}
	if err := json.NewDecoder(res.Body).Decode(&tokens); err != nil || res.StatusCode != http.StatusOK || tokens.Refresh == "" {
		t.Fatalf("refresh: %s, %v", res.Status, err)
	}
	return map[string]string{"access token issued during the run": tokens.Access, "refresh token issued during the run": tokens.Refresh}
}
