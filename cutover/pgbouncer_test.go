package cutover

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
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

// bouncer is a real PgBouncer in front of two databases.
type bouncer struct {
	spec    plan.ParticipantSpec
	config  *plan.PgbouncerSpec // spec's
	app     string              // DSN of its clients
	cmd     *exec.Cmd
	program string
	ini     string
	port    int
}

// newBouncer starts a PgBouncer of its own, in front of the databases blue and green, each of which says its name.
func newBouncer(t *testing.T, mode string) *bouncer {
	t.Helper()
	program, err := exec.LookPath("pgbouncer")
	if err != nil {
		program = "/usr/sbin/pgbouncer"
	}
	if _, err := os.Stat(program); err != nil {
		t.Fatalf("no PgBouncer (scripts/setup.sh --tests installs it): %v", err)
	}
	dir, err := os.MkdirTemp("", "tideover-pgbouncer-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	file := func(dsn string) string {
		cfg, err := pgx.ParseConfig(dsn)
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprintf("; where the database is\noauth = host=%s port=%d dbname='%s' user=%s password='%s'\n", cfg.Host, cfg.Port, cfg.Database, cfg.User, cfg.Password)
	}
	b := &bouncer{program: program, ini: filepath.Join(dir, "pgbouncer.ini"), port: freePort(t)}
	blue, green := file(named(t, "blue")), file(named(t, "green"))
	path := filepath.Join(dir, "databases.ini")
	content := fmt.Sprintf(`[databases]
%%include %s
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = %d
unix_socket_dir =
auth_type = any
admin_users = admin
stats_users = watcher
pool_mode = %s
logfile = %s
`, path, b.port, mode, filepath.Join(dir, "log"))
	for name, text := range map[string]string{path: blue, b.ini: content} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	b.config = &plan.PgbouncerSpec{Path: path, Blue: blue, Green: green, DSN: fmt.Sprintf("postgres://admin@127.0.0.1:%d/pgbouncer", b.port)}
	b.spec = plan.NewParticipant("pooler", b.config)
	b.app = fmt.Sprintf("postgres://app@127.0.0.1:%d/oauth?default_query_exec_mode=simple_protocol", b.port)
	own(t, dir)
	b.start(t)
	t.Cleanup(func() { b.kill() })
	return b
}

// named is a database that says its name.
func named(t *testing.T, name string) string {
	dsn := pgtest.NewDatabase(t)
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	if _, err := conn.Exec(t.Context(), `CREATE TABLE public.name AS SELECT '`+name+`'::text AS name`); err != nil {
		t.Fatal(err)
	}
	return dsn
}

func freePort(t *testing.T) int {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// own gives root's files to the account that PgBouncer runs as: it refuses to run as root.
func own(t *testing.T, dir string) {
	if os.Geteuid() != 0 {
		return
	}
	uid, gid := unprivileged(t)
	err := filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
		return errors.Join(err, os.Chown(path, int(uid), int(gid)))
	})
	if err != nil {
		t.Fatal(err)
	}
}

func unprivileged(t *testing.T) (uid, gid uint32) {
	for _, name := range []string{"postgres", "nobody"} {
		if u, err := user.Lookup(name); err == nil {
			uid, _ := strconv.ParseUint(u.Uid, 10, 32)
			gid, _ := strconv.ParseUint(u.Gid, 10, 32)
			return uint32(uid), uint32(gid)
		}
	}
	t.Fatal("no account that PgBouncer could run as")
	return 0, 0
}

func (b *bouncer) start(t *testing.T) {
	t.Helper()
	program := b.program
	b.cmd = exec.Command(program, b.ini)
	b.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if os.Geteuid() == 0 {
		uid, gid := unprivileged(t)
		b.cmd.SysProcAttr.Credential = &syscall.Credential{Uid: uid, Gid: gid}
	}
	var said bytes.Buffer
	b.cmd.Stderr = &said
	if err := b.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	listens := false
	defer func() {
		if !listens {
			b.kill()
			t.Logf("PgBouncer said:\n%s", said.String())
		}
	}()
	await.Listens(t, fmt.Sprintf("127.0.0.1:%d", b.port))
	listens = true
}

func (b *bouncer) kill() {
	b.cmd.Process.Kill()
	b.cmd.Wait()
}

// asks is the name of the database that a client of the pooler meets.
func (b *bouncer) asks(ctx context.Context, conn *pgx.Conn) (name string, err error) {
	err = conn.QueryRow(ctx, `SELECT name FROM public.name`).Scan(&name)
	return name, err
}

