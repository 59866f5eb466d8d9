package pgserver

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

func (c *cluster) pid() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.postmaster == nil {
		return 0
	}
	select {
	case <-c.postmaster.exited: // it crashed by itself, or somebody else killed it
		return 0
	default:
		return c.postmaster.pid
	}
}

// kill stops the postmaster first, so that it neither starts nor mourns a child, then kills all of them.
// Where there is no /proc the children are left to notice by themselves that the postmaster is gone.
func (c *cluster) kill(context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed || c.postmaster == nil {
		return errors.New("kill: the postmaster does not run")
	}
	p := c.postmaster
	c.postmaster = nil
	select {
	case <-p.exited:
		return nil
	default:
	}
	if err := syscall.Kill(p.pid, syscall.SIGSTOP); err != nil {
		return fmt.Errorf("stop postmaster %d: %w", p.pid, err)
	}
	for _, child := range children(p.pid) {
		_ = syscall.Kill(child, syscall.SIGKILL) // one that has just ended is as good as killed
	}
	p.end(syscall.SIGKILL)
	return nil
}

// restart starts the postmaster again. For a moment after a kill dying children can still hold the shared memory,
// which the new postmaster refuses to share; it is tried again until the context, or restartTimeout, ends.
func (c *cluster) restart(ctx context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return errors.New("restart: the server is closed")
	}
	if c.postmaster != nil {
		c.postmaster.end(syscall.SIGINT) // "fast": rolls back, ends sessions, writes a checkpoint
		c.postmaster = nil
	}
	const restartTimeout, pause = 15 * time.Second, 100 * time.Millisecond
	ctx, cancel := context.WithTimeout(ctx, restartTimeout)
	defer cancel()
	for {
		err := c.launch(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("restart: %w", err)
		case <-time.After(pause):
		}
	}
}

// children lists the processes whose parent is pid, from /proc/*/stat (proc(5): pid (comm) state ppid …).
func children(pid int) []int {
	stats, _ := filepath.Glob("/proc/[0-9]*/stat") // the pattern is a constant and well formed
	var found []int
	for _, path := range stats {
		b, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		// The command's name may hold spaces and parentheses: what follows is after the last one.
		_, id, _ := strings.Cut(filepath.Dir(path), "/proc/")
		fields := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
		if len(fields) < 2 || fields[1] != strconv.Itoa(pid) {
			continue
		}
		if child, err := strconv.Atoi(id); err == nil {
			found = append(found, child)
		}
	}
	return found
}
