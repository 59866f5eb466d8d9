package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tideover/tideover/internal/authserver"
	"github.com/tideover/tideover/internal/journal"
	"github.com/tideover/tideover/internal/lab/deployment/ports"
	"github.com/tideover/tideover/internal/lab/pgserver/pgtest"
	"github.com/tideover/tideover/internal/lab/seed"
	"github.com/tideover/tideover/internal/lab/slice"
)

// TestNoSecretLeaves takes a run through, in both forms of output, and searches all that it prints, stores, logs and
// starts for what must not be there: passwords of the databases, the router's token, the servers' secret, client secrets,
// tokens of before the run and of during it, and what a session holds.
func TestNoSecretLeaves(t *testing.T) {
	slice.In(t, 8)
	th := newTheatre(t)
	const body = "confidential-session-body-7731"
	s := &searcher{secrets: map[string]string{"router token": th.RouterToken, "servers' secret": th.SystemSecret, "session body": body},
		hashes: map[string]bool{}}
	for name, dsn := range map[string]string{"blue's password": th.BlueDSN, "green's password": th.GreenDSN} {
		cfg, err := pgx.ParseConfig(dsn)
		if err != nil {
			t.Fatal(err)
		}
		if len(cfg.Password) < 8 {
			t.Fatalf("%s proves nothing: the server takes no password", name)
		}
		s.secrets[name] = cfg.Password
	}
	var plain []seed.Credential
	for _, c := range th.Seeded.Sample {
		s.secrets["client secret"] = c.Secret
		s.secrets["access token of a "+c.Kind+" session"] = c.Access
		s.secrets["refresh token of a "+c.Kind+" session"] = c.Refresh
		s.secrets["used refresh token of a "+c.Kind+" session"] = c.Spent
		if c.Kind == "plain" {
			plain = append(plain, c)
		}
	}
	if len(plain) == 0 {
		t.Fatal("no plain session was seeded")
	}
	pgtest.Exec(t, th.BlueDSN, `UPDATE public.oauth_consent_handled SET session_access_token = '{"note":"`+body+`"}'
		WHERE challenge IN (SELECT request_id FROM public.oauth_refresh WHERE active AND expires_at > now() LIMIT 50)`)
	processes := watchProcesses(t)
	said := func(args []string, o outcome) {
		s.take(strings.Join(args, " ")+": stdout", o.stdout)
		s.take(strings.Join(args, " ")+": stderr", []byte(o.stderr))
	}

	// Tokens issued while changes are captured go through the queue.
	issued := false
	_, _, stderr := th.signal(t, os.Interrupt, func(e journal.Event) bool {
		if e.Kind == journal.StepStarted && e.Step == "cleanup" && !issued {
			issued = true
			for name, token := range renew(t, th, plain[0]) {
				s.secrets[name] = token
			}
		}
		return e.Kind == journal.StepStarted && e.Step == "validate"
	}, "run", th.runbook, "--json")
	if !issued {
		t.Fatal("the run never came to cleanup")
	}
	said([]string{"run --json"}, outcome{stdout: th.said.Bytes(), stderr: stderr})
	if n := s.tables(t, th); n < 5 {
		t.Errorf("only %d tables of ours were searched", n)
	}
	s.learn(t, th)
	for _, args := range [][]string{{"plan", "--connect", "--json"}, {"status"}, {"status", "--json"}, {"status", "--watch"}, {"verify"}, {"resume"}, {"rollback"}} {
		ctx := t.Context()
		if args[len(args)-1] == "--watch" { // it never ends by itself
			var cancel context.CancelFunc
			ctx, cancel = context.WithTimeout(ctx, 2*time.Second)
			defer cancel()
		}
		env := th.Environment()
		given := func() {}
		if args[0] == "resume" { // the run is over then
			args, given = s.observed(ctx, t, args, env)
		}
		o := tideover(ctx, t, env, append(args, th.runbook)...)
		given()
		said(args, o)
		if len(o.stdout)+len(o.stderr) == 0 {
			t.Errorf("%v says nothing", args)
		}
		if args[0] == "resume" {
			if o.code != 0 {
				t.Errorf("resume: exit code %d\n%s", o.code, o.stderr)
			}
			s.tables(t, th)
			s.learn(t, th)
		}
	}
	th.stop()

	logs := t.TempDir()
	if err := th.KeepLogs(t.Context(), logs); err != nil {
		t.Fatal(err)
	}
	s.files(t, logs, 5)
	lines := processes()
	dumped, stated := false, false
	for _, line := range lines {
		s.take("the command line of a process", []byte(line))
		dumped = dumped || strings.Contains(line, "pg_dump")
		if _, state, ok := strings.Cut(line, "--state "); ok && strings.Contains(line, th.RouterControl[len("http://"):]) {
			path, _, _ := strings.Cut(state, " ")
			s.files(t, filepath.Dir(path), 1)
			stated = true
		}
	}
	if !dumped || !stated {
		t.Errorf("pg_dump was seen to run: %t; the router's folder was searched: %t", dumped, stated)
	}
	s.judge(t)
}

// searcher collects what a run leaves behind and searches it in the end, when all secrets are known.
type searcher struct {
	secrets map[string]string
	hashes  map[string]bool // of all tokens, as the databases hold them
	texts   []found
}

type found struct {
	where string
	text  []byte
}

func (s *searcher) take(where string, text []byte) {
	s.texts = append(s.texts, found{where, bytes.Clone(text)})
}

