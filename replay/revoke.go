package replay

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/tideover/tideover/internal/postgres"
	"github.com/tideover/tideover/plan"
)

// revocation is authority that was taken away on one side.
type revocation struct {
	spec    *plan.Revocation
	args    map[string]any // key and kept columns, under the names of both sides
	name    string         // what was revoked: key columns and values
	changes []int64
	pending bool // one of its changes is not applied yet
}

// revocationsOf puts the revoked changes of a side together by what was revoked: a chain that dies with two tokens is
// one revocation.
func revocationsOf(p *plan.Profile, side plan.Side, all []change) []*revocation {
	byID := make(map[string]*revocation)
	var found []*revocation
	for i := range all {
		c := &all[i]
		if c.kind != "revoked" {
			continue
		}
		for j := range p.Revocations {
			spec := &p.Revocations[j]
			here, there := spec.Blue, spec.Green
			if side == plan.Green {
				here, there = there, here
			}
			if here.Table != c.table {
				continue
			}
			columns := here.Key
			if len(columns) == 0 { // the table's own key, which every change has
				columns = sortedNames(c.key)
			}
			key, ok := c.pick(columns)
			if !ok { // without what names it, there is nothing to revoke
				continue
			}
			args := c.args()
			parts := make([]string, len(key))
			for k, v := range key {
				args[columns[k]] = v
				if k < len(there.Key) {
					args[there.Key[k]] = v
				}
				name := columns[k]
				if k < len(spec.Blue.Key) {
					name = spec.Blue.Key[k]
				}
				parts[k] = name + "=" + v
			}
			// Two kinds that ask the same of the same key are one authority.
			name := strings.Join(parts, ", ")
			id := spec.Blue.Living + "\x00" + name
			if byID[id] == nil {
				byID[id] = &revocation{spec: spec, args: args, name: name}
				found = append(found, byID[id])
			}
			byID[id].changes = append(byID[id].changes, c.id)
		}
	}
	return found
}

// inForce are the claimed revocations that blue itself enforces in the snapshot of tx. One that was superseded, such as
// a client that was deleted and created again, must not be applied: the state that replay brings is the newer truth.
func (r *Replayer) inForce(ctx context.Context, tx pgx.Tx, claimed []change) ([]revocation, error) {
	all := revocationsOf(r.Profile, plan.Blue, claimed)
	living, err := count(ctx, tx, all, func(rev *revocation) string { return rev.spec.Blue.Living })
	if err != nil {
		return nil, fmt.Errorf("blue: %w", err)
	}
	var found []revocation
	for i, rev := range all {
		if living[i] == 0 {
			found = append(found, *rev)
		}
	}
	return found, nil
}

// sender is a connection, pool or transaction.
type sender interface {
	SendBatch(ctx context.Context, b *pgx.Batch) pgx.BatchResults
}

// together bounds how many statements go out in one round trip.
const together = 1000

// count asks a Living statement for each revocation, in the order given. Without a statement the answer is 0.
func count(ctx context.Context, on sender, all []*revocation, sql func(*revocation) string) ([]int64, error) {
	living := make([]int64, len(all))
	for start := 0; start < len(all); start += together {
		part := all[start:min(start+together, len(all))]
		batch := &pgx.Batch{}
		for i, rev := range part {
			if sql(rev) == "" {
				continue
			}
			text, values, err := postgres.Named(sql(rev), rev.args)
			if err != nil {
				return nil, fmt.Errorf("profile: revocation %q: living: %w", rev.spec.Kind, err)
			}
			batch.Queue(text, values...).QueryRow(func(row pgx.Row) error {
				if err := row.Scan(&living[start+i]); err != nil {
					return fmt.Errorf("profile: revocation %q: living: %w", rev.spec.Kind, err)
				}
				return nil
			})
		}
		if err := on.SendBatch(ctx, batch).Close(); err != nil {
			return nil, fmt.Errorf("ask what is still accepted: %w", err)
		}
	}
	return living, nil
}

// revoke applies revocations by meaning. It gives how many there were, whether or not rows were left to change.
func revoke(ctx context.Context, tx pgx.Tx, all []revocation, sql func(*revocation) string) (int64, error) {
	for start := 0; start < len(all); start += together {
		part := all[start:min(start+together, len(all))]
		batch := &pgx.Batch{}
		for i := range part {
			rev := &part[i]
			if sql(rev) == "" {
				continue
			}
			text, values, err := postgres.Named(sql(rev), rev.args)
			if err != nil {
				return 0, fmt.Errorf("profile: revocation %q: apply: %w", rev.spec.Kind, err)
			}
			batch.Queue(text, values...)
		}
		if err := tx.SendBatch(ctx, batch).Close(); err != nil {
			return 0, fmt.Errorf("apply revocations: %w", err)
		}
	}
	return int64(len(all)), nil
}
