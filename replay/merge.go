package replay

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/tideover/tideover/internal/cleanup"
	"github.com/tideover/tideover/internal/postgres"
)

// stage is a table of green with the delta's rows for it, in a temporary table.
type stage struct {
	*relation
	temp     string
	match    []string // the unique key by which rows are the same; never a column that a migration fills at random
	volatile []string
}

// merge puts a delta into green: what is replaced goes first, then what was deleted, then the new rows, and at last
// revocations and ledger.
//
// Between the first two lies the trap of the whole thing. An entity can change its identity: a log-out takes the login
// away, and the same consent gets another flow. The old flow must make room, and its ON DELETE CASCADE would take the
// consent's living tokens along. So what is only replaced is deleted with the triggers of foreign keys off
// (session_replication_role, Postgres manual 20.11.1), and put back in the same transaction; what was really deleted is
// deleted with them on, as on blue.
func (r *Replayer) merge(ctx context.Context, from *pgx.Conn, tx pgx.Tx, d *delta) (a Applied, err error) {
	var stages []*stage
	if from != nil {
		if stages, err = r.stage(ctx, from, tx); err != nil {
			return a, err
		}
	}
	if err := r.settleColumns(ctx, tx, stages); err != nil {
		return a, err
	}
	if err := replace(ctx, tx, stages); err != nil {
		return a, err
	}
	if a.Deleted, err = r.remove(ctx, tx, stages, d); err != nil {
		return a, err
	}
	for _, s := range stages {
		tag, err := tx.Exec(ctx, s.upsert())
		if err != nil {
			return a, fmt.Errorf("merge into green: table %q: %w", s.name, err)
		}
		a.Upserted += tag.RowsAffected()
	}
	if a.Revoked, err = revoke(ctx, tx, d.revocations, func(rev *revocation) string { return rev.spec.Green.Apply }); err != nil {
		return a, err
	}
	if err := r.quarantine(ctx, tx, d); err != nil {
		return a, err
	}
	return a, enter(ctx, tx, r.epoch, ids(d.changes))
}

// enter writes changes into a side's ledger. One that is there already means that another process was faster: the
// whole transaction fails and the batch is made again.
func enter(ctx context.Context, tx pgx.Tx, epoch string, done []int64) error {
	_, err := tx.Exec(ctx, `INSERT INTO tideover.applied (epoch, change_id) SELECT $1, unnest($2::bigint[])`, epoch, done)
	if postgres.Code(err) == "23505" {
		return errReplayed
	}
	if err != nil {
		return fmt.Errorf("write the ledger: %w", err)
	}
	return nil
}

// stage copies the scratch database's outcome into temporary tables of green's transaction, parents first.
func (r *Replayer) stage(ctx context.Context, from *pgx.Conn, tx pgx.Tx) ([]*stage, error) {
	ordered := parentsFirst(r.green)
	var asked []string
	for _, rel := range ordered {
		asked = append(asked, "SELECT "+literal(rel.name)+" WHERE EXISTS (SELECT 1 FROM "+rel.ident()+")")
	}
	rows, err := from.Query(ctx, strings.Join(asked, "\nUNION ALL "))
	if err != nil {
		return nil, fmt.Errorf("read the delta: %w", err)
	}
	filled, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, fmt.Errorf("read the delta: %w", err)
	}
	var stages []*stage
	for i, rel := range ordered {
		if !slices.Contains(filled, rel.name) {
			continue
		}
		s := &stage{relation: rel, temp: fmt.Sprintf("pg_temp.tideover_stage_%d", i)}
		for _, v := range r.Profile.Green.Volatile {
			if v.Table == rel.name {
				s.volatile = append(s.volatile, v.Column)
			}
		}
		if s.match = s.matching(); s.match == nil {
			return nil, fmt.Errorf("merge into green: table %q has no unique key to merge by", rel.name)
		}
		columns := names(rel.writable()).list()
		if _, err := tx.Exec(ctx, "CREATE TEMPORARY TABLE "+s.temp[len("pg_temp."):]+" ON COMMIT DROP AS SELECT "+columns+" FROM "+rel.ident()+" WITH NO DATA"); err != nil {
			return nil, fmt.Errorf("merge into green: table %q: %w", rel.name, err)
		}
		if _, err := pipe(ctx, from, "SELECT "+columns+" FROM "+rel.ident(), tx.Conn(), s.temp+" ("+columns+")"); err != nil {
			return nil, fmt.Errorf("merge into green: table %q: %w", rel.name, err)
		}
		stages = append(stages, s)
	}
	return stages, nil
}

func (s *stage) random(column string) bool { return slices.Contains(s.volatile, column) }

// matching is the first key without a random column: the primary one where it can be.
func (s *stage) matching() []string {
	for _, u := range s.unique {
		if u.exact && !slices.ContainsFunc(u.columns, s.random) {
			return u.columns
		}
	}
	return nil
}

