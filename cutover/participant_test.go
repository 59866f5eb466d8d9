package cutover

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tideover/tideover/cutover/router"
	"github.com/tideover/tideover/internal/lab/await"
	"github.com/tideover/tideover/internal/lab/pgserver/pgtest"
	"github.com/tideover/tideover/internal/lab/quick"
	"github.com/tideover/tideover/plan"
)

func TestMain(m *testing.M) { os.Exit(pgtest.RunTests(m)) }

// service is a participant's other end that keeps to the protocol: terms fence, keys are done once.
type service struct {
	mu      sync.Mutex
	side    plan.Side
	term    int
	call    int
	done    map[string]bool
	effects []string
	after   func(action string) // with the effect in place, before the answer
}

func (s *service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	action := strings.TrimPrefix(r.URL.Path, "/hook/")
	if action == "status" {
		json.NewEncoder(w).Encode(map[string]plan.Side{"side": s.side})
		return
	}
	term, _ := strconv.Atoi(r.Header.Get("Tideover-Term"))
	if term < s.term || r.Header.Get("Tideover-Run") != "r" {
		http.Error(w, "older term", http.StatusConflict)
		return
	}
	call, _ := strconv.Atoi(r.Header.Get("Tideover-Call"))
	if term == s.term && call < s.call {
		http.Error(w, "older call", http.StatusConflict)
		return
	}
	s.term, s.call = term, call
	if key := r.Header.Get("Idempotency-Key"); !s.done[key] {
		s.done[key] = true
		s.effects = append(s.effects, action)
		switch action {
		case "commit":
			s.side = plan.Green
		case "abort":
			s.side = plan.Blue
		}
	}
	if s.after != nil {
		s.after(action)
	}
}

// then sets what happens after the effect of a call.
func (s *service) then(f func(string)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.after = f
}

// fixtures are one participant of each kind, set to blue. Each refuses older terms.
func fixtures(t *testing.T) map[string]plan.ParticipantSpec {
	dir := t.TempDir()
	web := httptest.NewServer(&service{side: plan.Blue, done: map[string]bool{}})
	t.Cleanup(web.Close)
	file := filepath.Join(dir, "file")
	flag := filepath.Join(dir, "flag")
	for _, path := range []string{file, flag} {
		if err := os.WriteFile(path, []byte("blue"), 0o640); err != nil {
			t.Fatal(err)
		}
	}
	dsn := pgtest.NewDatabase(t)
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	if _, err := conn.Exec(t.Context(), `CREATE TABLE public.flag (side text NOT NULL, term bigint NOT NULL);`+
		`INSERT INTO public.flag VALUES ('blue', 0)`); err != nil {
		t.Fatal(err)
	}
	to := func(side plan.Side) string {
		return `DO $$ BEGIN IF (SELECT term FROM public.flag FOR UPDATE) > current_setting('tideover.term')::bigint THEN
			RAISE EXCEPTION 'older term'; END IF; END $$; UPDATE public.flag SET side = '` + string(side) + `', term = current_setting('tideover.term')::bigint`
	}
	sh := func(script string) []string { return []string{"sh", "-ec", script, "sh", flag} }
	fence := `n=$(cat "$1.term" 2>/dev/null || echo 0); [ "$TIDEOVER_TERM" -ge "$n" ]; echo "$TIDEOVER_TERM" > "$1.term"; `
	return map[string]plan.ParticipantSpec{
		"http": plan.NewParticipant("", &plan.HTTPSpec{URL: web.URL + "/hook/"}),
		"file": plan.NewParticipant("", &plan.FileSpec{Path: file, Blue: "blue", Green: "green"}),
		"exec": plan.NewParticipant("", &plan.ExecSpec{Commit: sh(fence + `printf green > "$1"`), Abort: sh(fence + `printf blue > "$1"`), Status: sh(`cat "$1"`)}),
		"sql":  plan.NewParticipant("", &plan.SQLSpec{DSN: dsn, CommitSQL: to("green"), AbortSQL: to("blue"), StatusSQL: "SELECT side FROM public.flag"}),
	}
}

