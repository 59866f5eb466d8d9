//go:build container

package pgserver_test

import (
	"context"
	"net"
	"net/url"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/tideover/tideover/internal/lab/await"
	"github.com/tideover/tideover/internal/lab/pgserver"
	"github.com/tideover/tideover/internal/lab/pgserver/pgtest"
)

// Who builds with the tag "container" wants these tests: without an engine they fail.

func docker(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.Command("docker", args...).CombinedOutput()
	if err != nil {
		t.Fatalf("docker %s: %v: %s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

// named lists containers, running or not, whose name has the slug in it.
func named(t *testing.T, slug string) []string {
	t.Helper()
	return strings.Fields(docker(t, "ps", "-aq", "--filter", "name=tideover-pg-"+slug+"-"))
}

func TestContainer(t *testing.T) {
	for _, network := range []string{"bridge", "host"} {
		t.Run(network, func(t *testing.T) {
			slug := "net" + network
			o := pgserver.Options{Source: pgserver.Container, Name: slug, Network: network, Settings: map[string]string{"work_mem": "7MB"}}
			blue, green := pgtest.NewServer(t, o), pgtest.NewServer(t, o)
			conn := connect(t, blue.DSN())
			execute(t, conn, `CREATE TABLE public.only_blue ()`)
			if query[bool](t, connect(t, green.DSN()), `SELECT pg_catalog.to_regclass('public.only_blue') IS NOT NULL`) {
				t.Error("blue and green are one server")
			}
			for name, want := range map[string]string{"work_mem": "7MB", "wal_level": "logical", "fsync": "off", "server_encoding": "UTF8"} {
				if got := query[string](t, conn, `SELECT pg_catalog.current_setting($1)`, name); got != want {
					t.Errorf("%s = %q, want %q", name, got, want)
				}
			}
			if blue.Source() != pgserver.Container || blue.PID() != 0 || blue.BinDir() == "" {
				t.Errorf("source %s, pid %d, client programs %q", blue.Source(), blue.PID(), blue.BinDir())
			}
			if err := blue.Kill(t.Context()); err == nil || !strings.Contains(err.Error(), "container") {
				t.Errorf("Kill: %v", err)
			}
			dsn, err := blue.CreateDatabase(t.Context(), `o"dd`)
			if err != nil {
				t.Fatal(err)
			}
			connect(t, dsn)
			onlyLoopback(t, blue.DSN())
			for range 2 {
				if err := blue.Close(); err != nil {
					t.Fatal(err)
				}
			}
			if left := named(t, slug); len(left) != 1 {
				t.Errorf("containers %q, want green's alone", left)
			}
		})
	}
}

// onlyLoopback dials the server's port on every other address of this machine.
func onlyLoopback(t *testing.T, dsn string) {
	t.Helper()
	u, err := url.Parse(dsn)
	if err != nil {
		t.Fatal(err)
	}
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range addrs {
		ip := a.(*net.IPNet).IP
		if ip.IsLoopback() || ip.To4() == nil {
			continue
		}
		if conn, err := net.DialTimeout("tcp", net.JoinHostPort(ip.String(), u.Port()), time.Second); err == nil {
			conn.Close()
			t.Errorf("the server answers on %s", ip)
		}
	}
}

func TestContainerDoesNotOutliveItsKilledOwner(t *testing.T) {
	o := startOwner(t, pgserver.Container)
	o.says(t, "dsn")
	if got := named(t, "orphan"); len(got) != 1 {
		t.Fatalf("containers %q, want one", got)
	}
	o.kill(t)
	await.That(t, "the container is gone", func() bool { return len(named(t, "orphan")) == 0 })
	await.That(t, "its directory is gone", func() bool { return len(o.left()) == 0 })
}

// Without the docker client the watchdog can do nothing: the next start sweeps.
func TestSweepTakesAnOrphanedContainer(t *testing.T) {
	o := startOwner(t, pgserver.Container, "PATH=/nonexistent")
	o.says(t, "dsn")
	living := pgtest.NewServer(t, pgserver.Options{Source: pgserver.Container, Name: "living"})
	if got := named(t, "orphan"); len(got) != 1 {
		t.Fatalf("containers %q: the sweep took one whose owner lives", got)
	}
	o.kill(t)
	if got := named(t, "orphan"); len(got) != 1 {
		t.Fatalf("containers %q: they went without a sweep", got)
	}
	pgtest.NewServer(t, pgserver.Options{Source: pgserver.Container, Name: "sweeper"})
	if got := named(t, "orphan"); len(got) != 0 {
		t.Errorf("after the sweep: containers %q", got)
	}
	connect(t, living.DSN())
}

func TestCancelledContainerLeavesNothing(t *testing.T) {
	for _, after := range []time.Duration{50 * time.Millisecond, 300 * time.Millisecond, 700 * time.Millisecond} {
		ctx, cancel := context.WithTimeout(t.Context(), after)
		s, err := pgserver.Start(ctx, pgserver.Options{Source: pgserver.Container, Name: "cancel"})
		cancel()
		if err == nil {
			s.Close()
			t.Errorf("started within %s", after)
		}
		if left := named(t, "cancel"); len(left) != 0 {
			t.Errorf("cancelled after %s: left %q", after, left)
		}
	}
}

func TestMissingImageGivesAHint(t *testing.T) {
	_, err := pgserver.Start(t.Context(), pgserver.Options{Source: pgserver.Container, Name: "noimage", Image: "127.0.0.1:1/no-such:1"})
	h, ok := err.(interface{ Hint() string })
	if !ok || !strings.Contains(h.Hint(), "build-postgres-image.sh") {
		t.Errorf("error %v has no hint that names the script", err)
	}
	if left := named(t, "noimage"); len(left) != 0 {
		t.Errorf("left %q", left)
	}
}
