package replay

import (
	"context"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/tideover/tideover/internal/postgres"
	"github.com/tideover/tideover/internal/snapshot"
)

// What goes back is what a row is on green, and not what was done to it: read last under green's fence, it is the last word. So the order of
// the changes does not matter, and bringing a row twice is bringing it once. Blue's clients may have written it meanwhile only
// where the way back had ended before; that is what the ledger of carried changes is for.

// carry brings the rows that green's clients have written since the switch, of the tables that the profile names. Rows that blue can't
// hold are left out, and named in Parked.
func (v *Reverse) carry(ctx context.Context, epoch string) (a Applied, err error) {
	t, err := readTrail(ctx, v.green)
	if err != nil {
		return a, err
	}
	if len(t.Carriers) > 0 {
		if a, err = v.carryRows(ctx, epoch, t, false); err != nil {
			return a, err
		}
	}
	if t.Homes == nil {
		return a, nil
	}
	// Numbers that green's clients have are not given to others.
	if _, err := snapshot.AdvanceSequences(ctx, v.green, v.blue, t.renamed(), nil); err != nil {
		return a, fmt.Errorf("blue: %w", err)
	}
	return a, nil
}

// carryRows brings the rows that are noted and not brought yet. While green's clients go on, what blue does not take is not named, and
// stays noted: what it hangs on may come.
func (v *Reverse) carryRows(ctx context.Context, epoch string, t trail, whileServing bool) (a Applied, err error) {
	blue, err := catalog(ctx, v.blue.Pool(), schemasOf(v.profile))
	if err != nil {
		return a, fmt.Errorf("blue: %w", err)
	}
	green, err := catalog(ctx, v.green.Pool(), schemasOf(v.profile))
	if err != nil {
		return a, fmt.Errorf("green: %w", err)
	}
	var ordered []*returning
	for _, rel := range parentsFirst(unringed(blue)) {
		if i := slices.IndexFunc(t.Carriers, func(c carrier) bool { return c.Table == rel.name }); i >= 0 {
			ordered = append(ordered, &returning{carrier: t.Carriers[i], rel: blue[rel.name], temp: fmt.Sprintf("tideover_home_%d", i)})
		}
	}
	if len(ordered) != len(t.Carriers) {
		return a, fmt.Errorf("carry rows back to blue: of the tables %v some are not there any more", tablesOf(t.Carriers))
	}
	err = snapshotOf(ctx, v.green, schemaOf(v.profile), func(from pgx.Tx) error {
		noted, keys, err := v.noted(ctx, from, epoch, ordered)
		if err != nil || len(noted) == 0 {
			return err
		}
		return pgx.BeginFunc(ctx, v.blue.Pool(), func(tx pgx.Tx) error {
			if err := within(ctx, tx, schemaOf(v.profile)); err != nil {
				return err
			}
			if _, err := tx.Exec(ctx, `SET LOCAL lock_timeout = '10s'`); err != nil {
				return err
			}
			if err := fires(ctx, tx); err != nil {
				return err
			}
			wake, err := lullTables(ctx, tx, ordered)
			if err != nil {
				return err
			}
			var deeds []*deed
			for _, table := range ordered {
				found, err := fetch(ctx, from, tx, table, green[table.Home], keys[table.Table])
				if err != nil {
					return fmt.Errorf("table %q: %w", table.Table, err)
				}
				deeds = append(deeds, found...)
			}
			var failed []*deed
			if a, failed, err = settleDeeds(ctx, tx, &heirs{from, blue, green, t.Homes, schemasOf(v.profile)}, ordered, deeds); err != nil {
				return err
			}
			for _, h := range wake {
				if _, err := tx.Exec(ctx, h.alter(false)); err != nil {
					return &habitError{h, err}
				}
			}
			if whileServing {
				return enter(ctx, tx, epoch, notesBut(noted, failed))
			}
			for _, d := range failed {
				a.Parked = append(a.Parked, fmt.Sprintf("%s: %v", d, d.err))
			}
			if err := name(ctx, tx, epoch, a.Parked); err != nil {
				return err
			}
			return enter(ctx, tx, epoch, notesBut(noted, nil))
		})
	})
	if err != nil {
		return Applied{}, fmt.Errorf("carry rows back to blue: %w", err)
	}
	if whileServing {
		return a, nil
	}
	a.Parked, err = v.notCarried(ctx, epoch)
	return a, err
}

// fires returns a *replicaError where foreign keys are not looked at in the session.
func fires(ctx context.Context, tx pgx.Tx) error {
	var role string
	if err := tx.QueryRow(ctx, `SELECT pg_catalog.current_setting('session_replication_role')`).Scan(&role); err != nil || role == "origin" {
		return err
	}
	return &replicaError{role}
}

// replicaError says that somebody has set our sessions so that no foreign key holds in them.
type replicaError struct{ role string }

func (e *replicaError) Error() string {
	return fmt.Sprintf("our sessions on blue begin with session_replication_role = %s: foreign keys would not be looked at in them", e.role)
}

// Hint says what can be done.
func (e *replicaError) Hint() string {
	return "take it back: ALTER DATABASE … or ALTER ROLE … RESET session_replication_role, and type rollback again"
}

// name writes down what could not be brought, on blue, where there is any.
func name(ctx context.Context, tx pgx.Tx, epoch string, parked []string) error {
	if len(parked) == 0 {
		return nil
	}
	const table = `
CREATE TABLE IF NOT EXISTS tideover.not_carried (
	number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	epoch uuid NOT NULL,
	what text NOT NULL
);` + postgres.KeepSQL
	if _, err := tx.Exec(ctx, table, pgx.QueryExecModeSimpleProtocol); err != nil {
		return fmt.Errorf("write the ledger: %w", err)
	}
	if _, err := tx.Exec(ctx, `INSERT INTO tideover.not_carried (epoch, what) SELECT $1, unnest($2::text[])`, epoch, parked); err != nil {
		return fmt.Errorf("write the ledger: %w", err)
	}
	return nil
}

// notCarried is all that could not be brought. What has been tried before is not tried again, and named again: nobody may have heard
// of it.
func (v *Reverse) notCarried(ctx context.Context, epoch string) ([]string, error) {
	var there bool
	if err := v.blue.Pool().QueryRow(ctx, `SELECT pg_catalog.to_regclass('tideover.not_carried') IS NOT NULL`).Scan(&there); err != nil || !there {
		return nil, err
	}
	return collect[string](ctx, v.blue.Pool(), "read the ledger on blue", `SELECT what FROM tideover.not_carried WHERE epoch = $1 ORDER BY number`, epoch)
}

func tablesOf(all []carrier) []string {
	names := make([]string, len(all))
	for i, c := range all {
		names[i] = c.Table
	}
	return names
}

// lullTables puts what some of blue's tables do by themselves to sleep until the end of tx: green's clients have had its like on green.
func lullTables(ctx context.Context, tx pgx.Tx, tables []*returning) ([]habit, error) {
	all, err := habits(ctx, tx, awakeSQL)
	if err != nil {
		return nil, err
	}
	all = slices.DeleteFunc(all, func(h habit) bool {
		name := pgx.Identifier{h.Schema, h.Table}.Sanitize()
		return h.Kind == anEvent || !slices.ContainsFunc(tables, func(t *returning) bool { return t.rel.ident() == name || slices.Contains(t.rel.partitions, name) })
	})
	for _, h := range all {
		if _, err := tx.Exec(ctx, h.alter(true)); err != nil {
			return nil, &habitError{h, err}
		}
	}
	return all, nil
}
