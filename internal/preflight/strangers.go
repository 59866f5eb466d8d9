package preflight

import (
	"context"
	"errors"
	"fmt"

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
	}
	if len(c.findings) == before {
		c.add(OK, "strangers", "nobody else's code could run in our sessions", "", 0)
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
