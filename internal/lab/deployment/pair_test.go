package deployment

import (
	"testing"

	"github.com/tideover/tideover/internal/lab/pgserver/pgtest"
	"github.com/tideover/tideover/internal/lab/quick"
	"github.com/tideover/tideover/internal/lab/seed"
)

// TestPair: deployments on the same servers begin with the same sessions, see nothing of each other, and leave nothing behind.
func TestPair(t *testing.T) {
	quick.Skip(t)
	t.Parallel()
	p, err := NewPair(t.Context(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	lend := func(inPlace bool) *Deployment {
		s := &Deployment{SystemSecret: "0123456789abcdef", options: Options{Pair: p, InPlace: inPlace, Seed: seed.Options{Sessions: 5}}.withDefaults()}
		if err := s.startDatabases(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := s.asRole(t.Context()); err != nil {
			t.Fatal(err)
		}
		return s
	}
	const sessions = `SELECT count(*)::int FROM public.oauth_session`
	one, two := lend(false), lend(true)
	if one.GreenDSN == "" || two.GreenDSN != "" || two.ServerRole == "" {
		t.Errorf("green is %q, in place %q with role %q", one.GreenDSN, two.GreenDSN, two.ServerRole)
	}
	pgtest.Exec(t, one.BlueDSN, `DELETE FROM public.oauth_session`)
	if n := pgtest.Query[int](t, two.BlueDSN, sessions); n != 6 || one.Seeded.Sample[0].Access != two.Seeded.Sample[0].Access {
		t.Errorf("%d sessions, want 5 and that of a person who refused, as the other deployment has", n)
	}
	for _, s := range []*Deployment{one, two} {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
	const left = `SELECT (SELECT count(*) FROM pg_database WHERE datname LIKE 'oauth%')::int + (SELECT count(*) FROM pg_roles WHERE rolname LIKE 'oauth%')::int`
	for _, dsn := range []string{p.Blue.DSN(), p.Green.DSN()} {
		if n := pgtest.Query[int](t, dsn, left); n != 0 {
			t.Errorf("%d databases and roles are left", n)
		}
	}
}
