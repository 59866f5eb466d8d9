package telemetry_test

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tideover/tideover/internal/lab/await"
	"github.com/tideover/tideover/internal/lab/pgserver/pgtest"
	"github.com/tideover/tideover/internal/lab/quick"
	"github.com/tideover/tideover/internal/lab/telemetry"
)

const (
	planted = 300 * time.Millisecond // how long the lock is held at least
	enough  = 250 * time.Millisecond // what the probe must have seen of it
)

// TestBlockedProbe plants sessions that hold or want a lock of a table, and a client that waits for it.
func TestBlockedProbe(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name    string
		holders []string // application names; the first holds the lock, each further one wants it, and waits
		client  string
		ours    bool // the client's wait is to be counted
	}{
		{"ours holds", []string{"tideover/migrate"}, "server", true},
		{"ours waits in front of the client", []string{"backup", "tideover/migrate"}, "server", true},
		{"a session without a name waits for ours", []string{"tideover/capture"}, "", true},
		{"a foreign session holds", []string{"backup"}, "server", false},
		{"a foreign session whose name is like ours", []string{"tideoverly"}, "server", false},
		{"ours waits for ours", []string{"tideover/migrate"}, "tideover/replay", false},
		{"ours waits for a foreign session", []string{"backup"}, "tideover/migrate", false},
	}
	for _, tt := range quick.First(t, 2, tests) {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			dsn := pgtest.NewDatabase(t)
			look := session(t, dsn, "look")
			if _, err := look.Exec(t.Context(), `CREATE TABLE public.tokens (id int)`); err != nil {
				t.Fatal(err)
			}
			ctx, stop := context.WithCancel(t.Context())
			defer stop()
			looks := make(chan time.Duration)
			result := make(chan time.Duration, 1)
			probe := telemetry.BlockedProbe{Conn: session(t, dsn, "tideover/lock probe"), Every: 5 * time.Millisecond,
				Seen: func(wait time.Duration) {
					select {
					case looks <- wait:
					case <-ctx.Done():
					}
				}}
			go func() {
				longest, err := probe.Run(ctx)
				if err != nil {
					t.Error(err)
				}
				result <- longest
			}()

			var release []func()
			for i, name := range tt.holders {
				conn := session(t, dsn, name)
				tx, err := conn.Begin(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				locked := make(chan error, 1)
				go func() {
					_, err := tx.Exec(context.WithoutCancel(t.Context()), `LOCK TABLE public.tokens IN ACCESS EXCLUSIVE MODE`)
					locked <- err
				}()
				if i == 0 {
					if err := <-locked; err != nil {
						t.Fatal(err)
					}
					release = append(release, func() { _ = tx.Rollback(context.WithoutCancel(t.Context())) })
					continue
				}
				waits(t, look, conn, 0)
				release = append(release, func() {
					if err := <-locked; err != nil {
						t.Error(err)
					}
					_ = tx.Rollback(context.WithoutCancel(t.Context()))
				})
			}
			client := session(t, dsn, tt.client)
			began := time.Now()
			done := make(chan error, 1)
			go func() {
				_, err := client.Exec(context.WithoutCancel(t.Context()), `SELECT FROM public.tokens`)
				done <- err
			}()
			// The lock is held until the client has waited for long enough, and the probe has looked often enough since.
			last := time.Duration(0)
			for waited := false; !waited || tt.ours && last < enough; {
				last = <-looks
				waited = waited || isWaiting(t, look, client, planted)
			}
			for range 3 {
				<-looks
			}
			for _, f := range release {
				f()
			}
			if err := <-done; err != nil {
				t.Error(err)
			}
			whole := time.Since(began)
			stop()
			longest := <-result
			switch {
			case tt.ours && (longest < enough || longest > whole):
				t.Errorf("longest wait %s; want at least %s, and no more than the client's own %s", longest, enough, whole)
			case !tt.ours && longest != 0:
				t.Errorf("longest wait %s of a lock that is not ours", longest)
			}
		})
	}
}

// TestBlockedProbeKeepsToItsDatabase has somebody wait in another database of the same server.
func TestBlockedProbeKeepsToItsDatabase(t *testing.T) {
	t.Parallel()
	here, there := pgtest.NewDatabase(t), pgtest.NewDatabase(t)
	holder, look := session(t, there, "tideover/scratch"), session(t, there, "look")
	for _, sql := range []string{`CREATE TABLE public.tokens (id int)`, `BEGIN`, `LOCK TABLE public.tokens`} {
		if _, err := holder.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	client := session(t, there, "server")
	done := make(chan error, 1)
	go func() {
		_, err := client.Exec(context.WithoutCancel(t.Context()), `SELECT FROM public.tokens`)
		done <- err
	}()
	waits(t, look, client, 0)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	looks := 0
	longest, err := telemetry.BlockedProbe{Conn: session(t, here, "tideover/lock probe"), Every: time.Millisecond, Seen: func(time.Duration) {
		if looks++; looks == 10 {
			stop()
		}
	}}.Run(ctx)
	if err != nil || longest != 0 {
		t.Errorf("longest wait %s, %v", longest, err)
	}
	if _, err := holder.Exec(t.Context(), `ROLLBACK`); err != nil {
		t.Error(err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// TestBlockedProbeSaysWhenItIsBlind ends the probe's connection.
func TestBlockedProbeSaysWhenItIsBlind(t *testing.T) {
	quick.Skip(t)
	t.Parallel()
	dsn := pgtest.NewDatabase(t)
	conn, look := session(t, dsn, "tideover/lock probe"), session(t, dsn, "look")
	once := false
	_, err := telemetry.BlockedProbe{Conn: conn, Every: time.Millisecond, Seen: func(time.Duration) {
		if !once {
			once = true
			if _, err := look.Exec(t.Context(), `SELECT pg_terminate_backend($1, 5000)`, int32(conn.PgConn().PID())); err != nil {
				t.Error(err)
			}
		}
	}}.Run(t.Context())
	if err == nil {
		t.Error("a probe that sees nothing any more says that nobody waits")
	}
}

func session(t *testing.T, dsn, application string) *pgx.Conn {
	t.Helper()
	cfg, err := pgx.ParseConfig(dsn)
	if err != nil {
		t.Fatal(err)
	}
	cfg.RuntimeParams["application_name"] = application
	conn, err := pgx.ConnectConfig(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

// waits returns once the session has waited for a lock for that long.
func waits(t *testing.T, look, of *pgx.Conn, atLeast time.Duration) {
	t.Helper()
	await.That(t, "it waits", func() bool { return isWaiting(t, look, of, atLeast) })
}

func isWaiting(t *testing.T, look, of *pgx.Conn, atLeast time.Duration) bool {
	t.Helper()
	const sql = `SELECT EXISTS (SELECT FROM pg_locks WHERE pid = $1 AND NOT granted AND waitstart < clock_timestamp() - $2::interval)`
	var yes bool
	if err := look.QueryRow(t.Context(), sql, int32(of.PgConn().PID()), atLeast).Scan(&yes); err != nil {
		t.Fatal(err)
	}
	return yes
}
