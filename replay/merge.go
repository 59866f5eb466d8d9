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

// merge puts a delta into green: what stands in the way goes first, then the new rows come, then what was deleted goes,
// and at last revocations and ledger.
//
// In the first lies the trap of the whole thing. An entity can change its identity: a log-out takes the login away, and
// the same consent gets another flow. The old flow must make room, and its ON DELETE CASCADE would take the consent's
// living tokens along. So what is only replaced is deleted with the triggers of foreign keys off
// (session_replication_role, Postgres manual 20.11.1), and put back in the same transaction; what was really deleted is
// deleted with them on, as on blue. That comes last: a child that has another parent now, or none, must have left the
// one that goes.
//
// Green's own triggers and rules are asleep meanwhile (asleep.go). Foreign keys hold: those that can be deferred are
// looked at when all is there.
func (r *Replayer) merge(ctx context.Context, from *pgx.Conn, tx pgx.Tx, d *delta) (a Applied, err error) {
	var stages []*stage
	if from != nil {
		if stages, err = r.stage(ctx, from, tx, d); err != nil {
			return a, err
		}
	}
	if err := r.settleColumns(ctx, tx, stages); err != nil {
		return a, err
	}
	if _, err := tx.Exec(ctx, `SET CONSTRAINTS ALL DEFERRED`); err != nil {
		return a, fmt.Errorf("merge into green: %w", err)
	}
	gone := r.gone(d)
	for _, s := range stages {
		n, err := r.yield(ctx, tx, s, gone.keys)
		if err != nil {
			return a, err
		}
		a.Deleted += n
	}
	if err := r.replace(ctx, tx, stages, d); err != nil {
		return a, err
	}
	// Not before: a statement may look for the very row that is only replaced, and take its children along.
	n, err := r.removeByStatement(ctx, tx, gone.statements)
	if err != nil {
		return a, err
	}
	a.Deleted += n
	for _, s := range stages {
		n, err := s.write(ctx, tx)
		if err != nil {
			return a, err
		}
		a.Upserted += n
	}
	if n, err = r.remove(ctx, tx, stages, d, gone.keys); err != nil {
		return a, err
	}
	a.Deleted += n
	if err := r.sow(ctx, tx, stages, d); err != nil {
		return a, err
	}
	for _, s := range stages {
		if err := s.orphans(ctx, tx); err != nil {
			return a, fmt.Errorf("merge into green: %w", err)
		}
	}
	if _, err := tx.Exec(ctx, `SET CONSTRAINTS ALL IMMEDIATE`); err != nil {
		return a, fmt.Errorf("merge into green: %w", err)
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
func (r *Replayer) stage(ctx context.Context, from *pgx.Conn, tx pgx.Tx, d *delta) ([]*stage, error) {
	ordered := parentsFirst(r.green)
	var asked []string
	for _, rel := range ordered {
		asked = append(asked, "SELECT "+literal(rel.name)+" WHERE EXISTS (SELECT 1 FROM "+rel.rows()+")")
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
		s := newStage(rel, r.green, r.Profile.Green.Volatile)
		s.temp = fmt.Sprintf("pg_temp.tideover_stage_%d", i)
		if err := s.identify(r.declared(rel.name)); err != nil {
			return nil, err
		}
		columns := rel.names().list() // with those that are computed: a key may have one
		if _, err := tx.Exec(ctx, "CREATE TEMPORARY TABLE "+s.temp[len("pg_temp."):]+" ON COMMIT DROP AS SELECT "+columns+" FROM "+rel.rows()+" WITH NO DATA"); err != nil {
			return nil, fmt.Errorf("merge into green: table %q: %w", rel.name, err)
		}
		if _, err := pipe(ctx, from, "SELECT "+columns+" FROM "+rel.rows(), tx.Conn(), s.temp+" ("+columns+")"); err != nil {
			return nil, fmt.Errorf("merge into green: table %q: %w", rel.name, err)
		}
		if err := r.setAside(ctx, tx, s, d); err != nil {
			return nil, fmt.Errorf("merge into green: table %q: %w", rel.name, err)
		}
		stages = append(stages, s)
	}
	return stages, nil
}

// settleColumns gives the staged rows green's own values: constants by their expression; columns that a migration
// fills at random, and foreign keys that refer to them, what the row on green has. Where green has no such row, what the
// scratch database came to is as good, but for the next number of a sequence, which is green's: others have its numbers.
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
	for _, s := range stages {
		if err := s.settle(ctx, tx); err != nil {
			return fmt.Errorf("merge into green: table %q: %w", s.name, err)
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
				from := pgx.Identifier{e.fromColumns[i]}.Sanitize()
				was, is := parent.settledColumns(column)
				c, _ := parent.column(column)
				sql := "UPDATE " + child.temp + " c SET " + from + " = m." + is + " FROM " + parent.settled() + " m WHERE m." + was + " " + c.equals + " c." + from
				if _, err := tx.Exec(ctx, sql); err != nil {
					return fmt.Errorf("merge into green: table %q: %w", child.name, err)
				}
			}
		}
	}
	for _, s := range stages {
		for _, column := range s.volatile {
			_, is := s.settledColumns(column)
			sql := "UPDATE " + s.temp + " c SET " + pgx.Identifier{column}.Sanitize() + " = m." + is + " FROM " + s.settled() + " m WHERE " + s.equal("m", s.match, "c", s.match)
			if _, err := tx.Exec(ctx, sql); err != nil {
				return fmt.Errorf("merge into green: table %q: %w", s.name, err)
			}
		}
	}
	return nil
}

