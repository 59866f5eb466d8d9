package preflight

import (
	"context"
	"fmt"
)

// inPlace is what is looked at when blue itself is migrated: there is no green, no copy and no capture.
func (c *check) inPlace() []func(context.Context) error {
	return []func(context.Context) error{c.owner, c.transactions, c.clocks}
}

// owner: ALTER TABLE and CREATE INDEX are the owner's.
func (c *check) owner(ctx context.Context) error {
	const query = `SELECT count(*), pg_catalog.has_schema_privilege($1, 'CREATE') FROM pg_catalog.pg_class r JOIN pg_catalog.pg_namespace n ON n.oid = r.relnamespace
		WHERE n.nspname = $1 AND r.relkind IN ('r', 'p') AND NOT pg_catalog.pg_has_role(r.relowner, 'USAGE')`
	var others int64
	var create bool
	if err := c.blue.QueryRow(ctx, query, c.schema).Scan(&others, &create); err != nil {
		return fmt.Errorf("blue: %w", err)
	}
	switch {
	case others > 0:
		c.add(Fail, "privileges", fmt.Sprintf("our role on blue is not the owner of %d tables of schema %q, nor a member of the owner's role: it may not alter them", others, c.schema),
			"run as the tables' owner, or GRANT the owner's role TO our role on blue", 0)
	case !create:
		c.add(Fail, "privileges", fmt.Sprintf("our role on blue cannot create anything in schema %q", c.schema), "GRANT CREATE ON SCHEMA … TO our role on blue", 0)
	default:
		c.add(OK, "privileges", "our role can alter blue's tables", "", 0)
	}
	return nil
}
