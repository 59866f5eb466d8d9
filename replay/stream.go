package replay

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/jackc/pglogrepl"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/tideover/tideover/internal/postgres"
)

const (
	quiet    = 5 * time.Millisecond // without a message for so long, what has come is stored
	confirm  = time.Second          // how often the server is told what need not be kept
	reach    = 5 * time.Second      // how often the slot's log is measured
	roomy    = 1000                 // changes that are stored in one statement, and after which a transaction ends
	patience = 30 * time.Second     // for a slot that a dying reader may still hold
)

// errFinished says that there is no slot any more, by intent.
var errFinished = errors.New("the slot has done its work")

// endless is a place in the log that never comes.
const endless = ^pglogrepl.LSN(0)

// Run reads until ctx ends, and connects again where its connection is cut. The error is a [*LostError] where changes
// are lost.
func (l *Logical) Run(ctx context.Context) error {
	for {
		err := l.read(ctx, endless)
		switch {
		case ctx.Err() != nil || errors.Is(err, errFinished):
			return nil
		case !passes(err):
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// passes reports whether an error of reading may go away by itself: the connection or the server did.
func passes(err error) bool {
	code := postgres.Code(err)
	if code == "" {
		return !errors.As(err, new(*LostError)) && !errors.As(err, new(*noSource)) && !errors.Is(err, errTaken)
	}
	// Shutdown, crash, starting up; too many connections; a slot that is still held.
	return slices.Contains([]string{"57", "08", "53"}, code[:2]) || code == "55006"
}

// Refused is always empty: what the log has can be brought, or is lost.
func (l *Logical) Refused(context.Context) ([]string, error) { return nil, nil }

// Sync puts a mark into blue's log and returns when it has come out of the slot: then all that was committed before it
// is in the queue. Where nobody reads the slot, it does so itself.
func (l *Logical) Sync(ctx context.Context) error {
	var mark string
	if err := l.db.Pool().QueryRow(ctx, `SELECT pg_catalog.pg_logical_emit_message(true, 'tideover', '')::text`).Scan(&mark); err != nil {
		return fmt.Errorf("mark the log of %s: %w", l.db.Name(), err)
	}
	until, err := pglogrepl.ParseLSN(mark)
	if err != nil {
		return err
	}
	for pglogrepl.LSN(l.position.Load()) < until {
		if l.reading.TryLock() {
			err := l.readLocked(ctx, until)
			l.reading.Unlock()
			if errors.Is(err, errFinished) {
				return nil
			}
			if err != nil {
				return err
			}
			continue
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(quiet):
		}
	}
	return nil
}

func (l *Logical) read(ctx context.Context, until pglogrepl.LSN) error {
	l.reading.Lock()
	defer l.reading.Unlock()
	return l.readLocked(ctx, until)
}

// readLocked brings changes until all before a place in the log are in the queue.
func (l *Logical) readLocked(ctx context.Context, until pglogrepl.LSN) error {
	r, err := l.open(ctx)
	if err != nil {
		return err
	}
	defer r.close(ctx)
	for pglogrepl.LSN(l.position.Load()) < until {
		if err := r.step(ctx); err != nil {
			if errors.As(err, new(*truncateError)) || errors.Is(err, errUnreadable) {
				return l.lose(ctx, r.slot, err.Error())
			}
			return fmt.Errorf("read the log of %s: %w", l.db.Name(), err)
		}
	}
	return r.tell(ctx)
}

// reader is one stream of changes out of the slot.
type reader struct {
	l       *Logical
	slot    string
	conn    *pgconn.PgConn
	sources map[string]source
	types   map[string]*relation
	tables  map[uint32]*pglogrepl.RelationMessage
	next    uint64 // a transaction number above all that the stream has

	store   *pgx.Conn // to blue, for the queue
	tx      pgx.Tx    // of store, where changes have come that are not stored
	pending int       // changes in tx
	rows    map[string]*rows
	xid     uint64        // of the transaction that comes
	at      time.Time     // its commit
	inside  bool          // it has begun and not ended
	base    pglogrepl.LSN // the place that blue has stored
	stored  pglogrepl.LSN // up to here all is in the queue; no less than base
	end     pglogrepl.LSN // of the last whole transaction

	told, measured time.Time
}

// open begins to read where the last reader has stored its place.
func (l *Logical) open(ctx context.Context) (_ *reader, err error) {
	s, err := l.state(ctx)
	if err != nil {
		return nil, err
	}
	if s.slot == "" {
		return nil, errFinished
	}
	if err := s.loss(l.db.Name()); err != nil {
		return nil, err
	}
	all, found, err := l.capture().plan(ctx)
	if err != nil {
		return nil, err
	}
	r := &reader{l: l, slot: s.slot, types: all, sources: make(map[string]source), tables: make(map[uint32]*pglogrepl.RelationMessage),
		rows: make(map[string]*rows), measured: time.Now()}
	for _, src := range found {
		r.sources[src.table] = src
	}
	if r.base, err = pglogrepl.ParseLSN(s.position); err != nil {
		return nil, err
	}
	r.stored, r.end = r.base, r.base
	if r.store, err = l.db.ConnectAs(ctx, "capture"); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			r.close(ctx)
		}
	}()
	if r.conn, err = l.db.ConnectReplication(ctx, "capture"); err != nil {
		return nil, err
	}
	options := pglogrepl.StartReplicationOptions{PluginArgs: []string{"proto_version '1'", "publication_names '" + publication + "'", "messages 'true'"}}
	for deadline := time.Now().Add(patience); ; {
		err = pglogrepl.StartReplication(ctx, r.conn, r.slot, r.stored, options)
		if postgres.Code(err) != "55006" || time.Now().After(deadline) {
			break
		}
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-time.After(20 * time.Millisecond):
		}
	}
	switch postgres.Code(err) {
	case "":
		return r, err
	case "42704", "55000": // it is gone, or its log is
		return nil, l.lose(ctx, r.slot, fmt.Sprintf("its replication slot %q can't be read: %v", r.slot, err))
	}
	return nil, fmt.Errorf("read the slot %q of %s: %w", r.slot, l.db.Name(), err)
}

