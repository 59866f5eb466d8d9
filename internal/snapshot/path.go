package snapshot

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/tideover/tideover/internal/postgres"
)

// pathQuery puts together in which schemas blue's own sessions look names up: what is set for the roles that own its tables, for
// the database, and for the server.
const pathQuery = `
WITH here AS (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database()),
owners AS (SELECT DISTINCT c.relowner AS oid FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
	WHERE c.relkind IN ('r', 'p') AND n.nspname NOT LIKE 'pg\_%' AND n.nspname NOT IN ('information_schema', $1)),
paths AS (
	SELECT 1 AS rank, s.setdatabase, r.rolname, pg_catalog.substr(c, pg_catalog.length('search_path=') + 1) AS path
	FROM pg_catalog.pg_db_role_setting s JOIN pg_catalog.pg_roles r ON r.oid = s.setrole, pg_catalog.unnest(s.setconfig) c
	WHERE s.setrole IN (SELECT oid FROM owners) AND s.setdatabase IN (0, (SELECT oid FROM here)) AND c LIKE 'search\_path=%'
	UNION ALL SELECT 2, s.setdatabase, '', pg_catalog.substr(c, pg_catalog.length('search_path=') + 1)
	FROM pg_catalog.pg_db_role_setting s, pg_catalog.unnest(s.setconfig) c
	WHERE s.setrole = 0 AND s.setdatabase = (SELECT oid FROM here) AND c LIKE 'search\_path=%'
	UNION ALL SELECT 3, 0, '', reset_val FROM pg_catalog.pg_settings WHERE name = 'search_path'
	UNION ALL SELECT 4, 0, r.rolname, '"$user"' FROM owners o JOIN pg_catalog.pg_roles r ON r.oid = o.oid
)
SELECT coalesce(pg_catalog.string_agg(CASE WHEN rolname = '' THEN path ELSE pg_catalog.replace(path, '"$user"', pg_catalog.quote_ident(rolname)) END, ', '
	ORDER BY rank, setdatabase DESC, rolname), '') FROM paths WHERE path <> ''`

// pathOf is the search_path with which blue's functions find what they name without a schema. It is for what a copy has green
// work out: generated columns, checks, expression indexes and materialized views. The profile's schema ("": public) ends it. The
// error is a [*postgres.ShadowError] where something there would be taken for the system's: on green it would be ours.
func pathOf(ctx context.Context, blue *pgx.Conn, schema string) (path string, err error) {
	if err := postgres.Unshadowed(ctx, blue, "blue", schema); err != nil {
		return "", err
	}
	if err := blue.QueryRow(ctx, pathQuery, own).Scan(&path); err != nil {
		return "", fmt.Errorf("look for blue's search path: %w", err)
	}
	if path != "" {
		path += ", "
	}
	return path + postgres.CreatingPath(schema), nil
}

// setPath is the statement that sets a path for the session.
func setPath(path string) string {
	return "SELECT pg_catalog.set_config('search_path', " + postgres.Literal(path) + ", false);\n"
}

// within gives a script of pg_dump's or pg_restore's another path. They write all names out and take the path away; but what an
// index or a materialized view calls names things as its author did.
func within(script, path string) string {
	return strings.Replace(script, "SELECT pg_catalog.set_config('search_path', '', false);\n", setPath(path), 1)
}
