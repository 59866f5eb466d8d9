package replay

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/tideover/tideover/internal/postgres"
	"github.com/tideover/tideover/internal/snapshot"
	"github.com/tideover/tideover/plan"
)

// The way back knows what the migrations have made of blue's tables by what replay has seen them do. That is kept on green from
// before the switch, so that a rollback need not migrate anything first. With it go triggers that note which rows of tables that
// are to be carried back (carry_back of the profile) green's clients write: their keys, in the order of green's commits or not, since
// what goes back is what such a row is at the end.

// trail is what is kept.
type trail struct {
	Carriers  []carrier                  `json:"carriers"`
	Homes     map[string]residence       `json:"homes"`     // by table of blue
	Sequences [][2]snapshot.SequenceName `json:"sequences"` // of blue and of green, where the migrations have given one another name
}

// residence is where the rows of a table of blue live on green.
type residence struct {
	Key   []string `json:"key"` // of blue's table
	Table string   `json:"table"`
	There []string `json:"there"` // green's names of the key's columns
}

// carrier is how a table's rows go back.
type carrier struct {
	Table   string    `json:"table"` // of blue
	Home    string    `json:"home"`  // of green
	Key     []string  `json:"key"`   // of blue
	There   []string  `json:"there"` // green's names of the key's columns
	Columns []carried `json:"columns"`
	Left    []string  `json:"left"` // columns of green that blue has no place for
}

// carried is a column of blue that is written in a row that goes back.
type carried struct {
	Column string `json:"column"`
	From   string `json:"from"` // SQL over a row g of green
	// Exact: the types are alike. Otherwise the value's text must be the same in both. A column with SQL of the profile need not be.
	Exact bool `json:"exact"`
	Made  bool `json:"made"`
	// Of a column that is not made:
	Home string `json:"home"` // its name on green
	JSON bool   `json:"json"`
}

const trailSQL = `
CREATE SCHEMA IF NOT EXISTS tideover;
CREATE TABLE IF NOT EXISTS tideover.trail (
	one boolean PRIMARY KEY DEFAULT true CHECK (one),
	trail jsonb NOT NULL
);
-- Numbered along with the changes: one ledger has both.
CREATE TABLE IF NOT EXISTS tideover.homebound (
	id bigint NOT NULL DEFAULT nextval('tideover.change_id_seq'),
	table_name text NOT NULL,
	key jsonb NOT NULL
);
ALTER TABLE tideover.homebound ADD COLUMN IF NOT EXISTS another boolean NOT NULL DEFAULT false; -- this row is not the one that had the key before
` + postgres.KeepSQL

// carriers finds out how the rows of each table that is to be carried back go back. before and after are the same tables without and
// with the migrations.
func (r *Replayer) carriers(ctx context.Context, before, after traced) error {
	r.trail = trail{Homes: make(map[string]residence)}
	for _, name := range sortedNames(r.homes) {
		h := r.homes[name]
		r.trail.Homes[name] = residence{Key: r.keys[name], Table: h.table, There: h.key}
	}
	for old, now := range r.sequences {
		r.trail.Sequences = append(r.trail.Sequences, [2]snapshot.SequenceName{old, now})
	}
	for i, c := range r.Profile.CarryBack {
		found, err := r.carrier(ctx, fmt.Sprintf("carry_back[%d]", i), c, before, after)
		if err != nil {
			return err
		}
		r.trail.Carriers = append(r.trail.Carriers, found)
	}
	return nil
}

// becomes are green's names of a table's columns by blue's.
func becomes(before, after traced, table string, home *relation) map[string]string {
	names := make(map[string]string)
	for number, old := range before {
		now, ok := after[number]
		if !ok || old.name != table || now.name != home.name {
			continue
		}
		for place, column := range old.columns {
			if name, ok := now.columns[place]; ok {
				names[column] = name
			}
		}
		return names
	}
	for _, c := range home.columns { // a table of another number has blue's rows: the profile says so
		names[c.name] = c.name
	}
	return names
}

