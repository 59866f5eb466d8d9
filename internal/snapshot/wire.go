package snapshot

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"net"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/tideover/tideover/internal/postgres"
)

// wireBuffer is how much of a table is in our memory at a time. It does not grow with a row: what a message holds is
// passed on while it comes.
const wireBuffer = 256 << 10

// wire is a connection to a server whose messages (manual 55.7) can be passed on as they come, without pgx taking each
// row apart. To pgx it gives no more than one message at a time, so that at any moment what pgx has not read is here.
type wire struct {
	net.Conn
	in   *bufio.Reader
	left int64 // of the message under way
}

func (w *wire) Read(p []byte) (int, error) {
	if w.left == 0 {
		head, err := w.in.Peek(messageHead)
		if err != nil {
			return 0, err
		}
		w.left = 1 + int64(binary.BigEndian.Uint32(head[1:]))
	}
	n, err := w.in.Read(p[:min(int64(len(p)), w.left)])
	w.left -= int64(n)
	return n, err
}

const (
	messageHead = 5 // a letter, and the length with itself but without the letter
	copyData    = 'd'
)

// pass passes messages with rows on to another server for as long as such come, and gives the first other one to pgx.
// What has gone over is told to moved, which may make it wait: the server then waits, too.
func (w *wire) pass(to net.Conn, moved func(bytes, rows int64) error) error {
	for {
		need := messageHead
		if w.left > 0 {
			need = int(min(w.left, messageHead))
		}
		if _, err := w.in.Peek(need); err != nil {
			return err
		}
		b, _ := w.in.Peek(w.in.Buffered()) // cannot fail: it is there
		n, rows := w.span(b)
		if n == 0 {
			return nil
		}
		if _, err := to.Write(b[:n]); err != nil {
			return &otherSideError{err}
		}
		if _, err := w.in.Discard(n); err != nil {
			return err
		}
		if err := moved(int64(n), rows); err != nil {
			return err
		}
	}
}

// span says how many bytes at the front of b belong to messages with rows, and how many of those begin in it.
func (w *wire) span(b []byte) (n int, rows int64) {
	for n < len(b) {
		if w.left == 0 {
			if len(b)-n < messageHead || b[n] != copyData {
				break
			}
			w.left = 1 + int64(binary.BigEndian.Uint32(b[n+1:]))
			rows++
		}
		take := min(w.left, int64(len(b)-n))
		w.left -= take
		n += int(take)
	}
	return n, rows
}

// otherSideError is what kept the receiving server from taking rows; its own message, where there is one, says more.
type otherSideError struct{ error }

func (e *otherSideError) Unwrap() error { return e.error }

// session is a connection to one side, with its wire.
type session struct {
	*pgx.Conn
	wire *wire
}

func dial(ctx context.Context, side, dsn string) (*session, error) {
	s := &session{}
	var err error
	s.Conn, err = postgres.ConnectThrough(ctx, side, dsn, func(conn net.Conn) net.Conn {
		s.wire = &wire{Conn: conn, in: bufio.NewReaderSize(conn, wireBuffer)} // of several hosts the last one tried is connected
		return s.wire
	})
	if err != nil {
		return nil, err
	}
	return s, nil
}

// send sends a query whose answer is read message by message.
func (s *session) send(sql string) error {
	f := s.PgConn().Frontend()
	f.SendQuery(&pgproto3.Query{String: sql})
	return f.Flush()
}

// receive reads messages until one of type M, or the end of the query. The error is the server's, if it sent one.
func receive[M pgproto3.BackendMessage](ctx context.Context, s *session) (found M, ok bool, err error) {
	for {
		message, failed := s.PgConn().ReceiveMessage(ctx)
		if failed != nil {
			return found, false, errors.Join(err, failed)
		}
		switch m := message.(type) {
		case M:
			return m, true, err
		case *pgproto3.ErrorResponse:
			err = pgconn.ErrorResponseToPgError(m)
		case *pgproto3.ReadyForQuery:
			return found, false, err
		}
	}
}

// cut makes reads and writes of a session fail at once, those under way as well. It is of no use afterwards.
func (s *session) cut() { _ = s.wire.SetDeadline(time.Unix(1, 0)) }
