package preflight

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgerrcode"
	"github.com/jackc/pgx/v5"

	"github.com/tideover/tideover/internal/cleanup"
	"github.com/tideover/tideover/internal/postgres"
	"github.com/tideover/tideover/plan"
)

// tablesSQL lists a schema's tables, each with the columns of every unique index that identifies any row: valid, not
// partial, over plain columns that are never null. The primary key's comes first.
const tablesSQL = `
SELECT n.nspname, r.relname, coalesce((
	SELECT jsonb_agg(u.columns ORDER BY NOT u.indisprimary, u.columns::text)
	FROM (
		SELECT i.indisprimary, jsonb_agg(a.attname ORDER BY a.attnum) AS columns
		FROM pg_catalog.pg_index i
		JOIN pg_catalog.pg_attribute a ON a.attrelid = r.oid AND a.attnum = ANY ((i.indkey::int2[])[0:i.indnkeyatts - 1])
		WHERE i.indrelid = r.oid AND i.indisunique AND i.indisvalid AND i.indpred IS NULL AND i.indexprs IS NULL
		GROUP BY i.indexrelid, i.indisprimary HAVING bool_and(a.attnotnull)
	) u), '[]')
FROM pg_catalog.pg_class r JOIN pg_catalog.pg_namespace n ON n.oid = r.relnamespace
WHERE n.nspname = ANY ($1) AND r.relkind IN ('r', 'p') AND NOT r.relispartition ORDER BY 1, 2`

// tables holds the profile against blue's catalog.
func (c *check) tables(ctx context.Context) error {
	rows, err := c.blue.Query(ctx, tablesSQL, c.Profile.Schemas())
	if err != nil {
		return fmt.Errorf("blue: %w", err)
	}
	unique := map[string][][]string{}
	var names []string
	var schema, name string
	var columns [][]string
	if _, err := pgx.ForEachRow(rows, []any{&schema, &name, &columns}, func() error {
		name := c.Profile.Schemas().Called(schema, name)
		unique[name], columns = columns, nil
		names = append(names, name)
		return nil
	}); err != nil {
		return fmt.Errorf("blue: %w", err)
	}
	c.unique = unique
	before := len(c.findings)
	known := slices.Clone(c.Profile.Bookkeeping)
	for _, t := range c.Profile.Tables {
		known = append(known, t.Name)
		keys, there := unique[t.Name]
		switch {
		case !there:
			c.add(Fail, "tables", fmt.Sprintf("the profile names table %q, which blue has not got", t.Name), "is it the profile of this server and version?", 0)
		case !t.Captured():
		case len(keys) == 0:
			c.add(Fail, "keys", fmt.Sprintf("table %q has no key: no primary key, and no unique index over columns that are NOT NULL", t.Name),
				"changes of a row that nothing identifies cannot be replayed: give it its primary key (CREATE UNIQUE INDEX CONCURRENTLY, then ALTER TABLE … ADD PRIMARY KEY USING INDEX), then start again", 0)
		case len(t.Key) > 0 && !slices.ContainsFunc(keys, func(u []string) bool { return subset(u, t.Key) }):
			c.add(Fail, "keys", fmt.Sprintf("table %q: the profile's key (%s) is not unique on blue; unique are %s", t.Name, strings.Join(t.Key, ", "), listed(keys)),
				"name one of those as the table's key: in the profile, or give blue a unique index over the profile's", 0)
		}
	}
	for _, n := range names {
		schema, bare := c.Profile.Schemas().Place(n)
		if place := schema + "." + bare; !slices.Contains(known, n) && !slices.Contains(c.Profile.Others, schema+".*") && !slices.Contains(c.Profile.Others, place) {
			c.add(Warn, "tables", fmt.Sprintf("the profile does not name blue's table %q", n), "it is copied once; changes during the run are not brought over. Name it in the profile if anything writes to it", 0)
		}
	}
	if len(c.findings) == before {
		c.add(OK, "tables", fmt.Sprintf("%d tables, as the profile names them, each with its key", len(names)), "", 0)
	}
	return nil
}

func subset(of, all []string) bool {
	return !slices.ContainsFunc(of, func(s string) bool { return !slices.Contains(all, s) })
}

