package replay

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tideover/tideover/internal/postgres"
	"github.com/tideover/tideover/plan"
)

// Outbox takes blue's changes from a table that the server writes itself, in the transactions of its changes. It needs
// neither triggers nor the log, but the server's word that it writes all of them.
//
// The table, or a view of it that can be written to, has the columns of [outboxColumns]. A change is moved into the
// queue, deleted here and inserted there in one transaction, as soon as it is visible: nothing goes by its number.
type Outbox struct {
	db      *postgres.DB
	profile *plan.Profile
	table   pgx.Identifier
}

// outboxPoll is how often Run looks.
const outboxPoll = 100 * time.Millisecond

// outboxColumns are those of the queue that the server fills. kept and kind may be NULL: then the profile's judge says
// what a change was, out of what is kept.
var outboxColumns = map[string]string{
	"id": "bigint", "at": "timestamp with time zone", "txid": "xid8", "table_name": "text", "op": "text", "key": "jsonb", "kept": "jsonb", "kind": "text",
}

// outboxDDL is what the hint of an error shows.
const outboxDDL = `CREATE TABLE %s (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, at timestamptz NOT NULL DEFAULT clock_timestamp(), ` +
	`txid xid8 NOT NULL DEFAULT pg_current_xact_id(), table_name text NOT NULL, op text NOT NULL, key jsonb NOT NULL, kept jsonb, kind text)`

// NewOutbox makes a source of a table, named as in SQL: with its schema, or in the profile's.
func NewOutbox(db *postgres.DB, p *plan.Profile, table string) *Outbox {
	name := pgx.Identifier(strings.Split(table, "."))
	if len(name) == 1 {
		name = pgx.Identifier{schemaOf(p), table}
	}
	return &Outbox{db: db, profile: p, table: name}
}

func (o *Outbox) capture() *Capture { return NewCapture(o.db, o.profile, plan.Blue) }

func (o *Outbox) wrap(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("outbox %s of %s: %w", strings.Join(o.table, "."), o.db.Name(), err)
}

// Install makes the queue and looks whether the outbox is one.
func (o *Outbox) Install(ctx context.Context, budget postgres.Budget) error {
	c := o.capture()
	all, found, err := c.plan(ctx)
	if err != nil {
		return err
	}
	if err := o.Able(ctx); err != nil {
		return err
	}
	return c.openQueue(ctx, budget, all, found, func(context.Context, pgx.Tx) error { return nil })
}

// Able says what is wrong with the table.
func (o *Outbox) Able(ctx context.Context) error { return o.wrap(o.fits(ctx)) }

func (o *Outbox) fits(ctx context.Context) error {
	const sql = `
SELECT a.attname, pg_catalog.format_type(a.atttypid, NULL), pg_catalog.has_table_privilege(a.attrelid, 'SELECT') AND pg_catalog.has_table_privilege(a.attrelid, 'DELETE')
FROM pg_catalog.pg_attribute a WHERE a.attrelid = pg_catalog.to_regclass($1) AND a.attnum > 0 AND NOT a.attisdropped`
	rows, err := o.db.Pool().Query(ctx, sql, o.table.Sanitize())
	if err != nil {
		return err
	}
	has := make(map[string]string)
	allowed := true
	var name, typ string
	var may bool
	if _, err := pgx.ForEachRow(rows, []any{&name, &typ, &may}, func() error {
		has[name], allowed = typ, allowed && may
		return nil
	}); err != nil {
		return err
	}
	hint := fmt.Sprintf(outboxDDL, strings.Join(o.table, ".")) + "; a table of another shape takes a view that can be written to"
	if len(has) == 0 {
		return &noSource{"there is no such table", hint}
	}
	for _, c := range sortedNames(outboxColumns) {
		if has[c] != outboxColumns[c] {
			return &noSource{fmt.Sprintf("column %q must be of type %s and is %q", c, outboxColumns[c], has[c]), hint}
		}
	}
	if !allowed {
		return &noSource{"our role may not SELECT and DELETE there", "grant it both"}
	}
	return nil
}

