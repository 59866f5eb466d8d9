package pgserver

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// maxName is Postgres' limit for names (NAMEDATALEN-1). It cuts longer ones off silently, and two become one.
const maxName = 63

// CreateDatabase creates an empty database and returns a superuser's DSN for it. Any name of 1 to 63 bytes will do.
func (s *Server) CreateDatabase(ctx context.Context, name string) (string, error) {
	return s.CopyDatabase(ctx, name, "template0")
}

// CopyDatabase creates a database that begins as a copy of another one of the server, to which nobody is connected, and
// returns a superuser's DSN for it.
func (s *Server) CopyDatabase(ctx context.Context, name, template string) (string, error) {
	if name == "" || len(name) > maxName || strings.ContainsRune(name, 0) {
		return "", fmt.Errorf("create database %q: a name has 1 to %d bytes and no zero byte", name, maxName)
	}
	dsn, err := withDatabase(s.dsn, name)
	if err != nil {
		return "", fmt.Errorf("create database %q: %w", name, err)
	}
	if err := s.exec(ctx, "CREATE DATABASE "+pgx.Identifier{name}.Sanitize()+" TEMPLATE "+pgx.Identifier{template}.Sanitize()); err != nil {
		return "", fmt.Errorf("create database %q: %w", name, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.created[name] = true
	return dsn, nil
}

// DropDatabase drops a database, ending the sessions in it; one that is not there is no error.
func (s *Server) DropDatabase(ctx context.Context, name string) error {
	if err := s.exec(ctx, "DROP DATABASE IF EXISTS "+pgx.Identifier{name}.Sanitize()+" WITH (FORCE)"); err != nil {
		return fmt.Errorf("drop database %q: %w", name, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.created, name)
	return nil
}

// dropCreated drops what CreateDatabase left on a server that goes on without us.
func (s *Server) dropCreated() error {
	s.mu.Lock()
	names := slices.Sorted(maps.Keys(s.created))
	s.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	var errs []error
	for _, name := range names {
		errs = append(errs, s.DropDatabase(ctx, name))
	}
	return errors.Join(errs...)
}

func (s *Server) exec(ctx context.Context, sql string) error {
	conn, err := pgx.Connect(ctx, s.dsn)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	_, err = conn.Exec(ctx, sql)
	return err
}

// withDatabase is the DSN, in URL or keyword form, with another database in it.
func withDatabase(dsn, name string) (string, error) {
	if !strings.HasPrefix(dsn, "postgres://") && !strings.HasPrefix(dsn, "postgresql://") {
		// Keyword form (manual 34.1.1.1): of two settings the last one counts.
		return dsn + " dbname='" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(name) + "'", nil
	}
	u, err := url.Parse(dsn)
	if err != nil {
		return "", errors.New("the server's DSN is not a URL") // the parser's error would quote the password
	}
	q := u.Query()
	q.Del("dbname")
	if strings.HasPrefix(name, "/") { // pgx takes all leading slashes off a path
		u.Path, u.RawPath = "/", ""
		q.Set("dbname", name)
	} else {
		u.Path, u.RawPath = "/"+name, "/"+url.PathEscape(name)
	}
	u.RawQuery = q.Encode()
	return u.String(), nil
}
