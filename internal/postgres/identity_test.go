package postgres_test

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/url"
	"strings"
	"testing"

	"github.com/tideover/tideover/internal/lab/pgserver/pgtest"
	"github.com/tideover/tideover/internal/postgres"
)

// relay listens and passes connections on to one server after another: open says to which at the moment. through sees what the
// server says.
func relay(t *testing.T, open func() string, through func(io.Writer) io.Writer) (address string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer client.Close()
				server, err := net.Dial("tcp", open())
				if err != nil {
					return
				}
				defer server.Close()
				go func() { _, _ = io.Copy(server, client); server.Close() }()
				_, _ = io.Copy(through(client), server)
			}()
		}
	}()
	return l.Addr().String()
}

// pooler gives each client a number for cancelling that is not the server process's, as PgBouncer and its like do.
type pooler struct {
	to   io.Writer
	done bool
}

func (p *pooler) Write(b []byte) (int, error) {
	at := strings.Index(string(b), string([]byte{'K', 0, 0, 0, 12}))
	if !p.done && at >= 0 && len(b) >= at+9 {
		p.done = true
		b = append([]byte(nil), b...)
		binary.BigEndian.PutUint32(b[at+5:], 4711)
	}
	return p.to.Write(b)
}

func hostOf(t *testing.T, dsn string) string {
	t.Helper()
	u, err := url.Parse(dsn)
	if err != nil {
		t.Fatal(err)
	}
	return u.Host
}

// A connection string that leads through a pooler is refused in words, whoever opens it.
func TestPoolerIsFoundOut(t *testing.T) {
	t.Parallel()
	dsn := pgtest.NewDatabase(t)
	host := hostOf(t, dsn)
	pooled := edit(t, dsn, func(u *url.URL) {
		u.Host = relay(t, func() string { return host }, func(w io.Writer) io.Writer { return &pooler{to: w} })
	})
	_, err := postgres.Open(t.Context(), "blue", pooled)
	var e *postgres.ConnectError
	if !errors.As(err, &e) || e.Reason != postgres.Pooled || !strings.Contains(e.Hint(), "Postgres itself") {
		t.Errorf("Open: %v", err)
	}
	if _, err = postgres.Connect(t.Context(), "scratch", pooled); !errors.As(err, &e) || e.Reason != postgres.Pooled {
		t.Errorf("Connect: %v", err)
	}
	conn, err := postgres.ConnectAsIs(t.Context(), "participant", pooled) // not ours to judge
	if err != nil {
		t.Fatal(err)
	}
	conn.Close(t.Context())
	plain := edit(t, dsn, func(u *url.URL) {
		u.Host = relay(t, func() string { return host }, func(w io.Writer) io.Writer { return w })
	})
	open(t, plain) // a port that is forwarded is no pooler
}

// An address that leads to another server in the middle of the work is a lost connection, and so is one that leads to another
// database of the same name.
func TestAnotherServerIsNotTheSame(t *testing.T) {
	t.Parallel()
	first, second := pgtest.NewDatabase(t), pgtest.NewDatabase(t)
	to := hostOf(t, first)
	dsn := edit(t, first, func(u *url.URL) {
		u.Host = relay(t, func() string { return to }, func(w io.Writer) io.Writer { return w })
	})
	db := open(t, dsn)
	if conn, err := db.ConnectAs(t.Context(), "again"); err != nil {
		t.Fatal(err)
	} else {
		conn.Close(t.Context())
	}
	admin := open(t, second)
	name := db.Pool().Config().ConnConfig.Database
	other := admin.Pool().Config().ConnConfig.Database
	maintenance := open(t, edit(t, second, func(u *url.URL) { u.Path = "/postgres" }))
	admin.Close()
	db.Pool().Reset()
	for _, sql := range []string{
		`ALTER DATABASE ` + name + ` RENAME TO ` + name + `_old`,
		`ALTER DATABASE ` + other + ` RENAME TO ` + name,
	} {
		if _, err := maintenance.Pool().Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		_, _ = maintenance.Pool().Exec(context.Background(), `DROP DATABASE IF EXISTS `+name+`_old WITH (FORCE)`)
	})
	_, err := db.ConnectAs(t.Context(), "again")
	var e *postgres.ConnectError
	if !errors.As(err, &e) || e.Reason != postgres.Moved || !strings.Contains(e.Hint(), "promoted") {
		t.Errorf("got %v", err)
	}
}