// settleColumns gives the staged rows green's own values: constants by their expression; columns that a migration
// fills at random, and foreign keys that refer to them, what the row on green has.
func (r *Replayer) settleColumns(ctx context.Context, tx pgx.Tx, stages []*stage) error {
	byName := make(map[string]*stage)
	for _, s := range stages {
		byName[s.name] = s
	}
	for _, c := range r.Profile.Green.Constants {
		if s := byName[c.Table]; s != nil {
			sql := "UPDATE " + s.temp + " SET " + pgx.Identifier{c.Column}.Sanitize() + " = " + c.SQL
			if _, err := tx.Exec(ctx, sql); err != nil {
				return fmt.Errorf("profile: constant %s.%s: %w", c.Table, c.Column, err)
			}
		}
	}
	for _, child := range stages {
		for _, e := range child.parents {
			parent := byName[e.to]
			if parent == nil {
				continue
			}
			for i, column := range e.toColumns {
				if !parent.random(column) {
					continue
				}
				from, to := pgx.Identifier{e.fromColumns[i]}.Sanitize(), pgx.Identifier{column}.Sanitize()
				sql := "UPDATE " + child.temp + " c SET " + from + " = g." + to + " FROM " + parent.temp + " p JOIN " +
					parent.ident() + " g ON " + equal("g", parent.match, "p", parent.match) + " WHERE c." + from + " = p." + to
				if _, err := tx.Exec(ctx, sql); err != nil {
					return fmt.Errorf("merge into green: table %q: %w", child.name, err)
				}
			}
		}
	}
	for _, s := range stages {
		for _, column := range s.volatile {
			name := pgx.Identifier{column}.Sanitize()
			sql := "UPDATE " + s.temp + " c SET " + name + " = g." + name + " FROM " + s.ident() + " g WHERE " + equal("g", s.match, "c", s.match)
			if _, err := tx.Exec(ctx, sql); err != nil {
				return fmt.Errorf("merge into green: table %q: %w", s.name, err)
			}
		}
	}
	return nil
}

// replace deletes the rows of green that have another identity but share a unique value with a staged row.
func replace(ctx context.Context, tx pgx.Tx, stages []*stage) error {
	if len(stages) == 0 {
		return nil
	}
	if _, err := tx.Exec(ctx, `SET LOCAL session_replication_role = replica`); err != nil {
		return fmt.Errorf("merge into green: %w", err)
	}
	for _, s := range stages {
		for _, u := range s.unique {
			if slices.Equal(u.columns, s.match) || slices.ContainsFunc(u.columns, s.random) {
				continue
			}
			if _, err := tx.Exec(ctx, s.conflict(u)); err != nil {
				return fmt.Errorf("merge into green: table %q: %w", s.name, err)
			}
		}
	}
	if _, err := tx.Exec(ctx, `SET LOCAL session_replication_role = origin`); err != nil {
		return fmt.Errorf("merge into green: %w", err)
	}
	return nil
}

// conflict is the statement that deletes what a unique index would refuse. Its keys may be expressions and it may be
// partial: both are computed on either side, where unqualified columns mean that side's.
func (s *stage) conflict(u unique) string {
	side := func(from string) string {
		keys := make([]string, len(u.keys))
		for i, k := range u.keys {
			keys[i] = fmt.Sprintf("(%s) AS tideover_k%d", k, i+1)
		}
		sql := "(SELECT " + names(s.match).list() + ", " + strings.Join(keys, ", ") + " FROM " + from
		if u.where != "" {
			sql += " WHERE " + u.where
		}
		return sql + ")"
	}
	operator := "="
	if u.nulls {
		operator = "IS NOT DISTINCT FROM"
	}
	var on []string
	for i := range u.keys {
		on = append(on, fmt.Sprintf("g.tideover_k%d %s n.tideover_k%d", i+1, operator, i+1))
	}
	return "DELETE FROM " + s.ident() + " t USING " + side(s.ident()) + " g, " + side(s.temp) + " n WHERE " +
		strings.Join(on, " AND ") + " AND " + equal("t", s.match, "g", s.match) + " AND NOT (" + equal("g", s.match, "n", s.match) + ")"
}

// upsert writes the staged rows. A row that is as it should be stays untouched.
func (s *stage) upsert() string {
	columns := names(s.writable())
	var set, old, fresh []string
	for _, c := range s.columns {
		if c.generated || c.identity || slices.Contains(s.match, c.name) || s.random(c.name) {
			continue
		}
		name := pgx.Identifier{c.name}.Sanitize()
		cast := ""
		if c.plain {
			cast = "::text"
		}
		set = append(set, name+" = excluded."+name)
		old = append(old, "t."+name+cast)
		fresh = append(fresh, "excluded."+name+cast)
	}
	sql := "INSERT INTO " + s.ident() + " AS t (" + columns.list() + ") OVERRIDING SYSTEM VALUE SELECT " + columns.list() +
		" FROM " + s.temp + " ON CONFLICT (" + names(s.match).list() + ") DO "
	if len(set) == 0 {
		return sql + "NOTHING"
	}
	return sql + "UPDATE SET " + strings.Join(set, ", ") + " WHERE (" + strings.Join(old, ", ") + ") IS DISTINCT FROM (" + strings.Join(fresh, ", ") + ")"
}

// quarantine keeps on green what rules took out of the delta, and forgets what came over well this time.
func (r *Replayer) quarantine(ctx context.Context, tx pgx.Tx, d *delta) error {
	var there bool
	if err := tx.QueryRow(ctx, `SELECT pg_catalog.to_regclass('tideover.quarantine') IS NOT NULL`).Scan(&there); err != nil {
		return fmt.Errorf("look for the quarantine: %w", err)
	}
	if !there && len(d.moved) == 0 {
		return nil
	}
	if !there {
		if err := cleanup.EnsureTable(ctx, tx); err != nil {
			return err
		}
	}
	keys := make(map[string][]string)
	for _, s := range d.seeds {
		keys[s.table] = append(keys[s.table], quarantineKey(s.key))
	}
	for table, set := range d.rows {
		for _, k := range set.keys {
			keys[table] = append(keys[table], quarantineKey(k))
		}
	}
	for _, table := range sortedNames(keys) {
		if _, err := cleanup.Forget(ctx, tx, table, keys[table]); err != nil {
			return err
		}
	}
	return cleanup.Store(ctx, tx, d.moved)
}