func (r *Replayer) carrier(ctx context.Context, field string, c plan.CarryBack, before, after traced) (carrier, error) {
	var none carrier
	refuse := func(field, msg, way string) (carrier, error) { return none, r.Profile.At(field, msg, way) }
	h, ok := r.homes[c.Table]
	if !ok {
		return refuse(field+".table", fmt.Sprintf("after the migrations table %q is not there, or not under its key: its rows have no way back", c.Table),
			"say where they live (tables: green: {table: …, key: [...]}), or leave it out of carry_back")
	}
	if others := r.livingIn(h.table); len(others) > 1 {
		return refuse(field+".table", fmt.Sprintf("table %q of green has rows of several tables of blue (%s): which of them one is to go back to is not known", h.table, strings.Join(others, ", ")),
			"leave it out of carry_back")
	}
	blue, green := r.blue[c.Table], r.green[h.table]
	names := becomes(before, after, c.Table, green)
	for i, name := range r.keys[c.Table] {
		names[name] = h.key[i]
	}
	for _, name := range h.key {
		if k, _ := green.column(name); !k.notNull {
			return refuse(field+".table", fmt.Sprintf("key column %q of table %q of green can be NULL: a row without it would not be found", name, h.table),
				"name another key (tables: key and green.key), or leave the table out of carry_back")
		}
	}
	for i, name := range r.keys[c.Table] {
		old, _ := blue.column(name)
		now, _ := green.column(h.key[i])
		if !sameKeys(old, now) {
			return refuse(field+".table", fmt.Sprintf("column %q of the key of table %q is %s on blue and %s on green, which do not take the same values for equal: one row of a side may be two of the other", name, c.Table, old.declared, now.declared),
				"name another key (tables: key), leave the change of type to after the way back is closed, or leave the table out of carry_back")
		}
	}
	found := carrier{Table: c.Table, Home: h.table, Key: r.keys[c.Table], There: h.key}
	made := make(map[string]string)
	for i, b := range c.Columns {
		at := fmt.Sprintf("%s.columns[%d].column", field, i)
		column, ok := blue.column(b.Column)
		switch {
		case !ok:
			return refuse(at, fmt.Sprintf("table %q of blue has no column %q", c.Table, b.Column), "name one of blue's columns")
		case column.generated:
			return refuse(at, fmt.Sprintf("column %q of table %q of blue is generated", b.Column, c.Table), "leave it out: blue computes it")
		case slices.Contains(found.Key, b.Column):
			return refuse(at, fmt.Sprintf("column %q is of the key of table %q", b.Column, c.Table), "the key goes back as it is")
		}
		made[b.Column] = b.SQL
	}
	var used []string
	for _, old := range blue.columns {
		if old.generated {
			if now, there := green.column(names[old.name]); there && !now.generated {
				return refuse(field, fmt.Sprintf("column %q of table %q is generated on blue and not on green: what green's clients write there has no place on blue", old.name, c.Table),
					"leave the table out of carry_back")
			}
			continue
		}
		if sql, ok := made[old.name]; ok {
			found.Columns = append(found.Columns, carried{Column: old.name, From: "(" + sql + ")", Made: true})
			continue
		}
		now, there := green.column(names[old.name])
		if _, anew := green.column(old.name); !there && anew && !slices.Contains(slices.Collect(maps.Values(names)), old.name) {
			return refuse(field, fmt.Sprintf("column %q of table %q is on green one that the migrations have made anew: whether its value is blue's is not known", old.name, c.Table),
				"say what blue's value is (columns: [{column: "+old.name+", sql: …}]), of a row g of green")
		}
		if !there {
			needed, err := r.needed(ctx, blue, old)
			if err != nil {
				return none, err
			}
			if needed {
				return refuse(field, fmt.Sprintf("column %q of table %q of blue is NOT NULL, has no default, and is not on green: a row that green's clients insert could not go back", old.name, c.Table),
					"say what its value is (columns: [{column: "+old.name+", sql: …}]), or leave the table out of carry_back")
			}
			continue
		}
		used = append(used, now.name)
		exact := old.typ == now.typ && old.declared == now.declared
		other, err := r.otherMeaning(ctx, old, now)
		if err != nil {
			return none, err
		}
		if other != "" {
			return refuse(field, fmt.Sprintf("column %q of table %q: %s: which of blue's values one is does not show by what is written", old.name, c.Table, other),
				"say what blue's value is (columns: [{column: "+old.name+", sql: …}]), of a row g of green")
		}
		if !exact && kindOf(old) != kindOf(now) {
			was, is := old.declared, now.declared
			if was == is {
				was, is = old.typ, now.typ
			}
			return refuse(field, fmt.Sprintf("column %q of table %q is %s on blue and %s on green: how a value goes back is not known", old.name, c.Table, was, is),
				"say what blue's value is (columns: [{column: "+old.name+", sql: …}]), of a row g of green")
		}
		found.Columns = append(found.Columns, carried{Column: old.name, From: "g." + pgx.Identifier{now.name}.Sanitize(), Exact: exact, Home: now.name, JSON: kindOf(old) == "json" && old.typ != now.typ})
	}
	for _, name := range sortedNames(r.blue) {
		for _, e := range r.blue[name].parents {
			alike := func(there edge) bool { return there.to == h.table && there.updates }
			if e.to != c.Table || !e.updates || !slices.ContainsFunc(e.toColumns, func(column string) bool { return !slices.Contains(found.Key, column) }) {
				continue
			}
			if child := r.green[r.homes[name].table]; child == nil || !slices.ContainsFunc(child.parents, alike) {
				return refuse(field+".table", fmt.Sprintf("foreign key %q of table %q changes rows there when one of table %q gets another value, and green has no such foreign key: they would become others than they are on green", e.foreignKey, name, c.Table),
					"leave the table out of carry_back")
			}
		}
	}
	for _, now := range green.columns {
		if !slices.Contains(used, now.name) && !now.generated {
			found.Left = append(found.Left, now.name)
		}
	}
	return found, r.tryCarrier(ctx, field, found)
}

