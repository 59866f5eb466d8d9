package snapshot

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// chunk is how much of a large object is in our memory at a time.
const chunk = 1 << 20

// largeObjects copies the large objects (manual, chapter 35) under their oids. Each is one transaction on green, and made
// anew when a copy goes on.
func (c *copying) largeObjects(ctx context.Context, blue, green *pgx.Conn) error {
	const done = "large objects"
	if c.marks[done] {
		return nil
	}
	rows, err := blue.Query(ctx, `SELECT oid FROM pg_catalog.pg_largeobject_metadata ORDER BY oid`)
	if err != nil {
		return fmt.Errorf("list the large objects: %w", err)
	}
	list, err := pgx.CollectRows(rows, pgx.RowTo[uint32])
	if err != nil {
		return fmt.Errorf("list the large objects: %w", err)
	}
	for _, oid := range list {
		c.note("large objects")
		err := pgx.BeginFunc(ctx, green, func(tx pgx.Tx) error { return largeObject(ctx, blue, tx, oid) })
		if err != nil {
			return fmt.Errorf("copy large object %d: %w", oid, err)
		}
	}
	if _, err := green.Exec(ctx, mark, done, len(list)); err != nil {
		return fmt.Errorf("record the large objects: %w", err)
	}
	return nil
}

func largeObject(ctx context.Context, blue *pgx.Conn, tx pgx.Tx, oid uint32) error {
	const again = `SELECT pg_catalog.lo_unlink(oid) FROM pg_catalog.pg_largeobject_metadata WHERE oid = $1`
	const create = `SELECT pg_catalog.lo_create($1)`
	const read = `SELECT pg_catalog.lo_get($1, $2, $3)`
	const write = `SELECT pg_catalog.lo_put($1, $2, $3)`
	for _, sql := range []string{again, create} {
		if _, err := tx.Exec(ctx, sql, oid); err != nil {
			return err
		}
	}
	for offset := int64(0); ; offset += chunk {
		var data []byte
		if err := blue.QueryRow(ctx, read, oid, offset, chunk).Scan(&data); err != nil {
			return err
		}
		if len(data) > 0 {
			if _, err := tx.Exec(ctx, write, oid, offset, data); err != nil {
				return err
			}
		}
		if len(data) < chunk {
			return nil
		}
	}
}
