package proof

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgerrcode"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// Deeds are done as a server does them: by statements, each a transaction of its own, with blue's triggers, rules and
// constraints at work. One that blue itself refuses shows nothing and is passed over.

// rewrite writes every row as it is.
func (p *proof) rewrite(ctx context.Context, conn *pgx.Conn) error {
	for _, t := range p.tables {
		taken, err := p.done(ctx, conn, fmt.Sprintf("UPDATE %s SET %s = %[2]s", t.ident, list(t.key[:1], "")))
		if err != nil {
			return err
		}
		p.note(t, "update", taken)
	}
	return nil
}

// swap has two rows of a table change what they have in one column after the other: values, NULL too, that the migrations have to
// take, since blue has them, and each as often as before.
func (p *proof) swap(ctx context.Context, conn *pgx.Conn, t table) error {
	for n, c := range t.columns {
		if c.linked || c.always || t.inKey(c.name) {
			continue
		}
		if _, err := p.done(ctx, conn, fmt.Sprintf("UPDATE %[1]s t SET %[2]s = o.%[2]s FROM %[1]s o WHERE (%[3]s AND %[4]s OR %[5]s AND %[6]s) AND t.%[2]s::pg_catalog.text IS DISTINCT FROM o.%[2]s::pg_catalog.text",
			t.ident, list([]string{c.name}, ""), t.row("t.", n), t.row("o.", n+1), t.row("t.", n+1), t.row("o.", n))); err != nil {
			return err
		}
	}
	return nil
}

// holdBack takes rows out of old before it is migrated: the second of each table, and what a cascade takes along. They come
// as new ones later. The sample is kept in tables of ours, where no copy looks.
func (p *proof) holdBack(ctx context.Context, conn *pgx.Conn) error {
	if _, err := conn.Exec(ctx, "CREATE SCHEMA IF NOT EXISTS tideover"); err != nil {
		return err
	}
	for i, t := range p.tables {
		if _, err := conn.Exec(ctx, "CREATE TABLE "+saved(i)+" AS SELECT "+list(t.writable(), "")+" FROM "+t.ident); err != nil {
			return err
		}
	}
	for _, t := range slices.Backward(p.tables) {
		if p.rows[t.name] < 2 {
			continue
		}
		if err := p.unbind(ctx, conn, t, 1); err != nil {
			return err
		}
		if _, err := p.done(ctx, conn, fmt.Sprintf("DELETE FROM %s WHERE %s", t.ident, t.row("", 1))); err != nil {
			return err
		}
	}
	return nil
}

// insert writes what was held back, row by row: one that blue does not take, since it was there before a constraint, stays
// away.
func (p *proof) insert(ctx context.Context, conn *pgx.Conn) error {
	for i, t := range p.tables {
		missing := fmt.Sprintf("FROM %s s WHERE NOT EXISTS (SELECT 1 FROM %s t WHERE ROW(%s)::record OPERATOR(pg_catalog.*=) ROW(%s)::record)", saved(i), t.ident, list(t.key, "t."), list(t.key, "s."))
		rows, err := conn.Query(ctx, "SELECT s.ctid::pg_catalog.text "+missing)
		if err != nil {
			return err
		}
		places, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			return err
		}
		taken := false
		for _, place := range places {
			ok, err := p.done(ctx, conn, fmt.Sprintf("INSERT INTO %s (%s) OVERRIDING SYSTEM VALUE SELECT %[2]s FROM %s WHERE ctid = '%s'", t.ident, list(t.writable(), ""), saved(i), place))
			if err != nil {
				return err
			}
			taken = taken || ok
		}
		if p.rows[t.name] == 1 {
			p.untried("table %s: it has one row, so that no insert was tried", t.name)
		} else {
			p.note(t, "insert", taken)
		}
	}
	return nil
}

// saved is a table for the sample of the ith table.
func saved(i int) string { return fmt.Sprintf("tideover.saved_%d", i) }

// delete takes a row out of each table, children first. What a cascade takes along goes with it.
func (p *proof) delete(ctx context.Context, conn *pgx.Conn) error {
	for _, t := range slices.Backward(p.tables) {
		if err := p.unbind(ctx, conn, t, 0); err != nil {
			return err
		}
		taken, err := p.done(ctx, conn, fmt.Sprintf("DELETE FROM %s WHERE %s", t.ident, t.row("", 0)))
		if err != nil {
			return err
		}
		p.note(t, "delete", taken)
	}
	return nil
}

// unbind deletes what refers to the nth row of a table by a foreign key that only the migrations make: without it they would fail.
func (p *proof) unbind(ctx context.Context, conn *pgx.Conn, t table, n int) error {
	for _, f := range p.bound {
		i := slices.IndexFunc(p.tables, func(o table) bool { return o.name == f.From })
		if f.To != t.name || i < 0 || f.From == f.To {
			continue
		}
		join := make([]string, len(f.FromColumns))
		for k, c := range f.FromColumns {
			join[k] = "c." + list([]string{c}, "") + "::pg_catalog.text = t." + list([]string{f.ToColumns[k]}, "") + "::pg_catalog.text"
		}
		if _, err := p.done(ctx, conn, fmt.Sprintf("DELETE FROM %s c USING %s t WHERE %s AND %s", p.tables[i].ident, t.ident, strings.Join(join, " AND "), t.row("t.", n))); err != nil {
			return err
		}
	}
	return nil
}

// done runs a statement and says whether blue took it and it changed rows.
func (p *proof) done(ctx context.Context, conn *pgx.Conn, sql string) (bool, error) {
	tag, err := conn.Exec(ctx, sql)
	if refused(err) {
		return false, nil
	}
	return err == nil && tag.RowsAffected() > 0, err
}

// refused says whether the server answered with an error, rather than not at all. A statement of ours that is wrong in itself
// is none: where blue's own code is wrong, the answer says where.
func refused(err error) bool {
	var answer *pgconn.PgError
	if !asAnswer(err, &answer) || answer.Severity != "ERROR" {
		return false
	}
	return answer.Where != "" || !pgerrcode.IsSyntaxErrororAccessRuleViolation(answer.Code) || answer.Code == pgerrcode.GeneratedAlways
}

// note remembers a table whose sampled rows blue let no deed change. One without rows is known already.
func (p *proof) note(t table, deed string, taken bool) {
	if !taken && p.rows[t.name] > 0 {
		p.untried("table %s: blue takes no %s of a sampled row", t.name, deed)
	}
}

func (p *proof) untried(format string, args ...any) {
	p.report.Untried = append(p.report.Untried, fmt.Sprintf(format, args...))
}
