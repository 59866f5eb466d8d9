package snapshot_test

import (
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tideover/tideover/internal/lab/await"
	"github.com/tideover/tideover/internal/lab/pgserver"
	"github.com/tideover/tideover/internal/lab/pgserver/pgtest"
	"github.com/tideover/tideover/internal/lab/quick"
	"github.com/tideover/tideover/internal/snapshot"
)

// replica is a standby of a server, with a directory for its data and its socket. It ends with the test.
type replica struct {
	dir    string
	server *exec.Cmd
}

// newReplica copies a server and follows it, and applies each transaction so much later.
func newReplica(t *testing.T, of *pgserver.Server, delay string) *replica {
	t.Helper()
	dir, err := os.MkdirTemp("", "replica")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	r := &replica{dir: dir}
	command := func(name string, args ...string) *exec.Cmd {
		c := exec.Command(filepath.Join(of.BinDir(), name), args...)
		c.Dir, c.SysProcAttr = dir, &syscall.SysProcAttr{Pdeathsig: syscall.SIGQUIT}
		if os.Geteuid() == 0 {
			c.SysProcAttr.Credential = postgresUser(t, dir)
		}
		return c
	}
	if out, err := command("pg_basebackup", "--dbname="+of.DSN(), "--pgdata="+r.data(), "--write-recovery-conf", "--checkpoint=fast").CombinedOutput(); err != nil {
		t.Fatalf("pg_basebackup: %v\n%s", err, out)
	}
	r.delay(t, delay)
	r.server = command("postgres", "-D", r.data(), "-c", "listen_addresses=", "-c", "unix_socket_directories="+dir, "-c", "hot_standby=off")
	said := t.Output()
	r.server.Stdout, r.server.Stderr = said, said
	if err := r.server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = r.server.Process.Signal(syscall.SIGQUIT)
		_ = r.server.Wait()
	})
	return r
}

func (r *replica) data() string { return filepath.Join(r.dir, "data") }

// delay says how much later the replica applies a transaction. A server that runs has to be told.
func (r *replica) delay(t *testing.T, d string) {
	t.Helper()
	f, err := os.OpenFile(filepath.Join(r.data(), "postgresql.auto.conf"), os.O_APPEND|os.O_WRONLY, 0)
	if err == nil {
		_, err = f.WriteString("recovery_min_apply_delay = '" + d + "'\n")
	}
	if err == nil {
		err = f.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
}

func (r *replica) reload(t *testing.T) {
	t.Helper()
	if err := r.server.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
}

// postgresUser is the account that a server of root's runs as, which dir is given to.
func postgresUser(t *testing.T, dir string) *syscall.Credential {
	t.Helper()
	u, err := user.Lookup("postgres")
	if err != nil {
		t.Fatal(err)
	}
	uid, err1 := strconv.Atoi(u.Uid)
	gid, err2 := strconv.Atoi(u.Gid)
	if err1 != nil || err2 != nil {
		t.Fatalf("user postgres is %s:%s", u.Uid, u.Gid)
	}
	if err := os.Chown(dir, uid, gid); err != nil {
		t.Fatal(err)
	}
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
}

// A copy holds while a real replica of blue is behind, says so, and goes on once it has caught up.
func TestCopyHoldsWhileAReplicaIsBehind(t *testing.T) {
	quick.Skip(t)
	t.Parallel()
	server := pgtest.NewServer(t, pgserver.Options{Name: "followed"})
	blueDSN, err := server.CreateDatabase(t.Context(), "oauth")
	if err != nil {
		t.Fatal(err)
	}
	run(t, blueDSN, cutTables)
	greenDSN := pgtest.NewDatabase(t)
	o := snapshot.Options{Blue: open(t, "blue", blueDSN), Green: open(t, "green", greenDSN), Profile: cutProfile, Triggers: true, Chunk: pieces}
	capture(t, o)
	standby := newReplica(t, server, "3s")
	conn := connect(t, blueDSN)
	await.That(t, "the replica falls behind", func() (late bool) { // what is written arrives at once, and is applied late
		run(t, blueDSN, `CREATE TABLE IF NOT EXISTS tick (); DROP TABLE tick`)
		if err := conn.QueryRow(t.Context(), `SELECT coalesce(max(replay_lag) > '1s', false) FROM pg_stat_replication`).Scan(&late); err != nil {
			t.Fatal(err)
		}
		return late
	})
	held := 0
	o.Pace = snapshot.Pace{MaxLag: time.Second}
	o.Progress = func(p snapshot.Progress) {
		if strings.Contains(p.Note, "a replica of blue is ") && strings.Contains(p.Note, "at most 1s are allowed (max_lag)") {
			if held++; held == 1 {
				standby.delay(t, "0")
				standby.reload(t)
			}
		}
	}
	if _, err := snapshot.Copy(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	if held == 0 {
		t.Error("the copy did not hold, or did not say why")
	}
	same(t, blueDSN, greenDSN)
}

// A role that sees nobody would never hold: it is refused, before anything is there.
func TestCopyRefusesARoleThatSeesNobody(t *testing.T) {
	quick.Skip(t)
	t.Parallel()
	blueDSN, greenDSN := pgtest.NewDatabase(t), pgtest.NewDatabase(t)
	run(t, blueDSN, `CREATE ROLE sees_nobody`)
	run(t, blueDSN, cutTables)
	for _, pace := range []snapshot.Pace{{MaxLag: time.Hour}, {MaxActive: 100}} {
		o := snapshot.Options{Blue: open(t, "blue", blueDSN+"&options=-c%20role%3Dsees_nobody"), Green: open(t, "green", greenDSN), Profile: cutProfile, Pace: pace}
		_, err := snapshot.Copy(t.Context(), o)
		if err == nil || !strings.Contains(err.Error(), "max_lag and max_active") {
			t.Errorf("got %v", err)
		}
		hinted(t, err)
		if empty, err := snapshot.Empty(t.Context(), o.Green); err != nil || !empty {
			t.Errorf("green is empty: %t, %v", empty, err)
		}
	}
}
