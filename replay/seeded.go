package replay

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
)

// Rows that the migrations make of nothing come out of each delta once more. On green they are already, as the bulk made them, and
// a client's own row may have taken their place since: they are no news, and are only put back where what stood in their way has
// gone.

// seeds reads what an empty database has when it has been migrated, in COPY's text, by table of green.
func (r *Replayer) seeds(ctx context.Context, conn *pgx.Conn, migrated traced) error {
	r.seeded = make(map[string][]byte)
	for _, table := range migrated {
		name, rel := table.name, r.green[table.name]
		if rel == nil {
			continue
		}
		var b bytes.Buffer
		if _, err := conn.PgConn().CopyTo(ctx, &b, "COPY (SELECT "+rel.names().list()+" FROM "+rel.rows()+") TO STDOUT"); err != nil {
			return fmt.Errorf("read what the migrations put into table %q: %w", name, err)
		}
		if b.Len() > 0 {
			r.seeded[name] = b.Bytes()
		}
	}
	return nil
}

// setAside takes the rows out of a stage that the migrations made of nothing. One that has the key of a row of blue in the delta is
// that row.
func (r *Replayer) setAside(ctx context.Context, tx pgx.Tx, s *stage, d *delta) error {
	if r.seeded[s.name] == nil {
		return nil
	}
	if err := r.fillSeeds(ctx, tx, s); err != nil {
		return err
	}
	var told names
	for _, c := range s.columns {
		if !s.random(c.name) && !r.constant(s.name, c.name) {
			told = append(told, c.name)
		}
	}
	sql := "DELETE FROM " + s.temp + " n USING " + s.seeds + " z WHERE ROW(" + told.of("n") + ")::record OPERATOR(pg_catalog.*=) ROW(" + told.of("z") + ")::record"
	var args []any
	for _, table := range sortedNames(d.rows) {
		for _, h := range r.places(table) {
			if h.table != s.name || len(d.rows[table].keys) == 0 {
				continue
			}
			arrays := make([]string, len(h.key))
			for i, a := range transpose(d.rows[table].keys, len(h.key)) {
				args = append(args, a)
				arrays[i] = fmt.Sprintf("$%d::pg_catalog.text[]", len(args))
			}
			sql += " AND NOT EXISTS (SELECT 1 FROM " + typed(s.relation, h.key, arrays, "k") + " WHERE " + s.equal("n", h.key, "k", numbered(len(h.key))) + ")"
		}
	}
	_, err := tx.Exec(ctx, sql, args...)
	return err
}

// fillSeeds gives a stage its rows that the migrations make of nothing.
func (r *Replayer) fillSeeds(ctx context.Context, tx pgx.Tx, s *stage) error {
	s.seeds = s.temp + "_seeds"
	columns := s.names().list()
	if _, err := tx.Exec(ctx, "CREATE TEMPORARY TABLE "+s.seeds[len("pg_temp."):]+" ON COMMIT DROP AS SELECT "+columns+" FROM "+s.rows()+" WITH NO DATA"); err != nil {
		return err
	}
	_, err := tx.Conn().PgConn().CopyFrom(ctx, bytes.NewReader(r.seeded[s.name]), "COPY "+s.seeds+" ("+columns+") FROM STDIN")
	return err
}

// sow puts back what the migrations made of nothing, in tables of green that the delta has rows of, or took some from.
func (r *Replayer) sow(ctx context.Context, tx pgx.Tx, stages []*stage, d *delta) error {
	staged := make(map[string]*stage)
	for _, s := range stages {
		staged[s.name] = s
	}
	for i, rel := range parentsFirst(r.green) {
		s := staged[rel.name]
		if s == nil && r.seeded[rel.name] != nil && slices.ContainsFunc(d.seeds, func(change *seed) bool {
			return slices.ContainsFunc(r.places(change.table), func(h home) bool { return h.table == rel.name })
		}) {
			s = newStage(rel, r.green, r.Profile.Green.Volatile)
			s.temp = fmt.Sprintf("pg_temp.tideover_sown_%d", i)
			if err := s.identify(r.declared(rel.name)); err != nil {
				return err
			}
			if err := r.fillSeeds(ctx, tx, s); err != nil {
				return fmt.Errorf("merge into green: table %q: %w", rel.name, err)
			}
		}
		if s != nil {
			if err := s.sow(ctx, tx); err != nil {
				return err
			}
		}
	}
	return nil
}

// places are where on green rows of a table of blue live, or rows that were made of them.
func (r *Replayer) places(table string) []home {
	list := slices.Clone(r.derived[table])
	if h, ok := r.homes[table]; ok {
		list = append(list, h)
	}
	return list
}

func (r *Replayer) constant(table, column string) bool {
	for _, c := range r.Profile.Green.Constants {
		if c.Table == table && c.Column == column {
			return true
		}
	}
	return false
}

// sow puts back what is missing of them.
func (s *stage) sow(ctx context.Context, tx pgx.Tx) error {
	if s.seeds == "" || !slices.ContainsFunc(s.unique, func(u unique) bool { return u.exact }) {
		return nil
	}
	columns := names(s.writable())
	values := make([]string, len(columns))
	for i, name := range columns {
		values[i] = "z." + pgx.Identifier{name}.Sanitize()
	}
	sql := "INSERT INTO " + s.ident() + " (" + columns.list() + ") OVERRIDING SYSTEM VALUE SELECT " + strings.Join(values, ", ") + " FROM " + s.seeds + " z"
	if s.ruled {
		sql += " WHERE NOT EXISTS (SELECT 1 FROM " + s.rows() + " t WHERE " + s.equal("t", s.match, "z", s.match) + ")"
	} else {
		sql += " ON CONFLICT DO NOTHING"
	}
	if _, err := tx.Exec(ctx, sql); err != nil {
		return fmt.Errorf("merge into green: table %q: %w", s.name, err)
	}
	return nil
}
