package postgres_test

import (
	"context"
	"errors"
	"net"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/tideover/tideover/internal/lab/pgserver/pgtest"
	"github.com/tideover/tideover/internal/postgres"
)

func open(t testing.TB, dsn string) *postgres.DB {
	t.Helper()
	db, err := postgres.Open(t.Context(), "blue", dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Close)
	return db
}

// edit changes parts of a URL DSN.
func edit(t testing.TB, dsn string, f func(*url.URL)) string {
	t.Helper()
	u, err := url.Parse(dsn)
	if err != nil {
		t.Fatal(err)
	}
	f(u)
	return u.String()
}

func TestConnectionsAreOurs(t *testing.T) {
	t.Parallel()
	db := open(t, pgtest.NewDatabase(t))
	pgtest.Exec(t, db.DSN(), "CREATE SCHEMA tideover;"+postgres.PassSQL)
	word := pgtest.Query[string](t, db.DSN(), `SELECT word FROM tideover.pass`)
	db.Renew()
	const sql = `SELECT pg_catalog.current_setting('application_name'), coalesce(pg_catalog.current_setting('tideover.pass', true), '')`
	conn, err := db.ConnectAs(t.Context(), "probe")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.WithoutCancel(t.Context()))
	var name, pass string
	if err := conn.QueryRow(t.Context(), sql).Scan(&name, &pass); err != nil {
		t.Fatal(err)
	}
	if name != "tideover/probe" || pass != word {
		t.Errorf("own connection: application_name %q, tideover.pass %q", name, pass)
	}
	if err := db.Pool().QueryRow(t.Context(), sql).Scan(&name, &pass); err != nil {
		t.Fatal(err)
	}
	if name != "tideover/blue" || pass != word {
		t.Errorf("pool: application_name %q, tideover.pass %q", name, pass)
	}
}

func TestCommitsAreDurable(t *testing.T) {
	t.Parallel()
	for setting, want := range map[string]string{"off": "on", "local": "local", "remote_apply": "remote_apply"} {
		db := open(t, edit(t, pgtest.NewDatabase(t), func(u *url.URL) { u.RawQuery += "&synchronous_commit=" + setting }))
		var got string
		if err := db.Pool().QueryRow(t.Context(), `SHOW synchronous_commit`).Scan(&got); err != nil || got != want {
			t.Errorf("%s became %s, %v", setting, got, err)
		}
	}
}

// A table altered under a connection that has just read it must not trip the next read (SQLSTATE 0A000).
func TestAlteredTableIsReadAgain(t *testing.T) {
	t.Parallel()
	db := open(t, pgtest.NewDatabase(t))
	conn, err := db.Connect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.WithoutCancel(t.Context()))
	for _, sql := range []string{
		`CREATE TABLE public.t (a int)`, `SELECT * FROM public.t`,
		`ALTER TABLE public.t ADD COLUMN b text`, `SELECT * FROM public.t`,
	} {
		if _, err := conn.Exec(t.Context(), sql); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
	}
}

const secret = "s3cr%40t-pässword"