// Installed says whether queue and outbox are there.
func (o *Outbox) Installed(ctx context.Context) (bool, error) {
	there, err := o.capture().there(ctx)
	if err != nil || !there {
		return false, err
	}
	return true, o.Able(ctx)
}

// Remove drops the queue. The outbox is the server's.
func (o *Outbox) Remove(ctx context.Context, budget postgres.Budget) error {
	return o.capture().Remove(ctx, budget)
}

// Finish has nothing to do.
func (o *Outbox) Finish(context.Context) error { return nil }

// Run moves changes until ctx ends, and goes on after a lost connection.
func (o *Outbox) Run(ctx context.Context) error {
	for {
		if err := o.Sync(ctx); err != nil && ctx.Err() == nil && !passes(err) {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(outboxPoll):
		}
	}
}

// sound is the SQL condition of a row, alias t, that can be replayed: a table of the profile, its whole key, and of what
// was there before, all that the profile keeps.
func (o *Outbox) sound(ctx context.Context) (string, error) {
	_, found, err := o.capture().plan(ctx)
	if err != nil {
		return "", err
	}
	tables := make([]string, len(found))
	for i, s := range found {
		var parts []string
		for _, c := range s.key {
			parts = append(parts, "t.key ->> "+literal(c)+" IS NOT NULL")
		}
		if len(s.keep) > 0 {
			var names []string
			for _, c := range s.keep {
				names = append(names, literal(c))
			}
			parts = append(parts, "(t.op = 'I' OR coalesce(t.kept ?& ARRAY["+strings.Join(names, ", ")+"], false))")
		}
		tables[i] = "(t.table_name = " + literal(s.table) + " AND " + strings.Join(parts, " AND ") + ")"
	}
	return "t.op IN ('I', 'U', 'D') AND coalesce(t.kind, 'written') IN ('revoked', 'rotated', 'expired', 'written') AND (" + strings.Join(tables, " OR ") + ")", nil
}

// Sync moves what is there. A transaction with a change that can't be replayed stays, whole.
func (o *Outbox) Sync(ctx context.Context) error {
	sound, err := o.sound(ctx)
	if err != nil {
		return err
	}
	table := o.table.Sanitize()
	move := `
WITH bad AS MATERIALIZED (
	SELECT DISTINCT t.txid FROM ` + table + ` t WHERE (` + sound + `) IS NOT TRUE
), taken AS (
	DELETE FROM ` + table + ` t WHERE t.txid NOT IN (SELECT txid FROM bad)
	RETURNING t.id, t.at, t.txid, t.table_name, t.op, t.key, t.kept, t.kind
)
INSERT INTO tideover.change (at, txid, table_name, op, key, kept, kind)
SELECT at, txid, table_name, op, key, kept, CASE WHEN kind IS NULL OR kind = 'revoked' THEN kind ELSE 'written' END FROM taken ORDER BY id`
	err = pgx.BeginFunc(ctx, o.db.Pool(), func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, move)
		return err
	})
	return o.wrap(err)
}

// Refused lists the changes that can't be replayed. Mended or deleted in the outbox, they are no more.
func (o *Outbox) Refused(ctx context.Context) ([]string, error) {
	sound, err := o.sound(ctx)
	if err != nil {
		return nil, err
	}
	sql := `SELECT 'row ' || t.id || ' of the outbox: ' || t.op || ' ' || t.table_name || ' ' || t.key::text ||
	': not a table of the profile, or not its whole key, or not all columns that the profile keeps'
FROM ` + o.table.Sanitize() + ` t WHERE (` + sound + `) IS NOT TRUE ORDER BY t.id LIMIT 1000`
	rows, err := o.db.Pool().Query(ctx, sql)
	if err != nil {
		return nil, o.wrap(err)
	}
	found, err := pgx.CollectRows(rows, pgx.RowTo[string])
	return found, o.wrap(err)
}