func (r *reader) close(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	if r.tx != nil {
		_ = r.tx.Rollback(ctx)
	}
	if r.store != nil {
		_ = r.store.Close(ctx)
	}
	if r.conn != nil {
		_ = r.conn.Close(ctx)
	}
}

// step takes one message, or stores what has come when there is none for a moment.
func (r *reader) step(ctx context.Context) error {
	if time.Since(r.told) > confirm {
		if err := r.tell(ctx); err != nil {
			return err
		}
	}
	if time.Since(r.measured) > reach {
		if err := r.measure(ctx); err != nil {
			return err
		}
	}
	wait := confirm
	if r.pending > 0 && !r.inside {
		wait = quiet
	}
	moment, cancel := context.WithTimeout(ctx, wait)
	message, err := r.conn.ReceiveMessage(moment)
	cancel()
	if err != nil && pgconn.Timeout(err) && ctx.Err() == nil {
		return r.flush(ctx)
	}
	if err != nil {
		return err
	}
	switch m := message.(type) {
	case *pgproto3.CopyData:
		return r.take(ctx, m.Data)
	case *pgproto3.ErrorResponse:
		return pgconn.ErrorResponseToPgError(m)
	case *pgproto3.CopyDone:
		return errors.New("the server has ended the stream")
	}
	return nil
}

// tell confirms what is in the queue, so that blue need not keep its log any longer.
func (r *reader) tell(ctx context.Context) error {
	r.told = time.Now()
	return pglogrepl.SendStandbyStatusUpdate(ctx, r.conn, pglogrepl.StandbyStatusUpdate{WALWritePosition: r.stored})
}

// measure gives the capture up where the slot keeps too much of blue's log.
func (r *reader) measure(ctx context.Context) error {
	r.measured = time.Now()
	s, err := r.l.state(ctx)
	if err != nil {
		return err
	}
	if r.l.limit > 0 && s.kept > r.l.limit {
		return r.l.lose(ctx, r.slot, fmt.Sprintf("its slot kept %d MiB of the log, more than max_wal_mb allows (%d)", s.kept>>20, r.l.limit>>20))
	}
	return nil
}

// take reads what the server sends within the stream.
func (r *reader) take(ctx context.Context, data []byte) error {
	switch data[0] {
	case pglogrepl.PrimaryKeepaliveMessageByteID:
		k, err := pglogrepl.ParsePrimaryKeepaliveMessage(data[1:])
		if err != nil {
			return err
		}
		if !r.inside && r.pending == 0 { // all that was committed before it has been sent
			r.reached(max(r.stored, k.ServerWALEnd))
		}
		if k.ReplyRequested {
			return r.tell(ctx)
		}
		return nil
	case pglogrepl.XLogDataByteID:
		x, err := pglogrepl.ParseXLogData(data[1:])
		if err != nil {
			return err
		}
		m, err := pglogrepl.Parse(x.WALData)
		if err != nil {
			return err
		}
		return r.change(ctx, m)
	}
	return nil
}

