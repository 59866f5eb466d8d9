package snapshot

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"
)

// transfer is one COPY out of blue into green.
type transfer struct {
	name    string // of the table or chunk, for errors
	out, in string // COPY … TO STDOUT, COPY … FROM STDIN
	moved   func(bytes, rows int64) error
}

// stream copies rows from a session on blue to one on green, socket to socket: what blue's COPY sends is what green's
// COPY reads (manual 55.2.7), so that nothing in between is decoded. It returns how many rows green took.
//
// An error on blue's side reaches green as CopyFail, never as an early end of the data: the COPY fails as a whole.
// After an error neither session is of use.
func stream(ctx context.Context, blue, green *session, t transfer) (int64, error) {
	if t.moved == nil {
		t.moved = func(int64, int64) error { return nil }
	}
	if err := begin[*pgproto3.CopyInResponse](ctx, green, t.in); err != nil {
		return 0, fmt.Errorf("%s: write to green: %w", t.name, err)
	}
	stop := context.AfterFunc(ctx, func() { blue.cut(); green.cut() })
	defer stop()
	answers := make(chan answer, 1)
	go func() { // green may refuse at any time: without a reader we would go on sending
		a := green.finish(ctx)
		answers <- a
		if a.err != nil {
			blue.cut()
		}
	}()
	err := send(ctx, blue, green, t)
	var a answer
	if err == nil {
		if _, err := green.wire.Write(message(&pgproto3.CopyDone{})); err != nil {
			green.cut() // or nobody would answer
		}
		a = <-answers
	} else {
		select {
		case a = <-answers: // green refused of itself
			err = nil
		default:
			// In the middle of a row green would take CopyFail for more of it, and wait for the rest.
			_, failed := green.wire.Write(message(&pgproto3.CopyFail{Message: "tideover: blue's side failed"}))
			if failed != nil || blue.wire.left > 0 {
				green.cut()
			}
			a = <-answers
		}
	}
	switch {
	case ctx.Err() != nil:
		return 0, context.Cause(ctx)
	case err != nil && errors.As(err, new(*otherSideError)): // green may have said why before it was gone
		return 0, fmt.Errorf("%s: write to green: %w", t.name, cmp.Or(a.err, err))
	case err != nil:
		return 0, fmt.Errorf("%s: read from blue: %w", t.name, err)
	case a.err != nil:
		return 0, fmt.Errorf("%s: write to green: %w", t.name, a.err)
	}
	return a.rows, nil
}

// send passes blue's rows on until blue has said that they are all.
func send(ctx context.Context, blue, green *session, t transfer) error {
	if err := begin[*pgproto3.CopyOutResponse](ctx, blue, t.out); err != nil {
		return err
	}
	for {
		if err := blue.wire.pass(green.wire.Conn, t.moved); err != nil {
			return err
		}
		// Notices may come in between. Anything but CopyDone ends the query.
		m, err := blue.PgConn().ReceiveMessage(ctx)
		if err != nil {
			return err
		}
		switch m := m.(type) {
		case *pgproto3.CopyDone:
			_, _, err := receive[*pgproto3.ReadyForQuery](ctx, blue)
			return err
		case *pgproto3.ErrorResponse:
			failed := pgconn.ErrorResponseToPgError(m)
			_, _, err := receive[*pgproto3.ReadyForQuery](ctx, blue)
			return errors.Join(failed, err)
		}
	}
}

// begin starts a COPY; M is the message that says that it has begun.
func begin[M pgproto3.BackendMessage](ctx context.Context, s *session, sql string) error {
	if err := s.send(sql); err != nil {
		return err
	}
	_, begun, err := receive[M](ctx, s)
	if err == nil && !begun {
		err = errors.New("the server did not begin the COPY")
	}
	return err
}

// answer is what green says of a COPY.
type answer struct {
	rows int64
	err  error
}

func (s *session) finish(ctx context.Context) (a answer) {
	done, ok, err := receive[*pgproto3.CommandComplete](ctx, s)
	if ok && err == nil {
		a.rows = pgconn.NewCommandTag(string(done.CommandTag)).RowsAffected()
		_, _, err = receive[*pgproto3.ReadyForQuery](ctx, s)
	}
	a.err = err
	return a
}

func message(m pgproto3.FrontendMessage) []byte {
	b, _ := m.Encode(nil) // these two have nothing that could be too long
	return b
}
