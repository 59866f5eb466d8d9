package postgres

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
)

// Path is the search_path of SQL that is a profile's or the server's: pg_catalog first, then a schema of the server's ("": public),
// temporary objects last, so that nothing there is taken for the system's of the same name (Postgres manual 5.9.3).
func Path(schema string) string { return "pg_catalog, " + ident(schema) + ", pg_temp" }

// CreatingPath is Path for SQL that makes things by bare names, as migrations do: what it makes comes into the schema. What is
// found is the same, since pg_catalog comes first where it is not named.
func CreatingPath(schema string) string { return ident(schema) + ", pg_temp" }

func ident(schema string) string {
	if schema == "" {
		schema = "public"
	}
	return pgx.Identifier{schema}.Sanitize()
}

// foreignRolesSQL are the roles whose code our session does not trust: all but superusers, ourselves and, where we are no superuser,
// the roles that we are a member of.
const foreignRolesSQL = `us AS (SELECT oid, rolsuper FROM pg_catalog.pg_roles WHERE rolname OPERATOR(pg_catalog.=) CURRENT_USER),
foreign_roles AS (
	SELECT r.oid, r.rolname FROM pg_catalog.pg_roles r, us
	WHERE NOT r.rolsuper AND r.oid OPERATOR(pg_catalog.<>) us.oid AND (us.rolsuper OR NOT pg_catalog.pg_has_role(r.oid, 'MEMBER'))
)`

// shadowsSQL lists the functions and operators of some schemas ($1) that could be taken for pg_catalog's of that name, or for one of a
// role that our session trusts in the same schema, and belong to a role that it does not trust. The order of a path is no help: of
// two operators with the operands' types and almost those types the exact one is taken, wherever it stands (manual 10.2).
const shadowsSQL = `
WITH ` + foreignRolesSQL + `
SELECT pg_catalog.format('function %I.%I(%s)', n.nspname, f.proname, pg_catalog.oidvectortypes(f.proargtypes)), r.rolname::pg_catalog.text
FROM pg_catalog.pg_proc f JOIN foreign_roles r ON r.oid OPERATOR(pg_catalog.=) f.proowner JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) f.pronamespace
WHERE n.nspname OPERATOR(pg_catalog.=) ANY ($1::pg_catalog.name[]) AND EXISTS (SELECT FROM pg_catalog.pg_proc s
	WHERE s.proname OPERATOR(pg_catalog.=) f.proname AND (s.pronamespace OPERATOR(pg_catalog.=) 'pg_catalog'::pg_catalog.regnamespace
		OR s.pronamespace OPERATOR(pg_catalog.=) f.pronamespace AND NOT EXISTS (SELECT FROM foreign_roles t WHERE t.oid OPERATOR(pg_catalog.=) s.proowner)))
UNION ALL
SELECT pg_catalog.format('operator %I.%s(%s, %s)', n.nspname, o.oprname, pg_catalog.format_type(o.oprleft, NULL), pg_catalog.format_type(o.oprright, NULL)), r.rolname::pg_catalog.text
FROM pg_catalog.pg_operator o JOIN foreign_roles r ON r.oid OPERATOR(pg_catalog.=) o.oprowner JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) o.oprnamespace
WHERE n.nspname OPERATOR(pg_catalog.=) ANY ($1::pg_catalog.name[]) AND EXISTS (SELECT FROM pg_catalog.pg_operator s
	WHERE s.oprname OPERATOR(pg_catalog.=) o.oprname AND (s.oprnamespace OPERATOR(pg_catalog.=) 'pg_catalog'::pg_catalog.regnamespace
		OR s.oprnamespace OPERATOR(pg_catalog.=) o.oprnamespace AND NOT EXISTS (SELECT FROM foreign_roles t WHERE t.oid OPERATOR(pg_catalog.=) s.oprowner)))
ORDER BY 1`

// Shadow is a function or an operator that could be taken for one that is trusted.
type Shadow struct{ Object, Owner string }

// Queryer is a connection, a pool or a transaction.
type Queryer interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
}

// Shadows lists what could be taken for pg_catalog's, or for a trusted role's, where names are also looked up in some schemas, and
// belongs to a role that the session does not trust.
func Shadows(ctx context.Context, q Queryer, schemas ...string) ([]Shadow, error) {
	rows, _ := q.Query(ctx, shadowsSQL, schemas) // its error comes up in the rows
	found, err := pgx.CollectRows(rows, pgx.RowToStructByPos[Shadow])
	if err != nil {
		return nil, fmt.Errorf("look for what could be taken for the system's functions and operators: %w", err)
	}
	return found, nil
}

// Unshadowed returns a [*ShadowError] where something in a schema ("": public) could be taken for pg_catalog's. SQL that looks names up
// there is run behind it, by sessions that have rights which the owner of such a thing may not have.
func Unshadowed(ctx context.Context, q Queryer, side, schema string) error {
	if schema == "" {
		schema = "public"
	}
	found, err := Shadows(ctx, q, schema)
	if err != nil || len(found) == 0 {
		return err
	}
	return &ShadowError{Side: side, Found: found}
}

// ShadowError says that SQL with names to be looked up was not run.
type ShadowError struct {
	Side  string
	Found []Shadow
}

func (e *ShadowError) Error() string {
	var all []string
	for _, s := range e.Found {
		all = append(all, fmt.Sprintf("%s of role %q", s.Object, s.Owner))
	}
	return fmt.Sprintf("%s: %s could be taken for the system's or the owner's of that name, and would run with our rights", e.Side, strings.Join(all, ", "))
}

// Hint says what can be done.
func (e *ShadowError) Hint() string {
	return "DROP it, or move it into a schema in which nothing is looked up; then keep others out: REVOKE CREATE ON SCHEMA … FROM PUBLIC"
}

// UseSchema makes the names of a profile's SQL mean those of a schema, until the end of tx. The error is a [*ShadowError] where that
// would let something of a role's in that we don't trust.
func UseSchema(ctx context.Context, tx pgx.Tx, side, schema string) error {
	if err := Unshadowed(ctx, tx, side, schema); err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, `SELECT pg_catalog.set_config('search_path', $1, true)`, Path(schema)); err != nil {
		return fmt.Errorf("%s: set the search path: %w", side, err)
	}
	return nil
}

// InSchema runs SQL of a profile: f has a transaction in which unqualified names mean what is in a schema of the server's
// ("": public). Its clock is in the server's time zone, for SQL that puts now() into a timestamp without one.
func (d *DB) InSchema(ctx context.Context, schema string, f func(tx pgx.Tx) error) error {
	return pgx.BeginFunc(ctx, d.pool, func(tx pgx.Tx) error {
		if err := UseSchema(ctx, tx, d.name, schema); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `SET LOCAL TimeZone TO DEFAULT`); err != nil {
			return fmt.Errorf("%s: set the time zone: %w", d.name, err)
		}
		return f(tx)
	})
}
