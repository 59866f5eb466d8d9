package deployment

import (
	"context"
	"fmt"
	"net/url"

	"github.com/jackc/pgx/v5"
)

// asRole makes the role that the servers of an upgrade in place connect as, with what a server needs on the tables of now
// and of later: views stand in front of one role's tables.
func (s *Deployment) asRole(ctx context.Context) error {
	if !s.options.InPlace {
		return nil
	}
	conn, err := pgx.Connect(ctx, s.BlueDSN)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	serverRole := s.database + "_server"
	for _, sql := range []string{
		"CREATE ROLE " + serverRole + " LOGIN PASSWORD '" + s.SystemSecret[:16] + "'",
		"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO " + serverRole,
		"ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO " + serverRole,
	} {
		if _, err := conn.Exec(ctx, sql); err != nil {
			return fmt.Errorf("the servers' role: %w", err)
		}
	}
	s.ServerRole = serverRole
	return nil
}

// serverDSN is a server's connection string. In place its sessions are short, as the step compat-views asks for; path is the
// new server's search_path, which must not find the old one's views.
func (s *Deployment) serverDSN(dsn, path string) string {
	if s.ServerRole == "" {
		return dsn
	}
	u, err := url.Parse(dsn)
	if err != nil {
		return dsn // it is ours, and a URL
	}
	u.User = url.UserPassword(s.ServerRole, s.SystemSecret[:16])
	q := u.Query()
	q.Set("pool_max_conn_lifetime", "2s")
	q.Set("pool_health_check_period", "500ms")
	if path != "" {
		q.Set("search_path", path)
	}
	u.RawQuery = q.Encode()
	return u.String()
}

// asOwners gives both databases to roles that may do what an owner may, and nothing else, and makes the servers' schema.
func (s *Deployment) asOwners(ctx context.Context) error {
	for _, dsn := range []*string{&s.BlueDSN, &s.GreenDSN} {
		if *dsn == "" {
			continue
		}
		if s.options.Ordinary {
			if err := s.owned(ctx, dsn); err != nil {
				return fmt.Errorf("an owner for the database: %w", err)
			}
		}
		if s.options.Schema == "" || dsn == &s.GreenDSN { // green is empty before a run
			continue
		}
		if err := execute(ctx, *dsn, "CREATE SCHEMA "+pgx.Identifier{s.options.Schema}.Sanitize()); err != nil {
			return err
		}
	}
	return nil
}

// owned makes a role, the owner of a database, and connects as it from now on.
func (s *Deployment) owned(ctx context.Context, dsn *string) error {
	role := s.database + "_owner"
	if err := execute(ctx, *dsn,
		"CREATE ROLE "+role+" LOGIN CREATEDB PASSWORD '"+s.SystemSecret[:16]+"'",
		"ALTER DATABASE "+pgx.Identifier{s.database}.Sanitize()+" OWNER TO "+role,
		"ALTER SCHEMA public OWNER TO "+role,
		"GRANT SET ON PARAMETER session_replication_role TO "+role, // as docs/operations.md says, and managed services can
	); err != nil {
		return err
	}
	u, err := url.Parse(*dsn)
	if err != nil {
		return err
	}
	u.User = url.UserPassword(role, s.SystemSecret[:16])
	*dsn = u.String()
	return nil
}

func execute(ctx context.Context, dsn string, statements ...string) error {
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	for _, sql := range statements {
		if _, err := conn.Exec(ctx, sql); err != nil {
			return err
		}
	}
	return nil
}

// inSchema is a server's connection string where its tables are in a schema of their own.
func (s *Deployment) inSchema(dsn string) string {
	u, err := url.Parse(dsn)
	if err != nil || s.options.Schema == "" {
		return dsn
	}
	q := u.Query()
	q.Set("search_path", s.options.Schema)
	u.RawQuery = q.Encode()
	return u.String()
}
