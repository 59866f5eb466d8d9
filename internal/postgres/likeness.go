package postgres

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgerrcode"
	"github.com/jackc/pgx/v5"
)

// Likeness is what a database has of its own that says what SQL means in it: its locale, and the settings that it gives to sessions. A
// database that is migrated in its place must have the same, or lower('Ä') and '2024-03-04 10:00'::timestamptz are other values there.
type Likeness struct {
	options  string   // of CREATE DATABASE
	settings []string // what stands behind SET, for every role
	own      []string // the same, for our role alone
}

// localeSQL lists what CREATE DATABASE says of the session's database. The columns have other names in other versions.
const localeSQL = `
SELECT pg_catalog.concat(pg_catalog.format('ENCODING %L LC_COLLATE %L LC_CTYPE %L', pg_catalog.pg_encoding_to_char(d.encoding), d.datcollate, d.datctype),
	CASE j ->> 'datlocprovider' WHEN 'i' THEN pg_catalog.format(' LOCALE_PROVIDER icu ICU_LOCALE %L', coalesce(j ->> 'datlocale', j ->> 'daticulocale'))
		WHEN 'b' THEN pg_catalog.format(' LOCALE_PROVIDER builtin BUILTIN_LOCALE %L', j ->> 'datlocale') END,
	' ICU_RULES ' || pg_catalog.quote_literal(nullif(j ->> 'daticurules', '')))
FROM pg_catalog.pg_database d, LATERAL (SELECT pg_catalog.to_jsonb(d) AS j) j
WHERE d.datname = pg_catalog.current_database()`

// databaseSettingsSQL lists what the session's database sets. A value that is a list of names is quoted in itself already. Who acts, and
// whether anything may be written, is not what SQL means.
const databaseSettingsSQL = `
SELECT s.setrole <> 0, pg_catalog.concat(pg_catalog.quote_ident(v.name), ' = ',
	CASE WHEN v.name = ANY (ARRAY['search_path', 'temp_tablespaces', 'session_preload_libraries', 'local_preload_libraries'])
		THEN CASE WHEN v.value IN ('', '""') THEN '''''' ELSE v.value END ELSE pg_catalog.quote_literal(v.value) END)
FROM pg_catalog.pg_db_role_setting s, LATERAL pg_catalog.unnest(s.setconfig) c,
	LATERAL (SELECT pg_catalog.split_part(c, '=', 1) AS name, pg_catalog.substr(c, pg_catalog.strpos(c, '=') + 1) AS value) v
WHERE s.setdatabase = (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database())
	AND s.setrole IN (0, (SELECT oid FROM pg_catalog.pg_roles WHERE rolname = current_user))
	AND v.name <> ALL (ARRAY['role', 'session_authorization', 'default_transaction_read_only', 'transaction_read_only'])
ORDER BY 1, 2`

// LikenessOf reads that of the session's database.
func LikenessOf(ctx context.Context, conn Queryer) (l Likeness, err error) {
	locale, _ := conn.Query(ctx, localeSQL) // its error comes up in the rows
	if l.options, err = pgx.CollectExactlyOneRow(locale, pgx.RowTo[string]); err != nil {
		return l, fmt.Errorf("ask for the database's locale: %w", err)
	}
	rows, _ := conn.Query(ctx, databaseSettingsSQL) // its error comes up in the rows
	var ours bool
	var setting string
	if _, err = pgx.ForEachRow(rows, []any{&ours, &setting}, func() error {
		if ours {
			l.own = append(l.own, setting)
		} else {
			l.settings = append(l.settings, setting)
		}
		return nil
	}); err != nil {
		return l, fmt.Errorf("ask what the database sets: %w", err)
	}
	return l, nil
}

// Create makes a database that is like it, of a template ("": none).
func (l Likeness) Create(ctx context.Context, conn Execer, name, template string) error {
	of := " TEMPLATE template0 " + l.options
	if template != "" {
		of = " TEMPLATE " + pgx.Identifier{template}.Sanitize()
	}
	database := pgx.Identifier{name}.Sanitize()
	if _, err := conn.Exec(ctx, "CREATE DATABASE "+database+of); err != nil {
		return err
	}
	var all []string
	for _, s := range l.settings {
		all = append(all, "ALTER DATABASE "+database+" SET "+s)
	}
	for _, s := range l.own {
		all = append(all, "ALTER ROLE CURRENT_USER IN DATABASE "+database+" SET "+s)
	}
	if len(all) == 0 {
		return nil
	}
	_, err := conn.Exec(ctx, strings.Join(all, "; "), pgx.QueryExecModeSimpleProtocol)
	if Code(err) != pgerrcode.InsufficientPrivilege {
		return err
	}
	for _, sql := range all { // what only a superuser may set is nothing that says what SQL means
		if _, err := conn.Exec(ctx, sql); err != nil && Code(err) != pgerrcode.InsufficientPrivilege {
			return err
		}
	}
	return nil
}