// observed has Prometheus and a collector of traces hear of a command; given takes what they have got.
func (s *searcher) observed(ctx context.Context, t *testing.T, args []string, env map[string]string) (_ []string, given func()) {
	t.Helper()
	free, err := ports.Free(ctx, 1)
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	spans, figures := 0, []byte(nil)
	collector := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		mu.Lock()
		defer mu.Unlock()
		spans++
		s.take(args[0]+": spans", body)
	}))
	env["OTEL_EXPORTER_OTLP_ENDPOINT"] = collector.URL
	scraping, stop := context.WithCancel(ctx)
	var scraper sync.WaitGroup
	scraper.Go(func() {
		for scraping.Err() == nil {
			if text := fetch(scraping, "http://"+free[0]+"/metrics"); len(text) > 0 {
				figures = text
			}
			select {
			case <-scraping.Done():
			case <-time.After(100 * time.Millisecond):
			}
		}
	})
	return append(args, "--metrics-addr", free[0]), func() {
		stop()
		scraper.Wait()
		collector.Close() // once it has answered
		s.take(args[0]+": metrics", figures)
		if spans == 0 || !bytes.Contains(figures, []byte("tideover_run_info")) {
			t.Errorf("%s: %d calls of the collector, and these figures:\n%s", args[0], spans, figures)
		}
	}
}

// fetch is what an address answers; nothing where nobody is there yet.
func fetch(ctx context.Context, url string) []byte {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil
	}
	return text
}

// tables takes all tables of our schema on both sides, and counts them.
func (s *searcher) tables(t *testing.T, th *theatre) (n int) {
	t.Helper()
	for _, side := range []struct{ name, dsn string }{{"blue", th.BlueDSN}, {"green", th.GreenDSN}} {
		for _, table := range ours(t, side.dsn) {
			n++
			s.take(side.name+"'s table "+table, []byte(pgtest.Query[string](t, side.dsn, `SELECT coalesce(string_agg(x::text, E'\n'), '') FROM `+table+` x`)))
		}
	}
	return n
}

// files takes all files of a folder, at least so many.
func (s *searcher) files(t *testing.T, dir string, least int) {
	t.Helper()
	files, err := os.ReadDir(dir)
	if err != nil || len(files) < least {
		t.Fatalf("%d files in %s, want %d: %v", len(files), dir, least, err)
	}
	for _, f := range files {
		text, err := os.ReadFile(filepath.Join(dir, f.Name()))
		if err != nil {
			t.Fatal(err)
		}
		s.take(f.Name(), text)
	}
}

// learn takes the hashes of the tokens that there are now.
func (s *searcher) learn(t *testing.T, th *theatre) {
	t.Helper()
	for _, dsn := range []string{th.BlueDSN, th.GreenDSN} {
		for _, table := range pgtest.Query[[]string](t, dsn, `SELECT coalesce(array_agg(table_name::text), '{}') FROM information_schema.columns
			WHERE table_schema = 'public' AND column_name = 'signature'`) {
			for _, hash := range pgtest.Query[[]string](t, dsn, `SELECT coalesce(array_agg(signature::text), '{}') FROM public.`+table) {
				s.hashes[hash] = true
			}
		}
	}
}

var words = regexp.MustCompile(`[A-Za-z0-9_-]{20,}`)

// judge searches for each secret, and for any word whose hash is a token's.
func (s *searcher) judge(t *testing.T) {
	t.Helper()
	if len(s.hashes) < 1000 {
		t.Errorf("only %d tokens are known", len(s.hashes))
	}
	bytesRead := 0
	for _, f := range s.texts {
		bytesRead += len(f.text)
		for name, secret := range s.secrets {
			if bytes.Contains(f.text, []byte(secret)) || bytes.Contains(f.text, []byte(url.QueryEscape(secret))) {
				t.Errorf("%s shows a secret: the %s", f.where, name)
			}
		}
		for _, w := range words.FindAll(f.text, -1) {
			if s.hashes[authserver.Signature(string(w))] {
				t.Errorf("%s shows a token: %.6s…", f.where, w)
			}
		}
	}
	t.Logf("searched %d texts, %d bytes, for %d secrets and %d tokens", len(s.texts), bytesRead, len(s.secrets), len(s.hashes))
}

// watchProcesses looks again and again at the command lines of all processes until the function that it returns is
// called, which gives each that was seen, once.
func watchProcesses(t *testing.T) func() []string {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	seen := map[string]bool{}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			found, err := filepath.Glob("/proc/[0-9]*/cmdline")
			if err != nil {
				t.Error(err)
				return
			}
			for _, path := range found {
				if line, err := os.ReadFile(path); err == nil { // it may have ended
					seen[string(bytes.ReplaceAll(line, []byte{0}, []byte(" ")))] = true
				}
			}
			select {
			case <-ctx.Done():
			case <-time.After(10 * time.Millisecond):
			}
		}
	}()
	finish := func() []string {
		stop()
		<-done
		return slices.Sorted(maps.Keys(seen))
	}
	t.Cleanup(func() { finish() })
	return finish
}

// ours lists the tables of our schema.
func ours(t *testing.T, dsn string) []string {
	t.Helper()
	return pgtest.Query[[]string](t, dsn, `SELECT coalesce(array_agg(format('%I.%I', schemaname, tablename)), '{}') FROM pg_tables WHERE schemaname = 'tideover'`)
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
