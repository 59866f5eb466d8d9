package snapshot

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/tideover/tideover/internal/postgres"
)

// Reference copies blue into an empty green by Postgres' own pg_dump and pg_restore, from one snapshot, one table after
// the other. It shares with [Copy] which definitions come along, and nothing of how rows, large objects and sequences
// do: what compares a copy by Copy with one by Reference notices a row that Copy has lost.
//
// It has no progress and is not resumed. Of o, Jobs, Chunk, Pace, Progress and PartDone do not count.
func Reference(ctx context.Context, o Options) error {
	blue, snapshot, err := export(ctx, o.Blue.DSN())
	if err != nil {
		return err
	}
	defer postgres.HangUp(ctx, blue.Conn)
	a, err := dump(ctx, blue.Conn, o.Blue.DSN(), snapshot, o.BinDir, o.Privileges)
	if err != nil {
		return err
	}
	defer a.remove()
	green, err := connect(ctx, o.Green.Name(), o.Green.DSN())
	if err != nil {
		return err
	}
	defer postgres.HangUp(ctx, green.Conn)
	if err := restoreSection(ctx, green.Conn, a, "pre-data"); err != nil {
		return err
	}
	if err := pipe(ctx, a.bin, o.Blue, o.Green, snapshot); err != nil {
		return fmt.Errorf("bring the rows over: %w", err)
	}
	if err := restoreSection(ctx, green.Conn, a, "post-data"); err != nil {
		return err
	}
	if err := refresh(ctx, blue.Conn, green.Conn); err != nil {
		return err
	}
	if _, err := green.Exec(ctx, `ANALYZE`); err != nil {
		return fmt.Errorf("analyze the copy: %w", err)
	}
	return nil
}

// pipe has pg_dump write all rows, and pg_restore read them.
func pipe(ctx context.Context, bin string, blue, green *postgres.DB, snapshot string) error {
	from, fromEnv, err := libpq(blue.DSN())
	if err != nil {
		return fmt.Errorf("%s: %w", blue.Name(), err)
	}
	to, toEnv, err := libpq(green.DSN())
	if err != nil {
		return fmt.Errorf("%s: %w", green.Name(), err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	program := func(env []string, name string, in, out *os.File, args ...string) {
		group.Go(func() error {
			var stderr strings.Builder
			c := exec.CommandContext(ctx, filepath.Join(bin, name), args...)
			c.Env, c.Stderr, c.WaitDelay = env, &stderr, 5*time.Second
			if in != nil {
				c.Stdin = in
			}
			if out != nil {
				c.Stdout = out
			}
			err := c.Run()
			// Ours is the last descriptor of this end: the other program sees its end only now.
			err = errors.Join(err, closed(in), closed(out))
			if err != nil && ctx.Err() == nil {
				return fmt.Errorf("%s: %w: %s", name, err, strings.TrimSpace(stderr.String()))
			}
			return err
		})
	}
	program(fromEnv, "pg_dump", nil, w, "--dbname="+from, "--format=custom", "--compress=0", "--data-only", "--no-password",
		"--encoding=UTF8", "--snapshot="+snapshot, "--exclude-schema="+own, "--lock-wait-timeout=30s")
	program(toEnv, "pg_restore", r, nil, "--dbname="+to, "--data-only", "--no-owner", "--no-privileges", "--no-password", "--exit-on-error")
	return group.Wait()
}

func closed(f *os.File) error {
	if f == nil {
		return nil
	}
	return f.Close()
}