// needed says whether a row of blue can't be without a value of a column.
func (r *Replayer) needed(ctx context.Context, rel *relation, c column) (needed bool, err error) {
	if !c.notNull {
		return false, nil
	}
	const sql = `SELECT NOT a.atthasdef AND a.attidentity = '' FROM pg_catalog.pg_attribute a WHERE a.attrelid = $1::text::regclass AND a.attname = $2`
	if err := r.Blue.Pool().QueryRow(ctx, sql, rel.ident(), c.name).Scan(&needed); err != nil {
		return false, fmt.Errorf("blue: look at column %q of table %q: %w", c.name, rel.name, err)
	}
	return needed, nil
}

// tryCarrier has green prepare what reads the rows.
func (r *Replayer) tryCarrier(ctx context.Context, field string, c carrier) error {
	err := snapshotOf(ctx, r.Green, schemaOf(r.Profile), func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, "SELECT "+c.values()+" FROM "+r.green[c.Home].rows()+" g LIMIT 0")
		if err != nil {
			return err
		}
		rows.Close()
		return rows.Err()
	})
	if postgres.Code(err) != "" && len(c.Columns) > 0 {
		return r.Profile.At(field+".columns", fmt.Sprintf("green refuses what makes a row of table %q of blue: %v", c.Table, err), "each sql is an expression over a row g of green's table "+c.Home)
	}
	return err
}

// values is the select list of a row of green, as blue's columns and as text.
func (c carrier) values() string {
	all := make([]string, len(c.Columns))
	for i, v := range c.Columns {
		all[i] = "(" + v.From + ")::pg_catalog.text"
	}
	return strings.Join(all, ", ")
}

// LayTrail keeps on green what a way back needs to know, and has noted there which rows of the profile's carry_back green's clients
// write, and which they delete of other tables. It is called before the switch, on a prepared replayer, and may be called again.
func (r *Replayer) LayTrail(ctx context.Context, budget postgres.Budget) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.prepare(ctx); err != nil {
		return err
	}
	kept, err := json.Marshal(r.trail)
	if err != nil {
		return err
	}
	noted := r.noted()
	err = r.Green.InTx(ctx, budget, func(ctx context.Context, tx pgx.Tx) error {
		if err := alone(ctx, tx); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, trailSQL, pgx.QueryExecModeSimpleProtocol); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `INSERT INTO tideover.trail (trail) VALUES ($1) ON CONFLICT (one) DO UPDATE SET trail = excluded.trail`, string(kept)); err != nil {
			return err
		}
		for _, n := range noted {
			if _, err := tx.Exec(ctx, functionsSQL(n.triggers, false), pgx.QueryExecModeSimpleProtocol); err != nil {
				return fmt.Errorf("table %q: %w", n.home.name, err)
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("prepare the way back on %s: %w", r.Green.Name(), err)
	}
	for _, n := range noted {
		err := r.Green.InTx(ctx, budget, func(ctx context.Context, tx pgx.Tx) error {
			_, err := tx.Exec(ctx, triggersSQL(n.home, n.triggers), pgx.QueryExecModeSimpleProtocol)
			return err
		})
		if err != nil {
			return fmt.Errorf("prepare the way back of table %q on %s: %w", n.home.name, r.Green.Name(), err)
		}
	}
	return nil
}