// reached makes a place known up to which all is in the queue.
func (r *reader) reached(place pglogrepl.LSN) {
	r.stored = place
	r.l.position.Store(uint64(place))
}

// change takes one message of pgoutput.
func (r *reader) change(ctx context.Context, message pglogrepl.Message) error {
	switch m := message.(type) {
	case *pglogrepl.BeginMessage:
		r.inside, r.at = true, m.CommitTime
		return r.number(ctx, m.Xid)
	case *pglogrepl.RelationMessage:
		if m.Namespace == schemaOf(r.l.profile) {
			r.tables[m.RelationID] = m
		}
	case *pglogrepl.InsertMessage:
		return r.record(ctx, m.RelationID, nil, m.Tuple, true)
	case *pglogrepl.UpdateMessage:
		old := m.OldTuple
		if old == nil {
			old = m.NewTuple // the key has not changed
		}
		return r.record(ctx, m.RelationID, old, m.NewTuple, m.OldTupleType == pglogrepl.UpdateMessageTupleTypeOld)
	case *pglogrepl.DeleteMessage:
		return r.record(ctx, m.RelationID, m.OldTuple, nil, m.OldTupleType == pglogrepl.DeleteMessageTupleTypeOld)
	case *pglogrepl.TruncateMessage:
		for _, id := range m.RelationIDs {
			if t := r.tables[id]; t != nil {
				return &truncateError{t.RelationName}
			}
		}
	case *pglogrepl.CommitMessage:
		r.inside, r.end = false, m.TransactionEndLSN
		switch {
		case r.pending == 0:
			r.reached(r.end)
		case r.pending >= roomy:
			return r.flush(ctx)
		}
	}
	return nil
}

// truncateError ends the capture.
type truncateError struct{ table string }

func (e *truncateError) Error() string {
	return fmt.Sprintf("table %q was truncated, and the log does not say which rows it had; use DELETE, or capture with triggers", e.table)
}

// number makes a whole transaction number of the 32 bits that the stream has.
func (r *reader) number(ctx context.Context, xid uint32) error {
	if r.next == 0 || uint32(r.next)-xid > 1<<31 {
		var text string
		if err := r.l.db.Pool().QueryRow(ctx, `SELECT pg_catalog.pg_snapshot_xmax(pg_catalog.pg_current_snapshot())::text`).Scan(&text); err != nil {
			return err
		}
		next, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			return err
		}
		r.next = next
	}
	r.xid = r.next&^0xffffffff | uint64(xid)
	if r.xid > r.next {
		r.xid -= 1 << 32
	}
	return nil
}

var errUnreadable = errors.New("a row came without its old values: was its replica identity changed meanwhile?")

// record keeps a row's change until it is stored. old is nil for an insert, fresh for a delete. Where old is not whole, it
// has the key alone.
func (r *reader) record(ctx context.Context, id uint32, old, fresh *pglogrepl.TupleData, whole bool) error {
	t := r.tables[id]
	if t == nil {
		return nil
	}
	s, known := r.sources[t.RelationName]
	if !known {
		return nil
	}
	if len(s.keep) > 0 && !whole {
		return fmt.Errorf("table %q: %w", s.table, errUnreadable)
	}
	was, err := values(t, old, nil)
	if err != nil {
		return err
	}
	is, err := values(t, fresh, was)
	if err != nil {
		return err
	}
	switch {
	case old == nil:
		return r.keep(ctx, s, "I", is)
	case fresh == nil:
		return r.keep(ctx, s, "D", was)
	}
	for _, c := range s.key {
		if !same(was[c], is[c]) {
			if err := r.keep(ctx, s, "D", was); err != nil {
				return err
			}
			return r.keep(ctx, s, "I", is)
		}
	}
	if whole && !slices.ContainsFunc(sortedNames(is), func(c string) bool { return !same(was[c], is[c]) }) {
		return nil // nothing changes
	}
	return r.keep(ctx, s, "U", was)
}

func same(a, b *string) bool { return a == b || a != nil && b != nil && *a == *b }