// settle makes a table of what the stage's random columns are in it, and what they are to be.
func (s *stage) settle(ctx context.Context, tx pgx.Tx) error {
	if len(s.volatile) == 0 {
		return nil
	}
	values := make([]string, 0, 2*len(s.volatile))
	for _, column := range s.volatile {
		c, _ := s.column(column)
		was, is := s.settledColumns(column)
		name := pgx.Identifier{column}.Sanitize()
		fresh := "n." + name
		if c.next != "" {
			fresh = c.next
		}
		values = append(values, "n."+name+" AS "+was, "CASE WHEN g.ctid IS NULL THEN "+fresh+" ELSE g."+name+" END AS "+is)
	}
	sql := "CREATE TEMPORARY TABLE " + s.settled()[len("pg_temp."):] + " ON COMMIT DROP AS SELECT " + names(s.match).of("n") + ", " + strings.Join(values, ", ") +
		" FROM " + s.temp + " n LEFT JOIN " + s.rows() + " g ON " + s.equal("g", s.match, "n", s.match)
	_, err := tx.Exec(ctx, sql)
	return err
}

// settled is the name of settle's table.
func (s *stage) settled() string { return s.temp + "_settled" }

// settledColumns are its columns for a random one.
func (s *stage) settledColumns(column string) (was, is string) {
	i := slices.Index(s.volatile, column)
	return fmt.Sprintf("tideover_was_%d", i), fmt.Sprintf("tideover_is_%d", i)
}

// replace deletes the rows of green that have another identity but share a unique value with a staged row, and those that
// are written anew because they can't be updated.
func (r *Replayer) replace(ctx context.Context, tx pgx.Tx, stages []*stage, d *delta) error {
	if len(stages) == 0 {
		return nil
	}
	if _, err := tx.Exec(ctx, `SET LOCAL session_replication_role = replica`); err != nil {
		return fmt.Errorf("merge into green: %w", err)
	}
	for _, s := range stages {
		for _, u := range s.rivals() {
			if err := r.oust(ctx, tx, s, u, d); err != nil {
				return fmt.Errorf("merge into green: table %q: %w", s.name, err)
			}
		}
		if err := s.unwrite(ctx, tx); err != nil {
			return fmt.Errorf("merge into green: table %q: %w", s.name, err)
		}
	}
	if _, err := tx.Exec(ctx, `SET LOCAL session_replication_role = origin`); err != nil {
		return fmt.Errorf("merge into green: %w", err)
	}
	return nil
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