func TestOpenTellsErrorsApart(t *testing.T) {
	t.Parallel()
	dsn := pgtest.NewDatabase(t)
	db := open(t, dsn)
	for _, sql := range []string{
		`CREATE ROLE "stranger" LOGIN PASSWORD 's3cr@t-pässword'`,
		`REVOKE CONNECT ON DATABASE ` + pgx.Identifier{db.Pool().Config().ConnConfig.Database}.Sanitize() + ` FROM PUBLIC`,
	} {
		if _, err := db.Pool().Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() { _, _ = db.Pool().Exec(context.Background(), `DROP ROLE "stranger"`) })
	silent, err := net.Listen("tcp", "127.0.0.1:0") // takes connections and never answers
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()

	user := func(u *url.URL, name string) { u.User = url.UserPassword(name, "s3cr@t-pässword") }
	for _, tt := range []struct {
		name   string
		dsn    string
		reason postgres.Reason
		says   string
	}{
		{"password", edit(t, dsn, func(u *url.URL) { user(u, "postgres") }), postgres.Refused, `as "postgres"`},
		{"privilege", edit(t, dsn, func(u *url.URL) { user(u, "stranger") }), postgres.NoPrivilege, "42501"},
		{"database", edit(t, dsn, func(u *url.URL) { u.Path = "/nowhere" }), postgres.NoDatabase, `"nowhere"`},
		{"down", edit(t, dsn, func(u *url.URL) { user(u, "x"); u.Host = closed.Addr().String() }), postgres.NoServer, closed.Addr().String()},
		{"silent", edit(t, dsn, func(u *url.URL) { user(u, "x"); u.Host = silent.Addr().String(); u.RawQuery = "connect_timeout=1" }), postgres.NoAnswer, silent.Addr().String()},
		{"host", edit(t, dsn, func(u *url.URL) { user(u, "x"); u.Host = "no-such-host.invalid:5432" }), postgres.NoHost, "no-such-host.invalid"},
		{"port", "postgres://x:" + secret + "@127.0.0.1:notaport/db", postgres.Unreadable, `"green"`},
		{"escape", "postgres://x:" + secret + "%zz@127.0.0.1/db", postgres.Unreadable, `"green"`},
		{"words", "host=127.0.0.1 password=" + secret + " port=no", postgres.Unreadable, `"green"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			_, err := postgres.Open(ctx, "green", tt.dsn)
			var e *postgres.ConnectError
			if !errors.As(err, &e) {
				t.Fatalf("got %v, want a ConnectError", err)
			}
			if e.Reason != tt.reason {
				t.Errorf("got reason %q (%v), want %q", e.Reason, err, tt.reason)
			}
			if !strings.Contains(err.Error(), tt.says) || !strings.Contains(err.Error(), `"green"`) {
				t.Errorf("%q does not say %q", err, tt.says)
			}
			if e.Hint() == "" {
				t.Error("no hint")
			}
			for text := err; text != nil; text = errors.Unwrap(text) {
				leaks(t, text.Error())
			}
			leaks(t, e.Hint())
		})
	}
}

func leaks(t testing.TB, text string) {
	t.Helper()
	for _, form := range []string{"s3cr", "pässword", "p%C3%A4ssword"} {
		if strings.Contains(text, form) {
			t.Errorf("the password is in %q", text)
		}
	}
}

func TestRedact(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, dsn, want string }{
		{"url", "postgres://u:" + secret + "@h:5433/d?sslmode=disable", "postgres://u@h:5433/d"},
		{"password as a parameter", "postgres://u@h/d?password=" + secret, "postgres://u@h:5432/d"},
		{"keywords", "host=h user=u password='s3cr et' dbname=d", "postgres://u@h:5432/d"},
		{"socket", "host=/run/pg user=u password=s3cr dbname=d", "postgres://u@/d?host=%2Frun%2Fpg"},
		{"unreadable", "postgres://u:s3cr%zz@h/d", "(unreadable connection string)"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got := postgres.Redact(tt.dsn)
			if got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
			leaks(t, got)
		})
	}
}

func TestWithDatabase(t *testing.T) {
	t.Parallel()
	for _, dsn := range []string{"postgres://u:p@h:5433/d?dbname=e&sslmode=disable", "host=h port=5433 user=u password=p dbname=d"} {
		for _, database := range []string{"x", "with space", "sl/ash", "/lead", `quo'te\`, "ünï"} {
			got, err := postgres.WithDatabase(dsn, database)
			if err != nil {
				t.Fatal(err)
			}
			cfg, err := pgx.ParseConfig(got)
			if err != nil {
				t.Fatal(err)
			}
			if cfg.Database != database || cfg.Host != "h" || cfg.Port != 5433 || cfg.Password != "p" {
				t.Errorf("%q in %s gave %s", database, dsn, got)
			}
		}
	}
	if _, err := postgres.WithDatabase("postgres://u:s3cr%zz@h/d", "x"); err == nil {
		t.Error("an unreadable DSN was accepted")
	} else {
		leaks(t, err.Error())
	}
}
