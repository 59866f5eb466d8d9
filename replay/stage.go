package replay

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/tideover/tideover/plan"
)

// stage is a table of green with the delta's rows for it, in a temporary table.
type stage struct {
	*relation
	temp     string
	match    []string // the key by which rows are the same; never a column that a migration fills at random
	direct   bool     // an index on match can say whether a row is there (ON CONFLICT), and a row that stays need not pass checks
	groups   bool     // no index says that match is unique: rows with one key are replaced together
	volatile []string
	seeds    string             // a temporary table of rows that the migrations make of nothing; empty without any
	children []edge             // foreign keys that refer to it
	lost     map[string][]tuple // by the name of one of children: values that children may still refer to
}

// newStage is the stage of a table among all of green.
func newStage(rel *relation, all map[string]*relation, volatile []plan.ColumnRef) *stage {
	s := &stage{relation: rel, lost: make(map[string][]tuple)}
	for _, name := range sortedNames(all) {
		for _, e := range all[name].parents {
			if e.to == rel.name {
				e.child = all[name]
				s.children = append(s.children, e)
			}
		}
	}
	for _, v := range volatile {
		if v.Table == rel.name {
			s.volatile = append(s.volatile, v.Column)
		}
	}
	return s
}

func (s *stage) random(column string) bool { return slices.Contains(s.volatile, column) }

// identify finds out how the table's rows are told apart: by the first key without a random column and without NULLs, the
// primary one where it can be; without one by declared, what the profile calls the key of blue's table.
func (s *stage) identify(declared []string) error {
	nullable := func(name string) bool { c, _ := s.column(name); return !c.notNull }
	for _, u := range s.unique {
		if !u.exact || slices.ContainsFunc(u.columns, s.random) {
			continue
		}
		if s.match == nil || !slices.ContainsFunc(u.columns, nullable) {
			s.match, s.direct = u.columns, u.immediate && !s.ruled && !s.doubtful
		}
		if !slices.ContainsFunc(s.match, nullable) {
			return nil
		}
	}
	if s.match != nil {
		return nil
	}
	for _, name := range declared {
		if _, ok := s.column(name); !ok || s.random(name) {
			return &keylessError{s.name}
		}
	}
	if len(declared) == 0 {
		return &keylessError{s.name}
	}
	s.match, s.groups = declared, true
	return nil
}

// declared are columns by which rows of a table of green are told apart in groups: the key of blue's table of that name, or that of
// the rows that they are made of.
func (r *Replayer) declared(table string) []string {
	if key := r.keys[table]; len(key) > 0 {
		return key
	}
	for _, from := range sortedNames(r.derived) {
		for _, h := range r.derived[from] {
			if h.table == table {
				return h.key
			}
		}
	}
	return nil
}

// identities looks whether rows of the profile's tables can be told apart on green, before any of them is to be brought.
func (r *Replayer) identities() error {
	for _, t := range r.Profile.Tables {
		rel := r.green[t.Name]
		if rel == nil || !t.Captured() {
			continue
		}
		if err := newStage(rel, r.green, r.Profile.Green.Volatile).identify(r.keys[t.Name]); err != nil {
			return err
		}
	}
	return nil
}

// keylessError is a table of green whose rows can't be told apart.
type keylessError struct{ table string }

func (e *keylessError) Error() string {
	return fmt.Sprintf("merge into green: table %q has no unique key by which a row of it is found again", e.table)
}

// Hint says what can be done.
func (e *keylessError) Hint() string {
	return "give it a primary key in a migration; or name it under green.ignore in the profile, if nothing of it is to be brought over"
}

// rivals are the indexes, beside that of the key, that can refuse a staged row.
func (s *stage) rivals() []unique {
	return slices.DeleteFunc(slices.Clone(s.unique), func(u unique) bool {
		return u.exact && slices.Equal(u.columns, s.match) || slices.ContainsFunc(u.columns, s.random)
	})
}

// conflict is the statement that deletes what a unique index would refuse. Its keys may be expressions and it may be
// partial: both are computed on either side, where unqualified columns mean that side's.
func (s *stage) conflict(u unique) string {
	side := func(from string) string {
		keys := make([]string, len(u.keys))
		for i, k := range u.keys {
			keys[i] = fmt.Sprintf("%s AS tideover_k%d", k, i+1)
		}
		sql := "(SELECT " + names(s.match).list() + ", " + strings.Join(keys, ", ") + " FROM " + from
		if u.where != "" {
			sql += " WHERE " + u.where
		}
		return sql + ")"
	}
	var on []string
	for i, operator := range u.operators {
		clash := fmt.Sprintf("g.tideover_k%d %s n.tideover_k%[1]d", i+1, operator)
		if u.nulls {
			clash = fmt.Sprintf("(%s OR g.tideover_k%d IS NULL AND n.tideover_k%[2]d IS NULL)", clash, i+1)
		}
		on = append(on, clash)
	}
	return "DELETE FROM " + s.rows() + " t USING " + side(s.rows()) + " g, " + side(s.temp) + " n WHERE " +
		strings.Join(on, " AND ") + " AND " + s.equal("t", s.match, "g", s.match) + " AND NOT (" + s.equal("g", s.match, "n", s.match) + ")"
}

