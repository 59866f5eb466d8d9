package replay

import (
	"context"
	"fmt"
	"slices"

	"github.com/tideover/tideover/internal/postgres"
	"github.com/tideover/tideover/plan"
)

// A foreign key that blue hasn't got and the migrations make asks for the row that is referred to in each delta, and in each sample:
// it is followed as one of blue's is, and from a row that comes or goes to those that refer to it.

// greenKeys are the foreign keys of a migrated schema, by the names that tables and columns had before. Those with a table or column
// that wasn't there are left out.
func greenKeys(before, after traced, migrated map[string]*relation) (found []edge) {
	tables := make(map[string]string)
	columns := make(map[string]map[string]string)
	for number, now := range after {
		old, ok := before[number]
		if !ok {
			continue
		}
		tables[now.name], columns[now.name] = old.name, make(map[string]string)
		for place, name := range now.columns {
			if was, ok := old.columns[place]; ok {
				columns[now.name][name] = was
			}
		}
	}
	was := func(table string, names []string) (old []string, ok bool) {
		for _, n := range names {
			c, ok := columns[table][n]
			if !ok {
				return nil, false
			}
			old = append(old, c)
		}
		return old, true
	}
	for _, name := range sortedNames(migrated) {
		for _, e := range migrated[name].parents {
			from, known := was(e.from, e.fromColumns)
			to, there := was(e.to, e.toColumns)
			if known && there {
				found = append(found, edge{from: tables[e.from], to: tables[e.to], fromColumns: from, toColumns: to, acts: e.acts, enforced: e.enforced})
			}
		}
	}
	return found
}

// lacks says whether no edge of blue's is like e.
func lacks(edges map[string][]edge, e edge) bool {
	return !slices.ContainsFunc(edges[e.from], func(o edge) bool {
		return o.to == e.to && slices.Equal(o.fromColumns, e.fromColumns) && slices.Equal(o.toColumns, e.toColumns)
	})
}

// followGreen adds the foreign keys of green that blue hasn't got to what is followed.
func (r *Replayer) followGreen(before, after traced) {
	for _, e := range greenKeys(before, after, r.green) {
		r.bound = append(r.bound, e)
		if len(r.keys[e.from]) > 0 && len(r.keys[e.to]) > 0 && lacks(r.edges, e) {
			r.edges[e.from] = append(r.edges[e.from], e)
			r.loose = append(r.loose, e)
		}
	}
}

// MigratedKeys migrates the database at dsn, which has blue's empty schema, and gives the foreign keys that it has then and blue has
// not, as joins of blue's tables.
func MigratedKeys(ctx context.Context, dsn string, p *plan.Profile, m Migrator) (found []plan.Follow, err error) {
	conn, err := postgres.Connect(ctx, "scratch", dsn)
	if err != nil {
		return nil, err
	}
	defer hangUp(ctx, conn)
	schemas := schemasOf(p)
	before, err := trace(ctx, conn, schemas)
	if err != nil {
		return nil, err
	}
	blue, err := catalog(ctx, conn, schemas)
	if err != nil {
		return nil, err
	}
	if err := m.Migrate(ctx, dsn); err != nil {
		return nil, fmt.Errorf("migrate an empty database of blue's schema: %w", err)
	}
	after, err := trace(ctx, conn, schemas)
	if err != nil {
		return nil, err
	}
	green, err := catalog(ctx, conn, schemas)
	if err != nil {
		return nil, err
	}
	edges := make(map[string][]edge)
	for name, rel := range blue {
		edges[name] = rel.parents
	}
	for _, e := range greenKeys(before, after, green) {
		keyed := func(table string) bool {
			t := p.Table(table)
			return len(blue[table].primary) > 0 || t != nil && len(t.Key) > 0
		}
		if lacks(edges, e) && keyed(e.from) && keyed(e.to) {
			found = append(found, plan.Follow{From: e.from, FromColumns: e.fromColumns, To: e.to, ToColumns: e.toColumns})
		}
	}
	return found, nil
}