// values are a row's columns as text, nil for NULL. A large value that did not change is not sent: it is that of was.
func values(t *pglogrepl.RelationMessage, row *pglogrepl.TupleData, was map[string]*string) (map[string]*string, error) {
	if row == nil {
		return nil, nil
	}
	all := make(map[string]*string, len(row.Columns))
	for i, c := range row.Columns {
		name := t.Columns[i].Name
		switch c.DataType {
		case pglogrepl.TupleDataTypeNull:
			all[name] = nil
		case pglogrepl.TupleDataTypeToast:
			if v, ok := was[name]; ok {
				all[name] = v
			}
		case pglogrepl.TupleDataTypeText:
			text := string(c.Data)
			all[name] = &text
		default:
			return nil, fmt.Errorf("table %q: a value of kind %q", t.RelationName, c.DataType)
		}
	}
	return all, nil
}

// rows are changes of one table on their way into the queue.
type rows struct {
	at      []time.Time
	txids   []string
	ops     []string
	columns [][]*string // key and kept columns
}

// keep adds a change. Inserts have no kept columns.
func (r *reader) keep(ctx context.Context, s source, op string, row map[string]*string) error {
	if r.tx == nil {
		tx, err := r.store.Begin(ctx)
		if err != nil {
			return err
		}
		r.tx = tx
	}
	b := r.rows[s.table]
	if b == nil {
		b = &rows{columns: make([][]*string, len(s.key)+len(s.keep))}
		r.rows[s.table] = b
	}
	b.at, b.txids, b.ops = append(b.at, r.at), append(b.txids, strconv.FormatUint(r.xid, 10)), append(b.ops, op)
	for i, name := range slices.Concat(s.key, s.keep) {
		var v *string
		if i < len(s.key) || op != "I" {
			var ok bool
			if v, ok = row[name]; !ok || v == nil && i < len(s.key) {
				return fmt.Errorf("table %q, column %q: %w", s.table, name, errUnreadable)
			}
		}
		b.columns[i] = append(b.columns[i], v)
	}
	r.pending++
	if len(b.ops) >= roomy {
		return r.insert(ctx, s.table)
	}
	return nil
}

// insert writes what has come of a table into the queue. Values go through their types, so that they look as a trigger
// would have written them.
func (r *reader) insert(ctx context.Context, table string) error {
	b, s, rel := r.rows[table], r.sources[table], r.types[table]
	if b == nil || len(b.ops) == 0 {
		return nil
	}
	delete(r.rows, table)
	args := []any{table, b.at, b.txids, b.ops}
	var unnested, names string
	object := func(columns []string, from int) string {
		sql := "pg_catalog.jsonb_build_object("
		for i, name := range columns {
			if i > 0 {
				sql += ", "
			}
			c, _ := rel.column(name)
			sql += fmt.Sprintf("%s, c%d::%s", literal(name), from+i, c.typ)
		}
		return sql + ")"
	}
	for i, column := range b.columns {
		args = append(args, column)
		unnested += fmt.Sprintf(", $%d::text[]", len(args))
		names += fmt.Sprintf(", c%d", i)
	}
	kept := "NULL"
	if len(s.keep) > 0 {
		kept = "CASE WHEN op <> 'I' THEN " + object(s.keep, len(s.key)) + " END"
	}
	sql := `INSERT INTO tideover.change (table_name, at, txid, op, key, kept)
SELECT $1, at, txid::xid8, op, ` + object(s.key, 0) + `, ` + kept + `
FROM unnest($2::timestamptz[], $3::text[], $4::text[]` + unnested + `) WITH ORDINALITY u(at, txid, op` + names + `, n) ORDER BY n`
	_, err := r.tx.Exec(ctx, sql, args...)
	return err
}

// flush stores what has come, up to the last whole transaction, together with its place in the log. Another reader that
// has stored more has taken over.
func (r *reader) flush(ctx context.Context) error {
	if r.pending == 0 || r.inside {
		return nil
	}
	for _, table := range sortedNames(r.rows) {
		if err := r.insert(ctx, table); err != nil {
			return err
		}
	}
	if err := r.l.hooks.reach("read"); err != nil {
		return err
	}
	tag, err := r.tx.Exec(ctx, `UPDATE tideover.stream SET position = $1::text::pg_lsn WHERE slot = $2 AND position = $3::text::pg_lsn AND lost IS NULL`,
		r.end.String(), r.slot, r.base.String())
	if err != nil {
		return err
	}
	if tag.RowsAffected() == 0 {
		return errTaken
	}
	if err := r.tx.Commit(ctx); err != nil {
		return err
	}
	r.tx, r.pending, r.base = nil, 0, r.end
	r.reached(r.end)
	return r.l.hooks.reach("stored")
}