// Programs get what the runbook names, and none of our connection strings and tokens.
func TestProgramsGetNoSecrets(t *testing.T) {
	t.Setenv("GREEN_DSN", "postgres://app:secret@green/auth")
	t.Setenv("GATEWAY_TOKEN", "named")
	seen := filepath.Join(t.TempDir(), "env")
	program := []string{"sh", "-c", `env > "$0"; echo blue`, seen}
	p := built(t, "gateway", &plan.ExecSpec{Commit: program, Abort: program, Status: program, Env: []string{"GATEWAY_TOKEN"}}, time.Minute)
	if _, err := p.Side(t.Context(), Ticket{Run: "r", Term: 1}); err != nil {
		t.Fatal(err)
	}
	env, err := os.ReadFile(seen)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"GATEWAY_TOKEN=named", "PATH=", "TIDEOVER_RUN=r"} {
		if !strings.Contains(string(env), want) {
			t.Errorf("%s is missing in\n%s", want, env)
		}
	}
	if strings.Contains(string(env), "secret") {
		t.Errorf("a connection string is in\n%s", env)
	}
}

func TestParticipants(t *testing.T) {
	t.Parallel()
	for kind, spec := range fixtures(t) {
		t.Run(kind, func(t *testing.T) {
			p, err := Build(spec)
			if err != nil {
				t.Fatal(err)
			}
			if p.Name() != kind {
				t.Errorf("name %q", p.Name())
			}
			ctx := t.Context()
			at := func(term int64, action string) Ticket { return Ticket{Run: "r", Term: term, Key: "r/" + action} }
			is := func(want plan.Side) {
				t.Helper()
				if side, err := p.Side(ctx, at(1, "status")); side != want || err != nil {
					t.Errorf("side %q %v, want %s", side, err, want)
				}
			}
			do := func(action string, f func(context.Context, Ticket) error, term int64) {
				t.Helper()
				for range 2 { // each call comes twice
					if err := f(ctx, at(term, action)); err != nil {
						t.Errorf("%s in term %d: %v", action, term, err)
					}
				}
			}
			do("abort", p.Abort, 1) // never prepared
			do("prepare", p.Prepare, 1)
			is(plan.Blue)
			do("commit", p.Commit, 1)
			is(plan.Green)
			do("abort", p.Abort, 2) // the way back, by the process that has taken over
			is(plan.Blue)
			if err := p.Commit(ctx, at(1, "commit")); err == nil { // late
				t.Error("a late commit of a process that has lost the run was carried out")
			}
			is(plan.Blue)
			do("commit", p.Commit, 3)
			is(plan.Green)
			if err := p.Abort(ctx, at(2, "abort")); err == nil {
				t.Error("a late abort was carried out")
			}
			is(plan.Green)

			gone, cancel := context.WithCancel(ctx)
			cancel()
			if kind != "file" { // nothing to wait for there
				if err := p.Abort(gone, at(4, "abort")); !errors.Is(err, context.Canceled) {
					t.Errorf("with a dead context: %v", err)
				}
			}
		})
	}
}

func TestBuildRefuses(t *testing.T) {
	t.Parallel()
	yes := []string{"true"}
	for name, config := range map[string]any{
		"no kind":        nil,
		"http no url":    &plan.HTTPSpec{},
		"http bad url":   &plan.HTTPSpec{URL: "ftp://x"},
		"exec no status": &plan.ExecSpec{Commit: yes, Abort: yes},
		"file no path":   &plan.FileSpec{Blue: "a", Green: "b"},
		"file same":      &plan.FileSpec{Path: "x", Blue: "a", Green: "a"},
		"sql no status":  &plan.SQLSpec{DSN: "x", CommitSQL: "x", AbortSQL: "x"},
		"pgbouncer":      &plan.PgbouncerSpec{DSN: "x", Path: "x", Blue: "a = host=b", Green: "a = host=b"},
	} {
		if p, err := Build(plan.NewParticipant("x", config)); err == nil || p != nil {
			t.Errorf("%s: built", name)
		}
	}
}

func TestHTTPParticipantFailures(t *testing.T) {
	t.Parallel()
	s := &service{side: plan.Blue, done: map[string]bool{}}
	web := httptest.NewServer(s)
	defer web.Close()
	spec := plan.NewParticipant("svc", &plan.HTTPSpec{URL: web.URL + "/hook"})
	spec.Timeout = 200 * time.Millisecond
	p, err := Build(spec)
	if err != nil {
		t.Fatal(err)
	}
	ticket := Ticket{Run: "r", Term: 1, Key: "r/commit"}
	s.then(func(string) { panic(http.ErrAbortHandler) }) // the answer is lost
	if err := p.Commit(t.Context(), ticket); err == nil {
		t.Error("a lost answer is a yes")
	}
	s.then(nil)
	if err := p.Commit(t.Context(), ticket); err != nil {
		t.Error(err)
	}
	if len(s.effects) != 1 {
		t.Errorf("effects %v, want one", s.effects)
	}
	let := make(chan struct{})
	s.then(func(string) { <-let })
	if err := p.Abort(t.Context(), ticket); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a hanging service: %v", err)
	}
	close(let)

	moved := httptest.NewServer(http.RedirectHandler(web.URL, http.StatusFound))
	defer moved.Close()
	p, err = Build(plan.NewParticipant("", &plan.HTTPSpec{URL: moved.URL}))
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Prepare(t.Context(), ticket); err == nil {
		t.Error("a redirect is a yes")
	}
	if side, err := p.Side(t.Context(), ticket); err == nil || side != "" {
		t.Errorf("side %q %v", side, err)
	}
}

