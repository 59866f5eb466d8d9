package replay

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/tideover/tideover/internal/postgres"
	"github.com/tideover/tideover/plan"
)

// Reverse carries revocations from green back to blue, by meaning: the rows of the new schema have no way back into the
// old one, but what they took away has. It works on the queue that a [Capture] of [Green] fills. Before it go rows of the tables that
// the profile's carry_back names, as they are on green (carryback.go).
//
// Drain is called with green fenced, so that nothing comes after it.
type Reverse struct {
	blue, green *postgres.DB
	profile     *plan.Profile
	batch       int
}

// NewReverse makes a Reverse and opens nothing.
func NewReverse(blue, green *postgres.DB, p *plan.Profile) *Reverse {
	return &Reverse{blue: blue, green: green, profile: p, batch: 2000}
}

// Drain applies green's revocations to blue until none is left. Run again after a crash it applies each once: the
// ledger on blue is written in the transaction of the revocations. Upserted and Deleted are rows that were carried back, Parked those
// that blue can't hold, each with its reason.
func (v *Reverse) Drain(ctx context.Context) (Applied, error) {
	var total Applied
	epoch, err := v.begin(ctx)
	if err != nil || epoch == "" {
		return total, err
	}
	if total, err = v.carry(ctx, epoch); err != nil {
		return total, err
	}
	for {
		a, err := v.once(ctx, epoch)
		if errors.Is(err, errReplayed) {
			continue
		}
		total.add(a)
		if err != nil || a.Changes == 0 {
			return total, err
		}
	}
}

// Approach carries back what green's clients have written so far, while they go on: what comes after it is little, and is brought by Drain
// with green fenced. What blue does not take yet is left to Drain as well.
func (v *Reverse) Approach(ctx context.Context) (a Applied, err error) {
	epoch, err := v.begin(ctx)
	if err != nil || epoch == "" {
		return a, err
	}
	t, err := readTrail(ctx, v.green)
	if err != nil || len(t.Carriers) == 0 {
		return a, err
	}
	return v.carryRows(ctx, epoch, t, true)
}

// begin makes the ledger on blue and gives the epoch of green's queue; it is empty where nothing was captured, since green never served.
func (v *Reverse) begin(ctx context.Context) (epoch string, err error) {
	if there, err := NewCapture(v.green, v.profile, plan.Green).there(ctx); err != nil || !there {
		return "", err
	}
	err = v.blue.InTx(ctx, postgres.DefaultBudget(), func(ctx context.Context, tx pgx.Tx) error {
		if err := alone(ctx, tx); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, ledgerSQL, pgx.QueryExecModeSimpleProtocol)
		return err
	})
	if err != nil {
		return "", fmt.Errorf("make the ledger on blue: %w", err)
	}
	return epochOf(ctx, v.green)
}

const claimReverseSQL = `
SELECT id, ctid::text, c.txid::text, table_name, op, coalesce(kind, 'written'), key, kept FROM tideover.change c
WHERE ` + unappliedSQL + ` ORDER BY c.txid, (c.op = 'D'), c.id LIMIT $1`