func (b *bouncer) client(t *testing.T) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), b.app)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(context.WithoutCancel(t.Context())) })
	return conn
}

func (b *bouncer) participant(t *testing.T) Participant {
	t.Helper()
	p, err := Build(b.spec)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func ticket(term int64, action string) Ticket {
	return Ticket{Run: "r", Term: term, Key: "r/" + action}
}

// Clients that never stop asking are moved there and back, and none of them sees an error.
func TestPgbouncerMovesItsClients(t *testing.T) {
	t.Parallel()
	b := newBouncer(t, "transaction")
	p := b.participant(t)
	stop := make(chan struct{})
	done := make(chan error)
	const clients = 8
	seen := make(chan string, 1<<16)
	for range clients {
		conn := b.client(t)
		go func() {
			for {
				select {
				case <-stop:
					done <- nil
					return
				default:
				}
				name, err := b.asks(t.Context(), conn)
				if err != nil {
					done <- err
					return
				}
				select {
				case seen <- name:
				default:
				}
			}
		}()
	}
	for range 3 {
		for _, step := range []struct {
			do   func(context.Context, Ticket) error
			side plan.Side
		}{{p.Prepare, plan.Blue}, {p.Commit, plan.Green}, {p.Commit, plan.Green}, {p.Abort, plan.Blue}} {
			if err := step.do(t.Context(), ticket(1, "x")); err != nil {
				t.Fatal(err)
			}
			if side, err := p.Side(t.Context(), ticket(1, "status")); side != step.side || err != nil {
				t.Fatalf("side %q %v, want %s", side, err, step.side)
			}
			conn := b.client(t)
			if name, err := b.asks(t.Context(), conn); name != string(step.side) || err != nil {
				t.Errorf("a client meets %q %v, want %s", name, err, step.side)
			}
			conn.Close(t.Context())
		}
	}
	close(stop)
	for range clients {
		if err := <-done; err != nil {
			t.Errorf("a client saw an error: %v", err)
		}
	}
	both := map[string]bool{}
	for len(seen) > 0 {
		both[<-seen] = true
	}
	if !both[string(plan.Blue)] || !both[string(plan.Green)] {
		t.Errorf("clients met %v, want both", both)
	}
}

// A transaction that does not end holds up the pause. It is given up, the others go to green, and the transaction may
// come to its end where it began.
func TestPgbouncerGivesUpItsPause(t *testing.T) {
	quick.Skip(t)
	t.Parallel()
	b := newBouncer(t, "transaction")
	b.spec.Timeout = 2 * time.Second
	p := b.participant(t)
	long := b.client(t)
	tx, err := long.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback(context.WithoutCancel(t.Context()))
	var name string
	ask := func() string {
		if err := tx.QueryRow(t.Context(), `SELECT name FROM public.name`).Scan(&name); err != nil {
			t.Error(err)
		}
		return name
	}
	ask()
	if err := p.Commit(t.Context(), ticket(1, "commit")); err != nil {
		t.Fatal(err)
	}
	if name, err := b.asks(t.Context(), b.client(t)); name != string(plan.Green) || err != nil {
		t.Errorf("another client meets %q %v", name, err)
	}
	if got := ask(); got != string(plan.Blue) {
		t.Errorf("the transaction goes on at %q", got)
	}
	if err := tx.Commit(t.Context()); err != nil {
		t.Error(err)
	}
	if name, err := b.asks(t.Context(), long); name != string(plan.Green) || err != nil {
		t.Errorf("after it the client meets %q %v", name, err)
	}
}

// A process dies between two commands of a commit: whoever comes next finds it out and completes, or takes back.
func TestPgbouncerCutOff(t *testing.T) {
	quick.Skip(t)
	t.Parallel()
	b := newBouncer(t, "transaction")
	p := b.participant(t)
	admin := func(commands ...string) {
		t.Helper()
		for _, command := range commands {
			err := p.(*pgbouncerParticipant).admin(t.Context(), func(ctx context.Context, c *console) error { return c.do(ctx, command) })
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	write := func(content string) {
		t.Helper()
		if err := replaceFile(b.config.Path, []byte(content)); err != nil {
			t.Fatal(err)
		}
	}
	for name, cut := range map[string]func(){
		"paused":             func() { admin(`PAUSE "oauth"`) },
		"paused and written": func() { admin(`PAUSE "oauth"`); write(b.config.Green) },
		"reloaded":           func() { admin(`PAUSE "oauth"`); write(b.config.Green); admin("RELOAD") },
		"written only":       func() { write(b.config.Green) },
	} {
		for side, end := range map[plan.Side]func(context.Context, Ticket) error{plan.Green: p.Commit, plan.Blue: p.Abort} {
			if err := p.Abort(t.Context(), ticket(1, "abort")); err != nil {
				t.Fatal(err)
			}
			cut()
			if got, err := p.Side(t.Context(), ticket(1, "status")); got != "" || err != nil {
				t.Errorf("%s: side %q %v, want neither", name, got, err)
			}
			if err := end(t.Context(), ticket(1, "end")); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			if got, err := b.asks(t.Context(), b.client(t)); got != string(side) || err != nil {
				t.Errorf("%s: clients meet %q %v, want %s", name, got, err, side)
			}
		}
	}
	if err := p.Abort(t.Context(), ticket(1, "abort")); err != nil {
		t.Fatal(err)
	}
	b.kill()
	for name, f := range map[string]func(context.Context, Ticket) error{"prepare": p.Prepare, "commit": p.Commit} {
		if err := f(t.Context(), ticket(1, name)); err == nil {
			t.Errorf("%s of a dead PgBouncer is a yes", name)
		}
	}
}

func TestPgbouncerPrepareRefuses(t *testing.T) {
	quick.Skip(t)
	t.Parallel()
	b := newBouncer(t, "session")
	p := b.participant(t)
	if err := p.Prepare(t.Context(), ticket(1, "prepare")); !errors.As(err, new(*sessionPoolingError)) {
		t.Errorf("session pooling: %v", err)
	}
	weak := *b.config
	weak.DSN = strings.Replace(weak.DSN, "admin@", "watcher:hidden-word@", 1)
	p, err := Build(plan.NewParticipant("pooler", &weak))
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Prepare(t.Context(), ticket(1, "prepare")); err == nil || strings.Contains(err.Error(), "hidden-word") {
		t.Errorf("without admin rights: %v", err)
	}
	other := *b.config
	other.Path = filepath.Join(t.TempDir(), "elsewhere.ini")
	other.Blue = strings.Replace(other.Blue, "dbname='", "dbname='x", 1)
	if err := os.WriteFile(other.Path, []byte(other.Blue), 0o600); err != nil {
		t.Fatal(err)
	}
	if p, err = Build(plan.NewParticipant("pooler", &other)); err != nil {
		t.Fatal(err)
	}
	if err := p.Prepare(t.Context(), ticket(1, "prepare")); err == nil {
		t.Error("a file that PgBouncer does not read is a yes")
	}
}

func TestPoolsOf(t *testing.T) {
	t.Parallel()
	got, err := poolsOf("# c\na = host=h port=1 dbname=d\n[databases]\n\"b\"\"c\" = dbname = 'it''s' host=/run\n%include x\n[pgbouncer]\nlisten_port = 1\n[databases]\ne =\n")
	want := map[string]pooled{"a": {"h", "1", "d"}, `b"c`: {"/run", "5432", "it's"}, "e": {"", "5432", "e"}}
	if err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%v %v, want %v", got, err, want)
	}
	for _, bad := range []string{"nonsense", "* = host=x", "a = host", "a = host='x", "= host=x"} {
		if got, err := poolsOf(bad); err == nil {
			t.Errorf("%q: %v", bad, got)
		}
	}
}

func pgbouncerRig(t *testing.T) *rig {
	b := newBouncer(t, "transaction")
	b.spec.Timeout = time.Second
	signal := func(sig syscall.Signal) func(*testing.T) {
		return func(t *testing.T) {
			if err := b.cmd.Process.Signal(sig); err != nil {
				t.Error(err)
			}
		}
	}
	return &rig{
		Participant: b.participant(t),
		kill:        func(*testing.T) { b.kill() }, revive: b.start,
		hang: func(t *testing.T) func() {
			signal(syscall.SIGSTOP)(t)
			return func() { signal(syscall.SIGCONT)(t) }
		},
		late: func(t *testing.T, p Participant, call string, old Ticket) { // as a file's
			old.Term--
			if err := map[string]func(context.Context, Ticket) error{"prepare": p.Prepare, "commit": p.Commit, "abort": p.Abort}[call](t.Context(), old); !errors.Is(err, router.ErrStale) {
				t.Errorf("late %s: %v", call, err)
			}
		},
	}
}
