package replay

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tideover/tideover/internal/postgres"
	"github.com/tideover/tideover/plan"
)

// Logical records blue's changes without a trigger: it reads them out of the write-ahead log through a logical
// replication slot (pgoutput; Postgres manual, chapters 49 and 55.5) and writes them into the same queue. The server's
// own transactions pay nothing for that but larger log records: where the profile wants old values beside the primary
// key, the table's replica identity is FULL for as long as the capture is there.
//
// Changes come in the order of their commits, whole transactions at a time. The place in the log up to which they are in
// the queue is stored in the transaction that writes them there, so that each comes once, whoever is killed when.
//
// A TRUNCATE does not say which rows it took. It ends the capture, and with it the run, with a [*LostError]; so does a
// slot that is gone, or one that keeps more of the log than its limit: blue's disk comes first.
type Logical struct {
	db      *postgres.DB
	profile *plan.Profile
	limit   int64 // bytes of log that the slot may keep; 0: any

	reading  sync.Mutex    // held by who reads the slot
	position atomic.Uint64 // what was committed before this place in the log is in the queue
}

// NewLogical makes a source that keeps at most so many bytes of blue's log; 0 is no limit.
func NewLogical(db *postgres.DB, p *plan.Profile, limit int64) *Logical {
	return &Logical{db: db, profile: p, limit: limit}
}

const publication = "tideover_capture"

// streamSQL is what is to be known of the slot, and what the tables' replica identities were.
const streamSQL = `
CREATE TABLE IF NOT EXISTS tideover.stream (
	one boolean PRIMARY KEY DEFAULT true CHECK (one),
	slot name NOT NULL,
	position pg_lsn NOT NULL,
	lost text
);
CREATE TABLE IF NOT EXISTS tideover.replica_identity (
	table_name name PRIMARY KEY,
	was "char" NOT NULL,
	index_name name
)`

func (l *Logical) capture() *Capture { return NewCapture(l.db, l.profile, plan.Blue) }

// Install makes the queue, replica identities, publication and slot, in this order: whatever the slot gives has its old
// values. A slot begins where no transaction is under way that it has not seen from the start, and waits for that.
func (l *Logical) Install(ctx context.Context, budget postgres.Budget) error {
	if err := l.Able(ctx); err != nil {
		return err
	}
	c := l.capture()
	all, found, err := c.plan(ctx)
	if err != nil {
		return err
	}
	err = c.openQueue(ctx, budget, all, found, func(ctx context.Context, tx pgx.Tx) error {
		_, err := tx.Exec(ctx, streamSQL, pgx.QueryExecModeSimpleProtocol)
		return err
	})
	if err != nil {
		return err
	}
	if state, err := l.state(ctx); err != nil || state.slot != "" {
		return errors.Join(err, state.loss(l.db.Name()))
	}
	for _, s := range found {
		if err := l.identify(ctx, budget, all[s.table], s); err != nil {
			return fmt.Errorf("install the capture on table %q of %s: %w", s.table, l.db.Name(), err)
		}
	}
	if err := l.publish(ctx, budget, all, found); err != nil {
		return fmt.Errorf("publish the tables of %s: %w", l.db.Name(), err)
	}
	return l.makeSlot(ctx, budget)
}

// Able looks whether blue can give its log at all.
func (l *Logical) Able(ctx context.Context) error {
	const sql = `SELECT pg_catalog.current_setting('wal_level'),
	(SELECT rolreplication OR rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user),
	pg_catalog.current_setting('max_replication_slots')::int - (SELECT count(*) FROM pg_catalog.pg_replication_slots WHERE slot_name <> (` + slotNameSQL + `))`
	var level string
	var may bool
	var free int64
	if err := l.db.Pool().QueryRow(ctx, sql).Scan(&level, &may, &free); err != nil {
		return fmt.Errorf("look at the log of %s: %w", l.db.Name(), err)
	}
	switch {
	case level != "logical":
		return &noSource{fmt.Sprintf("%s runs with wal_level = %s, and its changes can't be read from its log", l.db.Name(), level),
			"set wal_level = logical on it, which needs a restart, or capture with triggers (source: triggers)"}
	case !may:
		return &noSource{fmt.Sprintf("our role on %s may not read its log", l.db.Name()),
			"ALTER ROLE … REPLICATION, or capture with triggers (source: triggers)"}
	case free <= 0:
		return &noSource{fmt.Sprintf("%s has no replication slot left", l.db.Name()), "raise max_replication_slots on it, or drop a slot that nobody reads"}
	}
	conn, err := l.db.ConnectReplication(ctx, "capture") // a pooler on the way, or no wal sender left, shows only here
	if err != nil {
		return &noSource{fmt.Sprintf("the log of %s can't be read: %v", l.db.Name(), err),
			"blue.dsn must lead to Postgres itself, not to a pooler; see max_wal_senders and pg_hba.conf on blue"}
	}
	return conn.Close(ctx)
}