func (v *Reverse) once(ctx context.Context, epoch string) (a Applied, err error) {
	var claimed []change
	var found []*revocation
	err = snapshotOf(ctx, v.green, schemaOf(v.profile), func(tx pgx.Tx) error {
		err = alongTheIndex(ctx, tx, func(tx pgx.Tx) error {
			claimed, err = changes(ctx, tx, claimReverseSQL, v.batch)
			return err
		})
		if err != nil {
			return err
		}
		found, err = inForceOf(ctx, tx, revocationsOf(v.profile, plan.Green, claimed), nil,
			func(rev *revocation) string { return rev.spec.Green.Living })
		return err
	})
	if err != nil {
		return a, fmt.Errorf("green: %w", err)
	}
	if len(claimed) == 0 {
		return a, nil
	}
	rows, err := v.blue.Pool().Query(ctx, `SELECT change_id FROM tideover.applied WHERE epoch = $1 AND change_id = ANY($2)`, epoch, ids(claimed))
	if err != nil {
		return a, fmt.Errorf("read the ledger on blue: %w", err)
	}
	if done, err := pgx.CollectRows(rows, pgx.RowTo[int64]); err != nil {
		return a, fmt.Errorf("read the ledger on blue: %w", err)
	} else if len(done) > 0 {
		if err := markApplied(ctx, v.green, among(claimed, done), true); err != nil {
			return a, err
		}
		return a, errReplayed
	}
	all := make([]revocation, len(found))
	for i, rev := range found {
		all[i] = *rev
	}
	err = pgx.BeginFunc(ctx, v.blue.Pool(), func(tx pgx.Tx) error {
		if err := within(ctx, tx, schemaOf(v.profile)); err != nil {
			return err
		}
		if a.Revoked, err = revoke(ctx, tx, all, func(rev *revocation) string { return rev.spec.Blue.Apply }); err != nil {
			return err
		}
		return enter(ctx, tx, epoch, ids(claimed))
	})
	if err != nil {
		return Applied{}, fmt.Errorf("blue: %w", err)
	}
	a.Changes = int64(len(claimed))
	return a, markApplied(ctx, v.green, claimed, true)
}

// snapshotOf runs f in a transaction that sees a side as it is now.
func snapshotOf(ctx context.Context, db *postgres.DB, schema string, f func(tx pgx.Tx) error) error {
	return pgx.BeginTxFunc(ctx, db.Pool(), pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		if err := within(ctx, tx, schema); err != nil {
			return err
		}
		return f(tx)
	})
}

// Verify asks whether every revocation that was captured on green is in force on blue.
func (v *Reverse) Verify(ctx context.Context) (found Verification, err error) {
	if there, err := NewCapture(v.green, v.profile, plan.Green).there(ctx); err != nil || !there {
		return found, err
	}
	return verify(ctx, v.green, v.blue, v.profile, plan.Green, 0)
}

// OnlyGreen lists what green knows and blue does not, as "table key": sessions that a way back ends. The profile's
// living_only names living rows of green as (table of blue, first key column); those that blue has are left out.
func (v *Reverse) OnlyGreen(ctx context.Context) ([]string, error) {
	if v.profile.Green.LivingOnly == "" {
		return nil, nil
	}
	living := make(map[string][]string)
	err := snapshotOf(ctx, v.green, schemaOf(v.profile), func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, v.profile.Green.LivingOnly)
		if err != nil {
			return err
		}
		var table, key string
		_, err = pgx.ForEachRow(rows, []any{&table, &key}, func() error {
			living[table] = append(living[table], key)
			return nil
		})
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("profile: green.living_only: %w", err)
	}
	all, err := catalog(ctx, v.blue.Pool(), schemasOf(v.profile))
	if err != nil {
		return nil, fmt.Errorf("blue: %w", err)
	}
	var only []string
	for _, table := range sortedNames(living) {
		t, rel := v.profile.Table(table), all[table]
		if t == nil || rel == nil {
			return nil, fmt.Errorf("profile: green.living_only names %q, which is not a table of blue", table)
		}
		key := t.Key
		if len(key) == 0 {
			key = rel.primary
		}
		if len(key) == 0 {
			return nil, fmt.Errorf("profile: table %q of blue has no key", table)
		}
		sql := "SELECT k.v FROM unnest($1::text[]) WITH ORDINALITY k(v, n) WHERE NOT EXISTS (SELECT 1 FROM " + rel.rows() +
			" t WHERE " + keyTexts(rel, key[:1], "t") + " = k.v) ORDER BY k.n"
		rows, err := v.blue.Pool().Query(ctx, sql, living[table])
		if err != nil {
			return nil, fmt.Errorf("look for green's sessions on blue: %w", err)
		}
		missing, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			return nil, fmt.Errorf("look for green's sessions on blue: %w", err)
		}
		for _, k := range missing {
			only = append(only, table+" "+k)
		}
	}
	return only, nil
}
