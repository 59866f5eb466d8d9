package migrate

import (
	"context"
	"fmt"

	"github.com/tideover/tideover/internal/postgres"
	"github.com/tideover/tideover/sqlrewrite"
)

// Lineage reads what the migrations that the database at dsn has yet to take make of one row by way of others. It changes nothing.
func (g *Goose) Lineage(ctx context.Context, dsn string) (sqlrewrite.Lineage, error) {
	files, err := g.wanted()
	if err != nil {
		return sqlrewrite.Lineage{}, err
	}
	conn, err := g.connect(ctx, dsn)
	if err != nil {
		return sqlrewrite.Lineage{}, err
	}
	defer postgres.HangUp(ctx, conn)
	done, err := g.recorded(ctx, conn)
	if err != nil {
		return sqlrewrite.Lineage{}, err
	}
	if files, err = g.pending(files, done); err != nil {
		return sqlrewrite.Lineage{}, err
	}
	source := g.scripts
	if source == nil {
		if source, err = sqlrewrite.ReadFolder(sqlOnly{g.fsys}, sqlrewrite.GooseFormat); err != nil {
			return sqlrewrite.Lineage{}, fmt.Errorf("read the migrations: %w", err)
		}
	}
	scripts := map[int64]*sqlrewrite.Script{}
	for _, s := range source.Scripts {
		if v, err := sqlrewrite.Version(s.Target()); err == nil {
			scripts[v] = s
		}
	}
	var list []*sqlrewrite.Script
	var unread []sqlrewrite.Unread
	for _, f := range files {
		if s := scripts[f.version]; s != nil {
			list = append(list, s)
			continue
		}
		unread = append(unread, sqlrewrite.Unread{Place: sqlrewrite.Place{File: f.name, Line: 1}, Why: "the file is no SQL that can be read"})
	}
	l := sqlrewrite.LineageOf(list, g.schema)
	l.Unread = append(l.Unread, unread...)
	return l, nil
}
