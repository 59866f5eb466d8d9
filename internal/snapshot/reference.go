package snapshot

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/tideover/tideover/internal/postgres"
)

// Reference copies blue into an empty green by Postgres' own pg_dump, pg_restore and psql, from one snapshot, one table after
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
	green, err := connect(ctx, o.Green.Name(), o.Green.DSN())
	if err != nil {
		return err
	}
	defer postgres.HangUp(ctx, green.Conn)
	if err := Admit(ctx, blue.Conn, green.Conn); err != nil {
		return err
	}
	a, err := dump(ctx, blue.Conn, o.Blue.DSN(), snapshot, o.BinDir, o.Privileges)
	if err != nil {
		return err
	}
	defer a.remove()
	path, err := pathOf(ctx, blue.Conn, schemaOf(o.Profile))
	if err != nil {
		return err
	}
	if err := restoreSection(ctx, green.Conn, a, "pre-data", ""); err != nil {
		return err
	}
	if err := pipe(ctx, a.bin, o.Blue, o.Green, snapshot, path); err != nil {
		return fmt.Errorf("bring the rows over: %w", err)
	}
	if err := restoreSection(ctx, green.Conn, a, "post-data", path); err != nil {
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

// pipe has pg_dump write all rows as a script, and psql run it. pg_restore would look names up nowhere, and what generated columns
// and checks call would not be found: see pathOf.
func pipe(ctx context.Context, bin string, blue, green *postgres.DB, snapshot, path string) error {
	from, fromEnv, err := libpq(blue.DSN())
	if err != nil {
		return fmt.Errorf("%s: %w", blue.Name(), err)
	}
	to, toEnv, err := libpq(green.DSN())
	if err != nil {
		return fmt.Errorf("%s: %w", green.Name(), err)
	}
	written, w, err := os.Pipe()
	if err != nil {
		return err
	}
	r, given, err := os.Pipe()
	if err != nil {
		return errors.Join(err, written.Close(), w.Close())
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
	program(fromEnv, "pg_dump", nil, w, "--dbname="+from, "--format=plain", "--data-only", "--no-password",
		"--encoding=UTF8", "--snapshot="+snapshot, "--exclude-schema="+own, "--lock-wait-timeout=30s")
	group.Go(func() error { return errors.Join(redirect(written, given, path), closed(given), closed(written)) })
	program(toEnv, "psql", r, nil, "--dbname="+to, "--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", "--no-password", "--output="+os.DevNull)
	return group.Wait()
}

// redirect passes a script on with another path, and without the setting that servers before 17 do not know. Both stand before
// the first row: a line of data is never taken for one of them.
func redirect(from io.Reader, to io.Writer, path string) error {
	in := bufio.NewReaderSize(from, 1<<16)
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			if errors.Is(err, io.EOF) {
				err = nil
			}
			_, wrote := io.WriteString(to, line)
			return errors.Join(err, wrote)
		}
		now := within(line, path)
		if line == "SET transaction_timeout = 0;\n" {
			now = ""
		}
		if _, err := io.WriteString(to, now); err != nil {
			return err
		}
		if now != line && now != "" { // the path was set: what comes is rows
			_, err := io.Copy(to, in)
			return err
		}
	}
}

func closed(f *os.File) error {
	if f == nil {
		return nil
	}
	return f.Close()
}