// identify has a table log the old values that the profile wants, and remembers what it logged before.
func (l *Logical) identify(ctx context.Context, budget postgres.Budget, r *relation, s recorded) error {
	return l.db.InTx(ctx, budget, func(ctx context.Context, tx pgx.Tx) error {
		const look = `
SELECT c.relkind = 'p', c.relreplident::text, (SELECT i.indexrelid::regclass::text FROM pg_catalog.pg_index i WHERE i.indrelid = c.oid AND i.indisreplident)
FROM pg_catalog.pg_class c WHERE c.oid = $1::regclass`
		var parted bool
		var was string
		var index *string
		if err := tx.QueryRow(ctx, look, r.ident()).Scan(&parted, &was, &index); err != nil {
			return err
		}
		byKey := len(s.keep) == 0 && !slices.ContainsFunc(s.key, func(c string) bool { return !slices.Contains(r.primary, c) })
		if was == "f" || was == "d" && byKey {
			return nil
		}
		if parted { // each partition has a replica identity of its own, those that come later too
			return &noSource{"it is partitioned, and its old rows can't be read from the log", "capture with triggers (source: triggers)"}
		}
		const remember = `INSERT INTO tideover.replica_identity
SELECT $1, $2::text::"char", (SELECT c.relname FROM pg_catalog.pg_class c WHERE c.oid = $3::text::regclass) ON CONFLICT DO NOTHING`
		if _, err := tx.Exec(ctx, remember, s.table, was, index); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, `ALTER TABLE `+r.ident()+` REPLICA IDENTITY FULL`)
		return err
	})
}

func (l *Logical) publish(ctx context.Context, budget postgres.Budget, all map[string]*relation, found []recorded) error {
	names := make([]string, len(found))
	for i, s := range found {
		names[i] = all[s.table].ident()
	}
	return l.db.InTx(ctx, budget, func(ctx context.Context, tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `DROP PUBLICATION IF EXISTS `+publication+`;
CREATE PUBLICATION `+publication+` FOR TABLE `+strings.Join(names, ", "), pgx.QueryExecModeSimpleProtocol)
		return err
	})
}

// slotName is the database's own: slots are the server's.
const slotNameSQL = `SELECT 'tideover_' || oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database()`

// makeSlot makes the slot and remembers it. One that a killed process has made and not remembered is made anew.
func (l *Logical) makeSlot(ctx context.Context, budget postgres.Budget) error {
	var slot string
	if err := l.db.Pool().QueryRow(ctx, slotNameSQL).Scan(&slot); err != nil {
		return fmt.Errorf("make a slot on %s: %w", l.db.Name(), err)
	}
	if err := l.dropSlot(ctx, slot); err != nil {
		return err
	}
	within, cancel := context.WithTimeout(ctx, max(budget.Retry, time.Minute))
	defer cancel()
	conn, err := l.db.ConnectAs(ctx, "slot")
	if err != nil {
		return err
	}
	defer hangUp(ctx, conn)
	var position string
	const sql = `SELECT lsn::text FROM pg_catalog.pg_create_logical_replication_slot($1, 'pgoutput')`
	if err := conn.QueryRow(within, sql, slot).Scan(&position); err != nil {
		if within.Err() != nil && ctx.Err() == nil {
			return &noSource{fmt.Sprintf("a slot on %s has waited %s for transactions that are older than it", l.db.Name(), max(budget.Retry, time.Minute)),
				"end the old transactions (SELECT pid, xact_start, query FROM pg_stat_activity WHERE backend_xid IS NOT NULL ORDER BY xact_start), then resume"}
		}
		return fmt.Errorf("make a slot on %s: %w", l.db.Name(), err)
	}
	if _, err := conn.Exec(ctx, `INSERT INTO tideover.stream (slot, position) VALUES ($1, $2::text::pg_lsn)`, slot, position); err != nil {
		return fmt.Errorf("make a slot on %s: %w", l.db.Name(), err)
	}
	return nil
}