// unwrite deletes rows that are to be written anew because no UPDATE can make them what they are to be: a number of GENERATED
// ALWAYS AS IDENTITY that is another, which can't be set; a value that children refer to, which the foreign key refuses to
// change before they do; and rows that are told apart in groups alone. Foreign keys are off meanwhile.
func (s *stage) unwrite(ctx context.Context, tx pgx.Tx) error {
	same := s.equal("t", s.match, "n", s.match)
	if s.groups {
		_, err := tx.Exec(ctx, "DELETE FROM "+s.rows()+" t USING (SELECT DISTINCT "+names(s.match).list()+" FROM "+s.temp+") n WHERE "+same)
		return err
	}
	var numbers names
	for _, c := range s.columns {
		if c.identity && !slices.Contains(s.match, c.name) && !s.random(c.name) {
			numbers = append(numbers, c.name)
		}
	}
	if len(numbers) > 0 {
		if _, err := tx.Exec(ctx, "DELETE FROM "+s.rows()+" t USING "+s.temp+" n WHERE "+same+" AND "+differ("t", "n", numbers)); err != nil {
			return err
		}
	}
	for _, e := range s.firm() {
		values := names(e.toColumns)
		sql := "DELETE FROM " + s.rows() + " t USING " + s.temp + " n WHERE " + same + " AND " + differ("t", "n", values)
		for _, v := range values {
			sql += " AND t." + pgx.Identifier{v}.Sanitize() + " IS NOT NULL"
		}
		lost, err := tuples(ctx, tx, sql+" RETURNING "+keyTexts(s.relation, e.toColumns, "t"), nil, len(values))
		if err != nil {
			return err
		}
		for _, child := range s.children { // others may refer to the same columns
			if slices.Equal(child.toColumns, e.toColumns) {
				s.lost[child.foreignKey] = append(s.lost[child.foreignKey], lost...)
			}
		}
	}
	return nil
}

// firm are foreign keys to values of the table that are not its key and that may not change while there are children,
// one for each choice of columns.
func (s *stage) firm() []edge {
	var found []edge
	for _, e := range s.children {
		changes := slices.ContainsFunc(e.toColumns, func(c string) bool { return !slices.Contains(s.match, c) && !s.random(c) })
		if e.firm && changes && !slices.ContainsFunc(found, func(f edge) bool { return slices.Equal(f.toColumns, e.toColumns) }) {
			found = append(found, e)
		}
	}
	return found
}

// orphans looks whether rows refer to values that unwrite has taken and that nothing has brought back.
func (s *stage) orphans(ctx context.Context, tx pgx.Tx) error {
	for _, e := range s.children {
		lost := s.lost[e.foreignKey]
		if len(lost) == 0 {
			continue
		}
		sql := "SELECT EXISTS (SELECT 1 FROM " + unnest(s.relation, e.toColumns, "k") + " JOIN " + e.child.ident() + " c ON " +
			e.child.equal("c", e.fromColumns, "k", numbered(len(e.toColumns))) + " WHERE NOT EXISTS (SELECT 1 FROM " + s.rows() + " t WHERE " +
			s.equal("t", e.toColumns, "c", e.fromColumns) + "))"
		var some bool
		if err := tx.QueryRow(ctx, sql, transpose(lost, len(e.toColumns))...).Scan(&some); err != nil {
			return err
		}
		if some {
			return &orphanError{table: e.from, parent: s.name, foreignKey: e.foreignKey}
		}
	}
	return nil
}

// differ is the condition that rows differ, by the image of their values: equal is not the same (Postgres manual 9.24.6).
func differ(a, b string, columns names) string {
	return "ROW(" + columns.of(a) + ")::record OPERATOR(pg_catalog.*<>) ROW(" + columns.of(b) + ")::record"
}

// write brings the staged rows: those that are there become what they are to be, and the others come. A row that is as it
// should be stays untouched.
func (s *stage) write(ctx context.Context, tx pgx.Tx) (int64, error) {
	var written int64
	statements := []string{s.update(), s.insert()}
	if s.direct {
		statements = []string{s.upsert()}
	}
	for _, sql := range statements {
		if sql == "" {
			continue
		}
		tag, err := tx.Exec(ctx, sql)
		if err != nil {
			return written, fmt.Errorf("merge into green: table %q: %w", s.name, err)
		}
		written += tag.RowsAffected()
	}
	return written, nil
}

// update is the statement for rows that are there; empty where they have nothing to change. A key is set too: what is
// found by it may be written otherwise.
func (s *stage) update() string {
	set, columns := s.settable("n")
	if s.groups || len(set) == 0 {
		return ""
	}
	return "UPDATE " + s.rows() + " t SET " + strings.Join(set, ", ") + " FROM " + s.temp + " n WHERE " + s.equal("t", s.match, "n", s.match) +
		" AND " + differ("t", "n", columns)
}

// settable are the columns that an UPDATE sets, and how it does.
func (s *stage) settable(from string) (set []string, columns names) {
	for _, c := range s.columns {
		if c.generated || c.identity || s.random(c.name) {
			continue
		}
		name := pgx.Identifier{c.name}.Sanitize()
		set = append(set, name+" = "+from+"."+name)
		columns = append(columns, c.name)
	}
	return set, columns
}

// upsert is both in one, which is half the price. Deferrable keys and tables with rules do not allow it.
func (s *stage) upsert() string {
	all := names(s.writable())
	sql := "INSERT INTO " + s.ident() + " AS t (" + all.list() + ") OVERRIDING SYSTEM VALUE SELECT " + all.list() + " FROM " + s.temp +
		" ON CONFLICT (" + names(s.match).list() + ") DO "
	set, columns := s.settable("excluded")
	if len(set) == 0 {
		return sql + "NOTHING"
	}
	return sql + "UPDATE SET " + strings.Join(set, ", ") + " WHERE " + differ("t", "excluded", columns)
}

func (s *stage) insert() string {
	columns := names(s.writable())
	return "INSERT INTO " + s.ident() + " (" + columns.list() + ") OVERRIDING SYSTEM VALUE SELECT " + columns.of("n") + " FROM " + s.temp +
		" n WHERE NOT EXISTS (SELECT 1 FROM " + s.rows() + " t WHERE " + s.equal("t", s.match, "n", s.match) + ")"
}
