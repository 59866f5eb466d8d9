package world

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/tideover/tideover/internal/lab/pgserver"
)

// Pair is two servers and the program under test. Worlds are played on it side by side.
type Pair struct {
	Blue, Green *pgserver.Server
	Binary      string // tideover
	Dir         string // a folder for the worlds' files
	Unaudited   bool   // the runs have no audit: what goes wrong is left to the judge
	Keep        bool   // leave databases and files of a world that went wrong
}

// sessions are the settings of clients and judge, which win over those of a world's databases and roles: what a statement
// means must not hang on them. The program under test gets no such help.
const sessions = "-c search_path=public,lib,extensions -c standard_conforming_strings=on -c xmloption=content -c lock_timeout=0 -c statement_timeout=0" +
	" -c default_transaction_isolation=read\\ committed -c default_transaction_deferrable=off -c quote_all_identifiers=off -c row_security=on -c array_nulls=on -c default_transaction_read_only=off -c role=none"

// Ours is the application_name of the lab's own sessions: of writers, judge and stage hands.
const Ours = "world"

// client runs one of Postgres' own programs against a database.
func (p *Pair) client(ctx context.Context, program, dsn, stdin string, args ...string) (stdout, stderr string, err error) {
	cmd := exec.CommandContext(ctx, filepath.Join(p.Blue.BinDir(), program), append(args, "--dbname="+dsn)...)
	cmd.Stdin = strings.NewReader(stdin)
	cmd.Env = append(os.Environ(), "PGOPTIONS="+sessions, "PGCLIENTENCODING=UTF8", "PGAPPNAME="+Ours)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		return out.String(), errs.String(), fmt.Errorf("%s: %w\n%s", program, err, errs.String())
	}
	return out.String(), errs.String(), nil
}

// psql runs a script, statement by statement, and stops at the first error.
func (p *Pair) psql(ctx context.Context, dsn, script string, args ...string) error {
	args = append([]string{"--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", "--output=/dev/null"}, args...)
	_, _, err := p.client(ctx, "psql", dsn, script, args...)
	return err
}

// create makes an empty database and returns its DSN.
func create(ctx context.Context, s *pgserver.Server, name string) (string, error) {
	if err := drop(ctx, s, name); err != nil {
		return "", err
	}
	if err := on(ctx, s.DSN(), "CREATE DATABASE "+pgx.Identifier{name}.Sanitize()+" TEMPLATE template0"); err != nil {
		return "", err
	}
	return within(s.DSN(), name)
}

func drop(ctx context.Context, s *pgserver.Server, name string) error {
	return on(ctx, s.DSN(), "DROP DATABASE IF EXISTS "+pgx.Identifier{name}.Sanitize()+" WITH (FORCE)")
}

// within is a server's DSN with another database in it.
func within(dsn, name string) (string, error) {
	u, err := url.Parse(dsn)
	if err != nil {
		return "", errors.New("the server's DSN is not a URL") // the parser's error would quote the password
	}
	u.Path = "/" + name
	return u.String(), nil
}

// connect opens a session of the lab's own.
func connect(ctx context.Context, dsn string) (*pgx.Conn, error) {
	cfg, err := pgx.ParseConfig(dsn)
	if err != nil {
		return nil, errors.New("the server's DSN can't be read") // the parser's error would quote the password
	}
	cfg.RuntimeParams["application_name"] = Ours
	return pgx.ConnectConfig(ctx, cfg)
}

// exitStatus is a program's, which is no error of ours.
func exitStatus(err error) (int, error) {
	if exit := new(exec.ExitError); errors.As(err, &exit) {
		return exit.ExitCode(), nil
	}
	return 0, err
}

func on(ctx context.Context, dsn, sql string) error {
	conn, err := connect(ctx, dsn)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	_, err = conn.Exec(ctx, sql)
	return err
}

func ask[T any](ctx context.Context, dsn, sql string, args ...any) ([]T, error) {
	conn, err := connect(ctx, dsn)
	if err != nil {
		return nil, err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	rows, err := conn.Query(ctx, sql, args...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[T])
}
