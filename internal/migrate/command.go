package migrate

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tideover/tideover/internal/child"
	"github.com/tideover/tideover/internal/postgres"
)

// Command runs the vendor's own migration command. In its environment are DSN, the database's connection string, PGAPPNAME so
// that its sessions are known as ours, and of ours what any program needs and what the runbook names; nothing secret is on
// its command line unless the runbook put it there.
type Command struct {
	argv, env []string
	schema    string
}

// NewCommand runs argv with some more variables of our environment, by their names.
func NewCommand(argv []string, env ...string) *Command { return &Command{argv: argv, env: env} }

// InSchema has the command find the server's tables in another schema than "public": by the search_path of its DSN.
func (c *Command) InSchema(schema string) *Command {
	c.schema = schema
	return c
}

// keepLines is how much of a command's output an error shows.
const keepLines = 20

// Migrate runs the command. The vendor's command is expected to do nothing where there is nothing to do.
func (c *Command) Migrate(ctx context.Context, dsn string) error { return c.MigrateWith(ctx, dsn, nil) }

// MigrateWith is Migrate that tells of the command as if it were one migration of version 0. The error has the last
// lines of the output, without passwords. When ctx ends, the command and all it started are killed.
func (c *Command) MigrateWith(ctx context.Context, dsn string, applied Applied) error {
	if len(c.argv) == 0 {
		return errors.New("migrate: the command is empty")
	}
	dsn = postgres.InSchema(dsn, c.schema)
	name, out, began := filepath.Base(c.argv[0]), &tail{}, time.Now()
	cmd := exec.CommandContext(ctx, c.argv[0], c.argv[1:]...)
	cmd.Env = append(child.Environment(c.env...), "DSN="+dsn, "PGAPPNAME=tideover/migrate")
	cmd.Stdout, cmd.Stderr, cmd.WaitDelay = out, out, 5*time.Second
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			return fmt.Errorf("migration command %s: %w", name, context.Cause(ctx))
		}
		if errors.Is(err, exec.ErrNotFound) || errors.Is(err, fs.ErrNotExist) {
			return &missingError{c.argv[0]}
		}
		return &Error{File: name, Err: fmt.Errorf("%w; its last lines:\n%s", err, redact(out.String(), dsn))}
	}
	if applied != nil {
		applied(0, name, time.Since(began))
	}
	return nil
}

// missingError says that there is no such program.
type missingError struct{ program string }

func (e *missingError) Error() string {
	return fmt.Sprintf("the migration command's program %q is not there", e.program)
}

// Hint says where it is looked for.
func (e *missingError) Hint() string {
	return "install the new version's program on the machine that runs tideover, on its PATH, or name its path in the runbook's command"
}

// Pending is -1: only the vendor's command knows.
func (c *Command) Pending(context.Context, string) (int, error) { return -1, nil }

// tail keeps the last lines of what is written, and bounds the length of each.
type tail struct {
	mu    sync.Mutex
	lines [][]byte
	open  []byte
}

const longestLine = 4 << 10

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for line := range bytes.Lines(p) {
		if room := longestLine - len(t.open); room > 0 {
			t.open = append(t.open, line[:min(len(line), room)]...)
		}
		if line[len(line)-1] == '\n' {
			t.lines = append(t.lines, bytes.TrimRight(t.open, "\r\n"))
			t.lines, t.open = t.lines[max(0, len(t.lines)-keepLines):], nil
		}
	}
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(bytes.Join(append(t.lines, t.open), []byte("\n")))
}

// redact takes a DSN and its password, plain and as URLs write it, out of a text.
func redact(text, dsn string) string {
	text = strings.ReplaceAll(text, dsn, "[DSN]")
	config, err := pgx.ParseConfig(dsn)
	if err != nil || config.Password == "" {
		return text
	}
	_, quoted, _ := strings.Cut(url.UserPassword("", config.Password).String(), ":")
	for _, secret := range []string{config.Password, quoted, url.QueryEscape(config.Password)} {
		text = strings.ReplaceAll(text, secret, "***")
	}
	return text
}
