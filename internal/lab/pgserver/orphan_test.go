package pgserver_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tideover/tideover/internal/lab/await"
	"github.com/tideover/tideover/internal/lab/pgserver"
	"github.com/tideover/tideover/internal/lab/pgserver/pgtest"
	"github.com/tideover/tideover/internal/lab/quick"
	"github.com/tideover/tideover/internal/lab/slice"
)

// owner is a process that starts a server, with a temporary directory of its own to count what it leaves.
type owner struct {
	cmd *exec.Cmd
	out *bufio.Scanner
	tmp string
}

func startOwner(t *testing.T, source pgserver.Origin, env ...string) *owner {
	t.Helper()
	tmp, err := os.MkdirTemp("", "owner")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(tmp, 0o777); err != nil { // as root the server's account must pass
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(tmp) })
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), ownerVariable+"="+string(source), "TMPDIR="+tmp)
	cmd.Env = append(cmd.Env, env...)
	cmd.Stderr = os.Stderr
	if _, err := cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	return &owner{cmd: cmd, out: bufio.NewScanner(out), tmp: tmp}
}

// says reads lines until one has the prefix, and returns the rest of it.
func (o *owner) says(t *testing.T, prefix string) string {
	t.Helper()
	for o.out.Scan() {
		if rest, ok := strings.CutPrefix(o.out.Text(), prefix); ok {
			return strings.TrimSpace(rest)
		}
	}
	t.Fatalf("the owner ended before it said %q", prefix)
	return ""
}

func (o *owner) kill(t *testing.T) {
	t.Helper()
	if err := o.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	o.cmd.Wait()
}

func (o *owner) left() []string {
	dirs, _ := filepath.Glob(filepath.Join(o.tmp, "*"))
	return dirs
}

func TestServerDoesNotOutliveItsKilledOwner(t *testing.T) {
	t.Parallel()
	o := startOwner(t, pgserver.Local)
	var pid int
	fmt.Sscan(o.says(t, "pid"), &pid)
	dsn := o.says(t, "dsn")
	conn := connect(t, dsn) // a session under way does not keep it alive
	backend := int(conn.PgConn().PID())
	if !lives(pid) || len(o.left()) != 1 {
		t.Fatalf("postmaster %d lives: %v; directories %q", pid, lives(pid), o.left())
	}
	o.kill(t)
	await.That(t, "the postmaster is gone", func() bool { return !lives(pid) })
	await.That(t, "its backend is gone", func() bool { return !lives(backend) })
	await.That(t, "its directory is gone", func() bool { return len(o.left()) == 0 })
}

// The owner is killed at many moments of its start: in initdb, between fork and exec, before postmaster.pid.
func TestOwnerKilledWhileItStarts(t *testing.T) {
	quick.Skip(t)
	t.Parallel()
	for _, n := range slice.Of(t, 2, 12) {
		delay := time.Duration(n) * 75 * time.Millisecond
		o := startOwner(t, pgserver.Local)
		o.says(t, "starting")
		time.Sleep(delay) // the moment of the kill is what is varied
		o.kill(t)
		await.That(t, fmt.Sprintf("nothing is left of an owner killed after %s", delay), func() bool { return len(o.left()) == 0 })
		await.That(t, fmt.Sprintf("no process works in %s", o.tmp), func() bool { return len(workers(o.tmp)) == 0 })
	}
}

// The owner is killed in the first moments of its directory, many times: it never has one without a watchdog.
func TestOwnerKilledAsItMakesItsDirectory(t *testing.T) {
	quick.Skip(t)
	t.Parallel()
	for range slice.Of(t, 4, 40) {
		o := startOwner(t, pgserver.Local)
		o.says(t, "starting")
		// The owner is to die as soon after its Mkdir as can be, and needs a processor to get there.
		for deadline := time.Now().Add(time.Minute); len(o.left()) == 0; time.Sleep(100 * time.Microsecond) {
			if time.Now().After(deadline) {
				t.Fatal("the owner makes no directory")
			}
		}
		o.kill(t)
		await.That(t, "nothing is left", func() bool { return len(o.left()) == 0 })
	}
}

// workers lists processes whose command line names the directory.
func workers(dir string) []string {
	out, _ := exec.Command("ps", "-A", "-o", "stat=,args=").Output()
	var found []string
	for line := range strings.Lines(string(out)) {
		if strings.Contains(line, dir) && !strings.HasPrefix(line, "Z") {
			found = append(found, line)
		}
	}
	return found
}

func TestCancelledStartLeavesNothing(t *testing.T) {
	quick.Skip(t)
	tmp, err := os.MkdirTemp("", "cancel")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(tmp)
	if err := os.Chmod(tmp, 0o777); err != nil {
		t.Fatal(err)
	}
	t.Setenv("TMPDIR", tmp)
	cancelled := 0
	for _, n := range slice.Of(t, 2, 12) {
		after := time.Duration(n) * 75 * time.Millisecond
		ctx, cancel := context.WithTimeout(t.Context(), after)
		s, err := pgserver.Start(ctx, local("cancel"))
		cancel()
		if err == nil {
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
		} else {
			cancelled++
			if !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("cancelled after %s: %v", after, err)
			}
		}
		if left, _ := filepath.Glob(filepath.Join(tmp, "*")); len(left) != 0 || len(workers(tmp)) != 0 {
			t.Fatalf("cancelled after %s: left %q, %q", after, left, workers(tmp))
		}
	}
	if cancelled == 0 {
		t.Error("no start was cancelled")
	}
}

func TestCloseWithoutWatchdog(t *testing.T) {
	quick.Skip(t)
	t.Parallel()
	s := pgtest.NewServer(t, local("undogged"))
	dir, pid := directory(t, s.DSN()), s.PID()
	killWatchdog(t, pid)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if !gone(dir) || lives(pid) {
		t.Errorf("directory gone: %v, postmaster lives: %v", gone(dir), lives(pid))
	}
}

// Owner and watchdog are both killed: the next start sweeps what they left, and nothing that has an owner.
func TestSweepTakesWhatTheWatchdogCouldNot(t *testing.T) {
	quick.Skip(t)
	o := startOwner(t, pgserver.Local)
	var pid int
	fmt.Sscan(o.says(t, "pid"), &pid)
	dir := directory(t, o.says(t, "dsn"))
	killWatchdog(t, pid)
	t.Setenv("TMPDIR", o.tmp)

	living := pgtest.NewServer(t, local("living"))
	if gone(dir) || !lives(pid) {
		t.Fatal("the sweep took a server whose owner lives")
	}
	o.kill(t)
	if gone(dir) || !lives(pid) {
		t.Fatal("the watchdog was not killed, so that this proves nothing about the sweep")
	}
	pgtest.NewServer(t, local("sweeper"))
	if !gone(dir) || lives(pid) {
		t.Errorf("after the sweep: directory gone: %v, postmaster lives: %v", gone(dir), lives(pid))
	}
	if got := query[int](t, connect(t, living.DSN()), `SELECT 1`); got != 1 {
		t.Error("the sweep took a living server")
	}
}

// killWatchdog kills the shell, and only it, that watches over a directory: the leader of the postmaster's group.
func killWatchdog(t *testing.T, postmaster int) {
	t.Helper()
	pid, err := syscall.Getpgid(postmaster)
	if err != nil {
		t.Fatal(err)
	}
	if pid == postmaster || pid == syscall.Getpgrp() {
		t.Fatalf("group %d is not a watchdog's", pid)
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	await.That(t, "the watchdog is gone", func() bool { return !lives(pid) })
}