// quoted are names in the words of a message.
func quoted(names []string) string {
	all := make([]string, len(names))
	for i, n := range names {
		all[i] = strconv.Quote(n)
	}
	return strings.Join(all, ", ")
}

func listed(keys [][]string) string {
	var all []string
	for _, k := range keys {
		all = append(all, "("+strings.Join(k, ", ")+")")
	}
	return strings.Join(all, ", ")
}

// statements has blue prepare the profile's queries of it: parsed and planned, not run.
func (c *check) statements(ctx context.Context) error {
	before := len(c.findings)
	try := func(name, sql string) error {
		if strings.TrimSpace(sql) == "" {
			return nil
		}
		_, err := c.blue.Prepare(ctx, "", sql)
		if err := lost(ctx, err); err != nil {
			return fmt.Errorf("blue: %w", err)
		}
		if err != nil {
			c.add(Fail, "profile-sql", fmt.Sprintf("%s: blue does not understand it: %v", name, err), "mend it in the profile, or use the profile of this version", 0)
		}
		return nil
	}
	for _, v := range c.Profile.Invariants {
		if err := try("invariant "+v.Name, v.Blue); err != nil {
			return err
		}
	}
	if l := c.Profile.Lifetimes; l != nil {
		for name, sql := range map[string]string{"lifetimes.read": l.Read, "lifetimes.longest": l.Longest} {
			if err := try(name, sql); err != nil {
				return err
			}
		}
	}
	for _, r := range c.Profile.Revocations {
		values := map[string]any{}
		for _, k := range slices.Concat(r.Blue.Key, r.Blue.Keep, r.Green.Key, r.Green.Keep, c.columnsOf(r.Blue.Table)) {
			values[k] = nil
		}
		for what, sql := range map[string]string{"apply": r.Blue.Apply, "living": r.Blue.Living} {
			plain, _, err := postgres.Named(sql, values)
			if err != nil {
				c.add(Fail, "profile-sql", fmt.Sprintf("revocation %s: %s: %v", r.Kind, what, err), "name the column in key: or keep:", 0)
				continue
			}
			if err := try("revocation "+r.Kind+": "+what, plain); err != nil {
				return err
			}
		}
	}
	if len(c.findings) == before {
		c.add(OK, "profile-sql", "blue understands the profile's statements", "", 0)
	}
	return nil
}

func (c *check) columnsOf(table string) []string {
	i := slices.IndexFunc(c.Profile.Tables, func(t plan.Table) bool { return t.Name == table })
	if i < 0 {
		return nil
	}
	key := c.Profile.Tables[i].Key
	if keys := c.unique[table]; len(key) == 0 && len(keys) > 0 {
		key = keys[0] // the primary one, by default
	}
	return slices.Concat(key, c.Profile.Tables[i].Keep)
}

// rules counts what each rule of before the migrations would take on blue as it is now.
func (c *check) rules(ctx context.Context) error {
	for _, rule := range c.Profile.Rules {
		if rule.Phase != "before" {
			continue
		}
		name := "rule " + rule.Name
		counted, err := cleanup.New([]plan.Rule{rule}, cleanup.Options{Schemas: c.Profile.Schemas(), Timeout: c.MaxQuery}).Count(ctx, c.blue, "before")
		if err := lost(ctx, err); err != nil {
			return fmt.Errorf("blue: %w", err)
		}
		if postgres.Code(err) == pgerrcode.QueryCanceled {
			c.broken[rule.Name] = true // it is not to slow down the questions about constraints
			c.add(Warn, name, fmt.Sprintf("its rows on blue could not be counted within %s", c.MaxQuery), uncountable, 0)
			continue
		}
		if err != nil {
			c.broken[rule.Name] = true
			c.add(Fail, name, err.Error(), "mend its where in the profile", 0)
			continue
		}
		rows := counted[0].Rows
		verb := "repair"
		if rule.Quarantine {
			verb = "quarantine"
		}
		text := fmt.Sprintf("%d rows to %s", rows, verb)
		if rule.ExpectAtMost != nil && rows > *rule.ExpectAtMost {
			c.add(Fail, name, fmt.Sprintf("%s, at most %d are expected", text, *rule.ExpectAtMost), fmt.Sprintf("look at them; approve_rows: {%s: %d} lets them pass", rule.Name, rows), rows)
			continue
		}
		c.add(OK, name, text, "", rows)
	}
	return nil
}
