package e2e

import (
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/tideover/tideover/internal/journal"
	"github.com/tideover/tideover/internal/lab/deployment"
	"github.com/tideover/tideover/internal/lab/seed"
	"github.com/tideover/tideover/internal/lab/slice"
)

// staleTries is how often each kind of a stale green server is tried.
func staleTries(t *testing.T) int {
	t.Helper()
	n, err := strconv.Atoi(os.Getenv("TIDEOVER_STALE_TRIES"))
	if err != nil {
		return 1
	}
	return n
}

// stale is a run that waits at its cutover, and the server of green, which is made to be another than it should be.
type stale struct {
	*theatre
	dsn, secret string    // the server's variables
	copies      int       // of green's database
	exporter    *pgx.Conn // a session of somebody else in green's database
}

// TestStaleGreen starts green's bundled server on another database and with another secret: the switch is stopped before the hold.
func TestStaleGreen(t *testing.T) {
	slice.In(t, 5)
	th := newTheatreOn(t, deployment.Options{Seed: seed.Options{Clients: 5, Sessions: 20}}, "demo.yaml")
	s := &stale{theatre: th, dsn: "TIDEOVER_SERVER_DSN", secret: "TIDEOVER_SYSTEM_SECRET"}
	s.atGate(t)
	s.try(t, "another secret", func(t *testing.T) { // it ends by itself then
		s.started(t, s.dsn+"="+s.GreenDSN, s.secret+"=0123456789abcdef0123456789abcdef")
	})
	s.try(t, "a copy of green's database", s.aCopy)
	s.right(t)
}

// atGate brings a run to its cutover.
func (s *stale) atGate(t *testing.T) {
	t.Helper()
	s.stop() // nobody has to be there
	edit(t, s.runbook, "- step: cutover\n", "- step: cutover\n    approve: true\n")
	s.toGate(t)
}

func (s *stale) toGate(t *testing.T) {
	t.Helper()
	code, pressed, stderr := s.signal(t, os.Interrupt, func(e journal.Event) bool { return e.Kind == journal.GateWaiting }, "run", s.runbook, "--json")
	if !pressed || code != 130 {
		t.Fatalf("the run did not wait at its gate: exit code %d\n%s", code, stderr)
	}
	if err := s.Ready(t.Context(), s.GreenServer); err != nil {
		t.Fatal(err)
	}
}

// try has a stale server stopped by the guardrails, as often as is asked for.
func (s *stale) try(t *testing.T, kind string, start func(t *testing.T)) {
	t.Helper()
	tries, stopped := staleTries(t), 0
	for range tries {
		start(t)
		if s.refused(t, kind) {
			stopped++
		}
	}
	t.Logf("%s: stopped in %d of %d tries", kind, stopped, tries)
}

func (s *stale) refused(t *testing.T, kind string) bool {
	t.Helper()
	o := tideover(t.Context(), t, s.Environment(), "cutover", "--rehearse", s.runbook)
	ok := o.code == 4 && strings.Contains(o.stderr, "guardrail green-") && (strings.Contains(o.stderr, "start green's server again") || strings.Contains(o.stderr, "start the new server"))
	if !ok {
		t.Errorf("%s: exit code %d\n%s%s", kind, o.code, o.stdout, o.stderr)
	} else if testing.Verbose() {
		t.Log(o.stderr)
	}
	return ok
}

// right wants the server that the deployment has begun with to be let through.
func (s *stale) right(t *testing.T) {
	t.Helper()
	s.restart(t, s.dsn+"="+s.GreenDSN, s.secret+"="+s.SystemSecret)
	if o := tideover(t.Context(), t, s.Environment(), "cutover", "--rehearse", s.runbook); o.code != 0 {
		t.Errorf("the right server: exit code %d\n%s%s", o.code, o.stdout, o.stderr)
	}
}

// started ends green's server and starts it with other variables.
func (s *stale) started(t *testing.T, env ...string) {
	t.Helper()
	if err := s.Kill(deployment.GreenServer); err != nil {
		t.Fatal(err)
	}
	if err := s.RestartWith(t.Context(), deployment.GreenServer, env...); err != nil {
		t.Fatal(err)
	}
}

// restart waits for it, too.
func (s *stale) restart(t *testing.T, env ...string) {
	t.Helper()
	s.started(t, env...)
	if err := s.Ready(t.Context(), s.GreenServer); err != nil {
		t.Fatal(err)
	}
}

func (s *stale) anotherSecret(t *testing.T) {
	t.Helper()
	s.restart(t, s.dsn+"="+s.GreenDSN, s.secret+"=0123456789abcdef0123456789abcdef")
}

// aCopy starts the server on a copy of green's database, while somebody else has a session in green's own.
func (s *stale) aCopy(t *testing.T) {
	t.Helper()
	if s.exporter != nil {
		s.exporter.Close(t.Context())
	}
	if err := s.Kill(deployment.GreenServer); err != nil {
		t.Fatal(err)
	}
	cfg, err := pgx.ParseConfig(s.GreenDSN)
	if err != nil {
		t.Fatal(err)
	}
	s.copies++
	dsn, err := s.Green.CopyDatabase(t.Context(), cfg.Database+"_copy_"+strconv.Itoa(s.copies), cfg.Database)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.RestartWith(t.Context(), deployment.GreenServer, s.dsn+"="+dsn, s.secret+"="+s.SystemSecret); err != nil {
		t.Fatal(err)
	}
	if err := s.Ready(t.Context(), s.GreenServer); err != nil {
		t.Fatal(err)
	}
	if s.exporter, err = pgx.Connect(t.Context(), s.GreenDSN); err != nil {
		t.Fatal(err)
	}
}
