// Package snapshot copies a live Postgres database into another one, from one consistent snapshot, in parallel, and in
// a way that a killed copy can go on from.
//
// The order of things is that of pg_dump's sections (Postgres manual, pg_dump --section):
//
//  1. pre-data: types, functions and bare tables, in one transaction;
//  2. the rows, largest tables first, passed on from blue's socket to green's by COPY. A table, or a piece of a big one (a
//     range of its pages), is filled and recorded in one transaction on green, so that it is there whole or not at all;
//  3. post-data: a table's indexes side by side, as soon as its rows are there and while others are copied; its keys are
//     made of them. Foreign keys come last: added at once, then validated, several tables at a time;
//  4. the values of sequences, materialized views, ANALYZE.
//
// All workers and pg_dump read one exported snapshot (manual 9.27.5, pg_export_snapshot). A copy that goes on after a
// crash takes a new one, and first brings what is on green to its moment: the keys of all rows that changed since are in the change
// queue, for capture was on before the first snapshot; these rows are read again (catchup.go). Without capture
// that cannot be, and such a copy is refused.
//
// What is left out: schema tideover, the triggers of its functions on the server's tables, publications, subscriptions,
// tablespaces, and (unless Options.Privileges) owners and grants. Large objects come along, but no trigger can capture their
// changes: preflight refuses a database with any.
//
// For as long as a copy runs it holds back vacuum on blue (its snapshot). An ACCESS SHARE lock, which keeps ALTER, DROP,
// TRUNCATE and their like waiting, it has only on the tables of the parts under way, and of each for as long as the part takes.
// What such a statement did all the same is found: by the table's file after each part, by blue's schema in the end.
package snapshot

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/tideover/tideover/internal/postgres"
)

// own is the schema that all of our objects live in.
const own = "tideover"

// settings are those of a session that looks no name up, beside what all sessions of ours have.
const settings = `SELECT pg_catalog.set_config('search_path', '', false)`

func connect(ctx context.Context, side, dsn string) (*session, error) {
	s, err := dial(ctx, side, dsn)
	if err != nil {
		return nil, err
	}
	if err := script(ctx, s.Conn, settings); err != nil {
		postgres.HangUp(ctx, s.Conn)
		return nil, fmt.Errorf("%s: prepare a session: %w", side, err)
	}
	return s, nil
}

// greenSettings make green's work quick. What a session of ours has committed and a crash takes away is copied again, for its
// record is gone with it. Sorts get memory, of 2 GB for all together; a server that gives more by itself keeps that.
// Values that are stored compressed are so by lz4 where the server was built with it (manual 20.11.1): a multiple of
// pglz's speed, and read by every such server.
const greenSettings = `
SET synchronous_commit = off;
SELECT pg_catalog.set_config('maintenance_work_mem', $1::text || 'kB', false)
WHERE (SELECT setting::bigint FROM pg_catalog.pg_settings WHERE name = 'maintenance_work_mem') < $1;
SELECT pg_catalog.set_config('default_toast_compression', 'lz4', false)
FROM pg_catalog.pg_settings WHERE name = 'default_toast_compression' AND 'lz4' = ANY (enumvals);`

// sortMemory is what all sessions of a copy may use for sorts on green together, and sortLimit what one may, in kB.
const (
	sortMemory = 2 << 20
	sortLimit  = 1 << 20
)

func (c *copying) connectGreen(ctx context.Context) (*session, error) {
	s, err := connect(ctx, c.Green.Name(), c.Green.DSN())
	if err != nil {
		return nil, err
	}
	memory := strconv.Itoa(min(sortLimit, sortMemory/c.Jobs))
	if err := script(ctx, s.Conn, strings.ReplaceAll(greenSettings, "$1", memory)+";\n"+setPath(c.path)); err != nil {
		postgres.HangUp(ctx, s.Conn)
		return nil, fmt.Errorf("%s: prepare a session: %w", c.Green.Name(), err)
	}
	return s, nil
}
