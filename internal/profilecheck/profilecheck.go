// Package profilecheck tries a profile against live databases, read-only: whether every table and column that it names
// is there, and whether every statement in it can be prepared. Postgres parses and plans a prepared statement without
// running it; what a statement means is for a rehearsal to show.
package profilecheck

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/tideover/tideover/internal/cleanup"
	"github.com/tideover/tideover/internal/postgres"
	"github.com/tideover/tideover/plan"
)

// Result is what was found.
type Result struct {
	Tried    int         // tables, columns and statements
	Problems plan.Errors // in the order of the file
}

// Check tries the profile on blue and green; either may be nil, and its half of the profile is then not looked at. Green
// has the new schema: it is migrated. The error is for what kept it from looking.
func Check(ctx context.Context, blue, green *postgres.DB, p *plan.Profile) (Result, error) {
	c := &check{profile: p, schema: p.Schema}
	if blue != nil {
		if err := c.on(ctx, blue, c.blue); err != nil {
			return c.Result, err
		}
	}
	if green != nil {
		if err := c.on(ctx, green, c.green); err != nil {
			return c.Result, err
		}
	}
	c.Problems.Sort()
	return c.Result, nil
}

type check struct {
	Result
	profile *plan.Profile
	schema  string

	db    *postgres.DB
	conn  *pgx.Conn
	types map[string]map[string]uint32 // of the side that is looked at: table → column → type's oid
	keys  map[string][]string          // blue's primary keys, once it was looked at
}

// on opens a read-only session of a side and looks.
func (c *check) on(ctx context.Context, db *postgres.DB, look func(context.Context) error) error {
	conn, err := db.ConnectAs(ctx, "profile check")
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	c.db, c.conn = db, conn
	if err := cleanup.Provide(ctx, conn); err != nil {
		return fmt.Errorf("%s: %w", db.Name(), err)
	}
	path := pgx.Identifier{c.schema}.Sanitize()
	if _, err := conn.Exec(ctx, `SET default_transaction_read_only = on; SET statement_timeout = '1min'; SET search_path = `+postgres.Path(c.schema), pgx.QueryExecModeSimpleProtocol); err != nil {
		return fmt.Errorf("%s: %w", db.Name(), err)
	}
	shadows, err := postgres.Shadows(ctx, conn, c.schema)
	if err != nil {
		return fmt.Errorf("%s: %w", db.Name(), err)
	}
	for _, s := range shadows {
		c.problem("schema", "drop it, and REVOKE CREATE ON SCHEMA "+path+" FROM PUBLIC, or no statement of the profile is run there",
			"on %s, %s of role %q could be taken for pg_catalog's where a statement of the profile names that", db.Name(), s.Object, s.Owner)
	}
	if c.types, err = columns(ctx, conn, c.profile); err != nil {
		return fmt.Errorf("%s: %w", db.Name(), err)
	}
	if c.keys == nil {
		if c.keys, err = primaryKeys(ctx, conn, c.profile); err != nil {
			return fmt.Errorf("%s: %w", db.Name(), err)
		}
	}
	return look(ctx)
}

const columnsSQL = `
SELECT n.nspname, c.relname, a.attname, a.atttypid
FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_class c ON c.oid = a.attrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = ANY ($1) AND c.relkind IN ('r', 'p') AND a.attnum > 0 AND NOT a.attisdropped`

func columns(ctx context.Context, conn *pgx.Conn, p *plan.Profile) (map[string]map[string]uint32, error) {
	rows, err := conn.Query(ctx, columnsSQL, p.Schemas())
	if err != nil {
		return nil, err
	}
	types := map[string]map[string]uint32{}
	var schema, table, column string
	var oid uint32
	_, err = pgx.ForEachRow(rows, []any{&schema, &table, &column, &oid}, func() error {
		table := p.Schemas().Called(schema, table)
		if types[table] == nil {
			types[table] = map[string]uint32{}
		}
		types[table][column] = oid
		return nil
	})
	return types, err
}

const primaryKeysSQL = `
SELECT n.nspname, c.relname, array_agg(a.attname::text)
FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class c ON c.oid = i.indrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum = ANY (i.indkey)
WHERE n.nspname = ANY ($1) AND i.indisprimary GROUP BY n.nspname, c.relname`

func primaryKeys(ctx context.Context, conn *pgx.Conn, p *plan.Profile) (map[string][]string, error) {
	rows, err := conn.Query(ctx, primaryKeysSQL, p.Schemas())
	if err != nil {
		return nil, err
	}
	keys := map[string][]string{}
	var schema, table string
	var columns []string
	_, err = pgx.ForEachRow(rows, []any{&schema, &table, &columns}, func() error {
		keys[p.Schemas().Called(schema, table)], columns = columns, nil
		return nil
	})
	return keys, err
}

// problem adds one, at its place in the file.
func (c *check) problem(field, way, format string, args ...any) {
	c.Problems = append(c.Problems, c.profile.At(field, fmt.Sprintf(format, args...), way))
}

// table looks for a table and says whether it is there.
func (c *check) table(field, name string) bool {
	c.Tried++
	if _, ok := c.types[name]; ok {
		return true
	}
	c.problem(field, suggest(name, c.types), "%s has no table %q in schema %q", c.db.Name(), name, c.schema)
	return false
}

// columns looks for columns of a table that is there.
func (c *check) columns(field, table string, names []string) {
	for i, name := range names {
		c.Tried++
		if _, ok := c.types[table][name]; !ok {
			c.problem(fmt.Sprintf("%s[%d]", field, i), suggest(name, c.types[table]), "table %q of %s has no column %q", table, c.db.Name(), name)
		}
	}
}

// statement has the side prepare SQL whose :name parameters have the types of the columns that they stand for.
func (c *check) statement(ctx context.Context, field, sql, form string, parameters map[string]uint32) error {
	if strings.TrimSpace(sql) == "" {
		return nil
	}
	c.Tried++
	known := make(map[string]any, len(parameters))
	for name, oid := range parameters {
		known[name] = oid
	}
	plain, values, err := postgres.Named(sql, known)
	if err != nil {
		c.problem(field, "parameters here: "+list(parameters), "%v", err)
		return nil
	}
	oids := make([]uint32, len(values))
	for i, v := range values {
		oids[i] = v.(uint32)
	}
	if form != "" {
		plain = strings.ReplaceAll(form, "%s", plain+"\n")
	}
	_, err = c.conn.PgConn().Prepare(ctx, "", plain, oids)
	switch {
	case err == nil:
		return nil
	case postgres.Code(err) == "": // the connection, or ctx
		return fmt.Errorf("%s: %s: %w", c.db.Name(), field, err)
	}
	c.problem(field, "mend the statement, or use the profile of this server's version", "%s does not understand it: %v", c.db.Name(), err)
	return nil
}

func list[V any](m map[string]V) string {
	var names []string
	for n := range m {
		names = append(names, n)
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}

func suggest[V any](name string, among map[string]V) string {
	if len(among) == 0 {
		return "is it the profile of this server and version, and its schema?"
	}
	return "there are: " + list(among)
}
