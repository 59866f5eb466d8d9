package pgserver_test

import (
	"context"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/tideover/tideover/internal/lab/pgserver"
	"github.com/tideover/tideover/internal/lab/pgserver/pgtest"
	"github.com/tideover/tideover/internal/lab/quick"
)

func TestCreateDatabaseTakesAnyName(t *testing.T) {
	t.Parallel()
	s := pgtest.Shared(t)
	for _, name := range quick.First(t, 4, []string{
		"plain", "UPPER", "with space", `quo"te`, "apo'strophe", "sla/sh", "/leading", "//two", "per%cent", "%2F", "que?ry",
		"ha#sh", "am&per=sand", "semi;colon", "ümlaut-名前", `back\slash`, "new\nline", " ", "a+b", strings.Repeat("x", 63),
	}) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dsn, err := s.CreateDatabase(t.Context(), name)
			if err != nil {
				t.Fatal(err)
			}
			if got := query[string](t, connect(t, dsn), `SELECT current_database()`); got != name {
				t.Errorf("the DSN leads to %q, want %q", got, name)
			}
			if _, err := s.CreateDatabase(t.Context(), name); err == nil {
				t.Error("created twice")
			}
			if err := s.DropDatabase(t.Context(), name); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestCreateDatabaseRefusesWhatPostgresWouldCut(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"", strings.Repeat("x", 64), "zero\x00byte"} {
		if _, err := pgtest.Shared(t).CreateDatabase(t.Context(), name); err == nil {
			t.Errorf("%q: no error", name)
		}
	}
}

func TestNewDatabaseIsDropped(t *testing.T) {
	t.Parallel()
	var name string
	t.Run("use", func(t *testing.T) {
		dsn := pgtest.NewDatabase(t)
		name = query[string](t, connect(t, dsn), `SELECT current_database()`)
		if other := pgtest.NewDatabase(t); other == dsn {
			t.Error("two databases are one")
		}
		// This session stays in the database: dropping must not wait for it.
		lingering, err := pgx.Connect(t.Context(), dsn)
		if err != nil {
			t.Fatal(err)
		}
		defer lingering.Close(context.Background())
	})
	conn := connect(t, pgtest.Shared(t).DSN())
	if query[bool](t, conn, `SELECT EXISTS (SELECT FROM pg_catalog.pg_database WHERE datname = $1)`, name) {
		t.Errorf("database %s is left over", name)
	}
}

func TestGivenServer(t *testing.T) {
	t.Parallel()
	url := pgtest.Shared(t).DSN()
	cfg, err := pgx.ParseConfig(url)
	if err != nil {
		t.Fatal(err)
	}
	keywords := strings.Join([]string{"host=127.0.0.1", "port=" + strings.Split(strings.Split(url, ":")[3], "/")[0],
		"user=postgres", "dbname=postgres", "sslmode=disable", "password=" + cfg.Password}, " ")
	for form, dsn := range map[string]string{"url": url, "keywords": keywords} {
		t.Run(form, func(t *testing.T) {
			t.Parallel()
			s, err := pgserver.Start(t.Context(), pgserver.Options{DSN: dsn})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			if s.Source() != pgserver.DSN || s.PID() != 0 || s.Version() == 0 || s.DSN() != dsn {
				t.Errorf("source %q, pid %d, version %d", s.Source(), s.PID(), s.Version())
			}
			if err := s.Kill(t.Context()); err == nil {
				t.Error("somebody else's server can be killed")
			}
			name := `given "` + form
			created, err := s.CreateDatabase(t.Context(), name)
			if err != nil {
				t.Fatal(err)
			}
			if got := query[string](t, connect(t, created), `SELECT current_database()`); got != name {
				t.Errorf("the DSN leads to %q, want %q", got, name)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			conn := connect(t, dsn)
			if query[bool](t, conn, `SELECT EXISTS (SELECT FROM pg_catalog.pg_database WHERE datname = $1)`, name) {
				t.Error("Close left the database that CreateDatabase made")
			}
		})
	}
}
