//go:build hydra

package e2e

import (
	"testing"

	"github.com/tideover/tideover/internal/lab/deployment"
	"github.com/tideover/tideover/internal/lab/pgserver/pgtest"
	"github.com/tideover/tideover/internal/lab/seed"
	"github.com/tideover/tideover/internal/lab/slice"
)

// TestHydraStaleGreen starts Hydra 2.3.0 on a copy of green's database, with another secret, with another network in its memory,
// and leaves it on while green is emptied and filled again: each time the switch is stopped before the hold.
func TestHydraStaleGreen(t *testing.T) {
	slice.In(t, 6)
	th := newTheatreOn(t, deployment.Options{Servers: deployment.Hydra, Seed: seed.Options{Clients: 3, Sessions: 5}}, "hydra-2x.yaml")
	edit(t, th.runbook, "command: [hydra,", `command: ["`+th.Commands()["hydra"]+`",`)
	s := &stale{theatre: th, dsn: "DSN", secret: "SECRETS_SYSTEM"}
	s.atGate(t)
	s.try(t, "another secret", s.anotherSecret)
	s.try(t, "a copy of green's database", s.aCopy)
	s.try(t, "another network", s.anotherNetwork)
	s.right(t)
	s.try(t, "an earlier copy", s.earlierCopy)
	s.right(t)
}

// anotherNetwork starts the server while green has an older network, which goes again: the server keeps it in its memory.
func (s *stale) anotherNetwork(t *testing.T) {
	t.Helper()
	const pass = `SELECT pg_catalog.set_config('tideover.pass', word, false) FROM tideover.pass; `
	pgtest.Exec(t, s.GreenDSN, pass+`INSERT INTO networks (id, created_at, updated_at) VALUES ('00000000-0000-4000-8000-000000000001', '2001-01-01', '2001-01-01')`)
	s.restart(t, s.dsn+"="+s.GreenDSN, s.secret+"="+s.SystemSecret)
	pgtest.Exec(t, s.GreenDSN, pass+`DELETE FROM networks WHERE id = '00000000-0000-4000-8000-000000000001'`)
}

// earlierCopy takes the run back and begins another one, with the same server running on.
func (s *stale) earlierCopy(t *testing.T) {
	t.Helper()
	if o := tideover(t.Context(), t, s.Environment(), "rollback", s.runbook); o.code != 0 {
		t.Fatalf("rollback: exit code %d\n%s", o.code, o.stderr)
	}
	s.toGate(t)
}
