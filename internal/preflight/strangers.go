package preflight

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/tideover/tideover/internal/postgres"
	"github.com/tideover/tideover/internal/snapshot"
)

// strangers looks for what other roles have put where our sessions would run it. Where there is something, nothing else is
// looked at: most looks would be its chance.
func (c *check) strangers(ctx context.Context) error {
	before := len(c.findings)
	for _, side := range []struct {
		name string
		conn *pgx.Conn
	}{{"blue", c.blue}, {"green", c.green}} {
		if side.conn == nil {
			continue
		}
		var shadow *postgres.ShadowError
		err := postgres.Unshadowed(ctx, side.conn, side.name, c.schema)
		switch {
		case errors.As(err, &shadow):
			c.add(Fail, "shadow", shadow.Error(), shadow.Hint(), 0)
			c.halted = true
		case err != nil:
			return fmt.Errorf("%s: %w", side.name, err)
		}
		if err := c.openTo(ctx, side.name, side.conn); err != nil {
			return err
		}
	}
	var foreign *snapshot.ForeignCodeError
	err := snapshot.Admit(ctx, c.blue, c.green)
	switch {
	case errors.As(err, &foreign):
		c.add(Fail, "foreign-code", foreign.Error(), foreign.Hint(), 0)
		c.halted = true
	case err != nil:
		return err
	default:
		if err := c.others(ctx); err != nil {
			return err
		}
	}
	if len(c.findings) == before {
		c.add(OK, "strangers", "nobody else's code could run in our sessions", "", 0)
	}
	return nil
}

// others warns of code that belongs neither to the owners of blue's tables nor to us: on green it runs as the owner of all.
func (c *check) others(ctx context.Context) error {
	const query = `SELECT DISTINCT r.rolname::text FROM pg_catalog.pg_class t JOIN pg_catalog.pg_namespace n ON n.oid = t.relnamespace JOIN pg_catalog.pg_roles r ON r.oid = t.relowner
		WHERE n.nspname = ANY ($1) AND t.relkind IN ('r', 'p') UNION SELECT CURRENT_USER`
	rows, _ := c.blue.Query(ctx, query, c.Profile.Schemas()) // its error comes up in the rows
	known, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return fmt.Errorf("blue: look for the owners of the tables: %w", err)
	}
	found, err := snapshot.ForeignCode(ctx, c.blue)
	if err != nil {
		return fmt.Errorf("blue: %w", err)
	}
	for _, f := range found {
		if !slices.Contains(known, f.Owner) {
			c.add(Warn, "others-code", fmt.Sprintf("%s belongs to role %q, which owns none of the server's tables: on green it will belong to our role there, and run with its rights", f.Object, f.Owner),
				"read it, and have the tables' owner own it (ALTER … OWNER TO), or drop it", 0)
		}
	}
	return nil
}

// openTo warns of a schema in which anybody may put something.
func (c *check) openTo(ctx context.Context, side string, conn *pgx.Conn) error {
	const query = `SELECT EXISTS (SELECT FROM pg_catalog.pg_namespace n, pg_catalog.aclexplode(coalesce(n.nspacl, pg_catalog.acldefault('n', n.nspowner))) a
		WHERE n.nspname = $1 AND a.grantee = 0 AND a.privilege_type = 'CREATE')`
	var open bool
	if err := conn.QueryRow(ctx, query, c.schema).Scan(&open); err != nil {
		return fmt.Errorf("%s: %w", side, err)
	}
	if open {
		schema := pgx.Identifier{c.schema}.Sanitize()
		c.add(Warn, "open-schema", fmt.Sprintf("anybody may create something in schema %q of %s, where the server's names are looked up: an operator that fits better than pg_catalog's stops the run as soon as it is there", c.schema, side),
			"REVOKE CREATE ON SCHEMA "+schema+" FROM PUBLIC", 0)
	}
	return nil
}
