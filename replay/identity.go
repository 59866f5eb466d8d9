package replay

import (
	"context"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/tideover/tideover/internal/snapshot"
	"github.com/tideover/tideover/sqlrewrite"
)

// home is where the rows of one table of blue live on green: its table there, and the columns that blue's key columns
// became. Deletes go there, and whatever holds blue's rows against green's.
type home struct {
	table string
	key   []string // in the order of blue's key
}

// traced are the tables of a database by their object number, as far as they can be told from one another by it: a rename
// of a table keeps its number, a rename of a column keeps its place, and a change of type keeps both (Postgres manual
// 53.11 pg_class, 53.7 pg_attribute). A name, on the other hand, says nothing: a migration may give it to something else.
type traced map[uint32]tracedTable

type tracedTable struct {
	name    string           // as [catalog] has it
	columns map[int16]string // by their place
}

const tracedSQL = `
SELECT c.oid, ` + calledSQL + `, a.attnum, a.attname
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
WHERE n.nspname = ANY ($1) AND c.relkind IN ('r', 'p') AND NOT c.relispartition`

func trace(ctx context.Context, q queryer, schemas []string) (traced, error) {
	rows, err := q.Query(ctx, tracedSQL, schemas)
	if err != nil {
		return nil, fmt.Errorf("trace the tables of schemas %v: %w", schemas, err)
	}
	found := make(traced)
	var number uint32
	var place int16
	var table, column string
	_, err = pgx.ForEachRow(rows, []any{&number, &table, &place, &column}, func() error {
		if found[number].columns == nil {
			found[number] = tracedTable{name: table, columns: make(map[int16]string)}
		}
		found[number].columns[place] = column
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("trace the tables of schemas %v: %w", schemas, err)
	}
	return found, nil
}

// follow finds where tables with their keys have gone between two looks at the same database. A table whose number or
// one of whose key columns is gone has no home: only the profile can say what became of its rows.
func (before traced) follow(after traced, keys map[string][]string) map[string]home {
	homes := make(map[string]home)
	for number, old := range before {
		now, ok := after[number]
		if !ok || len(keys[old.name]) == 0 {
			continue
		}
		places := make(map[string]int16, len(old.columns))
		for place, column := range old.columns {
			places[column] = place
		}
		h := home{table: now.name}
		for _, column := range keys[old.name] {
			if name, ok := now.columns[places[column]]; ok {
				h.key = append(h.key, name)
			}
		}
		if len(h.key) == len(keys[old.name]) {
			homes[old.name] = h
		}
	}
	return homes
}

// findHomes says where each of blue's tables lives on green: where the profile says, or else where the migrations take
// it, which is seen by migrating an empty database of blue's schema. It uses up one scratch database.
func (r *Replayer) findHomes(ctx context.Context) error {
	dsn, conn, err := r.openScratch(ctx)
	if err != nil {
		return err
	}
	defer r.scratch.release()
	defer hangUp(ctx, conn)
	before, err := trace(ctx, conn, schemasOf(r.Profile))
	if err != nil {
		return err
	}
	numbered, err := traceSequences(ctx, conn)
	if err != nil {
		return err
	}
	defined := make(map[string]bool)
	if err := functionsOfRows(ctx, conn, defined); err != nil {
		return err
	}
	var lineage sqlrewrite.Lineage
	var triggers []firing
	if m, ok := r.Migrator.(Lineal); ok {
		if triggers, err = firings(ctx, r.Blue.Pool(), schemasOf(r.Profile)); err != nil {
			return err
		}
		if lineage, err = m.Lineage(ctx, dsn); err != nil {
			return err
		}
	}
	if err := r.Migrator.Migrate(ctx, dsn); err != nil {
		return fmt.Errorf("migrate an empty database of blue's schema: %w", err)
	}
	after, err := trace(ctx, conn, schemasOf(r.Profile))
	if err != nil {
		return err
	}
	if r.sequences, err = renamedSince(ctx, conn, numbered); err != nil {
		return err
	}
	if err := functionsOfRows(ctx, conn, defined); err != nil {
		return err
	}
	if err := r.seeds(ctx, conn, after); err != nil {
		return err
	}
	r.followGreen(before, after)
	r.homes = before.follow(after, r.keys)
	for i, t := range r.Profile.Tables {
		if t.Green.Table == "" {
			continue
		}
		h := home{table: t.Green.Table, key: t.Green.Key}
		if len(h.key) == 0 {
			h.key = r.keys[t.Name]
		}
		if err := r.checkHome(i, h); err != nil {
			return err
		}
		r.homes[t.Name] = h
	}
	for name, h := range r.homes {
		if r.green[h.table] == nil { // not merged, so that nothing is deleted there either
			delete(r.homes, name)
		}
	}
	if err := r.descend(lineage, defined, triggers); err != nil {
		return err
	}
	if err := r.retypes(ctx); err != nil {
		return err
	}
	if err := r.homeless(); err != nil {
		return err
	}
	return r.carriers(ctx, before, after)
}

// checkHome holds what the profile declares against green's catalog.
func (r *Replayer) checkHome(i int, h home) error {
	t := r.Profile.Tables[i]
	field := fmt.Sprintf("tables[%d].green", i)
	rel := r.green[h.table]
	if rel == nil {
		return r.Profile.At(field+".table", fmt.Sprintf("green has no table %q", h.table), "name the table that has the rows of "+t.Name+" when the migrations are done")
	}
	if len(h.key) != len(r.keys[t.Name]) {
		return r.Profile.At(field+".key", fmt.Sprintf("has %d columns, where the key of %s has %d", len(h.key), t.Name, len(r.keys[t.Name])), "one column of green for each of blue's, in the same order")
	}
	for _, c := range h.key {
		if _, ok := rel.column(c); !ok {
			return r.Profile.At(field+".key", fmt.Sprintf("table %q of green has no column %q", h.table, c), "name what the key columns of "+t.Name+" are called there")
		}
	}
	return nil
}

// partOfAnother says whether a row of a table is migrated as a part of another one: an edge leads to that row and one back, so
// that it is migrated again, without what was deleted.
func (r *Replayer) partOfAnother(table string) bool {
	return slices.ContainsFunc(r.edges[table], func(up edge) bool {
		return slices.ContainsFunc(r.edges[up.to], func(down edge) bool { return down.to == table })
	})
}

// homeless refuses a captured table whose deletes would be lost.
func (r *Replayer) homeless() error {
	for i, t := range r.Profile.Tables {
		if _, ok := r.homes[t.Name]; ok || !t.Captured() || t.OnDelete != "" || len(r.derived[t.Name]) > 0 {
			continue
		}
		if slices.Contains(r.Profile.Green.Ignore, t.Name) || r.partOfAnother(t.Name) {
			continue
		}
		return r.Profile.At(fmt.Sprintf("tables[%d]", i), fmt.Sprintf("after the migrations table %q is not there, or not under its key (%v): its deletes have nowhere to go", t.Name, r.keys[t.Name]),
			"say where its rows live (green: {table: …, key: [...]}), or what removes what became of one (on_delete)")
	}
	return nil
}

// traceSequences are all sequences by their object number, which a rename keeps.
func traceSequences(ctx context.Context, q queryer) (map[uint32]snapshot.SequenceName, error) {
	const sql = `SELECT c.oid, n.nspname, c.relname FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind = 'S'`
	rows, err := q.Query(ctx, sql)
	if err != nil {
		return nil, fmt.Errorf("trace the sequences: %w", err)
	}
	found := make(map[uint32]snapshot.SequenceName)
	var number uint32
	var s snapshot.SequenceName
	_, err = pgx.ForEachRow(rows, []any{&number, &s.Schema, &s.Name}, func() error { found[number] = s; return nil })
	if err != nil {
		return nil, fmt.Errorf("trace the sequences: %w", err)
	}
	return found, nil
}

// renamedSince are the sequences that are called otherwise than before, and what they are called now.
func renamedSince(ctx context.Context, q queryer, before map[uint32]snapshot.SequenceName) (map[snapshot.SequenceName]snapshot.SequenceName, error) {
	after, err := traceSequences(ctx, q)
	if err != nil {
		return nil, err
	}
	renamed := make(map[snapshot.SequenceName]snapshot.SequenceName)
	for number, old := range before {
		if now, there := after[number]; there && now != old {
			renamed[old] = now
		}
	}
	return renamed, nil
}

// RenamedSequences are blue's sequences that the migrations give another name or schema. It is known once the replayer is prepared.
func (r *Replayer) RenamedSequences() map[snapshot.SequenceName]snapshot.SequenceName {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.sequences
}
