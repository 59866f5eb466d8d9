package pgserver

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
)

// cluster is a Postgres that runs as our own processes.
type cluster struct {
	owner    *owner
	account  account
	binDir   string
	port     int
	password string

	mu         sync.Mutex // guards postmaster, and lets one of kill, restart and close run at a time
	postmaster *process
	closed     bool
}

// process is a started postmaster. Its Wait runs from the start on, so that no zombie confuses a kill -0.
type process struct {
	pid    int
	exited chan struct{} // closed when it has ended and been collected
}

func startLocal(ctx context.Context, o Options) (engine, string, string, error) {
	binDir, err := o.programs()
	if err != nil {
		return nil, "", "", err
	}
	c, err := startCluster(ctx, o, binDir)
	if err != nil {
		return nil, "", "", fmt.Errorf("binaries in %s: %w", binDir, err)
	}
	return c, c.dsn(), binDir, nil
}

// startCluster makes a cluster with the programs of binDir and starts it.
func startCluster(ctx context.Context, o Options, binDir string) (_ *cluster, err error) {
	a, err := serverAccount()
	if err != nil {
		return nil, err
	}
	if !a.reaches(binDir) {
		return nil, hinted{fmt.Errorf("user %d cannot reach %s", a.uid, binDir), "install the binaries where everybody may read them"}
	}
	parent, err := a.tempDir()
	if err != nil {
		return nil, err
	}
	for _, dir := range []string{parent, memoryDir} {
		if err := sweepDirs(dir, a); err != nil {
			fmt.Fprintf(o.Log, "postgres %q: sweep of older servers: %v\n", o.Name, err)
		}
	}
	if o.Memory && hasRoom(memoryDir) {
		parent = memoryDir
	}
	own, err := newOwner(filepath.Join(parent, o.uniqueName()), a, localWatchdog, nil)
	if err != nil {
		return nil, err
	}
	c := &cluster{owner: own, account: a, binDir: binDir, password: rand.Text()}
	defer func() {
		if err != nil {
			err = errors.Join(err, c.close())
		}
	}()
	if err := c.initdb(ctx, o); err != nil {
		return nil, err
	}
	return c, c.startAnywhere(ctx)
}

func (c *cluster) data() string    { return filepath.Join(c.owner.dir, "data") }
func (c *cluster) logPath() string { return filepath.Join(c.owner.dir, "log") }

func (c *cluster) dsn() string {
	u := url.URL{
		Scheme: "postgres", User: url.UserPassword("postgres", c.password),
		Host: net.JoinHostPort("127.0.0.1", strconv.Itoa(c.port)), Path: "/postgres", RawQuery: "sslmode=disable",
	}
	return u.String()
}

// initdb makes the data directory: UTF8, the C.UTF-8 locale, or plain C where the system lacks it.
func (c *cluster) initdb(ctx context.Context, o Options) error {
	pwfile := filepath.Join(c.owner.dir, "password")
	if err := os.WriteFile(pwfile, []byte(c.password+"\n"), 0o600); err != nil {
		return err
	}
	if err := c.account.own(pwfile); err != nil {
		return err
	}
	var err error
	for _, locale := range []string{"C.UTF-8", "C"} {
		err = c.run(ctx, "initdb", "-D", c.data(), "-U", "postgres", "--pwfile", pwfile, "-A", "scram-sha-256",
			"-E", "UTF8", "--locale", locale, "--no-sync", "--no-instructions")
		if err == nil || ctx.Err() != nil {
			break
		}
	}
	if err != nil {
		return err
	}
	if err := os.Remove(pwfile); err != nil {
		return err
	}
	return c.configure(o)
}

// run runs one program to its end.
func (c *cluster) run(ctx context.Context, program string, args ...string) error {
	cmd := exec.CommandContext(ctx, filepath.Join(c.binDir, program), args...)
	log, err := c.prepare(cmd)
	if err != nil {
		return err
	}
	defer log.Close()
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return fmt.Errorf("%s: %w%s", program, err, c.lastWords())
	}
	return nil
}