// notes are the triggers that note rows of a table of green.
type notes struct {
	home     *relation
	triggers []trigger
}

// noted are the tables of green with rows that are noted: of those that are carried back whatever is written, of others what is
// deleted, since nothing else tells of it. Revocations are recorded already.
func (r *Replayer) noted() (all []notes) {
	for _, name := range sortedNames(r.trail.Homes) {
		home := r.green[r.homes[name].table]
		carried := slices.ContainsFunc(r.trail.Carriers, func(c carrier) bool { return c.Table == name })
		revoked := slices.ContainsFunc(r.Profile.Revocations, func(rev plan.Revocation) bool { return rev.Green.Table == home.name })
		if !carried && (revoked || len(r.livingIn(home.name)) > 1) {
			continue
		}
		all = append(all, notes{home, notesOf(name, home, r.homes[name].key, carried)})
	}
	return all
}

// notesOf are triggers that note the keys of rows that are written, or deleted alone. What we ourselves write is not noted.
func notesOf(table string, home *relation, key []string, written bool) []trigger {
	note := func(row string) string {
		return "INSERT INTO tideover.homebound (table_name, key, another) SELECT " + literal(table) + ", " + object(home, row, key) + ", false"
	}
	// A row that moves between partitions is inserted, too, and is the same one.
	another := func(row string) string {
		return "INSERT INTO tideover.homebound (table_name, key, another) SELECT " + literal(table) + ", " + object(home, row, key) + ", " + strconv.FormatBool(!home.partitioned)
	}
	others := " WHERE " + passed + " IS NOT TRUE;"
	name := func(op string) string { return functionName("capture_home_"+op+"_", home.name) }
	form := formSQL(home, recorded{table: home.name, key: key})
	all := []trigger{
		{"tideover_capture_home_delete", name("delete"), note("OLD") + others + " RETURN OLD;", form, "AFTER DELETE", "ROW"},
		{"tideover_capture_home_truncate", name("truncate"), "IF " + passed + " THEN RETURN NULL; END IF;\n\t" + wholeSQL +
			"EXECUTE pg_catalog.concat(" + literal(note("t")+" FROM ONLY ") + ", TG_RELID::pg_catalog.regclass, ' t'); RETURN NULL;", form, "BEFORE TRUNCATE", "STATEMENT"},
	}
	if written {
		all = append(all,
			trigger{"tideover_capture_home_insert", name("insert"), another("NEW") + others + " RETURN NEW;", form, "AFTER INSERT", "ROW"},
			trigger{"tideover_capture_home_update", name("update"), note("OLD") + others + " IF " + moves(home, key) + " THEN " + another("NEW") + others + " END IF; RETURN NEW;", form, "AFTER UPDATE", "ROW"})
	}
	return all
}

// readTrail reads what is kept on green; nothing where it never was.
func readTrail(ctx context.Context, green *postgres.DB) (t trail, err error) {
	var there bool
	if err := green.Pool().QueryRow(ctx, `SELECT pg_catalog.to_regclass('tideover.trail') IS NOT NULL`).Scan(&there); err != nil || !there {
		return t, err
	}
	var kept []byte
	if err := green.Pool().QueryRow(ctx, `SELECT trail::text FROM tideover.trail`).Scan(&kept); err != nil {
		return t, fmt.Errorf("read what %s keeps for the way back: %w", green.Name(), err)
	}
	if err := json.Unmarshal(kept, &t); err != nil {
		return t, fmt.Errorf("read what %s keeps for the way back: %w", green.Name(), err)
	}
	return t, nil
}

// renamed are blue's names of green's sequences that have another name there.
func (t trail) renamed() map[snapshot.SequenceName]snapshot.SequenceName {
	found := make(map[snapshot.SequenceName]snapshot.SequenceName)
	for _, pair := range t.Sequences {
		found[pair[1]] = pair[0]
	}
	return found
}
