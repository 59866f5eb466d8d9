package proof

import (
	"context"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// Deeds are done as a server does them: by statements, each a transaction of its own, with blue's triggers, rules and
// constraints at work. One that blue itself refuses shows nothing and is passed over.

// update writes every row as it is, and then one column after the other otherwise: NULL where it may be, and other
// letters where it has letters.
func (p *proof) update(ctx context.Context, conn *pgx.Conn) error {
	for _, t := range p.tables {
		taken, err := p.done(ctx, conn, fmt.Sprintf("UPDATE %s SET %s = %[2]s", t.ident, list(t.key[:1], "")))
		if err != nil {
			return err
		}
		for i, c := range t.columns {
			if c.linked || c.always || t.inKey(c.name) {
				continue
			}
			name := list([]string{c.name}, "")
			var values []string
			if c.text {
				values = append(values, "pg_catalog.upper("+name+"::pg_catalog.text)")
			}
			if c.null {
				values = append(values, "NULL")
			}
			for j, v := range values {
				ok, err := p.done(ctx, conn, fmt.Sprintf("UPDATE %s SET %s = %s WHERE %s", t.ident, name, v, t.row(i+j)))
				if err != nil {
					return err
				}
				taken = taken || ok
			}
		}
		p.note(t, "update", taken)
	}
	return nil
}

// delete takes a row out of each table, children first. What a cascade takes along goes with it.
func (p *proof) delete(ctx context.Context, conn *pgx.Conn) error {
	for i, t := range p.tables {
		if _, err := conn.Exec(ctx, "CREATE TABLE "+saved(i)+" AS SELECT "+list(t.writable(), "")+" FROM "+t.ident); err != nil {
			return err
		}
	}
	for _, t := range slices.Backward(p.tables) {
		taken, err := p.done(ctx, conn, fmt.Sprintf("DELETE FROM %s WHERE %s", t.ident, t.row(0)))
		if err != nil {
			return err
		}
		p.note(t, "delete", taken)
	}
	return nil
}

// insert writes again what delete took.
func (p *proof) insert(ctx context.Context, conn *pgx.Conn) error {
	for i, t := range p.tables {
		taken, err := p.done(ctx, conn, fmt.Sprintf("INSERT INTO %[1]s (%[2]s) OVERRIDING SYSTEM VALUE SELECT %[2]s FROM %[3]s s WHERE NOT EXISTS (SELECT 1 FROM %[1]s t WHERE (%[4]s) = (%[5]s))",
			t.ident, list(t.writable(), ""), saved(i), list(t.key, "t."), list(t.key, "s.")))
		if err != nil {
			return err
		}
		p.note(t, "insert", taken)
		if _, err := conn.Exec(ctx, "DROP TABLE "+saved(i)); err != nil {
			return err
		}
	}
	return nil
}

// saved is a table of ours for what delete takes. It outlives the connection, and stands where no copy looks.
func saved(i int) string { return fmt.Sprintf("tideover.saved_%d", i) }

// done runs a statement and says whether blue took it and it changed rows.
func (p *proof) done(ctx context.Context, conn *pgx.Conn, sql string) (bool, error) {
	tag, err := conn.Exec(ctx, sql)
	if refused(err) {
		return false, nil
	}
	return err == nil && tag.RowsAffected() > 0, err
}

// refused says whether the server answered with an error, rather than not at all.
func refused(err error) bool {
	var answer *pgconn.PgError
	return asAnswer(err, &answer) && answer.Severity == "ERROR"
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