// prepare gives a command the server's account, group, log and a clean environment: a PGDATA or PGPORT of the
// caller must not lead it elsewhere.
func (c *cluster) prepare(cmd *exec.Cmd) (*os.File, error) {
	log, err := os.OpenFile(c.logPath(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	cmd.Stdout, cmd.Stderr, cmd.Dir = log, log, c.owner.dir
	cmd.Env = []string{"PATH=" + c.binDir + ":/usr/bin:/bin", "LC_ALL=C", "TZ=UTC"}
	if v, ok := os.LookupEnv("LD_LIBRARY_PATH"); ok {
		cmd.Env = append(cmd.Env, "LD_LIBRARY_PATH="+v)
	}
	c.owner.join(cmd, c.account)
	return log, nil
}

// startAnywhere starts the postmaster on a free port. Between our asking for one and the postmaster's binding it
// another process can take it; the postmaster then ends, and another port is tried.
func (c *cluster) startAnywhere(ctx context.Context) error {
	var err error
	for range 5 {
		if c.port, err = freePort(ctx); err != nil {
			return err
		}
		if err = c.launch(ctx); err == nil || ctx.Err() != nil {
			return err
		}
	}
	return err
}

func freePort(ctx context.Context) (int, error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp4", "127.0.0.1:0")
	if err != nil {
		return 0, fmt.Errorf("find a free port: %w", err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}

// launch starts the postmaster on c.port and waits until it answers. When it does not, the postmaster is gone.
func (c *cluster) launch(ctx context.Context) error {
	// ctx is for the start: the postmaster lives until the cluster is stopped.
	cmd := exec.CommandContext(context.WithoutCancel(ctx), filepath.Join(c.binDir, "postgres"), "-D", c.data(), "-p", strconv.Itoa(c.port))
	log, err := c.prepare(cmd)
	if err != nil {
		return err
	}
	defer log.Close()
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", cmd.Path, err)
	}
	p := &process{pid: cmd.Process.Pid, exited: make(chan struct{})}
	go func() {
		_ = cmd.Wait() // how it ended is in its log
		close(p.exited)
	}()
	if err := c.await(ctx, p); err != nil {
		p.end(syscall.SIGQUIT)
		return err
	}
	c.postmaster = p
	return nil
}

// await waits until the postmaster answers with our password: another server on the port does not know it.
func (c *cluster) await(ctx context.Context, p *process) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		try, cancel := context.WithTimeout(ctx, 5*time.Second)
		conn, err := pgx.Connect(try, c.dsn())
		if err == nil {
			err = conn.Close(try)
		}
		cancel()
		if err == nil {
			return nil
		}
		select {
		case <-p.exited:
			return fmt.Errorf("the postmaster ended before it answered on port %d%s", c.port, c.lastWords())
		case <-ctx.Done():
			return fmt.Errorf("wait for the postmaster on port %d: %w", c.port, context.Cause(ctx))
		case <-tick.C:
		}
	}
}

// end signals the postmaster, harder after a while, and waits for its end.
func (p *process) end(sig syscall.Signal) {
	for ; ; sig = syscall.SIGKILL {
		select {
		case <-p.exited:
			return
		default:
		}
		_ = syscall.Kill(p.pid, sig) // not yet collected, so that the id is still its own
		select {
		case <-p.exited:
			return
		case <-time.After(15 * time.Second):
		}
	}
}

// lastWords is the end of the server's log, for an error.
func (c *cluster) lastWords() string {
	b, err := os.ReadFile(c.logPath())
	if err != nil || len(b) == 0 {
		return ""
	}
	lines := strings.Split(strings.TrimSpace(string(b)), "\n")
	return "; its last words: " + strings.Join(lines[max(0, len(lines)-10):], " | ")
}

// close stops everything by way of the watchdog, and by itself where somebody has killed the watchdog.
// Further calls do nothing.
func (c *cluster) close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil
	}
	c.closed = true
	err := c.owner.release()
	if c.postmaster != nil {
		c.postmaster.end(syscall.SIGQUIT)
		c.postmaster = nil
	}
	return errors.Join(err, os.RemoveAll(c.owner.dir))
}