func TestExecParticipantIsKilledWithItsChildren(t *testing.T) {
	t.Parallel()
	pid := filepath.Join(t.TempDir(), "pid")
	spec := plan.NewParticipant("", &plan.ExecSpec{
		Commit: []string{"sh", "-c", `sleep 600 & echo $! > "$0"; wait`, pid}, Abort: []string{"false"},
		Status: []string{"sh", "-c", "echo purple; yes | head -c 100000"},
	})
	spec.Timeout = 300 * time.Millisecond
	p, err := Build(spec)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Commit(t.Context(), Ticket{}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("commit: %v", err)
	}
	raw, err := os.ReadFile(pid)
	if err != nil {
		t.Fatal(err)
	}
	child, err := strconv.Atoi(strings.TrimSpace(string(raw)))
	if err != nil {
		t.Fatal(err)
	}
	await.That(t, "the child is gone", func() bool { return !running(child) })
	if err := p.Abort(t.Context(), Ticket{}); err == nil {
		t.Error("false is a yes")
	}
	if side, err := p.Side(t.Context(), Ticket{}); side != "" || err != nil {
		t.Errorf("side %q %v", side, err)
	}
}

// running is false for a process that is gone, or dead and not yet waited for by whoever has inherited it.
func running(pid int) bool {
	if syscall.Kill(pid, 0) != nil {
		return false
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && !strings.Contains(string(stat), ") Z ")
}

func TestFileParticipantKeepsOthersChanges(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "conf")
	p, err := Build(plan.NewParticipant("", &plan.FileSpec{Path: path, Blue: "blue\n", Green: "green\n"}))
	if err != nil {
		t.Fatal(err)
	}
	ticket := Ticket{Run: "r", Term: 5}
	if err := p.Prepare(t.Context(), ticket); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
	if err := os.WriteFile(path, []byte("mine"), 0o604); err != nil {
		t.Fatal(err)
	}
	for name, f := range map[string]func(context.Context, Ticket) error{"prepare": p.Prepare, "commit": p.Commit, "abort": p.Abort} {
		if err := f(t.Context(), ticket); err == nil {
			t.Errorf("%s over somebody's own content", name)
		}
	}
	if side, err := p.Side(t.Context(), ticket); side != "" || err != nil {
		t.Errorf("side %q %v", side, err)
	}
	if err := os.WriteFile(path, []byte("blue\n"), 0o604); err != nil {
		t.Fatal(err)
	}
	if err := p.Commit(t.Context(), ticket); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o604 {
		t.Errorf("mode %v %v", info.Mode(), err)
	}
	if err := p.Abort(t.Context(), Ticket{Run: "r", Term: 4}); !errors.Is(err, router.ErrStale) {
		t.Errorf("older term: %v", err)
	}
	left, _ := filepath.Glob(filepath.Join(filepath.Dir(path), ".*"))
	if len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestSQLParticipantIsAtomic(t *testing.T) {
	quick.Skip(t)
	t.Parallel()
	spec := fixtures(t)["sql"]
	flag := spec.Config.(*plan.SQLSpec)
	flag.CommitSQL = `UPDATE public.flag SET side = 'green'; SELECT 1/0`
	spec.Timeout = 2 * time.Second
	p, err := Build(spec)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Commit(t.Context(), Ticket{Run: "r", Term: 1}); err == nil {
		t.Error("half a commit is a yes")
	}
	if side, err := p.Side(t.Context(), Ticket{}); side != plan.Blue || err != nil {
		t.Errorf("side %q %v", side, err)
	}
	conn, err := pgx.Connect(t.Context(), flag.DSN)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	tx, err := conn.Begin(t.Context()) // somebody holds the flag
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback(t.Context())
	if _, err := tx.Exec(t.Context(), `LOCK TABLE public.flag`); err != nil {
		t.Fatal(err)
	}
	if err := p.Abort(t.Context(), Ticket{Run: "r", Term: 1}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a locked flag: %v", err)
	}
}