// streamState is what is known of the slot.
type streamState struct {
	slot     string // "": it was never made, or is finished
	position string
	lost     string
	there    bool  // the slot is there and can be read
	kept     int64 // bytes of log that it keeps
}

// loss is nil, or why changes are lost.
func (s streamState) loss(side string) error {
	switch {
	case s.lost != "":
		return &LostError{side, s.lost}
	case s.slot != "" && !s.there:
		return &LostError{side, fmt.Sprintf("its replication slot %q is gone, or the log that it needs", s.slot)}
	}
	return nil
}

func (l *Logical) state(ctx context.Context) (s streamState, err error) {
	var made bool
	if err := l.db.Pool().QueryRow(ctx, `SELECT pg_catalog.to_regclass('tideover.stream') IS NOT NULL`).Scan(&made); err != nil || !made {
		return s, err
	}
	const sql = `
SELECT t.slot::text, t.position::text, coalesce(t.lost, ''), r.slot_name IS NOT NULL AND r.wal_status IS DISTINCT FROM 'lost',
	coalesce(pg_catalog.pg_wal_lsn_diff(pg_catalog.pg_current_wal_lsn(), r.restart_lsn), 0)::bigint
FROM tideover.stream t LEFT JOIN pg_catalog.pg_replication_slots r ON r.slot_name = t.slot AND r.plugin = 'pgoutput'`
	err = l.db.Pool().QueryRow(ctx, sql).Scan(&s.slot, &s.position, &s.lost, &s.there, &s.kept)
	if errors.Is(err, pgx.ErrNoRows) {
		err = nil
	}
	if err != nil {
		err = fmt.Errorf("look at the slot of %s: %w", l.db.Name(), err)
	}
	return s, err
}

// Installed says whether the slot is there. The error is a [*LostError] where it was.
func (l *Logical) Installed(ctx context.Context) (bool, error) {
	s, err := l.state(ctx)
	if err != nil || s.slot == "" {
		return false, err
	}
	return true, s.loss(l.db.Name())
}

// lose gives the capture up: the slot is dropped, and the reason kept.
func (l *Logical) lose(ctx context.Context, slot, cause string) error {
	lost := &LostError{l.db.Name(), cause}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), dropWithin)
	defer cancel()
	if _, err := l.db.Pool().Exec(ctx, `UPDATE tideover.stream SET lost = $1`, cause); err != nil {
		return errors.Join(lost, err)
	}
	if err := l.dropSlot(ctx, slot); err != nil {
		return errors.Join(lost, err)
	}
	return lost
}

// dropWithin is how long a slot is waited for whose reader is gone and whose server has not noticed yet.
const dropWithin = 15 * time.Second

