package deployment

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"
)

// ExitWithStdin is the environment variable that makes a tideover server or router end when its standard input ends:
// its owner holds the other end, so a child never outlives an owner that was killed.
const ExitWithStdin = "TIDEOVER_EXIT_WITH_STDIN"

// stopGrace is how long a process may take to finish its requests after SIGTERM.
const stopGrace = 5 * time.Second

// process is one child: an OAuth server or the router.
type process struct {
	name  string
	cmd   *exec.Cmd
	stdin io.Closer
	tail  *tail
	done  chan struct{} // closed once the process has ended and err is set
	err   error
	// Addresses are what the child printed on its first line of stdout, such as {"public":"127.0.0.1:40001"}.
	addresses map[string]string
}

// guard is the script of a process that does not end with its stdin by itself: it starts a program, ends it when the
// owner's end of stdin is closed or on SIGTERM, and with TIDEOVER_AGAIN starts it anew when it ends before.
const guard = `
exec 3<&0
(cat <&3 >/dev/null; kill -TERM $$) &
trap 'ended=yes; kill -TERM "$child" 2>/dev/null' TERM
while :; do
	"$@" </dev/null 3<&- &
	child=$!
	while :; do
		wait "$child"
		code=$?
		kill -0 "$child" 2>/dev/null || break
	done
	[ -z "$TIDEOVER_AGAIN" ] && exit "$code"
	[ -z "$ended" ] && sleep 0.5
	[ -z "$ended" ] || exit 0
done`

// startProcess starts a program; one that announces where it listens has done so when startProcess returns. What it
// writes on stderr goes to the end of the file log.
func startProcess(ctx context.Context, name, log string, what program) (*process, error) {
	p := &process{name: name, tail: &tail{}, done: make(chan struct{})}
	argv := append([]string{what.executable}, what.args...)
	env := append(append(os.Environ(), ExitWithStdin+"=1"), what.env...)
	if !what.announces {
		argv = append([]string{"/bin/sh", "-c", guard, "tideover-guard"}, argv...)
		if what.again {
			env = append(env, "TIDEOVER_AGAIN=1")
		}
	}
	// ctx is for the start: the child lives until stop or kill.
	p.cmd = exec.CommandContext(context.WithoutCancel(ctx), argv[0], argv[1:]...)
	p.cmd.Env = env
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // Ctrl-C is for the owner, who stops its children in order
	stdin, err := p.cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	p.stdin = stdin
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	logged, err := os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	p.cmd.Stderr = io.MultiWriter(p.tail, logged)
	if err := p.cmd.Start(); err != nil {
		logged.Close()
		return nil, fmt.Errorf("%s: start %s: %w", name, what.executable, err)
	}
	first := make(chan error, 1)
	go func() {
		defer close(p.done)
		lines := bufio.NewReader(stdout)
		var err error
		if what.announces {
			var line []byte
			if line, err = lines.ReadBytes('\n'); err == nil {
				err = json.Unmarshal(line, &p.addresses)
			}
		}
		first <- err
		_, _ = io.Copy(io.Discard, lines) // until it ends, by an error or not
		p.err = p.cmd.Wait()              // and until its stderr has been copied
		logged.Close()
	}()
	select {
	case err := <-first:
		if err != nil {
			return nil, errors.Join(fmt.Errorf("%s did not say where it listens: %w: %s", name, err, p.tail), p.stop())
		}
		return p, nil
	case <-ctx.Done():
		return nil, errors.Join(fmt.Errorf("%s: %w", name, context.Cause(ctx)), p.stop())
	}
}

// stop ends the process: SIGTERM, then after a grace SIGKILL. It may be called again.
func (p *process) stop() error {
	p.stdin.Close()
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // fails only when it has ended
	select {
	case <-p.done:
	case <-time.After(stopGrace):
		p.kill()
	}
	var exit *exec.ExitError
	if errors.As(p.err, &exit) && exit.ExitCode() > 0 {
		return fmt.Errorf("%s: %w: %s", p.name, p.err, p.tail)
	}
	return nil
}

// kill ends the process with SIGKILL, as a crash would, and what it has started.
func (p *process) kill() {
	_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
	<-p.done
}

// tail keeps the end of what a process wrote on stderr.
type tail struct {
	mu  sync.Mutex
	buf []byte
}

const tailBytes = 4 << 10

func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.buf = append(t.buf, b...)
	if over := len(t.buf) - tailBytes; over > 0 {
		t.buf = bytes.Clone(t.buf[over:])
	}
	return len(b), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.TrimSpace(string(t.buf))
}
