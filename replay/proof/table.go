package proof

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/tideover/tideover/internal/postgres"
	"github.com/tideover/tideover/plan"
)

// table is a captured table of the miniature of blue.
type table struct {
	name    string
	ident   string // qualified and quoted
	key     []string
	columns []column // that can be written
}

type column struct {
	name   string
	linked bool // in a foreign key, on either end
	always bool // GENERATED ALWAYS AS IDENTITY
}

const tablesSQL = `
SELECT c.oid::pg_catalog.regclass::pg_catalog.text, n.nspname, c.relname, a.attname,
	EXISTS (SELECT 1 FROM pg_catalog.pg_constraint f WHERE f.contype = 'f'
		AND (f.conrelid = c.oid AND a.attnum = ANY (f.conkey) OR f.confrelid = c.oid AND a.attnum = ANY (f.confkey))),
	a.attidentity = 'a',
	EXISTS (SELECT 1 FROM pg_catalog.pg_index i WHERE i.indrelid = c.oid AND i.indisprimary AND a.attnum = ANY (i.indkey))
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
WHERE n.nspname = ANY ($1) AND c.relkind IN ('r', 'p') AND NOT c.relispartition
ORDER BY n.nspname, c.relname, a.attnum`

const parentsSQL = `
SELECT cn.nspname, child.relname, pn.nspname, parent.relname FROM pg_catalog.pg_constraint f
JOIN pg_catalog.pg_class child ON child.oid = f.conrelid
JOIN pg_catalog.pg_namespace cn ON cn.oid = child.relnamespace
JOIN pg_catalog.pg_class parent ON parent.oid = f.confrelid
JOIN pg_catalog.pg_namespace pn ON pn.oid = parent.relnamespace
WHERE f.contype = 'f' AND f.conparentid = 0 AND cn.nspname = ANY ($1) AND pn.nspname = ANY ($1)`

// tables lists the captured ones, parents first.
func tables(ctx context.Context, db *postgres.DB, p *plan.Profile) ([]table, error) {
	byName := make(map[string]*table)
	primary := make(map[string][]string)
	rows, err := db.Pool().Query(ctx, tablesSQL, p.Schemas())
	if err != nil {
		return nil, fmt.Errorf("list the tables of the sample: %w", err)
	}
	var regclass, nspname, name string
	var c column
	var inKey bool
	_, err = pgx.ForEachRow(rows, []any{&regclass, &nspname, &name, &c.name, &c.linked, &c.always, &inKey}, func() error {
		name := p.Schemas().Called(nspname, name)
		if byName[name] == nil {
			byName[name] = &table{name: name, ident: p.Schemas().Ident(name)}
		}
		byName[name].columns = append(byName[name].columns, c)
		if inKey {
			primary[name] = append(primary[name], c.name)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list the tables of the sample: %w", err)
	}
	parents := make(map[string][]string)
	if rows, err = db.Pool().Query(ctx, parentsSQL, p.Schemas()); err != nil {
		return nil, fmt.Errorf("list the tables of the sample: %w", err)
	}
	var of, child, to, parent string
	if _, err = pgx.ForEachRow(rows, []any{&of, &child, &to, &parent}, func() error {
		child := p.Schemas().Called(of, child)
		parents[child] = append(parents[child], p.Schemas().Called(to, parent))
		return nil
	}); err != nil {
		return nil, fmt.Errorf("list the tables of the sample: %w", err)
	}
	var found []table
	visited := make(map[string]bool)
	var visit func(name string)
	visit = func(name string) {
		if visited[name] {
			return
		}
		visited[name] = true
		for _, up := range parents[name] {
			visit(up)
		}
		t := p.Table(name)
		if t == nil || !t.Captured() || byName[name] == nil {
			return
		}
		byName[name].key = t.Key
		if len(t.Key) == 0 {
			byName[name].key = primary[name]
		}
		found = append(found, *byName[name])
	}
	for _, t := range p.Tables {
		visit(t.Name)
	}
	return found, nil
}

// primaryKey are the columns of a table's primary key. ident is qualified and quoted.
func primaryKey(ctx context.Context, db *postgres.DB, ident string) ([]string, error) {
	const sql = `
SELECT a.attname FROM pg_catalog.pg_index i
JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey)
WHERE i.indisprimary AND i.indrelid = pg_catalog.to_regclass($1)
ORDER BY pg_catalog.array_position(i.indkey::pg_catalog.int2[], a.attnum)`
	rows, err := db.Pool().Query(ctx, sql, ident)
	if err != nil {
		return nil, fmt.Errorf("read the key of %s: %w", ident, err)
	}
	return pgx.CollectRows(rows, pgx.RowTo[string])
}

// list quotes names for a list of columns.
func list(names []string, alias string) string {
	quoted := make([]string, len(names))
	for i, n := range names {
		quoted[i] = alias + pgx.Identifier{n}.Sanitize()
	}
	return strings.Join(quoted, ", ")
}

// row is the condition of one row: the nth in the order of the key, counted round and round.
func (t table) row(alias string, n int) string {
	return fmt.Sprintf("ROW(%s)::record OPERATOR(pg_catalog.*=) (SELECT ROW(%s)::record FROM %s ORDER BY %[2]s LIMIT 1 OFFSET %[4]d %% greatest(1, (SELECT pg_catalog.count(*) FROM %[3]s)))", list(t.key, alias), list(t.key, ""), t.ident, n)
}

func (t table) writable() []string {
	names := make([]string, len(t.columns))
	for i, c := range t.columns {
		names[i] = c.name
	}
	return names
}

func (t table) inKey(name string) bool { return slices.Contains(t.key, name) }
