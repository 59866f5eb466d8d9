package profilecheck

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/tideover/tideover/plan"
)

// blue looks at the profile's half for the old schema.
func (c *check) blue(ctx context.Context) error {
	for i, t := range c.profile.Tables {
		field := fmt.Sprintf("tables[%d]", i)
		if !c.table(field+".name", t.Name) {
			continue
		}
		c.columns(field+".key", t.Name, t.Key)
		c.columns(field+".keep", t.Name, t.Keep)
		if err := c.statement(ctx, field+".judge", t.Judge, "SELECT (%s)::text", c.parameters(t.Name, c.recorded(t))); err != nil {
			return err
		}
	}
	for i, f := range c.profile.Follow {
		field := fmt.Sprintf("follow[%d]", i)
		if c.table(field+".from", f.From) {
			c.columns(field+".from_columns", f.From, f.FromColumns)
		}
		if c.table(field+".to", f.To) {
			c.columns(field+".to_columns", f.To, f.ToColumns)
		}
	}
	for i, r := range c.profile.Revocations {
		if err := c.revocation(ctx, fmt.Sprintf("revocations[%d].blue", i), r, r.Blue); err != nil {
			return err
		}
	}
	for i, v := range c.profile.Invariants {
		if v.RepairTable != "" {
			c.table(fmt.Sprintf("invariants[%d].repair_table", i), v.RepairTable)
		}
		if err := c.query(ctx, fmt.Sprintf("invariants[%d].blue", i), v.Blue); err != nil {
			return err
		}
	}
	if l := c.profile.Lifetimes; l != nil {
		for _, s := range []struct{ field, sql string }{{"read", l.Read}, {"longest", l.Longest}} {
			if err := c.statement(ctx, "lifetimes."+s.field, s.sql, "", nil); err != nil {
				return err
			}
		}
		if err := c.statement(ctx, "lifetimes.write", l.Write, "", map[string]uint32{"id": pgtype.TextOID, "seconds": pgtype.Int8OID}); err != nil {
			return err
		}
	}
	return c.rules(ctx, "before")
}

// green looks at the profile's half for the new schema.
func (c *check) green(ctx context.Context) error {
	for i, t := range c.profile.Tables {
		if err := c.statement(ctx, fmt.Sprintf("tables[%d].on_delete", i), t.OnDelete, "", c.parameters(t.Name, c.recorded(t))); err != nil {
			return err
		}
	}
	for i, r := range c.profile.Revocations {
		if err := c.revocation(ctx, fmt.Sprintf("revocations[%d].green", i), r, r.Green); err != nil {
			return err
		}
	}
	g := c.profile.Green
	for i, ref := range g.Constants {
		field := fmt.Sprintf("green.constants[%d]", i)
		c.column(field, ref)
		if err := c.statement(ctx, field+".sql", ref.SQL, "SELECT (%s)", nil); err != nil {
			return err
		}
	}
	for i, ref := range g.Volatile {
		c.column(fmt.Sprintf("green.volatile[%d]", i), ref)
	}
	for i, name := range g.Ignore {
		c.table(fmt.Sprintf("green.ignore[%d]", i), name)
	}
	if err := c.query(ctx, "green.living_only", g.LivingOnly); err != nil {
		return err
	}
	for i, v := range c.profile.Invariants {
		if err := c.query(ctx, fmt.Sprintf("invariants[%d].green", i), v.Green); err != nil {
			return err
		}
	}
	h, word := c.profile.HTTP, map[string]uint32{"word": pgtype.TextOID}
	for field, statements := range map[string][]string{"plant": h.Plant, "uproot": h.Uproot} {
		for i, sql := range statements {
			if err := c.statement(ctx, fmt.Sprintf("http.%s[%d]", field, i), sql, "", word); err != nil {
				return err
			}
		}
	}
	for i, a := range h.Answers {
		if err := c.statement(ctx, fmt.Sprintf("http.answers[%d].sql", i), a.SQL, "", nil); err != nil {
			return err
		}
	}
	return c.rules(ctx, "after")
}

func (c *check) column(field string, ref plan.ColumnRef) {
	if !c.table(field+".table", ref.Table) {
		return
	}
	c.Tried++
	if _, ok := c.types[ref.Table][ref.Column]; !ok {
		c.problem(field+".column", suggest(ref.Column, c.types[ref.Table]), "table %q of %s has no column %q", ref.Table, c.db.Name(), ref.Column)
	}
}

// query prepares something that has two columns, key and value.
func (c *check) query(ctx context.Context, field, sql string) error {
	return c.statement(ctx, field, strings.TrimRight(sql, "; \t\r\n"), "SELECT q.key::text, q.value::text FROM (%s) q (key, value)", nil)
}

// revocation looks at one side of a revocation. Its statements know what either side records of it.
func (c *check) revocation(ctx context.Context, field string, r plan.Revocation, side plan.RevocationSide) error {
	if side.Table != "" && c.table(field+".table", side.Table) {
		c.columns(field+".key", side.Table, side.Key)
		c.columns(field+".keep", side.Table, side.Keep)
	}
	names := slices.Concat(r.Blue.Key, r.Blue.Keep, r.Green.Key, r.Green.Keep)
	if t := c.profile.Table(r.Blue.Table); t != nil {
		names = append(names, c.recorded(*t)...)
	}
	parameters := c.parameters(side.Table, names)
	if err := c.statement(ctx, field+".judge", side.Judge, "SELECT (%s)::text", parameters); err != nil {
		return err
	}
	for _, s := range []struct{ field, sql string }{{"apply", side.Apply}, {"living", side.Living}} {
		if err := c.statement(ctx, field+"."+s.field, s.sql, "", parameters); err != nil {
			return err
		}
	}
	return nil
}

// recorded are the columns that a captured change of blue's table has: its key, by default the primary key, and what the
// profile keeps.
func (c *check) recorded(t plan.Table) []string {
	key := t.Key
	if len(key) == 0 {
		key = c.keys[t.Name]
	}
	return slices.Concat(key, t.Keep)
}

// parameters gives names their types: those of the table's columns; 0, which lets Postgres find the type, for others.
func (c *check) parameters(table string, names []string) map[string]uint32 {
	parameters := map[string]uint32{"op": pgtype.TextOID}
	for _, name := range names {
		parameters[name] = c.types[table][name]
	}
	return parameters
}

// rules prepares what the rules of a phase look for and do.
func (c *check) rules(ctx context.Context, phase string) error {
	for i, rule := range c.profile.Rules {
		if rule.Phase != phase {
			continue
		}
		field := fmt.Sprintf("rules[%d]", i)
		if !c.table(field+".table", rule.Table) {
			continue
		}
		from := "SELECT count(*) FROM " + pgx.Identifier{c.schema, rule.Table}.Sanitize() + " t WHERE (%s)"
		if err := c.statement(ctx, field+".where", rule.Where, from, nil); err != nil {
			return err
		}
		for k, fix := range rule.Fix {
			if err := c.statement(ctx, fmt.Sprintf("%s.fix[%d]", field, k), fix, "", nil); err != nil {
				return err
			}
		}
	}
	return nil
}
