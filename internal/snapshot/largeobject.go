package snapshot

import (
	"context"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"
)

// slice is how much of a large object is in our memory at a time.
const slice = 1 << 20

// largeObjects is the mark of the large objects. No trigger records their changes: a copy that goes on from another snapshot
// copies all of them again.
const largeObjects = "large objects"

// largeObjects copies the large objects (manual, chapter 35) under their oids, a hundred in a transaction of green, and takes
// those away that an earlier try has left and blue has no more.
func (c *copying) largeObjects(ctx context.Context, blue, green *pgx.Conn) error {
	if c.marks.names[largeObjects] && c.settled {
		return nil
	}
	oids, err := largeObjectsOf(ctx, blue)
	if err != nil {
		return fmt.Errorf("list the large objects: %w", err)
	}
	there, err := largeObjectsOf(ctx, green)
	if err != nil {
		return fmt.Errorf("list green's large objects: %w", err)
	}
	if err := inBatches(there, func(batch []uint32) error {
		_, err := green.Exec(ctx, `SELECT pg_catalog.lo_unlink(oid) FROM pg_catalog.unnest($1::oid[]) oid`, batch)
		return err
	}); err != nil {
		return fmt.Errorf("take the large objects of an earlier try away: %w", err)
	}
	if err := inBatches(oids, func(batch []uint32) error {
		c.meter.say("large objects")
		return pgx.BeginFunc(ctx, green, func(tx pgx.Tx) error {
			for _, oid := range batch {
				if err := largeObject(ctx, blue, tx, oid); err != nil {
					return fmt.Errorf("copy large object %d: %w", oid, err)
				}
			}
			return nil
		})
	}); err != nil {
		return err
	}
	if _, err := green.Exec(ctx, markTaken, largeObjects, len(oids), c.taken); err != nil {
		return fmt.Errorf("record the large objects: %w", err)
	}
	return nil
}

func largeObjectsOf(ctx context.Context, conn *pgx.Conn) ([]uint32, error) {
	rows, err := conn.Query(ctx, `SELECT oid FROM pg_catalog.pg_largeobject_metadata ORDER BY oid`)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[uint32])
}

// inBatches goes through a list a hundred at a time: each large object takes a lock until its transaction ends.
func inBatches(oids []uint32, f func([]uint32) error) error {
	for batch := range slices.Chunk(oids, 100) {
		if err := f(batch); err != nil {
			return err
		}
	}
	return nil
}

func largeObject(ctx context.Context, blue *pgx.Conn, tx pgx.Tx, oid uint32) error {
	const create = `SELECT pg_catalog.lo_create($1)`
	const read = `SELECT pg_catalog.lo_get($1, $2, $3)`
	const write = `SELECT pg_catalog.lo_put($1, $2, $3)`
	if _, err := tx.Exec(ctx, create, oid); err != nil {
		return err
	}
	for offset := int64(0); ; offset += slice {
		var data []byte
		if err := blue.QueryRow(ctx, read, oid, offset, slice).Scan(&data); err != nil {
			return err
		}
		if len(data) > 0 {
			if _, err := tx.Exec(ctx, write, oid, offset, data); err != nil {
				return err
			}
		}
		if len(data) < slice {
			return nil
		}
	}
}
