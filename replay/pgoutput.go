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
)

// change takes one message of pgoutput.
func (r *reader) change(ctx context.Context, message pglogrepl.Message) error {
	switch m := message.(type) {
	case *pglogrepl.BeginMessage:
		r.inside, r.at = true, m.CommitTime
		return r.number(ctx, m.Xid)
	case *pglogrepl.RelationMessage:
		if err := r.root(ctx, m); err != nil {
			return err
		}
		r.tables[m.RelationID] = m
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
		case r.pending >= roomy || time.Since(r.since) > late:
			return r.flush(ctx)
		}
	}
	return nil
}

// root gives a partition the name of the table whose rows it has. Changes are published as those of partitions: of a partition that is
// emptied Postgres would say nothing to those who know the root alone.
func (r *reader) root(ctx context.Context, m *pglogrepl.RelationMessage) error {
	if called := r.l.profile.Schemas().Called(m.Namespace, m.RelationName); slices.Contains(sortedNames(r.sources), called) {
		m.RelationName = called
		return nil
	}
	const sql = `SELECT ` + calledSQL + ` FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.oid = pg_catalog.pg_partition_root($2::pg_catalog.oid) AND n.nspname = ANY ($1)`
	var name string
	err := r.l.db.Pool().QueryRow(ctx, sql, schemasOf(r.l.profile), m.RelationID).Scan(&name)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return err
	}
	if _, ours := r.sources[name]; !ours {
		return &strayError{m.Namespace + "." + m.RelationName}
	}
	m.RelationName = name
	return nil
}

// strayError ends the capture.
type strayError struct{ table string }

func (e *strayError) Error() string {
	return fmt.Sprintf("changes of table %s are in the log, and it is part of no captured table any more", e.table)
}

// Hint says what a person can do.
func (e *strayError) Hint() string {
	return "it was detached, dropped or renamed meanwhile: roll the run back and begin again, and keep migrations off blue until the upgrade is over"
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
