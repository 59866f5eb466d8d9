package snapshot

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/tideover/tideover/internal/postgres"
)

// rolesQuery lists the roles that own something in a database, or are granted something there.
const rolesQuery = `
WITH n AS (SELECT oid, nspowner, nspacl FROM pg_catalog.pg_namespace WHERE nspname NOT LIKE 'pg\_%' AND nspname NOT IN ('information_schema', '` + own + `')),
thing (owner, acl) AS (
	SELECT nspowner, nspacl FROM n
	UNION ALL SELECT c.relowner, c.relacl FROM pg_catalog.pg_class c JOIN n ON n.oid = c.relnamespace
	UNION ALL SELECT c.relowner, a.attacl FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_class c ON c.oid = a.attrelid JOIN n ON n.oid = c.relnamespace WHERE a.attacl IS NOT NULL
	UNION ALL SELECT p.proowner, p.proacl FROM pg_catalog.pg_proc p JOIN n ON n.oid = p.pronamespace
	UNION ALL SELECT t.typowner, t.typacl FROM pg_catalog.pg_type t JOIN n ON n.oid = t.typnamespace
	UNION ALL SELECT d.defaclrole, d.defaclacl FROM pg_catalog.pg_default_acl d
), named (role) AS (
	SELECT owner FROM thing UNION SELECT a.grantee FROM thing CROSS JOIN LATERAL pg_catalog.aclexplode(thing.acl) a
)
SELECT r.rolname::text FROM named JOIN pg_catalog.pg_roles r ON r.oid = named.role ORDER BY 1`

// OwnersThere is an [*OwnersError] where a copy with owners and grants would name roles that green's server has not got.
func OwnersThere(ctx context.Context, blue, green *postgres.DB) error {
	rows, _ := blue.Pool().Query(ctx, rolesQuery) // its error comes up in the rows
	named, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return fmt.Errorf("blue: list owners and grantees: %w", err)
	}
	rows, _ = green.Pool().Query(ctx, `SELECT rolname::text FROM pg_catalog.pg_roles`)
	there, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return fmt.Errorf("green: list the roles: %w", err)
	}
	if missing := slices.DeleteFunc(named, func(role string) bool { return slices.Contains(there, role) }); len(missing) > 0 {
		return &OwnersError{Roles: missing}
	}
	return nil
}

// OwnersError says which roles green's server lacks for a copy with owners and grants.
type OwnersError struct{ Roles []string }

func (e *OwnersError) Error() string {
	return "owners and grants are to be copied (privileges), and green's server has no role " + strings.Join(e.Roles, ", ")
}

// Hint says what can be done.
func (e *OwnersError) Hint() string {
	var all []string
	for _, r := range e.Roles {
		all = append(all, "CREATE ROLE "+pgx.Identifier{r}.Sanitize())
	}
	return "on green's server: " + strings.Join(all, "; ") + "; or leave privileges out, and name the role of green's server (green.role)"
}