// dropSlot drops a slot where it is there. A reader of ours that has died may still seem to hold it: it is ended.
func (l *Logical) dropSlot(ctx context.Context, slot string) error {
	const (
		end = `SELECT count(pg_catalog.pg_terminate_backend(a.pid)) FROM pg_catalog.pg_replication_slots s
JOIN pg_catalog.pg_stat_activity a ON a.pid = s.active_pid WHERE s.slot_name = $1 AND a.application_name LIKE 'tideover/%'`
		drop = `SELECT count(pg_catalog.pg_drop_replication_slot(slot_name)) FROM pg_catalog.pg_replication_slots
WHERE slot_name = $1 AND database = pg_catalog.current_database()`
	)
	for until := time.Now().Add(dropWithin); ; {
		_, err := l.db.Pool().Exec(ctx, drop, slot)
		if postgres.Code(err) != "55006" || time.Now().After(until) || ctx.Err() != nil { // 55006: somebody reads it
			if err != nil && postgres.Code(err) != "42704" { // 42704: it has gone meanwhile
				return fmt.Errorf("drop the slot %q of %s: %w", slot, l.db.Name(), err)
			}
			return nil
		}
		if _, err := l.db.Pool().Exec(ctx, end, slot); err != nil {
			return fmt.Errorf("drop the slot %q of %s: %w", slot, l.db.Name(), err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// Finish drops the slot: a fenced blue must not keep its log for nobody. The queue stays.
func (l *Logical) Finish(ctx context.Context) error {
	s, err := l.state(ctx)
	if err != nil || s.slot == "" {
		return err
	}
	if err := l.dropSlot(ctx, s.slot); err != nil {
		return err
	}
	if _, err := l.db.Pool().Exec(ctx, `DELETE FROM tideover.stream`); err != nil {
		return fmt.Errorf("forget the slot of %s: %w", l.db.Name(), err)
	}
	return nil
}

// Remove drops slot, publication and queue, and gives the tables their replica identities back. The slot goes first, by
// its name: whatever else is left costs blue nothing.
func (l *Logical) Remove(ctx context.Context, budget postgres.Budget) error {
	var slot string
	if err := l.db.Pool().QueryRow(ctx, slotNameSQL).Scan(&slot); err != nil {
		return fmt.Errorf("remove the capture from %s: %w", l.db.Name(), err)
	}
	if err := l.dropSlot(ctx, slot); err != nil {
		return err
	}
	err := l.db.InTx(ctx, budget, func(ctx context.Context, tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `DROP PUBLICATION IF EXISTS `+publication)
		return err
	})
	if err != nil {
		return fmt.Errorf("remove the capture from %s: %w", l.db.Name(), err)
	}
	if err := l.RestoreIdentities(ctx, l.db, budget); err != nil {
		return err
	}
	err = l.db.InTx(ctx, budget, func(ctx context.Context, tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `DROP TABLE IF EXISTS tideover.stream, tideover.replica_identity`)
		return err
	})
	if err != nil && postgres.Code(err) != "3F000" { // the schema is gone
		return fmt.Errorf("remove the capture from %s: %w", l.db.Name(), err)
	}
	return l.capture().Remove(ctx, budget)
}

// RestoreIdentities gives the tables of a database, blue's own or a copy, the replica identities that blue's had.
func (l *Logical) RestoreIdentities(ctx context.Context, db *postgres.DB, budget postgres.Budget) error {
	var made bool
	if err := l.db.Pool().QueryRow(ctx, `SELECT pg_catalog.to_regclass('tideover.replica_identity') IS NOT NULL`).Scan(&made); err != nil || !made {
		return err
	}
	type identity struct {
		Table, Was string
		Index      *string
	}
	rows, err := l.db.Pool().Query(ctx, `SELECT table_name::text, was::text, index_name::text FROM tideover.replica_identity ORDER BY 1`)
	if err != nil {
		return fmt.Errorf("restore the replica identities of %s: %w", db.Name(), err)
	}
	all, err := pgx.CollectRows(rows, pgx.RowToStructByPos[identity])
	if err != nil {
		return fmt.Errorf("restore the replica identities of %s: %w", db.Name(), err)
	}
	for _, i := range all {
		how := map[string]string{"d": "DEFAULT", "n": "NOTHING", "i": "DEFAULT"}[i.Was]
		if i.Was == "i" && i.Index != nil {
			how = "USING INDEX " + pgx.Identifier{*i.Index}.Sanitize()
		}
		err := db.InTx(ctx, budget, func(ctx context.Context, tx pgx.Tx) error {
			_, err := tx.Exec(ctx, `ALTER TABLE IF EXISTS `+l.profile.Schemas().Ident(i.Table)+` REPLICA IDENTITY `+how)
			return err
		})
		if err != nil {
			return fmt.Errorf("restore the replica identity of table %q of %s: %w", i.Table, db.Name(), err)
		}
	}
	return nil
}
