package replay

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	osexec "os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tideover/tideover/internal/cleanup"
	"github.com/tideover/tideover/internal/postgres"
	"github.com/tideover/tideover/plan"
)

// Some tests need a replayer that can be killed, or whose memory can be measured: a process of its own. It is the test
// binary, told by its environment to be that.
const (
	childProfile = "TIDEOVER_TEST_DRAIN" // "bundled" or "narrow"
	childBlue    = "TIDEOVER_TEST_DRAIN_BLUE"
	childGreen   = "TIDEOVER_TEST_DRAIN_GREEN"
	childSource  = "TIDEOVER_TEST_DRAIN_SOURCE"
)

// narrow is a server with one small table, for queues that are long rather than wide.
var narrow = &plan.Profile{Schema: "public", Tables: []plan.Table{{Name: "event", Key: []string{"id"}}}}

const narrowSQL = `CREATE TABLE event (id bigint PRIMARY KEY, v int NOT NULL)`

// widen is narrow's migration.
type widen struct{}

func (widen) Migrate(ctx context.Context, dsn string) error {
	conn, err := postgres.Connect(ctx, "scratch", dsn)
	if err != nil {
		return err
	}
	defer hangUp(ctx, conn)
	_, err = conn.Exec(ctx, lookInPublic+`ALTER TABLE event ADD w int; UPDATE event SET w = v + 1`, pgx.QueryExecModeSimpleProtocol)
	return err
}

// runChild drains a queue, prints a line for each batch, and at last its peak of memory.
func runChild(ctx context.Context) error {
	blue, err := postgres.Open(ctx, "blue", os.Getenv(childBlue))
	if err != nil {
		return err
	}
	defer blue.Close()
	green, err := postgres.Open(ctx, "green", os.Getenv(childGreen))
	if err != nil {
		return err
	}
	defer green.Close()
	c := Config{Blue: blue, Green: green, Profile: narrow, Migrator: widen{}, Rules: cleanup.New(nil, cleanup.Options{})}
	if os.Getenv(childProfile) == "bundled" {
		if c.Profile, err = plan.LoadProfile("bundled", ""); err != nil {
			return err
		}
		c.Migrator, c.Rules, c.Batch = goose(version20), cleanup.New(c.Profile.Rules, cleanup.Options{Collect: true}), 100
	}
	c.Source = sourceOf(blue, c.Profile, os.Getenv(childSource))
	r, err := NewReplayer(c)
	if err != nil {
		return err
	}
	for {
		a, err := r.Batch(ctx)
		if err != nil {
			return err
		}
		fmt.Println("batch", a.Changes)
		if len(a.Parked) > 0 {
			return fmt.Errorf("parked: %q", a.Parked)
		}
		if a.Changes == 0 {
			break
		}
	}
	peak, err := peakMemory()
	if err != nil {
		return err
	}
	fmt.Println("peak", peak)
	return r.Close(ctx)
}

// peakMemory is the most that the process has had in memory, in bytes.
func peakMemory() (int64, error) {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(status)) {
		if text, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kb, err := strconv.ParseInt(strings.Fields(text)[0], 10, 64)
			return kb << 10, err
		}
	}
	return 0, errors.New("/proc/self/status has no VmHWM")
}

// child is a replayer's process.
type child struct {
	cmd   *osexec.Cmd
	lines *bufio.Scanner
	errs  strings.Builder
}

func startChild(t *testing.T, profile, source, blue, green string) *child {
	t.Helper()
	c := &child{cmd: osexec.Command(os.Args[0])}
	c.cmd.Env = append(os.Environ(), childProfile+"="+profile, childBlue+"="+blue, childGreen+"="+green, childSource+"="+source)
	c.cmd.Stderr = &c.errs
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	c.lines = bufio.NewScanner(io.Reader(out))
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.cmd.Process.Kill() })
	return c
}

// batches waits until the process has said that it did some more batches. It is false where it ended before.
func (c *child) batches(n int) bool {
	for range n {
		if !c.lines.Scan() || strings.HasPrefix(c.lines.Text(), "peak") {
			return false
		}
	}
	return true
}

func (c *child) kill() { _ = c.cmd.Process.Signal(syscall.SIGKILL) }

// wait reads to the end and gives the last number that the process printed.
func (c *child) wait(t *testing.T) (last int64, err error) {
	t.Helper()
	stuck := time.AfterFunc(15*time.Minute, c.kill)
	defer stuck.Stop()
	for c.lines.Scan() {
		_, text, _ := strings.Cut(c.lines.Text(), " ")
		if last, err = strconv.ParseInt(text, 10, 64); err != nil {
			t.Fatalf("a replayer printed %q", c.lines.Text())
		}
	}
	if err := c.cmd.Wait(); err != nil {
		return last, fmt.Errorf("%w: %s", err, c.errs.String())
	}
	return last, nil
}
