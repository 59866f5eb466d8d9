package snapshot

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/tideover/tideover/internal/postgres"
)

// Finished says whether a copy is complete on green. It changes nothing.
func Finished(ctx context.Context, green *postgres.DB) (bool, error) {
	conn, err := connect(ctx, green.Name(), green.DSN())
	if err != nil {
		return false, err
	}
	defer postgres.HangUp(ctx, conn.Conn)
	begun, err := marked(ctx, conn.Conn)
	if err != nil || !begun {
		return false, err
	}
	var finished bool
	if err := conn.QueryRow(ctx, `SELECT EXISTS (SELECT FROM tideover.snapshot WHERE part = 'finished')`).Scan(&finished); err != nil {
		return false, fmt.Errorf("read what is copied: %w", err)
	}
	return finished, nil
}

// emptyQuery finds anything that a person could have put into a database: relations, functions, types and large objects,
// but for those of extensions, the system and us.
const emptyQuery = `
WITH spaces AS (SELECT oid FROM pg_catalog.pg_namespace
	WHERE nspname NOT LIKE 'pg\_%' AND nspname NOT IN ('information_schema', $1))
SELECT NOT EXISTS (SELECT FROM pg_catalog.pg_class c JOIN spaces s ON s.oid = c.relnamespace
		WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.objid = c.oid AND d.deptype = 'e'))
	AND NOT EXISTS (SELECT FROM pg_catalog.pg_proc p JOIN spaces s ON s.oid = p.pronamespace
		WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass AND d.objid = p.oid AND d.deptype = 'e'))
	AND NOT EXISTS (SELECT FROM pg_catalog.pg_type t JOIN spaces s ON s.oid = t.typnamespace WHERE t.typtype IN ('d', 'e', 'r')
		AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.classid = 'pg_catalog.pg_type'::pg_catalog.regclass AND d.objid = t.oid AND d.deptype = 'e'))
	AND NOT EXISTS (SELECT FROM pg_catalog.pg_largeobject_metadata)`

func isEmpty(ctx context.Context, conn *pgx.Conn) (empty bool, err error) {
	if err := conn.QueryRow(ctx, emptyQuery, own).Scan(&empty); err != nil {
		return false, fmt.Errorf("look whether green is empty: %w", err)
	}
	return empty, nil
}

// Empty says whether green has nothing in it but what is ours.
func Empty(ctx context.Context, green *postgres.DB) (bool, error) {
	conn, err := connect(ctx, green.Name(), green.DSN())
	if err != nil {
		return false, err
	}
	defer postgres.HangUp(ctx, conn.Conn)
	return isEmpty(ctx, conn.Conn)
}

// schemasQuery lists all schemas that are not the system's, ours among them.
const schemasQuery = `SELECT nspname FROM pg_catalog.pg_namespace WHERE nspname NOT LIKE 'pg\_%' AND nspname <> 'information_schema' ORDER BY 1`

const extensionsQuery = `SELECT extname FROM pg_catalog.pg_extension WHERE extname <> 'plpgsql' ORDER BY 1`

// Clear takes everything off green that came since a copy began there: all schemas, extensions and large objects, and what
// is ours. The database itself stays, with an empty public schema and an empty schema of the given name. Where no
// copy of ours began it does nothing, so that the undo of a snapshot that was refused cannot touch a database of somebody else's.
func Clear(ctx context.Context, green *postgres.DB, schema string) error {
	conn, err := connect(ctx, green.Name(), green.DSN())
	if err != nil {
		return err
	}
	defer postgres.HangUp(ctx, conn.Conn)
	begun, err := marked(ctx, conn.Conn)
	if err != nil || !begun {
		return err
	}
	err = pgx.BeginFunc(ctx, conn.Conn, func(tx pgx.Tx) error {
		var sql strings.Builder
		for _, q := range []struct{ query, drop string }{{extensionsQuery, "DROP EXTENSION IF EXISTS "}, {schemasQuery, "DROP SCHEMA IF EXISTS "}} {
			rows, err := tx.Query(ctx, q.query)
			if err != nil {
				return err
			}
			names, err := pgx.CollectRows(rows, pgx.RowTo[string])
			if err != nil {
				return err
			}
			for _, n := range names {
				sql.WriteString(q.drop + pgx.Identifier{n}.Sanitize() + " CASCADE;\n")
			}
		}
		sql.WriteString("SELECT pg_catalog.lo_unlink(oid) FROM pg_catalog.pg_largeobject_metadata;\n")
		var version int
		if err := tx.QueryRow(ctx, `SELECT pg_catalog.current_setting('server_version_num')::int`).Scan(&version); err != nil {
			return err
		}
		sql.WriteString(emptyPublic(version))
		if schema != "public" && schema != "" && schema != own {
			sql.WriteString("CREATE SCHEMA " + pgx.Identifier{schema}.Sanitize() + ";\n")
		}
		return script(ctx, conn.Conn, sql.String())
	})
	if err != nil {
		return fmt.Errorf("clear %s: %w", green.Name(), err)
	}
	return nil
}

// emptyPublic makes schema public as initdb does, for a server of that version.
func emptyPublic(version int) string {
	sql := "CREATE SCHEMA public;\nCOMMENT ON SCHEMA public IS 'standard public schema';\n"
	if version < 150000 {
		return sql + "GRANT ALL ON SCHEMA public TO PUBLIC;\n"
	}
	return sql + "ALTER SCHEMA public OWNER TO pg_database_owner;\nGRANT USAGE ON SCHEMA public TO PUBLIC;\n"
}
