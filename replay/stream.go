package replay

import (
	"context"
	"errors"
	"fmt"
	"slices"
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
	late     = 4 * quiet            // what has come is stored by then, on a server that is never quiet
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
	sources map[string]recorded
	types   map[string]*relation
	tables  map[uint32]*pglogrepl.RelationMessage
	next    uint64 // a transaction number above all that the stream has

	store   *pgx.Conn // to blue, for the queue
	tx      pgx.Tx    // of store, where changes have come that are not stored
	pending int       // changes in tx
	since   time.Time // the first of them came
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
	r := &reader{l: l, slot: s.slot, types: all, sources: make(map[string]recorded), tables: make(map[uint32]*pglogrepl.RelationMessage),
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
